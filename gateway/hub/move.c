/* How a dead letter goes on: forwarded when it dies, or moved later.
 *
 *   dead ──▶ settled as "moved" ┐
 *   new message, hops + 1 ──────┴─ bound ─▶ one batch: after a crash it is in one place
 *
 * The new one has an id of its own, no expiry and no delay, and joins the tail of its
 * queue. It passes no route, no subscriber and no window of duplicates: it was accepted
 * once. It is leased when it is stored, not earlier. */
#include "core/utf8.h"
#include "dead.h"
#include "jobs.h"
#include "results.h"
#include "trace.h"

#define REASON_MAX 1024u
#define AT_MAX     40u

/* ---- the new message ---- */

/* Why it died, as its headers tell it. */
struct death {
    char attempts[16], at[AT_MAX], escaped[REASON_MAX + 1];
    struct message_header headers[5];
    size_t n;
};

static const char *const k_names[] = { "dead-queue", "dead-cause", "dead-attempts", "dead-at", "dead-reason" };

static bool tells_of_death(struct sl_bytes name)
{
    for (size_t i = 0; i < SL_COUNT(k_names); i++) {
        if (sl_bytes_is(name, k_names[i]))
            return true;
    }
    return false;
}

static void put(struct death *d, struct sl_bytes value)
{
    d->headers[d->n] = (struct message_header){ sl_str(k_names[d->n]), value };
    d->n++;
}

/* A worker may write anything there; a header is text. */
static struct sl_bytes text_of(struct death *d, struct sl_bytes reason)
{
    struct sl_bytes v = sl_bytes_of(reason.p, reason.n < REASON_MAX ? reason.n : REASON_MAX);
    while (v.n < reason.n && v.n > 0 && (reason.p[v.n] & 0xC0u) == 0x80)
        v.n--; /* not in the middle of a character */
    return sl_utf8_valid(v) ? v : sl_str(sl_escape(v, d->escaped, sizeof d->escaped));
}

static void describe(const struct hub *h, uint32_t from, const struct queue_change *dead, struct sl_bytes reason, struct death *d)
{
    d->n = 0;
    snprintf(d->attempts, sizeof d->attempts, "%u", dead->attempts);
    put(d, sl_str(h->queues[from].cfg->name));
    put(d, sl_str(queue_cause_name(dead->cause)));
    put(d, sl_str(d->attempts));
    put(d, sl_str(sl_time_format(h->now.wall_ms - dead_age_ms(h, dead), d->at, sizeof d->at)));
    if (reason.n > 0)
        put(d, text_of(d, reason));
}

/* Its own headers, without what an earlier death left there when there is a new one. */
static size_t collect(const struct message *m, const struct death *d, struct message_header *out)
{
    struct message_header header;
    size_t pos = 0, n = 0;
    while (message_header_next(message_record(m), &pos, &header)) {
        if (d == NULL || !tells_of_death(header.name))
            out[n++] = header;
    }
    if (d == NULL || n + d->n > UINT16_MAX)
        return n;
    memcpy(out + n, d->headers, d->n * sizeof *out);
    return n + d->n;
}

static struct message *build(const struct message *m, const struct death *d)
{
    struct message_parts parts;
    message_view(message_record(m), &parts);
    struct message_header *headers = sl_calloc(parts.n_headers + SL_COUNT(d->headers), sizeof *headers);
    parts.n_headers = collect(m, d, headers);
    parts.headers = headers;
    parts.hops++;
    parts.deliver_at = parts.expires_at = 0;
    parts.flags &= (uint8_t)~(MESSAGE_DELIVER_RELATIVE | MESSAGE_EXPIRES_RELATIVE);
    struct message *moved = message_new(&parts);
    sl_free(headers);
    return moved;
}

/* ---- the step ---- */

static void enter(struct hub *h, uint32_t to, struct message *m)
{
    const struct offer_item it = { m, h->queues[to].alone };
    offer_make_room(h, &it);
    message_set_id(m, ++h->next_id, h->now.wall_ms);
    (void)record_enqueue(h, m, it.to, true);
    if (message_is_job(m))
        jobs_enter(h, m, it.to);
    if (h->trace != NULL)
        trace_entered(h, m, it.to);
    message_unref(m); /* its queue and the batch have theirs */
}

/* Takes `m`. */
static void replace(struct hub *h, uint32_t from, uint32_t to, const struct queue_change *dead, struct message *m)
{
    struct queue_change gone;
    int err = queue_dead_leave(h->queues[from].q, dead->entry, dead->id, QUEUE_EXIT_MOVED, &gone);
    SL_ASSERT(err == SL_OK);
    uint32_t settled = h->commit.open->n;
    settle_with(h, from, &gone, true);
    uint32_t entered = h->commit.open->n;
    enter(h, to, m);
    if (h->trace != NULL)
        trace_became(h, HUB_TRACE_MOVED, gone.id, from, h->next_id, to);
    if (h->commit.open->n == entered)
        return; /* a queue that is not durable: one step as long as the process lives */
    bind_answers(h, settled, entered);
    h->commit.owed = true;
}

void move_on(struct hub *h, uint32_t from, uint32_t to, const struct queue_change *dead, const struct message *m, bool forwarded)
{
    struct death d;
    if (forwarded)
        describe(h, from, dead, SL_BYTES_NONE, &d);
    replace(h, from, to, dead, build(m, forwarded ? &d : NULL));
}

/* ---- whether ---- */

bool takes_dead(const struct hub *h, uint32_t to, uint32_t bytes)
{
    return h->commit.health == HUB_OK && !h->draining && !hub_memory_pressed(h) && queue_has_room(h->queues[to].q, 1, bytes);
}

bool never_takes(const struct hub *h, uint32_t to, uint32_t bytes)
{
    return bytes > h->queues[to].cfg->max_bytes;
}

/* What a worker or a consumer held may go over the limits of the target by no more than the
 * work in flight (decision 30): else all that a queue ever had could die into one that is full. */
static bool takes_from_work(const struct hub *h, uint32_t from, uint32_t to, uint32_t bytes)
{
    const struct queue_config *cfg = h->queues[to].cfg;
    struct queue_depth work, there;
    queue_depth(h->queues[from].q, &work);
    queue_depth(h->queues[to].q, &there);
    uint64_t n = there.count[QUEUE_READY] + there.count[QUEUE_LEASED] + there.count[QUEUE_DELAYED];
    uint64_t over = work.count[QUEUE_LEASED] + 1; /* and this one */
    bool few = n < over || n - over < cfg->max_messages;
    return few && (there.bytes <= over * bytes || there.bytes - over * bytes <= cfg->max_bytes);
}

/* What expired while it waited is any number, and takes no more than there is room for. */
static bool goes_at_once(const struct hub *h, uint32_t from, uint32_t to, const struct queue_change *c)
{
    return c->cause == QUEUE_CAUSE_EXPIRED ? takes_dead(h, to, c->bytes) : takes_from_work(h, from, to, c->bytes);
}

bool forward_at_once(struct hub *h, uint32_t queue, const struct queue_change *c, const struct batch_failure *f)
{
    const struct hub_queue *hq = &h->queues[queue];
    if (hq->deaths.forward_to == 0 || c->msg == NULL || h->commit.health != HUB_OK || message_hops(c->msg) >= HUB_HOPS_MAX)
        return false;
    uint32_t to = hq->deaths.forward_to - 1;
    if (!goes_at_once(h, queue, to, c))
        return false;
    struct death d;
    describe(h, queue, c, f == NULL ? SL_BYTES_NONE : f->detail, &d);
    uint64_t id = c->id;
    replace(h, queue, to, c, build(c->msg, &d));
    sl_log(SL_INFO, "message_forwarded", "queue=%s id=%016llx to=%s as=%016llx", hq->cfg->name, (unsigned long long)id, h->queues[to].cfg->name,
           (unsigned long long)h->next_id);
    return true;
}
