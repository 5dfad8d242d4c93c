/* --set path=value. */
#ifndef CONFIG_SET_H
#define CONFIG_SET_H

#include "faults.h"

/* Writes the value into the tree, with objects and list items on the way made
 * where they are missing. `number` counts from 1. The value is JSON if it is,
 * else text. What is wrong is reported. */
void config_set(struct config_memory *m, struct config_node *root, const char *set, uint32_t number,
                struct config_report *r);

#endif
