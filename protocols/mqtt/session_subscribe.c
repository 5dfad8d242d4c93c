/* SUBSCRIBE and UNSUBSCRIBE: given out with every option, answered with a code
 * for each filter. The codes are known at once and encoded at once; they leave
 * when what they promise is stored and all older answers have left. */
#include "core/alloc.h"
#include "mqtt/names.h"
#include "session.h"

static void fill_filter(const struct mqtt_filter *one, struct proto_filter *out)
{
    *out = (struct proto_filter){
        .qos = one->qos,
        .retain_handling = one->retain_handling,
        .no_local = one->no_local,
        .retain_as_published = one->retain_as_published,
    };
    mqtt_filter_split(one->filter, &out->group, &out->filter);
}

/* False: the connection ended. */
static bool fill_event(struct mqtt_session *s, const struct mqtt_filters *fs, uint8_t type,
                       struct proto_event *ev)
{
    bool subscribe = type == MQTT_SUBSCRIBE;
    uint32_t token =
        mqtt_owe_codes(s, subscribe ? MQTT_SUBACK : MQTT_UNSUBACK, fs->packet_id, fs->n);
    if (token == 0)
        return false;
    struct proto_filter *list = mqtt_lists(s, fs->n * sizeof list[0]);
    struct mqtt_filter one;
    size_t pos = 0;
    uint32_t n = 0;
    while (n < fs->n && mqtt_filters_next(fs, type, &pos, &one))
        fill_filter(&one, &list[n++]);
    *ev = (struct proto_event){ .kind = subscribe ? PROTO_SUBSCRIBE : PROTO_UNSUBSCRIBE,
                                .token = token };
    ev->u.filters = (struct proto_filters){
        .v = list,
        .n = n,
        .subscription_id = mqtt_props_number(&fs->props, MQTT_PROP_SUBSCRIPTION_ID, 0),
    };
    return true;
}

bool mqtt_on_subscribe(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_filters fs;
    if (mqtt_decode_subscribe(f, &fs) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    return fill_event(s, &fs, MQTT_SUBSCRIBE, ev);
}

bool mqtt_on_unsubscribe(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_filters fs;
    if (mqtt_decode_unsubscribe(f, &fs) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    return fill_event(s, &fs, MQTT_UNSUBSCRIBE, ev);
}

/* ---- the answer ---- */

/* SUBACK of 3.1.1 has one word for all refusals [MQTT-3.9.3-2]. */
static const uint8_t codes[][2] = {
    [PROTO_GRANT_QOS0] = { MQTT_SUCCESS, MQTT_SUCCESS },
    [PROTO_GRANT_QOS1] = { MQTT_GRANTED_QOS_1, MQTT_GRANTED_QOS_1 },
    [PROTO_GRANT_QOS2] = { MQTT_GRANTED_QOS_2, MQTT_GRANTED_QOS_2 },
    [PROTO_GRANT_REMOVED] = { MQTT_SUCCESS, MQTT_SUCCESS },
    [PROTO_GRANT_NONE_WAS] = { MQTT_NO_SUBSCRIPTION_EXISTED, MQTT_SUCCESS },
    [PROTO_GRANT_DENIED] = { MQTT_NOT_AUTHORIZED, MQTT_SUBACK_FAILURE },
    [PROTO_GRANT_QUOTA] = { MQTT_QUOTA_EXCEEDED, MQTT_SUBACK_FAILURE },
};

/* UNSUBACK may not say 0x97 (table 3-9). */
static uint8_t code_of(const struct mqtt_session *s, uint8_t type, enum proto_grant grant)
{
    if (type == MQTT_UNSUBACK && grant == PROTO_GRANT_QUOTA)
        return MQTT_IMPLEMENTATION_ERROR;
    return codes[grant][s->version == MQTT_V311];
}

static int encode(const struct mqtt_session *s, uint8_t type, const struct mqtt_codes *answer)
{
    struct sl_buf *to = &s->ring->later;
    return type == MQTT_SUBACK ? mqtt_encode_suback(to, s->version, answer)
                               : mqtt_encode_unsuback(to, s->version, answer);
}

/* The first refusal's word, where the client wants it and has room for it
 * [MQTT-3.9.2-1], [MQTT-3.11.2-1]. */
static void explain(const struct mqtt_session *s, struct mqtt_codes *answer)
{
    size_t i = 0;
    while (i < answer->codes.n && answer->codes.p[i] < MQTT_UNSPECIFIED_ERROR)
        i++;
    if (s->version != MQTT_V5 || !s->wants_reasons || i == answer->codes.n)
        return;
    struct sl_bytes word = sl_str(mqtt_reason_word(answer->codes.p[i]));
    if (mqtt_client_takes(s, answer->codes.n + word.n + 12)) /* headers, lengths, packet id */
        mqtt_props_set_string(&answer->props, MQTT_PROP_REASON_STRING, word);
}

/* Encodes the answer of a slot into `later`, and leaves its size in the slot. */
static void put_codes(struct mqtt_session *s, struct mqtt_slot *slot, struct sl_bytes list)
{
    bool none = slot->type == MQTT_UNSUBACK && s->version == MQTT_V311;
    struct mqtt_codes answer = { .packet_id = (uint16_t)slot->value,
                                 .codes = none ? SL_BYTES_NONE : list };
    mqtt_props_init(&answer.props);
    explain(s, &answer);
    size_t before = sl_buf_len(&s->ring->later);
    int err = encode(s, slot->type, &answer);
    SL_ASSERT(err == SL_OK); /* mqtt_owe_codes() saw that it fits */
    slot->value = (uint32_t)(sl_buf_len(&s->ring->later) - before);
    slot->encoded = true;
}

void mqtt_granted(struct proto_session *p, uint32_t token, const enum proto_grant *grants,
                  uint32_t n)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    struct mqtt_slot *slot = mqtt_ring_at(s->ring, token);
    SL_ASSERT(slot != NULL && !slot->encoded && n > 0);
    SL_ASSERT(slot->type == MQTT_SUBACK || slot->type == MQTT_UNSUBACK);
    uint8_t *list = sl_alloc(n);
    for (uint32_t i = 0; i < n; i++)
        list[i] = code_of(s, slot->type, grants[i]);
    put_codes(s, slot, sl_bytes_of(list, n));
    sl_free(list);
    mqtt_lists_drop(s); /* most clients subscribe once */
}
