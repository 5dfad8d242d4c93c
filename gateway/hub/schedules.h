/* Messages at given times. */
#ifndef HUB_SCHEDULES_H
#define HUB_SCHEDULES_H

#include "hub_internal.h"

void schedules_tick(struct hub *h);
uint64_t schedules_deadline_us(const struct hub *h);
void schedules_free(struct hub *h);

#endif
