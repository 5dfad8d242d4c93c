/* Telemetry written in bulk: each batch becomes lines of a file and one sync, and only then its
 * messages are acked, all with one frame. A crash before the ack writes some lines again, and loses none.
 *
 *     "command": ["bulk_write", "telemetry.tsv"], "prefetch": 200 */
#include <stdio.h>
#include <unistd.h>

#include "sluice_worker.h"

#define BATCH_MAX 100
#define WAIT_MS   50 /* for more, once the first message is there */

static void write_line(FILE *to, const struct sluice_worker_message *m)
{
    struct sluice_worker_view topic = sluice_worker_message_topic(m);
    struct sluice_worker_view payload = sluice_worker_message_payload(m);
    (void)fprintf(to, "%llu\t%.*s\t%.*s\n",
                  (unsigned long long)sluice_worker_message_accepted_at(m), (int)topic.size,
                  topic.data, (int)payload.size, payload.data);
}

static enum sluice_worker_verdict store(struct sluice_worker_batch *b, void *arg)
{
    FILE *to = arg;
    for (size_t i = 0; i < sluice_worker_batch_size(b); i++)
        write_line(to, sluice_worker_batch_message(b, i));
    if (fflush(to) != 0 || fdatasync(fileno(to)) != 0) {
        perror("bulk_write");
        clearerr(to);
        return SLUICE_WORKER_RETRY;
    }
    return SLUICE_WORKER_ACK;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bulk_write FILE\n");
        return 2;
    }
    FILE *to = fopen(argv[1], "a");
    if (to == NULL) {
        perror(argv[1]);
        return 1;
    }
    int status = sluice_worker_main_batches(BATCH_MAX, WAIT_MS, store, to);
    return fclose(to) == 0 ? status : 1;
}
