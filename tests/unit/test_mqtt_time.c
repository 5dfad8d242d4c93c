/* Everything that time does to an MQTT session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mqtt_harness.h"

static uint64_t deadline(const struct harness *h)
{
    return mqtt_protocol.deadline(h->s);
}

static void no_connect_in_time_is_closed_without_a_word(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    assert_int_equal(deadline(&h), 11000);
    harness_feed_text(&h, "10 20 s\"MQTT\""); /* a part does not count */
    harness_tick(&h, 10999);
    expect_log(&h, "");
    harness_tick(&h, 11000);
    expect_log(&h, "CLOSE connect_timeout\n");
    expect_out(&h, "");
    harness_end(&h);
}

static void without_connect_timeout_nothing_is_due(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.connect_timeout_ms = 0;
    harness_begin(&h);
    assert_int_equal(deadline(&h), UINT64_MAX);
    harness_end(&h);
}

/* The gateway's own time to check a password is not the client's. */
static void no_timeout_runs_while_the_verdict_is_awaited(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    struct sl_buf in = {0};
    notation(&in, "10 ( s\"MQTT\" 05 02 00 01 () s\"dev\" )");
    struct proto_event ev;
    mqtt_protocol.feed(h.s, sl_buf_view(&in), h.now_ms);
    assert_true(mqtt_protocol.next(h.s, &ev));
    mqtt_protocol.hold(h.s);
    assert_int_equal(deadline(&h), UINT64_MAX);
    harness_tick(&h, 60000);
    mqtt_protocol.connected(h.s, &(struct proto_connected){.client_id = sl_str("dev")});
    sl_buf_fini(&in);
    harness_tick(&h, 60000); /* keep alive 1 s: its clock starts here */
    expect_log(&h, "");
    harness_tick(&h, 61499);
    expect_log(&h, "");
    harness_tick(&h, 61500);
    expect_log(&h, "CLOSE keep_alive_timeout\n");
    harness_end(&h);
}

static void silence_ends_the_connection_at_one_and_a_half_keep_alives(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct harness h;
        harness_init(&h);
        harness_open(&h, v5 ? MQTT_V5 : MQTT_V311);
        h.now_ms = 5000;
        harness_feed_text(&h, "c0 00");
        expect_out(&h, "d0 00");
        harness_tick(&h, 5000 + 89999);
        expect_log(&h, "");
        assert_int_equal(deadline(&h), 5000 + 90000);
        harness_tick(&h, 5000 + 90000);
        expect_log(&h, "CLOSE keep_alive_timeout\n");
        expect_out(&h, v5 ? "e0 01 8d" : "");
        harness_end(&h);
    }
}

static void the_servers_keep_alive_is_the_one_enforced(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    h.cfg.max_keep_alive_s = 10;
    harness_open(&h, MQTT_V5); /* asks for 60 */
    harness_tick(&h, 1000 + 14999);
    expect_log(&h, "");
    harness_tick(&h, 1000 + 15000);
    expect_log(&h, "CLOSE keep_alive_timeout\n");
    harness_end(&h);
}

static void keep_alive_0_lasts_for_ever(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 04 02 00 00 s\"dev\" )");
    sl_buf_clear(&h.log);
    harness_tick(&h, UINT64_C(1) << 40);
    expect_log(&h, "");
    assert_int_equal(deadline(&h), UINT64_MAX);
    harness_end(&h);
}

static void silence_is_not_counted_while_we_do_not_read(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    mqtt_protocol.pause(h.s, true, 2000);
    harness_tick(&h, 500000);
    expect_log(&h, "");
    assert_int_equal(deadline(&h), UINT64_MAX);
    mqtt_protocol.pause(h.s, false, 500000);
    harness_tick(&h, 500000 + 89999);
    expect_log(&h, "");
    harness_tick(&h, 500000 + 90000);
    expect_log(&h, "CLOSE keep_alive_timeout\n");
    harness_end(&h);
}

/* Decision 17: no false PUBACK, no later one either, then the end. */
static void quota_on_311_withholds_and_closes_after_the_grace(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    h.now_ms = 2000;
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 ) 32 ( s\"b\" 00 02 ) 32 ( s\"c\" 00 03 )");
    sl_buf_clear(&h.log);
    harness_answer(&h, 1, PROTO_REFUSED_QUOTA);
    harness_answer(&h, 2, PROTO_ACCEPTED);
    harness_answer(&h, 0, PROTO_ACCEPTED);
    expect_out(&h, "40 02 00 01");
    assert_int_equal(deadline(&h), 3000);
    harness_tick(&h, 2999);
    harness_feed_text(&h, "c0 00");
    expect_out(&h, "d0 00");
    expect_log(&h, "");
    harness_tick(&h, 3000);
    expect_log(&h, "CLOSE quota_exceeded\n");
    expect_out(&h, "");
    harness_end(&h);
}

static void denied_on_311_waits_no_longer_than_the_grace(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V311);
    h.answer_at_once = false;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 ) 32 ( s\"$SYS/x\" 00 02 )");
    sl_buf_clear(&h.log);
    harness_answer(&h, 1, PROTO_REFUSED_DENIED);
    assert_int_equal(deadline(&h), 2000);
    harness_tick(&h, 1999);
    expect_log(&h, "");
    harness_tick(&h, 2000);
    expect_log(&h, "CLOSE not_authorized\n");
    harness_end(&h);
}

static void memory_is_given_back_after_some_silence(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    h.now_ms = 2000;
    harness_feed_text(&h, "32 ( s\"a\" 00 01 ( 26 s\"k\" s\"v\" ) )");
    struct sl_buf *out = mqtt_protocol.output(h.s);
    assert_non_null(out->p);
    assert_int_equal(deadline(&h), 7000);
    harness_tick(&h, 6999);
    assert_non_null(out->p);
    harness_tick(&h, 7000);
    assert_null(out->p);
    assert_int_equal(deadline(&h), 2000 + 90000);
    harness_feed_text(&h, "32 ( s\"a\" 00 02 ( 26 s\"k\" s\"v\" ) )");
    expect_out(&h, "40 02 00 01 40 02 00 02");
    harness_end(&h);
}

/* Deliveries are no sign of life of the client, but they use the memory. */
static void memory_is_kept_while_messages_are_delivered(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_begin(&h);
    harness_feed_text(&h, "10 ( s\"MQTT\" 04 02 00 00 s\"dev\" )");
    struct message *m = message_new(
        &(struct message_parts){.id = 1, .protocol = MESSAGE_MQTT5, .topic = sl_str("t")});
    struct proto_delivery d = {.msg = m};
    struct sl_buf *out = mqtt_protocol.output(h.s);
    harness_tick(&h, 7000);
    assert_null(out->p);
    unsigned ticks = 0;
    for (uint64_t t = 100000; t < 200000; t += 1000) {
        h.now_ms = t;
        harness_deliver(&h, &d);
        assert_non_null(out->p);
        if (deadline(&h) <= t) {
            harness_tick(&h, t);
            ticks++;
        }
        assert_non_null(out->p);
    }
    assert_in_range(ticks, 19, 21); /* one in five seconds */
    while (deadline(&h) != UINT64_MAX)
        harness_tick(&h, deadline(&h));
    assert_null(out->p);
    assert_in_range(h.now_ms, 204000, 210000);
    message_unref(m);
    harness_end(&h);
}

static void a_tick_that_comes_early_does_nothing(void **state)
{
    (void)state;
    struct harness h;
    harness_init(&h);
    harness_open(&h, MQTT_V5);
    for (uint64_t t = 1000; t < 1000 + 90000; t += 777)
        harness_tick(&h, t);
    expect_log(&h, "");
    expect_out(&h, "");
    harness_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_connect_in_time_is_closed_without_a_word),
        cmocka_unit_test(without_connect_timeout_nothing_is_due),
        cmocka_unit_test(no_timeout_runs_while_the_verdict_is_awaited),
        cmocka_unit_test(silence_ends_the_connection_at_one_and_a_half_keep_alives),
        cmocka_unit_test(the_servers_keep_alive_is_the_one_enforced),
        cmocka_unit_test(keep_alive_0_lasts_for_ever),
        cmocka_unit_test(silence_is_not_counted_while_we_do_not_read),
        cmocka_unit_test(quota_on_311_withholds_and_closes_after_the_grace),
        cmocka_unit_test(denied_on_311_waits_no_longer_than_the_grace),
        cmocka_unit_test(memory_is_given_back_after_some_silence),
        cmocka_unit_test(memory_is_kept_while_messages_are_delivered),
        cmocka_unit_test(a_tick_that_comes_early_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
