/* What an engine implements. A new engine is one file beside its siblings and
 * one line in the table of store.c. */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include <stdatomic.h>

#include "store/store.h"

/* Every function but fetch and info is called by one thread at a time; fetch
 * and info may run beside any of them. */
struct store_engine {
    const char *name;
    /* Nothing to wait for, and messages are kept by reference: everything is
     * called on the loop's thread. */
    bool instant;
    /* On failure nothing is left over. Sets st->impl, st->boot and st->hash_key. */
    int (*open)(struct store *st, const struct store_config *cfg, struct sl_buf *why);
    void (*close)(struct store *st);
    int (*queue_number)(struct store *st, const char *name, uint32_t *number);
    int (*load)(struct store *st, const struct store_loader *l, struct sl_buf *why);
    int (*apply)(struct store *st, const struct batch *b);
    void (*fetch)(struct store *st, struct batch_fetch *f);
    int (*history)(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out);
    int (*info)(struct store *st, struct store_info *out);
};

struct store {
    const struct store_engine *engine;
    void *impl;
    uint64_t boot;
    struct sl_hash_key hash_key;
    atomic_bool failed; /* SL_EIO is latched */
};

extern const struct store_engine store_lmdb_engine;
extern const struct store_engine store_memory_engine;

/* Puts one sentence into `why` (which may be NULL) and returns `err`. */
int store_because(struct sl_buf *why, int err, const char *fmt, ...) SL_PRINTF(3, 4);
bool store_is_instant(const struct store *st);
uint64_t store_mono_us(void);
/* SL_ESYS: the system has no random bytes. */
SL_CHECK int store_draw_hash_key(struct sl_hash_key *out);

#endif
