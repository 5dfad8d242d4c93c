/* Fake MQTT devices, 3.1.1 and 5, over the real codec. They send again what
 * was not answered, as the standard asks, break off at any moment, say goodbye
 * with and without their will, and come back while their old connection still
 * seems alive. */
#include "mqtt/packet.h"
#include "subscribers.h"

/* ---- sending ---- */

void device_send(struct device *d, struct sl_buf *out)
{
    struct world *w = d->w;
    struct sl_bytes all = sl_buf_view(out);
    size_t at = 0;
    while (at < all.n && d->client != NULL && hub_client_reading(d->client)) {
        size_t n = chance(w, 70) ? all.n - at : 1 + pick(w, (uint32_t)(all.n - at));
        hub_client_feed(d->client, sl_bytes_of(all.p + at, n));
        at += n;
    }
    /* What a paused connection does not take is lost with it. */
    if (at < all.n && d->client != NULL)
        device_lost(d);
    sl_buf_fini(out);
}

static void must(const struct world *w, int err)
{
    if (err != SL_OK)
        world_fail(w, "a device cannot encode its packet: %s", sl_err_name(err));
}

/* Texts of a publish's user properties; they must outlive the encoding. */
struct flavour {
    struct message_header headers[5];
    uint32_t n;
    char priority[4], delay[16], line[4], again[8], job[16];
};

static void flavour_props(const struct uid *u, uint32_t uid, struct flavour *f, struct mqtt_props *props)
{
    if (u->priority != MESSAGE_PRIORITY_DEFAULT) {
        snprintf(f->priority, sizeof f->priority, "%u", u->priority % 10u);
        f->headers[f->n++] = (struct message_header){ sl_str("priority"), sl_str(f->priority) };
    }
    if (u->delay_ms != 0) {
        snprintf(f->delay, sizeof f->delay, "%ums", u->delay_ms);
        f->headers[f->n++] = (struct message_header){ sl_str("delay"), sl_str(f->delay) };
    }
    if (u->line != 0) {
        snprintf(f->line, sizeof f->line, "%u", u->line % 100u);
        f->headers[f->n++] = (struct message_header){ sl_str("line"), sl_str(f->line) };
    }
    if (u->again != 0) {
        snprintf(f->again, sizeof f->again, "d%u", u->again);
        f->headers[f->n++] = (struct message_header){ sl_str("dedup-id"), sl_str(f->again) };
    }
    if (u->job) {
        snprintf(f->job, sizeof f->job, "j%u", uid);
        f->headers[f->n++] = (struct message_header){ sl_str("job-id"), sl_str(f->job) };
    }
    mqtt_props_set_user(props, f->headers, f->n);
    if (u->expiry_ms != 0)
        mqtt_props_set_number(props, MQTT_PROP_MESSAGE_EXPIRY, u->expiry_ms / 1000);
}

static void send_publish(struct device *d, const struct inflight *in, bool dup)
{
    struct world *w = d->w;
    struct sl_buf out = { 0 };
    struct flavour f = { 0 };
    char payload[512], topic[32];
    struct uid *u = &w->uids[in->uid];
    u->sent_again = u->sent_again || dup;
    if (dup)
        world_trace(w, "u%08u sent again", in->uid);
    uid_sent(w, in->uid);
    uid_payload(w, in->uid, payload, sizeof payload);
    snprintf(topic, sizeof topic, "t/%u", u->topic);
    if (!dup)
        laws_expect(w, in->uid);
    struct mqtt_publish p = {
        .dup = dup, .qos = in->qos, .packet_id = in->packet_id, .retain = u->retain, .topic = sl_str(topic), .payload = u->clear ? SL_BYTES_NONE : sl_str(payload),
    };
    mqtt_props_init(&p.props);
    if (d->v5)
        flavour_props(u, in->uid, &f, &p.props);
    must(w, mqtt_encode_publish(&out, d->v5 ? MQTT_V5 : MQTT_V311, &p));
    device_send(d, &out);
}

static void send_pubrel(struct device *d, uint16_t packet_id)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = MQTT_PUBREL, .packet_id = packet_id };
    mqtt_props_init(&a.props);
    must(d->w, mqtt_encode_ack(&out, d->v5 ? MQTT_V5 : MQTT_V311, &a));
    device_send(d, &out);
}

/* ---- coming ---- */

/* A clean start: the device forgets, and so must the gateway. Packet ids
 * begin anew, so that an id which was kept would swallow a new message. */
static void forget_inflight(struct device *d)
{
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++)
        d->in[i].state = IN_FREE;
    d->next_packet_id = 0;
    d->session_stored = false;
}

/* What is in flight is one message only as long as the session is. */
static void promise_ends(struct device *d)
{
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++) {
        if (d->in[i].state != IN_FREE)
            d->w->uids[d->in[i].uid].exactly_once = false;
    }
}

static void give_will(struct device *d, struct mqtt_connect *c, char *topic, char *payload)
{
    struct world *w = d->w;
    d->will = SIM_NO_UID;
    if (!chance(w, 40))
        return;
    d->will = uid_new(w, uid_topic(w), (uint8_t)pick(w, 3));
    struct uid *u = &w->uids[d->will];
    u->retain = chance(w, 15);
    u->sender = d->number + 1;
    u->exactly_once = u->qos == 2 && d->persistent;
    u->will_delay_s = d->v5 && chance(w, 40) ? 1 + pick(w, 3) : 0;
    snprintf(topic, 32, "t/%u", w->uids[d->will].topic);
    uid_payload(w, d->will, payload, 512);
    c->has_will = true;
    c->will = (struct mqtt_will){ .topic = sl_str(topic), .payload = sl_str(payload), .qos = u->qos, .retain = u->retain };
    mqtt_props_init(&c->will.props);
    if (u->will_delay_s > 0)
        mqtt_props_set_number(&c->will.props, MQTT_PROP_WILL_DELAY, u->will_delay_s);
}

/* A connection that goes on with the session before the delay is over takes the
 * will back [MQTT-3.1.3-9]; whether it does is known from its CONNACK. */
static void forgo_will(struct device *d)
{
    if (d->delayed_will == SIM_NO_UID)
        return;
    if (!d->clean && d->w->ticked_ms < d->delayed_until)
        d->w->uids[d->delayed_will].promised = false;
    bool in_time = !d->clean && d->left_boot == d->w->boot && d->w->now.mono_ms < d->delayed_until;
    if (!in_time)
        d->delayed_will = SIM_NO_UID;
}

static void connect_mqtt(struct device *d)
{
    struct world *w = d->w;
    struct sl_buf out = { 0 };
    char id[16], topic[32], payload[512];
    snprintf(id, sizeof id, "dev%u", d->number);
    /* CONNACK does not wait for the disk: until another answer has confirmed a
     * clean start, a crash may bring the old session back. */
    bool unconfirmed = d->clean && !d->confirmed;
    d->confirmed = false;
    d->clean = !d->persistent || unconfirmed || (d->v5 && chance(w, 15));
    forgo_will(d);
    if (d->clean)
        forget_inflight(d);
    else if (d->sure_s != UINT32_MAX && w->now.wall_ms >= d->sure_until)
        promise_ends(d); /* the CONNACK that says so may be lost */
    struct mqtt_connect c = { .version = d->v5 ? MQTT_V5 : MQTT_V311, .clean_start = d->clean, .client_id = sl_str(id) };
    mqtt_props_init(&c.props);
    if (d->v5 && d->persistent)
        mqtt_props_set_number(&c.props, MQTT_PROP_SESSION_EXPIRY, d->expiry_s);
    give_will(d, &c, topic, payload);
    d->connection = ++w->n_connections;
    d->client = hub_client_open(w->hub, &w->mqtt, "device", &d->peer);
    must(w, mqtt_encode_connect(&out, &c));
    device_send(d, &out);
}

/* A session's end is counted from the end of its connection. Of a connection
 * that no answer has confirmed a crash may leave no trace. */
static void note_leaving(struct device *d)
{
    d->left_wall = d->w->now.wall_ms;
    d->left_boot = d->w->dying ? 0 : d->w->boot;
    if (d->confirmed)
        d->sure_until = d->left_wall + (uint64_t)d->sure_s * 1000;
}

void device_sessions_written(struct world *w)
{
    for (uint32_t i = 0; i < SIM_DEVICES; i++) {
        struct device *d = &w->devices[i];
        if (d->left_boot != w->boot)
            continue; /* its last connection ended in a crash, or before */
        d->sure_s = d->expiry_s;
        d->sure_until = d->left_wall + (uint64_t)d->expiry_s * 1000;
    }
}

/* The device's side of its connection is gone and the gateway does not know. */
static void come_back_early(struct device *d)
{
    d->ghost = d->client;
    d->ghost_will = d->will;
    if (d->will != SIM_NO_UID && d->w->uids[d->will].will_delay_s > 0)
        d->ghost_will = SIM_NO_UID; /* it may be taken back */
    d->client = NULL;
    d->greeted = false;
    note_leaving(d);
    sl_buf_fini(&d->rx);
    d->w->counts[SIM_TAKEOVERS]++;
    uint64_t before = laws_wills(d->w);
    connect_mqtt(d);
    laws_on_takeover(d, before);
}

/* ---- publishing ---- */

static struct inflight *free_slot(struct device *d)
{
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++) {
        if (d->in[i].state == IN_FREE)
            return &d->in[i];
    }
    return NULL;
}

static uint16_t next_id(struct device *d)
{
    for (;;) {
        uint16_t id = ++d->next_packet_id;
        bool used = id == 0;
        for (uint32_t i = 0; i < SIM_INFLIGHT; i++)
            used = used || (d->in[i].state != IN_FREE && d->in[i].packet_id == id);
        if (!used)
            return id;
    }
}

static void publish_mqtt(struct device *d)
{
    struct world *w = d->w;
    struct inflight *in = free_slot(d);
    uint8_t qos = (uint8_t)pick(w, 3);
    if (in == NULL && qos > 0)
        return;
    uint32_t uid = uid_new(w, uid_topic(w), qos);
    w->uids[uid].device = d->number;
    w->uids[uid].connection = d->connection;
    w->uids[uid].sender = d->number + 1;
    uid_retain(w, uid);
    if (d->v5)
        uid_flavour(w, uid, false);
    struct inflight now = { IN_PUBLISHED, uid, qos > 0 ? next_id(d) : 0, qos };
    w->uids[uid].exactly_once = qos == 2 && d->persistent;
    if (qos > 0)
        *in = now;
    send_publish(d, &now, false);
}

/* ---- reading ---- */

static struct inflight *find_inflight(struct device *d, uint16_t packet_id)
{
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++) {
        if (d->in[i].state != IN_FREE && d->in[i].packet_id == packet_id)
            return &d->in[i];
    }
    return NULL;
}

static void on_ack(struct device *d, const struct mqtt_ack *a)
{
    struct world *w = d->w;
    struct inflight *in = find_inflight(d, a->packet_id);
    if (in == NULL)
        world_fail(w, "device %u gets an answer to packet id %u that it did not send", d->number, a->packet_id);
    w->counts[SIM_ANSWERS]++;
    bool good = a->reason < 0x80;
    if (a->type == MQTT_PUBCOMP) {
        in->state = IN_FREE;
        return;
    }
    if (good)
        laws_on_ack(w, in->uid);
    if (a->type == MQTT_PUBREC && good) {
        in->state = IN_RELEASED;
        d->session_stored = d->confirmed = d->persistent;
        d->sure_s = d->expiry_s;
        send_pubrel(d, in->packet_id);
    } else {
        in->state = IN_FREE;
    }
}

static void send_again(struct device *d, bool session_present)
{
    if (!session_present)
        promise_ends(d);
    for (uint32_t i = 0; i < SIM_INFLIGHT && d->client != NULL; i++) {
        struct inflight *in = &d->in[i];
        if (in->state == IN_PUBLISHED)
            send_publish(d, in, true);
        else if (in->state == IN_RELEASED)
            send_pubrel(d, in->packet_id);
    }
}

static void on_greeted(struct device *d, const struct mqtt_connack *c)
{
    if (c->code != 0) {
        if (!d->w->draining && hub_health(d->w->hub) != HUB_BROKEN && hub_counters(d->w->hub)->takeovers_refused == 0)
            world_fail(d->w, "device %u is refused with code %u", d->number, c->code);
        return;
    }
    laws_on_connack(d->w, d, c->session_present);
    if (c->session_present && d->delayed_will != SIM_NO_UID)
        d->w->uids[d->delayed_will].cancelled = true;
    d->delayed_will = SIM_NO_UID;
    d->greeted = true;
    send_again(d, c->session_present);
}

static void on_packet(struct device *d, struct mqtt_frame *f)
{
    struct mqtt_connack c;
    struct mqtt_ack a;
    f->version = d->v5 ? MQTT_V5 : MQTT_V311;
    f->from_server = true;
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &c) == SL_OK)
        on_greeted(d, &c);
    else if (f->type >= MQTT_PUBACK && f->type <= MQTT_PUBCOMP && mqtt_decode_ack(f, &a) == SL_OK)
        on_ack(d, &a);
    else if (f->type != MQTT_DISCONNECT)
        world_fail(d->w, "device %u cannot read packet type %u", d->number, f->type);
}

static bool read_mqtt(struct device *d)
{
    struct mqtt_frame f = { 0 };
    int err = mqtt_frame_read(sl_buf_view(&d->rx), MQTT_PACKET_MAX, &f);
    if (err == SL_EMORE)
        return false;
    if (err != SL_OK)
        world_fail(d->w, "device %u gets a malformed packet", d->number);
    size_t size = f.size;
    uint8_t bytes[512]; /* the packet must live through what is sent in answer */
    if (size <= sizeof bytes) {
        memcpy(bytes, sl_buf_view(&d->rx).p, size);
        (void)!mqtt_frame_read(sl_bytes_of(bytes, size), MQTT_PACKET_MAX, &f);
    }
    sl_buf_consume(&d->rx, size);
    on_packet(d, &f);
    return d->client != NULL;
}

static void read_ghost(struct device *d)
{
    struct sl_buf *out = hub_client_output(d->ghost);
    sl_buf_consume(out, sl_buf_len(out));
    if (!hub_client_closing(d->ghost))
        return;
    struct hub_client *c = d->ghost;
    d->ghost = NULL;
    laws_on_loss(d->w, c, d->ghost_will);
}

void device_read(struct peer *peer, struct hub_client *c)
{
    struct device *d = SL_CONTAINER(peer, struct device, peer);
    if (c != d->client) {
        read_ghost(d);
        return;
    }
    struct sl_buf *out = hub_client_output(c);
    bool closing = hub_client_closing(c);
    must(d->w, sl_buf_append_bytes(&d->rx, sl_buf_view(out)));
    sl_buf_consume(out, sl_buf_len(out));
    bool more = true;
    while (more)
        more = d->stomp ? stomp_read(d) : read_mqtt(d);
    if (d->client == c && (closing || hub_client_closing(c)))
        device_lost(d);
}

/* ---- going ---- */

static void leave_will(struct device *d, uint32_t will)
{
    uint32_t delay_s = d->w->uids[will].will_delay_s;
    laws_on_will(d->w, will, d->persistent && d->confirmed);
    if (delay_s == 0)
        return;
    d->delayed_will = will;
    d->delayed_until = d->w->now.mono_ms + (uint64_t)delay_s * 1000;
}

void device_lost(struct device *d)
{
    struct hub_client *c = d->client;
    uint32_t will = d->greeted ? d->will : SIM_NO_UID; /* before CONNACK nobody knows whether it was taken */
    d->client = NULL;
    d->greeted = false;
    d->receipts_owed = 0;
    note_leaving(d);
    d->will = SIM_NO_UID;
    sl_buf_fini(&d->rx);
    if (will != SIM_NO_UID)
        leave_will(d, will);
    laws_on_loss(d->w, c, will);
}

/* The delay begins anew (decision 42). */
void device_restored(struct device *d)
{
    if (d->delayed_will != SIM_NO_UID)
        d->delayed_until = d->w->now.mono_ms + (uint64_t)d->w->uids[d->delayed_will].will_delay_s * 1000;
}

void device_gone(struct device *d)
{
    if (d->client != NULL)
        device_lost(d);
    if (d->ghost != NULL)
        laws_on_loss(d->w, d->ghost, d->ghost_will);
    d->ghost = NULL;
}

/* With 0x04 the will is published all the same. */
static void say_goodbye(struct device *d)
{
    struct world *w = d->w;
    struct sl_buf out = { 0 };
    if (!hub_client_reading(d->client)) {
        device_lost(d);
        return;
    }
    struct mqtt_word bye = { .reason = d->v5 && chance(w, 30) ? 0x04 : 0 };
    mqtt_props_init(&bye.props);
    uint32_t taken_back = bye.reason == 0 ? d->will : SIM_NO_UID;
    if (bye.reason == 0)
        d->will = SIM_NO_UID;
    if (d->v5 && d->persistent && chance(w, 60)) {
        d->expiry_s = chance(w, 50) ? UINT32_MAX : 1 + pick(w, 5);
        d->sure_s = d->expiry_s < d->sure_s ? d->expiry_s : d->sure_s; /* no answer will tell */
        uint64_t ends = w->now.wall_ms + (uint64_t)d->sure_s * 1000;
        d->sure_until = ends < d->sure_until ? ends : d->sure_until;
        mqtt_props_set_number(&bye.props, MQTT_PROP_SESSION_EXPIRY, d->expiry_s);
    }
    must(w, mqtt_encode_disconnect(&out, d->v5 ? MQTT_V5 : MQTT_V311, &bye));
    device_send(d, &out);
    if (d->client == NULL)
        return;
    /* A connection that is paused just now has not read it. */
    if (taken_back != SIM_NO_UID && hub_client_reading(d->client))
        w->uids[taken_back].cancelled = true;
    device_lost(d);
}

void device_step(struct world *w, struct device *d)
{
    if (d->client == NULL) {
        if (d->delayed_will != SIM_NO_UID && chance(w, 80))
            return; /* else it would be taken back each time */
        if (d->stomp)
            stomp_connect(d);
        else
            connect_mqtt(d);
        return;
    }
    if (!d->greeted)
        return;
    uint32_t r = pick(w, 100);
    if (r < 3) {
        device_lost(d);
    } else if (d->stomp) {
        stomp_step(d);
    } else if (r < 7) {
        say_goodbye(d);
    } else if (r < 10 && d->ghost == NULL) {
        come_back_early(d);
    } else {
        for (uint32_t n = 1 + pick(w, 4); n > 0 && d->client != NULL; n--)
            publish_mqtt(d);
    }
}
