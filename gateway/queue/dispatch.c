/* Who gets what next. One step looks at the first ready message and at the
 * consumers with credit; without either it costs nothing. */
#include "internal.h"

/* With more open consumers than this, a step looks at so many from where the
 * last one stopped. */
#define SCAN_MAX     64u
#define RANK_AVOIDED 1u /* the last choice */
#define QUEUE_ASIDE  ((enum queue_step)(QUEUE_FETCH + 1)) /* it was put aside: the next one */

/* ---- choice of the message ---- */

static bool has_expired(const struct queue *q, const struct queue_entry *e,
                        const struct sl_now *now)
{
    if (e->msg == NULL)
        return (e->flags & ENTRY_STALE) != 0;
    uint64_t at_ms = message_expires_at(e->msg);
    bool relative = (message_flags(e->msg) & MESSAGE_EXPIRES_RELATIVE) != 0;
    if (at_ms != 0 && at_ms <= (relative ? now->steady_ms : now->wall_ms))
        return true;
    if (q->cfg.ttl_ms == 0)
        return false;
    struct message_parts parts;
    message_view(message_record(e->msg), &parts);
    /* accepted_at is wall time, a ttl is a duration: only when both clocks agree
     * has it passed, whichever way the wall clock jumped. */
    uint64_t end_ms = add_capped(parts.accepted_at, q->cfg.ttl_ms);
    return end_ms <= now->steady_ms && end_ms <= now->wall_ms;
}

/* Whether the first of those with one attempt left stands before the first of
 * the others. */
static bool alone_has_its_turn(const struct queue *q)
{
    if (q->alone_bands == 0)
        return false;
    if (q->ready_bands == 0)
        return true;
    uint32_t alone = top_band(q->alone_bands), ready = top_band(q->ready_bands);
    if (alone != ready)
        return alone > ready;
    const struct band *b = &q->bands[ready];
    return sl_heap_top(&b->alone)->key < entry_at(q, band_first(q, b))->id;
}

/* ---- choice of the consumer ---- */

/* Walks the open consumers from the cursor on. */
struct scan {
    uint32_t at, left;
};

static struct scan scan_start(const struct queue *q)
{
    return (struct scan){q->cursor, q->n_open < SCAN_MAX ? q->n_open : SCAN_MAX};
}

static const struct open_consumer *scan_next(const struct queue *q, struct scan *s)
{
    if (s->left == 0)
        return NULL;
    s->left--;
    if (s->at >= q->n_open)
        s->at = 0;
    return &q->open[s->at++];
}

static bool may_have(struct queue *q, uint32_t slot, bool at_once, const struct sl_now *now)
{
    return restraint_allows(q, consumer_at(q, slot), at_once, now);
}

/* The best of the open ones that is not reserved. `restrained`: some of them may not have it now. */
static SL_ALWAYS_INLINE struct consumer *best_open(struct queue *q, const struct queue_entry *e, bool restrained, const struct sl_now *now)
{
    /* The head of a fifo has nobody before it: then `avoid`, which is the same
     * memory as `prev`, is 0 as it should be. */
    uint32_t avoid = e->avoid;
    uint32_t best = 0;
    uint64_t best_rank = 0;
    struct scan s = scan_start(q);
    for (const struct open_consumer *o = scan_next(q, &s); o != NULL; o = scan_next(q, &s)) {
        uint64_t rank = o->slot == avoid ? RANK_AVOIDED : o->rank;
        if (rank <= best_rank || o->slot == q->reserved)
            continue;
        if (restrained && !may_have(q, o->slot, (e->flags & ENTRY_SINGLE) != 0, now))
            continue;
        best = o->slot;
        best_rank = rank;
    }
    return best == 0 ? NULL : consumer_at(q, best);
}

/* Whose batch is being filled goes before all others: it goes out whole. What must go by
 * itself ends it. */
static struct consumer *choose_collecting(struct queue *q, const struct queue_entry *e, const struct sl_now *now)
{
    struct consumer *c = consumer_at(q, q->collecting);
    if (c->open_at != 0 && (e->flags & ENTRY_SINGLE) == 0 && restraint_allows(q, c, false, now))
        return c;
    queue_batch_end(q);
    return NULL;
}

static SL_NOINLINE struct consumer *choose_restrained(struct queue *q, const struct queue_entry *e, const struct sl_now *now)
{
    struct consumer *collecting = q->collecting == 0 ? NULL : choose_collecting(q, e, now);
    return collecting != NULL ? collecting : best_open(q, e, true, now);
}

static struct consumer *choose(struct queue *q, const struct queue_entry *e, const struct sl_now *now)
{
    return SL_LIKELY(!q->restrained) ? best_open(q, e, false, now) : choose_restrained(q, e, now);
}

/* An idle one, or NULL: then one is reserved, so that it becomes idle. The one
 * that is reserved already stays it; a queue has at most one. */
static struct consumer *choose_alone(struct queue *q, uint32_t avoid, const struct sl_now *now)
{
    struct consumer *least = NULL;
    struct scan s = scan_start(q);
    for (const struct open_consumer *o = scan_next(q, &s); o != NULL; o = scan_next(q, &s)) {
        if (o->slot == avoid && q->n_open > 1)
            continue;
        struct consumer *c = consumer_at(q, o->slot);
        if (least == NULL || c->unanswered < least->unanswered)
            least = c;
    }
    if (least != NULL && least->unanswered == 0) {
        q->reserved = 0;
        return !q->restrained || may_have(q, least->slot, true, now) ? least : NULL;
    }
    if (least != NULL && (q->reserved == 0 || q->reserved == avoid))
        q->reserved = least->slot;
    return NULL;
}

/* ---- the step ---- */

static SL_NOINLINE void deliver_restrained(struct queue *q, struct queue_entry *e, struct consumer *c, const struct sl_now *now, struct queue_delivery *out)
{
    if (q->collecting != c->slot)
        queue_batch_end(q); /* the first of those with one attempt left may go before all of the others */
    restraint_took(q, c, e, now);
    e->flags &= (uint8_t)~ENTRY_SINGLE;
    out->in_batch = c->collecting;
    if (keys_limited(q))
        key_leased(q, e);
}

static void deliver(struct queue *q, uint32_t i, struct consumer *c, const struct sl_now *now,
                    struct queue_delivery *out)
{
    struct queue_entry *e = entry_at(q, i);
    if (e->next != 0 && e->place == PLACE_FIFO)
        SL_PREFETCH(entry_at(q, e->next)->msg);
    unplace(q, e);
    entry_move(q, e, QUEUE_LEASED);
    struct lease *l = consumer_lease(q, c, i, now);
    place_leased(e, (uint32_t)(l - q->leases));
    *out = (struct queue_delivery){
        .lease = l->id,
        .consumer = c->slot,
        .consumer_arg = c->cfg.arg,
        .entry = i,
        .attempt = e->attempts + 1u,
        .redelivered = (e->flags & ENTRY_REDELIVERED) != 0,
        .last = entry_is_last_attempt(q, e),
        .msg = e->msg,
    };
    q->counters.delivered++;
    q->cursor = c->open_at;
    c->sealed = e->attempts > 0 && out->last;
    if (SL_UNLIKELY(q->restrained))
        deliver_restrained(q, e, c, now, out);
    consumer_update(q, c);
}

/* Entry i is next: it leaves, or its body must come first, or it goes out. */
static enum queue_step step(struct queue *q, uint32_t i, bool alone, const struct sl_now *now,
                            struct queue_delivery *out, struct queue_change *change)
{
    const struct queue_entry *e = entry_at(q, i);
    if (has_expired(q, e, now)) {
        if (q->cfg.dead_expired)
            entry_expire(q, i, now, change);
        else
            entry_leave(q, i, QUEUE_EXIT_EXPIRED, change);
        return QUEUE_DROP;
    }
    if (e->msg == NULL)
        return (e->flags & ENTRY_WANTED) != 0 ? QUEUE_IDLE : QUEUE_FETCH;
    if (SL_UNLIKELY(q->restrained) && key_set_aside(q, i))
        return QUEUE_ASIDE;
    struct consumer *c = alone ? choose_alone(q, e->avoid, now) : choose(q, e, now);
    if (c == NULL)
        return QUEUE_IDLE;
    deliver(q, i, c, now, out);
    return QUEUE_DELIVER;
}

/* Nobody may take a message of the many: all are full, or the one with credit is reserved. */
static bool only_reserved_is_open(const struct queue *q)
{
    return q->n_open == 1 && q->open[0].slot == q->reserved;
}

/* One look at what is first. */
static SL_ALWAYS_INLINE enum queue_step look(struct queue *q, const struct sl_now *now, struct queue_delivery *out, struct queue_change *change)
{
    if (alone_has_its_turn(q)) {
        uint32_t i = sl_heap_top(&q->bands[top_band(q->alone_bands)].alone)->item;
        enum queue_step s = step(q, i, true, now, out, change);
        if (s != QUEUE_IDLE)
            return s;
    } else {
        q->reserved = 0;
    }
    if (q->ready_bands == 0 || only_reserved_is_open(q))
        return QUEUE_IDLE; /* also when all that was ready has been put aside */
    uint32_t i = band_first(q, &q->bands[top_band(q->ready_bands)]);
    return step(q, i, false, now, out, change);
}

/* False: nothing may be leased at all. */
static SL_NOINLINE bool prepare_restrained(struct queue *q, const struct sl_now *now)
{
    if (q->paused)
        return false;
    restraint_look(q, now);
    if (q->call_all)
        keys_call_all(q);
    return true;
}

enum queue_step queue_dispatch(struct queue *q, const struct sl_now *now,
                               struct queue_delivery *out, struct queue_change *change)
{
    consumer_settle(q);
    if (SL_UNLIKELY(q->restrained) && !prepare_restrained(q, now))
        return QUEUE_IDLE;
    if ((q->ready_bands | q->alone_bands) == 0 || q->n_open == 0)
        return QUEUE_IDLE;
    q->seen = *now;
    enum queue_step s;
    do
        s = look(q, now, out, change);
    while (s == QUEUE_ASIDE);
    return s;
}
