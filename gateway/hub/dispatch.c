/* Messages out of queues to whom they are leased to, once per turn. */
#include "dead.h"
#include "jobs.h"
#include "operations.h"
#include "trace.h"

#define FETCH_MAX_MESSAGES 1024u
#define FETCH_MAX_BYTES    (8u << 20)
#define EXPIRED_MAX        4096u /* of a queue in one dispatch */
#define TIMES_MAX          16384u /* what time brings to a queue in one turn: due, too old, too many */

static SL_NOINLINE void tell_leased(struct hub *h, uint32_t queue, const struct queue_delivery *d)
{
    if (message_is_job(d->msg))
        jobs_active(h, queue, d);
    if (h->trace != NULL)
        trace_leased(h, queue, d);
}

static SL_ALWAYS_INLINE void pass(struct hub *h, struct hub_queue *hq, const struct queue_delivery *d, bool more)
{
    struct commit *c = &h->commit;
    struct hub_consumer *hc = d->consumer_arg;
    if (d->msg->body_batch == c->open->seq && hq->cfg->durable) {
        /* Twice: an answer that came while the loop was syncing was measured with
         * the sync on top, and would else keep a quick consumer slow for ever. */
        if (!c->slow && queue_consumer_backlog_us(hq->q, d->consumer) > 2 * c->sync_us)
            c->slow = true;
    }
    if (SL_UNLIKELY(h->watched))
        tell_leased(h, (uint32_t)(hq - h->queues), d);
    consumer_lent(h, hc);
    hc->ops->deliver(hc->arg, &(struct hub_delivery){ d, hq->cfg->max_attempts, more }); /* may be the end of it */
}

/* Of a batch each is held back until it is known whether another follows. */
struct held_back {
    bool any;
    uint32_t expired; /* what had, and was in the way */
    struct queue_delivery d;
};

static SL_NOINLINE void pass_held_back(struct hub *h, struct hub_queue *hq, struct held_back *b, bool more)
{
    if (!b->any)
        return;
    b->any = false;
    pass(h, hq, &b->d, more);
}

static SL_NOINLINE void deliver_in_batch(struct hub *h, struct hub_queue *hq, const struct queue_delivery *d, struct held_back *b)
{
    pass_held_back(h, hq, b, b->any && d->consumer == b->d.consumer);
    b->any = true;
    b->d = *d;
}

static void deliver(struct hub *h, struct hub_queue *hq, const struct queue_delivery *d, struct held_back *b)
{
    if (SL_UNLIKELY(d->in_batch)) {
        deliver_in_batch(h, hq, d, b);
        return;
    }
    if (SL_UNLIKELY(b->any))
        pass_held_back(h, hq, b, false);
    pass(h, hq, d, false);
}

static void fetch(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    if (hq->fetching)
        return;
    struct batch_fetch *f = batch_fetch_new(queue, FETCH_MAX_MESSAGES);
    f->n = queue_wanted(hq->q, f->ids, f->entries, FETCH_MAX_MESSAGES, FETCH_MAX_BYTES);
    if (f->n == 0) {
        batch_fetch_free(f);
        return;
    }
    hq->fetching = true;
    h->cfg.store.fetch(h->cfg.store.arg, f);
}

/* False: still without a body, although it is needed. */
static bool give_body(struct hub *h, struct hub_queue *hq, const struct batch_fetch *f, uint32_t i)
{
    if (!queue_has(hq->q, f->entries[i], f->ids[i])) {
        if (f->msgs[i] != NULL)
            message_unref(f->msgs[i]); /* it left the queue meanwhile */
        return true;
    }
    if (f->msgs[i] == NULL) {
        sl_log(SL_ERROR, "body_missing", "queue=%s id=%016llx error=%s", hq->cfg->name, (unsigned long long)f->ids[i], sl_err_name(f->err));
        queue_body_failed(hq->q, f->entries[i], f->ids[i]);
        return false;
    }
    queue_give_body(hq->q, f->entries[i], f->ids[i], f->msgs[i]);
    message_unref(f->msgs[i]);
    h->counters.bodies_fetched++;
    return true;
}

static void give_bodies(struct hub *h, const struct batch_fetch *f)
{
    struct hub_queue *hq = &h->queues[f->queue];
    hq->fetching = false;
    hub_recount(h, hq);
    bool useful = false;
    for (uint32_t i = 0; i < f->n; i++)
        useful = give_body(h, hq, f, i) || useful;
    if (useful)
        hub_heat(h, f->queue);
}

void hub_fetched(struct hub *h, struct batch_fetch *f)
{
    switch (f->wanted_for) {
    case BATCH_FETCH_FOR_DISPATCH:
        give_bodies(h, f);
        break;
    case BATCH_FETCH_FOR_LOOK:
        look_fetched(h, f);
        break;
    case BATCH_FETCH_FOR_DEAD:
        dead_fetched(h, f); /* keeps it */
        return;
    }
    batch_fetch_free(f);
}

/* False: nothing more can be done with this queue now. */
static bool dispatch_step(struct hub *h, uint32_t queue, struct held_back *b)
{
    struct hub_queue *hq = &h->queues[queue];
    struct queue_delivery d;
    struct queue_change change;
    switch (queue_dispatch(hq->q, &h->now, &d, &change)) {
    case QUEUE_IDLE:
        return false;
    case QUEUE_DELIVER:
        deliver(h, hq, &d, b);
        return true;
    case QUEUE_DROP:
        record_change(h, queue, &change, NULL);
        return ++b->expired < EXPIRED_MAX;
    case QUEUE_FETCH:
        fetch(h, queue);
        return !hq->fetching;
    }
    return false;
}

/* True: so much had expired that the rest is left to the next turn. */
static bool dispatch_queue(struct hub *h, uint32_t queue)
{
    struct held_back b;
    b.any = false;
    b.expired = 0;
    while (dispatch_step(h, queue, &b))
        ;
    pass_held_back(h, &h->queues[queue], &b, false);
    queue_batch_end(h->queues[queue].q);
    return b.expired == EXPIRED_MAX;
}

static void overdue(struct hub *h, struct hub_queue *hq)
{
    uint32_t slot;
    void *arg;
    while (queue_overdue(hq->q, &h->now, &slot, &arg)) {
        struct hub_consumer *hc = arg;
        if (hc->external)
            consumer_expire(h, hc);
        else
            hc->ops->overdue(hc->arg);
    }
}

/* What nobody could take will be finished within the next turn, if consumers
 * keep the pace of this one. Else the new messages must not wait for that. */
static void judge_pace(struct hub *h, struct hub_queue *hq)
{
    if (hq->entered) {
        struct queue_depth d;
        queue_depth(hq->q, &d);
        if (d.count[QUEUE_READY] > hq->answered)
            h->commit.slow = true;
    }
    hq->entered = false;
    hq->answered = 0;
}

static void settle_queue(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    struct queue_change change;
    hub_recount(h, hq);
    overdue(h, hq);
    uint32_t left = TIMES_MAX;
    for (; left > 0 && queue_tick(hq->q, &h->now, &change); left--)
        record_change(h, queue, &change, NULL);
    bool more = false;
    if (!h->draining && h->commit.health != HUB_BROKEN)
        more = dispatch_queue(h, queue);
    for (; left > 0 && queue_trim_dead(hq->q, &change); left--) /* also of what expired just now */
        record_dead_over_cap(h, queue, &change);
    judge_pace(h, hq);
    uint64_t at = more || left == 0 ? h->now.mono_ms : queue_deadline(hq->q);
    if (at == UINT64_MAX)
        sl_timer_clear(&h->queue_timers, &hq->timer);
    else
        sl_timer_set(&h->queue_timers, &hq->timer, at);
}

void dispatch_hot(struct hub *h)
{
    while (h->hot != 0) {
        uint32_t queue = h->hot - 1;
        struct hub_queue *hq = &h->queues[queue];
        h->hot = hq->next_hot;
        settle_queue(h, queue);
        hq->hot = false; /* only now: what settling touched is settled already */
    }
}

void queue_timers_tick(struct hub *h)
{
    struct sl_timer *t;
    while ((t = sl_timers_pop_due(&h->queue_timers, h->now.mono_ms)) != NULL)
        hub_heat(h, (uint32_t)(SL_CONTAINER(t, struct hub_queue, timer) - h->queues));
}
