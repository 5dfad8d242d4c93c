/* Looking into a queue: in the order in which its messages go, and without a trace. */
#include "core/rng.h"
#include "queue_kit.h"

#define MANY 256u

static struct queue_peeked seen[MANY];

static void assert_peek(const struct kit *k, enum queue_state state, const uint64_t *ids, uint32_t n)
{
    uint32_t got = queue_peek(k->q, state, seen, MANY);
    assert_int_equal(got, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(seen[i].id, ids[i]);
        assert_int_equal(seen[i].state, state);
    }
}

static void ready_ones_stand_by_priority_and_age_whatever_line_they_are_in(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 1, 1);
    uint64_t returned = kit_put(&k), low = kit_put_priority(&k, 1), next = kit_put(&k), high = kit_put_priority(&k, 9);
    assert_int_equal(kit_next(&k), high);
    assert_int_equal(queue_give_back(k.q, k.got.lease, true, &k.now, &k.change), SL_OK);
    const uint64_t order[] = { high, returned, next, low };
    assert_peek(&k, QUEUE_READY, order, 4);
    assert_true(seen[0].redelivered && !seen[1].redelivered);
    assert_int_equal(seen[3].priority, 1);
    assert_int_equal(queue_peek(k.q, QUEUE_READY, seen, 2), 2);
    assert_int_equal(queue_peek(k.q, QUEUE_READY, seen, 0), 0);
    kit_end(&k);
}

static void those_aside_and_those_held_come_last_and_are_told_as_such(void **state)
{
    (void)state;
    struct kit k = kit_new();
    queue_limit_keys(k.q, &(struct queue_key_limit){ .max = 1, .key = QUEUE_KEY_CLIENT });
    (void)kit_consumer(&k, 64, 64);
    struct message_parts parts = kit_parts(&k);
    parts.client_id = sl_str("a");
    (void)kit_enter(&k, &parts, 0);
    (void)kit_next(&k);
    struct message_parts aside = kit_parts(&k);
    aside.client_id = sl_str("a");
    (void)kit_enter(&k, &aside, 0);
    kit_idle(&k);
    struct message_parts held = kit_parts(&k);
    (void)kit_enter(&k, &held, QUEUE_HOLD);
    uint64_t free = kit_put(&k);
    const uint64_t order[] = { free, aside.id, held.id };
    assert_peek(&k, QUEUE_READY, order, 3);
    assert_true(seen[1].aside && seen[2].held && !seen[0].aside && !seen[0].held);
    kit_end(&k);
}

/* The wall clock stands a million ahead of the steady time: relative and absolute
 * ones are told in one order all the same, and as wall time. */
static void delayed_ones_stand_by_their_due_time_of_either_clock(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t ids[6];
    static const uint64_t waits[6] = { 50, 10, 40, 20, 60, 30 };
    k.now.wall_ms += 1000000;
    for (uint32_t i = 0; i < 6; i++) {
        struct message_parts parts = kit_parts(&k);
        bool relative = i % 2 == 0;
        parts.flags = relative ? MESSAGE_DELIVER_RELATIVE : 0;
        parts.deliver_at = (relative ? k.now.steady_ms : k.now.wall_ms) + waits[i];
        (void)kit_enter(&k, &parts, 0);
        ids[waits[i] / 10 - 1] = parts.id;
    }
    assert_peek(&k, QUEUE_DELAYED, ids, 6);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(seen[i].wall_ms, k.now.wall_ms + 10 * (i + 1));
    kit_end(&k);
}

static void leased_ones_stand_as_they_were_leased_with_who_has_them(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t a = kit_limited_consumer(&k, 1, 0);
    uint64_t first = kit_put_priority(&k, 2), second = kit_put_priority(&k, 7);
    assert_int_equal(kit_next(&k), second);
    uint32_t b = kit_consumer(&k, 1, 1);
    assert_int_equal(kit_next(&k), first);
    const uint64_t order[] = { second, first };
    assert_peek(&k, QUEUE_LEASED, order, 2);
    assert_int_equal(seen[0].consumer, a);
    assert_ptr_equal(seen[0].consumer_arg, &k);
    assert_int_equal(seen[1].consumer, b);
    assert_int_equal(seen[1].lease, k.got.lease);
    assert_true(seen[1].started);
    assert_int_equal(queue_peek(k.q, QUEUE_LEASED, seen, 1), 1);
    assert_int_equal(seen[0].id, second);
    kit_end(&k);
}

static void dead_ones_stand_as_they_died_also_after_a_restart(void **state)
{
    (void)state;
    struct kit k = kit_new();
    static const uint64_t died[] = { 300, 100, 200 };
    for (uint32_t i = 0; i < 3; i++) {
        struct queue_restored r = { .id = i + 1, .bytes = 100, .state = QUEUE_DEAD, .attempts = 1, .due_ms = KIT_WALL_MS - died[i] };
        (void)queue_restore(k.q, &r, &k.now);
    }
    const uint64_t order[] = { 1, 3, 2 };
    assert_peek(&k, QUEUE_DEAD, order, 3);
    assert_int_equal(seen[0].wall_ms, KIT_WALL_MS - 300);
    assert_null(seen[0].msg);
    uint32_t entry = 0;
    assert_true(queue_dead_next(k.q, &entry, &k.change)); /* sorts them */
    assert_peek(&k, QUEUE_DEAD, order, 3);
    kit_end(&k);
}

static void one_is_told_while_it_is_there(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_peeked p;
    uint64_t id = kit_put(&k);
    assert_true(queue_look(k.q, k.entries[id], id, &p));
    assert_int_equal(p.id, id);
    assert_non_null(p.msg);
    (void)queue_evict(k.q, k.entries[id], id);
    assert_true(queue_look(k.q, k.entries[id], id, &p));
    assert_null(p.msg);
    assert_int_equal(queue_remove(k.q, k.entries[id], id, QUEUE_EXIT_PURGED, &k.change), SL_OK);
    assert_false(queue_look(k.q, k.entries[id], id, &p));
    kit_end(&k);
}

static void looking_wants_no_bodies(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t id = kit_put(&k), ids[4];
    uint32_t entries[4];
    (void)queue_evict(k.q, k.entries[id], id);
    assert_int_equal(queue_peek(k.q, QUEUE_READY, seen, MANY), 1);
    assert_int_equal(queue_wanted(k.q, ids, entries, 4, 1000), 1); /* nobody asked for it yet */
    kit_end(&k);
}

/* ---- the order is the one in which they are then leased ---- */

static void random_history(struct kit *k, struct sl_rng *rng)
{
    for (uint32_t i = 0; i < 400; i++) {
        uint64_t dice = sl_rng_below(rng, 10);
        struct message_parts parts = kit_parts(k);
        parts.priority = (uint8_t)(3 + sl_rng_below(rng, 3));
        if (dice == 0)
            parts.deliver_at = k->now.wall_ms + sl_rng_below(rng, 200);
        if (dice < 5 && kit_count(k, QUEUE_READY) < MANY / 2)
            (void)kit_enter(k, &parts, dice == 1 ? QUEUE_HOLD : 0);
        else
            k->last_id--;
        if (dice == 5)
            kit_pass_ms(k, sl_rng_below(rng, 300));
        if (dice == 6)
            kit_tick_all(k);
        if (dice == 7 && k->last_id > 0) {
            int err = queue_unhold(k->q, k->entries[k->last_id], k->last_id);
            assert_true(err == SL_OK || err == SL_ENOENT);
        }
        if (dice > 7 && kit_step(k) == QUEUE_DELIVER)
            kit_answer(k, k->got.lease, sl_rng_below(rng, 3) == 0 ? QUEUE_ACK : QUEUE_RETRY);
    }
}

static void what_is_shown_as_ready_is_leased_in_that_order(void **state)
{
    (void)state;
    uint32_t most = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct queue_config cfg = kit_config();
        struct sl_rng rng;
        cfg.max_attempts = 3;
        cfg.retry_initial_ms = 50;
        struct kit k = kit_with(&cfg);
        sl_rng_seed(&rng, seed);
        (void)kit_consumer(&k, 1, 1);
        random_history(&k, &rng);
        uint32_t n = queue_peek(k.q, QUEUE_READY, seen, MANY);
        assert_int_equal(n, kit_count(&k, QUEUE_READY));
        uint32_t going = 0;
        for (; going < n && !seen[going].held; going++) {
            assert_int_equal(kit_next(&k), seen[going].id);
            assert_int_equal(k.got.attempt, seen[going].attempts + 1);
            kit_answer(&k, k.got.lease, QUEUE_ACK);
        }
        kit_idle(&k); /* the rest is held */
        most = going > most ? going : most;
        kit_end(&k);
    }
    assert_true(most > 20);
}

static void what_is_shown_as_delayed_comes_due_in_that_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct kit k = kit_new();
        struct sl_rng rng;
        sl_rng_seed(&rng, seed);
        for (uint32_t i = 0; i < 100; i++) {
            struct message_parts parts = kit_parts(&k);
            parts.flags = sl_rng_below(&rng, 2) == 0 ? MESSAGE_DELIVER_RELATIVE : 0;
            parts.deliver_at = k.now.steady_ms + 1 + sl_rng_below(&rng, 100000);
            (void)kit_enter(&k, &parts, 0);
        }
        uint32_t n = queue_peek(k.q, QUEUE_DELAYED, seen, 50), shown = 0;
        assert_int_equal(n, 50);
        while (shown < n) {
            kit_pass_ms(&k, seen[shown].wall_ms - k.now.wall_ms);
            while (kit_tick(&k))
                assert_int_equal(k.now.wall_ms, seen[shown++].wall_ms);
        }
        kit_end(&k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ready_ones_stand_by_priority_and_age_whatever_line_they_are_in),
        cmocka_unit_test(those_aside_and_those_held_come_last_and_are_told_as_such),
        cmocka_unit_test(delayed_ones_stand_by_their_due_time_of_either_clock),
        cmocka_unit_test(leased_ones_stand_as_they_were_leased_with_who_has_them),
        cmocka_unit_test(dead_ones_stand_as_they_died_also_after_a_restart),
        cmocka_unit_test(one_is_told_while_it_is_there),
        cmocka_unit_test(looking_wants_no_bodies),
        cmocka_unit_test(what_is_shown_as_ready_is_leased_in_that_order),
        cmocka_unit_test(what_is_shown_as_delayed_comes_due_in_that_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
