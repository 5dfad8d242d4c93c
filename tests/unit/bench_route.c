/* What subscriptions and retained messages cost on this machine: bench_route
 * [most, 1000000]. Not a test. Each line is measured in a process of its own.
 * Filters of three kinds, each `n` times under another second level; a
 * topic fits one of them, or is one that nobody listens to.
 *
 *   walked      the table has changed before, so that nothing is remembered
 *   remembered  one of 512 topics in turn
 *
 * A change costs something too: it is timed alone and taken off. */
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "route/retained.h"
#include "route/subscriptions.h"

#define TOPICS      4096u
#define REMEMBERED  512u
#define TOPIC_BYTES 32u
#define ROUNDS      200000u

/* ---- measuring ---- */

static int instructions_fd = -1;

static void open_instructions(void)
{
    struct perf_event_attr a = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof a,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
    };
    instructions_fd = (int)syscall(SYS_perf_event_open, &a, 0, -1, -1, 0);
}

struct meter {
    double ns, instructions; /* instructions: negative when nobody counts */
};

static struct meter meter_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    struct meter m = {(double)ts.tv_sec * 1e9 + (double)ts.tv_nsec, -1};
    uint64_t n;
    if (instructions_fd >= 0 && read(instructions_fd, &n, sizeof n) == sizeof n)
        m.instructions = (double)n;
    return m;
}

/* Of each of `n`. */
static struct meter since(struct meter begin, double n)
{
    struct meter end = meter_now();
    end.ns = (end.ns - begin.ns) / n;
    end.instructions = end.instructions < 0 ? -1 : (end.instructions - begin.instructions) / n;
    return end;
}

static struct meter without(struct meter m, struct meter off)
{
    m.ns -= off.ns;
    m.instructions = m.instructions < 0 ? -1 : m.instructions - off.instructions;
    return m;
}

/* Instructions where the machine counts them. */
static void print_meter(struct meter m)
{
    printf(" %.0f ns", m.ns);
    if (m.instructions >= 0)
        printf(", %.0f instructions", m.instructions);
    printf(" |");
}

static double resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all = 0, resident = 0;
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &all, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* ---- the table ---- */

struct bench {
    struct subscriptions *t;
    struct session listener, other;
    char (*topics)[TOPIC_BYTES];
    bool toggle;
};

static void subscribe(struct bench *b, const char *filter)
{
    struct subscription_options o = {.qos = 1};
    bool existed;
    (void)subscriptions_add(b->t, &b->listener, SL_BYTES_NONE, sl_str(filter), &o, 0, &existed);
}

/* Audiences and topics are forgotten. */
static void change(struct bench *b)
{
    b->toggle = !b->toggle;
    struct subscription_options o = {.qos = b->toggle};
    bool existed;
    (void)subscriptions_add(b->t, &b->other, SL_BYTES_NONE, sl_str("other"), &o, 0, &existed);
}

static struct bench bench_new(const char *kind, uint32_t n)
{
    struct bench b = {.t = subscriptions_new(), .listener = {.slot = 1}, .other = {.slot = 2}};
    b.topics = sl_calloc(TOPICS, TOPIC_BYTES);
    struct sl_rng r;
    sl_rng_seed(&r, 1);
    for (uint32_t i = 0; i < TOPICS; i++)
        (void)snprintf(b.topics[i], TOPIC_BYTES, "bench/%" PRIu64 "/x", sl_rng_below(&r, n));
    char filter[64];
    for (uint32_t i = 0; i < n; i++) {
        (void)snprintf(filter, sizeof filter, "bench/%" PRIu32 "/%s", i, kind);
        subscribe(&b, filter);
    }
    return b;
}

static void bench_free(struct bench *b)
{
    subscriptions_free(b->t);
    sl_free(b->topics);
}

static struct meter changed(struct bench *b)
{
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < ROUNDS; i++)
        change(b);
    return since(begin, ROUNDS);
}

static struct meter walked(struct bench *b, struct meter off)
{
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        change(b);
        if (subscriptions_match(b->t, sl_str(b->topics[i % TOPICS]))->n != 1)
            abort();
    }
    return without(since(begin, ROUNDS), off);
}

static struct meter remembered(struct bench *b)
{
    for (uint32_t i = 0; i < REMEMBERED; i++)
        (void)subscriptions_match(b->t, sl_str(b->topics[i]));
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (subscriptions_match(b->t, sl_str(b->topics[i % REMEMBERED]))->n != 1)
            abort();
    }
    return since(begin, ROUNDS);
}

static struct meter unheard(struct bench *b, struct meter off)
{
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        change(b);
        if (subscriptions_match(b->t, sl_str("bench/nobody/y"))->n != 0)
            abort();
    }
    return without(since(begin, ROUNDS), off);
}

static uint64_t nodes_of_one(struct bench *b)
{
    change(b);
    uint64_t before = subscriptions_visited(b->t);
    (void)subscriptions_match(b->t, sl_str(b->topics[0]));
    return subscriptions_visited(b->t) - before;
}

static void measure(const char *kind, uint32_t n)
{
    double resident = resident_bytes();
    struct meter begin = meter_now();
    struct bench b = bench_new(kind, n);
    struct meter added = since(begin, n);
    resident = resident_bytes() - resident;
    size_t bytes = subscriptions_bytes(b.t);
    struct meter off = changed(&b);
    printf("| `bench/N/%s` | %" PRIu32 " | %" PRIu64 " |", kind, n, nodes_of_one(&b));
    print_meter(walked(&b, off));
    print_meter(unheard(&b, off));
    print_meter(remembered(&b));
    if (n >= 100000)
        printf(" %.0f ns | %.0f (%.0f) |\n", added.ns, (double)bytes / n, resident / n);
    else
        printf(" | |\n");
    bench_free(&b);
}

/* ---- many sessions with one filter ---- */

static void measure_audience(uint32_t n)
{
    struct session *s = sl_calloc(n + 1, sizeof *s);
    struct bench b = bench_new("x", 1);
    struct subscription_options o = {.qos = 1, .id = 7};
    bool existed;
    size_t bytes = subscriptions_bytes(b.t);
    for (uint32_t i = 1; i <= n; i++) {
        s[i].slot = i + 1;
        (void)subscriptions_add(b.t, &s[i], SL_BYTES_NONE, sl_str("all"), &o, 0, &existed);
    }
    bytes = subscriptions_bytes(b.t) - bytes;
    uint32_t rounds = 1 + 1000000 / n;
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < rounds; i++) {
        change(&b);
        if (subscriptions_match(b.t, sl_str("all"))->n != n)
            abort();
    }
    struct meter made = since(begin, (double)rounds * n);
    printf("| %" PRIu32 " members |", n);
    print_meter(made);
    printf(" %.0f bytes |\n", (double)bytes / n);
    bench_free(&b);
    sl_free(s);
}

/* ---- retained messages ---- */

static void keep(struct retained *t, uint32_t i)
{
    char topic[TOPIC_BYTES];
    (void)snprintf(topic, sizeof topic, "bench/%" PRIu32 "/x", i);
    struct message_parts parts = {.id = i + 1, .protocol = MESSAGE_MQTT5, .flags = MESSAGE_RETAIN, .topic = sl_str(topic), .payload = sl_str("21.5")};
    struct message *m = message_new(&parts);
    if (retained_put(t, m) != NULL)
        abort();
    message_unref(m);
}

/* Of each message found. */
static struct meter found(const struct retained *t, const char *filter, uint32_t n)
{
    uint32_t rounds = 1 + 1000000 / n;
    struct sl_buf ids = {.max = 0};
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < rounds; i++) {
        sl_buf_clear(&ids);
        retained_match(t, sl_str(filter), &ids);
        if (sl_buf_len(&ids) != n * sizeof(uint64_t))
            abort();
    }
    struct meter m = since(begin, (double)rounds * n);
    sl_buf_fini(&ids);
    return m;
}

static void measure_retained(const char *unused, uint32_t n)
{
    (void)unused;
    double resident = resident_bytes();
    struct retained *t = retained_new(n, UINT64_MAX);
    struct meter begin = meter_now();
    for (uint32_t i = 0; i < n; i++)
        keep(t, i);
    struct meter kept = since(begin, n);
    resident = resident_bytes() - resident;
    char topic[TOPIC_BYTES];
    (void)snprintf(topic, sizeof topic, "bench/%" PRIu32 "/x", n / 2);
    printf("| %" PRIu32 " |", n);
    print_meter(found(t, topic, 1));
    print_meter(found(t, "bench/+/x", n));
    print_meter(found(t, "#", n));
    print_meter(kept);
    if (n >= 100000)
        printf(" %.0f (%.0f) |\n", (double)retained_bytes(t) / n, resident / n);
    else
        printf(" |\n");
    retained_free(t);
}

static void measure_one_filter(const char *unused, uint32_t n)
{
    (void)unused;
    measure_audience(n);
}

/* What others have left in memory would be counted, or used. */
static void alone(void (*fn)(const char *, uint32_t), const char *kind, uint32_t n)
{
    pid_t child = fork();
    if (child == 0) {
        open_instructions();
        fn(kind, n);
        exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    uint32_t most = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    setvbuf(stdout, NULL, _IOLBF, 0);
    static const char *const kinds[] = {"x", "+", "#"};
    const uint32_t sizes[] = {1, 1000, most};
    printf("| filters | how many | nodes | walked | nobody | remembered | subscribing | bytes each (resident) |\n|---|---|---|---|---|---|---|---|\n");
    for (size_t k = 0; k < SL_COUNT(kinds); k++)
        for (size_t i = 0; i < SL_COUNT(sizes); i++)
            alone(measure, kinds[k], sizes[i]);
    printf("\n| one filter | an audience made, each member | memory, each |\n|---|---|---|\n");
    alone(measure_one_filter, "", 1000);
    alone(measure_one_filter, "", 100000);
    printf("\n| retained | one topic found | `bench/+/x`, each found | `#`, each found | kept | bytes each (resident) |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < SL_COUNT(sizes); i++)
        alone(measure_retained, "", sizes[i]);
    return 0;
}
