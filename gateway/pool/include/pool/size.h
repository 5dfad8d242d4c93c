/* How many workers a pool wants: up quickly, down slowly.
 *
 *   pressure: something has waited for 100 ms while no worker has room
 *             ─▶ twice as many, at most every 150 ms, and never more than there
 *                are messages for; those that are still starting count
 *   calm:     for about 5 s fewer would have done ─▶ one leaves
 *   idle:     nothing to do for idle_ms ─▶ min at once; without it one stays
 *
 * Pure: what is seen, the time and the jitter come in, a number goes out, and
 * the time when to look again. There is none when nothing can change: a message
 * that waits is told by calling size_step again. */
#ifndef POOL_SIZE_H
#define POOL_SIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/rng.h"

#define SIZE_NEVER UINT64_MAX

struct size_config {
    uint32_t min, max;
    uint64_t idle_ms; /* 0: the last worker stays */
};

struct size_seen {
    uint64_t now_ms;
    uint64_t ready;     /* messages that wait for a worker */
    uint64_t oldest_ms; /* how long the oldest of them has waited */
    uint64_t jobs;      /* deliveries ever; only whether it changed matters */
    uint64_t started;   /* messages that are worked on */
    uint32_t starting;  /* workers that are not ready yet */
    uint32_t free;      /* workers that could start one more message */
    uint32_t concurrency;
};

struct size {
    struct size_config cfg;
    uint32_t wanted;
    uint64_t grow_ms; /* not before */
    uint64_t calm_ms; /* the window's end */
    uint64_t last_ms, busy_since_ms, jobs;
    uint64_t window_ms;
    double busy; /* workers' worth of work, times ms, in the window */
    double last_busy;
    uint64_t next_ms;
};

/* `wanted` is min. */
void size_init(struct size *s, const struct size_config *cfg, uint64_t now_ms);
/* Other bounds, from now on; `wanted` is moved into them. */
void size_set(struct size *s, const struct size_config *cfg, uint64_t now_ms);
/* Returns how many are wanted. */
uint32_t size_step(struct size *s, const struct size_seen *seen, struct sl_rng *rng);
/* When to look again at the latest; SIZE_NEVER: when something waits. */
static inline uint64_t size_next_ms(const struct size *s)
{
    return s->next_ms;
}
static inline bool size_is_fixed(const struct size *s)
{
    return s->cfg.min == s->cfg.max;
}

#endif
