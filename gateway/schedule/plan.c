/* What was missed while nobody was there, and what becomes of it. */
#include "schedule/schedule.h"

#define MINUTE_MS UINT64_C(60000) /* nothing is denser */

/* Firings in (from, to]; counts to `max` at most. *last: the latest of those. */
static uint64_t count(const struct schedule *s, uint64_t from, uint64_t to, uint64_t max, uint64_t *last)
{
    uint64_t n = 0;
    for (uint64_t at = schedule_next(s, from); at <= to && n < max; at = schedule_next(s, at)) {
        *last = at;
        n++;
    }
    return n;
}

/* The point after which the latest firings lie, `want` or a few more, or all since
 * `done`. It is looked for from the end, in steps that double: what was missed may be
 * years of minutes. */
static uint64_t begin_of_latest(const struct schedule *s, uint64_t done_ms, uint64_t now_ms, uint64_t want)
{
    uint64_t last;
    for (uint64_t span = want * MINUTE_MS; now_ms - done_ms > span; span *= 2)
        if (count(s, now_ms - span, now_ms, want, &last) == want)
            return now_ms - span;
    return done_ms;
}

/* All but the latest `keep` in (from, to] are passed over: returns the last of those, or `from`. */
static uint64_t pass_over(const struct schedule *s, uint64_t from, uint64_t to, uint64_t keep)
{
    uint64_t last = from, n = count(s, from, to, UINT64_MAX, &last);
    uint64_t at = from;
    for (; n > keep; n--)
        at = schedule_next(s, at);
    return at;
}

static void plan_cron(const struct schedule *s, uint64_t keep, struct schedule_plan *p)
{
    uint64_t now_ms = p->until_ms, from = p->done_ms, last;
    p->late = count(s, from, now_ms, SCHEDULE_COUNTED_MAX, &last);
    p->done_ms = keep == 0 ? now_ms : pass_over(s, begin_of_latest(s, from, now_ms, keep), now_ms, keep);
    p->skipped = count(s, from, p->done_ms, SCHEDULE_COUNTED_MAX, &last);
}

/* Its phase stays: the distance is counted from the latest one that is done with. */
static void plan_every(const struct schedule *s, uint64_t keep, struct schedule_plan *p)
{
    p->late = (p->until_ms - p->done_ms) / s->cron.every_ms;
    p->skipped = p->late > keep ? p->late - keep : 0;
    p->done_ms += p->skipped * s->cron.every_ms;
}

bool schedule_plan(const struct schedule *s, uint64_t done_ms, uint64_t now_ms, uint64_t grace_ms, struct schedule_plan *out)
{
    static const uint64_t keep[] = { [SCHEDULE_SKIP] = 0, [SCHEDULE_ONCE] = 1, [SCHEDULE_ALL] = SCHEDULE_CATCH_UP_MAX };
    uint64_t due = schedule_next(s, done_ms);
    if (due > now_ms)
        return false;
    *out = (struct schedule_plan){ .done_ms = done_ms, .until_ms = now_ms };
    if (now_ms - due <= grace_ms)
        return true;
    if (s->cron.every_ms > 0)
        plan_every(s, keep[s->missed], out);
    else
        plan_cron(s, keep[s->missed], out);
    return true;
}
