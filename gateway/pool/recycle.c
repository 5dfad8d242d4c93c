#include "pool/recycle.h"

#define JITTER 0.15

const char *recycle_cause_name(enum recycle_cause c)
{
    static const char *const names[] = {
        [RECYCLE_NONE] = "none", [RECYCLE_JOBS] = "max_jobs", [RECYCLE_AGE] = "max_age", [RECYCLE_RSS] = "max_rss",
    };
    return names[c];
}

/* At least 1 of what is bounded. */
static uint64_t drawn(uint64_t max, struct sl_rng *rng)
{
    if (max == 0)
        return UINT64_MAX;
    uint64_t less = (uint64_t)((double)max * JITTER * sl_rng_unit(rng));
    return less < max ? max - less : 1;
}

void recycle_init(struct recycle *r, const struct recycle_config *cfg, uint64_t now_ms, struct sl_rng *rng)
{
    uint64_t age_ms = drawn(cfg->max_age_ms, rng);
    *r = (struct recycle){
        .jobs = drawn(cfg->max_jobs, rng),
        .at_ms = age_ms > UINT64_MAX - now_ms ? UINT64_MAX : now_ms + age_ms,
        .rss_bytes = drawn(cfg->max_rss_bytes, rng),
        .urgent_bytes = cfg->max_rss_bytes == 0 || cfg->max_rss_bytes > UINT64_MAX / 2 ? UINT64_MAX : cfg->max_rss_bytes * 2,
    };
}

enum recycle_cause recycle_due(const struct recycle *r, const struct recycle_seen *seen)
{
    if (seen->rss_bytes >= r->rss_bytes)
        return RECYCLE_RSS;
    if (seen->jobs >= r->jobs)
        return RECYCLE_JOBS;
    return seen->now_ms >= r->at_ms ? RECYCLE_AGE : RECYCLE_NONE;
}

bool recycle_is_urgent(const struct recycle *r, uint64_t rss_bytes)
{
    return rss_bytes >= r->urgent_bytes;
}

uint32_t recycle_room(uint32_t workers, uint32_t under_way)
{
    uint32_t quarter = workers / 4 > 0 ? workers / 4 : 1;
    return under_way < quarter ? quarter - under_way : 0;
}
