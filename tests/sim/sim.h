/* The simulation: the real hub, queues and protocol sessions in one process on
 * virtual time, between fake devices, fake workers and a fake disk. One seed
 * is one run, always the same.
 *
 * Every step is one event: a device speaks, a worker answers or dies, the disk
 * finishes or fails, time passes, the whole gateway dies and starts again from
 * what the disk has. After every step the laws (laws.c) are checked. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/map.h"
#include "core/rng.h"
#include "hub/hub.h"

#define SIM_QUEUES   4u
#define SIM_DEVICES  6u
#define SIM_WORKERS  6u
#define SIM_TOPICS   6u
#define SIM_INFLIGHT 32u
#define SIM_HELD     64u

/* One thing that a device wants done, named by a number in its payload. */
struct uid {
    uint8_t topic;      /* which queues: world.topic_queues; SIM_TOPICS + q: straight to queue q */
    uint8_t qos;
    bool acked;         /* the device has the answer that promises it */
    bool exactly_once;  /* QoS 2 in a persistent session */
    uint64_t only_id[SIM_QUEUES];  /* the first id seen in that queue */
    uint32_t worked[SIM_QUEUES];   /* times a worker's ack was taken */
    uint32_t stored[SIM_QUEUES];   /* entries on the disk now */
    uint32_t left[SIM_QUEUES];     /* entries that left the disk without an ack */
};

/* What the law of attempts expects of one message in one queue. */
struct charge {
    uint32_t least, most;  /* failed attempts so far */
    bool live;             /* a worker holds it */
};

struct delivery {
    uint64_t lease, id, started_ms; /* started_ms 0: waits in the worker */
    uint32_t uid, attempt;
    bool last;
};

struct worker {
    struct world *w;
    uint64_t consumer;   /* 0: not running */
    uint32_t queue, prefetch, concurrency, limit_ms;
    uint32_t n;
    bool overdue;        /* the hub asked for its end */
    struct delivery held[SIM_HELD];
    uint64_t stale_lease; /* some lease that it answered before */
};

enum inflight_state { IN_FREE, IN_PUBLISHED, IN_RELEASED };
struct inflight {
    enum inflight_state state;
    uint32_t uid;
    uint16_t packet_id;
    uint8_t qos;
};

struct device {
    struct world *w;
    struct hub_client *client; /* NULL: not connected */
    uint32_t number;
    bool stomp, v5, persistent, greeted, closing;
    uint16_t next_packet_id;
    struct inflight in[SIM_INFLIGHT];
    struct sl_buf rx;   /* bytes from the gateway that are not a whole packet yet */
};

struct disk {
    struct sl_idmap bodies;   /* id → struct message */
    struct sl_idmap entries;  /* id * SIM_QUEUES + queue → struct disk_entry */
    struct sl_idmap sessions; /* number → struct batch_note */
    struct sl_idmap qos2;     /* session << 16 | packet id → itself */
    struct batch *pending;
    struct batch_fetch *fetches[SIM_QUEUES]; /* at most one per queue */
    bool full, broken;
    uint64_t applied, refused;
};

struct disk_entry {
    struct queue_restored r;
    uint32_t queue, uid;
};

struct world {
    uint64_t seed, boot, step;
    struct sl_rng rng;
    struct sl_clock clock;
    struct sl_now now;
    uint64_t mono_us, wall_ms;
    struct hub *hub;
    struct hub_listener mqtt, stomp;
    struct queue_config queues[SIM_QUEUES];
    uint8_t topic_queues[SIM_TOPICS]; /* bit per queue */
    struct disk disk;
    struct device devices[SIM_DEVICES];
    struct worker workers[SIM_WORKERS];
    struct uid *uids;
    uint32_t n_uids, cap_uids;
    struct sl_idmap charges;          /* id * SIM_QUEUES + queue → struct charge */
    struct sl_idmap ids_seen;         /* message ids of earlier boots: they never come again */
    uint64_t accepted_base[SIM_QUEUES]; /* restored at this boot */
    bool calm;                        /* no more faults: everything must end */
    uint64_t counts[8];               /* acked, worked, crashes, worker deaths, disk faults, deliveries, redeliveries, duplicates */
};

enum { SIM_ACKED, SIM_WORKED, SIM_CRASHES, SIM_DEATHS, SIM_DISK_FAULTS, SIM_DELIVERIES, SIM_REDELIVERIES, SIM_ANSWERS };

/* Prints seed, step and what is wrong, and ends the process with 1. */
void world_fail(const struct world *w, const char *fmt, ...) SL_PRINTF(2, 3) SL_NORETURN;
static inline bool chance(struct world *w, uint32_t percent)
{
    return sl_rng_below(&w->rng, 100) < percent;
}
static inline uint32_t pick(struct world *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

uint32_t uid_of(struct sl_bytes payload);
uint32_t uid_new(struct world *w, uint8_t topic, uint8_t qos);
uint8_t uid_queues(const struct world *w, const struct uid *u);
void turn(struct world *w); /* ends the current turn and lets devices read */

/* disk.c */
void disk_io(struct world *w, struct hub_store_io *io);
void disk_step(struct world *w);
void disk_power_cut(struct world *w); /* the batch under way is there whole, or not at all */
void disk_restore(struct world *w);
void disk_free(struct world *w);

/* devices.c */
void device_step(struct world *w, struct device *d);
void device_read(struct device *d);
void device_lost(struct device *d);   /* its connection broke */

/* workers.c */
void worker_step(struct world *w, struct worker *k);
void worker_start(struct world *w, struct worker *k);
void worker_end(struct world *w, struct worker *k, bool orderly);
void worker_finish(struct world *w, struct worker *k); /* calm: answers everything well */
struct charge *charge_of(struct world *w, uint64_t id, uint32_t queue);

/* laws.c */
void laws_after_step(struct world *w);
void laws_on_ack(struct world *w, uint32_t uid);
void laws_on_delivery(struct world *w, struct worker *k, const struct delivery *d);
void laws_at_end(struct world *w);

#endif
