/* $SYS: the names that Mosquitto's users know, what stands there, and when it
 * is told. */
#include <math.h>

#include "test_hub_kit.h"

static void start(struct kit *k)
{
    k->sys_interval_ms = 10000;
    k->retained_messages = 10;
    k->retained_bytes = 1u << 20;
    kit_open(k);
    kit_turn(k);
}

static struct kit_client *connected(struct kit *k, const char *id)
{
    struct kit_client *c = kit_mqtt(k, true, id, 0);
    (void)kit_log(c);
    return c;
}

/* What a new subscription of this topic of $SYS/broker brings. */
static const char *now(struct kit_client *c, const char *name)
{
    char filter[64];
    snprintf(filter, sizeof filter, "$SYS/broker/%s", name);
    kit_subscribe(c, filter, 0);
    return kit_log(c);
}

#define SYS "SUBACK 0x00\nPUBLISH q0 $SYS/broker/"

static void a_new_subscription_gets_the_value_of_now(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "s");
    assert_string_equal(now(c, "version"), SYS "version sluice version 1.2.3 retain\n");
    kit_pass(&k, 12345);
    assert_string_equal(now(c, "uptime"), SYS "uptime 12 seconds retain\n");
    assert_string_equal(now(c, "clients/connected"), SYS "clients/connected 1 retain\n");
    kit_subscribe_full(c, &(struct mqtt_filter){ .filter = sl_str("$SYS/#"), .retain_handling = 2 }, 1, 0);
    assert_string_equal(kit_log(c), "SUBACK 0x00\n");
    kit_close(&k);
}

/* The names are an interface: what reads them was written for Mosquitto. */
static void the_names_are_those_of_mosquitto(void **state)
{
    (void)state;
    static const char *const names[] = {
        "version", "uptime", "clients/total", "clients/connected", "clients/disconnected", "clients/maximum", "clients/expired",
        "clients/active", "clients/inactive", "messages/received", "messages/sent", "messages/stored", "publish/messages/received",
        "publish/messages/sent", "publish/messages/dropped", "publish/bytes/received", "publish/bytes/sent", "bytes/received", "bytes/sent",
        "store/messages/count", "store/messages/bytes", "retained messages/count", "subscriptions/count", "shared_subscriptions/count",
        "heap/current", "load/messages/received/1min", "load/messages/sent/5min", "load/publish/received/15min", "load/publish/sent/1min",
        "load/publish/dropped/5min", "load/bytes/received/15min", "load/bytes/sent/1min", "load/sockets/5min", "load/connections/15min",
    };
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "s");
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        char expected[96];
        snprintf(expected, sizeof expected, SYS "%s ", names[i]);
        assert_memory_equal(now(c, names[i]), expected, strlen(expected));
    }
    kit_close(&k);
}

/* [MQTT-4.7.2-1] */
static void a_filter_that_begins_with_a_wildcard_does_not_see_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "s");
    kit_subscribe(c, "#", 0);
    kit_subscribe(c, "+/broker/uptime", 0);
    kit_pass(&k, 10000);
    assert_string_equal(kit_log(c), "SUBACK 0x00\nSUBACK 0x00\n");
    kit_close(&k);
}

/* Each interval, and only what is another than it was; RETAIN is for who asks anew. */
static void what_changes_is_told_at_the_interval(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "s");
    (void)now(c, "clients/+");
    (void)now(c, "version");
    kit_pass(&k, 10000);
    kit_pass(&k, 10000); /* nothing waits for CONNECT any more */
    assert_int_equal(hub_deadline_us(k.h), k.mono_us + 10000000);
    assert_string_equal(kit_log(c), "");
    struct kit_client *other = connected(&k, "o");
    kit_pass(&k, 9900);
    assert_string_equal(kit_log(c), "");
    kit_pass(&k, 100);
    assert_string_equal(kit_log(c), "PUBLISH q0 $SYS/broker/clients/total 2\nPUBLISH q0 $SYS/broker/clients/connected 2\n"
                                    "PUBLISH q0 $SYS/broker/clients/active 2\nPUBLISH q0 $SYS/broker/clients/maximum 2\n");
    kit_lose(other);
    kit_pass(&k, 10000);
    assert_string_equal(kit_log(c), "PUBLISH q0 $SYS/broker/clients/total 1\nPUBLISH q0 $SYS/broker/clients/connected 1\n"
                                    "PUBLISH q0 $SYS/broker/clients/active 1\n");
    kit_close(&k);
}

/* What one was told at once is a change for another. */
static void who_came_earlier_is_told_what_changed_since(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *one = connected(&k, "1");
    assert_string_equal(now(one, "clients/connected"), SYS "clients/connected 1 retain\n");
    struct kit_client *two = connected(&k, "2");
    assert_string_equal(now(two, "clients/connected"), SYS "clients/connected 2 retain\n");
    kit_pass(&k, 10000);
    assert_string_equal(kit_log(one), "PUBLISH q0 $SYS/broker/clients/connected 2\n");
    kit_close(&k);
}

static void sessions_that_are_away_and_those_that_ended_are_counted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "s");
    kit_lose(kit_mqtt(&k, true, "away", 60));
    kit_settle(&k);
    assert_string_equal(now(c, "clients/disconnected"), SYS "clients/disconnected 1 retain\n");
    assert_string_equal(now(c, "clients/total"), SYS "clients/total 2 retain\n");
    assert_string_equal(now(c, "clients/expired"), SYS "clients/expired 0 retain\n");
    (void)kit_stomp(&k);
    assert_string_equal(now(c, "clients/total"), SYS "clients/total 3 retain\n");
    kit_pass(&k, 61000);
    (void)kit_log(c);
    assert_string_equal(now(c, "clients/expired"), SYS "clients/expired 1 retain\n");
    assert_string_equal(now(c, "clients/disconnected"), SYS "clients/disconnected 0 retain\n");
    kit_close(&k);
}

static void what_comes_and_goes_is_counted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p"), *s = connected(&k, "s"), *c = connected(&k, "c");
    kit_subscribe(s, "t/+", 0);
    kit_publish(p, 1, 1, "t/1");
    kit_publish(p, 1, 2, "nowhere");
    kit_settle(&k);
    assert_string_equal(kit_log(s), "SUBACK 0x00\nPUBLISH q0 t/1 p1\n");
    assert_string_equal(now(c, "publish/messages/received"), SYS "publish/messages/received 2 retain\n");
    assert_string_equal(now(c, "publish/bytes/received"), SYS "publish/bytes/received 4 retain\n");
    assert_string_equal(now(c, "publish/messages/sent"), SYS "publish/messages/sent 3 retain\n"); /* two of them of $SYS */
    assert_string_equal(now(c, "subscriptions/count"), SYS "subscriptions/count 5 retain\n");
    assert_string_equal(now(c, "retained messages/count"), SYS "retained messages/count 0 retain\n");
    /* 3 CONNECT, 2 PUBLISH, 7 SUBSCRIBE; with CONNACK, PUBACK, SUBACK, and the deliveries before this one */
    assert_string_equal(now(c, "messages/received"), SYS "messages/received 12 retain\n");
    assert_string_equal(now(c, "messages/sent"), SYS "messages/sent 20 retain\n");
    kit_close(&k);
}

/* PUBLISH, PUBREC, PUBREL and PUBCOMP, in both directions. */
static void each_packet_of_a_delivery_of_qos_2_counts(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p"), *s = connected(&k, "s");
    kit_subscribe(s, "t/+", 2);
    uint64_t in = hub_counters(k.h)->control_received, out = hub_counters(k.h)->control_sent;
    kit_publish(p, 2, 1, "t/1");
    kit_settle(&k);
    kit_pubrel(p, 1);
    kit_settle_as(s, MQTT_PUBREC, 1, 0);
    kit_settle_as(s, MQTT_PUBCOMP, 1, 0);
    assert_string_equal(kit_log(s), "SUBACK 0x02\nPUBLISH q2 id=1 t/1 p1\nPUBREL 1 0x00\n");
    assert_string_equal(kit_log(p), "PUBREC 1 0x00\nPUBCOMP 1 0x00\n");
    assert_int_equal(hub_counters(k.h)->control_received - in, 3); /* PUBREL, PUBREC, PUBCOMP */
    assert_int_equal(hub_counters(k.h)->control_sent - out, 1);    /* PUBREL; answers and deliveries count as such */
    kit_close(&k);
}

/* Per minute, fading with the span that the topic names. */
static void loads_fade_with_their_span(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p"), *c = connected(&k, "c");
    for (uint16_t i = 0; i < 10; i++)
        kit_publish(p, 0, 0, "t/1");
    kit_pass(&k, 10000);
    double first = 60 * (1 - exp(-10.0 / 60));
    char expected[128];
    snprintf(expected, sizeof expected, SYS "load/publish/received/1min %.2f retain\n", first);
    assert_string_equal(now(c, "load/publish/received/1min"), expected);
    snprintf(expected, sizeof expected, SYS "load/publish/received/15min %.2f retain\n", 60 * (1 - exp(-10.0 / 900)));
    assert_string_equal(now(c, "load/publish/received/15min"), expected);
    kit_pass(&k, 10000);
    (void)kit_log(c);
    snprintf(expected, sizeof expected, SYS "load/publish/received/1min %.2f retain\n", first * exp(-10.0 / 60));
    assert_string_equal(now(c, "load/publish/received/1min"), expected);
    kit_close(&k);
}

static void switched_off_there_is_none(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *c = connected(&k, "s");
    kit_subscribe(c, "$SYS/#", 0);
    kit_pass(&k, 100000);
    assert_string_equal(kit_log(c), "SUBACK 0x00\n");
    assert_true(hub_deadline_us(k.h) == UINT64_MAX);
    kit_close(&k);
}

/* Each filter of one packet asks for all of them. */
static void one_packet_does_not_ask_for_more_than_a_turn_can_give(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *many = connected(&k, "many"), *one = connected(&k, "one");
    static struct mqtt_filter filters[2000];
    for (size_t i = 0; i < SL_COUNT(filters); i++)
        filters[i] = (struct mqtt_filter){ .filter = sl_str("$SYS/#") };
    many->unread = true;
    kit_subscribe_full(many, filters, SL_COUNT(filters), 0);
    const struct gateway_counters *n = hub_counters(k.h);
    assert_in_range(n->deliveries_sent + n->deliveries_dropped_qos0, 1000, 10000);
    assert_string_equal(now(one, "version"), SYS "version sluice version 1.2.3 retain\n"); /* a later turn */
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_subscription_gets_the_value_of_now),
        cmocka_unit_test(the_names_are_those_of_mosquitto),
        cmocka_unit_test(a_filter_that_begins_with_a_wildcard_does_not_see_it),
        cmocka_unit_test(what_changes_is_told_at_the_interval),
        cmocka_unit_test(who_came_earlier_is_told_what_changed_since),
        cmocka_unit_test(sessions_that_are_away_and_those_that_ended_are_counted),
        cmocka_unit_test(what_comes_and_goes_is_counted),
        cmocka_unit_test(each_packet_of_a_delivery_of_qos_2_counts),
        cmocka_unit_test(loads_fade_with_their_span),
        cmocka_unit_test(switched_off_there_is_none),
        cmocka_unit_test(one_packet_does_not_ask_for_more_than_a_turn_can_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
