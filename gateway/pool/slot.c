/* One place for a worker: it is filled, and filled again when its process ends.
 *
 * A crash makes the next start wait, twice as long each time (restart factor) up
 * to the maximum. A worker that ran ten times as long as the last wait has lived
 * well: the waits begin anew. So a worker that dies at once costs little, and
 * one that dies now and then is back quickly. */
#include "pool_internal.h"

#define LIVED_WELL 10u

static void deliver(void *arg, const struct hub_delivery *from)
{
    struct slot *s = arg;
    struct mode_delivery d = { .from = from, .queue_name = s->pool->cfg->queue_name };
    if (s->pool->ops->per_message) {
        if (worker_launch(s, &d) != SL_OK)
            slot_ended(s, true, 0); /* its message goes back when the slot leaves */
        return;
    }
    struct worker *w = s->worker;
    SL_ASSERT(w != NULL);
    d.tag = held_add(&w->held, from->d->lease, message_id(from->d->msg));
    if (w->state == WORKER_RUNNING) {
        w->mode.ops->deliver(&w->mode, &d, &w->out);
        worker_update_started(w);
        io_dirty(w);
    }
}

static void overdue(void *arg)
{
    struct slot *s = arg;
    if (s->worker != NULL)
        worker_kill(s->worker, END_TIMEOUT);
}

const struct hub_consumer_ops slot_ops = { .deliver = deliver, .overdue = overdue };

void slot_join(struct slot *s, uint32_t prefetch)
{
    const struct pool_config *cfg = s->pool->cfg;
    bool alone = s->pool->ops->per_message;
    struct hub_consumer_config c = {
        .queue = cfg->queue,
        .prefetch = alone ? 1 : prefetch > 0 && prefetch < cfg->prefetch ? prefetch : cfg->prefetch,
        .concurrency = alone ? 1 : cfg->concurrency,
        .time_limit_ms = cfg->time_limit_ms,
        .ops = &slot_ops,
        .arg = s,
    };
    SL_ASSERT(s->consumer == 0);
    s->consumer = hub_consumer_add(hub_of(s), &c);
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
    struct pools *p = s->pool->pools;
    if (p->draining || p->nursery_dead)
        return;
    if (s->pool->ops->per_message) {
        turn_begin(p);
        slot_join(s, 0);
        return;
    }
    if (worker_launch(s, NULL) != SL_OK)
        slot_ended(s, true, 0);
}

static void on_restart(uv_timer_t *timer)
{
    struct slot *s = timer->data;
    s->waiting = false;
    if (s->consumer != 0) {
        /* exec, when the system refused the pipes: inside deliver the hub
         * could not be told, now it can. */
        turn_begin(s->pool->pools);
        slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .charge_none = true });
    }
    slot_start(s);
}

static uint64_t next_wait(struct slot *s, bool crashed, uint64_t lived_ms)
{
    const struct pool_config *cfg = s->pool->cfg;
    uint64_t well = s->backoff_ms * LIVED_WELL;
    if (well > cfg->restart_max_ms)
        well = cfg->restart_max_ms;
    if (!crashed) {
        s->backoff_ms = 0;
        return cfg->restart_initial_ms;
    }
    if (s->backoff_ms == 0 || lived_ms >= well) {
        s->backoff_ms = cfg->restart_initial_ms;
    } else {
        double next = (double)s->backoff_ms * cfg->restart_factor;
        s->backoff_ms = next < (double)cfg->restart_max_ms ? (uint64_t)next : cfg->restart_max_ms;
    }
    return s->backoff_ms;
}

void slot_ended(struct slot *s, bool crashed, uint64_t lived_ms)
{
    struct pools *p = s->pool->pools;
    if (p->draining || p->nursery_dead)
        return;
    uint64_t wait = next_wait(s, crashed, lived_ms);
    s->pool->restarts++;
    s->waiting = true;
    if (crashed && s->backoff_ms >= s->pool->cfg->restart_initial_ms)
        sl_log(SL_WARN, "worker_restart", "pool=%s slot=%u wait_ms=%llu", s->pool->cfg->name, (unsigned)s->number, (unsigned long long)wait);
    (void)uv_timer_start(&s->timer, on_restart, wait, 0);
}
