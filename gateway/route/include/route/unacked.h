/* What one consumer was given and has not answered. Pure.
 *
 * Deliveries are numbered 1, 2, 3 … in the order in which they are given. An
 * answer names one, or all up to one. What an open transaction has answered is
 * claimed: it counts as answered for everybody but that transaction.
 *
 * Memory is bounded by what is unanswered, however far apart the numbers are. */
#ifndef ROUTE_UNACKED_H
#define ROUTE_UNACKED_H

#include "core/bytes.h"
#include "core/err.h"

/* Embedded; all zero is empty. */
struct unacked {
    struct unacked_entry *v; /* in the order of their numbers; those that are over are gaps until they are squeezed out */
    uint32_t first, end, cap;
    uint32_t n;              /* unanswered, claimed or not */
    uint64_t last;           /* the number given last */
};

enum unacked_state {
    UNACKED_NEVER,   /* that number was not given yet */
    UNACKED_OVER,    /* it was answered */
    UNACKED_CLAIMED,
    UNACKED_OPEN,
};

void unacked_fini(struct unacked *u);
static inline uint32_t unacked_count(const struct unacked *u)
{
    return u->n;
}
/* Gives the next number. `lease` is the caller's. */
uint64_t unacked_add(struct unacked *u, uint64_t lease);
/* Gives the next number to what nobody has to answer: it is over. */
static inline uint64_t unacked_pass(struct unacked *u)
{
    return ++u->last;
}
enum unacked_state unacked_state(const struct unacked *u, uint64_t number);
/* Of an open or claimed one. SL_ENOENT: it is neither. */
SL_CHECK int unacked_lease(const struct unacked *u, uint64_t number, uint64_t *lease);
/* Takes an open or claimed one out. SL_ENOENT: it is neither. */
SL_CHECK int unacked_take(struct unacked *u, uint64_t number, uint64_t *lease);
/* An open one becomes claimed; a claimed one open again. SL_ENOENT: it is not. */
SL_CHECK int unacked_claim(struct unacked *u, uint64_t number);
SL_CHECK int unacked_unclaim(struct unacked *u, uint64_t number);
/* The oldest open one whose number is at least `from`; 0: there is none. */
uint64_t unacked_next(const struct unacked *u, uint64_t from);
/* Memory held. */
size_t unacked_bytes(const struct unacked *u);
/* Aborts when an invariant does not hold; for tests. */
void unacked_check(const struct unacked *u);

#endif
