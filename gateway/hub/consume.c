/* STOMP's consumers come and go: SUBSCRIBE, UNSUBSCRIBE, and the ends of
 * connections. What goes out to them: consumer_flow.c.
 *
 *   SUBSCRIBE ──▶ of a topic: an anonymous session in the tree of filters
 *         └─────▶ of a queue: a consumer that stands in line with the workers
 *
 * Who ends gives back at once what it holds of queues. What it has of topics
 * stays until it is gone: its end may be noticed in the midst of a fan-out,
 * which walks the tree. */
#include "consumer.h"

#define CREDIT_USUAL 64u
#define FEW          16u /* are looked for in the list; more are found by a map, until all have left */
#define RELIEF_SHARE 16u /* of limits.memory, for consumers of queues beyond it */

struct client_consumer *client_consumer(const struct hub_client *c, uint32_t number)
{
    struct client_consumer *cc = c->consumers;
    if (c->stomp != NULL && c->stomp->consumers.used > 0)
        return sl_idmap_get(&c->stomp->consumers, number);
    while (cc != NULL && cc->number != number)
        cc = cc->next;
    return cc;
}

bool topic_is_reply(struct sl_bytes topic)
{
    size_t n = strlen(PROTO_REPLY_ROOT);
    return topic.n >= n && memcmp(topic.p, PROTO_REPLY_ROOT, n) == 0 && (topic.n == n || topic.p[n] == '/');
}

/* ---- coming ---- */

/* Who takes messages off a queue makes room: when memory is short it is needed most. */
static bool has_memory(const struct hub *h, bool from_queue)
{
    uint64_t limit = h->cfg.memory_bytes;
    return hub_memory_bytes(h) < limit || (from_queue && h->deliveries.consumer_bytes < limit / RELIEF_SHARE);
}

static bool has_room(const struct hub_client *c, bool from_queue)
{
    const struct hub *h = c->h;
    uint32_t n = 0;
    for (const struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next)
        n++;
    return n < h->cfg.subscribers.subscriptions && has_memory(h, from_queue);
}

static enum proto_result judge(const struct hub_client *c, const struct proto_consume *p, uint32_t queue)
{
    if (p->from_queue && (queue == UINT32_MAX || c->h->queues[queue].orphan))
        return PROTO_REFUSED_TARGET;
    if (!p->from_queue && topic_is_reply(p->source) && !p->own_reply)
        return PROTO_REFUSED_DENIED;
    if (!has_room(c, p->from_queue) || (!p->from_queue && filter_too_deep(p->source)))
        return PROTO_REFUSED_QUOTA;
    return PROTO_ACCEPTED;
}

static bool are_many(const struct hub_client *c)
{
    uint32_t n = 0;
    for (const struct client_consumer *cc = c->consumers; cc != NULL && n <= FEW; cc = cc->next)
        n++;
    return n > FEW;
}

/* A client chooses how many it has, and each of its answers looks for one. */
static void make_findable(struct hub_client *c, struct client_consumer *newest)
{
    if (!are_many(c))
        return;
    struct sl_idmap *map = &client_stomp(c)->consumers;
    struct client_consumer *end = map->used > 0 ? newest->next : NULL;
    for (struct client_consumer *cc = newest; cc != end; cc = cc->next)
        sl_idmap_put(map, cc->number, cc);
}

static struct client_consumer *consumer_new(struct hub_client *c, const struct proto_consume *p)
{
    struct client_consumer *cc = SL_NEW(struct client_consumer);
    cc->client = c;
    cc->number = p->consumer;
    cc->mode = (uint8_t)p->mode;
    cc->credit = p->credit > 0 ? p->credit : CREDIT_USUAL;
    cc->next = c->consumers;
    c->consumers = cc;
    make_findable(c, cc);
    return cc;
}

static void listen(struct client_consumer *cc, struct sl_bytes filter)
{
    struct hub *h = cc->client->h;
    struct subscription_options o = { .id = cc->number };
    bool existed;
    cc->session = sessions_add_anonymous(h->sessions, ++h->next_id, cc->client->id);
    cc->session->client = cc->client;
    cc->session->consumer = cc;
    (void)subscriptions_add(h->subscriptions, cc->session, SL_BYTES_NONE, filter, &o, 0, &existed);
}

/* The oldest that is unanswered is started: it alone has a clock, and is charged
 * when the consumer is lost (decision 38). */
static void stand_in_line(struct client_consumer *cc, uint32_t queue)
{
    struct hub *h = cc->client->h;
    bool answers = cc->mode != PROTO_ACK_AUTO;
    cc->consumer = hub_consumer_add(h, &(struct hub_consumer_config){
        .queue = queue,
        .prefetch = cc->credit,
        .concurrency = 1,
        .fixed_credit = true,
        .elsewhere = true,
        .time_limit_ms = answers ? h->queues[queue].cfg->ack_timeout_ms : 0,
        .name = cc->client->peer,
        .ops = &client_consumer_ops,
        .arg = cc,
    });
}

static void consume_queue(struct hub_client *c, uint32_t token, const struct proto_consume *p, uint32_t queue)
{
    struct client_consumer *cc = consumer_new(c, p);
    stand_in_line(cc, queue);
    consumer_count(cc);
    client_answer(c, token, PROTO_ACCEPTED);
}

/* The filter's view dies at the next call on the session. */
static void consume_topic(struct hub_client *c, uint32_t token, const struct proto_consume *p)
{
    struct hub *h = c->h;
    struct client_consumer *cc = consumer_new(c, p);
    uint8_t *copy = sl_alloc(p->source.n);
    (void)sl_wr_bytes(copy, p->source);
    struct proto_filter f = { .filter = sl_bytes_of(copy, p->source.n) };
    listen(cc, f.filter);
    consumer_count(cc);
    client_answer(c, token, PROTO_ACCEPTED);
    retained_send(h, cc->session, &f, cc->number);
    sys_send(h, cc->session, &f, cc->number);
    deliver_soon(h, c);
    sl_free(copy);
}

void on_consume(struct hub_client *c, uint32_t token, const struct proto_consume *p)
{
    uint32_t queue = p->from_queue ? hub_find_queue(c->h, p->source) : UINT32_MAX;
    enum proto_result r = judge(c, p, queue);
    if (r != PROTO_ACCEPTED)
        client_answer(c, token, r);
    else if (p->from_queue)
        consume_queue(c, token, p, queue);
    else
        consume_topic(c, token, p);
}

/* ---- going ---- */

static void give_back(struct client_consumer *cc, const struct hub_loss *loss)
{
    static const struct hub_loss orderly = { .charge_none = true };
    uint64_t consumer = cc->consumer;
    if (consumer == 0)
        return;
    cc->consumer = 0;
    unacked_fini(&cc->unacked);
    consumer_count(cc);
    hub_consumer_lost(cc->client->h, consumer, loss != NULL ? loss : &orderly);
}

static void stop_listening(struct client_consumer *cc)
{
    struct hub *h = cc->client->h;
    retained_forget(h, cc->session);
    session_abandon(h, cc->session);
    subscriptions_remove_all(h->subscriptions, cc->session);
}

/* It is in its client's list no more. */
static void consumer_free(struct client_consumer *cc)
{
    if (cc->client->stomp != NULL)
        (void)sl_idmap_del(&cc->client->stomp->consumers, cc->number);
    give_back(cc, NULL);
    if (cc->session != NULL) {
        stop_listening(cc);
        sessions_remove(cc->client->h->sessions, cc->session);
    }
    cc->client->h->deliveries.consumer_bytes -= cc->bytes;
    unacked_fini(&cc->unacked);
    sl_free(cc);
}

static void give_back_open(struct client_consumer *cc)
{
    uint64_t from = 0, lease;
    while ((from = unacked_next(&cc->unacked, from)) != 0) {
        int err = unacked_take(&cc->unacked, from, &lease);
        SL_ASSERT(err == SL_OK);
        if (cc->consumer != 0)
            consumer_give_back(cc->client->h, cc->consumer, lease, true);
    }
    consumer_count(cc);
}

/* True: a COMMIT that waits has answered some of what it has. That stays its own
 * until the COMMIT has entered: its client did all that there was to do. */
static bool is_awaited(struct client_consumer *cc)
{
    struct hub *h = cc->client->h;
    if (cc->client->parked == NULL)
        return false;
    if (cc->session != NULL)
        stop_listening(cc);
    else if (cc->consumer != 0)
        hub_consumer_stop(h, cc->consumer);
    cc->left = true;
    give_back_open(cc);
    return unacked_count(&cc->unacked) > 0;
}

static struct client_consumer **place_of(struct hub_client *c, uint32_t number)
{
    struct client_consumer **at = &c->consumers;
    while (*at != NULL && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

void consumer_over(struct client_consumer *cc)
{
    if (!cc->left || unacked_count(&cc->unacked) > 0)
        return;
    *place_of(cc->client, cc->number) = cc->next;
    consumer_free(cc);
}

/* False: it stays for now. */
static bool leave(struct client_consumer **at)
{
    struct client_consumer *cc = *at;
    if (is_awaited(cc))
        return false;
    *at = cc->next;
    consumer_free(cc);
    return true;
}

void on_cancel(struct hub_client *c, uint32_t token, uint32_t consumer)
{
    struct client_consumer **at = place_of(c, consumer);
    transactions_unclaim(c, consumer);
    if (*at != NULL)
        (void)leave(at);
    client_answer(c, token, PROTO_ACCEPTED);
}

void consumers_leave(struct hub_client *c)
{
    struct client_consumer **at = &c->consumers;
    transactions_unclaim(c, 0);
    while (*at != NULL) {
        if (!leave(at))
            at = &(*at)->next;
    }
}

void consumers_lose(struct hub_client *c, const struct hub_loss *loss)
{
    for (struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next)
        give_back(cc, cc->left ? NULL : loss);
}

void consumers_free(struct hub_client *c)
{
    while (c->consumers != NULL) {
        struct client_consumer *cc = c->consumers;
        c->consumers = cc->next;
        consumer_free(cc);
    }
}

/* ---- checking ---- */

static void check_topic(const struct client_consumer *cc)
{
    const struct session *s = cc->session;
    SL_ASSERT(s->anonymous && !s->persistent && s->consumer == cc && s->n_subscriptions == !cc->left);
    SL_ASSERT(s->holder == cc->client->id && s->client == (cc->left ? NULL : cc->client));
    SL_ASSERT(cc->mode != PROTO_ACK_AUTO || unacked_count(&cc->unacked) == 0);
}

/* What the client has not answered is what the queue waits for. */
static void check_of_queue(const struct hub *h, const struct client_consumer *cc)
{
    if (cc->consumer == 0) {
        SL_ASSERT(cc->client->closing && unacked_count(&cc->unacked) == 0);
        return;
    }
    const struct hub_consumer *hc = sl_idmap_get(&h->consumers, cc->consumer);
    SL_ASSERT(hc != NULL && hc->arg == cc && hc->elsewhere);
    SL_ASSERT(queue_consumer_unanswered(h->queues[hc->queue].q, hc->slot) == unacked_count(&cc->unacked));
}

/* What all have that are elsewhere: clients' consumers, and external workers. */
static uint64_t check_of_lent(const struct hub *h)
{
    uint64_t lent = 0;
    const struct hub_consumer *hc;
    size_t pos = 0;
    while ((hc = sl_idmap_next(&h->consumers, &pos)) != NULL) {
        SL_ASSERT(hc->lent == (hc->elsewhere ? queue_consumer_unanswered_bytes(h->queues[hc->queue].q, hc->slot) : 0));
        lent += hc->lent;
    }
    return lent;
}

void consumers_check(const struct hub *h)
{
    uint64_t bytes = 0;
    uint32_t topics = 0;
    const struct hub_client *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL) {
        for (const struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next) {
            SL_ASSERT(cc->client == c && client_consumer(c, cc->number) == cc);
            unacked_check(&cc->unacked);
            SL_ASSERT(unacked_count(&cc->unacked) <= cc->credit);
            SL_ASSERT(!cc->left || c->parked != NULL || c->closing);
            SL_ASSERT(cc->bytes == consumer_bytes(cc));
            bytes += cc->bytes;
            topics += cc->session != NULL;
            if (cc->session != NULL)
                check_topic(cc);
            else
                check_of_queue(h, cc);
        }
    }
    SL_ASSERT(bytes == h->deliveries.consumer_bytes && check_of_lent(h) == h->deliveries.lent_bytes);
    SL_ASSERT(topics == sessions_anonymous(h->sessions));
}
