/* What the store has to hold, whenever it is looked at, and what an answer promises. */
#include "hub/batch.h"
#include "model_store.h"
#include "stomp_model.h"

/* ---- entries ---- */

static bool same(const struct version *v, const struct model_record *r)
{
    static const uint8_t states[] = { [READY] = QUEUE_READY, [LEASED] = QUEUE_READY, [DELAYED] = QUEUE_DELAYED, [DEAD] = QUEUE_DEAD };
    return v->state <= DEAD && states[v->state] == r->state && v->attempts == r->attempts && v->due_ms == r->due_ms;
}

static void check_history(struct smodel *m, const struct entry *e, const struct model_record *r)
{
    struct batch_failure f;
    size_t pos = 0;
    for (uint32_t i = 0; i <= e->stored; i++) {
        const struct version *v = &e->v[i];
        if (v->cause == QUEUE_CAUSE_NONE)
            continue;
        if (batch_failure_next(sl_buf_view(&r->history), &pos, &f) != SL_OK)
            smodel_fail(m, "m%u in q%u: attempt %u is not in its history", e->msg, e->queue, v->attempts);
        bool worded = v->cause == QUEUE_CAUSE_PROTOCOL ? f.detail.n > 0 : sl_bytes_eq(f.detail, text_view(&v->reason));
        if (f.attempt != v->attempts || f.cause != v->cause || f.wall_ms != v->at_ms || !worded)
            smodel_fail(m, "m%u in q%u: its history says attempt %u, %s at %llu \"%.*s\" and should say %u, %s at %llu \"%.*s\"", e->msg, e->queue, f.attempt,
                        queue_cause_name(f.cause), (unsigned long long)f.wall_ms, (int)f.detail.n, (const char *)f.detail.p, v->attempts,
                        queue_cause_name((enum queue_cause)v->cause), (unsigned long long)v->at_ms, v->reason.n, (const char *)v->reason.p);
    }
    if (batch_failure_next(sl_buf_view(&r->history), &pos, &f) == SL_OK)
        smodel_fail(m, "m%u in q%u: its history has more than its attempts", e->msg, e->queue);
}

static void entry_is(struct smodel *m, struct entry *e, const struct model_record *r)
{
    uint32_t k = e->stored;
    while (k < e->n_v && !same(&e->v[k], r))
        k++;
    if (k == e->n_v || (!e->there && e->stored > 0))
        smodel_fail(m, "m%u in q%u: stored as state %u attempts %u due %llu, which it is not", e->msg, e->queue, r->state, r->attempts,
                    (unsigned long long)r->due_ms);
    bool moved = k != e->stored || !e->there;
    e->stored = k;
    e->there = true;
    if (moved)
        check_history(m, e, r);
}

static void entry_is_absent(struct smodel *m, struct entry *e)
{
    if (!e->there)
        return;
    if (e->state == READY && smodel_expired(m, e->msg))
        entry_expired(m, e);
    if (e->v[e->n_v - 1].state != GONE)
        smodel_fail(m, "m%u in q%u: its record is gone, and it is not", e->msg, e->queue);
    e->stored = e->n_v - 1;
    e->there = false;
}

/* What must have been noticed. */
static uint32_t surely(const struct entry *e)
{
    uint32_t k = e->n_v - 1;
    while (k > 0 && e->v[k].lazy)
        k--;
    return k;
}

static void entry_flushed(struct smodel *m, const struct entry *e)
{
    uint32_t k = surely(e);
    bool gone = e->v[e->n_v - 1].state == GONE;
    if (e->there ? e->stored < k : !gone && e->state != ABSENT)
        smodel_fail(m, "m%u in q%u: all is stored, but of it version %u of %u%s", e->msg, e->queue, e->stored, k, e->there ? "" : ", not there");
}

static uint32_t entry_of(struct smodel *m, const struct model_record *r)
{
    for (uint32_t i = 0; i < m->n_entries; i++) {
        const struct entry *e = &m->entries[i];
        if (e->queue == r->second - 1 && m->msgs[e->msg].id == r->id)
            return i;
    }
    smodel_fail(m, "a record of %016llx in q%u, which was not sent there", (unsigned long long)r->id, (uint32_t)r->second - 1);
}

/* ---- bodies ---- */

static uint32_t named(struct smodel *m, const struct message *msg)
{
    struct sl_bytes body = message_payload(msg);
    struct message_header h;
    size_t pos = 0;
    uint32_t n = 0, i = 1;
    if (body.n > 1 && body.p[0] == 'm') {
        for (; i < body.n && body.p[i] >= '0' && body.p[i] <= '9'; i++)
            n = n * 10 + (body.p[i] - '0');
        return n;
    }
    while (message_header_next(message_record(msg), &pos, &h)) {
        uint64_t v;
        if (sl_bytes_is(h.name, "x-m") && sl_bytes_u64(h.value, UINT32_MAX, &v) == SL_OK)
            return (uint32_t)v;
    }
    smodel_fail(m, "a stored message that nobody sent");
}

static void learn(struct smodel *m, struct model_record *r)
{
    uint32_t msg = named(m, r->msg);
    if (msg >= m->n_msgs || m->msgs[msg].order == 0)
        smodel_fail(m, "m%u is stored, and was not sent", msg);
    struct said *s = &m->msgs[msg];
    if (s->id != 0 && s->id != r->id)
        smodel_fail(m, "m%u has id %016llx and is stored as %016llx", msg, (unsigned long long)s->id, (unsigned long long)r->id);
    s->id = r->id;
    r->tag = msg + 1;
    if (!sl_bytes_eq(message_payload(r->msg), sl_bytes_of(s->body, s->n_body)))
        smodel_fail(m, "m%u is stored with another body", msg);
}

/* ---- transactions: all or nothing ---- */

enum evidence { NO_EVIDENCE, IS_OUT, IS_IN };

static enum evidence evidence_of(const struct smodel *m, const struct need *n)
{
    if (n->kind != NEED_KEPT && n->kind != NEED_ANSWERED)
        return NO_EVIDENCE;
    const struct entry *e = &m->entries[n->entry];
    if (e->there)
        return e->stored >= n->version ? IS_IN : IS_OUT;
    if (e->stored >= n->version)
        return IS_IN;
    return n->kind == NEED_KEPT && e->v[e->n_v - 1].state != GONE ? IS_OUT : NO_EVIDENCE;
}

static void check_txn(struct smodel *m, uint32_t at)
{
    struct txn *t = &m->txns[at];
    const struct need *in = NULL, *out = NULL;
    for (uint32_t i = 0; i < t->needs.n; i++) {
        enum evidence x = evidence_of(m, &t->needs.v[i]);
        in = x == IS_IN ? &t->needs.v[i] : in;
        out = x == IS_OUT ? &t->needs.v[i] : out;
    }
    if (in != NULL && out != NULL)
        smodel_fail(m, "transaction %u is half stored: m%u is, m%u is not", at + 1, m->entries[in->entry].msg, m->entries[out->entry].msg);
    t->settled = in != NULL;
}

/* ---- the whole ---- */

static void check_retained(struct smodel *m, const struct model_store *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        const struct model_record *r = &s->v[i];
        bool is = r->kind != BATCH_RETAIN;
        for (uint32_t t = 0; t < TOPICS; t++)
            is |= m->retained[t].msg == r->tag - 1;
        if (!is && !smodel_expired(m, r->tag - 1))
            smodel_fail(m, "m%u is stored as retained, and is not", r->tag - 1);
    }
}

static void check_all(struct smodel *m, const struct model_store *s)
{
    for (uint32_t i = m->first_entry; i < m->n_entries; i++) {
        struct entry *e = &m->entries[i];
        if (m->queues[e->queue].durable)
            entry_flushed(m, e);
    }
    check_retained(m, s);
}

void smodel_stored(struct smodel *m, const struct model_store *s, bool flushed)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if ((s->v[i].kind == BATCH_BODY || s->v[i].kind == BATCH_RETAIN) && s->v[i].tag == 0)
            learn(m, &s->v[i]);
    }
    m->stamp++;
    for (uint32_t i = 0; i < s->n; i++) {
        struct model_record *r = &s->v[i];
        if (r->kind != BATCH_ENTRY)
            continue;
        if (r->tag == 0)
            r->tag = entry_of(m, r) + 1;
        m->entries[r->tag - 1].seen = m->stamp;
        m->first_entry = r->tag - 1 < m->first_entry ? r->tag - 1 : m->first_entry;
        entry_is(m, &m->entries[r->tag - 1], r);
    }
    for (uint32_t i = 0; i < m->n_entries; i++) {
        if (m->entries[i].seen != m->stamp)
            entry_is_absent(m, &m->entries[i]);
    }
    for (uint32_t i = 0; i < m->n_txns; i++) {
        if (!m->txns[i].settled)
            check_txn(m, i);
    }
    if (flushed)
        check_all(m, s);
}

/* ---- what an answer promises ---- */

static bool written(const struct model_store *s, enum batch_kind kind, uint64_t id)
{
    for (uint32_t i = 0; id != 0 && i < s->n; i++) {
        if (s->v[i].kind == kind && s->v[i].id == id)
            return true;
    }
    return false;
}

/* It is on its way to the store, and so will be there. */
static bool under_way(const struct smodel *m, const struct entry *e)
{
    for (uint32_t i = 0; m->pending != NULL && i < m->pending->n; i++) {
        const struct batch_op *op = &m->pending->ops[i];
        if (op->kind == BATCH_ENTRY && op->queue == e->queue + 1u && op->id == m->msgs[e->msg].id)
            return true;
    }
    return false;
}

static bool kept(const struct smodel *m, const struct entry *e, uint32_t version)
{
    const struct version *last = &e->v[e->n_v - 1];
    if (e->there && e->stored >= version)
        return true;
    if (last->state != GONE)
        return e->state == READY && smodel_expired(m, e->msg); /* it may have been noticed */
    /* Finished with is as good as stored, but where that is part of a transaction it promises that. */
    return last->txn == 0 || m->txns[last->txn - 1].sends == 0 || smodel_met(m, &m->txns[last->txn - 1].needs);
}

static bool answered(const struct smodel *m, const struct entry *e, uint32_t version)
{
    if (e->there || e->stored >= version)
        return e->stored >= version;
    return e->v[e->n_v - 1].state == GONE && !under_way(m, e);
}

static bool met(const struct smodel *m, const struct need *n)
{
    switch ((enum need_kind)n->kind) {
    case NEED_KEPT:
        return kept(m, &m->entries[n->entry], n->version);
    case NEED_ANSWERED:
        return answered(m, &m->entries[n->entry], n->version);
    case NEED_RETAINED: {
        bool holds = false;
        for (uint32_t t = 0; t < TOPICS; t++)
            holds |= m->retained[t].msg == n->msg;
        return !holds || smodel_expired(m, n->msg) || written(m->store, BATCH_RETAIN, m->msgs[n->msg].id);
    }
    case NEED_UNRETAINED:
        return !written(m->store, BATCH_RETAIN, m->msgs[n->msg].id);
    }
    return false;
}

bool smodel_met(const struct smodel *m, const struct needs *needs)
{
    for (uint32_t i = 0; i < needs->n; i++) {
        if (!met(m, &needs->v[i]))
            return false;
    }
    return true;
}

/* ---- a crash ---- */

static void entry_crashed(struct smodel *m, struct entry *e)
{
    e->holder = NULL;
    if (!e->there) {
        e->state = e->v[e->n_v - 1].state == GONE ? GONE : ABSENT;
        return;
    }
    const struct version *v = &e->v[e->stored];
    e->n_v = e->stored + 1;
    e->state = v->state;
    e->attempts = v->attempts;
    e->again = v->attempts > 0;
    e->redelivered = true;
    uint64_t latest = m->now_ms + m->queues[e->queue].retry_max_ms;
    e->due_ms = v->state == DELAYED && v->attempts > 0 && v->due_ms > latest ? latest : v->due_ms;
    e->place = ++m->place;
}

/* Of two for one topic the later one holds. */
static void retained_crashed(struct smodel *m)
{
    for (uint32_t t = 0; t < TOPICS; t++)
        m->retained[t].msg = NONE;
    for (uint32_t i = 0; i < m->store->n; i++) {
        const struct model_record *r = &m->store->v[i];
        for (uint32_t t = 0; r->kind == BATCH_RETAIN && t < TOPICS; t++) {
            uint32_t old = m->retained[t].msg;
            if (sl_bytes_is(text_view(&m->msgs[r->tag - 1].topic), smodel_topics[t]) && (old == NONE || m->msgs[old].id < r->id))
                m->retained[t].msg = r->tag - 1;
        }
    }
}

void smodel_crash(struct smodel *m)
{
    for (uint32_t i = 0; i < CONNS; i++)
        smodel_conn_lost(m, &m->conns[i], GOODBYE);
    smodel_park_crashed(m);
    for (uint32_t i = 0; i < m->n_entries; i++)
        entry_crashed(m, &m->entries[i]);
    for (uint32_t i = 0; i < m->n_txns; i++)
        m->txns[i].settled = true;
    retained_crashed(m);
    m->n_mqtt_wait = 0;
    m->mqtt_on = false;
    m->crashes++;
}
