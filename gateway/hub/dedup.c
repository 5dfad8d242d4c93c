/* Duplicates: what a queue has had already does not enter it again (decision 19).
 *
 *   offer ─▶ key of each queue ─▶ not known ─▶ it enters, and its key is recorded in the same batch
 *                              ├─ known, drop ─▶ this queue is left out; the answer waits for the first one's batch
 *                              └─ known, replace ─▶ the first one waits: it leaves, the newer has its place
 *                                                └▶ else the newer enters as any other
 *
 * A key is known from when its message enters. What is refused or parked has left
 * none. What a batch loses that is never stored, it loses with its messages: the store
 * takes nothing more then, and the next start knows what is stored. */
#include "dedup.h"
#include "jobs.h"
#include "results.h"
#include "trace.h"

#define MEMORY_SHARE 4u   /* of limits.memory: what all keys together may take */
#define KEY_BYTES    56u  /* of one, with its part of the table */
#define PER_MESSAGE  2u   /* keys that are taken out when one comes */
#define PER_TURN     256u /* and by time */
#define TICK_MS      1000u

struct hub_dedup {
    struct queue_dedup by;
    bool needs_dup;
    struct queue_seen *seen;    /* NULL: nothing is remembered (any more) */
    struct queue_seen *leaving; /* restored for nobody: only to be taken off the disk; NULL: nothing */
    /* Of the message that is about to enter: */
    bool keyed;
    bool replaces;              /* `first` waits, and leaves for it */
    bool gone;                  /* it has left */
    struct queue_change left;
    struct queue_first first;
    uint8_t key[QUEUE_DEDUP_KEY];
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- birth and end ---- */

/* Each table has its part of what all may take. */
static void share_memory(struct hub *h)
{
    uint64_t most = h->cfg.memory_bytes / MEMORY_SHARE / KEY_BYTES / h->dedups.n;
    for (uint32_t i = 0; i < h->n_queues; i++) {
        struct hub_dedup *d = h->queues[i].dedup;
        if (d != NULL && d->seen != NULL)
            queue_seen_limit(d->seen, smaller(d->by.max, most > 0 ? most : 1));
    }
}

static struct hub_dedup *dedup_of(struct hub_queue *hq)
{
    if (hq->dedup == NULL)
        hq->dedup = SL_NEW(struct hub_dedup);
    return hq->dedup;
}

void dedup_attach(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    h->dedups.rest = sl_realloc(h->dedups.rest, sizeof *h->dedups.rest + h->cap_queues * sizeof h->dedups.rest->queues[0]);
    if (hq->orphan || hq->cfg->dedup.window_ms == 0)
        return;
    struct hub_dedup *d = dedup_of(hq);
    d->by = hq->cfg->dedup;
    d->by.hash = h->cfg.hash;
    d->needs_dup = queue_dedup_needs_dup(&d->by);
    d->seen = queue_seen_new(d->by.window_ms, d->by.max);
    h->dedups.n++;
    hub_recount(h, hq);
    share_memory(h);
}

void dedup_free(struct hub_queue *hq)
{
    if (hq->dedup == NULL)
        return;
    queue_seen_free(hq->dedup->seen);
    queue_seen_free(hq->dedup->leaving);
    sl_free(hq->dedup);
}

/* ---- records ---- */

static struct batch_op *record_drop(struct hub *h, const struct hub_queue *hq, uint64_t id)
{
    struct batch_op *op = record(h, BATCH_DEDUP_DROP);
    op->queue = hq->cfg->number;
    op->id = id;
    return op;
}

static void forget_over(struct hub *h, const struct hub_queue *hq, uint32_t at_most)
{
    uint64_t id;
    while (at_most-- > 0 && (id = queue_seen_expire(hq->dedup->seen, h->now.steady_ms)) != 0) {
        if (hq->cfg->durable)
            (void)record_drop(h, hq, id);
    }
}

static void record_key(struct hub *h, const struct hub_queue *hq, uint64_t id)
{
    struct batch_op *op = record(h, BATCH_DEDUP);
    op->queue = hq->cfg->number;
    op->id = id;
    op->seen_ms = h->now.steady_ms;
    memcpy(op->dedup_key, hq->dedup->key, sizeof op->dedup_key);
    h->dedups.awaits = true;
}

static void remember(struct hub *h, const struct hub_queue *hq, const struct queue_first *entered)
{
    struct hub_dedup *d = hq->dedup;
    uint64_t before = queue_seen_put(d->seen, d->key, entered, h->now.steady_ms);
    if (hq->cfg->durable)
        record_key(h, hq, entered->id);
    if (hq->cfg->durable && before != 0)
        record_drop(h, hq, before)->bound = true; /* not without the younger one that has the key now */
    forget_over(h, hq, PER_MESSAGE);
    h->dedups.next_ms = smaller(h->dedups.next_ms, h->now.steady_ms + TICK_MS);
}

/* ---- entering ---- */

/* Fills what the queue's table holds of this message: true: it is known. */
static bool look_up(struct hub *h, const struct offer *o, const struct message *m, struct hub_dedup *d)
{
    d->replaces = false;
    d->keyed = queue_dedup_key(&d->by, m, o->packet_id, d->key);
    bool asked = d->keyed && (o->dup || !d->needs_dup);
    return asked && queue_seen_find(d->seen, d->key, h->now.steady_ms, &d->first);
}

/* The first one is not stored yet: neither is what its duplicate is told. */
static void is_duplicate(struct hub *h, struct hub_queue *hq)
{
    struct hub_dedup *d = hq->dedup;
    d->keyed = false;
    queue_counters(hq->q)->duplicates++;
    if (h->trace != NULL)
        trace_add(h, &(struct hub_trace_event){ .id = d->first.id, .what = HUB_TRACE_DUPLICATE, .queue = (uint32_t)(hq - h->queues) });
    h->dedups.first = h->dedups.first == 0 ? d->first.id : h->dedups.first;
    if (hq->cfg->durable && d->first.id > h->commit.stored_id) {
        h->dedups.awaits = true;
        h->dedups.unstored = true;
    }
}

/* Whether this queue takes the message. */
static bool takes(struct hub *h, const struct offer *o, const struct message *m, struct hub_queue *hq)
{
    struct hub_dedup *d = hq->dedup;
    uint64_t bytes;
    if (d == NULL || d->seen == NULL || !look_up(h, o, m, d))
        return true;
    if (!d->by.replace) {
        is_duplicate(h, hq);
        return false;
    }
    d->replaces = queue_waits(hq->q, d->first.entry, d->first.id, &bytes);
    return true;
}

const struct route_set *dedup_sift(struct hub *h, const struct offer *o, const struct offer_item *it)
{
    struct route_set *rest = h->dedups.rest;
    rest->n = 0;
    h->dedups.first = 0;
    for (uint32_t k = 0; k < it->to->n; k++) {
        if (takes(h, o, it->m, &h->queues[it->to->queues[k]]))
            rest->queues[rest->n++] = it->to->queues[k];
    }
    h->dedups.whole = h->dedups.first != 0 && rest->n == 0;
    return rest->n == it->to->n ? it->to : rest;
}

/* In the place of the first one it needs room for the difference alone. False: that does not wait. */
static bool has_place(const struct hub_queue *hq, uint32_t *count, uint64_t *bytes)
{
    const struct queue_first *first = &hq->dedup->first;
    uint64_t waiting;
    if (!queue_waits(hq->q, first->entry, first->id, &waiting))
        return false;
    *count = 0;
    *bytes -= smaller(waiting, *bytes);
    return true;
}

void dedup_adds(const struct hub_queue *hq, const struct message *m, uint32_t *count, uint64_t *bytes)
{
    *count = 1;
    *bytes = message_bytes(m);
    if (hq->dedup != NULL && hq->dedup->replaces)
        (void)has_place(hq, count, bytes);
}

uint32_t dedup_enqueue(struct hub *h, uint32_t queue, struct message *m, uint32_t flags)
{
    struct hub_queue *hq = &h->queues[queue];
    struct hub_dedup *d = hq->dedup;
    struct queue_change left;
    uint32_t entry = 0;
    if (d->replaces)
        entry = queue_replace(hq->q, d->first.entry, d->first.id, m, flags, &h->now, &left);
    d->gone = entry != 0;
    if (entry == 0)
        return queue_enqueue(hq->q, m, flags, &h->now);
    d->left = left;
    return entry;
}

/* What leaves for the newer one is never stored without it. */
static void leaves_for_it(struct hub *h, uint32_t queue, const struct queue_change *gone, const struct message *m)
{
    if (h->trace != NULL)
        trace_became(h, HUB_TRACE_REPLACED, gone->id, queue, message_id(m), queue);
    uint32_t from = h->commit.open->n;
    settle_with(h, queue, gone, true);
    bind_answers(h, from, h->commit.open->n);
}

void dedup_entered(struct hub *h, uint32_t queue, const struct message *m, uint32_t entry)
{
    struct hub_queue *hq = &h->queues[queue];
    struct hub_dedup *d = hq->dedup;
    if (d->gone)
        leaves_for_it(h, queue, &d->left, m);
    if (d->keyed)
        remember(h, hq, &(struct queue_first){ message_id(m), entry });
    d->keyed = d->replaces = d->gone = false;
}

bool dedup_awaits(struct hub *h)
{
    bool awaits = h->dedups.awaits;
    if (h->dedups.whole)
        h->published_id = h->dedups.first;
    h->dedups.awaits = false;
    return awaits;
}

/* ---- admission ---- */

/* What of this message the queue would have to find room for; false: nothing. */
static bool needs_room(struct hub *h, const struct offer *o, const struct message *m, const struct hub_queue *hq, uint32_t *count, uint64_t *bytes)
{
    struct hub_dedup *d = hq->dedup;
    *count = 1;
    *bytes = message_bytes(m);
    bool known = d != NULL && d->seen != NULL && look_up(h, o, m, d);
    if (d != NULL)
        d->keyed = false; /* it does not enter yet */
    if (!known)
        return true;
    if (!d->by.replace)
        return false;
    return !has_place(hq, count, bytes) || *bytes > 0;
}

struct asking {
    struct hub *h;
    const struct offer *o;
    enum queue_admission a;
};

static void ask_for(struct asking *g, const struct offer_item *it)
{
    struct hub *h = g->h;
    for (uint32_t k = 0; k < it->to->n; k++) {
        uint32_t queue = it->to->queues[k], count;
        uint64_t bytes;
        if (!needs_room(h, g->o, it->m, &h->queues[queue], &count, &bytes))
            continue;
        h->scratch_count[queue] += count;
        h->scratch_bytes[queue] += bytes;
        g->a = worse_admission(g->a, queue_admits(h->queues[queue].q, h->scratch_count[queue], h->scratch_bytes[queue]));
        if (hub_memory_pressed(h))
            g->a = worse_admission(g->a, QUEUE_WAIT);
    }
}

enum queue_admission dedup_admission(struct hub *h, const struct offer *o, enum queue_admission plain)
{
    struct asking g = { h, o, QUEUE_ADMIT };
    if (h->commit.health != HUB_OK || o->n == 0)
        return plain;
    memset(h->scratch_count, 0, h->n_queues * sizeof *h->scratch_count);
    memset(h->scratch_bytes, 0, h->n_queues * sizeof *h->scratch_bytes);
    for (uint32_t i = 0; i < o->n; i++)
        ask_for(&g, &offer_items(o)[i]);
    return g.a;
}

/* ---- time ---- */

struct leaving {
    uint32_t budget;
    uint64_t next_ms; /* of all tables, when the next key will be over */
};

/* `stored`: the store has them. */
static void expire(struct hub *h, const struct hub_queue *hq, struct queue_seen *seen, bool stored, struct leaving *l)
{
    uint64_t id = 1;
    while (seen != NULL && l->budget > 0 && (id = queue_seen_expire(seen, h->now.steady_ms)) != 0) {
        if (stored)
            (void)record_drop(h, hq, id);
        l->budget--;
    }
    if (seen != NULL)
        l->next_ms = smaller(l->next_ms, queue_seen_deadline(seen));
}

static void expire_of_queue(struct hub *h, struct hub_queue *hq, struct leaving *l)
{
    struct hub_dedup *d = hq->dedup;
    hub_recount(h, hq);
    expire(h, hq, d->leaving, true, l);
    expire(h, hq, d->seen, hq->cfg->durable, l);
    if (d->leaving != NULL && queue_seen_count(d->leaving) == 0) {
        queue_seen_free(d->leaving);
        d->leaving = NULL;
    }
}

/* While the gateway stops nothing is begun that is not owed to anybody. What is over
 * is not found any more: that it leaves in bunches, a little late, harms nobody. */
void dedup_tick(struct hub *h)
{
    struct leaving l = { PER_TURN, UINT64_MAX };
    if (h->now.steady_ms < h->dedups.next_ms || h->draining || h->commit.health != HUB_OK)
        return;
    for (uint32_t i = 0; i < h->n_queues; i++) {
        if (h->queues[i].dedup != NULL)
            expire_of_queue(h, &h->queues[i], &l);
    }
    if (l.budget > 0 && l.next_ms < h->now.steady_ms + TICK_MS)
        l.next_ms = h->now.steady_ms + TICK_MS;
    h->dedups.next_ms = l.next_ms;
}

uint64_t dedup_deadline_us(const struct hub *h)
{
    uint64_t at = h->dedups.next_ms, now = h->now.steady_ms;
    if (at == UINT64_MAX || h->draining || h->commit.health != HUB_OK)
        return UINT64_MAX;
    return h->now.mono_us + (at > now ? at - now : 0) * 1000;
}

uint64_t dedup_bytes(const struct hub_queue *hq)
{
    const struct hub_dedup *d = hq->dedup;
    if (SL_LIKELY(d == NULL))
        return 0;
    return sizeof *d + (d->seen == NULL ? 0 : queue_seen_bytes(d->seen)) + (d->leaving == NULL ? 0 : queue_seen_bytes(d->leaving));
}

void dedup_check(const struct hub_queue *hq)
{
    if (hq->dedup == NULL)
        return;
    SL_ASSERT(!hq->dedup->keyed && !hq->dedup->replaces && !hq->dedup->gone);
    if (hq->dedup->seen != NULL)
        queue_seen_check(hq->dedup->seen);
}

/* ---- a restart ---- */

static uint64_t restore_known(const struct hub *h, struct hub_queue *hq, uint64_t id, uint64_t seen_ms, const uint8_t *key)
{
    struct hub_dedup *d = hq->dedup;
    uint32_t entry = d->by.replace ? queue_restored_entry(hq->q, id) : 0;
    return queue_seen_put(d->seen, key, &(struct queue_first){ id, entry }, smaller(seen_ms, h->now.steady_ms));
}

/* Its queue remembers nothing any more, or not on the disk. */
static uint64_t restore_leaving(struct hub_queue *hq, uint64_t id, const uint8_t *key)
{
    struct hub_dedup *d = dedup_of(hq);
    if (d->leaving == NULL)
        d->leaving = queue_seen_new(0, 0);
    return queue_seen_put(d->leaving, key, &(struct queue_first){ id, 0 }, 0);
}

int hub_restore_dedup(struct hub *h, uint32_t number, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY])
{
    struct hub_queue *hq = hub_queue_of_number(h, number);
    if (hq == NULL || id == 0)
        return SL_EFORMAT;
    bool wanted = hq->dedup != NULL && hq->dedup->seen != NULL && hq->cfg->durable;
    uint64_t before = wanted ? restore_known(h, hq, id, seen_ms, key) : restore_leaving(hq, id, key);
    if (before != 0)
        (void)record_drop(h, hq, before); /* two of one key: the younger took it over */
    h->dedups.next_ms = 0;
    hub_recount(h, hq);
    return SL_OK;
}
