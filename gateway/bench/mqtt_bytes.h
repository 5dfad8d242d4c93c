/* The few MQTT bytes that a client needs, written by hand: the generator does
 * not share the codec that it measures. */
#ifndef BENCH_MQTT_BYTES_H
#define BENCH_MQTT_BYTES_H

#include "core/bytes.h"

#define BMQTT_PACKET_MAX 268435455u

struct bmqtt_packet {
    uint8_t first; /* type and flags */
    struct sl_bytes body;
    size_t bytes; /* of the whole packet */
};

/* SL_OK, SL_EMORE, SL_EPEER. */
SL_CHECK int bmqtt_packet_next(struct sl_bytes in, struct bmqtt_packet *out);
SL_CHECK int bmqtt_put_head(struct sl_buf *out, uint8_t first, size_t body_bytes);
SL_CHECK int bmqtt_put_text(struct sl_buf *out, struct sl_bytes text);
SL_CHECK int bmqtt_put_u16(struct sl_buf *out, uint16_t v);
/* A packet of type and packet id alone. */
SL_CHECK int bmqtt_put_ack(struct sl_buf *out, uint8_t first, uint16_t id);
struct bench_target;
/* CONNECT of a clean session; version 4 or 5. */
SL_CHECK int bmqtt_put_connect(struct sl_buf *out, uint8_t version, const struct bench_target *t,
                               uint32_t number);
/* SUBSCRIBE, id 1, to the target's topic (with several: TOPIC/#), shared when it has a group. */
SL_CHECK int bmqtt_put_subscribe(struct sl_buf *out, uint8_t version, const struct bench_target *t, uint8_t qos);
struct bench_template;
/* PUBLISH with the target's QoS; the packet id is left 0. */
SL_CHECK int bmqtt_template(const struct bench_target *t, uint8_t version, struct sl_bytes topic,
                            struct sl_bytes payload, struct bench_template *out);
/* What a PUBLISH brings; `id` 0 with QoS 0. */
struct bmqtt_publish {
    uint8_t qos;
    bool dup;
    uint16_t id;
    struct sl_bytes payload;
};
SL_CHECK int bmqtt_read_publish(const struct bmqtt_packet *p, uint8_t version, struct bmqtt_publish *out);
/* The reason (5.0) or return code in an answer's body behind `at`; 0 when it is left out. */
uint8_t bmqtt_reason(const struct bmqtt_packet *p, size_t at);

#endif
