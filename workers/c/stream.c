/* The socket's side of a worker.
 *
 * All calls on the socket are non-blocking (MSG_DONTWAIT), and waiting is done
 * in one place, in poll, on the socket and on an eventfd that sluice_worker_stop
 * writes to: a SIGTERM that comes just before the wait is not missed. */
#include <errno.h>
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
    return err == EPIPE || err == ECONNRESET ? SLUICE_WORKER_EGONE : SLUICE_WORKER_ESYS;
}

const char *sluice_worker_detail(void)
{
    return detail;
}

static uint64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Into new memory: the old block stays while the current message points into it. */
static void inbox_move(struct sluice_worker *w, size_t cap)
{
    struct inbox *in = &w->in;
    uint8_t *fresh = sl_alloc(cap);
    size_t unread = in->end - in->start;
    if (in->p != NULL && unread > 0)
        memcpy(fresh, in->p + in->start, unread);
    if (w->has_current && in->held == NULL)
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
    if (w->has_current || in->cap - unread < need) {
        size_t cap = unread + need > INBOX_BYTES ? unread + need : INBOX_BYTES;
        inbox_move(w, cap);
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
    in->end += (size_t)n;
    *got = true;
    return SLUICE_WORKER_OK;
}

int stream_wait(struct sluice_worker *w, int timeout_ms)
{
    struct pollfd fds[2] = {
        {.fd = w->fd,      .events = POLLIN},
        {.fd = w->stop_fd, .events = POLLIN}
    };
    uint64_t give_up = timeout_ms < 0 ? UINT64_MAX : now_us() + (uint64_t)timeout_ms * 1000u;
    for (;;) {
        uint64_t now = timeout_ms < 0 ? 0 : now_us();
        int left = timeout_ms < 0 ? -1 : now >= give_up ? 0 : (int)((give_up - now + 999u) / 1000u);
        int n = poll(fds, 2, left);
        if (n > 0)
            return SLUICE_WORKER_OK;
        if (n == 0)
            return SLUICE_WORKER_TIMEOUT;
        if (errno != EINTR)
            return worker_fail_errno("waiting for the gateway");
    }
}

static int wait_writable(struct sluice_worker *w)
{
    struct pollfd fd = {.fd = w->fd, .events = POLLOUT};
    while (poll(&fd, 1, -1) < 0)
        if (errno != EINTR)
            return worker_fail_errno("waiting to write to the gateway");
    return SLUICE_WORKER_OK;
}

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
    if (w->oldest_answer_us == 0)
        w->oldest_answer_us = now_us();
    if (sl_buf_len(&w->out) < FLUSH_BYTES)
        return SLUICE_WORKER_OK;
    w->oldest_answer_us = 0;
    return stream_flush(w);
}

int stream_flush_if_due(struct sluice_worker *w, bool redelivered)
{
    if (sl_buf_len(&w->out) == 0)
        return SLUICE_WORKER_OK;
    if (!redelivered && now_us() - w->oldest_answer_us < FLUSH_AGE_US)
        return SLUICE_WORKER_OK;
    w->oldest_answer_us = 0;
    return stream_flush(w);
}

void stream_message_done(struct sluice_worker *w)
{
    w->has_current = false;
    sl_free(w->in.held);
    w->in.held = NULL;
}
