/* Fake devices: MQTT 3.1.1 and 5 over the real codec, STOMP 1.2 as text. They
 * send again what was not answered, as the standards ask, and break off at any
 * moment. */
#include "mqtt/packet.h"
#include "sim.h"

/* ---- uids and their payloads ---- */

uint32_t uid_of(struct sl_bytes payload)
{
    uint64_t v;
    if (payload.n < 2 || payload.p[0] != 'u' || sl_bytes_u64(sl_bytes_of(payload.p + 1, 8), UINT32_MAX, &v) != SL_OK)
        return UINT32_MAX;
    return (uint32_t)v;
}

uint32_t uid_new(struct world *w, uint8_t topic, uint8_t qos)
{
    if (w->n_uids == w->cap_uids) {
        w->cap_uids = w->cap_uids == 0 ? 256 : w->cap_uids * 2;
        w->uids = sl_realloc(w->uids, w->cap_uids * sizeof *w->uids);
    }
    w->uids[w->n_uids] = (struct uid){ .topic = topic, .qos = qos };
    return w->n_uids++;
}

uint8_t uid_queues(const struct world *w, const struct uid *u)
{
    return (uint8_t)(u->topic < SIM_TOPICS ? w->topic_queues[u->topic] : 1u << (u->topic - SIM_TOPICS));
}

static void payload_of(struct world *w, uint32_t uid, char *out, size_t cap)
{
    size_t pad = pick(w, 3) == 0 ? pick(w, 300) : 0;
    int n = snprintf(out, cap, "u%08u", uid);
    memset(out + n, '.', pad);
    out[(size_t)n + pad] = '\0';
}

/* ---- sending ---- */

static void send_bytes(struct device *d, struct sl_buf *out)
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

static void send_publish(struct device *d, const struct inflight *in, bool dup)
{
    struct world *w = d->w;
    struct sl_buf out = { 0 };
    char payload[512], topic[32];
    payload_of(w, in->uid, payload, sizeof payload);
    snprintf(topic, sizeof topic, "t/%u", w->uids[in->uid].topic);
    struct mqtt_publish p = {
        .dup = dup, .qos = in->qos, .packet_id = in->packet_id, .topic = sl_str(topic), .payload = sl_str(payload),
    };
    mqtt_props_init(&p.props);
    must(w, mqtt_encode_publish(&out, d->v5 ? MQTT_V5 : MQTT_V311, &p));
    send_bytes(d, &out);
}

static void send_pubrel(struct device *d, uint16_t packet_id)
{
    struct sl_buf out = { 0 };
    struct mqtt_ack a = { .type = MQTT_PUBREL, .packet_id = packet_id };
    mqtt_props_init(&a.props);
    must(d->w, mqtt_encode_ack(&out, d->v5 ? MQTT_V5 : MQTT_V311, &a));
    send_bytes(d, &out);
}

static void send_text(struct device *d, const char *text, size_t n)
{
    struct sl_buf out = { 0 };
    must(d->w, sl_buf_append(&out, text, n));
    send_bytes(d, &out);
}

static void connect_mqtt(struct device *d)
{
    struct world *w = d->w;
    struct sl_buf out = { 0 };
    char id[16];
    snprintf(id, sizeof id, "dev%u", d->number);
    struct mqtt_connect c = {
        .version = d->v5 ? MQTT_V5 : MQTT_V311, .clean_start = !d->persistent, .keep_alive_s = 0, .client_id = sl_str(id),
    };
    mqtt_props_init(&c.props);
    if (d->v5 && d->persistent)
        mqtt_props_set_number(&c.props, MQTT_PROP_SESSION_EXPIRY, UINT32_MAX);
    d->client = hub_client_open(w->hub, &w->mqtt, "device", d);
    must(w, mqtt_encode_connect(&out, &c));
    send_bytes(d, &out);
}

static void connect_stomp(struct device *d)
{
    static const char hello[] = "CONNECT\naccept-version:1.2\nhost:sim\n\n";
    d->client = hub_client_open(d->w->hub, &d->w->stomp, "device", d);
    send_text(d, hello, sizeof hello); /* with its NUL */
}

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
    uint32_t uid = uid_new(w, (uint8_t)pick(w, SIM_TOPICS), qos);
    struct inflight now = { IN_PUBLISHED, uid, qos > 0 ? next_id(d) : 0, qos };
    w->uids[uid].exactly_once = qos == 2 && d->persistent;
    if (qos > 0)
        *in = now;
    send_publish(d, &now, false);
}

static void stomp_send(struct device *d, const char *transaction, uint32_t uid)
{
    struct world *w = d->w;
    const struct uid *u = &w->uids[uid];
    char payload[512], frame[1024], destination[64];
    payload_of(w, uid, payload, sizeof payload);
    if (u->topic < SIM_TOPICS)
        snprintf(destination, sizeof destination, "/topic/t.%u", u->topic);
    else
        snprintf(destination, sizeof destination, "/queue/q%u", u->topic - SIM_TOPICS);
    int n = snprintf(frame, sizeof frame, "SEND\ndestination:%s\n", destination);
    if (transaction != NULL)
        n += snprintf(frame + n, sizeof frame - (size_t)n, "transaction:%s\n\n%s", transaction, payload);
    else
        n += snprintf(frame + n, sizeof frame - (size_t)n, "receipt:%u\n\n%s", uid, payload);
    send_text(d, frame, (size_t)n + 1);
}

/* Three messages in one transaction; the receipt of COMMIT names the first. */
static void stomp_transaction(struct device *d)
{
    struct world *w = d->w;
    char frame[128];
    bool keep = chance(w, 80);
    uint32_t first = w->n_uids;
    int n = snprintf(frame, sizeof frame, "BEGIN\ntransaction:x%u\n\n", first);
    send_text(d, frame, (size_t)n + 1);
    snprintf(frame, sizeof frame, "x%u", first);
    for (int i = 0; i < 3 && d->client != NULL; i++)
        stomp_send(d, frame, uid_new(w, (uint8_t)pick(w, SIM_TOPICS), 1));
    if (d->client == NULL)
        return;
    n = snprintf(frame, sizeof frame, keep ? "COMMIT\ntransaction:x%u\nreceipt:c%u\n\n" : "ABORT\ntransaction:x%u\n\n", first, first);
    send_text(d, frame, (size_t)n + 1);
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
        send_pubrel(d, in->packet_id);
    } else {
        in->state = IN_FREE;
    }
}

static void on_greeted(struct device *d, bool session_present)
{
    d->greeted = true;
    for (uint32_t i = 0; i < SIM_INFLIGHT; i++) {
        struct inflight *in = &d->in[i];
        if (!d->persistent || !session_present)
            in->state = in->state == IN_FREE || !d->persistent ? IN_FREE : in->state;
        if (in->state == IN_PUBLISHED && d->client != NULL)
            send_publish(d, in, true);
        else if (in->state == IN_RELEASED && d->client != NULL)
            send_pubrel(d, in->packet_id);
    }
}

static void on_packet(struct device *d, struct mqtt_frame *f)
{
    struct mqtt_connack c;
    struct mqtt_ack a;
    f->version = d->v5 ? MQTT_V5 : MQTT_V311;
    f->from_server = true;
    if (f->type == MQTT_CONNACK && mqtt_decode_connack(f, &c) == SL_OK)
        on_greeted(d, c.session_present);
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

static void on_receipt(struct device *d, const char *id)
{
    struct world *w = d->w;
    w->counts[SIM_ANSWERS]++;
    uint32_t uid = (uint32_t)strtoul(id[0] == 'c' ? id + 1 : id, NULL, 10);
    uint32_t n = id[0] == 'c' ? 3 : 1;
    for (uint32_t i = 0; i < n; i++)
        laws_on_ack(w, uid + i);
}

static bool read_stomp(struct device *d)
{
    struct sl_bytes v = sl_buf_view(&d->rx);
    size_t skip = 0;
    while (skip < v.n && v.p[skip] == '\n')
        skip++;
    const uint8_t *end = v.n > skip ? memchr(v.p + skip, 0, v.n - skip) : NULL;
    if (end == NULL)
        return false;
    char frame[1024];
    size_t n = (size_t)(end - (v.p + skip));
    if (n >= sizeof frame)
        n = sizeof frame - 1;
    memcpy(frame, v.p + skip, n);
    frame[n] = '\0';
    sl_buf_consume(&d->rx, (size_t)(end - v.p) + 1);
    const char *receipt = strstr(frame, "\nreceipt-id:");
    if (strncmp(frame, "CONNECTED\n", 10) == 0)
        d->greeted = true;
    else if (strncmp(frame, "RECEIPT\n", 8) == 0 && receipt != NULL)
        on_receipt(d, receipt + 12);
    else if (strncmp(frame, "ERROR\n", 6) != 0)
        world_fail(d->w, "device %u cannot read frame %s", d->number, frame);
    return d->client != NULL;
}

void device_read(struct device *d)
{
    struct sl_buf *out = hub_client_output(d->client);
    bool closing = hub_client_closing(d->client);
    must(d->w, sl_buf_append_bytes(&d->rx, sl_buf_view(out)));
    sl_buf_consume(out, sl_buf_len(out));
    bool more = true;
    while (more)
        more = d->stomp ? read_stomp(d) : read_mqtt(d);
    if (d->client != NULL && (closing || hub_client_closing(d->client)))
        device_lost(d);
}

void device_lost(struct device *d)
{
    struct hub_client *c = d->client;
    d->client = NULL;
    d->greeted = false;
    sl_buf_fini(&d->rx);
    hub_client_closed(c);
}

void device_step(struct world *w, struct device *d)
{
    if (d->client == NULL) {
        if (d->stomp)
            connect_stomp(d);
        else
            connect_mqtt(d);
        return;
    }
    if (!d->greeted)
        return;
    uint32_t r = pick(w, 100);
    if (r < 3) {
        device_lost(d);
    } else if (d->stomp && r < 20) {
        stomp_transaction(d);
    } else if (d->stomp) {
        bool direct = chance(w, 30);
        uint8_t topic = (uint8_t)(direct ? SIM_TOPICS + pick(w, SIM_QUEUES) : pick(w, SIM_TOPICS));
        stomp_send(d, NULL, uid_new(w, topic, 1));
    } else {
        for (uint32_t n = 1 + pick(w, 4); n > 0 && d->client != NULL; n--)
            publish_mqtt(d);
    }
}
