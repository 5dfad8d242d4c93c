/* ACK and NACK: which delivery, and what became of it.
 *
 *   1.2  id: the `ack` of the MESSAGE                CONSUMER-DELIVERY
 *   1.1  message-id and subscription                 ID-CONSUMER-DELIVERY
 *   1.0  message-id                                  the same
 *
 * A consumer that is cancelled, or a delivery that is over, is no mistake of
 * the client, who may not know yet; a name that was never given is one. Each
 * connection calls its consumers by other numbers: who has come back and answers
 * what he was given before must not answer what he was given since. */
#include "session.h"

#include "core/units.h"

#define ID_DIGITS 16u
#define MAX_MS    1000000000000u /* about 30 years */
#define NAMES_STEP 4096u         /* connections' numbers lie so far apart, or they are the same */

static bool need(struct stomp_session *s, const struct stomp_frame *f, enum stomp_header h)
{
    return stomp_has(f, h) || stomp_fail_frame(s, STOMP_E_HEADER_MISSING, f, stomp_header_name(h));
}

/* As we write a number: nothing else is a name that was given. */
static bool parse_number(struct sl_bytes in, uint64_t max, uint64_t *out)
{
    return in.n > 0 && in.p[0] != '0' && sl_bytes_u64(in, max, out) == SL_OK;
}

static bool is_message_id(struct sl_bytes in)
{
    for (size_t i = 0; i < ID_DIGITS; i++) {
        if (memchr("0123456789abcdef", in.p[i], 16) == NULL)
            return false;
    }
    return true;
}

/* The consumer of that name; 0: another connection's. False: it never was. */
static bool consumer_named(const struct stomp_session *s, uint64_t name, uint32_t *consumer)
{
    uint64_t from = s->names_from;
    bool own = name > from && name - from <= stomp_subscription_last(s);
    *consumer = own ? (uint32_t)(name - from) : 0;
    return own || name / NAMES_STEP != from / NAMES_STEP;
}

/* CONSUMER-DELIVERY; 1.0 and 1.1 with the message's id before it. */
static bool parse_name(const struct stomp_session *s, struct sl_bytes in,
                       struct proto_acknowledge *a)
{
    if (s->version != STOMP_V12) {
        if (in.n <= ID_DIGITS || in.p[ID_DIGITS] != '-' || !is_message_id(in))
            return false;
        in = sl_bytes_of(in.p + ID_DIGITS + 1, in.n - ID_DIGITS - 1);
    }
    const uint8_t *dash = in.n == 0 ? NULL : memchr(in.p, '-', in.n);
    if (dash == NULL)
        return false;
    size_t n = (size_t)(dash - in.p);
    uint64_t name;
    return parse_number(sl_bytes_of(in.p, n), 2 * (uint64_t)UINT32_MAX, &name) &&
           parse_number(sl_bytes_of(dash + 1, in.n - n - 1), UINT64_MAX, &a->delivery) &&
           consumer_named(s, name, &a->consumer);
}

/* 1.1 names the subscription, too; it must be the delivery's. */
static bool subscription_agrees(struct stomp_session *s, const struct stomp_frame *f,
                                uint32_t consumer)
{
    if (s->version != STOMP_V11)
        return true;
    const struct stomp_subscription *sub = stomp_subscription_at(s, consumer);
    return sub == NULL || sl_bytes_eq(stomp_subscription_id(sub), f->own[STOMP_H_SUBSCRIPTION]) ||
           stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "subscription");
}

static bool delivery_of(struct stomp_session *s, const struct stomp_frame *f,
                        struct proto_acknowledge *a)
{
    enum stomp_header h = s->version == STOMP_V12 ? STOMP_H_ID : STOMP_H_MESSAGE_ID;
    if (!need(s, f, h) || (s->version == STOMP_V11 && !need(s, f, STOMP_H_SUBSCRIPTION)))
        return false;
    if (!parse_name(s, f->own[h], a))
        return stomp_fail_frame(s, STOMP_E_DELIVERY_UNKNOWN, f, NULL);
    return subscription_agrees(s, f, a->consumer);
}

/* ---- NACK's own headers ---- */

static struct sl_bytes said(const struct stomp_frame *f, const char *name)
{
    const struct message_header *h = stomp_frame_find(f, name);
    return h == NULL ? SL_BYTES_NONE : h->value;
}

/* "10s", or bare milliseconds. */
static bool duration_of(struct sl_bytes v, uint64_t *ms)
{
    return (sl_bytes_u64(v, MAX_MS, ms) == SL_OK || sl_duration_parse(v, ms) == SL_OK) &&
           *ms <= MAX_MS;
}

static bool on_extend(struct stomp_session *s, const struct stomp_frame *f,
                      struct proto_acknowledge *a)
{
    a->verdict = PROTO_EXTEND;
    a->has_ms = true;
    if (!duration_of(said(f, "extend"), &a->ms) || a->ms == 0)
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "extend");
    if (a->transaction.n > 0 || stomp_frame_find(f, "requeue") != NULL ||
        stomp_frame_find(f, "delay") != NULL)
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f,
                                "extend, which is no answer, with transaction, requeue or delay");
    return true;
}

static bool requeue_of(struct stomp_session *s, const struct stomp_frame *f,
                       struct proto_acknowledge *a)
{
    const struct message_header *h = stomp_frame_find(f, "requeue");
    bool dead = h != NULL && sl_bytes_is(h->value, "false");
    if (h != NULL && !dead && !sl_bytes_is(h->value, "true"))
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "requeue");
    a->verdict = dead ? PROTO_DEAD : PROTO_NACK;
    return true;
}

static bool nack_of(struct stomp_session *s, const struct stomp_frame *f,
                    struct proto_acknowledge *a)
{
    if (stomp_frame_find(f, "extend") != NULL)
        return on_extend(s, f, a);
    if (!requeue_of(s, f, a))
        return false;
    a->reason = said(f, "reason");
    a->has_ms = stomp_frame_find(f, "delay") != NULL;
    if (a->has_ms && (a->verdict == PROTO_DEAD || !duration_of(said(f, "delay"), &a->ms)))
        return stomp_fail_frame(s, STOMP_E_HEADER_INVALID, f, "delay");
    return true;
}

/* ---- the frame ---- */

static bool in_transaction(struct stomp_session *s, const struct stomp_frame *f,
                           struct proto_acknowledge *a)
{
    if (!stomp_has(f, STOMP_H_TRANSACTION))
        return true;
    a->transaction = f->own[STOMP_H_TRANSACTION];
    return stomp_transaction_is_open(s, a->transaction) ||
           stomp_fail_frame(s, STOMP_E_TRANSACTION_UNKNOWN, f, NULL);
}

/* The receipt of an answer waits until that is stored; in a transaction it
 * means received. Who asks for none is owed none: the answer needs no slot. */
static bool take_slot(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    if (!stomp_has(f, STOMP_H_RECEIPT))
        return true;
    if (ev->u.acknowledge.transaction.n > 0)
        return stomp_ring_received(s, f);
    ev->token = stomp_ring_open(s, f);
    return ev->token != 0 || stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

bool stomp_on_ack(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    *ev = (struct proto_event){ .kind = PROTO_ACKNOWLEDGE };
    struct proto_acknowledge *a = &ev->u.acknowledge;
    a->verdict = PROTO_ACK;
    if (!in_transaction(s, f, a) || !delivery_of(s, f, a))
        return false;
    if (f->command == STOMP_NACK && !nack_of(s, f, a))
        return false;
    return take_slot(s, f, ev);
}
