/* Signals and the way out.
 *
 *   RUNNING ─SIGTERM─▶ ANSWERING ─flushed─▶ DRAINING ─workers, clients gone, flushed─▶ CLOSING ─▶ exit
 *                          └──────────── a second SIGTERM skips the waiting ──────────▲
 *
 * Nothing that was accepted is lost on any way: it is in the store. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway.h"

#define ANSWER_MS  2000u /* for the last commit and its answers */
#define GOODBYE_MS 3000u /* for clients to go, after the workers have gone */
#define OVERDUE_MS 60000u /* beyond the drain timeout: somebody does not answer, a nursery that was stopped for example */
#define NOW_MS     5000u /* the same after a second signal */

static void on_workers_gone(void *arg)
{
    struct gateway *g = arg;
    g->workers_gone = true;
    gateway_begin(g);
}

static void on_patience(uv_timer_t *t)
{
    struct gateway *g = t->data;
    g->patience_over = true;
    gateway_begin(g);
}

static void wait_at_most(struct gateway *g, uint64_t ms)
{
    g->patience_over = false;
    uv_timer_start(&g->patience, on_patience, ms, 0);
}

/* What was accepted is in the store, and workers end with the process: to stay
 * for ever would only hide that something hangs. */
static void on_last_resort(uv_timer_t *t)
{
    (void)t;
    sl_log(SL_ERROR, "stop_overdue", "%s", "action=\"exit without the rest of the way\"");
    _exit(1);
}

static void end_within(struct gateway *g, uint64_t ms)
{
    uv_timer_start(&g->last_resort, on_last_resort, ms, 0);
    uv_unref((uv_handle_t *)&g->last_resort);
}

void stop_begin(struct gateway *g, const char *why, int exit_status)
{
    if (exit_status > g->exit_status)
        g->exit_status = exit_status;
    if (g->phase != GATEWAY_RUNNING)
        return;
    sl_log(SL_INFO, "stopping", "reason=%s drain_timeout_ms=%llu", why, (unsigned long long)g->cfg->drain_timeout_ms);
    g->phase = GATEWAY_ANSWERING;
    gateway_begin(g);
    net_stop_accepting(g->net);
    hub_drain(g->hub);
    pools_drain(g->pools, g->cfg->drain_timeout_ms, on_workers_gone, g);
    wait_at_most(g, ANSWER_MS);
    end_within(g, g->cfg->drain_timeout_ms + OVERDUE_MS);
}

static void stop_now(struct gateway *g)
{
    sl_log(SL_WARN, "stopping_now", "reason=\"second signal\"");
    gateway_begin(g);
    pools_kill(g->pools);
    g->patience_over = true;
    end_within(g, NOW_MS);
}

static void on_nursery_gone(void *arg)
{
    struct gateway *g = arg;
    g->nursery = NULL;
    uv_close((uv_handle_t *)&g->last_resort, NULL);
}

static void close_all(struct gateway *g)
{
    g->phase = GATEWAY_CLOSING;
    summary_log(g);
    net_close(g->net);
    committer_stop(g->committer);
    g->committer = NULL;
    pools_free(g->pools);
    g->pools = NULL;
    gateway_turns_stop(g);
    uv_close((uv_handle_t *)&g->patience, NULL);
    for (size_t i = 0; i < SL_COUNT(g->signals); i++)
        uv_close((uv_handle_t *)&g->signals[i], NULL);
    if (g->nursery != NULL)
        nursery_close(g->nursery, on_nursery_gone, g);
    else
        on_nursery_gone(g);
}

static void goodbye(struct gateway *g)
{
    g->phase = GATEWAY_DRAINING;
    gateway_begin(g);
    hub_goodbye(g->hub);
    uv_timer_stop(&g->patience);
    g->patience_over = false;
}

void stop_step(struct gateway *g)
{
    if (g->phase == GATEWAY_ANSWERING && (hub_flushed(g->hub) || g->patience_over))
        goodbye(g);
    if (g->phase != GATEWAY_DRAINING || !g->workers_gone)
        return;
    bool clients_gone = net_connections(g->net) == 0;
    if (hub_flushed(g->hub) && (clients_gone || g->patience_over))
        close_all(g);
    else if (!uv_is_active((const uv_handle_t *)&g->patience) && !g->patience_over)
        wait_at_most(g, GOODBYE_MS);
}

/* ---- signals ---- */

static void on_stop_signal(uv_signal_t *handle, int signum)
{
    struct gateway *g = handle->data;
    if (g->phase == GATEWAY_RUNNING)
        stop_begin(g, signum == SIGTERM ? "SIGTERM" : "SIGINT", 0);
    else if (g->phase != GATEWAY_CLOSING)
        stop_now(g);
}

static void on_usr1(uv_signal_t *handle, int signum)
{
    (void)signum;
    summary_log(handle->data);
}

static void on_hup(uv_signal_t *handle, int signum)
{
    (void)signum;
    gateway_reload(handle->data);
}

/* The nursery's own end reaches us through its socket; here its zombie is
 * collected. */
static void on_chld(uv_signal_t *handle, int signum)
{
    (void)handle;
    (void)signum;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

void stop_watch(struct gateway *g)
{
    static const struct {
        int signum;
        uv_signal_cb cb;
    } watched[] = {
        { SIGTERM, on_stop_signal }, { SIGINT, on_stop_signal }, { SIGUSR1, on_usr1 }, { SIGHUP, on_hup }, { SIGCHLD, on_chld },
    };
    _Static_assert(SL_COUNT(watched) == SL_COUNT(((struct gateway *)0)->signals), "one handle per signal");
    for (size_t i = 0; i < SL_COUNT(watched); i++) {
        uv_signal_init(&g->loop, &g->signals[i]);
        g->signals[i].data = g;
        uv_signal_start(&g->signals[i], watched[i].cb, watched[i].signum);
    }
    uv_timer_init(&g->loop, &g->last_resort);
    uv_timer_init(&g->loop, &g->patience);
    g->patience.data = g;
}
