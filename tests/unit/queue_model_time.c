/* What time brings, what becomes of dead letters, and what a restart finds. */
#include "queue_model_walk.h"

/* ---- the clocks ---- */

static void become_ready(struct walk *w, const struct queue_change *c)
{
    struct model_message *t = walk_find(w, c->id);
    assert_int_equal(t->state, QUEUE_DELAYED);
    assert_true(t->due <= model_clock(&w->m, t->absolute));
    model_become_ready(&w->m, t);
    walk_expect(c, t, QUEUE_UNCHANGED);
}

static void expect_nothing_due(const struct walk *w)
{
    const struct model *m = &w->m;
    for (uint32_t i = 0; i < m->n; i++) {
        const struct model_message *t = &m->messages[i];
        assert_true(t->state != QUEUE_DELAYED || t->due > model_clock(m, t->absolute));
        assert_true(t->state != QUEUE_DEAD || m->cfg.dead_ttl_ms == 0 || t->died + m->cfg.dead_ttl_ms > m->now.steady_ms);
    }
}

/* Of those that died at the same time any may be the oldest. */
static void expect_oldest_dead(struct walk *w, uint64_t id)
{
    const struct model_message *t = walk_find(w, id);
    assert_true(t->state == QUEUE_DEAD && t->died == model_oldest_death(&w->m));
}

static void tick(struct walk *w)
{
    struct queue_change c;
    while (queue_tick(w->q, &w->m.now, &c)) {
        if (c.fate == QUEUE_GONE) {
            expect_oldest_dead(w, c.id);
            walk_expect_gone(w, &c, QUEUE_EXIT_DEAD_EXPIRED);
        } else {
            become_ready(w, &c);
        }
    }
    expect_nothing_due(w);
}

/* Somebody sets the wall clock, forwards or back; deadlines that were durations do not move. */
static void set_clock(struct walk *w)
{
    uint64_t ms = 60001 + below(w, 100000);
    w->m.now.wall_ms += below(w, 3) == 0 ? 0 - ms : ms;
}

void walk_time(struct walk *w)
{
    struct sl_now *now = &w->m.now;
    uint64_t ms = below(w, 3) == 0 ? 0 : below(w, 200);
    now->mono_us += ms * 1000 + below(w, 1000);
    uint64_t passed = now->mono_us / 1000 - now->mono_ms;
    now->mono_ms += passed;
    now->steady_ms += passed;
    now->wall_ms += passed;
    if (below(w, 200) == 0)
        set_clock(w);
    tick(w);
}

/* ---- dead letters ---- */

void walk_trim(struct walk *w)
{
    struct queue_change c;
    while (queue_trim_dead(w->q, &c)) {
        expect_oldest_dead(w, c.id);
        walk_expect_gone(w, &c, QUEUE_EXIT_DEAD_DROPPED);
    }
}

/* The list of them, oldest first. */
void walk_dead(struct walk *w)
{
    struct queue_change c;
    uint32_t entry = 0;
    uint64_t died = 0, n = 0;
    while (queue_dead_next(w->q, &entry, &c)) {
        const struct model_message *t = walk_find(w, c.id);
        assert_true(t->state == QUEUE_DEAD && t->died >= died);
        assert_true(entry == c.entry && entry == t->entry);
        assert_int_equal(c.due_steady_ms, t->died);
        assert_int_equal(c.cause, t->cause);
        died = t->died;
        n++;
    }
    for (uint32_t i = 0; i < w->m.n; i++)
        n -= w->m.messages[i].state == QUEUE_DEAD;
    assert_int_equal(n, 0);
}

/* One goes on to elsewhere, or is dropped. */
void walk_dead_leave(struct walk *w)
{
    struct queue_change c;
    const struct model_message *t = walk_random(w, QUEUE_DEAD), *other = walk_random(w, QUEUE_READY);
    enum queue_exit exit = below(w, 2) == 0 ? QUEUE_EXIT_MOVED : QUEUE_EXIT_DEAD_REMOVED;
    if (other != NULL)
        assert_int_equal(queue_dead_leave(w->q, other->entry, other->id, exit, &c), SL_ENOENT);
    if (t == NULL)
        return;
    assert_true(queue_is_dead(w->q, t->entry, t->id) && !queue_is_dead(w->q, t->entry, t->id + 1));
    assert_int_equal(queue_dead_leave(w->q, t->entry, t->id + 1, exit, &c), SL_ENOENT);
    assert_int_equal(queue_dead_leave(w->q, t->entry, t->id, exit, &c), SL_OK);
    walk_expect_gone(w, &c, exit);
}

/* ---- a place among them ---- */

/* What it has passed. Of those that died when the one died that it was set to, it is not
 * known which stand before that. */
enum passing { PASSED_NOT, PASSED, PASSED_PERHAPS };

static void pass_all_before(struct walk *w, uint64_t died)
{
    for (uint32_t i = 0; i < w->m.n; i++) {
        struct model_message *t = &w->m.messages[i];
        t->passed = t->state != QUEUE_DEAD || t->died > died ? PASSED_NOT : t->died < died ? PASSED : PASSED_PERHAPS;
    }
}

static void cursor_begin(struct walk *w)
{
    w->follows = below(w, 2) == 0;
    w->at_end = false;
    queue_dead_begin(w->q, &w->cursor, w->follows);
    pass_all_before(w, 0);
    w->has_cursor = true;
}

static void cursor_seek(struct walk *w)
{
    struct model_message *t = walk_random(w, QUEUE_DEAD);
    if (t == NULL)
        return;
    assert_false(queue_dead_seek(w->q, &w->cursor, t->entry, t->id + 1));
    assert_true(queue_dead_seek(w->q, &w->cursor, t->entry, t->id));
    pass_all_before(w, t->died);
    t->passed = PASSED_NOT;
    w->at_end = false;
}

/* The oldest of those that were not passed. */
static bool stands_right(const struct walk *w, const struct model_message *at)
{
    for (uint32_t i = 0; i < w->m.n; i++) {
        const struct model_message *t = &w->m.messages[i];
        if (t->state == QUEUE_DEAD && t->passed == PASSED_NOT && t->died < at->died)
            return false;
    }
    return at->state == QUEUE_DEAD && at->passed != PASSED;
}

static bool all_are_passed(const struct walk *w)
{
    for (uint32_t i = 0; i < w->m.n; i++) {
        if (w->m.messages[i].state == QUEUE_DEAD && w->m.messages[i].passed == PASSED_NOT)
            return false;
    }
    return true;
}

void walk_look_at_cursor(struct walk *w)
{
    struct queue_change c;
    if (!w->has_cursor)
        return;
    if (!queue_dead_look(w->q, &w->cursor, &c)) {
        assert_true(w->at_end || all_are_passed(w));
        w->at_end = !w->follows;
        return;
    }
    assert_false(w->at_end);
    assert_true(stands_right(w, walk_find(w, c.id)));
}

static void cursor_pass(struct walk *w)
{
    struct queue_change c;
    if (!queue_dead_look(w->q, &w->cursor, &c))
        return;
    walk_find(w, c.id)->passed = PASSED;
    queue_dead_pass(w->q, &w->cursor);
}

void walk_cursor(struct walk *w)
{
    uint64_t dice = below(w, 10);
    if (!w->has_cursor)
        cursor_begin(w);
    else if (dice == 0)
        walk_cursor_end(w);
    else if (dice == 1)
        cursor_seek(w);
    else
        cursor_pass(w);
}

void walk_cursor_end(struct walk *w)
{
    if (w->has_cursor)
        queue_dead_end(w->q, &w->cursor);
    w->has_cursor = false;
}

/* ---- a restart ---- */

/* What was not committed is not there any more. */
static void lose_the_uncommitted(struct walk *w)
{
    for (uint32_t i = w->m.n; i-- > 0;) {
        struct model_message *t = &w->m.messages[i];
        if (!t->held || below(w, 2) == 0)
            continue;
        model_remove(&w->m, t);
        w->gone_with_a_restart++;
    }
}

static uint32_t restore(struct walk *w, const struct model_message *t)
{
    struct queue_restored r = {
        .id = t->id, .bytes = t->bytes, .priority = t->priority,
        .state = t->stored_state, .attempts = t->stored_attempts, .due_ms = t->stored_due,
        .due_absolute = t->asked_absolute, .expires_at = t->expires, .expires_relative = t->expires_relative,
        .order_key = t->order_key, .cause = t->cause,
    };
    return queue_restore(w->q, &r, &w->m.now);
}

/* Steady time begins anew with the wall clock, which is right again: dead letters of a
 * time that is to come would have no order. */
static void begin_anew(struct sl_now *now, uint64_t later_ms)
{
    uint64_t latest = now->wall_ms > now->steady_ms ? now->wall_ms : now->steady_ms;
    now->wall_ms = now->steady_ms = latest + later_ms;
}

void walk_restart(struct walk *w)
{
    if (below(w, 10) != 0)
        return;
    walk_cursor_end(w);
    walk_free_queue(w);
    lose_the_uncommitted(w);
    begin_anew(&w->m.now, below(w, 2) * below(w, 1000));
    model_restart(&w->m);
    w->q = queue_new(&w->m.cfg, ++w->seed);
    for (uint32_t i = 0; i < w->m.n; i++)
        w->m.messages[i].entry = restore(w, &w->m.messages[i]);
    queue_pause(w->q, w->m.paused, &w->m.now);
    w->old_lease = 0;
    w->restarts++;
    queue_check(w->q);
}
