#include "mqtt_harness.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/utf8.h"

/* ---- notation ---- */

static void put(struct sl_buf *to, const void *p, size_t n)
{
    int err = sl_buf_append(to, p, n);
    assert_int_equal(err, SL_OK);
}

static void put_varint(struct sl_buf *to, size_t v)
{
    do {
        uint8_t byte = v & 0x7F;
        v >>= 7;
        if (v > 0)
            byte |= 0x80;
        put(to, &byte, 1);
    } while (v > 0);
}

static const char *put_quoted(struct sl_buf *to, const char *p, bool prefixed)
{
    const char *end = strchr(p, '"');
    assert_non_null(end);
    size_t n = (size_t)(end - p);
    uint8_t length[2] = {(uint8_t)(n >> 8), (uint8_t)n};
    if (prefixed)
        put(to, length, 2);
    put(to, p, n);
    return end + 1;
}

static const char *put_filler(struct sl_buf *to, const char *p)
{
    char *end;
    unsigned long n = strtoul(p, &end, 10);
    while (n-- > 0)
        put(to, "z", 1);
    return end;
}

static const char *put_hex(struct sl_buf *to, const char *p)
{
    char pair[3] = {p[0], p[1], 0}, *end;
    uint8_t byte = (uint8_t)strtoul(pair, &end, 16);
    if (end != pair + 2)
        fail_msg("not in the notation: %s", p);
    put(to, &byte, 1);
    return p + 2;
}

#define NESTING 8

void notation(struct sl_buf *to, const char *p)
{
    struct sl_buf level[NESTING] = {0};
    size_t depth = 0;
    while (*p != 0) {
        struct sl_buf *here = depth == 0 ? to : &level[depth];
        if (*p == ' ' || *p == '\n') {
            p++;
        } else if (*p == '(') {
            assert_true(++depth < NESTING);
            p++;
        } else if (*p == ')') {
            struct sl_buf *outer = --depth == 0 ? to : &level[depth];
            put_varint(outer, sl_buf_len(here));
            put(outer, sl_buf_view(here).p, sl_buf_len(here));
            sl_buf_fini(here);
            p++;
        } else if (*p == '"') {
            p = put_quoted(here, p + 1, false);
        } else if (p[0] == 's' && p[1] == '"') {
            p = put_quoted(here, p + 2, true);
        } else if (*p == 'z') {
            p = put_filler(here, p + 1);
        } else {
            p = put_hex(here, p);
        }
    }
    assert_int_equal(depth, 0);
}

/* ---- life ---- */

void harness_init(struct harness *h)
{
    *h = (struct harness){0};
    h->cfg = (struct proto_config){
        .max_message = 1024 * 1024,
        .partial_packet = 128 * 1024,
        .connect_timeout_ms = 10000,
        .reject_grace_ms = 1000,
        .receive_maximum = 1024,
        .topic_alias_max = 8,
        .session_expiry_max_s = 3600,
        .retain_available = true,
        .server_name = "sluice",
    };
    h->answer_at_once = true;
    h->verdict = PROTO_ACCEPTED;
    h->grant = HARNESS_GRANT_ASKED;
    h->now_ms = 1000;
}

void harness_begin(struct harness *h)
{
    h->s = mqtt_protocol.session_new(&h->cfg, h->now_ms);
    h->packets = mqtt_protocol.packets_new();
}

static void harness_greet(struct harness *h, const char *connect)
{
    harness_feed_text(h, connect);
    assert_false(h->closed);
    sl_buf_clear(&h->log);
    sl_buf_clear(&h->out);
}

void harness_open(struct harness *h, enum mqtt_version v)
{
    if (h->s == NULL)
        harness_begin(h);
    harness_greet(h, v == MQTT_V5 ? "10 ( s\"MQTT\" 05 02 00 3c ( 17 00 ) s\"dev\" )"
                                  : "10 ( s\"MQTT\" 04 02 00 3c s\"dev\" )");
}

void harness_open_with(struct harness *h, const char *properties)
{
    char connect[256];
    int n = snprintf(connect, sizeof connect, "10 ( s\"MQTT\" 05 02 00 3c ( %s ) s\"dev\" )",
                     properties);
    assert_in_range(n, 0, sizeof connect - 1);
    if (h->s == NULL)
        harness_begin(h);
    harness_greet(h, connect);
}

void harness_end(struct harness *h)
{
    mqtt_protocol.session_free(h->s);
    mqtt_protocol.packets_free(h->packets);
    sl_buf_fini(&h->log);
    sl_buf_fini(&h->out);
}

/* ---- events to text ---- */

static void say(struct harness *h, const char *fmt, ...) SL_PRINTF(2, 3);
static void say(struct harness *h, const char *fmt, ...)
{
    char line[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    assert_in_range(n, 0, sizeof line - 1);
    put(&h->log, line, (size_t)n);
}

static void say_bytes(struct harness *h, const char *name, struct sl_bytes v)
{
    char text[256];
    if (v.n > 0)
        say(h, " %s=%s", name, sl_escape(v, text, sizeof text));
}

static void say_number(struct harness *h, const char *name, uint64_t v)
{
    if (v > 0)
        say(h, " %s=%" PRIu64, name, v);
}

static void say_connect(struct harness *h, const struct proto_connect *c)
{
    say(h, "CONNECT %s", c->protocol == MESSAGE_MQTT5 ? "mqtt5" : "mqtt3");
    say_bytes(h, "id", c->client_id);
    say_number(h, "clean", c->clean_start);
    say_number(h, "expiry", c->session_expiry_s);
    if (c->receive_maximum != UINT16_MAX)
        say(h, " receive=%u", c->receive_maximum);
    if (c->has_username)
        say_bytes(h, "user", c->username);
    if (c->has_password)
        say_bytes(h, "password", c->password);
    if (c->has_will) {
        say_bytes(h, "will", c->will_topic);
        say_bytes(h, "will_payload", c->will_payload);
        say_number(h, "will_qos", c->will_qos);
        say_number(h, "will_retain", c->will_retain);
        say_number(h, "will_delay", c->will_delay_s);
        say_number(h, "will_form", c->will_form);
        say_number(h, "will_expiry_ms", c->will_expiry_ms);
        say_bytes(h, "will_type", c->will_content_type);
        say_bytes(h, "will_correlation", c->will_correlation);
        say_bytes(h, "will_reply_to", c->will_reply_to);
        for (size_t i = 0; i < c->n_will_headers; i++) {
            say_bytes(h, "will_name", c->will_headers[i].name);
            say_bytes(h, "will_value", c->will_headers[i].value);
        }
    }
    say(h, "\n");
}

static void say_publish(struct harness *h, const struct proto_publish *p)
{
    say(h, "PUBLISH");
    say_bytes(h, "topic", p->topic);
    say_number(h, "qos", p->qos);
    say_number(h, "id", p->packet_id);
    say_number(h, "dup", p->dup);
    say_number(h, "retain", p->retain);
    say_number(h, "form", p->form);
    if (p->has_expiry)
        say(h, " expiry_ms=%" PRIu64, p->expiry_ms);
    say_bytes(h, "type", p->content_type);
    say_bytes(h, "correlation", p->correlation);
    say_bytes(h, "reply_to", p->reply_to);
    for (size_t i = 0; i < p->n_headers; i++) {
        say_bytes(h, "name", p->headers[i].name);
        say_bytes(h, "value", p->headers[i].value);
    }
    say_bytes(h, "body", p->payload);
    say(h, "\n");
}

static void say_disconnect(struct harness *h, const struct proto_disconnect *d)
{
    say(h, "DISCONNECT");
    say_number(h, "will", d->publish_will);
    if (d->has_expiry)
        say(h, " expiry=%" PRIu32, d->session_expiry_s);
    say(h, "\n");
}

static void say_filters(struct harness *h, const char *what, const struct proto_filters *fs)
{
    say(h, "%s", what);
    say_number(h, "subscription", fs->subscription_id);
    for (uint32_t i = 0; i < fs->n; i++) {
        const struct proto_filter *f = &fs->v[i];
        say_bytes(h, "group", f->group);
        say_bytes(h, "filter", f->filter);
        say_number(h, "qos", f->qos);
        say_number(h, "no_local", f->no_local);
        say_number(h, "as_published", f->retain_as_published);
        say_number(h, "handling", f->retain_handling);
    }
    say(h, "\n");
}

static void say_settle(struct harness *h, const struct proto_settle *s)
{
    static const char *const words[] = {
        [PROTO_ACKED] = "ACKED", [PROTO_RECEIVED] = "RECEIVED", [PROTO_COMPLETED] = "COMPLETED"};
    say(h, "%s id=%u", words[s->stage], s->packet_id);
    say_number(h, "refused", s->refused);
    say(h, "\n");
}

static void say_event(struct harness *h, const struct proto_event *ev)
{
    if (ev->kind == PROTO_CONNECT)
        say_connect(h, &ev->u.connect);
    else if (ev->kind == PROTO_PUBLISH)
        say_publish(h, &ev->u.publish);
    else if (ev->kind == PROTO_RELEASE)
        say(h, "RELEASE id=%u\n", ev->u.packet_id);
    else if (ev->kind == PROTO_SUBSCRIBE)
        say_filters(h, "SUBSCRIBE", &ev->u.filters);
    else if (ev->kind == PROTO_UNSUBSCRIBE)
        say_filters(h, "UNSUBSCRIBE", &ev->u.filters);
    else if (ev->kind == PROTO_SETTLE)
        say_settle(h, &ev->u.settle);
    else if (ev->kind == PROTO_DISCONNECT)
        say_disconnect(h, &ev->u.disconnect);
    else if (ev->kind == PROTO_CLOSE)
        say(h, "CLOSE %s\n", ev->u.reason);
    else
        fail_msg("MQTT has no event %d", (int)ev->kind);
}

/* ---- running ---- */

static void grant(struct harness *h, const struct proto_event *ev)
{
    const struct proto_filters *fs = &ev->u.filters;
    enum proto_grant *grants = sl_calloc(fs->n, sizeof grants[0]);
    for (uint32_t i = 0; i < fs->n; i++) {
        grants[i] = (enum proto_grant)h->grant;
        if (h->grant == HARNESS_GRANT_ASKED)
            grants[i] = ev->kind == PROTO_UNSUBSCRIBE ? PROTO_GRANT_REMOVED
                                                      : (enum proto_grant)fs->v[i].qos;
    }
    mqtt_protocol.granted(h->s, ev->token, grants, fs->n);
    sl_free(grants);
}

static void react(struct harness *h, const struct proto_event *ev)
{
    if (ev->kind == PROTO_SUBSCRIBE || ev->kind == PROTO_UNSUBSCRIBE)
        grant(h, ev);
    if (ev->kind == PROTO_CONNECT) {
        struct proto_connected a = {.result = h->connect_result,
                                    .session_present = h->session_present,
                                    .client_id = h->id_as_sent ? ev->u.connect.client_id
                                                               : sl_str("auto-1")};
        mqtt_protocol.connected(h->s, &a);
    } else if (ev->kind == PROTO_CLOSE) {
        h->closed = true;
    } else if (ev->token != 0 && h->answer_at_once) {
        mqtt_protocol.answer(h->s, ev->token, h->verdict, h->now_ms);
    } else if (ev->token != 0) {
        assert_true(h->n_tokens < HARNESS_TOKENS);
        h->tokens[h->n_tokens++] = ev->token;
    }
}

static void take_output(struct harness *h)
{
    struct sl_buf *from = mqtt_protocol.output(h->s);
    struct sl_bytes bytes = sl_buf_view(from);
    put(&h->out, bytes.p, bytes.n);
    sl_buf_consume(from, bytes.n);
}

void harness_pull(struct harness *h)
{
    struct proto_event ev;
    while (mqtt_protocol.next(h->s, &ev)) {
        if (!h->quiet || ev.kind == PROTO_CLOSE)
            say_event(h, &ev);
        react(h, &ev);
    }
    take_output(h);
}

/* An own copy per piece: a view that outlives its time is then seen. */
static void feed_piece(struct harness *h, struct sl_bytes piece)
{
    uint8_t *copy = sl_alloc(piece.n);
    memcpy(copy, piece.p, piece.n);
    mqtt_protocol.feed(h->s, sl_bytes_of(copy, piece.n), h->now_ms);
    harness_pull(h);
    sl_free(copy);
}

void harness_feed(struct harness *h, struct sl_bytes in, size_t step)
{
    for (size_t at = 0; at < in.n; at += step) {
        size_t n = in.n - at < step ? in.n - at : step;
        feed_piece(h, sl_bytes_of(in.p + at, n));
    }
}

void harness_feed_quietly(struct harness *h, struct sl_bytes in)
{
    h->quiet = true;
    feed_piece(h, in);
    h->quiet = false;
}

void harness_feed_text(struct harness *h, const char *text)
{
    struct sl_buf in = {0};
    notation(&in, text);
    harness_feed(h, sl_buf_view(&in), sl_buf_len(&in) + 1);
    sl_buf_fini(&in);
}

void harness_answer(struct harness *h, size_t nth, enum proto_result r)
{
    assert_true(nth < h->n_tokens);
    mqtt_protocol.answer(h->s, h->tokens[nth], r, h->now_ms);
    take_output(h);
}

enum proto_delivered harness_deliver(struct harness *h, const struct proto_delivery *d)
{
    enum proto_delivered result = mqtt_protocol.deliver(h->s, d, h->packets);
    take_output(h);
    return result;
}

void harness_release(struct harness *h, uint16_t packet_id, bool known)
{
    mqtt_protocol.release(h->s, packet_id, known);
    take_output(h);
}

void harness_tick(struct harness *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    mqtt_protocol.tick(h->s, now_ms);
    harness_pull(h);
}

const char *harness_log(struct harness *h)
{
    put(&h->log, "", 1);
    h->log.end--;
    return (const char *)sl_buf_view(&h->log).p;
}

void expect_log(struct harness *h, const char *log)
{
    assert_string_equal(harness_log(h), log);
    sl_buf_clear(&h->log);
}

static void to_hex(struct sl_bytes in, char *text, size_t cap)
{
    text[0] = 0;
    for (size_t i = 0; i < in.n && i * 3 + 4 < cap; i++)
        snprintf(text + i * 3, 4, "%02x ", in.p[i]);
}

void expect_out(struct harness *h, const char *text)
{
    struct sl_buf want = {0};
    notation(&want, text);
    char is[1024], should[1024];
    to_hex(sl_buf_view(&h->out), is, sizeof is);
    to_hex(sl_buf_view(&want), should, sizeof should);
    assert_string_equal(is, should);
    assert_int_equal(sl_buf_len(&h->out), sl_buf_len(&want));
    sl_buf_fini(&want);
    sl_buf_clear(&h->out);
}
