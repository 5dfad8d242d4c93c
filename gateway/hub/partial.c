/* Half-received packets: they grow only as bytes arrive, they count in
 * limits.memory, and over it the one that has been incomplete for longest is
 * closed (decision 28). While all of them together are a small share of the
 * limit nobody is closed for them: the memory is elsewhere then. */
#include "hub_internal.h"

#define SMALL_SHARE 16u

static void unlist(struct hub *h, struct hub_client *c)
{
    if (c->partial_prev != NULL)
        c->partial_prev->partial_next = c->partial_next;
    else
        h->partial = c->partial_next;
    if (c->partial_next != NULL)
        c->partial_next->partial_prev = c->partial_prev;
    else
        h->partial_tail = c->partial_prev;
    c->partial_prev = c->partial_next = NULL;
}

static void enlist(struct hub *h, struct hub_client *c)
{
    c->partial_prev = h->partial_tail;
    c->partial_next = NULL;
    if (h->partial_tail != NULL)
        h->partial_tail->partial_next = c;
    else
        h->partial = c;
    h->partial_tail = c;
}

void partial_set(struct hub_client *c, size_t bytes)
{
    struct hub *h = c->h;
    if (bytes == c->partial_bytes)
        return;
    if (c->partial_bytes == 0)
        enlist(h, c);
    else if (bytes == 0)
        unlist(h, c);
    h->partial_bytes += bytes;
    h->partial_bytes -= c->partial_bytes;
    c->partial_bytes = bytes;
}

void partial_enforce(struct hub *h)
{
    while (hub_memory_bytes(h) > h->cfg.memory_bytes && h->partial_bytes > h->cfg.memory_bytes / SMALL_SHARE) {
        struct hub_client *c = h->partial;
        sl_log(SL_WARN, "memory_limit", "peer=%s partial_bytes=%zu action=\"closed: its packet has been incomplete for longest\"", c->peer, c->partial_bytes);
        hub_client_bye(c, PROTO_BYE_QUOTA);
        partial_set(c, 0);
    }
}
