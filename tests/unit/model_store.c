#include "model_store.h"

#include "core/hash.h"

#include <stdio.h>
#include <stdlib.h>

static struct model_record *find(const struct model_store *s, enum batch_kind kind, uint64_t id, uint64_t second)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct model_record *r = &s->v[i];
        if (r->kind == kind && r->id == id && r->second == second)
            return r;
    }
    return NULL;
}

static void drop_content(struct model_record *r)
{
    if (r->msg != NULL)
        message_unref(r->msg);
    sl_free(r->note);
    sl_buf_fini(&r->history);
}

static void drop(struct model_store *s, struct model_record *r)
{
    drop_content(r);
    *r = s->v[--s->n];
}

/* A record that is taken away before it was ever written is no fault. */
static void drop_if_there(struct model_store *s, enum batch_kind kind, uint64_t id, uint64_t second)
{
    struct model_record *r = find(s, kind, id, second);
    if (r != NULL)
        drop(s, r);
}

static struct batch_note *copy_note(const struct batch_note *n)
{
    if (n == NULL)
        return NULL;
    struct batch_note *c = sl_alloc(sizeof *c + n->n);
    memcpy(c, n, sizeof *c + n->n);
    return c;
}

static struct message *copy_message(const struct message *m)
{
    struct message *c = NULL;
    if (m != NULL)
        assert_int_equal(message_from_record(message_record(m), &c), SL_OK);
    return c;
}

static void put(struct model_store *s, const struct batch_op *op, enum batch_kind kind, uint64_t second)
{
    struct model_record *r = find(s, kind, op->id, second);
    if (r != NULL) {
        assert_int_not_equal(kind, BATCH_BODY); /* an id is given to one message only */
        assert_int_not_equal(kind, BATCH_RETAIN);
        drop_content(r);
    } else {
        if (s->n == s->cap) {
            s->cap = s->cap == 0 ? 64 : s->cap * 2;
            s->v = sl_realloc(s->v, s->cap * sizeof *s->v);
        }
        r = &s->v[s->n++];
    }
    *r = (struct model_record){ kind, op->id, second, op->packet_id, op->state, op->copy_flags, copy_message(op->msg), copy_note(op->note), .tag = 0 };
}

/* Its message is found under its id. */
static void put_entry(struct model_store *s, const struct batch_op *op)
{
    struct batch_op own = *op;
    own.msg = NULL;
    own.note = NULL;
    assert_null(find(s, BATCH_ENTRY, op->id, op->queue));
    put(s, &own, BATCH_ENTRY, op->queue);
    struct model_record *r = &s->v[s->n - 1];
    r->order_key = op->order_key;
    r->attempts = op->attempts;
    r->due_ms = op->due_ms;
}

static void update_entry(struct model_store *s, const struct batch_op *op)
{
    struct model_record *r = find(s, BATCH_ENTRY, op->id, op->queue);
    if (r == NULL)
        return; /* it was never written, and is finished with */
    r->state = op->state;
    r->attempts = op->attempts;
    r->due_ms = op->due_ms;
    r->cause = op->cause;
    if (op->note != NULL)
        assert_int_equal(sl_buf_append(&r->history, op->note->bytes, op->note->n), SL_OK);
}

/* Under the message's id, and outlives it. */
static void put_dedup(struct model_store *s, const struct batch_op *op)
{
    drop_if_there(s, BATCH_DEDUP, op->id, op->queue);
    struct batch_op own = { .kind = BATCH_DEDUP, .id = op->id };
    put(s, &own, BATCH_DEDUP, op->queue);
    struct model_record *r = &s->v[s->n - 1];
    r->seen_ms = op->seen_ms;
    memcpy(r->dedup_key, op->dedup_key, sizeof r->dedup_key);
}

static void put_schedule(struct model_store *s, const struct batch_op *op)
{
    struct batch_schedule b;
    assert_int_equal(batch_schedule_decode(sl_bytes_of(op->note->bytes, op->note->n), &b), SL_OK);
    struct batch_op own = { .kind = BATCH_SCHEDULE, .id = sl_hash(b.name), .note = op->note };
    put(s, &own, BATCH_SCHEDULE, 0);
}

static void drop_session(struct model_store *s, uint64_t number)
{
    for (uint32_t i = s->n; i-- > 0;) {
        struct model_record *r = &s->v[i];
        bool its = r->kind == BATCH_SESSION || r->kind == BATCH_QOS2_ADD || r->kind == BATCH_SUBSCRIPTION || r->kind == BATCH_WILL;
        if (its && r->id == number)
            drop(s, r);
    }
}

static void apply_op(struct model_store *s, const struct batch_op *op)
{
    switch ((enum batch_kind)op->kind) {
    case BATCH_NONE:
        break;
    case BATCH_BODY:
    case BATCH_SESSION:
    case BATCH_WILL:
    case BATCH_RETAIN:
        put(s, op, (enum batch_kind)op->kind, 0);
        break;
    case BATCH_QOS2_ADD:
        put(s, op, BATCH_QOS2_ADD, op->packet_id);
        break;
    case BATCH_SUBSCRIPTION:
        put(s, op, BATCH_SUBSCRIPTION, op->number);
        break;
    case BATCH_COPY:
        put(s, op, BATCH_COPY, op->session);
        break;
    case BATCH_BODY_DROP:
        drop_if_there(s, BATCH_BODY, op->id, 0);
        break;
    case BATCH_SESSION_DROP:
        drop_session(s, op->id);
        break;
    case BATCH_QOS2_DROP:
        drop_if_there(s, BATCH_QOS2_ADD, op->id, op->packet_id);
        break;
    case BATCH_SUBSCRIPTION_DROP:
        drop_if_there(s, BATCH_SUBSCRIPTION, op->id, op->number);
        break;
    case BATCH_WILL_DROP:
        drop_if_there(s, BATCH_WILL, op->id, 0);
        break;
    case BATCH_COPY_DROP:
        drop_if_there(s, BATCH_COPY, op->id, op->session);
        break;
    case BATCH_RETAIN_DROP:
        drop_if_there(s, BATCH_RETAIN, op->id, 0);
        break;
    case BATCH_ENTRY:
        put_entry(s, op);
        break;
    case BATCH_UPDATE:
        update_entry(s, op);
        break;
    case BATCH_SETTLE:
        drop_if_there(s, BATCH_ENTRY, op->id, op->queue);
        break;
    case BATCH_QUEUE:
        put(s, op, BATCH_QUEUE, op->queue);
        break;
    case BATCH_DEDUP:
        put_dedup(s, op);
        break;
    case BATCH_DEDUP_DROP:
        drop_if_there(s, BATCH_DEDUP, op->id, op->queue);
        break;
    case BATCH_SCHEDULE:
        put_schedule(s, op);
        break;
    case BATCH_SCHEDULE_DROP:
        drop_if_there(s, BATCH_SCHEDULE, sl_hash(sl_bytes_of(op->note->bytes, op->note->n)), 0);
        break;
    }
}

static bool needed(const struct model_store *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if ((s->v[i].kind == BATCH_COPY || s->v[i].kind == BATCH_ENTRY) && s->v[i].id == id)
            return true;
    }
    return false;
}

static bool touches(const struct batch *b, const struct model_record *r)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind != BATCH_NONE && (b->ops[i].id == r->id || b->ops[i].id == r->second))
            return true;
    }
    return false;
}

static const char *fault_of(const struct model_store *s, const struct model_record *r)
{
    bool of_session = r->kind == BATCH_QOS2_ADD || r->kind == BATCH_SUBSCRIPTION || r->kind == BATCH_WILL;
    if ((r->kind == BATCH_COPY || r->kind == BATCH_ENTRY) && find(s, BATCH_BODY, r->id, 0) == NULL)
        return "a copy or an entry has no body";
    if (r->kind == BATCH_COPY && find(s, BATCH_SESSION, r->second, 0) == NULL)
        return "a copy has no session";
    if (of_session && find(s, BATCH_SESSION, r->id, 0) == NULL)
        return "a record has no session";
    return r->kind == BATCH_BODY && !needed(s, r->id) ? "nobody needs a body" : NULL;
}

const char *model_store_apply(struct model_store *s, const struct batch *b)
{
    static char why[80];
    for (uint32_t i = 0; i < b->n; i++)
        apply_op(s, &b->ops[i]);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct model_record *r = &s->v[i];
        const char *fault = touches(b, r) ? fault_of(s, r) : NULL;
        if (fault == NULL)
            continue;
        snprintf(why, sizeof why, "%s: %016llx, kind %d", fault, (unsigned long long)r->id, (int)r->kind);
        return why;
    }
    return NULL;
}

struct message *model_store_body(const struct model_store *s, uint64_t id)
{
    const struct model_record *r = find(s, BATCH_BODY, id, 0);
    return r == NULL ? NULL : message_ref(r->msg);
}

uint32_t model_store_count(const struct model_store *s, enum batch_kind kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += s->v[i].kind == kind;
    return n;
}

/* ---- a new hub ---- */

/* In the order of struct store_loader: by kind, then by id, then by the second number. */
static int by_key(const void *a, const void *b)
{
    static const uint8_t order[] = { [BATCH_BODY] = 0, [BATCH_QUEUE] = 1, [BATCH_SCHEDULE] = 2, [BATCH_ENTRY] = 3, [BATCH_DEDUP] = 4, [BATCH_SESSION] = 5,
                                     [BATCH_QOS2_ADD] = 6, [BATCH_SUBSCRIPTION] = 7, [BATCH_WILL] = 8, [BATCH_COPY] = 9, [BATCH_RETAIN] = 10 };
    const struct model_record *x = a, *y = b;
    if (x->kind != y->kind)
        return order[x->kind] < order[y->kind] ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->second < y->second ? -1 : x->second > y->second;
}

static struct sl_bytes note_of(const struct model_record *r)
{
    return r->note == NULL ? SL_BYTES_NONE : sl_bytes_of(r->note->bytes, r->note->n);
}

static uint32_t entries_of(const struct model_store *s, uint64_t id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        n += s->v[i].kind == BATCH_ENTRY && s->v[i].id == id;
    return n;
}

/* Copies of one body come with the same message. */
static int load_copy(const struct model_store *s, struct hub *h, const struct model_record *r)
{
    return hub_restore_copy(h, &(struct hub_restored_copy){
        .session = r->second, .packet_id = r->packet_id, .state = r->state, .flags = (uint8_t)r->flags, .entries = entries_of(s, r->id),
        .ids = note_of(r), .msg = find(s, BATCH_BODY, r->id, 0)->msg });
}

/* As the store does, from the entry and the message's record. */
static int load_entry(const struct model_store *s, struct hub *h, const struct model_record *r)
{
    const struct message *m = find(s, BATCH_BODY, r->id, 0)->msg;
    uint8_t flags = message_flags(m);
    struct message_parts parts;
    message_view(message_record(m), &parts);
    return hub_restore_entry(h, (uint32_t)r->second, &(struct queue_restored){
        .id = r->id, .bytes = (uint32_t)message_bytes(m), .priority = message_priority(m), .state = (enum queue_state)r->state, .attempts = r->attempts,
        .due_ms = r->due_ms, .due_absolute = message_deliver_at(m) != 0 && (flags & MESSAGE_DELIVER_RELATIVE) == 0,
        .expires_at = message_expires_at(m), .expires_relative = (flags & MESSAGE_EXPIRES_RELATIVE) != 0,
        .order_key = r->order_key, .cause = (enum queue_cause)r->cause, .job_id = parts.job_id });
}

static int load(const struct model_store *s, struct hub *h, const struct model_record *r)
{
    if (r->kind == BATCH_ENTRY)
        return load_entry(s, h, r);
    if (r->kind == BATCH_SESSION)
        return hub_restore_session(h, r->id, note_of(r));
    if (r->kind == BATCH_QOS2_ADD)
        return hub_restore_qos2(h, r->id, (uint16_t)r->second);
    if (r->kind == BATCH_SUBSCRIPTION)
        return hub_restore_subscription(h, r->id, (uint32_t)r->second, note_of(r));
    if (r->kind == BATCH_WILL)
        return hub_restore_will(h, r->id, note_of(r));
    if (r->kind == BATCH_COPY)
        return load_copy(s, h, r);
    return r->kind == BATCH_RETAIN ? hub_restore_retained(h, r->msg) : SL_OK;
}

void model_store_load(struct model_store *s, struct hub *h)
{
    if (s->n > 0)
        qsort(s->v, s->n, sizeof s->v[0], by_key);
    for (uint32_t i = 0; i < s->n; i++)
        assert_int_equal(load(s, h, &s->v[i]), SL_OK);
    /* The new process has messages of its own. */
    for (uint32_t i = 0; i < s->n; i++) {
        struct message *shared = s->v[i].msg;
        s->v[i].msg = copy_message(shared);
        if (shared != NULL)
            message_unref(shared);
    }
}

void model_store_fini(struct model_store *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        drop_content(&s->v[i]);
    sl_free(s->v);
    *s = (struct model_store){ 0 };
}
