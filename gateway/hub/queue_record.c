/* What the store keeps of a queue itself, beside its messages: whether it is
 * paused, and what its messages were ordered by when they came. Entries hold
 * the hashes of their keys and not the keys, so that another order could not be
 * found out for those that are there: it changes only on an empty queue
 * (decision 29). */
#include "core/alloc.h"
#include "hub_internal.h"

#define HEADER_PREFIX "header:"

/* As the configuration says it; the caller's own. */
static char *order_text(const struct queue_order *o)
{
    if (!o->on)
        return sl_strdup("none");
    if (o->key != QUEUE_KEY_HEADER)
        return sl_strdup(o->key == QUEUE_KEY_CLIENT ? "client" : "topic");
    size_t n = sizeof HEADER_PREFIX + strlen(o->header);
    char *text = sl_alloc(n);
    (void)snprintf(text, n, HEADER_PREFIX "%s", o->header);
    return text;
}

/* An orphan's messages keep the order that they came in by, for the day when it is configured again. */
void record_queue(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    struct batch_queue b = { .paused = queue_is_paused(hq->q), .order = sl_str(hq->order == NULL ? "none" : hq->order) };
    struct batch_op *op = record(h, BATCH_QUEUE);
    op->queue = hq->cfg->number;
    op->note = batch_queue_encode(&b);
}

int hub_restore_queue(struct hub *h, uint32_t number, struct sl_bytes record_bytes)
{
    struct hub_queue *hq = hub_queue_of_number(h, number);
    struct batch_queue b;
    if (hq == NULL || batch_queue_decode(record_bytes, &b) != SL_OK)
        return SL_EFORMAT;
    queue_pause(hq->q, b.paused, &h->now);
    sl_free(hq->order);
    hq->order = sl_alloc(b.order.n + 1);
    if (b.order.n > 0)
        memcpy(hq->order, b.order.p, b.order.n);
    hq->order[b.order.n] = '\0';
    return SL_OK;
}

static bool is_empty(const struct queue *q)
{
    struct queue_depth d;
    queue_depth(q, &d);
    return d.count[QUEUE_READY] + d.count[QUEUE_LEASED] + d.count[QUEUE_DELAYED] + d.count[QUEUE_DEAD] == 0;
}

const char *hub_order_before(struct hub *h, uint32_t queue)
{
    struct hub_queue *hq = &h->queues[queue];
    char *order = order_text(&hq->cfg->order);
    bool same = strcmp(order, hq->order == NULL ? "none" : hq->order) == 0;
    if (same || (!hq->orphan && is_empty(hq->q))) {
        sl_free(hq->order);
        hq->order = order;
        if (!same)
            record_queue(h, queue);
        return NULL;
    }
    sl_free(order);
    return hq->orphan ? NULL : hq->order == NULL ? "none" : hq->order;
}
