/* What fake subscribers get, and how they answer: a client's side of QoS 1 and
 * 2, with the packet ids that the gateway gives. */
#include "subscribers.h"

/* ---- slots ---- */

static struct slot *find_slot(struct subscriber *s, uint16_t packet_id)
{
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        if (s->slots[i].state != SLOT_FREE && s->slots[i].packet_id == packet_id)
            return &s->slots[i];
    }
    return NULL;
}

static struct slot *free_slot(struct subscriber *s)
{
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        if (s->slots[i].state == SLOT_FREE)
            return &s->slots[i];
    }
    world_fail(s->w, "subscriber %u has more than %u deliveries in flight", s->number, SIM_SLOTS);
}

static void set_state(struct subscriber *s, struct slot *slot, enum slot_state state)
{
    slot->state = state;
    slot->boot = s->w->boot;
    slot->connection = s->connection;
    slot->owed = ++s->owed;
}

/* ---- PUBLISH ---- */

/* What tells a copy of a shared subscription apart. */
static uint32_t group_of(const struct subscriber *s, const struct mqtt_publish *p)
{
    size_t pos = 0;
    uint32_t id;
    if (!s->v5)
        return (s->may & ((1u << SIM_GROUPED) - 1)) != 0 ? SIM_GROUPS : (s->may >> SIM_GROUPED & 1u) != 0 ? 0 : 1;
    while (mqtt_props_next_subscription_id(&p->props, &pos, &id)) {
        if (id > SIM_GROUPED)
            return id - 1 - SIM_GROUPED;
    }
    return SIM_GROUPS;
}

static struct came came_of(const struct subscriber *s, const struct mqtt_publish *p)
{
    if (p->topic.n != 3 || p->topic.p[0] != 't' || p->topic.p[2] < '0' || p->topic.p[2] >= '0' + (int)SIM_TOPICS)
        world_fail(s->w, "subscriber %u gets a topic that nobody publishes to", s->number);
    struct came c = { .uid = SIM_NO_UID, .topic = (uint8_t)(p->topic.p[2] - '0'), .qos = p->qos, .fed = p->retain, .group = group_of(s, p) };
    if (p->payload.n > 0)
        c.uid = uid_of(p->payload);
    if (p->payload.n > 0 && (c.uid >= s->w->n_uids || s->w->uids[c.uid].topic != c.topic))
        world_fail(s->w, "subscriber %u gets a message that was altered", s->number);
    return c;
}

/* It has this packet id already. True: it is the same message. */
static bool is_repetition(struct subscriber *s, const struct slot *slot, const struct mqtt_publish *p, uint32_t uid)
{
    struct world *w = s->w;
    bool lost = slot->qos == 1 && slot->boot != w->boot; /* QoS 1 is sent before it is stored */
    if (!p->dup && lost)
        return false;
    if (!p->dup)
        world_fail(w, "subscriber %u gets u%08u with packet id %u, which u%08u (QoS %u) still has", s->number, uid, slot->packet_id, slot->uid, slot->qos);
    if (lost && (slot->uid != uid || slot->qos != p->qos))
        return false;
    if (slot->uid != uid || slot->qos != p->qos)
        world_fail(w, "subscriber %u gets u%08u (QoS %u) again as u%08u (QoS %u)", s->number, slot->uid, slot->qos, uid, p->qos);
    if (slot->connection == s->connection)
        world_fail(w, "subscriber %u gets u%08u twice on one connection", s->number, uid);
    if (slot->state != SLOT_GOT && slot->boot == w->boot)
        world_fail(w, "subscriber %u gets u%08u again after its PUBREC", s->number, uid);
    if (slot->state == SLOT_RELEASED)
        world_fail(w, "subscriber %u gets u%08u again after PUBREL", s->number, uid);
    return true;
}

static void again(struct subscriber *s, struct slot *slot)
{
    struct world *w = s->w;
    w->counts[SIM_RESENT]++;
    bool ordered = slot->came != 0 && slot->boot == w->boot;
    if (ordered && slot->came < s->resent)
        world_fail(w, "subscriber %u gets u%08u again after a later one", s->number, slot->uid);
    if (ordered)
        s->resent = slot->came;
    else
        slot->came = 0; /* what was passed on to it had a place that is not stored */
    set_state(s, slot, SLOT_GOT);
}

static void first_time(struct subscriber *s, struct slot *slot, const struct mqtt_publish *p, const struct came *c)
{
    struct world *w = s->w;
    if (p->dup && !s->resumed)
        world_fail(w, "subscriber %u gets u%08u with DUP in a new session", s->number, c->uid);
    *slot = (struct slot){ .packet_id = p->packet_id, .qos = p->qos, .uid = c->uid, .came = p->dup ? 0 : ++s->came, .refuse = s->v5 && !w->calm && chance(w, 4) };
    set_state(s, slot, SLOT_GOT);
    if (!slot->refuse)
        laws_on_arrival(w, s, c);
    else if (c->uid != SIM_NO_UID)
        w->uids[c->uid].refused |= (uint8_t)(1u << s->number);
}

static void on_publish(struct subscriber *s, const struct mqtt_publish *p)
{
    struct world *w = s->w;
    struct came c = came_of(s, p);
    w->counts[SIM_ARRIVALS]++;
    world_trace(w, "to subscriber %u: PUBLISH u%08u id %u QoS %u dup %d", s->number, c.uid, p->packet_id, p->qos, p->dup);
    if (p->qos == 0) {
        laws_on_arrival(w, s, &c);
        return;
    }
    if (++s->unanswered > s->receive_maximum)
        world_fail(w, "subscriber %u has %u unanswered deliveries of %u", s->number, s->unanswered, s->receive_maximum);
    struct slot *slot = find_slot(s, p->packet_id);
    if (slot != NULL && is_repetition(s, slot, p, c.uid)) {
        again(s, slot);
    } else {
        slot = slot != NULL ? slot : free_slot(s);
        first_time(s, slot, p, &c);
    }
    slot->published = s->connection;
}

/* ---- other packets ---- */

static void send_ack(struct subscriber *s, uint8_t type, uint16_t packet_id, uint8_t reason)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = type, .packet_id = packet_id, .reason = reason };
    world_trace(s->w, "from subscriber %u: answer %u id %u reason %u", s->number, type, packet_id, reason);
    mqtt_props_init(&a.props);
    subscriber_must(s, mqtt_encode_ack(&out, s->v5 ? MQTT_V5 : MQTT_V311, &a));
    subscriber_send(s, &out);
}

/* A PUBREL without a slot: our PUBCOMP, or that it was taken, was lost in a crash. */
static void on_pubrel(struct subscriber *s, const struct mqtt_ack *a)
{
    struct slot *slot = find_slot(s, a->packet_id);
    world_trace(s->w, "to subscriber %u: PUBREL id %u", s->number, a->packet_id);
    if (a->reason != 0)
        world_fail(s->w, "subscriber %u answered packet id %u, which the gateway does not know", s->number, a->packet_id);
    if (slot == NULL && !s->resumed)
        world_fail(s->w, "subscriber %u gets a PUBREL for packet id %u, which it never had", s->number, a->packet_id);
    if (slot == NULL) {
        slot = free_slot(s);
        *slot = (struct slot){ .packet_id = a->packet_id, .qos = 2, .uid = SIM_NO_UID };
    } else if (slot->qos != 2 || slot->state == SLOT_GOT) {
        world_fail(s->w, "subscriber %u gets a PUBREL for u%08u before its PUBREC", s->number, slot->uid);
    }
    set_state(s, slot, SLOT_RELEASED);
}

static struct asked *find_ask(struct subscriber *s, uint16_t packet_id)
{
    for (uint32_t i = 0; i < SIM_ASKED; i++) {
        if (packet_id != 0 && s->asked[i].packet_id == packet_id)
            return &s->asked[i];
    }
    world_fail(s->w, "subscriber %u gets an answer to packet id %u that it did not send", s->number, packet_id);
}

static void on_suback(struct subscriber *s, const struct mqtt_codes *k)
{
    struct world *w = s->w;
    struct asked *a = find_ask(s, k->packet_id);
    w->counts[SIM_ANSWERS]++;
    world_trace(w, "to subscriber %u: SUBACK %u", s->number, k->packet_id);
    bool stored = true;
    for (uint32_t i = 0; i < a->n; i++) {
        struct subscription_of *sub = &s->subs[a->filters[i]];
        uint8_t code = i < k->codes.n ? k->codes.p[i] : 0;
        bool granted = !a->unsubscribe && code < 0x80;
        if (granted && code != a->qos[i])
            world_fail(w, "subscriber %u asks for QoS %u and is granted %u", s->number, a->qos[i], code);
        if (code >= 0x80 && !w->tight && hub_health(w->hub) != HUB_BROKEN)
            world_fail(w, "subscriber %u is refused with code %u", s->number, code);
        stored = stored && code < 0x80;
        sub->asked--;
        sub->sure = granted && sub->asked == 0;
        sub->qos = code;
    }
    a->packet_id = 0;
    if (stored && s->lasting)
        s->session_stored = s->confirmed = true;
}

static void on_greeted(struct subscriber *s, const struct mqtt_connack *c)
{
    struct world *w = s->w;
    if (c->code != 0) {
        if (!w->draining && hub_health(w->hub) != HUB_BROKEN && hub_counters(w->hub)->takeovers_refused == 0)
            world_fail(w, "subscriber %u is refused with code %u", s->number, c->code);
        return;
    }
    world_trace(w, "subscriber %u is greeted: session %d", s->number, c->session_present);
    if (s->clean && c->session_present)
        world_fail(w, "subscriber %u asked for a clean start and has a session", s->number);
    if (!s->clean && !c->session_present && s->session_stored && w->now.wall_ms < s->sure_until)
        world_fail(w, "the session of subscriber %u is lost", s->number);
    if (!c->session_present)
        subscriber_forget(s);
    s->resumed = c->session_present;
    s->forgotten = false;
    s->greeted = true;
}

static void on_packet(struct subscriber *s, struct mqtt_frame *f)
{
    struct mqtt_connack c;
    struct mqtt_publish p;
    struct mqtt_codes k;
    struct mqtt_ack a;
    f->version = s->v5 ? MQTT_V5 : MQTT_V311;
    f->from_server = true;
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &c) == SL_OK)
        on_greeted(s, &c);
    else if (f->type == MQTT_PUBLISH && mqtt_decode_publish(f, &p) == SL_OK)
        on_publish(s, &p);
    else if (f->type == MQTT_PUBREL && mqtt_decode_ack(f, &a) == SL_OK)
        on_pubrel(s, &a);
    else if (f->type == MQTT_SUBACK && mqtt_decode_suback(f, &k) == SL_OK)
        on_suback(s, &k);
    else if (f->type == MQTT_UNSUBACK && mqtt_decode_unsuback(f, &k) == SL_OK)
        on_suback(s, &k);
    else if (f->type == MQTT_PINGRESP && s->pings > 0)
        s->pings--;
    else if (f->type != MQTT_DISCONNECT)
        world_fail(s->w, "subscriber %u cannot read packet type %u", s->number, f->type);
}

/* Nothing is sent while it reads: the packets need no copy. */
static void read_packets(struct subscriber *s)
{
    struct mqtt_frame f = { 0 };
    int err;
    while ((err = mqtt_frame_read(sl_buf_view(&s->rx), MQTT_PACKET_MAX, &f)) == SL_OK) {
        on_packet(s, &f);
        sl_buf_consume(&s->rx, f.size);
    }
    if (err != SL_EMORE)
        world_fail(s->w, "subscriber %u gets a malformed packet", s->number);
}

static void read_ghost(struct subscriber *s)
{
    struct hub_client *c = s->ghost;
    struct sl_buf *out = hub_client_output(c);
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c, false);
    if (!hub_client_closing(c))
        return;
    s->ghost = NULL;
    hub_client_closed(c);
}

void subscriber_read(struct peer *peer, struct hub_client *c)
{
    struct subscriber *s = SL_CONTAINER(peer, struct subscriber, peer);
    if (c != s->client) {
        read_ghost(s);
        return;
    }
    bool closing = hub_client_closing(c);
    struct sl_buf *out = hub_client_output(c);
    if (s->slow && !closing) {
        (void)hub_client_written(c, sl_buf_len(out) > 0);
        return;
    }
    subscriber_must(s, sl_buf_append_bytes(&s->rx, sl_buf_view(out)));
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c, false);
    read_packets(s);
    if (closing)
        subscriber_lost(s);
}

/* ---- answering ---- */

/* In the order in which the packets came [MQTT-4.6.0-2] to [MQTT-4.6.0-4]; what came
 * on an earlier connection is answered when it has come again. */
static struct slot *oldest_owed(struct subscriber *s)
{
    struct slot *best = NULL;
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        struct slot *slot = &s->slots[i];
        bool owed = (slot->state == SLOT_GOT || slot->state == SLOT_RELEASED) && slot->connection == s->connection;
        if (owed && (best == NULL || slot->owed < best->owed))
            best = slot;
    }
    return best;
}

static void answer(struct subscriber *s, struct slot *slot)
{
    uint16_t packet_id = slot->packet_id;
    uint8_t reason = slot->state == SLOT_GOT && slot->refuse ? 0x80 : 0;
    if (slot->state == SLOT_GOT && slot->qos == 2 && !slot->refuse) {
        set_state(s, slot, SLOT_RECEIVED);
        send_ack(s, MQTT_PUBREC, packet_id, 0);
        return;
    }
    uint8_t type = slot->state == SLOT_RELEASED ? MQTT_PUBCOMP : slot->qos == 2 ? MQTT_PUBREC : MQTT_PUBACK;
    s->unanswered -= slot->published == s->connection;
    slot->state = SLOT_FREE;
    send_ack(s, type, packet_id, reason);
}

void subscriber_answer(struct subscriber *s, uint32_t n)
{
    struct slot *slot;
    for (; n > 0 && s->client != NULL && hub_client_reading(s->client) && (slot = oldest_owed(s)) != NULL; n--)
        answer(s, slot);
}
