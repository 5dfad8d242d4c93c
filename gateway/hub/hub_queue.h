/* A queue as the hub keeps it. */
#ifndef HUB_HUB_QUEUE_H
#define HUB_HUB_QUEUE_H

#include "core/timers.h"
#include "queue/queue.h"
#include "work.h"

struct hub;

/* Clients with something parked, in the order of their turns. */
struct waiters {
    struct hub_client *head, *tail;
    uint32_t n;
};

struct hub_queue {
    struct queue *q;
    const struct queue_config *cfg;
    struct route_set *alone; /* the set of just this queue, for /queue/NAME */
    char *own_name;          /* an orphan's: no configuration holds it */
    struct sl_timer timer;   /* queue_deadline */
    char *order;             /* what its messages were ordered by when they came; NULL: nothing is recorded of it */
    struct hub_dedup *dedup; /* dedup.c; NULL: nothing is remembered */
    bool orphan;
    bool hot;                /* dispatch is due this turn */
    bool fetching;           /* bodies are on their way */
    bool entered;            /* durable messages came since the last dispatch */
    uint32_t answered;       /* acks since the last dispatch */
    uint32_t next_hot;
    struct waiters waiters;  /* those whose first parked offer found no room here */
    bool takes;              /* while they have their turns: no one has found it full yet */
    struct hub_queue *next_taker;
    struct queue_deaths deaths;
    bool recount;            /* its memory may have changed since it was counted */
    uint32_t next_recount;
    uint64_t memory;         /* as counted last */
};

/* ---- queue_record.c ---- */
/* What the store keeps of the queue itself, in the open batch: whether it is paused, and its order. */
void record_queue(struct hub *h, uint32_t queue);

#endif
