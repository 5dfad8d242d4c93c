/* Two queues that operators do something with. */
#ifndef TESTS_OPERATE_KIT_H
#define TESTS_OPERATE_KIT_H

#include "hub/operate.h"
#include "stomp_clients.h"

enum { JOBS, OTHER }; /* the hub's indexes */

#define MANY 3000u /* more than leave in one turn */

static inline void open_queues(struct kit *k, uint64_t max_messages)
{
    k->jobs_max = k->jobs_max == 0 ? 10 : k->jobs_max;
    kit_open(k);
    struct queue_config jobs = kit_queue("jobs", 1), other = kit_queue("other", 2);
    jobs.max_messages = max_messages;
    jobs.max_bytes = 64u << 20;
    (void)hub_add_queue(k->h, &jobs);
    (void)hub_add_queue(k->h, &other);
    assert_int_equal(hub_add_route(k->h, "t", JOBS), SL_OK);
    assert_int_equal(hub_add_route(k->h, "both", JOBS), SL_OK);
    assert_int_equal(hub_add_route(k->h, "both", OTHER), SL_OK);
}

static inline uint64_t count(const struct kit *k, uint32_t queue, enum queue_state state)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, queue), &d);
    return d.count[state];
}

static inline uint64_t first_id(const struct kit *k, uint32_t queue, enum queue_state state)
{
    struct queue_peeked p;
    assert_int_equal(queue_peek(hub_queue(k->h, queue), state, &p, 1), 1);
    return p.id;
}

static inline void fill(struct kit *k, const char *topic, uint32_t n)
{
    struct message_parts parts = { .protocol = MESSAGE_WORKER, .priority = 4, .topic = sl_str(topic), .payload = sl_str("x") };
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(hub_publish(k->h, &parts), SL_OK);
    kit_settle(k);
}

#define READY   QUEUE_STATE_BIT(QUEUE_READY)
#define DELAYED QUEUE_STATE_BIT(QUEUE_DELAYED)
#define DEAD    QUEUE_STATE_BIT(QUEUE_DEAD)

struct told {
    struct hub_cancelled c;
    uint64_t id;
    uint32_t times;
};

static inline void on_cancelled(void *arg, uint64_t id, const struct hub_cancelled *c)
{
    struct told *t = arg;
    t->c = *c;
    t->id = id;
    t->times++;
}

#endif
