/* The generator, inside: one thread, one epoll, many links (connections).
 *
 *   CONNECTING ─▶ WARMING ─▶ MEASURING ─▶ FINISHING ─▶ SETTLING ─▶ OVER
 *                 sends but   counts      awaits the    awaits the
 *                 forgets                 last answers  consumers
 *
 * A link's message number i takes slot i % window while it is unanswered; the
 * number on the wire is the slot's plus one. So answers may come in any order,
 * and one that names a slot which is free is the server's fault. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "bench/driver.h"
#include "bench/histogram.h"
#include "bench/ledger.h"
#include "clock.h"
#include "core/alloc.h"
#include "dial.h"

struct load_options {
    struct bench_target target;
    const struct bench_driver *driver;
    const char *protocol;
    const char *ledger; /* NULL: consumers are not looked at */
    uint32_t connections, window, connecting;
    uint64_t rate;     /* messages a second over all connections; 0: closed loop */
    uint64_t messages; /* 0: by time */
    uint64_t seconds_ns, warmup_ns, idle_ns, answers_ns, settle_ns;
    bool json, quiet;
};

/* Exit status, or -1: go on. */
int load_options_take(const struct bench_drivers *drivers, int argc, char **argv,
                      struct load_options *o);

enum load_phase { CONNECTING, WARMING, MEASURING, FINISHING, SETTLING, OVER };

struct link {
    int fd; /* -1: not opened, or gone */
    uint32_t number;
    bool ready, wants_write, barrier_out;
    uint64_t sent, oldest; /* sequences; `oldest`: where answers carry no number */
    uint64_t due;          /* open loop: may send up to here */
    uint64_t barrier_at;
    uint64_t *slots; /* when it should have been sent, ns; 0: free. Made at the first message */
    struct sl_buf in, out; /* without memory while nothing is pending */
};

/* What is counted; a copy at the start of measuring is taken off at the end. */
struct load_counts {
    uint64_t sent, answered, refused, broken, faults;
};

struct load {
    struct load_options o;
    struct dial dial;
    struct bench_template *templates; /* one per topic */
    struct ledger *ledger;
    struct link *links;
    int epoll;
    enum load_phase phase;
    uint64_t run;
    uint32_t opened, connecting, ready, gone;
    uint64_t to_send; /* messages that may still be started; UINT64_MAX: no limit */
    uint64_t paced;   /* open loop: messages that have become due */
    double ns_per_message;
    uint64_t pace_start_ns;

    struct load_counts counts;
    uint32_t last_code; /* of the latest refusal */
    const char *last_fault;
    struct histogram latency;  /* from when it was meant to be sent to its answer */
    struct histogram lateness; /* of the generator itself: meant to sent */

    /* times, ns; result.c */
    uint64_t began_ns, connected_ns, phase_ns, measured_from_ns, measured_to_ns, last_answer_ns;
    uint64_t cpu_from_us, cpu_to_us;
    struct load_counts base; /* at the start of measuring */
    struct ledger_seat seen_base, seen_end;
    uint64_t measured_answers;
    uint64_t seen_measured;                     /* by the consumers while measuring */
    uint64_t told_ns, told_answered, told_seen; /* the last line of progress */
};

/* ---- link.c ---- */
SL_CHECK int link_open(struct load *l, struct link *k);
void link_on_events(struct load *l, struct link *k, uint32_t events);
/* Sends what may be sent now. */
void link_fill(struct load *l, struct link *k, uint64_t now_ns);
void link_close(struct load *l, struct link *k);

/* ---- pace.c: pure ---- */
/* How many messages are due at `now`. */
uint64_t pace_due(uint64_t start_ns, uint64_t now_ns, double ns_per_message);
/* When message `sequence` of link `number` is meant to be sent. */
uint64_t pace_time(const struct load *l, uint32_t number, uint64_t sequence);

/* ---- result.c ---- */
void result_progress(struct load *l, uint64_t now_ns);
void result_begin(struct load *l, uint64_t now_ns); /* measuring starts */
void result_end(struct load *l, uint64_t now_ns);   /* measuring ends */
/* Messages that consumers saw and did not fail, each once. */
uint64_t result_seen(const struct ledger_seat *s);
void result_judge(struct load *l, struct ledger_verdict *v);
/* Exit status. */
int result_print(struct load *l);

#endif
