/* Half-received packets: they grow only as bytes arrive, they count in
 * limits.memory, and over it the one that has been incomplete for longest is
 * closed (decision 28). While all of them together are a small share of the
 * limit nobody is closed for them: the memory is elsewhere then. */
#include "hub_internal.h"

#define SMALL_SHARE 16u

static void end_partial(struct hub *h, struct hub_client *c)
{
    struct partial *p = c->partial;
    if (p->prev != NULL)
        p->prev->partial->next = p->next;
    else
        h->partial = p->next;
    if (p->next != NULL)
        p->next->partial->prev = p->prev;
    else
        h->partial_tail = p->prev;
    c->partial = NULL;
    sl_free(p);
}

static void begin_partial(struct hub *h, struct hub_client *c)
{
    c->partial = SL_NEW(struct partial);
    c->partial->prev = h->partial_tail;
    if (h->partial_tail != NULL)
        h->partial_tail->partial->next = c;
    else
        h->partial = c;
    h->partial_tail = c;
}

void partial_set(struct hub_client *c, size_t bytes)
{
    struct hub *h = c->h;
    size_t before = c->partial == NULL ? 0 : c->partial->bytes;
    if (bytes == before)
        return;
    h->partial_bytes += bytes;
    h->partial_bytes -= before;
    if (bytes == 0) {
        end_partial(h, c);
        return;
    }
    if (before == 0)
        begin_partial(h, c);
    c->partial->bytes = bytes;
}

void partial_enforce(struct hub *h)
{
    while (hub_memory_bytes(h) > h->cfg.memory_bytes && h->partial_bytes > h->cfg.memory_bytes / SMALL_SHARE) {
        struct hub_client *c = h->partial;
        sl_log(SL_WARN, "memory_limit", "peer=%s partial_bytes=%zu action=\"closed: its packet has been incomplete for longest\"", c->peer, c->partial->bytes);
        hub_client_bye(c, PROTO_BYE_QUOTA);
        partial_set(c, 0);
    }
}
