/* The connection that Paho speaks. */
#include "mqtt.h"

#include <errno.h>
#include <stdio.h>

#include "callbacks.h"
#include "core/alloc.h"

/* Paho's queue; ours holds at most a window. */
#define BUFFERED 100000

static int result(struct cli_link *l, int rc)
{
    if (rc == MQTTASYNC_SUCCESS)
        return SL_OK;
    l->why = l->paho->error_text(rc);
    return SL_ESYS;
}

static int open_link(struct cli_link *l)
{
    MQTTAsync_createOptions o = MQTTAsync_createOptions_initializer;
    l->v5 = l->args->version == 5;
    l->speaks = l->v5 ? "MQTT 5" : "MQTT 3.1.1";
    o.MQTTVersion = l->v5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    o.maxBufferedMessages = BUFFERED;
    if (cli_events_init(&l->events) != SL_OK) {
        l->why = strerror(errno);
        return SL_ESYS;
    }
    l->fd = l->events.fd;
    int rc = l->paho->create(&l->handle, l->address->uri, l->args->id != NULL ? l->args->id : l->id,
                             MQTTCLIENT_PERSISTENCE_NONE, NULL, &o);
    if (rc == MQTTASYNC_SUCCESS)
        rc = l->paho->set_callbacks(l->handle, l, cli_on_lost, cli_on_message, NULL);
    if (rc == MQTTASYNC_SUCCESS && l->v5)
        rc = l->paho->set_disconnected(l->handle, l, cli_on_disconnected);
    return result(l, rc);
}

/* ---- CONNECT ---- */

static void connect_properties(const struct cli_link *l, MQTTProperties *to)
{
    const struct cli_args *a = l->args;
    int64_t expiry = a->session_expiry;
    if (expiry == CLI_NOT_GIVEN && a->resume)
        expiry = CLI_NEVER; /* as a session of MQTT 3.1.1 is */
    if (expiry != CLI_NOT_GIVEN)
        cli_property_number(l->paho, to, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, (uint32_t)expiry);
    if (a->receive_maximum != CLI_NOT_GIVEN)
        cli_property_number(l->paho, to, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM, (uint32_t)a->receive_maximum);
    if (a->wait)
        cli_property_number(l->paho, to, MQTTPROPERTY_CODE_REQUEST_RESPONSE_INFORMATION, 1);
}

static bool starts_clean(const struct cli_args *a)
{
    return a->clean || (!a->resume && a->session_expiry <= 0);
}

static MQTTAsync_willOptions will_of(const struct cli_args *a)
{
    MQTTAsync_willOptions w = MQTTAsync_willOptions_initializer;
    w.topicName = a->will_topic;
    w.payload.data = a->will_payload != NULL ? a->will_payload : "";
    w.payload.len = (int)strlen(w.payload.data);
    w.qos = a->will_qos == CLI_NOT_GIVEN ? 0 : (int)a->will_qos;
    w.retained = a->will_retain;
    return w;
}

/* OpenSSL's errors, the first of which tells most. */
static int on_tls_error(const char *text, size_t n, void *context)
{
    struct cli_link *l = context;
    if (l->tls_error[0] == '\0')
        snprintf(l->tls_error, sizeof l->tls_error, "%.*s", (int)n, text);
    l->tls_error[strcspn(l->tls_error, "\r\n")] = '\0';
    return 1;
}

static MQTTAsync_SSLOptions tls_of(struct cli_link *l)
{
    const struct cli_args *a = l->args;
    MQTTAsync_SSLOptions s = MQTTAsync_SSLOptions_initializer;
    s.trustStore = a->cafile;
    s.CApath = a->capath;
    s.keyStore = a->cert;
    s.privateKey = a->key;
    s.enableServerCertAuth = !a->insecure;
    s.verify = !a->insecure;
    s.ssl_error_cb = on_tls_error;
    s.ssl_error_context = l;
    return s;
}

static void name_and_password(const struct cli_address *a, MQTTAsync_connectOptions *o)
{
    o->username = a->user;
    o->binarypwd.data = a->password;
    o->binarypwd.len = a->password == NULL ? 0 : (int)strlen(a->password);
}

static void version_options(struct cli_link *l, MQTTAsync_connectOptions *o)
{
    if (l->v5) {
        o->cleanstart = starts_clean(l->args);
        o->onSuccess5 = cli_on_connected5;
        o->onFailure5 = cli_on_refused5;
        return;
    }
    o->MQTTVersion = MQTTVERSION_3_1_1;
    o->cleansession = starts_clean(l->args);
    o->onSuccess = cli_on_connected;
    o->onFailure = cli_on_refused;
}

static int connect_link(struct cli_link *l)
{
    const MQTTAsync_connectOptions four = MQTTAsync_connectOptions_initializer, five = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions o = l->v5 ? five : four;
    MQTTAsync_willOptions will = will_of(l->args);
    MQTTAsync_SSLOptions tls = tls_of(l);
    MQTTProperties properties = MQTTProperties_initializer, will_properties = MQTTProperties_initializer;
    version_options(l, &o);
    name_and_password(l->address, &o);
    o.context = l;
    o.keepAliveInterval = (int)l->args->keep_alive;
    o.connectTimeout = (int)l->args->connect_timeout;
    o.maxInflight = 65535;
    if (l->args->will_topic != NULL)
        o.will = &will;
    if (l->address->tls)
        o.ssl = &tls;
    if (l->v5) {
        connect_properties(l, &properties);
        o.connectProperties = &properties;
    }
    if (l->v5 && o.will != NULL && l->args->will_delay != CLI_NOT_GIVEN)
        cli_property_number(l->paho, &will_properties, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, (uint32_t)l->args->will_delay);
    if (l->v5 && o.will != NULL)
        o.willProperties = &will_properties;
    int rc = l->paho->connect(l->handle, &o);
    l->paho->properties_free(&properties);
    l->paho->properties_free(&will_properties);
    return result(l, rc);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

static MQTTSubscribe_options subscribe_options(const struct cli_args *a)
{
    MQTTSubscribe_options s = MQTTSubscribe_options_initializer;
    s.noLocal = a->no_local;
    s.retainAsPublished = a->retain_as_published;
    if (a->retain_handling != CLI_NOT_GIVEN)
        s.retainHandling = (unsigned char)a->retain_handling;
    else if (a->no_retained)
        s.retainHandling = 2; /* what is not wanted need not be sent */
    return s;
}

static char *const *names_of(const struct cli_texts *filters)
{
    return (char *const *)(uintptr_t)filters->v;
}

static int subscribe(struct cli_link *l, const struct cli_texts *filters)
{
    MQTTAsync_responseOptions o = MQTTAsync_responseOptions_initializer;
    MQTTSubscribe_options *each = sl_calloc(filters->n, sizeof *each);
    int *qos = sl_calloc(filters->n, sizeof *qos);
    for (size_t i = 0; i < filters->n; i++) {
        each[i] = subscribe_options(l->args);
        qos[i] = (int)l->args->qos;
    }
    o.context = l;
    if (l->v5) {
        o.onSuccess5 = cli_on_subscribed5;
        o.onFailure5 = cli_on_subscribe_failed5;
        o.subscribeOptions = each[0];
        o.subscribeOptionsList = each;
        o.subscribeOptionsCount = (int)filters->n;
        if (l->args->subscription_id != CLI_NOT_GIVEN)
            cli_property_number(l->paho, &o.properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER,
                                (uint32_t)l->args->subscription_id);
    } else {
        o.onSuccess = cli_on_subscribed;
        o.onFailure = cli_on_subscribe_failed;
    }
    int rc = l->paho->subscribe(l->handle, (int)filters->n, names_of(filters), qos, &o);
    l->paho->properties_free(&o.properties);
    sl_free(each);
    sl_free(qos);
    return result(l, rc);
}

static int unsubscribe(struct cli_link *l, const struct cli_texts *filters)
{
    MQTTAsync_responseOptions o = MQTTAsync_responseOptions_initializer;
    o.context = l;
    if (l->v5) {
        o.onSuccess5 = cli_on_unsubscribed5;
        o.onFailure5 = cli_on_unsubscribe_failed5;
    } else {
        o.onSuccess = cli_on_unsubscribed;
        o.onFailure = cli_on_unsubscribe_failed;
    }
    return result(l, l->paho->unsubscribe(l->handle, (int)filters->n, names_of(filters), &o));
}

/* ---- PUBLISH, DISCONNECT ---- */

/* Once: by then all that the options leave open is chosen. */
static void prepare(struct cli_link *l)
{
    if (!l->prepared && l->v5)
        cli_properties_of(l->paho, l->args, &l->properties);
    l->prepared = true;
}

static int publish(struct cli_link *l, const char *topic, struct sl_bytes payload)
{
    prepare(l);
    MQTTAsync_message m = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions o = MQTTAsync_responseOptions_initializer;
    m.payload = payload.n > 0 ? (void *)(uintptr_t)payload.p : (void *)(uintptr_t)"";
    m.payloadlen = (int)payload.n;
    m.qos = (int)l->args->qos;
    m.retained = l->args->retain;
    m.properties = l->properties;
    o.context = l;
    if (l->v5) {
        o.onSuccess5 = cli_on_published5;
        o.onFailure5 = cli_on_publish_failed5;
    } else {
        o.onSuccess = cli_on_published;
        o.onFailure = cli_on_publish_failed;
    }
    return result(l, l->paho->send(l->handle, topic, &m, &o));
}

static int disconnect(struct cli_link *l)
{
    cli_events_close(&l->events); /* Paho's thread must not wait for us while we wait for it */
    const MQTTAsync_disconnectOptions four = MQTTAsync_disconnectOptions_initializer,
                                      five = MQTTAsync_disconnectOptions_initializer5;
    MQTTAsync_disconnectOptions o = l->v5 ? five : four;
    o.context = l;
    if (l->v5) {
        o.onSuccess5 = cli_on_gone5;
        o.onFailure5 = cli_on_gone_failed5;
    } else {
        o.onSuccess = cli_on_gone;
        o.onFailure = cli_on_gone_failed;
    }
    return result(l, l->paho->disconnect(l->handle, &o));
}

/* ---- what Paho does by itself ---- */

static void acknowledge(struct cli_link *l, struct sl_bytes token, uint32_t subscription)
{
    (void)l, (void)token, (void)subscription;
}

static void flush_link(struct cli_link *l)
{
    (void)l;
}

/* ---- events ---- */

static void begin(struct cli_link *l)
{
    cli_events_clear(&l->events);
}

static struct cli_event *take(struct cli_link *l)
{
    return cli_events_take(&l->events);
}

static uint64_t answered(struct cli_link *l)
{
    return cli_events_count(&l->events);
}

/* Paho's threads are left as they are: the process ends. */
static void close_link(struct cli_link *l)
{
    l->paho->properties_free(&l->properties);
}

const struct cli_link_verbs cli_mqtt_link = { open_link,  connect_link, subscribe,  unsubscribe, publish,  acknowledge,
                                              disconnect, flush_link,   begin,      take,        answered, close_link };
