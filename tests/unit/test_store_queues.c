/* What every engine promises of the records that queues and schedules have beside their
 * messages, and of what an entry tells of its message: each case runs on all of them. */
#include "store_fixture.h"

/* Whether its record is small or large, of one queue or of two; 8 bytes when there is one. */
static void an_order_key_comes_back_until_the_entry_is_settled(void **state)
{
    static const size_t payloads[] = { 10, 3000 };
    struct fixture *f = *state;
    for (uint64_t id = 1; id <= SL_COUNT(payloads); id++) {
        kit_enqueue(f->b, id, 1, payloads[id - 1]);
        kit_order(f->b, UINT64_MAX - id);
        kit_enqueue(f->b, id + 2, 1, payloads[id - 1]);
        struct batch_op *op = batch_add(f->b, BATCH_ENTRY);
        op->id = id + 2;
        op->queue = 2;
        op->msg = kit_message(id + 2, payloads[id - 1]);
        op->order_key = id;
    }
    kit_apply(f->st, f->b);
    for (uint32_t attempts = 1; attempts <= 2; attempts++)
        kit_update(f->b, 1, 1, attempts, "tail");
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "entry 1 queue=1 delayed attempts=2 due=9002 record=80 priority=1 expires=0 body=80 value=104 order=fffffffffffffffe\n"
                      "entry 2 queue=1 ready attempts=0 due=0 record=3070 priority=2 expires=0 relative body=3070 value=40 order=fffffffffffffffd\n"
                      "entry 3 queue=1 ready attempts=0 due=0 record=80 priority=3 expires=5003 body=80 value=32\n"
                      "entry 3 queue=2 ready attempts=0 due=0 record=80 priority=3 expires=5003 body=80 value=40 order=1\n"
                      "entry 4 queue=1 ready attempts=0 due=0 record=3070 priority=4 expires=0 relative body=3070 value=32\n"
                      "entry 4 queue=2 ready attempts=0 due=0 record=3070 priority=4 expires=0 relative body=3070 value=40 order=2\n");
}

static void the_body_behind_an_order_key_is_whole(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_order(f->b, 1);
    kit_apply(f->st, f->b);
    reopen(f);
    struct message *m = fetch_one(f, 1), *whole = kit_message(1, 10);
    assert_non_null(m);
    assert_true(sl_bytes_eq(message_record(m), message_record(whole)));
    message_unref(m);
    message_unref(whole);
}

/* Its history may have been left out; and who is not dead has no cause. */
static void the_cause_of_a_death_comes_back_without_a_history(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 1; id <= 3; id++)
        kit_enqueue(f->b, id, 1, 10);
    kit_dead(f->b, 1, 1, QUEUE_CAUSE_EXPIRED);
    kit_dead(f->b, 2, 1, QUEUE_CAUSE_REJECTED);
    kit_update(f->b, 3, 1, 1, "");
    kit_update(f->b, 2, 1, 1, ""); /* alive again */
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "entry 1 queue=1 dead attempts=1 due=8000 record=80 priority=1 expires=0 body=80 value=32 cause=expired\n"
                      "entry 2 queue=1 delayed attempts=1 due=9001 record=80 priority=2 expires=0 relative body=80 value=62\n"
                      "entry 3 queue=1 delayed attempts=1 due=9001 record=80 priority=3 expires=5003 body=80 value=62\n");
}

/* Small and large, of one queue and of two, after the one that had it inside is settled. */
static void job_ids_are_told_wherever_the_body_stands(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 10, 1, 0);
    kit_make_job(f->b, 10);
    kit_enqueue(f->b, 11, 1, 0);
    kit_make_job(f->b, 3000);
    kit_enqueue(f->b, 12, 1, 0);
    kit_make_job(f->b, 10);
    kit_enqueue(f->b, 13, 1, 10);
    kit_apply(f->st, f->b);
    struct batch_op *op = batch_add(f->b, BATCH_ENTRY); /* the body stands inside the first entry */
    op->id = 12;
    op->queue = 2;
    op->msg = kit_job(12, 10);
    kit_apply(f->st, f->b);
    reopen(f);
    static const char *const ends[] = { "job=job-a\n", "job=job-b\n", "job=job-c\n", "job=job-c\n", "value=32\n" };
    char *content = kit_content(f->st), *line = content;
    for (size_t i = 0; i < SL_COUNT(ends); i++) {
        char *end = strchr(line, '\n') + 1;
        assert_memory_equal(end - strlen(ends[i]), ends[i], strlen(ends[i]));
        line = end;
    }
    assert_string_equal(line, "");
    sl_free(content);
}

static void a_dedup_key_outlives_its_message_until_it_is_dropped(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 4, 2, 10);
    kit_dedup(f->b, 4, 2, 0x11);
    kit_dedup(f->b, 4, 1, 0x22);
    kit_dedup(f->b, 3, 2, 0x33); /* its message was never written; and later in the tree's order than in the batch's */
    kit_apply(f->st, f->b);
    kit_settle(f->b, 4, 2);
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "dedup 3 queue=2 seen=151 key=33333333333333333333333333333333\n"
                      "dedup 4 queue=1 seen=134 key=22222222222222222222222222222222\n"
                      "dedup 4 queue=2 seen=117 key=11111111111111111111111111111111\n");
    kit_dedup_drop(f->b, 4, 2);
    kit_dedup_drop(f->b, 4, 2); /* gone already */
    kit_dedup_drop(f->b, 9, 9);
    kit_dedup(f->b, 3, 2, 0x44);
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "dedup 3 queue=2 seen=168 key=44444444444444444444444444444444\n"
                      "dedup 4 queue=1 seen=134 key=22222222222222222222222222222222\n");
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.dedup_keys, 2);
}

static void records_of_queues_and_schedules_are_replaced_by_name(void **state)
{
    struct fixture *f = *state;
    kit_queue_record(f->b, 300, false, "client");
    kit_queue_record(f->b, 2, true, "none");
    kit_schedule(f->b, "b", 1);
    kit_schedule(f->b, "ab", 2);
    kit_schedule(f->b, "a", 3);
    kit_apply(f->st, f->b);
    kit_queue_record(f->b, 2, false, "header:x");
    kit_schedule(f->b, "b", 4);
    kit_schedule_drop(f->b, "a");
    kit_schedule_drop(f->b, "abc"); /* there is none */
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "record 2 order=header:x\nrecord 300 order=client\nschedule ab done=2\nschedule b done=4\n");
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.schedules, 2);
}

int main(void)
{
    static struct fixture on_lmdb = { .engine = "lmdb" }, on_memory = { .engine = "memory" };
    const struct CMUnitTest tests[] = {
        BOTH(an_order_key_comes_back_until_the_entry_is_settled),
        BOTH(the_body_behind_an_order_key_is_whole),
        BOTH(the_cause_of_a_death_comes_back_without_a_history),
        BOTH(job_ids_are_told_wherever_the_body_stands),
        BOTH(a_dedup_key_outlives_its_message_until_it_is_dropped),
        BOTH(records_of_queues_and_schedules_are_replaced_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
