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
