#include "set.h"

#include <stdio.h>

#include "core/utf8.h"
#include "scan.h"

/* As deep as a text may be. */
#define STEPS_MAX CONFIG_DEPTH_MAX

struct set {
    struct config_memory *memory;
    struct config_report *report;
    struct config_place at;
    struct config_path path; /* as far as we got */
};

/* Makes of `node` what it is to be; who refers to it keeps doing so. */
static void replace(struct config_node *node, const struct config_node *value)
{
    node->kind = value->kind;
    node->at = value->at;
    node->truth = value->truth;
    node->number = value->number;
    node->text = value->text;
    node->first = value->first;
    node->last = value->last;
    node->n = value->n;
    for (struct config_node *child = node->first; child != NULL; child = child->next)
        child->parent = node;
}

static struct config_node *step_key(struct set *s, struct config_node *in, struct sl_bytes key)
{
    char shown[48];
    if (in->kind != NODE_OBJECT) {
        config_fault(s->report, s->at, s->path.text, "%s is not an object, must be one",
                     config_node_show(in, shown, sizeof shown));
        return NULL;
    }
    struct config_node *node = config_node_member(in, key);
    if (node == NULL) {
        node = config_node_new(s->memory, NODE_OBJECT, s->at);
        config_node_name(s->memory, node, key);
        config_node_link(in, node);
    }
    (void)config_path_key(&s->path, node->key);
    return node;
}

static struct config_node *step_index(struct set *s, struct config_node *in, size_t index)
{
    char shown[48];
    if (in->kind == NODE_OBJECT && in->n == 0 && in->at.set == s->at.set)
        in->kind = NODE_LIST; /* made by this very --set a step ago */
    if (in->kind != NODE_LIST) {
        config_fault(s->report, s->at, s->path.text, "%s is not a list, must be one",
                     config_node_show(in, shown, sizeof shown));
        return NULL;
    }
    if (index > in->n) {
        config_fault(s->report, s->at, s->path.text, "has %zu items, must be [0] to [%zu]", in->n,
                     in->n);
        return NULL;
    }
    struct config_node *node = config_node_item(in, index);
    if (node == NULL) {
        node = config_node_new(s->memory, NODE_OBJECT, s->at);
        config_node_link(in, node);
    }
    (void)config_path_index(&s->path, index);
    return node;
}

static struct config_node *walk(struct set *s, struct config_node *root, struct sl_bytes path)
{
    struct config_node *node = root;
    struct config_step step;
    for (size_t i = 0; path.n > 0 && node != NULL; i++) {
        if (i == STEPS_MAX || config_step_next(&path, &step) != SL_OK)
            return NULL; /* config_set looked before */
        node = step.is_index ? step_index(s, node, step.index) : step_key(s, node, step.key);
    }
    return node;
}

static bool is_path(struct sl_bytes path)
{
    struct config_step step;
    size_t n = 0;
    int err = SL_ENOENT;
    if (path.n == 0 || path.n >= CONFIG_PATH_MAX || !sl_utf8_valid(path))
        return false;
    while ((err = config_step_next(&path, &step)) == SL_OK && n < STEPS_MAX)
        n++;
    return err == SL_ENOENT;
}

/* JSON if it is, with the faults of JSON that was read in spite of them (a key
 * twice); else text. */
static struct config_node *read_value(struct set *s, const char *path, struct sl_bytes value)
{
    struct config_origin from = { s->at.set, path };
    struct config_report trial = { .filename = s->report->filename };
    struct config_faults none = { NULL, 0 };
    struct config_node *node = config_scan(s->memory, value, from, &trial);
    bool clean = config_report_end(&trial, &none) == SL_OK;
    config_faults_fini(&none);
    if (node != NULL && !clean)
        return config_scan(s->memory, value, from, s->report);
    if (node == NULL) {
        node = config_node_new(s->memory, NODE_STRING, s->at);
        node->text = config_memory_text(s->memory, value);
    }
    return node;
}

void config_set(struct config_memory *m, struct config_node *root, const char *set, uint32_t number,
                struct config_report *r)
{
    struct set s = { .memory = m, .report = r };
    s.at = (struct config_place){ number, 1, 1 };
    const char *equals = strchr(set, '=');
    struct sl_bytes path = sl_bytes_of(set, equals == NULL ? 0 : (size_t)(equals - set));
    char shown[96];
    if (!is_path(path) || !sl_utf8_valid(sl_str(equals + 1))) {
        config_fault(r, s.at, "", "\"%s\" is not allowed, must be path.to.key=value",
                     sl_escape(sl_str(set), shown, sizeof shown));
        return;
    }
    struct config_node *node = walk(&s, root, path);
    if (node == NULL)
        return;
    struct config_node *value = read_value(&s, s.path.text, sl_str(equals + 1));
    if (value != NULL)
        replace(node, value);
}
