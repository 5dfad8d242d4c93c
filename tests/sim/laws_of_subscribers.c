/* The laws of subscribers: what was promised to a publisher waits for each of
 * them or has come; QoS 2 once; in order; a shared message to one member. */
#include "consumers.h"
#include "subscribers.h"

static uint8_t bit(const struct subscriber *s)
{
    return (uint8_t)(1u << s->number);
}

/* ---- who must get what ---- */

bool filter_takes(uint32_t filter, uint8_t topic)
{
    static const int8_t only[SIM_FILTERS] = { -1, -1, -1, 1, 2, 7, 3, -1, -1 };
    return only[filter] < 0 || only[filter] == topic;
}

bool subscriber_is_sure(const struct subscriber *s)
{
    if (s->client != NULL)
        return s->greeted;
    return s->lasting && s->session_stored && s->w->now.wall_ms < s->sure_until;
}

static uint8_t lower(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static bool is_due(const struct subscriber *s, const struct uid *u)
{
    uint8_t best = 0;
    for (uint32_t f = 0; f < SIM_GROUPED; f++) {
        if (s->subs[f].sure && filter_takes(f, u->topic) && s->subs[f].qos > best)
            best = s->subs[f].qos;
    }
    return lower(best, u->qos) > 0 && subscriber_is_sure(s);
}

void laws_expect(struct world *w, uint32_t uid)
{
    struct uid *u = &w->uids[uid];
    u->sent_step = w->step;
    u->offered = ++w->offers;
    world_trace(w, "u%08u sent: QoS %u t/%u%s by %u", uid, u->qos, u->topic, u->retain ? " RETAIN" : "", u->device);
    if (u->topic >= SIM_TOPICS || u->clear)
        return;
    laws_expect_consumers(w, uid);
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        const struct subscriber *s = &w->subscribers[i];
        if (is_due(s, u))
            u->due |= bit(s);
        for (uint32_t g = 0; g < SIM_GROUPS; g++) {
            if (s->subs[SIM_GROUPED + g].sure && subscriber_is_sure(s) && u->qos > 0)
                u->due_group |= (uint8_t)(1u << g);
        }
    }
}

static void group_changes(struct world *w, uint32_t g)
{
    w->group_changed[g] = w->step;
    for (uint32_t uid = 0; uid < w->n_uids; uid++)
        w->uids[uid].due_group &= (uint8_t)~(1u << g);
}

void laws_on_change(struct world *w, const struct subscriber *s, uint32_t filter)
{
    if (filter >= SIM_GROUPED)
        group_changes(w, filter - SIM_GROUPED);
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        struct uid *u = &w->uids[uid];
        if (!u->acked && u->topic < SIM_TOPICS && filter < SIM_GROUPED && filter_takes(filter, u->topic))
            u->due &= (uint8_t)~bit(s);
    }
}

void laws_on_session_end(struct world *w, const struct subscriber *s)
{
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        w->uids[uid].due &= (uint8_t)~bit(s);
        w->uids[uid].got_once &= (uint8_t)~bit(s);
    }
    for (uint32_t g = 0; g < SIM_GROUPS; g++) {
        if (s->subs[SIM_GROUPED + g].since)
            group_changes(w, g);
    }
}

/* ---- what was acknowledged waits, or has come ---- */

/* What waits for a passing session is in memory only; a session that its client has
 * forgotten may be a member still. */
static bool a_member_may_have(const struct world *w, const struct uid *u, uint32_t g)
{
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        const struct subscriber *s = &w->subscribers[i];
        if (u->waits[i] > 0 || (s->subs[SIM_GROUPED + g].since && !s->lasting))
            return true;
    }
    return false;
}

void law_waits_or_came(const struct world *w, uint32_t uid)
{
    const struct uid *u = &w->uids[uid];
    uint8_t missing = u->due & (uint8_t)~(u->got | u->refused);
    if (w->tight || uid_has_ended(w, u))
        return;
    for (uint32_t g = 0; g < SIM_GROUPS && u->refused == 0; g++) {
        if ((u->due_group & 1u << g) != 0 && u->group_got[g] == 0 && !a_member_may_have(w, u, g))
            world_fail(w, "u%08u (QoS %u) is acknowledged, and no member of shared subscription g%u has it", uid, u->qos, g);
    }
    if (missing == 0)
        return;
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        const struct subscriber *s = &w->subscribers[i];
        if ((missing & bit(s)) != 0 && s->lasting && subscriber_is_sure(s) && u->waits[i] == 0)
            world_fail(w, "u%08u (QoS %u) is acknowledged, and has neither come to subscriber %u nor waits for it", uid, u->qos, i);
    }
}

/* ---- what comes ---- */

/* Of one connection's messages for one topic and with one QoS. */
static void in_order(struct subscriber *s, const struct came *c, const struct uid *u)
{
    if (u->connection == 0 || u->sent_again || u->expiry_ms != 0 || ((u->got | u->refused) & bit(s)) != 0)
        return;
    struct last_of *last = &s->last[u->device][c->topic][c->qos];
    if (last->connection == u->connection && last->offered > u->offered)
        world_fail(s->w, "subscriber %u gets u%08u (QoS %u) after one that was sent later", s->number, c->uid, c->qos);
    *last = (struct last_of){ u->connection, u->offered };
}

static void once(const struct subscriber *s, const struct came *c, struct uid *u)
{
    if (c->qos == 2 && u->exactly_once && (u->got_once & bit(s)) != 0)
        world_fail(s->w, "subscriber %u gets the QoS 2 u%08u twice", s->number, c->uid);
    if (c->qos == 2)
        u->got_once |= bit(s);
}

/* The same member may get it again, as with any QoS 1; so may another one after a
 * crash: that the first had it was not stored when it was sent. Which QoS the other
 * one has asked for makes no difference when the first had it with QoS 1. */
static void to_one_member(const struct subscriber *s, const struct came *c, struct uid *u)
{
    const struct world *w = s->w;
    uint32_t before = u->group_got[c->group];
    bool same = before == s->number + 1, crashed = u->group_boot[c->group] != w->boot;
    bool excused = (c->qos < 2 && (same || crashed)) || (u->group_qos[c->group] < 2 && crashed);
    bool again = before != 0 && !excused && !u->sent_again;
    if (again && u->sent_step > w->group_changed[c->group])
        world_fail(w, "u%08u comes to subscriber %u and to %u, members of shared subscription g%u", c->uid, before - 1, s->number, c->group);
    u->group_got[c->group] = (uint8_t)(s->number + 1);
    u->group_boot[c->group] = w->boot;
    u->group_qos[c->group] = c->qos;
}

void laws_on_arrival(struct world *w, struct subscriber *s, const struct came *c)
{
    bool wanted = false;
    world_trace(w, "subscriber %u gets u%08u QoS %u%s group %u", s->number, c->uid, c->qos, c->fed ? " RETAIN" : "", c->group);
    for (uint32_t f = 0; f < SIM_FILTERS; f++)
        wanted = wanted || (s->subs[f].since && filter_takes(f, c->topic));
    if (!wanted)
        world_fail(w, "subscriber %u gets u%08u, which it has not subscribed to", s->number, c->uid);
    if (c->uid == SIM_NO_UID)
        return;
    struct uid *u = &w->uids[c->uid];
    deal_seen(w, u->deal, c->uid);
    if (u->cancelled)
        world_fail(w, "u%08u was taken back and comes to subscriber %u", c->uid, s->number);
    if (c->qos > u->qos)
        world_fail(w, "u%08u (QoS %u) comes to subscriber %u with QoS %u", c->uid, u->qos, s->number, c->qos);
    if (c->fed && !u->retain)
        world_fail(w, "u%08u comes to subscriber %u as retained, and is not", c->uid, s->number);
    if (c->fed)
        s->retained[c->topic] = c->uid;
    if (c->fed)
        return;
    if (c->group < SIM_GROUPS) {
        to_one_member(s, c, u);
        return;
    }
    in_order(s, c, u);
    once(s, c, u);
    u->got |= bit(s);
}

/* ---- retained messages ---- */

/* Could this be the last one of its topic? Not when another was sent after it was acknowledged, and is acknowledged too. */
static bool may_be_last(const struct world *w, uint32_t uid, uint8_t topic)
{
    uint64_t done = uid == SIM_NO_UID ? 0 : w->uids[uid].acked ? w->uids[uid].acked_step : UINT64_MAX;
    for (uint32_t v = 0; v < w->n_uids; v++) {
        const struct uid *u = &w->uids[v];
        bool known = u->retain && u->acked && u->topic == topic && v != uid && !uid_has_ended(w, u);
        if (known && u->sent_step > done)
            return false;
    }
    return true;
}

/* Nothing is retained, and rightly so: nothing was, or a clear may have been the last. */
static bool may_be_none(const struct world *w, uint8_t topic)
{
    for (uint32_t uid = 0; uid < w->n_uids; uid++) {
        const struct uid *u = &w->uids[uid];
        if (u->retain && u->topic == topic && (u->clear || uid_has_ended(w, u)) && may_be_last(w, uid, topic))
            return true;
    }
    return may_be_last(w, SIM_NO_UID, topic);
}

/* What the disk has for this topic; SIM_NO_UID: nothing. */
uint32_t laws_retained(const struct world *w, uint8_t topic)
{
    const struct disk_records *r = &w->disk.of_subscribers;
    uint32_t found = SIM_NO_UID;
    for (size_t i = 0; i < r->n; i++) {
        uint32_t uid = r->ops[i].kind == BATCH_RETAIN ? uid_of(message_payload(r->ops[i].msg)) : SIM_NO_UID;
        if (uid == SIM_NO_UID || w->uids[uid].topic != topic)
            continue;
        if (found != SIM_NO_UID)
            world_fail(w, "t/%u has two retained messages, u%08u and u%08u", topic, found, uid);
        found = uid;
    }
    return found;
}

void laws_of_retained(const struct world *w)
{
    if (w->retained_refused + hub_counters(w->hub)->retained_refused > 0)
        return; /* limits are low */
    for (uint8_t t = 0; t < SIM_TOPICS; t++) {
        uint32_t uid = laws_retained(w, t);
        if (uid == SIM_NO_UID && !may_be_none(w, t))
            world_fail(w, "the retained message of t/%u is lost", t);
        if (uid != SIM_NO_UID && !(w->uids[uid].retain && may_be_last(w, uid, t)))
            world_fail(w, "u%08u is retained for t/%u, and a later one is acknowledged", uid, t);
    }
}

/* ---- time, the end ---- */

uint32_t subscriber_of_session(const struct world *w, uint64_t session)
{
    struct batch_session b;
    const struct batch_note *n = sl_idmap_get(&w->disk.sessions, session);
    if (n == NULL || batch_session_decode(sl_bytes_of(n->bytes, n->n), &b) != SL_OK || b.client_id.n != 4 || memcmp(b.client_id.p, "sub", 3) != 0)
        return SIM_SUBSCRIBERS;
    return (uint32_t)(b.client_id.p[3] - '0');
}

uint64_t laws_dropped(const struct world *w)
{
    const struct gateway_counters *c = hub_counters(w->hub);
    return c->deliveries_dropped_full + c->deliveries_dropped_memory + c->deliveries_dropped_qos0;
}

/* A session that may end while it is away may do so at any time. */
void laws_of_subscribers_after_step(struct world *w)
{
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        const struct subscriber *s = &w->subscribers[i];
        for (uint32_t g = 0; g < SIM_GROUPS; g++) {
            if (s->subs[SIM_GROUPED + g].since && s->client == NULL && s->expiry_s != UINT32_MAX)
                group_changes(w, g);
        }
        if (s->greeted && !s->slow && s->pings > 0)
            world_fail(w, "subscriber %u gets no answer to its PINGREQ", i);
        if (s->greeted && s->ghost != NULL)
            world_fail(w, "subscriber %u has two connections with one identity", i);
    }
    if (!w->tight && laws_dropped(w) > 0)
        world_fail(w, "%" PRIu64 " deliveries were dropped although there is room", laws_dropped(w));
}

static void nothing_is_half_done(const struct world *w, const struct subscriber *s)
{
    if (s->client == NULL || !s->greeted)
        return;
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        const struct slot *slot = &s->slots[i];
        bool lost = slot->state == SLOT_GOT && slot->qos == 1 && slot->boot != w->boot;
        if (slot->state != SLOT_FREE && !lost)
            world_fail(w, "packet id %u (u%08u, QoS %u) of subscriber %u is left in state %d", slot->packet_id, slot->uid, slot->qos, s->number, slot->state);
    }
    for (uint32_t i = 0; i < SIM_ASKED; i++) {
        if (s->asked[i].packet_id != 0)
            world_fail(w, "subscriber %u still waits for the answer to its SUBSCRIBE %u", s->number, s->asked[i].packet_id);
    }
}

static uint32_t missing_of(const struct world *w, uint32_t uid)
{
    const struct uid *u = &w->uids[uid];
    uint32_t n = 0;
    bool promised = u->promised && w->wills_dropped + hub_counters(w->hub)->wills_dropped == 0;
    if (!(u->acked || promised) || uid_has_ended(w, u) || u->cancelled)
        return 0;
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++) {
        bool missing = (u->due & 1u << i) != 0 && ((u->got | u->refused) & 1u << i) == 0;
        if (missing && !w->tight)
            world_fail(w, "u%08u (QoS %u) is acknowledged and has not come to subscriber %u", uid, u->qos, i);
        n += missing;
    }
    for (uint32_t g = 0; g < SIM_GROUPS; g++) {
        bool missing = (u->due_group & 1u << g) != 0 && u->group_got[g] == 0 && u->refused == 0;
        if (missing && !w->tight)
            world_fail(w, "u%08u (QoS %u) is acknowledged and has come to no member of shared subscription g%u", uid, u->qos, g);
        n += missing;
    }
    return n;
}

void laws_of_probe(const struct subscriber *s)
{
    for (uint8_t t = 0; t < SIM_TOPICS && s->greeted && s->subs[0].sure; t++) {
        uint32_t uid = laws_retained(s->w, t);
        if (s->retained[t] != uid && (uid == SIM_NO_UID || s->w->uids[uid].expiry_ms == 0))
            world_fail(s->w, "a new subscriber gets u%08u as retained for t/%u, and u%08u is", s->retained[t], t, uid);
    }
}

/* Everybody has got and answered everything. */
static void nothing_waits(const struct world *w)
{
    const struct disk_records *r = &w->disk.of_subscribers;
    for (size_t i = 0; i < r->n; i++) {
        if (r->ops[i].kind == BATCH_COPY)
            world_fail(w, "a copy of %016" PRIx64 " for session %" PRIx64 " stays on the disk", r->ops[i].id, r->ops[i].session);
    }
}

void laws_of_subscribers_at_end(struct world *w)
{
    nothing_waits(w);
    uint64_t missing = 0;
    for (uint32_t uid = 0; uid < w->n_uids; uid++)
        missing += missing_of(w, uid);
    if (missing > w->dropped + laws_dropped(w))
        world_fail(w, "%" PRIu64 " deliveries are missing, and only %" PRIu64 " were dropped", missing, w->dropped + laws_dropped(w));
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS; i++)
        nothing_is_half_done(w, &w->subscribers[i]);
}
