/* Dead letters that go on: forwarded when they die, redriven, dropped by operators. Each
 * message is in one place, and comes to no end but a counted one. */
#include "consumers.h"

void moves_make(struct world *w, struct sl_rng *dice)
{
    struct semantics *s = &w->semantics;
    s->moves = true;
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        w->queues[q].dead_expired = sl_rng_below(dice, 2) == 0;
        if (q + 1 == SIM_QUEUES || sl_rng_below(dice, 100) >= 40)
            continue;
        uint32_t to = q + 1 + (uint32_t)sl_rng_below(dice, SIM_QUEUES - q - 1); /* no cycles */
        s->forward[q] = (uint8_t)(to + 1);
        s->onward[q] = (uint8_t)(1u << to);
    }
}

void moves_boot(struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if (w->semantics.forward[q] != 0)
            hub_forward_dead(w->hub, q, w->semantics.forward[q] - 1u);
    }
    w->semantics.work = 0;
}

/* ---- operators ---- */

static struct hub_dead_filter some_filter(struct world *w)
{
    return (struct hub_dead_filter){
        .causes = chance(w, 20) ? 1u << QUEUE_CAUSE_RETRY | 1u << QUEUE_CAUSE_EXPIRED : 0,
        .topic = chance(w, 20) ? sl_str("t/1") : SL_BYTES_NONE,
    };
}

static void begin(struct world *w, int err, uint64_t handle)
{
    if (err != SL_OK)
        return;
    if (w->semantics.work != 0)
        hub_dead_stop(w->hub, w->semantics.work);
    w->semantics.work = handle;
}

static void redrive(struct world *w, uint32_t q)
{
    uint32_t to = pick(w, SIM_QUEUES);
    struct hub_dead_redrive r = {
        .filter = some_filter(w), .to = to == q ? HUB_SAME_QUEUE : to, .per_second = chance(w, 50) ? 0 : 1 + pick(w, 50), .max = chance(w, 50) ? 0 : 1 + pick(w, 9),
    };
    uint64_t handle;
    w->semantics.onward[q] |= (uint8_t)(1u << to);
    world_trace(w, "dead letters of q%u go on to q%u", q, to);
    int err = hub_dead_redrive(w->hub, q, &r, &handle);
    begin(w, err, handle);
}

static void drop(struct world *w, uint32_t q)
{
    struct hub_dead_filter f = some_filter(w);
    uint64_t handle;
    world_trace(w, "dead letters of q%u are dropped", q);
    for (uint32_t i = 0; i < w->n_uids; i++)
        w->uids[i].excused |= (uint8_t)(1u << q); /* also what dies before it has come to its end */
    int err = hub_dead_drop(w->hub, q, &f, &handle);
    begin(w, err, handle);
}

static void on_page(void *arg, const struct hub_dead_page *page)
{
    struct world *w = arg;
    for (uint32_t i = 0; i < page->n && !w->dying; i++) {
        const struct hub_dead_letter *l = &page->letters[i];
        if (l->cause == QUEUE_CAUSE_NONE)
            world_fail(w, "the dead letter %016" PRIx64 " has no cause", l->place.id);
        if (i > 0 && l->place.died_ms < l[-1].place.died_ms)
            world_fail(w, "the dead letter %016" PRIx64 " is listed after one that died later", l->place.id);
        if (l->msg != NULL)
            uid_names(w, l->place.id, uid_of_message(w, l->msg));
    }
}

static void list(struct world *w, uint32_t q)
{
    uint64_t handle;
    struct hub_dead_ask ask = { .filter = some_filter(w), .limit = 1 + pick(w, 30), .bodies = chance(w, 50), .done = on_page, .arg = w };
    (void)!hub_dead_list(w->hub, q, &ask, &handle);
}

void moves_step(struct world *w)
{
    uint32_t q = pick(w, SIM_QUEUES), r = pick(w, 100);
    if (w->draining || hub_health(w->hub) == HUB_BROKEN)
        return;
    if (r < 55)
        redrive(w, q);
    else if (r < 65)
        drop(w, q);
    else
        list(w, q);
}

void moves_calm(struct world *w)
{
    if (w->semantics.work != 0)
        hub_dead_stop(w->hub, w->semantics.work);
    w->semantics.work = 0;
}

/* ---- where a message may be ---- */

static uint8_t onward_from(const struct world *w, uint8_t queues)
{
    uint8_t all = 0, next = queues;
    while (next != 0) {
        uint8_t more = 0;
        for (uint32_t q = 0; q < SIM_QUEUES; q++)
            more |= (next & 1u << q) != 0 ? w->semantics.onward[q] : 0;
        next = (uint8_t)(more & ~all);
        all |= more;
    }
    return all;
}

bool moves_lead_to(const struct world *w, const struct uid *u, uint32_t q)
{
    return (onward_from(w, uid_queues(w, u)) & 1u << q) != 0;
}

/* It died in that queue, and is kept in one to which its dead letters go. */
bool moves_keep(const struct world *w, const struct uid *u, uint32_t from)
{
    uint8_t targets = uid_may_have_died(w, u, from) ? onward_from(w, (uint8_t)(1u << from)) : 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if ((targets & 1u << q) != 0 && (u->stored[q] > 0 || u->worked[q] > 0 || !w->queues[q].durable || uid_may_have_left(w, u, q)))
            return true;
    }
    return false;
}

/* ---- laws ---- */

/* What was forwarded may stand above the limits of its queue. */
uint64_t moves_over_limit(const struct world *w, uint32_t queue)
{
    uint64_t n = 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        n += w->semantics.forward[q] == queue + 1 ? queue_counters(hub_queue(w->hub, q))->moved : 0;
    return n;
}

uint64_t moves_moved(const struct world *w)
{
    uint64_t n = 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        n += queue_counters(hub_queue(w->hub, q))->moved;
    return n;
}

/* A batch is whole: of what was moved in it, as many are stored as came to queues. */
void moves_after_batch(struct world *w)
{
    for (uint32_t i = 0; i < w->semantics.n_moved; i++) {
        const struct uid *u = &w->uids[w->semantics.moved[i]];
        uint32_t stored = 0;
        for (uint32_t q = 0; q < SIM_QUEUES; q++)
            stored += u->stored[q];
        if (!u->sent_again && stored > (uint32_t)__builtin_popcount(uid_queues(w, u)))
            world_fail(w, "u%08u was moved on, and is in %u places on the disk", w->semantics.moved[i], stored);
    }
    w->semantics.n_moved = 0;
}

void moves_seen(struct world *w, const struct message *m, uint32_t uid)
{
    struct semantics *s = &w->semantics;
    if (message_hops(m) > HUB_HOPS_MAX)
        world_fail(w, "u%08u was moved on %u times", uid, message_hops(m));
    if (message_hops(m) > 0 && s->n_moved < SL_COUNT(s->moved))
        s->moved[s->n_moved++] = uid;
}

void moves_at_end(const struct world *w)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct queue_depth d;
        queue_depth(hub_queue(w->hub, q), &d);
        bool waits = w->semantics.forward[q] != 0 && d.count[QUEUE_DEAD] > 0;
        if (waits && !w->tight)
            world_fail(w, "%" PRIu64 " dead letters of queue q%u stay, and should go on to q%u", d.count[QUEUE_DEAD], q, w->semantics.forward[q] - 1u);
    }
}
