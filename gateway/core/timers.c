#include "core/timers.h"

#include "core/alloc.h"

void sl_timers_fini(struct sl_timers *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        t->heap[i]->pos = 0;
    sl_free(t->heap);
    *t = (struct sl_timers){NULL, 0, 0};
}

static inline void place(struct sl_timers *t, uint32_t i, struct sl_timer *timer)
{
    t->heap[i] = timer;
    timer->pos = i + 1;
}

static uint32_t sift_up(struct sl_timers *t, uint32_t i, struct sl_timer *timer)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / 2;
        if (t->heap[parent]->at_ms <= timer->at_ms)
            break;
        place(t, i, t->heap[parent]);
        i = parent;
    }
    place(t, i, timer);
    return i;
}

static void sift_down(struct sl_timers *t, uint32_t i, struct sl_timer *timer)
{
    for (;;) {
        size_t child = 2 * (size_t)i + 1;
        if (child >= t->n)
            break;
        if (child + 1 < t->n && t->heap[child + 1]->at_ms < t->heap[child]->at_ms)
            child++;
        if (timer->at_ms <= t->heap[child]->at_ms)
            break;
        place(t, i, t->heap[child]);
        i = (uint32_t)child;
    }
    place(t, i, timer);
}

/* Puts a timer down in the hole at i, whichever way its time sends it. */
static void settle(struct sl_timers *t, uint32_t i, struct sl_timer *timer)
{
    if (sift_up(t, i, timer) == i)
        sift_down(t, i, timer);
}

void sl_timer_set(struct sl_timers *t, struct sl_timer *timer, uint64_t at_ms)
{
    timer->at_ms = at_ms;
    if (timer->pos > 0) {
        SL_ASSERT(timer->pos <= t->n && t->heap[timer->pos - 1] == timer);
        settle(t, timer->pos - 1, timer);
        return;
    }
    if (t->n == t->cap) {
        SL_ASSERT(t->cap <= UINT32_MAX / 2);
        t->cap = t->cap > 0 ? t->cap * 2 : 16;
        t->heap = sl_realloc(t->heap, (size_t)t->cap * sizeof(struct sl_timer *));
    }
    t->n++;
    (void)sift_up(t, t->n - 1, timer);
}

void sl_timer_clear(struct sl_timers *t, struct sl_timer *timer)
{
    if (timer->pos == 0)
        return;
    uint32_t i = timer->pos - 1;
    SL_ASSERT(i < t->n && t->heap[i] == timer);
    timer->pos = 0;
    struct sl_timer *last = t->heap[--t->n];
    if (last != timer)
        settle(t, i, last);
}

struct sl_timer *sl_timers_pop_due(struct sl_timers *t, uint64_t now_ms)
{
    if (t->n == 0 || t->heap[0]->at_ms > now_ms)
        return NULL;
    struct sl_timer *due = t->heap[0];
    sl_timer_clear(t, due);
    return due;
}

uint64_t sl_timers_next(const struct sl_timers *t)
{
    return t->n == 0 ? UINT64_MAX : t->heap[0]->at_ms;
}
