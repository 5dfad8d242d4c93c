/* What operators asked for and is under way: a bounded piece in each turn. */
#ifndef HUB_OPERATIONS_H
#define HUB_OPERATIONS_H

#include "hub/operate.h"
#include "hub/trace.h"
#include "hub_internal.h"

/* Of one queue: under way, or the latest. */
struct purge {
    struct purge *next;
    uint32_t queue;
    bool running;
    struct queue_walk walk;
    uint64_t purged, looked, total;
};

#define SEARCH_PLACES 8u

/* Where a message is looked for in all queues: to cancel it, or to tell its history. */
struct search {
    struct search *next; /* in `active` or `waiting` */
    struct search *same; /* another one of this id */
    uint64_t id;
    hub_cancel_cb *cancel; /* or NULL */
    struct hub_cancelled cancelled;
    struct tracing *tracing; /* else this */
    void *arg;
};

/* One walk through all queues looks for all that are active. */
struct searches {
    struct search *active, *waiting, **waiting_tail;
    struct sl_idmap by_id; /* the active ones: the first of each id */
    uint32_t n;
    uint32_t queue;        /* where the walk is */
    bool walking;          /* `walk` has begun there */
    struct queue_walk walk;
    uint64_t first_id, last_id;
};

struct operations {
    struct purge *purges;
    uint32_t purging;        /* that are running */
    struct searches searches;
    struct look *looks;      /* peek.c */
    uint32_t n_looks;
    uint64_t look_bytes;     /* of bodies that they hold */
    uint64_t last_look;
    bool ending;             /* all that is asked for is answered with what there is */
};

/* Made when it is asked for first. */
struct operations *operations(struct hub *h);
void operations_turn(struct hub *h);
uint64_t operations_deadline_us(const struct hub *h);
uint64_t operations_bytes(const struct hub *h);
void operations_free(struct hub *h);

/* ---- search.c ---- */
void searches_turn(struct hub *h, struct operations *o);
/* Takes it over. SL_EFULL: there are too many. */
SL_CHECK int search_begin(struct hub *h, const struct search *s);
void searches_free(struct operations *o);

/* ---- peek.c ---- */
void looks_turn(struct hub *h, struct operations *o);
/* Bodies that a look asked for. */
void look_fetched(struct hub *h, struct batch_fetch *f);
/* One message, whatever else is looked at. */
void look_at(struct hub *h, uint32_t queue, const struct queue_peeked *p, hub_peek_cb *cb, void *arg);
bool looks_ready(const struct operations *o);
void looks_free(struct operations *o);

#endif
