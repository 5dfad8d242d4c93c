/* order_by: messages of one key go one after the other, in the order of their ids. */
#include <stdio.h>

#include "order_by_kit.h"

/* ---- one at a time ---- */

static void one_of_a_key_is_leased_and_the_others_follow_in_order(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), b1 = put_of(&k, "b"), a3 = put_of(&k, "a"), b2 = put_of(&k, "b");
    (void)kit_consumer(&k, 64, 64);
    uint64_t a = expect(&k, a1), b = expect(&k, b1);
    kit_idle(&k);
    assert_int_equal(kit_count(&k, QUEUE_READY), 3);
    kit_answer(&k, b, QUEUE_ACK);
    expect_and_ack(&k, b2);
    kit_answer(&k, a, QUEUE_ACK);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a3);
    kit_idle(&k);
    kit_end(&k);
}

static void it_holds_over_all_consumers(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    for (uint32_t i = 0; i < 5; i++)
        (void)put_of(&k, "a");
    for (uint32_t i = 0; i < 3; i++)
        (void)kit_consumer(&k, 4, 4);
    (void)kit_next(&k);
    kit_idle(&k);
    kit_end(&k);
}

static void without_a_key_there_is_no_order(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t x = kit_put(&k), a1 = put_of(&k, "a"), y = kit_put(&k);
    (void)put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    (void)expect(&k, x);
    (void)expect(&k, a1);
    (void)expect(&k, y);
    kit_idle(&k);
    assert_int_equal(queue_entry_order_key(k.q, k.entries[x]), 0);
    kit_end(&k);
}

static void the_key_may_be_the_topic_or_a_header(void **state)
{
    (void)state;
    static const struct message_header h[] = {{{(const uint8_t *)"device", 6}, {(const uint8_t *)"7", 1}}};
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.order.key = QUEUE_KEY_HEADER;
    cfg.order.header = "device";
    struct kit k = kit_with(&cfg);
    struct message_parts parts = kit_parts(&k);
    parts.headers = h;
    parts.n_headers = 1;
    uint64_t first = put_parts(&k, "a", &parts, 0);
    parts.id = ++k.last_id;
    uint64_t second = put_parts(&k, "b", &parts, 0);
    uint64_t other = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    uint64_t lease = expect(&k, first);
    (void)expect(&k, other);
    kit_idle(&k);
    kit_answer(&k, lease, QUEUE_ACK);
    (void)expect(&k, second);
    kit_end(&k);

    cfg.order.key = QUEUE_KEY_TOPIC;
    k = kit_with(&cfg);
    (void)put_of(&k, "a");
    (void)put_of(&k, "b");
    (void)kit_consumer(&k, 64, 64);
    (void)kit_next(&k);
    kit_idle(&k);
    kit_end(&k);
}

static void a_key_is_the_same_after_a_restart_and_another_with_another_hash_key(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS), again = kit_ordered(QUEUE_FAILURE_BLOCKS);
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.order.hash.k1 = 3;
    struct kit other = kit_with(&cfg);
    uint64_t a = put_of(&k, "a");
    sl_hash_seed(77, 78); /* tables in memory are hashed differently each time */
    (void)put_of(&again, "a");
    (void)put_of(&other, "a");
    assert_int_equal(queue_entry_order_key(k.q, k.entries[a]), queue_entry_order_key(again.q, again.entries[1]));
    assert_int_not_equal(queue_entry_order_key(k.q, k.entries[a]), queue_entry_order_key(other.q, other.entries[1]));
    kit_end(&other);
    kit_end(&again);
    kit_end(&k);
}

/* ---- failures ---- */

static void a_retry_holds_its_key_and_nobody_else(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), b1 = put_of(&k, "b"), b2 = put_of(&k, "b");
    (void)kit_consumer(&k, 64, 64);
    fails(&k, expect(&k, a1), 100);
    expect_and_ack(&k, b1);
    expect_and_ack(&k, b2);
    kit_idle(&k);
    pass(&k, 100);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    kit_end(&k);
}

static void a_skipped_one_lets_the_others_by_and_comes_again_before_them(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_SKIPS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), a3 = put_of(&k, "a"), a4 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    fails(&k, expect(&k, a1), 100);
    fails(&k, expect(&k, a2), 50);
    uint64_t third = expect(&k, a3);
    pass(&k, 100);
    kit_idle(&k); /* one of the key is leased */
    kit_answer(&k, third, QUEUE_ACK);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a4);
    kit_end(&k);
}

static void a_skipped_one_overtakes_what_was_called_and_not_leased(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_SKIPS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    fails(&k, expect(&k, a1), 100);
    pass(&k, 100);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    kit_end(&k);
}

static void a_failed_one_is_dead_at_once_and_the_next_one_goes(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_KILLS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), x = kit_put(&k);
    (void)kit_consumer(&k, 64, 64);
    fails(&k, expect(&k, a1), 100);
    assert_int_equal(k.change.state, QUEUE_DEAD);
    assert_int_equal(k.change.attempts, 1);
    expect_and_ack(&k, a2);
    fails(&k, expect(&k, x), 100); /* it has no key: it fails as always */
    assert_int_equal(k.change.state, QUEUE_DELAYED);
    kit_end(&k);
}

static void the_death_of_the_first_lets_the_next_one_go(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    kit_answer(&k, expect(&k, a1), QUEUE_KILL);
    expect_and_ack(&k, a2);
    assert_int_equal(kit_count(&k, QUEUE_DEAD), 1);
    kit_end(&k);
}

static void a_release_and_a_give_back_keep_their_place_whatever_a_failure_does(void **state)
{
    (void)state;
    for (uint32_t f = QUEUE_FAILURE_BLOCKS; f <= QUEUE_FAILURE_KILLS; f++) {
        struct kit k = kit_ordered((enum queue_on_failure)f);
        uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a");
        (void)kit_consumer(&k, 64, 64);
        kit_answer(&k, expect(&k, a1), QUEUE_RELEASE);
        kit_idle(&k);
        pass(&k, 100);
        assert_int_equal(queue_give_back(k.q, expect(&k, a1), true, &k.now, &k.change), SL_OK);
        expect_and_ack(&k, a1);
        expect_and_ack(&k, a2);
        kit_end(&k);
    }
}

static void a_lost_consumer_gives_back_one_of_each_key_in_order(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), b1 = put_of(&k, "b");
    uint32_t c = kit_consumer(&k, 64, 64);
    (void)expect(&k, a1);
    (void)expect(&k, b1);
    (void)kit_lose(&k, c, &(struct queue_loss){.charge_none = true});
    (void)kit_consumer(&k, 64, 64);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, b1);
    kit_end(&k);
}

static void the_last_attempt_of_a_key_goes_alone_and_holds_it(void **state)
{
    (void)state;
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), b1 = put_of(&k, "b"), c1 = put_of(&k, "c");
    (void)kit_consumer(&k, 64, 1);
    fails(&k, expect(&k, a1), 0);
    kit_tick_all(&k);
    uint64_t alone = expect(&k, a1);
    assert_true(k.got.last);
    kit_idle(&k);
    kit_answer(&k, alone, QUEUE_RETRY);
    assert_int_equal(k.change.state, QUEUE_DEAD);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, b1);
    expect_and_ack(&k, c1);
    kit_end(&k);
}

/* ---- holds, delays, priorities ---- */

static void a_held_one_keeps_its_place_and_holds_its_key(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    struct message_parts parts = kit_parts(&k);
    uint64_t a1 = put_parts(&k, "a", &parts, QUEUE_HOLD), a2 = put_of(&k, "a"), b1 = put_of(&k, "b");
    (void)kit_consumer(&k, 64, 64);
    expect_and_ack(&k, b1);
    kit_idle(&k);
    assert_int_equal(queue_unhold(k.q, k.entries[a1], a1), SL_OK);
    queue_check(k.q);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    kit_end(&k);
}

static void one_that_is_held_in_the_middle_lets_by_who_was_before_it(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a");
    struct message_parts parts = kit_parts(&k);
    uint64_t a2 = put_parts(&k, "a", &parts, QUEUE_HOLD), a3 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    expect_and_ack(&k, a1);
    kit_idle(&k);
    assert_int_equal(queue_unhold(k.q, k.entries[a2], a2), SL_OK);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a3);
    kit_end(&k);
}

static void a_delayed_one_holds_nobody_and_takes_its_place_when_it_is_due(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_delayed(&k, "a", 100), a3 = put_of(&k, "a"), a4 = put_of(&k, "a");
    uint64_t a5 = put_delayed(&k, "a", 50), a6 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    uint64_t first = expect(&k, a1);
    pass(&k, 50);
    kit_answer(&k, first, QUEUE_ACK);
    expect_and_ack(&k, a3);
    pass(&k, 50);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a4);
    expect_and_ack(&k, a5);
    expect_and_ack(&k, a6);
    kit_end(&k);
}

static void what_is_given_back_lets_by_an_older_one_that_is_due(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_delayed(&k, "a", 10), a2 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    uint64_t lease = expect(&k, a2);
    pass(&k, 10);
    kit_idle(&k);
    assert_int_equal(queue_give_back(k.q, lease, true, &k.now, &k.change), SL_OK);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    kit_end(&k);
}

static void the_priority_of_the_first_ranks_its_line(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_priority(&k, "a", 2), a2 = put_priority(&k, "a", 9), b1 = put_priority(&k, "b", 4);
    uint64_t c1 = put_priority(&k, "c", 6), c2 = put_priority(&k, "c", 0);
    (void)kit_consumer(&k, 1, 1);
    expect_and_ack(&k, c1);
    expect_and_ack(&k, b1);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, c2);
    kit_end(&k);
}

static void a_batch_has_one_of_a_key(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), b1 = put_of(&k, "b"), c1 = put_of(&k, "c");
    (void)queue_consumer_add(k.q, &(struct queue_consumer_config){.batch_max = 3});
    uint64_t a = expect(&k, a1), b = expect(&k, b1), c = expect(&k, c1);
    queue_batch_end(k.q);
    kit_answer(&k, a, QUEUE_ACK);
    kit_idle(&k);
    kit_answer(&k, b, QUEUE_ACK);
    kit_answer(&k, c, QUEUE_ACK);
    expect_and_ack(&k, a2);
    kit_end(&k);
}

/* A newer one of the same dedup key takes its place; its id. */
static uint64_t replace(struct kit *k, uint64_t id, const char *client)
{
    struct message_parts parts = kit_parts(k);
    parts.client_id = sl_str(client);
    struct message *m = message_new(&parts);
    uint32_t entry = queue_replace(k->q, k->entries[id], id, m, 0, &k->now, &k->change);
    message_unref(m);
    assert_int_not_equal(entry, 0);
    k->entries[parts.id] = entry;
    kit_release_gone(k);
    queue_check(k->q);
    return parts.id;
}

static void what_took_the_place_of_another_keeps_it_also_when_it_fails_or_comes_back(void **state)
{
    (void)state;
    for (uint32_t which = 0; which < 3; which++) {
        struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
        uint64_t ids[] = {put_of(&k, "a"), put_of(&k, "a"), put_of(&k, "a"), put_of(&k, "a")};
        (void)kit_consumer(&k, 64, 64);
        if (which > 0)
            expect_and_ack(&k, ids[0]);
        ids[which] = replace(&k, ids[which], "a");
        for (uint32_t i = which > 0; i < SL_COUNT(ids); i++) {
            assert_int_equal(queue_give_back(k.q, expect(&k, ids[i]), true, &k.now, &k.change), SL_OK);
            queue_check(k.q);
            fails(&k, expect(&k, ids[i]), 10);
            pass(&k, 10);
            expect_and_ack(&k, ids[i]);
        }
        kit_end(&k);
    }
}

static void what_took_the_place_of_another_makes_way_for_an_older_one_and_is_the_next(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_delayed(&k, "a", 10), a2 = put_of(&k, "a"), a3 = put_of(&k, "a"), a4 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    a2 = replace(&k, a2, "a");
    uint64_t lease = expect(&k, a2);
    pass(&k, 10); /* the older one is due while it is leased */
    assert_int_equal(queue_give_back(k.q, lease, true, &k.now, &k.change), SL_OK);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a3);
    expect_and_ack(&k, a4);

    a1 = put_delayed(&k, "a", 10), a2 = put_of(&k, "a"), a3 = put_of(&k, "a");
    a2 = replace(&k, a2, "a");
    pass(&k, 10); /* it is due while that is in a band */
    queue_check(k.q);
    expect_and_ack(&k, a1);
    expect_and_ack(&k, a2);
    expect_and_ack(&k, a3);
    kit_end(&k);
}

/* ---- leaving ---- */

static void who_leaves_from_the_middle_or_the_front_is_passed_over(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    struct message_parts parts = kit_parts(&k);
    parts.expires_at = k.now.wall_ms + 50;
    uint64_t a1 = put_of(&k, "a");
    k.last_id = a1 - 1;
    parts.id = k.last_id = a1 + 1;
    (void)put_parts(&k, "a", &parts, 0);
    uint64_t a3 = put_of(&k, "a");
    (void)kit_consumer(&k, 64, 64);
    uint64_t lease = expect(&k, a1);
    pass(&k, 60);
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    expect_and_ack(&k, a3);
    assert_int_equal(queue_counters(k.q)->expired, 1);
    kit_end(&k);
}

static void drop_oldest_finds_the_oldest_in_lines_and_passes_what_is_held_or_leased(void **state)
{
    (void)state;
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.overflow = QUEUE_DROP_OLDEST;
    cfg.max_messages = 6;
    struct kit k = kit_with(&cfg);
    uint64_t a1 = put_of(&k, "a");
    (void)kit_consumer(&k, 1, 1);
    uint64_t lease = expect(&k, a1);
    struct message_parts parts = kit_parts(&k);
    uint64_t held = put_parts(&k, "a", &parts, QUEUE_HOLD);
    uint64_t order[] = {put_of(&k, "b"), put_of(&k, "a"), put_of(&k, "b"), put_of(&k, "a")};
    for (uint32_t i = 0; i < SL_COUNT(order); i++) {
        assert_int_equal(queue_admits(k.q, i + 1, 0), QUEUE_ADMIT);
        assert_true(queue_make_room(k.q, i + 1, 0, &k.change));
        kit_release_gone(&k);
        queue_check(k.q);
        assert_int_equal(k.change.id, order[i]);
    }
    assert_int_equal(queue_admits(k.q, 5, 0), QUEUE_WAIT);
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(queue_unhold(k.q, k.entries[held], held), SL_OK);
    expect_and_ack(&k, held);
    kit_end(&k);
}

static void who_waits_in_a_line_is_looked_at_after_those_that_may_go(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a1 = put_of(&k, "a"), a2 = put_of(&k, "a"), late = put_delayed(&k, "a", 10), a4 = put_of(&k, "a"), b1 = put_of(&k, "b");
    uint64_t b2 = put_priority(&k, "b", 9);
    pass(&k, 10);
    struct queue_peeked seen[8];
    const uint64_t order[] = {a1, b1, b2, a2, a4, late};
    assert_int_equal(queue_peek(k.q, QUEUE_READY, seen, 8), SL_COUNT(order));
    for (uint32_t i = 0; i < SL_COUNT(order); i++) {
        assert_int_equal(seen[i].id, order[i]);
        assert_int_equal(seen[i].aside, i >= 2);
    }
    assert_int_equal(queue_peek(k.q, QUEUE_READY, seen, 3), 3);
    kit_end(&k);
}

static void one_that_is_removed_from_anywhere_in_its_line_leaves_the_others_their_order(void **state)
{
    (void)state;
    for (uint32_t which = 0; which < 6; which++) {
        struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
        uint64_t ids[] = {put_of(&k, "a"), put_of(&k, "a"), put_delayed(&k, "a", 10), put_of(&k, "a"), put_of(&k, "a"), put_delayed(&k, "a", 50)};
        pass(&k, 10); /* the third stands late in its line, the last is delayed still */
        assert_int_equal(queue_remove(k.q, k.entries[ids[which]], ids[which], QUEUE_EXIT_CANCELLED, &k.change), SL_OK);
        kit_release_gone(&k);
        queue_check(k.q);
        pass(&k, 40);
        (void)kit_consumer(&k, 64, 64);
        for (uint32_t i = 0; i < SL_COUNT(ids); i++) {
            if (i != which)
                expect_and_ack(&k, ids[i]);
        }
        kit_idle(&k);
        kit_end(&k);
    }
}

/* ---- memory ---- */

#define KEYS 1000000u

static void a_million_keys_cost_memory_only_while_they_have_messages(void **state)
{
    (void)state;
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.max_messages = KEYS;
    cfg.max_bytes = UINT64_MAX;
    cfg.overflow = QUEUE_DROP_OLDEST;
    struct kit k = kit_with(&cfg);
    struct queue_depth d;
    queue_depth(k.q, &d);
    uint64_t empty = d.memory;
    struct queue_restored r = restored_of(0, 0);
    for (uint32_t i = 1; i <= KEYS; i++) {
        r.id = i;
        r.order_key = sl_hash_u64(i);
        queue_restore(k.q, &r, &k.now);
    }
    queue_depth(k.q, &d);
    assert_true(d.memory - empty <= (uint64_t)KEYS * 140);
    queue_check(k.q);
    for (uint32_t i = 1; i <= KEYS; i++) {
        assert_true(queue_make_room(k.q, i, 0, &k.change));
        assert_int_equal(k.change.id, i);
        if (i == KEYS / 2)
            queue_check(k.q);
    }
    queue_depth(k.q, &d);
    assert_int_equal(d.memory, empty);
    kit_end(&k);
}

static void lines_outlive_the_memory_of_entries(void **state)
{
    (void)state;
    struct queue_config cfg = ordered(QUEUE_FAILURE_BLOCKS);
    cfg.max_messages = 80000;
    cfg.max_bytes = UINT64_MAX;
    cfg.overflow = QUEUE_DROP_OLDEST;
    struct kit k = kit_with(&cfg);
    struct queue_restored r = restored_of(0, 0);
    for (uint32_t i = 1; i <= 80000; i++) {
        r.id = k.last_id = i;
        r.order_key = i <= 20000 ? 0 : sl_hash_u64(i);
        queue_restore(k.q, &r, &k.now);
    }
    while (kit_count(&k, QUEUE_READY) > 0)
        assert_true(queue_make_room(k.q, 80000, 0, &k.change));
    (void)kit_consumer(&k, 1, 1);
    expect_and_ack(&k, put_of(&k, "a"));
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_a_key_is_leased_and_the_others_follow_in_order),
        cmocka_unit_test(it_holds_over_all_consumers),
        cmocka_unit_test(without_a_key_there_is_no_order),
        cmocka_unit_test(the_key_may_be_the_topic_or_a_header),
        cmocka_unit_test(a_key_is_the_same_after_a_restart_and_another_with_another_hash_key),
        cmocka_unit_test(a_retry_holds_its_key_and_nobody_else),
        cmocka_unit_test(a_skipped_one_lets_the_others_by_and_comes_again_before_them),
        cmocka_unit_test(a_skipped_one_overtakes_what_was_called_and_not_leased),
        cmocka_unit_test(a_failed_one_is_dead_at_once_and_the_next_one_goes),
        cmocka_unit_test(the_death_of_the_first_lets_the_next_one_go),
        cmocka_unit_test(a_release_and_a_give_back_keep_their_place_whatever_a_failure_does),
        cmocka_unit_test(a_lost_consumer_gives_back_one_of_each_key_in_order),
        cmocka_unit_test(the_last_attempt_of_a_key_goes_alone_and_holds_it),
        cmocka_unit_test(a_held_one_keeps_its_place_and_holds_its_key),
        cmocka_unit_test(one_that_is_held_in_the_middle_lets_by_who_was_before_it),
        cmocka_unit_test(a_delayed_one_holds_nobody_and_takes_its_place_when_it_is_due),
        cmocka_unit_test(what_is_given_back_lets_by_an_older_one_that_is_due),
        cmocka_unit_test(the_priority_of_the_first_ranks_its_line),
        cmocka_unit_test(a_batch_has_one_of_a_key),
        cmocka_unit_test(what_took_the_place_of_another_keeps_it_also_when_it_fails_or_comes_back),
        cmocka_unit_test(what_took_the_place_of_another_makes_way_for_an_older_one_and_is_the_next),
        cmocka_unit_test(who_leaves_from_the_middle_or_the_front_is_passed_over),
        cmocka_unit_test(drop_oldest_finds_the_oldest_in_lines_and_passes_what_is_held_or_leased),
        cmocka_unit_test(who_waits_in_a_line_is_looked_at_after_those_that_may_go),
        cmocka_unit_test(one_that_is_removed_from_anywhere_in_its_line_leaves_the_others_their_order),
        cmocka_unit_test(a_million_keys_cost_memory_only_while_they_have_messages),
        cmocka_unit_test(lines_outlive_the_memory_of_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
