/* The verbs of a batch: for all of its messages that have neither an answer nor a copy. */
#include "internal.h"

size_t sluice_worker_batch_size(const struct sluice_worker_batch *b)
{
    return b->n;
}

struct sluice_worker_message *sluice_worker_batch_message(const struct sluice_worker_batch *b,
                                                          size_t i)
{
    return &b->messages[i];
}

/* The next ones that are open, up to the most that one frame takes; *i goes on behind them. */
static int take_tags(struct sluice_worker_batch *b, size_t *i, struct sl_buf *tags)
{
    sl_buf_clear(tags);
    while (*i < b->n && sl_buf_len(tags) < WIRE_ACKS_MAX * sizeof(uint64_t)) {
        struct sluice_worker_message *m = &b->messages[(*i)++];
        if (m->answered || m->copied)
            continue;
        int err = worker_may_answer(m);
        if (err != SLUICE_WORKER_OK)
            return err;
        uint8_t *p = sl_buf_reserve(tags, sizeof(uint64_t));
        (void)sl_wr_u64le(p, m->tag); /* the scratch has no maximum */
        sl_buf_commit(tags, sizeof(uint64_t));
        m->answered = true;
    }
    return SLUICE_WORKER_OK;
}

int sluice_worker_batch_ack(struct sluice_worker_batch *b)
{
    struct sluice_worker *w = b->worker;
    int err = SLUICE_WORKER_OK;
    for (size_t i = 0; err == SLUICE_WORKER_OK && i < b->n;) {
        err = take_tags(b, &i, &w->scratch);
        if (err != SLUICE_WORKER_OK || sl_buf_len(&w->scratch) == 0)
            break;
        struct wire_acks f = { sl_buf_view(&w->scratch) };
        err = worker_of_encoder(wire_encode_acks(&w->out, &f));
    }
    return err == SLUICE_WORKER_OK ? stream_appended(w) : err;
}

int sluice_worker_batch_retry(struct sluice_worker_batch *b, int64_t delay_ms, const char *reason)
{
    int err = SLUICE_WORKER_OK;
    for (size_t i = 0; err == SLUICE_WORKER_OK && i < b->n; i++)
        if (!b->messages[i].answered && !b->messages[i].copied)
            err = sluice_worker_retry(&b->messages[i], delay_ms, reason);
    return err;
}

int sluice_worker_batch_release(struct sluice_worker_batch *b)
{
    int err = SLUICE_WORKER_OK;
    for (size_t i = 0; err == SLUICE_WORKER_OK && i < b->n; i++)
        if (!b->messages[i].answered && !b->messages[i].copied)
            err = sluice_worker_release(&b->messages[i]);
    return err;
}

int sluice_worker_batch_dead(struct sluice_worker_batch *b, const char *reason)
{
    int err = SLUICE_WORKER_OK;
    for (size_t i = 0; err == SLUICE_WORKER_OK && i < b->n; i++)
        if (!b->messages[i].answered && !b->messages[i].copied)
            err = sluice_worker_dead(&b->messages[i], reason);
    return err;
}
