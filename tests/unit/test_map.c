#include "claims.h"

#include <stdio.h>

#include "core/map.h"
#include "core/rng.h"

#define KEYS 600u

struct thing {
    char name[16];
    uint64_t id;
    int present; /* what the reference says */
    int seen;    /* by the walk */
};

static struct thing things[KEYS];

/* Ids as they are given: small, with a boot number on top, and with 0. */
static void fill_things(void)
{
    memset(things, 0, sizeof things);
    for (size_t i = 0; i < KEYS; i++) {
        uint64_t boot = i % 3;
        things[i].id = boot << 40 | i / 3;
        (void)snprintf(things[i].name, sizeof things[i].name, "client-%zu", i);
    }
}

static struct sl_bytes name_of(const struct thing *t)
{
    return sl_bytes_of(t->name, strlen(t->name));
}

static void check_walk(size_t seen_count, size_t used)
{
    size_t present = 0;
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(things[i].seen, things[i].present);
        present += (size_t)things[i].present;
        things[i].seen = 0;
    }
    assert_int_equal(seen_count, present);
    assert_int_equal(used, present);
}

static void idmap_check(const struct sl_idmap *m)
{
    assert_true((m->cap & (m->cap - 1)) == 0 && m->used <= m->cap - m->cap / 4);
    size_t pos = 0, n = 0;
    struct thing *t;
    while ((t = sl_idmap_next(m, &pos)) != NULL) {
        t->seen++;
        n++;
    }
    check_walk(n, m->used);
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(sl_idmap_get(m, things[i].id), things[i].present ? &things[i] : NULL);
}

static void ids_give_what_a_reference_gives_after_random_changes(void **state)
{
    (void)state;
    fill_things();
    struct sl_rng rng;
    sl_rng_seed(&rng, 3);
    struct sl_idmap m = {0};
    for (int step = 0; step < 40000; step++) {
        /* Grows and shrinks in waves. */
        struct thing *t = &things[sl_rng_below(&rng, KEYS)];
        if (sl_rng_below(&rng, 8) < (step / 4000 % 2 == 0 ? 5u : 3u)) {
            sl_idmap_put(&m, t->id, t);
            t->present = 1;
        } else {
            assert_ptr_equal(sl_idmap_del(&m, t->id), t->present ? t : NULL);
            t->present = 0;
        }
        if (step % 200 == 0)
            idmap_check(&m);
    }
    idmap_check(&m);
    sl_idmap_fini(&m);
}

static void every_id_is_a_key_and_put_replaces(void **state)
{
    (void)state;
    static const uint64_t keys[] = {0, 1, UINT64_MAX, UINT64_C(1) << 63, UINT64_C(1) << 40};
    int a, b;
    struct sl_idmap m = {0};
    assert_null(sl_idmap_get(&m, 0));
    assert_null(sl_idmap_del(&m, 0));
    for (size_t i = 0; i < SL_COUNT(keys); i++) {
        sl_idmap_put(&m, keys[i], &a);
        sl_idmap_put(&m, keys[i], &b);
        assert_int_equal(m.used, i + 1);
        assert_ptr_equal(sl_idmap_get(&m, keys[i]), &b);
    }
    for (size_t i = 0; i < SL_COUNT(keys); i++) {
        assert_ptr_equal(sl_idmap_del(&m, keys[i]), &b);
        assert_null(sl_idmap_get(&m, keys[i]));
    }
    sl_idmap_fini(&m);
    size_t pos = 0;
    assert_null(sl_idmap_next(&m, &pos));
}

static void strmap_check(const struct sl_strmap *m)
{
    assert_true((m->cap & (m->cap - 1)) == 0 && m->used <= m->cap - m->cap / 4);
    size_t pos = 0, n = 0;
    struct thing *t;
    while ((t = sl_strmap_next(m, &pos)) != NULL) {
        t->seen++;
        n++;
    }
    check_walk(n, m->used);
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(sl_strmap_get(m, name_of(&things[i])),
                         things[i].present ? &things[i] : NULL);
}

static void strings_give_what_a_reference_gives_after_random_changes(void **state)
{
    (void)state;
    fill_things();
    struct sl_rng rng;
    sl_rng_seed(&rng, 4);
    struct sl_strmap m = {0};
    for (int step = 0; step < 40000; step++) {
        struct thing *t = &things[sl_rng_below(&rng, KEYS)];
        bool put = sl_rng_below(&rng, 8) < (step / 4000 % 2 == 0 ? 5u : 3u);
        if (put && !t->present) {
            sl_strmap_put(&m, name_of(t), t);
            t->present = 1;
        } else if (!put) {
            assert_ptr_equal(sl_strmap_del(&m, name_of(t)), t->present ? t : NULL);
            t->present = 0;
        }
        if (step % 200 == 0)
            strmap_check(&m);
    }
    strmap_check(&m);
    sl_strmap_fini(&m);
}

static void strings_with_nul_and_the_empty_one_are_keys(void **state)
{
    (void)state;
    int a, b, c;
    struct sl_strmap m = {0};
    assert_null(sl_strmap_get(&m, SL_BYTES_NONE));
    assert_null(sl_strmap_del(&m, sl_str("x")));
    sl_strmap_put(&m, SL_BYTES_NONE, &a);
    sl_strmap_put(&m, sl_bytes_of("x\0y", 3), &b);
    sl_strmap_put(&m, sl_bytes_of("x\0z", 3), &c);
    assert_ptr_equal(sl_strmap_get(&m, sl_str("")), &a);
    assert_ptr_equal(sl_strmap_get(&m, sl_bytes_of("x\0y", 3)), &b);
    assert_ptr_equal(sl_strmap_get(&m, sl_bytes_of("x\0z", 3)), &c);
    assert_null(sl_strmap_get(&m, sl_str("x")));
    sl_strmap_fini(&m);
}

static void put_a_name_twice(void)
{
    int a;
    struct sl_strmap m = {0};
    sl_strmap_put(&m, sl_str("twice"), &a);
    sl_strmap_put(&m, sl_str("twice"), &a);
}

static void a_string_that_is_present_must_not_be_put_again(void **state)
{
    (void)state;
    assert_dies(put_a_name_twice, "map.c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_give_what_a_reference_gives_after_random_changes),
        cmocka_unit_test(every_id_is_a_key_and_put_replaces),
        cmocka_unit_test(strings_give_what_a_reference_gives_after_random_changes),
        cmocka_unit_test(strings_with_nul_and_the_empty_one_are_keys),
        cmocka_unit_test(a_string_that_is_present_must_not_be_put_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
