/* Towards subscribers: each packet is encoded once for a class of receivers,
 * aliases and the client's limits are heeded, and slow reading is no fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "mqtt_harness.h"

static struct message *message_of(uint64_t id, const char *topic, size_t payload)
{
    uint8_t *body = sl_calloc(1, payload);
    memset(body, 'x', payload);
    struct message *m = message_new(&(struct message_parts){
        .id = id,
        .protocol = MESSAGE_MQTT5,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .topic = sl_str(topic),
        .payload = sl_bytes_of(body, payload),
    });
    sl_free(body);
    return m;
}

/* ---- many receivers of one message ---- */

#define RECEIVERS 1000u

struct crowd {
    struct proto_config cfg;
    struct proto_session *s[RECEIVERS];
    struct proto_packets *packets;
};

static struct proto_session *connected(const struct proto_config *cfg, const char *connect)
{
    struct proto_session *s = mqtt_protocol.session_new(cfg, 0);
    struct sl_buf in = { 0 };
    struct proto_event ev;
    notation(&in, connect);
    mqtt_protocol.feed(s, sl_buf_view(&in), 0);
    assert_true(mqtt_protocol.next(s, &ev));
    mqtt_protocol.connected(s, &(struct proto_connected){ .client_id = sl_str("dev") });
    assert_false(mqtt_protocol.next(s, &ev));
    sl_buf_clear(mqtt_protocol.output(s));
    sl_buf_fini(&in);
    return s;
}

/* Every second one speaks 5. */
static void crowd_open(struct crowd *c)
{
    c->cfg = (struct proto_config){ .max_message = 1u << 20, .partial_packet = 65536 };
    c->packets = mqtt_protocol.packets_new();
    for (size_t i = 0; i < RECEIVERS; i++)
        c->s[i] = connected(&c->cfg, i % 2 == 1 ? "10 ( s\"MQTT\" 05 02 00 3c () s\"d\" )"
                                                : "10 ( s\"MQTT\" 04 02 00 3c s\"d\" )");
}

static void crowd_close(struct crowd *c)
{
    for (size_t i = 0; i < RECEIVERS; i++)
        mqtt_protocol.session_free(c->s[i]);
    mqtt_protocol.packets_free(c->packets);
}

/* What one receiver got is one PUBLISH of the message, and nothing else. */
static void check_one(struct proto_session *s, bool v5, const struct proto_delivery *d)
{
    struct sl_buf *out = mqtt_protocol.output(s);
    struct mqtt_frame f = { .version = v5 ? MQTT_V5 : MQTT_V311, .from_server = true };
    struct mqtt_publish p;
    assert_int_equal(mqtt_frame_read(sl_buf_view(out), MQTT_PACKET_MAX, &f), SL_OK);
    assert_int_equal(f.size, sl_buf_len(out));
    assert_int_equal(mqtt_decode_publish(&f, &p), SL_OK);
    assert_int_equal(p.qos, d->qos);
    assert_int_equal(p.packet_id, d->packet_id);
    assert_true(sl_bytes_eq(p.topic, message_topic(d->msg)));
    assert_true(sl_bytes_eq(p.payload, message_payload(d->msg)));
    sl_buf_clear(out);
}

static void to_all(struct crowd *c, const struct message *m, bool by_qos)
{
    for (size_t i = 0; i < RECEIVERS; i++) {
        struct proto_delivery d = { .msg = m };
        d.qos = by_qos ? (uint8_t)(i / 2 % 3) : 0;
        d.packet_id = d.qos > 0 ? (uint16_t)(i + 1) : 0;
        assert_int_equal(mqtt_protocol.deliver(c->s[i], &d, c->packets), PROTO_SENT);
        check_one(c->s[i], i % 2 == 1, &d);
    }
}

static void a_thousand_receivers_cost_one_encoding_for_each_class(void **state)
{
    (void)state;
    struct crowd c;
    crowd_open(&c);
    struct message *one = message_of(1, "a/b", 100), *two = message_of(2, "a/b", 100);
    to_all(&c, one, false);
    assert_int_equal(mqtt_packets_encoded(c.packets), 2); /* versions */
    to_all(&c, two, true);
    assert_int_equal(mqtt_packets_encoded(c.packets), 2 + 6); /* versions and QoS */
    to_all(&c, two, true);
    assert_int_equal(mqtt_packets_encoded(c.packets), 2 + 6);
    message_unref(one);
    message_unref(two);
    crowd_close(&c);
}

/* A payload of any size is whole, whether it is kept with the packet or not. */
static void payloads_of_every_size_arrive_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 1023, 1024, 1025, 16383, 100000, 1u << 20 };
    struct crowd c;
    crowd_open(&c);
    for (size_t k = 0; k < SL_COUNT(sizes); k++) {
        struct message *m = message_of(k + 1, "t", sizes[k]);
        for (size_t i = 0; i < 4; i++) {
            struct proto_delivery d = { .msg = m, .qos = 1, .packet_id = (uint16_t)(i + 1) };
            assert_int_equal(mqtt_protocol.deliver(c.s[i], &d, c.packets), PROTO_SENT);
            check_one(c.s[i], i % 2 == 1, &d);
        }
        message_unref(m);
    }
    assert_int_equal(mqtt_packets_encoded(c.packets), 2 * SL_COUNT(sizes));
    crowd_close(&c);
}

struct difference {
    const char *what;
    struct proto_delivery d;
    uint64_t v311, v5; /* encodings after a plain QoS 1 delivery went before */
};

static void classes_differ_in_what_their_bytes_differ_in(void **state)
{
    (void)state;
    static const uint32_t ids[] = { 5, 6, 7 };
    static const struct difference table[] = {
        { "packet id", { .qos = 1, .packet_id = 9 }, 0, 0 },
        { "QoS 0", { .qos = 0 }, 1, 1 },
        { "QoS 2", { .qos = 2, .packet_id = 1 }, 1, 1 },
        { "DUP", { .qos = 1, .packet_id = 1, .dup = true }, 1, 1 },
        { "RETAIN", { .qos = 1, .packet_id = 1, .retain = true }, 1, 1 },
        { "expiry", { .qos = 1, .packet_id = 1, .has_expiry = true, .expiry_s = 3 }, 0, 1 },
        { "later expiry", { .qos = 1, .packet_id = 1, .has_expiry = true, .expiry_s = 4 }, 0, 1 },
        { "one id", { .qos = 1, .packet_id = 1, .subscription_ids = ids, .n_ids = 1 }, 0, 1 },
        { "another", { .qos = 1, .packet_id = 1, .subscription_ids = ids + 1, .n_ids = 1 }, 0, 1 },
        { "two ids", { .qos = 1, .packet_id = 1, .subscription_ids = ids, .n_ids = 2 }, 0, 1 },
        { "others", { .qos = 1, .packet_id = 1, .subscription_ids = ids + 1, .n_ids = 2 }, 0, 1 },
    };
    struct crowd c;
    crowd_open(&c);
    struct message *m = message_of(1, "a/b", 10);
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < SL_COUNT(table); i++) {
            struct proto_delivery plain = { .msg = m, .qos = 1, .packet_id = 1 };
            struct proto_delivery d = table[i].d;
            d.msg = m;
            assert_int_equal(mqtt_protocol.deliver(c.s[v], &plain, c.packets), PROTO_SENT);
            uint64_t before = mqtt_packets_encoded(c.packets);
            assert_int_equal(mqtt_protocol.deliver(c.s[v], &d, c.packets), PROTO_SENT);
            uint64_t more = mqtt_packets_encoded(c.packets) - before;
            if (more != (v == 0 ? table[i].v311 : table[i].v5))
                fail_msg("%s", table[i].what);
        }
    }
    message_unref(m);
    crowd_close(&c);
}

/* More classes than are kept: all are right, some are encoded again. */
static void more_classes_than_places_are_encoded_again(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    struct message *m = message_of(1, "t", 1);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t id = 1; id <= 20; id++) {
            char text[64];
            struct proto_delivery d = { .msg = m, .subscription_ids = &id, .n_ids = 1 };
            assert_int_equal(harness_deliver(&h, &d), PROTO_SENT);
            snprintf(text, sizeof text, "30 ( s\"t\" ( 0b %02x ) \"x\" )", id);
            expect_out(&h, text);
        }
    }
    message_unref(m);
    harness_end(&h);
}

/* The id alone says which message it is, and 0 says nothing. */
static void another_message_at_the_same_place_is_another(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    struct message *m = message_of(0, "t", 1);
    struct proto_delivery d = { .msg = m };
    harness_deliver(&h, &d);
    message_set_id(m, 7, 0);
    m->record[m->record_bytes - 1] = 'y';
    harness_deliver(&h, &d);
    message_set_id(m, 8, 0);
    m->record[m->record_bytes - 1] = 'z';
    harness_deliver(&h, &d);
    message_set_id(m, 0, 0);
    m->record[m->record_bytes - 1] = '1';
    harness_deliver(&h, &d);
    m->record[m->record_bytes - 1] = '2';
    harness_deliver(&h, &d);
    expect_out(&h, "30 ( s\"t\" \"x\" ) 30 ( s\"t\" \"y\" ) 30 ( s\"t\" \"z\" )"
                   " 30 ( s\"t\" \"1\" ) 30 ( s\"t\" \"2\" )");
    message_unref(m);
    harness_end(&h);
}

/* What a message of another protocol has, and MQTT's strings cannot hold. */
static void what_mqtt_cannot_say_is_left_out(void **state)
{
    (void)state;
    static const struct message_header headers[] = {
        { { (const uint8_t *)"bad\xff", 4 }, { (const uint8_t *)"1", 1 } },
        { { (const uint8_t *)"k", 1 }, { (const uint8_t *)"v", 1 } },
        { { (const uint8_t *)"bad", 3 }, { (const uint8_t *)"\0", 1 } },
    };
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    for (int good = 0; good <= 1; good++) {
        struct message *m = message_new(&(struct message_parts){
            .id = (uint64_t)good + 1,
            .protocol = MESSAGE_STOMP,
            .topic = sl_str("t"),
            .content_type = sl_str(good ? "text" : "te\xff"),
            .reply_to = sl_str(good ? "r/s" : "r/+"),
            .correlation = sl_str("\xff"),
            .headers = headers,
            .n_headers = SL_COUNT(headers),
        });
        harness_deliver(&h, &(struct proto_delivery){ .msg = m });
        message_unref(m);
    }
    expect_out(&h, "30 ( s\"t\" ( 09 00 01 ff 26 s\"k\" s\"v\" ) )"
                   " 30 ( s\"t\" ( 03 s\"text\" 08 s\"r/s\" 09 00 01 ff 26 s\"k\" s\"v\" ) )");
    harness_end(&h);
}

/* ---- topic aliases ---- */

/* A client that keeps what it is told, as section 3.3.4 has it. */
struct listener {
    uint16_t max;
    char topics[64][32];
    uint32_t set, used;
};

static void hear(struct listener *l, struct harness *h, const char *topic)
{
    struct mqtt_frame f = { .version = MQTT_V5, .from_server = true };
    struct mqtt_publish p;
    assert_int_equal(mqtt_frame_read(sl_buf_view(&h->out), MQTT_PACKET_MAX, &f), SL_OK);
    assert_int_equal(mqtt_decode_publish(&f, &p), SL_OK);
    uint32_t alias = mqtt_props_number(&p.props, MQTT_PROP_TOPIC_ALIAS, 0);
    assert_in_range(alias, 1, l->max); /* [MQTT-3.1.2-26], [MQTT-3.3.2-8], [MQTT-3.3.2-11] */
    if (p.topic.n > 0) {
        memset(l->topics[alias], 0, sizeof l->topics[alias]);
        memcpy(l->topics[alias], p.topic.p, p.topic.n);
        l->set++;
    } else {
        l->used++;
    }
    assert_string_equal(l->topics[alias], topic);
    sl_buf_clear(&h->out);
}

static void aliases_stay_within_the_clients_maximum_and_mean_their_topic(void **state)
{
    (void)state;
    static const uint16_t most[] = { 1, 2, 3, 31, 32, 33, 1000, 65535 };
    for (size_t k = 0; k < SL_COUNT(most); k++) {
        struct harness h;
        char properties[32];
        harness_init(&h);
        snprintf(properties, sizeof properties, "22 %02x %02x", most[k] >> 8, most[k] & 0xFF);
        harness_open_with(&h, properties);
        struct listener l = { .max = most[k] < 32 ? most[k] : 32 };
        uint32_t random = 1;
        for (uint64_t id = 1; id <= 2000; id++) {
            char topic[32];
            random = random * 1664525u + 1013904223u;
            snprintf(topic, sizeof topic, "sensors/%u", (random >> 8) % (l.max * 2u));
            struct message *m = message_of(id, topic, 3);
            struct proto_delivery d = { .msg = m };
            assert_int_equal(harness_deliver(&h, &d), PROTO_SENT);
            hear(&l, &h, topic);
            message_unref(m);
        }
        assert_true(l.set > 0 && l.used > 0);
        harness_end(&h);
    }
}

/* [MQTT-3.3.2-7] */
static void aliases_end_with_their_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct harness h;
        harness_init(&h);
        harness_open_with(&h, "22 00 01");
        struct message *m = message_of(1, "a/topic", 0);
        struct proto_delivery d = { .msg = m };
        harness_deliver(&h, &d);
        expect_out(&h, "30 ( s\"a/topic\" ( 23 00 01 ) )");
        harness_deliver(&h, &d);
        expect_out(&h, "30 ( s\"\" ( 23 00 01 ) )");
        if (i == 0) { /* the client's own end in the same way */
            harness_feed_text(&h, "30 ( s\"mine\" ( 23 00 01 ) ) 30 ( s\"\" ( 23 00 01 ) )");
            expect_log(&h, "PUBLISH topic=mine\nPUBLISH topic=mine\n");
        } else {
            harness_feed_text(&h, "30 ( s\"\" ( 23 00 01 ) )");
            expect_log(&h, "CLOSE topic_alias_unknown\n");
        }
        message_unref(m);
        harness_end(&h);
    }
}

/* The alias takes three bytes: where these are too much, the topic goes alone,
 * and where that is too much nothing goes and nothing is remembered. */
static void an_alias_that_was_not_told_is_not_used(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open_with(&h, "22 00 01 27 00 00 00 14"); /* 20 bytes */
    struct message *longer = message_of(1, "a/topic", 9), *fits = message_of(2, "a/topic", 8),
                   *small = message_of(3, "a/topic", 5), *used = message_of(4, "a/topic", 12),
                   *over = message_of(5, "a/topic", 13);
    assert_int_equal(harness_deliver(&h, &(struct proto_delivery){ .msg = longer }),
                     PROTO_TOO_LARGE);
    expect_out(&h, "");
    assert_int_equal(harness_deliver(&h, &(struct proto_delivery){ .msg = fits }), PROTO_SENT);
    expect_out(&h, "30 ( s\"a/topic\" () \"xxxxxxxx\" )");
    assert_int_equal(harness_deliver(&h, &(struct proto_delivery){ .msg = small }), PROTO_SENT);
    expect_out(&h, "30 ( s\"a/topic\" ( 23 00 01 ) \"xxxxx\" )");
    assert_int_equal(harness_deliver(&h, &(struct proto_delivery){ .msg = used }), PROTO_SENT);
    expect_out(&h, "30 ( s\"\" ( 23 00 01 ) \"xxxxxxxxxxxx\" )");
    assert_int_equal(harness_deliver(&h, &(struct proto_delivery){ .msg = over }), PROTO_TOO_LARGE);
    expect_out(&h, "");
    message_unref(longer);
    message_unref(fits);
    message_unref(small);
    message_unref(used);
    message_unref(over);
    harness_end(&h);
}

/* ---- what pends, and the end ---- */

/* A large message that is not read yet is no reason to end the connection when
 * its reader pings; answers that pile up are. */
static void a_delivery_always_fits_and_does_not_make_a_ping_too_much(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    struct message *m = message_of(1, "t", 1024 * 1024);
    struct proto_delivery d = { .msg = m };
    struct sl_buf *out = mqtt_protocol.output(h.s);
    assert_int_equal(mqtt_protocol.deliver(h.s, &d, h.packets), PROTO_SENT);
    static const uint8_t ping[] = { 0xC0, 0 };
    struct proto_event ev;
    for (unsigned i = 0; i < 1000; i++) {
        mqtt_protocol.feed(h.s, sl_bytes_of(ping, sizeof ping), h.now_ms);
        assert_false(mqtt_protocol.next(h.s, &ev));
    }
    assert_int_equal(sl_buf_len(out), 1024 * 1024 + 7 + 2000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(mqtt_protocol.deliver(h.s, &d, h.packets), PROTO_SENT);
    message_unref(m);
    harness_end(&h);
}

static void nothing_is_delivered_on_a_connection_that_is_over(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    struct message *m = message_of(1, "t", 1);
    mqtt_protocol.shutdown(h.s, PROTO_BYE_TAKEOVER);
    assert_int_equal(mqtt_protocol.deliver(h.s, &(struct proto_delivery){ .msg = m }, h.packets),
                     PROTO_ENDED);
    mqtt_protocol.release(h.s, 5, true);
    harness_pull(&h);
    expect_out(&h, "e0 01 8e"); /* [MQTT-3.14.4-1] */
    assert_int_equal(mqtt_protocol.deliver(h.s, &(struct proto_delivery){ .msg = m }, h.packets),
                     PROTO_ENDED);
    message_unref(m);
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_receivers_cost_one_encoding_for_each_class),
        cmocka_unit_test(payloads_of_every_size_arrive_whole),
        cmocka_unit_test(classes_differ_in_what_their_bytes_differ_in),
        cmocka_unit_test(more_classes_than_places_are_encoded_again),
        cmocka_unit_test(another_message_at_the_same_place_is_another),
        cmocka_unit_test(what_mqtt_cannot_say_is_left_out),
        cmocka_unit_test(aliases_stay_within_the_clients_maximum_and_mean_their_topic),
        cmocka_unit_test(aliases_end_with_their_connection),
        cmocka_unit_test(an_alias_that_was_not_told_is_not_used),
        cmocka_unit_test(a_delivery_always_fits_and_does_not_make_a_ping_too_much),
        cmocka_unit_test(nothing_is_delivered_on_a_connection_that_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
