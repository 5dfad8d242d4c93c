/* What is where, for those who only look: nothing here changes the queue.
 *
 * A heap is read in order without taking anything out of it: what may come next is
 * one of the children of what was read, so that the first n of a million cost n
 * steps. */
#include "internal.h"

struct peek {
    const struct queue *q;
    struct queue_peeked *out;
    uint32_t n, max;
};

/* A due time as wall time, as far as is known now. */
static uint64_t wall_of(const struct queue *q, uint64_t steady_ms)
{
    uint64_t now_ms = q->seen.steady_ms;
    if (steady_ms >= now_ms)
        return add_capped(q->seen.wall_ms, steady_ms - now_ms);
    uint64_t ago_ms = now_ms - steady_ms;
    return q->seen.wall_ms > ago_ms ? q->seen.wall_ms - ago_ms : 0;
}

static uint64_t time_of(const struct queue *q, const struct queue_entry *e)
{
    uint64_t at_ms = entry_due(q, e);
    return e->place == PLACE_DELAYED || e->place == PLACE_DEAD ? wall_of(q, at_ms) : at_ms;
}

static void tell_lease(const struct queue *q, const struct queue_entry *e, struct queue_peeked *out)
{
    const struct lease *l = &q->leases[e->pos];
    out->lease = l->id;
    out->started = l->started;
    out->consumer = l->consumer;
    out->consumer_arg = consumer_at(q, l->consumer)->cfg.arg;
}

static void tell(const struct queue *q, uint32_t i, struct queue_peeked *out)
{
    const struct queue_entry *e = entry_at(q, i);
    *out = (struct queue_peeked){
        .id = e->id,
        .entry = i,
        .state = (enum queue_state)e->state,
        .priority = e->priority,
        .attempts = e->attempts,
        .bytes = e->bytes,
        .redelivered = (e->flags & ENTRY_REDELIVERED) != 0,
        .held = (e->flags & ENTRY_HELD) != 0,
        .aside = e->place == PLACE_ASIDE || e->place == PLACE_LINE || e->place == PLACE_LATE,
        .wall_ms = time_of(q, e),
        .msg = e->msg,
    };
    if (e->place == PLACE_LEASED)
        tell_lease(q, e, out);
}

bool queue_look(const struct queue *q, uint32_t entry, uint64_t id, struct queue_peeked *out)
{
    if (entry_find(q, entry, id) == NULL)
        return false;
    tell(q, entry, out);
    return true;
}

static bool is_full(const struct peek *p)
{
    return p->n == p->max;
}

static void add(struct peek *p, uint32_t i)
{
    tell(p->q, i, &p->out[p->n++]);
}

/* ---- a heap in order ---- */

/* What may be the next: places in the heap. */
struct reader {
    const struct sl_heap *of;
    struct sl_heap next;
};

static void on_moved(void *arg, uint32_t item, uint32_t pos)
{
    (void)arg;
    (void)item;
    (void)pos;
}

static void reader_add(struct reader *r, uint32_t pos)
{
    if (pos < r->of->n)
        sl_heap_push(&r->next, r->of->nodes[pos].key, pos);
}

static void reader_init(struct reader *r, const struct sl_heap *of)
{
    r->of = of;
    sl_heap_init(&r->next, on_moved, NULL);
    reader_add(r, 0);
}

static void reader_fini(struct reader *r)
{
    sl_heap_fini(&r->next);
}

/* Its key; UINT64_MAX: it is over. */
static uint64_t reader_key(const struct reader *r)
{
    const struct sl_heap_node *top = sl_heap_top(&r->next);
    return top == NULL ? UINT64_MAX : top->key;
}

static uint32_t reader_take(struct reader *r)
{
    uint32_t pos = sl_heap_pop(&r->next).item;
    reader_add(r, 2 * pos + 1);
    reader_add(r, 2 * pos + 2);
    return r->of->nodes[pos].item;
}

/* ---- ready ---- */

/* One list and two heaps: of their three heads the oldest goes first. */
static void peek_band(struct peek *p, const struct band *b)
{
    struct reader returned, alone;
    uint32_t fifo = b->fifo.head;
    reader_init(&returned, &b->returned);
    reader_init(&alone, &b->alone);
    while (!is_full(p)) {
        uint64_t new_id = fifo == 0 ? UINT64_MAX : entry_at(p->q, fifo)->id;
        struct reader *r = reader_key(&alone) < reader_key(&returned) ? &alone : &returned;
        if (fifo == 0 && reader_key(r) == UINT64_MAX)
            break;
        if (reader_key(r) < new_id) {
            add(p, reader_take(r));
            continue;
        }
        add(p, fifo);
        fifo = entry_at(p->q, fifo)->next;
    }
    reader_fini(&returned);
    reader_fini(&alone);
}

#define KEY_PRIORITY_SHIFT 60u /* ids begin with the number of the boot: they never come so far */

/* Of each line only its head may be the next; by priority, then by age. */
static void await_line(struct sl_heap *heads, const struct queue *q, uint32_t i)
{
    if (i == 0)
        return;
    const struct queue_entry *e = entry_at(q, i);
    sl_heap_push(heads, (uint64_t)(PRIORITIES - 1 - e->priority) << KEY_PRIORITY_SHIFT | e->id, i);
}

/* Whose heads are all there. */
static void add_lines(struct peek *p, struct sl_heap *heads)
{
    while (!is_full(p) && heads->n > 0) {
        uint32_t i = sl_heap_pop(heads).item;
        add(p, i);
        await_line(heads, p->q, entry_at(p->q, i)->next);
    }
}

static void peek_aside(struct peek *p)
{
    struct sl_heap heads;
    const struct key_line *line;
    size_t pos = 0;
    sl_heap_init(&heads, on_moved, NULL);
    while (!is_full(p) && (line = sl_idmap_next(&p->q->keys, &pos)) != NULL)
        await_line(&heads, p->q, line->aside.head);
    add_lines(p, &heads);
    sl_heap_fini(&heads);
}

#define LINES_MAX 65536u /* a look at more lines would be felt by everybody */

/* Of order_by. */
static void peek_lines(struct peek *p)
{
    struct sl_heap heads;
    const struct order_line *line;
    size_t pos = 0;
    uint32_t looks = LINES_MAX;
    sl_heap_init(&heads, on_moved, NULL);
    while (!is_full(p) && looks-- > 0 && (line = sl_idmap_next(&p->q->lines_by_key, &pos)) != NULL)
        await_line(&heads, p->q, line->waiting.head);
    add_lines(p, &heads);
    sl_heap_fini(&heads);
}

/* What came late to its line; few do. */
static void peek_late(struct peek *p)
{
    const struct order_line *line;
    size_t pos = 0;
    uint32_t looks = p->q->n_late == 0 ? 0 : LINES_MAX;
    while (!is_full(p) && looks-- > 0 && (line = sl_idmap_next(&p->q->lines_by_key, &pos)) != NULL) {
        for (uint32_t n = 0; line->late != NULL && n < line->late->n && !is_full(p); n++)
            add(p, line->late->nodes[n].item);
    }
}

static void peek_list(struct peek *p, const struct list *l)
{
    for (uint32_t i = l->head; i != 0 && !is_full(p); i = entry_at(p->q, i)->next)
        add(p, i);
}

static void peek_ready(struct peek *p)
{
    for (uint32_t priority = PRIORITIES; priority-- > 0 && !is_full(p);)
        peek_band(p, &p->q->bands[priority]);
    peek_aside(p);
    peek_lines(p);
    peek_late(p);
    peek_list(p, &p->q->held);
}

/* ---- delayed: by two clocks ---- */

static uint64_t wait_of(uint64_t due_ms, uint64_t clock_ms)
{
    return due_ms == UINT64_MAX ? UINT64_MAX : due_ms > clock_ms ? due_ms - clock_ms : 0;
}

static void peek_delayed(struct peek *p)
{
    struct reader delayed, deferred;
    reader_init(&delayed, &p->q->delayed);
    reader_init(&deferred, &p->q->deferred);
    while (!is_full(p) && delayed.next.n + deferred.next.n > 0) {
        uint64_t relative = wait_of(reader_key(&delayed), p->q->seen.steady_ms);
        uint64_t absolute = wait_of(reader_key(&deferred), p->q->seen.wall_ms);
        bool first = deferred.next.n == 0 || (delayed.next.n > 0 && relative <= absolute);
        add(p, reader_take(first ? &delayed : &deferred));
    }
    reader_fini(&delayed);
    reader_fini(&deferred);
}

/* ---- leased, dead: the smallest keys of many ---- */

/* Keeps the `max` smallest: the worst of them is on top, since keys are turned round. */
static void keep_smallest(struct sl_heap *best, uint32_t max, uint64_t key, uint32_t i)
{
    if (best->n == max && UINT64_MAX - key <= sl_heap_top(best)->key)
        return;
    sl_heap_push(best, UINT64_MAX - key, i);
    if (best->n > max)
        (void)sl_heap_pop(best);
}

/* Best first. */
static void add_smallest(struct peek *p, struct sl_heap *best)
{
    uint32_t n = best->n;
    for (uint32_t k = n; k-- > 0;)
        tell(p->q, sl_heap_pop(best).item, &p->out[k]);
    p->n = n;
    sl_heap_fini(best);
}

static void peek_leased(struct peek *p)
{
    struct sl_heap best;
    sl_heap_init(&best, on_moved, NULL);
    for (uint32_t slot = 1; slot < p->q->n_leases; slot++) {
        const struct lease *l = &p->q->leases[slot];
        if (l->id != 0)
            keep_smallest(&best, p->max, l->id, l->entry);
    }
    add_smallest(p, &best);
}

/* After a restart they stand in the order of their ids until somebody needs them sorted; not for a look. */
static void peek_unsorted_dead(struct peek *p)
{
    struct sl_heap best;
    sl_heap_init(&best, on_moved, NULL);
    for (uint32_t i = p->q->dead.head; i != 0; i = entry_at(p->q, i)->next)
        keep_smallest(&best, p->max, entry_died(entry_at(p->q, i)), i);
    add_smallest(p, &best);
}

uint32_t queue_peek(const struct queue *q, enum queue_state state, struct queue_peeked *out, uint32_t max)
{
    struct peek p = { .q = q, .out = out, .max = max };
    if (max == 0)
        return 0;
    switch (state) {
    case QUEUE_READY:
        peek_ready(&p);
        break;
    case QUEUE_DELAYED:
        peek_delayed(&p);
        break;
    case QUEUE_LEASED:
        peek_leased(&p);
        break;
    case QUEUE_DEAD:
        if (q->dead_unsorted)
            peek_unsorted_dead(&p);
        else
            peek_list(&p, &q->dead);
        break;
    case QUEUE_NSTATES:
        break;
    }
    return p.n;
}
