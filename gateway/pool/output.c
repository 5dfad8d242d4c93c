/* What a worker prints becomes log lines, escaped, cut and limited in rate; the
 * last bytes of its stderr are kept for the history of what it failed at. */
#include <stdio.h>

#include "core/utf8.h"
#include "pool_internal.h"

/* Decision 46: the message's id only when exactly one is started. */
static const struct held *only_started(const struct worker *w)
{
    uint32_t concurrency = w->mode.ops->per_message ? 1 : w->slot->pool->cfg->concurrency;
    if (w->held.n_open == 0 || (w->held.n_open > 1 && concurrency > 1))
        return NULL;
    return held_first(&w->held);
}

static void log_line(struct worker *w, struct output_stream *s)
{
    struct slot *slot = w->slot;
    if (!sl_log_allow(&slot->output_limit, pools_now(slot->pool->pools), OUTPUT_LINES_S))
        return;
    char text[OUTPUT_LINE_MAX * 4 + 4];
    char id[32] = "";
    const struct held *one = only_started(w);
    if (one != NULL)
        (void)snprintf(id, sizeof id, " id=%016llx", (unsigned long long)one->id);
    (void)sl_escape(sl_bytes_of(s->line, s->n), text, sizeof text);
    sl_log(SL_INFO, "worker_output", "pool=%s pid=%d stream=%s%s line=\"%s%s\"", slot->pool->cfg->name,
           (int)w->pid, s->name, id, text, s->overlong ? "..." : "");
}

static void end_line(struct worker *w, struct output_stream *s)
{
    if (s->n > 0 && s->line[s->n - 1] == '\r')
        s->n--;
    if (s->n > 0)
        log_line(w, s);
    s->n = 0;
    s->overlong = false;
}

static void keep_tail(struct worker *w, struct sl_bytes in)
{
    for (size_t i = in.n > TAIL_BYTES ? in.n - TAIL_BYTES : 0; i < in.n; i++)
        w->tail[w->tail_n++ % TAIL_BYTES] = in.p[i];
}

void output_feed(struct worker *w, struct output_stream *s, struct sl_bytes in)
{
    if (s == &w->streams[1])
        keep_tail(w, in);
    while (in.n > 0) {
        const uint8_t *end = memchr(in.p, '\n', in.n);
        size_t part = end == NULL ? in.n : (size_t)(end - in.p);
        size_t room = sizeof s->line - s->n;
        size_t taken = part < room ? part : room;
        memcpy(s->line + s->n, in.p, taken);
        s->n += taken;
        s->overlong |= taken < part;
        if (end == NULL)
            return;
        end_line(w, s);
        in = sl_bytes_of(end + 1, in.n - part - 1);
    }
}

void output_end(struct worker *w)
{
    for (size_t i = 0; i < SL_COUNT(w->streams); i++)
        end_line(w, &w->streams[i]);
}

struct sl_bytes output_tail(const struct worker *w, uint8_t *out)
{
    uint64_t n = w->tail_n < TAIL_BYTES ? w->tail_n : TAIL_BYTES;
    for (uint64_t i = 0; i < n; i++)
        out[i] = w->tail[(w->tail_n - n + i) % TAIL_BYTES];
    return sl_bytes_of(out, (size_t)n);
}
