/* What one worker holds: its unanswered deliveries, in the order in which it got
 * them. A tag is the number of a place and how often that place was used, so
 * that a tag that was never given, one that is answered and one that is open
 * are told apart without keeping a history. */
#ifndef POOL_HELD_H
#define POOL_HELD_H

#include "core/bytes.h"

#define HELD_RECENT 1024u /* answered message ids that are remembered for `lines` */

struct held {
    uint64_t lease, id;
    uint64_t soft_at_ms;      /* when it is told of its soft limit; 0: it is not started */
    bool open, soft_told;
    uint64_t uses;
    uint32_t prev, next;      /* place + 1; 0: none */
    struct sl_buf kept;       /* publishes that wait for the ack */
};

/* All zero is empty. */
struct held_table {
    struct held *places;
    uint32_t n_places, free, oldest, newest, n_open; /* free, oldest, newest: place + 1 */
    uint64_t *recent;
    uint64_t n_recent;
};

enum held_is { HELD_OPEN, HELD_STALE, HELD_NEVER };

void held_fini(struct held_table *t);
/* Returns the tag. */
uint64_t held_add(struct held_table *t, uint64_t lease, uint64_t id);
/* *out is written for HELD_OPEN; valid until the next held_add. */
enum held_is held_by_tag(const struct held_table *t, uint64_t tag, struct held **out);
/* The same by message id, for workers that know no tags; long-answered ids
 * beyond the last HELD_RECENT count as never given. */
enum held_is held_by_id(const struct held_table *t, uint64_t id, struct held **out);
void held_drop(struct held_table *t, struct held *h);
uint64_t held_tag(const struct held_table *t, const struct held *h);

/* How many it had ever, and how many of them it has answered. */
static inline uint64_t held_answered(const struct held_table *t)
{
    return t->n_recent;
}
static inline uint64_t held_ever(const struct held_table *t)
{
    return t->n_recent + t->n_open;
}

/* Oldest first; NULL: none. */
struct held *held_first(const struct held_table *t);
struct held *held_after(const struct held_table *t, const struct held *h);

#endif
