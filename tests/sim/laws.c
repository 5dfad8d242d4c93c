/* The laws while the world moves: contract.md §2, each said once. What must
 * hold when nothing is under way is in laws_at_rest.c. */
#include "consumers.h"
#include "subscribers.h"

/* ---- 1. accepted means kept ---- */

bool uid_has_ended(const struct world *w, const struct uid *u)
{
    if (u->expiry_ms == 0)
        return false;
    return u->absolute_end ? w->latest_wall >= u->ends_at : w->latest_steady >= u->first_sent + u->expiry_ms;
}

static bool uid_may_have_expired(const struct world *w, const struct uid *u, uint32_t q)
{
    uint64_t ttl_ms = w->queues[q].ttl_ms;
    return uid_has_ended(w, u) || (ttl_ms != 0 && w->latest_steady >= u->first_sent + ttl_ms);
}

bool uid_may_have_died(const struct world *w, const struct uid *u, uint32_t q)
{
    return (u->died & 1u << q) != 0 || (w->queues[q].dead_expired && uid_may_have_expired(w, u, q));
}

bool uid_may_have_left(const struct world *w, const struct uid *u, uint32_t q)
{
    const struct queue_config *cfg = &w->queues[q];
    bool bounded_dead = cfg->dead_max_messages < SIM_DEAD_MANY || cfg->dead_ttl_ms != 0;
    bool expired = uid_may_have_expired(w, u, q) && (!cfg->dead_expired || bounded_dead);
    return (u->excused & 1u << q) != 0 || cfg->overflow == QUEUE_DROP_OLDEST || expired || (bounded_dead && (u->died & 1u << q) != 0);
}

/* On the disk, or finished with. */
void law_accepted_is_kept(const struct world *w, uint32_t uid)
{
    const struct uid *u = &w->uids[uid];
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if ((uid_queues(w, u) & 1u << q) == 0 || !w->queues[q].durable || uid_may_have_left(w, u, q))
            continue;
        if (u->stored[q] == 0 && u->worked[q] == 0 && !moves_keep(w, u, q) && !duplicates_keep(w, u, q))
            world_fail(w, "u%08u (QoS %u) is acknowledged, and in queue q%u it is neither stored nor worked", uid, u->qos, q);
    }
}

void laws_on_ack(struct world *w, uint32_t uid)
{
    w->uids[uid].acked = true;
    w->counts[SIM_ACKED]++;
    if (w->uids[uid].cancelled)
        world_fail(w, "u%08u was taken back and is acknowledged", uid);
    w->uids[uid].acked_step = w->step;
    world_trace(w, "u%08u acknowledged", uid);
    w->unjudged = true;
    laws_of_acks(w);
}

void laws_of_acks(struct world *w)
{
    if (!w->unjudged || consumers_tapping(w))
        return; /* what others have had in this turn is not all known yet */
    w->unjudged = false;
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        consumer_tap(&w->consumers[i]);
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        if (!w->uids[uid].acked || w->uids[uid].acked_step != w->step)
            continue;
        law_accepted_is_kept(w, uid);
        law_waits_or_came(w, uid);
    }
}

/* ---- 3. one holder; attempts; the last alone ---- */

static void one_holder(const struct world *w, const struct delivery *d, const struct charge *c)
{
    if (c->live && c->by != NULL)
        consumer_tap(c->by); /* it may have lost it in this very turn */
    if (c->live)
        world_fail(w, "message %016" PRIx64 " is held by two consumers", d->id);
    if (c->done)
        world_fail(w, "message %016" PRIx64 " comes again, and that its ACK is stored was confirmed", d->id);
    if (c->acked_boot == w->boot)
        world_fail(w, "message %016" PRIx64 " comes again, and was acknowledged", d->id);
}

/* Whoever may have had it before says so, and of what is new nobody does. */
static void redelivery_is_told(const struct world *w, const struct delivery *d, const struct charge *c)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS && !c->given && d->redelivered; i++)
        consumer_tap(&w->consumers[i]); /* one may have had it in this very turn */
    if (c->given && !d->redelivered)
        world_fail(w, "message %016" PRIx64 " comes again and does not say so", d->id);
    if (!c->given && d->redelivered && d->id >> 40 == w->boot)
        world_fail(w, "message %016" PRIx64 " comes for the first time as redelivered", d->id);
}

static void attempts_are_as_charged(const struct world *w, const struct holder *h, const struct delivery *d, const struct charge *c)
{
    uint32_t max = w->queues[h->queue].max_attempts;
    if (d->attempt < c->least + 1 || d->attempt > c->most + 1)
        world_fail(w, "message %016" PRIx64 " of queue q%u (u%08u) has attempt %u, charged were %u to %u", d->id, h->queue, d->uid, d->attempt, c->least, c->most);
    if (d->attempt > max)
        world_fail(w, "message %016" PRIx64 " has attempt %u of %u", d->id, d->attempt, max);
    if (w->now.steady_ms < c->not_before)
        world_fail(w, "message %016" PRIx64 " comes %" PRIu64 " ms before its retry is due", d->id, c->not_before - w->now.steady_ms);
    bool alone = d->attempt > 1 && d->attempt == max;
    if (alone && h->n > 0)
        world_fail(w, "the last attempt of %016" PRIx64 " joins %u others", d->id, h->n);
    if (h->has_last)
        world_fail(w, "message %016" PRIx64 " joins a last attempt", d->id);
    if (h->n >= h->credit)
        world_fail(w, "a %s holds more than its %s", h->by != NULL ? "consumer" : "worker", h->by != NULL ? "credit" : "prefetch");
}

/* What the producer said about its time. */
static void time_is_kept(const struct world *w, const struct uid *u, uint32_t uid)
{
    const struct sl_now *now = &w->now;
    if (now->steady_ms < u->first_sent + u->delay_ms)
        world_fail(w, "u%08u is leased %" PRIu64 " ms before its delay is over", uid, u->first_sent + u->delay_ms - now->steady_ms);
    bool over = u->absolute_end ? now->wall_ms >= u->ends_at : now->steady_ms >= u->last_sent + u->expiry_ms;
    if (u->expiry_ms != 0 && over)
        world_fail(w, "u%08u is leased after it has expired", uid);
}

/* A QoS 2 publish is one message, and nobody sees it before it is stored. */
static void exactly_once(const struct world *w, struct uid *u, const struct delivery *d, uint32_t q)
{
    if (u->only_id[q] == 0)
        u->only_id[q] = d->id;
    else if (u->exactly_once && u->only_id[q] != d->id)
        world_fail(w, "QoS 2 u%08u has two ids, %016" PRIx64 " and %016" PRIx64, d->uid, u->only_id[q], d->id);
    if (u->qos == 2 && w->queues[q].durable && u->stored[q] == 0)
        world_fail(w, "QoS 2 u%08u is leased before it is stored", d->uid);
}

void laws_on_delivery(struct world *w, const struct holder *h, const struct delivery *d)
{
    uint32_t q = h->queue;
    if (d->uid >= w->n_uids)
        world_fail(w, "message %016" PRIx64 " was altered", d->id);
    struct uid *u = &w->uids[d->uid];
    uid_names(w, d->id, d->uid);
    if ((uid_queues(w, u) & 1u << q) == 0 && !moves_lead_to(w, u, q))
        world_fail(w, "u%08u came to queue q%u, where no route leads", d->uid, q);
    if (u->cancelled)
        world_fail(w, "u%08u was taken back and is leased", d->uid);
    if (hub_health(w->hub) == HUB_BROKEN)
        world_fail(w, "message %016" PRIx64 " is leased although the store is broken", d->id);
    if (w->draining)
        world_fail(w, "message %016" PRIx64 " is leased although the gateway drains", d->id);
    workers_notice(w);
    struct charge *c = charge_of(w, d->id, q);
    one_holder(w, d, c);
    deal_undone(w, c->deal, d->id, q);
    deal_seen(w, u->deal, d->uid);
    redelivery_is_told(w, d, c);
    attempts_are_as_charged(w, h, d, c);
    if (moves_lead_to(w, u, q)) {
        u->only_id[q] = d->id; /* it has another id, and no end of its own */
    } else {
        time_is_kept(w, u, d->uid);
    }
    exactly_once(w, u, d, q);
    lines_on_delivery(w, h, d);
    if (!moves_lead_to(w, u, q))
        duplicates_seen(w, q, d->id, d->uid, false);
    duplicates_on_delivery(w, q, d);
    operators_on_delivery(w, q, d);
    c->live = c->given = true;
    c->given_boot = w->boot;
    c->given_step = w->step;
    c->by = h->by;
    c->uid = d->uid;
    c->queue = q;
    c->suspect_boot = 0;
    c->deal = 0;
}

/* ---- sessions and wills ---- */

void laws_on_connack(struct world *w, struct device *d, bool present)
{
    if (d->clean && present)
        world_fail(w, "device %u asked for a clean start and has a session", d->number);
    bool within = d->sure_s == UINT32_MAX || w->now.wall_ms < d->sure_until;
    if (!d->clean && !present && d->session_stored && within)
        world_fail(w, "the session of device %u is lost after %" PRIu64 " ms of %u s", d->number, w->now.wall_ms - d->left_wall, d->sure_s);
    d->session_stored = d->session_stored && present;
}

uint64_t laws_wills(const struct world *w)
{
    return hub_counters(w->hub)->wills_published + hub_counters(w->hub)->wills_dropped;
}

/* A will is a publish that nobody is told of: of one that is stored all is
 * promised that an acknowledged one promises. */
void laws_on_will(struct world *w, uint32_t uid, bool stored)
{
    uid_sent(w, uid);
    laws_expect(w, uid);
    w->uids[uid].promised = stored;
}

/* The will of a connection that ended without a goodbye is published, or
 * refused and counted. */
void laws_on_loss(struct world *w, struct hub_client *c, uint32_t will)
{
    uint64_t before = laws_wills(w);
    bool delayed = will != SIM_NO_UID && w->uids[will].will_delay_s > 0;
    hub_client_closed(c);
    if (w->dying || delayed)
        return; /* or published at once, when its session has ended */
    uint64_t published = laws_wills(w) - before;
    if (will != SIM_NO_UID && published == 0)
        world_fail(w, "the will u%08u is neither published nor counted", will);
    if (published > 1)
        world_fail(w, "%" PRIu64 " wills are published when one client is lost", published);
}

/* Wills without a delay are published when the connection is taken over; when
 * the newer one was refused, they still wait for the end of the older. */
void laws_on_takeover(struct device *d, uint64_t wills_before)
{
    if (d->ghost == NULL || d->ghost_will == SIM_NO_UID || laws_wills(d->w) == wills_before)
        return;
    laws_on_will(d->w, d->ghost_will, false);
    d->ghost_will = SIM_NO_UID;
}

/* ---- 2. nothing leaves but by a counted exit; 5. bounded ---- */

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void exits_add_up(const struct world *w, uint32_t q)
{
    struct queue *queue = hub_queue(w->hub, q);
    const struct queue_counters *c = queue_counters(queue);
    const struct queue_config *cfg = &w->queues[q];
    struct queue_depth d;
    queue_depth(queue, &d);
    uint64_t in = c->accepted + w->accepted_base[q];
    uint64_t out = c->acked + c->expired + c->dropped + c->dead_dropped + c->dead_expired + c->purged + c->cancelled + c->replaced + c->moved + c->dead_removed;
    uint64_t depth = d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED];
    if (in != out + depth + d.count[QUEUE_DEAD])
        world_fail(w, "queue q%u took %" PRIu64 ", let %" PRIu64 " go and has %" PRIu64, q, in, out, depth + d.count[QUEUE_DEAD]);
    /* What was restored may stand above the limit, and what workers published. */
    uint64_t over = w->over[q] + moves_over_limit(w, q);
    if (depth > more(cfg->max_messages, w->accepted_base[q]) + over)
        world_fail(w, "queue q%u has %" PRIu64 " of %" PRIu64 " messages, %" PRIu64 " may stand above", q, depth, cfg->max_messages, over);
    if (d.bytes > more(cfg->max_bytes, w->base_bytes[q]) + (over + c->replaced) * 1024) /* a newer one may be larger than that whose place it takes */
        world_fail(w, "queue q%u has %" PRIu64 " of %" PRIu64 " bytes", q, d.bytes, cfg->max_bytes);
    bool at_rest = hub_deadline_us(w->hub) > w->mono_us; /* else they are cut back in the next turn */
    if (d.count[QUEUE_DEAD] > cfg->dead_max_messages && at_rest)
        world_fail(w, "queue q%u has %" PRIu64 " of %" PRIu64 " dead letters", q, d.count[QUEUE_DEAD], cfg->dead_max_messages);
}

void laws_after_step(struct world *w)
{
    hub_check(w->hub);
    restraints_after_step(w);
    overload_after_step(w);
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        exits_add_up(w, q);
    if (hub_memory_bytes(w->hub) > 1u << 20)
        world_fail(w, "%" PRIu64 " bytes are held in memory", hub_memory_bytes(w->hub));
    for (uint32_t i = 0; i < SIM_DEVICES; i++) {
        if (w->devices[i].greeted && w->devices[i].ghost != NULL)
            world_fail(w, "device %u has two connections with one identity", i);
    }
    laws_of_subscribers_after_step(w);
    laws_of_consumers_after_step(w);
    laws_when_flushed(w);
    if (w->step % 16 != 0)
        return;
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        if (w->uids[uid].acked) {
            law_accepted_is_kept(w, uid);
            law_waits_or_came(w, uid);
        }
    }
}
