/* A STOMP session under an arbitrary caller and peer.
 *
 * Input: byte 0 chooses limits and the way of play.
 *   odd:  the rest is a byte stream. It is fed whole, then in pieces whose
 *         sizes byte 1 seeds: events and output must be the same.
 *   even: the rest is a script of operations: feed n bytes, pull, hold,
 *         answer a token in any order with any result, deliver a message made
 *         of any bytes, let time pass, pause, write output, shut down.
 * Always: what comes out is whole server frames and line feeds, a MESSAGE has
 * each of its own lines once, nothing follows ERROR, nothing follows
 * PROTO_CLOSE, idle memory is given back. */
#include <stdlib.h>

#include "core/alloc.h"
#include "core/utf8.h"
#include "protocols/protocol.h"
#include "stomp/frame.h"

#define TOKENS    64u
#define CONSUMERS 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    struct proto_session *s;
    struct proto_config cfg;
    struct proto_connected judgement;
    uint64_t now, digest;
    uint32_t tokens[TOKENS];
    size_t n_tokens;
    struct proto_packets *packets;
    uint32_t consumers[CONSUMERS]; /* some of those that stand */
    uint32_t n_consumers, last_consumer;
    uint64_t deliveries;
    struct sl_buf sent;
    bool closed, at_once;
};

static void digest(struct play *p, struct sl_bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        p->digest = (p->digest ^ v.p[i]) * 1099511628211u;
    p->digest = (p->digest ^ v.n) * 1099511628211u;
}

static void digest_u64(struct play *p, uint64_t v)
{
    uint8_t bytes[8];
    (void)sl_wr_u64le(bytes, v);
    digest(p, sl_bytes_of(bytes, sizeof bytes));
}

static void digest_consume(struct play *p, const struct proto_event *ev)
{
    const struct proto_consume *c = &ev->u.consume;
    SL_ASSERT(ev->token != 0 && c->consumer == p->last_consumer + 1);
    SL_ASSERT(c->source.n > 0 && c->source.n <= UINT16_MAX && c->credit <= UINT16_MAX);
    p->last_consumer = c->consumer;
    digest(p, c->source);
    digest_u64(p, (uint64_t)c->credit << 8 | (uint64_t)c->mode << 2 | c->from_queue * 2u |
                      c->own_reply);
}

static void digest_acknowledge(struct play *p, const struct proto_event *ev)
{
    const struct proto_acknowledge *a = &ev->u.acknowledge;
    SL_ASSERT(a->consumer > 0 && a->consumer <= p->last_consumer && a->delivery > 0);
    SL_ASSERT(a->verdict != PROTO_EXTEND || (a->has_ms && a->ms > 0 && a->transaction.n == 0));
    SL_ASSERT(ev->token == 0 || a->transaction.n == 0);
    digest_u64(p, a->consumer);
    digest_u64(p, a->delivery);
    digest_u64(p, a->ms << 3 | (uint64_t)a->verdict << 1 | a->has_ms);
    digest(p, a->reason);
    digest(p, a->transaction);
}

static void digest_publish(struct play *p, const struct proto_event *ev)
{
    const struct proto_publish *m = &ev->u.publish;
    SL_ASSERT(m->topic.n > 0 && (m->to_queue || memchr(m->topic.p, '#', m->topic.n) == NULL));
    SL_ASSERT(m->payload.n <= p->cfg.max_message && m->n_headers <= p->cfg.max_headers);
    SL_ASSERT((ev->token == 0) == (m->transaction.n > 0));
    const struct sl_bytes parts[] = { m->topic,    m->content_type, m->correlation,
                                      m->reply_to, m->payload,      m->transaction };
    for (size_t i = 0; i < SL_COUNT(parts); i++)
        digest(p, parts[i]);
    for (size_t i = 0; i < m->n_headers; i++) {
        digest(p, m->headers[i].name);
        digest(p, m->headers[i].value);
    }
}

static void digest_event(struct play *p, const struct proto_event *ev)
{
    uint8_t kind = (uint8_t)ev->kind;
    digest(p, sl_bytes_of(&kind, 1));
    if (ev->kind == PROTO_BEGIN || ev->kind == PROTO_COMMIT || ev->kind == PROTO_ABORT)
        digest(p, ev->u.transaction);
    if (ev->kind == PROTO_CLOSE)
        digest(p, sl_str(ev->u.reason));
    if (ev->kind == PROTO_CONNECT) {
        digest(p, ev->u.connect.username);
        digest(p, ev->u.connect.password);
        digest(p, ev->u.connect.host);
        digest(p, ev->u.connect.client_id);
    }
    if (ev->kind == PROTO_CONSUME)
        digest_consume(p, ev);
    if (ev->kind == PROTO_CANCEL)
        digest_u64(p, ev->u.consumer);
    if (ev->kind == PROTO_ACKNOWLEDGE)
        digest_acknowledge(p, ev);
    if (ev->kind == PROTO_PUBLISH)
        digest_publish(p, ev);
}

/* ---- what the hub does ---- */

static void deliver(struct play *p, const struct message_parts *m, struct proto_delivery *d,
                    uint32_t which)
{
    if (p->n_consumers == 0)
        return;
    uint32_t number = p->consumers[which % p->n_consumers];
    struct message *msg = message_new(m);
    d->msg = msg;
    d->subscription_ids = &number;
    d->n_ids = 1;
    d->delivery = (which & 1u) != 0 ? ++p->deliveries : 0;
    (void)stomp_protocol.deliver(p->s, d, p->packets);
    message_unref(msg);
}

/* The same for every way of splitting: it depends on the events alone. */
static void deliver_something(struct play *p)
{
    struct message_header h = { sl_str("k:1"), sl_str("a\nb") };
    struct message_parts m = { .id = p->deliveries / 3,
                               .protocol = MESSAGE_MQTT5,
                               .topic = sl_str("a.b"),
                               .headers = &h,
                               .n_headers = 1,
                               .payload = sl_str("body") };
    struct proto_delivery d = { .attempt = 1 };
    p->deliveries++;
    deliver(p, &m, &d, (uint32_t)p->deliveries);
}

static void note_consumers(struct play *p, const struct proto_event *ev)
{
    if (ev->kind == PROTO_CONSUME && p->n_consumers < CONSUMERS)
        p->consumers[p->n_consumers++] = ev->u.consume.consumer;
    for (uint32_t i = 0; ev->kind == PROTO_CANCEL && i < p->n_consumers; i++) {
        if (p->consumers[i] == ev->u.consumer)
            p->consumers[i] = p->consumers[--p->n_consumers];
    }
}

static void take_output(struct play *p)
{
    struct sl_buf *out = stomp_protocol.output(p->s);
    int err = sl_buf_append_bytes(&p->sent, sl_buf_view(out));
    SL_ASSERT(err == SL_OK);
    sl_buf_consume(out, sl_buf_len(out));
}

static bool pull(struct play *p)
{
    struct proto_event ev;
    if (!stomp_protocol.next(p->s, &ev))
        return false;
    SL_ASSERT(!p->closed);
    digest_event(p, &ev);
    note_consumers(p, &ev);
    p->closed = ev.kind == PROTO_CLOSE;
    if (ev.kind == PROTO_CONNECT)
        stomp_protocol.connected(p->s, &p->judgement);
    if (p->at_once && ev.kind >= PROTO_CONSUME && ev.kind <= PROTO_ACKNOWLEDGE)
        deliver_something(p);
    if (ev.token == 0)
        return true;
    if (p->at_once || ev.kind == PROTO_CONSUME || p->n_tokens == TOKENS)
        stomp_protocol.answer(p->s, ev.token, PROTO_ACCEPTED, p->now);
    else
        p->tokens[p->n_tokens++] = ev.token;
    return true;
}

/* The piece lives exactly as long as the contract says. */
static void feed(struct play *p, struct sl_bytes in, bool hold)
{
    uint8_t *copy = sl_alloc(in.n);
    if (in.n > 0)
        memcpy(copy, in.p, in.n);
    stomp_protocol.feed(p->s, sl_bytes_of(copy, in.n), p->now);
    if (hold) {
        (void)pull(p);
        stomp_protocol.hold(p->s);
    } else {
        while (pull(p)) {}
    }
    sl_free(copy);
}

/* Its own lines stand there once, whatever the publisher wrote. */
static void check_message(struct sl_bytes head)
{
    static const char *const own[] = { "message-id", "destination", "content-length",
                                       "attempt",    "redelivered", "subscription",
                                       "ack",        "transaction" };
    unsigned seen[SL_COUNT(own)] = { 0 };
    struct stomp_line line;
    while (stomp_line_next(&head, &line)) {
        for (size_t i = 0; i < SL_COUNT(own); i++)
            seen[i] += sl_bytes_is(line.name, own[i]);
    }
    for (size_t i = 0; i < SL_COUNT(own); i++)
        SL_ASSERT(i < 5 ? seen[i] == 1 : seen[i] <= (i < 7));
}

static void check_output(const struct play *p)
{
    struct stomp_rules r = { STOMP_V12, false, 64, 65535, 65536, SIZE_MAX };
    struct sl_bytes left = sl_buf_view(&p->sent);
    bool error = false;
    for (;;) {
        size_t n = stomp_skip_eols(left);
        if (n == left.n)
            break;
        left = sl_bytes_of(left.p + n, left.n - n);
        SL_ASSERT(!error);
        struct stomp_scan sc = { 0 };
        r.version = STOMP_V10; /* the version is the client's choice: look at the shape alone */
        int err = stomp_scan(&sc, &r, left);
        SL_ASSERT(err == SL_OK);
        error = sc.command == STOMP_ERROR;
        if (sc.command == STOMP_MESSAGE)
            check_message(sl_bytes_of(left.p + sc.head, sc.body - sc.head));
        left = sl_bytes_of(left.p + sc.pos, left.n - sc.pos);
    }
}

static void start(struct play *p, uint8_t choice)
{
    *p = (struct play){ .now = 5000, .digest = 14695981039346656037u };
    p->cfg = (struct proto_config){
        .max_message = (choice & 2u) != 0 ? 64 : 2048,
        .partial_packet = (choice & 4u) != 0 ? 100 : 1024,
        .connect_timeout_ms = 1000,
        .receive_maximum = 16,
        .max_headers = (choice & 8u) != 0 ? 4 : 16,
        .max_header_bytes = (choice & 16u) != 0 ? 40 : 256,
        .heart_beat_ms = (choice & 32u) != 0 ? 0 : 500,
        .server_name = "sluice",
    };
    p->judgement = (struct proto_connected){ .client_id = sl_str("c1"), .reply_key = 0xabc };
    p->packets = stomp_protocol.packets_new();
    p->s = stomp_protocol.session_new(&p->cfg, p->now);
}

static void finish(struct play *p)
{
    while (pull(p)) {}
    take_output(p);
    check_output(p);
    digest(p, sl_buf_view(&p->sent));
    stomp_protocol.session_free(p->s);
    stomp_protocol.packets_free(p->packets);
    sl_buf_fini(&p->sent);
}

static uint64_t stream(struct sl_bytes in, uint8_t choice, uint32_t seed)
{
    struct play p;
    start(&p, choice);
    p.at_once = true;
    while (in.n > 0) {
        size_t n = in.n;
        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            size_t piece = 1 + (seed >> 24) % ((seed >> 16 & 3u) == 0 ? 64 : 5);
            n = piece < n ? piece : n;
        }
        feed(&p, sl_bytes_of(in.p, n), seed != 0 && (seed & 0x4000u) != 0);
        in = sl_bytes_of(in.p + n, in.n - n);
    }
    finish(&p);
    return p.digest;
}

static void answer_one(struct play *p, uint8_t which, uint8_t result)
{
    if (p->n_tokens == 0)
        return;
    size_t i = which % p->n_tokens;
    uint32_t token = p->tokens[i];
    p->tokens[i] = p->tokens[--p->n_tokens];
    stomp_protocol.answer(p->s, token,
                          result < 200 ? PROTO_ACCEPTED : (enum proto_result)(result % 9), p->now);
}

/* MQTT and STOMP give UTF-8 without NUL; others anything. */
static struct sl_bytes text(struct sl_reader *r, bool plain)
{
    struct sl_bytes v = sl_rd_bytes(r, sl_rd_u8(r) % 24);
    return plain && !sl_utf8_valid(v) ? sl_str("a.b:c") : v;
}

static void deliver_any(struct play *p, struct sl_reader *r, uint8_t how)
{
    bool plain = (how & 1u) == 0;
    struct message_header headers[4];
    struct message_parts m = {
        .id = how >> 5,
        .protocol = plain ? MESSAGE_MQTT5 : MESSAGE_WORKER,
        .flags = (how & 2u) != 0 ? MESSAGE_TO_QUEUE : 0,
        .topic = text(r, true),
        .content_type = text(r, plain),
        .correlation = text(r, false),
        .reply_to = text(r, plain),
        .headers = headers,
        .n_headers = how >> 2 & 3u,
    };
    for (size_t i = 0; i < m.n_headers; i++)
        headers[i] = (struct message_header){ text(r, plain), text(r, plain) };
    m.payload = text(r, false);
    struct proto_delivery d = { .attempt = 1u + how, .redelivered = how & 8u, .retain = how & 16u };
    d.has_expiry = how & 4u;
    d.expires_wall_ms = 1u + how % 3u;
    deliver(p, &m, &d, how);
    while (stomp_protocol.over(p->s) && pull(p)) {}
}

static void pass_time(struct play *p, uint8_t by)
{
    uint64_t at = stomp_protocol.deadline(p->s);
    p->now += by < 128 ? by : (uint64_t)(by - 127) * 50;
    if (by == 255 && at != UINT64_MAX && at > p->now)
        p->now = at;
    /* Twice: connected() starts the heart-beats with the next tick. */
    for (int i = 0; i < 2; i++) {
        stomp_protocol.tick(p->s, p->now);
        while (pull(p)) {}
    }
    SL_ASSERT(stomp_protocol.deadline(p->s) > p->now);
}

static void step(struct play *p, struct sl_reader *r)
{
    uint8_t op = sl_rd_u8(r), arg = sl_rd_u8(r);
    switch (op % 10) {
    case 0:
    case 1:
    case 2: {
        size_t n = arg < sl_reader_left(r) ? arg : sl_reader_left(r);
        feed(p, sl_rd_bytes(r, n), op % 10 == 2);
        break;
    }
    case 3:
        answer_one(p, arg, sl_rd_u8(r));
        break;
    case 4:
        pass_time(p, arg);
        break;
    case 5:
        stomp_protocol.pause(p->s, arg & 1u, p->now);
        break;
    case 6:
        take_output(p);
        break;
    case 7:
    case 8:
        deliver_any(p, r, arg);
        break;
    default:
        if (arg < 250)
            (void)pull(p);
        else
            stomp_protocol.shutdown(p->s, (enum proto_bye)(arg % 8));
        break;
    }
}

static void script(struct sl_bytes in, uint8_t choice)
{
    struct play p;
    start(&p, choice);
    struct sl_reader r = sl_reader_of(in);
    if ((choice & 64u) != 0)
        p.judgement.result = (enum proto_connect_result)(choice >> 7);
    while (!r.bad && sl_reader_left(&r) > 1)
        step(&p, &r);
    finish(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    if ((data[0] & 1u) == 0) {
        script(sl_bytes_of(data + 1, size - 1), data[0]);
        return 0;
    }
    struct sl_bytes in = sl_bytes_of(data + 2, size - 2);
    uint64_t whole = stream(in, data[0], 0);
    uint64_t split = stream(in, data[0], data[1] + 1u);
    SL_ASSERT(whole == split);
    return 0;
}
