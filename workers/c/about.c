/* What can be asked of a worker, and the errors in words. */
#include "internal.h"

const char *sluice_worker_queue(const struct sluice_worker *w)
{
    return w->queue;
}

const char *sluice_worker_pool(const struct sluice_worker *w)
{
    return w->pool;
}

const char *sluice_worker_node(const struct sluice_worker *w)
{
    return w->node;
}

uint32_t sluice_worker_concurrency(const struct sluice_worker *w)
{
    return w->welcome.concurrency;
}

uint32_t sluice_worker_time_limit_ms(const struct sluice_worker *w)
{
    return w->welcome.time_limit_ms;
}

uint32_t sluice_worker_soft_time_limit_ms(const struct sluice_worker *w)
{
    return w->welcome.soft_time_limit_ms;
}

bool sluice_worker_is_external(const struct sluice_worker *w)
{
    return (w->welcome.flags & WIRE_EXTERNAL) != 0;
}

bool sluice_worker_has_batches(const struct sluice_worker *w)
{
    return (w->welcome.flags & WIRE_BATCHES) != 0;
}

uint32_t sluice_worker_prefetch(const struct sluice_worker *w)
{
    return w->welcome.prefetch;
}

uint64_t sluice_worker_refused_publishes(const struct sluice_worker *w)
{
    return w->refused;
}

uint64_t sluice_worker_unheard_publishes(const struct sluice_worker *w)
{
    return w->unheard;
}

uint32_t sluice_worker_max_message(const struct sluice_worker *w)
{
    return w->welcome.max_message;
}

uint32_t sluice_worker_max_result(const struct sluice_worker *w)
{
    return w->welcome.max_result;
}

uint64_t sluice_worker_stale_answers(const struct sluice_worker *w)
{
    return w->stale;
}

int sluice_worker_fd(const struct sluice_worker *w)
{
    return w->fd;
}

const char *sluice_worker_error_text(int err)
{
    static const char *const texts[] = {
        "no error",
        "drained: nothing more will come",
        "nothing came in time",
        "not started by a sluice gateway",
        "the gateway has gone",
        "the gateway sent bytes that are no frame",
        "the gateway refused this worker",
        "an argument is not allowed",
        "larger than this gateway takes",
        "this message has had its answer",
        "the system refused",
        "this message's connection is gone, and others have it",
        "not a topic to publish to",
        "a queue refused it",
        "the gateway cannot store at present",
        "this process may not join the pool",
    };
    return err > 0 || err <= -(int)SL_COUNT(texts) ? "unknown error" : texts[-err];
}
