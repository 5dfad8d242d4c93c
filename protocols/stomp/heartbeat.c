/* Heart-beats (1.1 and 1.2), in both directions.
 *
 * We send a line feed when nothing was written for four fifths of what was
 * agreed, so that it arrives in time; the client is given twice what was
 * agreed, since clocks and networks are not exact. */
#include "session.h"

static bool parse_pair(struct sl_bytes in, uint64_t *x, uint64_t *y)
{
    const uint8_t *comma = in.n == 0 ? NULL : memchr(in.p, ',', in.n);
    if (comma == NULL)
        return false;
    size_t n = (size_t)(comma - in.p);
    return sl_bytes_u64(sl_bytes_of(in.p, n), UINT32_MAX, x) == SL_OK &&
           sl_bytes_u64(sl_bytes_of(comma + 1, in.n - n - 1), UINT32_MAX, y) == SL_OK;
}

/* 0: one side does not want it; else the slower of both wishes. */
static uint32_t agree(uint32_t ours, uint64_t theirs)
{
    if (ours == 0 || theirs == 0)
        return 0;
    return theirs > ours ? (uint32_t)theirs : ours;
}

bool stomp_heartbeat_agree(struct stomp_session *s, struct sl_bytes header)
{
    uint64_t can = 0, wants = 0;
    if (!parse_pair(header, &can, &wants))
        return false;
    s->beat_in_ms = agree(s->cfg->heart_beat_ms, can);
    s->beat_out_ms = agree(s->cfg->heart_beat_ms, wants);
    return true;
}

static uint64_t next_out(const struct stomp_session *s)
{
    uint64_t early = (uint64_t)s->beat_out_ms * 4 / 5;
    return s->last_out_ms + (early > 0 ? early : 1);
}

static uint64_t last_in(const struct stomp_session *s)
{
    return s->last_in_ms + 2 * (uint64_t)s->beat_in_ms;
}

static bool expects_input(const struct stomp_session *s)
{
    return s->state == STOMP_READY && s->beat_in_ms > 0 && !s->paused;
}

static bool owes_output(const struct stomp_session *s)
{
    return (s->state == STOMP_READY || s->state == STOMP_LEAVING) && s->beat_out_ms > 0;
}

void stomp_heartbeat_tick(struct stomp_session *s)
{
    if (expects_input(s) && s->now_ms >= last_in(s)) {
        stomp_fail(s, STOMP_E_HEART_BEAT, SL_BYTES_NONE, NULL);
        return;
    }
    if (!owes_output(s) || s->now_ms < next_out(s))
        return;
    /* Output that waits for the peer to read it is sign of life enough. */
    if (sl_buf_len(&s->out) == 0 && sl_buf_append(&s->out, "\n", 1) != SL_OK)
        return;
    s->last_out_ms = s->now_ms;
}

uint64_t stomp_heartbeat_deadline(const struct stomp_session *s)
{
    uint64_t in = expects_input(s) ? last_in(s) : UINT64_MAX;
    uint64_t out = owes_output(s) ? next_out(s) : UINT64_MAX;
    return in < out ? in : out;
}
