/* What queues and schedules keep beside messages: a queue's own record, what makes
 * duplicates, how far a schedule is done. */
#include "lmdb_store.h"

int lmdb_write_queue(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[4];
    sl_wr_u32be(place, op->queue);
    return lmdb_put_note(w, TREE_QUEUE_RECORDS, (MDB_val){ sizeof place, place }, op->note);
}

static void dedup_key(uint8_t out[LMDB_DEDUP_KEY], const struct batch_op *op)
{
    sl_wr_u32be(sl_wr_u64be(out, op->id), op->queue);
}

int lmdb_write_dedup(struct lmdb_writer *w, const struct batch_op *op)
{
    MDB_cursor *c = NULL;
    int rc = lmdb_writer_cursor(w, TREE_DEDUP, &c);
    if (rc != 0)
        return rc;
    uint8_t place[LMDB_DEDUP_KEY], content[LMDB_DEDUP_VALUE];
    dedup_key(place, op);
    (void)sl_wr_bytes(sl_wr_u64le(content, op->seen_ms), sl_bytes_of(op->dedup_key, sizeof op->dedup_key));
    MDB_val key = { sizeof place, place }, value = { sizeof content, content };
    return lmdb_put_last(c, &key, &value, 0);
}

int lmdb_write_dedup_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    uint8_t place[LMDB_DEDUP_KEY];
    dedup_key(place, op);
    return lmdb_drop_key(w, TREE_DEDUP, (MDB_val){ sizeof place, place });
}

static MDB_val name_key(struct sl_bytes name)
{
    return (MDB_val){ name.n, (void *)(uintptr_t)name.p };
}

int lmdb_write_schedule(struct lmdb_writer *w, const struct batch_op *op)
{
    struct batch_schedule s;
    int err = batch_schedule_decode(sl_bytes_of(op->note->bytes, op->note->n), &s);
    SL_ASSERT(err == SL_OK); /* the hub wrote it */
    return lmdb_put_note(w, TREE_SCHEDULES, name_key(s.name), op->note);
}

int lmdb_write_schedule_drop(struct lmdb_writer *w, const struct batch_op *op)
{
    return lmdb_drop_key(w, TREE_SCHEDULES, name_key(sl_bytes_of(op->note->bytes, op->note->n)));
}
