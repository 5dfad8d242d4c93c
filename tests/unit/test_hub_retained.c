/* Retained messages: what is kept and what is written, how a new subscription
 * gets them, and what bounds them. */
#include "test_hub_kit.h"

static void start(struct kit *k)
{
    k->retained_messages = k->retained_messages == 0 ? 100 : k->retained_messages;
    k->retained_bytes = k->retained_bytes == 0 ? 1u << 20 : k->retained_bytes;
    kit_open(k);
}

/* A publish with RETAIN. */
static void retain(struct kit_client *c, uint8_t qos, uint16_t id, const char *topic, const char *payload)
{
    struct mqtt_publish p = { .qos = qos, .packet_id = id, .retain = true, .topic = sl_str(topic), .payload = sl_str(payload) };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
    kit_settle(c->k);
}

static struct kit_client *connected_as(struct kit *k, bool v5, const char *id, uint32_t expiry_s)
{
    struct kit_client *c = kit_mqtt(k, v5, id, expiry_s);
    kit_settle(k);
    (void)kit_log(c);
    return c;
}

static struct kit_client *connected(struct kit *k, const char *id, uint32_t expiry_s)
{
    return connected_as(k, true, id, expiry_s);
}

/* All that comes after a SUBSCRIBE of this filter. */
static const char *subscribed(struct kit_client *c, const struct mqtt_filter *f, uint32_t id)
{
    kit_subscribe_full(c, f, 1, id);
    kit_settle(c->k);
    return kit_log(c);
}

static struct mqtt_filter all(uint8_t qos)
{
    return (struct mqtt_filter){ .filter = sl_str("#"), .qos = qos };
}

/* [MQTT-3.3.1-5], [MQTT-3.3.1-8], and the lower QoS of the two. The publisher's
 * session has ended [MQTT-3.1.2-7 of 3.1.1]. */
static void a_new_subscription_gets_the_last_of_each_topic(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *p = connected_as(&k, v5 == 1, "p", 0), *s = connected_as(&k, v5 == 1, "s", 0);
        retain(p, 1, 1, "a", "1");
        retain(p, 1, 2, "a", "2");
        kit_lose(p);
        struct mqtt_filter f = all(0);
        assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\nPUBLISH q0 a 2 retain\n");
        f.qos = 2;
        assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x02\nPUBLISH q1 id=1 a 2 retain\n");
        kit_close(&k);
    }
}

/* [MQTT-3.3.1-7] of 3.1.1 */
static void one_of_qos_0_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected_as(&k, false, "p", 0), *s = connected_as(&k, false, "s", 0);
    retain(p, 1, 1, "a", "1");
    retain(p, 0, 0, "a", "2");
    struct mqtt_filter f = all(1);
    assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x01\nPUBLISH q0 a 2 retain\n");
    kit_close(&k);
}

/* [MQTT-3.3.4-3] */
static void they_carry_the_subscriptions_id(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    retain(p, 1, 1, "a", "1");
    struct mqtt_filter f = all(1);
    assert_string_equal(subscribed(s, &f, 7), "SUBACK 0x01\nPUBLISH q1 id=1 a 1 retain subs=7\n");
    kit_close(&k);
}

static void other_topics_do_not_come_with_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    retain(p, 0, 0, "a/b", "1");
    retain(p, 0, 0, "c/b", "2");
    assert_string_equal(subscribed(s, &(struct mqtt_filter){ .filter = sl_str("c/+") }, 0), "SUBACK 0x00\nPUBLISH q0 c/b 2 retain\n");
    kit_close(&k);
}

/* [MQTT-3.3.1-8]: to who listens already it is an ordinary message, unless that asked otherwise [MQTT-3.3.1-13]. */
static void who_listens_already_gets_it_without_retain(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0), *as_published = connected(&k, "r", 0);
    struct kit_client *of_311 = connected_as(&k, false, "3", 0);
    struct mqtt_filter f = all(0);
    (void)subscribed(s, &f, 0);
    (void)subscribed(of_311, &f, 0);
    f.retain_as_published = true;
    (void)subscribed(as_published, &f, 0);
    retain(p, 0, 0, "a", "1");
    assert_string_equal(kit_log(s), "PUBLISH q0 a 1\n");
    assert_string_equal(kit_log(of_311), "PUBLISH q0 a 1\n");
    assert_string_equal(kit_log(as_published), "PUBLISH q0 a 1 retain\n");
    kit_close(&k);
}

/* [MQTT-3.3.1-12], [MQTT-3.3.1-13] */
static void members_of_a_group_get_retain_as_they_asked(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0), *as_published = connected(&k, "r", 0);
    struct mqtt_filter f = { .filter = sl_str("$share/g/a") };
    (void)subscribed(s, &f, 0);
    f = (struct mqtt_filter){ .filter = sl_str("$share/h/a"), .retain_as_published = true };
    (void)subscribed(as_published, &f, 0);
    retain(p, 0, 0, "a", "1");
    assert_string_equal(kit_log(s), "PUBLISH q0 a 1\n");
    assert_string_equal(kit_log(as_published), "PUBLISH q0 a 1 retain\n");
    kit_close(&k);
}

/* [MQTT-3.3.1-6], [MQTT-3.3.1-7]: and it is published all the same. */
static void an_empty_one_removes_and_is_not_kept(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *p = connected_as(&k, v5 == 1, "p", 0), *s = connected_as(&k, v5 == 1, "s", 0), *later = connected_as(&k, v5 == 1, "l", 0);
        struct mqtt_filter f = all(1);
        (void)subscribed(s, &f, 0);
        retain(p, 0, 0, "a", "1");
        (void)kit_log(s);
        retain(p, 0, 0, "a", "");
        assert_string_equal(kit_log(s), "PUBLISH q0 a \n");
        assert_string_equal(subscribed(later, &f, 0), "SUBACK 0x01\n");
        assert_int_equal(hub_counters(k.h)->retained_removed, 1);
        kit_close(&k);
    }
}

/* [MQTT-3.3.1-8] */
static void one_without_retain_leaves_the_retained_one(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *p = connected_as(&k, v5 == 1, "p", 0), *s = connected_as(&k, v5 == 1, "s", 0);
        retain(p, 0, 0, "a", "1");
        kit_publish(p, 0, 0, "a");
        struct mqtt_filter f = all(0);
        assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\nPUBLISH q0 a 1 retain\n");
        kit_close(&k);
    }
}

/* [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]; section 4.8.2. */
static void retain_handling_says_when_they_are_sent(void **state)
{
    (void)state;
    static const char with[] = "SUBACK 0x00\nPUBLISH q0 a 1 retain\n", without[] = "SUBACK 0x00\n";
    static const struct {
        uint8_t handling;
        const char *filter, *first, *again;
    } cases[] = { { 0, "#", with, with }, { 1, "#", with, without }, { 2, "#", without, without }, { 0, "$share/g/#", without, without } };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
        retain(p, 0, 0, "a", "1");
        struct mqtt_filter f = { .filter = sl_str(cases[i].filter), .retain_handling = cases[i].handling };
        assert_string_equal(subscribed(s, &f, 0), cases[i].first);
        assert_string_equal(subscribed(s, &f, 0), cases[i].again);
        kit_close(&k);
    }
}

/* ---- time ---- */

/* [MQTT-3.3.2-5], [MQTT-3.3.2-6] */
static void one_whose_time_has_passed_is_gone_and_dropped_from_the_store(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    struct mqtt_publish p = { .retain = true, .topic = sl_str("a"), .payload = sl_str("1") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 100);
    kit_publish_full(c, &p);
    kit_settle(&k);
    kit_pass(&k, 15000); /* nothing waits for CONNECT any more */
    kit_pass(&k, 78000);
    struct mqtt_filter f = all(0);
    assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\nPUBLISH q0 a 1 retain expiry=7\n");
    kit_pass(&k, 6000);
    uint64_t due_us = hub_deadline_us(k.h) - k.mono_us;
    assert_true(due_us > 900000 && due_us <= 1000000);
    kit_pass(&k, 1000);
    assert_string_equal(kit_records(&k), "RETAIN_DROP ");
    assert_int_equal(hub_counters(k.h)->retained_expired, 1);
    kit_settle(&k);
    assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\n");
    kit_close(&k);
}

/* ---- what is written ---- */

/* Decision 2: the slot is part of what PUBACK promises. */
static void the_answer_waits_until_it_is_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = connected(&k, "p", 0);
    struct mqtt_publish p = { .qos = 1, .packet_id = 5, .retain = true, .topic = sl_str("a"), .payload = sl_str("1") };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
    assert_string_equal(kit_records(&k), "RETAIN ");
    assert_string_equal(kit_log(c), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(c), "PUBACK 5 0x00\n");
    p.packet_id = 6;
    kit_publish_full(c, &p);
    assert_string_equal(kit_records(&k), "RETAIN_DROP RETAIN ");
    kit_settle(&k);
    p.packet_id = 7;
    p.payload = SL_BYTES_NONE;
    kit_publish_full(c, &p);
    assert_string_equal(kit_records(&k), "RETAIN_DROP ");
    kit_settle(&k);
    kit_close(&k);
}

static void what_the_store_knows_is_retained_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct message_parts parts = { .id = 4, .protocol = MESSAGE_MQTT5, .qos = 1, .flags = MESSAGE_RETAIN, .topic = sl_str("a"), .payload = sl_str("1") };
    struct message *m = message_new(&parts);
    assert_int_equal(hub_restore_retained(k.h, m), SL_OK);
    message_unref(m);
    struct kit_client *s = connected(&k, "s", 0);
    struct mqtt_filter f = all(0);
    assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\nPUBLISH q0 a 1 retain\n");
    kit_close(&k);
}

/* The copy of a persistent session is a message of its own, which stays when
 * the retained one goes. */
static void a_persistent_session_keeps_its_copy_when_the_retained_one_goes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 60);
    retain(p, 1, 1, "a", "1");
    kit_subscribe(s, "#", 1);
    kit_settle(&k);
    assert_string_equal(kit_log(s), "PUBLISH q1 id=1 a 1 retain\nSUBACK 0x01\n"); /* which waited for the store */
    kit_lose(s);
    retain(p, 0, 0, "a", "");
    struct kit_client *again = kit_mqtt(&k, true, "s", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(again), "CONNACK 0 present=1\nPUBLISH q1 id=1 a 1 dup retain\n");
    kit_acked(again, 1);
    assert_non_null(strstr(kit_records(&k), "COPY_DROP"));
    assert_non_null(strstr(kit_records(&k), "BODY_DROP"));
    kit_close(&k);
}

/* ---- limits ---- */

/* Contract, promise 5: in MQTT 5's words; QoS 0 is delivered and not kept. */
static void over_the_caps_it_is_refused_and_the_others_stay(void **state)
{
    (void)state;
    static const struct {
        uint64_t messages, bytes;
    } caps[] = { { 1, 1u << 20 }, { 100, 150 } };
    for (size_t i = 0; i < SL_COUNT(caps); i++) {
        struct kit k = { .retained_messages = caps[i].messages, .retained_bytes = caps[i].bytes };
        start(&k);
        struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
        kit_subscribe(s, "#", 0);
        retain(p, 1, 1, "a", "1");
        retain(p, 1, 2, "b", "2");
        assert_string_equal(kit_log(p), "PUBACK 1 0x00\nPUBACK 2 0x97\n");
        retain(p, 0, 0, "c", "3");
        retain(p, 1, 3, "a", "4"); /* in the place of one that there is */
        retain(p, 1, 4, "d", "");  /* what removes needs no room */
        assert_string_equal(kit_log(p), "PUBACK 3 0x00\nPUBACK 4 0x00\n");
        assert_string_equal(kit_log(s), "SUBACK 0x00\nPUBLISH q0 a 1\nPUBLISH q0 c 3\nPUBLISH q0 a 4\nPUBLISH q0 d \n");
        struct mqtt_filter f = all(0);
        assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\nPUBLISH q0 a 4 retain\n");
        assert_int_equal(hub_counters(k.h)->retained_refused, 2);
        kit_close(&k);
    }
}

/* Promise 5: while the disk is slow nothing piles up in memory. */
static void no_more_wait_for_a_slow_disk_than_memory_allows(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 1u << 20 };
    start(&k);
    struct kit_client *c = connected(&k, "p", 0);
    char payload[1001];
    memset(payload, 'x', 1000);
    payload[1000] = '\0';
    struct mqtt_publish p = { .retain = true, .topic = sl_str("a"), .payload = sl_str(payload) };
    mqtt_props_init(&p.props);
    for (uint32_t i = 0; i < 300; i++)
        kit_publish_full(c, &p);
    uint64_t kept = hub_counters(k.h)->retained_kept;
    assert_true(kept > 100 && kept < 150);
    assert_int_equal(hub_counters(k.h)->retained_refused, 300 - kept);
    kit_settle(&k);
    kit_publish_full(c, &p);
    assert_int_equal(hub_counters(k.h)->retained_kept, kept + 1);
    kit_close(&k);
}

static void without_slots_retain_means_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    retain(p, 1, 1, "a", "1");
    assert_string_equal(kit_log(p), "PUBACK 1 0x10\n");
    struct mqtt_filter f = all(0);
    assert_string_equal(subscribed(s, &f, 0), "SUBACK 0x00\n");
    kit_close(&k);
}

/* ---- pace ---- */

static void retain_many(struct kit *k, uint32_t n, uint8_t qos)
{
    for (uint32_t i = 0; i < n; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "m/%u", i);
        struct message_parts parts = { .id = i + 1, .protocol = MESSAGE_MQTT5, .qos = qos, .flags = MESSAGE_RETAIN, .topic = sl_str(topic), .payload = sl_str("p") };
        struct message *m = message_new(&parts);
        assert_int_equal(hub_restore_retained(k->h, m), SL_OK);
        message_unref(m);
    }
}

/* How many PUBLISH packets wait to be read. */
static uint32_t count_publishes(struct kit_client *c)
{
    uint32_t n = 0;
    struct mqtt_frame f = { 0 };
    while (sl_buf_len(&c->rx) > 0) {
        assert_int_equal(mqtt_frame_read(sl_buf_view(&c->rx), MQTT_PACKET_MAX, &f), SL_OK);
        n += f.type == MQTT_PUBLISH;
        sl_buf_consume(&c->rx, f.size);
    }
    return n;
}

/* Many are sent in portions; each topic comes once, and what changes while it
 * waits comes live and is left out. */
static void many_come_in_portions_and_none_twice(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 10000, .retained_bytes = 8u << 20 };
    start(&k);
    retain_many(&k, 5000, 0);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    kit_subscribe(s, "m/#", 0);
    uint32_t first = count_publishes(s);
    assert_true(first > 0 && first < 5000);
    for (uint32_t i = 0; i < 5000; i++) { /* all of them change: those to come are live ones */
        struct mqtt_publish m = { .retain = true, .payload = sl_str("q") };
        char topic[16];
        snprintf(topic, sizeof topic, "m/%u", i);
        m.topic = sl_str(topic);
        mqtt_props_init(&m.props);
        kit_publish_full(p, &m);
    }
    for (uint32_t i = 0; i < 20; i++)
        kit_pass(&k, 1);
    uint32_t rest = count_publishes(s);
    assert_true(rest >= 5000 && rest + first < 10000);
    kit_settle(&k);
    kit_close(&k);
}

/* 20,000 ids are more than a part of 1 MiB takes. */
static void more_than_one_gathering_may_hold_are_all_sent(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 1u << 20, .retained_messages = 20000, .retained_bytes = 8u << 20 };
    start(&k);
    retain_many(&k, 20000, 0);
    struct kit_client *s = connected(&k, "s", 0);
    kit_subscribe(s, "m/#", 0);
    for (uint32_t i = 0; i < 40; i++)
        kit_pass(&k, 1);
    assert_int_equal(count_publishes(s), 20000);
    kit_close(&k);
}

/* A filter with wildcards may cost a look at every topic: many of them do not
 * hold up a turn. What is published before the last is gathered comes live. */
static void many_filters_are_gathered_over_several_turns(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    retain_many(&k, 60, 0);
    struct kit_client *p = connected(&k, "p", 0), *s = connected(&k, "s", 0);
    char text[60][8];
    struct mqtt_filter f[60];
    for (uint32_t i = 0; i < 60; i++) {
        snprintf(text[i], sizeof text[i], "+/%u", i);
        f[i] = (struct mqtt_filter){ .filter = sl_str(text[i]) };
    }
    kit_subscribe_full(s, f, 60, 0);
    uint32_t first = count_publishes(s);
    assert_true(first > 0 && first < 60);
    assert_true(hub_deadline_us(k.h) <= k.mono_us);
    struct mqtt_publish m = { .retain = true, .topic = sl_str("m/59"), .payload = sl_str("new") };
    mqtt_props_init(&m.props);
    kit_publish_full(p, &m);
    for (uint32_t i = 0; i < 20; i++)
        kit_pass(&k, 1);
    assert_int_equal(count_publishes(s), 60 - first);
    kit_close(&k);
}

/* QoS 1 waits for room in flight, in place of filling the session's queue. */
static void of_qos_1_no_more_come_than_the_client_takes(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(2);
    start(&k);
    retain_many(&k, 9, 1);
    struct kit_client *s = connected(&k, "s", 0);
    kit_subscribe(s, "m/#", 1);
    uint32_t seen = count_publishes(s);
    assert_int_equal(seen, 3);
    for (uint16_t id = 1; id <= 9; id++) {
        kit_acked(s, id);
        seen += count_publishes(s);
    }
    assert_int_equal(seen, 9);
    kit_close(&k);
}

/* [MQTT-3.10.4-2] */
static void after_unsubscribe_no_more_of_them_are_begun(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(2);
    start(&k);
    retain_many(&k, 9, 1);
    struct kit_client *s = connected(&k, "s", 0);
    kit_subscribe(s, "m/#", 1);
    assert_int_equal(count_publishes(s), 3);
    kit_unsubscribe(s, "m/#");
    kit_acked(s, 1);
    kit_settle(&k);
    assert_int_equal(count_publishes(s), 0);
    kit_close(&k);
}

static void what_was_not_sent_waits_for_a_persistent_session_within_its_limits(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(4);
    start(&k);
    retain_many(&k, 9, 1);
    struct kit_client *s = connected(&k, "s", 60);
    kit_subscribe(s, "m/#", 1);
    kit_settle(&k);
    assert_int_equal(count_publishes(s), 3);
    kit_lose(s);
    kit_settle(&k);
    struct kit_client *again = kit_mqtt(&k, true, "s", 60);
    uint32_t seen = count_publishes(again);
    for (uint16_t i = 0; i < 8; i++) {
        for (uint16_t id = 1; id <= 7; id++)
            kit_acked(again, id);
        seen += count_publishes(again);
    }
    assert_int_equal(seen, 7); /* three in flight, four in the queue */
    assert_int_equal(hub_counters(k.h)->deliveries_dropped_full, 2);
    kit_close(&k);
}

static void a_takeover_goes_on_where_the_older_connection_was(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1);
    start(&k);
    retain_many(&k, 9, 1);
    struct kit_client *s = connected(&k, "s", 60);
    kit_subscribe(s, "m/#", 1);
    kit_settle(&k);
    assert_int_equal(count_publishes(s), 3);
    struct kit_client *again = kit_mqtt(&k, true, "s", 60);
    kit_settle(&k);
    uint32_t seen = count_publishes(again);
    for (uint16_t i = 0; i < 8; i++) {
        for (uint16_t id = 1; id <= 9; id++)
            kit_acked(again, id);
        kit_settle(&k);
        seen += count_publishes(again);
    }
    assert_int_equal(seen, 9);
    kit_close(&k);
}

static void a_session_that_ends_leaves_no_feed_behind(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = kit_few(1);
    start(&k);
    retain_many(&k, 9, 1);
    uint64_t before = hub_memory_bytes(k.h);
    struct kit_client *s = connected(&k, "s", 0);
    kit_subscribe(s, "m/#", 1);
    (void)kit_log(s);
    assert_true(hub_memory_bytes(k.h) > before);
    (void)connected(&k, "s", 0); /* takes over, and begins anew */
    assert_null(s->c);
    assert_int_equal(hub_memory_bytes(k.h), before);
    kit_close(&k);
}

/* [MQTT-3.1.2-14], [MQTT-3.1.2-15] */
static void a_will_is_retained_as_it_asked(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct kit k = { 0 };
        start(&k);
        bool v5 = (i & 1) != 0, kept = (i & 2) != 0;
        struct mqtt_connect p = {
            .version = v5 ? MQTT_V5 : MQTT_V311, .clean_start = true, .client_id = sl_str("w"), .has_will = true,
            .will = { .topic = sl_str("a"), .payload = sl_str("gone"), .qos = 1, .retain = kept },
        };
        mqtt_props_init(&p.props);
        mqtt_props_init(&p.will.props);
        kit_lose(kit_connect(&k, &p));
        kit_settle(&k);
        struct kit_client *s = connected_as(&k, v5, "s", 0);
        struct mqtt_filter f = all(0);
        assert_string_equal(subscribed(s, &f, 0), kept ? "SUBACK 0x00\nPUBLISH q0 a gone retain\n" : "SUBACK 0x00\n");
        kit_close(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_subscription_gets_the_last_of_each_topic),
        cmocka_unit_test(one_of_qos_0_takes_the_place_of_the_one_before),
        cmocka_unit_test(they_carry_the_subscriptions_id),
        cmocka_unit_test(other_topics_do_not_come_with_it),
        cmocka_unit_test(who_listens_already_gets_it_without_retain),
        cmocka_unit_test(members_of_a_group_get_retain_as_they_asked),
        cmocka_unit_test(an_empty_one_removes_and_is_not_kept),
        cmocka_unit_test(one_without_retain_leaves_the_retained_one),
        cmocka_unit_test(retain_handling_says_when_they_are_sent),
        cmocka_unit_test(one_whose_time_has_passed_is_gone_and_dropped_from_the_store),
        cmocka_unit_test(the_answer_waits_until_it_is_stored),
        cmocka_unit_test(what_the_store_knows_is_retained_again),
        cmocka_unit_test(a_persistent_session_keeps_its_copy_when_the_retained_one_goes),
        cmocka_unit_test(over_the_caps_it_is_refused_and_the_others_stay),
        cmocka_unit_test(no_more_wait_for_a_slow_disk_than_memory_allows),
        cmocka_unit_test(without_slots_retain_means_nothing),
        cmocka_unit_test(many_come_in_portions_and_none_twice),
        cmocka_unit_test(more_than_one_gathering_may_hold_are_all_sent),
        cmocka_unit_test(many_filters_are_gathered_over_several_turns),
        cmocka_unit_test(of_qos_1_no_more_come_than_the_client_takes),
        cmocka_unit_test(after_unsubscribe_no_more_of_them_are_begun),
        cmocka_unit_test(what_was_not_sent_waits_for_a_persistent_session_within_its_limits),
        cmocka_unit_test(a_takeover_goes_on_where_the_older_connection_was),
        cmocka_unit_test(a_session_that_ends_leaves_no_feed_behind),
        cmocka_unit_test(a_will_is_retained_as_it_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
