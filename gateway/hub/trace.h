/* The ring of events, and what becomes of a question for one message. While
 * tracing is off each event costs one look at hub.trace. */
#ifndef HUB_TRACE_INTERNAL_H
#define HUB_TRACE_INTERNAL_H

#include "hub/trace.h"
#include "hub_internal.h"

struct trace *trace_new(uint32_t events) SL_CHECK;
void trace_free(struct trace *t);
uint64_t trace_bytes(const struct hub *h);

/* ---- events; only while there is a ring ---- */
void trace_add(struct hub *h, const struct hub_trace_event *e);
/* It has entered its queues. */
void trace_entered(struct hub *h, const struct message *m, const struct route_set *to);
void trace_leased(struct hub *h, uint32_t queue, const struct queue_delivery *d);
/* `f`: the failed attempt, or NULL. */
void trace_changed(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f);
/* It was MOVED to that queue, or REPLACED, by the message `other`. */
void trace_became(struct hub *h, enum hub_trace_what what, uint64_t id, uint32_t queue, uint64_t other, uint32_t to);

/* ---- questions; search.c finds where it is ---- */
struct tracing;
void tracing_found(struct tracing *t, uint32_t queue, const struct queue_peeked *p);
/* Calls back, and frees it. */
void tracing_tell(struct tracing *t);

#endif
