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
    assert_int_equal(batch_take_settles(from, to), 3);
    assert_int_equal(from->live, 4);
    assert_int_equal(to->live, 3);
    assert_int_equal(to->ops[0].kind, BATCH_SETTLE);
    assert_int_equal(to->ops[0].id, 3);
    assert_int_equal(to->ops[1].kind, BATCH_BODY_DROP);
    assert_int_equal(to->ops[2].id, 4);
    assert_non_null(to->ops[2].note);
    assert_int_equal(batch_take_settles(from, to), 0);
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
        assert_int_equal(batch_take_settles(from, to), 2);
        batch_free(to);
    }
    assert_int_equal(from->n, 2);
    assert_int_equal(from->live, 2);
    batch_free(from);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_keep_their_order_while_it_grows),
        cmocka_unit_test(cancel_drops_what_the_op_holds_once),
        cmocka_unit_test(the_first_ops_leave_in_their_order),
        cmocka_unit_test(reset_empties_and_lets_a_large_array_go),
        cmocka_unit_test(settles_leave_a_refused_batch_but_not_those_of_its_own_messages),
        cmocka_unit_test(a_refused_batch_does_not_grow_by_what_leaves_it),
        cmocka_unit_test(tickets_stay_in_order_and_vanish_at_reset),
        cmocka_unit_test(a_failure_is_read_as_it_was_written),
        cmocka_unit_test(a_failure_keeps_the_start_of_its_detail_and_the_end_of_its_tail),
        cmocka_unit_test(a_failure_cut_anywhere_is_a_wrong_format),
        cmocka_unit_test(a_session_is_read_as_it_was_written_and_not_when_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
