/* The batch: a growing array of records, and the two variable-length forms
 * that travel in its notes. Everything here is pure; the store's thread only
 * reads what is built here. */
#include "hub/batch.h"

#include "core/alloc.h"
#include "core/map.h"

/* A batch that grew past this under a burst gives its memory back. */
#define KEEP_OPS 8192u

#define SESSION_VERSION 1u
#define SESSION_FIXED 15u

struct batch *batch_new(void)
{
    return SL_NEW(struct batch);
}

static void op_release(struct batch_op *op)
{
    if (op->msg != NULL)
        message_unref(op->msg);
    sl_free(op->note);
    op->msg = NULL;
    op->note = NULL;
}

void batch_reset(struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_op *op = &b->ops[i];
        if (op->msg != NULL)
            message_unref(op->msg);
        if (op->note != NULL)
            sl_free(op->note);
    }
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

void batch_grow(struct batch *b)
{
    SL_ASSERT(b->cap <= UINT32_MAX / 2);
    b->cap = b->cap == 0 ? 64 : b->cap * 2;
    b->ops = sl_realloc(b->ops, (size_t)b->cap * sizeof *b->ops);
}

void batch_cancel(struct batch *b, uint32_t i)
{
    SL_ASSERT(i < b->n);
    struct batch_op *op = &b->ops[i];
    if (op->kind == BATCH_NONE)
        return;
    if (op->kind == BATCH_BODY && op->msg != NULL) {
        uint64_t bytes = op->msg->record_bytes;
        b->bytes -= bytes < b->bytes ? bytes : b->bytes;
    }
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
        if (op->kind == BATCH_BODY) {
            from->bytes -= op->msg->record_bytes;
            to->bytes += op->msg->record_bytes;
        }
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

static bool frees_space(const struct batch_op *op)
{
    return op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE || op->kind == BATCH_BODY_DROP;
}

uint32_t batch_take_settles(struct batch *from, struct batch *to)
{
    struct sl_idmap entering = { 0 };
    for (uint32_t i = 0; i < from->n; i++) {
        if (from->ops[i].kind == BATCH_BODY || from->ops[i].kind == BATCH_ENTRY)
            sl_idmap_put(&entering, from->ops[i].id, from);
    }
    uint32_t taken = 0;
    for (uint32_t i = 0; i < from->n; i++) {
        struct batch_op *op = &from->ops[i];
        if (!frees_space(op) || sl_idmap_get(&entering, op->id) != NULL)
            continue;
        *batch_add(to, (enum batch_kind)op->kind) = *op;
        *op = (struct batch_op){ .kind = BATCH_NONE };
        from->live--;
        taken++;
    }
    while (from->n > 0 && from->ops[from->n - 1].kind == BATCH_NONE)
        from->n--; /* else it would grow for as long as there is no space */
    sl_idmap_fini(&entering);
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
