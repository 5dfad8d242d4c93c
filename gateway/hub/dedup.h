/* Duplicates: keys that queues have seen. Queues without them pay one branch. */
#ifndef HUB_DEDUP_H
#define HUB_DEDUP_H

#include "hub_internal.h"

/* A queue was added. */
void dedup_attach(struct hub *h, uint32_t queue);
void dedup_free(struct hub_queue *hq);

/* Before a message enters: the queues that take it; a view until the next call. */
const struct route_set *dedup_sift(struct hub *h, const struct offer *o, const struct offer_item *it);
/* What it adds to the queue, beyond the one whose place it takes. */
void dedup_adds(const struct hub_queue *hq, const struct message *m, uint32_t *count, uint64_t *bytes);
/* queue_enqueue, or queue_replace; of a queue that has keys. */
uint32_t dedup_enqueue(struct hub *h, uint32_t queue, struct message *m, uint32_t flags);
/* Its entry is recorded: its key is, too, and what leaves for it. */
void dedup_entered(struct hub *h, uint32_t queue, const struct message *m, uint32_t entry);
/* The offer has entered: whether its answer waits for the whole batch. */
bool dedup_awaits(struct hub *h);
/* There is no room for the offer as a whole: is there for what of it is no duplicate? */
enum queue_admission dedup_admission(struct hub *h, const struct offer *o, enum queue_admission plain);

/* Keys that are over leave. */
void dedup_tick(struct hub *h);
uint64_t dedup_deadline_us(const struct hub *h);
uint64_t dedup_bytes(const struct hub_queue *hq);
void dedup_check(const struct hub_queue *hq);

#endif
