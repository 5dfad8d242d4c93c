/* What mqtt.c and its neighbours share: properties from options. All lists start as
 * MQTTProperties_initializer. */
#ifndef CLI_MQTT_H
#define CLI_MQTT_H

#include "link.h"

void cli_property_number(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, uint32_t v);
void cli_property_text(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, const char *v);
void cli_property_pair(const struct cli_paho *p, MQTTProperties *to, const char *name_value);
/* Those of a PUBLISH that the options ask for. */
void cli_properties_of(const struct cli_paho *p, const struct cli_args *a, MQTTProperties *to);

#endif
