/* Pools: the worker processes of a queue, kept at their number.
 *
 *   start ─▶ STARTING ─▶ RUNNING ─▶ STOPPING ─▶ (exit) ─▶ wait ─▶ start
 *             spawn,      consumer    SIGTERM,             backoff after
 *             HELLO       of the hub  grace, SIGKILL       crashes
 *
 * A worker's answers are handed to the hub as they are read; what the hub
 * delivers waits in the worker's output until pools_flush, once per turn. How
 * bytes become answers is the mode's business: three sans-I/O files behind one
 * table (mode.h). Nothing here blocks, sleeps or forks: the nursery does that. */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "core/bytes.h"
#include "hub/hub.h"
#include "pool/nursery.h"

struct pools;

/* The shell's turn. */
struct pool_turn {
    void *arg;
    /* Before anything is handed to the hub from a libuv callback: hub_begin,
     * unless this turn has begun, and an end (hub_end, pools_flush) in this
     * iteration of the loop. */
    void (*begin)(void *arg);
    /* Output waits though no turn was begun: pools_flush is wanted soon. */
    void (*wake)(void *arg);
};

enum pool_mode { POOL_SOCKET, POOL_LINES, POOL_EXEC };

/* All pointers are borrowed for the life of the pools. */
struct pool_config {
    const char *name;
    uint32_t queue; /* the hub's index */
    const char *queue_name;
    const char *node;
    const char *const *command; /* ends in NULL */
    enum pool_mode mode;
    uint32_t workers;
    uint32_t prefetch, concurrency; /* exec: both are 1 */
    uint64_t time_limit_ms;         /* 0: none */
    uint64_t soft_time_limit_ms;    /* 0: none */
    uint64_t grace_ms;              /* from SIGTERM to SIGKILL */
    uint64_t hello_ms;              /* socket: until HELLO; 0: 10 s */
    uint64_t restart_initial_ms, restart_max_ms;
    double restart_factor;
    const char *const *env; /* "NAME=value", ends in NULL; or NULL */
    const char *cwd;
    const char *user, *group; /* or NULL */
    const struct nursery_rlimit *rlimits;
    size_t n_rlimits;
    int nice;
    uint32_t max_message, max_result; /* bytes */
};

struct pools_setup {
    struct uv_loop_s *loop;
    struct hub *hub;
    struct nursery *nursery; /* attached; its reports become the pools' */
    struct pool_turn turn;
};

/* Freed by pools_free. */
struct pools *pools_new(const struct pools_setup *setup) SL_CHECK;
/* Before pools_start. SL_EINVAL: no command, no workers, too many rlimits. */
SL_CHECK int pools_add(struct pools *p, const struct pool_config *cfg);
/* Once the nursery's lock is held: spawns the workers. */
void pools_start(struct pools *p);
/* After hub_lease, so that workers work while the batch is synced, and after
 * hub_end: writes every worker that has output. */
void pools_flush(struct pools *p);

/* Orderly end: no deliveries and no restarts from now on; workers are told and
 * finish what they started for up to `timeout_ms`; then SIGTERM, the pool's
 * grace, SIGKILL. `done` is called once, from the loop, when no worker process
 * is left. After pools_start or instead of it. */
void pools_drain(struct pools *p, uint64_t timeout_ms, void (*done)(void *arg), void *arg);
/* After pools_drain, which still calls `done`: SIGKILL to every worker now. */
void pools_kill(struct pools *p);
/* No worker process is left and no consumer is in the hub. */
bool pools_idle(const struct pools *p);
/* Only when idle. Memory goes when the handles have closed: run the loop until it is empty. */
void pools_free(struct pools *p);

struct pool_status {
    const char *name;
    uint32_t wanted, starting, running, stopping;
    uint32_t waiting;  /* slots that wait for their restart */
    uint64_t started;  /* processes ever */
    uint64_t restarts; /* after an end that was not asked for */
    uint64_t faults;   /* workers that broke their protocol */
};
uint32_t pools_count(const struct pools *p);
void pools_status(const struct pools *p, uint32_t index, struct pool_status *out);

#endif
