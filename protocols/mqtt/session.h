/* One client's connection as the server sees it. Inside the room.
 *
 *   AWAIT_CONNECT ──CONNECT──▶ AWAIT_VERDICT ──connected()──▶ OPEN
 *         │                          │ refused                 │ fault, timeout, goodbye, shutdown
 *         └──────────────────────────┴────────────┬────────────┘
 *                                              CLOSING ──PROTO_CLOSE given out──▶ CLOSED
 *
 * An idle session is this struct and nothing else: input, output, ring,
 * aliases and headers are allocated when used and given back when idle. */
#ifndef MQTT_SESSION_H
#define MQTT_SESSION_H

#include "ack_ring.h"
#include "mqtt/packet.h"
#include "protocols/protocol.h"

enum mqtt_state { MQTT_AWAIT_CONNECT, MQTT_AWAIT_VERDICT, MQTT_OPEN, MQTT_CLOSING, MQTT_CLOSED };

struct mqtt_aliases;

struct mqtt_session {
    const struct protocol *protocol;
    const struct proto_config *cfg;
    struct sl_bytes in; /* fed and not read yet */
    struct sl_buf part; /* what has to outlive the fed view; read before `in` */
    struct sl_buf out;
    struct mqtt_ring *ring;
    struct mqtt_aliases *aliases;
    struct message_header *headers; /* of the last PUBLISH */
    const char *close_word;         /* once CLOSING */
    uint64_t heard_ms;
    uint64_t close_at_ms; /* connect timeout, reject grace; UINT64_MAX: none */
    uint32_t client_max_packet;
    uint32_t headers_cap;
    uint16_t keep_alive_s;   /* in force; 0: none */
    uint16_t publishes_open; /* MQTT 5: QoS 1 and 2 without PUBACK or PUBCOMP */
    uint8_t state;           /* enum mqtt_state */
    uint8_t version;         /* enum mqtt_version, of the CONNECT */
    uint8_t close_reason;    /* of the reject grace */
    bool paused;
    bool silence_from_now; /* the keep-alive clock starts at the next tick */
    bool id_was_empty, keep_alive_capped, expiry_capped, expiry_was_zero;
};

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

/* Appends to the output; what the client said is too large for it is left out
 * [MQTT-3.1.2-24]. */
void mqtt_send(struct mqtt_session *s, struct sl_bytes packet);
/* A short PUBACK, PUBREC, PUBREL or PUBCOMP. */
void mqtt_send_ack(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id, uint8_t reason);
/* Sends a whole packet after the answers that are owed before it. */
void mqtt_send_in_order(struct mqtt_session *s, struct sl_bytes packet);
/* Takes a slot for a frame; 0: the connection was closed, it owes too much. */
uint32_t mqtt_owe(struct mqtt_session *s, enum mqtt_type type, uint16_t packet_id);
/* Answers a slot at once, from inside. */
void mqtt_settle(struct mqtt_session *s, uint32_t token, uint8_t reason);
void mqtt_answer(struct proto_session *p, uint32_t token, enum proto_result r, uint64_t now_ms);

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
/* User properties in an array that the session keeps while it is busy; NULL
 * when there are none. Lives until the next packet. */
const struct message_header *mqtt_unpack_headers(struct mqtt_session *s,
                                                 const struct mqtt_props *props);
bool mqtt_on_publish(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev);
void mqtt_aliases_free(struct mqtt_aliases *aliases);
void mqtt_on_subscribe(struct mqtt_session *s, struct mqtt_frame *f);
void mqtt_on_unsubscribe(struct mqtt_session *s, struct mqtt_frame *f);

static inline struct mqtt_session *mqtt_session_of(struct proto_session *p)
{
    struct mqtt_session *s = (struct mqtt_session *)(void *)p;
    SL_ASSERT(s->protocol == &mqtt_protocol);
    return s;
}

#endif
