/* What a full disk does: stuck.c. */
#ifndef HUB_STUCK_H
#define HUB_STUCK_H

#include "hub/hub.h"

/* The batch found no space. */
void stuck_take(struct hub *h, struct batch *b);
/* A batch was stored. */
void stuck_released(struct hub *h);
/* While something is stuck: what is due of it goes again. */
void stuck_retry(struct hub *h);
uint64_t stuck_deadline_us(const struct hub *h);
/* Somebody waits for what it settles to be stored. */
void stuck_hurry(struct hub *h);

#endif
