/* A whole server session under a caller that the input drives: splits, time
 * steps, holds, pauses, and answers in any order. Checked: what goes out is
 * well-formed, answers leave in the order of their frames, the verdict asked
 * for is the word told, and nothing happens after PROTO_CLOSE.
 *
 * First byte: bit 0 an accepted CONNECT went before, bit 1 of MQTT 5, bits 2
 * and 3 limits. Then commands, each one byte with its operands. */
#include <string.h>

#include "core/alloc.h"
#include "mqtt_recode.h"
#include "protocols/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWED_MAX 4096u

struct owed {
    uint32_t token; /* 0: answered */
    uint8_t type;
    uint16_t packet_id;
};

struct world {
    struct proto_config cfg;
    struct proto_session *s;
    struct sl_reader in;
    uint64_t now_ms;
    bool closed;
    enum mqtt_version version;
    struct owed owed[OWED_MAX];
    size_t first, next; /* answers that did not leave yet */
};

static bool is_answer(const struct mqtt_frame *f)
{
    return f->type == MQTT_PUBACK || f->type == MQTT_PUBREC || f->type == MQTT_PUBCOMP;
}

/* What the session refuses by itself, a payload that is not UTF-8, was never
 * an event. */
static void check_order(struct world *w, struct mqtt_frame *f)
{
    struct mqtt_ack ack;
    if (!is_answer(f))
        return;
    SL_ASSERT(mqtt_decode_ack(f, &ack) == SL_OK);
    if (ack.reason == MQTT_PAYLOAD_FORMAT_INVALID)
        return;
    SL_ASSERT(w->first < w->next);
    const struct owed *o = &w->owed[w->first++];
    SL_ASSERT(o->token == 0 && o->type == ack.type && o->packet_id == ack.packet_id);
}

static void check_output(struct world *w)
{
    struct sl_buf *out = mqtt_protocol.output(w->s), again = { 0 };
    struct sl_bytes rest = sl_buf_view(out);
    while (rest.n > 0) {
        /* A PUBREL that lets a stray PUBREC go is the only packet from us that
         * a client could send too. */
        struct mqtt_frame f = { .version = (uint8_t)w->version, .from_server = true };
        if (rest.p[0] == MQTT_CONNACK << 4)
            f.version = rest.p[1] > 2 ? MQTT_V5 : MQTT_V311;
        SL_ASSERT(mqtt_frame_read(rest, MQTT_PACKET_MAX, &f) == SL_OK);
        SL_ASSERT(mqtt_recode(&f, &again) == SL_OK);
        check_order(w, &f);
        rest = sl_bytes_of(rest.p + f.size, rest.n - f.size);
    }
    sl_buf_consume(out, sl_buf_len(out));
    sl_buf_fini(&again);
}

static void owe(struct world *w, const struct proto_event *ev, uint8_t type, uint16_t packet_id)
{
    SL_ASSERT(ev->token != 0);
    if (w->next < OWED_MAX)
        w->owed[w->next] = (struct owed){ ev->token, type, packet_id };
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

static void on_connect(struct world *w, const struct proto_event *ev)
{
    const struct proto_connect *c = &ev->u.connect;
    look_at(c->client_id);
    look_at(c->username);
    look_at(c->password);
    look_at(c->will_topic);
    look_at(c->will_payload);
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
    else if (c < 0xF8)
        (void)pull(w);
    else if (c < 0xFE)
        mqtt_protocol.pause(w->s, c & 1, w->now_ms);
    else
        mqtt_protocol.shutdown(w->s, sl_rd_u8(&w->in) % (PROTO_BYE_STORE + 1));
}

static void connect_first(struct world *w, uint8_t options)
{
    static const uint8_t v5[] = "\x10\x10\0\4MQTT\5\2\0\x3c\0\0\3dev";
    static const uint8_t v3[] = "\x10\x0f\0\4MQTT\4\2\0\x3c\0\3dev";
    if ((options & 1) == 0)
        return;
    struct sl_reader rest = w->in;
    w->in = sl_reader_of((options & 2) != 0 ? sl_bytes_of(v5, sizeof v5 - 1)
                                            : sl_bytes_of(v3, sizeof v3 - 1));
    uint8_t ok = 0x10; /* read by on_connect as its verdict */
    struct sl_reader verdict = sl_reader_of(sl_bytes_of(&ok, 1));
    struct proto_event ev;
    mqtt_protocol.feed(w->s, sl_bytes_of(w->in.p, sl_reader_left(&w->in)), w->now_ms);
    SL_ASSERT(mqtt_protocol.next(w->s, &ev) && ev.kind == PROTO_CONNECT);
    w->in = verdict;
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
    };
    w.now_ms = 1000;
    w.in = sl_reader_of(sl_bytes_of(data + 1, size - 1));
    w.s = mqtt_protocol.session_new(&w.cfg, w.now_ms);
    connect_first(&w, data[0]);
    check_output(&w);
    while (!w.in.bad && sl_reader_left(&w.in) > 0) {
        command(&w);
        while (pull(&w))
            ;
        check_output(&w);
    }
    mqtt_protocol.session_free(w.s);
    return 0;
}
