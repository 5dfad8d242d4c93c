/* SUBSCRIBE and UNSUBSCRIBE: what a client takes, and how it calls it. */
#include "session.h"

#define CREDIT_MAX UINT16_MAX

static bool need(struct stomp_session *s, const struct stomp_frame *f, enum stomp_header h)
{
    return stomp_has(f, h) || stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, stomp_header_name(h));
}

static struct sl_bytes named(struct stomp_session *s, char kind, struct sl_bytes text)
{
    uint8_t *name = stomp_arena_take(&s->work->arena, text.n + 1);
    (void)sl_wr_bytes(sl_wr_u8(name, (uint8_t)kind), text);
    return sl_bytes_of(name, text.n + 1);
}

/* How the client calls the subscription. 1.1 and 1.2 want an id; 1.0 is content
 * with a destination. */
static bool name_of(struct stomp_session *s, const struct stomp_frame *f, struct sl_bytes *name)
{
    if (!stomp_has(f, STOMP_H_ID) && s->version == STOMP_V10) {
        if (!need(s, f, STOMP_H_DESTINATION))
            return false;
        *name = named(s, 'd', f->own[STOMP_H_DESTINATION]);
        return true;
    }
    if (!need(s, f, STOMP_H_ID))
        return false;
    *name = named(s, 'i', f->own[STOMP_H_ID]);
    return true;
}

/* ---- SUBSCRIBE ---- */

static bool mode_of(struct stomp_session *s, const struct stomp_frame *f, enum proto_ack_mode *mode)
{
    struct sl_bytes v = stomp_has(f, STOMP_H_ACK) ? f->own[STOMP_H_ACK] : sl_str("auto");
    if (sl_bytes_is(v, "auto"))
        *mode = PROTO_ACK_AUTO;
    else if (sl_bytes_is(v, "client"))
        *mode = PROTO_ACK_UP_TO;
    else if (sl_bytes_is(v, "client-individual") && s->version != STOMP_V10)
        *mode = PROTO_ACK_EACH;
    else
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "ack");
    return true;
}

static bool credit_of(struct stomp_session *s, const struct stomp_frame *f, uint32_t *credit)
{
    const struct message_header *h = stomp_frame_find(f, "prefetch-count");
    uint64_t n = 0;
    if (h != NULL && (sl_bytes_u64(h->value, CREDIT_MAX, &n) != SL_OK || n == 0))
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "prefetch-count (1 to 65535)");
    *credit = (uint32_t)n;
    return true;
}

static bool asks(const struct stomp_frame *f, const char *name)
{
    const struct message_header *h = stomp_frame_find(f, name);
    return h != NULL && sl_bytes_is(h->value, "true");
}

/* Who asks for what there is not would miss messages, or get too many, without
 * ever being told. */
static bool asks_too_much(struct stomp_session *s, const struct stomp_frame *f, bool from_queue)
{
    const char *what = NULL;
    if (stomp_frame_find(f, "selector") != NULL)
        what = "selector";
    else if (!from_queue && asks(f, "durable"))
        what = "durable, of a topic";
    else if (!from_queue && asks(f, "persistent"))
        what = "persistent, of a topic";
    return what != NULL && !stomp_fail_frame(s, STOMP_E_NOT_SUPPORTED, f, what);
}

static bool reply_source(struct stomp_session *s, const struct stomp_frame *f, struct sl_bytes name,
                         struct stomp_wish *w)
{
    if (!stomp_temp_topic_of(s, name, &w->source))
        return stomp_fail_frame(s, STOMP_E_TEMP_NAME, f, NULL);
    w->temp = w->source;
    return true;
}

static bool source_of(struct stomp_session *s, const struct stomp_frame *f, struct stomp_wish *w)
{
    struct sl_bytes rest, name;
    switch (stomp_place_of(f->own[STOMP_H_DESTINATION], &rest)) {
    case STOMP_TO_TOPIC:
        return stomp_filter_of(&s->work->arena, rest, &w->source) ||
               stomp_fail_frame(s, STOMP_E_FILTER, f, NULL);
    case STOMP_TO_QUEUE:
        w->from_queue = true;
        w->source = rest;
        return rest.n > 0 || stomp_fail_frame(s, STOMP_E_SOURCE, f, NULL);
    case STOMP_TO_TEMP:
        return reply_source(s, f, rest, w);
    case STOMP_TO_REPLY:
        if (stomp_temp_is_own(s, rest, &name))
            return reply_source(s, f, name, w);
        return stomp_fail_frame(s, STOMP_E_REPLY_FOREIGN, f, NULL);
    case STOMP_TO_NOWHERE:
        break;
    }
    return stomp_fail_frame(s, STOMP_E_SOURCE, f, NULL);
}

bool stomp_subscribe(struct stomp_session *s, const struct stomp_frame *f,
                     const struct stomp_wish *w, struct proto_event *ev)
{
    uint32_t number = 0;
    int err = stomp_subscription_add(s, w, &number);
    if (err == SL_EEXIST)
        return stomp_fail_frame(s, STOMP_E_SUBSCRIPTION_EXISTS, f, NULL);
    if (err != SL_OK)
        return stomp_fail_frame(s, STOMP_E_SUBSCRIPTIONS_MANY, f, NULL);
    *ev = (struct proto_event){ .kind = PROTO_CONSUME };
    ev->u.consume = (struct proto_consume){
        .consumer = number,
        .from_queue = w->from_queue,
        .own_reply = w->temp.n > 0,
        .source = w->source,
        .mode = w->mode,
        .credit = w->credit,
    };
    return true;
}

static bool take_slot(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    ev->token = stomp_ring_open(s, f);
    return ev->token != 0 || stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

bool stomp_on_subscribe(struct stomp_session *s, const struct stomp_frame *f,
                        struct proto_event *ev)
{
    struct stomp_wish w = { .mode = PROTO_ACK_AUTO };
    if (!need(s, f, STOMP_H_DESTINATION) || !name_of(s, f, &w.name) || !source_of(s, f, &w))
        return false;
    if (!mode_of(s, f, &w.mode) || !credit_of(s, f, &w.credit) || asks_too_much(s, f, w.from_queue))
        return false;
    return stomp_subscribe(s, f, &w, ev) && take_slot(s, f, ev);
}

/* ---- UNSUBSCRIBE ---- */

bool stomp_on_unsubscribe(struct stomp_session *s, const struct stomp_frame *f,
                          struct proto_event *ev)
{
    struct sl_bytes name;
    if (!name_of(s, f, &name))
        return false;
    struct stomp_subscription *sub = stomp_subscription_called(s, name);
    if (sub == NULL)
        return stomp_fail_frame(s, STOMP_E_SUBSCRIPTION_UNKNOWN, f, NULL);
    *ev = (struct proto_event){ .kind = PROTO_CANCEL, .u.consumer = sub->number };
    stomp_subscription_remove(s, sub);
    return take_slot(s, f, ev);
}
