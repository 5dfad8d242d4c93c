/* Fixed-size records addressed by 32-bit index: no pointers across gaps, one
 * allocation per 1,024 records, stable addresses. Index 0 is never given. */
#ifndef CORE_SLAB_H
#define CORE_SLAB_H

#include "core/bytes.h"

#define SL_SLAB_CHUNK 1024u

struct sl_slab {
    uint8_t **chunks;
    uint32_t n_chunks, used, free_head;
    uint32_t item_size;
};

/* item_size at least 4. */
void sl_slab_init(struct sl_slab *s, size_t item_size);
void sl_slab_fini(struct sl_slab *s);
/* A zeroed record. */
uint32_t sl_slab_take(struct sl_slab *s) SL_CHECK;
void sl_slab_give(struct sl_slab *s, uint32_t index);

static inline void *sl_slab_at(const struct sl_slab *s, uint32_t index)
{
    return s->chunks[index / SL_SLAB_CHUNK] + (size_t)(index % SL_SLAB_CHUNK) * s->item_size;
}

/* Bytes of memory held. */
size_t sl_slab_bytes(const struct sl_slab *s);

#endif
