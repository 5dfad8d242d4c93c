/* What the files of this room share: the entry, the places that an entry can
 * stand in, leases and consumers.
 *
 * An entry has a state, which the outside sees, and a place: the one list or
 * heap that holds it. Only places.c links and unlinks, and it keeps every count
 * that queue_depth tells. */
#ifndef QUEUE_INTERNAL_H
#define QUEUE_INTERNAL_H

#include <assert.h>

#include "core/heap.h"
#include "core/map.h"
#include "core/rng.h"
#include "core/slab.h"
#include "core/timers.h"
#include "queue/queue.h"

#define PRIORITIES 10u
#define CONSUMERS_SHIFT 4u /* most queues have few */
#define BIT(n)     (1u << (n))

enum place {
    PLACE_NONE,
    PLACE_HELD,     /* READY, waits for queue_unhold */
    PLACE_FIFO,     /* READY, never delivered */
    PLACE_RETURNED, /* READY, came back: by id */
    PLACE_ALONE,    /* READY, the next attempt is the last: by id */
    PLACE_ASIDE,    /* READY, of its key are as many leased as may be */
    PLACE_LINE,     /* READY, behind others of its order key */
    PLACE_LATE,     /* the same, come when younger ones were there: by id */
    PLACE_LEASED,
    PLACE_DELAYED,  /* by due time in steady time */
    PLACE_DEFERRED, /* DELAYED by an absolute time: by due time in wall time */
    PLACE_DEAD,     /* by time of death */
};

enum entry_flag {
    ENTRY_HELD = 1,
    ENTRY_WANTED = 2,      /* its body has been asked for */
    ENTRY_REDELIVERED = 4, /* it may have been delivered before */
    ENTRY_STALE = 8,       /* restored when it had already expired */
    ENTRY_SINGLE = 16,     /* it was in a batch whose worker was lost: it goes out by itself */
    ENTRY_CALLED = 32,     /* it stood aside: when it leaves unleased, the next of its key must be called */
    ENTRY_KEYED = 64,      /* it belongs to a line */
};

/* `id` is 0 in a record that is free. It must not come first: the slab writes
 * over the first four bytes of a free record. */
struct queue_entry {
    union {
        uint32_t prev;  /* in a list */
        uint32_t avoid; /* else: the consumer that released it last, or 0 */
    };
    uint32_t next; /* in a list; else of one that is keyed: its line */
    uint64_t id;
    struct message *msg; /* NULL: evicted */
    uint32_t pos;   /* place in a heap; slot of the lease; in a line's list: the line; held: how much older the id is in whose place it comes; dead: low part of the time of death */
    uint32_t bytes; /* message_bytes() */
    uint16_t attempts;
    uint16_t extra; /* releases in a row; dead: cause, and high part of the time of death */
    uint8_t state, place, flags, priority;
};
static_assert(sizeof(struct queue_entry) <= 40, "ten million entries must fit in 400 MB");

struct list {
    uint32_t head, tail;
};

/* The ready ones of one priority. */
struct band {
    struct list fifo;
    struct sl_heap returned, alone;
};

/* Lease ids are sequence << 24 | slot: a slot finds the lease, the sequence
 * tells whether it is still the same one. It wraps after 2^40 deliveries. */
#define LEASE_SLOT_BITS 24u
#define LEASE_SLOTS_MAX BIT(LEASE_SLOT_BITS)

struct lease {
    uint64_t id; /* 0: free */
    uint64_t started_us;
    uint64_t limit_ms; /* UINT64_MAX: none */
    uint32_t entry, consumer;
    uint32_t prev, next; /* the consumer's, oldest first; next also of free ones */
    bool started;
};

/* Its unanswered leases stand in one list: first the started ones, at most
 * `concurrency`, then those that wait for their start. */
struct consumer {
    uint32_t prev, next; /* all consumers */
    uint32_t slot;       /* its own; 0 when free */
    struct queue_consumer_config cfg;
    uint32_t first, last, first_waiting;
    uint32_t unanswered, started;
    uint32_t late; /* taken from it by queue_expire and not answered since */
    uint64_t patience_ms; /* while it is late: when what waits in it goes back; else UINT64_MAX */
    uint32_t credit;
    uint64_t unanswered_bytes;
    uint32_t open_at; /* 1-based place in queue.open, 0: it has no credit */
    bool stopped, losing, told, paused;
    bool sealed; /* nothing may join what it holds: a last attempt, a whole batch, what is late */
    bool collecting; /* its batch is being filled */
    bool measured;
    double service_us; /* per message, from start to answer */
    /* Answers that arrive in one turn are one sample, counted at consumer_settle(). */
    uint64_t sample_us;
    uint64_t sample_sum;
    double before_us; /* the measure without them; negative: there was none */
    uint32_t sample_n;
    struct sl_timer timer; /* never later than its earliest started limit */
};

/* A consumer with credit. `rank` stands here and not in the consumer, so that a
 * choice among many walks little memory. */
struct open_consumer {
    uint64_t rank; /* more is better */
    uint32_t slot;
};

/* Messages per second, as a schedule: the next one is due at `due_ns`, or as much
 * earlier as a burst allows. */
struct rate_limit {
    uint64_t cost_ns; /* per message; 0: no limit */
    uint64_t due_ns;
};

/* Of one key: what is leased, and what waits for that to end. */
struct key_line {
    uint32_t self;
    uint64_t hash;
    uint64_t leased;
    struct list aside;
};

/* The messages of one order key. */
struct order_line {
    uint32_t self;
    uint32_t out; /* the one that is called: in a band, leased, or waiting to come again as the first; 0: none */
    uint64_t hash;
    uint64_t out_id; /* its place: its id, or less when it has the place of another (dedup `replace`) */
    struct list waiting;  /* by id */
    struct sl_heap *late; /* by id; NULL: none */
    uint32_t members;     /* all that are not dead: also what is delayed or was skipped */
    uint32_t ready;       /* of those that wait, how many are not held */
    uint32_t age_pos;     /* in queue.ages */
};
static_assert(sizeof(struct order_line) <= 56, "a million keys must fit in 56 MB, beside their messages");

struct queue {
    struct queue_config cfg;
    struct queue_counters counters;
    struct sl_rng rng;
    struct sl_now seen; /* the latest time that anybody told */

    struct sl_slab entries;
    struct band bands[PRIORITIES];
    uint16_t ready_bands, alone_bands; /* bit p: band p has some */
    struct list held, dead;
    bool dead_unsorted; /* since a restore */
    struct queue_dead_cursor *cursors; /* places in `dead` */
    struct sl_heap delayed, deferred;

    uint64_t count[QUEUE_NSTATES];
    uint64_t bytes, dead_bytes, body_bytes;
    uint64_t droppable, droppable_bytes; /* in a band */
    uint64_t lined, lined_bytes;         /* in lines, and not held */
    uint64_t restored;

    struct lease *leases; /* slot 0 is never used */
    uint32_t n_leases, cap_leases, free_lease;
    uint64_t lease_sequence;

    struct sl_slab consumers;
    uint32_t first_consumer;
    struct open_consumer *open;
    uint32_t n_open, cap_open, cursor;
    bool paused;           /* nothing is leased */
    bool restrained;       /* it is paused, some consumers get batches or have a rate, or keys are limited */
    uint32_t n_restrained; /* those consumers */
    uint32_t collecting;   /* whose batch is being filled; 0: nobody's */
    bool filling;          /* something is ready since filling_ms that is in no batch */
    uint64_t filling_ms;
    uint64_t wake_ms;      /* something that is ready could be leased then: a batch, a rate */
    uint64_t ready_since_ms; /* the bands were empty before */
    struct rate_limit *limits; /* by handle, from 1 */
    uint32_t n_limits;
    struct queue_key_limit key_limit;
    char *key_header; /* its own copy */
    struct sl_slab key_lines; /* those that have something leased, or aside */
    struct sl_idmap keys;     /* the same, by hash */
    bool call_all;            /* of some key nobody was called */
    struct sl_slab lines;     /* order_by */
    struct sl_idmap lines_by_key;
    uint32_t n_late;          /* entries in lines' heaps */
    struct sl_heap ages;      /* drop_oldest: lines in which somebody waits, by the id of the first */
    uint32_t answered; /* the consumer that answered last and is not counted as open yet; 0: none */
    uint32_t reserved; /* gets nothing, so that it becomes idle for a last attempt */
    struct sl_timers timers;
};

static inline struct queue_entry *entry_at(const struct queue *q, uint32_t i)
{
    /* As sl_slab_at(), with a size that the compiler knows. */
    return (struct queue_entry *)(void *)q->entries.chunks[i / SL_SLAB_CHUNK] + i % SL_SLAB_CHUNK;
}

static inline uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The highest priority in a set of bands that is not empty. */
static inline uint32_t top_band(uint16_t bands)
{
    uint32_t p = PRIORITIES - 1;
    while ((bands & BIT(p)) == 0)
        p--;
    return p;
}

/* ---- places.c ---- */

/* NULL when entry i is not `id` (any more). */
static inline struct queue_entry *entry_find(const struct queue *q, uint32_t i, uint64_t id)
{
    if (i == 0 || id == 0 || i >= q->entries.made)
        return NULL;
    struct queue_entry *e = entry_at(q, i);
    return e->id == id ? e : NULL;
}

/* A new entry in a state, in no place yet, without body. */
uint32_t entry_take(struct queue *q, uint64_t id, uint32_t bytes, enum queue_state state);
void entry_set_body(struct queue *q, struct queue_entry *e, struct message *m);
/* Changes the state; illegal moves are our bug. */
void entry_move(struct queue *q, struct queue_entry *e, enum queue_state to);
/* sl_heap.moved of heaps of entries; the argument is the queue. */
void queue_on_moved(void *arg, uint32_t item, uint32_t pos);
/* Takes it out of wherever it stands. */
void unplace(struct queue *q, struct queue_entry *e);
/* To the tail of its priority. */
void place_new(struct queue *q, uint32_t i);
/* Among those that came back, or that have one attempt left. */
void place_again(struct queue *q, uint32_t i);
void place_held(struct queue *q, uint32_t i);
/* A new one, ready or held, takes the place of that older id; of one that is called, or waits in its line, the
 * place stays. */
void place_as(struct queue *q, uint32_t i, uint64_t id);
void place_due(struct queue *q, uint32_t i, uint64_t due_ms, bool absolute);
void place_dead(struct queue *q, uint32_t i, uint64_t died_ms, enum queue_cause cause);
void place_leased(struct queue_entry *e, uint32_t lease_slot);
/* By age, as far as its neighbours tell. */
void place_aside(struct queue *q, struct key_line *line, uint32_t i);
/* At the tail, or before all others. */
void list_enter(struct queue *q, struct list *l, uint32_t i, bool first);
void list_remove(struct queue *q, struct list *l, struct queue_entry *e);
uint64_t entry_due(const struct queue *q, const struct queue_entry *e);
bool entry_is_last_attempt(const struct queue *q, const struct queue_entry *e);

/* The next one of a band, fifo or returned: the older. */
uint32_t band_first(const struct queue *q, const struct band *b);

/* What happened to a living entry. */
void entry_tell(const struct queue *q, uint32_t i, enum queue_fate fate, enum queue_cause cause,
                struct queue_change *out);
/* It leaves by `exit`, from whatever place; counts it. */
void entry_leave(struct queue *q, uint32_t i, enum queue_exit exit, struct queue_change *out);

/* ---- consumers.c ---- */

static inline struct consumer *consumer_at(const struct queue *q, uint32_t slot)
{
    SL_ASSERT(slot != 0 && slot < q->consumers.made);
    struct consumer *c = (struct consumer *)(void *)q->consumers.chunks[slot >> CONSUMERS_SHIFT] + slot % BIT(CONSUMERS_SHIFT);
    SL_ASSERT(c->slot == slot);
    return c;
}

/* How much it should be the next: below its concurrency first, then by free credit. At least 2. */
bool consumer_has_room(const struct consumer *c);
/* It gets nothing, whatever room it has. */
bool consumer_is_closed(const struct consumer *c);
uint64_t consumer_rank(const struct consumer *c);
/* Whether it may get more now; puts it among the open ones or takes it out. */
void consumer_update(struct queue *q, struct consumer *c);
/* What the latest answers say about their consumer. Before anybody is chosen. */
void consumer_settle(struct queue *q);
/* A lease of `entry` at the end of its line, started when there is room. */
struct lease *consumer_lease(struct queue *q, struct consumer *c, uint32_t entry,
                             const struct sl_now *now);
static inline struct lease *lease_find(const struct queue *q, uint64_t id)
{
    uint64_t slot = id & (LEASE_SLOTS_MAX - 1);
    if (slot == 0 || slot >= q->n_leases)
        return NULL;
    struct lease *l = &q->leases[slot];
    return l->id == id ? l : NULL;
}

/* Ends a lease, measured as service when `measure`; the next one is started. */
void consumer_end_lease(struct queue *q, struct lease *l, bool measure, const struct sl_now *now);
/* Something that it held is over. */
void consumer_unseal(struct consumer *c);
/* There is room to start what waits in it. */
void consumer_start_waiting(struct queue *q, struct consumer *c, const struct sl_now *now);
/* When its first matter is due; UINT64_MAX: never. */
uint64_t consumer_due(const struct queue *q, const struct consumer *c);
/* Its limit moved: the timer must not be later. */
void consumer_watch(struct queue *q, struct consumer *c, uint64_t limit_ms);

/* ---- restraint.c ---- */

static inline bool is_batching(const struct consumer *c)
{
    return c->cfg.batch_max > 1;
}

static inline bool is_restrained(const struct consumer *c)
{
    return is_batching(c) || c->cfg.limit != 0;
}

/* Whether this consumer may have a message now, as far as batches and rates go;
 * if not, q->wake_ms tells when. `at_once`: it does not wait for its batch to fill. */
bool restraint_allows(struct queue *q, const struct consumer *c, bool at_once, const struct sl_now *now);
/* It has had this one. */
void restraint_took(struct queue *q, struct consumer *c, const struct queue_entry *e, const struct sl_now *now);
/* One more, or one less, of such consumers; 0: the limit of keys has changed. */
void restraint_count(struct queue *q, int change);
/* Before each dispatch. */
void restraint_look(struct queue *q, const struct sl_now *now);

/* ---- lines.c ---- */

void order_init(struct queue *q);
void order_fini(struct queue *q);
/* A new entry belongs to the line of this key. */
void order_join(struct queue *q, uint32_t i, uint64_t key);
/* A keyed one, in no place, is ready: it goes to its place in its line, or out. */
void order_ready(struct queue *q, uint32_t i);
/* It waits in its line and is held no longer. */
void order_unheld(struct queue *q, struct queue_entry *e);
/* One that stands in its line has another id. */
void order_renamed(struct queue *q, const struct queue_entry *e);
/* The one that was called waits elsewhere: the next one goes. */
void order_skip(struct queue *q, uint32_t i);
/* Restored: it failed, and the others of its key wait for it. */
void order_wait(struct queue *q, uint32_t i);
/* One that stands in its line goes elsewhere. */
void order_unplace(struct queue *q, struct queue_entry *e);
/* It is in no line any more; in no place, or leased. */
void order_left(struct queue *q, uint32_t i);
/* The first one that waits and could be dropped, of the line whose first is the oldest; 0: none. */
uint32_t order_oldest(const struct queue *q);
struct order_line *order_line_of(const struct queue *q, const struct queue_entry *e);
/* The first one that waits; 0: none. */
uint32_t order_line_first(const struct queue *q, const struct order_line *line);

/* ---- keys.c ---- */

/* What a message has of that kind; empty: nothing. A view. */
struct sl_bytes key_of_message(enum queue_key key, const char *header, const struct message *m);


static inline bool keys_limited(const struct queue *q)
{
    return q->key_limit.max > 0;
}

/* Of its key are as many leased as may be: it was put aside. */
bool key_set_aside(struct queue *q, uint32_t i);
void key_leased(struct queue *q, struct queue_entry *e);
/* Its lease ends: the next one of its key may go. */
void key_freed(struct queue *q, const struct queue_entry *e);
/* One that was called has left without a lease. */
void key_left(struct queue *q, const struct queue_entry *e);
/* Of keys of which nothing is leased. */
void keys_call_all(struct queue *q);
/* One that stands aside leaves. */
void key_unplace(struct queue *q, struct queue_entry *e);
void keys_fini(struct queue *q);

/* ---- answers.c ---- */

/* A failed attempt: DELAYED by `delay_ms`, or DEAD when it was the last. */
struct failure {
    enum queue_cause cause;
    bool has_delay;
    uint64_t delay_ms;
    bool fatal; /* dead whatever is left */
};
void entry_fail(struct queue *q, uint32_t i, const struct failure *f, const struct sl_now *now,
                struct queue_change *out);
/* Back to ready, nothing is charged. */
void entry_return(struct queue *q, uint32_t i, enum queue_cause cause, struct queue_change *out);

/* Dead without a failed attempt: its time was over while it waited. */
void entry_expire(struct queue *q, uint32_t i, const struct sl_now *now, struct queue_change *out);

/* ---- dead.c ---- */

/* The time of a death has 44 bits: 500 years. */
#define CAUSE_SHIFT    12u
#define DIED_HIGH_MASK 0xfffu
static_assert(QUEUE_CAUSE_WORKER_KILLED <= 15, "a cause has four bits");

/* One joined at the end, or is about to leave. */
void dead_joined(struct queue *q, uint32_t i);
void dead_leaves(struct queue *q, const struct queue_entry *e);
/* Dead letters stand in order of death from here on. */
void dead_sort(struct queue *q);
uint64_t entry_died(const struct queue_entry *e);
enum queue_cause entry_cause(const struct queue_entry *e);

#endif
