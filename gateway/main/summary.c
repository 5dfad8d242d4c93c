/* The counters as log lines: on SIGUSR1 and at the end. */
#include "gateway.h"

static void log_queue(struct queue *q)
{
    const struct queue_config *cfg = queue_config(q);
    struct queue_depth d;
    struct sl_buf line = { 0 };
    queue_depth(q, &d);
    queue_counters_print(queue_counters(q), &line);
    (void)!sl_buf_append(&line, "", 1);
    sl_log(SL_INFO, "summary_queue", "queue=%s durable=%s ready=%llu leased=%llu delayed=%llu dead_now=%llu bytes=%llu%s", cfg->name,
           cfg->durable ? "yes" : "no (lost when the process ends)", (unsigned long long)d.count[QUEUE_READY],
           (unsigned long long)d.count[QUEUE_LEASED], (unsigned long long)d.count[QUEUE_DELAYED],
           (unsigned long long)d.count[QUEUE_DEAD], (unsigned long long)d.bytes, (const char *)line.p);
    sl_buf_fini(&line);
}

static void log_pool(const struct pools *p, uint32_t index)
{
    struct pool_status s;
    pools_status(p, index, &s);
    sl_log(SL_INFO, "summary_pool", "pool=%s wanted=%u starting=%u running=%u stopping=%u waiting=%u started=%llu restarts=%llu faults=%llu min=%u max=%u "
           "paused=%s crash_loop=%s crashes=%u outdated=%u recycled_jobs=%llu recycled_age=%llu recycled_rss=%llu "
           "stuck=%llu external=%u joined=%llu refused=%llu",
           s.name, s.wanted, s.starting, s.running, s.stopping, s.waiting, (unsigned long long)s.started,
           (unsigned long long)s.restarts, (unsigned long long)s.faults, s.min, s.max, s.paused ? "yes" : "no",
           s.crash_loop ? "yes" : "no", s.crashes, s.outdated, (unsigned long long)s.recycled[RECYCLE_JOBS],
           (unsigned long long)s.recycled[RECYCLE_AGE], (unsigned long long)s.recycled[RECYCLE_RSS], (unsigned long long)s.stuck, s.external,
           (unsigned long long)s.joined, (unsigned long long)s.refused);
}

static const char *health_name(enum hub_health h)
{
    static const char *const names[] = { [HUB_OK] = "ok", [HUB_NO_SPACE] = "no_space", [HUB_BROKEN] = "store_broken" };
    return names[h];
}

static void log_histogram(const char *name, const struct sl_histogram *h)
{
    struct sl_buf line = { 0 };
    sl_histogram_print(h, &line);
    (void)!sl_buf_append(&line, "", 1);
    sl_log(SL_INFO, "summary_histogram", "name=%s%s", name, (const char *)line.p);
    sl_buf_fini(&line);
}

/* How often each reason not to take all began. */
static void log_readiness(const struct hub_readiness *r)
{
    struct sl_buf line = { 0 };
    for (uint32_t i = 0; i < HUB_NOT_READY_COUNT; i++)
        (void)!sl_buf_printf(&line, " %s=%llu", hub_not_ready_name(i), (unsigned long long)r->of[i].times);
    (void)!sl_buf_append(&line, "", 1);
    char text[HUB_READINESS_TEXT];
    sl_log(SL_INFO, "summary_readiness", "now=%s%s", hub_readiness_text(r, text), (const char *)line.p);
    sl_buf_fini(&line);
}

void summary_log(struct gateway *g)
{
    struct sl_buf line = { 0 };
    struct hub_readiness readiness;
    char text[HUB_READINESS_TEXT];
    gateway_counters_print(hub_counters(g->hub), &line);
    (void)!sl_buf_append(&line, "", 1);
    hub_readiness(g->hub, &readiness);
    sl_log(SL_INFO, "summary", "readiness=%s store=%s connections=%u memory_bytes=%llu%s", hub_readiness_text(&readiness, text), health_name(hub_health(g->hub)),
           net_connections(g->net), (unsigned long long)hub_memory_bytes(g->hub), (const char *)line.p);
    sl_buf_fini(&line);
    log_readiness(&readiness);
    log_histogram("commit_records", &hub_histograms(g->hub)->commit_records);
    log_histogram("commit_us", &hub_histograms(g->hub)->commit_us);
    log_histogram("turn_us", &g->turn_us);
    for (uint32_t i = 0; i < hub_n_queues(g->hub); i++)
        log_queue(hub_queue(g->hub, i));
    for (uint32_t i = 0; i < pools_count(g->pools); i++)
        log_pool(g->pools, i);
}
