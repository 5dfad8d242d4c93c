/* Whether the gateway takes what it is offered, and why not: readiness.c. */
#ifndef HUB_READINESS_H
#define HUB_READINESS_H

#include "hub/hub.h"

struct readiness {
    struct hub_readiness now;
    bool starting;
    bool memory_short; /* entered at the higher mark of memory, left at the lower one */
    uint64_t memory_mark; /* the one that holds now */
};

struct hub_queue;
/* What the queue holds in memory, counted anew. */
uint64_t hub_queue_memory(const struct hub_queue *hq);
void readiness_init(struct hub *h);
void hub_refresh_memory(struct hub *h);
/* Once per turn: what has changed is counted and told. */
void readiness_turn(struct hub *h);
/* Until then a reason that is over is still shown. */
uint64_t readiness_deadline_us(const struct hub *h);

#endif
