/* The worker of worker_feed in C: looks at each payload and acks it. `worker_ack batch` takes batches of 100. */
#include <string.h>

#include "sluice_worker.h"

static uint64_t bytes;

static enum sluice_worker_verdict each(struct sluice_worker_message *m, void *arg)
{
    (void)arg;
    bytes += sluice_worker_message_payload(m).size;
    return SLUICE_WORKER_ACK;
}

static enum sluice_worker_verdict many(struct sluice_worker_batch *b, void *arg)
{
    for (size_t i = 0; i < sluice_worker_batch_size(b); i++)
        (void)each(sluice_worker_batch_message(b, i), arg);
    return SLUICE_WORKER_ACK;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "batch") == 0)
        return sluice_worker_main_batches(100, 0, many, NULL);
    return sluice_worker_main(each, NULL);
}
