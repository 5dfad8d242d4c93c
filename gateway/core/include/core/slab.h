/* Fixed-size records addressed by 32-bit index: no pointers across gaps, one
 * allocation per 1,024 records, stable addresses. Index 0 is never given. Memory
 * that was never given is not touched; when no record is left of very many, all
 * but the first allocation goes back. */
#ifndef CORE_SLAB_H
#define CORE_SLAB_H

#include "core/bytes.h"

#define SL_SLAB_SHIFT 10u
#define SL_SLAB_CHUNK (1u << SL_SLAB_SHIFT)
#define SL_SLAB_KEEPS 64u /* so many allocations stay, for a load that comes and goes */

struct sl_slab {
    uint8_t **chunks;
    uint32_t n_chunks, used, free_head;
    uint32_t made; /* records that were given or stand in the free list, and index 0: what is not below is nobody's */
    uint32_t item_size;
    uint32_t shift; /* 1 << shift records per allocation */
};

/* item_size at least 4. */
void sl_slab_init(struct sl_slab *s, size_t item_size);
/* 1 << shift records per allocation, for large ones of which there are few: to be used with the
 * functions that are told the shift. */
void sl_slab_init_chunks(struct sl_slab *s, size_t item_size, uint32_t shift);
void sl_slab_fini(struct sl_slab *s);
/* Makes free records; only when there are none. */
void sl_slab_grow(struct sl_slab *s);
/* No record is left: gives memory back when that is much. */
void sl_slab_shrink(struct sl_slab *s);

/* Of a slab with 1 << shift records per allocation; the shift is known where it stands. */
static inline void *sl_slab_at_shift(const struct sl_slab *s, uint32_t index, uint32_t shift)
{
    return s->chunks[index >> shift] + (size_t)(index & ((1u << shift) - 1)) * s->item_size;
}

static inline void *sl_slab_at(const struct sl_slab *s, uint32_t index)
{
    return sl_slab_at_shift(s, index, SL_SLAB_SHIFT);
}

/* A record whose bytes are whatever they were: the taker sets them all. */
SL_CHECK static inline uint32_t sl_slab_take_shift(struct sl_slab *s, uint32_t shift)
{
    if (SL_UNLIKELY(s->free_head == 0))
        sl_slab_grow(s);
    uint32_t index = s->free_head;
    memcpy(&s->free_head, sl_slab_at_shift(s, index, shift), sizeof s->free_head);
    SL_PREFETCH(sl_slab_at_shift(s, s->free_head, shift)); /* the next call reads it */
    s->used++;
    return index;
}

SL_CHECK static inline uint32_t sl_slab_take(struct sl_slab *s)
{
    return sl_slab_take_shift(s, SL_SLAB_SHIFT);
}

/* A free record holds the index of the next free one in its first four bytes; 0
 * ends the list, which is why index 0 is never given. */
static inline void sl_slab_give_shift(struct sl_slab *s, uint32_t index, uint32_t shift)
{
    SL_ASSERT(index > 0 && index < s->made && s->used > 0);
    memcpy(sl_slab_at_shift(s, index, shift), &s->free_head, sizeof s->free_head);
    s->free_head = index;
    if (SL_UNLIKELY(--s->used == 0))
        sl_slab_shrink(s);
}

static inline void sl_slab_give(struct sl_slab *s, uint32_t index)
{
    sl_slab_give_shift(s, index, SL_SLAB_SHIFT);
}

/* Bytes of memory held. */
size_t sl_slab_bytes(const struct sl_slab *s);

#endif
