/* STOMP's consumers: consume.c (they come and go), consumer_flow.c (what goes out
 * to them); their answers are acknowledge.c's. */
#ifndef HUB_CONSUMER_H
#define HUB_CONSUMER_H

#include "hub_internal.h"
#include "route/unacked.h"

/* One STOMP subscription: to a topic, with an anonymous session, or a consumer of a queue. */
struct client_consumer {
    struct client_consumer *next; /* the client's, in no order */
    struct hub_client *client;
    uint32_t number;              /* the client's name for it */
    uint8_t mode;                 /* enum proto_ack_mode */
    uint32_t credit;
    struct unacked unacked;       /* lease: the queue's; of a topic 0, nothing is kept of what was sent */
    struct session *session;      /* of a topic; else NULL */
    uint64_t consumer;            /* of a queue: hub_consumer's handle; 0 */
    bool paused;                  /* of a queue: its connection's output is full */
    bool left;                    /* it gets nothing more: only what a COMMIT that waits has answered is still its own */
    bool slow;                    /* of a topic: more waits for it than may; its connection is about to end */
    uint32_t bytes;               /* of memory, as counted last */
};

/* ---- consume.c: STOMP's consumers come and go ---- */
void on_consume(struct hub_client *c, uint32_t token, const struct proto_consume *p);
void on_cancel(struct hub_client *c, uint32_t token, uint32_t consumer);
/* NULL: it has none of that number. */
struct client_consumer *client_consumer(const struct hub_client *c, uint32_t number);
/* The connection ends, or is about to: leases go back at once. NULL: nobody is charged. */
void consumers_lose(struct hub_client *c, const struct hub_loss *loss);
/* It says goodbye: all goes back but what a COMMIT that waits has answered. */
void consumers_leave(struct hub_client *c);
/* That was answered, and it has left. */
void consumer_over(struct client_consumer *cc);
/* It is gone. Never while a message is given away. */
void consumers_free(struct hub_client *c);
void consumers_check(const struct hub *h);

/* ---- consumer_flow.c: what goes out to them ---- */
extern const struct hub_consumer_ops client_consumer_ops;
/* A message for a topic's consumer: into its output, or its outbox; who is too slow for that is
 * told so, and let go at its next turn. */
void consumer_offer(struct hub *h, struct client_consumer *cc, const struct outbox_item *it);
/* Its output has room, or it has credit: what waits goes out, its queues go on. */
void consumers_turn(struct hub *h, struct hub_client *c);
/* Would a turn bring anything? */
bool consumers_wait(const struct hub_client *c);
/* Something of its `unacked` was taken out. */
void consumer_answered(struct client_consumer *cc);
/* Its memory, as it is now; and counted anew. */
uint32_t consumer_bytes(const struct client_consumer *cc);
void consumer_count(struct client_consumer *cc);
/* Consumers elsewhere hold so much that those who hold anything get no more. */
bool lent_too_much(const struct hub *h);

#endif
