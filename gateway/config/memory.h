/* Memory that is taken piece by piece and given back at once: a configuration
 * and the tree it is read from each own one. */
#ifndef CONFIG_MEMORY_H
#define CONFIG_MEMORY_H

#include <stddef.h>

#include "core/bytes.h"
#include "core/compat.h"

struct config_memory;

struct config_memory *config_memory_new(void) SL_CHECK;
/* NULL is allowed. Frees all that was taken from it. */
void config_memory_free(struct config_memory *m);
/* Zeroed. */
void *config_memory_take(struct config_memory *m, size_t n, size_t size) SL_CHECK;
/* Copies, and ends the copy in NUL. */
char *config_memory_text(struct config_memory *m, struct sl_bytes text) SL_CHECK;

#endif
