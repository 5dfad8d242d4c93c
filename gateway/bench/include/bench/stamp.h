/* What the first 32 bytes of every payload say, so that whoever receives it
 * can tell loss, repetition, order and age. Little-endian:
 *
 *    0 "SLB1"   4 u32 connection   8 u64 run   16 u64 sequence   24 u64 sent
 *
 * `sent` is CLOCK_MONOTONIC in nanoseconds: both ends run on one machine. */
#ifndef BENCH_STAMP_H
#define BENCH_STAMP_H

#include "core/bytes.h"

#define STAMP_BYTES 32u

struct stamp {
    uint32_t connection;
    uint64_t run;
    uint64_t sequence; /* from 0, per connection */
    uint64_t sent_ns;
};

/* Writes STAMP_BYTES. */
void stamp_write(uint8_t *p, const struct stamp *s);
/* SL_EFORMAT: not one of ours. */
SL_CHECK int stamp_read(struct sl_bytes payload, struct stamp *out);

#endif
