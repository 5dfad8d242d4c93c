#include "bench/stamp.h"

static const uint8_t magic[4] = { 'S', 'L', 'B', '1' };

void stamp_write(uint8_t *p, const struct stamp *s)
{
    p = sl_wr_bytes(p, sl_bytes_of(magic, sizeof magic));
    p = sl_wr_u32le(p, s->connection);
    p = sl_wr_u64le(p, s->run);
    p = sl_wr_u64le(p, s->sequence);
    (void)sl_wr_u64le(p, s->sent_ns);
}

int stamp_read(struct sl_bytes payload, struct stamp *out)
{
    if (payload.n < STAMP_BYTES || memcmp(payload.p, magic, sizeof magic) != 0)
        return SL_EFORMAT;
    out->connection = sl_ld_u32le(payload.p + 4);
    out->run = sl_ld_u64le(payload.p + 8);
    out->sequence = sl_ld_u64le(payload.p + 16);
    out->sent_ns = sl_ld_u64le(payload.p + 24);
    return SL_OK;
}
