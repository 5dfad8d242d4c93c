/* The queue against the model of queue_world.h: random operations, seeded; each
 * is followed by cheap comparisons, some by queue_check. */
#include "queue_world.h"

#define OPERATIONS  60000u
#define CHECK_EVERY 64u
#define WALL_MS     UINT64_C(1000000000000)

static const uint64_t k_seeds[] = {1, 2, 3, 4, 5};

/* ---- operations ---- */

static void op_enqueue(struct world *w)
{
    if (below(w, LIVE_MAX / 2) < w->n)
        return;
    struct thing t = {.id = ++w->last_id, .body = true, .line = FIFO};
    t.priority = (uint8_t)(below(w, 3) == 0 ? below(w, 10) : 4);
    struct message_parts parts = {.id = t.id,
                                  .protocol = MESSAGE_STOMP,
                                  .priority = t.priority,
                                  .accepted_at = w->now.wall_ms};
    uint8_t payload[64] = {0};
    parts.payload = sl_bytes_of(payload, below(w, sizeof payload));
    if (below(w, 4) == 0) {
        t.absolute = below(w, 2) == 0;
        parts.flags |= t.absolute ? 0 : MESSAGE_DELIVER_RELATIVE;
        t.due = parts.deliver_at = (t.absolute ? w->now.wall_ms : w->now.steady_ms) + below(w, 500);
    }
    if (below(w, 4) == 0) {
        t.expires_relative = below(w, 2) == 0;
        parts.flags |= t.expires_relative ? MESSAGE_EXPIRES_RELATIVE : 0;
        t.expires = parts.expires_at = w->now.steady_ms + below(w, 3000);
    }
    bool later = t.due > (t.absolute ? w->now.wall_ms : w->now.steady_ms);
    t.state = later ? QUEUE_DELAYED : QUEUE_READY;
    t.held = below(w, 8) == 0;
    t.joined = ++w->counter;
    t.msg = message_new(&parts);
    t.bytes = (uint32_t)message_bytes(t.msg);
    t.entry = queue_enqueue(w->q, t.msg, t.held ? QUEUE_HOLD : 0, &w->now);
    w->things[w->n++] = t;
    w->entered++;
}

static void op_unhold(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[i];
        if (!t->held)
            continue;
        assert_int_equal(queue_unhold(w->q, t->entry, t->id), SL_OK);
        t->held = false;
        if (t->state != QUEUE_READY)
            return;
        /* Behind the youngest of the fifo only when it is younger than that. */
        const struct thing *last = NULL;
        for (uint32_t k = 0; k < w->n; k++) {
            const struct thing *o = &w->things[k];
            if (o != t && o->state == QUEUE_READY && !o->held && o->line == FIFO &&
                o->priority == t->priority && (last == NULL || o->joined > last->joined))
                last = o;
        }
        t->line = last == NULL || last->id < t->id ? FIFO : RETURNED;
        t->joined = ++w->counter;
        return;
    }
}

static void deliver(struct world *w, const struct queue_delivery *d, struct thing *regular,
                    struct thing *alone)
{
    struct thing *t = by_id(w, message_id(d->msg));
    struct taker *c = by_slot(w, d->consumer);
    bool last = is_alone(w, t);
    assert_true(t == (last ? alone : regular));
    assert_true(t->body && !has_expired(w, t));
    assert_true(may_take(w, c));
    assert_ptr_equal(d->consumer_arg, c);
    assert_int_equal(d->attempt, t->attempts + 1);
    assert_true(d->redelivered == t->redelivered);
    assert_true(d->last == (t->attempts + 1 >= w->cfg.max_attempts));
    if (last) {
        assert_int_equal(unanswered(w, c, false), 0);
        assert_true(regular == NULL || goes_before(t, regular));
    } else if (alone == NULL && unanswered(w, c, false) >= c->concurrency && t->released_by == 0) {
        assert_int_equal(hungry(w), 0);
    }
    for (uint32_t i = 0; i < CONSUMERS && t->released_by == c->slot; i++) {
        const struct taker *o = &w->takers[i];
        assert_true(o == c || !may_take(w, o) || unanswered(w, o, false) >= o->concurrency ||
                    alone != NULL);
    }
    t->state = QUEUE_LEASED;
    t->lease = d->lease;
    t->consumer = c->slot;
    t->leased_order = ++w->counter;
    t->released_by = 0;
    start_waiting(w, c);
    w->delivered++;
    w->waiting += !t->started;
}

static void serve_fetch(struct world *w)
{
    uint64_t ids[8];
    uint32_t entries[8];
    uint32_t n = queue_wanted(w->q, ids, entries, 1 + (uint32_t)below(w, 8), 500);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++) {
        struct thing *t = by_id(w, ids[i]);
        assert_true(!t->body && !t->wanted && t->state == QUEUE_READY && !t->held);
        assert_int_equal(entries[i], t->entry);
        t->wanted = true;
    }
}

/* Nothing was done: there must be a reason. */
static void expect_reason_to_idle(struct world *w, const struct thing *regular,
                                  const struct thing *alone)
{
    uint32_t reserved = alone != NULL ? 1 : 0;
    if (regular != NULL && hungry(w) > reserved)
        assert_true(!regular->body && regular->wanted);
}

static bool dispatch_one(struct world *w)
{
    struct thing *regular = first_ready(w, false), *alone = first_ready(w, true);
    struct queue_delivery d;
    struct queue_change c;
    switch (queue_dispatch(w->q, &w->now, &d, &c)) {
    case QUEUE_DELIVER:
        deliver(w, &d, regular, alone);
        return true;
    case QUEUE_DROP: {
        struct thing *t = by_id(w, c.id);
        assert_true((t == regular || t == alone) && has_expired(w, t));
        expect_gone(w, &c, QUEUE_EXIT_EXPIRED);
        return true;
    }
    case QUEUE_FETCH:
        assert_true((regular != NULL && !regular->body) || (alone != NULL && !alone->body));
        serve_fetch(w);
        return true;
    case QUEUE_IDLE:
        expect_reason_to_idle(w, regular, alone);
        return false;
    }
    return false;
}

static void op_dispatch(struct world *w)
{
    for (uint64_t steps = 1 + below(w, 12); steps > 0; steps--) {
        if (!dispatch_one(w))
            return;
    }
}

static void op_bodies(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[i];
        uint64_t dice = below(w, 100);
        if (t->wanted && dice < 80) {
            queue_give_body(w->q, t->entry, t->id, t->msg);
            t->wanted = false;
            t->body = true;
        } else if (t->wanted && dice < 90) {
            queue_body_failed(w->q, t->entry, t->id);
            t->wanted = false;
        } else if (t->body && t->state != QUEUE_LEASED && dice == 99) {
            (void)queue_evict(w->q, t->entry, t->id);
            t->body = false;
        }
    }
}

static struct thing *random_leased(struct world *w)
{
    uint32_t start = w->n == 0 ? 0 : (uint32_t)below(w, w->n);
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[(start + i) % w->n];
        if (t->state == QUEUE_LEASED)
            return t;
    }
    return NULL;
}

static void op_answer(struct world *w)
{
    struct thing *t = random_leased(w);
    struct queue_change c;
    if (t == NULL)
        return;
    struct taker *from = by_slot(w, t->consumer);
    uint64_t dice = below(w, 20);
    struct queue_answer a = {.verb = dice < 12   ? QUEUE_ACK
                                     : dice < 16 ? QUEUE_RETRY
                                     : dice < 19 ? QUEUE_RELEASE
                                                 : QUEUE_KILL};
    a.has_delay = below(w, 3) == 0;
    a.delay_ms = below(w, 300);
    uint64_t lease = t->lease;
    assert_int_equal(queue_answer(w->q, lease, &a, &w->now, &c), SL_OK);
    from->measured = from->measured || a.verb != QUEUE_RELEASE;
    end_lease(t);
    switch (a.verb) {
    case QUEUE_ACK:
        expect_gone(w, &c, QUEUE_EXIT_ACK);
        break;
    case QUEUE_RETRY:
        expect_failed(w, t, &c, a.has_delay ? &a.delay_ms : NULL);
        assert_true((t->state == QUEUE_DEAD) == (t->attempts == w->cfg.max_attempts));
        break;
    case QUEUE_KILL:
        expect_failed(w, t, &c, NULL);
        assert_int_equal(t->state, QUEUE_DEAD);
        break;
    case QUEUE_RELEASE:
        t->state = QUEUE_DELAYED;
        t->absolute = false;
        t->due = w->now.steady_ms + (t->releases < 6 ? 100u << t->releases : 5000);
        t->due = t->due < w->now.steady_ms + 5000 ? t->due : w->now.steady_ms + 5000;
        t->releases++;
        t->released_by = from->slot;
        assert_int_equal(c.due_steady_ms, t->due);
        expect_change(&c, t, QUEUE_UNCHANGED);
        break;
    }
    start_waiting(w, from);
    w->old_lease = lease;
}

static void op_stale_answer(struct world *w)
{
    struct queue_change c;
    struct queue_answer a = {.verb = QUEUE_ACK};
    if (w->old_lease == 0)
        return;
    assert_int_equal(queue_answer(w->q, w->old_lease, &a, &w->now, &c), SL_ESTATE);
    w->stale++;
}

static void op_extend(struct world *w)
{
    struct thing *t = random_leased(w);
    if (t == NULL)
        return;
    uint64_t ms = below(w, 2000);
    assert_int_equal(queue_extend(w->q, t->lease, ms, &w->now), SL_OK);
    if (t->started && t->limit != UINT64_MAX)
        t->limit = w->now.mono_ms + ms;
}

/* ---- consumers ---- */

static void op_consumer_add(struct world *w)
{
    struct taker *c = &w->takers[below(w, CONSUMERS)];
    if (c->slot != 0)
        return;
    *c = (struct taker){.prefetch = 1 + (uint32_t)below(w, 8),
                        .concurrency = 1 + (uint32_t)below(w, 3),
                        .time_limit = below(w, 2) * (500 + below(w, 500))};
    struct queue_consumer_config cfg = {.prefetch = c->prefetch,
                                        .concurrency = c->concurrency,
                                        .time_limit_ms = c->time_limit,
                                        .arg = c};
    c->slot = queue_consumer_add(w->q, &cfg);
    assert_true(c->slot != 0);
}

static struct thing *oldest_of(struct world *w, const struct taker *c)
{
    struct thing *oldest = NULL;
    for (uint32_t i = 0; i < w->n; i++) {
        struct thing *t = &w->things[i];
        if (t->state == QUEUE_LEASED && t->consumer == c->slot &&
            (oldest == NULL || t->leased_order < oldest->leased_order))
            oldest = t;
    }
    return oldest;
}

static void lose(struct world *w, struct taker *c, const struct queue_loss *loss)
{
    struct queue_change change;
    struct thing *t;
    while ((t = oldest_of(w, c)) != NULL) {
        bool charged =
            t->started && !loss->charge_none && (!loss->timeout || t->limit <= w->now.mono_ms);
        assert_true(queue_consumer_lose(w->q, c->slot, loss, &w->now, &change));
        assert_int_equal(change.id, t->id);
        end_lease(t);
        if (charged) {
            expect_failed(w, t, &change, NULL);
            assert_true((t->state == QUEUE_DEAD) == (t->attempts == w->cfg.max_attempts));
            assert_int_equal(change.cause, loss->timeout ? QUEUE_CAUSE_TIMEOUT : loss->cause);
        } else {
            t->state = QUEUE_READY;
            t->line = RETURNED;
            expect_change(&change, t, QUEUE_UNCHANGED);
        }
    }
    assert_false(queue_consumer_lose(w->q, c->slot, loss, &w->now, &change));
    c->slot = 0; /* a new consumer in this slot inherits what it released: no harm */
}

static void op_consumer_lose(struct world *w)
{
    struct taker *c = &w->takers[below(w, CONSUMERS)];
    struct queue_loss loss = {.cause = QUEUE_CAUSE_EXIT, .charge_none = below(w, 4) == 0};
    if (c->slot != 0)
        lose(w, c, &loss);
}

static void op_consumer_stop(struct world *w)
{
    struct taker *c = &w->takers[below(w, CONSUMERS)];
    if (c->slot == 0)
        return;
    queue_consumer_stop(w->q, c->slot);
    c->stopped = true;
}

static bool is_overdue(const struct world *w, const struct taker *c)
{
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        if (t->state == QUEUE_LEASED && t->consumer == c->slot && t->started &&
            t->limit <= w->now.mono_ms)
            return true;
    }
    return false;
}

/* ---- time ---- */

static void become_ready(struct world *w, const struct queue_change *c)
{
    struct thing *t = by_id(w, c->id);
    assert_int_equal(t->state, QUEUE_DELAYED);
    assert_true(t->due <= (t->absolute ? w->now.wall_ms : w->now.steady_ms));
    t->state = QUEUE_READY;
    t->line = t->attempts > 0 || t->releases > 0 ? RETURNED : FIFO;
    t->joined = ++w->counter;
    expect_change(c, t, QUEUE_UNCHANGED);
}

static const struct thing *first_dead(const struct world *w)
{
    const struct thing *first = NULL;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        if (t->state == QUEUE_DEAD && (first == NULL || t->died_order < first->died_order))
            first = t;
    }
    return first;
}

static void expect_nothing_due(const struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        const struct thing *t = &w->things[i];
        uint64_t clock = t->absolute ? w->now.wall_ms : w->now.steady_ms;
        assert_true(t->state != QUEUE_DELAYED || t->due > clock);
        assert_true(t->state != QUEUE_DEAD || t->died + w->cfg.dead_ttl_ms > w->now.steady_ms);
    }
}

static void op_time(struct world *w)
{
    uint64_t ms = below(w, 3) == 0 ? 0 : below(w, 200);
    w->now.mono_us += ms * 1000 + below(w, 1000);
    uint64_t passed = w->now.mono_us / 1000 - w->now.mono_ms;
    w->now.mono_ms += passed;
    w->now.steady_ms += passed;
    w->now.wall_ms += passed;
    if (below(w, 200) == 0)
        w->now.wall_ms += 100000; /* somebody sets the clock */
    struct queue_change c;
    while (queue_tick(w->q, &w->now, &c)) {
        if (c.fate == QUEUE_GONE) {
            assert_int_equal(c.id, first_dead(w)->id);
            expect_gone(w, &c, QUEUE_EXIT_DEAD_EXPIRED);
        } else {
            become_ready(w, &c);
        }
    }
    expect_nothing_due(w);
}

static void op_overdue(struct world *w)
{
    uint32_t slot;
    void *arg;
    while (queue_overdue(w->q, &w->now, &slot, &arg)) {
        struct taker *c = by_slot(w, slot);
        assert_ptr_equal(arg, c);
        assert_true(is_overdue(w, c) && !c->told);
        c->told = true;
        c->stopped = true;
        if (below(w, 2) == 0)
            lose(w, c, &(struct queue_loss){.timeout = true});
    }
    for (uint32_t i = 0; i < CONSUMERS; i++)
        assert_true(w->takers[i].slot == 0 || w->takers[i].told || !is_overdue(w, &w->takers[i]));
}

static void op_trim(struct world *w)
{
    struct queue_change c;
    while (queue_trim_dead(w->q, &c)) {
        assert_int_equal(c.id, first_dead(w)->id);
        expect_gone(w, &c, QUEUE_EXIT_DEAD_DROPPED);
    }
}

static void op_make_room(struct world *w)
{
    struct queue_change c;
    uint64_t least = UINT64_MAX;
    for (int p = 0; p < 10; p++) {
        for (int alone = 0; alone < 2; alone++) {
            const struct thing *t = first_of_band(w, (uint8_t)p, alone == 1);
            least = t != NULL && t->id < least ? t->id : least;
        }
    }
    bool full = queue_admits(w->q, 1, 100) == QUEUE_WAIT;
    if (!queue_make_room(w->q, 1, 100, &c))
        return;
    assert_false(full); /* then dropping would not help */
    assert_int_equal(c.id, least);
    expect_gone(w, &c, QUEUE_EXIT_DROPPED);
}

/* ---- comparison ---- */

static void compare(struct world *w)
{
    uint64_t count[QUEUE_NSTATES] = {0}, bytes = 0, dead_bytes = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        count[w->things[i].state]++;
        w->reached[w->things[i].state]++;
        *(w->things[i].state == QUEUE_DEAD ? &dead_bytes : &bytes) += w->things[i].bytes;
    }
    struct queue_depth d;
    queue_depth(w->q, &d);
    assert_memory_equal(d.count, count, sizeof count);
    assert_int_equal(d.bytes, bytes);
    assert_int_equal(d.dead_bytes, dead_bytes);
    assert_int_equal(w->entered, w->left + w->n);
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        const struct taker *c = &w->takers[i];
        if (c->slot != 0)
            assert_int_equal(queue_consumer_unanswered(w->q, c->slot), unanswered(w, c, false));
    }
}

typedef void operation(struct world *w);

/* Each as often as it stands here. */
static operation *const k_operations[] = {
    op_enqueue,      op_enqueue,   op_enqueue,      op_enqueue, op_dispatch, op_dispatch,
    op_dispatch,     op_answer,    op_answer,       op_answer,  op_answer,   op_time,
    op_time,         op_bodies,    op_extend,       op_overdue, op_trim,     op_unhold,
    op_stale_answer, op_make_room, op_consumer_add, op_enqueue, op_answer,   op_dispatch,
};
static operation *const k_rare[] = {op_consumer_lose, op_consumer_stop, op_consumer_lose};

static struct world *world_new(uint64_t seed)
{
    struct world *w = SL_NEW(struct world);
    w->cfg = (struct queue_config){
        .name = "model",
        .durable = true,
        .max_messages = 30,
        .max_bytes = 1 << 20,
        .overflow = QUEUE_DROP_OLDEST,
        .max_attempts = 1 + (uint32_t)seed % 4,
        .retry_initial_ms = 50,
        .retry_factor = 2,
        .retry_max_ms = 150,
        .retry_jitter = 0.5,
        .dead_max_messages = 20,
        .dead_ttl_ms = 5000,
    };
    w->now = (struct sl_now){1000000, 1000, WALL_MS, WALL_MS};
    sl_rng_seed(&w->rng, seed);
    w->q = queue_new(&w->cfg, seed);
    return w;
}

static void world_end(struct world *w)
{
    queue_check(w->q);
    queue_free(w->q);
    for (uint32_t i = 0; i < w->n; i++) {
        assert_int_equal(w->things[i].msg->refs, 1);
        message_unref(w->things[i].msg);
    }
    sl_free(w);
}

static void run(uint64_t seed)
{
    struct world *w = world_new(seed);
    for (uint32_t i = 0; i < OPERATIONS; i++) {
        if (below(w, 50) == 0)
            k_rare[below(w, SL_COUNT(k_rare))](w);
        else
            k_operations[below(w, SL_COUNT(k_operations))](w);
        compare(w);
        if (i % CHECK_EVERY == 0)
            queue_check(w->q);
    }
    /* The run was worth something. */
    assert_true(w->delivered > OPERATIONS / 20 && w->stale > 100 && w->left > OPERATIONS / 20);
    assert_true(w->waiting > OPERATIONS / 60);
    for (uint32_t s = 0; s < QUEUE_NSTATES; s++)
        assert_true(w->reached[s] > OPERATIONS / 20);
    const struct queue_counters *c = queue_counters(w->q);
    assert_true(c->expired > 100 && c->dropped > 10 && c->dead_expired + c->dead_dropped > 100);
    assert_true(c->released > 100 && c->returned > 100 && c->timed_out > 0);
    world_end(w);
}

static void the_queue_does_what_the_simple_model_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_seeds); i++)
        run(k_seeds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_queue_does_what_the_simple_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
