/* The worker's inside, shared by the files of this folder only.
 *
 *     stream.c   socket: the inbox (many frames per read), the outbox (many
 *                answers per write), waiting, stopping
 *     worker.c   life: open, HELLO and WELCOME, next, run, close
 *     answer.c   the verbs
 *     message.c  what can be asked of a message, copies
 */
#ifndef SLUICE_WORKER_INTERNAL_H
#define SLUICE_WORKER_INTERNAL_H

#include <signal.h>
#include <stdatomic.h>

#include "sluice_worker.h"
#include "wire/wire.h"

/* Bytes [start, end) of p are received and not consumed; up to `checked` they were looked
 * through for soft limits. The current message's views point into `p`, or into `held` when the
 * inbox had to move while it was being worked on. */
struct inbox {
    uint8_t *p, *held;
    size_t start, end, checked, cap;
};

struct sluice_worker_message {
    struct sluice_worker *worker;
    uint64_t tag;
    uint32_t attempt, max_attempts;
    uint8_t flags;
    bool answered, copied, is_copy;
    unsigned state; /* enum sluice_worker_state of this delivery */
    struct sl_bytes record;
    struct message_parts parts;
};

struct sluice_worker {
    int fd, stop_fd;
    atomic_bool stopping; /* SIGTERM or sluice_worker_stop */
    bool draining;        /* DRAIN has come */
    bool restore_sigterm;
    int broken; /* the error that ended the connection, or OK: later calls repeat it */
    struct sigaction old_sigterm;
    struct wire_reader reader;
    struct inbox in;
    struct sl_buf out;
    struct sl_buf headers; /* scratch for publishing */
    uint64_t oldest_answer_us;
    uint64_t stale;
    struct wire_welcome welcome;
    char queue[WIRE_NAME_MAX + 1], pool[WIRE_NAME_MAX + 1], node[WIRE_NAME_MAX + 1];
    bool has_current;
    struct sluice_worker_message current;
};

/* ---- stream.c ---- */

/* Keeps the detail for sluice_worker_detail and returns err. */
int worker_fail(int err, const char *detail);
/* The same with errno's text; ESYS, or EGONE when errno says that the peer has left. */
int worker_fail_errno(const char *what);

/* One read of what is there. *got says whether anything came. EGONE at the end of the stream. */
SL_CHECK int stream_read(struct sluice_worker *w, bool *got);
/* Waits until the socket is readable or the worker is to stop. TIMEOUT. */
SL_CHECK int stream_wait(struct sluice_worker *w, int timeout_ms);
/* Writes all that is buffered. */
SL_CHECK int stream_flush(struct sluice_worker *w);
/* After an answer was appended: remembers since when, writes when much has gathered. */
SL_CHECK int stream_appended(struct sluice_worker *w);
/* Before a message is handed out: writes when the oldest answer has waited long enough. */
SL_CHECK int stream_flush_if_due(struct sluice_worker *w, bool redelivered);
/* Moves nothing, frees what only the finished message needed. */
void stream_message_done(struct sluice_worker *w);

#endif
