/* Sessions: takeover, expiry, what is written of them; wills. */
#include "test_hub_kit.h"

static void start(struct kit *k)
{
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

static void takeover_tells_the_older(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *old = kit_mqtt(&k, true, "a", 60);
    (void)kit_log(old);
    struct kit_client *newer = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_log(old), "DISCONNECT 0x8e\nclosed\n");
    assert_string_equal(kit_log(newer), "CONNACK 0 present=1\n");
    assert_int_equal(hub_counters(k.h)->takeovers, 1);
    kit_publish(newer, 1, 1, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(newer), "PUBACK 1 0x00\n");
    kit_close(&k);
}

/* [MQTT-3.1.4-2]; 3.1.1 has no word for it. */
static void takeover_closes_the_older_of_311(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *old = kit_mqtt(&k, false, "a", 0);
    (void)kit_log(old);
    struct kit_client *newer = kit_mqtt(&k, false, "a", 0);
    assert_string_equal(kit_log(old), "closed\n");
    assert_string_equal(kit_log(newer), "CONNACK 0 present=0\n");
    kit_close(&k);
}

/* [MQTT-3.1.3-6]: each has an id of its own, so that none takes over another. */
static void clients_without_an_id_do_not_meet(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *one = kit_mqtt(&k, v5 == 1, "", 0), *two = kit_mqtt(&k, v5 == 1, "", 0);
        assert_string_equal(kit_log(one), "CONNACK 0 present=0\n");
        assert_string_equal(kit_log(two), "CONNACK 0 present=0\n");
        assert_int_equal(hub_counters(k.h)->takeovers, 0);
        kit_publish(one, 1, 1, "t/1");
        kit_settle(&k);
        assert_string_equal(kit_log(one), "PUBACK 1 0x00\n");
        kit_close(&k);
    }
}

static void at_the_limit_only_who_comes_back_gets_in(void **state)
{
    (void)state;
    struct kit k = { .max_connections = 1 };
    start(&k);
    struct kit_client *old = kit_mqtt(&k, true, "a", 60);
    (void)kit_log(old);
    struct kit_client *other = kit_mqtt(&k, true, "b", 60);
    assert_string_equal(kit_log(other), "CONNACK 151 present=0\nclosed\n");
    struct kit_client *again = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_log(again), "CONNACK 0 present=1\n");
    assert_string_equal(kit_log(old), "DISCONNECT 0x8e\nclosed\n");
    kit_close(&k);
}

static struct kit_client *with_will(struct kit *k, bool v5)
{
    struct mqtt_connect p = {
        .version = v5 ? MQTT_V5 : MQTT_V311, .clean_start = true, .client_id = sl_str("a"), .has_will = true,
        .will = { .topic = sl_str("t/will"), .payload = sl_str("gone"), .qos = 1 },
    };
    mqtt_props_init(&p.props);
    mqtt_props_init(&p.will.props);
    return kit_connect(k, &p);
}

static void will_is_published_on_loss(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_lose(with_will(&k, true));
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->held[0].payload, "gone");
    kit_close(&k);
}

/* [MQTT-3.1.2-10], [MQTT-3.1.2-12]: not a second time when its client comes back without one. */
static void a_will_is_published_once_and_none_without_one(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    kit_lose(with_will(&k, false));
    kit_settle(&k);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->accepted, 1);
    kit_lose(kit_mqtt(&k, false, "a", 0));
    kit_settle(&k);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->accepted, 1);
    kit_close(&k);
}

static void will_is_not_published_on_disconnect(void **state)
{
    (void)state;
    static const struct {
        bool v5;
        uint8_t bytes[4];
        size_t n;
        uint32_t wills;
    } cases[] = {
        { false, { 0xE0, 0 }, 2, 0 },
        { true, { 0xE0, 0 }, 2, 0 },
        { true, { 0xE0, 1, 0x04 }, 3, 1 }, /* with the will [MQTT-3.14.4-3] */
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_worker *w = kit_worker(&k, 0, 0);
        struct kit_client *c = with_will(&k, cases[i].v5);
        kit_feed(c, cases[i].bytes, cases[i].n);
        assert_null(c->c);
        kit_settle(&k);
        assert_int_equal(w->n, cases[i].wills);
        kit_close(&k);
    }
}

static void a_takeover_publishes_the_will_of_the_older(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    (void)with_will(&k, true);
    (void)kit_mqtt(&k, true, "a", 0);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    kit_close(&k);
}

static void a_worker_may_not_publish_to_topics_of_ours(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    assert_int_equal(hub_add_route(k.h, "$SYS/#", 0), SL_OK);
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .topic = sl_str("$SYS/x"), .payload = sl_str("p") };
    assert_int_equal(hub_publish(k.h, &parts), SL_EINVAL);
    parts.topic = sl_str("t/1");
    assert_int_equal(hub_publish(k.h, &parts), SL_OK);
    parts.topic = sl_str("nowhere");
    assert_int_equal(hub_publish(k.h, &parts), SL_ENOENT);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->accepted, 1);
    kit_close(&k);
}

static void come_and_go(struct kit *k, uint32_t expiry_s)
{
    struct kit_client *c = kit_mqtt(k, true, "a", expiry_s);
    (void)kit_log(c);
    kit_lose(c);
    kit_settle(k);
}

static void session_expiry(void **state)
{
    (void)state;
    static const struct {
        uint32_t expiry_s;
        uint64_t away_ms;
        const char *answer;
    } cases[] = {
        { 0, 0, "CONNACK 0 present=0\n" },
        { 2, 1900, "CONNACK 0 present=1\n" },
        { 2, 2100, "CONNACK 0 present=0\n" },
        { UINT32_MAX, 1000000000, "CONNACK 0 present=1\n" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        start(&k);
        come_and_go(&k, cases[i].expiry_s);
        kit_pass(&k, cases[i].away_ms);
        assert_string_equal(kit_log(kit_mqtt(&k, true, "a", cases[i].expiry_s)), cases[i].answer);
        kit_close(&k);
    }
}

static void an_expired_session_is_dropped_from_the_store(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    come_and_go(&k, 2);
    kit_pass(&k, 3000);
    assert_string_equal(kit_records(&k), "SESSION_DROP ");
    kit_close(&k);
}

/* Its end stands in the store: a crash must not find it there. */
static void a_session_that_is_taken_again_is_recorded_as_connected(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct batch_session s;
    start(&k);
    come_and_go(&k, 60);
    (void)kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_records(&k), "SESSION ");
    const struct batch_note *n = k.pending->ops[0].note;
    assert_int_equal(batch_session_decode(sl_bytes_of(n->bytes, n->n), &s), SL_OK);
    assert_true(s.ends_wall_ms == UINT64_MAX);
    kit_close(&k);
}

static void a_new_expiry_at_disconnect_is_recorded(void **state)
{
    (void)state;
    static const uint8_t never[] = { 0xE0, 7, 0x00, 5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF };
    struct kit k = { 0 };
    struct batch_session s;
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_settle(&k);
    kit_feed(c, never, sizeof never);
    assert_string_equal(kit_records(&k), "SESSION ");
    const struct batch_note *n = k.pending->ops[0].note;
    assert_int_equal(batch_session_decode(sl_bytes_of(n->bytes, n->n), &s), SL_OK);
    assert_true(s.expiry_s == UINT32_MAX);
    kit_close(&k);
}

static void clean_start_drops_the_old_session_and_its_ids(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_publish(c, 2, 5, "t/1");
    kit_settle(&k);
    (void)kit_log(c);
    kit_lose(c);
    kit_settle(&k);
    struct mqtt_connect p = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("a") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, 60);
    c = kit_connect(&k, &p);
    assert_string_equal(kit_log(c), ""); /* after a crash now the old ids would come back */
    assert_string_equal(kit_records(&k), "SESSION_DROP SESSION ");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "CONNACK 0 present=0\n");
    kit_publish(c, 2, 5, "t/1"); /* a new message */
    kit_settle(&k);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->accepted, 2);
    kit_close(&k);
}

/* It ends with the connection that asked for no expiry: a crash must not bring
 * it back to the next one, who was told that there is none. */
static void a_session_that_became_short_lived_is_gone_before_a_new_one_is_greeted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_mqtt(&k, true, "a", 60);
    kit_subscribe(c, "x", 1);
    kit_settle(&k);
    (void)kit_log(c);
    kit_lose(c);
    kit_settle(&k);
    c = kit_mqtt(&k, true, "a", 0);
    assert_string_equal(kit_log(c), "CONNACK 0 present=1\n");
    kit_lose(c);
    c = kit_mqtt(&k, true, "a", 60);
    assert_string_equal(kit_log(c), "");
    kit_settle(&k);
    assert_string_equal(kit_log(c), "CONNACK 0 present=0\n");
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takeover_tells_the_older),
        cmocka_unit_test(takeover_closes_the_older_of_311),
        cmocka_unit_test(clients_without_an_id_do_not_meet),
        cmocka_unit_test(at_the_limit_only_who_comes_back_gets_in),
        cmocka_unit_test(will_is_published_on_loss),
        cmocka_unit_test(a_will_is_published_once_and_none_without_one),
        cmocka_unit_test(will_is_not_published_on_disconnect),
        cmocka_unit_test(a_takeover_publishes_the_will_of_the_older),
        cmocka_unit_test(a_worker_may_not_publish_to_topics_of_ours),
        cmocka_unit_test(session_expiry),
        cmocka_unit_test(an_expired_session_is_dropped_from_the_store),
        cmocka_unit_test(a_session_that_is_taken_again_is_recorded_as_connected),
        cmocka_unit_test(a_new_expiry_at_disconnect_is_recorded),
        cmocka_unit_test(clean_start_drops_the_old_session_and_its_ids),
        cmocka_unit_test(a_session_that_became_short_lived_is_gone_before_a_new_one_is_greeted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
