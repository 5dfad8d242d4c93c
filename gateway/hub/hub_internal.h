/* The hub's own structs, shared by its files. One struct per matter; the hub
 * itself only holds them together. */
#ifndef HUB_INTERNAL_H
#define HUB_INTERNAL_H

#include <stdio.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/map.h"
#include "core/rng.h"
#include "core/slab.h"
#include "core/timers.h"
#include "hub/hub.h"
#include "hub_queue.h"
#include "route/outbox.h"
#include "route/retained.h"
#include "route/route.h"
#include "route/sessions.h"
#include "route/subscriptions.h"
#include "readiness.h"
#include "stuck.h"
#include "work.h"

/* An answer owed to a client, when `pending` promises are kept. */
struct ticket {
    uint64_t client;
    uint32_t token;
    uint32_t pending;
    uint8_t result; /* enum proto_result: the worst so far */
    bool connect;   /* CONNECT waits, not a publish */
    bool settles;   /* only what answers of deliveries recorded is waited for */
};

/* One message and who takes it. */
struct offer_item {
    struct message *m; /* owned */
    const struct route_set *to;
};

/* An answer to a delivery that waits for its transaction; the delivery is claimed. */
struct offer_answer {
    uint32_t consumer;      /* the client's number for it */
    uint64_t delivery;
    struct queue_answer verb;
    char *reason;           /* owned; NULL: none */
};

/* What a producer offers as one: a publish, or a transaction of several. All
 * of it enters its queues, or none (decision 9); the answers of a transaction
 * are given when its messages enter, in the same batch. */
struct offer {
    uint32_t token;
    bool transaction;    /* nothing is left of it when its connection goes */
    bool over_limit;     /* it answers a delivery of a queue, and may wait for the room that this makes (decision 30) */
    uint8_t qos;
    uint16_t packet_id;  /* QoS 1 and 2 */
    bool dup;            /* its sender says that it may have been sent before */
    bool echo;           /* a QoS 2 duplicate: it only waits for the first's commit */
    bool hold;           /* its queues lease it when it is stored, not earlier */
    uint32_t n;
    struct offer_item *items; /* n > 1: owned array; else &one */
    struct offer_item one;
    uint32_t n_answers;
    struct offer_answer *answers; /* owned */
};

/* An offer that waits for room (decision 16). */
struct parked {
    struct parked *next;
    uint64_t bytes;
    struct offer offer;
};

struct park {
    struct parked *head, *tail;
    uint32_t n;
    uint32_t over_limit;    /* of those */
    uint64_t bytes;
};

/* A client's, while something is parked. */
struct client_park {
    struct park park;
    uint32_t queue;                 /* the one whose waiters it is among, index + 1; 0: hub.untold */
    struct hub_client *prev, *next; /* in that list */
};

/* A half-received packet's, while there is one. */
struct partial {
    size_t bytes;
    struct hub_client *prev, *next; /* list of the clients that have one */
};

/* STOMP: what an open transaction holds. */
struct transaction {
    struct transaction *next;
    uint32_t n, cap;
    uint32_t n_answers, cap_answers;
    uint64_t bytes;
    struct offer_item *items;
    struct offer_answer *answers;
    bool stale; /* it answers what went back with its subscription */
    uint32_t name_bytes;
    char name[];
};

/* Of a STOMP client that has answered something, begun a transaction, or has many consumers. */
struct client_stomp {
    struct sl_idmap consumers; /* by number: all of them, or none */
    struct transaction *transactions;
    uint32_t n;          /* messages that all of them hold */
    uint64_t bytes;      /* of those, of answers and of reasons */
    uint64_t settled_in; /* the batch with what it answered last; 0: none */
};

/* The user, and with STOMP the client id: else that is the session's. */
struct client_names {
    uint32_t id_bytes, user_bytes;
    uint8_t text[]; /* one after the other */
};

/* Most are idle: what only some need, or only at times, is allocated then. */
struct hub_client {
    struct hub *h;
    const struct hub_listener *l;
    struct proto_session *s;
    void *arg;
    uint64_t id;
    struct session *session;     /* MQTT; NULL after a takeover */
    struct client_names *names;  /* NULL: none */
    struct client_stomp *stomp;  /* NULL: nothing of that yet */
    struct client_consumer *consumers; /* STOMP; consumer.h */
    struct client_park *parked;  /* NULL: nothing is */
    struct partial *partial;     /* NULL: none */
    struct sl_timer timer;
    struct hub_client *dirty_next;
    uint32_t pending;            /* bytes of output, as last seen */
    uint32_t still_s;            /* since then it has not become less */
    uint16_t receive_maximum;    /* deliveries of QoS 1 and 2 that may be unanswered */
    uint8_t protocol;            /* enum message_protocol */
    bool ready : 1;              /* in deliveries.ready */
    bool connected : 1, dirty : 1, closing : 1;
    bool paused : 1;  /* its parking is full */
    bool stuffed : 1; /* so much output waits for its socket that no more input is taken */
    bool silent : 1;  /* its silence is not held against it: it is one of the two */
    bool stirred : 1; /* its session may have events without new input */
    bool owed_kept : 1; /* what it was not answered is with its session */
    char peer[];
};

/* Memory comes in steps of 16 bytes less 8; nearly every IPv4 peer has 16. */
_Static_assert(sizeof(struct hub_client) <= 136, "an idle connection is small");

struct hub_consumer {
    uint64_t id;
    uint32_t queue;    /* hub's index */
    uint32_t slot;     /* the queue's */
    bool elsewhere;    /* not one of the gateway's own processes */
    bool external;     /* elsewhere, and it lives on when it is late */
    uint64_t lent;     /* bytes of messages that it holds, as counted last; counted only elsewhere */
    const char *name;  /* borrowed; NULL: none */
    const struct hub_consumer_ops *ops;
    void *arg;
};

/* Where records are on their way. */
struct commit {
    struct batch *open;      /* being filled */
    struct batch *inflight;  /* the store's */
    struct batch *stuck;     /* refused for lack of space: ours again, tried again at `retry_ms` */
    struct batch *settles;   /* what makes room, when even that was refused */
    struct batch *spare;     /* kept for reuse */
    struct batch *volatiles; /* of non-durable queues, applied each turn */
    uint64_t next_seq;
    uint64_t stored_id;      /* messages up to this id are stored, or finished with */
    uint64_t earlier_id;     /* the last one that earlier turns brought */
    uint64_t retry_ms;
    uint64_t settle_ms;      /* while stuck: when what was settled meanwhile is written */
    uint64_t sync_us;        /* running mean of what a commit takes */
    uint32_t earlier;        /* ops of `open` that earlier turns recorded */
    bool slow;               /* waiting would not save the write: a slow consumer, or a delivery that came back */
    bool owed;               /* something in `open` must be written for an answer */
    bool transacting;        /* answers of a transaction, or one with publishes, are being given */
    bool derived;            /* `open` holds what a worker published: its ack promises that too */
    uint32_t *finished;      /* tickets of what was acknowledged in this turn */
    uint32_t n_finished, cap_finished;
    enum hub_health health;
};

/* The message that fan_out is giving away: its holders are not counted yet. */
struct fanning {
    struct message *msg; /* NULL: none */
    uint32_t gone;       /* copies that ended meanwhile: too large for their client */
    bool cloned;         /* somebody has a message of its own, which the answer promises too */
};

#define PROTOCOLS_MAX 4u /* there may be one less */
struct protocol_packets {
    const struct protocol *of; /* NULL: none from here on */
    struct proto_packets *packets;
};

/* What is on its way to subscribers. */
struct deliveries {
    uint64_t *ready;         /* clients to which something may go out now; a few may be gone */
    uint32_t n_ready, cap_ready;
    uint64_t left;           /* bytes that may still go out in this turn */
    uint64_t output_bytes;   /* of all clients' output */
    uint64_t relieve_ms;     /* while that is too much: when slow readers are looked for again */
    uint64_t held_bytes;     /* of messages that sessions hold, each once, and of their entries */
    uint64_t lent_bytes;     /* of messages that consumers elsewhere hold */
    uint64_t consumer_bytes; /* of clients' consumers, and of what they keep of deliveries */
    struct fanning fanning;
    struct protocol_packets packets[PROTOCOLS_MAX]; /* those that something was delivered by */
    struct told dropped;     /* at sessions' limits */
};

/* QoS 1: what was taken from sessions whose connection ended before its PUBACK (retransmit.c). */
struct unanswered {
    struct sl_idmap by_session; /* number → struct session_unanswered */
    uint64_t bytes;
};

/* Keys of messages (dedup.c). */
struct dedups {
    uint32_t n;             /* queues that remember */
    struct route_set *rest; /* the queues that take the message which enters */
    uint64_t first;         /* whose duplicate that is somewhere; 0: nobody's */
    uint64_t next_ms;       /* steady: when keys may be over; UINT64_MAX: there are none */
    bool whole;             /* all its queues have had it */
    bool awaits;            /* the answer to it waits for the whole batch */
    bool unstored;          /* what it is a duplicate of is not stored */
};

struct hub {
    struct hub_config cfg;
    struct sl_now now;
    struct gateway_counters counters;
    struct hub_histograms histograms;
    uint64_t next_id, next_client, next_consumer;
    struct hub_queue *queues;
    uint32_t n_queues, cap_queues;
    uint32_t *by_number;     /* queue number → index + 1; 0: none */
    uint32_t n_numbers;
    uint32_t hot;            /* list of hot queues: index + 1; 0: none */
    uint32_t recount;        /* the same of those whose memory is to be counted */
    uint64_t queue_memory;   /* of all queues, as counted last */
    struct route_table *routes;
    struct sessions *sessions;
    struct subscriptions *subscriptions;
    struct deliveries deliveries;
    struct sl_idmap clients;   /* id → struct hub_client */
    uint32_t most_connected; /* that were connected at once */
    uint32_t n_connected; /* of them, those whose CONNECT was taken: refused ones that linger cost nobody a place */
    struct sl_idmap consumers; /* id → struct hub_consumer */
    struct sl_idmap shared;    /* message id → how many durable entries and copies need its body, while that is more than one */
    struct sl_idmap session_numbers; /* only while restoring */
    uint64_t sessions_dropped;       /* the batch that the last session with something in it ends in; 0: none ended yet */
    uint64_t restored_id;            /* the last one, and how many entries it had */
    uint32_t restored_count;
    struct sl_slab tickets;
    struct sl_timers client_timers, queue_timers;
    struct retained *retained;
    struct sl_idmap feeds;                   /* session number → struct feeds */
    uint64_t feed_ids;                       /* that all feeds hold */
    uint32_t feed_effort;                    /* of gathering, left in this turn */
    struct sys *sys; struct schedules *schedules; /* NULL: switched off; there are none */
    uint64_t will_bytes;                     /* of all wills */
    struct sl_timers will_timers;            /* of wills whose delay runs */
    struct sl_strmap flapping;               /* client ids that were taken over lately */
    struct sl_timers flapping_timers;
    struct hub_client *dirty;
    uint32_t n_waiting;      /* clients that have something parked */
    struct waiters untold;   /* of them, those of which no full queue is known */
    struct hub_queue *takers; /* while they have their turns: queues that may take something */
    struct hub_client *partial, *partial_tail; /* longest first */
    uint64_t partial_bytes;
    struct park ownerless;   /* parked QoS 0 and SENDs whose connection is gone */
    struct commit commit;
    struct results results;
    struct jobs jobs;
    struct dedups dedups;
    struct unanswered unanswered;
    uint64_t published_id;   /* what the message that entered last is known by */
    struct readiness readiness;
    struct operations *operations; /* of operators; NULL: none was asked for */
    struct trace *trace;           /* NULL: switched off */
    struct dead_works dead;
    bool watched;                  /* there may be jobs, or there is a trace: what becomes of messages matters to somebody */
    struct sl_rng rng;
    uint64_t memory;         /* bodies and queue nodes, as of the last turn plus what came since */
    uint64_t parked_bytes;   /* parked offers, of clients and ownerless */
    uint64_t gathered_bytes; /* by open transactions */
    uint64_t *scratch_bytes; /* per queue, for admission of several messages */
    uint32_t *scratch_count;
    bool room_made, draining; /* room_made: a parked offer may fit now */
};

/* ---- hub.c ---- */
struct hub_queue *hub_queue_of_number(struct hub *h, uint32_t number);
/* Intake waits: so much over the limit that evicting bodies did not help. What
 * is parked does not count: it would wait for itself. */
static inline bool hub_memory_pressed(const struct hub *h)
{
    return h->memory >= h->readiness.memory_mark;
}

/* Its memory has changed: it is counted at the end of the turn. */
static inline void hub_recount(struct hub *h, struct hub_queue *hq)
{
    if (hq->recount)
        return;
    hq->recount = true;
    hq->next_recount = h->recount;
    h->recount = (uint32_t)(hq - h->queues) + 1;
}

/* Dispatch it this turn. */
static inline void hub_heat(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    if (hq->hot)
        return;
    hq->hot = true;
    hq->next_hot = h->hot;
    h->hot = queue + 1;
    hub_recount(h, hq);
}

/* ---- tickets and batches (commit.c) ---- */
uint32_t ticket_new(struct hub *h, uint64_t client, uint32_t token);
void ticket_done(struct hub *h, uint32_t ticket, enum proto_result r);
/* The answer waits for the batch that is being filled. */
void ticket_await_batch(struct hub *h, uint32_t ticket);
/* A new ticket for nothing but that: `r` is told when the batch is stored. */
void answer_with_batch(struct hub_client *c, uint32_t token, enum proto_result r);
/* A worker has finished with what `ticket` waits for: answered at the end of the
 * turn, or with the open batch when workers published into it. */
void ticket_finished(struct hub *h, uint32_t ticket);
void resolve_finished(struct hub *h);
/* A record in the open batch; the pointer dies at the next. */
static inline struct batch_op *record(struct hub *h, enum batch_kind kind)
{
    struct batch *b = h->commit.open;
    if (b->opened_us == 0)
        b->opened_us = h->now.mono_us;
    return batch_add(b, kind);
}

/* Is the batch that holds this message's enqueue still ours? NULL: no. */
struct batch *batch_still_ours(struct hub *h, const struct message *m);
void commit_turn(struct hub *h);
/* An empty batch with the next sequence number. */
struct batch *batch_spare(struct hub *h);
void batch_recycle(struct hub *h, struct batch *b);
void batch_submit(struct hub *h, struct batch *b);
uint64_t commit_deadline_us(const struct hub *h);
void apply_volatiles(struct hub *h);

/* ---- records of what queues and sessions tell (records.c) ---- */
/* Returns how many durable entries there are: holders of the body. */
uint32_t record_enqueue(struct hub *h, struct message *m, const struct route_set *to, bool hold);
/* Of a message that was recorded just now: its entry in one of its queues; 0: it has none. */
uint32_t recorded_entry(const struct hub *h, const struct message *m, const struct route_set *to, uint32_t queue);
/* Takes over change->msg when the entry is gone. `f`: the failed attempt, or NULL. */
void record_change(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f);
/* The message's body, once. */
void record_body(struct hub *h, struct message *m);
/* Nobody who needed the body of this new message is left. */
void record_body_unneeded(struct hub *h, struct message *m);
/* A new message has `n` holders, more than one, of whom each lets go once. */
void holders_set(struct hub *h, uint64_t id, uint32_t n);
/* One more, beside one that there is. */
void holders_add(struct hub *h, uint64_t id);
/* A session's copy as it stands now. Its message's body is recorded already. */
void record_copy(struct hub *h, const struct session *s, struct outbox_entry *e);
/* It is over. */
void record_copy_gone(struct hub *h, const struct session *s, const struct outbox_entry *e);

/* ---- intake ---- */
static inline const struct offer_item *offer_items(const struct offer *o)
{
    return o->items != NULL ? o->items : &o->one;
}

static inline enum queue_admission worse_admission(enum queue_admission a, enum queue_admission b)
{
    return a > b ? a : b; /* ADMIT < WAIT < REFUSE */
}

enum queue_admission offer_admission(struct hub *h, const struct offer *o);
/* The same without what is a duplicate: that costs a look at all of it, and is for what comes now. */
enum queue_admission offer_admission_sifted(struct hub *h, const struct offer *o);
/* Enters, parks or refuses; takes the offer's messages. c may be NULL (no client waits). */
void offer_take(struct hub *h, struct hub_client *c, struct offer *o);
void offer_enter(struct hub *h, struct hub_client *c, struct offer *o);
/* Its answers are not given back: see answers_drop. */
void offer_drop(struct offer *o);
/* Tells the client and forgets it, with what it answered. */
void offer_refuse(struct hub *h, struct hub_client *c, struct offer *o, enum proto_result r);
/* Counts it as refused, by gateway and queue. */
void offer_refused(struct hub *h, const struct offer *o);
uint64_t offer_bytes(const struct offer *o);
void park_push(struct hub *h, struct hub_client *c, const struct offer *o);
void park_retry(struct hub *h);
void park_forget(struct hub *h, struct hub_client *c);
/* The store is broken: nothing that is parked can be stored any more. */
void park_refuse(struct hub *h);
bool park_full(const struct hub_client *c);
void parks_check(const struct hub *h);

/* ---- retransmit.c ---- */
/* The connection ends and its session goes on: before what it has parked is forgotten. */
void unanswered_keep(struct hub_client *c);
/* A PUBLISH of QoS 1 that comes to a session for which something is kept: true: it is a retransmission of that,
 * and is answered. Else its packet id is a new message's. */
bool unanswered_take(struct hub_client *c, uint32_t token, const struct proto_publish *p);
/* The session ends. */
void unanswered_forget(struct hub *h, const struct session *s);
void unanswered_free(struct hub *h);

/* ---- partial.c ---- */
void partial_set(struct hub_client *c, size_t bytes);
void partial_enforce(struct hub *h);

/* ---- messages (meaning.c, publish.c) ---- */
/* $SYS and $jobs are the gateway's own: nobody else publishes there (decision 23). */
bool topic_is_ours(struct sl_bytes topic);
/* A reply destination's: only its owner subscribes there (consume.c). */
bool topic_is_reply(struct sl_bytes topic);
/* The set of just that queue; NULL: it takes nothing, or there is none of that name. */
const struct route_set *queue_alone(const struct hub *h, struct sl_bytes name);
/* By subscribers or a retained slot. */
bool taken_elsewhere(struct hub *h, struct sl_bytes topic, bool retain);
/* Fills the parts that headers may set; returns how many were ill-formed. */
uint32_t meaning_apply(struct message_parts *parts, const struct sl_now *now);
/* A message as this client sent it. */
struct message *message_of_publish(struct hub_client *c, const struct proto_publish *p);
/* What is answered keeps all that the answer promises, or is refused; QoS 0
 * only loses its slot. */
bool finds_slot(struct hub *h, const struct offer *o);
void refuse_retained(struct hub_client *c, struct offer *o);
void on_publish(struct hub_client *c, uint32_t token, const struct proto_publish *p);
void on_release(struct hub_client *c, uint32_t token, uint16_t packet_id);

/* ---- transaction.c ---- */
/* Made when it is asked for first. */
struct client_stomp *client_stomp(struct hub_client *c);
void on_begin(struct hub_client *c, struct sl_bytes name);
/* A message for later. */
void transaction_send(struct hub_client *c, const struct proto_publish *p, const struct route_set *to);
/* Claims a delivery for later. The verb's reason is copied. */
void transaction_answer(struct hub_client *c, const struct proto_acknowledge *p, struct client_consumer *cc);
/* It answers what its client has no more: its COMMIT will be refused. */
void transaction_is_stale(struct hub_client *c, struct sl_bytes name);
void on_commit_transaction(struct hub_client *c, uint32_t token, struct sl_bytes name);
void on_abort(struct hub_client *c, struct sl_bytes name);
/* Open transactions lose what they have answered of that consumer, or of all (0): it is about to go back. */
void transactions_unclaim(struct hub_client *c, uint32_t consumer);
/* The connection is gone. */
void transactions_free(struct hub_client *c);

/* ---- subscribe.c ---- */
/* Each level of a filter is a node of the tree: there may be only so many. */
bool filter_too_deep(struct sl_bytes filter);
void on_subscribe(struct hub_client *c, uint32_t token, const struct proto_filters *f);
void on_unsubscribe(struct hub_client *c, uint32_t token, const struct proto_filters *f);

/* ---- acknowledge.c ---- */
void on_acknowledge(struct hub_client *c, uint32_t token, const struct proto_acknowledge *p);
/* What PROTO_ACK, NACK and DEAD ask of a queue. */
struct queue_answer answer_verb(const struct proto_acknowledge *p);
/* The deliveries that it answers, oldest first: *from starts at 0; 0 at the end. */
uint64_t answered_next(const struct client_consumer *cc, const struct proto_acknowledge *p, uint64_t *from);
/* Something that this client's answers have recorded is not stored yet, or never will be. */
bool settles_pending(const struct hub_client *c);
/* Answered when all that this client's answers have recorded so far is stored. */
void answer_after_settles(struct hub_client *c, uint32_t token);
/* All deliveries that a transaction has answered are still this client's. */
bool answers_hold(const struct hub_client *c, const struct offer_answer *v, uint32_t n);
/* Of what was recorded in the open batch from `from` to `to` nothing leaves without the rest of it:
 * messages enter in the same batch, and neither goes without the other. */
void bind_answers(struct hub *h, uint32_t from, uint32_t to);
/* Gives the answers; `bound`: messages enter in the same batch, and neither goes without the other.
 * What they record, and whose, is kept in client_stomp.settled_in. */
void answers_give(struct hub_client *c, const struct offer_answer *v, uint32_t n, bool bound);
/* ABORT, or a COMMIT that was refused: the deliveries are unanswered again. c may be NULL (the
 * connection is gone, and they with it). Frees what `v` holds, not `v`. */
void answers_drop(struct hub_client *c, struct offer_answer *v, uint32_t n);

/* ---- connect.c ---- */
/* As it stands now. */
void record_session(struct hub *h, const struct session *s);
void on_connect(struct hub_client *c, const struct proto_connect *p);
/* The session that this client's CONNECT ended is gone from the disk. */
void client_connect_stored(struct hub_client *c, enum proto_result r);
void on_disconnect(struct hub_client *c, uint32_t token, const struct proto_disconnect *d);
void client_leave_session(struct hub_client *c);
void sessions_tick(struct hub *h);
uint64_t sessions_deadline_us(const struct hub *h);

/* ---- takeover.c ---- */
/* A new connection is about to take this id from the one that holds it. false:
 * that happens too often; counted. */
bool takeover_allowed(struct hub *h, struct sl_bytes client_id);
void takeovers_tick(struct hub *h);
void takeovers_free(struct hub *h);

/* ---- client.c ---- */
struct hub_client *client_find(struct hub *h, uint64_t id);
/* Both are empty where there is none. */
struct sl_bytes client_id(const struct hub_client *c);
struct sl_bytes client_user(const struct hub_client *c);
void client_dirty(struct hub_client *c);
void client_answer(struct hub_client *c, uint32_t token, enum proto_result r);
/* PROTO_REFUSED_QUOTA by a queue: a client of 3.1.1 has so long. */
void client_refuse(struct hub_client *c, uint32_t token, uint32_t grace_ms);
/* PUBREL. */
void client_release(struct hub_client *c, uint16_t packet_id, bool known);
/* Pulls the session's events until it has none or parking is full. */
void client_pump(struct hub_client *c);
void client_tick(struct hub_client *c);
void client_stuffed(struct hub_client *c, bool stuffed);
/* Those that were answered: an answer may be followed by events. */
void clients_pump_stirred(struct hub *h);
void client_arm(struct hub_client *c);

/* ---- consumers.c ---- */
/* The message that it holds by this lease, and the queue; NULL: it does not, counted. */
const struct message *leased_to(struct hub *h, uint64_t consumer, uint64_t lease, uint32_t *queue);
/* One delivery that it holds goes back, uncharged. `seen`: it may have had it. */
void consumer_give_back(struct hub *h, uint64_t consumer, uint64_t lease, bool seen);
void consumer_count_lent(struct hub *h, struct hub_consumer *hc);
/* What is overdue in an external one is taken from it. */
void consumer_expire(struct hub *h, struct hub_consumer *hc);
/* What it holds has changed. */
static inline void consumer_lent(struct hub *h, struct hub_consumer *hc)
{
    if (SL_UNLIKELY(hc->elsewhere))
        consumer_count_lent(h, hc);
}

/* ---- dispatch.c ---- */
void dispatch_hot(struct hub *h);
void queue_timers_tick(struct hub *h);

#include "subscribers.h"

#endif
