/* Batches and rates: who could take a message and must wait. */
#include "queue_kit.h"

static uint32_t batching(struct kit *k, uint32_t max, uint64_t wait_ms, uint64_t limit_ms)
{
    struct queue_consumer_config cfg = {
        .prefetch = 64, .concurrency = 1, .time_limit_ms = limit_ms, .batch_max = max, .batch_wait_ms = wait_ms, .arg = k};
    uint32_t slot = queue_consumer_add(k->q, &cfg);
    queue_check(k->q);
    return slot;
}

static void put_many(struct kit *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        (void)kit_put(k);
}

/* One round of dispatch, as the hub makes it. */
static uint32_t take_all(struct kit *k, uint64_t *leases)
{
    uint32_t n = 0;
    while (kit_step(k) == QUEUE_DELIVER)
        leases[n++] = k->got.lease;
    queue_batch_end(k->q);
    queue_check(k->q);
    return n;
}

static uint32_t overdue(struct kit *k)
{
    uint32_t slot;
    void *arg;
    return queue_overdue(k->q, &k->now, &slot, &arg) ? slot : 0;
}

/* ---- batches ---- */

static void a_batch_waits_until_it_is_full(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    (void)batching(&k, 3, 1000, 0);
    put_many(&k, 2);
    assert_int_equal(take_all(&k, leases), 0);
    put_many(&k, 1);
    assert_int_equal(take_all(&k, leases), 3);
    assert_true(k.got.in_batch);
    kit_end(&k);
}

static void a_batch_that_does_not_fill_goes_when_its_wait_is_over(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    (void)batching(&k, 10, 200, 0);
    put_many(&k, 1);
    assert_int_equal(take_all(&k, leases), 0);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 200);
    kit_pass_ms(&k, 150);
    put_many(&k, 1); /* it does not begin anew */
    assert_int_equal(take_all(&k, leases), 0);
    kit_pass_ms(&k, 49);
    assert_int_equal(take_all(&k, leases), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(overdue(&k), 0);
    assert_true(queue_deadline(k.q) == UINT64_MAX);
    assert_int_equal(take_all(&k, leases), 2);
    kit_end(&k);
}

static void the_next_batch_comes_when_all_of_one_is_answered(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16], more[16];
    (void)batching(&k, 2, 0, 0);
    put_many(&k, 5);
    assert_int_equal(take_all(&k, leases), 2);
    kit_answer(&k, leases[0], QUEUE_ACK);
    assert_int_equal(take_all(&k, more), 0);
    kit_answer(&k, leases[1], QUEUE_ACK);
    assert_int_equal(take_all(&k, leases), 2);
    kit_answer(&k, leases[0], QUEUE_ACK);
    kit_answer(&k, leases[1], QUEUE_ACK);
    assert_int_equal(take_all(&k, leases), 1);
    kit_end(&k);
}

static void what_comes_after_a_batch_went_out_waits_for_the_next(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 5, 0, 0);
    put_many(&k, 2);
    assert_int_equal(take_all(&k, leases), 2);
    put_many(&k, 1);
    assert_int_equal(take_all(&k, leases), 0);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 2);
    kit_end(&k);
}

static void several_consumers_each_get_a_whole_batch(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t a = batching(&k, 3, 100, 0), b = batching(&k, 3, 100, 0);
    put_many(&k, 7);
    uint32_t turns[6];
    for (uint32_t i = 0; i < 6; i++) {
        (void)kit_next(&k);
        turns[i] = k.got.consumer;
    }
    assert_true(turns[0] == turns[1] && turns[1] == turns[2]);
    assert_true(turns[3] == turns[4] && turns[4] == turns[5]);
    assert_true(turns[0] != turns[3] && turns[0] + turns[3] == a + b);
    kit_idle(&k); /* one is left */
    queue_batch_end(k.q);
    kit_end(&k);
}

static void other_consumers_need_not_wait_for_a_batch(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)batching(&k, 10, 1000, 0);
    uint32_t other = kit_consumer(&k, 1, 1);
    put_many(&k, 1);
    (void)kit_next(&k);
    assert_int_equal(k.got.consumer, other);
    assert_false(k.got.in_batch);
    kit_end(&k);
}

static void all_of_a_batch_has_one_clock_and_is_charged_together(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 3, 0, 100);
    put_many(&k, 3);
    assert_int_equal(take_all(&k, leases), 3);
    kit_pass_ms(&k, 60);
    kit_answer(&k, leases[0], QUEUE_ACK);
    kit_pass_ms(&k, 39);
    assert_int_equal(overdue(&k), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(overdue(&k), c);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.timeout = true}), 2);
    assert_int_equal(queue_counters(k.q)->timed_out, 2);
    kit_end(&k);
}

static void extending_one_extends_the_batch(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 3, 0, 100);
    put_many(&k, 3);
    assert_int_equal(take_all(&k, leases), 3);
    assert_int_equal(queue_extend(k.q, leases[1], 500, &k.now), SL_OK);
    kit_pass_ms(&k, 499);
    assert_int_equal(overdue(&k), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(overdue(&k), c);
    (void)kit_lose(&k, c, &(struct queue_loss){.timeout = true});
    kit_end(&k);
}

static void a_batch_that_killed_its_worker_comes_again_one_by_one(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 3, 0, 0);
    put_many(&k, 3);
    assert_int_equal(take_all(&k, leases), 3);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.cause = QUEUE_CAUSE_SIGNAL}), 3);
    kit_pass_ms(&k, 5000);
    kit_tick_all(&k);
    put_many(&k, 4); /* nothing of these joins them */
    (void)batching(&k, 3, 60000, 0);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(take_all(&k, leases), 1);
        assert_int_equal(message_id(k.got.msg), id);
        assert_int_equal(k.got.attempt, 2);
        assert_false(k.got.in_batch);
        kit_answer(&k, leases[0], QUEUE_ACK);
    }
    assert_int_equal(take_all(&k, leases), 3);
    kit_end(&k);
}

static void what_must_go_alone_ends_the_batch_before_it(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 2, 0, 0);
    put_many(&k, 2);
    assert_int_equal(take_all(&k, leases), 2);
    kit_answer(&k, leases[0], QUEUE_RELEASE); /* comes back before the other does */
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.cause = QUEUE_CAUSE_EXIT}), 1);
    kit_pass_ms(&k, 5000);
    kit_tick_all(&k);
    put_many(&k, 2);
    c = batching(&k, 4, 0, 0);
    uint32_t other = batching(&k, 4, 0, 0);
    assert_int_equal(take_all(&k, leases), 2);
    assert_int_equal(queue_consumer_unanswered(k.q, c) + queue_consumer_unanswered(k.q, other), 2);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 1);
    kit_answer(&k, leases[0], QUEUE_ACK);
    kit_answer(&k, leases[1], QUEUE_ACK);
    assert_int_equal(take_all(&k, leases), 2);
    kit_end(&k);
}

/* Whoever got the batch was told then that it was whole. */
static void a_last_attempt_that_goes_to_another_ends_the_batch_before_it(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    uint64_t leases[16];
    uint32_t before = kit_consumer(&k, 2, 2);
    put_many(&k, 2);
    assert_int_equal(take_all(&k, leases), 2);
    kit_answer(&k, leases[1], QUEUE_RETRY);
    assert_int_equal(kit_lose(&k, before, &(struct queue_loss){.charge_none = true}), 1);
    kit_pass_ms(&k, 5000);
    kit_tick_all(&k);
    put_many(&k, 1);
    uint32_t c = batching(&k, 3, 0, 0), other = kit_consumer(&k, 1, 1);
    (void)kit_next(&k);
    assert_int_equal(k.got.consumer, c);
    assert_true(k.got.in_batch);
    (void)kit_next(&k);
    assert_int_equal(k.got.consumer, other);
    assert_true(k.got.last);
    kit_idle(&k);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 1);
    kit_end(&k);
}

static void a_paused_consumer_holds_up_no_batch(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[16];
    uint32_t c = batching(&k, 2, 0, 0);
    queue_consumer_pause(k.q, c, true);
    put_many(&k, 2);
    assert_int_equal(take_all(&k, leases), 0);
    assert_true(queue_deadline(k.q) == UINT64_MAX);
    queue_consumer_pause(k.q, c, false);
    assert_int_equal(take_all(&k, leases), 2);
    kit_end(&k);
}

/* ---- rates ---- */

static uint32_t slowed(struct kit *k, uint32_t limit)
{
    struct queue_consumer_config cfg = {.prefetch = 1000, .concurrency = 1000, .limit = limit};
    return queue_consumer_add(k->q, &cfg);
}

static uint32_t deliver_all(struct kit *k)
{
    uint32_t n = 0;
    while (kit_step(k) == QUEUE_DELIVER)
        n++;
    return n;
}

static void a_rate_is_kept_by_all_its_consumers_together(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t limit = queue_limit_add(k.q, 100);
    (void)slowed(&k, limit);
    (void)slowed(&k, limit);
    put_many(&k, 200);
    uint32_t n = deliver_all(&k);
    assert_int_equal(n, 10); /* 100 ms of it at once */
    for (uint32_t i = 0; i < 100; i++) {
        kit_pass_ms(&k, 10);
        n += deliver_all(&k);
    }
    assert_int_equal(n, 110);
    kit_end(&k);
}

static void a_slow_rate_lets_one_go_and_tells_when_the_next_may(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)slowed(&k, queue_limit_add(k.q, 2));
    put_many(&k, 3);
    assert_int_equal(deliver_all(&k), 1);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 500);
    kit_pass_ms(&k, 499);
    assert_int_equal(deliver_all(&k), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(deliver_all(&k), 1);
    kit_end(&k);
}

static void time_without_messages_is_not_saved_up(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)slowed(&k, queue_limit_add(k.q, 10));
    kit_pass_ms(&k, 60000);
    put_many(&k, 5);
    assert_int_equal(deliver_all(&k), 1);
    kit_end(&k);
}

static void a_rate_slows_nobody_else_and_may_change(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t limit = queue_limit_add(k.q, 1);
    uint32_t slow = slowed(&k, limit);
    put_many(&k, 3);
    assert_int_equal(deliver_all(&k), 1);
    uint32_t free = kit_consumer(&k, 1, 1);
    assert_int_equal(deliver_all(&k), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, free), 1);
    queue_limit_set(k.q, limit, 0);
    assert_int_equal(deliver_all(&k), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, slow), 2);
    kit_end(&k);
}

static void the_last_attempt_keeps_the_rate(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    (void)slowed(&k, queue_limit_add(k.q, 1));
    put_many(&k, 1);
    kit_fail_attempts(&k, 1);
    kit_idle(&k);
    kit_pass_ms(&k, 1000);
    (void)kit_next(&k);
    kit_end(&k);
}

/* ---- pressure ---- */

static void pressure_tells_how_much_waits_and_how_long(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_pressure p;
    queue_pressure(k.q, &k.now, &p);
    assert_true(p.ready == 0 && p.oldest_ms == 0);
    put_many(&k, 2);
    kit_pass_ms(&k, 300);
    put_many(&k, 1);
    queue_pressure(k.q, &k.now, &p);
    assert_true(p.ready == 3 && p.oldest_ms == 300);
    (void)kit_consumer(&k, 64, 2);
    (void)kit_next(&k);
    (void)kit_next(&k);
    queue_pressure(k.q, &k.now, &p);
    assert_true(p.ready == 1 && p.oldest_ms == 0);
    kit_end(&k);
}

static void a_retry_is_not_old_the_moment_it_is_due(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_pressure p;
    uint32_t c = kit_consumer(&k, 1, 1);
    put_many(&k, 1);
    (void)kit_next(&k);
    kit_pass_ms(&k, 1000);
    kit_answer(&k, k.got.lease, QUEUE_RETRY);
    kit_pass_ms(&k, 60000);
    queue_consumer_pause(k.q, c, true);
    kit_tick_all(&k);
    kit_pass_ms(&k, 7);
    queue_pressure(k.q, &k.now, &p);
    assert_true(p.ready == 1 && p.oldest_ms == 7);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_waits_until_it_is_full),
        cmocka_unit_test(a_batch_that_does_not_fill_goes_when_its_wait_is_over),
        cmocka_unit_test(the_next_batch_comes_when_all_of_one_is_answered),
        cmocka_unit_test(what_comes_after_a_batch_went_out_waits_for_the_next),
        cmocka_unit_test(several_consumers_each_get_a_whole_batch),
        cmocka_unit_test(other_consumers_need_not_wait_for_a_batch),
        cmocka_unit_test(all_of_a_batch_has_one_clock_and_is_charged_together),
        cmocka_unit_test(extending_one_extends_the_batch),
        cmocka_unit_test(a_batch_that_killed_its_worker_comes_again_one_by_one),
        cmocka_unit_test(what_must_go_alone_ends_the_batch_before_it),
        cmocka_unit_test(a_last_attempt_that_goes_to_another_ends_the_batch_before_it),
        cmocka_unit_test(a_paused_consumer_holds_up_no_batch),
        cmocka_unit_test(a_rate_is_kept_by_all_its_consumers_together),
        cmocka_unit_test(a_slow_rate_lets_one_go_and_tells_when_the_next_may),
        cmocka_unit_test(time_without_messages_is_not_saved_up),
        cmocka_unit_test(a_rate_slows_nobody_else_and_may_change),
        cmocka_unit_test(the_last_attempt_keeps_the_rate),
        cmocka_unit_test(pressure_tells_how_much_waits_and_how_long),
        cmocka_unit_test(a_retry_is_not_old_the_moment_it_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
