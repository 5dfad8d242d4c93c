/* The room's frame: creation, the flush at the end of a turn, closing. */
#include "net_internal.h"

static void on_accept_timer(uv_timer_t *t)
{
    struct net *n = t->data;
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        if (l->waiting && l->open && net_may_accept(n)) {
            l->waiting = false;
            conn_accept(l);
        }
    }
}

bool net_may_accept(struct net *n)
{
    uint64_t now = uv_now(n->cfg.loop);
    if (n->cfg.accept_rate == 0)
        return true;
    if (now / 1000 != n->accept_second) {
        n->accept_second = now / 1000;
        n->accepted = 0;
    }
    if (n->accepted < n->cfg.accept_rate) {
        n->accepted++;
        return true;
    }
    uv_timer_start(&n->accept_timer, on_accept_timer, 1000 - now % 1000, 0);
    return false;
}

struct net *net_new(const struct net_config *cfg)
{
    struct net *n = SL_NEW(struct net);
    n->cfg = *cfg;
    n->tail = &n->listeners;
    uv_timer_init(cfg->loop, &n->accept_timer);
    n->accept_timer.data = n;
    uv_unref((uv_handle_t *)&n->accept_timer);
    return n;
}

void net_flush(struct net *n)
{
    struct hub_client *client;
    while ((client = hub_next_dirty(n->cfg.hub)) != NULL)
        conn_update(hub_client_arg(client));
    conn_read_on(n);
}

void net_stop_accepting(struct net *n)
{
    if (n->stopped)
        return;
    n->stopped = true;
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        if (l->open)
            uv_close(&l->u.handle, NULL);
        l->open = false;
    }
}

void net_close(struct net *n)
{
    net_stop_accepting(n);
    uv_close((uv_handle_t *)&n->accept_timer, NULL);
    for (struct conn *c = n->conns, *next; c != NULL; c = next) {
        next = c->next;
        conn_close(c);
    }
}

void net_free(struct net *n)
{
    if (n == NULL)
        return;
    SL_ASSERT(n->n_conns == 0);
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
