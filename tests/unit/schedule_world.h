/* A hub with schedules. The store is the memory engine, which stays when the hub goes. */
#ifndef TESTS_SCHEDULE_WORLD_H
#define TESTS_SCHEDULE_WORLD_H

#include "core/times.h"
#include "store/store.h"
#include "test_hub_kit.h"

#define SECOND 1000u
#define MINUTE (60u * SECOND)
#define HOUR   (60u * MINUTE)

struct world {
    struct kit k;
    struct store *st;
    struct hub_schedule schedules[4];
    struct message_parts parts[4];
    uint32_t n;
    uint64_t max_messages;
    uint64_t start_ms;
    void (*stored)(struct world *w, const struct batch *b); /* NULL: nobody looks */
    struct sl_idmap seen;    /* the walk's: what has been stored, by schedule and time */
    uint64_t latest[4];      /* of each schedule */
};

static inline int apply(void *arg, struct batch *b)
{
    struct world *w = arg;
    int err = store_apply(w->st, b);
    if (err == SL_OK && w->stored != NULL)
        w->stored(w, b);
    return err;
}

static inline int on_queue(void *arg, uint32_t number, const char *name)
{
    (void)arg;
    (void)number;
    (void)name;
    return SL_OK;
}

static inline int on_schedule(void *arg, struct sl_bytes record)
{
    return hub_restore_schedule(((struct world *)arg)->k.h, record);
}

/* A copy: the engine's own is that which the hub before had in its hands. */
static inline void keep_body(struct world *w, uint64_t id)
{
    struct message *m = NULL, *copy;
    uint32_t entry = 0;
    struct batch_fetch f = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(w->st, &f);
    assert_non_null(m);
    assert_int_equal(message_from_record(message_record(m), &copy), SL_OK);
    message_unref(m);
    sl_idmap_put(&w->k.bodies, id, copy);
}

static inline int on_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    keep_body(arg, r->id);
    return hub_restore_entry(((struct world *)arg)->k.h, queue, r);
}

static inline void open_hub(struct world *w)
{
    struct sl_buf why = { 0 };
    struct queue_config q = kit_queue("q0", 1);
    q.max_messages = w->max_messages == 0 ? 2000 : w->max_messages;
    w->k.apply = apply;
    w->k.apply_arg = w;
    kit_open(&w->k);
    w->start_ms = w->start_ms == 0 ? w->k.wall_ms : w->start_ms;
    (void)hub_add_queue(w->k.h, &q);
    assert_int_equal(hub_add_route(w->k.h, "t/#", 0), SL_OK);
    hub_set_schedules(w->k.h, w->schedules, w->n);
    const struct store_loader l = { .arg = w, .queue = on_queue, .entry = on_entry, .schedule = on_schedule };
    assert_int_equal(store_load(w->st, &l, &why), SL_OK);
    sl_buf_fini(&why);
    kit_turn(&w->k);
}

static inline void open_world(struct world *w)
{
    struct sl_buf why = { 0 };
    assert_int_equal(store_open(&(struct store_config){ .engine = "memory", .dir = "none", .node = "n" }, &w->st, &why), SL_OK);
    uint32_t number;
    assert_int_equal(store_queue_number(w->st, "q0", &number), SL_OK);
    assert_int_equal(number, 1);
    open_hub(w);
}

/* Gone with all that it had in memory, and back after a while. */
static inline void crash(struct world *w, uint64_t away_ms)
{
    w->k.apply = NULL;
    kit_close(&w->k);
    memset(w->k.clients, 0, sizeof w->k.clients);
    memset(w->k.workers, 0, sizeof w->k.workers);
    w->k.bodies = (struct sl_idmap){ 0 };
    w->k.mono_us += away_ms * 1000;
    w->k.wall_ms += away_ms;
    open_hub(w);
}

static inline void close_world(struct world *w)
{
    kit_close(&w->k);
    store_close(w->st);
}

static inline struct hub_schedule *add(struct world *w, const char *name, const char *when, const char *topic)
{
    char why[SCHEDULE_WHY_MAX];
    struct message_parts *parts = &w->parts[w->n];
    struct hub_schedule *s = &w->schedules[w->n++];
    *parts = (struct message_parts){ .qos = 1, .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(topic), .payload = sl_str(name) };
    *s = (struct hub_schedule){ .name = name, .publish = parts };
    assert_int_equal(schedule_cron_parse(sl_str(when), &s->when.cron, why), SL_OK);
    return s;
}

static inline struct gateway_counters *counters(struct world *w)
{
    return hub_counters(w->k.h);
}

static inline struct sl_bytes header_of(const struct message *m, const char *name)
{
    return message_header_value(message_record(m), name);
}

/* Seconds from the world's start to what it was scheduled for, by its header. */
static inline uint64_t scheduled_for(const struct world *w, const struct kit_held *held)
{
    uint64_t ms;
    assert_int_equal(sl_time_parse(header_of(held->msg, "scheduled-for"), &ms), SL_OK);
    return (ms - w->start_ms) / SECOND;
}

static inline const char *all_held(const struct world *w, const struct kit_worker *worker)
{
    static char text[512];
    size_t n = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < worker->n; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s@%llu", i > 0 ? " " : "", worker->held[i].payload, (unsigned long long)scheduled_for(w, &worker->held[i]));
    return text;
}

static inline void set_clock(struct world *w, int64_t by_ms)
{
    w->k.wall_ms = (uint64_t)((int64_t)w->k.wall_ms + by_ms);
    kit_pass(&w->k, 0);
}

#endif
