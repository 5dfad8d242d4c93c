/* Every invariant of a queue, as one walk over all it holds. */
#include "core/alloc.h"
#include "internal.h"

struct tally {
    uint64_t count[QUEUE_NSTATES];
    uint64_t bytes, dead_bytes, body_bytes;
    uint64_t droppable, droppable_bytes;
    uint64_t entries;
    uint64_t lined, lined_bytes;
    uint32_t *members; /* by line */
};

static void see(const struct queue *q, struct tally *t, uint32_t i, enum place place,
                enum queue_state state)
{
    const struct queue_entry *e = entry_at(q, i);
    SL_ASSERT(e->id != 0);
    SL_ASSERT(e->place == place && e->state == state);
    SL_ASSERT(e->priority < PRIORITIES);
    t->entries++;
    t->count[state]++;
    *(state == QUEUE_DEAD ? &t->dead_bytes : &t->bytes) += e->bytes;
    if (e->flags & ENTRY_KEYED) {
        const struct order_line *line = order_line_of(q, e);
        bool outside = place == PLACE_RETURNED || place == PLACE_ALONE || place == PLACE_LEASED;
        bool inside = place == PLACE_LINE || place == PLACE_LATE;
        SL_ASSERT(outside ? line->out == i : inside ? line->out != i : state == QUEUE_DELAYED);
        t->members[line->self]++;
    }
    if (e->msg != NULL) {
        SL_ASSERT(message_id(e->msg) == e->id && message_bytes(e->msg) == e->bytes);
        t->body_bytes += e->bytes;
    }
}

static void check_list(const struct queue *q, struct tally *t, const struct list *l,
                       enum place place, enum queue_state state)
{
    uint32_t before = 0;
    for (uint32_t i = l->head; i != 0; i = entry_at(q, i)->next) {
        see(q, t, i, place, state);
        SL_ASSERT(entry_at(q, i)->prev == before);
        SL_ASSERT(place != PLACE_HELD || (entry_at(q, i)->flags & ENTRY_HELD) != 0);
        before = i;
    }
    SL_ASSERT(l->tail == before);
}

static void check_heap(const struct queue *q, struct tally *t, const struct sl_heap *h,
                       enum place place, enum queue_state state)
{
    for (uint32_t n = 0; n < h->n; n++) {
        const struct queue_entry *e = entry_at(q, h->nodes[n].item);
        see(q, t, h->nodes[n].item, place, state);
        SL_ASSERT(e->pos == n);
        SL_ASSERT(n == 0 || h->nodes[(n - 1) / 2].key <= h->nodes[n].key);
        SL_ASSERT(state != QUEUE_READY || h->nodes[n].key <= e->id); /* less: it took the place of another */
        bool alone = e->attempts > 0 && entry_is_last_attempt(q, e);
        SL_ASSERT(state != QUEUE_READY || place == PLACE_LATE || alone == (place == PLACE_ALONE));
    }
}

static void check_bands(const struct queue *q, struct tally *t)
{
    for (uint32_t p = 0; p < PRIORITIES; p++) {
        const struct band *b = &q->bands[p];
        check_list(q, t, &b->fifo, PLACE_FIFO, QUEUE_READY);
        check_heap(q, t, &b->returned, PLACE_RETURNED, QUEUE_READY);
        check_heap(q, t, &b->alone, PLACE_ALONE, QUEUE_READY);
        SL_ASSERT(((q->ready_bands & BIT(p)) != 0) == (b->fifo.head != 0 || b->returned.n > 0));
        SL_ASSERT(((q->alone_bands & BIT(p)) != 0) == (b->alone.n > 0));
    }
    t->droppable = t->entries;
    t->droppable_bytes = t->bytes;
}

/* Its leases: in one line, the started ones first, counted right. */
static void check_leases(const struct queue *q, struct tally *t, const struct consumer *c)
{
    uint32_t before = 0, unanswered = 0, started = 0, first_waiting = 0;
    uint64_t bytes = 0;
    for (uint32_t slot = c->first; slot != 0; slot = q->leases[slot].next) {
        const struct lease *l = &q->leases[slot];
        SL_ASSERT((l->id & (LEASE_SLOTS_MAX - 1)) == slot);
        SL_ASSERT(l->consumer == c->slot && l->prev == before);
        see(q, t, l->entry, PLACE_LEASED, QUEUE_LEASED);
        SL_ASSERT(entry_at(q, l->entry)->pos == slot && entry_at(q, l->entry)->msg != NULL);
        if (l->started)
            started++;
        else if (first_waiting == 0)
            first_waiting = slot;
        SL_ASSERT(!l->started || first_waiting == 0);
        SL_ASSERT(!l->started || l->limit_ms == UINT64_MAX || c->told || c->losing ||
                  (c->timer.pos != 0 && c->timer.at_ms <= l->limit_ms));
        unanswered++;
        bytes += entry_at(q, l->entry)->bytes;
        before = slot;
    }
    SL_ASSERT(c->last == before);
    SL_ASSERT(c->unanswered == unanswered && c->unanswered_bytes == bytes && c->started == started &&
              c->first_waiting == first_waiting);
}

static void check_consumer(const struct queue *q, struct tally *t, const struct consumer *c)
{
    check_leases(q, t, c);
    SL_ASSERT(c->started <= c->cfg.concurrency);
    SL_ASSERT(c->losing || c->started + c->late >= c->cfg.concurrency || c->first_waiting == 0);
    SL_ASSERT((c->late > 0) == (c->patience_ms != UINT64_MAX));
    SL_ASSERT(c->unanswered <= c->cfg.prefetch && c->credit <= c->cfg.prefetch);
    SL_ASSERT(!c->sealed || c->unanswered == 1 || c->late > 0 || (is_batching(c) && c->unanswered > 1));
    SL_ASSERT(c->sealed || c->late == 0);
    SL_ASSERT(!c->collecting || (is_batching(c) && q->collecting == c->slot));
    if (c->slot == q->answered)
        return; /* its new credit is found before the next dispatch */
    bool open = !consumer_is_closed(c) && consumer_has_room(c);
    SL_ASSERT(open == (c->open_at != 0));
    if (!open)
        return;
    SL_ASSERT(c->open_at <= q->n_open && q->open[c->open_at - 1].slot == c->slot);
    SL_ASSERT(q->open[c->open_at - 1].rank == consumer_rank(c));
}

static void check_consumers(const struct queue *q, struct tally *t)
{
    uint32_t open = 0, all = 0;
    bool reserved_is_there = q->reserved == 0;
    for (uint32_t slot = q->first_consumer; slot != 0; slot = consumer_at(q, slot)->next) {
        const struct consumer *c = consumer_at(q, slot);
        check_consumer(q, t, c);
        open += c->open_at != 0;
        all++;
        if (slot == q->reserved)
            reserved_is_there = !consumer_is_closed(c) || slot == q->answered; /* it is let go before the next dispatch */
    }
    SL_ASSERT(open == q->n_open && all == q->consumers.used);
    SL_ASSERT(reserved_is_there);
}

static void check_aside(const struct queue *q, struct tally *t)
{
    const struct key_line *line;
    size_t pos = 0, lines = 0;
    uint64_t leased = 0;
    while ((line = sl_idmap_next(&q->keys, &pos)) != NULL) {
        check_list(q, t, &line->aside, PLACE_ASIDE, QUEUE_READY);
        for (uint32_t i = line->aside.head; i != 0; i = entry_at(q, i)->next)
            SL_ASSERT(entry_at(q, i)->pos == line->self);
        leased += line->leased;
        lines++;
    }
    SL_ASSERT(lines == q->key_lines.used && leased <= q->count[QUEUE_LEASED]);
}

static void see_ready(const struct queue *q, struct tally *t, uint32_t i)
{
    const struct queue_entry *e = entry_at(q, i);
    if ((e->flags & ENTRY_HELD) == 0) {
        t->lined++;
        t->lined_bytes += e->bytes;
    }
}

/* In order of id. One that took the place of another has that one's place, and an id of its own. */
static void check_line_list(const struct queue *q, struct tally *t, const struct order_line *line)
{
    check_list(q, t, &line->waiting, PLACE_LINE, QUEUE_READY);
    uint64_t before = 0;
    for (uint32_t i = line->waiting.head; i != 0; i = entry_at(q, i)->next) {
        const struct queue_entry *e = entry_at(q, i);
        SL_ASSERT(order_line_of(q, e) == line);
        SL_ASSERT(e->id > before || q->counters.replaced > 0);
        before = e->id;
        see_ready(q, t, i);
    }
}

static void check_late(const struct queue *q, struct tally *t, const struct order_line *line)
{
    if (line->late == NULL)
        return;
    SL_ASSERT(line->late->n > 0);
    check_heap(q, t, line->late, PLACE_LATE, QUEUE_READY);
    for (uint32_t n = 0; n < line->late->n; n++) {
        SL_ASSERT(order_line_of(q, entry_at(q, line->late->nodes[n].item)) == line);
        see_ready(q, t, line->late->nodes[n].item);
    }
}

/* Nobody waits behind nobody; who can still be overtaken is the first. */
static void check_out(const struct queue *q, const struct order_line *line)
{
    uint32_t first = order_line_first(q, line);
    if (line->out == 0) {
        SL_ASSERT(first == 0 || (entry_at(q, first)->flags & ENTRY_HELD) != 0);
        return;
    }
    const struct queue_entry *out = entry_at(q, line->out);
    SL_ASSERT((out->flags & (ENTRY_KEYED | ENTRY_HELD)) == ENTRY_KEYED && order_line_of(q, out) == line);
    SL_ASSERT(line->out_id <= out->id && (line->out_id == out->id || q->counters.replaced > 0));
    SL_ASSERT(out->state != QUEUE_READY || first == 0 || out->id < entry_at(q, first)->id || q->counters.replaced > 0);
}

static void check_age(const struct queue *q, const struct order_line *line)
{
    bool aged = line->ready > 0 && q->cfg.overflow == QUEUE_DROP_OLDEST;
    SL_ASSERT(aged == (line->age_pos != UINT32_MAX));
    if (!aged)
        return;
    SL_ASSERT(q->ages.nodes[line->age_pos].item == line->self);
    SL_ASSERT(q->ages.nodes[line->age_pos].key == entry_at(q, order_line_first(q, line))->id);
}

static void check_lines(const struct queue *q, struct tally *t)
{
    const struct order_line *line;
    size_t pos = 0, lines = 0, aged = 0, late = 0;
    while ((line = sl_idmap_next(&q->lines_by_key, &pos)) != NULL) {
        uint64_t lined = t->lined;
        check_line_list(q, t, line);
        check_late(q, t, line);
        check_out(q, line);
        check_age(q, line);
        SL_ASSERT(t->lined - lined == line->ready);
        SL_ASSERT(sl_idmap_get(&q->lines_by_key, line->hash) == line);
        late += line->late == NULL ? 0 : line->late->n;
        aged += line->age_pos != UINT32_MAX;
        lines++;
    }
    SL_ASSERT(lines == q->lines.used && aged == q->ages.n && late == q->n_late);
    SL_ASSERT(t->lined == q->lined && t->lined_bytes == q->lined_bytes);
}

/* After all places were walked. */
static void check_members(const struct queue *q, const struct tally *t)
{
    const struct order_line *line;
    size_t pos = 0;
    while ((line = sl_idmap_next(&q->lines_by_key, &pos)) != NULL)
        SL_ASSERT(line->members > 0 && line->members == t->members[line->self]);
}

static void check_counters(const struct queue *q, const struct tally *t)
{
    const struct queue_counters *c = &q->counters;
    uint64_t left =
        c->acked + c->expired + c->dropped + c->dead_dropped + c->dead_expired + c->purged + c->cancelled + c->replaced + c->moved + c->dead_removed;
    SL_ASSERT(c->accepted + q->restored == left + t->entries);
    SL_ASSERT(t->entries == q->entries.used);
}

static void check_cursors(const struct queue *q)
{
    for (const struct queue_dead_cursor *c = q->cursors; c != NULL; c = c->next)
        SL_ASSERT(c->at == 0 || entry_at(q, c->at)->place == PLACE_DEAD);
    SL_ASSERT(q->cursors == NULL || !q->dead_unsorted);
}

void queue_check(const struct queue *q)
{
    struct tally t = {.members = sl_calloc((size_t)q->lines.n_chunks * SL_SLAB_CHUNK + 1, sizeof *t.members)};
    check_bands(q, &t);
    check_list(q, &t, &q->held, PLACE_HELD, QUEUE_READY);
    check_heap(q, &t, &q->delayed, PLACE_DELAYED, QUEUE_DELAYED);
    check_heap(q, &t, &q->deferred, PLACE_DEFERRED, QUEUE_DELAYED);
    check_list(q, &t, &q->dead, PLACE_DEAD, QUEUE_DEAD);
    check_aside(q, &t);
    check_lines(q, &t);
    check_consumers(q, &t);
    check_members(q, &t);
    sl_free(t.members);
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        SL_ASSERT(t.count[s] == q->count[s]);
    SL_ASSERT(t.bytes == q->bytes && t.dead_bytes == q->dead_bytes &&
              t.body_bytes == q->body_bytes);
    SL_ASSERT(!q->paused || q->restrained);
    SL_ASSERT(t.droppable == q->droppable && t.droppable_bytes == q->droppable_bytes);
    check_counters(q, &t);
    check_cursors(q);
}
