/* One external worker. What it has in common with a process of ours is worker.c's
 * and answers.c's; here is what differs: its entry and its end. */
#include "external.h"

#include "core/utf8.h"
#include "wire/wire.h"

#define LINES_S   50u         /* logged per pool and second about such workers */
#define HELLO_MAX (64u << 10) /* unread input of one that has not said HELLO */

/* ---- entry ---- */

void guest_enter(struct guest *g, int fd, pid_t pid)
{
    struct worker *w = worker_new(&g->slot);
    w->guest = g;
    w->pid = pid;
    w->state = WORKER_STARTING;
    g->slot.worker = w;
    g->slot.pools->n_workers++;
    if (io_adopt(w, fd) != SL_OK) {
        sl_log(SL_ERROR, "external_failed", "pool=%s external=%u", g->slot.pool->cfg->name, (unsigned)g->slot.number);
        guest_end(w);
        return;
    }
    worker_set_clock(w, CLOCK_HELLO, g->slot.pool->cfg->hello_ms);
}

const char *guest_hello(struct worker *w, const struct mode_answer *a)
{
    struct pool *pool = w->slot->pool;
    char shown[256 * 4];
    if (!external_token_is(pool, a->token))
        return "token";
    external_not_silent(w->guest);
    pool->joined++;
    (void)sl_escape(a->worker_name, shown, sizeof shown);
    if (guest_may_log(w))
        sl_log(SL_INFO, "external_join", "pool=%s external=%u pid=%d uid=%u name=\"%s\"", pool->cfg->name, (unsigned)w->slot->number, (int)w->pid,
               (unsigned)w->guest->uid, shown);
    return NULL;
}

bool guest_may_log(const struct worker *w)
{
    struct pool *pool = w->slot->pool;
    return sl_log_allow(&pool->guest_lines, pools_now(pool->pools), LINES_S);
}

void guest_look(struct worker *w)
{
    if (!w->gone && w->guest->silent && w->state == WORKER_STARTING && sl_buf_len(&w->in) > HELLO_MAX)
        worker_fault(w, &(struct mode_error){ WIRE_ERROR_LIMIT, "hello-too-large" }, SL_BYTES_NONE);
}

/* ---- end ---- */

void guest_stop(struct worker *w, uint64_t grace_ms)
{
    if (w->slot->consumer != 0)
        hub_consumer_stop(hub_of(w->slot), w->slot->consumer);
    w->shut_main = true;
    io_flush(w);
    worker_set_clock(w, CLOCK_GRACE, grace_ms < FAULT_GRACE_MS ? grace_ms : FAULT_GRACE_MS);
}

void guest_retire(struct slot *s)
{
    struct worker *w = s->worker;
    drain_worker(w);
    if (w->state == WORKER_RUNNING && w->clock != CLOCK_PATIENCE)
        worker_set_clock(w, CLOCK_LEAVE, s->pool->cfg->ack_timeout_ms);
}

/* Who closes without a goodbye has crashed, unless it was told to go. */
static struct hub_loss loss_of(const struct worker *w)
{
    if (w->end == END_FAULT)
        return (struct hub_loss){ .cause = QUEUE_CAUSE_PROTOCOL, .detail = sl_str(w->fault) };
    bool orderly = w->bye || w->draining || w->end == END_ORDERLY;
    return (struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .charge_none = orderly, .detail = sl_str(orderly ? "goodbye" : "connection lost") };
}

void guest_end(struct worker *w)
{
    struct slot *s = w->slot;
    struct pools *p = s->pools;
    struct hub_loss loss = loss_of(w);
    bool crashed = w->guest->silent || (!loss.charge_none && w->held.n_open > 0);
    turn_begin(p);
    w->gone = true;
    if (guest_may_log(w))
        sl_log(crashed ? SL_WARN : SL_INFO, "external_leave", "pool=%s external=%u pid=%d cause=%s detail=\"%s\" unanswered=%u", s->pool->cfg->name,
               (unsigned)s->number, (int)w->pid, queue_cause_name(loss.cause), (const char *)loss.detail.p, (unsigned)w->held.n_open);
    slot_leave(s, &loss);
    external_leave(w->guest);
    worker_detach(w);
    drain_check(p);
}
