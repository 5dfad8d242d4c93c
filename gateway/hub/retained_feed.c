/* A new subscription is fed with the retained messages of its filter at the
 * pace of its connection. Their ids are gathered once; a message is looked up
 * when its turn comes, and one that has changed meanwhile was delivered live.
 *
 *   SUBSCRIBE ──▶ feed ──gather──▶ ids ──pump──▶ outbox or output
 *
 * Feeds of a session go one after the other, and only the first has ids. They
 * are 8 bytes each: when all feeds together hold many, a feed has only the
 * lowest of its ids, and gathers again for the next. Gathering with wildcards
 * may look at all topics, so that in one turn there is only so much of it. The
 * status of jobs goes the same way. */
#include <stdlib.h>

#include "jobs.h"

#define GATHER_MIN   4096u /* ids that a feed may always hold */
#define GATHER_SHARE 32u   /* beyond that, the ids of all may fill this part of limits.memory */
#define GATHER_WIDE  16u   /* what gathering with wildcards takes of FEED_EFFORT; without, 1 */
#define PUMP_MAX     1024u /* messages in one go: others want their turn too */

struct feed {
    struct feed *prev, *next;
    uint64_t after;  /* ids up to this one are done */
    uint64_t newest; /* of the messages there were; later ones come live */
    uint64_t *ids;   /* NULL: not gathered */
    uint32_t n, at;
    bool more;       /* there are ids beyond these */
    bool of_jobs;    /* its messages are made when they are sent: the status of jobs */
    uint8_t qos;
    uint32_t subscription_id;
    uint32_t n_filter;
    uint8_t filter[];
};

/* A session's, while it has any. */
struct feeds {
    struct feed *first, *last;
    struct sl_strmap by_filter;
};

static struct feeds *feeds_of(const struct hub *h, const struct session *s)
{
    return sl_idmap_get(&h->feeds, s->number);
}

static struct sl_bytes filter_of(const struct feed *f)
{
    return sl_bytes_of(f->filter, f->n_filter);
}

static void drop_ids(struct hub *h, struct feed *f)
{
    h->feed_ids -= f->n;
    sl_free(f->ids);
    f->ids = NULL;
    f->n = f->at = 0;
}

static void add(struct feeds *all, struct feed *f)
{
    f->prev = all->last;
    if (all->last != NULL)
        all->last->next = f;
    else
        all->first = f;
    all->last = f;
    sl_strmap_put(&all->by_filter, filter_of(f), f);
}

static void drop(struct hub *h, struct feeds *all, struct feed *f)
{
    if (f->prev != NULL)
        f->prev->next = f->next;
    else
        all->first = f->next;
    if (f->next != NULL)
        f->next->prev = f->prev;
    else
        all->last = f->prev;
    sl_strmap_del(&all->by_filter, filter_of(f));
    drop_ids(h, f);
    sl_free(f);
}

static void drop_all(struct hub *h, struct feeds *all)
{
    while (all->first != NULL)
        drop(h, all, all->first);
    sl_strmap_fini(&all->by_filter);
    sl_free(all);
}

/* ---- gathering ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Leaves those that are not done and were there when the feed began. */
static uint32_t keep_due(const struct feed *f, uint64_t *ids, size_t n)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] > f->after && ids[i] <= f->newest)
            ids[kept++] = ids[i];
    }
    return kept;
}

static void gather(struct hub *h, struct feed *f)
{
    struct sl_buf found = { 0 };
    if (f->of_jobs)
        jobs_match(h, filter_of(f), &found);
    else
        retained_match(h->retained, filter_of(f), &found);
    size_t n = sl_buf_len(&found) / sizeof(uint64_t);
    uint64_t *ids = sl_alloc(n * sizeof *ids);
    (void)sl_wr_bytes((uint8_t *)ids, sl_buf_view(&found));
    sl_buf_fini(&found);
    uint32_t due = keep_due(f, ids, n);
    f->more = due > GATHER_MIN && (h->feed_ids + due) * sizeof *ids > h->cfg.memory_bytes / GATHER_SHARE;
    if (f->more)
        qsort(ids, due, sizeof *ids, by_value);
    f->n = f->more ? GATHER_MIN : due;
    f->at = 0;
    f->ids = sl_realloc(ids, f->n * sizeof *ids);
    h->feed_ids += f->n;
    if (f->more)
        f->after = f->ids[f->n - 1];
}

/* False: enough was gathered in this turn. */
static bool may_gather(struct hub *h, const struct feed *f)
{
    bool wide = memchr(f->filter, '+', f->n_filter) != NULL || f->filter[f->n_filter - 1] == '#';
    uint32_t effort = wide ? GATHER_WIDE : 1;
    if (h->feed_effort < effort)
        return false;
    h->feed_effort -= effort;
    return true;
}

/* The feed that has the session's next id, gathered where needed; finished
 * ones go. NULL: in this turn there is none. */
static struct feed *next_feed(struct hub *h, struct feeds *all)
{
    struct feed *f;
    while ((f = all->first) != NULL) {
        if (f->ids == NULL && !may_gather(h, f))
            return NULL;
        if (f->ids == NULL)
            gather(h, f);
        if (f->at < f->n)
            return f;
        if (f->more)
            drop_ids(h, f);
        else
            drop(h, all, f);
    }
    return NULL;
}

/* ---- sending ---- */

/* Takes the message. [MQTT-3.3.1-8]: RETAIN is set, since the client subscribed
 * after the publish. A persistent session has a clone, so that a body's holders do not
 * depend on what becomes of the retained message. */
static void send_one(struct hub *h, struct session *s, const struct feed *f, struct message *m)
{
    uint8_t qos = message_qos(m) < f->qos ? message_qos(m) : f->qos;
    struct outbox_item it = { .msg = m, .qos = qos, .retain = true, .ids = &f->subscription_id, .n_ids = f->subscription_id != 0 };
    (void)session_offer(h, s, &it, BODY_LOOSE);
    message_unref(m);
}

/* A reference for the caller; NULL: it has changed. */
static struct message *next_message(struct hub *h, const struct feed *f)
{
    if (f->of_jobs)
        return jobs_message(h, f->ids[f->at]);
    struct message *m = retained_by_id(h->retained, f->ids[f->at]);
    return m == NULL ? NULL : message_ref(m);
}

/* What is sent has to go somewhere: not more is taken than the connection
 * takes off at once. */
static bool takes(struct hub *h, struct session *s, const struct feed *f, const struct message *m)
{
    bool counted = f->qos > 0 && message_qos(m) > 0;
    return session_has_room(h, s, message_bytes(m)) && (!counted || session_free(s) > 0);
}

bool retained_pump(struct hub *h, struct session *s)
{
    struct feeds *all = feeds_of(h, s);
    struct feed *f = NULL;
    for (uint32_t i = 0; all != NULL && i < PUMP_MAX && (f = next_feed(h, all)) != NULL; i++) {
        struct message *m = next_message(h, f);
        if (m != NULL && !takes(h, s, f, m)) {
            message_unref(m);
            return true;
        }
        f->at++;
        if (m != NULL)
            send_one(h, s, f, m);
    }
    if (all != NULL && all->first == NULL)
        retained_forget(h, s);
    return retained_waits(h, s);
}

/* ---- which feeds there are ---- */

bool retained_waits(const struct hub *h, const struct session *s)
{
    return feeds_of(h, s) != NULL;
}

void retained_stop(struct hub *h, struct session *s, struct sl_bytes filter)
{
    struct feeds *all = feeds_of(h, s);
    struct feed *f = all == NULL ? NULL : sl_strmap_get(&all->by_filter, filter);
    if (f != NULL)
        drop(h, all, f);
}

static struct feed *feed_new(const struct hub *h, const struct proto_filter *f, uint32_t subscription_id)
{
    struct feed *feed = sl_calloc(1, sizeof *feed + f->filter.n);
    feed->newest = h->next_id;
    feed->qos = f->qos;
    feed->of_jobs = filter_is_of_jobs(f->filter);
    feed->subscription_id = subscription_id;
    feed->n_filter = (uint32_t)f->filter.n;
    memcpy(feed->filter, f->filter.p, f->filter.n);
    return feed;
}

void retained_send(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t subscription_id)
{
    if (filter_is_of_jobs(f->filter) ? h->jobs.by_id.used == 0 : retained_count(h->retained) == 0)
        return;
    struct feeds *all = feeds_of(h, s);
    if (all == NULL) {
        all = SL_NEW(struct feeds);
        sl_idmap_put(&h->feeds, s->number, all);
    }
    retained_stop(h, s, f->filter); /* it begins anew */
    add(all, feed_new(h, f, subscription_id));
}

void retained_forget(struct hub *h, struct session *s)
{
    struct feeds *all = sl_idmap_del(&h->feeds, s->number);
    if (all != NULL)
        drop_all(h, all);
}

/* QoS 0 is not kept for the absent, and the limits of the session's queue hold:
 * what finds no room is dropped and counted; what cannot be gathered in this
 * turn is left out. */
void retained_detach(struct hub *h, struct session *s)
{
    struct feeds *all = feeds_of(h, s);
    struct feed *f;
    s->client = NULL;
    bool waits = all != NULL && s->persistent;
    while (waits && (f = next_feed(h, all)) != NULL) {
        struct message *m = next_message(h, f);
        f->at++;
        if (m != NULL)
            send_one(h, s, f, m);
    }
    retained_forget(h, s);
}

void feeds_free(struct hub *h)
{
    struct feeds *all;
    size_t pos = 0;
    while ((all = sl_idmap_next(&h->feeds, &pos)) != NULL)
        drop_all(h, all);
    sl_idmap_fini(&h->feeds);
}
