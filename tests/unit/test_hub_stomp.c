/* STOMP's own: queues by name, transactions, errors; and topics of ours. */
#include "test_hub_kit.h"

static void start(struct kit *k)
{
    struct queue_config cfg = kit_queue("jobs", 1), orphan = kit_queue("gone", 2);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    (void)hub_add_orphan(k->h, &orphan);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static uint64_t accepted(struct kit *k)
{
    return queue_counters(hub_queue(k->h, 0))->accepted;
}

static void receipt_waits_for_the_commit(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "SEND\ndestination:/queue/jobs\nreceipt:r1\n\nbody");
    assert_string_equal(kit_log(c), "");
    kit_commit(&k, SL_OK);
    assert_non_null(strstr(kit_log(c), "RECEIPT\nreceipt-id:r1\n"));
    kit_close(&k);
}

static void unknown_queue_is_an_error_in_stomp(void **state)
{
    (void)state;
    static const char *const names[] = { "nobody", "gone" }; /* an orphaned one takes nothing either */
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        struct kit k = { 0 };
        char frame[128];
        start(&k);
        struct kit_client *c = kit_stomp(&k);
        snprintf(frame, sizeof frame, "SEND\ndestination:/queue/%s\nreceipt:r1\n\nbody", names[i]);
        kit_frame(c, frame);
        const char *log = kit_log(c);
        assert_non_null(strstr(log, "ERROR\n"));
        assert_non_null(strstr(log, "closed\n"));
        assert_int_equal(accepted(&k), 0);
        kit_close(&k);
    }
}

static void transaction_commits_as_one(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    kit_frame(c, "SEND\ndestination:/queue/jobs\ntransaction:x\n\none");
    kit_frame(c, "SEND\ndestination:/topic/t.2\ntransaction:x\n\ntwo");
    assert_int_equal(accepted(&k), 0);
    kit_frame(c, "COMMIT\ntransaction:x\nreceipt:r2\n\n");
    assert_int_equal(accepted(&k), 2);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) BODY ENTRY(1) ");
    assert_string_equal(kit_log(c), "");
    kit_commit(&k, SL_OK);
    assert_non_null(strstr(kit_log(c), "receipt-id:r2\n"));
    kit_close(&k);
}

static void an_aborted_or_broken_off_transaction_leaves_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    kit_frame(c, "SEND\ndestination:/queue/jobs\ntransaction:x\n\none");
    kit_frame(c, "ABORT\ntransaction:x\n\n");
    kit_frame(c, "BEGIN\ntransaction:y\n\n");
    kit_frame(c, "SEND\ndestination:/queue/jobs\ntransaction:y\n\ntwo");
    kit_lose(c);
    kit_settle(&k);
    assert_int_equal(accepted(&k), 0);
    kit_close(&k);
}

static void a_transaction_is_bounded(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "BEGIN\ntransaction:x\n\n");
    for (int i = 0; i < 5 && c->c != NULL; i++)
        kit_frame(c, "SEND\ndestination:/queue/jobs\ntransaction:x\n\none");
    assert_null(c->c); /* four may be parked, so four may wait in a transaction */
    assert_non_null(strstr(kit_log(c), "ERROR\n"));
    kit_close(&k);
}

static void a_send_without_receipt_is_kept_when_its_connection_goes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "SEND\ndestination:/queue/jobs\n\nbody");
    kit_lose(c);
    kit_settle(&k);
    assert_int_equal(kit_worker(&k, 0, 0)->n, 1);
    kit_close(&k);
}

static void dollar_topics_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *topic, *answer;
    } cases[] = {
        { "$SYS/x", "PUBACK 9 0x87\n" },
        { "$SYS", "PUBACK 9 0x87\n" },
        { "$jobs/1", "PUBACK 9 0x87\n" },
        { "$SYSTEM/x", "PUBACK 9 0x10\n" }, /* an ordinary one, that nobody takes */
        { "nowhere", "PUBACK 9 0x10\n" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = kit_mqtt(&k, true, "a", 0);
        (void)kit_log(c);
        kit_publish(c, 1, 9, cases[i].topic);
        kit_settle(&k);
        assert_string_equal(kit_log(c), cases[i].answer);
        kit_close(&k);
    }
}

static void a_dollar_topic_closes_v311(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, false, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 1, 9, "$SYS/x");
    kit_pass(&k, 2000);
    assert_string_equal(kit_log(c), "closed\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receipt_waits_for_the_commit),
        cmocka_unit_test(unknown_queue_is_an_error_in_stomp),
        cmocka_unit_test(transaction_commits_as_one),
        cmocka_unit_test(an_aborted_or_broken_off_transaction_leaves_nothing),
        cmocka_unit_test(a_transaction_is_bounded),
        cmocka_unit_test(a_send_without_receipt_is_kept_when_its_connection_goes),
        cmocka_unit_test(dollar_topics_are_refused),
        cmocka_unit_test(a_dollar_topic_closes_v311),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
