#include "claims.h"

#include "core/block.h"
#include "core/rng.h"

#define OWNERS 4000u
#define LARGEST 2000u /* past what is kept */

struct owned {
    uint8_t *p;
    size_t n;
    uint8_t mark;
};

static void assert_own(const struct owned *o)
{
    for (size_t i = 0; i < o->n; i++)
        assert_int_equal(o->p[i], o->mark);
}

/* More than a thread keeps comes and goes, in every size. */
static void no_two_owners_share_a_byte(void **state)
{
    (void)state;
    static struct owned owned[OWNERS];
    struct sl_rng rng;
    sl_rng_seed(&rng, 11);
    for (int step = 0; step < 40000; step++) {
        struct owned *o = &owned[sl_rng_below(&rng, OWNERS)];
        if (o->p == NULL) {
            o->n = 1 + (size_t)sl_rng_below(&rng, LARGEST);
            o->p = sl_block_alloc(o->n);
            o->mark = (uint8_t)step;
            memset(o->p, o->mark, o->n);
        } else {
            assert_own(o);
            sl_block_free(o->p, o->n);
            o->p = NULL;
        }
    }
    for (size_t i = 0; i < OWNERS; i++) {
        if (owned[i].p == NULL)
            continue;
        assert_own(&owned[i]);
        sl_block_free(owned[i].p, owned[i].n);
        owned[i].p = NULL;
    }
}

static void a_freed_block_serves_the_next_of_its_size(void **state)
{
    (void)state;
#ifdef SL_MEMORY_CHECKED
    skip();
#endif
    void *a = sl_block_alloc(300), *b = sl_block_alloc(300), *other = sl_block_alloc(100);
    sl_block_free(a, 300);
    sl_block_free(other, 100);
    sl_block_free(b, 300);
    assert_ptr_equal(sl_block_alloc(299), b);
    assert_ptr_equal(sl_block_alloc(300), a);
    sl_block_free(a, 300);
    sl_block_free(b, 299);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_two_owners_share_a_byte),
        cmocka_unit_test(a_freed_block_serves_the_next_of_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
