/* Queues: whose turn it is, what a delivery comes to, what time brings. */
#include "stomp_model.h"

/* ---- what the store may know ---- */

static struct version *version_add(struct smodel *m, struct entry *e, enum place state)
{
    SL_ASSERT(e->n_v < VERSIONS);
    struct version *v = &e->v[e->n_v++];
    *v = (struct version){ .state = (uint8_t)state, .attempts = e->attempts, .at_ms = m->now_ms };
    return v;
}

static void become(struct smodel *m, struct entry *e, enum place state)
{
    (void)m;
    e->state = (uint8_t)state;
    e->holder = NULL;
}

static void leave(struct smodel *m, struct entry *e, uint32_t txn, bool lazy)
{
    become(m, e, GONE);
    struct version *v = version_add(m, e, GONE);
    v->txn = txn;
    v->lazy = lazy;
}

uint32_t entry_add(struct smodel *m, uint32_t msg, uint32_t queue, uint32_t txn)
{
    if (m->n_entries == m->cap_entries) {
        m->cap_entries = m->cap_entries == 0 ? 64 : m->cap_entries * 2;
        m->entries = sl_realloc(m->entries, m->cap_entries * sizeof *m->entries);
    }
    struct entry *e = &m->entries[m->n_entries];
    *e = (struct entry){ .msg = msg, .queue = (uint8_t)queue };
    (void)version_add(m, e, ABSENT);
    uint64_t at = m->msgs[msg].deliver_at;
    become(m, e, at > m->now_ms ? DELAYED : READY);
    e->due_ms = at;
    e->place = ++m->place;
    struct version *v = version_add(m, e, at != 0 ? DELAYED : READY);
    v->due_ms = at;
    v->txn = txn;
    return m->n_entries++;
}

/* It was noticed to have expired when nothing else showed that. */
void entry_expired(struct smodel *m, struct entry *e)
{
    leave(m, e, 0, true);
}

/* ---- failing and coming back ---- */

static uint64_t backoff(const struct queue_config *q, uint32_t attempts)
{
    uint64_t ms = q->retry_initial_ms;
    for (uint32_t i = 1; i < attempts && ms < q->retry_max_ms; i++)
        ms *= (uint64_t)q->retry_factor;
    return ms < q->retry_max_ms ? ms : q->retry_max_ms;
}

static bool is_last(const struct smodel *m, const struct entry *e)
{
    return e->attempts + 1 >= m->queues[e->queue].max_attempts;
}

static bool stands_alone(const struct smodel *m, const struct entry *e)
{
    return e->attempts > 0 && is_last(m, e);
}

static void fail_attempt(struct smodel *m, struct entry *e, enum queue_cause cause, const struct verdict *v, uint32_t txn)
{
    bool dead = v->verb == QUEUE_KILL || is_last(m, e);
    e->attempts++;
    e->redelivered = true;
    e->again = true;
    become(m, e, dead ? DEAD : DELAYED);
    uint64_t wait = v->has_delay ? v->delay_ms : backoff(&m->queues[e->queue], e->attempts);
    e->due_ms = dead ? m->now_ms : m->now_ms + wait;
    struct version *n = version_add(m, e, dead ? DEAD : DELAYED);
    n->due_ms = e->due_ms;
    n->cause = (uint8_t)cause;
    n->txn = txn;
    n->reason = v->reason;
    smodel_say(m, "  m%u in q%u: %s, %u attempts, due %llu", e->msg, e->queue, dead ? "dead" : "delayed", e->attempts, (unsigned long long)e->due_ms);
}

static void come_back(struct smodel *m, struct entry *e)
{
    become(m, e, READY);
    e->again = true;
    e->redelivered = true;
    smodel_say(m, "  m%u is back in q%u", e->msg, e->queue);
}

void entry_answer(struct smodel *m, uint32_t entry, const struct verdict *v, uint32_t txn)
{
    struct entry *e = &m->entries[entry];
    SL_ASSERT(e->state == LEASED);
    if (v->verb == QUEUE_ACK)
        leave(m, e, txn, false);
    else
        fail_attempt(m, e, v->verb == QUEUE_KILL ? QUEUE_CAUSE_REJECTED : QUEUE_CAUSE_RETRY, v, txn);
}

/* The oldest unanswered is started, and has the clock. */
void consumer_started(struct smodel *m, struct consumer *c)
{
    if (c->queue != NONE)
        c->limit_ms = m->now_ms + m->queues[c->queue].ack_timeout_ms;
}

static enum queue_cause cause_of(enum doom doom)
{
    return doom == FAULT ? QUEUE_CAUSE_PROTOCOL : doom == TIMED_OUT ? QUEUE_CAUSE_TIMEOUT : QUEUE_CAUSE_LOST;
}

/* What it holds goes back; whether the oldest is charged depends on how it ended. */
void consumer_release(struct smodel *m, struct consumer *c, enum doom doom)
{
    struct verdict usual = { .verb = QUEUE_RETRY };
    usual.reason = text_of(doom == TIMED_OUT ? "acknowledgement timeout" : doom == LOST ? "connection lost" : doom == SLOW ? "slow consumer" : "");
    bool oldest = true;
    for (uint32_t i = 0; i < c->n_d; i++) {
        struct delivery *d = &c->d[i];
        if (d->state == OVER)
            continue;
        d->state = OVER;
        c->unanswered--;
        bool charged = oldest && doom != GOODBYE && (doom != TIMED_OUT || c->limit_ms <= m->now_ms);
        oldest = false;
        if (d->entry == NONE)
            continue;
        if (charged)
            fail_attempt(m, &m->entries[d->entry], cause_of(doom), &usual, 0);
        else
            come_back(m, &m->entries[d->entry]);
    }
    c->solo = false;
}

/* ---- time ---- */

static struct entry *next_due(struct smodel *m)
{
    struct entry *best = NULL;
    for (uint32_t i = m->first_entry; i < m->n_entries; i++) {
        struct entry *e = &m->entries[i];
        if (e->state == DELAYED && e->due_ms <= m->now_ms && (best == NULL || e->due_ms < best->due_ms))
            best = e;
    }
    return best;
}

void smodel_tick(struct smodel *m)
{
    struct entry *e;
    while ((e = next_due(m)) != NULL) {
        become(m, e, READY);
        e->place = ++m->place;
    }
    while (m->first_entry < m->n_entries && m->entries[m->first_entry].state >= GONE && !m->entries[m->first_entry].there)
        m->first_entry++;
}

void smodel_overdue(struct smodel *m)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &m->conns[i];
        for (struct consumer *c = k->consumers; k->up && c != NULL; c = c->next) {
            if (c->on && c->queue != NONE && c->unanswered > 0 && c->limit_ms <= m->now_ms)
                smodel_conn_doom(m, k, TIMED_OUT, "acknowledgement timeout");
        }
    }
}

/* ---- whose turn it is ---- */

struct heads {
    struct entry *first; /* of those with more than one attempt left, or a first one */
    struct entry *alone; /* of those with their last attempt */
    bool alone_first;
};

static uint64_t age(const struct smodel *m, const struct entry *e)
{
    return m->msgs[e->msg].order;
}

static uint8_t priority(const struct smodel *m, const struct entry *e)
{
    return m->msgs[e->msg].priority;
}

/* Of two lines, those that never went out by place and those that came back by age,
 * the one whose head is older. */
struct lines {
    struct entry *fresh, *back;
};

static struct entry *head_of(const struct smodel *m, const struct lines *l)
{
    if (l->fresh == NULL || l->back == NULL)
        return l->fresh == NULL ? l->back : l->fresh;
    return age(m, l->back) < age(m, l->fresh) ? l->back : l->fresh;
}

static bool ranks(const struct smodel *m, const struct entry *e, const struct entry *best)
{
    return best == NULL || priority(m, e) > priority(m, best);
}

static struct heads heads_of(const struct smodel *m, uint32_t queue)
{
    struct lines l = { 0 };
    struct heads h = { 0 };
    for (uint32_t i = m->first_entry; i < m->n_entries; i++) {
        struct entry *e = &m->entries[i];
        if (e->queue != queue || e->state != READY)
            continue;
        struct entry **line = stands_alone(m, e) ? &h.alone : e->again ? &l.back : &l.fresh;
        bool older = *line != NULL && priority(m, e) == priority(m, *line) && (line == &l.fresh ? e->place < (*line)->place : age(m, e) < age(m, *line));
        if (ranks(m, e, *line) || older)
            *line = e;
    }
    bool other = l.fresh != NULL && l.back != NULL && priority(m, l.fresh) != priority(m, l.back);
    h.first = other ? (priority(m, l.fresh) > priority(m, l.back) ? l.fresh : l.back) : head_of(m, &l);
    h.alone_first = h.alone != NULL && (ranks(m, h.alone, h.first) || (priority(m, h.alone) == priority(m, h.first) && age(m, h.alone) < age(m, h.first)));
    return h;
}

/* ---- deliveries ---- */

static bool has_room(const struct consumer *c)
{
    return !c->solo && (c->mode == AUTO || c->unanswered < c->credit);
}

/* Of what a consumer got in this turn and is not placed yet it is the first. */
static bool is_next(const struct smodel *m, const struct seen *s)
{
    const struct seen *o = m->seen;
    while (o < s && (o->matched || o->c != s->c))
        o++;
    return o == s;
}

/* A connection that ends may have had it first. */
static struct seen *seen_of(struct smodel *m, const struct entry *e)
{
    struct seen *found = NULL;
    for (uint32_t i = 0; i < m->n_seen; i++) {
        struct seen *s = &m->seen[i];
        if (s->matched || s->msg != e->msg || s->c->queue != e->queue || !is_next(m, s))
            continue;
        if (found == NULL || s->c->conn->doom != FINE)
            found = s;
    }
    return found;
}

static void deliver(struct smodel *m, struct entry *e, struct seen *s)
{
    struct consumer *c = s->c;
    s->matched = true;
    if (!has_room(c) || (stands_alone(m, e) && c->unanswered > 0))
        smodel_fail(m, "c%u/%u gets m%u, and has %u of %u unanswered%s", c->conn->number, c->number, e->msg, c->unanswered, c->credit,
                    c->solo ? ", one of them alone" : "");
    uint64_t number = c->mode == AUTO ? 0 : ++c->last;
    struct shown shown = { .c = c, .msg = e->msg, .attempt = e->attempts + 1, .delivery = number, .redelivered = e->redelivered };
    message_check(m, &shown, s->head, s->body);
    m->deliveries++;
    if (c->mode == AUTO) {
        leave(m, e, 0, false);
        return;
    }
    c->solo = stands_alone(m, e);
    become(m, e, LEASED);
    e->holder = c;
    if (c->n_d == c->cap_d) {
        c->cap_d = c->cap_d == 0 ? 8 : c->cap_d * 2;
        c->d = sl_realloc(c->d, c->cap_d * sizeof *c->d);
    }
    c->d[c->n_d++] = (struct delivery){ .number = number, .msg = e->msg, .entry = (uint32_t)(e - m->entries) };
    if (c->unanswered++ == 0)
        consumer_started(m, c);
}

/* What has expired is in its line until somebody could have it. Of who does not read
 * that is not known: then it may still hold up the turn of others. */
static bool is_looked_at(struct smodel *m, uint32_t queue)
{
    for (uint32_t i = 0; i < m->n_seen; i++) {
        if (!m->seen[i].matched && m->seen[i].c->queue == queue)
            return true;
    }
    for (uint32_t i = 0; i < CONNS; i++) {
        const struct sconn *k = &m->conns[i];
        for (const struct consumer *c = k->consumers; k->up && k->doom == FINE && c != NULL; c = c->next) {
            if (c->on && c->queue == queue && has_room(c)) {
                m->ghosts[queue] |= k->stalled;
                return true;
            }
        }
    }
    return false;
}

static bool drop_expired(struct smodel *m, struct entry *e)
{
    if (e == NULL || !smodel_expired(m, e->msg) || !is_looked_at(m, e->queue))
        return false;
    smodel_say(m, "  m%u in q%u has expired", e->msg, e->queue);
    leave(m, e, 0, true);
    return true;
}

/* One step: true, something happened. */
static bool match_next(struct smodel *m, uint32_t queue)
{
    struct heads h = heads_of(m, queue);
    struct seen *alone = h.alone_first ? seen_of(m, h.alone) : NULL;
    if (h.alone_first && drop_expired(m, h.alone))
        return true;
    if (alone != NULL) {
        deliver(m, h.alone, alone);
        return true;
    }
    if (drop_expired(m, h.first))
        return true;
    struct seen *s = h.first == NULL ? NULL : seen_of(m, h.first);
    struct seen *late = s == NULL && m->ghosts[queue] && h.alone != NULL ? seen_of(m, h.alone) : NULL;
    if (late != NULL) {
        deliver(m, h.alone, late);
        return true;
    }
    if (s != NULL)
        deliver(m, h.first, s);
    return s != NULL;
}

static void match_all(struct smodel *m)
{
    smodel_tick(m);
    for (uint32_t q = 0; q < QUEUES; q++) {
        while (match_next(m, q))
            ;
    }
}

static bool has_unmatched(const struct smodel *m, const struct sconn *k)
{
    for (uint32_t i = 0; i < m->n_seen; i++) {
        if (!m->seen[i].matched && (k == NULL || m->seen[i].c->conn == k))
            return true;
    }
    return false;
}

/* It has ended, for the queues, and what it held is back. */
void smodel_release(struct smodel *m, struct sconn *k)
{
    k->released = true;
    for (struct consumer *c = k->consumers; c != NULL; c = c->next) {
        if (c->on)
            consumer_release(m, c, (enum doom)k->doom);
        c->on = false;
    }
}

/* A connection that is to end, and of which all that it got is placed. */
static bool release_one(struct smodel *m)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &m->conns[i];
        if (!k->up || k->doom == FINE || k->released || has_unmatched(m, k))
            continue;
        smodel_release(m, k);
        return true;
    }
    return false;
}

static void tell_queue(struct smodel *m, uint32_t queue)
{
    static const char *const states[] = { "ready", "leased", "delayed", "dead" };
    for (uint32_t i = 0; i < m->n_entries; i++) {
        const struct entry *e = &m->entries[i];
        if (e->queue == queue && e->state <= DEAD)
            smodel_say(m, "  in q%u: m%u %s, priority %u, %u attempts, due %llu%s", queue, e->msg, states[e->state], priority(m, e), e->attempts,
                       (unsigned long long)e->due_ms, e->again ? ", came back" : "");
    }
}

static void seen_clear(struct smodel *m)
{
    for (uint32_t i = 0; i < m->n_seen; i++) {
        struct seen *s = &m->seen[i];
        if (!s->matched)
            tell_queue(m, s->c->queue);
        if (!s->matched)
            smodel_fail(m, "c%u/%u gets m%u of q%u, whose turn it is not", s->c->conn->number, s->c->number, s->msg, s->c->queue);
        sl_free((void *)(uintptr_t)s->head.p);
        sl_free((void *)(uintptr_t)s->body.p);
    }
    m->n_seen = 0;
}

/* When in the turn a connection ended is not seen: as late as what others got allows. */
void smodel_match(struct smodel *m)
{
    match_all(m);
    while (has_unmatched(m, NULL) && release_one(m))
        match_all(m);
    while (release_one(m))
        match_all(m);
    seen_clear(m);
}

/* ---- rest ---- */

static void queue_rests(struct smodel *m, uint32_t queue)
{
    struct heads h = heads_of(m, queue);
    uint32_t free_ones = 0, idle = 0;
    for (uint32_t i = 0; i < CONNS; i++) {
        const struct sconn *k = &m->conns[i];
        for (const struct consumer *c = k->consumers; k->up && k->doom == FINE && !k->stalled && c != NULL; c = c->next) {
            bool its = c->on && c->queue == queue && has_room(c);
            free_ones += its;
            idle += its && c->unanswered == 0;
        }
    }
    if (h.alone_first && idle > 0 && !smodel_expired(m, h.alone->msg))
        smodel_fail(m, "q%u: m%u waits for its last attempt, and a consumer is idle", queue, h.alone->msg);
    if (h.first != NULL && !smodel_expired(m, h.first->msg) && free_ones > (h.alone_first ? 1u : 0u))
        smodel_fail(m, "q%u: m%u waits, and %u consumers have credit", queue, h.first->msg, free_ones);
}

static void topic_rests(struct smodel *m, const struct consumer *c)
{
    if (c->mode != AUTO && c->unanswered >= c->credit)
        return;
    for (uint32_t i = c->first_w; i < c->n_w; i++) {
        const struct waiting *w = &c->w[i];
        if (!w->over && !w->excused && !smodel_expired(m, w->msg))
            smodel_fail(m, "c%u/%u: m%u%s does not come", c->conn->number, c->number, w->msg, w->fed ? " (retained)" : "");
    }
}

void smodel_rest(struct smodel *m)
{
    for (uint32_t q = 0; q < QUEUES; q++)
        queue_rests(m, q);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &m->conns[i];
        k->may_be_slow = false;
        for (const struct consumer *c = k->consumers; k->up && k->doom == FINE && !k->stalled && c != NULL; c = c->next) {
            if (c->on && c->queue == NONE)
                topic_rests(m, c);
        }
    }
    for (uint32_t i = 0; m->mqtt_on && i < m->n_mqtt_wait; i++) {
        if (!smodel_expired(m, m->mqtt_wait[i]))
            smodel_fail(m, "the MQTT subscriber does not get m%u", m->mqtt_wait[i]);
    }
}
