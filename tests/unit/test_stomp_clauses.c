/* What the STOMP texts ask and no other test here shows; tests/clauses names each. Vectors run at
 * every split; `events` and `sent` are all there is. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define T0          1000000u
#define HEADED_12   "CONNECT\naccept-version:1.2\nhost:h\n"
#define RECEIPT(id) "RECEIPT\nreceipt-id:" id "\n\n^@"

struct vector {
    const char *claim;
    const char *version; /* connected already with it; NULL: not yet */
    const char *in;
    size_t n;
    const char *events, *sent;
};

#define V(claim, version, in, events, sent)                                                        \
    {                                                                                              \
        claim, version, in, sizeof(in) - 1, events, sent                                           \
    }

static const struct vector vectors[] = {
    /* ---- frames ---- */
    V("header names are told apart by case", "1.2",
      "SEND\nDestination:/topic/x\ndestination:/topic/t\nReceipt:1\n\n\0",
      "PUBLISH topic to=t qos=0 [Destination|/topic/x] [Receipt|1]\n", ""),
    V("a value is not trimmed in 1.2", "1.2", "SEND\ndestination:/topic/t \nreceipt: 1 \n\n\0",
      "PUBLISH topic to=t  qos=1\n", RECEIPT(" 1 ")),
    V("a value is not trimmed in 1.1", "1.1", "SEND\ndestination:/topic/t \nreceipt: 1 \n\n\0",
      "PUBLISH topic to=t  qos=1\n", RECEIPT(" 1 ")),
    V("a name is not trimmed", "1.2", "SEND\ndestination:/topic/t\nreceipt :1\n k:2\n\n\0",
      "PUBLISH topic to=t qos=0 [receipt |1] [ k|2]\n", ""),
    V("of a repeated destination and receipt the first counts", "1.2",
      "SEND\ndestination:/topic/a\nreceipt:1\ndestination:/topic/b\nreceipt:2\n\n\0",
      "PUBLISH topic to=a qos=1\n", RECEIPT("1")),
    V("of a repeated transaction the first counts", "1.1",
      "BEGIN\ntransaction:a\ntransaction:b\n\n\0ABORT\ntransaction:a\ntransaction:b\n\n\0",
      "BEGIN tx=a\nABORT tx=a\n", ""),
    V("a frame may have no header", "1.1", "DISCONNECT\n\n\0", "DISCONNECT\nCLOSE disconnect\n",
      ""),

    /* ---- connecting ---- */
    V("CONNECT has no receipt", NULL, HEADED_12 "receipt:1\n\n\0", "CONNECT host=h\n",
      CONNECTED_12),
    V("any host is the one there is", NULL, "CONNECT\naccept-version:1.2\nhost:/other:1\n\n\0",
      "CONNECT host=/other:1\n", CONNECTED_12),
    V("without host it is the one there is", NULL, "CONNECT\naccept-version:1.2\n\n\0",
      "CONNECT\n", CONNECTED_12),
    V("1.1 CONNECT may leave out host", NULL, "CONNECT\naccept-version:1.1\n\n\0", "CONNECT\n",
      "CONNECTED\nversion:1.1\nsession:c1\nserver:sluice\nheart-beat:10000,10000\n\n^@"),
    V("STOMP is CONNECT in 1.1", NULL, "STOMP\naccept-version:1.1\nhost:h\nlogin:j\\x\n\n\0",
      "CONNECT host=h user=j\\x\n",
      "CONNECTED\nversion:1.1\nsession:c1\nserver:sluice\nheart-beat:10000,10000\n\n^@"),
    V("STOMP is CONNECT in 1.0", NULL, "STOMP\n\n\0", "CONNECT\n",
      "CONNECTED\nversion:1.0\nsession:c1\nserver:sluice\n\n^@"),
    V("1.0 CONNECT with a body", NULL, "CONNECT\n\nignored\0", "CONNECT\n",
      "CONNECTED\nversion:1.0\nsession:c1\nserver:sluice\n\n^@"),

    /* ---- subscribing ---- */
    V("1.0 SUBSCRIBE without id and ack, with a body", "1.0",
      "SUBSCRIBE\ndestination:/queue/q\n\nignored\0UNSUBSCRIBE\ndestination:/queue/q\n\nso\0",
      "CONSUME 1 queue from=q auto\nCANCEL 1\n", ""),
    V("1.0 ACK with the headers of its MESSAGE, content-length too", "1.0",
      "SUBSCRIBE\ndestination:/queue/q\nack:client\ncontent-length:none\n\n\0"
      "ACK\nmessage-id:0000010000000001-1-1\ncontent-length:5\ndestination:/queue/q\n\n\0"
      "UNSUBSCRIBE\ndestination:/queue/q\n\n\0",
      "CONSUME 1 queue from=q client\nACK consumer=1 delivery=1\nCANCEL 1\n", ""),

    /* ---- receipts ---- */
    V("each frame of a producer may ask for a receipt", "1.2",
      "SEND\ndestination:/topic/t\nreceipt:1\n\n\0BEGIN\ntransaction:t\nreceipt:2\n\n\0"
      "SEND\ndestination:/topic/t\ntransaction:t\nreceipt:3\n\n\0"
      "COMMIT\ntransaction:t\nreceipt:4\n\n\0BEGIN\ntransaction:t\nreceipt:5\n\n\0"
      "ABORT\ntransaction:t\nreceipt:6\n\n\0DISCONNECT\nreceipt:7\n\n\0",
      "PUBLISH topic to=t qos=1\nBEGIN tx=t\nPUBLISH topic to=t qos=1 tx=t\nCOMMIT tx=t\n"
      "BEGIN tx=t\nABORT tx=t\nDISCONNECT\nCLOSE disconnect\n",
      RECEIPT("1") RECEIPT("2") RECEIPT("3") RECEIPT("4") RECEIPT("5") RECEIPT("6") RECEIPT("7")),
    V("each frame of a consumer may ask for a receipt", "1.2",
      "SUBSCRIBE\nid:s\ndestination:/queue/q\nack:client\nreceipt:1\n\n\0"
      "ACK\nid:1-1\nreceipt:2\n\n\0NACK\nid:1-2\nreceipt:3\n\n\0"
      "NACK\nid:1-3\nextend:1s\nreceipt:4\n\n\0UNSUBSCRIBE\nid:s\nreceipt:5\n\n\0",
      "CONSUME 1 queue from=q client\nACK consumer=1 delivery=1\nNACK consumer=1 delivery=2\n"
      "EXTEND consumer=1 delivery=3 ms=1000\nCANCEL 1\n",
      RECEIPT("1") RECEIPT("2") RECEIPT("3") RECEIPT("4") RECEIPT("5")),
    V("a receipt may be empty", "1.2", "SEND\ndestination:/topic/t\nreceipt:\n\n\0",
      "PUBLISH topic to=t qos=1\n", RECEIPT("")),
    V("1.1 receipt: a carriage return is not escaped", "1.1",
      "BEGIN\ntransaction:t\nreceipt:a\rb\\c\\n\n\n\0", "BEGIN tx=t\n", RECEIPT("a\rb\\c\\n")),

    /* ---- transactions ---- */
    V("transactions are told apart by name", "1.2",
      "BEGIN\ntransaction:a\n\n\0BEGIN\ntransaction:b\n\n\0"
      "SEND\ndestination:/topic/t\ntransaction:b\n\n1\0SEND\ndestination:/topic/t\n\n2\0"
      "ABORT\ntransaction:a\n\n\0COMMIT\ntransaction:b\n\n\0",
      "BEGIN tx=a\nBEGIN tx=b\nPUBLISH topic to=t qos=1 tx=b body=1\n"
      "PUBLISH topic to=t qos=0 body=2\nABORT tx=a\nCOMMIT tx=b\n",
      ""),
};

static void vector_holds_at_every_split(void **state)
{
    const struct vector *v = *state;
    for (size_t step = 1; step <= v->n; step++) {
        struct harness h;
        harness_start(&h);
        if (v->version != NULL)
            harness_connect(&h, v->version);
        harness_feed(&h, v->in, v->n, step);
        assert_string_equal(harness_sent(&h), v->sent);
        assert_string_equal(harness_log(&h), v->events);
        harness_end(&h);
    }
}

/* ---- refusals: the message alone; test_stomp_malformed has whole frames ---- */

static const struct {
    const char *version, *in, *message;
} refusals[] = {
    /* What would be right with the spaces trimmed. */
    { "1.0", "SEND\ndestination: /topic/t\n\n", "invalid destination" },
    { "1.1", "SEND\ndestination: /topic/t\n\n", "invalid destination" },
    { "1.2", "SEND\ndestination: /topic/t\n\n", "invalid destination" },
    { "1.2", "SEND\n destination:/topic/t\n\n", "missing header" },
    { "1.2", "SEND\ndestination:/topic/t\ncontent-length: 1\n\nx", "invalid content-length" },
    { "1.2", "SEND \ndestination:/topic/t\n\n", "unknown command" },
    { "1.2", "SEND\nDESTINATION:/topic/t\n\n", "missing header" },
    /* A name says which transaction, in each frame that has one. */
    { "1.2", "SEND\ndestination:/topic/t\ntransaction:\n\n", "unknown transaction" },
    { "1.1", "COMMIT\nreceipt:1\n\n", "missing header" },
    { "1.0", "ABORT\n\n", "missing header" },
    { "1.2", "BEGIN\ntransaction:t\n\n^@COMMIT\ntransaction:T\n\n", "unknown transaction" },
    { "1.1", "BEGIN\ntransaction:t\n\n^@BEGIN\ntransaction:t\n\n", "transaction already begun" },
    { "1.0", "BEGIN\ntransaction:t\n\n^@BEGIN\ntransaction:t\n\n", "transaction already begun" },
    /* Only SEND has a body, announced or not, except in 1.0. */
    { "1.2", "COMMIT\ntransaction:t\n\nx", "body not allowed" },
    { "1.2", "ABORT\ntransaction:t\ncontent-length:1\n\nx", "body not allowed" },
    { "1.1", "SUBSCRIBE\nid:1\ndestination:/queue/q\n\nx", "body not allowed" },
    { "1.1", "UNSUBSCRIBE\nid:1\n\nx", "body not allowed" },
    { "1.2", "ACK\nid:1\n\nx", "body not allowed" },
    { "1.1", "NACK\nmessage-id:1\nsubscription:1\n\nx", "body not allowed" },
    { "1.2", "DISCONNECT\n\nx", "body not allowed" },
    /* Which subscription, and which delivery, in the form of the version. */
    { "1.1", "UNSUBSCRIBE\ndestination:/topic/t\n\n", "missing header" },
    { "1.1", "UNSUBSCRIBE\nid:none\n\n", "unknown subscription" },
    { "1.2", "NACK\nmessage-id:1\nsubscription:1\n\n", "missing header" },
    { "1.2", "NACK\nid:1-1\n\n", "unknown delivery" },
    { "1.1", "NACK\nid:1-1\n\n", "missing header" },
    { "1.1", "NACK\nmessage-id:0000010000000001-1-1\n\n", "missing header" },
    { "1.0", "SEND\nreceipt:1\n\nx", "missing header" },
    /* The commands of a server, and of other versions. */
    { "1.2", "CONNECTED\nversion:1.2\n\n", "unknown command" },
    { "1.2", "RECEIPT\nreceipt-id:1\n\n", "unknown command" },
    { "1.2", "ERROR\n\n", "unknown command" },
    { "1.0", "NACK\nmessage-id:1\n\n", "unknown command" },
};

/* "^@" in the text is a NUL. */
static void feed_text(struct harness *h, const char *text, size_t step)
{
    char in[256];
    size_t n = 0;
    for (const char *p = text; *p != '\0'; p++) {
        bool nul = p[0] == '^' && p[1] == '@';
        in[n++] = nul ? '\0' : *p;
        p += nul ? 1 : 0;
    }
    in[n++] = '\0';
    harness_feed(h, in, n, step);
}

static void what_is_wrong_is_an_error_and_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(refusals); i++)
        for (size_t step = 1; step <= strlen(refusals[i].in) + 1; step++) {
            struct harness h;
            char want[64];
            harness_start(&h);
            harness_connect(&h, refusals[i].version);
            feed_text(&h, refusals[i].in, step);
            feed_text(&h, "SEND\ndestination:/topic/after\n\n", 64);
            snprintf(want, sizeof want, "ERROR\nmessage:%s\n", refusals[i].message);
            assert_memory_equal(harness_sent(&h), want, strlen(want));
            assert_non_null(strstr(harness_log(&h), "CLOSE "));
            assert_null(strstr(harness_log(&h), "PUBLISH"));
            harness_end(&h);
        }
}

/* ---- CONNECT and CONNECTED ---- */

/* 1.0's clients would not unescape it; NUL and line feed cannot be said at all. */
static void connected_is_not_escaped(void **state)
{
    (void)state;
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    for (size_t i = 0; i < SL_COUNT(versions); i++) {
        struct harness h;
        char text[128], want[128];
        harness_start(&h);
        h.judgement.client_id = sl_str("a:b\\c\\\\");
        snprintf(text, sizeof text, "CONNECT\naccept-version:%s\nhost:h\n\n", versions[i]);
        harness_feed(&h, text, strlen(text) + 1, 1);
        snprintf(want, sizeof want, "CONNECTED\nversion:%s\nsession:a:b\\c\\\\\nserver:sluice\n",
                 versions[i]);
        assert_memory_equal(harness_sent(&h), want, strlen(want));
        harness_end(&h);
    }
}

static void a_heart_beat_is_two_whole_numbers(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",
                                         "0",
                                         ",",
                                         "1,",
                                         ",1",
                                         "a,b",
                                         "-1,0",
                                         "0, 0",
                                         "0 ,0",
                                         "1;1",
                                         "1,2,3",
                                         "1.5,0",
                                         "0x1,0",
                                         "1e3,0",
                                         "+1,0",
                                         "4294967296,0",
                                         "0,99999999999999999999" };
    for (size_t i = 0; i < SL_COUNT(wrong); i++)
        for (size_t v = 1; v <= 2; v++) {
            struct harness h;
            char text[128];
            harness_start(&h);
            snprintf(text, sizeof text, "CONNECT\naccept-version:1.%zu\nhost:h\nheart-beat:%s\n\n",
                     v, wrong[i]);
            harness_feed(&h, text, strlen(text) + 1, 7);
            static const char head[] = "ERROR\nmessage:invalid header\n";
            assert_memory_equal(harness_sent(&h), head, sizeof head - 1);
            assert_string_equal(harness_log(&h), "CLOSE invalid_header\n");
            harness_end(&h);
        }
}

static void without_a_heart_beat_header_there_is_none(void **state)
{
    (void)state;
    for (size_t v = 1; v <= 2; v++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, v == 1 ? "1.1" : "1.2");
        harness_until(&h, T0 + 3600000);
        assert_string_equal(harness_sent(&h), "");
        assert_string_equal(harness_log(&h), "");
        assert_true(stomp_protocol.deadline(h.s) == UINT64_MAX);
        harness_end(&h);
    }
}

/* A server that was told to offer none says so, and keeps to it. */
static void a_server_without_heart_beats_says_so(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.cfg.heart_beat_ms = 0;
    FEED(&h, HEADED_12 "heart-beat:1,1\n\n\0");
    assert_non_null(strstr(harness_sent(&h), "\nheart-beat:0,0\n"));
    harness_forget(&h);
    harness_until(&h, T0 + 3600000);
    assert_string_equal(harness_sent(&h), "");
    assert_string_equal(harness_log(&h), "");
    harness_end(&h);
}

/* ---- limits ---- */

static void a_header_line_has_as_many_bytes_as_it_may(void **state)
{
    (void)state;
    for (int n = 99; n <= 102; n++)
        for (size_t step = 1; step <= 200; step += 11)
            for (size_t cr = 0; cr < 2; cr++) {
                struct harness h;
                char text[200];
                harness_start(&h);
                harness_connect(&h, "1.2");
                int size = snprintf(text, sizeof text, "SEND\ndestination:/topic/t\nk:%0*d%s\n\n",
                                    n - 2, 0, cr == 0 ? "" : "\r");
                harness_feed(&h, text, (size_t)size + 1, step);
                if (n <= 100)
                    assert_memory_equal(harness_log(&h), "PUBLISH", 7);
                else
                    assert_string_equal(harness_log(&h), "CLOSE header_too_long\n");
                harness_end(&h);
            }
}

/* ---- the end ---- */

/* Its answer is still owed: the connection stands, and is not listened to. */
static void nothing_after_disconnect_is_read_while_it_waits(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    harness_connect(&h, "1.2");
    FEED(&h, "SEND\ndestination:/topic/t\n\n\0DISCONNECT\nreceipt:1\n\n\0"
             "SEND\ndestination:/topic/t\n\nno\0");
    FEED(&h, "SEND\ndestination:/topic/t\n\nno\0WRONG\n");
    assert_string_equal(harness_log(&h), "PUBLISH topic to=t qos=0\nDISCONNECT\n");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    harness_answer(&h, 1, PROTO_ACCEPTED);
    assert_string_equal(harness_log(&h),
                        "PUBLISH topic to=t qos=0\nDISCONNECT\nCLOSE disconnect\n");
    assert_string_equal(harness_sent(&h), RECEIPT("1"));
    harness_end(&h);
}

static void nothing_is_sent_after_an_error(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.answers = ANSWER_LATER;
    FEED(&h,
         HEADED_12 "heart-beat:0,10000\n\n\0SEND\ndestination:/topic/t\nreceipt:1\n\n\0WRONG\n");
    const char *error = strstr(harness_sent(&h), "ERROR\n");
    assert_non_null(error);
    size_t n = strlen(error);
    assert_string_equal(error + n - 2, "^@");
    harness_answer(&h, 0, PROTO_ACCEPTED);
    harness_until(&h, T0 + 100000);
    assert_int_equal(strlen(strstr(harness_sent(&h), "ERROR\n")), n);
    harness_end(&h);
}

int main(void)
{
    static struct CMUnitTest tests[SL_COUNT(vectors) + 8];
    size_t n = 0;
    for (; n < SL_COUNT(vectors); n++)
        tests[n] = (struct CMUnitTest){ vectors[n].claim, vector_holds_at_every_split, NULL, NULL,
                                        (void *)(uintptr_t)&vectors[n] };
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(what_is_wrong_is_an_error_and_the_end);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(connected_is_not_escaped);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_heart_beat_is_two_whole_numbers);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(without_a_heart_beat_header_there_is_none);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_server_without_heart_beats_says_so);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(a_header_line_has_as_many_bytes_as_it_may);
    tests[n++] =
        (struct CMUnitTest)cmocka_unit_test(nothing_after_disconnect_is_read_while_it_waits);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(nothing_is_sent_after_an_error);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
