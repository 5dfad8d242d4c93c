/* How fast the store is on this machine: bench_store DIR [entries to load].
 * Not a test. One sync per batch; at a depth of 100,000 messages of 300 bytes
 * n messages enter, the n oldest leave, or both. Only store_apply is timed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void enqueue(struct batch *b, uint64_t id)
{
    static uint8_t payload[300];
    struct message_parts parts = { .id = id, .protocol = MESSAGE_MQTT5, .qos = 1, .topic = sl_str("telemetry/device"),
                                   .payload = sl_bytes_of(payload, sizeof payload - 80) };
    struct batch_op *op = batch_add(b, BATCH_BODY);
    struct message *m = message_new(&parts);
    op->id = id;
    op->msg = m;
    op = batch_add(b, BATCH_ENTRY);
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

static int count_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    (void)queue;
    (void)r;
    ++*(uint64_t *)arg;
    return SL_OK;
}

static void measure_load(struct store *st)
{
    uint64_t n = 0, begin = now_us();
    struct store_loader l = { .arg = &n, .entry = count_entry };
    must(store_load(st, &l, NULL), "load");
    printf("load %" PRIu64 " entries: %.3f s\n", n, (double)(now_us() - begin) / 1e6);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_store DIR [entries to load]\n");
        return 2;
    }
    struct store_config cfg = { .engine = "lmdb", .dir = argv[1], .node = "bench", .map_size_bytes = (uint64_t)8 << 30, .reserve_bytes = 64 << 20 };
    struct store *st;
    must(store_open(&cfg, &st, NULL), "open");
    struct batch *b = batch_new();
    struct range r = { store_boot(st) << 40, store_boot(st) << 40 };
    fill(st, b, &r, DEPTH);
    static const uint32_t sizes[] = { 16, 128, 512, 1024 };
    for (size_t i = 0; i < SL_COUNT(sizes); i++)
        measure_all(st, b, &r, sizes[i]);
    uint64_t more = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    if (more > DEPTH) {
        fill(st, b, &r, more - DEPTH);
        store_close(st);
        must(store_open(&cfg, &st, NULL), "open");
        measure_load(st);
    }
    batch_free(b);
    store_close(st);
    return 0;
}
