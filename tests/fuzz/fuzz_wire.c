/* The frame codec: the first byte says whose frames these are, the rest is the
 * stream. Beyond not crashing: what was decoded is inside the input, encodes
 * again to the same bytes (up to the fields that a reader ignores), and a cut
 * frame is "more", never a fault. */
#include <stdint.h>
#include <stdlib.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static int encode(struct sl_buf *out, const struct wire_frame *f)
{
    switch (f->type) {
    case WIRE_HELLO:
        return wire_encode_hello(out, &f->u.hello);
    case WIRE_ACK:
        return wire_encode_ack(out, &f->u.ack);
    case WIRE_ACKS:
        return wire_encode_acks(out, &f->u.acks);
    case WIRE_RETRY:
        return wire_encode_retry(out, &f->u.retry);
    case WIRE_DEAD:
        return wire_encode_dead(out, &f->u.dead);
    case WIRE_PROGRESS:
        return wire_encode_progress(out, &f->u.progress);
    case WIRE_EXTEND:
        return wire_encode_extend(out, &f->u.extend);
    case WIRE_PUBLISH:
        return wire_encode_publish(out, &f->u.publish);
    case WIRE_WELCOME:
        return wire_encode_welcome(out, &f->u.welcome);
    case WIRE_DELIVER:
        return wire_encode_deliver(out, &f->u.deliver);
    case WIRE_ERROR:
        return wire_encode_error(out, &f->u.error);
    case WIRE_PUBLISHED:
        return wire_encode_published(out, &f->u.published);
    case WIRE_RELEASE:
    case WIRE_SOFT_LIMIT:
    case WIRE_STALE:
        return wire_encode_tag(out, f->type, f->u.tag);
    case WIRE_BYE:
    case WIRE_DRAIN:
        return wire_encode_empty(out, f->type);
    case WIRE_RESERVED_ACK_PUBLISH:
    case WIRE_RESERVED_DELIVER_BATCH:
        break;
    }
    abort();
}

/* HELLO and WELCOME hold two bytes that are ignored and written as zero. */
static void check_round_trip(const struct wire_frame *f, struct sl_bytes bytes)
{
    struct sl_buf out;
    sl_buf_init(&out, 0);
    require(encode(&out, f) == SL_OK);
    struct sl_bytes again = sl_buf_view(&out);
    require(again.n == bytes.n);
    size_t ignored = f->type == WIRE_HELLO || f->type == WIRE_WELCOME ? WIRE_HEAD + 4 : 0;
    require(ignored > 0 || memcmp(again.p, bytes.p, bytes.n) == 0);
    require(memcmp(again.p + ignored, bytes.p + ignored, bytes.n - ignored) == 0);
    sl_buf_fini(&out);
}

static void check_cut(struct sl_bytes bytes, struct wire_reader reader)
{
    struct wire_frame f;
    size_t consumed;
    for (size_t n = 0; n < bytes.n; n += 1 + n / 8)
        require(wire_decode(sl_bytes_of(bytes.p, n), &reader, &f, &consumed) == SL_EMORE);
}

static void walk_headers(struct sl_bytes headers)
{
    size_t pos = 0;
    struct message_header h;
    while (wire_header_next(headers, &pos, &h))
        require(pos <= headers.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct wire_reader reader = {data[0] & 1 ? WIRE_FROM_GATEWAY : WIRE_FROM_WORKER, 1u << 20,
                                 NULL};
    struct sl_bytes in = sl_bytes_of(data + 1, size - 1);
    walk_headers(in);
    for (;;) {
        struct wire_frame f;
        size_t consumed = 0;
        int err = wire_decode(in, &reader, &f, &consumed);
        if (err != SL_OK) {
            require(err == SL_EMORE || reader.fault != NULL);
            return 0;
        }
        require(consumed >= WIRE_HEAD && consumed <= in.n);
        struct sl_bytes bytes = sl_bytes_of(in.p, consumed);
        if (f.type == WIRE_PUBLISH)
            walk_headers(f.u.publish.headers);
        check_round_trip(&f, bytes);
        check_cut(bytes, reader);
        in = sl_bytes_of(in.p + consumed, in.n - consumed);
    }
}
