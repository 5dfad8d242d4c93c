/* Producer over MQTT 3.1.1 and 5. An answer's packet id is checked by the
 * load: it must name a publish in flight. QoS 0 is paced by PINGREQ. */
#include <stdio.h>

#include "bench/driver.h"
#include "mqtt_bytes.h"

enum { CONNACK = 2, PUBACK = 4, PUBREC = 5, PUBCOMP = 7, SUBACK = 9, PINGRESP = 13 };

static int hello(uint8_t version, const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    int err = bmqtt_put_connect(out, version, t, connection);
    if (err != SL_OK || !t->subscribed)
        return err;
    char topic[256];
    (void)snprintf(topic, sizeof topic, "%s/%u", t->topic, connection);
    struct bench_target own = { .topic = topic, .n_topics = 1 };
    return bmqtt_put_subscribe(out, version, &own, 0);
}

static int hello4(const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    return hello(4, t, connection, out);
}

static int hello5(const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    return hello(5, t, connection, out);
}

static int message4(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                    struct bench_template *out)
{
    return bmqtt_template(t, 4, topic, payload, out);
}

static int message5(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                    struct bench_template *out)
{
    return bmqtt_template(t, 5, topic, payload, out);
}

static int barrier(struct sl_buf *out)
{
    return sl_buf_append(out, "\xC0", 2);
}

static int on_connack(const struct bmqtt_packet *p, struct bench_answer *a)
{
    if (p->body.n < 2)
        return SL_EPEER;
    a->kind = p->body.p[1] == 0 ? BENCH_READY : BENCH_REFUSED;
    a->code = p->body.p[1];
    return SL_OK;
}

/* 3.1.1 has no reasons: its acks are four bytes long. */
static int on_ack(const struct bmqtt_packet *p, struct bench_answer *a, struct sl_buf *reply)
{
    if (p->body.n < 2)
        return SL_EPEER;
    a->number = sl_ld_u16be(p->body.p);
    a->code = bmqtt_reason(p, 2);
    if (a->code >= 0x80) {
        a->kind = BENCH_REFUSED;
        return SL_OK;
    }
    if (p->first >> 4 == PUBREC)
        return bmqtt_put_ack(reply, 0x62, (uint16_t)a->number);
    a->kind = BENCH_DONE;
    return SL_OK;
}

static int answer(const struct bench_target *t, struct sl_bytes in, struct bench_answer *a,
                  struct sl_buf *reply)
{
    struct bmqtt_packet p;
    int err = bmqtt_packet_next(in, &p);
    if (err != SL_OK)
        return err;
    *a = (struct bench_answer){ .kind = BENCH_NOTHING, .bytes = p.bytes };
    switch (p.first) {
    case CONNACK << 4:
        return on_connack(&p, a);
    case PUBACK << 4:
        return t->qos == 1 ? on_ack(&p, a, reply) : SL_EPEER;
    case PUBREC << 4:
    case PUBCOMP << 4:
        return t->qos == 2 ? on_ack(&p, a, reply) : SL_EPEER;
    case SUBACK << 4:
        return t->subscribed && p.body.n > 0 && p.body.p[p.body.n - 1] < 0x80 ? SL_OK : SL_EPEER;
    case PINGRESP << 4:
        a->kind = BENCH_BARRIER;
        return SL_OK;
    default:
        return SL_EPEER; /* DISCONNECT too: the server leaves us */
    }
}

const struct bench_driver bench_mqtt = {
    "mqtt", "MQTT 3.1.1", 1883, BENCH_NUMBER_U16BE, 65535, hello4, message4, barrier, answer,
};
const struct bench_driver bench_mqtt5 = {
    "mqtt5", "MQTT 5", 1883, BENCH_NUMBER_U16BE, 65535, hello5, message5, barrier, answer,
};
