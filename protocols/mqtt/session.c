/* The session's life: made, fed, asked for events, ticked, closed. What each
 * packet means stands in the session_*.c beside this file. */
#include "session.h"

#include "core/alloc.h"
#include "out_aliases.h"
#include "packets.h"

#define IDLE_MS 5000u /* unused memory is given back after this silence */

_Static_assert(sizeof(struct mqtt_session) <= 200, "an idle session is small");

static struct proto_session *session_new(const struct proto_config *cfg, uint64_t now_ms)
{
    struct mqtt_session *s = SL_NEW(struct mqtt_session);
    s->protocol = &mqtt_protocol;
    s->cfg = cfg;
    s->heard_ms = now_ms;
    s->close_at_ms = cfg->connect_timeout_ms == 0 ? UINT64_MAX : now_ms + cfg->connect_timeout_ms;
    return (struct proto_session *)s;
}

static void session_free(struct proto_session *p)
{
    if (p == NULL)
        return;
    struct mqtt_session *s = mqtt_session_of(p);
    mqtt_input_drop(s);
    sl_buf_fini(&s->out);
    mqtt_ring_free(s->ring);
    mqtt_aliases_free(s->aliases);
    mqtt_out_aliases_free(s->out_aliases);
    sl_free(s->lists);
    sl_free(s);
}

/* ---- packets that need few words ---- */

static bool on_release(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_ack ack;
    if (mqtt_decode_ack(f, &ack) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    uint32_t token = mqtt_owe(s, MQTT_PUBCOMP, ack.packet_id);
    if (token == 0)
        return false;
    ev->kind = PROTO_RELEASE;
    ev->token = token;
    ev->u.packet_id = ack.packet_id;
    return true;
}

static void on_ping(struct mqtt_session *s, struct mqtt_frame *f)
{
    if (mqtt_decode_ping(f) != SL_OK)
        mqtt_fail_frame(s, f);
    else
        mqtt_send(s, sl_bytes_of((uint8_t[]){ MQTT_PINGRESP << 4, 0 }, 2));
}

static void fill_disconnect(const struct mqtt_session *s, const struct mqtt_word *word,
                            struct proto_event *ev)
{
    uint32_t expiry = mqtt_props_number(&word->props, MQTT_PROP_SESSION_EXPIRY, 0);
    uint32_t most = s->cfg->session_expiry_max_s;
    *ev = (struct proto_event){ .kind = PROTO_DISCONNECT };
    ev->u.disconnect = (struct proto_disconnect){
        .publish_will = word->reason != MQTT_SUCCESS,
        .has_expiry = mqtt_props_has(&word->props, MQTT_PROP_SESSION_EXPIRY),
        .session_expiry_s = expiry < most ? expiry : most,
    };
}

static bool on_disconnect(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    struct mqtt_word word;
    if (mqtt_decode_disconnect(f, &word) != SL_OK) {
        mqtt_fail_frame(s, f);
        return false;
    }
    /* Section 3.14.2.2.2: what was 0 in CONNECT stays 0. */
    if (s->expiry_was_zero && mqtt_props_number(&word.props, MQTT_PROP_SESSION_EXPIRY, 0) != 0) {
        mqtt_fail(s, MQTT_PROTOCOL_ERROR, "session_expiry_was_zero");
        return false;
    }
    fill_disconnect(s, &word, ev);
    mqtt_close(s, "disconnect");
    return true;
}

/* No CONNECT with an authentication method is accepted, so that an AUTH is
 * always out of place [MQTT-4.12.0-6]; 3.1.1 does not know the type. */
static void on_auth(struct mqtt_session *s, struct mqtt_frame *f)
{
    struct mqtt_word word;
    if (mqtt_decode_auth(f, &word) != SL_OK)
        mqtt_fail_frame(s, f);
    else
        mqtt_fail(s, MQTT_PROTOCOL_ERROR, "auth_without_method");
}

/* ---- events ---- */

/* Selects; true when the packet made an event. */
static bool dispatch(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    switch (f->type) {
    case MQTT_PUBLISH:
        return mqtt_on_publish(s, f, ev);
    case MQTT_PUBREL:
        return on_release(s, f, ev);
    case MQTT_DISCONNECT:
        return on_disconnect(s, f, ev);
    case MQTT_PINGREQ:
        on_ping(s, f);
        return false;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
        return mqtt_on_settle(s, f, ev);
    case MQTT_SUBSCRIBE:
        return mqtt_on_subscribe(s, f, ev);
    case MQTT_UNSUBSCRIBE:
        return mqtt_on_unsubscribe(s, f, ev);
    case MQTT_AUTH:
        on_auth(s, f);
        return false;
    case MQTT_CONNECT: /* [MQTT-3.1.0-2] */
        mqtt_fail(s, MQTT_PROTOCOL_ERROR, "second_connect");
        return false;
    default: /* what only servers send */
        mqtt_fail(s, MQTT_PROTOCOL_ERROR, "packet_type");
        return false;
    }
}

/* [MQTT-3.1.0-1]; seen at the first byte, so that nothing that speaks another
 * protocol is kept waiting for its body. */
static bool begins_wrongly(const struct mqtt_session *s)
{
    int first = s->state == MQTT_AWAIT_CONNECT ? mqtt_input_peek(s) : -1;
    return first >= 0 && first != MQTT_CONNECT << 4;
}

static bool on_packet(struct mqtt_session *s, struct mqtt_frame *f, struct proto_event *ev)
{
    return s->state == MQTT_OPEN ? dispatch(s, f, ev) : mqtt_on_connect(s, f, ev);
}

static void fail_framing(struct mqtt_session *s, int err, const struct mqtt_frame *f)
{
    if (err == SL_ETOOBIG)
        mqtt_fail(s, MQTT_PACKET_TOO_LARGE, "packet_too_large");
    else
        mqtt_fail_frame(s, f);
}

static bool next_close(struct mqtt_session *s, struct proto_event *ev)
{
    if (s->state == MQTT_CLOSED)
        return false;
    s->state = MQTT_CLOSED;
    *ev = (struct proto_event){ .kind = PROTO_CLOSE };
    ev->u.reason = s->close_word;
    return true;
}

/* Until the CONNECT is answered its successors wait, as many as an
 * unauthenticated client may have with us. */
static bool wait_for_verdict(struct mqtt_session *s, struct proto_event *ev)
{
    mqtt_hold((struct proto_session *)s);
    if (sl_buf_len(&s->part) <= s->cfg->partial_packet)
        return false;
    mqtt_fail(s, MQTT_QUOTA_EXCEEDED, "too_much_before_authentication");
    return next_close(s, ev);
}

static bool session_next(struct proto_session *p, struct proto_event *ev)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (s->state == MQTT_AWAIT_VERDICT)
        return wait_for_verdict(s, ev);
    while (!mqtt_over(s)) {
        if (begins_wrongly(s)) {
            mqtt_close(s, "not_connect");
            break;
        }
        struct mqtt_frame f;
        int err = mqtt_input_frame(s, &f);
        if (err == SL_EMORE)
            return false;
        if (err != SL_OK)
            fail_framing(s, err, &f);
        else if (on_packet(s, &f, ev))
            return true;
    }
    return next_close(s, ev);
}

/* ---- our own end ---- */

struct bye {
    enum mqtt_reason disconnect, connack;
    const char *word;
};

static const struct bye byes[] = {
    [PROTO_BYE_TAKEOVER] = { MQTT_SESSION_TAKEN_OVER, MQTT_SERVER_BUSY, "session_taken_over" },
    [PROTO_BYE_SHUTDOWN] = { MQTT_SERVER_SHUTTING_DOWN, MQTT_SERVER_UNAVAILABLE, "shutdown" },
    [PROTO_BYE_ADMIN] = { MQTT_ADMINISTRATIVE_ACTION, MQTT_BANNED, "administrative_action" },
    [PROTO_BYE_QUOTA] = { MQTT_QUOTA_EXCEEDED, MQTT_QUOTA_EXCEEDED, "quota_exceeded" },
    [PROTO_BYE_STORE] = { MQTT_IMPLEMENTATION_ERROR, MQTT_SERVER_UNAVAILABLE, "store_unavailable" },
    [PROTO_BYE_PROTOCOL] = { MQTT_PROTOCOL_ERROR, MQTT_PROTOCOL_ERROR, "unexpected_answer" },
};

static void session_shutdown(struct proto_session *p, enum proto_bye why)
{
    struct mqtt_session *s = mqtt_session_of(p);
    const struct bye *bye = &byes[why];
    if (s->state == MQTT_AWAIT_VERDICT && s->version == MQTT_V311)
        mqtt_refuse_connect(s, MQTT_RETURN_UNAVAILABLE, bye->word);
    else
        mqtt_fail(s, s->state == MQTT_OPEN ? bye->disconnect : bye->connack, bye->word);
}

static struct sl_buf *session_output(struct proto_session *p)
{
    return &mqtt_session_of(p)->out;
}

/* ---- time ---- */

static const struct mqtt_session *const_session_of(const struct proto_session *p)
{
    const struct mqtt_session *s = (const struct mqtt_session *)(const void *)p;
    SL_ASSERT(s->protocol == &mqtt_protocol);
    return s;
}

/* One and a half keep-alive times of silence [MQTT-3.1.2-24], 5.0: [-22]. */
static uint64_t silence_deadline(const struct mqtt_session *s)
{
    if (s->state != MQTT_OPEN || s->keep_alive_s == 0 || s->paused)
        return UINT64_MAX;
    return s->heard_ms + (uint64_t)s->keep_alive_s * 1500;
}

static bool can_trim(const struct mqtt_session *s)
{
    bool spare_ring = s->ring != NULL && mqtt_ring_count(s->ring) == 0;
    bool spare_output = s->out.p != NULL && sl_buf_len(&s->out) == 0;
    return spare_ring || spare_output || s->lists != NULL;
}

static void trim(struct mqtt_session *s)
{
    if (mqtt_ring_count(s->ring) == 0) {
        mqtt_ring_free(s->ring);
        s->ring = NULL;
    }
    if (sl_buf_len(&s->out) == 0)
        sl_buf_fini(&s->out);
    mqtt_lists_drop(s);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t sweep_at(const struct mqtt_session *s)
{
    return later(s->heard_ms, s->swept_ms) + IDLE_MS;
}

/* Deliveries come without the time, so that a session that only listens is
 * seen to be busy here. */
static void sweep(struct mqtt_session *s, uint64_t now_ms)
{
    if (now_ms < sweep_at(s))
        return;
    if (s->delivered_lately)
        s->swept_ms = now_ms;
    else
        trim(s);
    s->delivered_lately = false;
}

static void check_silence(struct mqtt_session *s, uint64_t now_ms)
{
    if (now_ms < silence_deadline(s))
        return;
    if (s->silence_from_now) {
        s->silence_from_now = false;
        s->heard_ms = now_ms;
        return;
    }
    mqtt_fail(s, MQTT_KEEP_ALIVE_TIMEOUT, "keep_alive_timeout");
}

static void session_tick(struct proto_session *p, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (mqtt_over(s))
        return;
    if (now_ms < s->close_at_ms)
        check_silence(s, now_ms);
    else if (s->state == MQTT_OPEN)
        mqtt_fail(s, s->close_reason, mqtt_reason_word(s->close_reason));
    else
        mqtt_close(s, "connect_timeout");
    sweep(s, now_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t session_deadline(const struct proto_session *p)
{
    const struct mqtt_session *s = const_session_of(p);
    if (mqtt_over(s))
        return UINT64_MAX;
    uint64_t trim_at = can_trim(s) ? sweep_at(s) : UINT64_MAX;
    return earlier(earlier(s->close_at_ms, silence_deadline(s)), trim_at);
}

static void session_pause(struct proto_session *p, bool paused, uint64_t now_ms)
{
    struct mqtt_session *s = mqtt_session_of(p);
    if (s->paused && !paused)
        s->heard_ms = now_ms;
    s->paused = paused;
}

static size_t session_buffered(const struct proto_session *p)
{
    return sl_buf_len(&const_session_of(p)->part);
}

static bool session_over(const struct proto_session *p)
{
    return mqtt_over(const_session_of(p));
}

const struct protocol mqtt_protocol = {
    .name = "mqtt",
    .session_new = session_new,
    .session_free = session_free,
    .feed = mqtt_feed,
    .next = session_next,
    .hold = mqtt_hold,
    .over = session_over,
    .connected = mqtt_connected,
    .answer = mqtt_answer,
    .granted = mqtt_granted,
    .packets_new = mqtt_packets_new,
    .packets_free = mqtt_packets_free,
    .deliver = mqtt_deliver,
    .release = mqtt_release,
    .owed = mqtt_owed,
    .shutdown = session_shutdown,
    .output = session_output,
    .tick = session_tick,
    .deadline = session_deadline,
    .refuse = mqtt_refuse,
    .parked = mqtt_parked,
    .pause = session_pause,
    .buffered = session_buffered,
};
