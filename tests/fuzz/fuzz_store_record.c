/* What the store reads back from disk besides messages: an entry's value, its
 * failure history, the records of a session, a subscription, a will, a copy, a queue,
 * a schedule. The first byte chooses. Whatever is decoded must survive being written
 * and read again. */
#include <stdlib.h>

#include "core/alloc.h"
#include "store/copy.h"
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
    must(same.order_key == e->order_key && same.cause == e->cause && same.has_job == e->has_job);
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
    must(r.order_key == e.order_key && (r.state == QUEUE_DEAD || r.cause == QUEUE_CAUSE_NONE) && r.cause <= QUEUE_CAUSE_WORKER_KILLED);
    must(r.job_id.n == 0 || (r.job_id.p >= e.record.p && r.job_id.p + r.job_id.n <= e.record.p + e.record.n));
    must(sl_bytes_eq(store_entry_inside(in), e.record));
    fuzz_telling(in, &e);
    must(r.state == QUEUE_READY || r.state == QUEUE_DELAYED || r.state == QUEUE_DEAD);
    struct batch_op op = { .state = QUEUE_DEAD, .attempts = 7, .due_ms = 8, .cause = QUEUE_CAUSE_EXIT };
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
    must(after.order_key == e.order_key && after.has_job == e.has_job && after.cause == QUEUE_CAUSE_EXIT);
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

static void fuzz_subscription(struct sl_bytes in)
{
    struct batch_subscription s, again;
    if (batch_subscription_decode(in, &s) != SL_OK)
        return;
    must(s.qos <= 2 && s.filter.n > 0);
    struct batch_note *note = batch_subscription_encode(&s);
    must(batch_subscription_decode(sl_bytes_of(note->bytes, note->n), &again) == SL_OK);
    must(again.qos == s.qos && again.no_local == s.no_local && again.retain_as_published == s.retain_as_published);
    must(again.subscription_id == s.subscription_id && sl_bytes_eq(again.group, s.group) && sl_bytes_eq(again.filter, s.filter));
    sl_free(note);
}

static void fuzz_will(struct sl_bytes in)
{
    struct batch_will w, again;
    if (batch_will_decode(in, &w) != SL_OK)
        return;
    struct batch_note *note = batch_will_encode(&w);
    must(batch_will_decode(sl_bytes_of(note->bytes, note->n), &again) == SL_OK);
    must(again.has_expiry == w.has_expiry && again.delay_s == w.delay_s && again.expiry_ms == w.expiry_ms);
    must(sl_bytes_eq(again.message, w.message));
    sl_free(note);
}

static void fuzz_copy(struct sl_bytes in)
{
    struct store_copy c = { .session = 1 }, again = c;
    if (store_copy_decode(in, &c) != SL_OK)
        return;
    must(c.ids.n % 4 == 0 && STORE_COPY_FIXED + c.ids.n <= in.n);
    struct batch_op op = { .kind = BATCH_COPY, .state = c.state, .copy_flags = c.flags, .packet_id = c.packet_id };
    op.note = sl_alloc(sizeof *op.note + c.ids.n);
    op.note->n = (uint32_t)c.ids.n;
    if (c.ids.n > 0)
        memcpy(op.note->bytes, c.ids.p, c.ids.n);
    size_t n = store_copy_bytes(&op);
    uint8_t *value = sl_alloc(n);
    store_copy_encode(&op, value);
    must(store_copy_decode(sl_bytes_of(value, n), &again) == SL_OK);
    must(again.state == c.state && again.flags == c.flags && again.packet_id == c.packet_id && sl_bytes_eq(again.ids, c.ids));
    sl_free(value);
    sl_free(op.note);
}

static void fuzz_queue(struct sl_bytes in)
{
    struct batch_queue q, again;
    if (batch_queue_decode(in, &q) != SL_OK)
        return;
    struct batch_note *note = batch_queue_encode(&q);
    must(batch_queue_decode(sl_bytes_of(note->bytes, note->n), &again) == SL_OK);
    must(again.paused == q.paused && sl_bytes_eq(again.order, q.order));
    sl_free(note);
}

static void fuzz_schedule(struct sl_bytes in)
{
    struct batch_schedule s, again;
    if (batch_schedule_decode(in, &s) != SL_OK)
        return;
    struct batch_note *note = batch_schedule_encode(&s);
    must(batch_schedule_decode(sl_bytes_of(note->bytes, note->n), &again) == SL_OK);
    must(again.done_ms == s.done_ms && again.mark == s.mark && sl_bytes_eq(again.name, s.name));
    sl_free(note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sl_bytes rest = sl_bytes_of(data + 1, size - 1);
    static void (*const kinds[])(struct sl_bytes in) = { fuzz_entry, fuzz_history, fuzz_session, fuzz_subscription, fuzz_will, fuzz_copy, fuzz_queue, fuzz_schedule };
    kinds[data[0] % SL_COUNT(kinds)](rest);
    return 0;
}
