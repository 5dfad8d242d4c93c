/* At most so many leased messages of one key. */
#include <stdio.h>

#include "queue_kit.h"

static struct kit kit_keyed(uint32_t max, enum queue_key key)
{
    struct kit k = kit_new();
    queue_limit_keys(k.q, &(struct queue_key_limit){.max = max, .key = key, .header = "device"});
    return k;
}

static uint64_t put_of(struct kit *k, const char *client)
{
    struct message_parts parts = kit_parts(k);
    parts.client_id = sl_str(client);
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

static void others_of_a_key_wait_aside_and_keep_their_order(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), a3 = put_of(&k, "a"), b1 = put_of(&k, "b"), b2 = put_of(&k, "b");
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_next(&k), a1);
    uint64_t a_lease = k.got.lease;
    assert_int_equal(kit_next(&k), b1);
    uint64_t b_lease = k.got.lease;
    kit_idle(&k);
    assert_int_equal(kit_count(&k, QUEUE_READY), 3);
    kit_answer(&k, b_lease, QUEUE_ACK);
    assert_int_equal(kit_next(&k), b2);
    kit_answer(&k, a_lease, QUEUE_ACK);
    assert_int_equal(kit_next(&k), a2);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(kit_next(&k), a3);
    kit_idle(&k);
    kit_end(&k);
}

static void it_holds_over_all_consumers_and_up_to_its_number(void **state)
{
    (void)state;
    struct kit k = kit_keyed(2, QUEUE_KEY_CLIENT);
    for (uint32_t i = 0; i < 5; i++)
        (void)put_of(&k, "a");
    (void)kit_consumer(&k, 1, 1);
    (void)kit_consumer(&k, 1, 1);
    (void)kit_consumer(&k, 1, 1);
    (void)kit_next(&k);
    (void)kit_next(&k);
    kit_idle(&k);
    kit_end(&k);
}

static void topic_and_header_are_keys_and_without_one_there_is_no_limit(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_HEADER);
    const struct message_header device = {sl_str("device"), sl_str("7")}, other = {sl_str("devices"), sl_str("7")};
    struct message_parts parts = kit_parts(&k);
    (void)kit_consumer(&k, 64, 64);
    parts.headers = &device;
    parts.n_headers = 1;
    (void)kit_enter(&k, &parts, 0);
    parts.id = ++k.last_id;
    (void)kit_enter(&k, &parts, 0);
    parts.id = ++k.last_id;
    parts.headers = &other;
    (void)kit_enter(&k, &parts, 0);
    (void)put_of(&k, "a");
    for (uint32_t i = 0; i < 3; i++)
        (void)kit_next(&k);
    kit_idle(&k);
    queue_limit_keys(k.q, &(struct queue_key_limit){.max = 4, .key = QUEUE_KEY_TOPIC});
    (void)kit_next(&k); /* the fourth of its topic */
    (void)kit_put(&k);
    kit_idle(&k);
    kit_end(&k);
}

static void a_failed_one_lets_the_next_go_and_takes_its_turn_later(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_next(&k), a1);
    kit_answer(&k, k.got.lease, QUEUE_RETRY);
    assert_int_equal(kit_next(&k), a2);
    kit_pass_ms(&k, 2000);
    kit_tick_all(&k);
    uint64_t lease = k.got.lease;
    kit_idle(&k);
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(kit_next(&k), a1);
    kit_end(&k);
}

static void a_lost_consumer_frees_its_keys(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    uint64_t a1 = put_of(&k, "a");
    (void)put_of(&k, "a");
    uint32_t c = kit_consumer(&k, 64, 64);
    assert_int_equal(kit_next(&k), a1);
    kit_idle(&k);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.charge_none = true}), 1);
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_next(&k), a1);
    kit_idle(&k);
    kit_end(&k);
}

static void what_stands_aside_may_be_evicted_and_is_read_again(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_next(&k), a1);
    kit_idle(&k);
    assert_true(queue_evict(k.q, k.entries[a2], a2) > 0);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    kit_end(&k);
}

static void one_that_leaves_before_its_turn_holds_up_no_other(void **state)
{
    (void)state;
    for (uint32_t evicted = 0; evicted < 2; evicted++) {
        struct queue_config cfg = kit_config();
        cfg.overflow = QUEUE_DROP_OLDEST;
        cfg.max_messages = 3;
        struct kit k = kit_with(&cfg);
        queue_limit_keys(k.q, &(struct queue_key_limit){.max = 1, .key = QUEUE_KEY_CLIENT});
        uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), a3 = put_of(&k, "a");
        uint32_t c = kit_consumer(&k, 64, 64);
        assert_int_equal(kit_next(&k), a1);
        kit_idle(&k);
        assert_true(evicted == 0 || queue_evict(k.q, k.entries[a2], a2) > 0);
        queue_consumer_pause(k.q, c, true);
        kit_answer(&k, k.got.lease, QUEUE_ACK);
        assert_true(queue_make_room(k.q, 2, 1, &k.change));
        assert_int_equal(k.change.id, a2); /* it was called */
        kit_release_gone(&k);
        queue_consumer_pause(k.q, c, false);
        assert_int_equal(kit_next(&k), a3);
        kit_end(&k);
    }
}

static void without_the_limit_all_that_stands_aside_goes(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    for (uint32_t i = 0; i < 10; i++)
        (void)put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    (void)kit_next(&k);
    kit_idle(&k);
    queue_limit_keys(k.q, &(struct queue_key_limit){0});
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(kit_next(&k), i + 2);
    kit_end(&k);
}

static void keys_that_nobody_has_cost_nothing(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    struct queue_depth before, after;
    queue_depth(k.q, &before);
    (void)kit_consumer(&k, 1, 1);
    for (uint32_t i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%u", i);
        (void)put_of(&k, name);
        (void)kit_next(&k);
        kit_answer(&k, k.got.lease, QUEUE_ACK);
    }
    queue_depth(k.q, &after);
    assert_int_equal(before.memory, after.memory);
    kit_end(&k);
}

static void what_stands_aside_is_freed_with_the_queue(void **state)
{
    (void)state;
    struct kit k = kit_keyed(1, QUEUE_KEY_CLIENT);
    (void)put_of(&k, "a");
    (void)put_of(&k, "a");
    (void)kit_consumer(&k, 2, 2);
    (void)kit_next(&k);
    kit_idle(&k);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_of_a_key_wait_aside_and_keep_their_order),
        cmocka_unit_test(it_holds_over_all_consumers_and_up_to_its_number),
        cmocka_unit_test(topic_and_header_are_keys_and_without_one_there_is_no_limit),
        cmocka_unit_test(a_failed_one_lets_the_next_go_and_takes_its_turn_later),
        cmocka_unit_test(a_lost_consumer_frees_its_keys),
        cmocka_unit_test(what_stands_aside_may_be_evicted_and_is_read_again),
        cmocka_unit_test(one_that_leaves_before_its_turn_holds_up_no_other),
        cmocka_unit_test(without_the_limit_all_that_stands_aside_goes),
        cmocka_unit_test(keys_that_nobody_has_cost_nothing),
        cmocka_unit_test(what_stands_aside_is_freed_with_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
