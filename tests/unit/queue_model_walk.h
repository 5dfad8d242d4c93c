/* A random walk of the queue beside its model: what each operation is, told by story
 * in queue_model_*.c, and the comparison after each. */
#ifndef TESTS_QUEUE_MODEL_WALK_H
#define TESTS_QUEUE_MODEL_WALK_H

#include "queue_model.h"

struct walk {
    struct queue *q;
    struct model m;
    struct sl_rng rng;
    uint64_t seed, last_id, old_lease;
    struct queue_dead_cursor cursor;
    bool has_cursor, follows, at_end; /* at_end: it never comes further */
    /* Whether the walk was worth something: */
    uint64_t entered, left, gone_with_a_restart, delivered, waited, stale, restarts, pauses;
    uint64_t reached[QUEUE_NSTATES];
    struct queue_counters counted; /* by the queues that are gone */
};

typedef void operation(struct walk *w);

static inline uint64_t below(struct walk *w, uint64_t n)
{
    return sl_rng_below(&w->rng, n);
}

/* ---- test_queue_model.c ---- */

/* One that the queue has named: the model must know it. */
struct model_message *walk_find(struct walk *w, uint64_t id);
/* What the queue has told of it is what the model says. */
void walk_expect(const struct queue_change *c, const struct model_message *t, enum queue_fate fate);
/* It has left both. */
void walk_expect_gone(struct walk *w, const struct queue_change *c, enum queue_exit exit);
void walk_free_queue(struct walk *w);
struct model_message *walk_random(struct walk *w, enum queue_state state);

/* ---- queue_model_intake.c ---- */

operation walk_enter, walk_replace, walk_unhold, walk_make_room;

/* ---- queue_model_work.c ---- */

operation walk_dispatch, walk_bodies, walk_answer, walk_answer_late, walk_give_back, walk_extend;
operation walk_consumer_comes, walk_consumer_is_lost, walk_consumer_stops;

/* ---- queue_model_time.c ---- */

operation walk_time, walk_overdue, walk_trim, walk_dead, walk_dead_leave, walk_cursor, walk_restart;
/* After each operation. */
void walk_look_at_cursor(struct walk *w);
void walk_cursor_end(struct walk *w);

/* ---- queue_model_operators.c ---- */

operation walk_pause, walk_cancel, walk_purge, walk_peek;

#endif
