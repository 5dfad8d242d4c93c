/* A connection: read into the shared buffer, write what the hub has, close so
 * that the last answer arrives (decision 40).
 *
 *   open ──hub: closing──▶ last write ──▶ shutdown ──EOF or 2 s──▶ closed
 *     └───── error, EOF ────────────────────────────────────────────▲      */
#include <stdio.h>

#include "net_internal.h"

static void peer_name(const struct conn *c, bool tcp, char *out, size_t cap)
{
    struct sockaddr_storage addr;
    int len = sizeof addr;
    char ip[64];
    if (!tcp || uv_tcp_getpeername(&c->u.tcp, (struct sockaddr *)&addr, &len) != 0) {
        snprintf(out, cap, "unix");
        return;
    }
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&addr;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;
    bool v6 = addr.ss_family == AF_INET6;
    uv_inet_ntop(addr.ss_family, v6 ? (const void *)&in6->sin6_addr : (const void *)&in4->sin_addr, ip, sizeof ip);
    uint16_t be = v6 ? in6->sin6_port : in4->sin_port;
    snprintf(out, cap, v6 ? "[%s]:%u" : "%s:%u", ip, (unsigned)(uint16_t)(be >> 8 | be << 8));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    if (--c->open_handles > 0)
        return;
    sl_free(c->farewell);
    sl_free(c); /* the only free of a connection */
}

static void forget_throttled(struct conn *c)
{
    struct conn **at = &c->net->throttled;
    while (*at != c)
        at = &(*at)->next_throttled;
    *at = c->next_throttled;
    c->throttled = false;
}

void conn_read_on(struct net *n)
{
    while (n->throttled != NULL) {
        struct conn *c = n->throttled;
        n->throttled = c->next_throttled;
        c->throttled = false;
        conn_update(c);
    }
}

/* Idempotent. The hub learns at once; memory goes when libuv is done. */
void conn_close(struct conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    struct net *n = c->net;
    if (c->throttled)
        forget_throttled(c);
    if (c->client != NULL) {
        n->cfg.turn.begin(n->cfg.turn.arg);
        hub_client_closed(c->client);
        c->client = NULL;
    }
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        n->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    n->n_conns--;
    uv_close(&c->u.handle, on_handle_closed);
    if (c->farewell != NULL)
        uv_close((uv_handle_t *)&c->farewell->timer, on_handle_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = handle->data;
    *buf = uv_buf_init((char *)c->net->read_buffer, NET_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

static void set_reading(struct conn *c, bool reading)
{
    if (c->reading == reading)
        return;
    c->reading = reading;
    if (reading)
        uv_read_start(&c->u.stream, on_alloc, on_read);
    else
        uv_read_stop(&c->u.stream);
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = stream->data;
    if (nread < 0) {
        conn_close(c);
        return;
    }
    if (nread == 0 || c->lingering || c->client == NULL)
        return;
    c->net->cfg.turn.begin(c->net->cfg.turn.arg);
    hub_client_feed(c->client, sl_bytes_of(buf->base, (size_t)nread));
    if (!hub_client_reading(c->client)) {
        set_reading(c, false); /* at once: the client must not be fed while paused */
    } else if ((size_t)nread == NET_READ_BYTES) {
        set_reading(c, false); /* that was its share of this turn: others are waiting */
        c->next_throttled = c->net->throttled;
        c->net->throttled = c;
        c->throttled = true;
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;
    sl_free(c->write);
    c->write = NULL;
    if (status == UV_ECANCELED)
        return;
    if (status < 0)
        conn_close(c);
    else if (!c->closing)
        conn_update(c);
}

static void on_linger_timeout(uv_timer_t *t)
{
    conn_close(t->data);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    struct conn *c = req->handle->data;
    if (status < 0 && status != UV_ECANCELED)
        conn_close(c);
}

/* It is closed after this time, whatever the peer does or does not do. */
static void farewell_within(struct conn *c, uint64_t ms)
{
    if (c->farewell == NULL) {
        c->farewell = SL_NEW(struct farewell);
        uv_timer_init(c->net->cfg.loop, &c->farewell->timer);
        c->farewell->timer.data = c;
        c->open_handles++;
    }
    uv_timer_start(&c->farewell->timer, on_linger_timeout, ms, 0);
}

/* The last answer is written: no more from us, discard what still comes. */
static void linger(struct conn *c)
{
    if (c->lingering)
        return;
    c->lingering = true;
    farewell_within(c, NET_LINGER_MS);
    set_reading(c, true);
    if (uv_shutdown(&c->farewell->shutdown, &c->u.stream, on_shutdown) != 0)
        conn_close(c);
}

/* Writes what it can now; the rest goes with a request of its own. */
static int write_output(struct conn *c, struct sl_buf *out)
{
    struct sl_bytes v = sl_buf_view(out);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)v.p, (unsigned)v.n);
    int wrote = uv_try_write(&c->u.stream, &buf, 1);
    if (wrote < 0 && wrote != UV_EAGAIN)
        return SL_ECLOSED;
    size_t done = wrote > 0 ? (size_t)wrote : 0;
    hub_counters(c->net->cfg.hub)->bytes_written += v.n;
    if (done < v.n) {
        size_t rest = v.n - done;
        c->write = sl_alloc(sizeof *c->write + rest);
        memcpy(c->write->bytes, v.p + done, rest);
        uv_buf_t left = uv_buf_init((char *)c->write->bytes, (unsigned)rest);
        if (uv_write(&c->write->req, &c->u.stream, &left, 1, on_written) != 0) {
            sl_free(c->write);
            c->write = NULL;
            return SL_ECLOSED;
        }
    }
    sl_buf_consume(out, v.n);
    return SL_OK;
}

/* A peer that does not read must not keep its connection for ever. */
static void end_with_answer(struct conn *c, bool written)
{
    if (written) {
        linger(c);
        return;
    }
    set_reading(c, false);
    if (c->farewell == NULL)
        farewell_within(c, NET_LAST_WRITE_MS);
}

void conn_update(struct conn *c)
{
    if (c->closing || c->client == NULL)
        return;
    struct sl_buf *out = hub_client_output(c->client);
    if (c->write == NULL && sl_buf_len(out) > 0 && write_output(c, out) != SL_OK) {
        conn_close(c);
        return;
    }
    if (hub_client_closing(c->client)) {
        end_with_answer(c, c->write == NULL && sl_buf_len(out) == 0);
        return;
    }
    set_reading(c, c->write == NULL && !c->throttled && hub_client_reading(c->client));
}

static void refuse_at_once(struct conn *c)
{
    hub_counters(c->net->cfg.hub)->connections_refused++;
    uv_close(&c->u.handle, on_handle_closed);
}

static void enlist(struct conn *c)
{
    struct net *n = c->net;
    c->next = n->conns;
    if (n->conns != NULL)
        n->conns->prev = c;
    n->conns = c;
    n->n_conns++;
}

void conn_accept(struct listener *l)
{
    struct net *n = l->net;
    struct conn *c = SL_NEW(struct conn);
    bool tcp = l->bind.host != NULL;
    char peer[96];
    c->net = n;
    c->open_handles = 1;
    if (tcp)
        uv_tcp_init(n->cfg.loop, &c->u.tcp);
    else
        uv_pipe_init(n->cfg.loop, &c->u.pipe, 0);
    c->u.handle.data = c;
    /* Some room above the limit, so that most of those over it are told so in
     * their own protocol's words. */
    if (uv_accept(&l->u.stream, &c->u.stream) != 0 || n->n_conns >= n->cfg.max_connections + 1024) {
        refuse_at_once(c);
        return;
    }
    if (tcp)
        uv_tcp_nodelay(&c->u.tcp, 1);
    peer_name(c, tcp, peer, sizeof peer);
    enlist(c);
    n->cfg.turn.begin(n->cfg.turn.arg);
    c->client = hub_client_open(n->cfg.hub, l->bind.listener, peer, c);
    set_reading(c, true);
}
