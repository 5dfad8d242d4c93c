/* A worker's pipes. Output is gathered and written once per turn: what one
 * write takes leaves the buffer, the rest becomes one queued write, and nothing
 * more is written until that is through. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "external.h"

#define READ_BYTES    (64u << 10)
#define KEEP_CAPACITY (256u << 10) /* an empty buffer larger than this is given back */
#define OWED_MAX      16384u       /* answers of ours that it has not read */

/* ---- opening ---- */

static bool is_socket(const struct worker *w)
{
    return w->mode.ops->socket;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf);

/* Ours and the worker's end of one pipe. */
static int make_pair(enum worker_pipe which, bool socket, int *ours, int *theirs)
{
    int ends[2];
    if (socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : pipe2(ends, O_CLOEXEC))
        return SL_ESYS;
    *ours = which == PIPE_STDIN ? ends[1] : ends[0];
    *theirs = which == PIPE_STDIN ? ends[0] : ends[1];
    return SL_OK;
}

static int open_pipe(struct worker *w, enum worker_pipe which, int fd)
{
    uv_pipe_t *pipe = &w->pipes[which];
    (void)uv_pipe_init(w->timer.loop, pipe, 0);
    pipe->data = w;
    w->n_handles++;
    w->pipe_open[which] = true;
    if (uv_pipe_open(pipe, fd) == 0)
        return SL_OK;
    (void)close(fd);
    return SL_ESYS;
}

static int start_reading(struct worker *w, enum worker_pipe which)
{
    return uv_read_start((uv_stream_t *)&w->pipes[which], on_alloc, on_read) == 0 ? SL_OK : SL_ESYS;
}

static int add_pipe(struct worker *w, enum worker_pipe which, int number, struct nursery_spawn *s)
{
    int ours, theirs;
    if (make_pair(which, which == PIPE_MAIN && is_socket(w), &ours, &theirs) != SL_OK)
        return SL_ESYS;
    s->fds[s->n_fds++] = (struct nursery_fd){ theirs, number };
    int err = open_pipe(w, which, ours);
    if (err == SL_OK && which != PIPE_STDIN)
        err = start_reading(w, which);
    return err;
}

int io_open(struct worker *w, struct nursery_spawn *s)
{
    static const struct {
        enum worker_pipe which;
        int number;
    } for_socket[] = { { PIPE_MAIN, 3 }, { PIPE_STDOUT, 1 }, { PIPE_STDERR, 2 } },
      for_pipes[] = { { PIPE_STDIN, 0 }, { PIPE_MAIN, 1 }, { PIPE_STDERR, 2 } };
    int err = SL_OK;
    for (size_t i = 0; err == SL_OK && i < SL_COUNT(for_socket); i++)
        err = is_socket(w) ? add_pipe(w, for_socket[i].which, for_socket[i].number, s)
                           : add_pipe(w, for_pipes[i].which, for_pipes[i].number, s);
    if (err == SL_OK)
        return SL_OK;
    for (size_t i = 0; i < s->n_fds; i++)
        (void)close(s->fds[i].fd);
    s->n_fds = 0;
    return err;
}

int io_adopt(struct worker *w, int fd)
{
    int err = open_pipe(w, PIPE_MAIN, fd);
    return err == SL_OK ? start_reading(w, PIPE_MAIN) : err;
}

/* ---- closing ---- */

static void on_pipe_closed(uv_handle_t *handle)
{
    worker_free(handle->data);
}

void io_close(struct worker *w, enum worker_pipe which)
{
    if (!w->pipe_open[which])
        return;
    w->pipe_open[which] = false;
    uv_close((uv_handle_t *)&w->pipes[which], on_pipe_closed);
}

void io_close_all(struct worker *w)
{
    for (int i = 0; i < N_PIPES; i++)
        io_close(w, (enum worker_pipe)i);
    uv_close((uv_handle_t *)&w->timer, on_pipe_closed);
}

/* ---- reading ---- */

static enum worker_pipe which_of(const struct worker *w, const uv_stream_t *stream)
{
    for (int i = 0; i < N_PIPES; i++)
        if ((const uv_stream_t *)&w->pipes[i] == stream)
            return (enum worker_pipe)i;
    SL_ASSERT(false);
    return N_PIPES;
}

static uint8_t shared_output[READ_BYTES]; /* stdout and stderr are consumed at once */

static void on_alloc(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    struct worker *w = handle->data;
    (void)hint;
    if (handle != (uv_handle_t *)&w->pipes[PIPE_MAIN]) {
        *buf = uv_buf_init((char *)shared_output, sizeof shared_output);
        return;
    }
    uint8_t *to = sl_buf_reserve(&w->in, READ_BYTES); /* `in` has no maximum: the mode has */
    *buf = uv_buf_init((char *)to, READ_BYTES);
}

static void take(struct worker *w, enum worker_pipe which, const uint8_t *p, size_t n)
{
    if (which == PIPE_STDOUT) {
        output_feed(w, &w->streams[0], sl_bytes_of(p, n));
    } else if (which == PIPE_STDERR) {
        output_feed(w, &w->streams[1], sl_bytes_of(p, n));
    } else {
        sl_buf_commit(&w->in, n);
        answers_feed(w);
        if (sl_buf_len(&w->in) == 0 && w->in.cap > KEEP_CAPACITY)
            sl_buf_fini(&w->in);
    }
}

/* The end of the main pipe: nothing more can be answered. Its exit usually
 * follows at once; a process that stays on is ended. */
static void main_ended(struct worker *w)
{
    w->closed = true;
    if (w->guest != NULL) {
        guest_end(w);
        return;
    }
    if (w->mode.ops->per_message || w->state == WORKER_ENDING || w->gone)
        return;
    if (w->slot->consumer != 0) {
        turn_begin(w->slot->pool->pools);
        hub_consumer_stop(hub_of(w->slot), w->slot->consumer);
    }
    worker_set_clock(w, CLOCK_PATIENCE, w->slot->pool->cfg->grace_ms);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct worker *w = stream->data;
    enum worker_pipe which = which_of(w, stream);
    if (n > 0) {
        take(w, which, (const uint8_t *)buf->base, (size_t)n);
    } else if (n < 0) {
        (void)uv_read_stop(stream);
        if (which == PIPE_MAIN)
            main_ended(w);
    }
}

static void read_rest(struct worker *w, enum worker_pipe which)
{
    uv_os_fd_t fd;
    if (!w->pipe_open[which] || uv_fileno((uv_handle_t *)&w->pipes[which], &fd) != 0)
        return;
    (void)uv_read_stop((uv_stream_t *)&w->pipes[which]);
    for (;;) {
        uint8_t *to = which == PIPE_MAIN ? sl_buf_reserve(&w->in, READ_BYTES) : shared_output;
        ssize_t n = read(fd, to, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        take(w, which, to, (size_t)n);
    }
}

void io_read_rest(struct worker *w)
{
    read_rest(w, PIPE_STDERR);
    read_rest(w, PIPE_STDOUT);
    read_rest(w, PIPE_MAIN);
}

/* ---- writing ---- */

void io_dirty(struct worker *w)
{
    struct pools *p = w->slot->pool->pools;
    if (w->dirty || w->gone)
        return;
    w->dirty = true;
    w->next_dirty = p->dirty;
    p->dirty = w;
}

/* What was lost on the way counts as written: nobody asks a worker that does not read. */
static void stop_writing(struct worker *w)
{
    w->write_dead = true;
    sl_buf_fini(&w->out);
}

static void on_written(uv_write_t *req, int status)
{
    struct worker *w = req->data;
    w->writing = false;
    w->written += sl_buf_len(&w->sending);
    sl_buf_clear(&w->sending);
    if (status != 0)
        stop_writing(w);
    if (!w->gone)
        io_flush(w);
}

static void write_rest(struct worker *w, uv_stream_t *stream)
{
    struct sl_buf empty = w->sending;
    w->sending = w->out;
    w->out = empty;
    uv_buf_t buf = uv_buf_init((char *)w->sending.p + w->sending.start, (unsigned)sl_buf_len(&w->sending));
    w->write.data = w;
    w->writing = uv_write(&w->write, stream, &buf, 1, on_written) == 0;
    if (!w->writing)
        stop_writing(w);
}

/* The worker reads what was written, then the end. */
static void shut_main(struct worker *w)
{
    uv_os_fd_t fd;
    w->shut_main = false;
    w->write_dead = true;
    if (w->pipe_open[PIPE_MAIN] && uv_fileno((uv_handle_t *)&w->pipes[PIPE_MAIN], &fd) == 0)
        (void)shutdown(fd, SHUT_WR);
}

static void after_flush(struct worker *w)
{
    w->owed = 0;
    if (w->out.cap > KEEP_CAPACITY)
        sl_buf_fini(&w->out);
    if (w->close_stdin)
        io_close(w, PIPE_STDIN);
    if (w->shut_main)
        shut_main(w);
}

static void count_written(struct worker *w, size_t n)
{
    sl_buf_consume(&w->out, n);
    w->written += n;
}

uint64_t io_sent(const struct worker *w)
{
    const uv_stream_t *stream = (const uv_stream_t *)&w->pipes[is_socket(w) ? PIPE_MAIN : PIPE_STDIN];
    return w->written + sl_buf_len(&w->sending) - (w->writing ? uv_stream_get_write_queue_size(stream) : 0);
}

static void flush(struct worker *w)
{
    enum worker_pipe which = is_socket(w) ? PIPE_MAIN : PIPE_STDIN;
    if (w->write_dead || !w->pipe_open[which])
        sl_buf_clear(&w->out);
    if (w->writing)
        return;
    size_t n = sl_buf_len(&w->out);
    if (n > 0) {
        uv_stream_t *stream = (uv_stream_t *)&w->pipes[which];
        uv_buf_t buf = uv_buf_init((char *)w->out.p + w->out.start, (unsigned)n);
        int written = uv_try_write(stream, &buf, 1);
        if (written < 0 && written != UV_EAGAIN)
            stop_writing(w); /* its end tells the rest */
        else if (written > 0)
            count_written(w, (size_t)written);
        if (sl_buf_len(&w->out) > 0) {
            write_rest(w, stream);
            return;
        }
    }
    after_flush(w);
}

/* ---- flow ---- */

static void set_stuffed(struct worker *w, bool stuffed)
{
    if (w->stuffed == stuffed)
        return;
    w->stuffed = stuffed;
    if (w->slot->consumer == 0)
        return;
    turn_begin(w->slot->pools);
    hub_consumer_pause(hub_of(w->slot), w->slot->consumer, stuffed || w->slot->pool->paused);
}

static void set_deaf(struct worker *w, bool deaf)
{
    if (w->deaf == deaf)
        return;
    w->deaf = deaf;
    if (deaf)
        (void)uv_read_stop((uv_stream_t *)&w->pipes[PIPE_MAIN]);
    else
        (void)start_reading(w, PIPE_MAIN);
}

/* Deliveries are held back long before answers: a worker that writes a large
 * result and reads nothing meanwhile must be read. In `exec` the consumer is the
 * place, and outlives the worker: it has one message, and nothing is owed. */
void io_flow(struct worker *w)
{
    if (w->gone || w->closed || w->mode.ops->per_message)
        return;
    set_stuffed(w, sl_buf_len(&w->out) + sl_buf_len(&w->sending) > OUTPUT_MAX);
    set_deaf(w, w->owed + w->n_unpublished > OWED_MAX);
}

void io_flush(struct worker *w)
{
    flush(w);
    io_flow(w);
}
