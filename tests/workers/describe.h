/* A frame as one line, as the fourth column of frames.txt has it. */
#ifndef TESTS_WORKERS_DESCRIBE_H
#define TESTS_WORKERS_DESCRIBE_H

#include <inttypes.h>

#include "wire/wire.h"

#define TEXT(b) (int)(b).n, (const char *)(b).p

static inline void describe_field(struct sl_buf *out, const char *name, struct sl_bytes value)
{
    if (value.n > 0)
        SL_ASSERT(sl_buf_printf(out, " %s=%.*s", name, TEXT(value)) == SL_OK);
}

static inline int describe_deliver(struct sl_buf *out, const struct wire_deliver *f)
{
    struct message_parts m;
    message_view(f->record, &m);
    int err = sl_buf_printf(
        out, " tag=%" PRIu64 " attempt=%u max=%u flags=%u id=%016" PRIx64 " protocol=%s", f->tag,
        f->attempt, f->max_attempts, f->flags, m.id, message_protocol_name(m.protocol));
    describe_field(out, "topic", m.topic);
    describe_field(out, "client", m.client_id);
    describe_field(out, "user", m.user);
    describe_field(out, "type", m.content_type);
    if (m.correlation.n > 0 && err == SL_OK)
        err = sl_buf_printf(out, " correlation=%zu", m.correlation.n);
    describe_field(out, "reply_to", m.reply_to);
    describe_field(out, "job", m.job_id);
    describe_field(out, "dedup", m.dedup_id);
    struct message_header h;
    for (size_t pos = 0; err == SL_OK && message_header_next(f->record, &pos, &h);)
        err = sl_buf_printf(out, " %.*s=%.*s", TEXT(h.name), TEXT(h.value));
    return err == SL_OK ? sl_buf_printf(out, " payload=%.*s", TEXT(m.payload)) : err;
}

static inline int describe_publish(struct sl_buf *out, const struct wire_publish *f)
{
    int err = sl_buf_printf(out, " ref=%u flags=%u tag=%" PRIu64 " topic=%.*s type=%.*s", f->ref,
                            f->flags, f->tag, TEXT(f->topic), TEXT(f->content_type));
    struct message_header h;
    for (size_t pos = 0; err == SL_OK && wire_header_next(f->headers, &pos, &h);)
        err = sl_buf_printf(out, " %.*s=%.*s", TEXT(h.name), TEXT(h.value));
    return err == SL_OK ? sl_buf_printf(out, " payload=%.*s", TEXT(f->payload)) : err;
}

static inline int describe_welcome(struct sl_buf *out, const struct wire_welcome *f)
{
    return sl_buf_printf(
        out,
        " version=%u flags=%u prefetch=%u concurrency=%u time_limit=%u soft=%u max_message=%u"
        " max_result=%u queue=%.*s pool=%.*s node=%.*s",
        f->version, f->flags, f->prefetch, f->concurrency, f->time_limit_ms, f->soft_time_limit_ms,
        f->max_message, f->max_result, TEXT(f->queue), TEXT(f->pool), TEXT(f->node));
}

static inline int describe_hello(struct sl_buf *out, const struct wire_hello *f)
{
    int err = sl_buf_printf(out, " version=%u flags=%u prefetch=%u name=%.*s", f->version, f->flags,
                            f->prefetch, TEXT(f->name));
    describe_field(out, "token", f->token);
    return err;
}

static inline int describe_acks(struct sl_buf *out, const struct wire_acks *f)
{
    int err = sl_buf_printf(out, " tags=%" PRIu64, wire_acks_tag(f, 0));
    for (size_t i = 1; err == SL_OK && i < wire_acks_count(f); i++)
        err = sl_buf_printf(out, ",%" PRIu64, wire_acks_tag(f, i));
    return err;
}

static inline int describe_ack(struct sl_buf *out, const struct wire_ack *f)
{
    if (!f->has_result)
        return sl_buf_printf(out, " tag=%" PRIu64, f->tag);
    return sl_buf_printf(out, " tag=%" PRIu64 " type=%.*s result=%.*s", f->tag,
                         TEXT(f->content_type), TEXT(f->result));
}

static inline int describe_body(struct sl_buf *out, const struct wire_frame *f)
{
    switch (f->type) {
    case WIRE_HELLO:
        return describe_hello(out, &f->u.hello);
    case WIRE_ACK:
        return describe_ack(out, &f->u.ack);
    case WIRE_ACKS:
        return describe_acks(out, &f->u.acks);
    case WIRE_RETRY:
        return sl_buf_printf(out, " tag=%" PRIu64 " delay=%" PRId64 " reason=%.*s", f->u.retry.tag,
                             f->u.retry.delay_ms, TEXT(f->u.retry.reason));
    case WIRE_DEAD:
        return sl_buf_printf(out, " tag=%" PRIu64 " reason=%.*s", f->u.dead.tag,
                             TEXT(f->u.dead.reason));
    case WIRE_PROGRESS:
        return sl_buf_printf(out, " tag=%" PRIu64 " per_mille=%u", f->u.progress.tag,
                             f->u.progress.per_mille);
    case WIRE_EXTEND:
        return sl_buf_printf(out, " tag=%" PRIu64 " ms=%u", f->u.extend.tag, f->u.extend.ms);
    case WIRE_PUBLISH:
        return describe_publish(out, &f->u.publish);
    case WIRE_WELCOME:
        return describe_welcome(out, &f->u.welcome);
    case WIRE_DELIVER:
        return describe_deliver(out, &f->u.deliver);
    case WIRE_ERROR:
        return sl_buf_printf(out, " code=%u text=%.*s", f->u.error.code, TEXT(f->u.error.text));
    case WIRE_PUBLISHED:
        return sl_buf_printf(out, " ref=%u code=%u detail=%.*s", f->u.published.ref,
                             f->u.published.code, TEXT(f->u.published.detail));
    case WIRE_RELEASE:
    case WIRE_SOFT_LIMIT:
    case WIRE_STALE:
        return sl_buf_printf(out, " tag=%" PRIu64, f->u.tag);
    case WIRE_BYE:
    case WIRE_DRAIN:
    case WIRE_RESERVED_ACK_PUBLISH:
    case WIRE_RESERVED_DELIVER_BATCH:
        break;
    }
    return SL_OK;
}

/* Appends the line and a newline. */
static inline void describe(struct sl_buf *out, const struct wire_frame *f)
{
    int err = sl_buf_printf(out, "%s", wire_type_name(f->type));
    if (err == SL_OK)
        err = describe_body(out, f);
    if (err == SL_OK)
        err = sl_buf_append(out, "\n", 1);
    SL_ASSERT(err == SL_OK);
}

#endif
