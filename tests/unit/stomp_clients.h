/* STOMP clients of the hub's kit: frames out, and what came in as short lines. */
#ifndef TEST_STOMP_CLIENTS_H
#define TEST_STOMP_CLIENTS_H

#include "test_hub_kit.h"

/* SUBSCRIBE; `more` is further header lines, each with its line feed, or NULL. */
static inline void stomp_subscribe(struct kit_client *c, const char *id, const char *destination, const char *ack, const char *more)
{
    char frame[512];
    snprintf(frame, sizeof frame, "SUBSCRIBE\nid:%s\ndestination:%s\nack:%s\n%s\n", id, destination, ack, more == NULL ? "" : more);
    kit_frame(c, frame);
}

static inline void stomp_send(struct kit_client *c, const char *destination, const char *body, const char *more)
{
    char frame[512];
    snprintf(frame, sizeof frame, "SEND\ndestination:%s\n%s\n%s", destination, more == NULL ? "" : more, body);
    kit_frame(c, frame);
}

/* "ACK" or "NACK"; `more` as above. */
static inline void stomp_answer(struct kit_client *c, const char *command, const char *ack, const char *more)
{
    char frame[512];
    snprintf(frame, sizeof frame, "%s\nid:%s\n%s\n", command, ack, more == NULL ? "" : more);
    kit_frame(c, frame);
}

/* The first of that name, up to the end of its line; empty: none. `frame` ends with its headers. */
static inline struct sl_bytes stomp_header_in(const char *frame, const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "\n%s:", name);
    const char *p = strstr(frame, line);
    if (p == NULL)
        return SL_BYTES_NONE;
    p += strlen(line);
    return sl_bytes_of(p, strcspn(p, "\n"));
}

static inline size_t stomp_line(char *frame, const char *body, char *out, size_t cap)
{
    static const char *const shown[] = { "message", "receipt-id", "subscription", "destination", "ack", "attempt", "redelivered", "retain", "expires" };
    size_t n = (size_t)snprintf(out, cap, "%.*s", (int)strcspn(frame, "\n"), frame);
    for (size_t i = 0; i < SL_COUNT(shown); i++) {
        struct sl_bytes v = stomp_header_in(frame, shown[i]);
        if (v.n > 0)
            n += (size_t)snprintf(out + n, cap - n, " %s=%.*s", shown[i], (int)v.n, (const char *)v.p);
    }
    bool message = strncmp(frame, "MESSAGE", 7) == 0;
    return n + (size_t)snprintf(out + n, cap - n, message ? " %s\n" : "\n", body);
}

/* What came since it was asked last: "MESSAGE subscription=1 destination=/topic/t ack=1-1
 * attempt=1 redelivered=false body\n", "RECEIPT receipt-id=r\n", "ERROR message=why\n", "closed\n". */
static inline const char *stomp_log(struct kit_client *c)
{
    static char out[sizeof c->log];
    char text[sizeof c->log], *next = text;
    snprintf(text, sizeof text, "%s", kit_log(c));
    size_t n = 0;
    out[0] = '\0';
    while (*next != '\0') {
        char *frame = next + strspn(next, "\n"), *end = strchr(frame, '^');
        if (end == NULL) {
            snprintf(out + n, sizeof out - n, "%s", frame);
            break;
        }
        *end = '\0';
        next = end + 1;
        char *body = strstr(frame, "\n\n");
        assert_non_null(body);
        body[1] = '\0';
        n += stomp_line(frame, body + 2, out + n, sizeof out - n);
    }
    return out;
}

/* How many MESSAGEs came since. */
static inline uint32_t stomp_messages(struct kit_client *c)
{
    uint32_t n = 0;
    for (const char *p = stomp_log(c); (p = strstr(p, "MESSAGE ")) != NULL; p++)
        n++;
    return n;
}

#endif
