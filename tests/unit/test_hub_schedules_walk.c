/* Schedules under whatever happens to the gateway, in any order. */
#include "core/rng.h"
#include "schedule_world.h"

/* ---- any of it, in any order ---- */

#define WALK_ALL 0u /* its index, in walks without clocks that are set */

static uint32_t index_of(const struct world *w, struct sl_bytes name)
{
    uint32_t i = 0;
    while (!sl_bytes_is(name, w->schedules[i].name))
        i++;
    return i;
}

/* Each time is stored once and not ahead of it, and those of `all` without a gap. */
static void note_message(struct world *w, const struct message *m)
{
    uint64_t at;
    uint32_t i = index_of(w, header_of(m, "schedule"));
    assert_int_equal(sl_time_parse(header_of(m, "scheduled-for"), &at), SL_OK);
    uint64_t key = at * 4 + i;
    if (sl_idmap_get(&w->seen, key) != NULL)
        fail_msg("%s fired twice for %llu", w->schedules[i].name, (unsigned long long)at);
    sl_idmap_put(&w->seen, key, w);
    assert_true(w->n == 1 || at <= w->k.wall_ms); /* alone: the walk in which clocks are set back */
    if (i == WALK_ALL && w->n > 1 && w->latest[i] != 0 && at != w->latest[i] + w->schedules[i].when.cron.every_ms)
        fail_msg("%llu follows %llu", (unsigned long long)at, (unsigned long long)w->latest[i]);
    w->latest[i] = at;
}

/* Beside its message stands that it is done. */
static void note_batch(struct world *w, const struct batch *b)
{
    uint64_t done[4] = { 0 };
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_schedule s;
        if (b->ops[i].kind == BATCH_BODY)
            note_message(w, b->ops[i].msg);
        if (b->ops[i].kind != BATCH_SCHEDULE)
            continue;
        assert_int_equal(batch_schedule_decode(sl_bytes_of(b->ops[i].note->bytes, b->ops[i].note->n), &s), SL_OK);
        done[index_of(w, s.name)] = s.done_ms;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind != BATCH_BODY)
            continue;
        uint32_t of = index_of(w, header_of(b->ops[i].msg, "schedule"));
        assert_int_equal(done[of], w->latest[of]);
    }
}

static void step(struct world *w, struct sl_rng *r, bool clocks)
{
    switch (sl_rng_below(r, clocks ? 10 : 8)) {
    case 0: /* the store has it, and nobody hears of that */
        if (w->k.pending != NULL)
            assert_int_equal(apply(w, w->k.pending), SL_OK);
        crash(w, sl_rng_below(r, 40 * SECOND));
        break;
    case 1:
        crash(w, sl_rng_below(r, 40 * SECOND));
        break;
    case 2:
        if (w->k.pending != NULL)
            kit_commit(&w->k, SL_ENOSPC);
        break;
    case 3:
        hub_set_schedules(w->k.h, w->schedules, w->n);
        kit_turn(&w->k);
        break;
    case 8:
        set_clock(w, (int64_t)sl_rng_below(r, 10 * MINUTE));
        break;
    case 9:
        set_clock(w, -(int64_t)sl_rng_below(r, 10 * MINUTE));
        break;
    default:
        if (w->k.pending != NULL)
            kit_commit(&w->k, SL_OK);
        kit_pass(&w->k, sl_rng_below(r, 12 * SECOND));
        break;
    }
}

static void work_off(struct world *w)
{
    struct kit_worker *worker = &w->k.workers[0];
    if (worker->consumer == 0)
        worker = kit_worker(&w->k, 0, 0);
    while (worker->n > 0)
        kit_ack(worker, 0);
}

static uint32_t walk(uint64_t seed, bool clocks)
{
    struct world w = { .stored = note_batch };
    struct sl_rng r;
    sl_rng_seed(&r, seed);
    if (!clocks) {
        add(&w, "all", "@every 7s", "t/all")->when.missed = SCHEDULE_ALL;
        add(&w, "once", "@every 10s", "t/once")->when.missed = SCHEDULE_ONCE;
    }
    add(&w, "cron", "* * * * *", clocks ? "t/cron" : "/queue/q0")->when.missed = (enum schedule_missed)sl_rng_below(&r, 3);
    open_world(&w);
    for (int i = 0; i < 120; i++) {
        step(&w, &r, clocks);
        if (sl_rng_below(&r, 3) == 0)
            work_off(&w);
    }
    uint32_t n = (uint32_t)w.seen.used;
    sl_idmap_fini(&w.seen);
    w.k.apply = NULL;
    close_world(&w);
    return n;
}

static void whatever_is_killed_each_time_is_stored_once_and_with_its_record(void **state)
{
    (void)state;
    uint32_t n = 0, with_clocks = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        n += walk(seed, false);
        with_clocks += walk(seed, true);
    }
    assert_true(n > 5000 && with_clocks > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_killed_each_time_is_stored_once_and_with_its_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
