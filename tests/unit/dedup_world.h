/* A hub whose queues remember what they had, and a store that outlives it. */
#ifndef TEST_DEDUP_WORLD_H
#define TEST_DEDUP_WORLD_H

#include "store/store.h"
#include "test_hub_kit.h"

/* A kit whose store is the memory engine, which stays when the hub goes. */
struct world {
    struct kit k;
    struct store *st;
    struct queue_config q[2]; /* without a name: there is none */
    bool split; /* only q0 is routed to by t/0 */
};

static inline struct queue_dedup by_dedup_id(uint64_t window_ms)
{
    return (struct queue_dedup){
        .window_ms = window_ms, .max = 1000, .n_parts = 2, .parts = { { QUEUE_DEDUP_CLIENT, NULL }, { QUEUE_DEDUP_HEADER, "dedup-id" } },
    };
}

static inline struct queue_config remembering(const char *name, uint32_t number)
{
    struct queue_config cfg = kit_queue(name, number);
    cfg.dedup = by_dedup_id(60000);
    return cfg;
}

static inline int apply(void *arg, struct batch *b)
{
    struct world *w = arg;
    return store_apply(w->st, b);
}

static inline int on_queue(void *arg, uint32_t number, const char *name)
{
    (void)arg;
    (void)number;
    (void)name;
    return SL_OK;
}

static inline int on_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    return hub_restore_entry(((struct world *)arg)->k.h, queue, r);
}

static inline int on_key(void *arg, uint32_t queue, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY])
{
    return hub_restore_dedup(((struct world *)arg)->k.h, queue, id, seen_ms, key);
}

static inline int on_session(void *arg, uint64_t number, struct sl_bytes record)
{
    return hub_restore_session(((struct world *)arg)->k.h, number, record);
}

static inline void open_hub(struct world *w)
{
    struct kit *k = &w->k;
    k->apply = apply;
    k->apply_arg = w;
    kit_open(k);
    for (uint32_t i = 0; i < 2 && w->q[i].name != NULL; i++) {
        (void)hub_add_queue(k->h, &w->q[i]);
        assert_int_equal(hub_add_route(k->h, "t/#", i), SL_OK);
    }
    assert_int_equal(store_load(w->st, &(struct store_loader){ .arg = w, .queue = on_queue, .entry = on_entry, .dedup = on_key, .session = on_session }, NULL), SL_OK);
}

static inline void start(struct world *w)
{
    struct sl_buf why = { 0 };
    assert_int_equal(store_open(&(struct store_config){ .engine = "memory", .dir = "none", .node = "n" }, &w->st, &why), SL_OK);
    sl_buf_fini(&why);
    if (w->q[0].name == NULL)
        w->q[0] = remembering("q0", 1);
    open_hub(w);
}

/* The hub is gone with all that it had in memory. */
static inline void crash(struct world *w)
{
    struct sl_idmap bodies = w->k.bodies;
    w->k.bodies = (struct sl_idmap){ 0 };
    w->k.apply = NULL;
    kit_close(&w->k);
    w->k.bodies = bodies;
    memset(w->k.clients, 0, sizeof w->k.clients);
    memset(w->k.workers, 0, sizeof w->k.workers);
    open_hub(w);
}

static inline void end(struct world *w)
{
    kit_close(&w->k);
    store_close(w->st);
}

/* ---- what is sent and seen ---- */

struct shape {
    uint8_t qos;
    uint16_t id;
    const char *dedup_id, *payload, *delay, *job_id;
    bool dup;
};

static inline void send_to(struct kit_client *c, const char *topic, struct shape s)
{
    struct message_header headers[3];
    uint32_t n = 0;
    if (s.dedup_id != NULL)
        headers[n++] = (struct message_header){ sl_str("dedup-id"), sl_str(s.dedup_id) };
    if (s.delay != NULL)
        headers[n++] = (struct message_header){ sl_str("delay"), sl_str(s.delay) };
    if (s.job_id != NULL)
        headers[n++] = (struct message_header){ sl_str("job-id"), sl_str(s.job_id) };
    struct mqtt_publish p = {
        .qos = s.qos, .packet_id = s.id, .dup = s.dup, .topic = sl_str(topic), .payload = sl_str(s.payload == NULL ? "p" : s.payload),
    };
    mqtt_props_init(&p.props);
    if (n > 0)
        mqtt_props_set_user(&p.props, headers, n);
    kit_publish_full(c, &p);
}

static inline void send(struct kit_client *c, uint16_t id, const char *dedup_id, const char *payload)
{
    send_to(c, "t/1", (struct shape){ .qos = 1, .id = id, .dedup_id = dedup_id, .payload = payload });
}

static inline const struct queue_counters *counters(struct world *w, uint32_t queue)
{
    return queue_counters(hub_queue(w->k.h, queue));
}

static inline void assert_taken(struct world *w, uint64_t accepted, uint64_t duplicates)
{
    assert_int_equal(counters(w, 0)->accepted, accepted);
    assert_int_equal(counters(w, 0)->duplicates, duplicates);
}

static inline uint64_t keys_stored(struct world *w)
{
    struct store_info info;
    assert_int_equal(store_info(w->st, &info), SL_OK);
    return info.dedup_keys;
}

#endif
