/* What time brings: delayed messages become ready, dead letters grow old. */
#include "internal.h"

/* A first delivery joins the tail; what was delivered before, or is ordered, goes to its place. */
static void become_ready(struct queue *q, uint32_t i, struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    bool released = e->extra > 0;
    unplace(q, e);
    entry_move(q, e, QUEUE_READY);
    if (e->flags & ENTRY_KEYED) {
        order_ready(q, i);
    } else if (e->flags & ENTRY_HELD) {
        place_held(q, i);
    } else if (released || e->attempts > 0) {
        place_again(q, i);
    } else {
        place_new(q, i);
    }
    entry_tell(q, i, QUEUE_UNCHANGED, QUEUE_CAUSE_NONE, out);
}

static bool is_due(const struct sl_heap *h, uint64_t now_ms)
{
    const struct sl_heap_node *top = sl_heap_top(h);
    return top != NULL && top->key <= now_ms;
}

static uint64_t oldest_dead_ends(const struct queue *q)
{
    if (q->cfg.dead_ttl_ms == 0 || q->dead.head == 0)
        return UINT64_MAX;
    return add_capped(entry_died(entry_at(q, q->dead.head)), q->cfg.dead_ttl_ms);
}

bool queue_tick(struct queue *q, const struct sl_now *now, struct queue_change *out)
{
    q->seen = *now;
    if (is_due(&q->delayed, now->steady_ms)) {
        become_ready(q, sl_heap_top(&q->delayed)->item, out);
        return true;
    }
    if (is_due(&q->deferred, now->wall_ms)) {
        become_ready(q, sl_heap_top(&q->deferred)->item, out);
        return true;
    }
    if (q->cfg.dead_ttl_ms == 0)
        return false;
    dead_sort(q);
    if (oldest_dead_ends(q) > now->steady_ms)
        return false;
    entry_leave(q, q->dead.head, QUEUE_EXIT_DEAD_EXPIRED, out);
    return true;
}

/* A time of another clock, as monotonic time, as far as is known now. */
static uint64_t mono_of(const struct queue *q, uint64_t due_ms, uint64_t clock_ms)
{
    return due_ms <= clock_ms ? q->seen.mono_ms : add_capped(q->seen.mono_ms, due_ms - clock_ms);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t queue_deadline(const struct queue *q)
{
    uint64_t at_ms = sooner(sl_timers_next(&q->timers), q->wake_ms);
    if (q->delayed.n > 0)
        at_ms = sooner(at_ms, mono_of(q, sl_heap_top(&q->delayed)->key, q->seen.steady_ms));
    if (q->deferred.n > 0)
        at_ms = sooner(at_ms, mono_of(q, sl_heap_top(&q->deferred)->key, q->seen.wall_ms));
    if (q->cfg.dead_ttl_ms == 0 || q->dead.head == 0)
        return at_ms;
    uint64_t dead_ms =
        q->dead_unsorted ? q->seen.mono_ms : mono_of(q, oldest_dead_ends(q), q->seen.steady_ms);
    return sooner(at_ms, dead_ms);
}
