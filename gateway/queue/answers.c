/* What a delivery comes to: done, failed, given back. */
#include "internal.h"

#define RELEASE_FIRST_MS 100u
#define RELEASE_MAX_MS   5000u

/* ---- waits ---- */

/* initial × factor^(n-1), at most max, then ± jitter. Doubles do not overflow,
 * and the loop ends as soon as max is reached. */
static uint64_t backoff_ms(struct queue *q, uint32_t attempts)
{
    double max = (double)q->cfg.retry_max_ms;
    double ms = (double)q->cfg.retry_initial_ms;
    if (q->cfg.retry_factor > 1.0 && ms > 0) {
        for (uint32_t n = 1; n < attempts && ms < max; n++)
            ms *= q->cfg.retry_factor;
    }
    if (ms > max)
        ms = max;
    ms *= 1.0 + q->cfg.retry_jitter * (2.0 * sl_rng_unit(&q->rng) - 1.0);
    if (ms < 0)
        return 0;
    return ms < (double)(UINT64_MAX / 2) ? (uint64_t)ms : UINT64_MAX / 2;
}

static uint64_t release_ms(uint32_t earlier)
{
    uint32_t ms = earlier < 6 ? RELEASE_FIRST_MS << earlier : RELEASE_MAX_MS;
    return ms < RELEASE_MAX_MS ? ms : RELEASE_MAX_MS;
}

/* ---- outcomes, of an entry whose lease has ended ---- */

static void come_back(struct queue *q, uint32_t i, enum queue_state to)
{
    struct queue_entry *e = entry_at(q, i);
    unplace(q, e);
    entry_move(q, e, to);
    e->flags |= ENTRY_REDELIVERED;
}

static void entry_die(struct queue *q, uint32_t i, enum queue_cause cause, const struct sl_now *now,
                      struct queue_change *out)
{
    come_back(q, i, QUEUE_DEAD);
    place_dead(q, i, now->steady_ms, cause);
    q->counters.dead++;
    entry_tell(q, i, QUEUE_MOVED, cause, out);
}

void entry_expire(struct queue *q, uint32_t i, const struct sl_now *now, struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    if (e->flags & ENTRY_CALLED)
        key_left(q, e);
    e->flags &= (uint8_t)~(ENTRY_CALLED | ENTRY_WANTED);
    q->counters.expired_dead++;
    entry_die(q, i, QUEUE_CAUSE_EXPIRED, now, out);
}

void entry_fail(struct queue *q, uint32_t i, const struct failure *f, const struct sl_now *now,
                struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    bool keyed = (e->flags & ENTRY_KEYED) != 0;
    bool kills = keyed && q->cfg.order.on_failure == QUEUE_FAILURE_KILLS;
    bool last = f->fatal || kills || entry_is_last_attempt(q, e);
    if (e->attempts < UINT16_MAX)
        e->attempts++;
    e->extra = 0;
    if (last) {
        entry_die(q, i, f->cause, now, out);
        return;
    }
    uint64_t wait_ms = f->has_delay ? f->delay_ms : backoff_ms(q, e->attempts);
    come_back(q, i, QUEUE_DELAYED);
    place_due(q, i, add_capped(now->steady_ms, wait_ms), false);
    if (keyed && q->cfg.order.on_failure == QUEUE_FAILURE_SKIPS)
        order_skip(q, i);
    q->counters.retried++;
    entry_tell(q, i, QUEUE_MOVED, f->cause, out);
}

void entry_return(struct queue *q, uint32_t i, enum queue_cause cause, struct queue_change *out)
{
    come_back(q, i, QUEUE_READY);
    if (entry_at(q, i)->flags & ENTRY_KEYED)
        order_ready(q, i);
    else
        place_again(q, i);
    q->counters.returned++;
    entry_tell(q, i, QUEUE_UNCHANGED, cause, out);
}

static void entry_release(struct queue *q, uint32_t i, uint32_t consumer, const struct sl_now *now,
                          struct queue_change *out)
{
    struct queue_entry *e = entry_at(q, i);
    uint64_t wait_ms = release_ms(e->extra);
    come_back(q, i, QUEUE_DELAYED);
    if (e->extra < UINT16_MAX)
        e->extra++;
    e->avoid = consumer;
    place_due(q, i, add_capped(now->steady_ms, wait_ms), false);
    q->counters.released++;
    entry_tell(q, i, QUEUE_UNCHANGED, QUEUE_CAUSE_NONE, out);
}

/* ---- answers ---- */

int queue_answer(struct queue *q, uint64_t lease, const struct queue_answer *a,
                 const struct sl_now *now, struct queue_change *out)
{
    q->seen = *now;
    struct lease *l = lease_find(q, lease);
    if (l == NULL)
        return SL_ESTATE;
    uint32_t i = l->entry, consumer = l->consumer;
    /* A release is not work: a worker that refuses all would look quick. */
    consumer_end_lease(q, l, a->verb != QUEUE_RELEASE, now);
    struct failure f = {
        .cause = QUEUE_CAUSE_RETRY, .has_delay = a->has_delay, .delay_ms = a->delay_ms};
    switch (a->verb) {
    case QUEUE_ACK:
        entry_leave(q, i, QUEUE_EXIT_ACK, out);
        return SL_OK;
    case QUEUE_RETRY:
        entry_fail(q, i, &f, now, out);
        return SL_OK;
    case QUEUE_RELEASE:
        entry_release(q, i, consumer, now, out);
        return SL_OK;
    case QUEUE_KILL:
        entry_fail(q, i, &(struct failure){.cause = QUEUE_CAUSE_REJECTED, .fatal = true}, now, out);
        return SL_OK;
    }
    SL_ASSERT(a->verb == QUEUE_ACK);
    return SL_EINVAL;
}

int queue_give_back(struct queue *q, uint64_t lease, bool seen, const struct sl_now *now, struct queue_change *out)
{
    q->seen = *now;
    struct lease *l = lease_find(q, lease);
    if (l == NULL)
        return SL_ESTATE;
    uint32_t i = l->entry;
    bool again = seen || (entry_at(q, i)->flags & ENTRY_REDELIVERED) != 0;
    consumer_end_lease(q, l, false, now);
    entry_return(q, i, QUEUE_CAUSE_NONE, out);
    if (!again)
        entry_at(q, i)->flags &= (uint8_t)~ENTRY_REDELIVERED;
    return SL_OK;
}

uint32_t queue_lease_holder(const struct queue *q, uint64_t lease)
{
    const struct lease *l = lease_find(q, lease);
    return l == NULL ? 0 : l->consumer;
}

const struct message *queue_lease_message(const struct queue *q, uint64_t lease)
{
    const struct lease *l = lease_find(q, lease);
    return l == NULL ? NULL : entry_at(q, l->entry)->msg;
}
