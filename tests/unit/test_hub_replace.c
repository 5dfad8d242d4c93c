/* Dedup by `replace`: the newer message takes the place of the one that waits, and
 * neither is stored without the other. */
#include "dedup_world.h"

static struct world replacing(void)
{
    struct world w = { .q = { remembering("q0", 1) } };
    w.q[0].dedup.replace = true;
    return w;
}

static void the_newer_takes_the_place_of_the_one_that_waits(void **state)
{
    (void)state;
    struct world w = replacing();
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "a1");
    send(c, 2, "b", "b1");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    uint64_t before = hub_published_id(w.k.h);
    send(c, 3, "a", "a2");
    assert_string_equal(kit_records(&w.k), "BODY ENTRY(1) SETTLE(1) BODY_DROP DEDUP(1) DEDUP_DROP(1) ");
    assert_true(hub_published_id(w.k.h) > before);
    assert_string_equal(kit_log(c), "");
    kit_settle(&w.k);
    assert_string_equal(kit_log(c), "PUBACK 3 0x00\n");
    assert_taken(&w, 3, 0);
    assert_int_equal(counters(&w, 0)->replaced, 1);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    assert_int_equal(worker->n, 2);
    assert_string_equal(worker->held[0].payload, "a2");
    assert_string_equal(worker->held[1].payload, "b1");
    send(c, 4, "a", "a3"); /* the one before is leased: it enters */
    kit_settle(&w.k);
    assert_int_equal(worker->n, 3);
    assert_int_equal(counters(&w, 0)->replaced, 1);
    end(&w);
}

/* Neither is stored: who sent the first one is told when the newer one is. */
static void the_one_that_is_replaced_is_answered_with_what_replaced_it(void **state)
{
    (void)state;
    struct world w = replacing();
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "z", "z");
    send(c, 2, "a", "a1");
    send(c, 3, "a", "a2");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\n");
    assert_string_equal(kit_records(&w.k), "DEDUP(1) BODY ENTRY(1) DEDUP(1) DEDUP_DROP(1) ");
    kit_commit(&w.k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 2 0x00\nPUBACK 3 0x00\n");
    crash(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 2);
    assert_string_equal(worker->held[1].payload, "a2");
    end(&w);
}

/* Under a batch that is with the store, and under one that found no space. */
static void what_leaves_for_a_newer_one_is_never_stored_without_it(void **state)
{
    (void)state;
    for (uint32_t full = 0; full < 2; full++) {
        struct world w = replacing();
        start(&w);
        struct kit_client *c = kit_publisher(&w.k);
        send(c, 1, "a", "a1");
        send(c, 2, "a", "a2");
        if (full) {
            kit_commit(&w.k, SL_ENOSPC);
            kit_pass(&w.k, 300);
            kit_commit(&w.k, SL_OK);
        } else {
            kit_commit(&w.k, SL_OK);
        }
        (void)kit_log(c);
        crash(&w); /* before the batch of the newer one */
        struct kit_worker *worker = kit_worker(&w.k, 0, 0);
        kit_settle(&w.k);
        assert_int_equal(worker->n, 1);
        assert_string_equal(worker->held[0].payload, "a1");
        end(&w);
    }
}

static void after_a_restart_the_one_that_waits_is_still_replaced(void **state)
{
    (void)state;
    struct world w = replacing();
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "a1");
    send(c, 2, "b", "b1");
    send(c, 3, "c", "c1");
    kit_settle(&w.k);
    crash(&w);
    c = kit_publisher(&w.k);
    send(c, 1, "b", "b2");
    kit_settle(&w.k);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 3);
    assert_string_equal(worker->held[1].payload, "b2");
    assert_int_equal(counters(&w, 0)->replaced, 1);
    end(&w);
}

/* Only the last one of a key is worked, when it has been quiet for a while. */
static void delayed_ones_replace_each_other(void **state)
{
    (void)state;
    struct world w = replacing();
    start(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *c = kit_publisher(&w.k);
    for (uint16_t i = 1; i <= 5; i++) {
        send_to(c, "t/1", (struct shape){ .qos = 1, .id = i, .dedup_id = "a", .delay = "10s", .payload = i < 5 ? "early" : "last" });
        kit_settle(&w.k);
        kit_pass(&w.k, 5000);
    }
    assert_int_equal(worker->n, 0);
    kit_pass(&w.k, 5000);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 1);
    assert_string_equal(worker->held[0].payload, "last");
    end(&w);
}

static void a_replacement_needs_only_the_room_that_it_makes(void **state)
{
    (void)state;
    static const enum queue_overflow all[] = { QUEUE_BLOCK, QUEUE_REJECT, QUEUE_DROP_OLDEST };
    for (size_t i = 0; i < SL_COUNT(all); i++) {
        struct world w = replacing();
        w.q[0].max_messages = 2;
        w.q[0].overflow = all[i];
        start(&w);
        struct kit_client *c = kit_publisher(&w.k);
        send(c, 1, "a", "a1");
        send(c, 2, "b", "b1");
        send(c, 3, "b", "b2");
        kit_settle(&w.k);
        assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\nPUBACK 3 0x00\n");
        struct kit_worker *worker = kit_worker(&w.k, 0, 0);
        kit_settle(&w.k);
        assert_int_equal(worker->n, 2);
        assert_string_equal(worker->held[0].payload, "a1");
        assert_string_equal(worker->held[1].payload, "b2");
        end(&w);
    }
}

static void the_job_of_the_one_that_is_replaced_has_ended(void **state)
{
    (void)state;
    struct world w = replacing();
    w.k.jobs_max = 10;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    struct sl_buf text = { 0 };
    send_to(c, "t/1", (struct shape){ .qos = 1, .id = 1, .dedup_id = "a", .job_id = "j1" });
    send_to(c, "t/1", (struct shape){ .qos = 1, .id = 2, .dedup_id = "a", .job_id = "j2" });
    kit_settle(&w.k);
    assert_int_equal(hub_job(w.k.h, sl_str("j1"), &text), SL_OK);
    assert_int_equal(sl_buf_append(&text, "", 1), SL_OK);
    assert_non_null(strstr((const char *)sl_buf_view(&text).p, "\"state\":\"dropped\""));
    sl_buf_consume(&text, sl_buf_len(&text));
    assert_int_equal(hub_job(w.k.h, sl_str("j2"), &text), SL_OK);
    assert_int_equal(sl_buf_append(&text, "", 1), SL_OK);
    assert_non_null(strstr((const char *)sl_buf_view(&text).p, "\"state\":\"queued\""));
    sl_buf_fini(&text);
    end(&w);
}

/* What leaves a batch without space to make room must not be the key of the one that stays. */
static void without_the_newer_one_the_older_one_keeps_its_key(void **state)
{
    (void)state;
    struct world w = replacing();
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    send(c, 1, "a", "a1");
    kit_settle(&w.k);
    send(c, 2, "a", "a2");
    kit_commit(&w.k, SL_ENOSPC);
    kit_pass(&w.k, 15);
    if (w.k.pending != NULL)
        kit_commit(&w.k, SL_OK); /* of what makes room, if there is anything */
    crash(&w);
    c = kit_publisher(&w.k);
    send(c, 2, "a", "a2"); /* it was never answered */
    kit_settle(&w.k);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 1);
    assert_string_equal(worker->held[0].payload, "a2");
    end(&w);
}

/* One that is larger than what it replaces needs room for the rest of it. */
static void where_the_oldest_is_dropped_replacements_keep_the_limit_of_bytes(void **state)
{
    (void)state;
    static char large[2001];
    memset(large, 'x', sizeof large - 1);
    struct world w = replacing();
    w.q[0].overflow = QUEUE_DROP_OLDEST;
    w.q[0].max_bytes = 5000;
    start(&w);
    struct kit_client *c = kit_publisher(&w.k);
    const char *const keys[] = { "a", "b", "c", "d" };
    for (uint16_t i = 0; i < 4; i++)
        send(c, (uint16_t)(i + 1), keys[i], "small");
    kit_settle(&w.k);
    for (uint16_t i = 0; i < 4; i++) {
        struct queue_depth d;
        send(c, (uint16_t)(i + 5), keys[i], large);
        kit_settle(&w.k);
        queue_depth(hub_queue(w.k.h, 0), &d);
        assert_true(d.bytes <= 5000);
    }
    assert_string_equal(strstr(kit_log(c), "PUBACK 8"), "PUBACK 8 0x00\n");
    assert_true(counters(&w, 0)->dropped > 0);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newer_takes_the_place_of_the_one_that_waits),
        cmocka_unit_test(the_one_that_is_replaced_is_answered_with_what_replaced_it),
        cmocka_unit_test(what_leaves_for_a_newer_one_is_never_stored_without_it),
        cmocka_unit_test(after_a_restart_the_one_that_waits_is_still_replaced),
        cmocka_unit_test(delayed_ones_replace_each_other),
        cmocka_unit_test(a_replacement_needs_only_the_room_that_it_makes),
        cmocka_unit_test(the_job_of_the_one_that_is_replaced_has_ended),
        cmocka_unit_test(without_the_newer_one_the_older_one_keeps_its_key),
        cmocka_unit_test(where_the_oldest_is_dropped_replacements_keep_the_limit_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
