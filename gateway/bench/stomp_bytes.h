/* Reading STOMP frames as a client: just enough. */
#ifndef BENCH_STOMP_BYTES_H
#define BENCH_STOMP_BYTES_H

#include "core/bytes.h"

struct bstomp_frame {
    struct sl_bytes command; /* empty: a heart-beat */
    struct sl_bytes headers; /* lines, each with its newline */
    struct sl_bytes body;
    size_t bytes;
};

/* SL_OK, SL_EMORE, SL_EPEER. */
SL_CHECK int bstomp_frame_next(struct sl_bytes in, struct bstomp_frame *out);
/* The first header of that name; false: none. Not unescaped. */
bool bstomp_frame_header(const struct bstomp_frame *f, const char *name, struct sl_bytes *value);

/* ACK or NACK of that name. */
SL_CHECK int bstomp_put_answer(struct sl_buf *out, const char *command, struct sl_bytes id);
struct bench_target;
SL_CHECK int bstomp_put_connect(struct sl_buf *out, const struct bench_target *t);

#endif
