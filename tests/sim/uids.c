/* What devices want done: numbers in payloads, with what was said about their
 * time and rank, so that the laws can tell whether it was kept. */
#include "sim.h"

uint32_t uid_of(struct sl_bytes payload)
{
    uint64_t v;
    if (payload.n < 9 || payload.p[0] != 'u' || sl_bytes_u64(sl_bytes_of(payload.p + 1, 8), UINT32_MAX, &v) != SL_OK)
        return SIM_NO_UID;
    return (uint32_t)v;
}

uint32_t uid_of_message(struct world *w, const struct message *m)
{
    struct sl_bytes payload = message_payload(m);
    return payload.n > 0 && payload.p[0] == 's' ? firings_uid_of(w, m) : uid_of(payload);
}

uint8_t uid_topic(struct world *w)
{
    return (uint8_t)(chance(w, 25) ? pick(w, SIM_TOPICS) : 1 + pick(w, SIM_ROUTED - 1));
}

void uid_retain(struct world *w, uint32_t uid)
{
    struct uid *u = &w->uids[uid];
    bool routed = u->topic > 0 && u->topic < SIM_ROUTED;
    u->retain = chance(w, routed ? 10 : 50);
    u->clear = u->retain && !routed && chance(w, 30);
}

uint32_t uid_new(struct world *w, uint8_t topic, uint8_t qos)
{
    if (w->n_uids == w->cap_uids) {
        w->cap_uids = w->cap_uids == 0 ? 256 : w->cap_uids * 2;
        w->uids = sl_realloc(w->uids, w->cap_uids * sizeof *w->uids);
    }
    w->uids[w->n_uids] = (struct uid){ .topic = topic, .qos = qos, .priority = MESSAGE_PRIORITY_DEFAULT, .first_sent = w->now.steady_ms, .last_sent = w->now.steady_ms };
    return w->n_uids++;
}

uint8_t uid_queues(const struct world *w, const struct uid *u)
{
    return (uint8_t)(u->topic < SIM_TOPICS ? w->topic_queues[u->topic] : 1u << (u->topic - SIM_TOPICS));
}

/* What some queues look at. */
static void uid_meaning(struct world *w, struct uid *u)
{
    u->line = (uint8_t)pick(w, 4);
    u->again = (uint8_t)(w->semantics.duplicates && chance(w, 30) ? 1 + pick(w, 3) : 0);
    u->job = w->semantics.jobs && chance(w, 30);
}

void uid_flavour(struct world *w, uint32_t uid, bool stomp)
{
    struct uid *u = &w->uids[uid];
    if (w->semantics.on)
        uid_meaning(w, u);
    if (chance(w, 15))
        u->priority = (uint8_t)pick(w, 10);
    if (chance(w, 8))
        u->delay_ms = 1 + pick(w, 400);
    if (!chance(w, 8))
        return;
    u->absolute_end = stomp;
    u->expiry_ms = stomp ? 1 + pick(w, 3000) : 1000 * (1 + pick(w, 3));
    u->ends_at = w->now.wall_ms + u->expiry_ms;
}

void uid_sent(struct world *w, uint32_t uid)
{
    w->uids[uid].last_sent = w->now.steady_ms;
}

void uid_payload(struct world *w, uint32_t uid, char *out, size_t cap)
{
    size_t pad = pick(w, 3) == 0 ? pick(w, 300) : 0;
    int n = snprintf(out, cap, "u%08u", uid);
    memset(out + n, '.', pad);
    out[(size_t)n + pad] = '\0';
}

void uid_names(struct world *w, uint64_t id, uint32_t uid)
{
    void *value = (void *)((uintptr_t)uid + 1);
    void *before = sl_idmap_get(&w->ids, id);
    if (before == NULL && id >> 40 != w->boot)
        world_fail(w, "the id %016" PRIx64 " was never seen and is not of this boot", id);
    if (before != NULL && before != value)
        world_fail(w, "the id %016" PRIx64 " means u%08u and meant u%08u before", id, uid, (uint32_t)((uintptr_t)before - 1));
    sl_idmap_put(&w->ids, id, value);
}

uint32_t uid_of_id(const struct world *w, uint64_t id)
{
    uintptr_t value = (uintptr_t)sl_idmap_get(&w->ids, id);
    return value == 0 ? SIM_NO_UID : (uint32_t)(value - 1);
}
