/* The number of workers follows the load: every claim on a clock of its own. */
#include "claims.h"
#include "pool/size.h"

struct load {
    struct size size;
    struct size_seen seen;
    struct sl_rng rng;
};

static void begin(struct load *l, uint32_t min, uint32_t max, uint64_t idle_ms)
{
    *l = (struct load){ .seen = { .now_ms = 1000, .concurrency = 1 } };
    sl_rng_seed(&l->rng, 1);
    size_init(&l->size, &(struct size_config){ min, max, idle_ms }, l->seen.now_ms);
}

/* All workers are busy, and so many messages wait since so long. */
static uint32_t pressed(struct load *l, uint64_t after_ms, uint64_t ready, uint64_t oldest_ms, uint32_t starting)
{
    l->seen.now_ms += after_ms;
    l->seen.ready = ready;
    l->seen.oldest_ms = oldest_ms;
    l->seen.starting = starting;
    l->seen.free = 0;
    l->seen.started = l->size.wanted - starting;
    l->seen.jobs++;
    return size_step(&l->size, &l->seen, &l->rng);
}

/* Nothing waits; `busy` workers have a message. */
static uint32_t calm(struct load *l, uint64_t at_ms, uint32_t busy)
{
    l->seen.now_ms = at_ms;
    l->seen.ready = l->seen.oldest_ms = 0;
    l->seen.starting = 0;
    l->seen.started = busy;
    l->seen.free = l->size.wanted > busy ? l->size.wanted - busy : 0;
    l->seen.jobs += busy > 0;
    return size_step(&l->size, &l->seen, &l->rng);
}

/* Runs as its own clock asks, until that many are wanted; the time it took. */
static uint64_t calm_until(struct load *l, uint32_t wanted, uint32_t busy)
{
    uint64_t began = l->seen.now_ms;
    for (int i = 0; i < 10000 && l->size.wanted != wanted; i++) {
        assert_true(size_next_ms(&l->size) != SIZE_NEVER);
        assert_true(size_next_ms(&l->size) > l->seen.now_ms);
        (void)calm(l, size_next_ms(&l->size), busy);
    }
    assert_int_equal(l->size.wanted, wanted);
    return l->seen.now_ms - began;
}

static void a_fixed_number_never_changes_and_never_looks(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 3, 3, 1000);
    assert_int_equal(pressed(&l, 0, 1000000, 100000, 0), 3);
    assert_true(size_next_ms(&l.size) == SIZE_NEVER);
}

static void what_waits_briefly_is_no_pressure(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 8, 0);
    assert_int_equal(pressed(&l, 10, 100, 99, 0), 1);
    assert_int_equal(size_next_ms(&l.size), l.seen.now_ms + 100); /* but it is looked at again */
    assert_int_equal(pressed(&l, 10, 100, 100, 0), 2);
}

static void it_doubles_while_pressure_holds_but_not_at_every_look(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 10, 0);
    assert_int_equal(pressed(&l, 0, 1000, 200, 0), 2);
    assert_int_equal(pressed(&l, 100, 1000, 300, 0), 2);
    assert_int_equal(pressed(&l, 50, 1000, 350, 0), 4);
    assert_int_equal(pressed(&l, 150, 1000, 500, 0), 8);
    assert_int_equal(pressed(&l, 150, 1000, 650, 0), 10);
    assert_int_equal(pressed(&l, 150, 1000, 800, 0), 10);
}

static void there_are_not_more_workers_than_messages_for_them(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 4, 64, 0);
    assert_int_equal(pressed(&l, 0, 2, 5000, 0), 6);
    l.seen.concurrency = 10;
    assert_int_equal(pressed(&l, 200, 11, 5000, 0), 8);
}

static void those_that_are_starting_count(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 64, 0);
    assert_int_equal(pressed(&l, 0, 3, 200, 0), 2);
    assert_int_equal(pressed(&l, 150, 3, 350, 1), 4);
    assert_int_equal(pressed(&l, 150, 3, 500, 3), 4);
}

static void a_worker_with_room_shows_that_more_would_not_help(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 2, 8, 0);
    l.seen = (struct size_seen){ .now_ms = 2000, .ready = 100, .oldest_ms = 5000, .started = 1, .free = 1, .concurrency = 1 };
    assert_int_equal(size_step(&l.size, &l.seen, &l.rng), 2);
}

static void the_first_message_starts_one_at_once(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 0, 4, 1000);
    assert_int_equal(l.size.wanted, 0);
    assert_true(size_next_ms(&l.size) == SIZE_NEVER);
    assert_int_equal(pressed(&l, 0, 1, 0, 0), 1);
    assert_int_equal(pressed(&l, 100, 1, 100, 1), 1);
}

static void it_shrinks_by_one_after_calm_seconds(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 4, 0);
    l.size.wanted = 4;
    (void)calm(&l, 1000, 1);
    assert_in_range(calm_until(&l, 3, 1), 5000, 6500);
    assert_in_range(calm_until(&l, 2, 1), 5000, 6500);
    uint64_t end = l.seen.now_ms + 60000;
    while (l.seen.now_ms < end) /* one of two is always busy: one alone would have no rest */
        assert_int_equal(calm(&l, size_next_ms(&l.size), 1), 2);
}

static void busy_workers_stay(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 4, 1000);
    l.size.wanted = 4;
    uint64_t end = l.seen.now_ms + 60000;
    while (l.seen.now_ms < end)
        assert_int_equal(calm(&l, l.seen.now_ms + 250, 3), 4);
}

static void pressure_begins_the_calm_anew(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 2, 0);
    l.size.wanted = 2;
    (void)calm(&l, 1000, 0);
    (void)calm(&l, 5000, 0);
    assert_int_equal(pressed(&l, 100, 5, 500, 0), 2);
    assert_in_range(calm_until(&l, 1, 0), 5000, 6500);
}

/* 20 ms of work every 50 ms: whoever looks finds it at work or not, by chance. */
static void a_little_work_between_pauses_holds_no_worker_that_is_not_needed(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 1, 8, 30000);
    l.size.wanted = 8;
    (void)calm(&l, 1000, 0);
    uint64_t end = l.seen.now_ms + 60000;
    while (l.size.wanted > 1 && l.seen.now_ms < end) {
        l.seen.jobs++;
        (void)calm(&l, size_next_ms(&l.size), size_next_ms(&l.size) % 50 < 20);
    }
    assert_int_equal(l.size.wanted, 1);
    assert_true(l.seen.now_ms > 1000 + 7 * 5000);
}

static void work_now_and_then_keeps_the_last_one(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 0, 4, 1000);
    l.size.wanted = 1;
    for (uint64_t at = 1000; at < 60000; at += 900) {
        l.seen.jobs++;
        assert_int_equal(calm(&l, at, 0), 1);
    }
    (void)calm_until(&l, 0, 0);
}

static void without_work_it_goes_down_to_min_at_the_idle_timeout(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 0, 64, 2000);
    l.size.wanted = 64;
    (void)calm(&l, 1000, 1);
    assert_in_range(calm_until(&l, 0, 0), 2000, 2500);
    assert_true(size_next_ms(&l.size) == SIZE_NEVER);
}

static void without_an_idle_timeout_the_last_one_stays(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 0, 3, 0);
    l.size.wanted = 3;
    (void)calm(&l, 1000, 0);
    (void)calm_until(&l, 1, 0);
    assert_true(size_next_ms(&l.size) == SIZE_NEVER);
}

static void a_pool_at_min_sleeps(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 2, 8, 1000);
    assert_int_equal(calm(&l, 5000, 2), 2);
    assert_true(size_next_ms(&l.size) == SIZE_NEVER);
}

static void other_bounds_hold_at_once(void **state)
{
    (void)state;
    struct load l;
    begin(&l, 2, 8, 0);
    size_set(&l.size, &(struct size_config){ 4, 6, 0 }, 1000);
    assert_int_equal(l.size.wanted, 4);
    size_set(&l.size, &(struct size_config){ 1, 3, 0 }, 1000);
    assert_int_equal(l.size.wanted, 3);
    (void)calm(&l, size_next_ms(&l.size), 0);
    (void)calm_until(&l, 1, 0);
}

/* Whatever is seen in whatever order: within bounds, never a look in the past,
 * and never more than twice as many at once. */
static void it_stays_within_bounds_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct load l;
        uint32_t min = (uint32_t)(seed % 4), max = min + 1 + (uint32_t)(seed % 7);
        begin(&l, min, max, seed % 3 * 700 + (min == 0));
        sl_rng_seed(&l.rng, seed);
        for (int i = 0; i < 400; i++) {
            uint32_t before = l.size.wanted;
            l.seen.now_ms += sl_rng_below(&l.rng, i % 10 == 0 ? 8000 : 300);
            l.seen.ready = sl_rng_below(&l.rng, 3) == 0 ? sl_rng_below(&l.rng, 1000) : 0;
            l.seen.oldest_ms = sl_rng_below(&l.rng, 2000);
            l.seen.starting = (uint32_t)sl_rng_below(&l.rng, before + 1);
            l.seen.started = sl_rng_below(&l.rng, before + 1);
            l.seen.free = (uint32_t)sl_rng_below(&l.rng, 2);
            l.seen.jobs += sl_rng_below(&l.rng, 2);
            uint32_t now = size_step(&l.size, &l.seen, &l.rng);
            assert_in_range(now, min, max);
            assert_true(now <= 2 * before || before == 0);
            assert_true(size_next_ms(&l.size) > l.seen.now_ms);
        }
        (void)calm(&l, l.seen.now_ms + 1, 0);
        for (int i = 0; i < 100 && size_next_ms(&l.size) != SIZE_NEVER; i++)
            (void)calm(&l, size_next_ms(&l.size), 0);
        assert_true(l.size.wanted == min || l.size.cfg.idle_ms == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_number_never_changes_and_never_looks),
        cmocka_unit_test(what_waits_briefly_is_no_pressure),
        cmocka_unit_test(it_doubles_while_pressure_holds_but_not_at_every_look),
        cmocka_unit_test(there_are_not_more_workers_than_messages_for_them),
        cmocka_unit_test(those_that_are_starting_count),
        cmocka_unit_test(a_worker_with_room_shows_that_more_would_not_help),
        cmocka_unit_test(the_first_message_starts_one_at_once),
        cmocka_unit_test(it_shrinks_by_one_after_calm_seconds),
        cmocka_unit_test(busy_workers_stay),
        cmocka_unit_test(pressure_begins_the_calm_anew),
        cmocka_unit_test(a_little_work_between_pauses_holds_no_worker_that_is_not_needed),
        cmocka_unit_test(work_now_and_then_keeps_the_last_one),
        cmocka_unit_test(without_work_it_goes_down_to_min_at_the_idle_timeout),
        cmocka_unit_test(without_an_idle_timeout_the_last_one_stays),
        cmocka_unit_test(a_pool_at_min_sleeps),
        cmocka_unit_test(other_bounds_hold_at_once),
        cmocka_unit_test(it_stays_within_bounds_whatever_happens),
    };
    return cmocka_run_group_tests_name("pool_size", tests, NULL, NULL);
}
