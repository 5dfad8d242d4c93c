/* Entry values: encode, decode, update. */
#include "store/entry.h"

#define ENTRY_VERSION 1u
#define FLAG_EXPIRES_RELATIVE 1u
#define FLAG_DUE_ABSOLUTE     2u
#define FLAG_INSIDE           4u
#define FLAG_ORDER            8u
#define FLAG_JOB             16u
#define AT_FLAGS 2u
#define AT_RECORD_BYTES 8u
#define PRIORITY_MAX 9u
#define X(name, text) +1
enum { CAUSES = 0 QUEUE_CAUSES(X) };
#undef X
/* Causes are stored by their numbers: new ones come behind. */
_Static_assert(QUEUE_CAUSE_NONE == 0 && QUEUE_CAUSE_RETRY == 1 && QUEUE_CAUSE_REJECTED == 2 && QUEUE_CAUSE_TIMEOUT == 3 && QUEUE_CAUSE_EXIT == 4 &&
                   QUEUE_CAUSE_SIGNAL == 5 && QUEUE_CAUSE_PROTOCOL == 6 && QUEUE_CAUSE_LOST == 7 && QUEUE_CAUSE_EXPIRED == 8 && QUEUE_CAUSE_WORKER_KILLED == 9,
               "FORMAT.md has these numbers");

/* The states on disk have numbers of their own, so that the queue's enum may change. */
enum disk_state { DISK_READY, DISK_DELAYED, DISK_DEAD, DISK_NSTATES };

static const enum queue_state k_states[DISK_NSTATES] = {
    [DISK_READY] = QUEUE_READY,
    [DISK_DELAYED] = QUEUE_DELAYED,
    [DISK_DEAD] = QUEUE_DEAD,
};

static uint8_t disk_state_of(uint8_t queue_state)
{
    if (queue_state == QUEUE_DELAYED)
        return DISK_DELAYED;
    return queue_state == QUEUE_DEAD ? DISK_DEAD : DISK_READY;
}

int store_entry_decode(struct sl_bytes value, struct store_entry *out)
{
    struct sl_reader r = sl_reader_of(value);
    uint8_t version = sl_rd_u8(&r);
    uint8_t state = sl_rd_u8(&r);
    uint8_t flags = sl_rd_u8(&r);
    struct store_entry e = {
        .priority = sl_rd_u8(&r),
        .expires_relative = (flags & FLAG_EXPIRES_RELATIVE) != 0,
        .due_absolute = (flags & FLAG_DUE_ABSOLUTE) != 0,
        .has_job = (flags & FLAG_JOB) != 0,
    };
    e.attempts = sl_rd_u32le(&r);
    e.record_bytes = sl_rd_u32le(&r);
    e.cause = sl_rd_u8(&r);
    (void)sl_rd_u8(&r);
    (void)sl_rd_u16le(&r);
    e.due_ms = sl_rd_u64le(&r);
    e.expires_at = sl_rd_u64le(&r);
    if (r.bad || version != ENTRY_VERSION || state >= DISK_NSTATES || e.priority > PRIORITY_MAX)
        return SL_EFORMAT;
    e.state = k_states[state];
    if ((flags & FLAG_ORDER) != 0)
        e.order_key = sl_rd_u64le(&r);
    if ((flags & FLAG_INSIDE) != 0)
        e.record = sl_rd_bytes(&r, e.record_bytes);
    if (r.bad || e.record.n > STORE_ENTRY_INSIDE_MAX)
        return SL_EFORMAT;
    e.history = sl_rd_bytes(&r, sl_reader_left(&r));
    *out = e;
    return SL_OK;
}

/* Where the record or the history begins, of a value that has its fixed part. */
static size_t head_bytes(struct sl_bytes value)
{
    return STORE_ENTRY_FIXED + ((value.p[AT_FLAGS] & FLAG_ORDER) != 0 ? STORE_ENTRY_ORDER : 0);
}

struct sl_bytes store_entry_inside(struct sl_bytes value)
{
    if (value.n < STORE_ENTRY_FIXED || (value.p[AT_FLAGS] & FLAG_INSIDE) == 0)
        return SL_BYTES_NONE;
    struct sl_reader r = sl_reader_of(sl_bytes_of(value.p + AT_RECORD_BYTES, 4));
    uint32_t n = sl_rd_u32le(&r);
    size_t head = head_bytes(value);
    if (head > value.n || n > value.n - head || n > STORE_ENTRY_INSIDE_MAX)
        return SL_BYTES_NONE;
    return sl_bytes_of(value.p + head, n);
}

int store_entry_tell(struct sl_bytes value, struct sl_buf *out)
{
    struct sl_bytes record = store_entry_inside(value);
    if (record.n == 0)
        return sl_buf_append_bytes(out, value);
    uint8_t head[STORE_ENTRY_FIXED + STORE_ENTRY_ORDER];
    size_t n = head_bytes(value);
    memcpy(head, value.p, n);
    head[AT_FLAGS] &= (uint8_t)~FLAG_INSIDE;
    int err = sl_buf_append(out, head, n);
    size_t skipped = n + record.n;
    return err != SL_OK ? err : sl_buf_append(out, value.p + skipped, value.n - skipped);
}

static uint8_t flags_of(const struct store_entry *e)
{
    return (uint8_t)((e->expires_relative ? FLAG_EXPIRES_RELATIVE : 0) | (e->due_absolute ? FLAG_DUE_ABSOLUTE : 0) |
                     (e->record.n > 0 ? FLAG_INSIDE : 0) | (e->order_key != 0 ? FLAG_ORDER : 0) | (e->has_job ? FLAG_JOB : 0));
}

/* The fixed part, the order key and the record; returns where the history begins. */
static uint8_t *put_fixed(uint8_t *p, const struct store_entry *e)
{
    p = sl_wr_u8(p, ENTRY_VERSION);
    p = sl_wr_u8(p, disk_state_of((uint8_t)e->state));
    p = sl_wr_u8(p, flags_of(e));
    p = sl_wr_u8(p, e->priority);
    p = sl_wr_u32le(p, e->attempts);
    p = sl_wr_u32le(p, e->record_bytes);
    p = sl_wr_u8(p, e->cause);
    p = sl_wr_u8(p, 0);
    p = sl_wr_u16le(p, 0);
    p = sl_wr_u64le(p, e->due_ms);
    p = sl_wr_u64le(p, e->expires_at);
    if (e->order_key != 0)
        p = sl_wr_u64le(p, e->order_key);
    return sl_wr_bytes(p, e->record);
}

size_t store_entry_bytes(const struct batch_op *op, bool inside)
{
    return STORE_ENTRY_FIXED + (op->order_key != 0 ? STORE_ENTRY_ORDER : 0) + (inside ? op->msg->record_bytes : 0);
}

void store_entry_encode(const struct batch_op *op, bool inside, uint8_t *out)
{
    const struct message *m = op->msg;
    uint8_t priority = message_priority(m);
    struct store_entry e = {
        .state = (enum queue_state)op->state,
        .priority = priority > PRIORITY_MAX ? PRIORITY_MAX : priority,
        .expires_relative = (message_flags(m) & MESSAGE_EXPIRES_RELATIVE) != 0,
        .has_job = sl_ld_u16le(m->record + MESSAGE_AT_JOB_ID) != 0,
        .due_absolute = message_deliver_at(m) != 0 && (message_flags(m) & MESSAGE_DELIVER_RELATIVE) == 0,
        .attempts = op->attempts,
        .record_bytes = m->record_bytes,
        .due_ms = op->due_ms,
        .expires_at = message_expires_at(m),
        .order_key = op->order_key,
        .record = inside ? message_record(m) : SL_BYTES_NONE,
    };
    put_fixed(out, &e);
}

/* ---- history ---- */

/* A sliding window over the failures of two histories, oldest first. */
struct failures {
    struct batch_failure f[STORE_ENTRY_FAILURES];
    uint32_t n;
};

static void failures_push(struct failures *all, const struct batch_failure *f)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (all->f[i].wall_ms == f->wall_ms && all->f[i].attempt == f->attempt)
            return;
    }
    if (all->n == STORE_ENTRY_FAILURES) {
        memmove(&all->f[0], &all->f[1], (STORE_ENTRY_FAILURES - 1) * sizeof all->f[0]);
        all->n--;
    }
    all->f[all->n++] = *f;
}

/* What cannot be read ends the history; what stands before it is kept. */
static void failures_read(struct failures *all, struct sl_bytes history)
{
    size_t pos = 0;
    struct batch_failure f;
    while (batch_failure_next(history, &pos, &f) == SL_OK)
        failures_push(all, &f);
}

/* Of stderr only what the newest failure left is worth its bytes. */
static uint8_t *put_failures(uint8_t *p, struct failures *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (i + 1 < all->n)
            all->f[i].tail = SL_BYTES_NONE;
        p = batch_failure_write(p, &all->f[i]);
    }
    return p;
}

int store_entry_update(struct sl_bytes old, const struct batch_op *op, uint8_t out[STORE_ENTRY_MAX], size_t *n)
{
    struct store_entry e;
    int err = store_entry_decode(old, &e);
    if (err != SL_OK)
        return err;
    e.state = (enum queue_state)op->state;
    e.attempts = op->attempts;
    e.due_ms = op->due_ms;
    e.cause = op->state == QUEUE_DEAD ? op->cause : QUEUE_CAUSE_NONE;
    struct failures all = { .n = 0 };
    failures_read(&all, e.history);
    if (op->note != NULL)
        failures_read(&all, sl_bytes_of(op->note->bytes, op->note->n));
    uint8_t *p = put_fixed(out, &e);
    p = put_failures(p, &all);
    *n = (size_t)(p - out);
    return SL_OK;
}

struct sl_bytes store_entry_job(struct sl_bytes record)
{
    if (record.n < MESSAGE_RECORD_FIXED || sl_ld_u16le(record.p + MESSAGE_AT_JOB_ID) == 0 || !message_record_valid(record))
        return SL_BYTES_NONE;
    struct message_parts parts;
    message_view(record, &parts);
    return parts.job_id;
}

static enum queue_cause cause_of(const struct store_entry *e)
{
    uint8_t cause = e->cause;
    size_t pos = 0;
    struct batch_failure f;
    while (e->cause == QUEUE_CAUSE_NONE && batch_failure_next(e->history, &pos, &f) == SL_OK)
        cause = (uint8_t)f.cause;
    return cause < CAUSES ? (enum queue_cause)cause : QUEUE_CAUSE_NONE;
}

void store_entry_restore(const struct store_entry *e, uint64_t id, struct queue_restored *out)
{
    *out = (struct queue_restored){
        .id = id,
        .bytes = (uint32_t)sizeof(struct message) + e->record_bytes,
        .priority = e->priority,
        .state = e->state,
        .attempts = e->attempts,
        .due_ms = e->due_ms,
        .due_absolute = e->due_absolute,
        .expires_at = e->expires_at,
        .expires_relative = e->expires_relative,
        .order_key = e->order_key,
        .cause = e->state == QUEUE_DEAD ? cause_of(e) : QUEUE_CAUSE_NONE,
        .job_id = e->has_job ? store_entry_job(e->record) : SL_BYTES_NONE,
    };
}
