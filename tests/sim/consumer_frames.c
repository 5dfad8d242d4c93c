/* The bytes of STOMP consumers: frames to the gateway, in pieces and several at
 * once; frames from it, which count for the laws when they are in its output, and
 * for the client when it has read them. */
#include "consumers.h"

/* ---- to the gateway ---- */

enum sent consumer_send(struct consumer *c, struct text *t)
{
    size_t at = 0;
    world_trace(c->w, "consumer %u: %.*s", c->number, (int)strcspn(t->text, "\n"), t->text);
    if (hub_client_closing(c->client)) {
        consumer_lost(c); /* an ERROR is on its way: nobody reads this */
        return SENT_NOT;
    }
    while (at < t->n && c->client != NULL && hub_client_reading(c->client)) {
        size_t n = chance(c->w, 80) ? t->n - at : 1 + pick(c->w, (uint32_t)(t->n - at));
        hub_client_feed(c->client, sl_bytes_of(t->text + at, n));
        at += n;
    }
    if (at < t->n) {
        consumer_lost(c);
        return SENT_NOT;
    }
    return hub_client_reading(c->client) ? SENT_TAKEN : SENT_HELD;
}

/* Those at the front that nobody waits for are forgotten. */
static void make_place(struct consumer *c)
{
    if (c->n_owed < SIM_RECEIPTS)
        return;
    if (c->owed[0].wanted)
        world_fail(c->w, "consumer %u waits for %u receipts", c->number, c->n_owed);
    memmove(&c->owed[0], &c->owed[1], --c->n_owed * sizeof c->owed[0]);
}

struct receipt *consumer_ask(struct consumer *c, struct text *t, enum receipt_of kind, uint32_t what)
{
    bool wanted = chance(c->w, kind == OF_NOTHING ? 20 : 75);
    if (!wanted && kind == OF_NOTHING)
        return NULL;
    make_place(c);
    struct receipt *r = &c->owed[c->n_owed++];
    *r = (struct receipt){ .wanted = wanted, .kind = kind, .number = ++c->names, .what = what, .answers = c->n_answers };
    if (wanted)
        text_put(t, "receipt:r:%u\n", r->number);
    return r;
}

/* ---- a frame from it ---- */

struct seen {
    char text[2560]; /* command and headers, and the body behind its own NUL */
    const char *body;
    size_t end;      /* in the stream */
};

/* The value of a header, as it stands on the line; false: there is none. */
static bool header(const struct seen *f, const char *name, char *out, size_t cap)
{
    size_t n = strlen(name);
    for (const char *line = strchr(f->text, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        if (strncmp(line + 1, name, n) != 0 || line[1 + n] != ':')
            continue;
        snprintf(out, cap, "%.*s", (int)strcspn(line + 2 + n, "\n"), line + 2 + n);
        return true;
    }
    out[0] = '\0';
    return false;
}

static uint64_t number_of(const struct seen *f, const char *name, int base)
{
    char value[64];
    return header(f, name, value, sizeof value) ? strtoull(value, NULL, base) : 0;
}

/* In 1.1 and 1.2 a colon is escaped, in 1.0 nothing is. */
static uint32_t receipt_id(const struct consumer *c, const struct seen *f)
{
    char value[64];
    const char *prefix = c->version == 10 ? "r:" : "r\\c";
    if (!header(f, "receipt-id", value, sizeof value))
        return 0;
    if (strncmp(value, prefix, strlen(prefix)) != 0)
        world_fail(c->w, "consumer %u gets the receipt %s, which it did not ask for", c->number, value);
    return (uint32_t)strtoul(value + strlen(prefix), NULL, 10);
}

/* ---- MESSAGE ---- */

static struct consumption *subscription_of(struct consumer *c, const struct seen *f)
{
    char id[64], plain[64];
    bool has_id = header(f, "subscription", id, sizeof id);
    for (uint32_t i = 0; i < SIM_SUBS; i++) {
        struct consumption *s = &c->subs[i];
        snprintf(plain, sizeof plain, c->version == 10 ? "s:%s" : "s\\c%s", s->id + 2);
        if (s->active && s->has_id == has_id && (!has_id || strcmp(id, plain) == 0))
            return s;
    }
    world_fail(c->w, "consumer %u gets a message for subscription %s, which it has not", c->number, has_id ? id : "(none)");
}

static void destination_is_right(struct consumer *c, const struct consumption *s, const struct seen *f, uint32_t uid)
{
    char value[64], own[64];
    const struct uid *u = &c->w->uids[uid];
    (void)header(f, "destination", value, sizeof value);
    if (u->topic < SIM_TOPICS)
        snprintf(own, sizeof own, "/topic/t/%u", u->topic);
    else
        snprintf(own, sizeof own, "/queue/q%u", u->topic - SIM_TOPICS);
    if (strcmp(value, own) != 0)
        world_fail(c->w, "u%08u, sent to %s, comes to consumer %u (%s) with destination %s", uid, own, c->number, s->id, value);
}

/* What ACK has to name: in 1.2 the header `ack`, before that the message's id. */
static const char *name_of(struct consumer *c, const struct consumption *s, const struct seen *f, char *out, size_t cap)
{
    bool acks = header(f, "ack", out, cap);
    if (acks != (c->version == 12 && s->mode != ACKS_AUTO))
        world_fail(c->w, "consumer %u (version %u, mode %u) gets a message with%s header ack", c->number, c->version, s->mode, acks ? "" : "out a");
    if (c->version != 12)
        (void)header(f, "message-id", out, cap);
    return s->mode == ACKS_AUTO ? NULL : out;
}

static uint32_t uid_of_firing(struct consumer *c, const struct seen *f)
{
    char name[64], plain[64], when[64];
    (void)header(f, "schedule", name, sizeof name);
    (void)header(f, "scheduled-for", when, sizeof when);
    size_t n = 0;
    for (const char *p = when; *p != '\0'; p++) {
        bool colon = c->version != 10 && strncmp(p, "\\c", 2) == 0;
        plain[n++] = colon ? ':' : *p;
        p += colon;
    }
    return firings_uid(c->w, sl_str(name), sl_bytes_of((const uint8_t *)plain, n));
}

static void on_message(struct consumer *c, const struct seen *f)
{
    char name[48], value[64];
    struct consumption *s = subscription_of(c, f);
    struct arrival a = { .id = number_of(f, "message-id", 16), .attempt = (uint32_t)number_of(f, "attempt", 10), .end = f->end };
    a.uid = f->body[0] == 's' ? uid_of_firing(c, f) : uid_of(sl_str(f->body));
    a.redelivered = header(f, "redelivered", value, sizeof value) && strcmp(value, "true") == 0;
    a.retained = header(f, "retain", value, sizeof value) && strcmp(value, "true") == 0;
    a.name = name_of(c, s, f, name, sizeof name);
    bool empty = f->body[0] == '\0' && s->by_topic; /* it takes away what is retained, and has no number */
    if (a.uid >= c->w->n_uids && !empty)
        world_fail(c->w, "consumer %u gets a message that was altered", c->number);
    if (!empty)
        destination_is_right(c, s, f, a.uid);
    world_trace(c->w, "to consumer %u: u%08u attempt %u%s for %s", c->number, a.uid, a.attempt, a.redelivered ? " again" : "", s->id);
    laws_on_message(c, s, &a);
}

/* ---- the stream ---- */

static void on_frame(struct consumer *c, const struct seen *f)
{
    char message[96];
    if (c->failed)
        world_fail(c->w, "consumer %u gets a frame after ERROR", c->number);
    if (strncmp(f->text, "CONNECTED\n", 10) == 0) {
        c->greeted = true;
    } else if (strncmp(f->text, "MESSAGE\n", 8) == 0) {
        on_message(c, f);
    } else if (strncmp(f->text, "RECEIPT\n", 8) == 0) {
        laws_on_receipt(c, receipt_id(c, f));
    } else if (strncmp(f->text, "ERROR\n", 6) == 0) {
        (void)header(f, "message", message, sizeof message);
        laws_on_error(c, message, receipt_id(c, f));
    } else {
        world_fail(c->w, "consumer %u cannot read %s", c->number, f->text);
    }
}

/* One frame from the front of `in`: how many bytes it has. */
static size_t cut(const struct consumer *c, struct sl_bytes in, struct seen *f)
{
    const uint8_t *end = memchr(in.p, 0, in.n);
    size_t n = end == NULL ? 0 : (size_t)(end - in.p);
    if (end == NULL || n >= sizeof f->text)
        world_fail(c->w, "consumer %u gets a frame without an end", c->number);
    memcpy(f->text, in.p, n);
    f->text[n] = '\0';
    char *blank = strstr(f->text, "\n\n");
    if (blank == NULL)
        world_fail(c->w, "consumer %u gets a frame without a blank line", c->number);
    blank[1] = '\0';
    f->body = blank + 2;
    uint64_t length = number_of(f, "content-length", 10);
    if (length != strlen(f->body) && (length != 0 || strncmp(f->text, "MESSAGE\n", 8) == 0))
        world_fail(c->w, "consumer %u gets %zu bytes with content-length %" PRIu64, c->number, strlen(f->body), length);
    return n + 1;
}

static void tap_one(struct consumer *c)
{
    struct seen f;
    if (c->client == NULL || c->tapping)
        return;
    c->tapping = true;
    struct sl_bytes v = sl_buf_view(hub_client_output(c->client));
    size_t at = c->seen - c->read;
    while (at < v.n) {
        at += v.p[at] == '\n' ? 1 : cut(c, sl_bytes_of(v.p + at, v.n - at), &f);
        bool frame = v.p[at - 1] == 0;
        f.end = c->seen = c->read + at;
        if (frame)
            on_frame(c, &f);
    }
    c->tapping = false;
}

/* Who is told that this is the end may have had in this turn what another has now. */
static void tap_those_that_end(struct consumer *c)
{
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++) {
        struct consumer *other = &c->w->consumers[i];
        if (other != c && other->client != NULL && hub_client_closing(other->client))
            tap_one(other);
    }
}

void consumer_tap(struct consumer *c)
{
    tap_those_that_end(c);
    tap_one(c);
    laws_of_acks(c->w);
}

bool consumers_tapping(const struct world *w)
{
    bool any = false;
    for (uint32_t i = 0; i < SIM_CONSUMERS; i++)
        any = any || w->consumers[i].tapping;
    return any;
}

/* ---- reading ---- */

static void read_some(struct consumer *c, size_t n)
{
    struct sl_buf *out = hub_client_output(c->client);
    size_t all = sl_buf_len(out);
    sl_buf_consume(out, n);
    c->read += n;
    (void)hub_client_written(c->client, all > n);
}

/* DISCONNECT is answered when all before it is (decision 39), and then the connection ends. */
static void all_is_answered(const struct consumer *c)
{
    for (uint32_t i = 0; i < c->n_owed && c->leaving && !c->failed; i++) {
        if (c->owed[i].wanted)
            world_fail(c->w, "consumer %u has said goodbye, and is let go before its receipt %u", c->number, c->owed[i].number);
    }
}

void consumer_read(struct peer *peer, struct hub_client *client)
{
    struct consumer *c = SL_CONTAINER(peer, struct consumer, peer);
    consumer_tap(c);
    if (c->failed && !hub_client_closing(client))
        world_fail(c->w, "consumer %u got ERROR, and its connection goes on", c->number);
    size_t waits = sl_buf_len(hub_client_output(client));
    bool closing = hub_client_closing(client);
    read_some(c, c->slow && !closing ? pick(c->w, (uint32_t)waits + 1) / 4 : waits);
    if (!closing)
        return;
    all_is_answered(c);
    c->failed = true;
    if (c->w->calm || c->w->draining || chance(c->w, 70))
        consumer_lost(c); /* else its socket stays a while: that changes nothing */
}
