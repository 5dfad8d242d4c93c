/* The inside of the nursery process: the files nursery_child.c (its loop and
 * orders), nursery_spawn.c (from an order to a running program) and
 * nursery_end.c (nobody survives it). Single thread, plain system calls. */
#ifndef POOL_NURSERY_CHILD_H
#define POOL_NURSERY_CHILD_H

#include "core/bytes.h"
#include "nursery_wire.h"

/* A worker between its fork and its reaping. */
struct nursery_worker {
    pid_t pid;
    uint64_t token;
    int stage_fd; /* the exec pipe; -1 once it told how the start went */
    uint64_t start_by_ms; /* CLOCK_MONOTONIC; while stage_fd is open */
    bool failed;  /* it never became the program: its end is not reported */
};

struct nursery_child {
    int sock;
    int signal_fd;
    int lock_fd; /* -1: none was sent */
    bool locked;
    uint64_t worker_nofile;
    uint64_t start_ms;
    struct nursery_worker *workers;
    size_t n_workers, cap_workers;
};

/* Runs until the gateway's end of `sock` closes; then all workers are gone. */
void nursery_child_run(int sock, const struct nursery_config *cfg);

/* What the child of the fork tells through the exec pipe when it fails. */
struct nursery_stage {
    int error;
    char name[NURSERY_STAGE_MAX];
};

/* Forks and lets the child become the program. `fds` stay the caller's. SL_OK:
 * *out is filled, the outcome comes through out->stage_fd: EOF when the program
 * runs, else a struct nursery_stage. SL_ESYS: errno. */
struct nursery_start {
    const struct nursery_spawn_order *order;
    const int *fds;
    uint64_t worker_nofile;
};
SL_CHECK int nursery_start(const struct nursery_start *s, struct nursery_worker *out);

/* Kills and reaps every descendant; returns when there is none. */
void nursery_end_all(const struct nursery_worker *workers, size_t n);

#endif
