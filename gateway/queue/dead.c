/* Dead letters: kept in order of death, bounded by number and by age. */
#include "internal.h"

#include <stdlib.h>

#include "core/alloc.h"

uint64_t entry_died(const struct queue_entry *e)
{
    return (uint64_t)e->extra << 32 | e->pos;
}

/* ---- order ---- */

struct grave {
    uint64_t died_ms, id;
    uint32_t entry;
};

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_graves(const void *a, const void *b)
{
    const struct grave *x = a, *y = b;
    int by_death = compare_u64(x->died_ms, y->died_ms);
    return by_death != 0 ? by_death : compare_u64(x->id, y->id);
}

static void relink(struct queue *q, const struct grave *graves, size_t n)
{
    q->dead = (struct list){graves[0].entry, graves[n - 1].entry};
    for (size_t k = 0; k < n; k++) {
        struct queue_entry *e = entry_at(q, graves[k].entry);
        e->prev = k > 0 ? graves[k - 1].entry : 0;
        e->next = k + 1 < n ? graves[k + 1].entry : 0;
    }
}

/* A restore brings them in order of id; it is sorted once, when it matters. */
void dead_sort(struct queue *q)
{
    size_t n = (size_t)q->count[QUEUE_DEAD];
    if (q->dead_unsorted && n > 0) {
        struct grave *graves = sl_calloc(n, sizeof *graves);
        size_t k = 0;
        for (uint32_t i = q->dead.head; i != 0; i = entry_at(q, i)->next) {
            const struct queue_entry *e = entry_at(q, i);
            graves[k++] = (struct grave){entry_died(e), e->id, i};
        }
        qsort(graves, n, sizeof *graves, compare_graves);
        relink(q, graves, n);
        sl_free(graves);
    }
    q->dead_unsorted = false;
}

/* ---- use ---- */

bool queue_trim_dead(struct queue *q, struct queue_change *out)
{
    if (q->count[QUEUE_DEAD] <= q->cfg.dead_max_messages)
        return false;
    dead_sort(q);
    entry_leave(q, q->dead.head, QUEUE_EXIT_DEAD_DROPPED, out);
    return true;
}

bool queue_dead_next(struct queue *q, uint32_t *entry, struct queue_change *out)
{
    dead_sort(q);
    SL_ASSERT(*entry == 0 || entry_at(q, *entry)->place == PLACE_DEAD);
    uint32_t next = *entry == 0 ? q->dead.head : entry_at(q, *entry)->next;
    if (next == 0)
        return false;
    *entry = next;
    entry_tell(q, next, QUEUE_UNCHANGED, QUEUE_CAUSE_NONE, out);
    return true;
}
