#include "claims.h"

#include "core/alloc.h"
#include "core/hash.h"

static const uint64_t zero_key[2] = {0, 0};
static const uint64_t some_key[2] = {UINT64_C(0xaed66ce184be2329), UINT64_C(0xebe9bbf1f1499052)};

/* SipHash-1-3 of the bytes 0, 1, 2, …, as another implementation has it. */
static const struct {
    const uint64_t *key;
    size_t n;
    uint64_t hash;
} vectors[] = {
    {zero_key, 1,   UINT64_C(0x68a914128e01e473)},
    {zero_key, 2,   UINT64_C(0x010bac45c41e3669)},
    {zero_key, 7,   UINT64_C(0x2f098ab0c751325a)},
    {zero_key, 8,   UINT64_C(0xead411e67ebe2eea)},
    {zero_key, 9,   UINT64_C(0x75927f9d95124362)},
    {zero_key, 15,  UINT64_C(0xf30eb725bb91c9ea)},
    {zero_key, 16,  UINT64_C(0x8972188433a5c5b7)},
    {zero_key, 255, UINT64_C(0x5dc1f93ea135eb43)},
    {zero_key, 256, UINT64_C(0x31ae646afba70308)},
    {some_key, 1,   UINT64_C(0xecd3e5afcecda4b9)},
    {some_key, 7,   UINT64_C(0xfd15e78052a69ddf)},
    {some_key, 8,   UINT64_C(0xc0b5739e7e28dd01)},
    {some_key, 17,  UINT64_C(0x9f5bb4237f61907f)},
    {some_key, 63,  UINT64_C(0x542052345bc68274)},
    {some_key, 64,  UINT64_C(0x7e644b6edc375dc8)},
};

static void strings_hash_as_siphash_1_3_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < SL_COUNT(vectors); i++) {
        uint8_t *bytes = sl_alloc(vectors[i].n); /* exact, so that a read past the end is seen */
        for (size_t k = 0; k < vectors[i].n; k++)
            bytes[k] = (uint8_t)k;
        sl_hash_seed(vectors[i].key[0], vectors[i].key[1]);
        assert_true(sl_hash(sl_bytes_of(bytes, vectors[i].n)) == vectors[i].hash);
        sl_free(bytes);
    }
}

static void the_seed_changes_every_hash(void **state)
{
    (void)state;
    sl_hash_seed(1, 2);
    uint64_t empty = sl_hash(SL_BYTES_NONE);
    uint64_t text = sl_hash(sl_str("sensor/1"));
    assert_true(empty == sl_hash(sl_str("")));
    sl_hash_seed(1, 3);
    assert_true(sl_hash(SL_BYTES_NONE) != empty);
    assert_true(sl_hash(sl_str("sensor/1")) != text);
}

/* What a table sees of ids are the low bits of their hash, wherever in the id
 * the counting part stands (the boot number stands at bit 40). */
static void ids_spread_over_the_low_bits_wherever_they_count(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift <= 52; shift += 4) {
        uint8_t slots[4096] = {0};
        size_t distinct = 0;
        for (uint64_t i = 0; i < 2048; i++) {
            size_t slot = (size_t)sl_hash_u64(i << shift) & 4095;
            distinct += slots[slot] == 0;
            slots[slot] = 1;
        }
        assert_true(distinct > 1500); /* chance gives about 1610 */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_hash_as_siphash_1_3_says),
        cmocka_unit_test(the_seed_changes_every_hash),
        cmocka_unit_test(ids_spread_over_the_low_bits_wherever_they_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
