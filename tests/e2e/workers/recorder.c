/* recorder.py in C: the same lines, the same misbehaviour, libsluice-worker. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mischief.h"

static int out;
static unsigned chaos, worse, poison;
static uint64_t dice;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t roll(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice >> 11;
}

static void note(const char *what, const struct sluice_worker_message *m, const char *word)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s %" PRIu64 " %d.c %016" PRIx64 " %" PRIu32 " %s\n", what, now_ns(), (int)getpid(),
                     sluice_worker_message_id(m), sluice_worker_message_attempt(m), word);
    if (n < 0 || write(out, line, (size_t)n) != n)
        exit(1);
}

/* The number behind the uid's last '-'. */
static void note_start(const struct sluice_worker_message *m, unsigned long *number)
{
    char uid[65];
    struct sluice_worker_view p = sluice_worker_message_payload(m);
    size_t n = 0;
    while (n < p.size && n < sizeof uid - 1 && p.data[n] != ' ') {
        uid[n] = p.data[n];
        n++;
    }
    uid[n] = '\0';
    note("S", m, n == 0 ? "-" : uid);
    const char *last = strrchr(uid, '-');
    *number = last == NULL ? 0 : strtoul(last + 1, NULL, 10);
}

static void hold(const struct sluice_worker_message *m)
{
    struct timespec step = { 0, 5000000 };
    for (int i = 0; i < 12; i++) {
        nanosleep(&step, NULL);
        note("H", m, "-");
    }
}

static void die(const struct sluice_worker_message *m, bool by_signal)
{
    note("X", m, by_signal ? "kill" : "exit");
    if (by_signal)
        raise(SIGKILL);
    _exit(3);
}

static enum sluice_worker_verdict handle(struct sluice_worker_message *m, void *arg)
{
    (void)arg;
    unsigned long number;
    note_start(m, &number);
    if (poison > 0 && number > 0 && number % poison == 0)
        return mischief_poison[number / poison % MISCHIEF_POISON](note, m);
    uint64_t bad = roll() % 1000;
    if (bad < worse)
        return mischief_ways[roll() % MISCHIEF_WAYS](note, m);
    uint64_t r = roll() % 20000;
    uint64_t fate = chaos > 0 && r < chaos * 20u ? r / chaos : 20;
    if (fate < 8) {
        note("E", m, "retry");
        return SLUICE_WORKER_RETRY;
    }
    if (fate < 13) {
        note("E", m, "release");
        return SLUICE_WORKER_RELEASE;
    }
    if (fate < 14) {
        note("E", m, "dead");
        return SLUICE_WORKER_DEAD;
    }
    if (fate < 17)
        die(m, fate < 16);
    if (fate < 20)
        hold(m);
    note("E", m, "ack");
    return SLUICE_WORKER_ACK;
}

static unsigned setting(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : (unsigned)strtoul(text, NULL, 10);
}

int main(void)
{
    const char *path = getenv("RECORD_FILE"), *seed = getenv("RECORD_SEED");
    if (path == NULL)
        return 2;
    out = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    chaos = setting("RECORD_CHAOS");
    worse = setting("RECORD_WORSE");
    poison = setting("RECORD_POISON");
    dice = (seed == NULL ? 0 : strtoull(seed, NULL, 10)) * 2654435761u + (uint64_t)getpid() * 40503u + 1;
    if (out < 0)
        return 1;
    return sluice_worker_main(handle, NULL);
}
