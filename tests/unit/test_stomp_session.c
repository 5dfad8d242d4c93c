/* Vectors: bytes in, events and bytes out, at every split. Each row is a claim;
 * the number is the section of the STOMP 1.2 text unless it says otherwise. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define CONNECT_12 "CONNECT\naccept-version:1.2\nhost:h\n\n\0"

struct vector {
    const char *claim;
    const char *version; /* connected already with it; NULL: not yet */
    const char *in;
    size_t n;
    const char *events, *out;
};

#define V(claim, version, in, events, out)                                                         \
    {                                                                                              \
        claim, version, in, sizeof(in) - 1, events, out                                            \
    }

static const struct vector vectors[] = {
    /* ---- connecting ---- */
    V("connecting: CONNECT with host gives CONNECTED of the highest common version", NULL,
      CONNECT_12, "CONNECT host=h\n", CONNECTED_12),
    V("connecting: STOMP is CONNECT by another name", NULL,
      "STOMP\naccept-version:1.1,1.2\nhost:h\n\n\0", "CONNECT host=h\n", CONNECTED_12),
    V("connecting: login and passcode are handed over", NULL,
      "CONNECT\naccept-version:1.2\nhost:h\nlogin:joe\npasscode:p:w\n\n\0",
      "CONNECT host=h user=joe pass=p:w\n", CONNECTED_12),
    V("connecting: CONNECT is not unescaped, for 1.0's sake", NULL,
      "CONNECT\naccept-version:1.2\nhost:h\nlogin:a\\cb\\x\n\n\0", "CONNECT host=h user=a\\cb\\x\n",
      CONNECTED_12),
    V("connecting: client-id names the client", NULL,
      "CONNECT\naccept-version:1.2\nhost:h\nclient-id:press-4\n\n\0", "CONNECT host=h id=press-4\n",
      CONNECTED_12),
    V("connecting: without accept-version it is 1.0, without host and heart-beat", NULL,
      "CONNECT\nlogin:joe\n\n\0", "CONNECT user=joe\n",
      "CONNECTED\nversion:1.0\nsession:c1\nserver:sluice\n\n^@"),
    V("1.0 connecting: a line feed before NUL does no harm", NULL, "CONNECT\n\n\n\0", "CONNECT\n",
      "CONNECTED\nversion:1.0\nsession:c1\nserver:sluice\n\n^@"),
    V("connecting: lines may end in CR LF", NULL,
      "CONNECT\r\naccept-version:1.2\r\nhost:h\r\n\r\n\0", "CONNECT host=h\n", CONNECTED_12),
    V("connecting: line feeds may stand before the first frame", NULL, "\n\r\n\n" CONNECT_12,
      "CONNECT host=h\n", CONNECTED_12),
    V("connecting: of repeated headers the first counts", NULL,
      "CONNECT\naccept-version:1.2\naccept-version:1.0\nhost:h\nhost:i\n\n\0", "CONNECT host=h\n",
      CONNECTED_12),
    V("connecting: frames may follow CONNECT at once", NULL,
      CONNECT_12 "SEND\ndestination:/topic/t\nreceipt:1\n\nx\0",
      "CONNECT host=h\nPUBLISH topic to=t qos=1 body=x\n",
      CONNECTED_12 "RECEIPT\nreceipt-id:1\n\n^@"),

    /* ---- frames ---- */
    V("frames: SEND with a body up to NUL", "1.2", "SEND\ndestination:/topic/a/b\n\n21.5\0",
      "PUBLISH topic to=a/b qos=0 body=21.5\n", ""),
    V("frames: SEND without a body", "1.2", "SEND\ndestination:/topic/t\n\n\0",
      "PUBLISH topic to=t qos=0\n", ""),
    V("frames: a counted body may hold NUL", "1.2",
      "SEND\ndestination:/topic/t\ncontent-length:3\n\na\0b\0SEND\ndestination:/topic/u\n\nz\0",
      "PUBLISH topic to=t qos=0 body=a\nPUBLISH topic to=u qos=0 body=z\n", ""),
    V("frames: of repeated content-length the first counts", "1.2",
      "SEND\ndestination:/topic/t\ncontent-length:2\ncontent-length:9\n\nab\0",
      "PUBLISH topic to=t qos=0 body=ab\n", ""),
    V("frames: line ends between frames are skipped", "1.2",
      "\n\nSEND\ndestination:/topic/t\n\na\0\r\n\n\r\nSEND\ndestination:/topic/t\n\nb\0\n",
      "PUBLISH topic to=t qos=0 body=a\nPUBLISH topic to=t qos=0 body=b\n", ""),
    V("frames: CR LF ends lines in 1.2", "1.2",
      "SEND\r\ndestination:/topic/t\r\nk:v\r\n\r\nb\r\n\0",
      "PUBLISH topic to=t qos=0 [k|v] body=b\r\n\n", ""),
    V("frames: CR LF is tolerated in 1.1", "1.1", "SEND\r\ndestination:/topic/t\r\n\r\nb\0",
      "PUBLISH topic to=t qos=0 body=b\n", ""),
    V("1.1 frames: a CR inside a header is data", "1.1", "SEND\ndestination:/topic/t\nk:a\rb\n\n\0",
      "PUBLISH topic to=t qos=0 [k|a\rb]\n", ""),
    V("frames: a body of line feeds is a body", "1.2", "SEND\ndestination:/topic/t\n\n\n\n\0",
      "PUBLISH topic to=t qos=0 body=\n\n\n", ""),
    V("frames: DISCONNECT may have content-length 0", "1.2", "DISCONNECT\ncontent-length:0\n\n\0",
      "DISCONNECT\nCLOSE disconnect\n", ""),

    /* ---- headers ---- */
    V("headers: user headers keep order, repetitions and spaces", "1.2",
      "SEND\ndestination:/topic/t\nb: 1 \na:2\nb:3\nempty:\n\n\0",
      "PUBLISH topic to=t qos=0 [b| 1 ] [a|2] [b|3] [empty|]\n", ""),
    V("headers: the protocol's own are not among the message's", "1.2",
      "SEND\ncontent-type:text/plain\ndestination:/topic/t\nreply-to:/topic/r\n"
      "correlation-id:c-1\npriority:7\ncontent-type:x\nlogin:no\n\n\0",
      "PUBLISH topic to=t qos=0 type=text/plain corr=c-1 reply=r [priority|7] [login|no]\n",
      ""),
    V("headers: meaning headers stay for the hub", "1.2",
      "SEND\ndestination:/queue/q\nexpires:1700000000000\ndelay:10s\ndedup-id:d\njob-id:j\n\n\0",
      "PUBLISH queue to=q qos=0 [expires|1700000000000] [delay|10s] [dedup-id|d] [job-id|j]\n", ""),
    V("headers: 1.2 unescapes \\n \\r \\c and backslash", "1.2",
      "SEND\ndestination:/topic/t\nk\\c1:a\\nb\\rc\\cd\\\\e\n\n\0",
      "PUBLISH topic to=t qos=0 [k:1|a\nb\rc:d\\e]\n", ""),
    V("1.1 headers: \\n \\c and backslash are unescaped", "1.1",
      "SEND\ndestination:/topic/t\nk:a\\nb\\cc\\\\n\n\n\0",
      "PUBLISH topic to=t qos=0 [k|a\nb:c\\n]\n", ""),
    V("1.0 headers: nothing is unescaped", "1.0", "SEND\ndestination:/topic/t\nk:a\\nb\\x\\\n\n\0",
      "PUBLISH topic to=t qos=0 [k|a\\nb\\x\\]\n", ""),
    V("headers: a colon in a value needs no escape", "1.2",
      "SEND\ndestination:/topic/t\nat:10:00:01\n\n\0", "PUBLISH topic to=t qos=0 [at|10:00:01]\n",
      ""),
    V("headers: UTF-8 passes", "1.2",
      "SEND\ndestination:/topic/gr\xc3\xbc\xc3\x9f"
      "e\n\n\0",
      "PUBLISH topic to=gr\xc3\xbc\xc3\x9f"
      "e qos=0\n",
      ""),

    /* ---- destinations ---- */
    V("destination: dots are slashes", "1.2", "SEND\ndestination:/topic/a.b.c\n\n\0",
      "PUBLISH topic to=a/b/c qos=0\n", ""),
    V("destination: dots stay where a slash follows /topic/", "1.2",
      "SEND\ndestination:/topic/a/v1.2\n\n\0", "PUBLISH topic to=a/v1.2 qos=0\n", ""),
    V("destination: %2E is a literal dot", "1.2", "SEND\ndestination:/topic/a.v1%2E2%2e3\n\n\0",
      "PUBLISH topic to=a/v1.2.3 qos=0\n", ""),
    V("destination: %2E is a dot in the slashed form, other escapes are text", "1.2",
      "SEND\ndestination:/topic/a/b%2Ec%2F%\n\n\0", "PUBLISH topic to=a/b.c%2F% qos=0\n", ""),
    V("destination: %25 is a percent sign", "1.2", "SEND\ndestination:/topic/a.b%252E%25%2\n\n\0",
      "PUBLISH topic to=a/b%2E%%2 qos=0\n", ""),
    V("destination: %2E does not turn the slashed form into the dotted", "1.2",
      "SEND\ndestination:/topic/a/v1.2%2E3\n\n\0", "PUBLISH topic to=a/v1.2.3 qos=0\n", ""),
    V("destination: a queue's name is taken as it is", "1.2",
      "SEND\ndestination:/queue/a.b/c\n\n\0", "PUBLISH queue to=a.b/c qos=0\n", ""),
    V("destination: escapes are undone before dots become slashes", "1.2",
      "SEND\ndestination:/topic/a\\cb.c\n\n\0", "PUBLISH topic to=a:b/c qos=0\n", ""),

    /* ---- receipts and transactions ---- */
    V("receipt: SEND is answered", "1.2", "SEND\ndestination:/topic/t\nreceipt:r-1\n\n\0",
      "PUBLISH topic to=t qos=1\n", "RECEIPT\nreceipt-id:r-1\n\n^@"),
    V("receipt: the id comes back escaped", "1.2",
      "SEND\ndestination:/topic/t\nreceipt:a\\cb\\\\\\n\\r\n\n\0", "PUBLISH topic to=t qos=1\n",
      "RECEIPT\nreceipt-id:a\\cb\\\\\\n\\r\n\n^@"),
    V("1.0 receipt: the id comes back as it was", "1.0",
      "SEND\ndestination:/topic/t\nreceipt:a:\\b\n\n\0", "PUBLISH topic to=t qos=1\n",
      "RECEIPT\nreceipt-id:a:\\b\n\n^@"),
    V("receipt: DISCONNECT says goodbye in order", "1.2", "DISCONNECT\nreceipt:77\n\n\0",
      "DISCONNECT\nCLOSE disconnect\n", "RECEIPT\nreceipt-id:77\n\n^@"),
    V("disconnect: nothing after DISCONNECT is read", "1.2",
      "DISCONNECT\n\n\0SEND\ndestination:/topic/t\n\n\0", "DISCONNECT\nCLOSE disconnect\n", ""),
    V("transaction: begin, send, commit", "1.2",
      "BEGIN\ntransaction:t1\nreceipt:1\n\n\0"
      "SEND\ndestination:/topic/t\ntransaction:t1\nreceipt:2\n\nx\0"
      "COMMIT\ntransaction:t1\nreceipt:3\n\n\0",
      "BEGIN tx=t1\nPUBLISH topic to=t qos=1 tx=t1 body=x\nCOMMIT tx=t1\n",
      "RECEIPT\nreceipt-id:1\n\n^@RECEIPT\nreceipt-id:2\n\n^@RECEIPT\nreceipt-id:3\n\n^@"),
    V("transaction: a name may be used again after abort", "1.2",
      "BEGIN\ntransaction:t\n\n\0ABORT\ntransaction:t\nreceipt:1\n\n\0BEGIN\ntransaction:t\n\n\0",
      "BEGIN tx=t\nABORT tx=t\nBEGIN tx=t\n", "RECEIPT\nreceipt-id:1\n\n^@"),
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
        assert_string_equal(harness_sent(&h), v->out);
        assert_string_equal(harness_log(&h), v->events);
        harness_end(&h);
    }
}

/* What the client offers and what it gets; NULL: ERROR. */
static const struct {
    const char *offer, *gets;
} versions[] = {
    {"1.0",         "1.0"},
    {"1.1",         "1.1"},
    {"1.2",         "1.2"},
    {"1.0,1.1",     "1.1"},
    {"1.2,1.1,1.0", "1.2"},
    {"1.0,1.2",     "1.2"},
    {"1.0, 1.1",    "1.1"},
    {"2.0,1.1",     "1.1"},
    {"1.3,1.2,9",   "1.2"},
    {"2.0",         NULL },
    {"",            NULL },
    {"1",           NULL },
    {"1.20",        NULL },
    {",",           NULL },
    {"11.2",        NULL },
};

static void the_highest_common_version_is_chosen(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(versions); i++) {
        struct harness h;
        harness_start(&h);
        harness_text(&h, "CONNECT\nhost:h\naccept-version:");
        harness_text(&h, versions[i].offer);
        FEED(&h, "\n\n\0");
        char want[64];
        if (versions[i].gets != NULL)
            snprintf(want, sizeof want, "CONNECTED\nversion:%s\n", versions[i].gets);
        else
            snprintf(want, sizeof want,
                     "ERROR\nmessage:unsupported version\nversion:1.0,1.1,1.2\n");
        assert_memory_equal(harness_sent(&h), want, strlen(want));
        assert_string_equal(harness_log(&h), versions[i].gets != NULL
                                                 ? "CONNECT host=h\n"
                                                 : "CLOSE unsupported_version\n");
        harness_end(&h);
    }
}

/* Hub's way: stop in the middle, go on later without new input. */
static void held_input_is_read_later(void **state)
{
    (void)state;
    static const char in[] =
        "SEND\ndestination:/topic/a\n\n1\0SEND\ndestination:/topic/b\n\n2\0\r\n"
        "SEND\ndestination:/topic/c\n\n3";
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    uint8_t *copy = test_malloc(sizeof in - 1);
    memcpy(copy, in, sizeof in - 1);
    struct proto_event ev;
    stomp_protocol.feed(h.s, sl_bytes_of(copy, sizeof in - 1), h.now);
    assert_true(stomp_protocol.next(h.s, &ev));
    stomp_protocol.hold(h.s);
    test_free(copy);
    assert_int_equal(stomp_protocol.buffered(h.s), sizeof in - 1 - 29);
    FEED(&h, "\0SEND\ndestination:/topic/d\n\n4\0");
    assert_string_equal(harness_log(&h), "PUBLISH topic to=b qos=0 body=2\n"
                                         "PUBLISH topic to=c qos=0 body=3\n"
                                         "PUBLISH topic to=d qos=0 body=4\n");
    assert_int_equal(stomp_protocol.buffered(h.s), 0);
    harness_end(&h);
}

/* Fed and held at once, on top of half a frame that came in two pieces. */
static void input_may_be_held_unseen(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    harness_text(&h, "SEND\ndest");
    harness_text(&h, "ination:/topic/a");
    static const char held[] = "\n\n1\0SEND\ndestination:/topic/b\n\n2\0SEND\ndes";
    stomp_protocol.feed(h.s, sl_bytes_of(held, sizeof held - 1), h.now);
    stomp_protocol.hold(h.s);
    FEED(&h, "tination:/topic/c\n\n3\0");
    assert_string_equal(harness_log(&h), "PUBLISH topic to=a qos=0 body=1\n"
                                         "PUBLISH topic to=b qos=0 body=2\n"
                                         "PUBLISH topic to=c qos=0 body=3\n");
    harness_end(&h);
}

static void input_waits_while_connect_is_judged(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    h.unjudged = true;
    FEED(&h, CONNECT_12 "SEND\ndestination:/topic/t\n\n1\0");
    FEED(&h, "SEND\ndestination:/topic/t\n\n2\0");
    assert_string_equal(harness_log(&h), "CONNECT host=h\n");
    stomp_protocol.connected(h.s, &h.judgement);
    harness_pull(&h);
    assert_string_equal(harness_log(&h), "CONNECT host=h\nPUBLISH topic to=t qos=0 body=1\n"
                                         "PUBLISH topic to=t qos=0 body=2\n");
    assert_string_equal(harness_sent(&h), CONNECTED_12);
    harness_end(&h);
}

/* Many frames in one buffer are views into it: nothing is kept. */
static void complete_frames_are_read_in_place(void **state)
{
    (void)state;
    static const char in[] =
        "SEND\ndestination:/topic/a\nk:v\n\n1\0SEND\ndestination:/topic/b\n\n2\0";
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    struct proto_event ev;
    stomp_protocol.feed(h.s, sl_bytes_of(in, sizeof in - 1), h.now);
    for (size_t i = 0; i < 2; i++) {
        assert_true(stomp_protocol.next(h.s, &ev));
        assert_true((const char *)ev.u.publish.payload.p > in &&
                    (const char *)ev.u.publish.payload.p < in + sizeof in);
        assert_int_equal(stomp_protocol.buffered(h.s), 0);
    }
    assert_false(stomp_protocol.next(h.s, &ev));
    harness_end(&h);
}

int main(void)
{
    static struct CMUnitTest tests[SL_COUNT(vectors) + 5];
    size_t n = 0;
    for (; n < SL_COUNT(vectors); n++)
        tests[n] = (struct CMUnitTest){vectors[n].claim, vector_holds_at_every_split, NULL, NULL,
                                       (void *)(uintptr_t)&vectors[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(the_highest_common_version_is_chosen);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(held_input_is_read_later);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(input_may_be_held_unseen);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(input_waits_while_connect_is_judged);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(complete_frames_are_read_in_place);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
