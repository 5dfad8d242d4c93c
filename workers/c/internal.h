/* The worker's inside, shared by the files of this folder only.
 *
 *     stream.c   socket: the inbox (many frames per read), the outbox (many
 *                answers per write), waiting, stopping
 *     connect.c  where the gateway is: HELLO and WELCOME, open, reconnect, close
 *     worker.c   what comes in besides messages; stop, check, flush
 *     next.c     messages out of the inbox, one or many
 *     answer.c   the verbs of a message; batch.c those of a batch; publish.c
 *     run.c      the handler styles
 *     message.c  what can be asked of a message, copies; about.c of a worker
 */
#ifndef SLUICE_WORKER_INTERNAL_H
#define SLUICE_WORKER_INTERNAL_H

#include <signal.h>
#include <stdatomic.h>

#include "sluice_worker.h"
#include "wire/wire.h"

#define FOREVER UINT64_MAX

/* Bytes [start, end) of p are received and not consumed; up to `checked` the frames that are no
 * messages have had their effect. The views of the messages that are being worked on point into
 * `p`, or into `held` when the inbox had to move meanwhile. */
struct inbox {
    uint8_t *p, *held;
    size_t start, end, checked, cap;
    bool drained; /* the last read took all that was there */
};

struct sluice_worker_message {
    struct sluice_worker *worker; /* NULL in a copy that outlived it */
    uint64_t tag;
    uint32_t attempt, max_attempts;
    uint32_t connection; /* tags mean nothing on another one */
    uint8_t flags;
    bool answered, copied, is_copy;
    unsigned state;   /* enum sluice_worker_state of this delivery */
    size_t record_at; /* while its batch is gathered: where in the inbox, from its start */
    struct sl_bytes record;
    struct message_parts parts;
    struct sluice_worker_message *prev, *next; /* copies */
};

/* What the worker handed out last: one message is a batch of one. While it is gathered its frames
 * are the first `bytes` of the inbox. */
struct sluice_worker_batch {
    struct sluice_worker *worker;
    struct sluice_worker_message *messages;
    size_t n, cap, bytes;
};

struct sluice_worker {
    int fd, stop_fd;
    atomic_bool stopping; /* SIGTERM or sluice_worker_stop */
    bool draining;        /* DRAIN has come */
    bool restore_sigterm;
    bool holding; /* the messages of `batch` are being worked on */
    bool served;  /* a message was handed out on this connection */
    int broken;   /* the error that ended the connection, or OK: later calls repeat it */
    struct sigaction old_sigterm;
    struct wire_reader reader;
    struct inbox in;
    struct sl_buf out;
    struct sl_buf scratch; /* headers, tags, publishes before they are sent */
    /* When answers are written: see stream_flush_if_due. */
    uint64_t written_us, handed_us;
    unsigned slow_left;
    uint64_t stale, refused, unheard;
    uint32_t last_ref, awaited_ref; /* of publishes; awaited 0: none */
    int awaited_code;               /* enum wire_published; -1: not yet */
    struct wire_welcome welcome;
    char queue[WIRE_NAME_MAX + 1], pool[WIRE_NAME_MAX + 1], node[WIRE_NAME_MAX + 1];
    struct sluice_worker_batch batch;
    struct sluice_worker_message *copies;
    /* What HELLO says, and for external workers where. */
    char name[WIRE_NAME_MAX + 1];
    char *path, *token; /* NULL: started by a pool; no token */
    uint32_t prefetch;
    uint8_t hello_flags;
    uint32_t connection;
    uint32_t wait_min_ms, wait_max_ms, wait_ms; /* the next wait before a try */
    uint64_t connected_us;
};

/* ---- stream.c ---- */

/* Keeps the detail for sluice_worker_detail and returns err. */
int worker_fail(int err, const char *detail);
/* The same with errno's text; ESYS, or EGONE when errno says that the peer is not there. */
int worker_fail_errno(const char *what);
uint64_t stream_now_us(void);
/* FOREVER when ms is negative. */
uint64_t stream_deadline(int ms);

/* One read of what is there. *got says whether anything came. EGONE at the end of the stream. */
SL_CHECK int stream_read(struct sluice_worker *w, bool *got);
/* Decodes the frame at `at` of the inbox; *bytes 0: it is not complete. */
SL_CHECK int stream_frame(struct sluice_worker *w, size_t at, struct wire_frame *f, size_t *bytes);
/* Waits until the socket is readable or the worker is to stop. TIMEOUT. */
SL_CHECK int stream_wait(struct sluice_worker *w, uint64_t until_us);
/* The same, and a stop does not end it. */
SL_CHECK int stream_wait_readable(struct sluice_worker *w);
/* Only waits, for so long or until the worker is to stop. */
void stream_pause(struct sluice_worker *w, uint32_t ms);
/* Writes all that is buffered. */
SL_CHECK int stream_flush(struct sluice_worker *w);
/* After an answer was appended: writes when much has gathered. */
SL_CHECK int stream_appended(struct sluice_worker *w);
/* Before messages are handed out: writes answers that must not wait for them. */
SL_CHECK int stream_flush_if_due(struct sluice_worker *w, bool suspect);
/* Frees what only the finished messages needed. */
void stream_messages_done(struct sluice_worker *w);
/* Forgets the bytes of a connection that is over. */
void stream_reset(struct sluice_worker *w);

/* ---- worker.c ---- */

void take_sigterm(struct sluice_worker *w);
void give_sigterm_back(struct sluice_worker *w);
/* The effect of one frame that is no message. Each has it once. */
SL_CHECK int worker_take_control(struct sluice_worker *w, const struct wire_frame *f);
/* Reads what is there and lets all in the inbox but messages have its effect. A failure breaks
 * the connection. *got as stream_read. */
SL_CHECK int worker_look(struct sluice_worker *w, bool *got);
static inline bool worker_stopping(struct sluice_worker *w)
{
    return atomic_load_explicit(&w->stopping, memory_order_relaxed);
}

/* ---- connect.c ---- */

/* An external worker may find the gateway again after this error. */
bool worker_may_reconnect(struct sluice_worker *w, int err);

/* ---- answer.c ---- */

int worker_of_encoder(int err);
/* OK: this message may be answered. A lost one counts as stale, once. */
SL_CHECK int worker_may_answer(struct sluice_worker_message *m);
static inline struct sl_bytes worker_text(const char *s)
{
    return s == NULL ? SL_BYTES_NONE : sl_str(s);
}

#endif
