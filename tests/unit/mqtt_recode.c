#include "mqtt_recode.h"

#include "core/alloc.h"

/* Repeated properties as arrays, as an encoder wants them. */
struct lists {
    struct message_header *user;
    uint32_t *ids;
};

static struct lists unpack(struct mqtt_props *props)
{
    struct lists l = {sl_calloc(props->n_user + 1, sizeof *l.user),
                      sl_calloc(props->n_subscription_ids + 1, sizeof *l.ids)};
    size_t pos = 0;
    uint32_t n = 0;
    struct message_header header;
    while (mqtt_props_next_user(props, &pos, &header)) {
        SL_ASSERT(n < props->n_user);
        l.user[n++] = header;
    }
    SL_ASSERT(n == props->n_user);
    mqtt_props_set_user(props, l.user, n);
    pos = 0;
    n = 0;
    uint32_t id;
    while (mqtt_props_next_subscription_id(props, &pos, &id)) {
        SL_ASSERT(n < props->n_subscription_ids);
        l.ids[n++] = id;
    }
    SL_ASSERT(n == props->n_subscription_ids);
    mqtt_props_set_subscription_ids(props, l.ids, n);
    return l;
}

static void release(struct lists l)
{
    sl_free(l.user);
    sl_free(l.ids);
}

static int recode_connect(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_connect p;
    int err = mqtt_decode_connect(f, &p);
    if (err != SL_OK)
        return err;
    struct lists own = unpack(&p.props), will = {NULL, NULL};
    if (p.has_will)
        will = unpack(&p.will.props);
    SL_ASSERT(mqtt_encode_connect(out, &p) == SL_OK);
    release(own);
    release(will);
    return SL_OK;
}

static int recode_connack(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_connack p;
    int err = mqtt_decode_connack(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    SL_ASSERT(mqtt_encode_connack(out, f->version, &p) == SL_OK);
    release(l);
    return SL_OK;
}

static int recode_publish(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_publish p;
    int err = mqtt_decode_publish(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    SL_ASSERT(mqtt_encode_publish(out, f->version, &p) == SL_OK);
    release(l);
    return SL_OK;
}

static int recode_ack(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_ack p;
    int err = mqtt_decode_ack(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    SL_ASSERT(mqtt_encode_ack(out, f->version, &p) == SL_OK);
    release(l);
    return SL_OK;
}

static int recode_filters(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_filters p;
    bool subscribe = f->type == MQTT_SUBSCRIBE;
    int err = subscribe ? mqtt_decode_subscribe(f, &p) : mqtt_decode_unsubscribe(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    struct mqtt_filter *list = sl_calloc(p.n, sizeof *list);
    size_t pos = 0, n = 0;
    while (n < p.n && mqtt_filters_next(&p, f->type, &pos, &list[n]))
        n++;
    SL_ASSERT(n == p.n && pos == p.raw.n);
    p.list = list;
    err = subscribe ? mqtt_encode_subscribe(out, f->version, &p)
                    : mqtt_encode_unsubscribe(out, f->version, &p);
    SL_ASSERT(err == SL_OK);
    sl_free(list);
    release(l);
    return SL_OK;
}

static int recode_codes(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_codes p;
    bool suback = f->type == MQTT_SUBACK;
    int err = suback ? mqtt_decode_suback(f, &p) : mqtt_decode_unsuback(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    err = suback ? mqtt_encode_suback(out, f->version, &p)
                 : mqtt_encode_unsuback(out, f->version, &p);
    SL_ASSERT(err == SL_OK);
    release(l);
    return SL_OK;
}

static int recode_word(struct mqtt_frame *f, struct sl_buf *out)
{
    struct mqtt_word p;
    bool auth = f->type == MQTT_AUTH;
    int err = auth ? mqtt_decode_auth(f, &p) : mqtt_decode_disconnect(f, &p);
    if (err != SL_OK)
        return err;
    struct lists l = unpack(&p.props);
    err = auth ? mqtt_encode_auth(out, &p) : mqtt_encode_disconnect(out, f->version, &p);
    SL_ASSERT(err == SL_OK);
    release(l);
    return SL_OK;
}

static int recode_ping(struct mqtt_frame *f, struct sl_buf *out)
{
    int err = mqtt_decode_ping(f);
    if (err != SL_OK)
        return err;
    SL_ASSERT(mqtt_encode_ping(out, f->type) == SL_OK);
    return SL_OK;
}

int mqtt_recode(struct mqtt_frame *f, struct sl_buf *out)
{
    static int (*const by_type[])(struct mqtt_frame *, struct sl_buf *) = {
        [MQTT_CONNECT] = recode_connect, [MQTT_CONNACK] = recode_connack,
        [MQTT_PUBLISH] = recode_publish, [MQTT_PUBACK] = recode_ack,
        [MQTT_PUBREC] = recode_ack,      [MQTT_PUBREL] = recode_ack,
        [MQTT_PUBCOMP] = recode_ack,     [MQTT_SUBSCRIBE] = recode_filters,
        [MQTT_SUBACK] = recode_codes,    [MQTT_UNSUBSCRIBE] = recode_filters,
        [MQTT_UNSUBACK] = recode_codes,  [MQTT_PINGREQ] = recode_ping,
        [MQTT_PINGRESP] = recode_ping,   [MQTT_DISCONNECT] = recode_word,
        [MQTT_AUTH] = recode_word,
    };
    return by_type[f->type](f, out);
}
