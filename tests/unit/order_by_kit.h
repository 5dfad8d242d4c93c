/* A queue that is ordered by its clients. */
#ifndef TESTS_ORDER_BY_KIT_H
#define TESTS_ORDER_BY_KIT_H

#include "queue_kit.h"

static inline struct queue_config ordered(enum queue_on_failure on_failure)
{
    struct queue_config cfg = kit_config();
    cfg.order = (struct queue_order){.on = true, .key = QUEUE_KEY_CLIENT, .on_failure = on_failure, .hash = {1, 2}};
    return cfg;
}

static inline struct kit kit_ordered(enum queue_on_failure on_failure)
{
    struct queue_config cfg = ordered(on_failure);
    return kit_with(&cfg);
}

static inline uint64_t put_parts(struct kit *k, const char *client, const struct message_parts *with, uint32_t flags)
{
    struct message_parts parts = *with;
    parts.client_id = sl_str(client);
    (void)kit_enter(k, &parts, flags);
    return parts.id;
}

static inline uint64_t put_of(struct kit *k, const char *client)
{
    struct message_parts parts = kit_parts(k);
    return put_parts(k, client, &parts, 0);
}

static inline uint64_t put_delayed(struct kit *k, const char *client, uint64_t ms)
{
    struct message_parts parts = kit_parts(k);
    parts.flags = MESSAGE_DELIVER_RELATIVE;
    parts.deliver_at = k->now.steady_ms + ms;
    return put_parts(k, client, &parts, 0);
}

static inline uint64_t put_priority(struct kit *k, const char *client, uint8_t priority)
{
    struct message_parts parts = kit_parts(k);
    parts.priority = priority;
    return put_parts(k, client, &parts, 0);
}

/* The next one is `id`; its lease. */
static inline uint64_t expect(struct kit *k, uint64_t id)
{
    assert_int_equal(kit_next(k), id);
    return k->got.lease;
}

static inline void expect_and_ack(struct kit *k, uint64_t id)
{
    kit_answer(k, expect(k, id), QUEUE_ACK);
}

static inline void fails(struct kit *k, uint64_t lease, uint64_t delay_ms)
{
    struct queue_answer a = {.verb = QUEUE_RETRY, .has_delay = true, .delay_ms = delay_ms};
    assert_int_equal(kit_answer_with(k, lease, &a), SL_OK);
}

static inline void pass(struct kit *k, uint64_t ms)
{
    kit_pass_ms(k, ms);
    kit_tick_all(k);
}

static const uint32_t k_restored_bytes = sizeof(struct message) + MESSAGE_RECORD_FIXED + sizeof "a" - 1 + sizeof "a/b" - 1;

static inline struct queue_restored restored_of(uint64_t id, uint64_t key)
{
    return (struct queue_restored){.id = id, .bytes = k_restored_bytes, .priority = 4, .order_key = key};
}

#endif
