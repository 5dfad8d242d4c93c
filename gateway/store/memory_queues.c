/* The memory engine: what queues and schedules keep beside messages. */
#include <stdlib.h>

#include "core/alloc.h"
#include "memory_store.h"

/* ---- dedup keys ---- */

static struct mem_dedup *dedup_find(const struct mem_store *s, const struct batch_op *op)
{
    struct mem_dedup *d = sl_idmap_get(&s->dedup, op->id);
    while (d != NULL && d->queue != op->queue)
        d = d->next;
    return d;
}

void mem_apply_dedup(struct mem_store *s, const struct batch_op *op)
{
    struct mem_dedup *d = dedup_find(s, op);
    if (d == NULL) {
        d = SL_NEW(struct mem_dedup);
        d->id = op->id;
        d->queue = op->queue;
        d->next = sl_idmap_get(&s->dedup, op->id);
        sl_idmap_put(&s->dedup, op->id, d);
        s->dedup_keys++;
    }
    d->seen_ms = op->seen_ms;
    memcpy(d->key, op->dedup_key, sizeof d->key);
}

void mem_apply_dedup_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_dedup *gone = dedup_find(s, op), *first = sl_idmap_get(&s->dedup, op->id);
    if (gone == NULL)
        return;
    struct mem_dedup **at = &first;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    if (first == NULL)
        sl_idmap_del(&s->dedup, op->id);
    else
        sl_idmap_put(&s->dedup, op->id, first);
    sl_free(gone);
    s->dedup_keys--;
}

static int by_id_and_queue(const void *a, const void *b)
{
    const struct mem_dedup *x = *(struct mem_dedup *const *)a, *y = *(struct mem_dedup *const *)b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->queue < y->queue ? -1 : x->queue > y->queue;
}

int mem_load_dedup(struct mem_store *s, const struct store_loader *l)
{
    struct mem_dedup **all = sl_calloc((size_t)s->dedup_keys + 1, sizeof *all), *d;
    size_t pos = 0, n = 0;
    while ((d = sl_idmap_next(&s->dedup, &pos)) != NULL) {
        for (; d != NULL; d = d->next)
            all[n++] = d;
    }
    qsort(all, n, sizeof *all, by_id_and_queue);
    int err = SL_OK;
    for (size_t i = 0; i < n && err == SL_OK && l->dedup != NULL; i++)
        err = l->dedup(l->arg, all[i]->queue, all[i]->id, all[i]->seen_ms, all[i]->key);
    sl_free(all);
    return err;
}

/* ---- records of queues and schedules ---- */

static struct mem_record *record_add(struct mem_records *r)
{
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 8 : r->cap * 2;
        r->all = sl_realloc(r->all, r->cap * sizeof *r->all);
    }
    r->all[r->n] = (struct mem_record){ 0 };
    return &r->all[r->n++];
}

void mem_apply_queue(struct mem_store *s, const struct batch_op *op)
{
    uint32_t i = 0;
    while (i < s->queue_records.n && s->queue_records.all[i].number != op->queue)
        i++;
    struct mem_record *r = i < s->queue_records.n ? &s->queue_records.all[i] : record_add(&s->queue_records);
    r->number = op->queue;
    mem_value_set(&r->value, op->note->bytes, op->note->n);
}

static struct sl_bytes name_of(struct sl_bytes record)
{
    struct batch_schedule b;
    int err = batch_schedule_decode(record, &b);
    SL_ASSERT(err == SL_OK); /* the hub wrote it */
    return b.name;
}

static struct mem_record *schedule_find(struct mem_store *s, struct sl_bytes name)
{
    for (uint32_t i = 0; i < s->schedules.n; i++) {
        if (sl_bytes_eq(name_of(mem_view(&s->schedules.all[i].value)), name))
            return &s->schedules.all[i];
    }
    return NULL;
}

void mem_apply_schedule(struct mem_store *s, const struct batch_op *op)
{
    struct mem_record *r = schedule_find(s, name_of(sl_bytes_of(op->note->bytes, op->note->n)));
    if (r == NULL)
        r = record_add(&s->schedules);
    mem_value_set(&r->value, op->note->bytes, op->note->n);
}

void mem_apply_schedule_drop(struct mem_store *s, const struct batch_op *op)
{
    struct mem_record *r = schedule_find(s, sl_bytes_of(op->note->bytes, op->note->n));
    if (r == NULL)
        return;
    mem_value_unset(&r->value);
    *r = s->schedules.all[--s->schedules.n];
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const struct mem_record *)a)->number, y = ((const struct mem_record *)b)->number;
    return x < y ? -1 : x > y;
}

/* As LMDB compares: the shorter one first, when all else is equal. */
static int by_name(const void *a, const void *b)
{
    struct sl_bytes x = name_of(mem_view(&((const struct mem_record *)a)->value)), y = name_of(mem_view(&((const struct mem_record *)b)->value));
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    return order != 0 ? order : x.n < y.n ? -1 : x.n > y.n;
}

static void sort(struct mem_records *r, int (*compare)(const void *, const void *))
{
    if (r->n > 1)
        qsort(r->all, r->n, sizeof *r->all, compare);
}

int mem_load_queue_records(struct mem_store *s, const struct store_loader *l)
{
    int err = SL_OK;
    sort(&s->queue_records, by_number);
    for (uint32_t i = 0; i < s->queue_records.n && err == SL_OK && l->queue_record != NULL; i++)
        err = l->queue_record(l->arg, s->queue_records.all[i].number, mem_view(&s->queue_records.all[i].value));
    return err;
}

int mem_load_schedules(struct mem_store *s, const struct store_loader *l)
{
    int err = SL_OK;
    sort(&s->schedules, by_name);
    for (uint32_t i = 0; i < s->schedules.n && err == SL_OK && l->schedule != NULL; i++)
        err = l->schedule(l->arg, mem_view(&s->schedules.all[i].value));
    return err;
}

static void records_free(struct mem_records *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        mem_value_unset(&r->all[i].value);
    sl_free(r->all);
}

void mem_queues_free(struct mem_store *s)
{
    size_t pos = 0;
    struct mem_dedup *d;
    while ((d = sl_idmap_next(&s->dedup, &pos)) != NULL) {
        while (d != NULL) {
            struct mem_dedup *next = d->next;
            sl_free(d);
            d = next;
        }
    }
    sl_idmap_fini(&s->dedup);
    records_free(&s->queue_records);
    records_free(&s->schedules);
}
