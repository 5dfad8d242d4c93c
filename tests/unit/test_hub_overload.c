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

/* Who publishes again with each answer does not come first again. */
static void room_goes_round_among_those_who_wait(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *greedy = filled(&k, true), *modest = kit_mqtt(&k, true, "b", 0);
    (void)kit_log(modest);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_settle(&k);
    for (uint16_t id = 2; id <= 4; id++)
        kit_publish(greedy, 1, id, "t/1");
    kit_publish(modest, 1, 1, "t/1");
    kit_ack(w, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(greedy), "PUBACK 2 0x00\n");
    kit_publish(greedy, 1, 5, "t/1");
    kit_ack(w, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(modest), "PUBACK 1 0x00\n");
    assert_string_equal(kit_log(greedy), "");
    kit_close(&k);
}

static void who_waits_for_one_queue_keeps_nobody_from_another(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config still = kit_queue("q0", 1), moving = kit_queue("q1", 2);
    still.max_messages = moving.max_messages = 1;
    kit_open(&k);
    assert_int_equal(hub_add_route(k.h, "s/#", hub_add_queue(k.h, &still)), SL_OK);
    assert_int_equal(hub_add_route(k.h, "m/#", hub_add_queue(k.h, &moving)), SL_OK);
    struct kit_client *a = kit_mqtt(&k, true, "a", 0), *b = kit_mqtt(&k, true, "b", 0);
    kit_publish(a, 1, 1, "s/1");
    kit_publish(b, 1, 1, "m/1");
    kit_settle(&k);
    kit_publish(a, 1, 2, "s/1");
    kit_publish(b, 1, 2, "m/1");
    kit_publish(b, 1, 3, "s/1");
    (void)kit_log(a);
    (void)kit_log(b);
    struct kit_worker *w = kit_worker(&k, 0, 1);
    kit_settle(&k);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(b), "PUBACK 2 0x00\n");
    struct kit_worker *late = kit_worker(&k, 1, 0);
    for (int i = 0; i < 3; i++) {
        kit_settle(&k);
        kit_ack(late, 0);
    }
    kit_settle(&k);
    assert_string_equal(kit_log(a), "PUBACK 2 0x00\n");
    assert_string_equal(kit_log(b), "PUBACK 3 0x00\n");
    hub_check(k.h);
    kit_close(&k);
}

static void control_packets_overtake_a_publish_that_waits_and_keep_their_order(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = filled(&k, true);
    kit_publish(c, 1, 2, "t/1");
    kit_subscribe(c, "news/#", 0);
    kit_pubrel(c, 77);
    kit_publish(c, 1, 3, "t/1");
    kit_unsubscribe(c, "news/#");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "SUBACK 0x00\nPUBCOMP 77 0x92\nUNSUBACK 0x00\n");
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_settle(&k);
    for (int i = 0; i < 2; i++) {
        kit_ack(w, 0);
        kit_settle(&k);
    }
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\n");
    kit_close(&k);
}

static void a_refused_client_has_the_grace_of_its_queue(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config short_one = kit_queue("q0", 1), long_one = kit_queue("q1", 2);
    short_one.overflow = long_one.overflow = QUEUE_REJECT;
    short_one.max_messages = long_one.max_messages = 1;
    short_one.reject_grace_ms = 100;
    long_one.reject_grace_ms = 5000;
    kit_open(&k);
    assert_int_equal(hub_add_route(k.h, "s/#", hub_add_queue(k.h, &short_one)), SL_OK);
    assert_int_equal(hub_add_route(k.h, "l/#", hub_add_queue(k.h, &long_one)), SL_OK);
    struct kit_client *s = kit_mqtt(&k, false, "s", 0), *l = kit_mqtt(&k, false, "l", 0);
    for (uint16_t id = 1; id <= 2; id++) {
        kit_publish(s, 1, id, "s/1");
        kit_publish(l, 1, id, "l/1");
        kit_settle(&k);
    }
    (void)kit_log(s);
    (void)kit_log(l);
    kit_pass(&k, 110);
    assert_string_equal(kit_log(s), "closed\n");
    kit_pass(&k, 4000);
    assert_string_equal(kit_log(l), "");
    kit_pass(&k, 1000);
    assert_string_equal(kit_log(l), "closed\n");
    kit_close(&k);
}

/* ---- readiness ---- */

static uint32_t reasons(struct kit *k)
{
    struct hub_readiness r;
    hub_readiness(k->h, &r);
    return r.reasons;
}

static void a_full_disk_is_told_once_and_shown_for_a_second(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    kit_publish(c, 1, 1, "t/1");
    kit_commit(&k, SL_ENOSPC);
    assert_int_equal(reasons(&k), 1u << HUB_NOT_READY_NO_SPACE);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(hub_health(k.h), HUB_OK);
    assert_int_equal(reasons(&k), 1u << HUB_NOT_READY_NO_SPACE);
    assert_true(hub_deadline_us(k.h) <= (k.now.mono_ms + 1000) * 1000); /* a turn comes to take it back */
    kit_pass(&k, 1000);
    assert_int_equal(reasons(&k), 0);
    struct hub_readiness r;
    hub_readiness(k.h, &r);
    assert_int_equal(r.of[HUB_NOT_READY_NO_SPACE].times, 1);
    assert_int_equal(hub_counters(k.h)->not_ready, 1);
    kit_close(&k);
}

static void a_broken_store_is_not_ready_for_good(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    kit_publish(c, 1, 1, "t/1");
    kit_commit(&k, SL_EIO);
    kit_pass(&k, 100000);
    assert_int_equal(reasons(&k), 1u << HUB_NOT_READY_BROKEN);
    hub_drain(k.h);
    kit_turn(&k);
    char text[HUB_READINESS_TEXT];
    struct hub_readiness r;
    hub_readiness(k.h, &r);
    assert_string_equal(hub_readiness_text(&r, text), "draining,store_broken");
    assert_int_equal(hub_counters(k.h)->not_ready, 1);
    kit_close(&k);
}

static void starting_is_shown_until_it_is_over(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, QUEUE_BLOCK);
    hub_starting(k.h, true);
    kit_turn(&k);
    assert_int_equal(reasons(&k), 1u << HUB_NOT_READY_STARTING);
    hub_starting(k.h, false);
    kit_turn(&k);
    assert_int_equal(reasons(&k), 0);
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
        cmocka_unit_test(room_goes_round_among_those_who_wait),
        cmocka_unit_test(who_waits_for_one_queue_keeps_nobody_from_another),
        cmocka_unit_test(control_packets_overtake_a_publish_that_waits_and_keep_their_order),
        cmocka_unit_test(a_refused_client_has_the_grace_of_its_queue),
        cmocka_unit_test(a_full_disk_is_told_once_and_shown_for_a_second),
        cmocka_unit_test(a_broken_store_is_not_ready_for_good),
        cmocka_unit_test(starting_is_shown_until_it_is_over),
        cmocka_unit_test(a_draining_hub_takes_nothing_and_still_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
