/* ACK, NACK and extend by STOMP's consumers: what becomes of deliveries, and when receipts say so. */
#include "stomp_clients.h"

#define ACK_TIMEOUT_MS 1000u

static void start(struct kit *k)
{
    struct queue_config jobs = kit_queue("jobs", 1), fleeting = kit_queue("fleeting", 2);
    jobs.ack_timeout_ms = fleeting.ack_timeout_ms = ACK_TIMEOUT_MS;
    fleeting.durable = false;
    kit_open(k);
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_queue(k->h, &fleeting);
}

/* `n` messages "m1", "m2" … in that queue, stored, and then one consumer, that has got them. */
static struct kit_client *consumer(struct kit *k, const char *destination, const char *ack, uint32_t n)
{
    struct kit_client *c = kit_stomp(k);
    char body[16];
    stomp_subscribe(c, "s", destination, ack, NULL);
    for (uint32_t i = 1; i <= n; i++) {
        snprintf(body, sizeof body, "m%u", i);
        stomp_send(c, destination, body, NULL);
    }
    kit_settle(k);
    assert_int_equal(stomp_messages(c), n);
    return c;
}

static struct queue_depth depth(struct kit *k, uint32_t queue)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, queue), &d);
    return d;
}

static uint64_t stale(struct kit *k)
{
    return hub_counters(k->h)->stale_answers;
}

/* ---- one or several ---- */

static void an_individual_ack_is_of_one_delivery(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 3);
    stomp_answer(c, "ACK", "1-2", NULL);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    assert_int_equal(depth(&k, 0).count[QUEUE_LEASED], 2);
    stomp_answer(c, "NACK", "1-3", NULL);
    assert_int_equal(depth(&k, 0).count[QUEUE_LEASED], 1);
    assert_int_equal(depth(&k, 0).count[QUEUE_DELAYED], 1);
    kit_close(&k);
}

/* Else a consumer that answers one after the other would never make room for what waits. */
static void an_acks_receipt_comes_while_there_is_no_space_for_messages(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 3), *producer = kit_stomp(&k);
    stomp_send(producer, "/queue/jobs", "m4", NULL);
    kit_commit(&k, SL_ENOSPC);
    for (uint32_t i = 1; i <= 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "1-%u", i);
        stomp_answer(c, "ACK", name, "receipt:r\n");
        kit_pass(&k, 11);
        assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
        assert_null(strstr(kit_log(c), "receipt-id:r"));
        kit_commit(&k, SL_OK);
        assert_non_null(strstr(kit_log(c), "receipt-id:r"));
        assert_int_equal(hub_health(k.h), HUB_NO_SPACE);
        kit_commit(&k, SL_ENOSPC); /* what is stuck tried again */
    }
    kit_pass(&k, 300);
    kit_settle(&k);
    kit_close(&k);
}

/* A negative one of what is not stored itself stays with it. */
static void a_receipt_waits_for_what_stays_with_the_stuck_batch(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1), *producer = kit_stomp(&k);
    stomp_send(producer, "/queue/jobs", "m2", NULL);
    kit_commit(&k, SL_ENOSPC);
    stomp_answer(c, "NACK", "1-2", "receipt:r\n");
    (void)kit_log(c);
    kit_pass(&k, 11);
    assert_null(strstr(kit_log(c), "receipt-id:r"));
    kit_pass(&k, 300);
    kit_settle(&k);
    assert_non_null(strstr(kit_log(c), "receipt-id:r"));
    kit_close(&k);
}

static void a_cumulative_answer_is_of_all_up_to_it_that_are_open(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client", 6);
    stomp_answer(c, "ACK", "1-2", NULL);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP SETTLE(1) BODY_DROP ");
    stomp_answer(c, "NACK", "1-5", "requeue:false\n");
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 2);
    assert_int_equal(depth(&k, 0).count[QUEUE_DEAD], 3);
    assert_int_equal(depth(&k, 0).count[QUEUE_LEASED], 1);
    assert_int_equal(stale(&k), 0);
    kit_close(&k);
}

/* ---- NACK ---- */

static void a_nack_is_a_failed_attempt_with_its_reason(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    stomp_answer(c, "NACK", "1-1", "reason:no paper\n");
    assert_string_equal(kit_records(&k), "UPDATE(1) ");
    struct batch_failure f;
    size_t pos = 0;
    const struct batch_op *op = &k.pending->ops[0];
    assert_int_equal(batch_failure_next(sl_bytes_of(op->note->bytes, op->note->n), &pos, &f), SL_OK);
    assert_int_equal(f.cause, QUEUE_CAUSE_RETRY);
    assert_true(sl_bytes_is(f.detail, "no paper"));
    kit_pass(&k, 200); /* the backoff */
    kit_settle(&k);
    assert_string_equal(stomp_log(c), "MESSAGE subscription=s destination=/queue/jobs ack=1-2 attempt=2 redelivered=true m1\n");
    kit_close(&k);
}

static void a_nack_may_say_when_to_try_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    stomp_answer(c, "NACK", "1-1", "delay:10s\n");
    kit_pass(&k, 9900);
    assert_int_equal(stomp_messages(c), 0);
    kit_pass(&k, 200);
    assert_int_equal(stomp_messages(c), 1);
    kit_close(&k);
}

static void a_nack_without_requeue_is_the_end(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    stomp_answer(c, "NACK", "1-1", "requeue:false\n");
    assert_int_equal(depth(&k, 0).count[QUEUE_DEAD], 1);
    struct batch_failure f;
    size_t pos = 0;
    const struct batch_op *op = &k.pending->ops[0];
    assert_int_equal(batch_failure_next(sl_bytes_of(op->note->bytes, op->note->n), &pos, &f), SL_OK);
    assert_int_equal(f.cause, QUEUE_CAUSE_REJECTED);
    kit_close(&k);
}

/* ---- what is over, what never was ---- */

static void what_is_over_is_counted_and_changes_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 2);
    stomp_answer(c, "ACK", "1-1", NULL);
    stomp_answer(c, "ACK", "1-1", NULL);
    stomp_answer(c, "NACK", "1-1", NULL);
    stomp_answer(c, "NACK", "1-1", "extend:5s\n");
    assert_int_equal(stale(&k), 3);
    kit_frame(c, "UNSUBSCRIBE\nid:s\n\n");
    stomp_answer(c, "ACK", "1-2", NULL); /* went back when its consumer was cancelled */
    assert_int_equal(stale(&k), 4);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 1);
    assert_string_equal(stomp_log(c), "");
    kit_close(&k);
}

static void a_late_cumulative_ack_still_counts_for_the_older_ones(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client", 3);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    stomp_answer(c, "ACK", "1-1", "transaction:x\n");
    stomp_answer(c, "ACK", "1-3", NULL); /* skips what is claimed */
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 2);
    kit_frame(c, "ABORT\ntransaction:x\n\n");
    stomp_answer(c, "ACK", "1-2", NULL); /* over, but the first is open again */
    assert_int_equal(stale(&k), 1);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 3);
    kit_close(&k);
}

static void what_was_never_given_is_an_error(void **state)
{
    (void)state;
    static const char *const names[] = { "1-2", "1-0", "2-1", "x" };
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = consumer(&k, "/queue/jobs", "client", 1);
        stomp_answer(c, "ACK", names[i], "receipt:r\n");
        assert_string_equal(stomp_log(c), "ERROR message=unknown delivery receipt-id=r\nclosed\n");
        assert_int_equal(queue_counters(hub_queue(k.h, 0))->acked, 0);
        kit_close(&k);
    }
}

/* ---- topics ---- */

static void a_topic_s_delivery_is_done_or_dropped(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    stomp_subscribe(c, "s", "/topic/t", "client-individual", "prefetch-count:2\n");
    for (int i = 0; i < 4; i++)
        stomp_send(c, "/topic/t", "x", NULL);
    assert_int_equal(stomp_messages(c), 2);
    stomp_answer(c, "ACK", "1-1", NULL);
    stomp_answer(c, "NACK", "1-2", NULL);
    assert_int_equal(hub_counters(k.h)->deliveries_acked, 1);
    assert_int_equal(hub_counters(k.h)->deliveries_refused, 1);
    assert_int_equal(stomp_messages(c), 2); /* the credit is free again */
    stomp_answer(c, "NACK", "1-3", "extend:1s\n"); /* changes nothing */
    stomp_answer(c, "ACK", "1-3", NULL);
    assert_int_equal(hub_counters(k.h)->deliveries_acked, 2);
    assert_int_equal(stale(&k), 0);
    kit_close(&k);
}

/* ---- extend ---- */

/* More than are looked for one after the other. */
static void of_many_consumers_each_is_found(void **state)
{
    (void)state;
    struct kit k = { 0 };
    char text[48];
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    for (int i = 1; i <= 40; i++) {
        snprintf(text, sizeof text, "s%d", i);
        stomp_subscribe(c, text, "/topic/t", "client", NULL);
    }
    for (int i = 1; i <= 40; i += 2) {
        snprintf(text, sizeof text, "UNSUBSCRIBE\nid:s%d\n\n", i);
        kit_frame(c, text);
    }
    stomp_send(c, "/topic/t", "m", NULL);
    for (int i = 1; i <= 40; i++) {
        snprintf(text, sizeof text, "%d-1", i);
        stomp_answer(c, "ACK", text, NULL);
    }
    assert_non_null(c->c);
    assert_int_equal(hub_counters(k.h)->deliveries_acked, 20);
    assert_int_equal(stale(&k), 20);
    kit_close(&k);
}

static void extend_renews_the_lease_and_is_no_answer(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    for (int i = 0; i < 5; i++) {
        kit_pass(&k, ACK_TIMEOUT_MS - 100);
        stomp_answer(c, "NACK", "1-1", "extend:1s\n");
    }
    assert_int_equal(depth(&k, 0).count[QUEUE_LEASED], 1);
    kit_pass(&k, ACK_TIMEOUT_MS + 100);
    kit_turn(&k);
    assert_string_equal(stomp_log(c), "ERROR message=acknowledgement timeout\nclosed\n");
    kit_close(&k);
}

/* ---- receipts ---- */

static void an_ack_s_receipt_waits_for_its_record(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    stomp_answer(c, "ACK", "1-1", "receipt:r\n");
    assert_string_equal(stomp_log(c), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(stomp_log(c), "RECEIPT receipt-id=r\n");
    kit_close(&k);
}

static void a_receipt_waits_for_nothing_when_nothing_is_recorded(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/fleeting", "client-individual", 2);
    stomp_answer(c, "ACK", "1-1", "receipt:r1\n");
    stomp_answer(c, "ACK", "1-1", "receipt:r2\n"); /* over */
    stomp_answer(c, "NACK", "1-2", "extend:1s\nreceipt:r3\n");
    assert_string_equal(stomp_log(c), "RECEIPT receipt-id=r1\nRECEIPT receipt-id=r2\nRECEIPT receipt-id=r3\n");
    kit_close(&k);
}

static void a_receipt_waits_for_earlier_answers_that_asked_for_none(void **state)
{
    (void)state;
    static const char *const later[] = {
        "ACK\nid:1-1\nreceipt:r\n\n", /* over */
        "NACK\nid:1-2\nextend:1s\nreceipt:r\n\n",
        "BEGIN\ntransaction:x\n\n\0COMMIT\ntransaction:x\nreceipt:r\n\n",
        "DISCONNECT\nreceipt:r\n\n",
    };
    for (size_t i = 0; i < SL_COUNT(later); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 2);
        stomp_answer(c, "ACK", "1-1", NULL);
        kit_frame(c, later[i]);
        if (i == 2)
            kit_frame(c, later[i] + strlen(later[i]) + 1);
        assert_string_equal(stomp_log(c), "");
        kit_turn(&k);
        assert_string_equal(stomp_log(c), "");
        kit_settle(&k);
        assert_string_equal(stomp_log(c), i == 3 ? "RECEIPT receipt-id=r\nclosed\n" : "RECEIPT receipt-id=r\n");
        kit_close(&k);
    }
}

static void a_broken_store_gives_no_receipt(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 1);
    stomp_answer(c, "ACK", "1-1", "receipt:r\n");
    kit_commit(&k, SL_EIO);
    assert_string_equal(stomp_log(c), "ERROR message=store unavailable receipt-id=r\nclosed\n");
    kit_close(&k);
}

/* Its batch is gone, and not because it was stored. */
static void what_a_broken_store_lost_has_no_receipt_later(void **state)
{
    (void)state;
    static const char *const later[] = {
        "ACK\nid:1-1\nreceipt:r\n\n", /* over */
        "NACK\nid:1-2\nextend:1s\nreceipt:r\n\n",
        "DISCONNECT\nreceipt:r\n\n",
    };
    for (size_t i = 0; i < SL_COUNT(later); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = consumer(&k, "/queue/jobs", "client-individual", 2);
        stomp_answer(c, "ACK", "1-1", NULL);
        kit_commit(&k, SL_EIO);
        kit_frame(c, later[i]);
        kit_turn(&k);
        assert_string_equal(stomp_log(c), "ERROR message=store unavailable receipt-id=r\nclosed\n");
        kit_close(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_individual_ack_is_of_one_delivery),
        cmocka_unit_test(an_acks_receipt_comes_while_there_is_no_space_for_messages),
        cmocka_unit_test(a_receipt_waits_for_what_stays_with_the_stuck_batch),
        cmocka_unit_test(a_cumulative_answer_is_of_all_up_to_it_that_are_open),
        cmocka_unit_test(a_nack_is_a_failed_attempt_with_its_reason),
        cmocka_unit_test(a_nack_may_say_when_to_try_again),
        cmocka_unit_test(a_nack_without_requeue_is_the_end),
        cmocka_unit_test(what_is_over_is_counted_and_changes_nothing),
        cmocka_unit_test(a_late_cumulative_ack_still_counts_for_the_older_ones),
        cmocka_unit_test(what_was_never_given_is_an_error),
        cmocka_unit_test(a_topic_s_delivery_is_done_or_dropped),
        cmocka_unit_test(of_many_consumers_each_is_found),
        cmocka_unit_test(extend_renews_the_lease_and_is_no_answer),
        cmocka_unit_test(an_ack_s_receipt_waits_for_its_record),
        cmocka_unit_test(a_receipt_waits_for_nothing_when_nothing_is_recorded),
        cmocka_unit_test(a_receipt_waits_for_earlier_answers_that_asked_for_none),
        cmocka_unit_test(a_broken_store_gives_no_receipt),
        cmocka_unit_test(what_a_broken_store_lost_has_no_receipt_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
