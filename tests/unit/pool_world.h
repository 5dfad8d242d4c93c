/* The pools' test world: the real hub over a store that keeps nothing, the real
 * nursery, real worker processes, one loop. Waiting is always for an event, with
 * a timeout that fails the test. */
#ifndef POOL_WORLD_H
#define POOL_WORLD_H

#include <uv.h>

#include "hub/hub.h"
#include "pool/nursery.h"
#include "pool/pool.h"

struct pool_world {
    uv_loop_t loop;
    uv_prepare_t prepare;
    uv_timer_t tick;
    struct hub *hub;
    struct nursery *nursery;
    struct pools *pools;
    struct sl_clock clock;
    bool in_turn, touched, late, drained, closed, nursery_died;
    uint32_t queue;
    uint64_t patience_ms;   /* of world_wait; 0: 20 s */
    struct sl_buf log;      /* every log line, with a NUL behind */
    struct sl_buf failures; /* "attempt=1 cause=exit detail=exit 3 tail=…\n" from the store's records */
};

void world_open(struct pool_world *w);
/* Drains the pools and waits until no worker is left. */
void world_drain(struct pool_world *w, uint64_t timeout_ms);
/* Drains if that was not done, waits for everybody, frees all. */
void world_close(struct pool_world *w);

/* A socket pool of one worker with the given behaviour (tests/workers/behave.c)
 * that tests change as they need. */
struct pool_config world_pool(const struct pool_world *w, const char *const *command);
void world_start(struct pool_world *w, const struct pool_config *cfg);
void world_publish(struct pool_world *w, const char *topic, struct sl_bytes payload);

/* Runs the loop until the log holds `text` `times` times. */
void world_wait_log(struct pool_world *w, const char *text, size_t times);
void world_wait(struct pool_world *w, bool (*until)(struct pool_world *w, uint64_t arg), uint64_t arg);
size_t world_logged(const struct pool_world *w, const char *text);
bool world_failed_with(const struct pool_world *w, const char *text);

bool world_acked(struct pool_world *w, uint64_t n);
bool world_delivered(struct pool_world *w, uint64_t n);
bool world_nursery_died(struct pool_world *w, uint64_t unused);
bool world_dead(struct pool_world *w, uint64_t n);
const struct queue_counters *world_counters(struct pool_world *w);
size_t world_open_fds(pid_t pid);
/* Zombies count. */
size_t world_children(pid_t pid);
size_t world_rss(pid_t pid);

#endif
