/* A connection: read into the shared buffer, write what the hub has, close so
 * that the last answer arrives (decision 40).
 *
 *   open ──hub: closing──▶ last write ──▶ shutdown ──EOF or 2 s──▶ closed
 *     └───── error, EOF ────────────────────────────────────────────▲      */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_internal.h"

/* ---- the end ---- */

static void on_timer_closed(uv_handle_t *timer)
{
    sl_free(timer->data);
}

static void unlist(struct conn *c)
{
    struct net *n = c->net;
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        n->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    n->n_conns--;
}

/* Idempotent. The hub learns at once; memory goes at the end of the turn. */
void conn_close(struct conn *c)
{
    if (c->closed)
        return;
    struct net *n = c->net;
    n->cfg.turn.begin(n->cfg.turn.arg);
    hub_client_closed(c->client);
    unread_remove(c);
    unlist(c);
    close(c->fd);
    if (c->farewell != NULL)
        uv_close((uv_handle_t *)&c->farewell->timer, on_timer_closed);
    c->closed = true;
    c->next_unread = n->closed;
    n->closed = c;
}

void conns_reap(struct net *n)
{
    while (n->closed != NULL) {
        struct conn *c = n->closed;
        n->closed = c->next_unread;
        sl_free(c); /* the only free of a connection */
    }
}

static void on_farewell_timeout(uv_timer_t *t)
{
    struct farewell *f = t->data;
    conn_close(f->conn);
}

/* It is closed after this time, whatever the peer does or does not do. */
static void farewell_within(struct conn *c, uint64_t ms)
{
    if (c->farewell == NULL) {
        c->farewell = SL_NEW(struct farewell);
        c->farewell->conn = c;
        uv_timer_init(c->net->cfg.loop, &c->farewell->timer);
        c->farewell->timer.data = c->farewell;
    }
    uv_timer_start(&c->farewell->timer, on_farewell_timeout, ms, 0);
}

/* ---- reading ---- */

static bool may_read(const struct conn *c)
{
    return c->lingering || hub_client_reading(c->client);
}

/* At once, so that a client is not fed while paused or closing. */
static void take_input(struct conn *c, size_t n)
{
    if (c->lingering)
        return; /* what comes after the end is discarded */
    struct net *net = c->net;
    net->cfg.turn.begin(net->cfg.turn.arg);
    hub_client_feed(c->client, sl_bytes_of(net->read_buffer, n));
}

/* One read is a connection's share of a turn: others are waiting. */
void conn_read(struct conn *c)
{
    if (c->closed || !may_read(c))
        return;
    ssize_t n = recv(c->fd, c->net->read_buffer, NET_READ_BYTES, 0);
    if (n < 0 && errno == EAGAIN) {
        c->readable = false;
        return;
    }
    if (n == 0 || (n < 0 && errno != EINTR)) {
        conn_close(c);
        return;
    }
    if (n > 0)
        take_input(c, (size_t)n);
    /* A read that came short emptied the socket: whatever comes now is an edge
     * again. Not so before EOF and errors, before urgent data, and at Unix
     * sockets, where a descriptor that was passed ends a read. */
    c->readable = n < 0 || (size_t)n == NET_READ_BYTES || c->doubtful;
    if (c->readable && may_read(c))
        unread_add(c);
}

/* ---- writing ---- */

/* A slow reader has waited for this room: there is a turn for what comes next. */
static void tell_written(struct conn *c)
{
    struct net *n = c->net;
    if (hub_client_written(c->client, c->blocked))
        n->cfg.turn.begin(n->cfg.turn.arg);
}

/* Writes what the socket takes. The rest stays where it is. */
static int write_output(struct conn *c, struct sl_buf *out)
{
    struct sl_bytes v = sl_buf_view(out);
    ssize_t n = send(c->fd, v.p, v.n, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        return SL_ECLOSED;
    size_t done = n > 0 ? (size_t)n : 0;
    hub_counters(c->net->cfg.hub)->bytes_written += done;
    sl_buf_consume(out, done);
    c->blocked = done < v.n;
    if (c->blocked)
        poll_writing(c);
    tell_written(c);
    return SL_OK;
}

/* Most are silent for long after their first answer, and each would keep its
 * buffer until then. */
static void give_back_first(struct conn *c, struct sl_buf *out)
{
    if (!c->answered && !c->blocked)
        sl_buf_fini(out);
    c->answered = true;
}

/* No more from us, and what still comes is discarded. */
static void linger(struct conn *c)
{
    if (c->lingering)
        return;
    c->lingering = true;
    farewell_within(c, NET_LINGER_MS);
    if (shutdown(c->fd, SHUT_WR) != 0)
        conn_close(c);
    else if (c->readable)
        unread_add(c);
}

void conn_update(struct conn *c)
{
    if (c->closed)
        return;
    struct sl_buf *out = hub_client_output(c->client);
    if (!c->blocked && sl_buf_len(out) > 0) {
        if (write_output(c, out) != SL_OK) {
            conn_close(c);
            return;
        }
        give_back_first(c, out);
    } else if (c->blocked) {
        tell_written(c); /* it has grown */
    }
    if (!hub_client_closing(c->client)) {
        if (c->readable && may_read(c))
            unread_add(c);
    } else if (!c->blocked) {
        linger(c);
    } else if (c->farewell == NULL) {
        farewell_within(c, NET_LAST_WRITE_MS); /* who does not read does not keep its connection for ever */
    }
}

void conn_event(struct conn *c, uint32_t events)
{
    if (c->closed)
        return;
    if ((events & EPOLLOUT) != 0 && c->blocked) {
        c->blocked = false;
        conn_update(c);
    }
    if ((events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    c->readable = true;
    c->doubtful = c->doubtful || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0;
    if (!c->listed)
        conn_read(c);
}

/* ---- the beginning ---- */

static void enlist(struct conn *c)
{
    struct net *n = c->net;
    c->next = n->conns;
    if (n->conns != NULL)
        n->conns->prev = c;
    n->conns = c;
    n->n_conns++;
}

void conn_open(struct listener *l, int fd, const char *peer)
{
    struct net *n = l->net;
    struct conn *c = SL_NEW(struct conn);
    c->net = n;
    c->fd = fd;
    c->doubtful = l->bind.host == NULL;
    /* Some room above the limit, so that most of those over it are told so in
     * their own protocol's words. */
    if (n->n_conns >= n->cfg.max_connections + 1024 || poll_reading(c) != SL_OK) {
        hub_counters(n->cfg.hub)->connections_refused++;
        close(fd);
        sl_free(c);
        return;
    }
    enlist(c);
    n->cfg.turn.begin(n->cfg.turn.arg);
    c->client = hub_client_open(n->cfg.hub, l->bind.listener, peer, c);
}
