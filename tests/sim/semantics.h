/* What queues do beyond passing messages on: order by key, windows of duplicates,
 * schedules, dead letters that go on, and what operators do. In half of the worlds;
 * the others stay what they are. */
#ifndef SIM_SEMANTICS_H
#define SIM_SEMANTICS_H

#include "core/map.h"
#include "core/rng.h"
#include "hub/hub.h"
#include "schedule/schedule.h"

#define SIM_QUEUES    4u
#define SIM_SCHEDULES 3u

struct world;
struct uid;
struct holder;
struct delivery;
struct charge;
struct consumer;

/* The latest delivery of one key at this boot. */
struct line_seen {
    uint64_t id, step;
    const struct consumer *by; /* NULL: a worker */
};

/* A purge that was begun: nothing of what was there then may stay. */
struct purge_seen {
    bool on;
    uint64_t last_id; /* on the disk when it began */
    uint32_t states;
};

struct firing;
struct entered;

/* A schedule; what the disk knows of it is `known`, up to done_ms. */
struct planned {
    bool on, known;
    char name[8], topic[16];
    uint32_t queue;
    struct schedule when;
    uint64_t done_ms;
};

struct semantics {
    bool on;
    struct sl_idmap lines;     /* key * SIM_QUEUES + queue → struct line_seen */
    bool operators;
    bool paused[SIM_QUEUES];
    struct purge_seen purges[SIM_QUEUES];
    uint64_t purged_wall[SIM_QUEUES]; /* when the latest one began */
    bool jobs;
    bool moves;
    uint8_t forward[SIM_QUEUES]; /* where its dead letters go when they die: 1 + queue */
    uint8_t onward[SIM_QUEUES];  /* bit per queue: they may have gone there, or been redriven */
    uint64_t work;               /* the latest handle */
    uint32_t moved[256], n_moved; /* of the batch that is being applied */
    struct planned planned[SIM_SCHEDULES];
    struct firing *firings;      /* that were seen */
    uint32_t n_firings, cap_firings;
    bool duplicates;
    struct entered *entered;     /* that were seen in a queue and have a key */
    uint32_t n_entered, cap_entered;
    uint64_t lost, excuses;      /* firings that did not come; missed and dropped ones, as hubs that are gone have counted */
};

/* lines.c: order_by */
void lines_make(struct world *w, struct sl_rng *dice);
void lines_boot(struct world *w);     /* the hub has restored what there is */
void lines_free(struct world *w);
/* What it is ordered by there; 0: nothing. */
uint32_t line_of(const struct world *w, uint32_t queue, const struct uid *u);
/* One failure of it is its death. */
bool lines_kill(const struct world *w, uint32_t queue, const struct uid *u);
void lines_on_delivery(struct world *w, const struct holder *h, const struct delivery *d);

/* operators.c: pause, purge, cancel, look */
void operators_make(struct world *w, struct sl_rng *dice);
void operators_boot(struct world *w);
void operators_step(struct world *w);
void operators_calm(struct world *w); /* all goes on */
void operators_on_delivery(const struct world *w, uint32_t queue, const struct delivery *d);
void operators_when_flushed(struct world *w);

/* moves.c: dead letters that go on */
void moves_make(struct world *w, struct sl_rng *dice);
void moves_boot(struct world *w);
void moves_step(struct world *w);
void moves_calm(struct world *w);
/* Whether it may be in that queue because it went on from another, or from the same. */
bool moves_lead_to(const struct world *w, const struct uid *u, uint32_t q);
bool moves_keep(const struct world *w, const struct uid *u, uint32_t from);
uint64_t moves_over_limit(const struct world *w, uint32_t queue);
uint64_t moves_moved(const struct world *w); /* at this boot */
void moves_seen(struct world *w, const struct message *m, uint32_t uid);
void moves_after_batch(struct world *w);
void moves_at_end(const struct world *w);

/* firings.c: schedules */
void firings_make(struct world *w, struct sl_rng *dice);
void firings_set(struct world *w);
uint32_t firings_uid(struct world *w, struct sl_bytes name, struct sl_bytes when);
uint32_t firings_uid_of(struct world *w, const struct message *m);
void firings_done(struct world *w, const struct batch_note *note);
void firings_hub_ends(struct world *w);
void firings_free(struct world *w);

/* duplicates.c: windows */
void duplicates_make(struct world *w, struct sl_rng *dice);
/* It has a key there. */
bool duplicates_know(const struct world *w, uint32_t queue, const struct uid *u);
/* A newer one may take its place there, or it that of an older one. */
bool duplicates_replace(const struct world *w, uint32_t queue, const struct uid *u);
/* It has entered that queue. */
void duplicates_seen(struct world *w, uint32_t queue, uint64_t id, uint32_t uid, bool stored);
void duplicates_on_delivery(struct world *w, uint32_t queue, const struct delivery *d);
bool duplicates_keep(const struct world *w, const struct uid *u, uint32_t queue);
void duplicates_free(struct world *w);

/* overload.c */
void overload_probe(struct world *w);
void overload_after_step(const struct world *w);

/* semantics.c: all of it */
void semantics_make(struct world *w);
void semantics_before_restore(struct world *w);
void semantics_boot(struct world *w);
void semantics_step(struct world *w);
void semantics_calm(struct world *w);
void semantics_free(struct world *w);

/* disk_queues.c: records of queues themselves */
struct disk_queues {
    struct batch_note *queues[SIM_QUEUES];       /* NULL: none */
    struct batch_note *schedules[SIM_SCHEDULES]; /* the same */
    struct sl_idmap keys;                        /* id * SIM_QUEUES + queue → struct batch_op: BATCH_DEDUP */
};
void disk_queues_apply(struct world *w, const struct batch_op *op);
void disk_queues_restore_first(struct world *w); /* before the entries */
void disk_queues_restore_keys(struct world *w);  /* after them */
void disk_queues_free(struct world *w);
/* As the disk has it. */
bool disk_paused(const struct world *w, uint32_t queue);

#endif
