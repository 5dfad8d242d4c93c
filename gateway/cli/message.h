/* A message as it came, ready to be shown. */
#ifndef CLI_MESSAGE_H
#define CLI_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/bytes.h"
#include "paho.h"

/* What goes with a message stands in MQTT 5's properties, also when STOMP's headers said it. */
struct cli_message {
    struct sl_bytes topic, payload; /* borrowed from the event */
    int qos, packet_id;
    bool retain, dup;
    const MQTTProperties *properties;
    struct sl_bytes token; /* STOMP: what an ACK names; empty: nothing to acknowledge */
    uint32_t subscription; /* STOMP: 1 is the first one */
};

/* The first property of that name, or NULL. */
const MQTTProperty *cli_property(const MQTTProperties *all, enum MQTTPropertyCodes name);
/* Empty where there is none. */
struct sl_bytes cli_property_bytes(const MQTTProperties *all, enum MQTTPropertyCodes name);
static inline struct sl_bytes cli_len_string(MQTTLenString s)
{
    return sl_bytes_of(s.data, (size_t)s.len);
}

#endif
