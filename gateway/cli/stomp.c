/* The connection that we speak ourselves: one socket, one thread.
 *
 *   CLOSED ──▶ DIALLING ──▶ GREETING ──▶ OPEN
 *                 (each address)   CONNECTED
 *
 * Frames are read when an event is asked for, so that a slow reader of our output
 * is a slow reader of the server's. */
#include "stomp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "wait.h"

#define READ_BYTES 65536u
#define MAX_HEADERS 10000u
#define MAX_LINE 65535u
#define BYE "bye" /* the receipt of DISCONNECT */

enum state { CLOSED, DIALLING, GREETING, OPEN };

struct cli_stomp {
    enum state state;
    enum stomp_version version;
    struct addrinfo *found, *next; /* addresses */
    struct sl_buf in, out;
    struct stomp_scan scan;
    struct stomp_arena arena;
    struct cli_stomp_properties properties;
    struct cli_event *pending; /* comes before what is in `in` */
    size_t taken;              /* bytes of `in` whose frame was handed out */
    uint64_t sent, unwritten, answered;
    size_t subscribing; /* receipts that are awaited */
    bool leaving, drained; /* drained: all that came was taken */
    bool deaf;             /* the server: writing failed */
    int64_t out_every_ms, in_every_ms; /* heart-beats; 0: none */
    int64_t last_out_ms, last_in_ms;
};

/* ---- events ---- */

static struct cli_event *told(enum cli_event_kind kind, const char *text)
{
    struct cli_event *e = cli_event_new(kind);
    snprintf(e->text, sizeof e->text, "%s", text);
    return e;
}

static void hang_up(struct cli_link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->wants_write = false;
    l->wake_ms = CLI_NO_DEADLINE;
    l->stomp->state = CLOSED;
}

/* The connection is over, and nothing said so in STOMP. */
static void broken(struct cli_link *l, const char *why)
{
    struct cli_stomp *s = l->stomp;
    enum cli_event_kind kind = s->leaving         ? CLI_EV_GONE
                               : s->state == OPEN ? CLI_EV_LOST
                                                  : CLI_EV_REFUSED;
    hang_up(l);
    if (s->pending == NULL)
        s->pending = told(kind, why);
}

/* ---- dialling ---- */

static int look_up(struct cli_link *l)
{
    char port[8];
    struct addrinfo want = { .ai_socktype = SOCK_STREAM };
    snprintf(port, sizeof port, "%u", l->address->port);
    int err = getaddrinfo(l->address->host, port, &want, &l->stomp->found);
    l->stomp->next = l->stomp->found;
    if (err == 0)
        return SL_OK;
    l->why = err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err);
    return SL_ESYS;
}

static bool dial(struct cli_link *l, const struct sockaddr *to, socklen_t n)
{
    int one = 1;
    l->fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd >= 0 && to->sa_family != AF_UNIX)
        (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return l->fd >= 0 && (connect(l->fd, to, n) == 0 || errno == EINPROGRESS);
}

static bool dial_path(struct cli_link *l)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    snprintf(to.sun_path, sizeof to.sun_path, "%s", l->address->path);
    return dial(l, (const struct sockaddr *)&to, sizeof to);
}

/* The next address that can be tried; errno tells why the last one could not. */
static void dial_next(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    for (; s->next != NULL; s->next = s->next->ai_next) {
        int why = errno;
        hang_up(l);
        s->state = DIALLING;
        errno = why;
        if (dial(l, s->next->ai_addr, s->next->ai_addrlen)) {
            s->next = s->next->ai_next;
            return;
        }
    }
    broken(l, strerror(errno));
}

static void put_greeting(struct cli_link *l)
{
    static const char *const versions[] = { "1.0", "1.1", "1.2", "1.0,1.1,1.2" };
    const struct cli_args *a = l->args;
    const struct cli_address *at = l->address;
    struct stomp_writer w;
    char beats[40];
    snprintf(beats, sizeof beats, "%lld,%lld", (long long)a->keep_alive * 1000, (long long)a->keep_alive * 1000);
    stomp_begin(&w, &l->stomp->out, STOMP_V10, STOMP_CONNECT);
    stomp_put(&w, "accept-version", sl_str(versions[a->version - CLI_STOMP_10]));
    stomp_put(&w, "host", sl_str(a->vhost != NULL ? a->vhost : at->path[0] != '\0' ? "localhost" : at->host));
    if (at->user != NULL)
        stomp_put(&w, "login", sl_str(at->user));
    if (at->password != NULL)
        stomp_put(&w, "passcode", sl_str(at->password));
    if (a->id != NULL)
        stomp_put(&w, "client-id", sl_str(a->id));
    stomp_put(&w, "heart-beat", sl_str(beats));
    (void)!stomp_end(&w, SL_BYTES_NONE);
}

static int connect_link(struct cli_link *l)
{
    l->stomp->state = DIALLING;
    put_greeting(l);
    if (l->address->path[0] != '\0') {
        if (!dial_path(l))
            broken(l, strerror(errno));
        return SL_OK;
    }
    int err = look_up(l);
    if (err == SL_OK)
        dial_next(l);
    return err;
}

/* ---- out ---- */

static void finish_dialling(struct cli_link *l)
{
    int why = 0;
    socklen_t n = sizeof why;
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof peer;
    (void)getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &why, &n);
    if (why != 0) {
        errno = why;
        dial_next(l);
    } else if (getpeername(l->fd, (struct sockaddr *)&peer, &peer_bytes) == 0) {
        l->stomp->state = GREETING;
    }
}

/* What cannot be written any more stays unanswered; reading tells why. */
static void write_out(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    while (sl_buf_len(&s->out) > 0 && !s->deaf) {
        struct sl_bytes v = sl_buf_view(&s->out);
        ssize_t n = send(l->fd, v.p, v.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno == EINTR)
            continue;
        s->deaf = n < 0;
        sl_buf_consume(&s->out, n < 0 ? 0 : (size_t)n);
        s->last_out_ms = cli_now_ms();
    }
    if (s->deaf)
        return;
    s->answered += s->unwritten; /* without receipts, written is all that can be known */
    s->unwritten = 0;
}

/* A little early: our clock and the server's need not agree. */
static void beat(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    int64_t now = cli_now_ms(), due = s->last_out_ms + s->out_every_ms * 3 / 4, late = s->last_in_ms + s->in_every_ms * 2;
    l->wake_ms = CLI_NO_DEADLINE;
    if (s->out_every_ms > 0 && now >= due && sl_buf_len(&s->out) == 0) {
        (void)!sl_buf_append(&s->out, "\n", 1);
        due = now + s->out_every_ms * 3 / 4;
    }
    if (s->in_every_ms > 0 && s->drained && now >= late) {
        broken(l, "the server has been silent for too long");
        return;
    }
    if (s->out_every_ms > 0)
        l->wake_ms = due;
    if (s->in_every_ms > 0 && s->drained && late < l->wake_ms)
        l->wake_ms = late;
}

static void flush_link(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    if (s->state == DIALLING)
        finish_dialling(l);
    if (s->state == OPEN)
        beat(l);
    if (s->state >= GREETING)
        write_out(l);
    l->wants_write = s->state == DIALLING || (s->state != CLOSED && !s->deaf && sl_buf_len(&s->out) > 0);
    if (s->pending != NULL || s->answered > 0)
        l->wake_ms = cli_now_ms(); /* there is something to look at */
}

/* ---- what is asked for ---- */

static int open_link(struct cli_link *l)
{
    l->stomp = SL_NEW(struct cli_stomp);
    l->speaks = "STOMP";
    return SL_OK;
}

/* Only memory limits what is written, so that a frame always fits. */
static int subscribe(struct cli_link *l, const struct cli_texts *filters)
{
    struct cli_stomp *s = l->stomp;
    for (size_t i = 0; i < filters->n; i++)
        (void)!cli_stomp_put_subscribe(&s->out, s->version, filters->v[i], (uint32_t)i + 1, l->args);
    s->subscribing = filters->n;
    return SL_OK;
}

static int publish(struct cli_link *l, const char *topic, struct sl_bytes payload)
{
    struct cli_stomp *s = l->stomp;
    struct stomp_writer w;
    char receipt[24];
    cli_stomp_begin_send(&w, &s->out, s->version, topic, l->args);
    snprintf(receipt, sizeof receipt, "p%llu", (unsigned long long)++s->sent);
    if (l->args->qos > 0)
        stomp_put(&w, "receipt", sl_str(receipt));
    else
        s->unwritten++;
    return stomp_end(&w, payload);
}

static void acknowledge(struct cli_link *l, struct sl_bytes token, uint32_t subscription)
{
    if (l->stomp->state == OPEN)
        (void)!cli_stomp_put_ack(&l->stomp->out, l->stomp->version, token, subscription);
}

static int disconnect(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    struct stomp_writer w;
    s->leaving = true;
    if (s->state != OPEN)
        return SL_ECLOSED;
    stomp_begin(&w, &s->out, s->version, STOMP_DISCONNECT);
    stomp_put(&w, "receipt", sl_str(BYE));
    return stomp_end(&w, SL_BYTES_NONE);
}

/* ---- in ---- */

static void agree_on_beats(struct cli_stomp *s, const struct stomp_frame *f, int64_t ours)
{
    uint64_t gives = 0, wants = 0;
    struct sl_bytes v = stomp_has(f, STOMP_H_HEART_BEAT) ? f->own[STOMP_H_HEART_BEAT] : sl_str("0,0");
    const uint8_t *comma = v.n == 0 ? NULL : memchr(v.p, ',', v.n);
    if (ours == 0 || comma == NULL || sl_bytes_u64(sl_bytes_of(v.p, (size_t)(comma - v.p)), INT32_MAX, &gives) != SL_OK ||
        sl_bytes_u64(sl_bytes_of(comma + 1, v.n - (size_t)(comma - v.p) - 1), INT32_MAX, &wants) != SL_OK)
        return;
    if (wants > 0)
        s->out_every_ms = (int64_t)wants > ours ? (int64_t)wants : ours;
    if (gives > 0)
        s->in_every_ms = (int64_t)gives > ours ? (int64_t)gives : ours;
    s->last_out_ms = s->last_in_ms = cli_now_ms();
}

static struct cli_event *on_connected(struct cli_link *l, const struct stomp_frame *f)
{
    struct cli_stomp *s = l->stomp;
    struct cli_event *e = cli_event_new(CLI_EV_CONNECTED);
    const struct message_header *version = stomp_frame_find(f, "version"), *session = stomp_frame_find(f, "session");
    s->version = version == NULL                         ? STOMP_V10
                 : sl_bytes_is(version->value, "1.2") ? STOMP_V12
                 : sl_bytes_is(version->value, "1.1") ? STOMP_V11
                                                      : STOMP_V10;
    s->state = OPEN;
    agree_on_beats(s, f, l->args->keep_alive * 1000);
    e->connack.maximum_qos = 1;
    if (session != NULL)
        snprintf(e->connack.assigned_id, sizeof e->connack.assigned_id, "%.*s", (int)session->value.n,
                 (const char *)session->value.p);
    return e;
}

static struct cli_event *on_error(struct cli_link *l, const struct stomp_frame *f)
{
    const struct message_header *message = stomp_frame_find(f, "message");
    struct cli_event *e = cli_event_new(l->stomp->state == GREETING ? CLI_EV_REFUSED : CLI_EV_LOST);
    e->told = true;
    e->reason = CLI_NO_REASON;
    e->body = f->body;
    if (message != NULL)
        snprintf(e->text, sizeof e->text, "%.*s", (int)message->value.n, (const char *)message->value.p);
    hang_up(l);
    return e;
}

static struct cli_event *on_subscribed(struct cli_link *l)
{
    size_t n = l->args->wait ? 1 : l->args->topics.n;
    if (l->stomp->subscribing == 0 || --l->stomp->subscribing > 0)
        return NULL;
    struct cli_event *e = cli_event_new(CLI_EV_SUBSCRIBED);
    e->granted = sl_calloc(n, 1);
    e->n_granted = (uint32_t)n;
    return e;
}

static struct cli_event *on_receipt(struct cli_link *l, const struct stomp_frame *f)
{
    const struct message_header *id = stomp_frame_find(f, "receipt-id");
    if (id == NULL || id->value.n == 0)
        return NULL;
    if (sl_bytes_is(id->value, BYE)) {
        hang_up(l);
        return cli_event_new(CLI_EV_GONE);
    }
    l->stomp->answered += id->value.p[0] == 'p';
    return id->value.p[0] == 's' ? on_subscribed(l) : NULL;
}

static struct cli_event *on_message(struct cli_stomp *s, const struct stomp_frame *f, const struct cli_args *a)
{
    struct cli_event *e = cli_event_new(CLI_EV_MESSAGE);
    e->message = cli_stomp_message(f, s->version, &s->properties);
    size_t i = e->message.subscription;
    if (a->topics.n > 0 && i > 0 && i <= a->topics.n && !cli_stomp_waits_for_ack(a->topics.v[i - 1], a))
        e->message.token = SL_BYTES_NONE;
    e->message.qos = e->message.token.n > 0;
    return e;
}

static struct cli_event *on_frame(struct cli_link *l, const struct stomp_frame *f)
{
    if (f->command == STOMP_ERROR)
        return on_error(l, f);
    if (l->stomp->state == GREETING)
        return f->command == STOMP_CONNECTED ? on_connected(l, f) : NULL;
    if (f->command == STOMP_MESSAGE)
        return on_message(l->stomp, f, l->args);
    return f->command == STOMP_RECEIPT ? on_receipt(l, f) : NULL;
}

/* SL_OK, SL_EMORE, SL_EPEER as the scanner. */
static int next_frame(struct cli_stomp *s, struct stomp_frame *f)
{
    const struct stomp_rules rules = { s->version, false, MAX_HEADERS, MAX_LINE, UINT32_MAX, SIZE_MAX };
    sl_buf_consume(&s->in, s->taken);
    s->taken = 0;
    if (s->scan.pos == 0)
        sl_buf_consume(&s->in, stomp_skip_eols(sl_buf_view(&s->in)));
    struct sl_bytes in = sl_buf_view(&s->in);
    int err = stomp_scan(&s->scan, &rules, in);
    if (err != SL_OK)
        return err;
    stomp_frame_parse(&s->arena, &s->scan, s->version, in, f);
    s->taken = s->scan.pos;
    s->scan = (struct stomp_scan){ 0 };
    return SL_OK;
}

/* True when there is something new to look at. */
static bool receive(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    uint8_t *to = sl_buf_reserve(&s->in, READ_BYTES);
    ssize_t n = recv(l->fd, to, READ_BYTES, MSG_DONTWAIT);
    if (n > 0) {
        sl_buf_commit(&s->in, (size_t)n);
        s->last_in_ms = cli_now_ms();
        return true;
    }
    s->drained = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (!s->drained)
        broken(l, n == 0 ? "the server closed it" : strerror(errno));
    return !s->drained;
}

static struct cli_event *take(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    struct cli_event *e = s->pending;
    s->pending = NULL;
    s->drained = false;
    while (e == NULL && s->state >= GREETING) {
        struct stomp_frame f;
        int err = next_frame(s, &f);
        if (err == SL_OK)
            e = on_frame(l, &f);
        else if (err != SL_EMORE)
            broken(l, "the server sent what is no STOMP");
        else if (!receive(l))
            break;
        if (e == NULL) {
            e = s->pending;
            s->pending = NULL;
        }
    }
    return e;
}

static void begin(struct cli_link *l)
{
    (void)l;
}

static uint64_t answered(struct cli_link *l)
{
    uint64_t n = l->stomp->answered;
    l->stomp->answered = 0;
    return n;
}

static void close_link(struct cli_link *l)
{
    struct cli_stomp *s = l->stomp;
    if (s == NULL)
        return;
    hang_up(l);
    if (s->pending != NULL)
        cli_event_free(NULL, s->pending);
    if (s->found != NULL)
        freeaddrinfo(s->found);
    sl_buf_fini(&s->in);
    sl_buf_fini(&s->out);
    stomp_arena_fini(&s->arena);
    cli_stomp_properties_fini(&s->properties);
    sl_free(s);
    l->stomp = NULL;
}

const struct cli_link_verbs cli_stomp_link = { open_link,  connect_link, subscribe, NULL, publish,  acknowledge,
                                               disconnect, flush_link,   begin,     take, answered, close_link };
