/* Listeners: TCP and Unix sockets. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net_internal.h"

static void on_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    if (status < 0) {
        sl_log(SL_WARN, "accept_failed", "bind=%s error=%s", l->bind.name, uv_err_name(status));
        return;
    }
    if (net_may_accept(l->net))
        conn_accept(l);
    else
        l->waiting = true; /* libuv stops listening until it is accepted */
}

static int fail(struct sl_buf *why, const struct net_bind *b, const char *reason)
{
    (void)!sl_buf_printf(why, "cannot listen on %s: %s", b->name, reason);
    return SL_ESYS;
}

static int bind_tcp(struct net *n, struct listener *l, struct sl_buf *why)
{
    struct sockaddr_storage addr;
    int err = uv_ip4_addr(l->bind.host, l->bind.port, (struct sockaddr_in *)&addr);
    if (err != 0)
        err = uv_ip6_addr(l->bind.host, l->bind.port, (struct sockaddr_in6 *)&addr);
    uv_tcp_init(n->cfg.loop, &l->u.tcp);
    if (err == 0)
        err = uv_tcp_bind(&l->u.tcp, (const struct sockaddr *)&addr, 0);
    if (err == 0) /* connections inherit it: a half-open one without a keep-alive of its own ends too */
        err = uv_tcp_keepalive(&l->u.tcp, 1, NET_PROBE_S);
    return err == 0 ? SL_OK : fail(why, &l->bind, uv_strerror(err));
}

/* Does anybody answer at this socket? */
static bool socket_in_use(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    int err = connect(fd, (const struct sockaddr *)&addr, sizeof addr);
    bool used = err == 0 || errno == EAGAIN;
    close(fd);
    return used;
}

static int bind_unix(struct net *n, struct listener *l, struct sl_buf *why)
{
    struct stat st;
    const char *path = l->bind.path;
    uv_pipe_init(n->cfg.loop, &l->u.pipe, 0);
    if (strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return fail(why, &l->bind, "the path is too long for a Unix socket");
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return fail(why, &l->bind, "a file that is not a socket is in the way");
        if (socket_in_use(path))
            return fail(why, &l->bind, "address already in use");
        unlink(path);
    }
    int err = uv_pipe_bind(&l->u.pipe, path);
    if (err == 0 && l->bind.mode != 0 && chmod(path, l->bind.mode) != 0)
        err = uv_translate_sys_error(errno);
    return err == 0 ? SL_OK : fail(why, &l->bind, uv_strerror(err));
}

int net_listen(struct net *n, const struct net_bind *b, struct sl_buf *why)
{
    struct listener *l = SL_NEW(struct listener);
    l->net = n;
    l->bind = *b;
    *n->tail = l; /* owned by the room from here on, also when it fails */
    n->tail = &l->next;
    l->open = true;
    int err = b->host != NULL ? bind_tcp(n, l, why) : bind_unix(n, l, why);
    if (err != SL_OK)
        return err;
    l->u.handle.data = l;
    int uv = uv_listen(&l->u.stream, NET_BACKLOG, on_connection);
    if (uv != 0)
        return fail(why, b, uv_strerror(uv));
    sl_log(SL_INFO, "listener_open", "bind=%s protocol=%s", b->name, b->listener->protocol->name);
    return SL_OK;
}

uint16_t net_port(const struct net *n, uint32_t index)
{
    const struct listener *l = n->listeners;
    while (l != NULL && index-- > 0)
        l = l->next;
    if (l == NULL || l->bind.host == NULL)
        return 0;
    struct sockaddr_storage addr;
    int len = sizeof addr;
    if (uv_tcp_getsockname(&l->u.tcp, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    const struct sockaddr_in *in4 = (const struct sockaddr_in *)&addr;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&addr;
    uint16_t be = addr.ss_family == AF_INET6 ? in6->sin6_port : in4->sin_port;
    return (uint16_t)(be >> 8 | be << 8);
}
