/* Group commit and the answers that wait for it.
 *
 *   open ──hand over──▶ inflight ──committed──▶ answers
 *     ▲                     │ no space
 *     └── cancel ── stuck ◀─┘ (tried again; what is settled meanwhile cancels out)
 *
 * One batch is in flight at a time, so batches grow by themselves under load.
 * What is finished with before it is handed over is never written (decision 4).
 * So a message may be held for commit_delay, or for one turn where that is
 * longer, while workers are likely to finish with it by then; earlier messages
 * that were not finished then go without the younger ones. */
#include "hub_internal.h"

#define BODIES_SHARE     2u            /* bodies may fill half of limits.memory: a deep queue's nodes need the rest */
#define LOOK_AHEAD        4u            /* so many steps ahead memory is asked for */
#define HERE_MAX_OPS      128u          /* batches up to this size may be synced on the loop … */
#define HERE_MAX_BYTES    (64u << 10)
#define HERE_MAX_SYNC_US  800u          /* … when the disk is quick */

/* ---- tickets ---- */

uint32_t ticket_new(struct hub *h, uint64_t client, uint32_t token)
{
    uint32_t index = sl_slab_take(&h->tickets);
    struct ticket *t = sl_slab_at(&h->tickets, index);
    *t = (struct ticket){ .client = client, .token = token, .pending = 1, .result = PROTO_ACCEPTED };
    return index;
}

void ticket_done(struct hub *h, uint32_t ticket, enum proto_result r)
{
    struct ticket *t = sl_slab_at(&h->tickets, ticket);
    SL_ASSERT(t->pending > 0);
    if (r != PROTO_ACCEPTED)
        t->result = (uint8_t)r;
    if (--t->pending > 0)
        return;
    struct hub_client *c = client_find(h, t->client); /* NULL: the peer has left */
    uint32_t token = t->token;
    enum proto_result result = (enum proto_result)t->result;
    bool connect = t->connect;
    sl_slab_give(&h->tickets, ticket);
    if (c != NULL && connect)
        client_connect_stored(c, result);
    else if (c != NULL)
        client_answer(c, token, result);
}

void ticket_await_batch(struct hub *h, uint32_t ticket)
{
    struct batch *b = h->commit.open;
    batch_add_ticket(b, ticket);
    ((struct ticket *)sl_slab_at(&h->tickets, ticket))->pending++;
    if (b->opened_us == 0)
        b->opened_us = h->now.mono_us;
    h->commit.owed = true;
}

void answer_with_batch(struct hub_client *c, uint32_t token, enum proto_result r)
{
    uint32_t ticket = ticket_new(c->h, c->id, token);
    ticket_await_batch(c->h, ticket);
    ticket_done(c->h, ticket, r);
}

void ticket_finished(struct hub *h, uint32_t ticket)
{
    struct commit *c = &h->commit;
    if (c->n_finished == c->cap_finished) {
        c->cap_finished = c->cap_finished == 0 ? 64 : c->cap_finished * 2;
        c->finished = sl_realloc(c->finished, c->cap_finished * sizeof *c->finished);
    }
    c->finished[c->n_finished++] = ticket;
}

/* "Finished with" is as good as stored, unless what it became is a message that
 * is not stored yet: an ack and its publishes are one (contract, section 5). */
void resolve_finished(struct hub *h)
{
    struct commit *c = &h->commit;
    for (uint32_t i = 0; i < c->n_finished; i++) {
        if (i + LOOK_AHEAD < c->n_finished)
            SL_PREFETCH(sl_slab_at(&h->tickets, c->finished[i + LOOK_AHEAD]));
        if (c->derived)
            ticket_await_batch(h, c->finished[i]);
        ticket_done(h, c->finished[i], PROTO_ACCEPTED);
    }
    c->n_finished = 0;
}

/* ---- batches ---- */

struct batch *batch_still_ours(struct hub *h, const struct message *m)
{
    struct commit *c = &h->commit;
    if (m == NULL || m->body_batch == 0)
        return NULL;
    if (m->body_batch == c->open->seq)
        return c->open;
    if (c->stuck != NULL && m->body_batch == c->stuck->seq)
        return c->stuck;
    return NULL;
}

void apply_volatiles(struct hub *h)
{
    struct batch *b = h->commit.volatiles;
    if (b->n == 0)
        return;
    h->cfg.store.apply_volatile(h->cfg.store.arg, b);
    batch_reset(b);
}

struct batch *batch_spare(struct hub *h)
{
    struct batch *b = h->commit.spare != NULL ? h->commit.spare : batch_new();
    h->commit.spare = NULL;
    b->seq = ++h->commit.next_seq;
    return b;
}

static struct batch *open_next(struct hub *h)
{
    struct commit *c = &h->commit;
    struct batch *full = c->open;
    full->last_id = h->next_id;
    c->open = batch_spare(h);
    c->slow = false;
    c->owed = false;
    c->derived = false;
    return full;
}

void batch_recycle(struct hub *h, struct batch *b)
{
    batch_reset(b);
    if (h->commit.spare == NULL)
        h->commit.spare = b;
    else
        batch_free(b);
}

static void resolve_tickets(struct hub *h, struct batch *b, enum proto_result r)
{
    for (uint32_t i = 0; i < b->n_tickets; i++)
        ticket_done(h, b->tickets[i], r);
    b->n_tickets = 0;
}

static void body_resolved(struct hub *h, struct message *m, enum proto_result r)
{
    uint32_t ticket = m->ticket;
    m->ticket = MESSAGE_NO_TICKET;
    if (ticket != MESSAGE_NO_TICKET)
        ticket_done(h, ticket, r);
}

/* The batch's own reference ends with the batch: the queue's was the last but it. */
static void evict(struct hub *h, struct hub_queue *hq, const struct batch_op *op)
{
    uint32_t before = op->msg->refs;
    (void)queue_evict(hq->q, op->entry, op->id);
    hub_recount(h, hq);
    if (op->msg->refs == before)
        return;
    size_t freed = message_bytes(op->msg);
    h->memory -= freed < h->memory ? freed : h->memory;
    h->counters.bodies_evicted++;
}

static void entry_committed(struct hub *h, const struct batch_op *op)
{
    struct hub_queue *hq = hub_queue_of_number(h, op->queue);
    uint32_t index = (uint32_t)(hq - h->queues);
    if (op->held && queue_unhold(hq->q, op->entry, op->id) == SL_OK)
        hub_heat(h, index);
    if (h->memory > h->cfg.memory_bytes / BODIES_SHARE)
        evict(h, hq, op);
}

/* Nobody will ask for it soon. */
static void death_committed(struct hub *h, const struct batch_op *op)
{
    struct hub_queue *hq = hub_queue_of_number(h, op->queue);
    if (!queue_is_dead(hq->q, op->entry, op->id))
        return;
    h->counters.bodies_evicted += queue_evict(hq->q, op->entry, op->id) > 0;
    hub_recount(h, hq);
}

static void batch_succeeded(struct hub *h, struct batch *b)
{
    if (b->last_id > h->commit.stored_id)
        h->commit.stored_id = b->last_id;
    h->counters.commits++;
    h->counters.records_written += b->live;
    sl_histogram_add(&h->histograms.commit_records, b->live);
    sl_histogram_add(&h->histograms.commit_us, b->took_us);
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_op *op = &b->ops[i];
        if (i + LOOK_AHEAD < b->n)
            SL_PREFETCH(op[LOOK_AHEAD].msg);
        if (op->kind == BATCH_BODY) {
            op->msg->body_batch = 0;
            body_resolved(h, op->msg, PROTO_ACCEPTED);
        } else if (op->kind == BATCH_ENTRY) {
            entry_committed(h, op);
        } else if (op->kind == BATCH_COPY) {
            copy_committed(h, op);
        } else if (op->kind == BATCH_UPDATE && op->state == QUEUE_DEAD) {
            death_committed(h, op);
        }
    }
    resolve_tickets(h, b, PROTO_ACCEPTED);
    h->room_made = h->room_made || h->n_waiting > 0; /* eviction may have made some */
}

/* Decision 3: who waits for this batch is refused; what workers hold lives on
 * in memory until it is settled; nothing new is leased. */
static void refuse_batch(struct hub *h, struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_op *op = &b->ops[i];
        if (op->kind == BATCH_BODY)
            body_resolved(h, op->msg, PROTO_REFUSED_STORE);
    }
    resolve_tickets(h, b, PROTO_REFUSED_STORE);
}

static void store_broke(struct hub *h, int err)
{
    h->commit.health = HUB_BROKEN;
    sl_log(SL_ERROR, "store_broken", "error=%s action=\"intake and dispatch stopped; restart after repair\"", sl_err_name(err));
}

static void completed(struct hub *h, struct batch *b, int err)
{
    struct commit *c = &h->commit;
    c->sync_us = c->sync_us == 0 ? b->took_us : (c->sync_us * 7 + b->took_us) / 8;
    if (err == SL_ENOSPC) {
        h->counters.commit_failures++;
        stuck_take(h, b);
        return;
    }
    if (err == SL_OK) {
        batch_succeeded(h, b);
        stuck_released(h);
    } else {
        h->counters.commit_failures++;
        store_broke(h, err);
        refuse_batch(h, b);
        refuse_batch(h, c->open); /* what stayed when `b` left early: no other turn may come for it */
        if (c->stuck != NULL)
            refuse_batch(h, c->stuck);
        park_refuse(h);
    }
    batch_recycle(h, b);
}

void hub_committed(struct hub *h, struct batch *b, int err)
{
    SL_ASSERT(b == h->commit.inflight);
    h->commit.inflight = NULL;
    completed(h, b, err);
}

/* ---- when to hand over ---- */

static bool small_and_quick(const struct hub *h, const struct batch *b)
{
    return h->cfg.store.apply_here != NULL && b->live <= HERE_MAX_OPS && b->bytes <= HERE_MAX_BYTES &&
           h->commit.sync_us <= HERE_MAX_SYNC_US;
}

void batch_submit(struct hub *h, struct batch *b)
{
    SL_ASSERT(h->commit.inflight == NULL);
    h->commit.inflight = b;
    h->cfg.store.submit(h->cfg.store.arg, b);
}

static void hand_over(struct hub *h, struct batch *b)
{
    if (small_and_quick(h, b)) {
        int err = h->cfg.store.apply_here(h->cfg.store.arg, b);
        if (err != SL_EAGAIN) {
            completed(h, b, err);
            return;
        }
    }
    batch_submit(h, b);
}

/* True when waiting is likely to save the write. */
static bool worth_holding(const struct hub *h)
{
    const struct commit *c = &h->commit;
    return h->cfg.commit_delay_us > 0 && !h->draining && !c->owed && !c->slow && !c->derived;
}

/* What earlier turns recorded and is still there, as a batch of its own. */
static struct batch *open_earlier(struct hub *h)
{
    struct commit *c = &h->commit;
    struct batch *due = batch_spare(h);
    due->opened_us = c->open->opened_us;
    due->last_id = c->earlier_id;
    batch_take_first(c->open, c->earlier, due);
    c->open->opened_us = h->now.mono_us;
    for (uint32_t i = 0; i < due->n; i++) {
        if (due->ops[i].kind == BATCH_BODY) {
            due->ops[i].msg->body_batch = due->seq;
            due->ops[i].msg->body_op = i;
        }
    }
    return due;
}

/* A turn under load takes longer than the delay. What this very turn brought
 * has not had its chance with a worker yet, and stays. */
static void hand_over_due(struct hub *h)
{
    struct commit *c = &h->commit;
    if (h->now.mono_us < c->open->opened_us + h->cfg.commit_delay_us)
        return;
    struct batch *due = c->earlier < c->open->n ? open_earlier(h) : open_next(h);
    if (due->live > 0)
        hand_over(h, due);
    else
        batch_recycle(h, due);
}

static void commit_open(struct hub *h)
{
    struct commit *c = &h->commit;
    if (c->inflight != NULL)
        return;
    if (c->health == HUB_BROKEN) {
        refuse_batch(h, c->open);
        return;
    }
    if (c->stuck != NULL || c->settles != NULL) {
        stuck_retry(h);
        return;
    }
    if (c->open->live == 0) {
        c->stored_id = h->next_id;
        resolve_tickets(h, c->open, PROTO_ACCEPTED);
        if (c->open->n > 0 || c->owed || c->derived) /* hub_batch_stored is asked for it by its number */
            batch_recycle(h, open_next(h));
        return;
    }
    if (worth_holding(h))
        hand_over_due(h);
    else
        hand_over(h, open_next(h));
}

void commit_turn(struct hub *h)
{
    commit_open(h);
    h->commit.earlier = h->commit.open->n;
    h->commit.earlier_id = h->next_id;
}

uint64_t commit_deadline_us(const struct hub *h)
{
    const struct commit *c = &h->commit;
    if (c->inflight != NULL)
        return UINT64_MAX;
    if (c->health == HUB_BROKEN)
        return c->open->n_tickets > 0 ? h->now.mono_us : UINT64_MAX; /* to be refused */
    if (c->stuck != NULL || c->settles != NULL)
        return stuck_deadline_us(h);
    return c->open->live == 0 && c->open->n_tickets == 0 ? UINT64_MAX : c->open->opened_us + h->cfg.commit_delay_us;
}
