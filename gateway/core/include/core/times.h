/* Time as a parameter. The shell reads the clocks once per turn and hands the
 * values down; nothing pure ever asks for the time.
 *
 * mono_ms never jumps: leases, limits, keep-alive. wall_ms is milliseconds
 * since 1970 and may jump: absolute deadlines. steady_ms is wall time without
 * jumps of over 60 s, as of this process's start: deadlines that were given as
 * a duration (ttl, delay, retry). */
#ifndef CORE_TIMES_H
#define CORE_TIMES_H

#include "core/bytes.h"

struct sl_now {
    uint64_t mono_us;
    uint64_t mono_ms;
    uint64_t wall_ms;
    uint64_t steady_ms;
};

/* Keeps steady_ms: all zero before the first call. */
struct sl_clock {
    uint64_t last_mono_ms, last_wall_ms, steady_ms;
    bool started;
};

struct sl_now sl_clock_advance(struct sl_clock *c, uint64_t mono_us, uint64_t wall_ms);

/* RFC 3339 with offset or Z, to ms since 1970. SL_EINVAL. */
SL_CHECK int sl_time_parse(struct sl_bytes in, uint64_t *wall_ms);
/* "2026-11-21T10:00:00.123Z"; cap at least 25. Returns out. */
const char *sl_time_format(uint64_t wall_ms, char *out, size_t cap);

#endif
