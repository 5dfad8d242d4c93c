/* The reserve. LMDB copies pages even to delete, so when the map or the disk
 * is full nothing could be settled any more, and nothing would ever get free.
 * Therefore intake stops while a reserve is left, and only settling may use it.
 *
 * The disk's part of the reserve is the data file itself, which is allocated
 * ahead in steps: blocks that the file owns cannot be taken by others. LMDB
 * does not mind a file that is longer than its last page. Room is
 *
 *     allocated bytes of the file - pages in use by any tree
 *
 * which counts free pages inside the file too, so that a queue that was
 * drained on a full disk takes in again. Where the file system cannot
 * preallocate, the disk's free space must hold the reserve instead. */
#include "lmdb_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/log.h"

#define GROW_BYTES ((uint64_t)64 * 1024 * 1024)
#define LOOK_EVERY_US 1000000u
#define LOOK_EVERY_BYTES ((uint64_t)16 * 1024 * 1024)
/* Pages that every transaction may copy besides its leaves: branches, roots, the free list. */
#define OVERHEAD_PAGES 64u

static int data_fd(const struct lmdb_store *l)
{
    mdb_filehandle_t fd = -1;
    return mdb_env_get_fd(l->env, &fd) == 0 ? fd : -1;
}

uint64_t lmdb_space_disk_free(const struct lmdb_store *l)
{
    struct statvfs v;
    if (fstatvfs(data_fd(l), &v) != 0)
        return 0;
    return (uint64_t)v.f_bavail * v.f_frsize;
}

void lmdb_space_init(struct lmdb_store *l, const struct store_config *cfg)
{
    struct stat st;
    l->space = (struct lmdb_space){
        .map_bytes = cfg->map_size_bytes - cfg->map_size_bytes % l->page_bytes,
        .reserve_bytes = cfg->reserve_bytes,
        .min_free_disk_bytes = cfg->min_free_disk_bytes,
        .file_bytes = fstat(data_fd(l), &st) == 0 ? (uint64_t)st.st_size : 0,
    };
}

int lmdb_space_used(const struct lmdb_store *l, MDB_txn *txn, uint64_t *bytes)
{
    uint64_t pages = 2; /* the meta pages */
    for (MDB_dbi dbi = 0; dbi < 2 + LMDB_NTREES; dbi++) {
        /* 0 and 1 are LMDB's own trees: the free list and the list of names. */
        MDB_stat s;
        int rc = mdb_stat(txn, dbi < 2 ? dbi : l->tree[dbi - 2], &s);
        if (rc != 0)
            return lmdb_error(rc, "stat");
        pages += s.ms_branch_pages + s.ms_leaf_pages + s.ms_overflow_pages;
    }
    *bytes = pages * l->page_bytes;
    return SL_OK;
}

/* ---- what a batch can touch ---- */

static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_BODY)
            return true;
    }
    return false;
}

static uint64_t touched_by(const struct lmdb_store *l, const struct batch_op *op)
{
    switch ((enum batch_kind)op->kind) {
    case BATCH_BODY: /* appended: shares its page unless it is large */
        return op->msg->record_bytes + (op->msg->record_bytes > l->page_bytes / 4 ? l->page_bytes : 64);
    case BATCH_ENTRY:
        return (uint64_t)4 * STORE_ENTRY_FIXED;
    case BATCH_SESSION:
        return op->note->n + (uint64_t)2 * l->page_bytes;
    case BATCH_NONE:
        return 0;
    case BATCH_UPDATE:
    case BATCH_SETTLE:
    case BATCH_BODY_DROP:
    case BATCH_SESSION_DROP:
    case BATCH_QOS2_ADD:
    case BATCH_QOS2_DROP:
    case BATCH_SUBSCRIPTION:
    case BATCH_SUBSCRIPTION_DROP:
    case BATCH_WILL:
    case BATCH_WILL_DROP:
    case BATCH_COPY:
    case BATCH_COPY_DROP:
    case BATCH_RETAIN:
    case BATCH_RETAIN_DROP:
        break;
    }
    return l->page_bytes; /* one leaf is copied at worst */
}

static uint64_t touched(const struct lmdb_store *l, const struct batch *b)
{
    uint64_t bytes = (uint64_t)OVERHEAD_PAGES * l->page_bytes;
    for (uint32_t i = 0; i < b->n; i++)
        bytes += touched_by(l, &b->ops[i]);
    return bytes;
}

/* ---- growth ---- */

static int grow_to(struct lmdb_store *l, uint64_t bytes)
{
    int fd = data_fd(l);
    if (fallocate(fd, 0, 0, (off_t)bytes) == 0) {
        l->space.file_bytes = bytes;
        return SL_OK;
    }
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return SL_ENOSPC;
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        l->space.sparse = true;
        l->space.file_bytes = l->space.map_bytes;
        sl_log(SL_WARN, "store_not_preallocated", "reason=\"the file system cannot\"");
        return SL_OK;
    }
    return lmdb_error(errno, "preallocate");
}

/* In whole steps while the disk has room for it, else just as far as needed. */
static int grow(struct lmdb_store *l, uint64_t least)
{
    struct lmdb_space *s = &l->space;
    if (least > s->map_bytes)
        return SL_ENOSPC;
    uint64_t want = (least + GROW_BYTES - 1) / GROW_BYTES * GROW_BYTES;
    want = want > s->map_bytes ? s->map_bytes : want;
    uint64_t free_bytes = lmdb_space_disk_free(l);
    if (want - s->file_bytes + s->min_free_disk_bytes > free_bytes)
        want = least;
    if (want - s->file_bytes + s->min_free_disk_bytes > free_bytes)
        return SL_ENOSPC;
    int err = grow_to(l, want);
    return err == SL_ENOSPC && want > least ? grow_to(l, least) : err;
}

/* Others fill the disk too: asked once a second or every few megabytes, and at
 * each batch while it is low. */
static bool disk_is_low(struct lmdb_store *l, uint64_t bytes)
{
    struct lmdb_space *s = &l->space;
    uint64_t now_us = store_mono_us();
    s->taken_bytes += bytes;
    if (s->looked_us != 0 && !s->disk_low && now_us - s->looked_us < LOOK_EVERY_US && s->taken_bytes < LOOK_EVERY_BYTES)
        return false;
    uint64_t needed = s->min_free_disk_bytes + (s->sparse ? s->reserve_bytes + 3 * bytes : 0);
    s->looked_us = now_us;
    s->taken_bytes = 0;
    s->disk_low = needed > 0 && lmdb_space_disk_free(l) < needed;
    return s->disk_low;
}

int lmdb_space_admit(struct lmdb_store *l, MDB_txn *txn, const struct batch *b)
{
    if (!takes_in(b))
        return SL_OK;
    uint64_t used = 0, bytes = touched(l, b);
    int err = lmdb_space_used(l, txn, &used);
    if (err != SL_OK)
        return err;
    uint64_t least = used + l->space.reserve_bytes + 3 * bytes;
    if (least > l->space.file_bytes)
        err = grow(l, least);
    if (err == SL_OK && disk_is_low(l, bytes))
        err = SL_ENOSPC;
    return err;
}

bool lmdb_space_is_short(struct lmdb_store *l, MDB_txn *txn)
{
    uint64_t used = 0;
    if (lmdb_space_used(l, txn, &used) != SL_OK)
        return false;
    uint64_t least = used + l->space.reserve_bytes / 2;
    bool is_short = least > l->space.file_bytes && grow(l, least) != SL_OK;
    if (is_short && !l->space.was_short)
        sl_log(SL_WARN, "store_histories_left_out", "%s", "reason=\"half of the reserve is gone: the rest is for settling\"");
    l->space.was_short = is_short;
    return is_short;
}
