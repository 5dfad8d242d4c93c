/* The orderly end: no new deliveries, workers finish what they hold, then go.
 *
 *   told (DRAIN, or stdin closed) ─▶ holds nothing ─▶ goes by itself, or SIGTERM
 *              └── timeout ─▶ SIGTERM ─▶ grace ─▶ SIGKILL */
#include <signal.h>

#include "external.h"

#define PATIENCE_MS 1000u /* for a worker that has nothing left to do */

static const struct hub_loss orderly = { .cause = QUEUE_CAUSE_WORKER_KILLED, .charge_none = true };

void drain_progress(struct worker *w)
{
    if (!w->draining || w->state != WORKER_RUNNING || w->clock == CLOCK_PATIENCE || w->mode.ops->per_message)
        return;
    if (w->slot->consumer != 0 && hub_consumer_unanswered(hub_of(w->slot), w->slot->consumer) > 0)
        return;
    uint64_t grace = w->slot->pool->cfg->grace_ms;
    worker_set_clock(w, CLOCK_PATIENCE, grace < PATIENCE_MS ? grace : PATIENCE_MS);
}

void drain_worker(struct worker *w)
{
    bool per_message = w->mode.ops->per_message;
    w->draining = true;
    if (w->slot->consumer != 0)
        hub_consumer_stop(hub_of(w->slot), w->slot->consumer);
    if (per_message || w->state == WORKER_ENDING)
        return; /* it ends by itself */
    if (w->state != WORKER_RUNNING) {
        worker_stop(w, END_ORDERLY, w->slot->pool->cfg->grace_ms);
        return;
    }
    if (w->mode.ops->drain != NULL)
        w->mode.ops->drain(&w->out);
    else
        w->close_stdin = true;
    io_dirty(w);
    drain_progress(w);
}

void drain_check(struct pools *p)
{
    if (!p->draining || p->n_workers > 0 || p->done_told)
        return;
    p->done_told = true;
    (void)uv_timer_stop(&p->drain_timer);
    p->done(p->done_arg);
}

static void stop_slot(struct slot *s)
{
    if (s->worker != NULL)
        worker_stop(s->worker, END_ORDERLY, s->pool->cfg->grace_ms);
}

static void on_time(uv_timer_t *timer)
{
    struct pools *p = timer->data;
    turn_begin(p);
    pools_each_place(p, stop_slot);
    drain_check(p);
}

static void drain_slot(struct slot *s)
{
    (void)uv_timer_stop(&s->timer);
    s->waiting = false;
    if (s->worker != NULL)
        drain_worker(s->worker);
    else
        slot_leave(s, &orderly);
}

void pools_drain(struct pools *p, uint64_t timeout_ms, void (*done)(void *arg), void *arg)
{
    SL_ASSERT(!p->draining);
    p->draining = true;
    p->done = done;
    p->done_arg = arg;
    turn_begin(p);
    for (uint32_t i = 0; i < p->n_all; i++)
        external_close(p->v[i]);
    pools_each_place(p, drain_slot);
    (void)uv_timer_start(&p->drain_timer, on_time, p->n_workers == 0 ? 0 : timeout_ms, 0);
}

static void kill_slot(struct slot *s)
{
    if (s->worker != NULL)
        worker_kill(s->worker, END_ORDERLY);
}

void pools_kill(struct pools *p)
{
    pools_each_place(p, kill_slot);
}
