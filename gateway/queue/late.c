/* Consumers that live on when they are late: nobody can end somebody else's
 * process, and one late message must cost only itself.
 *
 *   started ──limit──▶ failed by TIMEOUT, its late answer is awaited ──answer──▶ goes on
 *   waiting behind it ──another limit──▶ back to ready, uncharged
 *
 * What was taken from it still occupies its place in the consumer, which works on
 * it or hangs: what waits behind is not started by that, and its clock does not
 * run. But it does not wait for ever. */
#include "internal.h"

/* The next one past its limit; NULL: none. */
static struct lease *overdue_lease(const struct queue *q, const struct consumer *c, uint64_t now_ms)
{
    for (uint32_t slot = c->first; slot != c->first_waiting; slot = q->leases[slot].next) {
        if (q->leases[slot].limit_ms <= now_ms)
            return &q->leases[slot];
    }
    return NULL;
}

static uint32_t take_away(struct queue *q, struct consumer *c, struct lease *l, const struct sl_now *now)
{
    uint32_t entry = l->entry;
    if (c->late++ == 0)
        c->patience_ms = add_capped(now->mono_ms, c->cfg.time_limit_ms);
    consumer_end_lease(q, l, false, now);
    c->sealed = true;
    return entry;
}

static void watch_again(struct queue *q, struct consumer *c)
{
    uint64_t at_ms = consumer_due(q, c);
    if (at_ms != UINT64_MAX)
        consumer_watch(q, c, at_ms);
}

bool queue_expire(struct queue *q, uint32_t consumer, const struct sl_now *now, struct queue_change *out)
{
    struct consumer *c = consumer_at(q, consumer);
    struct lease *l = overdue_lease(q, c, now->mono_ms);
    q->seen = *now;
    if (l != NULL) {
        q->counters.timed_out++;
        if (is_batching(c))
            entry_at(q, l->entry)->flags |= ENTRY_SINGLE; /* as for one that was killed */
        entry_fail(q, take_away(q, c, l, now), &(struct failure){ .cause = QUEUE_CAUSE_TIMEOUT }, now, out);
        return true;
    }
    if (c->first_waiting != 0 && c->patience_ms <= now->mono_ms) {
        entry_return(q, take_away(q, c, &q->leases[c->first_waiting], now), QUEUE_CAUSE_NONE, out);
        return true;
    }
    watch_again(q, c);
    return false;
}

void queue_answered_late(struct queue *q, uint32_t consumer, const struct sl_now *now)
{
    struct consumer *c = consumer_at(q, consumer);
    if (c->late == 0)
        return;
    if (--c->late == 0)
        c->patience_ms = UINT64_MAX;
    consumer_unseal(c);
    consumer_start_waiting(q, c, now);
    consumer_update(q, c);
}
