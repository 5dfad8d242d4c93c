/* What STOMP clients do: valid frames, chosen by what is possible just now. */
#include <stdio.h>

#include "stomp_model_world.h"

/* ---- parts of frames ---- */

struct link *some_link(struct sworld *w)
{
    uint32_t from = draw(w, CONNS);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct link *l = w->burst != NULL ? w->burst : &w->links[(from + i) % CONNS];
        if (l->k->up && l->k->doom == FINE && l->hc != NULL && hub_client_reading(l->hc))
            return l;
    }
    return NULL;
}

static struct text numbered(struct sworld *w, const struct link *l, const char *stem)
{
    struct text t;
    int n = snprintf((char *)t.p, sizeof t.p, "%s%u%s", stem, ++w->n_names, l->k->version > 0 && draw(w, 4) == 0 ? ":\\ \n" : "");
    t.n = (uint16_t)n;
    return t;
}

bool may_receipt(struct sworld *w, struct link *l, struct owed *o)
{
    o->has_receipt = draw(w, 2) == 0;
    if (!o->has_receipt)
        return false;
    o->receipt = numbered(w, l, "r");
    frame_put(&l->tx, l->k->version, sl_str("receipt"), text_view(&o->receipt));
    return true;
}

/* The frame is complete; it leaves now, or with the next ones. */
void end_frame(struct sworld *w, struct link *l)
{
    frame_end(&l->tx, SL_BYTES_NONE);
    if (w->burst == NULL || l->k->doom != FINE)
        link_flush(w, l);
}

/* ---- messages ---- */

static struct text random_text(struct sworld *w, uint32_t most, uint32_t version, bool name)
{
    static const char *const pieces[] = { "a", "B", "7", " ", "-", "\xC3\xA9", "\xE2\x82\xAC", "x", ":", "\\", "\n", "\r" };
    struct text t = { 0 };
    uint32_t any = version == 0 ? (name ? 8 : 10) : version == 1 && name ? 11 : 12, n = draw(w, most + 1);
    while (n-- > 0) {
        const char *s = pieces[draw(w, any)];
        memcpy(t.p + t.n, s, strlen(s));
        t.n = (uint16_t)(t.n + strlen(s));
    }
    if (version < 2) { /* a carriage return before the line's end is the line's */
        while (t.n > 0 && t.p[t.n - 1] == '\r')
            t.n--;
    }
    return t;
}

static void add_header(struct said *s, const struct text *name, const struct text *value)
{
    if (s->n_headers < SL_COUNT(s->headers))
        s->headers[s->n_headers++] = (struct pair){ *name, *value };
}

static void add_named(struct said *s, const char *name, uint64_t v, const char *unit)
{
    char text[40];
    snprintf(text, sizeof text, "%llu%s", (unsigned long long)v, unit);
    struct text n = text_of(name), value = text_of(text);
    add_header(s, &n, &value);
}

/* No two deliveries of one queue are due at the same time: who is first then is nobody's business. */
static bool due_is_free(const struct smodel *m, uint64_t at)
{
    for (uint32_t i = 0; i < m->n_msgs; i++) {
        if (m->msgs[i].deliver_at == at)
            return false;
    }
    return true;
}

static void add_meaning(struct sworld *w, struct said *s)
{
    if (draw(w, 5) == 0) {
        s->priority = (uint8_t)draw(w, 10);
        add_named(s, "priority", s->priority, "");
    }
    if (draw(w, 8) == 0) {
        uint64_t ms = 1 + draw(w, 4000);
        bool whole = draw(w, 2) == 0;
        ms = whole ? (ms / 1000 + 1) * 1000 : ms;
        if (due_is_free(&w->m, w->m.now_ms + ms)) {
            s->deliver_at = w->m.now_ms + ms;
            add_named(s, "delay", whole ? ms / 1000 : ms, whole ? "s" : "");
        }
    }
}

/* Names that a receiver could take for the gateway's own. */
static void add_forged(struct sworld *w, struct said *s)
{
    static const char *const names[] = { "message-id", "ack", "subscription", "attempt", "redelivered" };
    if (draw(w, 6) == 0)
        add_named(s, names[draw(w, SL_COUNT(names))], 1, "-1");
}

static void add_headers(struct sworld *w, struct said *s, uint32_t version)
{
    add_forged(w, s);
    for (uint32_t n = draw(w, 4); n > 0; n--) {
        struct text name = random_text(w, 5, version, true), value = random_text(w, 8, version, false);
        memmove(name.p + 2, name.p, name.n);
        memcpy(name.p, "k-", 2);
        name.n = (uint16_t)(name.n + 2);
        add_header(s, &name, &value);
        if (draw(w, 8) == 0)
            add_header(s, &name, &value);
    }
    add_meaning(w, s);
}

static void add_body(struct sworld *w, struct said *s)
{
    char text[16];
    add_named(s, "x-m", w->m.n_msgs, "");
    if (draw(w, 12) == 0)
        return;
    s->n_body = (uint32_t)snprintf(text, sizeof text, "m%u|", w->m.n_msgs);
    memcpy(s->body, text, s->n_body);
    for (uint32_t n = draw(w, 100); n > 0; n--)
        s->body[s->n_body++] = (uint8_t)draw(w, draw(w, 2) == 0 ? 4 : 256);
}

static void add_reply(struct sworld *w, struct said *s, const char **shown)
{
    static const struct { const char *said, *is; } replies[] = {
        { "/topic/back/to", "back/to" }, { "/topic/back.to", "back/to" }, { "/queue/jobs", "/queue/jobs" }, { "/topic/one%2Edot", "one.dot" }, { "elsewhere", "elsewhere" },
    };
    if (draw(w, 5) > 0)
        return;
    uint32_t i = draw(w, SL_COUNT(replies));
    s->has_reply = true;
    s->reply = text_of(replies[i].is);
    *shown = replies[i].said;
}

static void fill(struct sworld *w, struct said *s, uint32_t version)
{
    s->priority = 4;
    s->has_type = draw(w, 3) == 0;
    if (s->has_type)
        s->type = text_of(draw(w, 2) == 0 ? "text/plain;charset=utf-8" : "application/x:y");
    s->has_correlation = draw(w, 4) == 0;
    if (s->has_correlation) {
        s->correlation = random_text(w, 6, version, false);
        s->correlation.p[s->correlation.n++] = 'c';
    }
    add_headers(w, s, version);
    add_body(w, s);
}

/* ---- destinations ---- */

static void put_topic(struct sworld *w, struct link *l, const struct text *topic)
{
    char text[80];
    bool slash = memchr(topic->p, '/', topic->n) != NULL, dot = memchr(topic->p, '.', topic->n) != NULL;
    int n = snprintf(text, sizeof text, "/topic/%.*s", topic->n, (const char *)topic->p);
    for (int i = 7; slash && !dot && i < n && draw(w, 2) == 0; i++) { /* all of them, or none */
        for (; i < n; i++)
            text[i] = text[i] == '/' ? '.' : text[i];
    }
    if (!slash && dot)
        snprintf(text, sizeof text, "/topic/a%%2Eb");
    frame_put_text(&l->tx, l->k->version, "destination", text);
}

static uint32_t known_key(struct sworld *w)
{
    if (w->m.n_keys == 0)
        return 0;
    uint32_t g = draw(w, w->m.n_keys);
    return w->m.keys[g].text[0] != '\0' ? g + 1 : 0;
}

static void to_reply_queue(struct sworld *w, struct link *l, struct said *s, uint32_t gen)
{
    char text[80];
    const char *name = draw(w, 2) == 0 ? "one" : "two";
    snprintf(text, sizeof text, "$temp/%s/%s", w->m.keys[gen - 1].text, name);
    s->topic = text_of(text);
    s->temp_gen = gen;
    snprintf(text, sizeof text, "/reply-queue/%s/%s", w->m.keys[gen - 1].text, name);
    frame_put_text(&l->tx, l->k->version, "destination", text);
}

static void choose_destination(struct sworld *w, struct link *l, struct said *s)
{
    uint32_t gen = draw(w, 6) == 0 ? known_key(w) : 0;
    if (gen != 0) {
        to_reply_queue(w, l, s, gen);
        return;
    }
    s->to_queue = draw(w, 2) == 0;
    if (!s->to_queue) {
        s->topic = text_of(smodel_topics[draw(w, TOPICS)]);
        put_topic(w, l, &s->topic);
        return;
    }
    char text[40];
    s->queue = (uint8_t)draw(w, QUEUES);
    s->topic = text_of(w->m.queues[s->queue].name);
    snprintf(text, sizeof text, "/queue/%s", w->m.queues[s->queue].name);
    frame_put_text(&l->tx, l->k->version, "destination", text);
}

/* ---- SEND ---- */

/* The first one that names it subscribes to it, before the message is sent. */
static void reply_to_temp(struct sworld *w, struct link *l, struct said *s)
{
    char text[80];
    const char *name = draw(w, 2) == 0 ? "one" : "two";
    s->has_reply = true;
    s->reply_gen = l->k->gen;
    snprintf(text, sizeof text, "$temp/%s/%s", w->m.keys[l->k->gen - 1].text[0] != '\0' ? w->m.keys[l->k->gen - 1].text : "0000000000000000", name);
    s->reply = text_of(text);
    snprintf(text, sizeof text, "/temp-queue/%s", name);
    frame_put_text(&l->tx, l->k->version, "reply-to", text);
    for (const struct consumer *c = l->k->consumers; c != NULL; c = c->next) {
        if (c->on && c->temp && sl_bytes_is(text_view(&c->filter), name))
            return;
    }
    struct consumer *c = smodel_consumer_add(&w->m, l->k);
    c->temp = c->has_id = true;
    c->filter = text_of(name);
    c->id = text_of(text);
    (void)smodel_owe(&w->m, l->k, &(struct owed){ 0 }); /* it is answered, silently */
}

static struct open_txn *some_txn(struct sworld *w, struct link *l)
{
    uint32_t from = draw(w, OPEN_TXN);
    for (uint32_t i = 0; i < OPEN_TXN; i++) {
        struct open_txn *t = &l->k->txns[(from + i) % OPEN_TXN];
        if (t->on)
            return t;
    }
    return NULL;
}

static void put_content(struct sworld *w, struct link *l, const struct said *s)
{
    uint32_t v = l->k->version;
    bool nul = memchr(s->body, 0, s->n_body) != NULL;
    char n[16];
    if (s->has_type)
        frame_put(&l->tx, v, sl_str("content-type"), text_view(&s->type));
    if (s->has_correlation)
        frame_put(&l->tx, v, sl_str("correlation-id"), text_view(&s->correlation));
    for (uint32_t i = 0; i < s->n_headers; i++)
        frame_put(&l->tx, v, text_view(&s->headers[i].name), text_view(&s->headers[i].value));
    if (!nul && draw(w, 2) == 0)
        return;
    snprintf(n, sizeof n, "%u", s->n_body);
    frame_put_text(&l->tx, 0, "content-length", n);
}

static void add_life(struct sworld *w, struct said *s)
{
    if (draw(w, 10) > 0 || w->one_by_one || w->tight)
        return;
    s->expires_at = w->m.now_ms + draw(w, 5000);
    add_named(s, "expires", s->expires_at, "");
}

static void add_retain(struct sworld *w, struct link *l, struct said *s)
{
    if (draw(w, 8) > 0)
        return;
    s->retain = !s->to_queue && s->temp_gen == 0;
    frame_put_text(&l->tx, 0, "retain", "true");
}

static void submit(struct sworld *w, struct link *l, struct open_txn *t, uint32_t msg, struct owed *receipt)
{
    struct said *s = &w->m.msgs[msg];
    s->qos = receipt->has_receipt || t != NULL;
    smodel_say(&w->m, "c%u SEND m%u to %s%.*s%s", l->k->number, msg, s->to_queue ? "/queue/" : "", s->topic.n, (const char *)s->topic.p, t != NULL ? " in a transaction" : "");
    if (t != NULL) {
        t->sends = sl_realloc(t->sends, (t->n_sends + 1) * sizeof *t->sends);
        t->sends[t->n_sends++] = msg;
        if (receipt->has_receipt)
            (void)smodel_owe(&w->m, l->k, receipt);
        return;
    }
    smodel_offer_message(&w->m, l->k, msg, smodel_owe(&w->m, l->k, receipt)->serial);
}

void act_send(struct sworld *w)
{
    struct link *l = some_link(w);
    struct said s = { 0 };
    struct owed o = { 0 };
    const char *reply = NULL;
    if (l == NULL || !smodel_may_send(&w->m, l->k->number))
        return;
    struct open_txn *t = w->one_by_one || draw(w, 3) > 0 ? NULL : some_txn(w, l);
    frame_begin(&l->tx, "SEND");
    choose_destination(w, l, &s);
    fill(w, &s, l->k->version);
    if (!w->one_by_one && draw(w, 8) == 0)
        reply_to_temp(w, l, &s);
    else
        add_reply(w, &s, &reply);
    if (reply != NULL)
        frame_put_text(&l->tx, l->k->version, "reply-to", reply);
    add_life(w, &s);
    add_retain(w, l, &s);
    if (t != NULL)
        frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    (void)may_receipt(w, l, &o);
    put_content(w, l, &s);
    uint32_t msg = smodel_message(&w->m, &s);
    submit(w, l, t, msg, &o);
    frame_end(&l->tx, sl_bytes_of(s.body, s.n_body));
    if (w->burst == NULL || l->k->doom != FINE)
        link_flush(w, l);
}

void act_mqtt_publish(struct sworld *w)
{
    struct said s = { .mqtt = true };
    if (!smodel_may_send(&w->m, NONE) || w->publisher.hc == NULL || w->publisher.n_owed == SL_COUNT(w->publisher.owed))
        return;
    s.topic = text_of(smodel_topics[draw(w, TOPICS)]);
    s.qos = (uint8_t)draw(w, 2);
    fill(w, &s, 2);
    if (s.has_correlation && draw(w, 2) == 0)
        s.correlation.p[0] = 0xFF;
    s.has_reply = draw(w, 5) == 0;
    s.reply = text_of("back/again");
    s.retain = draw(w, 8) == 0;
    uint32_t expiry = draw(w, 8) == 0 && !w->one_by_one && !w->tight ? 1 + draw(w, 10) : 0;
    s.expires_at = expiry > 0 ? w->m.now_ms + expiry * 1000u : 0;
    s.relative = expiry > 0;
    uint32_t msg = smodel_message(&w->m, &s);
    if (!smodel_admits(&w->m, &msg, 1))
        return;
    smodel_say(&w->m, "MQTT PUBLISH m%u to %.*s QoS %u", msg, s.topic.n, (const char *)s.topic.p, s.qos);
    mqtt_publish(w, msg, expiry);
}

/* ---- transactions ---- */

void act_begin(struct sworld *w)
{
    struct link *l = some_link(w);
    struct open_txn *t = l == NULL ? NULL : &l->k->txns[draw(w, OPEN_TXN)];
    struct owed o = { 0 };
    if (t == NULL || t->on)
        return;
    *t = (struct open_txn){ .on = true, .name = numbered(w, l, "t") };
    frame_begin(&l->tx, "BEGIN");
    frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    if (may_receipt(w, l, &o))
        (void)smodel_owe(&w->m, l->k, &o);
    smodel_say(&w->m, "c%u BEGIN %.*s", l->k->number, t->name.n, (const char *)t->name.p);
    end_frame(w, l);
}

/* One whose delivery is over meanwhile: that is an ERROR, and nothing of it is done. */
static void commit_failed(struct sworld *w, struct link *l, const struct owed *o)
{
    l->k->error_receipt = o->has_receipt;
    l->k->error_id = o->receipt;
    smodel_conn_doom(&w->m, l->k, FAULT, "transaction failed");
    smodel_release(&w->m, l->k);
}

void act_commit(struct sworld *w)
{
    struct link *l = some_link(w);
    struct open_txn *t = l == NULL ? NULL : some_txn(w, l);
    struct owed o = { 0 };
    if (t == NULL || !smodel_may_send(&w->m, l->k->number) || !smodel_fits_ever(&w->m, t))
        return;
    link_flush(w, l);
    if (l->hc == NULL)
        return;
    smodel_say(&w->m, "c%u COMMIT %.*s: %u messages, %u answers", l->k->number, t->name.n, (const char *)t->name.p, t->n_sends, t->n_answers);
    frame_begin(&l->tx, "COMMIT");
    frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    (void)may_receipt(w, l, &o);
    if (smodel_is_stale(l->k, t))
        commit_failed(w, l, &o);
    else
        smodel_offer_txn(&w->m, l->k, t, smodel_owe(&w->m, l->k, &o)->serial);
    end_frame(w, l);
}

void act_abort(struct sworld *w)
{
    struct link *l = some_link(w);
    struct open_txn *t = l == NULL ? NULL : some_txn(w, l);
    struct owed o = { 0 };
    if (t == NULL)
        return;
    smodel_say(&w->m, "c%u ABORT %.*s", l->k->number, t->name.n, (const char *)t->name.p);
    frame_begin(&l->tx, "ABORT");
    frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    if (may_receipt(w, l, &o))
        (void)smodel_owe(&w->m, l->k, &o);
    smodel_abort(l->k, t);
    end_frame(w, l);
}
