/* Conditions between keys, and texts that name something else: addresses,
 * queues. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/config.h"
#include "faults.h"

/* Fills what is derived (addresses, indexes, anonymous) and reports what does
 * not fit together. Fields that had a fault of their own are passed over. */
void config_check(struct config *c, const struct config_node *root, const char *folder,
                  struct config_report *r);
/* The same of schedules (schedules.c); `is_zone` as in struct config_overrides. */
void config_check_schedules(struct config *c, const struct config_node *root, bool (*is_zone)(const char *name),
                            struct config_report *r);

/* Splits l->bind. SL_OK; SL_EINVAL: it is no address; SL_ETOOBIG: the resolved
 * path is longer than a socket's may be. */
SL_CHECK int config_bind_parse(struct config_memory *m, const char *folder,
                               struct config_listener *l);

#endif
