/* Two devices that share a client id take it from each other for ever: each
 * connects as soon as it is thrown out. After TAKEOVERS_MAX takeovers within
 * QUIET_MS the holder stays and the others are refused for QUIET_MS. Trying on
 * does not prolong that: the holder may be what is left of a lost connection,
 * and who tries may be the same device. */
#include "core/utf8.h"
#include "hub_internal.h"

#define TAKEOVERS_MAX 5u
#define QUIET_MS      10000u

/* One client id that was taken over lately. */
struct flapping {
    struct sl_timer timer; /* its end: QUIET_MS after the last takeover, or after it was damped */
    uint64_t taken_ms[TAKEOVERS_MAX];
    uint32_t next; /* the oldest of them */
    bool damped;
    uint32_t n_id;
    uint8_t id[];
};

static struct flapping *flapping_of(struct hub *h, struct sl_bytes client_id)
{
    struct flapping *f = sl_strmap_get(&h->flapping, client_id);
    if (f != NULL)
        return f;
    f = sl_calloc(1, sizeof *f + client_id.n);
    f->n_id = (uint32_t)client_id.n;
    memcpy(f->id, client_id.p, client_id.n);
    sl_strmap_put(&h->flapping, sl_bytes_of(f->id, f->n_id), f);
    return f;
}

static void damp(struct flapping *f)
{
    char id[64];
    f->damped = true;
    sl_log(SL_WARN, "takeovers_damped", "client=%s takeovers=%u within_ms=%u quiet_ms=%u",
           sl_escape(sl_bytes_of(f->id, f->n_id), id, sizeof id), TAKEOVERS_MAX, QUIET_MS, QUIET_MS);
}

bool takeover_allowed(struct hub *h, struct sl_bytes client_id)
{
    struct flapping *f = flapping_of(h, client_id);
    uint64_t oldest = f->taken_ms[f->next];
    if (f->damped) {
        h->counters.takeovers_refused++;
        return false;
    }
    sl_timer_set(&h->flapping_timers, &f->timer, h->now.mono_ms + QUIET_MS);
    if (oldest != 0 && h->now.mono_ms < oldest + QUIET_MS) {
        damp(f);
        h->counters.takeovers_refused++;
        return false;
    }
    f->taken_ms[f->next] = h->now.mono_ms;
    f->next = (f->next + 1) % TAKEOVERS_MAX;
    return true;
}

static void flapping_free(struct hub *h, struct flapping *f)
{
    sl_timer_clear(&h->flapping_timers, &f->timer);
    sl_strmap_del(&h->flapping, sl_bytes_of(f->id, f->n_id));
    sl_free(f);
}

void takeovers_tick(struct hub *h)
{
    struct sl_timer *t;
    while ((t = sl_timers_pop_due(&h->flapping_timers, h->now.mono_ms)) != NULL)
        flapping_free(h, SL_CONTAINER(t, struct flapping, timer));
}

void takeovers_free(struct hub *h)
{
    while (h->flapping_timers.n > 0)
        flapping_free(h, SL_CONTAINER(h->flapping_timers.heap[0], struct flapping, timer));
    sl_timers_fini(&h->flapping_timers);
    sl_strmap_fini(&h->flapping);
}
