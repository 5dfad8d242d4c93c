/* What a client offers enters at once, or waits for room: in a full queue, or in the
 * store. While something waits only its connection sends, so that the order is known. */
#include "stomp_model.h"

static uint64_t depth(const struct smodel *m, uint32_t queue)
{
    uint64_t n = 0;
    for (uint32_t i = m->first_entry; i < m->n_entries; i++)
        n += m->entries[i].queue == queue && m->entries[i].state < DEAD;
    return n;
}

static bool goes_to(const struct said *s, uint32_t queue)
{
    return s->to_queue ? s->queue == queue : smodel_takes(smodel_routes[queue], strlen(smodel_routes[queue]), text_view(&s->topic));
}

bool smodel_admits(const struct smodel *m, const uint32_t *msgs, uint32_t n)
{
    if (m->no_space && n > 0)
        return false;
    for (uint32_t q = 0; q < QUEUES; q++) {
        uint64_t more = 0;
        for (uint32_t i = 0; i < n; i++)
            more += goes_to(&m->msgs[msgs[i]], q);
        if (more > 0 && depth(m, q) + more > m->queues[q].max_messages)
            return false;
    }
    return true;
}

static bool may_enter(const struct smodel *m, const struct parked *p)
{
    if (p->over_limit)
        return !m->no_space;
    return p->msg != NONE ? smodel_admits(m, &p->msg, 1) : smodel_admits(m, p->txn.sends, p->txn.n_sends);
}

static struct owed *owed_of(struct sconn *k, uint64_t serial)
{
    for (uint32_t i = 0; i < k->n_owed; i++) {
        if (k->owed[i].serial == serial)
            return &k->owed[i];
    }
    return NULL;
}

static void enter(struct smodel *m, struct parked *p)
{
    struct sconn *k = p->conn == NONE ? NULL : &m->conns[p->conn];
    struct needs needs = { 0 };
    struct owed *o;
    if (p->msg != NONE) {
        smodel_enter(m, p->msg, 0, &needs);
        o = k == NULL ? NULL : owed_of(k, p->serial);
        if (o == NULL) {
            sl_free(needs.v);
            return;
        }
        o->needs = needs;
        o->waits = false;
        return;
    }
    o = owed_of(k, p->serial);
    if (smodel_commit(m, k, &p->txn, o)) {
        o->waits = false;
        return;
    }
    /* One of its deliveries is over meanwhile: that is an ERROR, and nothing of it is done. */
    k->error_receipt = o->has_receipt;
    k->error_id = o->receipt;
    smodel_conn_doom(m, k, FAULT, "transaction failed");
    smodel_txn_end(&p->txn);
}

static void offer(struct smodel *m, struct parked *p)
{
    bool settles = p->msg == NONE && p->txn.n_sends == 0;
    if (settles || (m->n_parked == 0 && may_enter(m, p))) {
        enter(m, p);
        return;
    }
    smodel_say(m, "  which waits for room");
    owed_of(&m->conns[p->conn], p->serial)->waits = true;
    m->parked = sl_realloc(m->parked, (m->n_parked + 1) * sizeof *m->parked);
    m->parked[m->n_parked++] = *p;
}

/* What nobody takes waits for nothing. */
void smodel_offer_message(struct smodel *m, struct sconn *k, uint32_t msg, uint64_t serial)
{
    struct parked p = { .conn = k->number, .msg = msg, .serial = serial };
    if (smodel_is_taken(m, msg))
        offer(m, &p);
    else
        enter(m, &p);
}

/* It may be over the limit of what it answers: that must not wait for itself. */
void smodel_offer_txn(struct smodel *m, struct sconn *k, struct open_txn *t, uint64_t serial)
{
    struct parked p = { .conn = k->number, .msg = NONE, .serial = serial, .txn = *t };
    for (uint32_t i = 0; i < t->n_answers; i++) {
        const struct consumer *c = smodel_consumer(k, t->answers[i].consumer);
        p.over_limit |= c != NULL && c->on && c->queue != NONE;
    }
    *t = (struct open_txn){ 0 };
    offer(m, &p);
}

/* Where one is over the limit, what its connection sent before enters with it. */
static bool pushes(const struct smodel *m)
{
    bool any = false;
    for (uint32_t i = 0; i < m->n_parked; i++)
        any |= m->parked[i].over_limit;
    return any && !m->no_space;
}

void smodel_unpark(struct smodel *m)
{
    while (m->n_parked > 0 && (pushes(m) || may_enter(m, &m->parked[0]))) {
        struct parked p = m->parked[0];
        memmove(m->parked, m->parked + 1, --m->n_parked * sizeof *m->parked);
        if (p.msg != NONE)
            smodel_say(m, "  m%u enters", p.msg);
        else
            smodel_say(m, "  a transaction of c%u enters", p.conn);
        enter(m, &p);
    }
}

/* Its transactions are forgotten, its messages are kept. */
void smodel_park_forget(struct smodel *m, const struct sconn *k)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_parked; i++) {
        struct parked *p = &m->parked[i];
        if (p->conn == k->number && p->msg == NONE) {
            smodel_txn_end(&p->txn);
            continue;
        }
        if (p->conn == k->number)
            p->conn = NONE;
        m->parked[n++] = *p;
    }
    m->n_parked = n;
}

void smodel_park_crashed(struct smodel *m)
{
    for (uint32_t i = 0; i < m->n_parked; i++)
        smodel_txn_end(&m->parked[i].txn);
    m->n_parked = 0;
}

/* What no queue could ever take as one is refused; that is not what is tried here. */
bool smodel_fits_ever(const struct smodel *m, const struct open_txn *t)
{
    for (uint32_t q = 0; q < QUEUES; q++) {
        uint64_t n = 0;
        for (uint32_t i = 0; i < t->n_sends; i++)
            n += goes_to(&m->msgs[t->sends[i]], q);
        if (n > m->queues[q].max_messages)
            return false;
    }
    return true;
}

/* May this connection send? NONE: MQTT. */
bool smodel_may_send(const struct smodel *m, uint32_t conn)
{
    return m->n_parked == 0 || (m->n_parked < 40 && m->parked[0].conn == conn && conn != NONE && m->parked[m->n_parked - 1].conn == conn);
}

bool smodel_waits(const struct smodel *m, const struct sconn *k)
{
    for (uint32_t i = 0; i < m->n_parked; i++) {
        if (m->parked[i].conn == k->number)
            return true;
    }
    return false;
}
