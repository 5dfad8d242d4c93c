/* An offer enters all its queues, waits for room, or is refused: decisions 9,
 * 6, 15, 30. */
#include "dead.h"
#include "dedup.h"
#include "jobs.h"
#include "trace.h"

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
            a = worse_admission(a, queue_admits(h->queues[q].q, h->scratch_count[q], h->scratch_bytes[q]));
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
        a = worse_admission(a, queue_admits(h->queues[o->one.to->queues[k]].q, 1, message_bytes(o->one.m)));
    return a;
}

enum queue_admission offer_admission_sifted(struct hub *h, const struct offer *o)
{
    enum queue_admission a = offer_admission(h, o);
    return SL_LIKELY(a == QUEUE_ADMIT) || h->dedups.n == 0 ? a : dedup_admission(h, o, a);
}

static SL_ALWAYS_INLINE void make_room(struct hub *h, const struct message *m, const struct route_set *to, bool sifted)
{
    for (uint32_t k = 0; k < to->n; k++) {
        uint32_t queue = to->queues[k];
        struct queue_change change;
        uint32_t count = 1;
        uint64_t bytes = message_bytes(m);
        if (sifted)
            dedup_adds(&h->queues[queue], m, &count, &bytes);
        while (queue_make_room(h->queues[queue].q, count, bytes, &change)) {
            record_change(h, queue, &change, NULL);
            if (sifted)
                dedup_adds(&h->queues[queue], m, &count, &bytes); /* the first one may have been the oldest */
        }
    }
}

void offer_make_room(struct hub *h, const struct offer_item *it)
{
    make_room(h, it->m, it->to, false);
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
static SL_ALWAYS_INLINE bool goes_on(const struct hub *h, const struct offer_item *it)
{
    if (subscriptions_count(h->subscriptions) == 0 && (message_flags(it->m) & MESSAGE_RETAIN) == 0)
        return false;
    return it->to->n != 1 || it->to != h->queues[it->to->queues[0]].alone;
}

/* `to`: those of its queues that take it. True: the answer waits for the whole batch. */
static SL_ALWAYS_INLINE bool enter_one(struct hub *h, const struct offer_item *it, const struct route_set *to, uint32_t ticket, bool hold)
{
    struct message *m = it->m;
    message_set_id(m, ++h->next_id, h->now.wall_ms);
    h->published_id = h->next_id;
    uint32_t holders = record_enqueue(h, m, to, hold);
    bool promised = false;
    if (SL_UNLIKELY(message_is_job(m)))
        jobs_enter(h, m, to);
    if (SL_UNLIKELY(h->trace != NULL))
        trace_entered(h, m, to);
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

/* It only settles, which never waits: it makes room. */
static bool only_settles(const struct offer *o)
{
    return o->transaction && o->n == 0;
}

/* Some queues remember what they had: each message enters those that have not had it. */
static SL_NOINLINE bool enter_sifted(struct hub *h, const struct offer *o, uint32_t ticket, bool hold)
{
    bool whole_batch = false;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct offer_item *it = &offer_items(o)[i];
        const struct route_set *to = dedup_sift(h, o, it);
        make_room(h, it->m, to, true);
        whole_batch = enter_one(h, it, to, ticket, hold) || whole_batch;
    }
    return dedup_awaits(h) || whole_batch;
}

static SL_ALWAYS_INLINE bool enter_all(struct hub *h, const struct offer *o, uint32_t ticket, bool hold)
{
    bool whole_batch = false;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct offer_item *it = &offer_items(o)[i];
        make_room(h, it->m, it->to, false);
        whole_batch = enter_one(h, it, it->to, ticket, hold) || whole_batch;
    }
    return whole_batch;
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
    bool hold = exactly_once || o->hold;
    bool entered = SL_LIKELY(h->dedups.n == 0) ? enter_all(h, o, ticket, hold) : enter_sifted(h, o, ticket, hold);
    whole_batch = entered || whole_batch;
    if (ticket != MESSAGE_NO_TICKET) {
        if (whole_batch)
            ticket_await_batch(h, ticket);
        if (SL_UNLIKELY(only_settles(o))) {
            ((struct ticket *)sl_slab_at(&h->tickets, ticket))->settles = true;
            stuck_hurry(h);
        }
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

#define NO_GRACE UINT64_MAX

/* The longest of the queues that it was for; NO_GRACE: none of them refuses when it is full. */
static uint64_t reject_grace_ms(const struct hub *h, const struct offer *o)
{
    uint64_t ms = NO_GRACE;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct route_set *to = offer_items(o)[i].to;
        for (uint32_t k = 0; k < to->n; k++) {
            const struct queue_config *q = h->queues[to->queues[k]].cfg;
            if (q->overflow == QUEUE_REJECT && (ms == NO_GRACE || q->reject_grace_ms > ms))
                ms = q->reject_grace_ms;
        }
    }
    return ms;
}

static void tell_refused(struct hub *h, struct hub_client *c, const struct offer *o, enum proto_result r)
{
    uint64_t grace_ms = r == PROTO_REFUSED_QUOTA ? reject_grace_ms(h, o) : NO_GRACE;
    if (grace_ms != NO_GRACE)
        client_refuse(c, o->token, (uint32_t)grace_ms);
    else
        client_answer(c, o->token, r);
}

void offer_refuse(struct hub *h, struct hub_client *c, struct offer *o, enum proto_result r)
{
    offer_refused(h, o);
    if (o->qos == 2 && !o->echo && c != NULL && c->session != NULL)
        (void)session_drop_id(c->session, o->packet_id);
    if (c != NULL)
        tell_refused(h, c, o, r);
    answers_drop(c, o->answers, o->n_answers);
    offer_drop(o);
}

/* What is taken already may be finished while the gateway stops. */
static enum queue_admission admission_now(struct hub *h, const struct offer *o)
{
    bool stops = h->draining && !o->over_limit && !only_settles(o);
    return stops ? QUEUE_WAIT : offer_admission_sifted(h, o);
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
