/* What the fake disk knows of subscribers: subscriptions, wills, copies and
 * retained messages, each kept as the record that told it. */
#include "subscribers.h"

#define UNKNOWN UINT32_MAX /* op.entry of a copy whose session has not been looked for */

static bool is_same(const struct batch_op *a, const struct batch_op *b)
{
    if (a->kind != b->kind || a->id != b->id)
        return false;
    if (a->kind == BATCH_COPY)
        return a->session == b->session;
    return a->kind != BATCH_SUBSCRIPTION || a->number == b->number;
}

static struct batch_note *copy_note(const struct batch_note *n)
{
    struct batch_note *c = sl_alloc(sizeof *c + n->n);
    memcpy(c, n, sizeof *c + n->n);
    return c;
}

/* How many copies of it wait for this subscriber. */
static void count(struct world *w, const struct batch_op *op, int change)
{
    uint32_t uid = uid_of_id(w, op->id);
    if (op->kind == BATCH_COPY && op->entry < SIM_SUBSCRIBERS && uid != SIM_NO_UID)
        w->uids[uid].waits[op->entry] = (uint8_t)(w->uids[uid].waits[op->entry] + change);
}

static void release(struct batch_op *op)
{
    sl_free(op->note);
    if (op->msg != NULL)
        message_unref(op->msg);
}

static void drop(struct world *w, const struct batch_op *op, enum batch_kind kind)
{
    struct disk_records *r = &w->disk.of_subscribers;
    struct batch_op what = *op;
    what.kind = (uint8_t)kind;
    for (size_t i = 0; i < r->n; i++) {
        if (!is_same(&r->ops[i], &what))
            continue;
        count(w, &r->ops[i], -1);
        release(&r->ops[i]);
        r->ops[i] = r->ops[--r->n];
        return;
    }
}

static void put(struct world *w, const struct batch_op *op)
{
    struct disk_records *r = &w->disk.of_subscribers;
    drop(w, op, (enum batch_kind)op->kind);
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 64 : r->cap * 2;
        r->ops = sl_realloc(r->ops, r->cap * sizeof *r->ops);
    }
    struct batch_op *kept = &r->ops[r->n++];
    *kept = *op;
    kept->entry = UNKNOWN;
    kept->note = op->note == NULL ? NULL : copy_note(op->note);
    if (op->msg != NULL && message_from_record(message_record(op->msg), &kept->msg) != SL_OK)
        world_fail(w, "a record of our own is not well-formed");
    if (op->kind == BATCH_COPY && sl_idmap_get(&w->disk.bodies, op->id) == NULL)
        world_fail(w, "session %" PRIx64 " waits for %016" PRIx64 ", which is not on the disk", op->session, op->id);
}

static void drop_session(struct disk_records *r, uint64_t number)
{
    for (size_t i = r->n; i-- > 0;) {
        struct batch_op *op = &r->ops[i];
        if ((op->kind != BATCH_SUBSCRIPTION && op->kind != BATCH_WILL) || op->id != number)
            continue;
        release(op);
        *op = r->ops[--r->n];
    }
}

void disk_records_apply(struct world *w, const struct batch_op *op)
{
    struct disk_records *r = &w->disk.of_subscribers;
    if (op->kind == BATCH_SUBSCRIPTION || op->kind == BATCH_WILL || op->kind == BATCH_COPY || op->kind == BATCH_RETAIN)
        put(w, op);
    else if (op->kind == BATCH_SUBSCRIPTION_DROP)
        drop(w, op, BATCH_SUBSCRIPTION);
    else if (op->kind == BATCH_WILL_DROP)
        drop(w, op, BATCH_WILL);
    else if (op->kind == BATCH_COPY_DROP)
        drop(w, op, BATCH_COPY);
    else if (op->kind == BATCH_RETAIN_DROP)
        drop(w, op, BATCH_RETAIN);
    else if (op->kind == BATCH_SESSION_DROP)
        drop_session(r, op->id);
}

void disk_records_applied(struct world *w)
{
    struct disk_records *r = &w->disk.of_subscribers;
    for (size_t i = 0; i < r->n; i++) {
        struct batch_op *op = &r->ops[i];
        if (op->kind != BATCH_COPY)
            continue;
        if (sl_idmap_get(&w->disk.sessions, op->session) == NULL)
            world_fail(w, "a copy of %016" PRIx64 " waits for session %" PRIx64 ", which is not on the disk", op->id, op->session);
        if (op->entry != UNKNOWN)
            continue;
        op->entry = subscriber_of_session(w, op->session);
        count(w, op, 1);
    }
}

bool disk_has_copy(const struct world *w, uint64_t id)
{
    const struct disk_records *r = &w->disk.of_subscribers;
    for (size_t i = 0; i < r->n; i++) {
        if (r->ops[i].kind == BATCH_COPY && r->ops[i].id == id)
            return true;
    }
    return false;
}

/* ---- a new boot ---- */

/* The kinds are told in the order of their numbers. */
static int by_key(const void *a, const void *b)
{
    const struct batch_op *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    if (x->kind == BATCH_COPY)
        return x->session < y->session ? -1 : x->session > y->session;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The copies of one id come with the same message. */
static int restore_copy(struct world *w, const struct batch_op *op, struct message **msg)
{
    if (*msg == NULL || message_id(*msg) != op->id) {
        if (*msg != NULL)
            message_unref(*msg);
        *msg = NULL;
        const struct message *body = sl_idmap_get(&w->disk.bodies, op->id);
        if (body == NULL || message_from_record(message_record(body), msg) != SL_OK)
            world_fail(w, "session %" PRIx64 " waits for %016" PRIx64 ", which has no body on the disk", op->session, op->id);
    }
    struct hub_restored_copy c = {
        .session = op->session,
        .packet_id = op->packet_id,
        .state = op->state,
        .flags = (uint8_t)op->copy_flags,
        .ids = op->note == NULL ? SL_BYTES_NONE : sl_bytes_of(op->note->bytes, op->note->n),
        .msg = *msg,
        .entries = disk_entries_of(w, op->id),
    };
    return hub_restore_copy(w->hub, &c);
}

/* A goodbye that the disk never heard of is as if it had not been said: the will is
 * published after all, with its delay from now on (decision 42). */
static int restore_will(struct world *w, const struct batch_op *op)
{
    struct batch_will will;
    struct message *m;
    struct sl_bytes record = sl_bytes_of(op->note->bytes, op->note->n);
    if (batch_will_decode(record, &will) != SL_OK || message_from_record(will.message, &m) != SL_OK)
        world_fail(w, "the will of session %" PRIx64 " is not well-formed", op->id);
    uint32_t uid = uid_of(message_payload(m));
    message_unref(m);
    uid_sent(w, uid);
    w->uids[uid].cancelled = false;
    return hub_restore_will(w->hub, op->id, record);
}

static int restore_one(struct world *w, const struct batch_op *op, struct message **msg)
{
    struct sl_bytes note = op->note == NULL ? SL_BYTES_NONE : sl_bytes_of(op->note->bytes, op->note->n);
    if (op->kind == BATCH_COPY)
        return restore_copy(w, op, msg);
    if (op->kind == BATCH_RETAIN)
        return hub_restore_retained(w->hub, op->msg);
    return op->kind == BATCH_WILL ? restore_will(w, op) : hub_restore_subscription(w->hub, op->id, op->number, note);
}

static bool has_session(const struct world *w, const struct batch_op *op)
{
    uint64_t session = op->kind == BATCH_COPY ? op->session : op->id;
    return op->kind == BATCH_RETAIN || sl_idmap_get(&w->disk.sessions, session) != NULL;
}

void disk_records_restore(struct world *w)
{
    struct disk_records *r = &w->disk.of_subscribers;
    struct message *msg = NULL;
    if (r->n > 1)
        qsort(r->ops, r->n, sizeof *r->ops, by_key);
    for (size_t i = 0; i < r->n; i++) {
        if (!has_session(w, &r->ops[i]))
            world_fail(w, "record %u of %016" PRIx64 " belongs to a session that is not on the disk", r->ops[i].kind, r->ops[i].id);
        if (restore_one(w, &r->ops[i], &msg) != SL_OK)
            world_fail(w, "record %u of %016" PRIx64 " cannot be restored", r->ops[i].kind, r->ops[i].id);
    }
    if (msg != NULL)
        message_unref(msg);
}

void disk_records_free(struct disk_records *r)
{
    for (size_t i = 0; i < r->n; i++)
        release(&r->ops[i]);
    sl_free(r->ops);
}
