/* Pausing and purging queues, and the turn of all that operators ask for.
 *
 * A purge walks through the queue's entries, a piece in each turn. What it takes
 * out is recorded as any exit is: so it keeps back while the open batch is large,
 * or others would wait long for a commit of nothing but the purge. */
#include "jobs.h"
#include "operations.h"
#include "trace.h"

#define PURGE_LOOKS    16384u /* entries in one turn */
#define PURGE_LEAVE    1024u  /* messages that leave in one turn */
#define PURGE_OPEN_MAX 4096u  /* records in the open batch: then it waits for the store */

struct operations *operations(struct hub *h)
{
    if (h->operations == NULL)
        h->operations = SL_NEW(struct operations);
    return h->operations;
}

/* ---- pause ---- */

void hub_queue_pause(struct hub *h, uint32_t queue, bool paused)
{
    struct hub_queue *hq = &h->queues[queue];
    if (queue_is_paused(hq->q) == paused)
        return;
    queue_pause(hq->q, paused, &h->now);
    record_queue(h, queue);
    h->commit.slow = true; /* nobody's answer makes it unnecessary */
    hub_heat(h, queue);
    sl_log(SL_INFO, paused ? "queue_paused" : "queue_resumed", "queue=%s", hq->cfg->name);
}

/* ---- purge ---- */

static struct purge *purge_of(const struct hub *h, uint32_t queue)
{
    struct purge *p = h->operations == NULL ? NULL : h->operations->purges;
    while (p != NULL && p->queue != queue)
        p = p->next;
    return p;
}

static bool may_go_on(const struct hub *h)
{
    return !h->draining && h->commit.health != HUB_BROKEN;
}

static struct purge *purge_add(struct hub *h, uint32_t queue)
{
    struct operations *o = operations(h);
    struct purge *p = SL_NEW(struct purge);
    p->next = o->purges;
    p->queue = queue;
    o->purges = p;
    return p;
}

int hub_queue_purge(struct hub *h, uint32_t queue, uint32_t states)
{
    struct purge *p = purge_of(h, queue);
    const struct queue *q = h->queues[queue].q;
    if (!may_go_on(h) || (p != NULL && p->running))
        return SL_ESTATE;
    if (p == NULL)
        p = purge_add(h, queue);
    *p = (struct purge){ .next = p->next, .queue = queue, .running = true };
    p->walk = (struct queue_walk){
        .states = states & ~QUEUE_STATE_BIT(QUEUE_LEASED),
        .last_id = h->next_id,
        .died_ms = h->now.steady_ms,
    };
    queue_walk_begin(q, &p->walk);
    p->total = p->walk.end - p->walk.at;
    operations(h)->purging++;
    return SL_OK;
}

void hub_queue_purge_progress(const struct hub *h, uint32_t queue, struct hub_purge *out)
{
    const struct purge *p = purge_of(h, queue);
    *out = (struct hub_purge){ .running = false };
    if (p != NULL)
        *out = (struct hub_purge){ p->running, p->purged, p->looked, p->total };
}

static void purge_end(struct hub *h, struct purge *p)
{
    p->running = false;
    operations(h)->purging--;
    sl_log(SL_INFO, "queue_purged", "queue=%s messages=%llu%s", h->queues[p->queue].cfg->name, (unsigned long long)p->purged,
           queue_walk_over(&p->walk) ? "" : " unfinished=true");
}

/* False: the store has enough to do. */
static bool store_keeps_up(const struct hub *h)
{
    return h->commit.open->n < PURGE_OPEN_MAX;
}

static void purge_piece(struct hub *h, struct purge *p, uint32_t *looks, uint32_t *leave)
{
    struct queue *q = h->queues[p->queue].q;
    uint32_t entry, before = *looks;
    uint64_t id;
    while (*leave > 0 && store_keeps_up(h) && queue_walk_next(q, &p->walk, looks, &entry, &id)) {
        struct queue_change change;
        int err = queue_remove(q, entry, id, QUEUE_EXIT_PURGED, &change);
        SL_ASSERT(err == SL_OK); /* the walk passes over what is leased */
        record_change(h, p->queue, &change, NULL);
        --*leave;
        p->purged++;
    }
    p->looked += before - *looks;
    if (queue_walk_over(&p->walk))
        purge_end(h, p);
}

/* All that run share what one turn may take; the first of them has it until it is done. */
static void purges_turn(struct hub *h, struct operations *o)
{
    uint32_t looks = PURGE_LOOKS, leave = PURGE_LEAVE;
    for (struct purge *p = o->purges; p != NULL && o->purging > 0; p = p->next) {
        if (!p->running)
            continue;
        if (may_go_on(h))
            purge_piece(h, p, &looks, &leave);
        else
            purge_end(h, p);
    }
}

/* ---- all of it ---- */

void operations_turn(struct hub *h)
{
    struct operations *o = h->operations;
    if (SL_LIKELY(o == NULL))
        return;
    if (o->purging > 0)
        purges_turn(h, o);
    if (o->searches.n > 0)
        searches_turn(h, o);
    if (o->looks != NULL)
        looks_turn(h, o);
}

uint64_t operations_deadline_us(const struct hub *h)
{
    const struct operations *o = h->operations;
    if (SL_LIKELY(o == NULL))
        return UINT64_MAX;
    bool purges = o->purging > 0 && store_keeps_up(h); /* else it goes on when the batch comes back */
    return purges || o->searches.n > 0 || looks_ready(o) ? h->now.mono_us : UINT64_MAX;
}

uint64_t operations_bytes(const struct hub *h)
{
    return (h->operations == NULL ? 0 : h->operations->look_bytes) + trace_bytes(h);
}

void operations_free(struct hub *h)
{
    struct operations *o = h->operations;
    if (o == NULL)
        return;
    o->ending = true;
    searches_free(o);
    looks_free(o);
    while (o->purges != NULL) {
        struct purge *p = o->purges;
        o->purges = p->next;
        sl_free(p);
    }
    sl_free(o);
    h->operations = NULL;
}
