/* What may enter, what leaves to make room, bodies that come and go, restart. */
#include "queue_kit.h"

/* ---- admission ---- */

static struct kit kit_bounded(enum queue_overflow overflow, uint64_t max_messages)
{
    struct queue_config cfg = kit_config();
    cfg.overflow = overflow;
    cfg.max_messages = max_messages;
    return kit_with(&cfg);
}

static void a_full_queue_answers_as_its_policy_says(void **state)
{
    (void)state;
    static const struct {
        enum queue_overflow overflow;
        enum queue_admission full;
    } rows[] = {
        {QUEUE_BLOCK,       QUEUE_WAIT  },
        {QUEUE_REJECT,      QUEUE_REFUSE},
        {QUEUE_DROP_OLDEST, QUEUE_ADMIT },
    };
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        struct kit k = kit_bounded(rows[i].overflow, 2);
        (void)kit_put(&k);
        assert_int_equal(queue_admits(k.q, 1, 10), QUEUE_ADMIT);
        (void)kit_put(&k);
        assert_int_equal(queue_admits(k.q, 1, 10), rows[i].full);
        assert_int_equal(queue_admits(k.q, 3, 10), QUEUE_REFUSE);
        assert_int_equal(queue_admits(k.q, 1, 1000001), QUEUE_REFUSE);
        kit_end(&k);
    }
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_bytes = 2 * kit_message_bytes();
    struct kit k = kit_with(&cfg);
    (void)kit_put(&k);
    assert_int_equal(queue_admits(k.q, 1, kit_message_bytes()), QUEUE_ADMIT);
    assert_int_equal(queue_admits(k.q, 1, kit_message_bytes() + 1), QUEUE_WAIT);
    assert_int_equal(queue_admits(k.q, 1, UINT64_MAX), QUEUE_REFUSE);
    kit_end(&k);
}

static void depth_counts_ready_delayed_and_leased_but_not_dead(void **state)
{
    (void)state;
    struct kit k = kit_bounded(QUEUE_BLOCK, 2);
    (void)kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    (void)kit_next(&k);
    kit_answer(&k, k.got.lease, QUEUE_RETRY);
    (void)kit_put(&k);
    (void)kit_next(&k);
    assert_int_equal(kit_count(&k, QUEUE_DELAYED), 1);
    assert_int_equal(kit_count(&k, QUEUE_LEASED), 1);
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_WAIT);
    kit_answer(&k, k.got.lease, QUEUE_KILL);
    assert_int_equal(kit_count(&k, QUEUE_DEAD), 1);
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_ADMIT);
    struct queue_depth d;
    queue_depth(k.q, &d);
    assert_int_equal(d.bytes, kit_message_bytes());
    assert_int_equal(d.dead_bytes, kit_message_bytes());
    assert_true(d.memory >= 2 * kit_message_bytes());
    kit_end(&k);
}

static void drop_oldest_drops_the_oldest_ready_of_any_priority(void **state)
{
    (void)state;
    struct kit k = kit_bounded(QUEUE_DROP_OLDEST, 3);
    (void)kit_consumer(&k, 1, 1);
    (void)kit_put_priority(&k, 9);
    assert_int_equal(kit_next(&k), 1); /* leased: it may not be dropped */
    (void)kit_put_priority(&k, 9);
    (void)kit_put_priority(&k, 0);
    assert_true(queue_make_room(k.q, 1, 1, &k.change));
    assert_int_equal(k.change.id, 2);
    assert_int_equal(k.change.fate, QUEUE_GONE);
    assert_int_equal(k.change.exit, QUEUE_EXIT_DROPPED);
    message_unref(k.change.msg);
    assert_false(queue_make_room(k.q, 1, 1, &k.change));
    assert_int_equal(queue_counters(k.q)->dropped, 1);
    kit_end(&k);
}

static void drop_oldest_makes_room_for_as_many_bytes_as_are_asked(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.overflow = QUEUE_DROP_OLDEST;
    cfg.max_bytes = 4 * kit_message_bytes();
    struct kit k = kit_with(&cfg);
    for (int i = 0; i < 4; i++)
        (void)kit_put(&k);
    uint64_t bytes = 3 * kit_message_bytes();
    assert_int_equal(queue_admits(k.q, 1, bytes), QUEUE_ADMIT);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_true(queue_make_room(k.q, 1, bytes, &k.change));
        assert_int_equal(k.change.id, id);
        message_unref(k.change.msg);
    }
    assert_false(queue_make_room(k.q, 1, bytes, &k.change));
    kit_end(&k);
}

static void drop_oldest_blocks_when_nothing_is_ready(void **state)
{
    (void)state;
    struct kit k = kit_bounded(QUEUE_DROP_OLDEST, 2);
    (void)kit_consumer(&k, 64, 8);
    for (int i = 0; i < 2; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
    }
    assert_int_equal(queue_admits(k.q, 1, 1), QUEUE_WAIT);
    assert_false(queue_make_room(k.q, 1, 1, &k.change));
    kit_end(&k);
}

static void only_drop_oldest_makes_room(void **state)
{
    (void)state;
    struct kit k = kit_bounded(QUEUE_BLOCK, 1);
    (void)kit_put(&k);
    assert_false(queue_make_room(k.q, 1, 1, &k.change));
    kit_end(&k);
}

/* ---- bodies ---- */

static uint32_t evict_all(struct kit *k, uint64_t ids)
{
    uint32_t evicted = 0;
    for (uint64_t id = 1; id <= ids; id++)
        evicted += queue_evict(k->q, k->entries[id], id) > 0;
    queue_check(k->q);
    return evicted;
}

static struct message *body_of(uint64_t id)
{
    struct kit k = {.now = {.wall_ms = KIT_WALL_MS}, .last_id = id - 1};
    struct message_parts parts = kit_parts(&k);
    return message_new(&parts);
}

static void give(struct kit *k, uint64_t id)
{
    struct message *m = body_of(id);
    queue_give_body(k->q, k->entries[id], id, m);
    message_unref(m);
    queue_check(k->q);
}

static void an_evicted_body_is_asked_for_once_and_waited_for(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t ids[4];
    uint32_t entries[4];
    (void)kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    assert_int_equal(evict_all(&k, 1), 1);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    assert_int_equal(queue_wanted(k.q, ids, entries, 4, 1000), 1);
    assert_int_equal(ids[0], 1);
    assert_int_equal(entries[0], k.entries[1]);
    kit_idle(&k);
    assert_int_equal(queue_wanted(k.q, ids, entries, 4, 1000), 0);
    give(&k, 1);
    assert_int_equal(kit_next(&k), 1);
    assert_int_equal(queue_evict(k.q, k.entries[1], 1), 0); /* leased */
    kit_end(&k);
}

static void a_body_that_could_not_be_read_may_be_asked_for_again(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t id;
    uint32_t entry;
    (void)kit_consumer(&k, 64, 8);
    (void)kit_put(&k);
    assert_int_equal(evict_all(&k, 1), 1);
    assert_int_equal(queue_wanted(k.q, &id, &entry, 1, 1000), 1);
    queue_body_failed(k.q, entry, id);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    assert_int_equal(queue_wanted(k.q, &id, &entry, 1, 1000), 1);
    kit_end(&k);
}

static void wanted_follows_the_order_of_leasing_and_its_limits(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint64_t ids[8];
    uint32_t entries[8];
    for (int i = 0; i < 6; i++)
        (void)kit_put_priority(&k, i == 5 ? 9 : 4);
    assert_int_equal(evict_all(&k, 6), 6);
    assert_int_equal(queue_wanted(k.q, ids, entries, 2, 100000), 2);
    assert_int_equal(ids[0], 6);
    assert_int_equal(ids[1], 1);
    assert_int_equal(queue_wanted(k.q, ids, entries, 8, 2 * kit_message_bytes()), 2);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    assert_int_equal(queue_wanted(k.q, ids, entries, 8, 1), 1); /* one, however large */
    kit_end(&k);
}

/* The dropped one's body is still under way when its entry serves another message. */
static void a_body_for_an_entry_that_has_left_is_ignored(void **state)
{
    (void)state;
    struct kit k = kit_bounded(QUEUE_DROP_OLDEST, 1);
    uint64_t id;
    uint32_t entry;
    (void)kit_put(&k);
    assert_int_equal(evict_all(&k, 1), 1);
    assert_int_equal(queue_wanted(k.q, &id, &entry, 1, 1000), 1);
    assert_true(queue_make_room(k.q, 1, 1, &k.change));
    assert_null(k.change.msg);
    give(&k, 1);
    (void)kit_put(&k);
    assert_int_equal(k.entries[2], k.entries[1]);
    give(&k, 1);
    assert_int_equal(queue_evict(k.q, k.entries[1], 1), 0);
    (void)kit_consumer(&k, 1, 1);
    assert_int_equal(kit_next(&k), 2);
    kit_end(&k);
}

static void what_is_not_stored_is_not_evicted(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.durable = false;
    struct kit k = kit_with(&cfg);
    (void)kit_put(&k);
    assert_int_equal(evict_all(&k, 1), 0);
    kit_end(&k);
}

static void a_last_attempt_without_body_is_asked_for_before_others(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    uint64_t id;
    uint32_t entry;
    (void)kit_consumer(&k, 64, 1);
    (void)kit_put(&k);
    kit_fail_attempts(&k, 1);
    (void)kit_put(&k);
    assert_int_equal(evict_all(&k, 2), 2);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    assert_int_equal(queue_wanted(k.q, &id, &entry, 1, 1000), 1);
    assert_int_equal(id, 1);
    kit_end(&k);
}

/* However many stand before it with their bodies: else dispatch would ask for ever. */
static void what_dispatch_stands_before_is_always_among_the_wanted(void **state)
{
    (void)state;
    struct queue_config cfg = kit_config();
    cfg.max_attempts = 2;
    struct kit k = kit_with(&cfg);
    uint64_t id;
    uint32_t entry;
    uint32_t lost = kit_consumer(&k, 200, 200);
    for (int i = 0; i < 200; i++) {
        (void)kit_put(&k);
        (void)kit_next(&k);
    }
    struct queue_loss crash = {.cause = QUEUE_CAUSE_SIGNAL};
    assert_int_equal(kit_lose(&k, lost, &crash), 200);
    (void)kit_consumer(&k, 4, 2);
    (void)kit_consumer(&k, 4, 2);
    for (int i = 0; i < 2; i++) {
        (void)kit_put_priority(&k, 9);
        (void)kit_next(&k);
    }
    kit_pass_ms(&k, 1000);
    kit_tick_all(&k); /* 200 have one attempt left, nobody is idle */
    uint64_t last = kit_put(&k);
    assert_true(queue_evict(k.q, k.entries[last], last) > 0);
    assert_int_equal(kit_step(&k), QUEUE_FETCH);
    assert_int_equal(queue_wanted(k.q, &id, &entry, 1, 1000), 1);
    assert_int_equal(id, last);
    kit_idle(&k);
    kit_end(&k);
}

/* ---- restart ---- */

static void restore(struct kit *k, struct queue_restored r)
{
    r.bytes = (uint32_t)kit_message_bytes();
    r.priority = MESSAGE_PRIORITY_DEFAULT;
    queue_restore(k->q, &r, &k->now);
    queue_check(k->q);
}

/* Gives every wanted body and takes the next delivery. */
static uint64_t next_restored(struct kit *k)
{
    uint64_t id;
    uint32_t entry;
    while (kit_step(k) == QUEUE_FETCH) {
        assert_int_equal(queue_wanted(k->q, &id, &entry, 1, 1000), 1);
        struct message *m = body_of(id);
        queue_give_body(k->q, entry, id, m);
        message_unref(m);
    }
    return message_id(k->got.msg);
}

static void everything_restored_is_redelivered(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    restore(&k, (struct queue_restored){.id = 1, .state = QUEUE_READY});
    restore(&k, (struct queue_restored){.id = 2, .state = QUEUE_READY, .attempts = 2});
    restore(&k, (struct queue_restored){.id = 3, .state = QUEUE_DELAYED, .due_ms = 1});
    kit_tick_all(&k);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(next_restored(&k), id);
        assert_true(k.got.redelivered);
        assert_int_equal(k.got.attempt, id == 2 ? 3 : 1);
    }
    assert_int_equal(queue_counters(k.q)->accepted, 0);
    kit_end(&k);
}

static void a_restored_retry_waits_at_most_the_longest_retry(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_restored r = {
        .id = 1, .state = QUEUE_DELAYED, .attempts = 1, .due_ms = KIT_WALL_MS + 3600000};
    restore(&k, r);
    r.id = 2;
    r.attempts = 0;
    restore(&k, r);
    kit_pass_ms(&k, 60000);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, 1);
    assert_false(kit_tick(&k));
    kit_pass_ms(&k, 3600000);
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, 2);
    kit_end(&k);
}

static void an_absolute_time_stays_absolute_after_a_restart(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct queue_restored r = {.id = 1, .state = QUEUE_DELAYED, .due_ms = KIT_WALL_MS + 100000};
    restore(&k, r);
    r.id = 2;
    r.due_absolute = true;
    restore(&k, r);
    k.now.wall_ms += 200000; /* a jump: steady time stays */
    assert_true(kit_tick(&k));
    assert_int_equal(k.change.id, 2);
    assert_false(kit_tick(&k));
    kit_end(&k);
}

static void what_expired_while_we_were_away_leaves_without_being_read(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)kit_consumer(&k, 64, 8);
    restore(&k, (struct queue_restored){.id = 1, .state = QUEUE_READY, .expires_at = KIT_WALL_MS});
    assert_int_equal(kit_step(&k), QUEUE_DROP);
    assert_int_equal(k.change.exit, QUEUE_EXIT_EXPIRED);
    assert_null(k.change.msg);
    kit_idle(&k);
    kit_end(&k);
}

static void restored_dead_letters_stand_in_order_of_death(void **state)
{
    (void)state;
    static const uint64_t died[] = {500, 100, 300, 100};
    static const uint64_t order[] = {2, 4, 3, 1};
    struct kit k = kit_new();
    for (size_t i = 0; i < SL_COUNT(died); i++)
        restore(&k, (struct queue_restored){.id = i + 1,
                                            .state = QUEUE_DEAD,
                                            .attempts = 5,
                                            .due_ms = KIT_WALL_MS + died[i]});
    uint32_t entry = 0;
    for (size_t i = 0; i < SL_COUNT(order); i++) {
        assert_true(queue_dead_next(k.q, &entry, &k.change));
        assert_int_equal(k.change.id, order[i]);
        assert_int_equal(k.change.entry, entry);
        assert_int_equal(k.change.due_steady_ms, KIT_WALL_MS + died[order[i] - 1]);
        assert_int_equal(k.change.attempts, 5);
    }
    assert_false(queue_dead_next(k.q, &entry, &k.change));
    kit_end(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_answers_as_its_policy_says),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(depth_counts_ready_delayed_and_leased_but_not_dead),
        cmocka_unit_test(drop_oldest_drops_the_oldest_ready_of_any_priority),
        cmocka_unit_test(drop_oldest_makes_room_for_as_many_bytes_as_are_asked),
        cmocka_unit_test(drop_oldest_blocks_when_nothing_is_ready),
        cmocka_unit_test(only_drop_oldest_makes_room),
        cmocka_unit_test(an_evicted_body_is_asked_for_once_and_waited_for),
        cmocka_unit_test(a_body_that_could_not_be_read_may_be_asked_for_again),
        cmocka_unit_test(wanted_follows_the_order_of_leasing_and_its_limits),
        cmocka_unit_test(a_body_for_an_entry_that_has_left_is_ignored),
        cmocka_unit_test(what_is_not_stored_is_not_evicted),
        cmocka_unit_test(a_last_attempt_without_body_is_asked_for_before_others),
        cmocka_unit_test(what_dispatch_stands_before_is_always_among_the_wanted),
        cmocka_unit_test(everything_restored_is_redelivered),
        cmocka_unit_test(a_restored_retry_waits_at_most_the_longest_retry),
        cmocka_unit_test(an_absolute_time_stays_absolute_after_a_restart),
        cmocka_unit_test(what_expired_while_we_were_away_leaves_without_being_read),
        cmocka_unit_test(restored_dead_letters_stand_in_order_of_death),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
