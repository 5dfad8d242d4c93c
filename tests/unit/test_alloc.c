#include "claims.h"

#include "core/alloc.h"

static void nothing_asked_for_is_a_pointer_to_free(void **state)
{
    (void)state;
    void *a = sl_alloc(0);
    void *b = sl_calloc(0, 16);
    void *c = sl_realloc(NULL, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    c = sl_realloc(c, 0);
    assert_non_null(c);
    sl_free(a);
    sl_free(b);
    sl_free(c);
    sl_free(NULL);
}

static void calloc_is_zeroed(void **state)
{
    (void)state;
    unsigned char *p = sl_calloc(7, 9);
    for (size_t i = 0; i < 63; i++)
        assert_int_equal(p[i], 0);
    sl_free(p);
}

static void realloc_keeps_the_content(void **state)
{
    (void)state;
    char *p = sl_strdup("kept");
    p = sl_realloc(p, 4096);
    assert_string_equal(p, "kept");
    sl_free(p);
}

static void ask_for_more_than_there_is(void)
{
    void *p = sl_calloc(SIZE_MAX / 2, 3);
    sl_free(p);
}

static void a_product_that_overflows_ends_the_process_with_one_line(void **state)
{
    (void)state;
    assert_dies(ask_for_more_than_there_is, "sluice: out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_for_is_a_pointer_to_free),
        cmocka_unit_test(calloc_is_zeroed),
        cmocka_unit_test(realloc_keeps_the_content),
        cmocka_unit_test(a_product_that_overflows_ends_the_process_with_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
