#include "schedule_kit.h"

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static struct schedule with(const char *text, enum schedule_missed missed)
{
    struct schedule s = cron(text, NULL);
    s.missed = missed;
    return s;
}

/* What fires by the plan: how many, and the first of them. */
static uint64_t fired(const struct schedule *s, const struct schedule_plan *p, uint64_t *first)
{
    uint64_t n = 0;
    for (uint64_t t = schedule_next(s, p->done_ms); t <= p->until_ms; t = schedule_next(s, t)) {
        if (n++ == 0)
            *first = t;
    }
    return n;
}

static void what_is_not_due_is_left_alone(void **state)
{
    (void)state;
    struct schedule_plan p;
    struct schedule daily = with("0 12 * * *", SCHEDULE_ALL), every = with("@every 1h", SCHEDULE_ALL);
    uint64_t done = at("2026-11-21T12:00:00Z");
    assert_false(schedule_plan(&daily, done, done, 0, &p));
    assert_false(schedule_plan(&daily, done, done + DAY - 1, 0, &p));
    assert_false(schedule_plan(&every, done, done + HOUR - 1, 0, &p));
    assert_false(schedule_plan(&every, done, done - DAY, 0, &p)); /* the clock was set back */
}

static void what_comes_in_time_is_not_missed(void **state)
{
    (void)state;
    struct schedule_plan p;
    uint64_t done = at("2026-11-21T12:00:00Z"), first = 0;
    struct schedule every = with("@every 10s", SCHEDULE_SKIP), minutes = with("* * * * *", SCHEDULE_SKIP);
    assert_true(schedule_plan(&every, done, done + 70 * SECOND, MINUTE, &p));
    assert_int_equal(p.late, 0);
    assert_int_equal(fired(&every, &p, &first), 7); /* the first is a minute late */
    assert_true(schedule_plan(&minutes, done, done + MINUTE, 0, &p));
    assert_int_equal(p.late, 0);
    assert_int_equal(fired(&minutes, &p, &first), 1);
    assert_true(schedule_plan(&every, done, done + 71 * SECOND, MINUTE, &p));
    assert_int_equal(p.late, 7);
}

static void check_policy(const char *text, enum schedule_missed missed, uint64_t late, uint64_t skipped, const char *first)
{
    struct schedule s = with(text, missed);
    struct schedule_plan p;
    uint64_t done = at("2026-11-21T12:00:00Z"), t = 0;
    assert_true(schedule_plan(&s, done, done + 5 * HOUR + MINUTE, MINUTE, &p));
    uint64_t n = fired(&s, &p, &t);
    if (p.late != late || p.skipped != skipped || n != late - skipped || (n > 0 && t != at(first)))
        fail_msg("%s %u: late %llu skipped %llu fired %llu first %s", text, missed, (unsigned long long)p.late, (unsigned long long)p.skipped, (unsigned long long)n, shown(t));
    assert_true(schedule_next(&s, p.done_ms) > done && p.done_ms >= done);
    uint64_t after = n > 0 ? t + (n - 1) * HOUR : p.done_ms;
    assert_int_equal(schedule_next(&s, after), at("2026-11-21T18:00:00Z")); /* and on in its phase */
}

static void each_policy_does_what_its_name_says(void **state)
{
    (void)state;
    check_policy("0 * * * *", SCHEDULE_SKIP, 5, 5, NULL);
    check_policy("0 * * * *", SCHEDULE_ONCE, 5, 4, "2026-11-21T17:00:00Z");
    check_policy("0 * * * *", SCHEDULE_ALL, 5, 0, "2026-11-21T13:00:00Z");
    check_policy("@every 1h", SCHEDULE_SKIP, 5, 5, NULL);
    check_policy("@every 1h", SCHEDULE_ONCE, 5, 4, "2026-11-21T17:00:00Z");
    check_policy("@every 1h", SCHEDULE_ALL, 5, 0, "2026-11-21T13:00:00Z");
}

static void years_of_minutes_are_looked_at_from_their_end(void **state)
{
    (void)state;
    uint64_t done = at("2020-01-01T00:00:00Z"), now = at("2026-11-21T12:00:30Z"), first = 0;
    struct schedule_plan p;
    struct schedule s = with("* * * * *", SCHEDULE_ALL);
    assert_true(schedule_plan(&s, done, now, 0, &p));
    assert_int_equal(p.late, SCHEDULE_COUNTED_MAX);
    assert_int_equal(p.skipped, SCHEDULE_COUNTED_MAX);
    assert_int_equal(fired(&s, &p, &first), SCHEDULE_CATCH_UP_MAX);
    assert_int_equal(first, at("2026-11-21T12:00:00Z") - (SCHEDULE_CATCH_UP_MAX - 1) * MINUTE);

    s = with("@every 1s", SCHEDULE_ALL);
    assert_true(schedule_plan(&s, done, now, 0, &p));
    assert_int_equal(fired(&s, &p, &first), SCHEDULE_CATCH_UP_MAX);
    assert_int_equal(p.late - p.skipped, SCHEDULE_CATCH_UP_MAX);
    assert_int_equal(first, now - (SCHEDULE_CATCH_UP_MAX - 1) * SECOND);

    s = with("* * * 1 *", SCHEDULE_ALL); /* dense, but long ago */
    assert_true(schedule_plan(&s, done, now, 0, &p));
    assert_int_equal(fired(&s, &p, &first), SCHEDULE_CATCH_UP_MAX);
    assert_int_equal(first, at("2026-01-31T23:59:00Z") - (SCHEDULE_CATCH_UP_MAX - 1) * MINUTE);

    s = with("0 0 29 2 *", SCHEDULE_ONCE);
    assert_true(schedule_plan(&s, done, now, 0, &p));
    assert_int_equal(fired(&s, &p, &first), 1);
    assert_int_equal(first, at("2024-02-29T00:00:00Z"));
    assert_int_equal(p.late, 2);
}

static void the_phase_of_a_distance_outlives_what_is_skipped(void **state)
{
    (void)state;
    struct schedule s = with("@every 7m", SCHEDULE_SKIP);
    struct schedule_plan p;
    uint64_t done = at("2026-11-21T12:00:01.234Z");
    assert_true(schedule_plan(&s, done, done + 100 * MINUTE, 0, &p));
    assert_int_equal(p.done_ms, done + 98 * MINUTE);
    assert_int_equal(schedule_next(&s, p.done_ms), done + 105 * MINUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_due_is_left_alone),
        cmocka_unit_test(what_comes_in_time_is_not_missed),
        cmocka_unit_test(each_policy_does_what_its_name_says),
        cmocka_unit_test(years_of_minutes_are_looked_at_from_their_end),
        cmocka_unit_test(the_phase_of_a_distance_outlives_what_is_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
