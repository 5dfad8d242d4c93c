/* Where entries stand: lists, heaps, and the counts that follow from them. */
#include "internal.h"

/* ---- states ---- */

static const unsigned allowed[QUEUE_NSTATES] = {
    [QUEUE_READY] = BIT(QUEUE_LEASED) | BIT(QUEUE_DEAD),
    [QUEUE_LEASED] = BIT(QUEUE_READY) | BIT(QUEUE_DELAYED) | BIT(QUEUE_DEAD),
    [QUEUE_DELAYED] = BIT(QUEUE_READY),
    [QUEUE_DEAD] = 0, /* it only leaves */
};

static void count_in(struct queue *q, const struct queue_entry *e)
{
    q->count[e->state]++;
    if (e->state == QUEUE_DEAD)
        q->dead_bytes += e->bytes;
    else
        q->bytes += e->bytes;
}

static void count_out(struct queue *q, const struct queue_entry *e)
{
    q->count[e->state]--;
    if (e->state == QUEUE_DEAD)
        q->dead_bytes -= e->bytes;
    else
        q->bytes -= e->bytes;
}

void entry_move(struct queue *q, struct queue_entry *e, enum queue_state to)
{
    SL_ASSERT(allowed[e->state] & BIT(to));
    SL_ASSERT(e->place == PLACE_NONE);
    count_out(q, e);
    e->state = (uint8_t)to;
    count_in(q, e);
}

/* ---- entries ---- */

uint32_t entry_take(struct queue *q, uint64_t id, uint32_t bytes, enum queue_state state)
{
    SL_ASSERT(id != 0);
    uint32_t i = sl_slab_take(&q->entries);
    struct queue_entry *e = entry_at(q, i);
    *e = (struct queue_entry){.id = id, .bytes = bytes, .state = (uint8_t)state};
    count_in(q, e);
    return i;
}

void entry_set_body(struct queue *q, struct queue_entry *e, struct message *m)
{
    e->msg = message_ref(m);
    q->body_bytes += e->bytes;
}

bool entry_is_last_attempt(const struct queue *q, const struct queue_entry *e)
{
    return e->attempts + 1u >= q->cfg.max_attempts;
}

uint64_t entry_due(const struct queue *q, const struct queue_entry *e)
{
    if (e->place == PLACE_DELAYED)
        return q->delayed.nodes[e->pos].key;
    if (e->place == PLACE_DEFERRED)
        return q->deferred.nodes[e->pos].key;
    return e->place == PLACE_DEAD ? entry_died(e) : 0;
}

void entry_tell(const struct queue *q, uint32_t i, enum queue_fate fate, enum queue_cause cause,
                struct queue_change *out)
{
    const struct queue_entry *e = entry_at(q, i);
    *out = (struct queue_change){
        .fate = fate,
        .cause = cause,
        .state = (enum queue_state)e->state,
        .bytes = e->bytes,
        .id = e->id,
        .entry = i,
        .attempts = e->attempts,
        .due_steady_ms = entry_due(q, e),
        .msg = e->msg,
    };
}

static void count_exit(struct queue *q, enum queue_exit exit)
{
    switch (exit) {
    case QUEUE_EXIT_ACK:
        q->counters.acked++;
        break;
    case QUEUE_EXIT_EXPIRED:
        q->counters.expired++;
        break;
    case QUEUE_EXIT_DROPPED:
        q->counters.dropped++;
        break;
    case QUEUE_EXIT_DEAD_DROPPED:
        q->counters.dead_dropped++;
        break;
    case QUEUE_EXIT_DEAD_EXPIRED:
        q->counters.dead_expired++;
        break;
    case QUEUE_EXIT_PURGED:
        q->counters.purged++;
        break;
    case QUEUE_EXIT_CANCELLED:
        q->counters.cancelled++;
        break;
    case QUEUE_EXIT_REPLACED:
        q->counters.replaced++;
        break;
    case QUEUE_EXIT_MOVED:
        q->counters.moved++;
        break;
    case QUEUE_EXIT_DEAD_REMOVED:
        q->counters.dead_removed++;
        break;
    case QUEUE_EXIT_NONE:
        SL_ASSERT(exit != QUEUE_EXIT_NONE);
    }
}

void entry_leave(struct queue *q, uint32_t i, enum queue_exit exit, struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    *out = (struct queue_change){
        .fate = QUEUE_GONE,
        .exit = exit,
        .cause = exit == QUEUE_EXIT_EXPIRED ? QUEUE_CAUSE_EXPIRED : QUEUE_CAUSE_NONE,
        .state = (enum queue_state)e->state,
        .bytes = e->bytes,
        .id = e->id,
        .attempts = e->attempts,
        .due_steady_ms = entry_due(q, e),
        .msg = e->msg,
    };
    if (e->place != PLACE_LEASED)
        unplace(q, e);
    if (e->flags & ENTRY_CALLED)
        key_left(q, e);
    if (SL_UNLIKELY(e->flags & ENTRY_KEYED))
        order_left(q, i);
    count_out(q, e);
    count_exit(q, exit);
    if (e->msg != NULL)
        q->body_bytes -= e->bytes;
    e->id = 0;
    sl_slab_give(&q->entries, i);
}

/* ---- lists ---- */

static SL_ALWAYS_INLINE void list_append(struct queue *q, struct list *l, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    e->prev = l->tail;
    e->next = 0;
    if (l->tail != 0)
        entry_at(q, l->tail)->next = i;
    else
        l->head = i;
    l->tail = i;
}

void list_remove(struct queue *q, struct list *l, struct queue_entry *e)
{
    if (e->prev != 0)
        entry_at(q, e->prev)->next = e->next;
    else
        l->head = e->next;
    if (e->next != 0)
        entry_at(q, e->next)->prev = e->prev;
    else
        l->tail = e->prev;
    e->prev = 0;
    e->next = 0;
}

static void list_prepend(struct queue *q, struct list *l, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    e->prev = 0;
    e->next = l->head;
    entry_at(q, l->head)->prev = i;
    l->head = i;
}

void list_enter(struct queue *q, struct list *l, uint32_t i, bool first)
{
    if (first && l->head != 0)
        list_prepend(q, l, i);
    else
        list_append(q, l, i);
}

/* ---- bands ---- */

uint32_t band_first(const struct queue *q, const struct band *b)
{
    const struct sl_heap_node *top = sl_heap_top(&b->returned);
    uint32_t head = b->fifo.head;
    if (top == NULL)
        return head;
    return head == 0 || top->key < entry_at(q, head)->id ? top->item : head;
}

static void band_enter(struct queue *q, struct queue_entry *e, enum place p)
{
    if (q->droppable == 0)
        q->ready_since_ms = q->seen.mono_ms;
    uint16_t bit = (uint16_t)BIT(e->priority);
    if (p == PLACE_ALONE)
        q->alone_bands |= bit;
    else
        q->ready_bands |= bit;
    e->place = (uint8_t)p;
    q->droppable++;
    q->droppable_bytes += e->bytes;
}

static void band_left(struct queue *q, const struct queue_entry *e)
{
    const struct band *b = &q->bands[e->priority];
    uint16_t others = (uint16_t)~BIT(e->priority);
    if (b->fifo.head == 0 && b->returned.n == 0)
        q->ready_bands &= others;
    if (b->alone.n == 0)
        q->alone_bands &= others;
    q->droppable--;
    q->droppable_bytes -= e->bytes;
}

/* ---- in and out ---- */

void unplace(struct queue *q, struct queue_entry *e)
{
    struct band *b = &q->bands[e->priority];
    switch ((enum place)e->place) {
    case PLACE_FIFO:
        list_remove(q, &b->fifo, e);
        break;
    case PLACE_RETURNED:
        sl_heap_remove(&b->returned, e->pos);
        break;
    case PLACE_ALONE:
        sl_heap_remove(&b->alone, e->pos);
        break;
    case PLACE_HELD:
        list_remove(q, &q->held, e);
        break;
    case PLACE_DEAD:
        dead_leaves(q, e);
        list_remove(q, &q->dead, e);
        break;
    case PLACE_DELAYED:
        sl_heap_remove(&q->delayed, e->pos);
        break;
    case PLACE_DEFERRED:
        sl_heap_remove(&q->deferred, e->pos);
        break;
    case PLACE_ASIDE:
        key_unplace(q, e);
        break;
    case PLACE_LINE:
    case PLACE_LATE:
        order_unplace(q, e);
        break;
    case PLACE_LEASED:
    case PLACE_NONE:
        break;
    }
    if (e->place == PLACE_FIFO || e->place == PLACE_RETURNED || e->place == PLACE_ALONE)
        band_left(q, e);
    e->place = PLACE_NONE;
}

void place_new(struct queue *q, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    list_append(q, &q->bands[e->priority].fifo, i);
    band_enter(q, e, PLACE_FIFO);
}

void place_again(struct queue *q, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    struct band *b = &q->bands[e->priority];
    bool alone = e->attempts > 0 && entry_is_last_attempt(q, e);
    sl_heap_push(alone ? &b->alone : &b->returned, e->id, i);
    band_enter(q, e, alone ? PLACE_ALONE : PLACE_RETURNED);
}

void place_as(struct queue *q, uint32_t i, uint64_t id)
{
    struct queue_entry *e = entry_at(q, i);
    uint64_t before = e->id - id;
    if (e->place == PLACE_HELD) {
        e->pos = before < UINT32_MAX ? (uint32_t)before : 0;
    } else if (e->place == PLACE_FIFO || e->place == PLACE_NONE) {
        unplace(q, e);
        sl_heap_push(&q->bands[e->priority].returned, id, i);
        band_enter(q, e, PLACE_RETURNED);
    }
}

void place_held(struct queue *q, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    list_append(q, &q->held, i);
    e->place = PLACE_HELD;
    e->pos = 0;
}

void place_due(struct queue *q, uint32_t i, uint64_t due_ms, bool absolute)
{
    sl_heap_push(absolute ? &q->deferred : &q->delayed, due_ms, i);
    entry_at(q, i)->place = absolute ? PLACE_DEFERRED : PLACE_DELAYED;
}

void place_dead(struct queue *q, uint32_t i, uint64_t died_ms, enum queue_cause cause)
{
    struct queue_entry *e = entry_at(q, i);
    if (e->flags & ENTRY_KEYED)
        order_left(q, i);
    list_append(q, &q->dead, i);
    e->place = PLACE_DEAD;
    e->pos = (uint32_t)died_ms;
    e->extra = (uint16_t)((unsigned)cause << CAUSE_SHIFT | (died_ms >> 32 & DIED_HIGH_MASK));
    dead_joined(q, i);
}

void place_leased(struct queue_entry *e, uint32_t lease_slot)
{
    e->place = PLACE_LEASED;
    e->pos = lease_slot;
    e->avoid = 0;
}

void place_aside(struct queue *q, struct key_line *line, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    uint32_t head = line->aside.head;
    list_enter(q, &line->aside, i, head != 0 && e->id < entry_at(q, head)->id);
    e->place = PLACE_ASIDE;
    e->pos = line->self;
}
