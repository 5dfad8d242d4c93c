/* Frame to bytes. Each encoder reserves the whole frame, so that a full buffer
 * is found before anything is written, and writes it field by field. */
#include "core/utf8.h"
#include "wire/wire.h"

/* Reserves a frame with this body and writes its head; NULL when it is too big. */
static uint8_t *frame_begin(struct sl_buf *out, enum wire_type type, size_t body)
{
    if (body >= WIRE_FRAME_MAX)
        return NULL;
    uint8_t *p = sl_buf_reserve(out, WIRE_HEAD + body);
    if (p == NULL)
        return NULL;
    p = sl_wr_u32le(p, (uint32_t)body + 1);
    return sl_wr_u8(p, (uint8_t)type);
}

static int frame_end(struct sl_buf *out, size_t body)
{
    sl_buf_commit(out, WIRE_HEAD + body);
    return SL_OK;
}

/* The longest start of `text` within max that does not end inside a character. */
static struct sl_bytes cut(struct sl_bytes text, size_t max)
{
    if (text.n <= max)
        return text;
    size_t n = max;
    while (n > 0 && max - n < 3 && (text.p[n] & 0xC0) == 0x80)
        n--;
    return sl_bytes_of(text.p, n);
}

static uint8_t *put_text(uint8_t *p, struct sl_bytes text)
{
    return sl_wr_bytes(sl_wr_u16le(p, (uint16_t)text.n), text);
}

/* For words that people wrote (exception texts): the reader insists on UTF-8, so
 * a text that is not becomes ASCII rather than a fault. */
static uint8_t *put_human(uint8_t *p, struct sl_bytes text)
{
    uint8_t *at = sl_wr_u16le(p, (uint16_t)text.n);
    uint8_t *end = sl_wr_bytes(at, text);
    if (text.n == 0 || sl_utf8_valid(text))
        return end;
    for (; at < end; at++)
        if (*at == 0 || *at >= 0x80)
            *at = '?';
    return end;
}

int wire_encode_hello(struct sl_buf *out, const struct wire_hello *f)
{
    struct sl_bytes name = cut(f->name, WIRE_NAME_MAX);
    if (f->token.n > WIRE_TOKEN_MAX || (f->token.n > 0 && !sl_utf8_valid(f->token)))
        return SL_EINVAL;
    size_t body = 8 + 2 + name.n + (f->token.n > 0 ? 2 + f->token.n : 0);
    uint8_t *p = frame_begin(out, WIRE_HELLO, body);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u8(p, f->version);
    p = sl_wr_u8(p, f->flags);
    p = sl_wr_u16le(p, 0);
    p = sl_wr_u32le(p, f->prefetch);
    p = put_human(p, name);
    if (f->token.n > 0)
        (void)put_text(p, f->token);
    return frame_end(out, body);
}

int wire_encode_welcome(struct sl_buf *out, const struct wire_welcome *f)
{
    struct sl_bytes queue = cut(f->queue, WIRE_NAME_MAX);
    struct sl_bytes pool = cut(f->pool, WIRE_NAME_MAX);
    struct sl_bytes node = cut(f->node, WIRE_NAME_MAX);
    size_t body = 4 + 6 * 4 + 3 * 2 + queue.n + pool.n + node.n;
    uint8_t *p = frame_begin(out, WIRE_WELCOME, body);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u8(p, f->version);
    p = sl_wr_u8(p, f->flags);
    p = sl_wr_u16le(p, 0);
    p = sl_wr_u32le(p, f->prefetch);
    p = sl_wr_u32le(p, f->concurrency);
    p = sl_wr_u32le(p, f->time_limit_ms);
    p = sl_wr_u32le(p, f->soft_time_limit_ms);
    p = sl_wr_u32le(p, f->max_message);
    p = sl_wr_u32le(p, f->max_result);
    p = put_human(p, queue);
    p = put_human(p, pool);
    (void)put_human(p, node);
    return frame_end(out, body);
}

int wire_encode_ack(struct sl_buf *out, const struct wire_ack *f)
{
    if (f->has_result && f->content_type.n > UINT16_MAX)
        return SL_EINVAL;
    size_t body = 8;
    if (f->has_result)
        body += 2 + f->content_type.n + f->result.n;
    uint8_t *p = frame_begin(out, WIRE_ACK, body);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u64le(p, f->tag);
    if (f->has_result)
        (void)sl_wr_bytes(put_text(p, f->content_type), f->result);
    return frame_end(out, body);
}

int wire_encode_acks(struct sl_buf *out, const struct wire_acks *f)
{
    if (f->tags.n == 0 || f->tags.n % sizeof(uint64_t) != 0)
        return SL_EINVAL;
    uint8_t *p = frame_begin(out, WIRE_ACKS, f->tags.n);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)sl_wr_bytes(p, f->tags);
    return frame_end(out, f->tags.n);
}

int wire_encode_retry(struct sl_buf *out, const struct wire_retry *f)
{
    struct sl_bytes reason = cut(f->reason, WIRE_REASON_MAX);
    size_t body = 8 + 8 + 2 + reason.n;
    uint8_t *p = frame_begin(out, WIRE_RETRY, body);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u64le(p, f->tag);
    p = sl_wr_u64le(p, (uint64_t)f->delay_ms);
    (void)put_human(p, reason);
    return frame_end(out, body);
}

int wire_encode_dead(struct sl_buf *out, const struct wire_dead *f)
{
    struct sl_bytes reason = cut(f->reason, WIRE_REASON_MAX);
    size_t body = 8 + 2 + reason.n;
    uint8_t *p = frame_begin(out, WIRE_DEAD, body);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)put_human(sl_wr_u64le(p, f->tag), reason);
    return frame_end(out, body);
}

int wire_encode_progress(struct sl_buf *out, const struct wire_progress *f)
{
    uint8_t *p = frame_begin(out, WIRE_PROGRESS, 10);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)sl_wr_u16le(sl_wr_u64le(p, f->tag), f->per_mille);
    return frame_end(out, 10);
}

int wire_encode_extend(struct sl_buf *out, const struct wire_extend *f)
{
    uint8_t *p = frame_begin(out, WIRE_EXTEND, 12);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)sl_wr_u32le(sl_wr_u64le(p, f->tag), f->ms);
    return frame_end(out, 12);
}

int wire_encode_publish(struct sl_buf *out, const struct wire_publish *f)
{
    if (f->topic.n > UINT16_MAX || f->content_type.n > UINT16_MAX)
        return SL_EINVAL;
    if (f->headers.n >= WIRE_FRAME_MAX || f->payload.n >= WIRE_FRAME_MAX)
        return SL_ETOOBIG;
    size_t body =
        4 + 1 + 8 + 2 + f->topic.n + 2 + f->content_type.n + 2 + 4 + f->headers.n + f->payload.n;
    uint8_t *p = frame_begin(out, WIRE_PUBLISH, body);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u32le(p, f->ref);
    p = sl_wr_u8(p, f->flags);
    p = sl_wr_u64le(p, f->tag);
    p = put_text(p, f->topic);
    p = put_text(p, f->content_type);
    p = sl_wr_u16le(p, f->n_headers);
    p = sl_wr_u32le(p, (uint32_t)f->headers.n);
    p = sl_wr_bytes(p, f->headers);
    (void)sl_wr_bytes(p, f->payload);
    return frame_end(out, body);
}

int wire_encode_published(struct sl_buf *out, const struct wire_published_answer *f)
{
    struct sl_bytes detail = cut(f->detail, WIRE_REASON_MAX);
    size_t body = 4 + 1 + 2 + detail.n;
    uint8_t *p = frame_begin(out, WIRE_PUBLISHED, body);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)put_human(sl_wr_u8(sl_wr_u32le(p, f->ref), f->code), detail);
    return frame_end(out, body);
}

int wire_encode_error(struct sl_buf *out, const struct wire_error_text *f)
{
    struct sl_bytes text = cut(f->text, WIRE_REASON_MAX);
    size_t body = 2 + 2 + text.n;
    uint8_t *p = frame_begin(out, WIRE_ERROR, body);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)put_human(sl_wr_u16le(p, f->code), text);
    return frame_end(out, body);
}

int wire_encode_tag(struct sl_buf *out, enum wire_type type, uint64_t tag)
{
    SL_ASSERT(type == WIRE_RELEASE || type == WIRE_SOFT_LIMIT || type == WIRE_STALE);
    uint8_t *p = frame_begin(out, type, 8);
    if (p == NULL)
        return SL_ETOOBIG;
    (void)sl_wr_u64le(p, tag);
    return frame_end(out, 8);
}

int wire_encode_empty(struct sl_buf *out, enum wire_type type)
{
    SL_ASSERT(type == WIRE_DRAIN || type == WIRE_BYE);
    return frame_begin(out, type, 0) == NULL ? SL_ETOOBIG : frame_end(out, 0);
}

int wire_header_append(struct sl_buf *out, const struct message_header *h)
{
    if (h->name.n > UINT16_MAX || h->value.n > UINT16_MAX)
        return SL_EINVAL;
    size_t n = 4 + h->name.n + h->value.n;
    uint8_t *p = sl_buf_reserve(out, n);
    if (p == NULL)
        return SL_ETOOBIG;
    p = sl_wr_u16le(p, (uint16_t)h->name.n);
    p = sl_wr_u16le(p, (uint16_t)h->value.n);
    (void)sl_wr_bytes(sl_wr_bytes(p, h->name), h->value);
    sl_buf_commit(out, n);
    return SL_OK;
}
