/* The session behind `stomp_protocol`: frames in, events and answers out. */
#include "session.h"

#include "core/alloc.h"

typedef bool (*frame_handler)(struct stomp_session *s, const struct stomp_frame *f,
                              struct proto_event *ev);

/* One line per command of a client that is connected. */
static const frame_handler handlers[STOMP_NCOMMANDS] = {
    [STOMP_SEND] = stomp_on_send,
    [STOMP_SUBSCRIBE] = stomp_on_subscribe,
    [STOMP_UNSUBSCRIBE] = stomp_on_unsubscribe,
    [STOMP_ACK] = stomp_on_ack,
    [STOMP_NACK] = stomp_on_ack,
    [STOMP_BEGIN] = stomp_on_begin,
    [STOMP_COMMIT] = stomp_on_commit,
    [STOMP_ABORT] = stomp_on_abort,
    [STOMP_DISCONNECT] = stomp_on_disconnect,
};

static struct stomp_session *of(struct proto_session *p)
{
    return (struct stomp_session *)(void *)p;
}

static const struct stomp_session *of_const(const struct proto_session *p)
{
    return (const struct stomp_session *)(const void *)p;
}

/* Memory of an idle connection is a feature. */
_Static_assert(sizeof(struct stomp_session) <= 264 || sizeof(void *) != 8, "session has grown");

static struct proto_session *session_new(const struct proto_config *cfg, uint64_t now_ms)
{
    struct stomp_session *s = SL_NEW(struct stomp_session);
    s->protocol = &stomp_protocol;
    s->cfg = cfg;
    s->now_ms = s->last_in_ms = s->last_out_ms = now_ms;
    s->ring_first = 1;
    sl_buf_init(&s->out, STOMP_MAX_OUTPUT);
    return (struct proto_session *)(void *)s;
}

static void work_free(struct stomp_session *s)
{
    if (s->work != NULL)
        stomp_arena_fini(&s->work->arena);
    sl_free(s->work);
    s->work = NULL;
}

static void session_free(struct proto_session *p)
{
    struct stomp_session *s = of(p);
    stomp_input_drop(&s->in);
    sl_buf_fini(&s->out);
    work_free(s);
    stomp_ring_free(s);
    stomp_transactions_free(s);
    stomp_subscriptions_free(s);
    sl_free(s);
}

static void set_now(struct stomp_session *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    if (s->fresh)
        s->last_in_ms = s->last_out_ms = now_ms;
    s->fresh = false;
}

/* ---- input ---- */

/* The bytes of the frame at hand may go: it was not refused. */
static void forget_frame(struct stomp_session *s)
{
    if (s->work == NULL)
        return;
    uint32_t received = s->work->received;
    s->work->head = SL_BYTES_NONE;
    s->work->token = s->work->received = 0;
    s->work->consuming = false;
    if (received != 0 && s->state < STOMP_CLOSING)
        stomp_ring_answer(s, received);
}

static bool reads(const struct stomp_session *s)
{
    return s->state <= STOMP_READY;
}

static void feed(struct proto_session *p, struct sl_bytes in, uint64_t now_ms)
{
    struct stomp_session *s = of(p);
    SL_ASSERT(in.n <= UINT32_MAX);
    set_now(s, now_ms);
    if (!reads(s) || in.n == 0)
        return;
    /* Before CONNECT only a complete frame counts as a sign of life. */
    if (s->state != STOMP_OPENING)
        s->last_in_ms = now_ms;
    stomp_input_keep(&s->in);
    if (s->state == STOMP_JUDGED && sl_buf_len(&s->in.kept) >= s->cfg->partial_packet) {
        stomp_fail(s, STOMP_E_EARLY_DATA, SL_BYTES_NONE, NULL);
        return;
    }
    s->in.view = in;
}

static void hold(struct proto_session *p)
{
    forget_frame(of(p));
    stomp_input_keep(&of(p)->in);
}

static struct stomp_rules rules_of(const struct stomp_session *s)
{
    const struct proto_config *cfg = s->cfg;
    bool opening = s->state == STOMP_OPENING;
    return (struct stomp_rules){
        .version = (enum stomp_version)s->version,
        .from_client = true,
        .max_headers = cfg->max_headers,
        .max_line = cfg->max_header_bytes < UINT16_MAX ? cfg->max_header_bytes : UINT16_MAX,
        .max_body = cfg->max_message,
        .max_frame = opening ? cfg->partial_packet : SIZE_MAX,
    };
}

static bool handle(struct stomp_session *s, const struct stomp_frame *f, struct proto_event *ev)
{
    bool connect = f->command == STOMP_CONNECT || f->command == STOMP_STOMP;
    if (s->state == STOMP_OPENING)
        return connect ? stomp_on_connect(s, f, ev)
                       : stomp_fail_frame(s, STOMP_E_NOT_CONNECTED, f, NULL);
    if (connect)
        return stomp_fail_frame(s, STOMP_E_CONNECTED_ALREADY, f, NULL);
    return handlers[f->command](s, f, ev);
}

static bool next_frame(struct stomp_session *s, struct proto_event *ev)
{
    struct stomp_rules rules = rules_of(s);
    struct stomp_frame f;
    while (s->state == STOMP_OPENING || s->state == STOMP_READY) {
        struct sl_bytes raw = SL_BYTES_NONE;
        int err = stomp_input_frame(&s->in, &rules, &raw);
        if (err == SL_EMORE)
            return false;
        if (err != SL_OK) {
            stomp_fail(s, (enum stomp_error)s->in.scan.fault, raw, NULL);
            return false;
        }
        if (s->work == NULL)
            s->work = SL_NEW(struct stomp_work);
        stomp_frame_parse(&s->work->arena, &s->in.scan, rules.version, raw, &f);
        s->work->head = f.head;
        if (handle(s, &f, ev)) {
            s->work->consuming = ev->kind == PROTO_CONSUME;
            return true;
        }
    }
    return false;
}

static bool last_event(struct stomp_session *s, struct proto_event *ev)
{
    if (s->state != STOMP_CLOSING)
        return false;
    s->state = STOMP_CLOSED;
    *ev = (struct proto_event){.kind = PROTO_CLOSE, .u.reason = s->reason};
    return true;
}

static bool next(struct proto_session *p, struct proto_event *ev)
{
    struct stomp_session *s = of(p);
    forget_frame(s);
    if (s->state == STOMP_JUDGED)
        stomp_input_keep(&s->in);
    if (s->state == STOMP_LEAVING)
        stomp_input_drop(&s->in);
    if (next_frame(s, ev))
        return true;
    forget_frame(s);
    return last_event(s, ev);
}

static size_t buffered(const struct proto_session *p)
{
    const struct stomp_input *in = &of_const(p)->in;
    return sl_buf_len(&in->kept) - (in->given ? in->scan.pos : 0);
}

/* DISCONNECT: everything owed goes out first, then its receipt, then the end
 * (with a receipt or without: older receipts are not lost either way). */
bool stomp_on_disconnect(struct stomp_session *s, const struct stomp_frame *f,
                         struct proto_event *ev)
{
    uint32_t token = stomp_ring_open_last(s, f);
    if (token == 0)
        return stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
    s->state = STOMP_LEAVING;
    *ev = (struct proto_event){ .kind = PROTO_DISCONNECT, .token = token };
    return true;
}

/* ---- answers ---- */

static void connected(struct proto_session *p, const struct proto_connected *a)
{
    struct stomp_session *s = of(p);
    if (s->state >= STOMP_CLOSING)
        return;
    SL_ASSERT(s->state == STOMP_JUDGED);
    stomp_accept(s, a);
}

/* A subscription that is refused is so while its frame is at hand. */
static enum stomp_error error_of(const struct stomp_session *s, enum proto_result r)
{
    bool consuming = s->work != NULL && s->work->consuming;
    switch (r) {
    case PROTO_ACCEPTED:
    case PROTO_NO_TAKER:
    case PROTO_UNKNOWN_ID:
        break;
    case PROTO_REFUSED_QUOTA:
        return consuming ? STOMP_E_CONSUMERS_MANY : STOMP_E_QUOTA;
    case PROTO_REFUSED_DENIED:
        return consuming ? STOMP_E_SOURCE_DENIED : STOMP_E_NOT_PERMITTED;
    case PROTO_REFUSED_TARGET:
        return consuming ? STOMP_E_SOURCE_UNKNOWN : STOMP_E_TARGET;
    case PROTO_REFUSED_STORE:
        return STOMP_E_STORE;
    case PROTO_REFUSED_DELIVERY:
        return STOMP_E_DELIVERY_UNKNOWN;
    case PROTO_REFUSED_TRANSACTION:
        return STOMP_E_TRANSACTION_STALE;
    case PROTO_REFUSED_LARGE:
        return STOMP_E_TRANSACTION_LARGE;
    }
    return STOMP_NERRORS;
}

static void answer(struct proto_session *p, uint32_t token, enum proto_result r, uint64_t now_ms)
{
    struct stomp_session *s = of(p);
    set_now(s, now_ms);
    if (s->state >= STOMP_CLOSING)
        return;
    enum stomp_error e = error_of(s, r);
    if (e != STOMP_NERRORS)
        stomp_fail_answer(s, e, token);
    else if (token != 0)
        stomp_ring_answer(s, token);
}

static void say_goodbye(struct proto_session *p, enum proto_bye why)
{
    static const enum stomp_error errors[] = {
        [PROTO_BYE_TAKEOVER] = STOMP_E_TAKEOVER, [PROTO_BYE_SHUTDOWN] = STOMP_E_SHUTDOWN,
        [PROTO_BYE_ADMIN] = STOMP_E_ADMIN,       [PROTO_BYE_QUOTA] = STOMP_E_MEMORY,
        [PROTO_BYE_STORE] = STOMP_E_STORE,       [PROTO_BYE_PROTOCOL] = STOMP_E_ADMIN,
        [PROTO_BYE_SLOW] = STOMP_E_SLOW,         [PROTO_BYE_ACK_TIMEOUT] = STOMP_E_ACK_TIMEOUT,
    };
    SL_ASSERT((size_t)why < SL_COUNT(errors));
    stomp_fail(of(p), errors[why], SL_BYTES_NONE, NULL);
}

static struct sl_buf *output(struct proto_session *p)
{
    return &of(p)->out;
}

/* ---- time ---- */

/* Memory that may be given back once it has rested. */
static bool holds_spare(const struct stomp_session *s)
{
    return s->work != NULL || s->out.p != NULL || stomp_ring_idle(s) ||
           (s->in.kept.p != NULL && sl_buf_len(&s->in.kept) == 0);
}

static uint64_t trim_at(const struct stomp_session *s)
{
    uint64_t used = (uint64_t)s->delivered_s * 1000;
    used = used > s->last_in_ms ? used : s->last_in_ms;
    used = used > s->last_out_ms ? used : s->last_out_ms;
    return holds_spare(s) ? used + STOMP_TRIM_MS : UINT64_MAX;
}

static void trim(struct stomp_session *s)
{
    forget_frame(s);
    stomp_input_release(&s->in);
    work_free(s);
    if (stomp_ring_idle(s))
        stomp_ring_free(s);
    if (sl_buf_len(&s->in.kept) == 0)
        sl_buf_fini(&s->in.kept);
    if (sl_buf_len(&s->out) > 0) {
        s->last_out_ms = s->now_ms; /* the peer does not read: look again later */
        return;
    }
    sl_buf_fini(&s->out);
    s->out.max = STOMP_MAX_OUTPUT;
}

static uint64_t connect_limit(const struct stomp_session *s)
{
    if (s->state != STOMP_OPENING || s->cfg->connect_timeout_ms == 0)
        return UINT64_MAX;
    return s->last_in_ms + s->cfg->connect_timeout_ms;
}

static void tick(struct proto_session *p, uint64_t now_ms)
{
    struct stomp_session *s = of(p);
    set_now(s, now_ms);
    if (s->delivered)
        s->delivered_s = (uint32_t)(now_ms / 1000) + 1;
    s->delivered = false;
    if (now_ms >= connect_limit(s))
        stomp_fail(s, STOMP_E_CONNECT_TIMEOUT, SL_BYTES_NONE, NULL);
    stomp_heartbeat_tick(s);
    if (now_ms >= trim_at(s))
        trim(s);
}

static uint64_t deadline(const struct proto_session *p)
{
    const struct stomp_session *s = of_const(p);
    if (s->fresh || s->state == STOMP_CLOSING)
        return s->now_ms; /* at once: heart-beats to start, or last events to fetch */
    uint64_t at = stomp_heartbeat_deadline(s);
    if (connect_limit(s) < at)
        at = connect_limit(s);
    return trim_at(s) < at ? trim_at(s) : at;
}

static void pause(struct proto_session *p, bool paused, uint64_t now_ms)
{
    struct stomp_session *s = of(p);
    set_now(s, now_ms);
    if (s->paused && !paused && s->state != STOMP_OPENING)
        s->last_in_ms = now_ms;
    s->paused = paused;
}

static bool over(const struct proto_session *p)
{
    return of_const(p)->state >= STOMP_CLOSING;
}

const struct protocol stomp_protocol = {
    .name = "stomp",
    .session_new = session_new,
    .session_free = session_free,
    .feed = feed,
    .next = next,
    .hold = hold,
    .over = over,
    .connected = connected,
    .answer = answer,
    .packets_new = stomp_packets_new,
    .packets_free = stomp_packets_free,
    .deliver = stomp_deliver,
    .shutdown = say_goodbye,
    .output = output,
    .tick = tick,
    .deadline = deadline,
    .pause = pause,
    .buffered = buffered,
};
