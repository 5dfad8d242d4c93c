/* What comes of a worker's work: messages that it publishes, and results. */
#ifndef HUB_RESULTS_H
#define HUB_RESULTS_H

#include "hub_internal.h"

/* A publish without a connection: worker's, will. With MESSAGE_TO_QUEUE its topic names a queue.
 * SL_OK, SL_EINVAL, SL_ENOENT; SL_EFULL only when it must keep to the limits. */
SL_CHECK int publish_parts(struct hub *h, const struct message_parts *parts, bool over_limit);
/* The same of what must not be seen before the open batch is stored: queues lease it then, and
 * where only those who are connected listen they get it then. Keeps to the limits. */
SL_CHECK int publish_held(struct hub *h, const struct message_parts *parts);
/* Where such a publish goes; NULL: there is no such topic or queue, or it is one of the gateway's own. */
const struct route_set *publish_target(struct hub *h, const struct message_parts *parts);
/* "/queue/NAME" as workers and STOMP's clients write it becomes NAME, with MESSAGE_TO_QUEUE (decision 24). */
void publish_name_queue(struct message_parts *parts);
/* Results may be sent there: no wildcards, and under `$` only to reply destinations. */
bool reply_to_allowed(struct sl_bytes reply_to);
/* A message with it is accepted: counts one that no result will be sent to. */
void reply_to_judge(struct hub *h, struct sl_bytes reply_to);
/* An ACK that brings publishes or a result: `change` is recorded with them. */
void answer_step(struct hub *h, uint32_t queue, const struct queue_change *change, const struct hub_answer *a);
/* Records the end of a message; `brings`: what it became enters in the same batch. */
void settle_with(struct hub *h, uint32_t queue, const struct queue_change *change, bool brings);
/* What waited for a batch that is stored now goes out. */
void results_turn(struct hub *h);
void results_free(struct hub *h);

#endif
