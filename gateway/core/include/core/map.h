/* Two hash tables with open addressing: from our own 64-bit ids, and from byte
 * strings that a peer chose. Values are pointers, never NULL. */
#ifndef CORE_MAP_H
#define CORE_MAP_H

#include "core/bytes.h"
#include "core/hash.h"

struct sl_idmap_slot {
    uint64_t key;
    void *value;
};

/* Embedded; all zero is an empty map. */
struct sl_idmap {
    struct sl_idmap_slot *slots;
    size_t cap, used;
};

void sl_idmap_fini(struct sl_idmap *m);
/* The slot of the key, or the empty one where it belongs. Of a map with slots only. */
static inline struct sl_idmap_slot *sl_idmap_find(const struct sl_idmap *m, uint64_t key)
{
    size_t mask = m->cap - 1;
    size_t i = (size_t)sl_hash_u64(key) & mask;
    while (m->slots[i].value != NULL && m->slots[i].key != key)
        i = (i + 1) & mask;
    return &m->slots[i];
}

static inline void *sl_idmap_get(const struct sl_idmap *m, uint64_t key)
{
    return m->used == 0 ? NULL : sl_idmap_find(m, key)->value;
}

/* Inserts or replaces. */
void sl_idmap_put(struct sl_idmap *m, uint64_t key, void *value);
/* Returns what was there or NULL. */
void *sl_idmap_del(struct sl_idmap *m, uint64_t key);
/* Iterates: *pos starts at 0; NULL at the end. No change while iterating. */
void *sl_idmap_next(const struct sl_idmap *m, size_t *pos);

struct sl_strmap_slot {
    struct sl_bytes key; /* borrowed: it must live inside the value */
    uint64_t hash;
    void *value;
};

struct sl_strmap {
    struct sl_strmap_slot *slots;
    size_t cap, used;
};

void sl_strmap_fini(struct sl_strmap *m);
void *sl_strmap_get(const struct sl_strmap *m, struct sl_bytes key);
/* Borrows `key` for as long as the entry lives. The key must not be present. */
void sl_strmap_put(struct sl_strmap *m, struct sl_bytes key, void *value);
void *sl_strmap_del(struct sl_strmap *m, struct sl_bytes key);
void *sl_strmap_next(const struct sl_strmap *m, size_t *pos);

#endif
