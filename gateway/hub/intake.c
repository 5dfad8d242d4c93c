/* An offer enters all its queues, waits for room, or is refused: decisions 9,
 * 6, 15, 30. */
#include "jobs.h"

static const struct offer_item *offer_items(const struct offer *o)
{
    return o->items != NULL ? o->items : &o->one;
}

uint64_t offer_bytes(const struct offer *o)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < o->n; i++)
        sum += message_bytes(offer_items(o)[i].m);
    for (uint32_t i = 0; i < o->n_answers; i++)
        sum += sizeof o->answers[i] + (o->answers[i].reason == NULL ? 0 : strlen(o->answers[i].reason) + 1);
    return sum;
}

static void answers_free(struct offer *o)
{
    if (SL_LIKELY(!o->transaction))
        return;
    answers_drop(NULL, o->answers, o->n_answers);
    sl_free(o->answers);
}

void offer_drop(struct offer *o)
{
    const struct offer_item *items = offer_items(o);
    for (uint32_t i = 0; i < o->n; i++)
        message_unref(items[i].m);
    answers_free(o);
    sl_free(o->items);
    *o = (struct offer){ 0 };
}

static enum queue_admission worse(enum queue_admission a, enum queue_admission b)
{
    return a > b ? a : b; /* ADMIT < WAIT < REFUSE */
}

/* Any `reject` refuses it; else any full `block` parks it. */
static enum queue_admission several_admission(struct hub *h, const struct offer *o)
{
    memset(h->scratch_count, 0, h->n_queues * sizeof *h->scratch_count);
    memset(h->scratch_bytes, 0, h->n_queues * sizeof *h->scratch_bytes);
    enum queue_admission a = QUEUE_ADMIT;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct offer_item *it = &offer_items(o)[i];
        for (uint32_t k = 0; k < it->to->n; k++) {
            uint32_t q = it->to->queues[k];
            h->scratch_count[q]++;
            h->scratch_bytes[q] += message_bytes(it->m);
            a = worse(a, queue_admits(h->queues[q].q, h->scratch_count[q], h->scratch_bytes[q]));
        }
    }
    return a;
}

enum queue_admission offer_admission(struct hub *h, const struct offer *o)
{
    if (o->n == 0)
        return QUEUE_ADMIT;
    if (h->commit.health == HUB_NO_SPACE)
        return QUEUE_WAIT;
    if (o->over_limit)
        return QUEUE_ADMIT;
    if (hub_memory_pressed(h))
        return QUEUE_WAIT;
    if (o->n > 1)
        return several_admission(h, o);
    enum queue_admission a = QUEUE_ADMIT;
    for (uint32_t k = 0; k < o->one.to->n; k++)
        a = worse(a, queue_admits(h->queues[o->one.to->queues[k]].q, 1, message_bytes(o->one.m)));
    return a;
}

static void make_room(struct hub *h, const struct offer_item *it)
{
    for (uint32_t k = 0; k < it->to->n; k++) {
        uint32_t queue = it->to->queues[k];
        struct queue_change change;
        while (queue_make_room(h->queues[queue].q, 1, message_bytes(it->m), &change))
            record_change(h, queue, &change, NULL);
    }
}

/* The QoS 2 id of a persistent session is a record of its own, and the answer
 * waits for it; the message is leased only after the commit (decision 3). */
static bool record_qos2(struct hub *h, const struct hub_client *c, const struct offer *o)
{
    if (c == NULL || c->session == NULL || !c->session->persistent)
        return false;
    struct batch_op *op = record(h, BATCH_QOS2_ADD);
    op->id = c->session->number;
    op->packet_id = o->packet_id;
    h->commit.owed = true;
    return true;
}

/* Room there was when it was accepted; where that is gone, those who listen still get it. */
static bool keep_retained(struct hub *h, struct message *m)
{
    if ((message_flags(m) & MESSAGE_RETAIN) == 0 || !retained_has_slot(h, message_topic(m)))
        return false;
    bool fits = retained_fits_in(h, m);
    if (fits)
        retained_keep(h, m);
    else
        h->counters.retained_refused++;
    return fits;
}

/* Who addresses a queue by its name reaches nobody else (decision 24). */
static bool goes_on(const struct hub *h, const struct offer_item *it)
{
    if (subscriptions_count(h->subscriptions) == 0 && (message_flags(it->m) & MESSAGE_RETAIN) == 0)
        return false;
    return it->to->n != 1 || it->to != h->queues[it->to->queues[0]].alone;
}

/* True: the answer waits for the whole batch. */
static bool enter_one(struct hub *h, const struct offer_item *it, uint32_t ticket, bool hold)
{
    struct message *m = it->m;
    uint32_t holders = record_enqueue(h, it, hold);
    bool promised = false;
    if (SL_UNLIKELY(message_is_job(m)))
        jobs_enter(h, m, it->to);
    if (goes_on(h, it)) {
        promised = keep_retained(h, m);
        holders += fan_out(h, m);
        promised = h->deliveries.fanning.cloned || promised;
    }
    if (holders == 0 && m->body_batch != 0)
        record_body_unneeded(h, m);
    if (holders > 1)
        holders_set(h, message_id(m), holders);
    if (ticket != MESSAGE_NO_TICKET && m->body_batch != 0) {
        m->ticket = ticket;
        ((struct ticket *)sl_slab_at(&h->tickets, ticket))->pending++;
    }
    message_unref(m); /* queues, sessions and the batch have theirs */
    return promised;
}

/* The answers of a transaction, before its messages: they make room. True: its
 * own answer waits for the whole batch. */
static bool settle_first(struct hub_client *c, const struct offer *o)
{
    answers_give(c, o->answers, o->n_answers, o->n > 0);
    return settles_pending(c);
}

void offer_enter(struct hub *h, struct hub_client *c, struct offer *o)
{
    uint32_t ticket = c != NULL && o->token != 0 ? ticket_new(h, c->id, o->token) : MESSAGE_NO_TICKET;
    bool exactly_once = o->qos == 2 && !o->echo;
    bool whole_batch = (exactly_once && record_qos2(h, c, o)) || o->echo;
    if (SL_UNLIKELY(o->transaction) && settle_first(c, o))
        whole_batch = true;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct offer_item *it = &offer_items(o)[i];
        make_room(h, it);
        message_set_id(it->m, ++h->next_id, h->now.wall_ms);
        whole_batch = enter_one(h, it, ticket, exactly_once || o->hold) || whole_batch;
    }
    if (ticket != MESSAGE_NO_TICKET) {
        if (whole_batch)
            ticket_await_batch(h, ticket);
        ticket_done(h, ticket, PROTO_ACCEPTED); /* the hold of its construction */
    }
    answers_free(o);
    sl_free(o->items);
    *o = (struct offer){ 0 };
}

void offer_refused(struct hub *h, const struct offer *o)
{
    h->counters.publishes_refused++;
    const struct offer_item *items = offer_items(o);
    for (uint32_t i = 0; i < o->n; i++) {
        for (uint32_t k = 0; k < items[i].to->n; k++)
            queue_counters(h->queues[items[i].to->queues[k]].q)->refused++;
    }
}

void offer_refuse(struct hub *h, struct hub_client *c, struct offer *o, enum proto_result r)
{
    offer_refused(h, o);
    if (o->qos == 2 && !o->echo && c != NULL && c->session != NULL)
        (void)session_drop_id(c->session, o->packet_id);
    if (c != NULL)
        client_answer(c, o->token, r);
    answers_drop(c, o->answers, o->n_answers);
    offer_drop(o);
}

/* It only settles, which never waits: it makes room. */
static bool only_settles(const struct offer *o)
{
    return o->transaction && o->n == 0;
}

/* What is taken already may be finished while the gateway stops. */
static enum queue_admission admission_now(struct hub *h, const struct offer *o)
{
    bool stops = h->draining && !o->over_limit && !only_settles(o);
    return stops ? QUEUE_WAIT : offer_admission(h, o);
}

void offer_take(struct hub *h, struct hub_client *c, struct offer *o)
{
    if (h->commit.health == HUB_BROKEN) {
        offer_refuse(h, c, o, PROTO_REFUSED_STORE);
        return;
    }
    enum queue_admission a = admission_now(h, o);
    if (a == QUEUE_REFUSE)
        offer_refuse(h, c, o, PROTO_REFUSED_QUOTA);
    else if (a == QUEUE_ADMIT && (c == NULL || c->parked == NULL || only_settles(o)))
        offer_enter(h, c, o);
    else if (o->qos == 0 && o->token == 0 && hub_memory_bytes(h) >= h->cfg.memory_bytes)
        offer_refuse(h, c, o, PROTO_REFUSED_QUOTA); /* QoS 0 is the first to be shed (decision 6) */
    else
        park_push(h, c, o);
}
