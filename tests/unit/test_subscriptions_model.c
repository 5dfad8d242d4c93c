/* The table of subscriptions against a list that is looked through. */
#include "claims.h"

#include "core/alloc.h"
#include "core/rng.h"
#include "route/subscriptions.h"
#include "topic_model.h"

#define SESSIONS 6u
#define LISTED   120u

/* In the order of subscription. */
struct listed {
    uint32_t session, number;
    const char *group;
    char filter[MODEL_TEXT];
    struct subscription_options o;
};

struct world {
    struct subscriptions *t;
    struct session s[SESSIONS + 1]; /* by slot, from 1 */
    struct listed v[LISTED];
    uint32_t n;
    struct sl_rng r;
};

static const char *const k_groups[] = {"", "", "", "g", "group-of-a-long-name"};

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->r, n);
}

static struct listed *find(struct world *w, uint32_t session, const char *group, const char *filter)
{
    for (uint32_t i = 0; i < w->n; i++) {
        struct listed *l = &w->v[i];
        if (l->session == session && strcmp(l->group, group) == 0 && strcmp(l->filter, filter) == 0)
            return l;
    }
    return NULL;
}

static void unlist(struct world *w, const struct listed *l)
{
    uint32_t i = (uint32_t)(l - w->v);
    memmove(w->v + i, w->v + i + 1, (w->n - i - 1) * sizeof *l);
    w->n--;
}

static bool same_options(const struct subscription_options *a, const struct subscription_options *b)
{
    return a->qos == b->qos && a->no_local == b->no_local && a->retain_as_published == b->retain_as_published && a->id == b->id;
}

/* ---- what happens ---- */

static void subscribe(struct world *w)
{
    uint32_t session = 1 + below(w, SESSIONS);
    const char *group = k_groups[below(w, SL_COUNT(k_groups))];
    char filter[MODEL_TEXT];
    model_text(&w->r, true, filter);
    struct subscription_options o = {
        .qos = (uint8_t)below(w, 3),
        .no_local = *group == '\0' && below(w, 2) != 0,
        .retain_as_published = below(w, 2) != 0,
        .id = below(w, 2) != 0 ? 1 + below(w, 268435455) : 0,
    };
    struct listed *l = find(w, session, group, filter);
    if (l == NULL && w->n == LISTED)
        return;
    bool existed;
    uint32_t number = subscriptions_add(w->t, &w->s[session], sl_str(group), sl_str(filter), &o, 0, &existed);
    assert_int_equal(existed, l != NULL);
    if (l == NULL) {
        l = &w->v[w->n++];
        *l = (struct listed){.session = session, .number = number, .group = group};
        memcpy(l->filter, filter, sizeof filter);
    }
    l->o = o;
    assert_int_equal(number, l->number);
}

/* One that may not be there, or one that is. */
static void unsubscribe(struct world *w)
{
    struct listed gone = {.session = 1 + below(w, SESSIONS), .group = k_groups[below(w, SL_COUNT(k_groups))]};
    model_text(&w->r, true, gone.filter);
    if (below(w, 2) != 0 && w->n > 0)
        gone = w->v[below(w, w->n)];
    const struct listed *l = find(w, gone.session, gone.group, gone.filter);
    uint32_t number = subscriptions_remove(w->t, &w->s[gone.session], sl_str(gone.group), sl_str(gone.filter));
    assert_int_equal(number, l == NULL ? 0 : l->number);
    if (l != NULL)
        unlist(w, l);
}

static void end_session(struct world *w)
{
    uint32_t session = 1 + below(w, SESSIONS);
    subscriptions_remove_all(w->t, &w->s[session]);
    for (uint32_t i = w->n; i > 0; i--) {
        if (w->v[i - 1].session == session)
            unlist(w, &w->v[i - 1]);
    }
}

/* ---- what must be ---- */

/* What the list says of one session; false: nothing brings it the topic. */
static bool expect(const struct world *w, uint32_t session, const char *topic, bool without_local, struct audience_member *m, uint32_t *ids)
{
    bool any = false, some_local = false;
    *m = (struct audience_member){.session = session, .no_local = true};
    for (uint32_t i = 0; i < w->n; i++) {
        const struct listed *l = &w->v[i];
        if (l->session != session || *l->group != '\0' || !model_takes(l->filter, topic) || (without_local && l->o.no_local))
            continue;
        any = true;
        m->qos = l->o.qos > m->qos ? l->o.qos : m->qos;
        m->retain_as_published |= l->o.retain_as_published;
        m->no_local &= l->o.no_local;
        some_local |= l->o.no_local;
        if (l->o.id != 0)
            ids[m->n_ids++] = l->o.id;
    }
    m->mixed = some_local && !m->no_local;
    return any;
}

static void same_member(const struct audience_member *a, const uint32_t *ids, const struct audience_member *wanted, const uint32_t *wanted_ids)
{
    assert_int_equal(a->qos, wanted->qos);
    assert_int_equal(a->no_local, wanted->no_local);
    assert_int_equal(a->mixed, wanted->mixed);
    assert_int_equal(a->retain_as_published, wanted->retain_as_published);
    assert_int_equal(a->n_ids, wanted->n_ids);
    for (uint32_t i = 0; i < a->n_ids; i++)
        assert_int_equal(ids[i], wanted_ids[i]);
}

static void compare_members(const struct world *w, const struct audience *a, const char *topic)
{
    uint32_t all = 0;
    for (uint32_t session = 1; session <= SESSIONS; session++) {
        struct audience_member wanted;
        uint32_t ids[LISTED];
        const struct audience_member *m = NULL;
        for (uint32_t i = 0; i < a->n; i++)
            m = a->v[i].session == session ? &a->v[i] : m;
        bool any = expect(w, session, topic, false, &wanted, ids);
        assert_int_equal(m != NULL, any);
        if (any)
            same_member(m, a->ids + m->ids, &wanted, ids);
        all += any;
    }
    assert_int_equal(a->n, all);
}

static void compare_without_local(struct world *w, const char *topic)
{
    for (uint32_t session = 1; session <= SESSIONS; session++) {
        struct audience_member own, wanted;
        uint32_t ids[LISTED], wanted_ids[LISTED];
        bool any = expect(w, session, topic, true, &wanted, wanted_ids);
        assert_int_equal(audience_without_local(w->t, sl_str(topic), &w->s[session], &own, ids), any);
        if (any)
            same_member(&own, ids, &wanted, wanted_ids);
    }
}

static void compare_group(const struct world *w, const struct shared_group *g, const char *group, const char *filter)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct listed *l = &w->v[i];
        if (strcmp(l->group, group) != 0 || strcmp(l->filter, filter) != 0)
            continue;
        bool found = false;
        for (uint32_t j = 0; j < shared_group_count(g) && !found; j++) {
            const struct shared_member *m = shared_group_member(g, j);
            found = m->session == l->session && same_options(&m->options, &l->o);
        }
        assert_true(found);
        n++;
    }
    assert_int_equal(shared_group_count(g), n);
}

/* Each group that takes the topic is there once: as often as its first member is listed. */
static void compare_groups(struct world *w, const struct audience *a, const char *topic)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct listed *l = &w->v[i];
        if (*l->group == '\0' || !model_takes(l->filter, topic))
            continue;
        bool first = true;
        for (uint32_t j = 0; j < i && first; j++)
            first = strcmp(w->v[j].group, l->group) != 0 || strcmp(w->v[j].filter, l->filter) != 0;
        if (!first)
            continue;
        struct shared_group *g = subscriptions_group(w->t, sl_str(l->group), sl_str(l->filter));
        uint32_t times = 0;
        for (uint32_t j = 0; j < a->n_groups; j++)
            times += a->groups[j] == g;
        assert_int_equal(times, 1);
        compare_group(w, g, l->group, l->filter);
        shared_group_chose(g, below(w, shared_group_count(g)));
        n++;
    }
    assert_int_equal(a->n_groups, n);
}

static void compare_session(struct world *w)
{
    uint32_t session = 1 + below(w, SESSIONS), pos = 0, n = 0, listed = 0;
    struct subscription s;
    while (subscriptions_next(w->t, &w->s[session], &pos, &s)) {
        char group[MODEL_TEXT] = "", filter[MODEL_TEXT] = "";
        (void)sl_wr_bytes((uint8_t *)group, s.group);
        (void)sl_wr_bytes((uint8_t *)filter, s.filter);
        const struct listed *l = find(w, session, group, filter);
        assert_non_null(l);
        assert_int_equal(s.number, l->number);
        assert_true(same_options(&s.options, &l->o));
        n++;
    }
    for (uint32_t i = 0; i < w->n; i++)
        listed += w->v[i].session == session;
    assert_int_equal(n, listed);
    assert_int_equal(w->s[session].n_subscriptions, listed);
}

static void compare(struct world *w)
{
    char topic[MODEL_TEXT];
    model_text(&w->r, false, topic);
    const struct audience *a = subscriptions_match(w->t, sl_str(topic));
    compare_members(w, a, topic);
    compare_groups(w, a, topic);
    assert_int_equal(subscriptions_count(w->t), w->n);
}

static void step(struct world *w)
{
    uint32_t what = below(w, 1000);
    if (what < 450)
        subscribe(w);
    else if (what < 800)
        unsubscribe(w);
    else if (what < 802)
        end_session(w);
    else if (what < 960)
        compare(w);
    else if (what < 980)
        compare_session(w);
    else {
        char topic[MODEL_TEXT];
        model_text(&w->r, false, topic);
        compare_without_local(w, topic);
    }
}

static void any_order_of_changes_finds_what_the_list_has(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world *w = SL_NEW(struct world);
        sl_rng_seed(&w->r, seed);
        w->t = subscriptions_new();
        for (uint32_t i = 1; i <= SESSIONS; i++)
            w->s[i].slot = i;
        for (uint32_t i = 0; i < 60000; i++)
            step(w);
        while (w->n > 0)
            end_session(w);
        assert_int_equal(subscriptions_count(w->t), 0);
        assert_int_equal(subscriptions_shared_count(w->t), 0);
        subscriptions_free(w->t);
        sl_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_changes_finds_what_the_list_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
