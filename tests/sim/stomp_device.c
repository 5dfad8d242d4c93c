/* Fake STOMP 1.2 clients, as text: SEND with receipts, to topics and to
 * queues, alone and in transactions. */
#include <stdarg.h>

#include "subscribers.h"

static void send_text(struct device *d, const char *text, size_t n)
{
    struct sl_buf out = { 0 };
    if (sl_buf_append(&out, text, n) != SL_OK)
        world_fail(d->w, "%s", "a device cannot write its frame");
    device_send(d, &out);
}

void stomp_connect(struct device *d)
{
    static const char hello[] = "CONNECT\naccept-version:1.2\nhost:sim\n\n";
    d->will = SIM_NO_UID;
    d->connection = ++d->w->n_connections;
    d->client = hub_client_open(d->w->hub, &d->w->stomp, "device", &d->peer);
    send_text(d, hello, sizeof hello); /* with its NUL */
}

/* ---- sending ---- */

void text_put(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    t->n += (size_t)vsnprintf(t->text + t->n, sizeof t->text - t->n, fmt, ap);
    va_end(ap);
    SL_ASSERT(t->n < sizeof t->text);
}

void text_put_uid(struct text *t, const struct world *w, uint32_t uid)
{
    const struct uid *u = &w->uids[uid];
    if (u->topic < SIM_TOPICS)
        text_put(t, "destination:/topic/t.%u\n", u->topic);
    else
        text_put(t, "destination:/queue/q%u\n", u->topic - SIM_TOPICS);
    if (u->priority != MESSAGE_PRIORITY_DEFAULT)
        text_put(t, "priority:%u\n", u->priority);
    if (u->delay_ms != 0)
        text_put(t, "delay:%u\n", u->delay_ms);
    if (u->expiry_ms != 0)
        text_put(t, "expires:%" PRIu64 "\n", u->ends_at);
    if (u->retain)
        text_put(t, "retain:true\n");
    if (u->line != 0)
        text_put(t, "line:%u\n", u->line);
    if (u->again != 0)
        text_put(t, "dedup-id:d%u\n", u->again);
    if (u->job)
        text_put(t, "job-id:j%u\n", uid);
}

void text_put_payload(struct world *w, struct text *t, uint32_t uid)
{
    char payload[512];
    uid_payload(w, uid, payload, sizeof payload);
    text_put(t, "\n%s", w->uids[uid].clear ? "" : payload);
    t->n++; /* its NUL */
}

static void send_uid(struct device *d, uint32_t uid, uint32_t transaction)
{
    struct world *w = d->w;
    struct text t = { "SEND\n", 5 };
    uid_sent(w, uid);
    text_put_uid(&t, w, uid);
    if (transaction != SIM_NO_UID) {
        text_put(&t, "transaction:x%u\n", transaction);
    } else {
        text_put(&t, "receipt:%u\n", uid);
        laws_expect(w, uid);
        d->receipts_owed++;
    }
    text_put_payload(w, &t, uid);
    send_text(d, t.text, t.n);
}

static uint32_t new_uid(const struct device *d)
{
    struct world *w = d->w;
    uint8_t topic = (uint8_t)(chance(w, 30) ? SIM_TOPICS + pick(w, SIM_QUEUES) : uid_topic(w));
    uint32_t uid = uid_new(w, topic, 1);
    w->uids[uid].device = d->number;
    w->uids[uid].connection = d->connection;
    w->uids[uid].sender = SIM_DEVICES + d->connection;
    uid_flavour(w, uid, true);
    return uid;
}

/* Three messages in one transaction; the receipt of COMMIT names the first. */
static void transaction(struct device *d)
{
    struct world *w = d->w;
    char frame[128];
    bool keep = chance(w, 80);
    uint32_t first = w->n_uids;
    int n = snprintf(frame, sizeof frame, "BEGIN\ntransaction:x%u\n\n", first);
    send_text(d, frame, (size_t)n + 1);
    for (int i = 0; i < 3 && d->client != NULL; i++) {
        uint32_t uid = new_uid(d);
        w->uids[uid].cancelled = !keep;
        send_uid(d, uid, first);
    }
    if (d->client == NULL)
        return;
    d->receipts_owed += keep;
    for (uint32_t i = 0; keep && i < 3; i++)
        laws_expect(w, first + i);
    n = snprintf(frame, sizeof frame, keep ? "COMMIT\ntransaction:x%u\nreceipt:c%u\n\n" : "ABORT\ntransaction:x%u\n\n", first, first);
    send_text(d, frame, (size_t)n + 1);
}

void stomp_step(struct device *d)
{
    if (chance(d->w, 20))
        transaction(d);
    else
        send_uid(d, new_uid(d), SIM_NO_UID);
}

/* ---- reading ---- */

static void on_receipt(struct device *d, const char *id)
{
    struct world *w = d->w;
    if (d->receipts_owed == 0)
        world_fail(w, "device %u gets receipt %s that it did not ask for", d->number, id);
    d->receipts_owed--;
    w->counts[SIM_ANSWERS]++;
    uint32_t uid = (uint32_t)strtoul(id[0] == 'c' ? id + 1 : id, NULL, 10);
    uint32_t n = id[0] == 'c' ? 3 : 1;
    for (uint32_t i = 0; i < n; i++)
        laws_on_ack(w, uid + i);
}

bool stomp_read(struct device *d)
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
