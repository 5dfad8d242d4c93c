/* Which queues take a topic: MQTT filters with + and #, in a tree whose cost
 * follows the topic's depth. [MQTT-4.7.1-*], [MQTT-4.7.2-1] ($ topics). */
#ifndef ROUTE_ROUTE_H
#define ROUTE_ROUTE_H

#include "core/bytes.h"
#include "core/err.h"

/* A valid filter: levels, + alone in a level, # alone and last, no NUL, UTF-8, 1..65535 bytes. */
bool route_filter_valid(struct sl_bytes filter);
/* A valid topic name: UTF-8, no NUL, no wildcards, 1..65535 bytes. */
bool route_topic_valid(struct sl_bytes topic);

struct route_table;

/* The queues of one topic, each once, in the order in which they were added.
 * Lives as long as the table does not change; the same queues are the same set,
 * so that two may be compared by address. */
struct route_set {
    uint32_t n;
    uint32_t queues[]; /* the caller's numbers */
};

struct route_table *route_new(void) SL_CHECK;
void route_free(struct route_table *t);
/* SL_EINVAL for a filter that is not valid. */
SL_CHECK int route_add(struct route_table *t, struct sl_bytes filter, uint32_t queue);
/* Never NULL; n is 0 when nothing matches. Remembers the answers of recent topics. */
const struct route_set *route_match(struct route_table *t, struct sl_bytes topic);
/* Nodes of the tree that matching has looked at so far: what a match costs. */
uint64_t route_visited(const struct route_table *t);

#endif
