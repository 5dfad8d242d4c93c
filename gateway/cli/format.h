/* How `sub` shows a message: a line after a pattern, or one JSON object. */
#ifndef CLI_FORMAT_H
#define CLI_FORMAT_H

#include "message.h"

/* Those of mosquitto_sub that have a meaning here. */
#define CLI_FORMAT_LETTERS "%tpqrdlmxIUPCDEFRSj"
#define CLI_FORMAT_DEFAULT "%t %p"

/* Appends; `now_us` is the time of arrival since 1970. The pattern is valid. */
void cli_format_line(struct sl_buf *out, const char *pattern, const struct cli_message *m, uint64_t now_us);
/* One object, without newline, in the words of the workers' mode `lines`. */
void cli_format_json(struct sl_buf *out, const struct cli_message *m, uint64_t now_us);
/* For a terminal: what could move its cursor or is not UTF-8 stands there as \xHH. */
void cli_format_tame(struct sl_buf *out, struct sl_bytes in);

#endif
