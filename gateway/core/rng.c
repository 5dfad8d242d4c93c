#include "core/rng.h"

#include "core/err.h"

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

/* SplitMix64 spreads the seed: xoshiro's state must not be all zero. */
static uint64_t spread(uint64_t *seed)
{
    *seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t v = *seed;
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

void sl_rng_seed(struct sl_rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = spread(&seed);
}

uint64_t sl_rng_u64(struct sl_rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

/* Rejects the first 2^64 mod n values: the rest is a whole number of rounds. */
uint64_t sl_rng_below(struct sl_rng *r, uint64_t n)
{
    SL_ASSERT(n > 0);
    uint64_t rejected = (UINT64_MAX - n + 1) % n;
    uint64_t v = sl_rng_u64(r);
    while (v < rejected)
        v = sl_rng_u64(r);
    return v % n;
}

double sl_rng_unit(struct sl_rng *r)
{
    return (double)(sl_rng_u64(r) >> 11) * 0x1.0p-53;
}
