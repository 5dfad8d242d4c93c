/* SEND: where it goes and what goes with it.
 *
 *   /queue/NAME       the queue NAME, no routing
 *   /topic/a/b        the topic a/b
 *   /topic/a.b        the same: dots are slashes where no slash follows /topic/
 *   %2E               a dot that stays one */
#include "session.h"

#include "core/message.h"

static bool strip(struct sl_bytes *in, const char *prefix)
{
    size_t n = strlen(prefix);
    if (in->n < n || memcmp(in->p, prefix, n) != 0)
        return false;
    *in = sl_bytes_of(in->p + n, in->n - n);
    return true;
}

static bool is_literal_dot(struct sl_bytes in, size_t i)
{
    return in.n - i >= 3 && in.p[i] == '%' && in.p[i + 1] == '2' &&
           (in.p[i + 2] == 'E' || in.p[i + 2] == 'e');
}

static struct sl_bytes topic_of(struct stomp_arena *a, struct sl_bytes in)
{
    bool dotted = in.n > 0 && memchr(in.p, '/', in.n) == NULL;
    if (in.n == 0 || (!dotted && memchr(in.p, '%', in.n) == NULL))
        return in;
    uint8_t *out = stomp_arena_take(a, in.n);
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (is_literal_dot(in, i)) {
            c = '.';
            i += 2;
        } else if (c == '.' && dotted) {
            c = '/';
        }
        out[n++] = c;
    }
    return sl_bytes_of(out, n);
}

/* A topic name of MQTT: not empty, no wildcards; it is UTF-8 without NUL
 * already [MQTT-4.7.3-1, -3.3.2-2]. */
static bool topic_valid(struct sl_bytes t)
{
    return t.n > 0 && memchr(t.p, '+', t.n) == NULL && memchr(t.p, '#', t.n) == NULL;
}

static bool destination_of(struct stomp_session *s, const struct stomp_frame *f,
                           struct proto_publish *p)
{
    if (!stomp_has(f, STOMP_H_DESTINATION))
        return stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, "destination");
    struct sl_bytes rest = f->own[STOMP_H_DESTINATION];
    if (strip(&rest, "/queue/")) {
        p->to_queue = true;
        p->topic = rest;
        return rest.n > 0 || stomp_fail_frame(s, STOMP_E_DESTINATION, f, NULL);
    }
    if (!strip(&rest, "/topic/"))
        return stomp_fail_frame(s, STOMP_E_DESTINATION, f, NULL);
    p->topic = topic_of(s->arena, rest);
    return topic_valid(p->topic) || stomp_fail_frame(s, STOMP_E_TOPIC, f, NULL);
}

static struct sl_bytes own(const struct stomp_frame *f, enum stomp_header h)
{
    return stomp_has(f, h) ? f->own[h] : SL_BYTES_NONE;
}

static bool in_transaction(struct stomp_session *s, const struct stomp_frame *f,
                           struct proto_publish *p)
{
    if (!stomp_has(f, STOMP_H_TRANSACTION))
        return true;
    p->transaction = f->own[STOMP_H_TRANSACTION];
    return stomp_transaction_is_open(s, p->transaction) ||
           stomp_fail_frame(s, STOMP_E_TRANSACTION_UNKNOWN, f, NULL);
}

/* Inside a transaction the receipt means received and is settled now. Outside
 * every SEND is owed an answer, so that a refusal is heard and that the
 * receipts of later frames wait for it. */
static bool take_slot(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    if (ev->u.publish.transaction.n > 0) {
        stomp_ring_settled(s, f, false);
        return s->state < STOMP_CLOSING;
    }
    ev->token = stomp_ring_open(s, f);
    return ev->token != 0 || stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

bool stomp_on_send(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    *ev = (struct proto_event){.kind = PROTO_PUBLISH};
    struct proto_publish *p = &ev->u.publish;
    if (!destination_of(s, f, p) || !in_transaction(s, f, p))
        return false;
    p->qos = stomp_has(f, STOMP_H_RECEIPT) ? 1 : 0;
    p->content_type = own(f, STOMP_H_CONTENT_TYPE);
    p->correlation = own(f, STOMP_H_CORRELATION_ID);
    p->reply_to = own(f, STOMP_H_REPLY_TO);
    p->headers = f->headers;
    p->n_headers = f->n_headers;
    p->payload = f->body;
    return take_slot(s, f, ev);
}
