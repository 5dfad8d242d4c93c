/* What operators ask of the pools, and what they are told. */
#include <string.h>

#include "core/alloc.h"
#include "pool_config.h"
#include "external.h"

/* ---- pause, scale, restart ---- */

static void pause_slot(struct slot *s)
{
    bool stuffed = s->worker != NULL && s->worker->stuffed;
    if (s->consumer != 0)
        hub_consumer_pause(hub_of(s), s->consumer, s->pool->paused || stuffed);
}

static void pause_all(struct pool *pool, bool paused)
{
    for (struct pool *g = pool; g != NULL; g = g->before) {
        g->paused = paused;
        for (uint32_t i = 0; i < g->n_slots; i++)
            pause_slot(g->slots[i]);
        external_each(g, pause_slot);
    }
}

void pools_pause(struct pools *p, uint32_t index, bool paused)
{
    struct pool *pool = p->v[index];
    SL_ASSERT(index < p->n);
    if (pool->paused == paused)
        return;
    turn_begin(p);
    sl_log(SL_INFO, paused ? "pool_paused" : "pool_resumed", "pool=%s", pool->cfg->name);
    pause_all(pool, paused);
    watch_until(pool, 0);
}

static void resize(struct pool *pool, const struct size_config *size)
{
    size_set(&pool->size, size, pools_now(pool->pools));
    staff_adjust(pool);
    watch_until(pool, 0);
}

int pools_scale(struct pools *p, uint32_t index, uint32_t min, uint32_t max)
{
    struct pool *pool = p->v[index];
    SL_ASSERT(index < p->n);
    if (max == 0 || min > max || pool->cfg->command == NULL)
        return SL_EINVAL;
    turn_begin(p);
    sl_log(SL_INFO, "pool_scaled", "pool=%s min=%u max=%u", pool->cfg->name, (unsigned)min, (unsigned)max);
    resize(pool, &(struct size_config){ min, max, pool->size.cfg.idle_ms });
    return SL_OK;
}

/* A replacement of an older kind that is not ready yet is not needed any more. */
static void outdate_all(struct pool *pool, bool also_starting)
{
    for (uint32_t i = pool->n_slots; i-- > 0;) {
        struct slot *s = pool->slots[i];
        s->outdated = s->replaces == NULL;
        if (also_starting && s->replaces != NULL)
            staff_retire(s);
    }
}

void pools_restart(struct pools *p, uint32_t index)
{
    struct pool *pool = p->v[index];
    SL_ASSERT(index < p->n);
    turn_begin(p);
    sl_log(SL_INFO, "pool_restart", "pool=%s workers=%u", pool->cfg->name, (unsigned)staff_count(pool));
    for (struct pool *g = pool; g != NULL; g = g->before)
        outdate_all(g, false);
    staff_renew(pool);
}

/* ---- reload ---- */

static uint32_t find(const struct pools *p, const char *name)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i]->cfg->name, name) == 0)
            return i;
    return UINT32_MAX;
}

uint32_t pools_find(const struct pools *p, const char *name)
{
    return find(p, name);
}

/* No slot of it is filled again; its workers go now. */
static void remove_pool(struct pool *pool)
{
    sl_log(SL_INFO, "pool_removed", "pool=%s", pool->cfg->name);
    for (struct pool *g = pool; g != NULL; g = g->before) {
        g->over = true;
        for (uint32_t i = g->n_slots; i-- > 0;)
            staff_retire(g->slots[i]);
        external_close(g);
        external_each(g, guest_retire);
    }
}

static struct pool *roll(struct pool *old, const struct pool_config *cfg)
{
    struct pool *pool = pool_new(old->pools, cfg, old);
    uint32_t wanted = old->size.wanted;
    sl_log(SL_INFO, "pool_changed", "pool=%s action=\"workers are replaced one after the other\"", cfg->name);
    pool->before = old;
    old->after = pool;
    old->over = true;
    pool->paused = old->paused;
    external_close(old);
    external_each(old, guest_retire); /* they come again to the new one */
    for (struct pool *g = old; g != NULL; g = g->before)
        outdate_all(g, true);
    if (wanted > pool->size.cfg.max)
        wanted = pool->size.cfg.max;
    if (wanted > pool->size.wanted)
        pool->size.wanted = wanted;
    return pool;
}

/* From when they became ready, by the new bounds. */
static void draw_bounds(struct pool *pool)
{
    for (uint32_t i = 0; i < pool->n_slots; i++) {
        struct worker *w = pool->slots[i]->worker;
        if (w != NULL && w->state == WORKER_RUNNING)
            recycle_init(&w->recycle, &pool->cfg->recycle, w->running_since_ms, &pool->pools->rng);
    }
    watch_until(pool, 0);
}

static void take_care(struct pool *pool, const struct pool_config *cfg)
{
    struct size_config before = pool->cfg->size;
    pool_config_take_care(&pool->own, cfg);
    if (pool->limit != 0)
        hub_limit_set(pool->pools->io.hub, pool->cfg->queue, pool->limit, pool->cfg->max_rate);
    const struct size_config *now = &pool->cfg->size;
    sl_log(SL_INFO, "pool_adjusted", "pool=%s min=%u max=%u", cfg->name, (unsigned)now->min, (unsigned)now->max);
    draw_bounds(pool);
    if (now->min != before.min || now->max != before.max || now->idle_ms != before.idle_ms)
        resize(pool, now);
}

static struct pool *reload_one(struct pools *p, const struct pool_config *cfg)
{
    uint32_t index = find(p, cfg->name);
    if (index == UINT32_MAX) {
        sl_log(SL_INFO, "pool_added", "pool=%s", cfg->name);
        return pool_new(p, cfg, NULL);
    }
    struct pool *pool = p->v[index];
    struct pool_config now;
    pool_config_copy(&now, cfg);
    bool same = pool_config_same_worker(pool->cfg, &now);
    if (same && !pool_config_same_care(pool->cfg, &now))
        take_care(pool, &now);
    pool_config_fini(&now);
    return same ? pool : roll(pool, cfg);
}

static bool is_among(const struct pool *pool, struct pool *const *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i] == pool || v[i]->before == pool)
            return true;
    return false;
}

/* The new ones in their order, then all that is over. */
static void take_list(struct pools *p, struct pool **now, uint32_t n)
{
    uint32_t at = n;
    struct pool **all = sl_calloc(n + p->n_all + 1, sizeof *all);
    memcpy(all, now, n * sizeof *all);
    for (uint32_t i = 0; i < p->n_all; i++) {
        bool stays = false;
        for (uint32_t k = 0; k < n && !stays; k++)
            stays = now[k] == p->v[i];
        if (!stays)
            all[at++] = p->v[i];
    }
    sl_free(p->v);
    p->v = all;
    p->n = n;
    p->n_all = at;
}

/* After all that was there is closed: a path may go from one pool to another. */
static void open_socket(struct pool *pool)
{
    if (pool->external == NULL && external_open(pool) == SL_OK)
        external_start(pool);
}

int pools_reload(struct pools *p, const struct pool_config *cfgs, uint32_t n)
{
    SL_ASSERT(p->started);
    for (uint32_t i = 0; i < n; i++)
        if (!pool_config_valid(&cfgs[i]))
            return SL_EINVAL;
    if (pools_ending(p))
        return SL_OK;
    turn_begin(p);
    struct pool **now = sl_calloc(n + 1, sizeof *now);
    for (uint32_t i = 0; i < n; i++)
        now[i] = reload_one(p, &cfgs[i]);
    for (uint32_t i = 0; i < p->n; i++)
        if (!is_among(p->v[i], now, n))
            remove_pool(p->v[i]);
    take_list(p, now, n);
    sl_free(now);
    watchdog_set(p);
    for (uint32_t i = 0; i < p->n; i++) {
        open_socket(p->v[i]);
        staff_adjust(p->v[i]);
        staff_renew(p->v[i]);
    }
    return SL_OK;
}

/* ---- status ---- */

uint32_t pools_count(const struct pools *p)
{
    return p->n;
}

static void add_slot(const struct slot *s, struct pool_status *out)
{
    out->waiting += s->waiting;
    out->outdated += s->outdated && !s->leaving;
    if (s->worker == NULL)
        return;
    out->starting += s->worker->state < WORKER_RUNNING;
    out->running += s->worker->state == WORKER_RUNNING;
    out->stopping += s->worker->state == WORKER_ENDING;
}

static void add_pool(const struct pool *g, struct pool_status *out)
{
    out->started += g->started;
    out->restarts += g->restarts;
    out->faults += g->faults;
    out->stuck += g->stuck;
    out->joined += g->joined;
    out->refused += g->refused;
    out->external += g->n_guests - g->n_silent;
    for (int i = RECYCLE_NONE + 1; i < RECYCLE_CAUSES; i++)
        out->recycled[i] += g->recycled[i];
    for (uint32_t i = 0; i < g->n_slots; i++)
        add_slot(g->slots[i], out);
}

void pools_status(const struct pools *p, uint32_t index, struct pool_status *out)
{
    const struct pool *pool = p->v[index];
    *out = (struct pool_status){
        .name = pool->cfg->name,
        .wanted = pool->size.wanted,
        .min = pool->size.cfg.min,
        .max = pool->size.cfg.max,
        .crashes = pool->crash.in_row,
        .crash_loop = pool->crash.looping,
        .paused = pool->paused,
    };
    for (const struct pool *g = pool; g != NULL; g = g->before)
        add_pool(g, out);
}
