#include "faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"

/* A text that is wrong in more places than this is another kind of file. */
#define MOST_FAULTS 200

struct config_fault {
    struct config_place at;
    size_t seq;
    char *line;
};

static void keep(struct config_report *r, struct config_place at, char *line)
{
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? 8 : r->cap * 2;
        r->v = sl_realloc(r->v, r->cap * sizeof *r->v);
    }
    r->v[r->n] = (struct config_fault){ at, r->n, line };
    r->n++;
}

void config_fault(struct config_report *r, struct config_place at, const char *path,
                  const char *fmt, ...)
{
    if (r->n >= MOST_FAULTS) {
        r->more++;
        return;
    }
    char text[768], line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *file = at.set != 0 ? "--set" : r->filename;
    snprintf(line, sizeof line, "%.512s:%u:%u: %s%s%s", file, at.line, at.col, path,
             *path != '\0' ? ": " : "", text);
    keep(r, at, sl_strdup(line));
}

static int by_place(const void *left, const void *right)
{
    const struct config_fault *a = left, *b = right;
    if (a->at.set != b->at.set)
        return a->at.set < b->at.set ? -1 : 1;
    if (a->at.line != b->at.line)
        return a->at.line < b->at.line ? -1 : 1;
    if (a->at.col != b->at.col)
        return a->at.col < b->at.col ? -1 : 1;
    return a->seq < b->seq ? -1 : 1;
}

static char *more_line(const struct config_report *r)
{
    char line[640];
    snprintf(line, sizeof line, "%.512s: %zu more faults are not shown", r->filename, r->more);
    return sl_strdup(line);
}

int config_report_end(struct config_report *r, struct config_faults *out)
{
    if (r->n == 0)
        return SL_OK;
    qsort(r->v, r->n, sizeof *r->v, by_place);
    out->v = sl_calloc(r->n + 1, sizeof *out->v);
    for (size_t i = 0; i < r->n; i++)
        out->v[i] = r->v[i].line;
    out->n = r->n;
    if (r->more > 0)
        out->v[out->n++] = more_line(r);
    sl_free(r->v);
    *r = (struct config_report){ .filename = r->filename };
    return SL_EINVAL;
}

void config_faults_fini(struct config_faults *faults)
{
    for (size_t i = 0; i < faults->n; i++)
        sl_free(faults->v[i]);
    sl_free(faults->v);
    *faults = (struct config_faults){ NULL, 0 };
}
