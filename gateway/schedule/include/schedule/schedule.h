/* When something is to happen again and again: cron expressions in a time zone,
 * or a fixed distance, and what becomes of times at which nobody was there.
 *
 * Pure: wall time comes in as ms since 1970, and so do the offsets of a time
 * zone, which only the shell can look up. Nothing here remembers; the caller
 * keeps `done_ms`, the latest time that is done with. */
#ifndef SCHEDULE_SCHEDULE_H
#define SCHEDULE_SCHEDULE_H

#include "core/bytes.h"

#define SCHEDULE_NEVER        UINT64_MAX
#define SCHEDULE_WHY_MAX      160u
#define SCHEDULE_EVERY_MIN_MS 1000u
#define SCHEDULE_EVERY_MAX_MS (UINT64_C(3660) * 86400000u)
#define SCHEDULE_CATCH_UP_MAX 1000u  /* so many missed ones are made up for with SCHEDULE_ALL */
#define SCHEDULE_COUNTED_MAX  10000u /* more that are passed over are not counted */

/* ---- time zones (zone.c) ---- */

struct schedule_transition {
    uint64_t at_ms;   /* whole seconds; from then on */
    int32_t offset_s; /* local time is UTC and this */
};

struct schedule_zone {
    const char *name;
    int32_t offset_s; /* before the first transition */
    const struct schedule_transition *v; /* ascending */
    size_t n;
};

/* A name as the zone database has them, such as "Europe/Berlin": whether there is
 * such a zone is the shell's to know. */
bool schedule_is_zone_name(struct sl_bytes name);
/* NULL is UTC. */
int32_t schedule_zone_offset_s(const struct schedule_zone *z, uint64_t wall_ms);

/* ---- expressions (cron.c) ---- */

/* A parsed expression; bit n of a set: the value n. */
struct schedule_cron {
    uint64_t every_ms;   /* not 0: a fixed distance, and all else is unused */
    uint64_t minutes;
    uint32_t hours, days;
    uint16_t months;
    uint8_t weekdays;    /* 0: Sunday */
    bool any_day, any_weekday; /* the field began with `*`: a day must suit both fields, else one of them */
    bool wild;           /* minute or hour began with `*`: it follows real time through a change of offset */
};

/* Five fields (minute, hour, day of month, month, day of week), @hourly and the
 * like, or "@every DURATION".
 *
 * SL_OK
 * SL_EINVAL  `why` names the field, and what is allowed */
SL_CHECK int schedule_cron_parse(struct sl_bytes text, struct schedule_cron *out, char why[SCHEDULE_WHY_MAX]);
bool schedule_is_distance(uint64_t ms);

/* ---- firings (next.c, plan.c) ---- */

enum schedule_missed { SCHEDULE_SKIP, SCHEDULE_ONCE, SCHEDULE_ALL };

struct schedule {
    struct schedule_cron cron;
    const struct schedule_zone *zone; /* NULL: UTC; borrowed */
    enum schedule_missed missed;
};

/* The first firing after `done_ms`; SCHEDULE_NEVER: none within a hundred years.
 *
 * Of an expression with a fixed minute and hour a local time that does not exist
 * fires right after the gap, and one that occurs twice fires the first time. One
 * with a wild minute or hour fires whenever the clock on the wall shows it. */
uint64_t schedule_next(const struct schedule *s, uint64_t done_ms);

/* What to do at `now_ms`. */
struct schedule_plan {
    uint64_t done_ms;   /* passed over up to here: fire what schedule_next tells after it … */
    uint64_t until_ms;  /* … up to this, one after the other */
    uint64_t late;      /* how many were missed, as far as they were counted; 0: none, it goes on as usual */
    uint64_t skipped;   /* how many of those do not fire */
};

/* A firing that is due since more than `grace_ms` was missed, and so were the
 * others up to now. False: nothing is due. */
bool schedule_plan(const struct schedule *s, uint64_t done_ms, uint64_t now_ms, uint64_t grace_ms, struct schedule_plan *out);

#endif
