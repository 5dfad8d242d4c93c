/* Parking: offers that wait for room in a full `block` queue, first in, first
 * out per connection, connections in turn (decision 16). */
#include "hub_internal.h"

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

static struct park *park_of(struct hub *h, struct hub_client *c)
{
    if (c->parked != NULL)
        return &c->parked->park;
    c->parked = SL_NEW(struct client_park);
    c->parked->prev = h->waiting_tail;
    if (h->waiting_tail != NULL)
        h->waiting_tail->parked->next = c;
    else
        h->waiting = c;
    h->waiting_tail = c;
    return &c->parked->park;
}

/* It is empty. */
static void park_end(struct hub *h, struct hub_client *c)
{
    struct client_park *p = c->parked;
    SL_ASSERT(p->park.n == 0);
    if (h->waiting_next == c)
        h->waiting_next = p->next;
    if (p->prev != NULL)
        p->prev->parked->next = p->next;
    else
        h->waiting = p->next;
    if (p->next != NULL)
        p->next->parked->prev = p->prev;
    else
        h->waiting_tail = p->prev;
    c->parked = NULL;
    sl_free(p);
}

/* Over the memory limit one parked offer is enough. */
bool park_full(const struct hub_client *c)
{
    if (c->parked == NULL)
        return false;
    const struct park *park = &c->parked->park;
    bool short_of_memory = hub_memory_bytes(c->h) >= c->h->cfg.memory_bytes;
    return short_of_memory || park->n >= c->l->park_max || park->bytes >= c->l->park_bytes;
}

void park_push(struct hub *h, struct hub_client *c, const struct offer *o)
{
    struct parked *p = SL_NEW(struct parked);
    p->offer = *o;
    p->bytes = sizeof *p + offer_bytes(o);
    h->counters.publishes_parked++;
    push(c != NULL ? park_of(h, c) : &h->ownerless, p);
    h->parked_bytes += p->bytes;
    h->room_made = h->room_made || o->over_limit;
}

/* A transaction that answers a queue's delivery must not wait for room there, nor
 * behind what does: what its connection sent before enters with it. */
static enum queue_admission turn_of(struct hub *h, const struct park *park)
{
    if (park->over_limit > 0)
        return h->commit.health == HUB_OK ? QUEUE_ADMIT : QUEUE_WAIT;
    return park->n > 0 ? offer_admission(h, &park->head->offer) : QUEUE_WAIT;
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

/* One from each connection in turn, until a round moves nothing. */
void park_retry(struct hub *h)
{
    if (!h->room_made || h->draining || h->commit.health != HUB_OK)
        return;
    h->room_made = false;
    bool moved = true;
    while (moved) {
        moved = admit_one(h, &h->ownerless, NULL);
        for (struct hub_client *c = h->waiting; c != NULL; c = h->waiting_next) {
            h->waiting_next = c->parked->next;
            if (admit_one(h, &c->parked->park, c)) {
                moved = true;
                client_drained(h, c);
            }
        }
    }
}

void park_refuse(struct hub *h)
{
    while (h->waiting != NULL) {
        struct hub_client *c = h->waiting;
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
