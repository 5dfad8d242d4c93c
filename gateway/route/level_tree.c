/* Nodes, their hash table, and paths. Nothing here recurses: a path may have
 * 65,536 levels. */
#include "level_tree.h"

#include "core/alloc.h"
#include "levels.h"

#define FIRST_BUCKETS 8u

/* ---- the hash table ---- */

/* Buckets from n_buckets - base on have been split already. */
static uint32_t *bucket_of(const struct level_tree *t, uint32_t hash)
{
    uint32_t i = hash & (2 * t->base - 1);
    return &t->buckets[i < t->n_buckets ? i : i - t->base];
}

static void put_in_bucket(struct level_tree *t, uint32_t node)
{
    struct level_node *n = level_at(t, node);
    uint32_t *bucket = bucket_of(t, n->hash);
    n->chain = *bucket;
    *bucket = node;
}

static void take_from_bucket(struct level_tree *t, uint32_t node)
{
    const struct level_node *n = level_at(t, node);
    uint32_t *link = bucket_of(t, n->hash);
    while (*link != node)
        link = &level_at(t, *link)->chain;
    *link = n->chain;
}

/* One bucket more; the nodes of the one that it halves find their places anew. */
static void split_bucket(struct level_tree *t)
{
    if (t->n_buckets == t->cap) {
        SL_ASSERT(t->cap < UINT32_MAX / 4);
        t->cap += t->cap / 4;
        t->buckets = sl_realloc(t->buckets, t->cap * sizeof *t->buckets);
    }
    uint32_t *halved = &t->buckets[t->n_buckets - t->base];
    uint32_t node = *halved;
    *halved = 0;
    t->buckets[t->n_buckets++] = 0;
    while (node != 0) {
        uint32_t next = level_at(t, node)->chain;
        put_in_bucket(t, node);
        node = next;
    }
    if (t->n_buckets == 2 * t->base)
        t->base = t->n_buckets;
}

/* The hash of a level is keyed, so that nobody can choose levels that meet; the
 * parent only has to be stirred in. */
static uint32_t hash_of(uint32_t parent, const struct level_key *key)
{
    return (uint32_t)sl_hash_u64(key->hash + parent);
}

/* ---- nodes ---- */

struct sl_bytes level_text(const struct level_node *n)
{
    const uint8_t *p = n->text;
    if (n->n > LEVEL_INLINE)
        memcpy(&p, n->text, sizeof p);
    return sl_bytes_of(p, n->n);
}

static void set_text(struct level_tree *t, struct level_node *n, struct sl_bytes text)
{
    SL_ASSERT(text.n <= UINT16_MAX);
    n->n = (uint16_t)text.n;
    if (text.n <= LEVEL_INLINE) {
        (void)sl_wr_bytes(n->text, text);
        return;
    }
    uint8_t *copy = sl_alloc(text.n);
    (void)sl_wr_bytes(copy, text);
    memcpy(n->text, &copy, sizeof copy);
    t->text_bytes += text.n;
}

static void drop_text(struct level_tree *t, const struct level_node *n)
{
    if (n->n <= LEVEL_INLINE)
        return;
    t->text_bytes -= n->n;
    sl_free((void *)(uintptr_t)level_text(n).p);
}

static uint8_t flag_of(struct sl_bytes text)
{
    if (text.n != 1)
        return 0;
    switch (text.p[0]) {
    case '+':
        return LEVEL_PLUS;
    case '#':
        return LEVEL_REST;
    case '/':
        return LEVEL_ASIDE;
    default:
        return 0;
    }
}

static void link_sibling(struct level_tree *t, uint32_t node, uint32_t parent)
{
    struct level_linked *n = level_linked_at(t, node), *p = level_linked_at(t, parent);
    n->first = 0;
    n->prev = 0;
    n->next = p->first;
    if (p->first != 0)
        level_linked_at(t, p->first)->prev = node;
    p->first = node;
}

static void unlink_sibling(struct level_tree *t, uint32_t node)
{
    const struct level_linked *n = level_linked_at(t, node);
    if (n->prev != 0)
        level_linked_at(t, n->prev)->next = n->next;
    else
        level_linked_at(t, n->node.parent)->first = n->next;
    if (n->next != 0)
        level_linked_at(t, n->next)->prev = n->prev;
}

void level_tree_init(struct level_tree *t, bool linked)
{
    *t = (struct level_tree){
        .linked = linked,
        .n_buckets = FIRST_BUCKETS,
        .base = FIRST_BUCKETS,
        .cap = FIRST_BUCKETS,
        .plus = level_key_of(sl_str("+")),
        .rest = level_key_of(sl_str("#")),
        .aside = level_key_of(sl_str("/")),
    };
    sl_slab_init(&t->nodes, linked ? sizeof(struct level_linked) : sizeof(struct level_node));
    t->buckets = sl_calloc(t->cap, sizeof *t->buckets);
    t->root = sl_slab_take(&t->nodes);
    memset(level_at(t, t->root), 0, t->nodes.item_size);
}

void level_tree_fini(struct level_tree *t)
{
    for (uint32_t i = 0; i < t->n_buckets; i++)
        for (uint32_t node = t->buckets[i]; node != 0; node = level_at(t, node)->chain)
            drop_text(t, level_at(t, node));
    sl_free(t->buckets);
    sl_slab_fini(&t->nodes);
    *t = (struct level_tree){ .root = 0 };
}

size_t level_tree_bytes(const struct level_tree *t)
{
    return sl_slab_bytes(&t->nodes) + t->cap * sizeof *t->buckets + t->text_bytes;
}

/* ---- children ---- */

uint32_t level_child(const struct level_tree *t, uint32_t parent, const struct level_key *key)
{
    uint32_t hash = hash_of(parent, key);
    uint32_t node = *bucket_of(t, hash);
    while (node != 0) {
        const struct level_node *n = level_at(t, node);
        if (n->hash == hash && n->parent == parent && sl_bytes_eq(level_text(n), key->text))
            break;
        node = n->chain;
    }
    return node;
}

static uint32_t new_child(struct level_tree *t, uint32_t parent, const struct level_key *key)
{
    uint32_t node = sl_slab_take(&t->nodes);
    struct level_node *n = level_at(t, node);
    *n = (struct level_node){ .parent = parent, .hash = hash_of(parent, key) };
    set_text(t, n, key->text);
    if (t->nodes.used > t->n_buckets)
        split_bucket(t);
    put_in_bucket(t, node);
    struct level_node *p = level_at(t, parent);
    p->children++;
    p->flags |= flag_of(key->text);
    if (t->linked)
        link_sibling(t, node, parent);
    return node;
}

uint32_t level_child_or_new(struct level_tree *t, uint32_t parent, const struct level_key *key)
{
    uint32_t node = level_child(t, parent, key);
    return node != 0 ? node : new_child(t, parent, key);
}

static void remove_child(struct level_tree *t, uint32_t node)
{
    struct level_node *n = level_at(t, node), *p = level_at(t, n->parent);
    take_from_bucket(t, node);
    if (t->linked)
        unlink_sibling(t, node);
    p->children--;
    p->flags &= (uint8_t)~flag_of(level_text(n));
    drop_text(t, n);
    sl_slab_give(&t->nodes, node);
}

void level_release(struct level_tree *t, uint32_t node)
{
    while (node != t->root) {
        const struct level_node *n = level_at(t, node);
        if (n->value != 0 || n->children > 0)
            return;
        uint32_t parent = n->parent;
        remove_child(t, node);
        node = parent;
    }
}

/* ---- paths ---- */

uint32_t level_find(const struct level_tree *t, struct sl_bytes path)
{
    uint32_t node = t->root;
    struct levels l = levels_of(path);
    struct sl_bytes text;
    while (node != 0 && levels_next(&l, &text)) {
        struct level_key key = level_key_of(text);
        node = level_child(t, node, &key);
    }
    return node;
}

uint32_t level_find_or_new(struct level_tree *t, struct sl_bytes path)
{
    uint32_t node = t->root;
    struct levels l = levels_of(path);
    struct sl_bytes text;
    while (levels_next(&l, &text)) {
        struct level_key key = level_key_of(text);
        node = level_child_or_new(t, node, &key);
    }
    return node;
}

/* Bytes from the root to the node, with a slash before each level but the first. */
static size_t path_bytes(const struct level_tree *t, uint32_t node)
{
    size_t n = 0;
    for (; node != t->root; node = level_at(t, node)->parent)
        n += level_at(t, node)->n + 1u;
    return n > 0 ? n - 1 : 0;
}

void level_path(const struct level_tree *t, uint32_t node, struct sl_buf *out)
{
    size_t n = path_bytes(t, node);
    if (n == 0)
        return;
    uint8_t *p = sl_buf_reserve(out, n);
    SL_ASSERT(p != NULL);
    sl_buf_commit(out, n);
    uint8_t *end = p + n;
    for (; node != t->root; node = level_at(t, node)->parent) {
        struct sl_bytes text = level_text(level_at(t, node));
        end -= text.n;
        (void)sl_wr_bytes(end, text);
        if (end > p)
            *--end = '/';
    }
}
