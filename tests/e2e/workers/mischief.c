#include "mischief.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../../workers/c/internal.h"

#define ACK_BYTES   13u
#define NEVER_GIVEN ((uint64_t)1000 << 20) /* so many deliveries later in the same place */
#define SWELL_STEPS 24
#define STEP_MS     50

static unsigned long number(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoul(text, NULL, 10);
}

static void rest(unsigned long ms)
{
    struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    while (nanosleep(&left, &left) != 0)
        ;
}

static void rest_long(void)
{
    unsigned long late = number("RECORD_LATE");
    rest((late == 0 ? 600 : late) * 1000);
}

static void ack_frame(uint8_t *frame, uint64_t tag)
{
    memset(frame, 0, ACK_BYTES);
    frame[0] = ACK_BYTES - 4;
    frame[4] = 2;
    for (unsigned i = 0; i < 8; i++)
        frame[5 + i] = (uint8_t)(tag >> 8 * i);
}

/* Behind what the SDK has written. False when nobody listens any more. */
static bool lie(const struct sluice_worker_message *m, const uint8_t *data, size_t n)
{
    return sluice_worker_flush(m->worker) == SLUICE_WORKER_OK && send(m->worker->fd, data, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static bool lie_ack(const struct sluice_worker_message *m, uint64_t tag)
{
    uint8_t frame[ACK_BYTES];
    ack_frame(frame, tag);
    return lie(m, frame, sizeof frame);
}

static enum sluice_worker_verdict kill_self(mischief_note *note, struct sluice_worker_message *m)
{
    note("X", m, "kill");
    raise(SIGKILL);
    return SLUICE_WORKER_ANSWERED;
}

static enum sluice_worker_verdict leave(mischief_note *note, struct sluice_worker_message *m)
{
    note("X", m, "exit");
    _exit(3);
}

static enum sluice_worker_verdict hang(mischief_note *note, struct sluice_worker_message *m)
{
    note("X", m, "hang");
    if (number("RECORD_LATE") > 0)
        (void)!sluice_worker_flush(m->worker); /* its own clock runs from now on */
    rest_long();
    if (lie_ack(m, m->tag))
        note("F", m, "late");
    return SLUICE_WORKER_ACK; /* once more, if anybody listens */
}

static enum sluice_worker_verdict swell(mischief_note *note, struct sluice_worker_message *m)
{
    size_t n = (size_t)number("RECORD_SWELL") << 20;
    char *memory = malloc(n);
    for (size_t i = 0; memory != NULL && i < n; i += 4096)
        *(volatile char *)(memory + i) = 'x';
    for (int i = 0; i < SWELL_STEPS; i++) {
        rest(STEP_MS);
        note("H", m, "-");
    }
    free(memory);
    note("E", m, "ack");
    return SLUICE_WORKER_ACK;
}

static enum sluice_worker_verdict garbage(mischief_note *note, struct sluice_worker_message *m)
{
    static const uint8_t bytes[40] = { 0xf3, 0x9e, 0xff, 0xff, 0xc1, 0x07 };
    note("X", m, "garbage");
    (void)!lie(m, bytes, sizeof bytes);
    rest_long();
    return SLUICE_WORKER_ACK; /* the connection is over */
}

static enum sluice_worker_verdict half(mischief_note *note, struct sluice_worker_message *m)
{
    uint8_t frame[ACK_BYTES];
    note("X", m, "half");
    ack_frame(frame, m->tag);
    (void)!lie(m, frame, 7);
    _exit(0);
}

static enum sluice_worker_verdict close_early(mischief_note *note, struct sluice_worker_message *m)
{
    note("X", m, "close");
    (void)close(m->worker->fd);
    rest(STEP_MS);
    _exit(0);
}

static enum sluice_worker_verdict twice(mischief_note *note, struct sluice_worker_message *m)
{
    uint64_t tag = m->tag;
    note("E", m, "ack");
    if (sluice_worker_ack(m) == SLUICE_WORKER_OK && lie_ack(m, tag))
        note("F", m, "twice");
    return SLUICE_WORKER_ANSWERED;
}

/* And then acked, when another has it. */
static enum sluice_worker_verdict released(mischief_note *note, struct sluice_worker_message *m)
{
    uint64_t tag = m->tag;
    note("E", m, "release");
    bool gone = sluice_worker_release(m) != SLUICE_WORKER_OK || sluice_worker_flush(m->worker) != SLUICE_WORKER_OK;
    rest(3 * STEP_MS);
    if (!gone && lie_ack(m, tag))
        note("F", m, "released");
    return SLUICE_WORKER_ANSWERED;
}

static enum sluice_worker_verdict foreign(mischief_note *note, struct sluice_worker_message *m)
{
    note("X", m, "foreign");
    (void)!lie_ack(m, m->tag + NEVER_GIVEN);
    rest_long();
    return SLUICE_WORKER_ACK; /* the connection is over */
}

mischief_way *const mischief_poison[MISCHIEF_POISON] = { kill_self, leave, garbage, close_early };
mischief_way *const mischief_ways[MISCHIEF_WAYS] = { hang, swell, garbage, half, close_early, twice, released, foreign, twice, released };
