/* STOMP transactions: what SEND, ACK and NACK gather until COMMIT.
 *
 *   SEND ──▶ a message                          ┐
 *   ACK, NACK ──▶ an answer; its delivery is    ├─ COMMIT ─▶ one offer ──▶ one batch
 *                 claimed, nobody else answers it ┘    └ a delivery is over: refused
 *
 * ABORT and the end of the connection leave nothing: no message, and deliveries
 * that are unanswered again. */
#include "consumer.h"

#define GATHERED_SHARE 8u /* of limits.memory: what all open transactions may hold */

struct client_stomp *client_stomp(struct hub_client *c)
{
    if (c->stomp == NULL)
        c->stomp = SL_NEW(struct client_stomp);
    return c->stomp;
}

static struct transaction **find_transaction(struct hub_client *c, struct sl_bytes name)
{
    struct transaction **t = &client_stomp(c)->transactions;
    while (*t != NULL && !sl_bytes_eq(name, sl_bytes_of((*t)->name, (*t)->name_bytes)))
        t = &(*t)->next;
    SL_ASSERT(*t != NULL); /* the session refuses unknown names */
    return t;
}

/* ---- limits ---- */

/* All that a connection has open may hold what it may park. */
static bool takes(struct hub_client *c, uint32_t n, size_t bytes)
{
    const struct client_stomp *s = client_stomp(c);
    const struct hub *h = c->h;
    if (s->n + n > c->l->park_max || s->bytes + bytes > c->l->park_bytes) {
        client_answer(c, 0, PROTO_REFUSED_LARGE);
        return false;
    }
    if (h->gathered_bytes + bytes > h->cfg.memory_bytes / GATHERED_SHARE) {
        hub_client_bye(c, PROTO_BYE_QUOTA);
        return false;
    }
    return true;
}

static void count(struct hub_client *c, struct transaction *t, uint32_t n, size_t bytes)
{
    t->bytes += bytes;
    c->stomp->n += n;
    c->stomp->bytes += bytes;
    c->h->gathered_bytes += bytes;
}

/* It is open no more. */
static void uncount(struct hub_client *c, const struct transaction *t)
{
    c->stomp->n -= t->n;
    c->stomp->bytes -= t->bytes;
    c->h->gathered_bytes -= t->bytes;
}

/* ---- coming and going ---- */

/* `claimant`: NULL when it has nothing any more. */
static void transaction_free(struct hub_client *claimant, struct transaction *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        message_unref(t->items[i].m);
    answers_drop(claimant, t->answers, t->n_answers);
    sl_free(t->items);
    sl_free(t->answers);
    sl_free(t);
}

static void unclaim(const struct hub_client *c, const struct transaction *t, uint32_t consumer)
{
    for (uint32_t i = 0; i < t->n_answers; i++) {
        const struct offer_answer *a = &t->answers[i];
        struct client_consumer *cc = consumer == 0 || consumer == a->consumer ? client_consumer(c, a->consumer) : NULL;
        int err = cc != NULL ? unacked_unclaim(&cc->unacked, a->delivery) : SL_ENOENT;
        (void)err; /* it may be over by now */
    }
}

void transactions_unclaim(struct hub_client *c, uint32_t consumer)
{
    for (const struct transaction *t = c->stomp == NULL ? NULL : c->stomp->transactions; t != NULL; t = t->next)
        unclaim(c, t, consumer);
}

void transactions_free(struct hub_client *c)
{
    while (c->stomp != NULL && c->stomp->transactions != NULL) {
        struct transaction *t = c->stomp->transactions;
        c->stomp->transactions = t->next;
        uncount(c, t);
        transaction_free(NULL, t);
    }
    if (c->stomp != NULL)
        sl_idmap_fini(&c->stomp->consumers);
    sl_free(c->stomp);
    c->stomp = NULL;
}

void on_begin(struct hub_client *c, struct sl_bytes name)
{
    struct transaction *t = sl_calloc(1, sizeof *t + name.n);
    t->name_bytes = (uint32_t)name.n;
    memcpy(t->name, name.p, name.n);
    t->next = client_stomp(c)->transactions;
    c->stomp->transactions = t;
}

void transaction_send(struct hub_client *c, const struct proto_publish *p, const struct route_set *to)
{
    struct transaction *t = *find_transaction(c, p->transaction);
    struct message *m = message_of_publish(c, p);
    if (!takes(c, 1, message_bytes(m))) {
        message_unref(m);
        return;
    }
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 8 : t->cap * 2;
        t->items = sl_realloc(t->items, t->cap * sizeof *t->items);
    }
    t->items[t->n++] = (struct offer_item){ m, to };
    count(c, t, 1, message_bytes(m));
}

static char *copy_of(struct sl_bytes reason)
{
    size_t n = reason.n < BATCH_FAILURE_DETAIL_MAX ? reason.n : BATCH_FAILURE_DETAIL_MAX;
    char *copy = n == 0 ? NULL : sl_alloc(n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, reason.p, n);
    copy[n] = '\0';
    return copy;
}

static void claim(struct transaction *t, struct client_consumer *cc, uint64_t delivery, const struct proto_acknowledge *p)
{
    int err = unacked_claim(&cc->unacked, delivery);
    SL_ASSERT(err == SL_OK);
    if (t->n_answers == t->cap_answers) {
        t->cap_answers = t->cap_answers == 0 ? 8 : t->cap_answers * 2;
        t->answers = sl_realloc(t->answers, t->cap_answers * sizeof *t->answers);
    }
    t->answers[t->n_answers++] = (struct offer_answer){ cc->number, delivery, answer_verb(p), copy_of(p->reason) };
}

/* Each counts with its memory: one whose subscription is over stays until the transaction ends. */
void transaction_answer(struct hub_client *c, const struct proto_acknowledge *p, struct client_consumer *cc)
{
    struct transaction *t = *find_transaction(c, p->transaction);
    uint64_t from = 0, delivery;
    size_t bytes = sizeof(struct offer_answer) + p->reason.n;
    while ((delivery = answered_next(cc, p, &from)) != 0) {
        if (!takes(c, 0, bytes))
            return;
        claim(t, cc, delivery, p);
        count(c, t, 0, bytes);
    }
}

void transaction_is_stale(struct hub_client *c, struct sl_bytes name)
{
    (*find_transaction(c, name))->stale = true;
}

void on_abort(struct hub_client *c, struct sl_bytes name)
{
    struct transaction **at = find_transaction(c, name);
    struct transaction *t = *at;
    *at = t->next;
    uncount(c, t);
    transaction_free(c, t);
}

static bool answers_a_queue(const struct hub_client *c, const struct transaction *t)
{
    for (uint32_t i = 0; i < t->n_answers; i++) {
        const struct client_consumer *cc = client_consumer(c, t->answers[i].consumer);
        if (cc != NULL && cc->session == NULL)
            return true;
    }
    return false;
}

/* What it held is the offer's. */
static struct offer offer_of(const struct hub_client *c, struct transaction *t, uint32_t token)
{
    struct offer o = {
        .token = token,
        .transaction = true,
        .over_limit = answers_a_queue(c, t),
        .qos = 1,
        .n = t->n,
        .items = t->items,
        .n_answers = t->n_answers,
        .answers = t->answers,
    };
    if (t->n == 1) {
        o.one = t->items[0];
        o.items = NULL;
        sl_free(t->items);
    }
    return o;
}

void on_commit_transaction(struct hub_client *c, uint32_t token, struct sl_bytes name)
{
    struct transaction **at = find_transaction(c, name);
    struct transaction *t = *at;
    *at = t->next;
    uncount(c, t);
    struct offer o = offer_of(c, t, token);
    bool stale = t->stale;
    sl_free(t);
    if (stale || !answers_hold(c, o.answers, o.n_answers))
        offer_refuse(c->h, c, &o, PROTO_REFUSED_TRANSACTION);
    else if (!finds_slot(c->h, &o))
        refuse_retained(c, &o);
    else
        offer_take(c->h, c, &o);
}
