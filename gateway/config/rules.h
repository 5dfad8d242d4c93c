/* What texts must look like: each rule is a yes-or-no question that a row of
 * the table may ask. */
#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include <stdbool.h>

#include "core/bytes.h"

/* Nodes, queues, pools. */
bool config_is_name(struct sl_bytes text);
/* A topic filter of MQTT [MQTT-4.7.1-1, -2, 4.7.3-1, -2, -3]. */
bool config_is_filter(struct sl_bytes text);
bool config_is_order(struct sl_bytes text);
/* The same without "none". */
bool config_is_key(struct sl_bytes text);
/* A part of a dedup key. */
bool config_is_dedup(struct sl_bytes text);
/* Where answers are expected: %c becomes a client id, so that only wildcards are known to be wrong. */
bool config_is_response_information(struct sl_bytes text);
/* A user or a group. */
bool config_is_token(struct sl_bytes text);
bool config_is_account(struct sl_bytes text);
/* The name of an environment variable. */
bool config_is_variable(struct sl_bytes text);

/* A topic to publish to [MQTT-4.7.1-1, -3.3.2-2], or "/queue/NAME"; not one of the gateway's own. */
bool config_is_topic(struct sl_bytes text);
bool config_is_any(struct sl_bytes text);
/* Short enough for a message's field, and not empty. */
bool config_is_short(struct sl_bytes text);
/* With its padding; may be empty. */
bool config_is_base64(struct sl_bytes text);

#endif
