/* Frames into a buffer: begin, headers, end. */
#include "stomp/frame.h"

#include <inttypes.h>
#include <stdio.h>

static void put_raw(struct stomp_writer *w, struct sl_bytes v)
{
    if (!w->bad && sl_buf_append_bytes(w->b, v) != SL_OK)
        w->bad = true;
}

static void put_text(struct stomp_writer *w, const char *s)
{
    put_raw(w, sl_str(s));
}

/* Counted only where the most that it can be does not fit. */
static void put_escaped(struct stomp_writer *w, struct sl_bytes v)
{
    uint8_t *p = w->bad ? NULL : sl_buf_reserve(w->b, 2 * v.n);
    if (p == NULL && !w->bad)
        p = sl_buf_reserve(w->b, stomp_escaped_bytes(w->version, v));
    if (p == NULL)
        w->bad = true;
    else
        sl_buf_commit(w->b, (size_t)(stomp_wr_escaped(p, w->version, v) - p));
}

void stomp_begin(struct stomp_writer *w, struct sl_buf *b, enum stomp_version v,
                 enum stomp_command c)
{
    bool escapes = stomp_command_escapes(c);
    *w = (struct stomp_writer){ b, sl_buf_len(b), escapes ? v : STOMP_V10, false };
    put_text(w, stomp_command_name(c));
    put_text(w, "\n");
}

void stomp_put_bytes(struct stomp_writer *w, struct sl_bytes name, struct sl_bytes value)
{
    put_escaped(w, name);
    put_text(w, ":");
    put_escaped(w, value);
    put_text(w, "\n");
}

void stomp_put(struct stomp_writer *w, const char *name, struct sl_bytes value)
{
    stomp_put_bytes(w, sl_str(name), value);
}

void stomp_put_u64(struct stomp_writer *w, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    stomp_put(w, name, sl_str(text));
}

int stomp_end(struct stomp_writer *w, struct sl_bytes body)
{
    if (body.n > 0)
        stomp_put_u64(w, "content-length", body.n);
    put_text(w, "\n");
    if (body.n > 0)
        put_raw(w, body);
    put_raw(w, sl_bytes_of("", 1));
    if (!w->bad)
        return SL_OK;
    w->b->end = w->b->start + w->start;
    return SL_ETOOBIG;
}
