/* How a pool gets to its number of workers, and how one worker takes another's
 * place: by a slot of its own, beside the old one, until it is ready.
 *
 *   old ──── works ─────────┐ told to go, finishes what it holds ─▶ (gone)
 *   new      starts, HELLO ─┘ works ──────────────────────────────────────▶
 *
 * A replacement that does not start leaves the old worker where it is. */
#include "core/alloc.h"
#include "pool_internal.h"

static struct pool *newest(struct pool *pool)
{
    while (pool->after != NULL)
        pool = pool->after;
    return pool;
}

/* ---- coming ---- */

/* The smallest that nobody has: it stands in the log. */
static uint32_t free_number(const struct pool *pool)
{
    for (uint32_t number = 0;; number++) {
        bool taken = false;
        for (uint32_t i = 0; i < pool->n_slots && !taken; i++)
            taken = pool->slots[i]->number == number;
        if (!taken)
            return number;
    }
}

struct slot *slot_new(struct pool *pool)
{
    struct slot *s = SL_NEW(struct slot);
    s->pools = pool->pools;
    s->pool = pool;
    s->number = free_number(pool);
    if (pool->n_slots == pool->cap_slots) {
        pool->cap_slots = pool->cap_slots == 0 ? 4 : pool->cap_slots * 2;
        pool->slots = sl_realloc(pool->slots, pool->cap_slots * sizeof *pool->slots);
    }
    s->at = pool->n_slots;
    pool->slots[pool->n_slots++] = s;
    (void)uv_timer_init(s->pools->io.loop, &s->timer);
    s->timer.data = s;
    s->pools->n_timers++;
    return s;
}

uint32_t staff_count(const struct pool *pool)
{
    uint32_t n = 0;
    for (const struct pool *g = pool; g != NULL; g = g->before)
        for (uint32_t i = 0; i < g->n_slots; i++)
            n += !g->slots[i]->leaving && g->slots[i]->replaces == NULL;
    return n;
}

/* ---- going ---- */

static void unpair(struct slot *s)
{
    if (s->successor != NULL)
        s->successor->replaces = NULL;
    if (s->replaces != NULL)
        s->replaces->successor = NULL;
    s->successor = s->replaces = NULL;
}

static void remove_slot(struct slot *s)
{
    (void)uv_timer_stop(&s->timer);
    slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_WORKER_KILLED, .charge_none = true });
    unpair(s);
    slot_close(s);
}

bool staff_release(struct slot *s)
{
    struct pool *pool = newest(s->pool);
    if (!s->leaving && s->successor == NULL && !s->pool->over)
        return false;
    turn_begin(s->pools);
    remove_slot(s);
    staff_adjust(pool);
    staff_renew(pool);
    return true;
}

void staff_retire(struct slot *s)
{
    if (s->leaving)
        return;
    s->leaving = true;
    s->pool->recycled[s->recycled]++;
    unpair(s);
    (void)uv_timer_stop(&s->timer);
    s->waiting = false;
    if (s->worker != NULL)
        drain_worker(s->worker);
    else
        remove_slot(s);
}

/* The better, the less is lost: one that is not there, one that starts, one that
 * has little to do. */
static uint64_t reluctance(const struct slot *s)
{
    uint64_t unanswered = s->consumer != 0 ? hub_consumer_unanswered(hub_of(s), s->consumer) : 0;
    uint64_t stage = s->waiting || s->pool->over ? 0 : s->consumer == 0 ? 1 : 2;
    return stage << 32 | unanswered;
}

static struct slot *least_needed(const struct pool *pool)
{
    struct slot *best = NULL;
    for (const struct pool *g = pool; g != NULL; g = g->before) {
        for (uint32_t i = 0; i < g->n_slots; i++) {
            struct slot *s = g->slots[i];
            if (s->leaving || s->replaces != NULL)
                continue;
            if (best == NULL || reluctance(s) < reluctance(best) || (reluctance(s) == reluctance(best) && s->number > best->number))
                best = s;
        }
    }
    return best;
}

void staff_adjust(struct pool *pool)
{
    if (pools_ending(pool->pools) || !pool->pools->started || pool->over)
        return;
    uint32_t n = staff_count(pool), wanted = pool->size.wanted;
    for (; n < wanted; n++)
        slot_start(slot_new(pool));
    if (n > wanted)
        turn_begin(pool->pools);
    for (; n > wanted; n--) {
        struct slot *s = least_needed(pool);
        SL_ASSERT(s != NULL);
        if (s->successor != NULL)
            staff_retire(s->successor);
        staff_retire(s);
    }
}

/* ---- one for another ---- */

static void replace(struct slot *old)
{
    struct slot *s = slot_new(newest(old->pool));
    s->replaces = old;
    old->successor = s;
    slot_start(s);
}

void staff_ready(struct slot *s)
{
    struct slot *old = s->replaces;
    if (old == NULL)
        return;
    sl_log(SL_INFO, "worker_replaced", "pool=%s slot=%u by=%u reason=%s", s->pool->cfg->name, (unsigned)old->number, (unsigned)s->number,
           old->recycled != RECYCLE_NONE ? recycle_cause_name(old->recycled) : "restart");
    staff_retire(old);
    watch_until(newest(s->pool), 0); /* the next one */
}

/* A rolling restart replaces one at a time. */
static struct slot *next_outdated(const struct pool *pool)
{
    struct slot *next = NULL;
    for (const struct pool *g = pool; g != NULL; g = g->before) {
        for (uint32_t i = 0; i < g->n_slots; i++) {
            struct slot *s = g->slots[i];
            if (!s->outdated || s->leaving)
                continue;
            if (s->successor != NULL)
                return NULL;
            if (next == NULL || s->number < next->number)
                next = s;
        }
    }
    return next;
}

static uint32_t being_recycled(const struct pool *pool)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->n_slots; i++)
        n += pool->slots[i]->recycled != RECYCLE_NONE;
    return n;
}

static bool wants_recycling(const struct slot *s)
{
    return s->worker != NULL && s->worker->due != RECYCLE_NONE && s->worker->state == WORKER_RUNNING && !s->worker->draining &&
           !s->leaving && s->successor == NULL && s->replaces == NULL;
}

static void recycle_some(struct pool *pool)
{
    uint32_t room = recycle_room(pool->size.wanted, being_recycled(pool));
    for (uint32_t i = 0; i < pool->n_slots && room > 0; i++) {
        struct slot *s = pool->slots[i];
        if (!wants_recycling(s))
            continue;
        s->recycled = s->worker->due;
        replace(s);
        room--;
    }
}

void staff_renew(struct pool *pool)
{
    if (pools_ending(pool->pools) || pool->over)
        return;
    struct slot *s = next_outdated(pool);
    if (s != NULL)
        replace(s);
    recycle_some(pool);
}

/* ---- from answers ---- */

void staff_recovered(struct pool *pool)
{
    if (!crash_is_over(&pool->crash))
        return;
    sl_log(SL_INFO, "pool_recovered", "pool=%s", pool->cfg->name);
    for (uint32_t i = 0; i < pool->n_slots; i++)
        slot_hurry(pool->slots[i]);
    watch_until(pool, 0);
}

static void look_at_jobs(struct slot *s)
{
    struct worker *w = s->worker;
    struct recycle_seen seen = { .jobs = held_answered(&w->held) };
    if (w->due != RECYCLE_NONE || seen.jobs < w->recycle.jobs)
        return;
    w->due = recycle_due(&w->recycle, &seen);
    staff_renew(newest(s->pool));
}

void staff_answered(struct slot *s)
{
    struct worker *w = s->worker;
    if (w != NULL && w->guest != NULL)
        return; /* it says nothing about our processes */
    if (s->pool->crash.looping && (w == NULL || held_answered(&w->held) > 0))
        staff_recovered(s->pool);
    if (w != NULL && w->state == WORKER_RUNNING && s->pool->cfg->recycle.max_jobs > 0 && !s->pool->ops->per_message)
        look_at_jobs(s);
}
