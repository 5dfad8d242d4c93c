/* Intrusive timers in a heap: owner embeds a struct sl_timer. */
#ifndef CORE_TIMERS_H
#define CORE_TIMERS_H

#include "core/bytes.h"

/* All zero is a timer that is not armed. */
struct sl_timer {
    uint64_t at_ms;
    uint32_t pos; /* 1-based place in the heap; 0: not armed */
};

struct sl_timers {
    struct sl_timer **heap;
    uint32_t n, cap;
};

void sl_timers_fini(struct sl_timers *t);
/* Arms or re-arms. */
void sl_timer_set(struct sl_timers *t, struct sl_timer *timer, uint64_t at_ms);
void sl_timer_clear(struct sl_timers *t, struct sl_timer *timer);
/* Takes one timer that is due at `now_ms`; NULL when there is none. */
struct sl_timer *sl_timers_pop_due(struct sl_timers *t, uint64_t now_ms);
/* Time of the next one; UINT64_MAX when there is none. */
uint64_t sl_timers_next(const struct sl_timers *t);

#endif
