/* The ledger finds each kind of fault, and the witness feeds it. */
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/ledger.h"
#include "bench/stamp.h"
#include "bench/witness.h"
#include "core/alloc.h"

static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/bench-ledger-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/ledger", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct ledger *fresh(uint64_t run, uint32_t connections)
{
    struct ledger *l;
    assert_int_equal(ledger_create(path, run, connections, &l), SL_OK);
    return l;
}

static void loss_is_what_was_answered_and_not_seen(void **state)
{
    (void)state;
    struct ledger *all = fresh(1, 3), *one, *two;
    struct ledger_verdict v;
    const uint64_t sent[3] = { 300, 1, 0 };
    assert_int_equal(ledger_attach(path, 1, &one), SL_OK);
    assert_int_equal(ledger_attach(path, 1, &two), SL_OK);
    for (uint64_t i = 0; i < 300; i++) {
        if (i != 299)
            ledger_answered(all, 0, i);
        if (i != 77 && i != 128)
            assert_int_equal(ledger_see(i % 2 == 0 ? one : two, 0, i), LEDGER_FIRST);
    }
    ledger_answered(all, 1, 0);
    ledger_judge(all, sent, &v);
    assert_int_equal(v.answered, 300);
    assert_int_equal(v.lost, 3);
    assert_int_equal(v.unanswered, 1);
    assert_int_equal(v.seen, 298);
    ledger_free(one);
    ledger_free(two);
    ledger_free(all);
}

static void a_repetition_is_found_across_consumers(void **state)
{
    (void)state;
    struct ledger *all = fresh(2, 1), *one, *two;
    assert_int_equal(ledger_attach(path, 2, &one), SL_OK);
    assert_int_equal(ledger_attach(path, 2, &two), SL_OK);
    assert_int_equal(ledger_see(one, 0, 5), LEDGER_FIRST);
    assert_int_equal(ledger_see(two, 0, 5), LEDGER_REPEATED);
    assert_int_equal(ledger_see(two, 1, 5), LEDGER_UNTRACKED);
    assert_int_equal(ledger_see(two, 0, LEDGER_MAX_SEQUENCE), LEDGER_UNTRACKED);
    ledger_free(one);
    ledger_free(two);
    ledger_free(all);
}

static void another_runs_ledger_is_not_attached(void **state)
{
    (void)state;
    struct ledger *all = fresh(3, 1), *one;
    assert_int_equal(ledger_attach(path, 4, &one), SL_ENOENT);
    assert_int_equal(ledger_attach("/nonexistent/ledger", 3, &one), SL_ENOENT);
    ledger_free(all);
}

static enum witness_verdict see(struct witness *w, uint64_t sequence, uint32_t attempt)
{
    uint8_t payload[40] = { 0 };
    stamp_write(payload, &(struct stamp){ 0, 9, sequence, 1 });
    return witness_see(w, sl_bytes_of(payload, sizeof payload), attempt);
}

static void a_witness_tells_order_repetition_and_strangers(void **state)
{
    (void)state;
    struct ledger *all = fresh(9, 1);
    struct witness *w = witness_new(&(struct witness_options){ .ledger = path });
    static const uint64_t order[] = { 0, 1, 3, 2, 3, 4 };
    struct ledger_seat *s = SL_NEW(struct ledger_seat);
    ledger_measure_from(all, 1);
    for (size_t i = 0; i < SL_COUNT(order); i++)
        assert_int_equal(see(w, order[i], 1), WITNESS_ACK);
    assert_int_equal(witness_see(w, sl_str("not one of ours, although it is long enough"), 1),
                     WITNESS_ACK);
    ledger_sum(all, s);
    assert_int_equal(s->received, 6);
    assert_int_equal(s->out_of_order, 1);
    assert_int_equal(s->repeated, 1);
    assert_int_equal(s->foreign, 1);
    assert_int_equal(s->latency.total, 5);
    sl_free(s);
    witness_free(w);
    ledger_free(all);
}

static enum witness_verdict see_sent_at(struct witness *w, uint64_t sequence, uint64_t sent_ns)
{
    uint8_t payload[40] = { 0 };
    stamp_write(payload, &(struct stamp){ 0, 9, sequence, sent_ns });
    return witness_see(w, sl_bytes_of(payload, sizeof payload), 1);
}

/* The older message would have the larger latency. */
static void what_was_sent_while_warming_has_no_part_in_the_latency(void **state)
{
    (void)state;
    struct ledger *all = fresh(9, 1);
    struct witness *w = witness_new(&(struct witness_options){ .ledger = path });
    struct ledger_seat *s = SL_NEW(struct ledger_seat);
    uint64_t from = UINT64_C(1) << 62; /* later than any clock: its latency is 0 */
    assert_int_equal(see_sent_at(w, 0, from), WITNESS_ACK);
    ledger_measure_from(all, from);
    assert_int_equal(see_sent_at(w, 1, from - 1), WITNESS_ACK);
    assert_int_equal(see_sent_at(w, 2, 1), WITNESS_ACK);
    assert_int_equal(see_sent_at(w, 3, from), WITNESS_ACK);
    ledger_sum(all, s);
    assert_int_equal(s->received, 4);
    assert_int_equal(s->latency.total, 1);
    assert_int_equal(s->latency.max, 0);
    sl_free(s);
    witness_free(w);
    ledger_free(all);
}

static void a_failure_on_purpose_happens_once_and_is_not_seen(void **state)
{
    (void)state;
    struct ledger *all = fresh(9, 1);
    struct witness *w =
        witness_new(&(struct witness_options){ .ledger = path, .fail_percent = 10 });
    struct ledger_verdict v;
    const uint64_t sent = 1000;
    unsigned failed = 0;
    for (uint64_t i = 0; i < sent; i++) {
        ledger_answered(all, 0, i);
        if (see(w, i, 1) == WITNESS_FAIL) {
            failed++;
            assert_int_equal(see(w, i, 1 + (uint32_t)(i % 2)),
                             WITNESS_ACK); /* a server may not tell */
        }
    }
    ledger_judge(all, &sent, &v);
    assert_in_range(failed, 60, 140);
    assert_int_equal(v.lost, 0);
    witness_free(w);
    ledger_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loss_is_what_was_answered_and_not_seen),
        cmocka_unit_test(a_repetition_is_found_across_consumers),
        cmocka_unit_test(another_runs_ledger_is_not_attached),
        cmocka_unit_test(a_witness_tells_order_repetition_and_strangers),
        cmocka_unit_test(what_was_sent_while_warming_has_no_part_in_the_latency),
        cmocka_unit_test(a_failure_on_purpose_happens_once_and_is_not_seen),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
