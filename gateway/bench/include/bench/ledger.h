/* The ledger of a run: a sparse file that the generator and all consumers map.
 *
 * Each message has bits, by connection and sequence: answered (the generator
 * holds the server's promise), seen (a consumer had it), failed on purpose. Each
 * consumer has a seat with its counters and its histogram. So loss and
 * repetition are exact over any number of processes, without merging, and
 * survive any of them being killed. Keep it on a memory file system. */
#ifndef BENCH_LEDGER_H
#define BENCH_LEDGER_H

#include "bench/histogram.h"

#define LEDGER_SEATS           128u
#define LEDGER_MAX_CONNECTIONS 100000u
#define LEDGER_MAX_SEQUENCE    (UINT64_C(1) << 24) /* per connection; over it: counted as untracked */

/* Written by its consumer alone, read by everybody. */
struct ledger_seat {
    uint64_t pid;
    uint64_t received;    /* deliveries of this run */
    uint64_t repeated;    /* seen before, by whomever */
    uint64_t redelivered; /* those that the server marked as such */
    uint64_t
        out_of_order; /* first-time messages behind a later one of their connection, in this consumer */
    uint64_t failed;  /* answered with a failure on purpose: they are not "seen" yet */
    uint64_t foreign; /* not stamped, or of another run */
    uint64_t untracked;
    uint64_t first_ns, last_ns;
    struct histogram
        latency; /* from the stamp to the consumer; first deliveries, measured ones only */
};

struct ledger_verdict {
    uint64_t answered, seen;
    uint64_t lost;       /* answered and not seen */
    uint64_t unanswered; /* seen and not answered: at least once allows it */
};

struct ledger;

/* The generator's: replaces what was there. SL_ESYS. */
SL_CHECK int ledger_create(const char *path, uint64_t run, uint32_t connections,
                           struct ledger **out);
/* A consumer's. SL_ENOENT: no ledger, or one of another run. SL_EFULL: no seat. */
SL_CHECK int ledger_attach(const char *path, uint64_t run, struct ledger **out);
void ledger_free(struct ledger *l); /* the file stays; NULL is allowed */

void ledger_answered(struct ledger *l, uint32_t connection, uint64_t sequence);
enum ledger_sight { LEDGER_FIRST, LEDGER_REPEATED, LEDGER_UNTRACKED };
enum ledger_sight ledger_see(struct ledger *l, uint32_t connection, uint64_t sequence);
/* To fail a message once, whoever gets it and whether or not the server tells
 * that it came before: only LEDGER_FIRST is to fail. */
enum ledger_sight ledger_fail(struct ledger *l, uint32_t connection, uint64_t sequence);

/* The generator's: measuring starts. What was meant to be sent before has no part in latencies. */
void ledger_measure_from(struct ledger *l, uint64_t from_ns);
bool ledger_is_measured(const struct ledger *l, uint64_t sent_ns);

/* The consumer's own. */
struct ledger_seat *ledger_seat(struct ledger *l);
/* Sums over all seats; out-of-process counters are a moment's picture. */
void ledger_sum(const struct ledger *l, struct ledger_seat *out);
/* Compares the bits; `sent` has the number of sequences of each connection. */
void ledger_judge(struct ledger *l, const uint64_t *sent, struct ledger_verdict *out);

#endif
