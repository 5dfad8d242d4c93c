/* The durable store: what was accepted and is not finished with. An engine
 * (LMDB, memory) applies batches; nothing else writes.
 *
 * store_apply returns only when the whole batch is on stable storage. It is
 * called from one thread at a time (see committer.h); store_fetch, store_history
 * and store_info may run beside it. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "hub/batch.h"

struct store;

struct store_config {
    const char *engine;     /* "lmdb" or "memory" */
    const char *dir;        /* data directory; created when missing */
    const char *node;
    uint64_t map_size_bytes;
    uint64_t reserve_bytes; /* of map and of disk, kept for settling (decision 10) */
    uint64_t min_free_disk_bytes;
};

/* Locks the directory (SL_ELOCKED), checks the format (SL_EFORMAT: refused and
 * left as it is), creates what is missing, counts the boot number up and syncs
 * it. `why` gets one sentence for the operator on failure. */
SL_CHECK int store_open(const struct store_config *cfg, struct store **out, struct sl_buf *why);
/* Waits for nothing; the lock is released last. */
void store_close(struct store *st);

/* Committed before open returned: ids start at boot << 40. */
uint64_t store_boot(const struct store *st);
/* Drawn when the data directory was made, the same for ever: what is stored by its hash is found again. */
struct sl_hash_key store_hash_key(const struct store *st);

/* The number of a queue's name, given out and synced at first use. Only before the loop runs. */
SL_CHECK int store_queue_number(struct store *st, const char *name, uint32_t *number);

/* What waits for a subscriber, as it was recorded. The message is the callee's
 * to keep a reference of; copies of one body come with the same message. */
struct store_copy {
    uint64_t session;
    uint16_t packet_id; /* 0: none yet */
    uint8_t state;      /* enum batch_copy_state */
    uint8_t flags;      /* BATCH_COPY_… */
    struct sl_bytes ids; /* u32 each */
    struct message *msg;
    uint32_t entries;    /* of queues, that need the same body */
};

/* Everything that is there, at start: queues first, then their records, schedules,
 * entries in ascending (id, queue), dedup keys the same, then sessions, QoS 2 ids,
 * subscriptions in ascending (session, number), wills, copies in ascending (id,
 * session), retained messages in ascending ids. What belongs to a session that is not there is left out (and
 * removed at the next chance). A callback's error ends the walk and is
 * returned. SL_EFORMAT for damage, told in `why`. */
struct store_loader {
    void *arg;
    int (*queue)(void *arg, uint32_t number, const char *name);
    int (*entry)(void *arg, uint32_t queue, const struct queue_restored *r);
    int (*session)(void *arg, uint64_t number, struct sl_bytes record);
    int (*qos2)(void *arg, uint64_t session, uint16_t packet_id);
    int (*subscription)(void *arg, uint64_t session, uint32_t number, struct sl_bytes record);
    int (*will)(void *arg, uint64_t session, struct sl_bytes record);
    int (*copy)(void *arg, const struct store_copy *c);
    int (*retained)(void *arg, struct message *m); /* the callee takes a reference of its own */
    void (*progress)(void *arg, uint64_t done, uint64_t total); /* about once a second */
    int (*queue_record)(void *arg, uint32_t number, struct sl_bytes record); /* BATCH_QUEUE */
    int (*schedule)(void *arg, struct sl_bytes record);
    int (*dedup)(void *arg, uint32_t queue, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY]);
};
SL_CHECK int store_load(struct store *st, const struct store_loader *l, struct sl_buf *why);

/* One transaction, synced. SL_ENOSPC: nothing was written, may be tried again
 * later (map full, ENOSPC, EDQUOT, or intake would eat the reserve). SL_EIO:
 * latched; every later call gives it too; only a restart clears it. */
SL_CHECK int store_apply(struct store *st, struct batch *b);

/* Fills f->msgs and f->err. */
void store_fetch(struct store *st, struct batch_fetch *f);

/* State and history of one entry, for operators: appends the entry's value as
 * it is stored, for store_entry_decode (store/entry.h). SL_ENOENT. */
SL_CHECK int store_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out);

struct store_info {
    uint64_t map_bytes, used_bytes, file_bytes, free_disk_bytes;
    uint64_t entries, sessions, subscriptions, copies, retained, dedup_keys, schedules;
    uint64_t bodies; /* that stand apart from their entries: large ones, those of several queues, and what waits for subscribers */
    uint64_t missing_updates, missing_settles; /* records since open that named an entry or a copy which is not there */
    uint32_t format_major, format_minor;
};
SL_CHECK int store_info(struct store *st, struct store_info *out);

#endif
