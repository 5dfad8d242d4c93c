/* Shared subscriptions: groups, members and their turns. */
#include "subscriptions_kit.h"

/* The first whose turn it is. */
static uint32_t next_turn(struct shared_group *g)
{
    uint32_t session = shared_group_member(g, 0)->session;
    shared_group_chose(g, 0);
    return session;
}

static void members_of_a_group_have_their_turns(void **state)
{
    (void)state;
    struct kit k = kit_new();
    for (uint32_t i = 1; i <= 3; i++)
        (void)add_with(&k, i, "g", "a/#", (struct subscription_options){.qos = (uint8_t)(i - 1), .id = i});
    const struct audience *a = match(&k, "a/b");
    assert_int_equal(a->n, 0);
    assert_int_equal(a->n_groups, 1);
    struct shared_group *g = a->groups[0];
    assert_ptr_equal(g, subscriptions_group(k.t, sl_str("g"), sl_str("a/#")));
    assert_int_equal(shared_group_count(g), 3);
    for (uint32_t i = 0; i < 9; i++) {
        const struct shared_member *m = shared_group_member(g, 0);
        assert_int_equal(m->session, 1 + i % 3);
        assert_int_equal(m->options.qos, i % 3);
        assert_int_equal(m->options.id, 1 + i % 3);
        shared_group_chose(g, 0);
    }
    assert_int_equal(shared_group_member(g, 1)->session, 2);
    shared_group_chose(g, 1); /* the first could not */
    assert_int_equal(shared_group_member(g, 0)->session, 3);
    assert_int_equal(shared_group_member(g, 2)->session, 2);
    kit_free(&k);
}

static void who_leaves_a_group_takes_nobody_s_turn(void **state)
{
    (void)state;
    /* All who leave at all times of a round of five. */
    for (uint32_t turns = 0; turns < 5; turns++) {
        for (uint32_t leaver = 1; leaver <= 5; leaver++) {
            struct kit k = kit_new();
            for (uint32_t i = 1; i <= 5; i++)
                join(&k, i, "g", "a");
            struct shared_group *g = subscriptions_group(k.t, sl_str("g"), sl_str("a"));
            uint32_t had[6] = {0};
            for (uint32_t i = 0; i < turns; i++)
                had[next_turn(g)]++;
            assert_int_equal(drop(&k, leaver, "g", "a"), 1);
            uint32_t left = 5 - turns - (had[leaver] == 0);
            for (uint32_t i = 0; i < left; i++)
                had[next_turn(g)]++;
            for (uint32_t i = 1; i <= 5; i++)
                assert_true(i == leaver || had[i] == 1);
            for (uint32_t i = 0; i < 8; i++) /* two rounds more */
                had[next_turn(g)]++;
            for (uint32_t i = 1; i <= 5; i++)
                assert_true(i == leaver || had[i] == 3);
            kit_free(&k);
        }
    }
}

static void a_group_goes_with_its_last_member(void **state)
{
    (void)state;
    struct kit k = kit_new();
    join(&k, 1, "g", "a/+");
    join(&k, 2, "g", "a/+");
    assert_int_equal(subscriptions_shared_count(k.t), 2);
    (void)drop(&k, 1, "g", "a/+");
    assert_int_equal(match(&k, "a/b")->n_groups, 1);
    subscriptions_remove_all(k.t, &k.s[2]);
    assert_int_equal(match(&k, "a/b")->n_groups, 0);
    assert_null(subscriptions_group(k.t, sl_str("g"), sl_str("a/+")));
    assert_int_equal(subscriptions_shared_count(k.t), 0);
    assert_int_equal(subscriptions_count(k.t), 0);
    kit_free(&k);
}

static void groups_and_ordinary_subscriptions_are_deliveries_of_their_own(void **state)
{
    (void)state;
    struct kit k = kit_new();
    (void)add(&k, 1, "a/b");
    join(&k, 1, "g", "a/b");
    join(&k, 1, "h", "a/b");
    join(&k, 1, "g", "a/#");
    join(&k, 2, "g", "a/#");
    const struct audience *a = match(&k, "a/b");
    assert_int_equal(a->n, 1);
    assert_int_equal(a->n_groups, 3);
    for (uint32_t i = 0; i < a->n_groups; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_ptr_not_equal(a->groups[i], a->groups[j]);
    assert_int_equal(match(&k, "a/c")->n_groups, 1);
    assert_int_equal(match(&k, "a/c")->n, 0);
    kit_free(&k);
}

static void a_member_s_new_options_are_seen_by_who_chooses(void **state)
{
    (void)state;
    struct kit k = kit_new();
    join(&k, 1, "g", "a");
    struct subscription_options o = {.qos = 2, .id = 9};
    bool existed;
    (void)subscriptions_add(k.t, &k.s[1], sl_str("g"), sl_str("a"), &o, 0, &existed);
    assert_true(existed);
    const struct shared_member *m = shared_group_member(match(&k, "a")->groups[0], 0);
    assert_int_equal(m->options.qos, 2);
    assert_int_equal(m->options.id, 9);
    kit_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_a_group_have_their_turns),
        cmocka_unit_test(who_leaves_a_group_takes_nobody_s_turn),
        cmocka_unit_test(a_group_goes_with_its_last_member),
        cmocka_unit_test(groups_and_ordinary_subscriptions_are_deliveries_of_their_own),
        cmocka_unit_test(a_member_s_new_options_are_seen_by_who_chooses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
