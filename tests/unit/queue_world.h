/* A model of a queue that is too simple to be wrong: an array of messages,
 * searched from end to end for everything. */
#ifndef TESTS_QUEUE_WORLD_H
#define TESTS_QUEUE_WORLD_H

#include "claims.h"

#include "core/alloc.h"
#include "core/rng.h"
#include "queue/queue.h"

#define LIVE_MAX  300u
#define CONSUMERS 6u

/* ---- the model ---- */

enum line { FIFO, RETURNED }; /* where a ready one waits */

struct thing {
    uint64_t id;
    struct message *msg; /* the store's, so to say */
    uint32_t entry, bytes;
    uint8_t priority;
    enum queue_state state;
    bool held, body, wanted, redelivered, absolute;
    enum line line;
    uint64_t joined; /* order in the fifo */
    uint32_t attempts, releases, released_by;
    uint64_t due, died_order, died;
    uint64_t expires;
    bool expires_relative;
    /* leased */
    uint64_t lease, leased_order, limit;
    uint32_t consumer;
    bool started;
};

struct taker {
    uint32_t slot; /* 0: none */
    uint32_t prefetch, concurrency;
    uint64_t time_limit;
    bool stopped, told, measured;
};

struct world {
    struct queue *q;
    struct queue_config cfg;
    struct sl_rng rng;
    struct sl_now now;
    struct thing things[LIVE_MAX];
    uint32_t n;
    struct taker takers[CONSUMERS];
    uint64_t last_id, counter, entered;
    uint64_t delivered, waiting, left, stale;
    uint64_t old_lease;
    uint64_t reached[QUEUE_NSTATES];
};

static inline uint64_t below(struct world *w, uint64_t n)
{
    return sl_rng_below(&w->rng, n);
}

static inline struct thing *by_id(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->things[i].id == id)
            return &w->things[i];
    }
    fail_msg("the queue knows %u, the model does not", (unsigned)id);
    return NULL;
}

static inline struct taker *by_slot(struct world *w, uint32_t slot)
{
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        if (w->takers[i].slot == slot)
            return &w->takers[i];
    }
    fail_msg("no consumer %u", slot);
    return NULL;
}

static inline void forget(struct world *w, struct thing *t)
{
    message_unref(t->msg);
    *t = w->things[--w->n];
    w->left++;
}

static inline uint32_t unanswered(const struct world *w, const struct taker *c, bool only_started)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        n += t->state == QUEUE_LEASED && t->consumer == c->slot && (!only_started || t->started);
    }
    return n;
}

static inline bool is_alone(const struct world *w, const struct thing *t)
{
    return t->attempts > 0 && t->attempts + 1 >= w->cfg.max_attempts;
}

static inline bool has_expired(const struct world *w, const struct thing *t)
{
    return t->expires != 0 &&
           t->expires <= (t->expires_relative ? w->now.steady_ms : w->now.wall_ms);
}

/* ---- who is next ---- */

/* Of the fifo the one that joined first, of the others the smallest id, of both the smaller id. */
static inline struct thing *first_of_band(struct world *w, uint8_t priority, bool alone)
{
    struct thing *fifo = NULL, *returned = NULL;
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[i];
        if (t->state != QUEUE_READY || t->held || t->priority != priority ||
            is_alone(w, t) != alone)
            continue;
        if (t->line == FIFO && (fifo == NULL || t->joined < fifo->joined))
            fifo = t;
        if (t->line == RETURNED && (returned == NULL || t->id < returned->id))
            returned = t;
    }
    if (fifo == NULL || returned == NULL)
        return fifo != NULL ? fifo : returned;
    return fifo->id < returned->id ? fifo : returned;
}

static inline struct thing *first_ready(struct world *w, bool alone)
{
    for (int p = 9; p >= 0; p--) {
        struct thing *t = first_of_band(w, (uint8_t)p, alone);
        if (t != NULL)
            return t;
    }
    return NULL;
}

static inline bool goes_before(const struct thing *a, const struct thing *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

static inline bool holds_last_attempt(const struct world *w, const struct taker *c)
{
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        if (t->state == QUEUE_LEASED && t->consumer == c->slot && is_alone(w, t))
            return true;
    }
    return false;
}

static inline bool may_take(const struct world *w, const struct taker *c)
{
    return c->slot != 0 && !c->stopped && !holds_last_attempt(w, c) &&
           unanswered(w, c, false) < c->prefetch &&
           (c->measured || unanswered(w, c, false) < c->concurrency);
}

/* Consumers that wait for work below their concurrency. */
static inline uint32_t hungry(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        const struct taker *c = &w->takers[i];
        n += may_take(w, c) && unanswered(w, c, false) < c->concurrency;
    }
    return n;
}

/* ---- moves ---- */

static inline void start_waiting(struct world *w, struct taker *c)
{
    while (unanswered(w, c, true) < c->concurrency) {
        struct thing *first = NULL;
        for (uint32_t i = 0; i < w->n; i++) {
            struct thing *t = &w->things[i];
            if (t->state == QUEUE_LEASED && t->consumer == c->slot && !t->started &&
                (first == NULL || t->leased_order < first->leased_order))
                first = t;
        }
        if (first == NULL)
            return;
        first->started = true;
        first->limit = c->time_limit == 0 ? UINT64_MAX : w->now.mono_ms + c->time_limit;
    }
}

static inline void end_lease(struct thing *t)
{
    t->lease = 0;
    t->consumer = 0;
    t->started = false;
    t->redelivered = true;
}

static inline void expect_change(const struct queue_change *c, const struct thing *t,
                                 enum queue_fate fate)
{
    assert_int_equal(c->id, t->id);
    assert_int_equal(c->entry, t->entry);
    assert_int_equal(c->fate, fate);
    assert_int_equal(c->state, t->state);
    assert_int_equal(c->attempts, t->attempts);
    assert_true((c->msg != NULL) == t->body);
}

static inline void expect_gone(struct world *w, const struct queue_change *c, enum queue_exit exit)
{
    struct thing *t = by_id(w, c->id);
    assert_int_equal(c->fate, QUEUE_GONE);
    assert_int_equal(c->exit, exit);
    assert_true((c->msg != NULL) == t->body);
    if (c->msg != NULL)
        message_unref(c->msg);
    forget(w, t);
}

static inline void expect_failed(struct world *w, struct thing *t, const struct queue_change *c,
                                 const uint64_t *delay)
{
    t->attempts++;
    t->releases = 0;
    t->released_by = 0;
    if (c->state == QUEUE_DEAD) {
        t->state = QUEUE_DEAD;
        t->died = w->now.steady_ms;
        t->died_order = ++w->counter;
        assert_int_equal(c->due_steady_ms, w->now.steady_ms);
    } else {
        assert_true(t->attempts < w->cfg.max_attempts);
        uint64_t wait = w->cfg.retry_initial_ms << (t->attempts - 1);
        wait = wait < w->cfg.retry_max_ms ? wait : w->cfg.retry_max_ms;
        uint64_t least = delay != NULL ? *delay : wait / 2,
                 most = delay != NULL ? *delay : wait * 3 / 2;
        t->state = QUEUE_DELAYED;
        t->absolute = false;
        t->due = c->due_steady_ms;
        assert_true(t->due >= w->now.steady_ms + least && t->due <= w->now.steady_ms + most);
    }
    expect_change(c, t, QUEUE_MOVED);
}

#endif
