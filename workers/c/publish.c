/* Publishing: on its own and waited for, unconfirmed, or in one step with an ack. */
#include <stdio.h>

#include "core/utf8.h"
#include "internal.h"

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
        struct message_header h = { worker_text(p->headers[i].name),
                                    worker_text(p->headers[i].value) };
        if (h.name.n == 0 || !sl_utf8_valid(h.name) || !sl_utf8_valid(h.value))
            return SLUICE_WORKER_EINVAL;
        int err = worker_of_encoder(wire_header_append(out, &h));
        if (err != SLUICE_WORKER_OK)
            return err;
    }
    return SLUICE_WORKER_OK;
}

static int encode(struct sluice_worker *w, const struct sluice_worker_publish *p, uint32_t ref,
                  uint64_t tag, struct sl_buf *out)
{
    struct wire_publish f = { .ref = ref,
                              .flags = p->retain ? WIRE_PUBLISH_RETAIN : 0,
                              .tag = tag,
                              .topic = worker_text(p->topic),
                              .content_type = worker_text(p->content_type),
                              .n_headers = (uint16_t)p->n_headers,
                              .payload = sl_bytes_of(p->payload, p->size) };
    if (!topic_valid(f.topic) || !sl_utf8_valid(f.content_type))
        return SLUICE_WORKER_EINVAL;
    if (p->size > w->welcome.max_message)
        return SLUICE_WORKER_ETOOBIG;
    struct sl_buf headers;
    sl_buf_init(&headers, 0);
    int err = put_headers(&headers, p);
    f.headers = sl_buf_view(&headers);
    if (err == SLUICE_WORKER_OK)
        err = worker_of_encoder(wire_encode_publish(out, &f));
    sl_buf_fini(&headers);
    return err;
}

/* ---- on its own ---- */

static int of_code(int code)
{
    static const int errors[] = {
        [WIRE_PUBLISHED_STORED] = SLUICE_WORKER_OK,
        [WIRE_PUBLISHED_TOPIC] = SLUICE_WORKER_ETOPIC,
        [WIRE_PUBLISHED_FULL] = SLUICE_WORKER_EFULL,
        [WIRE_PUBLISHED_TOO_LARGE] = SLUICE_WORKER_ETOOBIG,
        [WIRE_PUBLISHED_STALE] = SLUICE_WORKER_ELOST,
        [WIRE_PUBLISHED_STORE] = SLUICE_WORKER_ESTORE,
        [WIRE_PUBLISHED_NOBODY] = SLUICE_WORKER_OK,
    };
    return (size_t)code < SL_COUNT(errors) ? errors[code] : SLUICE_WORKER_EREFUSED;
}

/* Messages that come meanwhile stay in the inbox. */
static int await(struct sluice_worker *w, uint32_t ref)
{
    w->awaited_ref = ref;
    w->awaited_code = -1;
    int err = stream_flush(w);
    while (err == SLUICE_WORKER_OK && w->awaited_code < 0) {
        bool got;
        err = worker_look(w, &got);
        if (err == SLUICE_WORKER_OK && w->awaited_code < 0 && !got)
            err = stream_wait_readable(w);
    }
    w->awaited_ref = 0;
    return err == SLUICE_WORKER_OK ? of_code(w->awaited_code) : err;
}

static int publish_with(struct sluice_worker *w, const struct sluice_worker_publish *p)
{
    const struct sluice_worker_message *m = p->with;
    if (m->answered || m->copied)
        return SLUICE_WORKER_EANSWERED;
    if (m->connection != w->connection)
        return SLUICE_WORKER_ELOST;
    int err = encode(w, p, p->unconfirmed ? 0 : w->last_ref + 1, m->tag, &w->out);
    if (err != SLUICE_WORKER_OK)
        return err;
    w->last_ref += !p->unconfirmed;
    return stream_appended(w);
}

int sluice_worker_publish(struct sluice_worker *w, const struct sluice_worker_publish *p)
{
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    if (p->with != NULL)
        return publish_with(w, p);
    int err = encode(w, p, p->unconfirmed ? 0 : w->last_ref + 1, 0, &w->out);
    if (err != SLUICE_WORKER_OK)
        return err;
    return p->unconfirmed ? stream_appended(w) : await(w, ++w->last_ref);
}

/* ---- with an ack ---- */

/* All publishes go to the scratch first: one that is not allowed leaves nothing behind. */
static int encode_publishes(struct sluice_worker *w, uint64_t tag,
                            const struct sluice_worker_done *done)
{
    uint32_t ref = w->last_ref;
    int err = SLUICE_WORKER_OK;
    sl_buf_clear(&w->scratch);
    for (size_t i = 0; err == SLUICE_WORKER_OK && i < done->n_publish; i++)
        err = encode(w, &done->publish[i], done->publish[i].unconfirmed ? 0 : ++ref, tag,
                     &w->scratch);
    if (err == SLUICE_WORKER_OK && sl_buf_len(&w->scratch) > WIRE_TIED_MAX)
        err = SLUICE_WORKER_ETOOBIG;
    if (err == SLUICE_WORKER_OK)
        w->last_ref = ref;
    return err;
}

static int ack_of(const struct sluice_worker_message *m, const struct sluice_worker_done *done,
                  struct wire_ack *out)
{
    *out = (struct wire_ack){ .tag = m->tag,
                              .has_result = done->has_result || done->result_size > 0,
                              .content_type = worker_text(done->content_type),
                              .result = sl_bytes_of(done->result, done->result_size) };
    if (!sl_utf8_valid(out->content_type) || out->content_type.n > UINT16_MAX)
        return SLUICE_WORKER_EINVAL;
    return done->result_size > m->worker->welcome.max_result ? SLUICE_WORKER_ETOOBIG
                                                             : SLUICE_WORKER_OK;
}

int sluice_worker_ack_with(struct sluice_worker_message *m, const struct sluice_worker_done *done)
{
    struct sluice_worker *w = m->worker;
    struct wire_ack ack;
    int err = worker_may_answer(m);
    if (err == SLUICE_WORKER_OK)
        err = ack_of(m, done, &ack);
    if (err == SLUICE_WORKER_OK && done->n_publish > 0)
        err = encode_publishes(w, m->tag, done);
    if (err == SLUICE_WORKER_OK && done->n_publish > 0)
        err = worker_of_encoder(sl_buf_append_bytes(&w->out, sl_buf_view(&w->scratch)));
    if (err == SLUICE_WORKER_OK)
        err = worker_of_encoder(wire_encode_ack(&w->out, &ack));
    if (err != SLUICE_WORKER_OK)
        return err;
    m->answered = true;
    return stream_appended(w);
}
