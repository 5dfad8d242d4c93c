/* QoS 2: one message per id, seen by nobody before it is stored. */
#include "test_hub_kit.h"

static void start(struct kit *k)
{
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static uint64_t accepted(struct kit *k)
{
    return queue_counters(hub_queue(k->h, 0))->accepted;
}

static void qos2_is_leased_only_after_commit(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_publish(c, 2, 5, "t/1");
    assert_int_equal(w->n, 0);
    assert_string_equal(kit_log(c), "");
    kit_commit(&k, SL_OK);
    assert_int_equal(w->n, 1);
    assert_string_equal(kit_log(c), "PUBREC 5 0x00\n");
    kit_close(&k);
}

static void the_id_of_a_lasting_session_is_stored_with_the_message(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_records(&k), "SESSION ");
    kit_settle(&k);
    kit_publish(c, 2, 5, "t/1");
    assert_string_equal(kit_records(&k), "QOS2_ADD(5) BODY ENTRY(1) ");
    kit_settle(&k);
    (void)kit_log(c);
    kit_pubrel(c, 5);
    assert_string_equal(kit_records(&k), "QOS2_DROP(5) ");
    assert_string_equal(kit_log(c), "");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBCOMP 5 0x00\n");
    kit_close(&k);
}

static void duplicate_qos2_waits_for_the_first(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    kit_publish(c, 2, 5, "t/1");
    (void)kit_log(c);
    kit_lose(c);
    (void)kit_log(c);
    c = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_log(c), "CONNACK 0 present=1\n");
    kit_publish(c, 2, 5, "t/1");
    assert_string_equal(kit_log(c), "");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBREC 5 0x00\n");
    assert_int_equal(accepted(&k), 1);
    assert_int_equal(hub_counters(k.h)->qos2_duplicates, 1);
    kit_close(&k);
}

static void restored_qos2_id_is_a_duplicate(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct batch_note *note = batch_session_encode(&(struct batch_session){ 60, UINT64_MAX, sl_str("a") });
    assert_int_equal(hub_restore_session(k.h, 99, sl_bytes_of(note->bytes, note->n)), SL_OK);
    assert_int_equal(hub_restore_qos2(k.h, 99, 5), SL_OK);
    assert_int_equal(hub_restore_qos2(k.h, 98, 5), SL_EFORMAT);
    sl_free(note);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_log(c), "CONNACK 0 present=1\n");
    kit_publish(c, 2, 5, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBREC 5 0x00\n");
    assert_int_equal(accepted(&k), 0);
    kit_pubrel(c, 5);
    kit_settle(&k);
    kit_publish(c, 2, 5, "t/1"); /* released: the same id is a new message */
    kit_settle(&k);
    assert_int_equal(accepted(&k), 1);
    kit_close(&k);
}

/* Else a session could outlive its end for ever, by one start after another. */
static void a_restored_session_s_end_is_recorded_when_it_was_connected(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct batch_session b = { 60, UINT64_MAX, sl_str("a") };
    for (uint64_t number = 98; number <= 99; number++) {
        struct batch_note *note = batch_session_encode(&b);
        assert_int_equal(hub_restore_session(k.h, number, sl_bytes_of(note->bytes, note->n)), SL_OK);
        sl_free(note);
        b = (struct batch_session){ 60, k.now.wall_ms + 1000, sl_str("b") };
    }
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "SESSION ");
    const struct batch_op *op = &k.pending->ops[0];
    assert_int_equal(op->id, 98);
    assert_int_equal(batch_session_decode(sl_bytes_of(op->note->bytes, op->note->n), &b), SL_OK);
    assert_int_equal(b.ends_wall_ms, k.now.wall_ms + 60000);
    kit_settle(&k);
    kit_close(&k);
}

static void an_unknown_id_is_released_with_0x92(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 0);
    (void)kit_log(c);
    kit_pubrel(c, 77);
    assert_string_equal(kit_log(c), "PUBCOMP 77 0x92\n");
    kit_close(&k);
}

static void a_refused_qos2_id_may_be_used_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.overflow = QUEUE_REJECT;
    cfg.max_messages = 1;
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_publish(c, 1, 1, "t/1");
    kit_settle(&k);
    (void)kit_log(c);
    kit_publish(c, 2, 5, "t/1");
    assert_string_equal(kit_log(c), "PUBREC 5 0x97\n");
    kit_ack(w, 0);
    kit_publish(c, 2, 5, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "PUBREC 5 0x00\n");
    assert_int_equal(accepted(&k), 2);
    kit_close(&k);
}

/* [MQTT-4.3.2-2]: behind its PUBACK the id of QoS 1 is a new message's, whatever DUP says. */
static void an_acknowledged_qos1_id_is_a_new_message(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *c = kit_mqtt(&k, v5 == 1, "a", 60);
        kit_settle(&k);
        kit_publish(c, 1, 5, "t/1");
        kit_settle(&k);
        (void)kit_log(c);
        struct mqtt_publish again = { .qos = 1, .dup = true, .packet_id = 5, .topic = sl_str("t/1") };
        mqtt_props_init(&again.props);
        kit_publish_full(c, &again);
        kit_settle(&k);
        assert_string_equal(kit_log(c), "PUBACK 5 0x00\n");
        assert_int_equal(accepted(&k), 2);
        kit_close(&k);
    }
}

/* [MQTT-4.3.3-13] of MQTT 5 */
static void the_exchange_is_finished_though_the_message_has_expired(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    struct mqtt_publish p = { .qos = 2, .packet_id = 7, .topic = sl_str("t/1"), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 1);
    kit_publish_full(c, &p);
    kit_settle(&k);
    kit_pass(&k, 5000);
    kit_pubrel(c, 7);
    kit_settle(&k);
    assert_string_equal(kit_log(c), "CONNACK 0 present=0\nPUBREC 7 0x00\nPUBCOMP 7 0x00\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qos2_is_leased_only_after_commit),
        cmocka_unit_test(the_id_of_a_lasting_session_is_stored_with_the_message),
        cmocka_unit_test(duplicate_qos2_waits_for_the_first),
        cmocka_unit_test(restored_qos2_id_is_a_duplicate),
        cmocka_unit_test(a_restored_session_s_end_is_recorded_when_it_was_connected),
        cmocka_unit_test(an_unknown_id_is_released_with_0x92),
        cmocka_unit_test(a_refused_qos2_id_may_be_used_again),
        cmocka_unit_test(an_acknowledged_qos1_id_is_a_new_message),
        cmocka_unit_test(the_exchange_is_finished_though_the_message_has_expired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
