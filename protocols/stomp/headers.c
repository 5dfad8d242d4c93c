/* Names and escapes.
 *
 *   1.0  nothing is escaped
 *   1.1  \n line feed, \c colon, \\ backslash
 *   1.2  these and \r carriage return
 *
 * Any other escape is a fatal error in 1.1 and 1.2. */
#include "stomp/frame.h"

static const char *const version_names[] = { "1.0", "1.1", "1.2" };

#define NAME(s)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }
static const struct sl_bytes command_names[STOMP_NCOMMANDS] = {
    [STOMP_NO_COMMAND] = NAME(""),
    [STOMP_CONNECT] = NAME("CONNECT"),
    [STOMP_STOMP] = NAME("STOMP"),
    [STOMP_SEND] = NAME("SEND"),
    [STOMP_SUBSCRIBE] = NAME("SUBSCRIBE"),
    [STOMP_UNSUBSCRIBE] = NAME("UNSUBSCRIBE"),
    [STOMP_ACK] = NAME("ACK"),
    [STOMP_NACK] = NAME("NACK"),
    [STOMP_BEGIN] = NAME("BEGIN"),
    [STOMP_COMMIT] = NAME("COMMIT"),
    [STOMP_ABORT] = NAME("ABORT"),
    [STOMP_DISCONNECT] = NAME("DISCONNECT"),
    [STOMP_CONNECTED] = NAME("CONNECTED"),
    [STOMP_MESSAGE] = NAME("MESSAGE"),
    [STOMP_RECEIPT] = NAME("RECEIPT"),
    [STOMP_ERROR] = NAME("ERROR"),
};

static const struct sl_bytes header_names[STOMP_NHEADERS] = {
    [STOMP_H_ACCEPT_VERSION] = NAME("accept-version"),
    [STOMP_H_HOST] = NAME("host"),
    [STOMP_H_LOGIN] = NAME("login"),
    [STOMP_H_PASSCODE] = NAME("passcode"),
    [STOMP_H_HEART_BEAT] = NAME("heart-beat"),
    [STOMP_H_CLIENT_ID] = NAME("client-id"),
    [STOMP_H_DESTINATION] = NAME("destination"),
    [STOMP_H_CONTENT_LENGTH] = NAME("content-length"),
    [STOMP_H_CONTENT_TYPE] = NAME("content-type"),
    [STOMP_H_RECEIPT] = NAME("receipt"),
    [STOMP_H_TRANSACTION] = NAME("transaction"),
    [STOMP_H_REPLY_TO] = NAME("reply-to"),
    [STOMP_H_CORRELATION_ID] = NAME("correlation-id"),
    [STOMP_H_ID] = NAME("id"),
    [STOMP_H_ACK] = NAME("ack"),
    [STOMP_H_MESSAGE_ID] = NAME("message-id"),
    [STOMP_H_SUBSCRIPTION] = NAME("subscription"),
    [STOMP_H_RETAIN] = NAME("retain"),
};
#undef NAME

const char *stomp_version_name(enum stomp_version v)
{
    return version_names[v];
}

const char *stomp_command_name(enum stomp_command c)
{
    return (const char *)command_names[c].p;
}

const char *stomp_header_name(enum stomp_header h)
{
    return (const char *)header_names[h].p;
}

/* Most differ in length or in the first byte. */
static inline bool is_name(const struct sl_bytes *known, struct sl_bytes name)
{
    return known->n == name.n && known->p[0] == name.p[0] && memcmp(known->p, name.p, name.n) == 0;
}

enum stomp_command stomp_command_of(struct sl_bytes name, bool from_client)
{
    int first = from_client ? STOMP_CONNECT : STOMP_CONNECTED;
    int end = from_client ? STOMP_CONNECTED : STOMP_NCOMMANDS;
    for (int c = first; c < end; c++)
        if (is_name(&command_names[c], name))
            return (enum stomp_command)c;
    return STOMP_NO_COMMAND;
}

/* Every header line of every frame is looked up: few share a length. */
static const uint8_t headers_by_length[][3] = {
    [2] = { STOMP_H_ID + 1 },
    [3] = { STOMP_H_ACK + 1 },
    [4] = { STOMP_H_HOST + 1 },
    [5] = { STOMP_H_LOGIN + 1 },
    [6] = { STOMP_H_RETAIN + 1 },
    [7] = { STOMP_H_RECEIPT + 1 },
    [8] = { STOMP_H_REPLY_TO + 1, STOMP_H_PASSCODE + 1 },
    [9] = { STOMP_H_CLIENT_ID + 1 },
    [10] = { STOMP_H_MESSAGE_ID + 1, STOMP_H_HEART_BEAT + 1 },
    [11] = { STOMP_H_DESTINATION + 1, STOMP_H_TRANSACTION + 1 },
    [12] = { STOMP_H_CONTENT_TYPE + 1, STOMP_H_SUBSCRIPTION + 1 },
    [14] = { STOMP_H_CONTENT_LENGTH + 1, STOMP_H_CORRELATION_ID + 1, STOMP_H_ACCEPT_VERSION + 1 },
};

enum stomp_header stomp_header_of(struct sl_bytes name)
{
    if (name.n >= SL_COUNT(headers_by_length))
        return STOMP_H_OTHER;
    for (size_t i = 0; i < SL_COUNT(headers_by_length[0]); i++) {
        unsigned h = headers_by_length[name.n][i];
        if (h == 0)
            break;
        if (memcmp(header_names[h - 1].p, name.p, name.n) == 0)
            return (enum stomp_header)(h - 1);
    }
    return STOMP_H_OTHER;
}

bool stomp_command_escapes(enum stomp_command c)
{
    return c != STOMP_CONNECT && c != STOMP_STOMP && c != STOMP_CONNECTED;
}

/* What `\` with `c` stands for, -1 if the version does not define it. */
static int escaped(enum stomp_version v, uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'c':
        return ':';
    case '\\':
        return '\\';
    case 'r':
        return v == STOMP_V12 ? '\r' : -1;
    default:
        return -1;
    }
}

bool stomp_escapes_valid(enum stomp_version v, struct sl_bytes in)
{
    if (v == STOMP_V10 || in.n == 0)
        return true;
    const uint8_t *end = in.p + in.n;
    const uint8_t *p = memchr(in.p, '\\', in.n);
    while (p != NULL) {
        if (end - p < 2 || escaped(v, p[1]) < 0)
            return false;
        p += 2;
        p = p == end ? NULL : memchr(p, '\\', (size_t)(end - p));
    }
    return true;
}

size_t stomp_unescape(enum stomp_version v, struct sl_bytes in, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        uint8_t c = in.p[i];
        if (c == '\\' && v != STOMP_V10) {
            SL_ASSERT(i + 1 < in.n);
            int plain = escaped(v, in.p[++i]);
            SL_ASSERT(plain >= 0);
            c = (uint8_t)plain;
        }
        out[n++] = c;
    }
    return n;
}

/* ---- writing ---- */

/* Bytes that may not stand as they are, in some version or other. */
static const uint8_t special[256] = {
    ['\0'] = 1, ['\n'] = 1, ['\r'] = 1, [':'] = 1, ['\\'] = 1,
};

static uint8_t *wr_special(uint8_t *p, enum stomp_version v, uint8_t c)
{
    static const uint8_t letters[] = { ['\n'] = 'n', ['\r'] = 'r', [':'] = 'c', ['\\'] = '\\' };
    if (c == 0 || (c == '\n' && v == STOMP_V10))
        return sl_wr_u8(p, ' ');
    if (v == STOMP_V10 || (c == '\r' && v != STOMP_V12))
        return sl_wr_u8(p, c);
    return sl_wr_u8(sl_wr_u8(p, '\\'), letters[c]);
}

uint8_t *stomp_wr_escaped(uint8_t *p, enum stomp_version v, struct sl_bytes in)
{
    for (size_t i = 0; i < in.n; i++) {
        if (SL_LIKELY(!special[in.p[i]]))
            *p++ = in.p[i];
        else
            p = wr_special(p, v, in.p[i]);
    }
    return p;
}

size_t stomp_escaped_bytes(enum stomp_version v, struct sl_bytes in)
{
    size_t n = 0;
    uint8_t two[2];
    for (size_t i = 0; i < in.n; i++)
        n += special[in.p[i]] ? (size_t)(wr_special(two, v, in.p[i]) - two) : 1;
    return n;
}
