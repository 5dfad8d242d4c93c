/* Status of jobs at $jobs/ID: what is told, when, to whom, and how long it is known. */
#include "stomp_clients.h"

enum { JOBS, OTHER }; /* the hub's indexes */

static void open_queues(struct kit *k)
{
    k->jobs_max = k->jobs_max == 0 ? 10 : k->jobs_max;
    kit_open(k);
    struct queue_config jobs = kit_queue("jobs", 1), other = kit_queue("other", 2);
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_queue(k->h, &other);
    assert_int_equal(hub_add_route(k->h, "t", JOBS), SL_OK);
    assert_int_equal(hub_add_route(k->h, "both", JOBS), SL_OK);
    assert_int_equal(hub_add_route(k->h, "both", OTHER), SL_OK);
}

static void send_job(struct kit_client *c, const char *topic, const char *id, const char *more)
{
    char destination[64], headers[256];
    snprintf(destination, sizeof destination, "/topic/%s", topic);
    snprintf(headers, sizeof headers, "job-id:%s\n%s", id, more == NULL ? "" : more);
    stomp_send(c, destination, "work", headers);
}

static void assert_status(struct kit *k, const char *id, const char *begins)
{
    struct sl_buf out = { 0 };
    assert_int_equal(hub_job(k->h, sl_str(id), &out), SL_OK);
    assert_int_equal(sl_buf_append(&out, "", 1), SL_OK);
    const char *text = (const char *)sl_buf_view(&out).p;
    if (strncmp(text, begins, strlen(begins)) != 0)
        fail_msg("%s does not begin with %s", text, begins);
    sl_buf_fini(&out);
}

static bool is_known(struct kit *k, const char *id)
{
    struct sl_buf out = { 0 };
    int err = hub_job(k->h, sl_str(id), &out);
    sl_buf_fini(&out);
    return err == SL_OK;
}

/* How many of the lines that came are of that state. */
static uint32_t told(struct kit_client *c, const char *state)
{
    char text[64];
    uint32_t n = 0;
    snprintf(text, sizeof text, "\"state\":\"%s\"", state);
    for (const char *p = kit_log(c); (p = strstr(p, text)) != NULL; p++)
        n++;
    return n;
}

static struct hub_answer with(enum queue_verb verb)
{
    return (struct hub_answer){ .verb = { .verb = verb }, .reason = sl_str("why") };
}

/* ---- states ---- */

static void a_job_goes_from_queued_over_active_and_retrying_to_done(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    send_job(c, "t", "j1", NULL);
    kit_settle(&k);
    assert_status(&k, "j1", "{\"state\":\"queued\",\"attempt\":0,\"queue\":\"jobs\",\"at\":\"2023-11-14T");
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    assert_status(&k, "j1", "{\"state\":\"active\",\"attempt\":1,");
    struct hub_answer a = with(QUEUE_RETRY);
    kit_answer(w, 0, &a);
    assert_status(&k, "j1", "{\"state\":\"retrying\",\"attempt\":1,");
    kit_pass(&k, 1000);
    assert_status(&k, "j1", "{\"state\":\"active\",\"attempt\":2,");
    a = with(QUEUE_RELEASE);
    kit_answer(w, 0, &a);
    assert_status(&k, "j1", "{\"state\":\"retrying\",\"attempt\":2,");
    kit_pass(&k, 1000);
    kit_ack(w, 0);
    assert_status(&k, "j1", "{\"state\":\"done\",\"attempt\":2,");
    kit_close(&k);
}

static void a_job_that_waits_for_its_time_is_delayed_then_queued(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    send_job(kit_stomp(&k), "t", "j1", "delay:500\n");
    assert_status(&k, "j1", "{\"state\":\"delayed\",");
    kit_pass(&k, 501);
    assert_status(&k, "j1", "{\"state\":\"queued\",");
    kit_close(&k);
}

static void poison_is_dead_and_what_expires_is_expired(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    send_job(c, "t", "old", "expires:1700000000500\n");
    kit_settle(&k);
    kit_pass(&k, 1000);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    assert_status(&k, "old", "{\"state\":\"expired\",");
    send_job(c, "t", "bad", NULL);
    struct hub_answer a = with(QUEUE_KILL);
    kit_answer(w, 0, &a);
    assert_status(&k, "bad", "{\"state\":\"dead\",\"attempt\":1,");
    kit_close(&k);
}

static void with_several_queues_it_is_a_map(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    send_job(kit_stomp(&k), "both", "j1", NULL);
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, OTHER);
    kit_ack(w, 0);
    assert_status(&k, "j1", "{\"queues\":{\"jobs\":{\"state\":\"queued\",\"attempt\":0,\"at\":\"2023-11-14T22:13:20.000Z\"},\"other\":{\"state\":\"done\",\"attempt\":1,");
    kit_pass(&k, 61000);
    assert_true(is_known(&k, "j1")); /* it goes on in one of them */
    kit_close(&k);
}

static void a_short_result_is_shown_and_what_is_no_text_is_not(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(c, "t", "j1", NULL);
    struct hub_answer a = with(QUEUE_ACK);
    a.has_result = true;
    a.result = sl_str("say \"42\"\n");
    kit_answer(w, 0, &a);
    assert_status(&k, "j1", "{\"state\":\"done\",\"attempt\":1,\"result\":\"say \\\"42\\\"\\u000a\",\"queue\"");
    send_job(c, "t", "j2", NULL);
    a.result = sl_str("\xff");
    kit_answer(w, 0, &a);
    assert_status(&k, "j2", "{\"state\":\"done\",\"attempt\":1,\"queue\"");
    kit_close(&k);
}

static void an_id_stands_for_its_latest_message(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(c, "t", "j1", NULL);
    send_job(c, "t", "j1", NULL);
    struct hub_answer a = with(QUEUE_KILL);
    kit_answer(w, 0, &a);
    assert_status(&k, "j1", "{\"state\":\"active\",");
    kit_ack(w, 0);
    assert_status(&k, "j1", "{\"state\":\"done\",");
    kit_close(&k);
}

static void an_ill_formed_id_makes_no_job(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    char long_id[130];
    memset(long_id, 'a', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    send_job(c, "t", "a/b", NULL);
    send_job(c, "t", long_id, NULL);
    assert_false(is_known(&k, "a/b"));
    assert_false(is_known(&k, long_id));
    assert_int_equal(hub_counters(k.h)->meaning_ignored, 2);
    kit_close(&k);
}

/* ---- who is told ---- */

static void who_subscribes_is_told_at_once_and_of_each_change(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    send_job(c, "t", "j1", NULL);
    send_job(c, "t", "j2", NULL);
    kit_settle(&k);
    struct kit_client *one = kit_listener(&k, "one", 0, "x", 0), *all = kit_stomp(&k);
    kit_subscribe(one, "$jobs/j1", 0);
    stomp_subscribe(all, "s", "/topic/$jobs/*", "auto", NULL);
    const char *log = kit_log(one);
    assert_non_null(strstr(log, "PUBLISH q0 $jobs/j1 {\"state\":\"queued\""));
    assert_non_null(strstr(log, " retain\n"));
    assert_int_equal(told(all, "queued"), 2);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    assert_int_equal(told(all, "active"), 2);
    kit_ack(w, 0);
    log = kit_log(one);
    assert_non_null(strstr(log, "PUBLISH q0 $jobs/j1 {\"state\":\"active\""));
    assert_non_null(strstr(log, "PUBLISH q0 $jobs/j1 {\"state\":\"done\""));
    assert_null(strstr(log, " retain\n"));
    assert_int_equal(told(all, "done"), 1);
    kit_close(&k);
}

static void many_jobs_reach_a_new_subscriber_at_its_pace(void **state)
{
    (void)state;
    struct kit k = { .jobs_max = 1000 };
    k.subscribers = kit_few(2);
    k.subscribers.output_bytes = 512;
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    for (int i = 0; i < 40; i++) {
        char id[16];
        snprintf(id, sizeof id, "j%d", i);
        send_job(c, "t", id, NULL);
    }
    kit_settle(&k);
    struct kit_client *all = kit_mqtt(&k, true, "all", 0);
    kit_subscribe(all, "$jobs/+", 0);
    uint32_t n = told(all, "queued");
    assert_in_range(n, 1, 10);
    for (int i = 0; i < 60; i++) {
        n += told(all, "queued");
        kit_pass(&k, 1);
    }
    assert_int_equal(n, 40);
    kit_close(&k);
}

static void nobody_publishes_there(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_publisher(&k);
    kit_publish(c, 1, 1, "$jobs/j1");
    assert_string_equal(kit_log(c), "PUBACK 1 0x87\n");
    kit_close(&k);
}

static void progress_is_told_once_a_second(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(c, "t", "j1", NULL);
    kit_settle(&k);
    struct kit_client *one = kit_listener(&k, "one", 0, "$jobs/j1", 0);
    (void)kit_log(one);
    for (uint32_t i = 1; i <= 10; i++) {
        assert_int_equal(hub_progress(k.h, w->consumer, w->held[0].lease, i * 40), SL_OK);
        kit_turn(&k);
        kit_pass(&k, 10);
    }
    assert_status(&k, "j1", "{\"state\":\"active\",\"attempt\":1,\"progress\":0.4,");
    assert_int_equal(told(one, "active"), 0);
    kit_pass(&k, 1000);
    assert_int_equal(told(one, "active"), 1);
    kit_pass(&k, 5000);
    assert_int_equal(told(one, "active"), 0);
    kit_ack(w, 0);
    assert_int_equal(told(one, "done"), 1); /* a state does not wait */
    kit_close(&k);
}

static void progress_of_a_lease_that_is_over_is_stale(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(kit_stomp(&k), "t", "j1", NULL);
    uint64_t lease = w->held[0].lease;
    kit_ack(w, 0);
    assert_int_equal(hub_progress(k.h, w->consumer, lease, 500), SL_ESTATE);
    assert_int_equal(hub_counters(k.h)->stale_answers, 1);
    kit_close(&k);
}

/* ---- how long it is known ---- */

static void a_job_is_forgotten_some_time_after_its_end(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_queues(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(kit_stomp(&k), "t", "j1", NULL);
    kit_ack(w, 0);
    kit_pass(&k, 59000);
    assert_true(is_known(&k, "j1"));
    kit_pass(&k, 1001);
    assert_false(is_known(&k, "j1"));
    kit_close(&k);
}

static void over_its_limit_the_table_forgets_first_who_ended_first(void **state)
{
    (void)state;
    struct kit k = { .jobs_max = 3 };
    open_queues(&k);
    struct kit_client *c = kit_stomp(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    send_job(c, "t", "a", NULL);
    send_job(c, "t", "b", NULL);
    send_job(c, "t", "c", NULL);
    kit_ack(w, 1);
    send_job(c, "t", "d", NULL);
    assert_true(is_known(&k, "a") && !is_known(&k, "b") && is_known(&k, "c") && is_known(&k, "d"));
    send_job(c, "t", "e", NULL);
    assert_false(is_known(&k, "a"));
    assert_int_equal(hub_counters(k.h)->jobs_forgotten, 1);
    hub_check(k.h);
    kit_ack(w, 0); /* it is known again as soon as it moves */
    assert_status(&k, "a", "{\"state\":\"done\",");
    hub_check(k.h);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_goes_from_queued_over_active_and_retrying_to_done),
        cmocka_unit_test(a_job_that_waits_for_its_time_is_delayed_then_queued),
        cmocka_unit_test(poison_is_dead_and_what_expires_is_expired),
        cmocka_unit_test(with_several_queues_it_is_a_map),
        cmocka_unit_test(a_short_result_is_shown_and_what_is_no_text_is_not),
        cmocka_unit_test(an_id_stands_for_its_latest_message),
        cmocka_unit_test(an_ill_formed_id_makes_no_job),
        cmocka_unit_test(who_subscribes_is_told_at_once_and_of_each_change),
        cmocka_unit_test(many_jobs_reach_a_new_subscriber_at_its_pace),
        cmocka_unit_test(nobody_publishes_there),
        cmocka_unit_test(progress_is_told_once_a_second),
        cmocka_unit_test(progress_of_a_lease_that_is_over_is_stale),
        cmocka_unit_test(a_job_is_forgotten_some_time_after_its_end),
        cmocka_unit_test(over_its_limit_the_table_forgets_first_who_ended_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
