/* What the pure paths share: a hub with one queue, a store that keeps nothing ("written" some
 * turns later), and virtual time, so that two runs do the same. */
#ifndef CALLGRIND_WORLD_H
#define CALLGRIND_WORLD_H

#include "hub/hub.h"

#define CLIENTS  50u
#define WINDOW   20u
#define PREFETCH 256u
#define PAYLOAD  256u

struct world {
    struct hub *hub;
    struct hub_listener listener;
    struct batch *pending;
    uint64_t us, turn;
};

void must(bool good, const char *what);
/* Its queue is number 0, "telemetry", which gets telemetry/#. */
void world_make(struct world *w, const struct protocol *protocol);
/* Starts a turn: time goes on, and now and then what was submitted is committed. */
void world_begin(struct world *w);
void world_print(const struct world *w, uint64_t messages);

#endif
