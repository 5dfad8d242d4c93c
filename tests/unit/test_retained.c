/* Retained messages: one for each topic, found by filters. */
#include "claims.h"

#include <stdlib.h>

#include "core/alloc.h"
#include "core/rng.h"
#include "route/retained.h"
#include "topic_model.h"

#define PLENTY (UINT64_C(1) << 40)

/* ---- kit ---- */

static struct message *message_with(uint64_t id, const char *topic, const char *payload, uint64_t expires_at, uint8_t flags)
{
    struct message_parts parts = {
        .id = id,
        .protocol = MESSAGE_MQTT5,
        .flags = (uint8_t)(MESSAGE_RETAIN | flags),
        .expires_at = expires_at,
        .topic = sl_str(topic),
        .payload = sl_str(payload),
    };
    return message_new(&parts);
}

/* The table has the only reference. */
static void put(struct retained *t, struct message *m)
{
    struct message *old = retained_put(t, m);
    if (old != NULL)
        message_unref(old);
    message_unref(m);
}

static void keep(struct retained *t, uint64_t id, const char *topic)
{
    put(t, message_with(id, topic, "x", 0, 0));
}

static bool drop(struct retained *t, const char *topic)
{
    struct message *m = retained_remove(t, sl_str(topic));
    if (m != NULL)
        message_unref(m);
    return m != NULL;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The ids that a filter finds, sorted; at most `max`. */
static size_t match(const struct retained *t, const char *filter, uint64_t *ids, size_t max)
{
    struct sl_buf found = {.max = 0};
    retained_match(t, sl_str(filter), &found);
    struct sl_bytes v = sl_buf_view(&found);
    size_t n = v.n / sizeof *ids;
    assert_true(n <= max);
    if (n > 0) {
        memcpy(ids, v.p, v.n);
        qsort(ids, n, sizeof *ids, by_id);
    }
    sl_buf_fini(&found);
    return n;
}

static size_t count(const struct retained *t, const char *filter)
{
    uint64_t ids[64];
    return match(t, filter, ids, SL_COUNT(ids));
}

/* ---- one topic ---- */

static void a_later_message_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    struct retained *t = retained_new(10, PLENTY);
    struct message *first = message_with(1, "a/b", "long ago", 0, 0), *second = message_with(2, "a/b", "now", 0, 0);
    assert_null(retained_put(t, first));
    uint64_t levels = retained_bytes(t) - message_bytes(first);
    assert_ptr_equal(retained_put(t, second), first);
    message_unref(first); /* what the table gave back */
    assert_int_equal(first->refs, 1);
    message_unref(first);
    assert_ptr_equal(retained_find(t, sl_str("a/b")), second);
    assert_int_equal(retained_count(t), 1);
    assert_int_equal(retained_bytes(t), message_bytes(second) + levels);
    assert_null(retained_by_id(t, 1));
    assert_ptr_equal(retained_by_id(t, 2), second);
    retained_free(t);
    assert_int_equal(second->refs, 1);
    message_unref(second);
}

static void a_removed_one_is_gone_from_everywhere(void **state)
{
    (void)state;
    struct retained *t = retained_new(10, PLENTY);
    put(t, message_with(1, "a/b", "x", 500, 0));
    keep(t, 2, "a");
    assert_false(drop(t, "a/c"));
    assert_false(drop(t, "a/b/c"));
    assert_true(drop(t, "a/b"));
    assert_false(drop(t, "a/b"));
    assert_null(retained_find(t, sl_str("a/b")));
    assert_null(retained_by_id(t, 1));
    assert_null(retained_expired(t, &(struct sl_now){.wall_ms = 1000, .steady_ms = 1000}));
    assert_int_equal(count(t, "#"), 1);
    assert_true(drop(t, "a"));
    assert_int_equal(retained_count(t), 0);
    assert_int_equal(retained_bytes(t), 0);
    assert_int_equal(count(t, "#"), 0);
    retained_free(t);
}

static void topics_are_one_byte_by_byte(void **state)
{
    (void)state;
    static const char *const topics[] = {"a", "A", "/a", "a/", "a//", "/", "//", "a b", "$a"};
    struct retained *t = retained_new(100, PLENTY);
    for (uint64_t i = 0; i < SL_COUNT(topics); i++)
        keep(t, i + 1, topics[i]);
    assert_int_equal(retained_count(t), SL_COUNT(topics));
    for (uint64_t i = 0; i < SL_COUNT(topics); i++) {
        uint64_t id;
        assert_int_equal(message_id(retained_find(t, sl_str(topics[i]))), i + 1);
        assert_int_equal(match(t, topics[i], &id, 1), 1);
        assert_int_equal(id, i + 1);
    }
    retained_free(t);
}

/* Of a table that holds nothing else. */
static uint64_t alone_bytes(struct message *m)
{
    struct retained *t = retained_new(1, PLENTY);
    assert_null(retained_put(t, m));
    uint64_t bytes = retained_bytes(t);
    message_unref(retained_remove(t, message_topic(m)));
    retained_free(t);
    return bytes;
}

static void both_limits_count_what_would_be_there(void **state)
{
    (void)state;
    struct message *small = message_with(1, "a", "x", 0, 0), *big = message_with(2, "a", "a longer payload", 0, 0);
    struct message *other = message_with(3, "b", "x", 0, 0);
    struct retained *t = retained_new(1, PLENTY);
    assert_true(retained_fits(t, small));
    put(t, message_ref(small));
    assert_true(retained_fits(t, big)); /* in place of the small one */
    assert_false(retained_fits(t, other));
    retained_free(t);
    t = retained_new(10, alone_bytes(small) + alone_bytes(other) + 2); /* levels of a new topic count with their text */
    put(t, message_ref(small));
    assert_true(retained_fits(t, other));
    put(t, message_ref(other));
    assert_false(retained_fits(t, big));
    assert_true(retained_fits(t, small));
    retained_free(t);
    t = retained_new(0, PLENTY);
    assert_false(retained_fits(t, small));
    retained_free(t);
    message_unref(small);
    message_unref(big);
    message_unref(other);
}

static void a_topic_of_many_levels_counts_with_what_they_take(void **state)
{
    (void)state;
    struct message *flat = message_with(1, "aaaaaaaaaaaaaaaa", "x", 0, 0), *deep = message_with(2, "a///////////////", "x", 0, 0);
    assert_int_equal(message_bytes(flat), message_bytes(deep));
    assert_true(alone_bytes(deep) > alone_bytes(flat) + 400);
    struct retained *t = retained_new(10, alone_bytes(flat) + 100);
    assert_true(retained_fits(t, flat));
    assert_false(retained_fits(t, deep));
    retained_free(t);
    message_unref(flat);
    message_unref(deep);
}

/* ---- filters ---- */

static void wildcards_find_what_the_standard_says(void **state)
{
    (void)state;
    static const char *const topics[] = {"sport", "sport/", "sport/tennis", "sport/tennis/player1", "sport/tennis/player1/ranking", "/finance", "$SYS", "$SYS/a", "$SYS/a/b", "a/$b"};
    static const struct {
        const char *filter;
        uint32_t found; /* a bit for each */
    } k[] = {
        {"#", 0x23f},        {"+", 0x001},         {"+/#", 0x23f},      {"+/+", 0x226},       {"/+", 0x020},
        {"sport/#", 0x01f},  {"sport/+", 0x006},   {"sport/+/#", 0x01e}, {"sport/tennis/player1/#", 0x018}, {"+/tennis/#", 0x01c},
        {"$SYS/#", 0x1c0},   {"$SYS/+", 0x080},    {"$SYS/+/+", 0x100}, {"+/a", 0x000},       {"a/+", 0x200},
        {"sport", 0x001},    {"sport/golf", 0},    {"Sport/#", 0},      {"sport/tennis/player1/ranking/#", 0x010}, {"sports/#", 0},
        {"+/+/+", 0x008},    {"+/tennis/+", 0x008}, {"a/$b", 0x200},    {"/#", 0x020},        {"$SYS", 0x040},
    };
    struct retained *t = retained_new(100, PLENTY);
    for (uint64_t i = 0; i < SL_COUNT(topics); i++)
        keep(t, i, topics[i]);
    for (size_t i = 0; i < SL_COUNT(k); i++) {
        uint64_t ids[16];
        uint32_t found = 0;
        size_t n = match(t, k[i].filter, ids, SL_COUNT(ids));
        for (size_t j = 0; j < n; j++)
            found |= 1u << ids[j];
        if (found != k[i].found)
            fail_msg("%s: %03x", k[i].filter, (unsigned)found);
    }
    retained_free(t);
}

static void a_topic_of_65536_levels_is_found_and_given_back(void **state)
{
    (void)state;
    uint8_t *slashes = sl_alloc(65535);
    memset(slashes, '/', 65535);
    struct message_parts parts = {.id = 1, .protocol = MESSAGE_MQTT5, .topic = sl_bytes_of(slashes, 65535)};
    struct retained *t = retained_new(10, PLENTY);
    struct message *m = message_new(&parts);
    put(t, m);
    assert_ptr_equal(retained_find(t, sl_bytes_of(slashes, 65535)), m);
    assert_null(retained_find(t, sl_bytes_of(slashes, 65534)));
    assert_int_equal(count(t, "#"), 1);
    assert_int_equal(count(t, "+/+/#"), 1);
    struct message *old = retained_remove(t, sl_bytes_of(slashes, 65535));
    assert_ptr_equal(old, m);
    message_unref(old);
    sl_free(slashes);
    retained_free(t);
}

/* ---- time ---- */

static uint64_t expired(struct retained *t, uint64_t steady_ms, uint64_t wall_ms)
{
    struct message *m = retained_expired(t, &(struct sl_now){.steady_ms = steady_ms, .wall_ms = wall_ms});
    return m == NULL ? 0 : message_id(m);
}

static void durations_expire_by_steady_time_and_dates_by_the_wall_clock(void **state)
{
    (void)state;
    struct retained *t = retained_new(10, PLENTY);
    put(t, message_with(1, "a", "x", 1000, MESSAGE_EXPIRES_RELATIVE));
    put(t, message_with(2, "b", "x", 2000, 0));
    put(t, message_with(3, "c", "x", 500, MESSAGE_EXPIRES_RELATIVE));
    keep(t, 4, "d"); /* never */
    assert_int_equal(expired(t, 499, 1999), 0);
    assert_int_equal(retained_next_expiry(t, &(struct sl_now){.steady_ms = 400, .wall_ms = 1950}), 50);
    assert_int_equal(retained_next_expiry(t, &(struct sl_now){.steady_ms = 400, .wall_ms = 1800}), 100);
    assert_int_equal(retained_next_expiry(t, &(struct sl_now){.steady_ms = 501, .wall_ms = 0}), 0);
    assert_int_equal(expired(t, 500, 0), 3);
    assert_int_equal(expired(t, 0, 2000), 2);
    assert_true(drop(t, "c"));
    assert_int_equal(expired(t, 999, 1999), 0);
    assert_int_equal(expired(t, 1000, 1999), 1);
    assert_true(drop(t, "a"));
    assert_true(drop(t, "b"));
    assert_int_equal(expired(t, UINT64_MAX, UINT64_MAX), 0);
    assert_true(retained_next_expiry(t, &(struct sl_now){.steady_ms = 1}) == UINT64_MAX);
    assert_int_equal(retained_count(t), 1);
    retained_free(t);
}

static void who_replaces_brings_his_own_expiry(void **state)
{
    (void)state;
    struct retained *t = retained_new(10, PLENTY);
    put(t, message_with(1, "a", "x", 1000, MESSAGE_EXPIRES_RELATIVE));
    put(t, message_with(2, "a", "x", 0, 0));
    assert_int_equal(expired(t, UINT64_MAX, UINT64_MAX), 0);
    put(t, message_with(3, "a", "x", 700, 0));
    assert_int_equal(expired(t, UINT64_MAX, 699), 0);
    assert_int_equal(expired(t, 0, 700), 3);
    retained_free(t);
}

/* ---- against the simplest code ---- */

#define MODEL_TOPICS 300u

struct model {
    char topic[MODEL_TOPICS][MODEL_TEXT];
    uint64_t id[MODEL_TOPICS], expires[MODEL_TOPICS]; /* id 0: free */
};

static size_t model_place(const struct model *m, const char *topic)
{
    size_t place = MODEL_TOPICS;
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        if (m->id[i] != 0 && strcmp(m->topic[i], topic) == 0)
            return i;
        if (m->id[i] == 0)
            place = i;
    }
    return place;
}

static void change(struct retained *t, struct model *m, struct sl_rng *r, uint64_t id)
{
    char topic[MODEL_TEXT];
    model_text(r, false, topic);
    size_t place = model_place(m, topic);
    if (place == MODEL_TOPICS)
        return;
    if (sl_rng_below(r, 3) == 0) {
        assert_int_equal(drop(t, topic), m->id[place] != 0);
        m->id[place] = 0;
        return;
    }
    uint64_t expires = sl_rng_below(r, 3) == 0 ? 1 + sl_rng_below(r, 1000) : 0;
    put(t, message_with(id, topic, "x", expires, sl_rng_below(r, 2) != 0 ? MESSAGE_EXPIRES_RELATIVE : 0));
    (void)memcpy(m->topic[place], topic, sizeof topic);
    m->id[place] = id;
    m->expires[place] = expires;
}

static void compare(const struct retained *t, const struct model *m, struct sl_rng *r)
{
    char filter[MODEL_TEXT];
    model_text(r, true, filter);
    uint64_t ids[MODEL_TOPICS], wanted[MODEL_TOPICS];
    size_t n = 0, all = 0;
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        all += m->id[i] != 0;
        if (m->id[i] != 0 && model_takes(filter, m->topic[i]))
            wanted[n++] = m->id[i];
    }
    qsort(wanted, n, sizeof *wanted, by_id);
    if (match(t, filter, ids, SL_COUNT(ids)) != n || memcmp(ids, wanted, n * sizeof *ids) != 0)
        fail_msg("%s", filter);
    assert_int_equal(retained_count(t), all);
}

/* At a time when all that can expire has. */
static void expire_all(struct retained *t, struct model *m)
{
    struct message *e;
    while ((e = retained_expired(t, &(struct sl_now){.steady_ms = 2000, .wall_ms = 2000})) != NULL) {
        struct sl_bytes topic = message_topic(e);
        char text[MODEL_TEXT] = "";
        memcpy(text, topic.p, topic.n);
        size_t place = model_place(m, text);
        assert_int_equal(m->id[place], message_id(e));
        assert_true(m->expires[place] != 0);
        m->id[place] = 0;
        assert_true(drop(t, text));
    }
    for (size_t i = 0; i < MODEL_TOPICS; i++)
        assert_true(m->id[i] == 0 || m->expires[i] == 0);
}

static void any_order_of_changes_finds_what_the_simplest_code_finds(void **state)
{
    (void)state;
    struct sl_rng r;
    sl_rng_seed(&r, 11);
    struct retained *t = retained_new(PLENTY, PLENTY);
    struct model *m = SL_NEW(struct model);
    for (uint64_t i = 1; i <= 60000; i++) {
        change(t, m, &r, i);
        if (i % 4 == 0)
            compare(t, m, &r);
        if (i % 5000 == 0)
            expire_all(t, m);
    }
    size_t pos = 0, all = 0;
    struct message *e;
    while ((e = retained_next(t, &pos)) != NULL) {
        assert_ptr_equal(retained_by_id(t, message_id(e)), e);
        all++;
    }
    assert_int_equal(all, retained_count(t));
    assert_true(all > 20);
    sl_free(m);
    retained_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_message_takes_the_place_of_the_one_before),
        cmocka_unit_test(a_removed_one_is_gone_from_everywhere),
        cmocka_unit_test(topics_are_one_byte_by_byte),
        cmocka_unit_test(both_limits_count_what_would_be_there),
        cmocka_unit_test(a_topic_of_many_levels_counts_with_what_they_take),
        cmocka_unit_test(wildcards_find_what_the_standard_says),
        cmocka_unit_test(a_topic_of_65536_levels_is_found_and_given_back),
        cmocka_unit_test(durations_expire_by_steady_time_and_dates_by_the_wall_clock),
        cmocka_unit_test(who_replaces_brings_his_own_expiry),
        cmocka_unit_test(any_order_of_changes_finds_what_the_simplest_code_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
