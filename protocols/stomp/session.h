/* The inside of a STOMP server session; shared by this room's session files.
 *
 *   OPENING ─CONNECT─▶ JUDGED ─connected()─▶ READY ─DISCONNECT─▶ LEAVING
 *      │                 │                     │          (older answers first)
 *      └─────────────────┴──── ERROR ──────────┴──▶ CLOSING ──▶ CLOSED
 *
 * An idle session is this struct alone: what it works with, input, output, ring
 * and transactions are allocated when used and freed when they have been empty
 * for STOMP_TRIM_MS. Who has never subscribed has no table of subscriptions. */
#ifndef STOMP_SESSION_H
#define STOMP_SESSION_H

#include "protocols/protocol.h"
#include "stomp/frame.h"

#define STOMP_TRIM_MS              1000u
#define STOMP_MAX_TRANSACTIONS     64u
#define STOMP_MAX_TRANSACTION_NAME 256u
/* Answers that one client may be owed: the caller stops reading long before. */
#define STOMP_MAX_OWED       65536u
#define STOMP_MAX_OWED_BYTES (1024u * 1024u)
/* Output that a peer leaves unread; beyond it is cut off. */
#define STOMP_MAX_OUTPUT (4u * 1024u * 1024u)
#define STOMP_MAX_SUBSCRIPTIONS 4096u
/* Of their names, in all. */
#define STOMP_MAX_SUBSCRIPTION_BYTES (1024u * 1024u)
#define STOMP_MAX_TEMP_NAME          256u

enum stomp_state {
    STOMP_OPENING,
    STOMP_JUDGED, /* CONNECT was given out, connected() has not come */
    STOMP_READY,
    STOMP_LEAVING, /* DISCONNECT was read; nothing more is */
    STOMP_CLOSING, /* the next event is PROTO_CLOSE */
    STOMP_CLOSED,
};

struct stomp_ring;
struct stomp_transactions;
struct stomp_subscriptions;

/* What was fed and what is kept of it. The current frame starts in `kept` if
 * that holds anything, else in `view`. */
struct stomp_input {
    struct sl_bytes view;
    struct sl_buf kept;
    struct stomp_scan scan; /* of the current frame */
    uint32_t borrowed;      /* the last bytes of `kept` that also stand before `view` */
    bool given;             /* the frame that `kept` starts with was given out */
};

/* The frame at hand: how it is taken apart, and how it is named while its event
 * is being answered. */
struct stomp_work {
    struct stomp_arena arena;
    struct sl_bytes head; /* its command and header lines; empty: no frame is at hand */
    uint32_t token;       /* 0: it has none */
    uint32_t received;    /* its slot, which is settled when it was not refused; 0: none */
    bool consuming;       /* its event is PROTO_CONSUME */
};

struct stomp_session {
    const struct protocol *protocol;
    const struct proto_config *cfg;
    struct stomp_input in;
    struct sl_buf out;
    struct stomp_work *work;
    struct stomp_ring *ring;
    struct stomp_transactions *transactions;
    struct stomp_subscriptions *subscriptions;
    uint64_t reply_key;
    const char *reason; /* of PROTO_CLOSE */
    uint64_t now_ms, last_in_ms, last_out_ms;
    uint32_t beat_in_ms, beat_out_ms; /* negotiated; 0: none */
    uint32_t ring_first;              /* token of the ring's oldest slot */
    uint32_t names_from;              /* a delivery's name has its consumer's number beyond this one */
    uint32_t delivered_s; /* when deliveries were noticed last; they come without a time */
    uint8_t state, version;
    bool paused : 1, delivered : 1;
    bool fresh : 1; /* connected() has no clock: heart-beats count from the next time told */
};

/* ---- input.c ---- */

/* The next complete frame. SL_EMORE, SL_EPEER (in.scan.fault); *raw is then
 * what was looked at. Its views live until stomp_input_release. */
SL_CHECK int stomp_input_frame(struct stomp_input *in, const struct stomp_rules *r,
                               struct sl_bytes *raw);
/* The frame that was given out is done with. */
void stomp_input_release(struct stomp_input *in);
/* The frame that was given out will be given out again. */
void stomp_input_again(struct stomp_input *in);
/* Copies what is left of the view. */
void stomp_input_keep(struct stomp_input *in);
/* Forgets everything. */
void stomp_input_drop(struct stomp_input *in);

/* ---- ring.c: answers leave in the order of their frames ---- */

/* A frame whose answer is settled: its receipt, if it asked for one, leaves when
 * all older answers have. */
void stomp_ring_settled(struct stomp_session *s, const struct stomp_frame *f);
/* The same for a frame that may be refused while it is at hand: its receipt
 * waits for what becomes of it. False: the ring is full, an error was answered. */
SL_CHECK bool stomp_ring_received(struct stomp_session *s, const struct stomp_frame *f);
/* A frame that answer() will settle: the token, 0 when the ring is full. */
SL_CHECK uint32_t stomp_ring_open(struct stomp_session *s, const struct stomp_frame *f);
/* The same; the session is over when its answer has left. */
SL_CHECK uint32_t stomp_ring_open_last(struct stomp_session *s, const struct stomp_frame *f);
/* Settles an open slot and lets out what is ready. */
void stomp_ring_answer(struct stomp_session *s, uint32_t token);
/* The receipt that the slot's frame asked for; false if none. */
bool stomp_ring_receipt(const struct stomp_session *s, uint32_t token, struct sl_bytes *receipt);
bool stomp_ring_idle(const struct stomp_session *s); /* memory without content */
void stomp_ring_free(struct stomp_session *s);

/* ---- transactions.c: the names that are open ---- */

bool stomp_transaction_is_open(const struct stomp_session *s, struct sl_bytes name);
/* SL_EEXIST, SL_EFULL; copies the name. */
SL_CHECK int stomp_transaction_open(struct stomp_session *s, struct sl_bytes name);
/* SL_ENOENT. */
SL_CHECK int stomp_transaction_close(struct stomp_session *s, struct sl_bytes name);
void stomp_transactions_free(struct stomp_session *s);

/* ---- subscriptions.c ---- */

struct stomp_subscription {
    uint32_t number; /* proto_consume.consumer */
    uint32_t name_n, temp_n, lead_n;
    uint8_t mode;    /* enum proto_ack_mode */
    bool from_queue;
    uint8_t text[];  /* name, reply topic, lead */
};

/* What a SUBSCRIBE asks for; views. */
struct stomp_wish {
    struct sl_bytes name;   /* 'i' and the id, or 'd' and the destination */
    struct sl_bytes temp;   /* its own reply topic; else empty */
    struct sl_bytes source; /* as in proto_consume */
    bool from_queue;
    enum proto_ack_mode mode;
    uint32_t credit;
};

/* SL_EEXIST: one of that name, or of that reply topic, stands. SL_EFULL. */
SL_CHECK int stomp_subscription_add(struct stomp_session *s, const struct stomp_wish *w,
                                    uint32_t *number);
/* NULL: there is none, or no longer. */
struct stomp_subscription *stomp_subscription_at(const struct stomp_session *s, uint32_t number);
/* By its name, or by its reply topic. */
struct stomp_subscription *stomp_subscription_called(const struct stomp_session *s,
                                                     struct sl_bytes text);
struct sl_bytes stomp_subscription_id(const struct stomp_subscription *sub);
/* What each of its messages starts with, up to the message's id. */
static inline struct sl_bytes stomp_subscription_lead(const struct stomp_subscription *sub)
{
    return sl_bytes_of(sub->text + sub->name_n + sub->temp_n, sub->lead_n);
}
/* The number given last; 0: none was. */
uint32_t stomp_subscription_last(const struct stomp_session *s);
void stomp_subscription_remove(struct stomp_session *s, struct stomp_subscription *sub);
void stomp_subscriptions_free(struct stomp_session *s);

/* ---- destination.c ---- */

enum stomp_place { STOMP_TO_NOWHERE, STOMP_TO_TOPIC, STOMP_TO_QUEUE, STOMP_TO_TEMP, STOMP_TO_REPLY };

/* `rest` is what follows the place. */
enum stomp_place stomp_place_of(struct sl_bytes destination, struct sl_bytes *rest);
/* Of what follows /topic/. */
struct sl_bytes stomp_topic_of(struct stomp_arena *a, struct sl_bytes rest);
bool stomp_topic_valid(struct sl_bytes topic);
/* The same as a filter; false: it is not one. */
bool stomp_filter_of(struct stomp_arena *a, struct sl_bytes rest, struct sl_bytes *filter);
/* Of what follows /temp-queue/; false: it is no name for one. */
bool stomp_temp_topic_of(struct stomp_session *s, struct sl_bytes name, struct sl_bytes *topic);
/* Of what follows /reply-queue/. */
bool stomp_reply_topic_of(struct stomp_arena *a, struct sl_bytes rest, struct sl_bytes *topic);
/* What follows /reply-queue/ is this connection's own: its name. */
bool stomp_temp_is_own(const struct stomp_session *s, struct sl_bytes rest, struct sl_bytes *name);
/* The way back; at most 3 bytes for each of the topic's, and 13. */
uint8_t *stomp_wr_topic(uint8_t *p, enum stomp_version v, struct sl_bytes topic);
uint8_t *stomp_wr_queue(uint8_t *p, enum stomp_version v, struct sl_bytes name);
uint8_t *stomp_wr_reply_to(uint8_t *p, enum stomp_version v, struct sl_bytes reply_to);

/* ---- message.c: as in protocol.h ---- */

struct proto_packets *stomp_packets_new(void);
void stomp_packets_free(struct proto_packets *p);
enum proto_delivered stomp_deliver(struct proto_session *p, const struct proto_delivery *d,
                                   struct proto_packets *packets);

/* ---- errors.c: ERROR frames, after which nothing is processed ---- */

enum stomp_error {
    STOMP_E_FAULTS, /* below it: enum stomp_fault */
    STOMP_E_NOT_CONNECTED = 32,
    STOMP_E_CONNECTED_ALREADY,
    STOMP_E_VERSION,
    STOMP_E_HEADER_MISSING,
    STOMP_E_HEADER_INVALID,
    STOMP_E_DESTINATION,
    STOMP_E_TOPIC,
    STOMP_E_SOURCE,
    STOMP_E_FILTER,
    STOMP_E_TEMP_NAME,
    STOMP_E_REPLY_FOREIGN,
    STOMP_E_SUBSCRIPTION_EXISTS,
    STOMP_E_SUBSCRIPTION_UNKNOWN,
    STOMP_E_SUBSCRIPTIONS_MANY,
    STOMP_E_NOT_SUPPORTED,
    STOMP_E_TRANSACTION_UNKNOWN,
    STOMP_E_TRANSACTION_EXISTS,
    STOMP_E_TRANSACTIONS_MANY,
    STOMP_E_RECEIPTS_MANY,
    STOMP_E_CONNECT_TIMEOUT,
    STOMP_E_HEART_BEAT,
    STOMP_E_CREDENTIALS,
    STOMP_E_DENIED,
    STOMP_E_CONNECTIONS_MANY,
    STOMP_E_RATE,
    STOMP_E_UNAVAILABLE,
    STOMP_E_QUOTA,
    STOMP_E_NOT_PERMITTED,
    STOMP_E_TARGET,
    STOMP_E_SOURCE_DENIED,
    STOMP_E_SOURCE_UNKNOWN,
    STOMP_E_CONSUMERS_MANY,
    STOMP_E_STORE,
    STOMP_E_TAKEOVER,
    STOMP_E_SHUTDOWN,
    STOMP_E_ADMIN,
    STOMP_E_MEMORY,
    STOMP_E_EARLY_DATA,
    STOMP_E_DELIVERY_UNKNOWN,
    STOMP_E_TRANSACTION_STALE,
    STOMP_E_TRANSACTION_LARGE,
    STOMP_E_SLOW,
    STOMP_E_ACK_TIMEOUT,
    STOMP_NERRORS
};

/* Writes ERROR and makes PROTO_CLOSE the next event. `head`: the offending
 * frame's bytes, for its receipt and for the explanation; may be empty.
 * `detail` ends the explanation; may be NULL. */
void stomp_fail(struct stomp_session *s, enum stomp_error e, struct sl_bytes head,
                const char *detail);
/* The same for a frame that was taken apart; false, for handlers to return. */
bool stomp_fail_frame(struct stomp_session *s, enum stomp_error e, const struct stomp_frame *f,
                      const char *detail);
/* The same for a frame that was answered with a refusal. */
void stomp_fail_answer(struct stomp_session *s, enum stomp_error e, uint32_t token);
/* Close without another word. */
void stomp_close(struct stomp_session *s, const char *reason);

/* ---- heartbeat.c ---- */

/* From the client's `heart-beat` header; false when it is malformed. */
bool stomp_heartbeat_agree(struct stomp_session *s, struct sl_bytes header);
void stomp_heartbeat_tick(struct stomp_session *s);
uint64_t stomp_heartbeat_deadline(const struct stomp_session *s);

/* ---- frames, one function each: true when *ev is an event ---- */

bool stomp_on_connect(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);
void stomp_accept(struct stomp_session *s, const struct proto_connected *a);
bool stomp_on_send(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);
bool stomp_on_begin(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);
bool stomp_on_commit(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);
bool stomp_on_abort(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);
bool stomp_on_disconnect(struct stomp_session *s, const struct stomp_frame *f,
                         struct proto_event *ev);
/* The event of a subscription that `f` asks for, or brings about. */
bool stomp_subscribe(struct stomp_session *s, const struct stomp_frame *f,
                     const struct stomp_wish *w, struct proto_event *ev);
bool stomp_on_subscribe(struct stomp_session *s, const struct stomp_frame *f,
                        struct proto_event *ev);
bool stomp_on_unsubscribe(struct stomp_session *s, const struct stomp_frame *f,
                          struct proto_event *ev);
bool stomp_on_ack(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev);

#endif
