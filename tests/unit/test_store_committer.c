/* The hand-over between the loop and the commit thread. Runs under
 * ThreadSanitizer in the tsan preset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <string.h>

#include "core/alloc.h"
#include "store/committer.h"
#include "store_kit.h"

#define BATCHES 50u
#define FETCHES 20u

struct fixture {
    const char *engine;
    struct kit_dir dir;
    struct store *st;
    uv_loop_t loop;
    struct committer *c;
    struct batch *b;
    uint64_t next;      /* batch to submit */
    uint64_t committed; /* completions so far */
    uint32_t fetched;
    bool inside; /* a starting call is running */
    struct batch_fetch fetches[FETCHES];
    uint64_t ids[FETCHES];
    uint32_t entries[FETCHES];
    struct message *msgs[FETCHES];
};

static void submit_next(struct fixture *f)
{
    kit_enqueue(f->b, f->next, 1, 100);
    f->b->seq = f->next++;
    f->inside = true;
    committer_submit(f->c, f->b);
    f->inside = false;
    assert_true(committer_busy(f->c));
}

static void on_committed(void *arg, struct batch *b, int err)
{
    struct fixture *f = arg;
    assert_false(f->inside);
    assert_false(committer_busy(f->c));
    assert_int_equal(err, SL_OK);
    assert_ptr_equal(b, f->b);
    assert_int_equal(b->seq, ++f->committed);
    batch_reset(b);
    if (f->next <= BATCHES)
        submit_next(f);
    else if (f->fetched == FETCHES)
        uv_stop(&f->loop);
}

static void on_fetched(void *arg, struct batch_fetch *fetch)
{
    struct fixture *f = arg;
    assert_false(f->inside);
    assert_ptr_equal(fetch, &f->fetches[f->fetched]); /* in the order in which they were asked for */
    assert_int_equal(fetch->err, SL_OK);
    f->fetched++;
    if (f->fetched == FETCHES && f->committed == BATCHES)
        uv_stop(&f->loop);
}

static int setup(void **state)
{
    struct fixture *f = *state;
    const char *engine = f->engine;
    memset(f, 0, sizeof *f);
    f->engine = engine;
    kit_dir_make(&f->dir);
    f->st = kit_open(engine, f->dir.path);
    f->b = batch_new();
    f->next = 1;
    struct committer_callbacks cb = { .arg = f, .committed = on_committed, .fetched = on_fetched };
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(committer_start(f->st, &f->loop, &cb, &f->c), SL_OK);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    committer_stop(f->c);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    batch_free(f->b);
    for (uint32_t i = 0; i < FETCHES; i++) {
        if (f->msgs[i] != NULL)
            message_unref(f->msgs[i]);
    }
    store_close(f->st);
    kit_dir_remove(&f->dir);
    return 0;
}

static void fetch_all(struct fixture *f)
{
    for (uint32_t i = 0; i < FETCHES; i++) {
        f->ids[i] = i;
        f->fetches[i] = (struct batch_fetch){ .n = 1, .ids = &f->ids[i], .entries = &f->entries[i], .msgs = &f->msgs[i] };
        f->inside = true;
        committer_fetch(f->c, &f->fetches[i]);
        f->inside = false;
    }
}

static void completions_come_in_order_beside_fetches(void **state)
{
    struct fixture *f = *state;
    submit_next(f);
    fetch_all(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(f->committed, BATCHES);
    assert_int_equal(f->fetched, FETCHES);
    assert_false(committer_busy(f->c));
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.entries, BATCHES);
}

static void a_batch_applied_here_needs_no_callback(void **state)
{
    struct fixture *f = *state;
    f->next = BATCHES + 1;
    kit_enqueue(f->b, 7, 1, 100);
    assert_int_equal(committer_apply_here(f->c, f->b), SL_OK);
    assert_true(f->b->took_us < 60000000);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->committed, 0);
    f->ids[0] = 7;
    f->fetches[0] = (struct batch_fetch){ .n = 1, .ids = &f->ids[0], .entries = &f->entries[0], .msgs = &f->msgs[0] };
    committer_fetch(f->c, &f->fetches[0]);
    while (f->fetched == 0)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(message_id(f->msgs[0]), 7);
}

/* Teardown stops it: what was handed over is finished, nobody is called. */
static void stopped_while_busy_it_finishes_and_is_silent(void **state)
{
    struct fixture *f = *state;
    submit_next(f);
    fetch_all(f);
}

static int teardown_silent(void **state)
{
    struct fixture *f = *state;
    committer_stop(f->c);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(f->committed + f->fetched, 0);
    struct store_info info;
    assert_int_equal(store_info(f->st, &info), SL_OK);
    assert_int_equal(info.entries, 1);
    batch_free(f->b);
    for (uint32_t i = 0; i < FETCHES; i++) {
        if (f->msgs[i] != NULL)
            message_unref(f->msgs[i]);
    }
    store_close(f->st);
    kit_dir_remove(&f->dir);
    return 0;
}

int main(void)
{
    static struct fixture lmdb = { .engine = "lmdb" }, memory = { .engine = "memory" };
    const struct CMUnitTest tests[] = {
        { "completions_come_in_order_beside_fetches (lmdb)", completions_come_in_order_beside_fetches, setup, teardown, &lmdb },
        { "completions_come_in_order_beside_fetches (memory)", completions_come_in_order_beside_fetches, setup, teardown, &memory },
        { "a_batch_applied_here_needs_no_callback (lmdb)", a_batch_applied_here_needs_no_callback, setup, teardown, &lmdb },
        { "a_batch_applied_here_needs_no_callback (memory)", a_batch_applied_here_needs_no_callback, setup, teardown, &memory },
        { "stopped_while_busy_it_finishes_and_is_silent (lmdb)", stopped_while_busy_it_finishes_and_is_silent, setup, teardown_silent, &lmdb },
        { "stopped_while_busy_it_finishes_and_is_silent (memory)", stopped_while_busy_it_finishes_and_is_silent, setup, teardown_silent, &memory },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
