/* MQTT 5 properties (section 2.2.2): a set with at most one value of each,
 * apart from user properties and subscription identifiers, which may repeat.
 *
 * Numbers and strings sit in two small arrays; `present` says which hold a
 * value, so that an empty set costs one store. Strings are views. Repeating
 * properties are not unpacked while decoding: `raw` is the block they stand
 * in, and the two iterators walk it. An encoder gives them as arrays. */
#ifndef MQTT_PROPERTIES_H
#define MQTT_PROPERTIES_H

#include "core/bytes.h"
#include "core/message.h"

enum mqtt_prop {
    MQTT_PROP_PAYLOAD_FORMAT = 0x01,
    MQTT_PROP_MESSAGE_EXPIRY = 0x02,
    MQTT_PROP_CONTENT_TYPE = 0x03,
    MQTT_PROP_RESPONSE_TOPIC = 0x08,
    MQTT_PROP_CORRELATION_DATA = 0x09,
    MQTT_PROP_SUBSCRIPTION_ID = 0x0B,
    MQTT_PROP_SESSION_EXPIRY = 0x11,
    MQTT_PROP_ASSIGNED_CLIENT_ID = 0x12,
    MQTT_PROP_SERVER_KEEP_ALIVE = 0x13,
    MQTT_PROP_AUTH_METHOD = 0x15,
    MQTT_PROP_AUTH_DATA = 0x16,
    MQTT_PROP_REQUEST_PROBLEM_INFO = 0x17,
    MQTT_PROP_WILL_DELAY = 0x18,
    MQTT_PROP_REQUEST_RESPONSE_INFO = 0x19,
    MQTT_PROP_RESPONSE_INFO = 0x1A,
    MQTT_PROP_SERVER_REFERENCE = 0x1C,
    MQTT_PROP_REASON_STRING = 0x1F,
    MQTT_PROP_RECEIVE_MAXIMUM = 0x21,
    MQTT_PROP_TOPIC_ALIAS_MAXIMUM = 0x22,
    MQTT_PROP_TOPIC_ALIAS = 0x23,
    MQTT_PROP_MAXIMUM_QOS = 0x24,
    MQTT_PROP_RETAIN_AVAILABLE = 0x25,
    MQTT_PROP_USER = 0x26,
    MQTT_PROP_MAXIMUM_PACKET_SIZE = 0x27,
    MQTT_PROP_WILDCARD_AVAILABLE = 0x28,
    MQTT_PROP_SUBSCRIPTION_IDS_AVAILABLE = 0x29,
    MQTT_PROP_SHARED_AVAILABLE = 0x2A,
};
#define MQTT_PROP_END 0x2B

/* Where a property stands: which ones are allowed there follows from it. */
enum mqtt_place {
    MQTT_PLACE_CONNECT = 1,
    MQTT_PLACE_WILL = 1 << 1,
    MQTT_PLACE_CONNACK = 1 << 2,
    MQTT_PLACE_PUBLISH_UP = 1 << 3,   /* client to server */
    MQTT_PLACE_PUBLISH_DOWN = 1 << 4, /* server to client */
    MQTT_PLACE_ACK = 1 << 5,          /* PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK */
    MQTT_PLACE_SUBSCRIBE = 1 << 6,
    MQTT_PLACE_UNSUBSCRIBE = 1 << 7,
    MQTT_PLACE_DISCONNECT_UP = 1 << 8,
    MQTT_PLACE_DISCONNECT_DOWN = 1 << 9,
    MQTT_PLACE_AUTH = 1 << 10,
};

#define MQTT_PROP_NUMBERS 17
#define MQTT_PROP_STRINGS 9

struct mqtt_props {
    uint64_t present; /* bit n: property n has a value */
    uint32_t numbers[MQTT_PROP_NUMBERS];
    struct sl_bytes strings[MQTT_PROP_STRINGS];
    uint32_t n_user, n_subscription_ids;
    struct sl_bytes raw;               /* decoded: the whole block */
    const struct message_header *user; /* to encode: n_user of them */
    const uint32_t *subscription_ids;  /* to encode: n_subscription_ids of them */
};

/* The empty set. */
void mqtt_props_init(struct mqtt_props *props);

static inline bool mqtt_props_has(const struct mqtt_props *props, enum mqtt_prop id)
{
    return (props->present >> id & 1) != 0;
}

/* `otherwise` when absent. The id must be one of a number (a string). */
uint32_t mqtt_props_number(const struct mqtt_props *props, enum mqtt_prop id, uint32_t otherwise);
struct sl_bytes mqtt_props_string(const struct mqtt_props *props, enum mqtt_prop id);

/* Borrows the string. */
void mqtt_props_set_number(struct mqtt_props *props, enum mqtt_prop id, uint32_t value);
void mqtt_props_set_string(struct mqtt_props *props, enum mqtt_prop id, struct sl_bytes value);
void mqtt_props_set_user(struct mqtt_props *props, const struct message_header *user, uint32_t n);
void mqtt_props_set_subscription_ids(struct mqtt_props *props, const uint32_t *ids, uint32_t n);

/* Walk a decoded set; *pos starts at 0, false at the end. */
bool mqtt_props_next_user(const struct mqtt_props *props, size_t *pos, struct message_header *out);
bool mqtt_props_next_subscription_id(const struct mqtt_props *props, size_t *pos, uint32_t *out);

#endif
