/* From a message to those who listen: each session once, whatever it has
 * subscribed to, with the best QoS of what matches and all subscription ids;
 * and one member of each shared subscription [MQTT-4.8.2-*]. */
#include "deliver.h"

#define MEMBERS_SEEN 64u /* of a shared subscription, from the turn's place on: more would cost each message more */

bool has_audience(struct hub *h, struct sl_bytes topic)
{
    if (subscriptions_count(h->subscriptions) == 0)
        return false;
    const struct audience *a = subscriptions_match(h->subscriptions, topic);
    return a->n + a->n_groups > 0;
}

static bool has_lasting_member(const struct hub *h, const struct shared_group *g)
{
    uint32_t n = shared_group_count(g);
    for (uint32_t i = 0; i < n && i < MEMBERS_SEEN; i++) {
        if (sessions_at(h->sessions, shared_group_member(g, i)->session)->persistent)
            return true;
    }
    return false;
}

bool has_lasting_audience(struct hub *h, struct sl_bytes topic)
{
    const struct audience *a = subscriptions_match(h->subscriptions, topic);
    for (uint32_t i = 0; i < a->n; i++) {
        if (sessions_at(h->sessions, a->v[i].session)->persistent)
            return true;
    }
    for (uint32_t i = 0; i < a->n_groups; i++) {
        if (has_lasting_member(h, a->groups[i]))
            return true;
    }
    return false;
}

static uint8_t lower(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

/* ---- sessions ---- */

/* The session of the client that published it: known by the client id, so that
 * it is found also for a will and after a takeover [MQTT-3.8.3-3]. */
static const struct session *publisher(struct hub *h, const struct message *m)
{
    struct message_parts parts;
    message_view(message_record(m), &parts);
    bool mqtt = parts.protocol == MESSAGE_MQTT3 || parts.protocol == MESSAGE_MQTT5;
    return mqtt ? sessions_find(h->sessions, parts.client_id) : NULL;
}

static bool offer_to(struct hub *h, struct message *m, const struct audience_member *v, const uint32_t *ids)
{
    struct session *s = sessions_at(h->sessions, v->session);
    struct outbox_item it = {
        .msg = m,
        .qos = lower(message_qos(m), v->qos),
        .retain = v->retain_as_published && (message_flags(m) & MESSAGE_RETAIN) != 0,
        .ids = ids,
        .n_ids = v->n_ids,
    };
    return session_offer(h, s, &it, BODY_FRESH);
}

/* Some of what matches says No Local, and it may be the publisher's own. */
static bool offer_to_local(struct hub *h, struct message *m, const struct audience_member *v, const uint32_t *ids)
{
    const struct session *from = publisher(h, m);
    if (from == NULL || from->slot != v->session)
        return offer_to(h, m, v, ids);
    if (v->no_local)
        return false;
    struct audience_member others;
    uint32_t *own_ids = sl_alloc(v->n_ids * sizeof *own_ids);
    bool any = audience_without_local(h->subscriptions, message_topic(m), from, &others, own_ids);
    bool copied = any && offer_to(h, m, &others, own_ids);
    sl_free(own_ids);
    return copied;
}

/* ---- shared subscriptions ---- */

enum { RANK_FREE_BIT = 33, RANK_CONNECTED_BIT = 32 };

/* How well a member suits; 0: it cannot have it. Best is who takes it at once,
 * then who is connected and has room, then who is away and will be back; last
 * is where it will be dropped and counted. */
static uint64_t rank(const struct hub *h, const struct session *s, const struct message *m, uint8_t qos)
{
    bool connected = connection_of(s) != NULL;
    if (!connected && (qos == 0 || !s->persistent))
        return 0;
    uint32_t room = session_free(s), places = session_queue_free(h, s, m);
    if (room > 0)
        return ((uint64_t)1 << RANK_FREE_BIT) + room;
    return (connected && places > 0 ? (uint64_t)1 << RANK_CONNECTED_BIT : 1) + places;
}

/* `m`'s taker in this group, as place from the turn; UINT32_MAX: there is none. */
static uint32_t choose(const struct hub *h, const struct message *m, const struct shared_group *g, const struct session *except, bool only_connected)
{
    uint32_t n = shared_group_count(g), best = UINT32_MAX;
    uint64_t best_rank = only_connected ? ((uint64_t)1 << RANK_CONNECTED_BIT) - 1 : 0;
    for (uint32_t i = 0; i < n && i < MEMBERS_SEEN; i++) {
        const struct shared_member *member = shared_group_member(g, i);
        const struct session *s = sessions_at(h->sessions, member->session);
        uint64_t r = s == except ? 0 : rank(h, s, m, lower(message_qos(m), member->options.qos));
        if (r <= best_rank)
            continue;
        best = i;
        best_rank = r;
        if (h->cfg.sharing == HUB_SHARE_ROUND_ROBIN && r >> RANK_FREE_BIT != 0)
            break;
    }
    return best;
}

/* What an entry remembers of where it came from; 0: nothing. */
static uint16_t from_subscription(uint32_t number)
{
    return number < OUTBOX_NO_SUBSCRIPTION ? (uint16_t)number : 0;
}

/* It may have another copy of a message, from a subscription of its own or of
 * another group; the store tells copies apart by message and session. Of what is
 * passed on that is looked up: without space a clone is stored later than the
 * original's end. */
static bool has_copy(const struct session *s, const struct message *m)
{
    const struct outbox_entry *e;
    uint32_t pos = 0;
    while (s->outbox != NULL && (e = outbox_walk(s->outbox, &pos)) != NULL) {
        if (message_id(e->msg) == message_id(m))
            return true;
    }
    return false;
}

static bool give_to(struct hub *h, struct message *m, struct shared_group *g, uint32_t place, enum offer_body body)
{
    const struct shared_member *member = shared_group_member(g, place);
    struct subscription_options o = member->options;
    struct session *s = sessions_at(h->sessions, member->session);
    uint32_t number = shared_group_subscription(h->subscriptions, g, place);
    shared_group_chose(g, place);
    struct outbox_item it = {
        .msg = m,
        .qos = lower(message_qos(m), o.qos),
        .retain = o.retain_as_published && (message_flags(m) & MESSAGE_RETAIN) != 0,
        .shared = true,
        .subscription = from_subscription(number),
        .ids = &o.id,
        .n_ids = o.id != 0,
    };
    if (s->persistent && (body == BODY_STORED ? has_copy(s, m) : s->n_subscriptions > 1))
        body = BODY_LOOSE;
    return session_offer(h, s, &it, body) && body != BODY_LOOSE;
}

uint32_t fan_out(struct hub *h, struct message *m)
{
    const struct audience *a = subscriptions_match(h->subscriptions, message_topic(m));
    struct fanning *fanning = &h->deliveries.fanning;
    uint32_t copies = 0;
    *fanning = (struct fanning){ .msg = m };
    for (uint32_t i = 0; i < a->n; i++) {
        const struct audience_member *v = &a->v[i];
        const uint32_t *ids = a->ids + v->ids;
        copies += v->no_local || v->mixed ? offer_to_local(h, m, v, ids) : offer_to(h, m, v, ids);
    }
    for (uint32_t i = 0; i < a->n_groups; i++) {
        uint32_t place = choose(h, m, a->groups[i], NULL, false);
        if (place != UINT32_MAX)
            copies += give_to(h, m, a->groups[i], place, BODY_FRESH);
    }
    fanning->msg = NULL;
    return copies - fanning->gone;
}

bool pass_on(struct hub *h, struct session *s, const struct outbox_entry *e, bool only_connected)
{
    struct subscription sub;
    uint32_t pos = 0;
    while (subscriptions_next(h->subscriptions, s, &pos, &sub)) {
        if (e->subscription != 0 && e->subscription != from_subscription(sub.number))
            continue;
        if (sub.group.n == 0 || !subscription_takes(sub.filter, message_topic(e->msg)))
            continue;
        struct shared_group *g = subscriptions_group(h->subscriptions, sub.group, sub.filter);
        uint32_t place = choose(h, e->msg, g, s, only_connected);
        if (place == UINT32_MAX)
            continue;
        (void)give_to(h, e->msg, g, place, e->recorded ? BODY_STORED : BODY_LOOSE);
        if (e->msg->ticket != MESSAGE_NO_TICKET)
            ticket_await_batch(h, e->msg->ticket); /* its publisher: what it became is in a later batch */
        h->counters.deliveries_passed_on++;
        return true;
    }
    return false;
}
