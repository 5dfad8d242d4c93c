/* order_by against a naive model: all messages in one array, and the law of
 * lines said once, by walking it.
 *
 * Of a key nothing goes while one of its messages is leased, released, or (on
 * failure "block") waits for its retry. Else the one of the smallest id that is
 * ready goes, unless it is held. Random operations, seeded, with restarts. */
#include <stdio.h>
#include <stdlib.h>

#include "core/rng.h"
#include "queue_kit.h"

#define OPERATIONS  40000u
#define CHECK_EVERY 64u
#define LIVE_MAX    240u
#define CONSUMERS   4u
#define PREFETCH    3u

enum wait { WAITS_NOT, WAITS_FIRST, WAITS_RETRY, WAITS_RELEASE };

struct thing {
    uint64_t id, due_ms, expires_ms, lease;
    struct message *msg;
    uint32_t key; /* 0: none */
    uint32_t entry, attempts, consumer;
    enum queue_state state;
    enum wait wait; /* DELAYED: for what */
    enum wait recorded; /* as the store knows it, which is not told of what is due, leased or released */
    uint64_t recorded_ms;
    uint8_t priority;
    bool held, body;
};

struct world {
    struct queue *q;
    struct queue_config cfg;
    struct sl_rng rng;
    struct sl_now now;
    uint64_t last_id;
    uint32_t keys;
    struct thing things[LIVE_MAX];
    uint32_t n;
    uint32_t consumers[CONSUMERS], holds[CONSUMERS];
    struct queue_change change;
    uint64_t acked, dropped;
    bool last_attempts; /* then who goes alone may be waited for */
};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)(sl_rng_u64(&w->rng) % n);
}

static struct thing *by_id(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->things[i].id == id)
            return &w->things[i];
    }
    assert_true(false);
    return NULL;
}

static void forget(struct world *w, struct thing *t)
{
    message_unref(t->msg);
    *t = w->things[--w->n];
}

static void gone(struct world *w, struct thing *t, enum queue_exit exit)
{
    assert_int_equal(w->change.fate, QUEUE_GONE);
    assert_int_equal(w->change.exit, exit);
    assert_int_equal(w->change.id, t->id);
    if (w->change.msg != NULL)
        message_unref(w->change.msg);
    forget(w, t);
}

/* ---- the law ---- */

static bool holds_its_key(const struct world *w, const struct thing *t)
{
    if (t->state == QUEUE_LEASED)
        return true;
    if (t->state != QUEUE_DELAYED)
        return false;
    return t->wait == WAITS_RELEASE || (t->wait == WAITS_RETRY && w->cfg.order.on_failure == QUEUE_FAILURE_BLOCKS);
}

static bool may_go(const struct world *w, const struct thing *t)
{
    if (t->state != QUEUE_READY || t->held)
        return false;
    for (uint32_t i = 0; i < w->n && t->key != 0; i++) {
        const struct thing *o = &w->things[i];
        if (o != t && o->key == t->key && (holds_its_key(w, o) || (o->state == QUEUE_READY && o->id < t->id)))
            return false;
    }
    return true;
}

static bool any_may_go(const struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (may_go(w, &w->things[i]))
            return true;
    }
    return false;
}

/* Nobody of a higher priority was there, nor one of a key and the same priority that is older. */
static void goes_rightly(const struct world *w, const struct thing *t)
{
    assert_true(may_go(w, t));
    for (uint32_t i = 0; i < w->n && !w->last_attempts; i++) {
        const struct thing *o = &w->things[i];
        bool before = o->priority > t->priority || (o->priority == t->priority && o->key != 0 && t->key != 0 && o->id < t->id);
        assert_false(before && may_go(w, o));
    }
}

/* ---- entry ---- */

static struct message *message_of(struct world *w, struct thing *t)
{
    char client[16];
    (void)snprintf(client, sizeof client, "c%u", t->key);
    struct message_parts parts = {
        .id = t->id,
        .protocol = MESSAGE_STOMP,
        .priority = t->priority,
        .accepted_at = w->now.wall_ms,
        .topic = sl_str("a"),
        .client_id = t->key == 0 ? SL_BYTES_NONE : sl_str(client),
        .flags = MESSAGE_DELIVER_RELATIVE | MESSAGE_EXPIRES_RELATIVE,
        .deliver_at = t->due_ms,
        .expires_at = t->expires_ms,
    };
    return message_new(&parts);
}

static void op_enqueue(struct world *w)
{
    if (w->n == LIVE_MAX)
        return;
    struct thing *t = &w->things[w->n++];
    *t = (struct thing){.id = ++w->last_id, .key = below(w, w->keys + 1), .body = true, .held = below(w, 6) == 0};
    t->priority = (uint8_t)(below(w, 3) == 0 ? below(w, 10) : 4);
    if (t->key != 0 && below(w, 4) == 0)
        t->due_ms = w->now.steady_ms + 1 + below(w, 60);
    if (below(w, 8) == 0)
        t->expires_ms = w->now.steady_ms + below(w, 200);
    t->state = t->due_ms == 0 ? QUEUE_READY : QUEUE_DELAYED;
    t->wait = t->recorded = t->due_ms == 0 ? WAITS_NOT : WAITS_FIRST;
    t->recorded_ms = t->due_ms;
    t->msg = message_of(w, t);
    t->entry = queue_enqueue(w->q, t->msg, t->held ? QUEUE_HOLD : 0, &w->now);
    assert_int_equal(queue_entry_order_key(w->q, t->entry), queue_order_key(w->q, t->msg));
    assert_true((queue_entry_order_key(w->q, t->entry) == 0) == (t->key == 0));
}

static void op_unhold(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[i];
        if (!t->held || below(w, 3) == 0)
            continue;
        t->held = false;
        assert_int_equal(queue_unhold(w->q, t->entry, t->id), SL_OK);
        return;
    }
}

/* ---- going out ---- */

static void op_bodies(struct world *w)
{
    if (w->n == 0)
        return;
    struct thing *t = &w->things[below(w, w->n)];
    if (t->state == QUEUE_LEASED)
        return;
    (void)queue_evict(w->q, t->entry, t->id);
    t->body = false;
}

static void serve_fetch(struct world *w)
{
    uint64_t ids[5];
    uint32_t entries[5];
    uint32_t n = queue_wanted(w->q, ids, entries, SL_COUNT(ids), 1 << 20);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++) {
        struct thing *t = by_id(w, ids[i]);
        assert_false(t->body);
        queue_give_body(w->q, entries[i], ids[i], t->msg);
        t->body = true;
    }
}

static uint32_t index_of(const struct world *w, uint32_t slot)
{
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        if (w->consumers[i] == slot)
            return i;
    }
    assert_true(false);
    return 0;
}

static void expect_reason_to_idle(const struct world *w)
{
    if (w->last_attempts || !any_may_go(w))
        return;
    for (uint32_t i = 0; i < CONSUMERS; i++)
        assert_int_equal(w->holds[i], PREFETCH);
}

static bool dispatch_one(struct world *w)
{
    struct queue_delivery d;
    enum queue_step step = queue_dispatch(w->q, &w->now, &d, &w->change);
    if (step == QUEUE_IDLE) {
        expect_reason_to_idle(w);
        return false;
    }
    if (step == QUEUE_FETCH) {
        serve_fetch(w);
        return true;
    }
    struct thing *t = by_id(w, step == QUEUE_DROP ? w->change.id : message_id(d.msg));
    goes_rightly(w, t);
    bool expired = t->expires_ms != 0 && t->expires_ms <= w->now.steady_ms;
    assert_true(expired == (step == QUEUE_DROP));
    if (expired) {
        gone(w, t, QUEUE_EXIT_EXPIRED);
        return true;
    }
    t->state = QUEUE_LEASED;
    t->lease = d.lease;
    t->consumer = index_of(w, d.consumer);
    w->holds[t->consumer]++;
    assert_true(w->holds[t->consumer] <= PREFETCH);
    return true;
}

static void op_dispatch(struct world *w)
{
    for (uint32_t n = below(w, 6); n > 0 && dispatch_one(w); n--)
        continue;
}

/* ---- coming back ---- */

static void failed(struct world *w, struct thing *t)
{
    bool kills = t->key != 0 && w->cfg.order.on_failure == QUEUE_FAILURE_KILLS;
    t->attempts++;
    assert_int_equal(w->change.state == QUEUE_DEAD, kills || t->attempts >= w->cfg.max_attempts);
    assert_int_equal(w->change.attempts, t->attempts);
    t->state = w->change.state;
    t->wait = t->recorded = WAITS_RETRY;
    t->due_ms = t->recorded_ms = w->change.due_steady_ms;
}

static void returned(struct thing *t)
{
    t->state = QUEUE_READY;
}

static struct thing *random_leased(struct world *w)
{
    for (uint32_t i = 0, at = below(w, w->n + 1); i < w->n; i++) {
        struct thing *t = &w->things[(i + at) % w->n];
        if (t->state == QUEUE_LEASED)
            return t;
    }
    return NULL;
}

static void answer(struct world *w, struct thing *t, enum queue_verb verb)
{
    struct queue_answer a = {.verb = verb, .has_delay = true, .delay_ms = below(w, 80)};
    assert_int_equal(queue_answer(w->q, t->lease, &a, &w->now, &w->change), SL_OK);
    w->holds[t->consumer]--;
    switch (verb) {
    case QUEUE_ACK:
        w->acked++;
        gone(w, t, QUEUE_EXIT_ACK);
        return;
    case QUEUE_RETRY:
        failed(w, t);
        return;
    case QUEUE_RELEASE:
        t->state = QUEUE_DELAYED;
        t->wait = WAITS_RELEASE;
        t->due_ms = w->change.due_steady_ms;
        return;
    case QUEUE_KILL:
        t->attempts++;
        t->state = QUEUE_DEAD;
        return;
    }
}

static void op_answer(struct world *w)
{
    static const enum queue_verb verbs[] = {QUEUE_ACK, QUEUE_ACK, QUEUE_ACK, QUEUE_RETRY, QUEUE_RETRY, QUEUE_RELEASE, QUEUE_KILL};
    struct thing *t = random_leased(w);
    if (t != NULL)
        answer(w, t, verbs[below(w, SL_COUNT(verbs))]);
}

static void op_give_back(struct world *w)
{
    struct thing *t = random_leased(w);
    if (t == NULL)
        return;
    assert_int_equal(queue_give_back(w->q, t->lease, true, &w->now, &w->change), SL_OK);
    w->holds[t->consumer]--;
    returned(t);
}

static uint32_t add_consumer(struct world *w)
{
    struct queue_consumer_config c = {.prefetch = PREFETCH, .concurrency = 2, .fixed_credit = true, .arg = w};
    return queue_consumer_add(w->q, &c);
}

static void op_lose(struct world *w)
{
    uint32_t i = below(w, CONSUMERS);
    struct queue_loss loss = {.cause = QUEUE_CAUSE_EXIT, .charge_none = below(w, 2) == 0};
    while (queue_consumer_lose(w->q, w->consumers[i], &loss, &w->now, &w->change)) {
        struct thing *t = by_id(w, w->change.id);
        if (w->change.cause == QUEUE_CAUSE_EXIT)
            failed(w, t);
        else
            returned(t);
    }
    w->holds[i] = 0;
    w->consumers[i] = add_consumer(w);
}

/* ---- time, room, restart ---- */

static void tick_all(struct world *w)
{
    while (queue_tick(w->q, &w->now, &w->change)) {
        struct thing *t = by_id(w, w->change.id);
        assert_int_equal(t->state, QUEUE_DELAYED);
        assert_true(t->due_ms <= w->now.steady_ms);
        t->state = QUEUE_READY;
    }
    for (uint32_t i = 0; i < w->n; i++)
        assert_false(w->things[i].state == QUEUE_DELAYED && w->things[i].due_ms <= w->now.steady_ms);
}

static void op_time(struct world *w)
{
    uint64_t ms = below(w, 20);
    w->now.mono_us += ms * 1000;
    w->now.mono_ms += ms;
    w->now.wall_ms += ms;
    w->now.steady_ms += ms;
    tick_all(w);
}

static void op_make_room(struct world *w)
{
    uint64_t ready = 0, others = 0, oldest = UINT64_MAX;
    bool held = false;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        bool is_ready = t->state == QUEUE_READY && !t->held;
        held = held || t->held;
        ready += is_ready;
        others += !is_ready && t->state != QUEUE_DEAD;
        if (is_ready && t->id < oldest)
            oldest = t->id;
    }
    uint32_t ask = (uint32_t)(w->cfg.max_messages - ready - others) + 1;
    bool can = ready > 0 && w->cfg.overflow == QUEUE_DROP_OLDEST;
    assert_int_equal(queue_make_room(w->q, ask, 0, &w->change), can);
    if (!can)
        return;
    struct thing *t = by_id(w, w->change.id);
    assert_true(t->state == QUEUE_READY && !t->held && (held || t->id == oldest));
    w->dropped++;
    gone(w, t, QUEUE_EXIT_DROPPED);
}

/* Cancelled, or purged. */
static void op_remove(struct world *w)
{
    struct thing *t = w->n == 0 ? NULL : &w->things[below(w, w->n)];
    if (t == NULL)
        return;
    int err = queue_remove(w->q, t->entry, t->id, QUEUE_EXIT_CANCELLED, &w->change);
    assert_int_equal(err, t->state == QUEUE_LEASED ? SL_ESTATE : SL_OK);
    if (err == SL_OK)
        gone(w, t, QUEUE_EXIT_CANCELLED);
}

static void op_trim(struct world *w)
{
    while (queue_trim_dead(w->q, &w->change))
        gone(w, by_id(w, w->change.id), QUEUE_EXIT_DEAD_DROPPED);
}

static int compare_things(const void *a, const void *b)
{
    const struct thing *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void restore_one(struct world *w, struct thing *t, uint64_t key)
{
    if (t->state != QUEUE_DEAD) {
        t->state = t->recorded == WAITS_NOT ? QUEUE_READY : QUEUE_DELAYED;
        t->wait = t->recorded;
        t->due_ms = t->recorded_ms;
    }
    struct queue_restored r = {.id = t->id, .bytes = (uint32_t)message_bytes(t->msg), .priority = t->priority, .state = t->state,
                               .attempts = t->attempts, .due_ms = t->due_ms, .order_key = key,
                               .expires_at = t->expires_ms, .expires_relative = true};
    queue_restore(w->q, &r, &w->now);
    t->body = t->held = false;
}

static void begin(struct world *w)
{
    w->q = queue_new(&w->cfg, sl_rng_u64(&w->rng));
    memset(w->holds, 0, sizeof w->holds);
    w->acked = w->dropped = 0;
}

/* The entries of the new queue are found by their ids: they come out of a fresh slab in turn. */
static void op_restart(struct world *w)
{
    uint64_t keys[LIVE_MAX];
    qsort(w->things, w->n, sizeof w->things[0], compare_things);
    for (uint32_t i = 0; i < w->n; i++)
        keys[i] = queue_order_key(w->q, w->things[i].msg);
    queue_check(w->q);
    queue_free(w->q);
    begin(w);
    for (uint32_t i = 0; i < w->n; i++) {
        restore_one(w, &w->things[i], keys[i]);
        w->things[i].entry = i + 1;
        assert_true(queue_has(w->q, i + 1, w->things[i].id));
    }
    for (uint32_t i = 0; i < CONSUMERS; i++)
        w->consumers[i] = add_consumer(w);
    queue_check(w->q);
    tick_all(w);
}

/* ---- the walk ---- */

typedef void operation(struct world *w);

static operation *const k_operations[] = {op_enqueue, op_enqueue, op_enqueue, op_unhold, op_dispatch, op_dispatch,
                                          op_dispatch, op_answer, op_answer, op_answer, op_give_back, op_time, op_bodies};
static operation *const k_rare[] = {op_lose, op_make_room, op_make_room, op_remove, op_remove, op_trim, op_restart};

static void compare(struct world *w)
{
    uint64_t count[QUEUE_NSTATES] = {0};
    struct queue_depth d;
    for (uint32_t i = 0; i < w->n; i++)
        count[w->things[i].state]++;
    queue_depth(w->q, &d);
    assert_memory_equal(count, d.count, sizeof count);
}

static void run(uint64_t seed)
{
    struct world w = {.cfg = kit_config()};
    sl_rng_seed(&w.rng, seed);
    w.keys = 1 + below(&w, 12);
    w.cfg.order = (struct queue_order){.on = true, .key = QUEUE_KEY_CLIENT, .on_failure = (enum queue_on_failure)(seed % 3), .hash = {seed, 1}};
    w.cfg.overflow = seed % 2 == 0 ? QUEUE_DROP_OLDEST : QUEUE_BLOCK;
    w.last_attempts = seed % 5 == 0;
    w.cfg.max_attempts = w.last_attempts ? 3 : 1000;
    w.cfg.dead_max_messages = 20;
    w.cfg.max_bytes = UINT64_MAX;
    w.cfg.retry_initial_ms = 30;
    w.cfg.retry_jitter = 0.5;
    w.cfg.retry_factor = 1;
    w.now = (struct sl_now){5000000, 5000, KIT_WALL_MS, KIT_WALL_MS};
    begin(&w);
    for (uint32_t i = 0; i < CONSUMERS; i++)
        w.consumers[i] = add_consumer(&w);
    for (uint32_t n = 0; n < OPERATIONS; n++) {
        (below(&w, 20) == 0 ? k_rare[below(&w, SL_COUNT(k_rare))] : k_operations[below(&w, SL_COUNT(k_operations))])(&w);
        compare(&w);
        if (n % CHECK_EVERY == 0)
            queue_check(w.q);
    }
    queue_check(w.q);
    queue_free(w.q);
    while (w.n > 0)
        forget(&w, &w.things[0]);
}

static void lines_do_what_the_naive_model_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_do_what_the_naive_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
