/* Parking: offers that wait for room in a full `block` queue, first in, first
 * out per connection, connections in turn (decision 16).
 *
 * Each message that is done with anywhere may have made room, and most of those
 * who wait do so for the same few queues. So each stands in the line of the queue that
 * had no room: thousands who wait for one that stands still cost nobody a moment. */
#include "hub_internal.h"

#define PARKED_SHARE 8u

static void push(struct park *park, struct parked *p)
{
    p->next = NULL;
    if (park->tail != NULL)
        park->tail->next = p;
    else
        park->head = p;
    park->tail = p;
    park->n++;
    park->over_limit += p->offer.over_limit;
    park->bytes += p->bytes;
}

static struct parked *pop(struct park *park)
{
    struct parked *p = park->head;
    park->head = p->next;
    if (park->head == NULL)
        park->tail = NULL;
    park->n--;
    park->over_limit -= p->offer.over_limit;
    park->bytes -= p->bytes;
    return p;
}

static void tell_parked(struct hub_client *c, bool parked)
{
    if (c->l->protocol->parked != NULL)
        c->l->protocol->parked(c->s, parked);
}

static struct waiters *line_of(struct hub *h, uint32_t queue)
{
    return queue == 0 ? &h->untold : &h->queues[queue - 1].waiters;
}

static void queue_up(struct hub *h, struct hub_client *c, uint32_t queue)
{
    struct waiters *line = line_of(h, queue);
    struct client_park *p = c->parked;
    p->queue = queue;
    p->next = NULL;
    p->prev = line->tail;
    if (line->tail != NULL)
        line->tail->parked->next = c;
    else
        line->head = c;
    line->tail = c;
    line->n++;
    h->n_waiting++;
}

static void step_out(struct hub *h, struct hub_client *c)
{
    struct client_park *p = c->parked;
    struct waiters *line = line_of(h, p->queue);
    if (p->prev != NULL)
        p->prev->parked->next = p->next;
    else
        line->head = p->next;
    if (p->next != NULL)
        p->next->parked->prev = p->prev;
    else
        line->tail = p->prev;
    line->n--;
    h->n_waiting--;
}

static void change_lines(struct hub *h, struct hub_client *c, uint32_t queue)
{
    step_out(h, c);
    queue_up(h, c, queue);
}

/* The queue that has no room for one message, index + 1; 0: something else is short, or it is several. */
static uint32_t full_queue(struct hub *h, const struct offer *o)
{
    for (uint32_t k = 0; o->n == 1 && k < o->one.to->n; k++) {
        uint32_t queue = o->one.to->queues[k];
        if (queue_admits(h->queues[queue].q, 1, message_bytes(o->one.m)) == QUEUE_WAIT)
            return queue + 1;
    }
    return 0;
}

static struct park *park_of(struct hub *h, struct hub_client *c, const struct offer *o)
{
    if (c->parked != NULL)
        return &c->parked->park;
    c->parked = SL_NEW(struct client_park);
    queue_up(h, c, full_queue(h, o));
    tell_parked(c, true);
    return &c->parked->park;
}

/* It is empty. */
static void park_end(struct hub *h, struct hub_client *c)
{
    SL_ASSERT(c->parked->park.n == 0);
    step_out(h, c);
    sl_free(c->parked);
    c->parked = NULL;
    tell_parked(c, false);
}

/* Over the memory limit all that is parked may fill a share of it, so that those who
 * wait are still heard; beyond that one parked offer of each is enough. */
bool park_full(const struct hub_client *c)
{
    if (c->parked == NULL)
        return false;
    const struct hub *h = c->h;
    const struct park *park = &c->parked->park;
    bool short_of_memory = h->parked_bytes >= h->cfg.memory_bytes / PARKED_SHARE && hub_memory_bytes(h) >= h->cfg.memory_bytes;
    return short_of_memory || park->n >= c->l->park_max || park->bytes >= c->l->park_bytes;
}

void park_push(struct hub *h, struct hub_client *c, const struct offer *o)
{
    struct parked *p = SL_NEW(struct parked);
    p->offer = *o;
    p->bytes = sizeof *p + offer_bytes(o);
    h->counters.publishes_parked++;
    push(c != NULL ? park_of(h, c, o) : &h->ownerless, p);
    h->parked_bytes += p->bytes;
    if (!o->over_limit)
        return;
    h->room_made = true;
    if (c != NULL)
        change_lines(h, c, 0); /* it waits for no queue */
}

/* A transaction that answers a queue's delivery must not wait for room there, nor
 * behind what does: what its connection sent before enters with it. */
static enum queue_admission turn_of(struct hub *h, const struct park *park)
{
    if (park->over_limit > 0)
        return h->commit.health == HUB_OK ? QUEUE_ADMIT : QUEUE_WAIT;
    return park->n > 0 ? offer_admission_sifted(h, &park->head->offer) : QUEUE_WAIT;
}

/* One offer of this park enters, or is refused, if its turn has come. */
static bool admit_one(struct hub *h, struct park *park, struct hub_client *c)
{
    enum queue_admission a = turn_of(h, park);
    if (a == QUEUE_WAIT)
        return false;
    struct parked *p = pop(park);
    h->parked_bytes -= p->bytes;
    if (c != NULL && !answers_hold(c, p->offer.answers, p->offer.n_answers))
        offer_refuse(h, c, &p->offer, PROTO_REFUSED_TRANSACTION);
    else if (a == QUEUE_REFUSE) /* without space nobody asked whether it could ever fit */
        offer_refuse(h, c, &p->offer, PROTO_REFUSED_QUOTA);
    else if (c != NULL && !finds_slot(h, &p->offer)) /* there was one when it was parked */
        refuse_retained(c, &p->offer);
    else
        offer_enter(h, c, &p->offer);
    sl_free(p);
    return true;
}

/* It may have been let go meanwhile, and all it had parked with it. */
static void client_drained(struct hub *h, struct hub_client *c)
{
    if (c->parked != NULL && c->parked->park.n == 0)
        park_end(h, c);
    if (c->paused && !park_full(c))
        client_pump(c);
}

static bool goes_to(const struct offer *o, uint32_t queue)
{
    for (uint32_t k = 0; queue != 0 && o->n == 1 && k < o->one.to->n; k++) {
        if (o->one.to->queues[k] == queue - 1)
            return true;
    }
    return false;
}

/* Who had a turn stands behind all others: else who comes first and parks again
 * with each answer would have all the room there is. */
static void had_its_turn(struct hub *h, struct hub_client *c)
{
    const struct client_park *p = c->parked;
    if (p != NULL && p->park.n > 0)
        change_lines(h, c, p->park.over_limit == 0 && goes_to(&p->park.head->offer, p->queue) ? p->queue : 0);
    client_drained(h, c);
}

/* True: it got in, or was refused. */
static bool has_turn(struct hub *h, struct hub_client *c)
{
    struct client_park *p = c->parked;
    uint32_t in = p->queue;
    if (admit_one(h, &p->park, c)) {
        had_its_turn(h, c);
        return true;
    }
    uint32_t full = p->park.over_limit > 0 ? 0 : full_queue(h, &p->park.head->offer);
    if (full != 0)
        h->queues[full - 1].takes = false;
    if (full != in || in == 0) /* in its own queue's line it keeps its place: a large one is not passed by for ever */
        change_lines(h, c, full);
    return false;
}

/* Without memory only those enter who make room. */
static bool untold_have_turns(struct hub *h, bool pressed)
{
    bool moved = false;
    for (uint32_t n = h->untold.n; n > 0 && h->untold.head != NULL; n--) {
        struct hub_client *c = h->untold.head;
        if (pressed && c->parked->park.over_limit == 0)
            change_lines(h, c, 0);
        else
            moved = has_turn(h, c) || moved;
    }
    return moved;
}

/* One from each connection in turn. True: something moved. */
static bool retry_round(struct hub *h)
{
    bool moved = admit_one(h, &h->ownerless, NULL), pressed = hub_memory_pressed(h);
    moved = untold_have_turns(h, pressed) || moved;
    for (struct hub_queue *hq = h->takers; hq != NULL && !pressed; hq = hq->next_taker) {
        if (hq->takes && hq->waiters.head != NULL)
            moved = has_turn(h, hq->waiters.head) || moved;
    }
    return moved;
}

/* The queues with a line and room, in their order: a round looks at no others. */
static void gather_takers(struct hub *h)
{
    h->takers = NULL;
    for (uint32_t i = h->n_queues; i-- > 0;) {
        struct hub_queue *hq = &h->queues[i];
        hq->takes = hq->waiters.head != NULL && queue_admits(hq->q, 1, 1) != QUEUE_WAIT;
        if (!hq->takes)
            continue;
        hq->next_taker = h->takers;
        h->takers = hq;
    }
}

/* Until a round moves nothing. */
void park_retry(struct hub *h)
{
    if (!h->room_made || h->draining || h->commit.health != HUB_OK)
        return;
    h->room_made = false;
    if (h->n_waiting == 0 && h->ownerless.n == 0)
        return;
    gather_takers(h);
    while (retry_round(h)) {
    }
}

static struct hub_client *any_waiting(struct hub *h)
{
    for (uint32_t i = 0; i <= h->n_queues; i++) {
        struct hub_client *c = line_of(h, i)->head;
        if (c != NULL)
            return c;
    }
    return NULL;
}

void park_refuse(struct hub *h)
{
    while (h->n_waiting > 0) {
        struct hub_client *c = any_waiting(h);
        struct park *park = &c->parked->park;
        while (park->n > 0) {
            struct parked *p = pop(park);
            h->parked_bytes -= p->bytes;
            offer_take(h, c, &p->offer); /* the store is broken: it refuses */
            sl_free(p);
        }
        park_end(h, c);
        c->stirred = true;
        client_dirty(c);
    }
}

/* The connection is gone: QoS 1 and 2 are forgotten (never acknowledged, the
 * client sends them again), and so are transactions; QoS 0 and SEND are kept while
 * there is memory: who parks and leaves again and again must not fill it. What they
 * waited behind may be gone: they are tried at once. */
void park_forget(struct hub *h, struct hub_client *c)
{
    if (c->parked == NULL)
        return;
    struct park *park = &c->parked->park;
    while (park->n > 0) {
        struct parked *p = pop(park);
        bool keep = (c->protocol == MESSAGE_STOMP || p->offer.qos == 0) && hub_memory_bytes(h) < h->cfg.memory_bytes;
        if (keep && !p->offer.echo && !p->offer.transaction) {
            p->offer.token = 0;
            push(&h->ownerless, p);
            continue;
        }
        if (p->offer.qos == 2 && !p->offer.echo && c->session != NULL)
            (void)session_drop_id(c->session, p->offer.packet_id);
        h->parked_bytes -= p->bytes;
        answers_drop(c, p->offer.answers, p->offer.n_answers);
        offer_drop(&p->offer);
        sl_free(p);
    }
    h->room_made = h->room_made || h->ownerless.n > 0;
    park_end(h, c);
}

void parks_check(const struct hub *h)
{
    uint32_t sum = h->untold.n;
    for (uint32_t i = 0; i < h->n_queues; i++)
        sum += h->queues[i].waiters.n;
    SL_ASSERT(sum == h->n_waiting);
    for (const struct hub_client *c = h->untold.head; c != NULL; c = c->parked->next)
        SL_ASSERT(c->parked->queue == 0 && c->parked->park.n > 0);
}
