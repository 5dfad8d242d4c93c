#include "test_hub_kit.h"

/* ---- the store ---- */

static void on_submit(void *arg, struct batch *b)
{
    struct kit *k = arg;
    assert_null(k->pending);
    k->pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    struct kit *k = arg;
    assert_true(k->n_fetches < KIT_FETCHES);
    k->fetch = k->fetches[k->n_fetches++] = f;
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

static void keep_bodies(struct kit *k, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct message *m;
        if (b->ops[i].kind != BATCH_BODY)
            continue;
        assert_int_equal(message_from_record(message_record(b->ops[i].msg), &m), SL_OK);
        sl_idmap_put(&k->bodies, b->ops[i].id, m);
    }
}

static int on_apply_here(void *arg, struct batch *b)
{
    struct kit *k = arg;
    assert_null(k->pending);
    b->took_us = 500;
    if (k->here_err == SL_OK)
        keep_bodies(k, b);
    return k->here_err;
}

struct batch_fetch *kit_fetched(struct kit *k)
{
    struct batch_fetch *f = k->n_fetches == 0 ? NULL : k->fetches[0];
    for (uint32_t i = 1; i < k->n_fetches; i++)
        k->fetches[i - 1] = k->fetches[i];
    k->n_fetches -= f != NULL;
    k->fetch = k->n_fetches == 0 ? NULL : k->fetches[k->n_fetches - 1];
    return f;
}

static void give_bodies(struct kit *k)
{
    struct batch_fetch *f;
    for (uint32_t n = k->n_fetches; n > 0 && (f = kit_fetched(k)) != NULL; n--) {
        for (uint32_t i = 0; i < f->n; i++) {
            struct message *m = sl_idmap_get(&k->bodies, f->ids[i]);
            f->msgs[i] = m != NULL ? message_ref(m) : NULL;
        }
        hub_fetched(k->h, f);
    }
}

void kit_commit(struct kit *k, int err)
{
    struct batch *b = k->pending;
    assert_non_null(b);
    k->pending = NULL;
    b->took_us = 1000;
    if (err == SL_OK)
        keep_bodies(k, b);
    if (err == SL_OK && k->apply != NULL)
        assert_int_equal(k->apply(k->apply_arg, b), SL_OK);
    hub_committed(k->h, b, err);
    give_bodies(k);
    kit_turn(k);
}

void kit_settle(struct kit *k)
{
    kit_turn(k);
    for (int i = 0; i < 20; i++) {
        if (k->pending != NULL)
            kit_commit(k, SL_OK);
        give_bodies(k);
        kit_pass(k, 1);
    }
}

const char *kit_records(struct kit *k)
{
    static const char *const names[] = { "NONE", "BODY", "ENTRY", "UPDATE", "SETTLE", "BODY_DROP", "SESSION", "SESSION_DROP", "QOS2_ADD", "QOS2_DROP",
                                         "SUBSCRIPTION", "SUBSCRIPTION_DROP", "WILL", "WILL_DROP", "COPY", "COPY_DROP", "RETAIN", "RETAIN_DROP",
                                         "QUEUE", "DEDUP", "DEDUP_DROP", "SCHEDULE", "SCHEDULE_DROP" };
    size_t n = 0;
    k->records[0] = '\0';
    for (uint32_t i = 0; k->pending != NULL && i < k->pending->n; i++) {
        const struct batch_op *op = &k->pending->ops[i];
        if (op->kind == BATCH_NONE)
            continue;
        bool flagged = op->kind == BATCH_ENTRY || op->kind == BATCH_UPDATE || op->kind == BATCH_SETTLE || op->kind == BATCH_BODY_DROP || op->kind == BATCH_DEDUP_DROP;
        uint32_t detail = op->queue + (flagged ? 0 : op->packet_id);
        n += (size_t)snprintf(k->records + n, sizeof k->records - n, detail > 0 ? "%s(%u) " : "%s ", names[op->kind], detail);
    }
    return k->records;
}

/* ---- making, turns ---- */

struct queue_config kit_queue(const char *name, uint32_t number)
{
    return (struct queue_config){
        .name = name, .number = number, .durable = true, .max_messages = 1000, .max_bytes = 1u << 20, .overflow = QUEUE_BLOCK, .reject_grace_ms = 1000,
        .max_attempts = 5, .retry_initial_ms = 100, .retry_max_ms = 1000, .retry_factor = 2, .dead_max_messages = 100,
    };
}

static void begin(struct kit *k)
{
    k->now = sl_clock_advance(&k->clock, k->mono_us, k->wall_ms);
    hub_begin(k->h, &k->now);
}

struct hub_subscriber_limits kit_few(uint32_t queue_messages)
{
    return (struct hub_subscriber_limits){
        .queue_messages = queue_messages, .queue_bytes = 1u << 20, .in_flight = 3, .subscriptions = 10, .output_bytes = 1u << 20,
    };
}

void kit_open(struct kit *k)
{
    k->mono_us = k->mono_us == 0 ? 1000000 : k->mono_us;
    k->wall_ms = k->wall_ms == 0 ? 1700000000000u : k->wall_ms;
    k->clock = (struct sl_clock){ 0 };
    struct hub_config cfg = {
        .boot = ++k->boot, .seed = 1, .memory_bytes = k->memory_bytes == 0 ? 8u << 20 : k->memory_bytes,
        .commit_delay_us = k->commit_delay_us, .max_sessions = 100, .max_connections = k->max_connections == 0 ? 100 : k->max_connections,
        .subscribers = k->subscribers, .retained_messages = k->retained_messages, .retained_bytes = k->retained_bytes, .sharing = k->sharing,
        .sys_interval_ms = k->sys_interval_ms, .version = "1.2.3", .jobs_max = k->jobs_max, .jobs_ttl_ms = 60000, .trace_events = k->trace_events, .history = k->history,
        .store = { k, on_submit, k->here ? on_apply_here : NULL, on_fetch, on_volatile },
    };
    struct proto_config session = {
        .max_message = 65536, .partial_packet = 65536, .connect_timeout_ms = 10000, .reject_grace_ms = 1000, .receive_maximum = 100,
        .topic_alias_max = 4, .max_headers = 32, .max_header_bytes = 1024, .session_expiry_max_s = UINT32_MAX, .retain_available = true, .server_name = "kit",
    };
    k->mqtt = (struct hub_listener){ .protocol = &mqtt_protocol, .session = session, .park_max = 4, .park_bytes = 1u << 20, .meaning = true };
    k->stomp = k->mqtt;
    k->stomp.protocol = &stomp_protocol;
    sl_log_to(NULL, NULL, SL_ERROR);
    k->h = hub_new(&cfg);
    begin(k);
}

static void free_bodies(struct kit *k)
{
    size_t pos = 0;
    struct message *m;
    while ((m = sl_idmap_next(&k->bodies, &pos)) != NULL)
        message_unref(m);
    sl_idmap_fini(&k->bodies);
}

void kit_close(struct kit *k)
{
    for (uint32_t i = 0; i < KIT_CLIENTS; i++) {
        if (k->clients[i].c != NULL)
            kit_lose(&k->clients[i]);
        sl_buf_fini(&k->clients[i].rx);
    }
    for (uint32_t i = 0; i < SL_COUNT(k->workers); i++) {
        if (k->workers[i].consumer != 0)
            kit_worker_end(&k->workers[i]);
    }
    if (k->pending != NULL)
        hub_committed(k->h, k->pending, SL_EIO);
    k->pending = NULL;
    give_bodies(k);
    hub_free(k->h);
    free_bodies(k);
}

static void read_output(struct kit *k)
{
    struct hub_client *hc;
    while ((hc = hub_next_dirty(k->h)) != NULL) {
        struct kit_client *c = hub_client_arg(hc);
        if (c->unread && !hub_client_closing(hc)) {
            (void)hub_client_written(hc, true);
            continue;
        }
        struct sl_buf *out = hub_client_output(hc);
        assert_int_equal(sl_buf_append_bytes(&c->rx, sl_buf_view(out)), SL_OK);
        sl_buf_consume(out, sl_buf_len(out));
        (void)hub_client_written(hc, false);
        if (hub_client_closing(hc))
            kit_lose(c);
    }
}

void kit_turn(struct kit *k)
{
    hub_lease(k->h);
    hub_end(k->h);
    hub_check(k->h);
    read_output(k);
    begin(k);
}

void kit_pass(struct kit *k, uint64_t ms)
{
    k->mono_us += ms * 1000;
    k->wall_ms += ms;
    begin(k);
    kit_turn(k);
}

/* ---- clients ---- */

static struct kit_client *open_client(struct kit *k, const struct hub_listener *l)
{
    for (uint32_t i = 0; i < KIT_CLIENTS; i++) {
        struct kit_client *c = &k->clients[i];
        if (c->c != NULL || sl_buf_len(&c->rx) > 0)
            continue;
        *c = (struct kit_client){ .k = k, .stomp = l == &k->stomp, .rx = c->rx };
        c->c = hub_client_open(k->h, l, "test", c);
        return c;
    }
    fail_msg("no free client");
    return NULL;
}

void kit_feed(struct kit_client *c, const void *p, size_t n)
{
    assert_non_null(c->c);
    hub_client_feed(c->c, sl_bytes_of(p, n));
    kit_turn(c->k);
}

static void feed_buf(struct kit_client *c, struct sl_buf *b)
{
    struct sl_bytes v = sl_buf_view(b);
    kit_feed(c, v.p, v.n);
    sl_buf_fini(b);
}

struct kit_client *kit_connect(struct kit *k, const struct mqtt_connect *p)
{
    struct sl_buf out = { 0 };
    struct kit_client *c = open_client(k, &k->mqtt);
    c->v5 = p->version == MQTT_V5;
    assert_int_equal(mqtt_encode_connect(&out, p), SL_OK);
    feed_buf(c, &out);
    return c;
}

struct kit_client *kit_mqtt(struct kit *k, bool v5, const char *id, uint32_t expiry_s)
{
    struct mqtt_connect p = { .version = v5 ? MQTT_V5 : MQTT_V311, .clean_start = !v5 && expiry_s == 0, .client_id = sl_str(id) };
    mqtt_props_init(&p.props);
    if (v5 && expiry_s > 0)
        mqtt_props_set_number(&p.props, MQTT_PROP_SESSION_EXPIRY, expiry_s);
    return kit_connect(k, &p);
}

struct kit_client *kit_publisher(struct kit *k)
{
    struct kit_client *c = kit_mqtt(k, true, "from", 0);
    (void)kit_log(c);
    return c;
}

struct kit_client *kit_listener(struct kit *k, const char *id, uint32_t expiry_s, const char *filter, uint8_t qos)
{
    struct kit_client *c = kit_mqtt(k, true, id, expiry_s);
    kit_subscribe(c, filter, qos);
    kit_settle(k);
    (void)kit_log(c);
    return c;
}

struct kit_client *kit_stomp(struct kit *k)
{
    struct kit_client *c = open_client(k, &k->stomp);
    kit_frame(c, "CONNECT\naccept-version:1.2\nhost:kit\n\n");
    (void)kit_log(c);
    return c;
}

void kit_frame(struct kit_client *c, const char *frame)
{
    kit_feed(c, frame, strlen(frame) + 1);
}

void kit_publish_full(struct kit_client *c, const struct mqtt_publish *p)
{
    struct sl_buf out = { 0 };
    assert_int_equal(mqtt_encode_publish(&out, c->v5 ? MQTT_V5 : MQTT_V311, p), SL_OK);
    feed_buf(c, &out);
}

void kit_publish(struct kit_client *c, uint8_t qos, uint16_t id, const char *topic)
{
    char payload[32];
    snprintf(payload, sizeof payload, "p%u", id);
    struct mqtt_publish p = { .qos = qos, .packet_id = id, .topic = sl_str(topic), .payload = sl_str(payload) };
    mqtt_props_init(&p.props);
    kit_publish_full(c, &p);
}

void kit_pubrel(struct kit_client *c, uint16_t id)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = MQTT_PUBREL, .packet_id = id };
    mqtt_props_init(&a.props);
    assert_int_equal(mqtt_encode_ack(&out, c->v5 ? MQTT_V5 : MQTT_V311, &a), SL_OK);
    feed_buf(c, &out);
}

static enum mqtt_version version_of(const struct kit_client *c)
{
    return c->v5 ? MQTT_V5 : MQTT_V311;
}

void kit_subscribe_full(struct kit_client *c, const struct mqtt_filter *f, size_t n, uint32_t subscription_id)
{
    struct sl_buf out = { 0 };
    struct mqtt_filters p = { .packet_id = 99, .list = f, .n = n };
    mqtt_props_init(&p.props);
    if (subscription_id > 0)
        mqtt_props_set_subscription_ids(&p.props, &subscription_id, 1);
    assert_int_equal(mqtt_encode_subscribe(&out, version_of(c), &p), SL_OK);
    feed_buf(c, &out);
}

void kit_subscribe(struct kit_client *c, const char *filter, uint8_t qos)
{
    kit_subscribe_full(c, &(struct mqtt_filter){ .filter = sl_str(filter), .qos = qos }, 1, 0);
}

void kit_unsubscribe(struct kit_client *c, const char *filter)
{
    struct sl_buf out = { 0 };
    struct mqtt_filter f = { .filter = sl_str(filter) };
    struct mqtt_filters p = { .packet_id = 98, .list = &f, .n = 1 };
    mqtt_props_init(&p.props);
    assert_int_equal(mqtt_encode_unsubscribe(&out, version_of(c), &p), SL_OK);
    feed_buf(c, &out);
}

void kit_settle_as(struct kit_client *c, enum mqtt_type type, uint16_t id, uint8_t reason)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = (uint8_t)type, .packet_id = id, .reason = reason };
    mqtt_props_init(&a.props);
    assert_int_equal(mqtt_encode_ack(&out, version_of(c), &a), SL_OK);
    feed_buf(c, &out);
}

void kit_acked(struct kit_client *c, uint16_t id)
{
    kit_settle_as(c, MQTT_PUBACK, id, 0);
}

void kit_ping(struct kit_client *c)
{
    static const uint8_t ping[] = { 0xC0, 0 };
    kit_feed(c, ping, sizeof ping);
}

void kit_lose(struct kit_client *c)
{
    struct hub_client *hc = c->c;
    c->c = NULL;
    hub_client_closed(hc);
}

/* ---- what they read ---- */

static int describe_ids(const struct mqtt_publish *p, char *out, size_t cap)
{
    size_t pos = 0;
    uint32_t id;
    int n = 0;
    while (mqtt_props_next_subscription_id(&p->props, &pos, &id))
        n += snprintf(out + n, cap - (size_t)n, n == 0 ? " subs=%u" : ",%u", id);
    return n;
}

static int describe_publish(const struct mqtt_publish *p, char *out, size_t cap)
{
    struct sl_bytes shown = sl_bytes_of(p->payload.p, p->payload.n < 32 ? p->payload.n : 32);
    int n = snprintf(out, cap, "PUBLISH q%u", p->qos);
    if (p->qos > 0)
        n += snprintf(out + n, cap - (size_t)n, " id=%u", p->packet_id);
    n += snprintf(out + n, cap - (size_t)n, " %.*s %.*s%s%s", (int)p->topic.n, (const char *)p->topic.p, (int)shown.n, (const char *)shown.p,
                  p->dup ? " dup" : "", p->retain ? " retain" : "");
    if (mqtt_props_has(&p->props, MQTT_PROP_MESSAGE_EXPIRY))
        n += snprintf(out + n, cap - (size_t)n, " expiry=%u", mqtt_props_number(&p->props, MQTT_PROP_MESSAGE_EXPIRY, 0));
    n += describe_ids(p, out + n, cap - (size_t)n);
    return n + snprintf(out + n, cap - (size_t)n, "\n");
}

static int describe_codes(const char *name, const struct mqtt_codes *codes, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s", name);
    for (size_t i = 0; i < codes->codes.n; i++)
        n += snprintf(out + n, cap - (size_t)n, " 0x%02x", codes->codes.p[i]);
    return n + snprintf(out + n, cap - (size_t)n, "\n");
}

static int describe(const struct kit_client *c, struct mqtt_frame *f, char *out, size_t cap)
{
    static const char *const names[] = { "PUBACK", "PUBREC", "PUBREL", "PUBCOMP" };
    struct mqtt_connack k;
    struct mqtt_ack a;
    struct mqtt_word w;
    struct mqtt_publish p;
    struct mqtt_codes codes;
    f->version = c->v5 ? MQTT_V5 : MQTT_V311;
    f->from_server = true;
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &k) == SL_OK)
        return snprintf(out, cap, "CONNACK %u present=%d\n", k.code, k.session_present);
    if (f->type >= MQTT_PUBACK && f->type <= MQTT_PUBCOMP && mqtt_decode_ack(f, &a) == SL_OK)
        return snprintf(out, cap, "%s %u 0x%02x\n", names[f->type - MQTT_PUBACK], a.packet_id, a.reason);
    if (f->type == MQTT_DISCONNECT && mqtt_decode_disconnect(f, &w) == SL_OK)
        return snprintf(out, cap, "DISCONNECT 0x%02x\n", w.reason);
    if (f->type == MQTT_PUBLISH && mqtt_decode_publish(f, &p) == SL_OK)
        return describe_publish(&p, out, cap);
    if (f->type == MQTT_SUBACK && mqtt_decode_suback(f, &codes) == SL_OK)
        return describe_codes("SUBACK", &codes, out, cap);
    if (f->type == MQTT_UNSUBACK && mqtt_decode_unsuback(f, &codes) == SL_OK)
        return describe_codes("UNSUBACK", &codes, out, cap);
    return snprintf(out, cap, "%s\n", f->type == MQTT_PINGRESP ? "PINGRESP" : "?");
}

static size_t log_mqtt(struct kit_client *c)
{
    struct mqtt_frame f = { 0 };
    size_t n = 0;
    while (sl_buf_len(&c->rx) > 0) {
        assert_int_equal(mqtt_frame_read(sl_buf_view(&c->rx), MQTT_PACKET_MAX, &f), SL_OK);
        n += (size_t)describe(c, &f, c->log + n, sizeof c->log - n);
        sl_buf_consume(&c->rx, f.size);
    }
    return n;
}

const char *kit_log(struct kit_client *c)
{
    size_t n;
    if (c->stomp) {
        struct sl_bytes v = sl_buf_view(&c->rx);
        n = v.n < sizeof c->log - 16 ? v.n : sizeof c->log - 16;
        for (size_t i = 0; i < n; i++)
            c->log[i] = v.p[i] == 0 ? '^' : (char)v.p[i];
        sl_buf_consume(&c->rx, v.n);
    } else {
        n = log_mqtt(c);
    }
    snprintf(c->log + n, sizeof c->log - n, "%s", c->c == NULL ? "closed\n" : "");
    return c->log;
}

/* ---- workers ---- */

static void on_deliver(void *arg, const struct hub_delivery *hd)
{
    struct kit_worker *w = arg;
    assert_true(w->n < KIT_HELD);
    struct sl_bytes p = message_payload(hd->d->msg);
    struct kit_held *d = &w->held[w->n++];
    *d = (struct kit_held){ .lease = hd->d->lease, .id = message_id(hd->d->msg), .msg = message_ref(hd->d->msg), .attempt = hd->d->attempt };
    snprintf(d->payload, sizeof d->payload, "%.*s", (int)p.n, (const char *)p.p);
}

static void on_overdue(void *arg)
{
    (void)arg;
}

struct kit_worker *kit_worker(struct kit *k, uint32_t n, uint32_t queue)
{
    static const struct hub_consumer_ops ops = { on_deliver, on_overdue };
    struct kit_worker *w = &k->workers[n];
    w->k = k;
    w->consumer = hub_consumer_add(k->h, &(struct hub_consumer_config){ .queue = queue, .prefetch = KIT_HELD, .concurrency = KIT_HELD, .name = "worker", .ops = &ops, .arg = w });
    kit_turn(k);
    return w;
}

static void forget(struct kit_worker *w, uint32_t i)
{
    message_unref(w->held[i].msg);
    memmove(&w->held[i], &w->held[i + 1], (w->n - i - 1) * sizeof w->held[0]);
    w->n--;
}

void kit_answer(struct kit_worker *w, uint32_t i, struct hub_answer *a)
{
    assert_true(i < w->n);
    a->lease = w->held[i].lease;
    assert_int_equal(hub_answer(w->k->h, w->consumer, a), SL_OK);
    forget(w, i);
    kit_turn(w->k);
}

void kit_ack(struct kit_worker *w, uint32_t i)
{
    kit_answer(w, i, &(struct hub_answer){ .verb = { .verb = QUEUE_ACK } });
}

void kit_worker_end(struct kit_worker *w)
{
    hub_consumer_lost(w->k->h, w->consumer, &(struct hub_loss){ .charge_none = true });
    w->consumer = 0;
    while (w->n > 0)
        forget(w, 0);
}
