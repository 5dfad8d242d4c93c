/* Who takes messages: slots, leases, measured service time, credit. */
#include "core/alloc.h"
#include "internal.h"

#define WORK_AHEAD_US     100000.0 /* a consumer holds about this much work (decision 37) */
#define AHEAD_BYTES       (1u << 20)
#define SAMPLE_WEIGHT     7.0      /* one answer counts one eighth, n at once n/(n + 7) */
#define LEASES_FIRST      64u
#define BELOW_CONCURRENCY ((uint64_t)1 << 32)

/* ---- credit ---- */

static uint32_t credit_of(const struct consumer *c)
{
    if (c->cfg.fixed_credit)
        return c->cfg.prefetch;
    uint64_t n = 0; /* until it was measured nothing waits in it */
    if (c->measured) {
        double service_us = c->service_us < 1.0 ? 1.0 : c->service_us;
        n = (uint64_t)(WORK_AHEAD_US / service_us * c->cfg.concurrency);
    }
    if (n < c->cfg.concurrency)
        n = c->cfg.concurrency;
    return n < c->cfg.prefetch ? (uint32_t)n : c->cfg.prefetch;
}

/* Beyond what it works on, a consumer holds messages only up to a number of
 * bytes: large ones fill its socket long before they are many, and then wait in
 * the gateway's memory as output. Who has a fixed credit may wait for all of it
 * before it answers; its caller pauses it where that is too much. */
bool consumer_has_room(const struct consumer *c)
{
    bool takes_bytes = c->cfg.fixed_credit || c->unanswered_bytes < AHEAD_BYTES;
    return c->unanswered < c->credit && (takes_bytes || c->unanswered < c->cfg.concurrency);
}

bool consumer_is_closed(const struct consumer *c)
{
    return c->stopped || c->losing || c->sealed || c->paused;
}

uint64_t consumer_rank(const struct consumer *c)
{
    uint64_t free = (uint64_t)c->credit - c->unanswered + 1;
    return c->unanswered < c->cfg.concurrency ? free + BELOW_CONCURRENCY : free;
}

static void open_add(struct queue *q, struct consumer *c)
{
    if (q->n_open == q->cap_open) {
        q->cap_open = q->cap_open > 0 ? q->cap_open * 2 : 16;
        q->open = sl_realloc(q->open, q->cap_open * sizeof *q->open);
    }
    q->open[q->n_open++].slot = c->slot;
    c->open_at = q->n_open;
}

static void open_remove(struct queue *q, struct consumer *c)
{
    struct open_consumer last = q->open[--q->n_open];
    if (last.slot != c->slot) {
        q->open[c->open_at - 1] = last;
        consumer_at(q, last.slot)->open_at = c->open_at;
    }
    c->open_at = 0;
}

void consumer_update(struct queue *q, struct consumer *c)
{
    bool closed = consumer_is_closed(c);
    bool open = !closed && consumer_has_room(c);
    if (open && c->open_at == 0)
        open_add(q, c);
    else if (!open && c->open_at != 0)
        open_remove(q, c);
    if (open)
        q->open[c->open_at - 1].rank = consumer_rank(c);
    if (closed && q->reserved == c->slot)
        q->reserved = 0;
}

/* ---- service time ---- */

/* A consumer that works quickly answers many in one turn, and the clock stands
 * still within a turn: the first then seems to have taken all the time and the
 * others none. So the answers of one turn are one sample, their mean. */
static void sample_add(struct queue *q, struct consumer *c, const struct lease *l,
                       const struct sl_now *now)
{
    if (c->sample_n == 0 || c->sample_us != now->mono_us) {
        consumer_settle(q);
        c->before_us = c->measured ? c->service_us : -1;
        c->sample_us = now->mono_us;
        c->sample_sum = 0;
        c->sample_n = 0;
    }
    if (l->started && now->mono_us > l->started_us)
        c->sample_sum += now->mono_us - l->started_us;
    c->sample_n++;
}

static void consumer_measure(struct consumer *c)
{
    double n = (double)c->sample_n;
    double mean = (double)c->sample_sum / n;
    bool first = c->before_us < 0;
    c->service_us = first ? mean : c->before_us + (mean - c->before_us) * n / (n + SAMPLE_WEIGHT);
    c->measured = true;
    c->credit = credit_of(c);
}

void consumer_settle(struct queue *q)
{
    if (q->answered == 0)
        return;
    struct consumer *c = consumer_at(q, q->answered);
    q->answered = 0;
    if (c->sample_n > 0)
        consumer_measure(c);
    consumer_update(q, c);
}

uint64_t queue_consumer_backlog_us(const struct queue *q, uint32_t consumer)
{
    const struct consumer *c = consumer_at(q, consumer);
    if (!c->measured)
        return UINT64_MAX;
    uint32_t rounds = (c->unanswered + c->cfg.concurrency - 1) / c->cfg.concurrency;
    return (uint64_t)(c->service_us * rounds);
}

/* ---- leases ---- */

static uint32_t lease_slot(struct queue *q)
{
    uint32_t slot = q->free_lease;
    if (slot != 0) {
        q->free_lease = q->leases[slot].next;
        return slot;
    }
    if (q->n_leases >= q->cap_leases) {
        SL_ASSERT(q->cap_leases < LEASE_SLOTS_MAX);
        q->cap_leases = q->cap_leases > 0 ? q->cap_leases * 2 : LEASES_FIRST;
        q->leases = sl_realloc(q->leases, q->cap_leases * sizeof *q->leases);
    }
    if (q->n_leases == 0)
        q->n_leases = 1;
    return q->n_leases++;
}

static void lease_start(struct queue *q, struct consumer *c, struct lease *l,
                        const struct sl_now *now)
{
    l->started = true;
    l->started_us = now->mono_us;
    c->started++;
    if (c->cfg.time_limit_ms == 0)
        return;
    l->limit_ms = add_capped(now->mono_ms, c->cfg.time_limit_ms);
    consumer_watch(q, c, l->limit_ms);
}

struct lease *consumer_lease(struct queue *q, struct consumer *c, uint32_t entry,
                             const struct sl_now *now)
{
    uint32_t slot = lease_slot(q);
    struct lease *l = &q->leases[slot];
    *l = (struct lease){
        .id = ++q->lease_sequence << LEASE_SLOT_BITS | slot,
        .entry = entry,
        .consumer = c->slot,
        .prev = c->last,
        .limit_ms = UINT64_MAX,
    };
    if (c->last != 0)
        q->leases[c->last].next = slot;
    else
        c->first = slot;
    c->last = slot;
    c->unanswered++;
    c->unanswered_bytes += entry_at(q, entry)->bytes;
    if (c->started < c->cfg.concurrency)
        lease_start(q, c, l, now);
    else if (c->first_waiting == 0)
        c->first_waiting = slot;
    return l;
}

static void lease_unlink(struct queue *q, struct consumer *c, struct lease *l)
{
    uint32_t slot = (uint32_t)(l - q->leases);
    if (c->first_waiting == slot)
        c->first_waiting = l->next;
    if (l->prev != 0)
        q->leases[l->prev].next = l->next;
    else
        c->first = l->next;
    if (l->next != 0)
        q->leases[l->next].prev = l->prev;
    else
        c->last = l->prev;
    c->unanswered--;
    c->unanswered_bytes -= entry_at(q, l->entry)->bytes;
    if (l->started)
        c->started--;
    l->id = 0;
    l->next = q->free_lease;
    q->free_lease = slot;
}

/* Who is late still works on what was taken from it. */
static inline void start_waiting(struct queue *q, struct consumer *c, const struct sl_now *now)
{
    while (c->first_waiting != 0 && c->started + c->late < c->cfg.concurrency) {
        struct lease *next = &q->leases[c->first_waiting];
        c->first_waiting = next->next;
        lease_start(q, c, next, now);
    }
}

void consumer_start_waiting(struct queue *q, struct consumer *c, const struct sl_now *now)
{
    start_waiting(q, c, now);
}

/* Answers mostly come in the order of deliveries: what the next one needs, and of
 * the one after it what leads there. */
static void look_ahead(const struct queue *q, const struct lease *l)
{
    if (l->next == 0)
        return;
    const struct lease *next = &q->leases[l->next];
    SL_PREFETCH(entry_at(q, next->entry)->msg);
    if (next->next == 0)
        return;
    SL_PREFETCH(entry_at(q, q->leases[next->next].entry));
}

/* A last attempt is one message, a batch all of its own. */
void consumer_unseal(struct consumer *c)
{
    c->sealed = c->late > 0 || (is_batching(c) && c->unanswered > 0);
}

void consumer_end_lease(struct queue *q, struct lease *l, bool measure, const struct sl_now *now)
{
    struct consumer *c = consumer_at(q, l->consumer);
    look_ahead(q, l);
    if (SL_UNLIKELY(q->restrained) && keys_limited(q))
        key_freed(q, entry_at(q, l->entry));
    if (measure)
        sample_add(q, c, l, now);
    lease_unlink(q, c, l);
    if (SL_UNLIKELY(c->sealed))
        consumer_unseal(c);
    /* When a consumer is lost, what had not started by then must not be charged. */
    if (!c->losing)
        start_waiting(q, c, now);
    if (q->answered != c->slot) {
        consumer_settle(q);
        q->answered = c->slot;
    }
}

/* ---- limits ---- */

/* A message that is answered in time costs no heap operation: the timer of the
 * first one stays, and finds out when it fires what its real time is. */
void consumer_watch(struct queue *q, struct consumer *c, uint64_t limit_ms)
{
    if (c->told || c->losing)
        return;
    if (c->timer.pos == 0 || limit_ms < c->timer.at_ms)
        sl_timer_set(&q->timers, &c->timer, limit_ms);
}

uint64_t consumer_due(const struct queue *q, const struct consumer *c)
{
    uint64_t earliest = c->first_waiting != 0 ? c->patience_ms : UINT64_MAX;
    for (uint32_t slot = c->first; slot != c->first_waiting; slot = q->leases[slot].next) {
        if (q->leases[slot].limit_ms < earliest)
            earliest = q->leases[slot].limit_ms;
    }
    return earliest;
}

bool queue_overdue(struct queue *q, const struct sl_now *now, uint32_t *consumer,
                   void **consumer_arg)
{
    q->seen = *now;
    if (q->wake_ms <= now->mono_ms)
        q->wake_ms = UINT64_MAX; /* it has woken somebody */
    struct sl_timer *t;
    while ((t = sl_timers_pop_due(&q->timers, now->mono_ms)) != NULL) {
        struct consumer *c = SL_CONTAINER(t, struct consumer, timer);
        uint64_t at_ms = consumer_due(q, c);
        if (at_ms > now->mono_ms) {
            if (at_ms != UINT64_MAX)
                consumer_watch(q, c, at_ms);
            continue;
        }
        if (!c->cfg.lives_on) {
            c->told = true;
            c->stopped = true;
            consumer_update(q, c);
        }
        *consumer = c->slot;
        *consumer_arg = c->cfg.arg;
        return true;
    }
    return false;
}

static void lease_extend(struct queue *q, struct consumer *c, struct lease *l, uint64_t limit_ms)
{
    /* One that waits for its start gets its full time then; without a limit there is nothing to move. */
    if (!l->started || l->limit_ms == UINT64_MAX)
        return;
    l->limit_ms = limit_ms;
    consumer_watch(q, c, limit_ms);
}

int queue_extend(struct queue *q, uint64_t lease, uint64_t ms, const struct sl_now *now)
{
    struct lease *l = lease_find(q, lease);
    if (l == NULL)
        return SL_ESTATE;
    struct consumer *c = consumer_at(q, l->consumer);
    uint64_t limit_ms = add_capped(now->mono_ms, ms);
    if (!is_batching(c)) {
        lease_extend(q, c, l, limit_ms);
        return SL_OK;
    }
    for (uint32_t slot = c->first; slot != 0; slot = q->leases[slot].next)
        lease_extend(q, c, &q->leases[slot], limit_ms); /* a batch has one clock */
    return SL_OK;
}

/* ---- coming and going ---- */

uint32_t queue_consumer_add(struct queue *q, const struct queue_consumer_config *cfg)
{
    uint32_t slot = sl_slab_take_shift(&q->consumers, CONSUMERS_SHIFT);
    struct consumer *c = sl_slab_at_shift(&q->consumers, slot, CONSUMERS_SHIFT);
    *c = (struct consumer){.slot = slot, .cfg = *cfg, .next = q->first_consumer, .patience_ms = UINT64_MAX};
    if (is_batching(c))
        c->cfg.concurrency = c->cfg.prefetch = c->cfg.batch_max;
    c->cfg.fixed_credit = c->cfg.fixed_credit || is_batching(c);
    restraint_count(q, is_restrained(c));
    if (c->cfg.concurrency == 0)
        c->cfg.concurrency = 1;
    if (c->cfg.prefetch == 0)
        c->cfg.prefetch = 1;
    c->credit = credit_of(c);
    if (c->next != 0)
        consumer_at(q, c->next)->prev = slot;
    q->first_consumer = slot;
    consumer_update(q, c);
    return slot;
}

void queue_consumer_stop(struct queue *q, uint32_t consumer)
{
    struct consumer *c = consumer_at(q, consumer);
    c->stopped = true;
    consumer_update(q, c);
}

void queue_consumer_pause(struct queue *q, uint32_t consumer, bool paused)
{
    struct consumer *c = consumer_at(q, consumer);
    c->paused = paused;
    consumer_update(q, c);
}

uint32_t queue_consumer_unanswered(const struct queue *q, uint32_t consumer)
{
    return consumer_at(q, consumer)->unanswered;
}

uint64_t queue_consumer_unanswered_bytes(const struct queue *q, uint32_t consumer)
{
    return consumer_at(q, consumer)->unanswered_bytes;
}

static void consumer_free(struct queue *q, struct consumer *c)
{
    if (c->prev != 0)
        consumer_at(q, c->prev)->next = c->next;
    else
        q->first_consumer = c->next;
    if (c->next != 0)
        consumer_at(q, c->next)->prev = c->prev;
    uint32_t slot = c->slot;
    if (q->answered == slot)
        q->answered = 0;
    if (q->collecting == slot)
        q->collecting = 0;
    restraint_count(q, -(int)is_restrained(c));
    c->slot = 0;
    sl_slab_give_shift(&q->consumers, slot, CONSUMERS_SHIFT);
}

/* ---- loss ---- */

static bool is_charged(const struct lease *l, const struct queue_loss *loss,
                       const struct sl_now *now)
{
    if (!l->started || loss->charge_none)
        return false;
    return !loss->timeout || l->limit_ms <= now->mono_ms;
}

static void lose_one(struct queue *q, struct lease *l, const struct queue_loss *loss,
                     const struct sl_now *now, struct queue_change *out)
{
    uint32_t entry = l->entry;
    bool charged = is_charged(l, loss, now);
    bool killed = loss->timeout && l->started && !charged;
    if (charged && is_batching(consumer_at(q, l->consumer)))
        entry_at(q, entry)->flags |= ENTRY_SINGLE; /* which of them it was is found out one by one */
    consumer_end_lease(q, l, false, now);
    if (!charged) {
        entry_return(q, entry, killed ? QUEUE_CAUSE_WORKER_KILLED : QUEUE_CAUSE_NONE, out);
        return;
    }
    struct failure f = {.cause = loss->timeout ? QUEUE_CAUSE_TIMEOUT : loss->cause};
    if (loss->timeout)
        q->counters.timed_out++;
    entry_fail(q, entry, &f, now, out);
}

bool queue_consumer_lose(struct queue *q, uint32_t consumer, const struct queue_loss *loss,
                         const struct sl_now *now, struct queue_change *out)
{
    q->seen = *now;
    struct consumer *c = consumer_at(q, consumer);
    c->losing = true;
    sl_timer_clear(&q->timers, &c->timer);
    consumer_update(q, c);
    if (c->first == 0) {
        consumer_free(q, c);
        return false;
    }
    lose_one(q, &q->leases[c->first], loss, now, out);
    return true;
}
