/* The model's other half: is this the packet that the client had to get, or may get? */
#include "mqtt_model_internal.h"

static bool same_ids(const struct want *w, const struct arrival *a)
{
    if (!a->v5)
        return a->n_ids == 0;
    if (a->n_ids != w->n_ids)
        return false;
    for (uint32_t i = 0; i < w->n_ids; i++) {
        uint32_t k = 0;
        while (k < a->n_ids && a->ids[k] != w->ids[i])
            k++;
        if (k == a->n_ids)
            return false;
    }
    return true;
}

static bool share_open(const struct model *m, const struct session_model *s, const struct want *w)
{
    if (w->share == NOBODY)
        return true;
    const struct share *sh = &m->shares[w->share];
    if (sh->done && !sh->doubt)
        return false;
    if (sh->owner == NOBODY || sh->doubt || m->sessions[sh->owner].life != sh->owner_life)
        return true;
    return &m->sessions[sh->owner] == s && w->state != WAITING;
}

/* Nobody can tell one empty message of a topic from another. */
static bool nameless(const struct model *m, const struct want *w)
{
    return m->msgs[w->msg].empty;
}

static bool is_it(const struct model *m, const struct want *w, const struct arrival *a)
{
    const struct msg *p = &m->msgs[w->msg];
    if (a->msg == NOBODY ? !p->empty || p->topic != a->topic : w->msg != a->msg)
        return false;
    return w->qos == a->qos && (w->retain == ANY || w->retain == a->retain) && same_ids(w, a);
}

/* How many others could have it instead. */
static uint32_t rivals(const struct model *m, const struct want *w)
{
    uint32_t n = 0;
    for (uint32_t c = 0; w->share != NOBODY && c < CLIENTS; c++)
        n += m->sessions[c].exists && m->sessions[c].subs[m->shares[w->share].filter].on;
    return n;
}

static bool taken(const struct model *m, const struct want *w)
{
    if (w->share == NOBODY)
        return false;
    const struct share *sh = &m->shares[w->share];
    return sh->done || (sh->owner != NOBODY && m->sessions[sh->owner].life == sh->owner_life);
}

static bool likelier(const struct model *m, const struct want *a, const struct want *b)
{
    if (a->must != b->must)
        return a->must;
    if (taken(m, a) != taken(m, b))
        return taken(m, b);
    return rivals(m, a) < rivals(m, b);
}

/* What has to come before what may come, of that what nobody has got, and of that what
 * has the fewest takers. */
static struct want *find_waiting(const struct model *m, struct session_model *s, const struct arrival *a)
{
    struct want *found = NULL;
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        bool open = w->state == WAITING || (w->state == SENT && w->loose && w->qos == 1);
        if (!open || !is_it(m, w, a) || !share_open(m, s, w) || (a->dup && !w->dup_ok))
            continue;
        if (found == NULL || likelier(m, w, found))
            found = w;
    }
    return found;
}

static bool is_flying(const struct want *w, uint16_t packet_id)
{
    return w->packet_id == packet_id && (w->state == SENT || w->state == RECEIVED);
}

/* After a crash there may be several, of which all but one are over in truth. */
static struct want *find_flying(const struct model *m, struct session_model *s, const struct arrival *a)
{
    struct want *found = NULL;
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (!is_flying(w, a->packet_id))
            continue;
        if (is_it(m, w, a))
            return w;
        if (found == NULL || w->must)
            found = w;
    }
    return found;
}

/* What the crash left of their packet id was nothing: such a one is over, or waits. */
static void forget_flying(struct model *m, struct session_model *s, uint16_t packet_id)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (!is_flying(w, packet_id))
            continue;
        w->state = w->loose && w->qos == 1 ? WAITING : OVER;
        w->came = w->state == OVER;
        if (!w->came && w->share != NOBODY && m->shares[w->share].owner == (uint32_t)(s - m->sessions))
            m->shares[w->share].owner = NOBODY;
    }
}

static bool ordered_with(const struct model *m, const struct want *a, const struct want *b)
{
    const struct msg *x = &m->msgs[a->msg], *y = &m->msgs[b->msg];
    return !nameless(m, a) && !nameless(m, b) && !a->fed && !b->fed && !a->unordered && !b->unordered && a->share == NOBODY && b->share == NOBODY && x->topic == y->topic && a->qos == b->qos;
}

/* Messages of one topic and QoS come in the order in which they were published,
 * also after those that are sent again [MQTT-4.6.0-1], [MQTT-4.6.0-6]. */
static void check_order(struct model *m, uint32_t c, const struct want *w)
{
    struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *v = &s->wants[i];
        if (v == w)
            break;
        if (!ordered_with(m, v, w))
            continue;
        if (v->state == SENT && v->again)
            model_fail(m, "c%u: m%u came before m%u was sent again", c, w->msg, v->msg);
        if (v->state != WAITING)
            continue;
        if (v->must && !m->lossy)
            model_fail(m, "c%u: m%u came before m%u", c, w->msg, v->msg);
        m->lost += v->must;
        v->state = OVER;
    }
}

static void check_expiry(struct model *m, uint32_t c, const struct want *w, const struct arrival *a)
{
    uint64_t at = m->msgs[w->msg].expires_ms;
    if (m->msgs[w->msg].any_expiry || nameless(m, w) || a->late)
        return;
    if (a->v5 && (at != 0) != a->has_expiry)
        model_fail(m, "c%u: the expiry of m%u is %s", c, w->msg, at != 0 ? "missing" : "invented");
    if (at == 0)
        return;
    if (w->state == WAITING && !a->dup && m->now_ms > at)
        model_fail(m, "c%u: m%u came after its expiry", c, w->msg);
    uint64_t left = at > m->now_ms ? (at - m->now_ms + 999) / 1000 : 1;
    if (a->v5 && a->expiry_s != left && a->expiry_s + 1 != left)
        model_fail(m, "c%u: m%u says it lives %u s, %llu are left", c, w->msg, a->expiry_s, (unsigned long long)left);
}

static void take_share(struct model *m, uint32_t c, const struct want *w)
{
    if (w->share == NOBODY)
        return;
    struct share *sh = &m->shares[w->share];
    sh->owner = c;
    sh->owner_life = m->sessions[c].life;
    sh->done = sh->doubt = false;
}

static void exchange(struct model *m, uint32_t c, struct want *got, struct want *waits)
{
    uint32_t share = got->share;
    bool must = got->must;
    got->share = waits->share;
    got->must = waits->must;
    waits->share = share;
    waits->must = must;
    m->shares[share].owner = NOBODY;
    m->shares[share].done = false;
    if (got->share == NOBODY)
        return;
    m->shares[got->share].owner = c;
    m->shares[got->share].owner_life = m->sessions[c].life;
    m->shares[got->share].done = got->state == OVER;
}

/* One copy looks like the other: what its owner got for one group may have been for
 * another, or for a subscription of its own; and so on, for a few. */
static bool make_way(struct model *m, uint32_t share, uint32_t depth)
{
    uint32_t c = m->shares[share].owner;
    if (c == NOBODY || m->sessions[c].life != m->shares[share].owner_life)
        return false;
    struct session_model *s = &m->sessions[c];
    uint32_t g = s->first;
    while (g < s->n && (s->wants[g].share != share || !s->wants[g].came))
        g++;
    for (uint32_t k = s->first; g < s->n && k < s->n; k++) {
        struct want *waits = &s->wants[k];
        if (waits->came || waits->share == share || !model_alike(&s->wants[g], waits, !s->blind))
            continue;
        if (share_open(m, s, waits) || (depth > 0 && make_way(m, waits->share, depth - 1))) {
            exchange(m, c, &s->wants[g], waits);
            return true;
        }
    }
    return false;
}

static void swap_sent(struct want *a, struct want *b)
{
    struct want was = *a;
    a->packet_id = b->packet_id, a->sent_seq = b->sent_seq, a->state = b->state, a->low = b->low, a->came = b->came;
    a->again = b->again, a->loose = b->loose, a->repeat_ok = b->repeat_ok, a->dup_ok = b->dup_ok;
    b->packet_id = was.packet_id, b->sent_seq = was.sent_seq, b->state = was.state, b->low = was.low, b->came = was.came;
    b->again = was.again, b->loose = was.loose, b->repeat_ok = was.repeat_ok, b->dup_ok = was.dup_ok;
}

static void own(struct model *m, uint32_t c, const struct want *w)
{
    if (w->share == NOBODY)
        return;
    struct share *sh = &m->shares[w->share];
    sh->owner = w->came ? c : NOBODY;
    sh->owner_life = m->sessions[c].life;
    sh->done = w->came && w->state == OVER;
}

/* What they are is exchanged, and what has become of them stays. */
static void swap_identity(struct model *m, uint32_t c, struct want *a, struct want *b)
{
    swap_sent(a, b);
    struct want was = *a;
    *a = *b;
    *b = was;
    own(m, c, a);
    own(m, c, b);
}

/* Where subscription ids were not seen, what came may have been this one's twin. */
static struct want *find_twin(struct model *m, uint32_t c, const struct arrival *a)
{
    struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; s->blind && i < s->n; i++) {
        struct want *came = &s->wants[i];
        for (uint32_t k = s->first; came->came && is_it(m, came, a) && k < s->n; k++) {
            struct want *w = &s->wants[k];
            if (w->came || (a->dup && !w->dup_ok) || !model_alike(came, w, false))
                continue;
            swap_identity(m, c, came, w);
            return w;
        }
    }
    return NULL;
}

static struct want *find_taken(struct model *m, struct session_model *s, const struct arrival *a)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (w->state == WAITING && w->share != NOBODY && (!a->dup || w->dup_ok) && is_it(m, w, a) && make_way(m, w->share, 3))
            return w;
    }
    return NULL;
}

/* On an earlier connection it was taken for another copy of the same message: there
 * they looked alike, without their subscription ids. */
static struct want *mistaken(struct model *m, uint32_t c, struct want *flying, const struct arrival *a)
{
    struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; a->dup && i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (w == flying || !is_it(m, w, a) || !model_alike(w, flying, false))
            continue;
        swap_identity(m, c, w, flying);
        return flying;
    }
    if (a->dup && a->msg == NOBODY && nameless(m, flying) && m->msgs[flying->msg].topic == a->topic && flying->qos == a->qos) {
        flying->retain = ANY;
        flying->n_ids = a->n_ids;
        memcpy(flying->ids, a->ids, sizeof flying->ids);
    }
    return flying;
}

static uint32_t again(struct model *m, uint32_t c, struct want *w, const struct arrival *a)
{
    struct session_model *s = &m->sessions[c];
    if (!is_it(m, w, a))
        model_fail(m, "c%u: packet id %u was m%u and is sent again as another", c, a->packet_id, w->msg);
    if (w->state == RECEIVED && !w->repeat_ok)
        model_fail(m, "c%u: m%u is sent again after its PUBREC", c, w->msg);
    bool ordered = !w->fed && !w->unordered && w->share == NOBODY;
    if (ordered && w->sent_seq < s->again_seq)
        model_fail(m, "c%u: m%u is sent again out of order", c, w->msg);
    if (ordered)
        s->again_seq = w->sent_seq;
    w->again = w->loose = w->repeat_ok = false;
    w->state = SENT;
    m->resent++;
    return (uint32_t)(w - s->wants);
}

/* An empty message that some other could have been taken for. */
static struct want *find_nameless(struct model *m, struct session_model *s, const struct arrival *a)
{
    for (uint32_t i = 0; i < m->n_msgs && a->msg == NOBODY; i++) {
        if (!m->msgs[i].empty || m->msgs[i].topic != a->topic)
            continue;
        struct want *w = model_want_add(s, i);
        w->qos = a->qos;
        w->must = false;
        w->retain = ANY;
        w->n_ids = a->n_ids;
        memcpy(w->ids, a->ids, sizeof w->ids);
        return w;
    }
    return NULL;
}

/* Of two that are alike the one that came is the one that had to. */
static void lend_must(struct session_model *s, struct want *came)
{
    for (uint32_t i = s->first; i < s->n && !came->must; i++) {
        struct want *w = &s->wants[i];
        if (w->must && w->state == WAITING && w->share == NOBODY && came->share == NOBODY && model_alike(w, came, true)) {
            w->must = false;
            came->must = true;
        }
    }
}

static void tell_wants(struct model *m, const struct session_model *s, uint32_t msg)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        const struct want *w = &s->wants[i];
        if (w->msg == msg)
            model_say(m, "  want %u: qos %u state %u from %u id %u share %d owner %d%s%s%s%s, %u ids", i, w->qos, w->state, w->low, w->packet_id, (int)w->share,
                      w->share == NOBODY ? -1 : (int)m->shares[w->share].owner, w->share != NOBODY && m->shares[w->share].done ? " done" : "",
                      w->must ? " must" : "", w->fed ? " fed" : "", w->loose ? " loose" : "", w->n_ids);
    }
    for (uint32_t i = s->first; i < s->n; i++) {
        if (s->wants[i].msg == msg)
            model_say(m, "  want %u: retain %u", i, s->wants[i].retain);
    }
}

uint32_t model_arrived(struct model *m, uint32_t c, const struct arrival *a)
{
    struct session_model *s = &m->sessions[c];
    struct want *flying = a->packet_id != 0 ? find_flying(m, s, a) : NULL;
    m->deliveries++;
    if (a->dup && flying != NULL && !is_it(m, flying, a))
        flying = mistaken(m, c, flying, a);
    if (a->dup && flying != NULL && is_it(m, flying, a))
        return again(m, c, flying, a);
    if (flying != NULL && flying->must && !flying->loose)
        tell_wants(m, s, flying->msg);
    if (flying != NULL && flying->must && !flying->loose)
        model_fail(m, "c%u: packet id %u is in use by m%u", c, a->packet_id, flying->msg);
    if (flying != NULL && !(flying->qos == 1 && is_it(m, flying, a)))
        forget_flying(m, s, a->packet_id);
    bool same = flying != NULL && flying->loose && !a->dup && flying->qos == 1 && is_it(m, flying, a);
    if (same && !flying->must)
        lend_must(s, flying);
    struct want *w = same ? flying : find_waiting(m, s, a);
    if (w == NULL)
        w = find_taken(m, s, a);
    if (w == NULL)
        w = find_twin(m, c, a);
    if (w == NULL)
        w = find_nameless(m, s, a);
    if (w == NULL)
        tell_wants(m, s, a->msg);
    if (w == NULL)
        model_fail(m, "c%u: nobody expects m%d, qos %u%s%s, %u ids", c, (int)a->msg, a->qos, a->dup ? " dup" : "", a->retain ? " retain" : "", a->n_ids);
    check_expiry(m, c, w, a);
    check_order(m, c, w);
    if (w->share != NOBODY && m->shares[w->share].owner != c)
        (void)make_way(m, w->share, 3); /* what the other one got was its other copy, when there is one */
    take_share(m, c, w);
    w->state = a->qos == 0 ? OVER : SENT;
    w->came = true;
    w->loose = w->again = w->repeat_ok = false;
    w->packet_id = a->packet_id;
    w->sent_seq = ++s->sent_seq;
    return (uint32_t)(w - s->wants);
}

void model_acked(struct model *m, uint32_t c, uint32_t want, bool refused)
{
    struct want *w = &m->sessions[c].wants[want];
    w->state = OVER;
    if (w->share != NOBODY)
        m->shares[w->share].done = true;
    (void)refused;
}

void model_received(struct model *m, uint32_t c, uint32_t want)
{
    m->sessions[c].wants[want].state = RECEIVED;
}

uint32_t model_released(struct model *m, uint32_t c, uint16_t packet_id)
{
    struct session_model *s = &m->sessions[c];
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *w = &s->wants[i];
        if (!is_flying(w, packet_id) || w->qos != 2 || w->state != RECEIVED)
            continue;
        w->low = RECEIVED; /* that PUBREC came is stored before PUBREL goes */
        return i;
    }
    model_fail(m, "c%u: PUBREL %u releases nothing", c, packet_id);
}

void model_completed(struct model *m, uint32_t c, uint32_t want)
{
    model_acked(m, c, want, false);
}

/* A copy came that need not have come, or that another one got as well. */
static bool is_spare(const struct model *m, uint32_t owner, const struct want *got)
{
    if (got->share == NOBODY)
        return !got->must || got->spare;
    bool twice = false;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        const struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; c != owner && i < s->n; i++)
            twice |= s->wants[i].came && s->wants[i].share == got->share;
    }
    return twice || !m->shares[got->share].must;
}

/* Did a member get it, and it was taken for a copy that nobody has to get? */
static bool got_after_all(struct model *m, uint32_t share)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct session_model *s = &m->sessions[c];
        for (uint32_t i = s->first; i < s->n; i++) {
            struct want *waits = &s->wants[i];
            if (waits->share != share || waits->came)
                continue;
            for (uint32_t k = s->first; k < s->n; k++) {
                struct want *got = &s->wants[k];
                if (got->came && got->share != share && is_spare(m, c, got) && model_alike(got, waits, !s->blind))
                    return true;
            }
        }
    }
    return false;
}

SL_NORETURN static void nobody_got(struct model *m, const struct share *sh)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        model_say(m, "  of c%u%s:", c, m->sessions[c].blind ? ", which did not see subscription ids" : "");
        tell_wants(m, &m->sessions[c], sh->msg);
    }
    model_fail(m, "no member of %s:%s got m%u", model_groups[sh->filter], model_filters[sh->filter], sh->msg);
}

/* What came of its twin, which need not have come, was this one. */
static bool came_as_another(struct session_model *s, struct want *w)
{
    for (uint32_t i = s->first; i < s->n; i++) {
        struct want *got = &s->wants[i];
        if (!got->came || got->must || got->share != NOBODY || !model_alike(got, w, !s->blind))
            continue;
        got->must = true;
        w->must = false;
        return true;
    }
    return false;
}

static void check_want(struct model *m, uint32_t c, struct want *w)
{
    static const char *const names[] = { "was never sent", "was not sent again", "was not released" };
    struct session_model *s = &m->sessions[c];
    if (!w->must || w->state == OVER)
        return;
    if (w->state == WAITING && (nameless(m, w) || (w->share == NOBODY && came_as_another(s, w))))
        return;
    if (w->state == WAITING && m->lossy) {
        m->lost++;
        return;
    }
    tell_wants(m, s, w->msg);
    model_fail(m, "c%u: m%u of %s, qos %u, %s", c, w->msg, model_topics[m->msgs[w->msg].topic], w->qos, names[w->state]);
}

void model_drained(struct model *m)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        for (uint32_t i = 0; m->sessions[c].exists && i < m->sessions[c].n; i++)
            check_want(m, c, &m->sessions[c].wants[i]);
    }
    for (uint32_t i = 0; i < m->n_shares; i++) {
        const struct share *sh = &m->shares[i];
        if (sh->must && !sh->done && sh->owner == NOBODY && !m->lossy && !m->msgs[sh->msg].empty && !got_after_all(m, i))
            nobody_got(m, sh);
    }
}
