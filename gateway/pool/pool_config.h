/* A pool's own copy of its configuration, and what a change of it means. */
#ifndef POOL_CONFIG_COPY_H
#define POOL_CONFIG_COPY_H

#include "pool/pool.h"

/* Defaults are filled in. For pool_config_fini. */
void pool_config_copy(struct pool_config *to, const struct pool_config *from);
void pool_config_fini(struct pool_config *cfg);
/* Whether a worker process of the one is as good as one of the other: command,
 * environment, rights, and what it is told at its start. */
bool pool_config_same_worker(const struct pool_config *a, const struct pool_config *b);
/* Whether all that is left is the same too: how many, for how long, and when they
 * are replaced. */
bool pool_config_same_care(const struct pool_config *a, const struct pool_config *b);
/* Takes that part, which no worker notices, from a copy. */
void pool_config_take_care(struct pool_config *to, const struct pool_config *from);

#endif
