#include "mqtt_bytes.h"

#include <stdio.h>
#include <unistd.h>

#include "bench/driver.h"

int bmqtt_packet_next(struct sl_bytes in, struct bmqtt_packet *out)
{
    size_t length = 0;
    for (size_t i = 1; i <= 4; i++) {
        if (i >= in.n)
            return SL_EMORE;
        length |= (size_t)(in.p[i] & 0x7F) << (7 * (i - 1));
        if ((in.p[i] & 0x80) != 0)
            continue;
        if (in.n - i - 1 < length)
            return SL_EMORE;
        *out = (struct bmqtt_packet){ in.p[0], sl_bytes_of(in.p + i + 1, length), i + 1 + length };
        return SL_OK;
    }
    return SL_EPEER;
}

int bmqtt_put_head(struct sl_buf *out, uint8_t first, size_t body_bytes)
{
    uint8_t head[5] = { first };
    size_t n = 1;
    if (body_bytes > BMQTT_PACKET_MAX)
        return SL_ETOOBIG;
    do {
        head[n] = (uint8_t)(body_bytes & 0x7F);
        body_bytes >>= 7;
        if (body_bytes > 0)
            head[n] |= 0x80;
        n++;
    } while (body_bytes > 0);
    return sl_buf_append(out, head, n);
}

int bmqtt_put_u16(struct sl_buf *out, uint16_t v)
{
    uint8_t two[2];
    (void)sl_wr_u16be(two, v);
    return sl_buf_append(out, two, 2);
}

int bmqtt_put_text(struct sl_buf *out, struct sl_bytes text)
{
    int err = text.n > UINT16_MAX ? SL_ETOOBIG : bmqtt_put_u16(out, (uint16_t)text.n);
    return err == SL_OK ? sl_buf_append_bytes(out, text) : err;
}

int bmqtt_put_ack(struct sl_buf *out, uint8_t first, uint16_t id)
{
    uint8_t packet[4] = { first, 2, (uint8_t)(id >> 8), (uint8_t)id };
    return sl_buf_append(out, packet, sizeof packet);
}

static int put_connect_fixed(struct sl_buf *out, uint8_t version, const struct bench_target *t)
{
    static const uint8_t name[6] = { 0, 4, 'M', 'Q', 'T', 'T' };
    uint8_t flags =
        (uint8_t)(0x02 | (t->user != NULL ? 0x80 : 0) | (t->password != NULL ? 0x40 : 0));
    /* keep alive 0; Receive Maximum 65,535 is the default [MQTT-3.1.2-24] */
    uint8_t rest[5] = { version, flags, 0, 0, 0 };
    int err = sl_buf_append(out, name, sizeof name);
    return err == SL_OK ? sl_buf_append(out, rest, version == 5 ? 5 : 4) : err;
}

int bmqtt_put_connect(struct sl_buf *out, uint8_t version, const struct bench_target *t,
                      uint32_t number)
{
    struct sl_buf body = { 0 };
    char id[64];
    (void)snprintf(id, sizeof id, "%.32s-%lx-%u", t->client, (long)getpid(), number);
    int err = put_connect_fixed(&body, version, t);
    if (err == SL_OK)
        err = bmqtt_put_text(&body, sl_str(id));
    if (err == SL_OK && t->user != NULL)
        err = bmqtt_put_text(&body, sl_str(t->user));
    if (err == SL_OK && t->password != NULL)
        err = bmqtt_put_text(&body, sl_str(t->password));
    if (err == SL_OK)
        err = bmqtt_put_head(out, 0x10, sl_buf_len(&body));
    if (err == SL_OK)
        err = sl_buf_append_bytes(out, sl_buf_view(&body));
    sl_buf_fini(&body);
    return err;
}

int bmqtt_put_subscribe(struct sl_buf *out, uint8_t version, const struct bench_target *t, uint8_t qos)
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
    return err == SL_OK ? sl_buf_append(out, &qos, 1) : err;
}

int bmqtt_template(const struct bench_target *t, uint8_t version, struct sl_bytes topic,
                   struct sl_bytes payload, struct bench_template *out)
{
    struct sl_buf *b = &out->bytes;
    size_t rest = 2 + topic.n + (t->qos > 0 ? 2u : 0u) + (version == 5 ? 1u : 0u) + payload.n;
    int err = bmqtt_put_head(b, (uint8_t)(0x30 | t->qos << 1), rest);
    if (err == SL_OK)
        err = bmqtt_put_text(b, topic);
    out->number_at = sl_buf_len(b);
    if (err == SL_OK && t->qos > 0)
        err = bmqtt_put_u16(b, 0);
    if (err == SL_OK && version == 5)
        err = sl_buf_append(b, "", 1);
    out->stamp_at = sl_buf_len(b);
    return err == SL_OK ? sl_buf_append_bytes(b, payload) : err;
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

int bmqtt_read_publish(const struct bmqtt_packet *p, uint8_t version, struct bmqtt_publish *out)
{
    struct sl_reader r = sl_reader_of(p->body);
    *out = (struct bmqtt_publish){ .qos = p->first >> 1 & 3, .dup = (p->first & 8) != 0 };
    (void)sl_rd_bytes(&r, sl_rd_u16be(&r));
    if (out->qos > 0)
        out->id = sl_rd_u16be(&r);
    if (version == 5)
        (void)sl_rd_bytes(&r, property_bytes(&r));
    out->payload = sl_bytes_of(r.p, sl_reader_left(&r));
    return r.bad ? SL_EPEER : SL_OK;
}

uint8_t bmqtt_reason(const struct bmqtt_packet *p, size_t at)
{
    return p->body.n > at ? p->body.p[at] : 0;
}
