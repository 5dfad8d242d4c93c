/* Schedules: at its times each becomes an ordinary message.
 *
 *   message ────────┐
 *   BATCH_SCHEDULE ─┴─▶ one batch: after a crash both are there, or neither
 *
 * Queues lease it when the batch is stored, and those who are only connected get it
 * then: nobody has seen what a restart fires again. Over a limit it is dropped and
 * counted (decision 30), and is done with all the same.
 *
 * The wall clock decides. Set back, it repeats nothing that is done with: what counts
 * is the latest firing, not the time. Set on by more than a minute, as after a stop,
 * firings were missed, and their schedule says what becomes of them. */
#include "results.h"
#include "schedules.h"

#define GRACE_MS      60000u /* a turn may come so late, and nothing was missed */
#define LOOK_AGAIN_MS 30000u /* the wall clock may be set meanwhile, which wakes nobody */
#define TURN_MAX      16u    /* firings of one schedule in one turn */
#define CLOCK_BACK_MS (UINT64_C(24) * 3600000u)

struct slot {
    char *name;
    struct schedule when;
    struct message *m;              /* what `parts` looks at */
    struct message_parts parts;
    struct message_header *headers; /* those of `parts`, and two more */
    uint64_t delay_ms, ttl_ms;
    uint64_t done_ms;  /* the latest firing that is done with */
    uint64_t until_ms; /* all up to here fire, however late they are */
    uint64_t next_ms;
    uint8_t mark;
    bool known;        /* it has a done_ms, and a record of it */
    bool restored;     /* the gateway was away since then: nothing is too short to be missed */
};

struct schedules {
    struct slot *v;
    uint32_t n;
    uint64_t next_ms; /* of all; 0: they have to be looked at */
    uint64_t seen_ms; /* wall time of the latest turn */
};

/* ---- what there is ---- */

static void copy_publish(struct slot *s, const struct message_parts *publish)
{
    struct message_parts named = *publish;
    size_t pos = 0, i = 0;
    named.protocol = MESSAGE_SCHEDULE;
    publish_name_queue(&named);
    s->m = message_new(&named);
    message_view(message_record(s->m), &s->parts);
    s->headers = sl_calloc(s->parts.n_headers + 2, sizeof *s->headers);
    while (i < s->parts.n_headers && message_header_next(message_record(s->m), &pos, &s->headers[i]))
        i++;
    s->headers[i++] = (struct message_header){ sl_str("schedule"), sl_str(s->name) };
    s->headers[i++].name = sl_str("scheduled-for");
    s->parts.headers = s->headers;
    s->parts.n_headers = i;
}

static struct slot *slot_find(const struct schedules *all, struct sl_bytes name)
{
    for (uint32_t i = 0; all != NULL && i < all->n; i++)
        if (sl_bytes_is(name, all->v[i].name))
            return &all->v[i];
    return NULL;
}

/* A change of when it fires makes it a new one: what the new times would have been is
 * not missed. The same in every process. */
static uint8_t mark_of(const struct schedule *s)
{
    static const struct sl_hash_key key = { 0, 0 };
    const struct schedule_cron *c = &s->cron;
    const uint64_t sets[] = { c->every_ms, c->minutes, c->hours, c->days, c->months, c->weekdays, c->any_day, c->any_weekday, c->wild };
    uint8_t bytes[sizeof sets];
    uint8_t *p = bytes;
    for (size_t i = 0; i < SL_COUNT(sets); i++)
        p = sl_wr_u64le(p, sets[i]);
    uint64_t zone = s->zone == NULL ? 0 : sl_hash_keyed(&key, sl_str(s->zone->name));
    return (uint8_t)(sl_hash_keyed(&key, sl_bytes_of(bytes, sizeof bytes)) ^ zone);
}

static void slot_init(struct slot *s, const struct hub_schedule *cfg, const struct slot *before)
{
    *s = (struct slot){ .name = sl_strdup(cfg->name), .when = cfg->when, .delay_ms = cfg->delay_ms, .ttl_ms = cfg->ttl_ms };
    copy_publish(s, cfg->publish);
    s->mark = mark_of(&s->when);
    if (before == NULL || before->mark != s->mark)
        return;
    s->known = before->known;
    s->restored = before->restored;
    s->done_ms = s->until_ms = before->done_ms;
}

static void forget(struct hub *h, struct sl_bytes name)
{
    record(h, BATCH_SCHEDULE_DROP)->note = batch_name_note(name);
}

static struct schedules *schedules_new(struct hub *h, const struct hub_schedule *v, uint32_t n)
{
    struct schedules *all = SL_NEW(struct schedules);
    all->v = sl_calloc(n, sizeof *all->v);
    all->n = n;
    for (uint32_t i = 0; i < n; i++)
        slot_init(&all->v[i], &v[i], slot_find(h->schedules, sl_str(v[i].name)));
    return all;
}

void hub_set_schedules(struct hub *h, const struct hub_schedule *v, uint32_t n)
{
    struct schedules *after = n > 0 ? schedules_new(h, v, n) : NULL;
    for (uint32_t i = 0; h->schedules != NULL && i < h->schedules->n; i++) {
        const struct slot *s = &h->schedules->v[i];
        if (s->known && slot_find(after, sl_str(s->name)) == NULL)
            forget(h, sl_str(s->name));
    }
    schedules_free(h);
    h->schedules = after;
}

void schedules_free(struct hub *h)
{
    for (uint32_t i = 0; h->schedules != NULL && i < h->schedules->n; i++) {
        struct slot *s = &h->schedules->v[i];
        message_unref(s->m);
        sl_free(s->headers);
        sl_free(s->name);
    }
    if (h->schedules != NULL)
        sl_free(h->schedules->v);
    sl_free(h->schedules);
    h->schedules = NULL;
}

int hub_restore_schedule(struct hub *h, struct sl_bytes record_bytes)
{
    struct batch_schedule b;
    if (batch_schedule_decode(record_bytes, &b) != SL_OK)
        return SL_EFORMAT;
    struct slot *s = slot_find(h->schedules, b.name);
    if (s == NULL) {
        forget(h, b.name);
        return SL_OK;
    }
    if (b.mark != s->mark)
        return SL_OK;
    s->known = s->restored = true;
    s->done_ms = s->until_ms = b.done_ms;
    return SL_OK;
}

/* ---- firing ---- */

/* With the message that this is about, if there is one, in one batch. */
static void record_done(struct hub *h, struct slot *s, uint64_t done_ms)
{
    s->done_ms = done_ms;
    s->known = true;
    record(h, BATCH_SCHEDULE)->note = batch_schedule_encode(&(struct batch_schedule){ .done_ms = done_ms, .mark = s->mark, .name = sl_str(s->name) });
    h->commit.slow = true; /* nobody is about to take it back */
}

static int publish(struct hub *h, struct slot *s, uint64_t at_ms)
{
    char when[32];
    struct message_parts parts = s->parts;
    s->headers[parts.n_headers - 1].value = sl_str(sl_time_format(at_ms, when, sizeof when));
    if (s->delay_ms > 0) {
        parts.deliver_at = h->now.steady_ms + s->delay_ms;
        parts.flags = (uint8_t)(parts.flags | MESSAGE_DELIVER_RELATIVE);
    }
    if (s->ttl_ms > 0) {
        parts.expires_at = h->now.steady_ms + s->ttl_ms;
        parts.flags = (uint8_t)(parts.flags | MESSAGE_EXPIRES_RELATIVE);
    }
    return publish_held(h, &parts);
}

static void fire(struct hub *h, struct slot *s, uint64_t at_ms)
{
    int err = publish(h, s, at_ms);
    if (err == SL_OK) {
        h->counters.schedules_fired++;
    } else if (err != SL_ENOENT) { /* nobody takes it: counted as any such message */
        h->counters.schedules_dropped++;
        sl_log(SL_WARN, "schedule_dropped", "schedule=%s reason=\"%s\"", s->name, err == SL_EFULL ? "over a limit" : "not a topic or a queue");
    }
    record_done(h, s, at_ms);
}

/* ---- when ---- */

/* What was late by more than it may be goes by the schedule's policy. */
static void plan(struct hub *h, struct slot *s)
{
    struct schedule_plan p;
    bool due = schedule_plan(&s->when, s->done_ms, h->now.wall_ms, s->restored ? 0 : GRACE_MS, &p);
    s->restored = false;
    if (!due)
        return;
    s->until_ms = p.until_ms;
    if (p.late == 0)
        return;
    h->counters.schedules_missed += p.late;
    sl_log(SL_WARN, "schedule_missed", "schedule=%s missed=%llu%s skipped=%llu", s->name, (unsigned long long)p.late,
           p.late >= SCHEDULE_COUNTED_MAX ? "+" : "", (unsigned long long)p.skipped);
    if (p.done_ms != s->done_ms)
        record_done(h, s, p.done_ms);
}

/* The wall clock was set back. By less than a day it is waited for. By more the
 * later time was wrong, and may never come: it begins anew. What is counted from
 * the latest firing does not wait longer than its distance. */
static void look_back(const struct hub *h, struct slot *s)
{
    uint64_t now = h->now.wall_ms;
    uint64_t patience = s->when.cron.every_ms > 0 ? s->when.cron.every_ms : CLOCK_BACK_MS;
    if (s->done_ms <= now || s->done_ms - now <= patience)
        return;
    sl_log(SL_WARN, "schedule_clock_back", "schedule=%s reason=\"its latest firing lies ahead; it begins anew\"", s->name);
    s->done_ms = s->until_ms = now;
}

static void slot_turn(struct hub *h, struct slot *s)
{
    uint64_t at, now = h->now.wall_ms;
    if (!s->known)
        record_done(h, s, now); /* from here on: its phase, and what may be missed */
    look_back(h, s);
    if (schedule_next(&s->when, s->done_ms) > s->until_ms)
        plan(h, s);
    for (uint32_t n = 0; n < TURN_MAX && (at = schedule_next(&s->when, s->done_ms)) <= s->until_ms; n++)
        fire(h, s, at);
    s->next_ms = schedule_next(&s->when, s->done_ms);
}

static bool may_fire(const struct hub *h)
{
    return h->schedules != NULL && !h->draining && h->commit.health == HUB_OK;
}

void schedules_tick(struct hub *h)
{
    if (!may_fire(h))
        return;
    struct schedules *all = h->schedules;
    bool set_back = h->now.wall_ms < all->seen_ms;
    all->seen_ms = h->now.wall_ms;
    if (h->now.wall_ms < all->next_ms && !set_back)
        return;
    all->next_ms = SCHEDULE_NEVER;
    for (uint32_t i = 0; i < all->n; i++) {
        struct slot *s = &all->v[i];
        if (s->next_ms <= h->now.wall_ms || set_back)
            slot_turn(h, s);
        all->next_ms = s->next_ms < all->next_ms ? s->next_ms : all->next_ms;
    }
}

uint64_t schedules_deadline_us(const struct hub *h)
{
    if (!may_fire(h))
        return UINT64_MAX;
    uint64_t next = h->schedules->next_ms, now = h->now.wall_ms;
    uint64_t wait = next <= now ? 0 : next - now;
    return h->now.mono_us + (wait < LOOK_AGAIN_MS ? wait : LOOK_AGAIN_MS) * 1000;
}
