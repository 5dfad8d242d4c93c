/* The fan-out's peers over STOMP 1.2. QoS 0: SEND without a receipt, ack:auto; QoS 1: with
 * a receipt, and each MESSAGE is acknowledged by itself. */
#include "fanout.h"
#include "stomp_bytes.h"

#define SUBSCRIBED "subscribed"

static int connect_peer(struct fanout *f, struct peer *p)
{
    return bstomp_put_connect(&p->out, &f->o.target);
}

static const char *prefix(const struct fanout *f)
{
    return f->o.target.topic[0] == '/' ? "" : "/topic/";
}

static int subscribe(struct fanout *f, struct peer *p)
{
    int err = sl_buf_printf(&p->out, "SUBSCRIBE\nid:0\ndestination:%s%s\nack:%s\nreceipt:" SUBSCRIBED "\n\n", prefix(f),
                            f->o.target.topic, f->o.subscribe_qos == 0 ? "auto" : "client-individual");
    return err == SL_OK ? sl_buf_append(&p->out, "", 1) : err;
}

static int message(struct fanout *f, struct sl_bytes payload)
{
    struct sl_buf *b = &f->message.bytes;
    bool answered = f->o.target.qos > 0;
    int err = sl_buf_printf(b, "SEND\ndestination:%s%s\ncontent-length:%zu\n%s", prefix(f), f->o.target.topic, payload.n,
                            answered ? "receipt:" : "");
    f->message.number_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_printf(b, "%s\n", answered ? "00000000\n" : "");
    f->message.stamp_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_append_bytes(b, payload);
    return err == SL_OK ? sl_buf_append(b, "", 1) : err;
}

static void write_number(uint8_t *at, uint32_t number)
{
    for (int i = 7; i >= 0; i--, number /= 10)
        at[i] = (uint8_t)('0' + number % 10);
}

/* ---- what comes ---- */

static int on_connected(struct fanout *f, struct peer *p)
{
    p->ready = true;
    f->ready++;
    return SL_OK;
}

static int on_receipt(struct fanout *f, struct peer *p, const struct bstomp_frame *frame)
{
    struct sl_bytes id;
    uint64_t number;
    if (!bstomp_frame_header(frame, "receipt-id", &id))
        return SL_EPEER;
    if (sl_bytes_is(id, SUBSCRIBED)) {
        f->subscribed++;
        return SL_OK;
    }
    int err = sl_bytes_u64(id, UINT32_MAX, &number);
    return err == SL_OK ? peer_on_answer(f, p, (uint32_t)number) : SL_EPEER;
}

static int on_message(struct fanout *f, struct peer *p, const struct bstomp_frame *frame)
{
    struct sl_bytes ack;
    peer_on_message(f, p, frame->body);
    if (f->o.subscribe_qos == 0)
        return SL_OK;
    if (!bstomp_frame_header(frame, "ack", &ack))
        return SL_EPEER;
    return bstomp_put_answer(&p->out, "ACK", ack);
}

static int on_frame(struct fanout *f, struct peer *p, const struct bstomp_frame *frame)
{
    if (sl_bytes_is(frame->command, "MESSAGE"))
        return on_message(f, p, frame);
    if (sl_bytes_is(frame->command, "RECEIPT"))
        return on_receipt(f, p, frame);
    if (sl_bytes_is(frame->command, "CONNECTED"))
        return on_connected(f, p);
    return frame->command.n == 0 ? SL_OK : SL_EPEER;
}

static int take(struct fanout *f, struct peer *p, struct sl_bytes in, size_t *bytes)
{
    struct bstomp_frame frame;
    int err = bstomp_frame_next(in, &frame);
    if (err == SL_OK)
        err = on_frame(f, p, &frame);
    if (err == SL_OK)
        *bytes = frame.bytes;
    return err;
}

const struct fanout_protocol fanout_stomp = { "stomp", 61613, 0, connect_peer, subscribe, message, write_number, take };
