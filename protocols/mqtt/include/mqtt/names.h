/* Topic names and topic filters: their form, not their meaning (section 4.7). */
#ifndef MQTT_NAMES_H
#define MQTT_NAMES_H

#include "core/bytes.h"

/* Strict UTF-8 without U+0000, at least one character, no wildcard
 * [MQTT-4.7.1-1, 4.7.3-1, 4.7.3-2]. */
bool mqtt_topic_valid(struct sl_bytes topic);

/* As above, with `+` and `#` only where section 4.7.1 lets them stand; a
 * shared filter (`$share/NAME/FILTER`) must have both of its parts
 * [MQTT-4.8.2-1, -2]. */
bool mqtt_filter_valid(struct sl_bytes filter);

bool mqtt_filter_is_shared(struct sl_bytes filter);
bool mqtt_filter_has_wildcard(struct sl_bytes filter);
/* `$share/GROUP/FILTER` into its parts; of another filter the group is empty. */
void mqtt_filter_split(struct sl_bytes whole, struct sl_bytes *group, struct sl_bytes *filter);

#endif
