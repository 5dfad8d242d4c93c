/* An event of a message in words, one line each. */
#include <inttypes.h>
#include <stdio.h>

#include "trace.h"

#define AT_MAX 32u

static void put(struct sl_buf *out, const char *text)
{
    SL_ASSERT(sl_buf_append(out, text, strlen(text)) == SL_OK);
}

/* From workers and peers: it stays one line, whatever is in it. */
static void put_clean(struct sl_buf *out, struct sl_bytes text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i] < 0x20 || text.p[i] == 0x7F ? ' ' : text.p[i];
        SL_ASSERT(sl_buf_append(out, &c, 1) == SL_OK);
    }
}

static void put_number(struct sl_buf *out, const char *before, uint32_t n)
{
    char text[16];
    put(out, before);
    (void)snprintf(text, sizeof text, "%" PRIu32, n);
    put(out, text);
}

static void put_time(struct sl_buf *out, const char *before, uint64_t wall_ms)
{
    char text[AT_MAX];
    if (wall_ms == 0)
        return;
    put(out, before);
    put(out, sl_time_format(wall_ms, text, sizeof text));
}

static void put_id(struct sl_buf *out, const char *before, uint64_t id)
{
    char text[24];
    if (id == 0)
        return;
    put(out, before);
    (void)snprintf(text, sizeof text, "%016" PRIx64, id);
    put(out, text);
}

static void put_who(struct sl_buf *out, struct sl_bytes who)
{
    if (who.n == 0)
        return;
    put(out, " to ");
    put_clean(out, who);
}

static void put_why(struct sl_buf *out, const struct hub_trace_event *e)
{
    put(out, ": ");
    put(out, queue_cause_name(e->cause));
    if (e->text.n == 0)
        return;
    put(out, " (");
    put_clean(out, e->text);
    put(out, ")");
}

static void put_now(struct sl_buf *out, const struct hub_trace_event *e)
{
    static const char *const states[] = { "ready", "leased", "delayed", "dead" };
    put(out, "now ");
    put(out, states[e->state]);
    put_who(out, e->text);
    put_time(out, e->state == QUEUE_DEAD ? " since " : " until ", e->until_ms);
    put_number(out, ", failed attempts ", e->attempt);
}

static const char *name_of(enum hub_trace_what what)
{
    static const char *const names[] = {
#define X(name, text) [HUB_TRACE_##name] = (text),
        HUB_TRACE_EVENTS(X)
#undef X
    };
    return names[what];
}

/* Most need no more than their name. */
static void put_event(struct sl_buf *out, const struct hub_trace_event *e)
{
    switch (e->what) {
    case HUB_TRACE_NOW:
        put_now(out, e);
        return;
    case HUB_TRACE_LEASED:
        put(out, "leased");
        put_who(out, e->text);
        put_number(out, ", attempt ", e->attempt);
        return;
    case HUB_TRACE_FAILED:
        put_number(out, "attempt ", e->attempt);
        put(out, " failed");
        put_why(out, e);
        put_time(out, ", again ", e->until_ms);
        return;
    case HUB_TRACE_DEAD:
        put_number(out, "dead after attempt ", e->attempt);
        put_why(out, e);
        return;
    case HUB_TRACE_RELEASED:
        put_time(out, "released, again ", e->until_ms);
        return;
    case HUB_TRACE_DELAYED:
        put_time(out, "delayed until ", e->until_ms);
        return;
    case HUB_TRACE_REPLACED:
    case HUB_TRACE_MOVED:
        put(out, name_of(e->what));
        put_who(out, e->text);
        put_id(out, e->what == HUB_TRACE_MOVED ? " as " : " by ", e->other);
        return;
    case HUB_TRACE_ACCEPTED:
    case HUB_TRACE_DUPLICATE:
    case HUB_TRACE_READY:
    case HUB_TRACE_ACKED:
    case HUB_TRACE_EXPIRED:
    case HUB_TRACE_DROPPED:
    case HUB_TRACE_PURGED:
    case HUB_TRACE_CANCELLED:
    case HUB_TRACE_DEAD_DROPPED:
    case HUB_TRACE_DEAD_EXPIRED:
    case HUB_TRACE_DEAD_REMOVED:
        put(out, name_of(e->what));
        return;
    }
}

void hub_trace_print(const struct hub *h, const struct hub_trace_event *e, struct sl_buf *out)
{
    put_time(out, "", e->wall_ms);
    put(out, " ");
    put(out, h->queues[e->queue].cfg->name);
    put(out, " ");
    put_event(out, e);
    put(out, "\n");
}
