/* Filters as a tree of their levels. */
#ifndef ROUTE_TREE_H
#define ROUTE_TREE_H

#include "core/map.h"

/* One queue of one filter; `order` counts up over all that were added. */
struct tree_end {
    uint32_t order, queue;
};

struct tree_ends {
    struct tree_end *v;
    uint32_t n, cap;
};

struct tree_node {
    struct sl_strmap children; /* by level */
    struct tree_node *plus;    /* of the level + */
    struct tree_ends here;     /* filters that end at this level */
    struct tree_ends below;    /* filters that go on with # only: they take this level too */
    struct tree_node *next;    /* all nodes, so that the end needs no recursion */
    struct sl_bytes level;     /* its own copy */
};

struct tree_nodes {
    struct tree_node **v;
    uint32_t n, cap;
};

/* Embedded; tree_init first. */
struct tree {
    struct tree_node *root;
    struct tree_nodes now, then; /* nodes that the topic has reached, level by level */
    uint64_t visited;
};

void tree_init(struct tree *t);
void tree_fini(struct tree *t);
void tree_ends_add(struct tree_ends *ends, struct tree_end end);
/* The filter is valid. */
void tree_add(struct tree *t, struct sl_bytes filter, struct tree_end end);
/* Appends the ends of every filter that takes the topic, in no order. */
void tree_match(struct tree *t, struct sl_bytes topic, struct tree_ends *out);

#endif
