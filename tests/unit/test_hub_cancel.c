/* Messages that are cancelled: by id, and by job-id. */
#include "operate_kit.h"

/* ---- cancel ---- */

static struct hub_cancelled cancel(struct kit *k, uint64_t id)
{
    struct told t = { .times = 0 };
    assert_int_equal(hub_cancel(k->h, id, on_cancelled, &t), SL_OK);
    assert_int_equal(t.times, 0);
    kit_settle(k);
    assert_int_equal(t.times, 1);
    assert_int_equal(t.id, id);
    return t.c;
}

static void a_message_is_cancelled_in_all_its_queues_but_where_it_is_leased(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    fill(&k, "both", 2);
    uint64_t id = first_id(&k, OTHER, QUEUE_READY);
    struct hub_cancelled c = cancel(&k, id);
    assert_true(c.cancelled == 2 && c.leased == 0 && c.dead == 0);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 1);
    assert_int_equal(count(&k, OTHER, QUEUE_READY), 1);
    c = cancel(&k, id);
    assert_true(c.cancelled == 0 && c.leased == 0 && c.dead == 0);
    id = first_id(&k, OTHER, QUEUE_READY);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    assert_int_equal(w->n, 1);
    c = cancel(&k, id);
    assert_true(c.cancelled == 1 && c.leased == 1);
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_KILL } });
    c = cancel(&k, id);
    assert_true(c.cancelled == 0 && c.leased == 0 && c.dead == 1);
    assert_int_equal(queue_counters(hub_queue(k.h, JOBS))->cancelled, 1);
    assert_int_equal(queue_counters(hub_queue(k.h, OTHER))->cancelled, 2);
    kit_close(&k);
}

static void a_cancel_is_recorded_as_an_end_and_answers_the_publisher(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_publisher(&k);
    struct told t = { .times = 0 };
    fill(&k, "t", 1);
    assert_int_equal(hub_cancel(k.h, first_id(&k, JOBS, QUEUE_READY), on_cancelled, &t), SL_OK);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    kit_settle(&k);
    kit_publish(from, 1, 1, "t");
    kit_commit(&k, SL_ENOSPC);
    assert_int_equal(hub_cancel(k.h, first_id(&k, JOBS, QUEUE_READY), on_cancelled, &t), SL_OK);
    kit_turn(&k);
    assert_int_equal(t.c.cancelled, 1);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

static void one_walk_looks_for_many_and_too_many_are_refused(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 10000);
    fill(&k, "t", 2000);
    struct told t = { .times = 0 };
    uint64_t id = first_id(&k, JOBS, QUEUE_READY);
    uint32_t asked = 0;
    while (hub_cancel(k.h, id + asked, on_cancelled, &t) == SL_OK)
        asked++;
    assert_true(asked >= 100 && asked < 2000);
    kit_settle(&k);
    assert_int_equal(t.times, asked);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 2000 - asked);
    kit_close(&k);
}

/* The first of them takes it, the second finds nothing; neither is forgotten. */
static void the_same_message_may_be_cancelled_twice_at_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct told a = { .times = 0 }, b = { .times = 0 };
    fill(&k, "t", 1);
    uint64_t id = first_id(&k, JOBS, QUEUE_READY);
    assert_int_equal(hub_cancel(k.h, id, on_cancelled, &a), SL_OK);
    assert_int_equal(hub_cancel(k.h, id, on_cancelled, &b), SL_OK);
    kit_settle(&k);
    assert_true(a.times == 1 && b.times == 1);
    assert_int_equal(a.c.cancelled + b.c.cancelled, 1);
    kit_close(&k);
}

static void with_a_broken_store_nothing_is_cancelled(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    fill(&k, "t", 2);
    hub_queue_pause(k.h, OTHER, true);
    kit_turn(&k);
    kit_commit(&k, SL_EIO);
    struct hub_cancelled c = cancel(&k, first_id(&k, JOBS, QUEUE_READY));
    assert_true(c.cancelled == 0 && c.refused == 1);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 2);
    kit_close(&k);
}

static void what_is_still_looked_for_at_the_end_is_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct told t = { .times = 0 };
    assert_int_equal(hub_cancel(k.h, 7, on_cancelled, &t), SL_OK);
    kit_close(&k);
    assert_int_equal(t.times, 1);
}

/* ---- by job-id ---- */

static void send_job(struct kit_client *c, const char *topic, const char *id, const char *more)
{
    char destination[64], headers[256];
    snprintf(destination, sizeof destination, "/topic/%s", topic);
    snprintf(headers, sizeof headers, "job-id:%s\n%s", id, more);
    stomp_send(c, destination, "work", headers);
}

static const char *status(struct kit *k, const char *id)
{
    static char text[512];
    struct sl_buf out = { 0 };
    assert_int_equal(hub_job(k->h, sl_str(id), &out), SL_OK);
    snprintf(text, sizeof text, "%.*s", (int)sl_buf_len(&out), (const char *)sl_buf_view(&out).p);
    sl_buf_fini(&out);
    return text;
}

static struct hub_cancelled cancel_job(struct kit *k, const char *id)
{
    struct hub_cancelled c;
    assert_int_equal(hub_cancel_job(k->h, sl_str(id), &c), SL_OK);
    return c;
}

static void a_job_is_cancelled_at_once_wherever_it_waits(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_stomp(&k);
    send_job(from, "both", "j1", "");
    send_job(from, "t", "j2", "delay:10s\n");
    kit_settle(&k);
    assert_int_equal(cancel_job(&k, "j1").cancelled, 2);
    assert_int_equal(cancel_job(&k, "j2").cancelled, 1);
    assert_int_equal(count(&k, JOBS, QUEUE_READY) + count(&k, OTHER, QUEUE_READY) + count(&k, JOBS, QUEUE_DELAYED), 0);
    assert_non_null(strstr(status(&k, "j2"), "{\"state\":\"cancelled\",\"attempt\":0,\"queue\":\"jobs\""));
    struct hub_cancelled c = cancel_job(&k, "j2");
    assert_true(c.cancelled == 0 && c.leased == 0);
    assert_int_equal(hub_cancel_job(k.h, sl_str("j3"), &c), SL_ENOENT);
    kit_settle(&k);
    kit_close(&k);
}

static void a_job_that_waits_for_its_retry_can_be_cancelled_and_one_that_runs_cannot(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_stomp(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(from, "t", "j1", "");
    struct hub_cancelled c = cancel_job(&k, "j1");
    assert_true(c.cancelled == 0 && c.leased == 1);
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_RETRY } });
    assert_int_equal(cancel_job(&k, "j1").cancelled, 1);
    kit_pass(&k, 1000);
    assert_int_equal(w->n, 0);
    kit_settle(&k);
    kit_close(&k);
}

/* Kept jobs that end are forgotten in time: a cancelled one is an end. */
static void a_cancelled_job_is_told_and_forgotten_in_its_time(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    struct kit_client *from = kit_stomp(&k), *to = kit_stomp(&k);
    kit_frame(to, "SUBSCRIBE\nid:1\ndestination:/topic/$jobs/j1\n\n");
    send_job(from, "t", "j1", "");
    kit_settle(&k);
    (void)kit_log(to);
    (void)cancel_job(&k, "j1");
    kit_settle(&k);
    assert_non_null(strstr(kit_log(to), "\"state\":\"cancelled\""));
    kit_pass(&k, 61000);
    struct hub_cancelled c;
    assert_int_equal(hub_cancel_job(k.h, sl_str("j1"), &c), SL_ENOENT);
    kit_close(&k);
}

static void restore(struct kit *k, uint64_t id, enum queue_state state, uint32_t attempts, const char *job)
{
    struct queue_restored r = { .id = id, .bytes = 100, .priority = 4, .state = state, .attempts = attempts, .due_ms = state == QUEUE_READY ? 0 : k->wall_ms + 500, .job_id = sl_str(job) };
    assert_int_equal(hub_restore_entry(k->h, 1, &r), SL_OK);
}

static void after_a_restart_jobs_are_known_as_they_stand_and_can_be_cancelled(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k, 1000);
    restore(&k, 1, QUEUE_READY, 0, "queued");
    restore(&k, 2, QUEUE_DELAYED, 0, "delayed");
    restore(&k, 3, QUEUE_DELAYED, 2, "retrying");
    restore(&k, 4, QUEUE_DEAD, 5, "dead");
    restore(&k, 5, QUEUE_READY, 0, "");
    kit_turn(&k);
    assert_non_null(strstr(status(&k, "queued"), "\"state\":\"queued\",\"attempt\":0,\"queue\":\"jobs\""));
    assert_non_null(strstr(status(&k, "delayed"), "\"state\":\"delayed\""));
    assert_non_null(strstr(status(&k, "retrying"), "\"state\":\"retrying\",\"attempt\":2"));
    assert_non_null(strstr(status(&k, "dead"), "\"state\":\"dead\",\"attempt\":5"));
    assert_int_equal(cancel_job(&k, "queued").cancelled, 1);
    assert_int_equal(cancel_job(&k, "delayed").cancelled, 1);
    assert_int_equal(cancel_job(&k, "retrying").cancelled, 1);
    struct hub_cancelled c = cancel_job(&k, "dead");
    assert_true(c.cancelled == 0 && c.dead == 1);
    assert_int_equal(count(&k, JOBS, QUEUE_READY), 1);
    kit_settle(&k);
    kit_close(&k);
}

static void after_a_restart_no_more_jobs_are_known_than_may_be_and_the_latest_win(void **state)
{
    (void)state;
    struct kit k = { .jobs_max = 2 };
    struct hub_cancelled c;
    open_queues(&k, 1000);
    restore(&k, 1, QUEUE_READY, 0, "a");
    restore(&k, 2, QUEUE_READY, 0, "b");
    restore(&k, 3, QUEUE_READY, 0, "c");
    restore(&k, 4, QUEUE_READY, 0, "c");
    assert_int_equal(hub_cancel_job(k.h, sl_str("a"), &c), SL_ENOENT);
    assert_int_equal(cancel_job(&k, "c").cancelled, 1);
    struct queue_peeked p[4];
    assert_int_equal(queue_peek(hub_queue(k.h, JOBS), QUEUE_READY, p, 4), 3);
    assert_int_equal(p[2].id, 3); /* the job is the later one */
    kit_settle(&k);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_cancelled_in_all_its_queues_but_where_it_is_leased),
        cmocka_unit_test(a_cancel_is_recorded_as_an_end_and_answers_the_publisher),
        cmocka_unit_test(one_walk_looks_for_many_and_too_many_are_refused),
        cmocka_unit_test(the_same_message_may_be_cancelled_twice_at_once),
        cmocka_unit_test(with_a_broken_store_nothing_is_cancelled),
        cmocka_unit_test(what_is_still_looked_for_at_the_end_is_answered),
        cmocka_unit_test(a_job_is_cancelled_at_once_wherever_it_waits),
        cmocka_unit_test(a_job_that_waits_for_its_retry_can_be_cancelled_and_one_that_runs_cannot),
        cmocka_unit_test(a_cancelled_job_is_told_and_forgotten_in_its_time),
        cmocka_unit_test(after_a_restart_jobs_are_known_as_they_stand_and_can_be_cancelled),
        cmocka_unit_test(after_a_restart_no_more_jobs_are_known_than_may_be_and_the_latest_win),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
