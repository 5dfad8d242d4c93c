/* What a client cannot take from the gateway, and how the gateway ends a
 * connection on its own account. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mqtt_harness.h"

/* ---- limits ---- */

struct size_row {
    enum mqtt_version version;
    const char *in, *out, *log;
};

static void too_large_is_refused_when_the_fixed_header_is_seen(void **state)
{
    (void)state;
    static const struct size_row table[] = {
  /* 65,537 over max_message 100: larger than any packet may be; no body is sent */
        {MQTT_V5,   "30 e5 80 04",           "e0 01 95", "CLOSE packet_too_large\n" },
        {MQTT_V311, "30 e5 80 04",           "",         "CLOSE packet_too_large\n" },
        {MQTT_V5,   "30 ( s\"t\" () z101 )", "e0 01 95", "CLOSE message_too_large\n"},
        {MQTT_V311, "30 ( s\"t\" z101 )",    "",         "CLOSE message_too_large\n"},
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        struct harness h;
        harness_init(&h);
        h.cfg.max_message = 100;
        harness_open(&h, table[i].version);
        harness_feed_text(&h, table[i].in);
        expect_out(&h, table[i].out);
        expect_log(&h, table[i].log);
        harness_end(&h);
    }
}

static void a_payload_of_exactly_the_limit_is_taken(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.max_message = 100;
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "32 ( s\"t\" 00 01 () z100 )");
    expect_out(&h, "40 02 00 01");
    harness_end(&h);
}

static void a_connect_over_partial_packet_is_closed_at_its_header(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.partial_packet = 64;
    harness_begin(&h);
    harness_feed_text(&h, "10 3f"); /* 65 bytes in all */
    expect_out(&h, "");
    expect_log(&h, "CLOSE packet_too_large\n");
    harness_end(&h);
}

/* An announced length buys no memory. */
static void a_partial_packet_is_held_as_its_bytes_arrive(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "30 80 80 40 z10");
    assert_int_equal(mqtt_protocol.buffered(h.s), 14);
    harness_feed_text(&h, "z100");
    assert_int_equal(mqtt_protocol.buffered(h.s), 114);
    harness_end(&h);
}

/* Pings until the connection ends; what it left in the output. */
static size_t ping_until_closed(struct harness *h)
{
    uint8_t in[4096];
    for (size_t i = 0; i < sizeof in; i += 2) {
        in[i] = 0xC0;
        in[i + 1] = 0;
    }
    bool closed = false;
    for (unsigned i = 0; i < 20000 && !closed; i++) {
        struct proto_event ev;
        mqtt_protocol.feed(h->s, sl_bytes_of(in, sizeof in), h->now_ms);
        closed = mqtt_protocol.next(h->s, &ev) && ev.kind == PROTO_CLOSE;
        if (closed)
            assert_string_equal(ev.u.reason, "client_does_not_read");
    }
    assert_true(closed);
    return sl_buf_len(mqtt_protocol.output(h->s));
}

static void a_client_that_does_not_read_is_let_go(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, v5 ? MQTT_V5 : MQTT_V311);
        size_t left = ping_until_closed(&h), word = v5 ? 3 : 0;
        assert_int_equal(left, 1024 * 1024 + word);
        if (v5) {
            struct sl_bytes out = sl_buf_view(mqtt_protocol.output(h.s));
            assert_memory_equal(out.p + left - word, "\xe0\x01\x97", word);
        }
        harness_end(&h);
    }
}

/* What is delivered is its sender's care, up to what it lets wait and the largest packet. */
static void a_subscriber_that_does_not_read_is_let_go_too(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.max_message = 1000;
    h.cfg.output_bytes = 8 << 20;
    harness_open(&h, MQTT_V311);
    struct message *m = message_new(
        &(struct message_parts){ .id = 1, .protocol = MESSAGE_MQTT5, .topic = sl_str("t") });
    struct proto_delivery d = { .msg = m };
    assert_int_equal(mqtt_protocol.deliver(h.s, &d, h.packets), PROTO_SENT);
    size_t left = ping_until_closed(&h);
    size_t most = (9 << 20) + 1000 + 65536;
    assert_in_range(left, most - 1, most);
    message_unref(m);
    harness_end(&h);
}

static void more_unanswered_releases_than_ids_are_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    static const uint8_t release[] = {0x62, 2, 0, 1};
    struct proto_event ev = {.kind = PROTO_RELEASE};
    size_t n = 0;
    while (ev.kind == PROTO_RELEASE && n++ < 200000) {
        mqtt_protocol.feed(h.s, sl_bytes_of(release, sizeof release), h.now_ms);
        assert_true(mqtt_protocol.next(h.s, &ev));
        if (ev.kind == PROTO_RELEASE)
            assert_false(mqtt_protocol.next(h.s, &ev));
    }
    assert_int_equal(ev.kind, PROTO_CLOSE);
    assert_string_equal(ev.u.reason, "too_many_unanswered");
    harness_pull(&h);
    expect_out(&h, "e0 01 97");
    harness_end(&h);
}

/* [MQTT-3.1.2-24]: the two SUBACK codes fit 7 bytes, three do not. */
static void packets_over_the_clients_maximum_are_not_sent(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c ( 27 00 00 00 19 ) s\"dev\" )");
    assert_false(h.closed);
    sl_buf_clear(&h.out);
    struct sl_buf text = {0};
    for (unsigned n = 20; n <= 21; n++) { /* a SUBACK with n codes has n + 5 bytes */
        sl_buf_clear(&text);
        int err = sl_buf_printf(&text, "82 ( 00 01 ()");
        for (unsigned i = 0; i < n; i++)
            err |= sl_buf_printf(&text, " s\"f\" 00");
        err |= sl_buf_append(&text, " )", 3);
        assert_int_equal(err, SL_OK);
        harness_feed_text(&h, (const char *)sl_buf_view(&text).p);
        assert_int_equal(sl_buf_len(&h.out), 25);
    }
    sl_buf_fini(&text);
    harness_end(&h);
}

static void a_client_that_takes_no_connack_is_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c ( 27 00 00 00 05 ) s\"dev\" )");
    expect_out(&h, "20 03 00 95 00");
    assert_non_null(strstr(harness_log(&h), "CLOSE client_maximum_packet_size\n"));
    harness_end(&h);
}

static void a_client_that_takes_no_refusal_is_closed_without_one(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c ( 27 00 00 00 04 ) s\"dev\" )");
    expect_out(&h, "");
    assert_non_null(strstr(harness_log(&h), "CLOSE client_maximum_packet_size\n"));
    harness_end(&h);
}

/* ---- our own end ---- */

struct bye_row {
    enum proto_bye why;
    const char *out5, *log;
};

static void shutdown_says_why_in_5_and_closes_in_311(void **state)
{
    (void)state;
    static const struct bye_row table[] = {
        {PROTO_BYE_TAKEOVER, "e0 01 8e", "CLOSE session_taken_over\n"   },
        {PROTO_BYE_SHUTDOWN, "e0 01 8b", "CLOSE shutdown\n"             },
        {PROTO_BYE_ADMIN,    "e0 01 98", "CLOSE administrative_action\n"},
        {PROTO_BYE_QUOTA,    "e0 01 97", "CLOSE quota_exceeded\n"       },
        {PROTO_BYE_STORE,    "e0 01 83", "CLOSE store_unavailable\n"    },
        {PROTO_BYE_PROTOCOL, "e0 01 82", "CLOSE unexpected_answer\n"    },
    };
    for (size_t i = 0; i < 2 * SL_COUNT(table); i++) {
        bool v5 = i % 2 == 1;
        struct harness h;
        harness_init(&h);
        harness_open(&h, v5 ? MQTT_V5 : MQTT_V311);
        mqtt_protocol.shutdown(h.s, table[i / 2].why);
        mqtt_protocol.shutdown(h.s, PROTO_BYE_ADMIN); /* once is enough */
        harness_pull(&h);
        expect_out(&h, v5 ? table[i / 2].out5 : "");
        expect_log(&h, table[i / 2].log);
        assert_int_equal(mqtt_protocol.deadline(h.s), UINT64_MAX);
        harness_end(&h);
    }
}

static void shutdown_before_connect_is_silent(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    mqtt_protocol.shutdown(h.s, PROTO_BYE_SHUTDOWN);
    harness_pull(&h);
    expect_out(&h, "");
    expect_log(&h, "CLOSE shutdown\n");
    harness_feed_text(&h, "10 ( s\"MQTT\" 04 02 00 3c s\"dev\" )");
    expect_log(&h, "");
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_large_is_refused_when_the_fixed_header_is_seen),
        cmocka_unit_test(a_payload_of_exactly_the_limit_is_taken),
        cmocka_unit_test(a_connect_over_partial_packet_is_closed_at_its_header),
        cmocka_unit_test(a_partial_packet_is_held_as_its_bytes_arrive),
        cmocka_unit_test(a_client_that_does_not_read_is_let_go),
        cmocka_unit_test(a_subscriber_that_does_not_read_is_let_go_too),
        cmocka_unit_test(more_unanswered_releases_than_ids_are_refused),
        cmocka_unit_test(packets_over_the_clients_maximum_are_not_sent),
        cmocka_unit_test(a_client_that_takes_no_connack_is_refused),
        cmocka_unit_test(a_client_that_takes_no_refusal_is_closed_without_one),
        cmocka_unit_test(shutdown_says_why_in_5_and_closes_in_311),
        cmocka_unit_test(shutdown_before_connect_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
