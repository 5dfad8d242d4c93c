/* What two configurations differ in, key by key: what a running gateway can take
 * over is the pools and the schedules, all else is told by name. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "core/alloc.h"
#include "keys.h"
#include "tree.h"

#define SCOPE_MAX 64

struct changes {
    struct config_faults *faults;
    const char *source;
    struct config_path path;
};

/* One scope of the table in both. */
struct pair {
    const char *scope;
    const char *before, *after;
};

static void compare_scope(struct changes *c, const struct pair *at);

static void tell(struct changes *c, const char *what)
{
    char line[CONFIG_PATH_MAX + 768];
    (void)snprintf(line, sizeof line, "%.512s: %s: %s", c->source, c->path.text, what);
    c->faults->v = sl_realloc(c->faults->v, (c->faults->n + 1) * sizeof *c->faults->v);
    c->faults->v[c->faults->n++] = sl_strdup(line);
}

/* ---- values ---- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_texts(const char *before, const char *after)
{
    struct config_strings a, b;
    memcpy(&a, before, sizeof a);
    memcpy(&b, after, sizeof b);
    bool same = a.n == b.n;
    for (size_t i = 0; same && i < a.n; i++)
        same = same_text(a.v[i], b.v[i]);
    return same;
}

static bool same_pointed(const char *before, const char *after)
{
    const char *a, *b;
    memcpy(&a, before, sizeof a);
    memcpy(&b, after, sizeof b);
    return same_text(a, b);
}

/* Bytes of a plain value; 0: it is none. */
static size_t plain_size(enum config_type type)
{
    static const size_t sizes[] = {
        [KEY_BOOL] = sizeof(bool),     [KEY_TRI] = sizeof(int),           [KEY_COUNT] = sizeof(uint64_t),
        [KEY_INT] = sizeof(int),       [KEY_REAL] = sizeof(double),       [KEY_DURATION] = sizeof(uint64_t),
        [KEY_SIZE] = sizeof(uint64_t), [KEY_DURATION_US] = sizeof(uint64_t), [KEY_CHOICE] = sizeof(int),
        [KEY_WORKERS] = 2 * sizeof(uint64_t), [KEY_FILE_MODE] = sizeof(uint32_t), [KEY_RESERVED] = 0,
    };
    return sizes[type];
}

/* Taken over by a running gateway, whatever is in them. */
static bool is_taken_over(const struct config_key *key)
{
    return strcmp(key->path, "pools") == 0 || strcmp(key->path, "schedules") == 0;
}

static bool same_value(const struct config_key *key, const struct pair *at)
{
    const char *before = at->before + key->at, *after = at->after + key->at;
    if (key->type == KEY_STRING || key->type == KEY_PATH)
        return same_pointed(before, after);
    if (key->type == KEY_STRINGS || key->type == KEY_ENV || key->type == KEY_HEADERS)
        return same_texts(before, after);
    return memcmp(before, after, plain_size(key->type)) == 0;
}

/* ---- collections ---- */

struct elements {
    const char *v;
    size_t n;
};

static struct elements elements_of(const struct config_key *key, const char *base)
{
    struct elements e;
    memcpy(&e.v, base + key->at, sizeof e.v);
    memcpy(&e.n, base + key->n_at, sizeof e.n);
    return e;
}

static const char *name_of(const char *element)
{
    const char *name;
    memcpy(&name, element, sizeof name); /* the name comes first in such a struct */
    return name;
}

static const char *named(const struct config_key *key, struct elements in, const char *name)
{
    for (size_t i = 0; i < in.n; i++)
        if (strcmp(name_of(in.v + i * key->size), name) == 0)
            return in.v + i * key->size;
    return NULL;
}

static void compare_map(struct changes *c, const struct config_key *key, const struct pair *at)
{
    struct elements before = elements_of(key, at->before), after = elements_of(key, at->after);
    char scope[SCOPE_MAX];
    for (size_t i = 0; i < before.n + after.n; i++) {
        const char *element = i < before.n ? before.v + i * key->size : after.v + (i - before.n) * key->size;
        const char *other = named(key, i < before.n ? after : before, name_of(element));
        size_t back = config_path_key(&c->path, name_of(element));
        if (other == NULL)
            tell(c, i < before.n ? "was removed, that needs a restart" : "was added, that needs a restart");
        else if (i < before.n)
            compare_scope(c, &(struct pair){ config_key_scope(key, scope, sizeof scope), element, other });
        config_path_back(&c->path, back);
    }
}

static void compare_list(struct changes *c, const struct config_key *key, const struct pair *at)
{
    struct elements before = elements_of(key, at->before), after = elements_of(key, at->after);
    char scope[SCOPE_MAX];
    if (before.n != after.n)
        tell(c, "has another number of items, that needs a restart");
    for (size_t i = 0; i < before.n && before.n == after.n; i++) {
        size_t back = config_path_index(&c->path, i);
        compare_scope(c, &(struct pair){ config_key_scope(key, scope, sizeof scope), before.v + i * key->size, after.v + i * key->size });
        config_path_back(&c->path, back);
    }
}

/* ---- the whole ---- */

static void compare_key(struct changes *c, const struct config_key *key, const struct pair *at)
{
    if (key->type == KEY_OBJECT)
        compare_scope(c, &(struct pair){ key->path, at->before, at->after });
    else if (key->type == KEY_MAP)
        compare_map(c, key, at);
    else if (key->type == KEY_LIST)
        compare_list(c, key, at);
    else if (!same_value(key, at))
        tell(c, "was changed, that needs a restart");
}

/* As deep as the table. */
static void compare_scope(struct changes *c, const struct pair *at)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++) {
        if (!config_key_is_in(&keys[i], at->scope) || is_taken_over(&keys[i]))
            continue;
        size_t back = config_path_key(&c->path, config_key_name(&keys[i]));
        compare_key(c, &keys[i], at);
        config_path_back(&c->path, back);
    }
}

int config_reloadable(const struct config *before, const struct config *after, struct config_faults *faults)
{
    struct changes c = { .faults = faults, .source = after->source };
    compare_scope(&c, &(struct pair){ "", (const char *)before, (const char *)after });
    return faults->n == 0 ? SL_OK : SL_EINVAL;
}
