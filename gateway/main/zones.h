/* Time zones as the C library knows them, as tables. */
#ifndef MAIN_ZONES_H
#define MAIN_ZONES_H

#include "schedule/schedule.h"

/* All zero is empty. */
struct zones {
    struct schedule_zone **v;
    size_t n;
};

/* Whether the zone database has it. */
bool zones_exists(const char *name);
/* Reads it, unless it has been read or is UTC. Sets TZ for a moment: only while there is one thread.
 * SL_OK; SL_ENOENT: there is no such zone. */
SL_CHECK int zones_read(struct zones *z, const char *name);
/* NULL: it is UTC, or has not been read. */
const struct schedule_zone *zones_find(const struct zones *z, const char *name);
void zones_fini(struct zones *z);

#endif
