/* Which queues take a topic. */
#include "claims.h"

#include <stdio.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "route/route.h"

static void add(struct route_table *t, const char *filter, uint32_t queue)
{
    assert_int_equal(route_add(t, sl_str(filter), queue), SL_OK);
}

static const struct route_set *match(struct route_table *t, const char *topic)
{
    return route_match(t, sl_str(topic));
}

struct pair {
    const char *filter, *topic;
    bool takes;
};

static const struct pair k_pairs[] = {
  /* 4.7.1.2 */
    {"sport/tennis/player1/#", "sport/tennis/player1",                 true },
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking",         true },
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true },
    {"sport/tennis/player1/#", "sport/tennis/player2",                 false},
    {"sport/#",                "sport",                                true },
    {"sport/#",                "sports",                               false},
    {"#",                      "sport/tennis",                         true },
    {"#",                      "/",                                    true },
 /* 4.7.1.3 */
    {"sport/tennis/+",         "sport/tennis/player1",                 true },
    {"sport/tennis/+",         "sport/tennis/player1/ranking",         false},
    {"sport/+",                "sport",                                false},
    {"sport/+",                "sport/",                               true },
    {"+/+",                    "/finance",                             true },
    {"/+",                     "/finance",                             true },
    {"+",                      "/finance",                             false},
    {"+/tennis/#",             "sport/tennis",                         true },
    {"+/tennis/#",             "sport/tennis/a/b",                     true },
    {"+/tennis/#",             "sport/golf",                           false},
    {"+",                      "finance",                              true },
    {"+/a/#",                  "x/a",                                  true },
    {"a/+/c",                  "a//c",                                 true },
 /* 4.7.2 */
    {"#",                      "$SYS/broker",                          false},
    {"+/monitor/Clients",      "$SYS/monitor/Clients",                 false},
    {"$SYS/#",                 "$SYS/broker",                          true },
    {"$SYS/#",                 "$SYS",                                 true },
    {"$SYS/monitor/+",         "$SYS/monitor/Clients",                 true },
    {"a/#",                    "a/$b",                                 true },
    {"a/+",                    "a/$b",                                 true },
 /* 4.7.3 */
    {"ACCOUNTS",               "Accounts",                             false},
    {"/finance",               "finance",                              false},
    {"a/b",                    "a/b/",                                 false},
    {"a//b",                   "a/b",                                  false},
    {"a",                      "a",                                    true },
    {"a/b",                    "a",                                    false},
    {"a",                      "a/b",                                  false},
};

static void filters_take_what_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(k_pairs); i++) {
        const struct pair *p = &k_pairs[i];
        struct route_table *t = route_new();
        add(t, p->filter, 7);
        const struct route_set *s = match(t, p->topic);
        if ((s->n == 1) != p->takes || (s->n == 1 && s->queues[0] != 7))
            fail_msg("%s with %s", p->filter, p->topic);
        route_free(t);
    }
}

static void a_filter_that_is_not_valid_is_refused(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    assert_int_equal(route_add(t, sl_str("a/#/b"), 1), SL_EINVAL);
    assert_int_equal(match(t, "a/x/b")->n, 0);
    route_free(t);
}

static void every_queue_is_there_once_in_the_order_of_the_routes(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    add(t, "a/#", 5);
    add(t, "a/b", 2);
    add(t, "+/b", 5);
    add(t, "#", 9);
    add(t, "a/b", 1);
    add(t, "a/b", 2);
    static const uint32_t order[] = {5, 2, 9, 1};
    const struct route_set *s = match(t, "a/b");
    assert_int_equal(s->n, SL_COUNT(order));
    assert_memory_equal(s->queues, order, sizeof order);
    route_free(t);
}

static void equal_answers_are_one_set(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    add(t, "a/+", 1);
    add(t, "b/+", 1);
    add(t, "a/x", 2);
    assert_ptr_equal(match(t, "a/1"), match(t, "b/2"));
    assert_ptr_equal(match(t, "no/one/1"), match(t, "nobody"));
    assert_ptr_not_equal(match(t, "a/1"), match(t, "a/x"));
    route_free(t);
}

static void a_topic_that_came_lately_costs_no_walk(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    add(t, "a/#", 1);
    const struct route_set *first = match(t, "a/b/c");
    uint64_t visited = route_visited(t);
    assert_true(visited > 0);
    assert_ptr_equal(match(t, "a/b/c"), first);
    assert_int_equal(route_visited(t), visited);
    add(t, "a/b/#", 2); /* what was remembered is forgotten */
    assert_int_equal(match(t, "a/b/c")->n, 2);
    route_free(t);
}

static void more_topics_than_are_remembered_are_all_answered_right(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    add(t, "even/+", 0);
    add(t, "odd/+", 1);
    char topic[32];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            (void)snprintf(topic, sizeof topic, "%s/%u", i % 2 == 0 ? "even" : "odd", i);
            const struct route_set *s = match(t, topic);
            assert_int_equal(s->n, 1);
            assert_int_equal(s->queues[0], i % 2);
        }
    }
    route_free(t);
}

/* 100,000 filters of three levels: a match looks at the few nodes that a topic
 * of three levels can reach. */
static void the_cost_follows_the_depth_and_not_the_number_of_filters(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    char text[64];
    for (uint32_t i = 0; i < 100000; i++) {
        (void)snprintf(text, sizeof text, i % 3 == 0 ? "site/%u/#" : "site/%u/t%u", i, i);
        add(t, text, i % 50);
    }
    add(t, "+/+/+", 99);
    const struct route_set *s = match(t, "site/500/t500");
    assert_int_equal(s->n, 2);
    assert_true(route_visited(t) <= 1 + 2 + 3 + 4);
    uint64_t visited = route_visited(t);
    assert_int_equal(match(t, "elsewhere/x")->n, 0);
    assert_true(route_visited(t) - visited <= 3);
    route_free(t);
}

static void the_deepest_topic_and_filter_do_no_harm(void **state)
{
    (void)state;
    struct route_table *t = route_new();
    size_t n = 65535;
    char *deep = sl_alloc(n);
    memset(deep, '/', n);
    assert_int_equal(route_add(t, sl_bytes_of(deep, n), 1), SL_OK);
    add(t, "+/+/#", 2);
    assert_int_equal(route_match(t, sl_bytes_of(deep, n))->n, 2);
    assert_int_equal(route_match(t, sl_bytes_of(deep, n - 1))->n, 1);
    sl_free(deep);
    route_free(t);
}

/* ---- against the definition ---- */

/* One level of filter and topic after the other, as clause 4.7.1 reads. */
static bool takes(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    while (filter != NULL) {
        if (strcmp(filter, "#") == 0)
            return true;
        if (topic == NULL)
            return false;
        const char *fs = strchr(filter, '/'), *ts = strchr(topic, '/');
        size_t fn = fs != NULL ? (size_t)(fs - filter) : strlen(filter);
        size_t tn = ts != NULL ? (size_t)(ts - topic) : strlen(topic);
        bool plus = fn == 1 && filter[0] == '+';
        if (!plus && (fn != tn || memcmp(filter, topic, fn) != 0))
            return false;
        filter = fs != NULL ? fs + 1 : NULL;
        topic = ts != NULL ? ts + 1 : NULL;
    }
    return topic == NULL;
}

static void random_text(struct sl_rng *rng, char *out, bool filter)
{
    static const char *const levels[] = {"a", "b", "", "$x", "+", "+", "#"};
    uint64_t depth = 1 + sl_rng_below(rng, 4);
    out[0] = '\0';
    for (uint64_t i = 0; i < depth; i++) {
        uint64_t k = sl_rng_below(rng, filter ? 6 : 4);
        if (filter && i + 1 == depth && sl_rng_below(rng, 3) == 0)
            k = 6;
        if (i > 0)
            (void)snprintf(out + strlen(out), 32 - strlen(out), "/");
        (void)snprintf(out + strlen(out), 32 - strlen(out), "%s", levels[k]);
    }
    if (out[0] == '\0')
        (void)snprintf(out, 32, "a");
}

static void random_filters_take_what_the_definition_takes(void **state)
{
    (void)state;
    struct sl_rng rng;
    sl_rng_seed(&rng, 7);
    for (int round = 0; round < 200; round++) {
        char filters[12][32], topic[32];
        struct route_table *t = route_new();
        for (uint32_t i = 0; i < 12; i++) {
            random_text(&rng, filters[i], true);
            add(t, filters[i], i);
        }
        for (int k = 0; k < 50; k++) {
            random_text(&rng, topic, false);
            const struct route_set *s = match(t, topic);
            uint32_t n = 0;
            for (uint32_t i = 0; i < 12; i++) {
                if (!takes(filters[i], topic))
                    continue;
                assert_true(n < s->n && s->queues[n] == i);
                n++;
            }
            assert_int_equal(n, s->n);
        }
        route_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_take_what_the_standard_says),
        cmocka_unit_test(a_filter_that_is_not_valid_is_refused),
        cmocka_unit_test(every_queue_is_there_once_in_the_order_of_the_routes),
        cmocka_unit_test(equal_answers_are_one_set),
        cmocka_unit_test(a_topic_that_came_lately_costs_no_walk),
        cmocka_unit_test(more_topics_than_are_remembered_are_all_answered_right),
        cmocka_unit_test(the_cost_follows_the_depth_and_not_the_number_of_filters),
        cmocka_unit_test(the_deepest_topic_and_filter_do_no_harm),
        cmocka_unit_test(random_filters_take_what_the_definition_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
