/* Pools with real processes: what each broken worker costs, and whom. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "claims.h"
#include "pool_world.h"

static const char *const run_ack[] = { BEHAVE, "ack", NULL };

/* A pool of one worker that behaves so, and one message for it. */
static struct pool_config behaving(struct pool_world *w, const char *how, const char **command)
{
    command[0] = BEHAVE;
    command[1] = how;
    command[2] = NULL;
    return world_pool(w, command);
}

static void ten_thousand_messages_are_acked_by_four_workers(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 4;
    cfg.prefetch = 64;
    world_start(&w, &cfg);
    for (int i = 0; i < 10000; i++)
        world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 10000);
    assert_int_equal(world_logged(&w, "worker_start "), 4);
    assert_int_equal(world_logged(&w, "worker_fault"), 0);
    world_close(&w);
}

/* One broken behaviour: the log line that names it, and what the message's
 * history says of the attempt; NULL: it must not be charged. */
static const struct broken {
    const char *how, *logged, *failure;
} broken[] = {
    { "garbage", "worker_fault pool=p slot=0", NULL },
    { "garbage", "fault=frame-too-large input=\"GET / HTTP/1.1", NULL },
    { "bad-type", "fault=type-unknown", NULL },
    { "oversize", "fault=frame-too-large", NULL },
    { "before-hello", "fault=before-hello", NULL },
    { "hello-twice", "fault=hello-twice", NULL },
    { "wrong-side", "fault=direction", NULL },
    { "no-hello", "fault=no-hello", NULL },
    { "unknown-tag", "fault=unknown-delivery", "cause=worker_fault detail=unknown-delivery" },
    { "exit-mid", "cause=exit detail=\"exit 3\" unanswered=1", "attempt=1 cause=exit detail=exit 3 tail=first words\nlast words\n" },
    { "exit-zero-holding", "cause=exit detail=\"exit 0\" unanswered=1", "cause=exit detail=exit 0" },
    { "kill-self", "cause=signal detail=\"signal 9\" unanswered=1", "cause=signal detail=signal 9" },
    { "close-early", "cause=consumer_lost detail=\"closed its connection\"", "cause=consumer_lost detail=closed its connection" },
    { "half-frame", "cause=exit detail=\"exit 0\" unanswered=1", "cause=exit detail=exit 0" },
    { "grandchild", "cause=exit detail=\"exit 1\" unanswered=1", "cause=exit detail=exit 1" },
};

static void each_broken_worker_gets_its_exact_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(broken); i++) {
        struct pool_world w;
        const char *command[3];
        world_open(&w);
        struct pool_config cfg = behaving(&w, broken[i].how, command);
        cfg.hello_ms = 200;
        world_start(&w, &cfg);
        world_publish(&w, "in/1", sl_str("payload"));
        world_wait_log(&w, broken[i].logged, 1);
        world_wait_log(&w, "worker_start ", 2); /* it is replaced */
        if (broken[i].failure != NULL && !world_failed_with(&w, broken[i].failure))
            fail_msg("%s: the history says %.*s", broken[i].how, (int)sl_buf_len(&w.failures), (const char *)w.failures.p);
        world_close(&w);
    }
}


static void an_answer_before_death_counts(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "ack-and-die", command);
    world_start(&w, &cfg);
    for (int i = 0; i < 20; i++)
        world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_wait_log(&w, "cause=signal detail=\"signal 9\"", 1);
    assert_true(world_counters(&w)->acked >= 1);
    world_close(&w);
}

static void an_answer_given_twice_is_stale_and_no_fault(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "twice", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "line=\"stale seen\"", 1);
    assert_int_equal(hub_counters(w.hub)->stale_answers, 1);
    assert_int_equal(world_counters(&w)->acked, 1);
    assert_int_equal(world_logged(&w, "worker_fault"), 0);
    world_close(&w);
}

/* 400,000 answers to what it writes would be 5 MB; those that fit into its socket are not counted. */
static void who_does_not_read_what_it_is_answered_is_not_read_either(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "stale-for-ever", command);
    cfg.time_limit_ms = 3000;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "cause=timeout", 1);
    assert_int_equal(world_logged(&w, "all written"), 0);
    assert_true(hub_counters(w.hub)->stale_answers > 16384);
    assert_true(hub_counters(w.hub)->stale_answers < 100000);
    world_close(&w);
}

static void a_hanging_worker_is_killed_at_the_time_limit_and_charged_by_timeout(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "hang", command);
    cfg.time_limit_ms = 50;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_publish(&w, "in/1", sl_str("it waits in the queue"));
    world_wait_log(&w, "worker_exit pool=p slot=0", 1);
    assert_int_equal(world_logged(&w, "cause=timeout detail=\"time limit\" unanswered=1"), 1);
    assert_true(world_failed_with(&w, "attempt=1 cause=timeout detail=time limit"));
    assert_int_equal(world_counters(&w)->timed_out, 1);
    world_close(&w);
}

/* The worker answers its first message, and hangs from the second on; the third waits in it. */
static void what_waits_behind_a_hanging_message_is_not_charged(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "twice", command);
    cfg.time_limit_ms = 50;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("it is measured"));
    world_wait(&w, world_acked, 1);
    world_publish(&w, "in/1", sl_str("payload"));
    world_publish(&w, "in/1", sl_str("it waits behind the first"));
    world_wait_log(&w, "worker_exit pool=p slot=0", 1);
    assert_int_equal(world_logged(&w, "cause=timeout detail=\"time limit\" unanswered=2"), 1);
    assert_true(world_failed_with(&w, "attempt=1 cause=timeout detail=time limit"));
    assert_int_equal(world_counters(&w)->timed_out, 1);
    assert_int_equal(world_counters(&w)->returned, 1);
    world_close(&w);
}

static void a_message_that_kills_each_worker_is_dead_after_its_attempts(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "exit-mid", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_dead, 1);
    assert_true(world_failed_with(&w, "attempt=2 cause=exit detail=exit 3"));
    world_close(&w);
}

static void retry_and_dead_carry_their_reasons(void **state)
{
    (void)state;
    static const char *const how[] = { "retry", "dead" };
    static const char *const reason[] = { "attempt=2 cause=retry detail=not now", "cause=rejected detail=poison" };
    for (size_t i = 0; i < SL_COUNT(how); i++) {
        struct pool_world w;
        const char *command[3];
        world_open(&w);
        struct pool_config cfg = behaving(&w, how[i], command);
        world_start(&w, &cfg);
        world_publish(&w, "in/1", sl_str("payload"));
        world_wait(&w, world_dead, 1);
        if (!world_failed_with(&w, reason[i]))
            fail_msg("%s: %.*s", how[i], (int)sl_buf_len(&w.failures), (const char *)w.failures.p);
        world_close(&w);
    }
}

static void a_worker_is_told_its_limits_and_its_message(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "show", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "line=\"welcome prefetch=8 concurrency=1 limit=60000 queue=q pool=p\"", 1);
    world_wait_log(&w, "line=\"deliver attempt=1 of=2 topic=in/1 bytes=7\"", 1);
    world_close(&w);
}

static void large_messages_pass_a_full_socket(void **state)
{
    (void)state;
    struct pool_world w;
    static uint8_t big[1u << 20];
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    world_start(&w, &cfg);
    for (int i = 0; i < 32; i++)
        world_publish(&w, "in/1", sl_bytes_of(big, sizeof big));
    world_wait(&w, world_acked, 32);
    world_close(&w);
}

static void a_publish_is_answered_when_it_is_stored(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    assert_int_equal(hub_add_route(w.hub, "out/#", w.queue), SL_OK);
    struct pool_config cfg = behaving(&w, "publish", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "line=\"published ref=9 code=1\"", 1);
    world_wait_log(&w, "line=\"published ref=7 code=0\"", 1);
    world_wait_log(&w, "line=\"published ref=8 code=0\"", 1);
    world_wait(&w, world_acked, 3);
    world_close(&w);
}

static void the_soft_limit_is_told_to_who_asked(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "soft", command);
    cfg.soft_time_limit_ms = 30;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "line=\"soft limit seen\"", 2);
    world_wait(&w, world_acked, 2);
    world_close(&w);
}

static void output_is_escaped_and_cut(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "noisy", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_wait_log(&w, "stream=stdout line=\"quote\\x22 and \\x01 byte\"", 1);
    world_wait_log(&w, "nnnn...\"", 1);
    world_close(&w);
}

static void output_is_limited_in_rate(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "flood", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_drain(&w, 5000); /* all of it has been read */
    assert_in_range(world_logged(&w, "line=\"again and again\""), 100, 300);
    world_close(&w);
}

static void stderr_names_the_one_started_message(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "exit-mid", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "stream=stderr id=0000010000000001 line=\"last words\"", 1);
    world_close(&w);
}

static void a_broken_worker_is_told_why_before_the_end(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "see-error", command);
    cfg.grace_ms = 5000;
    world_start(&w, &cfg);
    world_wait_log(&w, "line=\"error code=2 text=type-unknown\"", 1);
    world_wait_log(&w, "cause=worker_fault detail=\"type-unknown\"", 1);
    world_close(&w);
}

static void a_worker_may_ask_for_a_smaller_prefetch(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "prefetch-one", command);
    world_start(&w, &cfg);
    for (int i = 0; i < 5; i++)
        world_publish(&w, "in/1", sl_str("payload"));
    world_wait_log(&w, "line=\"one\"", 1);
    assert_int_equal(world_counters(&w)->delivered, 1);
    world_close(&w);
}

/* ---- lines, exec ---- */

static void lines_workers_ack_and_end_with_their_stdin(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "lines-ack", command);
    cfg.mode = POOL_LINES;
    world_start(&w, &cfg);
    for (int i = 0; i < 100; i++)
        world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 100);
    world_drain(&w, 5000);
    assert_int_equal(world_logged(&w, "line=\"end of stdin seen\""), 1);
    assert_int_equal(world_logged(&w, "cause=exit detail=\"exit 0\""), 1);
    world_close(&w);
}

static void each_broken_lines_worker_gets_its_exact_answer(void **state)
{
    (void)state;
    static const struct broken cases[] = {
        { "lines-bad", "fault=not-json input=\"Processing message...", "cause=worker_fault detail=not-json" },
        { "lines-foreign", "fault=unknown-delivery", "cause=worker_fault detail=unknown-delivery" },
        { "lines-huge", "fault=line-too-long input=\"xxxx", NULL },
        { "lines-half", "cause=exit detail=\"exit 0\" unanswered=1", "cause=exit detail=exit 0" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct pool_world w;
        const char *command[3];
        world_open(&w);
        struct pool_config cfg = behaving(&w, cases[i].how, command);
        cfg.mode = POOL_LINES;
        world_start(&w, &cfg);
        world_publish(&w, "in/1", sl_str("payload"));
        world_wait_log(&w, cases[i].logged, 1);
        world_wait_log(&w, "worker_start ", 2);
        if (cases[i].failure != NULL && !world_failed_with(&w, cases[i].failure))
            fail_msg("%s: %.*s", cases[i].how, (int)sl_buf_len(&w.failures), (const char *)w.failures.p);
        world_close(&w);
    }
}

static void a_line_answered_twice_is_stale(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "lines-twice", command);
    cfg.mode = POOL_LINES;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 2);
    assert_true(hub_counters(w.hub)->stale_answers >= 1);
    assert_int_equal(world_logged(&w, "worker_fault"), 0);
    world_close(&w);
}

static void exec_answers_by_its_exit(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        bool acked;
        const char *failure;
    } cases[] = {
        { "test \"$(cat)\" = payload && test \"$SLUICE_TOPIC $SLUICE_QUEUE $SLUICE_ATTEMPT\" = 'in/1 q 1'", true, NULL },
        { "echo 'try later' >&2; exit 75", false, "attempt=1 cause=retry detail=try later" },
        { "exit 65", false, "cause=rejected detail=exit 65" },
        { "echo oops >&2; exit 4", false, "attempt=2 cause=exit detail=exit 4 tail=oops" },
        { "kill -KILL $$", false, "cause=signal detail=signal 9" },
        { "sleep 100", false, "cause=timeout detail=time limit" },
    };
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct pool_world w;
        const char *command[] = { "sh", "-c", cases[i].script, NULL };
        world_open(&w);
        struct pool_config cfg = world_pool(&w, command);
        cfg.mode = POOL_EXEC;
        cfg.time_limit_ms = i == 5 ? 50 : 60000;
        world_start(&w, &cfg);
        world_publish(&w, "in/1", sl_str("payload"));
        world_wait(&w, cases[i].acked ? world_acked : world_dead, 1);
        if (cases[i].failure != NULL && !world_failed_with(&w, cases[i].failure))
            fail_msg("%s: %.*s", cases[i].script, (int)sl_buf_len(&w.failures), (const char *)w.failures.p);
        world_close(&w);
    }
}

static void exec_may_finish_while_the_pools_drain(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const command[] = { "sh", "-c", "sleep 0.1", NULL };
    world_open(&w);
    struct pool_config cfg = world_pool(&w, command);
    cfg.mode = POOL_EXEC;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_publish(&w, "in/1", sl_str("this one stays"));
    world_wait(&w, world_delivered, 1);
    world_drain(&w, 5000);
    assert_int_equal(world_counters(&w)->acked, 1);
    assert_int_equal(sl_buf_len(&w.failures), 0);
    world_close(&w);
}

/* ---- starting and ending ---- */

static void a_command_that_is_not_there_charges_nobody(void **state)
{
    (void)state;
    static const enum pool_mode modes[] = { POOL_SOCKET, POOL_LINES, POOL_EXEC };
    for (size_t i = 0; i < SL_COUNT(modes); i++) {
        struct pool_world w;
        static const char *const command[] = { "/nonexistent/worker", NULL };
        world_open(&w);
        struct pool_config cfg = world_pool(&w, command);
        cfg.mode = modes[i];
        world_start(&w, &cfg);
        world_publish(&w, "in/1", sl_str("payload"));
        world_wait_log(&w, "worker_start_failed pool=p slot=0 stage=\"exec\" error=\"No such file or directory\" command=\"/nonexistent/worker\"", 3);
        assert_int_equal(sl_buf_len(&w.failures), 0);
        world_close(&w);
    }
}

static void crash_loops_wait_longer_each_time(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "crash-at-once", command);
    world_start(&w, &cfg);
    world_wait_log(&w, "worker_restart pool=p slot=0 wait_ms=1\n", 1);
    world_wait_log(&w, "worker_restart pool=p slot=0 wait_ms=2\n", 1);
    world_wait_log(&w, "worker_restart pool=p slot=0 wait_ms=8\n", 1);
    world_wait_log(&w, "pool_crash_loop pool=p crashes=5 wait_ms=16 ", 1);
    world_close(&w);
}

static void an_orderly_end_lets_workers_say_goodbye(void **state)
{
    (void)state;
    struct pool_world w;
    world_open(&w);
    struct pool_config cfg = world_pool(&w, run_ack);
    cfg.workers = 2;
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_acked, 1);
    world_drain(&w, 5000);
    assert_true(world_logged(&w, "line=\"drain seen\"") >= 1);
    assert_int_equal(sl_buf_len(&w.failures), 0);
    world_close(&w);
}

static void a_deaf_worker_is_killed_after_the_grace_and_nobody_is_charged(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "deaf", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_delivered, 1);
    world_drain(&w, 1);
    assert_int_equal(world_logged(&w, "cause=worker_killed detail=\"signal 9\" unanswered=1"), 1);
    assert_int_equal(sl_buf_len(&w.failures), 0);
    world_close(&w);
}

static void the_nurserys_death_frees_the_messages_and_ends_the_pools(void **state)
{
    (void)state;
    struct pool_world w;
    const char *command[3];
    world_open(&w);
    struct pool_config cfg = behaving(&w, "hang", command);
    world_start(&w, &cfg);
    world_publish(&w, "in/1", sl_str("payload"));
    world_wait(&w, world_delivered, 1);
    assert_int_equal(kill(nursery_pid(w.nursery), SIGKILL), 0);
    world_wait(&w, world_nursery_died, 0);
    assert_int_equal(sl_buf_len(&w.failures), 0);
    struct pool_status s;
    pools_status(w.pools, 0, &s);
    assert_int_equal(s.running + s.starting + s.stopping + s.waiting, 0);
    world_close(&w);
}

static bool has_restarted(struct pool_world *w, uint64_t times)
{
    struct pool_status s;
    pools_status(w->pools, 0, &s);
    return s.restarts >= times;
}

static void check_growth(const char *who, size_t before, size_t after)
{
#ifdef __SANITIZE_ADDRESS__
    (void)before; /* freed memory waits in the sanitizer */
    (void)after;
    (void)who;
#else
    print_message("%s: %zu KiB, then %zu KiB\n", who, before >> 10, after >> 10);
    assert_in_range(after, 0, before + (8u << 20)); /* the log is kept in memory here */
#endif
}

/* SLUICE_RESTARTS=10000 is the long form. */
static void restarts_leave_no_zombie_no_descriptor_and_no_memory(void **state)
{
    (void)state;
    struct pool_world w;
    static const char *const command[] = { "/bin/true", NULL };
    const char *times = getenv("SLUICE_RESTARTS");
    uint64_t n = times != NULL ? strtoull(times, NULL, 10) : 400;
    world_open(&w);
    w.patience_ms = 600000;
    struct pool_config cfg = world_pool(&w, command);
    cfg.mode = POOL_LINES;
    cfg.workers = 4;
    cfg.restart_initial_ms = cfg.restart_max_ms = 0;
    world_start(&w, &cfg);
    world_wait(&w, has_restarted, n / 10);
    pid_t nursery = nursery_pid(w.nursery);
    size_t fds = world_open_fds(getpid()), nursery_fds = world_open_fds(nursery), rss = world_rss(getpid()), nursery_rss = world_rss(nursery);
    world_wait(&w, has_restarted, n);
    assert_in_range(world_open_fds(getpid()), 1, fds + 16); /* at most what four workers have open */
    assert_in_range(world_open_fds(nursery), 1, nursery_fds + 16);
    assert_in_range(world_children(nursery), 0, 4);
    check_growth("gateway", rss, world_rss(getpid()));
    check_growth("nursery", nursery_rss, world_rss(nursery));
    world_drain(&w, 5000);
    assert_int_equal(world_children(nursery), 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_messages_are_acked_by_four_workers),
        cmocka_unit_test(each_broken_worker_gets_its_exact_answer),
        cmocka_unit_test(an_answer_before_death_counts),
        cmocka_unit_test(an_answer_given_twice_is_stale_and_no_fault),
        cmocka_unit_test(who_does_not_read_what_it_is_answered_is_not_read_either),
        cmocka_unit_test(a_hanging_worker_is_killed_at_the_time_limit_and_charged_by_timeout),
        cmocka_unit_test(what_waits_behind_a_hanging_message_is_not_charged),
        cmocka_unit_test(a_message_that_kills_each_worker_is_dead_after_its_attempts),
        cmocka_unit_test(retry_and_dead_carry_their_reasons),
        cmocka_unit_test(a_worker_is_told_its_limits_and_its_message),
        cmocka_unit_test(large_messages_pass_a_full_socket),
        cmocka_unit_test(a_publish_is_answered_when_it_is_stored),
        cmocka_unit_test(the_soft_limit_is_told_to_who_asked),
        cmocka_unit_test(output_is_escaped_and_cut),
        cmocka_unit_test(output_is_limited_in_rate),
        cmocka_unit_test(stderr_names_the_one_started_message),
        cmocka_unit_test(a_broken_worker_is_told_why_before_the_end),
        cmocka_unit_test(a_worker_may_ask_for_a_smaller_prefetch),
        cmocka_unit_test(exec_may_finish_while_the_pools_drain),
        cmocka_unit_test(lines_workers_ack_and_end_with_their_stdin),
        cmocka_unit_test(each_broken_lines_worker_gets_its_exact_answer),
        cmocka_unit_test(a_line_answered_twice_is_stale),
        cmocka_unit_test(exec_answers_by_its_exit),
        cmocka_unit_test(a_command_that_is_not_there_charges_nobody),
        cmocka_unit_test(crash_loops_wait_longer_each_time),
        cmocka_unit_test(an_orderly_end_lets_workers_say_goodbye),
        cmocka_unit_test(a_deaf_worker_is_killed_after_the_grace_and_nobody_is_charged),
        cmocka_unit_test(the_nurserys_death_frees_the_messages_and_ends_the_pools),
        cmocka_unit_test(restarts_leave_no_zombie_no_descriptor_and_no_memory),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
