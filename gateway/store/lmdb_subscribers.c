/* The records of sessions and of what waits for them: QoS 2 ids, subscriptions,
 * wills, copies; and retained messages. */
#include "core/alloc.h"
#include "lmdb_store.h"
#include "store/copy.h"

static void u64_key(uint8_t out[8], const struct batch_op *op)
{
    sl_wr_u64be(out, op->id);
}

static void qos2_key(uint8_t out[LMDB_QOS2_KEY], const struct batch_op *op)
{
    sl_wr_u16be(sl_wr_u64be(out, op->id), op->packet_id);
}

static void subscription_key(uint8_t out[LMDB_SUBSCRIPTION_KEY], const struct batch_op *op)
{
    sl_wr_u32be(sl_wr_u64be(out, op->id), op->number);
}

static void copy_key(uint8_t out[LMDB_COPY_KEY], const struct batch_op *op)
{
    sl_wr_u64be(sl_wr_u64be(out, op->id), op->session);
}

/* ---- sessions ---- */

int lmdb_write_session(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    u64_key(place, op);
    return lmdb_put_note(w, TREE_SESSIONS, (MDB_val){ sizeof place, place }, op->note);
}

/* All keys of `key_bytes` bytes that begin with the session's number. */
static int drop_all_of(struct lmdb_writer *w, enum lmdb_tree tree, size_t key_bytes, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, tree, &c);
    uint8_t prefix[8];
    u64_key(prefix, op);
    while (rc == 0) {
        MDB_val key = { sizeof prefix, prefix }, value;
        rc = mdb_cursor_get(c, &key, &value, MDB_SET_RANGE);
        if (rc == 0 && (key.mv_size != key_bytes || memcmp(key.mv_data, prefix, sizeof prefix) != 0))
            return 0;
        if (rc == 0)
            rc = mdb_cursor_del(c, 0);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_write_session_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    u64_key(place, op);
    int rc = lmdb_drop_key(w, TREE_SESSIONS, (MDB_val){ sizeof place, place });
    if (rc == 0)
        rc = lmdb_drop_key(w, TREE_WILLS, (MDB_val){ sizeof place, place });
    if (rc == 0)
        rc = drop_all_of(w, TREE_QOS2, LMDB_QOS2_KEY, op);
    return rc == 0 ? drop_all_of(w, TREE_SUBSCRIPTIONS, LMDB_SUBSCRIPTION_KEY, op) : rc;
}

int lmdb_write_qos2_add(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_QOS2_KEY];
    qos2_key(place, op);
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_QOS2, &c);
    MDB_val key = { sizeof place, place }, nothing = { 0, place };
    return rc == 0 ? mdb_cursor_put(c, &key, &nothing, 0) : rc;
}

int lmdb_write_qos2_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_QOS2_KEY];
    qos2_key(place, op);
    return lmdb_drop_key(w, TREE_QOS2, (MDB_val){ sizeof place, place });
}

int lmdb_write_subscription(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_SUBSCRIPTION_KEY];
    subscription_key(place, op);
    return lmdb_put_note(w, TREE_SUBSCRIPTIONS, (MDB_val){ sizeof place, place }, op->note);
}

int lmdb_write_subscription_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_SUBSCRIPTION_KEY];
    subscription_key(place, op);
    return lmdb_drop_key(w, TREE_SUBSCRIPTIONS, (MDB_val){ sizeof place, place });
}

int lmdb_write_will(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    u64_key(place, op);
    return lmdb_put_note(w, TREE_WILLS, (MDB_val){ sizeof place, place }, op->note);
}

int lmdb_write_will_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    u64_key(place, op);
    return lmdb_drop_key(w, TREE_WILLS, (MDB_val){ sizeof place, place });
}

/* ---- what waits for subscribers ---- */

static int find_body(struct lmdb_writer *w, uint64_t id)
{
    MDB_cursor *bodies = NULL, *entries = NULL;
    struct sl_bytes record;
    int rc = lmdb_writer_cursor(w, TREE_BODIES, &bodies);
    MDB_val key = { sizeof id, &id }, value;
    if (rc == 0)
        rc = mdb_cursor_get(bodies, &key, &value, MDB_SET_KEY);
    if (rc != MDB_NOTFOUND)
        return rc;
    rc = lmdb_writer_cursor(w, TREE_ENTRIES, &entries);
    return rc == 0 ? lmdb_find_inside(entries, id, &record, NULL) : rc;
}

/* A batch that was applied in parts may be applied again, and its last copy be gone
 * already: a copy without a body must not come into being. */
int lmdb_write_copy(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_COPIES, &c);
    if (rc == 0 && op->id != w->entering)
        rc = find_body(w, op->id);
    if (rc == MDB_NOTFOUND) {
        w->l->missing_updates++;
        return 0;
    }
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_COPY_KEY];
    copy_key(place, op);
    MDB_val key = { sizeof place, place };
    MDB_val value = { store_copy_bytes(op), NULL };
    rc = lmdb_put_last(c, &key, &value, MDB_RESERVE);
    if (rc == 0)
        store_copy_encode(op, value.mv_data);
    return rc;
}

int lmdb_write_copy_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_COPY_KEY];
    copy_key(place, op);
    bool found = false;
    int rc = lmdb_delete_key(w, TREE_COPIES, (MDB_val){ sizeof place, place }, &found);
    w->l->missing_settles += rc == 0 && !found;
    return rc;
}

/* ---- retained messages ---- */

int lmdb_write_retain(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_RETAINED, &c);
    if (rc != 0)
        return rc;
    uint8_t place[8];
    u64_key(place, op);
    MDB_val key = { sizeof place, place };
    MDB_val value = { op->msg->record_bytes, NULL };
    rc = lmdb_put_last(c, &key, &value, MDB_RESERVE);
    if (rc == 0)
        memcpy(value.mv_data, op->msg->record, op->msg->record_bytes);
    return rc;
}

int lmdb_write_retain_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    u64_key(place, op);
    return lmdb_drop_key(w, TREE_RETAINED, (MDB_val){ sizeof place, place });
}
