/* One client's connection as the server sees it. Inside the room.
 *
 *   AWAIT_CONNECT ──CONNECT──▶ AWAIT_VERDICT ──connected()──▶ OPEN
 *         │                          │ refused                 │ fault, timeout, goodbye, shutdown
 *         └──────────────────────────┴────────────┬────────────┘
 *                                              CLOSING ──PROTO_CLOSE given out──▶ CLOSED
 *
 * An idle session is this struct and, where the client uses them, its aliases:
 * input, output, ring and lists are allocated when used and given back when idle. */
#ifndef MQTT_SESSION_H
#define MQTT_SESSION_H

#include "ack_ring.h"
#include "mqtt/packet.h"
#include "protocols/protocol.h"

enum mqtt_state { MQTT_AWAIT_CONNECT, MQTT_AWAIT_VERDICT, MQTT_OPEN, MQTT_CLOSING, MQTT_CLOSED };

struct mqtt_aliases;
struct mqtt_out_aliases;

struct mqtt_lists {
    size_t bytes;
    union {
        struct message_header header;
        struct proto_filter filter;
    } v[]; /* whichever the packet has */
};

struct mqtt_session {
    const struct protocol *protocol;
    const struct proto_config *cfg;
    struct sl_bytes in; /* fed and not read yet */
    struct sl_buf part; /* what has to outlive the fed view; read before `in` */
    struct sl_buf out;
    struct mqtt_ring *ring;
    struct mqtt_aliases *aliases;         /* the client's */
    struct mqtt_out_aliases *out_aliases; /* ours */
    struct mqtt_lists *lists;             /* what the last packet repeats: headers or filters */
    uint64_t heard_ms;
    uint64_t swept_ms;    /* when unused memory was looked for, and there was none */
    union {
        uint64_t close_at_ms;   /* connect timeout, reject grace; UINT64_MAX: none */
        const char *close_word; /* once CLOSING */
    };
    uint32_t client_max_packet;
    uint16_t keep_alive_s;     /* in force; 0: none */
    uint16_t publishes_open;   /* MQTT 5: QoS 1 and 2 without PUBACK or PUBCOMP */
    uint16_t client_alias_max; /* topic aliases that we may set */
    uint8_t state;             /* enum mqtt_state */
    uint8_t version;           /* enum mqtt_version, of the CONNECT */
    uint8_t close_reason;      /* of the reject grace */
    bool paused : 1;
    bool parked : 1;           /* a publish waits for room: control packets overtake its answer */
    bool silence_from_now : 1; /* the keep-alive clock starts at the next tick */
    bool delivered_lately : 1; /* since unused memory was looked for */
    bool delivers : 1;         /* something was delivered on this connection */
    bool id_was_empty : 1, keep_alive_capped : 1, expiry_capped : 1, expiry_was_zero : 1;
    bool wants_reasons : 1;  /* Request Problem Information of a CONNECT that was read */
    bool wants_response : 1; /* Request Response Information */
};

/* A session's memory is asked of malloc in steps of 16 bytes less 8. */
_Static_assert(sizeof(struct mqtt_session) <= 184, "an idle connection is small");

static inline bool mqtt_over(const struct mqtt_session *s)
{
    return s->state >= MQTT_CLOSING;
}

/* ---- input ---- */

/* As struct protocol has them. */
void mqtt_feed(struct proto_session *p, struct sl_bytes in, uint64_t now_ms);
void mqtt_hold(struct proto_session *p);
/* The next whole packet; results as mqtt_frame_read(). With SL_EMORE all input
 * was copied. The frame's views live until the next call. */
SL_CHECK int mqtt_input_frame(struct mqtt_session *s, struct mqtt_frame *f);
/* Copies what was fed and not read. */
void mqtt_input_keep(struct mqtt_session *s);
void mqtt_input_drop(struct mqtt_session *s);
/* The first byte that is not read yet, or -1. */
int mqtt_input_peek(const struct mqtt_session *s);
/* Bytes that a packet may have once the connection is open. */
uint32_t mqtt_packet_limit(const struct proto_config *cfg);

/* ---- output and answers ---- */

/* What the client said is too large for it is not sent [MQTT-3.1.2-24]. */
static inline bool mqtt_client_takes(const struct mqtt_session *s, size_t n)
{
    return s->client_max_packet == 0 || n <= s->client_max_packet;
}

/* Appends to the output; what is too large for the client is left out. */
void mqtt_send(struct mqtt_session *s, struct sl_bytes packet);
/* PUBACK, PUBREC, PUBREL or PUBCOMP, in the shortest form. */
void mqtt_send_ack(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, uint8_t reason);
/* CONNACK or DISCONNECT of MQTT 5: `head` is what stands before its
 * properties, the word is told to who wants reasons. */
void mqtt_send_reason(struct mqtt_session *s, enum mqtt_type type, struct sl_bytes head,
                      const char *word);
/* Takes a slot for a frame; 0: the connection was closed, it owes too much. */
uint32_t mqtt_owe(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id);
/* PUBACK; `print` tells its message from others of the same packet id. */
uint32_t mqtt_owe_puback(struct mqtt_session *s, uint16_t packet_id, uint16_t print);
/* A PUBACK for that is owed already, and refuses nothing. */
bool mqtt_owes_puback(const struct mqtt_session *s, uint16_t packet_id, uint16_t print);
bool mqtt_owed(const struct proto_session *p, uint32_t *token, struct proto_owed *out);
/* The same for a SUBSCRIBE or UNSUBSCRIBE, whose answer has a code for each of
 * n filters. */
uint32_t mqtt_owe_codes(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, size_t n);
/* Answers a slot at once, from inside. */
void mqtt_settle(struct mqtt_session *s, uint32_t token, uint8_t reason);
void mqtt_answer(struct proto_session *p, uint32_t token, enum proto_result r, uint64_t now_ms);
void mqtt_refuse(struct proto_session *p, uint32_t token, uint32_t grace_ms, uint64_t now_ms);
void mqtt_parked(struct proto_session *p, bool parked);

/* Ends the connection without a word; PROTO_CLOSE is the next event. */
void mqtt_close(struct mqtt_session *s, const char *word);
/* As above, telling the client why if its version has words for it. */
void mqtt_fail(struct mqtt_session *s, enum mqtt_reason reason, const char *word);
/* The fault that a decoder found. */
void mqtt_fail_frame(struct mqtt_session *s, const struct mqtt_frame *f);

/* ---- packets, each true when *ev was filled ---- */

bool mqtt_on_connect(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);
void mqtt_connected(struct proto_session *p, const struct proto_connected *a);
/* CONNACK without properties, then the end. */
void mqtt_refuse_connect(struct mqtt_session *s, uint8_t code, const char *word);
/* Memory for what a packet repeats, kept while the session is busy. Its
 * content lives until the next packet. */
void *mqtt_lists(struct mqtt_session *s, size_t bytes);
void mqtt_lists_drop(struct mqtt_session *s);
/* User properties in an array of mqtt_lists(); NULL when there are none. */
const struct message_header *mqtt_unpack_headers(struct mqtt_session *s,
                                                 const struct mqtt_props *props);
/* proto_publish.form */
uint8_t mqtt_form(const struct mqtt_props *props);
bool mqtt_on_publish(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);
void mqtt_aliases_free(struct mqtt_aliases *aliases);
bool mqtt_on_subscribe(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);
bool mqtt_on_unsubscribe(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);
void mqtt_granted(struct proto_session *p, uint32_t token, const enum proto_grant *grants,
                  uint32_t n);
/* PUBACK, PUBREC, PUBCOMP. */
bool mqtt_on_settle(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);

/* ---- deliveries ---- */

enum proto_delivered mqtt_deliver(struct proto_session *p, const struct proto_delivery *d,
                                  struct proto_packets *packets);
void mqtt_release(struct proto_session *p, uint16_t packet_id, bool known);

static inline struct mqtt_session *mqtt_session_of(struct proto_session *p)
{
    struct mqtt_session *s = (struct mqtt_session *)(void *)p;
    SL_ASSERT(s->protocol == &mqtt_protocol);
    return s;
}

#endif
