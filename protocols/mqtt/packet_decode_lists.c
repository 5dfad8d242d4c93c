/* Packets that carry a list: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK. The
 * lists are checked once, entry by entry, and stay where they are. */
#include "mqtt/names.h"
#include "mqtt/packet.h"
#include "wire.h"

#define OPTION_QOS                 0x03u
#define OPTION_NO_LOCAL            0x04u
#define OPTION_RETAIN_AS_PUBLISHED 0x08u

static void read_filter(struct sl_reader *r, uint8_t type, uint8_t *options,
                        struct mqtt_filter *out)
{
    out->filter = mqtt_rd_binary(r);
    *options = type == MQTT_SUBSCRIBE ? sl_rd_u8(r) : 0;
    out->qos = *options & OPTION_QOS;
    out->no_local = (*options & OPTION_NO_LOCAL) != 0;
    out->retain_as_published = (*options & OPTION_RETAIN_AS_PUBLISHED) != 0;
    out->retain_handling = *options >> 4 & 3;
}

static int check_filter(struct mqtt_frame *f, uint8_t options, const struct mqtt_filter *one)
{
    unsigned reserved = f->version == MQTT_V5 ? 0xC0 : 0xFC; /* [MQTT-3.8.3-4], 5.0: -5 */
    if (!mqtt_filter_valid(one->filter))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "topic_filter");
    if ((options & reserved) != 0 || one->qos == 3)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "subscription_options");
    if (one->retain_handling == 3)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "retain_handling_3");
    if (one->no_local && mqtt_filter_is_shared(one->filter)) /* 5.0: [MQTT-3.8.3-4] */
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "no_local_on_shared");
    return SL_OK;
}

static int check_list(struct mqtt_frame *f, struct mqtt_filters *out)
{
    struct sl_reader list = sl_reader_of(out->raw);
    out->n = 0;
    while (sl_reader_left(&list) > 0) {
        struct mqtt_filter one;
        uint8_t options;
        read_filter(&list, f->type, &options, &one);
        if (list.bad)
            return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
        if (check_filter(f, options, &one) != SL_OK)
            return SL_EPEER;
        out->n++;
    }
    if (out->n == 0) /* [MQTT-3.8.3-2], [MQTT-3.10.3-2] */
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "no_topic_filter");
    return SL_OK;
}

static int decode_filters(struct mqtt_frame *f, enum mqtt_place place, struct mqtt_filters *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    out->packet_id = sl_rd_u16be(&r);
    if (r.bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (out->packet_id == 0)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "packet_id_0");
    if (mqtt_rd_props(f, &r, place, &out->props) != SL_OK)
        return SL_EPEER;
    out->raw = sl_bytes_of(r.p, sl_reader_left(&r));
    out->list = NULL;
    return check_list(f, out);
}

int mqtt_decode_subscribe(struct mqtt_frame *f, struct mqtt_filters *out)
{
    return decode_filters(f, MQTT_PLACE_SUBSCRIBE, out);
}

int mqtt_decode_unsubscribe(struct mqtt_frame *f, struct mqtt_filters *out)
{
    return decode_filters(f, MQTT_PLACE_UNSUBSCRIBE, out);
}

bool mqtt_filters_next(const struct mqtt_filters *fs, uint8_t type, size_t *pos,
                       struct mqtt_filter *out)
{
    struct sl_reader r = sl_reader_of(sl_bytes_of(fs->raw.p + *pos, fs->raw.n - *pos));
    if (sl_reader_left(&r) == 0)
        return false;
    uint8_t options;
    read_filter(&r, type, &options, out);
    *pos = fs->raw.n - sl_reader_left(&r);
    return !r.bad;
}

static bool code_known(const struct mqtt_frame *f, uint8_t code)
{
    if (f->version == MQTT_V5)
        return mqtt_reason_allowed(code,
                                   f->type == MQTT_SUBACK ? MQTT_IN_SUBACK : MQTT_IN_UNSUBACK);
    return code <= MQTT_GRANTED_QOS_2 || code == MQTT_SUBACK_FAILURE; /* [MQTT-3.9.3-2] */
}

static int decode_codes(struct mqtt_frame *f, struct mqtt_codes *out)
{
    struct sl_reader r = sl_reader_of(f->body);
    out->packet_id = sl_rd_u16be(&r);
    if (r.bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    if (out->packet_id == 0)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "packet_id_0");
    if (mqtt_rd_props(f, &r, MQTT_PLACE_ACK, &out->props) != SL_OK)
        return SL_EPEER;
    out->codes = sl_bytes_of(r.p, sl_reader_left(&r));
    bool none_expected = f->type == MQTT_UNSUBACK && f->version == MQTT_V311;
    if (none_expected != (out->codes.n == 0))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_packet");
    for (size_t i = 0; i < out->codes.n; i++)
        if (!code_known(f, out->codes.p[i]))
            return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "reason_code");
    return SL_OK;
}

int mqtt_decode_suback(struct mqtt_frame *f, struct mqtt_codes *out)
{
    return decode_codes(f, out);
}

int mqtt_decode_unsuback(struct mqtt_frame *f, struct mqtt_codes *out)
{
    return decode_codes(f, out);
}
