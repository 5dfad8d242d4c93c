#include "core/map.h"

#include "core/alloc.h"
#include "core/hash.h"

/* Open addressing with linear probing in a power of two of slots, at most three
 * quarters full. A deletion shifts its followers back, so that there are no
 * tombstones and a table does not wear out. Tables never shrink: they reach the
 * size of their owner's limit and stay. */

#define MAP_FIRST_CAP 8u

static size_t grown_cap(size_t cap)
{
    return cap > 0 ? cap * 2 : MAP_FIRST_CAP;
}

static bool is_loaded(size_t used, size_t cap)
{
    return used >= cap - cap / 4;
}

/* Whether the entry at `at`, whose first choice is `home`, may move to the hole:
 * only when the hole is not before its first choice. */
static bool may_fill(size_t hole, size_t home, size_t at, size_t mask)
{
    return ((at - home) & mask) >= ((at - hole) & mask);
}

/* ---- by our own ids ---- */

void sl_idmap_fini(struct sl_idmap *m)
{
    sl_free(m->slots);
    *m = (struct sl_idmap){NULL, 0, 0};
}

static void idmap_grow(struct sl_idmap *m)
{
    struct sl_idmap old = *m;
    m->cap = grown_cap(old.cap);
    m->slots = sl_calloc(m->cap, sizeof *m->slots);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value != NULL)
            *sl_idmap_find(m, old.slots[i].key) = old.slots[i];
    }
    sl_free(old.slots);
}

void sl_idmap_put(struct sl_idmap *m, uint64_t key, void *value)
{
    SL_ASSERT(value != NULL);
    if (is_loaded(m->used, m->cap))
        idmap_grow(m);
    struct sl_idmap_slot *slot = sl_idmap_find(m, key);
    if (slot->value == NULL)
        m->used++;
    *slot = (struct sl_idmap_slot){key, value};
}

void *sl_idmap_del(struct sl_idmap *m, uint64_t key)
{
    if (m->used == 0)
        return NULL;
    struct sl_idmap_slot *slot = sl_idmap_find(m, key);
    void *value = slot->value;
    if (value == NULL)
        return NULL;
    size_t mask = m->cap - 1;
    size_t hole = (size_t)(slot - m->slots);
    for (size_t i = (hole + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        if (may_fill(hole, (size_t)sl_hash_u64(m->slots[i].key) & mask, i, mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    m->used--;
    return value;
}

void *sl_idmap_next(const struct sl_idmap *m, size_t *pos)
{
    while (*pos < m->cap) {
        void *value = m->slots[(*pos)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}

/* ---- by strings of a peer ---- */

void sl_strmap_fini(struct sl_strmap *m)
{
    sl_free(m->slots);
    *m = (struct sl_strmap){NULL, 0, 0};
}

static struct sl_strmap_slot *strmap_find(const struct sl_strmap *m, struct sl_bytes key,
                                          uint64_t hash)
{
    size_t mask = m->cap - 1;
    size_t i = (size_t)hash & mask;
    while (m->slots[i].value != NULL &&
           (m->slots[i].hash != hash || !sl_bytes_eq(m->slots[i].key, key)))
        i = (i + 1) & mask;
    return &m->slots[i];
}

void *sl_strmap_get(const struct sl_strmap *m, struct sl_bytes key)
{
    return m->used == 0 ? NULL : strmap_find(m, key, sl_hash(key))->value;
}

static void strmap_grow(struct sl_strmap *m)
{
    struct sl_strmap old = *m;
    m->cap = grown_cap(old.cap);
    m->slots = sl_calloc(m->cap, sizeof *m->slots);
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].value != NULL)
            *strmap_find(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    }
    sl_free(old.slots);
}

void sl_strmap_put(struct sl_strmap *m, struct sl_bytes key, void *value)
{
    SL_ASSERT(value != NULL);
    if (is_loaded(m->used, m->cap))
        strmap_grow(m);
    uint64_t hash = sl_hash(key);
    struct sl_strmap_slot *slot = strmap_find(m, key, hash);
    SL_ASSERT(slot->value == NULL);
    *slot = (struct sl_strmap_slot){key, hash, value};
    m->used++;
}

void *sl_strmap_del(struct sl_strmap *m, struct sl_bytes key)
{
    if (m->used == 0)
        return NULL;
    struct sl_strmap_slot *slot = strmap_find(m, key, sl_hash(key));
    void *value = slot->value;
    if (value == NULL)
        return NULL;
    size_t mask = m->cap - 1;
    size_t hole = (size_t)(slot - m->slots);
    for (size_t i = (hole + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        if (may_fill(hole, (size_t)m->slots[i].hash & mask, i, mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct sl_strmap_slot){SL_BYTES_NONE, 0, NULL};
    m->used--;
    return value;
}

void *sl_strmap_next(const struct sl_strmap *m, size_t *pos)
{
    while (*pos < m->cap) {
        void *value = m->slots[(*pos)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
