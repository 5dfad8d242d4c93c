/* Towards subscribers: PUBLISH, PUBREL, and what the client says to them. Which
 * delivery is how far is the caller's to know; nothing is answered from here. */
#include "core/compat.h"
#include "out_aliases.h"
#include "packets.h"
#include "session.h"

/* ---- PUBLISH ---- */

static inline enum proto_delivered append(struct mqtt_session *s, const struct mqtt_packet *packet,
                                          const struct proto_delivery *d, uint16_t alias)
{
    uint8_t *to = sl_buf_reserve(&s->out, packet->size);
    SL_ASSERT(to != NULL); /* the buffer has no maximum of its own */
    mqtt_packet_write(packet, d, alias, to);
    sl_buf_commit(&s->out, packet->size);
    s->delivered_lately = true;
    s->delivers = true;
    return PROTO_SENT;
}

static inline enum proto_delivered
send_plain(struct mqtt_session *s, const struct proto_delivery *d, struct proto_packets *packets)
{
    const struct mqtt_packet *packet = mqtt_packets_get(packets, s->version, d, MQTT_ALIAS_NONE);
    if (packet == NULL || !mqtt_client_takes(s, packet->size))
        return PROTO_TOO_LARGE;
    return append(s, packet, d, 0);
}

/* An alias is registered only by the packet that tells it, and a packet that
 * its three bytes make too large goes without [MQTT-3.1.2-24]. */
SL_NOINLINE static enum proto_delivered send_aliased(struct mqtt_session *s,
                                                     const struct proto_delivery *d,
                                                     struct proto_packets *packets,
                                                     struct sl_bytes topic)
{
    uint64_t hash = mqtt_packets_topic_hash(packets, d->msg, topic);
    struct mqtt_out_alias *slot = mqtt_out_alias_at(&s->out_aliases, s->client_alias_max, hash);
    bool known = mqtt_out_alias_is(slot, topic);
    const struct mqtt_packet *packet =
        mqtt_packets_get(packets, s->version, d, known ? MQTT_ALIAS_USE : MQTT_ALIAS_SET);
    if (packet == NULL || !mqtt_client_takes(s, packet->size))
        return known ? PROTO_TOO_LARGE : send_plain(s, d, packets);
    if (!known)
        mqtt_out_alias_set(slot, topic);
    return append(s, packet, d, mqtt_out_alias_number(s->out_aliases, slot));
}

enum proto_delivered mqtt_deliver(struct proto_session *p, const struct proto_delivery *d,
                                  struct proto_packets *packets)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (s->state != MQTT_OPEN)
        return PROTO_ENDED;
    SL_ASSERT(!d->has_expiry || d->expiry_s > 0);
    SL_ASSERT(d->qos == 0 ? !d->dup : d->packet_id != 0); /* [MQTT-3.3.1-2], [MQTT-2.2.1-4] */
    if (s->client_alias_max != 0) {                       /* [MQTT-3.1.2-27] */
        struct sl_bytes topic = message_topic(d->msg);
        if (topic.n >= MQTT_ALIAS_LEAST_TOPIC)
            return send_aliased(s, d, packets, topic);
    }
    return send_plain(s, d, packets);
}

/* ---- what follows it ---- */

bool mqtt_on_settle(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_ack ack;
    if (mqtt_decode_ack(f, &ack) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    bool last = f->type == MQTT_PUBCOMP;
    ev->kind = PROTO_SETTLE;
    ev->token = 0;
    ev->u.settle = (struct proto_settle){
        .stage = last                     ? PROTO_COMPLETED
                 : f->type == MQTT_PUBREC ? PROTO_RECEIVED
                                          : PROTO_ACKED,
        .packet_id = ack.packet_id,
        .refused = !last && ack.reason >= MQTT_UNSPECIFIED_ERROR,
    };
    return true;
}

void mqtt_release(struct proto_session *p, uint16_t packet_id, bool known)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (s->state == MQTT_OPEN)
        mqtt_send_ack(s, MQTT_PUBREL, packet_id, known ? MQTT_SUCCESS : MQTT_PACKET_ID_NOT_FOUND);
}
