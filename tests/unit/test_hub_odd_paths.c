/* Where several limits meet: what an answer promises and what a session is
 * owed hold also when one receiver of a message is unlike the others. */
#include "test_hub_kit.h"

static const struct hub_subscriber_limits usual = {
    .queue_messages = 1000, .queue_bytes = 1u << 20, .in_flight = 100, .subscriptions = 1000, .output_bytes = 256u << 10,
};

static struct kit_client *connected(struct kit *k, const char *id, uint32_t expiry_s, enum mqtt_prop limit, uint32_t value)
{
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str(id) };
    mqtt_props_init(&p.props);
    if (expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, expiry_s);
    mqtt_props_set_number(&p.props, limit, value);
    struct kit_client *c = kit_connect(k, &p);
    kit_settle(k);
    return c;
}

static struct kit_client *listening(struct kit *k, const char *id, uint32_t expiry_s, uint32_t receive_maximum, const char *filter)
{
    struct kit_client *c = connected(k, id, expiry_s, MQTT_PROP_RECEIVE_MAXIMUM, receive_maximum);
    kit_subscribe(c, filter, 1);
    kit_settle(k);
    (void)kit_log(c);
    return c;
}

static void publish_sized(struct kit_client *c, uint16_t id, size_t bytes, bool retain)
{
    static char payload[8000];
    memset(payload, 'x', sizeof payload);
    struct mqtt_publish p = { .qos = 1, .packet_id = id, .retain = retain, .topic = sl_str("t/1"), .payload = sl_bytes_of(payload, bytes) };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

static void what_is_too_large_for_one_is_stored_for_the_others(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_client *from = kit_publisher(&k), *small = connected(&k, "small", 60, MQTT_PROP_MAXIMUM_PACKET_SIZE, 40);
    kit_subscribe(small, "t/#", 1);
    kit_settle(&k);
    publish_sized(from, 1, 100, false);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) ");
    assert_string_equal(kit_log(from), "");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_turn(&k);
    kit_ack(w, 0);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "SETTLE(1) BODY_DROP ");
    kit_close(&k);
}

/* Else the body would stay for ever. */
static void what_was_too_large_for_one_goes_with_the_last_of_the_others(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *small = connected(&k, "small", 60, MQTT_PROP_MAXIMUM_PACKET_SIZE, 40);
    kit_subscribe(small, "t/#", 1);
    kit_settle(&k);
    struct kit_client *to = listening(&k, "to", 60, 10, "t/#");
    publish_sized(from, 1, 100, false);
    kit_settle(&k);
    kit_acked(to, 1);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP ");
    kit_close(&k);
}

static void who_finds_no_place_is_refused_also_while_another_session_ends(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    kit_lose(listening(&k, "ends", 60, 10, "t/#"));
    for (int i = 1; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "s%d", i);
        struct kit_client *c = kit_mqtt(&k, true, id, 60);
        (void)kit_log(c);
        kit_lose(c);
        kit_settle(&k);
    }
    struct mqtt_connect p = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("ends") };
    mqtt_props_init(&p.props);
    struct kit_client *again = kit_connect(&k, &p);
    assert_string_equal(kit_log(again), "");
    struct kit_client *other = kit_mqtt(&k, true, "other", 0);
    kit_settle(&k);
    assert_string_equal(kit_log(other), "CONNACK 151 present=0\nclosed\n");
    assert_string_equal(kit_log(again), "CONNACK 0 present=0\n");
    kit_close(&k);
}

static void the_answer_waits_for_a_members_copy_of_its_own(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = listening(&k, "to", 60, 10, "$share/g/t/#");
    kit_subscribe(to, "another", 1);
    kit_settle(&k);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_records(&k), "BODY COPY(1) ");
    assert_string_equal(kit_log(from), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_close(&k);
}

static void a_member_that_is_closing_is_given_nothing(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *closing = listening(&k, "a", 0, 1, "$share/g/t/#"), *full = listening(&k, "b", 0, 1, "$share/g/t/#");
    for (uint16_t id = 1; id <= 2; id++)
        kit_publish(from, 1, id, "t/1");
    hub_client_bye(closing->c, PROTO_BYE_QUOTA); /* its connection is there until the turn ends */
    for (uint16_t id = 3; id <= 5; id++) {
        struct sl_buf out = { 0 };
        struct mqtt_publish p = { .qos = 1, .packet_id = id, .topic = sl_str("t/1"), .payload = sl_str("x") };
        mqtt_props_init(&p.props);
        assert_int_equal(mqtt_encode_publish(&out, MQTT_V5, &p), SL_OK);
        hub_client_feed(from->c, sl_buf_view(&out));
        sl_buf_fini(&out);
    }
    kit_turn(&k);
    (void)kit_log(full);
    for (uint16_t id = 1; id <= 4; id++) {
        kit_acked(full, id);
        kit_settle(&k);
        assert_non_null(strstr(kit_log(full), "PUBLISH q1"));
    }
    kit_close(&k);
}

static void who_is_away_and_has_room_comes_before_who_has_none(void **state)
{
    (void)state;
    struct kit k = { .subscribers = usual };
    k.subscribers.queue_messages = 1;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *full = listening(&k, "a", 60, 1, "$share/g/t/#"), *away = listening(&k, "b", 60, 1, "$share/g/t/#");
    kit_lose(away);
    for (uint16_t id = 1; id <= 3; id++) { /* in flight, in the queue, and for who is away */
        kit_publish(from, 1, id, "t/1");
        kit_settle(&k);
    }
    assert_string_equal(kit_log(full), "PUBLISH q1 id=1 t/1 p1\n");
    assert_int_equal(hub_counters(k.h)->deliveries_dropped_full, 0);
    away = kit_mqtt(&k, true, "b", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(away), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p3\n");
    kit_close(&k);
}

static void a_message_larger_than_the_sessions_queue_goes_to_who_takes_it(void **state)
{
    (void)state;
    struct kit k = { .subscribers = usual };
    k.subscribers.queue_bytes = 1000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = listening(&k, "to", 60, 1, "t/#");
    for (uint16_t id = 1; id <= 3; id++) /* on its way, alone in the queue, and over the limit */
        publish_sized(from, id, 2000, false);
    kit_settle(&k);
    assert_non_null(strstr(kit_log(to), "PUBLISH q1 id=1"));
    kit_acked(to, 1);
    kit_settle(&k);
    assert_non_null(strstr(kit_log(to), "PUBLISH q1 id=2"));
    assert_int_equal(hub_counters(k.h)->deliveries_dropped_full, 1);
    kit_close(&k);
}

static void the_queues_age_is_not_that_of_what_is_retained(void **state)
{
    (void)state;
    struct kit k = { .subscribers = usual, .retained_messages = 10, .retained_bytes = 1u << 20 };
    k.subscribers.queue_age_ms = 5000;
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    publish_sized(from, 1, 5, true);
    kit_settle(&k);
    kit_pass(&k, 6000);
    for (uint32_t expiry_s = 0; expiry_s <= 60; expiry_s += 60) {
        struct kit_client *to = connected(&k, "to", expiry_s, MQTT_PROP_RECEIVE_MAXIMUM, 10);
        kit_subscribe(to, "t/#", 1);
        kit_settle(&k);
        assert_non_null(strstr(kit_log(to), "PUBLISH q1 id=1 t/1 xxxxx retain"));
        kit_lose(to);
    }
    kit_close(&k);
}

static void retained(struct kit_client *c, uint16_t id, const char *topic)
{
    struct mqtt_publish p = { .qos = 1, .packet_id = id, .retain = true, .topic = sl_str(topic), .payload = sl_str("x") };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

static void a_slot_that_is_gone_when_a_parked_publish_enters_is_not_promised(void **state)
{
    (void)state;
    struct kit k = { .retained_messages = 1, .retained_bytes = 1u << 20 };
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.max_messages = 1;
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_client *from = kit_publisher(&k), *other = kit_mqtt(&k, true, "other", 0);
    kit_publish(from, 1, 1, "t/full");
    kit_settle(&k);
    retained(from, 2, "t/1"); /* parked: the queue is full, a slot is free */
    retained(other, 1, "other");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_ack(kit_worker(&k, 0, 0), 0);
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 2 0x97\n");
    kit_close(&k);
}

/* What makes room goes to a full disk first: the end of the one copy must not
 * get there before the other. */
static void what_is_passed_on_without_space_is_never_nowhere(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *leaves = listening(&k, "a", 5, 10, "$share/g/t/#"), *stays = listening(&k, "b", 60, 1, "$share/g/t/#");
    kit_subscribe(stays, "another", 1);
    kit_settle(&k);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(leaves), "PUBLISH q1 id=1 t/1 p1\n");
    kit_lose(leaves);
    kit_settle(&k);
    kit_subscribe(stays, "yet/another", 1);
    kit_commit(&k, SL_ENOSPC);
    kit_pass(&k, 6000); /* the session ends */
    for (int i = 0; i < 4 && (k.pending == NULL || strstr(kit_records(&k), "COPY_DROP") == NULL); i++) {
        if (k.pending != NULL)
            kit_commit(&k, SL_ENOSPC);
        kit_pass(&k, 300);
    }
    assert_non_null(strstr(kit_records(&k), "COPY(1) "));
    assert_non_null(strstr(kit_records(&k), "COPY_DROP "));
    assert_null(strstr(kit_records(&k), "BODY_DROP"));
    kit_close(&k);
}

/* A worker may say any delay; a loop that is woken at once and finds nothing to do never sleeps. */
static void a_retry_in_a_million_years_wakes_nobody(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_client *from = kit_publisher(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_RETRY, .has_delay = true, .delay_ms = INT64_MAX } });
    kit_settle(&k);
    kit_lose(from);
    kit_pass(&k, 60000);
    kit_settle(&k);
    assert_true(hub_deadline_us(k.h) > k.now.mono_us);
    kit_close(&k);
}

/* A night's work, all delayed until the morning: others are served in between. */
static void what_is_due_at_once_becomes_ready_in_parts(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 256u << 20 };
    struct queue_config cfg = kit_queue("q0", 1);
    cfg.max_messages = 100000;
    cfg.max_bytes = 64u << 20;
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_client *from = kit_publisher(&k);
    const struct message_header delay = { sl_str("delay"), sl_str("1h") };
    for (uint32_t i = 0; i < 20000; i++) {
        struct mqtt_publish p = { .topic = sl_str("t/1"), .payload = sl_str("p") };
        mqtt_props_init(&p.props);
        mqtt_props_set_user(&p.props, &delay, 1);
        kit_publish_full(from, &p);
    }
    kit_settle(&k);
    struct queue_depth d;
    kit_pass(&k, 3600000);
    queue_depth(hub_queue(k.h, 0), &d);
    assert_in_range(d.count[QUEUE_READY], 1, 17000);
    assert_true(hub_deadline_us(k.h) <= k.now.mono_us);
    kit_turn(&k);
    queue_depth(hub_queue(k.h, 0), &d);
    assert_int_equal(d.count[QUEUE_READY], 20000);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_too_large_for_one_is_stored_for_the_others),
        cmocka_unit_test(what_was_too_large_for_one_goes_with_the_last_of_the_others),
        cmocka_unit_test(who_finds_no_place_is_refused_also_while_another_session_ends),
        cmocka_unit_test(the_answer_waits_for_a_members_copy_of_its_own),
        cmocka_unit_test(a_member_that_is_closing_is_given_nothing),
        cmocka_unit_test(who_is_away_and_has_room_comes_before_who_has_none),
        cmocka_unit_test(a_message_larger_than_the_sessions_queue_goes_to_who_takes_it),
        cmocka_unit_test(the_queues_age_is_not_that_of_what_is_retained),
        cmocka_unit_test(a_slot_that_is_gone_when_a_parked_publish_enters_is_not_promised),
        cmocka_unit_test(what_is_passed_on_without_space_is_never_nowhere),
        cmocka_unit_test(a_retry_in_a_million_years_wakes_nobody),
        cmocka_unit_test(what_is_due_at_once_becomes_ready_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
