/* The model's rules, each searched for from end to end. */
#include <stdlib.h>

#include "queue_model.h"

/* ---- messages ---- */

struct model_message *model_find(struct model *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->messages[i].id == id)
            return &m->messages[i];
    }
    return NULL;
}

uint64_t model_clock(const struct model *m, bool absolute)
{
    return absolute ? m->now.wall_ms : m->now.steady_ms;
}

/* In the line of its key it stands by its age: its id tells when it was accepted. */
static void join(struct model *m, struct model_message *t)
{
    t->turn = t->key != 0 ? t->id : ++m->counter;
}

/* One of a key has its place by its age: its line stands where its first one does. */
struct model_message *model_enter(struct model *m, const struct model_message *t)
{
    SL_ASSERT(m->n < MODEL_MESSAGES);
    struct model_message *e = &m->messages[m->n++];
    *e = *t;
    e->state = t->due > model_clock(m, t->absolute) ? QUEUE_DELAYED : QUEUE_READY;
    e->body = true;
    e->by_age = t->key != 0;
    e->place = t->id;
    e->asked_absolute = t->absolute;
    e->accepted_wall = m->now.wall_ms;
    e->accepted_steady = m->now.steady_ms;
    e->stored_state = e->state;
    e->stored_due = t->due;
    join(m, e);
    return e;
}

/* Of one that is ready, or has been given to somebody, the place is known. */
static bool has_place(const struct model_message *t)
{
    return t->state == QUEUE_READY || t->attempts > 0 || t->releases > 0;
}

void model_replace(struct model *m, struct model_message *old, const struct model_message *t)
{
    struct model_message before = *old;
    bool stands = before.state == QUEUE_READY && !before.held && !model_is_alone(m, &before) && before.priority == t->priority;
    model_remove(m, old);
    struct model_message *e = model_enter(m, t);
    if (e->state != QUEUE_READY || !has_place(&before))
        return;
    e->by_age = !e->held && (!stands || before.by_age);
    e->place = stands && !e->held ? before.place : before.id;
    e->turn = stands ? before.turn : e->turn;
    e->took_place = e->held;
}

void model_remove(struct model *m, struct model_message *t)
{
    message_unref(t->msg);
    *t = m->messages[--m->n];
}

/* It goes behind the youngest that came by itself only when it is younger than that. */
void model_unhold(struct model *m, struct model_message *t)
{
    t->held = false;
    if (t->state != QUEUE_READY || t->key != 0)
        return;
    const struct model_message *last = NULL;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *o = &m->messages[i];
        bool before = o != t && o->state == QUEUE_READY && !o->held && !o->by_age && o->priority == t->priority && !model_is_alone(m, o);
        if (before && (last == NULL || o->turn > last->turn))
            last = o;
    }
    t->by_age = t->took_place || (last != NULL && last->id > t->id);
    t->took_place = false;
    join(m, t);
}

/* ---- lines of one key ---- */

/* It has been given to somebody, and the others of its key wait until it is over: a first
 * delivery that waits for its time has not joined its line yet. */
static bool holds_line(const struct model_message *t)
{
    bool comes_back = t->state == QUEUE_DELAYED && (t->attempts > 0 || t->releases > 0);
    return t->state == QUEUE_LEASED || (comes_back && !t->out_of_line);
}

static bool is_first_of_line(const struct model *m, const struct model_message *t)
{
    for (uint32_t i = 0; i < m->n && t->key != 0; i++) {
        const struct model_message *o = &m->messages[i];
        if (o == t || o->key != t->key)
            continue;
        if (holds_line(o) || (o->state == QUEUE_READY && o->turn < t->turn))
            return false;
    }
    return true;
}

/* ---- who is next ---- */

bool model_is_alone(const struct model *m, const struct model_message *t)
{
    return t->attempts > 0 && t->attempts + 1 >= m->cfg.max_attempts;
}

/* Of who stands in its line again may be forgotten by whom it was released. */
void model_forget_releases(struct model *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_READY && t->released_by != 0 && !model_could_go(m, t))
            t->released_by = MODEL_NOBODY;
    }
}

bool model_could_go(const struct model *m, const struct model_message *t)
{
    return t->state == QUEUE_READY && !t->held && is_first_of_line(m, t);
}

static struct model_message *earlier(struct model_message *a, struct model_message *b)
{
    return a == NULL || b->turn < a->turn ? b : a;
}

static struct model_message *older(struct model_message *a, struct model_message *b)
{
    return a == NULL || b->place < a->place ? b : a;
}

/* Of those that came by themselves the one that came first, of the others the oldest; of both the older. */
static struct model_message *best_of(struct model_message *const *v, uint32_t n, uint8_t priority)
{
    struct model_message *came = NULL, *oldest = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (v[i]->priority != priority)
            continue;
        if (v[i]->by_age)
            oldest = older(oldest, v[i]);
        else
            came = earlier(came, v[i]);
    }
    return came == NULL ? oldest : oldest == NULL || came->id < oldest->place ? came : oldest;
}

static struct model_message *best(struct model_message *const *v, uint32_t n)
{
    for (int p = 9; p >= 0; p--) {
        struct model_message *t = best_of(v, n, (uint8_t)p);
        if (t != NULL)
            return t;
    }
    return NULL;
}

struct model_message *model_first(struct model *m, bool alone)
{
    struct model_message *v[MODEL_MESSAGES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        if (model_could_go(m, &m->messages[i]) && model_is_alone(m, &m->messages[i]) == alone)
            v[n++] = &m->messages[i];
    }
    return best(v, n);
}

uint32_t model_ready(struct model *m, uint64_t *ids)
{
    struct model_message *v[MODEL_MESSAGES];
    uint32_t n = 0, told = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        if (model_could_go(m, &m->messages[i]))
            v[n++] = &m->messages[i];
    }
    while (n > 0) {
        const struct model_message *t = best(v, n);
        ids[told++] = t->id;
        uint32_t k = 0;
        while (v[k] != t)
            k++;
        v[k] = v[--n];
    }
    return told;
}

bool model_goes_before(const struct model_message *a, const struct model_message *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

/* ---- its end ---- */

bool model_must_have_expired(const struct model *m, const struct model_message *t)
{
    if (t->expires != 0 && t->expires <= model_clock(m, !t->expires_relative))
        return true;
    uint64_t end = t->accepted_wall + m->cfg.ttl_ms;
    return m->cfg.ttl_ms != 0 && end <= m->now.wall_ms && end <= m->now.steady_ms && t->accepted_steady + m->cfg.ttl_ms <= m->now.steady_ms;
}

/* What was accepted says when by the wall clock, which may have been set since. */
bool model_may_have_expired(const struct model *m, const struct model_message *t)
{
    bool ttl = m->cfg.ttl_ms != 0 && (t->accepted_steady + m->cfg.ttl_ms <= m->now.steady_ms || t->accepted_wall + m->cfg.ttl_ms <= m->now.wall_ms);
    return t->stale || ttl || model_must_have_expired(m, t);
}

/* ---- admission ---- */

static bool is_droppable(const struct model_message *t)
{
    return t->state == QUEUE_READY && !t->held;
}

static bool fits(const struct model *m, uint64_t count, uint64_t bytes)
{
    return count <= m->cfg.max_messages && bytes <= m->cfg.max_bytes;
}

enum queue_admission model_admits(struct model *m, uint32_t count, uint64_t bytes)
{
    uint64_t there = 0, there_bytes = 0, kept = 0, kept_bytes = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_DEAD)
            continue;
        there++;
        there_bytes += t->bytes;
        kept += !is_droppable(t);
        kept_bytes += is_droppable(t) ? 0 : t->bytes;
    }
    if (fits(m, there + count, there_bytes + bytes))
        return QUEUE_ADMIT;
    if (!fits(m, count, bytes) || m->cfg.overflow == QUEUE_REJECT)
        return QUEUE_REFUSE;
    bool helps = m->cfg.overflow == QUEUE_DROP_OLDEST && fits(m, kept + count, kept_bytes + bytes);
    return helps ? QUEUE_ADMIT : QUEUE_WAIT;
}

/* Of those without a key, what would be given next of its priority. */
static bool is_next_without_key(const struct model *m, const struct model_message *t)
{
    struct model_message *v[MODEL_MESSAGES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *o = &m->messages[i];
        if (is_droppable(o) && o->key == 0 && o->priority == t->priority && model_is_alone(m, o) == model_is_alone(m, t))
            v[n++] = (struct model_message *)(uintptr_t)o;
    }
    return best(v, n) == t;
}

static bool is_first_of_key(const struct model *m, const struct model_message *t)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *o = &m->messages[i];
        if (o != t && is_droppable(o) && o->key == t->key && o->turn < t->turn)
            return false;
    }
    return true;
}

/* The first of each line that may be dropped, whoever is leased before it. */
bool model_is_droppable_first(const struct model *m, const struct model_message *t)
{
    return is_droppable(t) && (t->key == 0 ? is_next_without_key(m, t) : is_first_of_key(m, t));
}

struct model_message *model_oldest(struct model *m)
{
    struct model_message *oldest = NULL;
    for (uint32_t i = 0; i < m->n; i++) {
        struct model_message *t = &m->messages[i];
        if (model_is_droppable_first(m, t) && (oldest == NULL || t->id < oldest->id))
            oldest = t;
    }
    return oldest;
}

/* ---- consumers ---- */

static uint32_t count_leases(const struct model *m, uint32_t consumer, bool only_started)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        n += t->state == QUEUE_LEASED && t->consumer == consumer && (!only_started || t->started);
    }
    return n;
}

uint32_t model_unanswered(const struct model *m, uint32_t consumer)
{
    return count_leases(m, consumer, false);
}

static bool holds_last_attempt(const struct model *m, uint32_t consumer)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_LEASED && t->consumer == consumer && model_is_alone(m, t))
            return true;
    }
    return false;
}

bool model_may_take(const struct model *m, uint32_t consumer)
{
    const struct model_consumer *c = &m->consumers[consumer];
    uint32_t n = model_unanswered(m, consumer);
    return c->here && !c->stopped && !m->paused && !holds_last_attempt(m, consumer) && n < c->prefetch && (c->measured || n < c->concurrency);
}

uint32_t model_hungry(const struct model *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < MODEL_CONSUMERS; i++)
        n += model_may_take(m, i) && model_unanswered(m, i) < m->consumers[i].concurrency;
    return n;
}

bool model_is_overdue(const struct model *m, uint32_t consumer)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_LEASED && t->consumer == consumer && t->started && t->limit <= m->now.mono_ms)
            return true;
    }
    return false;
}

struct model_message *model_oldest_lease(struct model *m, uint32_t consumer)
{
    struct model_message *oldest = NULL;
    for (uint32_t i = 0; i < m->n; i++) {
        struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_LEASED && t->consumer == consumer && (oldest == NULL || t->leased_order < oldest->leased_order))
            oldest = t;
    }
    return oldest;
}

/* The first ones, in the order in which they came, are started: as many as it does at once. */
static void start_waiting(struct model *m, uint32_t consumer)
{
    const struct model_consumer *c = &m->consumers[consumer];
    while (count_leases(m, consumer, true) < c->concurrency) {
        struct model_message *first = NULL;
        for (uint32_t i = 0; i < m->n; i++) {
            struct model_message *t = &m->messages[i];
            if (t->state == QUEUE_LEASED && t->consumer == consumer && !t->started && (first == NULL || t->leased_order < first->leased_order))
                first = t;
        }
        if (first == NULL)
            return;
        first->started = true;
        first->limit = c->time_limit == 0 ? UINT64_MAX : m->now.mono_ms + c->time_limit;
    }
}

/* ---- what happens to one ---- */

void model_lease(struct model *m, struct model_message *t, uint32_t consumer, uint64_t lease)
{
    t->state = QUEUE_LEASED;
    t->lease = lease;
    t->consumer = consumer;
    t->leased_order = ++m->counter;
    t->released_by = 0;
    start_waiting(m, consumer);
}

void model_end_lease(struct model *m, struct model_message *t)
{
    uint32_t consumer = t->consumer;
    t->state = QUEUE_READY;
    t->lease = 0;
    t->consumer = MODEL_NOBODY;
    t->started = false;
    t->redelivered = true;
    start_waiting(m, consumer);
}

bool model_failure_kills(const struct model *m, const struct model_message *t, bool fatal)
{
    bool at_once = t->key != 0 && m->cfg.order.on_failure == QUEUE_FAILURE_KILLS;
    return fatal || at_once || t->attempts + 1 >= m->cfg.max_attempts;
}

void model_die(struct model *m, struct model_message *t, enum queue_cause cause)
{
    t->state = t->stored_state = QUEUE_DEAD;
    t->died = t->stored_due = m->now.steady_ms;
    t->passed = 0;
    t->cause = cause;
}

void model_fail(struct model *m, struct model_message *t, bool fatal, enum queue_cause cause, uint64_t due)
{
    bool dead = model_failure_kills(m, t, fatal);
    t->attempts++;
    t->stored_attempts = t->attempts;
    t->releases = 0;
    t->released_by = 0;
    if (dead) {
        model_die(m, t, cause);
        return;
    }
    t->state = t->stored_state = QUEUE_DELAYED;
    t->due = t->stored_due = due;
    t->absolute = false;
    t->out_of_line = t->key != 0 && m->cfg.order.on_failure == QUEUE_FAILURE_SKIPS;
}

void model_backoff(const struct model *m, uint32_t attempts, uint64_t *least, uint64_t *most)
{
    double wait = (double)m->cfg.retry_initial_ms;
    for (uint32_t i = 1; i < attempts; i++)
        wait *= m->cfg.retry_factor;
    double max = (double)m->cfg.retry_max_ms;
    wait = wait < max ? wait : max;
    *least = (uint64_t)(wait * (1 - m->cfg.retry_jitter));
    *most = (uint64_t)(wait * (1 + m->cfg.retry_jitter));
}

/* 100 ms, doubling to 5 s. */
void model_release(struct model *m, struct model_message *t)
{
    uint64_t wait = 100;
    for (uint32_t i = 0; i < t->releases && wait < 5000; i++)
        wait *= 2;
    t->state = QUEUE_DELAYED;
    t->absolute = false;
    t->due = m->now.steady_ms + (wait < 5000 ? wait : 5000);
    t->releases++;
}

void model_return(struct model *m, struct model_message *t)
{
    (void)m;
    t->state = QUEUE_READY;
    t->by_age = true;
    t->place = t->id;
}

/* A first delivery joins now; what was delivered before has its place by its age. */
void model_become_ready(struct model *m, struct model_message *t)
{
    t->state = QUEUE_READY;
    t->out_of_line = false;
    if (t->attempts == 0 && t->releases == 0)
        join(m, t);
    else
        t->by_age = true;
    t->place = t->id;
}

uint64_t model_oldest_death(const struct model *m)
{
    uint64_t died = UINT64_MAX;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        if (t->state == QUEUE_DEAD && t->died < died)
            died = t->died;
    }
    return died;
}

/* ---- a restart ---- */

static int by_id(const void *a, const void *b)
{
    const struct model_message *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void restore(struct model *m, struct model_message *t)
{
    uint64_t latest = m->now.steady_ms + m->cfg.retry_max_ms;
    t->state = t->stored_state;
    t->attempts = t->stored_attempts;
    t->releases = t->released_by = 0;
    t->consumer = MODEL_NOBODY;
    t->lease = 0;
    t->absolute = t->asked_absolute && t->attempts == 0;
    t->held = t->body = t->wanted = t->started = false;
    t->redelivered = t->state != QUEUE_DEAD;
    t->by_age = t->attempts > 0 || t->key != 0;
    t->place = t->id;
    t->took_place = false;
    t->due = t->attempts > 0 && t->stored_due > latest ? latest : t->stored_due;
    t->out_of_line = t->key != 0 && t->attempts > 0 && m->cfg.order.on_failure == QUEUE_FAILURE_SKIPS;
    t->stale = t->expires != 0 && t->expires <= model_clock(m, !t->expires_relative);
    join(m, t);
}

void model_restart(struct model *m)
{
    memset(m->consumers, 0, sizeof m->consumers);
    qsort(m->messages, m->n, sizeof m->messages[0], by_id);
    for (uint32_t i = 0; i < m->n; i++)
        restore(m, &m->messages[i]);
}
