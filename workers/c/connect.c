/* Where the gateway is, and the two ends of a connection: HELLO and WELCOME, BYE. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "internal.h"

#define WAIT_MIN_MS   100u
#define WAIT_MAX_MS   30000u
#define LIVED_WELL_US 10000000u

/* ---- where ---- */

static char *copy_of(const char *text)
{
    if (text == NULL)
        return NULL;
    size_t n = strlen(text) + 1;
    return memcpy(sl_alloc(n), text, n);
}

/* The descriptor that a pool gives, or the path of a worker_socket. What the program says counts more
 * than the environment, and there a pool that started us more than a variable that came down
 * from somewhere. */
static void find_path(struct sluice_worker *w, const struct sluice_worker_options *o)
{
    if (o->use_fd)
        return;
    const char *path = o->socket;
    if (path == NULL && getenv("SLUICE_FD") == NULL)
        path = getenv("SLUICE_SOCKET");
    if (path == NULL)
        return;
    w->path = copy_of(path);
    w->token = copy_of(o->token != NULL ? o->token : getenv("SLUICE_TOKEN"));
}

/* Only a decimal number that is an open socket: a forgotten variable must not make us write
 * frames into somebody's file. */
static int fd_of_environment(int *out)
{
    const char *text = getenv("SLUICE_FD");
    uint64_t fd;
    if (text == NULL)
        return worker_fail(SLUICE_WORKER_ENOFD,
                           "SLUICE_FD is not set: let a sluice pool with mode \"socket\" start me, "
                           "or set SLUICE_SOCKET to the path of its worker_socket");
    if (sl_bytes_u64(sl_str(text), INT32_MAX, &fd) != SL_OK)
        return worker_fail(SLUICE_WORKER_ENOFD, "SLUICE_FD is not a number");
    *out = (int)fd;
    return SLUICE_WORKER_OK;
}

static int check_socket(int fd)
{
    int type;
    socklen_t n = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_STREAM)
        return worker_fail(SLUICE_WORKER_ENOFD,
                           "the descriptor in SLUICE_FD is not a stream socket");
    return SLUICE_WORKER_OK;
}

static int take_fd(struct sluice_worker *w, const struct sluice_worker_options *o)
{
    int fd = o->fd;
    int err = o->use_fd ? SLUICE_WORKER_OK : fd_of_environment(&fd);
    if (err == SLUICE_WORKER_OK)
        err = check_socket(fd);
    if (err == SLUICE_WORKER_OK)
        w->fd = fd;
    return err;
}

static int connect_path(struct sluice_worker *w)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    size_t n = strlen(w->path);
    if (n == 0 || n >= sizeof to.sun_path)
        return worker_fail(SLUICE_WORKER_EINVAL, "a socket's path has 1 to 107 bytes");
    memcpy(to.sun_path, w->path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return worker_fail_errno("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        int err = worker_fail_errno(w->path);
        (void)close(fd);
        return err;
    }
    w->fd = fd;
    return SLUICE_WORKER_OK;
}

/* ---- HELLO and WELCOME ---- */

static void keep_name(char out[WIRE_NAME_MAX + 1], struct sl_bytes name)
{
    (void)snprintf(out, WIRE_NAME_MAX + 1, "%.*s", (int)name.n, (const char *)name.p);
}

static int take_welcome(struct sluice_worker *w, const struct wire_frame *f)
{
    if (f->type == WIRE_ERROR)
        return worker_take_control(w, f);
    if (f->type != WIRE_WELCOME)
        return worker_fail(SLUICE_WORKER_EPROTOCOL, "the first frame is not WELCOME");
    if (f->u.welcome.version != WIRE_VERSION)
        return worker_fail(SLUICE_WORKER_EPROTOCOL, "the gateway speaks another version");
    w->welcome = f->u.welcome;
    keep_name(w->queue, f->u.welcome.queue);
    keep_name(w->pool, f->u.welcome.pool);
    keep_name(w->node, f->u.welcome.node);
    return SLUICE_WORKER_OK;
}

static int say_hello(struct sluice_worker *w)
{
    struct wire_hello hello = { .version = WIRE_VERSION,
                                .flags = w->hello_flags,
                                .prefetch = w->prefetch,
                                .name = sl_str(w->name),
                                .token = worker_text(w->token) };
    if (wire_encode_hello(&w->out, &hello) != SL_OK)
        return worker_fail(SLUICE_WORKER_EINVAL, "a token is UTF-8 of at most 1,024 bytes");
    return stream_flush(w);
}

/* Deliveries may be in the same read as WELCOME and stay in the inbox. */
static int greet(struct sluice_worker *w)
{
    int err = say_hello(w);
    size_t bytes = 0;
    while (err == SLUICE_WORKER_OK && bytes == 0) {
        struct wire_frame f;
        bool got;
        err = stream_read(w, &got);
        if (err == SLUICE_WORKER_OK && !got)
            err = stream_wait(w, FOREVER);
        if (err == SLUICE_WORKER_OK && got)
            err = stream_frame(w, w->in.start, &f, &bytes);
        if (err == SLUICE_WORKER_OK && bytes > 0)
            err = take_welcome(w, &f);
        if (err == SLUICE_WORKER_OK && worker_stopping(w) && bytes == 0)
            return SLUICE_WORKER_DRAINED;
    }
    w->in.start = bytes;
    w->in.checked = bytes;
    return err;
}

static void begin_connection(struct sluice_worker *w)
{
    stream_reset(w);
    w->batch.n = 0;
    w->batch.bytes = 0;
    w->broken = SLUICE_WORKER_OK;
    w->draining = false;
    w->served = false;
    w->last_ref = 0;
    w->connection++;
}

static int connect_once(struct sluice_worker *w)
{
    begin_connection(w);
    int err = w->path == NULL ? SLUICE_WORKER_OK : connect_path(w);
    if (err == SLUICE_WORKER_OK)
        err = greet(w);
    if (err == SLUICE_WORKER_OK) {
        /* Programs that the handler starts must not hold the gateway's socket open. */
        (void)fcntl(w->fd, F_SETFD, FD_CLOEXEC);
        w->connected_us = stream_now_us();
        return err;
    }
    if (w->path != NULL && w->fd >= 0)
        (void)close(w->fd); /* else it stays the caller's */
    w->fd = -1;
    w->broken = err;
    return err;
}

/* ---- again ---- */

bool worker_may_reconnect(struct sluice_worker *w, int err)
{
    if (w->path == NULL || worker_stopping(w))
        return false;
    return err == SLUICE_WORKER_EGONE || err == SLUICE_WORKER_DRAINED ||
           err == SLUICE_WORKER_ESTORE;
}

/* From half to one and a half: workers that lost one gateway do not come back as one crowd. */
static uint32_t jittered(uint32_t ms)
{
    uint32_t r = 0;
    if (getrandom(&r, sizeof r, GRND_NONBLOCK) != (ssize_t)sizeof r)
        r = (uint32_t)stream_now_us();
    return ms / 2 + (uint32_t)((uint64_t)ms * (r >> 16) >> 16);
}

static void wait_before_try(struct sluice_worker *w)
{
    uint32_t ms = w->wait_ms;
    w->wait_ms = ms > w->wait_max_ms / 2 ? w->wait_max_ms : ms * 2;
    stream_pause(w, jittered(ms));
}

static int connect_patiently(struct sluice_worker *w)
{
    int err = connect_once(w);
    while (worker_may_reconnect(w, err)) {
        wait_before_try(w);
        if (worker_stopping(w))
            return SLUICE_WORKER_DRAINED;
        err = connect_once(w);
    }
    return err;
}

/* BYE, unless there is nobody to say it to. */
static void end_connection(struct sluice_worker *w)
{
    if (w->fd < 0)
        return;
    if (w->broken == SLUICE_WORKER_OK && wire_encode_empty(&w->out, WIRE_BYE) == SL_OK) {
        int err = stream_flush(w);
        (void)err; /* the gateway has gone, and with it whoever would care */
    }
    (void)close(w->fd);
    w->fd = -1;
}

/* A connection that worked makes the waits begin anew. */
int sluice_worker_reconnect(struct sluice_worker *w)
{
    if (w->path == NULL)
        return worker_fail(SLUICE_WORKER_EINVAL, "only an external worker can connect again");
    end_connection(w);
    if (w->served || stream_now_us() - w->connected_us >= LIVED_WELL_US)
        w->wait_ms = w->wait_min_ms;
    wait_before_try(w);
    return worker_stopping(w) ? SLUICE_WORKER_DRAINED : connect_patiently(w);
}

/* ---- open and close ---- */

static void worker_free(struct sluice_worker *w)
{
    give_sigterm_back(w);
    if (w->stop_fd >= 0)
        (void)close(w->stop_fd);
    for (struct sluice_worker_message *m = w->copies; m != NULL; m = m->next)
        m->worker = NULL;
    sl_free(w->batch.messages);
    sl_free(w->in.p);
    sl_free(w->in.held);
    sl_free(w->path);
    sl_free(w->token);
    sl_buf_fini(&w->out);
    sl_buf_fini(&w->scratch);
    sl_free(w);
}

static struct sluice_worker *worker_new(const struct sluice_worker_options *o)
{
    struct sluice_worker *w = SL_NEW(struct sluice_worker);
    w->fd = -1;
    w->batch.worker = w;
    w->reader = (struct wire_reader){ WIRE_FROM_GATEWAY, WIRE_FRAME_MAX, NULL };
    w->prefetch = o->prefetch;
    w->hello_flags = (uint8_t)((o->soft_limit ? WIRE_WANTS_SOFT_LIMIT : 0) |
                               (o->gathers ? WIRE_GATHERS : 0));
    w->wait_min_ms = o->reconnect_min_ms > 0 ? o->reconnect_min_ms : WAIT_MIN_MS;
    w->wait_max_ms = o->reconnect_max_ms > 0 ? o->reconnect_max_ms : WAIT_MAX_MS;
    if (w->wait_max_ms < w->wait_min_ms)
        w->wait_max_ms = w->wait_min_ms;
    w->wait_ms = w->wait_min_ms;
    keep_name(w->name, sl_str(o->name == NULL ? "c" : o->name));
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w;
}

int sluice_worker_open(const struct sluice_worker_options *options, struct sluice_worker **out)
{
    static const struct sluice_worker_options defaults;
    const struct sluice_worker_options *o = options == NULL ? &defaults : options;
    struct sluice_worker *w = worker_new(o);
    int err = w->stop_fd < 0 ? worker_fail_errno("eventfd") : SLUICE_WORKER_OK;
    if (err == SLUICE_WORKER_OK) {
        find_path(w, o);
        err = w->path != NULL ? SLUICE_WORKER_OK : take_fd(w, o);
    }
    if (err == SLUICE_WORKER_OK && !o->keep_sigterm)
        take_sigterm(w);
    if (err == SLUICE_WORKER_OK)
        err = o->patient ? connect_patiently(w) : connect_once(w);
    if (err != SLUICE_WORKER_OK) {
        worker_free(w);
        return err;
    }
    *out = w;
    return SLUICE_WORKER_OK;
}

int sluice_worker_connect(const char *socket, const char *token, struct sluice_worker **out)
{
    if (socket == NULL)
        return worker_fail(SLUICE_WORKER_EINVAL, "the path of a worker_socket is missing");
    struct sluice_worker_options o = { .socket = socket, .token = token };
    return sluice_worker_open(&o, out);
}

void sluice_worker_close(struct sluice_worker *w)
{
    if (w == NULL)
        return;
    end_connection(w);
    worker_free(w);
}
