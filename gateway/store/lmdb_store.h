/* The LMDB engine's parts, shared between its files only:
 *
 *   lmdb_engine.c  open, close, boot number, queue numbers
 *   lmdb_format.c  is that file ours, whole, and of a format that we read?
 *   lmdb_space.c   the reserve: what may still be taken in
 *   lmdb_apply.c   one batch, one transaction
 *   lmdb_load.c    reading: start, fetch, history, figures */
#ifndef STORE_LMDB_STORE_H
#define STORE_LMDB_STORE_H

#include <lmdb.h>

#include "engine.h"
#include "store/entry.h"

#define LMDB_FORMAT_MAJOR 2u
#define LMDB_FORMAT_MINOR 0u

#define LMDB_ENTRY_KEY 12u /* id, queue; big-endian, so that keys ascend with ids */
#define LMDB_QOS2_KEY 10u  /* session number, packet id; big-endian */

enum lmdb_tree { TREE_META, TREE_QUEUES, TREE_BODIES, TREE_ENTRIES, TREE_SESSIONS, TREE_QOS2, LMDB_NTREES };

/* How a tree is opened; the table is in lmdb_engine.c. */
struct lmdb_tree_kind {
    const char *name;
    unsigned flags;
};
extern const struct lmdb_tree_kind lmdb_trees[LMDB_NTREES];

/* Disk that the data file has taken in advance, and the room in it. Touched
 * only by who applies. */
struct lmdb_space {
    uint64_t map_bytes;
    uint64_t reserve_bytes;
    uint64_t min_free_disk_bytes;
    uint64_t file_bytes;     /* allocated; the map's end at most */
    bool sparse;             /* this file system cannot preallocate */
    uint64_t looked_us;      /* when the disk's free space was last asked for */
    uint64_t taken_bytes;    /* taken in since then */
    bool disk_low;
    bool was_short;          /* at the latest failure */
};

struct lmdb_store {
    struct store *front;
    MDB_env *env;
    MDB_dbi tree[LMDB_NTREES];
    int lock_fd;
    uint32_t page_bytes;
    uint32_t format_major, format_minor;
    struct lmdb_space space;
    /* Records that named what is not there; no error, but worth counting. */
    atomic_uint_fast64_t missing_updates, missing_settles;
    uint8_t value[STORE_ENTRY_MAX]; /* who applies builds an entry's new value here */
};

/* LMDB's and the system's codes into ours: no space (may pass), not found,
 * everything else is SL_EIO. Logs what becomes SL_EIO. */
SL_CHECK int lmdb_error(int rc, const char *doing);

/* lmdb_format.c. `path`: of the directory `store`. SL_ENOENT: there is none
 * yet; SL_EFORMAT: something is there that must not be touched. */
SL_CHECK int lmdb_format_look(const char *path, struct sl_buf *why);
/* Finds the trees and checks the format's number in an open environment. */
SL_CHECK int lmdb_format_check(struct lmdb_store *l, struct sl_buf *why);
/* Counts an older major up, in the transaction that counts the boot number: an
 * LMDB code. Not one record changes, so that there is nothing to undo. */
SL_CHECK int lmdb_format_upgrade(struct lmdb_store *l, MDB_txn *txn);
/* Creates trees, format and boot number 0 in an empty environment. */
SL_CHECK int lmdb_format_create(struct lmdb_store *l, const char *node);

/* lmdb_space.c */
void lmdb_space_init(struct lmdb_store *l, const struct store_config *cfg);
/* May this batch be taken in? Inside its transaction, before anything else.
 * SL_ENOSPC. A batch without bodies is always admitted: sessions and QoS 2 ids
 * travel with settles, which must not be refused on their account. */
SL_CHECK int lmdb_space_admit(struct lmdb_store *l, MDB_txn *txn, const struct batch *b);
/* Half of the reserve is gone. Failures that keep their histories would take the
 * other half, too, and then nothing could be settled any more. */
bool lmdb_space_is_short(struct lmdb_store *l, MDB_txn *txn);
SL_CHECK int lmdb_space_used(const struct lmdb_store *l, MDB_txn *txn, uint64_t *bytes);
uint64_t lmdb_space_disk_free(const struct lmdb_store *l);

/* lmdb_apply.c */
SL_CHECK int lmdb_apply(struct store *st, const struct batch *b);
static inline void lmdb_entry_key(uint8_t out[LMDB_ENTRY_KEY], uint64_t id, uint32_t queue)
{
    sl_wr_u32be(sl_wr_u64be(out, id), queue);
}

/* lmdb_load.c */
SL_CHECK int lmdb_load(struct store *st, const struct store_loader *loader, struct sl_buf *why);
void lmdb_fetch(struct store *st, struct batch_fetch *f);
SL_CHECK int lmdb_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out);
SL_CHECK int lmdb_info(struct store *st, struct store_info *out);

static inline struct sl_bytes lmdb_bytes(MDB_val v)
{
    return sl_bytes_of(v.mv_data, v.mv_size);
}

#endif
