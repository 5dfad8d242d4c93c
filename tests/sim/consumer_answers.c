/* How STOMP consumers answer: ACK and NACK in each version's form, one by one
 * and up to one, at once and in transactions, late, twice and wrongly. */
#include "consumers.h"

bool consumer_has_read(const struct consumer *c, const struct taken *t)
{
    return t->end <= c->read;
}

/* ---- frames ---- */

static void put_name(const struct consumer *c, const struct consumption *s, const char *name, struct text *t)
{
    text_put(t, "%s:%s\n", c->version == 12 ? "id" : "message-id", name);
    if (c->version == 11)
        text_put(t, "subscription:%s\n", s->id);
}

static void put_verdict(struct text *t, enum verdict v, uint32_t ms)
{
    if (v == VERDICT_DEAD)
        text_put(t, "requeue:false\nreason:never\n");
    else if (v == VERDICT_EXTEND)
        text_put(t, "extend:%u\n", ms);
    else if (v == VERDICT_NACK && ms != UINT32_MAX)
        text_put(t, "delay:%ums\nreason:not today\n", ms);
}

static enum verdict some_verdict(const struct consumer *c)
{
    uint32_t r = pick(c->w, 100);
    if (c->version == 10 || r < 68)
        return VERDICT_ACK;
    return r < 86 ? VERDICT_NACK : r < 90 ? VERDICT_DEAD : VERDICT_EXTEND;
}

/* ---- what an answer means ---- */

/* Those that it answers: up to the named one, or that alone. */
static bool is_meant(const struct consumption *s, uint32_t named, uint32_t i)
{
    bool reached = s->mode == ACKS_UP_TO ? i <= named : i == named;
    return reached && s->held[i].claimed == 0;
}

static void remember(struct consumer *c, const struct consumption *s, const struct taken *t, enum verdict v)
{
    if (c->n_answers == c->cap_answers) {
        c->cap_answers = c->cap_answers == 0 ? 32 : c->cap_answers * 2;
        c->answers = sl_realloc(c->answers, c->cap_answers * sizeof *c->answers);
    }
    c->answers[c->n_answers++] = (struct answered){ .id = t->d.id, .queue = s->queue, .uid = t->d.uid, .attempt = t->d.attempt, .verdict = v };
}

static void take_answer(struct consumer *c, const struct consumption *s, const struct taken *t, enum verdict v, uint32_t ms)
{
    struct world *w = c->w;
    struct charge *k = charge_of(w, t->d.id, s->queue);
    struct queue_answer a = { .verb = v == VERDICT_DEAD ? QUEUE_KILL : QUEUE_RETRY, .has_delay = ms != UINT32_MAX, .delay_ms = ms };
    world_trace(w, "consumer %u: u%08u answered with %u", c->number, t->d.uid, v);
    k->live = false;
    if (v == VERDICT_ACK) {
        k->acked_boot = w->boot;
        w->uids[t->d.uid].worked[s->queue]++;
        w->counts[SIM_CONSUMER_ACKS]++;
    } else {
        charge_failed(w, s->queue, &t->d, &a, true);
    }
    remember(c, s, t, v);
}

static void take_answers(struct consumer *c, struct consumption *s, uint32_t named, enum verdict v, uint32_t ms)
{
    uint32_t kept = 0;
    bool oldest = is_meant(s, named, 0);
    memcpy(s->over, s->held[named].name, sizeof s->over);
    for (uint32_t i = 0, n = s->n; i < n; i++) {
        struct taken t = s->held[i];
        if (!is_meant(s, named, i))
            s->held[kept++] = t;
        else if (!s->by_topic)
            take_answer(c, s, &t, v, ms);
    }
    s->n = kept;
    if (oldest)
        consumption_clock(c, s, true);
}

/* The answers belong to a transaction from now on. */
static void claim_answers(struct consumer *c, struct consumption *s, uint32_t named, enum verdict v, uint32_t deal)
{
    bool meant[SIM_MINE];
    for (uint32_t i = 0; i < s->n; i++)
        meant[i] = is_meant(s, named, i);
    for (uint32_t i = 0; i < s->n; i++) {
        struct taken *t = &s->held[i];
        if (!meant[i])
            continue;
        t->claimed = deal;
        deal_at(c->w, deal)->subs |= 1u << (s - c->subs);
        struct claim k = { .id = t->d.id, .uid = t->d.uid, .queue = s->queue, .sub = (uint32_t)(s - c->subs), .attempt = t->d.attempt, .verdict = v };
        if (!s->by_topic)
            deal_claim(c->w, deal, &k);
    }
}

/* Its clock begins anew; that of one which waits for its start stands still. */
static void extended(struct consumer *c, struct consumption *s, uint32_t named, uint32_t ms)
{
    uint64_t until = c->w->now.mono_ms + ms;
    if (named != 0 || s->due_from == UINT64_MAX || s->by_topic)
        return;
    s->extended = until;
    if (s->due_by != UINT64_MAX)
        s->due_from = s->due_by = until;
    else if (until < s->due_from)
        s->due_from = until; /* it may be started, and may not */
}

/* ---- answering ---- */

static struct consumption *some_subscription(struct consumer *c, uint32_t *named)
{
    struct world *w = c->w;
    uint32_t from = pick(w, SIM_SUBS);
    for (uint32_t k = 0; k < SIM_SUBS; k++) {
        struct consumption *s = &c->subs[(from + k) % SIM_SUBS];
        uint32_t known[SIM_MINE], n = 0;
        for (uint32_t i = 0; s->active && i < s->n; i++) {
            if (s->held[i].claimed == 0 && consumer_has_read(c, &s->held[i]))
                known[n++] = i;
        }
        if (n == 0)
            continue;
        *named = known[chance(w, 60) ? 0 : pick(w, n)];
        return s;
    }
    return NULL;
}

/* It cannot know whether the gateway has read it: as good as a transaction of its own. */
static void answer_unsure(struct consumer *c, struct consumption *s, uint32_t named, enum verdict v, struct receipt *r)
{
    r->kind = OF_DEAL;
    r->what = deal_new(c);
    claim_answers(c, s, named, v, r->what);
    deal_give(c->w, r->what);
}

static void send_answer(struct consumer *c, struct consumption *s, uint32_t named, enum verdict v)
{
    struct world *w = c->w;
    struct text t = { 0 };
    uint32_t ms = v == VERDICT_EXTEND ? 100 + pick(w, 1500) : chance(w, 40) ? pick(w, 400) : UINT32_MAX;
    uint32_t deal = v == VERDICT_EXTEND || !chance(w, 80) ? 0 : c->open[chance(w, 80) ? 0 : pick(w, SIM_OPEN)];
    if (deal != 0)
        ms = UINT32_MAX;
    text_put(&t, "%s\n", v == VERDICT_ACK ? "ACK" : "NACK");
    put_name(c, s, s->held[named].name, &t);
    put_verdict(&t, v, ms);
    if (deal != 0)
        text_put(&t, "transaction:x%u\n", deal_at(w, deal)->name);
    struct receipt *r = consumer_ask(c, &t, deal == 0 ? OF_ANSWERS : OF_NOTHING, 0);
    text_put(&t, "\n");
    t.n++;
    enum sent sent = consumer_send(c, &t);
    if (sent == SENT_NOT)
        return;
    if (deal != 0 && sent == SENT_TAKEN)
        claim_answers(c, s, named, v, deal);
    else if (v == VERDICT_EXTEND && sent == SENT_TAKEN)
        extended(c, s, named, ms);
    else if (sent == SENT_TAKEN)
        take_answers(c, s, named, v, ms);
    else if (deal == 0 && v != VERDICT_EXTEND)
        answer_unsure(c, s, named, v, r);
    else
        consumer_lost(c); /* it cannot know: it gives up */
    if (deal == 0 && c->client != NULL)
        r->answers = c->n_answers;
}

/* Again what is over: nothing changes. */
static void answer_again(struct consumer *c)
{
    struct consumption *s = &c->subs[pick(c->w, SIM_SUBS)];
    struct text t = { "ACK\n", 4 };
    if (!s->active || s->over[0] == '\0' || s->mode == ACKS_UP_TO)
        return;
    put_name(c, s, s->over, &t);
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    text_put(&t, "\n");
    t.n++;
    (void)consumer_send(c, &t);
}

void consumer_answer(struct consumer *c)
{
    uint32_t named;
    struct consumption *s = some_subscription(c, &named);
    if (s == NULL || chance(c->w, 3))
        answer_again(c);
    else
        send_answer(c, s, named, some_verdict(c));
}

void consumer_answer_all(struct consumer *c)
{
    uint32_t named;
    struct consumption *s;
    while (c->client != NULL && hub_client_reading(c->client) && c->n_owed < SIM_RECEIPTS && (s = some_subscription(c, &named)) != NULL)
        send_answer(c, s, named, VERDICT_ACK);
}

/* ---- transactions ---- */

static void put_transaction(struct text *t, const char *command, const struct deal *d)
{
    text_put(t, "%s\ntransaction:x%u\n", command, d->name);
}

static void end_frame(struct text *t)
{
    text_put(t, "\n");
    t->n++;
}

static void begin(struct consumer *c, uint32_t *place)
{
    struct text t = { 0 };
    uint32_t deal = deal_new(c);
    put_transaction(&t, "BEGIN", deal_at(c->w, deal));
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    end_frame(&t);
    if (consumer_send(c, &t) == SENT_TAKEN)
        *place = deal;
    else if (c->client != NULL)
        consumer_lost(c);
}

static void send_in(struct consumer *c, uint32_t deal)
{
    struct world *w = c->w;
    struct text t = { "SEND\n", 5 };
    uint32_t uid = consumer_uid(c);
    deal_send(w, deal, uid);
    text_put_uid(&t, w, uid);
    text_put(&t, "transaction:x%u\n", deal_at(w, deal)->name);
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    text_put_payload(w, &t, uid);
    if (consumer_send(c, &t) == SENT_HELD)
        consumer_lost(c);
}

static void commit(struct consumer *c, uint32_t *place)
{
    struct text t = { 0 };
    uint32_t deal = *place;
    struct deal *d = deal_at(c->w, deal);
    put_transaction(&t, "COMMIT", d);
    (void)consumer_ask(c, &t, OF_DEAL, deal);
    end_frame(&t);
    *place = 0;
    enum sent sent = consumer_send(c, &t);
    d = deal_at(c->w, deal);
    c->doomed = c->doomed || (d->refused && sent == SENT_TAKEN);
    if (sent == SENT_NOT || d->refused)
        deal_is_out(c->w, deal);
    else
        deal_give(c->w, deal);
}

static void abort_one(struct consumer *c, uint32_t *place)
{
    struct text t = { 0 };
    uint32_t deal = *place;
    put_transaction(&t, "ABORT", deal_at(c->w, deal));
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    end_frame(&t);
    enum sent sent = consumer_send(c, &t);
    if (sent == SENT_HELD)
        consumer_lost(c);
    if (c->client == NULL)
        return;
    *place = 0;
    deal_is_out(c->w, deal);
    for (uint32_t i = 0; i < SIM_SUBS; i++) {
        for (uint32_t k = 0; k < c->subs[i].n; k++) {
            if (c->subs[i].held[k].claimed == deal)
                c->subs[i].held[k].claimed = 0; /* unanswered again */
        }
    }
}

void consumer_transaction(struct consumer *c)
{
    struct world *w = c->w;
    uint32_t *place = &c->open[chance(w, 80) ? 0 : pick(w, SIM_OPEN)];
    uint32_t r = pick(w, 100);
    if (*place == 0)
        begin(c, place);
    else if (r < 45 && deal_at(w, *place)->n_uids < SIM_SENDS)
        send_in(c, *place);
    else if (r < 88)
        commit(c, place);
    else
        abort_one(c, place);
}

void consumer_commit_all(struct consumer *c)
{
    for (uint32_t i = 0; i < SIM_OPEN && c->client != NULL && hub_client_reading(c->client); i++) {
        if (c->open[i] != 0)
            commit(c, &c->open[i]);
    }
}
