/* Consumers that live on: what is overdue is taken from them, and nothing else. */
#include "queue_kit.h"

#define LIMIT_MS 1000u

static uint32_t living(struct kit *k, uint32_t prefetch, uint32_t concurrency)
{
    struct queue_consumer_config cfg = {
        .prefetch = prefetch, .concurrency = concurrency, .fixed_credit = true, .time_limit_ms = LIMIT_MS, .lives_on = true };
    return queue_consumer_add(k->q, &cfg);
}

/* How many were taken from it now; the first one's cause. */
static uint32_t taken(struct kit *k, enum queue_cause *first)
{
    uint32_t n = 0, consumer;
    void *arg;
    while (queue_overdue(k->q, &k->now, &consumer, &arg)) {
        while (queue_expire(k->q, consumer, &k->now, &k->change)) {
            if (n++ == 0)
                *first = k->change.cause;
            kit_release_gone(k);
        }
        queue_check(k->q);
    }
    return n;
}

static void deliver(struct kit *k, uint64_t *leases, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        (void)kit_put(k);
        (void)kit_next(k);
        leases[i] = k->got.lease;
    }
}

static void a_late_delivery_goes_back_alone(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[3];
    enum queue_cause cause = QUEUE_CAUSE_NONE;
    uint32_t c = living(&k, 8, 1);
    deliver(&k, leases, 3);
    kit_pass_ms(&k, LIMIT_MS - 1);
    assert_int_equal(taken(&k, &cause), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(taken(&k, &cause), 1);
    assert_int_equal(cause, QUEUE_CAUSE_TIMEOUT);
    assert_int_equal(queue_counters(k.q)->timed_out, 1);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 2);
    assert_int_equal(kit_answer_with(&k, leases[0], &(struct queue_answer){ .verb = QUEUE_ACK }), SL_ESTATE);
    kit_answer(&k, leases[1], QUEUE_ACK); /* the others are still its own */
    kit_answer(&k, leases[2], QUEUE_ACK);
    kit_end(&k);
}

static void a_late_consumer_gets_nothing_until_it_has_answered(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[2];
    enum queue_cause cause;
    uint32_t c = living(&k, 8, 2);
    deliver(&k, leases, 2);
    kit_pass_ms(&k, LIMIT_MS);
    assert_int_equal(taken(&k, &cause), 2);
    kit_pass_ms(&k, 100);
    (void)kit_put(&k);
    kit_idle(&k);
    queue_answered_late(k.q, c, &k.now);
    kit_idle(&k);
    queue_answered_late(k.q, c, &k.now);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    kit_end(&k);
}

static void the_clock_of_what_waits_behind_a_late_one_does_not_run(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[2];
    enum queue_cause cause = QUEUE_CAUSE_NONE;
    uint32_t c = living(&k, 8, 1);
    deliver(&k, leases, 2);
    kit_pass_ms(&k, LIMIT_MS);
    assert_int_equal(taken(&k, &cause), 1);
    kit_pass_ms(&k, LIMIT_MS - 1);
    queue_answered_late(k.q, c, &k.now); /* only now the second is started */
    kit_pass_ms(&k, LIMIT_MS - 1);
    assert_int_equal(taken(&k, &cause), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(taken(&k, &cause), 1);
    assert_int_equal(cause, QUEUE_CAUSE_TIMEOUT);
    kit_end(&k);
}

static void what_waits_behind_a_hanging_one_goes_back_uncharged(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[3];
    enum queue_cause cause = QUEUE_CAUSE_TIMEOUT;
    uint32_t c = living(&k, 8, 1);
    deliver(&k, leases, 3);
    kit_pass_ms(&k, LIMIT_MS);
    assert_int_equal(taken(&k, &cause), 1);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + LIMIT_MS);
    kit_pass_ms(&k, LIMIT_MS);
    assert_int_equal(taken(&k, &cause), 2);
    assert_int_equal(cause, QUEUE_CAUSE_NONE);
    assert_int_equal(queue_counters(k.q)->timed_out, 1);
    assert_int_equal(queue_consumer_unanswered(k.q, c), 0);
    (void)living(&k, 8, 1);
    (void)kit_next(&k); /* another one has them */
    for (int i = 0; i < 3; i++) {
        queue_answered_late(k.q, c, &k.now);
        queue_check(k.q);
    }
    queue_answered_late(k.q, c, &k.now); /* once too often changes nothing */
    queue_check(k.q);
    kit_end(&k);
}

static void an_extended_delivery_is_not_late(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[1];
    enum queue_cause cause;
    (void)living(&k, 8, 1);
    deliver(&k, leases, 1);
    kit_pass_ms(&k, LIMIT_MS - 1);
    assert_int_equal(queue_extend(k.q, leases[0], LIMIT_MS, &k.now), SL_OK);
    kit_pass_ms(&k, LIMIT_MS - 1);
    assert_int_equal(taken(&k, &cause), 0);
    kit_pass_ms(&k, 1);
    assert_int_equal(taken(&k, &cause), 1);
    kit_end(&k);
}

static void a_late_consumer_that_is_lost_charges_what_was_started(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t leases[3];
    enum queue_cause cause;
    uint32_t c = living(&k, 8, 2);
    deliver(&k, leases, 1);
    kit_pass_ms(&k, LIMIT_MS / 2);
    deliver(&k, leases + 1, 2);
    kit_pass_ms(&k, LIMIT_MS / 2);
    assert_int_equal(taken(&k, &cause), 1);
    assert_int_equal(kit_lose(&k, c, &(struct queue_loss){ .cause = QUEUE_CAUSE_LOST }), 2);
    assert_int_equal(queue_counters(k.q)->retried, 2); /* the late one and the other started one */
    assert_int_equal(queue_counters(k.q)->returned, 1);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_delivery_goes_back_alone),
        cmocka_unit_test(a_late_consumer_gets_nothing_until_it_has_answered),
        cmocka_unit_test(the_clock_of_what_waits_behind_a_late_one_does_not_run),
        cmocka_unit_test(what_waits_behind_a_hanging_one_goes_back_uncharged),
        cmocka_unit_test(an_extended_delivery_is_not_late),
        cmocka_unit_test(a_late_consumer_that_is_lost_charges_what_was_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
