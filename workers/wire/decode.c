/* Bytes to frame. wire_decode checks length and type, a body reader per type
 * takes the fields, and what the fields left over or lacked is asked once at
 * the end. The first fault of a body sticks. */
#include "core/utf8.h"
#include "wire/wire.h"

struct body {
    struct sl_reader r;
    const char *fault;
};

typedef void body_reader(struct body *b, struct wire_frame *out);

static void fault_if(struct body *b, bool wrong, const char *word)
{
    if (SL_UNLIKELY(wrong) && b->fault == NULL && !b->r.bad)
        b->fault = word;
}

static struct sl_bytes read_text(struct body *b, size_t max)
{
    struct sl_bytes text = sl_rd_bytes(&b->r, sl_rd_u16le(&b->r));
    fault_if(b, text.n > max, "text-too-long");
    fault_if(b, text.n > 0 && !sl_utf8_valid(text), "text-not-utf8");
    return text;
}

static struct sl_bytes read_rest(struct body *b)
{
    return sl_rd_bytes(&b->r, sl_reader_left(&b->r));
}

static uint64_t read_tag(struct body *b)
{
    uint64_t tag = sl_rd_u64le(&b->r);
    fault_if(b, tag == 0, "tag-zero");
    return tag;
}

static uint8_t read_flags(struct body *b, unsigned known)
{
    uint8_t flags = sl_rd_u8(&b->r);
    fault_if(b, (flags & ~known) != 0, "flags-unknown");
    return flags;
}

static uint8_t read_version(struct body *b)
{
    uint8_t version = sl_rd_u8(&b->r);
    fault_if(b, version == 0, "version-zero");
    return version;
}

/* Flags of HELLO and WELCOME that this version does not know are ignored: both
 * are read before the two sides know each other's version. */
static void read_hello(struct body *b, struct wire_frame *out)
{
    struct wire_hello *f = &out->u.hello;
    f->version = read_version(b);
    f->flags = sl_rd_u8(&b->r);
    (void)sl_rd_u16le(&b->r);
    f->prefetch = sl_rd_u32le(&b->r);
    f->name = read_text(b, WIRE_NAME_MAX);
    f->token = SL_BYTES_NONE;
    if (sl_reader_left(&b->r) == 0)
        return;
    f->token = read_text(b, WIRE_TOKEN_MAX);
    fault_if(b, f->token.n == 0, "token-empty");
}

static void read_welcome(struct body *b, struct wire_frame *out)
{
    struct wire_welcome *f = &out->u.welcome;
    f->version = read_version(b);
    f->flags = sl_rd_u8(&b->r);
    (void)sl_rd_u16le(&b->r);
    f->prefetch = sl_rd_u32le(&b->r);
    f->concurrency = sl_rd_u32le(&b->r);
    f->time_limit_ms = sl_rd_u32le(&b->r);
    f->soft_time_limit_ms = sl_rd_u32le(&b->r);
    f->max_message = sl_rd_u32le(&b->r);
    f->max_result = sl_rd_u32le(&b->r);
    f->queue = read_text(b, WIRE_NAME_MAX);
    f->pool = read_text(b, WIRE_NAME_MAX);
    f->node = read_text(b, WIRE_NAME_MAX);
}

static void read_deliver(struct body *b, struct wire_frame *out)
{
    struct wire_deliver *f = &out->u.deliver;
    f->tag = read_tag(b);
    f->attempt = sl_rd_u32le(&b->r);
    fault_if(b, f->attempt == 0, "attempt-zero");
    f->max_attempts = sl_rd_u32le(&b->r);
    f->flags = read_flags(b, WIRE_REDELIVERED | WIRE_LAST | WIRE_MORE);
    f->record = read_rest(b);
    if (!b->r.bad)
        fault_if(b, !message_record_valid(f->record), "record-malformed");
}

static void read_ack(struct body *b, struct wire_frame *out)
{
    struct wire_ack *f = &out->u.ack;
    f->tag = read_tag(b);
    f->has_result = sl_reader_left(&b->r) > 0;
    f->content_type = SL_BYTES_NONE;
    f->result = SL_BYTES_NONE;
    if (!f->has_result)
        return;
    f->content_type = read_text(b, UINT16_MAX);
    f->result = read_rest(b);
}

/* At least one tag, and whole ones: a rest of one to seven bytes makes the last one short. */
static void read_acks(struct body *b, struct wire_frame *out)
{
    const uint8_t *first = b->r.p;
    do
        (void)read_tag(b);
    while (!b->r.bad && sl_reader_left(&b->r) > 0);
    out->u.acks.tags = sl_bytes_of(first, (size_t)(b->r.p - first));
}

static void read_retry(struct body *b, struct wire_frame *out)
{
    struct wire_retry *f = &out->u.retry;
    f->tag = read_tag(b);
    f->delay_ms = (int64_t)sl_rd_u64le(&b->r);
    fault_if(b, f->delay_ms < WIRE_DELAY_BY_QUEUE, "delay-range");
    f->reason = read_text(b, WIRE_REASON_MAX);
}

static void read_dead(struct body *b, struct wire_frame *out)
{
    struct wire_dead *f = &out->u.dead;
    f->tag = read_tag(b);
    f->reason = read_text(b, WIRE_REASON_MAX);
}

static void read_progress(struct body *b, struct wire_frame *out)
{
    struct wire_progress *f = &out->u.progress;
    f->tag = read_tag(b);
    f->per_mille = sl_rd_u16le(&b->r);
    fault_if(b, f->per_mille > 1000, "progress-range");
}

static void read_extend(struct body *b, struct wire_frame *out)
{
    struct wire_extend *f = &out->u.extend;
    f->tag = read_tag(b);
    f->ms = sl_rd_u32le(&b->r);
    fault_if(b, f->ms == 0, "extend-zero");
}

/* The hub takes headers over as they are, so each must be whole, and text. */
static bool headers_valid(struct sl_bytes block, unsigned count)
{
    struct sl_reader r = sl_reader_of(block);
    for (unsigned i = 0; i < count; i++) {
        size_t name_n = sl_rd_u16le(&r), value_n = sl_rd_u16le(&r);
        struct sl_bytes name = sl_rd_bytes(&r, name_n), value = sl_rd_bytes(&r, value_n);
        if (r.bad || name.n == 0 || !sl_utf8_valid(name))
            return false;
        if (value.n > 0 && !sl_utf8_valid(value))
            return false;
    }
    return sl_reader_left(&r) == 0;
}

static void read_publish(struct body *b, struct wire_frame *out)
{
    struct wire_publish *f = &out->u.publish;
    f->ref = sl_rd_u32le(&b->r);
    f->flags = read_flags(b, WIRE_PUBLISH_RETAIN);
    f->tag = sl_rd_u64le(&b->r);
    f->topic = read_text(b, UINT16_MAX);
    fault_if(b, f->topic.n == 0, "topic-empty");
    f->content_type = read_text(b, UINT16_MAX);
    f->n_headers = sl_rd_u16le(&b->r);
    f->headers = sl_rd_bytes(&b->r, sl_rd_u32le(&b->r));
    if (!b->r.bad)
        fault_if(b, !headers_valid(f->headers, f->n_headers), "headers-malformed");
    f->payload = read_rest(b);
}

static void read_published(struct body *b, struct wire_frame *out)
{
    struct wire_published_answer *f = &out->u.published;
    f->ref = sl_rd_u32le(&b->r);
    f->code = sl_rd_u8(&b->r);
    f->detail = read_text(b, WIRE_REASON_MAX);
}

static void read_error(struct body *b, struct wire_frame *out)
{
    struct wire_error_text *f = &out->u.error;
    f->code = sl_rd_u16le(&b->r);
    f->text = read_text(b, WIRE_REASON_MAX);
}

static void read_tag_only(struct body *b, struct wire_frame *out)
{
    out->u.tag = read_tag(b);
}

static void read_nothing(struct body *b, struct wire_frame *out)
{
    (void)b;
    (void)out;
}

struct type_row {
    const char *name;
    body_reader *read; /* NULL with a name: reserved */
};

static const struct type_row types[] = {
    [WIRE_HELLO] = { "HELLO", read_hello },
    [WIRE_ACK] = { "ACK", read_ack },
    [WIRE_RETRY] = { "RETRY", read_retry },
    [WIRE_RELEASE] = { "RELEASE", read_tag_only },
    [WIRE_DEAD] = { "DEAD", read_dead },
    [WIRE_PROGRESS] = { "PROGRESS", read_progress },
    [WIRE_EXTEND] = { "EXTEND", read_extend },
    [WIRE_PUBLISH] = { "PUBLISH", read_publish },
    [WIRE_BYE] = { "BYE", read_nothing },
    [WIRE_ACKS] = { "ACKS", read_acks },
    [WIRE_RESERVED_ACK_PUBLISH] = { "ACK_PUBLISH", NULL },
    [WIRE_WELCOME] = { "WELCOME", read_welcome },
    [WIRE_DELIVER] = { "DELIVER", read_deliver },
    [WIRE_SOFT_LIMIT] = { "SOFT_LIMIT", read_tag_only },
    [WIRE_STALE] = { "STALE", read_tag_only },
    [WIRE_DRAIN] = { "DRAIN", read_nothing },
    [WIRE_ERROR] = { "ERROR", read_error },
    [WIRE_PUBLISHED] = { "PUBLISHED", read_published },
    [WIRE_RESERVED_DELIVER_BATCH] = { "DELIVER_BATCH", NULL },
};

static const char *type_fault(uint8_t type, enum wire_side from)
{
    if (type >= SL_COUNT(types) || types[type].name == NULL)
        return "type-unknown";
    if (types[type].read == NULL)
        return "type-reserved";
    return (type & WIRE_FROM_GATEWAY) == from ? NULL : "direction";
}

/* The type's fault is known as soon as its byte is there, before the body. */
static const char *head_fault(struct sl_bytes in, const struct wire_reader *reader, uint32_t n)
{
    if (n == 0)
        return "frame-empty";
    if (n > reader->max_frame)
        return "frame-too-large";
    return in.n < WIRE_HEAD ? NULL : type_fault(in.p[4], reader->from);
}

static int refuse(struct wire_reader *reader, const char *fault, int err)
{
    reader->fault = fault;
    return err;
}

int wire_decode(struct sl_bytes in, struct wire_reader *reader, struct wire_frame *out,
                size_t *consumed)
{
    if (in.n < 4)
        return SL_EMORE;
    size_t whole = wire_frame_bytes(in);
    uint32_t n = (uint32_t)(whole - 4);
    const char *fault = head_fault(in, reader, n);
    if (SL_UNLIKELY(fault != NULL))
        return refuse(reader, fault, n > reader->max_frame ? SL_ETOOBIG : SL_EPEER);
    if (in.n < whole)
        return SL_EMORE;
    struct body b = { sl_reader_of(sl_bytes_of(in.p + WIRE_HEAD, n - 1u)), NULL };
    out->type = (enum wire_type)in.p[4];
    types[in.p[4]].read(&b, out);
    if (b.fault == NULL && (b.r.bad || sl_reader_left(&b.r) > 0))
        b.fault = b.r.bad ? "body-short" : "body-long";
    if (SL_UNLIKELY(b.fault != NULL))
        return refuse(reader, b.fault, SL_EPEER);
    *consumed = whole;
    return SL_OK;
}

size_t wire_frame_bytes(struct sl_bytes in)
{
    if (in.n < 4)
        return 0;
    struct sl_reader r = sl_reader_of(in);
    return (size_t)sl_rd_u32le(&r) + 4;
}

uint32_t wire_frame_limit(uint32_t max_message, uint32_t max_result)
{
    uint32_t largest = max_message > max_result ? max_message : max_result;
    if (largest > WIRE_FRAME_MAX - WIRE_FRAME_OVERHEAD)
        return WIRE_FRAME_MAX;
    return largest + WIRE_FRAME_OVERHEAD;
}

bool wire_header_next(struct sl_bytes headers, size_t *pos, struct message_header *out)
{
    if (*pos >= headers.n)
        return false;
    struct sl_reader r = sl_reader_of(sl_bytes_of(headers.p + *pos, headers.n - *pos));
    size_t name_n = sl_rd_u16le(&r), value_n = sl_rd_u16le(&r);
    struct message_header h = { .name = sl_rd_bytes(&r, name_n) };
    h.value = sl_rd_bytes(&r, value_n);
    if (r.bad)
        return false;
    *out = h;
    *pos = headers.n - sl_reader_left(&r);
    return true;
}

const char *wire_type_name(enum wire_type type)
{
    size_t i = (size_t)type;
    return i < SL_COUNT(types) && types[i].name != NULL ? types[i].name : "?";
}
