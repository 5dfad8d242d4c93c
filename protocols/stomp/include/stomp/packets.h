/* What a test or a metric may ask of the `proto_packets` of STOMP. */
#ifndef STOMP_PACKETS_H
#define STOMP_PACKETS_H

#include "protocols/protocol.h"

/* How often the common part of a MESSAGE was encoded; all others were copies. */
uint64_t stomp_packets_encoded(const struct proto_packets *p);

#endif
