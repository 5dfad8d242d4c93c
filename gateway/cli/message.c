#include "message.h"

struct cli_message cli_message_of(const struct cli_event *e)
{
    const MQTTAsync_message *m = e->message;
    return (struct cli_message){ .topic = sl_bytes_of(e->topic, (size_t)e->topic_bytes),
                                 .payload = sl_bytes_of(m->payload, (size_t)m->payloadlen),
                                 .qos = m->qos,
                                 .packet_id = m->msgid,
                                 .retain = m->retained != 0,
                                 .dup = m->dup != 0,
                                 .properties = &m->properties };
}

const MQTTProperty *cli_property(const MQTTProperties *all, enum MQTTPropertyCodes name)
{
    for (int i = 0; i < all->count; i++) {
        if (all->array[i].identifier == name)
            return &all->array[i];
    }
    return NULL;
}

struct sl_bytes cli_property_bytes(const MQTTProperties *all, enum MQTTPropertyCodes name)
{
    const MQTTProperty *p = cli_property(all, name);
    return p == NULL ? SL_BYTES_NONE : cli_len_string(p->value.data);
}
