/* Durations ("500ms" "30s" "5m" "1h" "7d") and sizes ("64KiB" "1GiB"). */
#ifndef CORE_UNITS_H
#define CORE_UNITS_H

#include "core/bytes.h"

/* To milliseconds (or microseconds for _us, which also takes "200us"). A
 * number without a unit is SL_EINVAL, except "0". Overflow is SL_EINVAL. */
SL_CHECK int sl_duration_parse(struct sl_bytes in, uint64_t *ms);
SL_CHECK int sl_duration_parse_us(struct sl_bytes in, uint64_t *us);
/* Bytes, KiB, MiB, GiB, TiB, or a bare number of bytes. */
SL_CHECK int sl_size_parse(struct sl_bytes in, uint64_t *bytes);
/* Shortest exact form; cap at least 24. Returns out. */
const char *sl_duration_format(uint64_t ms, char *out, size_t cap);
const char *sl_size_format(uint64_t bytes, char *out, size_t cap);

#endif
