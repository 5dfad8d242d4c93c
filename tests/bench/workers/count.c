/* As count.py, for C: plain or batch. */
#include <sluice_worker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 100
#define WAIT_MS 1000

static uint64_t messages, left, bytes;
static double begun, cpu;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(void)
{
    char scratch[4096];
    const char *path = getenv("BENCH_REPORT");
    double seconds = now(CLOCK_MONOTONIC) - begun, used = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    snprintf(scratch, sizeof scratch, "%s.new", path);
    FILE *out = fopen(scratch, "w");
    if (out == NULL)
        exit(1);
    fprintf(out, "{\"seconds\":%.6f,\"cpu_seconds\":%.6f}", seconds, used);
    fclose(out);
    if (rename(scratch, path) != 0)
        exit(1);
}

static enum sluice_worker_verdict see(struct sluice_worker_message *m, void *arg)
{
    (void)arg;
    if (left == messages) {
        begun = now(CLOCK_MONOTONIC);
        cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    }
    bytes += sluice_worker_message_payload(m).size;
    if (--left == 0)
        report();
    return SLUICE_WORKER_ACK;
}

static enum sluice_worker_verdict see_all(struct sluice_worker_batch *b, void *arg)
{
    for (size_t i = 0; i < sluice_worker_batch_size(b); i++)
        see(sluice_worker_batch_message(b, i), arg);
    return SLUICE_WORKER_ACK;
}

int main(int argc, char **argv)
{
    messages = left = strtoull(getenv("BENCH_MESSAGES"), NULL, 10);
    if (argc > 1 && strcmp(argv[1], "batch") == 0)
        return sluice_worker_main_batches(BATCH, WAIT_MS, see_all, NULL);
    return sluice_worker_main(see, NULL);
}
