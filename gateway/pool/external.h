/* Workers that somebody else starts and supervises: they connect to a pool's
 * `worker_socket` and are workers like the pool's own, but for what needs a
 * process of ours: nobody signals them, and the clock of what they hold is the
 * queue's ack_timeout.
 *
 *   accept ─ SO_PEERCRED ─▶ STARTING ─ HELLO, token ─▶ RUNNING ─ EOF, fault, drain ─▶ (gone)
 *              └ refused: ERROR 5      └ 10 s: ERROR 4
 *
 *   external.c  the socket's file, who may connect, how many
 *   guest.c     one of them: its entry, its end */
#ifndef POOL_EXTERNAL_H
#define POOL_EXTERNAL_H

#include "pool_internal.h"

/* A place of its own beside the pool's slots, for as long as its connection. */
struct guest {
    struct slot slot; /* its timer is never used */
    struct guest *prev, *next;
    uid_t uid;
    bool silent; /* it has not said HELLO */
};

/* ---- external.c ---- */

/* Binds the socket of the pool, if it has one. SL_ESYS: told in the log. */
SL_CHECK int external_open(struct pool *pool);
/* Workers may come from now on. */
void external_start(struct pool *pool);
/* Nobody comes any more; the socket's file is removed. */
void external_close(struct pool *pool);
/* It said HELLO, or has gone without. */
void external_not_silent(struct guest *g);
/* Its connection is over: out of the pool. */
void external_leave(struct guest *g);
/* Each may leave meanwhile. */
void external_each(struct pool *pool, void (*fn)(struct slot *s));
bool external_token_is(const struct pool *pool, struct sl_bytes token);

/* ---- guest.c ---- */

/* Takes the descriptor in every case. */
void guest_enter(struct guest *g, int fd, pid_t pid);
/* What it is told with WELCOME; NULL: it may stay, else why not. */
const char *guest_hello(struct worker *w, const struct mode_answer *a);
/* After its input: one that has not said HELLO may not have written much. */
void guest_look(struct worker *w);
/* Output, the end of ours, and a moment for it to go. */
void guest_stop(struct worker *w, uint64_t grace_ms);
/* Whether a line about it may be logged now. */
bool guest_may_log(const struct worker *w);
/* Its pool is changed or removed: told to go, and left when it does not. Inside a turn. */
void guest_retire(struct slot *s);
/* The connection is over: the hub is told, its memory goes. */
void guest_end(struct worker *w);

#endif
