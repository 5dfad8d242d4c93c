/* The nursery: the small process that is the parent of all workers (decision 31).
 *
 *   main ── nursery_fork (before loop, threads, store, listeners) ──▶ nursery ── fork, exec ──▶ workers
 *   main ── nursery_attach, nursery_lock, spawn, kill ─── orders and descriptors ───▶
 *        ◀── locked, spawned, failed, exited ── reports ───
 *
 * It holds the lock of the data directory for as long as a worker may live: when
 * the gateway's end of the socket closes (also by kill -9) it kills every worker
 * and their descendants, waits for them, and goes; only then is the lock free
 * for the next gateway's nursery.
 *
 * All calls of the gateway's side are asynchronous and never block the loop. */
#ifndef POOL_NURSERY_H
#define POOL_NURSERY_H

#include <sys/types.h>

#include "core/bytes.h"

struct uv_loop_s;
struct nursery;

struct nursery_config {
    uint64_t worker_nofile; /* workers' soft RLIMIT_NOFILE (decision 49); 0: what it is at nursery_fork */
    uint64_t start_ms;      /* a worker whose program does not run by then has failed to start; 0: 10 s */
};

/* Forks. The caller must have one thread, and nothing open that must not be
 * shared for a moment. Only the gateway's side returns. SL_ESYS. Afterwards
 * SIGCHLD belongs to the caller: the nursery is its child. */
SL_CHECK int nursery_fork(const struct nursery_config *cfg, struct nursery **out);
pid_t nursery_pid(const struct nursery *n);

/* For main. Both are called from the loop. */
struct nursery_events {
    void *arg;
    /* The lock of nursery_lock is held: no worker of an older gateway lives. */
    void (*locked)(void *arg, int err); /* SL_OK, SL_ESYS */
    /* It died, and all workers with it: drain and exit 1. Not after nursery_close. */
    void (*dead)(void *arg);
};
/* Once, before anything below. `events` is copied. SL_ESYS. */
SL_CHECK int nursery_attach(struct nursery *n, struct uv_loop_s *loop, const struct nursery_events *events);

/* Takes `fd` (closes it when it was sent). The nursery waits, however long, for
 * flock(LOCK_EX) on it and holds it until it ends; then `locked` is called. */
void nursery_lock(struct nursery *n, int fd);

/* Ends the nursery: it kills what still runs, waits for it and exits. `done` is
 * called from the loop when it has gone; the nursery is freed then. */
void nursery_close(struct nursery *n, void (*done)(void *arg), void *arg);

/* ---- for the pools ---- */

struct nursery_exit {
    pid_t pid;
    int status; /* as waitpid gives it */
    uint64_t user_us, system_us;
    uint64_t max_rss_bytes;
};

struct nursery_reports {
    void *arg;
    void (*spawned)(void *arg, uint64_t token, pid_t pid);
    /* `stage` names what failed ("exec", "chdir", …), `error` is its errno. No exit follows. */
    void (*failed)(void *arg, uint64_t token, int error, const char *stage);
    void (*exited)(void *arg, const struct nursery_exit *e);
    void (*dead)(void *arg); /* before nursery_events.dead */
};
/* Copied; replaces what was there. NULL: nobody. */
void nursery_listen(struct nursery *n, const struct nursery_reports *reports);

#define NURSERY_FDS_MAX 8
#define NURSERY_RLIMITS_MAX 16
#define NURSERY_ORDER_MAX (192u << 10) /* all strings of one order together */

struct nursery_fd {
    int fd;     /* here */
    int number; /* in the worker */
};

struct nursery_rlimit {
    int resource; /* RLIMIT_… */
    uint64_t value; /* soft and hard */
};

struct nursery_spawn {
    uint64_t token;          /* the caller's name for it, told in the report */
    const char *const *argv; /* ends in NULL; argv[0] is found by PATH */
    const char *const *env;  /* "NAME=value", added to the gateway's own; ends in NULL; or NULL */
    const char *const *more_env; /* the same, after and over `env` */
    const char *cwd;         /* or NULL */
    const char *user, *group; /* name or number; or NULL: the gateway's */
    struct nursery_fd fds[NURSERY_FDS_MAX];
    size_t n_fds; /* 0, 1 and 2 are /dev/null when not among them; all others are closed */
    struct nursery_rlimit rlimits[NURSERY_RLIMITS_MAX];
    size_t n_rlimits;
    int nice; /* 0: as it is */
    bool no_new_privs;
    bool has_oom_score_adj; /* false: as it is */
    int oom_score_adj;      /* lowering it needs rights */
};
/* Takes the descriptors in every case. The strings are copied. Exactly one of
 * `spawned` and `failed` follows, from the loop, unless the nursery dies. */
void nursery_spawn(struct nursery *n, const struct nursery_spawn *s);
/* `group`: the worker's whole process group. A pid that is no living worker is ignored. */
void nursery_kill(struct nursery *n, pid_t pid, int signum, bool group);

#endif
