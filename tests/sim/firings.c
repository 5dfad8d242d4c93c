/* Schedules: each firing comes once, none is lost that is not counted as missed or
 * dropped, and none comes early. */
#include "sim.h"

#include <string.h>

#include "schedule/schedule.h"

#define MINUTE_MS 60000u

struct firing {
    uint32_t schedule, uid;
    uint64_t at_ms;
};

static void plan_make(struct planned *p, struct sl_rng *dice, uint32_t queue, uint32_t number)
{
    char why[SCHEDULE_WHY_MAX];
    *p = (struct planned){ .on = true, .queue = queue };
    snprintf(p->name, sizeof p->name, "s%u", number);
    snprintf(p->topic, sizeof p->topic, "/queue/q%u", queue);
    if (sl_rng_below(dice, 2) == 0)
        p->when.cron.every_ms = 5000 + sl_rng_below(dice, 60000) / 1000 * 1000;
    else
        SL_ASSERT(schedule_cron_parse(sl_str("* * * * *"), &p->when.cron, why) == SL_OK);
    p->when.missed = (enum schedule_missed)sl_rng_below(dice, 3);
}

void firings_make(struct world *w, struct sl_rng *dice)
{
    for (uint32_t i = 0; i < SIM_SCHEDULES; i++) {
        uint32_t queue = (uint32_t)sl_rng_below(dice, SIM_QUEUES);
        if (w->queues[queue].durable && sl_rng_below(dice, 3) > 0)
            plan_make(&w->semantics.planned[i], dice, queue, i);
    }
}

void firings_set(struct world *w)
{
    struct hub_schedule v[SIM_SCHEDULES];
    struct message_parts parts[SIM_SCHEDULES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < SIM_SCHEDULES && !w->calm; i++) {
        const struct planned *p = &w->semantics.planned[i];
        if (!p->on)
            continue;
        parts[n] = (struct message_parts){ .priority = MESSAGE_PRIORITY_DEFAULT, .topic = sl_str(p->topic), .payload = sl_str(p->name) };
        v[n] = (struct hub_schedule){ .name = p->name, .when = p->when, .publish = &parts[n] };
        n++;
    }
    hub_set_schedules(w->hub, v, n);
}

/* ---- which firing a message is ---- */

static uint32_t schedule_of(const struct world *w, struct sl_bytes name)
{
    uint32_t i = 0;
    while (i < SIM_SCHEDULES && !sl_bytes_is(name, w->semantics.planned[i].name))
        i++;
    if (i == SIM_SCHEDULES)
        world_fail(w, "%s", "a schedule that does not exist has fired");
    return i;
}

static const struct firing *find(const struct world *w, uint32_t schedule, uint64_t at_ms)
{
    for (uint32_t i = 0; i < w->semantics.n_firings; i++) {
        const struct firing *f = &w->semantics.firings[i];
        if (f->schedule == schedule && f->at_ms == at_ms)
            return f;
    }
    return NULL;
}

static uint32_t add(struct world *w, uint32_t schedule, uint64_t at_ms)
{
    struct semantics *s = &w->semantics;
    uint32_t uid = uid_new(w, (uint8_t)(SIM_TOPICS + s->planned[schedule].queue), 2);
    w->uids[uid].exactly_once = true; /* and nobody has it before it is stored */
    w->uids[uid].first_sent = 0; /* some time before it was seen */
    if (s->n_firings == s->cap_firings) {
        s->cap_firings = s->cap_firings == 0 ? 64 : s->cap_firings * 2;
        s->firings = sl_realloc(s->firings, s->cap_firings * sizeof *s->firings);
    }
    s->firings[s->n_firings++] = (struct firing){ schedule, uid, at_ms };
    world_trace(w, "u%08u is a firing of %s", uid, s->planned[schedule].name);
    return uid;
}

uint32_t firings_uid(struct world *w, struct sl_bytes name, struct sl_bytes when)
{
    uint64_t at_ms;
    if (sl_time_parse(when, &at_ms) != SL_OK)
        world_fail(w, "%s", "a firing does not say for when it is");
    uint32_t schedule = schedule_of(w, name);
    const struct firing *f = find(w, schedule, at_ms);
    if (f != NULL)
        return f->uid;
    const struct planned *p = &w->semantics.planned[schedule];
    if (at_ms > w->now.wall_ms)
        world_fail(w, "%s fires %" PRIu64 " ms early", p->name, at_ms - w->now.wall_ms);
    return add(w, schedule, at_ms);
}

uint32_t firings_uid_of(struct world *w, const struct message *m)
{
    struct message_header h;
    struct sl_bytes name = SL_BYTES_NONE, when = SL_BYTES_NONE;
    size_t pos = 0;
    while (message_header_next(message_record(m), &pos, &h)) {
        name = sl_bytes_is(h.name, "schedule") ? h.value : name;
        when = sl_bytes_is(h.name, "scheduled-for") ? h.value : when;
    }
    uint32_t uid = firings_uid(w, name, when), queue = w->uids[uid].topic - SIM_TOPICS;
    if (message_accepted_at(m) <= w->semantics.purged_wall[queue])
        w->uids[uid].excused |= (uint8_t)(1u << queue); /* it was there, and not yet on the disk */
    return uid;
}

/* ---- laws ---- */

static uint64_t expected(const struct planned *p, uint64_t from_ms, uint64_t to_ms)
{
    uint64_t every = p->when.cron.every_ms;
    return every > 0 ? (to_ms - from_ms) / every : to_ms / MINUTE_MS - from_ms / MINUTE_MS;
}

static uint64_t excuses(const struct world *w)
{
    const struct gateway_counters *c = hub_counters(w->hub);
    return w->semantics.excuses + c->schedules_missed + c->schedules_dropped;
}

void firings_hub_ends(struct world *w)
{
    w->semantics.excuses = excuses(w);
}

/* Its record: all up to this one are done with. Those that are not stored must be counted. */
void firings_done(struct world *w, const struct batch_note *note)
{
    struct batch_schedule b;
    if (batch_schedule_decode(sl_bytes_of(note->bytes, note->n), &b) != SL_OK)
        world_fail(w, "%s", "the record of a schedule is not well-formed");
    uint32_t schedule = schedule_of(w, b.name);
    struct planned *p = &w->semantics.planned[schedule];
    uint64_t stored = 0, due = p->known && b.done_ms > p->done_ms ? expected(p, p->done_ms, b.done_ms) : 0;
    for (uint32_t i = 0; i < w->semantics.n_firings; i++) {
        const struct firing *f = &w->semantics.firings[i];
        if (f->schedule != schedule || f->at_ms <= p->done_ms || f->at_ms > b.done_ms)
            continue;
        w->uids[f->uid].acked = true; /* it will not come again: it must be kept */
        stored++;
    }
    if (p->known && b.done_ms < p->done_ms)
        world_fail(w, "schedule %s goes back by %" PRIu64 " ms", p->name, p->done_ms - b.done_ms);
    w->semantics.lost += due > stored ? due - stored : 0;
    if (w->semantics.lost > excuses(w))
        world_fail(w, "schedule %s: %" PRIu64 " firings did not come, and %" PRIu64 " are counted", p->name, w->semantics.lost, excuses(w));
    p->known = true;
    p->done_ms = b.done_ms;
}

void firings_free(struct world *w)
{
    sl_free(w->semantics.firings);
}
