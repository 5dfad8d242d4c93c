/* Every control packet of MQTT 3.1.1 and 5.0, decoded and encoded, for both
 * ends of a connection. Views only: nothing is allocated or copied, except
 * that encoders append to a buffer of the caller.
 *
 * Decoding goes in two steps: mqtt_frame_read() finds a packet in a stream of
 * bytes and refuses a size or a first byte that cannot be right before the
 * rest has arrived; mqtt_decode_*() reads its body. The caller sets `version`
 * and `from_server` of the frame between the two (CONNECT brings its own
 * version). When a decoder returns SL_EPEER, `fault` is the reason code of
 * MQTT 5 and `fault_word` a stable word for the log; *out is then undefined. */
#ifndef MQTT_PACKET_H
#define MQTT_PACKET_H

#include "core/bytes.h"
#include "mqtt/properties.h"
#include "mqtt/reason.h"

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH,
};

enum mqtt_version { MQTT_V_UNKNOWN = 0, MQTT_V311 = 4, MQTT_V5 = 5 };

#define MQTT_VARINT_MAX 268435455u
/* Fixed header included: nothing larger exists in the protocol. */
#define MQTT_PACKET_MAX (MQTT_VARINT_MAX + 5u)

struct mqtt_frame {
    uint8_t type;    /* enum mqtt_type */
    uint8_t flags;   /* low half of the first byte */
    uint8_t version; /* enum mqtt_version */
    bool from_server;
    struct sl_bytes body; /* what follows the fixed header */
    size_t size;          /* of the whole packet */
    enum mqtt_reason fault;
    const char *fault_word;
};

/* Finds the packet at the start of `in`.
 *
 * SL_OK      type, flags, body and size are set; version stays as it was
 * SL_EMORE   incomplete; `size` bytes in all are needed to go on
 * SL_ETOOBIG the packet says that it is larger than `max` bytes; type is set
 * SL_EPEER   malformed: type 0, flags that the type forbids, length field */
SL_CHECK int mqtt_frame_read(struct sl_bytes in, size_t max, struct mqtt_frame *f);

/* ---- the packets ---- */

struct mqtt_will {
    struct sl_bytes topic, payload;
    uint8_t qos;
    bool retain;
    struct mqtt_props props;
};

struct mqtt_connect {
    uint8_t version; /* the level: 4 or 5 when decoding succeeded */
    bool clean_start;
    bool has_username, has_password, has_will;
    uint16_t keep_alive_s;
    struct sl_bytes client_id, username, password;
    struct mqtt_props props;
    struct mqtt_will will; /* set when has_will */
};

struct mqtt_connack {
    bool session_present;
    uint8_t code; /* reason code, or return code of 3.1.1 */
    struct mqtt_props props;
};

struct mqtt_publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t packet_id;    /* 0 with QoS 0 */
    struct sl_bytes topic; /* empty only with an alias */
    struct mqtt_props props;
    struct sl_bytes payload;
};

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt_ack {
    uint8_t type;
    uint16_t packet_id;
    uint8_t reason; /* 0 in 3.1.1 */
    struct mqtt_props props;
};

struct mqtt_filter {
    struct sl_bytes filter;
    uint8_t qos;
    bool no_local, retain_as_published; /* MQTT 5 */
    uint8_t retain_handling;
};

/* SUBSCRIBE and UNSUBSCRIBE: which of the two is the frame's type. */
struct mqtt_filters {
    uint16_t packet_id;
    struct mqtt_props props;
    struct sl_bytes raw;            /* decoded: walk it with mqtt_filters_next() */
    const struct mqtt_filter *list; /* to encode */
    size_t n;                       /* of both */
};

/* SUBACK and UNSUBACK; an UNSUBACK of 3.1.1 has no codes. */
struct mqtt_codes {
    uint16_t packet_id;
    struct mqtt_props props;
    struct sl_bytes codes;
};

/* DISCONNECT and AUTH. */
struct mqtt_word {
    uint8_t reason;
    struct mqtt_props props;
};

/* ---- decoding: SL_OK or SL_EPEER ---- */

/* Also sets f->version, as soon as it is known. An unsupported level is a
 * fault MQTT_UNSUPPORTED_VERSION with the level in out->version. */
SL_CHECK int mqtt_decode_connect(struct mqtt_frame *f, struct mqtt_connect *out);
SL_CHECK int mqtt_decode_connack(struct mqtt_frame *f, struct mqtt_connack *out);
SL_CHECK int mqtt_decode_publish(struct mqtt_frame *f, struct mqtt_publish *out);
SL_CHECK int mqtt_decode_ack(struct mqtt_frame *f, struct mqtt_ack *out);
SL_CHECK int mqtt_decode_subscribe(struct mqtt_frame *f, struct mqtt_filters *out);
SL_CHECK int mqtt_decode_unsubscribe(struct mqtt_frame *f, struct mqtt_filters *out);
SL_CHECK int mqtt_decode_suback(struct mqtt_frame *f, struct mqtt_codes *out);
SL_CHECK int mqtt_decode_unsuback(struct mqtt_frame *f, struct mqtt_codes *out);
SL_CHECK int mqtt_decode_disconnect(struct mqtt_frame *f, struct mqtt_word *out);
SL_CHECK int mqtt_decode_auth(struct mqtt_frame *f, struct mqtt_word *out);
/* PINGREQ and PINGRESP. */
SL_CHECK int mqtt_decode_ping(struct mqtt_frame *f);

/* The next filter of a decoded SUBSCRIBE (`type` as in the frame) or
 * UNSUBSCRIBE; *pos starts at 0, false at the end. */
bool mqtt_filters_next(const struct mqtt_filters *fs, uint8_t type, size_t *pos,
                       struct mqtt_filter *out);

/* ---- encoding ----
 *
 * Appends one packet. SL_ETOOBIG: the buffer's maximum; SL_EINVAL: a field
 * does not fit the protocol. The buffer is unchanged then. Meaning is not
 * checked, so that tests can write what a decoder must refuse. */
SL_CHECK int mqtt_encode_connect(struct sl_buf *out, const struct mqtt_connect *p);
SL_CHECK int mqtt_encode_connack(struct sl_buf *out, enum mqtt_version v,
                                 const struct mqtt_connack *p);
SL_CHECK int mqtt_encode_publish(struct sl_buf *out, enum mqtt_version v,
                                 const struct mqtt_publish *p);
SL_CHECK int mqtt_encode_ack(struct sl_buf *out, enum mqtt_version v, const struct mqtt_ack *p);
SL_CHECK int mqtt_encode_subscribe(struct sl_buf *out, enum mqtt_version v,
                                   const struct mqtt_filters *p);
SL_CHECK int mqtt_encode_unsubscribe(struct sl_buf *out, enum mqtt_version v,
                                     const struct mqtt_filters *p);
SL_CHECK int mqtt_encode_suback(struct sl_buf *out, enum mqtt_version v,
                                const struct mqtt_codes *p);
SL_CHECK int mqtt_encode_unsuback(struct sl_buf *out, enum mqtt_version v,
                                  const struct mqtt_codes *p);
SL_CHECK int mqtt_encode_disconnect(struct sl_buf *out, enum mqtt_version v,
                                    const struct mqtt_word *p);
SL_CHECK int mqtt_encode_auth(struct sl_buf *out, const struct mqtt_word *p);
/* MQTT_PINGREQ or MQTT_PINGRESP. */
SL_CHECK int mqtt_encode_ping(struct sl_buf *out, enum mqtt_type type);

#endif
