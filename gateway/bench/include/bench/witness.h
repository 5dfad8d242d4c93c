/* What every consumer does with a delivery, whatever brought it: read the
 * stamp, note it in the ledger, measure its age, look at its order, work a
 * while, and now and then write a report. */
#ifndef BENCH_WITNESS_H
#define BENCH_WITNESS_H

#include "bench/ledger.h"

struct witness_options {
    const char *ledger;    /* NULL: no ledger; repetition is then not looked for */
    const char *report;    /* NULL: none; "%p" in it becomes the process id */
    uint64_t work_us;      /* per message */
    bool busy;             /* work by using the processor instead of sleeping */
    uint32_t fail_percent; /* of messages fail when they are first delivered */
};

struct witness;

struct witness *witness_new(const struct witness_options *o) SL_CHECK;
/* Writes the last report. */
void witness_free(struct witness *w);

enum witness_verdict { WITNESS_ACK, WITNESS_FAIL };
/* One delivery; works for as long as asked. `attempt` is 1-based; with servers
 * that only say "redelivered" it is 2 then. */
enum witness_verdict witness_see(struct witness *w, struct sl_bytes payload, uint32_t attempt);
/* To be called at least once a second. */
void witness_tick(struct witness *w);

/* Takes argv[*i] (and its value) when it is one of --ledger, --report, --work,
 * --busy, --fail-percent: SL_OK; SL_ENOENT: not ours; SL_EINVAL: a bad value. */
SL_CHECK int witness_option(struct witness_options *o, int argc, char **argv, int *i);
extern const char witness_help[];

#endif
