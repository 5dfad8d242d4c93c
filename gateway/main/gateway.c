/* Opening the shell's rooms, and the life of the process. */
#include "gateway.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

/* STOMP's own limits; MQTT's strings are bounded by its format. */
#define STOMP_MAX_HEADERS      128u
#define STOMP_MAX_HEADER_BYTES (16u << 10)
#define TOPIC_ALIAS_MAX        64u

static void on_committed(void *arg, struct batch *b, int err)
{
    struct gateway *g = arg;
    gateway_begin(g);
    hub_committed(g->hub, b, err);
}

static void on_fetched(void *arg, struct batch_fetch *f)
{
    struct gateway *g = arg;
    gateway_begin(g);
    hub_fetched(g->hub, f);
}

static uint64_t reject_grace_ms(const struct config *cfg)
{
    uint64_t ms = 0;
    for (size_t i = 0; i < cfg->n_queues; i++)
        ms = cfg->queues[i].reject_grace_ms > ms ? cfg->queues[i].reject_grace_ms : ms;
    return ms;
}

/* Whole seconds, and never 0 of what is not. */
static uint32_t seconds_up(uint64_t ms)
{
    uint64_t s = (ms + 999) / 1000;
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

static struct hub_listener listener_of(const struct config *cfg, const struct config_listener *l)
{
    return (struct hub_listener){
        .protocol = l->protocol == CONFIG_MQTT ? &mqtt_protocol : &stomp_protocol,
        .session = {
            .max_message = (uint32_t)cfg->limits.max_message_bytes,
            .partial_packet = (uint32_t)cfg->limits.partial_packet_bytes,
            .connect_timeout_ms = (uint32_t)cfg->limits.connect_timeout_ms,
            .reject_grace_ms = (uint32_t)reject_grace_ms(cfg),
            .receive_maximum = (uint16_t)l->receive_maximum,
            .max_keep_alive_s = (uint16_t)(l->max_keep_alive_ms / 1000),
            .topic_alias_max = TOPIC_ALIAS_MAX,
            .max_headers = STOMP_MAX_HEADERS,
            .max_header_bytes = STOMP_MAX_HEADER_BYTES,
            .heart_beat_ms = (uint32_t)l->heart_beat_ms,
            .session_expiry_max_s = UINT32_MAX,
            .session_expiry_default_s = seconds_up(cfg->sessions.default_expiry_ms),
            .output_bytes = (uint32_t)cfg->limits.session_output_bytes,
            .retain_available = cfg->limits.retained.messages > 0 && cfg->limits.retained.bytes > 0,
            .response_information = l->response_information,
            .server_name = "sluice/" SLUICE_VERSION,
        },
        .park_max = (uint32_t)l->receive_maximum,
        .park_bytes = l->park_bytes,
        .meaning = l->meaning,
    };
}

static int open_listeners(struct gateway *g)
{
    const struct config *cfg = g->cfg;
    struct sl_buf why = { 0 };
    int err = SL_OK;
    g->listeners = sl_calloc(cfg->n_listeners, sizeof *g->listeners);
    for (size_t i = 0; i < cfg->n_listeners && err == SL_OK; i++) {
        const struct config_listener *l = &cfg->listeners[i];
        g->listeners[i] = listener_of(cfg, l);
        struct net_bind b = { .name = l->bind, .port = l->port, .mode = l->mode, .listener = &g->listeners[i] };
        if (l->kind == CONFIG_BIND_TCP)
            b.host = l->host;
        else
            b.path = l->path;
        err = net_listen(g->net, &b, &why);
        if (err == SL_OK && l->kind == CONFIG_BIND_TCP && l->port == 0)
            sl_log(SL_INFO, "listener_port", "bind=%s port=%u", l->bind, net_port(g->net, (uint32_t)i));
    }
    struct sl_bytes w = sl_buf_view(&why);
    if (err != SL_OK)
        sl_log(SL_ERROR, "listen_failed", "reason=\"%.*s\"", (int)w.n, w.n == 0 ? "" : (const char *)w.p);
    sl_buf_fini(&why);
    return err;
}

/* ---- pools ---- */

static enum pool_mode mode_of(enum config_pool_mode m)
{
    static const enum pool_mode map[] = { [CONFIG_SOCKET] = POOL_SOCKET, [CONFIG_LINES] = POOL_LINES, [CONFIG_EXEC] = POOL_EXEC };
    return map[m];
}

static size_t rlimits_of(const struct config_rlimits *c, struct nursery_rlimit *out)
{
    const struct nursery_rlimit all[] = {
        { RLIMIT_NOFILE, c->nofile },   { RLIMIT_NPROC, c->nproc },      { RLIMIT_CPU, c->cpu_s },
        { RLIMIT_AS, c->as_bytes },     { RLIMIT_CORE, c->core_bytes },  { RLIMIT_DATA, c->data_bytes },
        { RLIMIT_FSIZE, c->fsize_bytes }, { RLIMIT_MEMLOCK, c->memlock_bytes }, { RLIMIT_STACK, c->stack_bytes },
    };
    size_t n = 0;
    for (size_t i = 0; i < SL_COUNT(all); i++) {
        if (all[i].value != CONFIG_UNSET)
            out[n++] = all[i];
    }
    return n;
}

static struct pool_config pool_config_of(const struct config *cfg, const struct config_pool *p)
{
    return (struct pool_config){
        .name = p->name,
        .queue_name = p->queue,
        .node = cfg->node,
        .command = p->command.v,
        .mode = mode_of(p->mode),
        .size = { (uint32_t)p->workers.min, (uint32_t)p->workers.max, p->idle_timeout_ms },
        .recycle = { p->max_jobs, p->max_age_ms, p->max_rss_bytes },
        .prefetch = (uint32_t)p->prefetch,
        .concurrency = (uint32_t)p->concurrency,
        .batch_max = (uint32_t)p->batch.max,
        .batch_wait_ms = p->batch.wait_ms,
        .max_rate = p->max_rate,
        .time_limit_ms = p->time_limit_ms,
        .soft_time_limit_ms = p->soft_time_limit_ms,
        .grace_ms = p->grace_ms,
        .restart_initial_ms = p->restart.initial_ms,
        .restart_max_ms = p->restart.max_ms,
        .restart_factor = p->restart.factor,
        .env = p->env.v,
        .cwd = p->cwd,
        .user = p->user,
        .group = p->group,
        .nice = p->nice,
        .has_oom_score_adj = p->oom_score_adj != CONFIG_INT_UNSET,
        .oom_score_adj = p->oom_score_adj,
        .watchdog_ms = p->watchdog_ms,
        .worker_socket = p->worker_socket,
        .worker_token = p->worker_token,
        .worker_socket_mode = p->worker_socket_mode,
        .worker_socket_max = (uint32_t)p->worker_socket_max,
        .ack_timeout_ms = cfg->queues[p->queue_index].ack_timeout_ms,
        .may_gain_privs = !p->no_new_privs,
        .max_message = (uint32_t)cfg->limits.max_message_bytes,
        .max_result = 1u << 20,
    };
}

static struct queue_key_limit key_limit_of(const struct config_pool *p)
{
    struct queue_key_limit l = { .max = (uint32_t)p->max_in_flight_per_key, .key = QUEUE_KEY_CLIENT };
    if (strcmp(p->max_in_flight_key, "topic") == 0)
        l.key = QUEUE_KEY_TOPIC;
    else if (strncmp(p->max_in_flight_key, "header:", 7) == 0)
        l = (struct queue_key_limit){ l.max, QUEUE_KEY_HEADER, p->max_in_flight_key + 7 };
    return l;
}

/* Pools of one queue say the same. */
void gateway_limit_keys(const struct gateway *g, const struct config *cfg)
{
    for (size_t i = 0; i < cfg->n_pools; i++) {
        struct queue_key_limit l = key_limit_of(&cfg->pools[i]);
        hub_limit_keys(g->hub, hub_find_queue(g->hub, sl_str(cfg->pools[i].queue)), &l);
    }
}

void gateway_pools_of(const struct gateway *g, const struct config *cfg, struct gateway_pools *out)
{
    *out = (struct gateway_pools){ .n = (uint32_t)cfg->n_pools };
    out->v = sl_calloc(cfg->n_pools + 1, sizeof *out->v);
    out->rlimits = sl_calloc(cfg->n_pools + 1, sizeof *out->rlimits);
    for (size_t i = 0; i < cfg->n_pools; i++) {
        out->v[i] = pool_config_of(cfg, &cfg->pools[i]);
        out->v[i].queue = hub_find_queue(g->hub, sl_str(cfg->pools[i].queue));
        out->v[i].rlimits = out->rlimits[i].v;
        out->v[i].n_rlimits = rlimits_of(&cfg->pools[i].rlimits, out->rlimits[i].v);
    }
}

void gateway_pools_fini(struct gateway_pools *pools)
{
    sl_free(pools->v);
    sl_free(pools->rlimits);
}

static int add_pools(struct gateway *g)
{
    struct gateway_pools all;
    int err = SL_OK;
    gateway_pools_of(g, g->cfg, &all);
    for (uint32_t i = 0; i < all.n && err == SL_OK; i++)
        err = pools_add(g->pools, &all.v[i]);
    gateway_pools_fini(&all);
    gateway_limit_keys(g, g->cfg);
    return err;
}

/* ---- the nursery's events ---- */

static void on_locked(void *arg, int err)
{
    struct gateway *g = arg;
    if (err != SL_OK) {
        stop_begin(g, "nursery_lock_failed", 1);
        return;
    }
    if (g->phase != GATEWAY_RUNNING)
        return; /* it could not listen, or was told to stop meanwhile */
    gateway_begin(g);
    pools_start(g->pools);
    g->pools_started = true;
    hub_starting(g->hub, false);
    sl_log(SL_INFO, "ready", "node=%s queues=%zu pools=%zu", g->cfg->node, g->cfg->n_queues, g->cfg->n_pools);
}

static void on_nursery_dead(void *arg)
{
    struct gateway *g = arg;
    sl_log(SL_ERROR, "nursery_died", "action=\"drain and exit\"");
    stop_begin(g, "nursery_died", 1);
}

static int attach_nursery(struct gateway *g)
{
    char path[4096];
    struct nursery_events events = { g, on_locked, on_nursery_dead };
    snprintf(path, sizeof path, "%s/nursery.lock", g->cfg->data_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return SL_ESYS;
    int err = nursery_attach(g->nursery, &g->loop, &events);
    if (err == SL_OK)
        nursery_lock(g->nursery, fd);
    else
        close(fd);
    return err;
}

static int start_rooms(struct gateway *g)
{
    struct committer_callbacks cb = { g, on_committed, on_fetched };
    int err = committer_start(g->store, &g->loop, &cb, &g->committer);
    if (err == SL_OK)
        err = gateway_turns_start(g);
    if (err == SL_OK)
        err = attach_nursery(g);
    return err;
}

int gateway_open(struct gateway *g)
{
    uv_loop_init(&g->loop);
    int err = start_rooms(g);
    if (err != SL_OK) {
        sl_log(SL_ERROR, "start_failed", "error=%s", sl_err_name(err));
        return 1;
    }
    g->net = net_new(&(struct net_config){
        .loop = &g->loop,
        .hub = g->hub,
        .turn = { gateway_begin, g },
        .max_connections = (uint32_t)g->cfg->limits.max_connections,
        .accept_rate = (uint32_t)g->cfg->limits.accept_rate,
    });
    g->pools = pools_new(&(struct pools_setup){ &g->loop, g->hub, g->nursery, { g, gateway_begin, gateway_begin } });
    stop_watch(g);
    g->opened = true;
    if (add_pools(g) != SL_OK || open_listeners(g) != SL_OK)
        stop_begin(g, "start_failed", 1);
    return -1;
}

int gateway_run(struct gateway *g)
{
    uv_run(&g->loop, UV_RUN_DEFAULT);
    if (hub_health(g->hub) == HUB_BROKEN && g->exit_status == 0)
        g->exit_status = 1;
    sl_log(SL_INFO, "stopped", "status=%d", g->exit_status);
    return g->exit_status;
}

void gateway_free(struct gateway *g)
{
    if (g->opened) {
        net_free(g->net);
        int busy = uv_loop_close(&g->loop);
        SL_ASSERT(busy == 0);
        close(g->deadline_fd);
    }
    hub_free(g->hub);
    store_close(g->volatiles);
    store_close(g->store);
    zones_fini(&g->zones);
    sl_free(g->listeners);
}
