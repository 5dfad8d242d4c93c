/* The levels of a topic or filter: what stands between its slashes. Empty ones
 * count: "/" has two. */
#ifndef ROUTE_LEVELS_H
#define ROUTE_LEVELS_H

#include "core/bytes.h"

struct levels {
    const uint8_t *p, *end; /* p is NULL after the last level */
};

static inline struct levels levels_of(struct sl_bytes text)
{
    return (struct levels){text.p, text.p + text.n};
}

static inline bool levels_ended(const struct levels *l)
{
    return l->p == NULL;
}

/* false after the last one. */
static inline bool levels_next(struct levels *l, struct sl_bytes *level)
{
    if (l->p == NULL)
        return false;
    size_t left = (size_t)(l->end - l->p);
    const uint8_t *slash = left > 0 ? memchr(l->p, '/', left) : NULL;
    *level = sl_bytes_of(l->p, slash == NULL ? left : (size_t)(slash - l->p));
    l->p = slash == NULL ? NULL : slash + 1;
    return true;
}

#endif
