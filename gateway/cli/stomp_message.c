/* Options into headers, headers into a message. */
#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "stomp.h"
#include "wait.h"

#define PREFETCH_DEFAULT 64

/* ---- out ---- */

static void add(struct sl_buf *out, const void *p, size_t n)
{
    (void)!sl_buf_append(out, p, n); /* no maximum is set */
}

static bool is_escape(const char *at)
{
    return strncmp(at, "%2E", 3) == 0 || strncmp(at, "%2e", 3) == 0 || strncmp(at, "%25", 3) == 0;
}

void cli_stomp_destination(struct sl_buf *out, const char *topic)
{
    if (topic[0] != '/')
        add(out, "/topic/", 7);
    if (topic[0] == '/') {
        add(out, topic, strlen(topic));
        return;
    }
    bool dotted = strchr(topic, '/') == NULL;
    for (; *topic != '\0'; topic++) {
        bool dot = dotted && *topic == '.', mark = dot || is_escape(topic);
        add(out, dot ? "%2E" : mark ? "%25" : topic, mark ? 3 : 1);
    }
}

static void put_destination(struct stomp_writer *w, const char *name, const char *topic)
{
    struct sl_buf text = { 0 };
    cli_stomp_destination(&text, topic);
    stomp_put(w, name, sl_buf_view(&text));
    sl_buf_fini(&text);
}

static void put_pair(struct stomp_writer *w, const char *pair)
{
    size_t n = strcspn(pair, "=");
    stomp_put_bytes(w, sl_bytes_of(pair, n), sl_str(pair + n + 1));
}

void cli_stomp_begin_send(struct stomp_writer *w, struct sl_buf *out, enum stomp_version v, const char *topic,
                          const struct cli_args *a)
{
    stomp_begin(w, out, v, STOMP_SEND);
    put_destination(w, "destination", topic);
    if (a->content_type != NULL)
        stomp_put(w, "content-type", sl_str(a->content_type));
    if (a->response_topic != NULL)
        put_destination(w, "reply-to", a->response_topic);
    if (a->correlation != NULL)
        stomp_put(w, "correlation-id", sl_str(a->correlation));
    if (a->expiry != CLI_NOT_GIVEN)
        stomp_put_u64(w, "expires", cli_clock_us() / 1000 + (uint64_t)a->expiry * 1000);
    if (a->retain)
        stomp_put(w, "retain", sl_str("true"));
    for (size_t i = 0; i < a->headers.n; i++)
        put_pair(w, a->headers.v[i]);
}

/* What was asked for; else what is taken from a queue is acknowledged when it was shown. */
static const char *mode_of(const char *topic, const struct cli_args *a)
{
    if (a->ack != NULL)
        return a->ack;
    return strncmp(topic, "/queue/", 7) == 0 ? CLI_ACK_EACH : CLI_ACK_AUTO;
}

bool cli_stomp_waits_for_ack(const char *topic, const struct cli_args *a)
{
    return strcmp(mode_of(topic, a), CLI_ACK_EACH) == 0;
}

int cli_stomp_put_subscribe(struct sl_buf *out, enum stomp_version v, const char *topic, uint32_t number,
                            const struct cli_args *a)
{
    struct stomp_writer w;
    char receipt[16];
    const char *mode = mode_of(topic, a);
    int64_t credit = a->prefetch;
    if (credit == CLI_NOT_GIVEN && a->count != CLI_NOT_GIVEN && a->count < PREFETCH_DEFAULT && cli_stomp_waits_for_ack(topic, a))
        credit = a->count; /* more would only be given back */
    snprintf(receipt, sizeof receipt, "s%" PRIu32, number);
    stomp_begin(&w, out, v, STOMP_SUBSCRIBE);
    stomp_put_u64(&w, "id", number);
    put_destination(&w, "destination", topic);
    stomp_put(&w, "ack", sl_str(mode));
    if (credit != CLI_NOT_GIVEN)
        stomp_put_u64(&w, "prefetch-count", (uint64_t)credit);
    stomp_put(&w, "receipt", sl_str(receipt));
    return stomp_end(&w, SL_BYTES_NONE);
}

int cli_stomp_put_ack(struct sl_buf *out, enum stomp_version v, struct sl_bytes token, uint32_t subscription)
{
    struct stomp_writer w;
    stomp_begin(&w, out, v, STOMP_ACK);
    stomp_put(&w, v == STOMP_V12 ? "id" : "message-id", token);
    if (v == STOMP_V11 && subscription > 0)
        stomp_put_u64(&w, "subscription", subscription);
    return stomp_end(&w, SL_BYTES_NONE);
}

/* ---- in ---- */

static MQTTLenString len_string(struct sl_bytes v)
{
    return (MQTTLenString){ (int)v.n, (char *)(uintptr_t)v.p };
}

static MQTTProperty *next(struct cli_stomp_properties *p, enum MQTTPropertyCodes name)
{
    MQTTProperty *one = &p->list.array[p->list.count++];
    *one = (MQTTProperty){ .identifier = name };
    return one;
}

static void put_own(struct cli_stomp_properties *p, const struct stomp_frame *f, enum stomp_header h,
                    enum MQTTPropertyCodes name)
{
    if (stomp_has(f, h))
        next(p, name)->value.data = len_string(f->own[h]);
}

static void put_header(struct cli_stomp_properties *p, struct sl_bytes name, struct sl_bytes value)
{
    MQTTProperty *one = next(p, MQTTPROPERTY_CODE_USER_PROPERTY);
    one->value.data = len_string(name);
    one->value.value = len_string(value);
}

/* What is left of it, in whole seconds as MQTT counts. */
static void put_expiry(struct cli_stomp_properties *p, struct sl_bytes expires)
{
    uint64_t at, now = cli_clock_us() / 1000;
    if (sl_bytes_u64(expires, UINT64_MAX, &at) != SL_OK || at == 0)
        return;
    uint64_t left = at <= now ? 0 : (at - now) / 1000;
    next(p, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL)->value.integer4 = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

static void make_room(struct cli_stomp_properties *p, size_t n)
{
    if (p->room < (int)n) {
        p->room = (int)n;
        p->list.array = sl_realloc(p->list.array, n * sizeof *p->list.array);
    }
    p->list.count = 0;
}

static void put_properties(struct cli_stomp_properties *p, struct cli_message *m, const struct stomp_frame *f)
{
    make_room(p, f->n_headers + 4);
    put_own(p, f, STOMP_H_CONTENT_TYPE, MQTTPROPERTY_CODE_CONTENT_TYPE);
    put_own(p, f, STOMP_H_REPLY_TO, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
    put_own(p, f, STOMP_H_CORRELATION_ID, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if (stomp_has(f, STOMP_H_MESSAGE_ID))
        put_header(p, sl_str("message-id"), f->own[STOMP_H_MESSAGE_ID]);
    for (size_t i = 0; i < f->n_headers; i++) {
        const struct message_header *h = &f->headers[i];
        if (sl_bytes_is(h->name, "expires"))
            put_expiry(p, h->value);
        else if (sl_bytes_is(h->name, "retain"))
            m->retain = sl_bytes_is(h->value, "true");
        else if (sl_bytes_is(h->name, "redelivered"))
            m->dup = sl_bytes_is(h->value, "true");
        else
            put_header(p, h->name, h->value);
    }
}

struct cli_message cli_stomp_message(const struct stomp_frame *f, enum stomp_version v, struct cli_stomp_properties *p)
{
    uint64_t number = 0;
    struct cli_message m = { .payload = f->body, .properties = &p->list };
    if (stomp_has(f, STOMP_H_DESTINATION))
        m.topic = f->own[STOMP_H_DESTINATION];
    enum stomp_header token = v == STOMP_V12 ? STOMP_H_ACK : STOMP_H_MESSAGE_ID;
    if (stomp_has(f, token))
        m.token = f->own[token];
    if (stomp_has(f, STOMP_H_SUBSCRIPTION) && sl_bytes_u64(f->own[STOMP_H_SUBSCRIPTION], UINT32_MAX, &number) == SL_OK)
        m.subscription = (uint32_t)number;
    put_properties(p, &m, f);
    return m;
}

void cli_stomp_properties_fini(struct cli_stomp_properties *p)
{
    sl_free(p->list.array);
    *p = (struct cli_stomp_properties){ 0 };
}
