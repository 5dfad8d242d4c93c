/* From bytes to packets: framing, and all packets but those with lists. */
#include "core/utf8.h"
#include "mqtt/names.h"
#include "mqtt/packet.h"
#include "wire.h"

/* ---- framing ---- */

/* The low half of the first byte is fixed for all but PUBLISH
 * [MQTT-2.2.2-1], [MQTT-2.1.3-1]. */
static bool flags_allowed(uint8_t type, uint8_t flags)
{
    if (type == MQTT_PUBLISH)
        return (flags & 0x06) != 0x06; /* QoS 3 [MQTT-3.3.1-4] */
    bool two = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;
    return type != 0 && flags == (two ? 2 : 0);
}

/* The length field. SL_EMORE when it is not all here. MQTT 5 wants the
 * shortest form; 3.1.1 does not say so, and old clients pad. */
static int read_length(struct sl_bytes in, bool strict, uint32_t *length, size_t *header)
{
    uint32_t value = 0;
    for (size_t i = 1; i < in.n && i <= 4; i++) {
        uint8_t byte = in.p[i];
        value |= (uint32_t)(byte & 0x7F) << (7 * (i - 1));
        if ((byte & 0x80) == 0) {
            *length = value;
            *header = i + 1;
            return strict && i > 1 && byte == 0 ? SL_EPEER : SL_OK;
        }
    }
    return in.n > 4 ? SL_EPEER : SL_EMORE;
}

int mqtt_frame_read(struct sl_bytes in, size_t max, struct mqtt_frame *f)
{
    f->fault = MQTT_SUCCESS;
    f->fault_word = "";
    f->size = in.n + 1;
    if (in.n == 0)
        return SL_EMORE;
    f->type = in.p[0] >> 4;
    f->flags = in.p[0] & 0x0F;
    if (!flags_allowed(f->type, f->flags))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "fixed_header_flags");
    uint32_t length;
    size_t header;
    int err = read_length(in, f->version == MQTT_V5, &length, &header);
    if (err == SL_EPEER)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "remaining_length");
    if (err != SL_OK)
        return err;
    f->size = header + length;
    if (f->size > max)
        return SL_ETOOBIG;
    if (f->size > in.n)
        return SL_EMORE;
    f->body = sl_bytes_of(in.p + header, length);
    return SL_OK;
}

/* ---- CONNECT ---- */

#define CONNECT_RESERVED    0x01u
#define CONNECT_CLEAN       0x02u
#define CONNECT_WILL        0x04u
#define CONNECT_WILL_RETAIN 0x20u
#define CONNECT_PASSWORD    0x40u
#define CONNECT_USERNAME    0x80u

/* The name and the level decide which protocol the rest is read in. */
static int read_protocol(struct mqtt_frame *f, struct sl_reader *r, struct mqtt_connect *out)
{
    struct sl_bytes name = mqtt_rd_binary(r);
    out->version = sl_rd_u8(r);
    if (r->bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (sl_bytes_is(name, "MQIsdp"))
        return mqtt_fault(f, MQTT_UNSUPPORTED_VERSION, "unsupported_protocol_version");
    if (!sl_bytes_is(name, "MQTT"))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "protocol_name");
    if (out->version != MQTT_V311 && out->version != MQTT_V5)
        return mqtt_fault(f, MQTT_UNSUPPORTED_VERSION, "unsupported_protocol_version");
    f->version = out->version;
    return SL_OK;
}

static int read_connect_flags(struct mqtt_frame *f, uint8_t flags, struct mqtt_connect *out)
{
    out->clean_start = (flags & CONNECT_CLEAN) != 0;
    out->has_will = (flags & CONNECT_WILL) != 0;
    out->has_password = (flags & CONNECT_PASSWORD) != 0;
    out->has_username = (flags & CONNECT_USERNAME) != 0;
    out->will.qos = flags >> 3 & 3;
    out->will.retain = (flags & CONNECT_WILL_RETAIN) != 0;
    if ((flags & CONNECT_RESERVED) != 0) /* [MQTT-3.1.2-3] */
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "connect_reserved_flag");
    if (out->will.qos == 3) /* [MQTT-3.1.2-14], 5.0: [MQTT-3.1.2-12] */
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "will_qos_3");
    if (!out->has_will && (out->will.qos != 0 || out->will.retain))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "will_flags_without_will");
    /* [MQTT-3.1.2-22]; MQTT 5 lifts this. */
    if (f->version == MQTT_V311 && out->has_password && !out->has_username)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "password_without_username");
    return SL_OK;
}

/* UTF-8 it is already, so that it can be read, but not used. */
static int check_response_topic(struct mqtt_frame *f, const struct mqtt_props *props)
{
    if (!mqtt_props_has(props, MQTT_PROP_RESPONSE_TOPIC) ||
        mqtt_topic_valid(mqtt_props_string(props, MQTT_PROP_RESPONSE_TOPIC)))
        return SL_OK;
    return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "response_topic"); /* [MQTT-3.3.2-14] */
}

static int read_will(struct mqtt_frame *f, struct sl_reader *r, struct mqtt_will *will)
{
    if (mqtt_rd_props(f, r, MQTT_PLACE_WILL, &will->props) != SL_OK)
        return SL_EPEER;
    will->topic = mqtt_rd_binary(r);
    will->payload = mqtt_rd_binary(r);
    if (!r->bad && will->topic.n == 0) /* as in a PUBLISH */
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "will_topic");
    if (!r->bad && !mqtt_topic_valid(will->topic))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "will_topic");
    if (check_response_topic(f, &will->props) != SL_OK)
        return SL_EPEER;
    if (!r->bad && mqtt_props_number(&will->props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1 &&
        !sl_utf8_valid_nul(will->payload))
        return mqtt_fault(f, MQTT_PAYLOAD_FORMAT_INVALID, "payload_format_invalid");
    return SL_OK;
}

/* The payload's fields stand in this order [MQTT-3.1.3-1]. */
static int read_connect_payload(struct mqtt_frame *f, struct sl_reader *r, struct mqtt_connect *out)
{
    out->client_id = mqtt_rd_string(r);
    if (out->has_will && read_will(f, r, &out->will) != SL_OK)
        return SL_EPEER;
    out->username = out->has_username ? mqtt_rd_string(r) : SL_BYTES_NONE;
    out->password = out->has_password ? mqtt_rd_binary(r) : SL_BYTES_NONE;
    return mqtt_rd_end(f, r);
}

int mqtt_decode_connect(struct mqtt_frame *f, struct mqtt_connect *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    if (read_protocol(f, &r, out) != SL_OK)
        return SL_EPEER;
    uint8_t flags = sl_rd_u8(&r);
    out->keep_alive_s = sl_rd_u16be(&r);
    if (r.bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (read_connect_flags(f, flags, out) != SL_OK ||
        mqtt_rd_props(f, &r, MQTT_PLACE_CONNECT, &out->props) != SL_OK)
        return SL_EPEER;
    if (mqtt_props_has(&out->props, MQTT_PROP_AUTH_DATA) &&
        !mqtt_props_has(&out->props, MQTT_PROP_AUTH_METHOD))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "auth_data_without_method");
    return read_connect_payload(f, &r, out);
}

/* ---- CONNACK ---- */

int mqtt_decode_connack(struct mqtt_frame *f, struct mqtt_connack *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    uint8_t flags = sl_rd_u8(&r);
    out->session_present = (flags & 1) != 0;
    out->code = sl_rd_u8(&r);
    if ((flags & 0xFE) != 0) /* [MQTT-3.2.2-1] */
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "connack_flags");
    if (mqtt_rd_props(f, &r, MQTT_PLACE_CONNACK, &out->props) != SL_OK)
        return SL_EPEER;
    bool known = f->version == MQTT_V5 ? mqtt_reason_allowed(out->code, MQTT_IN_CONNACK)
                                       : out->code <= MQTT_RETURN_NOT_AUTHORIZED;
    if (!r.bad && !known)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "reason_code");
    return mqtt_rd_end(f, &r);
}

/* ---- PUBLISH ---- */

static int check_topic(struct mqtt_frame *f, const struct mqtt_publish *p)
{
    if (p->topic.n == 0) {
        if (mqtt_props_has(&p->props, MQTT_PROP_TOPIC_ALIAS))
            return SL_OK;
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "topic_empty");
    }
    if (!mqtt_topic_valid(p->topic)) /* [MQTT-3.3.2-1, -2] */
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "topic_not_valid");
    return SL_OK;
}

int mqtt_decode_publish(struct mqtt_frame *f, struct mqtt_publish *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    out->dup = (f->flags & 8) != 0;
    out->qos = f->flags >> 1 & 3;
    out->retain = (f->flags & 1) != 0;
    if (out->dup && out->qos == 0) /* [MQTT-3.3.1-2] */
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "dup_with_qos_0");
    out->topic = mqtt_rd_binary(&r);
    out->packet_id = out->qos > 0 ? sl_rd_u16be(&r) : 0;
    if (r.bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (out->qos > 0 && out->packet_id == 0) /* [MQTT-2.3.1-1], 5.0: [MQTT-2.2.1-3] */
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "packet_id_0");
    enum mqtt_place place = f->from_server ? MQTT_PLACE_PUBLISH_DOWN : MQTT_PLACE_PUBLISH_UP;
    if (mqtt_rd_props(f, &r, place, &out->props) != SL_OK || check_topic(f, out) != SL_OK ||
        check_response_topic(f, &out->props) != SL_OK)
        return SL_EPEER;
    out->payload = sl_bytes_of(r.p, sl_reader_left(&r));
    return SL_OK;
}

/* ---- PUBACK, PUBREC, PUBREL, PUBCOMP ---- */

int mqtt_decode_ack(struct mqtt_frame *f, struct mqtt_ack *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    out->type = f->type;
    out->packet_id = sl_rd_u16be(&r);
    out->reason = MQTT_SUCCESS;
    mqtt_props_init(&out->props);
    if (r.bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (out->packet_id == 0)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "packet_id_0");
    if (f->version != MQTT_V5)
        return mqtt_rd_end(f, &r);
    /* Reason 0 without properties may be left out, properties alone too. */
    if (sl_reader_left(&r) > 0)
        out->reason = sl_rd_u8(&r);
    if (sl_reader_left(&r) > 0 && mqtt_rd_props(f, &r, MQTT_PLACE_ACK, &out->props) != SL_OK)
        return SL_EPEER;
    bool first = f->type == MQTT_PUBACK || f->type == MQTT_PUBREC;
    if (!mqtt_reason_allowed(out->reason, first ? MQTT_IN_PUBACK : MQTT_IN_PUBREL))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "reason_code");
    return mqtt_rd_end(f, &r);
}

/* ---- DISCONNECT, AUTH, PINGREQ, PINGRESP ---- */

static int decode_word(struct mqtt_frame *f, enum mqtt_place place, struct mqtt_word *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    out->reason = MQTT_SUCCESS;
    mqtt_props_init(&out->props);
    if (f->version == MQTT_V5 && f->body.n > 0)
        out->reason = sl_rd_u8(&r);
    if (sl_reader_left(&r) > 0 && mqtt_rd_props(f, &r, place, &out->props) != SL_OK)
        return SL_EPEER;
    return mqtt_rd_end(f, &r);
}

int mqtt_decode_disconnect(struct mqtt_frame *f, struct mqtt_word *out)
{
    bool down = f->from_server;
    if (decode_word(f, down ? MQTT_PLACE_DISCONNECT_DOWN : MQTT_PLACE_DISCONNECT_UP, out) != SL_OK)
        return SL_EPEER;
    if (!mqtt_reason_allowed(out->reason,
                             down ? MQTT_IN_DISCONNECT_SERVER : MQTT_IN_DISCONNECT_CLIENT))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "reason_code");
    return SL_OK;
}

int mqtt_decode_auth(struct mqtt_frame *f, struct mqtt_word *out)
{
    if (f->version != MQTT_V5)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "packet_type");
    if (decode_word(f, MQTT_PLACE_AUTH, out) != SL_OK)
        return SL_EPEER;
    if (!mqtt_reason_allowed(out->reason, MQTT_IN_AUTH))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "reason_code");
    return SL_OK;
}

int mqtt_decode_ping(struct mqtt_frame *f)
{
    struct sl_reader r = sl_reader_of(f->body);
    return mqtt_rd_end(f, &r);
}
