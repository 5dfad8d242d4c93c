/* What the fake disk knows of queues themselves: paused or not, and what their messages
 * were ordered by. */
#include "sim.h"

/* The name of one that is dropped, or the whole record. */
static uint32_t schedule_named(const struct world *w, struct sl_bytes name)
{
    uint32_t i = 0;
    while (i < SIM_SCHEDULES && !sl_bytes_is(name, w->semantics.planned[i].name))
        i++;
    if (i == SIM_SCHEDULES)
        world_fail(w, "%s", "a record is of a schedule that does not exist");
    return i;
}

static void schedule_apply(struct world *w, const struct batch_op *op)
{
    struct sl_bytes bytes = sl_bytes_of(op->note->bytes, op->note->n);
    struct batch_schedule b = { .name = bytes };
    bool known = op->kind == BATCH_SCHEDULE && batch_schedule_decode(bytes, &b) == SL_OK;
    struct batch_note **at = &w->disk.of_queues.schedules[schedule_named(w, b.name)];
    sl_free(*at);
    *at = known ? batch_note_copy(op->note) : NULL;
    if (known)
        firings_done(w, op->note);
}

static void key_apply(struct world *w, const struct batch_op *op)
{
    struct sl_idmap *keys = &w->disk.of_queues.keys;
    uint64_t name = op->id * SIM_QUEUES + op->queue - 1;
    sl_free(sl_idmap_del(keys, name));
    if (op->kind == BATCH_DEDUP_DROP)
        return;
    struct batch_op *own = SL_NEW(struct batch_op);
    *own = *op;
    sl_idmap_put(keys, name, own);
}

static int by_id(const void *a, const void *b)
{
    const struct batch_op *x = *(struct batch_op *const *)a, *y = *(struct batch_op *const *)b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->queue < y->queue ? -1 : x->queue > y->queue;
}

void disk_queues_restore_keys(struct world *w)
{
    struct sl_idmap *keys = &w->disk.of_queues.keys;
    const struct batch_op **all = sl_alloc((keys->used + 1) * sizeof *all);
    const struct batch_op *op;
    size_t n = 0, pos = 0;
    while ((op = sl_idmap_next(keys, &pos)) != NULL)
        all[n++] = op;
    qsort(all, n, sizeof *all, by_id);
    for (size_t i = 0; i < n; i++) {
        if (hub_restore_dedup(w->hub, all[i]->queue, all[i]->id, all[i]->seen_ms, all[i]->dedup_key) != SL_OK)
            world_fail(w, "the key of %016" PRIx64 " cannot be restored", all[i]->id);
    }
    sl_free(all);
}

void disk_queues_apply(struct world *w, const struct batch_op *op)
{
    if (op->kind == BATCH_DEDUP || op->kind == BATCH_DEDUP_DROP) {
        key_apply(w, op);
    } else if (op->kind == BATCH_QUEUE) {
        struct batch_note **at = &w->disk.of_queues.queues[op->queue - 1];
        sl_free(*at);
        *at = batch_note_copy(op->note);
    } else {
        schedule_apply(w, op);
    }
}

void disk_queues_restore_first(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        const struct batch_note *n = w->disk.of_queues.queues[q];
        if (n != NULL && hub_restore_queue(w->hub, q + 1, sl_bytes_of(n->bytes, n->n)) != SL_OK)
            world_fail(w, "the record of queue q%u cannot be restored", q);
    }
    for (uint32_t i = 0; i < SIM_SCHEDULES; i++) {
        const struct batch_note *n = w->disk.of_queues.schedules[i];
        if (n != NULL && hub_restore_schedule(w->hub, sl_bytes_of(n->bytes, n->n)) != SL_OK)
            world_fail(w, "the record of schedule s%u cannot be restored", i);
    }
}

bool disk_paused(const struct world *w, uint32_t queue)
{
    const struct batch_note *n = w->disk.of_queues.queues[queue];
    struct batch_queue b;
    return n != NULL && batch_queue_decode(sl_bytes_of(n->bytes, n->n), &b) == SL_OK && b.paused;
}

void disk_queues_free(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        sl_free(w->disk.of_queues.queues[q]);
    for (uint32_t i = 0; i < SIM_SCHEDULES; i++)
        sl_free(w->disk.of_queues.schedules[i]);
    void *key;
    size_t pos = 0;
    while ((key = sl_idmap_next(&w->disk.of_queues.keys, &pos)) != NULL)
        sl_free(key);
    sl_idmap_fini(&w->disk.of_queues.keys);
}
