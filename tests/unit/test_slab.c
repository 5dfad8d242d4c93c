#include "claims.h"

#include "core/alloc.h"
#include "core/rng.h"
#include "core/slab.h"

#define RECORDS 5000u

struct record {
    uint32_t tag, filler[5];
};

static void index_0_is_never_given(void **state)
{
    (void)state;
    struct sl_slab s;
    sl_slab_init(&s, sizeof(struct record));
    for (uint32_t i = 0; i < 3 * SL_SLAB_CHUNK; i++) {
        uint32_t index = sl_slab_take(&s);
        assert_int_not_equal(index, 0);
        memset(sl_slab_at(&s, index), 0xee, sizeof(struct record));
        if (i % 2 == 0)
            sl_slab_give(&s, index);
    }
    sl_slab_fini(&s);
}

static void what_is_given_back_is_taken_again_before_memory_grows(void **state)
{
    (void)state;
    struct sl_slab s;
    sl_slab_init(&s, sizeof(struct record));
    uint32_t index[SL_SLAB_CHUNK - 1];
    for (size_t i = 0; i < SL_COUNT(index); i++)
        index[i] = sl_slab_take(&s);
    size_t full = sl_slab_bytes(&s);
    assert_true(full >= SL_SLAB_CHUNK * sizeof(struct record));
    for (int round = 0; round < 10; round++) {
        for (size_t i = 0; i < SL_COUNT(index); i++)
            sl_slab_give(&s, index[i]);
        assert_int_equal(s.used, 0);
        for (size_t i = 0; i < SL_COUNT(index); i++)
            index[i] = sl_slab_take(&s);
        assert_int_equal(s.used, SL_COUNT(index));
        assert_true(sl_slab_bytes(&s) == full);
    }
    uint32_t over = sl_slab_take(&s);
    assert_true(sl_slab_bytes(&s) > full);
    sl_slab_give(&s, over);
    sl_slab_fini(&s);
}

static void no_two_owners_share_a_record_and_addresses_are_stable(void **state)
{
    (void)state;
    static uint32_t index[RECORDS];
    static struct record *address[RECORDS];
    memset(index, 0, sizeof index);
    struct sl_rng rng;
    sl_rng_seed(&rng, 5);
    struct sl_slab s;
    sl_slab_init(&s, sizeof(struct record));
    uint32_t live = 0;
    for (int step = 0; step < 60000; step++) {
        uint32_t owner = (uint32_t)sl_rng_below(&rng, RECORDS);
        if (index[owner] == 0) {
            index[owner] = sl_slab_take(&s);
            address[owner] = sl_slab_at(&s, index[owner]);
            address[owner]->tag = owner + 1;
            live++;
        } else {
            assert_ptr_equal(sl_slab_at(&s, index[owner]), address[owner]);
            assert_int_equal(address[owner]->tag, owner + 1);
            sl_slab_give(&s, index[owner]);
            index[owner] = 0;
            live--;
        }
        assert_int_equal(s.used, live);
    }
    assert_true(s.n_chunks <= RECORDS / SL_SLAB_CHUNK + 1);
    sl_slab_fini(&s);
}

static void memory_goes_back_when_the_last_of_many_does(void **state)
{
    (void)state;
    struct sl_slab s;
    sl_slab_init_chunks(&s, sizeof(struct record), 4);
    const uint32_t many = (SL_SLAB_KEEPS + 2) * 16;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 1; i < many; i++)
            assert_int_equal(sl_slab_take_shift(&s, 4), i);
        assert_true(sl_slab_bytes(&s) >= many * sizeof(struct record));
        memset(sl_slab_at_shift(&s, many - 1, 4), 0xee, sizeof(struct record));
        for (uint32_t i = many - 1; i > 0; i--)
            sl_slab_give_shift(&s, i, 4);
        assert_int_equal(s.n_chunks, 1);
        assert_true(s.made <= 16);
    }
    sl_slab_fini(&s);
}

static void what_was_never_taken_is_zero(void **state)
{
    (void)state;
    struct sl_slab s;
    sl_slab_init(&s, sizeof(struct record));
    for (uint32_t i = 1; i < 3 * SL_SLAB_CHUNK; i++) {
        const struct record *r = sl_slab_at(&s, sl_slab_take(&s));
        for (size_t k = 0; k < SL_COUNT(r->filler); k++)
            assert_int_equal(r->filler[k], 0);
    }
    sl_slab_fini(&s);
}

static void the_smallest_record_is_4_bytes(void **state)
{
    (void)state;
    struct sl_slab s;
    sl_slab_init(&s, 4);
    assert_int_equal(sl_slab_bytes(&s), 0);
    for (uint32_t i = 0; i < 2 * SL_SLAB_CHUNK; i++) {
        uint32_t index = sl_slab_take(&s);
        memcpy(sl_slab_at(&s, index), &index, sizeof index);
    }
    uint32_t v;
    memcpy(&v, sl_slab_at(&s, SL_SLAB_CHUNK), sizeof v);
    assert_int_equal(v, SL_SLAB_CHUNK);
    sl_slab_fini(&s);
    assert_int_equal(sl_slab_bytes(&s), 0);
}

static void give_nothing(void)
{
    struct sl_slab s;
    sl_slab_init(&s, 8);
    uint32_t other = sl_slab_take(&s);
    (void)other;
    sl_slab_give(&s, 0);
}

static void index_0_must_not_be_given_back(void **state)
{
    (void)state;
    assert_dies(give_nothing, "slab.h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_0_is_never_given),
        cmocka_unit_test(what_is_given_back_is_taken_again_before_memory_grows),
        cmocka_unit_test(no_two_owners_share_a_record_and_addresses_are_stable),
        cmocka_unit_test(memory_goes_back_when_the_last_of_many_does),
        cmocka_unit_test(what_was_never_taken_is_zero),
        cmocka_unit_test(the_smallest_record_is_4_bytes),
        cmocka_unit_test(index_0_must_not_be_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
