/* Keys of messages and the table of those that were seen: its window, its bound,
 * its memory; beside a slow model of it. */
#include <stdio.h>

#include "claims.h"
#include "core/alloc.h"
#include "core/rng.h"
#include "queue/dedup.h"

/* ---- the key ---- */

struct sent {
    const char *client, *topic, *payload, *dedup_id, *colour;
    uint16_t packet_id;
};

static bool key_of(const struct queue_dedup *by, const struct sent *s, uint8_t key[QUEUE_DEDUP_KEY])
{
    struct message_header colour = { sl_str("colour"), sl_str(s->colour == NULL ? "" : s->colour) };
    struct message_parts parts = {
        .protocol = MESSAGE_MQTT5,
        .topic = sl_str(s->topic == NULL ? "t" : s->topic),
        .client_id = sl_str(s->client == NULL ? "" : s->client),
        .dedup_id = sl_str(s->dedup_id == NULL ? "" : s->dedup_id),
        .headers = &colour,
        .n_headers = s->colour != NULL,
        .payload = sl_str(s->payload == NULL ? "" : s->payload),
    };
    struct message *m = message_new(&parts);
    bool has = queue_dedup_key(by, m, s->packet_id, key);
    message_unref(m);
    return has;
}

static struct queue_dedup by(enum queue_dedup_part_kind a, enum queue_dedup_part_kind b, const char *header)
{
    return (struct queue_dedup){ .window_ms = 1000, .max = 10, .n_parts = 2, .parts = { { a, header }, { b, header } }, .hash = { 1, 2 } };
}

static bool alike(const struct queue_dedup *rule, struct sent a, struct sent b)
{
    uint8_t x[QUEUE_DEDUP_KEY], y[QUEUE_DEDUP_KEY];
    assert_true(key_of(rule, &a, x) && key_of(rule, &b, y));
    return memcmp(x, y, sizeof x) == 0;
}

static bool has_key(const struct queue_dedup *rule, struct sent a)
{
    uint8_t x[QUEUE_DEDUP_KEY];
    return key_of(rule, &a, x);
}

static void two_clients_may_both_say_1(void **state)
{
    (void)state;
    struct queue_dedup usual = by(QUEUE_DEDUP_CLIENT, QUEUE_DEDUP_HEADER, "dedup-id");
    assert_true(alike(&usual, (struct sent){ .client = "a", .dedup_id = "1" }, (struct sent){ .client = "a", .dedup_id = "1", .topic = "u", .payload = "p" }));
    assert_false(alike(&usual, (struct sent){ .client = "a", .dedup_id = "1" }, (struct sent){ .client = "b", .dedup_id = "1" }));
    assert_false(alike(&usual, (struct sent){ .client = "a", .dedup_id = "1" }, (struct sent){ .client = "a", .dedup_id = "2" }));
    assert_true(alike(&usual, (struct sent){ .dedup_id = "1" }, (struct sent){ .dedup_id = "1" })); /* workers */
}

static void where_one_part_ends_and_the_next_begins_matters(void **state)
{
    (void)state;
    struct queue_dedup rule = by(QUEUE_DEDUP_TOPIC, QUEUE_DEDUP_PAYLOAD, NULL);
    assert_false(alike(&rule, (struct sent){ .topic = "ab", .payload = "c" }, (struct sent){ .topic = "a", .payload = "bc" }));
    assert_false(alike(&rule, (struct sent){ .topic = "ab", .payload = "" }, (struct sent){ .topic = "a", .payload = "b" }));
    char longer[200], other[200];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    memcpy(other, longer, sizeof other);
    other[100] = 'y';
    assert_true(alike(&rule, (struct sent){ .payload = longer }, (struct sent){ .payload = longer }));
    assert_false(alike(&rule, (struct sent){ .payload = longer }, (struct sent){ .payload = other }));
    assert_false(alike(&rule, (struct sent){ .topic = longer, .payload = "a" }, (struct sent){ .topic = other, .payload = "a" }));
}

static void without_a_header_there_is_no_key(void **state)
{
    (void)state;
    struct queue_dedup usual = by(QUEUE_DEDUP_CLIENT, QUEUE_DEDUP_HEADER, "dedup-id"), colour = by(QUEUE_DEDUP_TOPIC, QUEUE_DEDUP_HEADER, "colour");
    assert_false(has_key(&usual, (struct sent){ .client = "a" }));
    assert_false(has_key(&colour, (struct sent){ .dedup_id = "1" }));
    assert_true(alike(&colour, (struct sent){ .colour = "red" }, (struct sent){ .colour = "red", .client = "b" }));
    assert_false(alike(&colour, (struct sent){ .colour = "red" }, (struct sent){ .colour = "blue" }));
    struct queue_dedup client = usual;
    client.n_parts = 1;
    assert_true(has_key(&client, (struct sent){ .client = "a" }));
    assert_false(has_key(&client, (struct sent){ .payload = "of nobody" }));
}

static void a_retransmission_has_the_client_the_packet_id_and_the_content(void **state)
{
    (void)state;
    struct queue_dedup rule = by(QUEUE_DEDUP_RETRANSMIT, QUEUE_DEDUP_RETRANSMIT, NULL), usual = by(QUEUE_DEDUP_CLIENT, QUEUE_DEDUP_TOPIC, NULL);
    rule.n_parts = 1;
    struct sent first = { .client = "a", .payload = "p", .packet_id = 7 }, other = first;
    assert_true(queue_dedup_needs_dup(&rule) && !queue_dedup_needs_dup(&usual));
    assert_true(alike(&rule, first, first));
    other.packet_id = 8;
    assert_false(alike(&rule, first, other));
    other = first;
    other.payload = "q";
    assert_false(alike(&rule, first, other));
    other = first;
    other.topic = "u";
    assert_false(alike(&rule, first, other));
    other = first;
    other.client = "b";
    assert_false(alike(&rule, first, other));
    other = first;
    other.packet_id = 0;
    assert_false(has_key(&rule, other)); /* STOMP, workers, QoS 0 */
}

/* ---- the table ---- */

static void key_no(uint64_t n, uint8_t key[QUEUE_DEDUP_KEY])
{
    (void)sl_wr_u64le(sl_wr_u64le(key, sl_hash_u64(n)), n);
}

static uint64_t put(struct queue_seen *s, uint64_t n, uint64_t id, uint64_t ms)
{
    uint8_t key[QUEUE_DEDUP_KEY];
    key_no(n, key);
    return queue_seen_put(s, key, &(struct queue_first){ id, (uint32_t)n }, ms);
}

/* 0: it is not known. */
static uint64_t find(const struct queue_seen *s, uint64_t n, uint64_t ms)
{
    uint8_t key[QUEUE_DEDUP_KEY];
    struct queue_first first = { 0, 0 };
    key_no(n, key);
    bool known = queue_seen_find(s, key, ms, &first);
    assert_true(known == (first.id != 0) && (!known || first.entry == (uint32_t)n));
    return first.id;
}

static void a_key_is_known_for_less_than_its_window(void **state)
{
    (void)state;
    struct queue_seen *s = queue_seen_new(1000, 10);
    assert_int_equal(queue_seen_deadline(s), UINT64_MAX);
    assert_int_equal(find(s, 1, 0), 0);
    assert_int_equal(put(s, 1, 71, 500), 0);
    assert_int_equal(find(s, 1, 500), 71);
    assert_int_equal(find(s, 1, 1499), 71);
    assert_int_equal(queue_seen_expire(s, 1499), 0);
    assert_int_equal(queue_seen_deadline(s), 1500);
    assert_int_equal(find(s, 1, 1500), 0); /* though nobody took it out yet */
    assert_int_equal(queue_seen_expire(s, 1500), 71);
    assert_int_equal(queue_seen_expire(s, 1500), 0);
    assert_int_equal(queue_seen_count(s), 0);
    queue_seen_free(s);
}

static void a_key_that_is_over_and_comes_again_is_the_newer_ones(void **state)
{
    (void)state;
    struct queue_seen *s = queue_seen_new(1000, 10);
    assert_int_equal(put(s, 1, 71, 0), 0);
    assert_int_equal(put(s, 2, 72, 10), 0);
    assert_int_equal(put(s, 1, 73, 1200), 71);
    assert_int_equal(find(s, 1, 1300), 73);
    assert_int_equal(queue_seen_expire(s, 1300), 72); /* the other is the youngest now */
    assert_int_equal(queue_seen_expire(s, 1300), 0);
    queue_seen_check(s);
    queue_seen_free(s);
}

static void the_oldest_leaves_when_there_are_too_many(void **state)
{
    (void)state;
    struct queue_seen *s = queue_seen_new(UINT64_MAX, 3);
    for (uint64_t n = 1; n <= 5; n++)
        assert_int_equal(put(s, n, 70 + n, n), 0);
    assert_int_equal(queue_seen_deadline(s), 0);
    assert_int_equal(queue_seen_expire(s, 5), 71);
    assert_int_equal(queue_seen_expire(s, 5), 72);
    assert_int_equal(queue_seen_expire(s, 5), 0);
    assert_int_equal(queue_seen_deadline(s), UINT64_MAX); /* of a window without end */
    queue_seen_limit(s, 2);
    assert_int_equal(queue_seen_expire(s, 5), 73);
    assert_int_equal(find(s, 3, 5), 0);
    assert_int_equal(find(s, 4, 5), 74);
    queue_seen_free(s);
}

static void a_clock_that_goes_back_makes_nobody_younger(void **state)
{
    (void)state;
    struct queue_seen *s = queue_seen_new(1000, 10);
    assert_int_equal(put(s, 1, 71, 50000), 0);
    assert_int_equal(put(s, 2, 72, 49000), 0);
    assert_int_equal(find(s, 1, 40000), 71);
    assert_int_equal(find(s, 2, 50999), 72); /* as old as who came before */
    queue_seen_check(s);
    assert_int_equal(queue_seen_expire(s, 51000), 71);
    assert_int_equal(queue_seen_expire(s, 51000), 72);
    queue_seen_free(s);
}

static void a_flood_of_keys_gives_its_memory_back(void **state)
{
    (void)state;
    struct queue_seen *s = queue_seen_new(1000, UINT64_MAX);
    enum { MANY = 200000 };
    for (uint64_t n = 1; n <= MANY; n++)
        assert_int_equal(put(s, n, n, 0), 0);
    assert_in_range(queue_seen_bytes(s), 48u * MANY, 56u * MANY + 65536u);
    for (uint64_t n = 1; n <= 100; n++)
        assert_int_equal(put(s, MANY + n, MANY + n, 500), 0);
    for (uint64_t n = 1; n <= MANY; n++)
        assert_int_equal(queue_seen_expire(s, 1000), n);
    assert_int_equal(queue_seen_count(s), 100);
    assert_in_range(queue_seen_bytes(s), 100u * 48u, 128u * 1024u);
    for (uint64_t n = 1; n <= 100; n++)
        assert_int_equal(find(s, MANY + n, 1000), MANY + n);
    queue_seen_check(s);
    queue_seen_free(s);
}

/* ---- beside a slow model ---- */

#define KEYS  400u
#define STEPS 300000u

struct known {
    uint64_t key, id, ms;
};

struct model {
    struct known v[KEYS + 1];
    uint32_t n;
    uint64_t window_ms, max;
};

static uint32_t place_of(const struct model *m, uint64_t key)
{
    uint32_t i = 0;
    while (i < m->n && m->v[i].key != key)
        i++;
    return i;
}

static uint64_t model_drop(struct model *m, uint32_t i)
{
    uint64_t id = m->v[i].id;
    memmove(&m->v[i], &m->v[i + 1], (m->n - i - 1) * sizeof m->v[0]);
    m->n--;
    return id;
}

static uint64_t model_put(struct model *m, uint64_t key, uint64_t id, uint64_t ms)
{
    uint32_t i = place_of(m, key);
    uint64_t youngest = m->n == 0 ? 0 : m->v[m->n - 1].ms;
    uint64_t before = i < m->n ? model_drop(m, i) : 0;
    youngest = m->n == 0 ? 0 : before != 0 ? m->v[m->n - 1].ms : youngest;
    m->v[m->n++] = (struct known){ key, id, ms > youngest ? ms : youngest };
    return before;
}

static uint64_t model_find(const struct model *m, uint64_t key, uint64_t ms)
{
    uint32_t i = place_of(m, key);
    return i < m->n && ms < m->v[i].ms + m->window_ms ? m->v[i].id : 0;
}

static uint64_t model_expire(struct model *m, uint64_t ms)
{
    bool over = m->n > 0 && (m->n > m->max || ms >= m->v[0].ms + m->window_ms);
    return over ? model_drop(m, 0) : 0;
}

static void walk(uint64_t seed)
{
    struct sl_rng rng;
    sl_rng_seed(&rng, seed);
    static struct model m;
    m = (struct model){ .window_ms = 1 + sl_rng_u64(&rng) % 3000, .max = 1 + sl_rng_u64(&rng) % KEYS };
    struct queue_seen *s = queue_seen_new(m.window_ms, m.max);
    uint64_t ms = 5000, id = 0;
    for (uint32_t i = 0; i < STEPS / 10; i++) {
        uint64_t dice = sl_rng_u64(&rng) % 100, key = 1 + sl_rng_u64(&rng) % KEYS;
        ms = dice < 3 ? ms - sl_rng_u64(&rng) % 50 : ms + sl_rng_u64(&rng) % 5;
        if (dice < 50) {
            id++;
            assert_int_equal(put(s, key, id, ms), model_put(&m, key, id, ms));
        } else if (dice < 75) {
            assert_int_equal(queue_seen_expire(s, ms), model_expire(&m, ms));
        }
        assert_int_equal(find(s, key, ms), model_find(&m, key, ms));
        assert_int_equal(queue_seen_count(s), m.n);
        if (i % 1000 == 0)
            queue_seen_check(s);
    }
    queue_seen_free(s);
}

static void the_table_is_as_a_plain_list_of_keys_would_be(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        walk(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_clients_may_both_say_1),
        cmocka_unit_test(where_one_part_ends_and_the_next_begins_matters),
        cmocka_unit_test(without_a_header_there_is_no_key),
        cmocka_unit_test(a_retransmission_has_the_client_the_packet_id_and_the_content),
        cmocka_unit_test(a_key_is_known_for_less_than_its_window),
        cmocka_unit_test(a_key_that_is_over_and_comes_again_is_the_newer_ones),
        cmocka_unit_test(the_oldest_leaves_when_there_are_too_many),
        cmocka_unit_test(a_clock_that_goes_back_makes_nobody_younger),
        cmocka_unit_test(a_flood_of_keys_gives_its_memory_back),
        cmocka_unit_test(the_table_is_as_a_plain_list_of_keys_would_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
