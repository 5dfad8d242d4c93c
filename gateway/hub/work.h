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

/* Of a queue's dead letters. Many may expire at once: the log tells of them, and of those over
 * the cap, once a second. */
struct told {
    uint64_t at_ms, since; /* 0: never; how many there were since */
};
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
