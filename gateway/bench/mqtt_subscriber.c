/* Consumer over MQTT: a shared subscription at QoS 1, `$share/GROUP/TOPIC`. */
#include "bench/driver.h"
#include "mqtt_bytes.h"

#include <stdio.h>

enum { CONNACK = 2, PUBLISH = 3, SUBACK = 9, PINGRESP = 13 };

/* TOPIC with several topics is TOPIC/#. SUBSCRIBE goes right behind CONNECT. */
static int put_subscribe(struct sl_buf *out, uint8_t version, const struct bench_target *t)
{
    char filter[512];
    const char *tail = t->n_topics > 1 ? "/#" : "";
    int n = t->group == NULL
                ? snprintf(filter, sizeof filter, "%s%s", t->topic, tail)
                : snprintf(filter, sizeof filter, "$share/%s/%s%s", t->group, t->topic, tail);
    if (n < 0 || (size_t)n >= sizeof filter)
        return SL_ETOOBIG;
    int err = bmqtt_put_head(out, 0x82, 2 + (version == 5 ? 1u : 0u) + 2 + (size_t)n + 1);
    if (err == SL_OK)
        err = bmqtt_put_u16(out, 1);
    if (err == SL_OK && version == 5)
        err = sl_buf_append(out, "", 1);
    if (err == SL_OK)
        err = bmqtt_put_text(out, sl_str(filter));
    return err == SL_OK ? sl_buf_append(out, "\1", 1) : err;
}

static int hello(uint8_t version, const struct bench_target *t, uint32_t consumer,
                 struct sl_buf *out)
{
    int err = bmqtt_put_connect(out, version, t, consumer);
    return err == SL_OK ? put_subscribe(out, version, t) : err;
}

static int hello4(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    return hello(4, t, consumer, out);
}

static int hello5(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    return hello(5, t, consumer, out);
}

static uint32_t property_bytes(struct sl_reader *r)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = sl_rd_u8(r);
        v |= (uint32_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0)
            return v;
    }
    r->bad = true;
    return 0;
}

static int on_publish(const struct bmqtt_packet *p, bool v5, struct bench_delivery *d)
{
    struct sl_reader r = sl_reader_of(p->body);
    unsigned qos = p->first >> 1 & 3;
    (void)sl_rd_bytes(&r, sl_rd_u16be(&r));
    if (qos > 0)
        d->number = sl_rd_u16be(&r);
    if (v5)
        (void)sl_rd_bytes(&r, property_bytes(&r));
    if (r.bad || qos > 1)
        return SL_EPEER;
    d->message = true;
    d->redelivered = (p->first & 8) != 0;
    d->payload = sl_bytes_of(r.p, sl_reader_left(&r));
    return SL_OK;
}

static int next(struct sl_bytes in, bool v5, struct bench_delivery *d)
{
    struct bmqtt_packet p;
    int err = bmqtt_packet_next(in, &p);
    if (err != SL_OK)
        return err;
    *d = (struct bench_delivery){ .bytes = p.bytes };
    switch (p.first >> 4) {
    case PUBLISH:
        return on_publish(&p, v5, d);
    case CONNACK:
        return bmqtt_reason(&p, 1) == 0 ? SL_OK : SL_EPEER;
    case SUBACK:
        return p.body.n > 0 && p.body.p[p.body.n - 1] < 0x80 ? SL_OK : SL_EPEER;
    case PINGRESP:
        return SL_OK;
    default:
        return SL_EPEER;
    }
}

static int next4(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                 struct sl_buf *out)
{
    (void)t;
    (void)out;
    return next(in, false, d);
}

static int next5(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                 struct sl_buf *out)
{
    (void)t;
    (void)out;
    return next(in, true, d);
}

/* MQTT knows no failed attempt that would come again: a refused one is discarded [MQTT-4.8.2-6]. */
static int ack(const struct bench_target *t, const struct bench_delivery *d, bool good,
               struct sl_buf *out)
{
    (void)t;
    (void)good;
    return d->number == 0 ? SL_OK : bmqtt_put_ack(out, 0x40, (uint16_t)d->number);
}

const struct bench_consumer bench_mqtt_subscriber = { "mqtt", 1883, hello4, next4, ack };
const struct bench_consumer bench_mqtt5_subscriber = { "mqtt5", 1883, hello5, next5, ack };
