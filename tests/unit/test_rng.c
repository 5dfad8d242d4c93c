#include "claims.h"

#include <stdbool.h>

#include "core/rng.h"

static void the_generator_gives_the_published_sequence(void **state)
{
    (void)state;
    static const uint64_t expected[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240),
                                        UINT64_C(1216172134540287360)};
    struct sl_rng r = {
        {1, 2, 3, 4}
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_true(sl_rng_u64(&r) == expected[i]);
}

static void seeds_are_spread_by_splitmix64(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 0);
    assert_true(r.s[0] == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(r.s[1] == UINT64_C(0x6e789e6aa1b965f4));
}

static void the_same_seed_gives_the_same_run_and_another_one_does_not(void **state)
{
    (void)state;
    struct sl_rng a, b, c;
    sl_rng_seed(&a, 42);
    sl_rng_seed(&b, 42);
    sl_rng_seed(&c, 43);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t v = sl_rng_u64(&a);
        assert_true(v == sl_rng_u64(&b));
        differs = differs || v != sl_rng_u64(&c);
    }
    assert_true(differs);
}

static void below_stays_below_and_reaches_everything(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 1);
    unsigned count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = sl_rng_below(&r, 7);
        assert_true(v < 7);
        count[v]++;
    }
    for (size_t i = 0; i < 7; i++)
        assert_in_range(count[i], 9500, 10500);
    for (int i = 0; i < 100; i++) {
        assert_true(sl_rng_below(&r, 1) == 0);
        assert_true(sl_rng_below(&r, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    }
}

static void unit_is_in_zero_to_one(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 2);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double v = sl_rng_unit(&r);
        assert_true(v >= 0.0 && v < 1.0);
        sum += v;
    }
    assert_true(sum > 4800.0 && sum < 5200.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_gives_the_published_sequence),
        cmocka_unit_test(seeds_are_spread_by_splitmix64),
        cmocka_unit_test(the_same_seed_gives_the_same_run_and_another_one_does_not),
        cmocka_unit_test(below_stays_below_and_reaches_everything),
        cmocka_unit_test(unit_is_in_zero_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
