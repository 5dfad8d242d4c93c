/* One batch, one write transaction, one sync.
 *
 * Bodies, entries and copies arrive in ascending ids, so they are put with
 * MDB_APPEND, which finds its place without comparing and leaves full pages; a key
 * that is not the greatest falls back to an ordinary put.
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

static bool is_followed_by(const struct lmdb_writer *w, const struct batch_op *op, uint32_t steps, enum batch_kind kind)
{
    return op + steps < w->end && op[steps].kind == kind && op[steps].id == op->id;
}

int lmdb_writer_cursor(struct lmdb_writer *w, enum lmdb_tree tree, MDB_cursor **out)
{
    if (w->cursor[tree] == NULL) {
        int rc = mdb_cursor_open(w->txn, w->l->tree[tree], &w->cursor[tree]);
        if (rc != 0)
            return rc;
    }
    *out = w->cursor[tree];
    return 0;
}

int lmdb_put_last(MDB_cursor *c, MDB_val *key, MDB_val *value, unsigned flags)
{
    MDB_val wanted = *value;
    int rc = mdb_cursor_put(c, key, value, flags | MDB_APPEND);
    if (rc != MDB_KEYEXIST)
        return rc;
    *value = wanted;
    return mdb_cursor_put(c, key, value, flags);
}

static int put_body(struct lmdb_writer *w, uint64_t id, struct sl_bytes record)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_BODIES, &c);
    if (rc != 0)
        return rc;
    MDB_val key = { sizeof id, &id };
    MDB_val value = { record.n, NULL };
    rc = lmdb_put_last(c, &key, &value, MDB_RESERVE);
    if (rc == 0)
        memcpy(value.mv_data, record.p, record.n);
    return rc;
}

/* One entry, and nobody else that needs it. What is overlooked here (another entry
 * or a copy that comes later) finds the body inside all the same. */
static bool stands_alone(const struct lmdb_writer *w, const struct batch_op *op)
{
    const struct batch_op *next = op + 2;
    bool is_shared = next < w->end && next->id == op->id && (next->kind == BATCH_ENTRY || next->kind == BATCH_COPY);
    return !is_shared && is_followed_by(w, op, 1, BATCH_ENTRY);
}

static int write_body(struct lmdb_writer *w, const struct batch_op *op)
{
    w->entering = op->id;
    if (op->msg->record_bytes > STORE_ENTRY_INSIDE_MAX || !stands_alone(w, op))
        return put_body(w, op->id, message_record(op->msg));
    w->to_inside = op->id;
    return 0;
}

static int write_entry(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_ENTRIES, &c);
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_ENTRY_KEY];
    lmdb_entry_key(place, op->id, op->queue);
    MDB_val key = { sizeof place, place };
    bool inside = op->id == w->to_inside;
    w->to_inside = 0;
    MDB_val value = { store_entry_bytes(op, inside), NULL };
    rc = lmdb_put_last(c, &key, &value, MDB_RESERVE);
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

static int write_update(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_ENTRIES, &c);
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

int lmdb_delete_key(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key, bool *found)
{
    MDB_cursor *c = NULL;
    MDB_val old;
    int rc = lmdb_writer_cursor(w, tree, &c);
    if (rc == 0)
        rc = seek(c, key, &old, found);
    if (rc != 0 || !*found)
        return rc;
    return mdb_cursor_del(c, 0);
}

int lmdb_drop_key(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key)
{
    bool found = false;
    return lmdb_delete_key(w, tree, key, &found);
}

int lmdb_put_note(struct lmdb_writer *w, enum lmdb_tree tree, MDB_val key, const struct batch_note *note)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, tree, &c);
    MDB_val value = { note->n, (void *)(uintptr_t)note->bytes };
    return rc == 0 ? mdb_cursor_put(c, &key, &value, 0) : rc;
}

/* By way of a copy: writing to one tree may move the pages of another. */
static int move_body_out(struct lmdb_writer *w, uint64_t id, struct sl_bytes record)
{
    memcpy(w->l->value, record.p, record.n);
    return put_body(w, id, sl_bytes_of(w->l->value, record.n));
}

static int write_settle(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_ENTRIES, &c);
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

static int write_body_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    bool left = op->id == w->left_inside;
    w->left_inside = 0;
    if (left)
        return 0;
    uint64_t id = op->id;
    return lmdb_drop_key(w, TREE_BODIES, (MDB_val){ sizeof id, &id });
}

static int write_nothing(struct lmdb_writer *w, const struct batch_op *op)
{
    (void)w;
    (void)op;
    return 0;
}

static int (*const k_writers[])(struct lmdb_writer *w, const struct batch_op *op) = {
    [BATCH_NONE] = write_nothing,
    [BATCH_BODY] = write_body,
    [BATCH_ENTRY] = write_entry,
    [BATCH_UPDATE] = write_update,
    [BATCH_SETTLE] = write_settle,
    [BATCH_BODY_DROP] = write_body_drop,
    [BATCH_SESSION] = lmdb_write_session,
    [BATCH_SESSION_DROP] = lmdb_write_session_drop,
    [BATCH_QOS2_ADD] = lmdb_write_qos2_add,
    [BATCH_QOS2_DROP] = lmdb_write_qos2_drop,
    [BATCH_SUBSCRIPTION] = lmdb_write_subscription,
    [BATCH_SUBSCRIPTION_DROP] = lmdb_write_subscription_drop,
    [BATCH_WILL] = lmdb_write_will,
    [BATCH_WILL_DROP] = lmdb_write_will_drop,
    [BATCH_COPY] = lmdb_write_copy,
    [BATCH_COPY_DROP] = lmdb_write_copy_drop,
    [BATCH_RETAIN] = lmdb_write_retain,
    [BATCH_RETAIN_DROP] = lmdb_write_retain_drop,
    [BATCH_QUEUE] = lmdb_write_queue,
    [BATCH_DEDUP] = lmdb_write_dedup,
    [BATCH_DEDUP_DROP] = lmdb_write_dedup_drop,
    [BATCH_SCHEDULE] = lmdb_write_schedule,
    [BATCH_SCHEDULE_DROP] = lmdb_write_schedule_drop,
};

static int write_range(struct lmdb_writer *w, const struct batch *b, uint32_t from, uint32_t to)
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
    struct lmdb_writer w = { .l = l };
    int err = lmdb_error(mdb_txn_begin(l->env, NULL, 0, &w.txn), "begin");
    if (err != SL_OK)
        return err;
    err = lmdb_space_admit(l, w.txn, b);
    if (err == SL_OK)
        err = write_range(&w, b, from, to);
    uint64_t pages[LMDB_NTREES];
    if (err == SL_OK)
        err = lmdb_space_recount(l, w.cursor, pages);
    if (err != SL_OK) {
        mdb_txn_abort(w.txn);
        return err;
    }
    err = lmdb_error(mdb_txn_commit(w.txn), "commit");
    if (err == SL_OK)
        lmdb_space_keep(l, pages);
    return err;
}

/* Nothing enters. Then each record stands alone and may be in a transaction of
 * its own; an entry belongs to its body, or to the settle that moved it, and a
 * retained message to the drop of the one that it replaces. */
static bool may_be_parted(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_ENTRY || lmdb_space_takes_in(&b->ops[i]))
            return false;
    }
    return b->n > 1;
}

/* A settle and the drop of its body: apart, a body inside the entry would be moved
 * out only to be dropped, which takes room that there is not. And what a
 * transaction did, as far as it is still to be written. */
static bool stays_with(const struct batch_op *op, const struct batch_op *next)
{
    if (batch_op_bound(op) && (batch_op_bound(next) || next->kind == BATCH_RETAIN_DROP))
        return true;
    return next->kind == BATCH_BODY_DROP && op->kind == BATCH_SETTLE && op->id == next->id;
}

/* Where the part that begins at `from` ends. */
static uint32_t part_end(const struct batch *b, uint32_t from, uint32_t step)
{
    if (b->n - from <= step)
        return b->n;
    uint32_t end = from + step;
    while (end < b->n && stays_with(&b->ops[end - 1], &b->ops[end]))
        end++;
    return end;
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
