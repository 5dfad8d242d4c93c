/* Headers with a meaning: the same names in MQTT 5 user properties and STOMP
 * headers; an ill-formed value stays a header and is counted (decision 26). */
#include "test_hub_kit.h"

#define START 1700000000000u

static const struct {
    const char *name, *value;
    bool good;
    uint8_t priority;
    uint64_t deliver_at, expires_at;
    const char *job_id, *dedup_id;
} cases[] = {
    { "priority", "0", true, 0, 0, 0, "", "" },
    { "priority", "9", true, 9, 0, 0, "", "" },
    { "priority", "10", false, 4, 0, 0, "", "" },
    { "priority", "high", false, 4, 0, 0, "", "" },
    { "delay", "1500", true, 4, START + 1500, 0, "", "" },
    { "delay", "10s", true, 4, START + 10000, 0, "", "" },
    { "delay", "0", true, 4, 0, 0, "", "" },
    { "delay", "-5", false, 4, 0, 0, "", "" },
    { "delay", "soon", false, 4, 0, 0, "", "" },
    { "delay", "1000000000001", false, 4, 0, 0, "", "" },
    { "deliver-at", "2023-11-14T22:13:25Z", true, 4, START + 5000, 0, "", "" },
    { "deliver-at", "tomorrow", false, 4, 0, 0, "", "" },
    { "expires", "1700000009000", true, 4, 0, START + 9000, "", "" },
    { "expires", "9s", false, 4, 0, 0, "", "" },
    { "job-id", "A-z.0_~", true, 4, 0, 0, "A-z.0_~", "" },
    { "job-id", "a/b", false, 4, 0, 0, "", "" },
    { "job-id", "", false, 4, 0, 0, "", "" },
    { "dedup-id", "any thing", true, 4, 0, 0, "", "any thing" },
    { "dedup-id", "", false, 4, 0, 0, "", "" },
    { "colour", "red", true, 4, 0, 0, "", "" },
};

static void start(struct kit *k)
{
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t", 0), SL_OK);
}

static struct message *published(struct kit *k, struct message_header header)
{
    struct kit_client *c = kit_mqtt(k, true, "a", 0);
    struct mqtt_publish p = { .qos = 1, .packet_id = 1, .topic = sl_str("t") };
    mqtt_props_init(&p.props);
    mqtt_props_set_user(&p.props, &header, 1);
    kit_publish_full(c, &p);
    return k->pending->ops[0].msg;
}

static void each_header_means_what_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        struct message_parts v;
        struct message_header h;
        size_t pos = 0;
        start(&k);
        const struct message *m = published(&k, (struct message_header){ sl_str(cases[i].name), sl_str(cases[i].value) });
        message_view(message_record(m), &v);
        assert_int_equal(v.priority, cases[i].priority);
        assert_int_equal(v.deliver_at, cases[i].deliver_at);
        assert_int_equal(v.expires_at, cases[i].expires_at);
        assert_true(sl_bytes_is(v.job_id, cases[i].job_id));
        assert_true(sl_bytes_is(v.dedup_id, cases[i].dedup_id));
        assert_int_equal(hub_counters(k.h)->meaning_ignored, cases[i].good ? 0 : 1);
        assert_true(message_header_next(message_record(m), &pos, &h)); /* it stays a header in any case */
        assert_true(sl_bytes_is(h.name, cases[i].name) && sl_bytes_is(h.value, cases[i].value));
        kit_close(&k);
    }
}

static void a_listener_may_switch_meaning_off(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    k.mqtt.meaning = false;
    const struct message *m = published(&k, (struct message_header){ sl_str("priority"), sl_str("9") });
    assert_int_equal(message_priority(m), MESSAGE_PRIORITY_DEFAULT);
    kit_close(&k);
}

static void stomp_headers_mean_the_same(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *c = kit_stomp(&k);
    kit_frame(c, "SEND\ndestination:/topic/t\npriority:7\ndelay:2s\nexpires:1700000009000\njob-id:j1\n\nbody");
    const struct message *m = k.pending->ops[0].msg;
    struct message_parts v;
    message_view(message_record(m), &v);
    assert_int_equal(v.priority, 7);
    assert_int_equal(v.deliver_at, START + 2000);
    assert_int_equal(v.expires_at, START + 9000);
    assert_true(sl_bytes_is(v.job_id, "j1"));
    kit_close(&k);
}

static void a_delayed_message_comes_when_it_is_due(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    (void)published(&k, (struct message_header){ sl_str("delay"), sl_str("100") });
    kit_settle(&k);
    kit_pass(&k, 70);
    assert_int_equal(w->n, 0);
    kit_pass(&k, 20);
    assert_int_equal(w->n, 1);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_header_means_what_the_table_says),
        cmocka_unit_test(a_listener_may_switch_meaning_off),
        cmocka_unit_test(stomp_headers_mean_the_same),
        cmocka_unit_test(a_delayed_message_comes_when_it_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
