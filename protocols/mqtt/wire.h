/* MQTT's elementary types (section 1.5), reading and writing. Inside the room. */
#ifndef MQTT_WIRE_H
#define MQTT_WIRE_H

#include "core/bytes.h"
#include "core/message.h"
#include "mqtt/packet.h"

/* ---- reading ---- */

/* Variable byte integer; bad when it is longer than four bytes or, with
 * `strict`, longer than its value needs [MQTT-1.5.5-1]. */
uint32_t mqtt_rd_varint(struct sl_reader *r, bool strict);
/* Two-byte length, then that many bytes. */
struct sl_bytes mqtt_rd_binary(struct sl_reader *r);
/* The same, bad unless it is UTF-8 without U+0000 [MQTT-1.5.4-1, -2]. */
struct sl_bytes mqtt_rd_string(struct sl_reader *r);

/* Records why a packet is refused; returns SL_EPEER. The first fault stays. */
int mqtt_fault(struct mqtt_frame *f, enum mqtt_reason reason, const char *word);
/* SL_OK when the reader was used up exactly, else a malformed packet. */
SL_CHECK int mqtt_rd_end(struct mqtt_frame *f, const struct sl_reader *r);

/* ---- writing ---- */

/* Every packet is put twice by the same function: first with `p` NULL, which
 * only counts, then into memory of exactly that size. */
struct mqtt_writer {
    uint8_t *p;
    size_t n;
    bool bad; /* a field does not fit its length prefix */
};

void mqtt_put_u8(struct mqtt_writer *w, uint8_t v);
void mqtt_put_u16(struct mqtt_writer *w, uint16_t v);
void mqtt_put_u32(struct mqtt_writer *w, uint32_t v);
void mqtt_put_varint(struct mqtt_writer *w, uint32_t v);
void mqtt_put_raw(struct mqtt_writer *w, struct sl_bytes v);
void mqtt_put_binary(struct mqtt_writer *w, struct sl_bytes v);

/* ---- properties, shared by decoder and encoder ---- */

/* Reads the length and the properties; in 3.1.1 there are none and nothing is
 * read. A fault is SL_EPEER. */
SL_CHECK int mqtt_rd_props(struct mqtt_frame *f, struct sl_reader *r, enum mqtt_place place,
                           struct mqtt_props *out);
/* Writes length and properties; NULL is an empty set. */
void mqtt_put_props(struct mqtt_writer *w, const struct mqtt_props *props);

#endif
