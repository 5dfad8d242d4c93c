#include "model_world.h"

#include "core/log.h"

#include <stdlib.h>

uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

/* ---- the store ---- */

static void on_submit(void *arg, struct batch *b)
{
    struct world *w = arg;
    assert_null(w->pending);
    w->pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    (void)arg;
    (void)f;
    fail_msg("there are no queues");
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

void world_commit(struct world *w)
{
    struct batch *b = w->pending;
    if (b == NULL)
        return;
    w->pending = NULL;
    b->took_us = 1000;
    model_say(&w->m, "commit of %u records", b->live);
    for (uint32_t i = 0; i < b->n; i++)
        model_say(&w->m, "  kind %u id %llx session %llu packet %u state %u", b->ops[i].kind, (unsigned long long)b->ops[i].id,
                  (unsigned long long)b->ops[i].session, b->ops[i].packet_id, b->ops[i].state);
    const char *fault = model_store_apply(&w->store, b);
    if (fault != NULL)
        model_fail(&w->m, "%s", fault);
    hub_committed(w->h, b, SL_OK);
    world_turn(w);
}

/* ---- turns ---- */

static void begin(struct world *w)
{
    w->now = sl_clock_advance(&w->clock, w->mono_us, w->wall_ms);
    hub_begin(w->h, &w->now);
}

static bool read_output(struct world *w, struct conn *k);

/* True: there is more to be read after a further turn. */
static bool read_dirty(struct world *w)
{
    struct hub_client *hc;
    bool more = false;
    while ((hc = hub_next_dirty(w->h)) != NULL) {
        struct conn *k = hub_client_arg(hc);
        if (!k->stalled || hub_client_closing(hc))
            more |= read_output(w, k);
        else
            (void)hub_client_written(hc, true);
    }
    return more;
}

void world_turn(struct world *w)
{
    bool more = true;
    while (more) {
        hub_lease(w->h);
        hub_end(w->h);
        hub_check(w->h);
        more = read_dirty(w);
        if (w->pending == NULL && hub_flushed(w->h) && w->unanswered_subscribes == 0)
            model_stored(&w->m);
        begin(w);
    }
}

void world_pass(struct world *w, uint64_t ms)
{
    w->mono_us += ms * 1000;
    w->wall_ms += ms;
    model_say(&w->m, "%llu ms pass", (unsigned long long)ms);
    model_pass(&w->m, ms);
    begin(w);
    world_turn(w);
}

void world_settle(struct world *w)
{
    for (int i = 0; i < 200; i++) {
        if (w->pending == NULL && i > 4 && hub_flushed(w->h))
            return;
        world_commit(w);
        world_turn(w);
    }
    model_fail(&w->m, "the hub does not come to rest");
}

/* ---- births and crashes ---- */

static void configure(struct world *w)
{
    bool lossy = w->m.lossy;
    w->cfg = (struct hub_config){
        .seed = w->m.seed, .memory_bytes = 64u << 20, .max_sessions = 100, .max_connections = 100,
        .subscribers = { .queue_messages = lossy ? 3 + below(w, 6) : 100000, .queue_bytes = 64u << 20, .in_flight = 1 + below(w, 12),
                         .subscriptions = 100, .output_bytes = below(w, 2) == 0 ? 200 + below(w, 400) : 65536 },
        .retained_messages = 1000, .retained_bytes = 1u << 20,
        .sharing = below(w, 2) == 0 ? HUB_SHARE_FREE : HUB_SHARE_ROUND_ROBIN,
        .store = { w, on_submit, NULL, on_fetch, on_volatile },
    };
    w->l = (struct hub_listener){ .protocol = &mqtt_protocol, .park_max = 64, .park_bytes = 1u << 20, .meaning = false,
        .session = { .max_message = 65536, .partial_packet = 65536, .connect_timeout_ms = 10000, .reject_grace_ms = 1000, .receive_maximum = 100,
                     .topic_alias_max = 4, .max_headers = 32, .max_header_bytes = 1024, .session_expiry_max_s = UINT32_MAX,
                     .retain_available = true, .server_name = "model" } };
}

static void boot(struct world *w)
{
    w->cfg.boot = ++w->boot;
    w->clock = (struct sl_clock){ 0 };
    w->h = hub_new(&w->cfg);
    begin(w);
    model_store_load(&w->store, w->h);
}

void world_open(struct world *w, uint64_t seed)
{
    *w = (struct world){ .mono_us = 1000000, .wall_ms = 1700000000000u };
    model_init(&w->m, seed);
    sl_rng_seed(&w->rng, seed);
    sl_log_to(NULL, NULL, SL_ERROR);
    w->m.lossy = seed % 5 == 4;
    w->m.exact = seed % 3 == 1;
    configure(w);
    boot(w);
    world_turn(w);
}

static uint64_t dropped(const struct world *w)
{
    const struct gateway_counters *c = hub_counters(w->h);
    return c->deliveries_dropped_qos0 + c->deliveries_dropped_full + c->deliveries_dropped_memory + c->deliveries_dropped_expired;
}

static void conn_free(struct world *w, struct conn *k)
{
    struct conn **at = &w->conns;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    sl_buf_fini(&k->rx);
    sl_free(k);
}

static void halt(struct world *w)
{
    w->dropped += dropped(w);
    while (w->conns != NULL) {
        hub_client_closed(w->conns->hc);
        conn_free(w, w->conns);
    }
    for (uint32_t c = 0; c < CLIENTS; c++)
        w->clients[c].conn = NULL;
    if (w->pending != NULL)
        hub_committed(w->h, w->pending, SL_EIO);
    w->pending = NULL;
    hub_free(w->h);
}

bool world_crash(struct world *w)
{
    if (w->m.unstored_structure || w->unanswered_subscribes > 0)
        return false;
    model_say(&w->m, "CRASH");
    model_crash(&w->m);
    halt(w);
    boot(w);
    model_pass(&w->m, 0);
    world_turn(w);
    return true;
}

void world_close(struct world *w)
{
    halt(w);
    model_store_fini(&w->store);
    if (w->m.lost > w->dropped)
        model_fail(&w->m, "%llu deliveries are missing, %llu were counted", (unsigned long long)w->m.lost, (unsigned long long)w->dropped);
    model_fini(&w->m);
}

/* ---- sending ---- */

static enum mqtt_version version(const struct conn *k)
{
    return k->v5 ? MQTT_V5 : MQTT_V311;
}

static void send_buf(struct world *w, struct conn *k, struct sl_buf *b)
{
    struct sl_bytes v = sl_buf_view(b);
    hub_client_feed(k->hc, v);
    sl_buf_fini(b);
    world_turn(w);
}

static void send_ack(struct world *w, struct conn *k, uint8_t type, uint16_t packet_id, uint8_t reason)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = type, .packet_id = packet_id, .reason = reason };
    mqtt_props_init(&a.props);
    assert_int_equal(mqtt_encode_ack(&out, version(k), &a), SL_OK);
    send_buf(w, k, &out);
}

static const char *payload_of(const struct world *w, uint32_t msg)
{
    static char text[128];
    if (w->m.msgs[msg].empty)
        return "";
    int n = snprintf(text, sizeof text, "m%u ", msg);
    uint32_t fill = msg * 7919u % 90u; /* sizes differ */
    memset(text + n, '.', fill);
    text[(uint32_t)n + fill] = '\0';
    return text;
}

static void send_publish(struct world *w, struct conn *k, uint32_t msg, uint16_t packet_id, bool dup, uint32_t expiry_s)
{
    const struct msg *m = &w->m.msgs[msg];
    struct sl_buf out = { 0 };
    struct mqtt_publish p = { .dup = dup, .retain = m->retain, .qos = m->qos, .packet_id = packet_id, .topic = sl_str(model_topics[m->topic]),
                              .payload = sl_str(payload_of(w, msg)) };
    mqtt_props_init(&p.props);
    if (expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_MESSAGE_EXPIRY, expiry_s);
    assert_int_equal(mqtt_encode_publish(&out, version(k), &p), SL_OK);
    send_buf(w, k, &out);
}

/* ---- connections ---- */

static void forget_asked(struct world *w, struct conn *k)
{
    if (k->n_asked > 0)
        w->m.unstored_structure = true;
    for (uint32_t i = 0; i < k->n_asked; i++)
        w->unanswered_subscribes--;
    k->n_asked = 0;
}

/* The client's end of it. */
static void conn_over(struct world *w, struct conn *k)
{
    bool unread = k->stalled || sl_buf_len(hub_client_output(k->hc)) > 0;
    uint32_t c = k->client;
    forget_asked(w, k);
    k->client = NOBODY;
    w->clients[c].conn = NULL;
    model_leave(&w->m, c, unread);
}

static void set_will(struct world *w, uint32_t c, const struct connect_options *o, struct mqtt_connect *p)
{
    struct session_model *s = &w->m.sessions[c];
    struct msg m = { .topic = o->will_topic, .qos = o->will_qos, .retain = o->will_retain, .publisher = c };
    s->will = (struct will){ .on = true, .retain = o->will_retain, .topic = o->will_topic, .qos = o->will_qos, .delay_s = o->will_delay_s, .due_ms = NEVER };
    s->will.msg = model_message(&w->m, &m);
    p->has_will = true;
    p->will = (struct mqtt_will){ .topic = sl_str(model_topics[o->will_topic]), .payload = sl_str(payload_of(w, s->will.msg)), .qos = o->will_qos, .retain = o->will_retain };
    mqtt_props_init(&p->will.props);
    if (o->will_delay_s > 0)
        mqtt_props_set_number(&p->will.props, MQTT_PROP_WILL_DELAY, o->will_delay_s);
    w->m.unstored_structure = true;
}

static void resend_one(struct world *w, uint32_t c, struct outgoing *o)
{
    struct conn *k = w->clients[c].conn;
    uint32_t msg = o->msg;
    model_say(&w->m, "c%u sends %s %u (m%u) again", c, o->stage == MQTT_PUBLISH ? "PUBLISH" : "PUBREL", o->packet_id, o->msg);
    if (o->stage != MQTT_PUBLISH) {
        o->stage = MQTT_PUBREL;
        o->again = true;
        send_ack(w, k, MQTT_PUBREL, o->packet_id, 0);
        return;
    }
    o->expect = ANY;
    model_publish_again(&w->m, msg);
    send_publish(w, k, msg, o->packet_id, true, 0);
}

/* What the session still owes the server is sent again [MQTT-4.4.0-1]. */
static void resend(struct world *w, uint32_t c)
{
    struct client *cl = &w->clients[c];
    struct outgoing before[OUTGOING];
    uint32_t n = cl->n_out;
    memcpy(before, cl->out, n * sizeof before[0]);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;
        while (at < cl->n_out && cl->out[at].packet_id != before[i].packet_id)
            at++;
        if (at < cl->n_out)
            resend_one(w, c, &cl->out[at]);
    }
}

void peer_connect(struct world *w, uint32_t c, const struct connect_options *o)
{
    struct client *cl = &w->clients[c];
    char id[8];
    model_say(&w->m, "c%u CONNECT v%d%s expiry %u rm %u%s%s delay %u", c, o->v5 ? 5 : 4, o->clean ? " clean" : "", o->expiry_s, o->receive_maximum,
              o->has_will ? " will" : "", cl->conn != NULL ? " takes over" : "", o->will_delay_s);
    if (cl->conn != NULL)
        conn_over(w, cl->conn);
    struct conn *k = SL_NEW(struct conn);
    k->w = w;
    k->client = c;
    k->v5 = o->v5;
    k->receive_maximum = o->receive_maximum < w->cfg.subscribers.in_flight ? o->receive_maximum : w->cfg.subscribers.in_flight;
    k->next = w->conns;
    w->conns = k;
    cl->conn = k;
    k->expect_present = model_connect(&w->m, c, o->clean, o->expiry_s);
    w->m.sessions[c].blind |= !o->v5;
    if (!k->expect_present)
        cl->n_out = 0;
    snprintf(id, sizeof id, "c%u", c);
    struct mqtt_connect p = { .version = o->v5 ? MQTT_V5 : MQTT_V311, .clean_start = o->clean, .client_id = sl_str(id) };
    mqtt_props_init(&p.props);
    if (o->v5 && o->expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, o->expiry_s);
    if (o->v5 && o->receive_maximum < 65535)
        mqtt_props_set_number(&p.props, MQTT_PROP_RECEIVE_MAXIMUM, o->receive_maximum);
    if (o->v5 && o->alias)
        mqtt_props_set_number(&p.props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 3);
    if (o->has_will)
        set_will(w, c, o, &p);
    struct sl_buf out = { 0 };
    assert_int_equal(mqtt_encode_connect(&out, &p), SL_OK);
    k->hc = hub_client_open(w->h, &w->l, "model", k);
    send_buf(w, k, &out);
    if (!k->connected)
        world_settle(w); /* an older session ends on the disk first */
    if (!k->connected)
        model_fail(&w->m, "c%u is not answered", c);
    resend(w, c);
}

void peer_lose(struct world *w, uint32_t c)
{
    struct conn *k = w->clients[c].conn;
    model_say(&w->m, "c%u is lost", c);
    conn_over(w, k);
    hub_client_closed(k->hc);
    conn_free(w, k);
    world_turn(w);
}

void peer_disconnect(struct world *w, uint32_t c, bool with_will, uint32_t expiry_s)
{
    struct conn *k = w->clients[c].conn;
    struct session_model *s = &w->m.sessions[c];
    struct sl_buf out = { 0 };
    struct mqtt_word p = { .reason = with_will ? 0x04 : 0 };
    mqtt_props_init(&p.props);
    bool change = k->v5 && expiry_s != NOBODY && s->expiry_s > 0;
    model_say(&w->m, "c%u DISCONNECT%s%s", c, with_will ? " with will" : "", change ? " changes expiry" : "");
    if (change) {
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, expiry_s);
        s->expiry_s = expiry_s;
        s->persistent = expiry_s > 0;
    }
    if (!with_will)
        s->will.on = false;
    assert_int_equal(mqtt_encode_disconnect(&out, version(k), &p), SL_OK);
    conn_over(w, k);
    send_buf(w, k, &out);
}

/* ---- publishing, subscribing ---- */

static uint16_t fresh_id(struct client *cl)
{
    bool used = true;
    while (used) {
        cl->next_id = (uint16_t)(cl->next_id % 12 + 1); /* few, so that they are used again soon */
        used = false;
        for (uint32_t i = 0; i < cl->n_out; i++)
            used |= cl->out[i].packet_id == cl->next_id;
    }
    return cl->next_id;
}

void peer_publish(struct world *w, uint32_t c, const struct msg *m, uint32_t expiry_s)
{
    struct client *cl = &w->clients[c];
    if (m->qos > 0 && cl->n_out == OUTGOING)
        return;
    uint32_t msg = model_message(&w->m, m);
    uint16_t packet_id = m->qos > 0 ? fresh_id(cl) : 0;
    model_say(&w->m, "c%u PUBLISH m%u to %s qos %u%s%s id %u expiry %u", c, msg, model_topics[m->topic], m->qos, m->retain ? " retain" : "",
              m->empty ? " empty" : "", packet_id, expiry_s);
    if (expiry_s > 0)
        w->m.msgs[msg].expires_ms = w->m.now_ms + expiry_s * 1000u;
    uint8_t expect = model_publish(&w->m, msg);
    if (m->qos > 0)
        cl->out[cl->n_out++] = (struct outgoing){ msg, packet_id, MQTT_PUBLISH, expect, false };
    send_publish(w, cl->conn, msg, packet_id, false, expiry_s);
}

static const char *filter_text(uint32_t f)
{
    static char text[16][32];
    static uint32_t next;
    char *t = text[next++ % 16];
    if (f < GROUPED)
        snprintf(t, 32, "%s", model_filters[f]);
    else
        snprintf(t, 32, "$share/%s/%s", model_groups[f], model_filters[f]);
    return t;
}

void peer_subscribe(struct world *w, uint32_t c, const uint32_t *filters, const struct sub *subs, uint32_t n, uint8_t retain_handling)
{
    struct conn *k = w->clients[c].conn;
    struct mqtt_filter list[3];
    struct asked *a = &k->asked[k->n_asked];
    if (k->n_asked == SL_COUNT(k->asked))
        return;
    *a = (struct asked){ .packet_id = (uint16_t)(1000 + w->m.step % 60000), .subscribe = true, .n = n };
    for (uint32_t i = 0; i < n; i++) {
        model_say(&w->m, "c%u SUBSCRIBE %s qos %u%s%s rh %u id %u", c, filter_text(filters[i]), subs[i].qos, subs[i].no_local ? " nl" : "",
                  subs[i].rap ? " rap" : "", retain_handling, subs[i].id);
        list[i] = (struct mqtt_filter){ sl_str(filter_text(filters[i])), subs[i].qos, subs[i].no_local, subs[i].rap, retain_handling };
        a->codes[i] = subs[i].qos;
        model_subscribe(&w->m, c, filters[i], &subs[i], retain_handling);
    }
    struct sl_buf out = { 0 };
    struct mqtt_filters p = { .packet_id = a->packet_id, .list = list, .n = n };
    mqtt_props_init(&p.props);
    if (k->v5 && subs[0].id > 0)
        mqtt_props_set_subscription_ids(&p.props, &subs[0].id, 1);
    assert_int_equal(mqtt_encode_subscribe(&out, version(k), &p), SL_OK);
    k->n_asked++;
    w->unanswered_subscribes++;
    send_buf(w, k, &out);
}

void peer_unsubscribe(struct world *w, uint32_t c, uint32_t filter)
{
    struct conn *k = w->clients[c].conn;
    struct asked *a = &k->asked[k->n_asked];
    if (k->n_asked == SL_COUNT(k->asked))
        return;
    model_say(&w->m, "c%u UNSUBSCRIBE %s", c, filter_text(filter));
    *a = (struct asked){ .packet_id = (uint16_t)(1000 + w->m.step % 60000), .n = 1 };
    a->codes[0] = model_unsubscribe(&w->m, c, filter) ? 0 : 0x11;
    struct sl_buf out = { 0 };
    struct mqtt_filter f = { .filter = sl_str(filter_text(filter)) };
    struct mqtt_filters p = { .packet_id = a->packet_id, .list = &f, .n = 1 };
    mqtt_props_init(&p.props);
    assert_int_equal(mqtt_encode_unsubscribe(&out, version(k), &p), SL_OK);
    k->n_asked++;
    w->unanswered_subscribes++;
    send_buf(w, k, &out);
}

/* ---- answering ---- */

void peer_answer_one(struct world *w, uint32_t c, bool refuse)
{
    struct conn *k = w->clients[c].conn;
    if (k->n_owed == 0)
        return;
    uint8_t type = k->owed[below(w, k->n_owed)].type;
    uint32_t i = 0;
    while (k->owed[i].type != type)
        i++;
    struct owed o = k->owed[i];
    memmove(&k->owed[i], &k->owed[i + 1], (--k->n_owed - i) * sizeof o);
    refuse = refuse && k->v5 && type != MQTT_PUBCOMP;
    model_say(&w->m, "c%u %s %u%s", c, type == MQTT_PUBACK ? "PUBACK" : type == MQTT_PUBREC ? "PUBREC" : "PUBCOMP", o.packet_id, refuse ? " refuses" : "");
    if (type == MQTT_PUBREC && !refuse) {
        model_received(&w->m, c, o.want);
    } else {
        model_acked(&w->m, c, o.want, refuse);
        k->unanswered -= k->counted[o.packet_id];
        k->counted[o.packet_id] = false;
    }
    send_ack(w, k, type, o.packet_id, refuse ? 0x83 : 0);
}

void peer_release(struct world *w, uint32_t c)
{
    struct client *cl = &w->clients[c];
    for (uint32_t i = 0; i < cl->n_out; i++) {
        if (cl->out[i].stage != MQTT_PUBREC)
            continue;
        cl->out[i].stage = MQTT_PUBREL;
        model_say(&w->m, "c%u PUBREL %u", c, cl->out[i].packet_id);
        send_ack(w, cl->conn, MQTT_PUBREL, cl->out[i].packet_id, 0);
        return;
    }
}

void peer_read(struct world *w, uint32_t c)
{
    struct conn *k = w->clients[c].conn;
    k->stalled = false;
    model_say(&w->m, "c%u reads again", c);
    k->late = true;
    (void)read_output(w, k);
    k->late = false;
    world_turn(w);
}

/* ---- reading ---- */

static void owe(struct world *w, struct conn *k, uint8_t type, uint16_t packet_id, uint32_t want)
{
    if (k->n_owed == OWED)
        model_fail(&w->m, "c%u owes too much", k->client);
    k->owed[k->n_owed++] = (struct owed){ type, packet_id, want };
}

static uint8_t topic_of(struct world *w, struct conn *k, const struct mqtt_publish *p)
{
    uint32_t alias = mqtt_props_number(&p->props, MQTT_PROP_TOPIC_ALIAS, 0);
    if (alias > 3)
        model_fail(&w->m, "c%u: topic alias %u", k->client, alias);
    if (p->topic.n == 0 && (alias == 0 || k->aliases[alias] == 0))
        model_fail(&w->m, "c%u: no topic", k->client);
    if (p->topic.n == 0)
        return (uint8_t)(k->aliases[alias] - 1);
    for (uint8_t t = 0; t < TOPICS; t++) {
        if (!sl_bytes_is(p->topic, model_topics[t]))
            continue;
        k->aliases[alias] = (uint8_t)(t + 1);
        return t;
    }
    model_fail(&w->m, "c%u: an unknown topic", k->client);
}

static uint32_t msg_of(struct world *w, struct conn *k, struct sl_bytes payload, uint8_t topic)
{
    char text[128] = "";
    if (payload.n == 0)
        return NOBODY;
    if (payload.n >= sizeof text || payload.p[0] != 'm')
        model_fail(&w->m, "c%u: an unknown payload", k->client);
    memcpy(text, payload.p, payload.n);
    uint32_t msg = (uint32_t)strtoul(text + 1, NULL, 10);
    if (msg >= w->m.n_msgs || !sl_bytes_is(payload, payload_of(w, msg)) || w->m.msgs[msg].topic != topic)
        model_fail(&w->m, "c%u: m%u is not as it was published", k->client, msg);
    return msg;
}

static void on_publish(struct world *w, struct conn *k, const struct mqtt_publish *p)
{
    struct arrival a = { .topic = topic_of(w, k, p), .qos = p->qos, .dup = p->dup, .retain = p->retain, .v5 = k->v5, .late = k->late, .packet_id = p->packet_id };
    size_t pos = 0;
    uint32_t id;
    a.msg = msg_of(w, k, p->payload, a.topic);
    a.has_expiry = mqtt_props_has(&p->props, MQTT_PROP_MESSAGE_EXPIRY);
    a.expiry_s = mqtt_props_number(&p->props, MQTT_PROP_MESSAGE_EXPIRY, 0);
    while (k->v5 && a.n_ids < SL_COUNT(a.ids) && mqtt_props_next_subscription_id(&p->props, &pos, &id))
        a.ids[a.n_ids++] = id;
    model_say(&w->m, "  c%u gets m%d of %s qos %u id %u%s%s ids %u: %u %u", k->client, (int)a.msg, model_topics[a.topic], a.qos, a.packet_id, a.dup ? " dup" : "",
              a.retain ? " retain" : "", a.n_ids, a.ids[0], a.ids[1]);
    if (a.qos > 0 && a.packet_id == 0)
        model_fail(&w->m, "c%u: a packet id is missing", k->client);
    if (a.qos == 0 && a.dup)
        model_fail(&w->m, "c%u: DUP with QoS 0", k->client);
    uint32_t want = model_arrived(&w->m, k->client, &a);
    if (a.qos == 0)
        return;
    if (k->counted[a.packet_id])
        model_fail(&w->m, "c%u: packet id %u comes twice on one connection", k->client, a.packet_id);
    k->counted[a.packet_id] = true;
    if (++k->unanswered > k->receive_maximum)
        model_fail(&w->m, "c%u: %u unanswered, receive maximum is %u", k->client, k->unanswered, k->receive_maximum);
    owe(w, k, a.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, a.packet_id, want);
}

static void on_pubrel(struct world *w, struct conn *k, const struct mqtt_ack *a)
{
    model_say(&w->m, "  c%u gets PUBREL %u 0x%02x", k->client, a->packet_id, a->reason);
    owe(w, k, MQTT_PUBCOMP, a->packet_id, model_released(&w->m, k->client, a->packet_id));
}

/* An answer to what the client published. */
static void on_answer(struct world *w, struct conn *k, const struct mqtt_ack *a)
{
    struct client *cl = &w->clients[k->client];
    uint32_t i = 0;
    uint8_t stage = a->type == MQTT_PUBCOMP ? MQTT_PUBREL : MQTT_PUBLISH, qos = a->type == MQTT_PUBACK ? 1 : 2;
    while (i < cl->n_out && cl->out[i].packet_id != a->packet_id)
        i++;
    struct outgoing *o = &cl->out[i];
    model_say(&w->m, "  c%u gets answer %u for %u 0x%02x", k->client, a->type, a->packet_id, a->reason);
    if (i == cl->n_out || o->stage != stage || w->m.msgs[o->msg].qos != qos)
        model_fail(&w->m, "c%u: an answer to nothing", k->client);
    model_answered(&w->m, o->msg);
    if (stage == MQTT_PUBLISH && k->v5 && o->expect != ANY && a->reason != (o->expect == 1 ? 0x10 : 0))
        model_fail(&w->m, "c%u: reason 0x%02x for m%u, which %s", k->client, a->reason, o->msg, o->expect == 1 ? "nobody takes" : "somebody takes");
    if (a->reason >= 0x80 && !(a->type == MQTT_PUBCOMP && a->reason == 0x92 && o->again))
        model_fail(&w->m, "c%u: reason 0x%02x for m%u", k->client, a->reason, o->msg);
    if (a->type == MQTT_PUBREC) {
        o->stage = MQTT_PUBREC;
        return;
    }
    memmove(o, o + 1, (--cl->n_out - i) * sizeof *o);
}

static void on_codes(struct world *w, struct conn *k, bool subscribe, const struct mqtt_codes *p)
{
    struct asked *a = &k->asked[0];
    if (k->n_asked == 0 || a->subscribe != subscribe || a->packet_id != p->packet_id)
        model_fail(&w->m, "c%u: SUBACK or UNSUBACK of nothing", k->client);
    bool codes = subscribe || k->v5;
    if (codes && (p->codes.n != a->n || memcmp(p->codes.p, a->codes, a->n) != 0))
        model_fail(&w->m, "c%u: SUBACK or UNSUBACK with other codes", k->client);
    memmove(a, a + 1, --k->n_asked * sizeof *a);
    w->unanswered_subscribes--;
}

static void on_connack(struct world *w, struct conn *k, const struct mqtt_connack *p)
{
    model_say(&w->m, "  c%u gets CONNACK 0x%02x present %d", k->client, p->code, p->session_present);
    if (p->code != 0 || k->connected)
        model_fail(&w->m, "c%u: CONNACK 0x%02x", k->client, p->code);
    if (p->session_present != k->expect_present)
        model_fail(&w->m, "c%u: session present is %d", k->client, p->session_present);
    k->connected = true;
}

static void on_packet(struct world *w, struct conn *k, struct mqtt_frame *f)
{
    struct mqtt_connack connack;
    struct mqtt_publish publish;
    struct mqtt_ack ack;
    struct mqtt_codes codes;
    f->version = k->v5 ? MQTT_V5 : MQTT_V311;
    f->from_server = true;
    if (f->type != MQTT_CONNACK && !k->connected)
        model_fail(&w->m, "c%u: packet %u before CONNACK", k->client, f->type);
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &connack) == SL_OK)
        on_connack(w, k, &connack);
    else if (f->type == MQTT_PUBLISH && mqtt_decode_publish(f, &publish) == SL_OK)
        on_publish(w, k, &publish);
    else if (f->type == MQTT_PUBREL && mqtt_decode_ack(f, &ack) == SL_OK)
        on_pubrel(w, k, &ack);
    else if (f->type >= MQTT_PUBACK && f->type <= MQTT_PUBCOMP && mqtt_decode_ack(f, &ack) == SL_OK)
        on_answer(w, k, &ack);
    else if (f->type == MQTT_SUBACK && mqtt_decode_suback(f, &codes) == SL_OK)
        on_codes(w, k, true, &codes);
    else if (f->type == MQTT_UNSUBACK && mqtt_decode_unsuback(f, &codes) == SL_OK)
        on_codes(w, k, false, &codes);
    else
        model_fail(&w->m, "c%u: packet of type %u, 0x%02x", k->client, f->type, f->body.n > 0 ? f->body.p[0] : 0);
}

static bool read_output(struct world *w, struct conn *k)
{
    struct mqtt_frame f = { 0 };
    struct sl_buf *out = hub_client_output(k->hc);
    bool more = false;
    if (k->client != NOBODY) {
        assert_int_equal(sl_buf_append_bytes(&k->rx, sl_buf_view(out)), SL_OK);
        sl_buf_consume(out, sl_buf_len(out));
        more = hub_client_written(k->hc, false);
    }
    while (k->client != NOBODY && sl_buf_len(&k->rx) > 0) {
        assert_int_equal(mqtt_frame_read(sl_buf_view(&k->rx), MQTT_PACKET_MAX, &f), SL_OK);
        on_packet(w, k, &f);
        sl_buf_consume(&k->rx, f.size);
    }
    if (!hub_client_closing(k->hc))
        return more;
    if (k->client != NOBODY)
        model_fail(&w->m, "c%u: the server closes", k->client);
    hub_client_closed(k->hc);
    conn_free(w, k);
    return false;
}
