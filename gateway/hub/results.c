/* What comes of a worker's work: messages that it publishes, and results.
 *
 *   ack ──▶ settle ┐
 *   publishes ─────┼─ bound ─▶ one batch: after a crash all of it happened, or nothing
 *   result ────────┘
 *       └─ where only those who are connected listen ─▶ waits for that batch, then goes out
 *
 * A result goes to the reply_to of its message (decision 43). In a queue it is
 * leased when the batch is stored. Where a lasting session or a route takes it, it
 * is a part of the batch as any publish is, and who is connected may see it a moment
 * before the batch is stored. All others get it after that: a crash in between ends
 * their connection too, and the ack is stored, so that nothing is done again. */
#include "jobs.h"
#include "results.h"

#define WAITING_SHARE 8u /* of limits.memory: results that wait for their batch */

/* ---- where to ---- */

void publish_name_queue(struct message_parts *parts)
{
    static const char prefix[] = "/queue/";
    size_t n = sizeof prefix - 1;
    if (parts->topic.n <= n || memcmp(parts->topic.p, prefix, n) != 0)
        return;
    parts->topic = sl_bytes_of(parts->topic.p + n, parts->topic.n - n);
    parts->flags = (uint8_t)(parts->flags | MESSAGE_TO_QUEUE);
}

const struct route_set *publish_target(struct hub *h, const struct message_parts *parts)
{
    if ((parts->flags & MESSAGE_TO_QUEUE) != 0)
        return queue_alone(h, parts->topic);
    if (!route_topic_valid(parts->topic) || topic_is_ours(parts->topic))
        return NULL;
    return route_match(h->routes, parts->topic);
}

/* As STOMP's and workers' messages name it, or as a plain topic. */
static void set_destination(struct message_parts *out, struct sl_bytes reply_to, enum message_protocol asked_by)
{
    out->topic = reply_to;
    if (asked_by != MESSAGE_MQTT3 && asked_by != MESSAGE_MQTT5)
        publish_name_queue(out);
}

bool reply_to_allowed(struct sl_bytes reply_to)
{
    return route_topic_valid(reply_to) && (reply_to.p[0] != '$' || topic_is_reply(reply_to));
}

/* ---- publishes ---- */

/* SL_OK: `o` is the message and where it goes. */
static int offer_of(struct hub *h, const struct message_parts *parts, struct offer *o)
{
    const struct route_set *to = publish_target(h, parts);
    if (to == NULL)
        return SL_EINVAL;
    if (to->n == 0 && !taken_elsewhere(h, parts->topic, (parts->flags & MESSAGE_RETAIN) != 0)) {
        h->counters.no_taker++;
        return SL_ENOENT;
    }
    struct message_parts own = *parts;
    h->counters.meaning_ignored += meaning_apply(&own, &h->now);
    *o = (struct offer){ .qos = parts->qos, .n = 1, .one = { message_new(&own), to } };
    return SL_OK;
}

static int refuse_full(struct hub *h, struct offer *o)
{
    offer_refused(h, o);
    offer_drop(o);
    return SL_EFULL;
}

int publish_parts(struct hub *h, const struct message_parts *parts, bool over_limit)
{
    struct offer o;
    int err = offer_of(h, parts, &o);
    if (err != SL_OK)
        return err;
    if (!over_limit && offer_admission_sifted(h, &o) != QUEUE_ADMIT)
        return refuse_full(h, &o);
    offer_enter(h, NULL, &o);
    return SL_OK;
}

/* A worker has no other words for these than headers. */
static void take_reply_headers(struct message_parts *p)
{
    for (size_t i = 0; i < p->n_headers; i++) {
        const struct message_header *header = &p->headers[i];
        if (p->reply_to.n == 0 && sl_bytes_is(header->name, "reply-to"))
            p->reply_to = header->value;
        else if (p->correlation.n == 0 && sl_bytes_is(header->name, "correlation-id"))
            p->correlation = header->value;
    }
}

static int publish_of_worker(struct hub *h, const struct message_parts *parts)
{
    struct message_parts own = *parts;
    publish_name_queue(&own);
    take_reply_headers(&own);
    reply_to_judge(h, own.reply_to);
    return publish_parts(h, &own, true);
}

int hub_publish(struct hub *h, const struct message_parts *parts)
{
    int err = publish_of_worker(h, parts);
    h->commit.derived = h->commit.derived || err == SL_OK;
    return err;
}

static enum hub_published publish_one(struct hub *h, const struct message_parts *parts)
{
    if (h->commit.health == HUB_BROKEN)
        return HUB_PUBLISH_STORE;
    int err = publish_of_worker(h, parts);
    if (err == SL_ENOENT)
        return HUB_PUBLISH_NOBODY;
    return err == SL_OK ? HUB_PUBLISHED : HUB_PUBLISH_TOPIC;
}

/* ---- results ---- */

void reply_to_judge(struct hub *h, struct sl_bytes reply_to)
{
    if (reply_to.n > 0 && !reply_to_allowed(reply_to))
        h->counters.reply_to_refused++;
}

/* A result on its way. */
struct answered {
    struct message *m;           /* NULL: there is none, or it has nowhere to go */
    const struct route_set *to;
    bool waits;                  /* only those who are connected get it */
};

static struct message *build(const struct message_parts *asked, const struct message_parts *where, const struct hub_answer *a)
{
    return message_new(&(struct message_parts){
        .protocol = MESSAGE_WORKER,
        .qos = 1,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = (uint8_t)(where->flags | (asked->flags & MESSAGE_EMPTY_CORRELATION)),
        .topic = where->topic,
        .correlation = asked->correlation,
        .content_type = a->result_type,
        .payload = a->result,
    });
}

/* The right to publish there was judged when the message was accepted: it still
 * stands in its reply_to. What nobody takes is dropped. */
static struct answered result_of(struct hub *h, const struct message *m, const struct hub_answer *a)
{
    struct answered r = { 0 };
    struct message_parts asked, where = { 0 };
    if (!a->has_result)
        return r;
    message_view(message_record(m), &asked);
    if (asked.reply_to.n == 0)
        return r;
    set_destination(&where, asked.reply_to, asked.protocol);
    r.to = reply_to_allowed(asked.reply_to) && h->commit.health != HUB_BROKEN ? publish_target(h, &where) : NULL;
    if (r.to == NULL || (r.to->n == 0 && !has_audience(h, where.topic))) {
        h->counters.results_dropped++;
        return r;
    }
    r.waits = r.to->n == 0 && !has_lasting_audience(h, where.topic);
    r.m = build(&asked, &where, a);
    return r;
}


struct waiting_result {
    struct waiting_result *next;
    uint64_t batch;
    struct message *m;
};

/* What a schedule made waits in the same line. */
static bool is_result(const struct message *m)
{
    return m->record[MESSAGE_AT_PROTOCOL] != MESSAGE_SCHEDULE;
}

static uint64_t waiting_bytes(const struct waiting_result *w)
{
    return sizeof *w + message_bytes(w->m);
}

static void result_enter(struct hub *h, struct message *m, const struct route_set *to)
{
    h->counters.results_sent += is_result(m);
    struct offer o = { .qos = message_qos(m), .hold = true, .n = 1, .one = { m, to } };
    offer_enter(h, NULL, &o);
}

static void result_drop(struct hub *h, struct message *m)
{
    h->counters.results_dropped += is_result(m);
    message_unref(m);
}

/* The batch may hold nothing but a reason to go. */
static bool result_wait(struct hub *h, struct message *m)
{
    struct results *all = &h->results;
    if (all->bytes + message_bytes(m) > h->cfg.memory_bytes / WAITING_SHARE) {
        result_drop(h, m);
        return false;
    }
    struct waiting_result *w = SL_NEW(struct waiting_result);
    *w = (struct waiting_result){ .batch = h->commit.open->seq, .m = m };
    if (all->head == NULL)
        all->head = w;
    else
        all->tail->next = w;
    all->tail = w;
    all->bytes += waiting_bytes(w);
    h->commit.owed = true;
    return true;
}

static struct message *take_first(struct results *all)
{
    struct waiting_result *w = all->head;
    struct message *m = w->m;
    all->head = w->next;
    all->bytes -= waiting_bytes(w);
    sl_free(w);
    return m;
}

/* Those who listen may have changed since. */
static void go_out(struct hub *h, struct message *m)
{
    if (has_audience(h, message_topic(m))) {
        result_enter(h, m, route_match(h->routes, message_topic(m)));
        return;
    }
    result_drop(h, m);
}

void results_turn(struct hub *h)
{
    struct results *all = &h->results;
    if (SL_LIKELY(all->head == NULL))
        return;
    if (h->commit.health == HUB_BROKEN) {
        results_free(h); /* their acks are not stored, and never will be */
        return;
    }
    while (all->head != NULL && hub_batch_stored(h, all->head->batch))
        go_out(h, take_first(all));
}

void results_free(struct hub *h)
{
    while (h->results.head != NULL)
        result_drop(h, take_first(&h->results));
}

int publish_held(struct hub *h, const struct message_parts *parts)
{
    struct offer o;
    int err = offer_of(h, parts, &o);
    if (err != SL_OK)
        return err;
    if (offer_admission_sifted(h, &o) != QUEUE_ADMIT)
        return refuse_full(h, &o);
    bool lasts = o.one.to->n > 0 || (parts->flags & MESSAGE_RETAIN) != 0 || has_lasting_audience(h, parts->topic);
    if (!lasts)
        return result_wait(h, o.one.m) ? SL_OK : SL_EFULL;
    o.hold = true;
    offer_enter(h, NULL, &o);
    return SL_OK;
}

/* ---- an ack with what comes of it ---- */

/* Who sent the message is not told of its end before what comes of it is stored:
 * see commit.transacting. In a batch without space it is not cancelled: that would
 * be written first, with the end of what the message itself came of. */
void settle_with(struct hub *h, uint32_t queue, const struct queue_change *change, bool brings)
{
    bool before = h->commit.transacting;
    struct batch *ours = brings ? batch_still_ours(h, change->msg) : NULL;
    if (ours != NULL && ours == h->commit.stuck)
        change->msg->body_batch = 0;
    h->commit.transacting = before || brings;
    record_change(h, queue, change, NULL);
    h->commit.transacting = before;
}

void answer_step(struct hub *h, uint32_t queue, const struct queue_change *change, const struct hub_answer *a)
{
    SL_ASSERT(a->verb.verb == QUEUE_ACK);
    struct answered result = result_of(h, change->msg, a);
    if (a->has_result && message_is_job(change->msg))
        jobs_result(h, queue, change->msg, a->result);
    uint32_t from = h->commit.open->n;
    settle_with(h, queue, change, a->n_publishes > 0 || (result.m != NULL && !result.waits));
    uint32_t to = h->commit.open->n;
    h->dedups.unstored = false;
    for (uint32_t i = 0; i < a->n_publishes; i++) {
        enum hub_published r = publish_one(h, &a->publishes[i]);
        if (a->published != NULL)
            a->published[i] = r;
    }
    if (result.m != NULL && !result.waits)
        result_enter(h, result.m, result.to);
    if (h->commit.open->n > to || h->dedups.unstored) {
        bind_answers(h, from, to);
        h->commit.owed = true;
    }
    if (result.m != NULL && result.waits)
        (void)result_wait(h, result.m);
}
