/* The gateway as one process: all rooms, assembled. */
#ifndef MAIN_GATEWAY_H
#define MAIN_GATEWAY_H

#include <sys/resource.h>
#include <uv.h>

#include "config/config.h"
#include "core/alloc.h"
#include "core/log.h"
#include "hub/hub.h"
#include "net/net.h"
#include "pool/nursery.h"
#include "pool/pool.h"
#include "store/committer.h"
#include "store/store.h"
#include "zones.h"

/* What is left to do before the process may end; each step waits for its own
 * event (stop.c). */
enum gateway_phase {
    GATEWAY_RUNNING,
    GATEWAY_ANSWERING, /* no intake, no leases; what was taken is answered */
    GATEWAY_DRAINING,  /* clients are leaving, workers finish */
    GATEWAY_CLOSING,   /* handles close */
};

struct pool_rlimits {
    struct nursery_rlimit v[NURSERY_RLIMITS_MAX];
};

/* The configured pools as their room wants them; its strings are the configuration's. */
struct gateway_pools {
    struct pool_config *v;
    struct pool_rlimits *rlimits;
    uint32_t n;
};

/* The configuration once more, from where it came from. SL_EINVAL: `faults`. */
struct gateway_source {
    int (*load)(const void *arg, struct config **out, struct config_faults *faults);
    const void *arg;
};

struct gateway {
    const struct config *cfg;
    struct gateway_source source;
    uv_loop_t loop;
    struct nursery *nursery;
    struct store *store;     /* durable */
    struct store *volatiles; /* for queues with "durable": false */
    struct committer *committer;
    struct hub *hub;
    struct net *net;
    struct pools *pools;
    struct hub_listener *listeners; /* one per configured listener */
    struct zones zones; /* of schedules: read at start, when there is but one thread */
    bool opened;                    /* loop and rooms of the shell exist */
    bool pools_started;             /* the old nursery has gone */

    /* turn.c */
    struct sl_clock clock;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_poll_t deadline;
    int deadline_fd;
    uint64_t deadline_us; /* what the timer is armed for */
    bool in_turn, touched;
    uint64_t turn_began_us;
    struct sl_histogram turn_us; /* what becomes ready during a turn waits for its end */

    /* stop.c */
    uv_signal_t signals[5];
    uv_timer_t patience, last_resort;
    enum gateway_phase phase;
    bool patience_over, workers_gone;
    int exit_status;
};

/* Everything that needs no loop yet: limits, nursery, store, hub, recovery.
 * Exit status on failure, after telling why; -1: go on. */
int gateway_setup(struct gateway *g, const struct config *cfg, const struct gateway_source *source);
/* Loop, rooms of the shell, listeners. As above. */
int gateway_open(struct gateway *g);
/* Runs until stopped; returns the exit status. Frees everything. */
int gateway_run(struct gateway *g);
void gateway_free(struct gateway *g);
void gateway_pools_of(const struct gateway *g, const struct config *cfg, struct gateway_pools *out);
void gateway_pools_fini(struct gateway_pools *pools);
/* What pools say about messages of one key. Inside a turn, or before the first one. */
void gateway_limit_keys(const struct gateway *g, const struct config *cfg);

/* ---- schedules.c ---- */
/* Reads the time zones that they name. Only while there is one thread. */
SL_CHECK int gateway_read_zones(struct gateway *g);
/* Whether all that they name have been read; false: `zone` is one that has not. */
bool gateway_has_zones(const struct gateway *g, const struct config *cfg, const char **zone);
/* To the hub. Inside a turn, or before the first one. */
void gateway_set_schedules(struct gateway *g, const struct config *cfg);

/* ---- turn.c ---- */
SL_CHECK int gateway_turns_start(struct gateway *g);
void gateway_begin(void *arg);
struct sl_now gateway_now(struct gateway *g);
void gateway_turns_stop(struct gateway *g);

/* ---- stop.c ---- */
void stop_watch(struct gateway *g);
/* `why`: for the log. */
void stop_begin(struct gateway *g, const char *why, int exit_status);
/* Called at the end of each turn: goes on when its phase is done. */
void stop_step(struct gateway *g);

/* ---- reload.c ---- */
/* Takes over what can be changed, or nothing; tells which. */
void gateway_reload(struct gateway *g);

/* ---- summary.c ---- */
void summary_log(struct gateway *g);

#endif
