/* The socket's side of a worker.
 *
 * All calls on the socket are non-blocking (MSG_DONTWAIT), and waiting is done
 * in one place, in poll, on the socket and on an eventfd that sluice_worker_stop
 * writes to: a SIGTERM that comes just before the wait is not missed. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "internal.h"

#define INBOX_BYTES  (256u << 10) /* first size; grows for a larger frame */
#define READ_ROOM    (32u << 10)  /* less than this free: make room before reading */
#define FLUSH_BYTES  (64u << 10)
#define FLUSH_AGE_US 1000u
#define SLOW_FOR     64u /* messages after a slow one */

static _Thread_local char detail[WIRE_REASON_MAX + 64];

int worker_fail(int err, const char *text)
{
    (void)snprintf(detail, sizeof detail, "%s", text);
    return err;
}

int worker_fail_errno(const char *what)
{
    int err = errno;
    (void)snprintf(detail, sizeof detail, "%s: %s", what, strerror(err));
    return err == EPIPE || err == ECONNRESET || err == ENOENT || err == ECONNREFUSED ||
                   err == EAGAIN
               ? SLUICE_WORKER_EGONE
               : SLUICE_WORKER_ESYS;
}

const char *sluice_worker_detail(void)
{
    return detail;
}

uint64_t stream_now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t stream_deadline(int ms)
{
    return ms < 0 ? FOREVER : stream_now_us() + (uint64_t)ms * 1000u;
}

/* Into new memory: the old block stays while messages that are worked on point into it. */
static void inbox_move(struct sluice_worker *w, size_t cap)
{
    struct inbox *in = &w->in;
    uint8_t *fresh = sl_alloc(cap);
    size_t unread = in->end - in->start;
    if (in->p != NULL && unread > 0)
        memcpy(fresh, in->p + in->start, unread);
    if (w->holding && in->held == NULL)
        in->held = in->p;
    else
        sl_free(in->p);
    in->p = fresh;
    in->cap = cap;
    in->checked -= in->start;
    in->end = unread;
    in->start = 0;
}

/* Room for a good read, and for the rest of a large frame in one piece. */
static void inbox_make_room(struct sluice_worker *w)
{
    struct inbox *in = &w->in;
    size_t unread = in->end - in->start;
    struct sl_bytes view = sl_bytes_of(in->p == NULL ? NULL : in->p + in->start, unread);
    size_t frame = wire_frame_bytes(view);
    if (frame > (size_t)w->reader.max_frame + 4)
        frame = 0; /* wire_decode will refuse it */
    size_t need = (frame > unread ? frame - unread : 0) + READ_ROOM;
    if (in->cap - in->end >= need)
        return;
    if (w->holding || in->cap - unread < need) {
        size_t cap = unread + unread / 2 + need; /* a batch that is gathered may still grow */
        inbox_move(w, cap > INBOX_BYTES ? cap : INBOX_BYTES);
        return;
    }
    SL_ASSERT(in->p != NULL); /* without memory there is no room, and we moved above */
    memmove(in->p, in->p + in->start, unread);
    in->checked -= in->start;
    in->start = 0;
    in->end = unread;
}

int stream_read(struct sluice_worker *w, bool *got)
{
    struct inbox *in = &w->in;
    *got = false;
    in->drained = true;
    inbox_make_room(w);
    ssize_t n;
    do
        n = recv(w->fd, in->p + in->end, in->cap - in->end, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return SLUICE_WORKER_OK;
    if (n < 0)
        return worker_fail_errno("reading from the gateway");
    if (n == 0)
        return worker_fail(SLUICE_WORKER_EGONE, "the gateway closed the connection");
    in->drained = (size_t)n < in->cap - in->end;
    in->end += (size_t)n;
    *got = true;
    return SLUICE_WORKER_OK;
}

int stream_frame(struct sluice_worker *w, size_t at, struct wire_frame *f, size_t *bytes)
{
    struct sl_bytes in = sl_bytes_of(w->in.p + at, w->in.end - at);
    int err = in.n == 0 ? SL_EMORE : wire_decode(in, &w->reader, f, bytes);
    if (err == SL_OK)
        return SLUICE_WORKER_OK;
    *bytes = 0;
    return err == SL_EMORE ? SLUICE_WORKER_OK
                           : worker_fail(SLUICE_WORKER_EPROTOCOL, w->reader.fault);
}

/* ---- waiting ---- */

/* 1: something happened; 0: the time is over; else an error. EINTR is waited through. */
static int poll_until(struct pollfd *fds, nfds_t n_fds, uint64_t until_us)
{
    for (;;) {
        uint64_t now = until_us == FOREVER ? 0 : stream_now_us();
        uint64_t left_ms = now >= until_us ? 0 : (until_us - now + 999u) / 1000u;
        int n = poll(fds, n_fds,
                     until_us == FOREVER ? -1
                     : left_ms > INT_MAX ? INT_MAX
                                         : (int)left_ms);
        if (n >= 0)
            return n > 0;
        if (errno != EINTR)
            return worker_fail_errno("waiting for the gateway");
    }
}

int stream_wait(struct sluice_worker *w, uint64_t until_us)
{
    struct pollfd fds[2] = { { .fd = w->fd, .events = POLLIN },
                             { .fd = w->stop_fd, .events = POLLIN } };
    int n = poll_until(fds, 2, until_us);
    w->handed_us = stream_now_us(); /* waiting is no work */
    w->written_us = w->handed_us;
    if (n < 0)
        return n;
    return n > 0 ? SLUICE_WORKER_OK : SLUICE_WORKER_TIMEOUT;
}

int stream_wait_readable(struct sluice_worker *w)
{
    struct pollfd fd = { .fd = w->fd, .events = POLLIN };
    int n = poll_until(&fd, 1, FOREVER);
    return n < 0 ? n : SLUICE_WORKER_OK;
}

void stream_pause(struct sluice_worker *w, uint32_t ms)
{
    struct pollfd fd = { .fd = w->stop_fd, .events = POLLIN };
    (void)poll_until(&fd, 1, stream_now_us() + (uint64_t)ms * 1000u);
}

static int wait_writable(struct sluice_worker *w)
{
    struct pollfd fd = { .fd = w->fd, .events = POLLOUT };
    int n = poll_until(&fd, 1, FOREVER);
    return n < 0 ? n : SLUICE_WORKER_OK;
}

/* ---- writing ---- */

int stream_flush(struct sluice_worker *w)
{
    while (sl_buf_len(&w->out) > 0) {
        struct sl_bytes bytes = sl_buf_view(&w->out);
        ssize_t n = send(w->fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        int err = SLUICE_WORKER_OK;
        if (n >= 0)
            sl_buf_consume(&w->out, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            err = wait_writable(w);
        else if (errno != EINTR)
            err = worker_fail_errno("writing to the gateway");
        if (err != SLUICE_WORKER_OK) {
            w->broken = err;
            return err;
        }
    }
    return SLUICE_WORKER_OK;
}

int stream_appended(struct sluice_worker *w)
{
    return sl_buf_len(&w->out) < FLUSH_BYTES ? SLUICE_WORKER_OK : stream_flush(w);
}

/* An answer in the buffer counts as not given, and the next handler may take long. So answers wait
 * only where that is short: for a millisecond in all, and not at all while one of the last handlers
 * took that long by itself. */
int stream_flush_if_due(struct sluice_worker *w, bool suspect)
{
    uint64_t now = stream_now_us();
    if (now - w->handed_us >= FLUSH_AGE_US)
        w->slow_left = SLOW_FOR;
    else if (w->slow_left > 0)
        w->slow_left--;
    w->handed_us = now;
    if (sl_buf_len(&w->out) == 0)
        return SLUICE_WORKER_OK;
    if (!suspect && w->slow_left == 0 && now - w->written_us < FLUSH_AGE_US)
        return SLUICE_WORKER_OK;
    w->written_us = now;
    return stream_flush(w);
}

void stream_messages_done(struct sluice_worker *w)
{
    w->holding = false;
    sl_free(w->in.held);
    w->in.held = NULL;
}

void stream_reset(struct sluice_worker *w)
{
    stream_messages_done(w);
    w->in.start = w->in.end = w->in.checked = 0;
    sl_buf_clear(&w->out);
}
