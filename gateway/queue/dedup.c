/* Keys of messages, and the table of those that were seen.
 *
 * The table is a list by age through a slab, and linear hashing: with each key that
 * comes one bucket is split, with each that goes two become one again. So no message
 * pays for a table that grows. A key is its own hash: it is one under a secret. */
#include "queue/dedup.h"

#include "core/alloc.h"
#include "core/slab.h"

/* ---- a message's key ---- */

#define TEXT_MAX 64u /* longer parts take part by their hashes */
#define PART_MAX (5u + TEXT_MAX)

struct encoding {
    const struct queue_dedup *by;
    size_t n;
    uint8_t bytes[QUEUE_DEDUP_PARTS * 4 * PART_MAX];
};

static void hash_twice(const struct queue_dedup *by, struct sl_bytes in, uint8_t out[QUEUE_DEDUP_KEY])
{
    const struct sl_hash_key other = { ~by->hash.k0, by->hash.k1 ^ UINT64_C(0x6475706c69636174) };
    uint8_t *end = sl_wr_u64le(sl_wr_u64le(out, sl_hash_keyed(&by->hash, in)), sl_hash_keyed(&other, in));
    SL_ASSERT(end == out + QUEUE_DEDUP_KEY);
}

/* What it is and how long it is stand before it: no two lists of parts look alike. */
static void encode(struct encoding *e, unsigned kind, struct sl_bytes text)
{
    uint8_t *p = e->bytes + e->n;
    p = sl_wr_u8(p, (uint8_t)kind);
    p = sl_wr_u32le(p, (uint32_t)text.n);
    if (text.n <= TEXT_MAX) {
        p = sl_wr_bytes(p, text);
    } else {
        hash_twice(e->by, text, p);
        p += QUEUE_DEDUP_KEY;
    }
    e->n = (size_t)(p - e->bytes);
}

/* The meaning of dedup-id is the message's own field: a listener may have taken it away. */
static struct sl_bytes value_of_header(const struct message *m, const struct message_parts *parts, const char *name)
{
    return strcmp(name, "dedup-id") == 0 ? parts->dedup_id : message_header_value(message_record(m), name);
}

/* Only MQTT says when it sends something again. */
static bool encode_retransmit(struct encoding *e, const struct message_parts *parts, uint16_t packet_id)
{
    uint8_t id[2];
    if (packet_id == 0)
        return false;
    (void)sl_wr_u16le(id, packet_id);
    encode(e, QUEUE_DEDUP_RETRANSMIT, sl_bytes_of(id, sizeof id));
    encode(e, QUEUE_DEDUP_CLIENT, parts->client_id);
    encode(e, QUEUE_DEDUP_TOPIC, parts->topic);
    encode(e, QUEUE_DEDUP_PAYLOAD, parts->payload);
    return true;
}

static bool encode_part(struct encoding *e, const struct queue_dedup_part *part, const struct message *m, const struct message_parts *parts,
                        uint16_t packet_id)
{
    struct sl_bytes text = SL_BYTES_NONE;
    switch (part->kind) {
    case QUEUE_DEDUP_CLIENT:
        text = parts->client_id;
        break;
    case QUEUE_DEDUP_TOPIC:
        text = parts->topic;
        break;
    case QUEUE_DEDUP_PAYLOAD:
        text = parts->payload;
        break;
    case QUEUE_DEDUP_HEADER:
        text = value_of_header(m, parts, part->header);
        if (text.n == 0)
            return false;
        break;
    case QUEUE_DEDUP_RETRANSMIT:
        return encode_retransmit(e, parts, packet_id);
    }
    encode(e, part->kind, text);
    return true;
}

/* All that have no client id would be one. */
static bool says_nothing(const struct queue_dedup *by, const struct message_parts *parts)
{
    return by->n_parts == 1 && by->parts[0].kind == QUEUE_DEDUP_CLIENT && parts->client_id.n == 0;
}

bool queue_dedup_key(const struct queue_dedup *by, const struct message *m, uint16_t packet_id, uint8_t key[QUEUE_DEDUP_KEY])
{
    struct encoding e;
    struct message_parts parts;
    SL_ASSERT(by->n_parts <= QUEUE_DEDUP_PARTS);
    e.by = by;
    e.n = 0;
    message_view(message_record(m), &parts);
    for (uint32_t i = 0; i < by->n_parts; i++) {
        if (!encode_part(&e, &by->parts[i], m, &parts, packet_id))
            return false;
    }
    if (e.n == 0 || says_nothing(by, &parts))
        return false;
    hash_twice(by, sl_bytes_of(e.bytes, e.n), key);
    return true;
}

bool queue_dedup_needs_dup(const struct queue_dedup *by)
{
    for (uint32_t i = 0; i < by->n_parts; i++) {
        if (by->parts[i].kind == QUEUE_DEDUP_RETRANSMIT)
            return true;
    }
    return false;
}

/* ---- the table ---- */

#define BUCKETS_MIN 64u
#define SPARE_SHARE 8u /* of what was made at most this share must be in use, or it is made anew */

/* `older` must come first: the slab writes over the first four bytes of a free record. */
struct seen {
    uint32_t older, younger; /* by age; 0: none */
    uint32_t next;           /* in its bucket; 0: none */
    uint32_t entry;
    uint64_t id, seen_ms;
    uint8_t key[QUEUE_DEDUP_KEY];
};
_Static_assert(sizeof(struct seen) == 48, "a million keys take some 52 MB");

struct queue_seen {
    uint64_t window_ms, max;
    struct sl_slab slab;
    uint32_t oldest, youngest;
    uint32_t *buckets;        /* n_buckets are in use: more than half of round, at most round */
    uint32_t n_buckets, round; /* round: a power of two */
};

static struct seen *seen_at(const struct queue_seen *s, uint32_t i)
{
    return sl_slab_at(&s->slab, i);
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct queue_seen *queue_seen_new(uint64_t window_ms, uint64_t max)
{
    struct queue_seen *s = SL_NEW(struct queue_seen);
    s->window_ms = window_ms;
    s->max = max;
    sl_slab_init(&s->slab, sizeof(struct seen));
    return s;
}

void queue_seen_free(struct queue_seen *s)
{
    if (s == NULL)
        return;
    sl_slab_fini(&s->slab);
    sl_free(s->buckets);
    sl_free(s);
}

/* ---- buckets ---- */

/* Those beyond n_buckets are not split off yet. */
static uint32_t *bucket_of(const struct queue_seen *s, const uint8_t *key)
{
    uint32_t hash = (uint32_t)sl_ld_u64le(key);
    uint32_t i = hash & (s->round - 1);
    return &s->buckets[i < s->n_buckets ? i : hash & (s->round / 2 - 1)];
}

static void into_bucket(struct queue_seen *s, uint32_t i)
{
    uint32_t *bucket = bucket_of(s, seen_at(s, i)->key);
    seen_at(s, i)->next = *bucket;
    *bucket = i;
}

static void refill(struct queue_seen *s, uint32_t chain)
{
    while (chain != 0) {
        uint32_t next = seen_at(s, chain)->next;
        into_bucket(s, chain);
        chain = next;
    }
}

static uint32_t take_chain(struct queue_seen *s, uint32_t bucket)
{
    uint32_t chain = s->buckets[bucket];
    s->buckets[bucket] = 0;
    return chain;
}

static void make_buckets(struct queue_seen *s)
{
    s->buckets = sl_calloc(BUCKETS_MIN, sizeof *s->buckets);
    s->n_buckets = s->round = BUCKETS_MIN;
}

static void split_one(struct queue_seen *s)
{
    if (s->n_buckets == s->round) {
        s->round *= 2;
        s->buckets = sl_realloc(s->buckets, s->round * sizeof *s->buckets);
    }
    uint32_t chain = take_chain(s, s->n_buckets - s->round / 2);
    s->buckets[s->n_buckets++] = 0;
    refill(s, chain);
}

static void join_one(struct queue_seen *s)
{
    uint32_t chain = take_chain(s, --s->n_buckets);
    if (s->n_buckets == s->round / 2) {
        s->round /= 2;
        s->buckets = sl_realloc(s->buckets, s->round * sizeof *s->buckets);
    }
    refill(s, chain);
}

/* The link that names it; where it ends the key is not known. */
static uint32_t *link_to(const struct queue_seen *s, const uint8_t *key)
{
    uint32_t *at = bucket_of(s, key);
    while (*at != 0 && memcmp(seen_at(s, *at)->key, key, QUEUE_DEDUP_KEY) != 0)
        at = &seen_at(s, *at)->next;
    return at;
}

/* ---- by age ---- */

static void list_add(struct queue_seen *s, uint32_t i)
{
    struct seen *e = seen_at(s, i);
    e->older = s->youngest;
    e->younger = 0;
    if (s->youngest != 0)
        seen_at(s, s->youngest)->younger = i;
    else
        s->oldest = i;
    s->youngest = i;
}

static void list_drop(struct queue_seen *s, const struct seen *e)
{
    if (e->older != 0)
        seen_at(s, e->older)->younger = e->younger;
    else
        s->oldest = e->younger;
    if (e->younger != 0)
        seen_at(s, e->younger)->older = e->older;
    else
        s->youngest = e->older;
}

/* ---- memory ---- */

static void add(struct queue_seen *s, const struct seen *what)
{
    uint32_t i = sl_slab_take(&s->slab);
    *seen_at(s, i) = *what;
    list_add(s, i);
    into_bucket(s, i);
}

/* After a flood: a slab keeps all that it ever made. */
static void make_anew(struct queue_seen *s)
{
    struct queue_seen old = *s;
    sl_slab_init(&s->slab, sizeof(struct seen));
    s->oldest = s->youngest = 0;
    memset(s->buckets, 0, s->n_buckets * sizeof *s->buckets);
    for (uint32_t i = old.oldest; i != 0; i = seen_at(&old, i)->younger)
        add(s, seen_at(&old, i));
    sl_slab_fini(&old.slab);
}

static void take_out(struct queue_seen *s, uint32_t *link)
{
    uint32_t i = *link;
    struct seen *e = seen_at(s, i);
    *link = e->next;
    list_drop(s, e);
    sl_slab_give(&s->slab, i);
    if (s->n_buckets > BUCKETS_MIN && s->slab.used < s->n_buckets)
        join_one(s);
    if (s->slab.n_chunks > 1 && s->slab.used < (uint64_t)s->slab.n_chunks * SL_SLAB_CHUNK / SPARE_SHARE)
        make_anew(s);
}

/* ---- what is asked of it ---- */

static bool is_over(const struct queue_seen *s, const struct seen *e, uint64_t now_ms)
{
    return now_ms >= add_capped(e->seen_ms, s->window_ms);
}

bool queue_seen_find(const struct queue_seen *s, const uint8_t key[QUEUE_DEDUP_KEY], uint64_t now_ms, struct queue_first *out)
{
    if (s->slab.used == 0)
        return false;
    uint32_t i = *link_to(s, key);
    const struct seen *e = i == 0 ? NULL : seen_at(s, i);
    if (e == NULL || is_over(s, e, now_ms))
        return false;
    *out = (struct queue_first){ e->id, e->entry };
    return true;
}

/* A clock that went back makes nobody younger than who came before. */
static uint64_t no_earlier(const struct queue_seen *s, uint64_t seen_ms)
{
    uint64_t least = s->youngest == 0 ? 0 : seen_at(s, s->youngest)->seen_ms;
    return seen_ms > least ? seen_ms : least;
}

uint64_t queue_seen_put(struct queue_seen *s, const uint8_t key[QUEUE_DEDUP_KEY], const struct queue_first *first, uint64_t seen_ms)
{
    if (s->buckets == NULL)
        make_buckets(s);
    uint64_t before = 0;
    uint32_t *link = link_to(s, key);
    if (*link != 0) {
        before = seen_at(s, *link)->id;
        take_out(s, link);
    }
    struct seen e = { .entry = first->entry, .id = first->id, .seen_ms = no_earlier(s, seen_ms) };
    memcpy(e.key, key, sizeof e.key);
    if (s->slab.used >= s->n_buckets)
        split_one(s);
    add(s, &e);
    return before;
}

uint64_t queue_seen_expire(struct queue_seen *s, uint64_t now_ms)
{
    if (s->oldest == 0)
        return 0;
    const struct seen *e = seen_at(s, s->oldest);
    if (s->slab.used <= s->max && !is_over(s, e, now_ms))
        return 0;
    uint64_t id = e->id;
    take_out(s, link_to(s, e->key));
    return id;
}

void queue_seen_limit(struct queue_seen *s, uint64_t max)
{
    s->max = max;
}

uint64_t queue_seen_deadline(const struct queue_seen *s)
{
    if (s->oldest == 0)
        return UINT64_MAX;
    return s->slab.used > s->max ? 0 : add_capped(seen_at(s, s->oldest)->seen_ms, s->window_ms);
}

uint64_t queue_seen_count(const struct queue_seen *s)
{
    return s->slab.used;
}

uint64_t queue_seen_bytes(const struct queue_seen *s)
{
    return sizeof *s + sl_slab_bytes(&s->slab) + s->round * sizeof *s->buckets;
}

void queue_seen_check(const struct queue_seen *s)
{
    uint64_t n = 0, before_ms = 0;
    for (uint32_t i = s->oldest; i != 0; i = seen_at(s, i)->younger) {
        const struct seen *e = seen_at(s, i);
        SL_ASSERT(e->seen_ms >= before_ms && *link_to(s, e->key) == i);
        SL_ASSERT(e->younger == 0 ? s->youngest == i : seen_at(s, e->younger)->older == i);
        before_ms = e->seen_ms;
        n++;
    }
    SL_ASSERT(n == s->slab.used);
    SL_ASSERT(s->buckets == NULL || (s->n_buckets > s->round / 2 && s->n_buckets <= s->round));
    SL_ASSERT(s->buckets == NULL || s->slab.used <= s->n_buckets);
}
