/* order_by over a restart, and with bodies that are in the store only. */
#include "order_by_kit.h"

/* ---- restart ---- */

static void restore(struct kit *k, const struct queue_restored *r)
{
    queue_restore(k->q, r, &k->now);
    k->last_id = r->id;
    queue_check(k->q);
}

/* The body that dispatch asks for is given; its id. */
static uint64_t fetch(struct kit *k, const char *client)
{
    uint64_t ids[1];
    uint32_t entries[1];
    if (queue_wanted(k->q, ids, entries, 1, 1) == 0)
        return 0;
    struct message_parts parts = kit_parts(k);
    parts.id = ids[0];
    parts.client_id = sl_str(client);
    parts.payload = SL_BYTES_NONE;
    struct message *m = message_new(&parts);
    queue_give_body(k->q, entries[0], ids[0], m);
    message_unref(m);
    return ids[0];
}

static void expect_fetched(struct kit *k, uint64_t id)
{
    assert_int_equal(kit_step(k), QUEUE_FETCH);
    assert_int_equal(fetch(k, "a"), id);
}

static void a_restart_in_the_middle_of_a_line_goes_on_in_its_order(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    for (uint64_t id = 5; id < 9; id++) {
        struct queue_restored r = restored_of(id, 77);
        restore(&k, &r);
    }
    (void)kit_consumer(&k, 64, 64);
    expect_fetched(&k, 5);
    uint64_t lease = expect(&k, 5);
    kit_idle(&k);
    kit_answer(&k, lease, QUEUE_ACK);
    expect_fetched(&k, 6);
    kit_end(&k);
}

static void a_restart_keeps_a_key_waiting_for_its_retry_or_goes_on_beside_it(void **state)
{
    (void)state;
    for (uint32_t f = QUEUE_FAILURE_BLOCKS; f <= QUEUE_FAILURE_SKIPS; f++) {
        struct kit k = kit_ordered((enum queue_on_failure)f);
        struct queue_restored first = restored_of(5, 77), second = restored_of(6, 77), other = restored_of(7, 78);
        first.state = QUEUE_DELAYED;
        first.attempts = 1;
        first.due_ms = k.now.steady_ms + 100;
        restore(&k, &first);
        restore(&k, &second);
        restore(&k, &other);
        (void)kit_consumer(&k, 64, 64);
        expect_fetched(&k, f == QUEUE_FAILURE_SKIPS ? 6 : 7);
        kit_pass_ms(&k, 100);
        kit_tick_all(&k);
        expect_fetched(&k, 5);
        kit_end(&k);
    }
}

static void what_was_due_before_a_restart_stands_where_it_would_have_stood(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    struct queue_restored r = restored_of(5, 77);
    restore(&k, &r);
    r = restored_of(6, 77);
    r.state = QUEUE_DELAYED;
    r.due_ms = k.now.steady_ms - 10;
    restore(&k, &r);
    r = restored_of(7, 77);
    restore(&k, &r);
    kit_tick_all(&k);
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    uint64_t ids[8];
    uint32_t entries[8];
    assert_int_equal(queue_wanted(k.q, ids, entries, 8, 10000), 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(ids[i], 5 + i);
    kit_end(&k);
}

static void dead_ones_and_those_of_a_queue_without_order_come_back_without_a_line(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS), plain = kit_new();
    struct queue_restored dead = restored_of(5, 77), ready = restored_of(6, 77);
    dead.state = QUEUE_DEAD;
    dead.attempts = 5;
    restore(&k, &dead);
    restore(&k, &ready);
    (void)kit_consumer(&k, 64, 64);
    expect_fetched(&k, 6);
    restore(&plain, &ready);
    assert_int_equal(queue_entry_order_key(plain.q, 1), 0);
    kit_end(&plain);
    kit_end(&k);
}

static void bodies_of_a_line_are_read_ahead_and_its_order_is_kept_without_them(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    uint64_t a[4];
    for (uint32_t i = 0; i < 4; i++)
        a[i] = put_of(&k, "a");
    for (uint32_t i = 0; i < 4; i++)
        assert_int_not_equal(queue_evict(k.q, k.entries[a[i]], a[i]), 0);
    (void)kit_consumer(&k, 64, 64);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    uint64_t ids[8];
    uint32_t entries[8];
    assert_int_equal(queue_wanted(k.q, ids, entries, 8, 10000), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(ids[i], a[i]);
        struct message_parts parts = kit_parts(&k);
        parts.id = ids[i];
        parts.client_id = sl_str("a");
        struct message *m = message_new(&parts);
        queue_give_body(k.q, entries[i], ids[i], m);
        message_unref(m);
        expect_and_ack(&k, a[i]);
    }
    kit_end(&k);
}

static void bodies_are_read_ahead_of_each_line_its_share(void **state)
{
    (void)state;
    struct kit k = kit_ordered(QUEUE_FAILURE_BLOCKS);
    static const char *const keys[] = {"a", "b", "c", "d"};
    for (uint64_t id = 1; id <= 40; id++) {
        (void)put_of(&k, keys[(id - 1) % 4]);
        assert_int_not_equal(queue_evict(k.q, k.entries[id], id), 0);
    }
    uint64_t ids[12];
    uint32_t entries[12], of[4] = {0};
    assert_int_equal(queue_wanted(k.q, ids, entries, 12, 100000), 12);
    for (uint32_t i = 0; i < 12; i++)
        of[(ids[i] - 1) % 4]++;
    for (uint32_t i = 0; i < 4; i++)
        assert_true(of[i] >= 1 && of[i] <= 1 + 1 + 12 / 4);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(ids[i], i + 1);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_in_the_middle_of_a_line_goes_on_in_its_order),
        cmocka_unit_test(a_restart_keeps_a_key_waiting_for_its_retry_or_goes_on_beside_it),
        cmocka_unit_test(what_was_due_before_a_restart_stands_where_it_would_have_stood),
        cmocka_unit_test(dead_ones_and_those_of_a_queue_without_order_come_back_without_a_line),
        cmocka_unit_test(bodies_of_a_line_are_read_ahead_and_its_order_is_kept_without_them),
        cmocka_unit_test(bodies_are_read_ahead_of_each_line_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
