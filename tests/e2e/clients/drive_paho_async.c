/* Eclipse Paho's asynchronous C client on a string: see drive.h. Each command waits for its
 * callback, which comes on one of Paho's threads. */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <MQTTAsync.h>

#include "drive.h"

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool over;
    int value; /* what the success said: session present, reason code */
} step = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void finish(int value)
{
    pthread_mutex_lock(&step.mutex);
    step.over = true;
    step.value = value;
    pthread_cond_signal(&step.changed);
    pthread_mutex_unlock(&step.mutex);
}

static int wait_step(const char *what)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DRIVE_WAIT_MS / 1000;
    int rc = 0;
    pthread_mutex_lock(&step.mutex);
    while (!step.over && rc == 0)
        rc = pthread_cond_timedwait(&step.changed, &step.mutex, &end);
    int value = step.value;
    step.over = false;
    pthread_mutex_unlock(&step.mutex);
    if (rc != 0)
        drive_failed(what, rc);
    return value;
}

static void on_connected(void *context, MQTTAsync_successData *data)
{
    (void)context;
    finish(data->alt.connect.sessionPresent);
}

static void on_connected_5(void *context, MQTTAsync_successData5 *data)
{
    (void)context;
    finish(data->alt.connect.sessionPresent);
}

/* For a subscription to one filter the granted QoS, else nothing that is read. */
static void on_done(void *context, MQTTAsync_successData *data)
{
    finish(data != NULL && context != NULL ? data->alt.qos : 0);
}

static void on_done_5(void *context, MQTTAsync_successData5 *data)
{
    (void)context;
    finish(data != NULL ? (int)data->reasonCode : 0);
}

static void on_failure(void *context, MQTTAsync_failureData *data)
{
    (void)context;
    drive_failed("failure", data != NULL ? data->code : 0);
}

static void on_failure_5(void *context, MQTTAsync_failureData5 *data)
{
    (void)context;
    drive_failed("failure", data != NULL ? (int)data->reasonCode : 0);
}

static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *m)
{
    (void)context;
    (void)topic_length; /* 0: the topic holds no NUL, and ours never do */
    drive_say_message(topic, m->qos, m->retained != 0, m->payload, (size_t)m->payloadlen);
    MQTTAsync_freeMessage(&m);
    MQTTAsync_free(topic);
    return 1;
}

static MQTTAsync_responseOptions answers(int version, void *context)
{
    MQTTAsync_responseOptions r = MQTTAsync_responseOptions_initializer;
    r.context = context;
    if (version == 5) {
        r.onSuccess5 = on_done_5;
        r.onFailure5 = on_failure_5;
    } else {
        r.onSuccess = on_done;
        r.onFailure = on_failure;
    }
    return r;
}

static void start_connect(MQTTAsync c, const struct drive_options *o, MQTTAsync_connectOptions *co)
{
    MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
    will.topicName = o->will_topic;
    will.payload.len = (int)o->will.n;
    will.payload.data = o->will.p;
    will.qos = o->will_qos;
    will.retained = o->will_retain;
    co->keepAliveInterval = DRIVE_KEEP_ALIVE_S;
    co->will = o->will_topic != NULL ? &will : NULL;
    int rc = MQTTAsync_connect(c, co);
    if (rc != MQTTASYNC_SUCCESS)
        drive_failed("connect", rc);
    drive_say("connected", wait_step("connect"));
}

static void connect_3(MQTTAsync c, const struct drive_options *o)
{
    MQTTAsync_connectOptions co = MQTTAsync_connectOptions_initializer;
    co.cleansession = o->clean;
    co.onSuccess = on_connected;
    co.onFailure = on_failure;
    start_connect(c, o, &co);
}

static void connect_5(MQTTAsync c, const struct drive_options *o)
{
    MQTTAsync_connectOptions co = MQTTAsync_connectOptions_initializer5;
    MQTTProperties props = MQTTProperties_initializer;
    MQTTProperty expiry = { .identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL };
    expiry.value.integer4 = DRIVE_EXPIRY_S;
    if (!o->clean && MQTTProperties_add(&props, &expiry) != 0)
        drive_failed("property", 0);
    co.cleanstart = o->clean;
    co.connectProperties = &props;
    co.onSuccess5 = on_connected_5;
    co.onFailure5 = on_failure_5;
    start_connect(c, o, &co);
    MQTTProperties_free(&props);
}

static void subscribe(MQTTAsync c, int version, const struct drive_command *command)
{
    MQTTAsync_responseOptions r = answers(version, c);
    int rc = MQTTAsync_subscribe(c, command->topic, command->qos, &r);
    if (rc != MQTTASYNC_SUCCESS)
        drive_failed("subscribe", rc);
    drive_say("subscribed", wait_step("subscribe"));
}

static void publish(MQTTAsync c, int version, const struct drive_command *command)
{
    MQTTAsync_responseOptions r = answers(version, NULL);
    int rc = MQTTAsync_send(c, command->topic, (int)command->payload.n, command->payload.p, command->qos, command->retain, &r);
    if (rc != MQTTASYNC_SUCCESS)
        drive_failed("publish", rc);
    wait_step("publish");
    drive_say("published", 0);
}

static void quit(MQTTAsync c, int version)
{
    MQTTAsync_disconnectOptions o = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions o5 = MQTTAsync_disconnectOptions_initializer5;
    o.onSuccess = on_done;
    o5.onSuccess5 = on_done_5;
    o.timeout = o5.timeout = DRIVE_WAIT_MS;
    int rc = MQTTAsync_disconnect(c, version == 5 ? &o5 : &o);
    if (rc != MQTTASYNC_SUCCESS)
        drive_failed("disconnect", rc);
    wait_step("disconnect");
}

int main(int argc, char **argv)
{
    struct drive_options o;
    struct drive_command command = { 0 };
    MQTTAsync c;
    drive_read_options(&o, argc, argv);
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
    create.MQTTVersion = o.version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    int rc = MQTTAsync_createWithOptions(&c, o.uri, o.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setCallbacks(c, NULL, NULL, on_message, NULL);
    if (rc != MQTTASYNC_SUCCESS)
        drive_failed("create", rc);
    if (o.version == 5)
        connect_5(c, &o);
    else
        connect_3(c, &o);
    for (drive_next(&command); command.what != DRIVE_QUIT; drive_next(&command)) {
        if (command.what == DRIVE_SUBSCRIBE)
            subscribe(c, o.version, &command);
        else
            publish(c, o.version, &command);
    }
    quit(c, o.version);
    MQTTAsync_destroy(&c);
    drive_free_options(&o);
    return 0;
}
