/* What operators do: pause, take out, look. */
#include "queue_model_walk.h"

void walk_pause(struct walk *w)
{
    if (w->m.paused ? below(w, 2) == 0 : below(w, 4) != 0)
        return;
    w->m.paused = !w->m.paused;
    queue_pause(w->q, w->m.paused, &w->m.now);
    assert_true(queue_is_paused(w->q) == w->m.paused);
    w->pauses += w->m.paused;
}

/* One message, wherever it waits. */
void walk_cancel(struct walk *w)
{
    struct queue_change c;
    if (w->m.n == 0)
        return;
    struct model_message *t = &w->m.messages[below(w, w->m.n)];
    assert_int_equal(queue_remove(w->q, t->entry, t->id + 1, QUEUE_EXIT_CANCELLED, &c), SL_ENOENT);
    int err = queue_remove(w->q, t->entry, t->id, QUEUE_EXIT_CANCELLED, &c);
    assert_int_equal(err, t->state == QUEUE_LEASED ? SL_ESTATE : SL_OK);
    if (err == SL_OK)
        walk_expect_gone(w, &c, QUEUE_EXIT_CANCELLED);
}

static bool is_wanted(const struct queue_walk *of, const struct model_message *t)
{
    bool in_time = t->state != QUEUE_DEAD || t->died <= of->died_ms;
    return (of->states & QUEUE_STATE_BIT(t->state)) != 0 && t->id >= of->first_id && t->id <= of->last_id && in_time;
}

static uint32_t count_wanted(const struct walk *w, const struct queue_walk *of)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->m.n; i++)
        n += is_wanted(of, &w->m.messages[i]);
    return n;
}

/* Everything in some states is met once, in pieces; some of it is taken out on the way. */
void walk_purge(struct walk *w)
{
    struct queue_change c;
    struct queue_walk of = {.states = (uint32_t)below(w, 16), .first_id = below(w, w->last_id + 1), .last_id = UINT64_MAX, .died_ms = w->m.now.steady_ms - below(w, 1000)};
    of.states &= ~QUEUE_STATE_BIT(QUEUE_LEASED);
    uint32_t expected = count_wanted(w, &of), met = 0, looks, entry;
    uint64_t id, share = below(w, 3) == 0 ? 100 : 10;
    queue_walk_begin(w->q, &of);
    while (!queue_walk_over(&of)) {
        looks = 1 + (uint32_t)below(w, 1000);
        while (queue_walk_next(w->q, &of, &looks, &entry, &id)) {
            struct model_message *t = walk_find(w, id);
            assert_true(is_wanted(&of, t) && entry == t->entry);
            met++;
            if (below(w, 100) >= share)
                continue;
            assert_int_equal(queue_remove(w->q, entry, id, QUEUE_EXIT_PURGED, &c), SL_OK);
            walk_expect_gone(w, &c, QUEUE_EXIT_PURGED);
        }
    }
    assert_int_equal(met, expected);
}

/* ---- looking ---- */

static void expect_seen(struct walk *w, const struct queue_peeked *p, enum queue_state state)
{
    const struct model_message *t = walk_find(w, p->id);
    assert_int_equal(p->state, state);
    assert_int_equal(t->state, state);
    assert_int_equal(p->entry, t->entry);
    assert_int_equal(p->priority, t->priority);
    assert_int_equal(p->attempts, t->attempts);
    assert_int_equal(p->bytes, t->bytes);
    assert_true(p->held == t->held && p->redelivered == t->redelivered);
    assert_true((p->msg != NULL) == t->body);
    assert_true(t->held || p->aside == (state == QUEUE_READY && !model_could_go(&w->m, t)));
    if (state == QUEUE_LEASED)
        assert_true(p->lease == t->lease && p->started == t->started && p->consumer_arg == &w->m.consumers[t->consumer]);
}

/* Of two that follow one another in a list of its state. */
static bool is_in_order(struct walk *w, const struct queue_peeked *a, const struct queue_peeked *b)
{
    const struct model_message *x = walk_find(w, a->id), *y = walk_find(w, b->id);
    if (x->state == QUEUE_DEAD)
        return x->died <= y->died;
    if (x->state == QUEUE_LEASED)
        return x->leased_order < y->leased_order;
    if (x->state == QUEUE_DELAYED)
        return a->wall_ms <= b->wall_ms || b->wall_ms <= w->m.now.wall_ms;
    return a->aside <= b->aside || b->held; /* what could go, what stands aside, what is held */
}

void walk_peek(struct walk *w)
{
    static struct queue_peeked seen[MODEL_MESSAGES];
    uint64_t ids[MODEL_MESSAGES];
    enum queue_state state = (enum queue_state)below(w, QUEUE_NSTATES);
    uint32_t max = (uint32_t)below(w, MODEL_MESSAGES), there = 0;
    for (uint32_t i = 0; i < w->m.n; i++)
        there += w->m.messages[i].state == state;
    uint32_t n = queue_peek(w->q, state, seen, max), ready = model_ready(&w->m, ids);
    assert_int_equal(n, there < max ? there : max);
    for (uint32_t i = 0; i < n; i++) {
        expect_seen(w, &seen[i], state);
        assert_true(i == 0 || is_in_order(w, &seen[i - 1], &seen[i]));
        if (state == QUEUE_READY && i < ready)
            assert_int_equal(seen[i].id, ids[i]);
    }
}
