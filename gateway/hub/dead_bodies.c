/* Bodies of dead letters: those are in the store only, as a rule. Work on them asks for the
 * one that it stands at, and for those that follow. */
#include "dead.h"

#define LOOKS 4096u
#define AHEAD 256u /* at once */

static void let_go(struct batch_fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->msgs[i] != NULL)
            message_unref(f->msgs[i]);
    }
    batch_fetch_free(f);
}

static uint64_t fetched_bytes(const struct batch_fetch *f)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; f != NULL && i < f->n; i++)
        sum += f->msgs[i] == NULL ? 0 : message_bytes(f->msgs[i]);
    return sum;
}

static void set_got(struct hub *h, struct dead_work *w, struct batch_fetch *f)
{
    h->dead.bytes += fetched_bytes(f) - fetched_bytes(w->got);
    if (w->got != NULL)
        let_go(w->got);
    w->got = f;
    w->next_got = 0;
}

/* False: it was not asked for. */
bool dead_body(struct dead_work *w, uint64_t id, struct message **m)
{
    for (uint32_t i = w->next_got; w->got != NULL && i < w->got->n; i++) {
        if (w->got->ids[i] != id)
            continue;
        w->next_got = i;
        *m = w->got->msgs[i];
        return true;
    }
    return false;
}

bool dead_fits(const struct dead_work *w, const struct queue_change *c)
{
    const struct dead_match *m = &w->match;
    if (m->id != 0 && c->id != m->id)
        return false;
    if (m->causes != 0 && (m->causes & 1u << c->cause) == 0)
        return false;
    return c->id <= m->upto_id && c->due_steady_ms >= m->died_from_ms && c->due_steady_ms <= m->died_to_ms;
}

static uint32_t wanted_ahead(const struct dead_work *w)
{
    uint64_t n = AHEAD;
    uint64_t second = w->cost_ns == 0 ? AHEAD : DEAD_NS_PER_S / w->cost_ns + 1;
    n = second < n ? second : n;
    if (sl_buf_len(&w->match.topic) > 0)
        return (uint32_t)n; /* nobody knows how many of them it takes */
    if (w->kind == KIND_LIST && w->page.ask.limit - w->page.n < n)
        n = w->page.ask.limit - w->page.n;
    if (w->max > 0 && w->max - w->progress.moved < n)
        n = w->max - w->progress.moved;
    return (uint32_t)n;
}

static void gather(struct hub *h, const struct dead_work *w, struct batch_fetch *f, uint32_t max)
{
    struct queue *q = dead_queue(h, w);
    struct queue_change c;
    uint32_t entry = w->cursor.at, looks = LOOKS;
    uint64_t bytes = 0;
    bool more = queue_dead_look(q, &w->cursor, &c);
    while (more && f->n < max && looks-- > 0) {
        if (c.msg == NULL && dead_fits(w, &c)) {
            bytes += c.bytes;
            if (f->n > 0 && bytes > DEAD_AHEAD_BYTES)
                return;
            f->ids[f->n] = c.id;
            f->entries[f->n++] = c.entry;
        }
        more = queue_dead_next(q, &entry, &c);
    }
}

/* One fetch of a queue at a time: dispatch may have one under way. */
void dead_ask_bodies(struct hub *h, struct dead_work *w)
{
    struct hub_queue *hq = &h->queues[w->queue];
    w->mood = MOOD_BODIES;
    if (hq->fetching)
        return;
    uint32_t max = wanted_ahead(w);
    struct batch_fetch *f = batch_fetch_new(w->queue, max);
    f->wanted_for = BATCH_FETCH_FOR_DEAD;
    f->asked_by = w->handle;
    gather(h, w, f, max);
    SL_ASSERT(f->n > 0);
    hq->fetching = true;
    h->cfg.store.fetch(h->cfg.store.arg, f);
}

struct dead_work *dead_find(const struct hub *h, uint64_t handle)
{
    struct dead_work *w = h->dead.first;
    while (w != NULL && w->handle != handle)
        w = w->next;
    return w;
}

void dead_fetched(struct hub *h, struct batch_fetch *f)
{
    struct dead_work *w = dead_find(h, f->asked_by);
    h->queues[f->queue].fetching = false;
    hub_heat(h, f->queue); /* dispatch may have waited for this one */
    if (w == NULL || w->mood == MOOD_END) { /* nobody needs them any more */
        let_go(f);
        return;
    }
    set_got(h, w, f);
    w->mood = MOOD_GOES_ON;
}

uint64_t dead_bodies_bytes(const struct dead_work *w)
{
    return fetched_bytes(w->got);
}

void dead_drop_bodies(struct hub *h, struct dead_work *w)
{
    set_got(h, w, NULL);
}
