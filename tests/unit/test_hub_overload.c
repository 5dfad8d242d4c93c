/* Full queues, in each protocol's words; and that what waits is bounded. */
#include "test_hub_kit.h"

static void start(struct kit *k, enum queue_overflow overflow)
{
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.overflow = overflow;
    cfg.max_messages = 1;
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

/* A client whose first publish has filled the queue. */
static struct kit_client *filled(struct kit *k, bool v5)
{
    struct kit_client *c = kit_mqtt(k, v5, "a", 0);
    kit_publish(c, 1, 1, "t/1");
    kit_settle(k);
    (void)kit_log(c);
    return c;
}

static void block_parks_and_pingreq_is_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    kit_ping(c);
    assert_string_equal(kit_log(c), "PINGRESP\n");
    assert_true(hub_client_reading(c->c));
    for (uint16_t id = 3; id <= 5; id++)
        kit_publish(c, 1, id, "t/1");
    assert_false(hub_client_reading(c->c)); /* four are parked: that is the limit */
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    assert_true(hub_client_reading(c->c));
    kit_close(&k);
}

static void parked_qos1_is_forgotten_with_its_connection_and_qos0_kept(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    kit_publish(c, 0, 0, "t/1");
    kit_lose(c);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->held[0].payload, "p0");
    kit_ack(w, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    kit_close(&k);
}

static void reject_is_0x97_in_v5(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_REJECT);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    assert_string_equal(kit_log(c), "PUBACK 2 0x97\n");
    kit_pass(&k, 2000);
    assert_string_equal(kit_log(c), "");
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->refused, 1);
    kit_close(&k);
}

static void reject_closes_v311_after_grace_without_a_puback(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_REJECT);
    struct kit_client *c = filled(&k, false);
    kit_publish(c, 1, 2, "t/1");
    kit_pass(&k, 900);
    assert_string_equal(kit_log(c), "");
    kit_pass(&k, 200);
    assert_string_equal(kit_log(c), "closed\n");
    kit_close(&k);
}

static void drop_oldest_accepts_and_counts(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_DROP_OLDEST);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->dropped, 1);
    kit_close(&k);
}

static void what_is_parked_counts_as_memory(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = filled(&k, true);
    uint64_t before = hub_memory_bytes(k.h);
    kit_publish(c, 1, 2, "t/1");
    kit_publish(c, 1, 3, "t/1");
    kit_pass(&k, 1);
    assert_in_range(hub_memory_bytes(k.h) - before, 2 * MESSAGE_RECORD_FIXED, 2000);
    kit_lose(c);
    kit_pass(&k, 1);
    assert_int_equal(hub_memory_bytes(k.h), before);
    kit_close(&k);
}

static void over_the_memory_limit_one_parked_publish_stops_reading(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 293 }; /* a message and its entry take 143, the same parked 158 */
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    assert_false(hub_client_reading(c->c));
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_settle(&k);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_true(hub_client_reading(c->c));
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\n");
    kit_close(&k);
}

static void a_client_that_parks_and_leaves_does_not_fill_the_memory(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 7000 };
    start(&k, QUEUE_BLOCK);
    (void)filled(&k, true);
    for (int i = 0; i < 300; i++) {
        struct kit_client *c = kit_mqtt(&k, true, "b", 0);
        kit_publish(c, 0, 0, "t/1");
        (void)kit_log(c);
        kit_lose(c);
        kit_turn(&k);
    }
    assert_in_range(hub_memory_bytes(k.h), 1000, 8000);
    kit_close(&k);
}

static void a_draining_hub_takes_nothing_and_still_answers(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 1, "t/1");
    hub_drain(k.h);
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    assert_int_equal(kit_worker(&k, 0, 0)->n, 0);
    hub_goodbye(k.h);
    kit_turn(&k);
    assert_string_equal(kit_log(c), "DISCONNECT 0x8b\nclosed\n");
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_parks_and_pingreq_is_answered),
        cmocka_unit_test(parked_qos1_is_forgotten_with_its_connection_and_qos0_kept),
        cmocka_unit_test(reject_is_0x97_in_v5),
        cmocka_unit_test(reject_closes_v311_after_grace_without_a_puback),
        cmocka_unit_test(drop_oldest_accepts_and_counts),
        cmocka_unit_test(what_is_parked_counts_as_memory),
        cmocka_unit_test(over_the_memory_limit_one_parked_publish_stops_reading),
        cmocka_unit_test(a_client_that_parks_and_leaves_does_not_fill_the_memory),
        cmocka_unit_test(a_draining_hub_takes_nothing_and_still_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
