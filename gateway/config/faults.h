/* Faults while they are collected: each with its place, put in the order of
 * the text at the end. */
#ifndef CONFIG_FAULTS_H
#define CONFIG_FAULTS_H

#include "config/config.h"
#include "tree.h"

struct config_fault;

/* All zero, with `filename` (borrowed) set. */
struct config_report {
    const char *filename;
    struct config_fault *v;
    size_t n, cap;
    size_t more; /* beyond the limit: counted, not kept */
};

/* `path` "" : the fault belongs to no key. */
void config_fault(struct config_report *r, struct config_place at, const char *path,
                  const char *fmt, ...) SL_PRINTF(4, 5);
/* Moves all into `out` and empties the report. SL_EINVAL when there was one. */
SL_CHECK int config_report_end(struct config_report *r, struct config_faults *out);

#endif
