/* Names and escapes.
 *
 *   1.0  nothing is escaped
 *   1.1  \n line feed, \c colon, \\ backslash
 *   1.2  these and \r carriage return
 *
 * Any other escape is a fatal error in 1.1 and 1.2. */
#include "stomp/frame.h"

static const char *const version_names[] = {"1.0", "1.1", "1.2"};

static const char *const command_names[STOMP_NCOMMANDS] = {
    [STOMP_NO_COMMAND] = "",
    [STOMP_CONNECT] = "CONNECT",
    [STOMP_STOMP] = "STOMP",
    [STOMP_SEND] = "SEND",
    [STOMP_SUBSCRIBE] = "SUBSCRIBE",
    [STOMP_UNSUBSCRIBE] = "UNSUBSCRIBE",
    [STOMP_ACK] = "ACK",
    [STOMP_NACK] = "NACK",
    [STOMP_BEGIN] = "BEGIN",
    [STOMP_COMMIT] = "COMMIT",
    [STOMP_ABORT] = "ABORT",
    [STOMP_DISCONNECT] = "DISCONNECT",
    [STOMP_CONNECTED] = "CONNECTED",
    [STOMP_MESSAGE] = "MESSAGE",
    [STOMP_RECEIPT] = "RECEIPT",
    [STOMP_ERROR] = "ERROR",
};

#define NAME(s)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }
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
};
#undef NAME

const char *stomp_version_name(enum stomp_version v)
{
    return version_names[v];
}

const char *stomp_command_name(enum stomp_command c)
{
    return command_names[c];
}

const char *stomp_header_name(enum stomp_header h)
{
    return (const char *)header_names[h].p;
}

enum stomp_command stomp_command_of(struct sl_bytes name, bool from_client)
{
    int first = from_client ? STOMP_CONNECT : STOMP_CONNECTED;
    int end = from_client ? STOMP_CONNECTED : STOMP_NCOMMANDS;
    for (int c = first; c < end; c++)
        if (sl_bytes_is(name, command_names[c]))
            return (enum stomp_command)c;
    return STOMP_NO_COMMAND;
}

enum stomp_header stomp_header_of(struct sl_bytes name)
{
    for (int h = 0; h < STOMP_NHEADERS; h++)
        if (header_names[h].n == name.n && header_names[h].p[0] == name.p[0] &&
            memcmp(header_names[h].p, name.p, name.n) == 0)
            return (enum stomp_header)h;
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
