/* What a client gets for each way of being wrong: the whole ERROR frame, at
 * every split, and PROTO_CLOSE with the reason for the log. The harness allows
 * 8 headers of 100 bytes, 4,096 bytes of body, 1,024 bytes before CONNECTED. */
#include "test_stomp_harness.h"

#include <stdio.h>

struct wrong {
    const char *claim;
    const char *version; /* connected with it; NULL: not yet */
    const char *in;
    size_t n;
    const char *headers; /* from message up to content-type */
    const char *body;
    const char *reason;
};

#define W(claim, version, in, headers, body, reason)                                               \
    {                                                                                              \
        claim, version, in, sizeof(in) - 1, headers, body, reason                                  \
    }
#define TEN     "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct wrong rows[] = {
    /* ---- before CONNECTED ---- */
    W("another protocol's greeting is no command", NULL, "GET / HTTP/1.1\r\n",
      "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n"
      "> GET / HTTP/1.1\n",
      "unknown_command"),
    W("an endless command is cut", NULL, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "message:command too long\n",
      "The frame's first line is longer than any command.\n> AAAAAAAAAAAAAAAAAA\n",
      "unknown_command"),
    W("binary noise is no command", NULL, "\x16\x03\x01\0\xa5", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n"
      "> \\x16\\x03\\x01\\x00\n",
      "unknown_command"),
    W("commands are in capitals", NULL, "connect\n\n\0", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n> connect\n",
      "unknown_command"),
    W("SEND before CONNECT", NULL, "SEND\ndestination:/topic/t\nreceipt:9\n\nx\0",
      "message:not connected\nreceipt-id:9\n",
      "The first frame must be CONNECT or STOMP.\n> SEND\n> destination:/topic/t\n> receipt:9\n",
      "not_connected"),
    W("no common version names those there are", NULL, "CONNECT\naccept-version:2.0\nhost:h\n\n\0",
      "message:unsupported version\nversion:1.0,1.1,1.2\n",
      "The server speaks STOMP 1.0, 1.1 and 1.2.\n> CONNECT\n> accept-version:2.0\n> host:h\n",
      "unsupported_version"),
    W("a passcode is not quoted", NULL,
      "CONNECT\naccept-version:1.2\nlogin:a\npasscode:secret\nheart-beat:1\n\n\0",
      "message:invalid header\n",
      "A header has a value that is not allowed: heart-beat.\n> CONNECT\n> accept-version:1.2\n"
      "> login:a\n> passcode:***\n> heart-beat:1\n",
      "invalid_header"),
    W("heart-beat is two numbers", NULL,
      "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:1000\n\n\0", "message:invalid header\n",
      "A header has a value that is not allowed: heart-beat.\n> CONNECT\n> accept-version:1.2\n"
      "> host:h\n> heart-beat:1000\n",
      "invalid_header"),
    W("heart-beat has no sign", NULL, "CONNECT\naccept-version:1.2\nhost:h\nheart-beat:-1,0\n\n\0",
      "message:invalid header\n",
      "A header has a value that is not allowed: heart-beat.\n> CONNECT\n> accept-version:1.2\n"
      "> host:h\n> heart-beat:-1,0\n",
      "invalid_header"),
    W("CONNECT has no body", NULL, "CONNECT\naccept-version:1.2\nhost:h\n\nbody\0",
      "message:body not allowed\n",
      "Only SEND, MESSAGE and ERROR may have a body.\n> CONNECT\n> accept-version:1.2\n> host:h\n",
      "body_not_allowed"),
    W("an announced giant before CONNECTED is cut at once", NULL, "SEND\ncontent-length:2000\n\n",
      "message:frame too large\n",
      "The frame is larger than the server's limit before CONNECTED.\n> SEND\n"
      "> content-length:2000\n",
      "frame_too_large"),

    W("an announced frame one byte too large before CONNECTED", NULL,
      "SEND\ncontent-length:999\n\n", "message:frame too large\n",
      "The frame is larger than the server's limit before CONNECTED.\n> SEND\n"
      "> content-length:999\n",
      "frame_too_large"),

    /* ---- frames ---- */
    W("unknown command", "1.2", "PUBLISH\nreceipt:1\n\n\0", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n> PUBLISH\n",
      "unknown_command"),
    W("a server's command", "1.2", "MESSAGE\n\n\0", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n> MESSAGE\n",
      "unknown_command"),
    W("NACK is not in 1.0", "1.0", "NACK\nmessage-id:1\n\n\0", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n> NACK\n",
      "unknown_command"),
    W("a lone CR is no line end", "1.2", "\rSEND\n", "message:unknown command\n",
      "The frame does not start with a command that this version of STOMP has.\n> \\x0dSEND\n",
      "unknown_command"),
    W("CONNECT twice", "1.2", "CONNECT\naccept-version:1.2\nhost:h\n\n\0",
      "message:already connected\n",
      "CONNECT may be sent once.\n> CONNECT\n> accept-version:1.2\n> host:h\n", "connected_twice"),
    W("a header without colon", "1.2", "SEND\nreceipt:1\ndestination\n\n\0",
      "message:malformed header\nreceipt-id:1\n",
      "A header line has no colon.\n> SEND\n> receipt:1\n> destination\n", "malformed_header"),
    W("a header without a name", "1.2", "SEND\n:x\n\n\0", "message:malformed header\n",
      "A header line has an empty name.\n> SEND\n> :x\n", "malformed_header"),
    W("NUL inside the headers", "1.2", "SEND\ndestination:/topic/t\0", "message:malformed header\n",
      "The frame ends inside its headers: the blank line is missing.\n> SEND\n"
      "> destination:/topic/t\\x00\n",
      "malformed_header"),
    W("NUL right after the command", "1.2", "DISCONNECT\n\0", "message:malformed header\n",
      "The frame ends inside its headers: the blank line is missing.\n> DISCONNECT\n> \\x00\n",
      "malformed_header"),
    W("a bare CR in a header of 1.2", "1.2", "SEND\nk:a\rb\n", "message:malformed header\n",
      "A header line has a carriage return that is not escaped.\n> SEND\n> k:a\\x0db\n",
      "malformed_header"),
    W("two CRs before the line feed", "1.2", "SEND\nk:a\r\r\n", "message:malformed header\n",
      "A header line has a carriage return that is not escaped.\n> SEND\n> k:a\\x0d\n",
      "malformed_header"),
    W("a header that is not UTF-8", "1.2", "SEND\nk:\xc3\x28\n", "message:malformed header\n",
      "A header line is not UTF-8.\n> SEND\n> k:\\xc3(\n", "malformed_header"),
    W("an overlong form is not UTF-8", "1.1", "SEND\nk:\xc0\xaf\n", "message:malformed header\n",
      "A header line is not UTF-8.\n> SEND\n> k:\\xc0\\xaf\n", "malformed_header"),
    W("\\t is no escape", "1.2", "SEND\nreceipt:r\\c\nk:a\\tb\n",
      "message:undefined escape\nreceipt-id:r\\c\n",
      "A header line has an escape that this version of STOMP does not define.\n> SEND\n"
      "> receipt:r\\x5cc\n> k:a\\x5ctb\n",
      "undefined_escape"),
    W("\\r is no escape in 1.1", "1.1", "SEND\nk:a\\r\n", "message:undefined escape\n",
      "A header line has an escape that this version of STOMP does not define.\n> SEND\n"
      "> k:a\\x5cr\n",
      "undefined_escape"),
    W("a backslash at the end is no escape", "1.2", "SEND\nk:a\\\n", "message:undefined escape\n",
      "A header line has an escape that this version of STOMP does not define.\n> SEND\n"
      "> k:a\\x5c\n",
      "undefined_escape"),
    W("an undefined escape in a name", "1.2", "SEND\nk\\x:a\n", "message:undefined escape\n",
      "A header line has an escape that this version of STOMP does not define.\n> SEND\n"
      "> k\\x5cx:a\n",
      "undefined_escape"),
    W("an endless header is cut", "1.2", "SEND\nreceipt:1\nk:" HUNDRED TEN,
      "message:header too long\nreceipt-id:1\n",
      "A header line is longer than the server's limit.\n> SEND\n> receipt:1\n> k:" HUNDRED "\n",
      "header_too_long"),
    W("a header one byte too long", "1.2", "SEND\nk:" HUNDRED "\n\n\0", /* 102 bytes */
      "message:header too long\n",
      "A header line is longer than the server's limit.\n> SEND\n> k:" HUNDRED "\n",
      "header_too_long"),
    W("a ninth header", "1.2", "SEND\na:1\na:2\na:3\na:4\na:5\na:6\na:7\na:8\na:9\n",
      "message:too many headers\n",
      "The frame has more header lines than the server's limit.\n> SEND\n> a:1\n> a:2\n> a:3\n"
      "> a:4\n> a:5\n> a:6\n> a:7\n> a:8\n> a:9\n",
      "too_many_headers"),
    W("content-length is a number", "1.2", "SEND\ncontent-length:12a\n",
      "message:invalid content-length\n",
      "The header content-length is not a decimal number.\n> SEND\n> content-length:12a\n",
      "invalid_content_length"),
    W("content-length is not empty", "1.2", "SEND\ncontent-length:\n",
      "message:invalid content-length\n",
      "The header content-length is not a decimal number.\n> SEND\n> content-length:\n",
      "invalid_content_length"),
    W("content-length is not negative", "1.0", "SEND\ncontent-length:-1\n",
      "message:invalid content-length\n",
      "The header content-length is not a decimal number.\n> SEND\n> content-length:-1\n",
      "invalid_content_length"),
    W("an announced body over the limit is refused unread", "1.2",
      "SEND\nreceipt:1\ncontent-length:4097\n\n", "message:message too large\nreceipt-id:1\n",
      "The body is larger than the server's limit.\n> SEND\n> receipt:1\n> content-length:4097\n",
      "message_too_large"),
    W("a length beyond all numbers is too large", "1.2",
      "SEND\ncontent-length:99999999999999999999999\n\n", "message:message too large\n",
      "The body is larger than the server's limit.\n> SEND\n"
      "> content-length:99999999999999999999999\n",
      "message_too_large"),
    W("a counted body is followed by NUL", "1.2",
      "SEND\ndestination:/topic/t\ncontent-length:2\nreceipt:1\n\nabc\0",
      "message:missing NUL\nreceipt-id:1\n",
      "The body of content-length bytes is not followed by NUL.\n> SEND\n> destination:/topic/t\n"
      "> content-length:2\n> receipt:1\n",
      "missing_nul"),
    W("BEGIN has no body", "1.2", "BEGIN\ntransaction:t\n\nx\0", "message:body not allowed\n",
      "Only SEND, MESSAGE and ERROR may have a body.\n> BEGIN\n> transaction:t\n",
      "body_not_allowed"),
    W("DISCONNECT has no counted body", "1.1", "DISCONNECT\nreceipt:5\ncontent-length:1\n\n",
      "message:body not allowed\nreceipt-id:5\n",
      "Only SEND, MESSAGE and ERROR may have a body.\n> DISCONNECT\n> receipt:5\n"
      "> content-length:1\n",
      "body_not_allowed"),

    /* ---- SEND ---- */
    W("SEND without destination", "1.2", "SEND\nreceipt:1\n\nx\0",
      "message:missing header\nreceipt-id:1\n",
      "A required header is missing: destination.\n> SEND\n> receipt:1\n", "missing_header"),
    W("a destination of no known form", "1.2", "SEND\ndestination:/exchange/a\n\nx\0",
      "message:invalid destination\n",
      "A destination is /queue/NAME, /topic/a.b or /topic/a/b.\n> SEND\n"
      "> destination:/exchange/a\n",
      "invalid_destination"),
    W("a queue without a name", "1.2", "SEND\ndestination:/queue/\n\nx\0",
      "message:invalid destination\n",
      "A destination is /queue/NAME, /topic/a.b or /topic/a/b.\n> SEND\n> destination:/queue/\n",
      "invalid_destination"),
    W("an empty topic", "1.2", "SEND\ndestination:/topic/\n\nx\0", "message:invalid destination\n",
      "A topic has at least one character and neither + nor #.\n> SEND\n> destination:/topic/\n",
      "invalid_destination"),
    W("a wildcard in a topic", "1.2", "SEND\ndestination:/topic/a.#\nreceipt:w\n\nx\0",
      "message:invalid destination\nreceipt-id:w\n",
      "A topic has at least one character and neither + nor #.\n> SEND\n"
      "> destination:/topic/a.#\n> receipt:w\n",
      "invalid_destination"),
    W("a single-level wildcard in a topic", "1.0", "SEND\ndestination:/topic/+/b\n\nx\0",
      "message:invalid destination\n",
      "A topic has at least one character and neither + nor #.\n> SEND\n"
      "> destination:/topic/+/b\n",
      "invalid_destination"),
    W("SEND in a transaction that is not open", "1.2",
      "SEND\ndestination:/topic/t\ntransaction:t\n\nx\0", "message:unknown transaction\n",
      "The transaction is not open.\n> SEND\n> destination:/topic/t\n> transaction:t\n",
      "unknown_transaction"),

    /* ---- transactions ---- */
    W("BEGIN without a name", "1.2", "BEGIN\nreceipt:1\n\n\0",
      "message:missing header\nreceipt-id:1\n",
      "A required header is missing: transaction.\n> BEGIN\n> receipt:1\n", "missing_header"),
    W("BEGIN with an empty name", "1.2", "BEGIN\ntransaction:\n\n\0", "message:invalid header\n",
      "A header has a value that is not allowed: transaction.\n> BEGIN\n> transaction:\n",
      "invalid_header"),
    W("COMMIT of nothing", "1.2", "COMMIT\ntransaction:t\nreceipt:1\n\n\0",
      "message:unknown transaction\nreceipt-id:1\n",
      "The transaction is not open.\n> COMMIT\n> transaction:t\n> receipt:1\n",
      "unknown_transaction"),
    W("ABORT of nothing", "1.2", "ABORT\ntransaction:t\n\n\0", "message:unknown transaction\n",
      "The transaction is not open.\n> ABORT\n> transaction:t\n", "unknown_transaction"),

    /* ---- the consumer's half ---- */
    W("SUBSCRIBE without destination", "1.2", "SUBSCRIBE\nid:0\n\n\0", "message:missing header\n",
      "A required header is missing: destination.\n> SUBSCRIBE\n> id:0\n", "missing_header"),
    W("SUBSCRIBE without id", "1.1", "SUBSCRIBE\ndestination:/queue/q\n\n\0",
      "message:missing header\n",
      "A required header is missing: id.\n> SUBSCRIBE\n> destination:/queue/q\n", "missing_header"),
    W("SUBSCRIBE with an ack mode of its own", "1.2",
      "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:maybe\n\n\0", "message:invalid header\n",
      "A header has a value that is not allowed: ack.\n> SUBSCRIBE\n> id:0\n"
      "> destination:/queue/q\n> ack:maybe\n",
      "invalid_header"),
    W("UNSUBSCRIBE needs id", "1.2", "UNSUBSCRIBE\n\n\0", "message:missing header\n",
      "A required header is missing: id.\n> UNSUBSCRIBE\n", "missing_header"),
    W("ACK of 1.2 needs id", "1.2", "ACK\nmessage-id:1\n\n\0", "message:missing header\n",
      "A required header is missing: id.\n> ACK\n> message-id:1\n", "missing_header"),
    W("ACK of 1.1 needs subscription", "1.1", "ACK\nmessage-id:1\n\n\0", "message:missing header\n",
      "A required header is missing: subscription.\n> ACK\n> message-id:1\n", "missing_header"),
    W("ACK of 1.0 needs message-id", "1.0", "ACK\n\n\0", "message:missing header\n",
      "A required header is missing: message-id.\n> ACK\n", "missing_header"),
    W("NACK in a transaction that is not open", "1.2", "NACK\nid:1\ntransaction:t\n\n\0",
      "message:unknown transaction\n",
      "The transaction is not open.\n> NACK\n> id:1\n> transaction:t\n", "unknown_transaction"),
};

static void expect(char *out, size_t cap, const struct wrong *w)
{
    int n = snprintf(out, cap, "ERROR\n%scontent-type:text/plain\ncontent-length:%zu\n\n%s^@",
                     w->headers, strlen(w->body), w->body);
    assert_true(n > 0 && (size_t)n < cap);
}

/* The frame after the wrong one must leave no trace. */
static void is_answered_at_every_split(void **state)
{
    static const char after[] = "\0\n\nSEND\ndestination:/topic/after\nreceipt:2\n\nx\0";
    const struct wrong *w = *state;
    char want[2048], closed[64], in[2048];
    expect(want, sizeof want, w);
    snprintf(closed, sizeof closed, "CLOSE %s\n", w->reason);
    memcpy(in, w->in, w->n);
    memcpy(in + w->n, after, sizeof after - 1);
    for (size_t step = 1; step <= w->n + sizeof after; step++) {
        struct harness h;
        harness_start(&h);
        if (w->version != NULL)
            harness_connect(&h, w->version);
        harness_feed(&h, in, w->n + sizeof after - 1, step);
        assert_string_equal(harness_sent(&h), want);
        assert_string_equal(harness_log(&h), closed);
        harness_end(&h);
    }
}

/* Faults show with the byte that makes them: nothing after it is needed. */
static void is_answered_without_waiting(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_start(&h);
        if (rows[i].version != NULL)
            harness_connect(&h, rows[i].version);
        harness_feed(&h, rows[i].in, rows[i].n, rows[i].n);
        char want[2048];
        expect(want, sizeof want, &rows[i]);
        assert_string_equal(harness_sent(&h), want);
        harness_end(&h);
    }
}

int main(void)
{
    static struct CMUnitTest tests[SL_COUNT(rows) + 1];
    size_t n = 0;
    for (; n < SL_COUNT(rows); n++)
        tests[n] = (struct CMUnitTest){rows[n].claim, is_answered_at_every_split, NULL, NULL,
                                       (void *)(uintptr_t)&rows[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(is_answered_without_waiting);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
