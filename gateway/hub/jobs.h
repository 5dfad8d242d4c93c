/* Status of jobs: messages that name themselves by a job-id. */
#ifndef HUB_JOBS_H
#define HUB_JOBS_H

#include "hub_internal.h"

/* A job in one more state: all other messages pay one branch. */
static inline bool message_is_job(const struct message *m)
{
    return sl_ld_u16le(m->record + MESSAGE_AT_JOB_ID) != 0;
}

/* It has entered its queues. */
void jobs_enter(struct hub *h, const struct message *m, const struct route_set *to);
/* The store had it at start, in that entry of the queue. */
void jobs_restored(struct hub *h, uint32_t queue, const struct queue_restored *r, uint32_t entry);
/* It was leased. */
void jobs_active(struct hub *h, uint32_t queue, const struct queue_delivery *d);
/* What a queue tells; before the change takes the message away. */
void jobs_changed(struct hub *h, uint32_t queue, const struct queue_change *c);
/* It is about to be done, with this result. */
void jobs_result(struct hub *h, uint32_t queue, const struct message *m, struct sl_bytes result);
/* Due progress and ends. */
void jobs_tick(struct hub *h);
uint64_t jobs_deadline_us(const struct hub *h);
/* What has changed in this turn is told to those who listen. */
void jobs_tell(struct hub *h);
void jobs_free(struct hub *h);
void jobs_check(const struct hub *h);

/* ---- for new subscriptions (retained_feed.c); a job is named by its message's id ---- */
bool filter_is_of_jobs(struct sl_bytes filter);
/* Appends the u64 names of jobs that the filter takes. */
void jobs_match(const struct hub *h, struct sl_bytes filter, struct sl_buf *out);
/* Its status as a message, a reference for the caller; NULL: it is not known any more. */
struct message *jobs_message(struct hub *h, uint64_t message_id);

#endif
