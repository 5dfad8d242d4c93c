/* Consumers: a pool's workers and clients' consumers as the hub sees them, and
 * their answers. */
#include "results.h"

uint64_t hub_consumer_add(struct hub *h, const struct hub_consumer_config *cfg)
{
    SL_ASSERT(cfg->queue < h->n_queues);
    struct hub_consumer *hc = SL_NEW(struct hub_consumer);
    *hc = (struct hub_consumer){ .id = ++h->next_consumer, .queue = cfg->queue, .elsewhere = cfg->elsewhere || cfg->external, .external = cfg->external, .name = cfg->name, .ops = cfg->ops, .arg = cfg->arg };
    struct queue_consumer_config qc = {
        .prefetch = cfg->prefetch,
        .concurrency = cfg->concurrency,
        .fixed_credit = cfg->fixed_credit,
        .time_limit_ms = cfg->time_limit_ms,
        .lives_on = cfg->external,
        .batch_max = cfg->batch_max,
        .batch_wait_ms = cfg->batch_wait_ms,
        .limit = cfg->limit,
        .arg = hc,
    };
    hc->slot = queue_consumer_add(h->queues[cfg->queue].q, &qc);
    sl_idmap_put(&h->consumers, hc->id, hc);
    hub_heat(h, cfg->queue);
    return hc->id;
}

static struct hub_consumer *consumer_of(const struct hub *h, uint64_t id)
{
    struct hub_consumer *hc = sl_idmap_get(&h->consumers, id);
    SL_ASSERT(hc != NULL);
    return hc;
}

uint32_t hub_limit_add(struct hub *h, uint32_t queue, uint64_t per_second)
{
    return queue_limit_add(h->queues[queue].q, per_second);
}

void hub_limit_set(struct hub *h, uint32_t queue, uint32_t limit, uint64_t per_second)
{
    queue_limit_set(h->queues[queue].q, limit, per_second);
    hub_heat(h, queue);
}

void hub_limit_keys(struct hub *h, uint32_t queue, const struct queue_key_limit *limit)
{
    queue_limit_keys(h->queues[queue].q, limit);
    hub_heat(h, queue);
}

void hub_queue_pressure(const struct hub *h, uint32_t queue, struct queue_pressure *out)
{
    queue_pressure(h->queues[queue].q, &h->now, out);
}

void hub_consumer_pause(struct hub *h, uint64_t consumer, bool paused)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    queue_consumer_pause(h->queues[hc->queue].q, hc->slot, paused);
    hub_heat(h, hc->queue);
}

void hub_consumer_stop(struct hub *h, uint64_t consumer)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    queue_consumer_stop(h->queues[hc->queue].q, hc->slot);
}

uint32_t hub_consumer_unanswered(const struct hub *h, uint64_t consumer)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    return queue_consumer_unanswered(h->queues[hc->queue].q, hc->slot);
}

static bool failed(const struct queue_change *change)
{
    return change->cause != QUEUE_CAUSE_NONE && change->fate == QUEUE_MOVED;
}

/* With why it failed, if it did: `detail` and `tail` as struct hub_loss has them. */
static void record_outcome(struct hub *h, uint32_t queue, const struct queue_change *change, struct sl_bytes detail, struct sl_bytes tail)
{
    if (SL_LIKELY(!failed(change))) {
        record_change(h, queue, change, NULL);
        return;
    }
    struct batch_failure f = { h->now.wall_ms, change->attempts, change->cause, detail, tail };
    record_change(h, queue, change, &f);
}

void consumer_count_lent(struct hub *h, struct hub_consumer *hc)
{
    uint64_t now = queue_consumer_unanswered_bytes(h->queues[hc->queue].q, hc->slot);
    h->deliveries.lent_bytes += now;
    h->deliveries.lent_bytes -= hc->lent;
    hc->lent = now;
}

void hub_consumer_lost(struct hub *h, uint64_t consumer, const struct hub_loss *loss)
{
    struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue_loss ql = { loss->cause, loss->timeout, loss->charge_none };
    struct queue_change change;
    while (queue_consumer_lose(h->queues[hc->queue].q, hc->slot, &ql, &h->now, &change))
        record_outcome(h, hc->queue, &change, loss->detail, loss->tail);
    hub_heat(h, hc->queue);
    h->deliveries.lent_bytes -= hc->lent;
    sl_idmap_del(&h->consumers, consumer);
    sl_free(hc);
}

void consumer_expire(struct hub *h, struct hub_consumer *hc)
{
    struct queue_change change;
    while (queue_expire(h->queues[hc->queue].q, hc->slot, &h->now, &change))
        record_outcome(h, hc->queue, &change, sl_str("ack timeout"), SL_BYTES_NONE);
    consumer_lent(h, hc);
    hub_heat(h, hc->queue);
}

/* The pool lets each delivery be answered once, so this answers one that was taken away. */
static void answered_late(struct hub *h, const struct hub_consumer *hc)
{
    if (!hc->external)
        return;
    queue_answered_late(h->queues[hc->queue].q, hc->slot, &h->now);
    hub_heat(h, hc->queue);
}

static struct queue *queue_if_held(struct hub *h, const struct hub_consumer *hc, uint64_t lease)
{
    struct queue *q = h->queues[hc->queue].q;
    if (queue_lease_holder(q, lease) == hc->slot)
        return q;
    h->counters.stale_answers++;
    return NULL;
}

int hub_answer(struct hub *h, uint64_t consumer, const struct hub_answer *a)
{
    struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue *q = queue_if_held(h, hc, a->lease);
    struct queue_change change;
    if (q == NULL)
        answered_late(h, hc);
    if (q == NULL || queue_answer(q, a->lease, &a->verb, &h->now, &change) != SL_OK)
        return SL_ESTATE;
    consumer_lent(h, hc);
    if (SL_UNLIKELY(a->n_publishes > 0 || a->has_result))
        answer_step(h, hc->queue, &change, a);
    else
        record_outcome(h, hc->queue, &change, a->reason, SL_BYTES_NONE);
    return SL_OK;
}

void consumer_give_back(struct hub *h, uint64_t consumer, uint64_t lease, bool seen)
{
    struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue_change change;
    int err = queue_give_back(h->queues[hc->queue].q, lease, seen, &h->now, &change);
    SL_ASSERT(err == SL_OK);
    consumer_lent(h, hc);
    record_change(h, hc->queue, &change, NULL);
}

const struct message *leased_to(struct hub *h, uint64_t consumer, uint64_t lease, uint32_t *queue)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue *q = queue_if_held(h, hc, lease);
    *queue = hc->queue;
    return q == NULL ? NULL : queue_lease_message(q, lease);
}

int hub_extend(struct hub *h, uint64_t consumer, uint64_t lease, uint64_t ms)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue *q = queue_if_held(h, hc, lease);
    if (q == NULL)
        return SL_ESTATE;
    hub_heat(h, hc->queue);
    return queue_extend(q, lease, ms, &h->now);
}

