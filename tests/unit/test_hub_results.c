/* What comes of a worker's work: publishes that are one step with their ack, and
 * results that go where the message asked for them. */
#include "stomp_clients.h"

enum { JOBS, OUT }; /* the hub's indexes; in the store they are 1 and 2 */

static void open_queues(struct kit *k)
{
    kit_open(k);
    struct queue_config jobs = kit_queue("jobs", 1), out = kit_queue("out", 2);
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_queue(k->h, &out);
    assert_int_equal(hub_add_route(k->h, "jobs/#", JOBS), SL_OK);
    assert_int_equal(hub_add_route(k->h, "out/#", OUT), SL_OK);
}

static struct message_parts part(const char *topic, const char *payload)
{
    return (struct message_parts){ .protocol = MESSAGE_WORKER, .qos = 1, .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(topic), .payload = sl_str(payload) };
}

static struct hub_answer ack_with(const struct message_parts *parts, uint32_t n, enum hub_published *fates)
{
    return (struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .publishes = parts, .n_publishes = n, .published = fates };
}

static struct hub_answer ack_result(const char *result)
{
    return (struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .has_result = true, .result = sl_str(result), .result_type = sl_str("text/plain") };
}

/* MQTT 5, QoS 1, with a response topic and "c1" as correlation. */
static void ask(struct kit_client *c, uint16_t id, const char *topic, const char *reply_to)
{
    struct mqtt_publish p = { .qos = 1, .packet_id = id, .topic = sl_str(topic), .payload = sl_str("work") };
    mqtt_props_init(&p.props);
    mqtt_props_set_string(&p.props, MQTT_PROP_RESPONSE_TOPIC, sl_str(reply_to));
    mqtt_props_set_string(&p.props, MQTT_PROP_CORRELATION_DATA, sl_str("c1"));
    kit_publish_full(c, &p);
}

/* ---- publishes ---- */

static void an_ack_and_its_publishes_are_one_batch(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct message_parts parts[] = { part("out/1", "a"), part("/queue/out", "b") };
    enum hub_published fates[2];
    struct hub_answer a = ack_with(parts, 2, fates);
    kit_answer(w, 0, &a);
    assert_int_equal(fates[0], HUB_PUBLISHED);
    assert_int_equal(fates[1], HUB_PUBLISHED);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) BODY ENTRY(2) ");
    kit_close(&k);
}

static void what_nobody_takes_is_told_and_the_rest_goes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    kit_publish(kit_publisher(&k), 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct message_parts parts[] = { part("nobody", "a"), part("$SYS/x", "b"), part("a/+", "c"), part("/queue/none", "d"), part("out/1", "e") };
    enum hub_published fates[5];
    struct hub_answer a = ack_with(parts, 5, fates);
    kit_answer(w, 0, &a);
    assert_int_equal(fates[0], HUB_PUBLISH_NOBODY);
    for (int i = 1; i < 4; i++)
        assert_int_equal(fates[i], HUB_PUBLISH_TOPIC);
    assert_int_equal(fates[4], HUB_PUBLISHED);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) ");
    kit_close(&k);
}

static void a_stale_ack_publishes_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    kit_publish(kit_publisher(&k), 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    uint64_t lease = w->held[0].lease;
    kit_ack(w, 0);
    kit_settle(&k);
    struct message_parts p = part("out/1", "a");
    struct hub_answer a = ack_with(&p, 1, NULL);
    a.lease = lease;
    assert_int_equal(hub_answer(k.h, w->consumer, &a), SL_ESTATE);
    kit_turn(&k);
    assert_null(k.pending);
    struct queue_depth d;
    queue_depth(hub_queue(k.h, OUT), &d);
    assert_int_equal(d.count[QUEUE_READY], 0);
    kit_close(&k);
}

static void who_sent_the_message_is_answered_when_what_came_of_it_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *busy = kit_publisher(&k), *from = kit_mqtt(&k, true, "other", 0);
    (void)kit_log(from);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct message_parts p = part("out/1", "a");
    struct hub_answer a = ack_with(&p, 1, NULL);
    kit_publish(busy, 1, 1, "out/0"); /* keeps the store busy */
    kit_publish(from, 1, 1, "jobs/1"); /* leased, and not stored */
    kit_answer(w, 0, &a);
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "");
    assert_string_equal(kit_records(&k), "BODY ENTRY(2) "); /* of the first nothing is left to be written */
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_close(&k);
}

static void a_broken_store_takes_no_publish(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 1, "jobs/1");
    kit_commit(&k, SL_EIO);
    enum hub_published fate;
    struct message_parts p = part("out/1", "a");
    struct hub_answer a = ack_with(&p, 1, &fate);
    kit_answer(w, 0, &a);
    assert_int_equal(fate, HUB_PUBLISH_STORE);
    kit_close(&k);
}

/* ---- results ---- */

static void a_result_goes_out_when_its_ack_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_listener(&k, "asks", 0, "answers/1", 1);
    ask(asks, 1, "jobs/1", "answers/1");
    kit_settle(&k);
    assert_string_equal(kit_log(asks), "PUBACK 1 0x00\n");
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    assert_string_equal(kit_log(asks), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(asks), "PUBLISH q1 id=1 answers/1 42\n");
    assert_int_equal(hub_counters(k.h)->results_sent, 1);
    kit_close(&k);
}

static void no_result_goes_out_when_its_ack_cannot_be_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_listener(&k, "asks", 0, "answers/1", 1);
    ask(asks, 1, "jobs/1", "answers/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    (void)kit_log(asks);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    kit_commit(&k, SL_EIO);
    assert_null(strstr(kit_log(asks), "PUBLISH"));
    assert_int_equal(hub_counters(k.h)->results_dropped, 1);
    kit_close(&k);
}

static void a_result_of_what_was_never_written_waits_for_no_write(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *busy = kit_publisher(&k), *asks = kit_listener(&k, "asks", 0, "answers/1", 0);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(busy, 1, 1, "out/0");
    ask(asks, 1, "jobs/1", "answers/1");
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    assert_string_equal(kit_log(asks), "PUBACK 1 0x00\n");
    kit_commit(&k, SL_OK);
    assert_null(k.pending);
    assert_string_equal(kit_log(asks), "PUBLISH q0 answers/1 42\n");
    kit_close(&k);
}

static void a_lasting_session_s_result_is_stored_with_the_ack(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_listener(&k, "asks", 1000, "answers/1", 1);
    ask(asks, 1, "jobs/1", "answers/1");
    kit_settle(&k);
    kit_lose(asks);
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY COPY ");
    kit_close(&k);
}

static void a_queue_gets_the_result_with_the_ack_and_gives_it_out_after(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_stomp(&k);
    stomp_send(asks, "/queue/jobs", "work", "reply-to:/queue/out\ncorrelation-id:c1\n");
    stomp_subscribe(asks, "s", "/queue/out", "auto", NULL);
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) ");
    assert_string_equal(stomp_log(asks), "");
    kit_commit(&k, SL_OK);
    const char *log = kit_log(asks);
    assert_non_null(strstr(log, "\ndestination:/queue/out\n"));
    assert_non_null(strstr(log, "\ncorrelation-id:c1\n"));
    assert_non_null(strstr(log, "\ncontent-type:text/plain\n"));
    kit_settle(&k);
    kit_close(&k);
}

static void a_stomp_client_hears_on_its_own_reply_queue(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_stomp(&k);
    stomp_send(asks, "/queue/jobs", "work", "reply-to:/temp-queue/r\ncorrelation-id:c1\n");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    kit_settle(&k);
    const char *log = kit_log(asks);
    assert_non_null(strstr(log, "MESSAGE\n"));
    assert_non_null(strstr(log, "\ncorrelation-id:c1\n"));
    assert_non_null(strstr(log, "\n\n42^"));
    kit_close(&k);
}

static void in_mqtt_a_queue_s_name_is_a_plain_topic(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_listener(&k, "asks", 0, "/queue/out", 0);
    ask(asks, 1, "jobs/1", "/queue/out");
    kit_settle(&k);
    (void)kit_log(asks);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    kit_settle(&k);
    assert_string_equal(kit_log(asks), "PUBLISH q0 /queue/out 42\n");
    kit_close(&k);
}

static void where_nobody_may_publish_no_result_goes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *asks = kit_listener(&k, "asks", 0, "$other/x", 0);
    ask(asks, 1, "jobs/1", "$other/x");
    kit_settle(&k);
    (void)kit_log(asks);
    assert_int_equal(hub_counters(k.h)->reply_to_refused, 1); /* when it is accepted */
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct hub_answer a = ack_result("42");
    kit_answer(w, 0, &a);
    kit_settle(&k);
    assert_string_equal(kit_log(asks), "");
    assert_int_equal(hub_counters(k.h)->results_dropped, 1);
    kit_close(&k);
}

static void results_that_wait_for_the_disk_take_a_share_of_memory_at_most(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 64 << 10 };
    open_queues(&k);
    static char large[16 << 10];
    memset(large, 'x', sizeof large - 1);
    struct kit_client *asks = kit_listener(&k, "asks", 0, "answers/1", 0);
    ask(asks, 1, "jobs/1", "answers/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    (void)kit_log(asks);
    struct hub_answer a = ack_result(large);
    kit_answer(w, 0, &a);
    kit_settle(&k);
    assert_string_equal(kit_log(asks), "");
    assert_int_equal(hub_counters(k.h)->results_dropped, 1);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ack_and_its_publishes_are_one_batch),
        cmocka_unit_test(what_nobody_takes_is_told_and_the_rest_goes),
        cmocka_unit_test(a_stale_ack_publishes_nothing),
        cmocka_unit_test(who_sent_the_message_is_answered_when_what_came_of_it_is_stored),
        cmocka_unit_test(a_broken_store_takes_no_publish),
        cmocka_unit_test(a_result_goes_out_when_its_ack_is_stored),
        cmocka_unit_test(no_result_goes_out_when_its_ack_cannot_be_stored),
        cmocka_unit_test(a_result_of_what_was_never_written_waits_for_no_write),
        cmocka_unit_test(a_lasting_session_s_result_is_stored_with_the_ack),
        cmocka_unit_test(a_queue_gets_the_result_with_the_ack_and_gives_it_out_after),
        cmocka_unit_test(a_stomp_client_hears_on_its_own_reply_queue),
        cmocka_unit_test(in_mqtt_a_queue_s_name_is_a_plain_topic),
        cmocka_unit_test(where_nobody_may_publish_no_result_goes),
        cmocka_unit_test(results_that_wait_for_the_disk_take_a_share_of_memory_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
