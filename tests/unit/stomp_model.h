/* A small reference model of what STOMP clients are promised, and nothing of how it
 * is done: messages, the place of each in each queue, consumers, transactions, and
 * what the store must hold. It is told what clients did (stomp_model_peer.c) and
 * shown every frame that they got (stomp_model_world.c).
 *
 * Where the hub is free the model accepts what it did: which consumer has which
 * message, and when within a turn. Everything else has to be as predicted. */
#ifndef TEST_STOMP_MODEL_H
#define TEST_STOMP_MODEL_H

#include "claims.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/rng.h"
#include "queue/queue.h"

#define CONNS    4u
#define QUEUES   4u
#define TOPICS   7u
#define FILTERS  11u
#define OPEN_TXN 4u
#define VERSIONS 14u
#define NONE     UINT32_MAX

struct text {
    uint16_t n;
    uint8_t p[78];
};

struct pair {
    struct text name, value;
};

/* A message, as everybody is to see it. */
struct said {
    bool mqtt, to_queue, retain, has_type, has_correlation, has_reply, relative;
    uint8_t queue, qos, priority;
    uint32_t reply_gen, temp_gen; /* keys of reply-to and destination, 1-based; 0: no reply destinations */
    struct text topic, type, correlation, reply;
    uint32_t n_headers;
    struct pair headers[12];
    uint32_t n_body;
    uint8_t body[200];
    uint64_t deliver_at, expires_at; /* 0: none */
    uint64_t order;                  /* in which messages entered; 0: it has not */
    uint64_t id;                     /* as it was seen; 0: not yet */
};

enum place { READY, LEASED, DELAYED, DEAD, GONE, ABSENT };

/* What the store may know of an entry, one after the other. */
struct version {
    uint8_t state, cause;
    bool lazy;      /* it need not have been noticed: expiry */
    uint32_t attempts, txn; /* txn: its place in model.txns + 1; 0: none */
    uint64_t due_ms, at_ms;
    struct text reason;
};

struct consumer;

/* A message in a queue. */
struct entry {
    uint32_t msg;
    uint8_t queue, state;
    bool redelivered, again /* it came back: stands by age, else by `place` */;
    bool there;             /* the store has it */
    uint32_t attempts;
    uint64_t place, due_ms;
    struct consumer *holder;
    struct version v[VERSIONS];
    uint32_t n_v, stored;   /* the version that the store has */
    uint64_t seen;          /* when it was found there last */
};

enum mode { AUTO, UP_TO, EACH };
enum delivery_state { OPEN, CLAIMED, OVER };

struct delivery {
    uint64_t number;
    uint32_t msg, entry; /* entry: NONE, of a topic */
    uint8_t state;
    uint32_t claim;      /* transaction that has answered it */
};

struct waiting {
    uint32_t msg;
    bool fed, excused, over;
};

struct sconn;

struct consumer {
    struct sconn *conn;
    struct consumer *next;
    bool on, has_id, temp, solo /* it holds a last attempt */;
    uint8_t mode;
    uint32_t number, credit, queue; /* queue: NONE, of a topic */
    struct text id, destination, filter;
    struct delivery *d;
    uint32_t n_d, cap_d;
    uint64_t last;
    uint32_t unanswered;
    uint64_t limit_ms;   /* of the oldest unanswered */
    struct waiting *w;
    uint32_t n_w, cap_w, first_w;
    uint64_t came;       /* how many messages; of its topic */
};

struct verdict {
    uint8_t verb;        /* enum queue_verb: ACK, RETRY, KILL */
    bool has_delay;
    uint64_t delay_ms;
    struct text reason;
};

struct answer {
    uint32_t consumer;
    uint64_t delivery;
    struct verdict verdict;
};

struct open_txn {
    bool on;
    struct text name;
    uint32_t *sends, n_sends;
    struct answer *answers;
    uint32_t n_answers;
};

enum need_kind { NEED_KEPT, NEED_ANSWERED, NEED_RETAINED, NEED_UNRETAINED };
struct need {
    uint8_t kind;
    uint32_t entry, version, msg;
};

struct needs {
    struct need *v;
    uint32_t n, cap;
};

/* A transaction that was committed. */
struct txn {
    struct needs needs;
    uint32_t sends;
    bool settled;        /* it is stored, or gone with a crash */
};

/* An answer that a connection is owed, in their order. */
struct owed {
    bool has_receipt, last, waits /* what it is the answer to has not entered yet */;
    uint64_t serial;
    struct text receipt;
    struct needs needs;
    uint32_t txn;        /* of COMMIT; 0: none */
};

enum doom { FINE, GOODBYE, LOST, FAULT, SLOW, TIMED_OUT };

struct sconn {
    bool up, stalled;
    uint8_t version, doom; /* 0, 1, 2: STOMP 1.0, 1.1, 1.2 */
    struct consumer *consumers;
    uint32_t n_consumers;
    struct open_txn txns[OPEN_TXN];
    struct owed *owed;
    uint32_t n_owed;
    const char *error;     /* ERROR that has to come */
    bool may_be_slow; /* it is not clear whether a retained message waits, too */
    bool error_receipt, error_seen, released /* what it held is back */;
    struct text error_id;
    const char *error_command; /* NULL: none is quoted */
    uint32_t gen;          /* its place in keys, 1-based */
    uint32_t number;       /* for the trace */
    void *link;            /* the world's */
};

/* What waits for room: a message, or a transaction. */
struct parked {
    uint32_t conn, msg; /* conn: NONE, it is gone; msg: NONE, a transaction */
    bool over_limit;
    uint64_t serial;    /* of what it is owed */
    struct open_txn txn;
};

struct retained_model {
    uint32_t msg;          /* NONE: there is none */
};

/* A MESSAGE of a queue, until it is clear what it was. */
struct seen {
    struct consumer *c;
    uint32_t msg;
    bool matched;
    struct sl_bytes head, body; /* owned */
};

struct model_store;
struct batch;

struct smodel {
    uint64_t now_ms, seed, order, place;
    uint32_t step;
    bool verbose;
    struct queue_config queues[QUEUES];
    struct { char text[17]; } *keys; /* of reply destinations, by connection; "": nobody was told it yet */
    uint32_t n_keys;
    struct said *msgs;
    uint32_t n_msgs, cap_msgs;
    struct entry *entries;
    uint32_t n_entries, cap_entries, first_entry;
    struct txn *txns;
    uint32_t n_txns;
    struct sconn conns[CONNS];
    struct consumer *gone_consumers; /* kept: claims name them */
    struct retained_model retained[TOPICS];
    struct seen *seen;
    uint32_t n_seen, cap_seen;
    struct got { uint32_t conn /* NONE: MQTT's publisher */; struct text id; } *got; /* receipts of this turn */
    uint32_t n_got;
    uint32_t *mqtt_wait, n_mqtt_wait, cap_mqtt_wait;
    bool mqtt_on, ghosts[QUEUES] /* something expired may still stand there */;
    struct parked *parked;
    uint32_t n_parked;
    bool no_space;
    uint64_t serial;
    uint32_t waiting_max;  /* limits.session_queue */
    const struct model_store *store;
    const struct batch *pending; /* the store's, under way */
    uint64_t stamp;
    char *trace;
    size_t trace_n;
    uint64_t deliveries, receipts, errors, crashes, settled;
};

extern const char *const smodel_topics[TOPICS];
extern const char *const smodel_routes[QUEUES];

void smodel_init(struct smodel *m, uint64_t seed);
void smodel_fini(struct smodel *m);
void smodel_say(struct smodel *m, const char *fmt, ...) SL_PRINTF(2, 3);
SL_NORETURN void smodel_fail(struct smodel *m, const char *fmt, ...) SL_PRINTF(2, 3);

/* ---- text ---- */
struct text text_of(const char *s);
bool text_eq(const struct text *a, const struct text *b);
static inline struct sl_bytes text_view(const struct text *t)
{
    return sl_bytes_of(t->p, t->n);
}
/* Matches as MQTT has it, with '$' kept apart. */
bool smodel_takes(const char *filter, size_t n_filter, struct sl_bytes topic);

/* ---- messages (stomp_model.c) ---- */
uint32_t smodel_message(struct smodel *m, const struct said *s);
/* It enters: queues, subscribers, slots. What its answer promises goes to `needs`. */
void smodel_enter(struct smodel *m, uint32_t msg, uint32_t txn, struct needs *needs);
bool smodel_is_taken(const struct smodel *m, uint32_t msg);
bool smodel_expired(const struct smodel *m, uint32_t msg);
void needs_add(struct needs *needs, struct need n);
void smodel_wait(struct consumer *c, uint32_t msg, bool fed);
/* A subscription is fed with what is retained. */
void smodel_feed(struct smodel *m, struct consumer *c);
/* A MESSAGE of a topic's consumer: the message must be the one whose turn it is. Returns whether it
 * is a retained one for the subscription. */
bool smodel_topic_message(struct smodel *m, struct consumer *c, uint32_t msg, bool retain);

/* ---- consumers and connections (stomp_model_conn.c) ---- */
struct consumer *smodel_consumer(const struct sconn *k, uint32_t number);
struct consumer *smodel_consumer_add(struct smodel *m, struct sconn *k);
void smodel_consumer_end(struct smodel *m, struct consumer *c);
void smodel_conn_doom(struct smodel *m, struct sconn *k, enum doom doom, const char *error);
/* What its consumers hold goes back, and it is forgotten. */
void smodel_conn_lost(struct smodel *m, struct sconn *k, enum doom doom);
struct owed *smodel_owe(struct smodel *m, struct sconn *k, const struct owed *o);
/* A RECEIPT, or MQTT's PUBACK, came: it is judged when it is clear what else came in this turn. */
void smodel_got(struct smodel *m, uint32_t conn, const struct text *id);
void smodel_receipts(struct smodel *m);
struct open_txn *smodel_txn(struct sconn *k, const struct text *name);
void smodel_txn_end(struct open_txn *t);
bool smodel_answer_all(struct smodel *m, struct consumer *c, uint64_t n, const struct verdict *v, struct open_txn *t, struct needs *needs);
/* An answer's delivery is over. */
bool smodel_is_stale(const struct sconn *k, const struct open_txn *t);
/* False: it is stale, and nothing was done. */
bool smodel_commit(struct smodel *m, struct sconn *k, struct open_txn *t, struct owed *o);
void smodel_abort(struct sconn *k, struct open_txn *t);

/* ---- waiting for room (stomp_model_park.c) ---- */
bool smodel_admits(const struct smodel *m, const uint32_t *msgs, uint32_t n);
void smodel_offer_message(struct smodel *m, struct sconn *k, uint32_t msg, uint64_t serial);
/* Takes it. */
void smodel_offer_txn(struct smodel *m, struct sconn *k, struct open_txn *t, uint64_t serial);
void smodel_unpark(struct smodel *m);
void smodel_park_forget(struct smodel *m, const struct sconn *k);
void smodel_park_crashed(struct smodel *m);
bool smodel_fits_ever(const struct smodel *m, const struct open_txn *t);
bool smodel_may_send(const struct smodel *m, uint32_t conn);
bool smodel_waits(const struct smodel *m, const struct sconn *k);

/* ---- queues (stomp_model_queue.c) ---- */
uint32_t entry_add(struct smodel *m, uint32_t msg, uint32_t queue, uint32_t txn);
void entry_expired(struct smodel *m, struct entry *e);
void entry_answer(struct smodel *m, uint32_t entry, const struct verdict *v, uint32_t txn);
void consumer_release(struct smodel *m, struct consumer *c, enum doom doom);
/* Deliveries of this turn become leases; dooms are carried out. */
void smodel_match(struct smodel *m);
void smodel_release(struct smodel *m, struct sconn *k);
/* Nothing that could be given waits. */
void smodel_rest(struct smodel *m);
void smodel_tick(struct smodel *m);
/* Who passed his time is doomed. */
void smodel_overdue(struct smodel *m);
void consumer_started(struct smodel *m, struct consumer *c);

/* ---- what is stored (stomp_model_kept.c) ---- */
void smodel_stored(struct smodel *m, const struct model_store *s, bool flushed);
bool smodel_met(const struct smodel *m, const struct needs *needs);
void smodel_crash(struct smodel *m);

/* ---- frames (stomp_model_wire.c) ---- */
struct frame_view {
    struct sl_bytes command, head, body; /* head: the header lines with their ends */
};
/* The frame at the start of `in`; its size; 0: there is none yet. */
size_t frame_read(struct smodel *m, struct sl_bytes in, struct frame_view *f);
/* The value of a header, as it stands there; false: there is none. */
bool frame_header(const struct frame_view *f, const char *name, struct sl_bytes *value);
void frame_begin(struct sl_buf *b, const char *command);
void frame_put(struct sl_buf *b, uint32_t version, struct sl_bytes name, struct sl_bytes value);
void frame_put_text(struct sl_buf *b, uint32_t version, const char *name, const char *value);
void frame_end(struct sl_buf *b, struct sl_bytes body);
uint32_t message_named(struct smodel *m, const struct frame_view *f);

struct shown {
    const struct consumer *c;
    uint32_t msg, attempt;
    uint64_t delivery;
    bool redelivered, retain;
};
/* Learns the key of m's reply-to from how that is shown. */
void smodel_learn_key(struct smodel *m, struct said *s, struct sl_bytes shown, const char *prefix);
/* Header by header, byte by byte. */
void message_check(struct smodel *m, const struct shown *s, struct sl_bytes head, struct sl_bytes body);

#endif
