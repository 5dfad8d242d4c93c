/* What the hub's files share about subscribers: who gets a message, how it
 * goes out, retained messages, $SYS, wills. A part of hub_internal.h, which
 * includes it. */
#ifndef HUB_SUBSCRIBERS_H
#define HUB_SUBSCRIBERS_H

#include "hub_internal.h"

/* ---- fanout.c: from a message to those who listen ---- */
/* Would anybody take it? */
bool has_audience(struct hub *h, struct sl_bytes topic);
/* Would anybody whose session outlives its connection? */
bool has_lasting_audience(struct hub *h, struct sl_bytes topic);
/* Gives it to everybody who takes its topic, except its publisher where that asked for No Local.
 * Records copies for persistent sessions; returns how many of those there are (they need the
 * message's body); deliveries.fanning.cloned tells whether somebody has a clone. */
uint32_t fan_out(struct hub *h, struct message *m);
/* What waited for a member of a shared subscription goes to another one; false: there is none. */
bool pass_on(struct hub *h, struct session *s, const struct outbox_entry *e, bool only_connected);

/* ---- deliver.c: from outboxes to connections ---- */
/* What stands in the store of a message that is offered to a session. */
enum offer_body {
    BODY_LOOSE,  /* nothing under its id: a persistent session gets a clone with an id of its own */
    BODY_FRESH,  /* nothing yet: the first copy of it records it under its id */
    BODY_STORED, /* its body, which others need: one more holder */
};
/* Gives one session one message: to its connection at once, or into its outbox, or drops it
 * at the limits, counted by name. True: a copy was recorded. */
bool session_offer(struct hub *h, struct session *s, const struct outbox_item *it, enum offer_body body);
/* How many more deliveries of QoS 1 and 2 its connection would take at once; 0: none, or there is no connection. */
uint32_t session_free(const struct session *s);
/* A message of so many bytes may go into its connection's output now. */
bool session_has_room(struct hub *h, const struct session *s, size_t bytes);
/* Places that are left in its queue; 0 also when there is no room for that message's bytes. */
uint32_t session_queue_free(const struct hub *h, const struct session *s, const struct message *m);
void on_settle(struct hub_client *c, const struct proto_settle *p);
/* A connection took the session and was told so: what is in flight goes out again. */
void session_resume(struct hub *h, struct session *s);
/* Its connection is gone: what waits for a member of a shared subscription may go to another. */
void session_detach(struct hub *h, struct session *s);
/* What waits for a session that ends: shared messages go to other members (decision 41), all else is dropped. */
void session_abandon(struct hub *h, struct session *s);
/* It is no member any more: what it has of that shared subscription is its own to finish. */
void session_unshare(struct session *s, uint32_t subscription);
/* A persistent session is one no more: what the store has of it goes. */
void session_unstore(struct hub *h, struct session *s);
/* BATCH_COPY came back. */
void copy_committed(struct hub *h, const struct batch_op *op);
/* At start: what waited for it. */
SL_CHECK int session_restore(struct hub *h, struct session *s, const struct outbox_item *it, uint16_t packet_id, bool released);
/* Something may go out to it: it has its turn. */
void deliver_soon(struct hub *h, struct hub_client *c);
/* Whatever may go out now does, within the turn's budget. */
void deliver_turn(struct hub *h);
/* Monotonic: until then who does not read at all keeps its connection; UINT64_MAX: for ever. */
uint64_t output_patience_ms(const struct hub_client *c);
void output_let_go(struct hub *h, struct hub_client *c);
void deliveries_begin(struct hub *h);
void deliveries_tick(struct hub *h);
uint64_t deliveries_deadline_us(const struct hub *h);
/* The connection is gone. */
void deliveries_forget(struct hub_client *c);
void deliveries_check(const struct hub *h);
void deliveries_free(struct hub *h);

/* ---- retained.c ---- */
/* Is there a slot for this topic at all? */
bool retained_has_slot(const struct hub *h, struct sl_bytes topic);
/* A message with RETAIN is published: false when there is no room for it. Recorded; the
 * publisher's answer has to wait for the batch. An empty one removes. */
bool retained_fits_in(struct hub *h, const struct message *m);
void retained_keep(struct hub *h, struct message *m);
/* A subscription was made: what is retained for it follows, at the pace of the connection. */
void retained_send(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t subscription_id);
/* Goes on with what waits while the connection takes it; false: nothing is left to be sent for this session. */
bool retained_pump(struct hub *h, struct session *s);
/* Is there more for it? */
bool retained_waits(const struct hub *h, const struct session *s);
/* UNSUBSCRIBE: no more for this filter. */
void retained_stop(struct hub *h, struct session *s, struct sl_bytes filter);
/* The session ends. */
void retained_forget(struct hub *h, struct session *s);
void feeds_free(struct hub *h);
/* The connection is gone: what of it a persistent session still has to get goes into its outbox. */
void retained_detach(struct hub *h, struct session *s);
#define FEED_EFFORT 256u
void retained_tick(struct hub *h);
uint64_t retained_deadline_us(const struct hub *h);

/* ---- sys.c: $SYS ---- */
struct sys *sys_new(void) SL_CHECK;
void sys_free(struct sys *s);
void sys_tick(struct hub *h);
uint64_t sys_deadline_us(const struct hub *h);
/* The values of now for a new subscription. */
void sys_send(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t subscription_id);

/* ---- will.c ---- */
/* false: all wills together would take too much memory. */
bool will_fits(const struct hub *h, const struct proto_connect *p);
/* The session has none. */
void will_keep(struct hub_client *c, const struct proto_connect *p);
/* An orderly goodbye. */
void will_forget(struct hub *h, struct session *s);
/* The connection is gone and the session goes on: it is published now or after its delay. */
void will_left(struct hub *h, struct session *s);
/* A new connection goes on with the session. */
void will_resumed(struct hub *h, struct session *s);
/* The session ends; its subscriptions are gone already. */
void will_end(struct hub *h, struct session *s);
void wills_tick(struct hub *h);
uint64_t wills_deadline_ms(const struct hub *h);
void wills_free(struct hub *h);

#endif
