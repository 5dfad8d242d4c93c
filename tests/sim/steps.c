/* What a worker publishes with its ack is one step: whenever a batch has been
 * applied, the message is still there or what came of it is. */
#include "sim.h"

struct step {
    uint64_t id;
    uint32_t queue, uid, child;
    bool had_entry; /* it was seen on the disk */
};

void steps_add(struct world *w, uint64_t id, uint32_t queue, uint32_t uid, uint32_t child)
{
    if (!w->queues[queue].durable)
        return;
    if (w->n_steps == w->cap_steps) {
        w->cap_steps = w->cap_steps == 0 ? 16 : w->cap_steps * 2;
        w->steps = sl_realloc(w->steps, w->cap_steps * sizeof *w->steps);
    }
    w->steps[w->n_steps++] = (struct step){ id, queue, uid, child, disk_entry_of(w, id, queue) != NULL };
}

/* It should be in a queue's store and is not, and never was. */
static bool is_missing(const struct world *w, const struct uid *u)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        bool wanted = (uid_queues(w, u) & 1u << q) != 0 && w->queues[q].durable && !moves_keep(w, u, q);
        if (wanted && u->stored[q] == 0 && u->worked[q] == 0 && u->left[q] == 0 && !uid_may_have_left(w, u, q))
            return true;
    }
    return false;
}

static bool is_stored(const struct uid *u)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if (u->stored[q] > 0)
            return true;
    }
    return false;
}

/* True: it is over. */
static bool look_at(struct world *w, struct step *s)
{
    const struct uid *child = &w->uids[s->child];
    bool there = disk_entry_of(w, s->id, s->queue) != NULL;
    s->had_entry = s->had_entry || there;
    bool gone = s->had_entry && !there;
    if (there && is_stored(child))
        world_fail(w, "u%08u is still in the store of queue q%u, and u%08u, which came of it, is stored", s->uid, s->queue, s->child);
    if (gone && is_missing(w, child))
        world_fail(w, "u%08u has left the store of queue q%u, and u%08u, which came of it, is not stored", s->uid, s->queue, s->child);
    return gone;
}

void steps_after_batch(struct world *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->n_steps; i++) {
        if (!look_at(w, &w->steps[i]))
            w->steps[kept++] = w->steps[i];
    }
    w->n_steps = kept;
}

void steps_after_end(struct world *w)
{
    w->n_steps = 0;
}

void steps_free(struct world *w)
{
    sl_free(w->steps);
}
