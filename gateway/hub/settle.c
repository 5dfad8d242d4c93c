/* What becomes of what a session holds: the client's answers, and the ends of
 * connections and sessions.
 *
 *   connection lost ──▶ what is in flight waits for the next connection
 *   session ends ──▶ shared messages go to other members, all else is dropped */
#include "deliver.h"

/* ---- what sessions hold ---- */

void hold(struct hub *h, struct message *m)
{
    if (m->copies++ == 0)
        h->deliveries.held_bytes += message_bytes(m);
    h->deliveries.held_bytes += ENTRY_BYTES;
}

static void let_go(struct hub *h, struct message *m)
{
    SL_ASSERT(m->copies > 0);
    if (--m->copies == 0)
        h->deliveries.held_bytes -= message_bytes(m);
    h->deliveries.held_bytes -= ENTRY_BYTES;
}

void entry_over(struct hub *h, const struct session *s, struct outbox_entry *e)
{
    if (e->recorded)
        record_copy_gone(h, s, e);
    let_go(h, e->msg);
    message_unref(e->msg);
    outbox_entry_fini(e);
}

void drop_head(struct hub *h, const struct session *s)
{
    const struct outbox_entry *e = outbox_head(s->outbox);
    if (e->recorded)
        record_copy_gone(h, s, e);
    let_go(h, e->msg);
    outbox_pop(s->outbox);
}

/* ---- answers ---- */

/* PUBREC: with a persistent session PUBREL waits until that is stored. */
static int received(struct hub *h, struct session *s, struct hub_client *c, uint16_t packet_id)
{
    struct outbox_entry *e;
    int err = outbox_received(s->outbox, packet_id, &e);
    if (err != SL_OK)
        return err;
    e->held = s->persistent && e->recorded;
    if (e->held)
        record_copy(h, s, e);
    else
        client_release(c, packet_id, true);
    return SL_OK;
}

/* In the PUBACK of QoS 1, in the PUBREC of QoS 2. */
static int refused(struct session *s, const struct proto_settle *p, struct outbox_entry *out)
{
    const struct outbox_entry *e = outbox_published(s->outbox, p->packet_id);
    if (e != NULL && e->qos != (p->stage == PROTO_ACKED ? 1 : 2))
        return SL_ENOENT;
    return outbox_refused(s->outbox, p->packet_id, out);
}

/* The client has that delivery, but this is not what comes next in it: a
 * Protocol Error (section 4.13.1). A PUBREC that is said again has its PUBREL
 * again [MQTT-4.3.3-4], or has it when the first one is stored. */
static void out_of_turn(struct hub_client *c, const struct outbox_entry *e, const struct proto_settle *p)
{
    if (e->state != OUTBOX_RELEASED || p->stage != PROTO_RECEIVED || p->refused)
        hub_client_bye(c, PROTO_BYE_PROTOCOL);
    else if (!e->held)
        client_release(c, p->packet_id, true);
}

static int settle(struct hub *h, struct session *s, struct hub_client *c, const struct proto_settle *p)
{
    struct outbox_entry e;
    int err;
    if (p->stage == PROTO_RECEIVED && !p->refused)
        return received(h, s, c, p->packet_id);
    if (p->refused && p->stage != PROTO_COMPLETED)
        err = refused(s, p, &e);
    else if (p->stage == PROTO_ACKED)
        err = outbox_acked(s->outbox, p->packet_id, &e);
    else
        err = outbox_completed(s->outbox, p->packet_id, &e);
    if (err != SL_OK)
        return err;
    if (p->refused)
        h->counters.deliveries_refused++;
    else
        h->counters.deliveries_acked++;
    entry_over(h, s, &e);
    s->dropped_in = h->commit.open->seq;
    return SL_OK;
}

void on_settle(struct hub_client *c, const struct proto_settle *p)
{
    struct hub *h = c->h;
    struct session *s = c->session;
    bool none = s == NULL || s->outbox == NULL;
    const struct outbox_entry *e;
    client_dirty(c);
    if (!none && settle(h, s, c, p) == SL_OK)
        deliver_soon(h, c);
    else if (!none && (e = outbox_published(s->outbox, p->packet_id)) != NULL)
        out_of_turn(c, e, p);
    else if (p->stage == PROTO_RECEIVED && !p->refused)
        client_release(c, p->packet_id, false);
}

void copy_committed(struct hub *h, const struct batch_op *op)
{
    if ((op->copy_flags & BATCH_COPY_QOS) != 2 || op->packet_id == 0)
        return; /* only QoS 2 is held, and it waits for a record that has its id */
    struct session *s = sessions_at(h->sessions, op->entry);
    if (s == NULL || s->number != op->session || s->outbox == NULL)
        return;
    if (outbox_unhold(s->outbox, op->packet_id, op->id, op->state == BATCH_COPY_RELEASED) != SL_OK)
        return; /* it has been recorded again since, and waits for that */
    struct hub_client *c = connection_of(s);
    if (c != NULL)
        deliver_soon(h, c);
}

/* ---- coming and going ---- */

void session_resume(struct hub *h, struct session *s)
{
    struct hub_client *c = client_find(h, s->holder);
    s->client = c;
    if (s->outbox != NULL)
        outbox_resume(s->outbox);
    if (s->outbox != NULL || retained_waits(h, s))
        deliver_soon(h, c);
}

static bool has_shared(struct hub *h, const struct session *s)
{
    struct subscription sub;
    uint32_t pos = 0;
    if (subscriptions_shared_count(h->subscriptions) == 0)
        return false;
    while (subscriptions_next(h->subscriptions, s, &pos, &sub)) {
        if (sub.group.n > 0)
            return true;
    }
    return false;
}

/* Back to the end of the queue; whoever goes through all of it leaves its order as it was. */
static void put_back(struct session *s, struct outbox_entry *e)
{
    struct outbox_item it = {
        .msg = e->msg, .qos = e->qos, .retain = e->retain, .shared = e->shared, .subscription = e->subscription,
        .ids = outbox_ids(e), .n_ids = e->n_ids,
    };
    struct outbox_entry *again = outbox_push(s->outbox, &it);
    again->recorded = e->recorded;
    again->place = e->place;
    message_unref(e->msg);
    outbox_entry_fini(e);
}

/* QoS 0 is kept for nobody who is away; what of a shared subscription has no
 * packet id yet goes to members that are there. */
void session_detach(struct hub *h, struct session *s)
{
    s->client = NULL;
    if (s->outbox == NULL)
        return;
    bool shared = has_shared(h, s);
    struct outbox_entry e;
    for (uint32_t n = outbox_queued(s->outbox); n > 0 && outbox_take(s->outbox, &e); n--) {
        if (e.qos == 0 || (shared && e.shared && pass_on(h, s, &e, true)))
            entry_over(h, s, &e);
        else
            put_back(s, &e);
    }
}

/* The number may be given to another subscription. */
void session_unshare(struct session *s, uint32_t subscription)
{
    struct outbox_entry *e;
    uint32_t pos = 0;
    while (s->outbox != NULL && (e = outbox_walk(s->outbox, &pos)) != NULL)
        e->subscription = e->shared && e->subscription == subscription ? OUTBOX_NO_SUBSCRIPTION : e->subscription;
}

/* Its session ends with the open batch. A crash before that brings the session
 * back: who published is answered when its end is stored. */
static void ends_with_session(struct hub *h, const struct outbox_entry *e)
{
    if (e->recorded && e->msg->ticket != MESSAGE_NO_TICKET)
        ticket_await_batch(h, e->msg->ticket);
}

static void entry_unstore(struct hub *h, const struct session *s, struct outbox_entry *e)
{
    ends_with_session(h, e);
    if (e->recorded)
        record_copy_gone(h, s, e);
    e->recorded = false;
    if (!e->held)
        return;
    int err = outbox_unhold(s->outbox, e->packet_id, message_id(e->msg), e->state == OUTBOX_RELEASED);
    SL_ASSERT(err == SL_OK);
}

/* Nothing of it waits for a commit any more, which may not even come. */
void session_unstore(struct hub *h, struct session *s)
{
    struct outbox_entry *e;
    uint32_t pos = 0;
    while (s->outbox != NULL && (e = outbox_walk(s->outbox, &pos)) != NULL)
        entry_unstore(h, s, e);
    record(h, BATCH_SESSION_DROP)->id = s->number;
}

/* QoS 2 that was sent is finished with the same client or not at all [MQTT-4.8.2-5]. */
static bool may_pass_on(const struct outbox_entry *e)
{
    bool sent = e->state == OUTBOX_SENT || e->state == OUTBOX_RELEASED || e->dup;
    return e->shared && (e->qos < 2 || !sent);
}

void session_abandon(struct hub *h, struct session *s)
{
    struct outbox_entry e;
    s->client = NULL;
    while (s->outbox != NULL && outbox_take(s->outbox, &e)) {
        if (may_pass_on(&e))
            (void)pass_on(h, s, &e, false);
        ends_with_session(h, &e);
        entry_over(h, s, &e);
    }
    outbox_free(s->outbox);
    s->outbox = NULL;
}

int session_restore(struct hub *h, struct session *s, const struct outbox_item *it, uint16_t packet_id, bool released)
{
    if (s->outbox == NULL)
        s->outbox = outbox_new();
    int err = outbox_restore(s->outbox, it, packet_id, released);
    if (err == SL_OK)
        hold(h, it->msg);
    return err;
}

/* Its entries. */
static uint64_t session_check(const struct session *s)
{
    SL_ASSERT(s->client == NULL || s->holder == ((const struct hub_client *)s->client)->id);
    if (s->outbox == NULL)
        return 0;
    outbox_check(s->outbox);
    return outbox_queued(s->outbox) + outbox_in_flight(s->outbox);
}

void deliveries_check(const struct hub *h)
{
    uint64_t entries = 0, outputs = 0;
    const struct session *s;
    const struct hub_client *c;
    size_t pos = 0;
    while ((s = sessions_next(h->sessions, &pos)) != NULL)
        entries += session_check(s);
    pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL) {
        outputs += c->pending;
        for (const struct client_consumer *cc = c->consumers; cc != NULL; cc = cc->next)
            entries += cc->session == NULL ? 0 : session_check(cc->session);
    }
    SL_ASSERT(h->deliveries.held_bytes >= entries * ENTRY_BYTES && (entries > 0 || h->deliveries.held_bytes == 0));
    SL_ASSERT(outputs == h->deliveries.output_bytes);
}
