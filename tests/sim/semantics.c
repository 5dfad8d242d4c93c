/* The worlds of semantics.h: which of them have what, and what happens there. */
#include "sim.h"

static void trace_queue(const struct world *w, uint32_t q)
{
    const struct queue_config *c = &w->queues[q];
    world_trace(w, "q%u: durable %d, messages %" PRIu64 ", overflow %d, attempts %u, ttl %" PRIu64 ", dead %" PRIu64 " for %" PRIu64 ", order %d by %d, on failure %d", q, c->durable, c->max_messages, (int)c->overflow,
                c->max_attempts, c->ttl_ms, c->dead_max_messages, c->dead_ttl_ms, c->order.on, (int)c->order.key, (int)c->order.on_failure);
}

/* Dice of their own, so that other worlds stay what they are. */
void semantics_make(struct world *w)
{
    struct sl_rng dice;
    w->semantics.on = w->seed % 2 == 0;
    sl_rng_seed(&dice, w->seed ^ UINT64_C(0x5E3A711C5));
    if (!w->semantics.on)
        return;
    if (sl_rng_below(&dice, 100) < 50)
        lines_make(w, &dice);
    operators_make(w, &dice);
    if (sl_rng_below(&dice, 100) < 50)
        moves_make(w, &dice);
    if (sl_rng_below(&dice, 100) < 50)
        duplicates_make(w, &dice);
    if (sl_rng_below(&dice, 100) < 40)
        firings_make(w, &dice);
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        trace_queue(w, q);
}

void semantics_before_restore(struct world *w)
{
    firings_set(w);
    disk_queues_restore_first(w);
}

void semantics_boot(struct world *w)
{
    lines_boot(w);
    operators_boot(w);
    moves_boot(w);
}

void semantics_step(struct world *w)
{
    if (chance(w, 20)) {
        overload_probe(w);
        return;
    }
    if (w->semantics.moves && (!w->semantics.operators || chance(w, 40)))
        moves_step(w);
    else if (w->semantics.operators)
        operators_step(w);
}

void semantics_free(struct world *w)
{
    lines_free(w);
    firings_free(w);
    duplicates_free(w);
}

void semantics_calm(struct world *w)
{
    if (w->semantics.operators)
        operators_calm(w);
    moves_calm(w);
    firings_set(w);
}
