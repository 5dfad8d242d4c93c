/* Who gets what, and what comes of it: leases, answers, losses. */
#include "queue_model_walk.h"

/* ---- dispatch ---- */

static uint32_t by_slot(const struct walk *w, uint32_t slot)
{
    for (uint32_t i = 0; i < MODEL_CONSUMERS; i++) {
        if (w->m.consumers[i].here && w->m.consumers[i].slot == slot)
            return i;
    }
    fail_msg("no consumer %u", slot);
    return 0;
}

/* Whoever released it, or has its slot since, gets it only when nobody else waits for work. */
static void expect_avoided(const struct walk *w, uint32_t consumer, const struct model_message *t, const struct model_message *alone)
{
    for (uint32_t i = 0; i < MODEL_CONSUMERS && t->released_by == w->m.consumers[consumer].slot; i++) {
        bool hungry = model_may_take(&w->m, i) && model_unanswered(&w->m, i) < w->m.consumers[i].concurrency;
        assert_true(i == consumer || !hungry || alone != NULL);
    }
}

static void expect_delivery(struct walk *w, const struct queue_delivery *d, struct model_message *regular, struct model_message *alone)
{
    struct model_message *t = walk_find(w, message_id(d->msg));
    uint32_t consumer = by_slot(w, d->consumer);
    bool last = model_is_alone(&w->m, t);
    uint32_t unanswered = model_unanswered(&w->m, consumer);
    assert_true(t == (last ? alone : regular));
    assert_true(t->body && !model_must_have_expired(&w->m, t));
    assert_true(model_may_take(&w->m, consumer));
    assert_ptr_equal(d->consumer_arg, &w->m.consumers[consumer]);
    assert_int_equal(d->attempt, t->attempts + 1);
    assert_true(d->redelivered == t->redelivered);
    assert_true(d->last == (t->attempts + 1 >= w->m.cfg.max_attempts));
    if (last) {
        assert_int_equal(unanswered, 0);
        assert_true(regular == NULL || model_goes_before(t, regular));
    } else if (alone == NULL && unanswered >= w->m.consumers[consumer].concurrency && t->released_by == 0) {
        assert_int_equal(model_hungry(&w->m), 0);
    }
    expect_avoided(w, consumer, t, alone);
    model_lease(&w->m, t, consumer, d->lease);
    w->delivered++;
    w->waited += !t->started;
}

static void serve_fetch(struct walk *w)
{
    uint64_t ids[8];
    uint32_t entries[8];
    uint32_t n = queue_wanted(w->q, ids, entries, 1 + (uint32_t)below(w, 8), 500);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++) {
        struct model_message *t = walk_find(w, ids[i]);
        assert_true(!t->body && !t->wanted && t->state == QUEUE_READY && !t->held);
        assert_int_equal(entries[i], t->entry);
        t->wanted = true;
    }
}

/* Nothing was done: there must be a reason. */
static void expect_reason_to_idle(struct walk *w, const struct model_message *regular, const struct model_message *alone)
{
    uint32_t reserved = alone != NULL ? 1 : 0;
    if (regular != NULL && model_hungry(&w->m) > reserved)
        assert_true(!regular->body && regular->wanted);
}

static void expect_expiry(struct walk *w, const struct queue_change *c, const struct model_message *regular, const struct model_message *alone)
{
    struct model_message *t = walk_find(w, c->id);
    assert_true((t == regular || t == alone) && model_may_have_expired(&w->m, t));
    if (!w->m.cfg.dead_expired) {
        walk_expect_gone(w, c, QUEUE_EXIT_EXPIRED);
        return;
    }
    t->redelivered = true;
    t->wanted = false;
    model_die(&w->m, t, QUEUE_CAUSE_EXPIRED);
    assert_true(c->cause == QUEUE_CAUSE_EXPIRED && c->due_steady_ms == t->died);
    walk_expect(c, t, QUEUE_MOVED);
}

static bool dispatch_one(struct walk *w)
{
    struct model_message *regular = model_first(&w->m, false), *alone = model_first(&w->m, true);
    struct queue_delivery d;
    struct queue_change c;
    switch (queue_dispatch(w->q, &w->m.now, &d, &c)) {
    case QUEUE_DELIVER:
        expect_delivery(w, &d, regular, alone);
        return true;
    case QUEUE_DROP:
        expect_expiry(w, &c, regular, alone);
        return true;
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

void walk_dispatch(struct walk *w)
{
    for (uint64_t steps = 1 + below(w, 12); steps > 0; steps--) {
        if (!dispatch_one(w))
            return;
    }
}

void walk_bodies(struct walk *w)
{
    for (uint32_t i = 0; i < w->m.n; i++) {
        struct model_message *t = &w->m.messages[i];
        uint64_t dice = below(w, 100);
        if (t->wanted && dice < 80) {
            queue_give_body(w->q, t->entry, t->id, t->msg);
            t->wanted = false;
            t->body = true;
        } else if (t->wanted && dice < 90) {
            queue_body_failed(w->q, t->entry, t->id);
            t->wanted = false;
        } else if (t->body && t->state != QUEUE_LEASED && !t->held && dice == 99) {
            (void)queue_evict(w->q, t->entry, t->id);
            t->body = false;
        }
    }
}

/* ---- answers ---- */

/* It has failed: dead, or it comes again between `least` and `most` from now on. */
static void expect_failed(struct walk *w, struct model_message *t, const struct queue_change *c, bool fatal, enum queue_cause cause, const uint64_t *delay)
{
    uint64_t least = 0, most = 0, now = w->m.now.steady_ms;
    bool dead = model_failure_kills(&w->m, t, fatal);
    model_backoff(&w->m, t->attempts + 1, &least, &most);
    least = delay != NULL ? *delay : least;
    most = delay != NULL ? *delay : most;
    model_fail(&w->m, t, fatal, cause, c->due_steady_ms);
    if (dead)
        assert_int_equal(c->due_steady_ms, now);
    else
        assert_true(t->due >= now + least && t->due <= now + most);
    assert_int_equal(c->cause, cause);
    walk_expect(c, t, QUEUE_MOVED);
}

static void expect_released(struct walk *w, struct model_message *t, const struct queue_change *c, uint32_t consumer)
{
    model_release(&w->m, t);
    t->released_by = w->m.consumers[consumer].slot;
    assert_int_equal(c->due_steady_ms, t->due);
    walk_expect(c, t, QUEUE_UNCHANGED);
}

static enum queue_verb some_verb(struct walk *w)
{
    uint64_t dice = below(w, 20);
    return dice < 12 ? QUEUE_ACK : dice < 16 ? QUEUE_RETRY : dice < 19 ? QUEUE_RELEASE : QUEUE_KILL;
}

void walk_answer(struct walk *w)
{
    struct model_message *t = walk_random(w, QUEUE_LEASED);
    struct queue_change c;
    if (t == NULL)
        return;
    struct queue_answer a = {.verb = some_verb(w), .has_delay = below(w, 3) == 0, .delay_ms = below(w, 300)};
    uint32_t consumer = t->consumer;
    w->old_lease = t->lease;
    assert_int_equal(queue_answer(w->q, t->lease, &a, &w->m.now, &c), SL_OK);
    w->m.consumers[consumer].measured = w->m.consumers[consumer].measured || a.verb != QUEUE_RELEASE;
    model_end_lease(&w->m, t);
    switch (a.verb) {
    case QUEUE_ACK:
        walk_expect_gone(w, &c, QUEUE_EXIT_ACK);
        break;
    case QUEUE_RETRY:
        expect_failed(w, t, &c, false, QUEUE_CAUSE_RETRY, a.has_delay ? &a.delay_ms : NULL);
        break;
    case QUEUE_KILL:
        expect_failed(w, t, &c, true, QUEUE_CAUSE_REJECTED, NULL);
        break;
    case QUEUE_RELEASE:
        expect_released(w, t, &c, consumer);
        break;
    }
}

void walk_answer_late(struct walk *w)
{
    struct queue_change c;
    struct queue_answer a = {.verb = QUEUE_ACK};
    if (w->old_lease == 0)
        return;
    assert_int_equal(queue_answer(w->q, w->old_lease, &a, &w->m.now, &c), SL_ESTATE);
    assert_int_equal(queue_give_back(w->q, w->old_lease, true, &w->m.now, &c), SL_ESTATE);
    w->stale++;
}

void walk_give_back(struct walk *w)
{
    struct model_message *t = walk_random(w, QUEUE_LEASED);
    struct queue_change c;
    if (t == NULL || below(w, 4) != 0)
        return;
    bool seen = below(w, 2) == 0, redelivered = t->redelivered || seen;
    w->old_lease = t->lease;
    assert_int_equal(queue_give_back(w->q, t->lease, seen, &w->m.now, &c), SL_OK);
    model_end_lease(&w->m, t);
    model_return(&w->m, t);
    t->redelivered = redelivered;
    walk_expect(&c, t, QUEUE_UNCHANGED);
}

void walk_extend(struct walk *w)
{
    struct model_message *t = walk_random(w, QUEUE_LEASED);
    if (t == NULL)
        return;
    uint64_t ms = below(w, 2000);
    assert_int_equal(queue_extend(w->q, t->lease, ms, &w->m.now), SL_OK);
    if (t->started && t->limit != UINT64_MAX)
        t->limit = w->m.now.mono_ms + ms;
}

/* ---- consumers ---- */

void walk_consumer_comes(struct walk *w)
{
    struct model_consumer *c = &w->m.consumers[below(w, MODEL_CONSUMERS)];
    if (c->here)
        return;
    *c = (struct model_consumer){.here = true, .prefetch = 1 + (uint32_t)below(w, 8), .concurrency = 1 + (uint32_t)below(w, 3), .time_limit = below(w, 2) * (500 + below(w, 500))};
    struct queue_consumer_config cfg = {.prefetch = c->prefetch, .concurrency = c->concurrency, .time_limit_ms = c->time_limit, .arg = c};
    c->slot = queue_consumer_add(w->q, &cfg);
    assert_true(c->slot != 0);
}

static void lose(struct walk *w, uint32_t consumer, const struct queue_loss *loss)
{
    struct queue_change change;
    struct model_consumer *c = &w->m.consumers[consumer];
    struct model_message *t;
    c->stopped = true; /* nothing more is given to it */
    while ((t = model_oldest_lease(&w->m, consumer)) != NULL) {
        bool charged = t->started && !loss->charge_none && (!loss->timeout || t->limit <= w->m.now.mono_ms);
        uint32_t concurrency = c->concurrency;
        assert_true(queue_consumer_lose(w->q, c->slot, loss, &w->m.now, &change));
        assert_int_equal(change.id, t->id);
        c->concurrency = 0; /* and nothing is started in it */
        model_end_lease(&w->m, t);
        c->concurrency = concurrency;
        if (charged) {
            expect_failed(w, t, &change, false, loss->timeout ? QUEUE_CAUSE_TIMEOUT : loss->cause, NULL);
        } else {
            model_return(&w->m, t);
            walk_expect(&change, t, QUEUE_UNCHANGED);
        }
    }
    assert_false(queue_consumer_lose(w->q, c->slot, loss, &w->m.now, &change));
    c->here = false; /* a new one may get its slot, and is avoided by what this one released: no harm */
}

void walk_consumer_is_lost(struct walk *w)
{
    uint32_t consumer = (uint32_t)below(w, MODEL_CONSUMERS);
    struct queue_loss loss = {.cause = QUEUE_CAUSE_EXIT, .charge_none = below(w, 4) == 0};
    if (w->m.consumers[consumer].here)
        lose(w, consumer, &loss);
}

void walk_consumer_stops(struct walk *w)
{
    struct model_consumer *c = &w->m.consumers[below(w, MODEL_CONSUMERS)];
    if (!c->here)
        return;
    queue_consumer_stop(w->q, c->slot);
    c->stopped = true;
}

void walk_overdue(struct walk *w)
{
    uint32_t slot;
    void *arg;
    while (queue_overdue(w->q, &w->m.now, &slot, &arg)) {
        uint32_t consumer = by_slot(w, slot);
        struct model_consumer *c = &w->m.consumers[consumer];
        assert_ptr_equal(arg, c);
        assert_true(model_is_overdue(&w->m, consumer) && !c->told);
        c->told = c->stopped = true;
        if (below(w, 2) == 0)
            lose(w, consumer, &(struct queue_loss){.timeout = true});
    }
    for (uint32_t i = 0; i < MODEL_CONSUMERS; i++)
        assert_true(!w->m.consumers[i].here || w->m.consumers[i].told || !model_is_overdue(&w->m, i));
}
