/* The pools of one gateway, and the reports of the nursery on their way to the
 * worker that they are about. */
#include "pool/pool.h"

#include <signal.h>

#include "core/alloc.h"
#include "pool_internal.h"

void turn_begin(const struct pools *p)
{
    p->io.turn.begin(p->io.turn.arg);
}

uint64_t pools_now(const struct pools *p)
{
    return uv_now(p->io.loop);
}

/* ---- reports ---- */

static void on_spawned(void *arg, uint64_t token, pid_t pid)
{
    struct pools *p = arg;
    struct worker *w = sl_idmap_del(&p->by_token, token);
    if (w != NULL)
        worker_spawned(w, pid);
}

static void on_failed(void *arg, uint64_t token, int error, const char *stage)
{
    struct pools *p = arg;
    struct worker *w = sl_idmap_del(&p->by_token, token);
    if (w != NULL)
        worker_failed(w, error, stage);
}

static void on_exited(void *arg, const struct nursery_exit *e)
{
    struct pools *p = arg;
    struct worker *w = sl_idmap_del(&p->by_pid, (uint64_t)e->pid);
    if (w != NULL)
        worker_exited(w, e);
}

/* The workers die with it, by their parent-death signal. */
static void on_nursery_dead(void *arg)
{
    struct pools *p = arg;
    p->nursery_dead = true;
    turn_begin(p);
    for (uint32_t i = 0; i < p->n; i++) {
        for (uint32_t k = 0; k < p->v[i]->cfg->workers; k++) {
            struct slot *s = &p->v[i]->slots[k];
            (void)uv_timer_stop(&s->timer);
            s->waiting = false;
            if (s->worker != NULL)
                worker_lost_nursery(s->worker);
            slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .charge_none = true });
        }
    }
    sl_idmap_fini(&p->by_token);
    sl_idmap_fini(&p->by_pid);
}

/* ---- making them ---- */

struct pools *pools_new(const struct pools_setup *setup)
{
    struct pools *p = SL_NEW(struct pools);
    p->io = *setup;
    (void)uv_timer_init(p->io.loop, &p->drain_timer);
    p->drain_timer.data = p;
    p->n_timers = 1;
    (void)signal(SIGPIPE, SIG_IGN); /* a worker that stops reading is an error code */
    const struct nursery_reports reports = {
        .arg = p,
        .spawned = on_spawned,
        .failed = on_failed,
        .exited = on_exited,
        .dead = on_nursery_dead,
    };
    nursery_listen(p->io.nursery, &reports);
    return p;
}

static void fill_defaults(struct pool_config *cfg)
{
    if (cfg->hello_ms == 0)
        cfg->hello_ms = HELLO_MS_DEFAULT;
    if (cfg->mode == POOL_EXEC || cfg->prefetch == 0)
        cfg->prefetch = 1;
    if (cfg->mode == POOL_EXEC || cfg->concurrency == 0)
        cfg->concurrency = 1;
    if (cfg->restart_max_ms < cfg->restart_initial_ms)
        cfg->restart_max_ms = cfg->restart_initial_ms;
    if (!(cfg->restart_factor >= 1))
        cfg->restart_factor = 1;
}

static void init_slot(struct slot *s, struct pool *pool, uint32_t number)
{
    s->pool = pool;
    s->number = number;
    (void)uv_timer_init(pool->pools->io.loop, &s->timer);
    s->timer.data = s;
    pool->pools->n_timers++;
}

int pools_add(struct pools *p, const struct pool_config *cfg)
{
    SL_ASSERT(!p->started);
    if (cfg->command == NULL || cfg->command[0] == NULL || cfg->workers == 0 || cfg->n_rlimits > NURSERY_RLIMITS_MAX)
        return SL_EINVAL;
    struct pool *pool = SL_NEW(struct pool);
    struct mode m;
    pool->pools = p;
    pool->own = *cfg;
    fill_defaults(&pool->own);
    pool->cfg = &pool->own;
    mode_init(&m, pool->cfg);
    pool->ops = m.ops;
    pool->slots = sl_calloc(cfg->workers, sizeof *pool->slots);
    for (uint32_t i = 0; i < cfg->workers; i++)
        init_slot(&pool->slots[i], pool, i);
    p->v = sl_realloc(p->v, (p->n + 1) * sizeof *p->v);
    p->v[p->n++] = pool;
    return SL_OK;
}

void pools_start(struct pools *p)
{
    p->started = true;
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->cfg->workers; k++)
            slot_start(&p->v[i]->slots[k]);
}

/* ---- a turn ---- */

static void tell_published(struct pools *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->cfg->workers; k++)
            if (p->v[i]->slots[k].worker != NULL)
                answers_published(p->v[i]->slots[k].worker);
}

void pools_flush(struct pools *p)
{
    if (p->n_unpublished > 0)
        tell_published(p);
    while (p->dirty != NULL) {
        struct worker *w = p->dirty;
        p->dirty = w->next_dirty;
        w->dirty = false;
        io_flush(w);
    }
}

/* ---- the end ---- */

bool pools_idle(const struct pools *p)
{
    if (p->n_workers > 0)
        return false;
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->cfg->workers; k++)
            if (p->v[i]->slots[k].consumer != 0)
                return false;
    return true;
}

static void release(struct pools *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        sl_free(p->v[i]->slots);
        sl_free(p->v[i]);
    }
    sl_free(p->v);
    sl_idmap_fini(&p->by_token);
    sl_idmap_fini(&p->by_pid);
    sl_free(p); /* the only free of the pools */
}

static void on_slot_closed(uv_handle_t *handle)
{
    const struct slot *s = handle->data;
    struct pools *p = s->pool->pools;
    if (--p->n_timers == 0)
        release(p);
}

static void on_drain_closed(uv_handle_t *handle)
{
    struct pools *p = handle->data;
    if (--p->n_timers == 0)
        release(p);
}

void pools_free(struct pools *p)
{
    SL_ASSERT(pools_idle(p));
    nursery_listen(p->io.nursery, NULL);
    uv_close((uv_handle_t *)&p->drain_timer, on_drain_closed);
    for (uint32_t i = 0; i < p->n; i++)
        for (uint32_t k = 0; k < p->v[i]->cfg->workers; k++)
            uv_close((uv_handle_t *)&p->v[i]->slots[k].timer, on_slot_closed);
}

/* ---- status ---- */

uint32_t pools_count(const struct pools *p)
{
    return p->n;
}

void pools_status(const struct pools *p, uint32_t index, struct pool_status *out)
{
    const struct pool *pool = p->v[index];
    *out = (struct pool_status){
        .name = pool->cfg->name,
        .wanted = pool->cfg->workers,
        .started = pool->started,
        .restarts = pool->restarts,
        .faults = pool->faults,
    };
    for (uint32_t i = 0; i < pool->cfg->workers; i++) {
        const struct slot *s = &pool->slots[i];
        out->waiting += s->waiting;
        if (s->worker == NULL)
            continue;
        out->starting += s->worker->state < WORKER_RUNNING;
        out->running += s->worker->state == WORKER_RUNNING;
        out->stopping += s->worker->state == WORKER_ENDING;
    }
}
