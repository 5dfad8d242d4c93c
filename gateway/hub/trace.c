/* What happened to messages: a ring of the latest events, all of one size. A
 * question for one message adds what the store still knows of it: failures of the
 * past, told by the ring only in part or not at all. */
#include "trace.h"

#include "operations.h"

#define TEXT_MAX   31u
#define BODIES_MAX (8u * HUB_PEEK_BYTES)

struct trace_record {
    uint64_t wall_ms, id;
    uint64_t other;   /* until when, or another message */
    uint32_t queue;
    uint16_t attempt;
    uint8_t what, cause;
    uint8_t n_text;
    uint8_t text[TEXT_MAX];
};
_Static_assert(sizeof(struct trace_record) == 64, "what an operator sets is a number of events");

struct trace {
    uint64_t n; /* that ever came */
    uint32_t cap;
    struct trace_record v[];
};

struct trace *trace_new(uint32_t events)
{
    if (events == 0)
        return NULL;
    struct trace *t = sl_calloc(1, sizeof *t + (size_t)events * sizeof t->v[0]);
    t->cap = events;
    return t;
}

void trace_free(struct trace *t)
{
    sl_free(t);
}

uint64_t trace_bytes(const struct hub *h)
{
    return h->trace == NULL ? 0 : h->trace->cap * sizeof h->trace->v[0];
}

/* ---- events ---- */

void trace_add(struct hub *h, const struct hub_trace_event *e)
{
    struct trace *t = h->trace;
    struct trace_record *r = &t->v[t->n++ % t->cap];
    *r = (struct trace_record){
        .wall_ms = h->now.wall_ms,
        .id = e->id,
        .other = e->other != 0 ? e->other : e->until_ms,
        .queue = e->queue,
        .attempt = e->attempt < UINT16_MAX ? (uint16_t)e->attempt : UINT16_MAX,
        .what = (uint8_t)e->what,
        .cause = (uint8_t)e->cause,
        .n_text = (uint8_t)(e->text.n < TEXT_MAX ? e->text.n : TEXT_MAX),
    };
    if (r->n_text > 0)
        memcpy(r->text, e->text.p, r->n_text);
}

static uint64_t wall_of(const struct hub *h, uint64_t steady_ms)
{
    return steady_ms > h->now.steady_ms ? h->now.wall_ms + (steady_ms - h->now.steady_ms) : h->now.wall_ms;
}

void trace_entered(struct hub *h, const struct message *m, const struct route_set *to)
{
    uint64_t at_ms = message_deliver_at(m);
    if ((message_flags(m) & MESSAGE_DELIVER_RELATIVE) != 0)
        at_ms = wall_of(h, at_ms);
    for (uint32_t i = 0; i < to->n; i++) {
        struct hub_trace_event e = { .id = message_id(m), .what = HUB_TRACE_ACCEPTED, .queue = to->queues[i] };
        trace_add(h, &e);
        e.what = HUB_TRACE_DELAYED;
        e.until_ms = at_ms;
        if (at_ms > h->now.wall_ms)
            trace_add(h, &e);
    }
}

static struct sl_bytes name_of(const struct hub_consumer *hc)
{
    return hc == NULL || hc->name == NULL ? SL_BYTES_NONE : sl_str(hc->name);
}

void trace_leased(struct hub *h, uint32_t queue, const struct queue_delivery *d)
{
    trace_add(h, &(struct hub_trace_event){
        .id = message_id(d->msg), .what = HUB_TRACE_LEASED, .queue = queue, .attempt = d->attempt, .text = name_of(d->consumer_arg),
    });
}

static enum hub_trace_what what_left(enum queue_exit exit)
{
    switch (exit) {
    case QUEUE_EXIT_ACK:
        return HUB_TRACE_ACKED;
    case QUEUE_EXIT_EXPIRED:
        return HUB_TRACE_EXPIRED;
    case QUEUE_EXIT_DEAD_DROPPED:
        return HUB_TRACE_DEAD_DROPPED;
    case QUEUE_EXIT_DEAD_EXPIRED:
        return HUB_TRACE_DEAD_EXPIRED;
    case QUEUE_EXIT_DEAD_REMOVED:
        return HUB_TRACE_DEAD_REMOVED;
    case QUEUE_EXIT_PURGED:
        return HUB_TRACE_PURGED;
    case QUEUE_EXIT_CANCELLED:
        return HUB_TRACE_CANCELLED;
    case QUEUE_EXIT_REPLACED:
        return HUB_TRACE_REPLACED;
    case QUEUE_EXIT_MOVED:
        return HUB_TRACE_MOVED;
    case QUEUE_EXIT_DROPPED:
    case QUEUE_EXIT_NONE:
        break;
    }
    return HUB_TRACE_DROPPED;
}

static enum hub_trace_what what_changed(const struct queue_change *c)
{
    if (c->fate == QUEUE_GONE)
        return what_left(c->exit);
    if (c->fate == QUEUE_MOVED)
        return c->state == QUEUE_DEAD ? HUB_TRACE_DEAD : HUB_TRACE_FAILED;
    return c->state == QUEUE_DELAYED ? HUB_TRACE_RELEASED : HUB_TRACE_READY;
}

void trace_changed(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    if (c->fate == QUEUE_GONE && (c->exit == QUEUE_EXIT_MOVED || c->exit == QUEUE_EXIT_REPLACED))
        return; /* trace_became knows as what it goes on */
    trace_add(h, &(struct hub_trace_event){
        .id = c->id,
        .what = what_changed(c),
        .queue = queue,
        .attempt = c->attempts,
        .cause = c->cause,
        .until_ms = c->fate != QUEUE_GONE && c->state == QUEUE_DELAYED ? wall_of(h, c->due_steady_ms) : 0,
        .text = f == NULL ? SL_BYTES_NONE : f->detail,
    });
}

void trace_became(struct hub *h, enum hub_trace_what what, uint64_t id, uint32_t queue, uint64_t other, uint32_t to)
{
    trace_add(h, &(struct hub_trace_event){ .id = id, .what = what, .queue = queue, .other = other, .text = what == HUB_TRACE_MOVED ? sl_str(h->queues[to].cfg->name) : SL_BYTES_NONE });
}

/* ---- a question ---- */

struct place {
    uint32_t queue, entry;
    struct sl_buf failures; /* of the store */
};

struct tracing {
    struct hub *h;
    uint64_t id;
    uint64_t accepted_ms; /* 0: not known */
    hub_trace_cb *cb;
    void *arg;
    uint32_t n_places;
    struct place places[SEARCH_PLACES];
    struct hub_trace_event *v; /* the answer, oldest first */
    uint32_t n, cap;
};

int hub_trace(struct hub *h, uint64_t id, hub_trace_cb *cb, void *arg)
{
    struct tracing *t = SL_NEW(struct tracing);
    t->h = h;
    t->id = id;
    t->cb = cb;
    t->arg = arg;
    int err = search_begin(h, &(struct search){ .id = id, .tracing = t });
    if (err != SL_OK)
        sl_free(t);
    return err;
}

void tracing_found(struct tracing *t, uint32_t queue, const struct queue_peeked *p)
{
    if (t->n_places == SEARCH_PLACES)
        return;
    t->places[t->n_places++] = (struct place){ .queue = queue, .entry = p->entry };
    if (p->msg != NULL)
        t->accepted_ms = message_accepted_at(p->msg);
}

/* ---- the answer ---- */

static struct hub_trace_event *event_at(struct tracing *t, uint32_t i)
{
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 16 : t->cap * 2;
        t->v = sl_realloc(t->v, t->cap * sizeof *t->v);
    }
    memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof *t->v);
    t->n++;
    return &t->v[i];
}

static bool is_until(enum hub_trace_what w)
{
    return w == HUB_TRACE_DELAYED || w == HUB_TRACE_FAILED || w == HUB_TRACE_RELEASED;
}

static void tell_record(struct tracing *t, const struct trace_record *r)
{
    enum hub_trace_what what = (enum hub_trace_what)r->what;
    *event_at(t, t->n) = (struct hub_trace_event){
        .wall_ms = r->wall_ms,
        .id = r->id,
        .what = what,
        .queue = r->queue,
        .attempt = r->attempt,
        .cause = (enum queue_cause)r->cause,
        .until_ms = is_until(what) ? r->other : 0,
        .other = is_until(what) ? 0 : r->other,
        .text = sl_bytes_of(r->text, r->n_text),
    };
}

static void tell_ring(const struct hub *h, struct tracing *t)
{
    const struct trace *ring = h->trace;
    if (ring == NULL)
        return;
    uint64_t first = ring->n > ring->cap ? ring->n - ring->cap : 0;
    for (uint64_t i = first; i < ring->n; i++) {
        const struct trace_record *r = &ring->v[i % ring->cap];
        if (r->id == t->id)
            tell_record(t, r);
    }
}

static bool is_failure(enum hub_trace_what w)
{
    return w == HUB_TRACE_FAILED || w == HUB_TRACE_DEAD;
}

static struct hub_trace_event *failure_told(struct tracing *t, uint32_t queue, uint32_t attempt)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (is_failure(t->v[i].what) && t->v[i].queue == queue && t->v[i].attempt == attempt)
            return &t->v[i];
    }
    return NULL;
}

/* Before what came later. The ring is in order, whatever the wall clock did. */
static void insert(struct tracing *t, const struct hub_trace_event *e)
{
    uint32_t i = 0;
    while (i < t->n && t->v[i].wall_ms <= e->wall_ms)
        i++;
    *event_at(t, i) = *e;
}

/* The ring knows less of why. */
static void tell_failure(struct tracing *t, uint32_t queue, const struct batch_failure *f, bool death)
{
    struct hub_trace_event *told = failure_told(t, queue, f->attempt);
    if (told != NULL) {
        told->text = f->detail;
        return;
    }
    insert(t, &(struct hub_trace_event){
        .wall_ms = f->wall_ms,
        .id = t->id,
        .what = death ? HUB_TRACE_DEAD : HUB_TRACE_FAILED,
        .queue = queue,
        .attempt = f->attempt,
        .cause = f->cause,
        .text = f->detail,
    });
}

static void tell_accepted(struct tracing *t, const struct place *at)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->v[i].what == HUB_TRACE_ACCEPTED && t->v[i].queue == at->queue)
            return;
    }
    if (t->accepted_ms != 0)
        *event_at(t, 0) = (struct hub_trace_event){ .wall_ms = t->accepted_ms, .id = t->id, .what = HUB_TRACE_ACCEPTED, .queue = at->queue };
}

static void tell_history(struct hub *h, struct tracing *t, struct place *at, const struct queue_peeked *now)
{
    const struct queue_config *cfg = h->queues[at->queue].cfg;
    struct batch_failure f;
    size_t pos = 0;
    if (h->cfg.history == NULL || !cfg->durable || h->cfg.history(h->cfg.store.arg, cfg->number, t->id, &at->failures) != SL_OK)
        return;
    struct sl_bytes failures = sl_buf_view(&at->failures);
    while (batch_failure_next(failures, &pos, &f) == SL_OK)
        tell_failure(t, at->queue, &f, now->state == QUEUE_DEAD && f.attempt == now->attempts);
}

static void tell_now(const struct hub *h, struct tracing *t, uint32_t queue, const struct queue_peeked *now)
{
    *event_at(t, t->n) = (struct hub_trace_event){
        .wall_ms = h->now.wall_ms,
        .id = t->id,
        .what = HUB_TRACE_NOW,
        .queue = queue,
        .attempt = now->attempts,
        .state = now->state,
        .until_ms = now->wall_ms,
        .text = now->state == QUEUE_LEASED ? name_of(now->consumer_arg) : SL_BYTES_NONE,
    };
}

/* It may have left since it was found: then the ring alone knows. */
static void tell_place(struct hub *h, struct tracing *t, struct place *at)
{
    struct queue_peeked now;
    if (!queue_look(h->queues[at->queue].q, at->entry, t->id, &now))
        return;
    tell_history(h, t, at, &now);
    tell_accepted(t, at);
    tell_now(h, t, at->queue, &now);
}

static void tell_all(struct tracing *t)
{
    struct hub *h = t->h;
    tell_ring(h, t);
    for (uint32_t i = 0; i < t->n_places; i++)
        tell_place(h, t, &t->places[i]);
    t->cb(t->arg, t->id, t->v, t->n);
    for (uint32_t i = 0; i < t->n_places; i++)
        sl_buf_fini(&t->places[i].failures);
    sl_free(t->v);
    sl_free(t);
}

static void on_body(void *arg, const struct hub_peeked *v, uint32_t n)
{
    struct tracing *t = arg;
    if (n > 0 && v[0].of.msg != NULL)
        t->accepted_ms = message_accepted_at(v[0].of.msg);
    tell_all(t);
}

/* When it was accepted is known by the message itself, which may be in the store only. While
 * bodies enough are held for those who ask, that is left out. */
void tracing_tell(struct tracing *t)
{
    const struct place *at = &t->places[0];
    const struct operations *o = t->h->operations;
    struct queue_peeked p;
    bool known = t->n_places == 0 || t->accepted_ms != 0 || o->ending;
    if (!known && o->look_bytes < BODIES_MAX && queue_look(t->h->queues[at->queue].q, at->entry, t->id, &p))
        look_at(t->h, at->queue, &p, on_body, t);
    else
        tell_all(t);
}
