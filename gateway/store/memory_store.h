/* The memory engine's maps, shared between its two files only. */
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

struct mem_store {
    struct sl_idmap messages, sessions;
    struct sl_idmap retained; /* id → struct message, a reference each */
    char **queues;            /* number - 1 is the place */
    uint32_t n_queues;
    uint64_t entries, bytes, missing_updates, missing_settles;
    uint8_t value[STORE_ENTRY_MAX];
};

/* memory_load.c */
SL_CHECK int memory_load(struct store *st, const struct store_loader *l, struct sl_buf *why);

#endif
