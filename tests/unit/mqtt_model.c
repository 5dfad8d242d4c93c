#include "mqtt_model_internal.h"

#include <stdlib.h>

#define TRACE_BYTES (1u << 16)

const char *const model_topics[TOPICS] = { "a", "a/b", "a/c", "b", "b/c", "$x/a", "a/b/c" };
const char *const model_filters[FILTERS] = { "a", "a/b", "a/+", "a/#", "#", "+", "+/b", "+/+", "b/#", "$x/#", "$x/+", "a/#", "#", "+/b", "b", "a/#" };
const char *const model_groups[FILTERS] = { "", "", "", "", "", "", "", "", "", "", "", "g1", "g1", "g2", "g2", "g2" };

/* ---- telling ---- */

void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){ .seed = seed, .trace = sl_alloc(TRACE_BYTES) };
    m->trace[0] = '\0';
    for (uint32_t t = 0; t < TOPICS; t++)
        m->retained[t] = (struct retained_model){ .known = true, .msg = NOBODY, .may = { NOBODY }, .n_may = 1 };
}

void model_fini(struct model *m)
{
    for (uint32_t c = 0; c < CLIENTS; c++)
        sl_free(m->sessions[c].wants);
    sl_free(m->msgs);
    sl_free(m->shares);
    sl_free(m->trace);
}

void model_say(struct model *m, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    size_t len = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    if (m->verbose)
        fprintf(stderr, "%4u %s\n", m->step, line);
    if (m->trace_n + len + 16 > TRACE_BYTES) {
        memmove(m->trace, m->trace + TRACE_BYTES / 2, m->trace_n - TRACE_BYTES / 2 + 1);
        m->trace_n -= TRACE_BYTES / 2;
    }
    m->trace_n += (size_t)snprintf(m->trace + m->trace_n, TRACE_BYTES - m->trace_n, "%4u %s\n", m->step, line);
}

void model_fail(struct model *m, const char *fmt, ...)
{
    char why[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    size_t from = m->trace_n > 6000 ? m->trace_n - 6000 : 0;
    if (!m->verbose)
        fprintf(stderr, "%s", m->trace + from);
    fprintf(stderr, "seed %llu, step %u: %s\n", (unsigned long long)m->seed, m->step, why);
    _exit(1); /* nothing is put in order: leaks would hide the reason */
}

/* ---- topics, section 4.7 ---- */

static bool level_end(char ch)
{
    return ch == '\0' || ch == '/';
}

static bool takes_from(const char *f, const char *t)
{
    while (true) {
        if (f[0] == '#')
            return true;
        if (f[0] == '+') {
            f++;
            while (!level_end(*t))
                t++;
        } else {
            while (!level_end(*f) && *f == *t) {
                f++;
                t++;
            }
            if (!level_end(*f) || !level_end(*t))
                return false;
        }
        if (*t == '\0')
            return *f == '\0' || strcmp(f, "/#") == 0;
        if (*f == '\0')
            return false;
        f++;
        t++;
    }
}

static bool takes(uint32_t filter, uint32_t topic)
{
    const char *f = model_filters[filter], *t = model_topics[topic];
    if (t[0] == '$' && f[0] != '$')
        return false;
    return takes_from(f, t);
}

/* ---- lists ---- */

uint32_t model_message(struct model *m, const struct msg *msg)
{
    if (m->n_msgs == m->cap_msgs) {
        m->cap_msgs = m->cap_msgs == 0 ? 256 : m->cap_msgs * 2;
        m->msgs = sl_realloc(m->msgs, m->cap_msgs * sizeof *m->msgs);
    }
    m->msgs[m->n_msgs] = *msg;
    return m->n_msgs++;
}

struct want *model_want_add(struct session_model *s, uint32_t msg)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->wants = sl_realloc(s->wants, s->cap * sizeof *s->wants);
    }
    struct want *w = &s->wants[s->n++];
    *w = (struct want){ .msg = msg, .share = NOBODY, .must = true };
    return w;
}

static uint32_t share_add(struct model *m, uint32_t msg, uint32_t filter)
{
    if (m->n_shares == m->cap_shares) {
        m->cap_shares = m->cap_shares == 0 ? 64 : m->cap_shares * 2;
        m->shares = sl_realloc(m->shares, m->cap_shares * sizeof *m->shares);
    }
    m->shares[m->n_shares] = (struct share){ .msg = msg, .filter = filter, .owner = NOBODY };
    return m->n_shares++;
}

static bool has_expired(const struct model *m, uint32_t msg, uint64_t slack_ms)
{
    uint64_t at = m->msgs[msg].expires_ms;
    return at != 0 && m->now_ms + slack_ms >= at;
}

static uint8_t lower(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* ---- publishing ---- */

/* Whom the message finds, from ordinary subscriptions: one delivery with the best QoS
 * of all that match and all their ids [MQTT-3.3.4-2 to -4]. */
static bool publish_to(struct model *m, uint32_t msg, uint32_t c)
{
    const struct msg *p = &m->msgs[msg];
    struct session_model *s = &m->sessions[c];
    struct want w = { .msg = msg, .share = NOBODY, .must = true };
    bool some = false, rap = false;
    for (uint32_t f = 0; s->exists && f < GROUPED; f++) {
        const struct sub *sub = &s->subs[f];
        if (!sub->on || !takes(f, p->topic) || (sub->no_local && p->publisher == c))
            continue;
        some = true;
        w.qos = sub->qos > w.qos ? sub->qos : w.qos;
        rap |= sub->rap;
        if (sub->id != 0)
            w.ids[w.n_ids++] = sub->id;
    }
    w.qos = lower(w.qos, p->qos);
    w.retain = rap && p->retain;
    if (some && (s->connected || (w.qos > 0 && s->persistent)))
        *model_want_add(s, msg) = w;
    return some;
}

static bool publish_to_group(struct model *m, uint32_t msg, uint32_t f)
{
    const struct msg *p = &m->msgs[msg];
    uint32_t share = NOBODY;
    bool certain = true;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        if (!s->exists || !s->subs[f].on)
            continue;
        if (share == NOBODY)
            share = share_add(m, msg, f);
        struct want *w = model_want_add(s, msg);
        w->must = false;
        w->share = share;
        w->qos = lower(p->qos, s->subs[f].qos);
        w->retain = s->subs[f].rap && p->retain;
        w->n_ids = s->subs[f].id != 0;
        w->ids[0] = s->subs[f].id;
        certain &= w->qos > 0;
        if (w->qos == 0 && !s->connected)
            w->state = OVER;
    }
    if (share != NOBODY)
        m->shares[share].must = certain;
    return share != NOBODY;
}

/* It may be left out; when something like it came, that may have been another copy. */
static void excuse(struct want *w)
{
    w->spare = true;
    if (w->state == WAITING)
        w->must = false;
}

static void publish_retained(struct model *m, uint32_t msg)
{
    const struct msg *p = &m->msgs[msg];
    struct retained_model *r = &m->retained[p->topic];
    r->known = !m->at_once[p->topic];
    m->at_once[p->topic] = m->passing;
    r->msg = p->empty ? NOBODY : msg;
    assert_true(r->n_may < SL_COUNT(r->may));
    r->may[r->n_may++] = r->msg;
    for (uint32_t c = 0; c < CLIENTS; c++) { /* what waits to be fed may be passed over for the newer one */
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++) {
            if (s->wants[i].fed && m->msgs[s->wants[i].msg].topic == p->topic)
                excuse(&s->wants[i]);
        }
    }
}

/* A subscriber whose own message No Local keeps away may or may not count as one. */
static bool local_only(const struct model *m, uint32_t msg)
{
    const struct msg *p = &m->msgs[msg];
    if (p->publisher == NOBODY)
        return false;
    for (uint32_t f = 0; f < GROUPED; f++) {
        if (m->sessions[p->publisher].subs[f].on && takes(f, p->topic))
            return true;
    }
    return false;
}

uint8_t model_publish(struct model *m, uint32_t msg)
{
    bool some = false;
    for (uint32_t c = 0; c < CLIENTS; c++)
        some |= publish_to(m, msg, c);
    for (uint32_t f = GROUPED; f < FILTERS; f++) {
        if (takes(f, m->msgs[msg].topic))
            some |= publish_to_group(m, msg, f);
    }
    if (m->msgs[msg].retain)
        publish_retained(m, msg);
    if (some || (m->msgs[msg].retain && !m->msgs[msg].empty))
        return 0;
    return m->msgs[msg].retain || local_only(m, msg) ? ANY : 1;
}

/* It has no place among others, or not even to come (what there is of it already, and
 * what comes now, cannot be told apart). */
static void loosen(struct model *m, uint32_t msg, bool may)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++) {
            if (s->wants[i].msg != msg)
                continue;
            s->wants[i].unordered = true;
            s->wants[i].must &= !may;
        }
    }
}

/* Is there an earlier one like this? Then only one of the two comes, of which nobody
 * knows whether it has the retain flag when the options changed meanwhile. */
static bool is_second(const struct session_model *s, uint32_t i)
{
    const struct want *w = &s->wants[i];
    for (uint32_t k = s->first; k < i; k++) {
        struct want *v = &s->wants[k];
        if (v->msg != w->msg || v->share != NOBODY || v->fed || v->qos != w->qos || v->n_ids != w->n_ids)
            continue;
        if (v->state == WAITING && v->retain != w->retain)
            v->retain = ANY;
        return true;
    }
    return false;
}

/* QoS 2 comes once: where the crash may have left it, it does not come again. */
static void only_once(struct model *m, const uint32_t *before)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = before[c]; i < s->n; i++) {
            if (s->wants[i].share == NOBODY && s->wants[i].qos == 2 && is_second(s, i))
                s->wants[i].state = OVER;
        }
    }
}

/* QoS 1: either it is the same message, since it was taken and not answered, and this
 * changes nothing; or as if it was published now. QoS 2 after a crash: the same. */
void model_publish_again(struct model *m, uint32_t msg)
{
    bool known = m->msgs[msg].qos == 2 && !m->msgs[msg].unsure;
    struct retained_model *r = &m->retained[m->msgs[msg].topic], was = *r;
    m->msgs[msg].any_expiry |= m->msgs[msg].expires_ms != 0;
    if (known)
        return;
    uint32_t before[CLIENTS];
    for (uint32_t c = 0; c < CLIENTS; c++)
        before[c] = m->sessions[c].n;
    (void)model_publish(m, msg);
    if (m->msgs[msg].qos == 2)
        only_once(m, before);
    loosen(m, msg, true);
    for (uint32_t i = m->first_share; i < m->n_shares; i++)
        m->shares[i].must &= m->shares[i].msg != msg; /* nobody can tell the first one's from the second's */
    r->known = m->msgs[msg].retain ? was.known && was.msg == r->msg : was.known;
}

void model_answered(struct model *m, uint32_t msg)
{
    m->msgs[msg].kept = true;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++)
            s->wants[i].kept |= s->wants[i].msg == msg;
    }
    for (uint32_t i = m->first_share; i < m->n_shares; i++)
        m->shares[i].kept |= m->shares[i].msg == msg;
}

/* ---- sessions ---- */

/* What becomes of a share when c leaves or its session ends: whoever else may have it
 * could lose it, or there is nobody. */
static bool others_keep(const struct model *m, uint32_t c, const struct share *sh, bool ends)
{
    const struct session_model *s = &m->sessions[c];
    uint32_t members = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const struct session_model *o = &m->sessions[i];
        if (i == c || !o->exists || !o->subs[sh->filter].on)
            continue;
        members++;
        if (o->subs[sh->filter].qos == 0)
            return false;
    }
    return members > 0 || (!ends && s->persistent && s->subs[sh->filter].qos > 0);
}

/* For who sees no subscription ids two copies are alike sooner. */
bool model_alike(const struct want *a, const struct want *b, bool with_ids)
{
    if (a->msg != b->msg || a->qos != b->qos || (a->retain != b->retain && a->retain != ANY && b->retain != ANY))
        return false;
    return !with_ids || (a->n_ids == b->n_ids && memcmp(a->ids, b->ids, sizeof a->ids) == 0);
}

/* What another member leaves behind also finds those who joined later, or with other options. */
static void offer_again(struct model *m, uint32_t c, uint32_t share)
{
    const struct share *sh = &m->shares[share];
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct session_model *o = &m->sessions[i];
        const struct sub *sub = &o->subs[sh->filter];
        struct want w = { .msg = sh->msg, .share = share, .qos = lower(m->msgs[sh->msg].qos, sub->qos), .retain = sub->rap && m->msgs[sh->msg].retain,
                          .n_ids = sub->id != 0, .ids = { sub->id } };
        bool has = i == c || !o->exists || !sub->on;
        for (uint32_t k = o->first; !has && k < o->n; k++)
            has = o->wants[k].share == share && o->wants[k].state == WAITING && model_alike(&o->wants[k], &w, true);
        if (!has)
            *model_want_add(o, sh->msg) = w;
    }
}

/* Another copy of the session's looks the same, and it may have been that one which
 * came, or which is not finished. */
static bool in_doubt(const struct model *m, uint32_t c, const struct want *came)
{
    const struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; came->came && i < s->n; i++) {
        const struct want *w = &s->wants[i];
        if ((!w->came || w->state != OVER) && w->share != came->share && model_alike(came, w, !s->blind))
            return true;
    }
    return false;
}

/* With a session the knowledge ends which of several groups its copies were for. */
static void forgive(struct model *m, uint32_t share)
{
    bool several = false;
    for (uint32_t i = m->first_share; !m->exact && i < m->n_shares; i++)
        several |= i != share && m->shares[i].msg == m->shares[share].msg;
    for (uint32_t i = m->first_share; several && i < m->n_shares; i++)
        m->shares[i].must &= m->shares[i].msg != m->shares[share].msg;
}

/* What the member of a shared subscription had may go to another when its session
 * ends: QoS 2 only when it was never sent [MQTT-4.8.2-4, -5]. */
static void release_share(struct model *m, uint32_t c, const struct want *w, bool ends)
{
    struct share *sh = &m->shares[w->share];
    bool doubt = in_doubt(m, c, w) || (w->loose && w->state == SENT && w->qos == 1); /* for the server it may wait again */
    sh->must = sh->must && others_keep(m, c, sh, ends);
    if (ends && w->qos == 2 && w->dup_ok)
        sh->must = false; /* it may have been sent, and was not read */
    if (ends)
        forgive(m, w->share);
    sh->doubt |= doubt;
    bool its = w->came && sh->owner == c && sh->owner_life == m->sessions[c].life;
    if (ends && its && (w->state == OVER || w->qos == 2))
        sh->done = true;
    else if (ends && its)
        sh->owner = NOBODY;
    if (w->state == WAITING || doubt || (ends && w->state == SENT && w->qos < 2))
        offer_again(m, c, w->share);
}

static void release_shares(struct model *m, uint32_t c, bool ends)
{
    const struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; i < s->n; i++) {
        if (s->wants[i].share != NOBODY && (!s->wants[i].came || s->wants[i].state != OVER || m->shares[s->wants[i].share].owner == c))
            release_share(m, c, &s->wants[i], ends);
    }
}

static void session_end(struct model *m, uint32_t c)
{
    struct session_model *s = &m->sessions[c];
    if (!s->exists)
        return;
    model_say(m, "c%u session ends", c);
    s->exists = false;
    release_shares(m, c, true);
    memset(s->subs, 0, sizeof s->subs);
    s->n = s->first = 0;
    m->unstored_structure = true;
    struct will will = s->will;
    s->will.on = false;
    s->persistent = false;
    if (!will.on)
        return;
    model_say(m, "  its will: m%u to %s qos %u%s", will.msg, model_topics[will.topic], will.qos, will.retain ? " retain" : "");
    (void)model_publish(m, will.msg);
    loosen(m, will.msg, false);
}

/* Several may be due at once. */
static void will_fire(struct model *m, uint32_t c)
{
    struct session_model *s = &m->sessions[c];
    s->will.on = false;
    model_say(m, "c%u will: m%u to %s qos %u%s", c, s->will.msg, model_topics[s->will.topic], s->will.qos, s->will.retain ? " retain" : "");
    (void)model_publish(m, s->will.msg);
    loosen(m, s->will.msg, false);
    m->unstored_structure = true;
}

/* What came of a retained message may have been this one, and that one comes later. */
static void reopen_fed(struct session_model *s, const struct want *w)
{
    for (uint32_t i = s->first; !w->came && i < s->n; i++) {
        struct want *fed = &s->wants[i];
        if (!fed->fed || !fed->came || !model_alike(fed, w, !s->blind))
            continue;
        fed->state = WAITING;
        fed->came = fed->must = false;
    }
}

static void forget_qos0(struct session_model *s)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        if (s->wants[i].qos == 0 && s->wants[i].fed)
            s->wants[i].must = false;
        else if (s->wants[i].qos == 0) {
            s->wants[i].state = OVER;
            reopen_fed(s, &s->wants[i]);
        }
    }
}

void model_leave(struct model *m, uint32_t c, bool unread)
{
    struct session_model *s = &m->sessions[c];
    if (!s->connected)
        return;
    s->connected = s->open = false;
    m->unstored_structure = true;
    for (uint32_t i = s->first; unread && i < s->n; i++)
        s->wants[i].dup_ok = true;
    if (!s->persistent) {
        session_end(m, c);
        return;
    }
    forget_qos0(s);
    release_shares(m, c, false);
    s->ends_ms = s->expiry_s == UINT32_MAX ? NEVER : m->now_ms + (uint64_t)s->expiry_s * 1000;
    if (s->will.on && s->will.delay_s == 0)
        will_fire(m, c);
    else
        s->will.due_ms = m->now_ms + (uint64_t)s->will.delay_s * 1000;
}

bool model_connect(struct model *m, uint32_t c, bool clean, uint32_t expiry_s)
{
    struct session_model *s = &m->sessions[c];
    SL_ASSERT(!s->connected); /* whoever takes over lets the old one leave first */
    if (clean)
        session_end(m, c);
    bool present = s->exists;
    m->unstored_structure |= present && s->ends_ms != NEVER; /* for the store it is absent, and may end */
    if (!present) {
        s->exists = true;
        s->life++;
        s->blind = false;
        s->sent_seq = 0;
        m->unstored_structure = true;
    }
    m->unstored_structure |= s->will.on;
    s->will.on = false; /* the new connection has its own; one that was due is not any more [MQTT-3.1.3-9] */
    m->unstored_structure |= s->expiry_s != expiry_s;
    s->expiry_s = expiry_s;
    s->persistent = expiry_s > 0;
    s->connected = s->open = true;
    s->again_seq = 0;
    for (uint32_t i = s->first; i < s->n; i++)
        s->wants[i].again = s->wants[i].state == SENT && s->wants[i].must;
    return present;
}

/* ---- subscriptions ---- */

static void feed(struct model *m, uint32_t c, uint32_t f, uint32_t topic, uint32_t msg, bool must)
{
    struct session_model *s = &m->sessions[c];
    const struct sub *sub = &s->subs[f];
    if (msg == NOBODY || (has_expired(m, msg, 0) && !m->msgs[msg].any_expiry))
        return;
    struct want *w = model_want_add(s, msg);
    w->fed = true;
    w->must = must && !m->msgs[msg].any_expiry;
    w->filter = f;
    w->retain = 1;
    w->qos = lower(m->msgs[msg].qos, sub->qos);
    w->n_ids = sub->id != 0;
    w->ids[0] = sub->id;
    (void)topic;
}

/* What it still has to be fed with for that filter may be left out: the messages were
 * replaced, or are fed anew, or nobody listens any more. */
static void feed_stops(struct session_model *s, uint32_t filter)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (w->fed && w->filter == filter)
            excuse(w);
    }
}

void model_subscribe(struct model *m, uint32_t c, uint32_t filter, const struct sub *sub, uint8_t retain_handling)
{
    struct session_model *s = &m->sessions[c];
    bool existed = s->subs[filter].on;
    s->subs[filter] = *sub;
    s->subs[filter].on = true;
    if (filter >= GROUPED || retain_handling == 2 || (retain_handling == 1 && existed))
        return;
    feed_stops(s, filter);
    for (uint32_t t = 0; t < TOPICS; t++) {
        const struct retained_model *r = &m->retained[t];
        if (!takes(filter, t))
            continue;
        if (r->known)
            feed(m, c, filter, t, r->msg, true);
        for (uint32_t i = 0; !r->known && i < r->n_may; i++)
            feed(m, c, filter, t, r->may[i], false);
    }
}

bool model_unsubscribe(struct model *m, uint32_t c, uint32_t filter)
{
    struct session_model *s = &m->sessions[c];
    bool was = s->subs[filter].on;
    s->subs[filter].on = false;
    feed_stops(s, filter);
    for (uint32_t i = m->first_share; i < m->n_shares; i++) {
        struct share *sh = &m->shares[i];
        if (sh->filter == filter && (sh->owner == NOBODY || sh->owner == c))
            sh->must = false; /* what it has ends with its session */
    }
    return was;
}

/* ---- time, storage, crashes ---- */

void model_pass(struct model *m, uint64_t ms)
{
    m->now_ms += ms;
    m->passing = true;
    memset(m->at_once, 0, sizeof m->at_once);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        bool ends = s->exists && !s->connected && s->ends_ms <= m->now_ms;
        if (s->exists && !s->connected && !ends && s->will.on && s->will.due_ms <= m->now_ms)
            will_fire(m, c);
        if (ends)
            session_end(m, c);
    }
    m->passing = false;
    memset(m->at_once, 0, sizeof m->at_once);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++) {
            if (has_expired(m, s->wants[i].msg, SLACK_MS))
                s->wants[i].must = false;
        }
    }
    for (uint32_t i = m->first_share; i < m->n_shares; i++) {
        if (has_expired(m, m->shares[i].msg, SLACK_MS))
            m->shares[i].must = false;
    }
}

static void skip_old(struct model *m)
{
    while (m->first_share < m->n_shares && m->shares[m->first_share].done)
        m->first_share++;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        while (s->first < s->n && s->wants[s->first].state == OVER && s->wants[s->first].share == NOBODY)
            s->first++;
    }
}

void model_stored(struct model *m)
{
    m->unstored_structure = false;
    for (uint32_t i = 0; i < m->n_msgs; i++)
        m->msgs[i].kept = true;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++) {
            struct want *w = &s->wants[i];
            w->kept = true;
            w->low = w->loose || w->repeat_ok ? w->low : w->state;
        }
    }
    for (uint32_t i = m->first_share; i < m->n_shares; i++)
        m->shares[i].kept = true;
    for (uint32_t t = 0; t < TOPICS; t++) {
        struct retained_model *r = &m->retained[t];
        if (!r->known)
            continue;
        r->may[0] = r->msg;
        r->n_may = 1;
    }
    skip_old(m);
}

/* Back to what may be stored: a state from `low` to `state`. */
static void want_crashed(struct model *m, struct want *w)
{
    bool over = w->state == OVER;
    w->again = false;
    w->dup_ok = true;
    if (w->qos == 0) {
        w->state = OVER;
        return;
    }
    w->unordered |= !w->kept;
    if (!w->kept || w->fed)
        w->must = false;
    w->loose |= w->low == WAITING && w->qos == 1;
    w->repeat_ok |= w->state == RECEIVED && w->low != RECEIVED;
    if (over && w->low != OVER && w->packet_id != 0) {
        w->must = false;
        w->state = w->low == RECEIVED ? RECEIVED : SENT;
        w->loose = true;
        if (w->share != NOBODY)
            m->shares[w->share].done = false;
    }
}

/* All who may have it are stored, and it with one of them. */
static bool survives(const struct model *m, const struct share *sh)
{
    bool some = false;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        const struct session_model *s = &m->sessions[c];
        if (!s->exists || !s->subs[sh->filter].on)
            continue;
        some = true;
        if (!s->persistent || s->subs[sh->filter].qos == 0)
            return false;
    }
    return some && m->exact && sh->kept && !sh->done && sh->owner == NOBODY;
}

void model_crash(struct model *m)
{
    for (uint32_t i = m->first_share; i < m->n_shares; i++)
        m->shares[i].must &= survives(m, &m->shares[i]);
    for (uint32_t i = 0; i < m->n_msgs; i++)
        m->msgs[i].unsure |= !m->msgs[i].kept;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        s->connected = false;
        if (!s->exists)
            continue;
        if (!s->persistent) {
            s->will.on = false; /* nobody has stored it */
            session_end(m, c);
            continue;
        }
        for (uint32_t i = s->first; i < s->n; i++)
            want_crashed(m, &s->wants[i]);
        if (s->open) { /* nobody has stored when it ends: its time begins now, and that is stored */
            s->ends_ms = s->expiry_s == UINT32_MAX ? NEVER : m->now_ms + (uint64_t)s->expiry_s * 1000;
            m->unstored_structure |= s->ends_ms != NEVER;
        }
        s->open = false;
        s->will.due_ms = m->now_ms + (uint64_t)s->will.delay_s * 1000;
    }
    for (uint32_t t = 0; t < TOPICS; t++)
        m->retained[t].known = m->retained[t].n_may == 1;
}
