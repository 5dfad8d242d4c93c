/* One worker process, from the order to the nursery until its exit has been
 * told to the hub and its handles have closed. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/utf8.h"
#include "external.h"
#include "wire/wire.h"

#define FAULT_INPUT_SHOWN 48u

/* A crash loop has been told once; each of its starts and ends would say nothing new. */
static enum sl_log_level quiet(const struct pool *pool, enum sl_log_level level)
{
    return pool->crash.looping ? SL_DEBUG : level;
}

/* ---- start ---- */

struct worker *worker_new(struct slot *s)
{
    struct worker *w = SL_NEW(struct worker);
    w->slot = s;
    w->started_ms = pools_now(s->pools);
    w->streams[0].name = "stdout";
    w->streams[1].name = "stderr";
    mode_init(&w->mode, s->pool->cfg);
    (void)uv_timer_init(s->pool->pools->io.loop, &w->timer);
    w->timer.data = w;
    w->n_handles = 1;
    return w;
}

void worker_free(struct worker *w)
{
    if (--w->n_handles > 0)
        return;
    mode_fini(&w->mode);
    held_fini(&w->held);
    sl_buf_fini(&w->in);
    sl_buf_fini(&w->out);
    sl_buf_fini(&w->sending);
    sl_buf_fini(&w->result);
    sl_free(w->unpublished);
    sl_free(w->guest);
    sl_free(w); /* the only free of a worker */
}

static void fill_order(const struct worker *w, struct nursery_spawn *o)
{
    const struct pool_config *cfg = w->slot->pool->cfg;
    o->token = w->token;
    o->argv = cfg->command;
    o->env = cfg->env;
    o->cwd = cfg->cwd;
    o->user = cfg->user;
    o->group = cfg->group;
    o->nice = cfg->nice;
    o->no_new_privs = !cfg->may_gain_privs;
    o->has_oom_score_adj = cfg->has_oom_score_adj;
    o->oom_score_adj = cfg->oom_score_adj;
    o->n_rlimits = cfg->n_rlimits;
    for (size_t i = 0; i < cfg->n_rlimits; i++)
        o->rlimits[i] = cfg->rlimits[i];
}

static void send_order(struct worker *w, struct nursery_spawn *o, const struct mode_delivery *d)
{
    struct pools *p = w->slot->pool->pools;
    char pool[300];
    (void)snprintf(pool, sizeof pool, "SLUICE_POOL=%s", w->slot->pool->cfg->name);
    const char *const ours[] = { "SLUICE_FD=3", pool, NULL };
    char **env = d != NULL ? mode_exec_env(d) : NULL;
    o->more_env = env != NULL ? (const char *const *)env : w->mode.ops->socket ? ours : ours + 1;
    fill_order(w, o);
    nursery_spawn(p->io.nursery, o);
    mode_exec_env_free(env);
}

int worker_launch(struct slot *s, const struct mode_delivery *d)
{
    struct pools *p = s->pool->pools;
    struct worker *w = worker_new(s);
    struct nursery_spawn o = { 0 };
    if (io_open(w, &o) != SL_OK) {
        sl_log(SL_ERROR, "worker_pipes_failed", "pool=%s slot=%u", s->pool->cfg->name, (unsigned)s->number);
        io_close_all(w);
        return SL_ESYS;
    }
    w->token = ++p->next_token;
    sl_idmap_put(&p->by_token, w->token, w);
    SL_ASSERT(s->worker == NULL);
    s->worker = w;
    p->n_workers++;
    if (d != NULL) {
        (void)held_add(&w->held, d->from->d->lease, message_id(d->from->d->msg));
        w->mode.ops->deliver(&w->mode, d, &w->out);
        w->close_stdin = true;
        io_dirty(w);
    }
    send_order(w, &o, d);
    return SL_OK;
}

static void watch_over(struct worker *w)
{
    recycle_init(&w->recycle, &w->slot->pool->cfg->recycle, w->running_since_ms, &w->slot->pools->rng);
    watch_until(w->slot->pool, w->recycle.at_ms);
    if (w->slot->pool->crash.looping)
        watch_until(w->slot->pool, 0);
}

void worker_run(struct worker *w, uint32_t prefetch)
{
    w->state = WORKER_RUNNING;
    w->running_since_ms = pools_now(w->slot->pool->pools);
    if (w->guest == NULL)
        watch_over(w);
    worker_set_clock(w, CLOCK_NONE, 0);
    if (!w->mode.ops->per_message)
        slot_join(w->slot, prefetch);
    worker_update_started(w);
}

void worker_spawned(struct worker *w, pid_t pid)
{
    struct pool *pool = w->slot->pool;
    w->pid = pid;
    sl_idmap_put(&pool->pools->by_pid, (uint64_t)pid, w);
    pool->started++;
    hub_counters(pool->pools->io.hub)->workers_started++;
    sl_log(quiet(pool, SL_INFO), "worker_start", "pool=%s slot=%u pid=%d", pool->cfg->name, (unsigned)w->slot->number, (int)pid);
    if (w->pending_signal != 0)
        worker_signal(w, w->pending_signal);
    if (w->state != WORKER_SPAWNING)
        return; /* it was quick to say HELLO, or is not wanted any more */
    if (w->mode.ops->says_hello) {
        w->state = WORKER_STARTING;
        worker_set_clock(w, CLOCK_HELLO, pool->cfg->hello_ms);
        return;
    }
    turn_begin(pool->pools);
    worker_run(w, 0);
}

/* ---- clocks ---- */

static void tell_soft_limit(struct worker *w, struct held *h)
{
    h->soft_told = true;
    if (w->mode.ops->soft_limit == NULL) {
        worker_signal(w, SIGTERM);
        return;
    }
    uint64_t name = w->mode.ops->by_id ? h->id : held_tag(&w->held, h);
    w->mode.ops->soft_limit(name, &w->out);
    io_dirty(w);
    const struct pool_turn *turn = &w->slot->pool->pools->io.turn;
    turn->wake(turn->arg);
}

/* Tells those that are due and waits for the next one. */
static void soft_limits(struct worker *w)
{
    uint64_t now = pools_now(w->slot->pool->pools), next = UINT64_MAX;
    for (struct held *h = held_first(&w->held); h != NULL && h->soft_at_ms != 0; h = held_after(&w->held, h)) {
        if (h->soft_told)
            continue;
        if (h->soft_at_ms <= now)
            tell_soft_limit(w, h);
        else if (h->soft_at_ms < next)
            next = h->soft_at_ms;
    }
    if (next != UINT64_MAX)
        worker_set_clock(w, CLOCK_SOFT, next - now);
}

uint64_t worker_time_limit_ms(const struct worker *w)
{
    const struct pool_config *cfg = w->slot->pool->cfg;
    return w->guest != NULL ? cfg->ack_timeout_ms : cfg->time_limit_ms;
}

static bool hears_soft_limit(const struct worker *w)
{
    return w->slot->pool->cfg->soft_time_limit_ms > 0 && (w->wants_soft || !w->mode.ops->says_hello);
}

/* The timer is not touched for every message: it runs out, and whoever is then
 * due is told. */
void worker_update_started(struct worker *w)
{
    staff_answered(w->slot);
    if (!hears_soft_limit(w))
        return;
    const struct pool_config *cfg = w->slot->pool->cfg;
    uint64_t now = pools_now(w->slot->pool->pools);
    uint32_t n = w->mode.ops->per_message ? 1 : cfg->concurrency;
    for (struct held *h = held_first(&w->held); h != NULL && n > 0; h = held_after(&w->held, h), n--)
        if (h->soft_at_ms == 0)
            h->soft_at_ms = now + cfg->soft_time_limit_ms;
    if (w->clock == CLOCK_NONE && w->state == WORKER_RUNNING)
        soft_limits(w);
}

static void on_clock(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    enum worker_clock clock = w->clock;
    w->clock = CLOCK_NONE;
    if (clock == CLOCK_HELLO) {
        turn_begin(w->slot->pool->pools);
        worker_fault(w, &(struct mode_error){ WIRE_ERROR_STATE, "no-hello" }, SL_BYTES_NONE);
    } else if (clock == CLOCK_SOFT) {
        soft_limits(w);
    } else if (clock == CLOCK_PATIENCE) {
        turn_begin(w->slot->pools);
        worker_stop(w, w->closed && !w->bye && !w->draining ? END_CLOSED : END_ORDERLY, w->slot->pool->cfg->grace_ms);
    } else if (clock == CLOCK_GRACE) {
        if (w->guest != NULL)
            guest_end(w);
        else
            worker_signal(w, SIGKILL);
    } else if (clock == CLOCK_LEAVE) {
        turn_begin(w->slot->pools);
        worker_stop(w, END_ORDERLY, 0);
    }
}

void worker_set_clock(struct worker *w, enum worker_clock clock, uint64_t ms)
{
    w->clock = clock;
    if (clock == CLOCK_NONE)
        (void)uv_timer_stop(&w->timer);
    else
        (void)uv_timer_start(&w->timer, on_clock, ms, 0);
}

/* ---- ending it ---- */

void worker_signal(struct worker *w, int signum)
{
    if (w->gone || w->guest != NULL)
        return; /* nobody signals somebody else's process */
    if (w->pid == 0) {
        if (w->pending_signal != SIGKILL)
            w->pending_signal = signum;
        return;
    }
    nursery_kill(w->slot->pool->pools->io.nursery, w->pid, signum, true);
}

static void set_ending(struct worker *w, enum worker_end why)
{
    w->state = WORKER_ENDING;
    if (w->end == END_NONE)
        w->end = why;
}

void worker_stop(struct worker *w, enum worker_end why, uint64_t grace_ms)
{
    set_ending(w, why);
    if (w->clock == CLOCK_GRACE)
        return; /* told already */
    if (w->guest != NULL) {
        guest_stop(w, grace_ms);
        return;
    }
    worker_signal(w, SIGTERM);
    worker_set_clock(w, CLOCK_GRACE, grace_ms);
}

void worker_kill(struct worker *w, enum worker_end why)
{
    set_ending(w, why);
    worker_set_clock(w, CLOCK_NONE, 0);
    if (w->guest != NULL) {
        guest_end(w);
        return;
    }
    worker_signal(w, SIGKILL);
}

void worker_fault(struct worker *w, const struct mode_error *e, struct sl_bytes input)
{
    struct pool *pool = w->slot->pool;
    if (w->end == END_FAULT)
        return;
    char shown[FAULT_INPUT_SHOWN * 4 + 4];
    struct sl_bytes start = { input.p, input.n < FAULT_INPUT_SHOWN ? input.n : FAULT_INPUT_SHOWN };
    (void)sl_escape(start, shown, sizeof shown);
    if (w->guest == NULL || guest_may_log(w))
        sl_log(SL_WARN, "worker_fault", "pool=%s %s=%u pid=%d fault=%s input=\"%s\"", pool->cfg->name,
               w->guest != NULL ? "external" : "slot", (unsigned)w->slot->number, (int)w->pid, e->text, shown);
    hub_counters(pool->pools->io.hub)->worker_faults++;
    pool->faults++;
    w->fault = e->text;
    w->end = END_FAULT; /* also over what was there before: its answers are not trusted */
    if (w->gone)
        return;
    if (w->slot->consumer != 0)
        hub_consumer_stop(hub_of(w->slot), w->slot->consumer);
    if (w->mode.ops->error != NULL) {
        w->mode.ops->error(e, &w->out);
        w->shut_main = true;
        io_flush(w);
    }
    uint64_t grace = pool->cfg->grace_ms;
    worker_stop(w, END_FAULT, grace < FAULT_GRACE_MS ? grace : FAULT_GRACE_MS);
}

/* ---- the end ---- */

struct ending {
    struct hub_loss loss;
    bool crashed;
    char detail[64];
};

static void describe_status(struct ending *e, int status)
{
    if (WIFSIGNALED(status)) {
        e->loss.cause = QUEUE_CAUSE_SIGNAL;
        (void)snprintf(e->detail, sizeof e->detail, "signal %d", WTERMSIG(status));
    } else {
        e->loss.cause = QUEUE_CAUSE_EXIT;
        (void)snprintf(e->detail, sizeof e->detail, "exit %d", WEXITSTATUS(status));
    }
}

static void describe_own(const struct worker *w, struct ending *e, int status)
{
    bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool ready = w->running_since_ms > 0;
    describe_status(e, status);
    e->loss.charge_none = w->bye || (w->draining && clean);
    e->crashed = !(clean && ready && (w->bye || w->draining || w->held.n_open == 0));
    if (w->mode.ops->per_message)
        e->crashed = false; /* the queue's own retry makes the next one wait */
}

/* Who is charged, and why (decisions 32 and 33). */
static void describe(const struct worker *w, struct ending *e, int status)
{
    *e = (struct ending){ 0 };
    describe_own(w, e, status);
    switch (w->end) {
    case END_NONE:
        break;
    case END_FAULT:
        e->loss = (struct hub_loss){ .cause = QUEUE_CAUSE_PROTOCOL };
        (void)snprintf(e->detail, sizeof e->detail, "%s", w->fault);
        e->crashed = true;
        break;
    case END_TIMEOUT:
        e->loss = (struct hub_loss){ .cause = QUEUE_CAUSE_TIMEOUT, .timeout = true };
        (void)snprintf(e->detail, sizeof e->detail, "time limit");
        e->crashed = false;
        break;
    case END_CLOSED:
        e->loss = (struct hub_loss){ .cause = QUEUE_CAUSE_LOST };
        (void)snprintf(e->detail, sizeof e->detail, "closed its connection");
        e->crashed = true;
        break;
    case END_IDLE:
        e->loss = (struct hub_loss){ .cause = QUEUE_CAUSE_WORKER_KILLED, .charge_none = true };
        (void)snprintf(e->detail, sizeof e->detail, "took nothing");
        e->crashed = true;
        break;
    case END_ORDERLY:
    case END_NURSERY:
        e->loss = (struct hub_loss){ .cause = QUEUE_CAUSE_WORKER_KILLED, .charge_none = true };
        e->crashed = false;
        break;
    }
    e->loss.detail = sl_str(e->detail);
}

static void log_exit(const struct worker *w, const struct ending *e, const struct nursery_exit *x)
{
    sl_log(quiet(w->slot->pool, e->crashed ? SL_WARN : SL_INFO), "worker_exit",
           "pool=%s slot=%u pid=%d cause=%s detail=\"%s\" unanswered=%u user_ms=%llu system_ms=%llu max_rss_kib=%llu",
           w->slot->pool->cfg->name, (unsigned)w->slot->number, (int)w->pid, queue_cause_name(e->loss.cause), e->detail,
           (unsigned)w->held.n_open, (unsigned long long)(x->user_us / 1000), (unsigned long long)(x->system_us / 1000),
           (unsigned long long)(x->max_rss_bytes / 1024));
}

void worker_detach(struct worker *w)
{
    struct pools *p = w->slot->pool->pools;
    for (struct worker **at = &p->dirty; *at != NULL; at = &(*at)->next_dirty) {
        if (*at == w) {
            *at = w->next_dirty;
            break;
        }
    }
    p->n_unpublished -= w->n_unpublished;
    w->slot->worker = NULL;
    p->n_workers--;
    io_close_all(w);
}

/* Tells the hub, frees the place. Inside a turn. */
static void finish(struct worker *w, const struct ending *e)
{
    struct slot *s = w->slot;
    struct pools *p = s->pools;
    uint8_t tail[TAIL_BYTES];
    struct hub_loss loss = e->loss;
    loss.tail = output_tail(w, tail);
    uint64_t now = pools_now(p);
    const struct crash_life life = {
        .started_ms = w->started_ms,
        .lived_ms = w->running_since_ms > 0 ? now - w->running_since_ms : 0,
        .answered = held_answered(&w->held) > 0,
    };
    bool per_message = s->pool->ops->per_message;
    slot_leave(s, &loss);
    worker_detach(w);
    if (!per_message || e->crashed)
        slot_ended(s, e->crashed ? &life : NULL);
    else if (!staff_release(s))
        slot_start(s); /* the same place for the next message, at once */
    drain_check(p);
}

/* exec, and its exit was the answer: the consumer stays. */
static void finish_answered(struct worker *w)
{
    struct pools *p = w->slot->pool->pools;
    struct slot *s = w->slot;
    worker_detach(w);
    if (p->draining)
        slot_leave(s, &(struct hub_loss){ .cause = QUEUE_CAUSE_WORKER_KILLED, .charge_none = true });
    else if (!staff_release(s))
        staff_answered(s);
    drain_check(p);
}

void worker_exited(struct worker *w, const struct nursery_exit *x)
{
    struct pools *p = w->slot->pool->pools;
    struct ending e;
    turn_begin(p);
    w->gone = true;
    hub_counters(p->io.hub)->workers_exited++;
    io_read_rest(w);
    output_end(w);
    describe(w, &e, x->status);
    log_exit(w, &e, x);
    if (w->mode.ops->per_message && answers_by_exit(w, x->status))
        finish_answered(w);
    else
        finish(w, &e);
}

void worker_failed(struct worker *w, int error, const char *stage)
{
    struct slot *s = w->slot;
    turn_begin(s->pool->pools);
    w->gone = true;
    sl_log(quiet(s->pool, SL_ERROR), "worker_start_failed", "pool=%s slot=%u stage=\"%s\" error=\"%s\" command=\"%s\"", s->pool->cfg->name,
           (unsigned)s->number, stage, strerror(error), s->pool->cfg->command[0]);
    struct ending e = { .loss = { .cause = QUEUE_CAUSE_LOST, .charge_none = true }, .crashed = true };
    finish(w, &e);
}

void worker_lost_nursery(struct worker *w)
{
    struct ending e;
    turn_begin(w->slot->pool->pools);
    w->gone = true;
    w->end = w->end == END_NONE ? END_NURSERY : w->end;
    io_read_rest(w);
    output_end(w);
    describe(w, &e, 0);
    finish(w, &e);
}
