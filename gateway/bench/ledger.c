#include "bench/ledger.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/alloc.h"

#define MAGIC         UINT64_C(0x31524744454C4C53)
#define PAGE          4096u
#define SEAT_BYTES    ((sizeof(struct ledger_seat) + PAGE - 1) / PAGE * PAGE)
#define SEGMENT_BYTES ((size_t)(LEDGER_MAX_SEQUENCE / 8))
#define SEGMENT_WORDS (LEDGER_MAX_SEQUENCE / 64)
#define BITS_AT       (PAGE + LEDGER_SEATS * SEAT_BYTES)

enum { ANSWERED, SEEN, FAILED, KINDS };

struct header {
    uint64_t magic, run;
    _Atomic uint32_t seats;
    uint32_t connections;
    _Atomic uint64_t measured_from_ns; /* 0: not yet */
};

struct ledger {
    int fd;
    uint8_t *base; /* header and seats */
    struct ledger_seat *own;
    uint32_t connections;
    _Atomic uint64_t *bits[LEDGER_MAX_CONNECTIONS][KINDS]; /* mapped when first needed */
};

static struct header *header_of(const struct ledger *l)
{
    return (struct header *)(void *)l->base;
}

static struct ledger_seat *seat_at(const struct ledger *l, uint32_t i)
{
    return (struct ledger_seat *)(void *)(l->base + PAGE + i * SEAT_BYTES);
}

static int map_base(struct ledger *l)
{
    void *p = mmap(NULL, BITS_AT, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
    if (p == MAP_FAILED)
        return SL_ESYS;
    l->base = p;
    return SL_OK;
}

static int open_file(const char *path, int flags, struct ledger **out)
{
    struct ledger *l = SL_NEW(struct ledger);
    l->fd = open(path, flags | O_CLOEXEC, 0600);
    if (l->fd < 0) {
        sl_free(l);
        return SL_ENOENT;
    }
    *out = l;
    return SL_OK;
}

int ledger_create(const char *path, uint64_t run, uint32_t connections, struct ledger **out)
{
    struct ledger *l;
    (void)unlink(path);
    if (connections > LEDGER_MAX_CONNECTIONS ||
        open_file(path, O_RDWR | O_CREAT | O_EXCL, &l) != SL_OK)
        return SL_ESYS;
    off_t size = (off_t)(BITS_AT + (size_t)connections * KINDS * SEGMENT_BYTES);
    if (ftruncate(l->fd, size) != 0 || map_base(l) != SL_OK) {
        ledger_free(l);
        return SL_ESYS;
    }
    struct header *h = header_of(l);
    h->run = run;
    h->connections = l->connections = connections;
    h->magic = MAGIC;
    *out = l;
    return SL_OK;
}

static int take_seat(struct ledger *l)
{
    uint32_t i = atomic_fetch_add(&header_of(l)->seats, 1);
    if (i >= LEDGER_SEATS)
        return SL_EFULL;
    l->own = seat_at(l, i);
    l->own->pid = (uint64_t)getpid();
    return SL_OK;
}

int ledger_attach(const char *path, uint64_t run, struct ledger **out)
{
    struct ledger *l;
    int err = open_file(path, O_RDWR, &l);
    if (err != SL_OK)
        return err;
    err = lseek(l->fd, 0, SEEK_END) < (off_t)BITS_AT ? SL_ENOENT : map_base(l);
    if (err == SL_OK && (header_of(l)->magic != MAGIC || header_of(l)->run != run))
        err = SL_ENOENT;
    if (err == SL_OK)
        err = take_seat(l);
    if (err != SL_OK) {
        ledger_free(l);
        return err;
    }
    l->connections = header_of(l)->connections;
    *out = l;
    return SL_OK;
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    for (uint32_t c = 0; c < l->connections; c++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            if (l->bits[c][kind] != NULL)
                munmap(l->bits[c][kind], SEGMENT_BYTES);
        }
    }
    if (l->base != NULL)
        munmap(l->base, BITS_AT);
    close(l->fd);
    sl_free(l);
}

/* NULL: the system has no room for the mapping, or the numbers are not ours. */
static _Atomic uint64_t *bits_of(struct ledger *l, uint32_t connection, unsigned kind)
{
    if (connection >= l->connections)
        return NULL;
    if (l->bits[connection][kind] == NULL) {
        off_t at = (off_t)(BITS_AT + ((size_t)connection * KINDS + kind) * SEGMENT_BYTES);
        void *p = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, at);
        l->bits[connection][kind] = p == MAP_FAILED ? NULL : p;
    }
    return l->bits[connection][kind];
}

/* -1: untracked; else the bit as it was. */
static int set_bit(struct ledger *l, uint32_t connection, unsigned kind, uint64_t sequence)
{
    _Atomic uint64_t *bits = sequence < LEDGER_MAX_SEQUENCE ? bits_of(l, connection, kind) : NULL;
    if (bits == NULL)
        return -1;
    uint64_t mask = UINT64_C(1) << (sequence % 64);
    return (atomic_fetch_or_explicit(&bits[sequence / 64], mask, memory_order_relaxed) & mask) != 0;
}

void ledger_answered(struct ledger *l, uint32_t connection, uint64_t sequence)
{
    (void)set_bit(l, connection, ANSWERED, sequence);
}

static enum ledger_sight sight_of(int was)
{
    if (was < 0)
        return LEDGER_UNTRACKED;
    return was ? LEDGER_REPEATED : LEDGER_FIRST;
}

enum ledger_sight ledger_see(struct ledger *l, uint32_t connection, uint64_t sequence)
{
    return sight_of(set_bit(l, connection, SEEN, sequence));
}

enum ledger_sight ledger_fail(struct ledger *l, uint32_t connection, uint64_t sequence)
{
    return sight_of(set_bit(l, connection, FAILED, sequence));
}

void ledger_measure_from(struct ledger *l, uint64_t from_ns)
{
    atomic_store_explicit(&header_of(l)->measured_from_ns, from_ns, memory_order_relaxed);
}

bool ledger_is_measured(const struct ledger *l, uint64_t sent_ns)
{
    uint64_t from = atomic_load_explicit(&header_of(l)->measured_from_ns, memory_order_relaxed);
    return from != 0 && sent_ns >= from;
}

struct ledger_seat *ledger_seat(struct ledger *l)
{
    return l->own;
}

static void add_seat(struct ledger_seat *sum, const struct ledger_seat *s)
{
    sum->received += s->received;
    sum->repeated += s->repeated;
    sum->redelivered += s->redelivered;
    sum->out_of_order += s->out_of_order;
    sum->failed += s->failed;
    sum->foreign += s->foreign;
    sum->untracked += s->untracked;
    if (s->received > 0 && (sum->first_ns == 0 || s->first_ns < sum->first_ns))
        sum->first_ns = s->first_ns;
    if (s->last_ns > sum->last_ns)
        sum->last_ns = s->last_ns;
    histogram_merge(&sum->latency, &s->latency);
}

void ledger_sum(const struct ledger *l, struct ledger_seat *out)
{
    uint32_t n = atomic_load(&header_of(l)->seats);
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < n && i < LEDGER_SEATS; i++)
        add_seat(out, seat_at(l, i));
}

static unsigned ones(uint64_t v)
{
    unsigned n = 0;
    for (; v != 0; v &= v - 1)
        n++;
    return n;
}

static void judge_connection(struct ledger *l, uint32_t connection, uint64_t sent,
                             struct ledger_verdict *v)
{
    const _Atomic uint64_t *answered = bits_of(l, connection, ANSWERED),
                           *seen = bits_of(l, connection, SEEN);
    uint64_t words = sent > LEDGER_MAX_SEQUENCE ? SEGMENT_WORDS : (sent + 63) / 64;
    for (uint64_t i = 0; answered != NULL && seen != NULL && i < words; i++) {
        uint64_t a = atomic_load_explicit(&answered[i], memory_order_relaxed);
        uint64_t s = atomic_load_explicit(&seen[i], memory_order_relaxed);
        v->answered += ones(a);
        v->seen += ones(s);
        v->lost += ones(a & ~s);
        v->unanswered += ones(s & ~a);
    }
}

void ledger_judge(struct ledger *l, const uint64_t *sent, struct ledger_verdict *out)
{
    memset(out, 0, sizeof *out);
    for (uint32_t c = 0; c < l->connections; c++)
        judge_connection(l, c, sent[c], out);
}
