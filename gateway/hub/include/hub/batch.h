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
    BATCH_SESSION_DROP,/* id = session number: it, its QoS 2 ids, subscriptions and will are gone */
    BATCH_QOS2_ADD,    /* id = session number, packet_id */
    BATCH_QOS2_DROP,
    BATCH_SUBSCRIPTION,      /* id = session number, number: note is the subscription's record (replaces) */
    BATCH_SUBSCRIPTION_DROP, /* id = session number, number */
    BATCH_WILL,        /* id = session number: note is the will's record (replaces) */
    BATCH_WILL_DROP,   /* id = session number */
    BATCH_COPY,        /* id, session: what waits for a subscriber: packet_id, state (enum batch_copy_state), copy_flags; note, when set, is its subscription ids
                        * (replaces: NULL takes them away). Its body is under id. One that goes to another session is recorded there before its BATCH_COPY_DROP */
    BATCH_COPY_DROP,   /* id, session */
    BATCH_RETAIN,      /* id, msg: a retained message, its record under its id (nothing to do with a body of that id) */
    BATCH_RETAIN_DROP, /* id */
    BATCH_QUEUE,       /* queue: note is the queue's own record (replaces) */
    BATCH_DEDUP,       /* queue, id, seen_ms, dedup_key: what makes duplicates of the message `id`; outlives it */
    BATCH_DEDUP_DROP,  /* queue, id */
    BATCH_SCHEDULE,      /* note is the schedule's record, which names it (replaces) */
    BATCH_SCHEDULE_DROP, /* note is its name */
};

enum batch_copy_state {
    BATCH_COPY_WAITING,  /* packet_id 0: it has none yet */
    BATCH_COPY_RELEASED, /* QoS 2: PUBREC came: it is not published again, PUBREL is */
};
/* copy_flags: QoS of the delivery in the low two bits. */
#define BATCH_COPY_QOS    3u
#define BATCH_COPY_RETAIN 4u
#define BATCH_COPY_SHARED 8u /* of a shared subscription: its number within the session follows the ids */

/* Variable part of a record: one allocation, owned by the batch. */
struct batch_note {
    uint32_t n;
    uint8_t bytes[];
};

#define BATCH_DEDUP_KEY 16u

struct batch_op {
    uint8_t kind;       /* enum batch_kind */
    uint8_t state;      /* enum queue_state */
    union {
        uint16_t packet_id;
        struct {
            union {
                bool bound; /* UPDATE, SETTLE, BODY_DROP of a transaction that also takes messages in: it stays in their batch, whatever it frees. DEDUP_DROP: a younger message has the key */
                bool held;  /* ENTRY: it is leased when it is stored, not earlier */
            };
            uint8_t cause;  /* UPDATE: enum queue_cause, of what is dead */
        };
    };
    union {
        uint32_t queue;  /* queue_config.number */
        uint32_t number; /* of a subscription within its session */
    };
    uint64_t id;
    union {
        uint64_t due_ms;  /* as queue_change.due_steady_ms */
        uint64_t session; /* BATCH_COPY, BATCH_COPY_DROP: its number */
        uint64_t seen_ms; /* BATCH_DEDUP: when, in steady time */
    };
    union {
        uint32_t attempts;
        uint32_t copy_flags;
    };
    uint32_t entry;     /* BATCH_ENTRY, BATCH_UPDATE: the queue's index; BATCH_COPY: the session's slot; for the hub at completion */
    union {
        struct {
            struct message *msg; /* BATCH_BODY, BATCH_ENTRY, BATCH_RETAIN: a reference of the batch's own */
            union {
                struct batch_note *note;
                uint64_t order_key; /* BATCH_ENTRY: queue_order_key(); 0: none */
            };
        };
        uint8_t dedup_key[BATCH_DEDUP_KEY]; /* BATCH_DEDUP */
    };
};

struct batch {
    uint64_t seq;           /* its name, never 0 and never given again; what leaves an open batch early has a later one and is written first */
    struct batch_op *ops;
    uint32_t n, cap;
    uint32_t base;          /* how many ops have left at the front: what is remembered as a place is base + index */
    uint32_t live;          /* ops that are not BATCH_NONE */
    uint64_t bytes;         /* of messages in live ops: who adds a BATCH_BODY or BATCH_RETAIN adds msg->record_bytes, batch_cancel takes it off */
    uint64_t opened_us;     /* monotonic; 0: empty */
    uint32_t *tickets;      /* the hub's: answers that wait for this whole batch */
    uint32_t n_tickets, cap_tickets;
    uint64_t last_id;       /* the hub's: no message that entered since is in an earlier batch, nor one from before in a later one; 0: it says nothing of that */
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

/* A subscription's record: u8 version 1 · u8 options (QoS in bits 0–1, No Local 4, Retain As Published 8) · u16 group length · u32 subscription id ·
 *   u16 filter length · group · filter */
struct batch_subscription {
    uint8_t qos;
    bool no_local, retain_as_published;
    uint32_t subscription_id;
    struct sl_bytes group, filter;
};
struct batch_note *batch_subscription_encode(const struct batch_subscription *s) SL_CHECK;
SL_CHECK int batch_subscription_decode(struct sl_bytes record, struct batch_subscription *out);

/* A will's record: u8 version 1 · u8 flags (1: has an expiry) · u16 0 · u32 delay_s · u64 expiry_ms · the message's record to the end */
struct batch_will {
    bool has_expiry;
    uint32_t delay_s;
    uint64_t expiry_ms; /* from when it is published */
    struct sl_bytes message;
};
struct batch_note *batch_will_encode(const struct batch_will *w) SL_CHECK;
SL_CHECK int batch_will_decode(struct sl_bytes record, struct batch_will *out);

/* A queue's own record: u8 version 1 · u8 flags (1: paused) · u16 length of order · order: what its messages were
 * ordered by when they came, as the configuration says it ("none", "client", "header:NAME") */
struct batch_queue {
    bool paused;
    struct sl_bytes order;
};
struct batch_note *batch_queue_encode(const struct batch_queue *q) SL_CHECK;
SL_CHECK int batch_queue_decode(struct sl_bytes record, struct batch_queue *out);

/* A schedule's record: u8 version 1 · u8 mark · u16 length of name · u64 wall ms of the latest firing that is done with · name */
struct batch_schedule {
    uint64_t done_ms;
    uint8_t mark; /* of what it fires by: with another one it is a new schedule */
    struct sl_bytes name; /* 1 to 255 bytes */
};
struct batch_note *batch_schedule_encode(const struct batch_schedule *s) SL_CHECK;
SL_CHECK int batch_schedule_decode(struct sl_bytes record, struct batch_schedule *out);
/* Just a name, for BATCH_SCHEDULE_DROP. */
struct batch_note *batch_name_note(struct sl_bytes name) SL_CHECK;

/* Subscription ids of a copy: u32 each, at most 65,535. NULL when there are none. */
struct batch_note *batch_ids_encode(const uint32_t *ids, uint32_t n) SL_CHECK;

struct batch_note *batch_note_copy(const struct batch_note *n) SL_CHECK;

struct batch *batch_new(void) SL_CHECK;
/* Drops references and notes and empties it; memory is kept unless it is large. */
void batch_reset(struct batch *b);
void batch_free(struct batch *b);
/* Its `bound` is set, and is not the packet id of something else. */
static inline bool batch_op_bound(const struct batch_op *op)
{
    return (op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE || op->kind == BATCH_BODY_DROP) && op->bound;
}
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
/* Moves what frees space, or leads there, from `from` to the end of `to`; returns
 * how many records that were. For a batch that was refused with SL_ENOSPC: what
 * frees space must not wait behind it. `before` (may be NULL) is what stays and is
 * written before `from`. `to` must hold nothing younger. The order of records that
 * concern one another stays:
 *  - all that concerns a message leaves (updates, settles, copies and their drops,
 *    body drops), or nothing: that of a message which enters in `from` or `before`,
 *    or of which a record there is bound, stays. With a copy or its drop goes what names its session, which may be new: the session's
 *    record is then in both batches;
 *  - the drop of a session leaves when nothing that concerns it stays;
 *  - a drop of a subscription, a will or a retained message stays when `from` takes
 *    something in, or has something bound: a will may be what is published there, a retained message what is
 *    replaced; and when what it drops stands in `before` or earlier in `from`. */
uint32_t batch_take_settles(struct batch *from, const struct batch *before, struct batch *to);

enum batch_fetch_for {
    BATCH_FETCH_FOR_DISPATCH,
    BATCH_FETCH_FOR_LOOK,
    BATCH_FETCH_FOR_DEAD, /* work on dead letters */
};

/* Bodies to read back, off the loop. Filled by the hub, completed by the store. */
struct batch_fetch {
    uint32_t queue; /* the hub's index */
    uint32_t n;
    enum batch_fetch_for wanted_for; /* the hub's */
    uint64_t asked_by;               /* the hub's: which look, or which work on dead letters */
    uint64_t *ids;
    uint32_t *entries;     /* the hub's */
    struct message **msgs; /* filled: a reference each, NULL when not found or unreadable */
    int err;
};
/* Without ids yet; room for `max`. */
struct batch_fetch *batch_fetch_new(uint32_t queue, uint32_t max) SL_CHECK;
/* Its messages are the caller's. */
void batch_fetch_free(struct batch_fetch *f);

#endif
