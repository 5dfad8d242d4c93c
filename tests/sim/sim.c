/* The run of one seed: the world's making, its steps, its calm end. */
#include "consumers.h"
#include "subscribers.h"

#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "core/log.h"

#define STEPS 550u
/* A few messages fill it. */
#define TIGHT_MEMORY 12000u /* tables of keys take some of it for ever */

void world_fail(const struct world *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("seed %" PRIu64 ", boot %" PRIu64 ", step %" PRIu64 ": ", w->seed, w->boot, w->step);
    vprintf(fmt, ap);
    printf("\n  again: sim --seed %" PRIu64 "\n", w->seed);
    va_end(ap);
    fflush(stdout);
    exit(1);
}

void world_trace(const struct world *w, const char *fmt, ...)
{
    if (!w->tracing)
        return;
    va_list ap;
    va_start(ap, fmt);
    printf("%" PRIu64 "/%" PRIu64 " ", w->boot, w->step);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
}

/* ---- time ---- */

void world_begin(struct world *w)
{
    w->now = sl_clock_advance(&w->clock, w->mono_us, w->wall_ms);
    w->latest_steady = w->now.steady_ms > w->latest_steady ? w->now.steady_ms : w->latest_steady;
    w->latest_wall = w->now.wall_ms > w->latest_wall ? w->now.wall_ms : w->latest_wall;
    hub_begin(w->hub, &w->now);
}

static void pass(struct world *w, uint64_t us)
{
    w->mono_us += us;
    w->wall_ms += us / 1000;
    if (!w->calm && sl_rng_below(&w->rng, 500) == 0)
        w->wall_ms += pick(w, 7200000); /* the wall clock jumps */
}

static void read_output(struct world *w)
{
    struct hub_client *c;
    while ((c = hub_next_dirty(w->hub)) != NULL)
        ((struct peer *)hub_client_arg(c))->read(hub_client_arg(c), c);
}

uint64_t world_accepted(const struct world *w)
{
    uint64_t sum = 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        sum += queue_counters(hub_queue(w->hub, q))->accepted;
    return sum - moves_moved(w); /* those were there */
}

/* Ends the turn as the shell does, as often as reading made new work. */
void turn(struct world *w)
{
    hub_lease(w->hub);
    hub_end(w->hub);
    workers_notice(w);
    read_output(w);
    world_begin(w);
    hub_lease(w->hub);
    hub_end(w->hub);
    workers_notice(w);
    read_output(w);
    w->ticked_ms = w->now.mono_ms;
}

void world_idle_turn(struct world *w, uint64_t us)
{
    pass(w, us);
    world_begin(w);
    disk_step(w);
    turn(w);
}

/* ---- making ---- */

static void make_queues(struct world *w)
{
    static const char *const names[SIM_QUEUES] = { "q0", "q1", "q2", "q3" };
    static const enum queue_overflow overflows[] = { QUEUE_BLOCK, QUEUE_BLOCK, QUEUE_REJECT, QUEUE_DROP_OLDEST };
    for (uint32_t i = 0; i < SIM_QUEUES; i++) {
        w->queues[i] = (struct queue_config){
            .name = names[i], .number = i + 1, .durable = i == 0 || chance(w, 80),
            .max_messages = 4 + pick(w, 60), .max_bytes = 4096 + pick(w, 60000), .overflow = overflows[pick(w, 4)],
            .max_attempts = 1 + pick(w, 4), .retry_initial_ms = 1 + pick(w, 300), .retry_max_ms = 2000,
            .retry_factor = 1 + pick(w, 3), .retry_jitter = 0.2,
            .ack_timeout_ms = chance(w, 70) ? 200 + pick(w, 1500) : 0,
            .ttl_ms = chance(w, 12) ? 300 + pick(w, 3000) : 0,
            .dead_max_messages = chance(w, 20) ? 1 + pick(w, 5) : SIM_DEAD_MANY, .dead_ttl_ms = chance(w, 10) ? 1000 : 0,
        };
    }
    for (uint32_t t = 0; t < SIM_TOPICS; t++)
        w->topic_queues[t] = (uint8_t)(t == 0 || t >= SIM_ROUTED ? 0 : 1 + pick(w, (1u << SIM_QUEUES) - 1));
}

static void make_devices(struct world *w)
{
    for (uint32_t i = 0; i < SIM_DEVICES; i++) {
        struct device *d = &w->devices[i];
        *d = (struct device){ .peer = { device_read }, .w = w, .number = i, .stomp = i < 2, .v5 = chance(w, 50), .persistent = chance(w, 70), .will = SIM_NO_UID, .delayed_will = SIM_NO_UID };
        d->expiry_s = d->v5 && chance(w, 40) ? 1 + pick(w, 5) : UINT32_MAX;
    }
}

static void make_workers(struct world *w)
{
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        uint32_t concurrency = 1 + pick(w, 3);
        w->workers[i] = (struct worker){
            .w = w, .queue = i < SIM_QUEUES ? i : pick(w, SIM_QUEUES), .concurrency = concurrency,
            .prefetch = concurrency + pick(w, 12), .limit_ms = chance(w, 60) ? 50 + pick(w, 400) : 0,
        };
    }
}

static void make_listeners(struct world *w)
{
    struct proto_config session = {
        .max_message = 4096, .partial_packet = 65536, .connect_timeout_ms = 10000, .reject_grace_ms = 1000,
        .receive_maximum = SIM_INFLIGHT, .topic_alias_max = 4, .max_headers = 32, .max_header_bytes = 1024,
        .session_expiry_max_s = UINT32_MAX, .retain_available = true, .server_name = "sim",
    };
    w->mqtt = (struct hub_listener){ .protocol = &mqtt_protocol, .session = session, .park_max = 1 + pick(w, 40), .park_bytes = 16384, .meaning = true };
    w->stomp = w->mqtt;
    w->stomp.protocol = &stomp_protocol;
}

/* ---- boots ---- */

static void boot(struct world *w)
{
    world_trace(w, "boot");
    struct hub_config cfg = {
        .boot = ++w->boot, .seed = sl_rng_u64(&w->rng), .memory_bytes = w->tight && chance(w, 70) ? (w->semantics.duplicates ? 20 : 1) * TIGHT_MEMORY + pick(w, 20000) : 8u << 20,
        .commit_delay_us = chance(w, 50) ? 200 : pick(w, 40000), .max_sessions = 100, .max_connections = 100,
        .hash = { w->seed, 11 }, .jobs_max = w->semantics.jobs ? 10000 : 0, .jobs_ttl_ms = 3600000,
        .retained_messages = 100, .retained_bytes = 1u << 20,
        .subscribers = {
            .queue_messages = w->tight ? 1 + pick(w, 20) : 10000, .queue_bytes = w->tight ? 2000 + pick(w, 8000) : 1u << 20, .in_flight = 1 + pick(w, 20),
            .subscriptions = 100, .output_bytes = chance(w, 50) ? 100 + pick(w, 1000) : 1u << 16,
        },
    };
    disk_io(w, &cfg.store);
    w->draining = false;
    w->hub = hub_new(&cfg);
    w->clock = (struct sl_clock){ 0 };
    world_begin(w);
    for (uint32_t i = 0; i < SIM_QUEUES; i++)
        (void)hub_add_queue(w->hub, &w->queues[i]);
    for (uint32_t t = 0; t < SIM_TOPICS; t++) {
        char filter[32];
        snprintf(filter, sizeof filter, "t/%u", t);
        for (uint32_t q = 0; q < SIM_QUEUES; q++) {
            if ((w->topic_queues[t] & 1u << q) != 0 && hub_add_route(w->hub, filter, q) != SL_OK)
                world_fail(w, "%s", "a route is refused");
        }
    }
    restraints_boot(w);
    semantics_before_restore(w);
    disk_restore(w);
    semantics_boot(w);
    for (uint32_t i = 0; i < SIM_DEVICES; i++)
        device_restored(&w->devices[i]);
}

/* After a crash attempts may be fewer than charged (their record was not
 * written), and nobody holds anything. Volatile queues start anew. */
static void forget_charges(struct world *w)
{
    struct charge *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&w->charges, &pos)) != NULL) {
        c->live = false;
        c->least = c->sure;
        c->not_before = 0;
    }
}

static void forget_volatile(struct world *w)
{
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        for (uint32_t q = 0; q < SIM_QUEUES; q++) {
            if (!w->queues[q].durable)
                w->uids[uid].only_id[q] = 0;
        }
    }
}

static void fail_fetch(struct world *w, struct batch_fetch **at)
{
    struct batch_fetch *f = *at;
    *at = NULL;
    if (f == NULL)
        return;
    f->err = SL_EIO;
    hub_fetched(w->hub, f);
}

/* The process is gone: connections, workers and memory with it. What the hub
 * says while it is taken apart reaches nobody. */
static void take_apart(struct world *w)
{
    struct disk *d = &w->disk;
    w->dying = true;
    w->dropped += laws_dropped(w);
    firings_hub_ends(w);
    w->wills_dropped += hub_counters(w->hub)->wills_dropped;
    w->retained_refused += hub_counters(w->hub)->retained_refused;
    w->counts[SIM_PASSED_ON] += hub_counters(w->hub)->deliveries_passed_on;
    for (uint32_t i = 0; i < SIM_DEVICES; i++)
        device_gone(&w->devices[i]);
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++)
        subscriber_gone(&w->subscribers[i]);
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        consumer_gone(&w->consumers[i]);
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        if (w->workers[i].consumer != 0)
            hub_consumer_lost(w->hub, w->workers[i].consumer, &(struct hub_loss){ .charge_none = true });
        w->workers[i].consumer = 0;
        w->workers[i].n = w->workers[i].n_late = 0;
        w->workers[i].more = false;
        w->workers[i].stale_lease = 0;
    }
    if (d->pending != NULL)
        hub_committed(w->hub, d->pending, SL_EIO);
    d->pending = NULL;
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        fail_fetch(w, &d->fetches[q]);
    for (uint32_t i = 0; i < SIM_LOOKS; i++)
        fail_fetch(w, &d->looks[i]);
    hub_free(w->hub);
    w->dying = false;
}

static void crash(struct world *w)
{
    w->counts[SIM_CRASHES]++;
    world_trace(w, "crash");
    disk_power_cut(w);
    take_apart(w);
    deals_after_end(w);
    steps_after_end(w);
    forget_charges(w);
    forget_volatile(w);
    boot(w);
}

/* ---- an orderly stop and start ---- */

static void stop_turn(struct world *w)
{
    w->step++;
    world_begin(w);
    disk_step(w);
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        struct worker *k = &w->workers[i];
        if (k->consumer != 0 && k->n > 0)
            worker_step(w, k);
        else if (k->consumer != 0)
            worker_end(w, k, true);
    }
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        if (w->consumers[i].failed)
            consumer_gone(&w->consumers[i]);
    }
    turn(w);
    laws_after_step(w);
    pass(w, 20000);
}

static void end_workers(struct world *w)
{
    world_begin(w);
    for (uint32_t i = 0; i < SIM_WORKERS; i++) {
        if (w->workers[i].consumer != 0)
            worker_end(w, &w->workers[i], true);
    }
    turn(w);
}

/* Devices that have not been told yet go on; nothing of it may enter. */
static void publish_into_a_drain(struct world *w)
{
    turn(w);
    uint64_t accepted = world_accepted(w);
    for (uint32_t i = 0; i < 3; i++) {
        struct device *d = &w->devices[pick(w, SIM_DEVICES)];
        world_begin(w);
        if (d->client != NULL && d->greeted && d->will == SIM_NO_UID && d->ghost == NULL)
            device_step(w, d);
        turn(w);
    }
    if (world_accepted(w) != accepted)
        world_fail(w, "%s", "a message came in although the gateway drains");
}

/* SIGTERM: drain, goodbye, flush; then another boot, which may not forget
 * anything: not even the attempts. */
static void restart(struct world *w)
{
    w->draining = true;
    hub_drain(w->hub);
    publish_into_a_drain(w);
    hub_goodbye(w->hub);
    turn(w);
    uint64_t accepted = world_accepted(w);
    for (uint32_t i = 0; i < 8; i++)
        stop_turn(w);
    end_workers(w);
    for (uint32_t i = 0; i < 400 && !hub_flushed(w->hub); i++)
        stop_turn(w);
    if (hub_health(w->hub) == HUB_BROKEN) {
        crash(w);
        return;
    }
    w->counts[SIM_RESTARTS]++;
    laws_when_stopped(w, accepted);
    laws_when_flushed(w);
    device_sessions_written(w);
    take_apart(w);
    deals_after_end(w);
    steps_after_end(w);
    forget_volatile(w);
    boot(w);
}

/* ---- steps ---- */

static void event(struct world *w)
{
    uint32_t r = pick(w, 1000);
    if (chance(w, 25))
        subscriber_step(&w->subscribers[pick(w, SIM_SUBSCRIBERS)]);
    else if (chance(w, 22))
        consumer_step(&w->consumers[pick(w, SIM_CONSUMERS)]);
    else if (r < 420)
        device_step(w, &w->devices[pick(w, SIM_DEVICES)]);
    else if (r < 720)
        worker_step(w, &w->workers[pick(w, SIM_WORKERS)]);
    else if (r < 880)
        disk_step(w);
    else if (r < 990)
        pass(w, sl_rng_below(&w->rng, chance(w, 20) ? 2000000 : 20000));
    else if (r < 994 || hub_health(w->hub) == HUB_BROKEN)
        crash(w);
    else if (r < 998)
        restart(w);
}

static void step(struct world *w)
{
    w->step++;
    world_begin(w);
    if (w->semantics.on && chance(w, 6))
        semantics_step(w);
    else
        event(w);
    turn(w);
    laws_after_step(w);
    pass(w, pick(w, 500));
}

static void calm_turns(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        w->step++;
        world_begin(w);
        disk_step(w);
        turn(w);
        for (uint32_t k = 0; k < SIM_WORKERS; k++)
            worker_finish(w, &w->workers[k]);
        for (uint32_t k = 0; k < SIM_SUBSCRIBERS; k++)
            subscriber_finish(&w->subscribers[k]);
        for (uint32_t k = 0; k < SIM_CONSUMERS; k++)
            consumer_finish(&w->consumers[k]);
        turn(w);
        laws_after_step(w);
        pass(w, 20000);
    }
}

static void quiet_turns(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        w->step++;
        world_begin(w);
        disk_step(w);
        for (uint32_t k = 0; k < SIM_WORKERS; k++)
            worker_finish(w, &w->workers[k]);
        for (uint32_t k = 0; k < SIM_SUBSCRIBERS; k++)
            subscriber_finish(&w->subscribers[k]);
        turn(w);
        laws_after_step(w);
        pass(w, 20000);
    }
}

/* What memory may rightly be held for when everybody has left. */
struct rest {
    uint64_t bytes, dead;
    bool quiet;
};

/* Consumers have come, taken from everywhere, sent, and gone. */
static struct rest after_consumers(struct world *w)
{
    struct rest r = { .quiet = true };
    calm_turns(w, 2);
    world_begin(w);
    stomp_consumers_visit(w);
    turn(w);
    calm_turns(w, 8);
    world_begin(w);
    stomp_consumers_leave(w);
    turn(w);
    quiet_turns(w, 8);
    laws_of_goodbyes(w);
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct queue_depth d;
        queue_depth(hub_queue(w->hub, q), &d);
        r.dead += d.count[QUEUE_DEAD];
        r.quiet = r.quiet && d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED] == 0;
    }
    r.bytes = hub_memory_bytes(w->hub);
    return r;
}

/* Nothing of them is left in memory; what others held may have become less. What is
 * remembered of topics grows now and then, a leak each time. */
static void visit(struct world *w)
{
    (void)after_consumers(w);
    struct rest before = after_consumers(w), after = after_consumers(w);
    for (uint32_t i = 0; i < 3; i++) {
        if (!before.quiet || !after.quiet || before.dead != after.dead || !hub_flushed(w->hub) || after.bytes <= before.bytes)
            return;
        before = after;
        after = after_consumers(w);
    }
    world_fail(w, "consumers leave more and more in memory: %" PRIu64 " bytes, then %" PRIu64, before.bytes, after.bytes);
}

/* All is well from now on: everything accepted must come to its end. */
static void calm_down(struct world *w)
{
    w->calm = true;
    if (w->disk.broken || hub_health(w->hub) == HUB_BROKEN)
        crash(w);
    semantics_calm(w);
    calm_turns(w, 600);
    laws_at_end(w);
    laws_of_subscribers_at_end(w);
    world_begin(w);
    subscribers_probe(w);
    turn(w);
    calm_turns(w, 5);
    world_begin(w);
    subscribers_probe_all(w);
    turn(w);
    calm_turns(w, 20);
    laws_of_probe(&w->subscribers[0]);
    visit(w);
}

static void world_end(struct world *w)
{
    struct charge *c;
    size_t pos = 0;
    take_apart(w);
    while ((c = sl_idmap_next(&w->charges, &pos)) != NULL)
        sl_free(c);
    sl_idmap_fini(&w->charges);
    sl_idmap_fini(&w->ids);
    sl_idmap_fini(&w->cancelled);
    disk_queues_free(w);
    semantics_free(w);
    disk_free(w);
    subscribers_free(w);
    stomp_consumers_free(w);
    steps_free(w);
    sl_free(w->uids);
}

static void run(uint64_t seed, bool tracing, uint64_t totals[SIM_COUNTS])
{
    struct world w = { .seed = seed, .tracing = tracing, .mono_us = 1000000, .wall_ms = 1700000000000u };
    sl_rng_seed(&w.rng, seed);
    make_queues(&w);
    w.tight = chance(&w, 50);
    make_devices(&w);
    subscribers_make(&w);
    stomp_consumers_make(&w);
    make_workers(&w);
    restraints_make(&w);
    semantics_make(&w);
    make_listeners(&w);
    boot(&w);
    while (w.step < STEPS)
        step(&w);
    calm_down(&w);
    for (uint32_t i = 0; i < SIM_COUNTS; i++)
        totals[i] += w.counts[i];
    world_end(&w);
}

static volatile sig_atomic_t running; /* the low bits of the seed will do */

/* An assertion of the gateway's own: which seed was it? */
static void on_abort(int signal_number)
{
    char line[64];
    (void)signal_number;
    int n = snprintf(line, sizeof line, "  again: sim --seed %d\n", (int)running);
    (void)!write(STDOUT_FILENO, line, (size_t)n);
}

/* sim [--trace] [--seed N] [--seeds COUNT] [--first N] */
int main(int argc, char **argv)
{
    uint64_t first = 1, count = 1000, totals[SIM_COUNTS] = { 0 };
    sl_log_to(NULL, NULL, SL_ERROR);
    signal(SIGABRT, on_abort);
    bool tracing = argc > 1 && strcmp(argv[1], "--trace") == 0;
    for (int i = 1 + tracing; i + 1 < argc; i += 2) {
        uint64_t v = strtoull(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--seed") == 0) {
            first = v;
            count = 1;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            count = v;
        } else if (strcmp(argv[i], "--first") == 0) {
            first = v;
        }
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        running = (sig_atomic_t)seed;
        run(seed, tracing, totals);
    }
    printf("%" PRIu64 " seeds: acknowledged %" PRIu64 ", worked %" PRIu64 ", deliveries %" PRIu64 ", redeliveries %" PRIu64
           ", worker deaths %" PRIu64 ", arrivals %" PRIu64 " (%" PRIu64 " again, %" PRIu64 " passed on), consumed %" PRIu64 " (%" PRIu64 " acknowledged), from topics %" PRIu64 ", consumers turned away %" PRIu64 " (%" PRIu64 " for time), commits %" PRIu64 ", takeovers %" PRIu64 ", gateway crashes %" PRIu64 " and restarts %" PRIu64 ", disk faults %" PRIu64 ", answers %" PRIu64 ", probes beside a full queue %" PRIu64 "; every law held\n",
           count, totals[SIM_ACKED], totals[SIM_WORKED], totals[SIM_DELIVERIES], totals[SIM_REDELIVERIES], totals[SIM_DEATHS], totals[SIM_ARRIVALS], totals[SIM_RESENT], totals[SIM_PASSED_ON],
           totals[SIM_CONSUMED], totals[SIM_CONSUMER_ACKS], totals[SIM_TOPIC_ARRIVALS], totals[SIM_CONSUMERS_LOST], totals[SIM_ACK_TIMEOUTS], totals[SIM_COMMITS], totals[SIM_TAKEOVERS],
           totals[SIM_CRASHES], totals[SIM_RESTARTS], totals[SIM_DISK_FAULTS], totals[SIM_ANSWERS], totals[SIM_PROBES]);
    return 0;
}
