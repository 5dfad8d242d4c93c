/* From what queues tell to records in batches, and the rule of decision 4:
 * what is finished before its batch was handed over is never written. */
#include "hub_internal.h"

/* How many entries of this message are left after one more is gone. */
static uint32_t entries_left(struct hub *h, uint64_t id)
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

static void record_entry(struct hub *h, struct batch_op *op, uint32_t queue, struct message *m, uint32_t flags)
{
    struct hub_queue *hq = &h->queues[queue];
    op->queue = hq->cfg->number;
    op->id = message_id(m);
    op->msg = message_ref(m);
    op->entry = queue_enqueue(hq->q, m, flags, &h->now);
    bool ahead = message_deliver_at(m) != 0;
    op->state = (uint8_t)(ahead ? QUEUE_DELAYED : QUEUE_READY);
    op->due_ms = message_deliver_at(m);
    hub_heat(h, queue);
}

static void record_durable(struct hub *h, const struct offer_item *it, uint32_t ticket, bool hold)
{
    struct message *m = it->m;
    struct batch_op *body = record(h, BATCH_BODY);
    body->id = message_id(m);
    body->msg = message_ref(m);
    m->body_op = h->commit.open->base + h->commit.open->n - 1;
    m->body_batch = h->commit.open->seq;
    m->ticket = ticket;
    h->commit.open->bytes += m->record_bytes;
    if (ticket != MESSAGE_NO_TICKET)
        ((struct ticket *)sl_slab_at(&h->tickets, ticket))->pending++;
    uint32_t n = 0;
    for (uint32_t i = 0; i < it->to->n; i++) {
        uint32_t queue = it->to->queues[i];
        if (!h->queues[queue].cfg->durable)
            continue;
        record_entry(h, record(h, BATCH_ENTRY), queue, m, hold ? QUEUE_HOLD : 0);
        h->queues[queue].entered = true;
        n++;
    }
    h->commit.slow = h->commit.slow || hold || message_deliver_at(m) != 0; /* no worker can have it soon */
    if (n > 1)
        sl_idmap_put(&h->shared, message_id(m), (void *)(uintptr_t)n);
}

void record_enqueue(struct hub *h, const struct offer_item *it, uint32_t ticket, bool hold)
{
    bool durable = false;
    for (uint32_t i = 0; i < it->to->n; i++) {
        uint32_t queue = it->to->queues[i];
        if (h->queues[queue].cfg->durable)
            durable = true;
        else
            record_entry(h, batch_add(h->commit.volatiles, BATCH_ENTRY), queue, it->m, 0);
    }
    if (durable)
        record_durable(h, it, ticket, hold);
    h->memory += message_bytes(it->m);
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

static void cancel_enqueue(struct hub *h, struct batch *b, const struct hub_queue *hq, const struct queue_change *c, uint32_t left)
{
    struct message *m = c->msg;
    batch_cancel(b, find_entry(b, m, hq->cfg->number));
    h->counters.records_cancelled++;
    queue_counters(hq->q)->never_written++;
    if (left > 0)
        return;
    batch_cancel(b, m->body_op - b->base);
    m->body_batch = 0;
}

static void record_gone_durable(struct hub *h, struct hub_queue *hq, const struct queue_change *c)
{
    uint32_t left = entries_left(h, c->id);
    hq->answered += c->exit == QUEUE_EXIT_ACK;
    struct batch *ours = batch_still_ours(h, c->msg);
    if (ours != NULL) {
        cancel_enqueue(h, ours, hq, c, left);
    } else {
        struct batch_op *op = record(h, BATCH_SETTLE);
        op->queue = hq->cfg->number;
        op->id = c->id;
        if (left == 0)
            record(h, BATCH_BODY_DROP)->id = c->id;
    }
    if (left == 0 && c->msg != NULL && c->msg->ticket != MESSAGE_NO_TICKET) {
        uint32_t ticket = c->msg->ticket; /* finished with is as good as stored */
        c->msg->ticket = MESSAGE_NO_TICKET;
        if (c->exit == QUEUE_EXIT_ACK)
            ticket_finished(h, ticket);
        else
            ticket_done(h, ticket, PROTO_ACCEPTED);
    }
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
    op->state = (uint8_t)c->state;
    op->attempts = c->attempts;
    op->due_ms = c->due_steady_ms;
    if (f != NULL)
        op->note = batch_failure_encode(f);
}

void record_change(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    struct hub_queue *hq = &h->queues[queue];
    hub_heat(h, queue);
    if (c->fate == QUEUE_GONE)
        record_gone(h, hq, c);
    else if (c->fate == QUEUE_MOVED)
        record_moved(h, hq, c, f);
    else
        h->commit.slow = true; /* a delivery came back: its batch need not wait */
    if (c->state == QUEUE_DEAD && c->fate == QUEUE_MOVED) {
        h->room_made = true;
        sl_log(SL_WARN, "message_dead", "queue=%s id=%016llx attempts=%u cause=%s", hq->cfg->name,
               (unsigned long long)c->id, c->attempts, queue_cause_name(c->cause));
    }
}
