/* One writer per data directory: flock on its file `lock`, which holds the
 * holder's process number as text. */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "core/bytes.h"

/* Creates `dir` (mode 0700) when it is missing. *fd holds the lock until it is
 * closed. SL_ELOCKED names the holder in `why`; SL_ESYS, SL_EFORMAT. */
SL_CHECK int store_lock(const char *dir, int *fd, struct sl_buf *why);
/* fsync of a directory, so that names in it survive a power cut. */
SL_CHECK int store_sync_dir(const char *path, struct sl_buf *why);

#endif
