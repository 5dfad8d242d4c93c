/* Windows of duplicates: of one key at most one enters a queue within the window; who
 * sends another is answered when the first is kept; where the newest wins, it does. */
#include "consumers.h"

#define MANY_KEYS 1000000u

/* A message that has entered a queue. */
struct entered {
    uint64_t id;
    uint64_t group;  /* its key */
    uint32_t queue;
    uint64_t from_ms, to_ms; /* steady: it came in between */
    bool stored;
};

void duplicates_make(struct world *w, struct sl_rng *dice)
{
    w->semantics.duplicates = true;
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct queue_dedup *d = &w->queues[q].dedup;
        if (sl_rng_below(dice, 100) < 40)
            continue;
        *d = (struct queue_dedup){
            .window_ms = 300 + sl_rng_below(dice, 5000), .max = sl_rng_below(dice, 4) == 0 ? 1 + sl_rng_below(dice, 8) : MANY_KEYS, .replace = sl_rng_below(dice, 100) < 40, .n_parts = 1,
            .parts = { { QUEUE_DEDUP_HEADER, "dedup-id" }, { QUEUE_DEDUP_CLIENT, NULL } },
        };
        d->n_parts += (uint32_t)sl_rng_below(dice, 2);
    }
}

/* 0: it is no duplicate of anything. */
static uint64_t group_of(const struct world *w, uint32_t queue, const struct uid *u)
{
    const struct queue_dedup *d = &w->queues[queue].dedup;
    if (d->window_ms == 0 || u->again == 0)
        return 0;
    return u->again + (d->n_parts > 1 ? (uint64_t)u->sender << 8 : 0);
}

bool duplicates_know(const struct world *w, uint32_t queue, const struct uid *u)
{
    return group_of(w, queue, u) != 0;
}

bool duplicates_replace(const struct world *w, uint32_t queue, const struct uid *u)
{
    return group_of(w, queue, u) != 0 && w->queues[queue].dedup.replace;
}

/* ---- what entered ---- */

static struct entered *find(const struct world *w, uint32_t queue, uint64_t id)
{
    for (uint32_t i = 0; i < w->semantics.n_entered; i++) {
        struct entered *e = &w->semantics.entered[i];
        if (e->id == id && e->queue == queue)
            return e;
    }
    return NULL;
}

static struct entered *add(struct world *w)
{
    struct semantics *s = &w->semantics;
    if (s->n_entered == s->cap_entered) {
        s->cap_entered = s->cap_entered == 0 ? 64 : s->cap_entered * 2;
        s->entered = sl_realloc(s->entered, s->cap_entered * sizeof *s->entered);
    }
    return &s->entered[s->n_entered++];
}

/* Surely within the window of the older one, which the gateway of the younger one knew. */
static bool is_in_window(const struct world *w, const struct entered *older, const struct entered *younger)
{
    const struct queue_dedup *d = &w->queues[older->queue].dedup;
    bool same = older->queue == younger->queue && older->group == younger->group && older->id < younger->id;
    bool known = older->id >> 40 == younger->id >> 40 || older->stored;
    return same && known && d->max == MANY_KEYS && !w->tight && younger->to_ms < older->from_ms + d->window_ms;
}

static void one_of_its_key(const struct world *w, const struct entered *a)
{
    for (uint32_t i = 0; i < w->semantics.n_entered; i++) {
        const struct entered *b = &w->semantics.entered[i];
        if (w->queues[a->queue].dedup.replace || (!is_in_window(w, a, b) && !is_in_window(w, b, a)))
            continue;
        world_fail(w, "messages %016" PRIx64 " and %016" PRIx64 " entered queue q%u within the window, and are duplicates", a->id, b->id, a->queue);
    }
}

void duplicates_seen(struct world *w, uint32_t queue, uint64_t id, uint32_t uid, bool stored)
{
    uint64_t group = group_of(w, queue, &w->uids[uid]);
    if (group == 0)
        return;
    struct entered *e = find(w, queue, id);
    if (e == NULL) {
        e = add(w);
        *e = (struct entered){ .id = id, .group = group, .queue = queue, .from_ms = w->uids[uid].first_sent, .to_ms = w->now.steady_ms };
        one_of_its_key(w, e);
    }
    e->stored = e->stored || stored;
}

/* The first time that it comes: one that took its place must not have come in since. */
void duplicates_on_delivery(struct world *w, uint32_t queue, const struct delivery *d)
{
    if (!duplicates_replace(w, queue, &w->uids[d->uid]))
        return;
    const struct entered *a = find(w, queue, d->id);
    if (a == NULL || charge_of(w, d->id, queue)->given)
        return;
    for (uint32_t i = 0; i < w->semantics.n_entered; i++) {
        const struct entered *b = &w->semantics.entered[i];
        bool is_known = b->stored || b->id >> 40 == w->boot; /* else a crash took it, and all that it did */
        if (is_known && a->id >> 40 == b->id >> 40 && is_in_window(w, a, b))
            world_fail(w, "message %016" PRIx64 " of queue q%u is leased, and %016" PRIx64 " took its place", a->id, queue, b->id);
    }
}

/* Another of its key is kept, or has come to an end. */
bool duplicates_keep(const struct world *w, const struct uid *u, uint32_t queue)
{
    uint64_t group = group_of(w, queue, u);
    for (uint32_t i = 0; i < w->n_uids && group != 0; i++) {
        const struct uid *o = &w->uids[i];
        if (o == u || (uid_queues(w, o) & 1u << queue) == 0 || group_of(w, queue, o) != group)
            continue;
        if (o->stored[queue] > 0 || o->worked[queue] > 0 || uid_may_have_left(w, o, queue) || moves_keep(w, o, queue))
            return true;
    }
    return false;
}

void duplicates_free(struct world *w)
{
    sl_free(w->semantics.entered);
}
