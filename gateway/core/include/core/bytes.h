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
#include "core/endian.h"
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
SL_CHECK static inline uint8_t *sl_buf_reserve(struct sl_buf *b, size_t n);
static inline void sl_buf_commit(struct sl_buf *b, size_t n);
/* SL_OK or SL_ETOOBIG (content unchanged). */
SL_CHECK int sl_buf_append(struct sl_buf *b, const void *p, size_t n);
SL_CHECK int sl_buf_append_bytes(struct sl_buf *b, struct sl_bytes v);
SL_CHECK int sl_buf_printf(struct sl_buf *b, const char *fmt, ...) SL_PRINTF(2, 3);
/* Drops n bytes from the front; memory is kept. */
static inline void sl_buf_consume(struct sl_buf *b, size_t n);
static inline void sl_buf_clear(struct sl_buf *b);

/* sl_buf_reserve() where the memory at hand does not do. */
uint8_t *sl_buf_make_room(struct sl_buf *b, size_t n) SL_CHECK;

/* The capacity never passes the maximum, so that what fits it needs no other look. */
static inline uint8_t *sl_buf_reserve(struct sl_buf *b, size_t n)
{
    if (SL_LIKELY(b->p != NULL && n <= b->cap - b->end))
        return b->p + b->end;
    return sl_buf_make_room(b, n);
}

static inline void sl_buf_commit(struct sl_buf *b, size_t n)
{
    SL_ASSERT(n <= b->cap - b->end);
    b->end += n;
}

static inline void sl_buf_clear(struct sl_buf *b)
{
    b->start = 0;
    b->end = 0;
}

static inline void sl_buf_consume(struct sl_buf *b, size_t n)
{
    SL_ASSERT(n <= sl_buf_len(b));
    b->start += n;
    if (b->start == b->end)
        sl_buf_clear(b);
}

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

/* A view of the next n bytes; empty and bad when there are fewer. */
static inline struct sl_bytes sl_rd_bytes(struct sl_reader *r, size_t n)
{
    if (SL_UNLIKELY(r->bad || sl_reader_left(r) < n)) {
        r->bad = true;
        return SL_BYTES_NONE;
    }
    struct sl_bytes v = { r->p, n };
    if (n > 0)
        r->p += n;
    return v;
}

static inline uint8_t sl_rd_u8(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 1);
    return v.n == 0 ? 0 : v.p[0];
}

static inline uint16_t sl_rd_u16be(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 2);
    return v.n == 0 ? 0 : sl_ld_u16be(v.p);
}

static inline uint32_t sl_rd_u32be(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 4);
    return v.n == 0 ? 0 : sl_ld_u32be(v.p);
}

static inline uint16_t sl_rd_u16le(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 2);
    return v.n == 0 ? 0 : sl_ld_u16le(v.p);
}

static inline uint32_t sl_rd_u32le(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 4);
    return v.n == 0 ? 0 : sl_ld_u32le(v.p);
}

static inline uint64_t sl_rd_u64le(struct sl_reader *r)
{
    struct sl_bytes v = sl_rd_bytes(r, 8);
    return v.n == 0 ? 0 : sl_ld_u64le(v.p);
}

/* ---- writing into memory that is known to be large enough ---- */

static inline uint8_t *sl_wr_bytes(uint8_t *p, struct sl_bytes v)
{
    if (v.n > 0)
        memcpy(p, v.p, v.n);
    return p + v.n;
}

#endif
