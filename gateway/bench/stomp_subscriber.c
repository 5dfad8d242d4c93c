/* Consumer over STOMP 1.2. */
#include "bench/driver.h"
#include "stomp_bytes.h"

static int hello(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    (void)consumer;
    int err = bstomp_put_connect(out, t);
    const char *prefix = t->topic[0] == '/' ? "" : "/topic/";
    if (err == SL_OK) /* prefetch-count is RabbitMQ's word */
        err = sl_buf_printf(out,
                            "SUBSCRIBE\nid:0\ndestination:%s%s\nack:%s\nprefetch-"
                            "count:%u\ndurable:true\nauto-delete:false\n%s%s\n",
                            prefix, t->topic, t->ack, t->prefetch, t->header == NULL ? "" : t->header,
                            t->header == NULL ? "" : "\n");
    return err == SL_OK ? sl_buf_append(out, "", 1) : err;
}

static int next(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                struct sl_buf *out)
{
    struct bstomp_frame f;
    (void)t;
    (void)out;
    int err = bstomp_frame_next(in, &f);
    if (err != SL_OK)
        return err;
    *d = (struct bench_delivery){ .bytes = f.bytes };
    if (f.command.n == 0 || sl_bytes_is(f.command, "CONNECTED"))
        return SL_OK;
    if (!sl_bytes_is(f.command, "MESSAGE"))
        return SL_EPEER;
    struct sl_bytes v;
    if (!bstomp_frame_header(&f, "ack", &d->name))
        d->name = SL_BYTES_NONE; /* ack:auto */
    d->redelivered = bstomp_frame_header(&f, "redelivered", &v) && sl_bytes_is(v, "true");
    d->message = true;
    d->payload = f.body;
    return SL_OK;
}

static int ack(const struct bench_target *t, const struct bench_delivery *d, bool good,
               struct sl_buf *out)
{
    (void)t;
    if (d->name.n == 0)
        return SL_OK;
    return bstomp_put_answer(out, good ? "ACK" : "NACK", d->name);
}

static bool cumulative(const struct bench_target *t)
{
    return strcmp(t->ack, "client") == 0;
}

const struct bench_consumer bench_stomp_subscriber = { "stomp", 61613, hello, next, ack, cumulative };
