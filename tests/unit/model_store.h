/* What a store would know, as one plain list of records: applied batch by
 * batch, and given to a new hub after a crash. */
#ifndef TEST_MODEL_STORE_H
#define TEST_MODEL_STORE_H

#include "claims.h"
#include "core/alloc.h"
#include "hub/hub.h"

struct model_record {
    enum batch_kind kind; /* BODY, SESSION, QOS2_ADD, SUBSCRIPTION, WILL, COPY, RETAIN */
    uint64_t id, second;  /* second: packet id, subscription number, a copy's session */
    uint16_t packet_id;
    uint8_t state;
    uint32_t flags;
    struct message *msg;
    struct batch_note *note;
};

struct model_store {
    struct model_record *v;
    uint32_t n, cap;
};

/* What is wrong afterwards: a copy without a body or a session, a body that
 * nobody needs, a record of a session that is not there; NULL: nothing. */
const char *model_store_apply(struct model_store *s, const struct batch *b);
void model_store_load(struct model_store *s, struct hub *h);
uint32_t model_store_count(const struct model_store *s, enum batch_kind kind);
void model_store_fini(struct model_store *s);

#endif
