/* Shared subscriptions: who of a group gets a message, and what becomes of it
 * when that one goes. Section 4.8.2, decision 41. */
#include "test_hub_kit.h"

static struct kit_client *member(struct kit *k, const char *id, uint32_t expiry_s, uint32_t receive_maximum, uint8_t qos)
{
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str(id) };
    mqtt_props_init(&p.props);
    if (expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, expiry_s);
    if (receive_maximum > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, receive_maximum);
    struct kit_client *c = kit_connect(k, &p);
    kit_settle(k);
    kit_subscribe(c, "$share/g/t/#", qos);
    kit_settle(k);
    (void)kit_log(c);
    return c;
}

static void each_message_goes_to_one_member_by_turns(void **state)
{
    (void)state;
    for (uint8_t qos = 0; qos < 3; qos++) {
        for (int sharing = 0; sharing < 2; sharing++) {
            struct kit k = { .sharing = sharing == 0 ? HUB_SHARE_FREE : HUB_SHARE_ROUND_ROBIN };
            kit_open(&k);
            struct kit_client *from = kit_publisher(&k), *m[3];
            m[0] = member(&k, "a", 0, 0, 2);
            m[1] = member(&k, "b", 0, 0, 2);
            m[2] = member(&k, "c", 0, 0, 2);
            int got[3] = { 0 };
            for (uint16_t id = 1; id <= 9; id++) {
                kit_publish(from, qos, qos == 0 ? 0 : id, "t/1");
                for (int i = 0; i < 3; i++)
                    got[i] += strstr(kit_log(m[i]), "PUBLISH") != NULL;
            }
            for (int i = 0; i < 3; i++)
                assert_int_equal(got[i], 3);
            kit_close(&k);
        }
    }
}

/* [MQTT-4.8.2-3] */
static void each_member_has_the_qos_that_it_was_granted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *m[3];
    m[0] = member(&k, "a", 0, 0, 0);
    m[1] = member(&k, "b", 0, 0, 1);
    m[2] = member(&k, "c", 0, 0, 2);
    for (uint16_t id = 1; id <= 9; id++)
        kit_publish(from, 2, id, "t/1");
    for (int i = 0; i < 3; i++) {
        char qos[24];
        (void)snprintf(qos, sizeof qos, "PUBLISH q%d", i);
        assert_int_equal(strncmp(kit_log(m[i]), qos, strlen(qos)), 0);
    }
    kit_close(&k);
}

static void the_member_with_the_most_room_is_preferred(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *small = member(&k, "a", 0, 2, 1), *large = member(&k, "b", 0, 5, 1);
    for (uint16_t id = 1; id <= 3; id++)
        kit_publish(from, 1, id, "t/1");
    assert_string_equal(kit_log(small), "");
    assert_string_equal(kit_log(large), "PUBLISH q1 id=1 t/1 p1\nPUBLISH q1 id=2 t/1 p2\nPUBLISH q1 id=3 t/1 p3\n");
    for (uint16_t id = 4; id <= 7; id++)
        kit_publish(from, 1, id, "t/1");
    assert_non_null(strstr(kit_log(small), "id=2")); /* all room is used … */
    assert_non_null(strstr(kit_log(large), "id=5"));
    kit_publish(from, 1, 8, "t/1"); /* … and one waits in a queue */
    kit_acked(small, 1);
    kit_acked(large, 1);
    assert_true((strstr(kit_log(small), "p8") != NULL) != (strstr(kit_log(large), "p8") != NULL));
    kit_close(&k);
}

static void the_absent_get_what_nobody_else_can_have_and_no_qos_0(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *away = member(&k, "a", 60, 0, 1), *there = member(&k, "b", 0, 0, 1);
    kit_lose(away);
    for (uint16_t id = 1; id <= 3; id++)
        kit_publish(from, 1, id, "t/1");
    assert_non_null(strstr(kit_log(there), "p3"));
    kit_lose(there);
    kit_settle(&k);
    kit_publish(from, 0, 0, "t/1");
    kit_publish(from, 1, 4, "t/1");
    kit_settle(&k);
    away = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    const char *log = kit_log(away);
    assert_null(strstr(log, "q0"));
    assert_non_null(strstr(log, "p4"));
    assert_non_null(strstr(log, "p1")); /* what b had not acknowledged, too */
    kit_close(&k);
}

/* [MQTT-3.8.3-4]: No Local is for others; a member gets its own. */
static void a_publisher_may_be_the_member(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *a = member(&k, "a", 0, 0, 0);
    kit_publish(a, 0, 0, "t/1");
    assert_string_equal(kit_log(a), "PUBLISH q0 t/1 p0\n");
    kit_close(&k);
}

static void a_group_and_an_ordinary_subscription_each_have_a_copy(void **state)
{
    (void)state;
    for (uint32_t expiry_s = 0; expiry_s <= 60; expiry_s += 60) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", expiry_s, 0, 2);
        kit_subscribe(a, "t/1", 2);
        kit_settle(&k);
        (void)kit_log(a);
        kit_publish(from, 2, 1, "t/1");
        kit_settle(&k);
        assert_string_equal(kit_log(a), "PUBLISH q2 id=1 t/1 p1\nPUBLISH q2 id=2 t/1 p1\n");
        for (uint16_t id = 1; id <= 2; id++) {
            kit_settle_as(a, MQTT_PUBREC, id, 0);
            kit_settle(&k);
            kit_settle_as(a, MQTT_PUBCOMP, id, 0);
        }
        kit_settle(&k);
        assert_string_equal(kit_log(a), "PUBREL 1 0x00\nPUBREL 2 0x00\n");
        kit_close(&k);
    }
}

/* [MQTT-4.8.2-4], [MQTT-4.8.2-5] */
static void when_a_members_session_ends_qos_1_goes_to_another_and_qos_2_does_not(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 0, 0, 2);
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 2, 2, "t/1");
    kit_publish(from, 1, 3, "t/1");
    kit_acked(a, 1);
    struct kit_client *b = member(&k, "b", 0, 0, 2);
    kit_lose(a);
    kit_settle(&k);
    assert_string_equal(kit_log(b), "PUBLISH q1 id=1 t/1 p3\n");
    assert_int_equal(hub_counters(k.h)->deliveries_passed_on, 1);
    kit_close(&k);
}

/* [MQTT-4.8.2-6]: the client did not want it; nobody else is asked. */
static void what_a_member_refuses_goes_to_nobody_else(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 0, 0, 2);
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 2, 2, "t/1");
    struct kit_client *b = member(&k, "b", 0, 0, 2);
    kit_settle_as(a, MQTT_PUBACK, 1, 0x80);
    kit_settle_as(a, MQTT_PUBREC, 2, 0x97);
    kit_lose(a);
    kit_settle(&k);
    assert_string_equal(kit_log(b), "");
    kit_close(&k);
}

static void what_waits_for_a_member_that_leaves_goes_to_one_that_is_there(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 60, 1, 1);
    for (uint16_t id = 1; id <= 3; id++)
        kit_publish(from, 1, id, "t/1");
    kit_settle(&k);
    struct kit_client *b = member(&k, "b", 60, 0, 1);
    kit_lose(a);
    kit_settle(&k);
    assert_string_equal(kit_log(b), "PUBLISH q1 id=1 t/1 p2\nPUBLISH q1 id=2 t/1 p3\n"); /* what a had on its way stays a's */
    a = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(a), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup\n");
    kit_acked(a, 1);
    kit_acked(b, 1);
    kit_acked(b, 2);
    kit_settle(&k);
    assert_string_equal(kit_records(&k), "");
    kit_close(&k);
}

/* The body changes hands and goes with the last of them. */
static void what_is_passed_on_between_persistent_sessions_is_recorded_so(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 60, 0, 1);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    struct kit_client *b = member(&k, "b", 600, 0, 1);
    kit_lose(a);
    kit_settle(&k);
    assert_string_equal(kit_log(b), "");
    kit_pass(&k, 61000);
    assert_string_equal(kit_records(&k), "COPY(1) COPY_DROP SESSION_DROP ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(b), "PUBLISH q1 id=1 t/1 p1\n");
    kit_acked(b, 1);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP ");
    kit_close(&k);
}

static void what_was_not_stored_is_stored_when_a_persistent_member_gets_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 0, 0, 1);
    kit_publish(from, 1, 1, "t/1");
    struct kit_client *b = member(&k, "b", 600, 0, 1);
    kit_lose(a);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "BODY COPY(1) ");
    assert_string_equal(kit_log(b), "PUBLISH q1 id=1 t/1 p1\n");
    kit_close(&k);
}

/* The batch with the message is refused, and written when its copy is in the next one. */
static void what_is_passed_on_is_stored_before_its_publisher_is_answered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *a = member(&k, "a", 60, 1, 1);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_publish(from, 1, 2, "t/1"); /* waits for a */
    struct batch *refused = k.pending;
    kit_commit(&k, SL_ENOSPC);
    kit_subscribe(kit_mqtt(&k, true, "b", 60), "$share/g/t/#", 1);
    kit_lose(a);
    kit_pass(&k, 300);
    while (k.pending != NULL && k.pending != refused)
        kit_commit(&k, SL_OK);
    kit_commit(&k, SL_OK);
    assert_int_equal(hub_counters(k.h)->deliveries_passed_on, 1);
    assert_string_equal(kit_log(from), "");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 2 0x00\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_goes_to_one_member_by_turns),
        cmocka_unit_test(each_member_has_the_qos_that_it_was_granted),
        cmocka_unit_test(the_member_with_the_most_room_is_preferred),
        cmocka_unit_test(the_absent_get_what_nobody_else_can_have_and_no_qos_0),
        cmocka_unit_test(a_publisher_may_be_the_member),
        cmocka_unit_test(a_group_and_an_ordinary_subscription_each_have_a_copy),
        cmocka_unit_test(when_a_members_session_ends_qos_1_goes_to_another_and_qos_2_does_not),
        cmocka_unit_test(what_a_member_refuses_goes_to_nobody_else),
        cmocka_unit_test(what_waits_for_a_member_that_leaves_goes_to_one_that_is_there),
        cmocka_unit_test(what_is_passed_on_between_persistent_sessions_is_recorded_so),
        cmocka_unit_test(what_was_not_stored_is_stored_when_a_persistent_member_gets_it),
        cmocka_unit_test(what_is_passed_on_is_stored_before_its_publisher_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
