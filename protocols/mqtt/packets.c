#include "packets.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "core/utf8.h"
#include "mqtt/names.h"
#include "wire.h"

/* A longer payload is copied from the message into each output, and not kept
 * here a second time. */
#define KEPT_PAYLOAD_BYTES 1024u
/* Memory that a packet with much in its properties took is given back. */
#define KEPT_HEAD_BYTES 65536u

struct proto_packets *mqtt_packets_new(void)
{
    return SL_NEW(struct proto_packets);
}

void mqtt_packets_free(struct proto_packets *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < MQTT_CLASSES; i++)
        sl_buf_fini(&p->packets[i].head);
    sl_free(p);
}

uint64_t mqtt_packets_encoded(const struct proto_packets *p)
{
    return p->encoded;
}

/* ---- one packet ---- */

/* What a packet is written from. A message of another protocol may have fields
 * that MQTT's strings cannot hold; they are left out. */
struct job {
    const struct proto_delivery *d;
    enum mqtt_version version;
    enum mqtt_alias_form alias;
    struct message_parts parts;
    struct sl_bytes record;
    bool foreign;
    size_t props; /* bytes of the properties */
    size_t id_at, alias_at;
};

static struct job job_of(const struct proto_delivery *d, enum mqtt_version version,
                         enum mqtt_alias_form alias)
{
    struct job job = { .d = d, .version = version, .alias = alias };
    job.record = message_record(d->msg);
    message_view(job.record, &job.parts);
    enum message_protocol from = job.parts.protocol;
    job.foreign = from != MESSAGE_MQTT3 && from != MESSAGE_MQTT5;
    if (job.foreign && !sl_utf8_valid(job.parts.content_type))
        job.parts.content_type = SL_BYTES_NONE;
    if (job.foreign && !mqtt_topic_valid(job.parts.reply_to))
        job.parts.reply_to = SL_BYTES_NONE;
    return job;
}

/* `empty`: it was said, and empty. */
static void put_field(struct mqtt_writer *w, enum mqtt_prop id, struct sl_bytes v, bool empty)
{
    if (v.n == 0 && !empty)
        return;
    mqtt_put_u8(w, (uint8_t)id);
    mqtt_put_binary(w, v);
}

/* In the order in which they came [MQTT-3.3.2-18]. */
static void put_headers(struct mqtt_writer *w, const struct job *job)
{
    struct message_header h;
    size_t pos = 0;
    while (message_header_next(job->record, &pos, &h)) {
        if (job->foreign && (!sl_utf8_valid(h.name) || !sl_utf8_valid(h.value)))
            continue;
        mqtt_put_u8(w, MQTT_PROP_USER);
        mqtt_put_binary(w, h.name);
        mqtt_put_binary(w, h.value);
    }
}

static void put_properties(struct mqtt_writer *w, struct job *job)
{
    const struct proto_delivery *d = job->d;
    if (job->alias != MQTT_ALIAS_NONE) {
        mqtt_put_u8(w, MQTT_PROP_TOPIC_ALIAS);
        job->alias_at = w->n;
        mqtt_put_u16(w, 0);
    }
    unsigned form = job->parts.flags;
    if ((form & (MESSAGE_PAYLOAD_UTF8 | MESSAGE_PAYLOAD_BYTES)) != 0) {
        mqtt_put_u8(w, MQTT_PROP_PAYLOAD_FORMAT);
        mqtt_put_u8(w, (form & MESSAGE_PAYLOAD_UTF8) != 0);
    }
    if (d->has_expiry) {
        mqtt_put_u8(w, MQTT_PROP_MESSAGE_EXPIRY);
        mqtt_put_u32(w, d->expiry_s);
    }
    put_field(w, MQTT_PROP_CONTENT_TYPE, job->parts.content_type,
              (form & MESSAGE_EMPTY_CONTENT_TYPE) != 0);
    put_field(w, MQTT_PROP_RESPONSE_TOPIC, job->parts.reply_to, false);
    put_field(w, MQTT_PROP_CORRELATION_DATA, job->parts.correlation,
              (form & MESSAGE_EMPTY_CORRELATION) != 0);
    for (uint32_t i = 0; i < d->n_ids; i++) {
        mqtt_put_u8(w, MQTT_PROP_SUBSCRIPTION_ID);
        mqtt_put_varint(w, d->subscription_ids[i]);
    }
    put_headers(w, job);
}

/* What stands between fixed header and payload. */
static void put_variable_header(struct mqtt_writer *w, struct job *job)
{
    mqtt_put_binary(w, job->alias == MQTT_ALIAS_USE ? SL_BYTES_NONE : job->parts.topic);
    job->id_at = w->n;
    if (job->d->qos > 0)
        mqtt_put_u16(w, job->d->packet_id);
    if (job->version != MQTT_V5)
        return;
    mqtt_put_varint(w, (uint32_t)job->props);
    put_properties(w, job);
}

static uint8_t first_byte(const struct proto_delivery *d)
{
    return (uint8_t)(MQTT_PUBLISH << 4 | (d->dup ? 8u : 0) | (unsigned)d->qos << 1 |
                     (d->retain ? 1u : 0));
}

/* Counts, like everything that is encoded in this room, and then writes. */
static size_t count_head(struct job *job)
{
    struct mqtt_writer w = { NULL, 0, false };
    if (job->version == MQTT_V5)
        put_properties(&w, job);
    job->props = w.n;
    w.n = 0;
    put_variable_header(&w, job);
    return w.bad ? SIZE_MAX : w.n;
}

/* False: nothing so large exists. */
static bool encode(struct mqtt_packet *packet, struct job *job)
{
    size_t before = count_head(job), payload = job->parts.payload.n;
    if (before > MQTT_VARINT_MAX || payload > MQTT_VARINT_MAX - before)
        return false;
    size_t kept = payload <= KEPT_PAYLOAD_BYTES ? payload : 0;
    if (packet->head.cap > KEPT_HEAD_BYTES)
        sl_buf_fini(&packet->head);
    sl_buf_clear(&packet->head);
    struct mqtt_writer w = { sl_buf_reserve(&packet->head, 5 + before + kept), 0, false };
    SL_ASSERT(w.p != NULL);
    mqtt_put_u8(&w, first_byte(job->d));
    mqtt_put_varint(&w, (uint32_t)(before + payload));
    put_variable_header(&w, job);
    packet->id_at = job->d->qos > 0 ? (uint32_t)job->id_at : 0;
    packet->alias_at = job->alias != MQTT_ALIAS_NONE ? (uint32_t)job->alias_at : 0;
    packet->size = w.n + payload;
    if (kept > 0)
        mqtt_put_raw(&w, job->parts.payload);
    sl_buf_commit(&packet->head, w.n);
    return true;
}

/* ---- all packets of a message ---- */

void mqtt_packets_start(struct proto_packets *p, const struct message *msg)
{
    p->msg = msg;
    p->id = message_id(msg);
    p->hashed = false;
    p->n = 0;
    p->next = 0;
}

static struct mqtt_packet *place(struct proto_packets *p)
{
    struct mqtt_packet *packet = &p->packets[p->next];
    p->next = (p->next + 1) % MQTT_CLASSES;
    if (p->n < MQTT_CLASSES)
        p->n++;
    return packet;
}

static void set_class(struct mqtt_packet *packet, struct mqtt_class class)
{
    packet->class = class;
    packet->class.ids = packet->ids;
    if (class.n_ids > MQTT_CLASS_IDS)
        packet->class.form = 0;
    else if (class.n_ids > 0)
        memcpy(packet->ids, class.ids, class.n_ids * sizeof packet->ids[0]);
}

SL_NOINLINE const struct mqtt_packet *mqtt_packets_add(struct proto_packets *p,
                                                       enum mqtt_version version,
                                                       const struct proto_delivery *d,
                                                       enum mqtt_alias_form alias)
{
    struct job job = job_of(d, version, alias);
    struct mqtt_packet *packet = place(p);
    set_class(packet, mqtt_class_of(version, d, alias));
    p->encoded++;
    if (encode(packet, &job))
        return packet;
    packet->class.form = 0;
    return NULL;
}

uint64_t mqtt_packets_topic_hash(struct proto_packets *p, const struct message *msg,
                                 struct sl_bytes topic)
{
    if (!mqtt_packets_has(p, msg))
        mqtt_packets_start(p, msg);
    if (!p->hashed)
        p->topic_hash = sl_hash(topic);
    p->hashed = true;
    return p->topic_hash;
}
