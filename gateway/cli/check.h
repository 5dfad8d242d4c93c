/* What a text must be to go into a packet. Told here, it costs no connection. */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include <stdbool.h>

/* A topic to publish to: UTF-8, 1 to 65535 bytes, no wildcard. */
bool cli_topic_name(const char *text);
/* [MQTT-4.7.1-1] to -3, and $share/GROUP/FILTER [MQTT-4.8.2-1, -2]. */
bool cli_topic_filter(const char *text);
/* Of STOMP: a destination, which begins with a slash, or a topic filter that is not shared. */
bool cli_destination_valid(const char *text);
/* NAME=VALUE, both UTF-8, the name not empty. */
bool cli_header(const char *text);
/* Only letters and escapes that cli_format_line() knows. */
bool cli_format_valid(const char *format);

#endif
