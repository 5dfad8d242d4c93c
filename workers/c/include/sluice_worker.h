/* libsluice-worker: write a worker for a sluice pool of mode "socket".
 *
 *     static enum sluice_worker_verdict handle(struct sluice_worker_message *m, void *arg)
 *     {
 *         struct sluice_worker_view topic = sluice_worker_message_topic(m);
 *         printf("%.*s\n", (int)topic.size, topic.data);
 *         return SLUICE_WORKER_ACK;
 *     }
 *     int main(void)
 *     {
 *         return sluice_worker_main(handle, NULL);
 *     }
 *
 * Or as a loop: sluice_worker_open, sluice_worker_next until it is not
 * SLUICE_WORKER_OK, sluice_worker_close. Many at a time: sluice_worker_next_batch,
 * sluice_worker_run_batches. A worker is used by one thread.
 *
 * A pool starts its workers with SLUICE_FD in their environment. A process that
 * somebody else started joins a pool by its `worker_socket`: SLUICE_SOCKET and, where
 * the pool has one, SLUICE_TOKEN, or sluice_worker_connect. Such an external worker is not
 * killed when it is late, its messages are given to others; and sluice_worker_run
 * connects it again when the connection is lost or the gateway starts anew.
 *
 * Answers are buffered and written together: before the worker would wait for
 * messages, when 64 KiB have gathered, when the last write is 1 ms old as the next
 * message is taken or handlers have been slower than that of late, and before a message
 * that may have been delivered before (so that, if it kills the worker, it alone is
 * charged).
 *
 * DRAIN from the gateway: what was delivered is finished, then the worker ends (in
 * sluice_worker_run an external one connects again). SIGTERM: the current message or
 * batch is finished, the others go back uncharged, the worker ends.
 *
 * Memory that the system does not give ends the process. */
#ifndef SLUICE_WORKER_H
#define SLUICE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_WORKER_API   __attribute__((visibility("default")))
#define SLUICE_WORKER_CHECK __attribute__((warn_unused_result))

enum sluice_worker_error {
    SLUICE_WORKER_OK = 0,
    SLUICE_WORKER_DRAINED = -1,   /* nothing more will come: the good end */
    SLUICE_WORKER_TIMEOUT = -2,   /* nothing came within the given time */
    SLUICE_WORKER_ENOFD = -3,     /* SLUICE_FD is missing or no socket: not started by a gateway */
    SLUICE_WORKER_EGONE = -4,     /* the gateway has gone without saying DRAIN */
    SLUICE_WORKER_EPROTOCOL = -5, /* the gateway sent what is no frame */
    SLUICE_WORKER_EREFUSED = -6,  /* the gateway sent ERROR */
    SLUICE_WORKER_EINVAL = -7,    /* an argument is not allowed */
    SLUICE_WORKER_ETOOBIG = -8,   /* over max_result or max_message of this gateway */
    SLUICE_WORKER_EANSWERED = -9, /* this message has had its answer */
    SLUICE_WORKER_ESYS = -10,     /* the system refused; see sluice_worker_detail */
    SLUICE_WORKER_ELOST = -11,    /* this message's connection is gone: others have it; stale */
    SLUICE_WORKER_ETOPIC = -12,   /* not a topic that a worker may publish to */
    SLUICE_WORKER_EFULL = -13,    /* a queue refused the publish */
    SLUICE_WORKER_ESTORE = -14,   /* the gateway cannot store at present: try again */
    SLUICE_WORKER_EDENIED = -15,  /* this process may not join the pool: the token, say */
};

/* What a handler returns. A message that it answered by a call has had its answer: the
 * verdict is then not looked at. */
enum sluice_worker_verdict {
    SLUICE_WORKER_ACK,      /* done */
    SLUICE_WORKER_RETRY,    /* a failed attempt; again after the queue's backoff */
    SLUICE_WORKER_RELEASE,  /* not my fault: give it to another, not counted */
    SLUICE_WORKER_DEAD,     /* poison: to the dead letters at once */
    SLUICE_WORKER_ANSWERED, /* answered, or copied and to be answered later */
};

/* Borrowed bytes, not ended by NUL; data may be NULL when size is 0. */
struct sluice_worker_view {
    const char *data;
    size_t size;
};

struct sluice_worker;
struct sluice_worker_message;
struct sluice_worker_batch;

/* All zero (and a NULL pointer to it) is a good default. */
struct sluice_worker_options {
    const char *name;  /* shown by `sluice pool`; NULL: "c" */
    uint32_t prefetch; /* how many deliveries may wait here; 0: as the pool is configured */
    bool use_fd;       /* take `fd` instead of the environment's SLUICE_FD */
    int fd;            /* owned by the worker after a successful open */
    bool soft_limit;   /* ask for soft limits; see sluice_worker_check */
    bool gathers;      /* for sluice_worker_next_batch with a wait; without it a pool that does not
                          deliver in batches takes the wait for slow work and sends less */
    bool keep_sigterm; /* leave SIGTERM alone; the program calls sluice_worker_stop */
    /* External workers; both copied. */
    const char *socket; /* the pool's worker_socket; NULL: SLUICE_FD, else SLUICE_SOCKET */
    const char *token;  /* NULL: SLUICE_TOKEN, where that is set */
    bool patient;       /* also the first connection is tried until there is one */
    /* Between two tries, doubling, with jitter; 0: 100 ms and 30 s. */
    uint32_t reconnect_min_ms, reconnect_max_ms;
};

typedef enum sluice_worker_verdict sluice_worker_handler(struct sluice_worker_message *m,
                                                         void *arg);
/* The verdict is for all messages of the batch that have no answer yet. */
typedef enum sluice_worker_verdict sluice_worker_batch_handler(struct sluice_worker_batch *b,
                                                               void *arg);

/* ---- life ---- */

/* Open (an external worker patiently), run, close, and say on stderr what went wrong. The
 * result is for exit(): 0 drained, 1 failed, 2 not started by a gateway. */
SLUICE_WORKER_API int sluice_worker_main(sluice_worker_handler *handler,
                                         void *arg) SLUICE_WORKER_CHECK;
/* The same in batches; max and wait_ms as in sluice_worker_next_batch; the worker gathers. */
SLUICE_WORKER_API int sluice_worker_main_batches(uint32_t max, int wait_ms,
                                                 sluice_worker_batch_handler *handler,
                                                 void *arg) SLUICE_WORKER_CHECK;

/* Connects where need be, says HELLO and waits for WELCOME. Codes: ENOFD, EGONE, EPROTOCOL,
 * EREFUSED, EDENIED, ESTORE, EINVAL, ESYS; DRAINED: SIGTERM came before WELCOME. *out is written
 * only on success and is the caller's until sluice_worker_close. */
SLUICE_WORKER_API int sluice_worker_open(const struct sluice_worker_options *options,
                                         struct sluice_worker **out) SLUICE_WORKER_CHECK;

/* sluice_worker_open of an external worker with the defaults. token may be NULL. */
SLUICE_WORKER_API int sluice_worker_connect(const char *socket, const char *token,
                                            struct sluice_worker **out) SLUICE_WORKER_CHECK;

/* Only for external workers whose connection is over (EGONE, ESTORE, DRAINED), in a loop of
 * your own: waits, tries, waits longer. Messages of the old connection are others' now; answers
 * to them say ELOST. Codes as sluice_worker_open; EINVAL: this worker is not external. */
SLUICE_WORKER_API int sluice_worker_reconnect(struct sluice_worker *w) SLUICE_WORKER_CHECK;

/* Hands messages to the handler until drained; an external worker connects again by itself and
 * ends with DRAINED only by SIGTERM or sluice_worker_stop. DRAINED, EGONE, EPROTOCOL, EREFUSED,
 * EDENIED, ESTORE, ESYS. */
SLUICE_WORKER_API int sluice_worker_run(struct sluice_worker *w, sluice_worker_handler *handler,
                                        void *arg) SLUICE_WORKER_CHECK;
/* The same with batches. */
SLUICE_WORKER_API int sluice_worker_run_batches(struct sluice_worker *w, uint32_t max, int wait_ms,
                                                sluice_worker_batch_handler *handler,
                                                void *arg) SLUICE_WORKER_CHECK;

/* The next message, waiting for it. *m is the worker's and lives until the next call of
 * sluice_worker_next, _next_within or _close; a message that is neither answered nor copied when
 * the next one is asked for is answered with retry. Codes as sluice_worker_run. */
SLUICE_WORKER_API int sluice_worker_next(struct sluice_worker *w,
                                         struct sluice_worker_message **m) SLUICE_WORKER_CHECK;

/* The same, waiting at most timeout_ms (0: not at all; negative: for ever); then TIMEOUT. */
SLUICE_WORKER_API int
sluice_worker_next_within(struct sluice_worker *w, int timeout_ms,
                          struct sluice_worker_message **m) SLUICE_WORKER_CHECK;

/* The next messages together: waits for the first one, then until there are `max`, or `wait_ms` are
 * over, or no more can come: the pool's batch is complete, the prefetch is used up, the last
 * attempt of a message is alone here, or the worker drains. max 0: as many as the prefetch. *b and
 * its messages live as long as *m of sluice_worker_next would, and what of it is neither answered
 * nor copied by then is answered with retry. */
SLUICE_WORKER_API int sluice_worker_next_batch(struct sluice_worker *w, uint32_t max, int wait_ms,
                                               struct sluice_worker_batch **b) SLUICE_WORKER_CHECK;
/* The same, waiting for the first message at most timeout_ms; then TIMEOUT. */
SLUICE_WORKER_API int
sluice_worker_next_batch_within(struct sluice_worker *w, int timeout_ms, uint32_t max, int wait_ms,
                                struct sluice_worker_batch **b) SLUICE_WORKER_CHECK;

/* At least 1. */
SLUICE_WORKER_API size_t sluice_worker_batch_size(const struct sluice_worker_batch *b);
/* i below the size, in the order of delivery. */
SLUICE_WORKER_API struct sluice_worker_message *
sluice_worker_batch_message(const struct sluice_worker_batch *b, size_t i);

/* Writes the buffered answers now. EGONE, ESYS. */
SLUICE_WORKER_API int sluice_worker_flush(struct sluice_worker *w) SLUICE_WORKER_CHECK;

/* No further message: sluice_worker_next says DRAINED from now on, also when it is waiting.
 * May be called from a signal handler or another thread. */
SLUICE_WORKER_API void sluice_worker_stop(struct sluice_worker *w);

/* Writes what is buffered, says BYE, closes the socket and frees. What has no answer goes back
 * uncharged. Copies of messages that are still held can only be freed after this. NULL is
 * allowed. */
SLUICE_WORKER_API void sluice_worker_close(struct sluice_worker *w);

/* ---- answers: exactly one of ack, retry, release, dead per message ----
 *
 * All: OK, EANSWERED, EINVAL, ELOST, and EGONE or ESYS when the buffer had to be written. */

SLUICE_WORKER_API int sluice_worker_ack(struct sluice_worker_message *m) SLUICE_WORKER_CHECK;

/* With a result, sent to the message's reply_to. content_type may be NULL. ETOOBIG too: over
 * max_result; the message is then not answered. */
SLUICE_WORKER_API int sluice_worker_ack_result(struct sluice_worker_message *m, const void *result,
                                               size_t size,
                                               const char *content_type) SLUICE_WORKER_CHECK;

/* delay_ms -1: the queue's backoff. reason may be NULL and is cut to 1 KiB. */
SLUICE_WORKER_API int sluice_worker_retry(struct sluice_worker_message *m, int64_t delay_ms,
                                          const char *reason) SLUICE_WORKER_CHECK;
SLUICE_WORKER_API int sluice_worker_release(struct sluice_worker_message *m) SLUICE_WORKER_CHECK;
SLUICE_WORKER_API int sluice_worker_dead(struct sluice_worker_message *m,
                                         const char *reason) SLUICE_WORKER_CHECK;

/* For all messages of the batch that have neither an answer nor a copy: one frame for the acks. */
SLUICE_WORKER_API int sluice_worker_batch_ack(struct sluice_worker_batch *b) SLUICE_WORKER_CHECK;
SLUICE_WORKER_API int sluice_worker_batch_retry(struct sluice_worker_batch *b, int64_t delay_ms,
                                                const char *reason) SLUICE_WORKER_CHECK;
SLUICE_WORKER_API int
sluice_worker_batch_release(struct sluice_worker_batch *b) SLUICE_WORKER_CHECK;
SLUICE_WORKER_API int sluice_worker_batch_dead(struct sluice_worker_batch *b,
                                               const char *reason) SLUICE_WORKER_CHECK;

struct sluice_worker_publish;

/* All zero: a plain ack. */
struct sluice_worker_done {
    const void *result; /* NULL with result_size 0: no result, unless has_result */
    size_t result_size;
    const char *content_type;                    /* of the result; may be NULL */
    bool has_result;                             /* an empty result is wanted */
    const struct sluice_worker_publish *publish; /* their `with` is this message */
    size_t n_publish;
};

/* One step: the ack, its result and the publishes are stored together; after any crash all of it
 * has happened or nothing. Codes of sluice_worker_ack_result and sluice_worker_publish, and
 * ETOOBIG when the publishes are over 4 MiB together; the message is then not answered and
 * nothing is sent. A publish that the gateway refuses later (its topic, say) does not undo
 * the ack: see sluice_worker_refused_publishes. */
SLUICE_WORKER_API int
sluice_worker_ack_with(struct sluice_worker_message *m,
                       const struct sluice_worker_done *done) SLUICE_WORKER_CHECK;

/* ---- while a message is being worked on ---- */

/* 0.0 to 1.0; written at once. */
SLUICE_WORKER_API int sluice_worker_progress(struct sluice_worker_message *m,
                                             double done) SLUICE_WORKER_CHECK;
/* The time limit is `ms` away from now on; written at once. */
SLUICE_WORKER_API int sluice_worker_extend(struct sluice_worker_message *m,
                                           uint32_t ms) SLUICE_WORKER_CHECK;

enum sluice_worker_state {
    SLUICE_WORKER_SOFT_LIMIT = 1, /* the soft time limit has passed: come to an end */
    SLUICE_WORKER_STALE = 2,    /* somebody else has this message: an answer will change nothing */
    SLUICE_WORKER_STOPPING = 4, /* drain or SIGTERM */
};

/* Looks at the socket without waiting; *state is a set of enum sluice_worker_state. Views of
 * the current message stay valid. EGONE, EPROTOCOL, EREFUSED, ESYS. */
SLUICE_WORKER_API int sluice_worker_check(struct sluice_worker_message *m,
                                          unsigned *state) SLUICE_WORKER_CHECK;

/* The same for a batch, which has one clock: what is so for one of its messages. */
SLUICE_WORKER_API int sluice_worker_batch_check(struct sluice_worker_batch *b,
                                                unsigned *state) SLUICE_WORKER_CHECK;

struct sluice_worker_header {
    const char *name, *value;
};

struct sluice_worker_publish {
    const char *topic;
    const void *payload;
    size_t size;
    const char *content_type;                   /* may be NULL */
    const struct sluice_worker_header *headers; /* priority, delay, … as publishers write them */
    size_t n_headers;
    bool retain;
    const struct sluice_worker_message *with; /* published with its ack, and only then */
    bool unconfirmed; /* not waited for, and what becomes of it is not told */
};

/* On its own: writes and waits until the gateway has stored it. With a message (`with`) or
 * unconfirmed it is buffered as answers are, and nothing is waited for. EINVAL: the topic is empty, not
 * UTF-8 or has a wildcard; ETOOBIG: over max_message; ETOPIC, EFULL, ESTORE: the gateway
 * refused it. That nobody takes it (no queue, no subscriber) is no error. */
SLUICE_WORKER_API int
sluice_worker_publish(struct sluice_worker *w,
                      const struct sluice_worker_publish *p) SLUICE_WORKER_CHECK;

/* ---- the message ---- */

/* Unique per gateway; people write it as 16 hex digits. */
SLUICE_WORKER_API uint64_t sluice_worker_message_id(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_topic(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_payload(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_client_id(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_user(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_content_type(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_correlation(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_reply_to(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_job_id(const struct sluice_worker_message *m);
SLUICE_WORKER_API struct sluice_worker_view
sluice_worker_message_dedup_id(const struct sluice_worker_message *m);
/* "mqtt" and the like; never NULL. */
SLUICE_WORKER_API const char *sluice_worker_message_protocol(const struct sluice_worker_message *m);
SLUICE_WORKER_API unsigned sluice_worker_message_qos(const struct sluice_worker_message *m);
SLUICE_WORKER_API unsigned sluice_worker_message_priority(const struct sluice_worker_message *m);
SLUICE_WORKER_API bool sluice_worker_message_retain(const struct sluice_worker_message *m);
/* Milliseconds since 1970; 0: none. */
SLUICE_WORKER_API uint64_t sluice_worker_message_accepted_at(const struct sluice_worker_message *m);
SLUICE_WORKER_API uint64_t sluice_worker_message_deliver_at(const struct sluice_worker_message *m);
SLUICE_WORKER_API uint64_t sluice_worker_message_expires_at(const struct sluice_worker_message *m);
/* From 1. */
SLUICE_WORKER_API uint32_t sluice_worker_message_attempt(const struct sluice_worker_message *m);
/* 0: no limit. */
SLUICE_WORKER_API uint32_t
sluice_worker_message_max_attempts(const struct sluice_worker_message *m);
SLUICE_WORKER_API bool sluice_worker_message_redelivered(const struct sluice_worker_message *m);
SLUICE_WORKER_API bool sluice_worker_message_is_last(const struct sluice_worker_message *m);
/* The first header of that name; false when there is none. */
SLUICE_WORKER_API bool sluice_worker_message_header(const struct sluice_worker_message *m,
                                                    const char *name,
                                                    struct sluice_worker_view *value);
/* All headers in order: *pos starts at 0; false at the end. */
SLUICE_WORKER_API bool sluice_worker_message_header_next(const struct sluice_worker_message *m,
                                                         size_t *pos,
                                                         struct sluice_worker_view *name,
                                                         struct sluice_worker_view *value);

/* A copy that outlives sluice_worker_next, so that many messages can be answered together. The
 * copy is to be answered, no longer the original; it is the caller's to free. NULL when the
 * message has had its answer. */
SLUICE_WORKER_API struct sluice_worker_message *
sluice_worker_message_copy(struct sluice_worker_message *m) SLUICE_WORKER_CHECK;
/* Only for copies; NULL is allowed. Does not answer. */
SLUICE_WORKER_API void sluice_worker_message_free(struct sluice_worker_message *m);

/* ---- the surroundings ---- */

/* What WELCOME said; the strings live as long as the worker. */
SLUICE_WORKER_API const char *sluice_worker_queue(const struct sluice_worker *w);
SLUICE_WORKER_API const char *sluice_worker_pool(const struct sluice_worker *w);
SLUICE_WORKER_API const char *sluice_worker_node(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_concurrency(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_time_limit_ms(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_soft_time_limit_ms(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_max_message(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_max_result(const struct sluice_worker *w);
/* Not the gateway's process: its time limit is the queue's ack_timeout. */
SLUICE_WORKER_API bool sluice_worker_is_external(const struct sluice_worker *w);
/* The pool delivers in batches. */
SLUICE_WORKER_API bool sluice_worker_has_batches(const struct sluice_worker *w);
SLUICE_WORKER_API uint32_t sluice_worker_prefetch(const struct sluice_worker *w);
/* How many publishes that nobody waited for the gateway refused: those tied to an ack. */
SLUICE_WORKER_API uint64_t sluice_worker_refused_publishes(const struct sluice_worker *w);
/* How many publishes had nobody to take them: no queue, no subscriber, no retained slot. */
SLUICE_WORKER_API uint64_t sluice_worker_unheard_publishes(const struct sluice_worker *w);
/* How many answers came too late so far, those to messages of lost connections too. */
SLUICE_WORKER_API uint64_t sluice_worker_stale_answers(const struct sluice_worker *w);
/* For an event loop of your own: when readable, call sluice_worker_next_within(w, 0, …) until
 * TIMEOUT. */
SLUICE_WORKER_API int sluice_worker_fd(const struct sluice_worker *w);

/* "the gateway has gone" and the like; never NULL. */
SLUICE_WORKER_API const char *sluice_worker_error_text(int err);
/* More about the latest failure in this thread: the gateway's words or the system's. Never
 * NULL; may be empty. */
SLUICE_WORKER_API const char *sluice_worker_detail(void);

#ifdef __cplusplus
}
#endif

#endif
