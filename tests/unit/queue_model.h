/* A model of a queue that is too simple to be wrong: an array of messages, searched
 * from end to end for everything. It is written from what is promised of queues, and
 * knows nothing of lists, heaps, slots and counts. */
#ifndef TESTS_QUEUE_MODEL_H
#define TESTS_QUEUE_MODEL_H

#include "claims.h"

#include "core/alloc.h"
#include "core/rng.h"
#include "queue/queue.h"

#define MODEL_MESSAGES  300u
#define MODEL_CONSUMERS 6u
#define MODEL_NOBODY    UINT32_MAX

struct model_message {
    uint64_t id;
    struct message *msg; /* the store's, so to say */
    uint32_t entry, bytes;
    uint8_t priority;
    uint32_t key;        /* what it is ordered by; 0: nothing */
    uint64_t order_key;  /* the same as the queue tells it */
    enum queue_state state;
    bool held;           /* not to be leased before its commit */
    bool body, wanted;   /* in memory; asked for */
    bool redelivered;
    bool by_age;         /* it has its place by its id, not by when it came */
    bool out_of_line;    /* the others of its key go on while its retry waits */
    uint64_t turn;       /* of two of one line the smaller goes first */
    uint64_t place;      /* by_age: its id, or that of the one whose place it took */
    bool took_place;     /* while it is held: it goes there, not to the end */
    uint32_t attempts, releases;
    uint32_t released_by; /* the slot of who did so last; 0: nobody; MODEL_NOBODY: perhaps nobody */
    uint64_t due;
    bool absolute;       /* due in wall time */
    bool asked_absolute; /* the same of its first delivery */
    uint64_t accepted_wall, accepted_steady;
    uint64_t expires;    /* 0: never by itself */
    bool expires_relative;
    bool stale;          /* it had expired when it was restored */
    uint64_t died;
    uint8_t passed;         /* by the walk's cursor, as the walk says it */
    enum queue_cause cause; /* of its death */
    /* While it is leased: */
    uint64_t lease, leased_order, limit;
    uint32_t consumer;   /* its number here */
    bool started;
    /* What a restart finds: */
    enum queue_state stored_state;
    uint32_t stored_attempts;
    uint64_t stored_due;
};

struct model_consumer {
    bool here;
    uint32_t prefetch, concurrency;
    uint64_t time_limit;
    bool stopped, told, measured;
    uint32_t slot; /* the queue's name for it */
};

struct model {
    struct queue_config cfg;
    struct sl_now now;
    struct model_message messages[MODEL_MESSAGES];
    uint32_t n;
    struct model_consumer consumers[MODEL_CONSUMERS];
    uint64_t counter; /* of all that happens in an order */
    bool paused;
};

/* ---- messages ---- */

/* NULL: there is none. */
struct model_message *model_find(struct model *m, uint64_t id);
/* Into the array; its state and turn follow from its times. */
struct model_message *model_enter(struct model *m, const struct model_message *t);
/* In the place of an older one that waits; its delay is its own. */
void model_replace(struct model *m, struct model_message *old, const struct model_message *t);
void model_remove(struct model *m, struct model_message *t);
void model_unhold(struct model *m, struct model_message *t);
uint64_t model_clock(const struct model *m, bool absolute);

/* ---- who is next ---- */

/* Its next attempt is the last one, and not the only one. */
bool model_is_alone(const struct model *m, const struct model_message *t);
/* Nothing but a consumer is wanting. */
bool model_could_go(const struct model *m, const struct model_message *t);
/* After each operation. */
void model_forget_releases(struct model *m);
/* All of those in the order in which they go: their number. */
uint32_t model_ready(struct model *m, uint64_t *ids);
/* Of those with one attempt left, or of the others; NULL: none. */
struct model_message *model_first(struct model *m, bool alone);
bool model_goes_before(const struct model_message *a, const struct model_message *b);
/* The oldest that could be dropped for want of room; NULL: none. */
struct model_message *model_oldest(struct model *m);
/* The first of its line, whoever is leased before it, and it may be dropped. */
bool model_is_droppable_first(const struct model *m, const struct model_message *t);
bool model_must_have_expired(const struct model *m, const struct model_message *t);
bool model_may_have_expired(const struct model *m, const struct model_message *t);
enum queue_admission model_admits(struct model *m, uint32_t count, uint64_t bytes);

/* ---- consumers ---- */

uint32_t model_unanswered(const struct model *m, uint32_t consumer);
/* As far as its own credit goes, whatever 100 ms of its work may be. */
bool model_may_take(const struct model *m, uint32_t consumer);
/* Those that wait for work below their concurrency. */
uint32_t model_hungry(const struct model *m);
bool model_is_overdue(const struct model *m, uint32_t consumer);
struct model_message *model_oldest_lease(struct model *m, uint32_t consumer);

/* ---- what happens to one ---- */

void model_lease(struct model *m, struct model_message *t, uint32_t consumer, uint64_t lease);
/* Its lease is over; the consumer's next ones are started. */
void model_end_lease(struct model *m, struct model_message *t);
/* A failed attempt: dead, or delayed until `due`. */
bool model_failure_kills(const struct model *m, const struct model_message *t, bool fatal);
void model_fail(struct model *m, struct model_message *t, bool fatal, enum queue_cause cause, uint64_t due);
/* Its wait after a failure without a delay of its own. */
void model_backoff(const struct model *m, uint32_t attempts, uint64_t *least, uint64_t *most);
void model_release(struct model *m, struct model_message *t);
void model_return(struct model *m, struct model_message *t);
/* Its time has come. */
void model_become_ready(struct model *m, struct model_message *t);
void model_die(struct model *m, struct model_message *t, enum queue_cause cause);
uint64_t model_oldest_death(const struct model *m);
/* Everything but what the store has is gone. */
void model_restart(struct model *m);

#endif
