/* Sessions that outlive their connection: what waits, what is sent again, what
 * is recorded of it, and what a crash leaves. */
#include "store/store.h"
#include "test_hub_kit.h"

/* ---- what waits for the absent ---- */

static void the_absent_get_what_waited_in_its_order_and_nothing_of_qos_0(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
    kit_lose(to);
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 0, 0, "t/1");
    kit_publish(from, 2, 2, "t/2");
    kit_publish(from, 1, 3, "t/1");
    kit_settle(&k);
    to = kit_mqtt(&k, true, "to", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1\nPUBLISH q2 id=2 t/2 p2\nPUBLISH q1 id=3 t/1 p3\n");
    kit_close(&k);
}

static void a_publish_is_answered_when_the_copies_it_promises_are_stored(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    kit_lose(kit_listener(&k, "a", 60, "t/#", 1));
    kit_lose(kit_listener(&k, "b", 60, "t/#", 2));
    kit_settle(&k);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_log(from), "");
    assert_string_equal(kit_records(&k), "BODY COPY COPY ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_close(&k);
}

static void a_session_that_ends_with_its_connection_costs_no_record(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_mqtt(&k, true, "to", 0);
    kit_subscribe(to, "t/#", 2);
    kit_publish(from, 2, 1, "t/1");
    assert_string_equal(kit_log(from), "PUBREC 1 0x00\n");
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    kit_settle_as(to, MQTT_PUBCOMP, 1, 0);
    assert_string_equal(kit_records(&k), "");
    assert_int_equal(hub_counters(k.h)->commits, 0);
    kit_close(&k);
}

/* ---- QoS 2, decision 5 ---- */

static void qos_2_goes_out_when_its_id_is_stored_and_is_released_when_that_is(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
    kit_publish(from, 2, 9, "t/1");
    assert_string_equal(kit_records(&k), "BODY COPY(1) ");
    assert_string_equal(kit_log(to), "");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(to), "PUBLISH q2 id=1 t/1 p9\n");
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    assert_string_equal(kit_log(to), "");
    assert_string_equal(kit_records(&k), "COPY(1) ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(to), "PUBREL 1 0x00\n");
    kit_settle_as(to, MQTT_PUBCOMP, 1, 0);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP ");
    kit_close(&k);
}

/* Its first record, without an id, is under way when it gets one: the commit of
 * that is not the one that it waits for. */
static void qos_2_that_gets_its_id_late_waits_for_the_record_that_has_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, 60);
    mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, 1);
    struct kit_client *to = kit_connect(&k, &p);
    kit_subscribe(to, "t/#", 2);
    kit_publish(from, 2, 1, "t/1");
    kit_settle(&k);
    kit_settle_as(to, MQTT_PUBREC, 1, 0);
    kit_settle(&k);
    (void)kit_log(to);
    kit_publish(from, 2, 2, "t/1");
    assert_string_equal(kit_records(&k), "BODY COPY ");
    kit_settle_as(to, MQTT_PUBCOMP, 1, 0);
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(to), "");
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP COPY(2) ");
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(to), "PUBLISH q2 id=2 t/1 p2\n");
    kit_close(&k);
}

static void what_is_answered_before_its_batch_went_is_never_written(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_subscribe(to, "x", 0); /* a batch is under way: the next one stays open */
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 t/1 p1\n");
    assert_string_equal(kit_log(from), "");
    kit_acked(to, 1);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n"); /* finished with is as good as stored */
    kit_commit(&k, SL_OK);
    assert_null(k.pending);
    kit_close(&k);
}

/* A body that two sessions and a queue need goes with the last of them. */
static void a_body_goes_with_its_last_holder(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    struct kit_client *from = kit_publisher(&k), *a = kit_listener(&k, "a", 60, "t/#", 1), *b = kit_listener(&k, "b", 60, "t/#", 1);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) COPY(1) COPY(1) ");
    kit_commit(&k, SL_OK);
    kit_acked(a, 1);
    assert_string_equal(kit_records(&k), "COPY_DROP ");
    kit_commit(&k, SL_OK);
    kit_ack(w, 0);
    assert_string_equal(kit_records(&k), "SETTLE(1) ");
    kit_commit(&k, SL_OK);
    kit_acked(b, 1);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP ");
    kit_close(&k);
}

static void what_is_numbered_later_is_recorded_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_lose(to);
    kit_publish(from, 1, 1, "t/1");
    assert_string_equal(kit_records(&k), "SESSION BODY COPY ");
    kit_settle(&k);
    (void)kit_mqtt(&k, true, "to", 60);
    assert_string_equal(kit_records(&k), "SESSION COPY(1) ");
    kit_close(&k);
}

/* ---- again ---- */

/* [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-4.6.0-1] */
static void a_resumed_session_gets_its_flight_again_in_order_under_its_ids(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 2);
    for (uint16_t id = 1; id <= 4; id++) {
        kit_publish(from, id % 2 == 0 ? 2 : 1, id, "t/1");
        kit_settle(&k);
    }
    assert_string_equal(kit_log(to), "PUBLISH q1 id=1 t/1 p1\nPUBLISH q2 id=2 t/1 p2\nPUBLISH q1 id=3 t/1 p3\nPUBLISH q2 id=4 t/1 p4\n");
    kit_settle_as(to, MQTT_PUBREC, 2, 0);
    kit_acked(to, 3);
    kit_settle(&k);
    kit_lose(to);
    kit_publish(from, 1, 5, "t/1");
    kit_settle(&k);
    to = kit_mqtt(&k, true, "to", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup\nPUBREL 2 0x00\nPUBLISH q2 id=4 t/1 p4 dup\nPUBLISH q1 id=5 t/1 p5\n");
    kit_acked(to, 1);
    kit_settle_as(to, MQTT_PUBCOMP, 2, 0);
    kit_settle_as(to, MQTT_PUBREC, 4, 0);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "PUBREL 4 0x00\n");
    kit_close(&k);
}

static void a_takeover_gives_the_flight_to_the_newer_connection(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *old = kit_listener(&k, "to", 60, "t/#", 1);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    assert_string_equal(kit_log(old), "PUBLISH q1 id=1 t/1 p1\n");
    struct kit_client *newer = kit_mqtt(&k, true, "to", 60);
    kit_settle(&k);
    assert_string_equal(kit_log(newer), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup\n");
    assert_string_equal(kit_log(old), "DISCONNECT 0x8e\nclosed\n");
    kit_close(&k);
}

/* A smaller Receive Maximum holds for what is sent again as well. */
static void a_resumed_flight_keeps_to_the_new_receive_maximum(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    for (uint16_t id = 1; id <= 3; id++)
        kit_publish(from, 1, id, "t/1");
    kit_settle(&k);
    kit_lose(to);
    struct mqtt_connect p = { .version = MQTT_V5, .client_id = sl_str("to") };
    mqtt_props_init(&p.props);
    mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, 60);
    mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, 2);
    to = kit_connect(&k, &p);
    kit_settle(&k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup\nPUBLISH q1 id=2 t/1 p2 dup\n");
    kit_acked(to, 2);
    assert_string_equal(kit_log(to), "PUBLISH q1 id=3 t/1 p3 dup\n");
    kit_close(&k);
}

/* ---- ends ---- */

static void an_expired_session_takes_all_that_waited_with_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    kit_lose(kit_listener(&k, "to", 60, "t/#", 1));
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 1, 2, "t/1");
    kit_settle(&k);
    kit_pass(&k, 61000);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP COPY_DROP BODY_DROP SESSION_DROP ");
    kit_settle(&k);
    (void)kit_log(from);
    kit_publish(from, 1, 3, "t/1");
    assert_string_equal(kit_log(from), "PUBACK 3 0x10\n");
    assert_in_range(hub_memory_bytes(k.h), 0, 100);
    kit_close(&k);
}

static void a_goodbye_with_expiry_0_ends_what_was_persistent(void **state)
{
    (void)state;
    static const uint8_t end[] = { 0xE0, 7, 0x00, 5, 0x11, 0, 0, 0, 0 };
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    kit_feed(to, end, sizeof end);
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP SESSION_DROP ");
    kit_settle(&k);
    (void)kit_log(to);
    assert_string_equal(kit_log(kit_mqtt(&k, true, "to", 60)), "CONNACK 0 present=0\n");
    kit_close(&k);
}

/* Its records go at once: a crash must not find them; what waits stays until the connection ends. */
static void a_session_that_comes_back_with_expiry_0_lasts_as_long_as_its_connection(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_lose(to);
    kit_publish(from, 1, 1, "t/1");
    kit_settle(&k);
    to = kit_mqtt(&k, true, "to", 0);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1\n");
    assert_string_equal(kit_records(&k), "COPY_DROP BODY_DROP SESSION_DROP ");
    kit_settle(&k);
    kit_publish(from, 1, 2, "t/1");
    assert_string_equal(kit_log(to), "PUBLISH q1 id=2 t/1 p2\n");
    kit_lose(to);
    kit_settle(&k);
    assert_string_equal(kit_records(&k), "");
    assert_string_equal(kit_log(kit_mqtt(&k, true, "to", 60)), "CONNACK 0 present=0\n");
    kit_close(&k);
}

enum ending { EXPIRES, GOODBYE, BACK_WITH_EXPIRY_0, CLEAN_START, ENDINGS };

static void end_session_of(struct kit *k, struct kit_client *to, enum ending how)
{
    static const uint8_t end[] = { 0xE0, 7, 0x00, 5, 0x11, 0, 0, 0, 0 };
    struct mqtt_connect clean = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("to") };
    mqtt_props_init(&clean.props);
    if (how == GOODBYE)
        kit_feed(to, end, sizeof end);
    else
        kit_lose(to);
    if (how == EXPIRES)
        kit_pass(k, 61000);
    else if (how == BACK_WITH_EXPIRY_0)
        (void)kit_mqtt(k, true, "to", 0);
    else if (how == CLEAN_START)
        (void)kit_connect(k, &clean);
}

/* A crash before that brings the session back, and then with all that was answered for it. */
static void who_published_is_answered_when_the_end_of_the_session_is_stored(void **state)
{
    (void)state;
    for (int how = 0; how < ENDINGS; how++) {
        struct kit k = { 0 };
        kit_open(&k);
        struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
        kit_publish(from, 1, 1, "t/1"); /* is with the store … */
        kit_publish(from, 1, 2, "t/1"); /* … and this one is not */
        end_session_of(&k, to, (enum ending)how);
        assert_string_equal(kit_records(&k), "BODY COPY(1) ");
        assert_string_equal(kit_log(from), "");
        kit_commit(&k, SL_OK);
        assert_non_null(strstr(kit_records(&k), "SESSION_DROP"));
        assert_null(strstr(kit_log(from), "PUBACK 2"));
        kit_settle(&k);
        assert_non_null(strstr(kit_log(from), "PUBACK 2 0x00\n"));
        kit_close(&k);
    }
}

/* It waits for it twice, and is answered once. */
static void who_published_is_answered_once_for_what_a_session_that_ends_passes_on(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k);
    kit_lose(kit_listener(&k, "a", 60, "$share/g/t/#", 1));
    kit_settle(&k);
    kit_publish(from, 1, 1, "t/1");
    kit_publish(from, 1, 2, "t/1");
    kit_subscribe(kit_mqtt(&k, true, "b", 60), "$share/g/t/#", 1);
    kit_pass(&k, 61000);
    assert_int_equal(hub_counters(k.h)->deliveries_passed_on, 2);
    kit_commit(&k, SL_OK);
    assert_string_equal(kit_log(from), "");
    kit_settle(&k);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\nPUBACK 2 0x00\n");
    kit_close(&k);
}

/* ---- a full disk ---- */

static void what_a_full_disk_refused_is_finished_without_a_trace(void **state)
{
    (void)state;
    struct kit k = { 0 };
    kit_open(&k);
    struct kit_client *from = kit_publisher(&k), *to = kit_listener(&k, "to", 60, "t/#", 1);
    kit_publish(from, 1, 1, "t/1");
    kit_commit(&k, SL_ENOSPC);
    assert_string_equal(kit_log(from), "");
    kit_acked(to, 1);
    assert_string_equal(kit_log(from), "PUBACK 1 0x00\n");
    kit_pass(&k, 300);
    if (k.pending != NULL)
        kit_settle(&k);
    kit_pass(&k, 300);
    assert_null(k.pending);
    assert_int_equal(hub_health(k.h), HUB_OK);
    kit_publish(from, 1, 2, "t/1");
    assert_string_equal(kit_records(&k), "BODY COPY(2) ");
    kit_close(&k);
}

/* ---- a crash ---- */

/* A kit whose store is the memory engine, which stays when the hub goes. */
struct durable {
    struct kit k;
    struct store *st;
};

static int apply(void *arg, struct batch *b)
{
    struct durable *d = arg;
    return store_apply(d->st, b);
}

static int on_queue(void *arg, uint32_t number, const char *name)
{
    (void)arg;
    (void)number;
    (void)name;
    return SL_OK;
}

static int on_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    return hub_restore_entry(((struct durable *)arg)->k.h, queue, r);
}

static int on_session(void *arg, uint64_t number, struct sl_bytes record)
{
    return hub_restore_session(((struct durable *)arg)->k.h, number, record);
}

static int on_qos2(void *arg, uint64_t session, uint16_t packet_id)
{
    return hub_restore_qos2(((struct durable *)arg)->k.h, session, packet_id);
}

static int on_subscription(void *arg, uint64_t session, uint32_t number, struct sl_bytes record)
{
    return hub_restore_subscription(((struct durable *)arg)->k.h, session, number, record);
}

static int on_will(void *arg, uint64_t session, struct sl_bytes record)
{
    return hub_restore_will(((struct durable *)arg)->k.h, session, record);
}

static int on_copy(void *arg, const struct store_copy *c)
{
    struct hub_restored_copy r = { c->session, c->packet_id, c->state, c->flags, c->ids, c->msg, c->entries };
    return hub_restore_copy(((struct durable *)arg)->k.h, &r);
}

static int on_retained(void *arg, struct message *m)
{
    return hub_restore_retained(((struct durable *)arg)->k.h, m);
}

static void durable_open(struct durable *d)
{
    struct sl_buf why = { 0 };
    if (d->st == NULL)
        assert_int_equal(store_open(&(struct store_config){ .engine = "memory", .dir = "none", .node = "n" }, &d->st, &why), SL_OK);
    d->k.apply = apply;
    d->k.apply_arg = d;
    kit_open(&d->k);
}

/* The hub is gone with all that it had in memory. */
static void crash(struct durable *d)
{
    struct sl_buf why = { 0 };
    d->k.apply = NULL;
    kit_close(&d->k);
    memset(d->k.clients, 0, sizeof d->k.clients);
    durable_open(d);
    const struct store_loader l = { d, on_queue, on_entry, on_session, on_qos2, on_subscription, on_will, on_copy, on_retained, NULL, NULL, NULL, NULL };
    assert_int_equal(store_load(d->st, &l, &why), SL_OK);
    sl_buf_fini(&why);
}

static void durable_close(struct durable *d)
{
    kit_close(&d->k);
    store_close(d->st);
}

static void after_a_crash_a_session_goes_on_where_it_was(void **state)
{
    (void)state;
    struct durable d = { 0 };
    durable_open(&d);
    struct kit_client *from = kit_publisher(&d.k), *to = kit_listener(&d.k, "to", 60, "t/#", 2);
    kit_subscribe_full(to, &(struct mqtt_filter){ .filter = sl_str("t/+"), .qos = 1 }, 1, 7);
    kit_settle(&d.k);
    for (uint16_t id = 1; id <= 4; id++) {
        kit_publish(from, id % 2 == 0 ? 2 : 1, id, "t/1");
        kit_settle(&d.k);
    }
    kit_settle_as(to, MQTT_PUBREC, 2, 0);
    kit_acked(to, 3);
    kit_settle(&d.k);
    kit_lose(to);
    kit_publish(from, 1, 5, "t/1");
    kit_settle(&d.k);
    crash(&d);
    from = kit_publisher(&d.k);
    kit_publish(from, 1, 6, "t/1");
    kit_settle(&d.k);
    to = kit_mqtt(&d.k, true, "to", 60);
    kit_settle(&d.k);
    assert_string_equal(kit_log(to), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup subs=7\nPUBREL 2 0x00\n"
                                     "PUBLISH q2 id=4 t/1 p4 dup subs=7\nPUBLISH q1 id=5 t/1 p5 subs=7\nPUBLISH q1 id=6 t/1 p6 subs=7\n");
    durable_close(&d);
}

static void all_that_was_settled_is_gone_from_the_store(void **state)
{
    (void)state;
    struct durable d = { 0 };
    durable_open(&d);
    struct kit_client *from = kit_publisher(&d.k), *a = kit_listener(&d.k, "a", 60, "t/#", 2), *b = kit_listener(&d.k, "b", 60, "t/#", 1);
    kit_publish(from, 2, 1, "t/1");
    kit_settle(&d.k);
    crash(&d);
    a = kit_mqtt(&d.k, true, "a", 60);
    b = kit_mqtt(&d.k, true, "b", 60);
    kit_settle(&d.k);
    assert_string_equal(kit_log(a), "CONNACK 0 present=1\nPUBLISH q2 id=1 t/1 p1 dup\n");
    assert_string_equal(kit_log(b), "CONNACK 0 present=1\nPUBLISH q1 id=1 t/1 p1 dup\n");
    kit_settle_as(a, MQTT_PUBREC, 1, 0);
    kit_settle(&d.k);
    kit_settle_as(a, MQTT_PUBCOMP, 1, 0);
    kit_acked(b, 1);
    kit_settle(&d.k);
    struct store_info info;
    assert_int_equal(store_info(d.st, &info), SL_OK);
    assert_int_equal(info.copies, 0);
    assert_int_equal(info.bodies, 0);
    assert_int_equal(info.subscriptions, 2);
    crash(&d);
    assert_string_equal(kit_log(kit_mqtt(&d.k, true, "a", 60)), "CONNACK 0 present=1\n");
    durable_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_absent_get_what_waited_in_its_order_and_nothing_of_qos_0),
        cmocka_unit_test(a_publish_is_answered_when_the_copies_it_promises_are_stored),
        cmocka_unit_test(a_session_that_ends_with_its_connection_costs_no_record),
        cmocka_unit_test(qos_2_goes_out_when_its_id_is_stored_and_is_released_when_that_is),
        cmocka_unit_test(qos_2_that_gets_its_id_late_waits_for_the_record_that_has_it),
        cmocka_unit_test(what_is_answered_before_its_batch_went_is_never_written),
        cmocka_unit_test(a_body_goes_with_its_last_holder),
        cmocka_unit_test(what_is_numbered_later_is_recorded_again),
        cmocka_unit_test(a_resumed_session_gets_its_flight_again_in_order_under_its_ids),
        cmocka_unit_test(a_takeover_gives_the_flight_to_the_newer_connection),
        cmocka_unit_test(a_resumed_flight_keeps_to_the_new_receive_maximum),
        cmocka_unit_test(an_expired_session_takes_all_that_waited_with_it),
        cmocka_unit_test(a_goodbye_with_expiry_0_ends_what_was_persistent),
        cmocka_unit_test(a_session_that_comes_back_with_expiry_0_lasts_as_long_as_its_connection),
        cmocka_unit_test(who_published_is_answered_when_the_end_of_the_session_is_stored),
        cmocka_unit_test(who_published_is_answered_once_for_what_a_session_that_ends_passes_on),
        cmocka_unit_test(what_a_full_disk_refused_is_finished_without_a_trace),
        cmocka_unit_test(after_a_crash_a_session_goes_on_where_it_was),
        cmocka_unit_test(all_that_was_settled_is_gone_from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
