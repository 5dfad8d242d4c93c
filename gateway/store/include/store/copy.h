/* The value of a copy on disk: what waits for one subscriber. FORMAT.md has the
 * bytes. Pure. */
#ifndef STORE_COPY_H
#define STORE_COPY_H

#include "store/store.h"

#define STORE_COPY_FIXED 8u

/* Length and bytes of the value of a BATCH_COPY. */
size_t store_copy_bytes(const struct batch_op *op);
void store_copy_encode(const struct batch_op *op, uint8_t *out);

/* Fills what the value tells: packet id, state, flags, ids (a view). SL_EFORMAT:
 * not a copy of this format's major. */
SL_CHECK int store_copy_decode(struct sl_bytes value, struct store_copy *out);

#endif
