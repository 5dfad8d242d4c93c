/* What STOMP clients want done as one: transactions. Nobody tells the simulation
 * when one takes effect, so this is found out from its parts: a receipt, a
 * message that is seen, an answered delivery that comes again, what the disk
 * has. Whatever tells of one part tells of all. */
#include "consumers.h"
#include "subscribers.h"

struct deal *deal_at(const struct world *w, uint32_t deal)
{
    return &w->deals[deal - 1];
}

uint32_t deal_new(struct consumer *c)
{
    struct world *w = c->w;
    if (w->n_deals == w->cap_deals) {
        w->cap_deals = w->cap_deals == 0 ? 16 : w->cap_deals * 2;
        w->deals = sl_realloc(w->deals, w->cap_deals * sizeof *w->deals);
    }
    w->deals[w->n_deals] = (struct deal){ .consumer = c->number, .connection = c->connection, .name = ++c->names };
    return ++w->n_deals;
}

void deals_free(struct world *w)
{
    for (uint32_t i = 0; i < w->n_deals; i++)
        sl_free(w->deals[i].claims);
    sl_free(w->deals);
}

/* ---- its parts ---- */

/* Before COMMIT nobody may see it. */
void deal_send(struct world *w, uint32_t deal, uint32_t uid)
{
    struct deal *d = deal_at(w, deal);
    d->uids[d->n_uids++] = uid;
    w->uids[uid].deal = deal;
    w->uids[uid].cancelled = true;
}

void deal_claim(struct world *w, uint32_t deal, const struct claim *claim)
{
    struct deal *d = deal_at(w, deal);
    if (d->n_claims == d->cap_claims) {
        d->cap_claims = d->cap_claims == 0 ? 8 : d->cap_claims * 2;
        d->claims = sl_realloc(d->claims, d->cap_claims * sizeof *d->claims);
    }
    d->claims[d->n_claims++] = *claim;
}

/* ---- COMMIT ---- */

/* Who waits for its oldest delivery may be over, and may not. */
static void leave_to_deal(struct consumer *c, struct consumption *s, const struct deal *d)
{
    struct world *w = c->w;
    uint32_t deal = (uint32_t)(d - w->deals) + 1, kept = 0;
    bool oldest = s->n > 0 && s->held[0].claimed == deal;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->held[i].claimed != deal)
            s->held[kept++] = s->held[i];
        else if (!s->by_topic)
            s->unsure++;
    }
    s->n = kept;
    if (!oldest || s->by_topic)
        return;
    s->unsure_from = s->due_from < s->unsure_from ? s->due_from : s->unsure_from;
    consumption_clock(c, s, false);
}

static void give_claim(struct world *w, uint32_t deal, struct claim *k)
{
    struct charge *c = charge_of(w, k->id, k->queue);
    c->live = false;
    c->deal = deal;
    k->had_entry = disk_entry_of(w, k->id, k->queue) != NULL;
    if (k->verdict == VERDICT_ACK)
        w->uids[k->uid].worked[k->queue]++;
    else
        charge_failed(w, k->queue, &(struct delivery){ .id = k->id, .uid = k->uid }, &(struct queue_answer){ .verb = k->verdict == VERDICT_DEAD ? QUEUE_KILL : QUEUE_RETRY }, false);
}

static void over_limit(struct world *w, uint32_t uid)
{
    for (uint32_t q = 0; q < SIM_QUEUES; q++)
        w->over[q] += (uint32_t)uid_queues(w, &w->uids[uid]) >> q & 1u;
}

/* Decision 30: who answers a delivery must not wait for room in its own queue, nor
 * behind what the same connection has sent before. */
static void count_over(struct world *w, const struct deal *d)
{
    const struct consumer *c = &w->consumers[d->consumer];
    if (d->n_claims == 0)
        return;
    for (uint32_t i = 0; i < d->n_uids; i++)
        over_limit(w, d->uids[i]);
    for (uint32_t i = 0; i < c->n_owed; i++) {
        const struct receipt *r = &c->owed[i];
        const struct deal *before = r->kind == OF_DEAL && deal_at(w, r->what) != d ? deal_at(w, r->what) : NULL;
        if (r->kind == OF_SEND)
            over_limit(w, r->what);
        for (uint32_t k = 0; before != NULL && k < before->n_uids; k++)
            over_limit(w, before->uids[k]);
    }
}

void deal_give(struct world *w, uint32_t deal)
{
    struct deal *d = deal_at(w, deal);
    struct consumer *c = &w->consumers[d->consumer];
    d->fate = FATE_UNSURE;
    w->counts[SIM_COMMITS]++;
    world_trace(w, "deal %u: COMMIT of x%u, %u messages, %u answers", deal, d->name, d->n_uids, d->n_claims);
    for (uint32_t i = 0; i < SIM_SUBS; i++)
        leave_to_deal(c, &c->subs[i], d);
    for (uint32_t i = 0; i < d->n_claims; i++)
        give_claim(w, deal, &d->claims[i]);
    count_over(w, d);
    for (uint32_t i = 0; i < d->n_uids; i++) {
        w->uids[d->uids[i]].cancelled = false;
        uid_sent(w, d->uids[i]);
        laws_expect(w, d->uids[i]);
    }
}

/* ---- its fate ---- */

static void end_unsure(struct world *w, const struct deal *d)
{
    struct consumer *c = &w->consumers[d->consumer];
    if (d->lost || c->connection != d->connection || c->client == NULL)
        return;
    for (uint32_t i = 0; i < d->n_claims; i++) {
        struct consumption *s = &c->subs[d->claims[i].sub];
        if (!s->active || d->claims[i].left || s->unsure == 0 || --s->unsure > 0)
            continue;
        s->unsure_from = UINT64_MAX;
        uint64_t limit_ms = w->queues[s->queue].ack_timeout_ms;
        if (s->n > 0 && limit_ms != 0 && s->due_by == UINT64_MAX)
            s->due_by = w->now.mono_ms + limit_ms > s->extended ? w->now.mono_ms + limit_ms : s->extended;
    }
}

void deal_is_out(struct world *w, uint32_t deal)
{
    struct deal *d = deal_at(w, deal);
    bool given = d->fate != FATE_OPEN;
    if (d->fate == FATE_OUT)
        return;
    world_trace(w, "deal %u is out", deal);
    for (uint32_t i = 0; i < d->n_uids; i++)
        w->uids[d->uids[i]].cancelled = true;
    for (uint32_t i = 0; i < d->n_claims && given; i++) {
        if (d->claims[i].verdict == VERDICT_ACK)
            w->uids[d->claims[i].uid].worked[d->claims[i].queue]--;
    }
    d->given = given;
    d->fate = FATE_OUT; /* what it has answered is out until its connection ends, which it does for that */
}

static void claim_is_in(struct world *w, const struct claim *k, bool first, bool stored)
{
    struct charge *c = charge_of(w, k->id, k->queue);
    const struct queue_restored *e = disk_entry_of(w, k->id, k->queue);
    if (stored && w->queues[k->queue].durable && k->verdict == VERDICT_ACK && e != NULL)
        world_fail(w, "u%08u was acknowledged in a transaction that is stored, and is still in the store of queue q%u", k->uid, k->queue);
    if (k->verdict == VERDICT_ACK) {
        c->acked_boot = w->boot;
        c->done = c->done || stored;
        return;
    }
    if (first)
        c->least++;
    if (stored && c->sure < k->attempt)
        c->sure = k->attempt;
}

void deal_is_in(struct world *w, uint32_t deal, bool stored)
{
    struct deal *d = deal_at(w, deal);
    bool first = d->fate == FATE_UNSURE;
    if (d->fate == FATE_OUT || d->fate == FATE_OPEN)
        world_fail(w, "transaction x%u of consumer %u has taken effect, and was not committed or came to nothing", d->name, d->consumer);
    if (d->refused)
        world_fail(w, "transaction x%u of consumer %u has taken effect, and answers a delivery that was over", d->name, d->consumer);
    if (!first && !stored)
        return;
    world_trace(w, "deal %u is in%s", deal, stored ? ", stored" : "");
    d->fate = FATE_IN;
    for (uint32_t i = 0; i < d->n_claims; i++)
        claim_is_in(w, &d->claims[i], first, stored);
    if (first)
        end_unsure(w, d);
    d->stored = d->stored || stored;
}

void deal_seen(struct world *w, uint32_t deal, uint32_t uid)
{
    if (deal == 0 || w->uids[uid].cancelled)
        return; /* the law of what was taken back tells */
    deal_is_in(w, deal, false);
}

void deal_undone(struct world *w, uint32_t deal, uint64_t id, uint32_t queue)
{
    if (deal == 0)
        return;
    struct deal *d = deal_at(w, deal);
    struct consumer *c = &w->consumers[d->consumer];
    bool acked = false;
    for (uint32_t i = 0; i < d->n_claims; i++)
        acked = acked || (d->claims[i].id == id && d->claims[i].queue == queue && d->claims[i].verdict == VERDICT_ACK);
    if (!acked || d->fate == FATE_OUT)
        return;
    if (c->connection == d->connection && c->client != NULL)
        consumer_tap(c);
    if (d->fate == FATE_IN)
        world_fail(w, "message %016" PRIx64 " comes again, and transaction x%u of consumer %u, which acknowledged it, has taken effect", id, d->name, d->consumer);
    if (!d->lost)
        world_fail(w, "message %016" PRIx64 " comes again while transaction x%u of consumer %u, which acknowledges it, is under way", id, d->name, d->consumer);
    deal_is_out(w, deal);
}

/* ---- what the disk says ---- */

struct evidence {
    bool in, out;
    uint32_t out_uid;
};

static void evidence_of_uid(const struct world *w, uint32_t uid, struct evidence *e)
{
    const struct uid *u = &w->uids[uid];
    for (uint32_t s = 0; s < SIM_SUBSCRIBERS; s++)
        e->in = e->in || u->waits[s] > 0;
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        if ((uid_queues(w, u) & 1u << q) == 0 || !w->queues[q].durable)
            continue;
        e->in = e->in || u->stored[q] > 0;
        bool kept = u->stored[q] > 0 || u->worked[q] > 0 || u->left[q] > 0;
        if (kept || uid_may_have_left(w, u, q) || moves_keep(w, u, q) || duplicates_know(w, q, u)) /* a duplicate never was there */
            continue;
        e->out = true;
        e->out_uid = uid;
    }
}

/* Of one that failed, only while nobody else could have done it. */
static void evidence_of_claim(const struct world *w, const struct deal *d, struct claim *k, struct evidence *e)
{
    const struct queue_restored *r = disk_entry_of(w, k->id, k->queue);
    if (!w->queues[k->queue].durable)
        return;
    k->had_entry = k->had_entry || r != NULL;
    bool out = r != NULL;
    if (k->verdict != VERDICT_ACK) {
        if (d->lost || r == NULL)
            return;
        out = r->attempts < k->attempt && r->state != QUEUE_DEAD;
    }
    e->in = e->in || (k->had_entry && !out && !uid_may_have_left(w, &w->uids[k->uid], k->queue));
    if (out) {
        e->out = true;
        e->out_uid = k->uid;
    }
}

static struct evidence evidence_of(const struct world *w, const struct deal *d)
{
    struct evidence e = { 0 };
    for (uint32_t i = 0; i < d->n_uids; i++)
        evidence_of_uid(w, d->uids[i], &e);
    for (uint32_t i = 0; i < d->n_claims; i++)
        evidence_of_claim(w, d, &d->claims[i], &e);
    if (e.in && e.out && d->n_uids > 0)
        world_fail(w, "transaction x%u of consumer %u is stored, and u%08u of it is not", d->name, d->consumer, e.out_uid);
    return e;
}

static bool is_undecided(const struct deal *d)
{
    return (d->fate == FATE_UNSURE || d->fate == FATE_IN) && !d->stored;
}

void deals_after_batch(struct world *w)
{
    for (uint32_t i = 0; i < w->n_deals; i++) {
        if (!is_undecided(&w->deals[i]))
            continue;
        struct evidence e = evidence_of(w, &w->deals[i]);
        if (e.in && !e.out)
            deal_is_in(w, i + 1, true);
    }
}

/* Answers alone may leave in parts while the disk is full: what the disk still has
 * comes again, the rest is done. */
static void deal_is_parted(struct world *w, struct deal *d)
{
    for (uint32_t i = 0; i < d->n_claims; i++) {
        const struct claim *k = &d->claims[i];
        if (k->verdict == VERDICT_ACK && disk_entry_of(w, k->id, k->queue) != NULL)
            w->uids[k->uid].worked[k->queue]--;
    }
    d->given = true;
    d->fate = FATE_OUT;
}

void deals_after_end(struct world *w)
{
    for (uint32_t i = 0; i < w->n_deals; i++) {
        struct deal *d = &w->deals[i];
        if (!is_undecided(d))
            continue;
        struct evidence e = evidence_of(w, d);
        if (e.in && e.out)
            deal_is_parted(w, d);
        else if (e.out)
            deal_is_out(w, i + 1);
        else
            d->fate = FATE_IN; /* or nothing of it was left to be stored */
        d->stored = true;
    }
}
