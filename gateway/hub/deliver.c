/* From the hub to subscribers' connections.
 *
 *   offer ──it keeps up──▶ the connection's output
 *     └──── else ──▶ outbox ──deliver_turn──▶ output
 *
 * What a connection does not take at once waits in its session's outbox, by
 * reference. A session has its turn when an answer made room in flight, when its
 * output was written, or when a commit ended the wait of what was held
 * (decision 5). */
#include "core/utf8.h"
#include "deliver.h"

#define HELD_SHARE  2u /* messages for sessions may fill half of limits.memory */

/* ---- limits ---- */

/* What is retained was published long before it began to wait. */
static bool outlived(const struct hub *h, const struct outbox_entry *e)
{
    uint64_t age = h->cfg.subscribers.queue_age_ms;
    return life_left(h, e->msg) == 0 || (age > 0 && !e->retain && message_accepted_at(e->msg) + age <= h->now.wall_ms);
}

/* A line now and then: that a client is too slow is worth knowing, each message is not. */
static void tell_drop(struct hub *h, const struct session *s, uint64_t *counter)
{
    char id[64];
    (*counter)++;
    uint64_t n = told_due(&h->deliveries.dropped, h->now.mono_ms);
    if (n > 0)
        sl_log(SL_WARN, "session_dropping", "client=%s dropped=%llu", sl_escape(s->client_id, id, sizeof id), (unsigned long long)n);
}

bool memory_takes(const struct hub *h, const struct message *m)
{
    uint64_t bytes = m->copies > 0 ? 0 : message_bytes(m);
    return h->deliveries.held_bytes + bytes + ENTRY_BYTES <= h->cfg.memory_bytes / HELD_SHARE;
}

bool queue_takes(const struct hub *h, const struct session *s, const struct message *m)
{
    const struct hub_subscriber_limits *l = &h->cfg.subscribers;
    const struct outbox *o = s->outbox;
    if (o == NULL || outbox_queued(o) == 0)
        return l->queue_messages > 0;
    return outbox_queued(o) < l->queue_messages && outbox_queued_bytes(o) + message_bytes(m) <= l->queue_bytes;
}

uint32_t session_queue_free(const struct hub *h, const struct session *s, const struct message *m)
{
    uint32_t n = s->outbox == NULL ? 0 : outbox_queued(s->outbox);
    return queue_takes(h, s, m) ? h->cfg.subscribers.queue_messages - n : 0;
}

static void drop_outlived(struct hub *h, const struct session *s)
{
    const struct outbox_entry *e;
    while (s->outbox != NULL && (e = outbox_head(s->outbox)) != NULL && outlived(h, e)) {
        h->counters.deliveries_dropped_expired++;
        drop_head(h, s);
    }
}

static bool shed_qos0(struct hub *h, const struct session *s)
{
    struct outbox_entry e;
    if (s->outbox == NULL || !outbox_shed_qos0(s->outbox, &e))
        return false;
    tell_drop(h, s, &h->counters.deliveries_dropped_qos0);
    entry_over(h, s, &e);
    return true;
}

/* What has expired goes first, then the oldest of QoS 0, then the new one. */
static bool make_room(struct hub *h, const struct session *s, const struct outbox_item *it)
{
    if (queue_takes(h, s, it->msg) && memory_takes(h, it->msg))
        return true;
    drop_outlived(h, s);
    bool more = true;
    while (more && !(queue_takes(h, s, it->msg) && memory_takes(h, it->msg)))
        more = shed_qos0(h, s);
    if (more)
        return true;
    uint64_t *counter = !memory_takes(h, it->msg) ? &h->counters.deliveries_dropped_memory
                        : it->qos == 0            ? &h->counters.deliveries_dropped_qos0
                                                  : &h->counters.deliveries_dropped_full;
    tell_drop(h, s, counter);
    return false;
}

/* ---- offers ---- */

struct outbox *outbox_for(struct hub *h, struct session *s, const struct outbox_item *it)
{
    if (s->outbox == NULL)
        s->outbox = outbox_new();
    hold(h, it->msg);
    return s->outbox;
}

static void offer_qos0(struct hub *h, struct session *s, const struct outbox_item *it)
{
    struct hub_client *c = connection_of(s);
    if (c == NULL)
        return; /* nothing of QoS 0 is kept for the absent */
    bool queued = s->outbox != NULL && outbox_queued_qos0(s->outbox) > 0;
    if (!queued && may_go_out(h, c, message_bytes(it->msg))) {
        (void)send_delivery(h, c, &(struct proto_delivery){ .msg = it->msg, .retain = it->retain, .subscription_ids = it->ids, .n_ids = it->n_ids });
    } else if (make_room(h, s, it)) {
        (void)outbox_push(outbox_for(h, s, it), it);
    }
}

static bool flight_takes(const struct session *s, const struct hub_client *c)
{
    return s->outbox == NULL || outbox_in_flight(s->outbox) < c->receive_maximum;
}

/* It was given its packet id. QoS 2 is sent only when that is stored, so that a
 * crash cannot give the id to another message (decision 5). */
static struct outbox_entry *numbered(const struct session *s, struct outbox_entry *e)
{
    e->held = s->persistent && e->qos == 2;
    return e;
}

/* What left the flight unanswered: too large for this client, which counts as
 * sent and answered [MQTT-3.1.2-25]. */
static void leave_out(struct hub *h, struct session *s, uint16_t packet_id)
{
    struct outbox_entry e;
    outbox_sent(s->outbox);
    int err = outbox_refused(s->outbox, packet_id, &e);
    SL_ASSERT(err == SL_OK);
    entry_over(h, s, &e);
}

static bool send_flying(struct hub *h, struct session *s, struct hub_client *c, const struct outbox_entry *e)
{
    struct proto_delivery d = {
        .msg = e->msg, .qos = e->qos, .dup = e->dup, .retain = e->retain, .packet_id = e->packet_id,
        .subscription_ids = outbox_ids(e), .n_ids = e->n_ids,
    };
    switch (send_delivery(h, c, &d)) {
    case PROTO_SENT:
        outbox_sent(s->outbox);
        return true;
    case PROTO_TOO_LARGE:
        leave_out(h, s, d.packet_id);
        return true;
    case PROTO_ENDED:
        break;
    }
    return false;
}

/* Whatever has its packet id and is not held. False: something of it has to wait. */
static bool send_flight(struct hub *h, struct session *s, struct hub_client *c)
{
    const struct outbox_entry *e;
    while ((e = outbox_next(s->outbox)) != NULL) {
        if (e->state == OUTBOX_RELEASED) {
            client_release(c, e->packet_id, true);
            outbox_sent(s->outbox);
            continue;
        }
        if (!e->dup && outlived(h, e)) {
            h->counters.deliveries_dropped_expired++;
            leave_out(h, s, e->packet_id);
            continue;
        }
        if (outbox_unanswered(s->outbox) >= c->receive_maximum || !may_go_out(h, c, message_bytes(e->msg)))
            return false;
        if (!send_flying(h, s, c, e))
            return false;
    }
    return true;
}

/* A copy of its own, under an id of its own. */
static struct message *clone(struct hub *h, const struct message *m)
{
    struct message *own;
    int err = message_from_record(message_record(m), &own);
    SL_ASSERT(err == SL_OK);
    message_set_id(own, ++h->next_id, message_accepted_at(m));
    return own;
}

static void record_offer(struct hub *h, const struct session *s, struct outbox_entry *e, enum offer_body body)
{
    if (body == BODY_STORED)
        holders_add(h, message_id(e->msg));
    else if (e->msg->body_batch == 0)
        record_body(h, e->msg);
    record_copy(h, s, e);
}

static void offer_numbered(struct hub *h, struct session *s, const struct outbox_item *it, enum offer_body body)
{
    struct hub_client *c = connection_of(s);
    bool first = s->outbox == NULL || outbox_queued(s->outbox) == 0;
    bool at_once = first && c != NULL && flight_takes(s, c) && may_go_out(h, c, message_bytes(it->msg));
    struct outbox *o = outbox_for(h, s, it);
    struct outbox_entry *e = at_once ? numbered(s, outbox_push_numbered(o, it)) : outbox_push(o, it);
    if (s->persistent)
        record_offer(h, s, e, body);
    if (at_once)
        (void)send_flight(h, s, c);
}

static void offer_clone(struct hub *h, struct session *s, const struct outbox_item *it)
{
    struct outbox_item own = *it;
    own.msg = clone(h, it->msg);
    h->deliveries.fanning.cloned = true;
    offer_numbered(h, s, &own, BODY_LOOSE);
    message_unref(own.msg);
}

bool session_offer(struct hub *h, struct session *s, const struct outbox_item *it, enum offer_body body)
{
    if (SL_UNLIKELY(s->anonymous)) {
        consumer_offer(h, s->consumer, it);
        return false;
    }
    if (life_left(h, it->msg) == 0) {
        h->counters.deliveries_dropped_expired++;
        return false;
    }
    if (it->qos == 0) {
        offer_qos0(h, s, it);
        return false;
    }
    if ((connection_of(s) == NULL && !s->persistent) || !make_room(h, s, it))
        return false;
    if (body == BODY_LOOSE && s->persistent)
        offer_clone(h, s, it);
    else
        offer_numbered(h, s, it, body);
    return s->persistent;
}

/* ---- a session's turn ---- */

/* True: it went out, or into the flight, or it is over. */
static bool move_head(struct hub *h, struct session *s, struct hub_client *c, struct outbox_entry *e)
{
    if ((e->qos > 0 && !flight_takes(s, c)) || !may_go_out(h, c, message_bytes(e->msg)))
        return false;
    if (e->qos == 0) {
        struct proto_delivery d = { .msg = e->msg, .retain = e->retain, .subscription_ids = outbox_ids(e), .n_ids = e->n_ids };
        if (send_delivery(h, c, &d) == PROTO_ENDED)
            return false;
        drop_head(h, s);
        return true;
    }
    e = numbered(s, outbox_number(s->outbox));
    if (s->persistent)
        record_copy(h, s, e);
    return send_flight(h, s, c);
}

static void deliver_session(struct hub *h, struct session *s, struct hub_client *c)
{
    struct outbox_entry *e;
    bool more = s->outbox == NULL || send_flight(h, s, c);
    while (more && s->outbox != NULL) {
        drop_outlived(h, s);
        if ((e = outbox_head(s->outbox)) == NULL)
            break;
        more = move_head(h, s, c, e);
    }
    /* What finds no room has its turn when the output is written; without any
     * output it was the end of a round. */
    if (more && retained_pump(h, s) && c->pending == 0 && session_free(s) > 0)
        deliver_soon(h, c);
}

void deliver_turn(struct hub *h)
{
    struct deliveries *d = &h->deliveries;
    uint32_t n = d->n_ready, i = 0;
    if (n == 0)
        return;
    for (; i < n && d->left > 0; i++) {
        struct hub_client *c = client_find(h, d->ready[i]);
        if (c == NULL)
            continue;
        c->ready = false;
        if (c->closing)
            continue;
        if (c->session != NULL && c->session->client == c)
            deliver_session(h, c->session, c);
        else if (c->consumers != NULL)
            consumers_turn(h, c);
    }
    if (i == 0)
        return;
    d->n_ready -= i;
    memmove(d->ready, d->ready + i, d->n_ready * sizeof *d->ready);
}

