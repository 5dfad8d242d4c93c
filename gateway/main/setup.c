/* From the configuration to the rooms: limits, nursery, store, hub, recovery. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/hash.h"
#include "gateway.h"
#include "store/entry.h"

/* Descriptors beside connections: store, workers' sockets and pipes, listeners. */
#define DESCRIPTORS_KEPT 256u

static uint64_t random_u64(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof v, 0) != (ssize_t)sizeof v)
        v = (uint64_t)getpid() * 0x9E3779B97F4A7C15u;
    return v;
}

/* Decision 49. Returns the workers' soft limit, which is the old one. */
static uint64_t raise_descriptors(uint32_t *max_connections)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 0;
    uint64_t before = r.rlim_cur;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0)
        r.rlim_cur = (rlim_t)before;
    uint64_t room = r.rlim_cur > DESCRIPTORS_KEPT * 2 ? r.rlim_cur - DESCRIPTORS_KEPT : r.rlim_cur / 2;
    if (*max_connections > room) {
        sl_log(SL_WARN, "connections_clamped", "max_connections=%u now=%llu reason=\"limit on open files\"", *max_connections, (unsigned long long)room);
        *max_connections = (uint32_t)room;
    }
    return before;
}

static int tell(const char *event, int err, const struct sl_buf *why)
{
    struct sl_bytes w = sl_buf_view(why);
    sl_log(SL_ERROR, event, "error=%s reason=\"%.*s\"", sl_err_name(err), (int)w.n, w.n == 0 ? "" : (const char *)w.p);
    return 1;
}

static int open_stores(struct gateway *g)
{
    const struct config *cfg = g->cfg;
    struct sl_buf why = { 0 };
    struct store_config sc = {
        .engine = cfg->store.engine == CONFIG_LMDB ? "lmdb" : "memory",
        .dir = cfg->data_dir,
        .node = cfg->node,
        .map_size_bytes = cfg->store.map_size_bytes,
        .reserve_bytes = cfg->store.reserve_bytes,
        .min_free_disk_bytes = cfg->limits.min_free_disk_bytes,
    };
    int err = store_open(&sc, &g->store, &why);
    if (err == SL_OK) {
        sc.engine = "memory";
        sc.dir = NULL;
        err = store_open(&sc, &g->volatiles, &why);
    }
    int status = err == SL_OK ? -1 : tell("store_open_failed", err, &why);
    sl_buf_fini(&why);
    return status;
}

/* ---- the hub and what it recovers ---- */

static void submit(void *arg, struct batch *b)
{
    committer_submit(((struct gateway *)arg)->committer, b);
}

static int apply_here(void *arg, struct batch *b)
{
    struct gateway *g = arg;
    return committer_busy(g->committer) ? SL_EAGAIN : committer_apply_here(g->committer, b);
}

static void fetch(void *arg, struct batch_fetch *f)
{
    committer_fetch(((struct gateway *)arg)->committer, f);
}

/* For one message that an operator asks for: a few pages at most are read on the loop. */
static int history(void *arg, uint32_t queue_number, uint64_t id, struct sl_buf *failures)
{
    struct sl_buf value = { 0 };
    struct store_entry e;
    int err = store_history(((struct gateway *)arg)->store, queue_number, id, &value);
    if (err == SL_OK)
        err = store_entry_decode(sl_buf_view(&value), &e);
    if (err == SL_OK)
        err = sl_buf_append_bytes(failures, e.history);
    sl_buf_fini(&value);
    return err;
}

static void apply_volatile(void *arg, struct batch *b)
{
    int err = store_apply(((struct gateway *)arg)->volatiles, b);
    SL_ASSERT(err == SL_OK); /* memory cannot fail */
}

static enum queue_overflow overflow_of(enum config_overflow o)
{
    static const enum queue_overflow map[] = {
        [CONFIG_BLOCK] = QUEUE_BLOCK, [CONFIG_REJECT] = QUEUE_REJECT, [CONFIG_DROP_OLDEST] = QUEUE_DROP_OLDEST,
    };
    return map[o];
}

static struct queue_order order_of(const struct config_queue *q, struct sl_hash_key hash)
{
    static const enum queue_on_failure map[] = {
        [CONFIG_FAIL_BLOCK] = QUEUE_FAILURE_BLOCKS, [CONFIG_FAIL_SKIP] = QUEUE_FAILURE_SKIPS, [CONFIG_FAIL_DEAD] = QUEUE_FAILURE_KILLS,
    };
    struct queue_order o = { .on = strcmp(q->order_by, "none") != 0, .on_failure = map[q->on_failure], .hash = hash };
    if (strcmp(q->order_by, "topic") == 0)
        o.key = QUEUE_KEY_TOPIC;
    else if (strncmp(q->order_by, "header:", 7) == 0)
        o = (struct queue_order){ true, QUEUE_KEY_HEADER, q->order_by + 7, o.on_failure, hash };
    return o;
}

static struct queue_dedup_part dedup_part_of(const char *text)
{
    static const struct {
        const char *name;
        enum queue_dedup_part_kind kind;
    } names[] = {
        { "client", QUEUE_DEDUP_CLIENT }, { "topic", QUEUE_DEDUP_TOPIC }, { "payload", QUEUE_DEDUP_PAYLOAD }, { "retransmit", QUEUE_DEDUP_RETRANSMIT },
    };
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        if (strcmp(text, names[i].name) == 0)
            return (struct queue_dedup_part){ names[i].kind, NULL };
    }
    return (struct queue_dedup_part){ QUEUE_DEDUP_HEADER, text + strlen("header:") };
}

static struct queue_dedup dedup_of(const struct config_queue *q)
{
    struct queue_dedup d = {
        .window_ms = q->dedup.window_ms, .max = q->dedup.max, .replace = q->dedup.policy == CONFIG_DEDUP_REPLACE, .n_parts = (uint32_t)q->dedup.by.n,
    };
    for (uint32_t i = 0; i < d.n_parts; i++)
        d.parts[i] = dedup_part_of(q->dedup.by.v[i]);
    return d;
}

_Static_assert(QUEUE_DEDUP_PARTS >= CONFIG_DEDUP_PARTS, "the configuration is checked");

static struct queue_config queue_config_of(const struct config_queue *q, uint32_t number, struct sl_hash_key hash)
{
    return (struct queue_config){
        .name = q->name,
        .number = number,
        .durable = q->durable,
        .max_messages = q->max_messages,
        .max_bytes = q->max_bytes,
        .overflow = overflow_of(q->overflow),
        .reject_grace_ms = q->reject_grace_ms,
        .max_attempts = (uint32_t)q->max_attempts,
        .retry_initial_ms = q->retry.initial_ms,
        .retry_max_ms = q->retry.max_ms,
        .retry_factor = q->retry.factor,
        .retry_jitter = q->retry.jitter,
        .ttl_ms = q->ttl_ms,
        .dead_max_messages = q->dead.max_messages,
        .dead_ttl_ms = q->dead.ttl_ms,
        .ack_timeout_ms = q->ack_timeout_ms,
        .order = order_of(q, hash),
        .dedup = dedup_of(q),
        .dead_expired = q->dead.expired,
    };
}

static int add_queues(struct gateway *g)
{
    for (size_t i = 0; i < g->cfg->n_queues; i++) {
        uint32_t number;
        int err = store_queue_number(g->store, g->cfg->queues[i].name, &number);
        if (err != SL_OK)
            return err;
        struct queue_config qc = queue_config_of(&g->cfg->queues[i], number, store_hash_key(g->store));
        (void)hub_add_queue(g->hub, &qc);
    }
    for (size_t i = 0; i < g->cfg->n_queues; i++) {
        if (g->cfg->queues[i].dead.forward_to != NULL)
            hub_forward_dead(g->hub, (uint32_t)i, (uint32_t)g->cfg->queues[i].dead.forward_index);
    }
    for (size_t i = 0; i < g->cfg->n_routes; i++) {
        const struct config_route *r = &g->cfg->routes[i];
        for (size_t k = 0; k < r->queues.n; k++) {
            int err = hub_add_route(g->hub, r->match, (uint32_t)r->queue_index[k]);
            if (err != SL_OK)
                return err;
        }
    }
    return SL_OK;
}

/* A queue that holds messages and is no longer configured is kept (decision 29). */
static int on_stored_queue(void *arg, uint32_t number, const char *name)
{
    struct gateway *g = arg;
    if (hub_find_queue(g->hub, sl_str(name)) != UINT32_MAX)
        return SL_OK;
    struct queue_config qc = {
        .name = name, .number = number, .durable = true, .max_attempts = 1,
        .max_messages = UINT64_MAX, .max_bytes = UINT64_MAX, .dead_max_messages = UINT64_MAX,
        .retry_factor = 1,
    };
    (void)hub_add_orphan(g->hub, &qc);
    return SL_OK;
}

static int on_stored_queue_record(void *arg, uint32_t number, struct sl_bytes record)
{
    return hub_restore_queue(((struct gateway *)arg)->hub, number, record);
}

static int on_stored_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    return hub_restore_entry(((struct gateway *)arg)->hub, queue, r);
}

static int on_stored_key(void *arg, uint32_t queue, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY])
{
    return hub_restore_dedup(((struct gateway *)arg)->hub, queue, id, seen_ms, key);
}

static int on_stored_session(void *arg, uint64_t number, struct sl_bytes record)
{
    return hub_restore_session(((struct gateway *)arg)->hub, number, record);
}

static int on_stored_subscription(void *arg, uint64_t session, uint32_t number, struct sl_bytes record)
{
    return hub_restore_subscription(((struct gateway *)arg)->hub, session, number, record);
}

static int on_stored_will(void *arg, uint64_t session, struct sl_bytes record)
{
    return hub_restore_will(((struct gateway *)arg)->hub, session, record);
}

static int on_stored_copy(void *arg, const struct store_copy *c)
{
    struct hub_restored_copy r = {
        .session = c->session,
        .packet_id = c->packet_id,
        .state = c->state,
        .flags = c->flags,
        .ids = c->ids,
        .msg = c->msg,
        .entries = c->entries,
    };
    return hub_restore_copy(((struct gateway *)arg)->hub, &r);
}

static int on_stored_retained(void *arg, struct message *m)
{
    return hub_restore_retained(((struct gateway *)arg)->hub, m);
}

static int on_stored_schedule(void *arg, struct sl_bytes record)
{
    return hub_restore_schedule(((struct gateway *)arg)->hub, record);
}

static int on_stored_qos2(void *arg, uint64_t session, uint16_t packet_id)
{
    return hub_restore_qos2(((struct gateway *)arg)->hub, session, packet_id);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    sl_log(SL_INFO, "recovering", "done=%llu total=%llu percent=%llu", (unsigned long long)done, (unsigned long long)total,
           (unsigned long long)(total == 0 ? 100 : done * 100 / total));
}

static void log_orphans(struct gateway *g)
{
    for (uint32_t i = (uint32_t)g->cfg->n_queues; i < hub_n_queues(g->hub); i++) {
        struct queue_depth d;
        queue_depth(hub_queue(g->hub, i), &d);
        uint64_t n = d.count[QUEUE_READY] + d.count[QUEUE_DELAYED] + d.count[QUEUE_DEAD];
        if (n > 0)
            sl_log(SL_WARN, "queue_orphaned", "queue=%s messages=%llu reason=\"not in the configuration; kept, takes nothing\"",
                   queue_config(hub_queue(g->hub, i))->name, (unsigned long long)n);
    }
}

/* What was accepted as durable cannot become less (decision 29). Exit status 2, or -1. */
static int check_durability(struct gateway *g)
{
    for (uint32_t i = 0; i < g->cfg->n_queues; i++) {
        struct queue_depth d;
        queue_depth(hub_queue(g->hub, i), &d);
        uint64_t n = d.count[QUEUE_READY] + d.count[QUEUE_DELAYED] + d.count[QUEUE_DEAD];
        if (n == 0 || g->cfg->queues[i].durable)
            continue;
        sl_log(SL_ERROR, "queue_not_empty", "queue=%s messages=%llu reason=\"\\\"durable\\\" changes only on an empty queue; work it off first\"",
               g->cfg->queues[i].name, (unsigned long long)n);
        return 2;
    }
    return -1;
}

/* Nor ordered otherwise than it came. Exit status 2, or -1. */
static int check_orders(struct gateway *g)
{
    for (uint32_t i = 0; i < hub_n_queues(g->hub); i++) {
        const char *before = hub_order_before(g->hub, i);
        if (before == NULL)
            continue;
        sl_log(SL_ERROR, "queue_not_empty", "queue=%s order_by=%s before=%s reason=\"\\\"order_by\\\" changes only on an empty queue; work it off first\"",
               queue_config(hub_queue(g->hub, i))->name, g->cfg->queues[i].order_by, before);
        return 2;
    }
    return -1;
}

static int recover(struct gateway *g)
{
    struct store_loader l = {
        .arg = g,
        .queue = on_stored_queue,
        .queue_record = on_stored_queue_record,
        .entry = on_stored_entry,
        .dedup = on_stored_key,
        .session = on_stored_session,
        .qos2 = on_stored_qos2,
        .subscription = on_stored_subscription,
        .will = on_stored_will,
        .copy = on_stored_copy,
        .retained = on_stored_retained,
        .progress = on_progress,
        .schedule = on_stored_schedule,
    };
    struct sl_buf why = { 0 };
    struct sl_now now = gateway_now(g);
    hub_begin(g->hub, &now);
    int err = add_queues(g);
    gateway_set_schedules(g, g->cfg);
    if (err == SL_OK)
        err = store_load(g->store, &l, &why);
    if (err == SL_OK)
        log_orphans(g);
    int status = err == SL_OK ? check_durability(g) : tell("recovery_failed", err, &why);
    if (err == SL_OK && status < 0)
        status = check_orders(g);
    sl_buf_fini(&why);
    return status;
}

static int fork_nursery(struct gateway *g, uint64_t worker_nofile)
{
    struct nursery_config nc = { .worker_nofile = worker_nofile };
    int err = nursery_fork(&nc, &g->nursery);
    if (err == SL_OK)
        return -1;
    sl_log(SL_ERROR, "nursery_failed", "error=%s", sl_err_name(err));
    return 1;
}

static struct hub_config hub_config_of(struct gateway *g, uint32_t max_connections)
{
    const struct config_limits *l = &g->cfg->limits;
    return (struct hub_config){
        .boot = store_boot(g->store),
        .seed = random_u64(),
        .secret = random_u64(),
        .hash = store_hash_key(g->store),
        .names = random_u64(),
        .memory_bytes = l->memory_bytes,
        .commit_delay_us = g->cfg->store.commit_delay_us,
        .max_sessions = (uint32_t)l->max_sessions,
        .max_connections = max_connections,
        .subscribers = {
            .queue_messages = (uint32_t)l->session_queue.messages,
            .queue_bytes = l->session_queue.bytes,
            .queue_age_ms = l->session_queue.age_ms,
            .in_flight = (uint32_t)l->session_queue.in_flight,
            .subscriptions = (uint32_t)l->session_subscriptions,
            .output_bytes = l->session_output_bytes,
        },
        .retained_messages = l->retained.messages,
        .retained_bytes = l->retained.bytes,
        .sharing = g->cfg->sharing == CONFIG_SHARE_FREE ? HUB_SHARE_FREE : HUB_SHARE_ROUND_ROBIN,
        .sys_interval_ms = g->cfg->sys_interval_ms,
        .version = SLUICE_VERSION,
        .jobs_max = (uint32_t)g->cfg->jobs.max,
        .jobs_ttl_ms = g->cfg->jobs.ttl_ms,
        .trace_events = (uint32_t)g->cfg->trace.events,
        .store = { g, submit, apply_here, fetch, apply_volatile },
        .history = history,
    };
}

int gateway_setup(struct gateway *g, const struct config *cfg, const struct gateway_source *source)
{
    *g = (struct gateway){ .cfg = cfg, .source = *source, .deadline_fd = -1 };
    uint32_t max_connections = (uint32_t)cfg->limits.max_connections;
    uint64_t worker_nofile = raise_descriptors(&max_connections);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN); /* until there is something to reload */
    sl_hash_seed(random_u64(), random_u64());
    int status = fork_nursery(g, worker_nofile);
    if (status < 0)
        status = gateway_read_zones(g) == SL_OK ? open_stores(g) : 2;
    if (status >= 0)
        return status;
    struct hub_config hc = hub_config_of(g, max_connections);
    g->hub = hub_new(&hc);
    hub_starting(g->hub, true);
    return recover(g);
}
