/* How long a pool waits after a worker has crashed, and when its crashes are a
 * loop. Pure.
 *
 * The wait is the pool's: it grows with each round of crashes, not with each of
 * many workers that died together, and starts anew when a worker ran ten times
 * as long as the last wait. Crashes in a row without one such life, and without
 * an answer, are a loop: then one worker at a time is tried. */
#ifndef POOL_CRASH_H
#define POOL_CRASH_H

#include <stdbool.h>
#include <stdint.h>

#define CRASH_LOOP_AFTER 5u

struct crash_config {
    uint64_t initial_ms, max_ms;
    double factor;
};

struct crash_loop {
    uint32_t in_row;
    uint64_t wait_ms;   /* 0: the last life was good */
    uint64_t raised_ms; /* who was started before died in the round that is counted already */
    uint64_t try_ms;    /* looping: the next worker is tried then */
    bool looping;
};

struct crash_life {
    uint64_t started_ms; /* its process */
    uint64_t lived_ms;   /* as a ready worker */
    bool answered;       /* at least one message */
};

/* A worker crashed: returns how long its place waits. */
uint64_t crash_wait(struct crash_loop *c, const struct crash_config *cfg, const struct crash_life *life, uint64_t now_ms);
/* How long a worker has to run to show that all is well again. */
uint64_t crash_good_ms(const struct crash_loop *c, const struct crash_config *cfg);
/* A worker answered, or has run for that long. True: a loop is over. */
bool crash_is_over(struct crash_loop *c);

#endif
