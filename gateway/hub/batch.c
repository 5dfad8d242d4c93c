/* The batch: a growing array of records, and the two variable-length forms
 * that travel in its notes. Everything here is pure; the store's thread only
 * reads what is built here. */
#include "hub/batch.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/map.h"

/* A batch that grew past this under a burst gives its memory back. */
#define KEEP_OPS 8192u

#define SESSION_VERSION 1u
#define SESSION_FIXED 15u
#define SUBSCRIPTION_VERSION 1u
#define SUBSCRIPTION_FIXED 10u
#define SUBSCRIPTION_NO_LOCAL 4u
#define SUBSCRIPTION_AS_PUBLISHED 8u
#define QOS_MASK 3u
#define QOS_MAX 2u
#define WILL_VERSION 1u
#define WILL_FIXED 16u
#define WILL_EXPIRES 1u
#define QUEUE_VERSION 1u
#define QUEUE_FIXED 4u
#define QUEUE_PAUSED 1u
#define SCHEDULE_VERSION 1u
#define SCHEDULE_FIXED 12u

struct batch *batch_new(void)
{
    return SL_NEW(struct batch);
}

/* What it holds is let go; the place of the pointers may be that of other fields. */
static inline void op_drop(struct batch_op *op)
{
    if (op->kind == BATCH_DEDUP)
        return;
    if (op->msg != NULL)
        message_unref(op->msg);
    if (op->kind != BATCH_ENTRY && op->note != NULL)
        sl_free(op->note);
}

static void op_release(struct batch_op *op)
{
    op_drop(op);
    op->msg = NULL;
    op->note = NULL;
}

void batch_reset(struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        op_drop(&b->ops[i]);
    struct batch empty = { .ops = b->ops, .cap = b->cap, .tickets = b->tickets, .cap_tickets = b->cap_tickets };
    if (b->cap > KEEP_OPS) {
        sl_free(b->ops);
        empty.ops = NULL;
        empty.cap = 0;
    }
    if (b->cap_tickets > KEEP_OPS) {
        sl_free(b->tickets);
        empty.tickets = NULL;
        empty.cap_tickets = 0;
    }
    *b = empty;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    batch_reset(b);
    sl_free(b->ops);
    sl_free(b->tickets);
    sl_free(b);
}

struct batch_fetch *batch_fetch_new(uint32_t queue, uint32_t max)
{
    struct batch_fetch *f = SL_NEW(struct batch_fetch);
    f->queue = queue;
    f->ids = sl_alloc(max * sizeof *f->ids);
    f->entries = sl_alloc(max * sizeof *f->entries);
    f->msgs = sl_calloc(max, sizeof *f->msgs);
    return f;
}

void batch_fetch_free(struct batch_fetch *f)
{
    sl_free(f->ids);
    sl_free(f->entries);
    sl_free(f->msgs);
    sl_free(f);
}

void batch_grow(struct batch *b)
{
    SL_ASSERT(b->cap <= UINT32_MAX / 2);
    b->cap = b->cap == 0 ? 64 : b->cap * 2;
    b->ops = sl_realloc(b->ops, (size_t)b->cap * sizeof *b->ops);
}

/* What it adds to batch.bytes. */
static uint64_t bytes_of(const struct batch_op *op)
{
    bool counts = op->kind == BATCH_BODY || op->kind == BATCH_RETAIN;
    return counts && op->msg != NULL ? op->msg->record_bytes : 0;
}

void batch_cancel(struct batch *b, uint32_t i)
{
    SL_ASSERT(i < b->n);
    struct batch_op *op = &b->ops[i];
    if (op->kind == BATCH_NONE)
        return;
    uint64_t bytes = bytes_of(op);
    b->bytes -= bytes < b->bytes ? bytes : b->bytes;
    op_release(op);
    op->kind = BATCH_NONE;
    b->live--;
}

void batch_take_first(struct batch *from, uint32_t n, struct batch *to)
{
    SL_ASSERT(n <= from->n);
    for (uint32_t i = 0; i < n; i++) {
        const struct batch_op *op = &from->ops[i];
        if (op->kind == BATCH_NONE)
            continue;
        *batch_add(to, (enum batch_kind)op->kind) = *op;
        from->live--;
        uint64_t bytes = bytes_of(op);
        from->bytes -= bytes < from->bytes ? bytes : from->bytes;
        to->bytes += bytes;
    }
    from->n -= n;
    from->base += n;
    memmove(from->ops, from->ops + n, from->n * sizeof *from->ops);
}

void batch_add_ticket(struct batch *b, uint32_t ticket)
{
    if (b->n_tickets == b->cap_tickets) {
        b->cap_tickets = b->cap_tickets == 0 ? 64 : b->cap_tickets * 2;
        b->tickets = sl_realloc(b->tickets, (size_t)b->cap_tickets * sizeof *b->tickets);
    }
    b->tickets[b->n_tickets++] = ticket;
}

/* ---- what may leave a batch that was refused ---- */

/* What stays where it is, and what must not overtake it. */
struct staying {
    struct sl_idmap messages; /* ids of those that enter, or are bound to such */
    struct sl_idmap puts;     /* keys of subscriptions, wills, retained messages and dedup keys */
    struct sl_idmap sessions; /* number → the latest op with its record */
    struct sl_idmap of_sessions; /* number → an op that concerns it */
    bool takes_in;
};

/* A collision only makes something stay that might have left. */
static uint64_t key_of(const struct batch_op *op)
{
    uint64_t session = sl_hash_u64(op->id);
    if (op->kind == BATCH_SUBSCRIPTION || op->kind == BATCH_SUBSCRIPTION_DROP)
        return session ^ sl_hash_u64(BATCH_SUBSCRIPTION + ((uint64_t)op->number << 8));
    if (op->kind == BATCH_WILL || op->kind == BATCH_WILL_DROP)
        return session ^ sl_hash_u64(BATCH_WILL);
    if (op->kind == BATCH_DEDUP || op->kind == BATCH_DEDUP_DROP)
        return session ^ sl_hash_u64(BATCH_DEDUP + ((uint64_t)op->queue << 8));
    return sl_hash_u64(op->id ^ sl_hash_u64(BATCH_RETAIN));
}

static bool concerns_session(const struct batch_op *op)
{
    return (op->kind >= BATCH_SESSION && op->kind <= BATCH_COPY_DROP);
}

/* All of its message stays. */
static bool holds_message(const struct batch_op *op)
{
    return op->kind == BATCH_BODY || op->kind == BATCH_ENTRY || batch_op_bound(op);
}

static void stays(struct staying *s, struct batch_op *op)
{
    if (holds_message(op))
        sl_idmap_put(&s->messages, op->id, op);
    else if (op->kind == BATCH_SESSION)
        sl_idmap_put(&s->sessions, op->id, op);
    else if (op->kind == BATCH_SUBSCRIPTION || op->kind == BATCH_WILL || op->kind == BATCH_RETAIN || op->kind == BATCH_DEDUP)
        sl_idmap_put(&s->puts, key_of(op), op);
    if (concerns_session(op))
        sl_idmap_put(&s->of_sessions, op->kind == BATCH_COPY || op->kind == BATCH_COPY_DROP ? op->session : op->id, op);
}

static void stays_all(struct staying *s, const struct batch *b)
{
    for (uint32_t i = 0; b != NULL && i < b->n; i++)
        stays(s, &b->ops[i]);
}

static void staying_fini(struct staying *s)
{
    sl_idmap_fini(&s->messages);
    sl_idmap_fini(&s->puts);
    sl_idmap_fini(&s->sessions);
    sl_idmap_fini(&s->of_sessions);
}

/* Or has what a transaction did: the drop of a retained message may be a part of that. */
static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (holds_message(&b->ops[i]) || b->ops[i].kind == BATCH_RETAIN)
            return true;
    }
    return false;
}

static bool may_leave(const struct staying *s, const struct batch_op *op)
{
    switch ((enum batch_kind)op->kind) {
    case BATCH_UPDATE:
    case BATCH_SETTLE:
    case BATCH_BODY_DROP:
    case BATCH_COPY:
    case BATCH_COPY_DROP:
        return sl_idmap_get(&s->messages, op->id) == NULL;
    case BATCH_SUBSCRIPTION_DROP:
    case BATCH_WILL_DROP:
    case BATCH_RETAIN_DROP:
        return !s->takes_in && sl_idmap_get(&s->puts, key_of(op)) == NULL;
    case BATCH_DEDUP_DROP:
        return !op->bound && sl_idmap_get(&s->puts, key_of(op)) == NULL;
    case BATCH_SESSION_DROP:
        return sl_idmap_get(&s->of_sessions, op->id) == NULL;
    case BATCH_NONE:
    case BATCH_BODY:
    case BATCH_ENTRY:
    case BATCH_SESSION:
    case BATCH_QOS2_ADD:
    case BATCH_QOS2_DROP:
    case BATCH_SUBSCRIPTION:
    case BATCH_WILL:
    case BATCH_RETAIN:
    case BATCH_QUEUE:
    case BATCH_DEDUP:
    case BATCH_SCHEDULE:
    case BATCH_SCHEDULE_DROP:
        break;
    }
    return false;
}

struct batch_note *batch_note_copy(const struct batch_note *n)
{
    struct batch_note *copy = sl_alloc(sizeof *copy + n->n);
    memcpy(copy, n, sizeof *copy + n->n);
    return copy;
}

/* A start drops copies of sessions that it does not know, and one that has ended
 * must not be there without its copies: its record says when. Who waits for the
 * session's record waits for the batch that it stays in. */
static void bring_session(struct staying *s, uint64_t session, struct batch *to)
{
    const struct batch_op *known = sl_idmap_del(&s->sessions, session);
    if (known == NULL)
        return;
    struct batch_op *op = batch_add(to, BATCH_SESSION);
    op->id = session;
    op->note = batch_note_copy(known->note);
}

uint32_t batch_take_settles(struct batch *from, const struct batch *before, struct batch *to)
{
    struct staying s = { .takes_in = takes_in(from) };
    stays_all(&s, before);
    for (uint32_t i = 0; i < from->n; i++) {
        if (holds_message(&from->ops[i]))
            stays(&s, &from->ops[i]); /* also what comes before them */
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        struct batch_op *op = &from->ops[i];
        if (!may_leave(&s, op)) {
            stays(&s, op);
            continue;
        }
        if (op->kind == BATCH_COPY || op->kind == BATCH_COPY_DROP)
            bring_session(&s, op->session, to);
        *batch_add(to, (enum batch_kind)op->kind) = *op;
        *op = (struct batch_op){ .kind = BATCH_NONE };
        from->live--;
        taken++;
    }
    while (from->n > 0 && from->ops[from->n - 1].kind == BATCH_NONE)
        from->n--; /* else it would grow for as long as there is no space */
    staying_fini(&s);
    return taken;
}

/* ---- notes ---- */

static struct batch_note *note_new(size_t n)
{
    struct batch_note *note = sl_alloc(sizeof *note + n);
    note->n = (uint32_t)n;
    return note;
}

static struct sl_bytes first(struct sl_bytes v, size_t max)
{
    return sl_bytes_of(v.p, v.n < max ? v.n : max);
}

/* Of stderr the end is what tells. */
static struct sl_bytes last(struct sl_bytes v, size_t max)
{
    return v.n <= max ? v : sl_bytes_of(v.p + (v.n - max), max);
}

uint8_t *batch_failure_write(uint8_t *p, const struct batch_failure *f)
{
    struct sl_bytes detail = first(f->detail, BATCH_FAILURE_DETAIL_MAX);
    struct sl_bytes tail = last(f->tail, BATCH_FAILURE_TAIL_MAX);
    p = sl_wr_u32le(p, (uint32_t)(BATCH_FAILURE_FIXED - 4 + detail.n + tail.n));
    p = sl_wr_u64le(p, f->wall_ms);
    p = sl_wr_u32le(p, f->attempt);
    p = sl_wr_u8(p, (uint8_t)f->cause);
    p = sl_wr_u8(p, 0);
    p = sl_wr_u16le(p, (uint16_t)detail.n);
    p = sl_wr_u16le(p, 0);
    p = sl_wr_u16le(p, (uint16_t)tail.n);
    return sl_wr_bytes(sl_wr_bytes(p, detail), tail);
}

struct batch_note *batch_failure_encode(const struct batch_failure *f)
{
    size_t detail = first(f->detail, BATCH_FAILURE_DETAIL_MAX).n;
    size_t tail = last(f->tail, BATCH_FAILURE_TAIL_MAX).n;
    struct batch_note *note = note_new(BATCH_FAILURE_FIXED + detail + tail);
    uint8_t *end = batch_failure_write(note->bytes, f);
    SL_ASSERT(end == note->bytes + note->n);
    return note;
}

int batch_failure_next(struct sl_bytes history, size_t *pos, struct batch_failure *out)
{
    if (*pos >= history.n)
        return SL_ENOENT;
    struct sl_reader r = sl_reader_of(sl_bytes_of(history.p + *pos, history.n - *pos));
    uint32_t rest = sl_rd_u32le(&r);
    r = sl_reader_of(sl_rd_bytes(&r, rest));
    struct batch_failure f = { .wall_ms = sl_rd_u64le(&r), .attempt = sl_rd_u32le(&r) };
    f.cause = (enum queue_cause)sl_rd_u8(&r);
    (void)sl_rd_u8(&r);
    uint16_t detail = sl_rd_u16le(&r);
    (void)sl_rd_u16le(&r);
    uint16_t tail = sl_rd_u16le(&r);
    f.detail = sl_rd_bytes(&r, detail);
    f.tail = sl_rd_bytes(&r, tail);
    if (r.bad || sl_reader_left(&r) != 0)
        return SL_EFORMAT;
    *pos += 4 + (size_t)rest;
    *out = f;
    return SL_OK;
}

struct batch_note *batch_session_encode(const struct batch_session *s)
{
    SL_ASSERT(s->client_id.n <= UINT16_MAX);
    struct batch_note *note = note_new(SESSION_FIXED + s->client_id.n);
    uint8_t *p = sl_wr_u8(note->bytes, SESSION_VERSION);
    p = sl_wr_u32le(p, s->expiry_s);
    p = sl_wr_u64le(p, s->ends_wall_ms);
    p = sl_wr_u16le(p, (uint16_t)s->client_id.n);
    sl_wr_bytes(p, s->client_id);
    return note;
}

int batch_session_decode(struct sl_bytes record, struct batch_session *out)
{
    struct sl_reader r = sl_reader_of(record);
    uint8_t version = sl_rd_u8(&r);
    struct batch_session s = { .expiry_s = sl_rd_u32le(&r), .ends_wall_ms = sl_rd_u64le(&r) };
    s.client_id = sl_rd_bytes(&r, sl_rd_u16le(&r));
    if (r.bad || sl_reader_left(&r) != 0 || version != SESSION_VERSION)
        return SL_EFORMAT;
    *out = s;
    return SL_OK;
}

struct batch_note *batch_subscription_encode(const struct batch_subscription *s)
{
    SL_ASSERT(s->qos <= QOS_MAX && s->group.n <= UINT16_MAX && s->filter.n <= UINT16_MAX);
    struct batch_note *note = note_new(SUBSCRIPTION_FIXED + s->group.n + s->filter.n);
    uint8_t *p = sl_wr_u8(note->bytes, SUBSCRIPTION_VERSION);
    p = sl_wr_u8(p, (uint8_t)(s->qos | (s->no_local ? SUBSCRIPTION_NO_LOCAL : 0) | (s->retain_as_published ? SUBSCRIPTION_AS_PUBLISHED : 0)));
    p = sl_wr_u16le(p, (uint16_t)s->group.n);
    p = sl_wr_u32le(p, s->subscription_id);
    p = sl_wr_u16le(p, (uint16_t)s->filter.n);
    sl_wr_bytes(sl_wr_bytes(p, s->group), s->filter);
    return note;
}

int batch_subscription_decode(struct sl_bytes record, struct batch_subscription *out)
{
    struct sl_reader r = sl_reader_of(record);
    uint8_t version = sl_rd_u8(&r);
    uint8_t options = sl_rd_u8(&r);
    uint16_t group = sl_rd_u16le(&r);
    struct batch_subscription s = {
        .qos = options & QOS_MASK,
        .no_local = (options & SUBSCRIPTION_NO_LOCAL) != 0,
        .retain_as_published = (options & SUBSCRIPTION_AS_PUBLISHED) != 0,
        .subscription_id = sl_rd_u32le(&r),
    };
    uint16_t filter = sl_rd_u16le(&r);
    s.group = sl_rd_bytes(&r, group);
    s.filter = sl_rd_bytes(&r, filter);
    if (r.bad || sl_reader_left(&r) != 0 || version != SUBSCRIPTION_VERSION || s.qos > QOS_MAX || filter == 0)
        return SL_EFORMAT;
    *out = s;
    return SL_OK;
}

struct batch_note *batch_will_encode(const struct batch_will *w)
{
    struct batch_note *note = note_new(WILL_FIXED + w->message.n);
    uint8_t *p = sl_wr_u8(note->bytes, WILL_VERSION);
    p = sl_wr_u8(p, w->has_expiry ? WILL_EXPIRES : 0);
    p = sl_wr_u16le(p, 0);
    p = sl_wr_u32le(p, w->delay_s);
    p = sl_wr_u64le(p, w->expiry_ms);
    sl_wr_bytes(p, w->message);
    return note;
}

int batch_will_decode(struct sl_bytes record, struct batch_will *out)
{
    struct sl_reader r = sl_reader_of(record);
    uint8_t version = sl_rd_u8(&r);
    struct batch_will w = { .has_expiry = (sl_rd_u8(&r) & WILL_EXPIRES) != 0 };
    (void)sl_rd_u16le(&r);
    w.delay_s = sl_rd_u32le(&r);
    w.expiry_ms = sl_rd_u64le(&r);
    w.message = sl_rd_bytes(&r, sl_reader_left(&r));
    if (r.bad || version != WILL_VERSION)
        return SL_EFORMAT;
    *out = w;
    return SL_OK;
}

struct batch_note *batch_queue_encode(const struct batch_queue *q)
{
    SL_ASSERT(q->order.n <= UINT16_MAX);
    struct batch_note *note = note_new(QUEUE_FIXED + q->order.n);
    uint8_t *p = sl_wr_u8(note->bytes, QUEUE_VERSION);
    p = sl_wr_u8(p, q->paused ? QUEUE_PAUSED : 0);
    p = sl_wr_u16le(p, (uint16_t)q->order.n);
    (void)sl_wr_bytes(p, q->order);
    return note;
}

int batch_queue_decode(struct sl_bytes record, struct batch_queue *out)
{
    struct sl_reader r = sl_reader_of(record);
    uint8_t version = sl_rd_u8(&r);
    out->paused = (sl_rd_u8(&r) & QUEUE_PAUSED) != 0;
    size_t n = sl_rd_u16le(&r);
    out->order = sl_rd_bytes(&r, n);
    return !r.bad && version == QUEUE_VERSION ? SL_OK : SL_EFORMAT;
}

struct batch_note *batch_schedule_encode(const struct batch_schedule *s)
{
    SL_ASSERT(s->name.n > 0 && s->name.n <= UINT8_MAX);
    struct batch_note *note = note_new(SCHEDULE_FIXED + s->name.n);
    uint8_t *p = sl_wr_u8(note->bytes, SCHEDULE_VERSION);
    p = sl_wr_u8(p, s->mark);
    p = sl_wr_u16le(p, (uint16_t)s->name.n);
    p = sl_wr_u64le(p, s->done_ms);
    (void)sl_wr_bytes(p, s->name);
    return note;
}

int batch_schedule_decode(struct sl_bytes record, struct batch_schedule *out)
{
    struct sl_reader r = sl_reader_of(record);
    uint8_t version = sl_rd_u8(&r);
    out->mark = sl_rd_u8(&r);
    size_t n = sl_rd_u16le(&r);
    out->done_ms = sl_rd_u64le(&r);
    out->name = sl_rd_bytes(&r, n);
    return !r.bad && version == SCHEDULE_VERSION && n > 0 && n <= UINT8_MAX ? SL_OK : SL_EFORMAT;
}

struct batch_note *batch_name_note(struct sl_bytes name)
{
    struct batch_note *note = note_new((uint32_t)name.n);
    (void)sl_wr_bytes(note->bytes, name);
    return note;
}

struct batch_note *batch_ids_encode(const uint32_t *ids, uint32_t n)
{
    SL_ASSERT(n <= UINT16_MAX);
    if (n == 0)
        return NULL;
    struct batch_note *note = note_new((size_t)n * sizeof *ids);
    uint8_t *p = note->bytes;
    for (uint32_t i = 0; i < n; i++)
        p = sl_wr_u32le(p, ids[i]);
    return note;
}
