/* Wills: when they are published and when not, what is kept of them, and what
 * is written. A queue that takes their topic is the witness. */
#include "test_hub_kit.h"

static struct kit_worker *start(struct kit *k)
{
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
    return kit_worker(k, 0, 0);
}

struct asked {
    uint32_t delay_s, expiry_s; /* of the will, of the session */
    bool clean, none;           /* none: no will */
    uint16_t keep_alive_s;
    const char *payload;        /* NULL: "gone" */
    const char *id;             /* NULL: "a" */
};

static struct kit_client *with_will(struct kit *k, const struct asked *a)
{
    struct mqtt_connect p = {
        .version = MQTT_V5, .clean_start = a->clean, .client_id = sl_str(a->id != NULL ? a->id : "a"), .has_will = !a->none, .keep_alive_s = a->keep_alive_s,
        .will = { .topic = sl_str("t/will"), .payload = sl_str(a->payload != NULL ? a->payload : "gone"), .qos = 1 },
    };
    mqtt_props_init(&p.props);
    mqtt_props_init(&p.will.props);
    if (a->expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, a->expiry_s);
    if (a->delay_s > 0)
        mqtt_props_set_number(&p.will.props, MQTT_PROP_WILL_DELAY, a->delay_s);
    return kit_connect(k, &p);
}

static void a_delayed_will_waits_for_its_delay(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60 }));
    kit_settle(&k);
    kit_pass(&k, 4900);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    assert_true(hub_deadline_us(k.h) <= k.mono_us + 100000);
    kit_pass(&k, 100);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_int_equal(hub_counters(k.h)->wills_published, 1);
    kit_close(&k);
}

/* The end of the session comes first: when the connection ends, or later. */
static void a_delay_ends_with_the_session(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 500 }));
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 500, .expiry_s = 2 }));
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    kit_pass(&k, 2000);
    kit_settle(&k);
    assert_int_equal(w->n, 2);
    kit_pass(&k, 600000); /* and not once more */
    kit_settle(&k);
    assert_int_equal(w->n, 2);
    kit_close(&k);
}

/* [MQTT-3.1.3-9] */
static void a_client_that_resumes_in_time_takes_its_will_back(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60 }));
    kit_pass(&k, 4000);
    (void)with_will(&k, &(struct asked){ .expiry_s = 60, .none = true });
    kit_pass(&k, 60000);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    kit_close(&k);
}

/* A clean start ends the session that the will belonged to. */
static void a_clean_start_does_not_take_it_back(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60 }));
    kit_settle(&k);
    (void)with_will(&k, &(struct asked){ .clean = true, .none = true });
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    kit_close(&k);
}

/* Section 3.1.4: what becomes of the older connection's will. */
static void a_takeover_publishes_a_will_that_has_no_delay_or_whose_session_ends(void **state)
{
    (void)state;
    static const struct {
        struct asked older, newer;
        uint32_t wills;
    } cases[] = {
        { { .expiry_s = 60 }, { .expiry_s = 60, .none = true }, 1 },
        { { .expiry_s = 60, .delay_s = 5 }, { .expiry_s = 60, .none = true }, 0 },
        { { .expiry_s = 60, .delay_s = 5 }, { .clean = true, .none = true }, 1 },
        { { .delay_s = 5 }, { .none = true }, 1 }, /* expiry 0: it ends with its connection */
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct kit k = { 0 };
        struct kit_worker *w = start(&k);
        struct kit_client *older = with_will(&k, &cases[i].older);
        (void)with_will(&k, &cases[i].newer);
        assert_null(older->c);
        kit_pass(&k, 10000);
        kit_settle(&k);
        assert_int_equal(w->n, cases[i].wills);
        kit_close(&k);
    }
}

static void the_newer_connections_will_replaces_the_older(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60, .payload = "old" }));
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60, .payload = "new" }));
    kit_pass(&k, 5000);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->held[0].payload, "new");
    kit_close(&k);
}

/* [MQTT-3.1.2-8]: a server that is told nothing, told something wrong, or
 * that closes itself. */
static void a_will_is_published_however_the_connection_ends(void **state)
{
    (void)state;
    static const uint8_t malformed[] = { 0x30, 0x00 };
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    struct kit_client *c = with_will(&k, &(struct asked){ 0 });
    kit_feed(c, malformed, sizeof malformed);
    assert_null(c->c);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    (void)kit_log(c);
    c = with_will(&k, &(struct asked){ .keep_alive_s = 10 });
    kit_pass(&k, 15100);
    assert_null(c->c);
    kit_settle(&k);
    assert_int_equal(w->n, 2);
    (void)kit_log(c);
    c = with_will(&k, &(struct asked){ 0 });
    hub_drain(k.h);
    hub_goodbye(k.h);
    kit_turn(&k);
    assert_null(c->c);
    kit_settle(&k);
    assert_int_equal(hub_counters(k.h)->wills_published, 3);
    kit_close(&k);
}

/* They are stored with their sessions. */
static void a_gateway_that_stops_leaves_delayed_wills_to_the_next_start(void **state)
{
    (void)state;
    struct kit k = { 0 };
    (void)start(&k);
    kit_lose(with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60 }));
    kit_settle(&k);
    kit_lose(with_will(&k, &(struct asked){ .id = "b", .delay_s = 50, .expiry_s = 8 }));
    kit_settle(&k);
    hub_drain(k.h);
    kit_pass(&k, 20000);
    kit_settle(&k);
    assert_int_equal(hub_counters(k.h)->wills_published, 0);
    assert_true(hub_deadline_us(k.h) > k.mono_us);
    kit_close(&k);
}

/* A goodbye that asks for the will and ends the session: no delay is left. */
static void a_goodbye_with_will_that_ends_the_session_publishes_at_once(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0xE0, 7, 0x04, 5, 0x11, 0, 0, 0, 0 };
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    struct kit_client *c = with_will(&k, &(struct asked){ .delay_s = 500, .expiry_s = 60 });
    kit_feed(c, bytes, sizeof bytes);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    kit_close(&k);
}

/* ---- what is kept ---- */

static void all_that_a_will_says_is_published_with_it(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct kit_worker *w = start(&k);
    struct mqtt_connect p = {
        .version = MQTT_V5, .client_id = sl_str("a"), .has_will = true, .has_username = true, .username = sl_str("u"),
        .will = { .topic = sl_str("t/will"), .payload = sl_str("gone"), .qos = 2, .retain = true },
    };
    mqtt_props_init(&p.props);
    mqtt_props_init(&p.will.props);
    const struct message_header user[] = { { sl_str("b"), sl_str("1") }, { sl_str("a"), sl_str("2") }, { sl_str("b"), sl_str("3") } };
    mqtt_props_set_user(&p.will.props, user, SL_COUNT(user));
    mqtt_props_set_number(&p.will.props, MQTT_PROP_PAYLOAD_FORMAT, 1);
    mqtt_props_set_number(&p.will.props, MQTT_PROP_MESSAGE_EXPIRY, 30);
    mqtt_props_set_string(&p.will.props, MQTT_PROP_CONTENT_TYPE, sl_str("text/plain"));
    mqtt_props_set_string(&p.will.props, MQTT_PROP_RESPONSE_TOPIC, sl_str("r/1"));
    mqtt_props_set_string(&p.will.props, MQTT_PROP_CORRELATION_DATA, sl_str("c1"));
    struct kit_client *c = kit_connect(&k, &p);
    kit_pass(&k, 5000);
    kit_lose(c);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    struct message_parts m;
    message_view(message_record(w->held[0].msg), &m);
    assert_true(sl_bytes_is(m.topic, "t/will") && sl_bytes_is(m.payload, "gone"));
    assert_true(sl_bytes_is(m.content_type, "text/plain") && sl_bytes_is(m.reply_to, "r/1") && sl_bytes_is(m.correlation, "c1"));
    assert_true(sl_bytes_is(m.client_id, "a") && sl_bytes_is(m.user, "u"));
    assert_int_equal(m.qos, 2);
    assert_int_equal(m.flags, MESSAGE_RETAIN | MESSAGE_PAYLOAD_UTF8 | MESSAGE_EXPIRES_RELATIVE);
    assert_int_equal(m.expires_at - m.accepted_at, 30000); /* counted from its publication */
    struct message_header h;
    size_t pos = 0;
    for (size_t i = 0; i < SL_COUNT(user); i++) { /* in their order [MQTT-3.1.3-10] */
        assert_true(message_header_next(message_record(w->held[0].msg), &pos, &h));
        assert_true(sl_bytes_eq(h.name, user[i].name) && sl_bytes_eq(h.value, user[i].value));
    }
    kit_close(&k);
}

/* ---- what is written ---- */

static void a_will_stands_in_the_store_with_its_session(void **state)
{
    (void)state;
    static const uint8_t goodbye[] = { 0xE0, 0 };
    struct kit k = { 0 };
    (void)start(&k);
    struct kit_client *c = with_will(&k, &(struct asked){ .expiry_s = 60 });
    assert_string_equal(kit_records(&k), "SESSION WILL ");
    kit_settle(&k);
    kit_feed(c, goodbye, sizeof goodbye);
    assert_non_null(strstr(kit_records(&k), "WILL_DROP "));
    kit_settle(&k);
    (void)kit_log(c);
    (void)with_will(&k, &(struct asked){ .clean = true });
    kit_turn(&k);
    assert_null(strstr(kit_records(&k), "WILL "));
    kit_close(&k);
}

/* One batch: after a crash there is the will, or the message. */
static void the_message_and_the_end_of_its_will_are_one_batch(void **state)
{
    (void)state;
    struct kit k = { 0 };
    (void)start(&k);
    kit_worker_end(&k.workers[0]);
    struct kit_client *c = with_will(&k, &(struct asked){ .expiry_s = 60 });
    kit_settle(&k);
    kit_lose(c);
    kit_turn(&k);
    assert_string_equal(kit_records(&k), "BODY ENTRY(1) WILL_DROP SESSION ");
    kit_close(&k);
}

/* The will's record of the batch under way; the caller frees it. */
static struct batch_note *will_record(struct kit *k, uint64_t *session)
{
    for (uint32_t i = 0; i < k->pending->n; i++) {
        const struct batch_op *op = &k->pending->ops[i];
        if (op->kind != BATCH_WILL)
            continue;
        size_t n = sizeof *op->note + op->note->n;
        struct batch_note *copy = sl_alloc(n);
        memcpy(copy, op->note, n);
        *session = op->id;
        return copy;
    }
    fail_msg("no will in the batch");
    return NULL;
}

/* Decision 42. */
static void after_a_crash_the_delay_starts_anew(void **state)
{
    (void)state;
    struct kit k = { 0 };
    uint64_t number;
    (void)start(&k);
    (void)with_will(&k, &(struct asked){ .delay_s = 5, .expiry_s = 60 });
    struct batch_note *will = will_record(&k, &number);
    kit_close(&k);

    struct batch_session s = { .expiry_s = 60, .ends_wall_ms = UINT64_MAX, .client_id = sl_str("a") };
    struct batch_note *session = batch_session_encode(&s);
    struct kit_worker *w = start(&k);
    assert_int_equal(hub_restore_session(k.h, number, sl_bytes_of(session->bytes, session->n)), SL_OK);
    assert_int_equal(hub_restore_will(k.h, number, sl_bytes_of(will->bytes, will->n)), SL_OK);
    assert_int_equal(hub_restore_will(k.h, number + 1, sl_bytes_of(will->bytes, will->n)), SL_EFORMAT);
    sl_free(session);
    sl_free(will);
    kit_pass(&k, 4900);
    kit_settle(&k);
    assert_int_equal(w->n, 0);
    kit_pass(&k, 100);
    kit_settle(&k);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->held[0].payload, "gone");
    kit_close(&k);
}

/* Contract, promise 5: what many clients leave with their wills counts. */
static void wills_count_as_memory_until_they_are_gone(void **state)
{
    (void)state;
    struct kit k = { 0 };
    (void)start(&k);
    kit_settle(&k);
    uint64_t before = hub_memory_bytes(k.h);
    struct kit_client *c = with_will(&k, &(struct asked){ 0 });
    assert_true(hub_memory_bytes(k.h) > before);
    kit_feed(c, (const uint8_t[]){ 0xE0, 0 }, 2);
    kit_settle(&k);
    assert_int_equal(hub_memory_bytes(k.h), before);
    kit_close(&k);
}

/* Decision 30. */
/* They wait as long as their clients want. */
static void all_wills_together_are_bounded(void **state)
{
    (void)state;
    static char large[60000];
    memset(large, 'x', sizeof large - 1);
    struct kit k = { 0 };
    (void)start(&k);
    uint32_t taken = 0, refused = 0;
    for (int i = 0; i < 40; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "w%d", i);
        struct kit_client *c = with_will(&k, &(struct asked){ .id = id, .payload = large, .delay_s = 500, .expiry_s = 600 });
        kit_settle(&k);
        const char *log = kit_log(c);
        taken += strcmp(log, "CONNACK 0 present=0\n") == 0;
        refused += strcmp(log, "CONNACK 151 present=0\nclosed\n") == 0;
        if (c->c != NULL)
            kit_lose(c);
    }
    assert_in_range(taken, 10, 17); /* an eighth of 8 MiB */
    assert_int_equal(taken + refused, 40);
    struct kit_client *other = kit_mqtt(&k, true, "other", 60);
    assert_string_equal(kit_log(other), "CONNACK 0 present=0\n");
    kit_close(&k);
}

static void a_will_over_the_limits_is_dropped_and_counted(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(&k);
    cfg.max_messages = 1;
    (void)hub_add_queue(k.h, &cfg);
    assert_int_equal(hub_add_route(k.h, "t/#", 0), SL_OK);
    kit_lose(with_will(&k, &(struct asked){ 0 }));
    kit_settle(&k);
    kit_lose(with_will(&k, &(struct asked){ 0 }));
    kit_settle(&k);
    assert_int_equal(hub_counters(k.h)->wills_published, 1);
    assert_int_equal(hub_counters(k.h)->wills_dropped, 1);
    assert_int_equal(queue_counters(hub_queue(k.h, 0))->refused, 1);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delayed_will_waits_for_its_delay),
        cmocka_unit_test(a_delay_ends_with_the_session),
        cmocka_unit_test(a_client_that_resumes_in_time_takes_its_will_back),
        cmocka_unit_test(a_clean_start_does_not_take_it_back),
        cmocka_unit_test(a_takeover_publishes_a_will_that_has_no_delay_or_whose_session_ends),
        cmocka_unit_test(the_newer_connections_will_replaces_the_older),
        cmocka_unit_test(a_will_is_published_however_the_connection_ends),
        cmocka_unit_test(a_gateway_that_stops_leaves_delayed_wills_to_the_next_start),
        cmocka_unit_test(a_goodbye_with_will_that_ends_the_session_publishes_at_once),
        cmocka_unit_test(all_that_a_will_says_is_published_with_it),
        cmocka_unit_test(a_will_stands_in_the_store_with_its_session),
        cmocka_unit_test(the_message_and_the_end_of_its_will_are_one_batch),
        cmocka_unit_test(after_a_crash_the_delay_starts_anew),
        cmocka_unit_test(wills_count_as_memory_until_they_are_gone),
        cmocka_unit_test(a_will_over_the_limits_is_dropped_and_counted),
        cmocka_unit_test(all_wills_together_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
