/* A publisher as a device would have it, Eclipse Paho's synchronous C client:
 *   e2e_paho_sync PORT VERSION QOS TOPIC PAYLOAD
 * VERSION 4 or 5; with 5 the message carries a user property, content type,
 * response topic and correlation data. Ends with 0 when it was acknowledged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <MQTTClient.h>

#define WAIT_MS 20000

static int failed(const char *what, int rc)
{
    fprintf(stderr, "%s: %d\n", what, rc);
    return 1;
}

static int publish_3(MQTTClient c, char **argv)
{
    MQTTClient_connectOptions o = MQTTClient_connectOptions_initializer;
    MQTTClient_message m = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token;
    o.keepAliveInterval = 20;
    o.cleansession = 1;
    int rc = MQTTClient_connect(c, &o);
    if (rc != MQTTCLIENT_SUCCESS)
        return failed("connect", rc);
    m.payload = argv[5];
    m.payloadlen = (int)strlen(argv[5]);
    m.qos = atoi(argv[3]);
    rc = MQTTClient_publishMessage(c, argv[4], &m, &token);
    if (rc == MQTTCLIENT_SUCCESS)
        rc = MQTTClient_waitForCompletion(c, token, WAIT_MS);
    if (rc != MQTTCLIENT_SUCCESS)
        return failed("publish", rc);
    return MQTTClient_disconnect(c, 1000) == MQTTCLIENT_SUCCESS ? 0 : failed("disconnect", 0);
}

static void add(MQTTProperties *to, enum MQTTPropertyCodes code, const char *name, const char *value)
{
    MQTTProperty p = { .identifier = code };
    p.value.data.data = (char *)(name != NULL ? name : value);
    p.value.data.len = (int)strlen(p.value.data.data);
    if (name != NULL) {
        p.value.value.data = (char *)value;
        p.value.value.len = (int)strlen(value);
    }
    if (MQTTProperties_add(to, &p) != 0)
        exit(failed("property", (int)code));
}

static int publish_5(MQTTClient c, char **argv)
{
    MQTTClient_connectOptions o = MQTTClient_connectOptions_initializer5;
    MQTTClient_message m = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token;
    o.keepAliveInterval = 20;
    o.cleanstart = 1;
    MQTTResponse r = MQTTClient_connect5(c, &o, NULL, NULL);
    if (r.reasonCode != MQTTREASONCODE_SUCCESS)
        return failed("connect", (int)r.reasonCode);
    MQTTResponse_free(r);
    m.payload = argv[5];
    m.payloadlen = (int)strlen(argv[5]);
    m.qos = atoi(argv[3]);
    add(&m.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "site", "north");
    add(&m.properties, MQTTPROPERTY_CODE_USER_PROPERTY, "site", "south");
    add(&m.properties, MQTTPROPERTY_CODE_CONTENT_TYPE, NULL, "text/plain");
    add(&m.properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC, NULL, "answers/1");
    add(&m.properties, MQTTPROPERTY_CODE_CORRELATION_DATA, NULL, "c-17");
    r = MQTTClient_publishMessage5(c, argv[4], &m, &token);
    if (r.reasonCode > MQTTREASONCODE_NO_MATCHING_SUBSCRIBERS)
        return failed("publish", (int)r.reasonCode);
    MQTTResponse_free(r);
    MQTTProperties_free(&m.properties);
    int rc = MQTTClient_waitForCompletion(c, token, WAIT_MS);
    if (rc != MQTTCLIENT_SUCCESS)
        return failed("completion", rc);
    rc = MQTTClient_disconnect5(c, 1000, MQTTREASONCODE_SUCCESS, NULL);
    return rc == MQTTCLIENT_SUCCESS ? 0 : failed("disconnect", rc);
}

int main(int argc, char **argv)
{
    char uri[64];
    MQTTClient c;
    if (argc != 6)
        return 2;
    snprintf(uri, sizeof uri, "tcp://127.0.0.1:%d", atoi(argv[1]));
    MQTTClient_createOptions o = MQTTClient_createOptions_initializer;
    o.MQTTVersion = atoi(argv[2]) == 5 ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    int rc = MQTTClient_createWithOptions(&c, uri, "paho-sync", MQTTCLIENT_PERSISTENCE_NONE, NULL, &o);
    if (rc != MQTTCLIENT_SUCCESS)
        return failed("create", rc);
    int status = o.MQTTVersion == MQTTVERSION_5 ? publish_5(c, argv) : publish_3(c, argv);
    MQTTClient_destroy(&c);
    return status;
}
