#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "hub/batch.h"

static struct message *message_of(uint64_t id)
{
    struct message_parts parts = { .id = id, .protocol = MESSAGE_MQTT3, .topic = sl_str("t"), .payload = sl_str("payload") };
    return message_new(&parts);
}

static void enqueue(struct batch *b, uint64_t id)
{
    struct message *m = message_of(id);
    struct batch_op *op = batch_add(b, BATCH_BODY);
    op->id = id;
    op->msg = m;
    b->bytes += m->record_bytes;
    op = batch_add(b, BATCH_ENTRY);
    op->id = id;
    op->msg = message_ref(m);
}

static void ops_keep_their_order_while_it_grows(void **state)
{
    (void)state;
    struct batch *b = batch_new();
    for (uint64_t i = 0; i < 1000; i++)
        batch_add(b, BATCH_SETTLE)->id = i;
    assert_int_equal(b->n, 1000);
    assert_int_equal(b->live, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(b->ops[i].id, i);
    batch_free(b);
}

static void cancel_drops_what_the_op_holds_once(void **state)
{
    (void)state;
    struct batch *b = batch_new();
    enqueue(b, 1);
    struct message *m = message_ref(b->ops[0].msg);
    assert_int_equal(m->refs, 3);
    batch_cancel(b, 0);
    batch_cancel(b, 0);
    assert_int_equal(m->refs, 2);
    assert_int_equal(b->live, 1);
    assert_int_equal(b->bytes, 0);
    assert_int_equal(b->ops[0].kind, BATCH_NONE);
    batch_free(b);
    assert_int_equal(m->refs, 1);
    message_unref(m);
}

static void the_first_ops_leave_in_their_order(void **state)
{
    (void)state;
    struct batch *b = batch_new(), *first = batch_new();
    enqueue(b, 1);
    uint64_t one = b->bytes;
    enqueue(b, 2);
    batch_cancel(b, 0);
    batch_add(b, BATCH_SETTLE)->id = 9;
    enqueue(b, 3);
    batch_take_first(b, 5, first);
    assert_int_equal(first->n, 4); /* without the cancelled one */
    assert_int_equal(first->live, 4);
    assert_int_equal(first->bytes, one);
    assert_int_equal(first->ops[1].kind, BATCH_BODY);
    assert_int_equal(first->ops[3].id, 9);
    assert_int_equal(b->base, 5);
    assert_int_equal(b->n, 2);
    assert_int_equal(b->live, 2);
    assert_int_equal(b->bytes, one);
    assert_int_equal(b->ops[0].id, 3);
    batch_free(b);
    batch_free(first);
}

static void reset_empties_and_lets_a_large_array_go(void **state)
{
    (void)state;
    struct batch *b = batch_new();
    for (uint32_t i = 0; i < 20000; i++)
        batch_add(b, BATCH_SETTLE);
    b->opened_us = 5;
    batch_reset(b);
    assert_int_equal(b->n + b->live + b->cap, 0);
    assert_int_equal(b->opened_us, 0);
    enqueue(b, 1);
    batch_reset(b);
    assert_true(b->cap > 0);
    assert_int_equal(b->bytes, 0);
    batch_free(b);
    batch_free(NULL);
}

static void settles_leave_a_refused_batch_but_not_those_of_its_own_messages(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    enqueue(from, 10);
    batch_add(from, BATCH_SETTLE)->id = 10;
    batch_add(from, BATCH_SETTLE)->id = 3;
    batch_add(from, BATCH_BODY_DROP)->id = 3;
    struct batch_failure f = { .attempt = 1 };
    struct batch_op *op = batch_add(from, BATCH_UPDATE);
    op->id = 4;
    op->note = batch_failure_encode(&f);
    batch_add(from, BATCH_SESSION_DROP)->id = 3;
    assert_int_equal(batch_take_settles(from, NULL, to), 4);
    assert_int_equal(from->live, 3);
    assert_int_equal(to->live, 4);
    assert_int_equal(to->ops[0].kind, BATCH_SETTLE);
    assert_int_equal(to->ops[0].id, 3);
    assert_int_equal(to->ops[1].kind, BATCH_BODY_DROP);
    assert_int_equal(to->ops[2].id, 4);
    assert_non_null(to->ops[2].note);
    assert_int_equal(to->ops[3].kind, BATCH_SESSION_DROP);
    assert_int_equal(batch_take_settles(from, NULL, to), 0);
    batch_free(from);
    batch_free(to);
}

/* For as long as there is no space workers settle, and what entered stays. */
static void a_refused_batch_does_not_grow_by_what_leaves_it(void **state)
{
    (void)state;
    struct batch *from = batch_new();
    enqueue(from, 10);
    for (uint64_t id = 1; id < 10; id++) {
        struct batch *to = batch_new();
        batch_add(from, BATCH_SETTLE)->id = id;
        batch_add(from, BATCH_BODY_DROP)->id = id;
        assert_int_equal(batch_take_settles(from, NULL, to), 2);
        batch_free(to);
    }
    assert_int_equal(from->n, 2);
    assert_int_equal(from->live, 2);
    batch_free(from);
}

static struct batch_op *add_copy(struct batch *b, enum batch_kind kind, uint64_t id, uint64_t session)
{
    struct batch_op *op = batch_add(b, kind);
    op->id = id;
    op->session = session;
    return op;
}

static void assert_kinds(const struct batch *b, const enum batch_kind *kinds, uint32_t n)
{
    assert_int_equal(b->n, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(b->ops[i].kind, kinds[i]);
}
#define ASSERT_KINDS(b, ...) assert_kinds((b), (const enum batch_kind[]){ __VA_ARGS__ }, SL_COUNT(((const enum batch_kind[]){ __VA_ARGS__ })))

/* A copy that goes to another member is recorded there before it is dropped here. */
static void all_that_concerns_a_message_leaves_in_its_order_or_nothing(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    add_copy(from, BATCH_COPY_DROP, 10, 1); /* before it enters: what it drops is its own */
    enqueue(from, 10);
    add_copy(from, BATCH_COPY, 10, 1);
    add_copy(from, BATCH_COPY, 3, 1)->state = BATCH_COPY_RELEASED;
    add_copy(from, BATCH_COPY, 3, 2);
    add_copy(from, BATCH_COPY_DROP, 3, 1);
    add_copy(from, BATCH_COPY_DROP, 4, 1);
    batch_add(from, BATCH_BODY_DROP)->id = 4;
    assert_int_equal(batch_take_settles(from, NULL, to), 5);
    ASSERT_KINDS(to, BATCH_COPY, BATCH_COPY, BATCH_COPY_DROP, BATCH_COPY_DROP, BATCH_BODY_DROP);
    ASSERT_KINDS(from, BATCH_COPY_DROP, BATCH_BODY, BATCH_ENTRY, BATCH_COPY);
    batch_free(from);
    batch_free(to);
}

static void add_settle(struct batch *b, uint64_t id, uint32_t queue, bool bound)
{
    struct batch_op *op = batch_add(b, BATCH_SETTLE);
    op->id = id;
    op->queue = queue;
    op->bound = bound;
}

/* The body must not be gone before the entry is. */
static void what_is_bound_stays_and_so_does_all_of_its_message(void **state)
{
    (void)state;
    for (int earlier = 0; earlier <= 1; earlier++) {
        struct batch *before = batch_new(), *from = batch_new(), *to = batch_new();
        add_settle(earlier ? before : from, 3, 1, true);
        add_settle(from, 3, 2, false);
        batch_add(from, BATCH_BODY_DROP)->id = 3;
        add_settle(from, 4, 1, false);
        batch_add(from, BATCH_BODY_DROP)->id = 4;
        assert_int_equal(batch_take_settles(from, before, to), 2);
        assert_int_equal(to->ops[0].id, 4);
        assert_int_equal(from->live, earlier ? 2 : 3);
        batch_free(before);
        batch_free(from);
        batch_free(to);
    }
}

static void a_retained_message_is_not_dropped_before_the_transaction_that_does_it(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    add_settle(from, 3, 1, true);
    batch_add(from, BATCH_RETAIN_DROP)->id = 5;
    assert_int_equal(batch_take_settles(from, NULL, to), 0);
    batch_free(from);
    batch_free(to);
}

/* They are where others have their packet id. */
static void only_answers_are_bound(void **state)
{
    (void)state;
    struct batch_op op = { .kind = BATCH_COPY, .packet_id = 1 };
    assert_false(batch_op_bound(&op));
    op.kind = BATCH_QOS2_ADD;
    assert_false(batch_op_bound(&op));
    op.kind = BATCH_UPDATE;
    assert_true(batch_op_bound(&op));
}

static void what_waits_for_the_batch_before_is_not_overtaken(void **state)
{
    (void)state;
    struct batch *before = batch_new(), *from = batch_new(), *to = batch_new();
    enqueue(before, 10);
    batch_add(before, BATCH_WILL)->id = 7;
    batch_add(before, BATCH_SUBSCRIPTION)->id = 7;
    add_copy(from, BATCH_COPY_DROP, 10, 1);
    batch_add(from, BATCH_BODY_DROP)->id = 10;
    batch_add(from, BATCH_WILL_DROP)->id = 7;
    batch_add(from, BATCH_SUBSCRIPTION_DROP)->id = 7;
    batch_add(from, BATCH_WILL_DROP)->id = 8;
    assert_int_equal(batch_take_settles(from, before, to), 1);
    assert_int_equal(to->ops[0].id, 8);
    assert_int_equal(batch_take_settles(from, NULL, to), 4);
    batch_free(before);
    batch_free(from);
    batch_free(to);
}

static void add_session(struct batch *b, uint64_t number, uint32_t expiry_s)
{
    struct batch_session s = { .expiry_s = expiry_s, .client_id = sl_str("device-1") };
    struct batch_op *op = batch_add(b, BATCH_SESSION);
    op->id = number;
    op->note = batch_session_encode(&s);
}

/* Else a crash in between would find a session that has lost its messages. */
static void a_session_that_ends_leaves_with_its_copies(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    enqueue(from, 10);
    add_copy(from, BATCH_COPY_DROP, 3, 7);
    batch_add(from, BATCH_BODY_DROP)->id = 3;
    batch_add(from, BATCH_SESSION_DROP)->id = 7;
    assert_int_equal(batch_take_settles(from, NULL, to), 3);
    ASSERT_KINDS(to, BATCH_COPY_DROP, BATCH_BODY_DROP, BATCH_SESSION_DROP);
    batch_free(from);
    batch_free(to);
}

/* What stays is written after the drop otherwise, and nothing ends it any more. Its
 * record, which has its end, goes with the copies. */
static void a_session_s_drop_stays_behind_what_concerns_the_session(void **state)
{
    (void)state;
    static const enum batch_kind kinds[] = { BATCH_SESSION, BATCH_QOS2_ADD, BATCH_SUBSCRIPTION, BATCH_WILL };
    for (size_t i = 0; i < SL_COUNT(kinds); i++) {
        struct batch *before = batch_new(), *from = batch_new(), *to = batch_new();
        batch_add(before, kinds[i])->id = 8;
        add_session(from, 7, 1);
        add_copy(from, BATCH_COPY_DROP, 3, 7);
        batch_add(from, BATCH_SESSION_DROP)->id = 7;
        batch_add(from, BATCH_SESSION_DROP)->id = 8;
        assert_int_equal(batch_take_settles(from, before, to), 1);
        ASSERT_KINDS(to, BATCH_SESSION, BATCH_COPY_DROP);
        ASSERT_KINDS(from, BATCH_SESSION, BATCH_NONE, BATCH_SESSION_DROP, BATCH_SESSION_DROP);
        batch_free(before);
        batch_free(from);
        batch_free(to);
    }
}

static void a_drop_stays_behind_what_it_drops(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    for (uint32_t number = 1; number <= 2; number++) {
        struct batch_op *op = batch_add(from, BATCH_SUBSCRIPTION_DROP);
        op->id = 7;
        op->number = number;
        if (number == 1) {
            op = batch_add(from, BATCH_SUBSCRIPTION);
            op->id = 7;
            op->number = 2;
        }
    }
    batch_add(from, BATCH_WILL_DROP)->id = 7;
    batch_add(from, BATCH_WILL)->id = 7;
    batch_add(from, BATCH_WILL_DROP)->id = 7;
    assert_int_equal(batch_take_settles(from, NULL, to), 2);
    ASSERT_KINDS(to, BATCH_SUBSCRIPTION_DROP, BATCH_WILL_DROP);
    assert_int_equal(to->ops[0].number, 1);
    ASSERT_KINDS(from, BATCH_NONE, BATCH_SUBSCRIPTION, BATCH_SUBSCRIPTION_DROP, BATCH_NONE, BATCH_WILL, BATCH_WILL_DROP);
    batch_free(from);
    batch_free(to);
}

static void add_dedup(struct batch *b, enum batch_kind kind, uint64_t id, uint32_t queue)
{
    struct batch_op *op = batch_add(b, kind);
    op->id = id;
    op->queue = queue;
    if (kind == BATCH_DEDUP)
        memset(op->dedup_key, 0xff, sizeof op->dedup_key);
}

/* It frees space, whatever enters beside it: the key has left the window. */
static void dropped_dedup_keys_leave_a_refused_batch_but_not_before_the_keys(void **state)
{
    (void)state;
    struct batch *before = batch_new(), *from = batch_new(), *to = batch_new();
    add_dedup(before, BATCH_DEDUP, 1, 1);
    enqueue(from, 10);
    add_dedup(from, BATCH_DEDUP, 10, 1);
    add_dedup(from, BATCH_DEDUP_DROP, 1, 1);
    add_dedup(from, BATCH_DEDUP_DROP, 1, 2);
    add_dedup(from, BATCH_DEDUP_DROP, 10, 1);
    add_dedup(from, BATCH_DEDUP_DROP, 10, 2);
    assert_int_equal(batch_take_settles(from, before, to), 2);
    ASSERT_KINDS(to, BATCH_DEDUP_DROP, BATCH_DEDUP_DROP);
    assert_int_equal(to->ops[0].id, 1);
    assert_int_equal(to->ops[0].queue, 2);
    assert_int_equal(to->ops[1].id, 10);
    assert_int_equal(to->ops[1].queue, 2);
    ASSERT_KINDS(from, BATCH_BODY, BATCH_ENTRY, BATCH_DEDUP, BATCH_DEDUP_DROP, BATCH_NONE, BATCH_DEDUP_DROP);
    batch_free(before);
    batch_free(from);
    batch_free(to);
}

/* They stand where other records have what they own. */
static void an_order_key_and_a_dedup_key_are_nobody_s_memory(void **state)
{
    (void)state;
    struct batch *b = batch_new();
    enqueue(b, 1);
    b->ops[1].order_key = UINT64_MAX;
    add_dedup(b, BATCH_DEDUP, 1, 1);
    enqueue(b, 2);
    b->ops[4].order_key = UINT64_MAX;
    batch_cancel(b, 2);
    batch_cancel(b, 4);
    assert_int_equal(b->live, 3);
    batch_reset(b);
    assert_int_equal(b->n, 0);
    batch_free(b);
}

static void records_of_queues_and_schedules_are_read_as_they_were_written_and_not_when_cut(void **state)
{
    (void)state;
    struct batch_queue q = { .paused = true, .order = sl_str("header:x") }, q_read;
    struct batch_schedule s = { .done_ms = UINT64_MAX - 1, .name = sl_str("nightly") }, s_read;
    struct batch_note *queue = batch_queue_encode(&q), *schedule = batch_schedule_encode(&s);
    assert_int_equal(batch_queue_decode(sl_bytes_of(queue->bytes, queue->n), &q_read), SL_OK);
    assert_true(q_read.paused && sl_bytes_is(q_read.order, "header:x"));
    assert_int_equal(batch_schedule_decode(sl_bytes_of(schedule->bytes, schedule->n), &s_read), SL_OK);
    assert_true(s_read.done_ms == UINT64_MAX - 1 && sl_bytes_is(s_read.name, "nightly"));
    for (size_t n = 0; n < queue->n; n++)
        assert_int_equal(batch_queue_decode(sl_bytes_of(queue->bytes, n), &q_read), SL_EFORMAT);
    for (size_t n = 0; n < schedule->n; n++)
        assert_int_equal(batch_schedule_decode(sl_bytes_of(schedule->bytes, n), &s_read), SL_EFORMAT);
    queue->bytes[0]++;
    schedule->bytes[0]++;
    assert_int_equal(batch_queue_decode(sl_bytes_of(queue->bytes, queue->n), &q_read), SL_EFORMAT);
    assert_int_equal(batch_schedule_decode(sl_bytes_of(schedule->bytes, schedule->n), &s_read), SL_EFORMAT);
    sl_free(queue);
    sl_free(schedule);
}

/* A crash in between would find neither the will nor what it published, neither the old nor the new. */
static void wills_and_retained_messages_do_not_leave_before_what_takes_their_place(void **state)
{
    (void)state;
    struct batch *from = batch_new(), *to = batch_new();
    batch_add(from, BATCH_WILL_DROP)->id = 7;
    batch_add(from, BATCH_RETAIN_DROP)->id = 5;
    struct batch_op *op = batch_add(from, BATCH_RETAIN);
    op->id = 6;
    op->msg = message_of(6);
    assert_int_equal(batch_take_settles(from, NULL, to), 0);
    batch_cancel(from, 2);
    assert_int_equal(batch_take_settles(from, NULL, to), 2);
    batch_free(from);
    batch_free(to);
}

/* Else a start would find a copy of a session that it does not know, and drop it. */
static void a_copy_brings_its_session_along(void **state)
{
    (void)state;
    struct batch *before = batch_new(), *from = batch_new(), *to = batch_new();
    struct batch_session s;
    add_session(before, 7, 1);
    add_session(from, 7, 2);
    add_session(from, 8, 3);
    add_copy(from, BATCH_COPY, 3, 7);
    add_copy(from, BATCH_COPY, 4, 7);
    assert_int_equal(batch_take_settles(from, before, to), 2);
    ASSERT_KINDS(to, BATCH_SESSION, BATCH_COPY, BATCH_COPY);
    ASSERT_KINDS(from, BATCH_SESSION, BATCH_SESSION);
    assert_int_equal(batch_session_decode(sl_bytes_of(to->ops[0].note->bytes, to->ops[0].note->n), &s), SL_OK);
    assert_int_equal(s.expiry_s, 2);
    batch_free(before);
    batch_free(from);
    batch_free(to);
}

static void tickets_stay_in_order_and_vanish_at_reset(void **state)
{
    (void)state;
    struct batch *b = batch_new();
    for (uint32_t i = 0; i < 100; i++)
        batch_add_ticket(b, i);
    assert_int_equal(b->n_tickets, 100);
    assert_int_equal(b->tickets[99], 99);
    batch_reset(b);
    assert_int_equal(b->n_tickets, 0);
    batch_free(b);
}

static void a_failure_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct batch_failure in = {
        .wall_ms = 123456789012, .attempt = 3, .cause = QUEUE_CAUSE_SIGNAL, .detail = sl_str("signal 9"), .tail = sl_str("last words\n") };
    struct batch_note *note = batch_failure_encode(&in);
    struct batch_failure out;
    size_t pos = 0;
    assert_int_equal(batch_failure_next(sl_bytes_of(note->bytes, note->n), &pos, &out), SL_OK);
    assert_int_equal(pos, note->n);
    assert_int_equal(out.wall_ms, in.wall_ms);
    assert_int_equal(out.attempt, 3);
    assert_int_equal(out.cause, QUEUE_CAUSE_SIGNAL);
    assert_true(sl_bytes_eq(out.detail, in.detail));
    assert_true(sl_bytes_eq(out.tail, in.tail));
    assert_int_equal(batch_failure_next(sl_bytes_of(note->bytes, note->n), &pos, &out), SL_ENOENT);
    sl_free(note);
}

static void a_failure_keeps_the_start_of_its_detail_and_the_end_of_its_tail(void **state)
{
    (void)state;
    char *detail = sl_calloc(1, 5001), *tail = sl_calloc(1, 5001);
    memset(detail, 'd', 5000);
    memset(tail, 't', 5000);
    detail[0] = 'D';
    tail[4999] = 'T';
    struct batch_failure in = { .attempt = 1, .detail = sl_str(detail), .tail = sl_str(tail) }, out;
    struct batch_note *note = batch_failure_encode(&in);
    size_t pos = 0;
    assert_int_equal(batch_failure_next(sl_bytes_of(note->bytes, note->n), &pos, &out), SL_OK);
    assert_int_equal(out.detail.n, 1024);
    assert_int_equal(out.detail.p[0], 'D');
    assert_int_equal(out.tail.n, 2048);
    assert_int_equal(out.tail.p[2047], 'T');
    sl_free(note);
    sl_free(detail);
    sl_free(tail);
}

static void a_failure_cut_anywhere_is_a_wrong_format(void **state)
{
    (void)state;
    struct batch_failure in = { .attempt = 1, .detail = sl_str("why"), .tail = sl_str("tail") }, out;
    struct batch_note *note = batch_failure_encode(&in);
    for (size_t n = 1; n < note->n; n++) {
        size_t pos = 0;
        assert_int_equal(batch_failure_next(sl_bytes_of(note->bytes, n), &pos, &out), SL_EFORMAT);
        assert_int_equal(pos, 0);
    }
    note->bytes[0]++; /* one byte more than its parts take */
    size_t pos = 0;
    assert_int_equal(batch_failure_next(sl_bytes_of(note->bytes, note->n), &pos, &out), SL_EFORMAT);
    sl_free(note);
}

static void a_session_is_read_as_it_was_written_and_not_when_cut(void **state)
{
    (void)state;
    struct batch_session in = { .expiry_s = 77, .ends_wall_ms = UINT64_MAX, .client_id = sl_str("device-1") }, out;
    struct batch_note *note = batch_session_encode(&in);
    assert_int_equal(batch_session_decode(sl_bytes_of(note->bytes, note->n), &out), SL_OK);
    assert_int_equal(out.expiry_s, 77);
    assert_true(out.ends_wall_ms == UINT64_MAX);
    assert_true(sl_bytes_is(out.client_id, "device-1"));
    for (size_t n = 0; n < note->n; n++)
        assert_int_equal(batch_session_decode(sl_bytes_of(note->bytes, n), &out), SL_EFORMAT);
    note->bytes[0] = 2;
    assert_int_equal(batch_session_decode(sl_bytes_of(note->bytes, note->n), &out), SL_EFORMAT);
    sl_free(note);
}

static void a_subscription_is_read_as_it_was_written_and_not_when_cut(void **state)
{
    (void)state;
    struct batch_subscription in = { .qos = 2, .no_local = true, .subscription_id = 268435455, .group = sl_str("workers"), .filter = sl_str("a/+/#") }, out;
    struct batch_note *note = batch_subscription_encode(&in);
    struct sl_bytes record = sl_bytes_of(note->bytes, note->n);
    assert_int_equal(batch_subscription_decode(record, &out), SL_OK);
    assert_int_equal(out.qos, 2);
    assert_true(out.no_local && !out.retain_as_published);
    assert_int_equal(out.subscription_id, 268435455);
    assert_true(sl_bytes_is(out.group, "workers") && sl_bytes_is(out.filter, "a/+/#"));
    for (size_t n = 0; n < note->n; n++)
        assert_int_equal(batch_subscription_decode(sl_bytes_of(note->bytes, n), &out), SL_EFORMAT);
    note->bytes[1] = 8 | 1;
    assert_int_equal(batch_subscription_decode(record, &out), SL_OK);
    assert_true(out.qos == 1 && !out.no_local && out.retain_as_published);
    note->bytes[1] = 3;
    assert_int_equal(batch_subscription_decode(record, &out), SL_EFORMAT);
    note->bytes[1] = 0;
    note->bytes[0] = 2;
    assert_int_equal(batch_subscription_decode(record, &out), SL_EFORMAT);
    sl_free(note);
}

static void a_will_is_read_as_it_was_written_and_not_when_cut(void **state)
{
    (void)state;
    struct message *m = message_of(9);
    struct batch_will in = { .has_expiry = true, .delay_s = UINT32_MAX, .expiry_ms = 1u << 20, .message = message_record(m) }, out;
    struct batch_note *note = batch_will_encode(&in);
    assert_int_equal(batch_will_decode(sl_bytes_of(note->bytes, note->n), &out), SL_OK);
    assert_true(out.has_expiry && out.delay_s == UINT32_MAX && out.expiry_ms == 1u << 20);
    assert_true(sl_bytes_eq(out.message, message_record(m)));
    for (size_t n = 0; n < note->n - m->record_bytes; n++)
        assert_int_equal(batch_will_decode(sl_bytes_of(note->bytes, n), &out), SL_EFORMAT);
    note->bytes[0] = 2;
    assert_int_equal(batch_will_decode(sl_bytes_of(note->bytes, note->n), &out), SL_EFORMAT);
    sl_free(note);
    message_unref(m);
}

static void ids_are_four_bytes_each_and_none_are_no_note(void **state)
{
    (void)state;
    const uint32_t ids[] = { 1, 0x04030201 };
    struct batch_note *note = batch_ids_encode(ids, 2);
    static const uint8_t expected[] = { 1, 0, 0, 0, 1, 2, 3, 4 };
    assert_int_equal(note->n, sizeof expected);
    assert_memory_equal(note->bytes, expected, sizeof expected);
    sl_free(note);
    assert_null(batch_ids_encode(ids, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_keep_their_order_while_it_grows),
        cmocka_unit_test(cancel_drops_what_the_op_holds_once),
        cmocka_unit_test(the_first_ops_leave_in_their_order),
        cmocka_unit_test(reset_empties_and_lets_a_large_array_go),
        cmocka_unit_test(settles_leave_a_refused_batch_but_not_those_of_its_own_messages),
        cmocka_unit_test(a_refused_batch_does_not_grow_by_what_leaves_it),
        cmocka_unit_test(all_that_concerns_a_message_leaves_in_its_order_or_nothing),
        cmocka_unit_test(what_is_bound_stays_and_so_does_all_of_its_message),
        cmocka_unit_test(a_retained_message_is_not_dropped_before_the_transaction_that_does_it),
        cmocka_unit_test(only_answers_are_bound),
        cmocka_unit_test(what_waits_for_the_batch_before_is_not_overtaken),
        cmocka_unit_test(a_session_that_ends_leaves_with_its_copies),
        cmocka_unit_test(a_session_s_drop_stays_behind_what_concerns_the_session),
        cmocka_unit_test(a_drop_stays_behind_what_it_drops),
        cmocka_unit_test(dropped_dedup_keys_leave_a_refused_batch_but_not_before_the_keys),
        cmocka_unit_test(an_order_key_and_a_dedup_key_are_nobody_s_memory),
        cmocka_unit_test(records_of_queues_and_schedules_are_read_as_they_were_written_and_not_when_cut),
        cmocka_unit_test(wills_and_retained_messages_do_not_leave_before_what_takes_their_place),
        cmocka_unit_test(a_copy_brings_its_session_along),
        cmocka_unit_test(tickets_stay_in_order_and_vanish_at_reset),
        cmocka_unit_test(a_failure_is_read_as_it_was_written),
        cmocka_unit_test(a_failure_keeps_the_start_of_its_detail_and_the_end_of_its_tail),
        cmocka_unit_test(a_failure_cut_anywhere_is_a_wrong_format),
        cmocka_unit_test(a_session_is_read_as_it_was_written_and_not_when_cut),
        cmocka_unit_test(a_subscription_is_read_as_it_was_written_and_not_when_cut),
        cmocka_unit_test(a_will_is_read_as_it_was_written_and_not_when_cut),
        cmocka_unit_test(ids_are_four_bytes_each_and_none_are_no_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
