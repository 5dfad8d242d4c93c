/* The verbs of a message: each appends one frame to the outbox. */
#include "internal.h"

/* While it is worked on; changes nothing. */
static int open_for_word(const struct sluice_worker_message *m)
{
    if (m->answered || m->copied)
        return SLUICE_WORKER_EANSWERED;
    return m->connection != m->worker->connection ? SLUICE_WORKER_ELOST : m->worker->broken;
}

int worker_may_answer(struct sluice_worker_message *m)
{
    int err = open_for_word(m);
    if (err == SLUICE_WORKER_ELOST) {
        m->answered = true;
        m->worker->stale++;
    }
    return err;
}

int worker_of_encoder(int err)
{
    if (err == SL_OK)
        return SLUICE_WORKER_OK;
    return err == SL_EINVAL ? SLUICE_WORKER_EINVAL : SLUICE_WORKER_ETOOBIG;
}

static int answered(struct sluice_worker_message *m, int encoder)
{
    int err = worker_of_encoder(encoder);
    if (err != SLUICE_WORKER_OK)
        return err;
    m->answered = true;
    return stream_appended(m->worker);
}

int sluice_worker_ack(struct sluice_worker_message *m)
{
    int err = worker_may_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    struct wire_ack f = { .tag = m->tag };
    return answered(m, wire_encode_ack(&m->worker->out, &f));
}

int sluice_worker_ack_result(struct sluice_worker_message *m, const void *result, size_t size,
                             const char *content_type)
{
    return sluice_worker_ack_with(m, &(struct sluice_worker_done){ .result = result,
                                                                   .result_size = size,
                                                                   .content_type = content_type,
                                                                   .has_result = true });
}

int sluice_worker_retry(struct sluice_worker_message *m, int64_t delay_ms, const char *reason)
{
    int err = worker_may_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (delay_ms < WIRE_DELAY_BY_QUEUE)
        return SLUICE_WORKER_EINVAL;
    struct wire_retry f = { .tag = m->tag, .delay_ms = delay_ms, .reason = worker_text(reason) };
    return answered(m, wire_encode_retry(&m->worker->out, &f));
}

int sluice_worker_release(struct sluice_worker_message *m)
{
    int err = worker_may_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    return answered(m, wire_encode_tag(&m->worker->out, WIRE_RELEASE, m->tag));
}

int sluice_worker_dead(struct sluice_worker_message *m, const char *reason)
{
    int err = worker_may_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    struct wire_dead f = { .tag = m->tag, .reason = worker_text(reason) };
    return answered(m, wire_encode_dead(&m->worker->out, &f));
}

int sluice_worker_progress(struct sluice_worker_message *m, double done)
{
    int err = open_for_word(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (!(done >= 0.0 && done <= 1.0))
        return SLUICE_WORKER_EINVAL;
    struct wire_progress f = { .tag = m->tag, .per_mille = (uint16_t)(done * 1000.0 + 0.5) };
    err = worker_of_encoder(wire_encode_progress(&m->worker->out, &f));
    return err == SLUICE_WORKER_OK ? stream_flush(m->worker) : err;
}

int sluice_worker_extend(struct sluice_worker_message *m, uint32_t ms)
{
    int err = open_for_word(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (ms == 0)
        return SLUICE_WORKER_EINVAL;
    struct wire_extend f = { .tag = m->tag, .ms = ms };
    err = worker_of_encoder(wire_encode_extend(&m->worker->out, &f));
    return err == SLUICE_WORKER_OK ? stream_flush(m->worker) : err;
}
