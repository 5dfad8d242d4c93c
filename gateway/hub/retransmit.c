/* QoS 1, sent again: the same message only while its PUBACK has not been sent
 * (decision 19, [MQTT-4.3.2-5]).
 *
 *   PUBLISH 7 ─▶ taken ─▶ … PUBACK 7 is owed … ─▶ sent: from now on 7 is a new message, DUP or not
 *                              │         │
 *                              │         └ PUBLISH 7 DUP: the protocol session knows it; one PUBACK is for both
 *                              └ the connection ends: kept with the session ─▶ PUBLISH 7 DUP: answered, nothing enters
 *
 * What was parked has not been taken: it is forgotten with its connection, and not
 * kept here. All of it is in memory: after a crash nobody knows what was taken. */
#include "hub_internal.h"

#define PER_SESSION  1024u
#define MEMORY_SHARE 64u /* of limits.memory, for all sessions; beyond it a message may come twice */

struct session_unanswered {
    uint64_t session;
    uint64_t last_id; /* no message of these has a later one */
    uint32_t n;
    struct kept {
        uint16_t packet_id, print;
    } v[];
};

static size_t bytes_of(uint32_t n)
{
    return sizeof(struct session_unanswered) + n * sizeof(struct kept);
}

static void resize(struct hub *h, struct session_unanswered **u, uint32_t n)
{
    size_t before = *u == NULL ? 0 : bytes_of((*u)->n);
    *u = sl_realloc(*u, bytes_of(n));
    h->unanswered.bytes += bytes_of(n) - before;
    (*u)->n = n;
}

static void forget(struct hub *h, struct session_unanswered *u)
{
    h->unanswered.bytes -= bytes_of(u->n);
    sl_idmap_del(&h->unanswered.by_session, u->session);
    sl_free(u);
}

/* ---- the connection ends ---- */

/* Parked ones have their tokens in the order of the frames, as what is owed has; QoS 0 has none. */
static bool is_parked(const struct parked **next, uint32_t token)
{
    while (*next != NULL && ((*next)->offer.token == 0 || (int32_t)((*next)->offer.token - token) < 0))
        *next = (*next)->next;
    return *next != NULL && (*next)->offer.token == token;
}

static void keep(struct hub *h, const struct session *s, const struct proto_owed *o)
{
    struct session_unanswered *u = sl_idmap_get(&h->unanswered.by_session, s->number);
    uint32_t n = u == NULL ? 0 : u->n;
    if (n == PER_SESSION || h->unanswered.bytes > h->cfg.memory_bytes / MEMORY_SHARE)
        return;
    resize(h, &u, n + 1);
    u->session = s->number;
    u->last_id = h->next_id;
    u->v[n] = (struct kept){ o->packet_id, o->print };
    sl_idmap_put(&h->unanswered.by_session, s->number, u);
}

void unanswered_keep(struct hub_client *c)
{
    const struct session *s = c->session;
    if (c->owed_kept || s == NULL || !s->persistent || c->l->protocol->owed == NULL)
        return;
    c->owed_kept = true;
    const struct parked *parked = c->parked == NULL ? NULL : c->parked->park.head;
    struct proto_owed o;
    uint32_t token = 0;
    while (c->l->protocol->owed(c->s, &token, &o)) {
        if (!is_parked(&parked, o.token))
            keep(c->h, s, &o);
    }
}

/* ---- it comes again ---- */

static bool take_out(struct hub *h, struct session_unanswered *u, uint16_t packet_id, uint16_t *print)
{
    uint32_t i = 0;
    while (i < u->n && u->v[i].packet_id != packet_id)
        i++;
    if (i == u->n)
        return false;
    *print = u->v[i].print;
    u->v[i] = u->v[u->n - 1];
    if (u->n == 1) {
        forget(h, u);
        return true;
    }
    uint64_t session = u->session;
    resize(h, &u, u->n - 1);
    sl_idmap_put(&h->unanswered.by_session, session, u);
    return true;
}

bool unanswered_take(struct hub_client *c, uint32_t token, const struct proto_publish *p)
{
    struct hub *h = c->h;
    struct session_unanswered *u = c->session == NULL ? NULL : sl_idmap_get(&h->unanswered.by_session, c->session->number);
    uint16_t print;
    uint64_t last_id = u == NULL ? 0 : u->last_id;
    if (u == NULL || !take_out(h, u, p->packet_id, &print) || !p->dup || print != p->print)
        return false;
    h->counters.qos1_duplicates++;
    if (h->commit.health == HUB_BROKEN)
        client_answer(c, token, PROTO_REFUSED_STORE);
    else if (last_id > h->commit.stored_id)
        answer_with_batch(c, token, PROTO_ACCEPTED);
    else
        client_answer(c, token, PROTO_ACCEPTED);
    return true;
}

void unanswered_forget(struct hub *h, const struct session *s)
{
    struct session_unanswered *u = sl_idmap_get(&h->unanswered.by_session, s->number);
    if (u != NULL)
        forget(h, u);
}

void unanswered_free(struct hub *h)
{
    struct session_unanswered *u;
    size_t pos = 0;
    while ((u = sl_idmap_next(&h->unanswered.by_session, &pos)) != NULL)
        sl_free(u);
    sl_idmap_fini(&h->unanswered.by_session);
}
