/* Pools with real processes: what each broken worker costs, and whom. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

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
        print_message("           %s\n", broken[i].how);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_messages_are_acked_by_four_workers),
        cmocka_unit_test(each_broken_worker_gets_its_exact_answer),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
