/* One connection of the fan-out: a publisher's window, a subscriber's deliveries. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/stamp.h"
#include "core/alloc.h"
#include "fanout.h"

static void watch(struct fanout *f, struct peer *p, int op, bool writing)
{
    struct epoll_event ev = { .events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0u), .data = { .ptr = p } };
    p->wants_write = writing;
    SL_ASSERT(epoll_ctl(f->epoll, op, p->fd, &ev) == 0);
}

int peer_open(struct fanout *f, struct peer *p)
{
    p->fd = dial_open(&f->dial, true);
    if (p->fd < 0)
        return SL_ESYS;
    int err = f->o.speaks->connect(f, p);
    if (err == SL_OK)
        watch(f, p, EPOLL_CTL_ADD, true);
    return err;
}

void peer_close(struct fanout *f, struct peer *p)
{
    (void)f;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    sl_buf_fini(&p->in);
    sl_buf_fini(&p->out);
}

static void fault(struct fanout *f, struct peer *p, const char *what)
{
    f->counts.faults++;
    f->last_fault = what;
    peer_close(f, p);
}

static void flush_out(struct fanout *f, struct peer *p)
{
    while (p->fd >= 0 && sl_buf_len(&p->out) > 0) {
        struct sl_bytes v = sl_buf_view(&p->out);
        ssize_t n = send(p->fd, v.p, v.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sl_buf_consume(&p->out, (size_t)n);
        } else if (errno == EAGAIN || errno == ENOTCONN) {
            if (!p->wants_write)
                watch(f, p, EPOLL_CTL_MOD, true);
            return;
        } else if (errno != EINTR) {
            fault(f, p, strerror(errno));
        }
    }
    if (p->fd >= 0 && p->wants_write)
        watch(f, p, EPOLL_CTL_MOD, false);
}

void peer_subscribe(struct fanout *f, struct peer *p)
{
    int err = f->o.speaks->subscribe(f, p);
    if (err != SL_OK)
        fault(f, p, sl_err_text(err));
    flush_out(f, p);
}

/* ---- publishing ---- */

static void append_message(struct fanout *f, struct peer *p)
{
    size_t n = sl_buf_len(&f->message.bytes);
    uint32_t slot = (uint32_t)(p->sent % f->o.window);
    uint8_t *to = sl_buf_reserve(&p->out, n);
    SL_ASSERT(to != NULL);
    memcpy(to, sl_buf_view(&f->message.bytes).p, n);
    if (f->o.target.qos > 0)
        f->o.speaks->write_number(to + f->message.number_at, slot + 1);
    stamp_write(to + f->message.stamp_at, &(struct stamp){ p->number, f->run, p->sent, f->now_ns });
    sl_buf_commit(&p->out, n);
    p->missing[slot] = (f->o.target.group != NULL ? 1 : f->o.subscribers) + (f->o.target.qos > 0);
    p->sent++;
    f->counts.published++;
}

void peer_publish(struct fanout *f, struct peer *p)
{
    bool sends = f->phase == FANOUT_WARMING || f->phase == FANOUT_MEASURING;
    while (sends && p->fd >= 0 && p->sent - p->oldest < f->o.window)
        append_message(f, p);
    flush_out(f, p);
}

/* One more of what message `sequence` waits for has come. */
static void arrived(struct fanout *f, struct peer *p, uint64_t sequence)
{
    uint32_t *missing = &p->missing[sequence % f->o.window];
    if (sequence < p->oldest || *missing == 0)
        return; /* it was given up */
    --*missing;
    while (p->oldest < p->sent && p->missing[p->oldest % f->o.window] == 0)
        p->oldest++;
}

void peer_give_up(struct fanout *f, struct peer *p)
{
    for (uint64_t i = p->oldest; i < p->sent; i++) {
        f->counts.lost += p->missing[i % f->o.window];
        p->missing[i % f->o.window] = 0;
    }
    p->oldest = p->sent;
}

/* ---- deliveries ---- */

/* Deliveries of one publisher come in order, each once; shared ones are spread,
 * but what one member gets is still in order. */
static bool is_new(struct fanout *f, struct peer *p, const struct stamp *s)
{
    uint64_t *latest = &p->latest[s->connection];
    if (s->sequence + 1 == *latest) {
        f->counts.repeated++;
        return false;
    }
    f->counts.out_of_order += s->sequence < *latest;
    *latest = s->sequence + 1;
    return true;
}

void peer_on_message(struct fanout *f, struct peer *p, struct sl_bytes payload)
{
    struct stamp s;
    if (stamp_read(payload, &s) != SL_OK || s.run != f->run || s.connection >= f->o.publishers || !is_new(f, p, &s))
        return;
    f->counts.delivered++;
    f->progress_ns = f->now_ns;
    if (f->phase == FANOUT_MEASURING)
        histogram_record(&f->latency, f->now_ns > s.sent_ns ? f->now_ns - s.sent_ns : 0);
    arrived(f, &f->peers[f->o.subscribers + s.connection], s.sequence);
}

/* The number is the slot plus one; of the messages that had the slot the youngest is
 * the one that waits. */
int peer_on_answer(struct fanout *f, struct peer *p, uint32_t number)
{
    if (!p->publishes || number == 0 || number > f->o.window || p->sent == 0)
        return SL_EPEER;
    uint64_t newest = p->sent - 1;
    uint64_t sequence = newest - (newest % f->o.window + f->o.window - (number - 1u)) % f->o.window;
    f->counts.answered++;
    arrived(f, p, sequence);
    return SL_OK;
}

/* Packets are taken where they were read; only what is incomplete is kept. */
static int take(struct fanout *f, struct peer *p, struct sl_bytes in)
{
    size_t bytes;
    int err = SL_OK;
    while (in.n > 0 && (err = f->o.speaks->take(f, p, in, &bytes)) == SL_OK)
        in = sl_bytes_of(in.p + bytes, in.n - bytes);
    if (err != SL_OK && err != SL_EMORE)
        return err;
    if (sl_buf_len(&p->in) > 0) {
        sl_buf_consume(&p->in, sl_buf_len(&p->in) - in.n);
        return SL_OK;
    }
    return in.n == 0 ? SL_OK : sl_buf_append_bytes(&p->in, in);
}

static void read_once(struct fanout *f, struct peer *p)
{
    ssize_t n = recv(p->fd, f->read_buffer, FANOUT_READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fault(f, p, "the server closed a connection");
        return;
    }
    struct sl_bytes in = sl_bytes_of(f->read_buffer, (size_t)n);
    int err = SL_OK;
    if (sl_buf_len(&p->in) > 0) {
        err = sl_buf_append_bytes(&p->in, in);
        in = sl_buf_view(&p->in);
    }
    if (err == SL_OK)
        err = take(f, p, in);
    if (err != SL_OK)
        fault(f, p, "an answer that is none, or a refusal");
}

void peer_on_events(struct fanout *f, struct peer *p, uint32_t events)
{
    if (p->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        read_once(f, p);
    if (p->fd >= 0)
        flush_out(f, p);
}
