/* Command lines: "--name value" and "--name=value", all by one table. */
#ifndef BENCH_ARGS_H
#define BENCH_ARGS_H

#include "core/bytes.h"

enum arg_kind {
    ARG_FLAG,        /* bool */
    ARG_U32,         /* uint32_t */
    ARG_U64,         /* uint64_t */
    ARG_SIZE,        /* uint32_t bytes: "256", "16KiB" */
    ARG_DURATION_US, /* uint64_t microseconds: "200us", "1ms" */
    ARG_SECONDS,     /* uint64_t nanoseconds: "2.5" or "500ms" */
    ARG_TEXT,        /* const char * */
};

struct arg {
    const char *name; /* without the dashes */
    enum arg_kind kind;
    size_t offset; /* of the field in the options */
};

struct arg_table {
    const struct arg *args;
    size_t n;
};

/* SL_OK: argv[*i] was one of these and *i stands on its last word; SL_ENOENT:
 * none of these; SL_EINVAL: its value is missing or bad. */
SL_CHECK int args_take(const struct arg_table *t, void *options, int argc, char **argv, int *i);

#endif
