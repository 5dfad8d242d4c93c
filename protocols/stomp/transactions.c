/* The transactions that a client has begun: a short list of names. What they
 * hold is the caller's. */
#include "session.h"

#include "core/alloc.h"

struct transaction {
    size_t n;
    uint8_t name[];
};

struct stomp_transactions {
    size_t count;
    struct transaction *open[STOMP_MAX_TRANSACTIONS];
};

static size_t find(const struct stomp_session *s, struct sl_bytes name)
{
    size_t count = s->transactions == NULL ? 0 : s->transactions->count;
    for (size_t i = 0; i < count; i++) {
        const struct transaction *t = s->transactions->open[i];
        if (sl_bytes_eq(sl_bytes_of(t->name, t->n), name))
            return i;
    }
    return STOMP_MAX_TRANSACTIONS;
}

bool stomp_transaction_is_open(const struct stomp_session *s, struct sl_bytes name)
{
    return find(s, name) < STOMP_MAX_TRANSACTIONS;
}

int stomp_transaction_open(struct stomp_session *s, struct sl_bytes name)
{
    if (stomp_transaction_is_open(s, name))
        return SL_EEXIST;
    if (s->transactions == NULL)
        s->transactions = SL_NEW(struct stomp_transactions);
    if (s->transactions->count == STOMP_MAX_TRANSACTIONS)
        return SL_EFULL;
    struct transaction *t = sl_alloc(sizeof *t + name.n);
    t->n = name.n;
    memcpy(t->name, name.p, name.n);
    s->transactions->open[s->transactions->count++] = t;
    return SL_OK;
}

int stomp_transaction_close(struct stomp_session *s, struct sl_bytes name)
{
    size_t i = find(s, name);
    if (i == STOMP_MAX_TRANSACTIONS)
        return SL_ENOENT;
    struct stomp_transactions *all = s->transactions;
    sl_free(all->open[i]);
    all->open[i] = all->open[--all->count];
    if (all->count == 0)
        stomp_transactions_free(s);
    return SL_OK;
}

void stomp_transactions_free(struct stomp_session *s)
{
    if (s->transactions == NULL)
        return;
    for (size_t i = 0; i < s->transactions->count; i++)
        sl_free(s->transactions->open[i]);
    sl_free(s->transactions);
    s->transactions = NULL;
}
