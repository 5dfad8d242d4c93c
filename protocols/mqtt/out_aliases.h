/* The topic aliases that this server set on one connection (section 3.3.2.3.4).
 * A topic has one place, by its hash; another topic with the same place takes
 * the alias over, so that nothing is searched or ordered. Inside the room. */
#ifndef MQTT_OUT_ALIASES_H
#define MQTT_OUT_ALIASES_H

#include "core/bytes.h"

/* As many as one connection gets, whatever its client would take. */
#define MQTT_OUT_ALIASES_MAX 32u
/* Telling an alias costs three bytes, and so does using it: from six bytes of
 * topic on its first use pays for both. */
#define MQTT_ALIAS_LEAST_TOPIC 6u

struct mqtt_out_aliases;

struct mqtt_out_alias {
    uint8_t *topic; /* NULL: not set */
    uint32_t n;
};

/* The place of a topic among at most `client_max` > 0 aliases
 * [MQTT-3.1.2-26]; *all is made when it is NULL. */
struct mqtt_out_alias *mqtt_out_alias_at(struct mqtt_out_aliases **all, uint16_t client_max,
                                         uint64_t hash);
/* Copies the topic, which is not empty. */
void mqtt_out_alias_set(struct mqtt_out_alias *slot, struct sl_bytes topic);
/* From 1 [MQTT-3.3.2-8]. */
uint16_t mqtt_out_alias_number(const struct mqtt_out_aliases *all,
                               const struct mqtt_out_alias *slot);
void mqtt_out_aliases_free(struct mqtt_out_aliases *all);

static inline bool mqtt_out_alias_is(const struct mqtt_out_alias *slot, struct sl_bytes topic)
{
    return slot->n == topic.n && memcmp(slot->topic, topic.p, topic.n) == 0;
}

#endif
