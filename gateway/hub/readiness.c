/* Why the gateway does not take what it is offered: a set of reasons, looked at
 * once per turn, told in the log when it changes, and counted.
 *
 * Nothing flaps at a limit: each reason has a mark at which it begins and a lower
 * one at which it ends (RULES.md has the numbers), and is shown for a second at
 * least, so that a state that comes and goes gives two lines a second at most, and
 * whoever asks once a second sees it. What is shown late is not done late: intake
 * itself goes on as soon as the lower mark is reached. */
#include "dedup.h"
#include "hub_internal.h"

#define SHOWN_MS 1000u

static const char *const names[HUB_NOT_READY_COUNT] = {
    [HUB_NOT_READY_STARTING] = "starting",   [HUB_NOT_READY_DRAINING] = "draining", [HUB_NOT_READY_BROKEN] = "store_broken",
    [HUB_NOT_READY_NO_SPACE] = "no_space",   [HUB_NOT_READY_MEMORY] = "memory",     [HUB_NOT_READY_CONNECTIONS] = "connections",
};

static uint32_t bit(enum hub_not_ready r)
{
    return UINT32_C(1) << r;
}

static bool is_shown(const struct hub *h, enum hub_not_ready r)
{
    return (h->readiness.now.reasons & bit(r)) != 0;
}

/* ---- memory ---- */

static void judge_memory(struct hub *h)
{
    uint64_t limit = h->cfg.memory_bytes;
    h->readiness.memory_short = hub_memory_pressed(h);
    h->readiness.memory_mark = limit + limit / (h->readiness.memory_short ? 8 : 4);
}

void readiness_init(struct hub *h)
{
    h->readiness.memory_mark = UINT64_MAX;
    judge_memory(h);
}

/* Bodies shared by several queues count once for each: the limit is kept on
 * the safe side. */
uint64_t hub_queue_memory(const struct hub_queue *hq)
{
    struct queue_depth d;
    queue_depth(hq->q, &d);
    return d.memory + dedup_bytes(hq);
}

void hub_refresh_memory(struct hub *h)
{
    bool pressed = hub_memory_pressed(h);
    while (h->recount != 0) {
        struct hub_queue *hq = &h->queues[h->recount - 1];
        h->recount = hq->next_recount;
        hq->recount = false;
        h->queue_memory -= hq->memory;
        hq->memory = hub_queue_memory(hq);
        h->queue_memory += hq->memory;
    }
    h->memory = h->queue_memory;
    judge_memory(h);
    h->room_made = h->room_made || (pressed && !h->readiness.memory_short);
}

/* ---- the set ---- */

/* A place that is free is given at once; the state ends when there are a few. */
static bool connections_full(const struct hub *h)
{
    uint32_t most = h->cfg.max_connections;
    return h->n_connected >= most || (is_shown(h, HUB_NOT_READY_CONNECTIONS) && h->n_connected >= most - most / 16);
}

static bool holds(const struct hub *h, enum hub_not_ready r)
{
    switch (r) {
    case HUB_NOT_READY_STARTING:
        return h->readiness.starting;
    case HUB_NOT_READY_DRAINING:
        return h->draining;
    case HUB_NOT_READY_BROKEN:
        return h->commit.health == HUB_BROKEN;
    case HUB_NOT_READY_NO_SPACE:
        return h->commit.health == HUB_NO_SPACE;
    case HUB_NOT_READY_MEMORY:
        return h->readiness.memory_short;
    case HUB_NOT_READY_CONNECTIONS:
        return connections_full(h);
    case HUB_NOT_READY_COUNT:
        break;
    }
    return false;
}

static bool shown_long_enough(const struct hub *h, enum hub_not_ready r)
{
    return r == HUB_NOT_READY_STARTING || h->now.mono_ms >= h->readiness.now.of[r].since_ms + SHOWN_MS;
}

static uint32_t reasons_of_now(struct hub *h)
{
    uint32_t set = 0;
    for (uint32_t r = 0; r < HUB_NOT_READY_COUNT; r++) {
        bool shown = is_shown(h, r), held = holds(h, r);
        if (held && !shown) {
            h->readiness.now.of[r].since_ms = h->now.mono_ms;
            h->readiness.now.of[r].times++;
        }
        if (held || (shown && !shown_long_enough(h, r)))
            set |= bit(r);
    }
    return set;
}

/* That it started is the program's to tell. */
static void tell(struct hub *h, uint32_t before)
{
    struct hub_readiness *now = &h->readiness.now;
    if (((before ^ now->reasons) & ~bit(HUB_NOT_READY_STARTING)) == 0)
        return;
    char text[HUB_READINESS_TEXT];
    if (now->reasons == 0)
        sl_log(SL_INFO, "ready", "after_ms=%llu", (unsigned long long)(h->now.mono_ms - now->since_ms));
    else
        sl_log(now->reasons == bit(HUB_NOT_READY_DRAINING) ? SL_INFO : SL_WARN, "not_ready", "reason=%s", hub_readiness_text(now, text));
}

void readiness_turn(struct hub *h)
{
    struct hub_readiness *now = &h->readiness.now;
    uint32_t before = now->reasons;
    now->reasons = reasons_of_now(h);
    if (SL_LIKELY(now->reasons == before))
        return;
    h->counters.not_ready += before == 0;
    tell(h, before);
    if ((before == 0) != (now->reasons == 0))
        now->since_ms = h->now.mono_ms;
}

uint64_t readiness_deadline_us(const struct hub *h)
{
    uint64_t us = UINT64_MAX;
    for (uint32_t r = 0; h->readiness.now.reasons != 0 && r < HUB_NOT_READY_COUNT; r++) {
        uint64_t ends_us = (h->readiness.now.of[r].since_ms + SHOWN_MS) * 1000;
        if (is_shown(h, r) && !holds(h, r) && ends_us < us)
            us = ends_us;
    }
    return us;
}

/* ---- for those who ask ---- */

void hub_starting(struct hub *h, bool starting)
{
    h->readiness.starting = starting;
}

void hub_readiness(const struct hub *h, struct hub_readiness *out)
{
    *out = h->readiness.now;
}

const char *hub_not_ready_name(enum hub_not_ready r)
{
    SL_ASSERT(r < HUB_NOT_READY_COUNT);
    return names[r];
}

const char *hub_readiness_text(const struct hub_readiness *r, char out[HUB_READINESS_TEXT])
{
    size_t n = 0;
    snprintf(out, HUB_READINESS_TEXT, "ready");
    for (uint32_t i = 0; i < HUB_NOT_READY_COUNT; i++) {
        if ((r->reasons & bit(i)) != 0)
            n += (size_t)snprintf(out + n, HUB_READINESS_TEXT - n, "%s%s", n > 0 ? "," : "", names[i]);
    }
    return out;
}
