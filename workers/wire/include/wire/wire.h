/* Frames between the gateway and one worker: bytes to struct and back.
 *
 * The same code serves both ends (gateway/pool and the C SDK). It allocates
 * nothing but the output buffer, keeps no state, and reads no clock. The bytes
 * are specified in workers/PROTOCOL.md; the short form, little-endian:
 *
 *     u32 length of what follows | u8 type | body
 *     text = u16 length + UTF-8 without NUL;  rest = all that is left of the frame
 *
 * A reader calls wire_decode in a loop over what one read gave, then drops what
 * it consumed; a writer appends many frames to one buffer and writes it once. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "core/bytes.h"
#include "core/message.h"

#define WIRE_VERSION        1u
#define WIRE_HEAD           5u     /* length and type */
#define WIRE_DELIVER_FIXED  17u    /* body of DELIVER before the record */
#define WIRE_NAME_MAX       255u   /* names of worker, queue, pool, node */
#define WIRE_REASON_MAX     1024u  /* reasons and error texts */
#define WIRE_TOKEN_MAX      1024u  /* the token of an external worker */
#define WIRE_ACKS_MAX       16384u /* tags that an SDK puts into one ACKS: fits every frame limit */
#define WIRE_TIED_MAX       (4u << 20) /* the PUBLISH frames tied to one delivery, and one more of them */
#define WIRE_FRAME_OVERHEAD (256u << 10) /* room for all but payload and result */
#define WIRE_FRAME_MAX      (1u << 30)   /* no side ever sends more */

/* Bit 6 tells the direction. Numbers marked reserved are a fault today. BYE: the worker
 * leaves of its own will, and what it has not answered goes back uncharged; without it
 * the end of the stream is a crash. DRAIN: nothing more will be delivered; the worker
 * finishes what it has, says BYE and closes. */
enum wire_type {
    WIRE_HELLO = 0x01,
    WIRE_ACK = 0x02,
    WIRE_RETRY = 0x03,
    WIRE_RELEASE = 0x04,
    WIRE_DEAD = 0x05,
    WIRE_PROGRESS = 0x06,
    WIRE_EXTEND = 0x07,
    WIRE_PUBLISH = 0x08,
    WIRE_BYE = 0x09,
    WIRE_ACKS = 0x0a,
    WIRE_RESERVED_ACK_PUBLISH = 0x0b,
    WIRE_WELCOME = 0x41,
    WIRE_DELIVER = 0x42,
    WIRE_SOFT_LIMIT = 0x43,
    WIRE_STALE = 0x44,
    WIRE_DRAIN = 0x45,
    WIRE_ERROR = 0x46,
    WIRE_PUBLISHED = 0x47,
    WIRE_RESERVED_DELIVER_BATCH = 0x48,
};

enum wire_side { WIRE_FROM_WORKER = 0, WIRE_FROM_GATEWAY = 0x40 };

enum wire_hello_flag {
    WIRE_WANTS_SOFT_LIMIT = 1,
    WIRE_GATHERS = 2, /* it may answer only when it has several: it is given all of its prefetch */
};

enum wire_welcome_flag {
    WIRE_BATCHES = 1,  /* the pool delivers in batches; see WIRE_MORE */
    WIRE_EXTERNAL = 2, /* not the gateway's process: time_limit_ms is the queue's ack_timeout,
                          after which the message is given to another; nobody is killed */
};

enum wire_deliver_flag {
    WIRE_REDELIVERED = 1, /* may have been delivered before */
    WIRE_LAST = 2,        /* the last allowed attempt: failing it means dead */
    WIRE_MORE = 4,        /* more of the same batch follow; never set without WIRE_BATCHES */
};

enum wire_publish_flag { WIRE_PUBLISH_RETAIN = 1 };

/* Why the gateway closes: ERROR.code. */
enum wire_error {
    WIRE_ERROR_VERSION = 1, /* no common version */
    WIRE_ERROR_FAULT = 2,   /* bytes that are not a frame, or not from this side */
    WIRE_ERROR_LIMIT = 3,   /* a frame, result or payload over its limit */
    WIRE_ERROR_STATE = 4,   /* a frame at the wrong time, such as before HELLO */
    WIRE_ERROR_DENIED = 5,  /* this process may not join */
    WIRE_ERROR_STORE = 6,   /* the gateway cannot store at present */
};

/* PUBLISHED.code. */
enum wire_published {
    WIRE_PUBLISHED_STORED = 0,
    WIRE_PUBLISHED_TOPIC = 1,     /* not a topic to publish to */
    WIRE_PUBLISHED_FULL = 2,      /* a queue refused it */
    WIRE_PUBLISHED_TOO_LARGE = 3, /* over max_message */
    WIRE_PUBLISHED_STALE = 4,     /* tied to a delivery that is no longer this worker's */
    WIRE_PUBLISHED_STORE = 5,     /* the gateway cannot store at present */
    WIRE_PUBLISHED_NOBODY =
        6, /* no queue, subscriber or retained slot takes it: no fault, nothing stored */
};

/* u8 version, u8 flags, u16 zero, u32 prefetch, text name; with a token also: text token */
struct wire_hello {
    uint8_t version;
    uint8_t flags;     /* enum wire_hello_flag */
    uint32_t prefetch; /* 0: as the pool is configured; more than that is cut to it */
    struct sl_bytes name;
    struct sl_bytes token; /* external workers only; empty: none */
};

/* u8 version, u8 flags, u16 zero, u32 each: prefetch, concurrency, time_limit_ms,
 * soft_time_limit_ms, max_message, max_result; text queue, text pool, text node */
struct wire_welcome {
    uint8_t version;
    uint8_t flags; /* enum wire_welcome_flag */
    uint32_t prefetch, concurrency;
    uint32_t time_limit_ms, soft_time_limit_ms; /* 0: none */
    uint32_t max_message, max_result;           /* bytes */
    struct sl_bytes queue, pool, node;
};

/* u64 tag, u32 attempt, u32 max_attempts, u8 flags, rest record (core/message.h) */
struct wire_deliver {
    uint64_t tag;          /* names this delivery on this connection; never 0 */
    uint32_t attempt;      /* from 1 */
    uint32_t max_attempts; /* 0: no limit */
    uint8_t flags;         /* enum wire_deliver_flag */
    struct sl_bytes record;
};

/* u64 tag; with a result also: text content_type, rest result */
struct wire_ack {
    uint64_t tag;
    bool has_result; /* an empty result is a result */
    struct sl_bytes content_type;
    struct sl_bytes result;
};

/* u64 tag, as often as the frame is long, at least once. Each is an ACK without a result; they
 * count in this order. */
struct wire_acks {
    struct sl_bytes tags; /* 8 bytes each; see wire_acks_tag */
};

#define WIRE_DELAY_BY_QUEUE (-1) /* the queue's own retry policy decides */

/* u64 tag, i64 delay_ms, text reason */
struct wire_retry {
    uint64_t tag;
    int64_t delay_ms; /* 0 and more, or WIRE_DELAY_BY_QUEUE */
    struct sl_bytes reason;
};

/* u64 tag, text reason */
struct wire_dead {
    uint64_t tag;
    struct sl_bytes reason;
};

/* u64 tag, u16 per_mille (0 to 1000) */
struct wire_progress {
    uint64_t tag;
    uint16_t per_mille;
};

/* u64 tag, u32 ms: the time limit is this far away from now on, and not 0 */
struct wire_extend {
    uint64_t tag;
    uint32_t ms;
};

/* u32 ref, u8 flags, u64 tag, text topic, text content_type, u16 header count,
 * u32 header bytes, the headers as in the record, rest payload */
struct wire_publish {
    uint32_t ref;  /* the worker's own number, answered by PUBLISHED; 0: no answer wanted */
    uint8_t flags; /* enum wire_publish_flag */
    uint64_t tag;  /* kept until the ack of this delivery and committed with it; 0: on its own */
    struct sl_bytes topic, content_type;
    uint16_t n_headers;
    struct sl_bytes headers; /* walk them with wire_header_next */
    struct sl_bytes payload;
};

/* u32 ref, u8 code, text detail */
struct wire_published_answer {
    uint32_t ref;
    uint8_t code; /* enum wire_published */
    struct sl_bytes detail;
};

/* u16 code, text text */
struct wire_error_text {
    uint16_t code; /* enum wire_error */
    struct sl_bytes text;
};

/* One frame; all views point into the decoded input. */
struct wire_frame {
    enum wire_type type;
    union {
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_deliver deliver;
        struct wire_ack ack;
        struct wire_acks acks;
        struct wire_retry retry;
        struct wire_dead dead;
        struct wire_progress progress;
        struct wire_extend extend;
        struct wire_publish publish;
        struct wire_published_answer published;
        struct wire_error_text error;
        uint64_t tag; /* RELEASE, SOFT_LIMIT, STALE */
    } u;
};

/* What a reader accepts, and why it refused. */
struct wire_reader {
    enum wire_side from; /* who sends what we read */
    uint32_t max_frame;  /* largest accepted length field; see wire_frame_limit */
    const char *fault; /* written on SL_EPEER and SL_ETOOBIG: a stable word, for logs and metrics */
};

/* The max_frame that fits these limits of payload and result. */
uint32_t wire_frame_limit(uint32_t max_message, uint32_t max_result);

/* Reads the first frame of `in`. Borrows: the views of *out live as long as `in`.
 *
 * SL_OK      *out and *consumed are written; else *out is undefined
 * SL_EMORE   the frame is not complete; what is there is fine so far
 * SL_EPEER   these bytes are no frame: reader->fault says why; close
 * SL_ETOOBIG the length passes max_frame (fault "frame-too-large"); known from the
 *            first four bytes; close
 *
 * Faults: frame-empty, frame-too-large, type-unknown, type-reserved, direction,
 * body-short, body-long, text-too-long, text-not-utf8, tag-zero, token-empty, delay-range,
 * progress-range, extend-zero, topic-empty, headers-malformed, record-malformed,
 * version-zero, attempt-zero, flags-unknown. */
SL_CHECK int wire_decode(struct sl_bytes in, struct wire_reader *reader, struct wire_frame *out,
                         size_t *consumed);

/* Length of the frame that starts `in`, head included; 0 while the length field is not
 * there. For sizing a read buffer; wire_decode has checked it against max_frame. */
size_t wire_frame_bytes(struct sl_bytes in);

/* How many tags an ACKS has, and the one with this index (below that number). */
static inline size_t wire_acks_count(const struct wire_acks *f)
{
    return f->tags.n / sizeof(uint64_t);
}

static inline uint64_t wire_acks_tag(const struct wire_acks *f, size_t i)
{
    struct sl_reader r =
        sl_reader_of(sl_bytes_of(f->tags.p + i * sizeof(uint64_t), sizeof(uint64_t)));
    return sl_rd_u64le(&r);
}

/* The headers of a PUBLISH; *pos starts at 0; false at the end. */
bool wire_header_next(struct sl_bytes headers, size_t *pos, struct message_header *out);
/* Appends one header in that form, for a wire_publish that is being built.
 * SL_EINVAL: name or value over 65,535 bytes; SL_ETOOBIG. */
SL_CHECK int wire_header_append(struct sl_buf *out, const struct message_header *h);

/* Encoders append one frame. SL_OK, or SL_ETOOBIG: it would pass the buffer's maximum or
 * WIRE_FRAME_MAX; the buffer is then unchanged. Names, reasons and error texts are cut to
 * their limit at a character's start; what is not UTF-8 in them becomes '?'. */
/* SL_EINVAL too: the token is over WIRE_TOKEN_MAX or not UTF-8; it is never cut or changed. */
SL_CHECK int wire_encode_hello(struct sl_buf *out, const struct wire_hello *f);
SL_CHECK int wire_encode_welcome(struct sl_buf *out, const struct wire_welcome *f);
/* SL_EINVAL too: content type over 65,535 bytes. */
SL_CHECK int wire_encode_ack(struct sl_buf *out, const struct wire_ack *f);
/* SL_EINVAL too: no tag, or a piece of one. */
SL_CHECK int wire_encode_acks(struct sl_buf *out, const struct wire_acks *f);
SL_CHECK int wire_encode_retry(struct sl_buf *out, const struct wire_retry *f);
SL_CHECK int wire_encode_dead(struct sl_buf *out, const struct wire_dead *f);
SL_CHECK int wire_encode_progress(struct sl_buf *out, const struct wire_progress *f);
SL_CHECK int wire_encode_extend(struct sl_buf *out, const struct wire_extend *f);
/* SL_EINVAL too: topic or content type over 65,535 bytes. */
SL_CHECK int wire_encode_publish(struct sl_buf *out, const struct wire_publish *f);
SL_CHECK int wire_encode_published(struct sl_buf *out, const struct wire_published_answer *f);
SL_CHECK int wire_encode_error(struct sl_buf *out, const struct wire_error_text *f);
/* RELEASE, SOFT_LIMIT, STALE. */
SL_CHECK int wire_encode_tag(struct sl_buf *out, enum wire_type type, uint64_t tag);
/* DRAIN, BYE. */
SL_CHECK int wire_encode_empty(struct sl_buf *out, enum wire_type type);

/* DELIVER is the hot one: one reservation, one copy of the record. */
SL_CHECK static inline int wire_encode_deliver(struct sl_buf *out, const struct wire_deliver *f)
{
    size_t body = WIRE_DELIVER_FIXED + f->record.n;
    if (SL_UNLIKELY(body >= WIRE_FRAME_MAX))
        return SL_ETOOBIG;
    uint8_t *p = sl_buf_reserve(out, WIRE_HEAD + body);
    if (SL_UNLIKELY(p == NULL))
        return SL_ETOOBIG;
    p = sl_wr_u32le(p, (uint32_t)body + 1);
    p = sl_wr_u8(p, WIRE_DELIVER);
    p = sl_wr_u64le(p, f->tag);
    p = sl_wr_u32le(p, f->attempt);
    p = sl_wr_u32le(p, f->max_attempts);
    p = sl_wr_u8(p, f->flags);
    memcpy(p, f->record.p, f->record.n);
    sl_buf_commit(out, WIRE_HEAD + body);
    return SL_OK;
}

/* "DELIVER" and the like; "?" for a number that is no type. Never NULL. */
const char *wire_type_name(enum wire_type type);

#endif
