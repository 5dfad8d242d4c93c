/* The drivers: answers at every split, and none that was not asked for. */
#include "claims.h"

#include <stdio.h>

#include "bench/driver.h"
#include "bench/stamp.h"

static const struct bench_target target = {
    .topic = "t",
    .n_topics = 1,
    .qos = 1,
    .payload_bytes = 32,
    .client = "c",
    .prefetch = 8,
    .group = "g",
};

struct expected {
    const struct bench_driver *driver;
    uint32_t qos;
    const char *bytes;
    size_t n;
    const char *log; /* one letter per answer and its number */
};

#define BYTES(text) text, sizeof(text) - 1

static const struct expected k_answers[] = {
    { &bench_mqtt, 1, BYTES("\x20\2\0\0\x40\2\0\1\x40\2\1\2"), "R0 D1 D258 " },
    { &bench_mqtt5, 1, BYTES("\x20\3\0\0\0\x40\2\0\7\x40\3\0\1\x10\x40\4\0\2\x97\0"),
      "R0 D7 D1 F2 " },
    { &bench_mqtt, 2, BYTES("\x50\2\0\1\x70\2\0\1"), "N1 D1 " },
    { &bench_mqtt, 0, BYTES("\xD0\0"), "B0 " },
    { &bench_stomp, 1, BYTES("CONNECTED\nversion:1.2\n\n\0\nRECEIPT\nreceipt-id:00000012\n\n\0"),
      "R0 N0 D12 " },
    { &bench_mqtt, 1, BYTES("\x50\2\0\1"), "!" },  /* PUBREC for QoS 1 */
    { &bench_mqtt5, 1, BYTES("\xE0\1\x8B"), "!" }, /* DISCONNECT */
    { &bench_stomp, 1, BYTES("ERROR\nmessage:no\n\nno\0"), "!" },
    { &bench_stomp, 1, BYTES("RECEIPT\nreceipt-id:x\n\n\0"), "!" },
};

static char letter(enum bench_answer_kind kind)
{
    static const char letters[] = {
        [BENCH_NOTHING] = 'N', [BENCH_READY] = 'R',   [BENCH_DONE] = 'D',
        [BENCH_OLDEST] = 'O',  [BENCH_BARRIER] = 'B', [BENCH_REFUSED] = 'F'
    };
    return letters[kind];
}

static void log_answers(const struct expected *e, size_t step, char *log, size_t cap)
{
    struct bench_target t = target;
    struct sl_buf in = { 0 }, reply = { 0 };
    size_t used = 0;
    t.qos = e->qos;
    for (size_t at = 0; at < e->n; at += step) {
        assert_int_equal(sl_buf_append(&in, e->bytes + at, at + step > e->n ? e->n - at : step),
                         SL_OK);
        struct bench_answer a;
        int err;
        while ((err = e->driver->answer(&t, sl_buf_view(&in), &a, &reply)) == SL_OK) {
            used += (size_t)snprintf(log + used, cap - used, "%c%u ", letter(a.kind), a.number);
            sl_buf_consume(&in, a.bytes);
        }
        if (err != SL_EMORE) {
            snprintf(log + used, cap - used, "!");
            break;
        }
    }
    sl_buf_fini(&in);
    sl_buf_fini(&reply);
}

static void answers_are_the_same_at_any_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_answers); i++) {
        for (size_t step = 1; step <= k_answers[i].n; step++) {
            char log[128] = "";
            log_answers(&k_answers[i], step, log, sizeof log);
            assert_string_equal(log, k_answers[i].log);
        }
    }
}

static void a_subscribed_connection_asks_for_a_topic_of_its_own(void **state)
{
    (void)state;
    struct bench_target t = target;
    struct sl_buf plain = { 0 }, subscribed = { 0 };
    t.subscribed = true;
    assert_int_equal(bench_mqtt.hello(&target, 12, &plain), SL_OK);
    assert_int_equal(bench_mqtt.hello(&t, 12, &subscribed), SL_OK);
    struct sl_bytes rest = sl_buf_view(&subscribed);
    assert_true(rest.n > sl_buf_len(&plain));
    rest = sl_bytes_of(rest.p + sl_buf_len(&plain), rest.n - sl_buf_len(&plain));
    assert_true(sl_bytes_eq(rest, sl_bytes_of("\x82\x09\0\1\0\4t/12\0", 11)));
    sl_buf_fini(&plain);
    sl_buf_fini(&subscribed);
    struct bench_answer a;
    struct sl_bytes suback = sl_bytes_of("\x90\3\0\1\0", 5);
    assert_int_equal(bench_mqtt.answer(&t, suback, &a, &plain), SL_OK);
    assert_int_equal(bench_mqtt.answer(&target, suback, &a, &plain), SL_EPEER);
}

static void pubrec_is_answered_with_pubrel(void **state)
{
    (void)state;
    struct bench_target t = target;
    struct bench_answer a;
    struct sl_buf reply = { 0 };
    t.qos = 2;
    assert_int_equal(bench_mqtt.answer(&t, sl_bytes_of("\x50\2\1\2", 4), &a, &reply), SL_OK);
    assert_true(sl_bytes_eq(sl_buf_view(&reply), sl_bytes_of("\x62\2\1\2", 4)));
    sl_buf_fini(&reply);
}

/* The number and the stamp are where the template says. */
static void templates_hold_number_and_payload(void **state)
{
    static const struct bench_driver *const drivers[] = { &bench_mqtt, &bench_mqtt5, &bench_stomp };
    uint8_t payload[32];
    (void)state;
    memset(payload, 'p', sizeof payload);
    for (size_t i = 0; i < SL_COUNT(drivers); i++) {
        struct bench_template t = { 0 };
        assert_int_equal(drivers[i]->message(&target, sl_str("a/b"), sl_bytes_of(payload, 32), &t),
                         SL_OK);
        struct sl_bytes v = sl_buf_view(&t.bytes);
        assert_true(t.stamp_at + STAMP_BYTES <= v.n);
        assert_memory_equal(v.p + t.stamp_at, payload, sizeof payload);
        if (drivers[i]->number == BENCH_NUMBER_DIGITS8)
            assert_memory_equal(v.p + t.number_at, "00000000", 8);
        else
            assert_memory_equal(v.p + t.number_at, "\0\0", 2);
        sl_buf_fini(&t.bytes);
    }
}

struct incoming {
    const struct bench_consumer *consumer;
    const char *bytes;
    size_t n;
    const char *ack;
    size_t ack_n;
};

static const struct incoming k_deliveries[] = {
    { &bench_mqtt_subscriber,
      BYTES("\x20\2\0\0\x90\3\0\1\1\x3A\x08\0\1t\0\x09"
            "abc"),
      BYTES("\x40\2\0\x09") },
    { &bench_mqtt5_subscriber,
      BYTES("\x20\3\0\0\0\x90\4\0\1\0\1\x3A\x0B\0\1t\0\x09\2\1\1"
            "abc"),
      BYTES("\x40\2\0\x09") },
    { &bench_stomp_subscriber,
      BYTES("CONNECTED\nversion:1.2\n\n\0MESSAGE\nack:7\nredelivered:true\ncontent-length:"
            "3\n\nabc\0"),
      BYTES("ACK\nid:7\n\n\0") },
};

static void check_delivery(const struct incoming *k, size_t step)
{
    struct sl_buf in = { 0 }, out = { 0 };
    unsigned messages = 0;
    for (size_t at = 0; at < k->n; at += step) {
        assert_int_equal(sl_buf_append(&in, k->bytes + at, at + step > k->n ? k->n - at : step),
                         SL_OK);
        struct bench_delivery d;
        while (sl_buf_len(&in) > 0 &&
               k->consumer->next(&target, sl_buf_view(&in), &d, &out) == SL_OK) {
            if (d.message) {
                messages++;
                assert_true(sl_bytes_is(d.payload, "abc"));
                assert_true(d.redelivered);
                assert_int_equal(k->consumer->ack(&target, &d, true, &out), SL_OK);
            }
            sl_buf_consume(&in, d.bytes);
        }
    }
    assert_int_equal(messages, 1);
    assert_int_equal(sl_buf_len(&in), 0);
    assert_true(sl_bytes_eq(sl_buf_view(&out), sl_bytes_of(k->ack, k->ack_n)));
    sl_buf_fini(&in);
    sl_buf_fini(&out);
}

static void deliveries_are_acknowledged_at_any_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_deliveries); i++) {
        for (size_t step = 1; step <= k_deliveries[i].n; step++)
            check_delivery(&k_deliveries[i], step);
    }
}

static void a_stomp_subscriber_asks_for_its_mode_and_credit(void **state)
{
    static const struct {
        const char *ack, *header, *subscribe;
        bool cumulative;
    } cases[] = {
        { "client-individual", NULL, "ack:client-individual\nprefetch-count:9\ndurable:true\nauto-delete:false\n\n", false },
        { "client", "x-queue-type:quorum",
          "ack:client\nprefetch-count:9\ndurable:true\nauto-delete:false\nx-queue-type:quorum\n\n", true },
    };
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct sl_buf out = { 0 };
        struct bench_target t = { .topic = "/queue/q", .ack = cases[i].ack, .header = cases[i].header, .prefetch = 9 };
        assert_int_equal(bench_stomp_subscriber.hello(&t, 1, &out), SL_OK);
        struct sl_bytes v = sl_buf_view(&out), want = sl_str(cases[i].subscribe);
        assert_true(v.n > want.n + 1 && memcmp(v.p + v.n - 1 - want.n, want.p, want.n) == 0);
        assert_int_equal(bench_stomp_subscriber.cumulative(&t), cases[i].cumulative);
        sl_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same_at_any_split),
        cmocka_unit_test(a_subscribed_connection_asks_for_a_topic_of_its_own),
        cmocka_unit_test(pubrec_is_answered_with_pubrel),
        cmocka_unit_test(templates_hold_number_and_payload),
        cmocka_unit_test(deliveries_are_acknowledged_at_any_split),
        cmocka_unit_test(a_stomp_subscriber_asks_for_its_mode_and_credit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
