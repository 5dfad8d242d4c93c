/* MESSAGE: what is one receiver's own goes first, then what all receivers of
 * the same version share, which for a fan-out is encoded once and kept.
 *
 *   MESSAGE
 *   subscription:7                 its own
 *   message-id:0000010000000001    (1.0 and 1.1: with -CONSUMER-DELIVERY)
 *   ack:3-17
 *   attempt:1
 *   redelivered:false
 *   destination:/topic/a/b         shared, from here
 *   …
 *
 * A message of a queue has one receiver: it is written to its output at once. */
#include "session.h"

#include "core/alloc.h"
#include "core/utf8.h"
#include "stomp/packets.h"

/* A longer payload is copied from the message into each output. */
#define KEPT_PAYLOAD_BYTES 1024u
#define KEPT_PACKET_BYTES  65536u
#define PACKETS            6u
/* Room for names and numbers of all header lines that are ours. */
#define OWN_BYTES    192u
#define SHARED_BYTES 256u

/* What the shared part depends on, beside the message. */
struct form {
    uint64_t expires_ms; /* 0: never */
    uint8_t version;
    bool retain;
};

struct packet {
    struct form form;
    size_t payload; /* bytes of the payload that follow `bytes`, with the NUL */
    struct sl_buf bytes;
};

/* A message is known by its id, which never repeats; one that has none (0) is
 * encoded for each receiver. */
struct proto_packets {
    uint64_t id, encoded;
    uint32_t n, next; /* packets in use; the one that is replaced next */
    struct packet packets[PACKETS];
};

struct proto_packets *stomp_packets_new(void)
{
    return SL_NEW(struct proto_packets);
}

void stomp_packets_free(struct proto_packets *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < PACKETS; i++)
        sl_buf_fini(&p->packets[i].bytes);
    sl_free(p);
}

uint64_t stomp_packets_encoded(const struct proto_packets *p)
{
    return p->encoded;
}

/* ---- writing into memory that is large enough ---- */

#define WR_TEXT(p, text) wr_text((p), (text), sizeof(text) - 1)

static inline uint8_t *wr_text(uint8_t *p, const char *text, size_t n)
{
    memcpy(p, text, n);
    return p + n;
}

/* Of a name that has the length of `text`. */
#define IS(name, text) (memcmp((name).p, (text), sizeof(text) - 1) == 0)

static uint8_t *wr_u64(uint8_t *p, uint64_t v)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return sl_wr_bytes(p, sl_bytes_of(digits + at, sizeof digits - at));
}

static uint8_t *wr_hex64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 16; i++)
        p[i] = (uint8_t) "0123456789abcdef"[v >> (60 - 4 * i) & 15u];
    return p + 16;
}

/* ---- the shared part ---- */

struct job {
    struct form form;
    struct message_parts m;
    struct sl_bytes record;
    bool foreign; /* its texts were not checked by MQTT or STOMP */
};

/* Names of header lines that are the frame's own: a publisher's header of such
 * a name could pass for them. */
static bool is_own(struct sl_bytes name)
{
    switch (name.n) {
    case 3:
        return IS(name, "ack");
    case 6:
        return IS(name, "retain");
    case 7:
        return IS(name, "attempt") || IS(name, "receipt");
    case 8:
        return IS(name, "reply-to");
    case 10:
        return IS(name, "message-id");
    case 11:
        return IS(name, "destination") || IS(name, "redelivered") || IS(name, "transaction");
    case 12:
        return IS(name, "subscription");
    case 14:
        return IS(name, "content-length");
    default:
        return false;
    }
}

/* The same where the frame has the line, and else the publisher's to use. */
static bool is_taken(const struct job *job, struct sl_bytes name)
{
    switch (name.n) {
    case 7:
        return job->form.expires_ms > 0 && IS(name, "expires");
    case 12:
        return job->m.content_type.n > 0 && IS(name, "content-type");
    case 14:
        return job->m.correlation.n > 0 && IS(name, "correlation-id");
    default:
        return false;
    }
}

/* Many clients trim names: with a blank or a line end beside it, a name could
 * still pass for another. */
static struct sl_bytes trimmed(struct sl_bytes name)
{
    while (name.n > 0 && name.p[0] <= ' ')
        name = sl_bytes_of(name.p + 1, name.n - 1);
    while (name.n > 0 && name.p[name.n - 1] <= ' ')
        name.n--;
    return name;
}

/* 1.0 has no way to write a colon in a name: what stands before it would be
 * taken for the name. */
static bool can_say(const struct job *job, const struct message_header *h)
{
    struct sl_bytes name = trimmed(h->name);
    if (name.n == 0 || is_own(name) || is_taken(job, name))
        return false;
    if (job->form.version == STOMP_V10 && memchr(h->name.p, ':', h->name.n) != NULL)
        return false;
    return !job->foreign || (sl_utf8_valid(h->name) && sl_utf8_valid(h->value));
}

static uint8_t *wr_headers(uint8_t *p, const struct job *job)
{
    enum stomp_version v = (enum stomp_version)job->form.version;
    struct message_header h;
    size_t pos = 0;
    while (message_header_next(job->record, &pos, &h)) {
        if (!can_say(job, &h))
            continue;
        p = stomp_wr_escaped(p, v, h.name);
        *p++ = ':';
        p = stomp_wr_escaped(p, v, h.value);
        *p++ = '\n';
    }
    return p;
}

static uint8_t *wr_destination(uint8_t *p, const struct job *job)
{
    enum stomp_version v = (enum stomp_version)job->form.version;
    p = WR_TEXT(p, "destination:");
    p = (job->m.flags & MESSAGE_TO_QUEUE) != 0 ? stomp_wr_queue(p, v, job->m.topic)
                                               : stomp_wr_topic(p, v, job->m.topic);
    return sl_wr_u8(p, '\n');
}

static uint8_t *wr_reply(uint8_t *p, const struct job *job)
{
    enum stomp_version v = (enum stomp_version)job->form.version;
    if (job->m.correlation.n > 0) {
        p = stomp_wr_escaped(WR_TEXT(p, "correlation-id:"), v, job->m.correlation);
        *p++ = '\n';
    }
    if (job->m.reply_to.n > 0) {
        p = stomp_wr_reply_to(WR_TEXT(p, "reply-to:"), v, job->m.reply_to);
        *p++ = '\n';
    }
    return p;
}

/* All but payload and NUL. */
static uint8_t *wr_shared(uint8_t *p, const struct job *job)
{
    p = wr_destination(p, job);
    if (job->m.content_type.n > 0) {
        p = stomp_wr_escaped(WR_TEXT(p, "content-type:"), (enum stomp_version)job->form.version,
                             job->m.content_type);
        *p++ = '\n';
    }
    p = sl_wr_u8(wr_u64(WR_TEXT(p, "content-length:"), job->m.payload.n), '\n');
    p = wr_reply(p, job);
    if (job->form.expires_ms > 0)
        p = sl_wr_u8(wr_u64(WR_TEXT(p, "expires:"), job->form.expires_ms), '\n');
    if (job->form.retain)
        p = WR_TEXT(p, "retain:true\n");
    if (job->m.n_headers > 0)
        p = wr_headers(p, job);
    return sl_wr_u8(p, '\n');
}

/* Escaped, no byte takes more than two; a dot of a topic, or a percent sign, takes three. The
 * lengths in the record make room for colons and line feeds. */
static size_t shared_bound(const struct job *job)
{
    return SHARED_BYTES + 3 * (job->record.n - job->m.payload.n);
}

static struct form form_of(const struct stomp_session *s, const struct proto_delivery *d)
{
    return (struct form){ d->has_expiry ? d->expires_wall_ms : 0, s->version, d->retain };
}

static bool form_is(const struct form *a, const struct form *b)
{
    return a->expires_ms == b->expires_ms && a->version == b->version && a->retain == b->retain;
}

static void job_of(struct job *job, const struct stomp_session *s, const struct proto_delivery *d)
{
    job->form = form_of(s, d);
    job->record = message_record(d->msg);
    message_view(job->record, &job->m);
    enum message_protocol from = job->m.protocol;
    job->foreign = from != MESSAGE_STOMP && from != MESSAGE_MQTT3 && from != MESSAGE_MQTT5;
    if (job->foreign && !sl_utf8_valid(job->m.content_type))
        job->m.content_type = SL_BYTES_NONE;
    if (job->foreign && !sl_utf8_valid(job->m.reply_to))
        job->m.reply_to = SL_BYTES_NONE;
    /* MQTT's is binary data, a STOMP header is text. */
    if (from != MESSAGE_STOMP && !sl_utf8_valid(job->m.correlation))
        job->m.correlation = SL_BYTES_NONE;
}

/* ---- packets of a fan-out ---- */

static struct packet *place(struct proto_packets *p)
{
    struct packet *packet = &p->packets[p->next];
    p->next = (p->next + 1) % PACKETS;
    if (p->n < PACKETS)
        p->n++;
    if (packet->bytes.cap > KEPT_PACKET_BYTES)
        sl_buf_fini(&packet->bytes);
    sl_buf_clear(&packet->bytes);
    return packet;
}

SL_NOINLINE static const struct packet *
packet_add(struct proto_packets *p, const struct stomp_session *s, const struct proto_delivery *d)
{
    struct job job;
    job_of(&job, s, d);
    struct packet *packet = place(p);
    packet->form = job.form;
    bool kept = job.m.payload.n <= KEPT_PAYLOAD_BYTES;
    packet->payload = kept ? 0 : job.m.payload.n + 1;
    uint8_t *from =
        sl_buf_reserve(&packet->bytes, shared_bound(&job) + (kept ? job.m.payload.n + 1 : 0));
    SL_ASSERT(from != NULL);
    uint8_t *to = wr_shared(from, &job);
    if (kept)
        to = sl_wr_u8(sl_wr_bytes(to, job.m.payload), 0);
    sl_buf_commit(&packet->bytes, (size_t)(to - from));
    p->encoded++;
    return packet;
}

static const struct packet *packet_of(struct proto_packets *p, const struct stomp_session *s,
                                      const struct proto_delivery *d)
{
    uint64_t id = message_id(d->msg);
    if (p->id != id || id == 0) {
        p->id = id;
        p->n = p->next = 0;
    }
    struct form form = form_of(s, d);
    for (uint32_t i = 0; i < p->n; i++)
        if (form_is(&p->packets[i].form, &form))
            return &p->packets[i];
    return packet_add(p, s, d);
}

/* ---- the receiver's own ---- */

static uint8_t *wr_name(uint8_t *p, const struct stomp_session *s,
                        const struct stomp_subscription *sub, const struct proto_delivery *d)
{
    p = sl_wr_u8(wr_u64(p, (uint64_t)s->names_from + sub->number), '-');
    return wr_u64(p, d->delivery);
}

/* What ACK and NACK name: in 1.2 it has a header of its own. */
static uint8_t *wr_own(uint8_t *p, const struct stomp_session *s,
                       const struct stomp_subscription *sub, const struct proto_delivery *d)
{
    p = sl_wr_bytes(p, stomp_subscription_lead(sub));
    p = wr_hex64(p, message_id(d->msg));
    if (d->delivery != 0) {
        p = s->version == STOMP_V12 ? WR_TEXT(p, "\nack:") : sl_wr_u8(p, '-');
        p = wr_name(p, s, sub, d);
    }
    p = wr_u64(WR_TEXT(p, "\nattempt:"), d->attempt);
    return d->redelivered ? WR_TEXT(p, "\nredelivered:true\n")
                          : WR_TEXT(p, "\nredelivered:false\n");
}

/* However large a message is, it follows what is within the limit. */
static uint8_t *room(struct stomp_session *s, size_t n)
{
    if (SL_UNLIKELY(sl_buf_len(&s->out) > STOMP_MAX_OUTPUT))
        return NULL;
    if (SL_UNLIKELY(s->out.max < STOMP_MAX_OUTPUT + n))
        s->out.max = STOMP_MAX_OUTPUT + n;
    return sl_buf_reserve(&s->out, n);
}

static enum proto_delivered sent(struct stomp_session *s, size_t n)
{
    sl_buf_commit(&s->out, n);
    s->last_out_ms = s->now_ms;
    s->delivered = true;
    return PROTO_SENT;
}

static enum proto_delivered too_slow(struct stomp_session *s)
{
    stomp_fail(s, STOMP_E_SLOW, SL_BYTES_NONE, NULL);
    return PROTO_ENDED;
}

/* To the one receiver of a queue's message. */
static enum proto_delivered send_whole(struct stomp_session *s,
                                       const struct stomp_subscription *sub,
                                       const struct proto_delivery *d,
                                       struct proto_packets *packets)
{
    struct job job;
    job_of(&job, s, d);
    size_t most = OWN_BYTES + sub->lead_n + shared_bound(&job) + job.m.payload.n;
    uint8_t *from = room(s, most);
    if (from == NULL)
        return too_slow(s);
    uint8_t *p = wr_shared(wr_own(from, s, sub, d), &job);
    p = sl_wr_u8(sl_wr_bytes(p, job.m.payload), 0);
    packets->encoded++;
    return sent(s, (size_t)(p - from));
}

static enum proto_delivered send_copy(struct stomp_session *s, const struct stomp_subscription *sub,
                                      const struct proto_delivery *d, struct proto_packets *packets)
{
    const struct packet *packet = packet_of(packets, s, d);
    struct sl_bytes shared = sl_buf_view(&packet->bytes);
    uint8_t *from = room(s, OWN_BYTES + sub->lead_n + shared.n + packet->payload);
    if (from == NULL)
        return too_slow(s);
    uint8_t *p = sl_wr_bytes(wr_own(from, s, sub, d), shared);
    if (packet->payload > 0)
        p = sl_wr_u8(sl_wr_bytes(p, message_payload(d->msg)), 0);
    return sent(s, (size_t)(p - from));
}

enum proto_delivered stomp_deliver(struct proto_session *p, const struct proto_delivery *d,
                                   struct proto_packets *packets)
{
    struct stomp_session *s = (struct stomp_session *)(void *)p;
    if (s->state != STOMP_READY)
        return PROTO_ENDED;
    SL_ASSERT(d->n_ids == 1);
    const struct stomp_subscription *sub = stomp_subscription_at(s, d->subscription_ids[0]);
    SL_ASSERT(sub != NULL); /* nothing is given to a consumer that was cancelled */
    return sub->from_queue ? send_whole(s, sub, d, packets) : send_copy(s, sub, d, packets);
}
