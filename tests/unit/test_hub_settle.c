/* What subscribers answer to deliveries. */
#include "test_hub_kit.h"

static void an_answer_to_nothing_changes_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *to = kit_listener(&k, "to", 0, "t/#", 2);
    kit_acked(to, 7);
    kit_settle_as(to, MQTT_PUBCOMP, 7, 0);
    assert_string_equal(kit_log(to), "");
    kit_settle_as(to, MQTT_PUBREC, 7, 0);
    assert_string_equal(kit_log(to), "PUBREL 7 0x92\n");
    kit_close(&k);
}

/* Section 4.13.1: it is known, but another answer is due. */
static void an_answer_that_is_not_due_ends_the_connection(void **state)
{
    (void)state;
    static const struct { uint8_t qos, kind, reason; } wrong[] = {
        { 1, MQTT_PUBREC, 0 },    { 1, MQTT_PUBREC, 0x80 }, { 1, MQTT_PUBCOMP, 0 },
        { 2, MQTT_PUBACK, 0 },    { 2, MQTT_PUBACK, 0x80 }, { 2, MQTT_PUBCOMP, 0 },
    };
    for (size_t i = 0; i < SL_COUNT(wrong); i++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 2);
        kit_publish(from, wrong[i].qos, 1, "t/1");
        (void)kit_log(to);
        kit_settle_as(to, wrong[i].kind, 1, wrong[i].reason);
        assert_string_equal(kit_log(to), "DISCONNECT 0x82\nclosed\n");
        kit_close(&k);
    }
}

/* [MQTT-4.3.3-4] */
static void a_pubrec_that_is_said_again_has_its_pubrel_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 2);
    kit_publish(from, 2, 1, "t/1");
    (void)kit_log(to);
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    assert_string_equal(kit_log(to), "PUBREL 1 0x00\nPUBREL 1 0x00\n");
    kit_settle_as(to, MQTT_PUBACK, 1, 0);
    assert_string_equal(kit_log(to), "DISCONNECT 0x82\nclosed\n");
    kit_close(&k);
}

/* Else a crash now would publish it again under an id that the client has given back. */
static void a_pubrec_that_is_said_again_does_not_hurry_its_pubrel(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
    kit_publish(from, 2, 1, "t/1");
    kit_settle(&k);
    (void)kit_log(to);
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    assert_string_equal(kit_log(to), "");
    kit_settle(&k);
    assert_string_equal(kit_log(to), "PUBREL 1 0x00\n");
    kit_close(&k);
}

/* [MQTT-4.6.0-4] */
static void pubrels_leave_in_the_order_of_pubrecs(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
    for (uint16_t id = 1; id <= 3; id++)
        kit_publish(from, 2, id, "t/1");
    kit_settle(&k);
    (void)kit_log(to);
    for (uint16_t id = 1; id <= 3; id++)
        kit_settle_as(to, MQTT_PUBREC, id, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "PUBREL 1 0x00\nPUBREL 2 0x00\nPUBREL 3 0x00\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_to_nothing_changes_nothing),
        cmocka_unit_test(an_answer_that_is_not_due_ends_the_connection),
        cmocka_unit_test(a_pubrec_that_is_said_again_has_its_pubrel_again),
        cmocka_unit_test(a_pubrec_that_is_said_again_does_not_hurry_its_pubrel),
        cmocka_unit_test(pubrels_leave_in_the_order_of_pubrecs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
