/* Credit, service time, starts, limits, loss. */
#include "queue_kit.h"

static uint32_t deliver_all(struct kit *k, uint64_t *leases)
{
    uint32_t n = 0;
    while (kit_step(k) == QUEUE_DELIVER)
        leases[n++] = k->got.lease;
    return n;
}

static void put_many(struct kit *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        (void)kit_put(k);
}

/* ---- credit ---- */

static void until_it_is_measured_a_consumer_gets_just_its_concurrency(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_consumer(&k, 64, 3);
    put_many(&k, 64);
    assert_int_equal(deliver_all(&k, leases), 3);
    assert_true(queue_consumer_backlog_us(k.q, c) == UINT64_MAX);
    kit_end(&k);
}

static void a_quick_consumer_gets_a_tenth_of_a_second_of_work(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_consumer(&k, 64, 1);
    put_many(&k, 100);
    assert_int_equal(deliver_all(&k, leases), 1);
    kit_pass_ms(&k, 10);
    kit_answer(&k, leases[0], QUEUE_ACK); /* 10 ms each: 10 are 100 ms */
    assert_int_equal(deliver_all(&k, leases + 1), 10);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 10);
    assert_int_equal(queue_consumer_backlog_us(k.q, c), 100000);
    kit_pass_ms(&k, 10);
    kit_answer(&k, leases[1], QUEUE_ACK); /* what waits in it counts */
    assert_int_equal(deliver_all(&k, leases + 11), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 10);
    kit_end(&k);
}

static void a_slow_consumer_gets_no_more_than_its_concurrency(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_measured_consumer(&k, 2);
    put_many(&k, 20);
    assert_int_equal(deliver_all(&k, leases), 8);
    for (uint32_t i = 0; i < 7; i++) {
        kit_pass_ms(&k, 500);
        kit_answer(&k, leases[i], QUEUE_ACK);
    }
    assert_int_equal(deliver_all(&k, leases), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 2);
    kit_end(&k);
}

static void put_large(struct kit *k, uint32_t n, size_t bytes)
{
    static const uint8_t zeros[2u << 20];
    for (uint32_t i = 0; i < n; i++) {
        struct message_parts parts = kit_parts(k);
        parts.payload = sl_bytes_of(zeros, bytes);
        (void)kit_enter(k, &parts, 0);
    }
}

static void of_large_messages_a_megabyte_waits_in_a_consumer(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_measured_consumer(&k, 2);
    kit_measure(&k, c, 10);
    put_large(&k, 20, 300u << 10);
    assert_int_equal(deliver_all(&k, leases), 4); /* three are less than 1 MiB */
    kit_answer(&k, leases[0], QUEUE_ACK);
    assert_int_equal(deliver_all(&k, leases + 4), 1);
    kit_end(&k);
}

static void however_large_a_consumer_gets_what_it_works_on(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_measured_consumer(&k, 3);
    kit_measure(&k, c, 10);
    put_large(&k, 20, 2u << 20);
    assert_int_equal(deliver_all(&k, leases), 3);
    kit_end(&k);
}

/* 16 answers after 16 ms in one turn are 1 ms each, not 16 ms and fifteen times nothing. */
static void answers_of_one_turn_share_its_time(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = kit_consumer(&k, 16, 4);
    kit_measure(&k, c, 1000);
    put_many(&k, 100);
    assert_int_equal(deliver_all(&k, leases), 16);
    kit_pass_ms(&k, 4);
    for (int i = 0; i < 16; i++)
        kit_answer(&k, leases[i], QUEUE_ACK); /* 4 at a time: 4 × 4 ms / 16 */
    assert_int_equal(deliver_all(&k, leases), 16);
    assert_int_equal(queue_consumer_backlog_us(k.q, c), 16 * 1000 / 4);
    kit_end(&k);
}

static void answers_of_the_first_turn_share_its_time_too(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[8];
    uint32_t c = kit_consumer(&k, 4, 4);
    for (int i = 0; i < 2; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
        leases[i] = k.got.lease;
        kit_pass_ms(&k, 2);
    }
    kit_answer(&k, leases[0], QUEUE_ACK); /* 4 ms */
    kit_answer(&k, leases[1], QUEUE_ACK); /* 2 ms */
    put_many(&k, 4);
    assert_int_equal(deliver_all(&k, leases), 4);
    assert_int_equal(queue_consumer_backlog_us(k.q, c), 4 * 3000 / 4);
    kit_end(&k);
}

/* The first one is counted although nobody asked for a delivery in between. */
static void answers_of_two_turns_are_two_samples(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[8];
    uint32_t c = kit_consumer(&k, 4, 4);
    put_many(&k, 2);
    assert_int_equal(deliver_all(&k, leases), 2);
    kit_pass_ms(&k, 8);
    kit_answer(&k, leases[0], QUEUE_ACK); /* 8 ms */
    kit_pass_ms(&k, 8);
    kit_answer(&k, leases[1], QUEUE_ACK); /* 16 ms, for an eighth */
    put_many(&k, 4);
    assert_int_equal(deliver_all(&k, leases), 4);
    assert_int_equal(queue_consumer_backlog_us(k.q, c), 9000);
    kit_end(&k);
}

static void a_release_says_nothing_about_service_time(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t c = kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_RELEASE);
    assert_true(queue_consumer_backlog_us(k.q, c) == UINT64_MAX);
    kit_end(&k);
}

/* ---- limits ---- */

static bool overdue(struct kit *k, uint32_t *consumer)
{
    void *arg = NULL;
    bool any = queue_overdue(k->q, &k->now, consumer, &arg);
    queue_check(k->q);
    if (any)
        assert_ptr_equal(arg, k);
    return any;
}

static void a_started_delivery_past_its_limit_is_told_once(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t told = 0;
    uint32_t c = kit_limited_consumer(&k, 1, 1000);
    (void)kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 1000);
    kit_pass_ms(&k, 999);
    assert_false(overdue(&k, &told));
    kit_pass_ms(&k, 1);
    assert_true(overdue(&k, &told));
    assert_int_equal(told, c);
    kit_pass_ms(&k, 1000);
    assert_false(overdue(&k, &told));
    (void)kit_put(&k);
    kit_idle(&k); /* it gets nothing more */
    kit_end(&k);
}

static void the_clock_of_a_delivery_runs_from_its_start(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[4];
    uint32_t told = 0;
    (void)kit_measured_limited_consumer(&k, 1, 1000);
    put_many(&k, 2);
    assert_int_equal(deliver_all(&k, leases), 2);
    kit_pass_ms(&k, 900);
    kit_answer(&k, leases[0], QUEUE_ACK); /* the second starts */
    kit_pass_ms(&k, 999);
    assert_false(overdue(&k, &told));
    kit_pass_ms(&k, 1);
    assert_true(overdue(&k, &told));
    kit_end(&k);
}

static void an_idle_consumer_is_never_overdue(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t told = 0;
    (void)kit_limited_consumer(&k, 1, 1000);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    kit_pass_ms(&k, 5000);
    assert_false(overdue(&k, &told));
    assert_true(queue_deadline(k.q) == UINT64_MAX);
    kit_end(&k);
}

static void extend_moves_the_limit(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[4];
    uint32_t told = 0;
    (void)kit_measured_limited_consumer(&k, 1, 1000);
    put_many(&k, 2);
    assert_int_equal(deliver_all(&k, leases), 2);
    assert_int_equal(queue_extend(k.q, leases[0], 5000, &k.now), SL_OK);
    assert_int_equal(queue_extend(k.q, leases[1], 1, &k.now), SL_OK); /* it has not started */
    kit_pass_ms(&k, 4999);
    assert_false(overdue(&k, &told));
    assert_int_equal(queue_extend(k.q, leases[0], 1, &k.now), SL_OK);
    assert_false(overdue(&k, &told));
    kit_pass_ms(&k, 1);
    assert_true(overdue(&k, &told));
    kit_end(&k);
}

static void a_shorter_limit_is_noticed_in_time(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t told = 0;
    (void)kit_limited_consumer(&k, 1, 60000);
    (void)kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(queue_extend(k.q, k.got.lease, 10, &k.now), SL_OK);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 10);
    kit_pass_ms(&k, 10);
    assert_true(overdue(&k, &told));
    kit_end(&k);
}

/* ---- loss ---- */

static void a_crash_charges_what_was_started_and_nothing_else(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[8];
    uint32_t c = kit_measured_consumer(&k, 2);
    put_many(&k, 4);
    assert_int_equal(deliver_all(&k, leases), 4);
    struct queue_loss crash = {.cause = QUEUE_CAUSE_SIGNAL};
    for (uint64_t id = 1; id <= 4; id++) {
        assert_true(queue_consumer_lose(k.q, c, &crash, &k.now, &k.change));
        queue_check(k.q);
        assert_int_equal(k.change.id, id);
        assert_int_equal(k.change.attempts, id <= 2 ? 1 : 0);
        assert_int_equal(k.change.fate, id <= 2 ? QUEUE_MOVED : QUEUE_UNCHANGED);
        assert_int_equal(k.change.state, id <= 2 ? QUEUE_DELAYED : QUEUE_READY);
        assert_int_equal(k.change.cause, id <= 2 ? QUEUE_CAUSE_SIGNAL : QUEUE_CAUSE_NONE);
    }
    assert_false(queue_consumer_lose(k.q, c, &crash, &k.now, &k.change));
    struct queue_answer ack = {.verb = QUEUE_ACK};
    assert_int_equal(kit_answer_with(&k, leases[3], &ack), SL_ESTATE);
    assert_int_equal(queue_counters(k.q)->returned, 2);
    assert_int_equal(queue_counters(k.q)->retried, 2);
    (void)kit_consumer(&k, 64, 2);
    assert_int_equal(kit_next(&k), 3);
    assert_true(k.got.redelivered);
    kit_end(&k);
}

static void a_timeout_charges_only_what_is_past_its_limit(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t c = kit_measured_limited_consumer(&k, 2, 1000);
    put_many(&k, 3);
    (void)kit_next(&k);
    kit_pass_ms(&k, 500);
    (void)kit_next(&k);
    (void)kit_next(&k);
    kit_pass_ms(&k, 500);
    struct queue_loss timeout = {.timeout = true};
    assert_true(queue_consumer_lose(k.q, c, &timeout, &k.now, &k.change));
    assert_int_equal(k.change.attempts, 1);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_TIMEOUT);
    assert_true(queue_consumer_lose(k.q, c, &timeout, &k.now, &k.change));
    assert_int_equal(k.change.attempts, 0);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_WORKER_KILLED);
    assert_true(queue_consumer_lose(k.q, c, &timeout, &k.now, &k.change));
    assert_int_equal(k.change.cause, QUEUE_CAUSE_NONE);
    assert_false(queue_consumer_lose(k.q, c, &timeout, &k.now, &k.change));
    assert_int_equal(queue_counters(k.q)->timed_out, 1);
    kit_end(&k);
}

static void an_orderly_end_charges_nobody(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[8];
    uint32_t c = kit_measured_consumer(&k, 2);
    put_many(&k, 3);
    assert_int_equal(deliver_all(&k, leases), 3);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.charge_none = true}), 3);
    assert_int_equal(kit_count(&k, QUEUE_READY), 3);
    (void)kit_consumer(&k, 64, 8);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(kit_next(&k), id);
        assert_int_equal(k.got.attempt, 1);
    }
    kit_end(&k);
}

static void a_freed_slot_is_used_again(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t a = kit_consumer(&k, 64, 1);
    assert_true(a != 0);
    assert_int_equal(kit_lose(&k, a, &(struct queue_loss){0}), 0);
    uint32_t b = kit_consumer(&k, 64, 1);
    assert_int_equal(a, b);
    (void)kit_put(&k);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(kit_lose(&k, b, &(struct queue_loss){.cause = QUEUE_CAUSE_EXIT}), 1);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_EXIT);
    kit_end(&k);
}

/* ---- consumers elsewhere ---- */

static uint32_t fixed_consumer(struct kit *k, uint32_t prefetch, uint64_t limit_ms)
{
    struct queue_consumer_config c = {.prefetch = prefetch, .concurrency = 1, .fixed_credit = true, .time_limit_ms = limit_ms};
    return queue_consumer_add(k->q, &c);
}

static void a_fixed_credit_is_all_there_from_the_start(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = fixed_consumer(&k, 10, 0);
    put_many(&k, 30);
    assert_int_equal(deliver_all(&k, leases), 10);
    kit_pass_ms(&k, 5000); /* a slow one keeps it */
    kit_answer(&k, leases[0], QUEUE_ACK);
    assert_int_equal(deliver_all(&k, leases), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 10);
    kit_end(&k);
}

static void a_fixed_credit_does_not_end_at_a_megabyte(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    static uint8_t large[600 * 1024];
    uint32_t c = fixed_consumer(&k, 4, 0);
    for (uint32_t i = 0; i < 5; i++) {
        struct message_parts p = kit_parts(&k);
        p.payload = sl_bytes_of(large, sizeof large);
        (void)kit_enter(&k, &p, 0);
    }
    assert_int_equal(deliver_all(&k, leases), 4); /* it may answer only when it has all of them */
    assert_true(queue_consumer_unanswered_bytes(k.q, c) > 4 * sizeof large);
    kit_answer(&k, leases[1], QUEUE_ACK);
    assert_true(queue_consumer_unanswered_bytes(k.q, c) < 4 * sizeof large);
    kit_end(&k);
}

static void only_the_oldest_of_a_fixed_credit_has_a_clock_and_is_charged(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t c = fixed_consumer(&k, 10, 1000), slot = 0;
    void *arg;
    put_many(&k, 3);
    assert_int_equal(deliver_all(&k, leases), 3);
    kit_pass_ms(&k, 900);
    kit_answer(&k, leases[2], QUEUE_ACK); /* out of turn: the oldest stays the oldest */
    kit_answer(&k, leases[0], QUEUE_ACK);
    kit_pass_ms(&k, 900);
    assert_false(queue_overdue(k.q, &k.now, &slot, &arg));
    kit_pass_ms(&k, 100);
    assert_true(queue_overdue(k.q, &k.now, &slot, &arg));
    assert_int_equal(slot, c);
    put_many(&k, 1);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){.cause = QUEUE_CAUSE_LOST}), 1);
    assert_int_equal(k.change.cause, QUEUE_CAUSE_LOST);
    assert_int_equal(kit_count(&k, QUEUE_DELAYED), 1);
    kit_end(&k);
}

static void a_paused_consumer_gets_nothing_and_holds_nobody_up(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t a = fixed_consumer(&k, 10, 0);
    put_many(&k, 4);
    queue_consumer_pause(k.q, a, true);
    assert_int_equal(deliver_all(&k, leases), 0);
    queue_check(k.q);
    assert_true(queue_deadline(k.q) == UINT64_MAX); /* nothing is due: it would be asked for ever */
    uint32_t b = kit_consumer(&k, 10, 1);
    assert_int_equal(deliver_all(&k, leases), 1);
    assert_int_equal(queue_consumer_unanswered(k.q, b), 1);
    queue_consumer_pause(k.q, a, false);
    assert_int_equal(deliver_all(&k, leases + 1), 3);
    queue_consumer_pause(k.q, a, true); /* what it holds it may answer */
    kit_answer(&k, leases[1], QUEUE_ACK);
    put_many(&k, 4);
    assert_int_equal(deliver_all(&k, leases), 0);
    assert_int_equal(kit_lose(&k, a, &(struct queue_loss){.charge_none = true}), 2);
    kit_end(&k);
}

static void a_paused_consumer_is_kept_for_no_last_attempt(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[64];
    uint32_t a = fixed_consumer(&k, 10, 0);
    uint64_t first = kit_put(&k);
    kit_fail_attempts(&k, queue_config(k.q)->max_attempts - 2);
    put_many(&k, 1);
    assert_int_equal(deliver_all(&k, leases), 2);
    (void)kit_answer_with(&k, leases[0], &(struct queue_answer){.verb = QUEUE_RETRY, .has_delay = true});
    kit_tick_all(&k);
    put_many(&k, 1);
    assert_int_equal(deliver_all(&k, leases), 0); /* it is kept free for the first one's last attempt */
    queue_consumer_pause(k.q, a, true);
    queue_check(k.q);
    uint32_t b = fixed_consumer(&k, 10, 0);
    assert_int_equal(kit_next(&k), first);
    assert_int_equal(k.got.consumer, b);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until_it_is_measured_a_consumer_gets_just_its_concurrency),
        cmocka_unit_test(a_quick_consumer_gets_a_tenth_of_a_second_of_work),
        cmocka_unit_test(a_slow_consumer_gets_no_more_than_its_concurrency),
        cmocka_unit_test(of_large_messages_a_megabyte_waits_in_a_consumer),
        cmocka_unit_test(however_large_a_consumer_gets_what_it_works_on),
        cmocka_unit_test(answers_of_one_turn_share_its_time),
        cmocka_unit_test(answers_of_the_first_turn_share_its_time_too),
        cmocka_unit_test(answers_of_two_turns_are_two_samples),
        cmocka_unit_test(a_release_says_nothing_about_service_time),
        cmocka_unit_test(a_started_delivery_past_its_limit_is_told_once),
        cmocka_unit_test(the_clock_of_a_delivery_runs_from_its_start),
        cmocka_unit_test(an_idle_consumer_is_never_overdue),
        cmocka_unit_test(extend_moves_the_limit),
        cmocka_unit_test(a_shorter_limit_is_noticed_in_time),
        cmocka_unit_test(a_crash_charges_what_was_started_and_nothing_else),
        cmocka_unit_test(a_timeout_charges_only_what_is_past_its_limit),
        cmocka_unit_test(an_orderly_end_charges_nobody),
        cmocka_unit_test(a_freed_slot_is_used_again),
        cmocka_unit_test(a_fixed_credit_is_all_there_from_the_start),
        cmocka_unit_test(a_fixed_credit_does_not_end_at_a_megabyte),
        cmocka_unit_test(only_the_oldest_of_a_fixed_credit_has_a_clock_and_is_charged),
        cmocka_unit_test(a_paused_consumer_gets_nothing_and_holds_nobody_up),
        cmocka_unit_test(a_paused_consumer_is_kept_for_no_last_attempt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
