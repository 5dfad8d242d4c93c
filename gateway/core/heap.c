#include "core/heap.h"

#include "core/alloc.h"

void sl_heap_init(struct sl_heap *h, void (*moved)(void *, uint32_t, uint32_t), void *arg)
{
    *h = (struct sl_heap){.moved = moved, .arg = arg};
}

void sl_heap_fini(struct sl_heap *h)
{
    sl_free(h->nodes);
    sl_heap_init(h, h->moved, h->arg);
}

static inline void place(struct sl_heap *h, uint32_t pos, struct sl_heap_node node)
{
    h->nodes[pos] = node;
    if (h->moved != NULL)
        h->moved(h->arg, node.item, pos);
}

/* Both walks carry a hole along and put the node down once, at the end. */
static void sift_up(struct sl_heap *h, uint32_t pos, struct sl_heap_node node)
{
    while (pos > 0) {
        uint32_t parent = (pos - 1) / 2;
        if (h->nodes[parent].key <= node.key)
            break;
        place(h, pos, h->nodes[parent]);
        pos = parent;
    }
    place(h, pos, node);
}

static void sift_down(struct sl_heap *h, uint32_t pos, struct sl_heap_node node)
{
    for (;;) {
        size_t child = 2 * (size_t)pos + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->nodes[child + 1].key < h->nodes[child].key)
            child++;
        if (node.key <= h->nodes[child].key)
            break;
        place(h, pos, h->nodes[child]);
        pos = (uint32_t)child;
    }
    place(h, pos, node);
}

void sl_heap_push(struct sl_heap *h, uint64_t key, uint32_t item)
{
    if (h->n == h->cap) {
        SL_ASSERT(h->cap <= UINT32_MAX / 2);
        h->cap = h->cap > 0 ? h->cap * 2 : 16;
        h->nodes = sl_realloc(h->nodes, (size_t)h->cap * sizeof *h->nodes);
    }
    h->n++;
    sift_up(h, h->n - 1, (struct sl_heap_node){key, item});
}

struct sl_heap_node sl_heap_pop(struct sl_heap *h)
{
    SL_ASSERT(h->n > 0);
    struct sl_heap_node top = h->nodes[0];
    sl_heap_remove(h, 0);
    return top;
}

void sl_heap_remove(struct sl_heap *h, uint32_t pos)
{
    SL_ASSERT(pos < h->n);
    struct sl_heap_node last = h->nodes[--h->n];
    if (pos == h->n)
        return;
    if (pos > 0 && last.key < h->nodes[(pos - 1) / 2].key)
        sift_up(h, pos, last);
    else
        sift_down(h, pos, last);
}
