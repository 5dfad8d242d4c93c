/* How fast the store is on this machine: bench_store DIR [entries to load | copies | deep N].
 * Not a test. One sync per batch; at a depth of 100,000 messages of 300 bytes
 * n messages enter, the n oldest leave, or both. Only store_apply is timed.
 * copies: messages enter for stored sessions, and leave when all have answered.
 * deep N: N messages of 256 bytes wait in DIR (filled up as far as they are not there
 * already); how long a start takes, with the file in no memory and in memory, and
 * what a message costs at the front and at the end of that queue. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "store/store.h"

#define DEPTH 100000u
#define RUN_US 2000000u
#define COMMITS_MAX 100000u

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void must(int err, const char *what)
{
    if (err == SL_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, sl_err_name(err));
    exit(1);
}

static size_t payload_bytes = 300 - 80;

static struct message *add_body(struct batch *b, uint64_t id)
{
    static uint8_t payload[300];
    struct message_parts parts = { .id = id, .protocol = MESSAGE_MQTT5, .qos = 1, .topic = sl_str("telemetry/device"),
                                   .payload = sl_bytes_of(payload, payload_bytes) };
    struct batch_op *op = batch_add(b, BATCH_BODY);
    op->id = id;
    op->msg = message_new(&parts);
    return op->msg;
}

static void enqueue(struct batch *b, uint64_t id)
{
    struct message *m = add_body(b, id);
    struct batch_op *op = batch_add(b, BATCH_ENTRY);
    op->id = id;
    op->queue = 1;
    op->msg = message_ref(m);
}

static void settle(struct batch *b, uint64_t id)
{
    struct batch_op *op = batch_add(b, BATCH_SETTLE);
    op->id = id;
    op->queue = 1;
    batch_add(b, BATCH_BODY_DROP)->id = id;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

struct range {
    uint64_t first, next;
};

static void fill(struct store *st, struct batch *b, struct range *r, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        enqueue(b, r->next++);
        if (b->n >= 8192 || i + 1 == n) {
            must(store_apply(st, b), "fill");
            batch_reset(b);
        }
    }
}

/* Bytes that this process has sent to the disk. */
static uint64_t written_bytes(void)
{
    char line[128];
    uint64_t n = 0;
    FILE *f = fopen("/proc/self/io", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "write_bytes: %" SCNu64, &n);
    if (f != NULL)
        fclose(f);
    return n;
}

/* What a batch of n does: n messages enter, the n oldest leave, or both. */
struct job {
    const char *name;
    bool enters, leaves;
    uint64_t most; /* messages; 0: as many as the time allows */
};

static void fill_batch(struct batch *b, const struct job *j, struct range *r, uint32_t n)
{
    for (uint32_t i = 0; i < n && j->enters; i++)
        enqueue(b, r->next++);
    for (uint32_t i = 0; i < n && j->leaves; i++)
        settle(b, r->first++);
}

static void measure(struct store *st, struct batch *b, struct range *r, const struct job *j, uint32_t n)
{
    static uint32_t took[COMMITS_MAX];
    uint32_t commits = 0;
    uint64_t begin = now_us(), written = written_bytes(), all_us = 0;
    while (now_us() - begin < RUN_US && commits < COMMITS_MAX && (j->most == 0 || (uint64_t)commits * n < j->most)) {
        fill_batch(b, j, r, n);
        must(store_apply(st, b), "apply");
        all_us += b->took_us;
        took[commits++] = (uint32_t)b->took_us;
        batch_reset(b);
    }
    qsort(took, commits, sizeof took[0], by_value);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%-5s batch %5" PRIu32 ": %9.0f messages/s, commit p50 %" PRIu32 " us, p99 %" PRIu32 " us, %.0f bytes written each\n", j->name, n,
           (double)commits * n / ((double)all_us / 1e6), took[commits / 2], took[(uint64_t)commits * 99 / 100],
           (double)(written_bytes() - written) / ((double)commits * n));
}

/* Enters DEPTH and takes it out again, then keeps the depth. */
static void measure_all(struct store *st, struct batch *b, struct range *r, uint32_t n)
{
    static const struct job jobs[] = {
        { "both", true, true, 0 },
        { "enter", true, false, DEPTH },
        { "leave", false, true, DEPTH },
    };
    for (size_t i = 0; i < SL_COUNT(jobs); i++)
        measure(st, b, r, &jobs[i], n);
}

/* ---- what waits for sessions ---- */

#define COPIES_DEPTH 64u /* batches that wait */
#define COMMITS 200u

struct fan {
    uint32_t messages, sessions; /* per batch; each message waits for so many */
};

/* Sessions come in no order: a fan-out follows the tree of subscriptions. */
static uint64_t session_of(uint64_t id, uint32_t k, uint32_t sessions)
{
    return sessions == 1 ? 1 + id * 7919 % 1000 : 1 + (uint64_t)k * 7919 % sessions;
}

static void copies_enter(struct batch *b, uint64_t id, uint32_t sessions)
{
    (void)add_body(b, id);
    for (uint32_t k = 0; k < sessions; k++) {
        struct batch_op *op = batch_add(b, BATCH_COPY);
        op->id = id;
        op->session = session_of(id, k, sessions);
        op->packet_id = 1;
        op->copy_flags = 1;
    }
}

static void copies_leave(struct batch *b, uint64_t id, uint32_t sessions)
{
    for (uint32_t k = 0; k < sessions; k++) {
        struct batch_op *op = batch_add(b, BATCH_COPY_DROP);
        op->id = id;
        op->session = session_of(id, k, sessions);
    }
    batch_add(b, BATCH_BODY_DROP)->id = id;
}

static void tell_copies(const char *what, const struct fan *f, uint32_t *took)
{
    qsort(took, COMMITS, sizeof took[0], by_value);
    uint64_t all_us = 0;
    for (uint32_t i = 0; i < COMMITS; i++)
        all_us += took[i];
    printf("%-5s batch of %4" PRIu32 " x (1 body + %4" PRIu32 " copies): %9.0f copies/s, commit p50 %" PRIu32 " us, p99 %" PRIu32 " us\n", what,
           f->messages, f->sessions, (double)f->messages * f->sessions * COMMITS / ((double)all_us / 1e6), took[COMMITS / 2], took[COMMITS * 99 / 100]);
}

static void measure_copies(struct store *st, struct batch *b, struct range *r, const struct fan *f)
{
    static uint32_t enter[COMMITS], leave[COMMITS];
    for (uint32_t i = 0; i < COPIES_DEPTH + COMMITS; i++) {
        for (uint32_t k = 0; k < f->messages; k++)
            copies_enter(b, r->next++, f->sessions);
        must(store_apply(st, b), "enter");
        enter[i % COMMITS] = (uint32_t)b->took_us;
        batch_reset(b);
        if (i < COPIES_DEPTH)
            continue;
        for (uint32_t k = 0; k < f->messages; k++)
            copies_leave(b, r->first++, f->sessions);
        must(store_apply(st, b), "leave");
        leave[i - COPIES_DEPTH] = (uint32_t)b->took_us;
        batch_reset(b);
    }
    tell_copies("enter", f, enter);
    tell_copies("leave", f, leave);
    while (r->first < r->next) {
        copies_leave(b, r->first++, f->sessions);
        if (b->n < 4096 && r->first < r->next)
            continue;
        must(store_apply(st, b), "empty");
        batch_reset(b);
    }
}

/* ---- a start ---- */

static int count_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    (void)queue;
    (void)r;
    ++*(uint64_t *)arg;
    return SL_OK;
}

static int count_copy(void *arg, const struct store_copy *c)
{
    (void)c;
    ++*(uint64_t *)arg;
    return SL_OK;
}

static void measure_load(struct store *st, const char *what)
{
    uint64_t n = 0, begin = now_us();
    struct store_loader l = { .arg = &n, .entry = count_entry, .copy = count_copy };
    must(store_load(st, &l, NULL), "load");
    printf("load %" PRIu64 " %s: %.3f s\n", n, what, (double)(now_us() - begin) / 1e6);
}

/* ---- deep queues ---- */

/* A figure of /proc/self/status in KiB. */
static uint64_t status_kib(const char *name)
{
    char line[128];
    uint64_t n = 0;
    size_t len = strlen(name);
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, len) == 0)
            n = strtoull(line + len, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return n;
}

/* Out of the system's memory, as after the machine was off. */
static void forget_file(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/store/data.mdb", dir);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        must(SL_ESYS, path);
    close(fd);
}

struct started {
    struct queue *q;
    struct sl_now now;
    uint64_t first, next, n;
};

static int restore_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    struct started *s = arg;
    (void)queue;
    s->first = s->n == 0 ? r->id : s->first;
    s->next = r->id + 1;
    s->n++;
    queue_restore(s->q, r, &s->now);
    return SL_OK;
}

static void measure_start(const struct store_config *cfg, const char *state, struct started *out)
{
    const struct queue_config qc = { .name = "deep", .number = 1, .durable = true, .max_messages = UINT64_MAX, .max_bytes = UINT64_MAX, .max_attempts = 5 };
    struct started s = { .now = { .wall_ms = 1, .steady_ms = 1, .mono_ms = 1 } };
    struct store_loader l = { .arg = &s, .entry = restore_entry };
    struct store *st;
    s.q = queue_new(&qc, 1);
    uint64_t begin = now_us();
    must(store_open(cfg, &st, NULL), "open");
    uint64_t opened = now_us();
    must(store_load(st, &l, NULL), "load");
    printf("start with %" PRIu64 " messages, file %s: open %.3f s, load %.3f s, %.0f ns each; memory of its own %" PRIu64 " MiB, of the file %" PRIu64 " MiB\n", s.n, state,
           (double)(opened - begin) / 1e6, (double)(now_us() - opened) / 1e6, (double)(now_us() - opened) * 1e3 / (double)(s.n == 0 ? 1 : s.n),
           status_kib("RssAnon:") / 1024, status_kib("RssFile:") / 1024);
    store_close(st);
    queue_free(s.q);
    *out = s;
}

static void measure_ends(const struct store_config *cfg, struct batch *b, struct started *s)
{
    static const struct job jobs[] = { { "leave", false, true, DEPTH }, { "enter", true, false, DEPTH }, { "both", true, true, DEPTH } };
    struct range r = { s->first, s->next };
    struct store *st;
    must(store_open(cfg, &st, NULL), "open");
    for (size_t i = 0; i < SL_COUNT(jobs); i++)
        measure(st, b, &r, &jobs[i], 512);
    store_close(st);
}

static struct store *measure_deep(struct store *st, const struct store_config *cfg, struct batch *b, uint64_t n)
{
    struct started s = { 0 };
    struct store_info info;
    must(store_info(st, &info), "info");
    struct range r = { store_boot(st) << 40, store_boot(st) << 40 };
    payload_bytes = 256;
    uint32_t number;
    must(store_queue_number(st, "deep", &number), "number"); /* so that a gateway can be started with it */
    if (info.entries < n)
        fill(st, b, &r, n - info.entries);
    must(store_info(st, &info), "info");
    printf("%" PRIu64 " messages, %" PRIu64 " MiB used\n", info.entries, info.used_bytes >> 20);
    store_close(st);
    forget_file(cfg->dir);
    measure_start(cfg, "read from the disk", &s);
    measure_start(cfg, "in memory", &s);
    measure_ends(cfg, b, &s);
    return NULL;
}

static void add_sessions(struct store *st, struct batch *b)
{
    struct batch_session s = { .expiry_s = 60, .client_id = sl_str("device") };
    for (uint64_t number = 1; number <= 1000; number++) {
        struct batch_op *op = batch_add(b, BATCH_SESSION);
        op->id = number;
        op->note = batch_session_encode(&s);
    }
    must(store_apply(st, b), "sessions");
    batch_reset(b);
}

static void measure_fans(struct store *st, struct batch *b, struct range *r)
{
    static const struct fan fans[] = { { 1, 1000 }, { 10, 100 }, { 1000, 1 } };
    for (size_t i = 0; i < SL_COUNT(fans); i++)
        measure_copies(st, b, r, &fans[i]);
    add_sessions(st, b);
    for (uint32_t i = 0; i < DEPTH; i++) {
        copies_enter(b, r->next++, 1);
        if (i % 1000 != 999)
            continue;
        must(store_apply(st, b), "fill");
        batch_reset(b);
    }
    measure_load(st, "copies with their bodies");
}

/* Returns the store, which was opened again when `entries` were to be loaded. */
static struct store *measure_queues(struct store *st, const struct store_config *cfg, struct batch *b, struct range *r, uint64_t entries)
{
    static const uint32_t sizes[] = { 16, 128, 512, 1024 };
    fill(st, b, r, DEPTH);
    for (size_t i = 0; i < SL_COUNT(sizes); i++)
        measure_all(st, b, r, sizes[i]);
    if (entries <= DEPTH)
        return st;
    fill(st, b, r, entries - DEPTH);
    store_close(st);
    must(store_open(cfg, &st, NULL), "open");
    measure_load(st, "entries");
    return st;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIR [entries to load | copies | deep N]\n");
        return 2;
    }
    struct store_config cfg = { .engine = "lmdb", .dir = argv[1], .node = "bench", .map_size_bytes = (uint64_t)64 << 30, .reserve_bytes = 64 << 20 };
    struct store *st;
    must(store_open(&cfg, &st, NULL), "open");
    struct batch *b = batch_new();
    struct range r = { store_boot(st) << 40, store_boot(st) << 40 };
    if (argc > 2 && strcmp(argv[2], "copies") == 0)
        measure_fans(st, b, &r);
    else if (argc > 3 && strcmp(argv[2], "deep") == 0)
        st = measure_deep(st, &cfg, b, strtoull(argv[3], NULL, 10));
    else
        st = measure_queues(st, &cfg, b, &r, argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    batch_free(b);
    store_close(st);
    return 0;
}
