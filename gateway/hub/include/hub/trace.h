/* What happened to one message, for `sluice queue trace ID`.
 *
 * A bounded ring keeps the latest events of all messages (hub_config.trace_events;
 * 0: none are kept). What is still there is told as well by its stored history, so
 * that its failures are known after a restart and without the ring. */
#ifndef HUB_TRACE_H
#define HUB_TRACE_H

#include "hub/hub.h"

/* The words in which they are told. */
#define HUB_TRACE_EVENTS(X)                                                                        \
    X(ACCEPTED, "accepted") X(DELAYED, "delayed") X(DUPLICATE, "duplicate")                        \
    X(LEASED, "leased") X(FAILED, "failed") X(RELEASED, "released") X(READY, "ready")              \
    X(ACKED, "acked") X(DEAD, "dead") X(EXPIRED, "expired") X(DROPPED, "dropped")                  \
    X(PURGED, "purged") X(CANCELLED, "cancelled") X(REPLACED, "replaced") X(MOVED, "moved")        \
    X(DEAD_DROPPED, "dead_letter_dropped") X(DEAD_EXPIRED, "dead_letter_expired")                   \
    X(DEAD_REMOVED, "dead_letter_removed") X(NOW, "now")
enum hub_trace_what {
#define X(name, text) HUB_TRACE_##name,
    HUB_TRACE_EVENTS(X)
#undef X
};

struct hub_trace_event {
    uint64_t wall_ms;
    uint64_t id;
    enum hub_trace_what what;
    uint32_t queue;         /* the hub's index */
    uint32_t attempt;       /* LEASED, FAILED, DEAD: which; NOW: failed ones */
    enum queue_cause cause; /* FAILED, DEAD, READY */
    enum queue_state state; /* NOW */
    uint64_t until_ms;      /* DELAYED, FAILED, RELEASED, NOW: wall time; 0: not told */
    uint64_t other;         /* REPLACED, MOVED: the new id; DUPLICATE: 0 */
    struct sl_bytes text;   /* LEASED, NOW: who has it; FAILED, DEAD: why; MOVED: where to. A view, not cleaned */
};
/* Oldest first; `v` dies with the call. n is 0 when nothing is known of it. */
typedef void hub_trace_cb(void *arg, uint64_t id, const struct hub_trace_event *v, uint32_t n);

/* SL_EFULL: too much is looked for. */
SL_CHECK int hub_trace(struct hub *h, uint64_t id, hub_trace_cb *cb, void *arg);

/* One line without the id: "2026-11-21T10:00:00.123Z telemetry attempt 2 failed: exit (exit 3), again 2026-…\n". */
void hub_trace_print(const struct hub *h, const struct hub_trace_event *e, struct sl_buf *out);

#endif
