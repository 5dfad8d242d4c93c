/* From reads to packets without copying what can be avoided: whole packets are
 * parsed where the caller's read put them; only the incomplete end of a read
 * is copied, and completed there by the next one. */
#include "session.h"

#define PACKET_OVERHEAD 65536u /* what a packet may have over its payload, decision 27 */

uint32_t mqtt_packet_limit(const struct proto_config *cfg)
{
    uint64_t limit = (uint64_t)cfg->max_message + PACKET_OVERHEAD;
    return limit < MQTT_PACKET_MAX ? (uint32_t)limit : MQTT_PACKET_MAX;
}

void mqtt_feed(struct proto_session *p, struct sl_bytes in, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    SL_ASSERT(s->in.n == 0);
    s->in = in;
    s->heard_ms = now_ms;
    s->silence_from_now = false;
}

/* The bytes come from a view that was read already, so that their number is
 * bounded by the caller's reads; `part` has no maximum of its own. */
static void move_to_part(struct mqtt_session *s, size_t n)
{
    if (n == 0)
        return;
    int err = sl_buf_append(&s->part, s->in.p, n);
    SL_ASSERT(err == SL_OK);
    s->in = sl_bytes_of(s->in.p + n, s->in.n - n);
}

void mqtt_input_keep(struct mqtt_session *s)
{
    move_to_part(s, s->in.n);
    s->in = SL_BYTES_NONE;
}

void mqtt_hold(struct proto_session *p)
{
    struct mqtt_session *s = mqtt_session_of(p);
    mqtt_input_keep(s);
    /* The verdict on the CONNECT takes its time, and that is not the client's. */
    if (s->state == MQTT_AWAIT_VERDICT)
        s->silence_from_now = true;
}

void mqtt_input_drop(struct mqtt_session *s)
{
    s->in = SL_BYTES_NONE;
    sl_buf_fini(&s->part);
}

int mqtt_input_peek(const struct mqtt_session *s)
{
    if (sl_buf_len(&s->part) > 0)
        return sl_buf_view(&s->part).p[0];
    return s->in.n > 0 ? s->in.p[0] : -1;
}

static size_t limit_now(const struct mqtt_session *s)
{
    return s->state == MQTT_OPEN ? mqtt_packet_limit(s->cfg) : s->cfg->partial_packet;
}

static int frame_from_view(struct mqtt_session *s, struct mqtt_frame *f)
{
    int err = mqtt_frame_read(s->in, limit_now(s), f);
    if (err == SL_OK)
        s->in = sl_bytes_of(s->in.p + f->size, s->in.n - f->size);
    else if (err == SL_EMORE)
        mqtt_input_keep(s);
    return err;
}

/* Tops the copy up with exactly what the packet lacks, so that the packets
 * behind it are read from the view again. */
static int frame_from_part(struct mqtt_session *s, struct mqtt_frame *f)
{
    for (;;) {
        int err = mqtt_frame_read(sl_buf_view(&s->part), limit_now(s), f);
        if (err == SL_OK)
            sl_buf_consume(&s->part, f->size); /* the bytes stay until the next append */
        if (err != SL_EMORE || s->in.n == 0)
            return err;
        size_t lacking = f->size - sl_buf_len(&s->part);
        move_to_part(s, lacking < s->in.n ? lacking : s->in.n);
    }
}

int mqtt_input_frame(struct mqtt_session *s, struct mqtt_frame *f)
{
    f->version = s->version;
    f->from_server = false;
    if (sl_buf_len(&s->part) > 0)
        return frame_from_part(s, f);
    if (s->part.p != NULL)
        sl_buf_fini(&s->part);
    return frame_from_view(s, f);
}
