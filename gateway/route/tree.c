/* A topic walks down its levels with every branch that still fits at once: at
 * each level a node goes on with the child of that name and with the one of +.
 * No recursion, since a topic may have 32,768 levels. */
#include "tree.h"

#include "core/alloc.h"
#include "levels.h"

/* ---- nodes ---- */

static struct tree_node *node_new(struct tree *t, struct sl_bytes level)
{
    struct tree_node *n = SL_NEW(struct tree_node);
    uint8_t *copy = sl_alloc(level.n);
    (void)sl_wr_bytes(copy, level);
    n->level = sl_bytes_of(copy, level.n);
    if (t->root != NULL) {
        n->next = t->root->next;
        t->root->next = n;
    }
    return n;
}

static void node_free(struct tree_node *n)
{
    sl_strmap_fini(&n->children);
    sl_free(n->here.v);
    sl_free(n->below.v);
    sl_free((void *)(uintptr_t)n->level.p);
    sl_free(n);
}

void tree_init(struct tree *t)
{
    *t = (struct tree){.root = NULL};
    t->root = node_new(t, SL_BYTES_NONE);
}

void tree_fini(struct tree *t)
{
    for (struct tree_node *n = t->root; n != NULL;) {
        struct tree_node *next = n->next;
        node_free(n);
        n = next;
    }
    sl_free(t->now.v);
    sl_free(t->then.v);
    *t = (struct tree){.root = NULL};
}

/* ---- adding ---- */

void tree_ends_add(struct tree_ends *ends, struct tree_end end)
{
    if (ends->n == ends->cap) {
        ends->cap = ends->cap > 0 ? ends->cap * 2 : 4;
        ends->v = sl_realloc(ends->v, ends->cap * sizeof *ends->v);
    }
    ends->v[ends->n++] = end;
}

static struct tree_node *child(struct tree *t, struct tree_node *n, struct sl_bytes level)
{
    if (sl_bytes_is(level, "+")) {
        if (n->plus == NULL)
            n->plus = node_new(t, level);
        return n->plus;
    }
    struct tree_node *c = sl_strmap_get(&n->children, level);
    if (c == NULL) {
        c = node_new(t, level);
        sl_strmap_put(&n->children, c->level, c);
    }
    return c;
}

void tree_add(struct tree *t, struct sl_bytes filter, struct tree_end end)
{
    struct tree_node *n = t->root;
    struct levels l = levels_of(filter);
    struct sl_bytes level;
    while (levels_next(&l, &level)) {
        if (sl_bytes_is(level, "#")) {
            tree_ends_add(&n->below, end);
            return;
        }
        n = child(t, n, level);
    }
    tree_ends_add(&n->here, end);
}

/* ---- matching ---- */

static void reach(struct tree_nodes *nodes, struct tree_node *n)
{
    if (n == NULL)
        return;
    if (nodes->n == nodes->cap) {
        nodes->cap = nodes->cap > 0 ? nodes->cap * 2 : 16;
        nodes->v = sl_realloc(nodes->v, nodes->cap * sizeof *nodes->v);
    }
    nodes->v[nodes->n++] = n;
}

static void take(const struct tree_ends *from, struct tree_ends *out)
{
    for (uint32_t i = 0; i < from->n; i++)
        tree_ends_add(out, from->v[i]);
}

/* One node, one level down. Wildcards in the first level do not take topics
 * that begin with $ [MQTT-4.7.2-1]. */
static void descend(struct tree *t, const struct tree_node *n, struct sl_bytes level,
                    struct tree_ends *out)
{
    bool hidden = n == t->root && level.n > 0 && level.p[0] == '$';
    if (!hidden)
        take(&n->below, out);
    reach(&t->then, sl_strmap_get(&n->children, level));
    if (!hidden)
        reach(&t->then, n->plus);
}

void tree_match(struct tree *t, struct sl_bytes topic, struct tree_ends *out)
{
    t->now.n = 0;
    reach(&t->now, t->root);
    struct levels l = levels_of(topic);
    struct sl_bytes level;
    while (t->now.n > 0 && levels_next(&l, &level)) {
        t->then.n = 0;
        t->visited += t->now.n;
        for (uint32_t i = 0; i < t->now.n; i++)
            descend(t, t->now.v[i], level, out);
        struct tree_nodes reached = t->then;
        t->then = t->now;
        t->now = reached;
    }
    t->visited += t->now.n;
    for (uint32_t i = 0; i < t->now.n; i++) {
        take(&t->now.v[i]->here, out);
        take(&t->now.v[i]->below, out);
    }
}
