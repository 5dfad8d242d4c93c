/* PUBLISH and SEND become messages and are offered to their queues. */
#include "results.h"

bool topic_is_ours(struct sl_bytes topic)
{
    static const char *const prefixes[] = { "$SYS", "$jobs" };
    if (topic.n == 0 || topic.p[0] != '$')
        return false;
    for (size_t i = 0; i < SL_COUNT(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (topic.n >= n && memcmp(topic.p, prefixes[i], n) == 0 && (topic.n == n || topic.p[n] == '/'))
            return true;
    }
    return false;
}

bool taken_elsewhere(struct hub *h, struct sl_bytes topic, bool retain)
{
    return (retain && retained_has_slot(h, topic)) || has_audience(h, topic);
}

const struct route_set *queue_alone(const struct hub *h, struct sl_bytes name)
{
    uint32_t index = hub_find_queue(h, name);
    return index == UINT32_MAX || h->queues[index].orphan ? NULL : h->queues[index].alone;
}

static const struct route_set *targets(struct hub *h, const struct proto_publish *p)
{
    return p->to_queue ? queue_alone(h, p->topic) : route_match(h->routes, p->topic);
}

struct message *message_of_publish(struct hub_client *c, const struct proto_publish *p)
{
    struct hub *h = c->h;
    struct message_parts parts = {
        .protocol = (enum message_protocol)c->protocol,
        .qos = p->qos,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = (uint8_t)((p->retain ? MESSAGE_RETAIN : 0) | (p->to_queue ? MESSAGE_TO_QUEUE : 0) | p->form),
        .topic = p->topic,
        .client_id = client_id(c),
        .user = client_user(c),
        .content_type = p->content_type,
        .correlation = p->correlation,
        .reply_to = p->reply_to,
        .headers = p->headers,
        .n_headers = p->n_headers,
        .payload = p->payload,
    };
    if (p->has_expiry) {
        parts.expires_at = h->now.steady_ms + p->expiry_ms;
        parts.flags = (uint8_t)(parts.flags | MESSAGE_EXPIRES_RELATIVE);
    }
    if (SL_UNLIKELY(p->reply_to.n > 0))
        reply_to_judge(h, p->reply_to);
    if (c->l->meaning && p->n_headers > 0)
        h->counters.meaning_ignored += meaning_apply(&parts, &h->now);
    return message_new(&parts);
}

/* ---- publishes ---- */

/* A retransmission of an id that we have: nothing enters, the answer waits
 * for what the first one waits for [MQTT-4.3.3-10]. */
static void take_duplicate(struct hub_client *c, uint32_t token, const struct proto_publish *p)
{
    c->h->counters.qos2_duplicates++;
    struct offer echo = { .token = token, .qos = 2, .packet_id = p->packet_id, .echo = true };
    offer_take(c->h, c, &echo);
}

static void no_taker(struct hub_client *c, uint32_t token, const struct proto_publish *p)
{
    c->h->counters.no_taker++;
    if (p->qos != 2 || c->session == NULL || !c->session->persistent) {
        client_answer(c, token, PROTO_NO_TAKER);
        return;
    }
    struct batch_op *op = record(c->h, BATCH_QOS2_ADD);
    op->id = c->session->number;
    op->packet_id = p->packet_id;
    answer_with_batch(c, token, PROTO_NO_TAKER);
}

static void refused(struct hub_client *c, uint32_t token, enum proto_result r)
{
    c->h->counters.publishes_refused++;
    client_answer(c, token, r);
}

bool finds_slot(struct hub *h, const struct offer *o)
{
    const struct offer_item *items = offer_items(o);
    for (uint32_t i = 0; o->qos > 0 && i < o->n; i++) {
        if ((message_flags(items[i].m) & MESSAGE_RETAIN) != 0 && !retained_fits_in(h, items[i].m))
            return false;
    }
    return true;
}

void refuse_retained(struct hub_client *c, struct offer *o)
{
    if (o->qos == 2 && c->session != NULL)
        (void)session_drop_id(c->session, o->packet_id);
    c->h->counters.retained_refused++;
    refused(c, o->token, PROTO_REFUSED_QUOTA);
    answers_drop(c, o->answers, o->n_answers);
    offer_drop(o);
}

void on_publish(struct hub_client *c, uint32_t token, const struct proto_publish *p)
{
    struct hub *h = c->h;
    h->counters.publishes_received++;
    h->counters.publish_bytes_received += p->payload.n;
    if (SL_UNLIKELY(p->again)) {
        h->counters.qos1_duplicates++;
        return;
    }
    if (SL_UNLIKELY(h->unanswered.bytes > 0) && p->qos == 1 && unanswered_take(c, token, p))
        return;
    if (!p->to_queue && topic_is_ours(p->topic)) {
        refused(c, token, PROTO_REFUSED_DENIED);
        return;
    }
    const struct route_set *to = targets(h, p);
    if (to == NULL) {
        refused(c, token, PROTO_REFUSED_TARGET);
        return;
    }
    if (p->transaction.n > 0) {
        transaction_send(c, p, to);
        return;
    }
    if (p->qos == 2 && c->session != NULL && !session_add_id(c->session, p->packet_id)) {
        take_duplicate(c, token, p);
        return;
    }
    if (to->n == 0 && !taken_elsewhere(h, p->topic, p->retain)) {
        no_taker(c, token, p);
        return;
    }
    struct offer o = { .token = token, .qos = p->qos, .packet_id = p->packet_id, .dup = p->dup, .n = 1, .one = { message_of_publish(c, p), to } };
    if (p->retain && !finds_slot(h, &o))
        refuse_retained(c, &o);
    else
        offer_take(h, c, &o);
}

/* PUBREL: the id may be used again; with a persistent session PUBCOMP waits
 * until its removal is stored (decision 5). */
void on_release(struct hub_client *c, uint32_t token, uint16_t packet_id)
{
    struct hub *h = c->h;
    if (c->session == NULL || !session_drop_id(c->session, packet_id)) {
        client_answer(c, token, PROTO_UNKNOWN_ID);
        return;
    }
    if (!c->session->persistent) {
        client_answer(c, token, PROTO_ACCEPTED);
        return;
    }
    struct batch_op *op = record(h, BATCH_QOS2_DROP);
    op->id = c->session->number;
    c->session->dropped_in = h->commit.open->seq;
    op->packet_id = packet_id;
    answer_with_batch(c, token, PROTO_ACCEPTED);
}
