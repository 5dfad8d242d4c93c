/* The commit thread: takes one batch at a time, applies it off the loop, and
 * gives the completion back on the loop (uv_async). Fetches go the same way,
 * between commits.
 *
 * A batch that failed with SL_ENOSPC is completed with that error; who
 * submitted it decides when to submit it again. */
#ifndef STORE_COMMITTER_H
#define STORE_COMMITTER_H

#include <uv.h>

#include "store/store.h"

struct committer;

struct committer_callbacks {
    void *arg;
    void (*committed)(void *arg, struct batch *b, int err); /* b is the caller's again */
    void (*fetched)(void *arg, struct batch_fetch *f);
};

/* Borrows store and loop. */
SL_CHECK int committer_start(struct store *st, uv_loop_t *loop, const struct committer_callbacks *cb, struct committer **out);
/* At most one batch at a time. The callback never comes inside. */
void committer_submit(struct committer *c, struct batch *b);
void committer_fetch(struct committer *c, struct batch_fetch *f);
/* Applies on the calling thread, when no batch is under way: for small batches
 * on quick disks. Returns what store_apply returned; no callback. */
SL_CHECK int committer_apply_here(struct committer *c, struct batch *b);
bool committer_busy(const struct committer *c);
/* Finishes what is under way, joins the thread, closes the handle; the memory
 * is freed when the loop has run the close callback. No callbacks after it. */
void committer_stop(struct committer *c);

#endif
