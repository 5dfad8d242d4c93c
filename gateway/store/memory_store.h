/* The memory engine's maps, shared between its files only. */
#ifndef STORE_MEMORY_STORE_H
#define STORE_MEMORY_STORE_H

#include "core/map.h"
#include "engine.h"
#include "store/entry.h"

/* A value as the disk would hold it. */
struct mem_value {
    uint32_t n;
    uint8_t *bytes; /* NULL: none */
};
void mem_value_set(struct mem_value *v, const uint8_t *bytes, size_t n);
void mem_value_unset(struct mem_value *v);
static inline struct sl_bytes mem_view(const struct mem_value *v)
{
    return sl_bytes_of(v->bytes, v->n);
}

struct mem_entry {
    uint32_t queue;
    struct mem_value value;
};

struct mem_copy {
    uint64_t session;
    struct mem_value value;
};

/* Everything under one message id. */
struct mem_message {
    uint64_t id;
    struct message *msg; /* a reference; from its BATCH_BODY or its first BATCH_ENTRY */
    bool has_body;       /* BATCH_BODY came: it stays until BATCH_BODY_DROP */
    struct mem_entry *entries;
    uint32_t n, cap;
    struct mem_copy *copies;
    uint32_t n_copies, cap_copies;
};

struct mem_subscription {
    uint32_t number;
    struct mem_value value;
};

struct mem_session {
    uint64_t number;
    struct mem_value record; /* none: it is not there, only what would belong to it */
    struct mem_value will;
    uint16_t *packet_ids;
    uint32_t n, cap;
    struct mem_subscription *subscriptions;
    uint32_t n_subscriptions, cap_subscriptions;
};

/* What makes duplicates of one message in one queue. */
struct mem_dedup {
    struct mem_dedup *next; /* of the same message, in another queue */
    uint64_t id, seen_ms;
    uint32_t queue;
    uint8_t key[BATCH_DEDUP_KEY];
};

/* A queue's own record; a schedule's, whose number means nothing. */
struct mem_record {
    uint32_t number;
    struct mem_value value;
};
struct mem_records {
    struct mem_record *all;
    uint32_t n, cap;
};

struct mem_store {
    struct sl_idmap messages, sessions;
    struct sl_idmap retained; /* id → struct message, a reference each */
    struct sl_idmap dedup;    /* id → struct mem_dedup, a list each */
    struct mem_records queue_records, schedules;
    char **queues;            /* number - 1 is the place */
    uint32_t n_queues;
    uint64_t entries, dedup_keys, bytes, missing_updates, missing_settles;
    uint8_t value[STORE_ENTRY_MAX];
};

/* memory_queues.c: what queues and schedules keep beside messages. */
void mem_apply_queue(struct mem_store *s, const struct batch_op *op);
void mem_apply_dedup(struct mem_store *s, const struct batch_op *op);
void mem_apply_dedup_drop(struct mem_store *s, const struct batch_op *op);
void mem_apply_schedule(struct mem_store *s, const struct batch_op *op);
void mem_apply_schedule_drop(struct mem_store *s, const struct batch_op *op);
/* In the order that the disk would have. */
SL_CHECK int mem_load_queue_records(struct mem_store *s, const struct store_loader *l);
SL_CHECK int mem_load_schedules(struct mem_store *s, const struct store_loader *l);
SL_CHECK int mem_load_dedup(struct mem_store *s, const struct store_loader *l);
void mem_queues_free(struct mem_store *s);

/* memory_load.c */
SL_CHECK int memory_load(struct store *st, const struct store_loader *l, struct sl_buf *why);

#endif
