/* Where a message is: queues are not sorted by id, so one walk through the entries
 * of all of them, a piece in each turn, looks for everything that was asked for
 * when it began. What is asked for meanwhile waits for the next walk.
 *
 * An entry has its place for as long as it is there: one that is there when the
 * walk begins is met, or has left by then. */
#include "jobs.h"
#include "operations.h"
#include "trace.h"

#define SEARCHES_MAX  1024u
#define SEARCH_LOOKS  32768u /* entries in one turn */

int search_begin(struct hub *h, const struct search *s)
{
    struct searches *all = &operations(h)->searches;
    if (all->n >= SEARCHES_MAX)
        return SL_EFULL;
    struct search *own = SL_NEW(struct search);
    *own = *s;
    if (all->waiting == NULL)
        all->waiting_tail = &all->waiting;
    *all->waiting_tail = own;
    all->waiting_tail = &own->next;
    all->n++;
    return SL_OK;
}

int hub_cancel(struct hub *h, uint64_t id, hub_cancel_cb *cb, void *arg)
{
    return search_begin(h, &(struct search){ .id = id, .cancel = cb, .arg = arg });
}

/* ---- found ---- */

static void cancel_here(struct hub *h, struct search *s, uint32_t queue, const struct queue_peeked *p)
{
    struct queue_change change;
    if (p->state == QUEUE_DEAD) {
        s->cancelled.dead++;
    } else if (h->commit.health == HUB_BROKEN) {
        s->cancelled.refused++;
    } else if (queue_remove(h->queues[queue].q, p->entry, p->id, QUEUE_EXIT_CANCELLED, &change) == SL_OK) {
        s->cancelled.cancelled++;
        record_change(h, queue, &change, NULL);
    } else {
        s->cancelled.leased++;
    }
}

/* Those that only look come before what takes it away. */
static void found(struct hub *h, uint32_t queue, uint32_t entry, uint64_t id)
{
    struct search *first = sl_idmap_get(&h->operations->searches.by_id, id);
    struct queue_peeked p;
    for (struct search *s = first; s != NULL; s = s->same) {
        if (s->tracing != NULL && queue_look(h->queues[queue].q, entry, id, &p))
            tracing_found(s->tracing, queue, &p);
    }
    for (struct search *s = first; s != NULL; s = s->same) {
        if (s->tracing == NULL && queue_look(h->queues[queue].q, entry, id, &p))
            cancel_here(h, s, queue, &p);
    }
}

/* ---- the walk ---- */

static void activate(struct searches *all)
{
    all->active = all->waiting;
    all->waiting = NULL;
    all->queue = 0;
    all->walking = false;
    all->first_id = UINT64_MAX;
    all->last_id = 0;
    for (struct search *s = all->active; s != NULL; s = s->next) {
        s->same = sl_idmap_get(&all->by_id, s->id);
        sl_idmap_put(&all->by_id, s->id, s);
        all->first_id = s->id < all->first_id ? s->id : all->first_id;
        all->last_id = s->id > all->last_id ? s->id : all->last_id;
    }
}

/* False: this queue has been walked through. */
static bool walk_queue(struct hub *h, struct searches *all, uint32_t *looks)
{
    const struct queue *q = h->queues[all->queue].q;
    uint32_t entry;
    uint64_t id;
    if (!all->walking) {
        all->walk = (struct queue_walk){ .states = UINT32_MAX, .first_id = all->first_id, .last_id = all->last_id, .died_ms = UINT64_MAX };
        queue_walk_begin(q, &all->walk);
        all->walking = true;
    }
    while (queue_walk_next(q, &all->walk, looks, &entry, &id))
        found(h, all->queue, entry, id);
    return !queue_walk_over(&all->walk);
}

/* True: it is over. */
static bool walk_on(struct hub *h, struct searches *all)
{
    uint32_t looks = SEARCH_LOOKS;
    while (all->queue < h->n_queues) {
        if (walk_queue(h, all, &looks))
            return false;
        all->queue++;
        all->walking = false;
    }
    return true;
}

static void answer(struct search *s)
{
    if (s->tracing != NULL)
        tracing_tell(s->tracing);
    else
        s->cancel(s->arg, s->id, &s->cancelled);
    sl_free(s);
}

/* Whoever is told may ask for more. */
static void answer_all(struct searches *all)
{
    struct search *s = all->active;
    all->active = NULL;
    sl_idmap_fini(&all->by_id);
    while (s != NULL) {
        struct search *next = s->next;
        all->n--;
        answer(s);
        s = next;
    }
}

void searches_turn(struct hub *h, struct operations *o)
{
    struct searches *all = &o->searches;
    if (all->active == NULL)
        activate(all);
    if (walk_on(h, all))
        answer_all(all);
}

void searches_free(struct operations *o)
{
    answer_all(&o->searches);
    activate(&o->searches);
    answer_all(&o->searches);
}
