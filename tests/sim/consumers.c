/* What STOMP consumers do: they come, subscribe to topics and queues, answer in
 * time, late or never, stop reading for a while, send, break off at any moment,
 * say goodbye, and say what makes no sense. */
#include "consumers.h"
#include "subscribers.h"

void stomp_consumers_make(struct world *w)
{
    w->consumers = sl_calloc(SIM_CONSUMERS, sizeof *w->consumers);
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        struct consumer *c = &w->consumers[i];
        c->peer.read = consumer_read;
        c->w = w;
        c->number = i;
        c->version = (uint8_t)(10 + pick(w, 3));
    }
}

void stomp_consumers_free(struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        sl_free(w->consumers[i].answers);
    sl_free(w->consumers);
    deals_free(w);
}

static void end_frame(struct text *t)
{
    text_put(t, "\n");
    t->n++; /* its NUL */
}

/* ---- coming and going ---- */

static void connect_consumer(struct consumer *c)
{
    struct world *w = c->w;
    struct text t = { 0 };
    c->connection = ++w->n_connections;
    c->greeted = c->slow = c->leaving = c->doomed = c->failed = false;
    c->silent = !w->calm && chance(w, 12);
    c->seen = c->read = 0;
    c->left_from = UINT64_MAX;
    c->n_owed = c->n_answers = c->sure_answers = 0;
    memset(c->subs, 0, sizeof c->subs);
    memset(c->open, 0, sizeof c->open);
    c->client = hub_client_open(w->hub, &w->stomp, "consumer", &c->peer);
    text_put(&t, "CONNECT\n");
    if (c->version > 10)
        text_put(&t, "accept-version:1.%u\nhost:sim\n", c->version - 10u);
    end_frame(&t);
    (void)consumer_send(c, &t);
}

void consumer_lost(struct consumer *c)
{
    struct hub_client *client = c->client;
    consumer_tap(c);
    consumer_ends(c, c->leaving ? END_ORDERLY : END_CHARGED);
    c->client = NULL;
    c->greeted = false;
    world_trace(c->w, "consumer %u is gone", c->number);
    hub_client_closed(client);
}

void consumer_gone(struct consumer *c)
{
    if (c->client != NULL)
        consumer_lost(c);
}

static void say_goodbye(struct consumer *c)
{
    struct text t = { 0 };
    text_put(&t, "DISCONNECT\n");
    (void)consumer_ask(c, &t, OF_ANSWERS, 0);
    end_frame(&t);
    if (consumer_send(c, &t) != SENT_TAKEN) {
        if (c->client != NULL)
            consumer_lost(c);
        return;
    }
    for (uint32_t i = 0; i < SIM_OPEN; i++) {
        if (c->open[i] != 0)
            deal_is_out(c->w, c->open[i]);
        c->open[i] = 0;
    }
    for (uint32_t i = 0; i < SIM_SUBS; i++)
        consumption_is_left(c, &c->subs[i]);
    c->leaving = true;
}

void stomp_consumers_leave(struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        if (w->consumers[i].client != NULL && w->consumers[i].greeted && !w->consumers[i].leaving)
            say_goodbye(&w->consumers[i]);
    }
}

/* ---- subscribing ---- */

#define FILTERS 6u
static const char *const filters[FILTERS] = { "#", "t.*", "t/+", "t.1", "t/3", "+/2" };

bool consumer_filter_takes(uint32_t filter, uint8_t topic)
{
    static const int8_t only[FILTERS] = { -1, -1, -1, 1, 3, 2 };
    return only[filter] < 0 || only[filter] == topic;
}

static bool has_bare(const struct consumer *c)
{
    bool any = false;
    for (uint32_t i = 0; i < SIM_SUBS; i++)
        any = any || (c->subs[i].active && !c->subs[i].has_id);
    return any;
}

/* Without an id a subscription goes by its destination, in 1.0; what comes of it does not say so. */
static void choose(struct consumer *c, struct consumption *s)
{
    struct world *w = c->w;
    *s = (struct consumption){ .queue = pick(w, SIM_QUEUES), .filter = pick(w, FILTERS), .by_topic = chance(w, 35), .credit = SIM_CREDIT };
    s->has_id = c->version > 10 || s->by_topic || has_bare(c) || chance(w, 50);
    s->mode = (enum ack_mode)pick(w, c->version == 10 ? 2 : 3);
    if (s->mode == ACKS_AUTO && chance(w, 50))
        s->mode = ACKS_UP_TO;
    if (chance(w, 75))
        s->credit = 1 + pick(w, 6);
    snprintf(s->id, sizeof s->id, "s:%u", ++c->names);
}

static void put_subscription(const struct consumption *s, struct text *t)
{
    static const char *const modes[] = { "auto", "client", "client-individual" };
    if (s->by_topic)
        text_put(t, "destination:/topic/%s\n", filters[s->filter]);
    else
        text_put(t, "destination:/queue/q%u\n", s->queue);
    if (s->has_id)
        text_put(t, "id:%s\n", s->id);
    if (s->mode != ACKS_AUTO || s->credit % 2 == 0)
        text_put(t, "ack:%s\n", modes[s->mode]);
    if (s->credit != SIM_CREDIT)
        text_put(t, "prefetch-count:%u\n", s->credit);
}

static void subscribe(struct consumer *c)
{
    struct consumption *s = &c->subs[pick(c->w, SIM_SUBS)];
    struct text t = { "SUBSCRIBE\n", 10 };
    if (s->active)
        return;
    choose(c, s);
    put_subscription(s, &t);
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    end_frame(&t);
    world_trace(c->w, "consumer %u: %s is %s%u, mode %u, credit %u", c->number, s->id, s->by_topic ? "filter " : "queue q", s->by_topic ? s->filter : s->queue, s->mode, s->credit);
    enum sent sent = consumer_send(c, &t);
    if (sent == SENT_TAKEN)
        consumption_begins(c, s);
    else if (sent == SENT_HELD)
        consumer_lost(c); /* it cannot know: it gives up */
}

static void unsubscribe(struct consumer *c)
{
    struct consumption *s = &c->subs[pick(c->w, SIM_SUBS)];
    struct text t = { "UNSUBSCRIBE\n", 12 };
    if (!s->active)
        return;
    if (s->has_id)
        text_put(&t, "id:%s\n", s->id);
    else
        text_put(&t, "destination:/queue/q%u\n", s->queue);
    (void)consumer_ask(c, &t, OF_NOTHING, 0);
    end_frame(&t);
    enum sent sent = consumer_send(c, &t);
    if (sent == SENT_HELD) {
        consumption_ends(c, s, END_UNSURE);
        consumer_lost(c);
    } else if (sent == SENT_TAKEN) {
        consumption_is_left(c, s);
    }
}

/* ---- sending ---- */

uint32_t consumer_uid(struct consumer *c)
{
    struct world *w = c->w;
    uint8_t topic = (uint8_t)(chance(w, 40) ? SIM_TOPICS + pick(w, SIM_QUEUES) : uid_topic(w));
    uint32_t uid = uid_new(w, topic, 1);
    w->uids[uid].sender = SIM_DEVICES + c->connection;
    w->uids[uid].device = SIM_DEVICES + c->number;
    w->uids[uid].connection = c->connection;
    if (!w->calm)
        uid_flavour(w, uid, true);
    return uid;
}

/* Names of the frame's own that a publisher gives do not come through. */
static void put_forged(struct world *w, struct text *t)
{
    if (chance(w, 20))
        text_put(t, "ack:1-1\nsubscription:s:1\nmessage-id:00\nattempt:9\nredelivered:maybe\n");
}

static void send_one(struct consumer *c)
{
    struct world *w = c->w;
    struct text t = { "SEND\n", 5 };
    uint32_t uid = consumer_uid(c);
    uid_sent(w, uid);
    text_put_uid(&t, w, uid);
    (void)consumer_ask(c, &t, OF_SEND, uid);
    put_forged(w, &t);
    text_put_payload(w, &t, uid);
    laws_expect(w, uid);
    (void)consumer_send(c, &t);
}

void stomp_consumers_visit(struct world *w)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS * 6; i++) {
        struct consumer *c = &w->consumers[i % SIM_CONSUMERS];
        if (c->client == NULL || !c->greeted || !hub_client_reading(c->client))
            continue;
        if (i < SIM_CONSUMERS * 4)
            subscribe(c);
        else
            send_one(c);
    }
}

/* ---- what makes no sense ---- */

/* Nothing behind it is done: neither the message nor the answer. */
static void provoke(struct consumer *c)
{
    static const char *const wrong[] = {
        "SUBSCRIBE\nid:x\ndestination:/queue/nowhere\n\n", "ACK\nid:77-1\nmessage-id:0000000000000001-77-1\nsubscription:s:1\n\n", "COMMIT\ntransaction:none\n\n",
        "SUBSCRIBE\nid:x\ndestination:/topic/a/#/b\n\n", "SUBSCRIBE\nid:x\ndestination:/queue/q0\nack:sometimes\n\n", "UNSUBSCRIBE\nid:none\n\n", "HELLO\n\n",
        "SUBSCRIBE\nid:x\ndestination:/queue/q0\nprefetch-count:0\n\n", "SUBSCRIBE\nid:x\ndestination:/queue/q0\nselector:a = 1\n\n",
    };
    struct world *w = c->w;
    struct text t = { 0 };
    uint32_t uid = consumer_uid(c);
    w->uids[uid].cancelled = true;
    text_put(&t, "%s", wrong[pick(w, SL_COUNT(wrong))]);
    t.n++;
    text_put(&t, "SEND\n");
    text_put_uid(&t, w, uid);
    text_put_payload(w, &t, uid);
    for (uint32_t i = 0; i < SIM_SUBS && c->version == 12; i++) {
        if (c->subs[i].active && c->subs[i].n > 0 && t.n < 1500) {
            text_put(&t, "ACK\nid:%s\n", c->subs[i].held[0].name);
            end_frame(&t);
        }
    }
    c->doomed = true;
    if (consumer_send(c, &t) == SENT_HELD && c->client != NULL && !hub_client_closing(c->client))
        consumer_lost(c);
}

/* ---- steps ---- */

static void act(struct consumer *c)
{
    uint32_t r = pick(c->w, 1000);
    if (r < 20)
        consumer_lost(c);
    else if (r < 40)
        say_goodbye(c);
    else if (r < 48)
        provoke(c);
    else if (r < 200)
        subscribe(c);
    else if (r < 220)
        unsubscribe(c);
    else if (r < 320)
        send_one(c);
    else if (r < 520)
        consumer_transaction(c);
    else
        for (uint32_t n = 1 + pick(c->w, 3); n > 0 && c->client != NULL && !c->silent && hub_client_reading(c->client); n--)
            consumer_answer(c);
}

void consumer_step(struct consumer *c)
{
    if (c->client == NULL) {
        if (chance(c->w, 70))
            connect_consumer(c);
        return;
    }
    if (c->failed) {
        consumer_lost(c);
        return;
    }
    if (chance(c->w, 7)) {
        c->slow = !c->slow;
        consumer_read(&c->peer, c->client);
    }
    if (c->client == NULL || !c->greeted || c->leaving || c->doomed)
        return;
    if (hub_client_reading(c->client))
        act(c);
    else if (chance(c->w, 5))
        consumer_lost(c);
}

/* It has parked so much for full queues that it is not read any more; where answers have no
 * end of time, what it holds of such a queue only comes back when it leaves. */
static bool has_locked_itself_out(const struct consumer *c)
{
    bool holds = false;
    for (uint32_t i = 0; i < SIM_SUBS; i++) {
        const struct consumption *s = &c->subs[i];
        holds = holds || (s->active && s->n > 0 && !s->by_topic && c->w->queues[s->queue].ack_timeout_ms == 0);
    }
    return holds && !hub_client_reading(c->client);
}

void consumer_finish(struct consumer *c)
{
    c->slow = c->silent = false;
    if (c->client == NULL) {
        connect_consumer(c);
        return;
    }
    consumer_read(&c->peer, c->client);
    if (c->client != NULL && has_locked_itself_out(c))
        consumer_lost(c);
    if (c->client == NULL || !c->greeted || c->leaving || c->doomed || !hub_client_reading(c->client))
        return;
    consumer_commit_all(c);
    if (c->client != NULL)
        consumer_answer_all(c);
    if (c->client != NULL && hub_client_reading(c->client) && c->w->step % 32 == 0)
        subscribe(c);
}
