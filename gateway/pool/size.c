#include "pool/size.h"

#define PRESSURE_MS 100u  /* a message that waits shorter than this is no reason */
#define GROW_MS     150u  /* between two steps up */
#define LOOK_MS     100u  /* while something waits */
#define SAMPLE_MS   200u  /* and up to half as much again, so as not to keep step with the load */
#define CALM_MS     5000u
#define CALM_JITTER 0.2
#define FULL        0.75  /* those that stay are not to be busier than this */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void size_init(struct size *s, const struct size_config *cfg, uint64_t now_ms)
{
    *s = (struct size){ .cfg = *cfg, .wanted = cfg->min, .last_ms = now_ms, .busy_since_ms = now_ms, .next_ms = SIZE_NEVER };
}

void size_set(struct size *s, const struct size_config *cfg, uint64_t now_ms)
{
    s->cfg = *cfg;
    if (s->wanted < cfg->min)
        s->wanted = cfg->min;
    if (s->wanted > cfg->max)
        s->wanted = cfg->max;
    s->calm_ms = 0;
    s->next_ms = s->wanted > cfg->min ? now_ms : SIZE_NEVER;
}

static void new_window(struct size *s, uint64_t now_ms, struct sl_rng *rng)
{
    s->busy = 0;
    s->window_ms = 0;
    s->calm_ms = now_ms + CALM_MS + (uint64_t)(CALM_MS * CALM_JITTER * sl_rng_unit(rng));
}

/* ---- up ---- */

static bool has_pressure(const struct size *s, const struct size_seen *seen)
{
    if (seen->ready == 0)
        return false;
    return s->wanted == 0 || (seen->free == 0 && seen->oldest_ms >= PRESSURE_MS);
}

/* What those take that are on their way is not counted again. */
static uint32_t growth(const struct size *s, const struct size_seen *seen)
{
    uint64_t coming = (uint64_t)seen->starting * seen->concurrency;
    if (seen->ready <= coming)
        return 0;
    uint64_t useful = (seen->ready - coming + seen->concurrency - 1) / seen->concurrency;
    uint64_t twice = s->wanted == 0 ? 1 : s->wanted;
    return (uint32_t)least(least(useful, twice), s->cfg.max - s->wanted);
}

static void grow(struct size *s, const struct size_seen *seen)
{
    if (s->wanted > 0 && seen->now_ms < s->grow_ms)
        return;
    uint32_t more = growth(s, seen);
    s->wanted += more;
    if (more > 0)
        s->grow_ms = seen->now_ms + GROW_MS;
}

/* ---- down ---- */

static uint32_t floor_of(const struct size *s)
{
    return s->cfg.min > 0 ? s->cfg.min : 1;
}

static bool is_idle(const struct size_seen *seen)
{
    return seen->ready == 0 && seen->started == 0;
}

/* The mean of the window, weighted by time. It is an honest one because the looks
 * come as regularly when there is nothing to do as when there is. */
static void measure(struct size *s, const struct size_seen *seen, struct sl_rng *rng)
{
    uint64_t passed = seen->now_ms - s->last_ms;
    bool worked = seen->jobs != s->jobs;
    if (s->calm_ms == 0)
        new_window(s, seen->now_ms, rng);
    else
        s->busy += s->last_busy * (double)passed;
    s->window_ms += passed;
    if (worked || !is_idle(seen))
        s->busy_since_ms = seen->now_ms;
    s->last_ms = seen->now_ms;
    s->last_busy = (double)seen->started / seen->concurrency;
    s->jobs = seen->jobs;
}

static bool fewer_would_do(const struct size *s)
{
    if (s->wanted <= floor_of(s) || s->window_ms == 0)
        return false;
    return s->busy / (double)s->window_ms <= FULL * (s->wanted - 1);
}

static void shrink(struct size *s, const struct size_seen *seen, struct sl_rng *rng)
{
    if (s->cfg.idle_ms > 0 && is_idle(seen) && seen->now_ms - s->busy_since_ms >= s->cfg.idle_ms) {
        s->wanted = s->cfg.min;
    } else if (seen->now_ms >= s->calm_ms) {
        s->wanted -= fewer_would_do(s);
        new_window(s, seen->now_ms, rng);
    }
}

/* ---- both ---- */

static uint64_t look_again(const struct size *s, const struct size_seen *seen, struct sl_rng *rng)
{
    uint64_t next = SIZE_NEVER;
    if (seen->ready > 0 && s->wanted < s->cfg.max)
        next = seen->now_ms + LOOK_MS;
    if (s->wanted <= s->cfg.min)
        return next;
    if (s->wanted > floor_of(s))
        next = least(next, seen->now_ms + SAMPLE_MS + sl_rng_below(rng, SAMPLE_MS / 2));
    return s->cfg.idle_ms > 0 ? least(next, s->busy_since_ms + s->cfg.idle_ms) : next;
}

uint32_t size_step(struct size *s, const struct size_seen *seen, struct sl_rng *rng)
{
    if (size_is_fixed(s)) {
        s->wanted = s->cfg.min;
        s->next_ms = SIZE_NEVER;
        return s->wanted;
    }
    measure(s, seen, rng);
    if (has_pressure(s, seen)) {
        new_window(s, seen->now_ms, rng);
        grow(s, seen);
    } else if (s->wanted > s->cfg.min) {
        shrink(s, seen, rng);
    }
    s->next_ms = look_again(s, seen, rng);
    return s->wanted;
}
