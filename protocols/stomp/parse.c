/* A complete frame into views: which headers are the protocol's own, which go
 * with the message. The scanner has found every fault already. */
#include "stomp/frame.h"

#include "core/alloc.h"

#define BIT(h) (1u << STOMP_H_##h)
#define CONNECT_HEADERS                                                                            \
    (BIT(ACCEPT_VERSION) | BIT(HOST) | BIT(LOGIN) | BIT(PASSCODE) | BIT(HEART_BEAT) |              \
     BIT(CLIENT_ID) | BIT(CONTENT_LENGTH))
#define ACK_HEADERS (BIT(ID) | BIT(MESSAGE_ID) | BIT(SUBSCRIPTION) | BIT(TRANSACTION))

/* The protocol's own headers by command; the others go with the message. */
static const uint32_t own_headers[STOMP_NCOMMANDS] = {
    [STOMP_CONNECT] = CONNECT_HEADERS,
    [STOMP_STOMP] = CONNECT_HEADERS,
    [STOMP_SEND] = BIT(DESTINATION) | BIT(CONTENT_LENGTH) | BIT(CONTENT_TYPE) | BIT(RECEIPT) |
                   BIT(TRANSACTION) | BIT(REPLY_TO) | BIT(CORRELATION_ID) | BIT(RETAIN),
    [STOMP_SUBSCRIBE] = BIT(DESTINATION) | BIT(ID) | BIT(ACK) | BIT(RECEIPT),
    [STOMP_UNSUBSCRIBE] = BIT(DESTINATION) | BIT(ID) | BIT(RECEIPT),
    [STOMP_ACK] = ACK_HEADERS | BIT(RECEIPT),
    [STOMP_NACK] = ACK_HEADERS | BIT(RECEIPT),
    [STOMP_BEGIN] = BIT(TRANSACTION) | BIT(RECEIPT),
    [STOMP_COMMIT] = BIT(TRANSACTION) | BIT(RECEIPT),
    [STOMP_ABORT] = BIT(TRANSACTION) | BIT(RECEIPT),
    [STOMP_DISCONNECT] = BIT(RECEIPT),
    [STOMP_CONNECTED] = BIT(HEART_BEAT),
    [STOMP_MESSAGE] = BIT(DESTINATION) | BIT(CONTENT_LENGTH) | BIT(CONTENT_TYPE) | BIT(REPLY_TO) |
                      BIT(CORRELATION_ID) | BIT(ACK) | BIT(MESSAGE_ID) | BIT(SUBSCRIPTION),
    [STOMP_ERROR] = BIT(CONTENT_LENGTH) | BIT(CONTENT_TYPE),
};

bool stomp_line_next(struct sl_bytes *block, struct stomp_line *out)
{
    const uint8_t *lf = block->n == 0 ? NULL : memchr(block->p, '\n', block->n);
    if (lf == NULL)
        return false;
    size_t n = (size_t)(lf - block->p);
    struct sl_bytes line = {block->p, n};
    *block = sl_bytes_of(lf + 1, block->n - n - 1);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n == 0)
        return false;
    const uint8_t *colon = memchr(line.p, ':', line.n);
    size_t name = colon == NULL ? line.n : (size_t)(colon - line.p);
    size_t value = colon == NULL ? line.n : name + 1;
    out->name = sl_bytes_of(line.p, name);
    out->value = sl_bytes_of(line.p + value, line.n - value);
    return true;
}

void stomp_arena_fini(struct stomp_arena *a)
{
    sl_free(a->headers);
    sl_free(a->text);
    *a = (struct stomp_arena){0};
}

static size_t grown(size_t cap, size_t need)
{
    size_t n = cap == 0 ? 16 : cap;
    while (n < need)
        n *= 2;
    return n;
}

/* Empties the arena and makes room; nothing moves until the next frame. */
static void arena_ready(struct stomp_arena *a, size_t n_headers, size_t text)
{
    a->text_used = 0;
    if (a->headers == NULL || n_headers > a->headers_cap) {
        a->headers_cap = grown(a->headers_cap, n_headers);
        sl_free(a->headers);
        a->headers = sl_calloc(a->headers_cap, sizeof *a->headers);
    }
    if (a->text == NULL || text > a->text_cap) {
        a->text_cap = grown(a->text_cap < 512 ? 512 : a->text_cap, text);
        sl_free(a->text);
        a->text = sl_alloc(a->text_cap);
    }
}

uint8_t *stomp_arena_take(struct stomp_arena *a, size_t n)
{
    SL_ASSERT(n <= a->text_cap - a->text_used);
    uint8_t *p = a->text + a->text_used;
    a->text_used += n;
    return p;
}

static struct sl_bytes plain(struct stomp_arena *a, enum stomp_version v, struct sl_bytes in)
{
    if (in.n == 0 || memchr(in.p, '\\', in.n) == NULL)
        return in;
    uint8_t *p = stomp_arena_take(a, in.n);
    return sl_bytes_of(p, stomp_unescape(v, in, p));
}

static void place(struct stomp_frame *f, struct message_header *others, const struct stomp_line *l)
{
    enum stomp_header h = stomp_header_of(l->name);
    if (h == STOMP_H_OTHER || (own_headers[f->command] >> h & 1u) == 0) {
        others[f->n_headers++] = (struct message_header){l->name, l->value};
        return;
    }
    if (stomp_has(f, h))
        return; /* of a repeated header the first one counts */
    f->own[h] = l->value;
    f->present |= 1u << h;
}

void stomp_frame_parse(struct stomp_arena *a, const struct stomp_scan *sc,
                       enum stomp_version version, struct sl_bytes raw, struct stomp_frame *out)
{
    arena_ready(a, sc->n_headers, 2 * sc->body + STOMP_ARENA_SPARE);
    out->command = (enum stomp_command)sc->command;
    out->present = 0;
    out->headers = a->headers;
    out->n_headers = 0;
    out->head = sl_bytes_of(raw.p, sc->body);
    out->body = sl_bytes_of(raw.p + sc->body, sc->pos - sc->body - 1);
    bool escapes = sc->escapes && version != STOMP_V10 && stomp_command_escapes(out->command);
    struct sl_bytes block = {raw.p + sc->head, sc->body - sc->head};
    struct stomp_line line;
    while (stomp_line_next(&block, &line)) {
        if (escapes) {
            line.name = plain(a, version, line.name);
            line.value = plain(a, version, line.value);
        }
        place(out, a->headers, &line);
    }
}

const struct message_header *stomp_frame_find(const struct stomp_frame *f, const char *name)
{
    for (size_t i = 0; i < f->n_headers; i++)
        if (sl_bytes_is(f->headers[i].name, name))
            return &f->headers[i];
    return NULL;
}
