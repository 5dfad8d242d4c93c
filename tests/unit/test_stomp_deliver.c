/* Deliveries: a fan-out is encoded once for each version, output that nobody
 * reads is bounded, and nothing follows the end. */
#include "test_stomp_harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "stomp/packets.h"

static enum proto_delivered deliver(struct harness *h, const struct message_parts *m)
{
    return harness_deliver(h, m, &delivery_first, 1);
}

static struct message_parts with_headers(void)
{
    static const struct message_header headers[] = {
        { { (const uint8_t *)"a:b", 3 }, { (const uint8_t *)"c\\d", 3 } },
        { { (const uint8_t *)"k", 1 }, { (const uint8_t *)"", 0 } },
    };
    struct message_parts m = message_of_topic("a/b:c");
    m.headers = headers;
    m.n_headers = SL_COUNT(headers);
    return m;
}

/* ---- fan-out ---- */

#define RECEIVERS 12u

struct crowd {
    struct harness h[RECEIVERS];
    struct proto_packets *packets;
    struct message *msg;
};

static void crowd_open(struct crowd *c, const struct message_parts *m)
{
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    for (size_t i = 0; i < RECEIVERS; i++)
        harness_consume(&c->h[i], versions[i % 3], "/topic/#", i % 2 == 0 ? "auto" : "client");
    c->packets = stomp_protocol.packets_new();
    c->msg = message_new(m);
}

static void crowd_give(struct crowd *c, const struct proto_delivery *how)
{
    for (size_t i = 0; i < RECEIVERS; i++) {
        uint32_t number = 1;
        struct proto_delivery d = *how;
        d.msg = c->msg;
        d.subscription_ids = &number;
        d.n_ids = 1;
        d.delivery = i % 2 == 0 ? 0 : i;
        assert_int_equal(stomp_protocol.deliver(c->h[i].s, &d, c->packets), PROTO_SENT);
        harness_pull(&c->h[i]);
    }
}

static void crowd_close(struct crowd *c)
{
    for (size_t i = 0; i < RECEIVERS; i++)
        harness_end(&c->h[i]);
    stomp_protocol.packets_free(c->packets);
    message_unref(c->msg);
}

static void a_fan_out_is_encoded_once_for_each_version(void **state)
{
    (void)state;
    struct crowd c;
    struct message_parts m = with_headers();
    crowd_open(&c, &m);
    crowd_give(&c, &delivery_unasked);
    assert_int_equal(stomp_packets_encoded(c.packets), 3);
    for (size_t i = 3; i < RECEIVERS; i++) {
        const char *shared = strstr(harness_sent(&c.h[i]), "destination:");
        assert_string_equal(shared, strstr(harness_sent(&c.h[i % 3]), "destination:"));
    }
    crowd_give(&c, &delivery_unasked);
    assert_int_equal(stomp_packets_encoded(c.packets), 3);
    struct proto_delivery kept = delivery_unasked;
    kept.retain = true;
    crowd_give(&c, &kept);
    assert_int_equal(stomp_packets_encoded(c.packets), 6);
    crowd_close(&c);
}

/* More forms than are kept: each is right, some are encoded again. */
static void another_form_is_another_encoding(void **state)
{
    (void)state;
    struct crowd c;
    struct message_parts m = message_of_topic("t");
    crowd_open(&c, &m);
    for (uint64_t turn = 0; turn < 20; turn++) {
        struct proto_delivery d = delivery_unasked;
        d.has_expiry = true;
        d.expires_wall_ms = 1000 + turn % 5;
        crowd_give(&c, &d);
        char want[32];
        snprintf(want, sizeof want, "\nexpires:%u\n", (unsigned)(1000 + turn % 5));
        for (size_t i = 0; i < RECEIVERS; i++) {
            assert_non_null(strstr(harness_sent(&c.h[i]), want));
            harness_forget(&c.h[i]);
        }
    }
    crowd_close(&c);
}

/* The next message may lie where the last one was, and one without an id is
 * nobody's copy. */
static void another_message_is_another_encoding(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/topic/#", "auto");
    struct message_parts m = message_of_topic("t");
    for (uint64_t id = 5; id < 9; id++) {
        m.id = id;
        m.payload = sl_bytes_of(&"5678"[id - 5], 1);
        assert_int_equal(harness_deliver(&h, &m, &delivery_unasked, 1), PROTO_SENT);
        assert_int_equal(harness_sent(&h)[strlen(harness_sent(&h)) - 3], '0' + (int)id);
    }
    m.id = 0;
    for (size_t i = 0; i < 2; i++) {
        m.payload = sl_bytes_of(&"ab"[i], 1);
        assert_int_equal(harness_deliver(&h, &m, &delivery_unasked, 1), PROTO_SENT);
        assert_int_equal(harness_sent(&h)[strlen(harness_sent(&h)) - 3], 'a' + (int)i);
    }
    harness_end(&h);
}

static void a_message_of_a_queue_is_encoded_once(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    struct message_parts m = message_of_queue();
    for (size_t i = 1; i <= 10; i++) {
        assert_int_equal(deliver(&h, &m), PROTO_SENT);
        assert_int_equal(stomp_packets_encoded(h.packets), i);
    }
    harness_end(&h);
}

/* ---- order, ends, limits ---- */

static void a_message_does_not_wait_for_what_is_owed(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    h.answers = ANSWER_LATER;
    FEED(&h, "SEND\ndestination:/topic/t\nreceipt:1\n\n\0");
    struct message_parts m = message_of_queue();
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    assert_memory_equal(harness_sent(&h), "MESSAGE\n", 8);
    harness_answer(&h, 0, PROTO_ACCEPTED);
    assert_non_null(strstr(harness_sent(&h), "hello^@RECEIPT\nreceipt-id:1\n"));
    harness_end(&h);
}

static void nothing_is_sent_after_the_end(void **state)
{
    (void)state;
    struct message_parts m = message_of_queue();
    for (int how = 0; how < 3; how++) {
        struct harness h;
        harness_consume(&h, "1.2", "/queue/q", "client");
        h.answers = ANSWER_LATER;
        if (how == 0)
            FEED(&h, "DISCONNECT\nreceipt:1\n\n\0");
        else if (how == 1)
            FEED(&h, "BAD\n\n\0");
        else
            stomp_protocol.shutdown(h.s, PROTO_BYE_ACK_TIMEOUT);
        harness_pull(&h);
        harness_forget(&h);
        assert_int_equal(deliver(&h, &m), PROTO_ENDED);
        assert_string_equal(harness_sent(&h), "");
        harness_end(&h);
    }
}

static void goodbyes_name_the_way_out(void **state)
{
    (void)state;
    static const struct {
        enum proto_bye why;
        const char *message, *hint, *reason;
    } rows[] = {
        { PROTO_BYE_SLOW, "ERROR\nmessage:slow consumer\n", "prefetch-count",
          "CLOSE slow_consumer\n" },
        { PROTO_BYE_ACK_TIMEOUT, "ERROR\nmessage:acknowledgement timeout\n", "extend:30s",
          "CLOSE ack_timeout\n" },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_consume(&h, "1.2", "/queue/q", "client");
        stomp_protocol.shutdown(h.s, rows[i].why);
        harness_pull(&h);
        assert_memory_equal(harness_sent(&h), rows[i].message, strlen(rows[i].message));
        assert_non_null(strstr(harness_sent(&h), rows[i].hint));
        assert_string_equal(harness_log(&h), rows[i].reason);
        harness_end(&h);
    }
}

/* Nobody reads: what waits is bounded, the client is told, and it is over. */
static void output_that_nobody_reads_is_bounded(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    struct message_parts m = message_of_queue();
    char *body = calloc(1, 60000);
    assert_non_null(body);
    m.payload = sl_bytes_of(body, 60000);
    struct message *msg = message_new(&m);
    struct proto_packets *packets = stomp_protocol.packets_new();
    uint32_t number = 1;
    struct proto_delivery d = {
        .msg = msg, .delivery = 1, .attempt = 1, .subscription_ids = &number, .n_ids = 1
    };
    size_t n = 0;
    while (n < 1000 && stomp_protocol.deliver(h.s, &d, packets) == PROTO_SENT)
        n++;
    assert_true(n >= 60 && n <= 80);
    assert_true(stomp_protocol.over(h.s));
    struct proto_event ev;
    assert_true(stomp_protocol.next(h.s, &ev));
    assert_int_equal(ev.kind, PROTO_CLOSE);
    assert_string_equal(ev.u.reason, "slow_consumer");
    stomp_protocol.packets_free(packets);
    message_unref(msg);
    free(body);
    harness_end(&h);
}

/* It follows what is little, however large it is. */
static void a_message_larger_than_the_outputs_limit_is_sent(void **state)
{
    (void)state;
    static const char *const destinations[] = { "/queue/q", "/topic/#" };
    for (size_t i = 0; i < 2; i++) {
        struct harness h;
        harness_consume(&h, "1.2", destinations[i], "client");
        struct message_parts m = message_of_queue();
        size_t size = 9u << 20;
        char *body = calloc(1, size);
        assert_non_null(body);
        m.payload = sl_bytes_of(body, size);
        struct message *msg = message_new(&m);
        struct proto_packets *packets = stomp_protocol.packets_new();
        uint32_t number = 1;
        struct proto_delivery d = {
            .msg = msg, .delivery = 1, .attempt = 1, .subscription_ids = &number, .n_ids = 1
        };
        assert_int_equal(stomp_protocol.deliver(h.s, &d, packets), PROTO_SENT);
        struct sl_buf *out = stomp_protocol.output(h.s);
        assert_true(sl_buf_len(out) > size);
        sl_buf_consume(out, sl_buf_len(out));
        assert_int_equal(stomp_protocol.deliver(h.s, &d, packets), PROTO_SENT);
        m.payload.n = 1;
        assert_int_equal(deliver(&h, &m), PROTO_ENDED);
        stomp_protocol.packets_free(packets);
        message_unref(msg);
        free(body);
        harness_end(&h);
    }
}

static void a_message_for_a_cancelled_consumer(void)
{
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    FEED(&h, "UNSUBSCRIBE\nid:s\n\n\0");
    struct message_parts m = message_of_queue();
    (void)deliver(&h, &m);
}

static void a_cancelled_consumer_is_given_nothing(void **state)
{
    (void)state;
    assert_dies(a_message_for_a_cancelled_consumer, "assert");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fan_out_is_encoded_once_for_each_version),
        cmocka_unit_test(another_form_is_another_encoding),
        cmocka_unit_test(another_message_is_another_encoding),
        cmocka_unit_test(a_message_of_a_queue_is_encoded_once),
        cmocka_unit_test(a_message_does_not_wait_for_what_is_owed),
        cmocka_unit_test(nothing_is_sent_after_the_end),
        cmocka_unit_test(goodbyes_name_the_way_out),
        cmocka_unit_test(output_that_nobody_reads_is_bounded),
        cmocka_unit_test(a_message_larger_than_the_outputs_limit_is_sent),
        cmocka_unit_test(a_cancelled_consumer_is_given_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
