#include "pool_config.h"

#include <string.h>

#include "core/alloc.h"

#define HELLO_MS_DEFAULT 10000u

/* ---- copies ---- */

static const char *copy_text(const char *s)
{
    return s != NULL ? sl_strdup(s) : NULL;
}

static const char *const *copy_texts(const char *const *v)
{
    size_t n = 0;
    if (v == NULL)
        return NULL;
    while (v[n] != NULL)
        n++;
    const char **copy = sl_calloc(n + 1, sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = copy_text(v[i]);
    return copy;
}

static const struct nursery_rlimit *copy_rlimits(const struct nursery_rlimit *v, size_t n)
{
    return n == 0 ? NULL : memcpy(sl_calloc(n, sizeof *v), v, n * sizeof *v);
}

static void free_texts(const char *const *v)
{
    for (size_t i = 0; v != NULL && v[i] != NULL; i++)
        sl_free((void *)(uintptr_t)v[i]);
    sl_free((void *)(uintptr_t)v);
}

static void free_text(const char *s)
{
    sl_free((void *)(uintptr_t)s);
}

static void fill_defaults(struct pool_config *cfg)
{
    if (cfg->size.max == 0)
        cfg->size.min = cfg->size.max = cfg->workers;
    if (cfg->hello_ms == 0)
        cfg->hello_ms = HELLO_MS_DEFAULT;
    if (cfg->mode == POOL_EXEC || cfg->prefetch == 0)
        cfg->prefetch = 1;
    if (cfg->mode == POOL_EXEC || cfg->concurrency == 0)
        cfg->concurrency = 1;
    if (cfg->mode == POOL_EXEC || cfg->batch_max == 0)
        cfg->batch_max = 1;
    if (cfg->batch_max > 1)
        cfg->prefetch = cfg->concurrency = cfg->batch_max; /* taking starts */
    if (cfg->restart_max_ms < cfg->restart_initial_ms)
        cfg->restart_max_ms = cfg->restart_initial_ms;
    if (!(cfg->restart_factor >= 1))
        cfg->restart_factor = 1;
}

void pool_config_copy(struct pool_config *to, const struct pool_config *from)
{
    *to = *from;
    to->name = copy_text(from->name);
    to->queue_name = copy_text(from->queue_name);
    to->node = copy_text(from->node);
    to->command = copy_texts(from->command);
    to->env = copy_texts(from->env);
    to->cwd = copy_text(from->cwd);
    to->user = copy_text(from->user);
    to->group = copy_text(from->group);
    to->worker_socket = copy_text(from->worker_socket);
    to->worker_token = copy_text(from->worker_token);
    to->rlimits = copy_rlimits(from->rlimits, from->n_rlimits);
    fill_defaults(to);
}

void pool_config_fini(struct pool_config *cfg)
{
    free_text(cfg->name);
    free_text(cfg->queue_name);
    free_text(cfg->node);
    free_texts(cfg->command);
    free_texts(cfg->env);
    free_text(cfg->cwd);
    free_text(cfg->user);
    free_text(cfg->group);
    free_text(cfg->worker_socket);
    free_text(cfg->worker_token);
    sl_free((void *)(uintptr_t)cfg->rlimits);
}

/* ---- comparing ---- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_texts(const char *const *a, const char *const *b)
{
    static const char *const none[] = { NULL };
    a = a != NULL ? a : none;
    b = b != NULL ? b : none;
    while (*a != NULL && *b != NULL && strcmp(*a, *b) == 0)
        a++, b++;
    return *a == NULL && *b == NULL;
}

static bool same_rlimits(const struct pool_config *a, const struct pool_config *b)
{
    if (a->n_rlimits != b->n_rlimits)
        return false;
    for (size_t i = 0; i < a->n_rlimits; i++)
        if (a->rlimits[i].resource != b->rlimits[i].resource || a->rlimits[i].value != b->rlimits[i].value)
            return false;
    return true;
}

static bool same_rights(const struct pool_config *a, const struct pool_config *b)
{
    return same_text(a->user, b->user) && same_text(a->group, b->group) && same_rlimits(a, b) && a->nice == b->nice &&
           a->may_gain_privs == b->may_gain_privs && a->has_oom_score_adj == b->has_oom_score_adj && a->oom_score_adj == b->oom_score_adj;
}

static bool same_limits(const struct pool_config *a, const struct pool_config *b)
{
    return a->prefetch == b->prefetch && a->concurrency == b->concurrency && a->time_limit_ms == b->time_limit_ms &&
           a->soft_time_limit_ms == b->soft_time_limit_ms && a->batch_max == b->batch_max && a->batch_wait_ms == b->batch_wait_ms && a->max_message == b->max_message && a->max_result == b->max_result;
}

/* What external workers see; with another file or token all of them are to come again. */
static bool same_socket(const struct pool_config *a, const struct pool_config *b)
{
    return same_text(a->worker_socket, b->worker_socket) && same_text(a->worker_token, b->worker_token) &&
           a->worker_socket_mode == b->worker_socket_mode && a->ack_timeout_ms == b->ack_timeout_ms;
}

bool pool_config_same_worker(const struct pool_config *a, const struct pool_config *b)
{
    return a->queue == b->queue && a->mode == b->mode && (a->max_rate > 0) == (b->max_rate > 0) && same_text(a->queue_name, b->queue_name) && same_text(a->node, b->node) &&
           same_texts(a->command, b->command) && same_texts(a->env, b->env) && same_text(a->cwd, b->cwd) && same_rights(a, b) &&
           same_limits(a, b) && same_socket(a, b);
}

bool pool_config_same_care(const struct pool_config *a, const struct pool_config *b)
{
    return a->max_rate == b->max_rate && a->size.min == b->size.min && a->size.max == b->size.max && a->size.idle_ms == b->size.idle_ms &&
           a->recycle.max_jobs == b->recycle.max_jobs && a->recycle.max_age_ms == b->recycle.max_age_ms &&
           a->recycle.max_rss_bytes == b->recycle.max_rss_bytes && a->watchdog_ms == b->watchdog_ms &&
           a->worker_socket_max == b->worker_socket_max && a->grace_ms == b->grace_ms && a->hello_ms == b->hello_ms &&
           a->restart_initial_ms == b->restart_initial_ms && a->restart_max_ms == b->restart_max_ms &&
           a->restart_factor >= b->restart_factor && a->restart_factor <= b->restart_factor;
}

void pool_config_take_care(struct pool_config *to, const struct pool_config *from)
{
    to->size = from->size;
    to->max_rate = from->max_rate;
    to->recycle = from->recycle;
    to->watchdog_ms = from->watchdog_ms;
    to->worker_socket_max = from->worker_socket_max;
    to->grace_ms = from->grace_ms;
    to->hello_ms = from->hello_ms;
    to->restart_initial_ms = from->restart_initial_ms;
    to->restart_max_ms = from->restart_max_ms;
    to->restart_factor = from->restart_factor;
}
