/* One batch, one write transaction, one sync.
 *
 * Bodies and entries arrive in ascending ids, so they are put with MDB_APPEND,
 * which finds its place without comparing and leaves full pages; a key that is
 * not the greatest falls back to an ordinary put. One cursor per tree lives for
 * the transaction, because neighbouring records mostly lie on the same page.
 *
 * A small message that one queue takes is one record: its body stands inside its
 * entry, and both leave with one deletion. What the batch says stays true of it:
 * an entry that is settled while its body is still needed leaves it in `bodies`.
 *
 * No room, found at a record or at the commit's writes: the transaction is
 * aborted and nothing was written. A batch in which nothing enters is then
 * tried in halves, since a smaller transaction copies fewer pages. Anything
 * else is SL_EIO and latched by store.c. */
#include "lmdb_store.h"

struct writer {
    struct lmdb_store *l;
    MDB_txn *txn;
    const struct batch_op *end;      /* of the operations that this transaction has */
    MDB_cursor *cursor[LMDB_NTREES]; /* opened at first use, closed with the transaction */
    uint64_t to_inside;              /* the message whose body its entry, the next record, takes in */
    uint64_t left_inside;            /* the message whose body left with its entry */
};

static bool is_followed_by(const struct writer *w, const struct batch_op *op, uint32_t steps, enum batch_kind kind)
{
    return op + steps < w->end && op[steps].kind == kind && op[steps].id == op->id;
}

static int cursor_of(struct writer *w, enum lmdb_tree tree, MDB_cursor **out)
{
    if (w->cursor[tree] == NULL) {
        int rc = mdb_cursor_open(w->txn, w->l->tree[tree], &w->cursor[tree]);
        if (rc != 0)
            return rc;
    }
    *out = w->cursor[tree];
    return 0;
}

static int put_last(MDB_cursor *c, MDB_val *key, MDB_val *value, unsigned flags)
{
    MDB_val wanted = *value;
    int rc = mdb_cursor_put(c, key, value, flags | MDB_APPEND);
    if (rc != MDB_KEYEXIST)
        return rc;
    *value = wanted;
    return mdb_cursor_put(c, key, value, flags);
}

static int put_body(struct writer *w, uint64_t id, struct sl_bytes record)
{
    MDB_cursor *c = NULL;
    int rc = cursor_of(w, TREE_BODIES, &c);
    if (rc != 0)
        return rc;
    MDB_val key = { sizeof id, &id };
    MDB_val value = { record.n, NULL };
    rc = put_last(c, &key, &value, MDB_RESERVE);
    if (rc == 0)
        memcpy(value.mv_data, record.p, record.n);
    return rc;
}

static int write_body(struct writer *w, const struct batch_op *op)
{
    if (op->msg->record_bytes > STORE_ENTRY_INSIDE_MAX || !is_followed_by(w, op, 1, BATCH_ENTRY) || is_followed_by(w, op, 2, BATCH_ENTRY))
        return put_body(w, op->id, message_record(op->msg));
    w->to_inside = op->id;
    return 0;
}

static int write_entry(struct writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = cursor_of(w, TREE_ENTRIES, &c);
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, op->id, op->queue);
    MDB_val key = { sizeof place, place };
    bool inside = op->id == w->to_inside;
    w->to_inside = 0;
    MDB_val value = { store_entry_bytes(op, inside), NULL };
    rc = put_last(c, &key, &value, MDB_RESERVE);
    if (rc == 0)
        store_entry_encode(op, inside, value.mv_data);
    return rc;
}

/* Finds a key; *found tells. By value: LMDB points its copy into the page,
 * and that page is about to change. */
static int seek(MDB_cursor *c, MDB_val key, MDB_val *value, bool *found)
{
    int rc = mdb_cursor_get(c, &key, value, MDB_SET_KEY);
    *found = rc == 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_update(struct writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = cursor_of(w, TREE_ENTRIES, &c);
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, op->id, op->queue);
    MDB_val key = { sizeof place, place }, old;
    bool found;
    rc = seek(c, key, &old, &found);
    if (rc != 0)
        return rc;
    if (!found) {
        w->l->missing_updates++;
        return 0;
    }
    size_t n;
    struct batch_op what = *op;
    if (op->note != NULL && lmdb_space_is_short(w->l, w->txn))
        what.note = NULL;
    if (store_entry_update(lmdb_bytes(old), &what, w->l->value, &n) != SL_OK)
        return MDB_CORRUPTED;
    MDB_val value = { n, w->l->value };
    return mdb_cursor_put(c, &key, &value, MDB_CURRENT);
}

static int delete_key(struct writer *w, enum lmdb_tree tree, MDB_val key, bool *found)
{
    MDB_cursor *c = NULL;
    MDB_val old;
    int rc = cursor_of(w, tree, &c);
    if (rc == 0)
        rc = seek(c, key, &old, found);
    if (rc != 0 || !*found)
        return rc;
    return mdb_cursor_del(c, 0);
}

/* By way of a copy: writing to one tree may move the pages of another. */
static int move_body_out(struct writer *w, uint64_t id, struct sl_bytes record)
{
    memcpy(w->l->value, record.p, record.n);
    return put_body(w, id, sl_bytes_of(w->l->value, record.n));
}

static int write_settle(struct writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = cursor_of(w, TREE_ENTRIES, &c);
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, op->id, op->queue);
    MDB_val old;
    bool found = false;
    rc = seek(c, (MDB_val){ sizeof place, place }, &old, &found);
    if (rc != 0 || !found) {
        w->l->missing_settles += !found && rc == 0;
        return rc;
    }
    struct sl_bytes record = store_entry_inside(lmdb_bytes(old));
    if (record.n > 0 && is_followed_by(w, op, 1, BATCH_BODY_DROP))
        w->left_inside = op->id;
    else if (record.n > 0)
        rc = move_body_out(w, op->id, record);
    return rc == 0 ? mdb_cursor_del(c, 0) : rc;
}

static int write_body_drop(struct writer *w, const struct batch_op *op)
{
    bool left = op->id == w->left_inside;
    w->left_inside = 0;
    if (left)
        return 0;
    uint64_t id = op->id;
    bool found = false;
    return delete_key(w, TREE_BODIES, (MDB_val){ sizeof id, &id }, &found);
}

static int write_session(struct writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    sl_wr_u64be(place, op->id);
    MDB_val key = { sizeof place, place };
    MDB_val value = { op->note->n, op->note->bytes };
    return mdb_put(w->txn, w->l->tree[TREE_SESSIONS], &key, &value, 0);
}

static void qos2_key(uint8_t out[LMDB_QOS2_KEY], const struct batch_op *op)
{
    sl_wr_u16be(sl_wr_u64be(out, op->id), op->packet_id);
}

static int write_qos2_add(struct writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_QOS2_KEY];
    qos2_key(place, op);
    MDB_val key = { sizeof place, place };
    MDB_val value = { 0, place };
    return mdb_put(w->txn, w->l->tree[TREE_QOS2], &key, &value, 0);
}

static int write_qos2_drop(struct writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_QOS2_KEY];
    qos2_key(place, op);
    bool found = false;
    return delete_key(w, TREE_QOS2, (MDB_val){ sizeof place, place }, &found);
}

/* All keys that begin with the session's number. */
static int drop_qos2_of(struct writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = cursor_of(w, TREE_QOS2, &c);
    uint8_t prefix[8];
    sl_wr_u64be(prefix, op->id);
    while (rc == 0) {
        MDB_val key = { sizeof prefix, prefix }, value;
        rc = mdb_cursor_get(c, &key, &value, MDB_SET_RANGE);
        if (rc == 0 && (key.mv_size != LMDB_QOS2_KEY || memcmp(key.mv_data, prefix, sizeof prefix) != 0))
            return 0;
        if (rc == 0)
            rc = mdb_cursor_del(c, 0);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int write_session_drop(struct writer *w, const struct batch_op *op)
{
    uint8_t place[8];
    sl_wr_u64be(place, op->id);
    bool found = false;
    int rc = delete_key(w, TREE_SESSIONS, (MDB_val){ sizeof place, place }, &found);
    return rc == 0 ? drop_qos2_of(w, op) : rc;
}

static int write_nothing(struct writer *w, const struct batch_op *op)
{
    (void)w;
    (void)op;
    return 0;
}

static int (*const k_writers[])(struct writer *w, const struct batch_op *op) = {
    [BATCH_NONE] = write_nothing,
    [BATCH_BODY] = write_body,
    [BATCH_ENTRY] = write_entry,
    [BATCH_UPDATE] = write_update,
    [BATCH_SETTLE] = write_settle,
    [BATCH_BODY_DROP] = write_body_drop,
    [BATCH_SESSION] = write_session,
    [BATCH_SESSION_DROP] = write_session_drop,
    [BATCH_QOS2_ADD] = write_qos2_add,
    [BATCH_QOS2_DROP] = write_qos2_drop,
};

static int write_range(struct writer *w, const struct batch *b, uint32_t from, uint32_t to)
{
    w->end = b->ops + to;
    for (uint32_t i = from; i < to; i++) {
        SL_ASSERT(b->ops[i].kind < SL_COUNT(k_writers));
        int rc = k_writers[b->ops[i].kind](w, &b->ops[i]);
        if (rc != 0)
            return lmdb_error(rc, "write");
    }
    return SL_OK;
}

/* Ops [from, to) as one transaction. */
static int apply_range(struct lmdb_store *l, const struct batch *b, uint32_t from, uint32_t to)
{
    struct writer w = { .l = l };
    int err = lmdb_error(mdb_txn_begin(l->env, NULL, 0, &w.txn), "begin");
    if (err != SL_OK)
        return err;
    err = lmdb_space_admit(l, w.txn, b);
    if (err == SL_OK)
        err = write_range(&w, b, from, to);
    if (err != SL_OK) {
        mdb_txn_abort(w.txn);
        return err;
    }
    return lmdb_error(mdb_txn_commit(w.txn), "commit");
}

/* Nothing enters. Then each record stands alone and may be in a transaction of
 * its own; an entry belongs to its body, or to the settle that moved it. */
static bool may_be_parted(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_BODY || b->ops[i].kind == BATCH_ENTRY)
            return false;
    }
    return b->n > 1;
}

/* Where the part that begins at `from` ends. A settle and the drop of its body stay
 * together: apart, a body inside the entry would be moved out only to be dropped,
 * which takes room that there is not. */
static uint32_t part_end(const struct batch *b, uint32_t from, uint32_t step)
{
    if (b->n - from <= step)
        return b->n;
    const struct batch_op *next = &b->ops[from + step];
    return from + step + (next->kind == BATCH_BODY_DROP && next[-1].kind == BATCH_SETTLE && next[-1].id == next->id);
}

/* When a later part fails, the whole batch is submitted again: records that are
 * applied a second time, in the same order, change nothing. */
static int apply_in_parts(struct lmdb_store *l, const struct batch *b)
{
    uint32_t done = 0, step = b->n / 2;
    int err = SL_ENOSPC;
    while (done < b->n && step > 0) {
        uint32_t end = part_end(b, done, step);
        err = apply_range(l, b, done, end);
        if (err == SL_OK)
            done = end;
        else if (err == SL_ENOSPC)
            step /= 2;
        else
            return err;
    }
    return done == b->n ? SL_OK : err;
}

int lmdb_apply(struct store *st, const struct batch *b)
{
    struct lmdb_store *l = st->impl;
    int err = apply_range(l, b, 0, b->n);
    if (err == SL_ENOSPC && may_be_parted(b))
        err = apply_in_parts(l, b);
    return err;
}
