/* A worker's life: open, next, run, close. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "internal.h"

/* ---- stopping ---- */

/* The worker that SIGTERM stops: the process's first open one. */
static struct sluice_worker *_Atomic sigterm_worker;

void sluice_worker_stop(struct sluice_worker *w)
{
    int saved = errno;
    uint64_t one = 1;
    atomic_store(&w->stopping, true);
    ssize_t n = write(w->stop_fd, &one, sizeof one); /* fails only when it is set already */
    (void)n;
    errno = saved;
}

static void on_sigterm(int sig)
{
    (void)sig;
    struct sluice_worker *w = atomic_load(&sigterm_worker);
    if (w != NULL)
        sluice_worker_stop(w);
}

static void take_sigterm(struct sluice_worker *w)
{
    struct sluice_worker *nobody = NULL;
    if (!atomic_compare_exchange_strong(&sigterm_worker, &nobody, w))
        return;
    struct sigaction on = {.sa_handler = on_sigterm, .sa_flags = SA_RESTART};
    (void)sigemptyset(&on.sa_mask);
    w->restore_sigterm = sigaction(SIGTERM, &on, &w->old_sigterm) == 0;
}

static void give_sigterm_back(struct sluice_worker *w)
{
    if (w->restore_sigterm)
        (void)sigaction(SIGTERM, &w->old_sigterm, NULL);
    struct sluice_worker *me = w;
    (void)atomic_compare_exchange_strong(&sigterm_worker, &me, NULL);
}

/* ---- frames that come in ---- */

/* Everything but DELIVER, WELCOME and PUBLISHED, which never comes: we publish without ref. */
static int take_control(struct sluice_worker *w, const struct wire_frame *f)
{
    if (f->type == WIRE_DRAIN)
        w->draining = true;
    if (f->type == WIRE_STALE)
        w->stale++;
    if (f->type != WIRE_ERROR)
        return SLUICE_WORKER_OK;
    char text[WIRE_REASON_MAX + 1];
    (void)snprintf(text, sizeof text, "%.*s", (int)f->u.error.text.n,
                   (const char *)f->u.error.text.p);
    return worker_fail(SLUICE_WORKER_EREFUSED, text);
}

/* Decodes the frame at `at`; *bytes 0 when it is not complete. */
static int frame_at(struct sluice_worker *w, size_t at, struct wire_frame *f, size_t *bytes)
{
    struct sl_bytes in = sl_bytes_of(w->in.p + at, w->in.end - at);
    int err = in.n == 0 ? SL_EMORE : wire_decode(in, &w->reader, f, bytes);
    if (err == SL_OK)
        return SLUICE_WORKER_OK;
    *bytes = 0;
    return err == SL_EMORE ? SLUICE_WORKER_OK
                           : worker_fail(SLUICE_WORKER_EPROTOCOL, w->reader.fault);
}

static void set_current(struct sluice_worker *w, const struct wire_deliver *d)
{
    struct sluice_worker_message *m = &w->current;
    *m = (struct sluice_worker_message){.worker = w,
                                        .tag = d->tag,
                                        .attempt = d->attempt,
                                        .max_attempts = d->max_attempts,
                                        .flags = d->flags,
                                        .record = d->record};
    message_view(d->record, &m->parts);
    w->has_current = true;
}

/* Consumes frames up to and with the next DELIVER. has_current says whether there was one. */
static int take_frames(struct sluice_worker *w)
{
    while (!w->has_current) {
        struct wire_frame f;
        size_t bytes;
        int err = frame_at(w, w->in.start, &f, &bytes);
        if (err != SLUICE_WORKER_OK || bytes == 0)
            return err;
        w->in.start += bytes;
        if (w->in.checked < w->in.start)
            w->in.checked = w->in.start;
        if (f.type == WIRE_DELIVER)
            set_current(w, &f.u.deliver);
        else if ((err = take_control(w, &f)) != SLUICE_WORKER_OK)
            return err;
    }
    return SLUICE_WORKER_OK;
}

/* ---- next ---- */

/* The user's program forgot the message: said to the gateway, so that it does not hang there
 * until its time limit. */
static int finish_current(struct sluice_worker *w)
{
    int err = SLUICE_WORKER_OK;
    if (w->has_current && !w->current.answered && !w->current.copied)
        err = sluice_worker_retry(&w->current, WIRE_DELAY_BY_QUEUE, "not answered by the worker");
    stream_message_done(w);
    return err;
}

/* The gateway closed while we were writing: perhaps it said why. */
static int last_words(struct sluice_worker *w)
{
    bool got;
    int err;
    do
        err = stream_read(w, &got);
    while (err == SLUICE_WORKER_OK && got);
    size_t bytes = 1;
    for (size_t at = w->in.start; bytes > 0; at += bytes) {
        struct wire_frame f;
        err = frame_at(w, at, &f, &bytes);
        if (err == SLUICE_WORKER_OK && bytes > 0)
            err = take_control(w, &f);
        if (err != SLUICE_WORKER_OK)
            return err;
    }
    return worker_fail(SLUICE_WORKER_EGONE, "the gateway closed the connection");
}

/* Waits for bytes when there is no whole frame; the answers go out first. */
static int fill(struct sluice_worker *w, int timeout_ms)
{
    bool got;
    int err = stream_flush(w);
    w->oldest_answer_us = 0;
    if (err == SLUICE_WORKER_EGONE)
        return last_words(w);
    if (err == SLUICE_WORKER_OK)
        err = stream_read(w, &got);
    if (err == SLUICE_WORKER_EGONE && w->draining)
        return SLUICE_WORKER_DRAINED;
    if (err != SLUICE_WORKER_OK || got)
        return err;
    return w->draining ? SLUICE_WORKER_DRAINED : stream_wait(w, timeout_ms);
}

static int next_message(struct sluice_worker *w, int timeout_ms)
{
    int err = finish_current(w);
    while (err == SLUICE_WORKER_OK && !w->has_current) {
        if (atomic_load_explicit(&w->stopping, memory_order_relaxed))
            return SLUICE_WORKER_DRAINED;
        err = take_frames(w);
        if (err == SLUICE_WORKER_OK && !w->has_current)
            err = fill(w, timeout_ms);
    }
    if (err != SLUICE_WORKER_OK)
        return err;
    return stream_flush_if_due(w, w->current.attempt > 1 || (w->current.flags & WIRE_REDELIVERED));
}

int sluice_worker_next_within(struct sluice_worker *w, int timeout_ms,
                              struct sluice_worker_message **m)
{
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    int err = next_message(w, timeout_ms);
    if (err == SLUICE_WORKER_OK)
        *m = &w->current;
    else
        stream_message_done(w);
    if (err == SLUICE_WORKER_DRAINED) {
        int flushed = stream_flush(w);
        return flushed == SLUICE_WORKER_OK ? err : flushed;
    }
    if (err != SLUICE_WORKER_OK && err != SLUICE_WORKER_TIMEOUT)
        w->broken = err;
    return err;
}

int sluice_worker_next(struct sluice_worker *w, struct sluice_worker_message **m)
{
    return sluice_worker_next_within(w, -1, m);
}

int sluice_worker_flush(struct sluice_worker *w)
{
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    w->oldest_answer_us = 0;
    return stream_flush(w);
}

/* ---- check ---- */

static int look_through(struct sluice_worker *w)
{
    if (w->in.checked < w->in.start)
        w->in.checked = w->in.start;
    for (;;) {
        struct wire_frame f;
        size_t bytes;
        int err = frame_at(w, w->in.checked, &f, &bytes);
        if (err != SLUICE_WORKER_OK || bytes == 0)
            return err;
        w->in.checked += bytes;
        if (f.type == WIRE_SOFT_LIMIT && f.u.tag == w->current.tag)
            w->current.state |= SLUICE_WORKER_SOFT_LIMIT;
        if (f.type == WIRE_STALE && f.u.tag == w->current.tag)
            w->current.state |= SLUICE_WORKER_STALE;
        if (f.type == WIRE_DRAIN)
            w->draining = true;
    }
}

int sluice_worker_check(struct sluice_worker_message *m, unsigned *state)
{
    struct sluice_worker *w = m->worker;
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    bool got;
    int err = stream_read(w, &got);
    if (err == SLUICE_WORKER_OK)
        err = look_through(w);
    if (err != SLUICE_WORKER_OK) {
        w->broken = err;
        return err;
    }
    bool stopping = w->draining || atomic_load(&w->stopping);
    unsigned own = m->tag == w->current.tag ? w->current.state : m->state;
    *state = own | (stopping ? SLUICE_WORKER_STOPPING : 0u);
    return SLUICE_WORKER_OK;
}

/* ---- run ---- */

static int give_verdict(struct sluice_worker_message *m, enum sluice_worker_verdict verdict)
{
    if (m->answered || m->copied)
        return SLUICE_WORKER_OK;
    switch (verdict) {
    case SLUICE_WORKER_ACK:
        return sluice_worker_ack(m);
    case SLUICE_WORKER_RELEASE:
        return sluice_worker_release(m);
    case SLUICE_WORKER_DEAD:
        return sluice_worker_dead(m, NULL);
    case SLUICE_WORKER_RETRY:
    case SLUICE_WORKER_ANSWERED: /* it was not: the same as forgotten */
        break;
    }
    return sluice_worker_retry(m, WIRE_DELAY_BY_QUEUE, NULL);
}

int sluice_worker_run(struct sluice_worker *w, sluice_worker_handler *handler, void *arg)
{
    for (;;) {
        struct sluice_worker_message *m;
        int err = sluice_worker_next(w, &m);
        if (err == SLUICE_WORKER_OK)
            err = give_verdict(m, handler(m, arg));
        if (err != SLUICE_WORKER_OK)
            return err;
    }
}

int sluice_worker_main(sluice_worker_handler *handler, void *arg)
{
    struct sluice_worker *w;
    int err = sluice_worker_open(NULL, &w);
    if (err == SLUICE_WORKER_OK) {
        err = sluice_worker_run(w, handler, arg);
        sluice_worker_close(w);
    }
    if (err == SLUICE_WORKER_DRAINED)
        return 0;
    (void)fprintf(stderr, "sluice worker: %s (%s)\n", sluice_worker_error_text(err),
                  sluice_worker_detail());
    return err == SLUICE_WORKER_ENOFD ? 2 : 1;
}

/* ---- open and close ---- */

/* Only a decimal number that is an open socket: a forgotten variable must not make us write
 * frames into somebody's file. */
static int fd_of_environment(int *out)
{
    const char *text = getenv("SLUICE_FD");
    uint64_t fd;
    if (text == NULL)
        return worker_fail(SLUICE_WORKER_ENOFD,
                           "SLUICE_FD is not set: let a sluice pool with mode \"socket\" start me");
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

static void keep_name(char out[WIRE_NAME_MAX + 1], struct sl_bytes name)
{
    (void)snprintf(out, WIRE_NAME_MAX + 1, "%.*s", (int)name.n, (const char *)name.p);
}

static int take_welcome(struct sluice_worker *w, const struct wire_frame *f)
{
    if (f->type == WIRE_ERROR)
        return take_control(w, f);
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

/* HELLO out, WELCOME in. Deliveries may be in the same read and stay in the inbox. */
static int greet(struct sluice_worker *w, const struct sluice_worker_options *o)
{
    struct wire_hello hello = {.version = WIRE_VERSION,
                               .flags = o->soft_limit ? WIRE_WANTS_SOFT_LIMIT : 0,
                               .prefetch = o->prefetch,
                               .name = sl_str(o->name == NULL ? "c" : o->name)};
    if (wire_encode_hello(&w->out, &hello) != SL_OK)
        return SLUICE_WORKER_EINVAL;
    int err = stream_flush(w);
    size_t bytes = 0;
    while (err == SLUICE_WORKER_OK && bytes == 0) {
        struct wire_frame f;
        bool got;
        err = stream_read(w, &got);
        if (err == SLUICE_WORKER_OK && !got)
            err = stream_wait(w, -1);
        if (err == SLUICE_WORKER_OK && got)
            err = frame_at(w, w->in.start, &f, &bytes);
        if (err == SLUICE_WORKER_OK && bytes > 0)
            err = take_welcome(w, &f);
        if (err == SLUICE_WORKER_OK && atomic_load(&w->stopping) && bytes == 0)
            return SLUICE_WORKER_DRAINED;
    }
    w->in.start = bytes;
    w->in.checked = bytes;
    return err;
}

static void worker_free(struct sluice_worker *w)
{
    give_sigterm_back(w);
    if (w->stop_fd >= 0)
        (void)close(w->stop_fd);
    sl_free(w->in.p);
    sl_free(w->in.held);
    sl_buf_fini(&w->out);
    sl_buf_fini(&w->headers);
    sl_free(w);
}

static int worker_new(int fd, const struct sluice_worker_options *o, struct sluice_worker **out)
{
    struct sluice_worker *w = SL_NEW(struct sluice_worker);
    w->fd = fd;
    w->reader = (struct wire_reader){WIRE_FROM_GATEWAY, WIRE_FRAME_MAX, NULL};
    w->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = w->stop_fd < 0 ? worker_fail_errno("eventfd") : SLUICE_WORKER_OK;
    if (err == SLUICE_WORKER_OK && !o->keep_sigterm)
        take_sigterm(w);
    if (err == SLUICE_WORKER_OK)
        err = greet(w, o);
    if (err != SLUICE_WORKER_OK) {
        worker_free(w);
        return err;
    }
    /* Programs that the handler starts must not hold the gateway's socket open. */
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    *out = w;
    return SLUICE_WORKER_OK;
}

int sluice_worker_open(const struct sluice_worker_options *options, struct sluice_worker **out)
{
    static const struct sluice_worker_options defaults;
    const struct sluice_worker_options *o = options == NULL ? &defaults : options;
    int fd = o->fd;
    int err = o->use_fd ? SLUICE_WORKER_OK : fd_of_environment(&fd);
    if (err == SLUICE_WORKER_OK)
        err = check_socket(fd);
    return err == SLUICE_WORKER_OK ? worker_new(fd, o, out) : err;
}

void sluice_worker_close(struct sluice_worker *w)
{
    if (w == NULL)
        return;
    if (w->broken == SLUICE_WORKER_OK && wire_encode_empty(&w->out, WIRE_BYE) == SL_OK) {
        int err = stream_flush(w);
        (void)err; /* the gateway has gone, and with it whoever would care */
    }
    (void)close(w->fd);
    worker_free(w);
}

/* ---- the surroundings ---- */

const char *sluice_worker_queue(const struct sluice_worker *w)
{
    return w->queue;
}

const char *sluice_worker_pool(const struct sluice_worker *w)
{
    return w->pool;
}

const char *sluice_worker_node(const struct sluice_worker *w)
{
    return w->node;
}

uint32_t sluice_worker_concurrency(const struct sluice_worker *w)
{
    return w->welcome.concurrency;
}

uint32_t sluice_worker_time_limit_ms(const struct sluice_worker *w)
{
    return w->welcome.time_limit_ms;
}

uint32_t sluice_worker_max_result(const struct sluice_worker *w)
{
    return w->welcome.max_result;
}

uint64_t sluice_worker_stale_answers(const struct sluice_worker *w)
{
    return w->stale;
}

int sluice_worker_fd(const struct sluice_worker *w)
{
    return w->fd;
}

const char *sluice_worker_error_text(int err)
{
    static const char *const texts[] = {
        "no error",
        "drained: nothing more will come",
        "nothing came in time",
        "not started by a sluice gateway",
        "the gateway has gone",
        "the gateway sent bytes that are no frame",
        "the gateway refused this worker",
        "an argument is not allowed",
        "larger than this gateway takes",
        "this message has had its answer",
        "the system refused",
    };
    return err > 0 || err <= -(int)SL_COUNT(texts) ? "unknown error" : texts[-err];
}
