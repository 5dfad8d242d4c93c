/* Views, growable buffers with a maximum, and sticky readers.
 *
 * A view borrows. A reader that runs past its end turns `bad`, gives zeros
 * from then on, and is asked once at the end. Big-endian (be) is MQTT's order,
 * little-endian (le) that of our files and worker frames. */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/compat.h"
#include "core/err.h"

struct sl_bytes {
    const uint8_t *p;
    size_t n;
};

#define SL_BYTES_NONE ((struct sl_bytes){ NULL, 0 })

static inline struct sl_bytes sl_bytes_of(const void *p, size_t n)
{
    return (struct sl_bytes){ (const uint8_t *)p, n };
}

static inline struct sl_bytes sl_str(const char *s)
{
    return sl_bytes_of(s, strlen(s));
}

static inline bool sl_bytes_eq(struct sl_bytes a, struct sl_bytes b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool sl_bytes_is(struct sl_bytes a, const char *s)
{
    return sl_bytes_eq(a, sl_str(s));
}

/* Unsigned decimal, digits only, at most `max`. SL_EINVAL else. */
SL_CHECK int sl_bytes_u64(struct sl_bytes in, uint64_t max, uint64_t *out);

/* ---- growable buffer ---- */

/* Embedded; all zero is an empty buffer without memory. Holds bytes
 * [start, end) of `p`; growth past `max` (0: SIZE_MAX) is refused. */
struct sl_buf {
    uint8_t *p;
    size_t start, end, cap;
    size_t max;
};

static inline size_t sl_buf_len(const struct sl_buf *b)
{
    return b->end - b->start;
}

static inline struct sl_bytes sl_buf_view(const struct sl_buf *b)
{
    return (struct sl_bytes){ b->p == NULL ? NULL : b->p + b->start, b->end - b->start };
}

void sl_buf_init(struct sl_buf *b, size_t max);
/* Frees the memory; the buffer is empty and usable again. */
void sl_buf_fini(struct sl_buf *b);
/* Room for n more bytes: a pointer to write to, then sl_buf_commit(b, n).
 * NULL when it would pass the maximum; the content is then unchanged. */
uint8_t *sl_buf_reserve(struct sl_buf *b, size_t n) SL_CHECK;
void sl_buf_commit(struct sl_buf *b, size_t n);
/* SL_OK or SL_ETOOBIG (content unchanged). */
SL_CHECK int sl_buf_append(struct sl_buf *b, const void *p, size_t n);
SL_CHECK int sl_buf_append_bytes(struct sl_buf *b, struct sl_bytes v);
SL_CHECK int sl_buf_printf(struct sl_buf *b, const char *fmt, ...) SL_PRINTF(2, 3);
/* Drops n bytes from the front; memory is kept. */
void sl_buf_consume(struct sl_buf *b, size_t n);
void sl_buf_clear(struct sl_buf *b);

/* ---- sticky reader ---- */

struct sl_reader {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct sl_reader sl_reader_of(struct sl_bytes in)
{
    return (struct sl_reader){ in.p, in.p == NULL ? NULL : in.p + in.n, false };
}

static inline size_t sl_reader_left(const struct sl_reader *r)
{
    return (size_t)(r->end - r->p);
}

uint8_t sl_rd_u8(struct sl_reader *r);
uint16_t sl_rd_u16be(struct sl_reader *r);
uint32_t sl_rd_u32be(struct sl_reader *r);
uint16_t sl_rd_u16le(struct sl_reader *r);
uint32_t sl_rd_u32le(struct sl_reader *r);
uint64_t sl_rd_u64le(struct sl_reader *r);
/* A view of the next n bytes; empty and bad when there are fewer. */
struct sl_bytes sl_rd_bytes(struct sl_reader *r, size_t n);

/* ---- reading from memory that is known to be long enough ---- */

static inline uint16_t sl_ld_u16be(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t sl_ld_u32be(const uint8_t *p)
{
    return (uint32_t)sl_ld_u16be(p) << 16 | sl_ld_u16be(p + 2);
}

static inline uint16_t sl_ld_u16le(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t sl_ld_u32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sl_ld_u64le(const uint8_t *p)
{
    return (uint64_t)sl_ld_u32le(p) | (uint64_t)sl_ld_u32le(p + 4) << 32;
}

/* ---- writing into memory that is known to be large enough ---- */

static inline uint8_t *sl_wr_u8(uint8_t *p, uint8_t v)
{
    *p = v;
    return p + 1;
}

static inline uint8_t *sl_wr_u16be(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

static inline uint8_t *sl_wr_u32be(uint8_t *p, uint32_t v)
{
    return sl_wr_u16be(sl_wr_u16be(p, (uint16_t)(v >> 16)), (uint16_t)v);
}

static inline uint8_t *sl_wr_u64be(uint8_t *p, uint64_t v)
{
    return sl_wr_u32be(sl_wr_u32be(p, (uint32_t)(v >> 32)), (uint32_t)v);
}

static inline uint8_t *sl_wr_u16le(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static inline uint8_t *sl_wr_u32le(uint8_t *p, uint32_t v)
{
    return sl_wr_u16le(sl_wr_u16le(p, (uint16_t)v), (uint16_t)(v >> 16));
}

static inline uint8_t *sl_wr_u64le(uint8_t *p, uint64_t v)
{
    return sl_wr_u32le(sl_wr_u32le(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static inline uint8_t *sl_wr_bytes(uint8_t *p, struct sl_bytes v)
{
    if (v.n > 0)
        memcpy(p, v.p, v.n);
    return p + v.n;
}

#endif
