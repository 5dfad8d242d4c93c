/* Frames as the STOMP texts have them, written and read without the gateway's codec,
 * and what a MESSAGE has to look like. */
#include <stdio.h>

#include "stomp_model.h"

/* ---- writing ---- */

static void raw(struct sl_buf *b, const void *p, size_t n)
{
    assert_int_equal(sl_buf_append(b, p, n), SL_OK);
}

static void raw_text(struct sl_buf *b, const char *s)
{
    raw(b, s, strlen(s));
}

/* Version 0 is 1.0, which escapes nothing; only 1.2 escapes a carriage return. */
static void escaped(struct sl_buf *b, uint32_t version, struct sl_bytes in)
{
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (version == 0 && c == '\n')
            raw_text(b, " ");
        else if (version > 0 && c == '\n')
            raw_text(b, "\\n");
        else if (version > 0 && c == ':')
            raw_text(b, "\\c");
        else if (version > 0 && c == '\\')
            raw_text(b, "\\\\");
        else if (version > 1 && c == '\r')
            raw_text(b, "\\r");
        else
            raw(b, &c, 1);
    }
}

void frame_begin(struct sl_buf *b, const char *command)
{
    raw_text(b, command);
    raw_text(b, "\n");
}

void frame_put(struct sl_buf *b, uint32_t version, struct sl_bytes name, struct sl_bytes value)
{
    escaped(b, version, name);
    raw_text(b, ":");
    escaped(b, version, value);
    raw_text(b, "\n");
}

void frame_put_text(struct sl_buf *b, uint32_t version, const char *name, const char *value)
{
    frame_put(b, version, sl_str(name), sl_str(value));
}

void frame_end(struct sl_buf *b, struct sl_bytes body)
{
    raw_text(b, "\n");
    if (body.n > 0)
        raw(b, body.p, body.n);
    raw(b, "", 1);
}

/* ---- reading ---- */

static struct sl_bytes line_at(struct sl_bytes in, size_t at)
{
    const uint8_t *lf = at < in.n ? memchr(in.p + at, '\n', in.n - at) : NULL;
    return lf == NULL ? SL_BYTES_NONE : sl_bytes_of(in.p + at, (size_t)(lf - in.p) - at + 1);
}

bool frame_header(const struct frame_view *f, const char *name, struct sl_bytes *value)
{
    size_t n = strlen(name);
    struct sl_bytes line;
    for (size_t at = 0; (line = line_at(f->head, at)).n > 0; at += line.n) {
        if (line.n > n && memcmp(line.p, name, n) == 0 && line.p[n] == ':') {
            *value = sl_bytes_of(line.p + n + 1, line.n - n - 2);
            return true;
        }
    }
    return false;
}

size_t frame_read(struct smodel *m, struct sl_bytes in, struct frame_view *f)
{
    size_t start = 0;
    while (start < in.n && in.p[start] == '\n')
        start++;
    struct sl_bytes line = line_at(in, start);
    if (line.n == 0)
        return 0;
    f->command = sl_bytes_of(line.p, line.n - 1);
    size_t head = start + line.n, at = head;
    while ((line = line_at(in, at)).n > 1)
        at += line.n;
    if (line.n == 0)
        return 0;
    f->head = sl_bytes_of(in.p + head, at - head);
    at++;
    struct sl_bytes v;
    uint64_t n = 0;
    bool sized = frame_header(f, "content-length", &v);
    if (sized && sl_bytes_u64(v, 1u << 20, &n) != SL_OK)
        smodel_fail(m, "content-length is %.*s", (int)v.n, (const char *)v.p);
    const uint8_t *nul = sized ? (at + n < in.n ? in.p + at + n : NULL) : memchr(in.p + at, 0, in.n - at);
    if (nul == NULL)
        return 0;
    if (*nul != 0)
        smodel_fail(m, "no NUL after content-length bytes");
    f->body = sl_bytes_of(in.p + at, (size_t)(nul - in.p) - at);
    return (size_t)(nul - in.p) + 1;
}

/* Each message says which one it is: its body starts with "m7|", or, where that is empty, it has a header. */
uint32_t message_named(struct smodel *m, const struct frame_view *f)
{
    struct sl_bytes v = f->body;
    uint64_t n = 0;
    if (v.n > 0) {
        size_t digits = 0;
        while (1 + digits < v.n && v.p[1 + digits] >= '0' && v.p[1 + digits] <= '9')
            digits++;
        v = sl_bytes_of(v.p + 1, digits);
    } else if (!frame_header(f, "x-m", &v)) {
        smodel_fail(m, "a MESSAGE without body and name");
    }
    if (sl_bytes_u64(v, m->n_msgs - 1, &n) != SL_OK)
        smodel_fail(m, "a MESSAGE that nobody sent: %.*s", (int)f->body.n, (const char *)f->body.p);
    return (uint32_t)n;
}

/* ---- what a MESSAGE has to look like ---- */

static bool reserved(const struct said *s, const struct text *name)
{
    static const char *const names[] = { "subscription", "message-id", "ack", "destination", "content-length", "reply-to", "attempt",
                                         "redelivered", "retain", "receipt", "transaction" };
    for (size_t i = 0; i < SL_COUNT(names); i++) {
        if (sl_bytes_is(text_view(name), names[i]))
            return true;
    }
    return (s->has_type && s->type.n > 0 && sl_bytes_is(text_view(name), "content-type")) ||
           (s->has_correlation && s->correlation.n > 0 && sl_bytes_is(text_view(name), "correlation-id")) ||
           (s->expires_at != 0 && sl_bytes_is(text_view(name), "expires"));
}

/* Where there is no slash, dots would be taken for slashes. */
static struct text topic_shown(const struct text *topic)
{
    struct text t = text_of("/topic/");
    bool single = memchr(topic->p, '/', topic->n) == NULL;
    if (topic->n > 6 && memcmp(topic->p, "$temp/", 6) == 0) {
        t = text_of("/reply-queue/");
        memcpy(t.p + t.n, topic->p + 6, topic->n - 6u);
        t.n = (uint16_t)(t.n + topic->n - 6u);
        return t;
    }
    for (uint32_t i = 0; i < topic->n; i++) {
        if (single && topic->p[i] == '.') {
            memcpy(t.p + t.n, "%2E", 3);
            t.n = (uint16_t)(t.n + 3);
        } else {
            t.p[t.n++] = topic->p[i];
        }
    }
    return t;
}

static struct text destination_shown(const struct said *s)
{
    if (!s->to_queue)
        return topic_shown(&s->topic);
    struct text t = text_of("/queue/");
    memcpy(t.p + t.n, s->topic.p, s->topic.n);
    t.n = (uint16_t)(t.n + s->topic.n);
    return t;
}

static struct text reply_shown(const struct said *s)
{
    bool queue = s->reply.n > 7 && memcmp(s->reply.p, "/queue/", 7) == 0;
    return queue ? s->reply : topic_shown(&s->reply);
}

static void put_number(struct sl_buf *b, const char *name, uint64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    frame_put_text(b, 0, name, text);
}

static void put_own(struct sl_buf *b, const struct smodel *m, const struct shown *s)
{
    const struct consumer *c = s->c;
    uint32_t v = c->conn->version;
    char id[80], ack[48];
    if (c->has_id)
        frame_put(b, v, sl_str("subscription"), text_view(&c->id));
    snprintf(ack, sizeof ack, "%u-%llu", c->number, (unsigned long long)s->delivery);
    snprintf(id, sizeof id, "%016llx%s%s", (unsigned long long)m->msgs[s->msg].id, s->delivery > 0 && v < 2 ? "-" : "", s->delivery > 0 && v < 2 ? ack : "");
    frame_put_text(b, 0, "message-id", id);
    if (s->delivery > 0 && v == 2)
        frame_put_text(b, 0, "ack", ack);
    put_number(b, "attempt", s->attempt);
    frame_put_text(b, 0, "redelivered", s->redelivered ? "true" : "false");
}

/* A correlation of MQTT's is binary, a header is text. */
static bool is_text(const struct text *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->p[i] >= 0xF8)
            return false;
    }
    return t->n > 0;
}

static void put_shared(struct sl_buf *b, const struct said *s, const struct shown *h)
{
    uint32_t v = h->c->conn->version;
    struct text destination = destination_shown(s), reply = reply_shown(s);
    frame_put(b, v, sl_str("destination"), text_view(&destination));
    if (s->has_type && s->type.n > 0)
        frame_put(b, v, sl_str("content-type"), text_view(&s->type));
    put_number(b, "content-length", s->n_body);
    if (s->has_correlation && is_text(&s->correlation))
        frame_put(b, v, sl_str("correlation-id"), text_view(&s->correlation));
    if (s->has_reply && s->reply.n > 0)
        frame_put(b, v, sl_str("reply-to"), text_view(&reply));
    if (s->expires_at != 0)
        put_number(b, "expires", s->expires_at);
    if (h->retain)
        frame_put_text(b, 0, "retain", "true");
    for (uint32_t i = 0; i < s->n_headers; i++) {
        const struct pair *p = &s->headers[i];
        bool sayable = p->name.n > 0 && (v > 0 || memchr(p->name.p, ':', p->name.n) == NULL);
        if (sayable && !reserved(s, &p->name))
            frame_put(b, v, text_view(&p->name), text_view(&p->value));
    }
}

/* ---- ids ---- */

static uint64_t id_in(struct smodel *m, struct sl_bytes head)
{
    struct frame_view f = { .head = head };
    struct sl_bytes v;
    uint64_t id = 0;
    bool ok = frame_header(&f, "message-id", &v) && v.n >= 16;
    for (uint32_t i = 0; ok && i < 16; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, v.p[i]);
        ok = at != NULL && *at != '\0';
        id = id << 4 | (ok ? (uint64_t)(at - digits) : 0);
    }
    if (!ok || id == 0)
        smodel_fail(m, "a MESSAGE without message-id:\n%.*s", (int)head.n, (const char *)head.p);
    return id;
}

/* One message has one id, which is that of no other, and a later message's is larger. */
static void learn_id(struct smodel *m, uint32_t msg, uint64_t id)
{
    struct said *s = &m->msgs[msg];
    if (s->id == 0) {
        for (uint32_t i = 0; i < m->n_msgs; i++) {
            const struct said *o = &m->msgs[i];
            if (o->id != 0 && (o->order < s->order) != (o->id < id))
                smodel_fail(m, "m%u has id %016llx, m%u has %016llx", msg, (unsigned long long)id, i, (unsigned long long)o->id);
        }
        s->id = id;
    }
    if (s->id != id)
        smodel_fail(m, "m%u had id %016llx and has %016llx", msg, (unsigned long long)s->id, (unsigned long long)id);
}

/* The key of a reply destination is known once somebody was told it. */
void smodel_learn_key(struct smodel *m, struct said *s, struct sl_bytes shown, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->reply_gen == 0)
        return;
    char *key = m->keys[s->reply_gen - 1].text;
    if (shown.n < n + 17 || memcmp(shown.p, prefix, n) != 0)
        smodel_fail(m, "reply-to is %.*s", (int)shown.n, (const char *)shown.p);
    if (key[0] == '\0') {
        memcpy(key, shown.p + n, 16);
        for (uint32_t g = 0; g < m->n_keys; g++) {
            if (g != s->reply_gen - 1 && memcmp(m->keys[g].text, key, 16) == 0)
                smodel_fail(m, "two connections have the key %s", key);
        }
    }
    memcpy(s->reply.p + 6, key, 16);
}

void message_check(struct smodel *m, const struct shown *s, struct sl_bytes head, struct sl_bytes body)
{
    struct said *said = &m->msgs[s->msg];
    struct sl_buf want = { 0 };
    struct frame_view f = { .head = head };
    struct sl_bytes reply = SL_BYTES_NONE;
    learn_id(m, s->msg, id_in(m, head));
    if (said->reply_gen != 0 && frame_header(&f, "reply-to", &reply))
        smodel_learn_key(m, said, reply, "/reply-queue/");
    put_own(&want, m, s);
    put_shared(&want, said, s);
    if (!sl_bytes_eq(head, sl_buf_view(&want)))
        smodel_fail(m, "c%u/%u: m%u has these headers:\n%.*sand should have:\n%.*s", s->c->conn->number, s->c->number, s->msg, (int)head.n, (const char *)head.p,
                    (int)sl_buf_len(&want), (const char *)want.p);
    sl_buf_fini(&want);
    if (!sl_bytes_eq(body, sl_bytes_of(said->body, said->n_body)))
        smodel_fail(m, "c%u/%u: m%u has another body", s->c->conn->number, s->c->number, s->msg);
}
