/* The table is walked in the shape of the tree. It nests as deep as the table
 * does (objects in elements of collections), not as deep as the text. */
#include "apply.h"

#include <stdio.h>

#include "core/utf8.h"
#include "keys.h"
#include "rules.h"
#include "scan.h"
#include "value.h"

#define SCOPE_MAX   64
#define ALLOWED_MAX 256

struct apply {
    struct config_memory *memory;        /* of the configuration */
    struct config_memory *scratch;       /* trees of defaults */
    const struct config_node **defaults; /* by row */
    const char *folder;
    struct config_report *report;
    struct config_path path;
};

/* Where the walk is: in `scope` of the table, writing to `base`. */
struct level {
    const char *scope;
    void *base;
};

static void apply_members(struct apply *a, struct level at, const struct config_node *node);

/* Each default is scanned once. */
static const struct config_node *default_tree(struct apply *a, const struct config_key *key)
{
    size_t n;
    size_t index = (size_t)(key - config_keys(&n));
    struct config_report none = { .filename = "" };
    struct config_origin from = { 0, "" };
    if (a->defaults[index] == NULL)
        a->defaults[index] = config_scan(a->scratch, sl_str(key->def), from, &none);
    SL_ASSERT(a->defaults[index] != NULL && none.n == 0); /* the table is ours */
    return a->defaults[index];
}

static void refuse(struct apply *a, const struct config_key *key, const struct config_node *node,
                   int err)
{
    char shown[80], allowed[ALLOWED_MAX];
    config_fault(a->report, node->at, a->path.text, "%s is not %s, must be %s",
                 config_node_show(node, shown, sizeof shown),
                 err == SL_ESTATE ? "available in this version" : "allowed",
                 config_key_allowed(key, allowed, sizeof allowed));
}

/* The fault goes to the part that is wrong, when there is one. */
static void refuse_value(struct apply *a, const struct config_key *key,
                         const struct config_node *node, const struct config_value *v, int err)
{
    if (v->bad == NULL) {
        refuse(a, key, node, err);
        return;
    }
    struct config_path whole = a->path;
    config_node_path(v->bad, "", &a->path);
    if (v->bad->kind != NODE_BAD)
        refuse(a, key, v->bad, err);
    a->path = whole;
}

static bool is_available(struct apply *a, const struct config_key *key,
                         const struct config_value *v)
{
    struct config_value def;
    if ((key->flags & KEY_LATER) == 0)
        return true;
    int err = config_value_read(key, default_tree(a, key), a->memory, &def);
    SL_ASSERT(err == SL_OK); /* the table is ours */
    return config_value_eq(v, &def);
}

static void apply_value(struct apply *a, const struct config_key *key, void *base,
                        const struct config_node *node)
{
    struct config_value v;
    if (node->kind == NODE_BAD)
        return;
    int err = config_value_read(key, node, a->memory, &v);
    bool later = err == SL_OK && !is_available(a, key, &v);
    if (later)
        v.bad = NULL;
    if (later || err != SL_OK)
        refuse_value(a, key, node, &v, later ? SL_ESTATE : err);
    if (err != SL_OK)
        return;
    /* Stored although refused: conditions between keys are checked all the same. */
    if (key->type == KEY_PATH && v.text != NULL)
        v.text = config_value_path(a->memory, a->folder, v.text);
    config_value_store(key, &v, base);
}

/* ---- defaults ---- */

/* In the scope and in the objects below it, not in the elements below it. */
static bool belongs(const struct config_key *key, const char *scope)
{
    size_t n = strlen(scope);
    if (n > 0 && (strncmp(key->path, scope, n) != 0 || key->path[n] != '.'))
        return false;
    const char *rest = key->path + n;
    return strchr(rest, '*') == NULL && strchr(rest, '[') == NULL;
}

static void set_defaults(struct apply *a, struct level at)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const struct config_key *key = &keys[i];
        bool leaf = key->type != KEY_OBJECT && key->type != KEY_MAP && key->type != KEY_LIST;
        if (leaf && key->def != NULL && belongs(key, at.scope))
            apply_value(a, key, at.base, default_tree(a, key));
    }
}

/* ---- collections ---- */

static void check_name(struct apply *a, const struct config_node *item)
{
    char shown[80];
    if (config_is_name(sl_str(item->key)))
        return;
    config_fault(a->report, item->key_at, a->path.text,
                 "\"%s\" is not allowed as a name, must be " CONFIG_NAME_ALLOWED,
                 sl_escape(sl_str(item->key), shown, sizeof shown));
}

static void apply_element(struct apply *a, const struct config_key *key, void *element,
                          const struct config_node *item)
{
    char scope[SCOPE_MAX];
    struct level at = { config_key_scope(key, scope, sizeof scope), element };
    set_defaults(a, at);
    if (key->type == KEY_MAP) {
        const char *name = config_memory_text(a->memory, sl_str(item->key));
        memcpy(element, &name, sizeof name); /* the name comes first in such a struct */
        check_name(a, item);
    }
    if (item->kind == NODE_OBJECT)
        apply_members(a, at, item);
    else if (item->kind != NODE_BAD) {
        char shown[80];
        config_fault(a->report, item->at, a->path.text, "%s is not allowed, must be an object",
                     config_node_show(item, shown, sizeof shown));
    }
}

static void apply_collection(struct apply *a, const struct config_key *key, void *base,
                             const struct config_node *node)
{
    if (node->kind == NODE_BAD)
        return;
    if (node->kind != (key->type == KEY_MAP ? NODE_OBJECT : NODE_LIST)) {
        refuse(a, key, node, SL_EINVAL);
        return;
    }
    char *elements = config_memory_take(a->memory, node->n + 1, key->size);
    size_t n = 0;
    for (const struct config_node *item = node->first; item != NULL; item = item->next, n++) {
        size_t back = item->key != NULL ? config_path_key(&a->path, item->key)
                                        : config_path_index(&a->path, n);
        apply_element(a, key, elements + n * key->size, item);
        config_path_back(&a->path, back);
    }
    memcpy((char *)base + key->at, &elements, sizeof elements);
    memcpy((char *)base + key->n_at, &n, sizeof n);
}

/* ---- members ---- */

static void unknown_key(struct apply *a, const char *scope, const struct config_node *node)
{
    const char *near = config_suggest(scope, sl_str(node->key));
    if (near != NULL) {
        config_fault(a->report, node->key_at, a->path.text, "unknown key, did you mean \"%s\"?",
                     near);
        return;
    }
    char list[512] = "";
    size_t n, used = 0;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const char *name = config_key_name(&keys[i]);
        if (!config_key_is_in(&keys[i], scope) || used + strlen(name) + 3 > sizeof list)
            continue;
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? ", " : "", name);
    }
    config_fault(a->report, node->key_at, a->path.text, "unknown key, allowed are %s", list);
}

static void apply_member(struct apply *a, struct level at, const struct config_node *node)
{
    const struct config_key *key = config_key_find(at.scope, sl_str(node->key));
    if (key == NULL)
        unknown_key(a, at.scope, node);
    else if (key->type == KEY_MAP || key->type == KEY_LIST)
        apply_collection(a, key, at.base, node);
    else if (key->type != KEY_OBJECT)
        apply_value(a, key, at.base, node);
    else if (node->kind == NODE_OBJECT)
        apply_members(a, (struct level){ key->path, at.base }, node);
    else if (node->kind != NODE_BAD)
        refuse(a, key, node, SL_EINVAL);
}

static void missing_keys(struct apply *a, const char *scope, const struct config_node *node)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        const char *name = config_key_name(&keys[i]);
        char allowed[ALLOWED_MAX];
        if ((keys[i].flags & KEY_REQUIRED) == 0 || !config_key_is_in(&keys[i], scope) ||
            config_node_member(node, sl_str(name)) != NULL)
            continue;
        config_fault(a->report, node->at, a->path.text, "\"%s\" is missing, must be %s", name,
                     config_key_allowed(&keys[i], allowed, sizeof allowed));
    }
}

static void apply_members(struct apply *a, struct level at, const struct config_node *node)
{
    missing_keys(a, at.scope, node);
    for (const struct config_node *m = node->first; m != NULL; m = m->next) {
        size_t back = config_path_key(&a->path, m->key);
        apply_member(a, at, m);
        config_path_back(&a->path, back);
    }
}

/* Listeners have a default that is not empty: it goes the same way. */
static void default_collections(struct apply *a, void *base, const struct config_node *root)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        bool collection = keys[i].type == KEY_MAP || keys[i].type == KEY_LIST;
        if (collection && config_node_member(root, sl_str(keys[i].path)) == NULL)
            apply_collection(a, &keys[i], base, default_tree(a, &keys[i]));
    }
}

void config_apply(struct config *c, const struct config_node *root, const char *folder,
                  struct config_report *r)
{
    struct apply a = {
        .memory = c->memory,
        .scratch = config_memory_new(),
        .folder = folder,
        .report = r,
    };
    struct level top = { "", c };
    char shown[80];
    size_t n;
    (void)config_keys(&n);
    a.defaults = config_memory_take(a.scratch, n, sizeof *a.defaults);
    set_defaults(&a, top);
    default_collections(&a, c, root);
    if (root->kind == NODE_OBJECT)
        apply_members(&a, top, root);
    else if (root->kind != NODE_BAD)
        config_fault(r, root->at, "", "%s is not allowed, must be an object",
                     config_node_show(root, shown, sizeof shown));
    config_memory_free(a.scratch);
}
