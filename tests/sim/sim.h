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
#include "core/hash.h"
#include "core/map.h"
#include "core/rng.h"
#include "hub/hub.h"
#include "semantics.h"

#define SIM_DEVICES  6u
#define SIM_WORKERS  6u
#define SIM_TOPICS   8u /* to the first and the last two no route leads */
#define SIM_ROUTED   6u
#define SIM_SUBSCRIBERS 7u
#define SIM_GROUPS   2u
#define SIM_CONSUMERS  3u
#define SIM_PUBLISHERS (SIM_DEVICES + SIM_CONSUMERS) /* consumers send, too */
#define SIM_INFLIGHT 32u
#define SIM_HELD     64u
#define SIM_COUNTS   20u
#define SIM_LOOKS    64u
#define SIM_NO_UID   UINT32_MAX
#define SIM_DEAD_MANY 100000u /* a cap that no run reaches */

/* One thing that a device wants done, named by a number in its payload. */
struct uid {
    uint8_t topic;      /* which queues: world.topic_queues; SIM_TOPICS + q: straight to queue q */
    uint8_t qos;
    bool acked;         /* the device has the answer that promises it */
    bool exactly_once;  /* QoS 2 in a persistent session */
    bool cancelled;     /* a will that a goodbye took back: nobody may see it */
    uint8_t died;       /* bit per queue: it may have become a dead letter there */
    bool sent_again;    /* more than once: it may be several messages */
    bool retain, clear; /* clear: an empty payload, so that nobody knows its number */
    bool promised;      /* a will that must be published */
    uint32_t will_delay_s;
    uint8_t due;        /* bit per subscriber that must get it, when it is acknowledged */
    uint8_t due_group;  /* bit per shared subscription */
    uint8_t got, got_once; /* bit per subscriber: it came; as QoS 2 of an ordinary subscription */
    uint8_t refused;    /* bit per subscriber that did not want it */
    uint8_t group_got[SIM_GROUPS]; /* the member that got it last, from 1; 0: none yet */
    uint64_t group_boot[SIM_GROUPS]; /* when that was */
    uint8_t group_qos[SIM_GROUPS]; /* and how */
    uint8_t waits[SIM_SUBSCRIBERS]; /* copies on the disk */
    uint32_t device, connection; /* whose it is; 0: order means nothing for it */
    uint64_t offered;   /* its place in the order of all that was sent outside transactions or committed */
    uint32_t deal;      /* the transaction that it belongs to, from 1 */
    uint16_t due_consumers, got_consumers; /* bit per subscription of a STOMP consumer to a topic, like `due` and `got` */
    uint64_t sent_step, acked_step;
    uint8_t priority;   /* MESSAGE_PRIORITY_DEFAULT unless it says so */
    uint8_t line;       /* header `line`; 0: none */
    uint8_t again;      /* its dedup-id; 0: none */
    uint32_t sender;    /* whose client id it has: a device of MQTT, from 1; else a connection, after those; 0: nobody's */
    bool job;           /* it has a job-id, after its number */
    uint8_t excused;    /* bit per queue: an operator may have taken it out there */
    bool absolute_end;  /* STOMP `expires`: wall time; else MQTT 5 interval: steady time */
    uint32_t delay_ms, expiry_ms;  /* 0: none */
    uint64_t first_sent, last_sent, ends_at; /* steady ms; ends_at with absolute_end */
    uint64_t only_id[SIM_QUEUES];  /* the first id seen in that queue */
    uint32_t worked[SIM_QUEUES];   /* times a worker's ack was taken */
    uint32_t stored[SIM_QUEUES];   /* entries on the disk now */
    uint32_t left[SIM_QUEUES];     /* entries that left the disk without an ack */
};

/* What the law of attempts expects of one message in one queue. */
struct charge {
    uint64_t id;
    uint64_t given_boot, given_step; /* when somebody had it last */
    uint32_t least, most;  /* failed attempts so far */
    uint32_t sure;         /* of them, those that a receipt has confirmed: a crash does not change that */
    bool live;             /* somebody holds it */
    bool given;            /* somebody has had it */
    bool done;             /* its ACK is known to be stored */
    uint64_t acked_boot;   /* in which it was acknowledged; 0: it was not */
    uint32_t deal;         /* the last one that has answered it, from 1 */
    struct consumer *by;   /* who holds it; NULL: a worker */
    uint32_t uid, queue;   /* whose it is, when it was given */
    uint64_t suspect_boot; /* in which it was charged with the rest of its batch; 0: it was not, or has come since */
    uint64_t not_before;   /* steady ms: the end of its wait after a failed attempt */
};

struct delivery {
    uint64_t lease, id, started_ms; /* started_ms 0: waits in the worker */
    uint32_t uid, attempt;
    bool last, redelivered;
    bool alone;            /* nothing may join it */
};

/* Who is about to get one. */
struct holder {
    uint32_t queue;
    uint32_t n, credit;    /* it holds so many, of at most so many */
    bool has_last;         /* what it holds is alone: a last attempt, or what may have killed a batch */
    struct consumer *by;   /* NULL: a worker */
};

struct worker {
    struct world *w;
    uint64_t consumer;   /* 0: not running */
    uint32_t queue, prefetch, concurrency, limit_ms;
    uint32_t n;
    bool overdue;        /* the hub asked for its end */
    struct delivery held[SIM_HELD];
    uint64_t stale_lease; /* some lease that it answered before */
    uint32_t batch_max, batch_wait_ms; /* 0: no batches */
    bool more;           /* of the batch that it is getting are to follow */
    bool external;       /* it lives on when it is late */
    uint32_t n_late;     /* taken from it, which it does not know yet */
    uint64_t late[SIM_HELD];
};

/* What a queue's workers may have together; 0: any number. */
struct restraint {
    uint32_t per_second, per_topic;
    uint32_t limit;      /* the hub's handle at this boot */
    double level;        /* of a leaking bucket, at level_us */
    uint64_t level_us;
};

enum inflight_state { IN_FREE, IN_PUBLISHED, IN_RELEASED };
struct inflight {
    enum inflight_state state;
    uint32_t uid;
    uint16_t packet_id;
    uint8_t qos;
};

/* Who reads a connection: what is given to hub_client_open. */
struct peer {
    void (*read)(struct peer *peer, struct hub_client *c);
};

struct device {
    struct peer peer;
    struct world *w;
    struct hub_client *client; /* NULL: not connected */
    struct hub_client *ghost;  /* an older connection that the gateway still holds for alive */
    uint32_t number;
    bool stomp, v5, persistent, greeted;
    bool clean;                /* this connection asked for a clean start */
    bool session_stored;       /* an answer promised it since the last clean start */
    bool confirmed;            /* the same of this connection */
    uint32_t expiry_s, sure_s; /* of its session; UINT32_MAX: never. sure: what an answer has confirmed */
    uint64_t left_wall;        /* when its last connection ended */
    uint64_t left_boot;        /* in which boot; 0: in a crash */
    uint64_t sure_until;       /* until then its session must be there */
    uint32_t delayed_will;     /* of a session that is left; UINT32_MAX: none */
    uint64_t delayed_until;    /* mono ms */
    uint32_t will, ghost_will; /* the uids of the wills given at CONNECT; UINT32_MAX: none */
    uint32_t connection;       /* counts those of all devices */
    uint32_t receipts_owed;    /* STOMP */
    uint16_t next_packet_id;
    struct inflight in[SIM_INFLIGHT];
    struct sl_buf rx;   /* bytes from the gateway that are not a whole packet yet */
};

/* What subscribers need, as the batch said it: its note and message are the disk's own. */
struct disk_records {
    struct batch_op *ops;
    size_t n, cap;
};

struct disk {
    struct sl_idmap bodies;   /* id → struct message */
    struct sl_idmap entries;  /* id * SIM_QUEUES + queue → struct disk_entry */
    struct sl_idmap sessions; /* number → struct batch_note */
    struct sl_idmap qos2;     /* session << 16 | packet id → itself */
    struct disk_queues of_queues;
    struct disk_records of_subscribers; /* subscriptions, wills, copies, retained messages */
    uint64_t n_entries[SIM_QUEUES];
    struct batch *pending;
    uint64_t pending_is;
    struct batch_fetch *fetches[SIM_QUEUES]; /* at most one per queue */
    struct batch_fetch *looks[SIM_LOOKS];    /* of operators */
    bool full, broken;
    uint64_t applied, refused;
};

struct disk_entry {
    struct queue_restored r;
    uint32_t queue, uid;
};

struct consumer;
struct deal;
struct step;

struct world {
    uint64_t seed, boot, step;
    struct sl_rng rng;
    struct sl_clock clock;
    struct sl_now now;
    uint64_t mono_us, wall_ms;
    uint64_t ticked_ms; /* mono: timers that were due then have run */
    uint64_t latest_steady, latest_wall; /* the highest ever: what could have ended by time */
    struct hub *hub;
    struct hub_listener mqtt, stomp;
    struct queue_config queues[SIM_QUEUES];
    uint8_t topic_queues[SIM_TOPICS]; /* bit per queue */
    struct disk disk;
    struct device devices[SIM_DEVICES];
    struct subscriber *subscribers;   /* SIM_SUBSCRIBERS of them: subscribers.h */
    uint64_t group_changed[SIM_GROUPS]; /* the last step in which a member's session was or may have been ended */
    struct consumer *consumers;       /* SIM_CONSUMERS of them: consumers.h */
    struct deal *deals;
    uint32_t n_deals, cap_deals;
    struct step *steps;               /* acks with a publish that are not known to be stored */
    uint32_t n_steps, cap_steps;
    uint64_t offers;
    uint32_t n_connections;
    bool tracing;
    bool tight;                       /* limits are low: what is missing has to be counted */
    uint64_t dropped, retained_refused, wills_dropped; /* by hubs that are gone */
    struct worker workers[SIM_WORKERS];
    struct restraint restraints[SIM_QUEUES];
    struct semantics semantics;
    struct sl_idmap cancelled;        /* message id → the boot in which it was */
    struct uid *uids;
    uint32_t n_uids, cap_uids;
    struct sl_idmap charges;          /* id * SIM_QUEUES + queue → struct charge */
    struct sl_idmap ids;              /* message id → uid + 1: once given, never another's */
    uint64_t accepted_base[SIM_QUEUES]; /* restored at this boot */
    uint64_t base_bytes[SIM_QUEUES];
    uint64_t over[SIM_QUEUES];        /* admitted over the limit at this boot: workers' publishes (decision 30) */
    bool calm;                        /* no more faults: everything must end */
    bool draining;                    /* hub_drain was called: nothing may come in or go out */
    bool unjudged;                    /* something was acknowledged: laws_of_acks */
    bool dying;                       /* the process is being taken apart: nothing counts */
    uint64_t counts[SIM_COUNTS];
};

enum { SIM_ACKED, SIM_WORKED, SIM_CRASHES, SIM_RESTARTS, SIM_DEATHS, SIM_DISK_FAULTS, SIM_DELIVERIES, SIM_REDELIVERIES, SIM_ANSWERS, SIM_TAKEOVERS, SIM_ARRIVALS, SIM_RESENT, SIM_PASSED_ON,
       SIM_CONSUMED, SIM_CONSUMER_ACKS, SIM_CONSUMERS_LOST, SIM_ACK_TIMEOUTS, SIM_COMMITS, SIM_TOPIC_ARRIVALS, SIM_PROBES };

/* Prints seed, step and what is wrong, and ends the process with 1. */
void world_fail(const struct world *w, const char *fmt, ...) SL_PRINTF(2, 3) SL_NORETURN;
/* With --trace: what happens, for who looks for a bug. */
void world_trace(const struct world *w, const char *fmt, ...) SL_PRINTF(2, 3);
static inline bool chance(struct world *w, uint32_t percent)
{
    return sl_rng_below(&w->rng, 100) < percent;
}
static inline uint32_t pick(struct world *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

/* uids.c */
uint32_t uid_of(struct sl_bytes payload);
/* The same of a whole message. */
uint32_t uid_of_message(struct world *w, const struct message *m);
uint32_t uid_new(struct world *w, uint8_t topic, uint8_t qos);
/* Mostly one that leads to a queue. */
uint8_t uid_topic(struct world *w);
/* Now and then it is retained, or takes away what is. */
void uid_retain(struct world *w, uint32_t uid);
uint8_t uid_queues(const struct world *w, const struct uid *u);
/* Now and then a priority, a delay, an end. */
void uid_flavour(struct world *w, uint32_t uid, bool stomp);
/* It is being sent (again): its times count from now at the latest. */
void uid_sent(struct world *w, uint32_t uid);
void uid_payload(struct world *w, uint32_t uid, char *out, size_t cap);
/* The same id may not mean two things. */
void uid_names(struct world *w, uint64_t id, uint32_t uid);
uint32_t uid_of_id(const struct world *w, uint64_t id);

uint64_t world_accepted(const struct world *w); /* by all queues, at this boot */
void turn(struct world *w); /* ends the current turn and lets devices read */
void world_begin(struct world *w); /* a new turn */
/* A turn in which only the disk works, and this time passes. */
void world_idle_turn(struct world *w, uint64_t us);

/* disk.c */
void disk_io(struct world *w, struct hub_store_io *io);
void disk_step(struct world *w);
void disk_power_cut(struct world *w); /* the batch under way is there whole, or not at all */
void disk_restore(struct world *w);
void disk_free(struct world *w);
/* How many queues have an entry of this message. */
uint32_t disk_entries_of(const struct world *w, uint64_t id);
/* As the disk has it; NULL: it has not. */
const struct queue_restored *disk_entry_of(const struct world *w, uint64_t id, uint32_t queue);
/* disk_subscribers.c */
void disk_records_apply(struct world *w, const struct batch_op *op);
/* The batch is whole: nothing waits for a session that is not there. */
void disk_records_applied(struct world *w);
bool disk_has_copy(const struct world *w, uint64_t id);
void disk_records_restore(struct world *w);
void disk_records_free(struct disk_records *r);

/* steps.c */
/* A worker has acknowledged u`uid` with u`child`, which came of it. */
void steps_add(struct world *w, uint64_t id, uint32_t queue, uint32_t uid, uint32_t child);
/* A batch was applied: all of a step is in it, or nothing. */
void steps_after_batch(struct world *w);
/* The gateway is gone: what is not stored did not happen. */
void steps_after_end(struct world *w);
void steps_free(struct world *w);

/* devices.c */
void device_step(struct world *w, struct device *d);
void device_read(struct peer *peer, struct hub_client *c);
void device_lost(struct device *d);   /* its connection broke */
void device_restored(struct device *d); /* a new boot has read what there is */
void device_gone(struct device *d);   /* all its connections */
void device_sessions_written(struct world *w); /* nobody is connected, and the disk has it all */
void device_send(struct device *d, struct sl_buf *out); /* takes the buffer */

/* stomp_device.c */
struct text {
    char text[2048];
    size_t n;
};
void text_put(struct text *t, const char *fmt, ...) SL_PRINTF(2, 3);
/* Destination, and what it says about its time and rank. */
void text_put_uid(struct text *t, const struct world *w, uint32_t uid);
/* The blank line, its number, NUL. */
void text_put_payload(struct world *w, struct text *t, uint32_t uid);
void stomp_connect(struct device *d);
void stomp_step(struct device *d);
bool stomp_read(struct device *d);    /* one frame; false: none, or the device has gone */

/* workers.c */
void worker_step(struct world *w, struct worker *k);
void worker_start(struct world *w, struct worker *k);
void worker_end(struct world *w, struct worker *k, bool orderly);
void worker_finish(struct world *w, struct worker *k); /* calm: answers everything well */
struct charge *charge_of(struct world *w, uint64_t id, uint32_t queue);
/* A failed attempt: it may come again after its wait at the earliest, or it is dead. Not `sure`: it may be one. */
void charge_failed(struct world *w, uint32_t queue, const struct delivery *d, const struct queue_answer *a, bool sure);

/* restraints.c: batches, rates, keys, and workers that live on when they are late */
void restraints_make(struct world *w);
void restraints_boot(struct world *w);
/* A worker gets this one. */
void restraints_on_delivery(struct world *w, struct worker *k, struct delivery *d, bool more);
void restraints_after_step(struct world *w);
/* What the hub has taken from workers that live on is charged. */
void workers_notice(struct world *w);
/* It answers all that was taken from it. */
void worker_answer_late(struct world *w, struct worker *k);

/* laws.c */
void laws_after_step(struct world *w);
void laws_on_ack(struct world *w, uint32_t uid);
/* Judges the acknowledgements of this step, when all that went out with them is known. */
void laws_of_acks(struct world *w);
void laws_on_delivery(struct world *w, const struct holder *h, const struct delivery *d);
void laws_on_connack(struct world *w, struct device *d, bool present);
/* Wills that were published, or dropped and counted. */
uint64_t laws_wills(const struct world *w);
/* It is due now, or after its delay; a stored one survives a crash. */
void laws_on_will(struct world *w, uint32_t uid, bool stored);
/* The newer connection has sent its CONNECT. */
void laws_on_takeover(struct device *d, uint64_t wills_before);
/* Closes the connection for the hub. */
void laws_on_loss(struct world *w, struct hub_client *c, uint32_t will);
void law_accepted_is_kept(const struct world *w, uint32_t uid);
/* Its own end, or an exit that the queue's configuration allows without any work done. */
bool uid_has_ended(const struct world *w, const struct uid *u);
bool uid_may_have_left(const struct world *w, const struct uid *u, uint32_t q);
/* It failed for the last time there, or expired where that makes a dead letter. */
bool uid_may_have_died(const struct world *w, const struct uid *u, uint32_t q);

/* laws_at_rest.c */
void laws_when_flushed(struct world *w);
void laws_when_stopped(struct world *w, uint64_t accepted_before);
void laws_at_end(struct world *w);

#endif
