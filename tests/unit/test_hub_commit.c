/* What an answer waits for, what is never written, and what a store without
 * room or without health does. */
#include "test_hub_kit.h"

static void start(struct kit *k, uint32_t queues)
{
    static const char *const names[] = { "q0", "q1" };
    kit_open(k);
    for (uint32_t i = 0; i < queues; i++) {
        struct queue_config cfg = kit_queue(names[i], i + 1);
        cfg.max_messages = i == 0 ? 1000 : 1;
        (void)hub_add_queue(k->h, &cfg);
    }
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
    if (queues > 1)
        assert_int_equal(hub_add_route(k->h, "t/both", 1), SL_OK);
}

static uint64_t depth(struct kit *k, uint32_t queue)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, queue), &d);
    return d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED];
}

static void puback_waits_for_the_commit(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    assert_string_equal(kit_log(c), "CONNACK 0 present=0\n");
    kit_publish(c, 1, 7, "t/1");
    assert_string_equal(kit_log(c), "");
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 7 0x00\n");
    kit_close(&k);
}

static void puback_of_a_finished_message_needs_no_write(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *a = kit_mqtt(&k, true, "a", 0), *b = kit_mqtt(&k, true, "b", 0);
    kit_publish(a, 1, 1, "t/1"); /* keeps the store busy */
    (void)kit_log(b);
    kit_publish(b, 1, 2, "t/2");
    assert_int_equal(w->n, 2);
    assert_string_equal(kit_log(b), "");
    kit_ack(w, 1);
    assert_string_equal(kit_log(b), "PUBACK 2 0x00\n");
    assert_int_equal(hub_counters(k.h)->records_cancelled, 1);
    kit_commit(&k, SL_OK);
    assert_null(k.pending);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

static void a_message_settled_while_its_batch_is_under_way_is_settled_in_the_next(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/1");
    kit_ack(w, 0);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n"); /* finished with is as good as stored */
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    kit_close(&k);
}

static void fan_out_enters_all_queues_or_none(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 2);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/both");
    kit_publish(c, 1, 2, "t/both"); /* q1 has room for one */
    assert_int_equal(depth(&k, 0), 1);
    assert_int_equal(depth(&k, 1), 1);
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    struct kit_worker *w = kit_worker(&k, 0, 1);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_int_equal(depth(&k, 0), 2);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    kit_close(&k);
}

static void no_space_stops_intake_and_recovers(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/1");
    kit_commit(&k, SL_ENOSPC);
    assert_int_equal(hub_health(k.h), HUB_NO_SPACE);
    kit_publish(c, 1, 2, "t/1"); /* waits for room */
    assert_int_equal(depth(&k, 0), 1);
    assert_string_equal(kit_log(c), "");
    kit_pass(&k, 300);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) ");
    kit_commit(&k, SL_OK);
    kit_settle(&k);
    assert_int_equal(hub_health(k.h), HUB_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    kit_close(&k);
}

static void what_is_finished_while_there_is_no_space_is_not_written(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/1");
    kit_ack(w, 0); /* while the batch is under way */
    kit_commit(&k, SL_ENOSPC);
    kit_pass(&k, 300);
    assert_string_equal(kit_records(&k), "");
    kit_settle(&k);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

static void eio_refuses_and_stops_dispatch(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/1");
    kit_commit(&k, SL_EIO);
    assert_int_equal(hub_health(k.h), HUB_BROKEN);
    assert_string_equal(kit_log(c), "PUBACK 1 0x83\n");
    kit_publish(c, 1, 2, "t/1");
    assert_string_equal(kit_log(c), "PUBACK 2 0x83\n");
    assert_int_equal(kit_worker(&k, 0, 0)->n, 0);
    kit_close(&k);
}

/* One message through a worker, while a sync needs 1,000 µs. */
static void work(struct kit *k, struct kit_client *c, struct kit_worker *w, uint64_t us)
{
    kit_publish(c, 1, 1, "t/1");
    k->mono_us += us;
    kit_turn(k);
    kit_ack(w, 0);
    kit_settle(k);
    (void)kit_log(c);
}

/* A queue, a client, and a worker that is known to need `us` for a message. */
static struct kit_worker *start_measured(struct kit *k, struct kit_client **c, uint64_t us)
{
    start(k, 1);
    struct kit_worker *w = kit_worker(k, 0, 0);
    *c = kit_mqtt(k, true, "a", 0);
    work(k, *c, w, us);
    return w;
}

static void commit_is_held_only_while_workers_are_quicker(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    struct kit_client *c;
    struct kit_worker *w = start_measured(&k, &c, 100);
    kit_publish(c, 1, 2, "t/1");
    assert_null(k.pending); /* the worker has it and is quick */
    kit_ack(w, 0);
    assert_null(k.pending);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    kit_publish(c, 1, 3, "t/1");
    assert_null(k.pending);
    kit_pass(&k, 3); /* it was not that quick */
    assert_non_null(k.pending);
    kit_ack(w, 0);
    kit_settle(&k);
    kit_worker_end(w);
    kit_publish(c, 1, 4, "t/1");
    assert_non_null(k.pending); /* nobody has it */
    kit_close(&k);
}

/* Under load a turn takes longer than the delay. */
static void what_came_in_this_turn_stays_when_earlier_messages_are_due(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    struct kit_client *c;
    struct kit_worker *w = start_measured(&k, &c, 100);
    kit_publish(c, 1, 2, "t/1");
    k.mono_us += 3000;
    kit_publish(c, 1, 3, "t/1");
    assert_null(k.pending); /* the next turn is the late one */
    kit_ack(w, 1);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) ");
    kit_publish(c, 1, 4, "t/1");
    kit_ack(w, 1);
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\nPUBACK 4 0x00\n");
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->never_written, 2); /* 3 and 4 */
    kit_ack(w, 0);
    kit_settle(&k);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

static void what_left_early_and_found_no_space_can_still_be_finished(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    struct kit_client *c;
    struct kit_worker *w = start_measured(&k, &c, 100);
    kit_publish(c, 1, 2, "t/1");
    kit_publish(c, 1, 3, "t/1");
    kit_ack(w, 0); /* 2 leaves a hole: places in the early batch are others */
    k.mono_us += 3000;
    kit_publish(c, 1, 4, "t/1");
    kit_publish(c, 1, 5, "t/1");
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) BODY ENTRY(1) ");
    kit_commit(&k, SL_ENOSPC);
    kit_ack(w, 0);
    kit_pass(&k, 300);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) ");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\nPUBACK 4 0x00\nPUBACK 5 0x00\n");
    kit_close(&k);
}

/* The first `n` are acknowledged in the turn that the next call ends. */
static void ack_first(struct kit *k, struct kit_worker *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct hub_answer a = { .lease = w->held[i].lease, .verb = { .verb = QUEUE_ACK } };
        assert_int_equal(hub_answer(k->h, w->consumer, &a), SL_OK);
        message_unref(w->held[i].msg);
    }
    w->n -= n;
    memmove(w->held, w->held + n, w->n * sizeof w->held[0]);
}

/* Workers that answered as many as wait are about to take those, too. */
static void what_waits_for_busy_workers_is_held_only_at_their_pace(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    struct kit_client *c;
    struct kit_worker *w = start_measured(&k, &c, 1);
    for (uint16_t i = 0; i < KIT_HELD + 3; i++)
        kit_publish(c, 1, (uint16_t)(i + 10), "t/1");
    kit_settle(&k);
    assert_int_equal(w->n, KIT_HELD);
    ack_first(&k, w, 2);
    kit_publish(c, 1, 100, "t/1"); /* two wait, two were answered */
    assert_null(k.pending);
    kit_pass(&k, 3);
    kit_settle(&k);
    ack_first(&k, w, 1);
    kit_publish(c, 1, 101, "t/1"); /* two wait, one was answered */
    assert_non_null(k.pending);
    kit_close(&k);
}

static void commit_is_not_held_for_a_slow_worker(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    struct kit_client *c;
    struct kit_worker *w = start_measured(&k, &c, 50000);
    kit_publish(c, 1, 2, "t/1");
    assert_int_equal(w->n, 1);
    assert_non_null(k.pending);
    kit_close(&k);
}

/* No later turn may come for it: nothing that waits has a deadline then. */
static void what_stayed_behind_is_refused_with_what_broke_the_store(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000, .here = true };
    start(&k, 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    work(&k, c, w, 100);
    kit_publish(c, 1, 2, "t/1");
    assert_string_equal(kit_log(c), "");
    kit_pass(&k, 0);
    k.mono_us += 3000;
    kit_turn(&k);
    k.here_err = SL_EIO;
    kit_publish(c, 1, 3, "t/1"); /* 2 is due, 3 is not */
    assert_int_equal(hub_health(k.h), HUB_BROKEN);
    assert_string_equal(kit_log(c), "PUBACK 2 0x83\nPUBACK 3 0x83\n");
    kit_close(&k);
}

static void what_found_no_space_is_refused_when_the_store_breaks(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    kit_publish(c, 1, 1, "t/1");
    kit_settle(&k);
    (void)kit_log(c);
    kit_publish(c, 1, 2, "t/1");
    kit_commit(&k, SL_ENOSPC);
    kit_ack(w, 0);
    kit_pass(&k, 300);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP "); /* it makes room for 2 */
    kit_commit(&k, SL_EIO);
    assert_string_equal(kit_log(c), "PUBACK 2 0x83\n");
    kit_close(&k);
}

/* Stored at once (decision 7), and nothing else need happen for it to be said. */
static void what_a_worker_publishes_into_a_queue_that_is_not_durable_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct message_parts p = { .protocol = MESSAGE_WORKER, .qos = 1, .topic = sl_str("t/1"), .payload = sl_str("p") };
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.durable = false;
    kit_open(&k);
    assert_int_equal(hub_add_route(k.h, "t/#", hub_add_queue(k.h, &cfg)), SL_OK);
    assert_int_equal(hub_publish(k.h, &p), SL_OK);
    uint64_t batch = hub_batch_filling(k.h);
    kit_turn(&k);
    assert_true(hub_batch_stored(k.h, batch));
    kit_close(&k);
}

/* The store breaks; what its client then gets to say is answered, too: the hub
 * asks for a turn. */
static void what_a_broken_store_sets_free_is_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 2);
    struct kit_client *a = kit_mqtt(&k, true, "a", 100), *b = kit_mqtt(&k, true, "b", 0);
    kit_publish(a, 2, 1, "t/1");
    kit_publish(a, 1, 2, "t/both");
    kit_settle(&k);
    for (uint16_t id = 3; id < 6; id++)
        kit_publish(a, 1, id, "t/both"); /* q1 is full */
    struct sl_buf in = { 0 };
    struct mqtt_publish p = { .qos = 1, .packet_id = 6, .topic = sl_str("t/both") };
    struct mqtt_ack rel = { .type = MQTT_PUBREL, .packet_id = 1 };
    mqtt_props_init(&p.props);
    mqtt_props_init(&rel.props);
    assert_int_equal(mqtt_encode_publish(&in, MQTT_V5, &p), SL_OK);
    assert_int_equal(mqtt_encode_ack(&in, MQTT_V5, &rel), SL_OK);
    kit_feed(a, in.p, sl_buf_len(&in)); /* parking is full: the PUBREL waits */
    sl_buf_fini(&in);
    kit_publish(b, 1, 1, "t/1");
    (void)kit_log(a);
    kit_commit(&k, SL_EIO);
    assert_true(hub_deadline_us(k.h) <= k.mono_us);
    kit_turn(&k);
    assert_non_null(strstr(kit_log(a), "DISCONNECT 0x83\n"));
    assert_true(hub_deadline_us(k.h) > k.mono_us);
    kit_close(&k);
}

static void publish_large(struct kit_client *c, uint16_t id)
{
    static char payload[6001];
    memset(payload, 'x', sizeof payload - 1);
    struct mqtt_publish p = { .qos = 1, .packet_id = id, .topic = sl_str("t/1"), .payload = sl_str(payload) };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

static void evicted_bodies_come_back(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 5000 }; /* less than one body */
    start(&k, 1);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    publish_large(c, 1);
    publish_large(c, 2);
    kit_settle(&k);
    struct queue_depth d;
    queue_depth(hub_queue(k.h, 0), &d);
    assert_in_range(d.memory, 0, 5000);
    assert_int_equal(hub_counters(k.h)->bodies_evicted, 2);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    assert_int_equal(w->n, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 2);
    assert_int_equal(message_payload(w->held[1].msg).n, 6000);
    assert_int_equal(hub_counters(k.h)->bodies_fetched, 2);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puback_waits_for_the_commit),
        cmocka_unit_test(puback_of_a_finished_message_needs_no_write),
        cmocka_unit_test(a_message_settled_while_its_batch_is_under_way_is_settled_in_the_next),
        cmocka_unit_test(fan_out_enters_all_queues_or_none),
        cmocka_unit_test(no_space_stops_intake_and_recovers),
        cmocka_unit_test(what_is_finished_while_there_is_no_space_is_not_written),
        cmocka_unit_test(eio_refuses_and_stops_dispatch),
        cmocka_unit_test(commit_is_held_only_while_workers_are_quicker),
        cmocka_unit_test(what_came_in_this_turn_stays_when_earlier_messages_are_due),
        cmocka_unit_test(what_left_early_and_found_no_space_can_still_be_finished),
        cmocka_unit_test(what_waits_for_busy_workers_is_held_only_at_their_pace),
        cmocka_unit_test(commit_is_not_held_for_a_slow_worker),
        cmocka_unit_test(what_stayed_behind_is_refused_with_what_broke_the_store),
        cmocka_unit_test(what_found_no_space_is_refused_when_the_store_breaks),
        cmocka_unit_test(what_a_worker_publishes_into_a_queue_that_is_not_durable_is_stored),
        cmocka_unit_test(what_a_broken_store_sets_free_is_answered),
        cmocka_unit_test(evicted_bodies_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
