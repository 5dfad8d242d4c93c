/* Status of jobs: what became of messages that carry a job-id (decision 44).
 *
 *   enter ─▶ queued, delayed ─▶ active ─▶ done, dead, expired, dropped, cancelled
 *                    ▲            │ failed, given back
 *                    └─ retrying ◀┘
 *
 * A bounded table in memory: over its limits the job that ended first is forgotten,
 * and where none has ended the oldest. A job-id stands for the latest message that
 * has it. Nothing of it is stored: after a restart those are known whose messages
 * are there still, as far as these tell. The status is built when somebody listens
 * or asks; those who listen to $jobs/ID are told once a turn, of progress once a second. */
#include <inttypes.h>
#include <stdio.h>

#include "core/utf8.h"
#include "hub/operate.h"
#include "jobs.h"

#define JOBS_ROOT   "$jobs/"
#define PROGRESS_MS 1000u
#define SHARE       8u    /* of limits.memory */
#define RESULT_MAX  1024u /* a text of more bytes is not shown in the status */
#define AT_MAX      40u

/* In one of its queues. */
struct job_part {
    uint32_t queue, attempt;
    uint32_t entry;   /* the queue's; 0: not known */
    uint8_t state;    /* enum hub_job_state */
    bool has_progress;
    uint16_t per_mille;
    uint64_t at_ms;   /* wall time of the last change */
    char *result;     /* NULL: none that is shown */
};

struct job {
    uint64_t message;
    struct job *prev, *next; /* in `running` or `ended`, oldest first */
    struct job *next_dirty;
    struct sl_timer timer;   /* progress is told then */
    uint64_t told_ms, ended_ms;
    uint64_t bytes;
    bool dirty, ended;
    uint32_t n_parts, topic_bytes;
    struct job_part *parts;
    uint8_t topic[];
};

static struct sl_bytes topic_of(const struct job *j)
{
    return sl_bytes_of(j->topic, j->topic_bytes);
}

static struct sl_bytes id_in(struct sl_bytes topic)
{
    size_t n = sizeof JOBS_ROOT - 1;
    return sl_bytes_of(topic.p + n, topic.n - n);
}

static struct sl_bytes job_id_of(const struct message *m)
{
    struct message_parts parts;
    message_view(message_record(m), &parts);
    return parts.job_id;
}

/* ---- lists ---- */

static void list_add(struct job_list *l, struct job *j)
{
    j->next = NULL;
    j->prev = l->last;
    if (l->last != NULL)
        l->last->next = j;
    else
        l->first = j;
    l->last = j;
}

static void list_drop(struct job_list *l, struct job *j)
{
    if (j->prev != NULL)
        j->prev->next = j->next;
    else
        l->first = j->next;
    if (j->next != NULL)
        j->next->prev = j->prev;
    else
        l->last = j->prev;
}

static struct job_list *list_of(struct hub *h, const struct job *j)
{
    return j->ended ? &h->jobs.ended : &h->jobs.running;
}

/* ---- coming and going ---- */

static void recount(struct hub *h, struct job *j)
{
    uint64_t bytes = sizeof *j + j->topic_bytes + j->n_parts * sizeof *j->parts;
    for (uint32_t i = 0; i < j->n_parts; i++)
        bytes += j->parts[i].result == NULL ? 0 : strlen(j->parts[i].result) + 1;
    h->jobs.bytes += bytes - j->bytes;
    j->bytes = bytes;
}

static void parts_free(struct job *j)
{
    for (uint32_t i = 0; i < j->n_parts; i++)
        sl_free(j->parts[i].result);
    sl_free(j->parts);
    j->parts = NULL;
    j->n_parts = 0;
}

static void forget(struct hub *h, struct job *j)
{
    struct job **at = &h->jobs.dirty;
    while (j->dirty && *at != j)
        at = &(*at)->next_dirty;
    if (j->dirty)
        *at = j->next_dirty;
    list_drop(list_of(h, j), j);
    sl_timer_clear(&h->jobs.timers, &j->timer);
    sl_idmap_del(&h->jobs.by_message, j->message);
    sl_strmap_del(&h->jobs.by_id, id_in(topic_of(j)));
    h->jobs.bytes -= j->bytes;
    parts_free(j);
    sl_free(j);
}

static void make_room(struct hub *h)
{
    struct jobs *all = &h->jobs;
    while (all->by_id.used > 0 && (all->by_id.used >= h->cfg.jobs_max || all->bytes > h->cfg.memory_bytes / SHARE)) {
        struct job *j = all->ended.first != NULL ? all->ended.first : all->running.first;
        h->counters.jobs_forgotten += !j->ended;
        forget(h, j);
    }
}

static struct job *job_new(struct hub *h, struct sl_bytes id)
{
    size_t n = sizeof JOBS_ROOT - 1 + id.n;
    struct job *j = sl_calloc(1, sizeof *j + n);
    j->topic_bytes = (uint32_t)n;
    (void)sl_wr_bytes(sl_wr_bytes(j->topic, sl_str(JOBS_ROOT)), id);
    sl_strmap_put(&h->jobs.by_id, id_in(topic_of(j)), j);
    list_add(&h->jobs.running, j);
    return j;
}

/* The job of this id is that message's from now on. */
static struct job *job_begin(struct hub *h, struct sl_bytes id, uint64_t message)
{
    struct job *j = sl_strmap_get(&h->jobs.by_id, id);
    if (j == NULL) {
        make_room(h);
        j = job_new(h, id);
    } else {
        sl_idmap_del(&h->jobs.by_message, j->message);
        parts_free(j);
    }
    j->message = message;
    h->watched = true;
    sl_idmap_put(&h->jobs.by_message, j->message, j);
    return j;
}

/* A later message has its id, or will be known by it: this one is not the job. */
static struct job *job_of(struct hub *h, const struct message *m)
{
    struct job *j = sl_idmap_get(&h->jobs.by_message, message_id(m));
    if (j != NULL || h->cfg.jobs_max == 0)
        return j;
    const struct job *later = sl_strmap_get(&h->jobs.by_id, job_id_of(m));
    return later != NULL && later->message > message_id(m) ? NULL : job_begin(h, job_id_of(m), message_id(m));
}

static struct job_part *part_of(struct job *j, uint32_t queue)
{
    for (uint32_t i = 0; i < j->n_parts; i++) {
        if (j->parts[i].queue == queue)
            return &j->parts[i];
    }
    j->parts = sl_realloc(j->parts, (j->n_parts + 1) * sizeof *j->parts);
    j->parts[j->n_parts] = (struct job_part){ .queue = queue };
    return &j->parts[j->n_parts++];
}

/* ---- changes ---- */

static bool is_end(uint8_t state)
{
    return state >= HUB_JOB_DONE;
}

static bool has_ended(const struct job *j)
{
    for (uint32_t i = 0; i < j->n_parts; i++) {
        if (!is_end(j->parts[i].state))
            return false;
    }
    return true;
}

static void mark(struct hub *h, struct job *j)
{
    if (j->dirty)
        return;
    j->dirty = true;
    j->next_dirty = h->jobs.dirty;
    h->jobs.dirty = j;
}

static void job_changed(struct hub *h, struct job *j)
{
    bool ended = has_ended(j);
    list_drop(list_of(h, j), j);
    j->ended = ended;
    j->ended_ms = h->now.mono_ms;
    list_add(list_of(h, j), j);
    recount(h, j);
    mark(h, j);
}

static void set_state(struct hub *h, struct job *j, uint32_t queue, uint32_t entry, enum hub_job_state state, uint32_t attempt)
{
    struct job_part *p = part_of(j, queue);
    p->entry = entry;
    if (p->attempt != attempt)
        p->has_progress = false;
    p->state = (uint8_t)state;
    p->attempt = attempt;
    p->at_ms = h->now.wall_ms;
}

void jobs_enter(struct hub *h, const struct message *m, const struct route_set *to)
{
    if (to->n == 0 || h->cfg.jobs_max == 0)
        return;
    struct job *j = job_begin(h, job_id_of(m), message_id(m));
    for (uint32_t i = 0; i < to->n; i++)
        set_state(h, j, to->queues[i], recorded_entry(h, m, to, to->queues[i]), message_deliver_at(m) != 0 ? HUB_JOB_DELAYED : HUB_JOB_QUEUED, 0);
    job_changed(h, j);
}

static enum hub_job_state state_restored(const struct queue_restored *r)
{
    if (r->state == QUEUE_DEAD)
        return HUB_JOB_DEAD;
    if (r->attempts > 0)
        return HUB_JOB_RETRYING;
    return r->state == QUEUE_DELAYED ? HUB_JOB_DELAYED : HUB_JOB_QUEUED;
}

/* In the order of their ids: of two messages the later one is the job. */
void jobs_restored(struct hub *h, uint32_t queue, const struct queue_restored *r, uint32_t entry)
{
    if (r->job_id.n == 0 || h->cfg.jobs_max == 0)
        return;
    struct job *j = sl_idmap_get(&h->jobs.by_message, r->id);
    if (j == NULL)
        j = job_begin(h, r->job_id, r->id);
    set_state(h, j, queue, entry, state_restored(r), r->attempts);
    job_changed(h, j);
}

void jobs_active(struct hub *h, uint32_t queue, const struct queue_delivery *d)
{
    struct job *j = job_of(h, d->msg);
    if (j == NULL)
        return;
    set_state(h, j, queue, d->entry, HUB_JOB_ACTIVE, d->attempt);
    job_changed(h, j);
}

/* A dead letter that is dropped was the end of its job long ago. */
static enum hub_job_state state_after(const struct queue_change *c, uint8_t before)
{
    if (c->fate == QUEUE_GONE && before == HUB_JOB_DEAD)
        return HUB_JOB_DEAD;
    if (c->fate == QUEUE_GONE && c->exit == QUEUE_EXIT_ACK)
        return HUB_JOB_DONE;
    if (c->fate == QUEUE_GONE && c->exit == QUEUE_EXIT_CANCELLED)
        return HUB_JOB_CANCELLED;
    if (c->fate == QUEUE_GONE)
        return c->exit == QUEUE_EXIT_EXPIRED ? HUB_JOB_EXPIRED : HUB_JOB_DROPPED;
    if (c->state == QUEUE_DEAD)
        return HUB_JOB_DEAD;
    return c->attempts > 0 ? HUB_JOB_RETRYING : HUB_JOB_QUEUED;
}

void jobs_changed(struct hub *h, uint32_t queue, const struct queue_change *c)
{
    if (c->msg != NULL && !message_is_job(c->msg))
        return;
    struct job *j = c->msg != NULL ? job_of(h, c->msg) : sl_idmap_get(&h->jobs.by_message, c->id);
    if (j == NULL)
        return;
    const struct job_part *p = part_of(j, queue);
    set_state(h, j, queue, c->entry, state_after(c, p->state), p->attempt);
    job_changed(h, j);
}

void jobs_result(struct hub *h, uint32_t queue, const struct message *m, struct sl_bytes result)
{
    struct job *j = job_of(h, m);
    bool shown = result.n <= RESULT_MAX && sl_utf8_valid(result) && (result.n == 0 || memchr(result.p, '\0', result.n) == NULL);
    if (j == NULL || !shown)
        return;
    struct job_part *p = part_of(j, queue);
    sl_free(p->result);
    p->result = sl_alloc(result.n + 1);
    *sl_wr_bytes((uint8_t *)p->result, result) = '\0';
    recount(h, j);
}

int hub_progress(struct hub *h, uint64_t consumer, uint64_t lease, uint32_t per_mille)
{
    uint32_t queue;
    const struct message *m = leased_to(h, consumer, lease, &queue);
    if (m == NULL)
        return SL_ESTATE;
    struct job *j = message_is_job(m) ? job_of(h, m) : NULL;
    if (j == NULL)
        return SL_OK;
    struct job_part *p = part_of(j, queue);
    p->has_progress = true;
    p->per_mille = (uint16_t)(per_mille < 1000 ? per_mille : 1000);
    p->at_ms = h->now.wall_ms;
    recount(h, j);
    if (j->timer.pos == 0)
        sl_timer_set(&h->jobs.timers, &j->timer, j->told_ms == 0 ? h->now.mono_ms : j->told_ms + PROGRESS_MS);
    return SL_OK;
}

/* ---- cancelling ---- */

static void cancel_part(struct hub *h, const struct job *j, const struct job_part *p, struct hub_cancelled *out)
{
    struct queue_change change;
    uint32_t queue = p->queue;
    out->dead += p->state == HUB_JOB_DEAD;
    if (is_end(p->state))
        return;
    if (h->commit.health == HUB_BROKEN) {
        out->refused++;
        return;
    }
    int err = queue_remove(h->queues[queue].q, p->entry, j->message, QUEUE_EXIT_CANCELLED, &change);
    out->leased += err == SL_ESTATE;
    out->cancelled += err == SL_OK;
    if (err == SL_OK)
        record_change(h, queue, &change, NULL);
}

int hub_cancel_job(struct hub *h, struct sl_bytes job_id, struct hub_cancelled *out)
{
    struct job *j = sl_strmap_get(&h->jobs.by_id, job_id);
    if (j == NULL)
        return SL_ENOENT;
    *out = (struct hub_cancelled){ 0 };
    for (uint32_t i = 0; i < j->n_parts; i++)
        cancel_part(h, j, &j->parts[i], out);
    return SL_OK;
}

/* ---- the status as JSON ---- */

static void put(struct sl_buf *out, const char *text)
{
    SL_ASSERT(sl_buf_append(out, text, strlen(text)) == SL_OK);
}

static void put_string(struct sl_buf *out, const char *text)
{
    put(out, "\"");
    for (const char *p = text; *p != '\0'; p++) {
        char c[8] = { *p, '\0' };
        if ((unsigned char)*p < 0x20)
            snprintf(c, sizeof c, "\\u%04x", (unsigned)*p);
        else if (*p == '"' || *p == '\\')
            snprintf(c, sizeof c, "\\%c", *p);
        put(out, c);
    }
    put(out, "\"");
}

/* The inside of an object. */
static void put_part(const struct hub *h, struct sl_buf *out, const struct job_part *p, bool names_queue)
{
    char text[96], at[AT_MAX];
    snprintf(text, sizeof text, "\"state\":\"%s\",\"attempt\":%" PRIu32, hub_job_state_name((enum hub_job_state)p->state), p->attempt);
    put(out, text);
    if (p->has_progress) {
        snprintf(text, sizeof text, ",\"progress\":%g", p->per_mille / 1000.0);
        put(out, text);
    }
    if (p->result != NULL) {
        put(out, ",\"result\":");
        put_string(out, p->result);
    }
    if (names_queue) {
        put(out, ",\"queue\":");
        put_string(out, h->queues[p->queue].cfg->name);
    }
    snprintf(text, sizeof text, ",\"at\":\"%s\"", sl_time_format(p->at_ms, at, sizeof at));
    put(out, text);
}

static void put_status(const struct hub *h, const struct job *j, struct sl_buf *out)
{
    bool several = j->n_parts > 1;
    put(out, several ? "{\"queues\":{" : "{");
    for (uint32_t i = 0; i < j->n_parts; i++) {
        put(out, i > 0 ? "," : "");
        if (several) {
            put_string(out, h->queues[j->parts[i].queue].cfg->name);
            put(out, ":{");
        }
        put_part(h, out, &j->parts[i], !several);
        put(out, several ? "}" : "");
    }
    put(out, several ? "}}" : "}");
}

static const char *const state_names[] = {
    [HUB_JOB_QUEUED] = "queued", [HUB_JOB_DELAYED] = "delayed", [HUB_JOB_ACTIVE] = "active", [HUB_JOB_RETRYING] = "retrying",
    [HUB_JOB_DONE] = "done", [HUB_JOB_DEAD] = "dead", [HUB_JOB_EXPIRED] = "expired", [HUB_JOB_DROPPED] = "dropped", [HUB_JOB_CANCELLED] = "cancelled",
};

const char *hub_job_state_name(enum hub_job_state s)
{
    return state_names[s];
}

int hub_job(const struct hub *h, struct sl_bytes id, struct sl_buf *out)
{
    const struct job *j = sl_strmap_get(&h->jobs.by_id, id);
    if (j == NULL)
        return SL_ENOENT;
    put_status(h, j, out);
    return SL_OK;
}

/* ---- who listens ---- */

static struct message *status_message(struct hub *h, const struct job *j)
{
    struct sl_buf text = { 0 };
    put_status(h, j, &text);
    struct message *m = message_new(&(struct message_parts){
        .id = ++h->next_id,
        .protocol = MESSAGE_MQTT5,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = MESSAGE_RETAIN | MESSAGE_PAYLOAD_UTF8,
        .accepted_at = h->now.wall_ms,
        .topic = topic_of(j),
        .content_type = sl_str("application/json"),
        .payload = sl_buf_view(&text),
    });
    sl_buf_fini(&text);
    return m;
}

static void tell(struct hub *h, struct job *j)
{
    j->told_ms = h->now.mono_ms;
    sl_timer_clear(&h->jobs.timers, &j->timer);
    if (!has_audience(h, topic_of(j)))
        return;
    struct message *m = status_message(h, j);
    (void)fan_out(h, m);
    message_unref(m);
}

void jobs_tell(struct hub *h)
{
    while (SL_UNLIKELY(h->jobs.dirty != NULL)) {
        struct job *j = h->jobs.dirty;
        h->jobs.dirty = j->next_dirty;
        j->dirty = false;
        tell(h, j);
    }
}

bool filter_is_of_jobs(struct sl_bytes filter)
{
    size_t n = sizeof JOBS_ROOT - 1;
    return filter.n > n && memcmp(filter.p, JOBS_ROOT, n) == 0;
}

void jobs_match(const struct hub *h, struct sl_bytes filter, struct sl_buf *out)
{
    const struct job *j = sl_strmap_get(&h->jobs.by_id, id_in(filter));
    size_t pos = 0;
    if (j != NULL) {
        SL_ASSERT(sl_buf_append(out, &j->message, sizeof j->message) == SL_OK);
        return;
    }
    while ((j = sl_idmap_next(&h->jobs.by_message, &pos)) != NULL) {
        if (subscription_takes(filter, topic_of(j)))
            SL_ASSERT(sl_buf_append(out, &j->message, sizeof j->message) == SL_OK);
    }
}

struct message *jobs_message(struct hub *h, uint64_t message_id)
{
    const struct job *j = sl_idmap_get(&h->jobs.by_message, message_id);
    return j == NULL ? NULL : status_message(h, j);
}

/* ---- time, end ---- */

void jobs_tick(struct hub *h)
{
    struct jobs *all = &h->jobs;
    struct sl_timer *t;
    while ((t = sl_timers_pop_due(&all->timers, h->now.mono_ms)) != NULL)
        mark(h, SL_CONTAINER(t, struct job, timer));
    while (all->ended.first != NULL && h->now.mono_ms >= all->ended.first->ended_ms + h->cfg.jobs_ttl_ms)
        forget(h, all->ended.first);
}

uint64_t jobs_deadline_us(const struct hub *h)
{
    uint64_t ms = sl_timers_next(&h->jobs.timers);
    if (h->jobs.ended.first != NULL && h->jobs.ended.first->ended_ms + h->cfg.jobs_ttl_ms < ms)
        ms = h->jobs.ended.first->ended_ms + h->cfg.jobs_ttl_ms;
    return ms == UINT64_MAX ? ms : ms * 1000;
}

void jobs_free(struct hub *h)
{
    struct jobs *all = &h->jobs;
    while (all->ended.first != NULL)
        forget(h, all->ended.first);
    while (all->running.first != NULL)
        forget(h, all->running.first);
    sl_timers_fini(&all->timers);
    sl_strmap_fini(&all->by_id);
    sl_idmap_fini(&all->by_message);
}

void jobs_check(const struct hub *h)
{
    uint64_t bytes = 0, n = 0;
    const struct job_list *lists[] = { &h->jobs.running, &h->jobs.ended };
    for (size_t i = 0; i < SL_COUNT(lists); i++) {
        for (const struct job *j = lists[i]->first; j != NULL; j = j->next) {
            SL_ASSERT(j->ended == (i == 1) && has_ended(j) == j->ended && j->n_parts > 0);
            SL_ASSERT(sl_idmap_get(&h->jobs.by_message, j->message) == j);
            bytes += j->bytes;
            n++;
        }
    }
    SL_ASSERT(bytes == h->jobs.bytes && n == h->jobs.by_id.used && n == h->jobs.by_message.used && n <= h->cfg.jobs_max);
}
