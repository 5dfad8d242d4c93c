/* A hub between real protocol sessions, a fake store that finishes a batch
 * only when it is told to, and workers that keep what they are given. */
#ifndef TEST_HUB_KIT_H
#define TEST_HUB_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/map.h"
#include "hub/hub.h"
#include "mqtt/packet.h"

#define KIT_CLIENTS 8u
#define KIT_HELD    32u
#define KIT_FETCHES 8u /* at once */

struct kit_client {
    struct kit *k;
    struct hub_client *c; /* NULL: closed */
    bool v5, stomp;
    bool unread;          /* it does not read: its output stays where it is */
    struct sl_buf rx;
    char log[16384];
};

struct kit_worker {
    struct kit *k;
    uint64_t consumer;
    uint32_t n;
    struct kit_held {
        uint64_t lease, id;
        char payload[64];
        struct message *msg; /* a reference of the test's own */
        uint32_t attempt;
    } held[KIT_HELD];
};

struct kit {
    struct hub *h;
    struct hub_listener mqtt, stomp;
    struct sl_clock clock;
    struct sl_now now;
    uint64_t mono_us, wall_ms, boot;
    struct batch *pending;       /* with the store; NULL: none */
    struct batch_fetch *fetch;   /* the latest that is under way; NULL: none */
    struct batch_fetch *fetches[KIT_FETCHES]; /* all, the oldest first */
    uint32_t n_fetches;
    struct sl_idmap bodies;      /* what has been committed */
    uint64_t memory_bytes, commit_delay_us;
    int (*apply)(void *arg, struct batch *b); /* where what is committed goes as well; NULL: nowhere */
    void *apply_arg;
    bool here;                   /* small batches are synced on the loop, with `here_err` */
    int here_err;
    uint32_t max_connections;    /* 0: 100 */
    uint64_t sys_interval_ms;    /* 0: no $SYS */
    uint32_t trace_events;       /* 0: none */
    int (*history)(void *arg, uint32_t queue_number, uint64_t id, struct sl_buf *failures); /* of the store; NULL: it tells nothing */
    uint32_t jobs_max;           /* 0: none; known for a minute after their end */
    struct hub_subscriber_limits subscribers; /* zero: the usual */
    uint64_t retained_messages, retained_bytes;
    enum hub_sharing sharing;
    struct kit_client clients[KIT_CLIENTS];
    struct kit_worker workers[2];
    char records[1024];
};

/* A durable queue with room for many, that blocks. */
struct queue_config kit_queue(const char *name, uint32_t number);
/* So many messages wait for a session at most, and three are in flight. */
struct hub_subscriber_limits kit_few(uint32_t queue_messages);
/* All zero before; a hub without queues. */
void kit_open(struct kit *k);
void kit_close(struct kit *k);
/* Ends the turn: what is dirty is read, closing connections are closed; begins the next. */
void kit_turn(struct kit *k);
void kit_pass(struct kit *k, uint64_t ms);
/* The batch under way comes back with `err`; a turn. Fails when there is none. */
void kit_commit(struct kit *k, int err);
/* Commits whatever there is, until nothing is under way. */
void kit_settle(struct kit *k);
/* The oldest fetch that is under way, for hub_fetched; NULL: none. */
struct batch_fetch *kit_fetched(struct kit *k);
/* The records of the batch under way: "BODY ENTRY(1) QOS2_ADD(7) ". */
const char *kit_records(struct kit *k);

struct kit_client *kit_mqtt(struct kit *k, bool v5, const char *id, uint32_t expiry_s);
struct kit_client *kit_connect(struct kit *k, const struct mqtt_connect *p);
struct kit_client *kit_stomp(struct kit *k);
/* MQTT 5, expiry 0, and what it was told so far is read. */
struct kit_client *kit_publisher(struct kit *k);
/* MQTT 5 with a subscription that is stored, and what it was told so far is read. */
struct kit_client *kit_listener(struct kit *k, const char *id, uint32_t expiry_s, const char *filter, uint8_t qos);
void kit_feed(struct kit_client *c, const void *p, size_t n);
/* One frame with its NUL. */
void kit_frame(struct kit_client *c, const char *frame);
void kit_publish(struct kit_client *c, uint8_t qos, uint16_t id, const char *topic);
void kit_publish_full(struct kit_client *c, const struct mqtt_publish *p);
void kit_pubrel(struct kit_client *c, uint16_t id);
/* SUBSCRIBE with packet id 99. */
void kit_subscribe(struct kit_client *c, const char *filter, uint8_t qos);
void kit_subscribe_full(struct kit_client *c, const struct mqtt_filter *f, size_t n, uint32_t subscription_id);
void kit_unsubscribe(struct kit_client *c, const char *filter);
/* PUBACK, PUBREC, PUBCOMP as a subscriber sends them. */
void kit_settle_as(struct kit_client *c, enum mqtt_type type, uint16_t id, uint8_t reason);
void kit_acked(struct kit_client *c, uint16_t id);
void kit_ping(struct kit_client *c);
void kit_lose(struct kit_client *c);
/* What came since it was asked last: "PUBACK 1 0x00\n" …; STOMP as text; "closed\n". A PUBLISH is
 * "PUBLISH q1 id=1 t/1 p1 dup retain expiry=9 subs=1,2\n" with what of that it has. */
const char *kit_log(struct kit_client *c);

/* Its name for operators is "worker". */
struct kit_worker *kit_worker(struct kit *k, uint32_t n, uint32_t queue);
void kit_ack(struct kit_worker *w, uint32_t i);
/* The same with what comes of it; its lease is filled in. */
void kit_answer(struct kit_worker *w, uint32_t i, struct hub_answer *a);
void kit_worker_end(struct kit_worker *w);

#endif
