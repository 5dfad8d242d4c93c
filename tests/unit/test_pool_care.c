/* Pools of real processes whose number changes and whose workers are replaced:
 * nothing is lost, nothing fails, and no more go at once than may. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "claims.h"
#include "pool_world.h"

static const char *const run_ack[] = { BEHAVE, "ack", NULL };
static const char *const run_slow[] = { BEHAVE, "slow", NULL };
static const char *const run_swell[] = { BEHAVE, "swell", NULL };

static struct pool_status status(struct pool_world *w)
{
    struct pool_status s;
    pools_status(w->pools, 0, &s);
    return s;
}

static void publish_many(struct pool_world *w, int n)
{
    for (int i = 0; i < n; i++)
        world_publish(w, "in/1", sl_str("payload"));
}

/* Every message was delivered once, answered once, and no attempt failed. */
static void assert_untouched(struct pool_world *w, uint64_t n)
{
    assert_int_equal(world_counters(w)->acked, n);
    assert_int_equal(world_counters(w)->delivered, n);
    assert_int_equal(sl_buf_len(&w->failures), 0);
    assert_int_equal(world_logged(w, "worker_fault"), 0);
}

/* ---- the number ---- */

/* A worker may say HELLO before the nursery has reported its start. */
static bool has_started(struct pool_world *w, uint64_t n)
{
    return status(w).started >= n;
}

static bool all_run(struct pool_world *w, uint64_t n)
{
    struct pool_status s = status(w);
    return has_started(w, n) && s.running == n && s.starting + s.stopping + s.waiting == 0;
}

static void a_pool_grows_with_its_load_and_shrinks_when_it_is_idle(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_slow);
    cfg.size = (struct size_config){ 1, 4, 300 };
    world_start(&w, &cfg);
    world_wait(&w, all_run, 1);
    publish_many(&w, 200);
    world_wait(&w, all_run, 4);
    assert_int_equal(status(&w).wanted, 4);
    world_wait(&w, world_acked, 200);
    world_wait(&w, all_run, 1);
    assert_int_equal(status(&w).wanted, 1);
    assert_untouched(&w, 200);
    world_close(&w);
}

/* A worker that holds a part of a batch takes nothing more until it has answered it. */
static void a_pool_of_batches_grows_while_its_workers_hold_small_ones(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_slow);
    cfg.size = (struct size_config){ 1, 3, 100 };
    cfg.batch_max = 50;
    world_start(&w, &cfg);
    world_wait(&w, all_run, 1);
    for (uint64_t n = 0; status(&w).wanted < 2; n += 20) {
        publish_many(&w, 20);
        world_wait(&w, world_acked, n);
    }
    world_wait(&w, all_run, 1);
    world_close(&w);
}

static void a_pool_on_demand_has_no_process_until_there_is_work(void **state)
{
    (void)state;
    static const enum pool_mode modes[] = { POOL_SOCKET, POOL_LINES };
    static const char *const how[] = { "ack", "lines-ack" };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct pool_world w;
        const char *command[] = { BEHAVE, how[i], NULL };
        world_open(&w);
        struct pool_config cfg = world_pool(&w, command);
        cfg.mode = modes[i];
        cfg.size = (struct size_config){ 0, 4, 50 };
        world_start(&w, &cfg);
        for (uint64_t round = 1; round <= 2; round++) {
            world_wait(&w, all_run, 0);
            assert_int_equal(status(&w).started, round - 1);
            world_publish(&w, "in/1", sl_str("payload"));
            world_wait(&w, world_acked, round);
        }
        world_wait(&w, all_run, 0);
        assert_untouched(&w, 2);
        world_close(&w);
    }
}

static void a_pool_may_be_scaled_up_and_down(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_slow);
    world_start(&w, &cfg);
    assert_int_equal(pools_scale(w.pools, 0, 5, 5), SL_OK);
    world_wait(&w, all_run, 5);
    publish_many(&w, 50);
    world_wait(&w, world_delivered, 5);
    assert_int_equal(pools_scale(w.pools, 0, 2, 2), SL_OK);
    world_wait(&w, all_run, 2);
    world_wait(&w, world_acked, 50);
    assert_int_equal(pools_scale(w.pools, 0, 0, 0), SL_EINVAL);
    assert_int_equal(pools_scale(w.pools, 0, 3, 2), SL_EINVAL);
    assert_untouched(&w, 50);
    world_close(&w);
}

static void exec_pools_are_scaled_too(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const command[] = { "sh", "-c", "sleep 0.02", NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, command);
    cfg.mode = POOL_EXEC;
    cfg.size = (struct size_config){ 0, 3, 100 };
    world_start(&w, &cfg);
    publish_many(&w, 40);
    world_wait_log(&w, "pool_size pool=p workers=3", 1);
    world_wait(&w, world_acked, 40);
    world_wait_log(&w, "pool_size pool=p workers=0", 1);
    assert_untouched(&w, 40);
    world_close(&w);
}

static bool is_quiet(struct pool_world *w, uint64_t ticks)
{
    static uint64_t seen;
    seen = ticks == 0 ? 0 : seen + 1;
    (void)w;
    return seen >= ticks;
}

static void a_paused_pool_gets_nothing_until_it_is_resumed(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.size = (struct size_config){ 1, 4, 100 };
    world_start(&w, &cfg);
    world_wait(&w, all_run, 1);
    pools_pause(w.pools, 0, true);
    assert_true(status(&w).paused);
    publish_many(&w, 10);
    (void)is_quiet(&w, 0);
    world_wait(&w, is_quiet, 100); /* turns of the loop */
    assert_int_equal(world_counters(&w)->delivered, 0);
    assert_int_equal(status(&w).wanted, 1);
    pools_restart(w.pools, 0); /* a worker that comes meanwhile is paused as well */
    world_wait_log(&w, "worker_replaced", 1);
    world_wait(&w, all_run, 1);
    assert_int_equal(world_counters(&w)->delivered, 0);
    pools_pause(w.pools, 0, false);
    world_wait(&w, world_acked, 10);
    assert_untouched(&w, 10);
    world_close(&w);
}

/* ---- recycling ---- */

static void a_worker_is_replaced_after_its_messages(void **state)
{
    (void)state;
    static const enum pool_mode modes[] = { POOL_SOCKET, POOL_LINES };
    static const char *const how[] = { "ack", "lines-ack" };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct pool_world w;
        const char *command[] = { BEHAVE, how[i], NULL };
        world_open(&w);
        struct pool_config cfg = world_pool(&w, command);
        cfg.mode = modes[i];
        cfg.workers = 2;
        cfg.recycle.max_jobs = 50;
        world_start(&w, &cfg);
        uint64_t n = 0;
        while (status(&w).recycled[RECYCLE_JOBS] < 4) {
            publish_many(&w, 100);
            world_wait(&w, world_acked, n += 100);
        }
        assert_true(n >= 2 * 42);
        assert_true(world_logged(&w, "reason=max_jobs") >= 4);
        assert_untouched(&w, n);
        world_close(&w);
    }
}

static bool never_more_than_two_at_once(struct pool_world *w, uint64_t times)
{
    struct pool_status s = status(w);
    assert_in_range(s.running + s.starting + s.stopping, 0, 8 + 4); /* two that go, two that come */
    return s.recycled[RECYCLE_AGE] >= times;
}

static void a_quarter_of_the_workers_is_replaced_at_a_time(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 8;
    cfg.recycle.max_age_ms = 1;
    world_start(&w, &cfg);
    world_wait_log(&w, "worker_start ", 8);
    world_wait(&w, never_more_than_two_at_once, 40);
    world_close(&w);
}

/* Each message makes it larger by 8 MiB. */
static void a_worker_that_swells_is_replaced(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_swell);
    cfg.recycle.max_rss_bytes = 64u << 20;
    world_start(&w, &cfg);
    publish_many(&w, 8);
    world_wait_log(&w, "reason=max_rss", 1);
    assert_int_equal(world_logged(&w, "worker_swollen"), 0);
    assert_untouched(&w, 8);
    world_close(&w);
}

static void one_that_is_twice_as_large_does_not_wait_for_its_replacement(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_swell);
    cfg.recycle.max_rss_bytes = 16u << 20;
    world_start(&w, &cfg);
    publish_many(&w, 8);
    world_wait_log(&w, "worker_swollen pool=p slot=0", 1);
    world_wait(&w, all_run, 1);
    assert_int_equal(status(&w).recycled[RECYCLE_RSS], 1);
    assert_untouched(&w, 8);
    world_close(&w);
}

/* ---- rolling ---- */

static bool none_is_outdated(struct pool_world *w, uint64_t running)
{
    struct pool_status s = status(w);
    return s.outdated == 0 && s.running == running && s.stopping + s.starting == 0;
}

static void a_rolling_restart_replaces_all_and_nothing_fails(void **state)
{
    (void)state;
    static const enum pool_mode modes[] = { POOL_SOCKET, POOL_LINES };
    static const char *const how[] = { "slow", "lines-ack" };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct pool_world w;
        const char *command[] = { BEHAVE, how[i], NULL };
        world_open(&w);
        struct pool_config cfg = world_pool(&w, command);
        cfg.mode = modes[i];
        cfg.workers = 4;
        world_start(&w, &cfg);
        world_wait(&w, all_run, 4);
        publish_many(&w, 400);
        world_wait(&w, world_acked, 10);
        pools_restart(w.pools, 0);
        world_wait(&w, none_is_outdated, 4);
        assert_int_equal(world_logged(&w, "worker_replaced"), 4);
        world_wait(&w, has_started, 8);
        assert_int_equal(status(&w).started, 8);
        assert_int_equal(status(&w).restarts, 0);
        world_wait(&w, world_acked, 400);
        assert_untouched(&w, 400);
        world_close(&w);
    }
}

static void what_dies_during_a_rolling_restart_is_not_replaced_twice(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const command[] = { "sh", "-c", "sleep 0.1; exec \"$0\" ack", BEHAVE, NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, command);
    cfg.workers = 2;
    world_start(&w, &cfg);
    world_wait(&w, all_run, 2);
    pools_restart(w.pools, 0);
    world_wait_log(&w, "worker_start ", 3);
    pools_restart(w.pools, 0); /* once more, while the first replacement starts */
    world_wait(&w, none_is_outdated, 2);
    publish_many(&w, 10);
    world_wait(&w, world_acked, 10);
    assert_untouched(&w, 10);
    world_close(&w);
}

/* ---- reload ---- */

static void reload(struct pool_world *w, const struct pool_config *cfgs, uint32_t n)
{
    assert_int_equal(pools_reload(w->pools, cfgs, n), SL_OK);
}

static void an_unchanged_pool_is_not_touched(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const env[] = { "A=1", NULL }, *const same[] = { "A=1", NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 3;
    cfg.env = env;
    world_start(&w, &cfg);
    world_wait(&w, all_run, 3);
    cfg.env = same;
    cfg.name = "p";
    reload(&w, &cfg, 1);
    reload(&w, &cfg, 1);
    world_wait(&w, all_run, 3);
    assert_int_equal(status(&w).started, 3);
    assert_int_equal(world_logged(&w, "pool_"), 0);
    world_close(&w);
}

static void what_workers_do_not_notice_is_changed_under_them(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    world_start(&w, &cfg);
    world_wait(&w, all_run, 1);
    cfg.workers = 3;
    cfg.recycle.max_jobs = 1000;
    reload(&w, &cfg, 1);
    world_wait(&w, all_run, 3);
    assert_int_equal(status(&w).started, 3);
    assert_int_equal(world_logged(&w, "worker_replaced"), 0);
    assert_int_equal(world_logged(&w, "pool_adjusted pool=p min=3 max=3"), 1);
    world_close(&w);
}

static void a_changed_pool_is_rolled_under_load(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const env[] = { "A=2", NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_slow);
    cfg.workers = 4;
    world_start(&w, &cfg);
    world_wait(&w, all_run, 4);
    publish_many(&w, 400);
    world_wait(&w, world_acked, 10);
    cfg.env = env;
    reload(&w, &cfg, 1);
    world_wait(&w, none_is_outdated, 4);
    world_wait(&w, world_acked, 400);
    assert_int_equal(world_logged(&w, "worker_replaced"), 4);
    world_wait(&w, has_started, 8);
    assert_int_equal(status(&w).started, 8);
    assert_untouched(&w, 400);
    world_close(&w);
}

/* From every mode to every other: an old worker keeps its own ways to its end. */
static void a_pool_may_change_its_mode(void **state)
{
    (void)state;
    static const char *const exec_cat[] = { "cat", NULL };
    static const char *const lines_ack[] = { BEHAVE, "lines-ack", NULL };
    static const enum pool_mode modes[] = { POOL_SOCKET, POOL_LINES, POOL_EXEC, POOL_SOCKET, POOL_EXEC, POOL_LINES, POOL_SOCKET };
    static const char *const *const commands[] = { [POOL_SOCKET] = run_ack, [POOL_LINES] = lines_ack, [POOL_EXEC] = exec_cat };
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 3;
    world_start(&w, &cfg);
    for (uint32_t i = 0; i < SL_COUNT(modes); i++) {
        cfg.mode = modes[i];
        cfg.command = commands[modes[i]];
        reload(&w, &cfg, 1);
        publish_many(&w, 60);
        world_wait(&w, world_acked, 60 * (i + 1));
    }
    world_wait(&w, none_is_outdated, 3);
    assert_untouched(&w, 60 * SL_COUNT(modes));
    world_close(&w);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg[3] = { world_pool(&w, run_ack), world_pool(&w, run_slow), world_pool(&w, run_ack) };
    cfg[1].name = "other";
    cfg[2].name = "third";
    world_start(&w, &cfg[0]);
    world_wait(&w, all_run, 1);
    reload(&w, cfg, 3);
    assert_int_equal(pools_count(w.pools), 3);
    assert_int_equal(pools_find(w.pools, "third"), 2);
    world_wait_log(&w, "worker_start pool=third", 1);
    publish_many(&w, 100);
    world_wait(&w, world_acked, 5);
    reload(&w, &cfg[2], 1);
    assert_int_equal(pools_count(w.pools), 1);
    assert_int_equal(pools_find(w.pools, "p"), UINT32_MAX);
    world_wait_log(&w, "worker_exit pool=p", 1);
    world_wait_log(&w, "worker_exit pool=other", 1);
    world_wait(&w, world_acked, 100);
    assert_int_equal(world_logged(&w, "worker_start pool=third"), 1);
    reload(&w, NULL, 0);
    world_wait_log(&w, "worker_exit pool=third", 1);
    assert_int_equal(pools_count(w.pools), 0);
    assert_untouched(&w, 100);
    world_close(&w);
}

static void a_command_that_does_not_start_leaves_the_old_workers_in_place(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const broken[] = { "/nonexistent/worker", NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 2;
    world_start(&w, &cfg);
    world_wait(&w, all_run, 2);
    cfg.command = broken;
    reload(&w, &cfg, 1);
    world_wait_log(&w, "pool_crash_loop pool=p", 1);
    publish_many(&w, 10);
    world_wait(&w, world_acked, 10);
    assert_true(status(&w).crash_loop);
    assert_int_equal(status(&w).outdated, 2);
    cfg.command = run_slow;
    reload(&w, &cfg, 1);
    world_wait(&w, none_is_outdated, 2);
    assert_false(status(&w).crash_loop);
    publish_many(&w, 10);
    world_wait(&w, world_acked, 20);
    assert_untouched(&w, 20);
    world_close(&w);
}

static void a_reload_that_makes_no_sense_changes_nothing(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg[2] = { world_pool(&w, run_ack), world_pool(&w, run_ack) };
    world_start(&w, &cfg[0]);
    world_wait(&w, all_run, 1);
    cfg[0].workers = 5;
    cfg[1].name = "other";
    cfg[1].command = NULL;
    assert_int_equal(pools_reload(w.pools, cfg, 2), SL_EINVAL);
    assert_int_equal(pools_count(w.pools), 1);
    assert_int_equal(status(&w).wanted, 1);
    world_close(&w);
}

/* ---- crash loops ---- */

static void a_crash_loop_is_told_once_and_is_over_when_a_worker_lives(void **state)
{
    (void)state;
    struct pool_world w;
    char flag[] = "/tmp/sluice-care-XXXXXX";
    int fd = mkstemp(flag);
    assert_true(fd >= 0);
    (void)close(fd);
    const char *command[] = { "sh", "-c", "test -e \"$1\" && exit 3; exec \"$0\" ack", BEHAVE, flag, NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, command);
    cfg.workers = 4;
    world_start(&w, &cfg);
    world_wait_log(&w, "pool_crash_loop pool=p crashes=5", 1);
    uint64_t started = status(&w).started;
    (void)is_quiet(&w, 0);
    world_wait(&w, is_quiet, 50);
    assert_true(status(&w).started > started); /* it is tried on */
    assert_true(status(&w).crash_loop);
    assert_true(world_logged(&w, "worker_exit") <= 8);
    assert_int_equal(world_logged(&w, "pool_crash_loop"), 1);
    assert_int_equal(unlink(flag), 0);
    publish_many(&w, 1);
    world_wait(&w, world_acked, 1);
    world_wait_log(&w, "pool_recovered pool=p", 1);
    world_wait(&w, all_run, 4);
    assert_int_equal(status(&w).crashes, 0);
    world_close(&w);
}

static void an_idle_worker_that_lives_ends_the_loop_too(void **state)
{
    (void)state;
    struct pool_world w;
    char flag[] = "/tmp/sluice-care-XXXXXX";
    int fd = mkstemp(flag);
    assert_true(fd >= 0);
    (void)close(fd);
    const char *command[] = { "sh", "-c", "test -e \"$1\" && exit 3; exec \"$0\" ack", BEHAVE, flag, NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, command);
    world_start(&w, &cfg);
    world_wait_log(&w, "pool_crash_loop pool=p crashes=5", 1);
    assert_int_equal(unlink(flag), 0);
    world_wait_log(&w, "pool_recovered pool=p", 1);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_grows_with_its_load_and_shrinks_when_it_is_idle),
        cmocka_unit_test(a_pool_of_batches_grows_while_its_workers_hold_small_ones),
        cmocka_unit_test(a_pool_on_demand_has_no_process_until_there_is_work),
        cmocka_unit_test(a_pool_may_be_scaled_up_and_down),
        cmocka_unit_test(exec_pools_are_scaled_too),
        cmocka_unit_test(a_paused_pool_gets_nothing_until_it_is_resumed),
        cmocka_unit_test(a_worker_is_replaced_after_its_messages),
        cmocka_unit_test(a_quarter_of_the_workers_is_replaced_at_a_time),
        cmocka_unit_test(a_worker_that_swells_is_replaced),
        cmocka_unit_test(one_that_is_twice_as_large_does_not_wait_for_its_replacement),
        cmocka_unit_test(a_rolling_restart_replaces_all_and_nothing_fails),
        cmocka_unit_test(what_dies_during_a_rolling_restart_is_not_replaced_twice),
        cmocka_unit_test(an_unchanged_pool_is_not_touched),
        cmocka_unit_test(what_workers_do_not_notice_is_changed_under_them),
        cmocka_unit_test(a_changed_pool_is_rolled_under_load),
        cmocka_unit_test(a_pool_may_change_its_mode),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(a_command_that_does_not_start_leaves_the_old_workers_in_place),
        cmocka_unit_test(a_reload_that_makes_no_sense_changes_nothing),
        cmocka_unit_test(a_crash_loop_is_told_once_and_is_over_when_a_worker_lives),
        cmocka_unit_test(an_idle_worker_that_lives_ends_the_loop_too),
    };
    return cmocka_run_group_tests_name("pool_care", tests, NULL, NULL);
}
