/* Schedules: when they fire, what is stored with that, and what a crash at any
 * point makes of it. */
#include "schedule_world.h"

/* ---- firing ---- */

static void message_and_record_are_one_batch_and_leased_when_it_is_stored(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    assert_string_equal(kit_records(&w.k), "SCHEDULE "); /* its phase begins */
    kit_commit(&w.k, SL_OK);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_pass(&w.k, 9999);
    assert_null(w.k.pending);
    assert_int_equal(hub_deadline_us(w.k.h), w.k.mono_us + 1000);
    kit_pass(&w.k, 1);
    assert_string_equal(kit_records(&w.k), "BODY ENTRY(1) SCHEDULE ");
    assert_int_equal(worker->n, 0);
    kit_commit(&w.k, SL_OK);
    assert_string_equal(all_held(&w, worker), "tick@10");
    assert_int_equal(counters(&w)->schedules_fired, 1);
    struct message_parts parts;
    struct message_header header;
    size_t pos = 0;
    message_view(message_record(worker->held[0].msg), &parts);
    assert_int_equal(parts.protocol, MESSAGE_SCHEDULE);
    assert_true(sl_bytes_is(parts.topic, "t/tick"));
    assert_true(message_header_next(message_record(worker->held[0].msg), &pos, &header));
    assert_true(sl_bytes_is(header.name, "schedule") && sl_bytes_is(header.value, "tick"));
    close_world(&w);
}

static void it_goes_on_at_its_distance_however_late_a_turn_is(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, 13 * SECOND);
    kit_settle(&w.k);
    kit_pass(&w.k, 7 * SECOND);
    kit_settle(&w.k);
    kit_pass(&w.k, 60 * SECOND); /* not missed yet: all of them */
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "tick@10 tick@20 tick@30 tick@40 tick@50 tick@60 tick@70 tick@80");
    assert_int_equal(counters(&w)->schedules_missed, 0);
    close_world(&w);
}

static void a_message_is_what_its_schedule_says(void **state)
{
    (void)state;
    struct world w = { 0 };
    const struct message_header headers[] = { { sl_str("a"), sl_str("1") }, { sl_str("priority"), sl_str("9") }, { sl_str("a"), sl_str("2") } };
    struct hub_schedule *s = add(&w, "tick", "@every 10s", "/queue/q0");
    w.parts[0].headers = headers;
    w.parts[0].n_headers = 3;
    w.parts[0].content_type = sl_str("text/plain");
    s->delay_ms = 5 * SECOND;
    s->ttl_ms = 30 * SECOND;
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    struct kit_client *other = kit_listener(&w.k, "a", 0, "#", 1);
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 0);
    kit_pass(&w.k, 5 * SECOND);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 1);
    struct message_parts parts;
    message_view(message_record(worker->held[0].msg), &parts);
    assert_int_equal(parts.priority, 9);
    assert_int_equal(parts.n_headers, 5);
    assert_true(sl_bytes_is(parts.content_type, "text/plain"));
    assert_true(sl_bytes_is(parts.topic, "q0") && (parts.flags & MESSAGE_TO_QUEUE) != 0);
    assert_true(parts.expires_at > parts.deliver_at);
    assert_string_equal(kit_log(other), ""); /* a queue's name is nobody's topic */
    close_world(&w);
}

static void nobody_sees_it_before_it_is_stored(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "x/tick");
    open_world(&w);
    struct kit_client *listener = kit_listener(&w.k, "a", 0, "x/#", 1);
    kit_pass(&w.k, 10 * SECOND);
    assert_string_equal(kit_records(&w.k), "SCHEDULE ");
    assert_string_equal(kit_log(listener), "");
    kit_commit(&w.k, SL_OK);
    kit_settle(&w.k);
    assert_string_equal(kit_log(listener), "PUBLISH q1 id=1 x/tick tick\n");
    assert_int_equal(counters(&w)->schedules_fired, 1);
    assert_int_equal(counters(&w)->results_sent, 0);
    close_world(&w);
}

static void a_lasting_session_gets_it_with_the_record(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "x/tick");
    open_world(&w);
    kit_lose(kit_listener(&w.k, "a", 600, "x/#", 1));
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    assert_string_equal(kit_records(&w.k), "BODY COPY SCHEDULE ");
    close_world(&w);
}

/* ---- who does not get it ---- */

static void nobody_takes_it_and_it_is_done_with(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "x/tick");
    open_world(&w);
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    assert_string_equal(kit_records(&w.k), "SCHEDULE ");
    assert_int_equal(counters(&w)->no_taker, 1);
    assert_int_equal(counters(&w)->schedules_fired, 0);
    assert_int_equal(counters(&w)->schedules_dropped, 0);
    close_world(&w);
}

static void over_a_limit_it_is_dropped_counted_and_done_with(void **state)
{
    (void)state;
    struct world w = { .max_messages = 2 };
    add(&w, "tick", "@every 10s", "t/tick")->when.missed = SCHEDULE_ALL;
    open_world(&w);
    kit_settle(&w.k);
    for (int i = 0; i < 3; i++) {
        kit_pass(&w.k, 10 * SECOND);
        kit_settle(&w.k);
    }
    assert_int_equal(counters(&w)->schedules_fired, 2);
    assert_int_equal(counters(&w)->schedules_dropped, 1);
    crash(&w, 0);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "tick@10 tick@20");
    close_world(&w);
}

static void a_queue_that_is_not_there_is_told_and_done_with(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "/queue/none");
    open_world(&w);
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    assert_string_equal(kit_records(&w.k), "SCHEDULE ");
    assert_int_equal(counters(&w)->schedules_dropped, 1);
    close_world(&w);
}

static void a_gateway_that_stops_or_cannot_store_fires_nothing(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    kit_settle(&w.k);
    hub_drain(w.k.h);
    kit_pass(&w.k, 20 * SECOND);
    assert_null(w.k.pending);
    assert_int_equal(hub_deadline_us(w.k.h), UINT64_MAX);
    crash(&w, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    assert_non_null(w.k.pending);
    kit_commit(&w.k, SL_EIO);
    kit_pass(&w.k, HOUR);
    assert_null(w.k.pending);
    assert_int_equal(counters(&w)->schedules_fired, 1);
    w.k.apply = NULL;
    close_world(&w);
}

static void without_space_nothing_fires_and_then_it_goes_by_what_was_missed(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "once", "@every 10s", "t/tick")->when.missed = SCHEDULE_ONCE;
    open_world(&w);
    kit_settle(&w.k);
    kit_pass(&w.k, 10 * SECOND);
    kit_commit(&w.k, SL_ENOSPC);
    kit_pass(&w.k, 95 * SECOND);
    assert_int_equal(counters(&w)->schedules_fired, 1);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "once@10 once@100");
    close_world(&w);
}

/* ---- crashes ---- */

static void a_crash_before_the_commit_has_fired_nothing_and_after_it_all(void **state)
{
    (void)state;
    for (int stored = 0; stored < 2; stored++) {
        struct world w = { 0 };
        add(&w, "tick", "@every 10s", "t/tick")->when.missed = SCHEDULE_ALL;
        open_world(&w);
        kit_settle(&w.k);
        kit_pass(&w.k, 10 * SECOND);
        assert_non_null(w.k.pending);
        if (stored)
            kit_commit(&w.k, SL_OK);
        crash(&w, SECOND);
        struct kit_worker *worker = kit_worker(&w.k, 0, 0);
        kit_settle(&w.k);
        assert_string_equal(all_held(&w, worker), "tick@10");
        assert_int_equal(counters(&w)->schedules_missed, stored ? 0 : 1);
        kit_pass(&w.k, 9 * SECOND);
        kit_settle(&w.k);
        assert_string_equal(all_held(&w, worker), "tick@10 tick@20");
        close_world(&w);
    }
}

static void check_missed(enum schedule_missed policy, uint64_t away_s, const char *fires)
{
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick")->when.missed = policy;
    open_world(&w);
    kit_settle(&w.k);
    kit_pass(&w.k, 5 * SECOND);
    crash(&w, away_s * SECOND);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, 5 * SECOND);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), fires);
    crash(&w, 0); /* what was missed is made up for once */
    worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), fires);
    close_world(&w);
}

static void what_was_missed_goes_by_the_policy(void **state)
{
    (void)state;
    check_missed(SCHEDULE_SKIP, 2, "tick@10");
    check_missed(SCHEDULE_SKIP, 30, "tick@40");
    check_missed(SCHEDULE_ONCE, 30, "tick@30 tick@40");
    check_missed(SCHEDULE_ALL, 30, "tick@10 tick@20 tick@30 tick@40");
}

static void what_was_skipped_is_not_missed_again(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    kit_settle(&w.k);
    crash(&w, 30 * SECOND);
    assert_string_equal(kit_records(&w.k), "SCHEDULE ");
    assert_int_equal(counters(&w)->schedules_missed, 3);
    kit_settle(&w.k);
    crash(&w, 0);
    assert_null(w.k.pending);
    assert_int_equal(counters(&w)->schedules_missed, 0);
    close_world(&w);
}

static void restarts_that_are_shorter_than_the_distance_do_not_put_it_off(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    for (int i = 0; i < 3; i++) {
        kit_settle(&w.k);
        kit_pass(&w.k, 3 * SECOND - 21);
        crash(&w, 0);
    }
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_int_equal(worker->n, 0);
    kit_pass(&w.k, SECOND);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "tick@10");
    close_world(&w);
}

static void many_that_were_missed_come_in_turns(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 1s", "t/tick")->when.missed = SCHEDULE_ALL;
    add(&w, "tock", "@every 1h", "t/tock")->when.missed = SCHEDULE_ALL;
    open_world(&w);
    kit_settle(&w.k);
    crash(&w, HOUR);
    assert_int_equal(counters(&w)->schedules_missed, 3601);
    assert_int_equal(counters(&w)->schedules_fired, 17);
    assert_int_equal(hub_deadline_us(w.k.h), w.k.mono_us);
    for (int i = 0; i < 100; i++) {
        kit_turn(&w.k);
        if (w.k.pending != NULL)
            kit_commit(&w.k, SL_OK);
    }
    assert_int_equal(counters(&w)->schedules_fired, 1001);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_and_record_are_one_batch_and_leased_when_it_is_stored),
        cmocka_unit_test(it_goes_on_at_its_distance_however_late_a_turn_is),
        cmocka_unit_test(a_message_is_what_its_schedule_says),
        cmocka_unit_test(nobody_sees_it_before_it_is_stored),
        cmocka_unit_test(a_lasting_session_gets_it_with_the_record),
        cmocka_unit_test(nobody_takes_it_and_it_is_done_with),
        cmocka_unit_test(over_a_limit_it_is_dropped_counted_and_done_with),
        cmocka_unit_test(a_queue_that_is_not_there_is_told_and_done_with),
        cmocka_unit_test(a_gateway_that_stops_or_cannot_store_fires_nothing),
        cmocka_unit_test(without_space_nothing_fires_and_then_it_goes_by_what_was_missed),
        cmocka_unit_test(a_crash_before_the_commit_has_fired_nothing_and_after_it_all),
        cmocka_unit_test(what_was_missed_goes_by_the_policy),
        cmocka_unit_test(what_was_skipped_is_not_missed_again),
        cmocka_unit_test(restarts_that_are_shorter_than_the_distance_do_not_put_it_off),
        cmocka_unit_test(many_that_were_missed_come_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
