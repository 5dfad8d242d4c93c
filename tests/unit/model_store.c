#include "model_store.h"

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
    *r = (struct model_record){ kind, op->id, second, op->packet_id, op->state, op->copy_flags, copy_message(op->msg), copy_note(op->note) };
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
    case BATCH_UPDATE:
    case BATCH_SETTLE:
        fail_msg("there are no queues");
    }
}

static bool needed(const struct model_store *s, uint64_t id)
{
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->v[i].kind == BATCH_COPY && s->v[i].id == id)
            return true;
    }
    return false;
}

const char *model_store_apply(struct model_store *s, const struct batch *b)
{
    static char why[64];
    for (uint32_t i = 0; i < b->n; i++)
        apply_op(s, &b->ops[i]);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct model_record *r = &s->v[i];
        bool of_session = r->kind == BATCH_QOS2_ADD || r->kind == BATCH_SUBSCRIPTION || r->kind == BATCH_WILL;
        const char *fault = NULL;
        if (r->kind == BATCH_COPY && find(s, BATCH_BODY, r->id, 0) == NULL)
            fault = "a copy has no body";
        else if (r->kind == BATCH_COPY && find(s, BATCH_SESSION, r->second, 0) == NULL)
            fault = "a copy has no session";
        else if (of_session && find(s, BATCH_SESSION, r->id, 0) == NULL)
            fault = "a record has no session";
        else if (r->kind == BATCH_BODY && !needed(s, r->id))
            fault = "nobody needs a body";
        if (fault == NULL)
            continue;
        snprintf(why, sizeof why, "%s: %016llx, kind %d", fault, (unsigned long long)r->id, (int)r->kind);
        return why;
    }
    return NULL;
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
    static const uint8_t order[] = { [BATCH_BODY] = 0, [BATCH_SESSION] = 1, [BATCH_QOS2_ADD] = 2, [BATCH_SUBSCRIPTION] = 3,
                                     [BATCH_WILL] = 4, [BATCH_COPY] = 5, [BATCH_RETAIN] = 6 };
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

/* Copies of one body come with the same message. */
static int load_copy(const struct model_store *s, struct hub *h, const struct model_record *r)
{
    return hub_restore_copy(h, &(struct hub_restored_copy){
        .session = r->second, .packet_id = r->packet_id, .state = r->state, .flags = (uint8_t)r->flags,
        .ids = note_of(r), .msg = find(s, BATCH_BODY, r->id, 0)->msg });
}

static int load(const struct model_store *s, struct hub *h, const struct model_record *r)
{
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
