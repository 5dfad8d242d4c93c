/* The LMDB engine: opening, closing, boot and queue numbers.
 *
 * A data directory holds `lock` and `store/` (LMDB's data.mdb and lock.mdb).
 * A new store is built whole in `store.new/`, synced, and renamed: a `store/`
 * that exists is complete, so an empty or missing file in it is damage and
 * never an invitation to begin anew.
 *
 * Not MDB_WRITEMAP (a stray write would reach the disk, and it writes more),
 * not MDB_NOSYNC or MDB_NOMETASYNC (an answer means stored). Read-ahead stays
 * on: a queue is read in the order in which it was written. */
#include "lmdb_store.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "lock.h"

#define MAP_LEAST_BYTES 262144u
#define READERS 16u
#define BOOT_MAX ((1u << 24) - 1) /* ids are boot << 40 | sequence */
#define QUEUE_NAME_MAX 255u

const struct lmdb_tree_kind lmdb_trees[LMDB_NTREES] = {
    [TREE_META] = { "meta", 0 },
    [TREE_QUEUES] = { "queues", 0 },
    [TREE_BODIES] = { "bodies", MDB_INTEGERKEY },
    [TREE_ENTRIES] = { "entries", 0 },
    [TREE_SESSIONS] = { "sessions", 0 },
    [TREE_QOS2] = { "qos2", 0 },
    [TREE_SUBSCRIPTIONS] = { "subscriptions", 0 },
    [TREE_WILLS] = { "wills", 0 },
    [TREE_COPIES] = { "copies", 0 },
    [TREE_RETAINED] = { "retained", 0 },
    [TREE_QUEUE_RECORDS] = { "queue_records", 0 },
    [TREE_SCHEDULES] = { "schedules", 0 },
    [TREE_DEDUP] = { "dedup", 0 },
};

int lmdb_error(int rc, const char *doing)
{
    switch (rc) {
    case 0:
        return SL_OK;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return SL_ENOSPC;
    case MDB_NOTFOUND:
        return SL_ENOENT;
    default:
        sl_log(SL_ERROR, "store_error", "doing=\"%s\" error=\"%s\"", doing, mdb_strerror(rc));
        return SL_EIO;
    }
}

static int env_open(struct lmdb_store *l, const char *path, uint64_t map_bytes, struct sl_buf *why)
{
    int rc = mdb_env_create(&l->env);
    if (rc == 0)
        rc = mdb_env_set_mapsize(l->env, (size_t)map_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(l->env, LMDB_NTREES);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(l->env, READERS);
    if (rc == 0)
        rc = mdb_env_open(l->env, path, MDB_NOTLS, 0600);
    if (rc == 0)
        return SL_OK;
    mdb_env_close(l->env);
    l->env = NULL;
    int err = rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED ? SL_EFORMAT : SL_ESYS;
    return store_because(why, rc == ENOSPC || rc == EDQUOT ? SL_ENOSPC : err, "cannot open %s: %s", path, mdb_strerror(rc));
}

/* ---- a new store ---- */

static void remove_half_built(const char *path)
{
    static const char *const files[] = { "data.mdb", "lock.mdb" };
    char file[PATH_MAX];
    for (size_t i = 0; i < SL_COUNT(files); i++) {
        if (snprintf(file, sizeof file, "%s/%s", path, files[i]) < (int)sizeof file)
            unlink(file);
    }
    rmdir(path);
}

static int build_new(const char *path, const struct store_config *cfg, struct sl_buf *why)
{
    struct lmdb_store fresh = { .lock_fd = -1 };
    remove_half_built(path);
    if (mkdir(path, 0700) != 0)
        return store_because(why, errno == ENOSPC ? SL_ENOSPC : SL_ESYS, "cannot create %s: %s", path, strerror(errno));
    int err = env_open(&fresh, path, cfg->map_size_bytes, why);
    if (err != SL_OK)
        return err;
    err = lmdb_format_create(&fresh, cfg->node);
    mdb_env_close(fresh.env);
    if (err != SL_OK)
        return store_because(why, err, "cannot create the store in %s: %s", path, sl_err_text(err));
    return store_sync_dir(path, why);
}

static int create(const char *dir, const char *path, const struct store_config *cfg, struct sl_buf *why)
{
    char half_built[PATH_MAX];
    if (snprintf(half_built, sizeof half_built, "%s.new", path) >= (int)sizeof half_built)
        return store_because(why, SL_ESYS, "the data directory's path is too long");
    int err = build_new(half_built, cfg, why);
    if (err != SL_OK) {
        remove_half_built(half_built);
        return err;
    }
    if (rename(half_built, path) != 0)
        return store_because(why, SL_ESYS, "cannot name %s: %s", path, strerror(errno));
    return store_sync_dir(dir, why);
}

/* ---- open and close ---- */

static int count_boot(struct lmdb_store *l, uint64_t *boot, struct sl_buf *why)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        return store_because(why, lmdb_error(rc, "begin"), "cannot write the store: %s", mdb_strerror(rc));
    MDB_val key = { 4, "boot" }, value;
    rc = mdb_get(txn, l->tree[TREE_META], &key, &value);
    if (rc != 0 || value.mv_size != 8) {
        mdb_txn_abort(txn);
        return store_because(why, SL_EFORMAT, "the store is damaged: it has no boot number");
    }
    struct sl_reader r = sl_reader_of(lmdb_bytes(value));
    uint64_t next = sl_rd_u64le(&r) + 1;
    if (next > BOOT_MAX) {
        mdb_txn_abort(txn);
        return store_because(why, SL_ESTATE, "the store was opened %u times, which is all that message ids allow", BOOT_MAX);
    }
    uint8_t raw[8];
    sl_wr_u64le(raw, next);
    value = (MDB_val){ sizeof raw, raw };
    rc = mdb_put(txn, l->tree[TREE_META], &key, &value, 0);
    if (rc == 0)
        rc = lmdb_format_upgrade(l, txn);
    if (rc != 0)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc != 0)
        return store_because(why, lmdb_error(rc, "count the boot number"), "cannot write the store: %s", mdb_strerror(rc));
    *boot = next;
    return SL_OK;
}

static int open_existing(struct lmdb_store *l, const char *path, const struct store_config *cfg, struct sl_buf *why)
{
    int err = env_open(l, path, cfg->map_size_bytes, why);
    if (err != SL_OK)
        return err;
    /* Nobody else has this store open: slots of readers that died are stale. */
    int stale = 0;
    err = lmdb_error(mdb_reader_check(l->env, &stale), "clear the readers");
    if (err != SL_OK)
        return store_because(why, err, "cannot clear the reader slots of %s", path);
    MDB_stat s;
    err = lmdb_error(mdb_env_stat(l->env, &s), "stat");
    if (err != SL_OK)
        return store_because(why, err, "cannot read %s", path);
    l->page_bytes = s.ms_psize;
    lmdb_space_init(l, cfg);
    return lmdb_format_check(l, why);
}

static int config_check(const struct store_config *cfg, struct sl_buf *why)
{
    if (cfg->map_size_bytes < MAP_LEAST_BYTES || cfg->map_size_bytes > SIZE_MAX / 2)
        return store_because(why, SL_EINVAL, "the store's map must be at least %u bytes", MAP_LEAST_BYTES);
    if (cfg->reserve_bytes > cfg->map_size_bytes / 2)
        return store_because(why, SL_EINVAL, "the store's reserve must be at most half of its map");
    return SL_OK;
}

static void lmdb_free(struct lmdb_store *l)
{
    if (l->env != NULL)
        mdb_env_close(l->env);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    sl_free(l);
}

static int open_locked(struct lmdb_store *l, const struct store_config *cfg, struct sl_buf *why)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/store", cfg->dir) >= (int)sizeof path)
        return store_because(why, SL_ESYS, "the data directory's path is too long");
    int err = lmdb_format_look(path, why);
    if (err == SL_ENOENT)
        err = create(cfg->dir, path, cfg, why);
    if (err == SL_OK)
        err = open_existing(l, path, cfg, why);
    if (err == SL_OK)
        err = count_boot(l, &l->front->boot, why);
    return err;
}

static int lmdb_open(struct store *st, const struct store_config *cfg, struct sl_buf *why)
{
    int err = config_check(cfg, why);
    if (err != SL_OK)
        return err;
    struct lmdb_store *l = SL_NEW(struct lmdb_store);
    l->front = st;
    l->lock_fd = -1;
    err = store_lock(cfg->dir, &l->lock_fd, why);
    if (err == SL_OK)
        err = open_locked(l, cfg, why);
    if (err != SL_OK) {
        lmdb_free(l);
        return err;
    }
    st->impl = l;
    return SL_OK;
}

static void lmdb_close(struct store *st)
{
    lmdb_free(st->impl);
    st->impl = NULL;
}

/* ---- queue numbers ---- */

/* Names are never removed, so the next number is one past their count. */
static int number_new(struct lmdb_store *l, MDB_txn *txn, MDB_val *key, uint32_t *number)
{
    MDB_stat s;
    int rc = mdb_stat(txn, l->tree[TREE_QUEUES], &s);
    if (rc != 0)
        return rc;
    uint8_t raw[4];
    uint32_t next = (uint32_t)s.ms_entries + 1;
    sl_wr_u32le(raw, next);
    MDB_val value = { sizeof raw, raw };
    rc = mdb_put(txn, l->tree[TREE_QUEUES], key, &value, MDB_NOOVERWRITE);
    if (rc == 0)
        *number = next;
    return rc;
}

static int lmdb_queue_number(struct store *st, const char *name, uint32_t *number)
{
    struct lmdb_store *l = st->impl;
    size_t n = strlen(name);
    if (n == 0 || n > QUEUE_NAME_MAX)
        return SL_EINVAL;
    MDB_txn *txn;
    l->space.counted = false;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        return lmdb_error(rc, "begin");
    MDB_val key = { n, (void *)(uintptr_t)name }, value;
    rc = mdb_get(txn, l->tree[TREE_QUEUES], &key, &value);
    if (rc == 0 && value.mv_size == 4) {
        struct sl_reader r = sl_reader_of(lmdb_bytes(value));
        *number = sl_rd_u32le(&r);
        mdb_txn_abort(txn);
        return SL_OK;
    }
    uint32_t given = 0;
    rc = rc == MDB_NOTFOUND ? number_new(l, txn, &key, &given) : rc == 0 ? MDB_CORRUPTED : rc;
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(rc, "number a queue");
    }
    int err = lmdb_error(mdb_txn_commit(txn), "number a queue");
    if (err == SL_OK)
        *number = given;
    return err;
}

const struct store_engine store_lmdb_engine = {
    .name = "lmdb",
    .open = lmdb_open,
    .close = lmdb_close,
    .queue_number = lmdb_queue_number,
    .load = lmdb_load,
    .apply = lmdb_apply,
    .fetch = lmdb_fetch,
    .history = lmdb_history,
    .info = lmdb_info,
};
