/* From the hub to subscribers' connections.
 *
 *   offer ──it keeps up──▶ the connection's output
 *     └──── else ──▶ outbox ──deliver_turn──▶ output
 *
 * Output is copied, so it is kept small: what a connection does not take at
 * once waits in its session's outbox, by reference. A session has its turn when
 * an answer made room in flight, when its output was written, or when a commit
 * ended the wait of what was held (decision 5); and in one turn only so many
 * bytes go out to all of them. */
#include "core/utf8.h"
#include "hub_internal.h"

#define TURN_BYTES  (16u << 20) /* copied into outputs in one turn: then it is time to write them */
#define LARGE_AFTER 4u /* of output's limit one such part may wait when a message is sent that is larger than the rest */
#define ENTRY_BYTES sizeof(struct outbox_entry)
#define HELD_SHARE  2u /* messages for sessions may fill half of limits.memory */
#define READ_ON_BYTES (64u << 10) /* of answers, beside the deliveries that may wait in the output */
#define DROPPING_MS 1000u

/* ---- what sessions hold ---- */

static void hold(struct hub *h, struct message *m)
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

/* An entry that has left its outbox and is finished with. */
static void entry_over(struct hub *h, const struct session *s, struct outbox_entry *e)
{
    if (e->recorded)
        record_copy_gone(h, s, e);
    let_go(h, e->msg);
    message_unref(e->msg);
    outbox_entry_fini(e);
}

static void drop_head(struct hub *h, const struct session *s)
{
    const struct outbox_entry *e = outbox_head(s->outbox);
    if (e->recorded)
        record_copy_gone(h, s, e);
    let_go(h, e->msg);
    outbox_pop(s->outbox);
}

/* ---- time ---- */

/* What is left of its life, in ms; 0: nothing; UINT64_MAX: it has no end. */
static uint64_t life_left(const struct hub *h, const struct message *m)
{
    uint64_t at = message_expires_at(m);
    uint64_t now = (message_flags(m) & MESSAGE_EXPIRES_RELATIVE) != 0 ? h->now.steady_ms : h->now.wall_ms;
    if (at == 0)
        return UINT64_MAX;
    return at > now ? at - now : 0;
}

static bool outlived(const struct hub *h, const struct message *m)
{
    uint64_t age = h->cfg.subscribers.queue_age_ms;
    return life_left(h, m) == 0 || (age > 0 && message_accepted_at(m) + age <= h->now.wall_ms);
}

/* ---- output ---- */

static struct hub_client *connection(const struct session *s)
{
    struct hub_client *c = s->client;
    return c == NULL || c->closing ? NULL : c;
}

static size_t output_bytes(const struct hub_client *c)
{
    return sl_buf_len(c->l->protocol->output(c->s));
}

static void output_changed(struct hub_client *c)
{
    size_t now = output_bytes(c);
    struct deliveries *d = &c->h->deliveries;
    d->output_bytes += now;
    d->output_bytes -= c->pending;
    c->pending = (uint32_t)now;
}

/* A large message follows what is small: else answers that come each turn would
 * keep it waiting for ever. */
static bool output_takes(const struct hub_client *c, size_t bytes)
{
    size_t waits = output_bytes(c), most = c->h->cfg.subscribers.output_bytes;
    return waits <= most / LARGE_AFTER || waits + bytes <= most;
}

/* What is in the way ends: its output is written, and that is told because it
 * is known to wait; or the turn, and it has another one soon. */
static bool may_go_out(struct hub *h, struct hub_client *c, size_t bytes)
{
    if (!output_takes(c, bytes)) {
        output_changed(c);
        return false;
    }
    if (h->deliveries.left > 0)
        return true;
    deliver_soon(h, c);
    return false;
}

bool session_has_room(struct hub *h, const struct session *s, size_t bytes)
{
    struct hub_client *c = connection(s);
    return c != NULL && (s->outbox == NULL || outbox_queued(s->outbox) == 0) && may_go_out(h, c, bytes);
}

uint32_t session_free(const struct hub *h, const struct session *s)
{
    (void)h;
    const struct hub_client *c = connection(s);
    if (c == NULL || !output_takes(c, 1))
        return 0;
    if (s->outbox == NULL)
        return c->receive_maximum;
    uint32_t flying = outbox_in_flight(s->outbox);
    return outbox_queued(s->outbox) > 0 || flying >= c->receive_maximum ? 0 : c->receive_maximum - flying;
}

uint32_t session_queue_free(const struct hub *h, const struct session *s)
{
    uint32_t max = h->cfg.subscribers.queue_messages;
    uint32_t n = s->outbox == NULL ? 0 : outbox_queued(s->outbox);
    return n >= max ? 0 : max - n;
}

static struct proto_packets *packets(struct hub *h, const struct protocol *p)
{
    struct deliveries *d = &h->deliveries;
    if (d->packets == NULL) {
        d->packets = p->packets_new();
        d->packets_of = p;
    }
    SL_ASSERT(d->packets_of == p); /* one protocol has subscribers */
    return d->packets;
}

static enum proto_delivered send(struct hub *h, struct hub_client *c, struct proto_delivery *d)
{
    uint64_t life = life_left(h, d->msg);
    d->has_expiry = life != UINT64_MAX;
    uint64_t seconds = life == 0 ? 1 : (life + 999) / 1000;
    d->expiry_s = d->has_expiry ? (uint32_t)(seconds < UINT32_MAX ? seconds : UINT32_MAX) : 0;
    enum proto_delivered r = c->l->protocol->deliver(c->s, d, packets(h, c->l->protocol));
    size_t before = c->pending;
    output_changed(c);
    uint64_t grown = c->pending > before ? c->pending - before : 0;
    h->deliveries.left -= grown < h->deliveries.left ? grown : h->deliveries.left;
    h->counters.deliveries_sent += r == PROTO_SENT;
    h->counters.delivered_bytes += r == PROTO_SENT ? message_payload(d->msg).n : 0;
    h->counters.deliveries_resent += r == PROTO_SENT && d->dup;
    h->counters.deliveries_too_large += r == PROTO_TOO_LARGE;
    client_dirty(c);
    return r;
}

/* ---- limits ---- */

/* A line now and then: that a client is too slow is worth knowing, each message is not. */
static void tell_drop(struct hub *h, const struct session *s, uint64_t *counter)
{
    struct deliveries *d = &h->deliveries;
    char id[64];
    (*counter)++;
    d->dropped++;
    if (d->dropping_ms != 0 && h->now.mono_ms < d->dropping_ms + DROPPING_MS)
        return;
    sl_log(SL_WARN, "session_dropping", "client=%s dropped=%llu", sl_escape(s->client_id, id, sizeof id), (unsigned long long)d->dropped);
    d->dropping_ms = h->now.mono_ms;
    d->dropped = 0;
}

static bool memory_takes(const struct hub *h, const struct message *m)
{
    uint64_t bytes = m->copies > 0 ? 0 : message_bytes(m);
    return h->deliveries.held_bytes + bytes + ENTRY_BYTES <= h->cfg.memory_bytes / HELD_SHARE;
}

static bool queue_takes(const struct hub *h, const struct session *s, const struct message *m)
{
    const struct hub_subscriber_limits *l = &h->cfg.subscribers;
    const struct outbox *o = s->outbox;
    if (o == NULL)
        return l->queue_messages > 0 && message_bytes(m) <= l->queue_bytes;
    return outbox_queued(o) < l->queue_messages && outbox_queued_bytes(o) + message_bytes(m) <= l->queue_bytes;
}

static void drop_outlived(struct hub *h, const struct session *s)
{
    const struct outbox_entry *e;
    while (s->outbox != NULL && (e = outbox_head(s->outbox)) != NULL && outlived(h, e->msg)) {
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

static struct outbox_entry *push(struct hub *h, struct session *s, const struct outbox_item *it)
{
    if (s->outbox == NULL)
        s->outbox = outbox_new();
    hold(h, it->msg);
    return outbox_push(s->outbox, it);
}

static void offer_qos0(struct hub *h, struct session *s, const struct outbox_item *it)
{
    struct hub_client *c = connection(s);
    if (c == NULL)
        return; /* nothing of QoS 0 is kept for the absent */
    bool queued = s->outbox != NULL && outbox_queued_qos0(s->outbox) > 0;
    if (!queued && may_go_out(h, c, message_bytes(it->msg))) {
        (void)send(h, c, &(struct proto_delivery){ .msg = it->msg, .retain = it->retain, .subscription_ids = it->ids, .n_ids = it->n_ids });
    } else if (make_room(h, s, it)) {
        (void)push(h, s, it);
    }
}

static bool flight_takes(const struct session *s, const struct hub_client *c)
{
    return s->outbox == NULL || outbox_in_flight(s->outbox) < c->receive_maximum;
}

/* The head of the queue is given its packet id. QoS 2 is sent only when that is
 * stored, so that a crash cannot give the id to another message (decision 5). */
static struct outbox_entry *number_head(struct session *s)
{
    struct outbox_entry *e = outbox_number(s->outbox);
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
    switch (send(h, c, &d)) {
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
            c->l->protocol->release(c->s, e->packet_id, true);
            client_dirty(c);
            outbox_sent(s->outbox);
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
    struct hub_client *c = connection(s);
    bool first = s->outbox == NULL || outbox_queued(s->outbox) == 0;
    bool at_once = first && c != NULL && flight_takes(s, c) && may_go_out(h, c, message_bytes(it->msg));
    struct outbox_entry *e = push(h, s, it);
    if (at_once)
        e = number_head(s);
    if (s->persistent)
        record_offer(h, s, e, body);
    if (at_once)
        (void)send_flight(h, s, c);
}

bool session_offer(struct hub *h, struct session *s, const struct outbox_item *it, enum offer_body body)
{
    if (life_left(h, it->msg) == 0) {
        h->counters.deliveries_dropped_expired++;
        return false;
    }
    if (it->qos == 0) {
        offer_qos0(h, s, it);
        return false;
    }
    if ((connection(s) == NULL && !s->persistent) || !make_room(h, s, it))
        return false;
    struct outbox_item own = *it;
    if (body == BODY_LOOSE && s->persistent)
        own.msg = clone(h, it->msg);
    offer_numbered(h, s, &own, body);
    if (own.msg != it->msg)
        message_unref(own.msg);
    return s->persistent;
}

/* ---- a session's turn ---- */

void deliver_soon(struct hub *h, struct hub_client *c)
{
    struct deliveries *d = &h->deliveries;
    if (c->ready)
        return;
    c->ready = true;
    if (d->n_ready == d->cap_ready) {
        d->cap_ready = d->cap_ready == 0 ? 64 : d->cap_ready * 2;
        d->ready = sl_realloc(d->ready, d->cap_ready * sizeof *d->ready);
    }
    d->ready[d->n_ready++] = c->id;
}

/* True: it went out, or into the flight, or it is over. */
static bool move_head(struct hub *h, struct session *s, struct hub_client *c, struct outbox_entry *e)
{
    if ((e->qos > 0 && !flight_takes(s, c)) || !may_go_out(h, c, message_bytes(e->msg)))
        return false;
    if (e->qos == 0) {
        struct proto_delivery d = { .msg = e->msg, .retain = e->retain, .subscription_ids = outbox_ids(e), .n_ids = e->n_ids };
        if (send(h, c, &d) == PROTO_ENDED)
            return false;
        drop_head(h, s);
        return true;
    }
    e = number_head(s);
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
    if (more && retained_pump(h, s) && output_bytes(c) == 0 && session_free(h, s) > 0)
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
        if (c->session != NULL && c->session->client == c && !c->closing)
            deliver_session(h, c->session, c);
    }
    if (i == 0)
        return;
    d->n_ready -= i;
    memmove(d->ready, d->ready + i, d->n_ready * sizeof *d->ready);
}

/* Who does not read is read on, so that its acknowledgements and pings arrive,
 * until the answers to what it sends would fill the memory. */
static bool is_stuffed(const struct hub_client *c, bool blocked)
{
    const struct hub *h = c->h;
    return blocked && (c->pending >= h->cfg.subscribers.output_bytes + READ_ON_BYTES || hub_memory_bytes(h) >= h->cfg.memory_bytes);
}

bool hub_client_written(struct hub_client *c, bool blocked)
{
    if (c->pending == 0 && !blocked)
        return false;
    output_changed(c);
    client_stuffed(c, is_stuffed(c, blocked));
    const struct session *s = c->session;
    if (blocked || s == NULL || s->client != c || c->closing)
        return false;
    deliver_soon(c->h, c);
    return true;
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
        c->l->protocol->release(c->s, packet_id, true);
    return SL_OK;
}

static int settle(struct hub *h, struct session *s, struct hub_client *c, const struct proto_settle *p)
{
    struct outbox_entry e;
    int err;
    if (p->stage == PROTO_RECEIVED && !p->refused)
        return received(h, s, c, p->packet_id);
    if (p->refused && p->stage != PROTO_COMPLETED)
        err = outbox_refused(s->outbox, p->packet_id, &e);
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
    return SL_OK;
}

void on_settle(struct hub_client *c, const struct proto_settle *p)
{
    struct hub *h = c->h;
    struct session *s = c->session;
    int err = s == NULL || s->outbox == NULL ? SL_ENOENT : settle(h, s, c, p);
    if (err != SL_OK && p->stage == PROTO_RECEIVED && !p->refused)
        c->l->protocol->release(c->s, p->packet_id, false);
    client_dirty(c);
    if (err == SL_OK)
        deliver_soon(h, c);
}

void copy_committed(struct hub *h, const struct batch_op *op)
{
    if ((op->copy_flags & BATCH_COPY_QOS) != 2)
        return; /* only QoS 2 is held */
    struct session *s = sessions_at(h->sessions, op->entry);
    if (s == NULL || s->number != op->session || s->outbox == NULL || outbox_unhold(s->outbox, op->id) != SL_OK)
        return;
    struct hub_client *c = connection(s);
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
    struct outbox_item it = { .msg = e->msg, .qos = e->qos, .retain = e->retain, .shared = e->shared, .ids = outbox_ids(e), .n_ids = e->n_ids };
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

void deliveries_begin(struct hub *h)
{
    h->deliveries.left = TURN_BYTES;
}

void deliveries_check(const struct hub *h)
{
    uint64_t entries = 0, outputs = 0;
    const struct session *s;
    const struct hub_client *c;
    size_t pos = 0;
    while ((s = sessions_next(h->sessions, &pos)) != NULL) {
        SL_ASSERT(s->client == NULL || s->holder == ((const struct hub_client *)s->client)->id);
        if (s->outbox == NULL)
            continue;
        outbox_check(s->outbox);
        entries += outbox_queued(s->outbox) + outbox_in_flight(s->outbox);
    }
    SL_ASSERT(h->deliveries.held_bytes >= entries * ENTRY_BYTES && (entries > 0 || h->deliveries.held_bytes == 0));
    pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL)
        outputs += c->pending;
    SL_ASSERT(outputs == h->deliveries.output_bytes);
}

void deliveries_forget(struct hub_client *c)
{
    c->h->deliveries.output_bytes -= c->pending;
    c->pending = 0;
}

void deliveries_free(struct hub *h)
{
    struct deliveries *d = &h->deliveries;
    struct session *s;
    size_t pos = 0;
    while ((s = sessions_next(h->sessions, &pos)) != NULL) {
        outbox_free(s->outbox);
        s->outbox = NULL;
    }
    if (d->packets != NULL)
        d->packets_of->packets_free(d->packets);
    sl_free(d->ready);
}
