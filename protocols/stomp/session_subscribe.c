/* The consumer's half: frames are checked as the versions ask, and then
 * answered as not supported. */
#include "session.h"

static bool need(struct stomp_session *s, const struct stomp_frame *f, enum stomp_header h)
{
    return stomp_has(f, h) || stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, stomp_header_name(h));
}

/* 1.1 and 1.2 want an id; 1.0 is content with a destination. */
static bool need_id(struct stomp_session *s, const struct stomp_frame *f)
{
    if (s->version != STOMP_V10)
        return need(s, f, STOMP_H_ID);
    return stomp_has(f, STOMP_H_ID) || need(s, f, STOMP_H_DESTINATION);
}

static bool ack_mode_valid(const struct stomp_session *s, struct sl_bytes mode)
{
    return sl_bytes_is(mode, "auto") || sl_bytes_is(mode, "client") ||
           (s->version != STOMP_V10 && sl_bytes_is(mode, "client-individual"));
}

bool stomp_on_subscribe(struct stomp_session *s, const struct stomp_frame *f,
                        struct proto_event *ev)
{
    (void)ev;
    if (!need(s, f, STOMP_H_DESTINATION) || !need_id(s, f))
        return false;
    if (stomp_has(f, STOMP_H_ACK) && !ack_mode_valid(s, f->own[STOMP_H_ACK]))
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "ack");
    return stomp_fail_frame(s, STOMP_E_UNSUPPORTED, f, "SUBSCRIBE");
}

bool stomp_on_unsubscribe(struct stomp_session *s, const struct stomp_frame *f,
                          struct proto_event *ev)
{
    (void)ev;
    if (!need_id(s, f))
        return false;
    return stomp_fail_frame(s, STOMP_E_UNSUPPORTED, f, "UNSUBSCRIBE");
}

/* ACK and NACK. 1.2 names the `ack` header of the MESSAGE, 1.1 message and
 * subscription, 1.0 the message. */
bool stomp_on_ack(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    (void)ev;
    if (!need(s, f, s->version == STOMP_V12 ? STOMP_H_ID : STOMP_H_MESSAGE_ID))
        return false;
    if (s->version == STOMP_V11 && !need(s, f, STOMP_H_SUBSCRIPTION))
        return false;
    if (stomp_has(f, STOMP_H_TRANSACTION) &&
        !stomp_transaction_is_open(s, f->own[STOMP_H_TRANSACTION]))
        return stomp_fail_frame(s, STOMP_E_TRANSACTION_UNKNOWN, f, NULL);
    return stomp_fail_frame(s, STOMP_E_UNSUPPORTED, f, stomp_command_name(f->command));
}
