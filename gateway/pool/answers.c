/* What a worker says, handed to the hub inside one turn.
 *
 * An answer for a delivery that was never given to this worker is a fault: it
 * lies or is confused, and is restarted. One for a delivery that is no longer
 * its own is stale: counted, told, nothing else. */
#include <stdio.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "external.h"
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
    w->owed++;
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
    w->owed++;
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

/* The headers are the caller's to free. */
static struct message_parts parts_of(const struct worker *w, const struct mode_answer *a)
{
    struct message_header *headers = a->n_headers == 0 ? NULL : sl_calloc(a->n_headers, sizeof *headers);
    size_t n = 0, pos = 0;
    while (n < a->n_headers && wire_header_next(a->headers, &pos, &headers[n]))
        n++;
    return (struct message_parts){
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
}

static void parts_free(const struct message_parts *p)
{
    sl_free((struct message_header *)p->headers);
}

static void tell_fate(struct worker *w, uint32_t ref, enum hub_published fate)
{
    switch (fate) {
    case HUB_PUBLISHED:
        promise(w, ref);
        break;
    case HUB_PUBLISH_NOBODY:
        tell_published(w, ref, WIRE_PUBLISHED_NOBODY);
        break;
    case HUB_PUBLISH_TOPIC:
        tell_published(w, ref, WIRE_PUBLISHED_TOPIC);
        sl_log(SL_WARN, "worker_publish_refused", "pool=%s pid=%d reason=topic", w->slot->pool->cfg->name, (int)w->pid);
        break;
    case HUB_PUBLISH_STORE:
        tell_published(w, ref, WIRE_PUBLISHED_STORE);
        break;
    }
}

static enum hub_published publish_now(const struct worker *w, const struct mode_answer *a)
{
    if (hub_health(hub_of(w->slot)) == HUB_BROKEN)
        return HUB_PUBLISH_STORE;
    struct message_parts parts = parts_of(w, a);
    int err = hub_publish(hub_of(w->slot), &parts);
    parts_free(&parts);
    if (err == SL_ENOENT)
        return HUB_PUBLISH_NOBODY;
    return err == SL_OK ? HUB_PUBLISHED : HUB_PUBLISH_TOPIC;
}

/* Frames that waited for their delivery's ack, as the hub takes them. Views into
 * the frames. */
struct kept {
    struct message_parts *parts;
    uint32_t *refs;
    enum hub_published *fates;
    uint32_t n, cap;
};

static void kept_add(struct kept *k, const struct worker *w, const struct mode_answer *a)
{
    if (k->n == k->cap) {
        k->cap = k->cap == 0 ? 4 : k->cap * 2;
        k->parts = sl_realloc(k->parts, k->cap * sizeof *k->parts);
        k->refs = sl_realloc(k->refs, k->cap * sizeof *k->refs);
        k->fates = sl_realloc(k->fates, k->cap * sizeof *k->fates);
    }
    k->parts[k->n] = parts_of(w, a);
    k->refs[k->n++] = a->ref;
}

static struct kept kept_of(const struct worker *w, struct sl_bytes frames)
{
    struct kept k = { 0 };
    struct mode again;
    mode_init(&again, w->mode.cfg);
    while (frames.n > 0) {
        struct mode_answer a;
        size_t used;
        int err = again.ops->next(&again, frames, &a, &used);
        SL_ASSERT(err == SL_OK); /* it was read once already */
        kept_add(&k, w, &a);
        frames = sl_bytes_of(frames.p + used, frames.n - used);
    }
    mode_fini(&again);
    return k;
}

/* `done`: they were published with their ack, else they are dropped. */
static void kept_end(struct worker *w, struct kept *k, bool done)
{
    for (uint32_t i = 0; i < k->n; i++) {
        if (done)
            tell_fate(w, k->refs[i], k->fates[i]);
        else
            tell_published(w, k->refs[i], WIRE_PUBLISHED_STALE);
        parts_free(&k->parts[i]);
    }
    sl_free(k->parts);
    sl_free(k->refs);
    sl_free(k->fates);
}

static bool on_publish(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    if (a->name == 0) {
        tell_fate(w, a->ref, publish_now(w, a));
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

/* With an ack goes what its delivery's PUBLISHes have brought, in one step. */
static int give(struct worker *w, struct hub_answer *answer, struct sl_buf *frames)
{
    struct hub *hub = hub_of(w->slot);
    if (SL_LIKELY(sl_buf_len(frames) == 0))
        return hub_answer(hub, w->slot->consumer, answer);
    struct kept k = kept_of(w, sl_buf_view(frames));
    bool acks = answer->verb.verb == QUEUE_ACK;
    if (acks) {
        answer->publishes = k.parts;
        answer->n_publishes = k.n;
        answer->published = k.fates;
    }
    int err = hub_answer(hub, w->slot->consumer, answer);
    kept_end(w, &k, err == SL_OK && acks);
    return err;
}

static bool settle(struct worker *w, const struct mode_answer *a, struct hub_answer *answer)
{
    bool ok;
    struct held *h = find(w, a->name, &ok);
    if (h == NULL)
        return ok;
    answer->lease = h->lease;
    struct sl_buf kept = h->kept;
    h->kept = (struct sl_buf){ 0 };
    held_drop(&w->held, h);
    int err = give(w, answer, &kept);
    sl_buf_fini(&kept);
    if (err != SL_OK)
        tell_stale(w, a->name);
    return true;
}

static bool on_ack(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, &(struct hub_answer){ .verb = { .verb = QUEUE_ACK }, .has_result = a->has_result, .result = a->result, .result_type = a->content_type });
}

static bool on_retry(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, &(struct hub_answer){ .verb = { QUEUE_RETRY, a->has_delay, a->delay_ms }, .reason = a->reason });
}

static bool on_release(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, &(struct hub_answer){ .verb = { .verb = QUEUE_RELEASE } });
}

static bool on_dead(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    (void)raw;
    return settle(w, a, &(struct hub_answer){ .verb = { .verb = QUEUE_KILL }, .reason = a->reason });
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
    const char *refused = w->guest != NULL ? guest_hello(w, a) : NULL;
    if (refused != NULL) {
        w->slot->pool->refused++;
        worker_fault(w, &(struct mode_error){ WIRE_ERROR_DENIED, refused }, SL_BYTES_NONE);
        return false;
    }
    w->wants_soft = a->wants_soft;
    struct mode_welcome welcome = { .prefetch = prefetch, .batches = cfg->batch_max > 1, .external = w->guest != NULL,
                                    .time_limit_ms = worker_time_limit_ms(w),
                                    .soft_time_limit_ms = cfg->soft_time_limit_ms };
    w->mode.ops->welcome(&w->mode, &welcome, &w->out);
    io_dirty(w);
    w->gathers = a->gathers;
    worker_run(w, prefetch);
    return true;
}

static bool on_progress(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    bool ok;
    (void)raw;
    const struct held *h = find(w, a->name, &ok);
    if (h != NULL && hub_progress(hub_of(w->slot), w->slot->consumer, h->lease, a->per_mille) != SL_OK)
        tell_stale(w, a->name);
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
        uint64_t limit = worker_time_limit_ms(w);
        uint64_t gap = limit > cfg->soft_time_limit_ms ? limit - cfg->soft_time_limit_ms : 0;
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

/* exec: as much of its stdout as a result may have. */
static bool on_output(struct worker *w, const struct mode_answer *a, struct sl_bytes raw)
{
    const struct pool_config *cfg = w->slot->pool->cfg;
    (void)raw;
    size_t has = sl_buf_len(&w->result), room = cfg->max_result - has;
    struct sl_bytes fits = sl_bytes_of(a->result.p, a->result.n < room ? a->result.n : room);
    if (fits.n < a->result.n && !w->result_cut)
        sl_log(SL_WARN, "worker_result_cut", "pool=%s pid=%d max_result=%u", cfg->name, (int)w->pid, (unsigned)cfg->max_result);
    w->result_cut = w->result_cut || fits.n < a->result.n;
    SL_ASSERT(sl_buf_append_bytes(&w->result, fits) == SL_OK);
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
    if (w->guest != NULL)
        guest_look(w);
    io_flow(w);
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
    answer.has_result = verdict == VERDICT_ACK;
    answer.result = sl_buf_view(&w->result);
    if (verdict != VERDICT_ACK)
        answer.reason = last_words(output_tail(w, tail), status, text, sizeof text);
    held_drop(&w->held, h);
    if (hub_answer(hub_of(w->slot), w->slot->consumer, &answer) != SL_OK)
        sl_log(SL_INFO, "worker_answer_stale", "pool=%s pid=%d", w->slot->pool->cfg->name, (int)w->pid);
    return true;
}
