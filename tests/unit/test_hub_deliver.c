/* From a publish to subscribers: QoS, ids, order, limits, time. */
#include "test_hub_kit.h"

static const struct hub_subscriber_limits usual = { .queue_messages = 1000, .queue_bytes = 1u << 20, .in_flight = 100, .subscriptions = 100, .output_bytes = 100000 };

static void qos_is_the_lower_of_published_and_granted(void **state)
{
    (void)state;
    static const char *const expected[3][3] = {
        { "PUBLISH q0 t/1 p0\n", "PUBLISH q0 t/1 p0\n", "PUBLISH q0 t/1 p0\n" },
        { "PUBLISH q0 t/1 p7\n", "PUBLISH q1 id=1 t/1 p7\n", "PUBLISH q1 id=1 t/1 p7\n" },
        { "PUBLISH q0 t/1 p7\n", "PUBLISH q1 id=1 t/1 p7\n", "PUBLISH q2 id=1 t/1 p7\n" },
    };
    for (uint8_t published = 0; published < 3; published++) {
        for (uint8_t granted = 0; granted < 3; granted++) {
            struct kit k = { 0 };
            kit_open(&k);
            struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", granted);
            kit_publish(from, published, published > 0 ? 7 : 0, "t/1");
            assert_string_equal(kit_log(to), expected[published][granted]);
            kit_close(&k);
        }
    }
}

/* [MQTT-3.3.5-1], [MQTT-3.3.4-2 to -5] */
static void overlapping_subscriptions_give_one_copy_with_the_best_qos_and_all_ids(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "x", 0);
    kit_subscribe_full(to, &(struct mqtt_filter){ .filter = sl_str("t/#"), .qos = 0 }, 1, 5);
    kit_subscribe_full(to, &(struct mqtt_filter){ .filter = sl_str("t/+"), .qos = 2 }, 1, 7);
    kit_subscribe_full(to, &(struct mqtt_filter){ .filter = sl_str("t/1"), .qos = 1 }, 1, 0);
    (void)kit_log(to);
    kit_publish(from, 2, 1, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q2 id=1 t/1 p1 subs=5,7\n");
    kit_close(&k);
}

/* [MQTT-3.8.3-3] */
static void no_local_keeps_what_a_client_published_from_itself_alone(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *self = kit_mqtt(&k, true, "self", 0), *other = kit_mqtt(&k, true, "other", 0);
    const struct mqtt_filter f = { .filter = sl_str("t/#"), .qos = 1, .no_local = true };
    kit_subscribe_full(self, &f, 1, 3);
    kit_subscribe_full(other, &f, 1, 3);
    (void)kit_log(self);
    (void)kit_log(other);
    kit_publish(self, 1, 1, "t/1");
    assert_string_equal(kit_log(self), "PUBACK 1 0x00\n");
    assert_string_equal(kit_log(other), "PUBLISH q1 id=1 t/1 p1 subs=3\n");
    kit_subscribe_full(self, &(struct mqtt_filter){ .filter = sl_str("t/1") }, 1, 4);
    (void)kit_log(self);
    kit_publish(self, 1, 2, "t/1");
    assert_string_equal(kit_log(self), "PUBLISH q0 t/1 p2 subs=4\nPUBACK 2 0x00\n");
    kit_close(&k);
}

/* [MQTT-3.3.1-12], [MQTT-3.3.1-13] */
static void retain_is_shown_to_who_asked_for_it_as_published(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 10, .retained_bytes = 10000 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *plain = kit_listener(&k, "plain", 0, "t/#", 1), *as = kit_mqtt(&k, true, "as", 0);
    kit_subscribe_full(as, &(struct mqtt_filter){ .filter = sl_str("t/#"), .qos = 1, .retain_as_published = true }, 1, 0);
    (void)kit_log(as);
    struct mqtt_publish p = { .qos = 0, .retain = true, .topic = sl_str("t/1"), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    kit_publish_full(from, &p);
    assert_string_equal(kit_log(plain), "PUBLISH q0 t/1 x\n");
    assert_string_equal(kit_log(as), "PUBLISH q0 t/1 x retain\n");
    kit_close(&k);
}

/* Decision 22: 0x10 only if nobody at all takes it. */
static void no_taker_is_said_only_when_there_is_none(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 10, .retained_bytes = 10000 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_log(from), "PUBACK 1 0x10\n");
    struct mqtt_publish p = { .qos = 1, .packet_id = 2, .retain = true, .topic = sl_str("t/1"), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    kit_publish_full(from, &p);
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 2 0x00\n");
    (void)kit_listener(&k, "to", 0, "$share/g/u/#", 0);
    kit_publish(from, 1, 3, "u/1");
    assert_string_equal(kit_log(from), "PUBACK 3 0x00\n");
    kit_close(&k);
}

static void a_queue_and_its_subscribers_have_the_same_message(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 1);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 t/1 p1\n");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    assert_int_equal(w->n, 1);
    kit_close(&k);
}

/* Decision 24: whoever addresses a queue by its name reaches nobody else. */
static void a_send_to_a_queue_reaches_no_subscriber(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    struct kit_client *from = kit_stomp(&k), *to = kit_listener(&k, "to", 0, "#", 1);
    kit_frame(from, "SEND\ndestination:/queue/q0\n\nx");
    assert_string_equal(kit_log(to), "");
    kit_frame(from, "SEND\ndestination:/topic/a.b\n\nx");
    assert_string_equal(kit_log(to), "PUBLISH q0 a/b x\n");
    kit_close(&k);
}

static void what_a_worker_publishes_reaches_subscribers(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *to = kit_listener(&k, "to", 0, "r/#", 1);
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .qos = 1, .topic = sl_str("r/1"), .payload = sl_str("done") };
    assert_int_equal(hub_publish(k.h, &parts), SL_OK);
    kit_turn(&k);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 r/1 done\n");
    kit_close(&k);
}

/* ---- the flight ---- */

static struct kit_client *with_receive_maximum(struct kit *k, uint32_t most)
{
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, most);
    struct kit_client *c = kit_connect(k, &p);
    kit_subscribe(c, "t/#", 2);
    (void)kit_log(c);
    return c;
}

/* Section 4.9; [MQTT-3.3.4-9] */
static void no_more_than_the_receive_maximum_is_unanswered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = with_receive_maximum(&k, 2);
    for (uint16_t id = 1; id <= 4; id++)
        kit_publish(from, id == 2 ? 2 : 1, id, "t/1");
    kit_publish(from, 0, 0, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 t/1 p1\nPUBLISH q2 id=2 t/1 p2\nPUBLISH q0 t/1 p0\n"); /* QoS 0 waits for nobody's answer */
    kit_acked(to, 1);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=3 t/1 p3\n");
    kit_settle_as(to, MQTT_PUBREC, 2, 0);
    assert_string_equal(kit_log(to), "PUBREL 2 0x00\n");
    kit_settle_as(to, MQTT_PUBCOMP, 2, 0);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=4 t/1 p4\n");
    kit_close(&k);
}

/* Section 4.9: a PUBREC of 0x80 and above ends it; so does a PUBACK. */
static void a_refusal_ends_the_delivery_and_gives_its_room_back(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = with_receive_maximum(&k, 1);
    kit_publish(from, 2, 1, "t/1");
    kit_publish(from, 1, 2, "t/1");
    kit_publish(from, 1, 3, "t/1");
    (void)kit_log(to);
    kit_settle_as(to, MQTT_PUBREC, 1, 0x80);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=2 t/1 p2\n");
    kit_settle_as(to, MQTT_PUBACK, 2, 0x97);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=3 t/1 p3\n");
    assert_int_equal(hub_counters(k.h)->deliveries_refused, 2);
    kit_close(&k);
}

/* [MQTT-3.3.1-3]: DUP is a matter between two peers. */
static void the_publishers_dup_is_not_passed_on(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 1);
    struct mqtt_publish p = { .qos = 1, .dup = true, .packet_id = 1, .topic = sl_str("t/1"), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    kit_publish_full(from, &p);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 t/1 x\n");
    kit_close(&k);
}

/* [MQTT-4.6.0-5], [MQTT-4.6.0-6]; answers in any order change nothing of it. */
static void messages_of_one_topic_and_qos_come_in_their_order(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = with_receive_maximum(&k, 3);
    uint16_t next = 1, got = 0;
    uint32_t seed = 7;
    uint16_t open[3];
    uint32_t n_open = 0;
    while (got < 200) {
        for (int i = 0; i < 2 && next <= 200; i++)
            kit_publish(from, 1, next++, "t/1");
        for (const char *p = kit_log(to); (p = strstr(p, "PUBLISH")) != NULL; p++) {
            unsigned id, payload;
            assert_int_equal(sscanf(p, "PUBLISH q1 id=%u t/1 p%u", &id, &payload), 2);
            assert_int_equal(payload, ++got);
            assert_true(n_open < 3);
            open[n_open++] = (uint16_t)id;
        }
        seed = seed * 1103515245u + 12345u;
        uint32_t which = (seed >> 16) % n_open;
        kit_acked(to, open[which]);
        open[which] = open[--n_open];
        (void)kit_log(from);
    }
    kit_close(&k);
}

/* [MQTT-4.4.0-1]: a server that sends again by a timer makes a slow client slower. */
static void nothing_is_sent_again_while_the_connection_lasts(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 2);
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 2, 2, "t/1");
    kit_settle_as(to, MQTT_PUBREC, 2, 0);
    (void)kit_log(to);
    kit_pass(&k, 3600000);
    assert_string_equal(kit_log(to), "");
    kit_close(&k);
}

/* [MQTT-4.9.0-3]: without quota all but PUBLISH of QoS 1 and 2 goes on. */
static void a_used_up_maximum_holds_back_nothing_else(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = with_receive_maximum(&k, 1);
    kit_publish(from, 2, 1, "t/1");
    kit_publish(from, 1, 2, "t/1");
    (void)kit_log(to);
    kit_ping(to);
    kit_publish(to, 1, 5, "u");
    kit_subscribe(to, "v", 0);
    kit_publish(from, 0, 0, "v");
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    assert_string_equal(kit_log(to), "PINGRESP\nPUBACK 5 0x10\nSUBACK 0x00\nPUBLISH q0 v p0\nPUBREL 1 0x00\n");
    kit_close(&k);
}

/* [MQTT-3.1.2-24], [MQTT-3.1.2-25] */
static void what_is_too_large_for_a_client_counts_as_delivered(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 40);
    mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, 1);
    struct kit_client *from = kit_publisher(&k), *to = kit_connect(&k, &p);
    kit_subscribe(to, "t/#", 2);
    (void)kit_log(to);
    static const char large[100] = { 'x' };
    for (uint8_t qos = 0; qos < 3; qos++) {
        struct mqtt_publish m = { .qos = qos, .packet_id = qos, .topic = sl_str("t/1"), .payload = sl_bytes_of(large, sizeof large) };
        mqtt_props_init(&m.props);
        kit_publish_full(from, &m);
    }
    kit_publish(from, 1, 9, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q1 id=3 t/1 p9\n");
    assert_int_equal(hub_counters(k.h)->deliveries_too_large, 3);
    kit_close(&k);
}

/* ---- slow readers ---- */

static void publish_sized(struct kit_client *c, uint8_t qos, uint16_t id, size_t bytes)
{
    static char payload[60000];
    memset(payload, 'x', sizeof payload);
    struct mqtt_publish p = { .qos = qos, .packet_id = id, .topic = sl_str("t/1"), .payload = sl_bytes_of(payload, bytes) };
    (void)snprintf(payload, sizeof payload, "p%u:", id);
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

static size_t waits(const struct kit_client *c)
{
    return sl_buf_len(hub_client_output(c->c));
}

/* [MQTT-3.3.4-10]: also when QoS 0 had to wait for room in the output. */
static void a_used_up_maximum_does_not_hold_back_qos_0_that_waited(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = usual;
    k.subscribers.output_bytes = 60000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = with_receive_maximum(&k, 1);
    to->unread = true;
    publish_sized(from, 1, 1, 50000);
    publish_sized(from, 0, 2, 40000);
    assert_null(strstr(kit_log(to), "p2:"));
    to->unread = false;
    kit_ping(to);
    kit_ping(to);
    const char *log = kit_log(to);
    assert_non_null(strstr(log, "p1:"));
    assert_non_null(strstr(log, "p2:"));
    kit_close(&k);
}

static void a_slow_readers_output_is_bounded_and_the_rest_waits_by_reference(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = usual;
    k.subscribers.output_bytes = 100000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 1);
    to->unread = true;
    for (uint16_t i = 0; i < 10; i++)
        publish_sized(from, i % 2, i, 40000);
    assert_in_range(waits(to), 80000, 100000);
    uint64_t memory = hub_memory_bytes(k.h);
    assert_in_range(memory, 400000, 600000);
    to->unread = false;
    for (int i = 0; i < 6; i++)
        kit_ping(to); /* its answers stand between what is delivered */
    const char *log = kit_log(to);
    for (uint16_t i = 0; i < 10; i++) {
        char first[32];
        (void)snprintf(first, sizeof first, "t/1 p%u:", i);
        log = strstr(log, first); /* in their order */
        assert_non_null(log);
    }
    for (uint16_t id = 1; id <= 5; id++)
        kit_acked(to, id);
    kit_pass(&k, 1);
    assert_in_range(hub_memory_bytes(k.h), 0, 20000);
    kit_close(&k);
}

/* Brief, at the limits: what expired, the oldest of QoS 0, then the new one. */
static void at_the_limit_expired_ones_go_first_then_qos0_then_the_new_one(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = usual;
    k.subscribers.queue_messages = 3;
    k.subscribers.output_bytes = 1;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 1);
    to->unread = true;
    publish_sized(from, 0, 0, 10); /* fills the output */
    struct mqtt_publish p = { .qos = 1, .packet_id = 1, .topic = sl_str("t/1"), .payload = sl_str("mortal") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 5);
    kit_publish_full(from, &p);
    publish_sized(from, 0, 0, 20);
    publish_sized(from, 1, 2, 10);
    kit_pass(&k, 6000);
    const struct gateway_counters *n = hub_counters(k.h);
    publish_sized(from, 1, 3, 10);
    assert_int_equal(n->deliveries_dropped_expired, 1);
    assert_int_equal(n->deliveries_dropped_qos0, 0);
    publish_sized(from, 1, 4, 10);
    assert_int_equal(n->deliveries_dropped_qos0, 1);
    assert_int_equal(n->deliveries_dropped_full, 0);
    publish_sized(from, 1, 5, 10);
    assert_int_equal(n->deliveries_dropped_full, 1);
    publish_sized(from, 0, 6, 10);
    assert_int_equal(n->deliveries_dropped_qos0, 2);
    to->unread = false;
    kit_ping(to);
    for (int i = 0; i < 4; i++)
        kit_pass(&k, 1);
    const char *log = kit_log(to);
    assert_null(strstr(log, "mortal"));
    assert_non_null(strstr(log, "p2:"));
    assert_non_null(strstr(log, "p3:"));
    assert_non_null(strstr(log, "p4:"));
    assert_null(strstr(log, "p5:"));
    kit_close(&k);
}

/* Decision 28 and the promise 5: sessions have half of it at most. */
static void sessions_hold_at_most_half_of_the_memory(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 400000 };
    k.subscribers = usual;
    k.subscribers.queue_messages = 1000;
    k.subscribers.queue_bytes = 1u << 30;
    k.subscribers.output_bytes = 1000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 0, "t/#", 1), *too = kit_listener(&k, "too", 0, "t/#", 1);
    to->unread = too->unread = true;
    for (uint16_t i = 1; i <= 10; i++)
        publish_sized(from, 1, i, 40000); /* one for both */
    assert_int_equal(hub_counters(k.h)->deliveries_dropped_memory, 2 * 6);
    assert_in_range(hub_memory_bytes(k.h), 160000, 280000);
    kit_close(&k);
}

static void one_turn_copies_only_so_much_and_the_next_goes_on(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 1u << 30 };
    k.subscribers = usual;
    k.subscribers.output_bytes = 10u << 20;
    kit_open(&k);
    struct kit_client *to[5];
    char id[8];
    for (size_t i = 0; i < SL_COUNT(to); i++) {
        (void)snprintf(id, sizeof id, "to%zu", i);
        to[i] = kit_listener(&k, id, 0, "t/#", 1);
    }
    struct kit_client *from = kit_publisher(&k);
    struct sl_buf all = { 0 };
    static char payload[60000];
    for (uint16_t i = 1; i <= 100; i++) {
        struct mqtt_publish p = { .qos = 0, .topic = sl_str("t/1"), .payload = sl_bytes_of(payload, sizeof payload) };
        mqtt_props_init(&p.props);
        assert_int_equal(mqtt_encode_publish(&all, MQTT_V5, &p), SL_OK);
    }
    for (size_t i = 0; i < SL_COUNT(to); i++)
        to[i]->unread = true;
    hub_client_feed(from->c, sl_buf_view(&all));
    size_t copied = 0;
    for (size_t i = 0; i < SL_COUNT(to); i++)
        copied += waits(to[i]);
    assert_in_range(copied, 15u << 20, 17u << 20);
    assert_true(hub_deadline_us(k.h) <= k.mono_us);
    sl_buf_fini(&all);
    kit_close(&k);
}

/* Promise 5: slow readers never cost another client its service. */
static void when_slow_readers_fill_the_outputs_those_that_stand_still_are_let_go(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 1u << 20 };
    k.subscribers = usual;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *still = kit_listener(&k, "still", 0, "t/#", 0), *slow = kit_listener(&k, "slow", 0, "t/#", 0);
    still->unread = slow->unread = true;
    for (int i = 0; i < 3; i++)
        publish_sized(from, 0, 0, 40000);
    struct kit_client *quick = kit_listener(&k, "quick", 0, "t/#", 0);
    publish_sized(from, 0, 0, 40000);
    assert_string_equal(kit_log(quick), ""); /* it waits, and not for ever */
    kit_pass(&k, 5000);
    slow->unread = false;
    kit_pass(&k, 1);
    kit_ping(slow);
    slow->unread = true;
    publish_sized(from, 0, 0, 40000);
    kit_pass(&k, 1);
    kit_pass(&k, 6000);
    assert_null(still->c);
    assert_non_null(slow->c);
    assert_non_null(strstr(kit_log(quick), "PUBLISH q0"));
    assert_int_equal(hub_counters(k.h)->slow_readers_closed, 1);
    kit_close(&k);
}

/* Its keep-alive says nothing while it is not read; that nothing leaves its output does. */
static void who_is_not_read_any_more_is_let_go_when_it_takes_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    static const uint8_t ping[] = { 0xC0, 0 };
    kit_open(&k);
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str("to"), .keep_alive_s = 2 };
    mqtt_props_init(&p.props);
    struct kit_client *to = kit_connect(&k, &p);
    to->unread = true;
    for (int i = 0; i < 200000 && hub_client_reading(to->c); i++) {
        hub_client_feed(to->c, sl_bytes_of(ping, sizeof ping));
        if (i % 1000 == 999)
            kit_turn(&k);
    }
    assert_false(hub_client_reading(to->c));
    kit_pass(&k, 19000);
    assert_non_null(to->c);
    kit_pass(&k, 2000);
    assert_null(to->c);
    kit_close(&k);
}

/* ---- time ---- */

static void publish_mortal(struct kit_client *c, uint8_t qos, uint32_t expiry_s)
{
    struct mqtt_publish p = { .qos = qos, .packet_id = 1, .topic = sl_str("t/1"), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, expiry_s);
    kit_publish_full(c, &p);
}

/* [MQTT-3.3.2-5], [MQTT-3.3.2-6] */
static void a_delivery_tells_what_is_left_of_its_life(void **state)
{
    (void)state;
    static const struct {
        uint64_t wait_ms;
        const char *expected;
    } cases[] = {
        { 0, "PUBLISH q1 id=1 t/1 x expiry=10\n" },
        { 3000, "PUBLISH q1 id=1 t/1 x expiry=7\n" },
        { 9999, "PUBLISH q1 id=1 t/1 x expiry=1\n" },
        { 10000, "" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
        kit_lose(to);
        publish_mortal(from, 1, 10);
        kit_settle(&k);
        kit_pass(&k, cases[i].wait_ms - 20);
        to = kit_mqtt(&k, true, "to", 60);
        kit_settle(&k);
        assert_string_equal(strchr(kit_log(to), '\n') + 1, cases[i].expected);
        kit_close(&k);
    }
}

/* [MQTT-4.3.3-7] and section 4.4: it is sent again whatever its age. */
static void what_was_sent_once_does_not_expire(void **state)
{
    (void)state;
    for (uint8_t qos = 1; qos < 3; qos++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
        publish_mortal(from, qos, 10);
        kit_settle(&k);
        (void)kit_log(to);
        kit_lose(to);
        kit_pass(&k, 20000);
        to = kit_mqtt(&k, true, "to", 60);
        kit_settle(&k);
        assert_non_null(strstr(kit_log(to), " id=1 t/1 x dup expiry=1\n"));
        kit_close(&k);
    }
}

static void what_waits_longer_than_the_queues_age_is_dropped(void **state)
{
    (void)state;
    struct kit k = { 0 };
    k.subscribers = usual;
    k.subscribers.queue_age_ms = 5000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_lose(to);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    kit_pass(&k, 3000);
    kit_publish(from, 1, 2, "t/1");
    kit_settle(&k);
    kit_pass(&k, 3000);
    to = kit_mqtt(&k, true, "to", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p2\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qos_is_the_lower_of_published_and_granted),
        cmocka_unit_test(overlapping_subscriptions_give_one_copy_with_the_best_qos_and_all_ids),
        cmocka_unit_test(no_local_keeps_what_a_client_published_from_itself_alone),
        cmocka_unit_test(retain_is_shown_to_who_asked_for_it_as_published),
        cmocka_unit_test(no_taker_is_said_only_when_there_is_none),
        cmocka_unit_test(a_queue_and_its_subscribers_have_the_same_message),
        cmocka_unit_test(a_send_to_a_queue_reaches_no_subscriber),
        cmocka_unit_test(what_a_worker_publishes_reaches_subscribers),
        cmocka_unit_test(no_more_than_the_receive_maximum_is_unanswered),
        cmocka_unit_test(a_refusal_ends_the_delivery_and_gives_its_room_back),
        cmocka_unit_test(the_publishers_dup_is_not_passed_on),
        cmocka_unit_test(messages_of_one_topic_and_qos_come_in_their_order),
        cmocka_unit_test(nothing_is_sent_again_while_the_connection_lasts),
        cmocka_unit_test(a_used_up_maximum_holds_back_nothing_else),
        cmocka_unit_test(a_used_up_maximum_does_not_hold_back_qos_0_that_waited),
        cmocka_unit_test(what_is_too_large_for_a_client_counts_as_delivered),
        cmocka_unit_test(a_slow_readers_output_is_bounded_and_the_rest_waits_by_reference),
        cmocka_unit_test(at_the_limit_expired_ones_go_first_then_qos0_then_the_new_one),
        cmocka_unit_test(sessions_hold_at_most_half_of_the_memory),
        cmocka_unit_test(one_turn_copies_only_so_much_and_the_next_goes_on),
        cmocka_unit_test(when_slow_readers_fill_the_outputs_those_that_stand_still_are_let_go),
        cmocka_unit_test(who_is_not_read_any_more_is_let_go_when_it_takes_nothing),
        cmocka_unit_test(a_delivery_tells_what_is_left_of_its_life),
        cmocka_unit_test(what_was_sent_once_does_not_expire),
        cmocka_unit_test(what_waits_longer_than_the_queues_age_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
