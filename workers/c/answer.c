/* The verbs: each appends one frame to the outbox. */
#include "core/utf8.h"
#include "internal.h"

static struct sl_bytes text_of(const char *s)
{
    return s == NULL ? SL_BYTES_NONE : sl_str(s);
}

static int open_for_answer(const struct sluice_worker_message *m)
{
    if (m->worker->broken != SLUICE_WORKER_OK)
        return m->worker->broken;
    return m->answered || m->copied ? SLUICE_WORKER_EANSWERED : SLUICE_WORKER_OK;
}

static int of_encoder(int err)
{
    if (err == SL_OK)
        return SLUICE_WORKER_OK;
    return err == SL_EINVAL ? SLUICE_WORKER_EINVAL : SLUICE_WORKER_ETOOBIG;
}

static int answered(struct sluice_worker_message *m, int encoder)
{
    int err = of_encoder(encoder);
    if (err != SLUICE_WORKER_OK)
        return err;
    m->answered = true;
    return stream_appended(m->worker);
}

int sluice_worker_ack(struct sluice_worker_message *m)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    struct wire_ack f = {.tag = m->tag};
    return answered(m, wire_encode_ack(&m->worker->out, &f));
}

int sluice_worker_ack_result(struct sluice_worker_message *m, const void *result, size_t size,
                             const char *content_type)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    struct sl_bytes type = text_of(content_type);
    if (!sl_utf8_valid(type))
        return SLUICE_WORKER_EINVAL;
    if (size > m->worker->welcome.max_result)
        return SLUICE_WORKER_ETOOBIG;
    struct wire_ack f = {.tag = m->tag,
                         .has_result = true,
                         .content_type = type,
                         .result = sl_bytes_of(result, size)};
    return answered(m, wire_encode_ack(&m->worker->out, &f));
}

int sluice_worker_retry(struct sluice_worker_message *m, int64_t delay_ms, const char *reason)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (delay_ms < WIRE_DELAY_BY_QUEUE)
        return SLUICE_WORKER_EINVAL;
    struct wire_retry f = {.tag = m->tag, .delay_ms = delay_ms, .reason = text_of(reason)};
    return answered(m, wire_encode_retry(&m->worker->out, &f));
}

int sluice_worker_release(struct sluice_worker_message *m)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    return answered(m, wire_encode_tag(&m->worker->out, WIRE_RELEASE, m->tag));
}

int sluice_worker_dead(struct sluice_worker_message *m, const char *reason)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    struct wire_dead f = {.tag = m->tag, .reason = text_of(reason)};
    return answered(m, wire_encode_dead(&m->worker->out, &f));
}

int sluice_worker_progress(struct sluice_worker_message *m, double done)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (!(done >= 0.0 && done <= 1.0))
        return SLUICE_WORKER_EINVAL;
    struct wire_progress f = {.tag = m->tag, .per_mille = (uint16_t)(done * 1000.0 + 0.5)};
    err = of_encoder(wire_encode_progress(&m->worker->out, &f));
    return err == SLUICE_WORKER_OK ? stream_flush(m->worker) : err;
}

int sluice_worker_extend(struct sluice_worker_message *m, uint32_t ms)
{
    int err = open_for_answer(m);
    if (err != SLUICE_WORKER_OK)
        return err;
    if (ms == 0)
        return SLUICE_WORKER_EINVAL;
    struct wire_extend f = {.tag = m->tag, .ms = ms};
    err = of_encoder(wire_encode_extend(&m->worker->out, &f));
    return err == SLUICE_WORKER_OK ? stream_flush(m->worker) : err;
}

/* ---- publish ---- */

static bool topic_valid(struct sl_bytes topic)
{
    if (topic.n == 0 || topic.n > UINT16_MAX || !sl_utf8_valid(topic))
        return false;
    return memchr(topic.p, '+', topic.n) == NULL && memchr(topic.p, '#', topic.n) == NULL;
}

static int put_headers(struct sl_buf *out, const struct sluice_worker_publish *p)
{
    sl_buf_clear(out);
    if (p->n_headers > UINT16_MAX)
        return SLUICE_WORKER_EINVAL;
    for (size_t i = 0; i < p->n_headers; i++) {
        struct message_header h = {text_of(p->headers[i].name), text_of(p->headers[i].value)};
        if (h.name.n == 0 || !sl_utf8_valid(h.name) || !sl_utf8_valid(h.value))
            return SLUICE_WORKER_EINVAL;
        int err = of_encoder(wire_header_append(out, &h));
        if (err != SLUICE_WORKER_OK)
            return err;
    }
    return SLUICE_WORKER_OK;
}

int sluice_worker_publish(struct sluice_worker *w, const struct sluice_worker_publish *p)
{
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    if (p->with != NULL && open_for_answer(p->with) != SLUICE_WORKER_OK)
        return SLUICE_WORKER_EANSWERED;
    struct wire_publish f = {.flags = p->retain ? WIRE_PUBLISH_RETAIN : 0,
                             .tag = p->with == NULL ? 0 : p->with->tag,
                             .topic = text_of(p->topic),
                             .content_type = text_of(p->content_type),
                             .n_headers = (uint16_t)p->n_headers,
                             .payload = sl_bytes_of(p->payload, p->size)};
    if (!topic_valid(f.topic) || !sl_utf8_valid(f.content_type))
        return SLUICE_WORKER_EINVAL;
    if (p->size > w->welcome.max_message)
        return SLUICE_WORKER_ETOOBIG;
    int err = put_headers(&w->headers, p);
    if (err != SLUICE_WORKER_OK)
        return err;
    f.headers = sl_buf_view(&w->headers);
    err = of_encoder(wire_encode_publish(&w->out, &f));
    return err == SLUICE_WORKER_OK ? stream_appended(w) : err;
}
