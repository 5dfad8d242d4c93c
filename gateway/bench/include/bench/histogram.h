/* A histogram of nanoseconds with fixed memory: 128 buckets to each power of
 * two, so that a value is told at most 1/128 (0.8 %) too high, never too low.
 * Pure; two of them can be added. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include "core/bytes.h"

#define HISTOGRAM_SUB_BITS 7u
#define HISTOGRAM_TOP_BIT  47u /* 2^48 ns are 78 hours; larger values count as the largest */
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_TOP_BIT - HISTOGRAM_SUB_BITS + 2u) << HISTOGRAM_SUB_BITS)

/* Embedded; all zero is empty. */
struct histogram {
    uint64_t total, sum, max;
    uint64_t min; /* meaningless while total is 0 */
    uint64_t count[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The smallest bucket end that at least this share (0 to 1) of the values does
 * not pass; 0 when empty. Never over the largest value recorded. */
uint64_t histogram_quantile(const struct histogram *h, double share);
double histogram_mean(const struct histogram *h);
/* {"count":…,"mean":…,"p50":…,"p90":…,"p99":…,"p999":…,"p9999":…,"max":…} in microseconds. */
SL_CHECK int histogram_print_json(const struct histogram *h, struct sl_buf *out);

#endif
