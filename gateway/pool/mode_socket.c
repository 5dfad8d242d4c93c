/* Mode `socket`: frames (wire/wire.h, workers/PROTOCOL.md) over one socket. */
#include "mode.h"

#include "wire/wire.h"

/* The buffer of a worker's output has no maximum: what is put there is bounded
 * by the prefetch, and each answer of ours by a frame of the worker's. */
static void must(int err)
{
    SL_ASSERT(err == SL_OK);
}

static size_t socket_input_max(const struct pool_config *cfg)
{
    return (size_t)wire_frame_limit(cfg->max_message, cfg->max_result) + WIRE_HEAD;
}

static void socket_deliver(struct mode *m, const struct mode_delivery *d, struct sl_buf *out)
{
    const struct queue_delivery *q = d->from->d;
    (void)m;
    struct wire_deliver f = {
        .tag = d->tag,
        .attempt = q->attempt,
        .max_attempts = d->from->max_attempts,
        .flags = (uint8_t)((q->redelivered ? WIRE_REDELIVERED : 0) | (q->last ? WIRE_LAST : 0) | (d->from->more ? WIRE_MORE : 0)),
        .record = message_record(q->msg),
    };
    must(wire_encode_deliver(out, &f));
}

static void take_publish(const struct wire_publish *f, struct mode_answer *out)
{
    out->kind = MODE_PUBLISH;
    out->name = f->tag;
    out->ref = f->ref;
    out->retain = (f->flags & WIRE_PUBLISH_RETAIN) != 0;
    out->topic = f->topic;
    out->content_type = f->content_type;
    out->headers = f->headers;
    out->n_headers = f->n_headers;
    out->payload = f->payload;
}

static void take_ack(const struct wire_ack *f, struct mode_answer *out)
{
    out->kind = MODE_ACK;
    out->name = f->tag;
    out->has_result = f->has_result;
    out->result = f->result;
    out->content_type = f->content_type;
}

static void take_retry(const struct wire_retry *f, struct mode_answer *out)
{
    out->kind = MODE_RETRY;
    out->name = f->tag;
    out->has_delay = f->delay_ms >= 0;
    out->delay_ms = f->delay_ms >= 0 ? (uint64_t)f->delay_ms : 0;
    out->reason = f->reason;
}

static void take_hello(const struct wire_hello *f, struct mode_answer *out)
{
    out->kind = MODE_HELLO;
    out->prefetch = f->prefetch;
    out->wants_soft = (f->flags & WIRE_WANTS_SOFT_LIMIT) != 0;
    out->gathers = (f->flags & WIRE_GATHERS) != 0;
    out->worker_name = f->name;
    out->token = f->token;
}

/* Each case is one move; wire_decode has refused all other types. */
static void take(const struct wire_frame *f, struct mode_answer *out)
{
    *out = (struct mode_answer){ 0 };
    if (f->type == WIRE_HELLO)
        take_hello(&f->u.hello, out);
    else if (f->type == WIRE_ACK)
        take_ack(&f->u.ack, out);
    else if (f->type == WIRE_RETRY)
        take_retry(&f->u.retry, out);
    else if (f->type == WIRE_RELEASE)
        *out = (struct mode_answer){ .kind = MODE_RELEASE, .name = f->u.tag };
    else if (f->type == WIRE_DEAD)
        *out = (struct mode_answer){ .kind = MODE_DEAD, .name = f->u.dead.tag, .reason = f->u.dead.reason };
    else if (f->type == WIRE_PROGRESS)
        *out = (struct mode_answer){ .kind = MODE_PROGRESS, .name = f->u.progress.tag, .per_mille = f->u.progress.per_mille };
    else if (f->type == WIRE_EXTEND)
        *out = (struct mode_answer){ .kind = MODE_EXTEND, .name = f->u.extend.tag, .delay_ms = f->u.extend.ms };
    else if (f->type == WIRE_PUBLISH)
        take_publish(&f->u.publish, out);
    else
        out->kind = MODE_BYE;
}

/* An ACKS becomes one answer per tag without a copy: the whole frame was read and
 * checked, so the head goes with its first tag, and each call takes the next eight
 * bytes from where it lies in the input. */
static void take_next_ack(struct mode *m, struct sl_bytes tag, struct mode_answer *out, size_t *consumed)
{
    struct sl_reader r = sl_reader_of(tag);
    *out = (struct mode_answer){ .kind = MODE_ACK, .name = sl_rd_u64le(&r) };
    m->acks_left--;
    *consumed = sizeof(uint64_t);
}

static void take_first_ack(struct mode *m, const struct wire_acks *f, struct mode_answer *out, size_t *consumed)
{
    m->acks_left = (uint32_t)wire_acks_count(f);
    take_next_ack(m, f->tags, out, consumed);
    *consumed += WIRE_HEAD;
}

static int socket_next(struct mode *m, struct sl_bytes in, struct mode_answer *out, size_t *consumed)
{
    if (m->acks_left > 0) {
        take_next_ack(m, in, out, consumed);
        return SL_OK;
    }
    struct wire_reader reader = {
        .from = WIRE_FROM_WORKER,
        .max_frame = wire_frame_limit(m->cfg->max_message, m->cfg->max_result),
    };
    struct wire_frame f;
    int err = wire_decode(in, &reader, &f, consumed);
    if (err == SL_EMORE)
        return err;
    if (err != SL_OK) {
        m->fault = reader.fault;
        return err;
    }
    if (f.type == WIRE_ACKS) {
        take_first_ack(m, &f.u.acks, out, consumed);
        return SL_OK;
    }
    take(&f, out);
    if (out->kind == MODE_ACK && out->result.n > m->cfg->max_result) {
        m->fault = "result-too-large";
        return SL_ETOOBIG;
    }
    if (out->kind == MODE_PUBLISH && out->payload.n > m->cfg->max_message) {
        m->fault = "payload-too-large";
        return SL_ETOOBIG;
    }
    return SL_OK;
}

static uint32_t ms32(uint64_t ms)
{
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static void socket_welcome(const struct mode *m, const struct mode_welcome *w, struct sl_buf *out)
{
    const struct pool_config *cfg = m->cfg;
    struct wire_welcome f = {
        .version = WIRE_VERSION, /* the lowest there is, so no worker's is below it */
        .flags = (uint8_t)((w->batches ? WIRE_BATCHES : 0) | (w->external ? WIRE_EXTERNAL : 0)),
        .prefetch = w->prefetch,
        .concurrency = w->batches ? 1 : cfg->concurrency, /* one batch at a time */
        .time_limit_ms = ms32(w->time_limit_ms),
        .soft_time_limit_ms = ms32(w->soft_time_limit_ms),
        .max_message = cfg->max_message,
        .max_result = cfg->max_result,
        .queue = sl_str(cfg->queue_name),
        .pool = sl_str(cfg->name),
        .node = sl_str(cfg->node),
    };
    must(wire_encode_welcome(out, &f));
}

static void socket_stale(uint64_t name, struct sl_buf *out)
{
    must(wire_encode_tag(out, WIRE_STALE, name));
}

static void socket_error(const struct mode_error *e, struct sl_buf *out)
{
    must(wire_encode_error(out, &(struct wire_error_text){ e->code, sl_str(e->text) }));
}

static void socket_published(uint32_t ref, int code, struct sl_buf *out)
{
    must(wire_encode_published(out, &(struct wire_published_answer){ .ref = ref, .code = (uint8_t)code }));
}

static void socket_drain(struct sl_buf *out)
{
    must(wire_encode_empty(out, WIRE_DRAIN));
}

static void socket_soft_limit(uint64_t name, struct sl_buf *out)
{
    must(wire_encode_tag(out, WIRE_SOFT_LIMIT, name));
}

const struct mode_ops mode_socket = {
    .name = "socket",
    .socket = true,
    .says_hello = true,
    .input_max = socket_input_max,
    .deliver = socket_deliver,
    .next = socket_next,
    .welcome = socket_welcome,
    .stale = socket_stale,
    .error = socket_error,
    .published = socket_published,
    .drain = socket_drain,
    .soft_limit = socket_soft_limit,
};
