/* The pools' own structs, shared by their files:
 *
 *   pool.c     the pools, what the nursery reports, status
 *   drain.c    the orderly end
 *   slot.c     one place for a worker: start, end, backoff, restart
 *   worker.c   one process: its phases and timers, and how it is ended
 *   io.c       its pipes: reading, writing, closing
 *   output.c   its stdout and stderr as log lines, the last lines kept
 *   answers.c  what it says, handed to the hub
 *   held.c     what it holds
 *
 *                   spawned           HELLO (socket)
 *      SPAWNING ───────────▶ STARTING ──────────────▶ RUNNING
 *          │ failed             │ time is over           │ fault, time limit, drain, EOF
 *          ▼                    ▼                        ▼
 *        (gone) ◀─── exited ── ENDING ◀──────────────────┘
 */
#ifndef POOL_INTERNAL_H
#define POOL_INTERNAL_H

#include <uv.h>

#include "core/log.h"
#include "core/map.h"
#include "held.h"
#include "mode.h"
#include "pool/pool.h"

#define HELLO_MS_DEFAULT 10000u
#define TAIL_BYTES       2048u
#define OUTPUT_LINE_MAX  1024u
#define OUTPUT_LINES_S   100u         /* logged per worker slot and second */
#define KEPT_BYTES_MAX   (4u << 20)   /* publishes that wait for one delivery's ack */
#define FAULT_GRACE_MS   1000u        /* a worker that broke the protocol gets no more */

enum worker_state { WORKER_SPAWNING, WORKER_STARTING, WORKER_RUNNING, WORKER_ENDING };

/* Why it is ended; what hub_consumer_lost is told follows from it. */
enum worker_end { END_NONE, END_ORDERLY, END_FAULT, END_TIMEOUT, END_CLOSED, END_NURSERY };

/* What the worker's one timer is for. */
enum worker_clock { CLOCK_NONE, CLOCK_HELLO, CLOCK_SOFT, CLOCK_PATIENCE, CLOCK_GRACE };

enum worker_pipe { PIPE_MAIN /* socket, or its stdout */, PIPE_STDIN, PIPE_STDOUT, PIPE_STDERR, N_PIPES };

/* Bytes become lines. */
struct output_stream {
    const char *name;
    uint8_t line[OUTPUT_LINE_MAX];
    size_t n;
    bool overlong;
};

struct pool;
struct slot;

struct unpublished {
    uint32_t ref;
    uint64_t batch; /* the hub's, which stores it */
};

struct worker {
    struct slot *slot;
    uint64_t token;
    pid_t pid; /* 0: not known yet */
    enum worker_state state;
    enum worker_end end;
    enum worker_clock clock;
    int pending_signal; /* wanted before the pid was known */
    bool closed;        /* its main pipe has ended */
    bool bye;           /* it said that it goes */
    bool draining;
    bool wants_soft;
    bool close_stdin;   /* once all output is written */
    bool shut_main;     /* the same: nothing follows an ERROR */
    bool write_dead;    /* it no longer reads */
    bool writing;       /* `sending` is on its way */
    bool dirty;
    bool gone;          /* its process has ended */
    const char *fault;
    uint64_t running_since_ms;
    struct mode mode;
    struct held_table held;
    struct sl_buf in, out, sending;
    uint64_t result_bytes; /* exec: its stdout so far */
    struct output_stream streams[2];
    uint8_t tail[TAIL_BYTES];
    uint64_t tail_n; /* bytes ever */
    struct unpublished *unpublished;
    size_t n_unpublished, cap_unpublished;
    struct worker *next_dirty;
    uv_timer_t timer;
    uv_pipe_t pipes[N_PIPES];
    bool pipe_open[N_PIPES];
    uv_write_t write;
    unsigned n_handles;
};

struct slot {
    struct pool *pool;
    uint32_t number;
    struct worker *worker; /* NULL: none now */
    uint64_t consumer;     /* in the hub; 0: none */
    bool waiting;          /* for its restart */
    uint64_t backoff_ms;
    struct sl_log_limit output_limit;
    uv_timer_t timer;
};

struct pool {
    struct pools *pools;
    const struct pool_config *cfg;
    struct pool_config own; /* cfg points here: the copy with defaults filled in */
    const struct mode_ops *ops;
    struct slot *slots;
    uint64_t started, restarts, faults;
};

struct pools {
    struct pools_setup io;
    struct pool **v;
    uint32_t n;
    uint64_t next_token;
    struct sl_idmap by_token, by_pid; /* struct worker */
    uint32_t n_workers;               /* processes, also those that end */
    struct worker *dirty;
    size_t n_unpublished; /* over all workers */
    bool started, draining, nursery_dead, done_told;
    void (*done)(void *arg);
    void *done_arg;
    uv_timer_t drain_timer;
    uint32_t n_timers; /* handles to close before memory goes */
};

/* pool.c */
static inline struct hub *hub_of(const struct slot *s)
{
    return s->pool->pools->io.hub;
}
void turn_begin(const struct pools *p);
uint64_t pools_now(const struct pools *p);

/* drain.c */
void drain_worker(struct worker *w);
/* While draining, after answers: when it holds nothing more, it may go. */
void drain_progress(struct worker *w);
/* Tells `done` when nobody is left. */
void drain_check(struct pools *p);

/* slot.c */
extern const struct hub_consumer_ops slot_ops;
void slot_start(struct slot *s);
/* It becomes a consumer of the hub; inside a turn. `prefetch` 0: as configured. */
void slot_join(struct slot *s, uint32_t prefetch);
void slot_leave(struct slot *s, const struct hub_loss *loss);
/* Its process could not be started, or has ended; lived_ms: as a running one. */
void slot_ended(struct slot *s, bool crashed, uint64_t lived_ms);

/* worker.c */
SL_CHECK int worker_launch(struct slot *s, const struct mode_delivery *d);
void worker_spawned(struct worker *w, pid_t pid);
void worker_failed(struct worker *w, int error, const char *stage);
void worker_exited(struct worker *w, const struct nursery_exit *e);
void worker_lost_nursery(struct worker *w);
/* It is ready: a consumer from now on, inside a turn. `prefetch` as slot_join. */
void worker_run(struct worker *w, uint32_t prefetch);
void worker_signal(struct worker *w, int signum);
/* SIGTERM, `grace_ms` later SIGKILL; `why` is kept when one was there before. */
void worker_stop(struct worker *w, enum worker_end why, uint64_t grace_ms);
void worker_kill(struct worker *w, enum worker_end why);
void worker_fault(struct worker *w, const struct mode_error *e, struct sl_bytes input);
void worker_set_clock(struct worker *w, enum worker_clock clock, uint64_t ms);
/* A delivery was added or answered: starts the clocks of those that start now. */
void worker_update_started(struct worker *w);
void worker_free(struct worker *w);

/* io.c */
/* Makes the pipes; the worker's ends go into `fds`. SL_ESYS: nothing is open. */
SL_CHECK int io_open(struct worker *w, struct nursery_spawn *s);
void io_close(struct worker *w, enum worker_pipe which);
void io_close_all(struct worker *w);
/* What is still in the pipes of a process that has ended (decision 32). */
void io_read_rest(struct worker *w);
/* It has output: pools_flush comes by in this turn. */
void io_dirty(struct worker *w);
void io_flush(struct worker *w);

/* output.c */
void output_feed(struct worker *w, struct output_stream *s, struct sl_bytes in);
void output_end(struct worker *w);
/* Copies the last bytes in order; out has TAIL_BYTES. */
struct sl_bytes output_tail(const struct worker *w, uint8_t *out);

/* answers.c */
void answers_feed(struct worker *w);
/* exec: the exit is the answer. False: it is a loss. */
bool answers_by_exit(struct worker *w, int status);
/* PUBLISHED for what is on stable storage by now. */
void answers_published(struct worker *w);

#endif
