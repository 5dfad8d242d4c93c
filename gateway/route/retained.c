/* Retained messages in a tree of topic levels: a filter walks down all branches
 * that it takes at once. */
#include "route/retained.h"

#include "core/alloc.h"
#include "core/heap.h"
#include "core/map.h"
#include "level_tree.h"
#include "levels.h"
#include "numbers.h"

#define NOT_IN_HEAP UINT32_MAX

struct entry {
    struct message *m; /* a reference of ours */
    uint32_t node;     /* where its topic ends; the node's value is the entry's number */
    uint32_t heap_pos;
};

struct retained {
    struct level_tree tree;
    struct sl_slab entries;
    struct sl_idmap by_id;
    struct sl_heap relative, absolute; /* by expiry: against steady and against wall time */
    uint64_t bytes, max_messages, max_bytes;
};

static struct entry *entry_at(const struct retained *t, uint32_t e)
{
    return sl_slab_at(&t->entries, e);
}

static void on_moved(void *arg, uint32_t e, uint32_t pos)
{
    entry_at(arg, e)->heap_pos = pos;
}

struct retained *retained_new(uint64_t max_messages, uint64_t max_bytes)
{
    struct retained *t = SL_NEW(struct retained);
    level_tree_init(&t->tree, true);
    sl_slab_init(&t->entries, sizeof(struct entry));
    sl_heap_init(&t->relative, on_moved, t);
    sl_heap_init(&t->absolute, on_moved, t);
    t->max_messages = max_messages;
    t->max_bytes = max_bytes;
    return t;
}

void retained_free(struct retained *t)
{
    if (t == NULL)
        return;
    size_t pos = 0;
    struct message *m;
    while ((m = retained_next(t, &pos)) != NULL)
        message_unref(m);
    sl_heap_fini(&t->relative);
    sl_heap_fini(&t->absolute);
    sl_idmap_fini(&t->by_id);
    sl_slab_fini(&t->entries);
    level_tree_fini(&t->tree);
    sl_free(t);
}

uint64_t retained_count(const struct retained *t)
{
    return t->entries.used;
}

/* The root is always there and costs nothing. */
uint64_t retained_bytes(const struct retained *t)
{
    return t->bytes + (t->tree.nodes.used - 1) * sizeof(struct level_linked) + t->tree.text_bytes;
}

/* ---- one topic ---- */

struct message *retained_find(const struct retained *t, struct sl_bytes topic)
{
    uint32_t node = level_find(&t->tree, topic);
    uint32_t e = node == 0 ? 0 : level_at(&t->tree, node)->value;
    return e == 0 ? NULL : entry_at(t, e)->m;
}

/* Memory that the levels of a topic take when none of them is there yet: of one
 * that is all slashes that is over forty times the topic. */
static uint64_t levels_bytes(struct sl_bytes topic)
{
    uint64_t bytes = topic.n;
    struct levels l = levels_of(topic);
    struct sl_bytes level;
    while (levels_next(&l, &level))
        bytes += sizeof(struct level_linked);
    return bytes;
}

bool retained_fits(const struct retained *t, const struct message *m)
{
    const struct message *old = retained_find(t, message_topic(m));
    uint64_t count = retained_count(t) + (old == NULL);
    uint64_t bytes = retained_bytes(t) + message_bytes(m);
    if (old != NULL)
        bytes -= message_bytes(old);
    else
        bytes += levels_bytes(message_topic(m));
    return count <= t->max_messages && bytes <= t->max_bytes;
}

static struct sl_heap *heap_of(struct retained *t, const struct message *m)
{
    return message_flags(m) & MESSAGE_EXPIRES_RELATIVE ? &t->relative : &t->absolute;
}

static void attach(struct retained *t, uint32_t e, struct message *m)
{
    struct entry *entry = entry_at(t, e);
    entry->m = message_ref(m);
    entry->heap_pos = NOT_IN_HEAP;
    t->bytes += message_bytes(m);
    sl_idmap_put(&t->by_id, message_id(m), entry);
    if (message_expires_at(m) != 0)
        sl_heap_push(heap_of(t, m), message_expires_at(m), e);
}

/* The reference is the caller's. */
static struct message *detach(struct retained *t, uint32_t e)
{
    struct entry *entry = entry_at(t, e);
    struct message *m = entry->m;
    t->bytes -= message_bytes(m);
    void *known = sl_idmap_del(&t->by_id, message_id(m));
    SL_ASSERT(known == entry);
    if (entry->heap_pos != NOT_IN_HEAP)
        sl_heap_remove(heap_of(t, m), entry->heap_pos);
    return m;
}

struct message *retained_put(struct retained *t, struct message *m)
{
    uint32_t node = level_find_or_new(&t->tree, message_topic(m));
    uint32_t e = level_at(&t->tree, node)->value;
    struct message *old = e == 0 ? NULL : detach(t, e);
    if (e == 0) {
        e = sl_slab_take(&t->entries);
        entry_at(t, e)->node = node;
        level_at(&t->tree, node)->value = e;
    }
    attach(t, e, m);
    return old;
}

struct message *retained_remove(struct retained *t, struct sl_bytes topic)
{
    uint32_t node = level_find(&t->tree, topic);
    uint32_t e = node == 0 ? 0 : level_at(&t->tree, node)->value;
    if (e == 0)
        return NULL;
    struct message *m = detach(t, e);
    sl_slab_give(&t->entries, e);
    level_at(&t->tree, node)->value = 0;
    level_release(&t->tree, node);
    return m;
}

/* ---- all that a filter takes ---- */

static void append(const struct retained *t, uint32_t node, struct sl_buf *ids)
{
    uint32_t e = level_at(&t->tree, node)->value;
    if (e == 0)
        return;
    uint64_t id = message_id(entry_at(t, e)->m);
    uint8_t *p = sl_buf_reserve(ids, sizeof id);
    SL_ASSERT(p != NULL);
    memcpy(p, &id, sizeof id);
    sl_buf_commit(ids, sizeof id);
}

/* The node and all below it, parents first. */
static void append_all(const struct retained *t, uint32_t top, struct sl_buf *ids)
{
    uint32_t node = top;
    while (node != 0) {
        append(t, node, ids);
        const struct level_linked *n = level_linked_at(&t->tree, node);
        uint32_t below = n->first;
        while (below == 0 && node != top) {
            below = n->next;
            node = n->node.parent;
            n = level_linked_at(&t->tree, node);
        }
        node = below;
    }
}

/* Wildcards at the front take no level that begins with $ [MQTT-4.7.2-1]. */
static bool is_hidden(const struct retained *t, uint32_t parent, const struct level_node *child)
{
    return parent == t->tree.root && child->n > 0 && level_text(child).p[0] == '$';
}

/* Each child that a wildcard takes. */
static void reach_children(const struct retained *t, uint32_t parent, struct numbers *out)
{
    uint32_t child = level_linked_at(&t->tree, parent)->first;
    while (child != 0) {
        const struct level_linked *c = level_linked_at(&t->tree, child);
        if (!is_hidden(t, parent, &c->node))
            numbers_push(out, child);
        child = c->next;
    }
}

static void reach_child(const struct retained *t, uint32_t parent, const struct level_key *key,
                        struct numbers *out)
{
    uint32_t child = level_child(&t->tree, parent, key);
    if (child != 0)
        numbers_push(out, child);
}

static void descend(const struct retained *t, const struct numbers *now, struct sl_bytes level,
                    struct numbers *out)
{
    bool any = sl_bytes_is(level, "+");
    struct level_key key = level_key_of(level);
    for (uint32_t i = 0; i < now->n; i++) {
        if (any)
            reach_children(t, now->v[i], out);
        else
            reach_child(t, now->v[i], &key, out);
    }
}

/* `#` takes also the level above it (section 4.7.1.2); the root has no message. */
static void append_rest(const struct retained *t, uint32_t node, struct sl_buf *ids)
{
    if (node != t->tree.root) {
        append_all(t, node, ids);
        return;
    }
    struct numbers children = { NULL, 0, 0 };
    reach_children(t, node, &children);
    for (uint32_t i = 0; i < children.n; i++)
        append_all(t, children.v[i], ids);
    sl_free(children.v);
}

void retained_match(const struct retained *t, struct sl_bytes filter, struct sl_buf *ids)
{
    struct numbers now = { NULL, 0, 0 }, then = { NULL, 0, 0 };
    numbers_push(&now, t->tree.root);
    struct levels l = levels_of(filter);
    struct sl_bytes level;
    bool rest = false;
    while (now.n > 0 && levels_next(&l, &level)) {
        rest = sl_bytes_is(level, "#");
        if (rest)
            break;
        then.n = 0;
        descend(t, &now, level, &then);
        numbers_swap(&now, &then);
    }
    for (uint32_t i = 0; i < now.n; i++) {
        if (rest)
            append_rest(t, now.v[i], ids);
        else
            append(t, now.v[i], ids);
    }
    sl_free(now.v);
    sl_free(then.v);
}

/* ---- by id, by expiry, all ---- */

struct message *retained_by_id(const struct retained *t, uint64_t id)
{
    const struct entry *entry = sl_idmap_get(&t->by_id, id);
    return entry == NULL ? NULL : entry->m;
}

static struct message *expired(const struct retained *t, const struct sl_heap *h, uint64_t now_ms)
{
    const struct sl_heap_node *first = sl_heap_top(h);
    return first == NULL || first->key > now_ms ? NULL : entry_at(t, first->item)->m;
}

struct message *retained_expired(struct retained *t, const struct sl_now *now)
{
    struct message *m = expired(t, &t->relative, now->steady_ms);
    return m != NULL ? m : expired(t, &t->absolute, now->wall_ms);
}

static uint64_t wait_ms(const struct sl_heap *h, uint64_t now_ms)
{
    const struct sl_heap_node *first = sl_heap_top(h);
    if (first == NULL)
        return UINT64_MAX;
    return first->key > now_ms ? first->key - now_ms : 0;
}

uint64_t retained_next_expiry(const struct retained *t, const struct sl_now *now)
{
    uint64_t relative = wait_ms(&t->relative, now->steady_ms);
    uint64_t absolute = wait_ms(&t->absolute, now->wall_ms);
    return relative < absolute ? relative : absolute;
}

struct message *retained_next(const struct retained *t, size_t *pos)
{
    const struct entry *entry = sl_idmap_next(&t->by_id, pos);
    return entry == NULL ? NULL : entry->m;
}
