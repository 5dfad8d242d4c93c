/* Birth, turns and end of the hub. A turn is hub_begin, any number of inputs,
 * hub_end; what happens in between waits in batches and output buffers. */
#include "consumer.h"
#include "dead.h"
#include "dedup.h"
#include "jobs.h"
#include "operations.h"
#include "results.h"
#include "schedules.h"
#include "trace.h"

#define SUBSCRIPTIONS_FIXED (512u << 10)

static void default_limits(struct hub_subscriber_limits *l)
{
    static const struct hub_subscriber_limits usual = {
        .queue_messages = 1000, .queue_bytes = 1u << 20, .in_flight = 100, .subscriptions = 1000, .output_bytes = 256u << 10,
    };
    if (l->in_flight == 0)
        *l = usual;
}

struct hub *hub_new(const struct hub_config *cfg)
{
    struct hub *h = SL_NEW(struct hub);
    h->cfg = *cfg;
    h->next_id = cfg->boot << 40;
    h->routes = route_new();
    h->sessions = sessions_new(cfg->max_sessions);
    h->subscriptions = subscriptions_new();
    default_limits(&h->cfg.subscribers);
    h->retained = retained_new(cfg->retained_messages, cfg->retained_bytes);
    h->sys = cfg->sys_interval_ms > 0 ? sys_new() : NULL;
    h->trace = trace_new(cfg->trace_events);
    h->watched = h->trace != NULL;
    h->scratch_bytes = SL_NEW(uint64_t); /* there may be no queue at all */
    h->scratch_count = SL_NEW(uint32_t);
    sl_slab_init(&h->tickets, sizeof(struct ticket));
    sl_rng_seed(&h->rng, cfg->seed);
    readiness_init(h);
    h->commit.open = batch_new();
    h->commit.stored_id = h->next_id; /* and all of earlier starts */
    h->dedups.next_ms = UINT64_MAX;
    h->commit.open->seq = h->commit.next_seq = 1;
    h->commit.spare = batch_new();
    h->commit.volatiles = batch_new();
    return h;
}

static void parks_free(struct hub *h)
{
    struct parked *p = h->ownerless.head;
    while (p != NULL) {
        struct parked *next = p->next;
        offer_drop(&p->offer);
        sl_free(p);
        p = next;
    }
}

void hub_free(struct hub *h)
{
    if (h == NULL)
        return;
    SL_ASSERT(h->clients.used == 0 && h->consumers.used == 0 && h->commit.inflight == NULL);
    operations_free(h);
    parks_free(h);
    sl_timers_fini(&h->client_timers);
    sl_timers_fini(&h->queue_timers); /* before the queues, which hold them */
    dead_free(h); /* before the queues, as well */
    for (uint32_t i = 0; i < h->n_queues; i++) {
        dedup_free(&h->queues[i]);
        queue_free(h->queues[i].q);
        sl_free(h->queues[i].alone);
        sl_free(h->queues[i].own_name);
        sl_free(h->queues[i].order);
    }
    sl_free(h->queues);
    sl_free(h->by_number);
    sl_free(h->scratch_bytes);
    sl_free(h->scratch_count);
    sl_free(h->dedups.rest);
    deliveries_free(h);
    subscriptions_free(h->subscriptions);
    wills_free(h);
    takeovers_free(h);
    feeds_free(h);
    unanswered_free(h);
    results_free(h);
    jobs_free(h);
    schedules_free(h);
    retained_free(h->retained);
    sys_free(h->sys);
    trace_free(h->trace);
    batch_free(h->commit.open);
    batch_free(h->commit.stuck);
    batch_free(h->commit.settles);
    batch_free(h->commit.spare);
    batch_free(h->commit.volatiles);
    sl_free(h->commit.finished);
    route_free(h->routes);
    sessions_free(h->sessions);
    sl_slab_fini(&h->tickets);
    sl_idmap_fini(&h->clients);
    sl_idmap_fini(&h->consumers);
    sl_idmap_fini(&h->shared);
    sl_idmap_fini(&h->session_numbers);
    sl_free(h);
}

static void number_attach(struct hub *h, uint32_t number, uint32_t index)
{
    if (number >= h->n_numbers) {
        h->by_number = sl_realloc(h->by_number, ((size_t)number + 1) * sizeof *h->by_number);
        memset(h->by_number + h->n_numbers, 0, ((size_t)number + 1 - h->n_numbers) * sizeof *h->by_number);
        h->n_numbers = number + 1;
    }
    SL_ASSERT(h->by_number[number] == 0);
    h->by_number[number] = index + 1;
}

static uint32_t queue_attach(struct hub *h, const struct queue_config *cfg, bool orphan)
{
    if (h->n_queues == h->cap_queues) {
        /* Timers point into the array, but none is armed before the first turn. */
        h->cap_queues = h->cap_queues == 0 ? 8 : h->cap_queues * 2;
        h->queues = sl_realloc(h->queues, h->cap_queues * sizeof *h->queues);
        h->scratch_bytes = sl_realloc(h->scratch_bytes, h->cap_queues * sizeof *h->scratch_bytes);
        h->scratch_count = sl_realloc(h->scratch_count, h->cap_queues * sizeof *h->scratch_count);
    }
    uint32_t index = h->n_queues++;
    struct hub_queue *hq = &h->queues[index];
    *hq = (struct hub_queue){ .q = queue_new(cfg, sl_rng_u64(&h->rng)), .orphan = orphan };
    hq->cfg = queue_config(hq->q);
    hq->alone = sl_alloc(sizeof *hq->alone + sizeof hq->alone->queues[0]);
    hq->alone->n = 1;
    hq->alone->queues[0] = index;
    number_attach(h, cfg->number, index);
    dedup_attach(h, index);
    return index;
}

uint32_t hub_add_queue(struct hub *h, const struct queue_config *cfg)
{
    return queue_attach(h, cfg, false);
}

uint32_t hub_add_orphan(struct hub *h, const struct queue_config *cfg)
{
    struct queue_config own = *cfg;
    size_t n = strlen(cfg->name) + 1;
    char *name = sl_alloc(n);
    memcpy(name, cfg->name, n);
    own.name = name;
    uint32_t index = queue_attach(h, &own, true);
    h->queues[index].own_name = name;
    return index;
}

int hub_add_route(struct hub *h, const char *filter, uint32_t queue)
{
    SL_ASSERT(queue < h->n_queues);
    return route_add(h->routes, sl_str(filter), queue);
}

uint32_t hub_find_queue(const struct hub *h, struct sl_bytes name)
{
    for (uint32_t i = 0; i < h->n_queues; i++) {
        if (sl_bytes_is(name, h->queues[i].cfg->name))
            return i;
    }
    return UINT32_MAX;
}

struct hub_queue *hub_queue_of_number(struct hub *h, uint32_t number)
{
    return number < h->n_numbers && h->by_number[number] != 0 ? &h->queues[h->by_number[number] - 1] : NULL;
}

/* ---- a turn ---- */

void hub_begin(struct hub *h, const struct sl_now *now)
{
    h->now = *now;
    deliveries_begin(h);
}

static void client_timers_tick(struct hub *h)
{
    struct sl_timer *t;
    while ((t = sl_timers_pop_due(&h->client_timers, h->now.mono_ms)) != NULL)
        client_tick(SL_CONTAINER(t, struct hub_client, timer));
}

/* Dispatch runs before the commit, so that what a worker gets at once may
 * never need to be written. */
void hub_lease(struct hub *h)
{
    client_timers_tick(h);
    queue_timers_tick(h);
    sessions_tick(h);
    wills_tick(h);
    takeovers_tick(h);
    retained_tick(h);
    sys_tick(h);
    jobs_tick(h);
    dedup_tick(h);
    deliveries_tick(h);
    schedules_tick(h);
    operations_turn(h);
    park_retry(h);
    dead_turn(h); /* who waits for an answer goes before what waits for room */
    dispatch_hot(h);
    apply_volatiles(h);
}

/* Dispatch runs again, for what waited for the commit. */
void hub_end(struct hub *h)
{
    deliver_turn(h);
    resolve_finished(h);
    commit_turn(h);
    results_turn(h);
    deliver_turn(h);
    if (h->hot != 0) {
        dispatch_hot(h);
        apply_volatiles(h);
        resolve_finished(h); /* what was taken at once: no other turn may come for it */
    }
    jobs_tell(h);
    clients_pump_stirred(h);
    partial_enforce(h);
    hub_refresh_memory(h);
    readiness_turn(h);
}

static uint64_t timers_deadline_us(const struct hub *h)
{
    const struct sl_timers *const all[] = { &h->client_timers, &h->queue_timers, &h->flapping_timers };
    uint64_t ms = wills_deadline_ms(h);
    for (size_t i = 0; i < SL_COUNT(all); i++) {
        uint64_t at = sl_timers_next(all[i]);
        ms = at < ms ? at : ms;
    }
    return ms > UINT64_MAX / 1000 ? UINT64_MAX : ms * 1000; /* a worker may say any delay */
}

uint64_t hub_deadline_us(const struct hub *h)
{
    bool waits = h->n_waiting > 0 || h->ownerless.n > 0;
    if (h->hot != 0 || (waits && h->room_made && !h->draining && h->commit.health == HUB_OK))
        return h->now.mono_us;
    const uint64_t parts[] = { commit_deadline_us(h), sys_deadline_us(h), retained_deadline_us(h), deliveries_deadline_us(h), sessions_deadline_us(h), jobs_deadline_us(h), schedules_deadline_us(h), operations_deadline_us(h), dead_deadline_us(h), readiness_deadline_us(h), dedup_deadline_us(h) };
    uint64_t us = timers_deadline_us(h);
    for (size_t i = 0; i < SL_COUNT(parts); i++)
        us = parts[i] < us ? parts[i] : us;
    return us;
}

/* ---- stopping, status ---- */

void hub_drain(struct hub *h)
{
    h->draining = true;
}

void hub_goodbye(struct hub *h)
{
    struct hub_client *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL)
        hub_client_bye(c, PROTO_BYE_SHUTDOWN);
}

bool hub_flushed(const struct hub *h)
{
    const struct commit *c = &h->commit;
    return c->health == HUB_BROKEN || (c->inflight == NULL && c->stuck == NULL && c->settles == NULL && c->open->live == 0 && c->open->n_tickets == 0 && h->results.head == NULL);
}

uint64_t hub_unanswered(const struct hub *h)
{
    uint64_t sum = 0;
    const struct hub_consumer *hc;
    size_t pos = 0;
    while ((hc = sl_idmap_next(&h->consumers, &pos)) != NULL) {
        if (!hc->elsewhere)
            sum += queue_consumer_unanswered(h->queues[hc->queue].q, hc->slot);
    }
    return sum;
}

uint64_t hub_batch_filling(const struct hub *h)
{
    return h->commit.open->seq;
}

bool hub_batch_stored(const struct hub *h, uint64_t seq)
{
    const struct commit *c = &h->commit;
    bool under_way = c->inflight != NULL && c->inflight->seq == seq;
    bool stuck = c->stuck != NULL && c->stuck->seq == seq;
    return seq != c->open->seq && !under_way && !stuck;
}

enum hub_health hub_health(const struct hub *h)
{
    return h->commit.health;
}

struct gateway_counters *hub_counters(struct hub *h)
{
    return &h->counters;
}

const struct hub_histograms *hub_histograms(const struct hub *h)
{
    return &h->histograms;
}

uint64_t hub_published_id(const struct hub *h)
{
    return h->published_id;
}

uint32_t hub_n_queues(const struct hub *h)
{
    return h->n_queues;
}

struct queue *hub_queue(const struct hub *h, uint32_t index)
{
    SL_ASSERT(index < h->n_queues);
    return h->queues[index].q;
}

/* What remembering takes, whoever subscribes, is nobody's. */
static uint64_t subscriptions_memory(const struct hub *h)
{
    uint64_t bytes = subscriptions_bytes(h->subscriptions);
    return bytes > SUBSCRIPTIONS_FIXED ? bytes - SUBSCRIPTIONS_FIXED : 0;
}

uint64_t hub_memory_bytes(const struct hub *h)
{
    return h->memory + h->parked_bytes + h->gathered_bytes + h->partial_bytes + h->will_bytes + h->feed_ids * sizeof(uint64_t) + h->deliveries.held_bytes + h->deliveries.output_bytes +
           h->results.bytes + h->jobs.bytes + h->unanswered.bytes + h->dead.bytes + h->deliveries.consumer_bytes + operations_bytes(h) + subscriptions_memory(h);
}

uint32_t hub_n_clients(const struct hub *h)
{
    return (uint32_t)h->clients.used;
}

static void queues_check(const struct hub *h)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < h->n_queues; i++) {
        const struct hub_queue *hq = &h->queues[i];
        queue_check(hq->q);
        dedup_check(hq);
        SL_ASSERT(hq->recount || hq->hot || hq->memory == hub_queue_memory(hq));
        sum += hq->memory;
    }
    SL_ASSERT(sum == h->queue_memory);
}

void hub_check(const struct hub *h)
{
    queues_check(h);
    const struct hub_client *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL) {
        SL_ASSERT(c->parked == NULL || c->parked->park.n > 0);
        SL_ASSERT(c->session == NULL || c->session->holder == c->id);
    }
    parks_check(h);
    deliveries_check(h);
    consumers_check(h);
    jobs_check(h);
    dead_check(h);
    uint32_t live = 0;
    for (uint32_t i = 0; i < h->commit.open->n; i++)
        live += h->commit.open->ops[i].kind != BATCH_NONE;
    SL_ASSERT(live == h->commit.open->live);
    bool idle = hub_flushed(h) && h->commit.health != HUB_BROKEN && h->commit.n_finished == 0;
    SL_ASSERT(!idle || h->tickets.used == 0);
}
