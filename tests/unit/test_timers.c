#include "claims.h"

#include "core/rng.h"
#include "core/timers.h"

#define TIMERS 300u

struct owner {
    int filler;
    struct sl_timer timer;
};

static void timers_come_in_order_and_only_when_due(void **state)
{
    (void)state;
    struct sl_timers t = {0};
    struct owner a = {0}, b = {0}, c = {0};
    assert_true(sl_timers_next(&t) == UINT64_MAX);
    sl_timer_set(&t, &a.timer, 30);
    sl_timer_set(&t, &b.timer, 10);
    sl_timer_set(&t, &c.timer, 20);
    assert_true(sl_timers_next(&t) == 10);
    assert_null(sl_timers_pop_due(&t, 9));
    struct sl_timer *due = sl_timers_pop_due(&t, 20);
    assert_ptr_equal(SL_CONTAINER(due, struct owner, timer), &b);
    assert_int_equal(b.timer.pos, 0);
    assert_ptr_equal(sl_timers_pop_due(&t, 20), &c.timer);
    assert_null(sl_timers_pop_due(&t, 20));
    assert_ptr_equal(sl_timers_pop_due(&t, UINT64_MAX), &a.timer);
    assert_null(sl_timers_pop_due(&t, UINT64_MAX));
    sl_timers_fini(&t);
}

static void setting_again_moves_a_timer_either_way(void **state)
{
    (void)state;
    struct sl_timers t = {0};
    struct sl_timer a = {0}, b = {0};
    sl_timer_set(&t, &a, 10);
    sl_timer_set(&t, &b, 20);
    sl_timer_set(&t, &a, 30);
    assert_int_equal(t.n, 2);
    assert_true(sl_timers_next(&t) == 20);
    sl_timer_set(&t, &a, 5);
    assert_true(sl_timers_next(&t) == 5);
    assert_ptr_equal(sl_timers_pop_due(&t, 5), &a);
    sl_timers_fini(&t);
}

static void a_cleared_timer_never_comes_and_clearing_twice_is_nothing(void **state)
{
    (void)state;
    struct sl_timers t = {0};
    struct sl_timer a = {0}, b = {0};
    sl_timer_clear(&t, &a);
    sl_timer_set(&t, &a, 1);
    sl_timer_set(&t, &b, 2);
    sl_timer_clear(&t, &a);
    sl_timer_clear(&t, &a);
    assert_ptr_equal(sl_timers_pop_due(&t, 9), &b);
    assert_null(sl_timers_pop_due(&t, 9));
    sl_timers_fini(&t);
}

static void a_timer_set_while_due_ones_are_taken_comes_in_the_same_walk(void **state)
{
    (void)state;
    struct sl_timers t = {0};
    struct sl_timer a = {0};
    sl_timer_set(&t, &a, 1);
    int times = 0;
    struct sl_timer *due;
    while ((due = sl_timers_pop_due(&t, 3)) != NULL) {
        times++;
        sl_timer_set(&t, due, due->at_ms + 1);
    }
    assert_int_equal(times, 3);
    assert_true(sl_timers_next(&t) == 4);
    sl_timers_fini(&t);
    assert_int_equal(a.pos, 0);
}

static uint64_t earliest(const struct sl_timer *all)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < TIMERS; i++) {
        if (all[i].pos > 0 && all[i].at_ms < at)
            at = all[i].at_ms;
    }
    return at;
}

static void any_order_of_changes_gives_the_earliest(void **state)
{
    (void)state;
    static struct sl_timer all[TIMERS];
    struct sl_timers t = {0};
    struct sl_rng rng;
    sl_rng_seed(&rng, 6);
    uint64_t now = 0;
    for (int step = 0; step < 30000; step++) {
        struct sl_timer *one = &all[sl_rng_below(&rng, TIMERS)];
        uint64_t what = sl_rng_below(&rng, 4);
        if (what < 2) {
            sl_timer_set(&t, one, now + sl_rng_below(&rng, 100));
        } else if (what == 2) {
            sl_timer_clear(&t, one);
            assert_int_equal(one->pos, 0);
        } else {
            now += sl_rng_below(&rng, 3);
            uint64_t first = earliest(all);
            struct sl_timer *due = sl_timers_pop_due(&t, now);
            assert_true(due == NULL ? first > now : due->at_ms == first && first <= now);
        }
        assert_true(sl_timers_next(&t) == earliest(all));
    }
    sl_timers_fini(&t);
    for (size_t i = 0; i < TIMERS; i++)
        assert_int_equal(all[i].pos, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_in_order_and_only_when_due),
        cmocka_unit_test(setting_again_moves_a_timer_either_way),
        cmocka_unit_test(a_cleared_timer_never_comes_and_clearing_twice_is_nothing),
        cmocka_unit_test(a_timer_set_while_due_ones_are_taken_comes_in_the_same_walk),
        cmocka_unit_test(any_order_of_changes_gives_the_earliest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
