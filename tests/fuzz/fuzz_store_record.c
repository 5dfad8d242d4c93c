/* What the store reads back from disk besides messages: an entry's value, its
 * failure history, a session's record. The first byte chooses. Whatever is
 * decoded must survive being written and read again. */
#include <stdlib.h>

#include "core/alloc.h"
#include "store/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static uint32_t walk(struct sl_bytes history, struct batch_failure *last)
{
    size_t pos = 0, before = 0;
    uint32_t n = 0;
    while (batch_failure_next(history, &pos, last) == SL_OK) {
        must(pos > before && pos <= history.n);
        before = pos;
        n++;
    }
    return n;
}

static void fuzz_history(struct sl_bytes in)
{
    struct batch_failure f, again;
    if (walk(in, &f) == 0)
        return;
    struct batch_note *note = batch_failure_encode(&f);
    must(walk(sl_bytes_of(note->bytes, note->n), &again) == 1);
    must(again.wall_ms == f.wall_ms && again.attempt == f.attempt && again.detail.n <= 1024 && again.tail.n <= 2048);
    sl_free(note);
}

/* The value without the message's record: the same entry. */
static void fuzz_telling(struct sl_bytes in, const struct store_entry *e)
{
    struct sl_buf told = { 0 };
    struct store_entry same;
    must(store_entry_tell(in, &told) == SL_OK);
    must(store_entry_decode(sl_buf_view(&told), &same) == SL_OK);
    must(same.record.n == 0 && sl_bytes_eq(same.history, e->history) && same.record_bytes == e->record_bytes);
    must(same.state == e->state && same.attempts == e->attempts && same.expires_at == e->expires_at && same.due_ms == e->due_ms);
    sl_buf_fini(&told);
}

/* An update with any note leaves a value that decodes, with a bounded history. */
static void fuzz_entry(struct sl_bytes in)
{
    struct store_entry e, after;
    if (store_entry_decode(in, &e) != SL_OK)
        return;
    struct queue_restored r;
    store_entry_restore(&e, 1, &r);
    must(sl_bytes_eq(store_entry_inside(in), e.record));
    fuzz_telling(in, &e);
    must(r.state == QUEUE_READY || r.state == QUEUE_DELAYED || r.state == QUEUE_DEAD);
    struct batch_op op = { .state = QUEUE_DEAD, .attempts = 7, .due_ms = 8 };
    op.note = sl_alloc(sizeof *op.note + e.history.n);
    op.note->n = (uint32_t)e.history.n;
    if (e.history.n > 0)
        memcpy(op.note->bytes, e.history.p, e.history.n);
    uint8_t out[STORE_ENTRY_MAX];
    size_t n = 0;
    must(store_entry_update(in, &op, out, &n) == SL_OK && n <= sizeof out);
    must(store_entry_decode(sl_bytes_of(out, n), &after) == SL_OK);
    struct batch_failure last;
    must(after.state == QUEUE_DEAD && after.attempts == 7 && after.due_ms == 8 && walk(after.history, &last) <= STORE_ENTRY_FAILURES);
    must(sl_bytes_eq(after.record, e.record));
    must(after.record_bytes == e.record_bytes && after.expires_at == e.expires_at && after.priority == e.priority);
    sl_free(op.note);
}

static void fuzz_session(struct sl_bytes in)
{
    struct batch_session s;
    if (batch_session_decode(in, &s) != SL_OK)
        return;
    struct batch_note *note = batch_session_encode(&s);
    must(sl_bytes_eq(in, sl_bytes_of(note->bytes, note->n)));
    sl_free(note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sl_bytes rest = sl_bytes_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0:
        fuzz_entry(rest);
        break;
    case 1:
        fuzz_history(rest);
        break;
    default:
        fuzz_session(rest);
        break;
    }
    return 0;
}
