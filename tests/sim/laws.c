/* The laws: contract.md §2, each said once. */
#include "sim.h"

/* Queues that may let go of what they accepted by their own policy. */
static bool may_drop(const struct queue_config *q)
{
    return q->overflow == QUEUE_DROP_OLDEST || q->ttl_ms > 0;
}

/* 1. Accepted means kept: on the disk, or finished with. */
static void accepted_is_kept(const struct world *w, uint32_t uid)
{
    const struct uid *u = &w->uids[uid];
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if ((uid_queues(w, u) & 1u << q) == 0 || !w->queues[q].durable || may_drop(&w->queues[q]))
            continue;
        if (u->stored[q] == 0 && u->worked[q] == 0)
            world_fail(w, "u%08u (QoS %u) is acknowledged, and in queue q%u it is neither stored nor worked", uid, u->qos, q);
    }
}

void laws_on_ack(struct world *w, uint32_t uid)
{
    w->uids[uid].acked = true;
    w->counts[SIM_ACKED]++;
    accepted_is_kept(w, uid);
}

/* 3. One holder at a time; 2. attempts as they were charged; the last alone. */
void laws_on_delivery(struct world *w, struct worker *k, const struct delivery *d)
{
    if (d->uid >= w->n_uids)
        world_fail(w, "message %016" PRIx64 " was altered", d->id);
    struct uid *u = &w->uids[d->uid];
    const struct charge *c = charge_of(w, d->id, k->queue);
    if ((uid_queues(w, u) & 1u << k->queue) == 0)
        world_fail(w, "u%08u came to queue q%u, where no route leads", d->uid, k->queue);
    if (c->live)
        world_fail(w, "message %016" PRIx64 " is held by two consumers", d->id);
    if (d->attempt < c->least + 1 || d->attempt > c->most + 1)
        world_fail(w, "message %016" PRIx64 " has attempt %u, charged were %u to %u", d->id, d->attempt, c->least, c->most);
    if (d->attempt > w->queues[k->queue].max_attempts)
        world_fail(w, "message %016" PRIx64 " has attempt %u of %u", d->id, d->attempt, w->queues[k->queue].max_attempts);
    bool alone = d->attempt > 1 && d->attempt == w->queues[k->queue].max_attempts;
    if (alone && k->n > 0)
        world_fail(w, "the last attempt of %016" PRIx64 " joins %u others", d->id, k->n);
    if (k->n > 0 && k->held[0].attempt > 1 && k->held[0].last)
        world_fail(w, "message %016" PRIx64 " joins a last attempt", d->id);
    if (k->n >= k->prefetch)
        world_fail(w, "a worker holds more than its prefetch");
    if (sl_idmap_get(&w->ids_seen, d->id >> 40) != NULL && (d->id >> 40) > w->boot)
        world_fail(w, "id %016" PRIx64 " is from the future", d->id);
    if (u->only_id[k->queue] == 0)
        u->only_id[k->queue] = d->id;
    else if (u->exactly_once && u->only_id[k->queue] != d->id)
        world_fail(w, "QoS 2 u%08u has two ids, %016" PRIx64 " and %016" PRIx64, d->uid, u->only_id[k->queue], d->id);
    if (u->qos == 2 && w->queues[k->queue].durable && u->stored[k->queue] == 0)
        world_fail(w, "QoS 2 u%08u is leased before it is stored", d->uid);
    if (hub_health(w->hub) == HUB_BROKEN)
        world_fail(w, "message %016" PRIx64 " is leased although the store is broken", d->id);
}

/* 2. Nothing leaves a queue but by a counted exit. */
static void exits_add_up(const struct world *w, uint32_t q)
{
    struct queue *queue = hub_queue(w->hub, q);
    const struct queue_counters *c = queue_counters(queue);
    struct queue_depth d;
    queue_depth(queue, &d);
    uint64_t in = c->accepted + w->accepted_base[q];
    uint64_t out = c->acked + c->expired + c->dropped + c->dead_dropped + c->dead_expired + c->purged;
    uint64_t here = d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED] + d.count[QUEUE_DEAD];
    if (in != out + here)
        world_fail(w, "queue q%u took %" PRIu64 ", let %" PRIu64 " go and has %" PRIu64, q, in, out, here);
    /* 5. Bounded: what was restored may stand above the limit. */
    uint64_t depth = here - d.count[QUEUE_DEAD];
    if (w->accepted_base[q] == 0 && depth > w->queues[q].max_messages)
        world_fail(w, "queue q%u has %" PRIu64 " of %" PRIu64 " messages", q, depth, w->queues[q].max_messages);
}

static void parking_is_bounded(const struct world *w)
{
    uint64_t memory = hub_memory_bytes(w->hub);
    if (memory > 64u << 20)
        world_fail(w, "%" PRIu64 " bytes are held in memory", memory);
}

void laws_after_step(struct world *w)
{
    hub_check(w->hub);
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        exits_add_up(w, q);
    parking_is_bounded(w);
    if (w->step % 16 == 0) {
        for (uint32_t uid = 0; uid < w->n_uids; uid++) {
            if (w->uids[uid].acked)
                accepted_is_kept(w, uid);
        }
    }
}

/* When all faults have ended, everything that was accepted has ended too. */
void laws_at_end(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct queue_depth d;
        queue_depth(hub_queue(w->hub, q), &d);
        uint64_t here = d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED];
        if (here != 0)
            world_fail(w, "queue q%u still has %" PRIu64 " messages (ready %" PRIu64 ", leased %" PRIu64 ", delayed %" PRIu64 ") although all workers are well", q, here,
                       d.count[QUEUE_READY], d.count[QUEUE_LEASED], d.count[QUEUE_DELAYED]);
    }
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        if (w->uids[uid].acked)
            accepted_is_kept(w, uid);
    }
    if (!hub_flushed(w->hub))
        world_fail(w, "%s", "something is still to be written although the disk is well");
}
