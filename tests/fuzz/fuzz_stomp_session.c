/* A STOMP session under an arbitrary caller and peer.
 *
 * Input: byte 0 chooses limits and the way of play.
 *   odd:  the rest is a byte stream. It is fed whole, then in pieces whose
 *         sizes byte 1 seeds: events and output must be the same.
 *   even: the rest is a script of operations: feed n bytes, pull, hold,
 *         answer a token in any order with any result, let time pass, pause,
 *         write output, shut down.
 * Always: what comes out is whole server frames and line feeds, nothing
 * follows ERROR, nothing follows PROTO_CLOSE, idle memory is given back. */
#include <stdlib.h>

#include "core/alloc.h"
#include "protocols/protocol.h"
#include "stomp/frame.h"

#define TOKENS 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    struct proto_session *s;
    struct proto_config cfg;
    struct proto_connected judgement;
    uint64_t now, digest;
    uint32_t tokens[TOKENS];
    size_t n_tokens;
    struct sl_buf sent;
    bool closed, at_once;
};

static void digest(struct play *p, struct sl_bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        p->digest = (p->digest ^ v.p[i]) * 1099511628211u;
    p->digest = (p->digest ^ v.n) * 1099511628211u;
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
    if (ev->kind != PROTO_PUBLISH)
        return;
    const struct proto_publish *m = &ev->u.publish;
    SL_ASSERT(m->topic.n > 0 && (m->to_queue || memchr(m->topic.p, '#', m->topic.n) == NULL));
    SL_ASSERT(m->payload.n <= p->cfg.max_message && m->n_headers <= p->cfg.max_headers);
    SL_ASSERT((ev->token == 0) == (m->transaction.n > 0));
    const struct sl_bytes parts[] = {m->topic,    m->content_type, m->correlation,
                                     m->reply_to, m->payload,      m->transaction};
    for (size_t i = 0; i < SL_COUNT(parts); i++)
        digest(p, parts[i]);
    for (size_t i = 0; i < m->n_headers; i++) {
        digest(p, m->headers[i].name);
        digest(p, m->headers[i].value);
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
    p->closed = ev.kind == PROTO_CLOSE;
    if (ev.kind == PROTO_CONNECT)
        stomp_protocol.connected(p->s, &p->judgement);
    if (ev.token == 0)
        return true;
    if (p->at_once || p->n_tokens == TOKENS)
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

static void check_output(const struct play *p)
{
    struct stomp_rules r = {STOMP_V12, false, 16, 65535, 65536, SIZE_MAX};
    struct sl_bytes left = sl_buf_view(&p->sent);
    bool error = false;
    for (;;) {
        size_t n = stomp_skip_eols(left);
        if (n == left.n)
            break;
        left = sl_bytes_of(left.p + n, left.n - n);
        SL_ASSERT(!error);
        struct stomp_scan sc = {0};
        r.version = STOMP_V10; /* the version is the client's choice: look at the shape alone */
        int err = stomp_scan(&sc, &r, left);
        SL_ASSERT(err == SL_OK);
        error = sc.command == STOMP_ERROR;
        left = sl_bytes_of(left.p + sc.pos, left.n - sc.pos);
    }
}

static void start(struct play *p, uint8_t choice)
{
    *p = (struct play){.now = 5000, .digest = 14695981039346656037u};
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
    p->judgement = (struct proto_connected){.client_id = sl_str("c1")};
    p->s = stomp_protocol.session_new(&p->cfg, p->now);
}

static void finish(struct play *p)
{
    while (pull(p)) {}
    take_output(p);
    check_output(p);
    digest(p, sl_buf_view(&p->sent));
    stomp_protocol.session_free(p->s);
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
                          result < 200 ? PROTO_ACCEPTED : (enum proto_result)(result % 7), p->now);
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
    switch (op % 8) {
    case 0:
    case 1:
    case 2: {
        size_t n = arg < sl_reader_left(r) ? arg : sl_reader_left(r);
        feed(p, sl_rd_bytes(r, n), op % 8 == 2);
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
    default:
        if (arg < 250)
            (void)pull(p);
        else
            stomp_protocol.shutdown(p->s, (enum proto_bye)(arg % 5));
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
    while (sl_reader_left(&r) > 1)
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
