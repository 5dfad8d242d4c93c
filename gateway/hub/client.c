/* A client of the hub: its protocol session, what it waits for, and what the
 * shell must do for it next. */
#include "consumer.h"

struct hub_client *client_find(struct hub *h, uint64_t id)
{
    return sl_idmap_get(&h->clients, id);
}

struct sl_bytes client_id(const struct hub_client *c)
{
    if (c->session != NULL)
        return c->session->client_id;
    return c->names != NULL ? sl_bytes_of(c->names->text, c->names->id_bytes) : SL_BYTES_NONE;
}

struct sl_bytes client_user(const struct hub_client *c)
{
    return c->names != NULL ? sl_bytes_of(c->names->text + c->names->id_bytes, c->names->user_bytes) : SL_BYTES_NONE;
}

void client_dirty(struct hub_client *c)
{
    if (c->dirty)
        return;
    c->dirty = true;
    c->dirty_next = c->h->dirty;
    c->h->dirty = c;
}

struct hub_client *hub_next_dirty(struct hub *h)
{
    struct hub_client *c = h->dirty;
    if (c == NULL)
        return NULL;
    h->dirty = c->dirty_next;
    c->dirty = false;
    return c;
}

struct hub_client *hub_client_open(struct hub *h, const struct hub_listener *l, const char *peer, void *arg)
{
    size_t n = strlen(peer) + 1;
    struct hub_client *c = sl_calloc(1, sizeof *c + n);
    c->h = h;
    c->l = l;
    c->arg = arg;
    c->id = ++h->next_client;
    memcpy(c->peer, peer, n);
    c->s = l->protocol->session_new(&l->session, h->now.mono_ms);
    sl_idmap_put(&h->clients, c->id, c);
    h->counters.connections_opened++;
    client_arm(c);
    return c;
}

static void forget_dirty(struct hub_client *c)
{
    struct hub_client **at = &c->h->dirty;
    while (*at != NULL && *at != c)
        at = &(*at)->dirty_next;
    if (*at != NULL)
        *at = c->dirty_next;
}

void hub_client_closed(struct hub_client *c)
{
    struct hub *h = c->h;
    unanswered_keep(c);
    park_forget(h, c);
    partial_set(c, 0);
    client_leave_session(c);
    consumers_lose(c, &(struct hub_loss){ .cause = QUEUE_CAUSE_LOST, .detail = sl_str("connection lost") });
    transactions_free(c);
    consumers_free(c);
    deliveries_forget(c);
    sl_timer_clear(&h->client_timers, &c->timer);
    if (c->dirty)
        forget_dirty(c);
    sl_idmap_del(&h->clients, c->id);
    h->n_connected -= c->connected;
    h->counters.connections_closed++;
    c->l->protocol->session_free(c->s);
    sl_free(c->names);
    sl_free(c);
}

/* The timer fires early at worst: a deadline that moved away is met lazily. */
void client_arm(struct hub_client *c)
{
    uint64_t at = c->l->protocol->deadline(c->s);
    if (SL_UNLIKELY(c->stuffed) && output_patience_ms(c) < at)
        at = output_patience_ms(c);
    if (at == UINT64_MAX)
        return;
    if (c->timer.pos == 0 || at < c->timer.at_ms)
        sl_timer_set(&c->h->client_timers, &c->timer, at);
}

/* Ends that are nobody's mistake. */
static bool orderly(const char *reason)
{
    static const char *const words[] = {
        "disconnect", "shutdown", "session_taken_over", "administrative_action", "keep_alive_timeout", "connect_timeout",
    };
    for (size_t i = 0; i < SL_COUNT(words); i++) {
        if (strcmp(reason, words[i]) == 0)
            return true;
    }
    return false;
}

/* Ends of a connection that had consumers, and were not their clients' faults in the protocol. */
static bool lost(const char *reason)
{
    static const char *const words[] = { "heart_beat_timeout", "output_limit", "quota_exceeded", "store_unavailable", "memory_limit", "slow_consumer" };
    for (size_t i = 0; i < SL_COUNT(words); i++) {
        if (strcmp(reason, words[i]) == 0)
            return true;
    }
    return false;
}

static void on_close(struct hub_client *c, const char *reason)
{
    c->closing = true;
    bool fault = !orderly(reason);
    enum queue_cause cause = lost(reason) ? QUEUE_CAUSE_LOST : QUEUE_CAUSE_PROTOCOL;
    consumers_lose(c, &(struct hub_loss){ .cause = cause, .charge_none = !fault, .detail = sl_str(reason) });
    c->h->counters.protocol_errors += fault;
    sl_log(fault ? SL_INFO : SL_DEBUG, "client_close", "peer=%s protocol=%s reason=%s", c->peer, c->l->protocol->name, reason);
    client_dirty(c);
}

static void on_control(struct hub_client *c, const struct proto_event *ev)
{
    c->h->counters.control_received += ev->kind != PROTO_CLOSE;
    switch (ev->kind) {
    case PROTO_PUBLISH: /* not here */
        break;
    case PROTO_CONNECT:
        on_connect(c, &ev->u.connect);
        break;
    case PROTO_RELEASE:
        on_release(c, ev->token, ev->u.packet_id);
        break;
    case PROTO_SUBSCRIBE:
        on_subscribe(c, ev->token, &ev->u.filters);
        break;
    case PROTO_UNSUBSCRIBE:
        on_unsubscribe(c, ev->token, &ev->u.filters);
        break;
    case PROTO_SETTLE:
        on_settle(c, &ev->u.settle);
        break;
    case PROTO_CONSUME:
        on_consume(c, ev->token, &ev->u.consume);
        break;
    case PROTO_CANCEL:
        on_cancel(c, ev->token, ev->u.consumer);
        break;
    case PROTO_ACKNOWLEDGE:
        on_acknowledge(c, ev->token, &ev->u.acknowledge);
        break;
    case PROTO_BEGIN:
        on_begin(c, ev->u.transaction);
        break;
    case PROTO_COMMIT:
        on_commit_transaction(c, ev->token, ev->u.transaction);
        break;
    case PROTO_ABORT:
        on_abort(c, ev->u.transaction);
        break;
    case PROTO_DISCONNECT:
        on_disconnect(c, ev->token, &ev->u.disconnect);
        break;
    case PROTO_CLOSE:
        on_close(c, ev->u.reason);
        break;
    }
}

static void on_event(struct hub_client *c, const struct proto_event *ev)
{
    if (SL_LIKELY(ev->kind == PROTO_PUBLISH))
        on_publish(c, ev->token, &ev->u.publish);
    else
        on_control(c, ev);
}

static void hush(struct hub_client *c)
{
    bool silent = c->paused || c->stuffed;
    if (c->silent == silent)
        return;
    c->silent = silent;
    c->l->protocol->pause(c->s, silent, c->h->now.mono_ms);
    client_dirty(c);
    client_arm(c);
}

static void set_paused(struct hub_client *c, bool paused)
{
    c->paused = paused;
    hush(c);
}

void client_stuffed(struct hub_client *c, bool stuffed)
{
    if (c->stuffed == stuffed)
        return;
    c->stuffed = stuffed;
    hush(c);
}

void client_pump(struct hub_client *c)
{
    struct proto_event ev;
    while (!c->closing) {
        if (park_full(c) && !c->l->protocol->over(c->s)) {
            c->l->protocol->hold(c->s);
            set_paused(c, true);
            break;
        }
        if (!c->l->protocol->next(c->s, &ev)) {
            set_paused(c, false);
            break;
        }
        on_event(c, &ev);
    }
    partial_set(c, c->closing ? 0 : c->l->protocol->buffered(c->s));
    if (sl_buf_len(c->l->protocol->output(c->s)) > 0)
        client_dirty(c);
    client_arm(c);
}

void hub_client_feed(struct hub_client *c, struct sl_bytes in)
{
    if (c->closing)
        return; /* input after the end is discarded (decision 40) */
    SL_ASSERT(!c->paused);
    c->h->counters.bytes_read += in.n;
    c->l->protocol->feed(c->s, in, c->h->now.mono_ms);
    client_pump(c);
}

/* Who is let go for others, or because the gateway stops, is not charged. */
static void lose_consumers(struct hub_client *c, enum proto_bye why)
{
    static const struct hub_loss losses[] = {
        [PROTO_BYE_TAKEOVER] = { .charge_none = true },
        [PROTO_BYE_SHUTDOWN] = { .charge_none = true },
        [PROTO_BYE_ADMIN] = { .charge_none = true },
        [PROTO_BYE_QUOTA] = { .cause = QUEUE_CAUSE_LOST },
        [PROTO_BYE_STORE] = { .charge_none = true },
        [PROTO_BYE_PROTOCOL] = { .cause = QUEUE_CAUSE_PROTOCOL },
        [PROTO_BYE_SLOW] = { .cause = QUEUE_CAUSE_LOST },
        [PROTO_BYE_ACK_TIMEOUT] = { .cause = QUEUE_CAUSE_TIMEOUT, .timeout = true },
    };
    static const char *const details[SL_COUNT(losses)] = {
        [PROTO_BYE_QUOTA] = "memory limit",
        [PROTO_BYE_PROTOCOL] = "protocol error",
        [PROTO_BYE_SLOW] = "slow consumer",
        [PROTO_BYE_ACK_TIMEOUT] = "acknowledgement timeout",
    };
    SL_ASSERT((size_t)why < SL_COUNT(losses));
    struct hub_loss loss = losses[why];
    loss.detail = details[why] != NULL ? sl_str(details[why]) : SL_BYTES_NONE;
    consumers_lose(c, &loss);
}

void hub_client_bye(struct hub_client *c, enum proto_bye why)
{
    if (c->closing)
        return;
    unanswered_keep(c);
    park_forget(c->h, c);
    lose_consumers(c, why);
    c->h->counters.control_sent++;
    c->l->protocol->shutdown(c->s, why);
    struct proto_event ev;
    while (!c->closing && c->l->protocol->next(c->s, &ev)) {
        if (ev.kind == PROTO_CLOSE)
            on_event(c, &ev);
    }
    c->closing = true;
    client_dirty(c);
}

void client_answer(struct hub_client *c, uint32_t token, enum proto_result r)
{
    if (c->closing)
        return;
    c->h->counters.publishes_answered += token != 0;
    c->l->protocol->answer(c->s, token, r, c->h->now.mono_ms);
    c->stirred = true;
    client_dirty(c);
}

void client_refuse(struct hub_client *c, uint32_t token, uint32_t grace_ms)
{
    const struct protocol *p = c->l->protocol;
    if (p->refuse == NULL || token == 0 || c->closing) {
        client_answer(c, token, PROTO_REFUSED_QUOTA);
        return;
    }
    c->h->counters.publishes_answered += token != 0;
    p->refuse(c->s, token, grace_ms, c->h->now.mono_ms);
    c->stirred = true;
    client_dirty(c);
}

void client_release(struct hub_client *c, uint16_t packet_id, bool known)
{
    c->h->counters.control_sent++;
    c->l->protocol->release(c->s, packet_id, known);
    client_dirty(c);
}

void clients_pump_stirred(struct hub *h)
{
    for (struct hub_client *c = h->dirty; c != NULL; c = c->dirty_next) {
        if (!c->stirred)
            continue;
        c->stirred = false;
        client_pump(c);
    }
}

void client_tick(struct hub_client *c)
{
    if (c->closing)
        return;
    if (c->h->now.mono_ms >= output_patience_ms(c)) {
        output_let_go(c->h, c);
        return;
    }
    c->l->protocol->tick(c->s, c->h->now.mono_ms);
    client_pump(c);
}

struct sl_buf *hub_client_output(struct hub_client *c)
{
    return c->l->protocol->output(c->s);
}

bool hub_client_reading(const struct hub_client *c)
{
    return !c->paused && !c->stuffed;
}

bool hub_client_closing(const struct hub_client *c)
{
    return c->closing;
}

void *hub_client_arg(const struct hub_client *c)
{
    return c->arg;
}
