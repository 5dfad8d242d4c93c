/* Wills: kept with the session that they were given to, as a message record
 * without an identity. One is published when the connection has ended without
 * a goodbye and its delay has passed or the session has ended, whichever comes
 * first [MQTT-3.1.2-8]; a connection that resumes the session in time takes it
 * back [MQTT-3.1.3-9], an orderly goodbye deletes it [MQTT-3.1.2-10].
 *
 *   CONNECT ──▶ kept ──connection lost──▶ delayed ──time, end of session──▶ published
 *                │ DISCONNECT 0x00           │ resumed
 *                └───────────▶ gone ◀────────┘
 *
 * A persistent session's will is stored with it (decision 42). */
#include "core/utf8.h"
#include "results.h"

#define WILLS_SHARE 8u /* of limits.memory all wills may fill: they may wait for years */

struct will {
    struct sl_timer timer; /* armed while its delay runs */
    struct session *session;
    struct message *m;
    uint64_t expiry_ms; /* from when it is published */
    uint32_t delay_s;
    bool has_expiry;
    bool stored;
};

static struct message *build(const struct hub_client *c, const struct proto_connect *p)
{
    return message_new(&(struct message_parts){
        .protocol = (enum message_protocol)c->protocol,
        .qos = p->will_qos,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = (uint8_t)((p->will_retain ? MESSAGE_RETAIN : 0) | p->will_form),
        .topic = p->will_topic,
        .client_id = c->session->client_id,
        .user = client_user(c),
        .content_type = p->will_content_type,
        .correlation = p->will_correlation,
        .reply_to = p->will_reply_to,
        .headers = p->will_headers,
        .n_headers = p->n_will_headers,
        .payload = p->will_payload,
    });
}

static void record_will(struct hub *h, struct will *w)
{
    struct batch_op *op = record(h, BATCH_WILL);
    op->id = w->session->number;
    op->note = batch_will_encode(&(struct batch_will){ w->has_expiry, w->delay_s, w->expiry_ms, message_record(w->m) });
    w->stored = true;
}

/* Takes the message. */
static struct will *will_new(struct hub *h, struct session *s, struct message *m)
{
    struct will *w = SL_NEW(struct will);
    w->session = s;
    w->m = m;
    s->will = w;
    h->will_bytes += message_bytes(m);
    return w;
}

bool will_fits(const struct hub *h, const struct proto_connect *p)
{
    return !p->has_will || h->will_bytes + p->will_payload.n <= h->cfg.memory_bytes / WILLS_SHARE;
}

void will_keep(struct hub_client *c, const struct proto_connect *p)
{
    SL_ASSERT(c->session->will == NULL);
    struct will *w = will_new(c->h, c->session, build(c, p));
    w->expiry_ms = p->will_expiry_ms;
    w->delay_s = p->will_delay_s;
    w->has_expiry = p->will_has_expiry;
    if (c->session->persistent)
        record_will(c->h, w);
}

static void will_free(struct hub *h, struct will *w)
{
    sl_timer_clear(&h->will_timers, &w->timer);
    w->session->will = NULL;
    h->will_bytes -= message_bytes(w->m);
    message_unref(w->m);
    sl_free(w);
}

void will_forget(struct hub *h, struct session *s)
{
    struct will *w = s->will;
    if (w == NULL)
        return;
    if (w->stored && s->persistent) /* else the session's own drop took it along */
        record(h, BATCH_WILL_DROP)->id = s->number;
    will_free(h, w);
}

/* The record's headers as the array that a publish is built from. */
static struct message_header *headers_of(struct sl_bytes record, size_t n)
{
    struct message_header *all = sl_calloc(n, sizeof *all);
    size_t pos = 0, i = 0;
    while (i < n && message_header_next(record, &pos, &all[i]))
        i++;
    return all;
}

static int publish(struct hub *h, const struct will *w)
{
    struct message_parts parts;
    struct sl_bytes record = message_record(w->m);
    message_view(record, &parts);
    struct message_header *headers = headers_of(record, parts.n_headers);
    parts.headers = headers;
    if (w->has_expiry) {
        parts.expires_at = h->now.steady_ms + w->expiry_ms;
        parts.flags = (uint8_t)(parts.flags | MESSAGE_EXPIRES_RELATIVE);
    }
    int err = publish_parts(h, &parts, false);
    sl_free(headers);
    return err;
}

/* That nobody listens is no fault of the will's; over a limit it is dropped
 * and counted (decision 30). The drop of its record is in the batch of the
 * message that it became. */
static void will_publish(struct hub *h, struct session *s)
{
    char id[64];
    int err = publish(h, s->will);
    if (err == SL_OK || err == SL_ENOENT)
        h->counters.wills_published++;
    else
        h->counters.wills_dropped++;
    sl_log(SL_DEBUG, "will_published", "client=%s result=%s", sl_escape(s->client_id, id, sizeof id), sl_err_name(err));
    will_forget(h, s);
}

void will_left(struct hub *h, struct session *s)
{
    struct will *w = s->will;
    if (w == NULL)
        return;
    if (w->delay_s == 0)
        will_publish(h, s);
    else
        sl_timer_set(&h->will_timers, &w->timer, h->now.mono_ms + (uint64_t)w->delay_s * 1000);
}

/* Without a delay it was due when the older connection was closed, which the
 * new one may be the cause of (section 3.1.4). */
void will_resumed(struct hub *h, struct session *s)
{
    if (s->will != NULL && s->will->delay_s == 0)
        will_publish(h, s);
    else
        will_forget(h, s);
}

void will_end(struct hub *h, struct session *s)
{
    if (s->will != NULL)
        will_publish(h, s);
}

/* A gateway that stops leaves them to the next start: they are stored. */
void wills_tick(struct hub *h)
{
    struct sl_timer *t;
    while (!h->draining && (t = sl_timers_pop_due(&h->will_timers, h->now.mono_ms)) != NULL)
        will_publish(h, SL_CONTAINER(t, struct will, timer)->session);
}

uint64_t wills_deadline_ms(const struct hub *h)
{
    return h->draining ? UINT64_MAX : sl_timers_next(&h->will_timers);
}

void wills_free(struct hub *h)
{
    struct session *s;
    size_t pos = 0;
    while ((s = sessions_next(h->sessions, &pos)) != NULL) {
        if (s->will != NULL)
            will_free(h, s->will);
    }
    sl_timers_fini(&h->will_timers);
}

/* Its connection is gone with the process: the delay starts anew. */
int hub_restore_will(struct hub *h, uint64_t session, struct sl_bytes record_bytes)
{
    struct session *s = sl_idmap_get(&h->session_numbers, session);
    struct batch_will b;
    struct message *m;
    if (s == NULL || s->will != NULL || batch_will_decode(record_bytes, &b) != SL_OK || message_from_record(b.message, &m) != SL_OK)
        return SL_EFORMAT;
    struct will *w = will_new(h, s, m);
    w->expiry_ms = b.expiry_ms;
    w->delay_s = b.delay_s;
    w->has_expiry = b.has_expiry;
    w->stored = true;
    sl_timer_set(&h->will_timers, &w->timer, h->now.mono_ms + (uint64_t)w->delay_s * 1000);
    return SL_OK;
}
