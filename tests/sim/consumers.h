/* Fake STOMP clients that consume: from topics, from queues, in transactions;
 * what one remembers, and what the laws must know of it. */
#ifndef SIM_CONSUMERS_H
#define SIM_CONSUMERS_H

#include "sim.h"

#define SIM_SUBS     4u  /* subscriptions of one connection at once */
#define SIM_MINE     80u /* more than the largest credit */
#define SIM_CREDIT   64u /* of who does not say prefetch-count */
#define SIM_RECEIPTS 64u
#define SIM_SENDS    4u  /* in one transaction */
#define SIM_OPEN     2u  /* transactions of one connection at once */

enum ack_mode { ACKS_AUTO, ACKS_UP_TO, ACKS_EACH };
enum verdict { VERDICT_ACK, VERDICT_NACK, VERDICT_DEAD, VERDICT_EXTEND };

/* A delivery that is not answered. */
struct taken {
    struct delivery d;
    size_t end;       /* of its frame in the stream of output: the client knows it when it has read so far */
    uint32_t claimed; /* the deal that has answered it, from 1; 0: none */
    char name[48];    /* what ACK names */
};

/* One subscription. */
struct consumption {
    bool active, by_topic, has_id;
    enum ack_mode mode;
    uint32_t queue, filter; /* one of them */
    uint32_t credit;
    char id[16];
    uint32_t n;
    struct taken held[SIM_MINE];
    uint32_t unsure;             /* deliveries that a deal without an end has answered */
    uint64_t due_from, due_by;   /* mono ms: when the oldest is overdue, at the earliest and at the latest; UINT64_MAX: never, or not known */
    uint64_t extended;           /* mono ms: the oldest was given time until then, if it was started; 0: it was not given any */
    uint64_t unsure_from;        /* as due_from, of those */
    char over[48];               /* some delivery that was answered before; "": none */
    struct { uint32_t connection; uint64_t offered; } last[SIM_PUBLISHERS]; /* law of order */
};

/* What a client wants done as one: a transaction; or an answer of which it cannot know yet
 * whether the gateway has read it. Nobody is told when it is done, so that it is sure only
 * when its receipt or one of its parts is seen. */
enum fate {
    FATE_OPEN,   /* before COMMIT: nobody may see any of it */
    FATE_UNSURE, /* all of it, or nothing */
    FATE_IN,
    FATE_OUT,
};
struct claim {
    uint64_t id;
    uint32_t uid, queue, sub, attempt;
    enum verdict verdict;
    bool had_entry; /* it was seen on the disk */
    bool left;      /* UNSUBSCRIBE or DISCONNECT came behind COMMIT: it may still be held for that */
};
struct deal {
    enum fate fate;
    uint32_t consumer, connection, name;
    bool stored;  /* the disk has it, as far as it has anything to keep of it */
    bool lost;    /* its connection ended before its fate was known */
    bool given;   /* it came to nothing after COMMIT */
    bool refused; /* it answers a delivery that is over: COMMIT must be refused */
    uint32_t subs; /* bit per subscription, also to a topic, of which it answers something */
    uint32_t n_uids, n_claims, cap_claims;
    uint32_t uids[SIM_SENDS];
    struct claim *claims;
};

/* A frame that is owed a receipt, or (not `wanted`) for which those after it wait. */
enum receipt_of { OF_NOTHING, OF_SEND, OF_DEAL, OF_ANSWERS };
struct receipt {
    bool wanted;
    enum receipt_of kind;
    uint32_t number;
    uint32_t what;    /* a uid; a deal, from 1 */
    uint32_t answers; /* so many of the connection's answers came before it */
};

struct answered {
    uint64_t id;
    uint32_t queue, uid, attempt;
    enum verdict verdict;
};

struct consumer {
    struct peer peer;
    struct world *w;
    struct hub_client *client;  /* NULL: not connected */
    uint32_t number, connection;
    uint8_t version;            /* 10, 11, 12 */
    bool greeted;
    bool slow, silent;          /* does not read; does not answer */
    bool leaving;               /* DISCONNECT was sent */
    bool doomed;                /* what it sent must be answered with ERROR */
    bool failed;                /* ERROR came, or the connection is over without one */
    bool tapping;
    size_t seen, read;          /* of the stream of output */
    uint64_t left_from;         /* mono ms: when what it has left to deals is overdue, at the earliest */
    uint32_t names;             /* of subscriptions, receipts and transactions */
    struct consumption subs[SIM_SUBS];
    uint32_t open[SIM_OPEN];    /* deals, from 1; 0: none */
    uint32_t n_owed;
    struct receipt owed[SIM_RECEIPTS];
    uint32_t n_answers, cap_answers, sure_answers;
    struct answered *answers;   /* outside transactions, on this connection */
};

/* ---- consumers.c: what they do ---- */
void stomp_consumers_make(struct world *w);
void stomp_consumers_free(struct world *w);
void consumer_step(struct consumer *c);
/* Something new to send. */
uint32_t consumer_uid(struct consumer *c);
/* Calm: it is there, reads and answers everything. */
void consumer_finish(struct consumer *c);
/* Its connection is gone with the gateway. */
void consumer_gone(struct consumer *c);
void consumer_lost(struct consumer *c);
/* They subscribe here and there, and send something. */
void stomp_consumers_visit(struct world *w);
/* They say goodbye. */
void stomp_consumers_leave(struct world *w);

/* ---- consumer_answers.c: ACK, NACK, transactions ---- */
void consumer_answer(struct consumer *c);
void consumer_answer_all(struct consumer *c);
void consumer_transaction(struct consumer *c);
void consumer_commit_all(struct consumer *c);
bool consumer_has_read(const struct consumer *c, const struct taken *t);

/* ---- consumer_frames.c: bytes ---- */
enum sent {
    SENT_TAKEN, /* the gateway has read it and done what it says */
    SENT_HELD,  /* it has it, and may not have looked at it yet */
    SENT_NOT,   /* the connection is gone, and half of it with it */
};
enum sent consumer_send(struct consumer *c, struct text *t);
/* Asks for a receipt, most of the time. NULL: there is nothing to be remembered. */
struct receipt *consumer_ask(struct consumer *c, struct text *t, enum receipt_of kind, uint32_t what);
void consumer_read(struct peer *peer, struct hub_client *client);
/* What the gateway has put out so far counts from now on, read or not. */
void consumer_tap(struct consumer *c);
bool consumers_tapping(const struct world *w);

/* ---- deals.c ---- */
struct deal *deal_at(const struct world *w, uint32_t deal); /* from 1 */
uint32_t deal_new(struct consumer *c);
void deal_send(struct world *w, uint32_t deal, uint32_t uid);
void deal_claim(struct world *w, uint32_t deal, const struct claim *claim);
/* COMMIT was sent. */
void deal_give(struct world *w, uint32_t deal);
/* Nothing of it may be seen. */
void deal_is_out(struct world *w, uint32_t deal);
/* It has taken effect; `stored`: and survives a crash. */
void deal_is_in(struct world *w, uint32_t deal, bool stored);
/* A part of it was seen. */
void deal_seen(struct world *w, uint32_t deal, uint32_t uid);
/* What it has answered comes again. */
void deal_undone(struct world *w, uint32_t deal, uint64_t id, uint32_t queue);
/* A batch was applied: all of a deal is in it, or nothing. */
void deals_after_batch(struct world *w);
/* The gateway is gone: what the disk has not is out. */
void deals_after_end(struct world *w);
void deals_free(struct world *w);

/* ---- laws_of_consumers.c ---- */
struct arrival {
    uint64_t id;
    uint32_t uid, attempt;
    bool redelivered, retained;
    size_t end;
    const char *name; /* what ACK names; NULL: nothing */
};
void laws_on_message(struct consumer *c, struct consumption *s, const struct arrival *a);
void laws_on_receipt(struct consumer *c, uint32_t number);
/* The gateway ends the connection and says why. */
void laws_on_error(struct consumer *c, const char *message, uint32_t receipt);
enum ending { END_ORDERLY, END_CHARGED, END_UNSURE };
/* All leases of this connection have ended. */
void consumption_ends(struct consumer *c, struct consumption *s, enum ending how);
/* The client said so: what a COMMIT has answered stays its own. */
void consumption_is_left(struct consumer *c, struct consumption *s);
void consumer_ends(struct consumer *c, enum ending how);
/* A first publish of this is offered now. */
void laws_expect_consumers(struct world *w, uint32_t uid);
void consumption_begins(struct consumer *c, struct consumption *s);
/* The oldest delivery of it is another one. */
void consumption_clock(struct consumer *c, struct consumption *s, bool sure);
bool consumer_filter_takes(uint32_t filter, uint8_t topic);
void answers_sure(struct consumer *c, uint32_t n);
/* How many leases consumers hold, at least and at most. */
void laws_of_leases(const struct world *w);
void laws_of_consumers_after_step(struct world *w);
void laws_of_consumers_at_end(struct world *w);
/* They have said goodbye: everybody has all receipts, and is gone. */
void laws_of_goodbyes(const struct world *w);

#endif
