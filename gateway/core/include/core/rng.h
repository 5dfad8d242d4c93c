/* Small seeded generator (xoshiro256**): the same seed gives the same run. */
#ifndef CORE_RNG_H
#define CORE_RNG_H

#include <stdint.h>

struct sl_rng {
    uint64_t s[4];
};

void sl_rng_seed(struct sl_rng *r, uint64_t seed);
uint64_t sl_rng_u64(struct sl_rng *r);
/* Uniform in [0, n); n > 0. */
uint64_t sl_rng_below(struct sl_rng *r, uint64_t n);
/* Uniform in [0, 1). */
double sl_rng_unit(struct sl_rng *r);

#endif
