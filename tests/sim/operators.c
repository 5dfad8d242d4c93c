/* What operators do to queues and messages: pause, purge, cancel, look. What they have
 * taken out need not come; what they have not must. */
#include "consumers.h"

#include "hub/operate.h"

void operators_make(struct world *w, struct sl_rng *dice)
{
    w->semantics.operators = sl_rng_below(dice, 100) < 60;
    w->semantics.jobs = sl_rng_below(dice, 100) < 50;
}

/* A pause is there again when its record was stored. */
void operators_boot(struct world *w)
{
    memset(w->semantics.purges, 0, sizeof w->semantics.purges);
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        w->semantics.paused[q] = disk_paused(w, q);
        if (queue_is_paused(hub_queue(w->hub, q)) != w->semantics.paused[q])
            world_fail(w, "queue q%u is %spaused after the start", q, w->semantics.paused[q] ? "not " : "");
    }
}

static void set_pause(struct world *w, uint32_t q, bool paused)
{
    world_trace(w, "q%u is %s", q, paused ? "paused" : "resumed");
    w->semantics.paused[q] = paused;
    hub_queue_pause(w->hub, q, paused);
}

/* Of what was sent before, nothing need be there any more. */
static void excuse_all(struct world *w, uint32_t q)
{
    for (uint32_t i = 0; i < w->n_uids; i++)
        w->uids[i].excused |= (uint8_t)(1u << q);
}

static uint64_t last_stored(const struct world *w, uint32_t q)
{
    const struct disk_entry *e;
    uint64_t last = 0;
    size_t pos = 0;
    while ((e = sl_idmap_next(&w->disk.entries, &pos)) != NULL)
        last = e->queue == q && e->r.id > last ? e->r.id : last;
    return last;
}

static void purge(struct world *w, uint32_t q)
{
    uint32_t states = pick(w, 2) == 0 ? 15 : 1 + pick(w, 15);
    if (hub_queue_purge(w->hub, q, states) != SL_OK)
        return;
    world_trace(w, "q%u is purged of %u", q, states);
    w->semantics.purges[q] = (struct purge_seen){ true, last_stored(w, q), states };
    w->semantics.purged_wall[q] = w->now.wall_ms;
    excuse_all(w, q);
}

/* ---- cancelling ---- */

static const struct disk_entry *some_entry(struct world *w)
{
    const struct disk_entry *e, *chosen = NULL;
    size_t pos = 0;
    uint32_t n = 0;
    while ((e = sl_idmap_next(&w->disk.entries, &pos)) != NULL)
        chosen = pick(w, ++n) == 0 ? e : chosen;
    return chosen;
}

static void on_cancelled(void *arg, uint64_t id, const struct hub_cancelled *c)
{
    struct world *w = arg;
    uint32_t uid = uid_of_id(w, id);
    if (uid == SIM_NO_UID || w->dying)
        return;
    world_trace(w, "u%08u (%016" PRIx64 ") is cancelled in %u queues, leased in %u, dead in %u", uid, id, c->cancelled, c->leased, c->dead);
    if (c->cancelled > 0)
        w->uids[uid].excused = UINT8_MAX;
    if (c->cancelled > 0 && c->leased + c->dead == 0)
        sl_idmap_put(&w->cancelled, id, (void *)(uintptr_t)w->boot);
}

static void cancel(struct world *w)
{
    const struct disk_entry *e = some_entry(w);
    if (e != NULL)
        (void)!hub_cancel(w->hub, e->r.id, on_cancelled, w);
}

static void cancel_job(struct world *w)
{
    struct hub_cancelled c;
    const struct disk_entry *e = some_entry(w);
    if (e == NULL || !w->uids[e->uid].job)
        return;
    char name[16];
    struct uid *u = &w->uids[e->uid];
    snprintf(name, sizeof name, "j%u", e->uid);
    int err = hub_cancel_job(w->hub, sl_str(name), &c);
    bool there = !w->tight && e->r.state != QUEUE_DEAD && u->worked[e->queue] == 0 && !uid_may_have_died(w, u, e->queue) && !duplicates_replace(w, e->queue, u) && !uid_may_have_left(w, u, e->queue);
    if (err != SL_OK && there && !u->sent_again) /* low on memory it is forgotten */
        world_fail(w, "job %s waits in queue q%u and is not known", name, e->queue);
    if (err == SL_OK && c.cancelled > 0)
        u->excused = UINT8_MAX;
}

/* ---- looking ---- */

static void on_peeked(void *arg, const struct hub_peeked *v, uint32_t n)
{
    struct world *w = arg;
    for (uint32_t i = 0; i < n && !w->dying; i++) {
        const struct message *m = v[i].of.msg;
        if (m != NULL && message_id(m) != v[i].of.id)
            world_fail(w, "a look at %016" PRIx64 " shows another message", v[i].of.id);
        if (m != NULL)
            uid_names(w, v[i].of.id, uid_of_message(w, m));
    }
}

void operators_step(struct world *w)
{
    uint32_t q = pick(w, SIM_QUEUES), r = pick(w, 100);
    if (w->draining || hub_health(w->hub) == HUB_BROKEN)
        return;
    if (r < 30)
        set_pause(w, q, !w->semantics.paused[q] && chance(w, 50));
    else if (r < 36)
        purge(w, q);
    else if (r < 60)
        cancel(w);
    else if (r < 75 && w->semantics.jobs)
        cancel_job(w);
    else
        (void)!hub_peek(w->hub, q, (enum queue_state)pick(w, QUEUE_NSTATES), 1 + pick(w, 40), on_peeked, w);
}

void operators_calm(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        set_pause(w, q, false);
}

/* ---- laws ---- */

void operators_on_delivery(const struct world *w, uint32_t queue, const struct delivery *d)
{
    if (w->semantics.paused[queue])
        world_fail(w, "message %016" PRIx64 " is leased although queue q%u is paused", d->id, queue);
    if ((uintptr_t)sl_idmap_get(&w->cancelled, d->id) == w->boot)
        world_fail(w, "message %016" PRIx64 " is leased although it was cancelled", d->id);
}

static void purge_is_done(struct world *w, uint32_t q)
{
    struct purge_seen *p = &w->semantics.purges[q];
    struct hub_purge now;
    const struct disk_entry *e;
    size_t pos = 0;
    hub_queue_purge_progress(w->hub, q, &now);
    if (!p->on || now.running)
        return;
    p->on = false;
    while ((e = sl_idmap_next(&w->disk.entries, &pos)) != NULL && (p->states & 13) == 13) {
        bool held = charge_of(w, e->r.id, q)->given_boot == w->boot;
        if (e->queue == q && e->r.id <= p->last_id && !held)
            world_fail(w, "message %016" PRIx64 " is still in queue q%u, which was purged", e->r.id, q);
    }
}

void operators_when_flushed(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES && w->semantics.operators; q++) {
        purge_is_done(w, q);
        if (disk_paused(w, q) != w->semantics.paused[q])
            world_fail(w, "queue q%u is %spaused, and the disk does not know", q, w->semantics.paused[q] ? "" : "not ");
    }
}
