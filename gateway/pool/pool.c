/* The pools of one gateway, and the reports of the nursery on their way to the
 * worker that they are about. */
#include "pool/pool.h"

#include <signal.h>

#include "core/alloc.h"
#include "pool_config.h"
#include "external.h"

void turn_begin(const struct pools *p)
{
    p->io.turn.begin(p->io.turn.arg);
}

uint64_t pools_now(const struct pools *p)
{
    return uv_now(p->io.loop);
}

/* Downwards: a slot that is removed is replaced by the last one, which has been
 * visited. */
void pools_each_slot(const struct pools *p, void (*fn)(struct slot *s))
{
    for (uint32_t i = 0; i < p->n_all; i++)
        for (uint32_t k = p->v[i]->n_slots; k-- > 0;)
            fn(p->v[i]->slots[k]);
}

void pools_each_place(const struct pools *p, void (*fn)(struct slot *s))
{
    pools_each_slot(p, fn);
    for (uint32_t i = 0; i < p->n_all; i++)
        external_each(p->v[i], fn);
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

static void lose_nursery(struct slot *s)
{
    (void)uv_timer_stop(&s->timer);
    s->waiting = false;
    if (s->worker != NULL)
        worker_lost_nursery(s->worker);
    slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .charge_none = true });
}

/* The workers die with it, by their parent-death signal. */
static void on_nursery_dead(void *arg)
{
    struct pools *p = arg;
    p->nursery_dead = true;
    turn_begin(p);
    pools_each_slot(p, lose_nursery);
    sl_idmap_fini(&p->by_token);
    sl_idmap_fini(&p->by_pid);
}

/* ---- making them ---- */

struct pools *pools_new(const struct pools_setup *setup)
{
    struct pools *p = SL_NEW(struct pools);
    p->io = *setup;
    sl_rng_seed(&p->rng, uv_hrtime());
    (void)uv_timer_init(p->io.loop, &p->drain_timer);
    p->drain_timer.data = p;
    p->n_timers = 1;
    watchdog_init(p);
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

bool pool_config_valid(const struct pool_config *cfg)
{
    uint32_t max = cfg->size.max > 0 ? cfg->size.max : cfg->workers;
    bool runs = cfg->command != NULL && cfg->command[0] != NULL && max > 0 && cfg->size.min <= max;
    bool joined = cfg->worker_socket != NULL && cfg->mode == POOL_SOCKET;
    return (runs || (joined && max == 0)) && (joined || cfg->worker_socket == NULL) && cfg->n_rlimits <= NURSERY_RLIMITS_MAX;
}

/* One rate for both while the one takes the places of the other. */
static uint32_t rate_limit(const struct pool *pool, const struct pool *old)
{
    struct hub *hub = pool->pools->io.hub;
    uint64_t rate = pool->cfg->max_rate;
    if (rate == 0)
        return 0;
    if (old == NULL || old->limit == 0 || old->cfg->queue != pool->cfg->queue)
        return hub_limit_add(hub, pool->cfg->queue, rate);
    hub_limit_set(hub, pool->cfg->queue, old->limit, rate);
    return old->limit;
}

struct pool *pool_new(struct pools *p, const struct pool_config *cfg, const struct pool *old)
{
    struct pool *pool = SL_NEW(struct pool);
    struct mode m;
    pool->pools = p;
    pool_config_copy(&pool->own, cfg);
    pool->cfg = &pool->own;
    mode_init(&m, pool->cfg);
    pool->ops = m.ops;
    pool->limit = rate_limit(pool, old);
    watch_init(pool);
    return pool;
}

int pools_add(struct pools *p, const struct pool_config *cfg)
{
    SL_ASSERT(!p->started);
    if (!pool_config_valid(cfg))
        return SL_EINVAL;
    p->v = sl_realloc(p->v, (p->n_all + 1) * sizeof *p->v);
    p->v[p->n_all++] = pool_new(p, cfg, NULL);
    p->n++;
    return external_open(p->v[p->n - 1]);
}

void pools_start(struct pools *p)
{
    p->started = true;
    watchdog_set(p);
    for (uint32_t i = 0; i < p->n; i++) {
        staff_adjust(p->v[i]);
        external_start(p->v[i]);
    }
}

/* ---- a turn ---- */

static void tell_published(struct slot *s)
{
    if (s->worker != NULL)
        answers_published(s->worker);
}

void pools_flush(struct pools *p)
{
    if (p->n_unpublished > 0)
        pools_each_place(p, tell_published);
    while (p->dirty != NULL) {
        struct worker *w = p->dirty;
        p->dirty = w->next_dirty;
        w->dirty = false;
        io_flush(w);
    }
    for (uint32_t i = 0; i < p->n; i++)
        watch_turn(p->v[i]);
    if (p->n_all > p->n)
        pools_sweep(p);
}

/* ---- the end ---- */

bool pools_idle(const struct pools *p)
{
    if (p->n_workers > 0)
        return false;
    for (uint32_t i = 0; i < p->n_all; i++)
        for (uint32_t k = 0; k < p->v[i]->n_slots; k++)
            if (p->v[i]->slots[k]->consumer != 0)
                return false;
    return true;
}

static void timer_closed(struct pools *p)
{
    if (--p->n_timers > 0)
        return;
    sl_free(p->v);
    sl_idmap_fini(&p->by_token);
    sl_idmap_fini(&p->by_pid);
    sl_free(p); /* the only free of the pools */
}

static void on_drain_closed(uv_handle_t *handle)
{
    timer_closed(handle->data);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct pool *pool = handle->data;
    struct pools *p = pool->pools;
    pool_config_fini(&pool->own);
    sl_free(pool->slots);
    sl_free(pool); /* the only free of a pool */
    timer_closed(p);
}

static void on_slot_closed(uv_handle_t *handle)
{
    struct slot *s = handle->data;
    struct pools *p = s->pools;
    sl_free(s); /* the only free of a slot */
    timer_closed(p);
}

void slot_close(struct slot *s)
{
    struct pool *pool = s->pool;
    SL_ASSERT(s->worker == NULL && s->consumer == 0);
    pool->slots[s->at] = pool->slots[--pool->n_slots];
    pool->slots[s->at]->at = s->at;
    uv_close((uv_handle_t *)&s->timer, on_slot_closed);
}

static void add_counters(struct pool *to, const struct pool *from)
{
    to->started += from->started;
    to->restarts += from->restarts;
    to->faults += from->faults;
    to->jobs += from->jobs;
    to->stuck += from->stuck;
    to->joined += from->joined;
    to->refused += from->refused;
    for (int i = 0; i < RECYCLE_CAUSES; i++)
        to->recycled[i] += from->recycled[i];
}

static void pool_close(struct pool *pool)
{
    SL_ASSERT(pool->n_slots == 0 && pool->n_guests == 0);
    external_close(pool);
    if (pool->after != NULL)
        add_counters(pool->after, pool);
    if (pool->after != NULL)
        pool->after->before = pool->before;
    if (pool->before != NULL)
        pool->before->after = pool->after;
    uv_close((uv_handle_t *)&pool->tick, on_tick_closed);
}

void pools_sweep(struct pools *p)
{
    for (uint32_t i = p->n_all; i-- > p->n;) {
        if (p->v[i]->n_slots > 0 || p->v[i]->n_guests > 0)
            continue;
        pool_close(p->v[i]);
        p->v[i] = p->v[--p->n_all];
    }
}

void pools_free(struct pools *p)
{
    SL_ASSERT(pools_idle(p));
    nursery_listen(p->io.nursery, NULL);
    uv_close((uv_handle_t *)&p->drain_timer, on_drain_closed);
    uv_close((uv_handle_t *)&p->watchdog, on_drain_closed);
    pools_each_slot(p, slot_close);
    for (uint32_t i = 0; i < p->n_all; i++)
        pool_close(p->v[i]);
}
