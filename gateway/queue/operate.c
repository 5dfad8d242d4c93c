/* What operators ask of a queue: a pause, that a message leaves, a walk over all of it. */
#include "internal.h"

/* ---- pause ---- */

/* It is one of the restraints, so that a queue without any pays nothing for it. */
void queue_pause(struct queue *q, bool paused, const struct sl_now *now)
{
    if (q->paused == paused)
        return;
    q->seen = *now;
    q->paused = paused;
    q->wake_ms = UINT64_MAX;
    /* What has waited meanwhile did not wait for want of consumers. */
    q->ready_since_ms = now->mono_ms;
    restraint_count(q, 0);
}

bool queue_is_paused(const struct queue *q)
{
    return q->paused;
}

/* ---- leaving ---- */

int queue_remove(struct queue *q, uint32_t entry, uint64_t id, enum queue_exit exit, struct queue_change *out)
{
    const struct queue_entry *e = entry_find(q, entry, id);
    if (e == NULL)
        return SL_ENOENT;
    if (e->state == QUEUE_LEASED)
        return SL_ESTATE;
    entry_leave(q, entry, exit, out);
    return SL_OK;
}

/* ---- the walk ---- */

/* Entries are met where the slab has them: none ever moves, and one that is free or was never given has no id. */
void queue_walk_begin(const struct queue *q, struct queue_walk *w)
{
    w->at = 1;
    w->end = q->entries.made;
}

static bool is_wanted(const struct queue_walk *w, const struct queue_entry *e)
{
    if (e->id == 0 || e->id < w->first_id || e->id > w->last_id || (w->states & QUEUE_STATE_BIT(e->state)) == 0)
        return false;
    return e->state != QUEUE_DEAD || entry_died(e) <= w->died_ms;
}

bool queue_walk_next(const struct queue *q, struct queue_walk *w, uint32_t *looks, uint32_t *entry, uint64_t *id)
{
    if (w->end > q->entries.made)
        w->end = q->entries.made; /* none was left, and their memory went */
    while (w->at < w->end && *looks > 0) {
        uint32_t i = w->at++;
        const struct queue_entry *e = entry_at(q, i);
        --*looks;
        if (!is_wanted(w, e))
            continue;
        *entry = i;
        *id = e->id;
        return true;
    }
    return false;
}
