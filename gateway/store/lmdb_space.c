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
 * drained on a full disk takes in again. Once it was refused, intake needs an
 * eighth of the reserve more (and an eighth of the least free disk), so that it
 * does not go on and off for each message that is settled. Where the file system cannot
 * preallocate, the disk's free space must hold the reserve instead. */
#include "lmdb_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/log.h"
#include "store/copy.h"

#define GROW_BYTES ((uint64_t)64 * 1024 * 1024)
#define BACK_SHARE 8u
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

static uint64_t pages_in(const MDB_stat *s)
{
    return s->ms_branch_pages + s->ms_leaf_pages + s->ms_overflow_pages;
}

static int count_pages(MDB_txn *txn, MDB_dbi dbi, uint64_t *pages)
{
    MDB_stat s;
    int rc = mdb_stat(txn, dbi, &s);
    if (rc == 0)
        *pages = pages_in(&s);
    return lmdb_error(rc, "stat");
}

static int count_trees(const struct lmdb_store *l, MDB_txn *txn, uint64_t pages[LMDB_NTREES])
{
    int err = SL_OK;
    for (size_t i = 0; i < LMDB_NTREES && err == SL_OK; i++)
        err = count_pages(txn, l->tree[i], &pages[i]);
    return err;
}

/* With the meta pages and LMDB's own trees: 0 is the free list, 1 the list of names. */
static int sum_pages(const struct lmdb_store *l, MDB_txn *txn, const uint64_t pages[LMDB_NTREES], uint64_t *bytes)
{
    uint64_t free_list = 0, names = 0;
    int err = count_pages(txn, 0, &free_list);
    if (err == SL_OK)
        err = count_pages(txn, 1, &names);
    uint64_t sum = 2 + free_list + names;
    for (size_t i = 0; i < LMDB_NTREES; i++)
        sum += pages[i];
    *bytes = sum * l->page_bytes;
    return err;
}

int lmdb_space_used(const struct lmdb_store *l, MDB_txn *txn, uint64_t *bytes)
{
    uint64_t pages[LMDB_NTREES] = { 0 };
    int err = count_trees(l, txn, pages);
    return err == SL_OK ? sum_pages(l, txn, pages, bytes) : err;
}

/* At the begin of a transaction that writes. LMDB looks up each tree that a
 * transaction asks for, which costs as much as writing a small message. */
static int used_before(struct lmdb_store *l, MDB_txn *txn, uint64_t *bytes)
{
    struct lmdb_space *s = &l->space;
    int err = s->counted ? SL_OK : count_trees(l, txn, s->tree_pages);
    s->counted = err == SL_OK;
    return err == SL_OK ? sum_pages(l, txn, s->tree_pages, bytes) : err;
}

int lmdb_space_recount(const struct lmdb_store *l, MDB_cursor *const cursors[LMDB_NTREES], uint64_t pages[LMDB_NTREES])
{
    int err = SL_OK;
    memcpy(pages, l->space.tree_pages, sizeof l->space.tree_pages);
    for (size_t i = 0; i < LMDB_NTREES && err == SL_OK && l->space.counted; i++) {
        if (cursors[i] != NULL)
            err = count_pages(mdb_cursor_txn(cursors[i]), l->tree[i], &pages[i]);
    }
    return err;
}

void lmdb_space_keep(struct lmdb_store *l, const uint64_t pages[LMDB_NTREES])
{
    memcpy(l->space.tree_pages, pages, sizeof l->space.tree_pages);
}

/* ---- what a batch can touch ---- */

bool lmdb_space_takes_in(const struct batch_op *op)
{
    return op->kind == BATCH_BODY || op->kind == BATCH_RETAIN || op->kind == BATCH_WILL || op->kind == BATCH_SUBSCRIPTION || op->kind == BATCH_DEDUP;
}

static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (lmdb_space_takes_in(&b->ops[i]))
            return true;
    }
    return false;
}

/* Appended: it shares its page unless it is large. */
static uint64_t touched_by_record(const struct lmdb_store *l, const struct message *m)
{
    return m->record_bytes + (m->record_bytes > l->page_bytes / 4 ? l->page_bytes : 64);
}

static uint64_t note_bytes(const struct batch_op *op)
{
    return op->note == NULL ? 0 : op->note->n;
}

/* `entering`: the message whose body came last. */
static uint64_t touched_by(const struct lmdb_store *l, const struct batch_op *op, uint64_t entering)
{
    switch ((enum batch_kind)op->kind) {
    case BATCH_BODY:
    case BATCH_RETAIN:
        return touched_by_record(l, op->msg);
    case BATCH_ENTRY:
        return (uint64_t)4 * (STORE_ENTRY_FIXED + STORE_ENTRY_ORDER);
    case BATCH_DEDUP:
        return (uint64_t)4 * (LMDB_DEDUP_KEY + LMDB_DEDUP_VALUE);
    case BATCH_COPY: /* a new one stands at the end beside its siblings, or there is one to be replaced */
        return op->id == entering ? 4 * (LMDB_COPY_KEY + STORE_COPY_FIXED + note_bytes(op)) : note_bytes(op) + l->page_bytes;
    case BATCH_SESSION:
    case BATCH_SUBSCRIPTION:
    case BATCH_WILL:
    case BATCH_QUEUE:
    case BATCH_SCHEDULE:
        return note_bytes(op) + (uint64_t)2 * l->page_bytes;
    case BATCH_NONE:
        return 0;
    case BATCH_UPDATE:
    case BATCH_SETTLE:
    case BATCH_BODY_DROP:
    case BATCH_SESSION_DROP:
    case BATCH_QOS2_ADD:
    case BATCH_QOS2_DROP:
    case BATCH_SUBSCRIPTION_DROP:
    case BATCH_WILL_DROP:
    case BATCH_COPY_DROP:
    case BATCH_RETAIN_DROP:
    case BATCH_DEDUP_DROP:
    case BATCH_SCHEDULE_DROP:
        break;
    }
    return l->page_bytes; /* one leaf is copied at worst */
}

static uint64_t touched(const struct lmdb_store *l, const struct batch *b)
{
    uint64_t bytes = (uint64_t)OVERHEAD_PAGES * l->page_bytes, entering = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_BODY)
            entering = b->ops[i].id;
        bytes += touched_by(l, &b->ops[i], entering);
    }
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
    needed += s->disk_low ? s->min_free_disk_bytes / BACK_SHARE : 0;
    s->looked_us = now_us;
    s->taken_bytes = 0;
    s->disk_low = needed > 0 && lmdb_space_disk_free(l) < needed;
    return s->disk_low;
}

/* What must be free beyond that before intake goes on; nothing for a batch that would never find it. */
static uint64_t needed_to_return(const struct lmdb_space *s, uint64_t bytes)
{
    uint64_t more = s->reserve_bytes / BACK_SHARE;
    return s->refused && s->reserve_bytes + 3 * bytes + 2 * more <= s->map_bytes ? more : 0;
}

int lmdb_space_admit(struct lmdb_store *l, MDB_txn *txn, const struct batch *b)
{
    if (!takes_in(b))
        return SL_OK;
    uint64_t used = 0, bytes = touched(l, b);
    int err = used_before(l, txn, &used);
    if (err != SL_OK)
        return err;
    uint64_t least = used + l->space.reserve_bytes + 3 * bytes + needed_to_return(&l->space, bytes);
    if (least > l->space.file_bytes)
        err = grow(l, least);
    if (err == SL_OK && disk_is_low(l, bytes))
        err = SL_ENOSPC;
    l->space.refused = err == SL_ENOSPC;
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
