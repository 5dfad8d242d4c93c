/* Memory for what comes and goes by the hundred thousand a second in few sizes.
 * A block that is freed waits, hot in the cache, for the next of its size; a
 * thread keeps about 1 MiB so, and the rest is malloc's. Each thread has blocks of
 * its own, so that a block may be freed by another than took it. */
#ifndef CORE_BLOCK_H
#define CORE_BLOCK_H

#include <stddef.h>

#include "core/compat.h"

/* Never NULL; the memory is uninitialised. `n` is at least 1. */
void *sl_block_alloc(size_t n) SL_CHECK;
/* `n` as it was asked for. */
void sl_block_free(void *p, size_t n);

#endif
