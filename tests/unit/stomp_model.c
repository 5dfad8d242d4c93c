/* Messages, and who listens to topics. */
#include "stomp_model.h"

#include <stdio.h>
#include <stdlib.h>

const char *const smodel_topics[TOPICS] = { "jobs/a", "jobs/b/c", "news", "t/x.y", "a.b", "t/c:d", "deep/er/est" };
/* What each queue gets beside what is sent to it by name. */
const char *const smodel_routes[QUEUES] = { "jobs/#", "jobs/b/+", "news", "deep/#" };

/* ---- the trace ---- */

void smodel_say(struct smodel *m, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (m->verbose)
        fprintf(stderr, "%4u %s\n", m->step, line);
    if (m->trace_n > (1u << 20)) {
        memmove(m->trace, m->trace + (1u << 19), m->trace_n - (1u << 19));
        m->trace_n -= 1u << 19;
    }
    size_t most = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    m->trace = sl_realloc(m->trace, m->trace_n + most + 16);
    m->trace_n += (size_t)snprintf(m->trace + m->trace_n, most + 16, "%4u %s\n", m->step, line);
}

static const char *last_lines(const struct smodel *m, uint32_t lines)
{
    size_t at = m->trace_n;
    for (; at > 0 && lines > 0; at--)
        lines -= m->trace[at - 1] == '\n';
    return m->trace == NULL ? "" : m->trace + at + (at > 0);
}

void smodel_fail(struct smodel *m, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "seed %llu step %u: ", (unsigned long long)m->seed, m->step);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    if (!m->verbose)
        fprintf(stderr, "\n%s", last_lines(m, 60));
    fprintf(stderr, "\nagain with: test_stomp_model %llu 1 %u (MODEL_VERBOSE=1 tells each step, MODEL_SHRINK=1 leaves steps out)\n", (unsigned long long)m->seed,
            m->step);
    abort();
}

/* ---- text ---- */

struct text text_of(const char *s)
{
    struct text t = { .n = (uint16_t)strlen(s) };
    SL_ASSERT(t.n <= sizeof t.p);
    memcpy(t.p, s, t.n);
    return t;
}

bool text_eq(const struct text *a, const struct text *b)
{
    return sl_bytes_eq(text_view(a), text_view(b));
}

/* Level by level. */
bool smodel_takes(const char *filter, size_t n_filter, struct sl_bytes topic)
{
    size_t f = 0, t = 0;
    bool wild = n_filter > 0 && (filter[0] == '#' || filter[0] == '+');
    if (wild && topic.n > 0 && topic.p[0] == '$')
        return false;
    for (;;) {
        if (f < n_filter && filter[f] == '#')
            return true;
        if (f < n_filter && filter[f] == '+') {
            f++;
            while (t < topic.n && topic.p[t] != '/')
                t++;
        }
        while (f < n_filter && t < topic.n && filter[f] != '/' && filter[f] == (char)topic.p[t]) {
            f++;
            t++;
        }
        bool f_ends = f == n_filter || filter[f] == '/', t_ends = t == topic.n || topic.p[t] == '/';
        if (!f_ends || !t_ends)
            return false;
        if (t == topic.n) /* "a/#" takes "a", too */
            return f == n_filter || (n_filter - f == 2 && filter[f + 1] == '#');
        if (f == n_filter)
            return false;
        f++;
        t++;
    }
}

/* ---- life ---- */

void smodel_init(struct smodel *m, uint64_t seed)
{
    *m = (struct smodel){ .seed = seed };
    for (uint32_t t = 0; t < TOPICS; t++)
        m->retained[t].msg = NONE;
    for (uint32_t i = 0; i < CONNS; i++)
        m->conns[i].number = i;
}

static void consumers_free(struct consumer *c)
{
    while (c != NULL) {
        struct consumer *next = c->next;
        sl_free(c->d);
        sl_free(c->w);
        sl_free(c);
        c = next;
    }
}

void smodel_fini(struct smodel *m)
{
    for (uint32_t i = 0; i < CONNS; i++)
        smodel_conn_lost(m, &m->conns[i], GOODBYE);
    consumers_free(m->gone_consumers);
    for (uint32_t i = 0; i < m->n_txns; i++)
        sl_free(m->txns[i].needs.v);
    for (uint32_t i = 0; i < m->n_seen; i++) {
        sl_free((void *)(uintptr_t)m->seen[i].head.p);
        sl_free((void *)(uintptr_t)m->seen[i].body.p);
    }
    sl_free(m->seen);
    smodel_park_crashed(m);
    sl_free(m->parked);
    sl_free(m->keys);
    sl_free(m->got);
    sl_free(m->txns);
    sl_free(m->msgs);
    sl_free(m->entries);
    sl_free(m->mqtt_wait);
    sl_free(m->trace);
}

/* ---- messages ---- */

uint32_t smodel_message(struct smodel *m, const struct said *s)
{
    if (m->n_msgs == m->cap_msgs) {
        m->cap_msgs = m->cap_msgs == 0 ? 64 : m->cap_msgs * 2;
        m->msgs = sl_realloc(m->msgs, m->cap_msgs * sizeof *m->msgs);
    }
    m->msgs[m->n_msgs] = *s;
    return m->n_msgs++;
}

bool smodel_expired(const struct smodel *m, uint32_t msg)
{
    uint64_t at = m->msgs[msg].expires_at;
    return at != 0 && at <= m->now_ms;
}

void needs_add(struct needs *needs, struct need n)
{
    if (needs == NULL)
        return;
    if (needs->n == needs->cap) {
        needs->cap = needs->cap == 0 ? 4 : needs->cap * 2;
        needs->v = sl_realloc(needs->v, needs->cap * sizeof *needs->v);
    }
    needs->v[needs->n++] = n;
}

/* ---- listeners ---- */

static uint32_t live_waiting(const struct consumer *c)
{
    uint32_t n = 0;
    for (uint32_t i = c->first_w; i < c->n_w; i++)
        n += !c->w[i].over && !c->w[i].fed;
    return n;
}

static bool is_fed(const struct consumer *c)
{
    for (uint32_t i = c->first_w; i < c->n_w; i++) {
        if (c->w[i].fed && !c->w[i].over)
            return true;
    }
    return false;
}

static uint32_t free_credit(const struct consumer *c)
{
    if (c->mode == AUTO)
        return UINT32_MAX;
    return c->unanswered < c->credit ? c->credit - c->unanswered : 0;
}

void smodel_wait(struct consumer *c, uint32_t msg, bool fed)
{
    while (c->first_w < c->n_w && c->w[c->first_w].over)
        c->first_w++;
    if (c->n_w == c->cap_w) {
        c->cap_w = c->cap_w == 0 ? 8 : c->cap_w * 2;
        c->w = sl_realloc(c->w, c->cap_w * sizeof *c->w);
    }
    c->w[c->n_w++] = (struct waiting){ .msg = msg, .fed = fed };
}

/* Who does not take it off fast enough is told so; nothing is dropped silently. */
static void offer(struct smodel *m, struct consumer *c, uint32_t msg)
{
    uint32_t waits = live_waiting(c), direct = c->conn->stalled ? 0 : free_credit(c);
    waits = waits > direct ? waits - direct : 0;
    if (waits >= m->waiting_max) {
        smodel_conn_doom(m, c->conn, SLOW, "slow consumer");
        return;
    }
    c->conn->may_be_slow |= waits + 1 == m->waiting_max && is_fed(c);
    smodel_wait(c, msg, false);
}

/* A reply destination has one subscriber at most: the connection that it belongs to. */
static bool listens(const struct consumer *c, const struct said *s)
{
    if (!c->on || c->queue != NONE)
        return false;
    if (c->temp)
        return s->temp_gen == c->conn->gen && sl_bytes_eq(text_view(&c->filter), sl_bytes_of(s->topic.p + 23, s->topic.n - 23u));
    return smodel_takes((const char *)c->filter.p, c->filter.n, text_view(&s->topic));
}

/* But for reply destinations MQTT's subscriber takes all. */
bool smodel_is_taken(const struct smodel *m, uint32_t msg)
{
    bool taken = m->msgs[msg].temp_gen == 0;
    for (uint32_t i = 0; i < CONNS; i++) {
        for (const struct consumer *c = m->conns[i].consumers; c != NULL; c = c->next)
            taken |= listens(c, &m->msgs[msg]);
    }
    return taken;
}

static void fan_out(struct smodel *m, uint32_t msg)
{
    struct sl_bytes topic = text_view(&m->msgs[msg].topic);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &m->conns[i];
        bool open = k->up && k->doom == FINE;
        for (struct consumer *c = k->consumers; open && c != NULL; c = c->next) {
            if (!listens(c, &m->msgs[msg]))
                continue;
            if (k->doom == FINE)
                offer(m, c, msg);
            else
                smodel_wait(c, msg, false); /* another one of the connection is too slow for it: this one may still have it */
        }
    }
    if (!m->mqtt_on || !smodel_takes("#", 1, topic))
        return;
    if (m->n_mqtt_wait == m->cap_mqtt_wait) {
        m->cap_mqtt_wait = m->cap_mqtt_wait == 0 ? 64 : m->cap_mqtt_wait * 2;
        m->mqtt_wait = sl_realloc(m->mqtt_wait, m->cap_mqtt_wait * sizeof *m->mqtt_wait);
    }
    m->mqtt_wait[m->n_mqtt_wait++] = msg;
}

/* Who was still to be fed with it need not be any more. */
static void excuse(struct smodel *m, uint32_t msg)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        for (struct consumer *c = m->conns[i].consumers; c != NULL; c = c->next) {
            for (uint32_t k = c->first_w; k < c->n_w; k++)
                c->w[k].excused |= c->w[k].fed && c->w[k].msg == msg;
        }
    }
}

static void retain(struct smodel *m, uint32_t msg, struct needs *needs)
{
    const struct said *s = &m->msgs[msg];
    for (uint32_t t = 0; t < TOPICS; t++) {
        if (!sl_bytes_is(text_view(&s->topic), smodel_topics[t]))
            continue;
        uint32_t old = m->retained[t].msg;
        if (old != NONE)
            excuse(m, old);
        if (old != NONE && s->n_body == 0)
            needs_add(needs, (struct need){ .kind = NEED_UNRETAINED, .msg = old });
        m->retained[t].msg = s->n_body == 0 ? NONE : msg;
        if (s->n_body > 0)
            needs_add(needs, (struct need){ .kind = NEED_RETAINED, .msg = msg });
    }
}

void smodel_enter(struct smodel *m, uint32_t msg, uint32_t txn, struct needs *needs)
{
    struct said *s = &m->msgs[msg];
    s->order = ++m->order;
    if (s->relative) /* its life was given from when it came; that is now */
        smodel_say(m, "  m%u expires at %llu", msg, (unsigned long long)s->expires_at);
    for (uint32_t q = 0; q < QUEUES; q++) {
        bool its = s->to_queue ? s->queue == q : smodel_takes(smodel_routes[q], strlen(smodel_routes[q]), text_view(&s->topic));
        if (!its)
            continue;
        uint32_t e = entry_add(m, msg, q, txn);
        if (m->queues[q].durable)
            needs_add(needs, (struct need){ .kind = NEED_KEPT, .entry = e, .version = 1 });
    }
    if (s->to_queue)
        return;
    if (s->retain)
        retain(m, msg, needs);
    if (!smodel_expired(m, msg))
        fan_out(m, msg);
}

void smodel_feed(struct smodel *m, struct consumer *c)
{
    for (uint32_t t = 0; !c->temp && t < TOPICS; t++) {
        uint32_t msg = m->retained[t].msg;
        if (msg != NONE && !smodel_expired(m, msg) && smodel_takes((const char *)c->filter.p, c->filter.n, sl_str(smodel_topics[t])))
            smodel_wait(c, msg, true);
    }
}

bool smodel_topic_message(struct smodel *m, struct consumer *c, uint32_t msg, bool retained)
{
    if (c->mode != AUTO && c->unanswered >= c->credit)
        smodel_fail(m, "c%u/%u: m%u beyond its credit of %u", c->conn->number, c->number, msg, c->credit);
    for (uint32_t i = c->first_w; i < c->n_w; i++) {
        struct waiting *w = &c->w[i];
        if (w->over || w->fed != retained)
            continue;
        bool expired = smodel_expired(m, w->msg);
        if (w->msg == msg && !expired) {
            w->over = true;
            return true;
        }
        if (!retained && !expired)
            smodel_fail(m, "c%u/%u gets m%u, its next is m%u", c->conn->number, c->number, msg, w->msg);
        w->over |= expired;
    }
    smodel_fail(m, "c%u/%u gets m%u%s, which it must not", c->conn->number, c->number, msg, retained ? " (retained)" : "");
}
