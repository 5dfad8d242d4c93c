#include "bench/histogram.h"

#define SUB (1u << HISTOGRAM_SUB_BITS)

/* The place of the highest set bit of 0 < v < 2^53: the exponent of the same
 * number as a double, which is exact there. */
static unsigned top_bit(uint64_t v)
{
    double d = (double)v;
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return (unsigned)(bits >> 52) - 1023;
}

/* Values below SUB have a bucket each; above, the top bit picks the row and
 * the seven bits below it the bucket. */
static unsigned bucket_of(uint64_t v)
{
    if (v < SUB)
        return (unsigned)v;
    if (v >> (HISTOGRAM_TOP_BIT + 1) != 0)
        return HISTOGRAM_BUCKETS - 1;
    unsigned shift = top_bit(v) - HISTOGRAM_SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((v >> shift) - SUB);
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned i)
{
    if (i < SUB)
        return i;
    unsigned shift = i / SUB - 1;
    return ((uint64_t)(SUB + i % SUB + 1) << shift) - 1;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    if (h->total == 0 || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->total++;
    h->sum += value;
    h->count[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->total == 0)
        return;
    if (into->total == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->total += from->total;
    into->sum += from->sum;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->count[i] += from->count[i];
}

/* How many values make up this share: at least one, rounded up. */
static uint64_t rank_of(const struct histogram *h, double share)
{
    double exact = share * (double)h->total;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    if (rank == 0)
        rank = 1;
    return rank > h->total ? h->total : rank;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    if (h->total == 0)
        return 0;
    uint64_t rank = rank_of(h, share), passed = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        passed += h->count[i];
        if (passed >= rank) {
            uint64_t end = bucket_end(i);
            return end < h->max && i < HISTOGRAM_BUCKETS - 1 ? end : h->max;
        }
    }
    return h->max;
}

double histogram_mean(const struct histogram *h)
{
    return h->total == 0 ? 0.0 : (double)h->sum / (double)h->total;
}

int histogram_print_json(const struct histogram *h, struct sl_buf *out)
{
    static const struct {
        const char *name;
        double share;
    } marks[] = {
        { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p999", 0.999 }, { "p9999", 0.9999 }
    };
    int err = sl_buf_printf(out, "{\"count\":%llu,\"mean\":%.1f", (unsigned long long)h->total,
                            histogram_mean(h) / 1e3);
    for (size_t i = 0; i < SL_COUNT(marks) && err == SL_OK; i++)
        err = sl_buf_printf(out, ",\"%s\":%.1f", marks[i].name,
                            (double)histogram_quantile(h, marks[i].share) / 1e3);
    return err == SL_OK ? sl_buf_printf(out, ",\"max\":%.1f}", (double)h->max / 1e3) : err;
}
