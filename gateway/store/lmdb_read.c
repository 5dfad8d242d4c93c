/* Reading on demand: bodies, one entry's history, the figures. A read transaction
 * lives no longer than the call that made it. */
#include "lmdb_store.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "core/log.h"

int lmdb_find_inside(MDB_cursor *entries, uint64_t id, struct sl_bytes *record, uint32_t *n_entries)
{
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, id, 0);
    MDB_val key = { sizeof place, place }, v;
    bool found = false;
    int rc = mdb_cursor_get(entries, &key, &v, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == LMDB_ENTRY_KEY && lmdb_read_u64be(key.mv_data) == id) {
        struct sl_bytes inside = store_entry_inside(lmdb_bytes(v));
        if (inside.n > 0 && !found)
            *record = inside;
        found = found || inside.n > 0;
        if (n_entries != NULL)
            ++*n_entries;
        else if (found)
            return 0;
        rc = mdb_cursor_get(entries, &key, &v, MDB_NEXT);
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    return found ? 0 : MDB_NOTFOUND;
}

int lmdb_find_record(const struct lmdb_store *l, MDB_cursor *entries, uint64_t id, struct sl_bytes *record, uint32_t *n_entries)
{
    int rc = lmdb_find_inside(entries, id, record, n_entries);
    if (rc != MDB_NOTFOUND)
        return rc;
    MDB_val key = { sizeof id, &id }, value;
    rc = mdb_get(mdb_cursor_txn(entries), l->tree[TREE_BODIES], &key, &value);
    if (rc == 0)
        *record = lmdb_bytes(value);
    return rc;
}

void lmdb_fetch(struct store *st, struct batch_fetch *f)
{
    struct lmdb_store *l = st->impl;
    MDB_txn *txn;
    f->err = lmdb_error(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn), "begin");
    if (f->err != SL_OK)
        return;
    MDB_cursor *entries = NULL;
    f->err = lmdb_error(mdb_cursor_open(txn, l->tree[TREE_ENTRIES], &entries), "open a cursor");
    for (uint32_t i = 0; i < f->n && f->err == SL_OK; i++) {
        struct sl_bytes record;
        int rc = lmdb_find_record(l, entries, f->ids[i], &record, NULL);
        if (rc == 0)
            rc = message_from_record(record, &f->msgs[i]);
        if (rc != 0 && rc != MDB_NOTFOUND)
            sl_log(SL_ERROR, "store_body_unreadable", "id=%016" PRIx64 " reason=\"%s\"", f->ids[i], rc == SL_EFORMAT ? sl_err_text(rc) : mdb_strerror(rc));
    }
    if (entries != NULL)
        mdb_cursor_close(entries);
    mdb_txn_abort(txn);
}

int lmdb_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out)
{
    struct lmdb_store *l = st->impl;
    MDB_txn *txn;
    int err = lmdb_error(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn), "begin");
    if (err != SL_OK)
        return err;
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, id, queue);
    MDB_val key = { sizeof place, place }, value;
    err = lmdb_error(mdb_get(txn, l->tree[TREE_ENTRIES], &key, &value), "read an entry");
    if (err == SL_OK)
        err = store_entry_tell(lmdb_bytes(value), out);
    mdb_txn_abort(txn);
    return err;
}

static int count_of(const struct lmdb_store *l, MDB_txn *txn, enum lmdb_tree tree, uint64_t *out)
{
    MDB_stat s;
    int rc = mdb_stat(txn, l->tree[tree], &s);
    if (rc == 0)
        *out = s.ms_entries;
    return lmdb_error(rc, "stat");
}

int lmdb_info(struct store *st, struct store_info *out)
{
    struct lmdb_store *l = st->impl;
    struct store_info info = { .format_major = l->format_major, .format_minor = l->format_minor };
    MDB_txn *txn;
    int err = lmdb_error(mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn), "begin");
    if (err != SL_OK)
        return err;
    err = lmdb_space_used(l, txn, &info.used_bytes);
    uint64_t *const counts[LMDB_NTREES] = {
        [TREE_BODIES] = &info.bodies,
        [TREE_ENTRIES] = &info.entries,
        [TREE_SESSIONS] = &info.sessions,
        [TREE_SUBSCRIPTIONS] = &info.subscriptions,
        [TREE_COPIES] = &info.copies,
        [TREE_RETAINED] = &info.retained,
        [TREE_SCHEDULES] = &info.schedules,
        [TREE_DEDUP] = &info.dedup_keys,
    };
    for (size_t i = 0; i < LMDB_NTREES && err == SL_OK; i++)
        err = counts[i] == NULL ? SL_OK : count_of(l, txn, (enum lmdb_tree)i, counts[i]);
    mdb_txn_abort(txn);
    if (err != SL_OK)
        return err;
    struct stat file;
    mdb_filehandle_t fd;
    info.map_bytes = l->space.map_bytes;
    info.file_bytes = mdb_env_get_fd(l->env, &fd) == 0 && fstat(fd, &file) == 0 ? (uint64_t)file.st_size : 0;
    info.free_disk_bytes = lmdb_space_disk_free(l);
    info.missing_updates = l->missing_updates;
    info.missing_settles = l->missing_settles;
    *out = info;
    return SL_OK;
}
