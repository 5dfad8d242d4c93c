/* Which connections are ready: one epoll of this room's own, watched by the
 * loop as a single descriptor. A stream handle of libuv alone is four times the
 * size of a connection here, and each pause of reading would be a system call.
 *
 * They are watched by edge: an event says that there is something new,
 * once. What a connection leaves unread is remembered in the connection; when
 * it may read on it is listed in `unread`, and read before the loop waits. */
#include <unistd.h>

#include "net_internal.h"

#define READING (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET)

/* What is taken at once is what one turn answers. Thousands that come or go together cost
 * much more each than those that only talk, who would all wait until the last of them
 * was dealt with. */
static void fit_take(struct net *n, int found, uint64_t took_ns)
{
    if (took_ns > NET_TURN_NS)
        n->take = n->take / 2 > NET_EVENTS_LEAST ? n->take / 2 : NET_EVENTS_LEAST;
    else if ((uint32_t)found == n->take && took_ns < NET_TURN_NS / 4)
        n->take = n->take * 2 < NET_EVENTS ? n->take * 2 : NET_EVENTS;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct net *n = poll->data;
    (void)status;
    (void)events;
    uint64_t began_ns = uv_hrtime();
    int found = epoll_wait(n->epoll, n->events, (int)n->take, 0);
    for (int i = 0; i < found; i++)
        conn_event(n->events[i].data.ptr, n->events[i].events);
    fit_take(n, found, uv_hrtime() - began_ns);
}

/* Once each: who lists itself again has had its share of this turn. As many as
 * of those that are ready: others than connections are waiting, too. */
static void on_idle(uv_idle_t *idle)
{
    struct net *n = idle->data;
    uint32_t left = n->n_unread < NET_EVENTS ? n->n_unread : NET_EVENTS;
    for (; left > 0 && n->unread != NULL; left--) {
        struct conn *c = n->unread;
        unread_remove(c);
        conn_read(c);
    }
    if (n->unread == NULL)
        uv_idle_stop(&n->idle);
}

void poll_open(struct net *n)
{
    n->unread_tail = &n->unread;
    n->take = NET_EVENTS;
    uv_idle_init(n->cfg.loop, &n->idle);
    n->poll.data = n->idle.data = n;
    n->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (n->epoll < 0)
        return; /* then no listener opens, and says why */
    uv_poll_init(n->cfg.loop, &n->poll, n->epoll);
    uv_poll_start(&n->poll, UV_READABLE, on_ready);
}

static void on_poll_closed(uv_handle_t *poll)
{
    struct net *n = poll->data;
    close(n->epoll);
}

void poll_close(struct net *n)
{
    uv_close((uv_handle_t *)&n->idle, NULL);
    if (n->epoll >= 0)
        uv_close((uv_handle_t *)&n->poll, on_poll_closed);
}

static int control(struct conn *c, int op, uint32_t events)
{
    struct epoll_event e = { .events = events, .data.ptr = c };
    return epoll_ctl(c->net->epoll, op, c->fd, &e) == 0 ? SL_OK : SL_ESYS;
}

int poll_reading(struct conn *c)
{
    return control(c, EPOLL_CTL_ADD, READING);
}

void poll_writing(struct conn *c)
{
    int err = control(c, EPOLL_CTL_MOD, READING | EPOLLOUT);
    SL_ASSERT(err == SL_OK); /* it was added, and takes no memory to change */
}

void unread_add(struct conn *c)
{
    struct net *n = c->net;
    if (c->listed)
        return;
    uv_idle_start(&n->idle, on_idle);
    c->listed = true;
    c->next_unread = NULL;
    *n->unread_tail = c;
    n->unread_tail = &c->next_unread;
    n->n_unread++;
}

void unread_remove(struct conn *c)
{
    struct net *n = c->net;
    if (!c->listed)
        return;
    struct conn **at = &n->unread;
    while (*at != c)
        at = &(*at)->next_unread;
    *at = c->next_unread;
    if (*at == NULL)
        n->unread_tail = at;
    c->listed = false;
    n->n_unread--;
}
