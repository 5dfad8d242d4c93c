#include "core/message.h"

#include "core/block.h"

/* Places in the record, beside those in message.h. */
enum {
    AT_VERSION = 0,
    AT_PROTOCOL = 1,
    AT_N_HEADERS = 6,
    AT_LENGTHS = 40, /* eight u16 */
    AT_HEADERS = 56,
    AT_PAYLOAD = 60,
};

#define RECORD_VERSION 1u
#define HEADER_FIXED   4u

/* Lengths are summed in 64 bits, where they cannot overflow. */
static uint64_t short_bytes(const uint8_t *record)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < MESSAGE_SHORT_FIELDS; i++)
        sum += sl_ld_u16le(record + AT_LENGTHS + 2 * i);
    return sum;
}

static uint64_t header_block_bytes(const struct message_parts *parts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < parts->n_headers; i++) {
        const struct message_header *h = &parts->headers[i];
        SL_ASSERT(h->name.n <= UINT16_MAX && h->value.n <= UINT16_MAX);
        sum += HEADER_FIXED + h->name.n + h->value.n;
    }
    return sum;
}

static uint8_t *write_fixed(uint8_t *p, const struct message_parts *parts)
{
    p = sl_wr_u8(p, RECORD_VERSION);
    p = sl_wr_u8(p, (uint8_t)parts->protocol);
    p = sl_wr_u8(p, parts->qos);
    p = sl_wr_u8(p, parts->priority);
    p = sl_wr_u8(p, parts->flags);
    p = sl_wr_u8(p, parts->hops);
    p = sl_wr_u16le(p, (uint16_t)parts->n_headers);
    p = sl_wr_u64le(p, parts->id);
    p = sl_wr_u64le(p, parts->accepted_at);
    p = sl_wr_u64le(p, parts->deliver_at);
    return sl_wr_u64le(p, parts->expires_at);
}

static uint8_t *write_headers(uint8_t *p, const struct message_parts *parts)
{
    for (size_t i = 0; i < parts->n_headers; i++) {
        const struct message_header *h = &parts->headers[i];
        p = sl_wr_u16le(p, (uint16_t)h->name.n);
        p = sl_wr_u16le(p, (uint16_t)h->value.n);
        p = sl_wr_bytes(p, h->name);
        p = sl_wr_bytes(p, h->value);
    }
    return p;
}

static struct message *message_alloc(size_t record_bytes)
{
    struct message *m = sl_block_alloc(sizeof *m + record_bytes);
    *m = (struct message){.refs = 1, .record_bytes = (uint32_t)record_bytes};
    return m;
}

/* Bytes of the record before the payload. */
static uint64_t bytes_before_payload(const struct message_parts *parts, uint64_t headers)
{
    size_t all = 0;
    for (size_t i = 0; i < MESSAGE_SHORT_FIELDS; i++) {
        SL_ASSERT(parts->fields[i].n <= UINT16_MAX);
        all += parts->fields[i].n;
    }
    SL_ASSERT(parts->n_headers <= UINT16_MAX && parts->qos <= 2 && parts->priority <= 9);
    return MESSAGE_RECORD_FIXED + headers + all;
}

struct message *message_new(const struct message_parts *parts)
{
    uint64_t headers = parts->n_headers > 0 ? header_block_bytes(parts) : 0;
    uint64_t total = bytes_before_payload(parts, headers);
    SL_ASSERT(parts->payload.n <= UINT32_MAX && total + parts->payload.n <= UINT32_MAX);

    struct message *m = message_alloc((size_t)total + parts->payload.n);
    uint8_t *length = write_fixed(m->record, parts);
    uint8_t *p = m->record + MESSAGE_RECORD_FIXED;
    for (size_t i = 0; i < MESSAGE_SHORT_FIELDS; i++) {
        length = sl_wr_u16le(length, (uint16_t)parts->fields[i].n);
        p = sl_wr_bytes(p, parts->fields[i]);
    }
    length = sl_wr_u32le(length, (uint32_t)headers);
    (void)sl_wr_u32le(length, (uint32_t)parts->payload.n);
    p = write_headers(p, parts);
    (void)sl_wr_bytes(p, parts->payload);
    return m;
}

int message_from_record(struct sl_bytes record, struct message **out)
{
    if (!message_record_valid(record))
        return SL_EFORMAT;
    struct message *m = message_alloc(record.n);
    memcpy(m->record, record.p, record.n);
    *out = m;
    return SL_OK;
}

static bool header_block_valid(struct sl_bytes block, size_t n_headers)
{
    struct sl_reader r = sl_reader_of(block);
    for (size_t i = 0; i < n_headers && !r.bad; i++) {
        size_t name = sl_rd_u16le(&r);
        size_t value = sl_rd_u16le(&r);
        (void)sl_rd_bytes(&r, name + value);
    }
    return !r.bad && sl_reader_left(&r) == 0;
}

bool message_record_valid(struct sl_bytes record)
{
    if (record.n < MESSAGE_RECORD_FIXED || record.n > UINT32_MAX)
        return false;
    const uint8_t *p = record.p;
    if (p[AT_VERSION] != RECORD_VERSION || p[MESSAGE_AT_QOS] > 2 || p[MESSAGE_AT_PRIORITY] > 9)
        return false;
    uint64_t headers_at = MESSAGE_RECORD_FIXED + short_bytes(p);
    uint64_t headers = sl_ld_u32le(p + AT_HEADERS);
    if (headers_at + headers + sl_ld_u32le(p + AT_PAYLOAD) != record.n)
        return false;
    return header_block_valid(sl_bytes_of(p + headers_at, (size_t)headers),
                              sl_ld_u16le(p + AT_N_HEADERS));
}

void message_free(struct message *m)
{
    sl_block_free(m, message_bytes(m));
}

struct sl_bytes message_payload(const struct message *m)
{
    size_t n = sl_ld_u32le(m->record + AT_PAYLOAD);
    return sl_bytes_of(m->record + m->record_bytes - n, n);
}

struct sl_bytes message_topic(const struct message *m)
{
    return sl_bytes_of(m->record + MESSAGE_RECORD_FIXED, sl_ld_u16le(m->record + AT_LENGTHS));
}

void message_view(struct sl_bytes record, struct message_parts *out)
{
    const uint8_t *p = record.p;
    *out = (struct message_parts){
        .id = sl_ld_u64le(p + MESSAGE_AT_ID),
        .protocol = (enum message_protocol)p[AT_PROTOCOL],
        .qos = p[MESSAGE_AT_QOS],
        .priority = p[MESSAGE_AT_PRIORITY],
        .flags = p[MESSAGE_AT_FLAGS],
        .hops = p[MESSAGE_AT_HOPS],
        .accepted_at = sl_ld_u64le(p + MESSAGE_AT_ACCEPTED),
        .deliver_at = sl_ld_u64le(p + MESSAGE_AT_DELIVER),
        .expires_at = sl_ld_u64le(p + MESSAGE_AT_EXPIRES),
        .n_headers = sl_ld_u16le(p + AT_N_HEADERS),
    };
    const uint8_t *at = p + MESSAGE_RECORD_FIXED;
    for (size_t i = 0; i < MESSAGE_SHORT_FIELDS; i++) {
        out->fields[i] = sl_bytes_of(at, sl_ld_u16le(p + AT_LENGTHS + 2 * i));
        at += out->fields[i].n;
    }
    at += sl_ld_u32le(p + AT_HEADERS);
    out->payload = sl_bytes_of(at, sl_ld_u32le(p + AT_PAYLOAD));
}

bool message_header_next(struct sl_bytes record, size_t *pos, struct message_header *out)
{
    size_t headers = sl_ld_u32le(record.p + AT_HEADERS);
    if (*pos >= headers)
        return false;
    size_t start = record.n - sl_ld_u32le(record.p + AT_PAYLOAD) - headers;
    const uint8_t *p = record.p + start + *pos;
    size_t name = sl_ld_u16le(p);
    size_t value = sl_ld_u16le(p + 2);
    out->name = sl_bytes_of(p + HEADER_FIXED, name);
    out->value = sl_bytes_of(p + HEADER_FIXED + name, value);
    *pos += HEADER_FIXED + name + value;
    return true;
}

struct sl_bytes message_header_value(struct sl_bytes record, const char *name)
{
    struct message_header h;
    for (size_t pos = 0; message_header_next(record, &pos, &h);) {
        if (sl_bytes_is(h.name, name))
            return h.value;
    }
    return SL_BYTES_NONE;
}

const char *message_protocol_name(enum message_protocol p)
{
    switch (p) {
    case MESSAGE_MQTT3:
    case MESSAGE_MQTT5:
        return "mqtt";
    case MESSAGE_STOMP:
        return "stomp";
    case MESSAGE_HTTP:
        return "http";
    case MESSAGE_WORKER:
        return "worker";
    case MESSAGE_SCHEDULE:
        return "schedule";
    default:
        return "unknown"; /* a record of a later version */
    }
}
