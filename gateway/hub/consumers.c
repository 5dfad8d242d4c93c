/* Consumers: a pool's workers and clients' consumers as the hub sees them, their
 * answers, and what a worker publishes. */
#include "hub_internal.h"

uint64_t hub_consumer_add(struct hub *h, const struct hub_consumer_config *cfg)
{
    SL_ASSERT(cfg->queue < h->n_queues);
    struct hub_consumer *hc = SL_NEW(struct hub_consumer);
    *hc = (struct hub_consumer){ .id = ++h->next_consumer, .queue = cfg->queue, .elsewhere = cfg->elsewhere, .ops = cfg->ops, .arg = cfg->arg };
    struct queue_consumer_config qc = { .prefetch = cfg->prefetch, .concurrency = cfg->concurrency, .fixed_credit = cfg->fixed_credit, .time_limit_ms = cfg->time_limit_ms, .arg = hc };
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

static struct batch_failure failure_of(const struct hub *h, const struct queue_change *change, struct sl_bytes detail, struct sl_bytes tail)
{
    return (struct batch_failure){ h->now.wall_ms, change->attempts, change->cause, detail, tail };
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
    while (queue_consumer_lose(h->queues[hc->queue].q, hc->slot, &ql, &h->now, &change)) {
        struct batch_failure f = failure_of(h, &change, loss->detail, loss->tail);
        record_change(h, hc->queue, &change, failed(&change) ? &f : NULL);
    }
    hub_heat(h, hc->queue);
    h->deliveries.lent_bytes -= hc->lent;
    sl_idmap_del(&h->consumers, consumer);
    sl_free(hc);
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
    if (q == NULL || queue_answer(q, a->lease, &a->verb, &h->now, &change) != SL_OK)
        return SL_ESTATE;
    consumer_lent(h, hc);
    struct batch_failure f = failure_of(h, &change, a->reason, SL_BYTES_NONE);
    record_change(h, hc->queue, &change, failed(&change) ? &f : NULL);
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

int hub_extend(struct hub *h, uint64_t consumer, uint64_t lease, uint64_t ms)
{
    const struct hub_consumer *hc = consumer_of(h, consumer);
    struct queue *q = queue_if_held(h, hc, lease);
    if (q == NULL)
        return SL_ESTATE;
    hub_heat(h, hc->queue);
    return queue_extend(q, lease, ms, &h->now);
}

int publish_parts(struct hub *h, const struct message_parts *parts, bool over_limit)
{
    if (!route_topic_valid(parts->topic) || topic_is_ours(parts->topic))
        return SL_EINVAL;
    const struct route_set *to = route_match(h->routes, parts->topic);
    if (to->n == 0 && !taken_elsewhere(h, parts->topic, (parts->flags & MESSAGE_RETAIN) != 0)) {
        h->counters.no_taker++;
        return SL_ENOENT;
    }
    struct message_parts own = *parts;
    h->counters.meaning_ignored += meaning_apply(&own, &h->now);
    struct offer o = { .qos = parts->qos, .n = 1, .one = { message_new(&own), to } };
    if (!over_limit && offer_admission(h, &o) != QUEUE_ADMIT) {
        offer_refused(h, &o);
        offer_drop(&o);
        return SL_EFULL;
    }
    offer_enter(h, NULL, &o);
    return SL_OK;
}

int hub_publish(struct hub *h, const struct message_parts *parts)
{
    int err = publish_parts(h, parts, true);
    h->commit.derived = h->commit.derived || err == SL_OK;
    return err;
}
