/* From options to MQTT 5 properties. Paho copies texts when they are added. */
#include "core/alloc.h"
#include "mqtt.h"

static MQTTLenString text(const char *s, size_t n)
{
    return (MQTTLenString){ (int)n, (char *)(uintptr_t)s };
}

static void add(const struct cli_paho *p, MQTTProperties *to, const MQTTProperty *one)
{
    int err = p->property_add(to, one);
    SL_ASSERT(err == 0); /* an unknown name, or no memory */
}

/* The union's members begin at one place but differ in width: the name says which it is. */
void cli_property_number(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, uint32_t v)
{
    MQTTProperty one = { .identifier = name };
    if (name == MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR || name == MQTTPROPERTY_CODE_REQUEST_RESPONSE_INFORMATION)
        one.value.byte = (unsigned char)v;
    else if (name == MQTTPROPERTY_CODE_TOPIC_ALIAS || name == MQTTPROPERTY_CODE_RECEIVE_MAXIMUM)
        one.value.integer2 = (unsigned short)v;
    else
        one.value.integer4 = v;
    add(p, to, &one);
}

void cli_property_text(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, const char *v)
{
    MQTTProperty one = { .identifier = name };
    one.value.data = text(v, strlen(v));
    add(p, to, &one);
}

void cli_property_pair(const struct cli_paho *p, MQTTProperties *to, const char *name_value)
{
    size_t n = strcspn(name_value, "=");
    MQTTProperty one = { .identifier = MQTTPROPERTY_CODE_USER_PROPERTY };
    one.value.data = text(name_value, n);
    one.value.value = text(name_value + n + 1, strlen(name_value + n + 1));
    add(p, to, &one);
}

void cli_properties_of(const struct cli_paho *p, const struct cli_args *a, MQTTProperties *to)
{
    if (a->utf8)
        cli_property_number(p, to, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, 1);
    if (a->expiry != CLI_NOT_GIVEN)
        cli_property_number(p, to, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, (uint32_t)a->expiry);
    if (a->topic_alias != CLI_NOT_GIVEN)
        cli_property_number(p, to, MQTTPROPERTY_CODE_TOPIC_ALIAS, (uint32_t)a->topic_alias);
    if (a->content_type != NULL)
        cli_property_text(p, to, MQTTPROPERTY_CODE_CONTENT_TYPE, a->content_type);
    if (a->response_topic != NULL)
        cli_property_text(p, to, MQTTPROPERTY_CODE_RESPONSE_TOPIC, a->response_topic);
    if (a->correlation != NULL)
        cli_property_text(p, to, MQTTPROPERTY_CODE_CORRELATION_DATA, a->correlation);
    for (size_t i = 0; i < a->headers.n; i++)
        cli_property_pair(p, to, a->headers.v[i]);
}
