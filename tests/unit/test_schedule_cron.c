#include "schedule_kit.h"

#define BITS(from, to) ((UINT64_C(2) << (to)) - (UINT64_C(1) << (from)))
#define BIT(n)         (UINT64_C(1) << (n))
#define MINUTES        BITS(0, 59)
#define HOURS          BITS(0, 23)
#define DAYS           BITS(1, 31)
#define MONTHS         BITS(1, 12)
#define WEEKDAYS       BITS(0, 6)

static void each_notation_is_the_set_that_it_means(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t minutes, hours, days, months, weekdays;
    } rows[] = {
        { "* * * * *", MINUTES, HOURS, DAYS, MONTHS, WEEKDAYS },
        { "  0\t12 1 1 0 ", BIT(0), BIT(12), BIT(1), BIT(1), BIT(0) },
        { "*/15 * * * *", BIT(0) | BIT(15) | BIT(30) | BIT(45), HOURS, DAYS, MONTHS, WEEKDAYS },
        { "5/20 * * * *", BIT(5) | BIT(25) | BIT(45), HOURS, DAYS, MONTHS, WEEKDAYS },
        { "1-5/2,50-52,59 8-18 * * *", BIT(1) | BIT(3) | BIT(5) | BITS(50, 52) | BIT(59), BITS(8, 18), DAYS, MONTHS, WEEKDAYS },
        { "0 0 1-31 1-12 0-7", BIT(0), BIT(0), DAYS, MONTHS, WEEKDAYS },
        { "0 0 * JAN,mar-May Mon-Fri", BIT(0), BIT(0), DAYS, BIT(1) | BITS(3, 5), BITS(1, 5) },
        { "0 0 * * 7", BIT(0), BIT(0), DAYS, MONTHS, BIT(0) },
        { "0 0 * * 5-7", BIT(0), BIT(0), DAYS, MONTHS, BIT(5) | BIT(6) | BIT(0) },
        { "0 0 * * fri-sun", BIT(0), BIT(0), DAYS, MONTHS, BIT(5) | BIT(6) | BIT(0) },
        { "0 0 * * sun-tue", BIT(0), BIT(0), DAYS, MONTHS, BITS(0, 2) },
        { "0 0 * * */2", BIT(0), BIT(0), DAYS, MONTHS, BIT(0) | BIT(2) | BIT(4) | BIT(6) },
        { "0 0 29 2 *", BIT(0), BIT(0), BIT(29), BIT(2), WEEKDAYS },
        { "0 0 31 2 1", BIT(0), BIT(0), BIT(31), BIT(2), BIT(1) },
        { "@hourly", BIT(0), HOURS, DAYS, MONTHS, WEEKDAYS },
        { "@daily", BIT(0), BIT(0), DAYS, MONTHS, WEEKDAYS },
        { "@midnight", BIT(0), BIT(0), DAYS, MONTHS, WEEKDAYS },
        { "@weekly", BIT(0), BIT(0), DAYS, MONTHS, BIT(0) },
        { "@monthly", BIT(0), BIT(0), BIT(1), MONTHS, WEEKDAYS },
        { "@yearly", BIT(0), BIT(0), BIT(1), BIT(1), WEEKDAYS },
        { " @annually ", BIT(0), BIT(0), BIT(1), BIT(1), WEEKDAYS },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct schedule_cron c = cron(rows[i].text, NULL).cron;
        bool same = c.minutes == rows[i].minutes && c.hours == rows[i].hours && c.days == rows[i].days && c.months == rows[i].months &&
                    c.weekdays == rows[i].weekdays && c.every_ms == 0;
        if (!same)
            fail_msg("\"%s\" is read as another set", rows[i].text);
    }
}

static void a_field_that_begins_with_a_star_is_not_restricted(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool any_day, any_weekday, wild;
    } rows[] = {
        { "* * * * *", true, true, true },     { "0 * * * *", true, true, true },      { "*/5 2 * * *", true, true, true },
        { "0 2 * * *", true, true, false },    { "0-59 0-23 1-31 * 0-6", false, false, false }, { "0 0 */2 * 1", true, false, false },
        { "0 0 1 * */2", false, true, false }, { "0 0 1 * 1", false, false, false },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct schedule_cron c = cron(rows[i].text, NULL).cron;
        if (c.any_day != rows[i].any_day || c.any_weekday != rows[i].any_weekday || c.wild != rows[i].wild)
            fail_msg("\"%s\"", rows[i].text);
    }
}

static void a_fault_names_its_field_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        { "", "has 0 fields, must have 5: minute, hour, day of month, month, day of week" },
        { "*", "has 1 field, must have 5: minute, hour, day of month, month, day of week" },
        { "* * * *", "has 4 fields, must have 5: minute, hour, day of month, month, day of week" },
        { "0 0 * * * *", "has 6 fields, must have 5: minute, hour, day of month, month, day of week" },
        { "60 * * * *", "minute \"60\" is not allowed, must be 0 to 59" },
        { "-1 * * * *", "minute \"-1\" is not allowed, must be 0 to 59" },
        { "* 24 * * *", "hour \"24\" is not allowed, must be 0 to 23" },
        { "* 1,,2 * * *", "hour \"1,,2\" is not allowed, must be 0 to 23" },
        { "* * 0 * *", "day of month \"0\" is not allowed, must be 1 to 31" },
        { "* * L * *", "day of month \"L\" is not allowed, must be 1 to 31" },
        { "* * ? * *", "day of month \"?\" is not allowed, must be 1 to 31" },
        { "* * * 13 *", "month \"13\" is not allowed, must be 1 to 12 or jan to dec" },
        { "* * * janu *", "month \"janu\" is not allowed, must be 1 to 12 or jan to dec" },
        { "* * * * 8", "day of week \"8\" is not allowed, must be 0 to 7 (0 and 7 are Sunday) or sun to sat" },
        { "* * * * mon#2", "day of week \"mon#2\" is not allowed, must be 0 to 7 (0 and 7 are Sunday) or sun to sat" },
        { "5-1 * * * *", "minute \"5-1\" is not allowed, must be a range that ends after it begins" },
        { "* * * * fri-mon", "day of week \"fri-mon\" is not allowed, must be a range that ends after it begins" },
        { "*/0 * * * *", "minute \"*/0\" is not allowed, must be a step from 1 to 59 behind the /" },
        { "*/60 * * * *", "minute \"*/60\" is not allowed, must be a step from 1 to 59 behind the /" },
        { "*/ * * * *", "minute \"*/\" is not allowed, must be a step from 1 to 59 behind the /" },
        { "** * * * *", "minute \"**\" is not allowed, must be 0 to 59" },
        { "1-2-3 * * * *", "minute \"1-2-3\" is not allowed, must be 0 to 59" },
        { "007 * * * *", "minute \"007\" is not allowed, must be 0 to 59" },
        { "* * * * * #\x01", "has 6 fields, must have 5: minute, hour, day of month, month, day of week" },
        { "\x01 * * * *", "minute \"\\x01\" is not allowed, must be 0 to 59" },
        { "0 0 31 2 *", "there is no such date: none of the months has such a day" },
        { "0 0 30-31 feb *", "there is no such date: none of the months has such a day" },
        { "0 0 31 2,4,6,9,11 *", "there is no such date: none of the months has such a day" },
        { "0 0 31 2 */2", "there is no such date: none of the months has such a day" },
        { "@reboot", "\"@reboot\" is not known, must be @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or @every DURATION" },
        { "@every", "\"@every\" is not known, must be @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or @every DURATION" },
        { "@every 5", "@every \"5\" is not allowed, must be a duration such as \"30s\", from 1s to 3660d" },
        { "@every 999ms", "@every \"999ms\" is not allowed, must be a duration such as \"30s\", from 1s to 3660d" },
        { "@every 3661d", "@every \"3661d\" is not allowed, must be a duration such as \"30s\", from 1s to 3660d" },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct schedule_cron c = { .minutes = 4711 };
        char why[SCHEDULE_WHY_MAX] = "";
        assert_int_equal(schedule_cron_parse(sl_str(rows[i].text), &c, why), SL_EINVAL);
        assert_string_equal(why, rows[i].why);
        assert_int_equal(c.minutes, 4711);
    }
}

static void a_distance_is_a_duration_from_a_second_on(void **state)
{
    (void)state;
    assert_int_equal(cron("@every 1s", NULL).cron.every_ms, 1000);
    assert_int_equal(cron(" @every  90m ", NULL).cron.every_ms, 5400000);
    assert_int_equal(cron("@every 3660d", NULL).cron.every_ms, SCHEDULE_EVERY_MAX_MS);
}

static void names_of_zones_lead_nowhere_else(void **state)
{
    (void)state;
    static const char *const good[] = { "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Etc/GMT-14" };
    static const char *const bad[] = { "", "/etc/passwd", "../Europe/Berlin", "Europe/", "Europe.Berlin", "CET-1CEST,M3.5.0", ":UTC", "a b" };
    for (size_t i = 0; i < SL_COUNT(good); i++)
        assert_true(schedule_is_zone_name(sl_str(good[i])));
    for (size_t i = 0; i < SL_COUNT(bad); i++)
        assert_false(schedule_is_zone_name(sl_str(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_notation_is_the_set_that_it_means),
        cmocka_unit_test(a_field_that_begins_with_a_star_is_not_restricted),
        cmocka_unit_test(a_fault_names_its_field_and_what_is_allowed),
        cmocka_unit_test(a_distance_is_a_duration_from_a_second_on),
        cmocka_unit_test(names_of_zones_lead_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
