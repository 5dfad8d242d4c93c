/* Error codes and assertions of the whole program.
 *
 * Functions return SL_OK or one of these negatives. Three kinds of trouble
 * never share a code: more data is needed (SL_EMORE), the peer is wrong
 * (SL_EPEER and its finer siblings), we are broken (SL_EIO and below).
 * errno, libuv's and LMDB's codes are converted where they arise. */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include "core/compat.h"

#define SL_ERRORS(X)                                                                               \
    X(SL_EMORE, -1, "more data is needed")                                                         \
    X(SL_EPEER, -2, "the peer violated the protocol")                                              \
    X(SL_ETOOBIG, -3, "a limit on size was passed")                                                \
    X(SL_EINVAL, -4, "the value is not allowed")                                                   \
    X(SL_ENOENT, -5, "not found")                                                                  \
    X(SL_EEXIST, -6, "exists already")                                                             \
    X(SL_EFULL, -7, "full")                                                                        \
    X(SL_ESTATE, -8, "not possible in this state")                                                 \
    X(SL_ECLOSED, -9, "closed")                                                                    \
    X(SL_EAGAIN, -10, "try again later")                                                           \
    X(SL_ELOCKED, -11, "in use by another process")                                                \
    X(SL_EFORMAT, -12, "the data on disk has a wrong format")                                      \
    X(SL_ENOSPC, -13, "no space left in the store")                                                \
    X(SL_EIO, -14, "input/output error of the store")                                              \
    X(SL_ESYS, -15, "the system refused")

#define SL_OK 0
enum sl_error {
#define X(name, value, text) name = (value),
    SL_ERRORS(X)
#undef X
};

/* "SL_EPEER" and the like; never NULL. */
const char *sl_err_name(int err);
/* One sentence without a full stop; never NULL. */
const char *sl_err_text(int err);

/* Our own invariants only, never input. Stays on in release builds. */
#define SL_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (SL_UNLIKELY(!(cond)))                                                                  \
            sl_assert_failed(#cond, __FILE__, __LINE__);                                           \
    } while (0)

SL_NORETURN void sl_assert_failed(const char *cond, const char *file, int line);

#endif
