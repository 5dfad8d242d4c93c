#include "claims.h"

#include <stdio.h>
#include <time.h>

#include "core/times.h"

/* ---- RFC 3339 ---- */

static void good_times_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z",                        0                        },
        {"1970-01-01T00:00:00.001Z",                    1                        },
        {"2026-11-21T10:00:00.123Z",                    UINT64_C(1795255200123)  },
        {"2026-11-21t10:00:00.123z",                    UINT64_C(1795255200123)  },
        {"2026-11-21T11:30:00.123+01:30",               UINT64_C(1795255200123)  },
        {"2026-11-21T00:00:00.123-10:00",               UINT64_C(1795255200123)  },
        {"2026-11-22T09:59:00.123+23:59",               UINT64_C(1795255200123)  },
        {"2026-11-21T10:00:00.123-00:00",               UINT64_C(1795255200123)  },
        {"2026-11-21T10:00:00.1239999999999999999999Z", UINT64_C(1795255200123)  },
        {"2026-11-21T10:00:00.1Z",                      UINT64_C(1795255200100)  },
        {"2026-11-21T10:00:00.12Z",                     UINT64_C(1795255200120)  },
        {"2000-02-29T00:00:00Z",                        UINT64_C(951782400000)   },
        {"2024-02-29T23:59:59Z",                        UINT64_C(1709251199000)  },
        {"2024-03-01T00:00:00Z",                        UINT64_C(1709251200000)  },
        {"2100-02-28T00:00:00Z",                        UINT64_C(4107456000000)  },
        {"2100-03-01T00:00:00Z",                        UINT64_C(4107542400000)  },
        {"1969-12-31T23:00:00-01:00",                   0                        },
        {"9999-12-31T23:59:59.999Z",                    UINT64_C(253402300799999)},
        {"2016-12-31T23:59:60Z",                        UINT64_C(1483228800000)  },
        {"2017-01-01T00:59:60+01:00",                   UINT64_C(1483228800000)  },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        uint64_t ms = 0;
        if (sl_time_parse(sl_str(rows[i].text), &ms) != SL_OK || ms != rows[i].ms)
            fail_msg("%s is wrongly read", rows[i].text);
    }
}

static void bad_times_are_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "2026-11-21",
        "2026-11-21T10:00:00",
        "2026-11-21T10:00Z",
        "2026-11-21 10:00:00Z",
        "2026-11-21T10:00:00.Z",
        "2026-11-21T10:00:00,5Z",
        "2026-11-21T10:00:00.5",
        "2026-11-21T10:00:00ZZ",
        "2026-11-21T10:00:00Z ",
        " 2026-11-21T10:00:00Z",
        "2026-00-21T10:00:00Z",
        "2026-13-21T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T10:60:00Z",
        "2026-11-21T10:00:61Z",
        "2026-11-21T10:00:60Z",
        "2026-11-21T10:00:00+24:00",
        "2026-11-21T10:00:00+00:60",
        "2026-11-21T10:00:00+0100",
        "2026-11-21T10:00:00+01",
        "2026-11-21T10:00:00+1:00",
        "26-11-21T10:00:00Z",
        "2026-1-21T10:00:00Z",
        "+026-11-21T10:00:00Z",
        "2026/11/21T10:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
        "0000-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        uint64_t ms = 4711;
        if (sl_time_parse(sl_str(rows[i]), &ms) != SL_EINVAL)
            fail_msg("\"%s\" was taken", rows[i]);
        assert_true(ms == 4711);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct sl_bytes whole = sl_str("2026-11-21T10:00:00.123+01:00");
    uint64_t ms;
    for (size_t n = 0; n < whole.n; n++)
        assert_int_equal(sl_time_parse(sl_bytes_of(whole.p, n), &ms), SL_EINVAL);
    assert_int_equal(sl_time_parse(whole, &ms), SL_OK);
}

static void check_day(uint64_t day)
{
    uint64_t ms = day * 86400000 + day * 7919 % 86400000;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    assert_non_null(gmtime_r(&seconds, &tm));
    char expected[64], out[25];
    size_t n = strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(expected + n, sizeof expected - n, ".%03uZ", (unsigned)(ms % 1000));
    assert_string_equal(sl_time_format(ms, out, sizeof out), expected);
    uint64_t back;
    assert_int_equal(sl_time_parse(sl_str(out), &back), SL_OK);
    assert_true(back == ms);
}

static void days_are_those_of_the_c_library_in_both_directions(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < 53000; day++) /* to 2115 */
        check_day(day);
    for (uint64_t day = 53000; day < 2932896; day += 97)
        check_day(day);
    check_day(2932896); /* 9999-12-31 */
}

static void what_is_past_year_9999_is_shown_as_its_last_moment(void **state)
{
    (void)state;
    char out[25];
    const char *last = "9999-12-31T23:59:59.999Z";
    assert_string_equal(sl_time_format(UINT64_C(253402300799999), out, sizeof out), last);
    assert_string_equal(sl_time_format(UINT64_C(253402300800000), out, sizeof out), last);
    assert_string_equal(sl_time_format(UINT64_MAX, out, sizeof out), last);
}

/* ---- the clock ---- */

#define WALL UINT64_C(1795255200000)

static void the_first_reading_sets_all_times(void **state)
{
    (void)state;
    struct sl_clock c = {0};
    struct sl_now now = sl_clock_advance(&c, 5001999, WALL);
    assert_true(now.mono_us == 5001999);
    assert_true(now.mono_ms == 5001);
    assert_true(now.wall_ms == WALL);
    assert_true(now.steady_ms == WALL);
}

/* One second later by the monotonic clock, and `jump` more by the wall clock. */
static uint64_t steady_after(int64_t jump)
{
    struct sl_clock c = {0};
    (void)sl_clock_advance(&c, 1000000, WALL);
    return sl_clock_advance(&c, 2000000, WALL + 1000 + (uint64_t)jump).steady_ms;
}

static void steady_time_follows_small_steps_of_the_wall_clock(void **state)
{
    (void)state;
    assert_true(steady_after(0) == WALL + 1000);
    assert_true(steady_after(5) == WALL + 1005);
    assert_true(steady_after(-5) == WALL + 995);
    assert_true(steady_after(59999) == WALL + 60999);
    assert_true(steady_after(-59999) == WALL - 58999);
}

static void steady_time_does_not_follow_jumps_of_over_60_s(void **state)
{
    (void)state;
    assert_true(steady_after(60001) == WALL + 1000);
    assert_true(steady_after(-60001) == WALL + 1000);
    assert_true(steady_after(INT64_C(86400000) * 365) == WALL + 1000);
    assert_true(steady_after(-(int64_t)WALL - 1000) == WALL + 1000);
}

static void after_a_jump_steady_time_keeps_its_distance(void **state)
{
    (void)state;
    struct sl_clock c = {0};
    (void)sl_clock_advance(&c, 0, WALL);
    (void)sl_clock_advance(&c, 1000000, WALL + 3600000);
    struct sl_now now = sl_clock_advance(&c, 2000000, WALL + 3601003);
    assert_true(now.steady_ms == WALL + 2003);
    assert_true(now.wall_ms == WALL + 3601003);
}

static void a_long_wait_is_not_a_jump(void **state)
{
    (void)state;
    struct sl_clock c = {0};
    (void)sl_clock_advance(&c, 0, WALL);
    struct sl_now now = sl_clock_advance(&c, UINT64_C(7200000000), WALL + 7200010);
    assert_true(now.steady_ms == WALL + 7200010);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_times_are_taken),
        cmocka_unit_test(bad_times_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(days_are_those_of_the_c_library_in_both_directions),
        cmocka_unit_test(what_is_past_year_9999_is_shown_as_its_last_moment),
        cmocka_unit_test(the_first_reading_sets_all_times),
        cmocka_unit_test(steady_time_follows_small_steps_of_the_wall_clock),
        cmocka_unit_test(steady_time_does_not_follow_jumps_of_over_60_s),
        cmocka_unit_test(after_a_jump_steady_time_keeps_its_distance),
        cmocka_unit_test(a_long_wait_is_not_a_jump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
