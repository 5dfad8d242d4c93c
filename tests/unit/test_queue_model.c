/* The queue against the model of queue_model.h: random configurations, random
 * operations, seeded; after each of them both must agree.
 *
 * test_queue_model [SEEDS [FIRST]] walks longer, or again. */
#include <stdio.h>
#include <stdlib.h>

#include "queue_model_walk.h"

#define OPERATIONS  12000u
#define CHECK_EVERY 64u
#define WALL_MS     UINT64_C(1000000000000)
#define SEEDS       150u

static uint64_t first_seed = 1, n_seeds = SEEDS;

/* ---- comparison ---- */

struct model_message *walk_find(struct walk *w, uint64_t id)
{
    struct model_message *t = model_find(&w->m, id);
    if (t == NULL)
        fail_msg("the queue knows %u, the model does not", (unsigned)id);
    return t;
}

void walk_expect(const struct queue_change *c, const struct model_message *t, enum queue_fate fate)
{
    assert_int_equal(c->id, t->id);
    assert_int_equal(c->entry, t->entry);
    assert_int_equal(c->fate, fate);
    assert_int_equal(c->state, t->state);
    assert_int_equal(c->attempts, t->attempts);
    assert_true((c->msg != NULL) == t->body);
}

void walk_expect_gone(struct walk *w, const struct queue_change *c, enum queue_exit exit)
{
    struct model_message *t = walk_find(w, c->id);
    assert_int_equal(c->fate, QUEUE_GONE);
    assert_int_equal(c->exit, exit);
    assert_true((c->msg != NULL) == t->body);
    if (c->msg != NULL)
        message_unref(c->msg);
    model_remove(&w->m, t);
    w->left++;
}

struct model_message *walk_random(struct walk *w, enum queue_state state)
{
    uint32_t start = w->m.n == 0 ? 0 : (uint32_t)below(w, w->m.n);
    for (uint32_t i = 0; i < w->m.n; i++) {
        struct model_message *t = &w->m.messages[(start + i) % w->m.n];
        if (t->state == state)
            return t;
    }
    return NULL;
}

static void compare(struct walk *w)
{
    uint64_t count[QUEUE_NSTATES] = {0}, bytes = 0, dead_bytes = 0;
    for (uint32_t i = 0; i < w->m.n; i++) {
        const struct model_message *t = &w->m.messages[i];
        count[t->state]++;
        w->reached[t->state]++;
        *(t->state == QUEUE_DEAD ? &dead_bytes : &bytes) += t->bytes;
    }
    struct queue_depth d;
    queue_depth(w->q, &d);
    assert_memory_equal(d.count, count, sizeof count);
    assert_int_equal(d.bytes, bytes);
    assert_int_equal(d.dead_bytes, dead_bytes);
    assert_int_equal(w->entered, w->left + w->gone_with_a_restart + w->m.n);
    for (uint32_t i = 0; i < MODEL_CONSUMERS; i++) {
        if (w->m.consumers[i].here)
            assert_int_equal(queue_consumer_unanswered(w->q, w->m.consumers[i].slot), model_unanswered(&w->m, i));
    }
}

/* ---- one walk ---- */

/* Each as often as it stands here. */
static operation *const k_operations[] = {
    walk_enter,       walk_enter,     walk_enter,          walk_enter,  walk_enter,    walk_dispatch,
    walk_dispatch,    walk_dispatch,  walk_dispatch,       walk_answer, walk_answer,   walk_answer,
    walk_answer,      walk_answer,    walk_time,           walk_time,   walk_bodies,   walk_extend,
    walk_answer_late, walk_make_room, walk_consumer_comes, walk_unhold, walk_overdue,  walk_trim,
    walk_give_back,   walk_replace,
};
static operation *const k_rare[] = {
    walk_consumer_is_lost, walk_consumer_stops, walk_consumer_is_lost, walk_dead,   walk_restart,
    walk_pause,            walk_pause,          walk_pause,            walk_cancel, walk_purge,
    walk_peek,             walk_peek,            walk_dead_leave,       walk_cursor, walk_cursor,
    walk_cursor,           walk_cursor,
};

static struct queue_order some_order(struct walk *w)
{
    struct queue_order o = {.on = below(w, 3) != 0, .key = (enum queue_key)below(w, 3), .hash = {1, 2}};
    o.header = o.key == QUEUE_KEY_HEADER ? "line" : NULL;
    o.on_failure = (enum queue_on_failure)below(w, 3);
    return o;
}

static struct queue_config some_config(struct walk *w)
{
    return (struct queue_config){
        .name = "model",
        .durable = true,
        .max_messages = 10 + below(w, 60),
        .max_bytes = below(w, 2) == 0 ? 1 << 20 : 5000,
        .overflow = (enum queue_overflow)below(w, 3),
        .max_attempts = 1 + (uint32_t)below(w, 4),
        .retry_initial_ms = 50,
        .retry_factor = 2,
        .retry_max_ms = 150,
        .retry_jitter = 0.5,
        .ttl_ms = below(w, 4) == 0 ? 500 + below(w, 2000) : 0,
        .dead_max_messages = 1 + below(w, 40),
        .dead_ttl_ms = below(w, 2) == 0 ? 5000 : 0,
        .order = some_order(w),
        .dead_expired = below(w, 2) == 0,
    };
}

static struct walk *walk_new(uint64_t seed)
{
    struct walk *w = SL_NEW(struct walk);
    sl_rng_seed(&w->rng, seed);
    w->seed = seed;
    w->m.cfg = some_config(w);
    w->m.now = (struct sl_now){1000000, 1000, WALL_MS, WALL_MS};
    w->q = queue_new(&w->m.cfg, seed);
    return w;
}

static void count(struct queue_counters *sum, const struct queue_counters *c)
{
#define X(name) sum->name += c->name;
    QUEUE_COUNTERS(X)
#undef X
}

void walk_free_queue(struct walk *w)
{
    count(&w->counted, queue_counters(w->q));
    queue_check(w->q);
    queue_free(w->q);
}

static void walk_end(struct walk *w)
{
    walk_cursor_end(w);
    walk_free_queue(w);
    while (w->m.n > 0) {
        assert_int_equal(w->m.messages[0].msg->refs, 1);
        model_remove(&w->m, &w->m.messages[0]);
    }
}

static void step(struct walk *w, uint32_t i)
{
    if (below(w, 50) == 0)
        k_rare[below(w, SL_COUNT(k_rare))](w);
    else
        k_operations[below(w, SL_COUNT(k_operations))](w);
    model_forget_releases(&w->m);
    walk_look_at_cursor(w);
    compare(w);
    if (i % CHECK_EVERY == 0)
        queue_check(w->q);
}

/* ---- all walks ---- */

/* Of all walks together: they were worth something. */
struct worth {
    uint64_t delivered, waited, stale, left, restarts, pauses, reached[QUEUE_NSTATES];
    struct queue_counters counted;
};

static void add_worth(struct worth *sum, const struct walk *w)
{
    sum->delivered += w->delivered;
    sum->waited += w->waited;
    sum->stale += w->stale;
    sum->left += w->left;
    sum->restarts += w->restarts;
    sum->pauses += w->pauses;
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        sum->reached[s] += w->reached[s];
    count(&sum->counted, &w->counted);
}

static void expect_worth(const struct worth *v)
{
    uint64_t operations = n_seeds * OPERATIONS;
    const struct queue_counters *c = &v->counted;
    assert_true(v->delivered > operations / 20 && v->left > operations / 20);
    assert_true(v->stale > operations / 600 && v->waited > operations / 200 && v->restarts > n_seeds && v->pauses > n_seeds);
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        assert_true(v->reached[s] > operations / 20);
    assert_true(c->expired > operations / 1000 && c->dropped > operations / 5000);
    assert_true(c->dead_expired > operations / 5000 && c->dead_dropped > operations / 5000);
    assert_true(c->released > operations / 1000 && c->returned > operations / 1000 && c->timed_out > 0);
    assert_true(c->cancelled > operations / 5000 && c->purged > operations / 5000);
    assert_true(c->moved > operations / 5000 && c->dead_removed > operations / 5000 && c->expired_dead > operations / 5000);
    assert_true(c->replaced > operations / 500);
}

static void the_queue_does_what_the_simple_model_does(void **state)
{
    (void)state;
    struct worth sum = {0};
    for (uint64_t seed = first_seed; seed < first_seed + n_seeds; seed++) {
        struct walk *w = walk_new(seed);
        for (uint32_t i = 0; i < OPERATIONS; i++)
            step(w, i);
        walk_end(w);
        add_worth(&sum, w);
        sl_free(w);
    }
    if (n_seeds >= SEEDS)
        expect_worth(&sum);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_queue_does_what_the_simple_model_does),
    };
    if (argc > 1)
        n_seeds = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        first_seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
