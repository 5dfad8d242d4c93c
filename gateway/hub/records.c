/* From what queues tell to records in batches, and the rule of decision 4:
 * what is finished before its batch was handed over is never written. */
#include "dead.h"
#include "dedup.h"
#include "jobs.h"
#include "trace.h"

/* ---- who needs a body: entries of durable queues, and sessions' copies ---- */

void holders_set(struct hub *h, uint64_t id, uint32_t n)
{
    sl_idmap_put(&h->shared, id, (void *)(uintptr_t)n);
}

void holders_add(struct hub *h, uint64_t id)
{
    uintptr_t count = (uintptr_t)sl_idmap_get(&h->shared, id);
    sl_idmap_put(&h->shared, id, (void *)(count == 0 ? 2 : count + 1));
}

/* How many are left after one more is gone. */
static uint32_t holders_left(struct hub *h, uint64_t id)
{
    uintptr_t count = (uintptr_t)sl_idmap_get(&h->shared, id);
    if (count == 0)
        return 0;
    if (--count == 0)
        sl_idmap_del(&h->shared, id);
    else
        sl_idmap_put(&h->shared, id, (void *)count);
    return (uint32_t)count;
}

static SL_ALWAYS_INLINE void add_body(struct hub *h, struct message *m)
{
    struct batch_op *body = record(h, BATCH_BODY);
    body->id = message_id(m);
    body->msg = message_ref(m);
    m->body_op = h->commit.open->base + h->commit.open->n - 1;
    m->body_batch = h->commit.open->seq;
    h->commit.open->bytes += m->record_bytes;
}

void record_body(struct hub *h, struct message *m)
{
    add_body(h, m);
}

void record_body_unneeded(struct hub *h, struct message *m)
{
    SL_ASSERT(m->body_batch == h->commit.open->seq);
    batch_cancel(h->commit.open, m->body_op - h->commit.open->base);
    m->body_batch = 0;
}

/* ---- entries ---- */

static void record_entry(struct hub *h, struct batch_op *op, uint32_t queue, struct message *m, uint32_t flags)
{
    struct hub_queue *hq = &h->queues[queue];
    op->queue = hq->cfg->number;
    op->id = message_id(m);
    op->msg = message_ref(m);
    uint32_t entry = SL_LIKELY(hq->dedup == NULL) ? queue_enqueue(hq->q, m, flags, &h->now) : dedup_enqueue(h, queue, m, flags);
    op->entry = entry;
    bool ahead = message_deliver_at(m) != 0;
    op->state = (uint8_t)(ahead ? QUEUE_DELAYED : QUEUE_READY);
    op->due_ms = message_deliver_at(m);
    op->held = (flags & QUEUE_HOLD) != 0;
    if (SL_UNLIKELY(hq->cfg->order.on))
        op->order_key = queue_entry_order_key(hq->q, op->entry);
    hub_heat(h, queue);
    if (SL_UNLIKELY(hq->dedup != NULL))
        dedup_entered(h, queue, m, entry); /* more records: the end of `op` */
}

static uint32_t record_durable(struct hub *h, struct message *m, const struct route_set *to, bool hold)
{
    add_body(h, m);
    uint32_t n = 0;
    for (uint32_t i = 0; i < to->n; i++) {
        uint32_t queue = to->queues[i];
        if (!h->queues[queue].cfg->durable)
            continue;
        record_entry(h, record(h, BATCH_ENTRY), queue, m, hold ? QUEUE_HOLD : 0);
        h->queues[queue].entered = true;
        n++;
    }
    h->commit.slow = h->commit.slow || hold || message_deliver_at(m) != 0; /* no worker can have it soon */
    return n;
}

uint32_t record_enqueue(struct hub *h, struct message *m, const struct route_set *to, bool hold)
{
    bool durable = false;
    for (uint32_t i = 0; i < to->n; i++) {
        uint32_t queue = to->queues[i];
        if (h->queues[queue].cfg->durable)
            durable = true;
        else
            record_entry(h, batch_add(h->commit.volatiles, BATCH_ENTRY), queue, m, 0);
    }
    if (to->n > 0)
        h->memory += message_bytes(m);
    return durable ? record_durable(h, m, to, hold) : 0;
}

/* Its entry among those of a batch, from `from` on; 0: it is not there. */
static uint32_t entry_among(const struct batch *b, uint32_t from, uint32_t number, uint64_t id)
{
    for (uint32_t i = from; i < b->n; i++) {
        const struct batch_op *op = &b->ops[i];
        if (op->kind == BATCH_ENTRY && op->queue == number && op->id == id)
            return op->entry;
    }
    return 0;
}

uint32_t recorded_entry(const struct hub *h, const struct message *m, const struct route_set *to, uint32_t queue)
{
    const struct hub_queue *hq = &h->queues[queue];
    const struct batch *volatiles = h->commit.volatiles;
    if (hq->cfg->durable)
        return entry_among(h->commit.open, m->body_op - h->commit.open->base + 1, hq->cfg->number, message_id(m));
    return entry_among(volatiles, volatiles->n > 2 * to->n ? volatiles->n - 2 * to->n : 0, hq->cfg->number, message_id(m));
}

/* Place of this message's entry for `queue` in the batch that is still ours. */
static uint32_t find_entry(const struct batch *b, const struct message *m, uint32_t number)
{
    uint32_t i = m->body_op - b->base + 1;
    while (i < b->n && !(b->ops[i].kind == BATCH_ENTRY && b->ops[i].queue == number && b->ops[i].id == message_id(m)))
        i++;
    SL_ASSERT(i < b->n);
    return i;
}

/* One of its holders has let go, `left` are left. `ours`: the batch that has its body, while that is ours. */
static SL_ALWAYS_INLINE void body_released(struct hub *h, struct batch *ours, struct message *m, uint64_t id, uint32_t left, bool acked)
{
    if (left > 0)
        return;
    if (ours == NULL) {
        record(h, BATCH_BODY_DROP)->id = id;
    } else {
        batch_cancel(ours, m->body_op - ours->base);
        m->body_batch = 0;
    }
    if (m == NULL || m->ticket == MESSAGE_NO_TICKET)
        return;
    uint32_t ticket = m->ticket; /* finished with is as good as stored */
    m->ticket = MESSAGE_NO_TICKET;
    if (acked)
        ticket_finished(h, ticket);
    else
        ticket_done(h, ticket, PROTO_ACCEPTED);
}

static void record_gone_durable(struct hub *h, struct hub_queue *hq, const struct queue_change *c)
{
    uint32_t left = holders_left(h, c->id);
    hq->answered += c->exit == QUEUE_EXIT_ACK;
    /* Who sent it knows it kept only when all is, that its end is a part of. */
    if (SL_UNLIKELY(h->commit.transacting) && c->msg != NULL && c->msg->ticket != MESSAGE_NO_TICKET)
        ticket_await_batch(h, c->msg->ticket);
    struct batch *ours = batch_still_ours(h, c->msg);
    if (ours != NULL) {
        batch_cancel(ours, find_entry(ours, c->msg, hq->cfg->number));
        h->counters.records_cancelled++;
        queue_counters(hq->q)->never_written++;
    } else {
        struct batch_op *op = record(h, BATCH_SETTLE);
        op->queue = hq->cfg->number;
        op->id = c->id;
    }
    body_released(h, ours, c->msg, c->id, left, c->exit == QUEUE_EXIT_ACK);
}

static void record_gone(struct hub *h, struct hub_queue *hq, const struct queue_change *c)
{
    if (hq->cfg->durable) {
        record_gone_durable(h, hq, c);
    } else {
        struct batch_op *op = batch_add(h->commit.volatiles, BATCH_SETTLE);
        op->queue = hq->cfg->number;
        op->id = c->id;
    }
    if (c->msg != NULL)
        message_unref(c->msg);
    h->room_made = true;
}

static void record_moved(struct hub *h, struct hub_queue *hq, const struct queue_change *c, const struct batch_failure *f)
{
    struct batch *b = h->commit.volatiles;
    if (hq->cfg->durable) {
        b = batch_still_ours(h, c->msg);
        h->commit.slow = true;
        if (b == NULL)
            b = h->commit.open;
        if (b->opened_us == 0)
            b->opened_us = h->now.mono_us;
    }
    struct batch_op *op = batch_add(b, BATCH_UPDATE);
    op->queue = hq->cfg->number;
    op->id = c->id;
    op->entry = c->entry;
    op->state = (uint8_t)c->state;
    op->cause = (uint8_t)(c->state == QUEUE_DEAD ? c->cause : QUEUE_CAUSE_NONE);
    op->attempts = c->attempts;
    op->due_ms = c->due_steady_ms;
    if (f != NULL)
        op->note = batch_failure_encode(f);
}

static void tell_death(struct hub *h, struct hub_queue *hq, const struct queue_change *c)
{
    uint64_t n = c->cause == QUEUE_CAUSE_EXPIRED ? told_due(&hq->deaths.expired, h->now.mono_ms) : 1;
    if (n > 0)
        sl_log(SL_WARN, "message_dead", "queue=%s id=%016llx attempts=%u cause=%s n=%llu", hq->cfg->name, (unsigned long long)c->id, c->attempts,
               queue_cause_name(c->cause), (unsigned long long)n);
}

void record_dead_over_cap(struct hub *h, uint32_t queue, const struct queue_change *c)
{
    struct hub_queue *hq = &h->queues[queue];
    uint64_t n = told_due(&hq->deaths.dropped, h->now.mono_ms);
    if (n > 0)
        sl_log(SL_ERROR, "dead_letter_dropped", "queue=%s id=%016llx n=%llu", hq->cfg->name, (unsigned long long)c->id, (unsigned long long)n);
    record_change(h, queue, c, NULL);
}

/* It is dead, or has gone on to be a message elsewhere. */
static void record_death(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    struct hub_queue *hq = &h->queues[queue];
    h->room_made = true;
    tell_death(h, hq, c);
    if (!forward_at_once(h, queue, c, f))
        record_moved(h, hq, c, f);
}

static SL_NOINLINE void tell_changed(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    jobs_changed(h, queue, c);
    if (h->trace != NULL)
        trace_changed(h, queue, c, f);
}

void record_change(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    struct hub_queue *hq = &h->queues[queue];
    hub_heat(h, queue);
    if (SL_UNLIKELY(h->watched))
        tell_changed(h, queue, c, f);
    if (c->fate == QUEUE_GONE)
        record_gone(h, hq, c);
    else if (c->fate == QUEUE_MOVED && c->state == QUEUE_DEAD)
        record_death(h, queue, c, f);
    else if (c->fate == QUEUE_MOVED)
        record_moved(h, hq, c, f);
    else
        h->commit.slow = true; /* a delivery came back: its batch need not wait */
}

/* ---- copies ---- */

static bool is_copy(const struct batch_op *op, const struct outbox_entry *e, const struct session *s)
{
    return op->kind == BATCH_COPY && op->session == s->number && op->id == message_id(e->msg);
}

/* Of this copy's records the last one before `end`; NULL: there is none. */
static struct batch_op *copy_before(struct batch *b, uint32_t end, const struct session *s, const struct outbox_entry *e, uint32_t *at)
{
    for (*at = end; (*at)-- > 0;) {
        if (is_copy(&b->ops[*at], e, s))
            return &b->ops[*at];
    }
    return NULL;
}

/* Its last record, while that is in a batch that is still ours. The open batch
 * has one at most, at its place; a stuck one may have more. */
static struct batch_op *copy_still_ours(struct hub *h, const struct session *s, const struct outbox_entry *e)
{
    struct batch *open = h->commit.open, *stuck = h->commit.stuck;
    uint32_t at = e->place - open->base;
    if (at < open->n && is_copy(&open->ops[at], e, s))
        return &open->ops[at];
    return stuck == NULL ? NULL : copy_before(stuck, stuck->n, s, e, &at);
}

/* Its subscription ids; of a shared subscription, and then its number. */
static struct batch_note *copy_note(const struct outbox_entry *e)
{
    if (!e->shared)
        return batch_ids_encode(outbox_ids(e), e->n_ids);
    SL_ASSERT(e->n_ids <= 1);
    const uint32_t both[] = { e->n_ids > 0 ? e->id : e->subscription, e->subscription };
    return batch_ids_encode(both, e->n_ids + 1);
}

static struct batch_op *copy_op(struct hub *h, const struct session *s, struct outbox_entry *e)
{
    struct batch_op *op = e->recorded ? copy_still_ours(h, s, e) : NULL;
    if (op != NULL)
        return op;
    op = record(h, BATCH_COPY);
    e->place = h->commit.open->base + h->commit.open->n - 1;
    e->recorded = true;
    op->note = copy_note(e);
    return op;
}

void record_copy(struct hub *h, const struct session *s, struct outbox_entry *e)
{
    struct batch_op *op = copy_op(h, s, e);
    op->id = message_id(e->msg);
    op->session = s->number;
    op->entry = s->slot;
    op->packet_id = e->packet_id;
    op->state = e->state == OUTBOX_RELEASED ? BATCH_COPY_RELEASED : BATCH_COPY_WAITING;
    op->copy_flags = e->qos | (e->retain ? BATCH_COPY_RETAIN : 0) | (e->shared ? BATCH_COPY_SHARED : 0);
    h->commit.slow = true; /* nobody can say when a client answers */
}

static void cancel_copies(struct hub *h, const struct session *s, const struct outbox_entry *e)
{
    struct batch *open = h->commit.open, *stuck = h->commit.stuck;
    uint32_t at = e->place - open->base;
    if (at < open->n && is_copy(&open->ops[at], e, s)) {
        batch_cancel(open, at);
        h->counters.records_cancelled++;
    }
    if (stuck == NULL)
        return;
    at = stuck->n;
    while (copy_before(stuck, at, s, e, &at) != NULL) {
        batch_cancel(stuck, at);
        h->counters.records_cancelled++;
    }
}

/* While the body is ours nothing of the copy can have been written. */
void record_copy_gone(struct hub *h, const struct session *s, const struct outbox_entry *e)
{
    uint64_t id = message_id(e->msg);
    struct batch *ours = batch_still_ours(h, e->msg);
    cancel_copies(h, s, e);
    if (e->msg == h->deliveries.fanning.msg) {
        h->deliveries.fanning.gone++; /* others may be about to need the body */
        return;
    }
    if (ours == NULL) {
        struct batch_op *op = record(h, BATCH_COPY_DROP);
        op->id = id;
        op->session = s->number;
    }
    body_released(h, ours, e->msg, id, holders_left(h, id), false);
}
