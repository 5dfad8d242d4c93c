/* MESSAGE: what it looks like in each version, and that no publisher can forge
 * what is the frame's own. */
#include "test_stomp_harness.h"

#include <stdio.h>
#include <stdlib.h>

static void sent_is(struct harness *h, const char *want)
{
    assert_string_equal(harness_sent(h), want);
    harness_forget(h);
}

static enum proto_delivered deliver(struct harness *h, const struct message_parts *m)
{
    return harness_deliver(h, m, &delivery_first, 1);
}

/* ---- the receiver's own lines ---- */

#define REST "attempt:1\nredelivered:false\ndestination:/queue/q\ncontent-length:5\n\nhello^@"

static void each_version_names_a_delivery_in_its_own_way(void **state)
{
    (void)state;
    static const struct {
        const char *version, *mode;
        const struct proto_delivery *d;
        const char *want;
    } rows[] = {
        { "1.2", "client", &delivery_first,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001\nack:1-1\n" REST },
        { "1.2", "auto", &delivery_unasked,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001\n" REST },
        { "1.1", "client-individual", &delivery_first,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001-1-1\n" REST },
        { "1.1", "auto", &delivery_unasked,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001\n" REST },
        { "1.0", "client", &delivery_first,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001-1-1\n" REST },
        { "1.0", "auto", &delivery_unasked,
          "MESSAGE\nsubscription:s\nmessage-id:0000010000000001\n" REST },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_consume(&h, rows[i].version, "/queue/q", rows[i].mode);
        struct message_parts m = message_of_queue();
        assert_int_equal(harness_deliver(&h, &m, rows[i].d, 1), PROTO_SENT);
        sent_is(&h, rows[i].want);
        harness_end(&h);
    }
}

/* What a MESSAGE of each version names, ACK of that version gives back. */
static void what_message_names_ack_takes(void **state)
{
    (void)state;
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    for (size_t i = 0; i < SL_COUNT(versions); i++) {
        struct harness h;
        harness_consume(&h, versions[i], "/queue/q", "client");
        struct message_parts m = message_of_queue();
        struct proto_delivery d = { .delivery = UINT64_MAX, .attempt = 3, .redelivered = true };
        assert_int_equal(harness_deliver(&h, &m, &d, 1), PROTO_SENT);
        assert_non_null(strstr(harness_sent(&h), "\nattempt:3\nredelivered:true\n"));
        const char *header = i == 2 ? "\nack:" : "\nmessage-id:";
        const char *name = strstr(harness_sent(&h), header) + strlen(header);
        char ack[128];
        int n = snprintf(ack, sizeof ack, "ACK\n%s:%.*s\nsubscription:s\n\n",
                         i == 2 ? "id" : "message-id", (int)(strchr(name, '\n') - name), name);
        harness_feed(&h, ack, (size_t)n + 1, 3);
        assert_string_equal(harness_log(&h), "ACK consumer=1 delivery=18446744073709551615\n");
        harness_end(&h);
    }
}

static void consume_as(struct harness *h, const char *version, uint32_t names_from)
{
    harness_start(h);
    h->judgement.names_from = names_from;
    harness_connect(h, version);
    FEED(h, "SUBSCRIBE\nid:s\ndestination:/queue/q\nack:client\n\n\0");
    harness_forget(h);
}

/* It was given before the client came back: consumer 0 has nothing. */
static void a_name_of_another_connection_names_nothing_of_this_one(void **state)
{
    (void)state;
    struct harness h;
    consume_as(&h, "1.2", UINT32_MAX - 4095);
    struct message_parts m = message_of_queue();
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    assert_non_null(strstr(harness_sent(&h), "\nack:4294963201-1\n"));
    FEED(&h, "ACK\nid:4294963201-1\n\n\0ACK\nid:1-1\n\n\0ACK\nid:4294967296-1\n\n\0");
    assert_string_equal(harness_log(&h), "ACK consumer=1 delivery=1\nACK consumer=0 delivery=1\nACK consumer=0 delivery=1\n");
    FEED(&h, "ACK\nid:4294963202-1\n\n\0");
    assert_non_null(strstr(harness_sent(&h), "message:unknown delivery"));
    harness_end(&h);
    consume_as(&h, "1.1", 4096);
    FEED(&h, "ACK\nmessage-id:0000010000000001-1-1\nsubscription:s\n\n\0");
    assert_string_equal(harness_log(&h), "ACK consumer=0 delivery=1\n");
    harness_end(&h);
}

static void a_subscription_of_1_0_without_id_has_none_in_its_messages(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.0");
    FEED(&h, "SUBSCRIBE\ndestination:/queue/q\nack:client\n\n\0");
    harness_forget(&h);
    struct message_parts m = message_of_queue();
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    sent_is(&h, "MESSAGE\nmessage-id:0000010000000001-1-1\n" REST);
    harness_end(&h);
}

/* ---- all headers, in each version ---- */

static const struct message_header awkward[] = {
    { { (const uint8_t *)"a:b", 3 }, { (const uint8_t *)"c\\d", 3 } },
    { { (const uint8_t *)"k\n1", 3 }, { (const uint8_t *)"x\r\ny", 4 } },
    { { (const uint8_t *)"k", 1 }, { (const uint8_t *)"", 0 } },
    { { (const uint8_t *)"k", 1 }, { (const uint8_t *)"2", 1 } },
    { { (const uint8_t *)"", 0 }, { (const uint8_t *)"no", 2 } },
};

static struct message_parts full(void)
{
    struct message_parts m = message_of_topic("a/b:c");
    m.content_type = sl_str("text/plain");
    m.correlation = sl_str("c:1");
    m.reply_to = sl_str("re/ply");
    m.headers = awkward;
    m.n_headers = SL_COUNT(awkward);
    return m;
}

static void headers_are_escaped_as_the_version_asks(void **state)
{
    (void)state;
    static const struct {
        const char *version, *want;
    } rows[] = {
        { "1.2", "destination:/topic/a/b\\cc\ncontent-type:text/plain\ncontent-length:4\n"
                 "correlation-id:c\\c1\nreply-to:/topic/re/ply\nexpires:1700000000000\n"
                 "a\\cb:c\\\\d\nk\\n1:x\\r\\ny\nk:\nk:2\n\n21.5^@" },
        { "1.1", "destination:/topic/a/b\\cc\ncontent-type:text/plain\ncontent-length:4\n"
                 "correlation-id:c\\c1\nreply-to:/topic/re/ply\nexpires:1700000000000\n"
                 "a\\cb:c\\\\d\nk\\n1:x\r\\ny\nk:\nk:2\n\n21.5^@" },
        { "1.0", "destination:/topic/a/b:c\ncontent-type:text/plain\ncontent-length:4\n"
                 "correlation-id:c:1\nreply-to:/topic/re/ply\nexpires:1700000000000\n"
                 "k 1:x\r y\nk:\nk:2\n\n21.5^@" },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_consume(&h, rows[i].version, "/topic/#", "auto");
        struct message_parts m = full();
        struct proto_delivery d = delivery_unasked;
        d.has_expiry = true;
        d.expires_wall_ms = 1700000000000;
        assert_int_equal(harness_deliver(&h, &m, &d, 1), PROTO_SENT);
        const char *shared = strstr(harness_sent(&h), "destination:");
        assert_string_equal(shared, rows[i].want);
        harness_end(&h);
    }
}

static void ids_of_subscriptions_are_escaped(void **state)
{
    (void)state;
    struct harness h;
    harness_start(&h);
    harness_connect(&h, "1.2");
    FEED(&h, "SUBSCRIBE\nid:a\\cb\\n\\r\\\\\ndestination:/queue/q\n\n\0");
    harness_forget(&h);
    struct message_parts m = message_of_queue();
    assert_int_equal(harness_deliver(&h, &m, &delivery_unasked, 1), PROTO_SENT);
    assert_memory_equal(harness_sent(&h), "MESSAGE\nsubscription:a\\cb\\n\\r\\\\\nmessage-id:", 42);
    harness_end(&h);
}

static void a_destination_is_shown_so_that_one_can_send_there(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        uint8_t flags;
        const char *want;
    } rows[] = {
        { "a/b", 0, "\ndestination:/topic/a/b\n" },
        { "a", 0, "\ndestination:/topic/a\n" },
        { "a.b.", 0, "\ndestination:/topic/a%2Eb%2E\n" },
        { "a.b/c", 0, "\ndestination:/topic/a.b/c\n" },
        { "a%2Eb", 0, "\ndestination:/topic/a%252Eb\n" },
        { "a/b%2ec%25", 0, "\ndestination:/topic/a/b%252ec%2525\n" },
        { "a/%2%%", 0, "\ndestination:/topic/a/%2%%\n" },
        { "/a.b", 0, "\ndestination:/topic//a.b\n" },
        { "a.b", MESSAGE_TO_QUEUE, "\ndestination:/queue/a.b\n" },
        { "$temp/0000000000000abc/r", 0, "\ndestination:/reply-queue/0000000000000abc/r\n" },
        { "$tempo/x", 0, "\ndestination:/topic/$tempo/x\n" },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_consume(&h, "1.2", "/queue/q", "client");
        struct message_parts m = message_of_topic(rows[i].topic);
        m.flags = rows[i].flags;
        assert_int_equal(deliver(&h, &m), PROTO_SENT);
        const char *at = strstr(harness_sent(&h), "\ndestination:");
        assert_memory_equal(at, rows[i].want, strlen(rows[i].want));
        harness_end(&h);
    }
}

static void reply_to_is_shown_as_a_destination(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "a/b", "\nreply-to:/topic/a/b\n" },
        { "a.b", "\nreply-to:/topic/a%2Eb\n" },
        { "/queue/a.b", "\nreply-to:/queue/a.b\n" },
        { "$temp/0000000000000abc/r", "\nreply-to:/reply-queue/0000000000000abc/r\n" },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct harness h;
        harness_consume(&h, "1.2", "/queue/q", "client");
        struct message_parts m = message_of_queue();
        m.reply_to = sl_str(rows[i][0]);
        assert_int_equal(deliver(&h, &m), PROTO_SENT);
        assert_non_null(strstr(harness_sent(&h), rows[i][1]));
        harness_end(&h);
    }
}

static void retained_is_said_of_what_was_kept_alone(void **state)
{
    (void)state;
    struct harness h;
    harness_consume(&h, "1.2", "/topic/#", "auto");
    struct message_parts m = message_of_topic("t");
    m.flags = MESSAGE_RETAIN;
    assert_int_equal(harness_deliver(&h, &m, &delivery_unasked, 1), PROTO_SENT);
    assert_null(strstr(harness_sent(&h), "retain"));
    struct proto_delivery kept = delivery_unasked;
    kept.retain = true;
    assert_int_equal(harness_deliver(&h, &m, &kept, 1), PROTO_SENT);
    assert_non_null(strstr(harness_sent(&h), "\nretain:true\n"));
    harness_end(&h);
}

/* ---- forgery ---- */

static void a_publisher_cannot_forge_what_is_the_frames_own(void **state)
{
    (void)state;
    static const char *const names[] = {
        "subscription", "message-id",  "ack",    "destination", "content-length", "reply-to",
        "attempt",      "redelivered", "retain", "receipt",     "transaction",
    };
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    for (size_t i = 0; i < SL_COUNT(names) * SL_COUNT(versions); i++) {
        const struct message_header forged[] = {
            { sl_str("before"), sl_str("1") },
            { sl_str(names[i / 3]), sl_str("forged") },
            { sl_str("after"), sl_str("2") },
        };
        struct harness h;
        harness_consume(&h, versions[i % 3], "/queue/q", "client");
        struct message_parts m = message_of_queue();
        m.headers = forged;
        m.n_headers = SL_COUNT(forged);
        assert_int_equal(deliver(&h, &m), PROTO_SENT);
        assert_null(strstr(harness_sent(&h), "forged"));
        assert_non_null(strstr(harness_sent(&h), "\nbefore:1\nafter:2\n\nhello^@"));
        harness_end(&h);
    }
}

/* stompjs, for one, trims names in every version. */
static void a_name_that_is_trimmed_forges_nothing(void **state)
{
    (void)state;
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    const struct message_header forged[] = {
        { sl_str("ack "), sl_str("forged") },     { sl_str("\tack"), sl_str("forged") },
        { sl_str("reply-to\r"), sl_str("forged") }, { sl_str(" retain\n"), sl_str("forged") },
        { sl_str(" "), sl_str("forged") },        { sl_str("ack it"), sl_str("1") },
    };
    for (size_t i = 0; i < SL_COUNT(versions); i++) {
        struct harness h;
        harness_consume(&h, versions[i], "/queue/q", "client");
        struct message_parts m = message_of_queue();
        m.headers = forged;
        m.n_headers = SL_COUNT(forged);
        assert_int_equal(deliver(&h, &m), PROTO_SENT);
        assert_null(strstr(harness_sent(&h), "forged"));
        assert_non_null(strstr(harness_sent(&h), "\nack it:1\n\nhello^@"));
        harness_end(&h);
    }
}

/* Names that are the frame's own only where it has such a line. */
static void a_second_content_type_is_left_out_and_a_first_is_not(void **state)
{
    (void)state;
    const struct message_header headers[] = {
        { sl_str("content-type"), sl_str("mine") },
        { sl_str("correlation-id"), sl_str("mine") },
        { sl_str("expires"), sl_str("mine") },
    };
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    struct message_parts m = message_of_queue();
    m.headers = headers;
    m.n_headers = SL_COUNT(headers);
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    assert_non_null(
        strstr(harness_sent(&h), "\ncontent-type:mine\ncorrelation-id:mine\nexpires:mine\n"));
    harness_forget(&h);
    m.content_type = m.correlation = sl_str("own");
    struct proto_delivery d = delivery_first;
    d.has_expiry = true;
    d.expires_wall_ms = 5;
    assert_int_equal(harness_deliver(&h, &m, &d, 1), PROTO_SENT);
    assert_null(strstr(harness_sent(&h), "mine"));
    harness_end(&h);
}

/* 1.0 escapes nothing: `ack:1-1` as a name would be read as ack. */
static void a_colon_in_a_name_forges_nothing_in_1_0(void **state)
{
    (void)state;
    const struct message_header forged[] = {
        { sl_str("ack:9-9"), sl_str("x") },
        { sl_str("k\nack"), sl_str("9-9") },
        { sl_str("v"), sl_str("1\nack:9-9\n\nbody") },
    };
    struct harness h;
    harness_consume(&h, "1.0", "/queue/q", "client");
    struct message_parts m = message_of_queue();
    m.headers = forged;
    m.n_headers = SL_COUNT(forged);
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    assert_null(strstr(harness_sent(&h), "\nack"));
    assert_non_null(strstr(harness_sent(&h), "\nk ack:9-9\nv:1 ack:9-9  body\n\nhello^@"));
    harness_end(&h);
}

/* Workers and MQTT's correlation data may hold any bytes; a header may not. */
static void what_is_no_text_is_left_out(void **state)
{
    (void)state;
    const struct message_header headers[] = {
        { sl_str("bad"), sl_str("\xff") },
        { sl_str("\xc0\x80"), sl_str("bad") },
        { sl_str("good"), sl_str("yes") },
    };
    struct harness h;
    harness_consume(&h, "1.2", "/queue/q", "client");
    struct message_parts m = message_of_queue();
    m.protocol = MESSAGE_WORKER;
    m.correlation = sl_bytes_of("\x00\xfe", 2);
    m.content_type = sl_str("\xfe");
    m.reply_to = sl_str("\xfe");
    m.headers = headers;
    m.n_headers = SL_COUNT(headers);
    assert_int_equal(deliver(&h, &m), PROTO_SENT);
    assert_non_null(strstr(harness_sent(&h), "content-length:5\ngood:yes\n\nhello^@"));
    harness_end(&h);
}

/* ---- bytes of the body ---- */

/* Any size and any bytes: below and above what is kept in one piece. */
static void bodies_are_never_altered(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 2, 63, 1023, 1024, 1025, 5000, 100000 };
    static const char *const destinations[] = { "/queue/q", "/topic/#" };
    for (size_t i = 0; i < 2 * SL_COUNT(sizes); i++) {
        size_t n = sizes[i / 2];
        uint8_t *body = calloc(1, n + 1);
        assert_non_null(body);
        for (size_t k = 0; k < n; k++)
            body[k] = (uint8_t)(k * 7 % 11 == 3 ? 0 : k);
        struct harness h;
        harness_consume(&h, "1.2", destinations[i % 2], "auto");
        struct message_parts m = message_of_topic("t");
        m.payload = sl_bytes_of(body, n);
        struct message *msg = message_new(&m);
        struct proto_packets *packets = stomp_protocol.packets_new();
        uint32_t number = 1;
        struct proto_delivery d = {
            .msg = msg, .attempt = 1, .subscription_ids = &number, .n_ids = 1
        };
        struct sl_buf *out = stomp_protocol.output(h.s);
        for (unsigned twice = 0; twice < 2; twice++) {
            assert_int_equal(stomp_protocol.deliver(h.s, &d, packets), PROTO_SENT);
            struct sl_bytes v = sl_buf_view(out);
            assert_true(v.n > n && v.p[v.n - 1] == 0 && memcmp(v.p + v.n - 1 - n, body, n) == 0);
            char length[32];
            snprintf(length, sizeof length, "\ncontent-length:%zu\n\n", n);
            assert_memory_equal(v.p + v.n - 1 - n - strlen(length), length, strlen(length));
            sl_buf_consume(out, v.n);
        }
        stomp_protocol.packets_free(packets);
        message_unref(msg);
        harness_end(&h);
        free(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_version_names_a_delivery_in_its_own_way),
        cmocka_unit_test(what_message_names_ack_takes),
        cmocka_unit_test(a_name_of_another_connection_names_nothing_of_this_one),
        cmocka_unit_test(a_subscription_of_1_0_without_id_has_none_in_its_messages),
        cmocka_unit_test(headers_are_escaped_as_the_version_asks),
        cmocka_unit_test(ids_of_subscriptions_are_escaped),
        cmocka_unit_test(a_destination_is_shown_so_that_one_can_send_there),
        cmocka_unit_test(reply_to_is_shown_as_a_destination),
        cmocka_unit_test(retained_is_said_of_what_was_kept_alone),
        cmocka_unit_test(a_publisher_cannot_forge_what_is_the_frames_own),
        cmocka_unit_test(a_second_content_type_is_left_out_and_a_first_is_not),
        cmocka_unit_test(a_name_that_is_trimmed_forges_nothing),
        cmocka_unit_test(a_colon_in_a_name_forges_nothing_in_1_0),
        cmocka_unit_test(what_is_no_text_is_left_out),
        cmocka_unit_test(bodies_are_never_altered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
