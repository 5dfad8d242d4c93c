#include "tree.h"

#include <math.h>
#include <stdio.h>

#include "core/utf8.h"

struct config_node *config_node_new(struct config_memory *m, enum config_node_kind kind,
                                    struct config_place at)
{
    struct config_node *node = config_memory_take(m, 1, sizeof *node);
    node->kind = kind;
    node->at = at;
    node->key_at = at;
    return node;
}

static uint64_t hash_key(struct sl_bytes key)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a: only to compare fewer keys byte by byte */
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ key.p[i]) * 1099511628211u;
    return h;
}

void config_node_name(struct config_memory *m, struct config_node *node, struct sl_bytes key)
{
    node->key = config_memory_text(m, key);
    node->key_hash = hash_key(key);
}

void config_node_link(struct config_node *parent, struct config_node *child)
{
    child->parent = parent;
    if (parent->last == NULL)
        parent->first = child;
    else
        parent->last->next = child;
    parent->last = child;
    parent->n++;
}

struct config_node *config_node_member(const struct config_node *object, struct sl_bytes key)
{
    if (object->kind != NODE_OBJECT)
        return NULL;
    uint64_t hash = hash_key(key);
    for (struct config_node *m = object->first; m != NULL; m = m->next)
        if (m->key_hash == hash && sl_bytes_is(key, m->key))
            return m;
    return NULL;
}

struct config_node *config_node_item(const struct config_node *list, size_t index)
{
    if (list->kind != NODE_LIST)
        return NULL;
    struct config_node *item = list->first;
    for (; item != NULL && index > 0; index--)
        item = item->next;
    return item;
}

static const char *show_number(double number, char *out, size_t cap)
{
    /* Whole numbers that a double holds exactly keep all their digits. */
    if (fabs(number) < 9007199254740992.0 && floor(number) == number)
        snprintf(out, cap, "%.0f", number);
    else
        snprintf(out, cap, "%.15g", number);
    return out;
}

const char *config_node_show(const struct config_node *node, char *out, size_t cap)
{
    char shown[48];
    switch (node->kind) {
    case NODE_NULL:
    case NODE_BAD:
        return "null";
    case NODE_BOOL:
        return node->truth ? "true" : "false";
    case NODE_NUMBER:
        return show_number(node->number, out, cap);
    case NODE_STRING:
        snprintf(out, cap, "\"%s\"", sl_escape(sl_str(node->text), shown, sizeof shown));
        return out;
    case NODE_LIST:
        return node->n == 0 ? "[]" : "a list";
    case NODE_OBJECT:
        return node->n == 0 ? "{}" : "an object";
    }
    return "";
}

static void append(struct config_path *p, const char *text)
{
    size_t room = sizeof p->text - 1 - p->n, n = strlen(text);
    if (n > room)
        n = room;
    memcpy(p->text + p->n, text, n);
    p->n += n;
    p->text[p->n] = '\0';
}

static bool is_plain(const char *key)
{
    if (*key == '\0')
        return false;
    for (; *key != '\0'; key++) {
        bool letter = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z');
        if (!letter && !(*key >= '0' && *key <= '9') && *key != '_' && *key != '-')
            return false;
    }
    return true;
}

size_t config_path_key(struct config_path *p, const char *key)
{
    size_t before = p->n;
    char shown[96];
    sl_escape(sl_str(key), shown, sizeof shown);
    bool plain = is_plain(key);
    append(p, !plain ? "[\"" : before > 0 ? "." : "");
    append(p, shown);
    append(p, plain ? "" : "\"]");
    return before;
}

size_t config_path_index(struct config_path *p, size_t index)
{
    size_t before = p->n;
    char shown[32];
    snprintf(shown, sizeof shown, "[%zu]", index);
    append(p, shown);
    return before;
}

void config_path_back(struct config_path *p, size_t n)
{
    p->n = n;
    p->text[n] = '\0';
}

static size_t index_of(const struct config_node *item)
{
    size_t index = 0;
    for (const struct config_node *n = item->parent->first; n != NULL && n != item; n = n->next)
        index++;
    return index;
}

void config_node_path(const struct config_node *node, const char *base, struct config_path *out)
{
    const struct config_node *way[64]; /* no tree is as deep: CONFIG_DEPTH_MAX */
    size_t n = 0;
    for (; node != NULL && node->parent != NULL && n < SL_COUNT(way); node = node->parent)
        way[n++] = node;
    *out = (struct config_path){ .n = 0 };
    append(out, base);
    while (n-- > 0)
        (void)(way[n]->key != NULL ? config_path_key(out, way[n]->key)
                                   : config_path_index(out, index_of(way[n])));
}

static struct sl_bytes cut(struct sl_bytes in, size_t n)
{
    return sl_bytes_of(in.p + n, in.n - n);
}

static const uint8_t *find_byte(struct sl_bytes in, char c)
{
    return in.n == 0 ? NULL : memchr(in.p, c, in.n);
}

/* `in` is what follows [". */
static int step_quoted(struct sl_bytes in, struct sl_bytes *rest, struct config_step *out)
{
    const uint8_t *end = find_byte(in, '"');
    if (end == NULL)
        return SL_EINVAL;
    size_t n = (size_t)(end - in.p);
    *out = (struct config_step){ .key = sl_bytes_of(in.p, n) };
    *rest = cut(in, n + 1);
    if (rest->n == 0 || rest->p[0] != ']')
        return SL_EINVAL;
    *rest = cut(*rest, 1);
    return SL_OK;
}

/* `in` is what follows [. */
static int step_index(struct sl_bytes in, struct sl_bytes *rest, struct config_step *out)
{
    const uint8_t *end = find_byte(in, ']');
    uint64_t index;
    if (end == NULL)
        return SL_EINVAL;
    size_t n = (size_t)(end - in.p);
    if (sl_bytes_u64(sl_bytes_of(in.p, n), 99999, &index) != SL_OK)
        return SL_EINVAL;
    *out = (struct config_step){ .is_index = true, .index = (size_t)index };
    *rest = cut(in, n + 1);
    return SL_OK;
}

static int step_plain(struct sl_bytes in, struct sl_bytes *rest, struct config_step *out)
{
    size_t n = 0;
    while (n < in.n && in.p[n] != '.' && in.p[n] != '[')
        n++;
    if (n == 0)
        return SL_EINVAL;
    *out = (struct config_step){ .key = sl_bytes_of(in.p, n) };
    *rest = cut(in, n);
    return SL_OK;
}

int config_step_next(struct sl_bytes *path, struct config_step *out)
{
    struct sl_bytes in = *path, rest = SL_BYTES_NONE;
    if (in.n == 0)
        return SL_ENOENT;
    int err;
    if (in.n >= 2 && in.p[0] == '[' && in.p[1] == '"')
        err = step_quoted(cut(in, 2), &rest, out);
    else if (in.p[0] == '[')
        err = step_index(cut(in, 1), &rest, out);
    else
        err = step_plain(in, &rest, out);
    if (err != SL_OK)
        return err;
    if (rest.n > 0 && rest.p[0] == '.') {
        rest = cut(rest, 1);
        if (rest.n == 0 || rest.p[0] == '[')
            return SL_EINVAL;
    } else if (rest.n > 0 && rest.p[0] != '[') {
        return SL_EINVAL;
    }
    *path = rest;
    return SL_OK;
}

const struct config_node *config_tree_find(const struct config_node *root, const char *path,
                                           bool *whole)
{
    struct sl_bytes rest = sl_str(path);
    struct config_step step;
    const struct config_node *at = root;
    while (config_step_next(&rest, &step) == SL_OK) {
        const struct config_node *next =
            step.is_index ? config_node_item(at, step.index) : config_node_member(at, step.key);
        if (next == NULL) {
            *whole = false;
            return at;
        }
        at = next;
    }
    *whole = true;
    return at;
}
