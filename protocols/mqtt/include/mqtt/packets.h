/* What a test or a metric may ask of the `proto_packets` of MQTT. */
#ifndef MQTT_PACKETS_PUBLIC_H
#define MQTT_PACKETS_PUBLIC_H

#include "protocols/protocol.h"

/* How many PUBLISH packets were encoded; all others were copies of these. */
uint64_t mqtt_packets_encoded(const struct proto_packets *p);

#endif
