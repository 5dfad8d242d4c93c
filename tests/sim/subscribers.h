/* Fake MQTT subscribers of both versions: what one remembers, as a client has
 * to, and what the laws must know of it. */
#ifndef SIM_SUBSCRIBERS_H
#define SIM_SUBSCRIBERS_H

#include "mqtt/packet.h"
#include "sim.h"

#define SIM_FILTERS 9u
#define SIM_GROUPED 7u  /* filters from here on are of shared subscriptions: one of each group */
#define SIM_SLOTS   256u
#define SIM_ASKED   8u
#define SIM_ASK_MAX 3u

enum slot_state {
    SLOT_FREE,
    SLOT_GOT,      /* PUBACK or PUBREC is owed */
    SLOT_RECEIVED, /* PUBREC was sent */
    SLOT_RELEASED, /* PUBREL came, PUBCOMP is owed */
};

/* One packet id that the gateway uses. */
struct slot {
    enum slot_state state;
    uint8_t qos;
    bool refuse;         /* the answer will be 0x80 or above */
    uint16_t packet_id;
    uint32_t uid;
    uint32_t connection; /* on which it came last */
    uint32_t published;  /* the connection whose receive maximum it counts against */
    uint64_t boot;       /* in which it reached its state */
    uint64_t came;       /* the order of first arrival; 0: that was lost */
    uint64_t owed;       /* the order of what has to be answered */
};

struct subscription_of {
    bool sure;      /* acknowledged, and no change is under way */
    bool since;     /* it was wanted at some time in this session */
    uint8_t qos;
    uint32_t asked; /* answers that are awaited */
};

struct asked {
    uint16_t packet_id; /* 0: none */
    bool unsubscribe;
    uint32_t n;
    uint8_t filters[SIM_ASK_MAX], qos[SIM_ASK_MAX];
};

struct subscriber {
    struct peer peer;
    struct world *w;
    struct hub_client *client; /* NULL: not connected */
    struct hub_client *ghost;  /* an older connection that the gateway still holds for alive */
    uint32_t number;
    uint16_t may;              /* bit per filter that it ever uses */
    bool v5, persistent;       /* its sessions outlive connections */
    bool greeted, lasting;     /* of this connection: the session outlives it */
    bool clean, confirmed;     /* of this connection: as in struct device */
    bool forgotten;            /* it has forgotten a session, and CONNACK has not said that the gateway did */
    bool resumed;              /* this connection found its session */
    bool session_stored;
    bool slow, lazy;           /* does not read; does not answer */
    uint32_t expiry_s;
    uint64_t sure_until;       /* wall ms: until then its session must be there while it is away */
    uint16_t receive_maximum;
    uint32_t unanswered;       /* on this connection */
    uint32_t connection;
    uint64_t came, owed, resent;
    uint32_t pings;            /* unanswered */
    uint32_t retained[SIM_TOPICS]; /* the probe's: what came as retained */
    uint16_t next_packet_id;
    struct subscription_of subs[SIM_FILTERS];
    struct asked asked[SIM_ASKED];
    struct slot slots[SIM_SLOTS];
    struct last_of { uint32_t connection; uint64_t offered; } last[SIM_PUBLISHERS][SIM_TOPICS][3]; /* law of order */
    struct sl_buf rx;
};

extern const char *const subscriber_filters[SIM_FILTERS];

/* ---- subscribers.c ---- */
void subscribers_make(struct world *w);
void subscriber_step(struct subscriber *s);
/* Calm: it is there, reads and answers everything. */
void subscriber_finish(struct subscriber *s);
/* All its connections are gone with the gateway. */
void subscriber_gone(struct subscriber *s);
void subscriber_lost(struct subscriber *s);
void subscriber_send(struct subscriber *s, struct sl_buf *out); /* takes the buffer */
void subscriber_must(const struct subscriber *s, int err);
/* Its session is known to be no more: nothing of it counts. */
void subscriber_forget(struct subscriber *s);
void subscribers_free(struct world *w);
/* At the end somebody new subscribes to everything. */
void subscribers_probe(struct world *w);
void subscribers_probe_all(struct world *w);

/* ---- subscriber_reads.c ---- */
void subscriber_read(struct peer *peer, struct hub_client *c);
void subscriber_answer(struct subscriber *s, uint32_t n);

/* ---- laws_of_subscribers.c ---- */
bool filter_takes(uint32_t filter, uint8_t topic);
/* While this says so, what is published for it must be kept or delivered. */
bool subscriber_is_sure(const struct subscriber *s);
/* A first PUBLISH of this is sent now: who must get it? */
void laws_expect(struct world *w, uint32_t uid);
/* A subscription is about to change: what is not acknowledged may miss it. */
void laws_on_change(struct world *w, const struct subscriber *s, uint32_t filter);
/* All that it waits for is no more. */
void laws_on_session_end(struct world *w, const struct subscriber *s);
struct came {
    uint32_t uid; /* SIM_NO_UID: the payload is empty */
    uint8_t topic, qos;
    bool fed;     /* retained, for a new subscription */
    uint32_t group; /* SIM_GROUPS: an ordinary subscription's */
};
/* The application of this subscriber has got a message; not for a repetition that it can tell. */
void laws_on_arrival(struct world *w, struct subscriber *s, const struct came *c);
void law_waits_or_came(const struct world *w, uint32_t uid);
/* Deliveries that this hub has dropped at limits. */
uint64_t laws_dropped(const struct world *w);
void laws_of_subscribers_after_step(struct world *w);
/* When all is flushed: the last of each topic is on the disk. */
void laws_of_retained(const struct world *w);
/* What the disk has for this topic; SIM_NO_UID: nothing. */
uint32_t laws_retained(const struct world *w, uint8_t topic);
/* The probe got exactly what the disk has. */
void laws_of_probe(const struct subscriber *s);
void laws_of_subscribers_at_end(struct world *w);
/* The subscriber whose session that is on the disk; SIM_SUBSCRIBERS: nobody's. */
uint32_t subscriber_of_session(const struct world *w, uint64_t session);

#endif
