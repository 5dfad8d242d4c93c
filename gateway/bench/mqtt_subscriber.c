/* Consumer over MQTT: a shared subscription at QoS 1, `$share/GROUP/TOPIC`. */
#include "bench/driver.h"
#include "mqtt_bytes.h"

enum { CONNACK = 2, PUBLISH = 3, SUBACK = 9, PINGRESP = 13 };

/* SUBSCRIBE goes right behind CONNECT. */
static int hello(uint8_t version, const struct bench_target *t, uint32_t consumer,
                 struct sl_buf *out)
{
    int err = bmqtt_put_connect(out, version, t, consumer);
    return err == SL_OK ? bmqtt_put_subscribe(out, version, t, 1) : err;
}

static int hello4(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    return hello(4, t, consumer, out);
}

static int hello5(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    return hello(5, t, consumer, out);
}

static int on_publish(const struct bmqtt_packet *p, uint8_t version, struct bench_delivery *d)
{
    struct bmqtt_publish publish;
    int err = bmqtt_read_publish(p, version, &publish);
    if (err != SL_OK || publish.qos > 1)
        return SL_EPEER;
    d->message = true;
    d->number = publish.id;
    d->redelivered = publish.dup;
    d->payload = publish.payload;
    return SL_OK;
}

static int next(struct sl_bytes in, uint8_t version, struct bench_delivery *d)
{
    struct bmqtt_packet p;
    int err = bmqtt_packet_next(in, &p);
    if (err != SL_OK)
        return err;
    *d = (struct bench_delivery){ .bytes = p.bytes };
    switch (p.first >> 4) {
    case PUBLISH:
        return on_publish(&p, version, d);
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
    return next(in, 4, d);
}

static int next5(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                 struct sl_buf *out)
{
    (void)t;
    (void)out;
    return next(in, 5, d);
}

/* MQTT knows no failed attempt that would come again: a refused one is discarded [MQTT-4.8.2-6]. */
static int ack(const struct bench_target *t, const struct bench_delivery *d, bool good,
               struct sl_buf *out)
{
    (void)t;
    (void)good;
    return d->number == 0 ? SL_OK : bmqtt_put_ack(out, 0x40, (uint16_t)d->number);
}

const struct bench_consumer bench_mqtt_subscriber = { "mqtt", 1883, hello4, next4, ack, NULL };
const struct bench_consumer bench_mqtt5_subscriber = { "mqtt5", 1883, hello5, next5, ack, NULL };
