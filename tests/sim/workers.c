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
        c->id = id;
        sl_idmap_put(&w->charges, key, c);
    }
    return c;
}

/* What was taken from it keeps its place. */
static void start_more(struct world *w, struct worker *k)
{
    for (uint32_t i = 0; i < k->n && i + k->n_late < k->concurrency; i++) {
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
        .uid = uid_of_message(w, hd->d->msg),
        .attempt = hd->d->attempt,
        .last = hd->d->last,
        .redelivered = hd->d->redelivered,
    };
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        consumer_tap(&w->consumers[i]); /* one may have had it in this very turn */
    struct holder h = { .queue = k->queue, .n = k->n, .credit = k->prefetch, .has_last = k->n > 0 && k->held[0].alone };
    d->alone = d->attempt > 1 && d->last;
    restraints_on_delivery(w, k, d, hd->more);
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
    struct hub_consumer_config cfg = { .queue = k->queue, .prefetch = k->prefetch, .concurrency = k->concurrency, .time_limit_ms = k->limit_ms, .external = k->external, .batch_max = k->batch_max, .batch_wait_ms = k->batch_wait_ms, .limit = w->restraints[k->queue].limit, .ops = &ops, .arg = k };
    k->n = k->n_late = 0;
    k->more = false;
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
    if (c->most >= cfg->max_attempts || (a != NULL && a->verb == QUEUE_KILL) || lines_kill(w, queue, &w->uids[d->uid]))
        w->uids[d->uid].died |= (uint8_t)(1u << queue);
}

/* A message of a worker's. */
struct publish {
    uint32_t uid;
    uint8_t queues;
    char payload[512], topic[32];
    struct message_parts parts; /* views into the others */
};

/* The model of decisions 32 and 33. */
static void charge_held(struct world *w, struct worker *k, bool orderly)
{
    for (uint32_t i = 0; i < k->n; i++) {
        struct delivery *d = &k->held[i];
        struct charge *c = charge_of(w, d->id, k->queue);
        bool started = d->started_ms != 0;
        bool past = started && k->limit_ms != 0 && w->now.mono_ms >= d->started_ms + k->limit_ms;
        c->live = false;
        if (orderly || !(k->overdue ? past : started))
            continue;
        charge_failed(w, k->queue, d, NULL, true);
        c->suspect_boot = k->batch_max > 0 ? w->boot : 0;
    }
}

/* The next one that the hub has taken; k->n: there is none. */
static uint32_t taken_away(const struct world *w, const struct worker *k)
{
    uint32_t i = 0;
    while (i < k->n && queue_lease_holder(hub_queue(w->hub, k->queue), k->held[i].lease) != 0)
        i++;
    return i;
}

static void notice(struct world *w, struct worker *k)
{
    uint32_t i;
    while ((i = taken_away(w, k)) < k->n) {
        struct delivery d = k->held[i];
        bool past = d.started_ms != 0 && w->now.mono_ms >= d.started_ms + k->limit_ms;
        if (d.started_ms != 0 && !past)
            world_fail(w, "message %016" PRIx64 " is taken from a worker before its time is over", d.id);
        world_trace(w, "worker %u (q%u): u%08u is taken", (uint32_t)(k - w->workers), k->queue, d.uid);
        if (past)
            charge_failed(w, k->queue, &d, NULL, true);
        if (past && k->batch_max > 0)
            charge_of(w, d.id, k->queue)->suspect_boot = w->boot;
        k->late[k->n_late++] = d.lease; /* before what waits behind it could start */
        forget(w, k, i);
    }
}

void workers_notice(struct world *w)
{
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        if (w->workers[i].external && w->workers[i].consumer != 0)
            notice(w, &w->workers[i]);
    }
}

void worker_answer_late(struct world *w, struct worker *k)
{
    while (k->n_late > 0) {
        struct hub_answer a = { .lease = k->late[--k->n_late], .verb = { .verb = QUEUE_ACK } };
        if (hub_answer(w->hub, k->consumer, &a) == SL_OK)
            world_fail(w, "%s", "the answer to what was taken away is taken");
        start_more(w, k);
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
    k->n = k->n_late = 0;
    k->more = false;
    w->counts[SIM_DEATHS] += !orderly;
}

static void publish_parts(struct world *w, struct publish *p)
{
    p->uid = uid_new(w, uid_topic(w), 0);
    p->queues = uid_queues(w, &w->uids[p->uid]);
    uid_payload(w, p->uid, p->payload, sizeof p->payload);
    snprintf(p->topic, sizeof p->topic, "t/%u", w->uids[p->uid].topic);
    p->parts = (struct message_parts){
        .protocol = MESSAGE_WORKER, .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(p->topic), .payload = sl_str(p->payload),
    };
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        w->over[q] += (uint32_t)p->queues >> q & 1u;
}

static void give(struct world *w, struct worker *k, uint32_t i, struct hub_answer *a)
{
    struct delivery d = k->held[i];
    a->lease = d.lease;
    world_trace(w, "worker %u (q%u): u%08u answered with %u", (uint32_t)(k - w->workers), k->queue, d.uid, a->verb.verb);
    if (hub_answer(w->hub, k->consumer, a) != SL_OK)
        world_fail(w, "the answer to a live delivery of %016" PRIx64 " is called stale", d.id);
    if (a->verb.verb == QUEUE_ACK) {
        w->uids[d.uid].worked[k->queue]++;
        charge_of(w, d.id, k->queue)->acked_boot = w->boot;
        w->counts[SIM_WORKED]++;
    } else if (a->verb.verb == QUEUE_RETRY || a->verb.verb == QUEUE_KILL) {
        charge_failed(w, k->queue, &d, &a->verb, true);
    }
    forget(w, k, i);
}

static void answer(struct world *w, struct worker *k, uint32_t i, enum queue_verb verb)
{
    struct hub_answer a = { .verb = { .verb = verb }, .reason = sl_str("not today") };
    if (verb == QUEUE_RETRY && chance(w, 30)) {
        a.verb.has_delay = true;
        a.verb.delay_ms = pick(w, 500);
    }
    give(w, k, i, &a);
}

/* The message is done and another comes of it: one step. */
static void answer_with_publish(struct world *w, struct worker *k, uint32_t i)
{
    struct delivery d = k->held[i];
    struct publish p;
    enum hub_published fate;
    publish_parts(w, &p);
    world_trace(w, "u%08u comes of u%08u", p.uid, d.uid);
    give(w, k, i, &(struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .publishes = &p.parts, .n_publishes = 1, .published = &fate });
    if (fate == HUB_PUBLISH_TOPIC || (fate == HUB_PUBLISH_NOBODY && p.queues != 0) || (fate == HUB_PUBLISH_STORE && hub_health(w->hub) != HUB_BROKEN))
        world_fail(w, "a worker cannot publish u%08u", p.uid);
    if (fate == HUB_PUBLISHED)
        steps_add(w, d.id, k->queue, d.uid, p.uid);
}

/* What a worker publishes on its own; nobody is answered for it. */
static void publish(struct world *w)
{
    struct publish p;
    publish_parts(w, &p);
    int err = hub_publish(w->hub, &p.parts);
    if (err != SL_OK && (err != SL_ENOENT || p.queues != 0)) /* somebody may have subscribed */
        world_fail(w, "a worker cannot publish u%08u", p.uid);
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
    for (uint32_t i = 0; i < (k->batch_max > 0 ? k->n : 1); i++)
        k->held[i].started_ms = w->now.mono_ms; /* a batch has one clock */
}

static void answer_some(struct world *w, struct worker *k, uint32_t i)
{
    enum queue_verb verb = some_verb(w);
    /* In half of the worlds: a step's batch is not held, and what holding does wants to be seen. */
    if (verb == QUEUE_ACK && !w->draining && w->seed % 2 == 1 && chance(w, 20))
        answer_with_publish(w, k, i);
    else
        answer(w, k, i, verb);
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
    else if (k->n_late > 0 && r < 60)
        worker_answer_late(w, k);
    else if (r < 8 && k->n_late == 0)
        answer_wrongly(w, k);
    else if (k->n > 0 && r < 12)
        extend(w, k);
    else if (k->n > 0 && r < 18 && !w->draining)
        publish(w);
    else
        for (uint32_t n = pick(w, k->n + 1); n > 0 && k->n > 0; n--)
            answer_some(w, k, chance(w, 80) ? 0 : pick(w, k->n < k->concurrency ? k->n : k->concurrency));
}

void worker_finish(struct world *w, struct worker *k)
{
    if (k->consumer != 0 && k->overdue)
        worker_end(w, k, false);
    if (k->consumer == 0)
        worker_start(w, k);
    worker_answer_late(w, k);
    while (k->n > 0)
        answer(w, k, 0, QUEUE_ACK);
}
