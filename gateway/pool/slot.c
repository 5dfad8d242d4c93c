/* One place for a worker: it is filled, and filled again when its process ends,
 * after a crash not at once (crash.h). */
#include "external.h"

static void on_restart(uv_timer_t *timer);

static void wait_for_restart(struct slot *s, uint64_t ms)
{
    s->waiting = true;
    (void)uv_timer_start(&s->timer, on_restart, ms, 0);
}

/* All of a fixed credit may come in one dispatch; other credits and batches are
 * bounded in bytes by the queue. */
static bool gets_too_much(const struct worker *w)
{
    return w->gathers && w->slot->pool->cfg->batch_max <= 1 && sl_buf_len(&w->out) > OUTPUT_MAX;
}

static void deliver(void *arg, const struct hub_delivery *from)
{
    struct slot *s = arg;
    s->pool->jobs++;
    struct mode_delivery d = { .from = from, .queue_name = s->pool->cfg->queue_name };
    if (s->pool->ops->per_message) {
        if (worker_launch(s, &d) != SL_OK)
            wait_for_restart(s, s->pool->cfg->restart_initial_ms); /* its message goes back then */
        return;
    }
    struct worker *w = s->worker;
    SL_ASSERT(w != NULL);
    bool fresh = w->held.n_open == 0;
    d.tag = held_add(&w->held, from->d->lease, message_id(from->d->msg));
    if (w->state == WORKER_RUNNING) {
        w->mode.ops->deliver(&w->mode, &d, &w->out);
        if (fresh)
            watchdog_fresh(w);
        worker_update_started(w);
        io_dirty(w);
        if (SL_UNLIKELY(gets_too_much(w)))
            io_flow(w);
    }
}

static void overdue(void *arg)
{
    struct slot *s = arg;
    if (s->worker != NULL)
        worker_kill(s->worker, watchdog_takes_nothing(s->worker) ? END_IDLE : END_TIMEOUT);
}

const struct hub_consumer_ops slot_ops = { .deliver = deliver, .overdue = overdue };

/* Of a pool that starts a process for each message there is no pid to tell. */
static void name_consumer(struct slot *s)
{
    int pid = s->worker == NULL ? 0 : (int)s->worker->pid;
    if (pid > 0)
        (void)snprintf(s->name, sizeof s->name, "%s[%d]", s->pool->cfg->name, pid);
    else
        (void)snprintf(s->name, sizeof s->name, "%s", s->pool->cfg->name);
}

void slot_join(struct slot *s, uint32_t prefetch)
{
    const struct pool_config *cfg = s->pool->cfg;
    uint32_t most = prefetch > 0 && prefetch < cfg->prefetch ? prefetch : cfg->prefetch;
    bool alone = s->pool->ops->per_message, external = s->worker != NULL && s->worker->guest != NULL;
    struct hub_consumer_config c = {
        .queue = cfg->queue,
        .prefetch = alone ? 1 : most,
        .concurrency = alone ? 1 : cfg->concurrency,
        .time_limit_ms = external ? cfg->ack_timeout_ms : cfg->time_limit_ms,
        .batch_max = most < cfg->batch_max ? most : cfg->batch_max,
        .batch_wait_ms = cfg->batch_wait_ms,
        .limit = s->pool->limit,
        .external = external,
        .name = s->name,
        .ops = &slot_ops,
        .arg = s,
        .fixed_credit = s->worker != NULL && s->worker->gathers,
    };
    SL_ASSERT(s->consumer == 0);
    name_consumer(s);
    s->consumer = hub_consumer_add(hub_of(s), &c);
    if (s->pool->paused)
        hub_consumer_pause(hub_of(s), s->consumer, true);
    staff_ready(s);
}

void slot_leave(struct slot *s, const struct hub_loss *loss)
{
    if (s->consumer == 0)
        return;
    uint64_t consumer = s->consumer;
    s->consumer = 0;
    hub_consumer_lost(hub_of(s), consumer, loss);
}

void slot_start(struct slot *s)
{
    struct pools *p = s->pools;
    if (pools_ending(p))
        return;
    if (s->pool->ops->per_message) {
        turn_begin(p);
        slot_join(s, 0);
        return;
    }
    if (worker_launch(s, NULL) != SL_OK)
        slot_ended(s, &(struct crash_life){ .started_ms = pools_now(p) });
}

static void on_restart(uv_timer_t *timer)
{
    struct slot *s = timer->data;
    s->waiting = false;
    if (s->consumer != 0) {
        /* exec, when the system refused the pipes: inside deliver the hub
         * could not be told, now it can. */
        turn_begin(s->pools);
        slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .charge_none = true });
    }
    if (!staff_release(s))
        slot_start(s);
}

void slot_hurry(struct slot *s)
{
    if (s->waiting)
        wait_for_restart(s, 0);
}

/* Once, and not for each of its crashes. */
static void tell_loop(const struct pool *pool)
{
    sl_log(SL_ERROR, "pool_crash_loop", "pool=%s crashes=%u wait_ms=%llu action=\"one worker at a time is tried\"", pool->cfg->name,
           (unsigned)pool->crash.in_row, (unsigned long long)pool->crash.wait_ms);
}

static uint64_t wait_after(struct slot *s, const struct crash_life *life)
{
    struct pool *pool = s->pool;
    const struct pool_config *cfg = pool->cfg;
    const struct crash_config c = { cfg->restart_initial_ms, cfg->restart_max_ms, cfg->restart_factor };
    if (life == NULL)
        return cfg->restart_initial_ms;
    bool was = pool->crash.looping;
    uint64_t wait = crash_wait(&pool->crash, &c, life, pools_now(s->pools));
    if (pool->crash.looping && !was)
        tell_loop(pool);
    else if (!pool->crash.looping && wait >= cfg->restart_initial_ms)
        sl_log(SL_WARN, "worker_restart", "pool=%s slot=%u wait_ms=%llu", cfg->name, (unsigned)s->number, (unsigned long long)wait);
    return wait;
}

void slot_ended(struct slot *s, const struct crash_life *life)
{
    if (pools_ending(s->pools) || staff_release(s))
        return;
    s->outdated = false; /* the next one is of today */
    s->pool->restarts++;
    wait_for_restart(s, wait_after(s, life));
}
