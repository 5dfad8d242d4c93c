#include "value.h"

#include <math.h>
#include <stdio.h>

#include "core/units.h"
#include "rules.h"

static bool in_range(const struct config_key *key, double number)
{
    return key->min >= key->max || (number >= key->min && number <= key->max);
}

static int read_whole(const struct config_key *key, const struct config_node *node, uint64_t *out)
{
    if (node->kind != NODE_NUMBER || !in_range(key, node->number) ||
        floor(node->number) != node->number || node->number < 0)
        return SL_EINVAL;
    *out = (uint64_t)node->number;
    return SL_OK;
}

static int read_int(const struct config_key *key, const struct config_node *node,
                    struct config_value *out)
{
    if (node->kind != NODE_NUMBER || !in_range(key, node->number) ||
        floor(node->number) != node->number)
        return SL_EINVAL;
    out->real = node->number;
    return SL_OK;
}

static int read_real(const struct config_key *key, const struct config_node *node,
                     struct config_value *out)
{
    if (node->kind != NODE_NUMBER || !in_range(key, node->number))
        return SL_EINVAL;
    out->real = node->number;
    return SL_OK;
}

static int read_unit(const struct config_key *key, const struct config_node *node,
                     struct config_value *out)
{
    if (key->type == KEY_SIZE && node->kind == NODE_NUMBER)
        return read_whole(key, node, &out->u);
    if (node->kind != NODE_STRING)
        return SL_EINVAL;
    struct sl_bytes text = sl_str(node->text);
    int err = key->type == KEY_SIZE       ? sl_size_parse(text, &out->u)
              : key->type == KEY_DURATION ? sl_duration_parse(text, &out->u)
                                          : sl_duration_parse_us(text, &out->u);
    if (err != SL_OK || !in_range(key, (double)out->u))
        return SL_EINVAL;
    return SL_OK;
}

static int read_text(const struct config_key *key, const struct config_node *node,
                     struct config_memory *m, struct config_value *out)
{
    if (node->kind != NODE_STRING)
        return SL_EINVAL;
    struct sl_bytes text = sl_str(node->text);
    if (key->check != NULL ? !key->check(text) : text.n == 0)
        return SL_EINVAL;
    out->text = config_memory_text(m, text);
    return SL_OK;
}

static int read_choice(const struct config_key *key, const struct config_node *node,
                       struct config_value *out)
{
    if (node->kind != NODE_STRING)
        return SL_EINVAL;
    for (unsigned i = 0; key->choices[i] != NULL; i++) {
        if (strcmp(node->text, key->choices[i]) != 0)
            continue;
        out->u = i;
        return (key->later >> i & 1) != 0 ? SL_ESTATE : SL_OK;
    }
    return SL_EINVAL;
}

static int read_strings(const struct config_key *key, const struct config_node *node,
                        struct config_memory *m, struct config_value *out)
{
    bool single = node->kind == NODE_STRING;
    size_t n = single ? 1 : node->n;
    if (!single && node->kind != NODE_LIST)
        return SL_EINVAL;
    if (n == 0)
        return (key->flags & KEY_NONEMPTY) != 0 ? SL_EINVAL : SL_OK;
    out->list.v = config_memory_take(m, n + 1, sizeof *out->list.v);
    const struct config_node *item = single ? node : node->first;
    for (size_t i = 0; i < n; i++, item = item->next) {
        out->bad = item;
        if (item->kind != NODE_STRING)
            return SL_EINVAL;
        out->list.v[i] = config_memory_text(m, sl_str(item->text));
    }
    out->list.n = n;
    return SL_OK;
}

static int read_env(const struct config_node *node, struct config_memory *m,
                    struct config_value *out)
{
    if (node->kind != NODE_OBJECT)
        return SL_EINVAL;
    if (node->n == 0)
        return SL_OK;
    out->list.v = config_memory_take(m, node->n + 1, sizeof *out->list.v);
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        out->bad = item;
        if (item->kind != NODE_STRING || !config_is_variable(sl_str(item->key)))
            return SL_EINVAL;
        size_t name = strlen(item->key), value = strlen(item->text);
        char *pair = config_memory_take(m, name + value + 2, 1);
        memcpy(pair, item->key, name);
        pair[name] = '=';
        memcpy(pair + name + 1, item->text, value);
        out->list.v[out->list.n++] = pair;
    }
    return SL_OK;
}

static bool is_header_text(const struct config_node *node)
{
    return node->kind == NODE_STRING && strlen(node->text) <= UINT16_MAX;
}

/* One value, or one of several of the same name. */
static bool read_header(struct config_memory *m, const struct config_node *named, const struct config_node *value,
                        struct config_value *out)
{
    out->bad = value;
    if (!is_header_text(value))
        return false;
    out->list.v[out->list.n++] = config_memory_text(m, sl_str(named->key));
    out->list.v[out->list.n++] = config_memory_text(m, sl_str(value->text));
    return true;
}

static size_t count_headers(const struct config_node *node)
{
    size_t n = 0;
    for (const struct config_node *item = node->first; item != NULL; item = item->next)
        n += item->kind == NODE_LIST ? item->n : 1;
    return n;
}

static int read_headers(const struct config_node *node, struct config_memory *m, struct config_value *out)
{
    if (node->kind != NODE_OBJECT)
        return SL_EINVAL;
    out->list.v = config_memory_take(m, 2 * count_headers(node) + 1, sizeof *out->list.v);
    for (const struct config_node *item = node->first; item != NULL; item = item->next) {
        out->bad = item;
        bool named = item->key[0] != '\0' && strlen(item->key) <= UINT16_MAX;
        bool good = named && (item->kind == NODE_LIST || read_header(m, item, item, out));
        for (const struct config_node *v = item->kind == NODE_LIST ? item->first : NULL; good && v != NULL; v = v->next)
            good = read_header(m, item, v, out);
        if (!good)
            return SL_EINVAL;
    }
    return SL_OK;
}

static int read_workers(const struct config_key *key, const struct config_node *node,
                        struct config_value *out)
{
    if (node->kind != NODE_OBJECT) {
        int err = read_whole(key, node, &out->u);
        out->u2 = out->u;
        return err;
    }
    const struct config_node *min = config_node_member(node, sl_str("min"));
    const struct config_node *max = config_node_member(node, sl_str("max"));
    if (node->n != 2 || min == NULL || max == NULL)
        return SL_EINVAL;
    struct config_key from_zero = *key;
    from_zero.min = 0;
    if (read_whole(&from_zero, min, &out->u) != SL_OK || read_whole(key, max, &out->u2) != SL_OK)
        return SL_EINVAL;
    return out->u <= out->u2 ? SL_OK : SL_EINVAL;
}

static int read_file_mode(const struct config_node *node, struct config_value *out)
{
    if (node->kind != NODE_STRING)
        return SL_EINVAL;
    const char *text = node->text;
    size_t n = strlen(text);
    if (n != 4 || text[0] != '0')
        return SL_EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '7')
            return SL_EINVAL;
        out->u = out->u << 3 | (uint64_t)(text[i] - '0');
    }
    return SL_OK;
}

static int read_bool(const struct config_key *key, const struct config_node *node,
                     struct config_value *out)
{
    if (key->type == KEY_TRI && node->kind == NODE_NULL) {
        out->u = CONFIG_INHERIT;
        return SL_OK;
    }
    if (node->kind != NODE_BOOL)
        return SL_EINVAL;
    out->u = node->truth;
    if (key->type == KEY_TRI)
        out->u = node->truth ? CONFIG_YES : CONFIG_NO;
    return (key->later >> out->u & 1) != 0 ? SL_ESTATE : SL_OK;
}

/* Only the default, an empty list or null, is taken. */
static int read_reserved(const struct config_key *key, const struct config_node *node)
{
    bool list = key->def[0] == '[';
    bool is_default = list ? node->kind == NODE_LIST && node->n == 0 : node->kind == NODE_NULL;
    return is_default ? SL_OK : SL_ESTATE;
}

/* A flat switch: one line per type. */
int config_value_read(const struct config_key *key, const struct config_node *node,
                      struct config_memory *m, struct config_value *out)
{
    *out = (struct config_value){ .u = 0 };
    if ((key->flags & KEY_NULLABLE) != 0 && node->kind == NODE_NULL) {
        out->u = CONFIG_UNSET;
        return SL_OK;
    }
    switch (key->type) {
    case KEY_STRING:
    case KEY_PATH:
        return read_text(key, node, m, out);
    case KEY_BOOL:
    case KEY_TRI:
        return read_bool(key, node, out);
    case KEY_COUNT:
        return read_whole(key, node, &out->u);
    case KEY_INT:
        return read_int(key, node, out);
    case KEY_REAL:
        return read_real(key, node, out);
    case KEY_DURATION:
    case KEY_DURATION_US:
    case KEY_SIZE:
        return read_unit(key, node, out);
    case KEY_CHOICE:
        return read_choice(key, node, out);
    case KEY_STRINGS:
        return read_strings(key, node, m, out);
    case KEY_ENV:
        return read_env(node, m, out);
    case KEY_HEADERS:
        return read_headers(node, m, out);
    case KEY_WORKERS:
        return read_workers(key, node, out);
    case KEY_FILE_MODE:
        return read_file_mode(node, out);
    case KEY_RESERVED:
        return read_reserved(key, node);
    case KEY_OBJECT:
    case KEY_MAP:
    case KEY_LIST:
        break;
    }
    SL_ASSERT(false); /* containers have no value of their own */
    return SL_EINVAL;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool config_value_eq(const struct config_value *a, const struct config_value *b)
{
    if (a->u != b->u || a->u2 != b->u2 || a->real < b->real || a->real > b->real ||
        a->list.n != b->list.n || !same_text(a->text, b->text))
        return false;
    for (size_t i = 0; i < a->list.n; i++)
        if (!same_text(a->list.v[i], b->list.v[i]))
            return false;
    return true;
}

static void put_int(void *at, int value)
{
    memcpy(at, &value, sizeof value);
}

void config_value_store(const struct config_key *key, const struct config_value *v, void *base)
{
    void *at = (char *)base + key->at;
    uint32_t mode = (uint32_t)v->u;
    bool truth = v->u != 0;
    switch (key->type) {
    case KEY_STRING:
    case KEY_PATH:
        memcpy(at, &v->text, sizeof v->text);
        break;
    case KEY_BOOL:
        memcpy(at, &truth, sizeof truth);
        break;
    case KEY_TRI:
    case KEY_CHOICE:
        put_int(at, (int)v->u);
        break;
    case KEY_INT:
        put_int(at, v->u == CONFIG_UNSET ? CONFIG_INT_UNSET : (int)v->real);
        break;
    case KEY_REAL:
        memcpy(at, &v->real, sizeof v->real);
        break;
    case KEY_COUNT:
    case KEY_DURATION:
    case KEY_DURATION_US:
    case KEY_SIZE:
        memcpy(at, &v->u, sizeof v->u);
        break;
    case KEY_WORKERS:
        memcpy(at, &v->u, sizeof v->u);
        memcpy((char *)at + sizeof v->u, &v->u2, sizeof v->u2);
        break;
    case KEY_STRINGS:
    case KEY_ENV:
    case KEY_HEADERS:
        memcpy(at, &v->list, sizeof v->list);
        break;
    case KEY_FILE_MODE:
        memcpy(at, &mode, sizeof mode);
        break;
    case KEY_OBJECT:
    case KEY_MAP:
    case KEY_LIST:
    case KEY_RESERVED:
        break;
    }
}

const char *config_value_path(struct config_memory *m, const char *folder, const char *path)
{
    if (path[0] == '/' || *folder == '\0')
        return config_memory_text(m, sl_str(path));
    if (strcmp(path, ".") == 0)
        return config_memory_text(m, sl_str(folder));
    while (path[0] == '.' && path[1] == '/') /* "./x" is "x" */
        path += 2;
    size_t n = strlen(folder), cap = n + strlen(path) + 2;
    char *whole = config_memory_take(m, cap, 1);
    (void)snprintf(whole, cap, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", path);
    return whole;
}
