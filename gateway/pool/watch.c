/* When a pool is looked at: its load, its workers' age and memory. There is one
 * timer for each pool, and it runs only while something could change without an
 * event: a pool at rest sleeps. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "pool_internal.h"

#define RSS_MS 1000u

/* ---- load ---- */

/* A batch is one unit: who has any of it takes nothing more and is busy with the
 * whole. */
static uint32_t worked_on(const struct slot *s)
{
    uint32_t held = hub_consumer_unanswered(hub_of(s), s->consumer), most = s->pool->cfg->concurrency;
    bool whole = held > most || (held > 0 && s->pool->cfg->batch_max > 1);
    return whole ? most : held;
}

static void see_slot(const struct slot *s, struct size_seen *seen)
{
    if (s->leaving)
        return;
    if (s->consumer == 0) {
        seen->starting += !s->waiting && s->replaces == NULL;
        return;
    }
    if (s->worker != NULL && s->worker->state == WORKER_ENDING)
        return;
    uint32_t started = worked_on(s);
    seen->started += started;
    seen->free += started < s->pool->cfg->concurrency;
}

static void see(const struct pool *pool, struct size_seen *seen)
{
    struct queue_pressure waits;
    hub_queue_pressure(pool->pools->io.hub, pool->cfg->queue, &waits);
    *seen = (struct size_seen){
        .now_ms = pools_now(pool->pools),
        .ready = waits.ready,
        .oldest_ms = waits.oldest_ms,
        .concurrency = pool->cfg->concurrency,
    };
    for (const struct pool *g = pool; g != NULL; g = g->before) {
        seen->jobs += g->jobs;
        for (uint32_t i = 0; i < g->n_slots; i++)
            see_slot(g->slots[i], seen);
    }
}

/* More of those that die at once would not help. */
static bool is_sized(const struct pool *pool)
{
    return !size_is_fixed(&pool->size) && !pool->paused && !(pool->crash.looping && pool->size.wanted > 0);
}

static void look_at_load(struct pool *pool)
{
    struct size_seen seen;
    uint32_t before = pool->size.wanted;
    if (!is_sized(pool))
        return;
    see(pool, &seen);
    uint32_t wanted = size_step(&pool->size, &seen, &pool->pools->rng);
    if (wanted == before)
        return;
    sl_log(SL_INFO, "pool_size", "pool=%s workers=%u before=%u ready=%llu", pool->cfg->name, (unsigned)wanted, (unsigned)before,
           (unsigned long long)seen.ready);
    staff_adjust(pool);
}

/* ---- memory ---- */

/* Resident bytes of a process; 0: it cannot be read. */
static uint64_t read_rss(pid_t pid)
{
    char path[40], text[64];
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    unsigned long long size, resident;
    if (sscanf(text, "%llu %llu", &size, &resident) != 2)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* One that has had nothing since the last look is taken to be as it was. */
static void look_at_rss(struct slot *s)
{
    struct worker *w = s->worker;
    if (w == NULL || w->state != WORKER_RUNNING || s->leaving || (w->held.n_open == 0 && w->rss_jobs == held_ever(&w->held)))
        return;
    w->rss_jobs = held_ever(&w->held);
    struct recycle_seen seen = { .rss_bytes = read_rss(w->pid) };
    if (w->due == RECYCLE_NONE)
        w->due = recycle_due(&w->recycle, &seen);
    if (!recycle_is_urgent(&w->recycle, seen.rss_bytes))
        return;
    sl_log(SL_WARN, "worker_swollen", "pool=%s slot=%u pid=%d rss_kib=%llu max_rss_kib=%llu", s->pool->cfg->name, (unsigned)s->number,
           (int)w->pid, (unsigned long long)(seen.rss_bytes / 1024), (unsigned long long)(s->pool->cfg->recycle.max_rss_bytes / 1024));
    s->recycled = RECYCLE_RSS;
    staff_retire(s);
}

static void look_at_memory(struct pool *pool)
{
    uint64_t now = pools_now(pool->pools);
    bool working = pool->jobs != pool->rss_jobs;
    if (pool->cfg->recycle.max_rss_bytes == 0 || now < pool->rss_ms)
        return;
    pool->rss_jobs = pool->jobs;
    for (uint32_t i = pool->n_slots; i-- > 0;) {
        const struct worker *w = pool->slots[i]->worker;
        working = working || (w != NULL && w->held.n_open > 0);
        look_at_rss(pool->slots[i]);
    }
    pool->rss_ms = working ? now + RSS_MS : UINT64_MAX;
}

/* ---- age, and a crash loop's end ---- */

static void look_at_age(struct pool *pool, uint64_t *next_ms)
{
    uint64_t now = pools_now(pool->pools);
    for (uint32_t i = 0; i < pool->n_slots; i++) {
        struct worker *w = pool->slots[i]->worker;
        if (w == NULL || w->state != WORKER_RUNNING || w->due != RECYCLE_NONE)
            continue;
        if (now >= w->recycle.at_ms)
            w->due = RECYCLE_AGE;
        else if (w->recycle.at_ms < *next_ms)
            *next_ms = w->recycle.at_ms;
    }
}

static void look_at_loop(struct pool *pool, uint64_t *next_ms)
{
    const struct crash_config c = { pool->cfg->restart_initial_ms, pool->cfg->restart_max_ms, pool->cfg->restart_factor };
    uint64_t now = pools_now(pool->pools), good = crash_good_ms(&pool->crash, &c);
    for (uint32_t i = 0; i < pool->n_slots && pool->crash.looping; i++) {
        const struct worker *w = pool->slots[i]->worker;
        if (w == NULL || w->state != WORKER_RUNNING)
            continue;
        uint64_t at = w->running_since_ms + good;
        if (now >= at)
            staff_recovered(pool);
        else if (at < *next_ms)
            *next_ms = at;
    }
}

/* ---- the timer ---- */

static void look(struct pool *pool)
{
    uint64_t next_ms = UINT64_MAX;
    if (pools_ending(pool->pools) || pool->over)
        return;
    turn_begin(pool->pools);
    look_at_load(pool);
    look_at_memory(pool);
    look_at_age(pool, &next_ms);
    look_at_loop(pool, &next_ms);
    staff_adjust(pool);
    staff_renew(pool);
    watch_until(pool, next_ms);
    watch_until(pool, is_sized(pool) ? size_next_ms(&pool->size) : UINT64_MAX);
    watch_until(pool, pool->cfg->recycle.max_rss_bytes > 0 ? pool->rss_ms : UINT64_MAX);
}

static void on_tick(uv_timer_t *timer)
{
    struct pool *pool = timer->data;
    pool->tick_ms = UINT64_MAX;
    look(pool);
}

void watch_init(struct pool *pool)
{
    (void)uv_timer_init(pool->pools->io.loop, &pool->tick);
    pool->tick.data = pool;
    pool->tick_ms = pool->rss_ms = UINT64_MAX;
    pool->pools->n_timers++;
    size_init(&pool->size, &pool->cfg->size, pools_now(pool->pools));
}

void watch_until(struct pool *pool, uint64_t ms)
{
    uint64_t now = pools_now(pool->pools);
    if (ms >= pool->tick_ms || pools_ending(pool->pools))
        return;
    pool->tick_ms = ms;
    (void)uv_timer_start(&pool->tick, on_tick, ms > now ? ms - now : 0, 0);
}

/* A message that waits is looked at soon, the first one of a pool without workers
 * at once. */
static void wait_for_load(struct pool *pool)
{
    struct queue_pressure waits;
    uint64_t soon = pools_now(pool->pools) + (pool->size.wanted == 0 ? 0 : 100);
    if (pool->tick_ms <= soon || pool->size.wanted >= pool->size.cfg.max)
        return;
    hub_queue_pressure(pool->pools->io.hub, pool->cfg->queue, &waits);
    if (waits.ready > 0)
        watch_until(pool, soon);
}

void watch_turn(struct pool *pool)
{
    if (!pool->pools->started || pools_ending(pool->pools))
        return;
    if (is_sized(pool))
        wait_for_load(pool);
    if (pool->cfg->recycle.max_rss_bytes > 0 && pool->rss_ms == UINT64_MAX && pool->jobs != pool->rss_jobs) {
        pool->rss_ms = pools_now(pool->pools) + RSS_MS;
        watch_until(pool, pool->rss_ms);
    }
}
