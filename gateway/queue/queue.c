/* A queue's birth, its end, and what it tells of itself. */
#include "core/alloc.h"
#include "internal.h"

#define ATTEMPTS_MAX UINT16_MAX

const char *queue_cause_name(enum queue_cause c)
{
    static const char *const names[] = {
#define X(name, text) [QUEUE_CAUSE_##name] = (text),
        QUEUE_CAUSES(X)
#undef X
    };
    return (size_t)c < SL_COUNT(names) ? names[c] : "unknown";
}

void queue_on_moved(void *arg, uint32_t item, uint32_t pos)
{
    entry_at((const struct queue *)arg, item)->pos = pos;
}

static uint32_t attempts_within(uint32_t asked)
{
    if (asked == 0)
        return 1;
    return asked < ATTEMPTS_MAX ? asked : ATTEMPTS_MAX;
}

struct queue *queue_new(const struct queue_config *cfg, uint64_t seed)
{
    struct queue *q = SL_NEW(struct queue);
    q->cfg = *cfg;
    q->cfg.max_attempts = attempts_within(cfg->max_attempts);
    sl_rng_seed(&q->rng, seed);
    sl_slab_init(&q->entries, sizeof(struct queue_entry));
    sl_slab_init_chunks(&q->consumers, sizeof(struct consumer), CONSUMERS_SHIFT);
    sl_slab_init(&q->key_lines, sizeof(struct key_line));
    order_init(q);
    q->wake_ms = UINT64_MAX;
    for (uint32_t p = 0; p < PRIORITIES; p++) {
        sl_heap_init(&q->bands[p].returned, queue_on_moved, q);
        sl_heap_init(&q->bands[p].alone, queue_on_moved, q);
    }
    sl_heap_init(&q->delayed, queue_on_moved, q);
    sl_heap_init(&q->deferred, queue_on_moved, q);
    return q;
}

/* ---- the end ---- */

static void drop_body(struct queue *q, uint32_t i)
{
    struct message *m = entry_at(q, i)->msg;
    if (m != NULL)
        message_unref(m);
}

static void drop_list(struct queue *q, const struct list *l)
{
    for (uint32_t i = l->head; i != 0; i = entry_at(q, i)->next)
        drop_body(q, i);
}

static void drop_heap(struct queue *q, struct sl_heap *h)
{
    for (uint32_t n = 0; n < h->n; n++)
        drop_body(q, h->nodes[n].item);
    sl_heap_fini(h);
}

static void drop_aside(struct queue *q)
{
    const struct key_line *line;
    size_t pos = 0;
    while ((line = sl_idmap_next(&q->keys, &pos)) != NULL)
        drop_list(q, &line->aside);
    keys_fini(q);
}

static void drop_lines(struct queue *q)
{
    const struct order_line *line;
    size_t pos = 0;
    while ((line = sl_idmap_next(&q->lines_by_key, &pos)) != NULL) {
        drop_list(q, &line->waiting);
        for (uint32_t n = 0; line->late != NULL && n < line->late->n; n++)
            drop_body(q, line->late->nodes[n].item);
    }
    order_fini(q);
}

static void drop_leases(struct queue *q)
{
    for (uint32_t slot = 1; slot < q->n_leases; slot++) {
        if (q->leases[slot].id != 0)
            drop_body(q, q->leases[slot].entry);
    }
    sl_free(q->leases);
}

void queue_free(struct queue *q)
{
    if (q == NULL)
        return;
    for (uint32_t p = 0; p < PRIORITIES; p++) {
        drop_list(q, &q->bands[p].fifo);
        drop_heap(q, &q->bands[p].returned);
        drop_heap(q, &q->bands[p].alone);
    }
    drop_list(q, &q->held);
    drop_list(q, &q->dead);
    drop_heap(q, &q->delayed);
    drop_heap(q, &q->deferred);
    drop_aside(q);
    drop_lines(q);
    drop_leases(q);
    sl_free(q->limits);
    sl_timers_fini(&q->timers);
    sl_slab_fini(&q->entries);
    sl_slab_fini(&q->consumers);
    sl_free(q->open);
    sl_free(q);
}

/* ---- what it tells ---- */

const struct queue_config *queue_config(const struct queue *q)
{
    return &q->cfg;
}

struct queue_counters *queue_counters(struct queue *q)
{
    return &q->counters;
}

/* Besides an entry: 16 bytes in a heap while it waits there. What is in use
 * counts, not what is kept for reuse: else a drained backlog would weigh on
 * the memory limit for ever. */
static uint64_t heaps_bytes(const struct queue *q)
{
    uint64_t nodes = (uint64_t)q->delayed.n + q->deferred.n + q->ages.n + q->n_late;
    for (uint32_t p = 0; p < PRIORITIES; p++)
        nodes += (uint64_t)q->bands[p].returned.n + q->bands[p].alone.n;
    return nodes * sizeof(struct sl_heap_node);
}

void queue_depth(const struct queue *q, struct queue_depth *out)
{
    *out = (struct queue_depth){.bytes = q->bytes, .dead_bytes = q->dead_bytes};
    memcpy(out->count, q->count, sizeof out->count);
    out->memory = q->body_bytes + (uint64_t)q->entries.used * sizeof(struct queue_entry) + heaps_bytes(q);
    out->memory += (uint64_t)q->key_lines.used * (sizeof(struct key_line) + sizeof(struct sl_idmap_slot));
    out->memory += (uint64_t)q->lines.used * (sizeof(struct order_line) + sizeof(struct sl_idmap_slot));
}

/* One that was never delivered is ready since it came in, or since its time came. */
static uint64_t fresh_ms(const struct message *m, const struct sl_now *now)
{
    uint64_t accepted = message_accepted_at(m), due = message_deliver_at(m);
    uint64_t since = due > accepted ? due : accepted;
    return since < now->wall_ms ? now->wall_ms - since : 0;
}

void queue_pressure(const struct queue *q, const struct sl_now *now, struct queue_pressure *out)
{
    *out = (struct queue_pressure){ .ready = q->paused ? 0 : q->droppable };
    if (out->ready == 0)
        return; /* of a queue that is paused nothing waits for a worker */
    /* As long as the bands have not been empty; of a message it is less. */
    out->oldest_ms = now->mono_ms - q->ready_since_ms;
    uint16_t bands = q->ready_bands | q->alone_bands;
    const struct list *fifo = &q->bands[top_band(bands)].fifo;
    const struct message *m = fifo->head == 0 ? NULL : entry_at(q, fifo->head)->msg;
    if (m != NULL && fresh_ms(m, now) < out->oldest_ms)
        out->oldest_ms = fresh_ms(m, now);
}
