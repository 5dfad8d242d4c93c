/* Fake workers: they ack, fail, give back, kill, answer twice, answer for
 * others, hang until their limit, and die. They keep the model of what may be
 * charged: only what was started. */
#include "consumers.h"

struct charge *charge_of(struct world *w, uint64_t id, uint32_t queue)
{
    uint64_t key = id * SIM_QUEUES + queue;
    struct charge *c = sl_idmap_get(&w->charges, key);
    if (c == NULL) {
        c = SL_NEW(struct charge);
        sl_idmap_put(&w->charges, key, c);
    }
    return c;
}

static void start_more(struct world *w, struct worker *k)
{
    for (uint32_t i = 0; i < k->n && i < k->concurrency; i++) {
        if (k->held[i].started_ms == 0)
            k->held[i].started_ms = w->now.mono_ms;
    }
}

static void on_deliver(void *arg, const struct hub_delivery *hd)
{
    struct worker *k = arg;
    struct world *w = k->w;
    if (k->n == SIM_HELD)
        world_fail(w, "a worker holds more than its prefetch");
    struct delivery *d = &k->held[k->n];
    *d = (struct delivery){
        .lease = hd->d->lease,
        .id = message_id(hd->d->msg),
        .uid = uid_of(message_payload(hd->d->msg)),
        .attempt = hd->d->attempt,
        .last = hd->d->last,
        .redelivered = hd->d->redelivered,
    };
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        consumer_tap(&w->consumers[i]); /* one may have had it in this very turn */
    struct holder h = { .queue = k->queue, .n = k->n, .credit = k->prefetch, .has_last = k->n > 0 && k->held[0].attempt > 1 && k->held[0].last };
    laws_on_delivery(w, &h, d);
    world_trace(w, "to worker %u (q%u): u%08u attempt %u%s", (uint32_t)(k - w->workers), k->queue, d->uid, d->attempt, d->redelivered ? " again" : "");
    k->n++;
    start_more(w, k);
    w->counts[SIM_DELIVERIES]++;
    w->counts[SIM_REDELIVERIES] += hd->d->redelivered;
}

static void on_overdue(void *arg)
{
    struct worker *k = arg;
    k->overdue = true;
}

static const struct hub_consumer_ops ops = { on_deliver, on_overdue };

void worker_start(struct world *w, struct worker *k)
{
    struct hub_consumer_config cfg = { .queue = k->queue, .prefetch = k->prefetch, .concurrency = k->concurrency, .time_limit_ms = k->limit_ms, .ops = &ops, .arg = k };
    k->n = 0;
    k->overdue = false;
    k->consumer = hub_consumer_add(w->hub, &cfg);
}

static void forget(struct world *w, struct worker *k, uint32_t i)
{
    charge_of(w, k->held[i].id, k->queue)->live = false;
    k->stale_lease = k->held[i].lease;
    memmove(&k->held[i], &k->held[i + 1], (k->n - i - 1) * sizeof k->held[0]);
    k->n--;
    start_more(w, k);
}

void charge_failed(struct world *w, uint32_t queue, const struct delivery *d, const struct queue_answer *a, bool sure)
{
    const struct queue_config *cfg = &w->queues[queue];
    struct charge *c = charge_of(w, d->id, queue);
    c->least += sure;
    c->most++;
    uint64_t wait_ms = (uint64_t)((double)cfg->retry_initial_ms * (1.0 - cfg->retry_jitter));
    c->not_before = sure ? w->now.steady_ms + (a != NULL && a->has_delay ? a->delay_ms : wait_ms) : 0;
    if (c->most >= cfg->max_attempts || (a != NULL && a->verb == QUEUE_KILL))
        w->uids[d->uid].died |= (uint8_t)(1u << queue);
}

/* The model of decisions 32 and 33. */
static void charge_held(struct world *w, struct worker *k, bool orderly)
{
    for (uint32_t i = 0; i < k->n; i++) {
        struct delivery *d = &k->held[i];
        struct charge *c = charge_of(w, d->id, k->queue);
        bool started = d->started_ms != 0;
        bool past = started && k->limit_ms != 0 && w->now.mono_ms >= d->started_ms + k->limit_ms;
        c->live = false;
        if (!orderly && (k->overdue ? past : started))
            charge_failed(w, k->queue, d, NULL, true);
    }
}

void worker_end(struct world *w, struct worker *k, bool orderly)
{
    struct hub_loss loss = {
        .cause = chance(w, 50) ? QUEUE_CAUSE_EXIT : QUEUE_CAUSE_SIGNAL,
        .timeout = k->overdue,
        .charge_none = orderly,
        .detail = sl_str("signal 9"),
        .tail = sl_str("last words"),
    };
    charge_held(w, k, orderly);
    world_trace(w, "worker %u (q%u) ends", (uint32_t)(k - w->workers), k->queue);
    hub_consumer_lost(w->hub, k->consumer, &loss);
    k->consumer = 0;
    k->n = 0;
    w->counts[SIM_DEATHS] += !orderly;
}

static void answer(struct world *w, struct worker *k, uint32_t i, enum queue_verb verb)
{
    struct delivery d = k->held[i];
    struct hub_answer a = { .lease = d.lease, .verb = { .verb = verb }, .reason = sl_str("not today") };
    if (verb == QUEUE_RETRY && chance(w, 30)) {
        a.verb.has_delay = true;
        a.verb.delay_ms = pick(w, 500);
    }
    world_trace(w, "worker %u (q%u): u%08u answered with %u", (uint32_t)(k - w->workers), k->queue, d.uid, verb);
    if (hub_answer(w->hub, k->consumer, &a) != SL_OK)
        world_fail(w, "the answer to a live delivery of %016" PRIx64 " is called stale", d.id);
    if (verb == QUEUE_ACK) {
        w->uids[d.uid].worked[k->queue]++;
        charge_of(w, d.id, k->queue)->acked_boot = w->boot;
        w->counts[SIM_WORKED]++;
    } else if (verb == QUEUE_RETRY || verb == QUEUE_KILL) {
        charge_failed(w, k->queue, &d, &a.verb, true);
    }
    forget(w, k, i);
}

/* What a worker publishes is committed with its ack; nobody is answered for it. */
static void publish(struct world *w)
{
    char payload[512], topic[32];
    uint32_t uid = uid_new(w, uid_topic(w), 0);
    uint8_t queues = uid_queues(w, &w->uids[uid]);
    uid_payload(w, uid, payload, sizeof payload);
    snprintf(topic, sizeof topic, "t/%u", w->uids[uid].topic);
    struct message_parts parts = {
        .protocol = MESSAGE_WORKER, .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(topic), .payload = sl_str(payload),
    };
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        w->over[q] += (uint32_t)queues >> q & 1u;
    int err = hub_publish(w->hub, &parts);
    if (err != SL_OK && (err != SL_ENOENT || queues != 0)) /* somebody may have subscribed */
        world_fail(w, "a worker cannot publish u%08u", uid);
}

static void answer_wrongly(struct world *w, struct worker *k)
{
    struct hub_answer a = { .lease = k->stale_lease, .verb = { .verb = QUEUE_ACK } };
    const struct worker *other = &w->workers[pick(w, SIM_WORKERS)];
    if (other != k && other->consumer != 0 && other->n > 0 && other->queue == k->queue)
        a.lease = other->held[0].lease;
    if (a.lease != 0 && hub_answer(w->hub, k->consumer, &a) == SL_OK)
        world_fail(w, "a stale or foreign answer was taken");
}

static enum queue_verb some_verb(struct world *w)
{
    uint32_t r = pick(w, 100);
    return r < 70 ? QUEUE_ACK : r < 85 ? QUEUE_RETRY : r < 96 ? QUEUE_RELEASE : QUEUE_KILL;
}

static void extend(struct world *w, struct worker *k)
{
    if (k->limit_ms == 0)
        return;
    if (hub_extend(w->hub, k->consumer, k->held[0].lease, k->limit_ms) != SL_OK)
        world_fail(w, "a live delivery of %016" PRIx64 " cannot be extended", k->held[0].id);
    k->held[0].started_ms = w->now.mono_ms;
}

void worker_step(struct world *w, struct worker *k)
{
    if (k->consumer == 0) {
        worker_start(w, k);
        return;
    }
    uint32_t r = pick(w, 100);
    if (k->overdue || r < 4)
        worker_end(w, k, !k->overdue && r == 0);
    else if (r < 8)
        answer_wrongly(w, k);
    else if (k->n > 0 && r < 12)
        extend(w, k);
    else if (k->n > 0 && r < 18 && !w->draining)
        publish(w);
    else
        for (uint32_t n = pick(w, k->n + 1); n > 0 && k->n > 0; n--)
            answer(w, k, chance(w, 80) ? 0 : pick(w, k->n < k->concurrency ? k->n : k->concurrency), some_verb(w));
}

void worker_finish(struct world *w, struct worker *k)
{
    if (k->consumer != 0 && k->overdue)
        worker_end(w, k, false);
    if (k->consumer == 0)
        worker_start(w, k);
    while (k->n > 0)
        answer(w, k, 0, QUEUE_ACK);
}
