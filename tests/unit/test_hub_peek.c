/* Looking into a queue, with bodies that are in the store only. */
#include "hub/operate.h"
#include "test_hub_kit.h"

#define SHOWN 16u

struct shown {
    uint32_t times, n;
    uint64_t ids[SHOWN];
    char payloads[SHOWN][32];
    char consumer[HUB_NAME_MAX];
};

static void on_peek(void *arg, const struct hub_peeked *v, uint32_t n)
{
    struct shown *s = arg;
    s->times++;
    s->n = n;
    for (uint32_t i = 0; i < n && i < SHOWN; i++) {
        struct sl_bytes p = v[i].of.msg == NULL ? sl_str("-") : message_payload(v[i].of.msg);
        s->ids[i] = v[i].of.id;
        snprintf(s->payloads[i], sizeof s->payloads[i], "%.*s", (int)(p.n < 31 ? p.n : 31), (const char *)p.p);
        snprintf(s->consumer, sizeof s->consumer, "%s", v[i].consumer);
    }
}

static void open_queue(struct kit *k)
{
    kit_open(k);
    struct queue_config q = kit_queue("q", 1);
    q.max_bytes = 64u << 20;
    (void)hub_add_queue(k->h, &q);
    assert_int_equal(hub_add_route(k->h, "t", 0), SL_OK);
}

static void publish(struct kit *k, uint32_t n, size_t bytes)
{
    char *payload = sl_calloc(1, bytes + 1);
    for (uint32_t i = 1; i <= n; i++) {
        memset(payload, ' ', bytes);
        payload[snprintf(payload, bytes + 1, "p%u", i)] = ' ';
        struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str("t"), .payload = sl_bytes_of(payload, bytes) };
        assert_int_equal(hub_publish(k->h, &parts), SL_OK);
    }
    sl_free(payload);
    kit_settle(k);
}

static bool has_body(const struct kit *k, uint64_t id)
{
    struct queue_peeked p[SHOWN];
    uint32_t n = queue_peek(hub_queue(k->h, 0), QUEUE_READY, p, SHOWN);
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].id == id)
            return p[i].msg != NULL;
    }
    fail_msg("%s", "it is not there");
    return false;
}

static void what_is_in_memory_is_shown_in_the_next_turn_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    publish(&k, 3, 8);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 2, on_peek, &s), SL_OK);
    assert_int_equal(s.times, 0);
    assert_int_equal(hub_deadline_us(k.h), k.now.mono_us);
    kit_turn(&k);
    kit_turn(&k);
    assert_int_equal(s.times, 1);
    assert_int_equal(s.n, 2);
    assert_memory_equal(s.payloads[0], "p1 ", 3);
    assert_memory_equal(s.payloads[1], "p2 ", 3);
    kit_close(&k);
}

static void what_is_in_the_store_only_is_read_shown_and_not_kept(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 100 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    publish(&k, 3, 8);
    uint64_t before = hub_memory_bytes(k.h);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 10, on_peek, &s), SL_OK);
    assert_non_null(k.fetch);
    kit_turn(&k);
    assert_int_equal(s.times, 0);
    kit_settle(&k);
    assert_int_equal(s.times, 1);
    assert_int_equal(s.n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(s.payloads[i][1], '1' + (int)i);
        assert_false(has_body(&k, s.ids[i]));
    }
    assert_int_equal(hub_memory_bytes(k.h), before);
    assert_int_equal(hub_counters(k.h)->bodies_fetched, 0); /* those are dispatch's */
    kit_close(&k);
}

/* Dispatch asks for its own, whoever looks at the same messages. */
static void a_look_and_dispatch_do_not_take_each_others_bodies(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 100 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    publish(&k, 2, 8);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 10, on_peek, &s), SL_OK);
    kit_settle(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    kit_settle(&k);
    assert_int_equal(w->n, 2);
    assert_int_equal(s.times, 1);
    kit_close(&k);
}

static void what_left_meanwhile_or_cannot_be_read_is_shown_without_a_body(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 100 };
    struct shown s = { .times = 0 };
    struct queue_peeked p;
    open_queue(&k);
    publish(&k, 2, 8);
    assert_int_equal(queue_peek(hub_queue(k.h, 0), QUEUE_READY, &p, 1), 1);
    message_unref(sl_idmap_del(&k.bodies, p.id));
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 10, on_peek, &s), SL_OK);
    kit_settle(&k);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.payloads[0], "-");
    assert_memory_equal(s.payloads[1], "p2 ", 3);
    kit_close(&k);
}

static void bodies_of_so_many_bytes_are_shown_and_one_in_any_case(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 256u << 20 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    publish(&k, 12, 1u << 20);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 12, on_peek, &s), SL_OK);
    kit_turn(&k);
    assert_int_equal(s.n, 7); /* eight with their records would be a little over 8 MiB */
    assert_int_equal(hub_queue_purge(k.h, 0, QUEUE_STATE_BIT(QUEUE_READY)), SL_OK);
    kit_settle(&k);
    publish(&k, 2, HUB_PEEK_BYTES + 1);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 12, on_peek, &s), SL_OK);
    kit_turn(&k);
    assert_int_equal(s.n, 1);
    kit_close(&k);
}

static void one_that_is_leased_is_shown_with_its_consumers_name(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    struct kit_worker *w = kit_worker(&k, 0, 0);
    publish(&k, 1, 8);
    assert_int_equal(w->n, 1);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_LEASED, 10, on_peek, &s), SL_OK);
    kit_worker_end(w); /* it is gone when that is shown */
    kit_turn(&k);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.consumer, "worker");
    kit_close(&k);
}

static void an_empty_queue_is_shown_as_empty(void **state)
{
    (void)state;
    struct kit k = { 0 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_DEAD, 0, on_peek, &s), SL_OK);
    kit_turn(&k);
    assert_true(s.times == 1 && s.n == 0);
    kit_close(&k);
}

static void too_many_who_look_at_once_are_refused_and_all_others_are_shown_at_the_end(void **state)
{
    (void)state;
    struct kit k = { .memory_bytes = 100 };
    struct shown s = { .times = 0 };
    open_queue(&k);
    publish(&k, 1, 8);
    hub_queue_pause(k.h, 0, true);
    kit_settle(&k);
    uint32_t asked = 0;
    while (hub_peek(k.h, 0, QUEUE_DEAD, 10, on_peek, &s) == SL_OK)
        asked++;
    assert_true(asked > 0 && asked < 100);
    kit_turn(&k);
    assert_int_equal(s.times, asked);
    assert_int_equal(hub_peek(k.h, 0, QUEUE_READY, 10, on_peek, &s), SL_OK); /* its body does not come */
    kit_close(&k);
    assert_int_equal(s.times, asked + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_in_memory_is_shown_in_the_next_turn_once),
        cmocka_unit_test(what_is_in_the_store_only_is_read_shown_and_not_kept),
        cmocka_unit_test(a_look_and_dispatch_do_not_take_each_others_bodies),
        cmocka_unit_test(what_left_meanwhile_or_cannot_be_read_is_shown_without_a_body),
        cmocka_unit_test(bodies_of_so_many_bytes_are_shown_and_one_in_any_case),
        cmocka_unit_test(one_that_is_leased_is_shown_with_its_consumers_name),
        cmocka_unit_test(an_empty_queue_is_shown_as_empty),
        cmocka_unit_test(too_many_who_look_at_once_are_refused_and_all_others_are_shown_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
