/* SUBSCRIBE and UNSUBSCRIBE: grants, when they are answered, what is recorded. */
#include "test_hub_kit.h"

static void a_session_that_ends_with_its_connection_is_answered_at_once(void **state)
{
    (void)state;
    for (int v5 = 0; v5 < 2; v5++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *c = kit_mqtt(&k, v5, "a", 0);
        (void)kit_log(c);
        const struct mqtt_filter f[] = { { .filter = sl_str("a/+"), .qos = 0 }, { .filter = sl_str("b/#"), .qos = 1 }, { .filter = sl_str("c"), .qos = 2 } };
        kit_subscribe_full(c, f, SL_COUNT(f), 0);
        assert_string_equal(kit_log(c), "SUBACK 0x00 0x01 0x02\n");
        assert_string_equal(kit_records(&k), "");
        kit_unsubscribe(c, "b/#");
        assert_string_equal(kit_log(c), v5 ? "UNSUBACK 0x00\n" : "UNSUBACK\n");
        kit_unsubscribe(c, "b/#");
        assert_string_equal(kit_log(c), v5 ? "UNSUBACK 0x11\n" : "UNSUBACK\n");
        kit_close(&k);
    }
}

/* Decision 2: SUBACK promises that the subscription survives. */
static void a_persistent_session_is_answered_when_it_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    (void)kit_log(c);
    kit_subscribe(c, "t/#", 1);
    assert_string_equal(kit_log(c), "");
    assert_string_equal(kit_records(&k), "SUBSCRIPTION(1) ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "SUBACK 0x01\n");
    kit_unsubscribe(c, "t/#");
    assert_string_equal(kit_log(c), "");
    assert_string_equal(kit_records(&k), "SUBSCRIPTION_DROP(1) ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "UNSUBACK 0x00\n");
    kit_close(&k);
}

static void a_broken_store_takes_no_subscription_of_a_persistent_session(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    (void)kit_log(c);
    kit_subscribe(c, "t/#", 1);
    kit_commit(&k, SL_EIO);
    kit_pass(&k, 2000); /* reject_grace */
    assert_string_equal(kit_log(c), "DISCONNECT 0x83\nclosed\n");
    kit_close(&k);
}

/* A string may have 65,536 levels, and each would cost a node. */
static void a_filter_has_200_levels_at_most(void **state)
{
    (void)state;
    static char deep[200];
    memset(deep, '/', sizeof deep);
    for (int v5 = 0; v5 < 2; v5++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *c = kit_mqtt(&k, v5, "a", 0);
        (void)kit_log(c);
        const struct mqtt_filter f[] = { { .filter = sl_bytes_of(deep, 199) }, { .filter = sl_bytes_of(deep, 200) } };
        kit_subscribe_full(c, f, SL_COUNT(f), 0);
        assert_string_equal(kit_log(c), v5 ? "SUBACK 0x00 0x97\n" : "SUBACK 0x00 0x80\n");
        kit_close(&k);
    }
}

/* [MQTT-3.8.4-3]: it replaces, and is not counted twice. */
static void over_the_limit_a_new_filter_is_refused_and_an_old_one_is_not(void **state)
{
    (void)state;
    for (int v5 = 0; v5 < 2; v5++) {
        struct kit k = { .subscribers = { .queue_messages = 10, .queue_bytes = 10000, .in_flight = 10, .subscriptions = 2, .output_bytes = 10000 } };
        kit_open(&k);
        struct kit_client *c = kit_mqtt(&k, v5, "a", 0);
        (void)kit_log(c);
        const struct mqtt_filter f[] = { { .filter = sl_str("a") }, { .filter = sl_str("b") }, { .filter = sl_str("c") }, { .filter = sl_str("a"), .qos = 1 } };
        kit_subscribe_full(c, f, SL_COUNT(f), 0);
        assert_string_equal(kit_log(c), v5 ? "SUBACK 0x00 0x00 0x97 0x01\n" : "SUBACK 0x00 0x00 0x80 0x01\n");
        kit_unsubscribe(c, "b");
        (void)kit_log(c);
        kit_subscribe(c, "c", 0);
        assert_string_equal(kit_log(c), "SUBACK 0x00\n");
        kit_close(&k);
    }
}

/* [MQTT-3.10.4-2], [MQTT-3.10.4-3] */
static void after_unsubscribe_nothing_new_comes_and_what_is_in_flight_is_finished(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_mqtt(&k, true, "from", 0), *to = kit_mqtt(&k, true, "to", 0);
    kit_subscribe(to, "t/#", 2);
    kit_publish(from, 2, 1, "t/1");
    kit_unsubscribe(to, "t/#");
    assert_string_equal(kit_log(to), "CONNACK 0 present=0\nSUBACK 0x02\nPUBLISH q2 id=1 t/1 p1\nUNSUBACK 0x00\n");
    kit_publish(from, 2, 2, "t/1");
    assert_string_equal(kit_log(to), "");
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    assert_string_equal(kit_log(to), "PUBREL 1 0x00\n");
    kit_settle_as(to, MQTT_PUBCOMP, 1, 0);
    kit_close(&k);
}

/* Retain Handling, sections 3.8.3.1 and 4.8.2. */
static void retained_messages_follow_as_the_subscription_asks(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        uint8_t handling;
        bool twice;
        const char *expected;
    } cases[] = {
        { "t/#", 0, false, "SUBACK 0x01\nPUBLISH q1 id=1 t/1 p7 retain\n" },
        { "t/#", 0, true, "SUBACK 0x01\nPUBLISH q1 id=1 t/1 p7 retain\nSUBACK 0x01\nPUBLISH q1 id=2 t/1 p7 retain\n" },
        { "t/#", 1, true, "SUBACK 0x01\nPUBLISH q1 id=1 t/1 p7 retain\nSUBACK 0x01\n" },
        { "t/#", 2, false, "SUBACK 0x01\n" },
        { "$share/g/t/#", 0, false, "SUBACK 0x01\n" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { .retained_messages = 10, .retained_bytes = 10000 };
        kit_open(&k);
        struct kit_client *from = kit_mqtt(&k, true, "from", 0), *to = kit_mqtt(&k, true, "to", 0);
        struct mqtt_publish p = { .qos = 1, .packet_id = 7, .retain = true, .topic = sl_str("t/1"), .payload = sl_str("p7") };
        mqtt_props_init(&p.props);
        kit_publish_full(from, &p);
        kit_settle(&k);
        (void)kit_log(to);
        const struct mqtt_filter f = { .filter = sl_str(cases[i].filter), .qos = 1, .retain_handling = cases[i].handling };
        for (int n = 0; n <= cases[i].twice; n++)
            kit_subscribe_full(to, &f, 1, 0);
        assert_string_equal(kit_log(to), cases[i].expected);
        kit_close(&k);
    }
}

static void a_clean_start_leaves_no_subscription_behind(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_mqtt(&k, true, "from", 0), *to = kit_mqtt(&k, true, "to", 60);
    kit_subscribe(to, "t/#", 1);
    kit_settle(&k);
    kit_lose(to);
    struct mqtt_connect p = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    to = kit_connect(&k, &p);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=0\n");
    (void)kit_log(from);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_log(from), "PUBACK 1 0x10\n"); /* nobody listens */
    assert_string_equal(kit_log(to), "");
    kit_close(&k);
}

/* Else a crash would bring the subscription back to a client that was told of a new session. */
static void a_clean_start_waits_for_an_unsubscribe_that_is_not_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_unsubscribe(to, "t/#");
    kit_turn(&k);
    kit_lose(to);
    struct mqtt_connect p = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    to = kit_connect(&k, &p);
    assert_string_equal(kit_log(to), "");
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=0\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_that_ends_with_its_connection_is_answered_at_once),
        cmocka_unit_test(a_persistent_session_is_answered_when_it_is_stored),
        cmocka_unit_test(a_broken_store_takes_no_subscription_of_a_persistent_session),
        cmocka_unit_test(a_filter_has_200_levels_at_most),
        cmocka_unit_test(over_the_limit_a_new_filter_is_refused_and_an_old_one_is_not),
        cmocka_unit_test(after_unsubscribe_nothing_new_comes_and_what_is_in_flight_is_finished),
        cmocka_unit_test(retained_messages_follow_as_the_subscription_asks),
        cmocka_unit_test(a_clean_start_leaves_no_subscription_behind),
        cmocka_unit_test(a_clean_start_waits_for_an_unsubscribe_that_is_not_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
