/* Binary min-heap of (key, item) pairs that tells each item where it stands, so
 * that it can be taken out of the middle. Items are 32-bit slab indices. */
#ifndef CORE_HEAP_H
#define CORE_HEAP_H

#include "core/bytes.h"

struct sl_heap_node {
    uint64_t key;
    uint32_t item;
};

/* `moved(arg, item, pos)` is called whenever an item gets a new position. */
struct sl_heap {
    struct sl_heap_node *nodes;
    uint32_t n, cap;
    void (*moved)(void *arg, uint32_t item, uint32_t pos);
    void *arg;
};

void sl_heap_init(struct sl_heap *h, void (*moved)(void *, uint32_t, uint32_t), void *arg);
void sl_heap_fini(struct sl_heap *h);
void sl_heap_push(struct sl_heap *h, uint64_t key, uint32_t item);
/* The smallest; only when n > 0. */
struct sl_heap_node sl_heap_pop(struct sl_heap *h);
void sl_heap_remove(struct sl_heap *h, uint32_t pos);

static inline const struct sl_heap_node *sl_heap_top(const struct sl_heap *h)
{
    return h->n == 0 ? NULL : &h->nodes[0];
}

#endif
