/* Messages out of the inbox: their frames are found one behind the other, and when there are
 * enough, or no more can come, they are handed out together. One message is a batch of one. */
#include "core/alloc.h"
#include "internal.h"

struct wish {
    uint32_t max;     /* not 0 */
    int wait_ms;      /* for the others, once the first is there */
    uint64_t give_up; /* when not even the first is there */
};

/* ---- gathering ---- */

static struct sluice_worker_message *batch_add(struct sluice_worker_batch *b)
{
    if (b->n == b->cap) {
        b->cap = b->cap == 0 ? 64 : b->cap * 2;
        b->messages = sl_realloc(b->messages, b->cap * sizeof *b->messages);
    }
    return &b->messages[b->n++];
}

/* Field by field: the parts, most of the struct, are written when it is handed out. */
static void gather(struct sluice_worker *w, const struct wire_deliver *d)
{
    struct sluice_worker_message *m = batch_add(&w->batch);
    m->worker = w;
    m->tag = d->tag;
    m->attempt = d->attempt;
    m->max_attempts = d->max_attempts;
    m->connection = w->connection;
    m->flags = d->flags;
    m->answered = m->copied = m->is_copy = false;
    m->state = 0;
    m->record_at = (size_t)(d->record.p - (w->in.p + w->in.start));
    m->record = sl_bytes_of(NULL, d->record.n);
    m->prev = m->next = NULL;
}

/* Nothing more comes before these are answered, or they are all that was wished for. */
static bool complete(const struct sluice_worker *w, const struct wish *wish)
{
    const struct sluice_worker_message *last = &w->batch.messages[w->batch.n - 1];
    if (w->batch.n >= wish->max || w->batch.n >= w->welcome.prefetch)
        return true;
    if ((w->welcome.flags & WIRE_BATCHES) && !(last->flags & WIRE_MORE))
        return true;
    return (last->flags & WIRE_LAST) && last->attempt > 1;
}

static int control_once(struct sluice_worker *w, const struct wire_frame *f, size_t at)
{
    return at < w->in.checked ? SLUICE_WORKER_OK : worker_take_control(w, f);
}

/* Takes whole frames of the inbox until the batch is complete. */
static int take_frames(struct sluice_worker *w, const struct wish *wish, bool *done)
{
    while (!*done) {
        struct wire_frame f;
        size_t bytes, at = w->in.start + w->batch.bytes;
        int err = stream_frame(w, at, &f, &bytes);
        if (err != SLUICE_WORKER_OK || bytes == 0)
            return err;
        if (f.type == WIRE_DELIVER) {
            gather(w, &f.u.deliver);
            *done = complete(w, wish);
        } else if ((err = control_once(w, &f, at)) != SLUICE_WORKER_OK) {
            return err;
        }
        if (w->batch.n > 0)
            w->batch.bytes += bytes;
        else
            w->in.start += bytes;
        if (w->in.checked < at + bytes)
            w->in.checked = at + bytes;
    }
    return SLUICE_WORKER_OK;
}

/* ---- waiting ---- */

/* The gateway closed while we were writing: perhaps it said why. */
static int last_words(struct sluice_worker *w)
{
    bool got;
    int err;
    do
        err = worker_look(w, &got);
    while (err == SLUICE_WORKER_OK && got);
    return err == SLUICE_WORKER_OK || err == SLUICE_WORKER_ESYS
               ? worker_fail(SLUICE_WORKER_EGONE, "the gateway closed the connection")
               : err;
}

/* Waits for bytes when there is no whole frame; the answers go out first. */
static int fill(struct sluice_worker *w, uint64_t until)
{
    bool got;
    int err = stream_flush(w);
    w->written_us = w->handed_us;
    if (err == SLUICE_WORKER_EGONE)
        return last_words(w);
    if (err == SLUICE_WORKER_OK)
        err = stream_read(w, &got);
    if (err == SLUICE_WORKER_EGONE && w->draining && w->batch.n == 0)
        return SLUICE_WORKER_DRAINED;
    if (err != SLUICE_WORKER_OK || got)
        return err;
    return w->draining ? SLUICE_WORKER_DRAINED : stream_wait(w, until);
}

/* TIMEOUT and DRAINED with something gathered: that is the batch. A stop is not looked away from: what
 * is not handed out goes back. */
static int gather_all(struct sluice_worker *w, const struct wish *wish)
{
    uint64_t until = wish->give_up;
    bool done = false, some = false;
    int err = SLUICE_WORKER_OK;
    while (err == SLUICE_WORKER_OK && !done) {
        if (worker_stopping(w))
            return SLUICE_WORKER_DRAINED;
        err = take_frames(w, wish, &done);
        if (err != SLUICE_WORKER_OK || done)
            break;
        if (w->batch.n > 0 && !some) {
            some = true;
            until = stream_deadline(wish->wait_ms);
        }
        if (some && wish->wait_ms == 0 && w->in.drained)
            break;
        err = fill(w, until);
    }
    if (w->batch.n > 0 && (err == SLUICE_WORKER_TIMEOUT || err == SLUICE_WORKER_DRAINED))
        return SLUICE_WORKER_OK;
    return err;
}

/* ---- handing out ---- */

static int hand_out(struct sluice_worker *w)
{
    struct sluice_worker_batch *b = &w->batch;
    const uint8_t *base = w->in.p + w->in.start;
    bool suspect = false;
    for (size_t i = 0; i < b->n; i++) {
        struct sluice_worker_message *m = &b->messages[i];
        m->record.p = base + m->record_at;
        message_view(m->record, &m->parts);
        suspect |= m->attempt > 1 || (m->flags & WIRE_REDELIVERED);
    }
    w->in.start += b->bytes;
    w->holding = true;
    w->served = true;
    return stream_flush_if_due(w, suspect);
}

/* The user's program forgot them: said to the gateway, so that they do not hang there until
 * their time limit. */
static int finish_batch(struct sluice_worker *w)
{
    int err = SLUICE_WORKER_OK;
    for (size_t i = 0; w->holding && err == SLUICE_WORKER_OK && i < w->batch.n; i++) {
        struct sluice_worker_message *m = &w->batch.messages[i];
        if (!m->answered && !m->copied)
            err = sluice_worker_retry(m, WIRE_DELAY_BY_QUEUE, "not answered by the worker");
    }
    stream_messages_done(w);
    w->batch.n = 0;
    w->batch.bytes = 0;
    return err;
}

static int next(struct sluice_worker *w, const struct wish *wish)
{
    if (w->broken != SLUICE_WORKER_OK)
        return w->broken;
    int err = finish_batch(w);
    if (err == SLUICE_WORKER_OK)
        err = gather_all(w, wish);
    if (err == SLUICE_WORKER_OK)
        err = hand_out(w);
    if (err == SLUICE_WORKER_OK)
        return err;
    stream_messages_done(w);
    if (err == SLUICE_WORKER_DRAINED) {
        int flushed = stream_flush(w);
        return flushed == SLUICE_WORKER_OK ? err : flushed;
    }
    if (err != SLUICE_WORKER_TIMEOUT)
        w->broken = err;
    return err;
}

int sluice_worker_next_within(struct sluice_worker *w, int timeout_ms,
                              struct sluice_worker_message **m)
{
    struct wish wish = { .max = 1, .give_up = stream_deadline(timeout_ms) };
    int err = next(w, &wish);
    if (err == SLUICE_WORKER_OK)
        *m = &w->batch.messages[0];
    return err;
}

int sluice_worker_next(struct sluice_worker *w, struct sluice_worker_message **m)
{
    return sluice_worker_next_within(w, -1, m);
}

int sluice_worker_next_batch_within(struct sluice_worker *w, int timeout_ms, uint32_t max,
                                    int wait_ms, struct sluice_worker_batch **b)
{
    struct wish wish = { .max = max == 0 ? UINT32_MAX : max,
                         .wait_ms = wait_ms,
                         .give_up = stream_deadline(timeout_ms) };
    int err = next(w, &wish);
    if (err == SLUICE_WORKER_OK)
        *b = &w->batch;
    return err;
}

int sluice_worker_next_batch(struct sluice_worker *w, uint32_t max, int wait_ms,
                             struct sluice_worker_batch **b)
{
    return sluice_worker_next_batch_within(w, -1, max, wait_ms, b);
}
