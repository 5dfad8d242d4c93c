/* How messages come in: admission, room by dropping, entry, hold. */
#include "internal.h"

/* ---- admission ---- */

struct room {
    uint64_t count, bytes; /* what is there already */
};

static bool fits(const struct queue *q, struct room there, uint32_t count, uint64_t bytes)
{
    return add_capped(there.count, count) <= q->cfg.max_messages &&
           add_capped(there.bytes, bytes) <= q->cfg.max_bytes;
}

static struct room occupied(const struct queue *q)
{
    return (struct room){q->count[QUEUE_READY] + q->count[QUEUE_LEASED] + q->count[QUEUE_DELAYED],
                         q->bytes};
}

enum queue_admission queue_admits(const struct queue *q, uint32_t count, uint64_t bytes)
{
    struct room there = occupied(q);
    if (SL_LIKELY(fits(q, there, count, bytes)))
        return QUEUE_ADMIT;
    /* What an empty queue could not take would wait for ever. */
    if (q->cfg.overflow == QUEUE_REJECT || !fits(q, (struct room){0, 0}, count, bytes))
        return QUEUE_REFUSE;
    if (q->cfg.overflow == QUEUE_BLOCK)
        return QUEUE_WAIT;
    struct room kept = {there.count - q->droppable - q->lined,
                        there.bytes - q->droppable_bytes - q->lined_bytes};
    return fits(q, kept, count, bytes) ? QUEUE_ADMIT : QUEUE_WAIT;
}

bool queue_has_room(const struct queue *q, uint32_t count, uint64_t bytes)
{
    return fits(q, occupied(q), count, bytes);
}

/* The smallest id among the heads of all bands and lines. */
static uint32_t oldest_ready(const struct queue *q)
{
    uint32_t oldest = order_oldest(q);
    uint64_t oldest_id = oldest == 0 ? UINT64_MAX : entry_at(q, oldest)->id;
    for (uint32_t p = 0; p < PRIORITIES; p++) {
        const struct band *b = &q->bands[p];
        const struct sl_heap_node *last = sl_heap_top(&b->alone);
        uint32_t first = band_first(q, b);
        if (first != 0 && entry_at(q, first)->id < oldest_id) {
            oldest = first;
            oldest_id = entry_at(q, first)->id;
        }
        if (last != NULL && last->key < oldest_id) {
            oldest = last->item;
            oldest_id = last->key;
        }
    }
    return oldest;
}

bool queue_make_room(struct queue *q, uint32_t count, uint64_t bytes, struct queue_change *out)
{
    if (q->cfg.overflow != QUEUE_DROP_OLDEST || fits(q, occupied(q), count, bytes))
        return false;
    /* Nothing is dropped when even dropping all that is ready would not do. */
    if (queue_admits(q, count, bytes) != QUEUE_ADMIT)
        return false;
    entry_leave(q, oldest_ready(q), QUEUE_EXIT_DROPPED, out);
    return true;
}

/* ---- entry ---- */

static bool lies_ahead(uint64_t at_ms, bool relative, const struct sl_now *now)
{
    return at_ms > (relative ? now->steady_ms : now->wall_ms);
}

uint32_t queue_enqueue(struct queue *q, struct message *m, uint32_t flags, const struct sl_now *now)
{
    q->seen = *now;
    uint64_t deliver_at = message_deliver_at(m);
    bool relative = (message_flags(m) & MESSAGE_DELIVER_RELATIVE) != 0;
    bool later = deliver_at != 0 && lies_ahead(deliver_at, relative, now);
    uint32_t i = entry_take(q, message_id(m), (uint32_t)message_bytes(m),
                            later ? QUEUE_DELAYED : QUEUE_READY);
    struct queue_entry *e = entry_at(q, i);
    uint8_t priority = message_priority(m);
    e->priority = priority < PRIORITIES ? priority : (uint8_t)(PRIORITIES - 1);
    entry_set_body(q, e, m);
    q->counters.accepted++;
    if (flags & QUEUE_HOLD)
        e->flags |= ENTRY_HELD;
    uint64_t key = SL_LIKELY(!q->cfg.order.on) ? 0 : queue_order_key(q, m);
    if (SL_UNLIKELY(key != 0))
        order_join(q, i, key);
    if (later)
        place_due(q, i, deliver_at, !relative);
    else if (SL_UNLIKELY(key != 0))
        order_ready(q, i);
    else if (flags & QUEUE_HOLD)
        place_held(q, i);
    else
        place_new(q, i);
    return i;
}

/* A younger one may have come in meanwhile: then it goes before that. */
int queue_unhold(struct queue *q, uint32_t entry, uint64_t id)
{
    struct queue_entry *e = entry_find(q, entry, id);
    if (e == NULL)
        return SL_ENOENT;
    e->flags &= (uint8_t)~ENTRY_HELD;
    if (e->place == PLACE_LINE || e->place == PLACE_LATE)
        order_unheld(q, e);
    if (e->place != PLACE_HELD)
        return SL_OK;
    uint32_t before = e->pos;
    unplace(q, e);
    uint32_t tail = q->bands[e->priority].fifo.tail;
    if (before > 0) {
        place_new(q, entry);
        place_as(q, entry, id - before);
    } else if (tail == 0 || entry_at(q, tail)->id < id)
        place_new(q, entry);
    else
        place_again(q, entry);
    return SL_OK;
}
