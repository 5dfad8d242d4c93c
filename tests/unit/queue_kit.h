/* A queue on virtual time, for the tests of its rules: each step is followed by
 * queue_check. */
#ifndef TESTS_QUEUE_KIT_H
#define TESTS_QUEUE_KIT_H

#include "claims.h"

#include "core/alloc.h"
#include "queue/queue.h"

#define KIT_WALL_MS UINT64_C(1000000000000)

struct kit {
    struct queue *q;
    struct sl_now now;
    uint64_t last_id;
    struct queue_change change; /* the latest */
    struct queue_delivery got;  /* the latest */
    uint32_t entries[256];      /* by id, of the first ids */
};

static inline struct queue_config kit_config(void)
{
    return (struct queue_config){
        .name = "q",
        .number = 1,
        .durable = true,
        .max_messages = 1000,
        .max_bytes = 1000000,
        .max_attempts = 5,
        .retry_initial_ms = 1000,
        .retry_factor = 2,
        .retry_max_ms = 60000,
        .dead_max_messages = 100,
    };
}

static inline struct kit kit_with(const struct queue_config *cfg)
{
    struct kit k = {.q = queue_new(cfg, 1)};
    k.now = (struct sl_now){5000000, 5000, KIT_WALL_MS, KIT_WALL_MS};
    return k;
}

static inline struct kit kit_new(void)
{
    struct queue_config cfg = kit_config();
    return kit_with(&cfg);
}

static inline void kit_end(struct kit *k)
{
    queue_check(k->q);
    queue_free(k->q);
}

static inline void kit_pass_us(struct kit *k, uint64_t us)
{
    k->now.mono_us += us;
    uint64_t ms = k->now.mono_us / 1000 - k->now.mono_ms;
    k->now.mono_ms += ms;
    k->now.wall_ms += ms;
    k->now.steady_ms += ms;
}

static inline void kit_pass_ms(struct kit *k, uint64_t ms)
{
    kit_pass_us(k, ms * 1000);
}

/* ---- messages ---- */

static inline struct message_parts kit_parts(struct kit *k)
{
    return (struct message_parts){
        .id = ++k->last_id,
        .protocol = MESSAGE_MQTT5,
        .qos = 1,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .accepted_at = k->now.wall_ms,
        .topic = sl_str("a/b"),
        .payload = sl_str("x"),
    };
}

static inline uint32_t kit_enter(struct kit *k, const struct message_parts *parts, uint32_t flags)
{
    struct message *m = message_new(parts);
    uint32_t entry = queue_enqueue(k->q, m, flags, &k->now);
    message_unref(m);
    if (parts->id < SL_COUNT(k->entries))
        k->entries[parts->id] = entry;
    queue_check(k->q);
    return entry;
}

/* Returns the id; ids count from 1. */
static inline uint64_t kit_put(struct kit *k)
{
    struct message_parts parts = kit_parts(k);
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

static inline uint64_t kit_put_priority(struct kit *k, uint8_t priority)
{
    struct message_parts parts = kit_parts(k);
    parts.priority = priority;
    (void)kit_enter(k, &parts, 0);
    return parts.id;
}

static inline uint64_t kit_message_bytes(void)
{
    return sizeof(struct message) + MESSAGE_RECORD_FIXED + strlen("a/b") + strlen("x");
}

/* ---- consumers ---- */

static inline uint32_t kit_consumer(struct kit *k, uint32_t prefetch, uint32_t concurrency)
{
    struct queue_consumer_config cfg = {.prefetch = prefetch, .concurrency = concurrency};
    uint32_t slot = queue_consumer_add(k->q, &cfg);
    queue_check(k->q);
    return slot;
}

static inline uint32_t kit_limited_consumer(struct kit *k, uint32_t concurrency, uint64_t limit_ms)
{
    struct queue_consumer_config cfg = {
        .prefetch = 64, .concurrency = concurrency, .time_limit_ms = limit_ms, .arg = k};
    return queue_consumer_add(k->q, &cfg);
}

/* ---- steps ---- */

static inline void kit_release_gone(struct kit *k)
{
    if (k->change.fate == QUEUE_GONE && k->change.msg != NULL)
        message_unref(k->change.msg);
}

static inline enum queue_step kit_step(struct kit *k)
{
    enum queue_step step = queue_dispatch(k->q, &k->now, &k->got, &k->change);
    if (step == QUEUE_DROP)
        kit_release_gone(k);
    queue_check(k->q);
    return step;
}

/* The next one must be delivered: its id. */
static inline uint64_t kit_next(struct kit *k)
{
    assert_int_equal(kit_step(k), QUEUE_DELIVER);
    return message_id(k->got.msg);
}

static inline void kit_idle(struct kit *k)
{
    assert_int_equal(kit_step(k), QUEUE_IDLE);
}

static inline int kit_answer_with(struct kit *k, uint64_t lease, const struct queue_answer *a)
{
    int err = queue_answer(k->q, lease, a, &k->now, &k->change);
    if (err == SL_OK)
        kit_release_gone(k);
    queue_check(k->q);
    return err;
}

static inline void kit_answer(struct kit *k, uint64_t lease, enum queue_verb verb)
{
    assert_int_equal(kit_answer_with(k, lease, &(struct queue_answer){.verb = verb}), SL_OK);
}

static inline bool kit_tick(struct kit *k)
{
    bool any = queue_tick(k->q, &k->now, &k->change);
    if (any)
        kit_release_gone(k);
    queue_check(k->q);
    return any;
}

static inline void kit_tick_all(struct kit *k)
{
    while (kit_tick(k))
        continue;
}

/* Loses a consumer; how many of its deliveries were settled. The last change is
 * that of its youngest delivery. */
static inline uint32_t kit_lose(struct kit *k, uint32_t consumer, const struct queue_loss *loss)
{
    uint32_t n = 0;
    while (queue_consumer_lose(k->q, consumer, loss, &k->now, &k->change)) {
        n++;
        queue_check(k->q);
    }
    queue_check(k->q);
    return n;
}

static inline uint64_t kit_count(const struct kit *k, enum queue_state state)
{
    struct queue_depth d;
    queue_depth(k->q, &d);
    return d.count[state];
}

/* The n-th attempt of the only message fails: then it is ready again. */
static inline void kit_fail_attempts(struct kit *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        (void)kit_next(k);
        (void)kit_answer_with(k, k->got.lease,
                              &(struct queue_answer){.verb = QUEUE_RETRY, .has_delay = true});
        kit_tick_all(k);
    }
}

/* ---- measured consumers ---- */

#define KIT_FOUR_ROUNDS_US 25000u /* who takes so long holds four times its concurrency */

/* Gives a consumer its first answer, after so long: before it, nothing waits in a
 * consumer. Nothing may be ready. Those filled before it are answered, too, after
 * the same time. The ids of the test go on as if this had not been. */
static inline void kit_measure(struct kit *k, uint32_t consumer, uint64_t service_us)
{
    uint64_t leases[16], last_id = k->last_id;
    uint32_t n = 0;
    do {
        assert_true(n < SL_COUNT(leases));
        uint64_t id = kit_put(k);
        assert_int_equal(kit_next(k), id);
        leases[n++] = k->got.lease;
    } while (k->got.consumer != consumer);
    kit_pass_us(k, service_us);
    for (uint32_t i = 0; i < n; i++)
        kit_answer(k, leases[i], QUEUE_ACK);
    k->last_id = last_id;
}

static inline uint32_t kit_measured_consumer(struct kit *k, uint32_t concurrency)
{
    uint32_t slot = kit_consumer(k, 64, concurrency);
    kit_measure(k, slot, KIT_FOUR_ROUNDS_US);
    return slot;
}

static inline uint32_t kit_measured_limited_consumer(struct kit *k, uint32_t concurrency,
                                                     uint64_t limit_ms)
{
    uint32_t slot = kit_limited_consumer(k, concurrency, limit_ms);
    kit_measure(k, slot, KIT_FOUR_ROUNDS_US);
    return slot;
}

#endif
