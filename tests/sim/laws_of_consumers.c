/* The laws of STOMP consumers. Of a queue: one holder, credit, who is charged, the
 * time for an answer, what a receipt promises. Of a topic: everything once, in
 * order. Of a connection: receipts in order, nothing behind an ERROR. */
#include "consumers.h"

/* ---- topics ---- */

static uint16_t bit(const struct consumer *c, const struct consumption *s)
{
    return (uint16_t)(1u << (c->number * SIM_SUBS + (uint32_t)(s - c->subs)));
}

void consumption_begins(struct consumer *c, struct consumption *s)
{
    struct world *w = c->w;
    s->active = true;
    s->due_from = s->due_by = s->unsure_from = UINT64_MAX;
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        w->uids[uid].due_consumers &= (uint16_t)~bit(c, s);
        w->uids[uid].got_consumers &= (uint16_t)~bit(c, s);
    }
}

void laws_expect_consumers(struct world *w, uint32_t uid)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        const struct consumer *c = &w->consumers[i];
        for (uint32_t k = 0; k < SIM_SUBS; k++) {
            const struct consumption *s = &c->subs[k];
            if (s->active && s->by_topic && consumer_filter_takes(s->filter, w->uids[uid].topic))
                w->uids[uid].due_consumers |= bit(c, s);
        }
    }
}

/* Of one connection's messages, whatever their topic and QoS: they are accepted in the order in which they came. */
static void in_order(const struct consumer *c, struct consumption *s, const struct uid *u, uint32_t uid)
{
    if (u->connection == 0 || u->sent_again)
        return;
    if (s->last[u->device].connection == u->connection && s->last[u->device].offered > u->offered)
        world_fail(c->w, "consumer %u (%s) gets u%08u after a later one of the same publisher", c->number, s->id, uid);
    s->last[u->device].connection = u->connection;
    s->last[u->device].offered = u->offered;
}

static void topic_message(struct consumer *c, struct consumption *s, const struct arrival *a)
{
    struct world *w = c->w;
    w->counts[SIM_TOPIC_ARRIVALS]++;
    if (a->uid == SIM_NO_UID)
        return;
    struct uid *u = &w->uids[a->uid];
    deal_seen(w, u->deal, a->uid);
    if (u->cancelled)
        world_fail(w, "u%08u was taken back and comes to consumer %u", a->uid, c->number);
    if (u->topic >= SIM_TOPICS || !consumer_filter_takes(s->filter, u->topic))
        world_fail(w, "u%08u comes to consumer %u (%s), which has not subscribed to it", a->uid, c->number, s->id);
    if (a->retained && !u->retain)
        world_fail(w, "u%08u comes to consumer %u as retained, and is not", a->uid, c->number);
    if (a->retained)
        return;
    if ((u->got_consumers & bit(c, s)) != 0 && !u->sent_again)
        world_fail(w, "u%08u comes to consumer %u (%s) twice", a->uid, c->number, s->id);
    in_order(c, s, u, a->uid);
    u->got_consumers |= bit(c, s);
}

/* ---- queues ---- */

void consumption_clock(struct consumer *c, struct consumption *s, bool sure)
{
    uint64_t limit_ms = c->w->queues[s->queue].ack_timeout_ms;
    s->due_from = s->due_by = UINT64_MAX;
    s->extended = 0;
    if (s->by_topic || s->n == 0 || limit_ms == 0)
        return;
    s->due_from = c->w->now.mono_ms + limit_ms;
    if (sure && s->unsure == 0)
        s->due_by = s->due_from;
}

static void queue_message(struct consumer *c, struct consumption *s, const struct arrival *a, struct delivery *d)
{
    struct world *w = c->w;
    uint32_t max = w->queues[s->queue].max_attempts;
    struct holder h = { .queue = s->queue, .n = s->n, .credit = s->credit, .by = c };
    h.has_last = s->n > 0 && s->held[0].d.attempt > 1 && s->held[0].d.attempt == max;
    d->redelivered = a->redelivered;
    d->last = d->attempt == max;
    laws_on_delivery(w, &h, d);
    w->counts[SIM_CONSUMED]++;
    if (s->mode != ACKS_AUTO)
        return;
    struct charge *k = charge_of(w, d->id, s->queue); /* given is taken */
    k->live = false;
    k->acked_boot = w->boot;
    w->uids[d->uid].worked[s->queue]++;
}

void laws_on_message(struct consumer *c, struct consumption *s, const struct arrival *a)
{
    struct delivery d = { .id = a->id, .uid = a->uid, .attempt = a->attempt };
    if (s->by_topic)
        topic_message(c, s, a);
    else
        queue_message(c, s, a, &d);
    if (s->mode == ACKS_AUTO)
        return;
    if (s->n >= s->credit)
        world_fail(c->w, "consumer %u (%s) has more than its credit of %u", c->number, s->id, s->credit);
    s->held[s->n] = (struct taken){ .d = d, .end = a->end };
    snprintf(s->held[s->n].name, sizeof s->held[s->n].name, "%s", a->name);
    if (s->n++ == 0)
        consumption_clock(c, s, true);
}

/* ---- the end of leases ---- */

/* What a deal without an end has answered may go back, too. */
static void lose_unsure(struct consumer *c, const struct consumption *s, enum ending how)
{
    struct world *w = c->w;
    for (uint32_t i = 0; i < w->n_deals; i++) {
        struct deal *d = &w->deals[i];
        if ((d->fate != FATE_UNSURE && !d->given) || d->connection != c->connection || (d->subs & 1u << (s - c->subs)) == 0)
            continue;
        d->lost = true;
        for (uint32_t k = 0; k < d->n_claims; k++) {
            const struct claim *claim = &d->claims[k];
            if (claim->sub == (uint32_t)(s - c->subs) && !claim->left && how != END_ORDERLY)
                charge_failed(w, claim->queue, &(struct delivery){ .id = claim->id, .uid = claim->uid }, NULL, false);
        }
    }
}

/* Its time goes on, or begins now. */
static void leave_unsure(struct consumer *c, const struct consumption *s)
{
    struct world *w = c->w;
    uint64_t limit_ms = s->by_topic ? 0 : w->queues[s->queue].ack_timeout_ms;
    uint64_t from = limit_ms == 0 ? UINT64_MAX : w->now.mono_ms + limit_ms;
    from = s->unsure_from < from ? s->unsure_from : from;
    if (s->unsure > 0 && from < c->left_from)
        c->left_from = from;
    for (uint32_t i = 0; i < w->n_deals; i++) {
        struct deal *d = &w->deals[i];
        for (uint32_t k = 0; k < d->n_claims && d->fate == FATE_UNSURE && d->connection == c->connection; k++)
            d->claims[k].left = d->claims[k].left || d->claims[k].sub == (uint32_t)(s - c->subs);
    }
}

/* Only the oldest unanswered one is charged. */
static void end_those_it_holds(struct consumer *c, struct consumption *s, enum ending how)
{
    struct world *w = c->w;
    for (uint32_t i = 0; i < s->n; i++) {
        if (!s->by_topic)
            charge_of(w, s->held[i].d.id, s->queue)->live = false;
        if (s->held[i].claimed != 0)
            deal_at(w, s->held[i].claimed)->refused = true;
    }
    if (!s->by_topic && s->n > 0 && how != END_ORDERLY)
        charge_failed(w, s->queue, &s->held[0].d, NULL, how == END_CHARGED && s->unsure == 0);
    s->active = false;
    s->n = 0;
}

void consumption_ends(struct consumer *c, struct consumption *s, enum ending how)
{
    if (!s->active)
        return;
    lose_unsure(c, s, how);
    end_those_it_holds(c, s, how);
}

void consumption_is_left(struct consumer *c, struct consumption *s)
{
    if (!s->active)
        return;
    leave_unsure(c, s);
    end_those_it_holds(c, s, END_ORDERLY);
}

void consumer_ends(struct consumer *c, enum ending how)
{
    for (uint32_t i = 0; i < SIM_SUBS; i++)
        consumption_ends(c, &c->subs[i], how);
    for (uint32_t i = 0; i < SIM_OPEN; i++) {
        if (c->open[i] != 0)
            deal_is_out(c->w, c->open[i]);
        c->open[i] = 0;
    }
    for (uint32_t i = 0; i < c->w->n_deals; i++) {
        struct deal *d = &c->w->deals[i];
        d->lost = d->lost || (d->fate == FATE_UNSURE && d->connection == c->connection);
    }
    c->n_owed = 0;
}

/* ---- receipts ---- */

static void answer_sure(const struct consumer *c, const struct answered *a)
{
    struct world *w = c->w;
    struct charge *k = charge_of(w, a->id, a->queue);
    const struct queue_restored *e = disk_entry_of(w, a->id, a->queue);
    bool kept = e != NULL && w->queues[a->queue].durable;
    if (a->verdict == VERDICT_ACK && kept)
        world_fail(w, "u%08u was acknowledged with a receipt by consumer %u, and is still in the store of queue q%u", a->uid, c->number, a->queue);
    if (a->verdict != VERDICT_ACK && kept && e->attempts < a->attempt && e->state != QUEUE_DEAD)
        world_fail(w, "u%08u failed with a receipt by consumer %u, and the store of queue q%u has %u failed attempts of %u", a->uid, c->number, a->queue, e->attempts, a->attempt);
    if (a->verdict == VERDICT_ACK)
        k->done = true;
    else if (k->sure < a->attempt)
        k->sure = a->attempt;
}

void answers_sure(struct consumer *c, uint32_t n)
{
    for (; c->sure_answers < n; c->sure_answers++)
        answer_sure(c, &c->answers[c->sure_answers]);
}

static void resolve(struct consumer *c, const struct receipt *r)
{
    if (r->kind == OF_SEND && r->wanted)
        laws_on_ack(c->w, r->what);
    else if (r->kind == OF_DEAL)
        deal_is_in(c->w, r->what, r->wanted);
    else if (r->kind == OF_ANSWERS && r->wanted)
        answers_sure(c, r->answers);
    if (r->kind != OF_DEAL || !r->wanted)
        return;
    const struct deal *d = deal_at(c->w, r->what);
    for (uint32_t i = 0; i < d->n_uids; i++)
        laws_on_ack(c->w, d->uids[i]);
}

/* They leave in the order of their frames: those that none is owed for went before. */
void laws_on_receipt(struct consumer *c, uint32_t number)
{
    uint32_t i = 0;
    c->w->counts[SIM_ANSWERS]++;
    world_trace(c->w, "to consumer %u: RECEIPT %u", c->number, number);
    while (i < c->n_owed && !c->owed[i].wanted)
        i++;
    if (i == c->n_owed || c->owed[i].number != number)
        world_fail(c->w, "consumer %u gets receipt %u, and waits for %u", c->number, number, i == c->n_owed ? 0 : c->owed[i].number);
    for (uint32_t k = 0; k <= i; k++)
        resolve(c, &c->owed[k]);
    c->n_owed -= i + 1;
    memmove(&c->owed[0], &c->owed[i + 1], c->n_owed * sizeof c->owed[0]);
}

/* ---- ERROR ---- */

/* Its frame asked for this receipt: a COMMIT that was refused comes to nothing. One that
 * answers a delivery is not refused because a queue is full (decision 30). */
static void refused(struct consumer *c, const char *message, uint32_t receipt)
{
    const struct world *w = c->w;
    for (uint32_t i = 0; i < c->n_owed && receipt != 0; i++) {
        const struct receipt *r = &c->owed[i];
        if (r->number != receipt || r->kind != OF_DEAL || hub_health(w->hub) == HUB_BROKEN)
            continue;
        if (!w->tight && deal_at(w, r->what)->n_claims > 0 && strcmp(message, "quota exceeded") == 0)
            world_fail(w, "transaction x%u of consumer %u answers deliveries, and is refused for want of room", deal_at(w, r->what)->name, c->number);
        deal_is_out(c->w, r->what);
    }
}

static bool has_stale_deal(const struct consumer *c)
{
    for (uint32_t i = 0; i < c->w->n_deals; i++) {
        const struct deal *d = &c->w->deals[i];
        if (d->connection == c->connection && (d->refused || d->lost))
            return true;
    }
    return c->doomed;
}

/* Past the time for an answer it is spared, since it has given one. */
static bool has_waiting_deal(const struct consumer *c)
{
    for (uint32_t i = 0; i < c->w->n_deals; i++) {
        const struct deal *d = &c->w->deals[i];
        if (d->connection == c->connection && d->fate == FATE_UNSURE && d->n_claims > 0)
            return true;
    }
    return false;
}

static bool offers(const struct consumer *c)
{
    bool any = c->open[0] != 0 || c->open[1] != 0;
    for (uint32_t i = 0; i < c->n_owed; i++)
        any = any || c->owed[i].kind == OF_SEND || c->owed[i].kind == OF_DEAL;
    return any;
}

static bool listens(const struct consumer *c)
{
    bool any = false;
    for (uint32_t i = 0; i < SIM_SUBS; i++)
        any = any || (c->subs[i].active && c->subs[i].by_topic);
    return any;
}

/* Only those whose time is over are charged. */
static void time_out(struct consumer *c)
{
    struct world *w = c->w;
    bool any = c->left_from <= w->now.mono_ms;
    w->counts[SIM_ACK_TIMEOUTS]++;
    for (uint32_t i = 0; i < SIM_SUBS; i++) {
        struct consumption *s = &c->subs[i];
        bool may = s->active && (s->due_from <= w->now.mono_ms || (s->unsure > 0 && s->unsure_from <= w->now.mono_ms));
        bool must = s->active && s->due_by <= w->now.mono_ms;
        any = any || may;
        consumption_ends(c, s, must ? END_CHARGED : may ? END_UNSURE : END_ORDERLY);
    }
    if (!any)
        world_fail(w, "consumer %u is told that its time is over, and has some", c->number);
}

/* May it be said? */
static bool is_justified(const struct consumer *c, const char *message)
{
    const struct world *w = c->w;
    if (strcmp(message, "server shutting down") == 0)
        return w->draining;
    if (strcmp(message, "slow consumer") == 0)
        return w->tight && listens(c);
    if (strcmp(message, "transaction failed") == 0)
        return has_stale_deal(c);
    if (strcmp(message, "quota exceeded") == 0)
        return w->tight || offers(c);
    if (strcmp(message, "transaction too large") == 0)
        return c->open[0] != 0 || c->open[1] != 0;
    if (strcmp(message, "store unavailable") == 0)
        return hub_health(w->hub) == HUB_BROKEN || has_waiting_deal(c);
    return c->doomed;
}

void laws_on_error(struct consumer *c, const char *message, uint32_t receipt)
{
    world_trace(c->w, "to consumer %u: ERROR %s, receipt %u", c->number, message, receipt);
    c->failed = true;
    c->w->counts[SIM_CONSUMERS_LOST]++;
    refused(c, message, receipt);
    if (strcmp(message, "acknowledgement timeout") == 0)
        time_out(c);
    else if (!is_justified(c, message))
        world_fail(c->w, "consumer %u is told \"%s\" without a reason", c->number, message);
    bool shutdown = strcmp(message, "server shutting down") == 0, store = strcmp(message, "store unavailable") == 0;
    consumer_ends(c, shutdown ? END_ORDERLY : store ? END_UNSURE : END_CHARGED);
}

/* ---- after each step ---- */

static void count_left(const struct world *w, uint64_t unsure[SIM_QUEUES])
{
    for (uint32_t i = 0; i < w->n_deals; i++) {
        const struct deal *d = &w->deals[i];
        const struct consumer *c = &w->consumers[d->consumer];
        for (uint32_t k = 0; k < d->n_claims && d->fate == FATE_UNSURE && d->connection == c->connection; k++)
            unsure[d->claims[k].queue] += d->claims[k].left;
    }
}

void laws_of_leases(const struct world *w)
{
    uint64_t least[SIM_QUEUES] = { 0 }, unsure[SIM_QUEUES] = { 0 };
    for (uint32_t i = 0; i < SIM_WORKERS; i++)
        least[w->workers[i].queue] += w->workers[i].consumer != 0 ? w->workers[i].n : 0;
    for (uint32_t i = 0; i < SIM_CONSUMERS * SIM_SUBS; i++) {
        const struct consumption *s = &w->consumers[i / SIM_SUBS].subs[i % SIM_SUBS];
        if (!s->active || s->by_topic)
            continue;
        least[s->queue] += s->n;
        unsure[s->queue] += s->unsure;
    }
    count_left(w, unsure);
    for (uint32_t q = 0; q < SIM_QUEUES; q++) {
        struct queue_depth d;
        queue_depth(hub_queue(w->hub, q), &d);
        uint64_t told = d.count[QUEUE_LEASED];
        if (told < least[q] || told > least[q] + unsure[q])
            world_fail(w, "%" PRIu64 " deliveries of queue q%u are out (%" PRIu64 " more may be), and the gateway counts %" PRIu64, least[q], q, unsure[q], told);
    }
}

static void law_of_one(const struct consumer *c)
{
    const struct world *w = c->w;
    if (c->client == NULL)
        return;
    if (c->doomed && !c->failed)
        world_fail(w, "consumer %u said what makes no sense, and is not told so", c->number);
    for (uint32_t i = 0; i < SIM_SUBS; i++) {
        const struct consumption *s = &c->subs[i];
        if (s->active && s->due_by <= w->ticked_ms)
            world_fail(w, "the time of consumer %u (%s) for an answer was over %" PRIu64 " ms ago", c->number, s->id, w->ticked_ms - s->due_by);
    }
}

void laws_of_consumers_after_step(struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        law_of_one(&w->consumers[i]);
    laws_of_leases(w);
}

/* ---- the end ---- */

static void nothing_is_missing(const struct consumer *c, const struct consumption *s)
{
    const struct world *w = c->w;
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        const struct uid *u = &w->uids[uid];
        bool due = u->acked && (u->due_consumers & bit(c, s)) != 0 && !uid_has_ended(w, u);
        if (due && (u->got_consumers & bit(c, s)) == 0)
            world_fail(w, "u%08u is acknowledged and has not come to consumer %u (%s)", uid, c->number, s->id);
    }
}

void laws_of_consumers_at_end(struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        const struct consumer *c = &w->consumers[i];
        for (uint32_t k = 0; c->client != NULL && k < c->n_owed; k++) {
            if (c->owed[k].wanted)
                world_fail(w, "consumer %u still waits for receipt %u", i, c->owed[k].number);
        }
        for (uint32_t k = 0; k < SIM_SUBS; k++) {
            if (c->subs[k].active && c->subs[k].by_topic)
                nothing_is_missing(c, &c->subs[k]);
        }
    }
}

void laws_of_goodbyes(const struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        if (w->consumers[i].client != NULL)
            world_fail(w, "consumer %u has said goodbye, and its connection goes on", i);
    }
}
