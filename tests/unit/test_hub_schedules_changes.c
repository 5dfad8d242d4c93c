/* Schedules when clocks are set, and when the configuration changes. */
#include "schedule_world.h"

/* ---- clocks that are set ---- */

static void a_clock_that_is_set_back_repeats_nothing(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "cron", "* * * * *", "t/cron"); /* it begins 20 s into a minute */
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, 40 * SECOND);
    kit_settle(&w.k);
    set_clock(&w, -(int64_t)(10 * MINUTE));
    for (int i = 0; i < 10; i++) {
        kit_pass(&w.k, 55 * SECOND);
        kit_settle(&w.k);
    }
    assert_string_equal(all_held(&w, worker), "cron@40");
    crash(&w, 0);
    worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "cron@40");
    kit_pass(&w.k, 2 * MINUTE);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "cron@40 cron@100");
    close_world(&w);
}

static void a_distance_does_not_wait_for_a_clock_that_was_set_back(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, HOUR);
    kit_settle(&w.k);
    uint32_t before = worker->n;
    set_clock(&w, -(int64_t)(30 * MINUTE));
    kit_pass(&w.k, 9 * SECOND);
    kit_settle(&w.k);
    assert_int_equal(worker->n, before);
    kit_pass(&w.k, SECOND);
    kit_settle(&w.k);
    assert_int_equal(worker->n, before + 1);
    close_world(&w);
}

static void a_clock_that_was_wrong_by_years_does_not_silence_it(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "cron", "* * * * *", "t/cron");
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    set_clock(&w, (int64_t)24 * HOUR * 365);
    kit_settle(&w.k);
    set_clock(&w, -(int64_t)24 * HOUR * 365);
    kit_settle(&w.k);
    kit_pass(&w.k, MINUTE);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "cron@40");
    close_world(&w);
}

static void a_clock_that_is_set_on_has_missed_what_lies_between(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "skip", "0 * * * *", "t/a");
    add(&w, "once", "0 * * * *", "t/a")->when.missed = SCHEDULE_ONCE;
    add(&w, "all", "0 * * * *", "t/a")->when.missed = SCHEDULE_ALL;
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    assert_true(hub_deadline_us(w.k.h) <= w.k.mono_us + 30u * SECOND * 1000); /* it is noticed soon */
    set_clock(&w, (int64_t)3 * HOUR);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "once@10000 all@2800 all@6400 all@10000"); /* 22:13:20 is the start */
    assert_int_equal(counters(&w)->schedules_missed, 9);
    close_world(&w);
}

/* ---- what is configured ---- */

static void what_is_configured_no_more_is_forgotten(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick")->when.missed = SCHEDULE_ALL;
    open_world(&w);
    kit_settle(&w.k);
    w.n = 0;
    crash(&w, 0);
    assert_string_equal(kit_records(&w.k), "SCHEDULE_DROP ");
    kit_settle(&w.k);
    w.n = 1;
    crash(&w, 25 * SECOND);
    assert_string_equal(kit_records(&w.k), "SCHEDULE "); /* a new one: nothing was missed */
    assert_int_equal(counters(&w)->schedules_missed, 0);
    close_world(&w);
}

static void a_change_while_it_runs_keeps_what_goes_on(void **state)
{
    (void)state;
    struct world w = { 0 };
    add(&w, "tick", "@every 10s", "t/tick");
    add(&w, "gone", "@every 10s", "t/gone");
    open_world(&w);
    struct kit_worker *worker = kit_worker(&w.k, 0, 0);
    kit_settle(&w.k);
    kit_pass(&w.k, 6 * SECOND);
    w.n = 1;
    add(&w, "new", "@every 10s", "t/new");
    hub_set_schedules(w.k.h, w.schedules, w.n);
    kit_turn(&w.k);
    assert_string_equal(kit_records(&w.k), "SCHEDULE_DROP SCHEDULE ");
    kit_commit(&w.k, SL_OK);
    kit_pass(&w.k, 4 * SECOND);
    kit_settle(&w.k);
    kit_pass(&w.k, 6 * SECOND);
    kit_settle(&w.k);
    assert_string_equal(all_held(&w, worker), "tick@10 new@16");
    hub_set_schedules(w.k.h, NULL, 0);
    kit_turn(&w.k);
    assert_string_equal(kit_records(&w.k), "SCHEDULE_DROP SCHEDULE_DROP ");
    kit_settle(&w.k);
    assert_int_equal(hub_deadline_us(w.k.h), UINT64_MAX);
    close_world(&w);
}

static void another_expression_makes_a_new_schedule_that_has_missed_nothing(void **state)
{
    (void)state;
    for (int running = 0; running < 2; running++) {
        struct world w = { 0 };
        add(&w, "tick", "@every 1d", "t/tick")->when.missed = SCHEDULE_ALL;
        open_world(&w);
        struct kit_worker *worker = kit_worker(&w.k, 0, 0);
        kit_settle(&w.k);
        kit_pass(&w.k, HOUR);
        w.schedules[0].when.cron.every_ms = 10 * SECOND;
        if (running) {
            hub_set_schedules(w.k.h, w.schedules, w.n);
            kit_turn(&w.k);
        } else {
            crash(&w, 0);
            worker = kit_worker(&w.k, 0, 0);
        }
        assert_string_equal(kit_records(&w.k), "SCHEDULE ");
        kit_settle(&w.k);
        assert_int_equal(counters(&w)->schedules_missed, 0);
        assert_int_equal(worker->n, 0);
        kit_pass(&w.k, 10 * SECOND);
        kit_settle(&w.k);
        assert_int_equal(worker->n, 1);
        close_world(&w);
    }
}

static void a_record_that_makes_no_sense_is_told(void **state)
{
    (void)state;
    struct world w = { 0 };
    open_world(&w);
    static const uint8_t bad[] = { 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'a' };
    assert_int_equal(hub_restore_schedule(w.k.h, sl_bytes_of(bad, sizeof bad)), SL_EFORMAT);
    assert_int_equal(hub_restore_schedule(w.k.h, sl_bytes_of(bad, 3)), SL_EFORMAT);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_is_set_back_repeats_nothing),
        cmocka_unit_test(a_distance_does_not_wait_for_a_clock_that_was_set_back),
        cmocka_unit_test(a_clock_that_was_wrong_by_years_does_not_silence_it),
        cmocka_unit_test(a_clock_that_is_set_on_has_missed_what_lies_between),
        cmocka_unit_test(what_is_configured_no_more_is_forgotten),
        cmocka_unit_test(a_change_while_it_runs_keeps_what_goes_on),
        cmocka_unit_test(another_expression_makes_a_new_schedule_that_has_missed_nothing),
        cmocka_unit_test(a_record_that_makes_no_sense_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
