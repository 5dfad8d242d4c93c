/* STOMP's consumers of queues: one holder at a time, credit, clocks, and who is
 * charged when one is lost. */
#include "stomp_clients.h"

#define ACK_TIMEOUT_MS 30000u

static void start(struct kit *k)
{
    struct queue_config jobs = kit_queue("jobs", 1), orphan = kit_queue("gone", 2);
    jobs.ack_timeout_ms = ACK_TIMEOUT_MS;
    jobs.max_bytes = 64u << 20;
    kit_open(k);
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_orphan(k->h, &orphan);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static struct kit_client *consumer(struct kit *k, const char *ack, const char *more)
{
    struct kit_client *c = kit_stomp(k);
    stomp_subscribe(c, "s", "/queue/jobs", ack, more);
    assert_string_equal(stomp_log(c), "");
    return c;
}

static void send_jobs(struct kit_client *from, uint32_t n)
{
    char body[16];
    for (uint32_t i = 1; i <= n; i++) {
        snprintf(body, sizeof body, "j%u", i);
        stomp_send(from, "/queue/jobs", body, NULL);
    }
}

static uint64_t in_state(struct kit *k, enum queue_state state)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, 0), &d);
    return d.count[state];
}

static const struct queue_counters *counters(struct kit *k)
{
    return queue_counters(hub_queue(k->h, 0));
}

/* Cause and detail of the failures in the batch under way: "consumer_lost connection lost\n". */
static const char *failures(struct kit *k)
{
    static char out[512];
    size_t n = 0;
    kit_turn(k);
    out[0] = '\0';
    for (uint32_t i = 0; k->pending != NULL && i < k->pending->n; i++) {
        const struct batch_op *op = &k->pending->ops[i];
        struct batch_failure f;
        size_t pos = 0;
        if (op->kind != BATCH_UPDATE || op->note == NULL)
            continue;
        assert_int_equal(batch_failure_next(sl_bytes_of(op->note->bytes, op->note->n), &pos, &f), SL_OK);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s %.*s\n", queue_cause_name(f.cause), (int)f.detail.n, (const char *)f.detail.p);
    }
    return out;
}

#define JOB(ack, attempt, again, body) "MESSAGE subscription=s destination=/queue/jobs" ack " attempt=" #attempt " redelivered=" #again " " body "\n"

/* ---- one holder ---- */

static void a_message_goes_to_one_consumer_and_leaves_with_its_ack(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *a = consumer(&k, "client-individual", NULL), *b = consumer(&k, "client-individual", NULL);
    send_jobs(from, 2);
    assert_int_equal(in_state(&k, QUEUE_LEASED), 2);
    assert_string_equal(stomp_log(a), JOB(" ack=1-1", 1, false, "j1"));
    assert_string_equal(stomp_log(b), JOB(" ack=1-1", 1, false, "j2")); /* who has more credit has the next */
    stomp_answer(a, "ACK", "1-1", NULL);
    assert_int_equal(counters(&k)->acked, 1);
    assert_int_equal(in_state(&k, QUEUE_LEASED), 1);
    kit_close(&k);
}

static void consumers_and_workers_stand_in_one_line(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client-individual", "prefetch-count:2\n");
    struct kit_worker *w = kit_worker(&k, 0, 0);
    send_jobs(from, 5);
    assert_true(w->n > 0);
    assert_int_equal(w->n + stomp_messages(c), 5);
    kit_close(&k);
}

static void a_routed_message_shows_its_topic(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_publisher(&k), *c = consumer(&k, "client", NULL);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(stomp_log(c), "MESSAGE subscription=s destination=/topic/t/1 ack=1-1 attempt=1 redelivered=false p1\n");
    kit_close(&k);
}

static void a_message_of_qos_2_waits_for_its_commit(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_publisher(&k), *c = consumer(&k, "auto", NULL);
    kit_publish(from, 2, 1, "t/1");
    assert_int_equal(stomp_messages(c), 0);
    kit_commit(&k, SL_OK);
    assert_int_equal(stomp_messages(c), 1);
    assert_int_equal(counters(&k)->acked, 1);
    kit_close(&k);
}

static void an_unknown_queue_has_no_consumers(void **state)
{
    (void)state;
    static const char *const names[] = { "/queue/nobody", "/queue/gone" };
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = kit_stomp(&k);
        stomp_subscribe(c, "s", names[i], "auto", NULL);
        assert_non_null(strstr(stomp_log(c), "ERROR message="));
        assert_null(c->c);
        kit_close(&k);
    }
}

/* ---- credit and pace ---- */

static void the_prefetch_count_is_the_credit(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", "prefetch-count:3\n");
    send_jobs(from, 8);
    assert_int_equal(stomp_messages(c), 3);
    stomp_answer(c, "ACK", "1-2", NULL);
    assert_int_equal(stomp_messages(c), 2);
    stomp_answer(c, "ACK", "1-5", NULL);
    assert_int_equal(stomp_messages(c), 3);
    assert_int_equal(counters(&k)->acked, 5);
    kit_close(&k);
}

static void auto_is_answered_when_it_is_in_the_output(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "auto", NULL);
    stomp_send(from, "/queue/jobs", "x", "receipt:r\n");
    assert_string_equal(stomp_log(c), JOB("", 1, false, "x"));
    assert_string_equal(stomp_log(from), "RECEIPT receipt-id=r\n"); /* finished with is as good as stored */
    assert_null(k.pending);
    assert_int_equal(counters(&k)->acked, 1);
    assert_int_equal(counters(&k)->never_written, 1);
    kit_close(&k);
}

static void auto_takes_what_waited_in_the_store(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k);
    send_jobs(from, 3);
    kit_settle(&k);
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/queue/jobs", "auto", NULL);
    assert_int_equal(stomp_messages(c), 3);
    kit_settle(&k);
    assert_int_equal(in_state(&k, QUEUE_READY) + in_state(&k, QUEUE_LEASED), 0);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

/* Reads what there is, and goes on not reading. */
static void read_once(struct kit_client *c)
{
    struct sl_buf *out = hub_client_output(c->c);
    assert_int_equal(sl_buf_append_bytes(&c->rx, sl_buf_view(out)), SL_OK);
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c->c, false);
    kit_turn(c->k);
}

static void a_full_output_holds_the_queue_up_and_nobody_else(void **state)
{
    (void)state;
    static const char *const modes[] = { "auto", "client" };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct kit k = { 0 };
        k.subscribers = kit_few(20);
        k.subscribers.output_bytes = 1000;
        start(&k);
        struct kit_client *from = kit_stomp(&k), *c = consumer(&k, modes[i], NULL);
        c->unread = true;
        send_jobs(from, 40);
        assert_true(sl_buf_len(hub_client_output(c->c)) < 2000);
        assert_true(in_state(&k, QUEUE_READY) > 20);
        assert_true(hub_deadline_us(k.h) > k.mono_us); /* nothing to do until it reads */
        uint32_t got = 0;
        for (int rounds = 0; rounds < 20; rounds++) {
            read_once(c);
            got += stomp_messages(c);
        }
        assert_int_equal(got, 40);
        kit_close(&k);
    }
}

static void a_topic_and_a_queue_share_a_slow_readers_output(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1000);
    k.subscribers.output_bytes = 600;
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "auto", NULL);
    stomp_subscribe(c, "u", "/topic/u", "auto", NULL);
    c->unread = true;
    send_jobs(from, 60);
    for (int i = 0; i < 60; i++)
        stomp_send(from, "/topic/u", "x", NULL);
    uint32_t jobs = 0, topics = 0;
    for (int i = 0; i < 80 && jobs + topics < 120; i++) {
        read_once(c);
        const char *log = stomp_log(c);
        for (const char *p = log; (p = strstr(p, "subscription=s")) != NULL; p++)
            jobs++;
        for (const char *p = log; (p = strstr(p, "subscription=u")) != NULL; p++)
            topics++;
        if (jobs + topics > 50 && jobs + topics < 70)
            assert_true(jobs > 10 && topics > 10);
    }
    assert_int_equal(jobs, 60);
    assert_int_equal(topics, 60);
    kit_close(&k);
}

static void consumers_hold_only_a_part_of_the_memory(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 1u << 20 };
    char body[4096];
    start(&k);
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    struct kit_client *from = kit_stomp(&k);
    for (int i = 0; i < 100; i++) {
        char frame[8192];
        snprintf(frame, sizeof frame, "SEND\ndestination:/queue/jobs\n\n%s", body);
        kit_frame(from, frame);
    }
    kit_settle(&k);
    stomp_subscribe(kit_stomp(&k), "s", "/queue/jobs", "client", "prefetch-count:1000\n");
    kit_settle(&k);
    uint64_t held = in_state(&k, QUEUE_LEASED);
    assert_true(held > 10 && held < 50); /* an eighth of a megabyte */
    assert_true(hub_deadline_us(k.h) > k.mono_us);
    kit_close(&k);
}

/* ---- lost, and closed ---- */

static void of_a_lost_consumer_the_oldest_is_charged(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *lost = consumer(&k, "client-individual", NULL);
    send_jobs(from, 4);
    stomp_answer(lost, "ACK", "1-1", NULL);
    kit_settle(&k);
    struct kit_client *next = consumer(&k, "client-individual", NULL);
    kit_lose(lost);
    assert_string_equal(failures(&k), "consumer_lost connection lost\n");
    assert_string_equal(stomp_log(next), JOB(" ack=1-1", 1, true, "j3") JOB(" ack=1-2", 1, true, "j4"));
    kit_pass(&k, 200);
    assert_string_equal(stomp_log(next), JOB(" ack=1-3", 2, true, "j2"));
    kit_close(&k);
}

static void each_subscription_of_a_lost_connection_is_charged_one(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *lost = consumer(&k, "client", NULL);
    stomp_subscribe(lost, "second", "/queue/jobs", "client", NULL);
    send_jobs(from, 6);
    kit_settle(&k);
    kit_lose(lost);
    assert_string_equal(failures(&k), "consumer_lost connection lost\nconsumer_lost connection lost\n");
    assert_int_equal(in_state(&k, QUEUE_READY), 4);
    kit_close(&k);
}

static void who_breaks_the_protocol_is_charged_as_such_and_at_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *bad = consumer(&k, "client", NULL);
    send_jobs(from, 2);
    kit_settle(&k);
    hub_client_feed(bad->c, sl_str("NONSENSE\n\n"));
    assert_true(hub_client_closing(bad->c)); /* its socket is still open */
    assert_int_equal(in_state(&k, QUEUE_LEASED), 0);
    assert_string_equal(failures(&k), "worker_fault unknown_command\n");
    kit_close(&k);
}

static void who_goes_in_order_is_charged_nothing(void **state)
{
    (void)state;
    static const char *const goodbyes[] = { "UNSUBSCRIBE\nid:s\nreceipt:r\n\n", "DISCONNECT\nreceipt:r\n\n" };
    for (size_t i = 0; i < SL_COUNT(goodbyes); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", NULL);
        send_jobs(from, 3);
        kit_settle(&k);
        (void)stomp_log(c);
        kit_frame(c, goodbyes[i]);
        assert_string_equal(stomp_log(c), i == 0 ? "RECEIPT receipt-id=r\n" : "RECEIPT receipt-id=r\nclosed\n");
        assert_int_equal(in_state(&k, QUEUE_READY), 3);
        assert_int_equal(counters(&k)->retried, 0);
        assert_int_equal(counters(&k)->returned, 3);
        kit_close(&k);
    }
}

static void a_goodbye_gives_back_before_it_is_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", NULL);
    send_jobs(from, 2);
    kit_settle(&k);
    (void)stomp_log(c);
    stomp_send(c, "/topic/t/1", "x", "receipt:first\n");
    kit_frame(c, "DISCONNECT\nreceipt:last\n\n");
    assert_non_null(c->c);
    assert_int_equal(in_state(&k, QUEUE_LEASED), 0);
    assert_int_equal(counters(&k)->retried, 0);
    kit_settle(&k);
    const char *log = stomp_log(c);
    assert_non_null(strstr(log, "RECEIPT receipt-id=first\nRECEIPT receipt-id=last\nclosed\n"));
    kit_close(&k);
}

static void what_a_full_output_ends_goes_to_the_next(void **state)
{
    (void)state;
    static const char *const modes[] = { "auto", "client" };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct kit k = { .memory_bytes = 256u << 20 };
        static char frame[60000];
        k.subscribers = kit_few(1000);
        k.subscribers.output_bytes = 64u << 20;
        start(&k);
        struct kit_client *from = kit_stomp(&k), *c = consumer(&k, modes[i], "prefetch-count:1000\n");
        int n = snprintf(frame, sizeof frame, "SEND\ndestination:/topic/t/1\n\n");
        memset(frame + n, 'x', sizeof frame - 1 - (size_t)n);
        c->unread = true;
        uint64_t sent = 0;
        for (; sent < 200 && c->c != NULL; sent++)
            kit_frame(from, frame);
        assert_null(c->c);
        kit_settle(&k);
        kit_pass(&k, 200);
        assert_int_equal(in_state(&k, QUEUE_LEASED), 0);
        assert_int_equal(counters(&k)->acked + in_state(&k, QUEUE_READY), sent);
        assert_int_equal(counters(&k)->retried, i); /* the oldest of what it had; nobody had what was not sent */
        kit_close(&k);
    }
}

/* Taken after the turn's commit: its producer is told in the same turn. */
static void what_auto_takes_late_is_answered_all_the_same(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1000);
    k.subscribers.output_bytes = 200;
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "auto", NULL);
    stomp_subscribe(c, "u", "/topic/u", "auto", NULL);
    (void)kit_mqtt(&k, true, "m", 100);
    assert_non_null(k.pending); /* a batch is under way */
    c->unread = true;
    stomp_send(from, "/topic/u", "x", NULL);
    stomp_send(from, "/topic/u", "x", NULL); /* waits: the queue does, too */
    stomp_send(from, "/queue/jobs", "x", "receipt:r\n");
    assert_int_equal(counters(&k)->acked, 0);
    struct sl_buf *out = hub_client_output(c->c);
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c->c, false);
    kit_turn(&k);
    assert_int_equal(counters(&k)->acked, 1);
    assert_string_equal(stomp_log(from), "RECEIPT receipt-id=r\n");
    kit_close(&k);
}

static void who_does_not_answer_in_time_is_told_and_loses_what_it_has(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *silent = consumer(&k, "client-individual", NULL);
    stomp_subscribe(silent, "idle", "/topic/u", "auto", NULL);
    send_jobs(from, 3);
    kit_settle(&k);
    (void)stomp_log(silent);
    struct kit_client *next = consumer(&k, "client-individual", NULL);
    kit_pass(&k, ACK_TIMEOUT_MS / 2);
    stomp_answer(silent, "ACK", "1-2", NULL); /* not the oldest: its clock goes on */
    kit_pass(&k, ACK_TIMEOUT_MS / 2);
    assert_string_equal(stomp_log(silent), "ERROR message=acknowledgement timeout\nclosed\n");
    assert_string_equal(stomp_log(next), JOB(" ack=1-1", 1, true, "j3"));
    assert_int_equal(counters(&k)->timed_out, 1);
    kit_pass(&k, 200);
    assert_string_equal(stomp_log(next), JOB(" ack=1-2", 2, true, "j1"));
    kit_close(&k);
}

static void the_clock_is_renewed_by_extend(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", NULL);
    send_jobs(from, 1);
    kit_pass(&k, ACK_TIMEOUT_MS - 1000);
    stomp_answer(c, "NACK", "1-1", "extend:30s\n");
    kit_pass(&k, ACK_TIMEOUT_MS - 1000);
    assert_non_null(c->c);
    kit_pass(&k, 1000);
    assert_null(c->c);
    kit_close(&k);
}

static void a_timeout_charges_no_other_subscription_of_its_connection(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", "prefetch-count:1\n");
    send_jobs(from, 1);
    kit_pass(&k, 1000);
    stomp_subscribe(c, "late", "/queue/jobs", "client", NULL);
    send_jobs(from, 2);
    kit_pass(&k, ACK_TIMEOUT_MS - 1000);
    assert_null(c->c);
    assert_int_equal(counters(&k)->timed_out, 1);
    assert_int_equal(counters(&k)->retried, 1);
    assert_int_equal(in_state(&k, QUEUE_READY), 2);
    kit_close(&k);
}

static void no_consumer_holds_up_the_end(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "client", NULL);
    send_jobs(from, 2);
    kit_settle(&k);
    hub_drain(k.h);
    assert_int_equal(hub_unanswered(k.h), 0);
    stomp_answer(c, "ACK", "1-1", NULL); /* may still come */
    hub_goodbye(k.h);
    kit_settle(&k);
    assert_non_null(strstr(stomp_log(c), "ERROR message=server shutting down\nclosed\n"));
    assert_int_equal(counters(&k)->acked, 1);
    assert_int_equal(counters(&k)->retried, 0);
    assert_int_equal(in_state(&k, QUEUE_READY), 1);
    assert_true(hub_flushed(k.h));
    kit_close(&k);
}

static void who_takes_nothing_is_let_go_for_the_others(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 64u << 10 };
    k.subscribers = kit_few(1000);
    char body[2048];
    start(&k);
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    struct kit_client *from = kit_stomp(&k), *c = consumer(&k, "auto", NULL);
    c->unread = true;
    for (int i = 0; i < 10; i++) {
        char frame[4096];
        snprintf(frame, sizeof frame, "SEND\ndestination:/queue/jobs\n\n%s", body);
        kit_frame(from, frame);
    }
    assert_true(sl_buf_len(hub_client_output(c->c)) > 8192); /* an eighth of the memory */
    kit_pass(&k, 5000);
    assert_non_null(c->c);
    kit_pass(&k, 6000);
    kit_pass(&k, 1000);
    assert_null(c->c);
    assert_non_null(strstr(stomp_log(c), "ERROR message=slow consumer\n"));
    kit_close(&k);
}

static void what_consumers_cost_is_given_back(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *from = kit_stomp(&k);
    uint64_t before = hub_memory_bytes(k.h);
    struct kit_client *c = consumer(&k, "client", "prefetch-count:500\n");
    stomp_subscribe(c, "t", "/topic/t/#", "client", "prefetch-count:500\n");
    assert_true(hub_memory_bytes(k.h) > before);
    for (int i = 0; i < 100; i++)
        stomp_send(from, "/topic/t/1", "x", NULL);
    kit_settle(&k);
    kit_lose(c);
    struct kit_client *rest = kit_stomp(&k);
    stomp_subscribe(rest, "s", "/queue/jobs", "auto", NULL);
    kit_pass(&k, 2000);
    kit_settle(&k);
    kit_lose(rest);
    (void)kit_log(rest);
    kit_settle(&k);
    assert_int_equal(counters(&k)->acked, 100);
    assert_true(hub_memory_bytes(k.h) <= before + 100 * 40); /* a queue keeps its nodes */
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_to_one_consumer_and_leaves_with_its_ack),
        cmocka_unit_test(consumers_and_workers_stand_in_one_line),
        cmocka_unit_test(a_routed_message_shows_its_topic),
        cmocka_unit_test(a_message_of_qos_2_waits_for_its_commit),
        cmocka_unit_test(an_unknown_queue_has_no_consumers),
        cmocka_unit_test(the_prefetch_count_is_the_credit),
        cmocka_unit_test(auto_is_answered_when_it_is_in_the_output),
        cmocka_unit_test(auto_takes_what_waited_in_the_store),
        cmocka_unit_test(a_full_output_holds_the_queue_up_and_nobody_else),
        cmocka_unit_test(a_topic_and_a_queue_share_a_slow_readers_output),
        cmocka_unit_test(consumers_hold_only_a_part_of_the_memory),
        cmocka_unit_test(of_a_lost_consumer_the_oldest_is_charged),
        cmocka_unit_test(each_subscription_of_a_lost_connection_is_charged_one),
        cmocka_unit_test(who_breaks_the_protocol_is_charged_as_such_and_at_once),
        cmocka_unit_test(who_goes_in_order_is_charged_nothing),
        cmocka_unit_test(a_goodbye_gives_back_before_it_is_answered),
        cmocka_unit_test(what_a_full_output_ends_goes_to_the_next),
        cmocka_unit_test(what_auto_takes_late_is_answered_all_the_same),
        cmocka_unit_test(who_does_not_answer_in_time_is_told_and_loses_what_it_has),
        cmocka_unit_test(the_clock_is_renewed_by_extend),
        cmocka_unit_test(a_timeout_charges_no_other_subscription_of_its_connection),
        cmocka_unit_test(no_consumer_holds_up_the_end),
        cmocka_unit_test(who_takes_nothing_is_let_go_for_the_others),
        cmocka_unit_test(what_consumers_cost_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
