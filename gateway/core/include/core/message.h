/* The message: one allocation, reference-counted, immutable once built, the
 * same for every protocol. Its `record` is the form that goes to the store and
 * to workers byte for byte, so that it is laid out once and copied once.
 *
 * Record, little-endian (documented for worker authors in workers/PROTOCOL.md):
 *
 *    0 u8  version (1)      1 u8 protocol      2 u8 qos        3 u8 priority
 *    4 u8  flags            5 u8 hops          6 u16 header count
 *    8 u64 id              16 u64 accepted_at  24 u64 deliver_at  32 u64 expires_at
 *   40 u16 topic           42 u16 client_id    44 u16 user        46 u16 content_type
 *   48 u16 correlation     50 u16 reply_to     52 u16 job_id      54 u16 dedup_id
 *   56 u32 headers         60 u32 payload      (lengths in bytes)
 *   64 the bytes of these ten, in this order; headers as
 *      (u16 name length, u16 value length, name, value) each
 *
 * Times are ms since 1970, 0: none. hops: how often it was moved on from dead letters. */
#ifndef CORE_MESSAGE_H
#define CORE_MESSAGE_H

#include "core/bytes.h"
#include "core/times.h"

#define MESSAGE_RECORD_FIXED 64u
#define MESSAGE_SHORT_FIELDS 8u
#define MESSAGE_PRIORITY_DEFAULT 4u

enum message_protocol { MESSAGE_MQTT3 = 1, MESSAGE_MQTT5, MESSAGE_STOMP, MESSAGE_HTTP, MESSAGE_WORKER, MESSAGE_SCHEDULE };

enum message_flag {
    MESSAGE_RETAIN = 1,
    MESSAGE_EXPIRES_RELATIVE = 2,  /* expires_at was given as a duration: compare with steady time */
    MESSAGE_DELIVER_RELATIVE = 4,  /* the same of deliver_at */
    MESSAGE_PAYLOAD_UTF8 = 8,      /* MQTT 5 Payload Format Indicator 1 */
    MESSAGE_PAYLOAD_BYTES = 16,    /* the same, 0: it was said, not left out */
    MESSAGE_EMPTY_CONTENT_TYPE = 32, /* was said too, as was an */
    MESSAGE_EMPTY_CORRELATION = 64,
    MESSAGE_TO_QUEUE = 128,        /* it was sent to the queue that its topic names; no route was asked */
};

struct message_header {
    struct sl_bytes name, value;
};

/* What a message is built from; all views are borrowed during the call. */
struct message_parts {
    uint64_t id;
    enum message_protocol protocol;
    uint8_t qos;
    uint8_t priority;
    uint8_t flags; /* enum message_flag */
    uint8_t hops;  /* how often it was moved on from dead letters */
    uint64_t accepted_at, deliver_at, expires_at;
    union {
        struct {
            struct sl_bytes topic, client_id, user, content_type, correlation, reply_to, job_id, dedup_id;
        };
        struct sl_bytes fields[MESSAGE_SHORT_FIELDS]; /* the same, in the record's order */
    };
    const struct message_header *headers;
    size_t n_headers;
    struct sl_bytes payload;
};

#define MESSAGE_NO_TICKET 0u

struct message {
    uint32_t refs;
    uint32_t record_bytes;
    /* The hub's bookkeeping, not part of the record. */
    uint32_t ticket;      /* who waits for it, or MESSAGE_NO_TICKET */
    uint32_t body_op;     /* place of its body in the batch `body_batch` */
    uint64_t body_batch;  /* sequence of the batch that stores the body; 0: none does */
    uint32_t copies;      /* sessions that it waits for */
    uint8_t record[];
};

/* Field lengths over 65,535 bytes (payload and headers: 4 GiB) are the
 * caller's error; protocols cap them. One reference is the caller's. */
struct message *message_new(const struct message_parts *parts) SL_CHECK;
/* Copies a record that was stored or sent by a worker. SL_EFORMAT when it is
 * not well-formed; *out is written only on success. */
SL_CHECK int message_from_record(struct sl_bytes record, struct message **out);
/* Checks a record's shape: lengths add up, header block is well-formed. */
bool message_record_valid(struct sl_bytes record);

static inline struct message *message_ref(struct message *m)
{
    SL_ASSERT(m->refs > 0 && m->refs < UINT32_MAX);
    m->refs++;
    return m;
}

/* Of what no reference is left to. */
void message_free(struct message *m);

static inline void message_unref(struct message *m)
{
    SL_ASSERT(m->refs > 0);
    if (--m->refs == 0)
        message_free(m);
}

/* Where the record's first fields stand; the table above is the specification. */
enum {
    MESSAGE_AT_PROTOCOL = 1,
    MESSAGE_AT_QOS = 2,
    MESSAGE_AT_PRIORITY = 3,
    MESSAGE_AT_FLAGS = 4,
    MESSAGE_AT_HOPS = 5,
    MESSAGE_AT_ID = 8,
    MESSAGE_AT_ACCEPTED = 16,
    MESSAGE_AT_DELIVER = 24,
    MESSAGE_AT_EXPIRES = 32,
    MESSAGE_AT_JOB_ID = 52, /* its length */
};

/* Gives the record its identity: ids are handed out when a message enters its
 * queues. Only before anybody else sees the message. */
static inline void message_set_id(struct message *m, uint64_t id, uint64_t accepted_at)
{
    (void)sl_wr_u64le(m->record + MESSAGE_AT_ID, id);
    (void)sl_wr_u64le(m->record + MESSAGE_AT_ACCEPTED, accepted_at);
}

static inline struct sl_bytes message_record(const struct message *m)
{
    return (struct sl_bytes){ m->record, m->record_bytes };
}

static inline uint64_t message_id(const struct message *m)
{
    return sl_ld_u64le(m->record + MESSAGE_AT_ID);
}

static inline uint8_t message_qos(const struct message *m)
{
    return m->record[MESSAGE_AT_QOS];
}

static inline uint8_t message_priority(const struct message *m)
{
    return m->record[MESSAGE_AT_PRIORITY];
}

static inline uint8_t message_flags(const struct message *m)
{
    return m->record[MESSAGE_AT_FLAGS];
}

static inline uint8_t message_hops(const struct message *m)
{
    return m->record[MESSAGE_AT_HOPS];
}

static inline uint64_t message_accepted_at(const struct message *m)
{
    return sl_ld_u64le(m->record + MESSAGE_AT_ACCEPTED);
}

static inline uint64_t message_expires_at(const struct message *m)
{
    return sl_ld_u64le(m->record + MESSAGE_AT_EXPIRES);
}

static inline uint64_t message_deliver_at(const struct message *m)
{
    return sl_ld_u64le(m->record + MESSAGE_AT_DELIVER);
}

struct sl_bytes message_payload(const struct message *m);
struct sl_bytes message_topic(const struct message *m);
/* All fields as views into the record; `headers` stays NULL (n_headers is
 * set): walk them with message_header_next. */
void message_view(struct sl_bytes record, struct message_parts *out);
/* *pos starts at 0; false at the end. */
bool message_header_next(struct sl_bytes record, size_t *pos, struct message_header *out);
/* The first of that name; SL_BYTES_NONE: there is none. */
struct sl_bytes message_header_value(struct sl_bytes record, const char *name);

/* "mqtt" and the like, for logs and workers. */
const char *message_protocol_name(enum message_protocol p);

/* Memory that one message takes while it is held. */
static inline size_t message_bytes(const struct message *m)
{
    return sizeof *m + m->record_bytes;
}

#endif
