/* From packets to bytes. Each put_ function writes one packet's body and runs
 * twice: to count, then to write (wire.h). */
#include "mqtt/packet.h"
#include "wire.h"

typedef void (*put_fn)(struct mqtt_writer *w, enum mqtt_version v, const void *packet);

struct job {
    uint8_t first; /* first byte of the packet */
    enum mqtt_version version;
    put_fn put;
    const void *packet;
};

static int encode(struct sl_buf *out, struct job job)
{
    struct mqtt_writer w = { NULL, 0, false };
    job.put(&w, job.version, job.packet);
    if (w.bad || w.n > MQTT_VARINT_MAX)
        return SL_EINVAL;
    uint32_t length = (uint32_t)w.n;
    w.p = sl_buf_reserve(out, 5 + w.n);
    if (w.p == NULL)
        return SL_ETOOBIG;
    w.n = 0;
    mqtt_put_u8(&w, job.first);
    mqtt_put_varint(&w, length);
    job.put(&w, job.version, job.packet);
    sl_buf_commit(out, w.n);
    return SL_OK;
}

static uint8_t first_byte(enum mqtt_type type, unsigned flags)
{
    return (uint8_t)((unsigned)type << 4 | flags);
}

static void put_props_of(struct mqtt_writer *w, enum mqtt_version v, const struct mqtt_props *props)
{
    if (v == MQTT_V5)
        mqtt_put_props(w, props);
}

/* ---- CONNECT, CONNACK ---- */

static uint8_t connect_flags(const struct mqtt_connect *p)
{
    unsigned flags = (p->clean_start ? 0x02u : 0) | (p->has_username ? 0x80u : 0) |
                     (p->has_password ? 0x40u : 0);
    if (p->has_will)
        flags |= 0x04u | (p->will.qos & 3u) << 3 | (p->will.retain ? 0x20u : 0);
    return (uint8_t)flags;
}

static void put_connect(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_connect *p = packet;
    mqtt_put_binary(w, sl_str("MQTT"));
    mqtt_put_u8(w, p->version);
    mqtt_put_u8(w, connect_flags(p));
    mqtt_put_u16(w, p->keep_alive_s);
    put_props_of(w, v, &p->props);
    mqtt_put_binary(w, p->client_id);
    if (p->has_will) {
        put_props_of(w, v, &p->will.props);
        mqtt_put_binary(w, p->will.topic);
        mqtt_put_binary(w, p->will.payload);
    }
    if (p->has_username)
        mqtt_put_binary(w, p->username);
    if (p->has_password)
        mqtt_put_binary(w, p->password);
}

int mqtt_encode_connect(struct sl_buf *out, const struct mqtt_connect *p)
{
    return encode(out, (struct job){ first_byte(MQTT_CONNECT, 0), p->version, put_connect, p });
}

static void put_connack(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_connack *p = packet;
    mqtt_put_u8(w, p->session_present);
    mqtt_put_u8(w, p->code);
    put_props_of(w, v, &p->props);
}

int mqtt_encode_connack(struct sl_buf *out, enum mqtt_version v, const struct mqtt_connack *p)
{
    return encode(out, (struct job){ first_byte(MQTT_CONNACK, 0), v, put_connack, p });
}

/* ---- PUBLISH and its answers ---- */

static void put_publish(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_publish *p = packet;
    mqtt_put_binary(w, p->topic);
    if (p->qos > 0)
        mqtt_put_u16(w, p->packet_id);
    put_props_of(w, v, &p->props);
    mqtt_put_raw(w, p->payload);
}

int mqtt_encode_publish(struct sl_buf *out, enum mqtt_version v, const struct mqtt_publish *p)
{
    unsigned flags = (p->dup ? 8u : 0) | (p->qos & 3u) << 1 | (p->retain ? 1u : 0);
    return encode(out, (struct job){ first_byte(MQTT_PUBLISH, flags), v, put_publish, p });
}

/* The short forms: without properties, and without a reason when it is 0. */
static void put_ack(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_ack *p = packet;
    mqtt_put_u16(w, p->packet_id);
    if (v != MQTT_V5 || (p->reason == MQTT_SUCCESS && p->props.present == 0))
        return;
    mqtt_put_u8(w, p->reason);
    if (p->props.present != 0)
        mqtt_put_props(w, &p->props);
}

int mqtt_encode_ack(struct sl_buf *out, enum mqtt_version v, const struct mqtt_ack *p)
{
    unsigned flags = p->type == MQTT_PUBREL ? 2 : 0;
    return encode(out, (struct job){ first_byte(p->type, flags), v, put_ack, p });
}

/* ---- lists ---- */

static uint8_t filter_options(const struct mqtt_filter *one)
{
    return (uint8_t)((one->qos & 3u) | (one->no_local ? 4u : 0) |
                     (one->retain_as_published ? 8u : 0) | (one->retain_handling & 3u) << 4);
}

static void put_subscribe(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_filters *p = packet;
    mqtt_put_u16(w, p->packet_id);
    put_props_of(w, v, &p->props);
    for (size_t i = 0; i < p->n; i++) {
        mqtt_put_binary(w, p->list[i].filter);
        mqtt_put_u8(w, filter_options(&p->list[i]));
    }
}

int mqtt_encode_subscribe(struct sl_buf *out, enum mqtt_version v, const struct mqtt_filters *p)
{
    return encode(out, (struct job){ first_byte(MQTT_SUBSCRIBE, 2), v, put_subscribe, p });
}

static void put_unsubscribe(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_filters *p = packet;
    mqtt_put_u16(w, p->packet_id);
    put_props_of(w, v, &p->props);
    for (size_t i = 0; i < p->n; i++)
        mqtt_put_binary(w, p->list[i].filter);
}

int mqtt_encode_unsubscribe(struct sl_buf *out, enum mqtt_version v, const struct mqtt_filters *p)
{
    return encode(out, (struct job){ first_byte(MQTT_UNSUBSCRIBE, 2), v, put_unsubscribe, p });
}

static void put_codes(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_codes *p = packet;
    mqtt_put_u16(w, p->packet_id);
    put_props_of(w, v, &p->props);
    mqtt_put_raw(w, p->codes);
}

int mqtt_encode_suback(struct sl_buf *out, enum mqtt_version v, const struct mqtt_codes *p)
{
    return encode(out, (struct job){ first_byte(MQTT_SUBACK, 0), v, put_codes, p });
}

int mqtt_encode_unsuback(struct sl_buf *out, enum mqtt_version v, const struct mqtt_codes *p)
{
    return encode(out, (struct job){ first_byte(MQTT_UNSUBACK, 0), v, put_codes, p });
}

/* ---- DISCONNECT, AUTH, PINGREQ, PINGRESP ---- */

static void put_word(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    const struct mqtt_word *p = packet;
    if (v != MQTT_V5 || (p->reason == MQTT_SUCCESS && p->props.present == 0))
        return;
    mqtt_put_u8(w, p->reason);
    if (p->props.present != 0)
        mqtt_put_props(w, &p->props);
}

int mqtt_encode_disconnect(struct sl_buf *out, enum mqtt_version v, const struct mqtt_word *p)
{
    return encode(out, (struct job){ first_byte(MQTT_DISCONNECT, 0), v, put_word, p });
}

int mqtt_encode_auth(struct sl_buf *out, const struct mqtt_word *p)
{
    return encode(out, (struct job){ first_byte(MQTT_AUTH, 0), MQTT_V5, put_word, p });
}

static void put_nothing(struct mqtt_writer *w, enum mqtt_version v, const void *packet)
{
    (void)w;
    (void)v;
    (void)packet;
}

int mqtt_encode_ping(struct sl_buf *out, enum mqtt_type type)
{
    return encode(out, (struct job){ first_byte(type, 0), MQTT_V311, put_nothing, NULL });
}
