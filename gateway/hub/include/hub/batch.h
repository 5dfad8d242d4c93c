/* A batch: everything that must outlive the process, as records in the order
 * in which they happened. One transaction, one sync. A record whose reason
 * vanished before the batch was handed over is BATCH_NONE and is skipped.
 *
 * The hub fills a batch and hands it over; from then on it is read-only for
 * everybody until its completion comes back. */
#ifndef HUB_BATCH_H
#define HUB_BATCH_H

#include "core/message.h"
#include "queue/queue.h"

enum batch_kind {
    BATCH_NONE,        /* cancelled */
    BATCH_BODY,        /* msg: store its record under id */
    BATCH_ENTRY,       /* queue, id: a new entry with state, attempts, due_ms and the message's bytes (msg is set) */
    BATCH_UPDATE,      /* queue, id: state, attempts, due_ms; note, when set, is appended to its history */
    BATCH_SETTLE,      /* queue, id: the entry is gone */
    BATCH_BODY_DROP,   /* id: nobody needs the body any more */
    BATCH_SESSION,     /* id = session number: note is the session's record (replaces) */
    BATCH_SESSION_DROP,/* id = session number: it and all its QoS 2 ids are gone */
    BATCH_QOS2_ADD,    /* id = session number, packet_id */
    BATCH_QOS2_DROP,
};

/* Variable part of a record: one allocation, owned by the batch. */
struct batch_note {
    uint32_t n;
    uint8_t bytes[];
};

struct batch_op {
    uint8_t kind;       /* enum batch_kind */
    uint8_t state;      /* enum queue_state */
    uint16_t packet_id;
    uint32_t queue;     /* queue_config.number */
    uint64_t id;
    uint64_t due_ms;    /* as queue_change.due_steady_ms */
    uint32_t attempts;
    uint32_t entry;     /* BATCH_ENTRY: the queue's index, for the hub at completion */
    struct message *msg;     /* BATCH_BODY, BATCH_ENTRY: a reference of the batch's own */
    struct batch_note *note;
};

struct batch {
    uint64_t seq;           /* its name, never 0 and never given again; what leaves an open batch early has a later one and is written first */
    struct batch_op *ops;
    uint32_t n, cap;
    uint32_t base;          /* how many ops have left at the front: what is remembered as a place is base + index */
    uint32_t live;          /* ops that are not BATCH_NONE */
    uint64_t bytes;         /* of bodies in live ops: who adds a BATCH_BODY adds msg->record_bytes, batch_cancel takes it off */
    uint64_t opened_us;     /* monotonic; 0: empty */
    uint32_t *tickets;      /* the hub's: answers that wait for this whole batch */
    uint32_t n_tickets, cap_tickets;
    uint64_t took_us;       /* set by who applied it: how long transaction and sync took */
};

/* One failed attempt as it stands in an entry's history, encoded in a note:
 *   u32 length of the rest · u64 wall ms · u32 attempt · u8 cause · u8 0 · u16 detail length · u16 0 · u16 tail length · detail · tail
 * detail: reason text, "exit 3", "signal 9"; tail: last stderr lines. */
struct batch_failure {
    uint64_t wall_ms;
    uint32_t attempt;
    enum queue_cause cause;
    struct sl_bytes detail; /* at most 1,024 bytes are kept */
    struct sl_bytes tail;   /* at most 2,048 */
};
#define BATCH_FAILURE_FIXED 24u /* with the leading length */
#define BATCH_FAILURE_DETAIL_MAX 1024u
#define BATCH_FAILURE_TAIL_MAX 2048u
struct batch_note *batch_failure_encode(const struct batch_failure *f) SL_CHECK;
/* The same into memory that is large enough for the kept lengths; returns the end. */
uint8_t *batch_failure_write(uint8_t *p, const struct batch_failure *f) SL_CHECK;
/* Walks a history; *pos starts at 0. SL_OK, SL_ENOENT at the end, SL_EFORMAT. */
SL_CHECK int batch_failure_next(struct sl_bytes history, size_t *pos, struct batch_failure *out);

/* A session's record: u8 version 1 · u32 expiry_s · u64 ends_wall_ms (UINT64_MAX: connected or never) · u16 client id length · client id */
struct batch_session {
    uint32_t expiry_s;
    uint64_t ends_wall_ms;
    struct sl_bytes client_id;
};
struct batch_note *batch_session_encode(const struct batch_session *s) SL_CHECK;
SL_CHECK int batch_session_decode(struct sl_bytes record, struct batch_session *out);

struct batch *batch_new(void) SL_CHECK;
/* Drops references and notes and empties it; memory is kept unless it is large. */
void batch_reset(struct batch *b);
void batch_free(struct batch *b);
/* Room for more ops. */
void batch_grow(struct batch *b);

/* A zeroed op at the end; the pointer dies at the next call. */
static inline struct batch_op *batch_add(struct batch *b, enum batch_kind kind)
{
    if (SL_UNLIKELY(b->n == b->cap))
        batch_grow(b);
    struct batch_op *op = &b->ops[b->n++];
    *op = (struct batch_op){ .kind = (uint8_t)kind };
    b->live += kind != BATCH_NONE;
    return op;
}

/* `ticket` waits for the whole batch. */
void batch_add_ticket(struct batch *b, uint32_t ticket);
/* Turns op i into BATCH_NONE and drops what it holds. */
void batch_cancel(struct batch *b, uint32_t i);
/* Takes the first n ops off `from`; those that are live go to the end of `to`.
 * Their messages still name `from` as their batch: that is the caller's. */
void batch_take_first(struct batch *from, uint32_t n, struct batch *to);
/* Moves every update, settle and body drop of `from` that does not concern a
 * message entering in `from` to the end of `to`; returns how many. For a batch
 * that was refused with SL_ENOSPC: what frees space must not wait behind it.
 * `to` must hold nothing younger: order within an entry's records matters. */
uint32_t batch_take_settles(struct batch *from, struct batch *to);

/* Bodies to read back, off the loop. Filled by the hub, completed by the store. */
struct batch_fetch {
    uint32_t queue; /* the hub's index */
    uint32_t n;
    uint64_t *ids;
    uint32_t *entries;     /* the hub's */
    struct message **msgs; /* filled: a reference each, NULL when not found or unreadable */
    int err;
};

#endif
