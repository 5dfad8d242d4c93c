/* Expressions: five fields, each a list of values, ranges and steps.
 *
 *   field  item { "," item }
 *   item   ( "*" | value [ "-" value ] ) [ "/" step ]
 *
 * A value is a number, or the first three letters of a month or a weekday. */
#include <stdarg.h>
#include <stdio.h>

#include "calendar.h"
#include "core/units.h"
#include "core/utf8.h"
#include "schedule/schedule.h"

#define N_FIELDS 5u

static const char *const months[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const weekdays[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

struct field {
    const char *name, *allowed;
    unsigned min, max;
    const char *const *names; /* of min and the next ones */
};

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };
static const struct field fields[N_FIELDS] = {
    [MINUTE] = { "minute", "0 to 59", 0, 59, NULL },
    [HOUR] = { "hour", "0 to 23", 0, 23, NULL },
    [DAY] = { "day of month", "1 to 31", 1, 31, NULL },
    [MONTH] = { "month", "1 to 12 or jan to dec", 1, 12, months },
    [WEEKDAY] = { "day of week", "0 to 7 (0 and 7 are Sunday) or sun to sat", 0, 7, weekdays },
};

/* One field while it is read. */
struct reading {
    const struct field *field;
    struct sl_bytes text; /* the whole field */
    const uint8_t *p, *end;
    char *why;
};

static int refuse(char *why, const char *fmt, ...) SL_PRINTF(2, 3);
static int refuse(char *why, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(why, SCHEDULE_WHY_MAX, fmt, args);
    va_end(args);
    return SL_EINVAL;
}

static int refuse_field(const struct reading *r, const char *allowed)
{
    char shown[48];
    return refuse(r->why, "%s \"%s\" is not allowed, must be %s", r->field->name, sl_escape(r->text, shown, sizeof shown), allowed);
}

static bool take(struct reading *r, char c)
{
    if (r->p == r->end || *r->p != (uint8_t)c)
        return false;
    r->p++;
    return true;
}

/* ---- values ---- */

static struct sl_bytes take_word(struct reading *r)
{
    const uint8_t *begin = r->p;
    while (r->p < r->end && memchr(",-/", *r->p, 3) == NULL)
        r->p++;
    return sl_bytes_of(begin, (size_t)(r->p - begin));
}

static bool is_word(struct sl_bytes text, const char *word)
{
    if (text.n != strlen(word))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if ((text.p[i] | 0x20) != (uint8_t)word[i])
            return false;
    return true;
}

static int read_value(struct reading *r, unsigned *out)
{
    struct sl_bytes word = take_word(r);
    const struct field *f = r->field;
    uint64_t v;
    for (unsigned i = 0; f->names != NULL && f->names[i] != NULL; i++) {
        if (!is_word(word, f->names[i]))
            continue;
        *out = f->min + i;
        return SL_OK;
    }
    if (word.n > 2 || sl_bytes_u64(word, f->max, &v) != SL_OK || v < f->min)
        return refuse_field(r, f->allowed);
    *out = (unsigned)v;
    return SL_OK;
}

static int read_step(struct reading *r, unsigned *out)
{
    char allowed[64];
    struct sl_bytes word = take_word(r);
    uint64_t v;
    (void)snprintf(allowed, sizeof allowed, "a step from 1 to %u behind the /", r->field->max);
    if (word.n > 2 || sl_bytes_u64(word, r->field->max, &v) != SL_OK || v == 0)
        return refuse_field(r, allowed);
    *out = (unsigned)v;
    return SL_OK;
}

/* ---- items ---- */

/* A range that ends on Sunday goes on to it. */
static unsigned end_of_range(const struct field *f, unsigned from, unsigned to)
{
    return f == &fields[WEEKDAY] && to == 0 && from > 0 ? 7 : to;
}

static int read_range(struct reading *r, unsigned *from, unsigned *to, bool *single)
{
    const struct field *f = r->field;
    *from = f->min;
    *to = f == &fields[WEEKDAY] ? 6 : f->max; /* 7 is another name of 0 */
    *single = false;
    if (take(r, '*'))
        return SL_OK;
    int err = read_value(r, from);
    *single = true;
    *to = *from;
    if (err != SL_OK || !take(r, '-'))
        return err;
    *single = false;
    err = read_value(r, to);
    if (err != SL_OK)
        return err;
    *to = end_of_range(f, *from, *to);
    return *from <= *to ? SL_OK : refuse_field(r, "a range that ends after it begins");
}

static int read_item(struct reading *r, uint64_t *set)
{
    unsigned from, to, step = 1;
    bool single;
    int err = read_range(r, &from, &to, &single);
    if (err != SL_OK)
        return err;
    if (take(r, '/')) {
        if (single)
            to = r->field->max; /* "5/15" begins at 5 */
        err = read_step(r, &step);
        if (err != SL_OK)
            return err;
    }
    for (unsigned v = from; v <= to; v += step)
        *set |= UINT64_C(1) << v;
    return SL_OK;
}

static int read_field(const struct field *f, struct sl_bytes text, uint64_t *set, char *why)
{
    struct reading r = { f, text, text.p, text.p + text.n, why };
    *set = 0;
    do {
        int err = read_item(&r, set);
        if (err != SL_OK)
            return err;
    } while (take(&r, ','));
    return r.p == r.end ? SL_OK : refuse_field(&r, f->allowed);
}

/* ---- the whole ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* At most one more than there may be; returns how many there are. */
static size_t split(struct sl_bytes text, struct sl_bytes out[N_FIELDS])
{
    size_t n = 0, i = 0;
    for (;;) {
        while (i < text.n && is_blank(text.p[i]))
            i++;
        if (i == text.n)
            return n;
        size_t begin = i;
        while (i < text.n && !is_blank(text.p[i]))
            i++;
        if (n < N_FIELDS)
            out[n] = sl_bytes_of(text.p + begin, i - begin);
        n++;
    }
}

static bool is_possible(const struct schedule_cron *c)
{
    if (!c->any_day && !c->any_weekday)
        return true; /* the weekday alone is enough */
    for (unsigned month = 1; month <= 12; month++)
        for (unsigned day = 1; (c->months >> month & 1) != 0 && day <= days_in_month(2000, month); day++)
            if ((c->days >> day & 1) != 0)
                return true;
    return false;
}

static int parse_fields(const struct sl_bytes text[N_FIELDS], struct schedule_cron *out, char *why)
{
    uint64_t sets[N_FIELDS];
    bool star[N_FIELDS];
    for (size_t i = 0; i < N_FIELDS; i++) {
        int err = read_field(&fields[i], text[i], &sets[i], why);
        if (err != SL_OK)
            return err;
        star[i] = text[i].p[0] == '*';
    }
    struct schedule_cron c = {
        .minutes = sets[MINUTE],
        .hours = (uint32_t)sets[HOUR],
        .days = (uint32_t)sets[DAY],
        .months = (uint16_t)sets[MONTH],
        .weekdays = (uint8_t)((sets[WEEKDAY] | sets[WEEKDAY] >> 7) & 0x7f),
        .any_day = star[DAY],
        .any_weekday = star[WEEKDAY],
        .wild = star[MINUTE] || star[HOUR],
    };
    if (!is_possible(&c))
        return refuse(why, "there is no such date: none of the months has such a day");
    *out = c;
    return SL_OK;
}

bool schedule_is_distance(uint64_t ms)
{
    return ms >= SCHEDULE_EVERY_MIN_MS && ms <= SCHEDULE_EVERY_MAX_MS;
}

static int parse_every(struct sl_bytes duration, struct schedule_cron *out, char *why)
{
    char shown[48];
    uint64_t ms;
    if (sl_duration_parse(duration, &ms) != SL_OK || !schedule_is_distance(ms))
        return refuse(why, "@every \"%s\" is not allowed, must be a duration such as \"30s\", from 1s to 3660d", sl_escape(duration, shown, sizeof shown));
    *out = (struct schedule_cron){ .every_ms = ms };
    return SL_OK;
}

static int parse_named(struct sl_bytes name, struct schedule_cron *out, char *why)
{
    static const struct {
        const char *name, *fields;
    } known[] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },  { "@weekly", "0 0 * * 0" },
        { "@daily", "0 0 * * *" },  { "@midnight", "0 0 * * *" }, { "@hourly", "0 * * * *" },
    };
    char shown[48];
    struct sl_bytes text[N_FIELDS];
    for (size_t i = 0; i < SL_COUNT(known); i++) {
        if (!sl_bytes_is(name, known[i].name))
            continue;
        (void)split(sl_str(known[i].fields), text);
        return parse_fields(text, out, why);
    }
    return refuse(why, "\"%s\" is not known, must be @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or @every DURATION", sl_escape(name, shown, sizeof shown));
}

int schedule_cron_parse(struct sl_bytes text, struct schedule_cron *out, char why[SCHEDULE_WHY_MAX])
{
    struct sl_bytes part[N_FIELDS];
    size_t n = split(text, part);
    if (n == 2 && sl_bytes_is(part[0], "@every"))
        return parse_every(part[1], out, why);
    if (n == 1 && part[0].p[0] == '@')
        return parse_named(part[0], out, why);
    if (n != N_FIELDS)
        return refuse(why, "has %zu field%s, must have 5: minute, hour, day of month, month, day of week", n, n == 1 ? "" : "s");
    return parse_fields(part, out, why);
}
