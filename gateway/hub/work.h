/* What comes of work, as the hub keeps it: results.c, jobs.c. */
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

#endif
