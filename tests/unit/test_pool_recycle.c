/* When a worker has worked enough, and what crashes cost: pure. */
#include "claims.h"
#include "core/compat.h"
#include "crash.h"
#include "pool/recycle.h"

#define DRAWS 1000

static void bounds_are_drawn_up_to_15_percent_below(void **state)
{
    (void)state;
    struct sl_rng rng;
    const struct recycle_config cfg = { 1000, 60000, 1 << 20 };
    uint64_t least = UINT64_MAX, most = 0;
    sl_rng_seed(&rng, 1);
    for (int i = 0; i < DRAWS; i++) {
        struct recycle r;
        recycle_init(&r, &cfg, 5000, &rng);
        assert_in_range(r.jobs, 850, 1000);
        assert_in_range(r.at_ms, 5000 + 51000, 5000 + 60000);
        assert_in_range(r.rss_bytes, (1 << 20) * 85 / 100, 1 << 20);
        assert_int_equal(r.urgent_bytes, 2 << 20);
        least = r.jobs < least ? r.jobs : least;
        most = r.jobs > most ? r.jobs : most;
    }
    assert_true(least < 870 && most > 980);
}

static void without_bounds_nothing_is_ever_due(void **state)
{
    (void)state;
    struct sl_rng rng;
    struct recycle r;
    sl_rng_seed(&rng, 1);
    recycle_init(&r, &(struct recycle_config){ 0 }, 5000, &rng);
    struct recycle_seen seen = { UINT64_MAX - 1, UINT64_MAX - 1, UINT64_MAX - 1 };
    assert_int_equal(recycle_due(&r, &seen), RECYCLE_NONE);
    assert_false(recycle_is_urgent(&r, UINT64_MAX - 1));
}

static void each_bound_is_told_by_its_name(void **state)
{
    (void)state;
    const struct recycle r = { .jobs = 10, .at_ms = 100, .rss_bytes = 1000, .urgent_bytes = 2000 };
    assert_int_equal(recycle_due(&r, &(struct recycle_seen){ 9, 99, 999 }), RECYCLE_NONE);
    assert_int_equal(recycle_due(&r, &(struct recycle_seen){ 10, 0, 0 }), RECYCLE_JOBS);
    assert_int_equal(recycle_due(&r, &(struct recycle_seen){ 0, 100, 0 }), RECYCLE_AGE);
    assert_int_equal(recycle_due(&r, &(struct recycle_seen){ 0, 0, 1000 }), RECYCLE_RSS);
    assert_false(recycle_is_urgent(&r, 1999));
    assert_true(recycle_is_urgent(&r, 2000));
    assert_string_equal(recycle_cause_name(RECYCLE_RSS), "max_rss");
}

static void one_message_is_the_least(void **state)
{
    (void)state;
    struct sl_rng rng;
    sl_rng_seed(&rng, 1);
    for (int i = 0; i < DRAWS; i++) {
        struct recycle r;
        recycle_init(&r, &(struct recycle_config){ 1, 1, 1 }, 0, &rng);
        assert_int_equal(r.jobs, 1);
        assert_int_equal(r.at_ms, 1);
    }
}

static void a_quarter_goes_at_a_time_and_at_least_one(void **state)
{
    (void)state;
    static const struct {
        uint32_t workers, under_way, room;
    } cases[] = { { 0, 0, 1 }, { 1, 0, 1 }, { 1, 1, 0 }, { 7, 0, 1 }, { 8, 0, 2 }, { 8, 1, 1 }, { 8, 2, 0 }, { 8, 5, 0 }, { 100, 3, 22 } };
    for (size_t i = 0; i < SL_COUNT(cases); i++)
        assert_int_equal(recycle_room(cases[i].workers, cases[i].under_way), cases[i].room);
}

/* ---- crashes ---- */

static const struct crash_config backoff = { 100, 3000, 2 };

static void waits_double_to_the_maximum(void **state)
{
    (void)state;
    static const uint64_t waits[] = { 100, 200, 400, 800, 1600, 3000, 3000 };
    struct crash_loop c = { 0 };
    uint64_t now = 1000;
    for (size_t i = 0; i < SL_COUNT(waits); i++) {
        uint64_t started = now;
        now += 10;
        assert_int_equal(crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = started }, now), waits[i]);
        assert_int_equal(c.looping, i + 1 >= CRASH_LOOP_AFTER);
        now += waits[i];
    }
    assert_int_equal(c.in_row, SL_COUNT(waits));
}

static void workers_that_die_together_are_one_round(void **state)
{
    (void)state;
    struct crash_loop c = { 0 };
    for (int i = 0; i < 4; i++)
        assert_int_equal(crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = 1000 }, 1010), 100);
    assert_int_equal(crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = 1110 }, 1120), 200);
}

static void in_a_loop_one_worker_at_a_time_is_tried(void **state)
{
    (void)state;
    struct crash_loop c = { .in_row = CRASH_LOOP_AFTER, .looping = true, .wait_ms = 400, .raised_ms = 2000 };
    for (uint64_t i = 1; i <= 4; i++) /* of the same round */
        assert_int_equal(crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = 1900 }, 2000), i * 400);
}

static void a_long_life_begins_anew(void **state)
{
    (void)state;
    struct crash_loop c = { .in_row = 9, .looping = true, .wait_ms = 200, .raised_ms = 1000 };
    assert_int_equal(crash_good_ms(&c, &backoff), 2000);
    assert_int_equal(crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = 2000, .lived_ms = 2000 }, 5000), 100);
    assert_int_equal(c.in_row, 1);
    assert_false(c.looping);
}

static void who_answers_is_in_no_loop_but_waits_all_the_same(void **state)
{
    (void)state;
    struct crash_loop c = { 0 };
    uint64_t now = 1000;
    for (int i = 0; i < 20; i++) {
        uint64_t started = now;
        now += 10;
        uint64_t wait = crash_wait(&c, &backoff, &(struct crash_life){ .started_ms = started, .answered = true }, now);
        assert_false(c.looping);
        now += wait;
    }
    assert_int_equal(c.wait_ms, 3000);
}

static void a_loop_is_over_once(void **state)
{
    (void)state;
    struct crash_loop c = { .in_row = 7, .looping = true, .wait_ms = 400, .try_ms = 9000 };
    assert_true(crash_is_over(&c));
    assert_false(crash_is_over(&c));
    assert_int_equal(c.in_row, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_drawn_up_to_15_percent_below),
        cmocka_unit_test(without_bounds_nothing_is_ever_due),
        cmocka_unit_test(each_bound_is_told_by_its_name),
        cmocka_unit_test(one_message_is_the_least),
        cmocka_unit_test(a_quarter_goes_at_a_time_and_at_least_one),
        cmocka_unit_test(waits_double_to_the_maximum),
        cmocka_unit_test(workers_that_die_together_are_one_round),
        cmocka_unit_test(in_a_loop_one_worker_at_a_time_is_tried),
        cmocka_unit_test(a_long_life_begins_anew),
        cmocka_unit_test(who_answers_is_in_no_loop_but_waits_all_the_same),
        cmocka_unit_test(a_loop_is_over_once),
    };
    return cmocka_run_group_tests_name("pool_recycle", tests, NULL, NULL);
}
