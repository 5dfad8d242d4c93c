/* PUBLISH packets for subscribers, each encoded once for a class of receivers:
 * those whose packets differ in the packet id and the number of the alias, and
 * in nothing else. The classes of one message are kept, until another comes.
 * Inside the room. */
#ifndef MQTT_PACKETS_H
#define MQTT_PACKETS_H

#include "core/bytes.h"
#include "mqtt/packet.h"
#include "mqtt/packets.h"

enum mqtt_alias_form {
    MQTT_ALIAS_NONE, /* topic */
    MQTT_ALIAS_SET,  /* topic and alias */
    MQTT_ALIAS_USE,  /* alias alone */
};

#define MQTT_CLASS_IDS 8u /* more subscription identifiers are encoded each time */
#define MQTT_CLASSES   8u

/* What the bytes of a packet depend on, beside the message. */
struct mqtt_class {
    uint32_t form; /* version, alias form, DUP, QoS, RETAIN; 0: is no class */
    uint32_t expiry_s;
    uint32_t n_ids;
    const uint32_t *ids;
};

struct mqtt_packet {
    struct mqtt_class class;
    uint32_t ids[MQTT_CLASS_IDS];
    size_t size;        /* of the whole packet */
    uint32_t id_at;     /* where the packet id stands; 0: QoS 0 */
    uint32_t alias_at;  /* where the alias stands; 0: none */
    struct sl_buf head; /* its bytes, without the payload when that is long */
};

/* A message is known by its id, which never repeats; one that has none (0) is
 * encoded for each receiver. */
struct proto_packets {
    const struct message *msg; /* never followed: it may be gone */
    uint64_t id;
    uint64_t encoded;
    uint64_t topic_hash;
    bool hashed;
    uint32_t n, next; /* packets in use; the one that is replaced next */
    struct mqtt_packet packets[MQTT_CLASSES];
};

struct proto_packets *mqtt_packets_new(void);
void mqtt_packets_free(struct proto_packets *p);

/* Forgets the packets of another message. */
void mqtt_packets_start(struct proto_packets *p, const struct message *msg);
/* Encodes the packet of a class that is not there yet. */
const struct mqtt_packet *mqtt_packets_add(struct proto_packets *p, enum mqtt_version version,
                                           const struct proto_delivery *d,
                                           enum mqtt_alias_form alias);
/* sl_hash() of the message's topic, computed once. */
uint64_t mqtt_packets_topic_hash(struct proto_packets *p, const struct message *msg,
                                 struct sl_bytes topic);

static inline bool mqtt_packets_has(const struct proto_packets *p, const struct message *msg)
{
    return p->msg == msg && p->id == message_id(msg) && p->id != 0;
}

/* Receivers of 3.1.1 get no properties, which then tell no classes apart. An
 * expiry of 0 is none, since what has no time left is not delivered. */
static inline struct mqtt_class
mqtt_class_of(enum mqtt_version version, const struct proto_delivery *d, enum mqtt_alias_form alias)
{
    struct mqtt_class c = { .form = (uint32_t)version << 8 | (uint32_t)alias << 4 |
                                    (uint32_t)d->dup << 3 | (uint32_t)d->qos << 1 |
                                    (uint32_t)d->retain };
    if (version == MQTT_V5) {
        c.expiry_s = d->has_expiry ? d->expiry_s : 0;
        c.n_ids = d->n_ids;
        c.ids = d->subscription_ids;
    }
    return c;
}

static inline bool mqtt_class_is(const struct mqtt_class *a, const struct mqtt_class *b)
{
    if (a->form != b->form || a->expiry_s != b->expiry_s || a->n_ids != b->n_ids)
        return false;
    uint32_t i = 0;
    while (i < a->n_ids && a->ids[i] == b->ids[i])
        i++;
    return i == a->n_ids;
}

/* The packet of the delivery's class, valid until the next call. NULL: nothing
 * so large exists in the protocol. */
static inline const struct mqtt_packet *mqtt_packets_get(struct proto_packets *p,
                                                         enum mqtt_version version,
                                                         const struct proto_delivery *d,
                                                         enum mqtt_alias_form alias)
{
    if (!mqtt_packets_has(p, d->msg))
        mqtt_packets_start(p, d->msg);
    struct mqtt_class class = mqtt_class_of(version, d, alias);
    for (uint32_t i = 0; i < p->n; i++)
        if (mqtt_class_is(&p->packets[i].class, &class))
            return &p->packets[i];
    return mqtt_packets_add(p, version, d, alias);
}

/* Writes packet->size bytes, with the packet id of the delivery. */
static inline void mqtt_packet_write(const struct mqtt_packet *packet,
                                     const struct proto_delivery *d, uint16_t alias, uint8_t *to)
{
    struct sl_bytes head = sl_buf_view(&packet->head);
    memcpy(to, head.p, head.n);
    if (head.n < packet->size)
        memcpy(to + head.n, message_payload(d->msg).p, packet->size - head.n);
    if (packet->id_at != 0)
        (void)sl_wr_u16be(to + packet->id_at, d->packet_id);
    if (packet->alias_at != 0)
        (void)sl_wr_u16be(to + packet->alias_at, alias);
}

#endif
