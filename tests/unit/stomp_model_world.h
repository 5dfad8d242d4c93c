/* A hub with real STOMP and MQTT sessions, real queues and a store, beside the
 * reference model that sees what clients do and what they get. */
#ifndef TEST_STOMP_MODEL_WORLD_H
#define TEST_STOMP_MODEL_WORLD_H

#include "hub/hub.h"
#include "model_store.h"
#include "stomp_model.h"

struct sworld;

/* One STOMP connection's bytes. */
struct link {
    struct sworld *w;
    struct sconn *k;
    struct hub_client *hc;
    struct sl_buf tx, rx;
    size_t peeked; /* of output that it does not read: what the model has seen */
    bool over;     /* it is closed, the model does not know yet */
    bool connected;
};

/* An MQTT client: one publishes, one subscribes to everything. */
struct mclient {
    struct hub_client *hc; /* NULL: not connected */
    struct sl_buf rx;
    uint16_t next_id;
    bool connected;
    struct { uint16_t packet_id; struct needs needs; } owed[64];
    uint32_t n_owed;
    uint16_t got[64];
    uint32_t n_got;
};

struct sworld {
    struct smodel m;
    struct sl_rng rng;
    struct hub *h;
    struct hub_config cfg;
    struct hub_listener stomp, mqtt;
    struct model_store store;
    struct batch *pending;
    struct batch_fetch *fetches[QUEUES];
    struct sl_clock clock;
    struct sl_now now;
    uint64_t mono_us, wall_ms, boot;
    struct link links[CONNS];
    struct mclient publisher, subscriber;
    uint32_t n_names;  /* of receipts, transactions, subscriptions: each its own */
    bool tight;        /* queues take few messages */
    bool scarce;       /* the store has no space at times */
    bool one_by_one;   /* a turn after each frame: limits are low */
    bool space;        /* the store has some */
    struct link *burst; /* its frames go together; NULL: each goes at once */
};

uint32_t draw(struct sworld *w, uint32_t n);
void sworld_open(struct sworld *w, uint64_t seed);
void sworld_close(struct sworld *w);
void sworld_turn(struct sworld *w);
void sworld_pass(struct sworld *w, uint64_t ms);
void sworld_commit(struct sworld *w);
/* Until everything is stored and answered. */
void sworld_settle(struct sworld *w);
/* The process dies; a new one starts from the store. */
void sworld_crash(struct sworld *w);

void link_open(struct sworld *w, uint32_t i, uint32_t version);
void link_flush(struct sworld *w, struct link *l);
void link_lose(struct sworld *w, struct link *l);
void link_read_on(struct sworld *w, struct link *l);
struct sconn *link_conn(struct link *l);

/* ---- MQTT beside (stomp_model_mqtt.c) ---- */
void mqtt_open(struct sworld *w, struct mclient *c, bool subscribes);
void mqtt_publish(struct sworld *w, uint32_t msg, uint32_t expiry_s);
bool mqtt_read(struct sworld *w, struct mclient *c);
void mqtt_drop(struct mclient *c);
void mqtt_pubacks(struct sworld *w);

/* ---- what clients do (stomp_model_peer.c, stomp_model_faults.c) ---- */
void act_connect(struct sworld *w);
void act_send(struct sworld *w);
void act_mqtt_publish(struct sworld *w);
void act_subscribe(struct sworld *w);
void act_unsubscribe(struct sworld *w);
void act_begin(struct sworld *w);
void act_commit(struct sworld *w);
void act_abort(struct sworld *w);
void act_answer(struct sworld *w);
void act_extend(struct sworld *w);
void act_stale(struct sworld *w);
void act_disconnect(struct sworld *w);
void act_lose(struct sworld *w);
void act_stall(struct sworld *w);
void act_fault(struct sworld *w);
/* A connection that may go on; NULL: the one that was drawn may not. */
struct link *some_link(struct sworld *w);
bool may_receipt(struct sworld *w, struct link *l, struct owed *o);
void answer_frame(struct sworld *w, struct link *l, const struct consumer *c, const struct delivery *d, const char *command);
void end_frame(struct sworld *w, struct link *l);

#endif
