#include "wire.h"

#include "core/utf8.h"

#define VARINT_MAX_BYTES 4

uint32_t mqtt_rd_varint(struct sl_reader *r, bool strict)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < VARINT_MAX_BYTES; i++) {
        uint8_t byte = sl_rd_u8(r);
        value |= (uint32_t)(byte & 0x7F) << (7 * i);
        if ((byte & 0x80) == 0) {
            if (strict && i > 0 && byte == 0)
                r->bad = true;
            return r->bad ? 0 : value;
        }
    }
    r->bad = true;
    return 0;
}

struct sl_bytes mqtt_rd_binary(struct sl_reader *r)
{
    return sl_rd_bytes(r, sl_rd_u16be(r));
}

struct sl_bytes mqtt_rd_string(struct sl_reader *r)
{
    struct sl_bytes s = mqtt_rd_binary(r);
    if (s.n > 0 && !sl_utf8_valid(s))
        r->bad = true;
    return s;
}

int mqtt_fault(struct mqtt_frame *f, enum mqtt_reason reason, const char *word)
{
    if (f->fault == MQTT_SUCCESS) {
        f->fault = reason;
        f->fault_word = word;
    }
    return SL_EPEER;
}

int mqtt_rd_end(struct mqtt_frame *f, const struct sl_reader *r)
{
    if (r->bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (sl_reader_left(r) > 0)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "trailing_bytes");
    return SL_OK;
}

void mqtt_put_u8(struct mqtt_writer *w, uint8_t v)
{
    if (w->p != NULL)
        w->p = sl_wr_u8(w->p, v);
    w->n += 1;
}

void mqtt_put_u16(struct mqtt_writer *w, uint16_t v)
{
    if (w->p != NULL)
        w->p = sl_wr_u16be(w->p, v);
    w->n += 2;
}

void mqtt_put_u32(struct mqtt_writer *w, uint32_t v)
{
    if (w->p != NULL)
        w->p = sl_wr_u32be(w->p, v);
    w->n += 4;
}

void mqtt_put_varint(struct mqtt_writer *w, uint32_t v)
{
    if (v > MQTT_VARINT_MAX)
        w->bad = true;
    do {
        uint8_t byte = v & 0x7F;
        v >>= 7;
        mqtt_put_u8(w, v > 0 ? byte | 0x80 : byte);
    } while (v > 0);
}

void mqtt_put_raw(struct mqtt_writer *w, struct sl_bytes v)
{
    if (w->p != NULL)
        w->p = sl_wr_bytes(w->p, v);
    w->n += v.n;
}

void mqtt_put_binary(struct mqtt_writer *w, struct sl_bytes v)
{
    if (v.n > UINT16_MAX)
        w->bad = true;
    mqtt_put_u16(w, (uint16_t)v.n);
    mqtt_put_raw(w, v);
}
