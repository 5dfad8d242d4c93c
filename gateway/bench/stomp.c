/* Producer over STOMP 1.2: SEND with a receipt, whose id is the number. */
#include "bench/driver.h"
#include "stomp_bytes.h"

static int hello(const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    (void)connection;
    return bstomp_put_connect(out, t);
}

static int message(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                   struct bench_template *out)
{
    struct sl_buf *b = &out->bytes;
    const char *prefix = topic.n > 0 && topic.p[0] == '/' ? "" : "/topic/";
    int err = sl_buf_printf(b, "SEND\ndestination:%s%.*s\ncontent-length:%zu\n%sreceipt:", prefix,
                            (int)topic.n, (const char *)topic.p, payload.n,
                            t->transient ? "" : "persistent:true\n");
    out->number_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_printf(b, "00000000\n\n");
    out->stamp_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_append_bytes(b, payload);
    return err == SL_OK ? sl_buf_append(b, "", 1) : err;
}

static int on_receipt(const struct bstomp_frame *f, struct bench_answer *a)
{
    struct sl_bytes id;
    uint64_t number;
    if (!bstomp_frame_header(f, "receipt-id", &id) || sl_bytes_u64(id, 99999999, &number) != SL_OK)
        return SL_EPEER;
    a->kind = BENCH_DONE;
    a->number = (uint32_t)number;
    return SL_OK;
}

static int answer(const struct bench_target *t, struct sl_bytes in, struct bench_answer *a,
                  struct sl_buf *reply)
{
    struct bstomp_frame f;
    (void)t;
    (void)reply;
    int err = bstomp_frame_next(in, &f);
    if (err != SL_OK)
        return err;
    *a = (struct bench_answer){ .kind = BENCH_NOTHING, .bytes = f.bytes };
    if (sl_bytes_is(f.command, "RECEIPT"))
        return on_receipt(&f, a);
    if (sl_bytes_is(f.command, "CONNECTED"))
        a->kind = BENCH_READY;
    return f.command.n == 0 || a->kind == BENCH_READY ? SL_OK : SL_EPEER;
}

const struct bench_driver bench_stomp = {
    "stomp",  "STOMP 1.2, SEND with receipt",
    61613,    BENCH_NUMBER_DIGITS8,
    10000000, hello,
    message,  NULL,
    answer,
};
