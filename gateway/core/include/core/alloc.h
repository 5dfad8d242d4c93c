/* Memory that is always there: a failed allocation ends the process with one
 * clear line. Every size that a peer controls is capped before it gets here,
 * and what was accepted survives in the store. */
#ifndef CORE_ALLOC_H
#define CORE_ALLOC_H

#include <stddef.h>

#include "core/compat.h"

/* Never NULL; the memory is uninitialised. `n` 0 gives a pointer to free. */
void *sl_alloc(size_t n) SL_CHECK;
/* As sl_alloc, zeroed; n * size is checked for overflow. */
void *sl_calloc(size_t n, size_t size) SL_CHECK;
void *sl_realloc(void *p, size_t n) SL_CHECK;
char *sl_strdup(const char *s) SL_CHECK;
void sl_free(void *p);

#define SL_NEW(type) ((type *)sl_calloc(1, sizeof(type)))

#endif
