#include "core/slab.h"

#include "core/alloc.h"

void sl_slab_init(struct sl_slab *s, size_t item_size)
{
    SL_ASSERT(item_size >= sizeof(uint32_t) && item_size <= UINT32_MAX / SL_SLAB_CHUNK);
    *s = (struct sl_slab){.item_size = (uint32_t)item_size};
}

void sl_slab_fini(struct sl_slab *s)
{
    for (uint32_t i = 0; i < s->n_chunks; i++)
        sl_free(s->chunks[i]);
    sl_free(s->chunks);
    sl_slab_init(s, s->item_size);
}

static void set_next_free(struct sl_slab *s, uint32_t index, uint32_t next)
{
    memcpy(sl_slab_at(s, index), &next, sizeof next);
}

/* The new ones are given in order. */
void sl_slab_grow(struct sl_slab *s)
{
    SL_ASSERT(s->n_chunks < UINT32_MAX / SL_SLAB_CHUNK);
    /* The table of chunks doubles at each power of two. */
    if ((s->n_chunks & (s->n_chunks - 1)) == 0) {
        size_t cap = s->n_chunks == 0 ? 1 : (size_t)s->n_chunks * 2;
        s->chunks = sl_realloc(s->chunks, cap * sizeof *s->chunks);
    }
    s->chunks[s->n_chunks] = sl_alloc((size_t)SL_SLAB_CHUNK * s->item_size);
    uint32_t first = s->n_chunks * SL_SLAB_CHUNK;
    uint32_t last = first + SL_SLAB_CHUNK - 1;
    s->n_chunks++;
    if (first == 0)
        first = 1;
    for (uint32_t i = first; i < last; i++)
        set_next_free(s, i, i + 1);
    set_next_free(s, last, 0);
    s->free_head = first;
}

size_t sl_slab_bytes(const struct sl_slab *s)
{
    return (size_t)s->n_chunks * (SL_SLAB_CHUNK * (size_t)s->item_size + sizeof *s->chunks);
}
