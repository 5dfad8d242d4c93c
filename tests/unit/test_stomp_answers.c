/* Answers leave in the order of their frames; refusals and goodbyes end all. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define SEND(id)    "SEND\ndestination:/topic/t\nreceipt:" id "\n\n\0"
#define SEND_SILENT "SEND\ndestination:/topic/t\n\n\0"
#define RECEIPT(id) "RECEIPT\nreceipt-id:" id "\n\n^@"

static void open_late(struct harness *h, const char *version)
{
    harness_start(h);
    h->answers = ANSWER_LATER;
    harness_connect(h, version);
}

static void sent_is(struct harness *h, const char *want)
{
    assert_string_equal(harness_sent(h), want);
    harness_forget(h);
}

static void receipts_leave_in_the_order_of_their_frames(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND("a") SEND("b") SEND("c"));
    assert_int_equal(h.n_tokens, 3);
    harness_answer(&h, 2, PROTO_ACCEPTED);
    sent_is(&h, "");
    harness_answer(&h, 0, PROTO_NO_TAKER);
    sent_is(&h, RECEIPT("a"));
    harness_answer(&h, 1, PROTO_ACCEPTED);
    sent_is(&h, RECEIPT("b") RECEIPT("c"));
    harness_end(&h);
}

/* Every order of answering four frames gives the same bytes. */
static void receipts_do_not_depend_on_the_order_of_answers(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 256; order++) {
        unsigned used = 0;
        size_t at[4];
        for (size_t i = 0; i < 4; i++) {
            at[i] = order >> (2 * i) & 3u;
            used |= 1u << at[i];
        }
        if (used != 15)
            continue;
        struct harness h;
        open_late(&h, "1.1");
        FEED(&h, SEND("1") SEND_SILENT SEND("3") SEND("4"));
        for (size_t i = 0; i < 4; i++)
            harness_answer(&h, at[i], PROTO_ACCEPTED);
        sent_is(&h, RECEIPT("1") RECEIPT("3") RECEIPT("4"));
        harness_end(&h);
    }
}

static void every_send_outside_a_transaction_is_owed_an_answer(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND_SILENT SEND("1"));
    assert_int_equal(h.n_tokens, 2);
    harness_answer(&h, 1, PROTO_ACCEPTED);
    sent_is(&h, "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    sent_is(&h, RECEIPT("1"));
    harness_end(&h);
}

static void inside_a_transaction_receipt_means_received(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, "BEGIN\ntransaction:t\nreceipt:b\n\n\0"
             "SEND\ndestination:/topic/t\ntransaction:t\nreceipt:s\n\nx\0");
    assert_int_equal(h.n_tokens, 0);
    sent_is(&h, RECEIPT("b") RECEIPT("s"));
    FEED(&h, "COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    assert_int_equal(h.n_tokens, 1);
    sent_is(&h, "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    sent_is(&h, RECEIPT("c"));
    harness_end(&h);
}

static void what_was_received_in_a_transaction_waits_for_older_answers(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND("1") "BEGIN\ntransaction:t\nreceipt:2\n\n\0"
                       "SEND\ndestination:/topic/t\ntransaction:t\nreceipt:3\n\nx\0"
                       "ABORT\ntransaction:t\nreceipt:4\n\n\0");
    sent_is(&h, "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    sent_is(&h, RECEIPT("1") RECEIPT("2") RECEIPT("3") RECEIPT("4"));
    harness_end(&h);
}

static void disconnect_waits_for_all_before(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND("1") SEND_SILENT "DISCONNECT\nreceipt:bye\n\n\0" SEND("no"));
    harness_forget(&h);
    harness_answer(&h, 0, PROTO_ACCEPTED);
    assert_string_equal(harness_log(&h), "");
    sent_is(&h, RECEIPT("1"));
    FEED(&h, SEND("no"));
    harness_answer(&h, 2, PROTO_ACCEPTED);
    sent_is(&h, "");
    harness_answer(&h, 1, PROTO_ACCEPTED);
    assert_string_equal(harness_log(&h), "CLOSE disconnect\n");
    sent_is(&h, RECEIPT("bye"));
    harness_end(&h);
}

static void disconnect_without_receipt_loses_no_older_receipt(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND("1") "DISCONNECT\n\n\0");
    assert_int_equal(h.n_tokens, 2);
    harness_forget(&h);
    harness_answer(&h, 1, PROTO_ACCEPTED);
    assert_string_equal(harness_log(&h), "");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    assert_string_equal(harness_log(&h), "CLOSE disconnect\n");
    sent_is(&h, RECEIPT("1"));
    harness_end(&h);
}

static void error_overtakes_what_is_open_but_not_what_was_ready(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND("1") SEND("2") SEND("3"));
    harness_answer(&h, 0, PROTO_ACCEPTED);
    FEED(&h, "BAD\n");
    sent_is(
        &h,
        RECEIPT(
            "1") "ERROR\nmessage:unknown command\ncontent-type:text/plain\ncontent-length:78\n\n"
                 "The frame does not start with a command that this version of STOMP has.\n> "
                 "BAD\n^@");
    harness_answer(&h, 1, PROTO_ACCEPTED); /* ignored after PROTO_CLOSE */
    harness_answer(&h, 2, PROTO_REFUSED_QUOTA);
    sent_is(&h, "");
    harness_end(&h);
}

static const struct {
    enum proto_result result;
    const char *head, *reason;
} refusals[] = {
    {PROTO_REFUSED_QUOTA,  "ERROR\nmessage:quota exceeded\nretry-after:5\nreceipt-id:b\\cb\n",
     "CLOSE quota_exceeded\n"     },
    {PROTO_REFUSED_DENIED, "ERROR\nmessage:not authorized\nreceipt-id:b\\cb\n",
     "CLOSE publish_denied\n"     },
    {PROTO_REFUSED_TARGET, "ERROR\nmessage:invalid destination\nreceipt-id:b\\cb\n",
     "CLOSE invalid_destination\n"},
    {PROTO_REFUSED_STORE,  "ERROR\nmessage:store unavailable\nretry-after:30\nreceipt-id:b\\cb\n",
     "CLOSE store_unavailable\n"  },
};

static void a_refusal_is_an_error_with_the_frames_receipt(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(refusals); i++) {
        struct harness h;
        open_late(&h, "1.2");
        FEED(&h, SEND("a") SEND("b\\cb") SEND("c"));
        harness_forget(&h);
        harness_answer(&h, 1, refusals[i].result);
        assert_memory_equal(harness_sent(&h), refusals[i].head, strlen(refusals[i].head));
        assert_string_equal(harness_log(&h), refusals[i].reason);
        harness_end(&h);
    }
}

static void a_send_without_receipt_hears_of_its_refusal(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, SEND_SILENT);
    harness_answer(&h, 0, PROTO_REFUSED_QUOTA);
    sent_is(&h, "ERROR\nmessage:quota exceeded\nretry-after:5\ncontent-type:text/plain\n"
                "content-length:42\n\nThe message was refused: a queue is full.\n^@");
    harness_end(&h);
}

static const struct {
    enum proto_connect_result result;
    const char *head, *reason;
} judgements[] = {
    {PROTO_CONNECT_BAD_CREDENTIALS, "ERROR\nmessage:authentication failed\ncontent-type",
     "CONNECT host=h\nCLOSE bad_credentials\n"     },
    {PROTO_CONNECT_DENIED,          "ERROR\nmessage:not authorized\ncontent-type",
     "CONNECT host=h\nCLOSE not_authorized\n"      },
    {PROTO_CONNECT_QUOTA,           "ERROR\nmessage:too many connections\nretry-after:5\ncontent-type",
     "CONNECT host=h\nCLOSE too_many_connections\n"},
    {PROTO_CONNECT_RATE,            "ERROR\nmessage:connection rate exceeded\nretry-after:1\ncontent-type",
     "CONNECT host=h\nCLOSE connection_rate\n"     },
    {PROTO_CONNECT_UNAVAILABLE,     "ERROR\nmessage:server unavailable\nretry-after:5\ncontent-type",
     "CONNECT host=h\nCLOSE unavailable\n"         },
};

static void a_connect_that_is_refused_is_told_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(judgements); i++) {
        struct harness h;
        harness_start(&h);
        h.judgement.result = judgements[i].result;
        FEED(&h, "CONNECT\naccept-version:1.2\nhost:h\n\n\0" SEND("1"));
        assert_memory_equal(harness_sent(&h), judgements[i].head, strlen(judgements[i].head));
        assert_string_equal(harness_log(&h), judgements[i].reason);
        harness_end(&h);
    }
}

static const struct {
    enum proto_bye why;
    const char *head, *reason;
} byes[] = {
    {PROTO_BYE_TAKEOVER, "ERROR\nmessage:session taken over\ncontent",
     "CLOSE session_taken_over\n"                                                                       },
    {PROTO_BYE_SHUTDOWN, "ERROR\nmessage:server shutting down\nretry-after:5\n",
     "CLOSE shutdown\n"                                                                                 },
    {PROTO_BYE_ADMIN,    "ERROR\nmessage:closed by administrator\ncontent",      "CLOSE administrator\n"},
    {PROTO_BYE_QUOTA,    "ERROR\nmessage:quota exceeded\nretry-after:5\n",       "CLOSE memory_limit\n" },
    {PROTO_BYE_STORE,    "ERROR\nmessage:store unavailable\nretry-after:30\n",
     "CLOSE store_unavailable\n"                                                                        },
};

static void the_servers_own_goodbye_is_an_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(byes); i++) {
        struct harness h;
        open_late(&h, "1.2");
        FEED(&h, SEND("1") "SEND\ndest");
        harness_forget(&h);
        stomp_protocol.shutdown(h.s, byes[i].why);
        stomp_protocol.shutdown(h.s, PROTO_BYE_ADMIN); /* the first word counts */
        harness_pull(&h);
        assert_memory_equal(harness_sent(&h), byes[i].head, strlen(byes[i].head));
        assert_string_equal(harness_log(&h), byes[i].reason);
        assert_int_equal(stomp_protocol.buffered(h.s), 0);
        harness_end(&h);
    }
}

static void begin_twice_is_an_error(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, "BEGIN\ntransaction:t\n\n\0BEGIN\ntransaction:t\nreceipt:r\n\n\0");
    assert_string_equal(harness_log(&h), "BEGIN tx=t\nCLOSE transaction_begun_twice\n");
    static const char head[] = "ERROR\nmessage:transaction already begun\nreceipt-id:r\n";
    assert_memory_equal(harness_sent(&h), head, sizeof head - 1);
    harness_end(&h);
}

static void a_committed_transaction_is_closed(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, "BEGIN\ntransaction:t\n\n\0COMMIT\ntransaction:t\n\n\0"
             "SEND\ndestination:/topic/t\ntransaction:t\n\n\0");
    assert_string_equal(harness_log(&h), "BEGIN tx=t\nCOMMIT tx=t\nCLOSE unknown_transaction\n");
    harness_end(&h);
}

static void a_refused_commit_is_an_error(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    FEED(&h, "BEGIN\ntransaction:t\n\n\0COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    harness_forget(&h);
    stomp_protocol.answer(h.s, h.tokens[0], PROTO_REFUSED_QUOTA, h.now);
    assert_true(stomp_protocol.deadline(h.s) <= h.now); /* PROTO_CLOSE waits to be fetched */
    harness_pull(&h);
    static const char head[] = "ERROR\nmessage:quota exceeded\nretry-after:5\nreceipt-id:c\n";
    assert_memory_equal(harness_sent(&h), head, sizeof head - 1);
    assert_string_equal(harness_log(&h), "CLOSE quota_exceeded\n");
    harness_end(&h);
}

static void sixty_four_transactions_may_be_open(void **state)
{
    (void)state;
    struct harness h;
    open_late(&h, "1.2");
    for (int i = 0; i < 65; i++) {
        char name[32];
        snprintf(name, sizeof name, "BEGIN\ntransaction:%d\n\n", i);
        harness_feed(&h, name, strlen(name) + 1, 7);
        if (i == 63)
            assert_string_equal(harness_sent(&h), "");
    }
    static const char head[] = "ERROR\nmessage:too many transactions\n";
    assert_memory_equal(harness_sent(&h), head, sizeof head - 1);
    harness_end(&h);
}

static void a_refused_connect_is_quoted_without_its_passcode(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.judgement.result = PROTO_CONNECT_BAD_CREDENTIALS;
    FEED(&h, "CONNECT\naccept-version:1.2\nhost:h\nlogin:joe\npasscode:secret\n\n\0");
    assert_non_null(strstr(harness_sent(&h), "Login or passcode is wrong.\n> CONNECT\n"));
    assert_non_null(strstr(harness_sent(&h), "> login:joe\n> passcode:***\n"));
    assert_null(strstr(harness_sent(&h), "secret"));
    harness_end(&h);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipts_leave_in_the_order_of_their_frames),
        cmocka_unit_test(receipts_do_not_depend_on_the_order_of_answers),
        cmocka_unit_test(every_send_outside_a_transaction_is_owed_an_answer),
        cmocka_unit_test(inside_a_transaction_receipt_means_received),
        cmocka_unit_test(what_was_received_in_a_transaction_waits_for_older_answers),
        cmocka_unit_test(disconnect_waits_for_all_before),
        cmocka_unit_test(disconnect_without_receipt_loses_no_older_receipt),
        cmocka_unit_test(error_overtakes_what_is_open_but_not_what_was_ready),
        cmocka_unit_test(a_refusal_is_an_error_with_the_frames_receipt),
        cmocka_unit_test(a_send_without_receipt_hears_of_its_refusal),
        cmocka_unit_test(a_connect_that_is_refused_is_told_why),
        cmocka_unit_test(the_servers_own_goodbye_is_an_error),
        cmocka_unit_test(begin_twice_is_an_error),
        cmocka_unit_test(a_committed_transaction_is_closed),
        cmocka_unit_test(a_refused_commit_is_an_error),
        cmocka_unit_test(a_refused_connect_is_quoted_without_its_passcode),
        cmocka_unit_test(sixty_four_transactions_may_be_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
