/* What comes of work, as the hub keeps it: results.c, jobs.c, dead.c. */
#ifndef HUB_WORK_H
#define HUB_WORK_H

#include "core/map.h"
#include "core/timers.h"

/* Results that wait until the ack that they came with is stored, oldest first. */
struct results {
    struct waiting_result *head, *tail;
    uint64_t bytes;
};

struct job_list {
    struct job *first, *last;
};

/* Of messages that have a job-id (jobs.c). */
struct jobs {
    struct sl_strmap by_id;
    struct sl_idmap by_message;
    struct job_list running, ended;
    struct sl_timers timers;
    struct job *dirty;
    uint64_t bytes;
};

/* What may happen any number of times at once: the log tells of it once a second. */
struct told {
    uint64_t at_ms, since; /* 0: never; how many there were since */
};

/* It has happened once more: how often since the last line, when it is time for another; else 0. */
static inline uint64_t told_due(struct told *t, uint64_t mono_ms)
{
    uint64_t n = ++t->since;
    if (t->at_ms != 0 && mono_ms < t->at_ms + 1000)
        return 0;
    *t = (struct told){ .at_ms = mono_ms };
    return n;
}

/* Of a queue's dead letters: those that expired, and those over the cap. */
struct queue_deaths {
    uint32_t forward_to; /* where they go on to: index + 1; 0: they stay */
    struct told expired, dropped;
};

/* What goes on with dead letters (dead.c). */
struct dead_works {
    struct dead_work *first; /* in no order */
    uint64_t last_handle;
    uint32_t n;              /* of them, those that were asked for */
    uint64_t bytes;          /* of bodies that they hold */
};

#endif
