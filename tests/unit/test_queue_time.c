/* Delays, expiry, age of dead letters: three clocks. */
#include "queue_kit.h"

static uint64_t put_delayed(struct kit *k, uint64_t deliver_at, uint8_t flags)
{
    struct message_parts parts = kit_parts(k);
    parts.deliver_at = deliver_at;
    parts.flags = flags;
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

static uint64_t put_expiring(struct kit *k, uint64_t expires_at, uint8_t flags)
{
    struct message_parts parts = kit_parts(k);
    parts.expires_at = expires_at;
    parts.flags = flags;
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

/* The operator sets the clock: steady time does not follow. */
static void jump(struct kit *k, uint64_t ms)
{
    k->now.wall_ms += ms;
}

/* ---- delay ---- */

static void a_delayed_message_joins_the_tail_when_due(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    uint64_t later = put_delayed(&k, k.now.wall_ms + 1000, 0);
    assert_int_equal(kit_count(&k, QUEUE_DELAYED), 1);
    kit_idle(&k);
    uint64_t other = kit_put(&k);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 1000);
    kit_pass_ms(&k, 1000);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.fate, QUEUE_UNCHANGED);
    assert_int_equal(k.change.state, QUEUE_READY);
    assert_int_equal(kit_next(&k), other);
    assert_int_equal(kit_next(&k), later);
    assert_false(k.got.redelivered);
    kit_end(&k);
}

static void a_time_that_has_passed_delays_nothing(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)put_delayed(&k, k.now.wall_ms, 0);
    (void)put_delayed(&k, k.now.steady_ms - 1, MESSAGE_DELIVER_RELATIVE);
    assert_int_equal(kit_count(&k, QUEUE_READY), 2);
    kit_end(&k);
}

static void a_clock_jump_moves_absolute_times_and_not_relative_ones(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t relative = put_delayed(&k, k.now.steady_ms + 90000, MESSAGE_DELIVER_RELATIVE);
    uint64_t absolute = put_delayed(&k, k.now.wall_ms + 90000, 0);
    jump(&k, 90000);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, absolute);
    assert_false(kit_tick(&k));
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 90000);
    kit_pass_ms(&k, 90000);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, relative);
    kit_end(&k);
}

static void a_held_message_that_becomes_due_stays_held(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    struct message_parts parts = kit_parts(&k);
    parts.deliver_at = k.now.wall_ms + 10;
    uint32_t entry = kit_enter(&k, &parts, QUEUE_HOLD);
    kit_pass_ms(&k, 10);
    assert_true(kit_tick(&k));
    kit_idle(&k);
    assert_int_equal(queue_unhold(k.q, entry, parts.id), SL_OK);
    assert_int_equal(kit_next(&k), parts.id);
    kit_end(&k);
}

static void a_delayed_message_may_be_unheld_before_it_is_due(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    struct message_parts parts = kit_parts(&k);
    parts.deliver_at = k.now.wall_ms + 10;
    uint32_t entry = kit_enter(&k, &parts, QUEUE_HOLD);
    assert_int_equal(queue_unhold(k.q, entry, parts.id), SL_OK);
    kit_idle(&k);
    kit_pass_ms(&k, 10);
    assert_true(kit_tick(&k));
    assert_int_equal(kit_next(&k), parts.id);
    kit_end(&k);
}

static void a_time_beyond_all_clocks_is_never_due(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)put_delayed(&k, UINT64_MAX, 0);
    (void)put_delayed(&k, UINT64_MAX, MESSAGE_DELIVER_RELATIVE);
    assert_true(queue_deadline(k.q) > UINT64_MAX / 2);
    assert_false(kit_tick(&k));
    kit_end(&k);
}

/* ---- expiry ---- */

static void an_expired_message_is_not_delivered(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t expired = put_expiring(&k, k.now.wall_ms + 1000, 0);
    uint64_t other = kit_put(&k);
    kit_pass_ms(&k, 1000);
    (void)kit_consumer(&k, 64, 8);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(k.change.id, expired);
    assert_int_equal(k.change.fate, QUEUE_GONE);
    assert_int_equal(k.change.exit, QUEUE_EXIT_EXPIRED);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_EXPIRED);
    assert_int_equal(kit_next(&k), other);
    assert_int_equal(queue_counters(k.q)->expired, 1);
    kit_end(&k);
}

static void a_leased_message_does_not_expire(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    (void)put_expiring(&k, k.now.wall_ms + 1000, 0);
    (void)kit_next(&k);
    kit_pass_ms(&k, 2000);
    assert_false(kit_tick(&k));
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(k.change.exit, QUEUE_EXIT_ACK);
    kit_end(&k);
}

static void relative_expiry_does_not_follow_a_clock_jump(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t relative = put_expiring(&k, k.now.steady_ms + 90000, MESSAGE_EXPIRES_RELATIVE);
    uint64_t absolute = put_expiring(&k, k.now.wall_ms + 90000, 0);
    jump(&k, 90000);
    (void)kit_consumer(&k, 64, 8);
    assert_int_equal(kit_next(&k), relative);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(k.change.id, absolute);
    kit_end(&k);
}

static void the_queue_has_a_ttl_of_its_own(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.ttl_ms = 1000;
    struct kit k = kit_with(&cfg);
    (void)kit_put(&k);
    (void)put_expiring(&k, k.now.wall_ms + 500, 0);
    (void)put_expiring(&k, k.now.wall_ms + 5000, 0);
    kit_pass_ms(&k, 999);
    (void)kit_consumer(&k, 1, 1);
    assert_int_equal(kit_next(&k), 1);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(k.change.id, 2);
    kit_pass_ms(&k, 1);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(k.change.id, 3);
    kit_end(&k);
}

/* ---- dead letters ---- */

static void dead_letters_leave_after_their_time(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.dead_ttl_ms = 1000;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 8);
    for (int i = 0; i < 2; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
        kit_answer(&k, k.got.lease, QUEUE_KILL);
        kit_pass_ms(&k, 100);
    }
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 800);
    kit_pass_ms(&k, 800);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, 1);
    assert_int_equal(k.change.exit, QUEUE_EXIT_DEAD_EXPIRED);
    assert_false(kit_tick(&k));
    assert_int_equal(kit_count(&k, QUEUE_DEAD), 1);
    kit_end(&k);
}

static void a_queue_with_nothing_to_wait_for_has_no_deadline(void **state)
{
    (void)state;
    struct kit k = kit_new();
    assert_true(queue_deadline(k.q) == UINT64_MAX);
    (void)kit_put(&k);
    assert_true(queue_deadline(k.q) == UINT64_MAX);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delayed_message_joins_the_tail_when_due),
        cmocka_unit_test(a_time_that_has_passed_delays_nothing),
        cmocka_unit_test(a_clock_jump_moves_absolute_times_and_not_relative_ones),
        cmocka_unit_test(a_held_message_that_becomes_due_stays_held),
        cmocka_unit_test(a_delayed_message_may_be_unheld_before_it_is_due),
        cmocka_unit_test(a_time_beyond_all_clocks_is_never_due),
        cmocka_unit_test(an_expired_message_is_not_delivered),
        cmocka_unit_test(a_leased_message_does_not_expire),
        cmocka_unit_test(relative_expiry_does_not_follow_a_clock_jump),
        cmocka_unit_test(the_queue_has_a_ttl_of_its_own),
        cmocka_unit_test(dead_letters_leave_after_their_time),
        cmocka_unit_test(a_queue_with_nothing_to_wait_for_has_no_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
