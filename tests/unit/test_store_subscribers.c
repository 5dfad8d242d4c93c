/* What every engine promises of what subscribers need: each case runs on all of them. */
#include "store_fixture.h"

static int with_sessions(void **state)
{
    (void)fixture_setup(state);
    struct fixture *f = *state;
    for (uint64_t session = 1; session <= 3; session++)
        kit_session(f->b, session, "s");
    kit_apply(f->st, f->b);
    return 0;
}

#define SESSIONS_TOLD "session 1 s\nsession 2 s\nsession 3 s\n"

/* What follows the sessions. */
static void assert_told(struct fixture *f, const char *expected)
{
    reopen(f);
    char *content = kit_content(f->st);
    const char *from = strstr(content, SESSIONS_TOLD);
    assert_non_null(from);
    assert_string_equal(from + strlen(SESSIONS_TOLD), expected);
    sl_free(content);
}

static struct store_info info_of(struct fixture *f)
{
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    return info;
}

static bool has_body(struct fixture *f, uint64_t id)
{
    struct message *m = fetch_one(f, id);
    if (m != NULL)
        message_unref(m);
    return m != NULL;
}

/* ---- copies ---- */

static void a_copy_comes_back_as_it_was_recorded_last(void **state)
{
    struct fixture *f = *state;
    kit_body(f->b, 5, 10);
    kit_copy(f->b, 5, 2, 0, 3);
    kit_copy(f->b, 5, 1, 7, 0);
    kit_body(f->b, 6, 10);
    kit_copy(f->b, 6, 1, 8, 1);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 5 session=1 packet=7 state=0 flags=5 entries=0 body=80 ids=\n"
                   "copy 5 session=2 packet=0 state=0 flags=5 entries=0 body=80 ids=200,201,202\n"
                   "copy 6 session=1 packet=8 state=0 flags=1 entries=0 body=80 ids=100\n");
    kit_released(f->b, 5, 2, 9);
    kit_copy(f->b, 6, 1, 8, 2);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 5 session=1 packet=7 state=0 flags=5 entries=0 body=80 ids=\n"
                   "copy 5 session=2 packet=9 state=1 flags=2 entries=0 body=80 ids=\n"
                   "copy 6 session=1 packet=8 state=0 flags=1 entries=0 body=80 ids=100,101\n");
    assert_int_equal(info_of(f).copies, 3);
}

struct seen {
    const struct message *msgs[8];
    uint32_t entries[8];
    uint32_t n;
};

static int see_copy(void *arg, const struct store_copy *c)
{
    struct seen *s = arg;
    s->msgs[s->n] = message_ref(c->msg);
    s->entries[s->n++] = c->entries;
    return SL_OK;
}

static void the_copies_of_one_message_share_it_and_know_its_queues(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 5; id <= 6; id++) {
        kit_enqueue(f->b, id, 1, 10);
        for (uint64_t session = 1; session <= 3; session++)
            kit_copy(f->b, id, session, 1, 0);
    }
    struct batch_op *op = batch_add(f->b, BATCH_ENTRY);
    op->id = 5;
    op->queue = 2;
    op->msg = kit_message(5, 10);
    kit_apply(f->st, f->b);
    reopen(f);
    struct seen seen = { .n = 0 };
    struct store_loader l = { .arg = &seen, .copy = see_copy };
    assert_int_equal(store_load(f->st, &l, NULL), SL_OK);
    assert_int_equal(seen.n, 6);
    for (uint32_t i = 0; i < 6; i++) {
        assert_ptr_equal(seen.msgs[i], seen.msgs[i / 3 * 3]);
        assert_int_equal(message_id(seen.msgs[i]), 5 + i / 3);
        assert_int_equal(seen.entries[i], i < 3 ? 2 : 1);
    }
    for (uint32_t i = 0; i < 6; i++)
        message_unref((struct message *)(uintptr_t)seen.msgs[i]);
}

static void settle(struct fixture *f, uint64_t id, uint32_t queue)
{
    struct batch_op *op = batch_add(f->b, BATCH_SETTLE);
    op->id = id;
    op->queue = queue;
}

/* Small ones and large ones; the queue's entry goes first, or last. */
static void a_body_lives_as_long_as_its_last_holder(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = { 10, 9000 };
    for (uint64_t id = 1; id <= 4; id++) {
        kit_enqueue(f->b, id, 1, sizes[id / 3]);
        kit_copy(f->b, id, 1, 0, 0);
        kit_copy(f->b, id, 2, 0, 0);
    }
    kit_apply(f->st, f->b);
    for (uint64_t id = 1; id <= 4; id++) {
        kit_copy_drop(f->b, id, 2);
        if (id % 2 == 0)
            settle(f, id, 1);
        else
            kit_copy_drop(f->b, id, 1);
    }
    kit_apply(f->st, f->b);
    reopen(f);
    char *content = kit_content(f->st); /* which proves that each body has a holder */
    assert_null(strstr(content, "session=2"));
    sl_free(content);
    for (uint64_t id = 1; id <= 4; id++) {
        assert_true(has_body(f, id));
        if (id % 2 == 0)
            kit_copy_drop(f->b, id, 1);
        else
            settle(f, id, 1);
        batch_add(f->b, BATCH_BODY_DROP)->id = id;
    }
    kit_apply(f->st, f->b);
    assert_told(f, "");
    assert_int_equal(info_of(f).bodies + info_of(f).entries + info_of(f).copies, 0);
}

/* Records of others in between: then the body stands inside the entry, and is found there. */
static void a_copy_may_be_recorded_long_after_the_entry(void **state)
{
    struct fixture *f = *state;
    kit_enqueue(f->b, 5, 1, 10);
    kit_session(f->b, 1, "s");
    kit_copy(f->b, 5, 1, 0, 0);
    kit_apply(f->st, f->b);
    kit_copy(f->b, 5, 2, 0, 0);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 5 session=1 packet=0 state=0 flags=5 entries=1 body=80 ids=\n"
                   "copy 5 session=2 packet=0 state=0 flags=5 entries=1 body=80 ids=\n");
    settle(f, 5, 1);
    kit_copy_drop(f->b, 5, 2);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 5 session=1 packet=0 state=0 flags=5 entries=0 body=80 ids=\n");
    kit_copy_drop(f->b, 5, 1);
    batch_add(f->b, BATCH_BODY_DROP)->id = 5;
    kit_apply(f->st, f->b);
    assert_told(f, "");
    assert_int_equal(info_of(f).bodies, 0);
}

static void a_copy_of_a_message_that_is_not_there_is_not_made(void **state)
{
    struct fixture *f = *state;
    kit_copy(f->b, 5, 1, 1, 0);
    kit_copy_drop(f->b, 6, 1);
    kit_apply(f->st, f->b);
    assert_int_equal(info_of(f).missing_updates, 1);
    assert_int_equal(info_of(f).missing_settles, 1);
    assert_told(f, "");
    assert_int_equal(info_of(f).copies, 0);
}

/* As when a later part of their batch found no room. */
static void copies_applied_twice_in_their_order_change_nothing(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 5; id <= 6; id++) {
        kit_body(f->b, id, 10);
        kit_copy(f->b, id, 1, 1, 0);
    }
    kit_apply(f->st, f->b);
    kit_released(f->b, 5, 1, 1);
    kit_copy_drop(f->b, 5, 1);
    batch_add(f->b, BATCH_BODY_DROP)->id = 5;
    kit_copy(f->b, 6, 2, 0, 0); /* it goes to another session */
    kit_copy_drop(f->b, 6, 1);
    assert_int_equal(store_apply(f->st, f->b), SL_OK);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 6 session=2 packet=0 state=0 flags=1 entries=0 body=80 ids=\n");
    assert_int_equal(info_of(f).bodies, 1);
}

/* ---- sessions ---- */

static void subscriptions_and_wills_are_replaced_and_dropped(void **state)
{
    struct fixture *f = *state;
    kit_subscription(f->b, 2, 4, "a/#");
    kit_subscription(f->b, 2, 256, "b");
    kit_subscription(f->b, 1, 3, "+");
    kit_will(f->b, 2, 10);
    kit_will(f->b, 1, 2000);
    kit_apply(f->st, f->b);
    assert_told(f, "subscription 1 3 qos=0 id=21 group= filter=+\n"
                   "subscription 2 4 qos=1 id=28 group=group filter=a/#\n"
                   "subscription 2 256 qos=1 id=1792 group=group filter=b\n"
                   "will 1 delay=5 body=2070\nwill 2 delay=5 body=80\n");
    kit_subscription(f->b, 2, 4, "c");
    kit_subscription_drop(f->b, 2, 256);
    kit_will(f->b, 2, 11);
    batch_add(f->b, BATCH_WILL_DROP)->id = 1;
    kit_apply(f->st, f->b);
    assert_told(f, "subscription 1 3 qos=0 id=21 group= filter=+\n"
                   "subscription 2 4 qos=1 id=28 group=group filter=c\n"
                   "will 2 delay=5 body=81\n");
    assert_int_equal(info_of(f).subscriptions, 2);
    kit_subscription_drop(f->b, 9, 9);
    batch_add(f->b, BATCH_WILL_DROP)->id = 9;
    kit_apply(f->st, f->b); /* of what is not there: no error */
}

static void a_dropped_session_takes_its_subscriptions_and_its_will_along(void **state)
{
    struct fixture *f = *state;
    kit_session(f->b, 4, "t");
    for (uint64_t session = 3; session <= 4; session++) {
        kit_will(f->b, session, 10);
        for (uint32_t number = 1; number <= 3; number += 2)
            kit_subscription(f->b, session, number, "a");
    }
    kit_apply(f->st, f->b);
    batch_add(f->b, BATCH_SESSION_DROP)->id = 4;
    kit_session(f->b, 4, "of that number again: what was left over would be its own");
    kit_apply(f->st, f->b);
    assert_told(f, "session 4 of that number again: what was left over would be its own\n"
                   "subscription 3 1 qos=1 id=7 group= filter=a\n"
                   "subscription 3 3 qos=0 id=21 group= filter=a\n"
                   "will 3 delay=5 body=80\n");
}

static void what_belongs_to_a_session_that_is_not_there_is_left_out(void **state)
{
    struct fixture *f = *state;
    kit_subscription(f->b, 9, 1, "a");
    kit_will(f->b, 9, 10);
    struct batch_op *op = batch_add(f->b, BATCH_QOS2_ADD);
    op->id = 9;
    op->packet_id = 1;
    kit_body(f->b, 5, 10);
    kit_copy(f->b, 5, 9, 1, 0);
    kit_body(f->b, 6, 10);
    kit_copy(f->b, 6, 9, 1, 0);
    kit_copy(f->b, 6, 1, 1, 0);
    kit_apply(f->st, f->b);
    assert_told(f, "copy 6 session=1 packet=1 state=0 flags=1 entries=0 body=80 ids=\n");
    if (strcmp(f->engine, "memory") == 0)
        return;
    /* And the start that found it has dropped it. */
    assert_int_equal(info_of(f).copies, 1);
    assert_int_equal(info_of(f).bodies, 1);
    assert_int_equal(info_of(f).subscriptions, 0);
}

/* ---- retained messages ---- */

static void retained_messages_come_in_the_order_of_their_ids(void **state)
{
    struct fixture *f = *state;
    kit_retain(f->b, 9, 10);
    kit_retain(f->b, 300, 70000);
    kit_retain(f->b, 7, 3000);
    kit_apply(f->st, f->b);
    assert_told(f, "retained 7 body=3070\nretained 9 body=80\nretained 12c body=70070\n");
    batch_add(f->b, BATCH_RETAIN_DROP)->id = 9;
    batch_add(f->b, BATCH_RETAIN_DROP)->id = 10; /* there is none: no error */
    kit_apply(f->st, f->b);
    assert_told(f, "retained 7 body=3070\nretained 12c body=70070\n");
    assert_int_equal(info_of(f).retained, 2);
}

static void a_retained_message_and_a_body_of_its_id_do_not_know_one_another(void **state)
{
    struct fixture *f = *state;
    kit_retain(f->b, 5, 10);
    kit_enqueue(f->b, 5, 1, 10);
    kit_copy(f->b, 5, 1, 0, 0);
    kit_apply(f->st, f->b);
    kit_settle(f->b, 5, 1);
    kit_copy_drop(f->b, 5, 1);
    kit_apply(f->st, f->b);
    assert_told(f, "retained 5 body=80\n");
    assert_false(has_body(f, 5));
}

/* ---- the loader ---- */

static int refuse_copy(void *arg, const struct store_copy *c)
{
    (void)arg;
    (void)c;
    return SL_EFULL;
}

static int refuse_retained(void *arg, struct message *m)
{
    (void)arg;
    (void)m;
    return SL_EFULL;
}

static void a_loader_may_refuse_or_pass_over_any_kind(void **state)
{
    struct fixture *f = *state;
    kit_body(f->b, 5, 10);
    kit_copy(f->b, 5, 1, 0, 0);
    kit_retain(f->b, 6, 10);
    kit_subscription(f->b, 1, 1, "a");
    kit_will(f->b, 1, 10);
    kit_apply(f->st, f->b);
    struct store_loader none = { 0 }, copy = { .copy = refuse_copy }, retained = { .retained = refuse_retained };
    assert_int_equal(store_load(f->st, &none, NULL), SL_OK);
    assert_int_equal(store_load(f->st, &copy, NULL), SL_EFULL);
    assert_int_equal(store_load(f->st, &retained, NULL), SL_EFULL);
}

int main(void)
{
    static struct fixture on_lmdb = { .engine = "lmdb" }, on_memory = { .engine = "memory" };
    const struct CMUnitTest tests[] = {
        BOTH_AFTER(with_sessions, a_copy_comes_back_as_it_was_recorded_last),
        BOTH_AFTER(with_sessions, the_copies_of_one_message_share_it_and_know_its_queues),
        BOTH_AFTER(with_sessions, a_body_lives_as_long_as_its_last_holder),
        BOTH_AFTER(with_sessions, a_copy_may_be_recorded_long_after_the_entry),
        BOTH_AFTER(with_sessions, a_copy_of_a_message_that_is_not_there_is_not_made),
        BOTH_AFTER(with_sessions, copies_applied_twice_in_their_order_change_nothing),
        BOTH_AFTER(with_sessions, subscriptions_and_wills_are_replaced_and_dropped),
        BOTH_AFTER(with_sessions, a_dropped_session_takes_its_subscriptions_and_its_will_along),
        BOTH_AFTER(with_sessions, what_belongs_to_a_session_that_is_not_there_is_left_out),
        BOTH_AFTER(with_sessions, retained_messages_come_in_the_order_of_their_ids),
        BOTH_AFTER(with_sessions, a_retained_message_and_a_body_of_its_id_do_not_know_one_another),
        BOTH_AFTER(with_sessions, a_loader_may_refuse_or_pass_over_any_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
