#include "config/config.h"

/* Two doors on loopback, a demo queue and a pool that prints what comes. The
 * paths are those of the source folder. */
static const char text[] =
    "{\n"
    "  \"listeners\": [\n"
    "    { \"bind\": \"127.0.0.1:1883\", \"protocol\": \"mqtt\" },\n"
    "    { \"bind\": \"127.0.0.1:61613\", \"protocol\": \"stomp\" }\n"
    "  ],\n"
    "  \"queues\": { \"demo\": {} },\n"
    "  \"routes\": [\n"
    "    { \"match\": \"demo/#\", \"queues\": [\"demo\"] },\n"
    "    { \"match\": \"telemetry/#\", \"queues\": [\"demo\"] }\n"
    "  ],\n"
    "  \"pools\": {\n"
    "    \"demo\": {\n"
    "      \"queue\": \"demo\",\n"
    "      \"command\": [\"python3\", \"workers/python/examples/print_telemetry.py\"]\n"
    "    }\n"
    "  }\n"
    "}\n";

const char *config_builtin_text(void)
{
    return text;
}
