/* Reason codes of MQTT 5 (section 2.4) and return codes of 3.1.1, each with
 * the stable word that logs and metrics use. */
#ifndef MQTT_REASON_H
#define MQTT_REASON_H

#include <stdbool.h>
#include <stdint.h>

#define MQTT_REASONS(X)                                                                            \
    X(MQTT_SUCCESS, 0x00, "success")                                                               \
    X(MQTT_GRANTED_QOS_1, 0x01, "granted_qos_1")                                                   \
    X(MQTT_GRANTED_QOS_2, 0x02, "granted_qos_2")                                                   \
    X(MQTT_DISCONNECT_WITH_WILL, 0x04, "disconnect_with_will")                                     \
    X(MQTT_NO_MATCHING_SUBSCRIBERS, 0x10, "no_matching_subscribers")                               \
    X(MQTT_NO_SUBSCRIPTION_EXISTED, 0x11, "no_subscription_existed")                               \
    X(MQTT_CONTINUE_AUTHENTICATION, 0x18, "continue_authentication")                               \
    X(MQTT_RE_AUTHENTICATE, 0x19, "re_authenticate")                                               \
    X(MQTT_UNSPECIFIED_ERROR, 0x80, "unspecified_error")                                           \
    X(MQTT_MALFORMED_PACKET, 0x81, "malformed_packet")                                             \
    X(MQTT_PROTOCOL_ERROR, 0x82, "protocol_error")                                                 \
    X(MQTT_IMPLEMENTATION_ERROR, 0x83, "implementation_specific_error")                            \
    X(MQTT_UNSUPPORTED_VERSION, 0x84, "unsupported_protocol_version")                              \
    X(MQTT_CLIENT_ID_NOT_VALID, 0x85, "client_identifier_not_valid")                               \
    X(MQTT_BAD_CREDENTIALS, 0x86, "bad_credentials")                                               \
    X(MQTT_NOT_AUTHORIZED, 0x87, "not_authorized")                                                 \
    X(MQTT_SERVER_UNAVAILABLE, 0x88, "server_unavailable")                                         \
    X(MQTT_SERVER_BUSY, 0x89, "server_busy")                                                       \
    X(MQTT_BANNED, 0x8A, "banned")                                                                 \
    X(MQTT_SERVER_SHUTTING_DOWN, 0x8B, "server_shutting_down")                                     \
    X(MQTT_BAD_AUTHENTICATION_METHOD, 0x8C, "bad_authentication_method")                           \
    X(MQTT_KEEP_ALIVE_TIMEOUT, 0x8D, "keep_alive_timeout")                                         \
    X(MQTT_SESSION_TAKEN_OVER, 0x8E, "session_taken_over")                                         \
    X(MQTT_TOPIC_FILTER_INVALID, 0x8F, "topic_filter_invalid")                                     \
    X(MQTT_TOPIC_NAME_INVALID, 0x90, "topic_name_invalid")                                         \
    X(MQTT_PACKET_ID_IN_USE, 0x91, "packet_identifier_in_use")                                     \
    X(MQTT_PACKET_ID_NOT_FOUND, 0x92, "packet_identifier_not_found")                               \
    X(MQTT_RECEIVE_MAXIMUM_EXCEEDED, 0x93, "receive_maximum_exceeded")                             \
    X(MQTT_TOPIC_ALIAS_INVALID, 0x94, "topic_alias_invalid")                                       \
    X(MQTT_PACKET_TOO_LARGE, 0x95, "packet_too_large")                                             \
    X(MQTT_MESSAGE_RATE_TOO_HIGH, 0x96, "message_rate_too_high")                                   \
    X(MQTT_QUOTA_EXCEEDED, 0x97, "quota_exceeded")                                                 \
    X(MQTT_ADMINISTRATIVE_ACTION, 0x98, "administrative_action")                                   \
    X(MQTT_PAYLOAD_FORMAT_INVALID, 0x99, "payload_format_invalid")                                 \
    X(MQTT_RETAIN_NOT_SUPPORTED, 0x9A, "retain_not_supported")                                     \
    X(MQTT_QOS_NOT_SUPPORTED, 0x9B, "qos_not_supported")                                           \
    X(MQTT_USE_ANOTHER_SERVER, 0x9C, "use_another_server")                                         \
    X(MQTT_SERVER_MOVED, 0x9D, "server_moved")                                                     \
    X(MQTT_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, 0x9E, "shared_subscriptions_not_supported")         \
    X(MQTT_CONNECTION_RATE_EXCEEDED, 0x9F, "connection_rate_exceeded")                             \
    X(MQTT_MAXIMUM_CONNECT_TIME, 0xA0, "maximum_connect_time")                                     \
    X(MQTT_SUBSCRIPTION_IDS_NOT_SUPPORTED, 0xA1, "subscription_identifiers_not_supported")         \
    X(MQTT_WILDCARDS_NOT_SUPPORTED, 0xA2, "wildcard_subscriptions_not_supported")

enum mqtt_reason {
#define X(name, value, word) name = (value),
    MQTT_REASONS(X)
#undef X
};

/* CONNACK return codes of 3.1.1 (section 3.2.2.3). */
enum mqtt_return_code {
    MQTT_RETURN_ACCEPTED = 0,
    MQTT_RETURN_UNACCEPTABLE_VERSION = 1,
    MQTT_RETURN_ID_REJECTED = 2,
    MQTT_RETURN_UNAVAILABLE = 3,
    MQTT_RETURN_BAD_CREDENTIALS = 4,
    MQTT_RETURN_NOT_AUTHORIZED = 5,
};

/* SUBACK of 3.1.1 knows one refusal [MQTT-3.9.3-2]. */
#define MQTT_SUBACK_FAILURE 0x80u

/* The code's word; "unknown_reason" for a code that MQTT 5 does not define. */
const char *mqtt_reason_word(uint8_t reason);

/* Which packets may carry the code, by bit: see mqtt_reason_allowed(). */
enum mqtt_reason_place {
    MQTT_IN_CONNACK = 1,
    MQTT_IN_PUBACK = 2, /* and PUBREC */
    MQTT_IN_PUBREL = 4, /* and PUBCOMP */
    MQTT_IN_SUBACK = 8,
    MQTT_IN_UNSUBACK = 16,
    MQTT_IN_DISCONNECT_CLIENT = 32,
    MQTT_IN_DISCONNECT_SERVER = 64,
    MQTT_IN_AUTH = 128,
};

/* True when MQTT 5 lets a packet of that kind carry the code. */
bool mqtt_reason_allowed(uint8_t reason, enum mqtt_reason_place place);

#endif
