/* Dead letters in a queue: cause and time, places that outlive what happens, and who
 * expires while it waits. */
#include "queue_kit.h"

#include "core/rng.h"

/* So many, one a millisecond. */
static void die(struct kit *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        (void)kit_put(k);
        (void)kit_next(k);
        kit_answer(k, k->got.lease, QUEUE_KILL);
        kit_pass_ms(k, 1);
    }
}

static void leave(struct kit *k, const struct queue_change *c)
{
    assert_int_equal(queue_dead_leave(k->q, c->entry, c->id, QUEUE_EXIT_MOVED, &k->change), SL_OK);
    kit_release_gone(k);
    queue_check(k->q);
}

static void cause_and_time_are_known_without_the_store(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 1;
    struct kit k = kit_with(&cfg);
    uint32_t slot = kit_limited_consumer(&k, 1, 50);
    struct queue_change c;
    uint32_t entry = 0;
    die(&k, 1);
    (void)kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(kit_lose(&k, slot, &(struct queue_loss){ .cause = QUEUE_CAUSE_SIGNAL }), 1);
    assert_true(queue_dead_next(k.q, &entry, &c));
    assert_true(c.cause == QUEUE_CAUSE_REJECTED && c.due_steady_ms == KIT_WALL_MS && c.attempts == 1 && c.id == 1);
    assert_int_equal(c.bytes, kit_message_bytes());
    assert_true(queue_dead_next(k.q, &entry, &c));
    assert_true(c.cause == QUEUE_CAUSE_SIGNAL && c.due_steady_ms == KIT_WALL_MS + 1 && c.id == 2);
    assert_false(queue_dead_next(k.q, &entry, &c));
    kit_end(&k);
}

static void every_cause_fits(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_change c;
    uint32_t entry = 0;
    for (uint32_t cause = 0; cause <= QUEUE_CAUSE_WORKER_KILLED; cause++) {
        struct queue_restored r = { .id = ++k.last_id, .bytes = 100, .priority = 9, .state = QUEUE_DEAD, .due_ms = 1000 + cause, .cause = (enum queue_cause)cause };
        queue_restore(k.q, &r, &k.now);
    }
    for (uint32_t cause = 0; cause <= QUEUE_CAUSE_WORKER_KILLED; cause++) {
        assert_true(queue_dead_next(k.q, &entry, &c));
        assert_int_equal(c.cause, cause);
    }
    kit_end(&k);
}

static void a_cursor_stands_at_the_next_when_its_own_leaves(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_dead_cursor at, ends;
    struct queue_change c;
    (void)kit_consumer(&k, 8, 8);
    die(&k, 4);
    queue_dead_begin(k.q, &at, false);
    queue_dead_begin(k.q, &ends, false);
    queue_dead_pass(k.q, &at);
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 2);
    leave(&k, &c);
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 3);
    leave(&k, &c);
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 4);
    leave(&k, &c);
    assert_false(queue_dead_look(k.q, &at, &c));
    die(&k, 1); /* it does not follow */
    assert_false(queue_dead_look(k.q, &at, &c));
    assert_true(queue_dead_look(k.q, &ends, &c) && c.id == 1);
    queue_dead_end(k.q, &at);
    queue_dead_end(k.q, &ends);
    assert_int_equal(queue_counters(k.q)->moved, 3);
    kit_end(&k);
}

static void a_cursor_that_follows_waits_for_the_next_death(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_dead_cursor at;
    struct queue_change c;
    (void)kit_consumer(&k, 8, 8);
    queue_dead_begin(k.q, &at, true);
    assert_false(queue_dead_look(k.q, &at, &c));
    die(&k, 2);
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 1);
    queue_dead_pass(k.q, &at);
    queue_dead_pass(k.q, &at);
    assert_false(queue_dead_look(k.q, &at, &c));
    die(&k, 1);
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 3);
    queue_dead_end(k.q, &at);
    kit_end(&k);
}

static void a_cursor_finds_the_place_of_a_dead_letter_and_of_nothing_else(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_dead_cursor at;
    struct queue_change c;
    (void)kit_consumer(&k, 1, 1);
    die(&k, 3);
    uint64_t ready = kit_put(&k);
    queue_dead_begin(k.q, &at, false);
    assert_true(queue_dead_seek(k.q, &at, k.entries[2], 2));
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 2);
    leave(&k, &c);
    assert_false(queue_dead_seek(k.q, &at, k.entries[2], 2));
    assert_false(queue_dead_seek(k.q, &at, k.entries[ready], ready));
    assert_true(queue_dead_look(k.q, &at, &c) && c.id == 3);
    assert_int_equal(queue_dead_leave(k.q, k.entries[ready], ready, QUEUE_EXIT_DEAD_REMOVED, &c), SL_ENOENT);
    assert_false(queue_is_dead(k.q, k.entries[ready], ready));
    queue_dead_end(k.q, &at);
    kit_end(&k);
}

/* Against a list that is walked from its beginning each time. */
static void cursors_survive_whatever_leaves(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct sl_rng rng;
    struct queue_dead_cursor at[3];
    uint64_t passed[3] = { 0 }; /* the id that each has passed; ids die in their order */
    struct queue_change c;
    sl_rng_seed(&rng, 7);
    (void)kit_consumer(&k, 8, 8);
    for (int i = 0; i < 3; i++)
        queue_dead_begin(k.q, &at[i], true);
    for (int step = 0; step < 3000; step++) {
        uint32_t entry = 0, n = (uint32_t)sl_rng_below(&rng, 6), which = (uint32_t)sl_rng_below(&rng, 3);
        if (sl_rng_below(&rng, 2) == 0) {
            die(&k, 1);
        } else if (sl_rng_below(&rng, 2) == 0 && queue_dead_look(k.q, &at[which], &c)) {
            queue_dead_pass(k.q, &at[which]);
            passed[which] = c.id;
        } else {
            bool any = false;
            while (n-- > 0 && queue_dead_next(k.q, &entry, &c))
                any = true;
            if (any)
                leave(&k, &c);
        }
        for (int i = 0; i < 3; i++) {
            uint64_t expected = 0;
            entry = 0;
            while (expected == 0 && queue_dead_next(k.q, &entry, &c))
                expected = c.id > passed[i] ? c.id : 0;
            bool there = queue_dead_look(k.q, &at[i], &c);
            assert_true(there == (expected != 0) && (!there || c.id == expected));
        }
    }
    for (int i = 0; i < 3; i++)
        queue_dead_end(k.q, &at[i]);
    kit_end(&k);
}

/* ---- expiry ---- */

static struct kit expiring(bool ordered)
{
    struct queue_config cfg = kit_config();
    cfg.dead_expired = true;
    cfg.dead_max_messages = 2;
    cfg.order = (struct queue_order){ .on = ordered, .key = QUEUE_KEY_TOPIC };
    return kit_with(&cfg);
}

static uint64_t put_expiring(struct kit *k, uint64_t ms)
{
    struct message_parts parts = kit_parts(k);
    parts.expires_at = k->now.steady_ms + ms;
    parts.flags = MESSAGE_EXPIRES_RELATIVE;
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

static void what_expires_while_it_waits_is_dead_and_makes_way(void **state)
{
    (void)state;
    for (int ordered = 0; ordered < 2; ordered++) {
        struct kit k = expiring(ordered == 1);
        uint64_t first = put_expiring(&k, 10);
        (void)put_expiring(&k, 10);
        uint64_t stays = kit_put(&k);
        kit_pass_ms(&k, 10);
        kit_idle(&k); /* nobody is there: nobody looks */
        (void)kit_consumer(&k, 8, 8);
        assert_int_equal(kit_step(&k), QUEUE_DROP);
        assert_true(k.change.fate == QUEUE_MOVED && k.change.state == QUEUE_DEAD && k.change.id == first);
        assert_true(k.change.cause == QUEUE_CAUSE_EXPIRED && k.change.attempts == 0 && k.change.due_steady_ms == k.now.steady_ms);
        assert_non_null(k.change.msg);
        assert_int_equal(kit_step(&k), QUEUE_DROP);
        assert_int_equal(kit_next(&k), stays);
        assert_int_equal(kit_count(&k, QUEUE_DEAD), 2);
        assert_int_equal(queue_counters(k.q)->expired_dead, 2);
        assert_int_equal(queue_counters(k.q)->expired, 0);
        assert_int_equal(queue_counters(k.q)->dead, 2);
        kit_end(&k);
    }
}

static void expired_dead_letters_keep_to_their_caps(void **state)
{
    (void)state;
    struct kit k = expiring(false);
    for (int i = 0; i < 3; i++)
        (void)put_expiring(&k, 10);
    kit_pass_ms(&k, 10);
    (void)kit_consumer(&k, 8, 8);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_true(queue_trim_dead(k.q, &k.change));
    assert_int_equal(k.change.exit, QUEUE_EXIT_DEAD_DROPPED);
    kit_release_gone(&k);
    assert_false(queue_trim_dead(k.q, &k.change));
    kit_end(&k);
}

static void a_key_is_free_when_its_called_one_expires(void **state)
{
    (void)state;
    struct kit k = expiring(false);
    queue_limit_keys(k.q, &(struct queue_key_limit){ .max = 1, .key = QUEUE_KEY_TOPIC });
    (void)kit_consumer(&k, 8, 8);
    (void)kit_put(&k);
    (void)put_expiring(&k, 10);
    uint64_t last = kit_put(&k);
    (void)kit_next(&k);
    uint64_t lease = k.got.lease;
    kit_idle(&k); /* both stand aside */
    kit_pass_ms(&k, 10);
    kit_answer(&k, lease, QUEUE_ACK);
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(kit_next(&k), last);
    kit_end(&k);
}

static void room_is_what_is_free_whatever_the_policy(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_messages = 2;
    cfg.overflow = QUEUE_DROP_OLDEST;
    struct kit k = kit_with(&cfg);
    (void)kit_put(&k);
    assert_true(queue_has_room(k.q, 1, 1));
    (void)kit_put(&k);
    assert_false(queue_has_room(k.q, 1, 1));
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_ADMIT);
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cause_and_time_are_known_without_the_store),
        cmocka_unit_test(every_cause_fits),
        cmocka_unit_test(a_cursor_stands_at_the_next_when_its_own_leaves),
        cmocka_unit_test(a_cursor_that_follows_waits_for_the_next_death),
        cmocka_unit_test(a_cursor_finds_the_place_of_a_dead_letter_and_of_nothing_else),
        cmocka_unit_test(cursors_survive_whatever_leaves),
        cmocka_unit_test(what_expires_while_it_waits_is_dead_and_makes_way),
        cmocka_unit_test(expired_dead_letters_keep_to_their_caps),
        cmocka_unit_test(a_key_is_free_when_its_called_one_expires),
        cmocka_unit_test(room_is_what_is_free_whatever_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
