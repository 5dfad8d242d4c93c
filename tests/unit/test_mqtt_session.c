/* The session's rules that are about more than one packet: order of answers,
 * aliases, receive maximum, holding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mqtt_harness.h"

#define CONNACK_V5 "20 ( 00 00 ( 21 04 00 22 00 08 27 00 11 00 00 ) )"

/* ---- the greeting ---- */

static void connack_of_5_tells_what_the_server_can(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 3c () s\"dev\" )");
    expect_log(&h, "CONNECT mqtt5 id=dev clean=1\n");
    expect_out(&h, CONNACK_V5);
    harness_end(&h);
}

static void connack_of_5_tells_assigned_id_and_caps(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.max_keep_alive_s = 30;
    harness_begin(&h);
    /* keep alive 60 s, session expiry 65,536 s, no client id */
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 00 00 3c ( 11 00 01 00 00 ) s\"\" )");
    expect_log(&h, "CONNECT mqtt5 expiry=3600\n");
    expect_out(&h, "20 ( 00 00 ( 11 00 00 0e 10 12 s\"auto-1\" 13 00 1e 21 04 00 22 00 08"
                   " 27 00 11 00 00 ) )");
    harness_end(&h);
}

static void keep_alive_0_is_over_any_limit(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.max_keep_alive_s = 30;
    h.cfg.receive_maximum = UINT16_MAX; /* the default of the protocol is not told */
    h.cfg.topic_alias_max = 0;
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 05 02 00 00 () s\"dev\" )");
    expect_out(&h, "20 ( 00 00 ( 13 00 1e 27 00 11 00 00 ) )");
    harness_end(&h);
}

static void session_present_is_told(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.session_present = true;
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 04 00 00 3c s\"dev\" )");
    expect_log(&h, "CONNECT mqtt3 id=dev expiry=4294967295\n");
    expect_out(&h, "20 02 01 00");
    harness_end(&h);
}

struct refused {
    enum proto_connect_result result;
    const char *out3, *out5, *log;
};

static void a_refused_connect_is_told_why(void **state)
{
    (void)state;
    static const struct refused table[] = {
        { PROTO_CONNECT_BAD_CREDENTIALS, "20 02 00 04", "20 03 00 86 00",
          "CLOSE bad_credentials\n" },
        { PROTO_CONNECT_DENIED, "20 02 00 05", "20 03 00 87 00", "CLOSE not_authorized\n" },
        { PROTO_CONNECT_QUOTA, "20 02 00 03", "20 03 00 97 00", "CLOSE quota_exceeded\n" },
        { PROTO_CONNECT_RATE, "20 02 00 03", "20 03 00 9f 00", "CLOSE connection_rate_exceeded\n" },
        { PROTO_CONNECT_UNAVAILABLE, "20 02 00 03", "20 03 00 88 00",
          "CLOSE server_unavailable\n" },
    };
    for (size_t i = 0; i < 2 * SL_COUNT(table); i++) {
        const struct refused *row = &table[i / 2];
        struct harness h;
        harness_init(&h);
        h.connect_result = row->result;
        h.session_present = true; /* is not told then [MQTT-3.2.2-4] */
        harness_begin(&h);
        bool v5 = i % 2 == 1;
        harness_feed_text(&h, v5 ? "10 ( s\"MQTT\" 05 02 00 3c ( 17 00 ) s\"d\" ) c0 00"
                                 : "10 ( s\"MQTT\" 04 02 00 3c s\"d\" ) c0 00");
        assert_non_null(strstr(harness_log(&h), row->log));
        expect_out(&h, v5 ? row->out5 : row->out3);
        harness_end(&h);
    }
}

/* What a client sends behind its CONNECT waits for the verdict. */
static void packets_behind_connect_wait_for_the_verdict(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    struct sl_buf in = { 0 };
    notation(&in, "10 ( s\"MQTT\" 04 02 00 3c s\"dev\" ) 32 ( s\"t\" 00 01 \"x\" )");
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_buf_view(&in), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    assert_int_equal(ev.kind, PROTO_CONNECT);
    assert_false(mqtt_protocol.next(h.s, &ev));
    assert_int_equal(mqtt_protocol.buffered(h.s), 8);
    sl_buf_fini(&in); /* the view is dead now */
    mqtt_protocol.connected(h.s, &(struct proto_connected){ .client_id = sl_str("dev") });
    harness_pull(&h);
    expect_log(&h, "PUBLISH topic=t qos=1 id=1 body=x\n");
    expect_out(&h, "20 02 00 00 40 02 00 01");
    assert_int_equal(mqtt_protocol.buffered(h.s), 0);
    harness_end(&h);
}

static void a_flood_before_the_verdict_is_closed(void **state)
{
    (void)state;
    static const char *const in[][2] = {
        { "10 ( s\"MQTT\" 04 02 00 3c s\"dev\" ) 30 ( s\"t\" z100 )", "" },
        { "10 ( s\"MQTT\" 05 02 00 3c ( 17 00 ) s\"dev\" ) 30 ( s\"t\" () z100 )",
          "20 03 00 97 00" },
    };
    for (size_t i = 0; i < SL_COUNT(in); i++) {
        struct harness h;
        harness_init(&h);
        h.cfg.partial_packet = 64;
        harness_begin(&h);
        struct sl_buf bytes = { 0 };
        notation(&bytes, in[i][0]);
        struct proto_event ev;
        mqtt_protocol.feed(h.s, sl_buf_view(&bytes), h.now_ms);
        assert_true(mqtt_protocol.next(h.s, &ev));
        assert_true(mqtt_protocol.next(h.s, &ev));
        assert_int_equal(ev.kind, PROTO_CLOSE);
        assert_string_equal(ev.u.reason, "too_much_before_authentication");
        harness_pull(&h);
        expect_out(&h, in[i][1]);
        sl_buf_fini(&bytes);
        harness_end(&h);
    }
}

/* ---- order of answers ---- */

static void answers_leave_in_the_order_of_the_frames(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 () ) 34 ( s\"b\" 00 02 () ) 62 02 00 09"
                          " 82 ( 00 05 () s\"f\" 00 ) 32 ( s\"c\" 00 03 () )");
    expect_out(&h, "");
    harness_answer(&h, 4, PROTO_ACCEPTED);
    harness_answer(&h, 3, PROTO_ACCEPTED);
    harness_answer(&h, 2, PROTO_UNKNOWN_ID);
    harness_answer(&h, 1, PROTO_NO_TAKER);
    expect_out(&h, "");
    harness_feed_text(&h, "c0 00"); /* passes by */
    expect_out(&h, "d0 00");
    harness_answer(&h, 0, PROTO_REFUSED_QUOTA);
    expect_out(&h, "40 03 00 01 97 50 03 00 02 10 70 03 00 09 92 90 04 00 05 00 00 40 02 00 03");
    harness_end(&h);
}

/* Each order in which n answers may come gives the same bytes out. */
static void any_order_of_answering_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, MQTT_V311);
        h.answer_at_once = false;
        struct sl_buf want = { 0 };
        for (unsigned i = 1; i <= 40; i++) {
            char text[64];
            snprintf(text, sizeof text, "3%c ( s\"t\" 00 %02x )", i % 3 == 0 ? '4' : '2', i);
            harness_feed_text(&h, text);
            snprintf(text, sizeof text, "%c0 02 00 %02x", i % 3 == 0 ? '5' : '4', i);
            notation(&want, text);
        }
        uint32_t random = seed;
        for (size_t left = 40; left > 0; left--) {
            random = random * 1664525u + 1013904223u;
            size_t pick = (random >> 8) % left;
            harness_answer(&h, pick, PROTO_ACCEPTED);
            h.tokens[pick] = h.tokens[left - 1];
        }
        assert_int_equal(sl_buf_len(&h.out), sl_buf_len(&want));
        assert_memory_equal(sl_buf_view(&h.out).p, sl_buf_view(&want).p, sl_buf_len(&want));
        sl_buf_fini(&want);
        harness_end(&h);
    }
}

static void answers_after_the_close_are_ignored(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 () ) f0 00");
    expect_out(&h, "e0 01 82");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    expect_out(&h, "");
    harness_end(&h);
}

struct verdict_row {
    enum proto_result result;
    const char *qos1, *qos2, *release, *v311_qos1;
};

static void each_verdict_has_its_reason_code(void **state)
{
    (void)state;
    static const struct verdict_row table[] = {
        { PROTO_ACCEPTED, "40 02 00 07", "50 02 00 07", "70 02 00 07", "40 02 00 07" },
        { PROTO_NO_TAKER, "40 03 00 07 10", "50 03 00 07 10", "70 02 00 07", "40 02 00 07" },
        { PROTO_REFUSED_QUOTA, "40 03 00 07 97", "50 03 00 07 97", "e0 01 97", "" },
        { PROTO_REFUSED_DENIED, "40 03 00 07 87", "50 03 00 07 87", "e0 01 87", "" },
        { PROTO_REFUSED_TARGET, "40 03 00 07 90", "50 03 00 07 90", "e0 01 90", "" },
        { PROTO_REFUSED_STORE, "40 03 00 07 83", "50 03 00 07 83", "e0 01 83", "" },
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        const char *in[] = { "32 ( s\"t\" 00 07 () )", "34 ( s\"t\" 00 07 () )", "62 02 00 07" };
        const char *out[] = { table[i].qos1, table[i].qos2, table[i].release };
        for (size_t k = 0; k < SL_COUNT(in); k++) {
            struct harness h;
            harness_init(&h);
            harness_open(&h, MQTT_V5);
            h.verdict = table[i].result;
            harness_feed_text(&h, in[k]);
            expect_out(&h, out[k]);
            harness_end(&h);
        }
        struct harness h;
        harness_init(&h);
        harness_open(&h, MQTT_V311);
        h.verdict = table[i].result;
        harness_feed_text(&h, "32 ( s\"t\" 00 07 )");
        expect_out(&h, table[i].v311_qos1);
        harness_end(&h);
    }
}

/* Older answers still leave; only then the connection ends. */
static void denied_on_311_closes_when_its_turn_comes(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 ) 32 ( s\"$SYS/x\" 00 02 ) 32 ( s\"c\" 00 03 )");
    sl_buf_clear(&h.log);
    harness_answer(&h, 1, PROTO_REFUSED_DENIED);
    assert_false(mqtt_protocol.over(h.s));
    harness_answer(&h, 2, PROTO_ACCEPTED);
    harness_pull(&h);
    expect_log(&h, "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    assert_true(mqtt_protocol.over(h.s)); /* there is something to pull */
    harness_pull(&h);
    expect_out(&h, "40 02 00 01");
    expect_log(&h, "CLOSE not_authorized\n");
    harness_end(&h);
}

/* QoS 0 is owed no answer; a caller may give its verdict all the same. */
static void denied_qos_0_closes_after_the_answers_before_it(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, v5 ? MQTT_V5 : MQTT_V311);
        h.answer_at_once = false;
        harness_feed_text(&h, v5 ? "32 ( s\"a\" 00 01 () )" : "32 ( s\"a\" 00 01 )");
        sl_buf_clear(&h.log);
        mqtt_protocol.answer(h.s, 0, PROTO_NO_TAKER, h.now_ms);
        mqtt_protocol.answer(h.s, 0, PROTO_REFUSED_QUOTA, h.now_ms);
        mqtt_protocol.answer(h.s, 0, PROTO_REFUSED_DENIED, h.now_ms);
        harness_pull(&h);
        expect_log(&h, "");
        harness_answer(&h, 0, PROTO_ACCEPTED);
        harness_pull(&h);
        expect_out(&h, v5 ? "40 02 00 01 e0 01 87" : "40 02 00 01");
        expect_log(&h, "CLOSE not_authorized\n");
        harness_end(&h);
    }
}

/* ---- topic aliases ---- */

static void an_alias_stands_for_its_topic_until_it_is_set_anew(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "30 ( s\"long/topic\" ( 23 00 08 ) ) 30 ( s\"\" ( 23 00 08 ) \"1\" )"
                          " 30 ( s\"b\" ( 23 00 01 ) ) 30 ( s\"\" ( 23 00 01 ) \"2\" )"
                          " 30 ( s\"other\" ( 23 00 08 ) ) 30 ( s\"\" ( 23 00 08 ) \"3\" )"
                          " 30 ( s\"\" ( 23 00 01 ) \"4\" )");
    expect_log(&h, "PUBLISH topic=long/topic\nPUBLISH topic=long/topic body=1\n"
                   "PUBLISH topic=b\nPUBLISH topic=b body=2\n"
                   "PUBLISH topic=other\nPUBLISH topic=other body=3\nPUBLISH topic=b body=4\n");
    harness_end(&h);
}

static void bad_aliases_end_the_connection(void **state)
{
    (void)state;
    static const char *const table[][3] = {
        { "30 ( s\"t\" ( 23 00 00 ) )", "e0 01 94", "CLOSE topic_alias_invalid\n" },
        { "30 ( s\"t\" ( 23 00 09 ) )", "e0 01 94", "CLOSE topic_alias_invalid\n" },
        { "30 ( s\"\" ( 23 00 09 ) )", "e0 01 94", "CLOSE topic_alias_invalid\n" },
        { "30 ( s\"\" ( 23 00 05 ) )", "e0 01 82", "CLOSE topic_alias_unknown\n" },
        { "30 ( s\"\" () )", "e0 01 82", "CLOSE topic_empty\n" },
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, MQTT_V5);
        harness_feed_text(&h, table[i][0]);
        expect_out(&h, table[i][1]);
        expect_log(&h, table[i][2]);
        harness_end(&h);
    }
}

static void with_no_aliases_allowed_each_is_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.topic_alias_max = 0;
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "30 ( s\"t\" ( 23 00 01 ) )");
    expect_out(&h, "e0 01 94");
    harness_end(&h);
}

static void aliased_topics_have_a_limit_in_bytes(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "30 ( 9c 40 z40000 ( 23 00 01 ) )");
    sl_buf_clear(&h.log);
    harness_feed_text(&h, "30 ( 9c 40 z40000 ( 23 00 02 ) )");
    expect_out(&h, "e0 01 97");
    expect_log(&h, "CLOSE topic_aliases_too_large\n");
    harness_end(&h);
}

/* ---- receive maximum ---- */

static void one_publish_over_the_receive_maximum_is_refused(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.receive_maximum = 2;
    harness_open(&h, MQTT_V5);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 () ) 34 ( s\"b\" 00 02 () ) 30 ( s\"c\" () )");
    assert_false(h.closed);
    harness_feed_text(&h, "32 ( s\"d\" 00 03 () )");
    expect_out(&h, "e0 01 93");
    assert_non_null(strstr(harness_log(&h), "CLOSE receive_maximum_exceeded\n"));
    harness_end(&h);
}

/* PUBACK gives one back, PUBREC only when it refuses, else PUBCOMP. */
static void the_quota_comes_back_with_the_last_answer(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.receive_maximum = 1;
    harness_open(&h, MQTT_V5);
    harness_feed_text(&h, "32 ( s\"a\" 00 01 () ) 34 ( s\"b\" 00 02 () ) 62 02 00 02");
    h.verdict = PROTO_REFUSED_DENIED;
    harness_feed_text(&h, "34 ( s\"b\" 00 03 () )");
    h.verdict = PROTO_ACCEPTED;
    harness_feed_text(&h, "34 ( s\"b\" 00 04 () )");
    assert_false(h.closed);
    harness_feed_text(&h, "32 ( s\"b\" 00 05 () )");
    assert_true(h.closed);
    expect_out(&h, "40 02 00 01 50 02 00 02 70 02 00 02 50 03 00 03 87 50 02 00 04 e0 01 93");
    harness_end(&h);
}

static void in_311_the_caller_holds_instead(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.receive_maximum = 1;
    harness_open(&h, MQTT_V311);
    struct sl_buf in = { 0 };
    notation(&in, "32 ( s\"a\" 00 01 ) 32 ( s\"b\" 00 02 ) 32 ( s\"c\" 00 03 )");
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_buf_view(&in), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    uint32_t first = ev.token;
    mqtt_protocol.hold(h.s);
    memset(in.p, 0xFF, in.end);
    sl_buf_fini(&in);
    assert_int_equal(mqtt_protocol.buffered(h.s), 14);
    mqtt_protocol.answer(h.s, first, PROTO_ACCEPTED, h.now_ms);
    harness_pull(&h);
    expect_log(&h, "PUBLISH topic=b qos=1 id=2\nPUBLISH topic=c qos=1 id=3\n");
    expect_out(&h, "40 02 00 01 40 02 00 02 40 02 00 03");
    harness_end(&h);
}

/* What was held stands before what is fed later, also in the middle of a packet. */
static void held_input_comes_before_fed_input(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    struct sl_buf in = { 0 };
    notation(&in, "30 ( s\"a\" ) 30 ( s\"b\" \"12345\" ) 30 ( s\"c\" )");
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_bytes_of(in.p, 11), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    mqtt_protocol.hold(h.s);
    harness_feed(&h, sl_bytes_of(in.p + 11, in.end - 11), 100);
    expect_log(&h, "PUBLISH topic=b body=12345\nPUBLISH topic=c\n");
    sl_buf_fini(&in);
    harness_end(&h);
}

/* A read that ends one packet and brings others: these are not copied. */
static void only_the_packet_that_was_split_is_copied(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    struct sl_buf in = { 0 };
    notation(&in, "30 ( s\"a\" \"12345\" ) 30 ( s\"b\" \"67890\" )");
    harness_feed(&h, sl_bytes_of(in.p, 4), 4);
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_bytes_of(in.p + 4, in.end - 4), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    assert_true(sl_bytes_is(ev.u.publish.payload, "12345"));
    assert_true(mqtt_protocol.next(h.s, &ev));
    assert_true(sl_bytes_is(ev.u.publish.payload, "67890"));
    assert_ptr_equal(ev.u.publish.payload.p, in.p + in.end - 5);
    assert_false(mqtt_protocol.next(h.s, &ev));
    assert_int_equal(mqtt_protocol.buffered(h.s), 0);
    sl_buf_fini(&in);
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connack_of_5_tells_what_the_server_can),
        cmocka_unit_test(connack_of_5_tells_assigned_id_and_caps),
        cmocka_unit_test(keep_alive_0_is_over_any_limit),
        cmocka_unit_test(session_present_is_told),
        cmocka_unit_test(a_refused_connect_is_told_why),
        cmocka_unit_test(packets_behind_connect_wait_for_the_verdict),
        cmocka_unit_test(a_flood_before_the_verdict_is_closed),
        cmocka_unit_test(answers_leave_in_the_order_of_the_frames),
        cmocka_unit_test(any_order_of_answering_gives_the_same_bytes),
        cmocka_unit_test(answers_after_the_close_are_ignored),
        cmocka_unit_test(each_verdict_has_its_reason_code),
        cmocka_unit_test(denied_on_311_closes_when_its_turn_comes),
        cmocka_unit_test(denied_qos_0_closes_after_the_answers_before_it),
        cmocka_unit_test(an_alias_stands_for_its_topic_until_it_is_set_anew),
        cmocka_unit_test(bad_aliases_end_the_connection),
        cmocka_unit_test(with_no_aliases_allowed_each_is_refused),
        cmocka_unit_test(aliased_topics_have_a_limit_in_bytes),
        cmocka_unit_test(one_publish_over_the_receive_maximum_is_refused),
        cmocka_unit_test(the_quota_comes_back_with_the_last_answer),
        cmocka_unit_test(in_311_the_caller_holds_instead),
        cmocka_unit_test(held_input_comes_before_fed_input),
        cmocka_unit_test(only_the_packet_that_was_split_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
