#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#define TURN_US 300u
/* A commit takes so many turns: what is settled meanwhile is never written. */
#define COMMIT_TURNS 3u

void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void on_submit(void *arg, struct batch *b)
{
    struct world *w = arg;
    must(w->pending == NULL, "two batches are under way");
    w->pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    (void)arg;
    (void)f;
    must(false, "nothing was evicted, and yet it is fetched");
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

static void commit(struct world *w)
{
    struct batch *b = w->pending;
    if (b == NULL)
        return;
    w->pending = NULL;
    b->took_us = COMMIT_TURNS * TURN_US;
    hub_committed(w->hub, b, SL_OK);
}

void world_begin(struct world *w)
{
    w->us += TURN_US;
    struct sl_now now = { .mono_us = w->us,
                          .mono_ms = w->us / 1000,
                          .wall_ms = w->us / 1000,
                          .steady_ms = w->us / 1000 };
    hub_begin(w->hub, &now);
    if (++w->turn % COMMIT_TURNS == 0)
        commit(w);
}

void world_make(struct world *w, const struct protocol *protocol)
{
    static const struct queue_config queue = {
        .name = "telemetry",
        .number = 1,
        .durable = true,
        .max_messages = 1000000,
        .max_bytes = 1u << 30,
        .max_attempts = 5,
        .retry_initial_ms = 1000,
        .retry_max_ms = 300000,
        .retry_factor = 2,
        .dead_max_messages = 100000,
        .ack_timeout_ms = 30000,
    };
    struct hub_config cfg = { .boot = 1,
                              .seed = 1,
                              .memory_bytes = 1u << 30,
                              .commit_delay_us = 200,
                              .max_sessions = 1000,
                              .max_connections = 1000,
                              .store = { w, on_submit, NULL, on_fetch, on_volatile } };
    w->listener = (struct hub_listener){
        .protocol = protocol,
        .park_max = 1024,
        .park_bytes = 1u << 20,
        .meaning = true,
        .session = { .max_message = 1u << 20,
                     .partial_packet = 128u << 10,
                     .receive_maximum = 1024,
                     .topic_alias_max = 16,
                     .max_headers = 100,
                     .max_header_bytes = 8192,
                     .session_expiry_max_s = UINT32_MAX,
                     .output_bytes = 1u << 20,
                     .retain_available = true,
                     .server_name = "pure" },
    };
    w->hub = hub_new(&cfg);
    must(hub_add_route(w->hub, "telemetry/#", hub_add_queue(w->hub, &queue)) == SL_OK,
         "the route is refused");
}

void world_print(const struct world *w, uint64_t messages)
{
    const struct queue_counters *counters = queue_counters(hub_queue(w->hub, 0));
    printf("%llu messages, %llu never written of %llu\n", (unsigned long long)messages,
           (unsigned long long)counters->never_written, (unsigned long long)counters->accepted);
}
