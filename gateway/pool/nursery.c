/* The gateway's side of the nursery: the fork, orders out, reports in. */
#include "pool/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "core/alloc.h"
#include "core/log.h"
#include "nursery_child.h"
#include "nursery_wire.h"

#define NURSERY_SOCK 3 /* the nursery's only descriptor besides 0, 1 and 2 */
#define SEND_BUFFER (1 << 20)

/* An order that the socket did not take at once. */
struct order {
    struct order *next;
    struct sl_buf bytes;
    int fds[NURSERY_FDS_MAX];
    size_t n_fds;
};

struct nursery {
    int sock;
    pid_t pid;
    uv_poll_t poll;
    bool attached, dead, closing;
    struct nursery_events events;
    struct nursery_reports reports;
    struct order *first, **last; /* waiting to be sent */
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- the fork ---- */

SL_NORETURN static void be_the_nursery(int sock, const struct nursery_config *cfg)
{
    if (sock != NURSERY_SOCK && dup3(sock, NURSERY_SOCK, O_CLOEXEC) < 0)
        _exit(1);
    (void)close_range(NURSERY_SOCK + 1, ~0u, 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
        (void)dup2(null, STDOUT_FILENO);
        (void)close(null);
    }
    nursery_child_run(NURSERY_SOCK, cfg);
    _exit(0);
}

int nursery_fork(const struct nursery_config *cfg, struct nursery **out)
{
    struct nursery_config used = *cfg;
    struct rlimit nofile;
    if (used.worker_nofile == 0 && getrlimit(RLIMIT_NOFILE, &nofile) == 0)
        used.worker_nofile = nofile.rlim_cur;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return SL_ESYS;
    pid_t pid = fork();
    if (pid == 0)
        be_the_nursery(ends[1], &used);
    (void)close(ends[1]);
    int size = SEND_BUFFER;
    (void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* as far as the system allows */
    if (pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        (void)close(ends[0]);
        return SL_ESYS;
    }
    struct nursery *n = SL_NEW(struct nursery);
    n->sock = ends[0];
    n->pid = pid;
    n->last = &n->first;
    *out = n;
    return SL_OK;
}

pid_t nursery_pid(const struct nursery *n)
{
    return n->pid;
}

/* ---- orders ---- */

static void order_free(struct order *o)
{
    for (size_t i = 0; i < o->n_fds; i++)
        (void)close(o->fds[i]);
    sl_buf_fini(&o->bytes);
    sl_free(o);
}

/* One packet with its descriptors: 0, or the errno. */
static int order_send(const struct nursery *n, const struct order *o)
{
    union {
        char bytes[CMSG_SPACE(NURSERY_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = { { 0 } };
    struct iovec iov = { o->bytes.p + o->bytes.start, sl_buf_len(&o->bytes) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (o->n_fds > 0) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(o->n_fds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(o->n_fds * sizeof(int));
        memcpy(CMSG_DATA(h), o->fds, o->n_fds * sizeof(int));
    }
    ssize_t sent = sendmsg(n->sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent < 0 ? errno : 0;
}

static void on_socket(uv_poll_t *poll, int status, int events);

static void watch(struct nursery *n)
{
    int events = UV_READABLE | (n->first != NULL ? UV_WRITABLE : 0);
    if (n->attached && !n->dead)
        (void)uv_poll_start(&n->poll, events, on_socket);
}

/* Sends what waits. Errors other than "full" show as the end of the socket. */
static void orders_flush(struct nursery *n)
{
    while (n->first != NULL) {
        struct order *o = n->first;
        int err = order_send(n, o);
        if (err == EAGAIN || err == EINTR || err == ENOBUFS || err == ETOOMANYREFS)
            return;
        n->first = o->next;
        if (n->first == NULL)
            n->last = &n->first;
        order_free(o);
    }
}

/* Takes `o`. */
static void order_push(struct nursery *n, struct order *o)
{
    if (n->dead || n->closing) {
        order_free(o);
        return;
    }
    bool waited = n->first != NULL;
    *n->last = o;
    n->last = &o->next;
    if (!waited)
        orders_flush(n);
    if (n->first != NULL)
        watch(n);
}

static struct order *order_new(void)
{
    return SL_NEW(struct order);
}

void nursery_lock(struct nursery *n, int fd)
{
    struct order *o = order_new();
    o->fds[0] = fd;
    o->n_fds = 1;
    uint8_t kind = ORDER_LOCK;
    SL_ASSERT(sl_buf_append(&o->bytes, &kind, 1) == SL_OK);
    order_push(n, o);
}

static void make_failure(struct order *o, uint64_t token, int error)
{
    uint8_t packet[13];
    uint8_t *p = sl_wr_u8(packet, ORDER_FAIL);
    p = sl_wr_u64le(p, token);
    (void)sl_wr_u32le(p, (uint32_t)error);
    sl_buf_clear(&o->bytes);
    SL_ASSERT(sl_buf_append(&o->bytes, packet, sizeof packet) == SL_OK);
    for (size_t i = 0; i < o->n_fds; i++)
        (void)close(o->fds[i]);
    o->n_fds = 0;
}

void nursery_spawn(struct nursery *n, const struct nursery_spawn *s)
{
    SL_ASSERT(s->n_fds <= NURSERY_FDS_MAX && s->n_rlimits <= NURSERY_RLIMITS_MAX);
    struct order *o = order_new();
    for (size_t i = 0; i < s->n_fds; i++)
        o->fds[o->n_fds++] = s->fds[i].fd;
    /* What cannot be sent goes there and back as a failure, so that the
     * caller is never called from within its own call. */
    if (nursery_spawn_encode(&o->bytes, s) != SL_OK)
        make_failure(o, s->token, E2BIG);
    order_push(n, o);
}

void nursery_kill(struct nursery *n, pid_t pid, int signum, bool group)
{
    uint8_t packet[10];
    uint8_t *p = sl_wr_u8(packet, ORDER_KILL);
    p = sl_wr_u32le(p, (uint32_t)pid);
    p = sl_wr_u32le(p, (uint32_t)signum);
    (void)sl_wr_u8(p, group ? 1 : 0);
    struct order *o = order_new();
    SL_ASSERT(sl_buf_append(&o->bytes, packet, sizeof packet) == SL_OK);
    order_push(n, o);
}

/* ---- reports ---- */

static void on_report(struct nursery *n, const struct nursery_report *r)
{
    const struct nursery_reports *to = &n->reports;
    switch (r->kind) {
    case REPORT_LOCKED:
        if (n->events.locked != NULL)
            n->events.locked(n->events.arg, r->error == 0 ? SL_OK : SL_ESYS);
        break;
    case REPORT_SPAWNED:
        if (to->spawned != NULL)
            to->spawned(to->arg, r->token, r->exit.pid);
        break;
    case REPORT_FAILED:
        if (to->failed != NULL)
            to->failed(to->arg, r->token, r->error, r->stage);
        break;
    case REPORT_EXITED:
        if (to->exited != NULL)
            to->exited(to->arg, &r->exit);
        break;
    case REPORT_REFUSED:
        sl_log(SL_ERROR, "nursery_refused", "reason=\"%s\"", r->stage);
        break;
    }
}

static void drop_orders(struct nursery *n)
{
    while (n->first != NULL) {
        struct order *o = n->first;
        n->first = o->next;
        order_free(o);
    }
    n->last = &n->first;
}

static void on_closed(uv_handle_t *handle)
{
    struct nursery *n = handle->data;
    (void)close(n->sock);
    if (n->done != NULL)
        n->done(n->done_arg);
    sl_free(n);
}

/* The socket's end comes while the process dies: the wait is a matter of
 * microseconds, and after it the lock is free. */
static void on_end(struct nursery *n)
{
    n->dead = true;
    drop_orders(n);
    (void)uv_poll_stop(&n->poll);
    while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (n->closing) {
        uv_close((uv_handle_t *)&n->poll, on_closed);
        return;
    }
    if (n->reports.dead != NULL)
        n->reports.dead(n->reports.arg);
    if (n->events.dead != NULL)
        n->events.dead(n->events.arg);
}

/* False: the socket has ended, or there is nothing more now. */
static bool read_report(struct nursery *n, bool *ended)
{
    uint8_t packet[NURSERY_REPORT_BYTES_MAX];
    ssize_t got = recv(n->sock, packet, sizeof packet, MSG_DONTWAIT);
    if (got <= 0) {
        *ended = got == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    struct nursery_report r;
    if (nursery_report_decode(sl_bytes_of(packet, (size_t)got), &r) == SL_OK)
        on_report(n, &r);
    else
        sl_log(SL_ERROR, "nursery_report_malformed", "bytes=%zd", got);
    return true;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct nursery *n = poll->data;
    bool ended = status < 0;
    (void)events;
    if (!ended) {
        orders_flush(n);
        while (read_report(n, &ended))
            ;
    }
    if (ended)
        on_end(n);
    else
        watch(n);
}

/* ---- the gateway's handle ---- */

int nursery_attach(struct nursery *n, struct uv_loop_s *loop, const struct nursery_events *events)
{
    n->events = *events;
    if (uv_poll_init(loop, &n->poll, n->sock) != 0)
        return SL_ESYS;
    n->poll.data = n;
    n->attached = true;
    watch(n);
    return SL_OK;
}

void nursery_listen(struct nursery *n, const struct nursery_reports *reports)
{
    n->reports = reports != NULL ? *reports : (struct nursery_reports){ 0 };
}

void nursery_close(struct nursery *n, void (*done)(void *arg), void *arg)
{
    SL_ASSERT(n->attached && !n->closing);
    n->closing = true;
    n->done = done;
    n->done_arg = arg;
    if (n->dead)
        uv_close((uv_handle_t *)&n->poll, on_closed);
    else
        (void)shutdown(n->sock, SHUT_WR);
}
