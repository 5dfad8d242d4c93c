/* How one kind of worker speaks: bytes in → answers out, deliveries → bytes.
 *
 * Sans-I/O: a mode knows no process, no pipe and no clock. `next` looks at what
 * has been read and not consumed; its answer's views point into that input or
 * into the mode and die at the next call. The three modes are rows of one table;
 * a fourth is one more file and one more row. */
#ifndef POOL_MODE_H
#define POOL_MODE_H

#include "core/bytes.h"
#include "hub/hub.h"
#include "pool/pool.h"

enum mode_kind {
    MODE_HELLO,
    MODE_ACK,
    MODE_RETRY,
    MODE_RELEASE,
    MODE_DEAD,
    MODE_PROGRESS,
    MODE_EXTEND,
    MODE_PUBLISH,
    MODE_BYE,
    MODE_OUTPUT, /* exec: a piece of the result */
};

struct mode_answer {
    enum mode_kind kind;
    uint64_t name;     /* of the delivery: the tag, or with mode_ops.by_id the message id */
    bool has_delay;    /* RETRY */
    uint64_t delay_ms; /* RETRY, EXTEND */
    struct sl_bytes reason;
    bool has_result;
    struct sl_bytes result, content_type; /* ACK; OUTPUT: result */
    uint16_t per_mille; /* PROGRESS */
    /* HELLO */
    uint32_t prefetch; /* 0: as configured */
    bool wants_soft;
    bool gathers; /* it may answer only when it has several */
    struct sl_bytes worker_name, token; /* token: empty when it gave none */
    /* PUBLISH */
    uint32_t ref; /* 0: no answer wanted */
    bool retain;
    struct sl_bytes topic, headers, payload; /* headers as in wire.h */
    uint16_t n_headers;
};

/* Codes that a worker is told; numbers as in wire.h. */
struct mode_error {
    uint16_t code;
    const char *text;
};

/* What a worker is told when it has joined. */
struct mode_welcome {
    uint32_t prefetch;
    bool batches;  /* the pool delivers in batches: hub_delivery.more */
    bool external; /* not our process: time_limit_ms is the queue's ack_timeout */
    uint64_t time_limit_ms, soft_time_limit_ms; /* 0: none */
};

struct mode_delivery {
    uint64_t tag;
    const struct hub_delivery *from;
    const char *queue_name;
};

struct cJSON;

struct mode {
    const struct mode_ops *ops;
    const struct pool_config *cfg; /* borrowed */
    const char *fault;             /* written with SL_EPEER and SL_ETOOBIG: a stable word */
    uint32_t acks_left;            /* socket: tags of the last ACKS that are still in the input */
    size_t scanned;                /* lines: bytes known to hold no end of line */
    struct cJSON *line;            /* lines: what the last answer points into */
    struct sl_buf text;            /* lines: decoded base64, the same */
};

struct mode_ops {
    const char *name;
    bool socket;    /* one duplex socket; else pipes for stdin and stdout */
    bool says_hello; /* a consumer only after HELLO */
    bool by_id;     /* answers name the message id and not the tag */
    bool per_message; /* one process per message */
    /* The most unconsumed input that can be in order. */
    size_t (*input_max)(const struct pool_config *cfg);
    void (*deliver)(struct mode *m, const struct mode_delivery *d, struct sl_buf *out);
    /* SL_OK       *out and *consumed (> 0) are written; a MODE_ answer
     * SL_EMORE    nothing complete is there
     * SL_EPEER, SL_ETOOBIG  the worker broke the protocol: mode->fault says how */
    int (*next)(struct mode *m, struct sl_bytes in, struct mode_answer *out, size_t *consumed);
    /* What the gateway says besides; NULL: this mode has no words for it. */
    void (*welcome)(const struct mode *m, const struct mode_welcome *w, struct sl_buf *out);
    void (*stale)(uint64_t name, struct sl_buf *out);
    void (*error)(const struct mode_error *e, struct sl_buf *out);
    void (*published)(uint32_t ref, int code, struct sl_buf *out);
    void (*drain)(struct sl_buf *out); /* NULL: stdin is closed instead */
    void (*soft_limit)(uint64_t name, struct sl_buf *out); /* NULL: SIGTERM */
};

extern const struct mode_ops mode_socket, mode_lines, mode_exec;

void mode_init(struct mode *m, const struct pool_config *cfg);
void mode_fini(struct mode *m);

/* ---- exec's own part: the environment and the exit ---- */

/* NAME=value strings of contract §5 and decision 45, ends in NULL. */
char **mode_exec_env(const struct mode_delivery *d) SL_CHECK;
void mode_exec_env_free(char **env);

enum mode_verdict { VERDICT_ACK, VERDICT_RETRY, VERDICT_DEAD, VERDICT_LOST };
/* `status` as waitpid gives it. */
enum mode_verdict mode_exec_verdict(int status);

#endif
