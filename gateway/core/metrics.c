#include "core/metrics.h"

#include <inttypes.h>

/* The text is for logs: when the buffer is full, what does not fit is left out. */
static void print_one(struct sl_buf *out, const char *name, uint64_t value)
{
    int err = sl_buf_printf(out, " %s=%" PRIu64, name, value);
    (void)err;
}

void gateway_counters_print(const struct gateway_counters *c, struct sl_buf *out)
{
#define X(name) print_one(out, #name, c->name);
    GATEWAY_COUNTERS(X)
#undef X
}

void queue_counters_print(const struct queue_counters *c, struct sl_buf *out)
{
#define X(name) print_one(out, #name, c->name);
    QUEUE_COUNTERS(X)
#undef X
}

void sl_histogram_print(const struct sl_histogram *h, struct sl_buf *out)
{
    print_one(out, "count", h->count);
    print_one(out, "mean", h->count > 0 ? h->sum / h->count : 0);
    print_one(out, "max", h->max);
    for (uint32_t b = 0; b < SL_HISTOGRAM_BUCKETS; b++) {
        if (h->bucket[b] == 0)
            continue;
        int err = sl_buf_printf(out, " le_%" PRIu64 "=%" PRIu64, UINT64_C(1) << b, h->bucket[b]);
        (void)err;
    }
}
