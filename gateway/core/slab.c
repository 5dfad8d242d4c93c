#include "core/slab.h"

#include "core/alloc.h"

/* So many are made at once: the rest of an allocation is not touched. */
#define MADE_AT_ONCE 64u

void sl_slab_init_chunks(struct sl_slab *s, size_t item_size, uint32_t shift)
{
    SL_ASSERT(item_size >= sizeof(uint32_t) && item_size <= UINT32_MAX >> shift);
    *s = (struct sl_slab){ .item_size = (uint32_t)item_size, .shift = shift };
}

void sl_slab_init(struct sl_slab *s, size_t item_size)
{
    sl_slab_init_chunks(s, item_size, SL_SLAB_SHIFT);
}

void sl_slab_fini(struct sl_slab *s)
{
    for (uint32_t i = 0; i < s->n_chunks; i++)
        sl_free(s->chunks[i]);
    sl_free(s->chunks);
    sl_slab_init_chunks(s, s->item_size, s->shift);
}

static void set_next_free(struct sl_slab *s, uint32_t index, uint32_t next)
{
    memcpy(sl_slab_at_shift(s, index, s->shift), &next, sizeof next);
}

static void add_chunk(struct sl_slab *s)
{
    SL_ASSERT(s->n_chunks < UINT32_MAX >> s->shift);
    /* The table of chunks doubles at each power of two. */
    if ((s->n_chunks & (s->n_chunks - 1)) == 0) {
        size_t cap = s->n_chunks == 0 ? 1 : (size_t)s->n_chunks * 2;
        s->chunks = sl_realloc(s->chunks, cap * sizeof *s->chunks);
    }
    s->chunks[s->n_chunks++] = sl_alloc((size_t)s->item_size << s->shift);
}

/* The new ones are given in order. They are zero: a number that somebody kept of a record
 * that is gone finds nothing of it. */
void sl_slab_grow(struct sl_slab *s)
{
    uint32_t first = s->made == 0 ? 1 : s->made;
    uint32_t chunk = s->made >> s->shift;
    if (chunk == s->n_chunks)
        add_chunk(s);
    uint32_t end = (chunk + 1) << s->shift;
    if (end - s->made > MADE_AT_ONCE)
        end = s->made + MADE_AT_ONCE;
    memset(sl_slab_at_shift(s, s->made, s->shift), 0, (size_t)(end - s->made) * s->item_size);
    for (uint32_t i = first; i + 1 < end; i++)
        set_next_free(s, i, i + 1);
    set_next_free(s, end - 1, 0);
    s->made = end;
    s->free_head = first;
}

void sl_slab_shrink(struct sl_slab *s)
{
    SL_ASSERT(s->used == 0);
    if (s->n_chunks <= SL_SLAB_KEEPS)
        return;
    while (s->n_chunks > 1)
        sl_free(s->chunks[--s->n_chunks]);
    s->chunks = sl_realloc(s->chunks, sizeof *s->chunks);
    s->made = 0;
    sl_slab_grow(s);
}

size_t sl_slab_bytes(const struct sl_slab *s)
{
    return (size_t)s->n_chunks * (((size_t)s->item_size << s->shift) + sizeof *s->chunks);
}
