/* One connection of the generator: its whole window in one write, its answers
 * counted straight from the read buffer. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/stamp.h"
#include "load.h"

#define READ_BYTES (256u << 10)

static void watch(struct load *l, struct link *k, int op, bool writing)
{
    struct epoll_event ev = { .events = EPOLLIN | (writing ? (uint32_t)EPOLLOUT : 0u),
                              .data = { .ptr = k } };
    k->wants_write = writing;
    SL_ASSERT(epoll_ctl(l->epoll, op, k->fd, &ev) == 0);
}

int link_open(struct load *l, struct link *k)
{
    k->fd = dial_open(&l->dial, true);
    if (k->fd < 0)
        return SL_ESYS;
    int err = l->o.driver->hello(&l->o.target, k->number, &k->out);
    if (err != SL_OK)
        return err;
    l->connecting++;
    watch(l, k, EPOLL_CTL_ADD, true);
    return SL_OK;
}

void link_close(struct load *l, struct link *k)
{
    if (k->fd >= 0) {
        close(k->fd);
        l->connecting -= !k->ready;
        l->ready -= k->ready;
    }
    k->fd = -1;
    sl_buf_fini(&k->in);
    sl_buf_fini(&k->out);
}

static void fault(struct load *l, struct link *k, const char *what)
{
    l->counts.faults++;
    l->last_fault = what;
    l->gone++;
    link_close(l, k);
}

/* ---- out ---- */

static void flush_out(struct load *l, struct link *k)
{
    while (sl_buf_len(&k->out) > 0) {
        struct sl_bytes v = sl_buf_view(&k->out);
        ssize_t n = send(k->fd, v.p, v.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sl_buf_consume(&k->out, (size_t)n);
        } else if (errno == EAGAIN || errno == ENOTCONN) {
            if (!k->wants_write)
                watch(l, k, EPOLL_CTL_MOD, true);
            return;
        } else if (errno != EINTR) {
            fault(l, k, strerror(errno));
            return;
        }
    }
    if (k->wants_write)
        watch(l, k, EPOLL_CTL_MOD, false);
}

static void write_number(const struct bench_driver *d, uint8_t *p, uint32_t number)
{
    if (d->number == BENCH_NUMBER_U16BE) {
        (void)sl_wr_u16be(p, (uint16_t)number);
    } else if (d->number == BENCH_NUMBER_DIGITS8) {
        for (int i = 7; i >= 0; i--, number /= 10)
            p[i] = (uint8_t)('0' + number % 10);
    }
}

static void append_message(struct load *l, struct link *k, uint64_t meant_ns)
{
    uint32_t topic = (uint32_t)((k->number + k->sent) % l->o.target.n_topics);
    const struct bench_template *t = &l->templates[topic];
    size_t n = sl_buf_len(&t->bytes);
    uint32_t slot = (uint32_t)(k->sent % l->o.window);
    uint8_t *p = sl_buf_reserve(&k->out, n);
    SL_ASSERT(p != NULL);
    memcpy(p, sl_buf_view(&t->bytes).p, n);
    if (l->o.target.qos > 0)
        write_number(l->o.driver, p + t->number_at, slot + 1);
    stamp_write(p + t->stamp_at, &(struct stamp){ k->number, l->run, k->sent, meant_ns });
    sl_buf_commit(&k->out, n);
    k->slots[slot] = meant_ns;
    k->sent++;
    l->counts.sent++;
}

static bool may_send(const struct load *l, const struct link *k)
{
    if (k->slots[k->sent % l->o.window] != 0 || l->to_send == 0)
        return false;
    return l->o.rate == 0 || k->sent < k->due;
}

static void send_barrier(struct load *l, struct link *k)
{
    if (l->o.target.qos > 0 || l->o.driver->barrier == NULL || k->barrier_out ||
        k->oldest == k->sent)
        return;
    k->barrier_out = true;
    k->barrier_at = k->sent;
    SL_ASSERT(l->o.driver->barrier(&k->out) == SL_OK);
}

void link_fill(struct load *l, struct link *k, uint64_t now_ns)
{
    if (!k->ready || k->fd < 0)
        return;
    bool sending = l->phase == WARMING || l->phase == MEASURING;
    if (sending && k->slots == NULL)
        k->slots = sl_calloc(l->o.window, sizeof *k->slots);
    while (sending && may_send(l, k)) {
        uint64_t meant = now_ns;
        if (l->o.rate > 0) {
            meant = pace_time(l, k->number, k->sent);
            if (meant >= l->measured_from_ns)
                histogram_record(&l->lateness, now_ns > meant ? now_ns - meant : 0);
        }
        append_message(l, k, meant);
        if (l->to_send != UINT64_MAX)
            l->to_send--;
    }
    send_barrier(l, k);
    if (sl_buf_len(&k->out) > 0 && !k->wants_write)
        flush_out(l, k);
}

/* ---- in ---- */

static void on_ready(struct load *l, struct link *k)
{
    if (k->ready)
        return;
    k->ready = true;
    l->connecting--;
    l->ready++;
    sl_buf_fini(&k->out);
}

/* The sequence that holds this slot: the youngest sent one that falls on it. */
static uint64_t sequence_in(const struct load *l, const struct link *k, uint32_t slot)
{
    uint64_t last = k->sent - 1;
    return last - (last - slot) % l->o.window;
}

static bool settle(struct load *l, struct link *k, uint32_t slot, bool good)
{
    if (slot >= l->o.window || k->slots == NULL || k->slots[slot] == 0)
        return false;
    uint64_t now = l->last_answer_ns, meant = k->slots[slot];
    k->slots[slot] = 0;
    if (!good) {
        l->counts.refused++;
        return true;
    }
    l->counts.answered++;
    if (meant >= l->measured_from_ns) /* what was meant to be sent while warming is in no figure */
        histogram_record(&l->latency, now > meant ? now - meant : 0);
    if (l->ledger != NULL)
        ledger_answered(l->ledger, k->number, sequence_in(l, k, slot));
    return true;
}

static bool settle_oldest(struct load *l, struct link *k)
{
    if (k->oldest == k->sent)
        return false;
    return settle(l, k, (uint32_t)(k->oldest++ % l->o.window), true);
}

static bool settle_barrier(struct load *l, struct link *k)
{
    bool good = k->barrier_out;
    k->barrier_out = false;
    while (good && k->oldest < k->barrier_at)
        good = settle_oldest(l, k);
    return good;
}

/* false: the server answered what nobody asked. */
static bool take(struct load *l, struct link *k, const struct bench_answer *a)
{
    switch (a->kind) {
    case BENCH_NOTHING:
        return true;
    case BENCH_READY:
        on_ready(l, k);
        return true;
    case BENCH_DONE:
        return settle(l, k, a->number - 1, true);
    case BENCH_OLDEST:
        return settle_oldest(l, k);
    case BENCH_BARRIER:
        return settle_barrier(l, k);
    case BENCH_REFUSED:
        l->last_code = a->code;
        return k->ready && settle(l, k, a->number - 1, false);
    }
    return false;
}

/* Bytes consumed; the link may be gone afterwards. */
static size_t take_answers(struct load *l, struct link *k, struct sl_bytes in)
{
    size_t used = 0;
    while (used < in.n) {
        struct bench_answer a;
        struct sl_bytes rest = sl_bytes_of(in.p + used, in.n - used);
        int err = l->o.driver->answer(&l->o.target, rest, &a, &k->out);
        if (err == SL_EMORE)
            return used;
        if (err != SL_OK || !take(l, k, &a)) {
            fault(l, k,
                  err != SL_OK ? "the server sent what is no answer, or said goodbye"
                  : k->ready   ? "an answer to nothing that was sent"
                               : "the hello was refused");
            return in.n;
        }
        used += a.bytes;
    }
    return used;
}

/* Only a partial answer is copied. */
static void feed(struct load *l, struct link *k, struct sl_bytes in)
{
    if (sl_buf_len(&k->in) > 0) {
        SL_ASSERT(sl_buf_append_bytes(&k->in, in) == SL_OK);
        size_t used = take_answers(l, k, sl_buf_view(&k->in));
        if (k->fd >= 0)
            sl_buf_consume(&k->in, used);
        return;
    }
    size_t used = take_answers(l, k, in);
    if (k->fd >= 0 && used < in.n)
        SL_ASSERT(sl_buf_append(&k->in, in.p + used, in.n - used) == SL_OK);
}

static void read_in(struct load *l, struct link *k)
{
    static uint8_t buffer[READ_BYTES];
    ssize_t n = recv(k->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fault(l, k, n == 0 ? "closed by the server" : strerror(errno));
        return;
    }
    l->last_answer_ns = clock_ns();
    feed(l, k, sl_bytes_of(buffer, (size_t)n));
}

void link_on_events(struct load *l, struct link *k, uint32_t events)
{
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        read_in(l, k);
    if (k->fd >= 0 && (events & EPOLLOUT) != 0)
        flush_out(l, k);
    if (k->fd >= 0)
        link_fill(l, k, clock_ns());
}
