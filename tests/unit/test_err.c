#include "claims.h"

#include "core/err.h"

static void every_code_has_its_name_and_text(void **state)
{
    (void)state;
#define X(name, value, text)                                                                       \
    assert_string_equal(sl_err_name(name), #name);                                                 \
    assert_string_equal(sl_err_text(name), text);
    SL_ERRORS(X)
#undef X
    assert_string_equal(sl_err_name(SL_OK), "SL_OK");
    assert_string_equal(sl_err_text(SL_OK), "done");
}

static void every_code_is_negative_and_alone(void **state)
{
    (void)state;
    const int codes[] = {
#define X(name, value, text) name,
        SL_ERRORS(X)
#undef X
    };
    for (size_t i = 0; i < SL_COUNT(codes); i++) {
        assert_true(codes[i] < 0);
        for (size_t j = i + 1; j < SL_COUNT(codes); j++)
            assert_int_not_equal(codes[i], codes[j]);
    }
}

static void an_unknown_code_is_named_too(void **state)
{
    (void)state;
    assert_string_equal(sl_err_name(-9999), "SL_UNKNOWN");
    assert_string_equal(sl_err_name(1), "SL_UNKNOWN");
    assert_non_null(sl_err_text(-9999));
}

static void break_an_invariant(void)
{
    int legs = 3;
    SL_ASSERT(legs == 4);
}

static void a_broken_invariant_ends_the_process_and_says_which(void **state)
{
    (void)state;
    assert_dies(break_an_invariant, "legs == 4");
    assert_dies(break_an_invariant, "test_err.c");
}

static void an_invariant_that_holds_costs_no_else(void **state)
{
    (void)state;
    int taken = 0;
    if (taken == 0)
        SL_ASSERT(taken == 0);
    else
        taken = 1;
    assert_int_equal(taken, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name_and_text),
        cmocka_unit_test(every_code_is_negative_and_alone),
        cmocka_unit_test(an_unknown_code_is_named_too),
        cmocka_unit_test(a_broken_invariant_ends_the_process_and_says_which),
        cmocka_unit_test(an_invariant_that_holds_costs_no_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
