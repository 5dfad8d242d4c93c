#include "core/times.h"

#include <stdio.h>

#define JUMP_MS           60000
#define DAY_MS            INT64_C(86400000)
#define DAY_MINUTES       INT64_C(1440)
#define LAST_FORMATTED_MS UINT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/* ---- the clock ---- */

/* By how much steady time goes on: as the wall clock does, unless that jumped
 * against monotonic time. A small step back of the wall clock is followed too. */
static int64_t steady_step(const struct sl_clock *c, uint64_t mono_ms, uint64_t wall_ms)
{
    int64_t mono = (int64_t)(mono_ms - c->last_mono_ms);
    int64_t wall = (int64_t)(wall_ms - c->last_wall_ms);
    int64_t drift = wall - mono;
    return drift > JUMP_MS || drift < -JUMP_MS ? mono : wall;
}

struct sl_now sl_clock_advance(struct sl_clock *c, uint64_t mono_us, uint64_t wall_ms)
{
    uint64_t mono_ms = mono_us / 1000;
    if (c->started) {
        c->steady_ms += (uint64_t)steady_step(c, mono_ms, wall_ms);
    } else {
        c->started = true;
        c->steady_ms = wall_ms;
    }
    c->last_mono_ms = mono_ms;
    c->last_wall_ms = wall_ms;
    return (struct sl_now){mono_us, mono_ms, wall_ms, c->steady_ms};
}

/* ---- the calendar: the proleptic Gregorian one, as RFC 3339 asks ---- */

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 0000-03-01 to a day after it, by years that begin in March: the leap day
 * is then the last of its year, and the months before a month have a closed
 * form (153 days in each five). */
static int64_t march_days(unsigned year, unsigned month, unsigned day)
{
    int64_t y = (int64_t)year - (month <= 2);
    int64_t m = (month + 9) % 12;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
}

static int64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
    return march_days(year, month, day) - march_days(1970, 1, 1);
}

/* ---- RFC 3339 ---- */

/* Exactly n digits; bad when there are others. */
static unsigned digits(struct sl_reader *r, size_t n)
{
    struct sl_bytes text = sl_rd_bytes(r, n);
    uint64_t v = 0;
    if (!r->bad && sl_bytes_u64(text, 9999, &v) != SL_OK)
        r->bad = true;
    return (unsigned)v;
}

static void literal(struct sl_reader *r, char c)
{
    if (sl_rd_u8(r) != (uint8_t)c)
        r->bad = true;
}

/* "T" and "Z" may be lower case (RFC 3339, 5.6). */
static void letter(struct sl_reader *r, char upper)
{
    if ((sl_rd_u8(r) & 0xdf) != (uint8_t)upper)
        r->bad = true;
}

static bool next_is(const struct sl_reader *r, char c)
{
    return sl_reader_left(r) > 0 && *r->p == (uint8_t)c;
}

/* From 1969 on: with an offset, its last hours are after 1970 began. */
static int64_t date_days(struct sl_reader *r)
{
    unsigned year = digits(r, 4);
    literal(r, '-');
    unsigned month = digits(r, 2);
    literal(r, '-');
    unsigned day = digits(r, 2);
    bool known = !r->bad && year >= 1969 && month >= 1 && month <= 12;
    if (!known || day < 1 || day > days_in_month(year, month)) {
        r->bad = true;
        return 0;
    }
    return days_since_1970(year, month, day);
}

/* Milliseconds; finer digits are cut off. */
static unsigned fraction_ms(struct sl_reader *r)
{
    if (!next_is(r, '.'))
        return 0;
    literal(r, '.');
    unsigned ms = digits(r, 1) * 100;
    for (unsigned weight = 10; sl_reader_left(r) > 0 && *r->p >= '0' && *r->p <= '9'; weight /= 10)
        ms += weight * digits(r, 1);
    return ms;
}

static int64_t hours_minutes(struct sl_reader *r)
{
    unsigned hour = digits(r, 2);
    literal(r, ':');
    unsigned minute = digits(r, 2);
    if (hour > 23 || minute > 59)
        r->bad = true;
    return (int64_t)hour * 60 + minute;
}

static int64_t offset_minutes(struct sl_reader *r)
{
    if (!next_is(r, '+') && !next_is(r, '-')) {
        letter(r, 'Z');
        return 0;
    }
    int64_t sign = next_is(r, '+') ? 1 : -1;
    (void)sl_rd_u8(r);
    return sign * hours_minutes(r);
}

int sl_time_parse(struct sl_bytes in, uint64_t *wall_ms)
{
    struct sl_reader r = sl_reader_of(in);
    int64_t days = date_days(&r);
    letter(&r, 'T');
    int64_t minutes = hours_minutes(&r);
    literal(&r, ':');
    unsigned second = digits(&r, 2);
    unsigned fraction = fraction_ms(&r);
    minutes += days * DAY_MINUTES - offset_minutes(&r);
    if (r.bad || sl_reader_left(&r) > 0 || minutes < 0)
        return SL_EINVAL;
    /* A leap second ends a UTC day; it counts as the first second of the next. */
    bool ends_day = minutes % DAY_MINUTES == DAY_MINUTES - 1;
    if (second > 60 || (second == 60 && !ends_day))
        return SL_EINVAL;
    *wall_ms = ((uint64_t)minutes * 60 + second) * 1000 + fraction;
    return SL_OK;
}

/* The year that the day lies in: an estimate that is never too large, then on. */
static unsigned year_of(int64_t days)
{
    unsigned year = 1970 + (unsigned)(days / 366);
    while (days_since_1970(year + 1, 1, 1) <= days)
        year++;
    return year;
}

const char *sl_time_format(uint64_t wall_ms, char *out, size_t cap)
{
    if (wall_ms > LAST_FORMATTED_MS)
        wall_ms = LAST_FORMATTED_MS;
    int64_t days = (int64_t)wall_ms / DAY_MS;
    unsigned ms = (unsigned)((int64_t)wall_ms % DAY_MS);
    unsigned year = year_of(days);
    unsigned left = (unsigned)(days - days_since_1970(year, 1, 1));
    unsigned month = 1;
    for (; left >= days_in_month(year, month); month++)
        left -= days_in_month(year, month);
    (void)snprintf(out, cap, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, month, left + 1,
                   ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    return out;
}
