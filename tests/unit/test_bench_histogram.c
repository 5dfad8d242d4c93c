/* The histogram: at most 1 % off, in fixed memory, and it adds up. */
#include "claims.h"

#include <stdlib.h>

#include "bench/histogram.h"
#include "core/alloc.h"
#include "core/rng.h"

static void an_empty_one_tells_zero(void **state)
{
    (void)state;
    struct histogram *h = SL_NEW(struct histogram);
    assert_int_equal(histogram_quantile(h, 0.99), 0);
    assert_true(histogram_mean(h) < 0.5);
    sl_free(h);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    struct histogram *h = SL_NEW(struct histogram);
    for (uint64_t v = 1; v <= 100; v++)
        histogram_record(h, v);
    assert_int_equal(histogram_quantile(h, 0.5), 50);
    assert_int_equal(histogram_quantile(h, 0.99), 99);
    assert_int_equal(histogram_quantile(h, 1.0), 100);
    assert_int_equal(histogram_quantile(h, 0.0), 1);
    sl_free(h);
}

static void a_share_between_two_values_takes_the_next_one(void **state)
{
    (void)state;
    struct histogram *h = SL_NEW(struct histogram);
    for (uint64_t v = 10; v <= 50; v += 10)
        histogram_record(h, v);
    assert_int_equal(histogram_quantile(h, 0.5), 30);
    assert_int_equal(histogram_quantile(h, 0.61), 40);
    sl_free(h);
}

static void one_value_is_told_within_one_percent_and_never_too_low(void **state)
{
    (void)state;
    struct histogram *h = SL_NEW(struct histogram);
    for (uint64_t v = 1; v < UINT64_C(1) << 46; v += v / 37 + 1) {
        memset(h, 0, sizeof *h);
        histogram_record(h, v);
        histogram_record(h, UINT64_C(1) << 47); /* so that the maximum does not help */
        uint64_t told = histogram_quantile(h, 0.5);
        assert_true(told >= v);
        assert_true((double)(told - v) <= 0.01 * (double)v);
    }
    sl_free(h);
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void quantiles_agree_with_sorting(void **state)
{
    (void)state;
    static uint64_t values[10000];
    static const double shares[] = { 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999 };
    struct histogram *h = SL_NEW(struct histogram);
    struct sl_rng rng;
    sl_rng_seed(&rng, 7);
    for (size_t i = 0; i < SL_COUNT(values); i++) {
        values[i] = sl_rng_u64(&rng) >> (20 + sl_rng_below(&rng, 40));
        histogram_record(h, values[i]);
    }
    qsort(values, SL_COUNT(values), sizeof values[0], by_value);
    for (size_t i = 0; i < SL_COUNT(shares); i++) {
        double exact = (double)values[(size_t)(shares[i] * 10000.0 + 0.5) - 1];
        double told = (double)histogram_quantile(h, shares[i]);
        assert_true(told >= exact && told <= exact * 1.01 + 1);
    }
    sl_free(h);
}

static void a_merge_is_as_if_recorded_in_one(void **state)
{
    (void)state;
    struct histogram *a = SL_NEW(struct histogram), *b = SL_NEW(struct histogram),
                     *all = SL_NEW(struct histogram);
    struct sl_rng rng;
    sl_rng_seed(&rng, 8);
    for (int i = 0; i < 5000; i++) {
        uint64_t v = sl_rng_below(&rng, 1u << 30);
        histogram_record(i % 3 == 0 ? a : b, v);
        histogram_record(all, v);
    }
    histogram_merge(a, b);
    assert_memory_equal(a, all, sizeof *a);
    sl_free(a);
    sl_free(b);
    sl_free(all);
}

static void a_value_past_the_end_counts_as_the_largest(void **state)
{
    (void)state;
    struct histogram *h = SL_NEW(struct histogram);
    histogram_record(h, UINT64_MAX);
    assert_true(histogram_quantile(h, 0.5) == UINT64_MAX);
    sl_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_tells_zero),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(a_share_between_two_values_takes_the_next_one),
        cmocka_unit_test(one_value_is_told_within_one_percent_and_never_too_low),
        cmocka_unit_test(quantiles_agree_with_sorting),
        cmocka_unit_test(a_merge_is_as_if_recorded_in_one),
        cmocka_unit_test(a_value_past_the_end_counts_as_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
