/* What waits for one subscriber, and what is on its way to it. Pure.
 *
 *   push ──▶ queue ──number──▶ flight: UNSENT ──sent──▶ SENT ──PUBACK──▶ gone
 *              │                 ▲                       │ PUBREC
 *              │ QoS 0: pop      └──── resume (dup) ─────┤
 *              ▼                                         ▼
 *             gone                                    RELEASED ──PUBCOMP──▶ gone
 *
 * The queue is in the order of acceptance and has no packet ids; the flight is
 * in the order of sending, each with its packet id [MQTT-2.2.1-4], [MQTT-4.6.0-*].
 * A resumed session sends its flight again in the same order and under the same
 * ids [MQTT-4.4.0-1]. An entry of the flight may be held until it is stored
 * (decision 5). */
#ifndef ROUTE_OUTBOX_H
#define ROUTE_OUTBOX_H

#include "core/err.h"
#include "core/message.h"

#define OUTBOX_FLIGHT_MAX 65535u /* packet ids there are */

enum outbox_state { OUTBOX_QUEUED, OUTBOX_UNSENT, OUTBOX_SENT, OUTBOX_RELEASED };

struct outbox_entry {
    struct message *msg;   /* a reference of the outbox's own */
    union {
        uint32_t id;       /* n_ids 1 */
        uint32_t *ids;     /* n_ids over 1: owned */
    };
    uint32_t n_ids;        /* subscription ids */
    uint16_t packet_id;    /* 0: none yet */
    uint8_t qos;
    uint8_t state;         /* enum outbox_state */
    uint32_t place;        /* of the copy's last record in its batch */
    uint16_t subscription; /* its number within the session, when it is shared; 0: not known; or: */
#define OUTBOX_NO_SUBSCRIPTION UINT16_MAX /* it is not there any more */
    bool retain : 1, dup : 1, held : 1;
    bool shared : 1;       /* of a shared subscription: another member may have it */
    bool recorded : 1;     /* a copy of it stands in the store: the caller's, as is `place` */
    bool due : 1, counted : 1, done : 1; /* outbox.c's */
};

/* What is pushed; the message is shared, the ids are copied. */
struct outbox_item {
    struct message *msg;
    uint8_t qos;
    bool retain, shared;
    uint16_t subscription;
    const uint32_t *ids;
    uint32_t n_ids;
};

struct outbox;

struct outbox *outbox_new(void) SL_CHECK;
/* Drops references. */
void outbox_free(struct outbox *o);
bool outbox_empty(const struct outbox *o);
uint32_t outbox_queued(const struct outbox *o);       /* entries of the queue */
uint32_t outbox_queued_qos0(const struct outbox *o);  /* of them, those of QoS 0 */
uint64_t outbox_queued_bytes(const struct outbox *o); /* of their messages, as message_bytes */
uint32_t outbox_in_flight(const struct outbox *o);    /* entries of the flight */
/* Of them, what counts against the receive maximum of this connection: published
 * on it and not finished (section 4.9). */
uint32_t outbox_unanswered(const struct outbox *o);
/* Memory held beside the messages. */
size_t outbox_bytes(const struct outbox *o);
static inline const uint32_t *outbox_ids(const struct outbox_entry *e)
{
    return e->n_ids > 1 ? e->ids : &e->id;
}

/* At the end of the queue; shares the message. The pointers that are given out die at the next call. */
struct outbox_entry *outbox_push(struct outbox *o, const struct outbox_item *it);
/* The head of the queue; NULL: it is empty. */
struct outbox_entry *outbox_head(struct outbox *o);
/* Drops the head of the queue. */
void outbox_pop(struct outbox *o);
/* Moves the head of the queue, of QoS 1 or 2, to the end of the flight under an id that is not in use.
 * There must be one: at most OUTBOX_FLIGHT_MAX are in flight. */
struct outbox_entry *outbox_number(struct outbox *o);
/* outbox_push and outbox_number in one, of QoS 1 or 2, when the queue is empty. */
struct outbox_entry *outbox_push_numbered(struct outbox *o, const struct outbox_item *it);
/* The oldest of the flight that has to go out on this connection: UNSENT, or
 * RELEASED and its PUBREL not sent on this connection yet; NULL: none, or the
 * oldest such is UNSENT and held. A RELEASED one that is held keeps nobody
 * waiting: its PUBREL is due when it is stored. */
struct outbox_entry *outbox_next(struct outbox *o);
/* That one went out. (One that cannot be sent, too large or expired, is "sent" and then outbox_refused.) */
void outbox_sent(struct outbox *o);
/* What it waits for is stored: it is no longer held. An earlier record of it frees
 * nothing: SL_ENOENT, as when no entry that is held has that id, message and state. */
SL_CHECK int outbox_unhold(struct outbox *o, uint16_t packet_id, uint64_t message_id, bool released);

/* The entry of the flight whose PUBLISH the client has seen under that id; NULL: there is none. */
const struct outbox_entry *outbox_published(struct outbox *o, uint16_t packet_id);

/* Answers. SL_ENOENT: no entry has that id, or it is not of the QoS or in the
 * state that the answer belongs to: nothing changed. One that was sent on an
 * earlier connection may be answered before it is sent again on this one. */
/* PUBACK, PUBCOMP, or a PUBREC that refuses: the entry leaves; *out has its
 * message and `recorded`, the reference now being the caller's. */
SL_CHECK int outbox_acked(struct outbox *o, uint16_t packet_id, struct outbox_entry *out);     /* QoS 1 */
SL_CHECK int outbox_completed(struct outbox *o, uint16_t packet_id, struct outbox_entry *out); /* QoS 2 */
SL_CHECK int outbox_refused(struct outbox *o, uint16_t packet_id, struct outbox_entry *out);   /* QoS 1 and 2, not released */
/* PUBREC: RELEASED; the caller sends PUBREL (at once, or when that is stored:
 * then it sets `held`, and outbox_next gives it out when that is taken away).
 * The body is needed no longer than to tell which message it was. */
SL_CHECK int outbox_received(struct outbox *o, uint16_t packet_id, struct outbox_entry **out);

/* A new connection took the session: the flight is to be sent again; what was
 * SENT is UNSENT with dup. */
void outbox_resume(struct outbox *o);

/* Room: drops the oldest queued entry of QoS 0; false: there is none. *out as in outbox_acked. */
bool outbox_shed_qos0(struct outbox *o, struct outbox_entry *out);
/* Takes the oldest entry out of the queue whatever it is, or, when that is empty,
 * the oldest of the flight: for a session that ends. false: nothing is left. */
bool outbox_take(struct outbox *o, struct outbox_entry *out);
/* Restoring, in the order of the messages' ids: into the flight with its packet id (SENT
 * or RELEASED before the crash: resume follows), or with packet id 0 into the queue. SL_EEXIST: the packet id
 * is in use; SL_EINVAL: there is no such entry (QoS 0, or released without QoS 2 and an id). */
SL_CHECK int outbox_restore(struct outbox *o, const struct outbox_item *it, uint16_t packet_id, bool released);
/* What the caller owns of an entry that it was given: its ids. */
void outbox_entry_fini(struct outbox_entry *e);

/* Every entry, the flight first: *pos starts at 0; NULL at the end. Meanwhile nothing enters or leaves. */
struct outbox_entry *outbox_walk(struct outbox *o, uint32_t *pos);

/* Aborts when an invariant does not hold; for tests. */
void outbox_check(const struct outbox *o);

#endif
