/* Strict UTF-8 as MQTT asks: no overlong forms, no surrogates, nothing above
 * U+10FFFF; U+0000 only where the caller allows it. */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "core/bytes.h"

/* Well-formed and without U+0000 [MQTT-1.5.4-1, -2]. */
bool sl_utf8_valid(struct sl_bytes in);
/* Well-formed; U+0000 is allowed. */
bool sl_utf8_valid_nul(struct sl_bytes in);

/* Writes at most cap-1 characters and a NUL: printable ASCII other than '"' and
 * '\' as it is (so that the result can stand between quotes), all else as
 * \xHH; what does not fit ends in "...". For logs. cap > 0. Returns out. */
const char *sl_escape(struct sl_bytes in, char *out, size_t cap);

#endif
