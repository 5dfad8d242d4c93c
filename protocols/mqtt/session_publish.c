/* PUBLISH: the packet this server exists for. Checked, its alias resolved,
 * given out as views into the input. */
#include "core/alloc.h"
#include "core/utf8.h"
#include "session.h"

/* ---- topic aliases ---- */

#define ALIAS_MAX_BYTES 65536u /* of all topics that one client keeps with us */

struct alias {
    uint8_t *topic; /* NULL: not known */
    uint16_t n;
};

struct mqtt_aliases {
    uint32_t bytes; /* of all topics */
    uint16_t cap;
    struct alias of[]; /* alias a stands at a - 1 */
};

void mqtt_aliases_free(struct mqtt_aliases *aliases)
{
    if (aliases == NULL)
        return;
    for (uint16_t i = 0; i < aliases->cap; i++)
        sl_free(aliases->of[i].topic);
    sl_free(aliases);
}

/* Room for the alias; grows as the client numbers them, up to our maximum. */
static struct alias *alias_slot(struct mqtt_session *s, uint16_t alias)
{
    struct mqtt_aliases *a = s->aliases;
    uint16_t cap = a == NULL ? 0 : a->cap;
    if (alias > cap) {
        a = sl_realloc(a, sizeof *a + alias * sizeof a->of[0]);
        memset(&a->of[cap], 0, (size_t)(alias - cap) * sizeof a->of[0]);
        if (cap == 0)
            a->bytes = 0;
        a->cap = alias;
        s->aliases = a;
    }
    return &a->of[alias - 1];
}

static void alias_set(struct mqtt_session *s, struct alias *slot, struct sl_bytes topic)
{
    if (sl_bytes_eq(sl_bytes_of(slot->topic, slot->n), topic))
        return;
    s->aliases->bytes += (uint32_t)topic.n - slot->n;
    slot->topic = sl_realloc(slot->topic, topic.n);
    slot->n = (uint16_t)topic.n;
    memcpy(slot->topic, topic.p, topic.n);
}

static bool resolve_alias(struct mqtt_session *s, struct mqtt_publish *p)
{
    if (!mqtt_props_has(&p->props, MQTT_PROP_TOPIC_ALIAS))
        return true;
    uint16_t alias = (uint16_t)mqtt_props_number(&p->props, MQTT_PROP_TOPIC_ALIAS, 0);
    if (alias == 0 || alias > s->cfg->topic_alias_max) { /* [MQTT-3.3.2-8, -9] */
        mqtt_fail(s, MQTT_TOPIC_ALIAS_INVALID, "topic_alias_invalid");
        return false;
    }
    struct alias *slot = alias_slot(s, alias);
    if (p->topic.n > 0) {
        alias_set(s, slot, p->topic);
        if (s->aliases->bytes <= ALIAS_MAX_BYTES)
            return true;
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "topic_aliases_too_large");
        return false;
    }
    if (slot->topic == NULL) { /* section 3.3.4: a protocol error, not 0x94 */
        mqtt_fail(s, MQTT_PROTOCOL_ERROR, "topic_alias_unknown");
        return false;
    }
    p->topic = sl_bytes_of(slot->topic, slot->n);
    return true;
}

/* ---- checks that need the connection ---- */

static bool within_limits(struct mqtt_session *s, const struct mqtt_publish *p)
{
    if (p->payload.n > s->cfg->max_message) {
        mqtt_fail(s, MQTT_PACKET_TOO_LARGE, "message_too_large");
        return false;
    }
    if (p->props.n_user > UINT16_MAX) {
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_user_properties");
        return false;
    }
    /* Section 3.2.2.3.5: said in CONNACK; 3.1.1 cannot be told, and its message
     * is published without being retained. */
    if (p->retain && s->version == MQTT_V5 && !s->cfg->retain_available) {
        mqtt_fail(s, MQTT_RETAIN_NOT_SUPPORTED, "retain_not_supported");
        return false;
    }
    return true;
}

/* [MQTT-3.3.4-7]; 3.1.1 has no such promise, its reader is held instead. */
static bool within_receive_maximum(struct mqtt_session *s, const struct mqtt_publish *p)
{
    if (p->qos == 0 || s->version != MQTT_V5)
        return true;
    uint16_t most = s->cfg->receive_maximum == 0 ? UINT16_MAX : s->cfg->receive_maximum;
    if (s->publishes_open >= most) {
        mqtt_fail(s, MQTT_RECEIVE_MAXIMUM_EXCEEDED, "receive_maximum_exceeded");
        return false;
    }
    s->publishes_open++;
    return true;
}

static bool format_holds(const struct mqtt_publish *p)
{
    return p->props.present == 0 ||
           mqtt_props_number(&p->props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 0 ||
           sl_utf8_valid_nul(p->payload);
}

static enum mqtt_type answer_type(const struct mqtt_publish *p)
{
    return p->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
}

/* The message is refused, the connection goes on where there is an answer to
 * refuse it with. */
static void refuse_format(struct mqtt_session *s, const struct mqtt_publish *p)
{
    if (p->qos == 0) {
        mqtt_fail(s, MQTT_PAYLOAD_FORMAT_INVALID, "payload_format_invalid");
        return;
    }
    uint32_t token = mqtt_owe(s, answer_type(p), p->packet_id);
    if (token != 0)
        mqtt_settle(s, token, MQTT_PAYLOAD_FORMAT_INVALID);
}

/* ---- the event ---- */

void *mqtt_lists(struct mqtt_session *s, size_t bytes)
{
    if (s->lists == NULL || bytes > s->lists->bytes) {
        s->lists = sl_realloc(s->lists, sizeof *s->lists + bytes);
        s->lists->bytes = bytes;
    }
    return s->lists->v;
}

void mqtt_lists_drop(struct mqtt_session *s)
{
    sl_free(s->lists);
    s->lists = NULL;
}

const struct message_header *mqtt_unpack_headers(struct mqtt_session *s,
                                                 const struct mqtt_props *props)
{
    if (props->n_user == 0)
        return NULL;
    struct message_header *headers = mqtt_lists(s, props->n_user * sizeof headers[0]);
    size_t pos = 0;
    uint32_t n = 0;
    while (n < props->n_user && mqtt_props_next_user(props, &pos, &headers[n]))
        n++;
    SL_ASSERT(n == props->n_user);
    return headers;
}

static bool said_empty(const struct mqtt_props *props, enum mqtt_prop id)
{
    return mqtt_props_has(props, id) && mqtt_props_string(props, id).n == 0;
}

/* What a message's fields alone would not tell from a property that is missing,
 * and subscribers get unaltered [MQTT-3.3.2-4], [MQTT-3.3.2-16], [MQTT-3.3.2-20]. */
uint8_t mqtt_form(const struct mqtt_props *props)
{
    unsigned form = 0;
    if (mqtt_props_has(props, MQTT_PROP_PAYLOAD_FORMAT))
        form = mqtt_props_number(props, MQTT_PROP_PAYLOAD_FORMAT, 0) == 1 ? MESSAGE_PAYLOAD_UTF8
                                                                          : MESSAGE_PAYLOAD_BYTES;
    if (said_empty(props, MQTT_PROP_CONTENT_TYPE))
        form |= MESSAGE_EMPTY_CONTENT_TYPE;
    if (said_empty(props, MQTT_PROP_CORRELATION_DATA))
        form |= MESSAGE_EMPTY_CORRELATION;
    return (uint8_t)form;
}

static void fill_properties(struct mqtt_session *s, const struct mqtt_props *props,
                            struct proto_publish *out)
{
    if (props->present == 0)
        return;
    out->form = mqtt_form(props);
    out->has_expiry = mqtt_props_has(props, MQTT_PROP_MESSAGE_EXPIRY);
    out->expiry_ms = (uint64_t)mqtt_props_number(props, MQTT_PROP_MESSAGE_EXPIRY, 0) * 1000;
    out->content_type = mqtt_props_string(props, MQTT_PROP_CONTENT_TYPE);
    out->correlation = mqtt_props_string(props, MQTT_PROP_CORRELATION_DATA);
    out->reply_to = mqtt_props_string(props, MQTT_PROP_RESPONSE_TOPIC);
    out->headers = mqtt_unpack_headers(s, props);
    out->n_headers = props->n_user;
}

static inline uint64_t rotated(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

/* What tells messages of one packet id apart that their sender did not mean to be
 * the same: their lengths, and three words of the payload. It is no digest: that
 * would cost each message its whole length. */
static uint16_t print_of(const struct mqtt_publish *p)
{
    size_t n = p->payload.n;
    const uint8_t *b = p->payload.p;
    uint64_t print = n + (p->topic.n << 16);
    if (SL_LIKELY(n >= 8)) {
        print ^= sl_ld_u64le(b) ^ rotated(sl_ld_u64le(b + (n - 8) / 2), 21) ^ rotated(sl_ld_u64le(b + n - 8), 42);
    } else {
        for (size_t i = 0; i < n; i++)
            print ^= (uint64_t)b[i] << (24 + 8 * i) % 64;
    }
    return (uint16_t)(print * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static void fill_event(struct mqtt_session *s, const struct mqtt_publish *p, uint32_t token,
                       struct proto_event *ev)
{
    ev->kind = PROTO_PUBLISH;
    ev->token = token;
    ev->u.publish = (struct proto_publish){
        .topic = p->topic,
        .qos = p->qos,
        .dup = p->dup,
        .retain = p->retain,
        .packet_id = p->packet_id,
        .payload = p->payload,
    };
    fill_properties(s, &p->props, &ev->u.publish);
}

/* Its PUBACK will be that of the first one. */
static SL_NOINLINE bool came_again(const struct mqtt_publish *p, struct proto_event *ev)
{
    ev->kind = PROTO_PUBLISH;
    ev->token = 0;
    ev->u.publish = (struct proto_publish){ .topic = p->topic, .qos = 1, .dup = true, .again = true, .packet_id = p->packet_id, .payload = p->payload };
    return true;
}

static SL_ALWAYS_INLINE uint32_t owe_answer(struct mqtt_session *s, const struct mqtt_publish *p, uint16_t print)
{
    if (SL_LIKELY(p->qos == 1))
        return mqtt_owe_puback(s, p->packet_id, print);
    return p->qos == 0 ? 0 : mqtt_owe(s, MQTT_PUBREC, p->packet_id);
}

bool mqtt_on_publish(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_publish p;
    if (mqtt_decode_publish(f, &p) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    if (!within_limits(s, &p) || !resolve_alias(s, &p))
        return false;
    uint16_t print = SL_LIKELY(p.qos == 1) ? print_of(&p) : 0;
    if (SL_UNLIKELY(p.dup) && p.qos == 1 && mqtt_owes_puback(s, p.packet_id, print))
        return came_again(&p, ev);
    if (!within_receive_maximum(s, &p))
        return false;
    if (!format_holds(&p)) {
        refuse_format(s, &p);
        return false;
    }
    uint32_t token = owe_answer(s, &p, print);
    if (mqtt_over(s))
        return false;
    fill_event(s, &p, token, ev);
    ev->u.publish.print = print;
    return true;
}
