/* Connections: consumers, what they have not answered, transactions, receipts. */
#include "stomp_model.h"

/* ---- consumers ---- */

struct consumer *smodel_consumer(const struct sconn *k, uint32_t number)
{
    struct consumer *c = k->consumers;
    while (c != NULL && c->number != number)
        c = c->next;
    return c;
}

struct consumer *smodel_consumer_add(struct smodel *m, struct sconn *k)
{
    (void)m;
    struct consumer *c = SL_NEW(struct consumer);
    c->conn = k;
    c->on = true;
    c->queue = NONE;
    c->credit = 64;
    c->number = ++k->n_consumers;
    c->next = k->consumers;
    k->consumers = c;
    return c;
}

void smodel_consumer_end(struct smodel *m, struct consumer *c)
{
    consumer_release(m, c, GOODBYE);
    c->on = false;
    for (uint32_t i = 0; i < c->n_d; i++)
        c->d[i].state = OVER;
}

/* ---- answers ---- */

static void answer_one(struct smodel *m, struct consumer *c, struct delivery *d, const struct verdict *v, uint32_t txn)
{
    bool oldest = true;
    for (uint32_t i = 0; i < c->n_d && c->d[i].number < d->number; i++)
        oldest &= c->d[i].state == OVER;
    d->state = OVER;
    c->unanswered--;
    c->solo = false;
    if (d->entry == NONE)
        return;
    entry_answer(m, d->entry, v, txn);
    if (oldest)
        consumer_started(m, c);
}

static void claim(struct open_txn *t, struct consumer *c, struct delivery *d, const struct verdict *v)
{
    d->state = CLAIMED;
    d->claim = (uint32_t)(t - c->conn->txns);
    t->answers = sl_realloc(t->answers, (t->n_answers + 1) * sizeof *t->answers);
    t->answers[t->n_answers++] = (struct answer){ c->number, d->number, *v };
}

static struct need answered(const struct smodel *m, uint32_t entry)
{
    return (struct need){ .kind = NEED_ANSWERED, .entry = entry, .version = m->entries[entry].n_v - 1 };
}

/* False: none of them was open, the answer is stale. */
bool smodel_answer_all(struct smodel *m, struct consumer *c, uint64_t n, const struct verdict *v, struct open_txn *t, struct needs *needs)
{
    bool any = false;
    for (uint32_t i = 0; c->on && i < c->n_d; i++) {
        struct delivery *d = &c->d[i];
        bool named = d->number == n || (c->mode == UP_TO && d->number < n);
        if (!named || d->state != OPEN)
            continue;
        any = true;
        if (t != NULL) {
            claim(t, c, d, v);
            continue;
        }
        answer_one(m, c, d, v, 0);
        if (d->entry != NONE && m->queues[m->entries[d->entry].queue].durable)
            needs_add(needs, answered(m, d->entry));
    }
    return any;
}

/* ---- transactions ---- */

struct open_txn *smodel_txn(struct sconn *k, const struct text *name)
{
    for (uint32_t i = 0; i < OPEN_TXN; i++) {
        if (k->txns[i].on && text_eq(&k->txns[i].name, name))
            return &k->txns[i];
    }
    return NULL;
}

void smodel_txn_end(struct open_txn *t)
{
    sl_free(t->sends);
    sl_free(t->answers);
    *t = (struct open_txn){ 0 };
}

static struct delivery *delivery_of(const struct consumer *c, uint64_t number)
{
    for (uint32_t i = 0; i < c->n_d; i++) {
        if (c->d[i].number == number)
            return &c->d[i];
    }
    return NULL;
}

static bool holds(const struct sconn *k, const struct answer *a)
{
    const struct consumer *c = smodel_consumer(k, a->consumer);
    return c != NULL && c->on && delivery_of(c, a->delivery)->state == CLAIMED;
}

static uint32_t txn_new(struct smodel *m, uint32_t sends)
{
    m->txns = sl_realloc(m->txns, (m->n_txns + 1) * sizeof *m->txns);
    m->txns[m->n_txns++] = (struct txn){ .sends = sends };
    return m->n_txns;
}

bool smodel_is_stale(const struct sconn *k, const struct open_txn *t)
{
    for (uint32_t i = 0; i < t->n_answers; i++) {
        if (!holds(k, &t->answers[i]))
            return true;
    }
    return false;
}

bool smodel_commit(struct smodel *m, struct sconn *k, struct open_txn *t, struct owed *o)
{
    if (smodel_is_stale(k, t))
        return false;
    o->txn = txn_new(m, t->n_sends);
    struct needs *needs = &m->txns[o->txn - 1].needs;
    for (uint32_t i = 0; i < t->n_answers; i++) {
        struct answer *a = &t->answers[i];
        struct consumer *c = smodel_consumer(k, a->consumer);
        struct delivery *d = delivery_of(c, a->delivery);
        answer_one(m, c, d, &a->verdict, o->txn);
        if (d->entry != NONE && m->queues[m->entries[d->entry].queue].durable)
            needs_add(needs, answered(m, d->entry));
    }
    for (uint32_t i = 0; i < t->n_sends; i++)
        smodel_enter(m, t->sends[i], o->txn, needs);
    smodel_txn_end(t);
    return true;
}

void smodel_abort(struct sconn *k, struct open_txn *t)
{
    for (uint32_t i = 0; i < t->n_answers; i++) {
        struct consumer *c = smodel_consumer(k, t->answers[i].consumer);
        struct delivery *d = c == NULL ? NULL : delivery_of(c, t->answers[i].delivery);
        if (d != NULL && d->state == CLAIMED)
            d->state = OPEN;
    }
    smodel_txn_end(t);
}

/* ---- receipts ---- */

struct owed *smodel_owe(struct smodel *m, struct sconn *k, const struct owed *o)
{
    k->owed = sl_realloc(k->owed, (k->n_owed + 1) * sizeof *k->owed);
    k->owed[k->n_owed] = *o;
    k->owed[k->n_owed].serial = ++m->serial;
    return &k->owed[k->n_owed++];
}

static bool owed_met(const struct smodel *m, const struct owed *o)
{
    return !o->waits && smodel_met(m, &o->needs) && (o->txn == 0 || smodel_met(m, &m->txns[o->txn - 1].needs));
}

/* It must be that of the oldest frame that wants one, and all before it must be kept, too. */
static void receipt(struct smodel *m, struct sconn *k, const struct text *id)
{
    uint32_t n = 0;
    while (n < k->n_owed && !k->owed[n].has_receipt)
        n++;
    if (n == k->n_owed || !text_eq(id, &k->owed[n].receipt))
        smodel_fail(m, "c%u: RECEIPT %.*s, next is %.*s", k->number, id->n, (const char *)id->p, n < k->n_owed ? (int)k->owed[n].receipt.n : 4,
                    n < k->n_owed ? (const char *)k->owed[n].receipt.p : "none");
    for (uint32_t i = 0; i <= n; i++) {
        if (!owed_met(m, &k->owed[i]))
            smodel_fail(m, "c%u: RECEIPT %.*s, and what it promises, or what stands before it, is not stored", k->number, id->n, (const char *)id->p);
        sl_free(k->owed[i].needs.v);
    }
    k->n_owed -= n + 1;
    memmove(k->owed, k->owed + n + 1, k->n_owed * sizeof *k->owed);
    m->receipts++;
}

void smodel_got(struct smodel *m, uint32_t conn, const struct text *id)
{
    m->got = sl_realloc(m->got, (m->n_got + 1) * sizeof *m->got);
    m->got[m->n_got++] = (struct got){ conn, *id };
}

void smodel_receipts(struct smodel *m)
{
    for (uint32_t i = 0; i < m->n_got; i++)
        receipt(m, &m->conns[m->got[i].conn], &m->got[i].id);
    m->n_got = 0;
}

/* ---- the end ---- */

void smodel_conn_doom(struct smodel *m, struct sconn *k, enum doom doom, const char *error)
{
    if (k->doom != FINE)
        return;
    smodel_say(m, "  c%u is to end: %s", k->number, error == NULL ? "in order" : error);
    k->doom = (uint8_t)doom;
    k->error = error;
}

void smodel_conn_lost(struct smodel *m, struct sconn *k, enum doom doom)
{
    while (k->consumers != NULL) {
        struct consumer *c = k->consumers;
        k->consumers = c->next;
        if (c->on)
            consumer_release(m, c, doom);
        c->on = false;
        c->next = m->gone_consumers;
        m->gone_consumers = c;
    }
    smodel_park_forget(m, k);
    for (uint32_t i = 0; i < OPEN_TXN; i++)
        smodel_txn_end(&k->txns[i]);
    for (uint32_t i = 0; i < k->n_owed; i++)
        sl_free(k->owed[i].needs.v);
    sl_free(k->owed);
    *k = (struct sconn){ .number = k->number, .link = k->link };
}
