/* What a store would know, as one plain list of records: applied batch by
 * batch, and given to a new hub after a crash. */
#ifndef TEST_MODEL_STORE_H
#define TEST_MODEL_STORE_H

#include "claims.h"
#include "core/alloc.h"
#include "hub/hub.h"

struct model_record {
    enum batch_kind kind; /* BODY, ENTRY, SESSION, QOS2_ADD, SUBSCRIPTION, WILL, COPY, RETAIN, QUEUE, SCHEDULE, DEDUP */
    uint64_t id, second;  /* second: packet id, subscription number, a copy's session, the queue of an entry, a record or a dedup key; id of a schedule: its name's hash */
    uint16_t packet_id;
    uint8_t state;
    uint32_t flags;
    struct message *msg;
    struct batch_note *note;
    uint32_t attempts;    /* of an entry, as are the following */
    uint64_t due_ms;
    uint64_t order_key;
    uint8_t cause;
    struct sl_buf history;
    uint64_t seen_ms;     /* of a dedup key */
    uint8_t dedup_key[BATCH_DEDUP_KEY];
    uint32_t tag;         /* the caller's, 0 at first */
};

struct model_store {
    struct model_record *v;
    uint32_t n, cap;
};

/* What is wrong afterwards, of what the batch touches: a copy without a body or a session, a body that
 * nobody needs, a record of a session that is not there; NULL: nothing. */
const char *model_store_apply(struct model_store *s, const struct batch *b);
void model_store_load(struct model_store *s, struct hub *h);
/* The body of that id, a reference for the caller; NULL: there is none. */
struct message *model_store_body(const struct model_store *s, uint64_t id);
uint32_t model_store_count(const struct model_store *s, enum batch_kind kind);
void model_store_fini(struct model_store *s);

#endif
