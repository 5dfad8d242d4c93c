/* A whole server session under a caller that the input drives: splits, time
 * steps, holds, pauses, deliveries, and answers in any order. Checked, as the
 * client would see it: what goes out is well-formed and no larger than was
 * asked for, answers leave in the order of their frames, the verdict asked for
 * is the word told, each delivery comes out once and whole with an alias that
 * means its topic, and nothing happens after PROTO_CLOSE.
 *
 * First byte: bit 0 an accepted CONNECT went before, bit 1 of MQTT 5, bits 2 to
 * 4 limits of the server, bits 5 to 7 what that client asks for: a maximum
 * packet size, topic aliases, no reason strings. Then commands, each one byte
 * with its operands. */
#include <string.h>

#include "core/alloc.h"
#include "mqtt_recode.h"
#include "protocols/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWED_MAX       4096u
#define CLIENT_MAX     64u
#define CLIENT_ALIASES 3u
#define TOPIC_MAX      24u

struct owed {
    uint32_t token; /* 0: answered */
    uint8_t type;
    uint16_t packet_id; /* SUBACK, UNSUBACK: number of filters */
    uint8_t grant;      /* of each filter */
};

/* What the client knows of a delivery that is on its way. */
struct expected {
    bool any;
    struct proto_delivery d;
};

struct world {
    struct proto_config cfg;
    struct proto_session *s;
    struct proto_packets *packets;
    struct sl_reader in;
    uint64_t now_ms, messages;
    bool closed, first_connect, small, aliases, quiet;
    enum mqtt_version version;
    struct owed owed[OWED_MAX];
    size_t first, next; /* answers that did not leave yet */
    struct expected expected;
    uint8_t topics[CLIENT_ALIASES + 1][TOPIC_MAX];
    size_t topic_bytes[CLIENT_ALIASES + 1];
};

static bool is_answer(const struct mqtt_frame *f)
{
    return f->type == MQTT_PUBACK || f->type == MQTT_PUBREC || f->type == MQTT_PUBCOMP;
}

static bool is_list(const struct mqtt_frame *f)
{
    return f->type == MQTT_SUBACK || f->type == MQTT_UNSUBACK;
}

/* ---- what the client sees ---- */

static void check_reason(const struct world *w, const struct mqtt_props *props)
{
    SL_ASSERT(!w->quiet || !mqtt_props_has(props, MQTT_PROP_REASON_STRING));
}

static void check_codes(struct world *w, struct mqtt_frame *f)
{
    struct mqtt_codes codes;
    int err =
        f->type == MQTT_SUBACK ? mqtt_decode_suback(f, &codes) : mqtt_decode_unsuback(f, &codes);
    SL_ASSERT(err == SL_OK && w->first < w->next);
    check_reason(w, &codes.props);
    const struct owed *o = &w->owed[w->first++];
    SL_ASSERT(o->token == 0 && o->type == f->type);
    if (f->type == MQTT_UNSUBACK && f->version == MQTT_V311)
        return;
    SL_ASSERT(codes.codes.n == o->packet_id);
    for (size_t i = 0; i < codes.codes.n; i++)
        SL_ASSERT(o->grant > PROTO_GRANT_QOS2 ? codes.codes.p[i] >= 0x80
                                              : codes.codes.p[i] == o->grant);
}

static void check_alias(struct world *w, const struct mqtt_publish *p, struct sl_bytes *topic)
{
    *topic = p->topic;
    if (!mqtt_props_has(&p->props, MQTT_PROP_TOPIC_ALIAS))
        return;
    uint32_t alias = mqtt_props_number(&p->props, MQTT_PROP_TOPIC_ALIAS, 0);
    SL_ASSERT(alias > 0);
    if (!w->first_connect)
        return;
    SL_ASSERT(w->aliases && alias <= CLIENT_ALIASES);
    if (p->topic.n > 0) {
        SL_ASSERT(p->topic.n <= TOPIC_MAX);
        memcpy(w->topics[alias], p->topic.p, p->topic.n);
        w->topic_bytes[alias] = p->topic.n;
    }
    *topic = sl_bytes_of(w->topics[alias], w->topic_bytes[alias]);
}

static void check_publish(struct world *w, struct mqtt_frame *f)
{
    struct mqtt_publish p;
    struct sl_bytes topic;
    const struct proto_delivery *d = &w->expected.d;
    SL_ASSERT(mqtt_decode_publish(f, &p) == SL_OK && w->expected.any);
    w->expected.any = false;
    check_alias(w, &p, &topic);
    SL_ASSERT(p.qos == d->qos && p.dup == d->dup && p.retain == d->retain &&
              p.packet_id == d->packet_id);
    SL_ASSERT(topic.n == 0 || sl_bytes_eq(topic, message_topic(d->msg)));
    SL_ASSERT(sl_bytes_eq(p.payload, message_payload(d->msg)));
    if (f->version == MQTT_V5) {
        SL_ASSERT(p.props.n_subscription_ids == d->n_ids);
        SL_ASSERT(mqtt_props_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, 0) ==
                  (d->has_expiry ? d->expiry_s : 0));
    }
}

/* What the session refuses by itself, a payload that is not UTF-8, was never
 * an event. */
static void check_answer(struct world *w, struct mqtt_frame *f)
{
    struct mqtt_ack ack;
    SL_ASSERT(mqtt_decode_ack(f, &ack) == SL_OK);
    check_reason(w, &ack.props);
    if (ack.reason == MQTT_PAYLOAD_FORMAT_INVALID)
        return;
    SL_ASSERT(w->first < w->next);
    const struct owed *o = &w->owed[w->first++];
    SL_ASSERT(o->token == 0 && o->type == ack.type && o->packet_id == ack.packet_id);
}

static void check_packet(struct world *w, struct mqtt_frame *f)
{
    struct mqtt_word word;
    if (w->first_connect && w->small)
        SL_ASSERT(f->size <= CLIENT_MAX);
    if (f->type == MQTT_PUBLISH)
        check_publish(w, f);
    else if (is_list(f))
        check_codes(w, f);
    else if (is_answer(f))
        check_answer(w, f);
    else if (f->type == MQTT_DISCONNECT) {
        SL_ASSERT(mqtt_decode_disconnect(f, &word) == SL_OK);
        check_reason(w, &word.props);
    }
}

static void check_output(struct world *w)
{
    struct sl_buf *out = mqtt_protocol.output(w->s), again = { 0 };
    struct sl_bytes rest = sl_buf_view(out);
    while (rest.n > 0) {
        struct mqtt_frame f = { .version = (uint8_t)w->version, .from_server = true };
        if (rest.p[0] == MQTT_CONNACK << 4)
            f.version = rest.p[1] > 2 ? MQTT_V5 : MQTT_V311;
        SL_ASSERT(mqtt_frame_read(rest, MQTT_PACKET_MAX, &f) == SL_OK);
        SL_ASSERT(mqtt_recode(&f, &again) == SL_OK);
        check_packet(w, &f);
        rest = sl_bytes_of(rest.p + f.size, rest.n - f.size);
    }
    SL_ASSERT(!w->expected.any);
    sl_buf_consume(out, sl_buf_len(out));
    sl_buf_fini(&again);
}

/* ---- what the caller does with events ---- */

static void owe(struct world *w, const struct proto_event *ev, uint8_t type, uint16_t packet_id)
{
    SL_ASSERT(ev->token != 0);
    if (w->next < OWED_MAX)
        w->owed[w->next] = (struct owed){ ev->token, type, packet_id, 0 };
    w->next++;
}

/* Touches every byte that the event shows. */
static void look_at(struct sl_bytes v)
{
    volatile uint8_t sink = 0;
    for (size_t i = 0; i < v.n; i++)
        sink = (uint8_t)(sink ^ v.p[i]);
}

static void on_publish(struct world *w, const struct proto_event *ev)
{
    const struct proto_publish *p = &ev->u.publish;
    look_at(p->topic);
    look_at(p->payload);
    look_at(p->reply_to);
    look_at(p->correlation);
    look_at(p->content_type);
    for (size_t i = 0; i < p->n_headers; i++) {
        look_at(p->headers[i].name);
        look_at(p->headers[i].value);
    }
    SL_ASSERT(p->topic.n > 0 && p->payload.n <= w->cfg.max_message);
    if (p->qos > 0)
        owe(w, ev, p->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, p->packet_id);
}

static void look_at_filter(const struct proto_filter *f)
{
    look_at(f->filter);
    look_at(f->group);
    SL_ASSERT(f->filter.n > 0 && f->qos <= 2 && f->retain_handling <= 2);
    for (size_t i = 0; i < f->group.n; i++)
        SL_ASSERT(f->group.p[i] != '/' && f->group.p[i] != '+' && f->group.p[i] != '#');
    SL_ASSERT(f->group.n == 0 || !f->no_local);
}

static void on_filters(struct world *w, const struct proto_event *ev)
{
    const struct proto_filters *fs = &ev->u.filters;
    bool subscribe = ev->kind == PROTO_SUBSCRIBE;
    SL_ASSERT(fs->n > 0 && (subscribe || fs->subscription_id == 0));
    uint8_t how = sl_rd_u8(&w->in) % 5;
    uint8_t grant = how < 3 ? how : (uint8_t)(PROTO_GRANT_DENIED + how - 3);
    if (!subscribe && how < 3)
        grant = PROTO_GRANT_REMOVED;
    enum proto_grant *grants = sl_calloc(fs->n, sizeof grants[0]);
    for (uint32_t i = 0; i < fs->n; i++) {
        look_at_filter(&fs->v[i]);
        grants[i] = (enum proto_grant)grant;
    }
    mqtt_protocol.granted(w->s, ev->token, grants, fs->n);
    sl_free(grants);
    owe(w, ev, subscribe ? MQTT_SUBACK : MQTT_UNSUBACK, (uint16_t)fs->n);
    if (w->next <= OWED_MAX)
        w->owed[w->next - 1].grant = grant == PROTO_GRANT_REMOVED ? 0 : grant;
}

static void on_settle(struct world *w, const struct proto_settle *settle)
{
    SL_ASSERT(settle->packet_id > 0);
    if (settle->stage == PROTO_RECEIVED && !settle->refused)
        mqtt_protocol.release(w->s, settle->packet_id, settle->packet_id % 2 == 0);
}

static void on_connect(struct world *w, const struct proto_event *ev)
{
    const struct proto_connect *c = &ev->u.connect;
    look_at(c->client_id);
    look_at(c->username);
    look_at(c->password);
    look_at(c->will_topic);
    look_at(c->will_payload);
    SL_ASSERT(c->receive_maximum > 0);
    w->version = c->protocol == MESSAGE_MQTT5 ? MQTT_V5 : MQTT_V311;
    uint8_t how = sl_rd_u8(&w->in);
    if (how > 250)
        mqtt_protocol.hold(w->s);
    struct proto_connected a = { .result = how > 5 ? PROTO_CONNECT_OK : how,
                                 .session_present = how & 1,
                                 .client_id = sl_str("assigned") };
    mqtt_protocol.connected(w->s, &a);
}

static bool pull(struct world *w)
{
    struct proto_event ev;
    if (!mqtt_protocol.next(w->s, &ev))
        return false;
    SL_ASSERT(!w->closed);
    if (ev.kind == PROTO_CONNECT)
        on_connect(w, &ev);
    else if (ev.kind == PROTO_PUBLISH)
        on_publish(w, &ev);
    else if (ev.kind == PROTO_RELEASE)
        owe(w, &ev, MQTT_PUBCOMP, ev.u.packet_id);
    else if (ev.kind == PROTO_SUBSCRIBE || ev.kind == PROTO_UNSUBSCRIBE)
        on_filters(w, &ev);
    else if (ev.kind == PROTO_SETTLE)
        on_settle(w, &ev.u.settle);
    else if (ev.kind == PROTO_CLOSE)
        w->closed = true;
    return true;
}

/* Pulls all, or some and holds the rest. */
static void feed(struct world *w, size_t n, unsigned pulls)
{
    size_t left = sl_reader_left(&w->in);
    struct sl_bytes piece = sl_rd_bytes(&w->in, n < left ? n : left);
    uint8_t *copy = sl_alloc(piece.n);
    if (piece.n > 0)
        memcpy(copy, piece.p, piece.n);
    mqtt_protocol.feed(w->s, sl_bytes_of(copy, piece.n), w->now_ms);
    bool more = true;
    while (more && pulls-- > 0)
        more = pull(w);
    if (more)
        mqtt_protocol.hold(w->s);
    sl_free(copy);
}

static void answer(struct world *w, uint8_t which, uint8_t verdict)
{
    size_t n = w->next < OWED_MAX ? w->next : OWED_MAX;
    if (verdict > 0xF0)
        mqtt_protocol.answer(w->s, 0, verdict % (PROTO_REFUSED_STORE + 1), w->now_ms);
    if (n == w->first)
        return;
    struct owed *o = &w->owed[w->first + which % (n - w->first)];
    if (o->token == 0 || w->closed)
        return;
    enum proto_result r = verdict % (PROTO_REFUSED_STORE + 1);
    if (o->type == MQTT_SUBACK || o->type == MQTT_UNSUBACK)
        r = r == PROTO_REFUSED_STORE ? r : PROTO_ACCEPTED;
    uint32_t token = o->token;
    o->token = 0;
    mqtt_protocol.answer(w->s, token, r, w->now_ms);
}

static void pass_time(struct world *w, uint16_t seconds)
{
    uint64_t due = mqtt_protocol.deadline(w->s);
    w->now_ms += (uint64_t)seconds * 100;
    mqtt_protocol.tick(w->s, w->now_ms);
    /* What was due has been dealt with, or is due later. */
    SL_ASSERT(due > w->now_ms || mqtt_protocol.deadline(w->s) > w->now_ms);
}

/* ---- deliveries ---- */

static struct message *message_from(struct world *w, uint8_t shape)
{
    static const char *const topics[] = { "t", "topic/a", "topic/bb", "a/long/topic/name" };
    static const struct message_header headers[] = { { { (const uint8_t *)"k", 1 },
                                                       { (const uint8_t *)"v", 1 } } };
    size_t left = sl_reader_left(&w->in), n = sl_rd_u8(&w->in);
    struct message_parts parts = {
        .id = shape & 1 ? ++w->messages : 0,
        .protocol = shape & 2 ? MESSAGE_MQTT5 : MESSAGE_STOMP,
        .topic = sl_str(topics[shape >> 2 & 3]),
        .payload = sl_rd_bytes(&w->in, n < left ? n : 0),
    };
    if ((shape & 16) != 0) {
        parts.headers = headers;
        parts.n_headers = 1;
        parts.content_type = parts.payload;
        parts.reply_to = parts.payload;
        parts.correlation = parts.payload;
    }
    if (parts.protocol == MESSAGE_MQTT5) { /* such were checked on their way in */
        parts.content_type = SL_BYTES_NONE;
        parts.reply_to = SL_BYTES_NONE;
    }
    return message_new(&parts);
}

/* One message to this client, more than once. */
static void deliver(struct world *w, unsigned times)
{
    static const uint32_t ids[] = { 1, 300, 70000, 3, 4, 5, 6, 7, 8, 9 };
    struct message *m = message_from(w, sl_rd_u8(&w->in));
    for (unsigned i = 0; i < times; i++) {
        uint8_t how = sl_rd_u8(&w->in), more = sl_rd_u8(&w->in);
        struct proto_delivery d = { .msg = m, .qos = how % 3, .retain = (how & 4) != 0 };
        d.dup = d.qos > 0 && (how & 8) != 0;
        d.packet_id = d.qos > 0 ? (uint16_t)(1 + more) : 0;
        d.has_expiry = (how & 16) != 0;
        d.expiry_s = d.has_expiry ? 1u + (more & 1) : 0;
        d.subscription_ids = ids;
        d.n_ids = more % (SL_COUNT(ids) + 1);
        size_t before = sl_buf_len(mqtt_protocol.output(w->s));
        bool over = mqtt_protocol.over(w->s);
        enum proto_delivered result = mqtt_protocol.deliver(w->s, &d, w->packets);
        SL_ASSERT(result == PROTO_SENT || before == sl_buf_len(mqtt_protocol.output(w->s)));
        SL_ASSERT(!over || result == PROTO_ENDED);
        SL_ASSERT(result != PROTO_TOO_LARGE || !w->first_connect || w->small);
        w->expected = (struct expected){ result == PROTO_SENT, d };
        check_output(w);
    }
    message_unref(m);
}

static void command(struct world *w)
{
    uint8_t c = sl_rd_u8(&w->in);
    if (c < 0x80)
        feed(w, c, 1000000);
    else if (c < 0x90)
        feed(w, (size_t)sl_rd_u16be(&w->in), c & 15u);
    else if (c < 0xC0)
        answer(w, c & 63u, sl_rd_u8(&w->in));
    else if (c < 0xE0)
        answer(w, c & 31u, PROTO_ACCEPTED);
    else if (c < 0xF0)
        pass_time(w, sl_rd_u16be(&w->in));
    else if (c < 0xF2)
        (void)pull(w);
    else if (c < 0xF7)
        deliver(w, c - 0xF1u);
    else if (c < 0xF8)
        mqtt_protocol.release(w->s, 1, sl_rd_u8(&w->in) & 1);
    else if (c < 0xFE)
        mqtt_protocol.pause(w->s, c & 1, w->now_ms);
    else
        mqtt_protocol.shutdown(w->s, sl_rd_u8(&w->in) % (PROTO_BYE_PROTOCOL + 1));
}

static size_t first_packet(const struct world *w, uint8_t options, uint8_t *to)
{
    static const uint8_t v5[] = "\x10\0\0\4MQTT\5\2\0\x3c\0";
    static const uint8_t v3[] = "\x10\x0f\0\4MQTT\4\2\0\x3c\0\3dev";
    if ((options & 2) == 0) {
        memcpy(to, v3, sizeof v3 - 1);
        return sizeof v3 - 1;
    }
    memcpy(to, v5, sizeof v5 - 1);
    uint8_t *p = to + sizeof v5 - 1;
    if (w->small)
        p = sl_wr_u32be(sl_wr_u8(p, MQTT_PROP_MAXIMUM_PACKET_SIZE), CLIENT_MAX);
    if (w->aliases)
        p = sl_wr_u16be(sl_wr_u8(p, MQTT_PROP_TOPIC_ALIAS_MAXIMUM), CLIENT_ALIASES);
    if (w->quiet)
        p = sl_wr_u8(sl_wr_u8(p, MQTT_PROP_REQUEST_PROBLEM_INFO), 0);
    to[sizeof v5 - 2] = (uint8_t)(p - to - (ptrdiff_t)sizeof v5 + 1);
    p = sl_wr_bytes(sl_wr_u16be(p, 3), sl_str("dev"));
    to[1] = (uint8_t)(p - to - 2);
    return (size_t)(p - to);
}

static void connect_first(struct world *w, uint8_t options)
{
    if ((options & 1) == 0)
        return;
    bool v5 = (options & 2) != 0;
    w->first_connect = true;
    w->small = v5 && (options & 32) != 0;
    w->aliases = v5 && (options & 64) != 0;
    w->quiet = v5 && (options & 128) != 0;
    uint8_t packet[64];
    size_t n = first_packet(w, options, packet);
    struct sl_reader rest = w->in;
    uint8_t ok = 0x10; /* read by on_connect as its verdict */
    struct proto_event ev;
    mqtt_protocol.feed(w->s, sl_bytes_of(packet, n), w->now_ms);
    SL_ASSERT(mqtt_protocol.next(w->s, &ev) && ev.kind == PROTO_CONNECT);
    w->in = sl_reader_of(sl_bytes_of(&ok, 1));
    on_connect(w, &ev);
    w->in = rest;
    SL_ASSERT(!mqtt_protocol.next(w->s, &ev));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    if (size == 0)
        return 0;
    memset(&w, 0, sizeof w);
    w.cfg = (struct proto_config){
        .max_message = data[0] & 4 ? 64 : 1u << 20,
        .partial_packet = 4096,
        .connect_timeout_ms = 10000,
        .reject_grace_ms = 1000,
        .receive_maximum = data[0] & 8 ? 3 : 1024,
        .topic_alias_max = 16,
        .session_expiry_max_s = 3600,
        .max_keep_alive_s = data[0] & 16 ? 30 : 0,
        .retain_available = (data[0] & 4) == 0,
        .response_information = "answers/%c",
    };
    w.now_ms = 1000;
    w.in = sl_reader_of(sl_bytes_of(data + 1, size - 1));
    w.s = mqtt_protocol.session_new(&w.cfg, w.now_ms);
    w.packets = mqtt_protocol.packets_new();
    connect_first(&w, data[0]);
    check_output(&w);
    while (!w.in.bad && sl_reader_left(&w.in) > 0) {
        command(&w);
        while (pull(&w))
            ;
        check_output(&w);
    }
    mqtt_protocol.session_free(w.s);
    mqtt_protocol.packets_free(w.packets);
    return 0;
}
