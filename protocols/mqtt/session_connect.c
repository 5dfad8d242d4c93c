/* The first packet, and our answer to it. */
#include "mqtt/names.h"
#include "session.h"

/* ---- refusing ---- */

void mqtt_refuse_connect(struct mqtt_session *s, uint8_t code, const char *word)
{
    uint8_t packet[] = { MQTT_CONNACK << 4, 2, 0, code }; /* never a session present */
    if (s->version == MQTT_V5)
        mqtt_send_reason(s, MQTT_CONNACK, sl_bytes_of(packet + 2, 2), word);
    else
        mqtt_send(s, sl_bytes_of(packet, sizeof packet));
    mqtt_close(s, word);
}

/* An unknown version is answered in the nearest form that its client may
 * understand [MQTT-3.1.2-2]; other faults have no word in 3.1.1. */
static void refuse_fault(struct mqtt_session *s, const struct mqtt_frame *f, uint8_t level)
{
    s->version = f->version;
    if (f->fault != MQTT_UNSUPPORTED_VERSION) {
        mqtt_fail_frame(s, f);
        return;
    }
    s->version = level > MQTT_V5 ? MQTT_V5 : MQTT_V311;
    mqtt_refuse_connect(
        s, level > MQTT_V5 ? MQTT_UNSUPPORTED_VERSION : MQTT_RETURN_UNACCEPTABLE_VERSION,
        f->fault_word);
}

/* ---- accepting ---- */

static uint32_t expiry_asked(const struct mqtt_session *s, const struct mqtt_connect *c)
{
    if (c->version == MQTT_V5)
        return mqtt_props_number(&c->props, MQTT_PROP_SESSION_EXPIRY, 0);
    uint32_t lasting = s->cfg->session_expiry_default_s;
    if (c->clean_start)
        return 0;
    return lasting == 0 ? UINT32_MAX : lasting;
}

static uint32_t capped_expiry(const struct mqtt_session *s, uint32_t asked)
{
    uint32_t most = s->cfg->session_expiry_max_s;
    return s->version == MQTT_V5 && asked > most ? most : asked;
}

/* The server's upper limit can be told in MQTT 5 only; a client of 3.1.1 is
 * held to what it asked for. */
static uint16_t keep_alive_in_force(const struct mqtt_session *s, uint16_t asked)
{
    uint16_t most = s->cfg->max_keep_alive_s;
    bool over = most != 0 && (asked == 0 || asked > most);
    return s->version == MQTT_V5 && over ? most : asked;
}

static void remember(struct mqtt_session *s, const struct mqtt_connect *c)
{
    uint32_t asked = expiry_asked(s, c);
    s->keep_alive_s = keep_alive_in_force(s, c->keep_alive_s);
    s->keep_alive_capped = s->keep_alive_s != c->keep_alive_s;
    s->expiry_was_zero = asked == 0;
    s->expiry_capped = capped_expiry(s, asked) != asked;
    s->id_was_empty = c->client_id.n == 0;
    const struct mqtt_props *props = &c->props; /* 3.1.1: none */
    s->client_max_packet = mqtt_props_number(props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 0);
    s->client_alias_max = (uint16_t)mqtt_props_number(props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0);
    s->wants_reasons = mqtt_props_number(props, MQTT_PROP_REQUEST_PROBLEM_INFO, 1) != 0;
    s->wants_response = mqtt_props_number(props, MQTT_PROP_REQUEST_RESPONSE_INFO, 0) != 0;
}

static void fill_will(struct mqtt_session *s, const struct mqtt_will *will,
                      struct proto_connect *out)
{
    const struct mqtt_props *props = &will->props;
    out->has_will = true;
    out->will_topic = will->topic;
    out->will_payload = will->payload;
    out->will_qos = will->qos;
    out->will_retain = will->retain;
    out->will_delay_s = mqtt_props_number(props, MQTT_PROP_WILL_DELAY, 0);
    out->will_form = mqtt_form(props);
    out->will_has_expiry = mqtt_props_has(props, MQTT_PROP_MESSAGE_EXPIRY);
    out->will_expiry_ms = (uint64_t)mqtt_props_number(props, MQTT_PROP_MESSAGE_EXPIRY, 0) * 1000;
    out->will_content_type = mqtt_props_string(props, MQTT_PROP_CONTENT_TYPE);
    out->will_correlation = mqtt_props_string(props, MQTT_PROP_CORRELATION_DATA);
    out->will_reply_to = mqtt_props_string(props, MQTT_PROP_RESPONSE_TOPIC);
    out->will_headers = mqtt_unpack_headers(s, props);
    out->n_will_headers = props->n_user;
}

static void fill_event(struct mqtt_session *s, const struct mqtt_connect *c, struct proto_event *ev)
{
    *ev = (struct proto_event){ .kind = PROTO_CONNECT };
    ev->u.connect = (struct proto_connect){
        .client_id = c->client_id,
        .clean_start = c->clean_start,
        .session_expiry_s = capped_expiry(s, expiry_asked(s, c)),
        .has_username = c->has_username,
        .has_password = c->has_password,
        .username = c->username,
        .password = c->password,
        .protocol = c->version == MQTT_V5 ? MESSAGE_MQTT5 : MESSAGE_MQTT3,
        .receive_maximum =
            (uint16_t)mqtt_props_number(&c->props, MQTT_PROP_RECEIVE_MAXIMUM, UINT16_MAX),
    };
    if (c->has_will)
        fill_will(s, &c->will, &ev->u.connect);
}

/* False: it was refused. */
static bool acceptable(struct mqtt_session *s, const struct mqtt_connect *c)
{
    if (c->has_will && c->will.props.n_user > UINT16_MAX)
        mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_many_user_properties");
    else if (mqtt_props_has(&c->props, MQTT_PROP_AUTH_METHOD)) /* [MQTT-4.12.0-1] */
        mqtt_fail(s, MQTT_BAD_AUTHENTICATION_METHOD, "bad_authentication_method");
    else if (c->has_will && c->will.retain && c->version == MQTT_V5 && !s->cfg->retain_available)
        mqtt_fail(s, MQTT_RETAIN_NOT_SUPPORTED, "retain_not_supported"); /* [MQTT-3.2.2-13] */
    else if (c->version == MQTT_V311 && c->client_id.n == 0 && !c->clean_start)
        mqtt_refuse_connect(s, MQTT_RETURN_ID_REJECTED,
                            "client_identifier_not_valid"); /* [MQTT-3.1.3-8] */
    return !mqtt_over(s);
}

bool mqtt_on_connect(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_connect c;
    if (mqtt_decode_connect(f, &c) != SL_OK) {
        refuse_fault(s, f, c.version);
        return false;
    }
    s->version = c.version;
    remember(s, &c);
    if (!acceptable(s, &c))
        return false;
    s->close_at_ms = UINT64_MAX; /* the client did its part in time */
    s->state = MQTT_AWAIT_VERDICT;
    fill_event(s, &c, ev);
    return true;
}

/* ---- CONNACK ---- */

/* What this server can and cannot do, as section 3.2.2.3 has it; a property
 * with its default value is left out. */
static void put_capabilities(const struct mqtt_session *s, struct mqtt_props *props)
{
    const struct proto_config *cfg = s->cfg;
    if (cfg->receive_maximum != 0 && cfg->receive_maximum != UINT16_MAX)
        mqtt_props_set_number(props, MQTT_PROP_RECEIVE_MAXIMUM, cfg->receive_maximum);
    mqtt_props_set_number(props, MQTT_PROP_MAXIMUM_PACKET_SIZE, mqtt_packet_limit(cfg));
    if (cfg->topic_alias_max > 0)
        mqtt_props_set_number(props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, cfg->topic_alias_max);
    if (!cfg->retain_available)
        mqtt_props_set_number(props, MQTT_PROP_RETAIN_AVAILABLE, 0);
}

/* What the client asked for and gets otherwise. */
static void put_changes(const struct mqtt_session *s, struct sl_bytes client_id,
                        struct mqtt_props *props)
{
    if (s->id_was_empty)
        mqtt_props_set_string(props, MQTT_PROP_ASSIGNED_CLIENT_ID, client_id);
    if (s->keep_alive_capped)
        mqtt_props_set_number(props, MQTT_PROP_SERVER_KEEP_ALIVE, s->keep_alive_s);
    if (s->expiry_capped)
        mqtt_props_set_number(props, MQTT_PROP_SESSION_EXPIRY, s->cfg->session_expiry_max_s);
}

/* The configured text with the client id for each `%c`. */
static void expand(struct sl_buf *out, const char *text, struct sl_bytes client_id)
{
    while (*text != 0) {
        bool id = text[0] == '%' && text[1] == 'c';
        int err = sl_buf_append_bytes(out, id ? client_id : sl_bytes_of(text, 1));
        SL_ASSERT(err == SL_OK);
        text += id ? 2 : 1;
    }
}

/* Only for who asks [MQTT-3.1.2-28]. A client id can make it what no response
 * topic begins with; then it is left out. */
static void put_response_information(const struct mqtt_session *s, struct sl_bytes client_id,
                                     struct mqtt_props *props, struct sl_buf *text)
{
    if (!s->wants_response || s->cfg->response_information == NULL)
        return;
    expand(text, s->cfg->response_information, client_id);
    if (sl_buf_len(text) <= UINT16_MAX && mqtt_topic_valid(sl_buf_view(text)))
        mqtt_props_set_string(props, MQTT_PROP_RESPONSE_INFO, sl_buf_view(text));
}

static void put_connack(struct mqtt_session *s, const struct proto_connected *a)
{
    struct mqtt_connack ack = { .session_present = a->session_present, .code = MQTT_SUCCESS };
    struct sl_buf text = { 0 };
    mqtt_props_init(&ack.props);
    put_capabilities(s, &ack.props);
    put_changes(s, a->client_id, &ack.props);
    put_response_information(s, a->client_id, &ack.props, &text);
    int err = mqtt_encode_connack(&s->out, s->version, &ack);
    SL_ASSERT(err == SL_OK); /* each string is at most 64 KiB */
    sl_buf_fini(&text);
}

static void welcome(struct mqtt_session *s, const struct proto_connected *a)
{
    SL_ASSERT(sl_buf_len(&s->out) == 0);
    put_connack(s, a);
    if (mqtt_client_takes(s, sl_buf_len(&s->out))) {
        s->state = MQTT_OPEN;
        return;
    }
    /* Nobody can talk to a client that takes no CONNACK. */
    sl_buf_clear(&s->out);
    mqtt_fail(s, MQTT_PACKET_TOO_LARGE, "client_maximum_packet_size");
}

struct refusal {
    uint8_t v5, v311;
};

static const struct refusal refusals[] = {
    [PROTO_CONNECT_BAD_CREDENTIALS] = { MQTT_BAD_CREDENTIALS, MQTT_RETURN_BAD_CREDENTIALS },
    [PROTO_CONNECT_DENIED] = { MQTT_NOT_AUTHORIZED, MQTT_RETURN_NOT_AUTHORIZED },
    [PROTO_CONNECT_QUOTA] = { MQTT_QUOTA_EXCEEDED, MQTT_RETURN_UNAVAILABLE },
    [PROTO_CONNECT_RATE] = { MQTT_CONNECTION_RATE_EXCEEDED, MQTT_RETURN_UNAVAILABLE },
    [PROTO_CONNECT_UNAVAILABLE] = { MQTT_SERVER_UNAVAILABLE, MQTT_RETURN_UNAVAILABLE },
};

void mqtt_connected(struct proto_session *p, const struct proto_connected *a)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    SL_ASSERT(s->state == MQTT_AWAIT_VERDICT);
    if (a->result == PROTO_CONNECT_OK) {
        welcome(s, a);
        return;
    }
    const struct refusal *r = &refusals[a->result];
    mqtt_refuse_connect(s, s->version == MQTT_V5 ? r->v5 : r->v311, mqtt_reason_word(r->v5));
}
