/* Tree to struct: every value checked against its row, every default set. */
#ifndef CONFIG_APPLY_H
#define CONFIG_APPLY_H

#include "config/config.h"
#include "faults.h"

/* Fills `c`, whose memory must be set. What is wrong is reported and keeps its
 * default; required keys that are missing or wrong stay NULL. */
void config_apply(struct config *c, const struct config_node *root, const char *folder,
                  struct config_report *r);

#endif
