/* The room's frame: creation, the flush at the end of a turn, closing. */
#include "net_internal.h"

static void on_accept_timer(uv_timer_t *t)
{
    listeners_resume(t->data);
}

#define ONE_ACCEPT  1000u /* of credit */
#define AT_ONCE_MS    50u /* so much of a second's accepts may come at once */
#define RETRY_MS      10u

/* The rate is spread over the second: a storm taken in one piece would hold up all who are in. */
bool net_may_accept(struct net *n)
{
    uint64_t now = uv_now(n->cfg.loop), rate = n->cfg.accept_rate;
    uint64_t most = rate * AT_ONCE_MS > ONE_ACCEPT ? rate * AT_ONCE_MS : ONE_ACCEPT;
    uint64_t gained = (now - n->credited_ms) * rate;
    n->accept_credit = gained < most - n->accept_credit ? n->accept_credit + gained : most;
    n->credited_ms = now;
    return rate == 0 || n->accept_credit >= ONE_ACCEPT;
}

void net_accepted(struct net *n)
{
    n->accept_credit -= n->accept_credit < ONE_ACCEPT ? n->accept_credit : ONE_ACCEPT;
}

static void retry_in(struct net *n, uint64_t ms)
{
    bool later = uv_is_active((const uv_handle_t *)&n->accept_timer) && uv_timer_get_due_in(&n->accept_timer) > ms;
    if (!later)
        uv_timer_start(&n->accept_timer, on_accept_timer, ms, 0);
}

void net_retry_later(struct net *n)
{
    retry_in(n, NET_NO_ROOM_MS);
}

void net_retry_accepts(struct net *n)
{
    uint64_t rate = n->cfg.accept_rate, missing = ONE_ACCEPT - (n->accept_credit < ONE_ACCEPT ? n->accept_credit : ONE_ACCEPT);
    uint64_t ms = rate == 0 ? 0 : (missing + rate - 1) / rate;
    retry_in(n, ms > RETRY_MS ? ms : RETRY_MS);
}

struct net *net_new(const struct net_config *cfg)
{
    struct net *n = SL_NEW(struct net);
    n->cfg = *cfg;
    n->tail = &n->listeners;
    uv_timer_init(cfg->loop, &n->accept_timer);
    n->accept_timer.data = n;
    uv_unref((uv_handle_t *)&n->accept_timer);
    poll_open(n);
    return n;
}

void net_flush(struct net *n)
{
    struct hub_client *client;
    while ((client = hub_next_dirty(n->cfg.hub)) != NULL)
        conn_update(hub_client_arg(client));
    conns_reap(n);
}

void net_stop_accepting(struct net *n)
{
    if (n->stopped)
        return;
    n->stopped = true;
    for (struct listener *l = n->listeners; l != NULL; l = l->next)
        listener_close(l);
}

void net_close(struct net *n)
{
    net_stop_accepting(n);
    uv_close((uv_handle_t *)&n->accept_timer, NULL);
    for (struct conn *c = n->conns, *next; c != NULL; c = next) {
        next = c->next;
        conn_close(c);
    }
    poll_close(n);
}

void net_free(struct net *n)
{
    if (n == NULL)
        return;
    SL_ASSERT(n->n_conns == 0);
    conns_reap(n);
    while (n->listeners != NULL) {
        struct listener *l = n->listeners;
        n->listeners = l->next;
        sl_free(l);
    }
    sl_free(n);
}

uint32_t net_connections(const struct net *n)
{
    return n->n_conns;
}
