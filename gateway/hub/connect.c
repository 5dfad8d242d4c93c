/* CONNECT: identity, takeover, the MQTT session; and how a session is left. */
#include "core/utf8.h"
#include "consumer.h"

static struct client_names *names_of(struct sl_bytes id, struct sl_bytes user)
{
    if (id.n + user.n == 0)
        return NULL;
    struct client_names *names = sl_alloc(sizeof *names + id.n + user.n);
    names->id_bytes = (uint32_t)id.n;
    names->user_bytes = (uint32_t)user.n;
    (void)sl_wr_bytes(sl_wr_bytes(names->text, id), user);
    return names;
}

static uint64_t session_end(const struct hub *h, uint32_t expiry_s)
{
    return expiry_s == UINT32_MAX ? UINT64_MAX : h->now.wall_ms + (uint64_t)expiry_s * 1000;
}

void record_session(struct hub *h, const struct session *s)
{
    struct batch_op *op = record(h, BATCH_SESSION);
    op->id = s->number;
    op->note = batch_session_encode(&(struct batch_session){ s->expiry_s, s->holder != 0 ? UINT64_MAX : s->ends_wall_ms, s->client_id });
}

/* A crash would bring back what a client relies on having ended: what it has, and
 * what it has no more as long as that is not stored. */
static bool is_missed(const struct hub *h, const struct session *s)
{
    bool has = s->n_ids > 0 || s->n_subscriptions > 0 || s->outbox != NULL;
    return s->persistent && (has || (s->dropped_in != 0 && !hub_batch_stored(h, s->dropped_in)));
}

/* Of a store that broke nobody knows what it has written; whoever waits for it is refused. */
static bool ends_are_awaited(const struct hub *h)
{
    return h->sessions_dropped != 0 && (h->commit.health == HUB_BROKEN || !hub_batch_stored(h, h->sessions_dropped));
}

static void end_session(struct hub *h, struct session *s)
{
    if (is_missed(h, s))
        h->sessions_dropped = h->commit.open->seq;
    unanswered_forget(h, s);
    retained_forget(h, s);
    session_abandon(h, s); /* first: what it subscribed to tells who else may have it */
    subscriptions_remove_all(h->subscriptions, s);
    will_end(h, s);
    if (s->persistent)
        record(h, BATCH_SESSION_DROP)->id = s->number;
    sessions_remove(h->sessions, s);
}

/* The newest connection wins; the older is told [MQTT-3.1.4-3]. */
static void take_over(struct hub *h, struct session *s, const struct hub_client *by)
{
    struct hub_client *old = client_find(h, s->holder);
    if (old == NULL)
        return;
    char id[64];
    h->counters.takeovers++;
    sl_log(SL_INFO, "client_taken_over", "client=%s old_peer=%s new_peer=%s", sl_escape(s->client_id, id, sizeof id), old->peer, by->peer);
    unanswered_keep(old);
    park_forget(h, old);
    session_detach(h, s); /* what is retained for it goes on to the newer one, if that goes on with the session */
    old->session = NULL;
    hub_client_bye(old, PROTO_BYE_TAKEOVER);
}

/* What an opened session means for CONNACK. */
struct opened {
    bool present;
    bool wait; /* older sessions end on the disk first: after a crash nothing of this client's must come back */
};

static int open_session(struct hub_client *c, const struct proto_connect *p, struct sl_bytes id, struct opened *out)
{
    struct hub *h = c->h;
    struct session *s = sessions_find(h->sessions, id);
    if (s != NULL && s->holder != 0)
        take_over(h, s, c);
    if (s != NULL && (p->clean_start || !s->persistent)) {
        end_session(h, s);
        s = NULL;
    }
    if (s != NULL)
        will_resumed(h, s);
    out->present = s != NULL;
    out->wait = s == NULL && ends_are_awaited(h);
    if (s == NULL) {
        int err = sessions_add(h->sessions, id, ++h->next_id, &s);
        if (err != SL_OK)
            return err;
    }
    /* While it was absent its end stood in the record: a crash must not find that. */
    bool changed = !out->present || s->expiry_s != p->session_expiry_s || s->ends_wall_ms != UINT64_MAX;
    bool was_persistent = s->persistent, missed = is_missed(h, s);
    s->expiry_s = p->session_expiry_s;
    s->persistent = p->session_expiry_s > 0;
    sessions_take(h->sessions, s, c->id);
    c->session = s;
    uint32_t most = h->cfg.subscribers.in_flight;
    c->receive_maximum = (uint16_t)(p->receive_maximum < most ? p->receive_maximum : most);
    if (s->persistent && changed)
        record_session(h, s);
    if (was_persistent && !s->persistent) {
        h->sessions_dropped = missed ? h->commit.open->seq : h->sessions_dropped;
        session_unstore(h, s);
    }
    return SL_OK;
}

/* A hash under a key, of a number under a secret: assigned client ids, which
 * everybody sees, tell nothing about it. */
static uint64_t reply_key(const struct hub_client *c)
{
    uint8_t secret[16];
    (void)sl_wr_u64le(sl_wr_u64le(secret, c->h->cfg.secret), c->id);
    return sl_hash(sl_bytes_of(secret, sizeof secret));
}

/* Steps of 4096: most connections have fewer consumers. */
static uint32_t names_from(const struct hub_client *c)
{
    return (uint32_t)(c->h->cfg.names * c->id >> 44 << 12);
}

/* What waits for the session follows its CONNACK. */
static void answer_connect(struct hub_client *c, struct proto_connected *answer)
{
    if (c->protocol == MESSAGE_STOMP) {
        answer->reply_key = reply_key(c);
        answer->names_from = names_from(c);
    }
    c->l->protocol->connected(c->s, answer);
    c->h->counters.control_sent++;
    client_dirty(c);
    if (answer->result == PROTO_CONNECT_OK && c->session != NULL)
        session_resume(c->h, c->session);
}

static void await_connect(struct hub_client *c)
{
    struct hub *h = c->h;
    uint32_t ticket = ticket_new(h, c->id, 0);
    ((struct ticket *)sl_slab_at(&h->tickets, ticket))->connect = true;
    ticket_await_batch(h, ticket);
    ticket_done(h, ticket, PROTO_ACCEPTED);
}

void client_connect_stored(struct hub_client *c, enum proto_result r)
{
    if (c->closing)
        return;
    enum proto_connect_result result = r == PROTO_ACCEPTED ? PROTO_CONNECT_OK : PROTO_CONNECT_UNAVAILABLE;
    struct sl_bytes id = c->session != NULL ? c->session->client_id : SL_BYTES_NONE;
    answer_connect(c, &(struct proto_connected){ .result = result, .client_id = id });
    c->stirred = true;
}

/* Who comes back before its old connection is noticed to be dead needs no place
 * of its own. */
static struct hub_client *holder_of(struct hub *h, const struct proto_connect *p, struct sl_bytes id)
{
    const struct session *s = p->protocol == MESSAGE_STOMP ? NULL : sessions_find(h->sessions, id);
    return s == NULL ? NULL : client_find(h, s->holder);
}

void on_connect(struct hub_client *c, const struct proto_connect *p)
{
    struct hub *h = c->h;
    h->counters.connects_received++;
    char assigned[32];
    struct sl_bytes id = p->client_id;
    struct opened opened = { 0 };
    enum proto_connect_result result = PROTO_CONNECT_OK;
    if (id.n == 0) {
        snprintf(assigned, sizeof assigned, "sluice-%016llx", (unsigned long long)sl_rng_u64(&h->rng));
        id = sl_str(assigned);
    }
    c->protocol = (uint8_t)p->protocol;
    const struct hub_client *holder = holder_of(h, p, id);
    if (h->n_connected >= h->cfg.max_connections && holder == NULL)
        result = PROTO_CONNECT_QUOTA;
    else if (h->draining)
        result = PROTO_CONNECT_UNAVAILABLE;
    else if (holder != NULL && !holder->closing && !takeover_allowed(h, id))
        result = PROTO_CONNECT_RATE;
    else if (!will_fits(h, p) || (p->protocol != MESSAGE_STOMP && open_session(c, p, id, &opened) != SL_OK))
        result = PROTO_CONNECT_QUOTA;
    c->connected = result == PROTO_CONNECT_OK;
    h->n_connected += c->connected;
    if (h->n_connected > h->most_connected)
        h->most_connected = h->n_connected;
    if (c->connected)
        c->names = names_of(c->session == NULL ? id : SL_BYTES_NONE, p->has_username ? p->username : SL_BYTES_NONE);
    if (c->connected && p->has_will)
        will_keep(c, p);
    if (c->connected && opened.wait)
        await_connect(c);
    else
        answer_connect(c, &(struct proto_connected){ .result = result, .session_present = opened.present, .client_id = id });
}

void on_disconnect(struct hub_client *c, uint32_t token, const struct proto_disconnect *d)
{
    consumers_leave(c);
    answer_after_settles(c, token);
    if (d->has_expiry && c->session != NULL) {
        c->session->expiry_s = d->session_expiry_s;
        if (c->session->persistent && d->session_expiry_s == 0) {
            if (is_missed(c->h, c->session))
                c->h->sessions_dropped = c->h->commit.open->seq;
            session_unstore(c->h, c->session);
        }
        c->session->persistent = d->session_expiry_s > 0;
        if (c->session->persistent)
            record_session(c->h, c->session);
    }
    if (!d->publish_will && c->session != NULL)
        will_forget(c->h, c->session);
}

void client_leave_session(struct hub_client *c)
{
    struct hub *h = c->h;
    struct session *s = c->session;
    if (s == NULL)
        return;
    c->session = NULL;
    retained_detach(h, s);
    session_detach(h, s);
    sessions_leave(h->sessions, s, session_end(h, s->expiry_s));
    if (!s->persistent) {
        end_session(h, s);
        return;
    }
    will_left(h, s);
    if (s->ends_wall_ms != UINT64_MAX)
        record_session(h, s);
}

/* A gateway that stops leaves the ends of sessions, and their wills, to the next start. */
void sessions_tick(struct hub *h)
{
    struct session *s;
    while (!h->draining && (s = sessions_expired(h->sessions, h->now.wall_ms)) != NULL) {
        h->counters.sessions_timed_out++;
        end_session(h, s);
    }
}

uint64_t sessions_deadline_us(const struct hub *h)
{
    uint64_t ends = sessions_next_end(h->sessions);
    if (ends == UINT64_MAX || h->draining)
        return UINT64_MAX;
    return h->now.mono_us + (ends > h->now.wall_ms ? ends - h->now.wall_ms : 0) * 1000;
}
