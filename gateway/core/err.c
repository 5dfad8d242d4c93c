#include "core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *sl_err_name(int err)
{
    switch (err) {
    case SL_OK:
        return "SL_OK";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return #name;
        SL_ERRORS(X)
#undef X
    default:
        return "SL_UNKNOWN";
    }
}

const char *sl_err_text(int err)
{
    switch (err) {
    case SL_OK:
        return "done";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        SL_ERRORS(X)
#undef X
    default:
        return "an unknown error";
    }
}

/* Straight to stderr: the log's sink may be part of what is broken. */
void sl_assert_failed(const char *cond, const char *file, int line)
{
    char text[512];
    int n =
        snprintf(text, sizeof text, "sluice: assertion failed at %s:%d: %s\n", file, line, cond);
    size_t len = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    ssize_t written = write(STDERR_FILENO, text, len);
    (void)written;
    abort();
}
