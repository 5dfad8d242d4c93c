/* The subscriptions of a connection, found by their number (for a message that
 * is to go out) and by what the client calls them. One table of texts serves
 * both the client's names and the reply destinations:
 *
 *   iID          by its id
 *   dDESTINATION by its destination: 1.0 without id
 *   $temp/…      a reply destination: it has one subscription at most */
#include "session.h"

#include "core/alloc.h"
#include "core/map.h"

struct stomp_subscriptions {
    struct sl_idmap by_number;
    struct sl_strmap by_text;
    size_t bytes;
    uint32_t last; /* number given last */
};

static struct stomp_subscriptions *table_of(struct stomp_session *s)
{
    if (s->subscriptions == NULL)
        s->subscriptions = SL_NEW(struct stomp_subscriptions);
    return s->subscriptions;
}

struct stomp_subscription *stomp_subscription_at(const struct stomp_session *s, uint32_t number)
{
    const struct stomp_subscriptions *t = s->subscriptions;
    return t == NULL ? NULL : sl_idmap_get(&t->by_number, number);
}

struct stomp_subscription *stomp_subscription_called(const struct stomp_session *s,
                                                     struct sl_bytes text)
{
    const struct stomp_subscriptions *t = s->subscriptions;
    return t == NULL || t->by_text.used == 0 ? NULL : sl_strmap_get(&t->by_text, text);
}

uint32_t stomp_subscription_last(const struct stomp_session *s)
{
    return s->subscriptions == NULL ? 0 : s->subscriptions->last;
}

struct sl_bytes stomp_subscription_id(const struct stomp_subscription *sub)
{
    return sl_bytes_of(sub->text + 1, sub->name_n - 1u);
}

static size_t bytes_of(const struct stomp_subscription *sub)
{
    return sizeof *sub + sub->name_n + sub->temp_n + sub->lead_n;
}

/* What each of its messages starts with. A 1.0 subscription without an id is
 * known by the destination alone. */
static uint32_t write_lead(uint8_t *out, enum stomp_version v, struct sl_bytes name)
{
    uint8_t *p = sl_wr_bytes(out, sl_str("MESSAGE\n"));
    if (name.p[0] == 'i') {
        p = sl_wr_bytes(p, sl_str("subscription:"));
        p = stomp_wr_escaped(p, v, sl_bytes_of(name.p + 1, name.n - 1));
        p = sl_wr_u8(p, '\n');
    }
    p = sl_wr_bytes(p, sl_str("message-id:"));
    return (uint32_t)(p - out);
}

static struct stomp_subscription *make(enum stomp_version v, const struct stomp_wish *w)
{
    size_t lead = 40 + 2 * w->name.n;
    struct stomp_subscription *sub = sl_alloc(sizeof *sub + w->name.n + w->temp.n + lead);
    *sub = (struct stomp_subscription){
        .mode = (uint8_t)w->mode,
        .from_queue = w->from_queue,
        .name_n = (uint32_t)w->name.n,
        .temp_n = (uint32_t)w->temp.n,
    };
    uint8_t *p = sl_wr_bytes(sl_wr_bytes(sub->text, w->name), w->temp);
    sub->lead_n = write_lead(p, v, w->name);
    return sl_realloc(sub, bytes_of(sub));
}

static struct sl_bytes temp_of(const struct stomp_subscription *sub)
{
    return sl_bytes_of(sub->text + sub->name_n, sub->temp_n);
}

int stomp_subscription_add(struct stomp_session *s, const struct stomp_wish *w, uint32_t *number)
{
    struct stomp_subscriptions *t = table_of(s);
    if (stomp_subscription_called(s, w->name) != NULL ||
        (w->temp.n > 0 && stomp_subscription_called(s, w->temp) != NULL))
        return SL_EEXIST;
    if (t->by_number.used == STOMP_MAX_SUBSCRIPTIONS || t->last == UINT32_MAX)
        return SL_EFULL;
    struct stomp_subscription *sub = make((enum stomp_version)s->version, w);
    if (t->bytes + bytes_of(sub) > STOMP_MAX_SUBSCRIPTION_BYTES) {
        sl_free(sub);
        return SL_EFULL;
    }
    t->bytes += bytes_of(sub);
    sub->number = ++t->last;
    sl_idmap_put(&t->by_number, sub->number, sub);
    sl_strmap_put(&t->by_text, sl_bytes_of(sub->text, sub->name_n), sub);
    if (sub->temp_n > 0)
        sl_strmap_put(&t->by_text, temp_of(sub), sub);
    *number = sub->number;
    return SL_OK;
}

void stomp_subscription_remove(struct stomp_session *s, struct stomp_subscription *sub)
{
    struct stomp_subscriptions *t = s->subscriptions;
    void *was = sl_strmap_del(&t->by_text, sl_bytes_of(sub->text, sub->name_n));
    SL_ASSERT(was == sub);
    if (sub->temp_n > 0)
        was = sl_strmap_del(&t->by_text, temp_of(sub));
    SL_ASSERT(was == sub);
    was = sl_idmap_del(&t->by_number, sub->number);
    SL_ASSERT(was == sub);
    t->bytes -= bytes_of(sub);
    sl_free(sub);
}

void stomp_subscriptions_free(struct stomp_session *s)
{
    struct stomp_subscriptions *t = s->subscriptions;
    if (t == NULL)
        return;
    size_t pos = 0;
    void *sub;
    while ((sub = sl_idmap_next(&t->by_number, &pos)) != NULL)
        sl_free(sub);
    sl_idmap_fini(&t->by_number);
    sl_strmap_fini(&t->by_text);
    sl_free(t);
    s->subscriptions = NULL;
}
