/* What the files of the way to subscribers share: output.c (a connection's
 * output), deliver.c (offers and turns), settle.c (answers and ends). */
#ifndef HUB_DELIVER_H
#define HUB_DELIVER_H

#include "consumer.h"

#define ENTRY_BYTES sizeof(struct outbox_entry)

/* ---- output.c ---- */
/* The session's, while it is open. */
struct hub_client *connection_of(const struct session *s);
/* A message of so many bytes may go out; else it is told when it may be asked again. */
bool may_go_out(struct hub *h, struct hub_client *c, size_t bytes);
/* Fills in what is left of its life. */
enum proto_delivered send_delivery(struct hub *h, struct hub_client *c, struct proto_delivery *d);
/* In ms; 0: nothing is left; UINT64_MAX: it has no end. */
uint64_t life_left(const struct hub *h, const struct message *m);

/* ---- deliver.c ---- */
/* Memory for one more message that waits, and its session's queue for it. An empty
 * queue takes one message of any size: what a client may publish a subscriber may have. */
bool memory_takes(const struct hub *h, const struct message *m);
bool queue_takes(const struct hub *h, const struct session *s, const struct message *m);
/* Where it is about to be pushed. */
struct outbox *outbox_for(struct hub *h, struct session *s, const struct outbox_item *it);

/* ---- settle.c ---- */
/* A session holds the message: counted once, however many do. */
void hold(struct hub *h, struct message *m);
/* An entry that has left its outbox and is finished with. */
void entry_over(struct hub *h, const struct session *s, struct outbox_entry *e);
/* The same of the head of the queue, which leaves. */
void drop_head(struct hub *h, const struct session *s);

#endif
