/* The text as a tree whose nodes know where they stand, and paths into it.
 *
 * A path is written as in faults and in --set: keys joined by dots, [n] for
 * list items, ["a.b"] for a key that is not plain. */
#ifndef CONFIG_TREE_H
#define CONFIG_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

enum config_node_kind {
    NODE_NULL,
    NODE_BOOL,
    NODE_NUMBER,
    NODE_STRING,
    NODE_LIST,
    NODE_OBJECT,
    NODE_BAD, /* has its fault already: no second one */
};

/* set 0: the file; n: the n-th --set, where line and column are 1. */
struct config_place {
    uint32_t set, line, col;
};

struct config_node {
    struct config_node *parent, *first, *last, *next;
    const char *key; /* in an object, else NULL */
    uint64_t key_hash;
    struct config_place key_at, at;
    enum config_node_kind kind;
    bool truth;
    double number;
    const char *text;
    size_t n; /* children */
};

struct config_node *config_node_new(struct config_memory *m, enum config_node_kind kind,
                                    struct config_place at) SL_CHECK;
/* Copies the key. */
void config_node_name(struct config_memory *m, struct config_node *node, struct sl_bytes key);
void config_node_link(struct config_node *parent, struct config_node *child);
/* NULL when there is none. `object` may be of any kind. */
struct config_node *config_node_member(const struct config_node *object, struct sl_bytes key);
struct config_node *config_node_item(const struct config_node *list, size_t index);
/* As a fault shows it: "text", 12, true, a list. Returns out. */
const char *config_node_show(const struct config_node *node, char *out, size_t cap);

#define CONFIG_PATH_MAX 512

/* A path that grows and shrinks while the tree is walked; what does not fit is
 * cut. All zero is the root. */
struct config_path {
    char text[CONFIG_PATH_MAX];
    size_t n;
};

/* Each returns the length to hand to config_path_back. */
size_t config_path_key(struct config_path *p, const char *key);
size_t config_path_index(struct config_path *p, size_t index);
void config_path_back(struct config_path *p, size_t n);
/* The way from the root, which is at `base`, to the node; NULL is the root. */
void config_node_path(const struct config_node *node, const char *base, struct config_path *out);

struct config_step {
    bool is_index;
    struct sl_bytes key;
    size_t index;
};

/* Takes one step off the front of *path. SL_OK; SL_ENOENT at the end;
 * SL_EINVAL when it is no path. */
SL_CHECK int config_step_next(struct sl_bytes *path, struct config_step *out);
/* The deepest node that exists on the way; *whole tells whether it is the end
 * of the path. */
const struct config_node *config_tree_find(const struct config_node *root, const char *path,
                                           bool *whole);

#endif
