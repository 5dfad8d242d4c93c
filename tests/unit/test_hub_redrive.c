/* Dead letters that operators move on. */
#include "dead_kit.h"

/* ---- redriven ---- */

static void a_redriven_one_is_new_and_in_one_batch_with_the_end_of_the_old_one(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 1);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = HUB_SAME_QUEUE });
    kit_turn(&k);
    assert_non_null(k.fetch); /* its body was let go */
    kit_settle(&k);
    struct hub_dead_progress p = progress(&k, handle);
    assert_true(p.done && p.moved == 1 && p.left == 0);
    assert_int_equal(depth(&k, JOBS, QUEUE_READY), 1);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    assert_int_equal(w->held[0].attempt, 1);
    assert_int_equal(header_of(w->held[0].msg, "dead-queue").n, 0);
    hub_dead_stop(k.h, handle);
    assert_int_equal(hub_dead_progress(k.h, handle, &p), SL_ENOENT);
    kit_close(&k);
}

static void what_dies_again_is_not_moved_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 3);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = HUB_SAME_QUEUE, .per_second = 10 });
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    for (int i = 0; i < 100; i++) {
        kit_settle(&k);
        if (w->n > 0)
            kill(w, "still no");
    }
    assert_true(progress(&k, handle).done);
    assert_int_equal(progress(&k, handle).moved, 3);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 3);
    kit_close(&k);
}

static void hops_come_to_an_end(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 1);
    for (uint32_t n = 1; n <= HUB_HOPS_MAX + 1; n++) {
        uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = HUB_SAME_QUEUE });
        kit_settle(&k);
        struct hub_dead_progress p = progress(&k, handle);
        assert_true(p.done);
        assert_int_equal(p.moved, n <= HUB_HOPS_MAX);
        assert_int_equal(p.hop_limit, n > HUB_HOPS_MAX);
        struct kit_worker *w = kit_worker(&k, 0, JOBS);
        if (w->n > 0)
            kill(w, "no");
        kit_worker_end(w);
        kit_settle(&k);
    }
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    assert_int_equal(counters(&k, JOBS)->hop_limit, 1);
    kit_close(&k);
}

static void a_forwarded_one_over_the_hop_limit_stays_dead_and_is_counted_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    struct message *m = message_new(&(struct message_parts){ .id = 7, .protocol = MESSAGE_MQTT5, .hops = HUB_HOPS_MAX, .topic = sl_str("x"), .payload = sl_str("p7") });
    sl_idmap_put(&k.bodies, 7, m);
    struct queue_restored r = { .id = 7, .bytes = (uint32_t)message_bytes(m), .state = QUEUE_READY };
    assert_int_equal(hub_restore_entry(k.h, 1, &r), SL_OK);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_settle(&k);
    kill(w, "no");
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    assert_int_equal(counters(&k, JOBS)->hop_limit, 1);
    assert_int_equal(hub_deadline_us(k.h), UINT64_MAX);
    kit_publish(kit_publisher(&k), 1, 2, "jobs/2"); /* the next one is not held up by it */
    kit_settle(&k);
    kill(w, "no");
    kit_settle(&k);
    assert_int_equal(depth(&k, DLQ, QUEUE_READY), 1);
    kit_close(&k);
}

static void a_redrive_keeps_its_rate(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 10);
    uint64_t begun_us = k.mono_us, most_us = 0;
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ, .per_second = 4 });
    while (!progress(&k, handle).done) {
        uint64_t passed_ms = (k.mono_us - begun_us) / 1000;
        uint64_t due = passed_ms / 250 + 1;
        assert_true(progress(&k, handle).moved <= due);
        assert_true(progress(&k, handle).moved + 1 >= due);
        kit_settle(&k);
        uint64_t at = hub_deadline_us(k.h);
        assert_true(progress(&k, handle).done || at != UINT64_MAX);
        most_us = at > k.mono_us && at != UINT64_MAX && at - k.mono_us > most_us ? at - k.mono_us : most_us;
        if (at != UINT64_MAX && at > k.mono_us)
            kit_pass(&k, (at - k.mono_us + 999) / 1000);
    }
    assert_in_range((k.mono_us - begun_us) / 1000, 2250, 2400);
    assert_true(most_us > 200000); /* and does not spin */
    assert_int_equal(depth(&k, DLQ, QUEUE_READY), 10);
    kit_close(&k);
}

static void a_redrive_waits_for_room_and_takes_no_more_than_asked(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_messages = 2;
    g_dlq.overflow = QUEUE_DROP_OLDEST; /* nobody is dropped for it */
    open_with(&k, false);
    die(&k, 5);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ, .max = 4 });
    kit_settle(&k);
    assert_int_equal(progress(&k, handle).moved, 2);
    assert_int_equal(progress(&k, handle).left, 3);
    assert_int_equal(hub_deadline_us(k.h), UINT64_MAX);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    kit_ack(morgue, 0);
    kit_settle(&k);
    assert_int_equal(progress(&k, handle).moved, 3);
    kit_ack(morgue, 0);
    kit_settle(&k);
    assert_true(progress(&k, handle).done);
    assert_int_equal(progress(&k, handle).moved, 4);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    assert_int_equal(counters(&k, DLQ)->dropped, 0);
    kit_close(&k);
}

static void what_could_never_fit_is_skipped(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_bytes = 10;
    open_with(&k, false);
    die(&k, 2);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    kit_settle(&k);
    assert_true(progress(&k, handle).done);
    assert_int_equal(progress(&k, handle).too_large, 2);
    kit_close(&k);
}

static void what_cannot_be_read_is_skipped_and_told(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 3);
    size_t pos = 0;
    struct message *m = sl_idmap_next(&k.bodies, &pos);
    (void)sl_idmap_del(&k.bodies, message_id(m));
    message_unref(m);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    kit_settle(&k);
    struct hub_dead_progress p = progress(&k, handle);
    assert_true(p.done && p.moved == 2 && p.unreadable == 1);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    kit_close(&k);
}

static void a_redrive_that_was_stopped_moves_nothing_more(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    die(&k, 5);
    uint64_t handle = redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    kit_turn(&k);
    assert_non_null(k.fetch);
    hub_dead_stop(k.h, handle); /* its bodies still come */
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 5);
    kit_close(&k);
}

static void queues_that_are_not_durable_move_theirs_too(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct kit k = { 0 };
        usual();
        g_jobs.durable = i % 2 == 0;
        g_dlq.durable = i / 2 == 0;
        open_with(&k, true);
        die(&k, 3);
        assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
        struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
        assert_int_equal(morgue->n, 3);
        while (morgue->n > 0)
            kill(morgue, "no");
        uint64_t handle;
        assert_int_equal(hub_dead_redrive(k.h, DLQ, &(struct hub_dead_redrive){ .to = JOBS }, &handle), SL_OK);
        kit_settle(&k);
        assert_true(progress(&k, handle).done);
        assert_int_equal(depth(&k, JOBS, QUEUE_READY), 3);
        kit_close(&k);
    }
}

static void an_orphan_gives_and_takes_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, false);
    struct queue_config old = kit_queue("old", 3);
    uint32_t orphan = hub_add_orphan(k.h, &old);
    uint64_t handle;
    assert_int_equal(hub_dead_redrive(k.h, JOBS, &(struct hub_dead_redrive){ .to = orphan }, &handle), SL_EINVAL);
    assert_int_equal(hub_dead_redrive(k.h, orphan, &(struct hub_dead_redrive){ .to = HUB_SAME_QUEUE }, &handle), SL_EINVAL);
    assert_int_equal(hub_dead_redrive(k.h, orphan, &(struct hub_dead_redrive){ .to = JOBS }, &handle), SL_OK);
    kit_settle(&k);
    assert_true(progress(&k, handle).done);
    kit_close(&k);
}

static void no_batch_grows_without_end(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_jobs.max_messages = g_jobs.dead_max_messages = g_dlq.max_messages = 10000;
    g_jobs.max_bytes = g_dlq.max_bytes = 1u << 30;
    g_jobs.durable = false; /* bodies stay in memory */
    open_with(&k, false);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct message_parts p = { .protocol = MESSAGE_WORKER, .qos = 1, .topic = sl_str("jobs/1") };
    for (uint32_t i = 0; i < 3000; i++) {
        assert_int_equal(hub_publish(k.h, &p), SL_OK);
        kit_turn(&k);
        kill(w, "no");
    }
    (void)redrive(&k, &(struct hub_dead_redrive){ .to = DLQ });
    for (uint32_t n = 1; n <= 3; n++) {
        for (uint32_t i = 0; i < 5; i++)
            kit_turn(&k);
        assert_int_equal(depth(&k, DLQ, QUEUE_READY), n < 3 ? 1024 * n : 3000);
        kit_commit(&k, SL_OK);
    }
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_redriven_one_is_new_and_in_one_batch_with_the_end_of_the_old_one),
        cmocka_unit_test(what_dies_again_is_not_moved_again),
        cmocka_unit_test(hops_come_to_an_end),
        cmocka_unit_test(a_forwarded_one_over_the_hop_limit_stays_dead_and_is_counted_once),
        cmocka_unit_test(a_redrive_keeps_its_rate),
        cmocka_unit_test(a_redrive_waits_for_room_and_takes_no_more_than_asked),
        cmocka_unit_test(what_could_never_fit_is_skipped),
        cmocka_unit_test(what_cannot_be_read_is_skipped_and_told),
        cmocka_unit_test(a_redrive_that_was_stopped_moves_nothing_more),
        cmocka_unit_test(queues_that_are_not_durable_move_theirs_too),
        cmocka_unit_test(an_orphan_gives_and_takes_nothing),
        cmocka_unit_test(no_batch_grows_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
