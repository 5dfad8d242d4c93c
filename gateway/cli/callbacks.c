#include "callbacks.h"

#include <stdio.h>

#include "core/alloc.h"
#include "mqtt.h"

static void put(void *context, struct cli_event *e)
{
    struct cli_link *l = context;
    cli_events_put(&l->events, e);
}

static void put_kind(void *context, enum cli_event_kind kind)
{
    put(context, cli_event_new(kind));
}

static void copy_text(char *out, size_t cap, struct sl_bytes v)
{
    snprintf(out, cap, "%.*s", (int)v.n, v.p == NULL ? "" : (const char *)v.p);
}

/* ---- failures ---- */

static void put_failure(void *context, enum cli_event_kind kind, const MQTTAsync_failureData *d)
{
    struct cli_event *e = cli_event_new(kind);
    e->code = d->code;
    e->told = d->code > 0; /* a return code of CONNACK or SUBACK */
    e->reason = d->code > 0 ? (uint32_t)d->code : 0;
    if (d->message != NULL && !e->told)
        copy_text(e->text, sizeof e->text, sl_str(d->message));
    put(context, e);
}

/* Paho gives the reason code of a CONNACK as `code`, all others as `reasonCode`. */
static void put_failure5(void *context, enum cli_event_kind kind, const MQTTAsync_failureData5 *d)
{
    struct cli_event *e = cli_event_new(kind);
    struct sl_bytes why = cli_property_bytes(&d->properties, MQTTPROPERTY_CODE_REASON_STRING);
    int reason = (int)d->reasonCode >= 0x80 ? (int)d->reasonCode : d->code;
    e->code = d->code;
    e->told = reason > 0;
    e->reason = reason > 0 ? (uint32_t)reason : 0;
    if (why.n == 0 && !e->told && d->message != NULL)
        why = sl_str(d->message);
    copy_text(e->text, sizeof e->text, why);
    put(context, e);
}

/* ---- the connection ---- */

void cli_on_lost(void *context, char *cause)
{
    struct cli_event *e = cli_event_new(CLI_EV_LOST);
    if (cause != NULL)
        copy_text(e->text, sizeof e->text, sl_str(cause));
    put(context, e);
}

void cli_on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    struct cli_event *e = cli_event_new(CLI_EV_LOST);
    e->told = true;
    e->reason = (uint32_t)reason;
    copy_text(e->text, sizeof e->text, cli_property_bytes(properties, MQTTPROPERTY_CODE_REASON_STRING));
    put(context, e);
}

void cli_on_connected(void *context, MQTTAsync_successData *d)
{
    struct cli_event *e = cli_event_new(CLI_EV_CONNECTED);
    e->connack.session_present = d->alt.connect.sessionPresent != 0;
    e->connack.maximum_qos = 2;
    put(context, e);
}

static uint32_t number(const MQTTProperties *all, enum MQTTPropertyCodes name, uint32_t otherwise)
{
    const MQTTProperty *p = cli_property(all, name);
    if (p == NULL)
        return otherwise;
    if (name == MQTTPROPERTY_CODE_MAXIMUM_QOS || name == MQTTPROPERTY_CODE_RETAIN_AVAILABLE)
        return p->value.byte;
    return p->value.integer2;
}

void cli_on_connected5(void *context, MQTTAsync_successData5 *d)
{
    struct cli_event *e = cli_event_new(CLI_EV_CONNECTED);
    struct cli_connack *c = &e->connack;
    const MQTTProperties *all = &d->properties;
    c->session_present = d->alt.connect.sessionPresent != 0;
    c->maximum_qos = number(all, MQTTPROPERTY_CODE_MAXIMUM_QOS, 2);
    c->no_retain = number(all, MQTTPROPERTY_CODE_RETAIN_AVAILABLE, 1) == 0;
    c->topic_alias_maximum = number(all, MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM, 0);
    c->has_keep_alive = cli_property(all, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE) != NULL;
    c->server_keep_alive = number(all, MQTTPROPERTY_CODE_SERVER_KEEP_ALIVE, 0);
    copy_text(c->assigned_id, sizeof c->assigned_id,
              cli_property_bytes(all, MQTTPROPERTY_CODE_ASSIGNED_CLIENT_IDENTIFER));
    copy_text(c->response_information, sizeof c->response_information,
              cli_property_bytes(all, MQTTPROPERTY_CODE_RESPONSE_INFORMATION));
    put(context, e);
}

void cli_on_refused(void *context, MQTTAsync_failureData *d)
{
    put_failure(context, CLI_EV_REFUSED, d);
}

void cli_on_refused5(void *context, MQTTAsync_failureData5 *d)
{
    put_failure5(context, CLI_EV_REFUSED, d);
}

void cli_on_gone(void *context, MQTTAsync_successData *d)
{
    (void)d;
    put_kind(context, CLI_EV_GONE);
}

void cli_on_gone5(void *context, MQTTAsync_successData5 *d)
{
    (void)d;
    put_kind(context, CLI_EV_GONE);
}

void cli_on_gone_failed(void *context, MQTTAsync_failureData *d)
{
    (void)d;
    put_kind(context, CLI_EV_GONE);
}

void cli_on_gone_failed5(void *context, MQTTAsync_failureData5 *d)
{
    (void)d;
    put_kind(context, CLI_EV_GONE);
}

/* ---- messages in; 1: we took it ---- */

int cli_on_message(void *context, char *topic, int topic_bytes, MQTTAsync_message *message)
{
    struct cli_event *e = cli_event_new(CLI_EV_MESSAGE);
    e->paho_topic = topic;
    e->paho_message = message;
    e->message = (struct cli_message){ .topic = sl_bytes_of(topic, topic_bytes > 0 ? (size_t)topic_bytes : strlen(topic)),
                                       .payload = sl_bytes_of(message->payload, (size_t)message->payloadlen),
                                       .qos = message->qos,
                                       .packet_id = message->msgid,
                                       .retain = message->retained != 0,
                                       .dup = message->dup != 0,
                                       .properties = &message->properties };
    put(context, e);
    return 1;
}

/* ---- subscriptions ---- */

static uint8_t *codes(size_t n)
{
    return sl_calloc(n, 1);
}

void cli_on_subscribed(void *context, MQTTAsync_successData *d)
{
    const struct cli_link *l = context;
    size_t n = l->args->wait ? 1 : l->args->topics.n;
    struct cli_event *e = cli_event_new(CLI_EV_SUBSCRIBED);
    e->granted = codes(n);
    e->n_granted = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        e->granted[i] = (uint8_t)(n == 1 ? d->alt.qos : d->alt.qosList[i]);
    put(context, e);
}

void cli_on_subscribed5(void *context, MQTTAsync_successData5 *d)
{
    size_t n = d->alt.sub.reasonCodeCount > 1 ? (size_t)d->alt.sub.reasonCodeCount : 1;
    struct cli_event *e = cli_event_new(CLI_EV_SUBSCRIBED);
    e->granted = codes(n);
    e->n_granted = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        e->granted[i] = (uint8_t)(n == 1 ? d->reasonCode : d->alt.sub.reasonCodes[i]);
    put(context, e);
}

void cli_on_subscribe_failed(void *context, MQTTAsync_failureData *d)
{
    put_failure(context, CLI_EV_SUBSCRIBE_FAILED, d);
}

void cli_on_subscribe_failed5(void *context, MQTTAsync_failureData5 *d)
{
    put_failure5(context, CLI_EV_SUBSCRIBE_FAILED, d);
}

void cli_on_unsubscribed(void *context, MQTTAsync_successData *d)
{
    (void)d;
    put_kind(context, CLI_EV_UNSUBSCRIBED);
}

void cli_on_unsubscribed5(void *context, MQTTAsync_successData5 *d)
{
    size_t n = d->alt.unsub.reasonCodeCount > 1 ? (size_t)d->alt.unsub.reasonCodeCount : 1;
    struct cli_event *e = cli_event_new(CLI_EV_UNSUBSCRIBED);
    e->granted = codes(n);
    e->n_granted = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        e->granted[i] = (uint8_t)(n == 1 ? d->reasonCode : d->alt.unsub.reasonCodes[i]);
    put(context, e);
}

void cli_on_unsubscribe_failed(void *context, MQTTAsync_failureData *d)
{
    put_failure(context, CLI_EV_UNSUBSCRIBE_FAILED, d);
}

void cli_on_unsubscribe_failed5(void *context, MQTTAsync_failureData5 *d)
{
    put_failure5(context, CLI_EV_UNSUBSCRIBE_FAILED, d);
}

/* ---- publishes ---- */

void cli_on_published(void *context, MQTTAsync_successData *d)
{
    struct cli_link *l = context;
    (void)d;
    cli_events_answered(&l->events);
}

void cli_on_published5(void *context, MQTTAsync_successData5 *d)
{
    struct cli_link *l = context;
    (void)d; /* Paho 1.3 does not tell 0x10, no matching subscribers, from 0 */
    cli_events_answered(&l->events);
}

void cli_on_publish_failed(void *context, MQTTAsync_failureData *d)
{
    put_failure(context, CLI_EV_PUBLISH_FAILED, d);
}

void cli_on_publish_failed5(void *context, MQTTAsync_failureData5 *d)
{
    put_failure5(context, CLI_EV_PUBLISH_FAILED, d);
}
