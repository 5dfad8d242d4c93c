#include "core/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes without the log, which might want memory itself. */
SL_NORETURN static void out_of_memory(size_t n)
{
    char line[80];
    int len = snprintf(line, sizeof line, "sluice: out of memory, %zu bytes were asked for\n", n);
    ssize_t written = write(STDERR_FILENO, line, (size_t)len);
    (void)written;
    abort();
}

void *sl_alloc(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);
    if (SL_UNLIKELY(p == NULL))
        out_of_memory(n);
    return p;
}

void *sl_calloc(size_t n, size_t size)
{
    if (size > 0 && n > SIZE_MAX / size)
        out_of_memory(SIZE_MAX);
    size_t bytes = n * size;
    void *p = calloc(1, bytes > 0 ? bytes : 1);
    if (SL_UNLIKELY(p == NULL))
        out_of_memory(bytes);
    return p;
}

void *sl_realloc(void *p, size_t n)
{
    void *grown = realloc(p, n > 0 ? n : 1);
    if (SL_UNLIKELY(grown == NULL))
        out_of_memory(n);
    return grown;
}

char *sl_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(sl_alloc(n), s, n);
}

void sl_free(void *p)
{
    free(p);
}
