/* Counters, by name, in one table each: the log's summary and later the
 * metrics page walk the same tables. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include "core/bytes.h"

#define GATEWAY_COUNTERS(X)                                                                        \
    X(connections_opened) X(connections_closed) X(connections_refused) X(protocol_errors)          \
    X(bytes_read) X(bytes_written)                                                                 \
    X(publishes_received) X(publishes_answered) X(publishes_refused) X(publishes_parked)           \
    X(no_taker) X(qos1_duplicates) X(qos2_duplicates) X(meaning_ignored) X(takeovers) X(takeovers_refused)            \
    X(wills_published) X(wills_dropped) X(results_sent) X(results_dropped) X(reply_to_refused)     \
    X(jobs_forgotten) X(schedules_fired) X(schedules_missed) X(schedules_dropped)                  \
    X(not_ready)                                                                                   \
    X(retained_kept) X(retained_removed) X(retained_expired) X(retained_refused)                   \
    X(control_received) X(control_sent) X(connects_received) X(sessions_timed_out)                 \
    X(publish_bytes_received) X(delivered_bytes)                                                   \
    X(deliveries_sent) X(deliveries_acked) X(deliveries_refused) X(deliveries_resent)              \
    X(deliveries_passed_on) X(deliveries_too_large) X(deliveries_dropped_qos0)                     \
    X(deliveries_dropped_full) X(deliveries_dropped_memory) X(deliveries_dropped_expired)          \
    X(slow_readers_closed)                                                                         \
    X(commits) X(commit_failures) X(records_written) X(records_cancelled)                          \
    X(bodies_evicted) X(bodies_fetched) X(stale_answers) X(worker_faults)                          \
    X(workers_started) X(workers_exited)

/* Per queue. "accepted" minus all exits is what is still there. */
#define QUEUE_COUNTERS(X)                                                                          \
    X(accepted) X(refused) X(delivered) X(acked) X(retried) X(released) X(returned) X(dead)        \
    X(expired) X(dropped) X(dead_dropped) X(dead_expired) X(purged) X(cancelled) X(replaced)       \
    X(moved) X(dead_removed) X(expired_dead) X(duplicates) X(hop_limit) X(timed_out) X(never_written)

struct gateway_counters {
#define X(name) uint64_t name;
    GATEWAY_COUNTERS(X)
#undef X
};

struct queue_counters {
#define X(name) uint64_t name;
    QUEUE_COUNTERS(X)
#undef X
};

/* How values are spread, in powers of two: bucket b counts those of at most 2^b
 * that no lower bucket takes; the last one takes all above. */
#define SL_HISTOGRAM_BUCKETS 32u
struct sl_histogram {
    uint64_t count, sum, max;
    uint64_t bucket[SL_HISTOGRAM_BUCKETS];
};

static inline void sl_histogram_add(struct sl_histogram *h, uint64_t value)
{
    uint32_t b = value <= 1 ? 0 : 64 - (uint32_t)__builtin_clzll(value - 1);
    h->bucket[b < SL_HISTOGRAM_BUCKETS ? b : SL_HISTOGRAM_BUCKETS - 1]++;
    h->count++;
    h->sum += value;
    h->max = value > h->max ? value : h->max;
}

/* " count=3 mean=5 max=9 le_4=1 le_16=2": buckets without values are left out. */
void sl_histogram_print(const struct sl_histogram *h, struct sl_buf *out);

/* " accepted=1 refused=0 …" appended to out (a leading space each). */
void gateway_counters_print(const struct gateway_counters *c, struct sl_buf *out);
void queue_counters_print(const struct queue_counters *c, struct sl_buf *out);

#endif
