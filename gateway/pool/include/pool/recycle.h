/* When a worker has worked enough: after so many messages, so much time, or when
 * it has grown too large. Pure. Each bound is drawn anew for each worker, up to
 * 15 % below what was configured, so that those that started together do not go
 * together. */
#ifndef POOL_RECYCLE_H
#define POOL_RECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/rng.h"

enum recycle_cause { RECYCLE_NONE, RECYCLE_JOBS, RECYCLE_AGE, RECYCLE_RSS, RECYCLE_CAUSES };
const char *recycle_cause_name(enum recycle_cause c);

/* 0: no bound. */
struct recycle_config {
    uint64_t max_jobs, max_age_ms, max_rss_bytes;
};

/* One worker's bounds; UINT64_MAX: none. */
struct recycle {
    uint64_t jobs, at_ms, rss_bytes;
    uint64_t urgent_bytes; /* twice the configured: it does not wait for its replacement */
};

void recycle_init(struct recycle *r, const struct recycle_config *cfg, uint64_t now_ms, struct sl_rng *rng);

struct recycle_seen {
    uint64_t jobs, now_ms;
    uint64_t rss_bytes; /* 0: not known */
};
enum recycle_cause recycle_due(const struct recycle *r, const struct recycle_seen *seen);
bool recycle_is_urgent(const struct recycle *r, uint64_t rss_bytes);
/* How many more of `workers` may be replaced while `under_way` are: a quarter at
 * a time, at least one. */
uint32_t recycle_room(uint32_t workers, uint32_t under_way);

#endif
