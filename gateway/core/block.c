#include "core/block.h"

#include <stdint.h>

#include "core/alloc.h"

#define STEP_BYTES 32u
#define SIZES      40u           /* larger blocks are not kept: there malloc's share is small */
#define KEPT_BYTES (1024u * 1024u)

struct block {
    struct block *next;
};

#ifdef SL_MEMORY_CHECKED
/* A kept block would hide from the sanitizer that it is used after its end. */
void *sl_block_alloc(size_t n)
{
    return sl_alloc(n);
}

void sl_block_free(void *p, size_t n)
{
    (void)n;
    sl_free(p);
}
#else
/* Blocks at [i] have (i + 1) * STEP_BYTES. */
static _Thread_local struct block *kept[SIZES];
static _Thread_local size_t kept_bytes;

static size_t size_of(size_t n)
{
    return (n - 1) / STEP_BYTES;
}

void *sl_block_alloc(size_t n)
{
    size_t size = size_of(n);
    if (size >= SIZES)
        return sl_alloc(n);
    struct block *b = kept[size];
    size_t bytes = (size + 1) * STEP_BYTES;
    if (b == NULL)
        return sl_alloc(bytes);
    kept[size] = b->next;
    SL_PREFETCH(b->next); /* the next call reads it */
    kept_bytes -= bytes;
    return b;
}

void sl_block_free(void *p, size_t n)
{
    size_t size = size_of(n);
    if (size >= SIZES || kept_bytes >= KEPT_BYTES) {
        sl_free(p);
        return;
    }
    struct block *b = p;
    b->next = kept[size];
    kept[size] = b;
    kept_bytes += (size + 1) * STEP_BYTES;
}
#endif
