/* SUBSCRIBE, UNSUBSCRIBE, ACK and NACK: each version's form of them, as vectors
 * at every split, and every way in which they are refused. */
#include "test_stomp_harness.h"

#include <stdio.h>

#define SUB(id)  "SUBSCRIBE\nid:" id "\ndestination:/topic/t\n\n\0"
#define SUB_LOG  "CONSUME 1 topic from=t auto\n"
#define REPLY_OF "$temp/0000000000000abc/"

struct vector {
    const char *claim, *version, *in;
    size_t n;
    const char *events, *out;
};

#define V(claim, version, in, events, out)                                                         \
    {                                                                                              \
        claim, version, in, sizeof(in) - 1, events, out                                            \
    }

/* A destination, and what is subscribed to. */
#define FILTER(claim, destination, source)                                                         \
    V(claim, "1.2", "SUBSCRIBE\nid:0\ndestination:" destination "\n\n\0",                          \
      "CONSUME 1 " source " auto\n", "")

static const struct vector vectors[] = {
    /* ---- SUBSCRIBE ---- */
    V("subscribe: without ack it is auto, without prefetch-count the server's choice", "1.2",
      "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0", "CONSUME 1 queue from=q auto\n", ""),
    V("subscribe: client, cumulative", "1.1",
      "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:client\nprefetch-count:1\n\n\0",
      "CONSUME 1 queue from=q client credit=1\n", ""),
    V("subscribe: client-individual, with a receipt", "1.1",
      "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:client-individual\nprefetch-count:65535\n"
      "receipt:r\n\n\0",
      "CONSUME 1 queue from=q each credit=65535\n", "RECEIPT\nreceipt-id:r\n\n^@"),
    V("subscribe: numbers are never given again", "1.2",
      SUB("a") SUB("b") "UNSUBSCRIBE\nid:b\n\n\0" SUB("b"),
      "CONSUME 1 topic from=t auto\nCONSUME 2 topic from=t auto\nCANCEL 2\n"
      "CONSUME 3 topic from=t auto\n",
      ""),
    V("subscribe: ids are unescaped text", "1.2",
      SUB("a\\cb") "UNSUBSCRIBE\nid:a\\cb\nreceipt:r\n\n\0", SUB_LOG "CANCEL 1\n",
      "RECEIPT\nreceipt-id:r\n\n^@"),
    V("1.0 subscribe: the destination is the name where there is no id", "1.0",
      "SUBSCRIBE\ndestination:/topic/t\nack:client\n\n\0SUBSCRIBE\ndestination:/topic/u\n\n\0"
      "SUBSCRIBE\ndestination:/topic/u\nid:/topic/u\n\n\0UNSUBSCRIBE\ndestination:/topic/t\n\n\0"
      "UNSUBSCRIBE\nid:/topic/u\n\n\0UNSUBSCRIBE\ndestination:/topic/u\n\n\0",
      "CONSUME 1 topic from=t client\nCONSUME 2 topic from=u auto\nCONSUME 3 topic from=u auto\n"
      "CANCEL 1\nCANCEL 3\nCANCEL 2\n",
      ""),
    V("subscribe: durable asks nothing of a queue, and false asks nothing", "1.2",
      "SUBSCRIBE\nid:0\ndestination:/queue/q\ndurable:true\n\n\0"
      "SUBSCRIBE\nid:1\ndestination:/topic/t\ndurable:false\npersistent:false\n\n\0",
      "CONSUME 1 queue from=q auto\nCONSUME 2 topic from=t auto\n", ""),

    /* ---- destinations ---- */
    FILTER("filter: slashes", "/topic/a/b", "topic from=a/b"),
    FILTER("filter: dots are slashes", "/topic/a.b", "topic from=a/b"),
    FILTER("filter: dots stay where a slash follows", "/topic/a.b/c", "topic from=a.b/c"),
    FILTER("filter: %2E is a dot", "/topic/a%2Eb%2e", "topic from=a.b."),
    FILTER("filter: %25 is a percent sign", "/topic/a/%252E", "topic from=a/%2E"),
    FILTER("filter: * is one level", "/topic/*.b.*", "topic from=+/b/+"),
    FILTER("filter: + is one level", "/topic/+/b", "topic from=+/b"),
    FILTER("filter: * within a level is itself", "/topic/a*/*b/**", "topic from=a*/*b/**"),
    FILTER("filter: # is all that follows", "/topic/a.#", "topic from=a/#"),
    FILTER("filter: # alone", "/topic/#", "topic from=#"),
    FILTER("filter: levels may be empty", "/topic//a/", "topic from=/a/"),
    FILTER("queue: its name is as it stands", "/queue/a.b/c*", "queue from=a.b/c*"),
    FILTER("temp-queue: a reply destination of one's own", "/temp-queue/r",
           "reply from=" REPLY_OF "r"),
    FILTER("reply-queue: one's own by the name that others see", "/reply-queue/0000000000000abc/r",
           "reply from=" REPLY_OF "r"),
    FILTER("topic: under $temp it is nobody's own", "/topic/$temp/0000000000000abc/r",
           "topic from=" REPLY_OF "r"),

    /* ---- reply-to ---- */
    V("reply-to: a temp-queue is subscribed to once, before its first SEND", "1.2",
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\nreceipt:1\n\nx\0"
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\ny\0",
      "CONSUME 1 reply from=" REPLY_OF "r auto\n"
      "PUBLISH queue to=q qos=1 reply=" REPLY_OF "r body=x\n"
      "PUBLISH queue to=q qos=0 reply=" REPLY_OF "r body=y\n",
      "RECEIPT\nreceipt-id:1\n\n^@"),
    V("reply-to: the subscription is known by that name", "1.0",
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\nx\0"
      "UNSUBSCRIBE\nid:/temp-queue/r\n\n\0"
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\ny\0",
      "CONSUME 1 reply from=" REPLY_OF "r auto\n"
      "PUBLISH queue to=q qos=0 reply=" REPLY_OF "r body=x\nCANCEL 1\n"
      "CONSUME 2 reply from=" REPLY_OF "r auto\n"
      "PUBLISH queue to=q qos=0 reply=" REPLY_OF "r body=y\n",
      ""),
    V("reply-to: who subscribed to the temp-queue already is not subscribed again", "1.2",
      "SUBSCRIBE\nid:0\ndestination:/temp-queue/r\nack:client\n\n\0"
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\nx\0",
      "CONSUME 1 reply from=" REPLY_OF "r client\n"
      "PUBLISH queue to=q qos=0 reply=" REPLY_OF "r body=x\n",
      ""),
    V("reply-to: in a transaction the subscription is at once", "1.2",
      "BEGIN\ntransaction:t\n\n\0"
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\ntransaction:t\n\nx\0"
      "ABORT\ntransaction:t\n\n\0",
      "BEGIN tx=t\nCONSUME 1 reply from=" REPLY_OF "r auto\n"
      "PUBLISH queue to=q qos=1 tx=t reply=" REPLY_OF "r body=x\nABORT tx=t\n",
      ""),
    V("reply-to: a topic is told as MQTT writes it", "1.2",
      "SEND\ndestination:/queue/q\nreply-to:/topic/a.b\n\nx\0",
      "PUBLISH queue to=q qos=0 reply=a/b body=x\n", ""),
    V("reply-to: somebody else's reply-queue is passed on", "1.2",
      "SEND\ndestination:/queue/q\nreply-to:/reply-queue/0000000000000001/r\n\nx\0",
      "PUBLISH queue to=q qos=0 reply=$temp/0000000000000001/r body=x\n", ""),
    V("reply-to: what is no destination stays as it is", "1.2",
      "SEND\ndestination:/queue/q\nreply-to:/queue/a.b\n\nx\0"
      "SEND\ndestination:/queue/q\nreply-to:joe\n\nx\0"
      "SEND\ndestination:/queue/q\nreply-to:/topic/#\n\nx\0",
      "PUBLISH queue to=q qos=0 reply=/queue/a.b body=x\n"
      "PUBLISH queue to=q qos=0 reply=joe body=x\nPUBLISH queue to=q qos=0 reply=/topic/# body=x\n",
      ""),
    V("send: to a reply-queue", "1.2",
      "SEND\ndestination:/reply-queue/00000000000000ff/a.b/c\n\nx\0",
      "PUBLISH topic to=$temp/00000000000000ff/a.b/c qos=0 body=x\n", ""),
    V("send: retain:true keeps it, and is no header of the message", "1.2",
      "SEND\ndestination:/topic/t\nretain:true\n\nx\0SEND\ndestination:/topic/t\nretain:no\n\nx\0"
      "SEND\ndestination:/queue/q\nretain:true\n\nx\0",
      "PUBLISH topic to=t qos=0 retain body=x\nPUBLISH topic to=t qos=0 body=x\n"
      "PUBLISH queue to=q qos=0 body=x\n",
      ""),

    /* ---- ACK and NACK ---- */
    V("ack: 1.2 names the delivery by id", "1.2", SUB("0") "ACK\nid:1-17\n\n\0",
      SUB_LOG "ACK consumer=1 delivery=17\n", ""),
    V("ack: 1.1 names it by message-id and subscription", "1.1",
      SUB("a\\cb") "ACK\nmessage-id:0000010000000001-1-17\nsubscription:a\\cb\n\n\0",
      SUB_LOG "ACK consumer=1 delivery=17\n", ""),
    V("ack: 1.0 names it by message-id", "1.0",
      SUB("0") "ACK\nmessage-id:0000010000000001-1-18446744073709551615\n\n\0",
      SUB_LOG "ACK consumer=1 delivery=18446744073709551615\n", ""),
    V("ack: its receipt is an answer, else nothing is owed", "1.2",
      SUB("0") "ACK\nid:1-1\nreceipt:r\n\n\0", SUB_LOG "ACK consumer=1 delivery=1\n",
      "RECEIPT\nreceipt-id:r\n\n^@"),
    V("ack: of a subscription that is over is told, and does no harm", "1.1",
      SUB("0") "UNSUBSCRIBE\nid:0\n\n\0ACK\nmessage-id:0000010000000001-1-1\nsubscription:0\n\n\0",
      SUB_LOG "CANCEL 1\nACK consumer=1 delivery=1\n", ""),
    V("nack: a failed attempt", "1.1",
      SUB("0") "NACK\nmessage-id:0000010000000001-1-1\nsubscription:0\n\n\0",
      SUB_LOG "NACK consumer=1 delivery=1\n", ""),
    V("nack: with delay and reason", "1.2",
      SUB("0") "NACK\nid:1-1\ndelay:10s\nreason:paper\\cjam\n\n\0NACK\nid:1-2\ndelay:250\n\n\0",
      SUB_LOG "NACK consumer=1 delivery=1 ms=10000 reason=paper:jam\n"
              "NACK consumer=1 delivery=2 ms=250\n",
      ""),
    V("nack: requeue:false is dead at once, requeue:true is nothing new", "1.2",
      SUB("0") "NACK\nid:1-1\nrequeue:false\nreason:bad\n\n\0NACK\nid:1-2\nrequeue:true\n\n\0",
      SUB_LOG "DEAD consumer=1 delivery=1 reason=bad\nNACK consumer=1 delivery=2\n", ""),
    V("nack: extend is no answer", "1.2", SUB("0") "NACK\nid:1-1\nextend:30s\n\n\0",
      SUB_LOG "EXTEND consumer=1 delivery=1 ms=30000\n", ""),
    V("nack: its headers mean nothing in ACK", "1.2",
      SUB("0") "ACK\nid:1-1\nextend:x\ndelay:x\nrequeue:x\n\n\0",
      SUB_LOG "ACK consumer=1 delivery=1\n", ""),
    V("transaction: in one, receipts of ACK and NACK mean received", "1.2",
      SUB("0") "BEGIN\ntransaction:t\n\n\0ACK\nid:1-1\ntransaction:t\nreceipt:1\n\n\0"
               "NACK\nid:1-2\ntransaction:t\ndelay:1s\nreceipt:2\n\n\0"
               "COMMIT\ntransaction:t\nreceipt:3\n\n\0",
      SUB_LOG "BEGIN tx=t\nACK consumer=1 delivery=1 tx=t\n"
              "NACK consumer=1 delivery=2 ms=1000 tx=t\nCOMMIT tx=t\n",
      "RECEIPT\nreceipt-id:1\n\n^@RECEIPT\nreceipt-id:2\n\n^@RECEIPT\nreceipt-id:3\n\n^@"),
};

static void vector_holds_at_every_split(void **state)
{
    const struct vector *v = *state;
    for (size_t step = 1; step <= v->n; step++) {
        struct harness h;
        harness_start(&h);
        harness_connect(&h, v->version);
        harness_feed(&h, v->in, v->n, step);
        assert_string_equal(harness_sent(&h), v->out);
        assert_string_equal(harness_log(&h), v->events);
        harness_end(&h);
    }
}

/* ---- refused ---- */

struct refused {
    const char *claim, *version, *before;
    size_t n_before;
    const char *frame; /* no headers but its own; the receipt's comes after */
    const char *message, *text, *reason;
};

/* What follows the frame: message, text, reason. */
#define R(claim, version, before, frame, ...)                                                      \
    {                                                                                              \
        claim, version, before, sizeof(before) - 1, frame, __VA_ARGS__                             \
    }
#define MISSING(name) "missing header", "A required header is missing: " name ".", "missing_header"
#define INVALID(name)                                                                              \
    "invalid header", "A header has a value that is not allowed: " name ".", "invalid_header"
#define NO_SOURCE                                                                                  \
    "invalid destination", "A subscription is to /topic/..., /queue/NAME or /temp-queue/NAME.",    \
        "invalid_destination"
#define NO_FILTER                                                                                  \
    "invalid destination",                                                                         \
        "In a topic * or + stands for one whole level, and # for all that follow, as the last "    \
        "one.",                                                                                    \
        "invalid_destination"
#define NO_TEMP                                                                                    \
    "invalid destination",                                                                         \
        "The name of a reply destination has 1 to 256 bytes and neither + nor #.",                 \
        "invalid_destination"
#define DUPLICATE                                                                                  \
    "duplicate subscription",                                                                      \
        "A subscription of this id, or to this reply destination, stands already.",                \
        "duplicate_subscription"
#define UNKNOWN_SUB                                                                                \
    "unknown subscription", "There is no such subscription on this connection.",                   \
        "unknown_subscription"
#define UNSUPPORTED(what)                                                                          \
    "not supported", "The server does not support this header of SUBSCRIBE: " what ".",            \
        "not_supported"
#define NEVER                                                                                      \
    "unknown delivery",                                                                            \
        "No message was given to this connection, to be acknowledged, under this "                 \
        "id.",                                                                                     \
        "unknown_delivery"
#define EXTEND_ALONE "extend, which is no answer, with transaction, requeue or delay"
#define TO_Q         "SUBSCRIBE\nid:0\ndestination:/queue/q\n"
#define TO(d)        "SUBSCRIBE\nid:0\ndestination:" d "\n"
#define BEGIN_T      "BEGIN\ntransaction:t\n\n\0"
#define TEMP_R       "SUBSCRIBE\nid:9\ndestination:/temp-queue/r\n\n\0"

static const struct refused refusals[] = {
    R("subscribe: 1.2 needs an id", "1.2", "", "SUBSCRIBE\ndestination:/queue/q\n", MISSING("id")),
    R("subscribe: 1.1 needs an id", "1.1", "", "SUBSCRIBE\ndestination:/queue/q\n", MISSING("id")),
    R("subscribe: needs a destination", "1.0", "", "SUBSCRIBE\nid:0\n", MISSING("destination")),
    R("subscribe: ack is one of three", "1.2", "", TO_Q "ack:maybe\n", INVALID("ack")),
    R("subscribe: 1.0 has no client-individual", "1.0", "", TO_Q "ack:client-individual\n",
      INVALID("ack")),
    R("subscribe: prefetch-count is not 0", "1.2", "", TO_Q "prefetch-count:0\n",
      INVALID("prefetch-count (1 to 65535)")),
    R("subscribe: prefetch-count is at most 65535", "1.2", "", TO_Q "prefetch-count:65536\n",
      INVALID("prefetch-count (1 to 65535)")),
    R("subscribe: prefetch-count is a number", "1.2", "", TO_Q "prefetch-count:ten\n",
      INVALID("prefetch-count (1 to 65535)")),
    R("subscribe: a selector is not ignored", "1.2", "", TO_Q "selector:a > 1\n",
      UNSUPPORTED("selector")),
    R("subscribe: nothing of a topic is durable", "1.2", "", TO("/topic/t") "durable:true\n",
      UNSUPPORTED("durable, of a topic")),
    R("subscribe: nor persistent", "1.2", "", TO("/topic/t") "persistent:true\n",
      UNSUPPORTED("persistent, of a topic")),
    R("subscribe: ids are not used twice", "1.2", SUB("0"), TO_Q, DUPLICATE),
    R("subscribe: nor 1.0's destinations", "1.0", "SUBSCRIBE\ndestination:/queue/q\n\n\0",
      "SUBSCRIBE\ndestination:/queue/q\n", DUPLICATE),
    R("subscribe: nor a temp-queue", "1.2", TEMP_R, TO("/temp-queue/r"), DUPLICATE),
    R("subscribe: no destination without a kind", "1.2", "", TO("q"), NO_SOURCE),
    R("subscribe: no queue without a name", "1.2", "", TO("/queue/"), NO_SOURCE),
    R("subscribe: no topic without a name", "1.2", "", TO("/topic/"), NO_FILTER),
    R("subscribe: # is the last level", "1.2", "", TO("/topic/a.#.b"), NO_FILTER),
    R("subscribe: # is a whole level", "1.2", "", TO("/topic/a#"), NO_FILTER),
    R("subscribe: topics are not shared", "1.2", "", TO("/topic/$share/g/a"), NO_FILTER),
    R("subscribe: + is a whole level", "1.2", "", TO("/topic/a+/b"), NO_FILTER),
    R("subscribe: no temp-queue without a name", "1.2", "", TO("/temp-queue/"), NO_TEMP),
    R("subscribe: no temp-queue with wildcards", "1.2", "", TO("/temp-queue/a+"), NO_TEMP),
    R("subscribe: not to another connection's replies", "1.2", "",
      TO("/reply-queue/0000000000000abd/r"), "not authorized",
      "A reply destination can be subscribed to by the connection that it belongs to.",
      "subscribe_denied"),
    R("unsubscribe: 1.2 needs an id", "1.2", SUB("0"), "UNSUBSCRIBE\ndestination:/topic/t\n",
      MISSING("id")),
    R("unsubscribe: 1.0 needs an id or a destination", "1.0", "", "UNSUBSCRIBE\n",
      MISSING("destination")),
    R("unsubscribe: of nothing", "1.2", SUB("0"), "UNSUBSCRIBE\nid:1\n", UNKNOWN_SUB),
    R("unsubscribe: twice", "1.2", SUB("0") "UNSUBSCRIBE\nid:0\n\n\0", "UNSUBSCRIBE\nid:0\n",
      UNKNOWN_SUB),
    R("1.0 unsubscribe: by the id where there was one", "1.0", SUB("0"),
      "UNSUBSCRIBE\ndestination:/topic/t\n", UNKNOWN_SUB),
    R("send: a temp-queue is no destination to send to", "1.2", "",
      "SEND\ndestination:/temp-queue/r\n", "invalid destination",
      "A destination is /queue/NAME, /topic/a.b or /topic/a/b.", "invalid_destination"),
    R("send: no reply-queue with wildcards", "1.2", "",
      "SEND\ndestination:/reply-queue/0000000000000abc/#\n", "invalid destination",
      "A destination is /queue/NAME, /topic/a.b or /topic/a/b.", "invalid_destination"),
    R("reply-to: no temp-queue without a name", "1.2", "",
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/\n", NO_TEMP),
    R("reply-to: its name may be taken by another subscription", "1.2", SUB("/temp-queue/r"),
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n", DUPLICATE),
    R("reply-to: a SEND that is refused subscribes to nothing", "1.2", "",
      "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\ntransaction:t\n", "unknown transaction",
      "The transaction is not open.", "unknown_transaction"),
    R("ack: 1.2 needs an id", "1.2", SUB("0"), "ACK\nmessage-id:0000010000000001-1-1\n",
      MISSING("id")),
    R("ack: 1.1 needs a message-id", "1.1", SUB("0"), "ACK\nid:1-1\n", MISSING("message-id")),
    R("ack: 1.1 needs a subscription", "1.1", SUB("0"), "ACK\nmessage-id:0000010000000001-1-1\n",
      MISSING("subscription")),
    R("ack: 1.0 needs a message-id", "1.0", SUB("0"), "ACK\nid:1-1\n", MISSING("message-id")),
    R("ack: 1.1 names the delivery's own subscription", "1.1", SUB("a") SUB("b"),
      "ACK\nmessage-id:0000010000000001-1-1\nsubscription:b\n", INVALID("subscription")),
    R("ack: of a subscription that never was", "1.2", SUB("0"), "ACK\nid:2-1\n", NEVER),
    R("ack: of subscription 0", "1.2", SUB("0"), "ACK\nid:0-1\n", NEVER),
    R("ack: of delivery 0", "1.2", SUB("0"), "ACK\nid:1-0\n", NEVER),
    R("ack: of what is no name", "1.2", SUB("0"), "ACK\nid:one\n", NEVER),
    R("ack: of a number with a zero before it", "1.2", SUB("0"), "ACK\nid:01-1\n", NEVER),
    R("ack: of a delivery with a zero before it", "1.2", SUB("0"), "ACK\nid:1-01\n", NEVER),
    R("ack: of a message id that is none", "1.0", SUB("0"), "ACK\nmessage-id:000001000000000X-1-1\n",
      NEVER),
    R("ack: of half a name", "1.2", SUB("0"), "ACK\nid:1-\n", NEVER),
    R("ack: of an empty name", "1.2", SUB("0"), "ACK\nid:\n", NEVER),
    R("ack: of a number that is too large", "1.2", SUB("0"), "ACK\nid:1-18446744073709551616\n",
      NEVER),
    R("ack: of a subscription's number that is too large", "1.2", SUB("0"),
      "ACK\nid:8589934591-1\n", NEVER),
    R("ack: a message that needs none has no name to acknowledge", "1.0", SUB("0"),
      "ACK\nmessage-id:0000010000000001\n", NEVER),
    R("ack: in a transaction that is open", "1.2", SUB("0"), "ACK\nid:1-1\ntransaction:t\n",
      "unknown transaction", "The transaction is not open.", "unknown_transaction"),
    R("nack: 1.0 has none", "1.0", SUB("0"), "NACK\n", "unknown command",
      "The frame does not start with a command that this version of STOMP has.", "unknown_command"),
    R("nack: delay is a duration", "1.2", SUB("0"), "NACK\nid:1-1\ndelay:soon\n", INVALID("delay")),
    R("nack: what is dead has no delay", "1.2", SUB("0"), "NACK\nid:1-1\nrequeue:false\ndelay:1s\n",
      INVALID("delay")),
    R("nack: requeue is true or false", "1.2", SUB("0"), "NACK\nid:1-1\nrequeue:no\n",
      INVALID("requeue")),
    R("nack: extend is a duration", "1.2", SUB("0"), "NACK\nid:1-1\nextend:\n", INVALID("extend")),
    R("nack: extend is not nothing", "1.2", SUB("0"), "NACK\nid:1-1\nextend:0s\n",
      INVALID("extend")),
    R("nack: extend is at most some years", "1.2", SUB("0"), "NACK\nid:1-1\nextend:1000000000001\n",
      INVALID("extend")),
    R("nack: extend is nothing to commit", "1.2", SUB("0") BEGIN_T,
      "NACK\nid:1-1\nextend:30s\ntransaction:t\n", INVALID(EXTEND_ALONE)),
    R("nack: extend does not go with requeue", "1.2", SUB("0"),
      "NACK\nid:1-1\nextend:30s\nrequeue:false\n", INVALID(EXTEND_ALONE)),
    R("nack: extend does not go with delay", "1.2", SUB("0"),
      "NACK\nid:1-1\nextend:30s\ndelay:1s\n", INVALID(EXTEND_ALONE)),
};

/* The sentence, and the frame's lines. */
static void body_of(char *out, size_t cap, const struct refused *r, bool receipt)
{
    size_t n = (size_t)snprintf(out, cap, "%s\n", r->text);
    for (const char *line = r->frame; *line != '\0'; line = strchr(line, '\n') + 1)
        n += (size_t)snprintf(out + n, cap - n, "> %.*s", (int)(strchr(line, '\n') - line + 1),
                              line);
    if (receipt)
        n += (size_t)snprintf(out + n, cap - n, "> receipt:a\\x5ccb\n");
    assert_true(n < cap);
}

static void error_of(char *out, size_t cap, const struct refused *r, bool receipt)
{
    char body[1024];
    body_of(body, sizeof body, r, receipt);
    int n = snprintf(out, cap,
                     "ERROR\nmessage:%s\n%scontent-type:text/plain\ncontent-length:%zu\n\n%s^@",
                     r->message, receipt ? "receipt-id:a\\cb\n" : "", strlen(body), body);
    assert_true(n > 0 && (size_t)n < cap);
}

static void one_is_refused(const struct refused *r, bool receipt, size_t step)
{
    static const char after[] = "SEND\ndestination:/topic/after\n\nx\0";
    char in[1024], want[2048], closed[64];
    size_t n =
        (size_t)snprintf(in, sizeof in, "%s%s\n", r->frame, receipt ? "receipt:a\\cb\n" : "");
    memcpy(in + n + 1, after, sizeof after);
    error_of(want, sizeof want, r, receipt);
    snprintf(closed, sizeof closed, "CLOSE %s\n", r->reason);
    struct harness h;
    harness_start(&h);
    harness_connect(&h, r->version);
    harness_feed(&h, r->before, r->n_before, r->n_before + 1);
    harness_forget(&h);
    harness_feed(&h, in, n + 1 + sizeof after, step);
    assert_string_equal(harness_sent(&h), want);
    assert_string_equal(harness_log(&h), closed);
    harness_end(&h);
}

static void is_refused_at_every_split(void **state)
{
    const struct refused *r = *state;
    bool told = strcmp(r->reason, "unknown_command") != 0 && strcmp(r->version, "1.0") != 0;
    for (size_t step = 1; step < 64; step++) {
        one_is_refused(r, false, step);
        if (told)
            one_is_refused(r, true, step);
    }
}

int main(void)
{
    static struct CMUnitTest tests[SL_COUNT(vectors) + SL_COUNT(refusals)];
    size_t n = 0;
    for (size_t i = 0; i < SL_COUNT(vectors); i++)
        tests[n++] = (struct CMUnitTest){ vectors[i].claim, vector_holds_at_every_split, NULL, NULL,
                                          (void *)(uintptr_t)&vectors[i] };
    for (size_t i = 0; i < SL_COUNT(refusals); i++)
        tests[n++] = (struct CMUnitTest){ refusals[i].claim, is_refused_at_every_split, NULL, NULL,
                                          (void *)(uintptr_t)&refusals[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
