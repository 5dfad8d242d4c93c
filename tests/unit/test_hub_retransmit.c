/* QoS 1 that is sent again: the same message while its PUBACK has not been sent,
 * and not a moment longer [MQTT-4.3.2-5]. */
#include "test_hub_kit.h"

static void start(struct kit *k, uint64_t max_messages, enum queue_overflow overflow)
{
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.max_messages = max_messages;
    cfg.overflow = overflow;
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static void send(struct kit_client *c, uint16_t id, bool dup, const char *payload)
{
    struct mqtt_publish p = { .qos = 1, .packet_id = id, .dup = dup, .topic = sl_str("t/1"), .payload = sl_str(payload) };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

static uint64_t accepted(struct kit *k)
{
    return queue_counters(hub_queue(k->h, 0))->accepted;
}

static uint64_t duplicates(struct kit *k)
{
    return hub_counters(k->h)->qos1_duplicates;
}

static void on_one_connection_it_is_the_same_until_it_is_answered(void **state)
{
    (void)state;
    for (int v5 = 0; v5 < 2; v5++) {
        struct kit k = { 0 };
        start(&k, 100, QUEUE_BLOCK);
        struct kit_client *c = kit_mqtt(&k, v5 == 1, "a", 0);
        (void)kit_log(c);
        send(c, 7, false, "the message");
        send(c, 7, true, "the message");
        send(c, 7, true, "the message");
        kit_settle(&k);
        assert_string_equal(kit_log(c), "PUBACK 7 0x00\n"); /* for all of them */
        assert_int_equal(accepted(&k), 1);
        assert_int_equal(duplicates(&k), 2);
        send(c, 7, true, "the message");
        kit_settle(&k);
        assert_string_equal(kit_log(c), "PUBACK 7 0x00\n");
        assert_int_equal(accepted(&k), 2);
        kit_close(&k);
    }
}

static void other_content_another_id_or_no_dup_is_another_message(void **state)
{
    (void)state;
    static const struct {
        uint16_t id;
        bool dup;
        const char *payload;
    } others[] = {
        { 7, true, "the messagf" }, { 7, true, "the message " }, { 7, true, "uhe message" }, { 7, true, "the nessage" }, { 7, true, "" }, { 8, true, "the message" }, { 7, false, "the message" },
    };
    for (size_t i = 0; i < SL_COUNT(others); i++) {
        struct kit k = { 0 };
        start(&k, 100, QUEUE_BLOCK);
        struct kit_client *c = kit_mqtt(&k, false, "a", 0);
        send(c, 7, false, "the message");
        send(c, others[i].id, others[i].dup, others[i].payload);
        kit_settle(&k);
        assert_int_equal(accepted(&k), 2);
        assert_int_equal(duplicates(&k), 0);
        kit_close(&k);
    }
}

static void what_waits_for_room_waits_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1, QUEUE_BLOCK);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, false, "a", 0);
    (void)kit_log(c);
    send(c, 1, false, "first");
    send(c, 2, false, "parked");
    kit_settle(&k);
    for (int i = 0; i < 10; i++)
        send(c, 2, true, "parked"); /* as old clients do every 20 s */
    assert_int_equal(hub_counters(k.h)->publishes_parked, 1);
    kit_ack(w, 0);
    kit_settle(&k);
    kit_ack(w, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    kit_close(&k);
}

static void what_was_refused_may_be_tried_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1, QUEUE_REJECT);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    send(c, 1, false, "waits for the store");
    send(c, 2, false, "finds no room");
    send(c, 2, true, "finds no room");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x97\nPUBACK 2 0x97\n");
    assert_int_equal(duplicates(&k), 0);
    kit_close(&k);
}

/* ---- the connection ends in between ---- */

static struct kit_client *lost_before_its_puback(struct kit *k)
{
    struct kit_client *c = kit_mqtt(k, true, "a", 60);
    kit_settle(k);
    (void)kit_log(c);
    send(c, 7, false, "the message");
    kit_lose(c);
    (void)kit_log(c);
    return c;
}

static struct kit_client *comes_back(struct kit *k)
{
    struct kit_client *c = kit_mqtt(k, true, "a", 60);
    assert_string_equal(kit_log(c), "CONNACK 0 present=1\n");
    return c;
}

static void a_session_knows_what_its_last_connection_was_not_answered(void **state)
{
    (void)state;
    for (int stored = 0; stored < 2; stored++) {
        struct kit k = { 0 };
        start(&k, 100, QUEUE_BLOCK);
        (void)lost_before_its_puback(&k);
        if (stored)
            kit_settle(&k);
        struct kit_client *c = comes_back(&k);
        send(c, 7, true, "the message");
        assert_string_equal(kit_log(c), stored ? "PUBACK 7 0x00\n" : "");
        kit_settle(&k);
        assert_string_equal(kit_log(c), stored ? "" : "PUBACK 7 0x00\n");
        assert_int_equal(accepted(&k), 1);
        assert_int_equal(duplicates(&k), 1);
        send(c, 7, true, "the message"); /* it has been answered */
        kit_settle(&k);
        assert_int_equal(accepted(&k), 2);
        kit_close(&k);
    }
}

static void a_connection_that_is_lost_again_is_answered_later(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 100, QUEUE_BLOCK);
    (void)lost_before_its_puback(&k);
    struct kit_client *c = comes_back(&k);
    send(c, 7, true, "the message");
    kit_lose(c); /* the first one is not stored yet */
    (void)kit_log(c);
    c = comes_back(&k);
    send(c, 7, true, "the message");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 7 0x00\n");
    assert_int_equal(accepted(&k), 1);
    kit_close(&k);
}

static void a_takeover_goes_on_with_what_was_not_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 100, QUEUE_BLOCK);
    struct kit_client *old = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    send(old, 7, false, "the message");
    struct kit_client *c = comes_back(&k);
    send(c, 7, true, "the message");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 7 0x00\n");
    assert_int_equal(accepted(&k), 1);
    kit_close(&k);
}

static void a_new_message_takes_the_packet_id_over(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 100, QUEUE_BLOCK);
    (void)lost_before_its_puback(&k);
    kit_settle(&k);
    struct kit_client *c = comes_back(&k);
    send(c, 7, false, "the message");
    kit_settle(&k);
    send(c, 7, true, "the message");
    kit_settle(&k);
    assert_int_equal(accepted(&k), 3);
    assert_int_equal(duplicates(&k), 0);
    kit_close(&k);
}

static void what_was_parked_is_forgotten_and_comes_in_later(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 1, QUEUE_BLOCK);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    send(c, 1, false, "enters");
    send(c, 2, false, "is parked");
    kit_lose(c);
    (void)kit_log(c);
    kit_settle(&k);
    c = comes_back(&k);
    send(c, 1, true, "enters");
    send(c, 2, true, "is parked");
    kit_ack(w, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    assert_int_equal(accepted(&k), 2);
    assert_int_equal(duplicates(&k), 1);
    kit_close(&k);
}

static void a_session_that_ends_takes_its_knowledge_along(void **state)
{
    (void)state;
    for (int clean = 0; clean < 2; clean++) {
        struct kit k = { 0 };
        start(&k, 100, QUEUE_BLOCK);
        (void)lost_before_its_puback(&k);
        kit_settle(&k);
        if (!clean)
            kit_pass(&k, 61000);
        uint64_t before = hub_memory_bytes(k.h);
        struct mqtt_connect p = { .version = MQTT_V5, .clean_start = clean == 1, .client_id = sl_str("a") };
        mqtt_props_init(&p.props);
        struct kit_client *c = kit_connect(&k, &p);
        kit_settle(&k);
        assert_string_equal(kit_log(c), "CONNACK 0 present=0\n");
        assert_true(clean == 0 || hub_memory_bytes(k.h) < before);
        send(c, 7, true, "the message");
        kit_settle(&k);
        assert_int_equal(accepted(&k), 2);
        kit_close(&k);
    }
}

static void a_broken_store_accepts_no_retransmission(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k, 100, QUEUE_BLOCK);
    (void)lost_before_its_puback(&k);
    kit_commit(&k, SL_EIO);
    struct kit_client *c = comes_back(&k);
    send(c, 7, true, "the message");
    assert_string_equal(kit_log(c), "PUBACK 7 0x83\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_one_connection_it_is_the_same_until_it_is_answered),
        cmocka_unit_test(other_content_another_id_or_no_dup_is_another_message),
        cmocka_unit_test(what_waits_for_room_waits_once),
        cmocka_unit_test(what_was_refused_may_be_tried_again),
        cmocka_unit_test(a_session_knows_what_its_last_connection_was_not_answered),
        cmocka_unit_test(a_connection_that_is_lost_again_is_answered_later),
        cmocka_unit_test(a_takeover_goes_on_with_what_was_not_answered),
        cmocka_unit_test(a_new_message_takes_the_packet_id_over),
        cmocka_unit_test(what_was_parked_is_forgotten_and_comes_in_later),
        cmocka_unit_test(a_session_that_ends_takes_its_knowledge_along),
        cmocka_unit_test(a_broken_store_accepts_no_retransmission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
