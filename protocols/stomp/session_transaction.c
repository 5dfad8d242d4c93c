/* BEGIN, COMMIT, ABORT: names are checked here, contents are the caller's.
 * When the session ends, the caller forgets what was not committed. */
#include "session.h"

/* The frame's transaction in *name; an error was answered when false. */
static bool transaction_of(struct stomp_session *s, const struct stomp_frame *f,
                           struct sl_bytes *name)
{
    if (!stomp_has(f, STOMP_H_TRANSACTION))
        return stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, "transaction");
    *name = f->own[STOMP_H_TRANSACTION];
    if (name->n == 0 || name->n > STOMP_MAX_TRANSACTION_NAME)
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "transaction");
    return true;
}

bool stomp_on_begin(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    struct sl_bytes name;
    if (!transaction_of(s, f, &name))
        return false;
    int err = stomp_transaction_open(s, name);
    if (err == SL_EEXIST)
        return stomp_fail_frame(s, STOMP_E_TRANSACTION_EXISTS, f, NULL);
    if (err != SL_OK)
        return stomp_fail_frame(s, STOMP_E_TRANSACTIONS_MANY, f, NULL);
    stomp_ring_settled(s, f);
    *ev = (struct proto_event){.kind = PROTO_BEGIN, .u.transaction = name};
    return s->state < STOMP_CLOSING;
}

bool stomp_on_commit(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    struct sl_bytes name;
    if (!transaction_of(s, f, &name))
        return false;
    if (stomp_transaction_close(s, name) != SL_OK)
        return stomp_fail_frame(s, STOMP_E_TRANSACTION_UNKNOWN, f, NULL);
    uint32_t token = stomp_ring_open(s, f);
    if (token == 0)
        return stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
    *ev = (struct proto_event){.kind = PROTO_COMMIT, .token = token, .u.transaction = name};
    return true;
}

bool stomp_on_abort(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    struct sl_bytes name;
    if (!transaction_of(s, f, &name))
        return false;
    if (stomp_transaction_close(s, name) != SL_OK)
        return stomp_fail_frame(s, STOMP_E_TRANSACTION_UNKNOWN, f, NULL);
    stomp_ring_settled(s, f);
    *ev = (struct proto_event){.kind = PROTO_ABORT, .u.transaction = name};
    return s->state < STOMP_CLOSING;
}
