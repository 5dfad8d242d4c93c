/* Local time and real time, in seconds. */
#ifndef SCHEDULE_ZONE_H
#define SCHEDULE_ZONE_H

#include "schedule/schedule.h"

#define ZONE_OFFSET_MAX_S 172800

/* A time with one offset, [begin_s, end_s). */
struct stretch {
    int64_t begin_s, end_s; /* INT64_MIN, INT64_MAX: there is no other one */
    int32_t offset_s;
};

struct stretch zone_stretch(const struct schedule_zone *z, int64_t at_s);
/* When clocks show this local time first; when they never do, the end of the gap
 * that swallowed it. Does not fall while local_s rises. */
int64_t zone_instant_s(const struct schedule_zone *z, int64_t local_s);

#endif
