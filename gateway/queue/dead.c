/* Dead letters: kept in order of death, bounded by number and by age, looked at by
 * those who move them on. */
#include "internal.h"

#include <stdlib.h>

#include "core/alloc.h"

uint64_t entry_died(const struct queue_entry *e)
{
    return (uint64_t)(e->extra & DIED_HIGH_MASK) << 32 | e->pos;
}

enum queue_cause entry_cause(const struct queue_entry *e)
{
    return (enum queue_cause)(e->extra >> CAUSE_SHIFT);
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

static void tell(const struct queue *q, uint32_t i, struct queue_change *out)
{
    entry_tell(q, i, QUEUE_UNCHANGED, entry_cause(entry_at(q, i)), out);
}

bool queue_dead_next(struct queue *q, uint32_t *entry, struct queue_change *out)
{
    dead_sort(q);
    SL_ASSERT(*entry == 0 || entry_at(q, *entry)->place == PLACE_DEAD);
    uint32_t next = *entry == 0 ? q->dead.head : entry_at(q, *entry)->next;
    if (next == 0)
        return false;
    *entry = next;
    tell(q, next, out);
    return true;
}

bool queue_is_dead(const struct queue *q, uint32_t entry, uint64_t id)
{
    const struct queue_entry *e = entry_find(q, entry, id);
    return e != NULL && e->place == PLACE_DEAD;
}

int queue_dead_leave(struct queue *q, uint32_t entry, uint64_t id, enum queue_exit exit, struct queue_change *out)
{
    SL_ASSERT(exit == QUEUE_EXIT_MOVED || exit == QUEUE_EXIT_DEAD_REMOVED);
    if (!queue_is_dead(q, entry, id))
        return SL_ENOENT;
    entry_leave(q, entry, exit, out);
    return SL_OK;
}

/* ---- cursors ---- */

void queue_dead_begin(struct queue *q, struct queue_dead_cursor *c, bool follows)
{
    dead_sort(q);
    *c = (struct queue_dead_cursor){ .at = q->dead.head, .follows = follows, .next = q->cursors };
    q->cursors = c;
}

bool queue_dead_seek(struct queue *q, struct queue_dead_cursor *c, uint32_t entry, uint64_t id)
{
    if (!queue_is_dead(q, entry, id))
        return false;
    c->at = entry;
    return true;
}

bool queue_dead_look(const struct queue *q, const struct queue_dead_cursor *c, struct queue_change *out)
{
    if (c->at == 0)
        return false;
    tell(q, c->at, out);
    return true;
}

void queue_dead_pass(const struct queue *q, struct queue_dead_cursor *c)
{
    SL_ASSERT(c->at != 0);
    c->at = entry_at(q, c->at)->next;
}

void queue_dead_end(struct queue *q, struct queue_dead_cursor *c)
{
    struct queue_dead_cursor **at = &q->cursors;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
}

void dead_joined(struct queue *q, uint32_t i)
{
    for (struct queue_dead_cursor *c = q->cursors; c != NULL; c = c->next) {
        if (c->at == 0 && c->follows)
            c->at = i;
    }
}

void dead_leaves(struct queue *q, const struct queue_entry *e)
{
    for (struct queue_dead_cursor *c = q->cursors; c != NULL; c = c->next) {
        if (c->at != 0 && entry_at(q, c->at) == e)
            c->at = e->next;
    }
}
