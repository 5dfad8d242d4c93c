/* What a client can make the server hold, and how slowly it may do so. */
#include "test_stomp_harness.h"

#include <stdio.h>
#include <stdlib.h>

#define MIB (1024u * 1024u)

static void starts_with(struct harness *h, const char *head)
{
    assert_true(strlen(harness_sent(h)) >= strlen(head));
    assert_memory_equal(harness_sent(h), head, strlen(head));
}

static void big(struct harness *h, uint32_t max_message)
{
    harness_start(h);
    h->cfg.max_message = max_message;
    h->answers = ANSWER_LATER;
    harness_connect(h, "1.2");
}

/* A body may be exactly as large as the limit, announced or not. */
static void the_body_limit_is_exact(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++)
        for (size_t counted = 0; counted < 2; counted++) {
            struct harness h;
            big(&h, 1000);
            harness_text(&h, "SEND\ndestination:/topic/t\n");
            harness_text(&h, counted == 0 ? "\n"
                             : over == 0  ? "content-length:1000\n\n"
                                          : "content-length:1001\n\n");
            for (size_t i = 0; i < 1000 + over; i++)
                harness_text(&h, "x");
            FEED(&h, "\0");
            assert_string_equal(harness_log(&h), over == 0 ? "PUBLISH topic to=t qos=0 bytes=1000\n"
                                                           : "CLOSE message_too_large\n");
            assert_int_equal(stomp_protocol.buffered(h.s), 0);
            harness_end(&h);
        }
}

static void a_counted_body_may_be_all_nul(void **state)
{
    (void)state;
    struct harness h;
    big(&h, 70000);
    harness_text(&h, "SEND\ndestination:/topic/t\ncontent-length:70000\n\n");
    uint8_t *zero = calloc(1, 70001);
    assert_non_null(zero);
    harness_feed(&h, zero, 70001, 333);
    free(zero);
    assert_string_equal(harness_log(&h), "PUBLISH topic to=t qos=0 bytes=70000\n");
    harness_end(&h);
}

/* A mebibyte in single bytes, announced and not: with a scanner or a buffer
 * that started over each time this would take hours. */
static void a_slow_giant_costs_no_more_than_its_bytes(void **state)
{
    (void)state;
    static const char *const heads[] = {"SEND\ndestination:/topic/t\n\n",
                                        "SEND\ndestination:/topic/t\ncontent-length:1048576\n\n"};
    for (size_t i = 0; i < SL_COUNT(heads); i++) {
        struct harness h;
        big(&h, MIB);
        harness_feed(&h, heads[i], strlen(heads[i]), 1);
        struct proto_event ev;
        for (size_t n = 0; n < MIB; n++) {
            stomp_protocol.feed(h.s, sl_str("x"), h.now);
            assert_false(stomp_protocol.next(h.s, &ev));
        }
        assert_int_equal(stomp_protocol.buffered(h.s), MIB + strlen(heads[i]));
        FEED(&h, "\0");
        assert_string_equal(harness_log(&h), "PUBLISH topic to=t qos=0 bytes=1048576\n");
        assert_int_equal(stomp_protocol.buffered(h.s), 0);
        harness_end(&h);
    }
}

static void a_slow_header_costs_no_more_than_its_bytes(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.max_header_bytes = 65535;
    harness_connect(&h, "1.2");
    harness_text(&h, "SEND\nk:");
    for (size_t n = 0; n < 65533; n++)
        harness_text(&h, "x");
    assert_string_equal(harness_sent(&h), "");
    harness_text(&h, "x");
    harness_text(&h, "x");
    starts_with(&h, "ERROR\nmessage:header too long\n");
    assert_string_equal(harness_log(&h), "CLOSE header_too_long\n");
    harness_end(&h);
}

static void a_header_as_long_as_the_limit_passes(void **state)
{
    (void)state;
    for (size_t cr = 0; cr < 2; cr++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, "1.2");
        char text[200];
        int n = snprintf(text, sizeof text, "SEND\ndestination:/topic/t\nk:%098d%s\n\n", 0,
                         cr == 0 ? "" : "\r");
        harness_feed(&h, text, (size_t)n + 1, 1);
        assert_string_equal(harness_sent(&h), "");
        assert_memory_equal(harness_log(&h), "PUBLISH", 7);
        harness_end(&h);
    }
}

/* CONNECT in all has `partial_packet` bytes, however they are spread. */
static void before_connected_the_frame_is_limited(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct harness h;
        harness_start(&h);
        h.cfg.partial_packet = 101;
        char text[200];
        int n = snprintf(text, sizeof text, "CONNECT\nhost:h\naccept-version:1.2\nlogin:%0*d\n\n",
                         (int)(58 + over), 0);
        assert_int_equal(n + 1, 101 + over);
        harness_feed(&h, text, (size_t)n + 1, 1);
        if (over == 0)
            assert_memory_equal(harness_log(&h), "CONNECT host=h", 14);
        else
            assert_string_equal(harness_log(&h), "CLOSE frame_too_large\n");
        harness_end(&h);
    }
}

static void after_connected_the_frame_limit_is_gone(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.partial_packet = 80;
    harness_connect(&h, "1.2");
    harness_text(&h, "SEND\ndestination:/topic/t\n\n");
    for (size_t i = 0; i < 1000; i++)
        harness_text(&h, "x");
    FEED(&h, "\0");
    assert_string_equal(harness_log(&h), "PUBLISH topic to=t qos=0 bytes=1000\n");
    harness_end(&h);
}

static void a_flood_while_connect_is_judged_is_cut(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.unjudged = true;
    FEED(&h, "CONNECT\naccept-version:1.2\nhost:h\n\n\0");
    for (size_t i = 0; i < 1030; i++)
        harness_text(&h, "x");
    assert_string_equal(harness_log(&h), "CONNECT host=h\nCLOSE early_data\n");
    starts_with(&h, "ERROR\nmessage:frame too large\n");
    stomp_protocol.connected(h.s, &h.judgement); /* comes too late */
    harness_pull(&h);
    assert_int_equal(stomp_protocol.buffered(h.s), 0);
    harness_end(&h);
}

static void owed_answers_are_limited(void **state)
{
    (void)state;
    static const char frame[] = "SEND\ndestination:/topic/t\n\n\0";
    struct harness h;
    big(&h, 100);
    struct proto_event ev = {0};
    size_t taken = 0;
    while (taken < 70000) {
        stomp_protocol.feed(h.s, sl_bytes_of(frame, sizeof frame - 1), h.now);
        if (!stomp_protocol.next(h.s, &ev) || ev.kind != PROTO_PUBLISH)
            break;
        taken++;
        assert_false(stomp_protocol.next(h.s, &ev));
    }
    assert_int_equal(taken, 65536);
    assert_int_equal(ev.kind, PROTO_CLOSE);
    assert_string_equal(ev.u.reason, "too_many_receipts");
    harness_end(&h);
}

static void receipts_that_wait_are_limited_in_bytes(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    h.cfg.max_header_bytes = 65535;
    harness_connect(&h, "1.2");
    FEED(&h, "SEND\ndestination:/topic/t\nreceipt:1\n\n\0");
    char *id = malloc(60001);
    assert_non_null(id);
    memset(id, 'r', 60000);
    id[60000] = '\0';
    for (size_t i = 0; i < 18; i++) {
        harness_text(&h, "BEGIN\ntransaction:t\nreceipt:");
        harness_text(&h, id);
        FEED(&h, "\n\n\0ABORT\ntransaction:t\n\n\0");
    }
    free(id);
    starts_with(&h, "ERROR\nmessage:too many receipts\n");
    assert_non_null(strstr(harness_log(&h), "CLOSE too_many_receipts\n"));
    harness_end(&h);
}

/* The peer sends frames that want a receipt and never reads one. */
static void a_peer_that_does_not_read_is_cut_off(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    static const char frames[] =
        "BEGIN\ntransaction:t\nreceipt:0123456789012345678901234567890\n\n\0"
        "ABORT\ntransaction:t\nreceipt:0123456789012345678901234567890\n\n\0";
    struct proto_event ev = {0};
    size_t most = 0;
    for (size_t i = 0; i < 100000 && ev.kind != PROTO_CLOSE; i++) {
        stomp_protocol.feed(h.s, sl_bytes_of(frames, sizeof frames - 1), h.now);
        while (stomp_protocol.next(h.s, &ev)) {}
        most = sl_buf_len(stomp_protocol.output(h.s));
    }
    assert_int_equal(ev.kind, PROTO_CLOSE);
    assert_string_equal(ev.u.reason, "output_limit");
    assert_true(most <= 4 * MIB);
    harness_end(&h);
}

/* Room that a large message was given is not a client's to fill with receipts later. */
static void the_limit_of_output_is_back_after_a_large_message(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "auto");
    struct message_parts m = message_of_queue();
    m.payload.n = 9 * MIB;
    uint8_t *body = test_calloc(1, m.payload.n);
    m.payload.p = body;
    assert_int_equal(harness_deliver(&h, &m, &delivery_unasked, 1), PROTO_SENT);
    assert_true(stomp_protocol.output(h.s)->max > 9 * MIB);
    harness_until(&h, h.now + 5000);
    assert_int_equal(stomp_protocol.output(h.s)->max, 4 * MIB);
    test_free(body);
    harness_end(&h);
}

static void an_explanation_is_short_however_long_the_frame(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.max_headers = 1000;
    h.cfg.max_header_bytes = 5000;
    harness_connect(&h, "1.2");
    harness_text(&h, "SEND\n");
    for (size_t i = 0; i < 100; i++) {
        char line[1100];
        snprintf(line, sizeof line, "k:%01000d\x01\xc3\xbc\n", 0);
        harness_text(&h, line);
    }
    harness_text(&h, "bad\n");
    starts_with(&h, "ERROR\nmessage:malformed header\n");
    assert_true(strlen(harness_sent(&h)) < 2500);
    harness_end(&h);
}

static void many_frames_at_once_are_all_read(void **state)
{
    (void)state;
    static const char frame[] = "SEND\ndestination:/topic/t\n\nbody\0";
    size_t n = sizeof frame - 1, count = 2000;
    char *all = malloc(n * count);
    assert_non_null(all);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * n, frame, n);
    static const size_t steps[] = {1, 7, 31, 33, 500, 512, 513, 4096, 64000};
    for (size_t i = 0; i < SL_COUNT(steps); i++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, "1.2");
        harness_feed(&h, all, n * count, steps[i]);
        static const char line[] = "PUBLISH topic to=t qos=0 body=body\n";
        assert_int_equal(strlen(harness_log(&h)), count * (sizeof line - 1));
        assert_int_equal(stomp_protocol.buffered(h.s), 0);
        harness_end(&h);
    }
    free(all);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_body_limit_is_exact),
        cmocka_unit_test(a_counted_body_may_be_all_nul),
        cmocka_unit_test(a_slow_giant_costs_no_more_than_its_bytes),
        cmocka_unit_test(a_slow_header_costs_no_more_than_its_bytes),
        cmocka_unit_test(a_header_as_long_as_the_limit_passes),
        cmocka_unit_test(before_connected_the_frame_is_limited),
        cmocka_unit_test(after_connected_the_frame_limit_is_gone),
        cmocka_unit_test(a_flood_while_connect_is_judged_is_cut),
        cmocka_unit_test(owed_answers_are_limited),
        cmocka_unit_test(receipts_that_wait_are_limited_in_bytes),
        cmocka_unit_test(a_peer_that_does_not_read_is_cut_off),
        cmocka_unit_test(the_limit_of_output_is_back_after_a_large_message),
        cmocka_unit_test(an_explanation_is_short_however_long_the_frame),
        cmocka_unit_test(many_frames_at_once_are_all_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
