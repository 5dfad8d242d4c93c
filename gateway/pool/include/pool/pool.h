/* Pools: the worker processes of a queue, kept at their number.
 *
 *   start ─▶ STARTING ─▶ RUNNING ─▶ STOPPING ─▶ (exit) ─▶ wait ─▶ start
 *             spawn,      consumer    SIGTERM,             backoff after
 *             HELLO       of the hub  grace, SIGKILL       crashes
 *
 * The number is fixed or follows the load (size.h). A worker that has worked
 * enough (recycle.h), that a rolling restart wants to go, or whose configuration
 * has changed leaves when its replacement is ready, and between messages.
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
#include "pool/recycle.h"
#include "pool/size.h"

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

/* Everything behind the pointers is copied. */
struct pool_config {
    const char *name;
    uint32_t queue; /* the hub's index */
    const char *queue_name;
    const char *node;
    const char *const *command; /* ends in NULL */
    enum pool_mode mode;
    uint32_t workers;        /* a fixed number; or 0, and `size` says it */
    struct size_config size;
    struct recycle_config recycle;
    uint32_t prefetch, concurrency; /* exec: both are 1; with batches both are batch_max */
    uint32_t batch_max;             /* 0, 1: no batches; never in exec */
    uint64_t batch_wait_ms;
    uint64_t max_rate;              /* messages per second; 0: any number */
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
    bool may_gain_privs; /* false: no_new_privs */
    bool has_oom_score_adj;
    int oom_score_adj;
    uint64_t watchdog_ms;          /* a worker that takes nothing for so long is replaced; 0: never */
    const char *worker_socket;     /* mode `socket`: where external workers join; or NULL */
    const char *worker_token;      /* that they have to know; or NULL */
    uint32_t worker_socket_mode;   /* rights of its file; 0: 0600 */
    uint32_t worker_socket_max;    /* connections; 0: 1,024 */
    uint64_t ack_timeout_ms;       /* the queue's: external workers' time limit */
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
/* Before pools_start. SL_EINVAL: no command, more workers at least than at most, none
 * at all and no worker_socket, too many rlimits. SL_ESYS: its worker_socket cannot be
 * opened, the log says why. */
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

/* ---- while they run; `index` as for pools_status ---- */

/* Nothing more is delivered to its workers; what they hold they finish. */
void pools_pause(struct pools *p, uint32_t index, bool paused);
/* Other bounds, until a reload that changes them. SL_EINVAL: max is 0 or less than min. */
SL_CHECK int pools_scale(struct pools *p, uint32_t index, uint32_t min, uint32_t max);
/* Rolling: each worker is replaced, one after the other, and is told to go only when its
 * replacement is ready. */
void pools_restart(struct pools *p, uint32_t index);
/* What is configured from now on: pools of a new name are started, those that are not
 * named any more are drained, those whose workers would be other ones are rolled; one
 * that is the same is not touched, and what workers cannot notice (their number, when
 * they are replaced) is changed under them. Indexes are then in the order given.
 * SL_EINVAL: as pools_add; nothing was changed. After pools_start. */
SL_CHECK int pools_reload(struct pools *p, const struct pool_config *cfgs, uint32_t n);

/* ---- status ---- */

struct pool_status {
    const char *name;
    uint32_t wanted, starting, running, stopping;
    uint32_t waiting;  /* slots that wait for their restart */
    uint32_t min, max;
    uint32_t outdated; /* workers that a rolling restart or a reload has still to replace */
    uint32_t crashes;  /* in a row, without a good life between them */
    bool crash_loop;   /* so many that one worker at a time is tried */
    bool paused;
    uint64_t started;  /* processes ever */
    uint64_t restarts; /* after an end that was not asked for */
    uint64_t faults;   /* workers that broke their protocol */
    uint64_t stuck;    /* that took nothing and were killed */
    uint32_t external; /* connections at the worker_socket */
    uint64_t joined, refused; /* external workers ever */
    uint64_t recycled[RECYCLE_CAUSES];
};
uint32_t pools_count(const struct pools *p);
/* UINT32_MAX: there is none of that name. */
uint32_t pools_find(const struct pools *p, const char *name);
void pools_status(const struct pools *p, uint32_t index, struct pool_status *out);

#endif
