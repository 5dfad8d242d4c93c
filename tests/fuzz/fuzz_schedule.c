/* An expression; after a NUL byte a time, a distance to another one, and a zone of
 * up to eight transitions. Whatever comes: a fault with its reason, or firings that
 * go on for ever, and what was missed is told in bounded time. */
#include <stdlib.h>

#include "schedule/schedule.h"

#define TRANSITIONS 8u
#define STEPS       20u
#define LATEST_MS   UINT64_C(32503680000000) /* the year 3000 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static uint64_t rd_u64(struct sl_reader *r)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | sl_rd_u8(r);
    return v;
}

static int32_t rd_offset(struct sl_reader *r)
{
    return (int32_t)(rd_u64(r) % 172800) - 86400;
}

static size_t rd_transitions(struct sl_reader *r, struct schedule_transition *v)
{
    uint64_t at_s = rd_u64(r) % (LATEST_MS / 1000);
    size_t n = 0;
    while (n < TRANSITIONS && sl_reader_left(r) >= 16) {
        at_s += 1 + rd_u64(r) % 100000000;
        v[n++] = (struct schedule_transition){ at_s * 1000, rd_offset(r) };
    }
    return n;
}

static void check_refused(struct sl_bytes text)
{
    struct schedule_cron c = { .minutes = 4711 };
    char why[SCHEDULE_WHY_MAX] = "";
    require(schedule_cron_parse(text, &c, why) == SL_EINVAL && c.minutes == 4711);
    require(memchr(why, '\0', sizeof why) != NULL && why[0] != '\0');
}

static void check_next(const struct schedule *s, uint64_t from)
{
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t next = schedule_next(s, from);
        require(next > from && next != SCHEDULE_NEVER);
        require(s->cron.every_ms > 0 || next % 1000 == 0);
        from = next;
    }
}

static void check_plan(const struct schedule *s, uint64_t done, uint64_t now)
{
    struct schedule_plan p;
    if (!schedule_plan(s, done, now, 0, &p)) {
        require(schedule_next(s, done) > now);
        return;
    }
    uint64_t n = 0;
    for (uint64_t at = schedule_next(s, p.done_ms); at <= p.until_ms; at = schedule_next(s, at))
        n++;
    require(p.done_ms >= done && p.done_ms <= now && p.until_ms == now && p.skipped <= p.late);
    require(n <= SCHEDULE_CATCH_UP_MAX && (s->missed != SCHEDULE_SKIP || p.late == 0 || n == 0) && (s->missed != SCHEDULE_ONCE || n == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    size_t n = nul == NULL ? size : (size_t)(nul - data);
    struct sl_reader r = sl_reader_of(sl_bytes_of(data + n, size - n));
    struct schedule_transition v[TRANSITIONS];
    struct schedule s = { .zone = NULL };
    char why[SCHEDULE_WHY_MAX];
    if (schedule_cron_parse(sl_bytes_of(data, n), &s.cron, why) != SL_OK) {
        check_refused(sl_bytes_of(data, n));
        return 0;
    }
    (void)sl_rd_u8(&r);
    s.missed = (enum schedule_missed)(sl_rd_u8(&r) % 3);
    uint64_t from = rd_u64(&r) % LATEST_MS, until = from + rd_u64(&r) % (LATEST_MS / 100000);
    struct schedule_zone zone = { .name = "fuzz", .offset_s = rd_offset(&r), .v = v };
    zone.n = rd_transitions(&r, v);
    s.zone = zone.n > 0 ? &zone : NULL;
    check_next(&s, from);
    check_plan(&s, from, until);
    return 0;
}
