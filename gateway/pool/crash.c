#include "crash.h"

#define LIVED_WELL 10u

uint64_t crash_good_ms(const struct crash_loop *c, const struct crash_config *cfg)
{
    uint64_t well = c->wait_ms * LIVED_WELL;
    return well < cfg->max_ms ? well : cfg->max_ms;
}

static void raise_wait(struct crash_loop *c, const struct crash_config *cfg, const struct crash_life *life, uint64_t now_ms)
{
    if (c->wait_ms == 0 || life->lived_ms >= crash_good_ms(c, cfg)) {
        c->wait_ms = cfg->initial_ms;
    } else if (life->started_ms < c->raised_ms) {
        return;
    } else {
        double next = (double)c->wait_ms * cfg->factor;
        c->wait_ms = next < (double)cfg->max_ms ? (uint64_t)next : cfg->max_ms;
    }
    c->raised_ms = now_ms;
}

uint64_t crash_wait(struct crash_loop *c, const struct crash_config *cfg, const struct crash_life *life, uint64_t now_ms)
{
    bool good = life->answered || (c->wait_ms > 0 && life->lived_ms >= crash_good_ms(c, cfg));
    if (good)
        (void)crash_is_over(c);
    raise_wait(c, cfg, life, now_ms);
    c->in_row++;
    c->looping = c->looping || c->in_row >= CRASH_LOOP_AFTER;
    if (!c->looping)
        return c->wait_ms;
    uint64_t at_ms = now_ms + c->wait_ms;
    if (at_ms < c->try_ms)
        at_ms = c->try_ms;
    c->try_ms = at_ms + c->wait_ms;
    return at_ms - now_ms;
}

bool crash_is_over(struct crash_loop *c)
{
    bool was = c->looping;
    c->in_row = 0;
    c->looping = false;
    c->try_ms = 0;
    return was;
}
