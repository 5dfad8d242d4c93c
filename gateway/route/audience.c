/* Who takes a topic. The topic walks down the tree with every branch that fits
 * at once; where it ends, filters end: their nodes (`ends`) are the key under
 * which the audience is remembered, so that a thousand topics with the same
 * listeners share one. Before that, recent topics are remembered with their answers. */
#include <stdlib.h>

#include "core/alloc.h"
#include "levels.h"
#include "subscriptions_internal.h"

#define REMEMBERED       1024u /* topics; a power of two */
#define REMEMBERED_BYTES 256u  /* longer topics are matched each time */
/* Of audiences, before all are forgotten. */
#define KEPT_BYTES_MAX ((size_t)8 << 20)

/* One place per hash: a newer topic takes an older one's. */
struct memory {
    uint64_t round;
    const struct audience *answer;
    uint32_t n;
    uint8_t topic[REMEMBERED_BYTES];
};

/* One allocation with what it points to. */
struct kept {
    struct audience a;
    struct kept *next;
};

static const struct audience nobody;

/* ---- memory ---- */

static void forget(struct matching *m)
{
    while (m->kept != NULL) {
        struct kept *k = m->kept;
        m->kept = k->next;
        sl_free(k);
    }
    sl_strmap_fini(&m->by_ends);
    m->kept_bytes = 0;
    m->last = NULL;
    m->round++;
    m->stale = false;
}

void matching_fini(struct matching *m)
{
    forget(m);
    sl_free(m->memories);
    sl_free(m->now.v);
    sl_free(m->then.v);
    sl_free(m->ends.v);
    sl_free(m->places.v);
    sl_free(m->members);
    sl_free(m->ids);
    sl_free(m->groups.v);
}

size_t matching_bytes(const struct matching *m)
{
    return m->kept_bytes + m->by_ends.cap * sizeof *m->by_ends.slots +
           (m->memories != NULL ? REMEMBERED * sizeof *m->memories : 0) + numbers_bytes(&m->now) +
           numbers_bytes(&m->then) + numbers_bytes(&m->ends) + numbers_bytes(&m->groups) +
           numbers_bytes(&m->places) + m->cap_members * sizeof *m->members +
           m->cap_ids * sizeof *m->ids;
}

/* ---- from a topic to ends ---- */

/* Filters end at this node: ordinary ones, or those of groups. */
static void reach_end(struct subscriptions *t, uint32_t node)
{
    const struct level_node *n = level_at(&t->tree, node);
    if (n->value != 0 || (n->flags & LEVEL_ASIDE))
        numbers_push(&t->m.ends, node);
}

static void reach_rest(struct subscriptions *t, uint32_t node)
{
    if (level_at(&t->tree, node)->flags & LEVEL_REST)
        reach_end(t, level_child(&t->tree, node, &t->tree.rest));
}

/* One node, one level down. */
static void descend(struct subscriptions *t, uint32_t node, const struct level_key *key,
                    bool hidden)
{
    const struct level_node *n = level_at(&t->tree, node);
    if (!hidden)
        reach_rest(t, node);
    if (n->children == 0)
        return;
    uint32_t child = level_child(&t->tree, node, key);
    if (child != 0)
        numbers_push(&t->m.then, child);
    if (!hidden && (n->flags & LEVEL_PLUS))
        numbers_push(&t->m.then, level_child(&t->tree, node, &t->tree.plus));
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Fills m.ends, in an order of their own, so that equal ones are equal bytes. */
static void find_ends(struct subscriptions *t, struct sl_bytes topic)
{
    struct matching *m = &t->m;
    m->ends.n = 0;
    m->now.n = 0;
    numbers_push(&m->now, t->tree.root);
    /* From wildcards of the first level [MQTT-4.7.2-1]. */
    bool hidden = topic.n > 0 && topic.p[0] == '$';
    struct levels l = levels_of(topic);
    struct sl_bytes level;
    while (m->now.n > 0 && levels_next(&l, &level)) {
        struct level_key key = level_key_of(level);
        m->then.n = 0;
        m->visited += m->now.n;
        for (uint32_t i = 0; i < m->now.n; i++)
            descend(t, m->now.v[i], &key, hidden);
        numbers_swap(&m->now, &m->then);
        hidden = false;
    }
    m->visited += m->now.n;
    for (uint32_t i = 0; i < m->now.n; i++) {
        reach_end(t, m->now.v[i]);
        reach_rest(t, m->now.v[i]);
    }
    if (m->ends.n > 1)
        qsort(m->ends.v, m->ends.n, sizeof *m->ends.v, by_number);
}

/* ---- from ends to an audience ---- */

static struct audience_member *add_member(struct matching *m, uint32_t session)
{
    if (m->n_members == m->cap_members) {
        SL_ASSERT(m->cap_members <= UINT32_MAX / 2);
        m->cap_members = m->cap_members > 0 ? m->cap_members * 2 : 16;
        m->members = sl_realloc(m->members, m->cap_members * sizeof *m->members);
    }
    struct audience_member *a = &m->members[m->n_members++];
    *a = (struct audience_member){ .session = session, .no_local = true };
    return a;
}

static uint32_t *place_of(struct matching *m, uint32_t session)
{
    struct numbers *p = &m->places;
    if (session >= p->cap) {
        uint32_t had = p->cap;
        p->cap = session + session / 2 + 64;
        p->v = sl_realloc(p->v, p->cap * sizeof *p->v);
        memset(p->v + had, 0, (p->cap - had) * sizeof *p->v);
    }
    return &p->v[session];
}

/* `places` is never cleared: a place counts only when the member there is that session. */
static struct audience_member *member_of(struct matching *m, uint32_t session)
{
    uint32_t *place = place_of(m, session);
    if (*place < m->n_members && m->members[*place].session == session)
        return &m->members[*place];
    *place = m->n_members;
    return add_member(m, session);
}

/* One of those that bring the message to a session; `mixed` stands for "some are
 * No Local" until all are seen. */
static void merge(struct audience_member *a, const struct subscription_options *o)
{
    if (o->qos > a->qos) /* [MQTT-3.3.4-2] */
        a->qos = o->qos;
    a->no_local = a->no_local && o->no_local;
    a->mixed = a->mixed || o->no_local;
    a->retain_as_published = a->retain_as_published || o->retain_as_published;
    a->n_ids += o->id != 0;
}

static void settle_mixed(struct audience_member *a)
{
    a->mixed = a->mixed && !a->no_local;
}

/* The ring of an end. */
static void count_members(struct subscriptions *t, uint32_t first)
{
    uint32_t r = first;
    while (r != 0) {
        const struct record *rec = record_at(t, r);
        struct subscription_options o = options_of(rec->bits);
        merge(member_of(&t->m, rec->session), &o);
        r = rec->next != first ? rec->next : 0;
    }
}

static void list_groups(struct subscriptions *t, uint32_t end)
{
    if ((level_at(&t->tree, end)->flags & LEVEL_ASIDE) == 0)
        return;
    uint32_t aside = level_child(&t->tree, end, &t->tree.aside);
    for (uint32_t g = level_at(&t->tree, aside)->value; g != 0; g = group_at(t, g)->next)
        numbers_push(&t->m.groups, g);
}

/* Each member's range of ids, empty yet; returns how long all are. */
static uint32_t lay_out_ids(struct matching *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_members; i++) {
        struct audience_member *a = &m->members[i];
        a->ids = n;
        n += a->n_ids;
        a->n_ids = 0;
        settle_mixed(a);
    }
    return n;
}

static void place_ids(struct subscriptions *t, uint32_t first)
{
    uint32_t r = first;
    while (r != 0) {
        const struct record *rec = record_at(t, r);
        uint32_t id = options_of(rec->bits).id;
        if (id != 0) {
            struct audience_member *a = member_of(&t->m, rec->session);
            t->m.ids[a->ids + a->n_ids++] = (uint64_t)rec->number << 32 | id;
        }
        r = rec->next != first ? rec->next : 0;
    }
}

static int by_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* All ids of all members, each member's in the order of his subscriptions. */
static void gather_ids(struct subscriptions *t, uint32_t n)
{
    struct matching *m = &t->m;
    if (n > m->cap_ids) {
        m->cap_ids = n + n / 2;
        m->ids = sl_realloc(m->ids, m->cap_ids * sizeof *m->ids);
    }
    for (uint32_t i = 0; i < m->ends.n; i++)
        place_ids(t, level_at(&t->tree, m->ends.v[i])->value);
    for (uint32_t i = 0; i < m->n_members; i++) {
        const struct audience_member *a = &m->members[i];
        if (a->n_ids > 1)
            qsort(m->ids + a->ids, a->n_ids, sizeof *m->ids, by_u64);
    }
}

/* Returns how many ids all members have. */
static uint32_t gather(struct subscriptions *t)
{
    struct matching *m = &t->m;
    m->n_members = 0;
    m->groups.n = 0;
    for (uint32_t i = 0; i < m->ends.n; i++) {
        count_members(t, level_at(&t->tree, m->ends.v[i])->value);
        list_groups(t, m->ends.v[i]);
    }
    uint32_t n_ids = lay_out_ids(m);
    if (n_ids > 0)
        gather_ids(t, n_ids);
    return n_ids;
}

static void keep(struct matching *m, struct kept *k, size_t bytes, struct sl_bytes ends)
{
    k->next = m->kept;
    m->kept = k;
    m->kept_bytes += bytes;
    sl_strmap_put(&m->by_ends, ends, k);
}

/* What was gathered, in one allocation: groups, members, ids, and the ends as the key. */
static const struct audience *make_audience(struct subscriptions *t, uint32_t n_ids)
{
    struct matching *m = &t->m;
    size_t groups = m->groups.n * sizeof(struct shared_group *);
    size_t members = m->n_members * sizeof *m->members;
    size_t ids = n_ids * sizeof(uint32_t), ends = m->ends.n * sizeof(uint32_t);
    size_t bytes = sizeof(struct kept) + groups + members + ids + ends;
    struct kept *k = sl_alloc(bytes);
    uint8_t *p = (uint8_t *)(k + 1);
    struct shared_group **to_groups = (struct shared_group **)(void *)p;
    uint32_t *to_ids = (uint32_t *)(void *)(p + groups + members);
    for (uint32_t i = 0; i < m->groups.n; i++)
        to_groups[i] = group_at(t, m->groups.v[i]);
    p = sl_wr_bytes(p + groups, sl_bytes_of(m->members, members));
    for (uint32_t i = 0; i < n_ids; i++)
        to_ids[i] = (uint32_t)m->ids[i];
    struct sl_bytes key = sl_bytes_of(p + ids, ends);
    (void)sl_wr_bytes(p + ids, sl_bytes_of(m->ends.v, ends));
    k->a = (struct audience){
        .n = m->n_members,
        .n_groups = m->groups.n,
        .v = (const struct audience_member *)(const void *)(p - members),
        .ids = to_ids,
        .groups = to_groups,
    };
    keep(m, k, bytes, key);
    return &k->a;
}

static const struct audience *look_up(struct subscriptions *t, struct sl_bytes topic)
{
    struct matching *m = &t->m;
    find_ends(t, topic);
    if (m->ends.n == 0)
        return &nobody;
    const struct kept *known =
        sl_strmap_get(&m->by_ends, sl_bytes_of(m->ends.v, m->ends.n * sizeof *m->ends.v));
    if (known != NULL)
        return &known->a;
    if (m->kept_bytes > KEPT_BYTES_MAX)
        forget(m);
    return make_audience(t, gather(t));
}

/* ---- what others call ---- */

/* A client publishes several times in one turn, nearly always to one topic. */
static bool is_last(const struct matching *m, struct sl_bytes topic)
{
    return m->last != NULL && sl_bytes_eq(sl_bytes_of(m->last->topic, m->last->n), topic);
}

static struct memory *memory_of(struct matching *m, struct sl_bytes topic)
{
    if (m->memories == NULL)
        m->memories = sl_calloc(REMEMBERED, sizeof *m->memories);
    return &m->memories[sl_hash(topic) & (REMEMBERED - 1)];
}

static void remember(struct matching *m, struct memory *at, struct sl_bytes topic,
                     const struct audience *answer)
{
    at->round = m->round;
    at->answer = answer;
    at->n = (uint32_t)topic.n;
    (void)sl_wr_bytes(at->topic, topic);
}

static const struct audience *recall(struct subscriptions *t, struct sl_bytes topic)
{
    struct matching *m = &t->m;
    if (topic.n > REMEMBERED_BYTES)
        return look_up(t, topic);
    struct memory *at = memory_of(m, topic);
    if (at->answer == NULL || at->round != m->round ||
        !sl_bytes_eq(sl_bytes_of(at->topic, at->n), topic))
        remember(m, at, topic, look_up(t, topic));
    m->last = at;
    return at->answer;
}

const struct audience *subscriptions_match(struct subscriptions *t, struct sl_bytes topic)
{
    if (t->records.used == 0)
        return &nobody;
    if (t->m.stale)
        forget(&t->m);
    return is_last(&t->m, topic) ? t->m.last->answer : recall(t, topic);
}

uint64_t subscriptions_visited(const struct subscriptions *t)
{
    return t->m.visited;
}

static bool is_end(const struct matching *m, uint32_t node)
{
    return bsearch(&node, m->ends.v, m->ends.n, sizeof node, by_number) != NULL;
}

/* A session's list has the latest first; ids go out the other way round. */
static void turn_round(uint32_t *v, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        uint32_t swapped = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = swapped;
    }
}

bool audience_without_local(struct subscriptions *t, struct sl_bytes topic,
                            const struct session *publisher, struct audience_member *out,
                            uint32_t *ids)
{
    struct audience_member a = { .session = publisher->slot };
    bool found = false;
    find_ends(t, topic);
    for (uint32_t r = publisher->first_subscription; r != 0; r = record_at(t, r)->session_next) {
        const struct record *rec = record_at(t, r);
        struct subscription_options o = options_of(rec->bits);
        if (o.no_local || !is_end(&t->m, rec->owner))
            continue;
        if (o.id != 0)
            ids[a.n_ids] = o.id;
        merge(&a, &o);
        found = true;
    }
    turn_round(ids, a.n_ids);
    if (found)
        *out = a;
    return found;
}
