/* What the store still knew at start. */
#include "internal.h"

/* After a restart a retry waits at most as long as a retry may wait. */
static uint64_t due_after_restart(const struct queue *q, const struct queue_restored *r,
                                  const struct sl_now *now)
{
    uint64_t latest = add_capped(now->steady_ms, q->cfg.retry_max_ms);
    return r->attempts > 0 && r->due_ms > latest ? latest : r->due_ms;
}

static bool is_past(uint64_t at_ms, bool relative, const struct sl_now *now)
{
    return at_ms != 0 && at_ms <= (relative ? now->steady_ms : now->wall_ms);
}

static void place_restored(struct queue *q, uint32_t i, const struct queue_restored *r,
                           const struct sl_now *now)
{
    bool keyed = (entry_at(q, i)->flags & ENTRY_KEYED) != 0;
    switch (r->state) {
    case QUEUE_READY:
        if (keyed)
            order_ready(q, i);
        else if (r->attempts > 0)
            place_again(q, i);
        else
            place_new(q, i);
        return;
    case QUEUE_DELAYED:
        place_due(q, i, due_after_restart(q, r, now), r->due_absolute && r->attempts == 0);
        if (keyed && r->attempts > 0 && q->cfg.order.on_failure != QUEUE_FAILURE_SKIPS)
            order_wait(q, i);
        return;
    case QUEUE_DEAD:
        place_dead(q, i, r->due_ms, r->cause);
        q->dead_unsorted = true;
        return;
    case QUEUE_LEASED:
    case QUEUE_NSTATES:
        break;
    }
    SL_ASSERT(r->state == QUEUE_READY);
}

uint32_t queue_restore(struct queue *q, const struct queue_restored *r, const struct sl_now *now)
{
    q->seen = *now;
    uint32_t i = entry_take(q, r->id, r->bytes, r->state);
    struct queue_entry *e = entry_at(q, i);
    e->priority = r->priority < PRIORITIES ? r->priority : (uint8_t)(PRIORITIES - 1);
    e->attempts = r->attempts < UINT16_MAX ? (uint16_t)r->attempts : UINT16_MAX;
    if (r->state != QUEUE_DEAD)
        e->flags |= ENTRY_REDELIVERED;
    if (is_past(r->expires_at, r->expires_relative, now))
        e->flags |= ENTRY_STALE;
    q->restored++;
    if (r->order_key != 0 && r->state != QUEUE_DEAD && q->cfg.order.on)
        order_join(q, i, r->order_key);
    place_restored(q, i, r, now);
    return i;
}
