/* A small reference model of what MQTT promises to clients, and nothing of how
 * it is done: sessions, what each has subscribed to, and for each session a
 * plain list of the deliveries that it has to get or may get. The driver in
 * test_mqtt_model.c tells it what clients did and shows it every packet. */
#ifndef TEST_MQTT_MODEL_H
#define TEST_MQTT_MODEL_H

#include <stdio.h>

#include "claims.h"
#include "core/bytes.h"
#include "core/alloc.h"
#include "core/rng.h"

#define CLIENTS  5u
#define TOPICS   7u
#define FILTERS  16u
#define GROUPED  11u /* filters from here on are of shared subscriptions */
#define NOBODY   UINT32_MAX
#define NEVER    UINT64_MAX
#define ANY      2u

extern const char *const model_topics[TOPICS];
extern const char *const model_filters[FILTERS]; /* without $share/GROUP/ */
extern const char *const model_groups[FILTERS];  /* "" */

struct msg {
    uint8_t topic, qos;
    bool retain, empty, kept /* acknowledged, or surely stored: the first time that it was published */;
    bool unsure;          /* a crash may have taken it */
    bool any_expiry;      /* it was published twice, with different ends */
    uint32_t publisher;
    uint64_t expires_ms; /* 0: never */
};

enum want_state { WAITING, SENT, RECEIVED /* PUBREC was sent */, OVER };

/* One delivery to one session. */
struct want {
    uint32_t msg, share; /* share: NOBODY or place in shares */
    uint8_t qos, state, retain /* 0, 1, ANY */;
    uint8_t low;         /* the state that is surely stored */
    bool must, fed /* retained, for a subscription */, came;
    bool spare;          /* fed, and it need not have come */
    bool kept;           /* its publish was answered, or is surely stored */
    bool dup_ok;         /* it may have been sent before, for all that we know */
    bool again;          /* it must be sent again on this connection */
    bool loose;          /* after a crash: its packet id may not have been stored */
    bool repeat_ok;      /* after a crash: PUBREC may not have been stored */
    bool unordered;      /* after a crash: it may be published again */
    uint16_t packet_id;
    uint32_t sent_seq;
    uint32_t filter;     /* fed: by which subscription */
    uint32_t ids[FILTERS], n_ids;
};

/* A message for one member of a shared subscription. */
struct share {
    uint32_t msg, filter, owner /* NOBODY: nobody has got it yet */;
    uint32_t owner_life;  /* session.life of the owner */
    bool must, done;
    bool kept;            /* its publish was answered, or is surely stored */
    bool doubt;           /* its owner is gone and may have got another copy instead */
};

struct sub {
    bool on, no_local, rap;
    uint8_t qos;
    uint32_t id;
};

struct will {
    bool on, retain;
    uint8_t topic, qos;
    uint32_t msg, delay_s;
    uint64_t due_ms; /* NEVER: its connection is there */
};

struct session_model {
    bool exists, persistent, connected, blind /* a connection of 3.1.1 showed no subscription ids */;
    bool open;            /* it was connected last, or is, for all that is stored */
    uint32_t life;        /* counts its sessions */
    uint32_t expiry_s;
    uint64_t ends_ms;
    struct sub subs[FILTERS];
    struct will will;
    struct want *wants;
    uint32_t n, cap;
    uint32_t sent_seq, again_seq;
    uint32_t first;       /* wants before it are over for good */
};

struct retained_model {
    bool known;           /* else one of `may` */
    uint32_t msg;         /* NOBODY: none */
    uint32_t may[64], n_may; /* what a crash may leave, the last one being what is there now */
};

struct model {
    uint64_t now_ms;
    struct msg *msgs;
    uint32_t n_msgs, cap_msgs;
    struct share *shares;
    uint32_t n_shares, cap_shares, first_share;
    struct session_model sessions[CLIENTS];
    struct retained_model retained[TOPICS];
    char *trace;          /* what happened, for a failure */
    size_t trace_n;
    uint64_t seed;
    uint32_t step;
    bool verbose;
    bool unstored_structure; /* sessions or wills changed, and that may not be stored yet */
    bool passing, at_once[TOPICS]; /* time passes; a will was retained meanwhile, and nobody knows which comes last */
    bool exact;              /* each subscription has its own id, and all clients see them: no two copies are alike */
    bool lossy;              /* limits are low: what is missing is counted instead */
    uint64_t deliveries, resent, lost;
};

void model_init(struct model *m, uint64_t seed);
void model_fini(struct model *m);
void model_say(struct model *m, const char *fmt, ...) SL_PRINTF(2, 3);
SL_NORETURN void model_fail(struct model *m, const char *fmt, ...) SL_PRINTF(2, 3);

uint32_t model_message(struct model *m, const struct msg *msg);
/* The message was published: 0, somebody takes it; 1, nobody does; ANY. */
uint8_t model_publish(struct model *m, uint32_t msg);

/* A publisher that has got no answer sends it again on a new connection. */
void model_publish_again(struct model *m, uint32_t msg);
/* Its publisher has got an answer: it is stored, however often it was published. */
void model_answered(struct model *m, uint32_t msg);

/* Returns session present: 0, 1. */
bool model_connect(struct model *m, uint32_t c, bool clean, uint32_t expiry_s);
void model_leave(struct model *m, uint32_t c, bool unread);
void model_subscribe(struct model *m, uint32_t c, uint32_t filter, const struct sub *s, uint8_t retain_handling);
/* Was there one? */
bool model_unsubscribe(struct model *m, uint32_t c, uint32_t filter);
void model_pass(struct model *m, uint64_t ms);
/* Everything is stored. */
void model_stored(struct model *m);
void model_crash(struct model *m);

struct arrival {
    uint32_t msg;         /* NOBODY: the payload is empty */
    uint8_t topic, qos;
    bool dup, retain, v5, has_expiry, late;
    uint16_t packet_id;
    uint32_t expiry_s;
    uint32_t ids[FILTERS + 4], n_ids;
};

/* A PUBLISH came: the place of its want. Fails when it should not have come. */
uint32_t model_arrived(struct model *m, uint32_t c, const struct arrival *a);
/* The client's answers. */
void model_acked(struct model *m, uint32_t c, uint32_t want, bool refused);
void model_received(struct model *m, uint32_t c, uint32_t want);
/* PUBREL came. Returns the want, or NOBODY when there is none any more (after a crash). */
uint32_t model_released(struct model *m, uint32_t c, uint16_t packet_id);
void model_completed(struct model *m, uint32_t c, uint32_t want);
/* Everything has been read and answered: nothing that must arrive is missing. */
void model_drained(struct model *m);

#endif
