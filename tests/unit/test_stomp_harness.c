#include "test_stomp_harness.h"

#include <inttypes.h>
#include <stdlib.h>

static void note(struct harness *h, const char *name, struct sl_bytes v)
{
    if (v.n > 0)
        assert_int_equal(sl_buf_printf(&h->log, " %s=%.*s", name, (int)v.n, (const char *)v.p),
                         SL_OK);
}

static void say(struct harness *h, const char *text)
{
    assert_int_equal(sl_buf_append(&h->log, text, strlen(text)), SL_OK);
}

static void log_connect(struct harness *h, const struct proto_connect *c)
{
    say(h, "CONNECT");
    note(h, "host", c->host);
    note(h, "id", c->client_id);
    if (c->has_username)
        note(h, "user", c->username);
    if (c->has_password)
        note(h, "pass", c->password);
    assert_int_equal(c->protocol, MESSAGE_STOMP);
}

static void log_publish(struct harness *h, const struct proto_publish *p)
{
    say(h, p->to_queue ? "PUBLISH queue" : "PUBLISH topic");
    note(h, "to", p->topic);
    say(h, p->qos > 0 ? " qos=1" : " qos=0");
    if (p->retain)
        say(h, " retain");
    note(h, "tx", p->transaction);
    note(h, "type", p->content_type);
    note(h, "corr", p->correlation);
    note(h, "reply", p->reply_to);
    for (size_t i = 0; i < p->n_headers; i++)
        assert_int_equal(sl_buf_printf(&h->log, " [%.*s|%.*s]", (int)p->headers[i].name.n,
                                       (const char *)p->headers[i].name.p,
                                       (int)p->headers[i].value.n,
                                       (const char *)p->headers[i].value.p),
                         SL_OK);
    if (p->payload.n <= 64)
        note(h, "body", p->payload);
    else
        assert_int_equal(sl_buf_printf(&h->log, " bytes=%zu", p->payload.n), SL_OK);
}

static void number(struct harness *h, const char *name, uint64_t v)
{
    assert_int_equal(sl_buf_printf(&h->log, " %s%" PRIu64, name, v), SL_OK);
}

static void log_consume(struct harness *h, const struct proto_consume *c)
{
    static const char *const modes[] = { " auto", " client", " each" };
    say(h, "CONSUME");
    number(h, "", c->consumer);
    say(h, c->from_queue ? " queue" : c->own_reply ? " reply" : " topic");
    note(h, "from", c->source);
    say(h, modes[c->mode]);
    if (c->credit > 0)
        number(h, "credit=", c->credit);
}

static void log_acknowledge(struct harness *h, const struct proto_acknowledge *a)
{
    static const char *const verdicts[] = { "ACK", "NACK", "DEAD", "EXTEND" };
    say(h, verdicts[a->verdict]);
    number(h, "consumer=", a->consumer);
    number(h, "delivery=", a->delivery);
    if (a->has_ms)
        number(h, "ms=", a->ms);
    note(h, "reason", a->reason);
    note(h, "tx", a->transaction);
}

static void log_event(struct harness *h, const struct proto_event *ev)
{
    switch (ev->kind) {
    case PROTO_CONNECT:
        log_connect(h, &ev->u.connect);
        break;
    case PROTO_PUBLISH:
        log_publish(h, &ev->u.publish);
        break;
    case PROTO_CONSUME:
        log_consume(h, &ev->u.consume);
        break;
    case PROTO_CANCEL:
        say(h, "CANCEL");
        number(h, "", ev->u.consumer);
        break;
    case PROTO_ACKNOWLEDGE:
        log_acknowledge(h, &ev->u.acknowledge);
        break;
    case PROTO_BEGIN:
        say(h, "BEGIN");
        note(h, "tx", ev->u.transaction);
        break;
    case PROTO_COMMIT:
        say(h, "COMMIT");
        note(h, "tx", ev->u.transaction);
        break;
    case PROTO_ABORT:
        say(h, "ABORT");
        note(h, "tx", ev->u.transaction);
        break;
    case PROTO_DISCONNECT:
        say(h, "DISCONNECT");
        break;
    case PROTO_CLOSE:
        say(h, "CLOSE ");
        say(h, ev->u.reason);
        break;
    case PROTO_RELEASE:
    case PROTO_SUBSCRIBE:
    case PROTO_UNSUBSCRIBE:
    case PROTO_SETTLE:
        fail_msg("no event of STOMP");
        break;
    }
    say(h, "\n");
}

static void take_output(struct harness *h)
{
    struct sl_buf *out = stomp_protocol.output(h->s);
    struct sl_bytes v = sl_buf_view(out);
    for (size_t i = 0; i < v.n; i++) {
        const char *nul = v.p[i] == 0 ? "^@" : NULL;
        int err =
            nul != NULL ? sl_buf_append(&h->sent, nul, 2) : sl_buf_append(&h->sent, &v.p[i], 1);
        assert_int_equal(err, SL_OK);
    }
    sl_buf_consume(out, v.n);
}

static void on_token(struct harness *h, uint32_t token)
{
    if (token == 0)
        return;
    if (h->answers == ANSWER_AT_ONCE) {
        stomp_protocol.answer(h->s, token, PROTO_ACCEPTED, h->now);
        return;
    }
    assert_true(h->n_tokens < SL_COUNT(h->tokens));
    h->tokens[h->n_tokens++] = token;
}

bool harness_next(struct harness *h)
{
    struct proto_event ev;
    if (!stomp_protocol.next(h->s, &ev))
        return false;
    log_event(h, &ev);
    if (ev.kind == PROTO_CONNECT && !h->unjudged)
        stomp_protocol.connected(h->s, &h->judgement);
    on_token(h, ev.token);
    return true;
}

void harness_pull(struct harness *h)
{
    while (harness_next(h)) {}
    take_output(h);
}

void harness_feed(struct harness *h, const void *p, size_t n, size_t step)
{
    const uint8_t *at = p;
    while (n > 0) {
        size_t piece = n < step ? n : step;
        uint8_t *copy = malloc(piece);
        assert_non_null(copy);
        memcpy(copy, at, piece);
        stomp_protocol.feed(h->s, sl_bytes_of(copy, piece), h->now);
        harness_pull(h);
        free(copy);
        at += piece;
        n -= piece;
    }
}

void harness_text(struct harness *h, const char *text)
{
    harness_feed(h, text, strlen(text), strlen(text));
}

void harness_answer(struct harness *h, size_t i, enum proto_result r)
{
    assert_true(i < h->n_tokens);
    stomp_protocol.answer(h->s, h->tokens[i], r, h->now);
    harness_pull(h);
}

enum proto_delivered harness_deliver(struct harness *h, const struct message_parts *m,
                                     const struct proto_delivery *how, uint32_t consumer)
{
    if (h->packets == NULL)
        h->packets = stomp_protocol.packets_new();
    struct proto_delivery d = *how;
    struct message *msg = message_new(m);
    d.msg = msg;
    d.subscription_ids = &consumer;
    d.n_ids = 1;
    enum proto_delivered r = stomp_protocol.deliver(h->s, &d, h->packets);
    message_unref(msg);
    harness_pull(h);
    return r;
}

void harness_until(struct harness *h, uint64_t ms)
{
    for (size_t turns = 0;; turns++) {
        assert_true(turns < 100000); /* a deadline that does not move would spin the loop */
        uint64_t at = stomp_protocol.deadline(h->s);
        if (at > ms)
            break;
        if (at > h->now)
            h->now = at;
        stomp_protocol.tick(h->s, h->now);
        harness_pull(h);
    }
    h->now = ms;
    stomp_protocol.tick(h->s, h->now);
    harness_pull(h);
}

static const char *text_of(struct sl_buf *b)
{
    assert_int_equal(sl_buf_append(b, "", 1), SL_OK);
    b->end--;
    return (const char *)b->p + b->start;
}

const char *harness_log(struct harness *h)
{
    return text_of(&h->log);
}

const char *harness_sent(struct harness *h)
{
    return text_of(&h->sent);
}

void harness_forget(struct harness *h)
{
    sl_buf_clear(&h->log);
    sl_buf_clear(&h->sent);
}

void harness_start(struct harness *h)
{
    *h = (struct harness){0};
    h->cfg = (struct proto_config){
        .max_message = 4096,
        .partial_packet = 1024,
        .connect_timeout_ms = 10000,
        .receive_maximum = 1024,
        .max_headers = 8,
        .max_header_bytes = 100,
        .heart_beat_ms = 10000,
        .server_name = "sluice",
    };
    h->judgement = (struct proto_connected){
        .result = PROTO_CONNECT_OK, .client_id = sl_str("c1"), .reply_key = 0xabc
    };
    h->now = 1000000;
    h->s = stomp_protocol.session_new(&h->cfg, h->now);
}

void harness_end(struct harness *h)
{
    stomp_protocol.session_free(h->s);
    stomp_protocol.packets_free(h->packets);
    sl_buf_fini(&h->log);
    sl_buf_fini(&h->sent);
}

void harness_connect(struct harness *h, const char *version)
{
    harness_text(h, "CONNECT\naccept-version:");
    harness_text(h, version);
    FEED(h, "\nhost:h\n\n\0");
    assert_string_equal(harness_log(h), "CONNECT host=h\n");
    harness_forget(h);
}

/* ---- consumers ---- */

const struct proto_delivery delivery_first = { .delivery = 1, .attempt = 1 };
const struct proto_delivery delivery_unasked = { .attempt = 1 };

void harness_consume(struct harness *h, const char *version, const char *destination,
                     const char *mode)
{
    harness_start(h);
    harness_connect(h, version);
    harness_text(h, "SUBSCRIBE\nid:s\ndestination:");
    harness_text(h, destination);
    harness_text(h, "\nack:");
    harness_text(h, mode);
    FEED(h, "\n\n\0");
    harness_forget(h);
}

struct message_parts message_of_queue(void)
{
    return (struct message_parts){
        .id = 0x10000000001,
        .protocol = MESSAGE_STOMP,
        .flags = MESSAGE_TO_QUEUE,
        .topic = sl_str("q"),
        .payload = sl_str("hello"),
    };
}

struct message_parts message_of_topic(const char *topic)
{
    return (struct message_parts){
        .id = 0x10000000002,
        .protocol = MESSAGE_MQTT5,
        .topic = sl_str(topic),
        .payload = sl_str("21.5"),
    };
}
