/* What every engine promises: each case runs on all of them. */
#include <stdio.h>

#include "store/entry.h"
#include "store_fixture.h"

static void a_new_store_is_empty(void **state)
{
    struct fixture *f = *state;
    assert_content(f, "");
    assert_true(store_boot(f->st) > 0);
    kit_apply(f->st, f->b); /* an empty batch is no error */
}

static void the_scenario_comes_back_after_every_batch(void **state)
{
    struct fixture *f = *state;
    for (uint32_t i = 1; i <= KIT_SCENARIO_BATCHES; i++) {
        kit_scenario(i, f->b);
        kit_apply(f->st, f->b);
        reopen(f);
        char *expected = kit_scenario_content(i);
        assert_content(f, expected);
        sl_free(expected);
    }
}

static void load_tells_state_priority_and_expiry_without_bodies(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 12, 7, 100);
    f->b->ops[1].state = QUEUE_LEASED; /* leased before it was committed */
    kit_enqueue(f->b, 13, 7, 100);
    f->b->ops[3].state = QUEUE_DELAYED;
    f->b->ops[3].due_ms = 77;
    f->b->ops[3].attempts = 2;
    kit_apply(f->st, f->b);
    reopen(f);
    struct message *m = kit_message(12, 100);
    char expected[512];
    snprintf(expected, sizeof expected,
             "entry c queue=7 ready attempts=0 due=0 record=%u priority=2 expires=5012 relative body=%u value=32\n"
             "entry d queue=7 delayed attempts=2 due=77 record=%u priority=3 expires=0 body=%u value=32\n",
             m->record_bytes, m->record_bytes, m->record_bytes, m->record_bytes);
    message_unref(m);
    assert_content(f, expected);
}

static void cancelled_records_are_skipped(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_enqueue(f->b, 2, 1, 10);
    batch_cancel(f->b, 0);
    batch_cancel(f->b, 1);
    kit_apply(f->st, f->b);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.entries, 1);
    struct message *m = fetch_one(f, 2);
    assert_non_null(m);
    message_unref(m);
    assert_null(fetch_one(f, 1));
}

/* What moves to another queue: its new entry comes, the old one goes, the body stays. */
static void a_body_outlives_the_entry_that_it_came_with(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_enqueue(f->b, 2, 1, 10);
    kit_apply(f->st, f->b);
    struct message *whole = kit_message(1, 10);
    struct batch_op *op = batch_add(f->b, BATCH_ENTRY);
    op->id = 1;
    op->queue = 5;
    op->msg = message_ref(whole);
    op = batch_add(f->b, BATCH_SETTLE);
    op->id = 1;
    op->queue = 1;
    kit_apply(f->st, f->b);
    reopen(f);
    struct message *m = fetch_one(f, 1);
    assert_non_null(m);
    assert_true(sl_bytes_eq(message_record(m), message_record(whole)));
    message_unref(m);
    message_unref(whole);
    kit_settle(f->b, 1, 5);
    kit_settle(f->b, 2, 1);
    kit_apply(f->st, f->b);
    assert_content(f, "");
    assert_null(fetch_one(f, 1));
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.bodies + info.entries, 0);
}

/* The body is kept once, whichever of its entries goes first. */
static void a_small_message_of_several_queues_is_settled_in_any_order(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 1; id <= 2; id++) {
        kit_enqueue(f->b, id, 1, 10);
        struct batch_op *op = batch_add(f->b, BATCH_ENTRY);
        op->id = id;
        op->queue = 2;
        op->msg = kit_message(id, 10);
    }
    kit_apply(f->st, f->b);
    for (uint64_t id = 1; id <= 2; id++) {
        struct batch_op *op = batch_add(f->b, BATCH_SETTLE);
        op->id = id;
        op->queue = (uint32_t)id;
    }
    kit_apply(f->st, f->b);
    for (uint64_t id = 1; id <= 2; id++) {
        struct message *m = fetch_one(f, id);
        assert_non_null(m);
        message_unref(m);
        kit_settle(f->b, id, 3 - (uint32_t)id);
    }
    kit_apply(f->st, f->b);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.bodies + info.entries, 0);
}

/* A message with its body inside fails and fails again: the body survives its history. */
static void a_small_body_survives_updates(void **state)
{
    struct fixture *f = *state;
    char tail[BATCH_FAILURE_TAIL_MAX + 1];
    memset(tail, 't', sizeof tail - 1);
    tail[sizeof tail - 1] = '\0';
    kit_enqueue(f->b, 1, 1, 300);
    kit_apply(f->st, f->b);
    for (uint32_t attempt = 1; attempt <= STORE_ENTRY_FAILURES + 2; attempt++) {
        kit_update(f->b, 1, 1, attempt, tail);
        kit_apply(f->st, f->b);
        struct message *m = fetch_one(f, 1), *whole = kit_message(1, 300);
        assert_non_null(m);
        assert_true(sl_bytes_eq(message_record(m), message_record(whole)));
        message_unref(m);
        message_unref(whole);
    }
    reopen(f);
    kit_settle(f->b, 1, 1);
    kit_apply(f->st, f->b);
    assert_content(f, "");
}

static void records_of_missing_entries_are_counted_and_no_error(void **state)
{
    struct fixture *f = *state;
    kit_settle(f->b, 5, 1);
    kit_update(f->b, 6, 1, 1, "");
    batch_add(f->b, BATCH_SESSION_DROP)->id = 9;
    batch_add(f->b, BATCH_QOS2_DROP)->id = 9;
    kit_apply(f->st, f->b);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.missing_settles, 1);
    assert_int_equal(info.missing_updates, 1);
    assert_int_equal(info.entries, 0);
}

static void ids_out_of_order_are_stored_too(void **state)
{
    struct fixture *f = *state;
    static const uint64_t ids[] = { 50, 10, 40, 20, 30, 60 };
    for (size_t i = 0; i < SL_COUNT(ids); i++) {
        kit_enqueue(f->b, ids[i], 2, 200);
        kit_enqueue(f->b, ids[i], 1, 200);
        kit_apply(f->st, f->b);
    }
    reopen(f);
    char *content = kit_content(f->st);
    const char *at = content;
    for (uint64_t id = 10; id <= 60; id += 10) {
        for (unsigned queue = 1; queue <= 2; queue++) {
            char line[64];
            snprintf(line, sizeof line, "entry %llx queue=%u ", (unsigned long long)id, queue);
            const char *found = strstr(at, line);
            assert_non_null(found);
            at = found;
        }
    }
    sl_free(content);
}

static void an_entry_may_leave_and_return_in_one_batch(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_apply(f->st, f->b);
    struct batch_op *op = batch_add(f->b, BATCH_SETTLE);
    op->id = 1;
    op->queue = 1;
    op = batch_add(f->b, BATCH_ENTRY);
    op->id = 1;
    op->queue = 1;
    op->state = QUEUE_DEAD;
    op->msg = kit_message(1, 10);
    kit_apply(f->st, f->b);
    reopen(f);
    char *content = kit_content(f->st);
    assert_non_null(strstr(content, "entry 1 queue=1 dead"));
    sl_free(content);
}

static void fetch_gives_bodies_and_null_for_unknown_ids(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_enqueue(f->b, 2, 1, 70000);
    kit_apply(f->st, f->b);
    reopen(f);
    uint64_t ids[] = { 2, 99, 1 };
    uint32_t entries[3] = { 0 };
    struct message *msgs[3];
    struct batch_fetch fetch = { .n = 3, .ids = ids, .entries = entries, .msgs = msgs };
    store_fetch(f->st, &fetch);
    assert_int_equal(fetch.err, SL_OK);
    struct message *large = kit_message(2, 70000);
    assert_true(sl_bytes_eq(message_record(msgs[0]), message_record(large)));
    assert_null(msgs[1]);
    assert_int_equal(message_id(msgs[2]), 1);
    message_unref(large);
    message_unref(msgs[0]);
    message_unref(msgs[2]);
}

static void read_entry(struct fixture *f, uint64_t id, struct sl_buf *value, struct store_entry *e)
{
    assert_int_equal(store_history(f->st, 1, id, value), SL_OK);
    assert_int_equal(store_entry_decode(sl_buf_view(value), e), SL_OK);
}

static void history_keeps_sixteen_failures_and_the_last_tail(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_apply(f->st, f->b);
    for (uint32_t i = 1; i <= 20; i++) {
        kit_update(f->b, 1, 1, i, "tail");
        kit_apply(f->st, f->b);
    }
    reopen(f);
    struct sl_buf value = { 0 };
    struct store_entry e;
    read_entry(f, 1, &value, &e);
    assert_int_equal(e.attempts, 20);
    assert_int_equal(e.state, QUEUE_DELAYED);
    size_t pos = 0;
    struct batch_failure failure;
    for (uint32_t i = 5; i <= 20; i++) {
        assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_OK);
        assert_int_equal(failure.attempt, i);
        assert_true(sl_bytes_is(failure.detail, "exit 3"));
        assert_true(sl_bytes_is(failure.tail, i == 20 ? "tail" : ""));
    }
    assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_ENOENT);
    sl_buf_fini(&value);
}

static void an_update_applied_twice_adds_its_failure_once(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_apply(f->st, f->b);
    kit_update(f->b, 1, 1, 1, "x");
    assert_int_equal(store_apply(f->st, f->b), SL_OK);
    kit_apply(f->st, f->b);
    struct sl_buf value = { 0 };
    struct store_entry e;
    read_entry(f, 1, &value, &e);
    size_t pos = 0;
    struct batch_failure failure;
    assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_OK);
    assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_ENOENT);
    sl_buf_fini(&value);
}

/* As when a later part of their batch found no room. */
static void updates_applied_twice_in_their_order_change_nothing(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_apply(f->st, f->b);
    for (uint32_t attempt = 1; attempt <= 3; attempt++)
        kit_update(f->b, 1, 1, attempt, "x");
    assert_int_equal(store_apply(f->st, f->b), SL_OK);
    kit_apply(f->st, f->b);
    struct sl_buf value = { 0 };
    struct store_entry e;
    read_entry(f, 1, &value, &e);
    size_t pos = 0;
    struct batch_failure failure;
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_OK);
        assert_int_equal(failure.attempt, attempt);
        assert_true(sl_bytes_is(failure.tail, attempt == 3 ? "x" : ""));
    }
    assert_int_equal(batch_failure_next(e.history, &pos, &failure), SL_ENOENT);
    sl_buf_fini(&value);
}

static void history_of_an_unknown_entry_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct sl_buf value = { 0 };
    assert_int_equal(store_history(f->st, 1, 1, &value), SL_ENOENT);
    sl_buf_fini(&value);
}

static void a_dropped_session_takes_its_qos2_ids_along(void **state)
{
    struct fixture *f = *state;
    for (uint16_t id = 1; id <= 3; id++) {
        for (uint64_t session = 1; session <= 3; session++) {
            struct batch_op *op = batch_add(f->b, BATCH_QOS2_ADD);
            op->id = session;
            op->packet_id = id;
        }
    }
    kit_session(f->b, 1, "one");
    kit_session(f->b, 2, "two");
    kit_session(f->b, 3, "three");
    kit_apply(f->st, f->b);
    batch_add(f->b, BATCH_SESSION_DROP)->id = 2;
    kit_session(f->b, 2, "new"); /* what was left over would be its own */
    kit_apply(f->st, f->b);
    reopen(f);
    assert_content(f, "session 1 one\nsession 2 new\nsession 3 three\nqos2 1 1\nqos2 1 2\nqos2 1 3\nqos2 3 1\nqos2 3 2\nqos2 3 3\n");
}

static void queue_numbers_stay_with_their_names(void **state)
{
    struct fixture *f = *state;
    uint32_t a = 0, b = 0, again = 0;
    assert_int_equal(store_queue_number(f->st, "a", &a), SL_OK);
    assert_int_equal(store_queue_number(f->st, "b", &b), SL_OK);
    reopen(f);
    assert_int_equal(store_queue_number(f->st, "a", &again), SL_OK);
    assert_int_equal(a, again);
    assert_int_not_equal(a, b);
    assert_content(f, "queue 1 a\nqueue 2 b\n");
}

static int refuse_record(void *arg, uint32_t number, struct sl_bytes record)
{
    (void)arg;
    (void)number;
    (void)record;
    return SL_EFULL;
}

static int refuse_schedule(void *arg, struct sl_bytes record)
{
    return refuse_record(arg, 0, record);
}

static int refuse_dedup(void *arg, uint32_t queue, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY])
{
    (void)id;
    (void)seen_ms;
    return refuse_record(arg, queue, sl_bytes_of(key, BATCH_DEDUP_KEY));
}

static int refuse_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    (void)arg;
    (void)queue;
    (void)r;
    return SL_EFULL;
}

static void a_loaders_error_ends_the_walk(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 1, 1, 10);
    kit_apply(f->st, f->b);
    kit_dedup(f->b, 1, 1, 1);
    kit_queue_record(f->b, 1, true, "none");
    kit_schedule(f->b, "a", 1);
    kit_apply(f->st, f->b);
    const struct store_loader loaders[] = {
        { .entry = refuse_entry }, { .queue_record = refuse_record }, { .schedule = refuse_schedule }, { .dedup = refuse_dedup },
    };
    for (size_t i = 0; i < SL_COUNT(loaders); i++)
        assert_int_equal(store_load(f->st, &loaders[i], NULL), SL_EFULL);
}

static void an_unknown_engine_is_refused(void **state)
{
    (void)state;
    struct store_config cfg = kit_config("punched cards", "x");
    struct store *st = NULL;
    struct sl_buf why = { 0 };
    assert_int_equal(store_open(&cfg, &st, &why), SL_EINVAL);
    assert_true(sl_bytes_is(sl_buf_view(&why), "there is no store engine \"punched cards\""));
    sl_buf_fini(&why);
}

/* Without BATCH_BODY (a queue that is not durable) the body lives as long as its last entry. */
static void memory_keeps_the_body_of_an_entry_that_came_without_one(void **state)
{
    (void)state;
    struct fixture f = { .engine = "memory", .st = kit_open("memory", ""), .b = batch_new() };
    for (uint32_t queue = 1; queue <= 2; queue++) {
        struct batch_op *op = batch_add(f.b, BATCH_ENTRY);
        op->id = 4;
        op->queue = queue;
        op->msg = kit_message(4, 10);
    }
    kit_apply(f.st, f.b);
    for (uint32_t queue = 1; queue <= 2; queue++) {
        struct store_info info;
        assert_int_equal(store_info(f.st, &info), SL_OK);
        assert_int_equal(info.bodies, 1);
        struct batch_op *op = batch_add(f.b, BATCH_SETTLE);
        op->id = 4;
        op->queue = queue;
        kit_apply(f.st, f.b);
    }
    assert_content(&f, "");
    struct store_info info;
    assert_int_equal(store_info(f.st, &info), SL_OK);
    assert_int_equal(info.bodies, 0);
    batch_free(f.b);
    store_close(f.st);
}

int main(void)
{
    static struct fixture on_lmdb = { .engine = "lmdb" }, on_memory = { .engine = "memory" };
    const struct CMUnitTest tests[] = {
        BOTH(a_new_store_is_empty),
        BOTH(the_scenario_comes_back_after_every_batch),
        BOTH(load_tells_state_priority_and_expiry_without_bodies),
        BOTH(cancelled_records_are_skipped),
        BOTH(a_body_outlives_the_entry_that_it_came_with),
        BOTH(a_small_message_of_several_queues_is_settled_in_any_order),
        BOTH(a_small_body_survives_updates),
        BOTH(records_of_missing_entries_are_counted_and_no_error),
        BOTH(ids_out_of_order_are_stored_too),
        BOTH(an_entry_may_leave_and_return_in_one_batch),
        BOTH(fetch_gives_bodies_and_null_for_unknown_ids),
        BOTH(history_keeps_sixteen_failures_and_the_last_tail),
        BOTH(an_update_applied_twice_adds_its_failure_once),
        BOTH(updates_applied_twice_in_their_order_change_nothing),
        BOTH(history_of_an_unknown_entry_is_not_found),
        BOTH(a_dropped_session_takes_its_qos2_ids_along),
        BOTH(queue_numbers_stay_with_their_names),
        BOTH(a_loaders_error_ends_the_walk),
        cmocka_unit_test(an_unknown_engine_is_refused),
        cmocka_unit_test(memory_keeps_the_body_of_an_entry_that_came_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
