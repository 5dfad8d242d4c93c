/* Decodes a packet and writes it again: for round trips and the fuzzer. */
#ifndef MQTT_RECODE_H
#define MQTT_RECODE_H

#include "mqtt/packet.h"

/* Decodes the framed packet, whatever its type, and appends its encoding.
 * SL_OK, or the decoder's error; an encoder's error aborts. */
SL_CHECK int mqtt_recode(struct mqtt_frame *f, struct sl_buf *out);

#endif
