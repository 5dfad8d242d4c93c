/* The value of an entry on disk: what a queue must know of a message, its line
 * when it is ordered, its record when that is small and no other queue holds it,
 * and the history of its failed attempts. FORMAT.md has the bytes. Pure. */
#ifndef STORE_ENTRY_H
#define STORE_ENTRY_H

#include "hub/batch.h"

#define STORE_ENTRY_FIXED 32u
/* Behind them, when it has one. */
#define STORE_ENTRY_ORDER 8u
/* Failures kept per entry; the stderr tail is kept of the last one only. */
#define STORE_ENTRY_FAILURES 16u
/* Longest record that is kept inside its entry. A start reads all entries and so
 * all such records: longer ones would cost more there than they save here. */
#define STORE_ENTRY_INSIDE_MAX 512u
#define STORE_ENTRY_MAX (STORE_ENTRY_FIXED + STORE_ENTRY_ORDER + STORE_ENTRY_INSIDE_MAX + STORE_ENTRY_FAILURES * (BATCH_FAILURE_FIXED + BATCH_FAILURE_DETAIL_MAX) + BATCH_FAILURE_TAIL_MAX)

struct store_entry {
    enum queue_state state; /* READY, DELAYED or DEAD; LEASED is written as READY */
    uint8_t priority;
    bool expires_relative;
    bool due_absolute; /* the first delivery waits for a point in wall time */
    bool has_job;      /* its message has a job-id */
    uint8_t cause;     /* enum queue_cause, of its death; 0: not dead, or died before format 4 */
    uint32_t attempts;
    uint32_t record_bytes; /* of the message's record */
    uint64_t due_ms;
    uint64_t expires_at;
    uint64_t order_key;      /* 0: none */
    struct sl_bytes record;  /* the message's record when it stands inside, else none; a view */
    struct sl_bytes history; /* for batch_failure_next; a view */
};

/* SL_EFORMAT: not an entry of this format's major. The history is not looked at. */
SL_CHECK int store_entry_decode(struct sl_bytes value, struct store_entry *out);

/* The message's record when it stands inside the value, else none. Cheaper than
 * store_entry_decode, which has the last word on what is an entry. */
struct sl_bytes store_entry_inside(struct sl_bytes value);

/* Length and bytes of a new entry's value (BATCH_ENTRY), with its message's
 * record (of at most STORE_ENTRY_INSIDE_MAX bytes) inside or without. */
size_t store_entry_bytes(const struct batch_op *op, bool inside);
void store_entry_encode(const struct batch_op *op, bool inside, uint8_t *out);

/* Appends the value as it is without the message's record. */
SL_CHECK int store_entry_tell(struct sl_bytes value, struct sl_buf *out);

/* The value after a BATCH_UPDATE: state, attempts, due time and cause are replaced,
 * the note is appended to the history, old failures leave it. A failure that
 * is there already is not added twice: an update may be applied again. Returns
 * the length; `out` must not overlap `old`. SL_EFORMAT leaves it unspecified. */
SL_CHECK int store_entry_update(struct sl_bytes old, const struct batch_op *op, uint8_t out[STORE_ENTRY_MAX], size_t *n);

/* What the queue is given at start. The job-id is that of the record inside; a
 * message whose record stands elsewhere has it there. Who died before format 4 died
 * of its last failure. */
void store_entry_restore(const struct store_entry *e, uint64_t id, struct queue_restored *out);

/* The job-id in a message's record, a view; none when there is none or the record is not one. */
struct sl_bytes store_entry_job(struct sl_bytes record);

#endif
