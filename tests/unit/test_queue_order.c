/* Which message goes next, and to whom. */
#include "queue_kit.h"

/* ---- messages ---- */

static void new_messages_go_in_the_order_of_their_arrival(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    for (uint64_t id = 1; id <= 5; id++)
        (void)kit_put(&k);
    for (uint64_t id = 1; id <= 5; id++)
        assert_int_equal(kit_next(&k), id);
    kit_idle(&k);
    kit_end(&k);
}

static void higher_priority_goes_first(void **state)
{
    (void)state;
    static const uint8_t priorities[] = {4, 0, 9, 4, 8};
    static const uint64_t order[] = {3, 5, 1, 4, 2};
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    for (size_t i = 0; i < SL_COUNT(priorities); i++)
        (void)kit_put_priority(&k, priorities[i]);
    for (size_t i = 0; i < SL_COUNT(order); i++)
        assert_int_equal(kit_next(&k), order[i]);
    kit_end(&k);
}

static void what_came_back_goes_before_newer_ones_of_its_priority(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 2);
    (void)kit_put_priority(&k, 4);
    (void)kit_put_priority(&k, 4);
    assert_int_equal(kit_next(&k), 1);
    uint64_t first = k.got.lease;
    assert_int_equal(kit_next(&k), 2);
    uint64_t second = k.got.lease;
    (void)kit_put_priority(&k, 4);
    (void)kit_put_priority(&k, 5);
    struct queue_answer retry = {.verb = QUEUE_RETRY, .has_delay = true};
    assert_int_equal(kit_answer_with(&k, second, &retry), SL_OK);
    assert_int_equal(kit_answer_with(&k, first, &retry), SL_OK);
    kit_tick_all(&k);
    assert_int_equal(kit_next(&k), 4);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(kit_next(&k), 2);
    assert_int_equal(kit_next(&k), 3);
    kit_end(&k);
}

static void a_held_message_waits_for_its_commit(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    struct message_parts parts = kit_parts(&k);
    uint32_t entry = kit_enter(&k, &parts, QUEUE_HOLD);
    kit_idle(&k);
    assert_int_equal(kit_count(&k, QUEUE_READY), 1);
    assert_int_equal(queue_unhold(k.q, entry, parts.id), SL_OK);
    assert_int_equal(kit_next(&k), parts.id);
    assert_false(k.got.redelivered);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(queue_unhold(k.q, entry, parts.id), SL_ENOENT);
    kit_end(&k);
}

static void an_unheld_message_goes_before_younger_ones(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct message_parts parts = kit_parts(&k);
    uint32_t entry = kit_enter(&k, &parts, QUEUE_HOLD);
    (void)kit_put(&k);
    assert_int_equal(queue_unhold(k.q, entry, parts.id), SL_OK);
    (void)kit_consumer(&k, 64, 8);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(kit_next(&k), 2);
    kit_end(&k);
}

/* ---- consumers ---- */

static void every_consumer_is_filled_to_its_concurrency_first(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t wide = kit_measured_consumer(&k, 2);
    uint32_t narrow = kit_measured_consumer(&k, 1);
    uint32_t got[2] = {0, 0};
    for (int i = 0; i < 12; i++)
        (void)kit_put(&k);
    for (int i = 0; i < 3; i++) {
        (void)kit_next(&k);
        got[k.got.consumer == wide ? 0 : 1]++;
    }
    assert_int_equal(got[0], 2);
    assert_int_equal(got[1], 1);
    (void)kit_next(&k);
    assert_int_equal(k.got.consumer, wide); /* 6 free against 3 */
    assert_int_equal(queue_consumer_unanswered(k.q, narrow), 1);
    kit_end(&k);
}

static void equal_consumers_take_turns(void **state)
{
    (void)state;
    struct kit k = kit_new();
    for (int i = 0; i < 3; i++)
        (void)kit_consumer(&k, 4, 4);
    uint32_t seen[16];
    for (uint32_t i = 0; i < 12; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
        seen[i] = k.got.consumer;
    }
    for (uint32_t i = 3; i < 12; i++)
        assert_int_equal(seen[i], seen[i - 3]);
    assert_true(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
    kit_end(&k);
}

static void prefetch_is_never_passed(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 3, 8);
    for (int i = 0; i < 5; i++)
        (void)kit_put(&k);
    for (int i = 0; i < 3; i++)
        (void)kit_next(&k);
    kit_idle(&k);
    kit_end(&k);
}

static void a_stopped_consumer_gets_nothing_and_may_still_answer(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t c = kit_measured_consumer(&k, 1);
    (void)kit_put(&k);
    (void)kit_put(&k);
    (void)kit_next(&k);
    queue_consumer_stop(k.q, c);
    kit_idle(&k);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    kit_idle(&k);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 0);
    kit_end(&k);
}

static void with_many_consumers_each_step_still_finds_one(void **state)
{
    (void)state;
    struct kit k = kit_new();
    for (int i = 0; i < 200; i++)
        (void)kit_consumer(&k, 1, 1);
    for (int i = 0; i < 200; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
    }
    (void)kit_put(&k);
    kit_idle(&k);
    kit_end(&k);
}

/* ---- the last attempt ---- */

static struct kit kit_of_two_attempts(void)
{
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    return kit_with(&cfg);
}

static void the_last_attempt_is_alone_in_its_consumer(void **state)
{
    (void)state;
    struct kit k = kit_of_two_attempts();
    uint32_t c = kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    kit_fail_attempts(&k, 1);
    (void)kit_put(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_true(k.got.last && k.got.redelivered);
    assert_int_equal(k.got.attempt, 2);
    uint64_t lease = k.got.lease;
    kit_idle(&k);
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(kit_next(&k), 2);
    assert_int_equal(k.got.consumer, c);
    assert_false(k.got.last);
    kit_end(&k);
}

static void a_first_attempt_that_is_the_last_is_not_alone(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 1;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    (void)kit_put(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_true(k.got.last);
    assert_int_equal(kit_next(&k), 2);
    kit_end(&k);
}

/* Two busy consumers: one is kept free of new work until it is idle, the other goes on. */
static void one_consumer_is_reserved_for_a_last_attempt_and_the_others_go_on(void **state)
{
    (void)state;
    struct kit k = kit_of_two_attempts();
    uint32_t a = kit_consumer(&k, 64, 2);
    (void)kit_put(&k);
    (void)kit_next(&k);
    struct queue_answer later = {.verb = QUEUE_RETRY, .has_delay = true, .delay_ms = 1000};
    assert_int_equal(kit_answer_with(&k, k.got.lease, &later), SL_OK); /* one attempt is left */
    queue_consumer_stop(k.q, a);
    assert_int_equal(kit_lose(&k, a, &(struct queue_loss){0}), 0);

    uint64_t held[4];
    (void)kit_measured_consumer(&k, 2);
    (void)kit_measured_consumer(&k, 2);
    kit_pass_ms(&k, 1000);
    kit_tick_all(&k); /* 1 is ready */
    assert_int_equal(kit_count(&k, QUEUE_READY), 1);
    for (int i = 0; i < 4; i++) {
        (void)kit_put_priority(&k, 9); /* these go before it */
        (void)kit_next(&k);
        held[i] = k.got.lease;
    }
    for (int i = 0; i < 8; i++)
        (void)kit_put(&k);
    (void)kit_next(&k);
    uint32_t goes_on = k.got.consumer;
    uint32_t served = 1;
    while (kit_step(&k) == QUEUE_DELIVER) {
        assert_int_equal(k.got.consumer, goes_on);
        assert_false(k.got.last);
        served++;
    }
    assert_true(served >= 2);
    for (int i = 0; i < 4; i++)
        kit_answer(&k, held[i], QUEUE_ACK);
    (void)kit_next(&k);
    assert_int_equal(message_id(k.got.msg), 1);
    assert_true(k.got.last && k.got.consumer != goes_on);
    while (kit_step(&k) == QUEUE_DELIVER)
        assert_int_equal(k.got.consumer, goes_on);
    kit_end(&k);
}

/* Else two consumers could feed each other's hope of being idle for ever. */
static void the_reserved_consumer_stays_reserved_until_it_is_idle(void **state)
{
    (void)state;
    struct kit k = kit_of_two_attempts();
    uint32_t lost = kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(kit_lose(&k, lost, &(struct queue_loss){.cause = QUEUE_CAUSE_EXIT}), 1);
    uint32_t a = kit_consumer(&k, 4, 4), b = kit_consumer(&k, 5, 5);
    uint64_t of_b[5];
    uint32_t n_b = 0;
    for (int i = 0; i < 5; i++) {
        (void)kit_put_priority(&k, 9);
        (void)kit_next(&k);
        if (k.got.consumer == b)
            of_b[n_b++] = k.got.lease;
    }
    assert_int_equal(n_b, 3); /* a holds 2 */
    kit_pass_ms(&k, 1000);
    kit_tick_all(&k);
    kit_idle(&k); /* a is reserved */
    for (uint32_t i = 0; i < 2; i++)
        kit_answer(&k, of_b[i], QUEUE_ACK); /* b holds 1 now: fewer than a */
    for (int i = 0; i < 3; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
        assert_int_equal(k.got.consumer, b);
    }
    assert_int_equal(queue_consumer_unanswered(k.q, a), 2);
    kit_end(&k);
}

static void a_reserved_consumer_that_leaves_frees_the_last_attempt_for_another(void **state)
{
    (void)state;
    struct kit k = kit_of_two_attempts();
    uint32_t a = kit_measured_consumer(&k, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    uint64_t failed = k.got.lease;
    (void)kit_put(&k);
    (void)kit_next(&k);
    struct queue_answer retry = {.verb = QUEUE_RETRY, .has_delay = true};
    assert_int_equal(kit_answer_with(&k, failed, &retry), SL_OK);
    kit_tick_all(&k);
    kit_idle(&k); /* the only consumer is reserved */
    uint32_t b = kit_consumer(&k, 64, 1);
    queue_consumer_stop(k.q, a);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(k.got.consumer, b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_messages_go_in_the_order_of_their_arrival),
        cmocka_unit_test(higher_priority_goes_first),
        cmocka_unit_test(what_came_back_goes_before_newer_ones_of_its_priority),
        cmocka_unit_test(a_held_message_waits_for_its_commit),
        cmocka_unit_test(an_unheld_message_goes_before_younger_ones),
        cmocka_unit_test(every_consumer_is_filled_to_its_concurrency_first),
        cmocka_unit_test(equal_consumers_take_turns),
        cmocka_unit_test(prefetch_is_never_passed),
        cmocka_unit_test(a_stopped_consumer_gets_nothing_and_may_still_answer),
        cmocka_unit_test(with_many_consumers_each_step_still_finds_one),
        cmocka_unit_test(the_last_attempt_is_alone_in_its_consumer),
        cmocka_unit_test(a_first_attempt_that_is_the_last_is_not_alone),
        cmocka_unit_test(one_consumer_is_reserved_for_a_last_attempt_and_the_others_go_on),
        cmocka_unit_test(the_reserved_consumer_stays_reserved_until_it_is_idle),
        cmocka_unit_test(a_reserved_consumer_that_leaves_frees_the_last_attempt_for_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
