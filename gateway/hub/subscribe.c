/* SUBSCRIBE and UNSUBSCRIBE: a grant for each filter at once, the answer when
 * what a persistent session asked for is stored (decision 2), and after it what
 * is retained and what $SYS says now. */
#include "consumer.h"

/* Each level of a filter is a node of the tree, so that a filter of slashes
 * alone would cost 40 times its bytes; who means something has fewer levels. */
#define LEVELS_MAX 200u

bool filter_too_deep(struct sl_bytes filter)
{
    size_t levels = 1;
    for (size_t i = 0; i < filter.n; i++)
        levels += filter.p[i] == '/';
    return levels > LEVELS_MAX;
}

static void record_subscription(struct hub *h, const struct session *s, const struct proto_filter *f, uint32_t id, uint32_t number)
{
    struct batch_op *op = record(h, BATCH_SUBSCRIPTION);
    op->id = s->number;
    op->number = number;
    op->note = batch_subscription_encode(&(struct batch_subscription){
        .qos = f->qos,
        .no_local = f->no_local,
        .retain_as_published = f->retain_as_published,
        .subscription_id = id,
        .group = f->group,
        .filter = f->filter,
    });
}

static enum proto_grant subscribe(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t id, bool *existed)
{
    if (filter_too_deep(f->filter))
        return PROTO_GRANT_QUOTA;
    if (topic_is_reply(f->filter))
        return PROTO_GRANT_DENIED;
    struct subscription_options o = { .qos = f->qos, .no_local = f->no_local, .retain_as_published = f->retain_as_published, .id = id };
    uint32_t number = subscriptions_add(h->subscriptions, s, f->group, f->filter, &o, 0, existed);
    bool full = s->n_subscriptions > h->cfg.subscribers.subscriptions || hub_memory_bytes(h) >= h->cfg.memory_bytes;
    if (full && !*existed) {
        (void)subscriptions_remove(h->subscriptions, s, f->group, f->filter);
        return PROTO_GRANT_QUOTA;
    }
    if (s->persistent)
        record_subscription(h, s, f, id, number);
    return (enum proto_grant)(PROTO_GRANT_QOS0 + f->qos);
}

/* Views of an event die at the next call on its session, and deliveries are such calls. */
static struct proto_filter *copy_filters(const struct proto_filters *f)
{
    size_t bytes = f->n * sizeof *f->v;
    for (uint32_t i = 0; i < f->n; i++)
        bytes += f->v[i].filter.n;
    struct proto_filter *own = sl_alloc(bytes);
    uint8_t *p = (uint8_t *)(own + f->n);
    for (uint32_t i = 0; i < f->n; i++) {
        own[i] = f->v[i];
        own[i].filter = sl_bytes_of(p, f->v[i].filter.n);
        p = sl_wr_bytes(p, f->v[i].filter);
    }
    return own;
}

/* [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]; of a shared subscription
 * nothing is sent (section 4.8.2). */
static void send_first(struct hub *h, struct session *s, const struct proto_filter *f, uint32_t id, bool existed)
{
    if (f->group.n > 0 || f->retain_handling == 2 || (f->retain_handling == 1 && existed))
        return;
    retained_send(h, s, f, id);
    sys_send(h, s, f, id);
}

static void answer_subscribe(struct hub_client *c, uint32_t token)
{
    if (c->session->persistent)
        answer_with_batch(c, token, PROTO_ACCEPTED);
    else
        client_answer(c, token, PROTO_ACCEPTED);
}

void on_subscribe(struct hub_client *c, uint32_t token, const struct proto_filters *f)
{
    struct hub *h = c->h;
    struct session *s = c->session;
    uint32_t n = f->n, id = f->subscription_id;
    enum proto_grant *grants = sl_alloc(n * sizeof *grants);
    bool *existed = sl_alloc(n * sizeof *existed);
    for (uint32_t i = 0; i < n; i++)
        grants[i] = subscribe(h, s, &f->v[i], id, &existed[i]);
    struct proto_filter *own = copy_filters(f);
    c->l->protocol->granted(c->s, token, grants, n);
    answer_subscribe(c, token);
    for (uint32_t i = 0; i < n; i++) {
        if (grants[i] <= PROTO_GRANT_QOS2)
            send_first(h, s, &own[i], id, existed[i]);
    }
    deliver_soon(h, c);
    sl_free(own);
    sl_free(existed);
    sl_free(grants);
}

/* Nothing new is sent for it; what is on its way is finished [MQTT-3.10.4-2, -3]. */
static enum proto_grant unsubscribe(struct hub *h, struct session *s, const struct proto_filter *f)
{
    uint32_t number = subscriptions_remove(h->subscriptions, s, f->group, f->filter);
    if (number == 0)
        return PROTO_GRANT_NONE_WAS;
    if (f->group.n == 0)
        retained_stop(h, s, f->filter);
    else
        session_unshare(s, number);
    if (s->persistent) {
        struct batch_op *op = record(h, BATCH_SUBSCRIPTION_DROP);
        op->id = s->number;
        op->number = number;
        s->dropped_in = h->commit.open->seq;
    }
    return PROTO_GRANT_REMOVED;
}

void on_unsubscribe(struct hub_client *c, uint32_t token, const struct proto_filters *f)
{
    enum proto_grant *grants = sl_alloc(f->n * sizeof *grants);
    for (uint32_t i = 0; i < f->n; i++)
        grants[i] = unsubscribe(c->h, c->session, &f->v[i]);
    c->l->protocol->granted(c->s, token, grants, f->n);
    answer_subscribe(c, token);
    sl_free(grants);
}
