/* A tree of topic levels that is made for millions: nodes of 32 bytes in a slab,
 * found by one hash table over all (parent, level). A node lives while it has a
 * value or children.
 *
 * The hash table grows by one bucket at a time (linear hashing), so that no
 * SUBSCRIBE waits while a million nodes are moved. */
#ifndef ROUTE_LEVEL_TREE_H
#define ROUTE_LEVEL_TREE_H

#include "core/bytes.h"
#include "core/hash.h"
#include "core/slab.h"

/* Bytes of a level that stand in its node; longer ones have memory of their own. */
#define LEVEL_INLINE 9u

/* Which special children a node has, so that nobody looks for others. A "/"
 * is no level of any topic: its children belong to the tree's user. */
enum level_flag { LEVEL_PLUS = 1, LEVEL_REST = 2, LEVEL_ASIDE = 4 };

struct level_node {
    uint32_t parent; /* 0: of the root */
    uint32_t chain;  /* the next of its bucket */
    uint32_t hash;
    uint32_t children; /* how many */
    uint32_t value;    /* the user's; 0: none */
    uint16_t n;        /* bytes of the level */
    uint8_t flags;     /* enum level_flag */
    uint8_t text[LEVEL_INLINE];
};

/* A node of a tree whose children can be walked through. */
struct level_linked {
    struct level_node node;
    uint32_t first, next, prev; /* child; siblings, 0 at the ends */
};

/* A level to be looked for: hashed once, however many parents are asked. */
struct level_key {
    struct sl_bytes text;
    uint64_t hash;
};

/* Embedded; level_tree_init first. */
struct level_tree {
    struct sl_slab nodes;
    uint32_t *buckets;
    uint32_t n_buckets, base, cap; /* base: the power of two that n_buckets has passed */
    uint32_t root;
    bool linked;
    size_t text_bytes; /* memory of levels that do not stand in their nodes */
    struct level_key plus, rest, aside;
};

void level_tree_init(struct level_tree *t, bool linked);
void level_tree_fini(struct level_tree *t);
size_t level_tree_bytes(const struct level_tree *t);

static inline struct level_node *level_at(const struct level_tree *t, uint32_t node)
{
    return sl_slab_at(&t->nodes, node);
}

static inline struct level_linked *level_linked_at(const struct level_tree *t, uint32_t node)
{
    SL_ASSERT(t->linked);
    return sl_slab_at(&t->nodes, node);
}

static inline struct level_key level_key_of(struct sl_bytes text)
{
    return (struct level_key){ text, sl_hash(text) };
}

struct sl_bytes level_text(const struct level_node *n);
/* 0: there is none. */
uint32_t level_child(const struct level_tree *t, uint32_t parent, const struct level_key *key);
uint32_t level_child_or_new(struct level_tree *t, uint32_t parent, const struct level_key *key);
/* The node of all levels of `path`; 0: there is none. */
uint32_t level_find(const struct level_tree *t, struct sl_bytes path);
uint32_t level_find_or_new(struct level_tree *t, struct sl_bytes path);
/* Gives back a node without value and children, and those above that only had it. */
void level_release(struct level_tree *t, uint32_t node);
/* Appends the levels from the root to the node, with slashes between them. */
void level_path(const struct level_tree *t, uint32_t node, struct sl_buf *out);

#endif
