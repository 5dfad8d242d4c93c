/* What STOMP clients do as consumers, and how they come and go. */
#include <stdio.h>

#include "stomp_model_world.h"

/* ---- SUBSCRIBE and UNSUBSCRIBE ---- */

static const struct { const char *said, *is; } filters[FILTERS] = {
    { "/topic/jobs/a", "jobs/a" }, { "/topic/jobs.a", "jobs/a" }, { "/topic/jobs/#", "jobs/#" }, { "/topic/jobs.*", "jobs/+" }, { "/topic/jobs/b/+", "jobs/b/+" },
    { "/topic/news", "news" }, { "/topic/#", "#" }, { "/topic/*", "+" }, { "/topic/t/x.y", "t/x.y" }, { "/topic/a%2Eb", "a.b" }, { "/topic/deep/*/est", "deep/+/est" },
};

static uint32_t consuming(const struct sconn *k)
{
    uint32_t n = 0;
    for (const struct consumer *c = k->consumers; c != NULL; c = c->next)
        n += c->on;
    return n;
}

static bool is_taken(const struct sconn *k, const char *name)
{
    for (const struct consumer *c = k->consumers; c != NULL; c = c->next) {
        if (c->on && c->temp && sl_bytes_is(text_view(&c->filter), name))
            return true;
    }
    return false;
}

static bool has_nameless(const struct sconn *k)
{
    for (const struct consumer *c = k->consumers; c != NULL; c = c->next) {
        if (c->on && !c->has_id)
            return true;
    }
    return false;
}

static void choose_source(struct sworld *w, struct consumer *c)
{
    char text[40];
    const char *temp = draw(w, 2) == 0 ? "one" : "two";
    uint32_t kind = draw(w, 12), f = draw(w, FILTERS);
    if (kind < 6) {
        c->queue = draw(w, QUEUES);
        snprintf(text, sizeof text, "/queue/%s", w->m.queues[c->queue].name);
        c->destination = text_of(text);
    } else if (kind == 6 && !is_taken(c->conn, temp)) {
        c->temp = true;
        c->filter = text_of(temp);
        snprintf(text, sizeof text, "/temp-queue/%s", temp);
        c->destination = text_of(text);
    } else {
        c->filter = text_of(filters[f].is);
        c->destination = text_of(filters[f].said);
    }
}

static void put_mode(struct sworld *w, struct link *l, struct consumer *c)
{
    static const char *const modes[] = { "auto", "client", "client-individual" };
    char text[16];
    c->mode = (uint8_t)draw(w, l->k->version == 0 ? 2 : 3);
    if (c->mode != AUTO || draw(w, 2) == 0)
        frame_put_text(&l->tx, 0, "ack", modes[c->mode]);
    if (draw(w, 4) == 0)
        return;
    c->credit = 1 + draw(w, 6);
    snprintf(text, sizeof text, "%u", c->credit);
    frame_put_text(&l->tx, 0, "prefetch-count", text);
}

void act_subscribe(struct sworld *w)
{
    struct link *l = some_link(w);
    struct owed o = { 0 };
    char id[24];
    if (l == NULL || consuming(l->k) >= 5)
        return;
    frame_begin(&l->tx, "SUBSCRIBE");
    bool nameless = l->k->version == 0 && draw(w, 2) == 0 && !has_nameless(l->k);
    struct consumer *c = smodel_consumer_add(&w->m, l->k);
    c->has_id = !nameless;
    snprintf(id, sizeof id, "s%u%s", ++w->n_names, l->k->version > 0 && draw(w, 3) == 0 ? ":\\\n" : "");
    c->id = text_of(id);
    if (c->has_id)
        frame_put(&l->tx, l->k->version, sl_str("id"), text_view(&c->id));
    choose_source(w, c);
    frame_put(&l->tx, l->k->version, sl_str("destination"), text_view(&c->destination));
    put_mode(w, l, c);
    (void)may_receipt(w, l, &o);
    (void)smodel_owe(&w->m, l->k, &o);
    smodel_say(&w->m, "c%u/%u SUBSCRIBE %.*s mode %u credit %u", l->k->number, c->number, c->destination.n, (const char *)c->destination.p, c->mode, c->credit);
    if (c->queue == NONE)
        smodel_feed(&w->m, c);
    end_frame(w, l);
}

static struct consumer *some_consumer(struct sworld *w, struct link *l)
{
    uint32_t n = 0, at = 0;
    for (const struct consumer *c = l->k->consumers; c != NULL; c = c->next)
        n += c->on || c->n_d > 0;
    uint32_t chosen = n == 0 ? 0 : draw(w, n);
    for (struct consumer *c = l->k->consumers; c != NULL; c = c->next) {
        if ((c->on || c->n_d > 0) && at++ == chosen)
            return c;
    }
    return NULL;
}

void act_unsubscribe(struct sworld *w)
{
    struct link *l = some_link(w);
    struct consumer *c = l == NULL ? NULL : some_consumer(w, l);
    struct owed o = { 0 };
    if (c == NULL || !c->on)
        return;
    link_flush(w, l);
    if (l->hc == NULL)
        return;
    smodel_say(&w->m, "c%u/%u UNSUBSCRIBE", l->k->number, c->number);
    frame_begin(&l->tx, "UNSUBSCRIBE");
    if (c->has_id)
        frame_put(&l->tx, l->k->version, sl_str("id"), text_view(&c->id));
    else
        frame_put(&l->tx, l->k->version, sl_str("destination"), text_view(&c->destination));
    (void)may_receipt(w, l, &o);
    (void)smodel_owe(&w->m, l->k, &o);
    smodel_consumer_end(&w->m, c);
    end_frame(w, l);
}

/* ---- ACK and NACK ---- */

static const struct delivery *some_delivery(struct sworld *w, const struct consumer *c, bool open)
{
    if (c->n_d == 0)
        return NULL;
    uint32_t from = draw(w, c->n_d);
    for (uint32_t i = 0; i < c->n_d; i++) {
        const struct delivery *d = &c->d[(from + i) % c->n_d];
        if ((d->state == OPEN) == open)
            return d;
    }
    return NULL;
}

/* As each version names a delivery. */
void answer_frame(struct sworld *w, struct link *l, const struct consumer *c, const struct delivery *d, const char *command)
{
    char name[64];
    uint32_t v = l->k->version;
    frame_begin(&l->tx, command);
    if (v == 2) {
        snprintf(name, sizeof name, "%u-%llu", c->number, (unsigned long long)d->number);
        frame_put_text(&l->tx, 0, "id", name);
        return;
    }
    snprintf(name, sizeof name, "%016llx-%u-%llu", (unsigned long long)w->m.msgs[d->msg].id, c->number, (unsigned long long)d->number);
    frame_put_text(&l->tx, 0, "message-id", name);
    if (v == 1)
        frame_put(&l->tx, v, sl_str("subscription"), text_view(&c->id));
}

static void put_nack(struct sworld *w, struct link *l, struct verdict *v)
{
    char text[24];
    v->verb = draw(w, 5) == 0 ? QUEUE_KILL : QUEUE_RETRY;
    if (v->verb == QUEUE_KILL || draw(w, 4) == 0)
        frame_put_text(&l->tx, 0, "requeue", v->verb == QUEUE_KILL ? "false" : "true");
    if (v->verb == QUEUE_RETRY && draw(w, 3) == 0) {
        bool seconds = draw(w, 2) == 0;
        uint32_t n = draw(w, seconds ? 4 : 3000);
        v->has_delay = true;
        v->delay_ms = seconds ? n * 1000u : n;
        snprintf(text, sizeof text, "%u%s", n, seconds ? "s" : "");
        frame_put_text(&l->tx, 0, "delay", text);
    }
    if (draw(w, 3) == 0) {
        v->reason = text_of(l->k->version > 0 ? "not: now\n" : "not now");
        frame_put(&l->tx, l->k->version, sl_str("reason"), text_view(&v->reason));
    }
}

static void answer(struct sworld *w, struct link *l, struct consumer *c, const struct delivery *d)
{
    struct verdict v = { .verb = QUEUE_ACK };
    struct owed o = { 0 };
    bool nack = l->k->version > 0 && draw(w, 3) == 0;
    struct open_txn *t = &l->k->txns[draw(w, OPEN_TXN)];
    t = t->on && draw(w, 2) == 0 ? t : NULL;
    answer_frame(w, l, c, d, nack ? "NACK" : "ACK");
    if (nack)
        put_nack(w, l, &v);
    if (t != NULL)
        frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    bool receipt = may_receipt(w, l, &o);
    smodel_say(&w->m, "c%u/%u %s %llu (m%u)%s%s", l->k->number, c->number, nack ? "NACK" : "ACK", (unsigned long long)d->number, d->msg,
               v.verb == QUEUE_KILL ? " dead" : "", t != NULL ? " in a transaction" : "");
    if (!smodel_answer_all(&w->m, c, d->number, &v, t, &o.needs))
        smodel_say(&w->m, "  which is over");
    if (receipt)
        (void)smodel_owe(&w->m, l->k, &o);
    else
        sl_free(o.needs.v);
    end_frame(w, l);
}

static void answer_some(struct sworld *w, bool open)
{
    struct link *l = some_link(w);
    struct consumer *c = l == NULL ? NULL : some_consumer(w, l);
    const struct delivery *d = c == NULL || c->mode == AUTO ? NULL : some_delivery(w, c, open);
    if (d == NULL || (open && !c->on))
        return;
    answer(w, l, c, d);
}

void act_answer(struct sworld *w)
{
    answer_some(w, true);
}

void act_stale(struct sworld *w)
{
    answer_some(w, false);
}

void act_extend(struct sworld *w)
{
    struct link *l = some_link(w);
    struct consumer *c = l == NULL ? NULL : some_consumer(w, l);
    const struct delivery *d = c == NULL || c->mode == AUTO || l->k->version == 0 ? NULL : some_delivery(w, c, true);
    struct owed o = { 0 };
    char text[24];
    if (d == NULL || !c->on)
        return;
    uint32_t ms = 1 + draw(w, 10000);
    answer_frame(w, l, c, d, "NACK");
    snprintf(text, sizeof text, "%u", ms);
    frame_put_text(&l->tx, 0, "extend", text);
    if (may_receipt(w, l, &o))
        (void)smodel_owe(&w->m, l->k, &o);
    bool oldest = true;
    for (const struct delivery *e = c->d; e < d; e++)
        oldest &= e->state == OVER;
    if (oldest && c->queue != NONE)
        c->limit_ms = w->m.now_ms + ms;
    smodel_say(&w->m, "c%u/%u extends %llu (m%u) by %u ms", l->k->number, c->number, (unsigned long long)d->number, d->msg, ms);
    end_frame(w, l);
}

/* ---- coming and going ---- */

void act_connect(struct sworld *w)
{
    uint32_t from = draw(w, CONNS);
    for (uint32_t n = 0; n < CONNS; n++) {
        uint32_t i = (from + n) % CONNS;
        if (w->links[i].k->up || w->links[i].hc != NULL)
            continue;
        link_open(w, i, draw(w, 3));
        return;
    }
}

void act_disconnect(struct sworld *w)
{
    struct link *l = some_link(w);
    struct owed o = { .last = true };
    if (l == NULL || smodel_waits(&w->m, l->k))
        return;
    link_flush(w, l);
    if (l->hc == NULL)
        return;
    smodel_say(&w->m, "c%u DISCONNECT", l->k->number);
    frame_begin(&l->tx, "DISCONNECT");
    (void)may_receipt(w, l, &o);
    (void)smodel_owe(&w->m, l->k, &o);
    for (struct consumer *c = l->k->consumers; c != NULL; c = c->next) {
        if (c->on)
            smodel_consumer_end(&w->m, c);
    }
    smodel_conn_doom(&w->m, l->k, GOODBYE, NULL);
    end_frame(w, l);
}

void act_lose(struct sworld *w)
{
    struct link *l = &w->links[draw(w, CONNS)];
    if (l->hc == NULL)
        return;
    link_flush(w, l);
    if (l->hc != NULL)
        link_lose(w, l);
}

void act_stall(struct sworld *w)
{
    struct link *l = some_link(w);
    if (l == NULL)
        return;
    link_flush(w, l);
    if (l->hc == NULL)
        return;
    smodel_say(&w->m, "c%u %s", l->k->number, l->k->stalled ? "reads on" : "stops reading");
    if (l->k->stalled)
        link_read_on(w, l);
    else
        l->k->stalled = true;
}
