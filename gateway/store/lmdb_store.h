/* The LMDB engine's parts, shared between its files only:
 *
 *   lmdb_engine.c  open, close, boot number, queue numbers
 *   lmdb_format.c  is that file ours, whole, and of a format that we read?
 *   lmdb_space.c   the reserve: what may still be taken in
 *   lmdb_apply.c   one batch, one transaction; messages and entries
 *   lmdb_subscribers.c  the records of sessions, their copies, retained messages
 *   lmdb_queues.c  what queues and schedules keep beside messages: dedup keys, their own records
 *   lmdb_load.c    a start: everything is told
 *   lmdb_holders.c a start: each body has a holder, each holder its body
 *   lmdb_read.c    fetch, history, figures */
#ifndef STORE_LMDB_STORE_H
#define STORE_LMDB_STORE_H

#include <lmdb.h>

#include "core/map.h"
#include "engine.h"
#include "store/entry.h"

#define LMDB_FORMAT_MAJOR 4u
#define LMDB_FORMAT_MINOR 0u

#define LMDB_ENTRY_KEY 12u /* id, queue; big-endian, so that keys ascend with ids */
#define LMDB_QOS2_KEY 10u  /* session number, packet id; big-endian */
#define LMDB_SUBSCRIPTION_KEY 12u /* session number, number; big-endian */
#define LMDB_COPY_KEY 16u  /* id, session number; big-endian */
#define LMDB_DEDUP_KEY 12u  /* id, queue; big-endian: what comes is appended, what leaves is at the front */
#define LMDB_DEDUP_VALUE (8u + BATCH_DEDUP_KEY)
#define LMDB_KEY_MAX 16u   /* of all but the names of queues and schedules */

enum lmdb_tree {
    TREE_META, TREE_QUEUES, TREE_BODIES, TREE_ENTRIES, TREE_SESSIONS, TREE_QOS2,
    TREE_SUBSCRIPTIONS, TREE_WILLS, TREE_COPIES, TREE_RETAINED, /* since format 3 */
    TREE_QUEUE_RECORDS, TREE_SCHEDULES, TREE_DEDUP, /* since format 4 */
    LMDB_NTREES
};

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
    bool refused;            /* the latest batch that takes in: the next needs more than room for itself */
    bool was_short;          /* at the latest failure */
    bool counted;            /* tree_pages are those of the latest transaction */
    uint64_t tree_pages[LMDB_NTREES];
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
/* Counts an older major up and makes the trees that it lacks, in the transaction that
 * counts the boot number, and draws the hash key: an LMDB code. Not one record changes, so that there is nothing to undo. */
SL_CHECK int lmdb_format_upgrade(struct lmdb_store *l, MDB_txn *txn);
/* Creates trees, format and boot number 0 in an empty environment. */
SL_CHECK int lmdb_format_create(struct lmdb_store *l, const char *node);

/* lmdb_space.c */
void lmdb_space_init(struct lmdb_store *l, const struct store_config *cfg);
/* May this batch be taken in? Inside its transaction, before anything else.
 * SL_ENOSPC. A batch that takes nothing in is always admitted: sessions, QoS 2 ids
 * and copies of what is there travel with settles, which must not be refused on
 * their account. */
SL_CHECK int lmdb_space_admit(struct lmdb_store *l, MDB_txn *txn, const struct batch *b);
/* Half of the reserve is gone. Failures that keep their histories would take the
 * other half, too, and then nothing could be settled any more. */
bool lmdb_space_is_short(struct lmdb_store *l, MDB_txn *txn);
SL_CHECK int lmdb_space_used(const struct lmdb_store *l, MDB_txn *txn, uint64_t *bytes);
uint64_t lmdb_space_disk_free(const struct lmdb_store *l);
/* Counts the pages of the trees that the transaction has cursors in: lmdb_space_admit
 * need not look at the others. To be kept when it is committed. */
SL_CHECK int lmdb_space_recount(const struct lmdb_store *l, MDB_cursor *const cursors[LMDB_NTREES], uint64_t pages[LMDB_NTREES]);
void lmdb_space_keep(struct lmdb_store *l, const uint64_t pages[LMDB_NTREES]);

/* Does it fill the store? Then it may be refused to keep the reserve. */
bool lmdb_space_takes_in(const struct batch_op *op);

/* lmdb_apply.c */
SL_CHECK int lmdb_apply(struct store *st, const struct batch *b);
static inline void lmdb_entry_key(uint8_t out[LMDB_ENTRY_KEY], uint64_t id, uint32_t queue)
{
    sl_wr_u32be(sl_wr_u64be(out, id), queue);
}

/* One transaction that writes. One cursor per tree lives for as long, because
 * neighbouring records mostly lie on the same page. */
struct lmdb_writer {
    struct lmdb_store *l;
    MDB_txn *txn;
    const struct batch_op *end;      /* of the operations that this transaction has */
    MDB_cursor *cursor[LMDB_NTREES]; /* opened at first use, closed with the transaction */
    uint64_t entering;               /* the message whose body came last */
    uint64_t to_inside;              /* the message whose body its entry, the next record, takes in */
    uint64_t left_inside;            /* the message whose body left with its entry */
};
/* All of these: LMDB codes. */
SL_CHECK int lmdb_writer_cursor(struct lmdb_writer *w, enum lmdb_tree tree, MDB_cursor **out);
/* Appends when the key is the greatest, else puts. */
SL_CHECK int lmdb_put_last(MDB_cursor *c, MDB_val *key, MDB_val *value, unsigned flags);
SL_CHECK int lmdb_delete_key(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key, bool *found);
SL_CHECK int lmdb_put_note(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key, const struct batch_note *note);
/* What is not there is no error. */
SL_CHECK int lmdb_drop_key(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key);

/* lmdb_subscribers.c */
SL_CHECK int lmdb_write_session(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_session_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_qos2_add(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_qos2_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_subscription(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_subscription_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_will(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_will_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_copy(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_copy_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_retain(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_retain_drop(struct lmdb_writer *w, const struct batch_op *op);

/* lmdb_queues.c */
SL_CHECK int lmdb_write_queue(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_dedup(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_dedup_drop(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_schedule(struct lmdb_writer *w, const struct batch_op *op);
SL_CHECK int lmdb_write_schedule_drop(struct lmdb_writer *w, const struct batch_op *op);

/* lmdb_load.c */
SL_CHECK int lmdb_load(struct store *st, const struct store_loader *loader, struct sl_buf *why);

/* What a start found and does not need: keys, dropped when all else went well. */
struct lmdb_leftover {
    uint8_t tree, n;
    uint8_t key[LMDB_KEY_MAX];
};
struct lmdb_leftovers {
    struct lmdb_leftover *all;
    size_t n, cap;
    uint64_t of_tree[LMDB_NTREES];
};

/* A start, read in one transaction. */
struct lmdb_loading {
    struct lmdb_store *l;
    const struct store_loader *loader;
    struct sl_buf *why;
    MDB_txn *txn;
    uint64_t done, total;
    uint64_t told_us;
    uint64_t last_id; /* of the entry or copy before */
    uint64_t ids;     /* different ids among the entries, then also among the copies */
    uint64_t inside;  /* … of messages whose body stands inside an entry */
    struct sl_idmap sessions; /* numbers of those that are there */
    uint8_t *map;             /* where the file is, when it is known */
    size_t map_bytes;         /* as far as there are pages */
    MDB_cursor *holders;      /* of entries: where a body stands that is looked for */
    struct message *msg;      /* of the copies that are being read */
    uint32_t msg_entries;     /* how many entries it has */
    struct lmdb_leftovers leftovers;
};

/* lmdb_holders.c. Bodies that nobody holds are added to the leftovers; a holder
 * without a body is SL_EFORMAT. Proved by counting, when that does. */
SL_CHECK int lmdb_check_holders(struct lmdb_loading *s);
void lmdb_leftovers_add(struct lmdb_leftovers *o, enum lmdb_tree tree, struct sl_bytes key);
/* A full disk is no reason not to start: they are dropped at a later one. */
SL_CHECK int lmdb_leftovers_drop(struct lmdb_store *l, const struct lmdb_leftovers *o);

/* lmdb_read.c. A message's body inside one of its entries, and how many of those it
 * has. An LMDB code; MDB_NOTFOUND: no entry has it inside. */
SL_CHECK int lmdb_find_inside(MDB_cursor *entries, uint64_t id, struct sl_bytes *record, uint32_t *n_entries);
/* Inside an entry or by itself. */
SL_CHECK int lmdb_find_record(const struct lmdb_store *l, MDB_cursor *entries, uint64_t id, struct sl_bytes *record, uint32_t *n_entries);
void lmdb_fetch(struct store *st, struct batch_fetch *f);
SL_CHECK int lmdb_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out);
SL_CHECK int lmdb_info(struct store *st, struct store_info *out);

static inline uint64_t lmdb_read_u64be(const uint8_t *p)
{
    uint64_t out = 0;
    for (size_t i = 0; i < 8; i++)
        out = out << 8 | p[i];
    return out;
}

static inline struct sl_bytes lmdb_bytes(MDB_val v)
{
    return sl_bytes_of(v.mv_data, v.mv_size);
}

#endif
