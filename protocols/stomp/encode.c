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

/* What stands for `c` on the wire, NULL: itself. */
static const char *wire_form(const struct stomp_writer *w, uint8_t c)
{
    if (c == 0)
        return " ";
    if (!w->escape)
        return c == '\n' ? " " : NULL;
    switch (c) {
    case '\n':
        return "\\n";
    case ':':
        return "\\c";
    case '\\':
        return "\\\\";
    case '\r':
        return w->version == STOMP_V12 ? "\\r" : NULL;
    default:
        return NULL;
    }
}

/* In runs: most values have nothing to escape. */
static void put_escaped(struct stomp_writer *w, struct sl_bytes v)
{
    size_t run = 0;
    for (size_t i = 0; i < v.n; i++) {
        const char *form = wire_form(w, v.p[i]);
        if (form == NULL)
            continue;
        put_raw(w, sl_bytes_of(v.p + run, i - run));
        put_text(w, form);
        run = i + 1;
    }
    if (v.n > run)
        put_raw(w, sl_bytes_of(v.p + run, v.n - run));
}

void stomp_begin(struct stomp_writer *w, struct sl_buf *b, enum stomp_version v,
                 enum stomp_command c)
{
    *w = (struct stomp_writer){b, sl_buf_len(b), v, v != STOMP_V10 && stomp_command_escapes(c),
                               false};
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
