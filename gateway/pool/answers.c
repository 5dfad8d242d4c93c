/* What a worker says, handed to the hub inside one turn.
 *
 * An answer for a delivery that was never given to this worker is a fault: it
 * lies or is confused, and is restarted. One for a delivery that is no longer
 * its own is stale: counted, told, nothing else. */
#include <stdio.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "pool_internal.h"
#include "wire/wire.h"

#define REASON_MAX 512u

static bool fault(struct worker *w, uint16_t code, const char *text)
{
    worker_fault(w, &(struct mode_error){ code, text }, sl_buf_view(&w->in));
    return false;
}

static void tell_stale(struct worker *w, uint64_t name)
{
    if (w->mode.ops->stale == NULL)
        return;
    w->mode.ops->stale(name, &w->out);
    io_dirty(w);
}

/* NULL: stale (told) or a fault (*ok is false). */
static struct held *find(struct worker *w, uint64_t name, bool *ok)
{
    struct held *h = NULL;
    enum held_is is = w->mode.ops->by_id ? held_by_id(&w->held, name, &h) : held_by_tag(&w->held, name, &h);
    *ok = is != HELD_NEVER || fault(w, WIRE_ERROR_STATE, "unknown-delivery");
    if (is == HELD_STALE) {
        hub_counters(hub_of(w->slot))->stale_answers++;
        tell_stale(w, name);
    }
    return is == HELD_OPEN ? h : NULL;
}

/* ---- publishes ---- */

static void tell_published(struct worker *w, uint32_t ref, enum wire_published code)
{
    if (ref == 0 || w->mode.ops->published == NULL)
        return;
    w->mode.ops->published(ref, (int)code, &w->out);
    io_dirty(w);
}

/* STORED is said when it is. */
static void promise(struct worker *w, uint32_t ref)
{
    if (ref == 0 || w->mode.ops->published == NULL)
        return;
    if (w->n_unpublished == w->cap_unpublished) {
        w->cap_unpublished = w->cap_unpublished == 0 ? 16 : w->cap_unpublished * 2;
        w->unpublished = sl_realloc(w->unpublished, w->cap_unpublished * sizeof *w->unpublished);
    }
    w->unpublished[w->n_unpublished++] = (struct unpublished){ ref, hub_batch_filling(hub_of(w->slot)) };
    w->slot->pool->pools->n_unpublished++;
}

void answers_published(struct worker *w)
{
    struct hub *hub = hub_of(w->slot);
    enum hub_health health = hub_health(hub);
    size_t done = 0;
    while (done < w->n_unpublished) {
        const struct unpublished *u = &w->unpublished[done];
        if (health != HUB_BROKEN && !hub_batch_stored(hub, u->batch))
            break;
        tell_published(w, u->ref, health != HUB_BROKEN ? WIRE_PUBLISHED_STORED : WIRE_PUBLISHED_STORE);
        done++;
    }
    w->n_unpublished -= done;
    w->slot->pool->pools->n_unpublished -= done;
    memmove(w->unpublished, w->unpublished + done, w->n_unpublished * sizeof *w->unpublished);
}

static int offer(struct worker *w, const struct mode_answer *a)
{
    struct message_header *headers = sl_calloc(a->n_headers, sizeof *headers);
    size_t n = 0, pos = 0;
    while (n < a->n_headers && wire_header_next(a->headers, &pos, &headers[n]))
        n++;
    struct message_parts parts = {
        .protocol = MESSAGE_WORKER,
        .qos = 1,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = a->retain ? MESSAGE_RETAIN : 0,
        .topic = a->topic,
        .client_id = sl_str(w->slot->pool->cfg->name),
        .content_type = a->content_type,
        .headers = headers,
        .n_headers = n,
        .payload = a->payload,
    };
    int err = hub_publish(hub_of(w->slot), &parts);
    sl_free(headers);
    return err;
}

static void publish_now(struct worker *w, const struct mode_answer *a)
{
    if (hub_health(hub_of(w->slot)) == HUB_BROKEN) {
        tell_published(w, a->ref, WIRE_PUBLISHED_STORE);
        return;
    }
    int err = offer(w, a);
    if (err == SL_OK) {
        promise(w, a->ref);
        return;
    }
    /* Nobody takes it: there is nothing to store, as for any publisher. */
    tell_published(w, a->ref, err == SL_ENOENT ? WIRE_PUBLISHED_STORED : WIRE_PUBLISHED_TOPIC);
    if (err != SL_ENOENT)
        sl_log(SL_WARN, "worker_publish_refused", "pool=%s pid=%d error=%s", w->slot->pool->cfg->name, (int)w->pid, sl_err_name(err));
}

/* Frames that waited for their delivery's ack: with it, or not at all. */
static void release_kept(struct worker *w, struct sl_buf *kept, bool acked)
{
    struct mode again;
    mode_init(&again, w->mode.cfg);
    while (sl_buf_len(kept) > 0) {
        struct mode_answer a;
        size_t used;
        int err = again.ops->next(&again, sl_buf_view(kept), &a, &used);
        SL_ASSERT(err == SL_OK); /* it was read once already */
        if (acked)
            publish_now(w, &a);
        else
            tell_published(w, a.ref, WIRE_PUBLISHED_STALE);
        sl_buf_consume(kept, used);
    }
    mode_fini(&again);
    sl_buf_fini(kept);
}

static bool on_publish(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    if (a->name == 0) {
        publish_now(w, a);
        return true;
    }
    bool ok;
    struct held *h = find(w, a->name, &ok);
    if (h == NULL) {
        if (ok)
            tell_published(w, a->ref, WIRE_PUBLISHED_STALE);
        return ok;
    }
    if (h->kept.max == 0)
        sl_buf_init(&h->kept, KEPT_BYTES_MAX + w->slot->pool->cfg->max_message);
    if (sl_buf_append_bytes(&h->kept, raw) != SL_OK)
        return fault(w, WIRE_ERROR_LIMIT, "kept-publishes-too-large");
    return true;
}

/* ---- settling ---- */

static bool settle(struct worker *w, const struct mode_answer *a, struct queue_answer verb)
{
    bool ok;
    struct held *h = find(w, a->name, &ok);
    if (h == NULL)
        return ok;
    struct hub_answer answer = { .lease = h->lease, .verb = verb, .reason = a->reason };
    struct sl_buf kept = h->kept;
    h->kept = (struct sl_buf){ 0 };
    held_drop(&w->held, h);
    int err = hub_answer(hub_of(w->slot), w->slot->consumer, &answer);
    release_kept(w, &kept, err == SL_OK && verb.verb == QUEUE_ACK);
    if (err != SL_OK)
        tell_stale(w, a->name);
    return true;
}

static bool on_ack(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, (struct queue_answer){ .verb = QUEUE_ACK });
}

static bool on_retry(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, (struct queue_answer){ QUEUE_RETRY, a->has_delay, a->delay_ms });
}

static bool on_release(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, (struct queue_answer){ .verb = QUEUE_RELEASE });
}

static bool on_dead(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, (struct queue_answer){ .verb = QUEUE_KILL });
}

/* ---- the rest ---- */

static bool on_hello(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    if (w->state == WORKER_RUNNING || w->running_since_ms > 0)
        return fault(w, WIRE_ERROR_STATE, "hello-twice");
    if (w->state == WORKER_ENDING || w->gone)
        return true; /* too late: it is being ended */
    const struct pool_config *cfg = w->slot->pool->cfg;
    uint32_t prefetch = a->prefetch > 0 && a->prefetch < cfg->prefetch ? a->prefetch : cfg->prefetch;
    w->wants_soft = a->wants_soft;
    w->mode.ops->welcome(&w->mode, prefetch, &w->out);
    io_dirty(w);
    worker_run(w, prefetch);
    return true;
}

static bool on_progress(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    bool ok;
    (void)raw;
    (void)find(w, a->name, &ok);
    return ok;
}

/* The soft limit keeps its distance to the time limit. */
static bool on_extend(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    const struct pool_config *cfg = w->slot->pool->cfg;
    bool ok;
    (void)raw;
    struct held *h = find(w, a->name, &ok);
    if (h == NULL)
        return ok;
    if (hub_extend(hub_of(w->slot), w->slot->consumer, h->lease, a->delay_ms) != SL_OK) {
        tell_stale(w, a->name);
        return true;
    }
    if (h->soft_at_ms != 0) {
        uint64_t gap = cfg->time_limit_ms > cfg->soft_time_limit_ms ? cfg->time_limit_ms - cfg->soft_time_limit_ms : 0;
        h->soft_at_ms = pools_now(w->slot->pool->pools) + (a->delay_ms > gap ? a->delay_ms - gap : 0);
        h->soft_told = false;
    }
    return true;
}

/* What it has not answered goes back uncharged when it has gone. */
static bool on_bye(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)a;
    (void)raw;
    w->bye = true;
    if (w->gone || w->state != WORKER_RUNNING)
        return true;
    hub_consumer_stop(hub_of(w->slot), w->slot->consumer);
    worker_set_clock(w, CLOCK_PATIENCE, w->slot->pool->cfg->grace_ms);
    return true;
}

static bool on_output(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    const struct pool_config *cfg = w->slot->pool->cfg;
    (void)raw;
    if (w->result_bytes <= cfg->max_result && w->result_bytes + a->result.n > cfg->max_result)
        sl_log(SL_WARN, "worker_result_cut", "pool=%s pid=%d max_result=%u", cfg->name, (int)w->pid, (unsigned)cfg->max_result);
    w->result_bytes += a->result.n;
    return true;
}

static bool (*const handlers[])(struct worker *w, const struct mode_answer *a, struct sl_bytes raw) = {
    [MODE_HELLO] = on_hello,
    [MODE_ACK] = on_ack,
    [MODE_RETRY] = on_retry,
    [MODE_RELEASE] = on_release,
    [MODE_DEAD] = on_dead,
    [MODE_PROGRESS] = on_progress,
    [MODE_EXTEND] = on_extend,
    [MODE_PUBLISH] = on_publish,
    [MODE_BYE] = on_bye,
    [MODE_OUTPUT] = on_output,
};

static bool take(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    if (a->kind != MODE_HELLO && w->mode.ops->says_hello && w->running_since_ms == 0)
        return fault(w, WIRE_ERROR_STATE, "before-hello");
    return handlers[a->kind](w, a, raw);
}

static bool next(struct worker *w)
{
    struct sl_bytes in = sl_buf_view(&w->in);
    struct mode_answer a;
    size_t used;
    int err = w->mode.ops->next(&w->mode, in, &a, &used);
    if (err == SL_EMORE)
        return false;
    if (err != SL_OK)
        return fault(w, err == SL_ETOOBIG ? WIRE_ERROR_LIMIT : WIRE_ERROR_FAULT, w->mode.fault);
    if (!take(w, &a, sl_bytes_of(in.p, used)))
        return false;
    sl_buf_consume(&w->in, used);
    return true;
}

void answers_feed(struct worker *w)
{
    if (w->end != END_FAULT)
        turn_begin(w->slot->pool->pools);
    while (w->end != END_FAULT && sl_buf_len(&w->in) > 0 && next(w))
        ;
    if (w->end == END_FAULT) {
        sl_buf_clear(&w->in);
        return;
    }
    worker_update_started(w);
    drain_progress(w);
}

/* ---- exec ---- */

/* The last line that says something, else "exit N". */
static struct sl_bytes last_words(struct sl_bytes tail, int status, char *text, size_t cap)
{
    while (tail.n > 0 && (tail.p[tail.n - 1] == '\n' || tail.p[tail.n - 1] == '\r'))
        tail.n--;
    size_t start = tail.n;
    while (start > 0 && tail.p[start - 1] != '\n' && tail.n - start < REASON_MAX)
        start--;
    if (start < tail.n)
        return sl_bytes_of(tail.p + start, tail.n - start);
    (void)snprintf(text, cap, "exit %d", WEXITSTATUS(status));
    return sl_str(text);
}

bool answers_by_exit(struct worker *w, int status)
{
    static const enum queue_verb verbs[] = {
        [VERDICT_ACK] = QUEUE_ACK,
        [VERDICT_RETRY] = QUEUE_RETRY,
        [VERDICT_DEAD] = QUEUE_KILL,
    };
    enum mode_verdict verdict = mode_exec_verdict(status);
    struct held *h = held_first(&w->held);
    if (w->end != END_NONE || verdict == VERDICT_LOST || h == NULL)
        return false;
    uint8_t tail[TAIL_BYTES];
    char text[32];
    struct hub_answer answer = { .lease = h->lease, .verb.verb = verbs[verdict] };
    if (verdict != VERDICT_ACK)
        answer.reason = last_words(output_tail(w, tail), status, text, sizeof text);
    held_drop(&w->held, h);
    if (hub_answer(hub_of(w->slot), w->slot->consumer, &answer) != SL_OK)
        sl_log(SL_INFO, "worker_answer_stale", "pool=%s pid=%d", w->slot->pool->cfg->name, (int)w->pid);
    return true;
}
