/* A newer message in the place of an older one that waits (dedup `replace`). */
#include "internal.h"

static bool is_waiting(const struct queue_entry *e)
{
    return e != NULL && (e->state == QUEUE_READY || e->state == QUEUE_DELAYED);
}

bool queue_waits(const struct queue *q, uint32_t entry, uint64_t id, uint64_t *bytes)
{
    const struct queue_entry *e = entry_find(q, entry, id);
    if (!is_waiting(e))
        return false;
    *bytes = e->bytes;
    return true;
}

/* Restored ones were given their indexes in the order of their ids. */
uint32_t queue_restored_entry(const struct queue *q, uint64_t id)
{
    uint32_t from = 1, to = q->entries.used + 1;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (entry_at(q, middle)->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from <= q->entries.used && entry_at(q, from)->id == id ? from : 0;
}

static bool comes_later(const struct message *m, const struct sl_now *now)
{
    bool relative = (message_flags(m) & MESSAGE_DELIVER_RELATIVE) != 0;
    return message_deliver_at(m) > (relative ? now->steady_ms : now->wall_ms);
}

static uint8_t priority_of(const struct message *m)
{
    uint8_t priority = message_priority(m);
    return priority < PRIORITIES ? priority : (uint8_t)(PRIORITIES - 1);
}

/* Both belong to one line, or to none. */
static bool keeps_line(const struct queue *q, const struct queue_entry *e, const struct message *m)
{
    uint64_t line = (e->flags & ENTRY_KEYED) == 0 ? 0 : order_line_of(q, e)->hash;
    return queue_order_key(q, m) == line;
}

static bool stands_in_line(const struct queue_entry *e)
{
    return (e->place == PLACE_LINE || e->place == PLACE_LATE) && (e->flags & ENTRY_HELD) == 0;
}

static bool stands_in_band(const struct queue_entry *e)
{
    return e->place == PLACE_FIFO || e->place == PLACE_RETURNED;
}

/* It stands elsewhere because it has failed, or was released; what is delayed at first has no place yet. */
static bool has_place_by_id(const struct queue *q, uint32_t i)
{
    const struct queue_entry *e = entry_at(q, i);
    bool came_back = e->place == PLACE_ALONE || (e->place == PLACE_DELAYED && (e->attempts > 0 || e->extra > 0));
    return came_back && ((e->flags & ENTRY_KEYED) == 0 || order_line_of(q, e)->out == i);
}

static void resize(struct queue *q, struct queue_entry *e, uint32_t bytes)
{
    uint64_t more = (uint64_t)bytes - e->bytes;
    q->bytes += more;
    if (stands_in_band(e))
        q->droppable_bytes += more;
    else if (stands_in_line(e))
        q->lined_bytes += more;
    e->bytes = bytes;
}

/* The entry is another message's from now on, wherever it stands. */
static void exchange(struct queue *q, struct queue_entry *e, struct message *m, struct queue_change *out)
{
    *out = (struct queue_change){
        .fate = QUEUE_GONE, .exit = QUEUE_EXIT_REPLACED, .state = (enum queue_state)e->state, .id = e->id, .attempts = e->attempts, .msg = e->msg,
    };
    if (e->msg != NULL)
        q->body_bytes -= e->bytes;
    resize(q, e, (uint32_t)message_bytes(m));
    e->id = message_id(m);
    e->attempts = 0;
    e->extra = 0;
    e->flags &= ENTRY_KEYED;
    if (e->place == PLACE_RETURNED)
        e->avoid = 0;
    entry_set_body(q, e, m);
    q->counters.accepted++;
    q->counters.replaced++;
}

/* Among those that came back, where it would have gone. */
static void exchange_there(struct queue *q, uint32_t i, struct message *m, struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    uint64_t id = e->id;
    bool delayed = e->state == QUEUE_DELAYED;
    unplace(q, e);
    exchange(q, e, m, out);
    if (delayed)
        entry_move(q, e, QUEUE_READY);
    e->avoid = 0;
    place_as(q, i, id);
}

/* Where it is: true: that was done. */
static bool exchange_in_place(struct queue *q, uint32_t i, struct message *m, struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    if (e->priority != priority_of(m) || (e->flags & ENTRY_CALLED) != 0 || !keeps_line(q, e, m))
        return false;
    if (has_place_by_id(q, i)) {
        exchange_there(q, i, m, out);
        return true;
    }
    if (!stands_in_band(e) && !stands_in_line(e))
        return false;
    exchange(q, e, m, out);
    if (stands_in_line(e))
        order_renamed(q, e);
    return true;
}

uint32_t queue_replace(struct queue *q, uint32_t old_entry, uint64_t old_id, struct message *m, uint32_t flags,
                       const struct sl_now *now, struct queue_change *out)
{
    const struct queue_entry *e = entry_find(q, old_entry, old_id);
    if (!is_waiting(e))
        return 0;
    q->seen = *now;
    bool later = comes_later(m, now), held = (flags & QUEUE_HOLD) != 0;
    if (!later && !held && exchange_in_place(q, old_entry, m, out))
        return old_entry;
    bool takes_place = !later && (e->state == QUEUE_READY || has_place_by_id(q, old_entry));
    entry_leave(q, old_entry, QUEUE_EXIT_REPLACED, out);
    uint32_t i = queue_enqueue(q, m, flags, now);
    if (takes_place)
        place_as(q, i, old_id);
    return i;
}
