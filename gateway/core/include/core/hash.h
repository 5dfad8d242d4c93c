/* Keyed hash (SipHash-1-3) for tables whose keys a peer chooses. */
#ifndef CORE_HASH_H
#define CORE_HASH_H

#include "core/bytes.h"

/* Set once at start from real randomness; tests leave it at its default. */
void sl_hash_seed(uint64_t k0, uint64_t k1);
uint64_t sl_hash(struct sl_bytes in);

/* The same with keys of one's own: what is stored must hash alike after a restart. */
struct sl_hash_key {
    uint64_t k0, k1;
};
uint64_t sl_hash_keyed(const struct sl_hash_key *key, struct sl_bytes in);

/* Cheap mix for keys that we give out ourselves. One multiplication between two
 * folds: the first lets the high bits (the boot number of ids) take part, the
 * second brings them down to where tables look. */
static inline uint64_t sl_hash_u64(uint64_t v)
{
    v ^= v >> 32;
    v *= UINT64_C(0x9e3779b97f4a7c15);
    return v ^ v >> 29;
}

#endif
