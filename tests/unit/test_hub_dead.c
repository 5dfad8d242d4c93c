/* Dead letters: forwarded when they die or later; what expires. */
#include "dead_kit.h"
#include "stomp_clients.h"

/* ---- forwarded at once ---- */

static void a_dead_letter_goes_on_at_once_and_tells_why(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    kit_publish(kit_publisher(&k), 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS), *morgue = kit_worker(&k, 1, DLQ);
    uint64_t id = w->held[0].id;
    kill(w, "no such device");
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) ");
    assert_true(k.pending->ops[0].bound && k.pending->ops[1].bound && k.pending->ops[3].held);
    assert_int_equal(morgue->n, 0); /* not before it is stored */
    kit_commit(&k, SL_OK);
    assert_int_equal(morgue->n, 1);
    const struct message *m = morgue->held[0].msg;
    assert_string_equal(morgue->held[0].payload, "p1");
    assert_true(message_id(m) != id && message_hops(m) == 1);
    assert_true(sl_bytes_is(message_topic(m), "jobs/1"));
    assert_header(m, "dead-queue", "jobs");
    assert_header(m, "dead-cause", "rejected");
    assert_header(m, "dead-attempts", "1");
    assert_header(m, "dead-at", "2023-11-14T22:13:20.020Z");
    assert_header(m, "dead-reason", "no such device");
    assert_int_equal(counters(&k, JOBS)->moved, 1);
    assert_int_equal(counters(&k, JOBS)->dead, 1);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    kit_close(&k);
}

static void who_sent_it_is_answered_when_what_it_became_is_stored(void **state)
{
    (void)state;
    struct kit k = { .commit_delay_us = 2000 };
    open_usual(&k, true);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    struct kit_client *from = kit_publisher(&k);
    for (uint16_t i = 0; i < 20; i++) { /* it is quick: what it gets is not written at once */
        kit_publish(from, 1, 2, "jobs/0");
        k.mono_us += 100;
        kit_ack(w, 0);
    }
    kit_settle(&k);
    (void)kit_log(from);
    kit_publish(from, 1, 1, "jobs/1");
    assert_int_equal(w->n, 1);
    assert_null(k.pending);
    kill(w, "no");
    assert_string_equal(kit_records(&k), "BODY ENTRY(2) "); /* of the first one nothing is written */
    assert_string_equal(kit_log(from), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_close(&k);
}

static void text_that_is_none_is_escaped_in_a_header(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS), *morgue = kit_worker(&k, 1, DLQ);
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    memcpy(longer + 1023, "\xc3\xa4", 2);
    longer[sizeof longer - 1] = '\0';
    kit_publish(from, 1, 1, "jobs/1");
    kit_settle(&k);
    kill(w, "a\xff");
    kit_publish(from, 1, 2, "jobs/2");
    kit_settle(&k);
    kill(w, longer);
    kit_publish(from, 1, 3, "jobs/3");
    kit_settle(&k);
    kill(w, "");
    kit_settle(&k);
    assert_int_equal(morgue->n, 3);
    assert_header(morgue->held[0].msg, "dead-reason", "a\\xff");
    assert_int_equal(header_of(morgue->held[1].msg, "dead-reason").n, 1023); /* not half a character */
    assert_int_equal(header_of(morgue->held[2].msg, "dead-reason").n, 0);
    kit_close(&k);
}

static void headers_of_an_earlier_death_are_replaced(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    die(&k, 1); /* it is in dlq */
    struct kit_worker *w = kit_worker(&k, 0, DLQ);
    uint64_t handle;
    kill(w, "");
    kit_settle(&k);
    assert_int_equal(hub_dead_redrive(k.h, DLQ, &(struct hub_dead_redrive){ .to = JOBS }, &handle), SL_OK);
    kit_settle(&k);
    kit_worker_end(w);
    w = kit_worker(&k, 0, JOBS);
    assert_header(w->held[0].msg, "dead-reason", "no"); /* redriven: as it was */
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    kill(w, "again");
    kit_settle(&k);
    assert_header(morgue->held[0].msg, "dead-reason", "again");
    assert_int_equal(message_hops(morgue->held[0].msg), 3);
    kit_close(&k);
}

static void a_message_from_work_goes_over_the_limit_and_an_expired_one_waits(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_messages = 1;
    g_jobs.dead_expired = true;
    g_jobs.ttl_ms = 50;
    open_with(&k, true);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 1, "jobs/1");
    kit_publish(from, 1, 2, "jobs/2");
    kit_settle(&k);
    kill(w, "no");
    kill(w, "no");
    kit_worker_end(w);
    kit_settle(&k);
    assert_int_equal(depth(&k, DLQ, QUEUE_READY), 2);
    kit_publish(from, 1, 3, "jobs/3");
    kit_pass(&k, 100);
    w = kit_worker(&k, 0, JOBS);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    kit_ack(morgue, 0);
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1); /* still full */
    kit_ack(morgue, 0);
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    assert_header(morgue->held[0].msg, "dead-cause", "expired");
    assert_header(morgue->held[0].msg, "dead-attempts", "0");
    kit_close(&k);
}

static void without_space_it_stays_and_goes_on_when_there_is_some(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kit_publish(from, 1, 2, "jobs/2");
    kit_commit(&k, SL_ENOSPC);
    kill(w, "no");
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    for (int i = 0; i < 6; i++) { /* what settles, and what waits */
        if (k.pending != NULL)
            kit_commit(&k, i < 3 ? SL_ENOSPC : SL_OK);
        assert_true(hub_health(k.h) == HUB_OK || depth(&k, DLQ, QUEUE_READY) == 0);
        kit_pass(&k, 300);
    }
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    assert_int_equal(depth(&k, DLQ, QUEUE_READY), 1);
    kit_close(&k);
}

/* The batch that has both was refused: neither is there, then both are. */
static void a_refused_batch_keeps_both_parts_of_the_step(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    kit_publish(kit_publisher(&k), 1, 1, "jobs/1");
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    kill(w, "no");
    kit_commit(&k, SL_ENOSPC);
    for (int i = 0; i < 5; i++) {
        kit_pass(&k, 300);
        assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) ");
        kit_commit(&k, i < 4 ? SL_ENOSPC : SL_OK);
    }
    kit_settle(&k);
    assert_int_equal(kit_worker(&k, 1, DLQ)->n, 1);
    kit_close(&k);
}

/* What a transaction answers is bound to what it sends; what its deaths become is leased all the same. */
static void a_death_in_a_transaction_goes_on_with_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/queue/jobs", "client-individual", NULL);
    stomp_send(c, "/queue/jobs", "p1", NULL);
    kit_settle(&k);
    (void)stomp_log(c);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    stomp_send(c, "/queue/jobs", "p2", "transaction:x\n");
    stomp_answer(c, "NACK", "1-1", "transaction:x\nreason:because\n");
    kit_frame(c, "COMMIT\ntransaction:x\nreceipt:done\n\n");
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP BODY ENTRY(2) BODY ENTRY(1) ");
    assert_int_equal(morgue->n, 0);
    kit_settle(&k);
    assert_non_null(strstr(stomp_log(c), "RECEIPT receipt-id=done\n"));
    assert_int_equal(morgue->n, 1);
    assert_header(morgue->held[0].msg, "dead-reason", "because");
    kit_close(&k);
}

static void what_was_dead_before_goes_on_when_there_is_room(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_messages = 2;
    open_with(&k, false);
    die(&k, 3);
    hub_forward_dead(k.h, JOBS, DLQ);
    kit_settle(&k);
    assert_int_equal(depth(&k, DLQ, QUEUE_READY), 2);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 1);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    assert_header(morgue->held[0].msg, "dead-cause", "rejected");
    assert_string_equal(morgue->held[1].payload, "p2"); /* the oldest first */
    kit_ack(morgue, 0);
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 0);
    assert_int_equal(hub_deadline_us(k.h), UINT64_MAX); /* nothing is wanted any more */
    kit_close(&k);
}

static void after_a_restart_the_cause_is_known_and_bodies_are_read(void **state)
{
    (void)state;
    struct kit k = { 0 };
    open_usual(&k, true);
    struct message *m = message_new(&(struct message_parts){ .id = 7, .protocol = MESSAGE_MQTT5, .topic = sl_str("jobs/x"), .payload = sl_str("p7") });
    sl_idmap_put(&k.bodies, 7, m);
    struct queue_restored r = { .id = 7, .bytes = (uint32_t)message_bytes(m), .state = QUEUE_DEAD, .attempts = 3, .due_ms = k.wall_ms - 5000, .cause = QUEUE_CAUSE_TIMEOUT };
    assert_int_equal(hub_restore_entry(k.h, 1, &r), SL_OK);
    kit_settle(&k);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    assert_int_equal(morgue->n, 1);
    assert_header(morgue->held[0].msg, "dead-cause", "timeout");
    assert_header(morgue->held[0].msg, "dead-attempts", "3");
    assert_header(morgue->held[0].msg, "dead-at", "2023-11-14T22:13:15.000Z");
    kit_close(&k);
}

/* ---- expired ---- */

static void what_expires_is_a_dead_letter_where_that_is_asked_for(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit k = { 0 };
        usual();
        g_jobs.dead_expired = i == 1;
        open_with(&k, false);
        struct mqtt_publish p = { .qos = 1, .packet_id = 1, .topic = sl_str("jobs/1"), .payload = sl_str("p1") };
        mqtt_props_init(&p.props);
        mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 2);
        kit_publish_full(kit_publisher(&k), &p);
        kit_settle(&k);
        kit_pass(&k, 3000);
        assert_int_equal(depth(&k, JOBS, QUEUE_READY), 1); /* nobody has asked for it */
        struct kit_worker *w = kit_worker(&k, 0, JOBS);
        assert_int_equal(w->n, 0);
        assert_string_equal(kit_records(&k), i == 1 ? "UPDATE(1) " : "SETTLE(1) BODY_DROP ");
        assert_int_equal(k.pending->ops[0].cause, i == 1 ? QUEUE_CAUSE_EXPIRED : 0);
        assert_int_equal(counters(&k, JOBS)->expired, i == 0);
        assert_int_equal(counters(&k, JOBS)->expired_dead, i == 1);
        assert_int_equal(counters(&k, JOBS)->dead, i == 1);
        assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), i == 1);
        kit_close(&k);
    }
}

static void one_that_expired_while_the_gateway_was_down_is_a_dead_letter_without_its_body(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_jobs.dead_expired = true;
    open_with(&k, true);
    struct message *m = message_new(&(struct message_parts){ .id = 7, .protocol = MESSAGE_MQTT5, .topic = sl_str("jobs/x"), .payload = sl_str("p7"), .expires_at = k.wall_ms - 1 });
    sl_idmap_put(&k.bodies, 7, m);
    struct queue_restored r = { .id = 7, .bytes = (uint32_t)message_bytes(m), .state = QUEUE_READY, .expires_at = k.wall_ms - 1 };
    assert_int_equal(hub_restore_entry(k.h, 1, &r), SL_OK);
    struct kit_worker *w = kit_worker(&k, 0, JOBS), *morgue = kit_worker(&k, 1, DLQ);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    assert_int_equal(morgue->n, 1); /* its body was read for that */
    assert_header(morgue->held[0].msg, "dead-cause", "expired");
    assert_int_equal(message_expires_at(morgue->held[0].msg), 0);
    kit_close(&k);
}

static void many_that_expired_are_worked_off_in_parts_and_told_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_jobs.dead_expired = true;
    g_jobs.ttl_ms = 10;
    g_jobs.max_messages = 20000;
    g_jobs.dead_max_messages = 5000;
    g_jobs.max_bytes = 1u << 30;
    open_with(&k, false);
    struct message_parts p = { .protocol = MESSAGE_WORKER, .qos = 1, .topic = sl_str("jobs/1") };
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(hub_publish(k.h, &p), SL_OK);
    kit_settle(&k);
    (void)kit_worker(&k, 0, JOBS);
    assert_int_equal(depth(&k, JOBS, QUEUE_READY), 10000 - 4096);
    assert_int_equal(hub_deadline_us(k.h), k.now.mono_us);
    kit_settle(&k);
    assert_int_equal(depth(&k, JOBS, QUEUE_READY), 0);
    assert_int_equal(depth(&k, JOBS, QUEUE_DEAD), 5000);
    assert_int_equal(counters(&k, JOBS)->dead_dropped, 5000);
    assert_int_equal(counters(&k, JOBS)->expired_dead, 10000);
    kit_close(&k);
}

/* Work in flight goes over the limit, and not all the work there ever was. */
static void a_full_target_takes_no_more_than_the_work_in_flight(void **state)
{
    (void)state;
    struct kit k = { 0 };
    usual();
    g_dlq.max_messages = 1;
    open_with(&k, true);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, JOBS);
    for (uint16_t i = 1; i <= 9; i++) {
        kit_publish(from, 1, i, "jobs/1");
        kit_settle(&k);
        kill(w, "no");
        kit_settle(&k);
    }
    assert_true(depth(&k, DLQ, QUEUE_READY) <= 2);
    assert_int_equal(depth(&k, DLQ, QUEUE_READY) + depth(&k, JOBS, QUEUE_DEAD), 9);
    struct kit_worker *morgue = kit_worker(&k, 1, DLQ);
    for (uint32_t i = 0; i < 9; i++) {
        kit_settle(&k);
        kit_ack(morgue, 0);
    }
    kit_settle(&k);
    assert_int_equal(counters(&k, DLQ)->acked, 9); /* what stayed went on when there was room */
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dead_letter_goes_on_at_once_and_tells_why),
        cmocka_unit_test(who_sent_it_is_answered_when_what_it_became_is_stored),
        cmocka_unit_test(text_that_is_none_is_escaped_in_a_header),
        cmocka_unit_test(headers_of_an_earlier_death_are_replaced),
        cmocka_unit_test(a_message_from_work_goes_over_the_limit_and_an_expired_one_waits),
        cmocka_unit_test(without_space_it_stays_and_goes_on_when_there_is_some),
        cmocka_unit_test(a_refused_batch_keeps_both_parts_of_the_step),
        cmocka_unit_test(a_death_in_a_transaction_goes_on_with_it),
        cmocka_unit_test(what_was_dead_before_goes_on_when_there_is_room),
        cmocka_unit_test(after_a_restart_the_cause_is_known_and_bodies_are_read),
        cmocka_unit_test(what_expires_is_a_dead_letter_where_that_is_asked_for),
        cmocka_unit_test(one_that_expired_while_the_gateway_was_down_is_a_dead_letter_without_its_body),
        cmocka_unit_test(many_that_expired_are_worked_off_in_parts_and_told_once),
        cmocka_unit_test(a_full_target_takes_no_more_than_the_work_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
