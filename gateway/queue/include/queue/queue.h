/* A queue: the pure state machine of its messages and of who holds them.
 *
 *                    lease                ack, expiry, drop
 *      ┌─────────┐ ──────────▶ ┌────────┐ ───────────────▶ (gone)
 *  ──▶ │  READY  │             │ LEASED │
 *      └─────────┘ ◀────────── └────────┘
 *        ▲          returned     │     │ last attempt failed, poison
 *    due │                       │     │
 *      ┌─────────┐  failed,      │     ▼
 *      │ DELAYED │ ◀─ released ──┘   ┌──────┐ forwarded, redriven,
 *      └─────────┘     READY, ─────▶ │ DEAD │ ───────────────▶ (gone)
 *                      expired       └──────┘ removed, ttl, cap
 *
 * A dead letter never comes back: who is redriven or forwarded is a new message at
 * the tail of a queue.
 *
 * An entry is one queue's interest in one message: 40 bytes, in a slab, named
 * by a 32-bit index plus the message's id (an index alone may be reused). Its
 * body may be in memory or only in the store (evicted: msg is NULL).
 *
 * Nothing here calls back and nothing reads a clock. Functions that change
 * what the store must know tell it through `struct queue_change`, which the
 * caller records. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "core/hash.h"
#include "core/message.h"
#include "core/metrics.h"
#include "core/times.h"
#include "queue/dedup.h"

enum queue_state { QUEUE_READY, QUEUE_LEASED, QUEUE_DELAYED, QUEUE_DEAD, QUEUE_NSTATES };
enum queue_overflow { QUEUE_BLOCK, QUEUE_REJECT, QUEUE_DROP_OLDEST };

/* What messages have in common that go one after the other. */
enum queue_key { QUEUE_KEY_CLIENT, QUEUE_KEY_TOPIC, QUEUE_KEY_HEADER };

/* What a failed attempt does to the others of its key. */
enum queue_on_failure {
    QUEUE_FAILURE_BLOCKS, /* they wait for its retry */
    QUEUE_FAILURE_SKIPS,  /* they go on; it comes again when its retry is due and its key is free */
    QUEUE_FAILURE_KILLS,  /* it is dead at once */
};

/* One message of a key is leased at a time, in the order of acceptance. A message
 * without the key is not ordered. */
struct queue_order {
    bool on;
    enum queue_key key;
    const char *header; /* QUEUE_KEY_HEADER: its name; borrowed for the life of the queue */
    enum queue_on_failure on_failure;
    struct sl_hash_key hash; /* the same after each restart: lines are known by the hashes of their keys */
};

struct queue_config {
    const char *name; /* borrowed for the life of the queue */
    uint32_t number;  /* its name in the store */
    bool durable;
    uint64_t max_messages, max_bytes; /* depth: ready + delayed + leased */
    enum queue_overflow overflow;
    uint32_t max_attempts;
    uint64_t retry_initial_ms, retry_max_ms;
    double retry_factor, retry_jitter; /* delay × (1 ± jitter) */
    uint64_t ttl_ms;                   /* 0: none */
    uint64_t dead_max_messages, dead_ttl_ms;
    uint64_t ack_timeout_ms;           /* for the caller: the time limit of consumers that are not its own processes */
    uint64_t reject_grace_ms;          /* for the caller: how long a producer that cannot be told is kept after a refusal */
    struct queue_order order;
    struct queue_dedup dedup;          /* for the caller, who asks before it lets a message in */
    bool dead_expired;                 /* what expires while it waits is a dead letter, not dropped */
};

/* Why an attempt failed or a delivery came back; names are what operators see. */
#define QUEUE_CAUSES(X)                                                                            \
    X(NONE, "none")                                                                                \
    X(RETRY, "retry")                                                                              \
    X(REJECTED, "rejected")                                                                        \
    X(TIMEOUT, "timeout") X(EXIT, "exit") X(SIGNAL, "signal") X(PROTOCOL, "worker_fault")          \
        X(LOST, "consumer_lost") X(EXPIRED, "expired") X(WORKER_KILLED, "worker_killed")
enum queue_cause {
#define X(name, text) QUEUE_CAUSE_##name,
    QUEUE_CAUSES(X)
#undef X
};
const char *queue_cause_name(enum queue_cause c);

/* What happened to one entry, for the caller to record. */
enum queue_fate {
    QUEUE_GONE,     /* it left the queue: settle it in the store */
    QUEUE_MOVED,    /* its state, attempts or due time changed: update it in the store (with `cause`, when it is dead) */
    QUEUE_UNCHANGED /* back to ready or delayed without anything the store must know */
};

/* The exits of decision 14 that exist here; each has its counter. */
enum queue_exit {
    QUEUE_EXIT_NONE,
    QUEUE_EXIT_ACK,
    QUEUE_EXIT_EXPIRED,
    QUEUE_EXIT_DROPPED,
    QUEUE_EXIT_DEAD_DROPPED,
    QUEUE_EXIT_DEAD_EXPIRED,
    QUEUE_EXIT_PURGED,
    QUEUE_EXIT_CANCELLED,
    QUEUE_EXIT_REPLACED, /* by a newer one of the same dedup key */
    QUEUE_EXIT_MOVED,    /* a dead letter went on: redriven, or forwarded */
    QUEUE_EXIT_DEAD_REMOVED, /* a dead letter that the operator dropped */
};

struct queue_change {
    enum queue_fate fate;
    enum queue_exit exit;   /* with QUEUE_GONE */
    enum queue_cause cause; /* of a failed attempt or of a death */
    enum queue_state state; /* after the change */
    uint32_t bytes;         /* message_bytes() */
    uint64_t id;
    uint32_t entry;    /* valid unless QUEUE_GONE */
    uint32_t attempts; /* failed ones, after the change */
    uint64_t
        due_steady_ms; /* DELAYED: when, in steady (or absolute wall) time; DEAD: time of death; else 0 */
    struct message *msg; /* QUEUE_GONE: the queue's reference, now the caller's (NULL when evicted);
                                else borrowed, may be NULL */
};

struct queue;

/* `seed` feeds the jitter. Owned by the caller. */
struct queue *queue_new(const struct queue_config *cfg, uint64_t seed) SL_CHECK;
/* Releases every message; consumers' leases vanish. */
void queue_free(struct queue *q);
const struct queue_config *queue_config(const struct queue *q);
struct queue_counters *queue_counters(struct queue *q);

struct queue_depth {
    uint64_t count[QUEUE_NSTATES]; /* by state; held ones count as ready */
    uint64_t bytes;                /* of ready, delayed and leased */
    uint64_t dead_bytes;
    uint64_t memory; /* bytes of bodies in memory held here, plus the entries */
};
void queue_depth(const struct queue *q, struct queue_depth *out);

/* ---- intake ---- */

enum queue_admission { QUEUE_ADMIT, QUEUE_WAIT, QUEUE_REFUSE };
/* Whether `count` more messages of `bytes` together may enter now. QUEUE_ADMIT
 * of a full drop_oldest queue means: call queue_make_room until it is false.
 * What not even an empty queue could take is QUEUE_REFUSE under every policy. */
enum queue_admission queue_admits(const struct queue *q, uint32_t count, uint64_t bytes);
/* The same of room that is free, whatever the policy: for who waits for it. */
bool queue_has_room(const struct queue *q, uint32_t count, uint64_t bytes);
/* drop_oldest: drops the oldest ready message when `count` more of `bytes` do
 * not fit and dropping can make them fit. */
bool queue_make_room(struct queue *q, uint32_t count, uint64_t bytes, struct queue_change *out);

enum queue_enqueue_flag {
    QUEUE_HOLD = 1 /* not to be leased before queue_unhold (QoS 2 waits for its commit) */
};
/* Takes a reference of its own. The message has its id. It is DELAYED when
 * deliver_at lies ahead. Returns the entry's index. */
uint32_t queue_enqueue(struct queue *q, struct message *m, uint32_t flags,
                       const struct sl_now *now);
/* The same in the place of an older one that waits, ready or delayed: that leaves by QUEUE_EXIT_REPLACED. 0: it
 * is there no more, or does not wait, and nothing has changed. Among ready ones the newer has the older's
 * place; a delay is its own. */
uint32_t queue_replace(struct queue *q, uint32_t old_entry, uint64_t old_id, struct message *m, uint32_t flags,
                       const struct sl_now *now, struct queue_change *out) SL_CHECK;
/* Whether queue_replace would find it waiting; then *bytes is its size. */
bool queue_waits(const struct queue *q, uint32_t entry, uint64_t id, uint64_t *bytes);
/* The entry of a restored message, before anything but restores has happened; 0: there is none. */
uint32_t queue_restored_entry(const struct queue *q, uint64_t id);
/* The key of its line, for the caller to record with the entry; 0: it is not ordered. */
uint64_t queue_entry_order_key(const struct queue *q, uint32_t entry);
/* The same of any message. */
uint64_t queue_order_key(const struct queue *q, const struct message *m);
/* SL_ENOENT when that entry is no longer `id`. */
SL_CHECK int queue_unhold(struct queue *q, uint32_t entry, uint64_t id);

/* Recovery, in ascending order of ids, before anything else. Bodies stay in
 * the store. `redelivered`: it may have been delivered before. */
struct queue_restored {
    uint64_t id;
    uint32_t bytes; /* message_bytes() */
    uint8_t priority;
    enum queue_state state; /* READY, DELAYED or DEAD */
    uint32_t attempts;
    uint64_t due_ms;   /* as it was told in queue_change.due_steady_ms */
    bool due_absolute; /* DELAYED: due_ms was given as a point in wall time, not as a duration */
    uint64_t expires_at;
    bool expires_relative;
    uint64_t order_key;     /* as it was recorded; 0: none */
    enum queue_cause cause; /* DEAD: of its death */
    struct sl_bytes job_id; /* for the caller: of its message, a view; the queue does not look at it */
};
/* Returns the entry's index. */
uint32_t queue_restore(struct queue *q, const struct queue_restored *r, const struct sl_now *now);

/* ---- consumers ---- */

struct queue_consumer_config {
    uint32_t prefetch;      /* ceiling of unanswered deliveries */
    uint32_t concurrency;   /* the first n unanswered are started */
    bool fixed_credit;      /* it always has all of its prefetch: it may answer only when it has several */
    uint64_t time_limit_ms; /* of a started delivery; 0: none */
    bool lives_on;          /* nobody ends it when it is late: queue_expire */
    /* 2 and more: it gets so many at once, and more only when it has answered all.
     * Fewer when the first has waited for batch_wait_ms. Taking starts: prefetch
     * and concurrency are then batch_max, and the whole has one clock. */
    uint32_t batch_max;
    uint64_t batch_wait_ms;
    uint32_t limit;         /* queue_limit_add, shared with others; 0: none */
    void *arg;              /* the caller's, given back with each delivery */
};

/* Returns its slot, never 0. Slots are reused. */
uint32_t queue_consumer_add(struct queue *q, const struct queue_consumer_config *cfg);
/* No more deliveries to it; what it holds it may still answer. */
void queue_consumer_stop(struct queue *q, uint32_t consumer);
/* It gets nothing while it is paused, whatever its credit: its output is full. */
void queue_consumer_pause(struct queue *q, uint32_t consumer, bool paused);
uint32_t queue_consumer_unanswered(const struct queue *q, uint32_t consumer);
uint64_t queue_consumer_unanswered_bytes(const struct queue *q, uint32_t consumer); /* of their messages, as message_bytes */
/* Estimated time until it has answered all it holds, from its measured service
 * time; UINT64_MAX while nothing is known. The commit policy asks. */
uint64_t queue_consumer_backlog_us(const struct queue *q, uint32_t consumer);

/* The consumer is gone. Call until it returns false; each call settles one of
 * its deliveries, oldest first, the last call frees the slot. With `timeout`
 * set, only started ones past their limit are charged (cause TIMEOUT), other
 * started ones go back uncharged; else every started one is charged with
 * `cause`; those not started always go back uncharged. */
struct queue_loss {
    enum queue_cause cause;
    bool timeout;
    bool charge_none; /* orderly end (drain, recycling): nobody is charged */
};
bool queue_consumer_lose(struct queue *q, uint32_t consumer, const struct queue_loss *loss,
                         const struct sl_now *now, struct queue_change *out);

/* ---- dispatch ---- */

struct queue_delivery {
    uint64_t lease; /* unique for the life of the queue; what answers name */
    uint32_t consumer;
    void *consumer_arg;
    uint32_t entry;
    uint32_t attempt; /* 1-based */
    bool redelivered;
    bool last;           /* the last allowed attempt */
    bool in_batch;       /* more of its batch may follow, until another consumer gets something or queue_batch_end */
    struct message *msg; /* borrowed until the lease ends */
};

enum queue_step {
    QUEUE_IDLE,    /* nothing can be leased now */
    QUEUE_DELIVER, /* *out is filled: the consumer holds it */
    QUEUE_DROP,    /* a message had expired: it left, or is dead (dead_expired): *change is filled */
    QUEUE_FETCH,   /* the next one's body is in the store: ask queue_wanted */
};
/* One step of dispatch. Fills every consumer to its concurrency first, then up
 * to about 100 ms of its measured work, never past its prefetch; most free
 * credit first, round robin on ties. The last attempt (from the second on) goes
 * alone to an idle consumer, and nothing joins it there. */
enum queue_step queue_dispatch(struct queue *q, const struct sl_now *now,
                               struct queue_delivery *out, struct queue_change *change);
/* Ids of evicted messages in the order in which they will be leased: at most
 * `max` and at most about `bytes`. Each is told once until it was given or refused. */
uint32_t queue_wanted(struct queue *q, uint64_t *ids, uint32_t *entries, uint32_t max,
                      uint64_t bytes);
/* The body arrived: takes a reference of its own. No-op when `id` has left. */
void queue_give_body(struct queue *q, uint32_t entry, uint64_t id, struct message *m);
/* Whether `id` is still here, in that entry. */
bool queue_has(const struct queue *q, uint32_t entry, uint64_t id);
/* The store could not read it now: it may be asked for again. */
void queue_body_failed(struct queue *q, uint32_t entry, uint64_t id);
/* Lets go of the body of an entry that is not leased and is stored (never in a
 * queue that is not durable). Returns bytes freed: 0 when others hold it too. */
size_t queue_evict(struct queue *q, uint32_t entry, uint64_t id);

/* ---- answers ---- */

enum queue_verb { QUEUE_ACK, QUEUE_RETRY, QUEUE_RELEASE, QUEUE_KILL /* poison: dead now */ };
struct queue_answer {
    enum queue_verb verb;
    bool has_delay;
    uint64_t delay_ms; /* RETRY: instead of the backoff */
};
/* SL_ESTATE: stale or repeated; nothing changed, count it. Starts the
 * consumer's next delivery's clock. */
SL_CHECK int queue_answer(struct queue *q, uint64_t lease, const struct queue_answer *a,
                          const struct sl_now *now, struct queue_change *out);
/* One delivery goes back at once, uncharged; SL_ESTATE as above. `seen`: somebody may have
 * had it, so that it is a redelivery when it comes again. */
SL_CHECK int queue_give_back(struct queue *q, uint64_t lease, bool seen, const struct sl_now *now, struct queue_change *out);
/* The batch that dispatch is filling goes as it is. To be called when queue_dispatch
 * had no more to deliver. */
void queue_batch_end(struct queue *q);

/* ---- limits ---- */

/* How many messages per second its consumers get together; 0: as many as they can
 * take. Up to 100 ms of it, at least one message, may go at once. */
uint32_t queue_limit_add(struct queue *q, uint64_t per_second);
void queue_limit_set(struct queue *q, uint32_t limit, uint64_t per_second);

/* At most so many leased messages of one key, over all consumers; 0: any number.
 * Others wait off to the side, and keep their order. A message without that key is
 * not limited. */
struct queue_key_limit {
    uint32_t max;
    enum queue_key key;
    const char *header; /* QUEUE_KEY_HEADER: its name */
};
void queue_limit_keys(struct queue *q, const struct queue_key_limit *limit);

/* What waits for a consumer now. */
struct queue_pressure {
    uint64_t ready;     /* messages that could be leased */
    uint64_t oldest_ms; /* how long the oldest of them has been ready, as far as is known */
};
void queue_pressure(const struct queue *q, const struct sl_now *now, struct queue_pressure *out);

/* The consumer that holds this lease; 0 when it has ended. */
uint32_t queue_lease_holder(const struct queue *q, uint64_t lease);
/* Its message, borrowed; NULL when it has ended. */
const struct message *queue_lease_message(const struct queue *q, uint64_t lease);
/* Moves a started delivery's limit to now + ms. SL_ESTATE as above. SL_OK and no
 * change for one that waits for its start or that has no limit. */
SL_CHECK int queue_extend(struct queue *q, uint64_t lease, uint64_t ms, const struct sl_now *now);

/* ---- time ---- */

/* A consumer with a started delivery past its limit; each is told once and gets
 * nothing more: it is to be ended with queue_consumer_lose. One that lives on is
 * told each time, and queue_expire is to be called. */
bool queue_overdue(struct queue *q, const struct sl_now *now, uint32_t *consumer,
                   void **consumer_arg);
/* What is overdue in a consumer that lives on is taken from it, one delivery at a
 * time: false when there is no more. Past its limit: a failed attempt (TIMEOUT).
 * What waits behind that keeps its place for another time limit, then goes back
 * uncharged. The consumer gets nothing until it has answered all that was taken:
 * each late answer is told with queue_answered_late. */
bool queue_expire(struct queue *q, uint32_t consumer, const struct sl_now *now, struct queue_change *out);
void queue_answered_late(struct queue *q, uint32_t consumer, const struct sl_now *now);
/* One due matter at a time: false when there is none. Delayed → ready gives
 * QUEUE_UNCHANGED; a dead letter over its ttl gives QUEUE_GONE. */
bool queue_tick(struct queue *q, const struct sl_now *now, struct queue_change *out);
/* Monotonic ms when queue_tick or queue_overdue is wanted, as far as the latest
 * time that was told goes (a wall clock may jump); UINT64_MAX: never. */
uint64_t queue_deadline(const struct queue *q);
/* The dead letters passed their cap: the oldest leaves. */
bool queue_trim_dead(struct queue *q, struct queue_change *out);

/* ---- dead letters ---- */

/* In the order of their deaths: *entry starts at 0; false at the end. No change
 * while iterating. Of the cause the latest failure's detail is in the store, not here. */
bool queue_dead_next(struct queue *q, uint32_t *entry, struct queue_change *out);
/* One leaves: MOVED or DEAD_REMOVED. SL_ENOENT: that entry is no longer `id`, or not dead. */
SL_CHECK int queue_dead_leave(struct queue *q, uint32_t entry, uint64_t id, enum queue_exit exit, struct queue_change *out);
/* Whether `id` is a dead letter and stands in that entry. */
bool queue_is_dead(const struct queue *q, uint32_t entry, uint64_t id);

/* A place among them that outlives what happens meanwhile: when the one it stands at
 * leaves it stands at the next. Embedded by its owner; begin and end are a pair. */
struct queue_dead_cursor {
    uint32_t at;  /* 0: past the last */
    bool follows; /* past the last it waits for the next that dies */
    struct queue_dead_cursor *next;
};
/* At the oldest one. */
void queue_dead_begin(struct queue *q, struct queue_dead_cursor *c, bool follows);
/* At the one in `entry`; false: that is no longer the dead letter `id`, nothing changed. */
bool queue_dead_seek(struct queue *q, struct queue_dead_cursor *c, uint32_t entry, uint64_t id);
/* What it stands at; false: past the last. */
bool queue_dead_look(const struct queue *q, const struct queue_dead_cursor *c, struct queue_change *out);
/* To the one that died next. */
void queue_dead_pass(const struct queue *q, struct queue_dead_cursor *c);
void queue_dead_end(struct queue *q, struct queue_dead_cursor *c);

/* ---- for operators ---- */

/* While it is paused nothing is leased; what is leased may be answered, messages come in, and retries come due. */
void queue_pause(struct queue *q, bool paused, const struct sl_now *now);
bool queue_is_paused(const struct queue *q);

/* Lets the message go by that exit. SL_ENOENT: the entry is not `id` any more. SL_ESTATE: it is leased. */
SL_CHECK int queue_remove(struct queue *q, uint32_t entry, uint64_t id, enum queue_exit exit, struct queue_change *out);

#define QUEUE_STATE_BIT(state) (1u << (state))

/* A walk over what is there, in no order and in pieces: between them the queue may change as it likes. An
 * entry that is there from the first piece to the last is met once. */
struct queue_walk {
    uint32_t states;            /* only these: QUEUE_STATE_BIT */
    uint64_t first_id, last_id; /* only these */
    uint64_t died_ms;           /* DEAD: only those that died then, in steady time, or earlier */
    uint32_t at, end;           /* the walk's own */
};
/* The caller has set what is wanted. */
void queue_walk_begin(const struct queue *q, struct queue_walk *w);
/* Looks at no more than *looks entries, and takes off what it needed. false: that was not enough, or the walk is over. */
bool queue_walk_next(const struct queue *q, struct queue_walk *w, uint32_t *looks, uint32_t *entry, uint64_t *id);
static inline bool queue_walk_over(const struct queue_walk *w)
{
    return w->at >= w->end;
}

/* What an operator sees of a message. */
struct queue_peeked {
    uint64_t id;
    uint32_t entry;
    enum queue_state state;
    uint8_t priority;
    uint32_t attempts; /* failed ones */
    uint32_t bytes;    /* message_bytes() */
    bool redelivered;  /* it may have been delivered before */
    bool held;         /* READY: it waits for its commit */
    bool aside;        /* READY: it waits for others of its key */
    bool started;      /* LEASED */
    uint64_t wall_ms;  /* DELAYED: when it is due; DEAD: when it died; else 0 */
    uint64_t lease;    /* LEASED, as are these */
    uint32_t consumer;
    void *consumer_arg;
    struct message *msg; /* borrowed; NULL: evicted */
};
/* The first `max` of a state; returns how many those are. Nothing is changed by it. READY: in the order in which they
 * go, then those that stand aside, then those that are held; DELAYED: as they come due; LEASED: as they were
 * leased; DEAD: as they died. */
uint32_t queue_peek(const struct queue *q, enum queue_state state, struct queue_peeked *out, uint32_t max);
/* The one; false: it is not there (any more). */
bool queue_look(const struct queue *q, uint32_t entry, uint64_t id, struct queue_peeked *out);

/* Checks every invariant; aborts on a violation. For tests and the simulation. */
void queue_check(const struct queue *q);

#endif
