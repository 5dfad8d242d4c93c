/* What goes out to STOMP's consumers, at the pace of their connection and within
 * their credit.
 *
 *   topic: offer ──it keeps up──▶ output ──client modes──▶ unacked
 *            └──── else ──▶ outbox ──consumers_turn──▶ output
 *   queue: lease ──▶ output ──client modes──▶ unacked
 *                      └──auto──▶ answered
 *
 * A queue waits for a connection whose output is full; what a topic brings does
 * not wait for long: more than a session may have makes a slow consumer. */
#include "deliver.h"

#define ROUND        16u /* messages of one consumer, then it is another's turn */
#define LENT_SHARE   8u  /* of limits.memory: what consumers elsewhere may hold of queues */
#define LEDGER_SHARE 4u  /* of limits.memory: what may be kept of deliveries that are unanswered */

/* ---- limits ---- */

/* Unanswered deliveries, and memory, leave room for one more. */
static bool has_credit(const struct client_consumer *cc)
{
    const struct hub *h = cc->client->h;
    uint32_t n = unacked_count(&cc->unacked);
    bool ledger_full = h->deliveries.consumer_bytes > h->cfg.memory_bytes / LEDGER_SHARE;
    return cc->mode == PROTO_ACK_AUTO || n == 0 || (n < cc->credit && !ledger_full);
}

bool lent_too_much(const struct hub *h)
{
    return h->deliveries.lent_bytes > h->cfg.memory_bytes / LENT_SHARE;
}

uint32_t consumer_bytes(const struct client_consumer *cc)
{
    size_t fixed = sizeof *cc + (cc->session != NULL ? sizeof *cc->session : sizeof(struct hub_consumer));
    return (uint32_t)(fixed + unacked_bytes(&cc->unacked));
}

void consumer_count(struct client_consumer *cc)
{
    uint32_t now = consumer_bytes(cc);
    cc->client->h->deliveries.consumer_bytes += now;
    cc->client->h->deliveries.consumer_bytes -= cc->bytes;
    cc->bytes = now;
}

static struct hub_consumer *of_queue(const struct client_consumer *cc)
{
    return cc->consumer == 0 ? NULL : sl_idmap_get(&cc->client->h->consumers, cc->consumer);
}

static void set_paused(struct client_consumer *cc, bool paused)
{
    if (of_queue(cc) == NULL || cc->paused == paused)
        return;
    cc->paused = paused;
    hub_consumer_pause(cc->client->h, cc->consumer, paused);
}

/* Its output is full: nothing more is leased for it. */
static void hold_queues(struct hub_client *c)
{
    for (struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next)
        set_paused(cc, true);
}

static bool output_has_room(struct hub *h, struct hub_client *c, size_t bytes)
{
    if (may_go_out(h, c, bytes))
        return true;
    hold_queues(c);
    return false;
}

/* ---- deliveries ---- */

static enum proto_delivered send_to(struct hub *h, struct client_consumer *cc, struct proto_delivery *d)
{
    struct hub_client *c = cc->client;
    d->subscription_ids = &cc->number;
    d->n_ids = 1;
    enum proto_delivered r = send_delivery(h, c, d);
    if (cc->mode != PROTO_ACK_AUTO)
        consumer_count(cc);
    c->stirred = c->stirred || r == PROTO_ENDED; /* its last event is waiting */
    return r;
}

/* A topic's. */
static bool send_message(struct hub *h, struct client_consumer *cc, const struct message *m, bool retain)
{
    struct proto_delivery d = { .msg = m, .retain = retain, .attempt = 1 };
    if (cc->mode != PROTO_ACK_AUTO)
        d.delivery = unacked_add(&cc->unacked, 0);
    return send_to(h, cc, &d) != PROTO_ENDED;
}

static void answer_at_once(struct hub *h, const struct client_consumer *cc, uint64_t lease)
{
    struct hub_answer a = { .lease = lease, .verb = { .verb = QUEUE_ACK } };
    int err = hub_answer(h, cc->consumer, &a);
    SL_ASSERT(err == SL_OK);
}

/* Does it hold as much as it may, of what all such consumers hold? */
static bool holds_too_much(const struct client_consumer *cc)
{
    return unacked_count(&cc->unacked) > 0 && lent_too_much(cc->client->h);
}

/* Its connection is over, which the hub is about to notice: nobody is charged for what was not sent. */
static void was_not_sent(struct client_consumer *cc, uint64_t delivery, uint64_t lease)
{
    int err = delivery == 0 ? SL_OK : unacked_take(&cc->unacked, delivery, &lease);
    SL_ASSERT(err == SL_OK);
    hold_queues(cc->client);
    consumer_give_back(cc->client->h, cc->consumer, lease, false);
    consumer_count(cc);
}

static void on_lease(void *arg, const struct hub_delivery *hd)
{
    struct client_consumer *cc = arg;
    struct hub_client *c = cc->client;
    struct hub *h = c->h;
    uint64_t lease = hd->d->lease;
    bool answers = cc->mode != PROTO_ACK_AUTO;
    struct proto_delivery d = { .msg = hd->d->msg, .attempt = hd->d->attempt, .redelivered = hd->d->redelivered };
    if (answers)
        d.delivery = unacked_add(&cc->unacked, lease);
    if (send_to(h, cc, &d) == PROTO_ENDED) {
        was_not_sent(cc, d.delivery, lease);
        return;
    }
    if (!answers)
        answer_at_once(h, cc, lease);
    if (output_has_room(h, c, 1) && holds_too_much(cc)) {
        set_paused(cc, true);
        deliver_soon(h, c);
    }
}

/* It has answered, with a COMMIT that waits for the disk: that is not its fault. */
static bool awaits_space(const struct hub_client *c)
{
    return c->parked != NULL && c->parked->park.over_limit > 0;
}

/* An open but silent connection: the leases go back, and it is told. */
static void on_overdue(void *arg)
{
    const struct client_consumer *cc = arg;
    sl_log(SL_WARN, "ack_timeout", "peer=%s consumer=%u", cc->client->peer, cc->number);
    hub_client_bye(cc->client, awaits_space(cc->client) ? PROTO_BYE_STORE : PROTO_BYE_ACK_TIMEOUT);
}

const struct hub_consumer_ops client_consumer_ops = { on_lease, on_overdue };

/* ---- topics ---- */

static void drop_expired(struct hub *h, const struct session *s)
{
    const struct outbox_entry *e;
    while (s->outbox != NULL && (e = outbox_head(s->outbox)) != NULL && life_left(h, e->msg) == 0) {
        h->counters.deliveries_dropped_expired++;
        drop_head(h, s);
    }
}

static bool may_wait(struct hub *h, const struct session *s, const struct message *m)
{
    if (queue_takes(h, s, m) && memory_takes(h, m))
        return true;
    drop_expired(h, s);
    return queue_takes(h, s, m) && memory_takes(h, m);
}

/* It is let go at its turn: others may be about to get this message. */
static void is_slow(struct hub *h, struct client_consumer *cc)
{
    cc->slow = true;
    deliver_soon(h, cc->client);
}

static uint32_t waiting(const struct client_consumer *cc)
{
    return cc->session == NULL || cc->session->outbox == NULL ? 0 : outbox_queued(cc->session->outbox);
}

void consumer_offer(struct hub *h, struct client_consumer *cc, const struct outbox_item *it)
{
    struct hub_client *c = cc->client;
    if (c->closing || cc->slow)
        return;
    if (life_left(h, it->msg) == 0)
        h->counters.deliveries_dropped_expired++;
    else if (waiting(cc) == 0 && has_credit(cc) && output_has_room(h, c, message_bytes(it->msg)))
        (void)send_message(h, cc, it->msg, it->retain);
    else if (may_wait(h, cc->session, it->msg))
        (void)outbox_push(outbox_for(h, cc->session, it), it);
    else
        is_slow(h, cc);
}

/* ---- turns ---- */

/* How many went out; *full: there is no room for more. */
static uint32_t topic_round(struct hub *h, struct client_consumer *cc, bool *full)
{
    const struct session *s = cc->session;
    uint32_t n = 0;
    drop_expired(h, s);
    while (n < ROUND && has_credit(cc) && waiting(cc) > 0) {
        const struct outbox_entry *e = outbox_head(s->outbox);
        *full = !output_has_room(h, cc->client, message_bytes(e->msg)) || !send_message(h, cc, e->msg, e->retain);
        if (*full)
            break;
        drop_head(h, s);
        drop_expired(h, s);
        n++;
    }
    return n;
}

/* True: its queue goes on. */
static bool queue_round(struct hub *h, struct client_consumer *cc, bool *full)
{
    if (!cc->paused)
        return false;
    *full = !output_has_room(h, cc->client, 1);
    if (*full)
        return false;
    if (holds_too_much(cc))
        deliver_soon(h, cc->client);
    else
        set_paused(cc, false);
    return !cc->paused;
}

static bool topics_wait(const struct hub_client *c)
{
    const struct client_consumer *cc = c->consumers;
    while (cc != NULL && waiting(cc) == 0)
        cc = cc->next;
    return cc != NULL;
}

/* One of its queues was resumed, or got something, and was not dispatched since. */
static bool queue_is_due(const struct hub *h, const struct hub_client *c)
{
    for (const struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next) {
        const struct hub_consumer *hc = cc->paused ? NULL : of_queue(cc);
        if (hc != NULL && h->queues[hc->queue].hot)
            return true;
    }
    return false;
}

/* The list begins with `first` from now on. */
static void begin_with(struct hub_client *c, struct client_consumer *first)
{
    struct client_consumer *last = first;
    if (first == NULL || c->consumers == first)
        return;
    while (last->next != NULL)
        last = last->next;
    last->next = c->consumers;
    while (last->next != first)
        last = last->next;
    last->next = NULL;
    c->consumers = first;
}

/* True: something moved, and there is room for more. Where there is none, who got
 * nothing is the first of the next round. A queue has its turn only when it is
 * dispatched: what topics have for the same output waits for that. */
static bool round_of_all(struct hub *h, struct hub_client *c)
{
    uint32_t moved = 0;
    bool topics = topics_wait(c); /* asked once: a round is as long as the list */
    for (struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next) {
        bool full = false;
        uint32_t n = cc->session != NULL ? topic_round(h, cc, &full) : 0;
        bool resumed = cc->session == NULL && queue_round(h, cc, &full);
        moved += n;
        if (resumed && topics)
            deliver_soon(h, c);
        else if (!full)
            continue;
        begin_with(c, n > 0 || resumed ? cc->next : cc);
        return false;
    }
    return moved > 0;
}

static const struct client_consumer *slow_one(const struct hub_client *c)
{
    const struct client_consumer *cc = c->consumers;
    while (cc != NULL && !cc->slow)
        cc = cc->next;
    return cc;
}

/* What finds no room has its turn when the output is written; without any output
 * it was the end of a round. */
static void pump_retained(struct hub *h, struct hub_client *c)
{
    bool more = false;
    for (struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next) {
        if (cc->session != NULL && waiting(cc) == 0)
            more = (retained_pump(h, cc->session) && has_credit(cc)) || more;
    }
    if (more && c->pending == 0)
        deliver_soon(h, c);
}

void consumers_turn(struct hub *h, struct hub_client *c)
{
    const struct client_consumer *slow = slow_one(c);
    if (slow != NULL) {
        sl_log(SL_WARN, "slow_consumer", "peer=%s consumer=%u waiting=%u", c->peer, slow->number, waiting(slow));
        h->counters.slow_readers_closed++;
        hub_client_bye(c, PROTO_BYE_SLOW);
        return;
    }
    if (topics_wait(c) && queue_is_due(h, c)) {
        deliver_soon(h, c);
        return;
    }
    while (round_of_all(h, c))
        ;
    pump_retained(h, c);
}

bool consumers_wait(const struct hub_client *c)
{
    for (const struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next) {
        bool more = cc->session == NULL ? cc->paused : waiting(cc) > 0 || retained_waits(c->h, cc->session);
        if (more)
            return true;
    }
    return false;
}

void consumer_answered(struct client_consumer *cc)
{
    consumer_count(cc);
    if (waiting(cc) > 0 || cc->paused || (cc->session != NULL && retained_waits(cc->client->h, cc->session)))
        deliver_soon(cc->client->h, cc->client);
}
