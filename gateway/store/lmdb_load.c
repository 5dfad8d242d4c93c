/* A start: everything that is there is told, in one read transaction.
 *
 * Of the messages in queues only the entries are read: their bodies come when
 * they are wanted. What waits for subscribers comes with its body, once per
 * message. What belongs to a session that is not there is left out, and dropped
 * when all else went well. */
#include "lmdb_store.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "core/alloc.h"
#include "store/copy.h"

#define PROGRESS_EVERY_US 1000000u
#define PROGRESS_EVERY 4096u
#define LET_GO_EVERY 65536u

typedef int (*visit_fn)(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value);

static void tell_progress(struct lmdb_loading *s)
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

/* ---- reading what is larger than memory ---- */

/* Where the file is mapped, which LMDB does not tell: each of its pages begins with its number. */
static int find_map(struct lmdb_loading *s)
{
    MDB_val key, value;
    int rc = mdb_cursor_get(s->holders, &key, &value, MDB_FIRST);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? SL_OK : lmdb_error(rc, "read the entries");
    MDB_envinfo info;
    uint64_t page_bytes = s->l->page_bytes, number;
    uint8_t *page = (uint8_t *)((uintptr_t)key.mv_data & ~(uintptr_t)(page_bytes - 1));
    memcpy(&number, page, sizeof number);
    if (mdb_env_info(s->l->env, &info) != 0 || number > info.me_last_pgno || info.me_last_pgno >= info.me_mapsize / page_bytes)
        return SL_OK;
    s->map = page - number * page_bytes;
    s->map_bytes = (info.me_last_pgno + 1) * page_bytes;
    return SL_OK;
}

/* What was read stays in the system's cache, but not in this process: a deep store is
 * much larger than what the gateway may take. Views stay good: they are read again. */
static void let_go(const struct lmdb_loading *s)
{
    if (s->map != NULL)
        (void)madvise(s->map, s->map_bytes, MADV_DONTNEED);
}

/* LMDB fills a page from its end: the records that come next stand in front of this
 * one, and are mostly as long. Waiting for memory is most of what a start costs. */
static void prefetch_next(MDB_val key, MDB_val value)
{
    const uint8_t *ahead = (const uint8_t *)value.mv_data - 2 * (key.mv_size + value.mv_size);
    SL_PREFETCH(ahead);
    SL_PREFETCH(ahead + STORE_ENTRY_FIXED);
}

static int walk(struct lmdb_loading *s, enum lmdb_tree tree, visit_fn visit)
{
    MDB_cursor *c;
    int rc = mdb_cursor_open(s->txn, s->l->tree[tree], &c);
    if (rc != 0)
        return lmdb_error(rc, "open a cursor");
    MDB_val key, value;
    int err = SL_OK;
    while (err == SL_OK && (rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        prefetch_next(key, value);
        err = visit(s, lmdb_bytes(key), lmdb_bytes(value));
        tell_progress(s);
        if (s->done % LET_GO_EVERY == 0)
            let_go(s);
    }
    mdb_cursor_close(c);
    if (err == SL_OK && rc != MDB_NOTFOUND)
        err = store_because(s->why, SL_EFORMAT, "the store is damaged: tree \"%s\": %s", lmdb_trees[tree].name, mdb_strerror(rc));
    return err;
}

/* ---- queues and what is in them ---- */

static uint32_t read_u32be(const uint8_t *p)
{
    struct sl_reader r = sl_reader_of(sl_bytes_of(p, 4));
    return sl_rd_u32be(&r);
}

static int wrong_key(struct lmdb_loading *s, const char *whose, struct sl_bytes key)
{
    return store_because(s->why, SL_EFORMAT, "the store is damaged: %s key has %zu bytes", whose, key.n);
}

static int visit_queue(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    char name[512];
    if (value.n != 4 || key.n >= sizeof name)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: a queue's name has no number");
    memcpy(name, key.p, key.n);
    name[key.n] = '\0';
    struct sl_reader r = sl_reader_of(value);
    return s->loader->queue == NULL ? SL_OK : s->loader->queue(s->loader->arg, sl_rd_u32le(&r), name);
}

static int visit_queue_record(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != 4)
        return wrong_key(s, "a queue record's", key);
    return s->loader->queue_record == NULL ? SL_OK : s->loader->queue_record(s->loader->arg, read_u32be(key.p), value);
}

static int visit_schedule(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    struct batch_schedule b;
    if (batch_schedule_decode(value, &b) != SL_OK || !sl_bytes_eq(b.name, key))
        return store_because(s->why, SL_EFORMAT, "the store is damaged: a schedule's record is not readable");
    return s->loader->schedule == NULL ? SL_OK : s->loader->schedule(s->loader->arg, value);
}

static int visit_dedup(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != LMDB_DEDUP_KEY)
        return wrong_key(s, "a dedup key's", key);
    uint64_t id = lmdb_read_u64be(key.p);
    if (value.n < LMDB_DEDUP_VALUE)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: the dedup key of %016" PRIx64 " is not readable", id);
    if (s->loader->dedup == NULL)
        return SL_OK;
    return s->loader->dedup(s->loader->arg, read_u32be(key.p + 8), id, sl_ld_u64le(value.p), value.p + 8);
}

/* Its record stands apart. That it is missing is found when the bodies are counted. */
static int find_job(struct lmdb_loading *s, struct queue_restored *r)
{
    struct sl_bytes record;
    int rc = lmdb_find_record(s->l, s->holders, r->id, &record, NULL);
    if (rc == 0)
        r->job_id = store_entry_job(record);
    return rc == MDB_NOTFOUND ? SL_OK : lmdb_error(rc, "read a body");
}

static int visit_entry(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != LMDB_ENTRY_KEY)
        return wrong_key(s, "an entry's", key);
    uint64_t id = lmdb_read_u64be(key.p);
    uint32_t queue = read_u32be(key.p + 8);
    struct store_entry e;
    if (store_entry_decode(value, &e) != SL_OK)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: entry %016" PRIx64 " of queue %" PRIu32 " is not readable", id, queue);
    if (s->ids == 0 || id != s->last_id)
        s->ids++;
    s->last_id = id;
    s->inside += e.record.n > 0;
    struct queue_restored restored;
    store_entry_restore(&e, id, &restored);
    int err = e.has_job && e.record.n == 0 ? find_job(s, &restored) : SL_OK;
    return err != SL_OK || s->loader->entry == NULL ? err : s->loader->entry(s->loader->arg, queue, &restored);
}

/* ---- sessions ---- */

static int visit_session(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != 8)
        return wrong_key(s, "a session's", key);
    uint64_t number = lmdb_read_u64be(key.p);
    sl_idmap_put(&s->sessions, number, s);
    return s->loader->session == NULL ? SL_OK : s->loader->session(s->loader->arg, number, value);
}

/* Of a session that is not there: left over. */
static bool is_left_over(struct lmdb_loading *s, enum lmdb_tree tree, struct sl_bytes key, uint64_t session)
{
    if (sl_idmap_get(&s->sessions, session) != NULL)
        return false;
    lmdb_leftovers_add(&s->leftovers, tree, key);
    return true;
}

static int visit_qos2(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    (void)value;
    if (key.n != LMDB_QOS2_KEY)
        return wrong_key(s, "a QoS 2 id's", key);
    uint64_t session = lmdb_read_u64be(key.p);
    uint16_t packet_id = (uint16_t)(key.p[8] << 8 | key.p[9]);
    if (is_left_over(s, TREE_QOS2, key, session) || s->loader->qos2 == NULL)
        return SL_OK;
    return s->loader->qos2(s->loader->arg, session, packet_id);
}

static int visit_subscription(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != LMDB_SUBSCRIPTION_KEY)
        return wrong_key(s, "a subscription's", key);
    uint64_t session = lmdb_read_u64be(key.p);
    if (is_left_over(s, TREE_SUBSCRIPTIONS, key, session) || s->loader->subscription == NULL)
        return SL_OK;
    return s->loader->subscription(s->loader->arg, session, read_u32be(key.p + 8), value);
}

static int visit_will(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != 8)
        return wrong_key(s, "a will's", key);
    uint64_t session = lmdb_read_u64be(key.p);
    if (is_left_over(s, TREE_WILLS, key, session) || s->loader->will == NULL)
        return SL_OK;
    return s->loader->will(s->loader->arg, session, value);
}

/* ---- what waits for subscribers ---- */

static void forget_message(struct lmdb_loading *s)
{
    if (s->msg != NULL)
        message_unref(s->msg);
    s->msg = NULL;
    s->msg_entries = 0;
}

/* The copies of one message come one after the other: its body is read once. */
static int next_message(struct lmdb_loading *s, uint64_t id)
{
    struct sl_bytes record;
    forget_message(s);
    s->last_id = id;
    int rc = lmdb_find_record(s->l, s->holders, id, &record, &s->msg_entries);
    if (rc == MDB_NOTFOUND)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: message %016" PRIx64 " has a copy but no body", id);
    if (rc != 0)
        return lmdb_error(rc, "read a body");
    s->ids += s->msg_entries == 0;
    if (s->loader->copy != NULL && message_from_record(record, &s->msg) != SL_OK)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: message %016" PRIx64 " is not readable", id);
    return SL_OK;
}

static int visit_copy(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    if (key.n != LMDB_COPY_KEY)
        return wrong_key(s, "a copy's", key);
    uint64_t id = lmdb_read_u64be(key.p);
    struct store_copy c = { .session = lmdb_read_u64be(key.p + 8) };
    if (is_left_over(s, TREE_COPIES, key, c.session))
        return SL_OK;
    if (store_copy_decode(value, &c) != SL_OK)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: the copy of %016" PRIx64 " for session %" PRIu64 " is not readable", id, c.session);
    int err = id == s->last_id ? SL_OK : next_message(s, id);
    if (err != SL_OK || s->loader->copy == NULL)
        return err;
    c.msg = s->msg;
    c.entries = s->msg_entries;
    return s->loader->copy(s->loader->arg, &c);
}

static int walk_copies(struct lmdb_loading *s)
{
    s->last_id = 0; /* no message has it */
    int err = walk(s, TREE_COPIES, visit_copy);
    forget_message(s);
    return err;
}

static int visit_retained(struct lmdb_loading *s, struct sl_bytes key, struct sl_bytes value)
{
    struct message *m;
    if (key.n != 8)
        return wrong_key(s, "a retained message's", key);
    uint64_t id = lmdb_read_u64be(key.p);
    if (s->loader->retained == NULL)
        return SL_OK;
    if (message_from_record(value, &m) != SL_OK)
        return store_because(s->why, SL_EFORMAT, "the store is damaged: the retained message %016" PRIx64 " is not readable", id);
    int err = s->loader->retained(s->loader->arg, m);
    message_unref(m);
    return err;
}

/* ---- all of it ---- */

static int count_total(struct lmdb_loading *s)
{
    for (enum lmdb_tree tree = TREE_QUEUES; tree < LMDB_NTREES; tree++) {
        MDB_stat st;
        int rc = mdb_stat(s->txn, s->l->tree[tree], &st);
        if (rc != 0)
            return lmdb_error(rc, "stat");
        s->total += tree == TREE_BODIES ? 0 : st.ms_entries; /* those are not walked */
    }
    return SL_OK;
}

static int walk_all(struct lmdb_loading *s)
{
    static const struct { enum lmdb_tree tree; visit_fn visit; } first[] = {
        { TREE_QUEUES, visit_queue }, { TREE_QUEUE_RECORDS, visit_queue_record }, { TREE_SCHEDULES, visit_schedule },
        { TREE_ENTRIES, visit_entry }, { TREE_DEDUP, visit_dedup }, { TREE_SESSIONS, visit_session },
        { TREE_QOS2, visit_qos2 }, { TREE_SUBSCRIPTIONS, visit_subscription }, { TREE_WILLS, visit_will },
    };
    int err = count_total(s);
    if (err == SL_OK)
        err = lmdb_error(mdb_cursor_open(s->txn, s->l->tree[TREE_ENTRIES], &s->holders), "open a cursor");
    if (err == SL_OK)
        err = find_map(s);
    for (size_t i = 0; i < SL_COUNT(first) && err == SL_OK; i++)
        err = walk(s, first[i].tree, first[i].visit);
    if (err == SL_OK)
        err = walk_copies(s);
    if (err == SL_OK)
        err = lmdb_check_holders(s);
    if (err == SL_OK)
        err = walk(s, TREE_RETAINED, visit_retained);
    if (s->holders != NULL)
        mdb_cursor_close(s->holders);
    return err;
}

int lmdb_load(struct store *st, const struct store_loader *loader, struct sl_buf *why)
{
    struct lmdb_loading s = { .l = st->impl, .loader = loader, .why = why, .told_us = store_mono_us() };
    int rc = mdb_txn_begin(s.l->env, NULL, MDB_RDONLY, &s.txn);
    if (rc != 0)
        return store_because(why, lmdb_error(rc, "begin"), "cannot read the store: %s", mdb_strerror(rc));
    int err = walk_all(&s);
    let_go(&s);
    mdb_txn_abort(s.txn);
    if (err == SL_OK)
        err = lmdb_leftovers_drop(s.l, &s.leftovers);
    sl_free(s.leftovers.all);
    sl_idmap_fini(&s.sessions);
    return err;
}
