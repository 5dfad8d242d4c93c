/* Looks into a queue: what stands there, with bodies. Those that are in the store
 * only are fetched beside those of dispatch, and let go when they were shown. */
#include "operations.h"

#define LOOKS_MAX 8u

struct look {
    struct look *next;
    uint64_t id;
    hub_peek_cb *cb;
    void *arg;
    bool ready;    /* its bodies have come */
    uint32_t n;
    uint64_t bytes;
    struct hub_peeked v[];
};

/* The consumer may be gone when it is shown. */
static void tell(struct hub_peeked *out, const struct queue_peeked *p)
{
    const struct hub_consumer *hc = p->consumer_arg;
    *out = (struct hub_peeked){ .of = *p };
    if (hc != NULL && hc->name != NULL)
        (void)snprintf(out->consumer, sizeof out->consumer, "%s", hc->name);
    if (p->msg != NULL)
        (void)message_ref(p->msg);
}

/* As many as their bodies may be together; the first is always one of them. */
static uint32_t within_bytes(const struct queue_peeked *p, uint32_t n, uint64_t *bytes)
{
    uint32_t taken = 0;
    *bytes = 0;
    while (taken < n && (taken == 0 || *bytes + p[taken].bytes <= HUB_PEEK_BYTES))
        *bytes += p[taken++].bytes;
    return taken;
}

static struct look *look_new(struct hub *h, const struct queue_peeked *p, uint32_t n, hub_peek_cb *cb, void *arg)
{
    struct operations *o = operations(h);
    uint64_t bytes;
    n = within_bytes(p, n, &bytes);
    struct look *l = sl_calloc(1, sizeof *l + n * sizeof l->v[0]);
    l->id = ++o->last_look;
    l->cb = cb;
    l->arg = arg;
    l->n = n;
    l->bytes = bytes;
    for (uint32_t i = 0; i < n; i++)
        tell(&l->v[i], &p[i]);
    l->next = o->looks;
    o->looks = l;
    o->n_looks++;
    o->look_bytes += bytes;
    return l;
}

static struct batch_fetch *fetch_new(uint32_t queue, const struct look *l)
{
    struct batch_fetch *f = batch_fetch_new(queue, l->n);
    f->wanted_for = BATCH_FETCH_FOR_LOOK;
    f->asked_by = l->id;
    return f;
}

/* `entries` are places in the look. */
static void fetch(struct hub *h, uint32_t queue, struct look *l)
{
    struct batch_fetch *f = NULL;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->v[i].of.msg != NULL)
            continue;
        if (f == NULL)
            f = fetch_new(queue, l);
        f->ids[f->n] = l->v[i].of.id;
        f->entries[f->n++] = i;
    }
    l->ready = f == NULL;
    if (f != NULL)
        h->cfg.store.fetch(h->cfg.store.arg, f);
}

int hub_peek(struct hub *h, uint32_t queue, enum queue_state state, uint32_t max, hub_peek_cb *cb, void *arg)
{
    if (operations(h)->n_looks >= LOOKS_MAX)
        return SL_EFULL;
    max = max < HUB_PEEK_MAX ? max : HUB_PEEK_MAX;
    struct queue_peeked *p = sl_calloc(max + 1u, sizeof *p);
    struct look *l = look_new(h, p, queue_peek(h->queues[queue].q, state, p, max), cb, arg);
    sl_free(p);
    fetch(h, queue, l);
    return SL_OK;
}

void look_at(struct hub *h, uint32_t queue, const struct queue_peeked *p, hub_peek_cb *cb, void *arg)
{
    fetch(h, queue, look_new(h, p, 1, cb, arg));
}

static struct look *look_of(struct operations *o, uint64_t id)
{
    struct look *l = o == NULL ? NULL : o->looks;
    while (l != NULL && l->id != id)
        l = l->next;
    return l;
}

void look_fetched(struct hub *h, struct batch_fetch *f)
{
    struct look *l = look_of(h->operations, f->asked_by);
    for (uint32_t i = 0; i < f->n; i++) {
        if (l != NULL)
            l->v[f->entries[i]].of.msg = f->msgs[i];
        else if (f->msgs[i] != NULL)
            message_unref(f->msgs[i]);
    }
    if (l != NULL)
        l->ready = true;
}

/* Shown, and gone. */
static void show(struct operations *o, struct look *l)
{
    l->cb(l->arg, l->v, l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->v[i].of.msg != NULL)
            message_unref(l->v[i].of.msg);
    }
    o->look_bytes -= l->bytes;
    o->n_looks--;
    sl_free(l);
}

/* Of those that were asked for by then. */
static struct look *take_ready(struct operations *o, uint64_t last)
{
    struct look **at = &o->looks;
    while (*at != NULL && !((*at)->ready && (*at)->id <= last))
        at = &(*at)->next;
    struct look *l = *at;
    if (l != NULL)
        *at = l->next;
    return l;
}

void looks_turn(struct hub *h, struct operations *o)
{
    (void)h;
    struct look *l;
    uint64_t last = o->last_look;
    while ((l = take_ready(o, last)) != NULL)
        show(o, l);
}

bool looks_ready(const struct operations *o)
{
    const struct look *l = o->looks;
    while (l != NULL && !l->ready)
        l = l->next;
    return l != NULL;
}

void looks_free(struct operations *o)
{
    while (o->looks != NULL) {
        struct look *l = o->looks;
        o->looks = l->next;
        show(o, l);
    }
}
