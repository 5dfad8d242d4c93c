/* Queues that are ordered by a key: of each key one message is in somebody's hands,
 * in the order of acceptance, whatever fails, crashes or comes back. */
#include "consumers.h"

static void order_make(struct queue_config *cfg, struct sl_rng *dice)
{
    cfg->order = (struct queue_order){
        .on = true,
        .key = (enum queue_key)sl_rng_below(dice, 3),
        .header = "line",
        .on_failure = (enum queue_on_failure)sl_rng_below(dice, 3),
        .hash = { 7, sl_rng_u64(dice) },
    };
}

void lines_make(struct world *w, struct sl_rng *dice)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if (sl_rng_below(dice, 100) >= 50)
            continue;
        order_make(&w->queues[q], dice);
        w->restraints[q].per_topic = 0; /* the configuration does not allow both */
    }
}

void lines_free(struct world *w)
{
    struct line_seen *s;
    size_t pos = 0;
    while ((s = sl_idmap_next(&w->semantics.lines, &pos)) != NULL)
        sl_free(s);
    sl_idmap_fini(&w->semantics.lines);
}

static struct line_seen *seen_of(struct world *w, uint32_t queue, uint32_t key)
{
    uint64_t name = (uint64_t)key * SIM_QUEUES + queue;
    struct line_seen *s = sl_idmap_get(&w->semantics.lines, name);
    if (s == NULL) {
        s = SL_NEW(struct line_seen);
        sl_idmap_put(&w->semantics.lines, name, s);
    }
    return s;
}

void lines_boot(struct world *w)
{
    lines_free(w);
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if (hub_order_before(w->hub, q) != NULL)
            world_fail(w, "the gateway does not start: queue q%u was ordered by something else", q);
    }
}

uint32_t line_of(const struct world *w, uint32_t queue, const struct uid *u)
{
    const struct queue_order *o = &w->queues[queue].order;
    if (!o->on)
        return 0;
    if (o->key == QUEUE_KEY_TOPIC)
        return u->topic + 1u;
    return o->key == QUEUE_KEY_HEADER ? u->line : u->sender;
}

static enum queue_on_failure on_failure(const struct world *w, uint32_t queue)
{
    return w->queues[queue].order.on_failure;
}

bool lines_kill(const struct world *w, uint32_t queue, const struct uid *u)
{
    return line_of(w, queue, u) != 0 && on_failure(w, queue) == QUEUE_FAILURE_KILLS;
}

/* It was given to a worker at this boot, and must still be there, somewhere between its
 * failures; what a client did with it is not always known. */
static bool is_under_way(const struct world *w, const struct charge *c)
{
    const struct uid *u = &w->uids[c->uid];
    bool over = duplicates_replace(w, c->queue, u) || c->acked_boot == w->boot || uid_may_have_died(w, u, c->queue) || uid_may_have_left(w, u, c->queue);
    bool skipped = on_failure(w, c->queue) == QUEUE_FAILURE_SKIPS && c->most > 0;
    return c->given_boot == w->boot && c->by == NULL && c->deal == 0 && !over && !skipped;
}

/* What one client and another get in one turn is seen in no order. */
static bool is_unsure(const struct world *w, const struct holder *h, uint64_t step, const struct consumer *by)
{
    return step == w->step && (h->by != NULL || by != NULL) && h->by != by;
}

/* Nobody else has one of its key, and none that was given before it waits for its return. */
static void one_of_its_key(const struct world *w, const struct holder *h, const struct delivery *d, uint32_t key, bool replaces)
{
    uint32_t queue = h->queue;
    const struct charge *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&w->charges, &pos)) != NULL) {
        if (c->id == d->id || c->queue != queue || c->given_boot != w->boot || line_of(w, queue, &w->uids[c->uid]) != key)
            continue;
        if (c->live && c->by != NULL)
            consumer_tap(c->by);
        if (is_unsure(w, h, c->given_step, c->by))
            continue;
        if (c->live)
            world_fail(w, "message %016" PRIx64 " of queue q%u is leased while %016" PRIx64 " of its key %u is", d->id, queue, c->id, key);
        if (h->by == NULL && !replaces && c->id < d->id && is_under_way(w, c))
            world_fail(w, "message %016" PRIx64 " of queue q%u is leased before %016" PRIx64 " of its key %u has come to its end", d->id, queue, c->id, key);
    }
}

static void in_order(struct world *w, const struct holder *h, const struct delivery *d, uint32_t key)
{
    const struct uid *u = &w->uids[d->uid];
    const struct charge *c = charge_of(w, d->id, h->queue);
    struct line_seen *s = seen_of(w, h->queue, key);
    bool later = u->delay_ms > 0 || (on_failure(w, h->queue) == QUEUE_FAILURE_SKIPS && c->most > 0);
    if (d->id < s->id && !later && !is_unsure(w, h, s->step, s->by))
        world_fail(w, "message %016" PRIx64 " of queue q%u is leased after %016" PRIx64 " of its key %u", d->id, h->queue, s->id, key);
    if (d->id > s->id)
        *s = (struct line_seen){ d->id, w->step, h->by };
}

static bool waits_before(const struct world *w, const struct disk_entry *e, const struct delivery *d, uint32_t queue, uint32_t key)
{
    const struct uid *u = &w->uids[e->uid];
    if (e->queue != queue || e->r.id >= d->id || e->r.state == QUEUE_DEAD || line_of(w, queue, u) != key)
        return false;
    bool over = duplicates_replace(w, queue, u) || u->worked[queue] > 0 || uid_may_have_died(w, u, queue) || uid_may_have_left(w, u, queue);
    bool skipped = on_failure(w, queue) == QUEUE_FAILURE_SKIPS && (e->r.attempts > 0 || charge_of((struct world *)w, e->r.id, queue)->most > 0);
    return !over && !skipped && u->delay_ms == 0;
}

/* The disk knows of none that was accepted earlier and has not ended. */
static void none_waits_before(const struct world *w, const struct delivery *d, uint32_t queue, uint32_t key)
{
    const struct disk_entry *e;
    size_t pos = 0;
    while ((e = sl_idmap_next(&w->disk.entries, &pos)) != NULL) {
        if (waits_before(w, e, d, queue, key))
            world_fail(w, "message %016" PRIx64 " of queue q%u is leased before %016" PRIx64 " (u%08u) of its key %u, which is older", d->id, queue, e->r.id, e->uid, key);
    }
}

void lines_on_delivery(struct world *w, const struct holder *h, const struct delivery *d)
{
    uint32_t key = line_of(w, h->queue, &w->uids[d->uid]);
    if (key == 0)
        return;
    if (lines_kill(w, h->queue, &w->uids[d->uid]) && charge_of(w, d->id, h->queue)->least > 0)
        world_fail(w, "message %016" PRIx64 " of queue q%u has failed, and comes again", d->id, h->queue);
    /* A newer one that has the place of an older stands where its id does not. */
    bool replaces = w->queues[h->queue].dedup.window_ms != 0 && w->queues[h->queue].dedup.replace;
    one_of_its_key(w, h, d, key, replaces);
    if (!replaces)
        in_order(w, h, d, key);
    if (h->by == NULL && !replaces)
        none_waits_before(w, d, h->queue, key);
}
