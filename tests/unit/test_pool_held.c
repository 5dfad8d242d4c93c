/* What a worker holds: open, stale and never given are told apart for ever. */
#include "claims.h"
#include "held.h"

static void a_tag_is_open_then_stale_and_an_unknown_one_was_never_given(void **state)
{
    (void)state;
    struct held_table t = { 0 };
    struct held *h = NULL;
    assert_int_equal(held_by_tag(&t, 0, &h), HELD_NEVER);
    assert_int_equal(held_by_tag(&t, 1u << 20, &h), HELD_NEVER);
    uint64_t a = held_add(&t, 11, 101), b = held_add(&t, 12, 102);
    assert_true(a != 0 && b != 0 && a != b);
    assert_int_equal(held_by_tag(&t, a, &h), HELD_OPEN);
    assert_int_equal(h->lease, 11);
    held_drop(&t, h);
    assert_int_equal(held_by_tag(&t, a, &h), HELD_STALE);
    uint64_t c = held_add(&t, 13, 103); /* the same place again */
    assert_true(c != a);
    assert_int_equal(held_by_tag(&t, a, &h), HELD_STALE);
    assert_int_equal(held_by_tag(&t, c, &h), HELD_OPEN);
    assert_int_equal(h->lease, 13);
    assert_int_equal(held_by_tag(&t, c + (1u << 20), &h), HELD_NEVER);
    assert_int_equal(held_by_tag(&t, UINT64_MAX, &h), HELD_NEVER);
    held_fini(&t);
}

static void the_order_of_delivery_is_kept_while_answers_come_in_any(void **state)
{
    (void)state;
    struct held_table t = { 0 };
    uint64_t tags[100];
    for (uint64_t i = 0; i < 100; i++)
        tags[i] = held_add(&t, i, 1000 + i);
    for (uint64_t i = 0; i < 100; i += 3) {
        struct held *h = NULL;
        assert_int_equal(held_by_tag(&t, tags[i], &h), HELD_OPEN);
        held_drop(&t, h);
    }
    assert_int_equal(t.n_open, 66);
    uint64_t last = 0, n = 0;
    for (const struct held *h = held_first(&t); h != NULL; h = held_after(&t, h), n++) {
        assert_true(h->lease > last && h->lease % 3 != 0);
        last = h->lease;
    }
    assert_int_equal(n, 66);
    held_fini(&t);
}

static void ids_are_stale_as_long_as_they_are_remembered(void **state)
{
    (void)state;
    struct held_table t = { 0 };
    struct held *h = NULL;
    (void)held_add(&t, 1, 5);
    assert_int_equal(held_by_id(&t, 6, &h), HELD_NEVER);
    assert_int_equal(held_by_id(&t, 5, &h), HELD_OPEN);
    held_drop(&t, h);
    assert_int_equal(held_by_id(&t, 5, &h), HELD_STALE);
    for (uint64_t i = 0; i < HELD_RECENT; i++) {
        (void)held_add(&t, i, 100 + i);
        assert_int_equal(held_by_id(&t, 100 + i, &h), HELD_OPEN);
        held_drop(&t, h);
    }
    assert_int_equal(held_by_id(&t, 5, &h), HELD_NEVER);
    assert_int_equal(t.n_places, 16); /* places are used again */
    held_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tag_is_open_then_stale_and_an_unknown_one_was_never_given),
        cmocka_unit_test(the_order_of_delivery_is_kept_while_answers_come_in_any),
        cmocka_unit_test(ids_are_stale_as_long_as_they_are_remembered),
    };
    return cmocka_run_group_tests_name("pool_held", tests, NULL, NULL);
}
