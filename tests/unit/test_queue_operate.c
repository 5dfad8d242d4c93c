/* What operators do with a queue: pause it, take messages out of it. */
#include "core/rng.h"
#include "queue_kit.h"

/* ---- pause ---- */

static void a_paused_queue_leases_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 64);
    queue_pause(k.q, true, &k.now);
    uint64_t first = kit_put(&k);
    kit_idle(&k);
    assert_true(queue_is_paused(k.q));
    queue_pause(k.q, false, &k.now);
    assert_int_equal(kit_next(&k), first);
    kit_end(&k);
}

static void what_is_leased_when_it_is_paused_may_be_answered(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 1, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    uint64_t lease = k.got.lease;
    (void)kit_put(&k);
    queue_pause(k.q, true, &k.now);
    kit_answer(&k, lease, QUEUE_ACK);
    kit_idle(&k);
    assert_int_equal(kit_count(&k, QUEUE_READY), 1);
    kit_end(&k);
}

static void retries_come_due_while_it_is_paused_and_go_when_it_is_not(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 64);
    uint64_t id = kit_put(&k);
    (void)kit_next(&k);
    queue_pause(k.q, true, &k.now);
    kit_answer(&k, k.got.lease, QUEUE_RETRY);
    kit_pass_ms(&k, 2000);
    kit_tick_all(&k);
    assert_int_equal(kit_count(&k, QUEUE_READY), 1);
    kit_idle(&k);
    queue_pause(k.q, false, &k.now);
    assert_int_equal(kit_next(&k), id);
    kit_end(&k);
}

static void of_a_paused_queue_nothing_presses_for_workers(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_pressure p;
    (void)kit_put(&k);
    queue_pause(k.q, true, &k.now);
    kit_pass_ms(&k, 5000);
    queue_pressure(k.q, &k.now, &p);
    assert_int_equal(p.ready, 0);
    assert_int_equal(p.oldest_ms, 0);
    queue_pause(k.q, false, &k.now);
    queue_pressure(k.q, &k.now, &p);
    assert_int_equal(p.ready, 1);
    assert_int_equal(p.oldest_ms, 0); /* it did not wait for want of workers */
    kit_end(&k);
}

static void a_paused_queue_makes_nothing_due_for_a_batch_or_a_rate(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_consumer_config cfg = { .batch_max = 10, .batch_wait_ms = 100 };
    (void)queue_consumer_add(k.q, &cfg);
    uint64_t id = kit_put(&k);
    kit_idle(&k);
    assert_int_equal(queue_deadline(k.q), k.now.mono_ms + 100);
    queue_pause(k.q, true, &k.now);
    kit_idle(&k);
    assert_int_equal(queue_deadline(k.q), UINT64_MAX);
    queue_pause(k.q, false, &k.now);
    kit_pass_ms(&k, 100);
    assert_int_equal(kit_next(&k), id);
    queue_batch_end(k.q);
    kit_end(&k);
}

/* ---- removal ---- */

static int take_out(struct kit *k, uint32_t entry, uint64_t id, enum queue_exit exit)
{
    int err = queue_remove(k->q, entry, id, exit, &k->change);
    if (err == SL_OK)
        kit_release_gone(k);
    queue_check(k->q);
    return err;
}

static void what_is_ready_held_delayed_or_dead_can_be_taken_out_and_is_counted(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 1, 1);
    uint64_t dead = kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_KILL);
    struct message_parts held = kit_parts(&k);
    (void)kit_enter(&k, &held, QUEUE_HOLD);
    struct message_parts delayed = kit_parts(&k);
    delayed.deliver_at = k.now.wall_ms + 1000;
    (void)kit_enter(&k, &delayed, 0);
    uint64_t ready = kit_put(&k);
    const uint64_t ids[] = { dead, held.id, delayed.id, ready };
    for (size_t i = 0; i < SL_COUNT(ids); i++) {
        assert_int_equal(take_out(&k, k.entries[ids[i]], ids[i], QUEUE_EXIT_CANCELLED), SL_OK);
        assert_int_equal(k.change.id, ids[i]);
        assert_int_equal(k.change.fate, QUEUE_GONE);
        assert_int_equal(k.change.exit, QUEUE_EXIT_CANCELLED);
    }
    assert_int_equal(queue_counters(k.q)->cancelled, 4);
    assert_int_equal(take_out(&k, k.entries[ready], ready, QUEUE_EXIT_CANCELLED), SL_ENOENT);
    kit_end(&k);
}

static void what_is_leased_cannot_be_taken_out(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 1, 1);
    uint64_t id = kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(take_out(&k, k.got.entry, id, QUEUE_EXIT_CANCELLED), SL_ESTATE);
    kit_answer(&k, k.got.lease, QUEUE_ACK);
    kit_end(&k);
}

static void what_is_taken_out_makes_room(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_messages = 1;
    struct kit k = kit_with(&cfg);
    uint64_t id = kit_put(&k);
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_WAIT);
    assert_int_equal(take_out(&k, k.entries[id], id, QUEUE_EXIT_PURGED), SL_OK);
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_ADMIT);
    kit_end(&k);
}

static void the_next_of_a_key_is_called_when_the_first_is_taken_out(void **state)
{
    (void)state;
    struct kit k = kit_new();
    queue_limit_keys(k.q, &(struct queue_key_limit){ .max = 1, .key = QUEUE_KEY_TOPIC });
    (void)kit_consumer(&k, 64, 64);
    (void)kit_put(&k);
    (void)kit_next(&k);
    uint64_t lease = k.got.lease;
    uint64_t second = kit_put(&k), third = kit_put(&k), fourth = kit_put(&k);
    kit_idle(&k);
    assert_int_equal(take_out(&k, k.entries[third], third, QUEUE_EXIT_CANCELLED), SL_OK); /* from the middle of the line */
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(take_out(&k, k.entries[second], second, QUEUE_EXIT_CANCELLED), SL_OK); /* it was called */
    assert_int_equal(kit_next(&k), fourth);
    kit_end(&k);
}

/* ---- the walk ---- */

static void a_walk_in_pieces_meets_each_once_and_nothing_that_came_later(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t met[64] = { 0 };
    for (uint32_t i = 0; i < 20; i++)
        (void)kit_put(&k);
    struct queue_walk w = { .states = QUEUE_STATE_BIT(QUEUE_READY), .last_id = k.last_id };
    queue_walk_begin(k.q, &w);
    while (!queue_walk_over(&w)) {
        uint32_t looks = 3, entry;
        uint64_t id;
        while (queue_walk_next(k.q, &w, &looks, &entry, &id)) {
            assert_int_equal(entry, k.entries[id]);
            met[id]++;
        }
        if (k.last_id < 60)
            (void)kit_put(&k);
    }
    for (uint64_t id = 1; id < 60; id++)
        assert_int_equal(met[id], id <= 20);
    kit_end(&k);
}

static void a_walk_looks_at_no_more_than_it_may(void **state)
{
    (void)state;
    struct kit k = kit_new();
    for (uint32_t i = 0; i < 20; i++)
        (void)kit_put(&k);
    struct queue_walk w = { .states = 0 };
    uint32_t looks = 7, entry;
    uint64_t id;
    queue_walk_begin(k.q, &w);
    assert_false(queue_walk_next(k.q, &w, &looks, &entry, &id));
    assert_int_equal(looks, 0);
    assert_int_equal(w.at, 8);
    kit_end(&k);
}

static void of_the_dead_a_walk_meets_those_that_died_by_then(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 1, 1);
    uint64_t early = kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_KILL);
    struct queue_walk w = { .states = QUEUE_STATE_BIT(QUEUE_DEAD), .last_id = UINT64_MAX, .died_ms = k.now.steady_ms };
    (void)kit_put(&k);
    kit_pass_ms(&k, 1);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_KILL);
    uint32_t looks = UINT32_MAX, entry;
    uint64_t id;
    queue_walk_begin(k.q, &w);
    assert_true(queue_walk_next(k.q, &w, &looks, &entry, &id));
    assert_int_equal(id, early);
    assert_false(queue_walk_next(k.q, &w, &looks, &entry, &id));
    assert_true(queue_walk_over(&w));
    kit_end(&k);
}

/* ---- at random, against a list ---- */

#define LIVE 200u

struct thing {
    uint64_t id, lease;
    uint32_t entry;
    enum queue_state state;
    bool marked; /* it has been in a state that the purge wants ever since that began */
};

struct world {
    struct kit k;
    struct sl_rng rng;
    struct thing things[LIVE];
    uint32_t n;
    struct queue_walk purge;
    bool purging;
    uint64_t purged, cancelled, leased_refused, purges, left_to_leases;
};

static struct thing *thing_of(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->things[i].id == id)
            return &w->things[i];
    }
    fail_msg("the list does not know %u", (unsigned)id);
    return NULL;
}

static void forget(struct world *w, struct thing *t)
{
    *t = w->things[--w->n];
}

static void note(struct world *w)
{
    struct thing *t = thing_of(w, w->k.change.id);
    if (w->k.change.fate == QUEUE_GONE) {
        forget(w, t);
        return;
    }
    t->state = w->k.change.state;
    t->marked = t->marked && (w->purge.states & QUEUE_STATE_BIT(t->state)) != 0;
}

static void op_put(struct world *w)
{
    if (w->n == LIVE)
        return;
    struct message_parts parts = kit_parts(&w->k);
    parts.priority = (uint8_t)sl_rng_below(&w->rng, 10);
    if (sl_rng_below(&w->rng, 4) == 0)
        parts.deliver_at = w->k.now.wall_ms + 1 + sl_rng_below(&w->rng, 500);
    uint32_t entry = kit_enter(&w->k, &parts, 0);
    w->things[w->n++] = (struct thing){ .id = parts.id, .entry = entry, .state = parts.deliver_at == 0 ? QUEUE_READY : QUEUE_DELAYED };
}

static void op_lease(struct world *w)
{
    if (kit_step(&w->k) != QUEUE_DELIVER)
        return;
    struct thing *t = thing_of(w, message_id(w->k.got.msg));
    assert_int_equal(t->state, QUEUE_READY);
    t->state = QUEUE_LEASED;
    t->lease = w->k.got.lease;
    t->marked = false;
}

static void op_answer(struct world *w)
{
    static const enum queue_verb verbs[] = { QUEUE_ACK, QUEUE_RETRY, QUEUE_RELEASE, QUEUE_KILL };
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->things[i].state != QUEUE_LEASED)
            continue;
        kit_answer(&w->k, w->things[i].lease, verbs[sl_rng_below(&w->rng, SL_COUNT(verbs))]);
        note(w);
        return;
    }
}

static void op_time(struct world *w)
{
    kit_pass_ms(&w->k, sl_rng_below(&w->rng, 300));
    while (kit_tick(&w->k))
        note(w);
}

static void op_cancel(struct world *w)
{
    if (w->n == 0)
        return;
    struct thing t = w->things[sl_rng_below(&w->rng, w->n)];
    int err = take_out(&w->k, t.entry, t.id, QUEUE_EXIT_CANCELLED);
    assert_int_equal(err, t.state == QUEUE_LEASED ? SL_ESTATE : SL_OK);
    w->leased_refused += err != SL_OK;
    if (err != SL_OK)
        return;
    note(w);
    w->cancelled++;
}

static void purge_begin(struct world *w)
{
    static const uint32_t masks[] = {
        QUEUE_STATE_BIT(QUEUE_READY), QUEUE_STATE_BIT(QUEUE_DELAYED), QUEUE_STATE_BIT(QUEUE_DEAD), QUEUE_STATE_BIT(QUEUE_READY) | QUEUE_STATE_BIT(QUEUE_DELAYED),
    };
    w->purge = (struct queue_walk){
        .states = masks[sl_rng_below(&w->rng, SL_COUNT(masks))], .last_id = w->k.last_id, .died_ms = w->k.now.steady_ms,
    };
    queue_walk_begin(w->k.q, &w->purge);
    w->purging = true;
    w->purges++;
    for (uint32_t i = 0; i < w->n; i++)
        w->things[i].marked = (w->purge.states & QUEUE_STATE_BIT(w->things[i].state)) != 0;
}

static void purge_end(struct world *w)
{
    w->purging = false;
    for (uint32_t i = 0; i < w->n; i++) {
        assert_false(w->things[i].marked); /* what was there all the time has gone */
        w->left_to_leases += w->things[i].state == QUEUE_LEASED;
    }
}

static void op_purge(struct world *w)
{
    uint32_t looks = 1 + (uint32_t)sl_rng_below(&w->rng, 300), entry;
    uint64_t id;
    if (!w->purging) {
        if (sl_rng_below(&w->rng, 20) > 0)
            return;
        purge_begin(w);
    }
    while (queue_walk_next(w->k.q, &w->purge, &looks, &entry, &id)) {
        const struct thing *t = thing_of(w, id);
        assert_int_equal(t->entry, entry);
        assert_true(id <= w->purge.last_id && (w->purge.states & QUEUE_STATE_BIT(t->state)) != 0);
        assert_int_equal(take_out(&w->k, entry, id, QUEUE_EXIT_PURGED), SL_OK);
        note(w);
        w->purged++;
    }
    if (queue_walk_over(&w->purge))
        purge_end(w);
}

static void compare(struct world *w)
{
    uint64_t count[QUEUE_NSTATES] = { 0 };
    for (uint32_t i = 0; i < w->n; i++)
        count[w->things[i].state]++;
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        assert_int_equal(kit_count(&w->k, (enum queue_state)s), count[s]);
}

typedef void operation(struct world *w);
static operation *const operations[] = { op_put, op_put, op_put, op_put, op_put, op_lease, op_lease, op_answer, op_time, op_cancel, op_purge };

static void purges_and_cancels_at_random_take_what_a_list_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world *w = SL_NEW(struct world);
        w->k = kit_new();
        sl_rng_seed(&w->rng, seed);
        (void)kit_consumer(&w->k, 16, 16);
        for (uint32_t i = 0; i < 20000; i++) {
            operations[sl_rng_below(&w->rng, SL_COUNT(operations))](w);
            compare(w);
        }
        assert_true(w->purged > 500 && w->cancelled > 500 && w->leased_refused > 50 && w->purges > 10 && w->left_to_leases > 10);
        assert_int_equal(queue_counters(w->k.q)->purged, w->purged);
        assert_int_equal(queue_counters(w->k.q)->cancelled, w->cancelled);
        kit_end(&w->k);
        sl_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_queue_leases_nothing_until_it_is_resumed),
        cmocka_unit_test(what_is_leased_when_it_is_paused_may_be_answered),
        cmocka_unit_test(retries_come_due_while_it_is_paused_and_go_when_it_is_not),
        cmocka_unit_test(of_a_paused_queue_nothing_presses_for_workers),
        cmocka_unit_test(a_paused_queue_makes_nothing_due_for_a_batch_or_a_rate),
        cmocka_unit_test(what_is_ready_held_delayed_or_dead_can_be_taken_out_and_is_counted),
        cmocka_unit_test(what_is_leased_cannot_be_taken_out),
        cmocka_unit_test(what_is_taken_out_makes_room),
        cmocka_unit_test(the_next_of_a_key_is_called_when_the_first_is_taken_out),
        cmocka_unit_test(a_walk_in_pieces_meets_each_once_and_nothing_that_came_later),
        cmocka_unit_test(a_walk_looks_at_no_more_than_it_may),
        cmocka_unit_test(of_the_dead_a_walk_meets_those_that_died_by_then),
        cmocka_unit_test(purges_and_cancels_at_random_take_what_a_list_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
