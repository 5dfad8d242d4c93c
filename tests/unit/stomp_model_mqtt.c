/* MQTT beside STOMP: one client publishes what STOMP's consumers get, one gets all
 * that is sent to topics, and it is compared byte for byte. */
#include "mqtt/packet.h"
#include "stomp_model_world.h"

static void feed(struct sworld *w, struct mclient *c, struct sl_buf *b)
{
    hub_client_feed(c->hc, sl_buf_view(b));
    sl_buf_fini(b);
    sworld_turn(w);
}

/* ---- the subscriber ---- */

static struct sl_bytes string(const struct mqtt_publish *p, enum mqtt_prop id)
{
    return mqtt_props_has(&p->props, id) ? mqtt_props_string(&p->props, id) : SL_BYTES_NONE;
}

static void check_field(struct smodel *m, uint32_t msg, const char *what, struct sl_bytes got, struct sl_bytes want)
{
    if (!sl_bytes_eq(got, want))
        smodel_fail(m, "MQTT: m%u has %s \"%.*s\" and should have \"%.*s\"", msg, what, (int)got.n, (const char *)got.p, (int)want.n, (const char *)want.p);
}

static void check_user_properties(struct smodel *m, uint32_t msg, const struct mqtt_publish *p)
{
    const struct said *s = &m->msgs[msg];
    struct message_header h;
    size_t pos = 0;
    uint32_t n = 0;
    while (mqtt_props_next_user(&p->props, &pos, &h)) {
        if (n == s->n_headers)
            smodel_fail(m, "MQTT: m%u has a user property %.*s too many", msg, (int)h.name.n, (const char *)h.name.p);
        check_field(m, msg, "the user property", h.name, text_view(&s->headers[n].name));
        check_field(m, msg, "the user property's value", h.value, text_view(&s->headers[n].value));
        n++;
    }
    if (n != s->n_headers)
        smodel_fail(m, "MQTT: m%u has %u user properties, and %u were sent", msg, n, s->n_headers);
}

/* The order is that of each QoS [MQTT-4.6.0-5]. */
static uint32_t next_wanted(struct smodel *m, uint8_t qos)
{
    uint32_t kept = 0, found = NONE;
    for (uint32_t i = 0; i < m->n_mqtt_wait; i++) {
        uint32_t msg = m->mqtt_wait[i];
        if (smodel_expired(m, msg))
            continue;
        if (found == NONE && m->msgs[msg].qos == qos)
            found = msg;
        else
            m->mqtt_wait[kept++] = msg;
    }
    m->n_mqtt_wait = kept;
    if (found == NONE)
        smodel_fail(m, "MQTT: a message of QoS %u that is not to come", qos);
    return found;
}

static void check_publish(struct smodel *m, const struct mqtt_publish *p)
{
    uint32_t msg = next_wanted(m, p->qos);
    struct said *s = &m->msgs[msg];
    if (s->reply_gen != 0)
        smodel_learn_key(m, s, string(p, MQTT_PROP_RESPONSE_TOPIC), "$temp/");
    check_field(m, msg, "the topic", p->topic, text_view(&s->topic));
    check_field(m, msg, "the payload", p->payload, sl_bytes_of(s->body, s->n_body));
    check_field(m, msg, "the content type", string(p, MQTT_PROP_CONTENT_TYPE), s->has_type ? text_view(&s->type) : SL_BYTES_NONE);
    check_field(m, msg, "the correlation data", string(p, MQTT_PROP_CORRELATION_DATA), s->has_correlation ? text_view(&s->correlation) : SL_BYTES_NONE);
    check_field(m, msg, "the response topic", string(p, MQTT_PROP_RESPONSE_TOPIC), s->has_reply ? text_view(&s->reply) : SL_BYTES_NONE);
    check_user_properties(m, msg, p);
    uint64_t left = s->expires_at == 0 ? 0 : (s->expires_at - m->now_ms + 999) / 1000;
    if (mqtt_props_number(&p->props, MQTT_PROP_MESSAGE_EXPIRY, 0) != left)
        smodel_fail(m, "MQTT: m%u expires in %u s, not in %llu", msg, mqtt_props_number(&p->props, MQTT_PROP_MESSAGE_EXPIRY, 0), (unsigned long long)left);
    if (p->retain || p->dup)
        smodel_fail(m, "MQTT: m%u with retain %d, dup %d", msg, p->retain, p->dup);
    m->deliveries++;
}

/* ---- both ---- */

static void puback(struct mclient *c, uint16_t packet_id, struct sl_buf *out)
{
    (void)c;
    struct mqtt_ack a = { .type = MQTT_PUBACK, .packet_id = packet_id };
    mqtt_props_init(&a.props);
    assert_int_equal(mqtt_encode_ack(out, MQTT_V5, &a), SL_OK);
}

static void on_puback(struct sworld *w, struct mclient *c, const struct mqtt_ack *a)
{
    if (a->reason >= 0x80 || c->n_got == SL_COUNT(c->got))
        smodel_fail(&w->m, "MQTT: PUBACK %u 0x%02x", a->packet_id, a->reason);
    c->got[c->n_got++] = a->packet_id;
}

void mqtt_pubacks(struct sworld *w)
{
    struct mclient *c = &w->publisher;
    for (uint32_t i = 0; i < c->n_got; i++) {
        if (c->n_owed == 0 || c->owed[0].packet_id != c->got[i])
            smodel_fail(&w->m, "MQTT: PUBACK %u out of turn", c->got[i]);
        if (!smodel_met(&w->m, &c->owed[0].needs))
            smodel_fail(&w->m, "MQTT: PUBACK %u, and what it promises is not stored", c->got[i]);
        sl_free(c->owed[0].needs.v);
        c->n_owed--;
        memmove(&c->owed[0], &c->owed[1], c->n_owed * sizeof c->owed[0]);
    }
    c->n_got = 0;
}

static void on_packet(struct sworld *w, struct mclient *c, struct mqtt_frame *f, struct sl_buf *answers)
{
    struct mqtt_connack connack;
    struct mqtt_publish publish;
    struct mqtt_ack ack;
    struct mqtt_codes codes;
    f->version = MQTT_V5;
    f->from_server = true;
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &connack) == SL_OK && connack.code == 0)
        c->connected = true;
    else if (f->type == MQTT_PUBLISH && mqtt_decode_publish(f, &publish) == SL_OK) {
        check_publish(&w->m, &publish);
        if (publish.qos > 0)
            puback(c, publish.packet_id, answers);
    } else if (f->type == MQTT_PUBACK && mqtt_decode_ack(f, &ack) == SL_OK)
        on_puback(w, c, &ack);
    else if (f->type != MQTT_SUBACK || mqtt_decode_suback(f, &codes) != SL_OK || codes.codes.p[0] != 1)
        smodel_fail(&w->m, "MQTT: packet %u", f->type);
}

bool mqtt_read(struct sworld *w, struct mclient *c)
{
    struct mqtt_frame f = { 0 };
    struct sl_buf answers = { 0 };
    struct sl_buf *out = hub_client_output(c->hc);
    assert_int_equal(sl_buf_append_bytes(&c->rx, sl_buf_view(out)), SL_OK);
    sl_buf_consume(out, sl_buf_len(out));
    bool more = hub_client_written(c->hc, false);
    if (hub_client_closing(c->hc))
        smodel_fail(&w->m, "MQTT: the server closes");
    while (sl_buf_len(&c->rx) > 0) {
        assert_int_equal(mqtt_frame_read(sl_buf_view(&c->rx), MQTT_PACKET_MAX, &f), SL_OK);
        on_packet(w, c, &f, &answers);
        sl_buf_consume(&c->rx, f.size);
    }
    if (sl_buf_len(&answers) > 0) {
        hub_client_feed(c->hc, sl_buf_view(&answers));
        more = true;
    }
    sl_buf_fini(&answers);
    return more;
}

void mqtt_open(struct sworld *w, struct mclient *c, bool subscribes)
{
    struct sl_buf out = { 0 };
    struct mqtt_connect p = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str(subscribes ? "sub" : "pub") };
    mqtt_props_init(&p.props);
    c->hc = hub_client_open(w->h, &w->mqtt, "model", c);
    assert_int_equal(mqtt_encode_connect(&out, &p), SL_OK);
    feed(w, c, &out);
    if (!subscribes)
        return;
    struct mqtt_filter filter = { .filter = sl_str("#"), .qos = 1, .retain_handling = 2 };
    struct mqtt_filters s = { .packet_id = 1, .list = &filter, .n = 1 };
    mqtt_props_init(&s.props);
    assert_int_equal(mqtt_encode_subscribe(&out, MQTT_V5, &s), SL_OK);
    w->m.mqtt_on = true;
    feed(w, c, &out);
}

void mqtt_drop(struct mclient *c)
{
    if (c->hc != NULL)
        hub_client_closed(c->hc);
    sl_buf_fini(&c->rx);
    for (uint32_t i = 0; i < c->n_owed; i++)
        sl_free(c->owed[i].needs.v);
    *c = (struct mclient){ 0 };
}

/* ---- the publisher ---- */

void mqtt_publish(struct sworld *w, uint32_t msg, uint32_t expiry_s)
{
    struct mclient *c = &w->publisher;
    struct sl_buf out = { 0 };
    struct message_header user[SL_COUNT(((struct said *)0)->headers)];
    struct needs needs = { 0 };
    smodel_enter(&w->m, msg, 0, &needs);
    const struct said *s = &w->m.msgs[msg];
    struct mqtt_publish p = { .retain = s->retain, .qos = s->qos, .topic = text_view(&s->topic), .payload = sl_bytes_of(s->body, s->n_body) };
    mqtt_props_init(&p.props);
    for (uint32_t i = 0; i < s->n_headers; i++)
        user[i] = (struct message_header){ text_view(&s->headers[i].name), text_view(&s->headers[i].value) };
    mqtt_props_set_user(&p.props, user, s->n_headers);
    if (s->has_type)
        mqtt_props_set_string(&p.props, MQTT_PROP_CONTENT_TYPE, text_view(&s->type));
    if (s->has_correlation)
        mqtt_props_set_string(&p.props, MQTT_PROP_CORRELATION_DATA, text_view(&s->correlation));
    if (s->has_reply)
        mqtt_props_set_string(&p.props, MQTT_PROP_RESPONSE_TOPIC, text_view(&s->reply));
    if (expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, expiry_s);
    if (s->qos > 0) {
        p.packet_id = ++c->next_id == 0 ? ++c->next_id : c->next_id;
        c->owed[c->n_owed].packet_id = p.packet_id;
        c->owed[c->n_owed++].needs = needs;
    } else {
        sl_free(needs.v);
    }
    assert_int_equal(mqtt_encode_publish(&out, MQTT_V5, &p), SL_OK);
    feed(w, c, &out);
}
