#include "check.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/utf8.h"
#include "keys.h"
#include "rules.h"

#define CONFIG_SOCKET_PATH_MAX 107u

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

/* In exec each message has its own process: there is nothing that could grow old. */
static void check_recycling(struct check *k, const struct config_pool *p)
{
    const struct {
        const char *key;
        bool set;
    } bounds[] = { { "max_jobs", p->max_jobs > 0 }, { "max_rss", p->max_rss_bytes > 0 }, { "max_age", p->max_age_ms > 0 } };
    for (size_t i = 0; i < SL_COUNT(bounds) && p->mode == CONFIG_EXEC; i++) {
        at_pool(k, p, bounds[i].key);
        if (bounds[i].set)
            fault(k, "is for workers that stay, with mode \"exec\" it must be 0");
    }
}

static void check_batch(struct check *k, const struct config_pool *p)
{
    if (p->batch.max == 1)
        return;
    at_pool(k, p, "batch");
    at_key(k, "max");
    if (p->mode == CONFIG_EXEC)
        fault(k, "is for several messages, and mode \"exec\" has one for each process: must be 1");
    else if (p->concurrency > 1)
        fault(k, "with concurrency over 1 is not allowed: a worker has one batch at a time, of any size");
}

static bool is_ordered(const struct check *k, const char *queue)
{
    for (size_t i = 0; queue != NULL && i < k->c->n_queues; i++) {
        const struct config_queue *q = &k->c->queues[i];
        if (strcmp(q->name, queue) == 0)
            return q->order_by != NULL && strcmp(q->order_by, "none") != 0;
    }
    return false;
}

/* It holds for a queue. */
static void check_keys(struct check *k, const struct config_pool *p)
{
    at_pool(k, p, "max_in_flight_per_key");
    if (p->max_in_flight_per_key > 0 && is_ordered(k, p->queue))
        fault(k, "is for queues without order_by, which has one message of a key in flight, must be 0");
    for (const struct config_pool *other = k->c->pools; other < p; other++) {
        if (other->queue == NULL || p->queue == NULL || strcmp(other->queue, p->queue) != 0)
            continue;
        at_pool(k, p, "max_in_flight_per_key");
        if (other->max_in_flight_per_key != p->max_in_flight_per_key)
            fault(k, "is %llu, and %llu in pool \"%s\" of the same queue, must be the same", (unsigned long long)p->max_in_flight_per_key,
                  (unsigned long long)other->max_in_flight_per_key, other->name);
        at_pool(k, p, "max_in_flight_key");
        if (p->max_in_flight_per_key > 0 && strcmp(other->max_in_flight_key, p->max_in_flight_key) != 0)
            fault(k, "is another one in pool \"%s\" of the same queue, must be the same", other->name);
    }
}

/* ---- external workers ---- */

static bool same_socket(const struct check *k, const struct config_pool *p, const char **other)
{
    for (size_t i = 0; i < k->c->n_listeners; i++) {
        *other = "a listener";
        if (k->c->listeners[i].path != NULL && strcmp(k->c->listeners[i].path, p->worker_socket) == 0)
            return true;
    }
    for (const struct config_pool *o = k->c->pools; o < p; o++) {
        *other = o->name;
        if (o->worker_socket != NULL && strcmp(o->worker_socket, p->worker_socket) == 0)
            return true;
    }
    return false;
}

static void check_worker_socket(struct check *k, const struct config_pool *p)
{
    const char *other;
    at_pool(k, p, "worker_token");
    if (p->worker_socket == NULL && p->worker_token != NULL)
        fault(k, "is for a worker_socket, which is missing");
    at_pool(k, p, "worker_socket");
    if (p->worker_socket == NULL)
        return;
    if (p->mode != CONFIG_SOCKET)
        fault(k, "is for mode \"socket\", must be null with other modes");
    else if (strlen(p->worker_socket) > CONFIG_SOCKET_PATH_MAX)
        fault(k, "is too long, with its folder allowed are 107 bytes");
    else if (same_socket(k, p, &other))
        fault(k, "is the path of %s too, must be another one", other);
}

/* What is there and wrong has been told. */
static bool is_left_out(const struct check *k)
{
    bool whole;
    const struct config_node *node = config_tree_find(k->root, k->path.text, &whole);
    return !whole || node->kind == NODE_NULL;
}

/* Processes of its own, or external ones, or both. */
static void check_workers(struct check *k, const struct config_pool *p)
{
    at_pool(k, p, "command");
    if (p->command.n == 0 && p->workers.max > 0 && is_left_out(k))
        fault(k, "is missing, must be a text or a list of texts, at least one; null only with workers 0");
    at_pool(k, p, "workers");
    if (p->workers.max == 0 && p->worker_socket == NULL)
        fault(k, "is 0, without a worker_socket it must be more: nobody would work");
}

static void check_pool(struct check *k, struct config_pool *p)
{
    check_batch(k, p);
    check_keys(k, p);
    at_pool(k, p, "queue");
    if (p->queue != NULL && !find_queue(k->c, p->queue, &p->queue_index))
        no_such_queue(k, p->queue);
    at_pool(k, p, "command");
    if (p->command.n > 0 && p->command.v[0][0] == '\0')
        fault(k, "the program is empty, must be its name or path");
    check_workers(k, p);
    check_worker_socket(k, p);
    at_pool(k, p, "soft_time_limit");
    if (p->soft_time_limit_ms > p->time_limit_ms)
        fault(k, "is longer than time_limit, must be at most that");
    at_pool(k, p, "idle_timeout");
    if (p->workers.min == 0 && p->workers.max > 0 && p->idle_timeout_ms == 0)
        fault(k, "is 0s, with workers.min 0 it must be more: the last worker would stay");
    check_recycling(k, p);
    at_pool(k, p, "prefetch");
    if (p->prefetch < p->concurrency)
        fault(k, "is less than concurrency (%llu), must be at least that",
              (unsigned long long)p->concurrency);
    at_pool(k, p, "restart");
    at_key(k, "max");
    if (p->restart.max_ms < p->restart.initial_ms)
        fault(k, "is shorter than restart.initial, must be at least that");
}

static bool named_before(const struct config_strings *list, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(list->v[i], list->v[index]) == 0)
            return true;
    }
    return false;
}

static void check_dedup(struct check *k, const struct config_queue *q)
{
    const struct config_strings *by = &q->dedup.by;
    char shown[96];
    at_top(k, "queues");
    at_key(k, q->name);
    at_key(k, "dedup");
    at_key(k, "by");
    size_t back = k->path.n;
    if (by->n > CONFIG_DEDUP_PARTS)
        fault(k, "has more than %u parts, must be fewer", CONFIG_DEDUP_PARTS);
    for (size_t i = 0; i < by->n; i++) {
        at_index(k, i);
        if (!config_is_dedup(sl_str(by->v[i])))
            fault(k, "\"%s\" is not allowed, must be \"client\", \"topic\", \"payload\", \"retransmit\" or \"header:NAME\"", sl_escape(sl_str(by->v[i]), shown, sizeof shown));
        else if (named_before(by, i))
            fault(k, "\"%s\" is named twice, must be once", sl_escape(sl_str(by->v[i]), shown, sizeof shown));
        config_path_back(&k->path, back);
    }
}

static void check_queue(struct check *k, const struct config_queue *q)
{
    check_dedup(k, q);
    at_top(k, "queues");
    at_key(k, q->name);
    at_key(k, "retry");
    at_key(k, "max");
    if (q->retry.max_ms < q->retry.initial_ms)
        fault(k, "is shorter than retry.initial, must be at least that");
}

/* From queue to queue; whoever goes on for longer than there are queues comes by again. */
static bool comes_back(const struct config *c, const struct config_queue *q)
{
    size_t at = (size_t)(q - c->queues);
    for (size_t steps = 0; steps < c->n_queues; steps++) {
        if (c->queues[at].dead.forward_to == NULL || !find_queue(c, c->queues[at].dead.forward_to, &at))
            return false;
        if (&c->queues[at] == q)
            return true;
    }
    return false;
}

static void check_forward(struct check *k, struct config_queue *q)
{
    const char *to = q->dead.forward_to;
    at_top(k, "queues");
    at_key(k, q->name);
    at_key(k, "dead");
    at_key(k, "forward_to");
    if (to == NULL)
        return;
    if (!find_queue(k->c, to, &q->dead.forward_index))
        no_such_queue(k, to);
    else if (strcmp(to, q->name) == 0)
        fault(k, "is this queue itself, must be another one");
    else if (comes_back(k->c, q))
        fault(k, "leads back to this queue, must be one that does not");
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
    for (size_t i = 0; i < c->n_queues; i++)
        check_forward(&k, &c->queues[i]);
    for (size_t i = 0; i < c->n_routes; i++)
        check_route(&k, i);
    for (size_t i = 0; i < c->n_pools; i++)
        check_pool(&k, &c->pools[i]);
}
