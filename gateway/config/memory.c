#include "memory.h"

#include <stdint.h>

#include "core/alloc.h"

struct piece {
    struct piece *next;
    max_align_t data[];
};

struct config_memory {
    struct piece *first;
};

struct config_memory *config_memory_new(void)
{
    return SL_NEW(struct config_memory);
}

void config_memory_free(struct config_memory *m)
{
    if (m == NULL)
        return;
    for (struct piece *p = m->first, *next; p != NULL; p = next) {
        next = p->next;
        sl_free(p);
    }
    sl_free(m);
}

void *config_memory_take(struct config_memory *m, size_t n, size_t size)
{
    /* Counts come from a text of limited size: no product here can overflow. */
    SL_ASSERT(size != 0 && n <= (SIZE_MAX - sizeof(struct piece)) / size);
    struct piece *p = sl_calloc(1, sizeof *p + n * size);
    p->next = m->first;
    m->first = p;
    return p->data;
}

char *config_memory_text(struct config_memory *m, struct sl_bytes text)
{
    char *copy = config_memory_take(m, text.n + 1, 1);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    return copy;
}
