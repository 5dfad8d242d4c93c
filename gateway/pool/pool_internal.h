/* The pools' own structs, shared by their files:
 *
 *   pool.c     the pools, what the nursery reports
 *   staff.c    how many places there are, and how one worker takes another's
 *   watch.c    when that is looked at: load, age, memory
 *   control.c  pause, scale, restart, reload, status
 *   drain.c    the orderly end
 *   slot.c     one place for a worker: start, end, backoff, restart
 *   worker.c   one process: its phases and timers, and how it is ended
 *   io.c       its pipes: reading, writing, closing
 *   output.c   its stdout and stderr as log lines, the last lines kept
 *   answers.c  what it says, handed to the hub
 *   held.c     what it holds
 *   external.c, guest.c  workers that are not our processes (external.h)
 *   watchdog.c workers that take nothing
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
#include "core/rng.h"
#include "crash.h"
#include "held.h"
#include "mode.h"
#include "pool/pool.h"

#define TAIL_BYTES       2048u
#define OUTPUT_LINE_MAX  1024u
#define OUTPUT_MAX       (1u << 20)   /* that waits for a worker: then it gets nothing more */
#define OUTPUT_LINES_S   100u         /* logged per worker slot and second */
#define KEPT_BYTES_MAX   (4u << 20)   /* publishes that wait for one delivery's ack */
#define FAULT_GRACE_MS   1000u        /* a worker that broke the protocol gets no more */

enum worker_state { WORKER_SPAWNING, WORKER_STARTING, WORKER_RUNNING, WORKER_ENDING };

/* Why it is ended; what hub_consumer_lost is told follows from it. */
enum worker_end { END_NONE, END_ORDERLY, END_FAULT, END_TIMEOUT, END_CLOSED, END_NURSERY, END_IDLE /* it takes nothing */ };

/* What the worker's one timer is for. */
enum worker_clock { CLOCK_NONE, CLOCK_HELLO, CLOCK_SOFT, CLOCK_PATIENCE, CLOCK_GRACE, CLOCK_LEAVE /* external: to have gone */ };

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
struct guest;
struct external;

struct unpublished {
    uint32_t ref;
    uint64_t batch; /* the hub's, which stores it */
};

struct worker {
    struct slot *slot;
    struct guest *guest; /* external; NULL: a process of ours */
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
    bool gathers; /* HELLO: it may answer only when it has several */
    bool close_stdin;   /* once all output is written */
    bool shut_main;     /* the same: nothing follows an ERROR */
    bool write_dead;    /* it no longer reads */
    bool writing;       /* `sending` is on its way */
    bool stuffed;       /* so much output waits that it gets nothing more */
    bool deaf;          /* it does not read our answers: nor do we read what it writes */
    bool dirty;
    bool gone;          /* its process has ended */
    const char *fault;
    uint64_t running_since_ms;
    uint64_t started_ms; /* the order to start it */
    struct recycle recycle;
    enum recycle_cause due; /* it has worked enough */
    uint64_t rss_jobs;      /* what it had been given when its memory was read last */
    struct mode mode;
    struct held_table held;
    struct sl_buf in, out, sending;
    uint64_t written;      /* bytes of its output ever, up to `sending` */
    uint64_t fresh_end;    /* where the first delivery ends that it got when it held nothing; 0: none */
    uint64_t fresh_ms;     /* when that was */
    uint32_t owed;         /* answers of ours in the output */
    struct sl_buf result;  /* exec: its stdout so far, at most max_result */
    bool result_cut;       /* there was more */
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

/* A pair is an old worker and the slot of its replacement, which takes its place
 * when it is ready. It counts as one. */
struct slot {
    struct pools *pools; /* outlives the pool */
    struct pool *pool;
    uint32_t number;
    uint32_t at;           /* in pool.slots */
    struct worker *worker; /* NULL: none now */
    uint64_t consumer;     /* in the hub; 0: none */
    char name[80];         /* the consumer's, for operators: "ingest[4711]" */
    bool waiting;          /* for its restart */
    bool leaving;          /* goes with its worker */
    bool outdated;         /* to be replaced: a rolling restart, a reload */
    enum recycle_cause recycled; /* why it is replaced */
    struct slot *successor, *replaces; /* the pair */
    struct sl_log_limit output_limit;
    uv_timer_t timer;
};

/* A reload that changes a pool makes a new one of the same name; the old one stays
 * behind it until its last worker has gone. */
struct pool {
    struct pools *pools;
    const struct pool_config *cfg;
    struct pool_config own; /* cfg points here */
    const struct mode_ops *ops;
    uint32_t limit; /* of the hub, for max_rate; 0: none */
    struct slot **slots;
    uint32_t n_slots, cap_slots;
    struct pool *before; /* what it took the place of */
    struct pool *after;  /* what took its place */
    bool over;           /* no slot is filled again */
    bool paused;
    struct size size;
    struct crash_loop crash;
    uv_timer_t tick;
    uint64_t tick_ms; /* what it is armed for; UINT64_MAX: it is not */
    uint64_t rss_ms;  /* when memory is read next */
    uint64_t jobs;    /* deliveries ever */
    uint64_t rss_jobs; /* the same, when memory was read last */
    uint64_t started, restarts, faults, stuck;
    struct external *external; /* its worker_socket; NULL */
    struct guest *guests;
    uint32_t n_guests, n_silent;
    uint64_t joined, refused; /* external workers */
    struct sl_log_limit guest_lines; /* about those that come and go: strangers must not fill the log */
    uint64_t recycled[RECYCLE_CAUSES];
};

struct pools {
    struct pools_setup io;
    struct pool **v; /* the configured ones, then those that are over: n_all */
    uint32_t n, n_all;
    struct sl_rng rng;
    uint64_t next_token;
    struct sl_idmap by_token, by_pid; /* struct worker */
    uint32_t n_workers;               /* processes, also those that end */
    struct worker *dirty;
    size_t n_unpublished; /* over all workers */
    bool started, draining, nursery_dead, done_told;
    void (*done)(void *arg);
    void *done_arg;
    uv_timer_t drain_timer;
    uv_timer_t watchdog;
    uint64_t watchdog_ms; /* its period; 0: it does not run */
    uint32_t n_timers; /* handles to close before memory goes */
};

/* pool.c */
static inline struct hub *hub_of(const struct slot *s)
{
    return s->pools->io.hub;
}
static inline bool pools_ending(const struct pools *p)
{
    return p->draining || p->nursery_dead;
}
void turn_begin(const struct pools *p);
uint64_t pools_now(const struct pools *p);

/* The slot may be removed meanwhile. */
void pools_each_place(const struct pools *p, void (*fn)(struct slot *s)); /* also external ones */
void pools_each_slot(const struct pools *p, void (*fn)(struct slot *s));
/* `old`: what it takes the place of, or NULL. */
struct pool *pool_new(struct pools *p, const struct pool_config *cfg, const struct pool *old);
/* Out of its pool; its memory goes when its handle has closed. */
void slot_close(struct slot *s);
/* Those that are over and have no slot left. */
void pools_sweep(struct pools *p);
bool pool_config_valid(const struct pool_config *cfg);

/* staff.c */
struct slot *slot_new(struct pool *pool);
/* Its slots and those of the pools before it: all that work, a pair counts once. */
uint32_t staff_count(const struct pool *pool);
/* Adds or lets go until there are as many as are wanted. */
void staff_adjust(struct pool *pool);
/* Its worker is told to go; the slot goes with it. Inside a turn. */
void staff_retire(struct slot *s);
/* It became a consumer. Inside a turn. */
void staff_ready(struct slot *s);
/* Its worker answered something. */
void staff_answered(struct slot *s);
/* It is not to be filled again: removed. Inside a turn. */
bool staff_release(struct slot *s);
/* Replaces who is outdated or has worked enough, as far as it is time. */
void staff_renew(struct pool *pool);
/* The pool's workers live again: who waits for a restart need not. */
void staff_recovered(struct pool *pool);

/* watch.c */
void watch_init(struct pool *pool);
/* At the end of each turn: something may wait for a worker that is not there. */
void watch_turn(struct pool *pool);
/* Looks again at `ms` at the latest. */
void watch_until(struct pool *pool, uint64_t ms);

/* drain.c */
void drain_worker(struct worker *w);
/* While draining, after answers: when it holds nothing more, it may go. */
void drain_progress(struct worker *w);
/* Tells `done` when nobody is left. */
void drain_check(struct pools *p);

/* slot.c */
extern const struct hub_consumer_ops slot_ops;
void slot_start(struct slot *s);
/* It need not wait for its restart any longer. */
void slot_hurry(struct slot *s);
/* It becomes a consumer of the hub; inside a turn. `prefetch` 0: as configured. */
void slot_join(struct slot *s, uint32_t prefetch);
void slot_leave(struct slot *s, const struct hub_loss *loss);
/* Its process could not be started, or has ended. `life` NULL: that was no crash. */
void slot_ended(struct slot *s, const struct crash_life *life);

/* watchdog.c */
void watchdog_init(struct pools *p);
/* Looks as often as the pools want. */
void watchdog_set(struct pools *p);
/* A delivery was put into the output of one that held nothing. */
void watchdog_fresh(struct worker *w);
/* It has not read the first of what it was given when it held nothing: it has started none of it. */
bool watchdog_takes_nothing(const struct worker *w);

/* worker.c */
struct worker *worker_new(struct slot *s) SL_CHECK;
/* Out of every table; its memory goes when its handles have closed. */
void worker_detach(struct worker *w);
/* The time limit of what it starts; 0: none. */
uint64_t worker_time_limit_ms(const struct worker *w);
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
/* The connection of an external worker; takes the descriptor in every case. */
SL_CHECK int io_adopt(struct worker *w, int fd);
/* After its input and after its output: how much waits decides what it gets. */
void io_flow(struct worker *w);
/* Bytes of its output that it has got so far, read by it or not. */
uint64_t io_sent(const struct worker *w);
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
