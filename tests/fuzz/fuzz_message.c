/* Any bytes as a message's record, as a damaged store or a worker might give
 * them: refused, or a message whose parts all lie inside it and which is built
 * again from these parts byte for byte. */
#include <stddef.h>
#include <stdint.h>

#include "core/alloc.h"
#include "core/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct sl_bytes whole, struct sl_bytes part)
{
    SL_ASSERT(part.p >= whole.p && part.n <= whole.n);
    SL_ASSERT((size_t)(part.p - whole.p) <= whole.n - part.n);
}

static struct message_header *walk_headers(struct sl_bytes record, size_t n)
{
    struct message_header *headers = sl_calloc(n, sizeof *headers);
    size_t pos = 0, walked = 0;
    struct message_header h;
    while (message_header_next(record, &pos, &h)) {
        check_inside(record, h.name);
        check_inside(record, h.value);
        SL_ASSERT(walked < n);
        headers[walked++] = h;
    }
    SL_ASSERT(walked == n);
    return headers;
}

/* The reserved byte is the one thing that a message built anew does not keep. */
static void check_rebuilt(const struct message *m, const struct message_parts *parts)
{
    struct message *again = message_new(parts);
    struct sl_bytes a = message_record(m), b = message_record(again);
    SL_ASSERT(a.n == b.n && memcmp(a.p, b.p, 5) == 0 && memcmp(a.p + 6, b.p + 6, a.n - 6) == 0);
    message_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_bytes in = {data, size};
    struct message *m = NULL;
    int err = message_from_record(in, &m);
    SL_ASSERT((err == SL_OK) == message_record_valid(in));
    if (err != SL_OK) {
        SL_ASSERT(err == SL_EFORMAT && m == NULL);
        return 0;
    }
    struct sl_bytes record = message_record(m);
    SL_ASSERT(sl_bytes_eq(record, in));
    struct message_parts parts;
    message_view(record, &parts);
    check_inside(record, message_topic(m));
    check_inside(record, message_payload(m));
    SL_ASSERT(sl_bytes_eq(parts.payload, message_payload(m)));
    SL_ASSERT(sl_bytes_eq(parts.topic, message_topic(m)));
    struct message_header *headers = walk_headers(record, parts.n_headers);
    parts.headers = headers;
    check_rebuilt(m, &parts);
    sl_free(headers);
    message_unref(m);
    return 0;
}
