/* SUBSCRIBE and UNSUBSCRIBE of a gateway that has no MQTT subscribers: checked
 * in full, then refused filter by filter, in the order of all answers. */
#include "core/alloc.h"
#include "mqtt/names.h"
#include "session.h"

/* The most telling of the codes that SUBACK may carry (table 3-8). */
static uint8_t refusal(const struct mqtt_session *s, const struct mqtt_filters *fs,
                       struct sl_bytes filter)
{
    if (s->version == MQTT_V311)
        return MQTT_SUBACK_FAILURE;
    if (mqtt_props_has(&fs->props, MQTT_PROP_SUBSCRIPTION_ID))
        return MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED;
    if (mqtt_filter_is_shared(filter))
        return MQTT_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (mqtt_filter_has_wildcard(filter))
        return MQTT_WILDCARDS_NOT_SUPPORTED;
    return MQTT_IMPLEMENTATION_ERROR;
}

static void send_codes(struct mqtt_session *s, const struct mqtt_filters *fs, struct sl_bytes codes,
                       enum mqtt_type type)
{
    struct mqtt_codes answer = { .packet_id = fs->packet_id, .codes = codes };
    mqtt_props_init(&answer.props);
    struct sl_buf packet = { 0 };
    int err = type == MQTT_SUBACK ? mqtt_encode_suback(&packet, s->version, &answer)
                                  : mqtt_encode_unsuback(&packet, s->version, &answer);
    SL_ASSERT(err == SL_OK); /* shorter than the packet it answers */
    mqtt_send_in_order(s, sl_buf_view(&packet));
    sl_buf_fini(&packet);
}

void mqtt_on_subscribe(struct mqtt_session *s, struct mqtt_frame *f)
{
    struct mqtt_filters fs;
    if (mqtt_decode_subscribe(f, &fs) != SL_OK) {
        mqtt_fail_frame(s, f);
        return;
    }
    uint8_t *codes = sl_alloc(fs.n);
    struct mqtt_filter one;
    size_t pos = 0, n = 0;
    while (n < fs.n && mqtt_filters_next(&fs, MQTT_SUBSCRIBE, &pos, &one))
        codes[n++] = refusal(s, &fs, one.filter);
    send_codes(s, &fs, sl_bytes_of(codes, n), MQTT_SUBACK);
    sl_free(codes);
}

void mqtt_on_unsubscribe(struct mqtt_session *s, struct mqtt_frame *f)
{
    struct mqtt_filters fs;
    if (mqtt_decode_unsubscribe(f, &fs) != SL_OK) {
        mqtt_fail_frame(s, f);
        return;
    }
    size_t n = s->version == MQTT_V5 ? fs.n : 0; /* an UNSUBACK of 3.1.1 has no codes */
    uint8_t *codes = sl_alloc(n);
    memset(codes, MQTT_NO_SUBSCRIPTION_EXISTED, n);
    send_codes(s, &fs, sl_bytes_of(codes, n), MQTT_UNSUBACK);
    sl_free(codes);
}
