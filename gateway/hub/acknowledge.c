/* ACK and NACK: what becomes of deliveries to a client's consumers.
 *
 *   ACK ──▶ done        NACK ──▶ a failed attempt, or dead       extend ──▶ its time begins anew
 *
 * A queue is told, and what that changes is recorded. Of a topic nothing is kept
 * that could be tried again: an answer only makes room for the next message. What
 * is over when its answer comes is counted, and nothing else happens (decision 38). */
#include "consumer.h"

/* ---- receipts: when is it stored? ---- */

/* Records that there are in batches which are not under way. */
static uint64_t records_made(const struct hub *h)
{
    const struct batch *open = h->commit.open, *stuck = h->commit.stuck;
    return (uint64_t)open->base + open->n + (stuck == NULL ? 0 : stuck->n);
}

/* Of a store that broke nobody knows what it has written; whoever waits for it is refused. */
bool settles_pending(const struct hub_client *c)
{
    if (c->stomp == NULL || c->stomp->settled_in == 0)
        return false;
    return c->h->commit.health == HUB_BROKEN || !hub_batch_stored(c->h, c->stomp->settled_in);
}

static void await_settles(struct hub_client *c, uint32_t token)
{
    struct hub *h = c->h;
    uint32_t ticket = ticket_new(h, c->id, token);
    ((struct ticket *)sl_slab_at(&h->tickets, ticket))->settles = true;
    ticket_await_batch(h, ticket);
    ticket_done(h, ticket, PROTO_ACCEPTED);
    stuck_hurry(h);
}

/* A batch leaves after all that is older, so the open one has the last word. */
void answer_after_settles(struct hub_client *c, uint32_t token)
{
    if (token == 0)
        return;
    if (settles_pending(c))
        await_settles(c, token);
    else
        client_answer(c, token, PROTO_ACCEPTED);
}

/* ---- one answer ---- */

struct queue_answer answer_verb(const struct proto_acknowledge *p)
{
    struct queue_answer a = { .verb = QUEUE_ACK };
    if (p->verdict == PROTO_DEAD)
        a.verb = QUEUE_KILL;
    else if (p->verdict == PROTO_NACK)
        a = (struct queue_answer){ .verb = QUEUE_RETRY, .has_delay = p->has_ms, .delay_ms = p->ms };
    return a;
}

static void answer_topic(struct hub_client *c, enum queue_verb verb)
{
    if (verb == QUEUE_ACK)
        c->h->counters.deliveries_acked++;
    else
        c->h->counters.deliveries_refused++;
    deliver_soon(c->h, c); /* it has credit again */
}

/* Open or claimed. */
static void give(struct hub_client *c, struct client_consumer *cc, uint64_t delivery, const struct queue_answer *verb, struct sl_bytes reason)
{
    struct hub_answer a = { .verb = *verb, .reason = reason };
    int err = unacked_take(&cc->unacked, delivery, &a.lease);
    SL_ASSERT(err == SL_OK);
    consumer_answered(cc);
    if (cc->session != NULL) {
        answer_topic(c, verb->verb);
        return;
    }
    uint64_t before = records_made(c->h);
    err = hub_answer(c->h, cc->consumer, &a);
    SL_ASSERT(err == SL_OK); /* what is in the ledger is leased: a lease ends by its answer, or with its consumer */
    if (records_made(c->h) != before)
        client_stomp(c)->settled_in = c->h->commit.open->seq;
}

/* ---- frames ---- */

static bool is_open(const struct client_consumer *cc, uint64_t delivery)
{
    return unacked_state(&cc->unacked, delivery) == UNACKED_OPEN;
}

uint64_t answered_next(const struct client_consumer *cc, const struct proto_acknowledge *p, uint64_t *from)
{
    uint64_t next = *from;
    *from = UINT64_MAX;
    if (next == UINT64_MAX || cc->mode == PROTO_ACK_AUTO)
        return 0;
    if (cc->mode == PROTO_ACK_EACH)
        return is_open(cc, p->delivery) ? p->delivery : 0;
    next = unacked_next(&cc->unacked, next);
    if (next == 0 || next > p->delivery)
        return 0;
    *from = next + 1;
    return next;
}

static void answer_all(struct hub_client *c, struct client_consumer *cc, const struct proto_acknowledge *p)
{
    struct queue_answer verb = answer_verb(p);
    uint64_t from = 0, delivery;
    while ((delivery = answered_next(cc, p, &from)) != 0)
        give(c, cc, delivery, &verb, p->reason);
}

/* Also what an open transaction has answered already: it is not given yet. */
static void extend(struct hub_client *c, const struct client_consumer *cc, const struct proto_acknowledge *p)
{
    uint64_t lease;
    if (unacked_lease(&cc->unacked, p->delivery, &lease) != SL_OK) {
        c->h->counters.stale_answers++;
        return;
    }
    int err = cc->session != NULL ? SL_OK : hub_extend(c->h, cc->consumer, lease, p->ms);
    SL_ASSERT(err == SL_OK);
}

/* The session knows the numbers of consumers: one that is not there was
 * unsubscribed from. */
static bool was_given(const struct client_consumer *cc, const struct proto_acknowledge *p)
{
    if (cc == NULL)
        return p->delivery != 0;
    return unacked_state(&cc->unacked, p->delivery) != UNACKED_NEVER;
}

/* What went back with its subscription comes to somebody else: a transaction
 * that answers it must not be done, else its messages would be there twice. What
 * the client has answered itself does no harm. */
static void answer_is_over(struct hub_client *c, const struct client_consumer *cc, const struct proto_acknowledge *p)
{
    c->h->counters.stale_answers++;
    if (p->transaction.n > 0 && (cc == NULL || cc->left))
        transaction_is_stale(c, p->transaction);
}

static void acknowledge(struct hub_client *c, struct client_consumer *cc, const struct proto_acknowledge *p)
{
    if (p->verdict == PROTO_EXTEND) {
        extend(c, cc, p);
        return;
    }
    if (!is_open(cc, p->delivery))
        answer_is_over(c, cc, p);
    if (p->transaction.n > 0)
        transaction_answer(c, p, cc);
    else
        answer_all(c, cc, p);
}

void on_acknowledge(struct hub_client *c, uint32_t token, const struct proto_acknowledge *p)
{
    struct client_consumer *cc = client_consumer(c, p->consumer);
    if (!was_given(cc, p)) {
        client_answer(c, token, PROTO_REFUSED_DELIVERY);
        return;
    }
    if (cc != NULL)
        acknowledge(c, cc, p);
    else
        answer_is_over(c, NULL, p);
    if (p->transaction.n == 0)
        answer_after_settles(c, token);
    else if (token != 0)
        client_answer(c, token, PROTO_ACCEPTED); /* received (decision 39) */
}

/* ---- transactions ---- */

bool answers_hold(const struct hub_client *c, const struct offer_answer *v, uint32_t n)
{
    if (n > 0 && c->closing)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct client_consumer *cc = client_consumer(c, v[i].consumer);
        if (cc == NULL || unacked_state(&cc->unacked, v[i].delivery) != UNACKED_CLAIMED)
            return false;
    }
    return true;
}

/* All that the answers recorded is found again in the batch by its mark: it
 * leaves with what entered, not earlier. */
void bind_answers(struct hub *h, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct batch_op *op = &h->commit.open->ops[i];
        if (op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE || op->kind == BATCH_BODY_DROP)
            op->bound = true; /* of others it is another field */
    }
}

void answers_give(struct hub_client *c, const struct offer_answer *v, uint32_t n, bool bound)
{
    struct hub *h = c->h;
    uint32_t from = h->commit.open->n;
    h->commit.transacting = true;
    for (uint32_t i = 0; i < n; i++) {
        struct client_consumer *cc = client_consumer(c, v[i].consumer);
        SL_ASSERT(cc != NULL);
        give(c, cc, v[i].delivery, &v[i].verb, v[i].reason == NULL ? SL_BYTES_NONE : sl_str(v[i].reason));
        consumer_over(cc);
    }
    h->commit.transacting = false;
    if (bound)
        bind_answers(h, from, h->commit.open->n);
}

void answers_drop(struct hub_client *c, struct offer_answer *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct client_consumer *cc = c == NULL ? NULL : client_consumer(c, v[i].consumer);
        int err = cc != NULL ? unacked_unclaim(&cc->unacked, v[i].delivery) : SL_ENOENT;
        (void)err; /* it may be over by now */
        sl_free(v[i].reason);
        v[i].reason = NULL;
    }
}
