/* Eclipse Paho MQTT C, loaded when a client command runs.
 *
 * Linked in, Paho and libssl would cost every `sluice run` a third of a
 * megabyte of resident memory, and a machine that only runs the gateway would
 * need both. Types and constants are those of Paho's headers; functions are
 * called through the table. */
#ifndef CLI_PAHO_H
#define CLI_PAHO_H

#include <MQTTAsync.h>

#include "core/compat.h"

#define CLI_PAHO_LIBRARY "libpaho-mqtt3as.so.1"

/* field, Paho's name */
#define CLI_PAHO_FUNCTIONS(X)                       \
    X(create, MQTTAsync_createWithOptions)          \
    X(set_callbacks, MQTTAsync_setCallbacks)        \
    X(set_disconnected, MQTTAsync_setDisconnected)  \
    X(connect, MQTTAsync_connect)                   \
    X(disconnect, MQTTAsync_disconnect)             \
    X(subscribe, MQTTAsync_subscribeMany)           \
    X(unsubscribe, MQTTAsync_unsubscribeMany)       \
    X(send, MQTTAsync_sendMessage)                  \
    X(free_message, MQTTAsync_freeMessage)          \
    X(free, MQTTAsync_free)                         \
    X(error_text, MQTTAsync_strerror)               \
    X(property_add, MQTTProperties_add)             \
    X(properties_free, MQTTProperties_free)         \
    X(reason_text, MQTTReasonCode_toString)

struct cli_paho {
#define X(field, name) SL_TYPEOF(name) *field;
    CLI_PAHO_FUNCTIONS(X)
#undef X
};

/* NULL when it cannot be loaded, which is told on stderr. Once loaded it stays. */
const struct cli_paho *cli_paho_load(const char *command) SL_CHECK;

#endif
