/* One line per event: time, level, event name, key=value pairs.
 *
 *   2026-11-21T10:00:00.123Z info listener_open bind=127.0.0.1:1883 protocol=mqtt
 *
 * Event names are stable and are what tests look at. Payloads never appear;
 * what a peer wrote goes through sl_escape. Values with spaces are quoted by
 * the caller (%s in "reason=\"%s\""). */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdarg.h>

#include "core/bytes.h"

enum sl_log_level { SL_DEBUG, SL_INFO, SL_WARN, SL_ERROR };

/* Where whole lines (with newline) go; NULL: nowhere (tests). The sink may be
 * called from the store's thread. */
typedef void (*sl_log_sink)(void *arg, const char *line, size_t n);
void sl_log_to(sl_log_sink sink, void *arg, enum sl_log_level least);

void sl_log(enum sl_log_level level, const char *event, const char *fmt, ...) SL_PRINTF(3, 4);

/* At most `per_s` lines a second per struct. Held back lines are told in a line
 * of their own ("lines_held_back count=N") by the first call of a later second. */
struct sl_log_limit {
    uint64_t second;
    uint32_t count, held;
};
bool sl_log_allow(struct sl_log_limit *l, uint64_t mono_ms, uint32_t per_s);

#endif
