#include "check.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/utf8.h"
#include "keys.h"

struct check {
    struct config *c;
    const struct config_node *root;
    const char *folder;
    struct config_report *report;
    struct config_path path;
};

/* At the place of the path, or of the nearest thing around it that is there. */
static void fault(struct check *k, const char *fmt, ...) SL_PRINTF(2, 3);
static void fault(struct check *k, const char *fmt, ...)
{
    char text[512];
    bool whole;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const struct config_node *node = config_tree_find(k->root, k->path.text, &whole);
    config_fault(k->report, node->at, k->path.text, "%s", text);
}

static void at_key(struct check *k, const char *key)
{
    (void)config_path_key(&k->path, key);
}

static void at_index(struct check *k, size_t index)
{
    (void)config_path_index(&k->path, index);
}

static void at_top(struct check *k, const char *key)
{
    config_path_back(&k->path, 0);
    at_key(k, key);
}

/* ---- listeners ---- */

static bool same_address(const struct config_listener *a, const struct config_listener *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == CONFIG_BIND_UNIX)
        return strcmp(a->path, b->path) == 0;
    return a->port != 0 && a->port == b->port && strcmp(a->host, b->host) == 0;
}

static bool is_bound(const struct config_listener *l)
{
    return l->host != NULL || l->path != NULL;
}

static void check_duplicate(struct check *k, size_t index)
{
    const struct config_listener *all = k->c->listeners;
    for (size_t i = 0; i < index; i++) {
        if (!is_bound(&all[i]) || !same_address(&all[i], &all[index]))
            continue;
        fault(k, "listeners[%zu] has the same address, must be another one", i);
        return;
    }
}

static void check_anonymous(struct check *k, struct config_listener *l)
{
    l->anonymous = l->anonymous_asked == CONFIG_INHERIT ? k->c->auth.anonymous
                                                        : l->anonymous_asked == CONFIG_YES;
    if (!l->loopback && l->anonymous && l->anonymous_asked == CONFIG_INHERIT)
        fault(k, "anonymous clients from beyond loopback must be asked for, with "
                 "\"anonymous\": true on this listener");
}

static void check_listener(struct check *k, size_t index)
{
    struct config_listener *l = &k->c->listeners[index];
    char shown[96];
    if (l->bind == NULL)
        return;
    at_top(k, "listeners");
    at_index(k, index);
    at_key(k, "bind");
    int err = config_bind_parse(k->c->memory, k->folder, l);
    if (err != SL_OK) {
        l->host = l->path = NULL;
        fault(k, "\"%s\" is %s", sl_escape(sl_str(l->bind), shown, sizeof shown),
              err == SL_ETOOBIG ? "too long, with its folder allowed are 107 bytes"
                                : "not allowed, must be " CONFIG_BIND_ALLOWED);
        return;
    }
    check_duplicate(k, index);
    check_anonymous(k, l);
}

/* ---- routes and pools ---- */

static bool find_queue(const struct config *c, const char *name, size_t *index)
{
    for (*index = 0; *index < c->n_queues; (*index)++)
        if (strcmp(c->queues[*index].name, name) == 0)
            return true;
    return false;
}

static void no_such_queue(struct check *k, const char *name)
{
    char shown[96], all[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < k->c->n_queues; i++) {
        const char *known = k->c->queues[i].name;
        if (used + strlen(known) + 3 < sizeof all)
            used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", used > 0 ? ", " : "",
                                     known);
    }
    fault(k, "there is no queue \"%s\", must be one of queues%s%s",
          sl_escape(sl_str(name), shown, sizeof shown), used > 0 ? ": " : "", all);
}

static void check_route_queue(struct check *k, struct config_route *r, size_t index)
{
    const char *name = r->queues.v[index];
    if (!find_queue(k->c, name, &r->queue_index[index])) {
        no_such_queue(k, name);
        return;
    }
    for (size_t i = 0; i < index; i++) {
        if (strcmp(r->queues.v[i], name) == 0) {
            fault(k, "\"%s\" is named twice, must be once", name);
            return;
        }
    }
}

static void check_route(struct check *k, size_t index)
{
    struct config_route *r = &k->c->routes[index];
    r->queue_index = config_memory_take(k->c->memory, r->queues.n + 1, sizeof *r->queue_index);
    at_top(k, "routes");
    at_index(k, index);
    at_key(k, "queues");
    size_t back = k->path.n;
    for (size_t i = 0; i < r->queues.n; i++) {
        at_index(k, i);
        check_route_queue(k, r, i);
        config_path_back(&k->path, back);
    }
}

static void at_pool(struct check *k, const struct config_pool *p, const char *key)
{
    at_top(k, "pools");
    at_key(k, p->name);
    at_key(k, key);
}

static void check_pool(struct check *k, struct config_pool *p)
{
    at_pool(k, p, "queue");
    if (p->queue != NULL && !find_queue(k->c, p->queue, &p->queue_index))
        no_such_queue(k, p->queue);
    at_pool(k, p, "command");
    if (p->command.n > 0 && p->command.v[0][0] == '\0')
        fault(k, "the program is empty, must be its name or path");
    at_pool(k, p, "soft_time_limit");
    if (p->soft_time_limit_ms > p->time_limit_ms)
        fault(k, "is longer than time_limit, must be at most that");
    at_pool(k, p, "prefetch");
    if (p->prefetch < p->concurrency)
        fault(k, "is less than concurrency (%llu), must be at least that",
              (unsigned long long)p->concurrency);
    at_pool(k, p, "restart");
    at_key(k, "max");
    if (p->restart.max_ms < p->restart.initial_ms)
        fault(k, "is shorter than restart.initial, must be at least that");
}

static void check_queue(struct check *k, const struct config_queue *q)
{
    at_top(k, "queues");
    at_key(k, q->name);
    at_key(k, "retry");
    at_key(k, "max");
    if (q->retry.max_ms < q->retry.initial_ms)
        fault(k, "is shorter than retry.initial, must be at least that");
}

/* ---- the whole ---- */

static void check_sizes(struct check *k)
{
    at_top(k, "limits");
    at_key(k, "max_message");
    if (k->c->limits.max_message_bytes > k->c->limits.memory_bytes)
        fault(k, "is more than limits.memory, must be at most that");
    at_top(k, "store");
    at_key(k, "reserve");
    if (k->c->store.reserve_bytes > k->c->store.map_size_bytes / 2)
        fault(k, "is more than half of store.map_size, must be at most that");
}

void config_check(struct config *c, const struct config_node *root, const char *folder,
                  struct config_report *r)
{
    struct check k = { .c = c, .root = root, .folder = folder, .report = r };
    for (size_t i = 0; i < c->n_listeners; i++)
        check_listener(&k, i);
    check_sizes(&k);
    for (size_t i = 0; i < c->n_queues; i++)
        check_queue(&k, &c->queues[i]);
    for (size_t i = 0; i < c->n_routes; i++)
        check_route(&k, i);
    for (size_t i = 0; i < c->n_pools; i++)
        check_pool(&k, &c->pools[i]);
}
