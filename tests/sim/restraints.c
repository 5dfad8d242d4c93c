/* In a third of the worlds workers get batches, no more than a rate, no more than
 * some of one topic at once, or live on when they are late. */
#include "consumers.h"

void restraints_make(struct world *w)
{
    struct sl_rng rng; /* its own, so that other worlds stay what they are */
    sl_rng_seed(&rng, ~w->seed);
    for (uint32_t q = 0; q < SIM_QUEUES && w->seed % 3 == 0; q++) {
        w->restraints[q].per_second = sl_rng_below(&rng, 100) < 50 ? 50 + (uint32_t)sl_rng_below(&rng, 400) : 0;
        w->restraints[q].per_topic = sl_rng_below(&rng, 100) < 50 ? 1 + (uint32_t)sl_rng_below(&rng, 4) : 0;
    }
    for (uint32_t i = 0; i < SIM_WORKERS && w->seed % 3 == 0; i++) {
        struct worker *k = &w->workers[i];
        k->external = sl_rng_below(&rng, 100) < 40;
        if (sl_rng_below(&rng, 100) >= 50)
            continue;
        k->batch_max = 2 + (uint32_t)sl_rng_below(&rng, 10);
        k->batch_wait_ms = (uint32_t)sl_rng_below(&rng, 60);
        k->prefetch = k->concurrency = k->batch_max;
    }
}

void restraints_boot(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct restraint *r = &w->restraints[q];
        r->level = 0;
        r->level_us = w->mono_us;
        if (r->per_second > 0)
            r->limit = hub_limit_add(w->hub, q, r->per_second);
        if (r->per_topic > 0)
            hub_limit_keys(w->hub, q, &(struct queue_key_limit){ .max = r->per_topic, .key = QUEUE_KEY_TOPIC });
    }
}

/* 100 ms worth may go at once, and at least one. */
static void rate_is_kept(struct world *w, uint32_t q)
{
    struct restraint *r = &w->restraints[q];
    double most = r->per_second > 10 ? r->per_second / 10.0 : 1;
    r->level -= (double)(w->mono_us - r->level_us) * r->per_second / 1e6;
    r->level = (r->level < 0 ? 0 : r->level) + 1;
    r->level_us = w->mono_us;
    if (r->per_second > 0 && r->level > most + 1) /* of what has begun to be due, one goes whole */
        world_fail(w, "the workers of queue q%u get more than %u messages per second", q, r->per_second);
}

/* What clients' consumers hold counts as well, and here is left out. */
static void key_is_kept(const struct world *w, uint32_t q, const struct delivery *d)
{
    const struct charge *c;
    size_t pos = 0;
    uint32_t n = 1;
    if (w->restraints[q].per_topic == 0)
        return;
    while ((c = sl_idmap_next(&w->charges, &pos)) != NULL)
        n += c->live && c->by == NULL && c->queue == q && w->uids[c->uid].topic == w->uids[d->uid].topic;
    if (n > w->restraints[q].per_topic)
        world_fail(w, "%u messages of one topic are leased in queue q%u, %u may be", n, q, w->restraints[q].per_topic);
}

void restraints_on_delivery(struct world *w, struct worker *k, struct delivery *d, bool more)
{
    workers_notice(w);
    if (k->n_late > 0)
        world_fail(w, "message %016" PRIx64 " comes to a worker that has not answered what was taken from it", d->id);
    rate_is_kept(w, k->queue);
    key_is_kept(w, k->queue, d);
    if (k->batch_max == 0 && more)
        world_fail(w, "message %016" PRIx64 " is told to be one of a batch", d->id);
    if (k->batch_max == 0)
        return;
    if (k->n > 0 && !k->more)
        world_fail(w, "message %016" PRIx64 " joins a batch that was whole", d->id);
    bool suspect = charge_of(w, d->id, k->queue)->suspect_boot == w->boot;
    if (suspect && (k->n > 0 || more))
        world_fail(w, "message %016" PRIx64 " may have killed its worker and is not alone", d->id);
    d->alone = d->alone || suspect;
    k->more = more;
}

void restraints_after_step(struct world *w)
{
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        if (w->workers[i].more)
            world_fail(w, "worker %u waits for the rest of its batch", i);
    }
}
