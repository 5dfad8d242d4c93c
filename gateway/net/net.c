/* The room's frame: creation, the flush at the end of a turn, closing. */
#include "net_internal.h"

static void on_accept_timer(uv_timer_t *t)
{
    listeners_resume(t->data);
}

/* Until the next second begins. */
void net_retry_accepts(struct net *n)
{
    uv_timer_start(&n->accept_timer, on_accept_timer, 1000 - uv_now(n->cfg.loop) % 1000, 0);
}

bool net_may_accept(struct net *n)
{
    uint64_t second = uv_now(n->cfg.loop) / 1000;
    if (second != n->accept_second) {
        n->accept_second = second;
        n->accepted = 0;
    }
    return n->cfg.accept_rate == 0 || n->accepted < n->cfg.accept_rate;
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
