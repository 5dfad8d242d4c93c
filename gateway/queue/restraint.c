/* Consumers that could take a message and yet must not: their batch fills, or
 * their pool is slowed down.
 *
 *   nothing ready ──▶ filling since then ──▶ batch_max are ready, or batch_wait_ms is over
 *                          ▲                        │ the first idle one takes
 *                          └──── next dispatch ─────┘ all of it in one dispatch
 *
 * What fills is the queue's: whichever idle consumer comes first takes it. */
#include "core/alloc.h"
#include "internal.h"

#define BURST_NS     UINT64_C(100000000)
#define NS_PER_S     UINT64_C(1000000000)
#define NS_PER_MS    UINT64_C(1000000)
#define BATCH_BYTES  (8u << 20) /* a batch that has so many takes no more */

static void wake_at(struct queue *q, uint64_t at_ms)
{
    if (at_ms < q->wake_ms)
        q->wake_ms = at_ms;
}

/* ---- rates ---- */

uint32_t queue_limit_add(struct queue *q, uint64_t per_second)
{
    q->limits = sl_realloc(q->limits, (q->n_limits + 1) * sizeof *q->limits);
    q->limits[q->n_limits++] = (struct rate_limit){ 0 };
    queue_limit_set(q, q->n_limits, per_second);
    return q->n_limits;
}

static struct rate_limit *limit_at(const struct queue *q, uint32_t limit)
{
    SL_ASSERT(limit != 0 && limit <= q->n_limits);
    return &q->limits[limit - 1];
}

void queue_limit_set(struct queue *q, uint32_t limit, uint64_t per_second)
{
    limit_at(q, limit)->cost_ns = per_second == 0 ? 0 : NS_PER_S / per_second;
}

/* As much before its time as a message may go. */
static uint64_t ahead_ns(const struct rate_limit *l)
{
    return l->cost_ns < BURST_NS ? BURST_NS - l->cost_ns : 0;
}

static bool rate_allows(struct queue *q, const struct consumer *c, const struct sl_now *now)
{
    if (c->cfg.limit == 0)
        return true;
    const struct rate_limit *l = limit_at(q, c->cfg.limit);
    uint64_t reach_ns = now->mono_us * 1000 + ahead_ns(l);
    if (l->cost_ns == 0 || l->due_ns <= reach_ns)
        return true;
    uint64_t wait_ns = l->due_ns - reach_ns;
    wake_at(q, now->mono_ms + (wait_ns + NS_PER_MS - 1) / NS_PER_MS);
    return false;
}

static void rate_took(const struct queue *q, const struct consumer *c, const struct sl_now *now)
{
    if (c->cfg.limit == 0)
        return;
    struct rate_limit *l = limit_at(q, c->cfg.limit);
    uint64_t now_ns = now->mono_us * 1000;
    l->due_ns = (l->due_ns > now_ns ? l->due_ns : now_ns) + l->cost_ns;
}

/* ---- batches ---- */

/* In the bands: `droppable` counts those. */
static bool batch_is_full(const struct queue *q, const struct consumer *c)
{
    return q->droppable >= c->cfg.batch_max || q->droppable_bytes >= BATCH_BYTES;
}

static bool batch_allows(struct queue *q, const struct consumer *c, bool at_once, const struct sl_now *now)
{
    if (!is_batching(c) || c->collecting || at_once || batch_is_full(q, c))
        return true;
    uint64_t over_ms = add_capped(q->filling_ms, c->cfg.batch_wait_ms);
    if (over_ms <= now->mono_ms)
        return true;
    wake_at(q, over_ms);
    return false;
}

/* What goes out by itself is no batch, and nothing joins it. */
static void batch_took(struct queue *q, struct consumer *c, const struct queue_entry *e)
{
    c->sealed = c->sealed || (e->flags & ENTRY_SINGLE) != 0;
    if (!c->sealed && !c->collecting) {
        c->collecting = true;
        q->collecting = c->slot;
        q->filling = false; /* what this batch leaves behind begins anew */
    }
    if (c->collecting && c->unanswered_bytes >= BATCH_BYTES)
        queue_batch_end(q);
}

void queue_batch_end(struct queue *q)
{
    if (q->collecting == 0)
        return;
    struct consumer *c = consumer_at(q, q->collecting);
    q->collecting = 0;
    c->collecting = false;
    c->sealed = c->unanswered > 0;
    consumer_update(q, c);
}

/* ---- both ---- */

bool restraint_allows(struct queue *q, const struct consumer *c, bool at_once, const struct sl_now *now)
{
    return rate_allows(q, c, now) && batch_allows(q, c, at_once, now);
}

void restraint_took(struct queue *q, struct consumer *c, const struct queue_entry *e, const struct sl_now *now)
{
    rate_took(q, c, now);
    if (is_batching(c))
        batch_took(q, c, e);
}

void restraint_count(struct queue *q, int change)
{
    q->n_restrained = (uint32_t)((int)q->n_restrained + change);
    q->restrained = q->n_restrained > 0 || keys_limited(q) || q->paused;
}

void restraint_look(struct queue *q, const struct sl_now *now)
{
    q->wake_ms = UINT64_MAX;
    if (q->droppable == 0)
        q->filling = false;
    else if (!q->filling)
        q->filling_ms = now->mono_ms;
    q->filling = q->droppable > 0;
}
