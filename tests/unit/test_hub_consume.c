/* STOMP's consumers of topics: who gets what, credit, pace, ends. */
#include "stomp_clients.h"

#include "route/outbox.h"

static struct kit_client *consumer(struct kit *k, const char *destination, const char *ack, const char *more)
{
    struct kit_client *c = kit_stomp(k);
    stomp_subscribe(c, "s", destination, ack, more);
    assert_string_equal(stomp_log(c), "");
    return c;
}

#define M(ack, body) "MESSAGE subscription=s destination=/topic/t" ack " attempt=1 redelivered=false " body "\n"

/* ---- who gets what ---- */

static void a_consumer_gets_what_others_publish(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *c = consumer(&k, "/topic/t", "auto", NULL);
    kit_publish(from, 1, 1, "t");
    kit_publish(from, 0, 0, "u");
    kit_publish(from, 2, 2, "t");
    stomp_send(c, "/topic/t", "own", NULL);
    assert_string_equal(stomp_log(c), M("", "p1") M("", "p2") M("", "own"));
    kit_close(&k);
}

static void each_subscription_has_a_copy_of_its_own(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *c = consumer(&k, "/topic/t", "auto", NULL);
    stomp_subscribe(c, "w", "/topic/*", "client-individual", NULL);
    stomp_send(c, "/topic/t", "x", NULL);
    const char *log = stomp_log(c);
    assert_non_null(strstr(log, M("", "x")));
    assert_non_null(strstr(log, "MESSAGE subscription=w destination=/topic/t ack=2-1 attempt=1 redelivered=false x\n"));
    kit_close(&k);
}

static void mqtt_and_stomp_subscribers_of_one_topic_each_have_their_own_form(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *a = consumer(&k, "/topic/t", "auto", NULL), *m = kit_listener(&k, "m", 0, "t", 0), *b = consumer(&k, "/topic/t", "auto", NULL);
    for (int i = 0; i < 2; i++) {
        stomp_send(a, "/topic/t", "x", NULL);
        assert_string_equal(stomp_log(a), M("", "x"));
        assert_string_equal(stomp_log(b), M("", "x"));
        assert_string_equal(kit_log(m), "PUBLISH q0 t x\n");
    }
    kit_close(&k);
}

static void a_receipt_tells_that_it_listens_and_what_comes_then_is_seen(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *c = kit_stomp(&k);
    stomp_send(c, "/topic/t", "early", NULL);
    stomp_subscribe(c, "s", "/topic/t", "auto", "receipt:r\n");
    stomp_send(c, "/topic/t", "late", NULL);
    assert_string_equal(stomp_log(c), "RECEIPT receipt-id=r\n" M("", "late"));
    kit_close(&k);
}

static void an_end_of_a_subscription_is_an_end_of_its_messages(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(100);
    kit_open(&k);
    struct kit_client *c = kit_stomp(&k);
    uint64_t before = hub_memory_bytes(k.h);
    stomp_subscribe(c, "s", "/topic/t", "client", "prefetch-count:1\n");
    stomp_send(c, "/topic/t", "x", NULL);
    stomp_send(c, "/topic/t", "y", NULL); /* waits */
    assert_true(hub_memory_bytes(k.h) > before);
    kit_frame(c, "UNSUBSCRIBE\nid:s\nreceipt:r\n\n");
    stomp_send(c, "/topic/t", "z", NULL);
    assert_string_equal(stomp_log(c), M(" ack=1-1", "x") "RECEIPT receipt-id=r\n");
    kit_settle(&k);
    assert_int_equal(hub_memory_bytes(k.h), before);
    stomp_subscribe(c, "s", "/topic/t", "client", NULL); /* a number is never given again */
    stomp_send(c, "/topic/t", "x", NULL);
    assert_string_equal(stomp_log(c), M(" ack=2-1", "x"));
    kit_close(&k);
}

static void what_was_published_retained_comes_first(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 10, .retained_bytes = 1u << 20 };
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k);
    stomp_send(from, "/topic/t", "kept", "retain:true\n");
    stomp_send(from, "/topic/t", "live", NULL);
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/topic/t", "client", NULL);
    stomp_send(from, "/topic/t", "next", "retain:true\n");
    assert_string_equal(stomp_log(c), "MESSAGE subscription=s destination=/topic/t ack=1-1 attempt=1 redelivered=false retain=true kept\n" M(" ack=1-2", "next"));
    kit_close(&k);
}

static void retained_messages_keep_to_the_credit(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 100, .retained_bytes = 1u << 20 };
    char topic[32];
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k);
    for (int i = 0; i < 20; i++) {
        snprintf(topic, sizeof topic, "/topic/r/%d", i);
        stomp_send(from, topic, "x", "retain:true\n");
    }
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/topic/r/#", "client", "prefetch-count:4\n");
    assert_int_equal(stomp_messages(c), 4);
    stomp_answer(c, "ACK", "1-3", NULL);
    assert_int_equal(stomp_messages(c), 3);
    stomp_answer(c, "ACK", "1-7", NULL);
    stomp_answer(c, "ACK", "1-11", NULL);
    stomp_answer(c, "ACK", "1-15", NULL);
    stomp_answer(c, "ACK", "1-19", NULL);
    kit_settle(&k);
    assert_int_equal(stomp_messages(c), 13);
    kit_close(&k);
}

static void sys_topics_are_told_to_stomp_too(void **state)
{
    (void)state;
    struct kit k = { .sys_interval_ms = 1000 };
    kit_open(&k);
    kit_pass(&k, 1);
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/topic/$SYS/broker/version", "auto", NULL);
    assert_string_equal(stomp_log(c), "MESSAGE subscription=s destination=/topic/$SYS/broker/version attempt=1 redelivered=false retain=true sluice version 1.2.3\n");
    kit_close(&k);
}

/* ---- credit and pace ---- */

static void a_client_gets_as_many_as_it_may_leave_unanswered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "/topic/t", "client-individual", "prefetch-count:2\n");
    stomp_send(from, "/topic/t", "a", NULL);
    stomp_send(from, "/topic/t", "b", NULL);
    stomp_send(from, "/topic/t", "c", NULL);
    stomp_send(from, "/topic/t", "d", NULL);
    assert_string_equal(stomp_log(c), M(" ack=1-1", "a") M(" ack=1-2", "b"));
    stomp_answer(c, "ACK", "1-2", NULL);
    assert_string_equal(stomp_log(c), M(" ack=1-3", "c"));
    stomp_answer(c, "NACK", "1-1", NULL); /* a topic tries nothing again */
    assert_string_equal(stomp_log(c), M(" ack=1-4", "d"));
    assert_int_equal(hub_counters(k.h)->deliveries_refused, 1);
    kit_close(&k);
}

static void the_usual_credit_is_64(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "/topic/t", "client", NULL), *all = consumer(&k, "/topic/t", "auto", NULL);
    for (int i = 0; i < 70; i++)
        stomp_send(from, "/topic/t", "x", NULL);
    assert_int_equal(stomp_messages(c), 64);
    assert_int_equal(stomp_messages(all), 70);
    kit_close(&k);
}

/* Reads again after it did not. */
static void read_on(struct kit_client *c)
{
    c->unread = false;
    (void)hub_client_written(c->c, true);
    kit_turn(c->k);
    struct sl_buf *out = hub_client_output(c->c);
    assert_int_equal(sl_buf_append_bytes(&c->rx, sl_buf_view(out)), SL_OK);
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c->c, false);
    kit_settle(c->k);
}

static void who_does_not_read_is_waited_for_within_the_limits(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(20);
    k.subscribers.output_bytes = 1000;
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "/topic/t", "auto", NULL);
    stomp_subscribe(c, "u", "/topic/t", "auto", NULL);
    c->unread = true;
    for (int i = 0; i < 20; i++)
        stomp_send(from, "/topic/t", "x", NULL);
    assert_true(sl_buf_len(hub_client_output(c->c)) < 2000);
    assert_true(hub_deadline_us(k.h) > k.mono_us); /* nothing to do until it reads */
    read_on(c);
    assert_int_equal(stomp_messages(c), 40);
    kit_close(&k);
}

static void who_is_too_slow_is_told_and_nobody_else_suffers(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(5);
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *slow = consumer(&k, "/topic/t", "client", "prefetch-count:2\n"), *quick = consumer(&k, "/topic/t", "auto", NULL);
    for (int i = 0; i < 7; i++)
        stomp_send(from, "/topic/t", "x", NULL);
    assert_int_equal(stomp_messages(slow), 2);
    assert_non_null(slow->c);
    stomp_send(from, "/topic/t", "one too many", NULL);
    assert_null(slow->c);
    assert_string_equal(stomp_log(slow), "ERROR message=slow consumer\nclosed\n");
    assert_int_equal(stomp_messages(quick), 8);
    assert_int_equal(hub_counters(k.h)->slow_readers_closed, 1);
    kit_close(&k);
}

static void who_is_too_slow_for_its_own_messages_is_let_go_too(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1);
    kit_open(&k);
    struct kit_client *c = consumer(&k, "/topic/t", "client", "prefetch-count:1\n");
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    for (int i = 0; i < 4; i++)
        stomp_send(c, "/topic/t", "x", "transaction:x\n");
    kit_frame(c, "COMMIT\ntransaction:x\n\n");
    assert_null(c->c);
    assert_non_null(strstr(stomp_log(c), "ERROR message=slow consumer\nclosed\n"));
    kit_close(&k);
}

static void what_has_expired_while_it_waited_is_skipped(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(2);
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *c = consumer(&k, "/topic/t", "client", "prefetch-count:1\n");
    struct mqtt_publish p = { .topic = sl_str("t"), .payload = sl_str("short") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 1);
    kit_publish(from, 0, 1, "t");
    kit_publish_full(from, &p);
    kit_publish_full(from, &p);
    kit_pass(&k, 1500);
    kit_publish(from, 0, 2, "t"); /* would be one too many */
    kit_publish(from, 0, 3, "t");
    assert_string_equal(stomp_log(c), M(" ack=1-1", "p1"));
    stomp_answer(c, "ACK", "1-1", NULL);
    assert_string_equal(stomp_log(c), M(" ack=1-2", "p2"));
    assert_int_equal(hub_counters(k.h)->deliveries_dropped_expired, 2);
    kit_close(&k);
}

static void the_end_of_a_message_is_told_in_wall_time(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *c = consumer(&k, "/topic/t", "client", "prefetch-count:1\n");
    struct mqtt_publish p = { .topic = sl_str("t"), .payload = sl_str("x") };
    char expected[128];
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 10);
    uint64_t end = k.wall_ms + 10000;
    kit_publish_full(from, &p);
    kit_publish_full(from, &p);
    kit_pass(&k, 1500);
    stomp_answer(c, "ACK", "1-1", NULL); /* the second one, later, ends at the same time */
    const char *log = stomp_log(c);
    for (int i = 1; i <= 2; i++) {
        snprintf(expected, sizeof expected, " ack=1-%d attempt=1 redelivered=false expires=%llu x\n", i, (unsigned long long)end);
        assert_non_null(strstr(log, expected));
    }
    kit_close(&k);
}

static void an_output_that_no_session_takes_ends_its_connection(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 256u << 20 };
    static char frame[60000];
    k.subscribers = kit_few(1000);
    k.subscribers.output_bytes = 64u << 20;
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "/topic/t", "auto", NULL);
    int n = snprintf(frame, sizeof frame, "SEND\ndestination:/topic/t\n\n");
    memset(frame + n, 'x', sizeof frame - 1 - (size_t)n);
    c->unread = true;
    for (int i = 0; i < 200 && c->c != NULL; i++)
        kit_frame(from, frame);
    assert_null(c->c);
    kit_close(&k);
}

static void all_subscriptions_of_a_slow_reader_have_their_turns(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1000);
    k.subscribers.output_bytes = 600;
    kit_open(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "/topic/t", "auto", NULL);
    stomp_subscribe(c, "u", "/topic/u", "auto", NULL);
    c->unread = true;
    for (int i = 0; i < 100; i++) {
        stomp_send(from, "/topic/t", "x", NULL);
        stomp_send(from, "/topic/u", "x", NULL);
    }
    uint32_t of_t = 0, of_u = 0;
    for (int i = 0; i < 60; i++) { /* a little at a time */
        struct sl_buf *out = hub_client_output(c->c);
        assert_int_equal(sl_buf_append_bytes(&c->rx, sl_buf_view(out)), SL_OK);
        sl_buf_consume(out, sl_buf_len(out));
        (void)hub_client_written(c->c, false);
        const char *log = stomp_log(c);
        for (const char *p = log; (p = strstr(p, "subscription=s")) != NULL; p++)
            of_t++;
        for (const char *p = log; (p = strstr(p, "subscription=u")) != NULL; p++)
            of_u++;
        kit_turn(&k);
        if (of_t + of_u > 60 && of_t + of_u < 120)
            assert_true(of_t > 15 && of_u > 15);
    }
    assert_int_equal(of_t + of_u, 200);
    kit_close(&k);
}

/* ---- refusals ---- */

static void refused(struct kit *k, const char *destination, const char *ack)
{
    struct kit_client *c = kit_stomp(k);
    stomp_subscribe(c, "s", destination, ack, "receipt:r\n");
    const char *log = stomp_log(c);
    assert_non_null(strstr(log, "ERROR message="));
    assert_non_null(strstr(log, " receipt-id=r"));
    assert_non_null(strstr(log, "closed\n"));
}

static void a_filter_has_at_most_200_levels(void **state)
{
    (void)state;
    struct kit k = { 0 };
    char deep[420] = "/topic/a";
    kit_open(&k);
    for (int i = 0; i < 200; i++)
        strcat(deep, "/a");
    refused(&k, deep, "auto");
    kit_close(&k);
}

static void a_client_has_only_so_many_subscriptions(void **state)
{
    (void)state;
    struct kit k = { 0 };
    char id[16];
    k.subscribers = kit_few(5); /* ten */
    kit_open(&k);
    struct kit_client *c = kit_stomp(&k);
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "%d", i);
        stomp_subscribe(c, id, "/topic/t", "auto", NULL);
    }
    assert_string_equal(stomp_log(c), "");
    stomp_subscribe(c, "more", "/topic/t", "auto", NULL);
    assert_non_null(strstr(stomp_log(c), "ERROR message=quota exceeded"));
    assert_null(c->c);
    kit_close(&k);
}

static void nobody_else_listens_at_a_reply_destination(void **state)
{
    (void)state;
    static const char *const filters[] = { "$temp", "$temp/#", "$temp/0000000000000001/x", "$temp/+/x" };
    struct kit k = { 0 };
    kit_open(&k);
    for (size_t i = 0; i < SL_COUNT(filters); i++) {
        char destination[64];
        snprintf(destination, sizeof destination, "/topic/%s", filters[i]);
        refused(&k, destination, "auto");
        for (int v5 = 0; v5 < 2; v5++) {
            struct kit_client *m = kit_mqtt(&k, v5 == 1, "m", 0);
            (void)kit_log(m);
            kit_subscribe(m, filters[i], 0);
            assert_string_equal(kit_log(m), v5 == 1 ? "SUBACK 0x87\n" : "SUBACK 0x80\n");
            kit_lose(m);
        }
    }
    struct kit_client *m = kit_mqtt(&k, true, "m", 0);
    (void)kit_log(m);
    kit_subscribe(m, "$temporary/x", 0);
    assert_string_equal(kit_log(m), "SUBACK 0x00\n");
    kit_close(&k);
}

static void a_reply_reaches_who_asked_and_nobody_else(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *server = kit_listener(&k, "server", 0, "ask", 0), *asks = kit_stomp(&k), *other = kit_stomp(&k);
    stomp_send(asks, "/topic/ask", "?", "reply-to:/temp-queue/answers\n");
    stomp_send(other, "/topic/ask", "?", "reply-to:/temp-queue/answers\n");
    struct sl_bytes v = sl_buf_view(&server->rx);
    const uint8_t *at = memchr(v.p, '$', v.n);
    assert_non_null(at);
    char topic[64];
    snprintf(topic, sizeof topic, "%.*s", (int)strlen("$temp/0123456789abcdef/answers"), (const char *)at);
    kit_publish(server, 0, 1, topic);
    const char *log = stomp_log(asks);
    assert_non_null(strstr(log, "MESSAGE subscription=/temp-queue/answers destination=/reply-queue/"));
    assert_non_null(strstr(log, " p1\n"));
    assert_string_equal(stomp_log(other), "");
    kit_close(&k);
}

static void nothing_is_retained_at_a_reply_destination(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    struct mqtt_publish p = { .qos = 1, .retain = true, .packet_id = 1, .topic = sl_str(PROTO_REPLY_ROOT "/0123456789abcdef/a"), .payload = sl_str("x") };
    kit_publish_full(from, &p);
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x10\n");
    assert_int_equal(hub_counters(k.h)->retained_kept, 0);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_consumer_gets_what_others_publish),
        cmocka_unit_test(each_subscription_has_a_copy_of_its_own),
        cmocka_unit_test(mqtt_and_stomp_subscribers_of_one_topic_each_have_their_own_form),
        cmocka_unit_test(a_receipt_tells_that_it_listens_and_what_comes_then_is_seen),
        cmocka_unit_test(an_end_of_a_subscription_is_an_end_of_its_messages),
        cmocka_unit_test(what_was_published_retained_comes_first),
        cmocka_unit_test(retained_messages_keep_to_the_credit),
        cmocka_unit_test(sys_topics_are_told_to_stomp_too),
        cmocka_unit_test(a_client_gets_as_many_as_it_may_leave_unanswered),
        cmocka_unit_test(the_usual_credit_is_64),
        cmocka_unit_test(who_does_not_read_is_waited_for_within_the_limits),
        cmocka_unit_test(who_is_too_slow_is_told_and_nobody_else_suffers),
        cmocka_unit_test(who_is_too_slow_for_its_own_messages_is_let_go_too),
        cmocka_unit_test(what_has_expired_while_it_waited_is_skipped),
        cmocka_unit_test(the_end_of_a_message_is_told_in_wall_time),
        cmocka_unit_test(an_output_that_no_session_takes_ends_its_connection),
        cmocka_unit_test(all_subscriptions_of_a_slow_reader_have_their_turns),
        cmocka_unit_test(a_filter_has_at_most_200_levels),
        cmocka_unit_test(a_client_has_only_so_many_subscriptions),
        cmocka_unit_test(nobody_else_listens_at_a_reply_destination),
        cmocka_unit_test(a_reply_reaches_who_asked_and_nobody_else),
        cmocka_unit_test(nothing_is_retained_at_a_reply_destination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
