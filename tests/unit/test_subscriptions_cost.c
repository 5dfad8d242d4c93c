/* What subscriptions cost in nodes and bytes. */
#include "claims.h"

#include <stdio.h>

#include "core/alloc.h"
#include "route/subscriptions.h"

static void remembered_audiences_take_bounded_memory(void **state)
{
    (void)state;
    enum { MANY = 20000, TOPICS = 200 };
    struct subscriptions *t = subscriptions_new();
    struct session *s = sl_calloc(MANY + 1, sizeof *s);
    struct subscription_options o = {.qos = 0};
    bool existed;
    char filter[16];
    for (uint32_t i = 1; i <= MANY; i++) {
        s[i].slot = i;
        (void)subscriptions_add(t, &s[i], SL_BYTES_NONE, sl_str("#"), &o, 0, &existed);
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        (void)snprintf(filter, sizeof filter, "t/%u", i);
        (void)subscriptions_add(t, &s[1 + i], SL_BYTES_NONE, sl_str(filter), &o, 0, &existed);
    }
    for (uint32_t i = 0; i < TOPICS; i++) {
        (void)snprintf(filter, sizeof filter, "t/%u", i);
        assert_int_equal(subscriptions_match(t, sl_str(filter))->n, MANY);
        assert_in_range(subscriptions_bytes(t), 1, 16u << 20);
    }
    subscriptions_free(t);
    sl_free(s);
}

static void fill(struct subscriptions *t, struct session *s, uint32_t n)
{
    struct subscription_options o = {.qos = 1};
    char filter[32];
    bool existed;
    for (uint32_t i = s->n_subscriptions; i < n; i++) {
        (void)snprintf(filter, sizeof filter, "bench/%u/x", i);
        (void)subscriptions_add(t, s, SL_BYTES_NONE, sl_str(filter), &o, 0, &existed);
    }
}

/* Nodes that one match of a topic that is not remembered looks at. */
static uint64_t cost(struct subscriptions *t, const char *topic, uint32_t members)
{
    uint64_t before = subscriptions_visited(t);
    assert_int_equal(subscriptions_match(t, sl_str(topic))->n, members);
    return subscriptions_visited(t) - before;
}

static void a_match_costs_what_the_topic_is_deep_however_many_subscribe(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {1, 1000, 100000};
    for (size_t i = 0; i < SL_COUNT(sizes); i++) {
        struct subscriptions *t = subscriptions_new();
        struct session s = {.slot = 1}, other = {.slot = 2};
        fill(t, &s, sizes[i]);
        assert_int_equal(cost(t, "bench/0/x", 1), 4);
        assert_int_equal(cost(t, "bench/0/y", 0), 3);
        assert_int_equal(cost(t, "other/0/x", 0), 1);
        struct subscription_options o = {.qos = 1};
        bool existed;
        (void)subscriptions_add(t, &other, SL_BYTES_NONE, sl_str("bench/+/y"), &o, 0, &existed);
        (void)subscriptions_add(t, &other, SL_BYTES_NONE, sl_str("bench/#"), &o, 0, &existed);
        assert_int_equal(cost(t, "bench/0/x", 2), 5);
        assert_int_equal(cost(t, "bench/0/y", 1), 5);
        subscriptions_free(t);
    }
}

static void a_subscription_takes_at_most_120_bytes(void **state)
{
    (void)state;
    struct subscriptions *t = subscriptions_new();
    struct session s = {.slot = 1};
    fill(t, &s, 100000);
    size_t one = subscriptions_bytes(t);
    assert_in_range(one / 100000, 1, 120);
    struct session *more = sl_calloc(100001, sizeof *more);
    struct subscription_options o = {.qos = 1};
    bool existed;
    for (uint32_t i = 1; i <= 100000; i++) {
        more[i].slot = i;
        (void)subscriptions_add(t, &more[i], SL_BYTES_NONE, sl_str("all/of/them"), &o, 0, &existed);
    }
    assert_in_range((subscriptions_bytes(t) - one) / 100000, 1, 40);
    subscriptions_free(t);
    sl_free(more);
}

/* Other filters each time, so that nothing serves but what was given back. */
static void fill_and_empty(struct subscriptions *t, struct session *s, uint32_t round)
{
    struct subscription_options o = {.qos = 1};
    char filter[48];
    bool existed;
    for (uint32_t i = 0; i < 5000; i++) {
        (void)snprintf(filter, sizeof filter, "%u/a-long-level-of-%u/+/x", round, i);
        (void)subscriptions_add(t, s, i % 2 == 0 ? SL_BYTES_NONE : sl_str("group"), sl_str(filter), &o, 0, &existed);
    }
    subscriptions_remove_all(t, s);
    assert_int_equal(s->first_subscription, 0);
    assert_int_equal(s->n_subscriptions, 0);
}

static void what_all_give_back_is_used_again(void **state)
{
    (void)state;
    struct subscriptions *t = subscriptions_new();
    struct session s = {.slot = 1};
    fill_and_empty(t, &s, 0);
    size_t bytes = subscriptions_bytes(t);
    for (uint32_t round = 1; round < 4; round++)
        fill_and_empty(t, &s, round);
    assert_int_equal(subscriptions_bytes(t), bytes);
    subscriptions_free(t);
}

/* All filters of + and a on ten levels: a hostile set costs a topic no more nodes
 * than the filters have. */
static void a_match_looks_at_no_more_nodes_than_the_filters_have(void **state)
{
    (void)state;
    enum { DEPTH = 10 };
    struct subscriptions *t = subscriptions_new();
    struct session s = {.slot = 1};
    struct subscription_options o = {.qos = 1};
    char filter[2 * DEPTH];
    bool existed;
    for (uint32_t i = 0; i < 1u << DEPTH; i++) {
        for (uint32_t level = 0; level < DEPTH; level++) {
            filter[2 * level] = (i >> level & 1) != 0 ? '+' : 'a';
            filter[2 * level + 1] = '/';
        }
        (void)subscriptions_add(t, &s, SL_BYTES_NONE, sl_bytes_of(filter, 2 * DEPTH - 1), &o, 0, &existed);
    }
    assert_int_equal(cost(t, "a/a/a/a/a/a/a/a/a/a", 1), (2u << DEPTH) - 1);
    assert_int_equal(cost(t, "b/b/b/b/b/b/b/b/b/b", 1), DEPTH + 1);
    subscriptions_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembered_audiences_take_bounded_memory),
        cmocka_unit_test(a_match_costs_what_the_topic_is_deep_however_many_subscribe),
        cmocka_unit_test(a_subscription_takes_at_most_120_bytes),
        cmocka_unit_test(what_all_give_back_is_used_again),
        cmocka_unit_test(a_match_looks_at_no_more_nodes_than_the_filters_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
