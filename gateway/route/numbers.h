/* Growing arrays of node and record numbers. */
#ifndef ROUTE_NUMBERS_H
#define ROUTE_NUMBERS_H

#include "core/alloc.h"
#include "core/err.h"

/* All zero is an empty one; the owner frees `v`. */
struct numbers {
    uint32_t *v;
    uint32_t n, cap;
};

static inline void numbers_grow(struct numbers *a)
{
    SL_ASSERT(a->cap <= UINT32_MAX / 2);
    a->cap = a->cap > 0 ? a->cap * 2 : 16;
    a->v = sl_realloc(a->v, a->cap * sizeof *a->v);
}

static inline void numbers_push(struct numbers *a, uint32_t v)
{
    if (SL_UNLIKELY(a->n == a->cap))
        numbers_grow(a);
    a->v[a->n++] = v;
}

static inline size_t numbers_bytes(const struct numbers *a)
{
    return a->cap * sizeof *a->v;
}

static inline void numbers_swap(struct numbers *a, struct numbers *b)
{
    struct numbers c = *a;
    *a = *b;
    *b = c;
}

#endif
