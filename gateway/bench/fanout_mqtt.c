/* The fan-out's peers over MQTT. */
#include "fanout.h"
#include "mqtt_bytes.h"

enum { CONNACK = 2, PUBLISH = 3, PUBACK = 4, PUBREC = 5, PUBREL = 6, PUBCOMP = 7, SUBACK = 9 };

static int connect_peer(struct fanout *f, struct peer *p)
{
    return bmqtt_put_connect(&p->out, f->o.speaks->version, &f->o.target, p->number + (p->publishes ? 1000000u : 0u));
}

static int subscribe(struct fanout *f, struct peer *p)
{
    return bmqtt_put_subscribe(&p->out, f->o.speaks->version, &f->o.target, (uint8_t)f->o.subscribe_qos);
}

static int message(struct fanout *f, struct sl_bytes payload)
{
    return bmqtt_template(&f->o.target, f->o.speaks->version, sl_str(f->o.target.topic), payload, &f->message);
}

static void write_number(uint8_t *at, uint32_t number)
{
    (void)sl_wr_u16be(at, (uint16_t)number);
}

/* ---- what comes ---- */

static int on_publish(struct fanout *f, struct peer *p, const struct bmqtt_packet *packet)
{
    struct bmqtt_publish publish;
    int err = bmqtt_read_publish(packet, f->o.speaks->version, &publish);
    if (err != SL_OK)
        return err;
    peer_on_message(f, p, publish.payload);
    return publish.qos == 0 ? SL_OK : bmqtt_put_ack(&p->out, publish.qos == 1 ? 0x40 : 0x50, publish.id);
}

/* ---- answers ---- */

static int on_connack(struct fanout *f, struct peer *p, const struct bmqtt_packet *packet)
{
    if (bmqtt_reason(packet, 1) != 0)
        return SL_EPEER;
    p->ready = true;
    f->ready++;
    return SL_OK;
}

static int on_suback(struct fanout *f, const struct bmqtt_packet *packet)
{
    if (packet->body.n == 0 || packet->body.p[packet->body.n - 1] >= 0x80)
        return SL_EPEER;
    f->subscribed++;
    return SL_OK;
}

static int on_packet(struct fanout *f, struct peer *p, const struct bmqtt_packet *packet)
{
    uint16_t id = packet->body.n >= 2 ? sl_ld_u16be(packet->body.p) : 0;
    switch (packet->first >> 4) {
    case CONNACK:
        return on_connack(f, p, packet);
    case SUBACK:
        return on_suback(f, packet);
    case PUBLISH:
        return on_publish(f, p, packet);
    case PUBREC:
        return bmqtt_put_ack(&p->out, 0x62, id);
    case PUBREL:
        return bmqtt_put_ack(&p->out, 0x70, id);
    case PUBACK:
    case PUBCOMP:
        return peer_on_answer(f, p, id);
    default:
        return SL_EPEER;
    }
}

static int take(struct fanout *f, struct peer *p, struct sl_bytes in, size_t *bytes)
{
    struct bmqtt_packet packet;
    int err = bmqtt_packet_next(in, &packet);
    if (err == SL_OK)
        err = on_packet(f, p, &packet);
    if (err == SL_OK)
        *bytes = packet.bytes;
    return err;
}

const struct fanout_protocol fanout_mqtt = { "mqtt", 1883, 4, connect_peer, subscribe, message, write_number, take };
const struct fanout_protocol fanout_mqtt5 = { "mqtt5", 1883, 5, connect_peer, subscribe, message, write_number, take };
