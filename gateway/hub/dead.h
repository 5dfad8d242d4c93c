/* Dead letters: who looks at them, drops them and moves them on, a bounded part in
 * each turn (dead.c); how one of them moves (move.c). */
#ifndef HUB_DEAD_H
#define HUB_DEAD_H

#include "hub_internal.h"

#define DEAD_AHEAD_BYTES (1u << 20) /* of bodies that one work holds */
#define DEAD_NS_PER_S UINT64_C(1000000000)

/* Lists, drops, redrives, and forwarding of what could not go at once. */
enum dead_kind { KIND_LIST, KIND_DROP, KIND_REDRIVE, KIND_FORWARD };

/* What it does next; all but END look again in the next turn. */
enum dead_mood {
    MOOD_GOES_ON,
    MOOD_BATCH,  /* waits until its portion is stored */
    MOOD_BODIES, /* for the store */
    MOOD_ROOM,   /* of its target, or of the disk */
    MOOD_TIME,   /* its rate */
    MOOD_END,    /* nothing is left; forwarding waits for the next that dies */
};

struct dead_match {
    uint64_t id;
    unsigned causes;
    uint64_t died_from_ms, died_to_ms;
    uint64_t upto_id;  /* what came later is not looked at: a redriven one that dies again */
    struct sl_buf topic; /* empty: any */
};

struct dead_pages {
    struct hub_dead_ask ask; /* its filter is not used */
    struct hub_dead_letter *letters;
    uint32_t n;
    uint64_t bytes;
};

struct dead_work {
    struct dead_work *next;
    uint64_t handle;
    enum dead_kind kind;
    enum dead_mood mood;
    uint32_t queue, to;
    bool begun;
    struct queue_dead_cursor cursor;
    struct dead_match match;
    uint64_t max;
    uint64_t cost_ns, due_ns; /* cost 0: no rate */
    uint64_t portion_in;      /* the batch of its latest portion; 0: none */
    struct batch_fetch *got;  /* bodies, in the order of the letters; NULL: none */
    uint32_t next_got;
    struct hub_dead_progress progress;
    uint64_t told; /* of those moved, by the log */
    struct dead_pages page;
};

/* How long ago it died. */
static inline uint64_t dead_age_ms(const struct hub *h, const struct queue_change *dead)
{
    return h->now.steady_ms > dead->due_steady_ms ? h->now.steady_ms - dead->due_steady_ms : 0;
}

static inline struct queue *dead_queue(const struct hub *h, const struct dead_work *w)
{
    return h->queues[w->queue].q;
}

static inline bool dead_moves(const struct dead_work *w)
{
    return w->kind == KIND_REDRIVE || w->kind == KIND_FORWARD;
}

/* ---- move.c ---- */

/* It died just now and was not recorded yet. True: it went on to where its queue sends
 * its dead letters, and what `c` names is gone. `f`: the failed attempt, or NULL. */
bool forward_at_once(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f);
/* What may wait for room goes there now. */
bool takes_dead(const struct hub *h, uint32_t to, uint32_t bytes);
/* However long it waits, there will be no room for it. */
bool never_takes(const struct hub *h, uint32_t to, uint32_t bytes);
/* A dead letter becomes a new message at the tail of `to`, in one batch with its end. `m` is
 * its body. `forwarded`: its headers tell why it died. */
void move_on(struct hub *h, uint32_t from, uint32_t to, const struct queue_change *dead, const struct message *m, bool forwarded);

/* ---- dead.c ---- */

void dead_turn(struct hub *h);
uint64_t dead_deadline_us(const struct hub *h);
void dead_free(struct hub *h);
void dead_check(const struct hub *h);

/* ---- dead_bodies.c ---- */

/* NULL: there is none of that handle. */
struct dead_work *dead_find(const struct hub *h, uint64_t handle);
/* By what of the filter is known without its body. */
bool dead_fits(const struct dead_work *w, const struct queue_change *c);
/* The body that was asked for; NULL: the store has it not. False: it was not asked for. */
bool dead_body(struct dead_work *w, uint64_t id, struct message **m);
/* It stands at one whose body it needs. */
void dead_ask_bodies(struct hub *h, struct dead_work *w);
/* They came. */
void dead_fetched(struct hub *h, struct batch_fetch *f);
uint64_t dead_bodies_bytes(const struct dead_work *w);
void dead_drop_bodies(struct hub *h, struct dead_work *w);

/* ---- of others ---- */

/* drop_oldest: what is to go for it goes (intake.c). */
void offer_make_room(struct hub *h, const struct offer_item *it);
/* The oldest dead letter left, since there are too many (records.c). */
void record_dead_over_cap(struct hub *h, uint32_t queue, const struct queue_change *c);

#endif
