/* The laws when nothing is under way: memory and disk agree, and in the end
 * everybody has an answer and every message its end. */
#include "consumers.h"
#include "subscribers.h"

static uint64_t waiting(struct world *w, uint32_t q, uint64_t *dead)
{
    struct queue_depth d;
    queue_depth(hub_queue(w->hub, q), &d);
    *dead = d.count[QUEUE_DEAD];
    return d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED];
}

static void no_body_is_left_over(const struct world *w)
{
    for (size_t i = 0; i < w->disk.bodies.cap; i++) {
        uint64_t id = w->disk.bodies.slots[i].key;
        bool needed = w->disk.bodies.slots[i].value == NULL || disk_entries_of(w, id) > 0 || disk_has_copy(w, id);
        if (!needed)
            world_fail(w, "the body of %016" PRIx64 " stays on the disk and nobody needs it", id);
    }
}

/* A new boot would find what is in memory, no more and no less. */
void laws_when_flushed(struct world *w)
{
    if (!hub_flushed(w->hub) || hub_health(w->hub) != HUB_OK)
        return;
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        uint64_t dead, here = waiting(w, q, &dead);
        if (w->queues[q].durable && here + dead != w->disk.n_entries[q])
            world_fail(w, "queue q%u has %" PRIu64 " messages and the disk %" PRIu64, q, here + dead, w->disk.n_entries[q]);
    }
    operators_when_flushed(w);
    if (w->step % 16 == 0) {
        no_body_is_left_over(w);
        laws_of_retained(w);
    }
}

/* A stopped gateway has told everybody, let nothing in, and written all. */
void laws_when_stopped(struct world *w, uint64_t taken_before)
{
    if (hub_n_clients(w->hub) != 0)
        world_fail(w, "%u clients have survived the goodbye", hub_n_clients(w->hub));
    if (hub_unanswered(w->hub) != 0)
        world_fail(w, "%" PRIu64 " deliveries are unanswered and nobody holds them", hub_unanswered(w->hub));
    if (world_accepted(w) != taken_before && laws_wills(w) == 0) /* a delayed one may come */
        world_fail(w, "%s", "a message came in although the gateway drains");
    if (!hub_flushed(w->hub))
        world_fail(w, "%s", "the gateway cannot stop: something is still to be written although the disk is well");
}

static void device_is_answered(const struct world *w, const struct device *d)
{
    if (d->client == NULL || !d->greeted)
        return;
    if (d->receipts_owed != 0)
        world_fail(w, "device %u still waits for %u receipts", d->number, d->receipts_owed);
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++) {
        if (d->in[i].state != IN_FREE)
            world_fail(w, "device %u still waits for the answer to its packet %u (QoS %u, u%08u)", d->number, d->in[i].packet_id, d->in[i].qos, d->in[i].uid);
    }
}

/* When all faults have ended, everything that was accepted has ended too. */
void laws_at_end(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        uint64_t dead, here = waiting(w, q, &dead);
        if (here != 0)
            world_fail(w, "queue q%u still has %" PRIu64 " messages although all workers are well", q, here);
    }
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        if (w->uids[uid].acked)
            law_accepted_is_kept(w, uid);
    }
    for (uint32_t i = 0; i < SIM_DEVICES; i++)
        device_is_answered(w, &w->devices[i]);
    laws_of_consumers_at_end(w);
    moves_at_end(w);
    if (!hub_flushed(w->hub))
        world_fail(w, "%s", "something is still to be written although the disk is well");
    laws_when_flushed(w);
    no_body_is_left_over(w);
}
