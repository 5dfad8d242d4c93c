#include "schedule_kit.h"

#include "core/rng.h"

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS    (1440 * MINUTE_MS)

struct row {
    const char *cron;
    const struct schedule_zone *zone;
    const char *after, *next;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct schedule s = cron(rows[i].cron, rows[i].zone);
        uint64_t next = schedule_next(&s, at(rows[i].after));
        if (next != at(rows[i].next))
            fail_msg("\"%s\" in %s after %s: %s, not %s", rows[i].cron, rows[i].zone == NULL ? "UTC" : rows[i].zone->name, rows[i].after, shown(next), rows[i].next);
    }
}

static void the_next_one_is_after_the_one_before(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "* * * * *", NULL, "2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z" },
        { "* * * * *", NULL, "2026-11-21T10:00:59.999Z", "2026-11-21T10:01:00Z" },
        { "* * * * *", NULL, "2026-11-21T09:59:59.999Z", "2026-11-21T10:00:00Z" },
        { "*/5 * * * *", NULL, "2026-11-21T10:00:00.001Z", "2026-11-21T10:05:00Z" },
        { "55/3 * * * *", NULL, "2026-11-21T10:55:00Z", "2026-11-21T10:58:00Z" },
        { "0 12 * * *", NULL, "2026-12-31T12:00:00Z", "2027-01-01T12:00:00Z" },
        { "@hourly", NULL, "2026-11-21T10:30:00Z", "2026-11-21T11:00:00Z" },
        { "@weekly", NULL, "2026-11-21T10:30:00Z", "2026-11-22T00:00:00Z" },
        { "@monthly", NULL, "2026-11-21T10:30:00Z", "2026-12-01T00:00:00Z" },
        { "@yearly", NULL, "2026-11-21T10:30:00Z", "2027-01-01T00:00:00Z" },
        { "0 0 31 * *", NULL, "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z" },
        { "0 0 * jan,jun *", NULL, "2026-01-31T00:00:00Z", "2026-06-01T00:00:00Z" },
    };
    check(rows, SL_COUNT(rows));
}

static void two_restricted_days_are_either_of_them(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "0 0 13 * 5", NULL, "2026-11-10T00:00:00Z", "2026-11-13T00:00:00Z" },
        { "0 0 13 * 5", NULL, "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z" },
        { "0 0 13 * 5", NULL, "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z" },
        { "0 0 31 2 1", NULL, "2026-11-10T00:00:00Z", "2027-02-01T00:00:00Z" }, /* the weekday alone */
        { "0 0 */10 * 1", NULL, "2026-11-01T00:00:00Z", "2026-12-21T00:00:00Z" }, /* both: a Monday that is the 1st, 11th, 21st or 31st */
        { "0 0 * * 0", NULL, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z" },
        { "0 0 * * 7", NULL, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z" },
    };
    check(rows, SL_COUNT(rows));
}

static void leap_days_come_when_they_come(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "0 0 29 2 *", NULL, "2026-11-21T00:00:00Z", "2028-02-29T00:00:00Z" },
        { "0 0 29 2 *", NULL, "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z" },
        { "0 0 29 2 *", NULL, "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z" },
        { "0 0 29 2 */7", NULL, "2032-02-29T00:00:00Z", "2060-02-29T00:00:00Z" }, /* a Sunday */
        { "59 23 31 12 *", NULL, "2099-12-31T23:59:00Z", "2100-12-31T23:59:00Z" },
    };
    check(rows, SL_COUNT(rows));
}

/* Clocks go from 02:00 to 03:00 on 2026-03-29, from 03:00 to 02:00 on 2026-10-25. */
static void fixed_times_fire_once_each_day(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "30 2 * * *", &berlin, "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00" },
        { "30 2 * * *", &berlin, "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00" },
        { "0 2 * * *", &berlin, "2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00" },
        { "0 3 * * *", &berlin, "2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00" },
        { "15,45 2 * * *", &berlin, "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00" },
        { "15,45 2 * * *", &berlin, "2026-03-29T03:00:00+02:00", "2026-03-30T02:15:00+02:00" },
        { "30 2 * * *", &berlin, "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00" },
        { "30 2 * * *", &berlin, "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00" },
        { "30 2 * * *", &berlin, "2026-10-25T02:45:00+02:00", "2026-10-26T02:30:00+01:00" },
        { "0 3 * * *", &berlin, "2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00" },
        { "0 0 * * *", &berlin, "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00" },
    };
    check(rows, SL_COUNT(rows));
}

static void wild_times_follow_the_clock_on_the_wall(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "0 * * * *", &berlin, "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00" },
        { "*/30 * * * *", &berlin, "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00" },
        { "*/15 2 * * *", &berlin, "2026-03-29T01:30:00+01:00", "2026-03-30T02:00:00+02:00" },
        { "30 * * * *", &berlin, "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00" },
        { "30 * * * *", &berlin, "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00" },
        { "*/15 2 * * *", &berlin, "2026-10-25T02:45:00+02:00", "2026-10-25T02:00:00+01:00" },
        { "0 * * * *", &new_york, "2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00" },
    };
    check(rows, SL_COUNT(rows));
}

static void each_zone_has_its_own_rules(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "30 2 * * *", &new_york, "2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00" },
        { "30 1 * * *", &new_york, "2026-10-31T01:30:00-04:00", "2026-11-01T01:30:00-04:00" },
        { "30 1 * * *", &new_york, "2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00" },
        /* 02:00 becomes 02:30 on 2026-10-04, 02:00 becomes 01:30 on 2026-04-05 */
        { "15 2 * * *", &lord_howe, "2026-10-03T02:15:00+10:30", "2026-10-04T02:30:00+11:00" },
        { "15 2 * * *", &lord_howe, "2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00" },
        { "45 1 * * *", &lord_howe, "2026-04-04T01:45:00+11:00", "2026-04-05T01:45:00+11:00" },
        { "45 1 * * *", &lord_howe, "2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30" },
        { "45 * * * *", &lord_howe, "2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30" },
        { "*/10 * * * *", &lord_howe, "2026-10-04T01:50:00+10:30", "2026-10-04T02:30:00+11:00" },
        { "0 9 * * 1", &kathmandu, "2026-11-21T00:00:00Z", "2026-11-23T09:00:00+05:45" },
        { "*/15 * * * *", &kathmandu, "2026-11-21T00:01:00Z", "2026-11-21T00:15:00Z" },
        { "0 0 1 * *", &kathmandu, "2026-11-30T18:14:59Z", "2026-11-30T18:15:00Z" },
        { "0 12 * * *", &apia, "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00" }, /* its day did not exist */
        { "0 12 * * *", &apia, "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00" },
    };
    check(rows, SL_COUNT(rows));
}

static void a_distance_is_counted_from_the_one_before(void **state)
{
    (void)state;
    struct schedule s = cron("@every 90s", &berlin);
    assert_int_equal(schedule_next(&s, 1234567), 1234567 + 90000);
    assert_int_equal(schedule_next(&s, at("2026-03-29T00:59:30Z")), at("2026-03-29T01:01:00Z"));
}

static void the_search_has_an_end(void **state)
{
    (void)state;
    struct schedule s = { .cron = { .minutes = 1, .hours = 1, .days = 1u << 30, .months = 1u << 2, .weekdays = 127, .any_weekday = true } };
    assert_int_equal(schedule_next(&s, at("2026-11-21T00:00:00Z")), SCHEDULE_NEVER); /* 30 February */
    s.cron.wild = true;
    s.zone = &berlin;
    assert_int_equal(schedule_next(&s, at("2026-11-21T00:00:00Z")), SCHEDULE_NEVER);
    s = cron("* * * * *", NULL);
    assert_int_equal(schedule_next(&s, UINT64_MAX), SCHEDULE_NEVER);
    assert_true(schedule_next(&s, 0) < 4 * DAY_MS); /* a clock that was never set */
}

/* ---- against a walk from minute to minute ---- */

struct local {
    unsigned minute, hour, day, month, weekday;
};

/* By counting days from 2026-01-01, one after the other. */
static struct local local_of(int64_t minutes)
{
    static const unsigned days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t day = minutes / 1440 - 20454;
    struct local l = { (unsigned)(minutes % 60), (unsigned)(minutes / 60 % 24), 1, 1, (unsigned)((day + 4) % 7) }; /* a Thursday */
    unsigned year = 2026;
    for (;;) {
        unsigned n = days[l.month - 1] + (l.month == 2 && year % 4 == 0);
        if (day < n)
            break;
        day -= n;
        if (l.month++ == 12) {
            l.month = 1;
            year++;
        }
    }
    l.day = (unsigned)day + 1;
    return l;
}

static bool has(uint64_t set, unsigned n)
{
    return (set >> n & 1) != 0;
}

static bool suits(const struct schedule_cron *c, int64_t minutes)
{
    struct local l = local_of(minutes);
    bool day = has(c->days, l.day), weekday = has(c->weekdays, l.weekday);
    bool restricted = !c->any_day && !c->any_weekday;
    return has(c->minutes, l.minute) && has(c->hours, l.hour) && has(c->months, l.month) && (restricted ? day || weekday : day && weekday);
}

/* Walks real time; `high` is the furthest local minute that clocks have shown. What is skipped fires
 * with the minute after the gap, what comes again does not. */
static uint64_t walk(const struct schedule *s, uint64_t after, uint64_t end)
{
    int64_t high = INT64_MIN;
    for (uint64_t t = after / MINUTE_MS * MINUTE_MS - DAY_MS; t < end; t += MINUTE_MS) {
        int64_t local = ((int64_t)(t / 1000) + schedule_zone_offset_s(s->zone, t)) / 60;
        bool fires = s->cron.wild && suits(&s->cron, local);
        for (int64_t m = high == INT64_MIN ? local : high + 1; !s->cron.wild && m <= local; m++)
            fires = fires || suits(&s->cron, m);
        high = local > high ? local : high;
        if (fires && t > after)
            return t;
    }
    return SCHEDULE_NEVER;
}

static void field(struct sl_rng *r, char *out, size_t cap, unsigned min, unsigned max)
{
    unsigned from = min + (unsigned)sl_rng_below(r, max - min + 1), to = from + (unsigned)sl_rng_below(r, max - from + 1);
    switch (sl_rng_below(r, 6)) {
    case 0:
    case 1:
        (void)snprintf(out, cap, "*");
        return;
    case 2:
        (void)snprintf(out, cap, "*/%u", 1 + (unsigned)sl_rng_below(r, max < 9 ? max : 9));
        return;
    case 3:
        (void)snprintf(out, cap, "%u-%u", from, to);
        return;
    default:
        (void)snprintf(out, cap, "%u,%u", from, to);
        return;
    }
}

static void any_expression_fires_when_a_walk_from_minute_to_minute_says(void **state)
{
    (void)state;
    static const struct schedule_zone *const zones[] = { NULL, &berlin, &new_york, &lord_howe, &kathmandu };
    static const char *const starts[] = { "2026-03-07T00:00:00Z", "2026-03-28T00:00:00Z", "2026-04-04T00:00:00Z", "2026-10-03T00:00:00Z", "2026-10-24T00:00:00Z", "2026-10-31T00:00:00Z", "2027-02-27T00:00:00Z" };
    struct sl_rng r;
    sl_rng_seed(&r, 1);
    unsigned fired = 0;
    for (unsigned i = 0; i < 800; i++) {
        char f[5][24], text[128], why[SCHEDULE_WHY_MAX];
        field(&r, f[0], sizeof f[0], 0, 59);
        field(&r, f[1], sizeof f[1], 0, sl_rng_below(&r, 2) == 0 ? 23 : 4);
        field(&r, f[2], sizeof f[2], 1, 31);
        field(&r, f[3], sizeof f[3], 1, 12);
        field(&r, f[4], sizeof f[4], 0, 7);
        (void)snprintf(text, sizeof text, "%s %s %s %s %s", f[0], f[1], f[2], f[3], f[4]);
        struct schedule s = { .zone = zones[sl_rng_below(&r, SL_COUNT(zones))] };
        if (schedule_cron_parse(sl_str(text), &s.cron, why) != SL_OK)
            continue;
        uint64_t now = at(starts[sl_rng_below(&r, SL_COUNT(starts))]) + sl_rng_below(&r, 2 * DAY_MS), end = now + 2 * DAY_MS;
        for (unsigned n = 0; n < 8; n++) {
            uint64_t next = schedule_next(&s, now), naive = walk(&s, now, end);
            if (naive == SCHEDULE_NEVER ? next < end : next != naive)
                fail_msg("\"%s\" in %s after %llu: %llu, not %llu", text, s.zone == NULL ? "UTC" : s.zone->name, (unsigned long long)now, (unsigned long long)next, (unsigned long long)naive);
            if (naive == SCHEDULE_NEVER)
                break;
            now = next;
            fired++;
        }
    }
    assert_true(fired > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_one_is_after_the_one_before),
        cmocka_unit_test(two_restricted_days_are_either_of_them),
        cmocka_unit_test(leap_days_come_when_they_come),
        cmocka_unit_test(fixed_times_fire_once_each_day),
        cmocka_unit_test(wild_times_follow_the_clock_on_the_wall),
        cmocka_unit_test(each_zone_has_its_own_rules),
        cmocka_unit_test(a_distance_is_counted_from_the_one_before),
        cmocka_unit_test(the_search_has_an_end),
        cmocka_unit_test(any_expression_fires_when_a_walk_from_minute_to_minute_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
