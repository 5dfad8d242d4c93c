/* SEND: where it goes and what goes with it. */
#include "session.h"

static bool destination_of(struct stomp_session *s, const struct stomp_frame *f,
                           struct proto_publish *p)
{
    if (!stomp_has(f, STOMP_H_DESTINATION))
        return stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, "destination");
    struct sl_bytes rest;
    switch (stomp_place_of(f->own[STOMP_H_DESTINATION], &rest)) {
    case STOMP_TO_QUEUE:
        p->to_queue = true;
        p->topic = rest;
        return rest.n > 0 || stomp_fail_frame(s, STOMP_E_DESTINATION, f, NULL);
    case STOMP_TO_TOPIC:
        p->topic = stomp_topic_of(&s->work->arena, rest);
        return stomp_topic_valid(p->topic) || stomp_fail_frame(s, STOMP_E_TOPIC, f, NULL);
    case STOMP_TO_REPLY:
        return stomp_reply_topic_of(&s->work->arena, rest, &p->topic) ||
               stomp_fail_frame(s, STOMP_E_DESTINATION, f, NULL);
    case STOMP_TO_TEMP:
    case STOMP_TO_NOWHERE:
        break;
    }
    return stomp_fail_frame(s, STOMP_E_DESTINATION, f, NULL);
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

/* Inside a transaction the receipt means received, and not refused. Outside
 * every SEND is owed an answer, so that a refusal is heard and that the
 * receipts of later frames wait for it. */
static bool take_slot(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    if (ev->u.publish.transaction.n > 0)
        return stomp_ring_received(s, f);
    ev->token = stomp_ring_open(s, f);
    return ev->token != 0 || stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

/* Where answers go. A topic is told as such, so that MQTT's clients understand
 * it; what is no destination of ours is passed on as it came. */
static bool reply_of(struct stomp_session *s, const struct stomp_frame *f, struct proto_publish *p,
                     struct sl_bytes *temp)
{
    *temp = SL_BYTES_NONE;
    struct sl_bytes rest, topic;
    p->reply_to = own(f, STOMP_H_REPLY_TO);
    switch (stomp_place_of(p->reply_to, &rest)) {
    case STOMP_TO_TOPIC:
        topic = stomp_topic_of(&s->work->arena, rest);
        p->reply_to = stomp_topic_valid(topic) ? topic : p->reply_to;
        return true;
    case STOMP_TO_REPLY:
        if (stomp_reply_topic_of(&s->work->arena, rest, &topic))
            p->reply_to = topic;
        return true;
    case STOMP_TO_TEMP:
        if (!stomp_temp_topic_of(s, rest, temp))
            return stomp_fail_frame(s, STOMP_E_TEMP_NAME, f, NULL);
        p->reply_to = *temp;
        return true;
    case STOMP_TO_QUEUE:
    case STOMP_TO_NOWHERE:
        break;
    }
    return true;
}

/* The first SEND that names a reply destination subscribes to it, by the name
 * that it has there; the frame itself comes again after that. */
static bool subscribe_to_replies(struct stomp_session *s, const struct stomp_frame *f,
                                 struct sl_bytes temp, struct proto_event *ev)
{
    struct sl_bytes id = f->own[STOMP_H_REPLY_TO];
    uint8_t *name = stomp_arena_take(&s->work->arena, id.n + 1);
    (void)sl_wr_bytes(sl_wr_u8(name, 'i'), id);
    struct stomp_wish w = {
        .name = sl_bytes_of(name, id.n + 1),
        .temp = temp,
        .source = temp,
        .mode = PROTO_ACK_AUTO,
    };
    static const struct stomp_frame silent = { .present = 0 };
    if (!stomp_subscribe(s, f, &w, ev))
        return false;
    ev->token = stomp_ring_open(s, &silent);
    if (ev->token == 0)
        return stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
    stomp_input_again(&s->in);
    return true;
}

static bool retains(const struct stomp_frame *f, const struct proto_publish *p)
{
    return !p->to_queue && stomp_has(f, STOMP_H_RETAIN) && sl_bytes_is(f->own[STOMP_H_RETAIN], "true");
}

bool stomp_on_send(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    *ev = (struct proto_event){.kind = PROTO_PUBLISH};
    struct proto_publish *p = &ev->u.publish;
    struct sl_bytes temp;
    if (!destination_of(s, f, p) || !in_transaction(s, f, p) || !reply_of(s, f, p, &temp))
        return false;
    if (temp.n > 0 && stomp_subscription_called(s, temp) == NULL)
        return subscribe_to_replies(s, f, temp, ev);
    /* Of a transaction COMMIT is answered, and its answer promises all of it. */
    p->qos = stomp_has(f, STOMP_H_RECEIPT) || p->transaction.n > 0 ? 1 : 0;
    p->retain = retains(f, p);
    p->content_type = own(f, STOMP_H_CONTENT_TYPE);
    p->correlation = own(f, STOMP_H_CORRELATION_ID);
    p->headers = f->headers;
    p->n_headers = f->n_headers;
    p->payload = f->body;
    return take_slot(s, f, ev);
}
