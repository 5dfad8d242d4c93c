/* Two queues, and dead letters in the first of them. */
#ifndef TESTS_DEAD_KIT_H
#define TESTS_DEAD_KIT_H

#include "test_hub_kit.h"

enum { JOBS, DLQ }; /* the hub's indexes; in the store they are 1 and 2 */

static struct queue_config g_jobs, g_dlq; /* as the next open has them */

static inline void usual(void)
{
    g_jobs = kit_queue("jobs", 1);
    g_dlq = kit_queue("dlq", 2);
    g_jobs.max_attempts = 1;
}

static inline void open_with(struct kit *k, bool forward)
{
    kit_open(k);
    (void)hub_add_queue(k->h, &g_jobs);
    (void)hub_add_queue(k->h, &g_dlq);
    assert_int_equal(hub_add_route(k->h, "jobs/#", JOBS), SL_OK);
    if (forward)
        hub_forward_dead(k->h, JOBS, DLQ);
}

static inline void open_usual(struct kit *k, bool forward)
{
    usual();
    open_with(k, forward);
}

static inline uint64_t depth(const struct kit *k, uint32_t queue, enum queue_state state)
{
    struct queue_depth d;
    queue_depth(hub_queue(k->h, queue), &d);
    return d.count[state];
}

static inline struct queue_counters *counters(const struct kit *k, uint32_t queue)
{
    return queue_counters(hub_queue(k->h, queue));
}

static inline void kill(struct kit_worker *w, const char *reason)
{
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_KILL }, .reason = sl_str(reason) });
}

static inline void fail_once(struct kit_worker *w, const char *reason)
{
    kit_answer(w, 0, &(struct hub_answer){ .verb = { .verb = QUEUE_RETRY }, .reason = sl_str(reason) });
}

static inline void kill_later(struct kit *k, struct kit_worker *w)
{
    kit_pass(k, 1);
    kill(w, "no");
}

/* So many dead letters in jobs, of topics jobs/1 and on, stored; nobody works any more. */
static inline void die(struct kit *k, uint32_t n)
{
    struct kit_client *from = kit_publisher(k);
    char topic[16];
    for (uint32_t i = 1; i <= n; i++) {
        snprintf(topic, sizeof topic, "jobs/%u", i);
        kit_publish(from, 1, (uint16_t)i, topic);
    }
    kit_settle(k);
    struct kit_worker *w = kit_worker(k, 0, JOBS);
    for (uint32_t i = 0; i < n; i++)
        kill_later(k, w);
    kit_worker_end(w);
    kit_settle(k);
    (void)kit_log(from);
    kit_lose(from); /* nothing else is due than what is looked at */
}

static inline struct sl_bytes header_of(const struct message *m, const char *name)
{
    struct message_header h;
    size_t pos = 0;
    struct sl_bytes found = SL_BYTES_NONE;
    while (message_header_next(message_record(m), &pos, &h)) {
        if (sl_bytes_is(h.name, name)) {
            assert_int_equal(found.n, 0); /* once */
            found = h.value;
        }
    }
    return found;
}

#define assert_header(m, name, value) assert_true(sl_bytes_is(header_of(m, name), value))

static inline struct hub_dead_progress progress(const struct kit *k, uint64_t handle)
{
    struct hub_dead_progress p;
    assert_int_equal(hub_dead_progress(k->h, handle, &p), SL_OK);
    return p;
}

static inline uint64_t redrive(struct kit *k, const struct hub_dead_redrive *r)
{
    uint64_t handle;
    assert_int_equal(hub_dead_redrive(k->h, JOBS, r, &handle), SL_OK);
    return handle;
}

#endif
