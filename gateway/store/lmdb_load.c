/* Reading: everything at start, bodies on demand, one entry's history, the
 * figures. A read transaction lives no longer than the call that made it.
 *
 * Start reads entries only. A message's body stands inside its entry, or every
 * entry names it by its id and no body lives without an entry; batches keep that
 * so, and it is proved cheaply by counting: as many bodies as different ids among
 * the entries that have none inside. Only when the counts differ are both trees
 * walked side by side. */
#include "lmdb_store.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "core/log.h"

#define PROGRESS_EVERY_US 1000000u
#define PROGRESS_EVERY 4096u
#define DROP_AT_ONCE 4096u

struct loading {
    struct lmdb_store *l;
    const struct store_loader *loader;
    struct sl_buf *why;
    MDB_txn *txn;
    uint64_t done, total;
    uint64_t told_us;
    uint64_t last_id; /* of the entry before */
    uint64_t ids;     /* different ids among the entries */
    uint64_t inside;  /* … of messages whose body stands inside an entry */
};

typedef int (*visit_fn)(struct loading *s, struct sl_bytes key, struct sl_bytes value);

static void tell_progress(struct loading *s)
{
    s->done++;
    if (s->loader->progress == NULL || s->done % PROGRESS_EVERY != 0)
        return;
    uint64_t now_us = store_mono_us();
    if (now_us - s->told_us < PROGRESS_EVERY_US)
        return;
    s->told_us = now_us;
    s->loader->progress(s->loader->arg, s->done, s->total);
}

static int walk(struct loading *s, enum lmdb_tree tree, visit_fn visit)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(s->txn, s->l->tree[tree], &c);
    if (rc != 0)
        return lmdb_error(rc, "open a cursor");
    MDB_val key, value;
    int err = SL_OK;
    while (err == SL_OK && (rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        err = visit(s, lmdb_bytes(key), lmdb_bytes(value));
        tell_progress(s);
    }
    mdb_cursor_close(c);
    if (err == SL_OK && rc != MDB_NOTFOUND)
        err = store_because(s->why, SL_EFORMAT, "the store is damaged: tree \"%s\": %s", lmdb_trees[tree].name, mdb_strerror(rc));
    return err;
}

/* ---- visitors ---- */

static uint64_t read_u64be(struct sl_bytes v)
{
    uint64_t out = 0;
    for (size_t i = 0; i < 8; i++)
        out = out << 8 | v.p[i];
    return out;
}

static uint32_t read_u32be(struct sl_bytes v)
{
    struct sl_reader r = sl_reader_of(v);
    return sl_rd_u32be(&r);
}

static int visit_queue(struct loading *s, struct sl_bytes key, struct sl_bytes value)
{
    char name[512];
    if (value.n != 4 || key.n >= sizeof name)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: a queue's name has no number");
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    struct sl_reader r = sl_reader_of(value);
    return s->loader->queue == NULL ? SL_OK : s->loader->queue(s->loader->arg, sl_rd_u32le(&r), name);
}

static int visit_entry(struct loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != LMDB_ENTRY_KEY)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: an entry's key has %zu bytes", key.n);
    uint64_t id = read_u64be(key);
    uint32_t queue = read_u32be(sl_bytes_of(key.p + 8, 4));
    struct store_entry e;
    if (store_entry_decode(value, &e) != SL_OK)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: entry %016" PRIx64 " of queue %" PRIu32 " is not readable", id, queue);
    if (s->ids == 0 || id != s->last_id)
        s->ids++;
    s->last_id = id;
    s->inside += e.record.n > 0;
    struct queue_restored restored;
    store_entry_restore(&e, id, &restored);
    return s->loader->entry == NULL ? SL_OK : s->loader->entry(s->loader->arg, queue, &restored);
}

static int visit_session(struct loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != 8)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: a session's key has %zu bytes", key.n);
    return s->loader->session == NULL ? SL_OK : s->loader->session(s->loader->arg, read_u64be(key), value);
}

static int visit_qos2(struct loading *s, struct sl_bytes key, struct sl_bytes value)
{
    (void)value;
    if (key.n != LMDB_QOS2_KEY)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: a QoS 2 key has %zu bytes", key.n);
    uint16_t packet_id = (uint16_t)(key.p[8] << 8 | key.p[9]);
    return s->loader->qos2 == NULL ? SL_OK : s->loader->qos2(s->loader->arg, read_u64be(key), packet_id);
}

/* ---- bodies and entries belong together ---- */

struct orphans {
    uint64_t *ids;
    size_t n, cap;
};

static void orphans_add(struct orphans *o, uint64_t id)
{
    if (o->n == o->cap) {
        o->cap = o->cap == 0 ? 256 : o->cap * 2;
        o->ids = sl_realloc(o->ids, o->cap * sizeof *o->ids);
    }
    o->ids[o->n++] = id;
}

/* The id under a cursor's next step; false at the end. Bodies have a native
 * key, entries a big-endian one, several of which may name the same body. */
static bool next_body(MDB_cursor *c, uint64_t *id, int *rc)
{
    MDB_val key;
    *rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
    if (*rc != 0)
        return false;
    memcpy(id, key.mv_data, sizeof *id);
    return true;
}

static bool next_entry(MDB_cursor *c, uint64_t *id, int *rc)
{
    MDB_val key;
    uint64_t before = *id;
    do {
        *rc = mdb_cursor_get(c, &key, NULL, MDB_NEXT);
        if (*rc != 0)
            return false;
        *id = read_u64be(lmdb_bytes(key));
    } while (*id == before);
    return true;
}

/* A message's body inside one of its entries. `value`, when found; else MDB_NOTFOUND. */
static int find_inside(MDB_cursor *entries, uint64_t id, struct sl_bytes *value)
{
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, id, 0);
    MDB_val key = { sizeof place, place }, v;
    int rc = mdb_cursor_get(entries, &key, &v, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == LMDB_ENTRY_KEY && read_u64be(lmdb_bytes(key)) == id) {
        *value = store_entry_inside(lmdb_bytes(v));
        if (value->n > 0)
            return 0;
        rc = mdb_cursor_get(entries, &key, &v, MDB_NEXT);
    }
    return rc == 0 ? MDB_NOTFOUND : rc;
}

static bool has_body_inside(struct loading *s, uint64_t id)
{
    MDB_cursor *c = NULL;
    struct sl_bytes value;
    if (mdb_cursor_open(s->txn, s->l->tree[TREE_ENTRIES], &c) != 0)
        return false;
    int rc = find_inside(c, id, &value);
    mdb_cursor_close(c);
    return rc == 0;
}

static int compare_trees(struct loading *s, MDB_cursor *bodies, MDB_cursor *entries, struct orphans *o)
{
    uint64_t body = 0, entry = 0; /* no message has the id 0 */
    int rc_body, rc_entry;
    bool has_body = next_body(bodies, &body, &rc_body), has_entry = next_entry(entries, &entry, &rc_entry);
    while (has_body || has_entry) {
        if (has_entry && (!has_body || entry < body) && has_body_inside(s, entry)) {
            has_entry = next_entry(entries, &entry, &rc_entry);
            continue;
        }
        if (has_entry && (!has_body || entry < body))
            return store_because(s->why, SL_EFORMAT, "the store is damaged: message %016" PRIx64 " has an entry but no body", entry);
        bool alone = !has_entry || body < entry;
        if (alone)
            orphans_add(o, body);
        else
            has_entry = next_entry(entries, &entry, &rc_entry);
        has_body = next_body(bodies, &body, &rc_body);
    }
    if (rc_body != MDB_NOTFOUND || rc_entry != MDB_NOTFOUND)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: %s", mdb_strerror(rc_body != MDB_NOTFOUND ? rc_body : rc_entry));
    return SL_OK;
}

static int find_orphans(struct loading *s, struct orphans *o)
{
    MDB_stat bodies;
    int rc = mdb_stat(s->txn, s->l->tree[TREE_BODIES], &bodies);
    if (rc != 0)
        return lmdb_error(rc, "stat");
    if (bodies.ms_entries == s->ids - s->inside)
        return SL_OK;
    MDB_cursor *b = NULL, *e = NULL;
    rc = mdb_cursor_open(s->txn, s->l->tree[TREE_BODIES], &b);
    if (rc == 0)
        rc = mdb_cursor_open(s->txn, s->l->tree[TREE_ENTRIES], &e);
    int err = rc == 0 ? compare_trees(s, b, e, o) : lmdb_error(rc, "open a cursor");
    if (e != NULL)
        mdb_cursor_close(e);
    if (b != NULL)
        mdb_cursor_close(b);
    return err;
}

static int drop_some(struct lmdb_store *l, const uint64_t *ids, size_t n)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        return lmdb_error(rc, "begin");
    for (size_t i = 0; i < n && rc == 0; i++) {
        uint64_t id = ids[i];
        MDB_val key = { sizeof id, &id };
        rc = mdb_del(txn, l->tree[TREE_BODIES], &key, NULL);
    }
    if (rc == 0)
        return lmdb_error(mdb_txn_commit(txn), "drop bodies");
    mdb_txn_abort(txn);
    return lmdb_error(rc, "drop bodies");
}

/* A full disk is no reason not to start: they are dropped at a later one. */
static int drop_orphans(struct lmdb_store *l, const struct orphans *o)
{
    int err = SL_OK;
    for (size_t i = 0; i < o->n && err == SL_OK; i += DROP_AT_ONCE)
        err = drop_some(l, o->ids + i, o->n - i < DROP_AT_ONCE ? o->n - i : DROP_AT_ONCE);
    if (o->n > 0)
        sl_log(SL_WARN, "store_bodies_dropped", "count=%zu reason=\"no queue holds them\"", o->n);
    return err == SL_ENOSPC ? SL_OK : err;
}

/* ---- start ---- */

static int count_total(struct loading *s)
{
    static const enum lmdb_tree walked[] = { TREE_QUEUES, TREE_ENTRIES, TREE_SESSIONS, TREE_QOS2 };
    for (size_t i = 0; i < SL_COUNT(walked); i++) {
        MDB_stat st;
        int rc = mdb_stat(s->txn, s->l->tree[walked[i]], &st);
        if (rc != 0)
            return lmdb_error(rc, "stat");
        s->total += st.ms_entries;
    }
    return SL_OK;
}

int lmdb_load(struct store *st, const struct store_loader *loader, struct sl_buf *why)
{
    struct loading s = { .l = st->impl, .loader = loader, .why = why, .told_us = store_mono_us() };
    struct orphans orphans = { 0 };
    int rc = mdb_txn_begin(s.l->env, NULL, MDB_RDONLY, &s.txn);
    if (rc != 0)
        return store_because(why, lmdb_error(rc, "begin"), "cannot read the store: %s", mdb_strerror(rc));
    int err = count_total(&s);
    if (err == SL_OK)
        err = walk(&s, TREE_QUEUES, visit_queue);
    if (err == SL_OK)
        err = walk(&s, TREE_ENTRIES, visit_entry);
    if (err == SL_OK)
        err = find_orphans(&s, &orphans);
    if (err == SL_OK)
        err = walk(&s, TREE_SESSIONS, visit_session);
    if (err == SL_OK)
        err = walk(&s, TREE_QOS2, visit_qos2);
    mdb_txn_abort(s.txn);
    if (err == SL_OK)
        err = drop_orphans(s.l, &orphans);
    sl_free(orphans.ids);
    return err;
}

/* ---- on demand ---- */

static int find_record(const struct lmdb_store *l, MDB_cursor *entries, uint64_t id, struct sl_bytes *record)
{
    int rc = find_inside(entries, id, record);
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
        int rc = find_record(l, entries, f->ids[i], &record);
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
    if (err == SL_OK)
        err = count_of(l, txn, TREE_BODIES, &info.bodies);
    if (err == SL_OK)
        err = count_of(l, txn, TREE_ENTRIES, &info.entries);
    if (err == SL_OK)
        err = count_of(l, txn, TREE_SESSIONS, &info.sessions);
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
