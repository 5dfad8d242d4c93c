#include "core/hash.h"

/* SipHash with one round per word and three to finish: its keyed output cannot
 * be steered by a peer that chooses the input. */

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t key0 = UINT64_C(0x736c756963652d30);
static uint64_t key1 = UINT64_C(0x736c756963652d31);

void sl_hash_seed(uint64_t k0, uint64_t k1)
{
    key0 = k0;
    key1 = k1;
}

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* The last 0 to 7 bytes, with the length's low byte on top. */
static uint64_t sip_tail(const uint8_t *p, size_t left, size_t n)
{
    uint64_t word = (uint64_t)n << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

static SL_ALWAYS_INLINE uint64_t sip_hash(uint64_t k0, uint64_t k1, struct sl_bytes in)
{
    /* The start constants are the algorithm's own. */
    struct sip s = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                    k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t words = in.n / 8;
    for (size_t i = 0; i < words; i++)
        sip_word(&s, sl_ld_u64le(in.p + 8 * i));
    size_t left = in.n % 8;
    sip_word(&s, sip_tail(left > 0 ? in.p + 8 * words : NULL, left, in.n));
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t sl_hash(struct sl_bytes in)
{
    return sip_hash(key0, key1, in);
}

uint64_t sl_hash_keyed(const struct sl_hash_key *key, struct sl_bytes in)
{
    return sip_hash(key->k0, key->k1, in);
}
