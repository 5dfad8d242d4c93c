/* Bodies that come and go: an entry stays, its message may be in the store only. */
#include "internal.h"

/* A read-ahead looks at this many entries per wanted one, so that a long line of
 * bodies in memory does not make it slow. */
#define LOOKS_PER_WANTED 4u
#define LOOKS_MIN        64u

struct wish {
    uint64_t *ids;
    uint32_t *entries;
    uint32_t n, max, looks;
    uint64_t bytes, max_bytes;
};

/* false: enough. The first is always taken, however large it is. */
static bool wish_look(struct queue *q, struct wish *w, uint32_t i)
{
    struct queue_entry *e = entry_at(q, i);
    if (w->looks == 0 || w->n == w->max)
        return false;
    w->looks--;
    if (e->msg != NULL || (e->flags & (ENTRY_WANTED | ENTRY_STALE)) != 0)
        return true;
    if (w->n > 0 && w->bytes + e->bytes > w->max_bytes)
        return false;
    e->flags |= ENTRY_WANTED;
    w->ids[w->n] = e->id;
    w->entries[w->n] = i;
    w->n++;
    w->bytes += e->bytes;
    return true;
}

/* A heap is walked as it lies: its first is first, the rest nearly so. */
static bool wish_heap(struct queue *q, struct wish *w, const struct sl_heap *h)
{
    for (uint32_t n = 0; n < h->n; n++) {
        if (!wish_look(q, w, h->nodes[n].item))
            return false;
    }
    return true;
}

static bool wish_fifo(struct queue *q, struct wish *w, const struct list *l)
{
    for (uint32_t i = l->head; i != 0; i = entry_at(q, i)->next) {
        if (!wish_look(q, w, i))
            return false;
    }
    return true;
}

/* Of a line the first ones. */
static bool wish_line(struct queue *q, struct wish *w, const struct order_line *line, uint32_t n)
{
    for (uint32_t i = line->waiting.head; i != 0 && n > 0; i = entry_at(q, i)->next, n--) {
        if (!wish_look(q, w, i))
            return false;
    }
    return true;
}

/* Of lines whose first is next to go, what stands behind it: of each its share, or one key would have it all. */
static bool wish_lines(struct queue *q, struct wish *w, const struct sl_heap *h)
{
    for (uint32_t n = 0; n < h->n && w->looks > 0; n++) {
        const struct queue_entry *e = entry_at(q, h->nodes[n].item);
        w->looks--;
        if ((e->flags & ENTRY_KEYED) != 0 && !wish_line(q, w, order_line_of(q, e), 1 + w->max / h->n))
            return false;
    }
    return w->looks > 0;
}

/* What dispatch stands before goes first, or it would ask again for ever. */
static bool wish_next(struct queue *q, struct wish *w)
{
    if (q->alone_bands != 0 &&
        !wish_look(q, w, sl_heap_top(&q->bands[top_band(q->alone_bands)].alone)->item))
        return false;
    return q->ready_bands == 0 ||
           wish_look(q, w, band_first(q, &q->bands[top_band(q->ready_bands)]));
}

static bool wish_band(struct queue *q, struct wish *w, const struct band *b)
{
    return wish_heap(q, w, &b->alone) && wish_heap(q, w, &b->returned) && wish_fifo(q, w, &b->fifo);
}

uint32_t queue_wanted(struct queue *q, uint64_t *ids, uint32_t *entries, uint32_t max,
                      uint64_t bytes)
{
    struct wish w = {.ids = ids, .entries = entries, .max = max, .max_bytes = bytes};
    w.looks =
        max < UINT32_MAX / (2 * LOOKS_PER_WANTED) ? max * LOOKS_PER_WANTED + LOOKS_MIN : UINT32_MAX;
    bool more = wish_next(q, &w);
    for (uint32_t p = PRIORITIES; more && p-- > 0;)
        more = wish_band(q, &w, &q->bands[p]);
    for (uint32_t p = PRIORITIES; more && q->lines.used > 0 && p-- > 0;)
        more = wish_lines(q, &w, &q->bands[p].returned);
    return w.n;
}

void queue_give_body(struct queue *q, uint32_t entry, uint64_t id, struct message *m)
{
    struct queue_entry *e = entry_find(q, entry, id);
    if (e == NULL)
        return;
    e->flags &= (uint8_t)~ENTRY_WANTED;
    if (e->msg == NULL)
        entry_set_body(q, e, m);
}

void queue_body_failed(struct queue *q, uint32_t entry, uint64_t id)
{
    struct queue_entry *e = entry_find(q, entry, id);
    if (e != NULL)
        e->flags &= (uint8_t)~ENTRY_WANTED;
}

size_t queue_evict(struct queue *q, uint32_t entry, uint64_t id)
{
    struct queue_entry *e = entry_find(q, entry, id);
    if (e == NULL || e->msg == NULL || e->state == QUEUE_LEASED || !q->cfg.durable)
        return 0;
    struct message *m = e->msg;
    size_t freed = m->refs == 1 ? message_bytes(m) : 0;
    e->msg = NULL;
    q->body_bytes -= e->bytes;
    message_unref(m);
    return freed;
}

bool queue_has(const struct queue *q, uint32_t entry, uint64_t id)
{
    return entry_find(q, entry, id) != NULL;
}
