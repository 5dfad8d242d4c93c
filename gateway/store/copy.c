/* Copy values: encode, decode. */
#include "store/copy.h"

#define COPY_VERSION 1u
#define ID_BYTES 4u
#define QOS_MAX 2u

static uint32_t n_ids(const struct batch_op *op)
{
    return op->note == NULL ? 0 : op->note->n / ID_BYTES;
}

size_t store_copy_bytes(const struct batch_op *op)
{
    return STORE_COPY_FIXED + (size_t)n_ids(op) * ID_BYTES;
}

void store_copy_encode(const struct batch_op *op, uint8_t *out)
{
    uint32_t n = n_ids(op);
    SL_ASSERT(n <= UINT16_MAX);
    out = sl_wr_u8(out, COPY_VERSION);
    out = sl_wr_u8(out, op->state);
    out = sl_wr_u8(out, (uint8_t)op->copy_flags);
    out = sl_wr_u8(out, 0);
    out = sl_wr_u16le(out, op->packet_id);
    out = sl_wr_u16le(out, (uint16_t)n);
    if (n > 0)
        (void)sl_wr_bytes(out, sl_bytes_of(op->note->bytes, (size_t)n * ID_BYTES));
}

int store_copy_decode(struct sl_bytes value, struct store_copy *out)
{
    struct sl_reader r = sl_reader_of(value);
    uint8_t version = sl_rd_u8(&r);
    struct store_copy c = { .state = sl_rd_u8(&r), .flags = sl_rd_u8(&r) };
    (void)sl_rd_u8(&r);
    c.packet_id = sl_rd_u16le(&r);
    c.ids = sl_rd_bytes(&r, (size_t)sl_rd_u16le(&r) * ID_BYTES);
    if (r.bad || version != COPY_VERSION || c.state > BATCH_COPY_RELEASED || (c.flags & BATCH_COPY_QOS) > QOS_MAX)
        return SL_EFORMAT;
    out->state = c.state;
    out->flags = c.flags;
    out->packet_id = c.packet_id;
    out->ids = c.ids;
    return SL_OK;
}
