/* Eclipse Paho's synchronous C client on a string: see drive.h. */
#include <string.h>

#include <MQTTClient.h>

#include "drive.h"

static int on_message(void *context, char *topic, int topic_length, MQTTClient_message *m)
{
    (void)context;
    (void)topic_length; /* 0: the topic holds no NUL, and ours never do */
    drive_say_message(topic, m->qos, m->retained != 0, m->payload, (size_t)m->payloadlen);
    MQTTClient_freeMessage(&m);
    MQTTClient_free(topic);
    return 1;
}

static MQTTClient_willOptions will_of(const struct drive_options *o)
{
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    will.topicName = o->will_topic;
    will.payload.len = (int)o->will.n;
    will.payload.data = o->will.p;
    will.qos = o->will_qos;
    will.retained = o->will_retain;
    return will;
}

static int connect_3(MQTTClient c, const struct drive_options *o, MQTTClient_willOptions *will)
{
    MQTTClient_connectOptions co = MQTTClient_connectOptions_initializer;
    co.keepAliveInterval = DRIVE_KEEP_ALIVE_S;
    co.cleansession = o->clean;
    co.will = will;
    int rc = MQTTClient_connect(c, &co);
    if (rc != MQTTCLIENT_SUCCESS)
        drive_failed("connect", rc);
    return co.returned.sessionPresent;
}

/* -1: of a session of version 5 Paho does not tell whether it was there. */
static int connect_5(MQTTClient c, const struct drive_options *o, MQTTClient_willOptions *will)
{
    MQTTClient_connectOptions co = MQTTClient_connectOptions_initializer5;
    MQTTProperties props = MQTTProperties_initializer;
    MQTTProperty expiry = { .identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL };
    expiry.value.integer4 = DRIVE_EXPIRY_S;
    if (!o->clean && MQTTProperties_add(&props, &expiry) != 0)
        drive_failed("property", 0);
    co.keepAliveInterval = DRIVE_KEEP_ALIVE_S;
    co.cleanstart = o->clean;
    co.will = will;
    MQTTResponse r = MQTTClient_connect5(c, &co, &props, NULL);
    if (r.reasonCode != MQTTREASONCODE_SUCCESS)
        drive_failed("connect", (int)r.reasonCode);
    MQTTResponse_free(r);
    MQTTProperties_free(&props);
    return -1;
}

static void subscribe(MQTTClient c, int version, const struct drive_command *command)
{
    int granted = command->qos;
    if (version == 5) {
        MQTTResponse r = MQTTClient_subscribe5(c, command->topic, command->qos, NULL, NULL);
        granted = (int)r.reasonCode;
        MQTTResponse_free(r);
    } else {
        int rc = MQTTClient_subscribeMany(c, 1, &(char *){ (char *)command->topic }, &granted);
        if (rc != MQTTCLIENT_SUCCESS)
            drive_failed("subscribe", rc);
    }
    drive_say("subscribed", granted);
}

static void publish(MQTTClient c, int version, const struct drive_command *command)
{
    MQTTClient_message m = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token = 0;
    m.payload = command->payload.p;
    m.payloadlen = (int)command->payload.n;
    m.qos = command->qos;
    m.retained = command->retain;
    int rc;
    if (version == 5) {
        MQTTResponse r = MQTTClient_publishMessage5(c, command->topic, &m, &token);
        rc = (int)r.reasonCode > MQTTREASONCODE_NO_MATCHING_SUBSCRIBERS ? (int)r.reasonCode : 0;
        MQTTResponse_free(r);
    } else {
        rc = MQTTClient_publishMessage(c, command->topic, &m, &token);
    }
    if (rc == 0 && command->qos > 0)
        rc = MQTTClient_waitForCompletion(c, token, DRIVE_WAIT_MS);
    if (rc != 0)
        drive_failed("publish", rc);
    drive_say("published", 0);
}

static void quit(MQTTClient c, int version)
{
    int rc = version == 5 ? MQTTClient_disconnect5(c, DRIVE_WAIT_MS, MQTTREASONCODE_SUCCESS, NULL)
                          : MQTTClient_disconnect(c, DRIVE_WAIT_MS);
    if (rc != MQTTCLIENT_SUCCESS)
        drive_failed("disconnect", rc);
}

int main(int argc, char **argv)
{
    struct drive_options o;
    struct drive_command command = { 0 };
    MQTTClient c;
    drive_read_options(&o, argc, argv);
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    create.MQTTVersion = o.version == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    int rc = MQTTClient_createWithOptions(&c, o.uri, o.client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
    if (rc == MQTTCLIENT_SUCCESS)
        rc = MQTTClient_setCallbacks(c, NULL, NULL, on_message, NULL);
    if (rc != MQTTCLIENT_SUCCESS)
        drive_failed("create", rc);
    MQTTClient_willOptions will = will_of(&o);
    MQTTClient_willOptions *left = o.will_topic != NULL ? &will : NULL;
    drive_say("connected", o.version == 5 ? connect_5(c, &o, left) : connect_3(c, &o, left));
    for (drive_next(&command); command.what != DRIVE_QUIT; drive_next(&command)) {
        if (command.what == DRIVE_SUBSCRIBE)
            subscribe(c, o.version, &command);
        else
            publish(c, o.version, &command);
    }
    quit(c, o.version);
    MQTTClient_destroy(&c);
    drive_free_options(&o);
    return 0;
}
