/* Numbers in memory that is known to be large enough, in either byte order and
 * at any address: one load or store each. */
#ifndef CORE_ENDIAN_H
#define CORE_ENDIAN_H

#include <stdint.h>
#include <string.h>

#include "core/compat.h"

/* ---- reading ---- */

static inline uint16_t sl_ld_u16be(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return SL_BE16(v);
}

static inline uint32_t sl_ld_u32be(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return SL_BE32(v);
}

static inline uint16_t sl_ld_u16le(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return SL_LE16(v);
}

static inline uint32_t sl_ld_u32le(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return SL_LE32(v);
}

static inline uint64_t sl_ld_u64le(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return SL_LE64(v);
}

/* ---- writing; each returns the end of what it wrote ---- */

static inline uint8_t *sl_wr_u8(uint8_t *p, uint8_t v)
{
    *p = v;
    return p + 1;
}

static inline uint8_t *sl_wr_u16be(uint8_t *p, uint16_t v)
{
    v = SL_BE16(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *sl_wr_u32be(uint8_t *p, uint32_t v)
{
    v = SL_BE32(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *sl_wr_u64be(uint8_t *p, uint64_t v)
{
    v = SL_BE64(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *sl_wr_u16le(uint8_t *p, uint16_t v)
{
    v = SL_LE16(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *sl_wr_u32le(uint8_t *p, uint32_t v)
{
    v = SL_LE32(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *sl_wr_u64le(uint8_t *p, uint64_t v)
{
    v = SL_LE64(v);
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

#endif
