/* Recovery: what the store knows becomes queues and sessions again. */
#include "jobs.h"

int hub_restore_entry(struct hub *h, uint32_t number, const struct queue_restored *r)
{
    struct hub_queue *hq = hub_queue_of_number(h, number);
    if (hq == NULL)
        return SL_EFORMAT;
    uint32_t index = (uint32_t)(hq - h->queues);
    h->watched = true; /* jobs of an older format are not told here */
    jobs_restored(h, index, r, queue_restore(hq->q, r, &h->now));
    hub_heat(h, index);
    /* Entries come in the order of their ids: only a message that several
     * queues have needs counting. */
    h->restored_count = r->id == h->restored_id ? h->restored_count + 1 : 1;
    h->restored_id = r->id;
    if (h->restored_count > 1)
        sl_idmap_put(&h->shared, r->id, (void *)(uintptr_t)h->restored_count);
    return SL_OK;
}

int hub_restore_session(struct hub *h, uint64_t number, struct sl_bytes record_bytes)
{
    struct batch_session b;
    struct session *s;
    if (batch_session_decode(record_bytes, &b) != SL_OK)
        return SL_EFORMAT;
    int err = sessions_add(h->sessions, b.client_id, number, &s);
    if (err != SL_OK)
        return err;
    s->expiry_s = b.expiry_s;
    s->persistent = true;
    bool was_connected = b.ends_wall_ms == UINT64_MAX && b.expiry_s != UINT32_MAX;
    sessions_leave(h->sessions, s, was_connected ? h->now.wall_ms + (uint64_t)b.expiry_s * 1000 : b.ends_wall_ms);
    if (was_connected)
        record_session(h, s); /* else its time would begin anew at each start */
    sl_idmap_put(&h->session_numbers, number, s);
    return SL_OK;
}

int hub_restore_qos2(struct hub *h, uint64_t session, uint16_t packet_id)
{
    struct session *s = sl_idmap_get(&h->session_numbers, session);
    if (s == NULL)
        return SL_EFORMAT;
    (void)session_add_id(s, packet_id);
    return SL_OK;
}

int hub_restore_subscription(struct hub *h, uint64_t session, uint32_t number, struct sl_bytes record_bytes)
{
    struct session *s = sl_idmap_get(&h->session_numbers, session);
    struct batch_subscription b;
    bool existed;
    if (s == NULL || batch_subscription_decode(record_bytes, &b) != SL_OK)
        return SL_EFORMAT;
    struct subscription_options o = { .qos = b.qos, .no_local = b.no_local, .retain_as_published = b.retain_as_published, .id = b.subscription_id };
    (void)subscriptions_add(h->subscriptions, s, b.group, b.filter, &o, number, &existed);
    return existed ? SL_EFORMAT : SL_OK;
}

/* Copies come in the order of their ids: one message's follow each other. */
static void count_holder(struct hub *h, const struct hub_restored_copy *c)
{
    uint64_t id = message_id(c->msg);
    h->restored_count = id == h->restored_id && c->msg->copies > 0 ? h->restored_count + 1 : c->entries + 1;
    h->restored_id = id;
    if (h->restored_count > 1)
        holders_set(h, id, h->restored_count);
}

int hub_restore_copy(struct hub *h, const struct hub_restored_copy *c)
{
    struct session *s = sl_idmap_get(&h->session_numbers, c->session);
    if (s == NULL || c->ids.n % sizeof(uint32_t) != 0)
        return SL_EFORMAT;
    uint32_t n = (uint32_t)(c->ids.n / sizeof(uint32_t));
    uint32_t *ids = sl_alloc(c->ids.n);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = sl_ld_u32le(c->ids.p + i * sizeof *ids);
    bool shared = (c->flags & BATCH_COPY_SHARED) != 0;
    uint32_t subscription = shared && n > 0 ? ids[--n] : 0;
    struct outbox_item it = {
        .msg = c->msg,
        .qos = c->flags & BATCH_COPY_QOS,
        .retain = (c->flags & BATCH_COPY_RETAIN) != 0,
        .shared = shared,
        .subscription = subscription <= UINT16_MAX ? (uint16_t)subscription : 0,
        .ids = ids,
        .n_ids = n,
    };
    count_holder(h, c);
    int err = shared && n > 1 ? SL_EFORMAT : session_restore(h, s, &it, c->packet_id, c->state == BATCH_COPY_RELEASED);
    sl_free(ids);
    return err == SL_OK ? SL_OK : SL_EFORMAT;
}
