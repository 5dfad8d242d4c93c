/* Who listens to what: filters, overlapping subscriptions, what is remembered. */
#include "core/alloc.h"
#include "subscriptions_kit.h"

/* ---- filters ---- */

struct pair {
    const char *filter, *topic;
    bool takes;
};

static const struct pair k_pairs[] = {
    /* 4.7.1.2 */
    {"sport/tennis/player1/#", "sport/tennis/player1", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
    {"sport/tennis/player1/#", "sport/tennis/player2", false},
    {"sport/tennis/player1/#", "sport/tennis/player11", false},
    {"sport/tennis/player1/#", "sport/tennis", false},
    {"sport/#", "sport", true},
    {"sport/#", "sport/", true},
    {"sport/#", "sports", false},
    {"sport/#", "Sport/x", false},
    {"#", "sport/tennis", true},
    {"#", "/", true},
    {"#", "a", true},
    {"/#", "/", true},
    {"/#", "/a/b", true},
    {"/#", "a", false},
    {"//#", "/", true},
    {"//#", "//", true},
    {"//#", "a//", false},
    /* 4.7.1.3 */
    {"sport/tennis/+", "sport/tennis/player1", true},
    {"sport/tennis/+", "sport/tennis/player1/ranking", false},
    {"sport/tennis/+", "sport/tennis/", true},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
    {"sport/+/player1", "sport/tennis/player1", true},
    {"sport/+/player1", "sport//player1", true},
    {"sport/+/player1", "sport/player1", false},
    {"+/+", "/finance", true},
    {"/+", "/finance", true},
    {"/+", "/", true},
    {"/+", "finance", false},
    {"+", "/finance", false},
    {"+", "finance", true},
    {"+/+", "a", false},
    {"+/+", "a/b/c", false},
    {"+/+/+", "//", true},
    {"+/", "a/", true},
    {"+/", "a", false},
    {"+/tennis/#", "sport/tennis", true},
    {"+/tennis/#", "sport/tennis/a/b", true},
    {"+/tennis/#", "sport/golf", false},
    {"+/a/#", "x/a", true},
    {"+/#", "a", true},
    {"+/#", "a/b/c", true},
    {"+/#", "/", true},
    {"+/+/#", "a", false},
    {"+/+/#", "a/b", true},
    {"a/+/c", "a//c", true},
    {"a/+/c", "a/b/d", false},
    {"a/+/+/d", "a/b/c/d", true},
    {"a/+/+/d", "a/b/d", false},
    /* 4.7.2 */
    {"#", "$SYS/broker", false},
    {"#", "$SYS", false},
    {"#", "$", false},
    {"+", "$SYS", false},
    {"+/#", "$SYS", false},
    {"+/monitor/Clients", "$SYS/monitor/Clients", false},
    {"$SYS/#", "$SYS/broker", true},
    {"$SYS/#", "$SYS", true},
    {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
    {"$SYS/+/#", "$SYS/monitor/Clients", true},
    {"$SYS/+", "$SYS/a", true},
    {"$S/#", "$SYS/a", false},
    {"a/#", "a/$b", true},
    {"a/+", "a/$b", true},
    {"+/+", "a/$b", true},
    {"/#", "/$b", true},
    {"+/$b", "/$b", true},
    /* 4.7.3 */
    {"ACCOUNTS", "Accounts", false},
    {"/finance", "finance", false},
    {"finance", "/finance", false},
    {"a/b", "a/b/", false},
    {"a/b/", "a/b", false},
    {"a//b", "a/b", false},
    {"/", "/", true},
    {"//", "/", false},
    {"a b", "a b", true},
    {"a", "a", true},
    {"a/b", "a", false},
    {"a", "a/b", false},
    {"a-level-of-more-than-nine-bytes/x", "a-level-of-more-than-nine-bytes/x", true},
    {"a-level-of-more-than-nine-bytes/x", "a-level-of-more-than-nine-bytez/x", false},
};

static void one_filter_takes_what_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_pairs); i++) {
        const struct pair *p = &k_pairs[i];
        struct kit k = kit_new();
        (void)add(&k, 1, p->filter);
        if ((match(&k, p->topic)->n == 1) != p->takes)
            fail_msg("%s with %s", p->filter, p->topic);
        if (subscription_takes(sl_str(p->filter), sl_str(p->topic)) != p->takes)
            fail_msg("%s alone with %s", p->filter, p->topic);
        kit_free(&k);
    }
}

static void all_filters_at_once_take_what_each_takes(void **state)
{
    (void)state;
    struct kit k = kit_new();
    for (uint32_t i = 0; i < SL_COUNT(k_pairs); i++) {
        struct subscription_options o = {.id = i + 1};
        bool existed;
        (void)subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_str(k_pairs[i].filter), &o, 0, &existed);
    }
    for (size_t i = 0; i < SL_COUNT(k_pairs); i++) {
        const struct audience *a = match(&k, k_pairs[i].topic);
        uint32_t takes = 0, pos = 0;
        struct subscription s;
        while (subscriptions_next(k.t, &k.s[1], &pos, &s))
            takes += subscription_takes(s.filter, sl_str(k_pairs[i].topic));
        assert_int_equal(a->n, takes > 0);
        assert_int_equal(takes > 0 ? a->v[0].n_ids : 0, takes);
    }
    kit_free(&k);
}

static void a_filter_of_32768_levels_is_taken_and_given_back(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint8_t *slashes = sl_alloc(65535);
    memset(slashes, '/', 65535);
    struct sl_bytes topic = sl_bytes_of(slashes, 32767);
    uint8_t *filter = sl_alloc(65535);
    for (size_t i = 0; i < 65535; i++)
        filter[i] = i % 2 == 0 ? '+' : '/';
    struct subscription_options o = {.qos = 2};
    bool existed;
    (void)subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_bytes_of(filter, 65535), &o, 0, &existed);
    assert_int_equal(subscriptions_match(k.t, topic)->n, 1);
    assert_int_equal(subscriptions_match(k.t, sl_bytes_of(slashes, 32766))->n, 0);
    uint32_t pos = 0;
    struct subscription s;
    assert_true(subscriptions_next(k.t, &k.s[1], &pos, &s));
    assert_true(sl_bytes_eq(s.filter, sl_bytes_of(filter, 65535)));
    subscriptions_remove_all(k.t, &k.s[1]);
    assert_int_equal(subscriptions_match(k.t, topic)->n, 0);
    sl_free(slashes);
    sl_free(filter);
    kit_free(&k);
}

/* ---- subscriptions of one session ---- */

static void the_same_filter_again_replaces_the_options(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t number = add(&k, 1, "a/+");
    assert_int_equal(match(&k, "a/b")->v[0].qos, 1);
    struct subscription_options o = {.qos = 2, .retain_as_published = true, .id = 7};
    bool existed = false;
    assert_int_equal(subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_str("a/+"), &o, 0, &existed), number);
    assert_true(existed);
    assert_int_equal(subscriptions_count(k.t), 1);
    assert_int_equal(k.s[1].n_subscriptions, 1);
    const struct audience *a = match(&k, "a/b");
    assert_int_equal(a->n, 1);
    assert_int_equal(a->v[0].qos, 2);
    assert_true(a->v[0].retain_as_published);
    assert_int_equal(a->ids[a->v[0].ids], 7);
    kit_free(&k);
}

static void removing_compares_filters_byte_by_byte(void **state)
{
    (void)state;
    struct kit k = kit_new();
    uint32_t first = add(&k, 1, "a/+"), second = add(&k, 1, "a/b");
    (void)add(&k, 2, "a/b");
    join(&k, 1, "g", "a/b");
    assert_int_equal(drop(&k, 1, "", "A/b"), 0);
    assert_int_equal(drop(&k, 1, "", "a"), 0);
    assert_int_equal(drop(&k, 1, "", "a/#"), 0);
    assert_int_equal(drop(&k, 1, "G", "a/b"), 0);
    assert_int_equal(drop(&k, 3, "", "a/b"), 0);
    assert_int_equal(drop(&k, 1, "", "a/b"), second);
    assert_int_equal(drop(&k, 1, "", "a/b"), 0);
    assert_int_equal(drop(&k, 1, "", "a/+"), first);
    const struct audience *a = match(&k, "a/b");
    assert_null(member_of(a, 1));
    assert_non_null(member_of(a, 2));
    assert_int_equal(a->n_groups, 1);
    kit_free(&k);
}

static void a_session_is_asked_for_all_that_it_has(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)add(&k, 1, "/a//b");
    (void)add_with(&k, 1, "workers", "#", (struct subscription_options){.qos = 2, .id = 268435455});
    (void)add_with(&k, 1, "", "a-long-level/another-long-level", (struct subscription_options){.no_local = true, .retain_as_published = true});
    (void)add(&k, 2, "x");
    uint32_t pos = 0, seen = 0;
    struct subscription s;
    while (subscriptions_next(k.t, &k.s[1], &pos, &s)) {
        assert_in_range(s.number, 1, 3);
        seen |= 1u << s.number;
        if (s.number == 1)
            assert_true(sl_bytes_is(s.filter, "/a//b") && s.group.n == 0 && s.options.qos == 1 && s.options.id == 0);
        if (s.number == 2)
            assert_true(sl_bytes_is(s.filter, "#") && sl_bytes_is(s.group, "workers") && s.options.qos == 2 && s.options.id == 268435455);
        if (s.number == 3)
            assert_true(sl_bytes_is(s.filter, "a-long-level/another-long-level") && s.options.no_local && s.options.retain_as_published);
    }
    assert_int_equal(seen, 2 + 4 + 8);
    assert_false(subscriptions_next(k.t, &k.s[1], &pos, &s));
    pos = 0;
    assert_false(subscriptions_next(k.t, &k.s[3], &pos, &s));
    kit_free(&k);
}

static void numbers_are_free_ones_and_come_back_when_restored(void **state)
{
    (void)state;
    struct kit k = kit_new();
    struct subscription_options o = {.id = 5};
    bool existed;
    assert_int_equal(subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_str("d"), &o, UINT32_MAX, &existed), UINT32_MAX);
    assert_int_equal(subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_str("a"), &o, 3, &existed), 3);
    uint32_t gap = add(&k, 1, "b");
    assert_true(gap != 0 && gap != 3 && gap != UINT32_MAX);
    assert_int_equal(drop(&k, 1, "", "d"), UINT32_MAX);
    assert_int_equal(drop(&k, 1, "", "b"), gap);
    assert_int_equal(add(&k, 1, "c"), 4);
    assert_int_equal(subscriptions_add(k.t, &k.s[1], SL_BYTES_NONE, sl_str("e"), &o, 2, &existed), 2);
    assert_int_equal(add(&k, 1, "f"), 5); /* after all others, in whatever order they came back */
    kit_free(&k);
}

/* ---- overlapping subscriptions ---- */

static void overlapping_subscriptions_are_one_copy_with_the_best_qos_and_all_ids(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)add_with(&k, 1, "", "a/#", (struct subscription_options){.qos = 0, .id = 30});
    (void)add_with(&k, 1, "", "a/b", (struct subscription_options){.qos = 2, .id = 10});
    (void)add_with(&k, 2, "", "+/b", (struct subscription_options){.qos = 1});
    (void)add_with(&k, 1, "", "+/+", (struct subscription_options){.qos = 1, .retain_as_published = true, .id = 20});
    (void)add_with(&k, 1, "", "#", (struct subscription_options){.qos = 1});
    (void)add_with(&k, 1, "", "x", (struct subscription_options){.qos = 2, .id = 99});
    const struct audience *a = match(&k, "a/b");
    assert_int_equal(a->n, 2);
    const struct audience_member *m = member_of(a, 1);
    assert_int_equal(m->qos, 2);
    assert_true(m->retain_as_published);
    assert_int_equal(m->n_ids, 3);
    static const uint32_t in_order[] = {30, 10, 20};
    assert_memory_equal(a->ids + m->ids, in_order, sizeof in_order);
    m = member_of(a, 2);
    assert_int_equal(m->qos, 1);
    assert_int_equal(m->n_ids, 0);
    assert_false(m->retain_as_published);
    kit_free(&k);
}

static void no_local_counts_when_all_say_so_and_else_leaves_the_others(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)add_with(&k, 1, "", "a/#", (struct subscription_options){.qos = 2, .no_local = true, .id = 1});
    struct audience_member own;
    uint32_t ids[4];
    const struct audience_member *m = member_of(match(&k, "a/b"), 1);
    assert_true(m->no_local && !m->mixed);
    assert_false(audience_without_local(k.t, sl_str("a/b"), &k.s[1], &own, ids));
    (void)add_with(&k, 1, "", "a/b", (struct subscription_options){.qos = 0, .id = 2});
    (void)add_with(&k, 1, "", "+/b", (struct subscription_options){.qos = 1, .id = 3});
    (void)add_with(&k, 1, "", "+/c", (struct subscription_options){.qos = 2, .id = 4});
    m = member_of(match(&k, "a/b"), 1);
    assert_true(!m->no_local && m->mixed);
    assert_int_equal(m->qos, 2);
    assert_true(audience_without_local(k.t, sl_str("a/b"), &k.s[1], &own, ids));
    assert_int_equal(own.session, 1);
    assert_int_equal(own.qos, 1);
    assert_int_equal(own.n_ids, 2);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
    m = member_of(match(&k, "x/c"), 1);
    assert_true(!m->no_local && !m->mixed);
    kit_free(&k);
}

/* ---- memory of audiences ---- */

static void nobody_costs_no_walk_and_a_topic_that_came_lately_neither(void **state)
{
    (void)state;
    struct kit k = kit_new();
    assert_int_equal(match(&k, "a/b/c")->n, 0);
    assert_int_equal(subscriptions_visited(k.t), 0);
    (void)add(&k, 1, "a/#");
    const struct audience *first = match(&k, "a/b/c");
    (void)match(&k, "a/x");
    uint64_t visited = subscriptions_visited(k.t);
    assert_ptr_equal(match(&k, "a/b/c"), first);
    assert_ptr_equal(match(&k, "a/b/c"), first);
    assert_int_equal(subscriptions_visited(k.t), visited);
    (void)add(&k, 2, "a/b/#");
    assert_int_equal(match(&k, "a/b/c")->n, 2);
    (void)drop(&k, 1, "", "a/#");
    assert_int_equal(match(&k, "a/b/c")->n, 1);
    subscriptions_remove_all(k.t, &k.s[2]);
    assert_int_equal(match(&k, "a/b/c")->n, 0);
    kit_free(&k);
}

static void topics_with_the_same_listeners_share_one_audience(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)add(&k, 1, "a/#");
    (void)add(&k, 2, "+/x");
    assert_ptr_equal(match(&k, "a/1"), match(&k, "a/2"));
    assert_ptr_equal(match(&k, "b/x"), match(&k, "c/x"));
    assert_ptr_not_equal(match(&k, "a/1"), match(&k, "a/x"));
    kit_free(&k);
}

static void who_joins_a_group_makes_nobody_look_again(void **state)
{
    (void)state;
    struct kit k = kit_new();
    join(&k, 1, "g", "a/#");
    (void)match(&k, "a/b");
    uint64_t visited = subscriptions_visited(k.t);
    join(&k, 2, "g", "a/#");
    (void)drop(&k, 1, "g", "a/#");
    assert_int_equal(match(&k, "a/b")->n_groups, 1);
    assert_int_equal(subscriptions_visited(k.t), visited);
    join(&k, 1, "other", "a/#");
    assert_int_equal(match(&k, "a/b")->n_groups, 2);
    kit_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_filter_takes_what_the_standard_says),
        cmocka_unit_test(all_filters_at_once_take_what_each_takes),
        cmocka_unit_test(a_filter_of_32768_levels_is_taken_and_given_back),
        cmocka_unit_test(the_same_filter_again_replaces_the_options),
        cmocka_unit_test(removing_compares_filters_byte_by_byte),
        cmocka_unit_test(a_session_is_asked_for_all_that_it_has),
        cmocka_unit_test(numbers_are_free_ones_and_come_back_when_restored),
        cmocka_unit_test(overlapping_subscriptions_are_one_copy_with_the_best_qos_and_all_ids),
        cmocka_unit_test(no_local_counts_when_all_say_so_and_else_leaves_the_others),
        cmocka_unit_test(nobody_costs_no_walk_and_a_topic_that_came_lately_neither),
        cmocka_unit_test(topics_with_the_same_listeners_share_one_audience),
        cmocka_unit_test(who_joins_a_group_makes_nobody_look_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
