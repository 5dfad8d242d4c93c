/* What the answers do: ack, retry, release, dead; stale ones. */
#include "queue_kit.h"

static void an_ack_ends_the_message(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    assert_int_equal(k.change.fate, QUEUE_GONE);
    assert_int_equal(k.change.exit, QUEUE_EXIT_ACK);
    assert_int_equal(k.change.id, 1);
    struct queue_depth d;
    queue_depth(k.q, &d);
    assert_int_equal(d.bytes, 0);
    assert_int_equal(queue_counters(k.q)->acked, 1);
    kit_end(&k);
}

static void a_repeated_answer_changes_nothing(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 2);
    (void)kit_put(&k);
    (void)kit_next(&k);
    uint64_t lease = k.got.lease;
    kit_answer(&k, lease, QUEUE_ACK);
    (void)kit_put(&k); /* the same slot serves another message */
    (void)kit_next(&k);
    struct queue_answer ack = {.verb = QUEUE_ACK};
    assert_int_equal(kit_answer_with(&k, lease, &ack), SL_ESTATE);
    assert_int_equal(kit_count(&k, QUEUE_LEASED), 1);
    assert_int_equal(queue_extend(k.q, lease, 1000, &k.now), SL_ESTATE);
    kit_end(&k);
}

static void an_id_that_was_never_given_is_stale(void **state)
{
    (void)state;
    static const uint64_t ids[] = {0, 1, 77, 1 << 24, (1 << 24) + 2, UINT64_MAX};
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 1);
    struct queue_answer ack = {.verb = QUEUE_ACK};
    for (size_t i = 0; i < SL_COUNT(ids); i++)
        assert_int_equal(kit_answer_with(&k, ids[i], &ack), SL_ESTATE);
    (void)kit_put(&k);
    (void)kit_next(&k);
    for (size_t i = 0; i < SL_COUNT(ids); i++)
        assert_int_equal(kit_answer_with(&k, ids[i], &ack), SL_ESTATE);
    kit_end(&k);
}

/* ---- retry ---- */

static void a_retry_waits_longer_each_time_and_at_most_the_maximum(void **state)
{
    (void)state;
    static const uint64_t waits[] = {1000, 2000, 4000, 5000, 5000};
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 10;
    cfg.retry_max_ms = 5000;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    for (uint32_t i = 0; i < SL_COUNT(waits); i++) {
        assert_int_equal(kit_next(&k), 1);
        assert_int_equal(k.got.attempt, i + 1);
        kit_answer(&k, k.got.lease, QUEUE_RETRY);
        assert_int_equal(k.change.fate, QUEUE_MOVED);
        assert_int_equal(k.change.state, QUEUE_DELAYED);
        assert_int_equal(k.change.attempts, i + 1);
        assert_int_equal(k.change.cause, QUEUE_CAUSE_RETRY);
        assert_int_equal(k.change.due_steady_ms, k.now.steady_ms + waits[i]);
        assert_int_equal(queue_deadline(k.q), k.now.mono_ms + waits[i]);
        kit_pass_ms(&k, waits[i] - 1);
        assert_false(kit_tick(&k));
        kit_pass_ms(&k, 1);
        assert_true(kit_tick(&k));
        assert_int_equal(k.change.fate, QUEUE_UNCHANGED);
    }
    kit_end(&k);
}

static void jitter_stays_in_its_range_and_varies(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.retry_jitter = 0.2;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 1);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 200; i++) {
        (void)kit_put_priority(&k, 9);
        (void)kit_next(&k);
        kit_answer(&k, k.got.lease, QUEUE_RETRY);
        uint64_t wait = k.change.due_steady_ms - k.now.steady_ms;
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(least >= 800 && least < 850);
    assert_true(most <= 1200 && most > 1150);
    kit_end(&k);
}

static void the_largest_backoff_does_not_overflow(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = UINT32_MAX;
    cfg.retry_initial_ms = UINT64_MAX;
    cfg.retry_max_ms = UINT64_MAX;
    cfg.retry_factor = 1e300;
    cfg.retry_jitter = 1;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 1);
    for (int i = 0; i < 20; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
        kit_answer(&k, k.got.lease, QUEUE_RETRY);
        assert_true(k.change.due_steady_ms >= k.now.steady_ms);
    }
    (void)kit_put(&k);
    (void)kit_next(&k);
    struct queue_answer far = {.verb = QUEUE_RETRY, .has_delay = true, .delay_ms = UINT64_MAX};
    assert_int_equal(kit_answer_with(&k, k.got.lease, &far), SL_OK);
    assert_true(k.change.due_steady_ms == UINT64_MAX);
    kit_end(&k);
}

static void a_retry_may_name_its_own_delay(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    struct queue_answer a = {.verb = QUEUE_RETRY, .has_delay = true, .delay_ms = 3600000};
    assert_int_equal(kit_answer_with(&k, k.got.lease, &a), SL_OK);
    assert_int_equal(k.change.due_steady_ms, k.now.steady_ms + 3600000);
    kit_end(&k);
}

/* ---- dead ---- */

static void the_last_failure_makes_a_dead_letter(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 3;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    kit_fail_attempts(&k, 2);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_RETRY);
    assert_int_equal(k.change.fate, QUEUE_MOVED);
    assert_int_equal(k.change.state, QUEUE_DEAD);
    assert_int_equal(k.change.attempts, 3);
    assert_int_equal(k.change.due_steady_ms, k.now.steady_ms);
    assert_int_equal(queue_counters(k.q)->dead, 1);
    kit_idle(&k);
    uint32_t entry = 0;
    assert_true(queue_dead_next(k.q, &entry, &k.change));
    assert_int_equal(k.change.id, 1);
    assert_non_null(k.change.msg);
    kit_end(&k);
}

static void poison_is_dead_at_once(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_KILL);
    assert_int_equal(k.change.state, QUEUE_DEAD);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_REJECTED);
    assert_int_equal(k.change.attempts, 1);
    kit_end(&k);
}

static void dead_letters_over_their_cap_lose_the_oldest(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.dead_max_messages = 2;
    struct kit k = kit_with(&cfg);
    (void)kit_consumer(&k, 64, 1);
    for (int i = 0; i < 3; i++) {
        assert_false(queue_trim_dead(k.q, &k.change));
        (void)kit_put(&k);
        (void)kit_next(&k);
        kit_answer(&k, k.got.lease, QUEUE_KILL);
    }
    assert_true(queue_trim_dead(k.q, &k.change));
    assert_int_equal(k.change.id, 1);
    assert_int_equal(k.change.exit, QUEUE_EXIT_DEAD_DROPPED);
    message_unref(k.change.msg);
    assert_false(queue_trim_dead(k.q, &k.change));
    assert_int_equal(queue_counters(k.q)->dead_dropped, 1);
    kit_end(&k);
}

/* ---- release ---- */

static void a_release_is_not_charged_and_waits_longer_each_time(void **state)
{
    (void)state;
    static const uint64_t waits[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    for (uint32_t i = 0; i < SL_COUNT(waits); i++) {
        assert_int_equal(kit_next(&k), 1);
        assert_int_equal(k.got.attempt, 1);
        assert_true(k.got.redelivered == (i > 0));
        kit_answer(&k, k.got.lease, QUEUE_RELEASE);
        assert_int_equal(k.change.fate, QUEUE_UNCHANGED);
        assert_int_equal(k.change.attempts, 0);
        assert_int_equal(k.change.due_steady_ms, k.now.steady_ms + waits[i]);
        kit_pass_ms(&k, waits[i]);
        kit_tick_all(&k);
    }
    assert_int_equal(queue_counters(k.q)->released, SL_COUNT(waits));
    kit_fail_attempts(&k, 1);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    assert_int_equal(k.change.due_steady_ms, k.now.steady_ms + 100); /* a row of its own */
    kit_end(&k);
}

static void a_released_message_goes_to_another_consumer_while_that_has_credit(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t refuses = kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    (void)kit_next(&k);
    uint32_t other = kit_consumer(&k, 1, 1);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    kit_pass_ms(&k, 100);
    kit_tick_all(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(k.got.consumer, other);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    (void)kit_put(&k);
    kit_pass_ms(&k, 5000);
    assert_int_equal(kit_next(&k), 2);
    assert_int_equal(k.got.consumer, refuses);
    kit_end(&k);
}

static void a_released_message_goes_back_when_nobody_else_has_credit(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t only = kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    kit_pass_ms(&k, 100);
    kit_tick_all(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(k.got.consumer, only);
    kit_end(&k);
}

static void a_released_last_attempt_goes_to_another_idle_consumer(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    uint32_t refuses = kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    kit_fail_attempts(&k, 1);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(k.got.consumer, refuses);
    uint32_t other = kit_consumer(&k, 64, 8);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    kit_pass_ms(&k, 100);
    kit_tick_all(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(k.got.consumer, other);
    assert_true(k.got.last);
    kit_end(&k);
}

static void every_cause_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(queue_cause_name(QUEUE_CAUSE_NONE), "none");
    assert_string_equal(queue_cause_name(QUEUE_CAUSE_TIMEOUT), "timeout");
    assert_string_equal(queue_cause_name(QUEUE_CAUSE_WORKER_KILLED), "worker_killed");
    assert_string_equal(queue_cause_name((enum queue_cause)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ack_ends_the_message),
        cmocka_unit_test(a_repeated_answer_changes_nothing),
        cmocka_unit_test(an_id_that_was_never_given_is_stale),
        cmocka_unit_test(a_retry_waits_longer_each_time_and_at_most_the_maximum),
        cmocka_unit_test(jitter_stays_in_its_range_and_varies),
        cmocka_unit_test(the_largest_backoff_does_not_overflow),
        cmocka_unit_test(a_retry_may_name_its_own_delay),
        cmocka_unit_test(the_last_failure_makes_a_dead_letter),
        cmocka_unit_test(poison_is_dead_at_once),
        cmocka_unit_test(dead_letters_over_their_cap_lose_the_oldest),
        cmocka_unit_test(a_release_is_not_charged_and_waits_longer_each_time),
        cmocka_unit_test(a_released_message_goes_to_another_consumer_while_that_has_credit),
        cmocka_unit_test(a_released_message_goes_back_when_nobody_else_has_credit),
        cmocka_unit_test(a_released_last_attempt_goes_to_another_idle_consumer),
        cmocka_unit_test(every_cause_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
