#include "claims.h"

#include "core/alloc.h"
#include "core/message.h"
#include "core/rng.h"

static const struct message_header some_headers[] = {
    {{(const uint8_t *)"unit", 4}, {(const uint8_t *)"kelvin", 6}},
    {{(const uint8_t *)"", 0},     {(const uint8_t *)"", 0}      },
    {{(const uint8_t *)"unit", 4}, {(const uint8_t *)"a\0b", 3}  },
};

static struct message_parts full_parts(void)
{
    return (struct message_parts){
        .id = UINT64_C(0x0000010000000007),
        .protocol = MESSAGE_MQTT5,
        .qos = 2,
        .priority = 9,
        .flags = MESSAGE_RETAIN | MESSAGE_PAYLOAD_UTF8,
        .accepted_at = UINT64_C(1795255200000),
        .deliver_at = UINT64_C(1795255200001),
        .expires_at = UINT64_MAX,
        .topic = sl_str("plant/7/temperature"),
        .client_id = sl_str("sensor-1"),
        .user = sl_str("anna"),
        .content_type = sl_str("text/plain"),
        .correlation = sl_bytes_of("\0\1\2", 3),
        .reply_to = sl_str("answers/1"),
        .job_id = sl_str("job-9"),
        .dedup_id = sl_str("d"),
        .headers = some_headers,
        .n_headers = SL_COUNT(some_headers),
        .payload = sl_str("21.5"),
    };
}

static void assert_same_fields(const struct message_parts *a, const struct message_parts *b)
{
    assert_true(a->id == b->id && a->protocol == b->protocol && a->qos == b->qos);
    assert_true(a->priority == b->priority && a->flags == b->flags);
    assert_true(a->accepted_at == b->accepted_at && a->deliver_at == b->deliver_at);
    assert_true(a->expires_at == b->expires_at);
    assert_true(sl_bytes_eq(a->topic, b->topic));
    assert_true(sl_bytes_eq(a->client_id, b->client_id));
    assert_true(sl_bytes_eq(a->user, b->user));
    assert_true(sl_bytes_eq(a->content_type, b->content_type));
    assert_true(sl_bytes_eq(a->correlation, b->correlation));
    assert_true(sl_bytes_eq(a->reply_to, b->reply_to));
    assert_true(sl_bytes_eq(a->job_id, b->job_id));
    assert_true(sl_bytes_eq(a->dedup_id, b->dedup_id));
    assert_true(sl_bytes_eq(a->payload, b->payload));
    assert_int_equal(a->n_headers, b->n_headers);
}

static void assert_holds(struct sl_bytes record, const struct message_parts *parts)
{
    struct message_parts view;
    assert_true(message_record_valid(record));
    message_view(record, &view);
    assert_same_fields(parts, &view);
    assert_null(view.headers);
    size_t pos = 0;
    struct message_header h;
    for (size_t i = 0; i < parts->n_headers; i++) {
        assert_true(message_header_next(record, &pos, &h));
        assert_true(sl_bytes_eq(h.name, parts->headers[i].name));
        assert_true(sl_bytes_eq(h.value, parts->headers[i].value));
    }
    assert_false(message_header_next(record, &pos, &h));
    assert_false(message_header_next(record, &pos, &h));
}

static void a_header_is_found_by_its_name_and_the_first_one_counts(void **state)
{
    (void)state;
    const struct message_header headers[] = { { sl_str("k"), sl_str("v") }, { sl_str("twice"), sl_str("1") }, { sl_str("twice"), sl_str("2") } };
    struct message *m = message_new(&(struct message_parts){ .topic = sl_str("t"), .headers = headers, .n_headers = SL_COUNT(headers) });
    assert_true(sl_bytes_is(message_header_value(message_record(m), "k"), "v"));
    assert_true(sl_bytes_is(message_header_value(message_record(m), "twice"), "1"));
    assert_int_equal(message_header_value(message_record(m), "K").n, 0);
    message_unref(m);
}

static void a_message_gives_back_what_it_was_built_from(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    assert_holds(message_record(m), &parts);
    assert_true(message_id(m) == parts.id);
    assert_int_equal(message_qos(m), 2);
    assert_int_equal(message_priority(m), 9);
    assert_int_equal(message_flags(m), MESSAGE_RETAIN | MESSAGE_PAYLOAD_UTF8);
    assert_true(message_expires_at(m) == UINT64_MAX);
    assert_true(message_deliver_at(m) == parts.deliver_at);
    assert_true(sl_bytes_is(message_payload(m), "21.5"));
    assert_true(sl_bytes_is(message_topic(m), "plant/7/temperature"));
    assert_int_equal(m->ticket, MESSAGE_NO_TICKET);
    assert_true(m->body_batch == 0);
    assert_int_equal(message_bytes(m), sizeof *m + message_record(m).n);
    message_unref(m);
}

/* The bytes of the record are a promise to worker authors and to the store. */
static void the_record_is_laid_out_as_documented(void **state)
{
    (void)state;
    static const struct message_header header = {
        {(const uint8_t *)"k",  1},
        {(const uint8_t *)"vv", 2}
    };
    struct message_parts parts = {
        .id = UINT64_C(0x0102030405060708),
        .protocol = MESSAGE_STOMP,
        .qos = 1,
        .priority = 4,
        .flags = MESSAGE_DELIVER_RELATIVE,
        .hops = 2,
        .accepted_at = 0x11,
        .deliver_at = 0x22,
        .expires_at = 0x33,
        .topic = sl_str("t/1"),
        .client_id = sl_str("c"),
        .job_id = sl_str("jj"),
        .headers = &header,
        .n_headers = 1,
        .payload = sl_str("PAY"),
    };
    static const uint8_t expected[] = "\x01\x03\x01\x04\x04\x02\x01\x00"
                                      "\x08\x07\x06\x05\x04\x03\x02\x01"
                                      "\x11\0\0\0\0\0\0\0\x22\0\0\0\0\0\0\0\x33\0\0\0\0\0\0\0"
                                      "\x03\0\x01\0\0\0\0\0\0\0\0\0\x02\0\0\0"
                                      "\x07\0\0\0\x03\0\0\0"
                                      "t/1cjj\x01\0\x02\0kvvPAY";
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    assert_int_equal(record.n, sizeof expected - 1);
    assert_memory_equal(record.p, expected, record.n);
    message_unref(m);
}

static void an_empty_message_is_64_bytes(void **state)
{
    (void)state;
    struct message_parts parts = {.protocol = MESSAGE_MQTT3};
    struct message *m = message_new(&parts);
    assert_int_equal(message_record(m).n, MESSAGE_RECORD_FIXED);
    assert_holds(message_record(m), &parts);
    assert_int_equal(message_payload(m).n, 0);
    message_unref(m);
}

static void every_field_holds_65535_bytes(void **state)
{
    (void)state;
    enum { LONGEST = 65535 };
    uint8_t *text = sl_alloc(LONGEST + 10);
    for (size_t i = 0; i < LONGEST + 10; i++)
        text[i] = (uint8_t)(i * 31);
    struct message_header headers[3];
    for (size_t i = 0; i < 3; i++)
        headers[i] = (struct message_header){sl_bytes_of(text + i, LONGEST),
                                             sl_bytes_of(text + i + 3, LONGEST)};
    struct message_parts parts = full_parts();
    parts.topic = sl_bytes_of(text, LONGEST);
    parts.client_id = sl_bytes_of(text + 1, LONGEST);
    parts.user = sl_bytes_of(text + 2, LONGEST);
    parts.content_type = sl_bytes_of(text + 3, LONGEST);
    parts.correlation = sl_bytes_of(text + 4, LONGEST);
    parts.reply_to = sl_bytes_of(text + 5, LONGEST);
    parts.job_id = sl_bytes_of(text + 6, LONGEST);
    parts.dedup_id = sl_bytes_of(text + 7, LONGEST);
    parts.headers = headers;
    parts.n_headers = 3;
    parts.payload = sl_bytes_of(text, LONGEST + 10);
    struct message *m = message_new(&parts);
    assert_holds(message_record(m), &parts);
    assert_true(sl_bytes_eq(message_payload(m), parts.payload));
    message_unref(m);
    sl_free(text);
}

static void a_message_holds_65535_headers(void **state)
{
    (void)state;
    struct message_header *headers = sl_calloc(65535, sizeof *headers);
    struct message_parts parts = full_parts();
    parts.headers = headers;
    parts.n_headers = 65535;
    struct message *m = message_new(&parts);
    assert_holds(message_record(m), &parts);
    message_unref(m);
    sl_free(headers);
}

static void build_a_topic_that_is_too_long(void)
{
    uint8_t *text = sl_calloc(1, 65536);
    struct message_parts parts = {.topic = sl_bytes_of(text, 65536)};
    struct message *m = message_new(&parts);
    message_unref(m);
}

static void build_a_qos_3(void)
{
    struct message_parts parts = {.qos = 3};
    struct message *m = message_new(&parts);
    message_unref(m);
}

static void what_does_not_fit_the_record_is_the_callers_error(void **state)
{
    (void)state;
    assert_dies(build_a_topic_that_is_too_long, "message.c");
    assert_dies(build_a_qos_3, "message.c");
}

static void references_keep_a_message_and_the_last_one_frees_it(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    assert_ptr_equal(message_ref(m), m);
    message_unref(m);
    assert_true(message_id(m) == parts.id);
    message_unref(m); /* the leak check and the address sanitizer are the judges */
}

static void an_id_is_given_later_and_changes_nothing_else(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    message_set_id(m, 77, 88);
    parts.id = 77;
    parts.accepted_at = 88;
    assert_holds(message_record(m), &parts);
    assert_true(message_id(m) == 77);
    message_unref(m);
}

/* ---- records that come back ---- */

static void a_record_makes_the_same_message(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct message *copy;
    assert_int_equal(message_from_record(message_record(m), &copy), SL_OK);
    assert_true(sl_bytes_eq(message_record(m), message_record(copy)));
    message_unref(m);
    assert_holds(message_record(copy), &parts);
    assert_int_equal(copy->refs, 1);
    message_unref(copy);
}

/* A copy in memory of exactly its size, for the address sanitizer. */
static bool is_taken(const uint8_t *p, size_t n)
{
    uint8_t *exact = sl_alloc(n);
    memcpy(exact, p, n);
    struct message *m = NULL;
    int err = message_from_record(sl_bytes_of(exact, n), &m);
    sl_free(exact);
    if (err == SL_OK)
        message_unref(m);
    else
        assert_true(err == SL_EFORMAT && m == NULL);
    return err == SL_OK;
}

static void a_record_cut_anywhere_or_with_more_behind_is_refused(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    for (size_t n = 0; n < record.n; n++)
        assert_false(is_taken(record.p, n));
    uint8_t longer[512] = {0};
    memcpy(longer, record.p, record.n);
    assert_true(is_taken(longer, record.n));
    assert_false(is_taken(longer, record.n + 1));
    message_unref(m);
    assert_false(message_record_valid(SL_BYTES_NONE));
}

static void a_wrong_byte_that_says_how_long_something_is_is_refused(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    uint8_t bad[512];
    for (size_t at = 40; at < MESSAGE_RECORD_FIXED; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(bad, record.p, record.n);
            bad[at] = (uint8_t)(bad[at] ^ 1u << bit);
            assert_false(is_taken(bad, record.n));
        }
    }
    message_unref(m);
}

static void changed_fields_of_the_head_are_refused_where_they_have_a_range(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        bool taken;
    } rows[] = {
        {0, 0,   false},
        {0, 2,   false},
        {2, 0,   true },
        {2, 3,   false},
        {2, 255, false},
        {3, 0,   true },
        {3, 10,  false},
        {6, 2,   false},
        {6, 4,   false},
        {7, 1,   false},
        {3, 255, false},
        {6, 0,   false},
    };
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    for (size_t i = 0; i < SL_COUNT(rows); i++) {
        uint8_t changed[512];
        memcpy(changed, record.p, record.n);
        changed[rows[i].at] = rows[i].value;
        assert_true(is_taken(changed, record.n) == rows[i].taken);
    }
    message_unref(m);
}

/* Moving bytes between two lengths keeps the sum: only the walk can see it. */
static void headers_that_do_not_fill_their_block_are_refused(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    uint8_t bad[512];
    memcpy(bad, record.p, record.n);
    bad[56]++; /* headers one longer, */
    bad[60]--; /* payload one shorter */
    assert_false(is_taken(bad, record.n));
    memcpy(bad, record.p, record.n);
    bad[56]--;
    bad[60]++;
    assert_false(is_taken(bad, record.n));
    message_unref(m);
}

static void random_damage_never_reads_outside_a_record(void **state)
{
    (void)state;
    struct message_parts parts = full_parts();
    struct message *m = message_new(&parts);
    struct sl_bytes record = message_record(m);
    struct sl_rng rng;
    sl_rng_seed(&rng, 11);
    size_t taken = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t *bad = sl_alloc(record.n);
        memcpy(bad, record.p, record.n);
        for (uint64_t k = 1 + sl_rng_below(&rng, 3); k > 0; k--)
            bad[sl_rng_below(&rng, record.n)] = (uint8_t)sl_rng_u64(&rng);
        struct sl_bytes in = {bad, record.n};
        if (message_record_valid(in)) {
            size_t pos = 0, n = 0;
            struct message_header h;
            for (; message_header_next(in, &pos, &h); n++)
                assert_true(h.name.p >= bad && h.value.p + h.value.n <= bad + record.n);
            assert_int_equal(n, sl_ld_u16le(bad + 6));
            taken++;
        }
        sl_free(bad);
    }
    assert_true(taken > 0 && taken < 20000);
    message_unref(m);
}

static void protocols_have_names(void **state)
{
    (void)state;
    assert_string_equal(message_protocol_name(MESSAGE_MQTT3), "mqtt");
    assert_string_equal(message_protocol_name(MESSAGE_MQTT5), "mqtt");
    assert_string_equal(message_protocol_name(MESSAGE_STOMP), "stomp");
    assert_string_equal(message_protocol_name(MESSAGE_HTTP), "http");
    assert_string_equal(message_protocol_name(MESSAGE_WORKER), "worker");
    assert_string_equal(message_protocol_name(MESSAGE_SCHEDULE), "schedule");
    assert_string_equal(message_protocol_name((enum message_protocol)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_gives_back_what_it_was_built_from),
        cmocka_unit_test(a_header_is_found_by_its_name_and_the_first_one_counts),
        cmocka_unit_test(the_record_is_laid_out_as_documented),
        cmocka_unit_test(an_empty_message_is_64_bytes),
        cmocka_unit_test(every_field_holds_65535_bytes),
        cmocka_unit_test(a_message_holds_65535_headers),
        cmocka_unit_test(what_does_not_fit_the_record_is_the_callers_error),
        cmocka_unit_test(references_keep_a_message_and_the_last_one_frees_it),
        cmocka_unit_test(an_id_is_given_later_and_changes_nothing_else),
        cmocka_unit_test(a_record_makes_the_same_message),
        cmocka_unit_test(a_record_cut_anywhere_or_with_more_behind_is_refused),
        cmocka_unit_test(a_wrong_byte_that_says_how_long_something_is_is_refused),
        cmocka_unit_test(changed_fields_of_the_head_are_refused_where_they_have_a_range),
        cmocka_unit_test(headers_that_do_not_fill_their_block_are_refused),
        cmocka_unit_test(random_damage_never_reads_outside_a_record),
        cmocka_unit_test(protocols_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
