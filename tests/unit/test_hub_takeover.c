/* One client id, several connections: who holds it, and for how often it may
 * be taken. That the older one is told is in test_hub_sessions. */
#include "test_hub_kit.h"

static void start(struct kit *k)
{
    struct queue_config cfg = kit_queue("q0", 1);
    kit_open(k);
    (void)hub_add_queue(k->h, &cfg);
    assert_int_equal(hub_add_route(k->h, "t/#", 0), SL_OK);
}

/* Connects as `id` and expects this; returns the connection. */
static struct kit_client *connects(struct kit *k, bool v5, const char *id, const char *expected)
{
    struct kit_client *c = kit_mqtt(k, v5, id, 0);
    assert_string_equal(kit_log(c), expected);
    return c;
}

#define TAKEN   "CONNACK 0 present=0\n"
#define DAMPED  "CONNACK 159 present=0\nclosed\n"
#define DAMPED3 "CONNACK 3 present=0\nclosed\n"

/* The first connection and five that take the id from one another. */
static struct kit_client *flap(struct kit *k, bool v5, const char *id, uint64_t apart_ms)
{
    struct kit_client *holder = connects(k, v5, id, TAKEN);
    for (int i = 0; i < 5; i++) {
        struct kit_client *older = holder;
        kit_pass(k, apart_ms);
        holder = connects(k, v5, id, TAKEN);
        assert_null(older->c);
        (void)kit_log(older);
    }
    return holder;
}

static void an_id_that_flaps_stays_with_its_holder(void **state)
{
    (void)state;
    for (int v5 = 0; v5 <= 1; v5++) {
        struct kit k = { 0 };
        start(&k);
        struct kit_client *holder = flap(&k, v5 == 1, "a", 100);
        (void)connects(&k, v5 == 1, "a", v5 == 1 ? DAMPED : DAMPED3);
        assert_non_null(holder->c);
        kit_publish(holder, 1, 1, "t/1");
        kit_settle(&k);
        assert_string_equal(kit_log(holder), "PUBACK 1 0x00\n");
        assert_int_equal(hub_counters(k.h)->takeovers, 5);
        assert_int_equal(hub_counters(k.h)->takeovers_refused, 1);
        kit_close(&k);
    }
}

static void another_id_is_not_held_against(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    (void)flap(&k, true, "a", 100);
    (void)connects(&k, true, "a", DAMPED);
    struct kit_client *b = connects(&k, true, "b", TAKEN);
    (void)connects(&k, true, "b", TAKEN);
    assert_null(b->c);
    kit_close(&k);
}

/* Trying on does not prolong it. */
static void after_some_seconds_it_may_be_taken_again(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *holder = flap(&k, true, "a", 100);
    (void)connects(&k, true, "a", DAMPED);
    kit_pass(&k, 9000);
    (void)connects(&k, true, "a", DAMPED);
    kit_pass(&k, 900);
    (void)connects(&k, true, "a", DAMPED);
    kit_pass(&k, 200);
    (void)connects(&k, true, "a", TAKEN);
    assert_null(holder->c);
    kit_close(&k);
}

/* Who lost its connection is not kept out: there is nobody to protect. */
static void an_id_that_nobody_holds_is_given_at_once(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    struct kit_client *holder = flap(&k, true, "a", 100);
    (void)connects(&k, true, "a", DAMPED);
    kit_lose(holder);
    (void)connects(&k, true, "a", TAKEN);
    kit_close(&k);
}

static void takeovers_far_apart_are_no_flapping(void **state)
{
    (void)state;
    struct kit k = { 0 };
    start(&k);
    (void)flap(&k, true, "a", 2600);
    (void)connects(&k, true, "a", TAKEN); /* the sixth, and the first was 10.4 s ago */
    assert_int_equal(hub_counters(k.h)->takeovers_refused, 0);
    kit_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_that_flaps_stays_with_its_holder),
        cmocka_unit_test(another_id_is_not_held_against),
        cmocka_unit_test(after_some_seconds_it_may_be_taken_again),
        cmocka_unit_test(an_id_that_nobody_holds_is_given_at_once),
        cmocka_unit_test(takeovers_far_apart_are_no_flapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
