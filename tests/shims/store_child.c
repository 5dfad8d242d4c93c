/* A process that uses the store and is killed: opens DIR, applies batches 1 …
 * N of the kit's scenario, and tells each one that was acknowledged by its
 * number on a line of stdout. With `probe` it stores messages that carry the
 * word probe-<i> instead and, when stored, sends that word over a socket. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store_kit.h"

static void say(const char *text, uint32_t i)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%s %" PRIu32 "\n", text, i);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        exit(3);
}

static void probe(uint32_t i, struct batch *b)
{
    char word[32];
    snprintf(word, sizeof word, "probe-%" PRIu32 ".", i); /* the full stop ends the word */
    struct message_parts parts = { .id = (uint64_t)1 << 40 | i, .protocol = MESSAGE_MQTT5, .topic = sl_str("t"), .payload = sl_str(word) };
    struct batch_op *op = batch_add(b, BATCH_BODY);
    op->id = parts.id;
    op->msg = message_new(&parts);
    struct message *m = op->msg;
    op = batch_add(b, BATCH_ENTRY);
    op->id = parts.id;
    op->queue = 1;
    op->msg = message_ref(m);
}

static void send_probe(int fd, uint32_t i)
{
    char word[32];
    int n = snprintf(word, sizeof word, "probe-%" PRIu32 ".", i);
    if (send(fd, word, (size_t)n, MSG_NOSIGNAL) != n)
        exit(3);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    bool probing = argc > 3 && strcmp(argv[3], "probe") == 0;
    struct store_config cfg = kit_config("lmdb", argv[1]);
    struct store *st;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || store_open(&cfg, &st, NULL) != SL_OK)
        return 1;
    struct batch *b = batch_new();
    for (uint32_t i = 1; i <= (uint32_t)strtoul(argv[2], NULL, 10); i++) {
        if (probing)
            probe(i, b);
        else
            kit_scenario(i, b);
        if (store_apply(st, b) != SL_OK)
            return 1;
        batch_reset(b);
        say("stored", i);
        if (probing)
            send_probe(pair[0], i);
    }
    batch_free(b);
    store_close(st);
    close(pair[0]);
    close(pair[1]);
    return 0;
}
