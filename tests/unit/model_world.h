/* A hub with real MQTT sessions, clients that keep to the protocol, and the
 * reference model that sees what they do and what they get. */
#ifndef TEST_MODEL_WORLD_H
#define TEST_MODEL_WORLD_H

#include "hub/hub.h"
#include "model_store.h"
#include "mqtt/packet.h"
#include "mqtt_model.h"

#define OUTGOING 6u
#define OWED     256u

/* A publish of a client's, until it is finished. */
struct outgoing {
    uint32_t msg;
    uint16_t packet_id;
    uint8_t stage;      /* MQTT_PUBLISH, MQTT_PUBREC: it came, MQTT_PUBREL: that was sent */
    uint8_t expect;     /* as of model_publish */
    bool again;         /* PUBREL may have come before */
};

/* An answer that a client has not given yet. */
struct owed {
    uint8_t type; /* MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBCOMP */
    uint16_t packet_id;
    uint32_t want;
};

struct asked {
    uint16_t packet_id;
    bool subscribe;
    uint32_t n;
    uint8_t codes[3];
};

/* One connection; an old one that was taken over has no client any more. */
struct conn {
    struct world *w;
    uint32_t client; /* NOBODY: it was taken over */
    struct hub_client *hc;
    struct sl_buf rx;
    bool v5, stalled, late /* what it reads was sent earlier */, connected, expect_present;
    uint32_t receive_maximum, unanswered;
    bool counted[65536];
    struct owed owed[OWED];
    uint32_t n_owed;
    struct asked asked[64];
    uint32_t n_asked;
    uint8_t aliases[16]; /* topic + 1 */
    struct conn *next;
};

struct client {
    struct conn *conn;  /* NULL: not connected */
    struct outgoing out[OUTGOING]; /* of its session */
    uint32_t n_out;
    uint16_t next_id;
    uint64_t takeovers_ms[4]; /* the last ones */
};

struct world {
    struct model m;
    struct sl_rng rng;
    struct hub *h;
    struct hub_config cfg;
    struct hub_listener l;
    struct model_store store;
    struct batch *pending;
    struct sl_clock clock;
    struct sl_now now;
    uint64_t mono_us, wall_ms, boot;
    struct client clients[CLIENTS];
    struct conn *conns; /* all */
    uint32_t unanswered_subscribes;
    uint64_t dropped;   /* by hubs that are gone */
};

uint32_t below(struct world *w, uint32_t n);
void world_open(struct world *w, uint64_t seed);
void world_close(struct world *w);
/* Ends the turn, reads what clients read, begins the next. */
void world_turn(struct world *w);
void world_pass(struct world *w, uint64_t ms);
/* The batch under way comes back. */
void world_commit(struct world *w);
/* Until everything is stored and read. */
void world_settle(struct world *w);
/* Now, if it is known what is stored. */
bool world_crash(struct world *w);

/* ---- what clients do ---- */

struct connect_options {
    bool v5, clean, alias;
    uint32_t expiry_s, receive_maximum;
    bool has_will, will_retain;
    uint8_t will_topic, will_qos;
    uint32_t will_delay_s;
};
void peer_connect(struct world *w, uint32_t c, const struct connect_options *o);
/* The connection breaks. */
void peer_lose(struct world *w, uint32_t c);
/* DISCONNECT: with its will; with another session expiry (NOBODY: as it was). */
void peer_disconnect(struct world *w, uint32_t c, bool with_will, uint32_t expiry_s);
void peer_publish(struct world *w, uint32_t c, const struct msg *m, uint32_t expiry_s);
void peer_subscribe(struct world *w, uint32_t c, const uint32_t *filters, const struct sub *subs, uint32_t n, uint8_t retain_handling);
void peer_unsubscribe(struct world *w, uint32_t c, uint32_t filter);
/* One of the answers that it owes; of those of one kind the oldest [MQTT-4.6.0-2, -3]. */
void peer_answer_one(struct world *w, uint32_t c, bool refuse);
/* PUBREL of its oldest publish that has come so far. */
void peer_release(struct world *w, uint32_t c);
void peer_read(struct world *w, uint32_t c);

#endif
