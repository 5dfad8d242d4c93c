/* SUBSCRIBE and UNSUBSCRIBE among other answers: granted at once, told when it
 * is stored, in the order of the frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mqtt_harness.h"

static void suback_waits_for_what_is_stored_and_for_its_turn(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 () ) 82 ( 00 05 () s\"f\" 01 s\"g\" 02 )"
                          " a2 ( 00 06 () s\"h\" ) 82 ( 00 07 () s\"i\" 00 )");
    harness_answer(&h, 3, PROTO_ACCEPTED);
    harness_answer(&h, 0, PROTO_ACCEPTED);
    expect_out(&h, "40 02 00 01");
    harness_answer(&h, 1, PROTO_ACCEPTED);
    expect_out(&h, "90 05 00 05 00 01 02");
    harness_answer(&h, 2, PROTO_ACCEPTED);
    expect_out(&h, "b0 04 00 06 00 00 90 04 00 07 00 00");
    harness_end(&h);
}

/* Their bytes wait in one place, in the order of the slots. */
static void any_order_of_storing_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 100; seed++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, seed % 2 == 0 ? MQTT_V5 : MQTT_V311);
        h.answer_at_once = false;
        struct sl_buf want = { 0 };
        for (unsigned i = 1; i <= 30; i++) {
            char text[64];
            bool v5 = seed % 2 == 0, on = i % 3 != 0;
            snprintf(text, sizeof text, "%s ( 00 %02x %s s\"f\" %s )", on ? "82" : "a2", i,
                     v5 ? "()" : "", on ? "01" : "");
            harness_feed_text(&h, text);
            snprintf(text, sizeof text, "%s ( 00 %02x %s %s )", on ? "90" : "b0", i, v5 ? "()" : "",
                     on   ? "01"
                     : v5 ? "00"
                          : "");
            notation(&want, text);
        }
        uint32_t random = seed;
        for (size_t left = 30; left > 0; left--) {
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

struct codes_row {
    enum mqtt_version version;
    const char *in, *out;
};

static void codes_stand_in_the_order_of_the_filters(void **state)
{
    (void)state;
    static const enum proto_grant on[] = { PROTO_GRANT_QOS2, PROTO_GRANT_DENIED, PROTO_GRANT_QOS0,
                                           PROTO_GRANT_QUOTA, PROTO_GRANT_QOS1 };
    static const enum proto_grant off[] = { PROTO_GRANT_NONE_WAS, PROTO_GRANT_REMOVED,
                                            PROTO_GRANT_DENIED, PROTO_GRANT_NONE_WAS,
                                            PROTO_GRANT_QUOTA };
    static const struct codes_row table[] = {
        { MQTT_V5, "82 ( 00 05 () s\"a\" 02 s\"b\" 02 s\"c\" 02 s\"d\" 02 s\"e\" 02 )",
          "90 ( 00 05 () 02 87 00 97 01 )" },
        { MQTT_V311, "82 ( 00 05 s\"a\" 02 s\"b\" 02 s\"c\" 02 s\"d\" 02 s\"e\" 02 )",
          "90 ( 00 05 02 80 00 80 01 )" },
        { MQTT_V5, "a2 ( 00 05 () s\"a\" s\"b\" s\"c\" s\"d\" s\"e\" )",
          "b0 ( 00 05 () 11 00 87 11 83 )" },
        { MQTT_V311, "a2 ( 00 05 s\"a\" s\"b\" s\"c\" s\"d\" s\"e\" )", "b0 ( 00 05 )" },
    };
    for (size_t i = 0; i < SL_COUNT(table); i++) {
        struct harness h;
        struct sl_buf in = { 0 };
        struct proto_event ev;
        harness_init(&h);
        harness_open(&h, table[i].version);
        notation(&in, table[i].in);
        mqtt_protocol.feed(h.s, sl_buf_view(&in), h.now_ms);
        assert_true(mqtt_protocol.next(h.s, &ev));
        assert_int_equal(ev.u.filters.n, 5);
        bool subscribe = ev.kind == PROTO_SUBSCRIBE;
        mqtt_protocol.granted(h.s, ev.token, subscribe ? on : off, 5);
        mqtt_protocol.answer(h.s, ev.token, PROTO_ACCEPTED, h.now_ms);
        harness_pull(&h);
        expect_out(&h, table[i].out);
        sl_buf_fini(&in);
        harness_end(&h);
    }
}

static void a_subscription_that_is_not_stored_ends_the_connection(void **state)
{
    (void)state;
    static const char *const in[2][2] = {
        { "82 ( 00 05 s\"f\" 01 )", "a2 ( 00 05 s\"f\" )" },
        { "82 ( 00 05 () s\"f\" 01 )", "a2 ( 00 05 () s\"f\" )" },
    };
    for (size_t i = 0; i < 4; i++) {
        bool v5 = i / 2 == 1;
        struct harness h;
        harness_init(&h);
        harness_open(&h, v5 ? MQTT_V5 : MQTT_V311);
        h.now_ms = 2000;
        h.answer_at_once = false;
        harness_feed_text(&h, in[v5][i % 2]);
        harness_feed_text(&h, v5 ? "32 ( s\"a\" 00 01 () )" : "32 ( s\"a\" 00 01 )");
        sl_buf_clear(&h.log);
        harness_answer(&h, 0, PROTO_REFUSED_STORE);
        harness_answer(&h, 1, PROTO_ACCEPTED);
        assert_int_equal(mqtt_protocol.deadline(h.s), 3000);
        harness_tick(&h, 2999);
        expect_out(&h, ""); /* no SUBACK, nor what stands behind it */
        expect_log(&h, "");
        harness_tick(&h, 3000);
        expect_out(&h, v5 ? "e0 01 83" : "");
        expect_log(&h, "CLOSE implementation_specific_error\n");
        harness_end(&h);
    }
}

static void granted_after_the_close_is_ignored(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    struct sl_buf in = { 0 };
    notation(&in, "82 ( 00 05 () s\"f\" 01 )");
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_buf_view(&in), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    assert_int_equal(ev.kind, PROTO_SUBSCRIBE);
    mqtt_protocol.shutdown(h.s, PROTO_BYE_TAKEOVER);
    enum proto_grant grant = PROTO_GRANT_QOS1;
    mqtt_protocol.granted(h.s, ev.token, &grant, 1);
    mqtt_protocol.answer(h.s, ev.token, PROTO_ACCEPTED, h.now_ms);
    harness_pull(&h);
    expect_out(&h, "e0 01 8e");
    sl_buf_fini(&in);
    harness_end(&h);
}

/* Feeds one SUBSCRIBE with n filters of one byte. */
static void subscribe_to(struct harness *h, size_t n)
{
    struct sl_buf in = { 0 }, filters = { 0 };
    for (size_t i = 0; i < n; i++)
        notation(&filters, "s\"f\" 00");
    size_t length = 3 + sl_buf_len(&filters);
    uint8_t head[] = { 0x82,
                       (uint8_t)(length & 0x7F) | 0x80,
                       (uint8_t)(length >> 7 & 0x7F) | 0x80,
                       (uint8_t)(length >> 14),
                       0,
                       5,
                       0 };
    assert_int_equal(sl_buf_append(&in, head, sizeof head), SL_OK);
    assert_int_equal(sl_buf_append_bytes(&in, sl_buf_view(&filters)), SL_OK);
    harness_feed_quietly(h, sl_buf_view(&in));
    sl_buf_fini(&in);
    sl_buf_fini(&filters);
}

static void as_many_filters_as_an_answer_can_hold(void **state)
{
    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, MQTT_V5);
        subscribe_to(&h, 65536 - 64 + more);
        if (more == 0) {
            assert_int_equal(sl_buf_len(&h.out), 65536 - 64 + 3 + 4);
            assert_false(h.closed);
        } else {
            expect_out(&h, "e0 01 97");
            expect_log(&h, "CLOSE too_many_unanswered\n");
        }
        harness_end(&h);
    }
}

/* Those that wait for the store share a larger one. */
static void answers_that_wait_have_a_limit_in_bytes(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    h.answer_at_once = false;
    for (unsigned i = 0; i < 16; i++) {
        subscribe_to(&h, 65000);
        assert_false(h.closed);
    }
    subscribe_to(&h, 65000);
    expect_out(&h, "e0 01 97");
    expect_log(&h, "CLOSE too_many_unanswered\n");
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suback_waits_for_what_is_stored_and_for_its_turn),
        cmocka_unit_test(any_order_of_storing_gives_the_same_bytes),
        cmocka_unit_test(codes_stand_in_the_order_of_the_filters),
        cmocka_unit_test(a_subscription_that_is_not_stored_ends_the_connection),
        cmocka_unit_test(granted_after_the_close_is_ignored),
        cmocka_unit_test(as_many_filters_as_an_answer_can_hold),
        cmocka_unit_test(answers_that_wait_have_a_limit_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
