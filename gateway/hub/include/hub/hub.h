/* The hub: the one place where a message crosses rooms.
 *
 *   accept → route → queue → lease → settle → answer
 *
 * It is pure: bytes, answers, completions and time go in; output waits in
 * buffers, and three function tables lead out (store, consumers, nothing
 * else). None of those may call back into the hub before it has returned.
 *
 * A turn of the shell: hub_begin(now); feed clients, hand in workers' answers
 * and completions; hub_lease() leases messages out, and the consumers' output is
 * written, so that they work while the batch is synced; hub_end() hands the
 * batch over; then write what hub_next_dirty names. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "core/metrics.h"
#include "core/times.h"
#include "hub/batch.h"
#include "protocols/protocol.h"
#include "queue/queue.h"
#include "schedule/schedule.h"

struct hub;
struct hub_client;

/* ---- what the hub asks of the world ---- */

struct hub_store_io {
    void *arg;
    /* The batch is the store's until hub_committed. At most one at a time. */
    void (*submit)(void *arg, struct batch *b);
    /* Applies at once when nothing is under way and it is likely to be quick;
     * SL_EAGAIN: it would not, submit it instead. NULL: never. */
    int (*apply_here)(void *arg, struct batch *b);
    /* → hub_fetched. For dispatch one of each queue at a time, beside those of operators who look. */
    void (*fetch)(void *arg, struct batch_fetch *f);
    /* Non-durable queues: applied at once, cannot fail, then the hub's again. */
    void (*apply_volatile)(void *arg, struct batch *b);
};

/* What one session may cost. */
struct hub_subscriber_limits {
    uint32_t queue_messages;  /* that wait for it, beside what is on its way */
    uint64_t queue_bytes;     /* the same */
    uint64_t queue_age_ms;    /* older ones are dropped; 0: any age */
    uint32_t in_flight;       /* of QoS 1 and 2 unanswered; the client's Receive Maximum may be less */
    uint32_t subscriptions;
    uint64_t output_bytes;    /* of output that waits for a slow reader: then messages wait in its outbox */
};

/* Which member of a shared subscription has the next message. */
enum hub_sharing {
    HUB_SHARE_FREE,        /* the one with the most room in flight; equals by turns */
    HUB_SHARE_ROUND_ROBIN, /* by turns among those with any room */
};

struct hub_config {
    uint64_t boot;             /* ids start at boot << 40 */
    uint64_t seed;             /* jitter, assigned client ids */
    uint64_t secret;           /* what keeps reply destinations unknown to others */
    struct sl_hash_key hash;   /* store_hash_key: dedup keys and order keys are stored by it */
    uint64_t names;            /* what keeps names of deliveries apart from those of other connections and starts; 0: nothing */
    uint64_t memory_bytes;     /* bodies held in memory; over it they are read back when leased */
    uint64_t commit_delay_us;
    uint32_t max_sessions, max_connections;
    struct hub_subscriber_limits subscribers;
    uint64_t retained_messages, retained_bytes; /* 0 messages: none are kept, and clients are told */
    enum hub_sharing sharing;
    uint64_t sys_interval_ms; /* of $SYS; 0: there is none */
    const char *version;      /* for $SYS; borrowed */
    uint32_t jobs_max;        /* jobs whose status is kept; 0: none is */
    uint64_t jobs_ttl_ms;     /* so long after their end */
    uint32_t trace_events;    /* that are kept (hub/trace.h); 0: none */
    struct hub_store_io store;
    /* Reads one entry at once and appends its failures, for batch_failure_next; `arg` is store.arg. SL_ENOENT. NULL: nothing is known. */
    int (*history)(void *arg, uint32_t queue_number, uint64_t id, struct sl_buf *failures);
};

struct hub *hub_new(const struct hub_config *cfg) SL_CHECK;
/* Clients and consumers must be gone. Batches under way must have come back. */
void hub_free(struct hub *h);

/* ---- configuration, before the first turn ---- */

/* Returns the hub's index of the queue. */
uint32_t hub_add_queue(struct hub *h, const struct queue_config *cfg);
/* A queue that the store knows and the configuration does not: no intake. Its
 * name is copied; a configured queue's is borrowed from the configuration. */
uint32_t hub_add_orphan(struct hub *h, const struct queue_config *cfg);
SL_CHECK int hub_add_route(struct hub *h, const char *filter, uint32_t queue);
/* UINT32_MAX: none of that name. */
uint32_t hub_find_queue(const struct hub *h, struct sl_bytes name);

struct hub_schedule {
    const char *name;     /* 1 to 255 bytes: what it has done is stored under it */
    struct schedule when; /* its zone is borrowed for the life of the hub */
    const struct message_parts *publish; /* as hub_publish takes them */
    uint64_t delay_ms, ttl_ms;           /* of each message; 0: none */
};
/* All there are, copied: before recovery, or inside a turn in place of those before,
 * of which those with the same name go on. */
void hub_set_schedules(struct hub *h, const struct hub_schedule *v, uint32_t n);

/* As struct store_copy, which the shell turns into this. */
struct hub_restored_copy {
    uint64_t session;
    uint16_t packet_id;
    uint8_t state; /* enum batch_copy_state */
    uint8_t flags; /* BATCH_COPY_… */
    struct sl_bytes ids;
    struct message *msg;
    uint32_t entries;
};

/* Recovery, in the order of struct store_loader; `number` is queue_config.number. SL_EFORMAT when it makes no sense. */
SL_CHECK int hub_restore_queue(struct hub *h, uint32_t number, struct sl_bytes record);
SL_CHECK int hub_restore_entry(struct hub *h, uint32_t number, const struct queue_restored *r);
SL_CHECK int hub_restore_dedup(struct hub *h, uint32_t number, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY]);
SL_CHECK int hub_restore_session(struct hub *h, uint64_t number, struct sl_bytes record);
SL_CHECK int hub_restore_qos2(struct hub *h, uint64_t session, uint16_t packet_id);
SL_CHECK int hub_restore_subscription(struct hub *h, uint64_t session, uint32_t number, struct sl_bytes record);
SL_CHECK int hub_restore_will(struct hub *h, uint64_t session, struct sl_bytes record);
/* Shares the message; `entries`: queues that need the same body. */
SL_CHECK int hub_restore_copy(struct hub *h, const struct hub_restored_copy *c);
SL_CHECK int hub_restore_retained(struct hub *h, struct message *m);
/* After recovery: what the messages that are in the queue were ordered by when they came, when that is not what it
 * is configured to be now (decision 29: not allowed). NULL: nothing is wrong, and the order of today is recorded. */
const char *hub_order_before(struct hub *h, uint32_t queue);
/* One that is configured no more is forgotten. */
SL_CHECK int hub_restore_schedule(struct hub *h, struct sl_bytes record);

/* ---- a turn ---- */

void hub_begin(struct hub *h, const struct sl_now *now);
/* Due timers, leases. */
void hub_lease(struct hub *h);
/* The batch, and leases of what waited for it. */
void hub_end(struct hub *h);
/* Monotonic µs when the next turn is wanted at the latest; UINT64_MAX: never. */
uint64_t hub_deadline_us(const struct hub *h);

/* Completion of hub_store_io.submit: SL_OK, SL_ENOSPC or SL_EIO. */
void hub_committed(struct hub *h, struct batch *b, int err);
void hub_fetched(struct hub *h, struct batch_fetch *f);

/* ---- clients ---- */

struct hub_listener {
    const struct protocol *protocol;
    struct proto_config session; /* borrowed by the sessions: must outlive them */
    uint32_t park_max;           /* publishes that wait for room per connection */
    uint64_t park_bytes;
    bool meaning;                /* priority, delay, … are taken from headers */
};

/* `peer` is for the log and is copied. `arg` is the shell's connection. */
struct hub_client *hub_client_open(struct hub *h, const struct hub_listener *l, const char *peer, void *arg) SL_CHECK;
void hub_client_feed(struct hub_client *c, struct sl_bytes in);
/* The connection is gone, or was closed by the shell: frees the client. */
void hub_client_closed(struct hub_client *c);
void hub_client_bye(struct hub_client *c, enum proto_bye why);

/* What the shell should do with its connection now. */
struct sl_buf *hub_client_output(struct hub_client *c); /* write and consume, then tell */
/* Output was consumed. `blocked`: what is left has to wait for the socket; told again while that
 * grows. True: there is more for it, and a turn is due. */
bool hub_client_written(struct hub_client *c, bool blocked);
bool hub_client_reading(const struct hub_client *c);    /* false: stop reading */
bool hub_client_closing(const struct hub_client *c);    /* write the output, then close */
void *hub_client_arg(const struct hub_client *c);
/* Clients that have output or changed one of the above; each once; NULL: none left. */
struct hub_client *hub_next_dirty(struct hub *h);
uint32_t hub_n_clients(const struct hub *h);

/* ---- consumers: a pool's workers ---- */

struct hub_delivery {
    const struct queue_delivery *d; /* lease, attempt, message … */
    uint32_t max_attempts;
    bool more; /* of its batch follow, in this turn */
};

struct hub_consumer_ops {
    /* Put it into the consumer's output. */
    void (*deliver)(void *arg, const struct hub_delivery *d);
    /* A started delivery passed its time limit: end the worker, then call
     * hub_consumer_lost with `timeout`. */
    void (*overdue)(void *arg);
};

struct hub_consumer_config {
    uint32_t queue; /* the hub's index */
    uint32_t prefetch, concurrency;
    bool fixed_credit;
    bool elsewhere; /* not one of the gateway's own processes: nobody waits for it when the gateway stops */
    bool external;  /* elsewhere, and never `overdue`: what passed its time limit is taken from it, alone, as a failed
                     * attempt, and it gets nothing until it has answered that. Each delivery is to be answered once. */
    uint64_t time_limit_ms;
    uint32_t batch_max; /* 2 and more: as struct queue_consumer_config has it */
    uint64_t batch_wait_ms;
    uint32_t limit; /* hub_limit_add of the same queue; 0: none */
    const char *name; /* for operators: "ingest[4711]"; borrowed while it lives; NULL: none */
    const struct hub_consumer_ops *ops;
    void *arg;
};

/* Returns a handle, never 0. */
uint64_t hub_consumer_add(struct hub *h, const struct hub_consumer_config *cfg);
/* How many messages per second a pool's consumers get together; 0: any number. */
uint32_t hub_limit_add(struct hub *h, uint32_t queue, uint64_t per_second);
void hub_limit_set(struct hub *h, uint32_t queue, uint32_t limit, uint64_t per_second);
/* Of one key, over all consumers of the queue: queue_limit_keys. */
void hub_limit_keys(struct hub *h, uint32_t queue, const struct queue_key_limit *limit);
/* What waits for more workers. Inside a turn. */
void hub_queue_pressure(const struct hub *h, uint32_t queue, struct queue_pressure *out);
/* It gets nothing while it is paused; what it has goes on. */
void hub_consumer_pause(struct hub *h, uint64_t consumer, bool paused);
/* No further deliveries. */
void hub_consumer_stop(struct hub *h, uint64_t consumer);
uint32_t hub_consumer_unanswered(const struct hub *h, uint64_t consumer);

struct hub_loss {
    enum queue_cause cause; /* EXIT, SIGNAL, PROTOCOL, LOST */
    bool timeout;           /* it was ended because of its time limit */
    bool charge_none;       /* orderly end */
    struct sl_bytes detail; /* "exit 3", "signal 9" */
    struct sl_bytes tail;   /* last stderr lines */
};
/* The consumer is gone and all its answers have been handed in (decision 32). */
void hub_consumer_lost(struct hub *h, uint64_t consumer, const struct hub_loss *loss);

/* What became of a message that a worker published. */
enum hub_published {
    HUB_PUBLISHED,
    HUB_PUBLISH_NOBODY, /* nobody takes it: there is nothing to store, as for any publisher */
    HUB_PUBLISH_TOPIC,  /* not a topic or a queue to publish to, or one of the gateway's own */
    HUB_PUBLISH_STORE,  /* the store is broken */
};

struct hub_answer {
    uint64_t lease;
    struct queue_answer verb;
    struct sl_bytes reason; /* RETRY, KILL */
    /* ACK alone: */
    bool has_result;
    struct sl_bytes result, result_type;   /* goes to the message's reply_to when the ack is stored */
    const struct message_parts *publishes; /* as hub_publish takes them: stored together with the ack, or neither is */
    uint32_t n_publishes;
    enum hub_published *published;         /* n_publishes; NULL: nobody asks */
};
/* SL_ESTATE: stale, repeated or another's lease: nothing changed or was published, counted. */
SL_CHECK int hub_answer(struct hub *h, uint64_t consumer, const struct hub_answer *a);
SL_CHECK int hub_extend(struct hub *h, uint64_t consumer, uint64_t lease, uint64_t ms);
/* A worker publishes. `parts` without id and times; routed like any other, or to the queue that
 * "/queue/NAME" names; admitted over a limit (decision 30). SL_ENOENT: nobody takes it; SL_EINVAL: not a
 * topic or queue, or one of the gateway's own. */
SL_CHECK int hub_publish(struct hub *h, const struct message_parts *parts);
/* What the message that was taken in last is known by: its id, or that of the one whose duplicate it is. */
uint64_t hub_published_id(const struct hub *h);

/* ---- dead letters ---- */

/* All that is not zero must hold. */
struct hub_dead_filter {
    uint64_t id;              /* just this one */
    unsigned causes;          /* bit 1 << enum queue_cause */
    uint64_t older_than_ms;   /* it died at least so long ago */
    uint64_t younger_than_ms; /* at most so long ago */
    struct sl_bytes topic;    /* an MQTT topic filter; copied */
};

/* Where a list goes on: all zero is the beginning, with the oldest. */
struct hub_dead_place {
    uint64_t died_ms, id;
    uint32_t entry;
};

struct hub_dead_letter {
    struct hub_dead_place place; /* its id, and when it died, in steady time */
    uint64_t age_ms;             /* since then */
    enum queue_cause cause;
    uint32_t attempts;           /* failed ones */
    uint32_t bytes;              /* message_bytes() */
    const struct message *msg;   /* NULL: it was not asked for, or the store could not read it */
};

struct hub_dead_page {
    const struct hub_dead_letter *letters; /* in the order of their deaths */
    uint32_t n;
    bool more;                  /* there may be more from `next` on */
    struct hub_dead_place next;
};

struct hub_dead_ask {
    struct hub_dead_filter filter;
    struct hub_dead_place from;
    uint32_t limit;             /* letters of one page: 1 to 1,000 */
    bool bodies;                /* with topic, headers, payload: at most 1 MiB of them, then the page ends */
    /* Exactly once, in a later hub_lease, unless it was stopped; it may ask for the next page, or stop what else is under
     * way. All it is given dies with it. */
    void (*done)(void *arg, const struct hub_dead_page *page);
    void *arg;
};

/* These begin what goes on turn by turn, a bounded part in each, and give a handle, never 0. SL_EINVAL: no topic
 * filter, limit, or target that takes nothing; SL_EFULL: too many are under way (16). */
SL_CHECK int hub_dead_list(struct hub *h, uint32_t queue, const struct hub_dead_ask *ask, uint64_t *handle);

#define HUB_SAME_QUEUE UINT32_MAX
struct hub_dead_redrive {
    struct hub_dead_filter filter;
    uint32_t to;         /* the hub's index of a queue, or HUB_SAME_QUEUE */
    uint32_t per_second; /* 0: as fast as it goes */
    uint64_t max;        /* 0: all that are there now */
};
/* Each becomes a new message at the tail of its queue, when there is room for it; the new one and the end of the old
 * one are one batch. What was accepted after it began is not looked at. Its progress can be asked for until it is stopped. */
SL_CHECK int hub_dead_redrive(struct hub *h, uint32_t queue, const struct hub_dead_redrive *r, uint64_t *handle);
/* The operator drops them: counted as dead_removed. */
SL_CHECK int hub_dead_drop(struct hub *h, uint32_t queue, const struct hub_dead_filter *f, uint64_t *handle);

struct hub_dead_progress {
    bool done;
    uint64_t moved;      /* or dropped */
    uint64_t hop_limit;  /* skipped: they were moved on too often */
    uint64_t too_large;  /* skipped: the target could never take them */
    uint64_t unreadable; /* skipped: the store could not read them */
    uint64_t left;       /* dead letters of the queue that it has not come to, as far as is known */
};
/* Of a redrive or a drop. SL_ENOENT: no such handle (any more). */
SL_CHECK int hub_dead_progress(const struct hub *h, uint64_t handle, struct hub_dead_progress *out);
/* Ends it where it is and forgets its handle; a list's `done` is not called any more. */
void hub_dead_stop(struct hub *h, uint64_t handle);

/* Before the first turn: dead letters of `from` go on to `to`, at once when they die and over its limits by the work in flight (decision 30),
 * those that cannot, and those that are dead already, as soon as there is room. No cycles. */
void hub_forward_dead(struct hub *h, uint32_t from, uint32_t to);

#define HUB_HOPS_MAX 16u /* a message that was moved on so often stays dead */

/* ---- jobs: messages with a job-id ---- */

/* A worker tells how far its delivery is. SL_ESTATE: stale or another's lease, counted. */
SL_CHECK int hub_progress(struct hub *h, uint64_t consumer, uint64_t lease, uint32_t per_mille);

enum hub_job_state {
    HUB_JOB_QUEUED, HUB_JOB_DELAYED, HUB_JOB_ACTIVE, HUB_JOB_RETRYING,
    HUB_JOB_DONE, HUB_JOB_DEAD, HUB_JOB_EXPIRED, HUB_JOB_DROPPED, HUB_JOB_CANCELLED, /* ends */
};
const char *hub_job_state_name(enum hub_job_state s);
/* Appends its status, JSON as at $jobs/ID. SL_ENOENT: no such job is known. */
SL_CHECK int hub_job(const struct hub *h, struct sl_bytes id, struct sl_buf *out);

/* ---- stopping, status ---- */

/* No intake and no leases from now on; what was taken is still answered. */
void hub_drain(struct hub *h);
/* Clients are told goodbye; their connections are then closing. */
void hub_goodbye(struct hub *h);
/* Everything recorded is on stable storage and nothing is under way. */
bool hub_flushed(const struct hub *h);
/* Unanswered deliveries over all consumers that are waited for. */
uint64_t hub_unanswered(const struct hub *h);

/* The batch that takes what is recorded now, and whether an earlier one has
 * reached stable storage (or nothing of it was left to be written). */
uint64_t hub_batch_filling(const struct hub *h);
bool hub_batch_stored(const struct hub *h, uint64_t seq);

enum hub_health { HUB_OK, HUB_NO_SPACE /* intake waits for room */, HUB_BROKEN /* store failed: only a restart helps */ };
enum hub_health hub_health(const struct hub *h);

/* Why not everything that is offered is taken. */
enum hub_not_ready {
    HUB_NOT_READY_STARTING,    /* workers have to wait for those of an earlier process */
    HUB_NOT_READY_DRAINING,    /* it stops */
    HUB_NOT_READY_BROKEN,      /* HUB_BROKEN */
    HUB_NOT_READY_NO_SPACE,    /* HUB_NO_SPACE */
    HUB_NOT_READY_MEMORY,      /* intake waits: limits.memory is exceeded by a quarter */
    HUB_NOT_READY_CONNECTIONS, /* further clients are refused: limits.max_connections */
    HUB_NOT_READY_COUNT,
};
const char *hub_not_ready_name(enum hub_not_ready r);
struct hub_readiness {
    uint32_t reasons;  /* bit 1 << r for each; 0: ready */
    uint64_t since_ms; /* monotonic: when it became ready, or not ready */
    struct {
        uint64_t since_ms, times; /* monotonic, of its last begin; how often it began */
    } of[HUB_NOT_READY_COUNT];
};
/* As of the last turn. */
void hub_readiness(const struct hub *h, struct hub_readiness *out);
/* "ready", or the reasons with commas between them. Returns `out`. */
#define HUB_READINESS_TEXT 96u
const char *hub_readiness_text(const struct hub_readiness *r, char out[HUB_READINESS_TEXT]);
/* The program is not complete yet, or is now. */
void hub_starting(struct hub *h, bool starting);

struct gateway_counters *hub_counters(struct hub *h);

struct hub_histograms {
    struct sl_histogram commit_records; /* per transaction */
    struct sl_histogram commit_us;      /* transaction and sync */
};
const struct hub_histograms *hub_histograms(const struct hub *h);
uint32_t hub_n_queues(const struct hub *h);
struct queue *hub_queue(const struct hub *h, uint32_t index);
uint64_t hub_memory_bytes(const struct hub *h);

/* Aborts when an invariant does not hold; for tests and the simulation. */
void hub_check(const struct hub *h);

#endif
