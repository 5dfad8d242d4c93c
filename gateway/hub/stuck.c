/* A store without space: the batch that did not fit is ours again, and intake
 * waits (decision 10). Workers go on. What they finish of that batch cancels
 * out; what they finish of older ones is written soon and answered, since settling
 * makes room and some settle one by one; the batch is tried again, until it fits. */
#include "hub_internal.h"

#define RETRY_MS  250u
#define SETTLE_MS 10u

static bool concerns(const struct batch_op *op, enum batch_kind kind, const struct batch_op *by)
{
    if (op->kind != kind || op->id != by->id)
        return false;
    if (kind == BATCH_COPY)
        return op->session == by->session;
    return kind == BATCH_BODY || op->queue == by->queue;
}

/* A copy may have been recorded more than once. */
static void cancel_ops(struct hub *h, struct batch *b, enum batch_kind kind, const struct batch_op *by)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (!concerns(&b->ops[i], kind, by))
            continue;
        if (kind == BATCH_BODY)
            b->ops[i].msg->body_batch = 0;
        batch_cancel(b, i);
        h->counters.records_cancelled++;
        if (kind != BATCH_COPY)
            return;
    }
}

static enum batch_kind kind_ended_by(const struct batch_op *op)
{
    if (op->kind == BATCH_SETTLE)
        return BATCH_ENTRY;
    return op->kind == BATCH_COPY_DROP ? BATCH_COPY : BATCH_BODY;
}

/* One record that was made while the batch was under way and is about a
 * message of that batch. */
static void fold(struct hub *h, struct batch *stuck, uint32_t i)
{
    struct batch *open = h->commit.open;
    struct batch_op *op = &open->ops[i];
    if (op->kind == BATCH_UPDATE || op->kind == BATCH_COPY) {
        *batch_add(stuck, (enum batch_kind)op->kind) = *op;
        op->note = NULL; /* moved */
    } else {
        cancel_ops(h, stuck, kind_ended_by(op), op);
    }
    batch_cancel(open, i);
}

/* A start drops copies of sessions that it does not know: a copy's session, which
 * may be new, is stored with it. */
static void bring_session(struct batch *stuck, struct sl_idmap *sessions, uint64_t session)
{
    const struct batch_op *known = sl_idmap_del(sessions, session);
    if (known == NULL)
        return;
    struct batch_op *op = batch_add(stuck, BATCH_SESSION);
    op->id = session;
    op->note = batch_note_copy(known->note);
}

/* A transaction has answered a message of that batch. Its record stays with what
 * else the transaction brought, and so does all that comes after it: that message
 * is stored first, as if it were already. */
static void leave_bound(struct hub *h, struct sl_idmap *ids)
{
    for (uint32_t i = 0; i < h->commit.open->n; i++) {
        const struct batch_op *op = &h->commit.open->ops[i];
        struct message *m = batch_op_bound(op) ? sl_idmap_del(ids, op->id) : NULL;
        if (m != NULL)
            m->body_batch = 0;
    }
}

/* What was recorded of this batch's messages since it was handed over must not
 * be written before it: it would be undone by it. */
static void fold_later_records(struct hub *h, struct batch *stuck)
{
    struct sl_idmap ids = { 0 }, sessions = { 0 };
    for (uint32_t i = 0; i < stuck->n; i++) {
        if (stuck->ops[i].kind == BATCH_BODY)
            sl_idmap_put(&ids, stuck->ops[i].id, stuck->ops[i].msg);
    }
    leave_bound(h, &ids);
    for (uint32_t i = 0; i < h->commit.open->n; i++) {
        struct batch_op *op = &h->commit.open->ops[i];
        if (op->kind == BATCH_SESSION)
            sl_idmap_put(&sessions, op->id, op);
        bool folds = op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE || op->kind == BATCH_BODY_DROP || op->kind == BATCH_COPY ||
                     op->kind == BATCH_COPY_DROP;
        if (!folds || sl_idmap_get(&ids, op->id) == NULL)
            continue;
        if (op->kind == BATCH_COPY)
            bring_session(stuck, &sessions, op->session);
        fold(h, stuck, i);
    }
    sl_idmap_fini(&ids);
    sl_idmap_fini(&sessions);
}

void stuck_take(struct hub *h, struct batch *b)
{
    struct commit *c = &h->commit;
    if (c->health == HUB_OK)
        sl_log(SL_ERROR, "store_no_space", "%s", "action=\"intake stopped until there is room\"");
    c->health = HUB_NO_SPACE;
    c->retry_ms = h->now.mono_ms + RETRY_MS;
    if (c->stuck == NULL) {
        fold_later_records(h, b);
        c->stuck = b;
        return;
    }
    c->settles = b; /* settling alone found no room either: it goes again, before what was settled since */
}

void stuck_released(struct hub *h)
{
    struct commit *c = &h->commit;
    if (c->health != HUB_NO_SPACE)
        return;
    if (c->stuck != NULL || c->settles != NULL) {
        c->retry_ms = h->now.mono_ms; /* settling made room: now the batch */
        return;
    }
    c->health = HUB_OK;
    h->room_made = true;
    sl_log(SL_INFO, "store_space_back", "%s", "action=\"intake goes on\"");
}

void stuck_hurry(struct hub *h)
{
    struct commit *c = &h->commit;
    if (c->settle_ms > h->now.mono_ms + SETTLE_MS)
        c->settle_ms = h->now.mono_ms + SETTLE_MS;
}

static bool holds_answers(const struct batch *b)
{
    for (uint32_t i = 0; b != NULL && i < b->n; i++) {
        if (b->ops[i].kind == BATCH_UPDATE || b->ops[i].kind == BATCH_SETTLE)
            return true;
    }
    return false;
}

/* Who answers one delivery after the other waits for each receipt, and without it
 * would settle no more. Only where nothing that was answered stays behind. */
static void move_receipts(struct hub *h, struct batch *to)
{
    struct batch *open = h->commit.open;
    uint32_t kept = 0;
    if (open->n_tickets == 0 || holds_answers(open) || holds_answers(h->commit.stuck))
        return;
    for (uint32_t i = 0; i < open->n_tickets; i++) {
        const struct ticket *t = sl_slab_at(&h->tickets, open->tickets[i]);
        if (t->settles)
            batch_add_ticket(to, open->tickets[i]);
        else
            open->tickets[kept++] = open->tickets[i];
    }
    open->n_tickets = kept;
}

/* Nothing that it promises is left to be written. */
static void answer_now(struct hub *h, struct batch *b)
{
    for (uint32_t i = 0; i < b->n_tickets; i++)
        ticket_done(h, b->tickets[i], PROTO_ACCEPTED);
    b->n_tickets = 0;
    batch_recycle(h, b);
}

/* All that makes room, in the order in which it came. */
static bool submit_settles(struct hub *h)
{
    struct commit *c = &h->commit;
    struct batch *b = c->settles != NULL ? c->settles : batch_spare(h);
    c->settles = NULL;
    if (c->stuck != NULL)
        (void)batch_take_settles(c->stuck, NULL, b);
    (void)batch_take_settles(c->open, c->stuck, b);
    move_receipts(h, b);
    if (b->live == 0) {
        answer_now(h, b);
        return false;
    }
    batch_submit(h, b);
    return true;
}

void stuck_retry(struct hub *h)
{
    struct commit *c = &h->commit;
    bool refused = c->settles != NULL; /* what settles found no room either: it is older than the stuck batch */
    if (h->now.mono_ms >= (refused ? c->retry_ms : c->settle_ms)) {
        bool some = submit_settles(h);
        c->settle_ms = h->now.mono_ms + (some ? SETTLE_MS : RETRY_MS);
        if (some)
            return;
    }
    if (h->now.mono_ms < c->retry_ms || c->stuck == NULL)
        return;
    c->retry_ms = h->now.mono_ms + RETRY_MS;
    struct batch *b = c->stuck;
    c->stuck = NULL;
    batch_submit(h, b);
}

uint64_t stuck_deadline_us(const struct hub *h)
{
    const struct commit *c = &h->commit;
    bool settling = c->settles == NULL && (c->open->live > 0 || c->open->n_tickets > 0) && c->settle_ms < c->retry_ms;
    return (settling ? c->settle_ms : c->retry_ms) * 1000;
}
