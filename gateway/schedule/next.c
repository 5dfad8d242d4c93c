/* The next firing: from local minute to local minute, and to real time by the
 * zone's table. */
#include "calendar.h"
#include "zone.h"

#define DAY_MINUTES   1440
#define NO_MINUTE     INT64_MAX
#define HORIZON_DAYS  36525             /* a hundred years: every expression that fires at all does so within 40 */
#define FIRST_S       (2 * INT64_C(86400)) /* local times are then never before 1970 */
#define LAST_MS       UINT64_C(253402300799999) /* 9999-12-31 */

static bool has(uint64_t set, unsigned value)
{
    return (set >> value & 1) != 0;
}

/* As cron has it: when both day fields are restricted, either one does. */
static bool day_suits(const struct schedule_cron *c, const struct date *d)
{
    bool day = has(c->days, d->of_month), weekday = has(c->weekdays, d->weekday);
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* The first minute of a day from `from` on; -1: none is left. */
static int minute_of_day(const struct schedule_cron *c, unsigned from)
{
    for (unsigned hour = from / 60; hour < 24; hour++) {
        if (!has(c->hours, hour))
            continue;
        for (unsigned minute = hour == from / 60 ? from % 60 : 0; minute < 60; minute++)
            if (has(c->minutes, minute))
                return (int)(hour * 60 + minute);
    }
    return -1;
}

/* The first local minute from this one on that suits; NO_MINUTE. */
static int64_t next_minute(const struct schedule_cron *c, int64_t from)
{
    struct date d = date_of(from / DAY_MINUTES);
    unsigned start = (unsigned)(from % DAY_MINUTES);
    int64_t end = d.day + HORIZON_DAYS;
    while (d.day < end) {
        int at = -1;
        bool month = has(c->months, d.month);
        if (month && day_suits(c, &d))
            at = minute_of_day(c, start);
        if (at >= 0)
            return d.day * DAY_MINUTES + at;
        start = 0;
        if (month)
            date_next_day(&d);
        else
            date_next_month(&d);
    }
    return NO_MINUTE;
}

static uint64_t next_wild(const struct schedule *s, int64_t after_s)
{
    int64_t from = after_s + 1;
    for (;;) {
        struct stretch now = zone_stretch(s->zone, from);
        int64_t minute = next_minute(&s->cron, (from + now.offset_s + 59) / 60);
        if (minute == NO_MINUTE)
            return SCHEDULE_NEVER;
        if (minute * 60 - now.offset_s < now.end_s)
            return (uint64_t)(minute * 60 - now.offset_s) * 1000;
        from = now.end_s;
    }
}

/* Local minutes in their order become times in their order; those that are told
 * apart no more (in a gap), or had their turn (the second time), are passed by. */
static uint64_t next_fixed(const struct schedule *s, int64_t after_s)
{
    int64_t minute = (after_s + zone_stretch(s->zone, after_s).offset_s) / 60;
    for (;; minute++) {
        minute = next_minute(&s->cron, minute);
        if (minute == NO_MINUTE)
            return SCHEDULE_NEVER;
        int64_t at = zone_instant_s(s->zone, minute * 60);
        if (at > after_s)
            return (uint64_t)at * 1000;
    }
}

uint64_t schedule_next(const struct schedule *s, uint64_t done_ms)
{
    if (done_ms > LAST_MS)
        return SCHEDULE_NEVER;
    if (s->cron.every_ms > 0)
        return done_ms + s->cron.every_ms;
    int64_t after_s = (int64_t)(done_ms / 1000);
    if (after_s < FIRST_S)
        after_s = FIRST_S;
    return s->cron.wild ? next_wild(s, after_s) : next_fixed(s, after_s);
}
