/* A subscriber's output: how much may wait there, and when there is room again.
 *
 * Output is a copy, so it is kept small. What is in the way of a message ends,
 * and then its client has a turn: the output is written; or the turn, in which
 * only so many bytes are copied, ends; or, where outputs of slow readers fill
 * their share of the memory, one of those reads or is let go. */
#include "core/utf8.h"
#include "deliver.h"

#define TURN_BYTES  (16u << 20) /* copied in one turn: then it is time to write */
#define LARGE_AFTER 4u          /* a message that is larger than the limit may follow this part of it */
#define OUTPUT_SHARE 8u         /* of limits.memory all outputs may fill; then one that is not empty gets no more */
#define PRESSED_RETRY_US 10000u
#define STILL_MS    10000u      /* then who takes nothing is let go for the others */
#define PATIENCE_MS 20000u      /* then who takes nothing and is not read any more is let go in any case */
#define READ_ON_BYTES (64u << 10) /* of answers, beside the deliveries that may wait */

struct hub_client *connection_of(const struct session *s)
{
    struct hub_client *c = s->client;
    return c == NULL || c->closing ? NULL : c;
}

/* ---- how much ---- */

static size_t output_bytes(const struct hub_client *c)
{
    return sl_buf_len(c->l->protocol->output(c->s));
}

static void output_changed(struct hub_client *c)
{
    size_t now = output_bytes(c);
    struct deliveries *d = &c->h->deliveries;
    if (now < c->pending || c->pending == 0)
        c->still_s = (uint32_t)(c->h->now.mono_ms / 1000);
    d->output_bytes += now;
    d->output_bytes -= c->pending;
    c->pending = (uint32_t)now;
}

static bool pressed(const struct hub *h)
{
    return h->deliveries.output_bytes > h->cfg.memory_bytes / OUTPUT_SHARE;
}

/* A large message follows what is small: else answers that come each turn would
 * keep it waiting for ever. */
static bool output_takes(const struct hub_client *c, size_t bytes)
{
    size_t waits = output_bytes(c), most = c->h->cfg.subscribers.output_bytes;
    return waits <= most / LARGE_AFTER || waits + bytes <= most;
}

bool may_go_out(struct hub *h, struct hub_client *c, size_t bytes)
{
    if (!output_takes(c, bytes)) {
        output_changed(c); /* known to wait: its end will be told */
        return false;
    }
    if (h->deliveries.left > 0 && !pressed(h))
        return true;
    deliver_soon(h, c);
    return false;
}

bool session_has_room(struct hub *h, const struct session *s, size_t bytes)
{
    struct hub_client *c = connection_of(s);
    return c != NULL && (s->outbox == NULL || outbox_queued(s->outbox) == 0) && may_go_out(h, c, bytes);
}

uint32_t session_free(const struct session *s)
{
    const struct hub_client *c = connection_of(s);
    if (c == NULL || !output_takes(c, 1))
        return 0;
    if (s->outbox == NULL)
        return c->receive_maximum;
    uint32_t flying = outbox_in_flight(s->outbox);
    return outbox_queued(s->outbox) > 0 || flying >= c->receive_maximum ? 0 : c->receive_maximum - flying;
}

/* ---- sending ---- */

uint64_t life_left(const struct hub *h, const struct message *m)
{
    uint64_t at = message_expires_at(m);
    if (at == 0)
        return UINT64_MAX;
    uint64_t now = (message_flags(m) & MESSAGE_EXPIRES_RELATIVE) != 0 ? h->now.steady_ms : h->now.wall_ms;
    return at > now ? at - now : 0;
}

static struct proto_packets *packets(struct hub *h, const struct protocol *p)
{
    struct protocol_packets *at = h->deliveries.packets;
    while (at->of != p && at->of != NULL)
        at++;
    SL_ASSERT(at < h->deliveries.packets + PROTOCOLS_MAX - 1);
    if (SL_UNLIKELY(at->of == NULL))
        *at = (struct protocol_packets){ p, p->packets_new() };
    return at->packets;
}

static void fill_expiry(const struct hub *h, struct proto_delivery *d)
{
    uint64_t life = life_left(h, d->msg);
    if (life == UINT64_MAX)
        return;
    uint64_t seconds = life == 0 ? 1 : (life + 999) / 1000;
    d->has_expiry = true;
    d->expiry_s = (uint32_t)(seconds < UINT32_MAX ? seconds : UINT32_MAX);
    d->expires_wall_ms = h->now.wall_ms + life;
}

enum proto_delivered send_delivery(struct hub *h, struct hub_client *c, struct proto_delivery *d)
{
    fill_expiry(h, d);
    enum proto_delivered r = c->l->protocol->deliver(c->s, d, packets(h, c->l->protocol));
    size_t before = c->pending;
    output_changed(c);
    uint64_t grown = c->pending > before ? c->pending - before : 0;
    h->deliveries.left -= grown < h->deliveries.left ? grown : h->deliveries.left;
    client_dirty(c);
    if (r == PROTO_SENT) {
        h->counters.deliveries_sent++;
        h->counters.deliveries_resent += d->dup;
        h->counters.delivered_bytes += message_payload(d->msg).n;
    }
    h->counters.deliveries_too_large += r == PROTO_TOO_LARGE;
    return r;
}

/* ---- room again ---- */

void deliver_soon(struct hub *h, struct hub_client *c)
{
    struct deliveries *d = &h->deliveries;
    if (c->ready)
        return;
    c->ready = true;
    if (d->n_ready == d->cap_ready) {
        d->cap_ready = d->cap_ready == 0 ? 64 : d->cap_ready * 2;
        d->ready = sl_realloc(d->ready, d->cap_ready * sizeof *d->ready);
    }
    d->ready[d->n_ready++] = c->id;
}

uint64_t deliveries_deadline_us(const struct hub *h)
{
    if (h->deliveries.n_ready == 0)
        return UINT64_MAX;
    return h->now.mono_us + (pressed(h) || lent_too_much(h) ? PRESSED_RETRY_US : 0);
}

/* Who does not read is read on, so that its acknowledgements and pings arrive,
 * until the answers to what it sends would fill the memory. */
static bool is_stuffed(const struct hub_client *c, bool blocked)
{
    const struct hub *h = c->h;
    return blocked && (c->pending >= h->cfg.subscribers.output_bytes + READ_ON_BYTES || hub_memory_bytes(h) >= h->cfg.memory_bytes);
}

/* The keep-alive of who is not read says nothing: that nothing of its output
 * leaves does. UINT64_MAX: it is read. */
uint64_t output_patience_ms(const struct hub_client *c)
{
    return c->stuffed ? (uint64_t)c->still_s * 1000 + PATIENCE_MS : UINT64_MAX;
}

bool hub_client_written(struct hub_client *c, bool blocked)
{
    if (c->pending == 0 && !blocked)
        return false;
    output_changed(c);
    client_stuffed(c, is_stuffed(c, blocked));
    const struct session *s = c->session;
    if (blocked || c->closing || (s == NULL ? !consumers_wait(c) : s->client != c))
        return false;
    deliver_soon(c->h, c);
    return true;
}

/* ---- slow readers ---- */

void output_let_go(struct hub *h, struct hub_client *c)
{
    sl_log(SL_WARN, "slow_reader", "peer=%s output_bytes=%u action=\"closed: it does not read\"", c->peer, c->pending);
    h->counters.slow_readers_closed++;
    hub_client_bye(c, c->consumers != NULL ? PROTO_BYE_SLOW : PROTO_BYE_QUOTA);
}

static void relieve(struct hub *h)
{
    struct hub_client *c;
    size_t pos = 0;
    while ((c = sl_idmap_next(&h->clients, &pos)) != NULL) {
        if (c->pending > 0 && !c->closing && h->now.mono_ms >= (uint64_t)c->still_s * 1000 + STILL_MS)
            output_let_go(h, c);
    }
}

void deliveries_tick(struct hub *h)
{
    if (!pressed(h) || h->now.mono_ms < h->deliveries.relieve_ms)
        return;
    h->deliveries.relieve_ms = h->now.mono_ms + 1000;
    relieve(h);
}

/* ---- life ---- */

void deliveries_begin(struct hub *h)
{
    h->deliveries.left = TURN_BYTES;
}

void deliveries_forget(struct hub_client *c)
{
    c->h->deliveries.output_bytes -= c->pending;
    c->pending = 0;
}

void deliveries_free(struct hub *h)
{
    struct deliveries *d = &h->deliveries;
    struct session *s;
    size_t pos = 0;
    while ((s = sessions_next(h->sessions, &pos)) != NULL) {
        outbox_free(s->outbox);
        s->outbox = NULL;
    }
    for (const struct protocol_packets *at = d->packets; at->of != NULL; at++)
        at->of->packets_free(at->packets);
    sl_free(d->ready);
}
