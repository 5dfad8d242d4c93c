/* Listeners: TCP and Unix sockets, and what comes in at them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net_internal.h"

#define PROBE_EVERY_S 1  /* once a peer has been silent for NET_PROBE_S */
#define PROBES        10 /* without an answer, and it is gone */

union address {
    struct sockaddr any;
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* ---- accepting ---- */

static void peer_name(const union address *a, char *out, size_t cap)
{
    char ip[INET6_ADDRSTRLEN] = "";
    if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in4.sin_addr, ip, sizeof ip);
        snprintf(out, cap, "%s:%u", ip, (unsigned)ntohs(a->in4.sin_port));
    } else if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
        snprintf(out, cap, "[%s]:%u", ip, (unsigned)ntohs(a->in6.sin6_port));
    } else {
        snprintf(out, cap, "unix");
    }
}

/* It is not watched until the timer resumes it. */
static void wait_for_room(struct listener *l)
{
    l->waiting = true;
    uv_poll_stop(&l->poll);
}

/* The peer's own faults say nothing of the next one; ours do. */
static bool failed_for_good(struct listener *l)
{
    if (errno == EAGAIN)
        return true;
    bool ours = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    if (ours) {
        sl_log(SL_WARN, "accept_failed", "bind=%s error=%s", l->bind.name, uv_err_name(-errno));
        wait_for_room(l);
        net_retry_later(l->net);
    }
    return ours;
}

static void accept_some(struct listener *l)
{
    for (uint32_t left = NET_ACCEPTS; left > 0; left--) {
        union address from = { 0 };
        socklen_t len = sizeof from;
        char peer[INET6_ADDRSTRLEN + 10];
        if (!net_may_accept(l->net)) {
            wait_for_room(l);
            net_retry_accepts(l->net);
            return;
        }
        int fd = accept4(l->fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && failed_for_good(l))
            return;
        if (fd < 0)
            continue;
        net_accepted(l->net);
        peer_name(&from, peer, sizeof peer);
        conn_open(l, fd, peer);
    }
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    (void)status; /* a listener's error is accept4's to tell */
    (void)events;
    accept_some(poll->data);
}

void listeners_resume(struct net *n)
{
    for (struct listener *l = n->listeners; l != NULL; l = l->next) {
        if (!l->waiting || !l->watched)
            continue;
        l->waiting = false;
        uv_poll_start(&l->poll, UV_READABLE, on_connections);
    }
}

/* ---- binding ---- */

static int fail(struct sl_buf *why, const struct net_bind *b, const char *reason)
{
    (void)!sl_buf_printf(why, "cannot listen on %s: %s", b->name, reason);
    return SL_ESYS;
}

static int fail_errno(struct sl_buf *why, const struct net_bind *b)
{
    return fail(why, b, uv_strerror(-errno));
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* Connections inherit them. Keep-alive: a half-open one without a keep-alive
 * of its own ends too. */
static int set_tcp_options(int fd)
{
    return set(fd, SOL_SOCKET, SO_REUSEADDR, 1) | set(fd, SOL_SOCKET, SO_KEEPALIVE, 1) |
           set(fd, IPPROTO_TCP, TCP_KEEPIDLE, NET_PROBE_S) | set(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S) |
           set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES) | set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

/* "::" means every address, whatever this system's default is. */
static int take_ipv4_too(int fd, const union address *a)
{
    return a->any.sa_family == AF_INET6 ? set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) : 0;
}

static int open_socket(struct listener *l, int family)
{
    l->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return l->fd < 0 ? -1 : 0;
}

static int bind_tcp(struct listener *l, struct sl_buf *why)
{
    union address a = { 0 };
    int err = uv_ip4_addr(l->bind.host, l->bind.port, &a.in4);
    if (err != 0)
        err = uv_ip6_addr(l->bind.host, l->bind.port, &a.in6);
    if (err != 0)
        return fail(why, &l->bind, uv_strerror(err));
    socklen_t len = a.any.sa_family == AF_INET ? sizeof a.in4 : sizeof a.in6;
    if (open_socket(l, a.any.sa_family) != 0 || set_tcp_options(l->fd) != 0 || take_ipv4_too(l->fd, &a) != 0 || bind(l->fd, &a.any, len) != 0)
        return fail_errno(why, &l->bind);
    return SL_OK;
}

/* Does anybody answer at this socket? */
static bool socket_in_use(const union address *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    int err = connect(fd, &a->any, sizeof a->un);
    bool used = err == 0 || errno == EAGAIN;
    close(fd);
    return used;
}

static int bind_unix(struct listener *l, struct sl_buf *why)
{
    struct stat st;
    union address a = { .un = { .sun_family = AF_UNIX } };
    const char *path = l->bind.path;
    if (strlen(path) >= sizeof a.un.sun_path)
        return fail(why, &l->bind, "the path is too long for a Unix socket");
    (void)memcpy(a.un.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return fail(why, &l->bind, "a file that is not a socket is in the way");
        if (socket_in_use(&a))
            return fail(why, &l->bind, "address already in use");
        unlink(path);
    }
    if (open_socket(l, AF_UNIX) != 0 || bind(l->fd, &a.any, sizeof a.un) != 0)
        return fail_errno(why, &l->bind);
    l->bound = true;
    if (l->bind.mode != 0 && chmod(path, l->bind.mode) != 0)
        return fail_errno(why, &l->bind);
    return SL_OK;
}

int net_listen(struct net *n, const struct net_bind *b, struct sl_buf *why)
{
    struct listener *l = SL_NEW(struct listener);
    l->fd = -1;
    l->net = n;
    l->bind = *b;
    *n->tail = l; /* owned by the room from here on, also when it fails */
    n->tail = &l->next;
    if (n->epoll < 0)
        return fail(why, b, "no epoll");
    int err = b->host != NULL ? bind_tcp(l, why) : bind_unix(l, why);
    if (err != SL_OK)
        return err;
    if (listen(l->fd, NET_BACKLOG) != 0)
        return fail_errno(why, b);
    uv_poll_init(n->cfg.loop, &l->poll, l->fd);
    l->poll.data = l;
    l->watched = true;
    uv_poll_start(&l->poll, UV_READABLE, on_connections);
    sl_log(SL_INFO, "listener_open", "bind=%s protocol=%s", b->name, b->listener->protocol->name);
    return SL_OK;
}

void listener_close(struct listener *l)
{
    if (l->watched)
        uv_close((uv_handle_t *)&l->poll, NULL);
    l->watched = false;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (l->bound)
        unlink(l->bind.path);
    l->bound = false;
}

uint16_t net_port(const struct net *n, uint32_t index)
{
    const struct listener *l = n->listeners;
    while (l != NULL && index-- > 0)
        l = l->next;
    union address a = { 0 };
    socklen_t len = sizeof a;
    if (l == NULL || l->bind.host == NULL || getsockname(l->fd, &a.any, &len) != 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in4.sin_port);
}
