/* Recovery: what the store knows becomes queues and sessions again. */
#include "hub_internal.h"

int hub_restore_entry(struct hub *h, uint32_t number, const struct queue_restored *r)
{
    struct hub_queue *hq = hub_queue_of_number(h, number);
    if (hq == NULL)
        return SL_EFORMAT;
    queue_restore(hq->q, r, &h->now);
    hub_heat(h, (uint32_t)(hq - h->queues));
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
    uint64_t ends = b.ends_wall_ms;
    if (ends == UINT64_MAX && b.expiry_s != UINT32_MAX)
        ends = h->now.wall_ms + (uint64_t)b.expiry_s * 1000; /* it was connected when we died */
    sessions_leave(h->sessions, s, ends);
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
