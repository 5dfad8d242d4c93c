/* What operators do with queues and messages, and what they see of them.
 *
 * What may take long goes on in later turns, a bounded piece in each; it ends when
 * the hub drains or the store breaks. Callbacks come in a later turn, exactly once,
 * never inside the call that asked; at hub_free with what there is by then. They may
 * ask for more of this page, and nothing else of the hub. What they tell of is
 * recorded in the batch that is being filled: who promises it waits for that
 * (hub_batch_filling). */
#ifndef HUB_OPERATE_H
#define HUB_OPERATE_H

#include "hub/hub.h"

/* ---- a queue ---- */

/* Nothing is leased while it is paused: workers keep what they have, messages come in, retries come due. Stored
 * with the batch that is being filled (hub_batch_filling); it outlives a restart. */
void hub_queue_pause(struct hub *h, uint32_t queue, bool paused);

/* Takes out what stands now in one of `states` (QUEUE_STATE_BIT; never what is leased), and counts it as
 * purged. What comes later stays; so does what is leased when its turn comes. What a consumer gives
 * back meanwhile is as if it had been there. SL_ESTATE: one is under way in this queue, or the hub stops. */
SL_CHECK int hub_queue_purge(struct hub *h, uint32_t queue, uint32_t states);

struct hub_purge {
    bool running;
    uint64_t purged;
    uint64_t looked, total; /* entries */
};
/* The latest one of this queue; all zero: there was none. */
void hub_queue_purge_progress(const struct hub *h, uint32_t queue, struct hub_purge *out);

/* ---- a message ---- */

/* In how many queues. All zero: in none, it is unknown or has left. */
struct hub_cancelled {
    uint32_t cancelled;
    uint32_t leased; /* it cannot be cancelled any more */
    uint32_t dead;   /* it is a dead letter: those are dropped by their own functions */
    uint32_t refused; /* the store is broken: it would be back after a restart */
};
typedef void hub_cancel_cb(void *arg, uint64_t id, const struct hub_cancelled *c);

/* Looks for it in all queues, and takes it out where it is ready or delayed. SL_EFULL: too many are looked for. */
SL_CHECK int hub_cancel(struct hub *h, uint64_t id, hub_cancel_cb *cb, void *arg);
/* The same at once, by the table of jobs. SL_ENOENT: no such job is known. All zero: it has ended. */
SL_CHECK int hub_cancel_job(struct hub *h, struct sl_bytes job_id, struct hub_cancelled *out);

/* ---- looking ---- */

#define HUB_NAME_MAX 64u
struct hub_peeked {
    struct queue_peeked of; /* as the queue told it when it was asked; `msg` is borrowed during the callback, and
                             * NULL when the body could not be read, or the message left meanwhile */
    char consumer[HUB_NAME_MAX]; /* LEASED: hub_consumer_config.name, as much as fits; "": it gave none */
};
typedef void hub_peek_cb(void *arg, const struct hub_peeked *v, uint32_t n);
#define HUB_PEEK_MAX       1000u
#define HUB_PEEK_BYTES     (8u << 20) /* of bodies: the first message is told however large it is */

/* As queue_peek, with bodies: those that are in the store only are read there, and not kept. SL_EFULL: too many look. */
SL_CHECK int hub_peek(struct hub *h, uint32_t queue, enum queue_state state, uint32_t max, hub_peek_cb *cb, void *arg);

#endif
