/* What becomes of a consumer's frames at the hub: what it refuses at once is
 * quoted, what is owed an answer, and how much a connection may subscribe to. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define SUB(id) "SUBSCRIBE\nid:" id "\ndestination:/topic/t\n\n\0"

/* ---- refused by the hub ---- */

static const struct {
    const char *frame;
    size_t n;
    enum proto_result r;
    const char *message, *text, *reason;
} verdicts[] = {
#define H(frame, r, message, text, reason)                                                         \
    {                                                                                              \
        frame "receipt:7\n\n\0", sizeof(frame "receipt:7\n\n\0") - 1, r, message, text, reason     \
    }
    H("SUBSCRIBE\nid:1\ndestination:/queue/q\n", PROTO_REFUSED_TARGET, "invalid destination",
      "The destination does not exist or cannot be subscribed to.", "invalid_destination"),
    H("SUBSCRIBE\nid:1\ndestination:/topic/t\n", PROTO_REFUSED_DENIED, "not authorized",
      "This client may not subscribe there.", "subscribe_denied"),
    H("SUBSCRIBE\nid:1\ndestination:/topic/t\n", PROTO_REFUSED_QUOTA, "quota exceeded",
      "The server has reached its limit of subscriptions.", "quota_exceeded"),
    H("SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n", PROTO_REFUSED_QUOTA, "quota exceeded",
      "The server has reached its limit of subscriptions.", "quota_exceeded"),
    H("SEND\ndestination:/topic/t\n", PROTO_REFUSED_DENIED, "not authorized",
      "This client may not publish there.", "publish_denied"),
    H("ACK\nid:1-9\n", PROTO_REFUSED_DELIVERY, "unknown delivery",
      "No message was given to this connection, to be acknowledged, under this id.",
      "unknown_delivery"),
    H("UNSUBSCRIBE\nid:0\n", PROTO_REFUSED_STORE, "store unavailable",
      "The server cannot store anything now.", "store_unavailable"),
    H("DISCONNECT\n", PROTO_REFUSED_STORE, "store unavailable",
      "The server cannot store anything now.", "store_unavailable"),
#undef H
};

/* One event of the frame is refused before another is asked for. */
static void refuse(struct harness *h, const char *frame, size_t n, enum proto_result r)
{
    struct proto_event ev;
    stomp_protocol.feed(h->s, sl_bytes_of(frame, n), h->now);
    assert_true(stomp_protocol.next(h->s, &ev));
    stomp_protocol.answer(h->s, ev.token, r, h->now);
    harness_pull(h);
}

static void what_the_hub_refuses_at_once_is_quoted(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(verdicts); i++) {
        for (size_t half = 0; half < verdicts[i].n; half += 7) {
            struct harness h;
            harness_start(&h);
            harness_connect(&h, "1.2");
            FEED(&h, SUB("0"));
            harness_feed(&h, verdicts[i].frame, half, half + 1);
            harness_forget(&h);
            refuse(&h, verdicts[i].frame + half, verdicts[i].n - half, verdicts[i].r);
            const char *sent = harness_sent(&h);
            char want[64];
            snprintf(want, sizeof want, "ERROR\nmessage:%s\n", verdicts[i].message);
            assert_memory_equal(sent, want, strlen(want));
            assert_non_null(strstr(sent, "receipt-id:7\n"));
            assert_non_null(strstr(sent, verdicts[i].text));
            assert_non_null(strstr(sent, "\n> receipt:7\n^@"));
            snprintf(want, sizeof want, "CLOSE %s\n", verdicts[i].reason);
            assert_string_equal(harness_log(&h), want);
            harness_end(&h);
        }
    }
}

/* Without a receipt an ACK is owed nothing, but a refusal is told. */
static void what_is_owed_nothing_is_quoted_too(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    harness_connect(&h, "1.2");
    FEED(&h, SUB("0") "SEND\ndestination:/topic/t\nreceipt:not-mine\n\n\0");
    harness_forget(&h);
    static const char ack[] = "ACK\nid:1-9\n\n\0";
    refuse(&h, ack, sizeof ack - 1, PROTO_REFUSED_DELIVERY);
    assert_non_null(strstr(harness_sent(&h), "> ACK\n> id:1-9\n^@"));
    assert_null(strstr(harness_sent(&h), "receipt-id"));
    harness_end(&h);
}

/* RECEIPT says that a frame was processed: not the one that ERROR is about, in
 * a transaction neither. */
static void what_is_refused_in_a_transaction_has_no_receipt(void **state)
{
    (void)state;
    static const char *const frames[] = { "SEND\ndestination:/queue/none\n", "ACK\nid:1-9\n",
                                          "NACK\nid:1-9\n" };
    for (size_t i = 0; i < SL_COUNT(frames); i++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, "1.2");
        FEED(&h, SUB("0") "BEGIN\ntransaction:t\n\n\0");
        char text[80];
        int n = snprintf(text, sizeof text, "%stransaction:t\nreceipt:7\n\n", frames[i]);
        refuse(&h, text, (size_t)n + 1, PROTO_REFUSED_TARGET);
        const char *sent = harness_sent(&h);
        assert_memory_equal(sent, "ERROR\n", 6);
        assert_non_null(strstr(sent, "receipt-id:7\n"));
        assert_non_null(strstr(sent, "\n> receipt:7\n^@"));
        harness_end(&h);
    }
}

/* What is not refused is received, also when the frame is held or memory trimmed before another is
 * asked for. */
static void what_was_received_is_told_when_the_caller_holds(void **state)
{
    (void)state;
    static const char send[] = "SEND\ndestination:/topic/t\ntransaction:t\nreceipt:7\n\n";
    for (int held = 0; held < 2; held++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, "1.2");
        FEED(&h, "BEGIN\ntransaction:t\n\n\0");
        stomp_protocol.feed(h.s, sl_bytes_of(send, sizeof send), h.now);
        assert_true(harness_next(&h));
        if (held)
            stomp_protocol.hold(h.s);
        else
            stomp_protocol.tick(h.s, h.now + 2000);
        static const char receipt[] = "RECEIPT\nreceipt-id:7\n\n";
        struct sl_bytes out = sl_buf_view(stomp_protocol.output(h.s));
        assert_true(sl_bytes_eq(out, sl_bytes_of(receipt, sizeof receipt)));
        harness_end(&h);
    }
}

/* A refusal that comes when other frames were read has the receipt, and quotes
 * none of those. */
static void what_is_refused_later_has_its_receipt(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    harness_connect(&h, "1.2");
    FEED(&h, "SEND\ndestination:/queue/a\nreceipt:1\n\n\0SEND\ndestination:/queue/b\n\n\0");
    harness_answer(&h, 0, PROTO_REFUSED_QUOTA);
    assert_non_null(strstr(harness_sent(&h), "receipt-id:1\n"));
    assert_null(strstr(harness_sent(&h), "> "));
    harness_end(&h);
}

/* Its bytes are gone. */
static void what_was_held_since_is_not_quoted(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    FEED(&h, SUB("0"));
    static const char ack[] = "ACK\nid:1-9\n\n\0";
    uint8_t *copy = test_malloc(sizeof ack - 1);
    memcpy(copy, ack, sizeof ack - 1);
    stomp_protocol.feed(h.s, sl_bytes_of(copy, sizeof ack - 1), h.now);
    assert_true(harness_next(&h));
    stomp_protocol.hold(h.s);
    test_free(copy);
    stomp_protocol.answer(h.s, 0, PROTO_REFUSED_DELIVERY, h.now);
    harness_pull(&h);
    assert_memory_equal(harness_sent(&h), "ERROR\nmessage:unknown delivery\n", 31);
    assert_null(strstr(harness_sent(&h), "> "));
    harness_end(&h);
}

/* The hub may stop reading between a subscription to replies and the SEND that
 * brought it about, however that came. */
static void a_held_send_comes_after_its_subscription(void **state)
{
    (void)state;
    static const char in[] = "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\nx\0"
                             "SEND\ndestination:/queue/q\n\ny\0";
    for (size_t half = 0; half < sizeof in; half++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, "1.2");
        harness_feed(&h, in, half, half + 1);
        uint8_t *rest = test_malloc(sizeof in - half);
        memcpy(rest, in + half, sizeof in - half);
        stomp_protocol.feed(h.s, sl_bytes_of(rest, sizeof in - 1 - half), h.now);
        harness_next(&h);
        stomp_protocol.hold(h.s);
        test_free(rest);
        harness_pull(&h);
        assert_string_equal(harness_log(&h), "CONSUME 1 reply from="
                                             "$temp/0000000000000abc/"
                                             "r auto\n"
                                             "PUBLISH queue to=q qos=0 reply="
                                             "$temp/0000000000000abc/"
                                             "r body=x\n"
                                             "PUBLISH queue to=q qos=0 body=y\n");
        harness_end(&h);
    }
}

/* Another frame is at hand when an older one is refused: that is not the one. */
static void what_is_refused_later_does_not_quote_another(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    harness_connect(&h, "1.2");
    FEED(&h, "SEND\ndestination:/queue/a\nreceipt:1\n\n\0");
    static const char other[] = "SEND\ndestination:/queue/b\nreceipt:2\n\n\0";
    stomp_protocol.feed(h.s, sl_bytes_of(other, sizeof other - 1), h.now);
    assert_true(harness_next(&h));
    harness_answer(&h, 0, PROTO_REFUSED_QUOTA);
    assert_non_null(strstr(harness_sent(&h), "receipt-id:1\n"));
    assert_null(strstr(harness_sent(&h), "> "));
    harness_end(&h);
}

/* ---- tokens ---- */

static void only_an_ack_with_a_receipt_takes_a_slot(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    harness_connect(&h, "1.2");
    FEED(&h, SUB("0"));
    assert_int_equal(h.n_tokens, 1);
    FEED(&h, "ACK\nid:1-1\n\n\0NACK\nid:1-2\n\n\0");
    assert_int_equal(h.n_tokens, 1);
    FEED(&h, "ACK\nid:1-3\nreceipt:a\n\n\0");
    assert_int_equal(h.n_tokens, 2);
    FEED(&h, "UNSUBSCRIBE\nid:0\nreceipt:u\n\n\0");
    assert_int_equal(h.n_tokens, 3);
    harness_answer(&h, 1, PROTO_ACCEPTED);
    harness_answer(&h, 2, PROTO_ACCEPTED);
    assert_string_equal(harness_sent(&h), "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    assert_string_equal(harness_sent(&h), "RECEIPT\nreceipt-id:a\n\n^@RECEIPT\nreceipt-id:u\n\n^@");
    harness_end(&h);
}

/* ---- limits ---- */

static bool subscribe(struct harness *h, size_t i, const char *pad)
{
    char frame[4200];
    int n = snprintf(frame, sizeof frame, "SUBSCRIBE\nid:%zu%s\ndestination:/queue/q\n\n", i, pad);
    harness_feed(h, frame, (size_t)n + 1, (size_t)n + 1);
    bool stands = strncmp(harness_log(h), "CONSUME", 7) == 0;
    if (stands)
        harness_forget(h);
    return stands;
}

static void a_connection_has_4096_subscriptions(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    for (size_t i = 0; i < 4096; i++)
        assert_true(subscribe(&h, i, ""));
    FEED(&h, "UNSUBSCRIBE\nid:17\n\n\0");
    harness_forget(&h);
    assert_true(subscribe(&h, 5000, ""));
    assert_false(subscribe(&h, 5001, ""));
    assert_string_equal(harness_log(&h), "CLOSE too_many_subscriptions\n");
    assert_memory_equal(harness_sent(&h), "ERROR\nmessage:too many subscriptions\n", 37);
    harness_end(&h);
}

static void names_of_subscriptions_are_limited_in_all(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.max_header_bytes = 8192;
    harness_connect(&h, "1.2");
    char pad[4001];
    memset(pad, 'x', sizeof pad - 1);
    pad[sizeof pad - 1] = '\0';
    size_t n = 0;
    while (n < 4096 && subscribe(&h, n, pad))
        n++;
    assert_true(n > 100 && n < 270);
    assert_string_equal(harness_log(&h), "CLOSE too_many_subscriptions\n");
    harness_end(&h);
}

static void names_that_are_given_up_are_room_for_others(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.max_header_bytes = 8192;
    harness_connect(&h, "1.2");
    char pad[4001], frame[4200];
    memset(pad, 'x', sizeof pad - 1);
    pad[sizeof pad - 1] = '\0';
    for (size_t i = 0; i < 1000; i++) {
        assert_true(subscribe(&h, i, pad));
        int n = snprintf(frame, sizeof frame, "UNSUBSCRIBE\nid:%zu%s\n\n", i, pad);
        harness_feed(&h, frame, (size_t)n + 1, (size_t)n + 1);
        harness_forget(&h);
    }
    harness_end(&h);
}

/* As a topic it would be longer than what was sent; 256 bytes fit everywhere. */
static void names_of_reply_destinations_are_short(void **state)
{
    (void)state;
    static const char *const starts[] = {
        "SUBSCRIBE\nid:0\ndestination:/temp-queue/",
        "SEND\ndestination:/queue/q\nreply-to:/temp-queue/",
        "SEND\ndestination:/reply-queue/0000000000000abc/",
    };
    for (size_t i = 0; i < SL_COUNT(starts); i++) {
        for (size_t n = 256; n <= 257; n++) {
            char frame[512];
            size_t at = (size_t)snprintf(frame, sizeof frame, "%s", starts[i]);
            memset(frame + at, 'n', n);
            memcpy(frame + at + n, "\n\n", 3);
            struct harness h;
            harness_start(&h);
            h.cfg.max_header_bytes = 8192;
            harness_connect(&h, "1.2");
            harness_feed(&h, frame, at + n + 3, 64);
            bool refused = strstr(harness_log(&h), "CLOSE invalid_destination\n") != NULL;
            assert_int_equal(refused, n > 256);
            harness_end(&h);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_hub_refuses_at_once_is_quoted),
        cmocka_unit_test(what_is_owed_nothing_is_quoted_too),
        cmocka_unit_test(what_is_refused_in_a_transaction_has_no_receipt),
        cmocka_unit_test(what_was_received_is_told_when_the_caller_holds),
        cmocka_unit_test(what_is_refused_later_has_its_receipt),
        cmocka_unit_test(what_was_held_since_is_not_quoted),
        cmocka_unit_test(what_is_refused_later_does_not_quote_another),
        cmocka_unit_test(names_of_reply_destinations_are_short),
        cmocka_unit_test(names_that_are_given_up_are_room_for_others),
        cmocka_unit_test(a_held_send_comes_after_its_subscription),
        cmocka_unit_test(only_an_ack_with_a_receipt_takes_a_slot),
        cmocka_unit_test(a_connection_has_4096_subscriptions),
        cmocka_unit_test(names_of_subscriptions_are_limited_in_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
