/* What the two halves of the model share. */
#ifndef TEST_MQTT_MODEL_INTERNAL_H
#define TEST_MQTT_MODEL_INTERNAL_H

#include "mqtt_model.h"

#define SLACK_MS 1500u /* of an expiry: it is told in seconds */

bool model_alike(const struct want *a, const struct want *b, bool with_ids);
struct want *model_want_add(struct session_model *s, uint32_t msg);

#endif
