/* $SYS: what Mosquitto's users watch, under the names that they know. One row
 * of the table is one topic. A value is made when somebody listens to it: at
 * once for a new subscription, then at each interval when it has changed.
 *
 * Loads are averages per minute that fade with the time they are named by, as
 * a system's load averages do. They are kept up whether somebody listens or
 * not: that is all that $SYS costs then. */
#include <inttypes.h>
#include <math.h>

#include "hub_internal.h"

#define SYS(name) "$SYS/broker/" name
#define VALUE_MAX HUB_READINESS_TEXT
#define FIRST_MAX 8192u /* values for new subscriptions in one turn; who comes later is told at the next interval */

typedef uint64_t sys_value(const struct hub *h);

/* ---- values ---- */

#define COUNTER(name)                                                                              \
    static uint64_t name(const struct hub *h)                                                      \
    {                                                                                              \
        return h->counters.name;                                                                   \
    }
COUNTER(publishes_received)
COUNTER(publish_bytes_received)
COUNTER(deliveries_sent)
COUNTER(delivered_bytes)
COUNTER(bytes_read)
COUNTER(bytes_written)
COUNTER(connections_opened)
COUNTER(connects_received)
COUNTER(sessions_timed_out)

/* MQTT's control packets, but for pings. */
static uint64_t messages_received(const struct hub *h)
{
    return h->counters.publishes_received + h->counters.control_received;
}

static uint64_t messages_sent(const struct hub *h)
{
    return h->counters.publishes_answered + h->counters.deliveries_sent + h->counters.control_sent;
}

static uint64_t deliveries_dropped(const struct hub *h)
{
    const struct gateway_counters *c = &h->counters;
    return c->deliveries_dropped_qos0 + c->deliveries_dropped_full + c->deliveries_dropped_memory + c->deliveries_dropped_expired + c->deliveries_too_large;
}

static uint64_t connected(const struct hub *h)
{
    return h->n_connected;
}

static uint64_t disconnected(const struct hub *h)
{
    return sessions_count(h->sessions) - sessions_held(h->sessions);
}

static uint64_t clients(const struct hub *h)
{
    return connected(h) + disconnected(h);
}

static uint64_t most_connected(const struct hub *h)
{
    return h->most_connected;
}

static uint64_t subscriptions_now(const struct hub *h)
{
    return subscriptions_count(h->subscriptions);
}

static uint64_t shared_subscriptions_now(const struct hub *h)
{
    return subscriptions_shared_count(h->subscriptions);
}

static uint64_t retained_now(const struct hub *h)
{
    return retained_count(h->retained);
}

static uint64_t held_bytes(const struct hub *h)
{
    return hub_memory_bytes(h) + retained_bytes(h->retained);
}

static void add_queues(const struct hub *h, uint64_t *messages, uint64_t *bytes)
{
    for (uint32_t i = 0; i < h->n_queues; i++) {
        struct queue_depth d;
        queue_depth(h->queues[i].q, &d);
        for (uint32_t state = 0; state < SL_COUNT(d.count); state++)
            *messages += d.count[state];
        *bytes += d.bytes;
    }
}

static uint64_t stored_messages(const struct hub *h)
{
    uint64_t messages = retained_count(h->retained), bytes = 0;
    add_queues(h, &messages, &bytes);
    return messages;
}

static uint64_t stored_bytes(const struct hub *h)
{
    uint64_t messages = 0, bytes = retained_bytes(h->retained);
    add_queues(h, &messages, &bytes);
    return bytes;
}

/* ---- the table ---- */

/* What is averaged. */
enum load { MESSAGES_IN, MESSAGES_OUT, PUBLISHES_IN, PUBLISHES_OUT, DROPPED, BYTES_IN, BYTES_OUT, SOCKETS, CONNECTIONS, N_LOADS };
static sys_value *const loads[N_LOADS] = {
    [MESSAGES_IN] = messages_received,   [MESSAGES_OUT] = messages_sent, [PUBLISHES_IN] = publishes_received,
    [PUBLISHES_OUT] = deliveries_sent,   [DROPPED] = deliveries_dropped, [BYTES_IN] = bytes_read,
    [BYTES_OUT] = bytes_written,         [SOCKETS] = connections_opened, [CONNECTIONS] = connects_received,
};
static const double spans_s[] = { 60, 300, 900 };
#define N_SPANS SL_COUNT(spans_s)

enum kind { NUMBER, LOAD, UPTIME, VERSION, READINESS };

struct row {
    const char *topic;
    enum kind kind;
    sys_value *value;  /* NUMBER */
    uint8_t load, span; /* LOAD */
};

#define NUMBER_ROW(name, fn)   { SYS(name), NUMBER, fn, 0, 0 }
#define LOAD_ROWS(name, which) \
    { SYS("load/" name "/1min"), LOAD, NULL, which, 0 }, { SYS("load/" name "/5min"), LOAD, NULL, which, 1 }, { SYS("load/" name "/15min"), LOAD, NULL, which, 2 }

static const struct row rows[] = {
    { SYS("version"), VERSION, NULL, 0, 0 },
    { SYS("uptime"), UPTIME, NULL, 0, 0 },
    { SYS("readiness"), READINESS, NULL, 0, 0 }, /* sluice's own */
    NUMBER_ROW("clients/total", clients),
    NUMBER_ROW("clients/connected", connected),
    NUMBER_ROW("clients/active", connected),
    NUMBER_ROW("clients/disconnected", disconnected),
    NUMBER_ROW("clients/inactive", disconnected),
    NUMBER_ROW("clients/maximum", most_connected),
    NUMBER_ROW("clients/expired", sessions_timed_out),
    NUMBER_ROW("messages/received", messages_received),
    NUMBER_ROW("messages/sent", messages_sent),
    NUMBER_ROW("messages/stored", stored_messages),
    NUMBER_ROW("store/messages/count", stored_messages),
    NUMBER_ROW("store/messages/bytes", stored_bytes),
    NUMBER_ROW("retained messages/count", retained_now),
    NUMBER_ROW("subscriptions/count", subscriptions_now),
    NUMBER_ROW("shared_subscriptions/count", shared_subscriptions_now),
    NUMBER_ROW("publish/messages/received", publishes_received),
    NUMBER_ROW("publish/messages/sent", deliveries_sent),
    NUMBER_ROW("publish/messages/dropped", deliveries_dropped),
    NUMBER_ROW("publish/bytes/received", publish_bytes_received),
    NUMBER_ROW("publish/bytes/sent", delivered_bytes),
    NUMBER_ROW("bytes/received", bytes_read),
    NUMBER_ROW("bytes/sent", bytes_written),
    NUMBER_ROW("heap/current", held_bytes),
    LOAD_ROWS("messages/received", MESSAGES_IN),
    LOAD_ROWS("messages/sent", MESSAGES_OUT),
    LOAD_ROWS("publish/received", PUBLISHES_IN),
    LOAD_ROWS("publish/sent", PUBLISHES_OUT),
    LOAD_ROWS("publish/dropped", DROPPED),
    LOAD_ROWS("bytes/received", BYTES_IN),
    LOAD_ROWS("bytes/sent", BYTES_OUT),
    LOAD_ROWS("sockets", SOCKETS),
    LOAD_ROWS("connections", CONNECTIONS),
};

struct sys {
    uint64_t started_ms, last_ms, next_ms; /* monotonic; 0: before the first turn */
    uint64_t last[N_LOADS];
    double load[N_LOADS][N_SPANS];
    uint32_t first_left;
    char told[SL_COUNT(rows)][VALUE_MAX]; /* what those who listen know; empty: nobody did */
};

struct sys *sys_new(void)
{
    return SL_NEW(struct sys);
}

void sys_free(struct sys *s)
{
    sl_free(s);
}

static void print(const struct hub *h, const struct row *r, char out[VALUE_MAX])
{
    const struct sys *s = h->sys;
    switch (r->kind) {
    case NUMBER:
        snprintf(out, VALUE_MAX, "%" PRIu64, r->value(h));
        break;
    case LOAD:
        snprintf(out, VALUE_MAX, "%.2f", s->load[r->load][r->span]);
        break;
    case UPTIME:
        snprintf(out, VALUE_MAX, "%" PRIu64 " seconds", (h->now.mono_ms - s->started_ms) / 1000);
        break;
    case VERSION:
        snprintf(out, VALUE_MAX, "sluice version %s", h->cfg.version);
        break;
    case READINESS:
        (void)hub_readiness_text(&h->readiness.now, out);
        break;
    }
}

static struct message *build(struct hub *h, const struct row *r, const char *value)
{
    return message_new(&(struct message_parts){
        .id = ++h->next_id,
        .protocol = MESSAGE_MQTT5,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = MESSAGE_RETAIN | MESSAGE_PAYLOAD_UTF8,
        .accepted_at = h->now.wall_ms,
        .topic = sl_str(r->topic),
        .payload = sl_str(value),
    });
}

/* ---- each interval ---- */

static void update_loads(struct hub *h)
{
    struct sys *s = h->sys;
    double seconds = (double)(h->now.mono_ms - s->last_ms) / 1000;
    for (size_t i = 0; i < N_LOADS && seconds > 0; i++) {
        uint64_t now = loads[i](h);
        double per_minute = (double)(now - s->last[i]) * 60 / seconds;
        s->last[i] = now;
        for (size_t k = 0; k < N_SPANS; k++)
            s->load[i][k] = per_minute + exp(-seconds / spans_s[k]) * (s->load[i][k] - per_minute);
    }
    s->last_ms = h->now.mono_ms;
}

static void tell(struct hub *h, size_t i)
{
    char value[VALUE_MAX];
    char *told = h->sys->told[i];
    if (!has_audience(h, sl_str(rows[i].topic))) {
        *told = '\0';
        return;
    }
    print(h, &rows[i], value);
    if (strcmp(value, told) == 0)
        return;
    snprintf(told, VALUE_MAX, "%s", value);
    struct message *m = build(h, &rows[i], value);
    (void)fan_out(h, m);
    message_unref(m);
}

void sys_tick(struct hub *h)
{
    struct sys *s = h->sys;
    if (s == NULL)
        return;
    s->first_left = FIRST_MAX;
    if (h->now.mono_ms < s->next_ms)
        return;
    if (s->started_ms == 0)
        s->started_ms = s->last_ms = h->now.mono_ms;
    s->next_ms = h->now.mono_ms + h->cfg.sys_interval_ms;
    update_loads(h);
    for (size_t i = 0; i < SL_COUNT(rows); i++)
        tell(h, i);
}

uint64_t sys_deadline_us(const struct hub *h)
{
    return h->sys == NULL ? UINT64_MAX : h->sys->next_ms * 1000;
}

/* ---- a new subscription ---- */

static void send_row(struct hub *h, struct session *s, size_t i, uint32_t subscription_id)
{
    char value[VALUE_MAX];
    char *told = h->sys->told[i];
    h->sys->first_left--;
    print(h, &rows[i], value);
    if (*told == '\0') /* others may wait for the change from an earlier one */
        snprintf(told, VALUE_MAX, "%s", value);
    struct outbox_item it = { .msg = build(h, &rows[i], value), .retain = true, .ids = &subscription_id, .n_ids = subscription_id != 0 };
    (void)session_offer(h, s, &it, BODY_LOOSE);
    message_unref(it.msg);
}

void sys_send(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t subscription_id)
{
    if (h->sys == NULL || f->filter.p[0] != '$')
        return;
    if (h->sys->first_left < SL_COUNT(rows)) { /* one packet may ask a hundred thousand times */
        memset(h->sys->told, 0, sizeof h->sys->told);
        return;
    }
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        if (subscription_takes(f->filter, sl_str(rows[i].topic)))
            send_row(h, s, i, subscription_id);
    }
}
