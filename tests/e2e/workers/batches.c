/* A worker that takes batches: it writes the size of each to a file, sets aside what says "bad", and acks the rest.
 *
 *     batches FILE MAX WAIT_MS WORK_MS */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sluice_worker.h"

static int out;
static long work_ms;

static bool is_bad(const struct sluice_worker_message *m)
{
    struct sluice_worker_view p = sluice_worker_message_payload(m);
    return p.size == 3 && memcmp(p.data, "bad", 3) == 0;
}

static enum sluice_worker_verdict handle(struct sluice_worker_batch *b, void *arg)
{
    struct timespec work = { work_ms / 1000, work_ms % 1000 * 1000000 };
    size_t n = sluice_worker_batch_size(b);
    (void)arg;
    (void)nanosleep(&work, NULL);
    if (dprintf(out, "%zu\n", n) < 0)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        struct sluice_worker_message *m = sluice_worker_batch_message(b, i);
        if (is_bad(m) && sluice_worker_dead(m, "bad") != SLUICE_WORKER_OK)
            exit(1);
    }
    return SLUICE_WORKER_ACK;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    out = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    work_ms = strtol(argv[4], NULL, 10);
    if (out < 0)
        return 1;
    return sluice_worker_main_batches((unsigned)strtoul(argv[2], NULL, 10), (int)strtol(argv[3], NULL, 10), handle, NULL);
}
