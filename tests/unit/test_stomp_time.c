/* Heart-beats, timeouts and memory that is given back, on virtual time. The
 * harness starts at 1,000,000 ms; the server offers and asks for 10 s. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define T0 1000000u

static void connect_with(struct harness *h, const char *heart_beat)
{
    char text[128];
    harness_start(h);
    snprintf(text, sizeof text, "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:%s\n\n",
             heart_beat);
    harness_feed(h, text, strlen(text) + 1, 1000);
    assert_string_equal(harness_sent(h), CONNECTED_12);
    harness_forget(h);
}

/* How often the server beats in a minute, and how long it bears silence. */
static const struct {
    const char *offer;
    uint64_t beat_ms, silence_ms; /* 0: never */
} agreements[] = {
    {"0,0",          0,           0    },
    {"0,10000",      8000,        0    },
    {"0,5000",       8000,        0    }, /* the server does not promise less than 10 s */
    {"0,20000",      16000,       0    },
    {"10000,0",      0,           20000},
    {"1000,0",       0,           20000}, /* the server asks for 10 s at most */
    {"15000,0",      0,           30000},
    {"15000,20000",  16000,       30000},
    {"0,4294967295", 3435973836u, 0    },
};

static void heart_beats_are_agreed_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(agreements); i++) {
        struct harness h;
        connect_with(&h, agreements[i].offer);
        uint64_t beat = agreements[i].beat_ms, silence = agreements[i].silence_ms;
        uint64_t until = silence > 0 ? silence : 60000;
        harness_until(&h, T0 + until - 1);
        assert_string_equal(harness_log(&h), "");
        size_t beats = beat > 0 ? (size_t)((until - 1) / beat) : 0;
        assert_int_equal(strlen(harness_sent(&h)), beats);
        assert_int_equal(strspn(harness_sent(&h), "\n"), beats);
        harness_forget(&h);
        harness_until(&h, T0 + until);
        assert_string_equal(harness_log(&h), silence > 0 ? "CLOSE heart_beat_timeout\n" : "");
        if (silence > 0)
            assert_memory_equal(harness_sent(&h), "ERROR\nmessage:heart-beat timeout\n", 33);
        harness_end(&h);
    }
}

static void the_server_beats_only_when_it_was_silent(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,10000");
    harness_until(&h, T0 + 5000);
    FEED(&h, "SEND\ndestination:/topic/t\nreceipt:1\n\n\0");
    harness_until(&h, T0 + 12999);
    assert_string_equal(harness_sent(&h), "RECEIPT\nreceipt-id:1\n\n^@");
    harness_until(&h, T0 + 13000);
    assert_string_equal(harness_sent(&h), "RECEIPT\nreceipt-id:1\n\n^@\n");
    harness_end(&h);
}

static void subscribe(struct harness *h)
{
    FEED(h, "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0");
    harness_forget(h);
}

static void give(struct harness *h)
{
    struct message_parts m = { .id = 1, .topic = sl_str("t"), .payload = sl_str("x") };
    struct proto_delivery d = { .attempt = 1 };
    assert_int_equal(harness_deliver(h, &m, &d, 1), PROTO_SENT);
}

static size_t beats_in(const char *sent)
{
    return strspn(sent, "\n");
}

static void a_delivery_is_a_sign_of_life_and_beats_go_on_after_the_last(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,10000");
    subscribe(&h);
    harness_until(&h, T0 + 5000);
    give(&h);
    harness_forget(&h);
    harness_until(&h, T0 + 12999);
    assert_string_equal(harness_sent(&h), "");
    harness_until(&h, T0 + 60000);
    assert_int_equal(beats_in(harness_sent(&h)), 6);
    harness_end(&h);
}

/* Deliveries come without a time: what is told late is a beat too many at most. */
static void no_gap_is_longer_than_agreed_however_deliveries_fall(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,10000");
    subscribe(&h);
    uint64_t last = T0, at = T0;
    for (unsigned i = 0; i < 200; i++) {
        at += (i * 7919u) % 3000u;
        for (uint64_t due; (due = stomp_protocol.deadline(h.s)) <= at;) {
            h.now = due > h.now ? due : h.now;
            stomp_protocol.tick(h.s, h.now);
            harness_pull(&h);
            if (*harness_sent(&h) != '\0') {
                assert_true(h.now - last < 10000);
                last = h.now;
            }
            harness_forget(&h);
        }
        if (i % 13 != 0)
            continue;
        give(&h);
        harness_forget(&h);
        assert_true(at - last < 10000);
        last = at;
    }
    harness_end(&h);
}

static void who_floods_the_server_still_gets_its_beats(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "10000,10000");
    subscribe(&h);
    for (uint64_t at = T0; at < T0 + 40000; at += 10) {
        harness_until(&h, at);
        FEED(&h, "SEND\ndestination:/topic/t\n\nx\0ACK\nid:1-1\n\n\0");
    }
    assert_int_equal(beats_in(harness_sent(&h)), 4);
    assert_null(strstr(harness_log(&h), "CLOSE"));
    harness_end(&h);
}

static void who_is_sent_much_and_says_nothing_is_given_up(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "10000,10000");
    subscribe(&h);
    for (uint64_t at = T0; at < T0 + 20000; at += 100) {
        harness_until(&h, at);
        give(&h);
    }
    assert_string_equal(harness_log(&h), "");
    harness_until(&h, T0 + 20000);
    assert_string_equal(harness_log(&h), "CLOSE heart_beat_timeout\n");
    harness_end(&h);
}

static void any_byte_is_a_sign_of_life(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "10000,0");
    static const char *const signs[] = {"\n", "\r", "\n", "S", "E", "N"};
    uint64_t at = T0;
    for (size_t i = 0; i < SL_COUNT(signs); i++) {
        at += 19999;
        harness_until(&h, at);
        harness_text(&h, signs[i]);
    }
    harness_until(&h, at + 19999);
    assert_string_equal(harness_log(&h), "");
    harness_until(&h, at + 20000);
    assert_string_equal(harness_log(&h), "CLOSE heart_beat_timeout\n");
    harness_end(&h);
}

static void silence_does_not_count_while_reading_is_paused(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "10000,10000");
    stomp_protocol.pause(h.s, true, h.now);
    harness_until(&h, T0 + 500000);
    stomp_protocol.pause(h.s, false, h.now);
    harness_until(&h, T0 + 519999);
    assert_string_equal(harness_log(&h), "");
    harness_until(&h, T0 + 520000);
    assert_string_equal(harness_log(&h), "CLOSE heart_beat_timeout\n");
    harness_end(&h);
}

static void a_peer_that_does_not_read_gets_no_pile_of_beats(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.heart_beat_ms = 100;
    FEED(&h, "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:0,100\n\n\0");
    for (uint64_t at = T0; at < T0 + 10000; at += 10)
        stomp_protocol.tick(h.s, at);
    assert_int_equal(sl_buf_len(stomp_protocol.output(h.s)), 1);
    harness_end(&h);
}

static void a_peer_that_does_not_read_does_not_spin_the_clock(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,0");
    static const char frame[] = "BEGIN\ntransaction:t\nreceipt:1\n\n\0";
    struct proto_event ev;
    stomp_protocol.feed(h.s, sl_bytes_of(frame, sizeof frame - 1), h.now);
    while (stomp_protocol.next(h.s, &ev)) {}
    size_t turns = 0;
    for (uint64_t at; (at = stomp_protocol.deadline(h.s)) < T0 + 60000; turns++) {
        assert_true(turns < 100);
        stomp_protocol.tick(h.s, at);
    }
    assert_in_range(turns, 1, 60);
    harness_end(&h);
}

/* Judging took 25 s: nobody is late because of it. */
static void heart_beats_count_from_connected(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.unjudged = true;
    FEED(&h, "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:10000,0\n\n\0");
    h.now = T0 + 25000;
    stomp_protocol.connected(h.s, &h.judgement);
    harness_until(&h, T0 + 25000 + 19999);
    assert_string_equal(harness_log(&h), "CONNECT host=h\n");
    harness_until(&h, T0 + 25000 + 20000);
    assert_string_equal(harness_log(&h), "CONNECT host=h\nCLOSE heart_beat_timeout\n");
    harness_end(&h);
}

static void version_1_0_has_no_heart_beat(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    FEED(&h, "CONNECT\nheart-beat:1,1\n\n\0");
    assert_null(strstr(harness_sent(&h), "heart-beat"));
    harness_until(&h, T0 + 1000000);
    assert_string_equal(harness_log(&h), "CONNECT\n");
    harness_end(&h);
}

static void no_connect_in_time_is_an_error(void **state)
{
    (void)state;
    static const char *const starts[] = {"", "CONN", "\n\n\n", "CONNECT\nhost:h\n"};
    for (size_t i = 0; i < SL_COUNT(starts); i++) {
        struct harness h;
        harness_start(&h);
        harness_until(&h, T0 + 6000);
        harness_text(&h, starts[i]); /* a trickle does not buy time */
        harness_until(&h, T0 + 9999);
        assert_string_equal(harness_sent(&h), "");
        harness_until(&h, T0 + 10000);
        assert_string_equal(harness_log(&h), "CLOSE connect_timeout\n");
        assert_memory_equal(harness_sent(&h), "ERROR\nmessage:connect timeout\n", 30);
        harness_end(&h);
    }
}

static void a_connection_without_beats_asks_for_no_time(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,0");
    harness_until(&h, T0 + 5000);
    assert_true(stomp_protocol.deadline(h.s) == UINT64_MAX);
    harness_end(&h);
}

static void rested_memory_is_given_back(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,0");
    FEED(&h, "SEND\ndestination:/topic/t\nreceipt:1\n\nbody\0");
    harness_text(&h, "SEND\ndestination:/topic/t\n\nb");
    FEED(&h, "ody\0");
    assert_non_null(stomp_protocol.output(h.s)->p);
    assert_true(stomp_protocol.deadline(h.s) <= T0 + 1000);
    harness_until(&h, T0 + 1000);
    assert_null(stomp_protocol.output(h.s)->p);
    assert_true(stomp_protocol.deadline(h.s) == UINT64_MAX);
    harness_end(&h);
}

/* A consumer without heart-beats that is given something now and then. */
static void memory_of_deliveries_is_given_back_when_they_rest(void **state)
{
    (void)state;
    struct harness h;
    connect_with(&h, "0,0");
    subscribe(&h);
    harness_until(&h, T0 + 50000);
    assert_null(stomp_protocol.output(h.s)->p);
    for (uint64_t at = T0 + 100000; at < T0 + 105000; at += 500) {
        h.now = at; /* nobody has told the session */
        give(&h);
        harness_until(&h, at);
        assert_non_null(stomp_protocol.output(h.s)->p);
    }
    harness_until(&h, T0 + 110000);
    assert_null(stomp_protocol.output(h.s)->p);
    assert_true(stomp_protocol.deadline(h.s) == UINT64_MAX);
    harness_end(&h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(heart_beats_are_agreed_in_both_directions),
        cmocka_unit_test(the_server_beats_only_when_it_was_silent),
        cmocka_unit_test(a_delivery_is_a_sign_of_life_and_beats_go_on_after_the_last),
        cmocka_unit_test(no_gap_is_longer_than_agreed_however_deliveries_fall),
        cmocka_unit_test(who_floods_the_server_still_gets_its_beats),
        cmocka_unit_test(who_is_sent_much_and_says_nothing_is_given_up),
        cmocka_unit_test(any_byte_is_a_sign_of_life),
        cmocka_unit_test(silence_does_not_count_while_reading_is_paused),
        cmocka_unit_test(a_peer_that_does_not_read_gets_no_pile_of_beats),
        cmocka_unit_test(a_peer_that_does_not_read_does_not_spin_the_clock),
        cmocka_unit_test(heart_beats_count_from_connected),
        cmocka_unit_test(version_1_0_has_no_heart_beat),
        cmocka_unit_test(no_connect_in_time_is_an_error),
        cmocka_unit_test(a_connection_without_beats_asks_for_no_time),
        cmocka_unit_test(rested_memory_is_given_back),
        cmocka_unit_test(memory_of_deliveries_is_given_back_when_they_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
