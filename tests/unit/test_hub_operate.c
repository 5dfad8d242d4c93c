/* What operators do with queues: pause and purge. */
#include "operate_kit.h"

/* ---- pause ---- */

static void a_paused_queue_gives_nothing_out_and_takes_in(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 1, "t");
    assert_int_equal(w->n, 1);
    hub_queue_pause(k.h, JOBS, true);
    kit_publish(from, 1, 2, "t");
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    kit_ack(w, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    hub_queue_pause(k.h, JOBS, false);
    kit_turn(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->held[0].payload, "p2");
    kit_close(&k);
}

static void a_pause_is_recorded_once_and_outlives_a_restart(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    hub_queue_pause(k.h, JOBS, true);
    hub_queue_pause(k.h, JOBS, true);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "QUEUE(1) ");
    struct batch_note *note = batch_note_copy(k.pending->ops[0].note);
    kit_commit(&k, SL_OK);
    kit_close(&k);
    open_queues(&k, 1000);
    assert_int_equal(hub_restore_queue(k.h, 1, sl_bytes_of(note->bytes, note->n)), SL_OK);
    sl_free(note);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 1, "t");
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    assert_true(queue_is_paused(hub_queue(k.h, JOBS)));
    kit_close(&k);
}

static void a_pause_holds_at_once_and_is_recorded_when_there_is_space(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    hub_queue_pause(k.h, JOBS, true);
    kit_turn(&k);
    kit_commit(&k, SL_ENOSPC);
    fill(&k, "t", 1);
    assert_int_equal(w->n, 0);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(hub_health(k.h), HUB_OK);
    assert_true(hub_flushed(k.h));
    assert_int_equal(w->n, 0);
    kit_close(&k);
}

/* ---- purge ---- */

static void purge(struct kit *k, uint32_t states)
{
    assert_int_equal(hub_queue_purge(k->h, JOBS, states), SL_OK);
}

static struct hub_purge progress(const struct kit *k)
{
    struct hub_purge p;
    hub_queue_purge_progress(k->h, JOBS, &p);
    return p;
}

static void a_purge_goes_on_in_pieces_and_leaves_what_came_later(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    fill(&k, "t", MANY);
    purge(&k, READY);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), MANY);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 7, "t");
    kit_settle(&k);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 1);
    assert_false(progress(&k).running);
    assert_int_equal(progress(&k).purged, MANY);
    assert_int_equal(progress(&k).looked, progress(&k).total);
    assert_int_equal(queue_counters(hub_queue(k.h, JOBS))->purged, MANY);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

/* It gets a place that the walk has not passed yet. */
static void what_comes_where_one_left_before_the_purge_stays(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    struct told t = { .times = 0 };
    struct queue_peeked p[2];
    fill(&k, "t", 2);
    assert_int_equal(queue_peek(hub_queue(k.h, JOBS), QUEUE_READY, p, 2), 2);
    assert_int_equal(hub_cancel(k.h, p[1].id, on_cancelled, &t), SL_OK);
    kit_settle(&k);
    purge(&k, READY);
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("t"), .payload = sl_str("x") };
    assert_int_equal(hub_publish(k.h, &parts), SL_OK); /* before the first piece */
    kit_settle(&k);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 1);
    kit_close(&k);
}

static void one_turn_of_a_purge_takes_no_more_than_its_piece_and_asks_for_the_next(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    fill(&k, "t", MANY);
    purge(&k, READY);
    assert_int_equal(hub_deadline_us(k.h), k.now.mono_us);
    kit_turn(&k);
    struct hub_purge p = progress(&k);
    assert_true(p.running && p.purged > 0 && p.purged <= 1024);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), MANY - p.purged);
    assert_int_equal(hub_queue_purge(k.h, JOBS, READY), SL_ESTATE);
    kit_settle(&k);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 0);
    assert_int_equal(hub_deadline_us(k.h), UINT64_MAX);
    kit_close(&k);
}

/* While a batch is under way the open one takes so much, and no more. */
static void a_purge_waits_for_a_store_that_does_not_keep_up(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 100000);
    fill(&k, "t", 5 * MANY);
    purge(&k, READY);
    for (uint32_t i = 0; i < 100; i++)
        kit_turn(&k);
    assert_non_null(k.pending);
    uint64_t purged = progress(&k).purged;
    assert_true(purged > 2000 && purged < 5000);
    assert_true(hub_deadline_us(k.h) > k.now.mono_us);
    kit_settle(&k);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 0);
    kit_close(&k);
}

static void a_purge_takes_only_the_states_it_is_asked_for_and_never_what_is_leased(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    fill(&k, "t", 4);
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_KILL } });
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_RETRY, .has_delay = true, .delay_ms = 60000 } });
    hub_queue_pause(k.h, JOBS, true);
    fill(&k, "t", 3);
    purge(&k, READY | QUEUE_STATE_BIT(QUEUE_LEASED));
    kit_settle(&k);
    static const uint64_t after[QUEUE_NSTATES] = { [QUEUE_LEASED] = 2, [QUEUE_DELAYED] = 1, [QUEUE_DEAD] = 1 };
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        assert_int_equal(count(&k, JOBS, (enum queue_state)s), after[s]);
    purge(&k, DELAYED | DEAD);
    kit_settle(&k);
    assert_int_equal(count(&k, JOBS, QUEUE_DELAYED) + count(&k, JOBS, QUEUE_DEAD), 0);
    assert_int_equal(count(&k, JOBS, QUEUE_LEASED), 2);
    kit_close(&k);
}

static void a_parked_publisher_gets_the_room_that_a_purge_makes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 2);
    struct kit_client *from = kit_publisher(&k);
    for (uint16_t i = 1; i <= 3; i++)
        kit_publish(from, 1, i, "t");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    purge(&k, READY);
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 3 0x00\n");
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 1);
    kit_close(&k);
}

/* What is purged before it is written never will be: its publisher is answered as for what is finished. */
static void without_space_a_purge_answers_those_who_wait_and_what_it_took_is_never_written(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "t");
    kit_commit(&k, SL_ENOSPC);
    assert_string_equal(kit_log(from), "");
    purge(&k, READY);
    kit_turn(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_settle(&k);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_int_equal(hub_health(k.h), HUB_OK);
    assert_int_equal(queue_counters(hub_queue(k.h, JOBS))->never_written, 1);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

/* Of another queue the message is kept, and with it the promise. */
static void a_publisher_of_two_queues_waits_for_the_one_that_is_not_purged(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "both");
    kit_commit(&k, SL_ENOSPC);
    purge(&k, READY);
    kit_turn(&k);
    assert_string_equal(kit_log(from), "");
    assert_int_equal(count(&k, OTHER, QUEUE_READY), 1);
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_close(&k);
}

static void with_a_broken_store_a_purge_ends_and_none_begins(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    fill(&k, "t", MANY);
    purge(&k, READY);
    kit_turn(&k);
    kit_commit(&k, SL_EIO);
    kit_turn(&k);
    assert_false(progress(&k).running);
    assert_true(count(&k, JOBS, QUEUE_READY) > 0);
    assert_int_equal(hub_queue_purge(k.h, JOBS, READY), SL_ESTATE);
    kit_close(&k);
}

static void a_purge_ends_when_the_gateway_stops(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    fill(&k, "t", MANY);
    purge(&k, READY);
    kit_turn(&k);
    hub_drain(k.h);
    kit_settle(&k);
    assert_false(progress(&k).running);
    assert_true(count(&k, JOBS, QUEUE_READY) > 0);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_queue_gives_nothing_out_and_takes_in),
        cmocka_unit_test(a_pause_is_recorded_once_and_outlives_a_restart),
        cmocka_unit_test(a_pause_holds_at_once_and_is_recorded_when_there_is_space),
        cmocka_unit_test(a_purge_goes_on_in_pieces_and_leaves_what_came_later),
        cmocka_unit_test(what_comes_where_one_left_before_the_purge_stays),
        cmocka_unit_test(one_turn_of_a_purge_takes_no_more_than_its_piece_and_asks_for_the_next),
        cmocka_unit_test(a_purge_waits_for_a_store_that_does_not_keep_up),
        cmocka_unit_test(a_purge_takes_only_the_states_it_is_asked_for_and_never_what_is_leased),
        cmocka_unit_test(a_parked_publisher_gets_the_room_that_a_purge_makes),
        cmocka_unit_test(without_space_a_purge_answers_those_who_wait_and_what_it_took_is_never_written),
        cmocka_unit_test(a_publisher_of_two_queues_waits_for_the_one_that_is_not_purged),
        cmocka_unit_test(with_a_broken_store_a_purge_ends_and_none_begins),
        cmocka_unit_test(a_purge_ends_when_the_gateway_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
